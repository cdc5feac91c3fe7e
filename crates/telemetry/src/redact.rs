//! What receipts leave out, because it may be secret: the values of queries, and of what a server sent
//! everything that is not needed to tell what it speaks.
//!
//! Receipts, the log of failed requests and verdicts go to tickets and channels; an access log goes where
//! the operator keeps such things, and has targets as they came.

use clearway_outcome::Spoken;

/// Bytes that are shown of what belongs to no known protocol.
const UNKNOWN: usize = 16;

/// A target (or `Referer`) with the values of its query replaced by `…`.
#[must_use]
pub fn query(target: &[u8]) -> Vec<u8> {
    let mut parts = target.splitn(2, |&b| b == b'?');
    let mut out = parts.next().unwrap_or_default().to_vec();
    let Some(query) = parts.next() else {
        return out;
    };
    for (at, pair) in query.split(|&b| b == b'&').enumerate() {
        out.push(if at == 0 { b'?' } else { b'&' });
        let mut halves = pair.splitn(2, |&b| b == b'=');
        out.extend_from_slice(halves.next().unwrap_or_default());
        if halves.next().is_some() {
            out.extend_from_slice("=…".as_bytes());
        }
    }
    out
}

/// The part of a server's first bytes that may be shown: of an HTTP response the status line, of another
/// known protocol all that is kept, of anything else a few bytes.
#[must_use]
pub fn first(bytes: &[u8]) -> &[u8] {
    match Spoken::of(bytes) {
        Some(Spoken::Http1Response { .. } | Spoken::Http1Request { .. }) => {
            let end = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
            bytes.get(..end.unwrap_or(UNKNOWN)).unwrap_or(bytes)
        }
        Some(_) => bytes,
        None => bytes.get(..UNKNOWN).unwrap_or(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_keep_their_names_only() {
        let text = |target: &[u8]| String::from_utf8(query(target)).unwrap();
        assert_eq!(text(b"/a?b=1&c&token=x=y"), "/a?b=…&c&token=…");
        assert_eq!(text(b"/plain"), "/plain");
    }

    #[test]
    fn of_what_servers_send_only_what_tells_the_protocol_is_shown() {
        let cookie = b"HTTP/1.1 200 OK\r\nSet-Cookie: session=secret";
        assert_eq!(first(cookie), b"HTTP/1.1 200 OK");
        assert_eq!(
            first(b"HTTP/1.1 200 OK-and-more-secrets"),
            b"HTTP/1.1 200 OK-and-more-secrets".get(..16).unwrap()
        );
        assert_eq!(
            first(b"{\"card\":\"4111 1111 1111 1111\"}"),
            b"{\"card\":\"4111 11"
        );
        assert_eq!(
            first(b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n"),
            b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n"
        );
        assert_eq!(first(b""), b"");
    }
}
