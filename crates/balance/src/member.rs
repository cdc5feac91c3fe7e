//! One server as a worker's picker sees it.

use clearway_base::clock::Stamp;

/// Time constant of the latency average, in microseconds: a sample's influence falls to about a
/// third in this time. Ten seconds outlive a garbage collection and forget a deployment.
const DECAY_US: f64 = 10_000_000.0;

/// A server of one backend, with what this worker knows about it.
///
/// Plain data: the worker copies verdict, weight and tier in and calls [`crate::Picker::rebuild`]
/// when one of them changed. `inflight` and the latency average are kept by [`Member::started`] and
/// [`Member::finished`] and need no rebuild.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// Stable hash of the server's name or address, unique within its backend. Hashing algorithms
    /// place the server by it, so it must be equal on every machine that shall choose alike.
    pub key: u64,
    /// Effective weight: 100 per configured weight of 1, so that slow start has steps; 0 = no new
    /// traffic.
    pub weight: u32,
    /// Whether the server may get traffic at all (up, not ejected, not in maintenance).
    pub usable: bool,
    /// 0 is used first; a higher tier (backup, lower priority) only while no lower one has a usable
    /// member.
    pub tier: u8,
    /// Requests this worker has given to the server that are not finished.
    pub inflight: u32,
    /// Whether all slots of the server are in use ([`crate::queue`]). When every member that could
    /// be chosen is full, a full one is, and the request has to wait. Needs no rebuild.
    pub full: bool,
    /// Latency average in microseconds as of `measured`; meaningless before the first sample.
    latency_us: f64,
    /// When the average last changed; `Stamp::ZERO` = never.
    measured: Stamp,
}

impl Member {
    /// A usable member of the first tier with `weight`, idle and never measured.
    #[must_use]
    pub fn new(key: u64, weight: u32) -> Self {
        Self {
            key,
            weight,
            usable: true,
            tier: 0,
            inflight: 0,
            full: false,
            latency_us: 0.0,
            measured: Stamp::ZERO,
        }
    }

    /// Notes that a request was given to the server.
    pub fn started(&mut self) {
        self.inflight = self.inflight.saturating_add(1);
    }

    /// Notes that a request ended. `latency_us` is its time to the first byte, `None` when it says
    /// nothing about the server's speed (the client left, the connection was refused).
    ///
    /// The average jumps up to a slower sample at once and comes down slowly: a server that began to
    /// stall must lose traffic now, one that recovered may wait a little.
    pub fn finished(&mut self, latency_us: Option<u64>, now: Stamp) {
        self.inflight = self.inflight.saturating_sub(1);
        let Some(sample) = latency_us else { return };
        #[expect(
            clippy::cast_precision_loss,
            reason = "latencies beyond 2^53 µs are 285 years"
        )]
        let sample = sample as f64;
        let is_first = self.measured == Stamp::ZERO;
        if is_first || sample > self.latency_us {
            self.latency_us = sample;
        } else {
            let keep = self.kept(now);
            self.latency_us = self.latency_us * keep + sample * (1.0 - keep);
        }
        self.measured = self.measured.max(now).max(Stamp(1));
    }

    /// The latency average in microseconds, fading while nothing is measured so that a server that
    /// was slow once is tried again; `None` before the first sample.
    #[must_use]
    pub fn latency_us(&self, now: Stamp) -> Option<f64> {
        (self.measured != Stamp::ZERO).then(|| self.latency_us * self.kept(now))
    }

    /// Carries what was learnt about a server over to its successor after a reload.
    pub fn adopt(&mut self, before: &Self) {
        self.inflight = before.inflight;
        self.latency_us = before.latency_us;
        self.measured = before.measured;
    }

    /// Whether the server may get new traffic.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.usable && self.weight > 0
    }

    /// Share of the average that is left after the time since the last sample.
    fn kept(&self, now: Stamp) -> f64 {
        #[expect(
            clippy::cast_precision_loss,
            reason = "times beyond 2^53 µs are 285 years"
        )]
        let passed = now.micros_since(self.measured) as f64;
        (-passed / DECAY_US).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_slow_sample_counts_at_once_and_fades_slowly() {
        let mut member = Member::new(1, 100);
        assert_eq!(member.latency_us(Stamp(5)), None);
        let mut now = Stamp(1_000);
        member.started();
        member.finished(Some(1_000), now);
        assert_eq!(member.latency_us(now), Some(1_000.0));
        member.started();
        member.finished(Some(50_000), now);
        assert_eq!(member.latency_us(now), Some(50_000.0));
        now = now.plus(Duration::from_secs(1));
        member.started();
        member.finished(Some(1_000), now);
        let after = member.latency_us(now).unwrap();
        assert!((40_000.0..48_000.0).contains(&after), "{after}");
        let later = now.plus(Duration::from_secs(60));
        assert!(member.latency_us(later).unwrap() < 200.0);
        assert_eq!(member.inflight, 0);
    }

    #[test]
    fn an_unmeasured_end_only_frees_the_place() {
        let mut member = Member::new(1, 100);
        member.started();
        assert_eq!(member.inflight, 1);
        member.finished(None, Stamp(9));
        assert_eq!(member.inflight, 0);
        assert_eq!(member.latency_us(Stamp(9)), None);
        member.finished(None, Stamp(9));
        assert_eq!(member.inflight, 0);
    }
}
