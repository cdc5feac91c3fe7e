//! What comes before the first request: a PROXY header, where the listener expects one.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use clearway_base::buffer::Lease;
use clearway_http::proxy_protocol::{self, Parse};
use clearway_outcome::{Address, FaultKind};

use super::{Conn, Proxied};
use crate::refuse;

/// Reads the PROXY header, if one is due, and hands over what came behind it.
///
/// `Err(())` means the connection was refused and reported.
pub(crate) async fn read(conn: &mut Conn) -> Result<Option<Lease>, ()> {
    let Some(listener) = conn.listener() else {
        return Ok(None);
    };
    if !listener.proxy_protocol {
        return Ok(None);
    }
    if !listener.trusts(&conn.peer()) {
        refuse::handshake(conn, FaultKind::ProxyHeaderUntrusted);
        return Err(());
    }
    let limit = listener.timeouts.proxy_header;
    conn.timer.set_after(conn.accepted, limit);
    let worker = Rc::clone(&conn.worker);
    let mut lease = worker.small.lease();
    loop {
        match proxy_protocol::parse(lease.filled()) {
            Ok(Parse::Complete {
                len,
                source,
                destination,
            }) => {
                let peer = conn.peer();
                if let Some(source) = source {
                    conn.client = Address::Ip(source);
                }
                conn.proxied = Some(Box::new(Proxied { peer, destination }));
                lease.consume(len);
                return Ok((!lease.is_empty()).then_some(lease));
            }
            Ok(Parse::Partial) => {}
            Err(kind) => {
                refuse::handshake(conn, kind);
                return Err(());
            }
        }
        let read = poll_fn(|cx| match conn.stream.poll_read_into(cx, &mut lease) {
            Poll::Ready(result) => Poll::Ready(Some(result)),
            Poll::Pending if conn.timer.poll_expired(cx) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        })
        .await;
        match read {
            Some(Ok(count)) if count > 0 => {}
            Some(_) if lease.is_empty() => return Err(()),
            Some(_) => {
                refuse::handshake(conn, FaultKind::ProxyHeaderInvalid);
                return Err(());
            }
            None => {
                worker.tick();
                refuse::handshake(conn, FaultKind::ProxyHeaderTimeout);
                return Err(());
            }
        }
    }
}
