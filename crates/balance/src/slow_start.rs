//! Slow start: a server that just came up begins with a tenth of its weight.

use std::time::Duration;

use clearway_base::clock::Stamp;

/// Effective weight per configured weight of 1: steps of one percent.
pub const UNIT: u32 = 100;
/// Percent of its weight with which a server begins.
const START: u64 = 10;
/// Steps to the full weight. Each costs a rebuild of the picker, which for hashing algorithms is
/// not free, hence not more.
const STEPS: u64 = 20;

/// The weight to balance with: [`UNIT`] times the configured one, less while the server has been
/// up for less than `window`. `up_since` is `None` for servers that were up from the start.
#[must_use]
pub fn effective(configured: u32, up_since: Option<Stamp>, window: Duration, now: Stamp) -> u32 {
    let percent = match up_since {
        Some(since) => (step(since, window, now) * 100 / STEPS).max(START),
        None => 100,
    };
    let weight = u64::from(configured) * u64::from(UNIT) * percent / 100;
    u32::try_from(weight).unwrap_or(u32::MAX)
}

/// The step reached: `STEPS` from the end of the window on.
fn step(since: Stamp, window: Duration, now: Stamp) -> u64 {
    let passed = u128::from(now.micros_since(since));
    let step = (passed * u128::from(STEPS)).checked_div(micros(window));
    step.and_then(|s| u64::try_from(s).ok())
        .map_or(STEPS, |s| s.min(STEPS))
}

fn micros(time: Duration) -> u128 {
    time.as_micros()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WINDOW: Duration = Duration::from_secs(20);

    #[test]
    fn the_weight_grows_from_a_tenth_to_all() {
        let since = Some(Stamp(5));
        let at = |seconds: u64| effective(3, since, WINDOW, Stamp(5 + seconds * 1_000_000));
        assert_eq!(
            [at(0), at(2), at(3), at(10), at(19), at(20), at(99)],
            [30, 30, 45, 150, 285, 300, 300]
        );
        assert_eq!(effective(3, None, WINDOW, Stamp(5)), 300);
        assert_eq!(effective(0, since, WINDOW, Stamp(5)), 0);
        assert_eq!(effective(1, since, Duration::ZERO, Stamp(5)), 100);
        assert_eq!(effective(u32::MAX, None, WINDOW, Stamp(5)), u32::MAX);
    }

    proptest! {
        /// The weight never falls, ends at the full one with the window, and changes so seldom that
        /// rebuilding pickers costs little.
        #[test]
        fn weights_rise_in_few_steps(window_us in 0..100_000_000_u64, looks in 1..300_u64) {
            let window = Duration::from_micros(window_us);
            let since = Some(Stamp(77));
            let weights: Vec<u32> = (0..=looks)
                .map(|n| effective(1, since, window, Stamp(77 + window_us * n / looks)))
                .collect();
            prop_assert!(weights.is_sorted());
            prop_assert_eq!(weights.last(), Some(&UNIT));
            let changes = weights.windows(2).filter(|pair| pair[0] != pair[1]).count();
            prop_assert!(changes <= 20);
        }
    }
}
