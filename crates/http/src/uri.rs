//! Small questions about hosts, paths and queries.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Whether `host` is a name, IPv4 address or bracketed IPv6 address with an optional port
/// (RFC 9110 section 7.2). An empty one is allowed, as RFC 9112 section 3.2 requires.
#[must_use]
pub fn is_host(host: &[u8]) -> bool {
    if host.is_empty() {
        return true;
    }
    let (name, port) = split_port(host);
    let port_ok = port.is_none_or(|p| p.len() <= 5 && p.iter().all(u8::is_ascii_digit));
    if !port_ok {
        return false;
    }
    if let Some(inner) = name.strip_prefix(b"[").and_then(|n| n.strip_suffix(b"]")) {
        let text = std::str::from_utf8(inner).unwrap_or_default();
        return text.parse::<Ipv6Addr>().is_ok();
    }
    !name.is_empty()
        && name.iter().all(|&b| {
            b.is_ascii_alphanumeric()
                || matches!(b, b'-' | b'.' | b'_' | b'~' | b'%' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=')
        })
        // All digits and dots must be a real address, or it is a trick.
        && (!name.iter().all(|&b| b.is_ascii_digit() || b == b'.')
            || std::str::from_utf8(name).is_ok_and(|t| t.parse::<Ipv4Addr>().is_ok()))
}

/// A host without its port.
#[must_use]
pub fn without_port(host: &[u8]) -> &[u8] {
    split_port(host).0
}

/// A host and its port, if there is a colon.
#[must_use]
pub fn split_port(host: &[u8]) -> (&[u8], Option<&[u8]>) {
    let after_bracket = host.iter().rposition(|&b| b == b']').map_or(0, |at| at + 1);
    let tail = host.get(after_bracket..).unwrap_or_default();
    match tail.iter().rposition(|&b| b == b':') {
        Some(at) => (
            host.get(..after_bracket + at).unwrap_or_default(),
            tail.get(at + 1..),
        ),
        None => (host, None),
    }
}

/// Whether two hosts are the same, default port 80 aside.
#[must_use]
pub fn same_host(a: &[u8], b: &[u8]) -> bool {
    let ((name_a, port_a), (name_b, port_b)) = (split_port(a), split_port(b));
    let port = |p: Option<&[u8]>| p.filter(|p| !p.is_empty()).unwrap_or(b"80").to_vec();
    name_a.eq_ignore_ascii_case(name_b) && port(port_a) == port(port_b)
}

/// The value of the first query parameter with a name, not decoded.
#[must_use]
pub fn query_param<'b>(query: &'b [u8], name: &[u8]) -> Option<&'b [u8]> {
    query.split(|&b| b == b'&').find_map(|pair| {
        let mut parts = pair.splitn(2, |&b| b == b'=');
        (parts.next()? == name).then(|| parts.next().unwrap_or_default())
    })
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte)
        .to_digit(16)
        .and_then(|d| u8::try_from(d).ok())
}

/// Decodes `%xx`; what is not a valid escape stays as it is.
pub fn decode(text: &[u8], out: &mut Vec<u8>) {
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let pair = text
            .get(at + 1)
            .copied()
            .and_then(hex)
            .zip(text.get(at + 2).copied().and_then(hex));
        match (byte, pair) {
            (b'%', Some((high, low))) => {
                out.push(high << 4 | low);
                at += 3;
            }
            _ => {
                out.push(byte);
                at += 1;
            }
        }
    }
}

/// Whether [`normalise`] would change a path.
#[must_use]
pub fn needs_normalising(path: &[u8]) -> bool {
    memchr::memchr(b'%', path).is_some()
        || path.windows(2).any(|pair| pair == b"//" || pair == b"/.")
}

/// The path as rules see it: unreserved characters decoded, repeated slashes merged, dot segments
/// removed (RFC 3986 sections 5.2.4 and 6.2.2). Escaped slashes stay escaped.
pub fn normalise(path: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    let mut decoded = Vec::with_capacity(path.len());
    let mut at = 0;
    while let Some(&byte) = path.get(at) {
        let pair = path
            .get(at + 1)
            .copied()
            .and_then(hex)
            .zip(path.get(at + 2).copied().and_then(hex));
        if byte == b'%'
            && let Some((high, low)) = pair
        {
            let value = high << 4 | low;
            if value.is_ascii_alphanumeric() || matches!(value, b'-' | b'.' | b'_' | b'~') {
                decoded.push(value);
            } else {
                decoded.extend_from_slice(path.get(at..at + 3).unwrap_or_default());
            }
            at += 3;
        } else {
            decoded.push(byte);
            at += 1;
        }
    }
    let ends_in_slash = matches!(
        decoded.rsplit(|&b| b == b'/').next(),
        Some(b"" | b"." | b"..")
    );
    for segment in decoded.split(|&b| b == b'/') {
        match segment {
            b"" | b"." => {}
            b".." => {
                let cut = out
                    .get(start..)
                    .unwrap_or_default()
                    .iter()
                    .rposition(|&b| b == b'/');
                out.truncate(start + cut.unwrap_or(0));
            }
            _ => {
                out.push(b'/');
                out.extend_from_slice(segment);
            }
        }
    }
    if out.len() == start || ends_in_slash {
        out.push(b'/');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_judged() {
        for good in [
            "",
            "example.org",
            "example.org:8080",
            "[::1]:80",
            "127.0.0.1",
            "a_b",
        ] {
            assert!(is_host(good.as_bytes()), "{good}");
        }
        for bad in [
            "exa mple",
            "a/b",
            "user@host",
            "h:80:90",
            "[::1",
            "999.1.1.1",
            "h:port",
            ":80",
        ] {
            assert!(!is_host(bad.as_bytes()), "{bad}");
        }
        assert!(same_host(b"Example.org:80", b"example.org"));
        assert!(!same_host(b"example.org:81", b"example.org"));
    }

    #[test]
    fn paths_are_normalised() {
        let cases = [
            ("/a/./b/../c", "/a/c"),
            ("//a///b/", "/a/b/"),
            ("/%61dmin", "/admin"),
            ("/a%2fb", "/a%2fb"),
            ("/..", "/"),
            ("/a/..", "/"),
            ("/a/%2e%2e/b", "/b"),
            ("/../../etc", "/etc"),
            ("/a%zz", "/a%zz"),
        ];
        for (path, expected) in cases {
            let mut out = Vec::new();
            normalise(path.as_bytes(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{path}");
        }
        assert!(!needs_normalising(b"/plain/path"));
    }

    #[test]
    fn query_parameters_are_found() {
        assert_eq!(query_param(b"a=1&b=&c", b"b"), Some(&b""[..]));
        assert_eq!(query_param(b"a=1&b=&c", b"c"), Some(&b""[..]));
        assert_eq!(query_param(b"aa=1", b"a"), None);
    }
}
