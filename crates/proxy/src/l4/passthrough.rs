//! Choosing the backend of a TLS connection that is passed through, by its ClientHello.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use clearway_base::buffer::Lease;
use clearway_net::tls::hello::{self, HELLO_MAX, Hello, Progress};
use clearway_outcome::{FaultKind, TlsFacts};

use crate::client::Conn;
use crate::plan::PassPlan;
use crate::refuse;
use crate::worker::Worker;

/// Where a connection goes, with the bytes that told.
pub(super) struct Seen {
    pub(super) first: Lease,
    /// `None`: the listener's own backend.
    pub(super) backend: Option<usize>,
}

/// Reads the ClientHello, which may have begun with `first`, and looks for what it asks for.
///
/// `Err(())` means that the connection was refused and reported, or that the client left.
pub(super) async fn choose(conn: &mut Conn, first: Option<Lease>) -> Result<Seen, ()> {
    let worker = Rc::clone(&conn.worker);
    let limit = conn.listener().map(|l| l.timeouts.tls_handshake);
    conn.timer
        .set_after(conn.accepted, limit.unwrap_or_default());
    let mut lease = first.unwrap_or_else(|| worker.small.lease());
    loop {
        match hello::parse(lease.filled(), HELLO_MAX) {
            Ok(Progress::Complete(hello)) => return follow(conn, lease, &hello),
            Ok(Progress::Partial) => {}
            Err(refused) => {
                // Where there is a backend for everything else, this is for it.
                if has_own_backend(conn) {
                    return Ok(Seen {
                        first: lease,
                        backend: None,
                    });
                }
                refuse::handshake(conn, refused.kind);
                return Err(());
            }
        }
        lease = with_room(&worker, lease);
        let read = poll_fn(|cx| match conn.stream.poll_read_into(cx, &mut lease) {
            Poll::Ready(result) => Poll::Ready(Some(result)),
            Poll::Pending if conn.timer.poll_expired(cx) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        })
        .await;
        let kind = match read {
            Some(Ok(count)) if count > 0 => continue,
            // It only looked whether somebody listens.
            Some(_) if lease.is_empty() => return Err(()),
            Some(_) => FaultKind::TlsHandshakeClosed,
            None => FaultKind::TlsHandshakeTimeout,
        };
        worker.tick();
        refuse::handshake(conn, kind);
        return Err(());
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

fn has_own_backend(conn: &Conn) -> bool {
    conn.listener()
        .is_some_and(|l| l.fallback.backend.is_some())
}

fn follow(conn: &mut Conn, first: Lease, hello: &Hello) -> Result<Seen, ()> {
    let ways = conn.listener().map(|l| Rc::from(l.passthrough.as_slice()));
    let ways: Rc<[PassPlan]> = ways.unwrap_or_default();
    conn.tls = Some(Rc::new(TlsFacts {
        server_name: hello.server_name.clone().unwrap_or_default(),
        ..TlsFacts::default()
    }));
    let way = ways.iter().find(|way| way.takes(hello));
    if way.is_none() && !has_own_backend(conn) {
        refuse::handshake(conn, FaultKind::TlsNameUnknown);
        return Err(());
    }
    Ok(Seen {
        first,
        backend: way.map(|way| way.backend),
    })
}

impl PassPlan {
    /// Whether a client that offers this goes this way.
    fn takes(&self, hello: &Hello) -> bool {
        let name = hello.server_name.as_deref();
        let by_name = self.names.is_empty()
            || name.is_some_and(|name| self.names.iter().any(|pattern| is_match(pattern, name)));
        let by_alpn = self.alpn.is_empty()
            || hello
                .alpn()
                .any(|offered| self.alpn.iter().any(|wanted| wanted == offered));
        by_name && by_alpn
    }
}

/// Whether a name is one that a pattern means: itself, or with `*.` any name below.
fn is_match(pattern: &str, name: &str) -> bool {
    match pattern.strip_prefix("*.") {
        None => pattern.eq_ignore_ascii_case(name),
        Some(parent) => {
            let rest = name.len().checked_sub(parent.len());
            rest.is_some_and(|at| {
                at > 1
                    && name.as_bytes().get(at - 1) == Some(&b'.')
                    && name
                        .get(at..)
                        .is_some_and(|end| end.eq_ignore_ascii_case(parent))
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_mean_names_below() {
        assert!(is_match("a.test", "a.test"));
        assert!(is_match("*.a.test", "b.a.test"));
        assert!(is_match("*.a.test", "c.b.a.test"));
        for name in ["a.test", "ba.test", ".a.test", "x.b.test", ""] {
            assert!(!is_match("*.a.test", name), "{name}");
        }
    }
}
