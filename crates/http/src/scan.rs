//! The scanner for header sections that requests, responses and trailers share.

use crate::head::{Field, HeadLimits, Known, Span, Tolerance};

const TOKEN: u8 = 1;
const VALUE: u8 = 2;
const TARGET: u8 = 4;

/// What each byte may be part of: tokens (RFC 9110 section 5.6.2), field values (5.5), targets.
static CLASS: [u8; 256] = classes();

#[expect(clippy::cast_possible_truncation, reason = "the index is below 256")]
const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0_usize;
    while byte < 256 {
        let mut class = 0;
        if byte == 9 || (byte >= 0x20 && byte != 0x7f) {
            class |= VALUE;
        }
        if byte > 0x20 && byte < 0x7f {
            let is_delimiter = matches!(
                byte as u8,
                b'"' | b'('
                    | b')'
                    | b','
                    | b'/'
                    | b':'
                    | b';'
                    | b'<'
                    | b'='
                    | b'>'
                    | b'?'
                    | b'@'
                    | b'['
                    | b'\\'
                    | b']'
                    | b'{'
                    | b'}'
            );
            if !is_delimiter {
                class |= TOKEN;
            }
            // What browsers send unescaped is let through; what could end a line or a fragment is
            // not.
            if !matches!(byte as u8, b'#' | b'"' | b'<' | b'>' | b'\\') {
                class |= TARGET;
            }
        }
        table[byte] = class;
        byte += 1;
    }
    table
}

/// Whether a byte may stand in a token.
pub(crate) fn is_token(byte: u8) -> bool {
    CLASS[usize::from(byte)] & TOKEN != 0
}

/// Whether a byte may stand in a field value.
pub(crate) fn is_value(byte: u8) -> bool {
    CLASS[usize::from(byte)] & VALUE != 0
}

/// Whether a byte may stand in a request target.
pub(crate) fn is_target(byte: u8) -> bool {
    CLASS[usize::from(byte)] & TARGET != 0
}

/// The same where more is let through: see [`Tolerance`].
pub(crate) fn is_wide_target(byte: u8, tolerates: Tolerance) -> bool {
    is_target(byte)
        || (tolerates.wide_targets && byte.is_ascii_graphic() && byte != b'#')
        || (tolerates.any_bytes && byte >= 0x80)
}

/// How a header section can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bad {
    /// More bytes than allowed.
    TooLarge,
    /// More fields than allowed.
    TooMany,
    Name,
    SpaceBeforeColon,
    Value,
    Folded,
    BareCr,
    BareLf,
}

/// What the next line of a header section is.
enum Line {
    Field(Field),
    /// The empty line, and where what follows begins.
    End(usize),
    /// It is not complete.
    Partial,
}

/// Reads the lines of a header section from `at` on into `fields`; says where what follows begins.
///
/// `None`: the section is not complete; `at` is then the first line that is not, where the next call
/// goes on with more bytes. `limits` hold for `buf` from its start.
pub(crate) fn section(
    buf: &[u8],
    at: &mut usize,
    limits: &HeadLimits,
    fields: &mut Vec<Field>,
) -> Result<Option<usize>, Bad> {
    loop {
        match line(buf, *at, limits.tolerates)? {
            Line::Field(field) => {
                let next = field.line_end as usize;
                if next > limits.bytes {
                    return Err(Bad::TooLarge);
                }
                if fields.len() >= limits.count {
                    return Err(Bad::TooMany);
                }
                fields.push(field);
                *at = next;
            }
            Line::End(next) if next > limits.bytes => return Err(Bad::TooLarge),
            Line::End(next) => return Ok(Some(next)),
            Line::Partial if buf.len() >= limits.bytes => return Err(Bad::TooLarge),
            Line::Partial => return Ok(None),
        }
    }
}

