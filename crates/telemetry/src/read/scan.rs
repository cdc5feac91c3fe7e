//! Small steps over the bytes of a line. None of them fails on bytes that are not UTF-8.

use memchr::memmem;

/// The text up to the first byte that is not UTF-8.
pub(super) fn text(bytes: &[u8]) -> &str {
    match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => bytes
            .get(..error.valid_up_to())
            .and_then(|valid| std::str::from_utf8(valid).ok())
            .unwrap_or_default(),
    }
}

/// Empty where it is `-`, the usual word for nothing.
pub(super) fn said(bytes: &[u8]) -> &[u8] {
    if bytes == b"-" { b"" } else { bytes }
}

/// A number in decimal digits and nothing else.
pub(super) fn number(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() || bytes.len() > 20 {
        return None;
    }
    bytes.iter().try_fold(0_u64, |sum, byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit < 10).then_some(())?;
        sum.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// The number at the beginning, and what follows.
pub(super) fn leading_number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let end = bytes
        .iter()
        .position(|byte| !byte.is_ascii_digit())
        .unwrap_or(bytes.len());
    let (digits, rest) = bytes.split_at_checked(end)?;
    Some((number(digits)?, rest))
}

/// A status of HTTP.
pub(super) fn status(bytes: &[u8]) -> Option<u16> {
    number(bytes)
        .and_then(|status| u16::try_from(status).ok())
        .filter(|&status| status < 1_000)
}

/// Microseconds of a decimal number of units of `unit_us`, such as `0.123` seconds; `None` for `-`, -1
/// and whatever else is no time.
pub(super) fn decimal(bytes: &[u8], unit_us: u64) -> Option<u64> {
    let (whole, rest) = leading_number(bytes)?;
    let mut micros = whole.checked_mul(unit_us)?;
    match rest.split_first() {
        None => return Some(micros),
        Some((b'.', _)) => {}
        Some(_) => return None,
    }
    let mut place = unit_us;
    for byte in rest.iter().skip(1) {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        place /= 10;
        micros = micros.checked_add(u64::from(digit) * place)?;
    }
    Some(micros)
}

/// Seconds such as `0.123`, in microseconds.
pub(super) fn seconds(bytes: &[u8]) -> Option<u64> {
    decimal(bytes, 1_000_000)
}

/// Milliseconds such as `12` or `12.5`, in microseconds. A plus sign, by which HAProxy says that it has
/// not ended yet, is passed over.
pub(super) fn millis(bytes: &[u8]) -> Option<u64> {
    decimal(bytes.strip_prefix(b"+").unwrap_or(bytes), 1_000)
}

/// Where `needle` begins.
pub(super) fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    memmem::find(text, needle)
}

/// Whether it is in there.
pub(super) fn has(text: &[u8], needle: &str) -> bool {
    find(text, needle.as_bytes()).is_some()
}

/// What stands before and behind the first `needle`.
pub(super) fn split<'a>(text: &'a [u8], needle: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = find(text, needle)?;
    Some((text.get(..at)?, text.get(at + needle.len()..)?))
}

/// What stands before the first `byte`, or everything.
pub(super) fn before(text: &[u8], byte: u8) -> &[u8] {
    let end = memchr::memchr(byte, text).unwrap_or(text.len());
    text.get(..end).unwrap_or(text)
}

/// The path of a request target: no scheme, authority, query or fragment, which may hold secrets.
pub(super) fn path(target: &[u8]) -> &[u8] {
    let inside = match split(before(target, b'?'), b"://") {
        Some((scheme, rest)) if scheme.iter().all(u8::is_ascii_alphanumeric) => {
            let at = memchr::memchr(b'/', rest).unwrap_or(rest.len());
            rest.get(at..).unwrap_or_default()
        }
        _ => target,
    };
    before(before(inside, b'?'), b'#')
}

/// Method and path of a request line; both empty where it is none.
pub(super) fn request(line: &[u8]) -> (&str, &str) {
    let mut parts = line.splitn(3, |byte| *byte == b' ');
    let (method, target) = (parts.next(), parts.next());
    match (method, target) {
        (Some(method), Some(target)) if is_method(method) => (text(method), text(path(target))),
        _ => ("", ""),
    }
}

