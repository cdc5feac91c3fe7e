//! Time stamps, known by their shape.

use super::scan;

/// What local time is ahead of UTC, in seconds. Error logs of NGINX and the logs of HAProxy are in local
/// time and do not say which, so whoever reads them has to know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Zone(pub i32);

/// Microseconds since 1970 of a time stamp in one of the shapes
/// `2026/11/21 04:34:26`, `2026-11-21T04:34:26.123Z`, `21/Nov/2026:04:34:26.123 +0000` and
/// `1795246199.123`; where it names no zone, the time is in `zone`.
pub(super) fn parse(stamp: &[u8], zone: Zone) -> Option<i64> {
    if let [_, _, b'/', ..] = stamp {
        return common(stamp, zone);
    }
    if let [_, _, _, _, b'/' | b'-', ..] = stamp {
        return ordered(stamp, zone);
    }
    if let Some(micros) = scan::seconds(stamp) {
        return i64::try_from(micros).ok();
    }
    None
}

/// `21/Nov/2026:04:34:26.123 +0000`, fraction and zone optional.
fn common(stamp: &[u8], zone: Zone) -> Option<i64> {
    const MONTHS: [&[u8]; 12] = [
        b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov",
        b"Dec",
    ];
    let name = stamp.get(3..6)?;
    let month = MONTHS.iter().position(|month| *month == name)?;
    let date = (
        digits(stamp, 7, 4)?,
        i64::try_from(month).ok()? + 1,
        digits(stamp, 0, 2)?,
    );
    let clock = [
        digits(stamp, 12, 2)?,
        digits(stamp, 15, 2)?,
        digits(stamp, 18, 2)?,
    ];
    Some(assemble(date, clock) + rest(stamp.get(20..)?, zone)?)
}

/// `2026-11-21T04:34:26.123+01:00`, and the same with slashes and a space.
fn ordered(stamp: &[u8], zone: Zone) -> Option<i64> {
    let date = (
        digits(stamp, 0, 4)?,
        digits(stamp, 5, 2)?,
        digits(stamp, 8, 2)?,
    );
    let clock = [
        digits(stamp, 11, 2)?,
        digits(stamp, 14, 2)?,
        digits(stamp, 17, 2)?,
    ];
    if !(1..=12).contains(&date.1) {
        return None;
    }
    Some(assemble(date, clock) + rest(stamp.get(19..)?, zone)?)
}

fn digits(stamp: &[u8], from: usize, count: usize) -> Option<i64> {
    scan::number(stamp.get(from..from + count)?).and_then(|value| i64::try_from(value).ok())
}

/// Microseconds of a date and a time of day, by the days of the proleptic Gregorian calendar.
fn assemble((year, month, day): (i64, i64, i64), [hour, minute, second]: [i64; 3]) -> i64 {
    let from_march = (month + 9) % 12;
    let year = year - i64::from(from_march >= 10);
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * from_march + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    (((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000
}

/// What the fraction and the zone add, in microseconds.
fn rest(text: &[u8], zone: Zone) -> Option<i64> {
    let (mut micros, mut text) = (0, text);
    if let Some((b'.' | b',', fraction)) = text.split_first() {
        let mut place = 100_000;
        let count = fraction.iter().take_while(|b| b.is_ascii_digit()).count();
        for digit in fraction.iter().take(count) {
            micros += i64::from(digit - b'0') * place;
            place /= 10;
        }
        text = fraction.get(count..)?;
    }
    let text = text.strip_prefix(b" ").unwrap_or(text);
    let ahead = match text.split_first() {
        Some((b'Z', _)) => 0,
        Some((sign @ (b'+' | b'-'), offset)) => {
            let minutes = offset.strip_prefix(b":").unwrap_or(offset);
            let at = if minutes.get(2) == Some(&b':') { 3 } else { 2 };
            let seconds = digits(offset, 0, 2)? * 3_600 + digits(offset, at, 2)? * 60;
            if *sign == b'-' { -seconds } else { seconds }
        }
        _ => i64::from(zone.0),
    };
    Some(micros - ahead * 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_stamps_are_known_by_their_shape() {
        const AT: i64 = 1_795_246_199_000_000;
        for (stamp, more) in [
            ("2026/11/21 07:29:59", 0),
            ("2026-11-21T07:29:59.999Z", 999_000),
            ("2026-11-21T08:29:59.000001+01:00", 1),
            ("2026-11-21T07:29:59+00:00", 0),
            ("21/Nov/2026:07:29:59", 0),
            ("21/Nov/2026:07:29:59.125", 125_000),
            ("21/Nov/2026:02:29:59 -0500", 0),
            ("1795246199.125", 125_000),
            ("1795246199", 0),
        ] {
            assert_eq!(parse(stamp.as_bytes(), Zone(0)), Some(AT + more), "{stamp}");
        }
        let east = parse(b"21/Nov/2026:08:29:59", Zone(3_600));
        assert_eq!(east, Some(AT));
        assert_eq!(
            parse(b"2000-02-29 00:00:00", Zone(0)),
            Some(951_782_400_000_000)
        );
        for stamp in [
            "",
            "-",
            "21/Foo/2026:07:29:59",
            "2026-99-21T07:29:59Z",
            "//////",
        ] {
            assert_eq!(parse(stamp.as_bytes(), Zone(0)), None, "{stamp}");
        }
    }
}
