//! HTTP/1.1 with a client: waits for requests, parses their heads, and hands them to the exchange.
//!
//! A connection has two shapes. *Active*, it owns a boxed future with room for a whole exchange and
//! serves request after request without allocating. When no request has come for a moment it is
//! *parked*: the box, the request state and every buffer are given back and only a small task waits.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use clearway_base::buffer::Lease;
use clearway_base::clock::Stamp;
use clearway_http::{HeadLimits, Progress};
use clearway_net::stream::Read;
use clearway_outcome::FaultKind;

use super::{Conn, handshake};
use crate::exchange::{self, Arrival, Next, Request};
use crate::refuse;

/// How long an active connection waits for another request before it is parked.
const PARK_AFTER: Duration = Duration::from_millis(250);

/// How long a connection that has carried nothing yet may still bring its first request when the
/// worker drains.
const FIRST_GRACE: Duration = Duration::from_millis(500);

/// What the active shape ended with.
enum After {
    /// Idle: park and wait on.
    Park,
    /// Over.
    Close,
    /// Over, once the client has read the reply.
    Linger,
}

/// How waiting for a request ended.
enum Wait {
    Bytes(Lease),
    /// The client closed, the time is up, or the worker drains.
    Over,
    /// Nothing came within the short wait.
    Quiet,
}

/// Serves a client until its connection ends.
pub(crate) async fn serve(mut conn: Conn) {
    let Ok(first) = handshake::read(&mut conn).await else {
        return;
    };
    let mut idle_since = conn.accepted;
    let mut waiting = first;
    loop {
        let bytes = match waiting.take() {
            Some(bytes) => bytes,
            None => match parked(&mut conn, idle_since).await {
                Wait::Bytes(bytes) => bytes,
                Wait::Over | Wait::Quiet => return,
            },
        };
        match Box::pin(active(&mut conn, bytes, &mut idle_since)).await {
            After::Park => {}
            After::Close => return,
            After::Linger => return conn.linger().await,
        }
    }
}

/// Waits for the first bytes of a request in the small shape.
async fn parked(conn: &mut Conn, idle_since: Stamp) -> Wait {
    let timeouts = conn
        .listener()
        .map(|l| l.timeouts.clone())
        .unwrap_or_default();
    // Before the first request the head's time-out holds, as a silent client is a slow one.
    let limit = if conn.requests == 0 {
        timeouts.request_head
    } else {
        timeouts.client_idle
    };
    if limit.is_zero() {
        conn.timer.clear();
    } else {
        conn.timer.set(idle_since.plus(limit));
    }
    let worker = Rc::clone(&conn.worker);
    let mut place = None;
    let (mut expired, mut leaving) = (false, false);
    let wait = poll_fn(|cx| {
        match conn.stream.poll_read(cx, &worker.small) {
            Poll::Ready(Ok(Read::Bytes(lease))) => return Poll::Ready(Wait::Bytes(lease)),
            Poll::Ready(Ok(Read::End) | Err(_)) => return Poll::Ready(Wait::Over),
            Poll::Pending => {}
        }
        if conn.is_leaving() && !leaving {
            leaving = true;
            if conn.requests > 0 {
                return Poll::Ready(Wait::Over);
            }
            // A client that has just connected may have its first request on the way.
            conn.timer.set(worker.tick().plus(FIRST_GRACE));
        }
        expired = conn.timer.poll_expired(cx);
        if expired {
            return Poll::Ready(Wait::Over);
        }
        if place.is_none() {
            place = Some(worker.parked.borrow_mut().insert(cx.waker().clone()));
        }
        Poll::Pending
    })
    .await;
    if let Some(place) = place {
        drop(worker.parked.borrow_mut().try_remove(place));
    }
    if expired && conn.requests == 0 && !leaving {
        refuse::silent_client(conn);
    }
    wait
}

