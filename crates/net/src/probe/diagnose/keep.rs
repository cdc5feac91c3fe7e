//! How long does the server keep an idle connection?

use std::time::Duration;

use clearway_outcome::{Again, Ending, FirstBytes, Kept, Reply};
use tokio::time::timeout;

use super::request::{Keep, Request, ask, measure};
use super::{Aim, Failure};
use crate::probe::visit::Visit;

/// How long an answer to the second request is waited for.
const AGAIN: Duration = Duration::from_secs(1);

/// Sends a request, takes the answer within the limit of the [`Aim`], then says nothing and watches for
/// at most `patience` how the server ends the connection. One that seems to be open then gets the same request
/// again, as only that shows whether it is. HTTP/2 of the [`Aim`] is not looked at.
pub async fn keep(aim: &Aim, request: &Request, patience: Duration) -> Kept {
    let aim = Aim {
        http2: crate::probe::Http2::Never,
        ..aim.clone()
    };
    let mut visit = aim.visit();
    let mut reply = Reply::default();
    let asked = timeout(
        aim.limit,
        ask(&mut visit, &aim, request, &mut reply, Keep::Yes),
    );
    let asked = asked.await;
    let verdict = asked.unwrap_or_else(|_| Err(visit.timed_out(aim.limit)));
    measure(&visit, &mut reply);
    let mut unasked = FirstBytes::default();
    let mut idle_us = None;
    if verdict.is_ok() && reply.is_whole == Some(true) {
        let since = visit.elapsed_us();
        if visit.ending == Ending::Open {
            idle(&mut visit, patience, &mut unasked).await;
        }
        idle_us = Some(visit.elapsed_us().saturating_sub(since));
    }
    let ending = visit.ending;
    let again = match idle_us {
        Some(_) if ending == Ending::Open => Some(again(&mut visit, &aim, request).await),
        Some(_) | None => None,
    };
    Kept {
        ending,
        again,
        attempt: visit.testify(verdict.map(|()| "kept".to_owned())),
        reply,
        idle_us,
        unasked,
    }
}

/// Uses the connection again.
async fn again(visit: &mut Visit, aim: &Aim, request: &Request) -> Again {
    let text = request.text(&aim.target, false);
    let used = async {
        visit.send(text.as_bytes()).await?;
        visit.buf.clear();
        visit.read().await
    };
    match timeout(AGAIN, used).await {
        Ok(Ok(true)) => Again::Answered,
        Ok(Ok(false) | Err(_)) => Again::Ended,
        Err(_) => Again::Silent,
    }
}

/// Watches until the connection ends or patience does.
async fn idle(visit: &mut Visit, patience: Duration, unasked: &mut FirstBytes) {
    let watch = async {
        loop {
            unasked.extend(&visit.buf);
            visit.buf.clear();
            // How it ends is what is looked for, and stands in `ending`.
            let read: Result<bool, Failure> = visit.read().await;
            if !matches!(read, Ok(true)) {
                return;
            }
        }
    };
    // An end of patience is an answer, too.
    timeout(patience, watch).await.unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use clearway_testkit::{Conn, Server, behave, wait};

    use super::*;
    use crate::connect::Target;
    use crate::probe::diagnose::RequestSettings;
    use crate::testing::block_on;

    fn kept(server: &Server, patience: Duration) -> Kept {
        let target = Target::Ip(server.address().parse().unwrap());
        let aim = Aim::at(target, Duration::from_secs(8));
        let get = Request::new(RequestSettings::default()).unwrap();
        block_on(async { keep(&aim, &get, patience).await })
    }

    const LONG: Duration = Duration::from_secs(8);

    #[test]
    fn the_idle_time_is_measured() {
        let idle = Duration::from_millis(300);
        let server = Server::script(move |mut conn: Conn| {
            conn.request();
            conn.send(behave::response(200, "x"));
            wait::elapse(idle);
        });
        let seen = kept(&server, LONG);
        assert_eq!((seen.attempt.fault, seen.ending), (None, Ending::Fin));
        assert!(seen.idle_us.is_some_and(|us| us >= 100_000), "{seen:?}");
        assert!(seen.reply.keeps_alive);
        assert_eq!(server.only().headers.get("connection"), Some("keep-alive"));
        let server = Server::script(move |mut conn: Conn| {
            conn.request();
            conn.send(behave::response(200, "x"));
            wait::elapse(idle);
            conn.send("HTTP/1.1 408 Request Timeout\r\n\r\n");
            conn.half_close();
            conn.drain();
        });
        let seen = kept(&server, LONG);
        assert!(seen.unasked.as_bytes().starts_with(b"HTTP/1.1 408"));
        assert_eq!((seen.ending, seen.again), (Ending::Fin, None));
    }

    #[test]
    fn what_seems_open_may_be_over() {
        let server = Server::script(|mut conn: Conn| {
            conn.request();
            conn.send(behave::response(200, "x"));
            conn.request();
        });
        let seen = kept(&server, Duration::from_millis(60));
        assert_eq!(
            (seen.ending, seen.again),
            (Ending::Open, Some(Again::Ended))
        );
    }

    #[test]
    fn patience_ends_and_failures_are_no_idling() {
        let server = Server::script(behave::ok("x"));
        let seen = kept(&server, Duration::from_millis(60));
        assert_eq!(seen.ending, Ending::Open);
        assert_eq!(seen.again, Some(Again::Answered));
        assert!(seen.idle_us.is_some_and(|us| us >= 60_000));
        let server = Server::script(behave::close_after_request());
        let seen = kept(&server, LONG);
        assert_eq!((seen.idle_us, seen.ending), (None, Ending::Fin));
        assert!(seen.attempt.fault.is_some());
    }
}
