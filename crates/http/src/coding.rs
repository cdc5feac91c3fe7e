//! Which codings of a body a client takes (RFC 9110 section 12.5.3).

use crate::head::list;

/// How well a client likes a coding, in thousandths; 0 = not at all. `None` when its header says nothing of it.
///
/// `*` speaks for codings that are not named. `x-gzip` is `gzip` (RFC 9110 section 8.4.1.3).
#[must_use]
pub fn quality(accept: &[u8], coding: &str) -> Option<u16> {
    named(accept, coding).or_else(|| named(accept, "*"))
}

/// The same where `*` speaks for nothing but itself.
#[must_use]
pub fn named(accept: &[u8], coding: &str) -> Option<u16> {
    for item in list(accept) {
        let mut parts = item.split(|&b| b == b';');
        let name = parts.next().unwrap_or_default().trim_ascii();
        let name = match name {
            name if name.eq_ignore_ascii_case(b"x-gzip") => b"gzip".as_slice(),
            name => name,
        };
        if name.eq_ignore_ascii_case(coding.as_bytes()) {
            return Some(parts.find_map(weight).unwrap_or(1_000));
        }
    }
    None
}

/// The weight in a parameter, if it is one; what cannot be read counts as 0.
fn weight(parameter: &[u8]) -> Option<u16> {
    let text = parameter.trim_ascii();
    let value = text
        .strip_prefix(b"q=")
        .or_else(|| text.strip_prefix(b"Q="))?;
    let (whole, rest) = value.split_first().unwrap_or((&b'0', &[]));
    let digits = rest.strip_prefix(b".").unwrap_or(rest);
    let is_sound = matches!(whole, b'0' | b'1')
        && digits.len() <= 3
        && (rest.is_empty() || rest.starts_with(b"."))
        && digits.iter().all(u8::is_ascii_digit);
    if !is_sound {
        return Some(0);
    }
    let mut thousandths = u16::from(whole - b'0') * 1_000;
    for (digit, unit) in digits.iter().zip([100, 10, 1]) {
        thousandths += u16::from(digit - b'0') * unit;
    }
    Some(thousandths.min(1_000))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn weights_and_stars_are_understood() {
        let cases: &[(&[u8], &str, Option<u16>)] = &[
            (b"", "gzip", None),
            (b"gzip", "gzip", Some(1_000)),
            (b"GZIP", "gzip", Some(1_000)),
            (b"x-gzip", "gzip", Some(1_000)),
            (b"deflate, gzip;q=0.5", "gzip", Some(500)),
            (b"gzip;q=0", "gzip", Some(0)),
            (b"gzip ; q=0.001", "gzip", Some(1)),
            (b"*", "br", Some(1_000)),
            (b"*;q=0, gzip", "br", Some(0)),
            (b"*;q=0, gzip", "gzip", Some(1_000)),
            (b"identity", "gzip", None),
            (b"gzip;q=2", "gzip", Some(0)),
            (b"gzip;q=1.5", "gzip", Some(1_000)),
            (b"gzip;q=0.5555", "gzip", Some(0)),
            (b"gzip;level=9", "gzip", Some(1_000)),
            (b"gzipped", "gzip", None),
        ];
        for (accept, coding, expected) in cases {
            assert_eq!(quality(accept, coding), *expected, "{accept:?} {coding}");
        }
    }

    proptest! {
        #[test]
        fn no_header_is_too_odd(accept in proptest::collection::vec(any::<u8>(), 0..60)) {
            let found = quality(&accept, "gzip");
            prop_assert!(found.is_none_or(|weight| weight <= 1_000));
        }
    }
}
