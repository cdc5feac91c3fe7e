//! Handshakes that have to do with obtaining certificates: authorities that validate a name, and clients
//! that ask for a name whose certificate is still to be ordered.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use clearway_base::buffer::Lease;
use clearway_base::clock;
use clearway_net::tls::hello::Hello;
use clearway_net::tls::{CHALLENGE_ALPN, ServerTls};

use super::Conn;
use super::hello::{self, Seen};
use crate::issuance::Issuance;
use crate::plan::ListenerPlan;

/// Who answers a handshake.
pub(super) enum Answerer {
    /// The listener, as always.
    Listener,
    /// The answer to a challenge; nothing else is spoken on the connection.
    Challenge(ServerTls),
    /// Nobody yet: the certificate that the client wants was not there in time.
    Nobody,
}

/// Looks at the hello where it matters, and waits for a certificate that has to be ordered for it. Hands
/// over the bytes that were read.
pub(super) async fn prepare(conn: &mut Conn, first: Option<Lease>) -> (Option<Lease>, Answerer) {
    let Some(issuance) = conn.listener().and_then(watcher) else {
        return (first, Answerer::Listener);
    };
    let (lease, seen) = hello::read(conn, first).await;
    // What is wrong with anything but a hello is found again by the handshake.
    if let Seen::Hello(hello) = seen
        && let Some(name) = hello.server_name.as_deref()
    {
        if is_challenge(&hello) {
            let answer = issuance.tls_answer(name).map(ServerTls::challenge);
            if let Some(Ok(server)) = answer {
                return (Some(lease), Answerer::Challenge(server));
            }
        } else if is_wanted(conn, name) && ask(conn, &*issuance, name).await.is_err() {
            return (Some(lease), Answerer::Nobody);
        }
    }
    (Some(lease), Answerer::Listener)
}

/// Whom to ask, when a hello has to be looked at before it is answered.
fn watcher(listener: &ListenerPlan) -> Option<Arc<dyn Issuance>> {
    let tls = listener.tls.as_ref()?;
    let issuance = tls.issuance.as_ref()?;
    let is_watched = tls.server.certificates().are_ordered() || issuance.expects_handshake();
    is_watched.then(|| Arc::clone(issuance))
}

/// Whether an authority validates a name (RFC 8737 section 3): it offers this protocol alone.
fn is_challenge(hello: &Hello) -> bool {
    hello.alpn().eq([CHALLENGE_ALPN])
}

/// Whether a name is to have a certificate and has none that is valid.
fn is_wanted(conn: &Conn, name: &str) -> bool {
    let tls = conn.listener().and_then(|l| l.tls.as_ref());
    let now = clock::wall_seconds();
    tls.is_some_and(|tls| tls.server.certificates().lacks(name, now))
}

/// Waits for a certificate as long as the handshake may take; `Err(())` when that is over.
async fn ask(conn: &mut Conn, issuance: &dyn Issuance, name: &str) -> Result<(), ()> {
    let mut asked = issuance.ask(name);
    let timer = &mut conn.timer;
    poll_fn(|cx| match asked.as_mut().poll(cx) {
        Poll::Ready(()) => Poll::Ready(Ok(())),
        Poll::Pending if timer.poll_expired(cx) => Poll::Ready(Err(())),
        Poll::Pending => Poll::Pending,
    })
    .await
}