/// Reads one line of a header section that begins at `at`.
// Returned through memory, a line costs more than reading it does.
#[expect(clippy::inline_always, reason = "measured: 0.3 µs of a request")]
#[inline(always)]
fn line(buf: &[u8], at: usize, tolerates: Tolerance) -> Result<Line, Bad> {
    let rest = buf.get(at..).unwrap_or_default();
    match rest.first() {
        None => return Ok(Line::Partial),
        Some(b'\r') => {
            return match rest.get(1) {
                None => Ok(Line::Partial),
                Some(b'\n') => Ok(Line::End(at + 2)),
                Some(_) => Err(Bad::BareCr),
            };
        }
        Some(b'\n') if tolerates.bare_lf => return Ok(Line::End(at + 1)),
        Some(b'\n') => return Err(Bad::BareLf),
        Some(b' ' | b'\t') => return Err(Bad::Folded),
        Some(_) => {}
    }
    let is_name = |b: u8| is_token(b) || (tolerates.any_bytes && b.is_ascii_graphic() && b != b':');
    let name_len = rest.iter().position(|&b| !is_name(b));
    let Some(name_len) = name_len else {
        return Ok(Line::Partial);
    };
    match rest.get(name_len) {
        Some(b':') if name_len > 0 => {}
        Some(b' ' | b'\t') if name_len > 0 => return space_or_name(rest, name_len),
        Some(b'\n') => return Err(Bad::BareLf),
        _ => return Err(Bad::Name),
    }
    let value_at = name_len + 1;
    let tail = rest.get(value_at..).unwrap_or_default();
    let value_len = value_len(tail);
    if value_len == tail.len() {
        return Ok(Line::Partial);
    }
    let mut end_len = 2;
    match (tail.get(value_len), tail.get(value_len + 1)) {
        (Some(b'\r'), Some(b'\n')) => {}
        (Some(b'\n'), _) if tolerates.bare_lf => end_len = 1,
        (Some(b'\r'), None) => return Ok(Line::Partial),
        (Some(b'\r'), Some(_)) => return Err(Bad::BareCr),
        (Some(b'\n'), _) => return Err(Bad::BareLf),
        _ => return Err(Bad::Value),
    }
    let raw = tail.get(..value_len).unwrap_or_default();
    let lead = raw.iter().take_while(|&&b| b == b' ' || b == b'\t').count();
    let trail = raw
        .iter()
        .rev()
        .take_while(|&&b| b == b' ' || b == b'\t')
        .count();
    let start = at + value_at + lead.min(value_len);
    let end = (at + value_at + value_len).saturating_sub(trail).max(start);
    let name = Span::new(at, at + name_len);
    let next = at + value_at + value_len + end_len;
    let field = Field {
        known: Known::of(name.of(buf)),
        hop: false,
        name,
        value: Span::new(start, end),
        line_end: u32::try_from(next).unwrap_or(u32::MAX),
    };
    Ok(Line::Field(field))
}

/// How many bytes at the start may stand in a field value: all but controls other than the tab.
///
/// Eight at a time: values are most of a head.
fn value_len(text: &[u8]) -> usize {
    let mut len = 0;
    loop {
        let rest = text.get(len..).unwrap_or_default();
        let (words, tail) = rest.as_chunks::<8>();
        let mut clean = 0;
        let control = words.iter().find_map(|word| {
            let found = first_control(u64::from_le_bytes(*word));
            clean += found.unwrap_or(8);
            found
        });
        if control.is_none() {
            let clean_tail = tail.iter().position(|&b| !is_value(b));
            return len + clean + clean_tail.unwrap_or(tail.len());
        }
        len += clean;
        if text.get(len) != Some(&b'\t') {
            return len;
        }
        len += 1;
    }
}

/// The place of the first byte below 0x20 or equal to 0x7f among eight, the first one lowest.
///
/// A subtraction that borrows sets the top bit of a byte below the subtrahend; what a borrow does to
/// the bytes above the first hit does not matter.
fn first_control(word: u64) -> Option<usize> {
    const ONES: u64 = u64::MAX / 255;
    const TOPS: u64 = ONES * 0x80;
    let low = word.wrapping_sub(ONES * 0x20) & !word;
    let delete = word ^ (ONES * 0x7f);
    let delete = delete.wrapping_sub(ONES) & !delete;
    let hits = (low | delete) & TOPS;
    (hits != 0).then(|| hits.trailing_zeros() as usize / 8)
}

/// White space after a name: before its colon, or in the middle of nothing.
fn space_or_name(rest: &[u8], name_len: usize) -> Result<Line, Bad> {
    let next = rest
        .get(name_len..)
        .unwrap_or_default()
        .iter()
        .find(|&&b| b != b' ' && b != b'\t');
    match next {
        Some(b':') => Err(Bad::SpaceBeforeColon),
        Some(_) => Err(Bad::Name),
        None => Ok(Line::Partial),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_end_at_the_first_control_wherever_it_is() {
        for len in 0..40 {
            for at in 0..len {
                for byte in 0..=255_u8 {
                    let mut text = vec![b'v'; len];
                    text[at] = byte;
                    let simple = text.iter().position(|&b| !is_value(b)).unwrap_or(len);
                    assert_eq!(value_len(&text), simple, "{byte} at {at} of {len}");
                    text.insert(at, b'\t');
                    let simple = text.iter().position(|&b| !is_value(b)).unwrap_or(len + 1);
                    assert_eq!(value_len(&text), simple, "tab and {byte} at {at} of {len}");
                }
            }
        }
    }
}
