//! Choosing the backend of a TLS connection that is passed through, by its ClientHello.

use std::rc::Rc;

use clearway_base::buffer::Lease;
use clearway_net::tls::hello::Hello;
use clearway_net::tls::name_matches;
use clearway_outcome::{FaultKind, TlsFacts};

use crate::client::Conn;
use crate::client::hello;
use crate::plan::PassPlan;
use crate::refuse;

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
    let (lease, seen) = hello::read(conn, first).await;
    let kind = match seen {
        hello::Seen::Hello(hello) => return follow(conn, lease, &hello),
        // Where there is a backend for everything else, this is for it.
        hello::Seen::Other(_) if has_own_backend(conn) => {
            return Ok(Seen {
                first: lease,
                backend: None,
            });
        }
        // It only looked whether somebody listens.
        hello::Seen::Ended if lease.is_empty() => return Err(()),
        hello::Seen::Other(refused) => refused.kind,
        hello::Seen::Ended => FaultKind::TlsHandshakeClosed,
        hello::Seen::TimedOut => FaultKind::TlsHandshakeTimeout,
    };
    conn.worker.tick();
    refuse::handshake(conn, kind);
    Err(())
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
            || name
                .is_some_and(|name| self.names.iter().any(|pattern| name_matches(pattern, name)));
        let by_alpn = self.alpn.is_empty()
            || hello
                .alpn()
                .any(|offered| self.alpn.iter().any(|wanted| wanted == offered));
        by_name && by_alpn
    }
}
