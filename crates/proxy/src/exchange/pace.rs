//! How fast a response goes to its client, where that is limited.
//!
//! What a second allows may go at once, up to a few packets; from then on it is so much per second.
//! Nobody reads ahead of it: the server or the disk waits as the client does.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use clearway_base::clock::Stamp;
use clearway_outcome::FaultKind;

use super::Exchange;
use super::pump::Pump;

/// A rest is over when so many bytes may go again, or a quarter of what a second allows.
const WORTH_WAKING: u64 = 16 * 1_024;

/// Bytes that go at once at most.
const AT_ONCE: u64 = 32 * 1_024;

/// The variable by which rules set another rate.
const RATE: &str = "response_rate";

/// A response that does not go faster than it may.
#[derive(Debug)]
pub(crate) struct Pace {
    /// Bytes per second, not 0.
    rate: u64,
    /// Bytes that are not counted.
    after: u64,
    begun: Stamp,
    /// Bytes that went so far, where nobody else counts them.
    sent: u64,
}

impl Pace {
    /// Bytes that may have gone by now.
    pub(crate) fn allowed(&self, now: Stamp) -> u64 {
        let elapsed_ms = now.micros_since(self.begun) / 1_000;
        let grown = u128::from(self.rate) * u128::from(elapsed_ms) / 1_000;
        let grown = u64::try_from(grown).unwrap_or(u64::MAX);
        let at_once = self.rate.min(AT_ONCE);
        self.after.saturating_add(at_once).saturating_add(grown)
    }

    /// How long to rest when nothing more may go.
    pub(crate) fn rest(&self) -> Duration {
        let worth = WORTH_WAKING.min(self.rate / 4).max(1);
        Duration::from_millis(worth.saturating_mul(1_000).div_ceil(self.rate).max(1))
    }
}

impl Exchange<'_> {
    /// Begins to count what goes to the client, where that is limited.
    pub(super) fn begin_pace(&mut self) {
        let own = self.request.scratch.number(RATE);
        let Some(at) = self.route else { return };
        let limits = &self.plan.route(at.listener, at.route).limits;
        let rate = own.unwrap_or(limits.response_rate);
        if rate > 0 {
            self.pace = Some(Box::new(Pace {
                rate,
                after: limits.response_rate_after,
                begun: self.conn.worker.now(),
                sent: 0,
            }));
        }
    }

    /// The same for a body that goes through a pump.
    pub(super) fn begin_pace_of(&mut self, pump: &mut Pump) {
        self.begin_pace();
        if let Some(pace) = &self.pace {
            pump.allow(pace.allowed(self.conn.worker.now()));
        }
    }

    /// How many of these bytes may go now, after a rest where none may; all where nothing is limited.
    #[expect(
        clippy::needless_pass_by_ref_mut,
        reason = "an exchange that others may look at is not to be held across a wait"
    )]
    pub(super) async fn room_for(&mut self, len: usize) -> Result<usize, FaultKind> {
        loop {
            let now = self.conn.worker.now();
            let Some(pace) = &self.pace else {
                return Ok(len);
            };
            let room = pace.allowed(now).saturating_sub(pace.sent);
            if room > 0 {
                return Ok(usize::try_from(room).unwrap_or(usize::MAX).min(len));
            }
            self.conn.timer.set_after(now, pace.rest());
            let timer = &self.conn.timer;
            poll_fn(|cx| match timer.poll_expired(cx) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            })
            .await;
            let now = self.conn.worker.tick();
            if self.conn.timer.latest().is_some_and(|latest| latest <= now) {
                return Err(FaultKind::TotalTimeout);
            }
        }
    }

    /// Counts what went, for [`Exchange::room_for`].
    pub(super) fn went(&mut self, count: usize) {
        if let Some(pace) = &mut self.pace {
            pace.sent = pace.sent.saturating_add(count as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_may_go_at_once_and_the_rest_in_its_time() {
        let pace = Pace {
            rate: 1_000,
            after: 500,
            begun: Stamp(0),
            sent: 0,
        };
        let at = |ms| Stamp(0).plus(Duration::from_millis(ms));
        assert_eq!(pace.allowed(at(0)), 1_500);
        assert_eq!(pace.allowed(at(500)), 2_000);
        assert_eq!(pace.allowed(at(10_000)), 11_500);
        assert_eq!(pace.rest(), Duration::from_millis(250));
    }

    #[test]
    fn rests_have_an_end_at_any_rate() {
        for rate in [1, 3, 1_000, 1 << 30, u64::MAX] {
            let pace = Pace {
                rate,
                after: 0,
                begun: Stamp(0),
                sent: 0,
            };
            let rest = pace.rest();
            assert!(rest >= Duration::from_millis(1) && rest <= Duration::from_secs(1));
            let now = Stamp(0).plus(rest);
            assert!(pace.allowed(now) > pace.allowed(Stamp(0)) || rate == u64::MAX);
        }
    }
}
