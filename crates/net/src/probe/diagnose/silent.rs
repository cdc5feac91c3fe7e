//! What does the server do with a connection on which nothing is sent?
//!
//! A forwarder with nobody behind it closes at once; a server of a protocol in which servers speak first
//! says which; a server of HTTP or TLS waits.

use clearway_outcome::{Ending, Silence};
use tokio::time::timeout;

use super::Aim;
use crate::probe::visit::Visit;

/// Connects, sends nothing, not even what [`Aim`] says comes first, and watches until the connection
/// ends or the time is over.
pub async fn silent(aim: &Aim) -> Silence {
    let mut visit = aim.visit();
    let watched = timeout(aim.limit, watch(&mut visit, aim)).await;
    let verdict = match watched {
        Ok(verdict) => verdict,
        Err(_) if visit.ending == Ending::Unconnected => Err(visit.timed_out(aim.limit)),
        Err(_) => Ok(()),
    };
    let verdict = verdict.map(|()| "watched".to_owned());
    Silence {
        ending: visit.ending,
        attempt: visit.testify(verdict),
    }
}

async fn watch(visit: &mut Visit, aim: &Aim) -> Result<(), super::Failure> {
    visit.connect(&aim.target, aim.source).await?;
    // A reset is no fault here: it is what is looked for.
    while let Ok(true) = visit.read().await {
        visit.buf.clear();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clearway_outcome::{FaultKind, Spoken};
    use clearway_testkit::{Server, behave};

    use super::*;
    use crate::connect::Target;
    use crate::testing::block_on;

    fn watched(address: &str, limit: Duration) -> Silence {
        let aim = Aim::at(Target::Ip(address.parse().unwrap()), limit);
        block_on(async { silent(&aim).await })
    }

    const LONG: Duration = Duration::from_secs(8);
    const SHORT: Duration = Duration::from_millis(100);

    #[test]
    fn servers_that_wait_close_reset_and_speak_are_told_apart() {
        let server = Server::script(behave::never_answer());
        let seen = watched(server.address(), SHORT);
        assert_eq!((seen.ending, seen.attempt.fault), (Ending::Open, None));
        assert!(seen.attempt.ended_us >= 100_000);
        assert_eq!(seen.attempt.evidence.unwrap().tcp.unwrap().state, 1);

        let server = Server::script(behave::close_on_accept());
        let seen = watched(server.address(), LONG);
        assert_eq!((seen.ending, seen.attempt.fault), (Ending::Fin, None));
        assert!(seen.attempt.connected_us.unwrap() <= seen.attempt.ended_us);

        let server = Server::script(behave::reset_on_accept());
        let seen = watched(server.address(), LONG);
        assert_eq!((seen.ending, seen.attempt.fault), (Ending::Reset, None));

        let server = Server::script(behave::banner("SSH-2.0-x\r\n"));
        let seen = watched(server.address(), Duration::from_secs(1));
        let evidence = seen.attempt.evidence.unwrap();
        assert_eq!(
            Spoken::of(evidence.first()),
            Some(Spoken::Ssh { software: b"x" })
        );
        assert!(seen.attempt.first_byte_us.is_some());
        assert_eq!(seen.attempt.bytes_sent, 0);
    }

    #[test]
    fn nobody_there_is_a_fault() {
        let (address, _guard) = behave::closed_port();
        let seen = watched(&address, LONG);
        assert_eq!(seen.ending, Ending::Unconnected);
        assert_eq!(seen.attempt.fault.unwrap().kind, FaultKind::ConnectRefused);
        let (address, _guard) = behave::full_backlog();
        let seen = watched(&address, SHORT);
        assert_eq!(seen.ending, Ending::Unconnected);
        assert_eq!(seen.attempt.fault.unwrap().kind, FaultKind::ConnectTimeout);
    }
}
