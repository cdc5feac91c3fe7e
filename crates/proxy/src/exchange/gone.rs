//! Whether a client that had ended its side was still there for the response.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use clearway_outcome::{Fault, FaultKind, Phase};

use super::Exchange;
use super::talk::of_client;

/// Added to what an answer to a packet takes, for a kernel that is busy.
const SLACK: Duration = Duration::from_millis(5);
/// Nobody is waited for longer than this.
const LONGEST: Duration = Duration::from_millis(500);

impl Exchange<'_> {
    /// A client that says it has nothing more to send and one that closed its socket send the same FIN; the
    /// latter's host answers what is written afterwards with RST. To be called when the response is written,
    /// and only for a client that ended its side before: such a connection carries no other request, so that
    /// waiting for two round trips costs nobody anything.
    ///
    /// `Some` where the client had left. Not cancel safe: the exchange's timer is used.
    pub(super) async fn left_before(&self) -> Option<Fault> {
        let facts = self.conn.stream.tcp_facts()?;
        let trip = Duration::from_micros(u64::from(facts.rtt_us));
        let wait = (trip * 2 + SLACK).min(LONGEST);
        self.conn.timer.set_after(self.conn.worker.tick(), wait);
        poll_fn(|cx| {
            if self.conn.timer.poll_expired(cx) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
        self.conn.worker.tick();
        let error = self.conn.stream.take_error()?;
        let fault = self.client_fault(FaultKind::ClientClosed, Phase::Wait);
        Some(of_client(fault, &error))
    }
}
