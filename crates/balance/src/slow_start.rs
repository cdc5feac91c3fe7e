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

/// How long until [`effective`] gives another weight; `None` when it is full.
#[must_use]
pub fn next_step(up_since: Option<Stamp>, window: Duration, now: Stamp) -> Option<Duration> {
    let since = up_since?;
    let next = step(since, window, now) + 1;
    if next > STEPS {
        return None;
    }
    // The first step that raises the weight is the one beyond the starting share.
    let next = next.max(START * STEPS / 100 + 1);
    // Rounded up, so that the step is reached and not just missed.
    let at = (micros(window) * u128::from(next)).div_ceil(u128::from(STEPS));
    let at = since.plus(Duration::from_micros(u64::try_from(at).unwrap_or(u64::MAX)));
    Some(at.since(now))
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
        /// Waiting exactly as told always reaches the next weight, and at most 20 times.
        #[test]
        fn steps_end(window_us in 0..100_000_000_u64, late_us in 0..3_u64) {
            let window = Duration::from_micros(window_us);
            let since = Some(Stamp(77));
            let mut now = Stamp(77);
            let mut weight = effective(1, since, window, now);
            let mut count = 0;
            while let Some(wait) = next_step(since, window, now) {
                now = Stamp(now.plus(wait).0 + late_us);
                let next = effective(1, since, window, now);
                prop_assert!(next > weight);
                weight = next;
                count += 1;
                prop_assert!(count <= 20);
            }
            prop_assert_eq!(weight, UNIT);
        }
    }
}
