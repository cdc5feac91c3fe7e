//! Time: a monotonic stamp in microseconds and the wall clock, each read in exactly one place.
//!
//! Everything that decides by time takes a [`Stamp`] as an argument, so that it can be replayed.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A point on the process's monotonic clock, in microseconds since the first reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp(pub u64);

impl Stamp {
    /// The earliest stamp.
    pub const ZERO: Self = Self(0);

    /// Microseconds from `earlier` to `self`; 0 when `earlier` is later.
    #[must_use]
    pub fn micros_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Time from `earlier` to `self`; zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.micros_since(earlier))
    }

    /// The stamp `by` later, saturating.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(by.as_micros()).unwrap_or(u64::MAX)),
        )
    }
}

fn origin() -> (Instant, SystemTime) {
    static ORIGIN: OnceLock<(Instant, SystemTime)> = OnceLock::new();
    #[expect(
        clippy::disallowed_methods,
        reason = "this module is the one reader of the clocks"
    )]
    *ORIGIN.get_or_init(|| (Instant::now(), SystemTime::now()))
}

/// Reads the monotonic clock.
#[must_use]
pub fn now() -> Stamp {
    let (start, _) = origin();
    #[expect(
        clippy::disallowed_methods,
        reason = "this module is the one reader of the clocks"
    )]
    let elapsed = Instant::now().saturating_duration_since(start);
    // One microsecond is added so that a reading never equals `Stamp::ZERO`, which means "never".
    Stamp(u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX - 1) + 1)
}

/// Reads the wall clock: microseconds since the Unix epoch, 0 when the clock is before it.
#[must_use]
pub fn wall() -> u64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "this module is the one reader of the clocks"
    )]
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH).map_or(0, |since| {
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    })
}

/// Whole seconds since 1970, as the times of certificates are written.
#[must_use]
pub fn wall_seconds() -> i64 {
    i64::try_from(wall() / 1_000_000).unwrap_or(i64::MAX)
}

/// The wall-clock time (microseconds since the Unix epoch) of a stamp, without reading a clock.
///
/// It is derived from the pair of readings taken at start, so steps of the wall clock after that
/// do not show.
#[must_use]
pub fn wall_of(stamp: Stamp) -> u64 {
    let (_, wall) = origin();
    let base = wall.duration_since(UNIX_EPOCH).map_or(0, |since| {
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    });
    base.saturating_add(stamp.0)
}

/// A calendar date and time in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Civil {
    /// Year, e.g. 2026.
    pub year: u32,
    /// Month, 1 to 12.
    pub month: u8,
    /// Day of the month, 1 to 31.
    pub day: u8,
    /// Hour, 0 to 23.
    pub hour: u8,
    /// Minute, 0 to 59.
    pub minute: u8,
    /// Second, 0 to 59.
    pub second: u8,
    /// Microsecond within the second.
    pub micro: u32,
    /// Day of the week, 0 = Sunday.
    pub weekday: u8,
}

impl Civil {
    /// The UTC date of `micros` microseconds since the Unix epoch (proleptic Gregorian calendar).
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "every narrowed value is a bounded remainder"
    )]
    pub fn from_unix_micros(micros: u64) -> Self {
        let seconds = micros / 1_000_000;
        let days = seconds / 86_400;
        let of_day = seconds % 86_400;
        // Days since 0000-03-01, in 400-year eras of 146,097 days.
        let shifted = days + 719_468;
        let era = shifted / 146_097;
        let day_of_era = shifted % 146_097;
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 {
            month_from_march + 3
        } else {
            month_from_march - 9
        };
        let year = year_of_era + era * 400 + u64::from(month <= 2);
        Self {
            year: year as u32,
            month: month as u8,
            day: day as u8,
            hour: (of_day / 3_600) as u8,
            minute: (of_day % 3_600 / 60) as u8,
            second: (of_day % 60) as u8,
            micro: (micros % 1_000_000) as u32,
            weekday: ((days + 4) % 7) as u8,
        }
    }

    /// The day of the week as HTTP dates spell it (RFC 9110 section 5.6.7).
    #[must_use]
    pub fn day_name(&self) -> &'static str {
        const NAMES: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
        NAMES.get(usize::from(self.weekday)).copied().unwrap_or("-")
    }

    /// The month as HTTP dates and logs spell it.
    #[must_use]
    pub fn month_name(&self) -> &'static str {
        const NAMES: [&str; 12] = [
            "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
        ];
        let at = usize::from(self.month).wrapping_sub(1);
        NAMES.get(at).copied().unwrap_or("-")
    }
}

/// RFC 3339 in UTC with milliseconds, e.g. `2026-11-21T07:30:00.123Z`.
#[must_use]
pub fn rfc3339(unix_micros: u64) -> String {
    String::from_utf8_lossy(&rfc3339_text(unix_micros)).into_owned()
}

