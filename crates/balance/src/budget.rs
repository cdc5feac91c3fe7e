//! Retry budget: retries may add a part of the traffic, not multiply it.

use clearway_base::clock::Stamp;

/// Length of a part of the window.
const PART_US: u64 = 250_000;
/// Parts: the window is ten seconds.
const PARTS: usize = 40;
/// Parts that make up a second.
const SECOND: u64 = 1_000_000 / PART_US;

/// How many retries are allowed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Policy {
    /// Retries per request, over ten seconds; 0.2 = one retry per five requests.
    pub ratio: f64,
    /// Retries that are allowed within a second whatever the ratio says, so that a quiet backend
    /// can retry at all.
    pub min_per_second: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            ratio: 0.2,
            min_per_second: 10,
        }
    }
}

/// The budget of one backend (in one worker: give each worker its part of `min_per_second`).
///
/// Retries during an outage of one server are a small part of the traffic; during an outage of all
/// they would double the load just when it hurts. The budget tells the two apart.
#[derive(Clone, Debug)]
pub struct Budget {
    policy: Policy,
    /// Requests and retries per part of the window.
    parts: [(u32, u32); PARTS],
    /// Number of the part that is being filled, counted from the start of the clock.
    part: u64,
    requests: u64,
    retries: u64,
}

impl Budget {
    /// A budget with nothing spent.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            parts: [(0, 0); PARTS],
            part: 0,
            requests: 0,
            retries: 0,
        }
    }

    /// Notes a request (its first attempt).
    pub fn request(&mut self, now: Stamp) {
        self.advance(now);
        if let Some((requests, _)) = self.parts.get_mut(slot(self.part)) {
            *requests = requests.saturating_add(1);
            self.requests += 1;
        }
    }

    /// Whether a retry is allowed now; if so it is noted as spent.
    pub fn try_retry(&mut self, now: Stamp) -> bool {
        self.advance(now);
        let last_second: u64 = (0..SECOND.min(self.part + 1))
            .filter_map(|n| self.parts.get(slot(self.part - n)))
            .map(|&(_, retries)| u64::from(retries))
            .sum();
        let allowed = last_second < u64::from(self.policy.min_per_second) || self.is_within_ratio();
        if allowed && let Some((_, retries)) = self.parts.get_mut(slot(self.part)) {
            *retries = retries.saturating_add(1);
            self.retries += 1;
        }
        allowed
    }

    #[expect(clippy::cast_precision_loss, reason = "counts of ten seconds")]
    fn is_within_ratio(&self) -> bool {
        ((self.retries + 1) as f64) <= self.policy.ratio * self.requests as f64
    }

    /// Forgets the parts that have left the window.
    fn advance(&mut self, now: Stamp) {
        let part = now.0 / PART_US;
        let gone = part.saturating_sub(self.part).min(PARTS as u64);
        for n in 0..gone {
            if let Some(old) = self.parts.get_mut(slot(part - n)) {
                self.requests -= u64::from(old.0);
                self.retries -= u64::from(old.1);
                *old = (0, 0);
            }
        }
        self.part = self.part.max(part);
    }
}

fn slot(part: u64) -> usize {
    usize::try_from(part % PARTS as u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_quiet_backend_may_retry_and_a_busy_one_by_its_ratio() {
        let mut budget = Budget::new(Policy::default());
        let now = Stamp(20_000_000);
        assert_eq!((0..50).filter(|_| budget.try_retry(now)).count(), 10);
        assert!(budget.try_retry(Stamp(now.0 + 1_000_000)));
        let later = Stamp(now.0 + 60_000_000);
        for _ in 0..1_000 {
            budget.request(later);
        }
        assert_eq!((0..1_000).filter(|_| budget.try_retry(later)).count(), 200);
        assert_eq!((budget.requests, budget.retries), (1_000, 200));
        // What was spent comes back when it has left the window.
        let after = Stamp(later.0 + 10_000_000);
        for _ in 0..100 {
            budget.request(after);
        }
        assert_eq!((0..1_000).filter(|_| budget.try_retry(after)).count(), 20);
    }

    #[test]
    fn no_budget_no_retry() {
        let mut budget = Budget::new(Policy {
            ratio: 0.0,
            min_per_second: 0,
        });
        budget.request(Stamp(1));
        assert!(!budget.try_retry(Stamp(1)));
    }

    proptest! {
        /// Over any run retries stay within ratio × requests plus the minimum per second (and one
        /// window of it, since requests that have left the window no longer carry their retries).
        #[test]
        fn sums_match_the_parts_and_bounds_hold(
            events in proptest::collection::vec((any::<bool>(), 0..400_000_u64), 1..500),
        ) {
            let mut budget = Budget::new(Policy { ratio: 0.5, min_per_second: 2 });
            let mut now = Stamp(1);
            let (mut requests, mut retries) = (0_u64, 0_u64);
            for (retry, later) in events {
                now = Stamp(now.0 + later);
                if retry {
                    retries += u64::from(budget.try_retry(now));
                } else {
                    budget.request(now);
                    requests += 1;
                }
                let sum = budget.parts.iter().fold((0, 0), |(a, b), p| {
                    (a + u64::from(p.0), b + u64::from(p.1))
                });
                prop_assert_eq!(sum, (budget.requests, budget.retries));
            }
            let seconds = now.0 / 750_000 + 2;
            prop_assert!(retries <= requests / 2 + 2 * seconds);
        }
    }
}
