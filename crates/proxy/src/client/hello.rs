//! Reading a ClientHello before it is known who is to answer it.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use clearway_base::buffer::Lease;
use clearway_net::tls::hello::{self, HELLO_MAX, Hello, Progress, Refused};

use super::Conn;
use crate::worker::Worker;

/// What came.
pub(crate) enum Seen {
    /// A whole hello.
    Hello(Box<Hello>),
    /// Something else.
    Other(Refused),
    /// The end of the connection, before there was a hello.
    Ended,
    /// Not enough, until the time of the handshake was over.
    TimedOut,
}

/// Reads until there is a ClientHello, which may have begun with `first`, or cannot be one. Hands over all
/// bytes that came.
pub(crate) async fn read(conn: &mut Conn, first: Option<Lease>) -> (Lease, Seen) {
    let worker = Rc::clone(&conn.worker);
    let limit = conn.listener().map(|l| l.timeouts.tls_handshake);
    conn.timer
        .set_after(conn.accepted, limit.unwrap_or_default());
    let mut lease = first.unwrap_or_else(|| worker.small.lease());
    loop {
        match hello::parse(lease.filled(), HELLO_MAX) {
            Ok(Progress::Complete(hello)) => return (lease, Seen::Hello(hello)),
            Ok(Progress::Partial) => {}
            Err(refused) => return (lease, Seen::Other(refused)),
        }
        lease = with_room(&worker, lease);
        let read = poll_fn(|cx| match conn.stream.poll_read_into(cx, &mut lease) {
            Poll::Ready(result) => Poll::Ready(Some(result)),
            Poll::Pending if conn.timer.poll_expired(cx) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        })
        .await;
        match read {
            Some(Ok(count)) if count > 0 => {}
            Some(_) => return (lease, Seen::Ended),
            None => return (lease, Seen::TimedOut),
        }
    }
}

/// The same bytes in a buffer that has room for more.
fn with_room(worker: &Worker, lease: Lease) -> Lease {
    if !lease.is_full() {
        return lease;
    }
    let mut larger = worker.large.lease();
    larger.append(lease.filled());
    larger
}