/// Microseconds since the Unix epoch of what [`rfc3339`] wrote; offsets and fractions of any length are
/// taken too, years before 1970 are not.
#[must_use]
pub fn parse_rfc3339(text: &str) -> Option<u64> {
    let (date, time) = text.split_once(['T', 't', ' '])?;
    let mut parts = date.splitn(3, '-');
    let mut next = || parts.next()?.parse::<u64>().ok();
    let (year, month, day) = (next()?, next()?, next()?);
    let zone = time.find(['Z', 'z', '+', '-']).unwrap_or(time.len());
    let (time, zone) = time.split_at_checked(zone)?;
    let (whole, fraction) = time.split_once('.').unwrap_or((time, ""));
    let mut parts = whole.splitn(3, ':');
    let mut next = || parts.next()?.parse::<u64>().ok();
    let (hour, minute, second) = (next()?, next()?, next()?);
    if !(1_970..=9_999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut micros = 0;
    for digit in fraction.bytes().chain(std::iter::repeat(b'0')).take(6) {
        micros = micros * 10 + u64::from(digit.is_ascii_digit().then_some(digit - b'0')?);
    }
    let seconds = days_before(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    let seconds = match zone.split_at_checked(1) {
        Some((sign @ ("+" | "-"), offset)) => {
            let (hours, minutes) = match offset.split_once(':') {
                Some(parts) => parts,
                None => offset.split_at_checked(2)?,
            };
            let offset = hours.parse::<u64>().ok()? * 3_600 + minutes.parse::<u64>().ok()? * 60;
            match sign {
                "+" => seconds.checked_sub(offset)?,
                _ => seconds.checked_add(offset)?,
            }
        }
        Some(_) | None => seconds,
    };
    seconds.checked_mul(1_000_000)?.checked_add(micros)
}

/// Days from 1970 to a date of the Gregorian calendar.
fn days_before(year: u64, month: u64, day: u64) -> u64 {
    // Years begin in March, so that the leap day is the last.
    let year = if month > 2 { year } else { year - 1 };
    let month = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * month + 2) / 5 + day - 1;
    year * 365 + year / 4 - year / 100 + year / 400 + of_year - 719_468
}

/// As [`rfc3339`], without a place of its own in memory. Years beyond 9999 lose their first digits.
#[must_use]
pub fn rfc3339_text(unix_micros: u64) -> [u8; 24] {
    civil_text(&Civil::from_unix_micros(unix_micros))
}

/// RFC 3339 in UTC of whole seconds since the Unix epoch, which may lie before it, e.g.
/// `1965-01-03T00:00:00Z`. What is outside the years 0 to 9999 becomes the nearest second within.
#[must_use]
pub fn rfc3339_seconds(unix_seconds: i64) -> [u8; 20] {
    const FIRST: i64 = -62_167_219_200;
    const LAST: i64 = 253_402_300_799;
    // The calendar repeats after 400 years, which are 146,097 days: five times that is before year 0.
    const YEARS: u32 = 5 * 400;
    const SECONDS: i64 = 5 * 146_097 * 86_400;
    let shifted = unix_seconds.clamp(FIRST, LAST) + SECONDS;
    let mut civil = Civil::from_unix_micros(shifted.unsigned_abs() * 1_000_000);
    civil.year = civil.year.saturating_sub(YEARS);
    let mut text = *b"0000-00-00T00:00:00Z";
    for (to, from) in text.iter_mut().take(19).zip(civil_text(&civil)) {
        *to = from;
    }
    text
}

fn civil_text(c: &Civil) -> [u8; 24] {
    let mut text = *b"0000-00-00T00:00:00.000Z";
    let parts = [
        (0..4, c.year),
        (5..7, u32::from(c.month)),
        (8..10, u32::from(c.day)),
        (11..13, u32::from(c.hour)),
        (14..16, u32::from(c.minute)),
        (17..19, u32::from(c.second)),
        (20..23, c.micro / 1_000),
    ];
    for (place, mut value) in parts {
        for digit in text.get_mut(place).into_iter().flatten().rev() {
            *digit = b"0123456789"[(value % 10) as usize];
            value /= 10;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        for micros in [0, 1_000, 951_782_400_000_000, 1_795_296_761_123_000] {
            assert_eq!(parse_rfc3339(&rfc3339(micros)), Some(micros));
        }
        let noon = parse_rfc3339("2026-11-21T12:00:00Z");
        assert_eq!(parse_rfc3339("2026-11-21T13:30:00+01:30"), noon);
        assert_eq!(parse_rfc3339("2026-11-21T11:00:00-0100"), noon);
        assert_eq!(parse_rfc3339("2026-11-21 12:00:00.000"), noon);
        for wrong in [
            "",
            "2026-11-21",
            "2026-13-01T00:00:00Z",
            "x-y-zT0:0:0Z",
            "1960-01-01T00:00:00Z",
        ] {
            assert_eq!(parse_rfc3339(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn civil_dates_match_known_days() {
        let cases = [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00.000Z"),
            (1_795_246_199_999_000, "2026-11-21T07:29:59.999Z"),
            (4_102_444_800_000_000, "2100-01-01T00:00:00.000Z"),
        ];
        for (micros, expected) in cases {
            assert_eq!(rfc3339(micros), expected);
        }
        let date = Civil::from_unix_micros(1_795_246_199_999_000);
        assert_eq!((date.day_name(), date.month_name()), ("Sat", "Nov"));
    }

    #[test]
    fn seconds_before_the_epoch_have_dates() {
        let cases = [
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (-157_593_600, "1965-01-03T00:00:00Z"),
            (1_767_398_400, "2026-01-03T00:00:00Z"),
            (-62_167_219_200, "0000-01-01T00:00:00Z"),
            (i64::MIN, "0000-01-01T00:00:00Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
            (i64::MAX, "9999-12-31T23:59:59Z"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(rfc3339_seconds(seconds), expected.as_bytes());
        }
    }

    #[test]
    fn stamps_never_go_back() {
        let first = now();
        let second = now();
        assert!(second >= first && first > Stamp::ZERO);
        assert_eq!(first.micros_since(second.plus(Duration::from_secs(1))), 0);
    }
}