/// Serves requests until none is waiting.
async fn active(conn: &mut Conn, first: Lease, idle_since: &mut Stamp) -> After {
    let worker = Rc::clone(&conn.worker);
    let mut request = worker.take_request();
    let mut bytes = first;
    let after = loop {
        let started = worker.tick();
        let idle_us = started.micros_since(*idle_since);
        let next = match read_head(conn, &mut request, bytes, started).await {
            Ok((lease, complete)) => {
                conn.requests += 1;
                let arrival = Arrival {
                    started,
                    complete,
                    idle_us,
                };
                exchange::run(conn, &mut request, lease, arrival).await
            }
            Err(None) => break After::Close,
            Err(Some((kind, lease))) => {
                refuse::bad_head(conn, &mut request, &lease, kind, started).await
            }
        };
        request.clear();
        match next {
            Next::KeepAlive(Some(leftover)) => {
                bytes = leftover;
                *idle_since = worker.now();
            }
            Next::KeepAlive(None) => {
                *idle_since = worker.now();
                match soon(conn, *idle_since).await {
                    Wait::Bytes(lease) => bytes = lease,
                    Wait::Over => break After::Close,
                    Wait::Quiet => break After::Park,
                }
            }
            Next::Close => break After::Close,
            Next::Linger => break After::Linger,
            Next::Abort => break After::Close,
        }
    };
    worker.give_request(request);
    after
}

/// Waits a moment for the next request in the active shape.
async fn soon(conn: &mut Conn, now: Stamp) -> Wait {
    conn.timer.set(now.plus(PARK_AFTER));
    let worker = Rc::clone(&conn.worker);
    poll_fn(|cx| match conn.stream.poll_read(cx, &worker.small) {
        Poll::Ready(Ok(Read::Bytes(lease))) => Poll::Ready(Wait::Bytes(lease)),
        Poll::Ready(Ok(Read::End) | Err(_)) => Poll::Ready(Wait::Over),
        Poll::Pending if conn.timer.poll_expired(cx) => Poll::Ready(Wait::Quiet),
        Poll::Pending => Poll::Pending,
    })
    .await
}

/// Reads until the head is complete.
///
/// `Err(None)`: the client closed without sending anything of worth. `Err(Some(_))`: the head is
/// refused; the bytes are handed back for the record.
async fn read_head(
    conn: &mut Conn,
    request: &mut Request,
    mut lease: Lease,
    started: Stamp,
) -> Result<(Lease, Stamp), Option<(FaultKind, Lease)>> {
    let worker = Rc::clone(&conn.worker);
    let limits = conn
        .listener()
        .map_or_else(HeadLimits::default, |l| l.head_limits());
    let mut armed = false;
    loop {
        match request.head.parse(lease.filled(), &limits) {
            Ok(Progress::Complete) => {
                let complete = if armed { worker.tick() } else { started };
                return Ok((lease, complete));
            }
            Ok(Progress::Partial) => {}
            Err(kind) => return Err(Some((kind, lease))),
        }
        if lease.is_full() {
            if lease.len() >= crate::worker::LARGE_BUFFER {
                return Err(Some((FaultKind::HeadersTooLarge, lease)));
            }
            let mut larger = worker.large.lease();
            larger.append(lease.filled());
            lease = larger;
        }
        if !armed {
            armed = true;
            let limit = conn
                .listener()
                .map_or(Duration::ZERO, |l| l.timeouts.request_head);
            conn.timer.set_after(started, limit);
        }
        let read = poll_fn(|cx| match conn.stream.poll_read_into(cx, &mut lease) {
            Poll::Ready(result) => Poll::Ready(Some(result)),
            Poll::Pending if conn.timer.poll_expired(cx) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        })
        .await;
        match read {
            Some(Ok(count)) if count > 0 => {}
            Some(_) => return Err(None),
            None => {
                worker.tick();
                return Err(Some((FaultKind::RequestHeadTimeout, lease)));
            }
        }
    }
}
