//! HTTP/1.1 with a client: parses the heads of its requests, and hands them to the exchange.
//!
//! A connection has two shapes. *Active*, it has an engine with room for a whole exchange. When no
//! further request is waiting it is *parked* in the lot: engine and buffers are given back.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use clearway_base::buffer::Lease;
use clearway_base::clock::Stamp;
use clearway_http::{HeadLimits, Progress};
use clearway_outcome::FaultKind;

use super::{Conn, h2, handshake, lot};
use crate::exchange::{self, Arrival, Next, Request};
use crate::refuse;

/// What the active shape ended with.
pub(crate) enum After {
    /// Idle: park and wait on.
    Park,
    /// The client speaks HTTP/2; these bytes of it are here.
    Http2(Lease),
    /// Over.
    Close,
    /// Over, once the client has read the reply.
    Linger,
}

/// Begins with a client: after PROXY header and TLS, where they are due, it waits for its first
/// request.
pub(crate) fn begin(mut conn: Box<Conn>) {
    if !conn.expects_proxy_header() && !conn.expects_tls() {
        return lot::arrive(conn);
    }
    let worker = Rc::clone(&conn.worker);
    worker.spawn(async move {
        match handshake::complete(&mut conn).await {
            Ok(first) if conn.has_agreed_on_h2() => h2::serve(conn, first).await,
            Ok(Some(first)) => Rc::clone(&conn.worker).serve(conn, first),
            Ok(None) => lot::arrive(conn),
            Err(()) => {}
        }
    });
}

/// Serves requests until none is waiting.
pub(crate) async fn active(conn: &mut Conn, request: &mut Request, first: Lease) -> After {
    let worker = Rc::clone(&conn.worker);
    let mut bytes = first;
    loop {
        let started = worker.tick();
        let next = match read_head(conn, request, bytes, started).await {
            Ok((lease, complete)) => {
                conn.requests += 1;
                conn.queue_place = 0;
                let arrival = Arrival { started, complete };
                exchange::run(conn, request, lease, arrival).await
            }
            Err(None) => Next::Close,
            Err(Some((FaultKind::Http2OnHttp1Port, lease))) if conn.may_speak_h2() => {
                return After::Http2(lease);
            }
            Err(Some((kind, lease))) => refuse::bad_head(conn, &lease, kind, started).await,
        };
        request.clear();
        conn.idle_since = worker.now();
        match next {
            Next::KeepAlive(Some(leftover)) => bytes = leftover,
            Next::KeepAlive(None) => return After::Park,
            Next::Close | Next::Abort => return After::Close,
            Next::Linger => return After::Linger,
        }
    }
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
            Some(Ok(_)) => return Err(None),
            Some(Err(error)) => {
                refuse::broken_tls(conn, &error);
                return Err(None);
            }
            None => {
                worker.tick();
                return Err(Some((FaultKind::RequestHeadTimeout, lease)));
            }
        }
    }
}
