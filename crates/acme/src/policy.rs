//! When to renew and when to try again: pure functions of time and facts.
//!
//! All times are seconds since the Unix epoch. Chance comes in as a seed that stays the same for one
//! certificate, so that asking again does not move the moment.

use clearway_base::hash::mix;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// Certificates that live shorter are renewed at half their life rather than at two thirds, because a
/// third of theirs leaves too few tries.
pub const SHORT_LIVED: u64 = 10 * DAY;

/// The first pause after a failure.
const PAUSE_FIRST: u64 = MINUTE;

/// No pause is longer as long as nobody demands it: trouble that was mended is noticed within this.
const PAUSE_MAX: u64 = 6 * HOUR;

/// Close to the end of a certificate the pause never gets shorter than this: public authorities allow
/// about five failures per name and hour.
const PAUSE_URGENT: u64 = 12 * MINUTE;

/// An authority that demands a longer wait is asked again after this nevertheless, in case its clock or
/// its answer is wrong.
const DEMAND_MAX: u64 = 8 * DAY;

/// Bounds for how soon and how late renewal information is asked for again (RFC 9773 section 4.3.2).
const INFO_MIN: u64 = MINUTE;
const INFO_MAX: u64 = DAY;

/// How long a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// From when.
    pub not_before: u64,
    /// Until when.
    pub not_after: u64,
}

impl Validity {
    /// Its whole length in seconds.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.not_after.saturating_sub(self.not_before)
    }

    /// What is left of it.
    #[must_use]
    pub fn left(&self, now: u64) -> u64 {
        self.not_after.saturating_sub(now)
    }
}

/// When the authority suggests to renew (RFC 9773 section 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// From when.
    pub start: u64,
    /// Until when.
    pub end: u64,
}

/// When a certificate is to be renewed: at a moment of the authority's window, else by its lifetime.
///
/// - By lifetime: when a third of it is left, half for those that live shorter than [`SHORT_LIVED`]; up
///   to a thirtieth of the lifetime earlier, by chance, so that certificates of one day do not all come
///   due at once.
/// - By window: a moment in it, evenly by chance; a window in the past means now. A window that ends
///   before it starts is ignored. It never puts the renewal into the last tenth of the lifetime.
#[must_use]
pub fn renew_at(validity: Validity, window: Option<Window>, seed: u64) -> u64 {
    let length = validity.length();
    if let Some(window) = window
        && window.end > window.start
    {
        let salt = mix(window.start ^ window.end.rotate_left(32));
        let moment = window.start + below(seed ^ salt, window.end - window.start);
        return moment.min(validity.not_after - length / 10);
    }
    let left = if length < SHORT_LIVED {
        length / 2
    } else {
        length / 3
    };
    validity.not_after - left - below(seed, length / 30)
}

/// The earliest moment to renew a certificate that was obtained at `obtained`: a day later, or a
/// twentieth of a shorter life, at least a minute. Without it, an authority whose windows or lifetimes
/// make no sense, or a wrong clock, would make us order without end.
#[must_use]
pub fn not_before(obtained: u64, validity: Validity) -> u64 {
    obtained.saturating_add((validity.length() / 20).clamp(MINUTE, DAY))
}

/// When to ask for renewal information again, given what `Retry-After` said (in seconds), or `None` when
/// asking failed.
#[must_use]
pub fn ask_info_at(now: u64, retry_after: Option<u64>) -> u64 {
    let wait = retry_after.unwrap_or(6 * HOUR).clamp(INFO_MIN, INFO_MAX);
    now.saturating_add(wait)
}

/// When to try again after `failures` failures in a row (1 for the first).
///
/// The pause doubles from one minute up to six hours and is spread by a fifth. When less than two days of
/// a working certificate are left, it is at most an eighth of that, and at least twelve minutes. What the
/// authority demands (`demanded`, a time) comes on top.
#[must_use]
pub fn try_again_at(
    now: u64,
    failures: u32,
    not_after: Option<u64>,
    demanded: Option<u64>,
    seed: u64,
) -> u64 {
    let doubled = PAUSE_FIRST.saturating_mul(1_u64 << failures.saturating_sub(1).min(20));
    let mut pause = doubled.min(PAUSE_MAX);
    if let Some(end) = not_after
        && end > now
    {
        pause = pause.min(((end - now) / 8).max(PAUSE_URGENT));
    }
    let spread = below(seed ^ u64::from(failures), pause / 5 + 1);
    let own = now.saturating_add(pause + spread);
    let theirs = demanded.unwrap_or(0).min(now.saturating_add(DEMAND_MAX));
    own.max(theirs)
}

