//! Choosing the backend of a connection that is passed through: by where it comes from, and by its
//! ClientHello where something looks at that.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use clearway_base::buffer::Lease;
use clearway_http::{Edits, RequestHead};
use clearway_net::tls::hello::Hello;
use clearway_net::tls::name_matches;
use clearway_outcome::{FaultKind, RequestId, TlsFacts, TlsOffer};
use clearway_rules::Scratch;

use crate::client::Conn;
use crate::client::hello;
use crate::exchange::around::Surroundings;
use crate::plan::PassPlan;
use crate::refuse;

/// Where a connection goes, with the bytes that told.
pub(super) struct Seen {
    pub(super) first: Option<Lease>,
    pub(super) way: Way,
}

/// What becomes of a connection.
#[derive(Default)]
pub(super) enum Way {
    /// It goes to the listener's own backend.
    #[default]
    Own,
    /// It goes the listener's way of this place.
    Through(usize),
    /// The client is told this, and that is all.
    Told(Vec<u8>),
}

/// What is known of the first bytes.
enum Begin {
    /// Nobody has asked.
    Unread,
    Hello(Box<Hello>),
    /// They are something else, and why they are no ClientHello.
    Other(FaultKind),
}

/// Looks for the first way that takes the connection, whose bytes may have begun with `first`. They are
/// read as soon as a way needs to know them.
///
/// `Err(())` means that the connection was refused and reported, or that the client left.
pub(super) async fn choose(conn: &mut Conn, first: Option<Lease>) -> Result<Seen, ()> {
    let mut scratch = Scratch::default();
    scratch.exchange_session(&mut conn.session);
    let seen = look(conn, first, &mut scratch).await;
    // What is tracked is tracked as long as the connection is open.
    scratch.exchange_session(&mut conn.session);
    seen
}

async fn look(
    conn: &mut Conn,
    mut first: Option<Lease>,
    scratch: &mut Scratch,
) -> Result<Seen, ()> {
    let plan = conn.plan();
    let Some(listener) = plan.plan.listeners.get(conn.listener_at).cloned() else {
        return Err(());
    };
    let mut begin = Begin::Unread;
    let head = RequestHead::default();
    let mut is_let_in = false;
    // Nothing more is waited for.
    let mut is_over = listener.inspect_delay.is_zero();
    for (place, way) in listener.passthrough.iter().enumerate() {
        if is_let_in && (way.accepts || way.rejects) {
            continue;
        }
        if way.needs_hello && matches!(begin, Begin::Unread) {
            let (lease, seen) = read(conn, first.take()).await?;
            (first, begin) = (Some(lease), seen);
        }
        let holds = loop {
            let bytes = first.as_ref().map(Lease::filled).unwrap_or_default();
            let around = Surroundings { conn, plan: &plan };
            let view = around.view(&head, bytes, RequestId(0));
            let holds = way.takes(&begin) && way.gate.holds(&view, scratch);
            let is_certain =
                holds || is_over || !way.payload.is_some() || way.payload.is_met(bytes);
            if is_certain {
                break holds;
            }
            let waited = more(conn, first.take(), listener.inspect_delay).await;
            (first, is_over) = (Some(waited.0), waited.1);
        };
        if !holds {
            continue;
        }
        if let Some(counting) = &way.counting {
            let bytes = first.as_ref().map(Lease::filled).unwrap_or_default();
            let around = Surroundings { conn, plan: &plan };
            let view = around.view(&head, bytes, RequestId(0));
            counting.run_request(&view, scratch, &mut Edits::default());
            continue;
        }
        if way.accepts {
            (is_let_in, is_over) = (true, true);
            continue;
        }
        if way.rejects {
            refuse::handshake(conn, FaultKind::Denied);
            return Err(());
        }
        let way = match &way.reply {
            Some(words) => {
                let bytes = first.as_ref().map(Lease::filled).unwrap_or_default();
                let around = Surroundings { conn, plan: &plan };
                let view = around.view(&head, bytes, RequestId(0));
                let mut text = Vec::new();
                words.write(&view, scratch, &mut text);
                Way::Told(text)
            }
            None => Way::Through(place),
        };
        return Ok(Seen { first, way });
    }
    if listener.fallback.backend.is_some() {
        let way = Way::Own;
        return Ok(Seen { first, way });
    }
    let kind = match begin {
        Begin::Hello(_) | Begin::Unread => FaultKind::TlsNameUnknown,
        Begin::Other(kind) => kind,
    };
    refuse::handshake(conn, kind);
    Err(())
}

/// Waits for further bytes, until `delay` after the connection came. True: none will come, or there is no
/// room for more.
async fn more(conn: &mut Conn, first: Option<Lease>, delay: Duration) -> (Lease, bool) {
    let worker = Rc::clone(&conn.worker);
    conn.timer.set_after(conn.accepted, delay);
    let mut lease = first.unwrap_or_else(|| worker.small.lease());
    if lease.is_full() {
        return (lease, true);
    }
    let read = poll_fn(|cx| match conn.stream.poll_read_into(cx, &mut lease) {
        Poll::Ready(result) => Poll::Ready(Some(result)),
        Poll::Pending if conn.timer.poll_expired(cx) => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    });
    let is_over = !matches!(read.await, Some(Ok(count)) if count > 0);
    worker.tick();
    (lease, is_over)
}

/// Reads the ClientHello.
async fn read(conn: &mut Conn, first: Option<Lease>) -> Result<(Lease, Begin), ()> {
    let (lease, seen) = hello::read(conn, first).await;
    let kind = match seen {
        hello::Seen::Hello(hello) => {
            conn.tls = Some(Rc::new(TlsFacts {
                server_name: hello.server_name.clone().unwrap_or_default(),
                // Newer versions are not said there (RFC 8446 section 4.1.2).
                offered: hello
                    .versions
                    .iter()
                    .copied()
                    .max()
                    .unwrap_or(0)
                    .min(0x0303),
                offer: TlsOffer {
                    version: hello.versions.iter().copied().max().unwrap_or_default(),
                    alpn: hello.alpn().collect::<Vec<_>>().join(&b','),
                },
                ..TlsFacts::default()
            }));
            return Ok((lease, Begin::Hello(hello)));
        }
        // Another way, or the listener's own backend, may be for everything else.
        hello::Seen::Other(refused) => return Ok((lease, Begin::Other(refused.kind))),
        // It only looked whether somebody listens.
        hello::Seen::Ended if lease.is_empty() => return Err(()),
        hello::Seen::Ended => FaultKind::TlsHandshakeClosed,
        hello::Seen::TimedOut => FaultKind::TlsHandshakeTimeout,
    };
    conn.worker.tick();
    refuse::handshake(conn, kind);
    Err(())
}

impl PassPlan {
    /// Whether a client that begins so goes this way, whatever else has to hold.
    fn takes(&self, begin: &Begin) -> bool {
        if self.names.is_empty() && self.alpn.is_empty() {
            return true;
        }
        let Begin::Hello(hello) = begin else {
            return false;
        };
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
