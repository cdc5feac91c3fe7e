//! Rates: a leaky bucket per key, counted in thousandths of a request and in milliseconds.

use std::sync::{Arc, MutexGuard, PoisonError};

use clearway_base::clock::Stamp;
use clearway_base::store::Entry;

use super::{Budget, Kept};

/// A bucket: what is in it, and when that was so.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bucket {
    /// Thousandths of requests; none before the first.
    excess: Option<u64>,
    last_ms: u64,
}

/// What one use of a limit allows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowed<'a> {
    pub(crate) budget: &'a Budget,
    pub(crate) key: &'a [u8],
    /// Requests beyond the rate that may be under way.
    pub(crate) burst: u64,
    /// How many of them are not delayed.
    pub(crate) undelayed: u64,
}

/// What is said to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It goes on after so many milliseconds.
    Passes(u64),
    /// There are too many.
    Refused,
}

impl Bucket {
    /// What is in it with one more request, and whether time has passed.
    fn with_one(&self, rate: u64, now_ms: u64) -> (u64, bool) {
        let Some(excess) = self.excess else {
            return (0, true);
        };
        let passed = now_ms.saturating_sub(self.last_ms);
        let leaked = rate.saturating_mul(passed) / 1_000;
        (
            excess.saturating_add(1_000).saturating_sub(leaked),
            passed > 0,
        )
    }

    fn take(&mut self, excess: u64, has_passed: bool, now_ms: u64) {
        self.excess = Some(excess);
        if has_passed {
            self.last_ms = now_ms;
        }
    }
}

fn bucket(entry: &Arc<Entry<Kept>>) -> MutexGuard<'_, Bucket> {
    let bucket = &entry.value().bucket;
    bucket.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Asks several limits; one that refuses leaves the others as they were.
pub(crate) fn ask<'a>(all: impl Iterator<Item = Allowed<'a>> + Clone, now: Stamp) -> Verdict {
    let now_ms = now.0 / 1_000;
    let enter = |one: &Allowed<'_>| one.budget.store.enter(one.key, now, Kept::default);
    for one in all.clone() {
        // A full store in which every entry is held has no room: nobody is let through unseen.
        let Some(entry) = enter(&one) else {
            return Verdict::Refused;
        };
        let (excess, _) = bucket(&entry).with_one(one.budget.rate(), now_ms);
        if excess > one.burst.saturating_mul(1_000) {
            return Verdict::Refused;
        }
    }
    let mut delay_ms = 0;
    for one in all {
        let Some(entry) = enter(&one) else { continue };
        let mut bucket = bucket(&entry);
        let rate = one.budget.rate();
        let (excess, has_passed) = bucket.with_one(rate, now_ms);
        bucket.take(excess, has_passed, now_ms);
        let beyond = excess.saturating_sub(one.undelayed.saturating_mul(1_000));
        delay_ms = delay_ms.max(beyond.saturating_mul(1_000) / rate.max(1));
    }
    Verdict::Passes(delay_ms)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{LimitKind, LimitSettings};
    use super::*;

    fn budget(rate: u64) -> Budget {
        Budget::new(LimitSettings {
            kind: LimitKind::Rate(rate),
            entries: 10,
        })
    }

    fn once(budget: &Budget, burst: u64, undelayed: u64, ms: u64) -> Verdict {
        let one = Allowed {
            budget,
            key: b"k",
            burst,
            undelayed,
        };
        ask(std::iter::once(one), Stamp(ms * 1_000))
    }

    #[test]
    fn a_burst_is_delayed_and_what_is_beyond_refused() {
        // Two in a second.
        let two = budget(2_000);
        let at = 10_000;
        assert_eq!(once(&two, 2, 0, at), Verdict::Passes(0));
        assert_eq!(once(&two, 2, 0, at), Verdict::Passes(500));
        assert_eq!(once(&two, 2, 0, at), Verdict::Passes(1_000));
        assert_eq!(once(&two, 2, 0, at), Verdict::Refused);
        assert_eq!(once(&two, 2, 0, at + 500), Verdict::Passes(1_000));
        assert_eq!(once(&two, 2, 0, at + 5_000), Verdict::Passes(0));
    }

    #[test]
    fn some_of_a_burst_are_not_delayed() {
        let one = budget(1_000);
        assert_eq!(once(&one, 3, 1, 0), Verdict::Passes(0));
        assert_eq!(once(&one, 3, 1, 0), Verdict::Passes(0));
        assert_eq!(once(&one, 3, 1, 0), Verdict::Passes(1_000));
        assert_eq!(once(&one, 3, 1, 0), Verdict::Passes(2_000));
        assert_eq!(once(&one, 3, 1, 0), Verdict::Refused);
    }

    proptest! {
        /// However they come, no more pass in a time than the rate and the burst allow.
        #[test]
        fn no_more_pass_than_are_allowed(
            rate in 100_u64..100_000,
            burst in 0_u64..20,
            gaps in proptest::collection::vec(0_u64..200, 1..200),
        ) {
            let budget = budget(rate);
            let (mut now, mut passed) = (1_000, 0_u64);
            let begin = now;
            for gap in gaps {
                now += gap;
                if once(&budget, burst, burst, now) != Verdict::Refused {
                    passed += 1;
                }
                // Each sum may be rounded by a thousandth of a request.
                let most = (now - begin) * rate / 1_000_000 + burst + 2;
                prop_assert!(passed <= most, "{passed} of {most}");
            }
        }
    }
}