/// A number below `bound`, evenly by the seed; 0 when `bound` is 0.
fn below(seed: u64, bound: u64) -> u64 {
    clearway_base::rng::Rng::new(seed).below(bound)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn validity(length: u64) -> Validity {
        Validity {
            not_before: 1_000_000_000,
            not_after: 1_000_000_000 + length,
        }
    }

    #[test]
    fn ninety_days_are_renewed_after_sixty_and_six_after_three() {
        let long = renew_at(validity(90 * DAY), None, 7) - 1_000_000_000;
        assert!((57 * DAY..=60 * DAY).contains(&long), "{long}");
        let short = renew_at(validity(6 * DAY), None, 7) - 1_000_000_000;
        assert!((2 * DAY + 19 * HOUR..=3 * DAY).contains(&short), "{short}");
    }

    #[test]
    fn certificates_of_one_day_do_not_come_due_at_once() {
        let mut moments: Vec<u64> = (0..100)
            .map(|seed| renew_at(validity(90 * DAY), None, seed))
            .collect();
        moments.sort_unstable();
        moments.dedup();
        assert!(moments.len() > 95);
        assert!(moments.last().unwrap() - moments.first().unwrap() > 2 * DAY);
    }

    #[test]
    fn a_window_that_makes_no_sense_is_ignored() {
        let validity = validity(90 * DAY);
        let backwards = Window { start: 9, end: 9 };
        assert_eq!(
            renew_at(validity, Some(backwards), 3),
            renew_at(validity, None, 3)
        );
    }

    #[test]
    fn pauses_double_and_stop_growing() {
        let pause = |failures| try_again_at(0, failures, None, None, 1);
        assert!((60..=72).contains(&pause(1)), "{}", pause(1));
        assert!((120..=144).contains(&pause(2)));
        assert!((PAUSE_MAX..=PAUSE_MAX * 6 / 5).contains(&pause(40)));
        assert!((PAUSE_MAX..=PAUSE_MAX * 6 / 5).contains(&pause(u32::MAX)));
    }

    #[test]
    fn a_demand_of_the_authority_is_kept_but_not_for_ever() {
        assert_eq!(try_again_at(0, 1, None, Some(5_000), 1), 5_000);
        assert_eq!(try_again_at(0, 1, None, Some(u64::MAX), 1), DEMAND_MAX);
    }

    proptest! {
        #[test]
        fn a_renewal_lies_within_the_lifetime(
            before in 0_u64..4_000_000_000, length in 0_u64..4_000_000_000, seed: u64,
        ) {
            let validity = Validity { not_before: before, not_after: before + length };
            let at = renew_at(validity, None, seed);
            prop_assert!(at >= before && at <= validity.not_after);
            let left = validity.not_after - at;
            prop_assert!(left >= length / 3 && left <= length / 2 + length / 30 + 1);
        }

        #[test]
        fn nothing_is_renewed_without_end(obtained in 0_u64..4_000_000_000, length: u64) {
            let validity = Validity { not_before: 0, not_after: length };
            let at = not_before(obtained, validity);
            prop_assert!(at >= obtained + MINUTE && at <= obtained + DAY);
        }

        #[test]
        fn a_window_is_obeyed(
            length in DAY..1_000 * DAY, start in 0_u64..2_000_000_000, wide in 1_u64..1_000_000, seed: u64,
        ) {
            let validity = validity(length);
            let window = Window { start, end: start + wide };
            let at = renew_at(validity, Some(window), seed);
            let last = validity.not_after - length / 10;
            prop_assert!(at == last.min(at));
            prop_assert!(at == last || (window.start..window.end).contains(&at));
            prop_assert_eq!(at, renew_at(validity, Some(window), seed));
        }

        #[test]
        fn pauses_are_bounded_and_never_zero(
            now in 0_u64..4_000_000_000, failures: u32, left in 0_u64..100 * DAY, seed: u64,
        ) {
            let at = try_again_at(now, failures, Some(now + left), None, seed);
            prop_assert!(at >= now + PAUSE_FIRST);
            prop_assert!(at <= now + PAUSE_MAX * 6 / 5 + 1);
            if left > 0 && left < 2 * DAY {
                prop_assert!(at <= now + (left / 8).max(PAUSE_URGENT) * 6 / 5 + 1);
            }
        }

        #[test]
        fn information_is_asked_for_within_a_day(now in 0_u64..4_000_000_000, wait: Option<u64>) {
            let at = ask_info_at(now, wait);
            prop_assert!(at >= now + MINUTE && at <= now + DAY);
        }
    }
}
