//! Events over a period, told at any time.
//!
//! Two periods are counted: the one that runs and the one before it, of which a part still counts, the
//! smaller the further the running one has come. This is the way HAProxy counts, so limits written for it
//! hold here too.

/// Events of a period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Rate {
    /// When the running period began, in milliseconds.
    began_ms: u64,
    running: u64,
    before: u64,
}

impl Rate {
    /// Counts events at a time. `period_ms` is the same each time.
    pub(super) fn add(&mut self, events: u64, period_ms: u64, now_ms: u64) {
        self.turn(period_ms, now_ms);
        self.running = self.running.saturating_add(events);
    }

    /// About how many events there were in the period that ends now.
    pub(super) fn read(mut self, period_ms: u64, now_ms: u64) -> u64 {
        self.turn(period_ms, now_ms);
        // A single event does not fade: the rate would go up and down all the time.
        if self.before <= 1 && self.running == 0 {
            return self.before;
        }
        let left = (self.began_ms + period_ms).saturating_sub(now_ms);
        let faded = u128::from(self.before) * u128::from(left) / u128::from(period_ms.max(1));
        let faded = u64::try_from(faded).unwrap_or(u64::MAX);
        self.running.saturating_add(faded)
    }

    /// Makes it `rate` events per period from now on.
    pub(super) fn set(&mut self, rate: u64, now_ms: u64) {
        *self = Self {
            began_ms: now_ms,
            running: rate,
            before: 0,
        };
    }

    /// Goes to the period that runs now.
    fn turn(&mut self, period_ms: u64, now_ms: u64) {
        let over = now_ms.saturating_sub(self.began_ms);
        if over < period_ms {
            return;
        }
        if over < period_ms.saturating_mul(2) {
            self.before = self.running;
            self.began_ms += period_ms;
        } else {
            self.before = 0;
            self.began_ms = now_ms;
        }
        self.running = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_period_before_fades() {
        let mut rate = Rate::default();
        rate.set(0, 1_000);
        for at in 0..10 {
            rate.add(1, 1_000, 1_000 + at * 100);
        }
        assert_eq!(rate.read(1_000, 1_999), 10);
        assert_eq!(rate.read(1_000, 2_000), 10);
        assert_eq!(rate.read(1_000, 2_500), 5);
        assert_eq!(rate.read(1_000, 2_999), 0);
        assert_eq!(rate.read(1_000, 3_000), 0);
        rate.add(2, 1_000, 2_500);
        assert_eq!(rate.read(1_000, 2_500), 7);
    }

    proptest! {
        #[test]
        fn it_is_never_more_than_what_two_periods_saw(
            steps in proptest::collection::vec((0..300_u64, 0..5_u64), 1..60),
            period in 1..1_000_u64,
        ) {
            let (mut rate, mut now, mut all) = (Rate::default(), 5_000_u64, Vec::new());
            for (wait, events) in steps {
                now += wait;
                rate.add(events, period, now);
                all.push((now, events));
                let recent = all.iter().filter(|(at, _)| now - at < 2 * period);
                let most: u64 = recent.map(|(_, events)| *events).sum();
                prop_assert!(rate.read(period, now) <= most);
                prop_assert!(rate.read(period, now) >= events);
                prop_assert!(rate.read(period, now + 2 * period) <= 1);
            }
        }
    }
}
