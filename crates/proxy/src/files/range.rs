//! Which parts of a file a client asks for (RFC 9110 section 14).

use std::ops::Range;

/// What the header asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// All of it: there is no such header, it is not understood, or it asks for too much.
    All,
    /// These bytes, in this order.
    Parts(Vec<Range<u64>>),
    /// Bytes that there are not: 416.
    Beyond,
}

/// Reads a `Range` header for a file of `len` bytes; more than `max` parts are all of it.
pub(crate) fn asked(text: Option<&[u8]>, len: u64, max: usize) -> Asked {
    let Some(text) = text.and_then(|text| std::str::from_utf8(text).ok()) else {
        return Asked::All;
    };
    let unit = text
        .get(..6)
        .filter(|unit| unit.eq_ignore_ascii_case("bytes="));
    let Some(list) = unit.and_then(|unit| text.get(unit.len()..)) else {
        return Asked::All;
    };
    let (mut parts, mut total) = (Vec::new(), 0_u64);
    for item in list.split(',') {
        let Some(part) = part(item.trim_matches(' '), len) else {
            return Asked::Beyond;
        };
        if part.start >= part.end {
            // An empty file has no bytes to be asked for, and yet it is there.
            if part.start == 0 {
                return Asked::All;
            }
            continue;
        }
        total = total.saturating_add(part.end - part.start);
        parts.push(part);
        if parts.len() > max {
            return Asked::All;
        }
    }
    match parts.as_slice() {
        [] => Asked::Beyond,
        // Parts that lie over each other would make an answer larger than the file.
        _ if total > len => Asked::All,
        _ => Asked::Parts(parts),
    }
}

/// `5-9`, `5-` or `-3`; `None` when it is none of them.
fn part(item: &str, len: u64) -> Option<Range<u64>> {
    let (first, last) = item.split_once('-')?;
    let (first, last) = (first.trim_matches(' '), last.trim_matches(' '));
    if first.is_empty() {
        return Some(len.saturating_sub(number(last)?)..len);
    }
    let end = match last {
        "" => len,
        last => number(last)?.saturating_add(1).min(len),
    };
    Some(number(first)?..end)
}

/// A number of digits alone; one that is too large for any file is as large as can be.
fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read() {
        let parts = |list: &[(u64, u64)]| Asked::Parts(list.iter().map(|(a, b)| *a..*b).collect());
        for (text, wanted) in [
            ("bytes=2-4", parts(&[(2, 5)])),
            ("BYTES=2-4", parts(&[(2, 5)])),
            ("bytes=5-", parts(&[(5, 11)])),
            ("bytes=-3", parts(&[(8, 11)])),
            ("bytes=-300", parts(&[(0, 11)])),
            ("bytes=0-99", parts(&[(0, 11)])),
            ("bytes=0-0, -1", parts(&[(0, 1), (10, 11)])),
            ("bytes= 1 - 2 ,4-5", parts(&[(1, 3), (4, 6)])),
            ("bytes=0-0,100-200", parts(&[(0, 1)])),
            ("bytes=100-200", Asked::Beyond),
            ("bytes=99999999999999999999999-", Asked::Beyond),
            ("bytes=4-2", Asked::Beyond),
            ("bytes=-0", Asked::Beyond),
            ("bytes=a-b", Asked::Beyond),
            ("bytes=", Asked::Beyond),
            ("bytes=1", Asked::Beyond),
            ("chars=1-2", Asked::All),
            ("bytes", Asked::All),
            ("", Asked::All),
            ("bytes=0-10,0-10", Asked::All),
            ("bytes=0-0,1-1,2-2,3-3,4-4", Asked::All),
        ] {
            assert_eq!(asked(Some(text.as_bytes()), 11, 4), wanted, "{text}");
        }
        assert_eq!(asked(Some(b"bytes=0-"), 0, 4), Asked::All);
        assert_eq!(asked(Some(b"bytes=0-1"), 11, 0), Asked::All);
        assert_eq!(asked(None, 11, 4), Asked::All);
    }
}
