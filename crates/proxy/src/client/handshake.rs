//! What comes before the first request: a PROXY header and a TLS handshake, where the listener
//! expects them.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use clearway_base::buffer::Lease;
use clearway_http::proxy_protocol::{self, Parse};
use clearway_net::stream::Stream;
use clearway_net::tls::Accepting;
use clearway_outcome::{Address, FaultKind};

use super::issuance::{self, Answerer};
use super::{Conn, Proxied};
use crate::refuse;

/// Brings a connection as far as its first request, and hands over the bytes of it that came along.
///
/// `Err(())` means the connection was refused and reported, or the client left.
pub(crate) async fn complete(conn: &mut Conn) -> Result<Option<Lease>, ()> {
    let first = proxy_header(conn).await?;
    if conn.expects_tls() {
        // Boxed: a handshake's room is not needed afterwards.
        return Box::pin(tls(conn, first)).await.map(|()| None);
    }
    Ok(first)
}

/// The TLS handshake, which may have begun with `first`.
async fn tls(conn: &mut Conn, first: Option<Lease>) -> Result<(), ()> {
    let (first, answerer) = issuance::prepare(conn, first).await;
    let first = first.as_ref().map(Lease::filled).unwrap_or_default();
    let worker = Rc::clone(&conn.worker);
    let limit = conn.listener().map(|l| l.timeouts.tls_handshake);
    conn.timer
        .set_after(conn.accepted, limit.unwrap_or_default());
    let begun = conn.listener().and_then(|l| match &answerer {
        Answerer::Listener => Some(l.tls.as_ref()?.server.clone()),
        Answerer::Challenge(server) => Some(server.clone()),
        Answerer::Nobody => None,
    });
    if let Answerer::Nobody = answerer {
        worker.tick();
        refuse::handshake(conn, FaultKind::CertificateUnusable);
        return Err(());
    }
    let (Some(server), Some(wire)) = (begun, conn.stream.take_plain()) else {
        return Err(());
    };
    let Ok(mut accepting) = Accepting::new(wire, &server) else {
        refuse::handshake(conn, FaultKind::CertificateUnusable);
        return Err(());
    };
    accepting.feed(first);
    let done = poll_fn(|cx| match accepting.poll(cx) {
        Poll::Ready(result) => Poll::Ready(Some(result)),
        Poll::Pending if conn.timer.poll_expired(cx) => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    })
    .await;
    worker.tick();
    let error = match done {
        Some(Ok(())) => {
            let (stream, facts) = accepting.finish();
            conn.stream = Stream::Tls(Box::new(stream));
            if let Answerer::Challenge(_) = answerer {
                // That is all that the authority wanted (RFC 8737 section 3).
                conn.linger().await;
                return Err(());
            }
            conn.tls = Some(Rc::new(facts));
            conn.note_handshake();
            return Ok(());
        }
        Some(Err(error)) => Some(error),
        None => None,
    };
    let refused = accepting.refuse(error.as_ref());
    conn.stream = Stream::Plain(refused.wire);
    let failure = refused.failure;
    if refused.first.as_bytes().is_empty() && failure.kind == FaultKind::TlsHandshakeClosed {
        // It only looked whether somebody listens.
        return Err(());
    }
    conn.tls = Some(Rc::new(failure.facts));
    let fault = refuse::client_fault(conn, failure.kind)
        .with_errno(failure.errno)
        .with_signal(failure.signal);
    refuse::tls_handshake(conn, fault, refused.first.as_bytes(), refused.told).await;
    Err(())
}

/// Reads the PROXY header, if one is due, and hands over what came behind it.
async fn proxy_header(conn: &mut Conn) -> Result<Option<Lease>, ()> {
    let Some(listener) = conn.listener() else {
        return Ok(None);
    };
    if !listener.expects_proxy(&conn.peer()) {
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
                fields,
            }) => {
                let peer = conn.peer();
                if let Some(source) = source {
                    conn.client = Address::Ip(source);
                }
                conn.proxied = Some(Box::new(Proxied {
                    peer,
                    source,
                    destination,
                    fields: lease.filled().get(fields..len).unwrap_or_default().into(),
                }));
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
