//! Targets of requests in one of the forms that say the same (RFC 3986 section 6.2).

use super::Code;
use super::text::argument;

/// What is done with a target; none where it cannot be done.
type Way = fn(&[u8]) -> Option<Vec<u8>>;

pub(super) fn normalize(arguments: &[String]) -> Result<Code, String> {
    let way: Way = match (argument(arguments, 0).trim(), argument(arguments, 1).trim()) {
        ("path-merge-slashes", "") => |target| on_path(target, merge_slashes),
        ("path-strip-dot", "") => |target| on_path(target, strip_dots),
        ("path-strip-dotdot", "") => |target| on_path(target, |path| up(path, false)),
        ("path-strip-dotdot", "full") => |target| on_path(target, |path| up(path, true)),
        ("query-sort-by-name", "") => |target| Some(sort_query(target)),
        ("percent-to-uppercase", "") => |target| uppercase(target, false),
        ("percent-to-uppercase", "strict") => |target| uppercase(target, true),
        ("percent-decode-unreserved", "") => |target| decode(target, false),
        ("percent-decode-unreserved", "strict") => |target| decode(target, true),
        ("fragment-strip", "") => |target| Some(before(target, b'#').to_vec()),
        ("fragment-encode", "") => |target| Some(encode_fragment(target)),
        (way, option) => return Err(format!("{way:?} {option:?} is no way to write a target")),
    };
    Ok(Box::new(move |value, out| match way(value) {
        Some(target) => {
            out.extend(target);
            true
        }
        None => false,
    }))
}

fn before(text: &[u8], mark: u8) -> &[u8] {
    text.split(|byte| *byte == mark).next().unwrap_or_default()
}

/// Changes the path alone.
fn on_path(target: &[u8], change: fn(&[u8]) -> Vec<u8>) -> Option<Vec<u8>> {
    let start = match target.windows(3).position(|three| three == b"://") {
        Some(at) if !target.starts_with(b"/") => {
            let behind = target.get(at + 3..)?;
            at + 3 + behind.iter().position(|byte| *byte == b'/')?
        }
        _ => 0,
    };
    let rest = target.get(start..)?;
    let path = before(before(rest, b'#'), b'?');
    let mut out = target.get(..start)?.to_vec();
    out.extend(change(path));
    out.extend_from_slice(rest.get(path.len()..)?);
    Some(out)
}

fn merge_slashes(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    for byte in path {
        if *byte != b'/' || out.last() != Some(&b'/') {
            out.push(*byte);
        }
    }
    out
}

/// Segments that are a dot go, with the slash behind them.
fn strip_dots(path: &[u8]) -> Vec<u8> {
    let mut kept: Vec<&[u8]> = Vec::new();
    let mut parts = path.split(|byte| *byte == b'/').peekable();
    while let Some(part) = parts.next() {
        match part == b"." {
            false => kept.push(part),
            true if parts.peek().is_none() => kept.push(b""),
            true => {}
        }
    }
    kept.join(&b'/')
}

/// Segments that are two dots go with the one before; those that lead above the root only if wanted.
fn up(path: &[u8], full: bool) -> Vec<u8> {
    let mut kept: Vec<&[u8]> = Vec::new();
    let mut parts = path.split(|byte| *byte == b'/').peekable();
    while let Some(part) = parts.next() {
        if part != b".." {
            kept.push(part);
            continue;
        }
        let has_above = kept.len() > 1 && kept.last() != Some(&&b".."[..]);
        if !has_above && !full {
            kept.push(part);
            continue;
        }
        if has_above {
            kept.pop();
        }
        if parts.peek().is_none() {
            kept.push(b"");
        }
    }
    kept.join(&b'/')
}

/// Parameters by their names; those of one name stay as they stand.
fn sort_query(target: &[u8]) -> Vec<u8> {
    let address = before(target, b'#');
    let path = before(address, b'?');
    let Some(query) = address.get(path.len() + 1..) else {
        return target.to_vec();
    };
    let mut parameters: Vec<&[u8]> = query.split(|byte| *byte == b'&').collect();
    parameters.sort_by_key(|parameter| before(parameter, b'='));
    let mut out = path.to_vec();
    out.push(b'?');
    out.extend(parameters.join(&b'&'));
    out.extend_from_slice(target.get(address.len()..).unwrap_or_default());
    out
}

/// Each escape through a change; where one is broken nothing, or what stands there.
fn escapes(target: &[u8], strict: bool, change: fn([u8; 2], u8, &mut Vec<u8>)) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut out = Vec::with_capacity(target.len());
    let mut rest = target;
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            out.push(*first);
            continue;
        }
        let value = match tail {
            [high, low, ..] => digit(*high)
                .zip(digit(*low))
                .map(|pair| (pair, [*high, *low])),
            _ => None,
        };
        match value {
            Some(((high, low), digits)) => {
                change(digits, u8::try_from(high * 16 + low).ok()?, &mut out);
                rest = tail.get(2..).unwrap_or_default();
            }
            None if strict => return None,
            None => out.push(b'%'),
        }
    }
    Some(out)
}

fn uppercase(target: &[u8], strict: bool) -> Option<Vec<u8>> {
    escapes(target, strict, |digits, _, out| {
        out.push(b'%');
        out.extend(digits.map(|digit| digit.to_ascii_uppercase()));
    })
}

fn decode(target: &[u8], strict: bool) -> Option<Vec<u8>> {
    escapes(target, strict, |digits, byte, out| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte);
        } else {
            out.push(b'%');
            out.extend(digits);
        }
    })
}

fn encode_fragment(target: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(target.len());
    for byte in target {
        match byte {
            b'#' => out.extend(b"%23"),
            other => out.push(*other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_brought_into_one_form() {
        for (way, option, target, wanted) in [
            ("path-merge-slashes", "", "/a//b?c//d", "/a/b?c//d"),
            ("path-strip-dot", "", "/./a/.?x=.", "/a/?x=."),
            ("path-strip-dotdot", "", "/a/../b/..", "/"),
            ("path-strip-dotdot", "", "/../a", "/../a"),
            ("path-strip-dotdot", "full", "/../a", "/a"),
            ("query-sort-by-name", "", "/?b=1&a=2&b=0", "/?a=2&b=1&b=0"),
            ("percent-to-uppercase", "", "/%c3%zz", "/%C3%zz"),
            ("percent-decode-unreserved", "", "/%41%2f", "/A%2f"),
            ("fragment-strip", "", "/a#b", "/a"),
            ("fragment-encode", "", "/a#b", "/a%23b"),
        ] {
            let code = normalize(&[way.to_owned(), option.to_owned()]).unwrap();
            let mut out = Vec::new();
            assert!(code(target.as_bytes(), &mut out), "{way} {target}");
            assert_eq!(String::from_utf8(out).unwrap(), wanted, "{way} {target}");
        }
        let strict = ["percent-to-uppercase".to_owned(), "strict".to_owned()];
        assert!(!normalize(&strict).unwrap()(b"/%zz", &mut Vec::new()));
        assert!(normalize(&["nothing".to_owned()]).is_err());
    }
}
