//! The first bytes that came from the client, whatever they are; of a request its head.

use super::{Argument, Context, Short, Visit};

pub(super) fn length(at: &Context<'_>, _: &Argument, visit: &mut Visit<'_>) -> bool {
    visit(Short::of(at.view.buf.len()).as_bytes())
}

/// `OFFSET,LENGTH`: the bytes once all of them are there; with a length of 0 all that are there.
pub(super) fn bytes(at: &Context<'_>, range: &Argument, visit: &mut Visit<'_>) -> bool {
    let Some((offset, length)) = range_of(&range.text) else {
        return false;
    };
    let rest = at.view.buf.get(offset..).unwrap_or_default();
    if length == 0 {
        return !rest.is_empty() && visit(rest);
    }
    rest.get(..length).is_some_and(visit)
}

/// The range that a payload is asked for by, and its length; 0 = to the end.
#[must_use]
pub fn range_of(text: &str) -> Option<(usize, usize)> {
    let (offset, length) = text.split_once(',').unwrap_or((text, "0"));
    let number = |text: &str| text.trim().parse::<u16>().ok().map(usize::from);
    Some((number(offset)?, number(length)?))
}

pub(super) fn is_http(at: &Context<'_>, _: &Argument, visit: &mut Visit<'_>) -> bool {
    let is_http = looks_like_http(at.view.buf) == Some(true);
    visit(if is_http { b"1" } else { b"0" })
}

/// Whether bytes begin with the first line of an HTTP request; `None` while that cannot be said.
#[must_use]
pub fn looks_like_http(bytes: &[u8]) -> Option<bool> {
    let is_method = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_!#$%&'*+.^`|~".contains(byte);
    let line = bytes.split(|byte| *byte == b'\n').next()?;
    let is_complete = line.len() < bytes.len();
    let method = line.iter().take_while(|byte| is_method(byte)).count();
    match line.get(method) {
        _ if method > 32 => Some(false),
        None if is_complete => Some(false),
        None => None,
        Some(b' ') if method > 0 => {
            let is_text = line
                .iter()
                .all(|byte| *byte >= b' ' || b"\r\t".contains(byte));
            if !is_text {
                return Some(false);
            }
            let text = line.strip_suffix(b"\r").unwrap_or(line);
            let version = text.rsplit(|byte| *byte == b' ').next();
            let is_known = version.is_some_and(|version| version.starts_with(b"HTTP/"));
            is_complete.then_some(is_known)
        }
        Some(_) => Some(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_lines_are_recognised() {
        assert_eq!(looks_like_http(b""), None);
        assert_eq!(looks_like_http(b"GE"), None);
        assert_eq!(looks_like_http(b"GET / HT"), None);
        assert_eq!(looks_like_http(b"GET / HTTP/1.1\r\n"), Some(true));
        assert_eq!(looks_like_http(b"hello\n"), Some(false));
        assert_eq!(looks_like_http(b"hello you\n"), Some(false));
        assert_eq!(looks_like_http(b"\x16\x03\x01"), Some(false));
    }

    #[test]
    fn ranges_are_read() {
        assert_eq!(range_of("0,4"), Some((0, 4)));
        assert_eq!(range_of("3"), Some((3, 0)));
        assert_eq!(range_of("x,4"), None);
    }
}