/// The path of a request line, whatever else is wrong with it.
pub(super) fn path_of_request(line: &[u8]) -> &[u8] {
    let (_, rest) = split(line, b" ").unwrap_or_default();
    path(before(rest, b' '))
}

/// Whether it may be a method: short and made of capitals.
pub(super) fn is_method(method: &[u8]) -> bool {
    (1..=24).contains(&method.len())
        && method
            .iter()
            .all(|byte| byte.is_ascii_uppercase() || matches!(byte, b'-' | b'_'))
}

/// An address without its port: `192.0.2.7:4000`, `[::1]:80` and `::1:4000` alike.
pub(super) fn without_port(address: &[u8]) -> &[u8] {
    let at = memchr::memrchr(b':', address).unwrap_or(address.len());
    let host = address.get(..at).unwrap_or(address);
    host.strip_prefix(b"[")
        .and_then(|host| host.strip_suffix(b"]"))
        .unwrap_or(host)
}

/// Appends `from` without what may be secret in it: inside quotes nothing behind `?`, `:`, `=` or `;`,
/// outside of them no query. At most 240 bytes are kept.
pub(super) fn push_words(words: &mut String, from: &[u8]) {
    push_masked(words, from, "?");
}

/// The same for a line of which nothing is known: no value behind `=` either.
pub(super) fn push_unknown(words: &mut String, from: &[u8]) {
    push_masked(words, from, "?=");
}

/// `bare` are the characters outside quotes behind which secrets may stand.
fn push_masked(words: &mut String, from: &[u8], bare: &str) {
    const MOST: usize = 240;
    let (mut quoted, mut dropping) = (false, false);
    for character in text(from).chars() {
        if words.len() >= MOST {
            break;
        }
        let ends = if quoted {
            character == '"'
        } else {
            matches!(character, ' ' | '"' | ',')
        };
        if character == '"' {
            quoted = !quoted;
        }
        if dropping && !ends {
            continue;
        }
        dropping = false;
        let secret = if quoted { "?:=;" } else { bare }.contains(character);
        if secret {
            words.push('…');
            dropping = true;
        } else if !character.is_control() {
            words.push(character);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_are_read() {
        assert_eq!(number(b"0017"), Some(17));
        assert_eq!(number(b"-1"), None);
        assert_eq!(number(b"99999999999999999999"), None);
        assert_eq!(seconds(b"0.0015"), Some(1_500));
        assert_eq!(seconds(b"3"), Some(3_000_000));
        assert_eq!(seconds(b"-1"), None);
        assert_eq!(seconds(b"0.1x"), None);
        assert_eq!(millis(b"+12.5"), Some(12_500));
        assert_eq!(status(b"502"), Some(502));
        assert_eq!(status(b"1000"), None);
    }

    #[test]
    fn paths_lose_what_may_be_secret() {
        for (target, expected) in [
            ("/a/b?token=1", "/a/b"),
            ("https://user:pw@host:8443/a?x", "/a"),
            ("http://host", ""),
            ("/a#frag", "/a"),
            ("/to?next=http://other/", "/to"),
            ("*", "*"),
        ] {
            assert_eq!(text(path(target.as_bytes())), expected, "{target}");
        }
        assert_eq!(request(b"GET /a?b HTTP/1.1"), ("GET", "/a"));
        assert_eq!(request(b"\x16\x03\x01"), ("", ""));
        assert_eq!(without_port(b"::1:4000"), b"::1");
        assert_eq!(without_port(b"[::1]:80"), b"::1");
    }

    #[test]
    fn lines_that_are_not_understood_lose_more() {
        let mut words = String::new();
        push_unknown(&mut words, b"a sid=77 \"Cookie: x\" /p?q=1 end");
        assert_eq!(words, "a sid… \"Cookie…\" /p… end");
    }

    #[test]
    fn words_lose_what_may_be_secret() {
        for (from, expected) in [
            (
                "upstream sent invalid header: \"Set-Cookie: a=b\" while",
                "upstream sent invalid header: \"Set-Cookie…\" while",
            ),
            ("to \"/index.html?key=7\", x", "to \"/index.html…\", x"),
            ("see /a?key=7 then", "see /a… then"),
        ] {
            let mut words = String::new();
            push_words(&mut words, from.as_bytes());
            assert_eq!(words, expected);
        }
    }
}
