//! Does the server speak HTTP/2 without TLS?

use clearway_outcome::{Ending, FaultKind, Prefaced, Spoken};
use tokio::time::timeout;

use super::{Aim, Failure};
use crate::probe::visit::Visit;

/// The preface of a client and its SETTINGS, without any (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Protocols are known by fewer bytes than these.
const ENOUGH: usize = 64;

/// Sends the preface of HTTP/2 and waits for SETTINGS. TLS and HTTP/2 of the [`Aim`] are not looked at.
pub async fn preface(aim: &Aim) -> Prefaced {
    let mut visit = aim.visit();
    let asked = timeout(aim.limit, ask(&mut visit, aim)).await;
    let verdict = asked.unwrap_or_else(|_| Err(visit.timed_out(aim.limit)));
    Prefaced {
        ending: visit.ending,
        attempt: visit.testify(verdict.map(|()| "answered with SETTINGS".to_owned())),
    }
}

async fn ask(visit: &mut Visit, aim: &Aim) -> Result<(), Failure> {
    visit.connect(&aim.target, aim.source).await?;
    visit.introduce(aim.proxy_header).await?;
    visit.send(PREFACE).await?;
    visit.sent();
    loop {
        let more = visit.read().await?;
        match Spoken::of(&visit.buf) {
            Some(Spoken::Http2Settings) => return Ok(()),
            Some(Spoken::Http2Goaway { .. }) => {
                visit.ending = Ending::Said;
                let kind = FaultKind::ServerGoaway;
                return Err(Failure::new(kind, kind.summary().to_owned()));
            }
            Some(Spoken::Http1Response { .. }) => {
                let kind = FaultKind::ServerSpeaksHttp1;
                return Err(Failure::new(kind, kind.summary().to_owned()));
            }
            _ if !more => return Err(visit.closed()),
            _ if visit.buf.len() >= ENOUGH => {
                let kind = FaultKind::ServerH2Protocol;
                return Err(Failure::new(kind, kind.summary().to_owned()));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clearway_testkit::{Server, behave};

    use super::*;
    use crate::connect::Target;
    use crate::testing::block_on;

    fn asked(server: &Server) -> Prefaced {
        let target = Target::Ip(server.address().parse().unwrap());
        let aim = Aim::at(target, Duration::from_secs(8));
        block_on(async { preface(&aim).await })
    }

    fn banner(bytes: &'static [u8]) -> Server {
        Server::script(move |mut conn| {
            conn.take_through(b"SM\r\n\r\n");
            conn.send(bytes);
            conn.half_close();
            conn.drain();
        })
    }

    #[test]
    fn settings_pass_and_others_are_told_apart() {
        let seen = asked(&banner(b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64"));
        assert_eq!(seen.attempt.fault, None);
        assert_eq!(seen.spoken(), Some(Spoken::Http2Settings));
        let kind = |seen: &Prefaced| seen.attempt.fault.map(|fault| fault.kind);
        let seen = asked(&banner(b"\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\x01"));
        assert_eq!(kind(&seen), Some(FaultKind::ServerGoaway));
        let seen = asked(&banner(b"HTTP/1.1 400 Bad Request\r\n\r\n"));
        assert_eq!(kind(&seen), Some(FaultKind::ServerSpeaksHttp1));
        let seen = asked(&banner(b""));
        assert_eq!(kind(&seen), Some(FaultKind::ServerClosedNoResponse));
        assert_eq!((seen.ending, seen.spoken()), (Ending::Fin, None));
        let seen = asked(&Server::script(behave::banner("x".repeat(100))));
        assert_eq!(kind(&seen), Some(FaultKind::ServerH2Protocol));
    }
}
