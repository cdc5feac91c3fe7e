//! Response heads (RFC 9112 sections 4 to 6).

use clearway_outcome::FaultKind;

use crate::head::{
    Field, Framing, HeadLimits, Known, Method, Progress, Span, Version, decimal, list,
};
use crate::request::{closes, header, mark_named};
use crate::scan::{self, Bad};

/// A parsed response head. Points into the buffer it was parsed from.
#[derive(Clone, Debug, Default)]
pub struct ResponseHead {
    /// The status.
    pub status: u16,
    /// The reason phrase, possibly empty.
    pub reason: Span,
    /// The version.
    pub version: Version,
    /// The fields, in order.
    pub fields: Vec<Field>,
    /// Bytes of the head, the empty line included.
    pub len: usize,
    /// Where the body ends.
    pub framing: Framing,
    /// Whether the server keeps the connection open.
    pub keep_alive: bool,
    scanned: usize,
    line_done: bool,
}

impl ResponseHead {
    /// Parses the head at the start of `buf`, as an answer to a request with `method`.
    ///
    /// Call it again with the same bytes and more after [`Progress::Partial`].
    ///
    /// # Errors
    /// The fault kind, one of those on the server's side.
    pub fn parse(
        &mut self,
        buf: &[u8],
        limits: &HeadLimits,
        method: Method,
    ) -> Result<Progress, FaultKind> {
        let parsed = self.parse_on(buf, limits, method);
        if !matches!(parsed, Ok(Progress::Partial)) {
            self.restart();
        }
        parsed
    }

    /// Forgets a head that was partial: the next call of `parse` begins a new one. To be called wherever
    /// other bytes than more of the same may follow.
    pub fn restart(&mut self) {
        self.scanned = 0;
        self.line_done = false;
    }

    fn parse_on(
        &mut self,
        buf: &[u8],
        limits: &HeadLimits,
        method: Method,
    ) -> Result<Progress, FaultKind> {
        if !self.line_done {
            self.fields.clear();
            match self.parse_line(buf)? {
                Progress::Partial if buf.len() >= limits.bytes => {
                    return Err(FaultKind::ResponseHeadersTooLarge);
                }
                Progress::Partial => return Ok(Progress::Partial),
                Progress::Complete => self.line_done = true,
            }
        }
        let end = scan::section(buf, &mut self.scanned, limits, &mut self.fields);
        let Some(end) = end.map_err(refuse)? else {
            return Ok(Progress::Partial);
        };
        self.len = end;
        self.judge(buf, method)?;
        Ok(Progress::Complete)
    }

    /// The status line: `HTTP/1.x SP 3DIGIT SP [reason] CRLF` (RFC 9112 section 4).
    fn parse_line(&mut self, buf: &[u8]) -> Result<Progress, FaultKind> {
        foreign(buf)?;
        let Some(end) = memchr::memchr(b'\n', buf) else {
            return Ok(Progress::Partial);
        };
        let line = buf.get(..end).unwrap_or_default();
        let Some(line) = line.strip_suffix(b"\r") else {
            return Err(FaultKind::ResponseStatusLineInvalid);
        };
        self.version = match line.get(..9) {
            Some(b"HTTP/1.1 ") => Version::Http11,
            Some(b"HTTP/1.0 ") => Version::Http10,
            _ => return Err(FaultKind::ResponseStatusLineInvalid),
        };
        let digits = line
            .get(9..12)
            .ok_or(FaultKind::ResponseStatusLineInvalid)?;
        let status = decimal(digits).and_then(|n| u16::try_from(n).ok());
        self.status = status
            .filter(|status| (100..1000).contains(status))
            .ok_or(FaultKind::ResponseStatusLineInvalid)?;
        let reason = match line.get(12) {
            None => Span::default(),
            Some(b' ') => Span::new(13, line.len()),
            Some(_) => return Err(FaultKind::ResponseStatusLineInvalid),
        };
        if !reason.of(buf).iter().all(|&b| scan::is_value(b)) {
            return Err(FaultKind::ResponseStatusLineInvalid);
        }
        self.reason = reason;
        self.scanned = end + 1;
        Ok(Progress::Complete)
    }

    /// Judges the fields as a whole: framing (RFC 9112 section 6.3) and connection.
    fn judge(&mut self, buf: &[u8], method: Method) -> Result<(), FaultKind> {
        let (mut length, mut chunked, mut named) = (None, false, false);
        let mut keeps = self.version == Version::Http11;
        for index in 0..self.fields.len() {
            let Some(field) = self.fields.get_mut(index) else {
                break;
            };
            let value = field.value.of(buf);
            #[expect(
                clippy::wildcard_enum_match_arm,
                reason = "all others concern the ends"
            )]
            match field.known {
                Known::ContentLength => {
                    let number = decimal(value).ok_or(FaultKind::ResponseLengthInvalid)?;
                    if length.replace(number).is_some() {
                        return Err(FaultKind::ResponseLengthInvalid);
                    }
                    field.hop = true;
                }
                Known::TransferEncoding => {
                    if !value.eq_ignore_ascii_case(b"chunked") {
                        return Err(FaultKind::ResponseCodingUnsupported);
                    }
                    if std::mem::replace(&mut chunked, true) {
                        return Err(FaultKind::ResponseFramingConflict);
                    }
                    field.hop = true;
                }
                Known::Connection => {
                    field.hop = true;
                    for option in list(value) {
                        if option.eq_ignore_ascii_case(b"keep-alive") {
                            keeps = true;
                        } else if !option.eq_ignore_ascii_case(b"close")
                            && !option.eq_ignore_ascii_case(b"upgrade")
                        {
                            named = true;
                        }
                    }
                }
                Known::KeepAlive | Known::ProxyConnection | Known::Upgrade | Known::Te => {
                    field.hop = true;
                }
                _ => {}
            }
        }
        if named && !mark_named(&mut self.fields, buf) {
            return Err(FaultKind::ResponseHeaderInvalid);
        }
        if chunked && self.version == Version::Http10 {
            return Err(FaultKind::ResponseFramingConflict);
        }
        let has_body = !(method == Method::Head
            || self.status < 200
            || self.status == 204
            || self.status == 304);
        self.framing = match (length, chunked) {
            (Some(_), true) => return Err(FaultKind::ResponseFramingConflict),
            _ if !has_body => Framing::None,
            (None, true) => Framing::Chunked,
            (Some(length), false) => Framing::Length(length),
            (None, false) => Framing::UntilClose,
        };
        self.keep_alive =
            keeps && !closes(&self.fields, buf) && self.framing != Framing::UntilClose;
        Ok(())
    }

    /// Whether another head follows for the same request (RFC 9110 section 15.2).
    #[must_use]
    pub fn is_interim(&self) -> bool {
        (100..200).contains(&self.status) && self.status != 101
    }

    /// The value of the first field of a kind.
    #[must_use]
    pub fn field<'b>(&self, known: Known, buf: &'b [u8]) -> Option<&'b [u8]> {
        self.fields
            .iter()
            .find(|f| f.known == known)
            .map(|f| f.value.of(buf))
    }

    /// The value of the first field with a name, in any case.
    #[must_use]
    pub fn header<'b>(&self, name: &str, buf: &'b [u8]) -> Option<&'b [u8]> {
        header(&self.fields, name.as_bytes(), buf)
    }
}

/// What a server that does not speak HTTP/1 sends first.
fn foreign(buf: &[u8]) -> Result<(), FaultKind> {
    let expected = b"HTTP/1.";
    let len = buf.len().min(expected.len());
    if buf.get(..len) == expected.get(..len) {
        return Ok(());
    }
    // A TLS alert or handshake record (RFC 8446 section 5.1).
    if matches!(buf, [0x14..=0x17, 0x03, 0x00..=0x04, ..]) {
        return Err(FaultKind::ServerSpeaksTls);
    }
    // A SETTINGS or GOAWAY frame on stream 0 (RFC 9113 section 4.1).
    if matches!(buf, [0, _, _, 4 | 7, _, 0, 0, 0, 0, ..]) {
        return Err(FaultKind::ServerSpeaksHttp2);
    }
    // One byte may still be the begin of either.
    if matches!(buf, [0x14..=0x17] | [0x14..=0x17, 0x03])
        || (buf.len() < 9 && buf.starts_with(&[0]))
    {
        return Ok(());
    }
    if buf.starts_with(b"HTTP") {
        return Err(FaultKind::ResponseStatusLineInvalid);
    }
    Err(FaultKind::ResponseNotHttp)
}

/// The fault kind of a bad header section.
fn refuse(bad: Bad) -> FaultKind {
    match bad {
        Bad::TooLarge => FaultKind::ResponseHeadersTooLarge,
        Bad::TooMany => FaultKind::ResponseTooManyHeaders,
        Bad::Name
        | Bad::SpaceBeforeColon
        | Bad::Value
        | Bad::Folded
        | Bad::BareCr
        | Bad::BareLf => FaultKind::ResponseHeaderInvalid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &[u8], method: Method) -> Result<ResponseHead, FaultKind> {
        let mut head = ResponseHead::default();
        head.parse(text, &HeadLimits::default(), method)?;
        Ok(head)
    }

    #[test]
    fn broken_heads_are_told_apart() {
        use FaultKind as K;
        let cases: &[(&[u8], FaultKind)] = &[
            (b"SSH-2.0-OpenSSH\r\n", K::ResponseNotHttp),
            (b"<html>", K::ResponseNotHttp),
            (&[0x15, 3, 3, 0, 2, 2, 40], K::ServerSpeaksTls),
            (&[0, 0, 18, 4, 0, 0, 0, 0, 0], K::ServerSpeaksHttp2),
            (b"HTTP/2 200 OK\r\n\r\n", K::ResponseStatusLineInvalid),
            (b"HTTP/1.1 20 OK\r\n\r\n", K::ResponseStatusLineInvalid),
            (b"HTTP/1.1 2000 OK\r\n\r\n", K::ResponseStatusLineInvalid),
            (b"HTTP/1.1 200 OK\n\n", K::ResponseStatusLineInvalid),
            (
                b"HTTP/1.1 200 OK\r\nA b: c\r\n\r\n",
                K::ResponseHeaderInvalid,
            ),
            (
                b"HTTP/1.1 200 OK\r\nA: b\0\r\n\r\n",
                K::ResponseHeaderInvalid,
            ),
            (
                b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
                K::ResponseLengthInvalid,
            ),
            (
                b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
                K::ResponseLengthInvalid,
            ),
            (
                b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
                K::ResponseFramingConflict,
            ),
            (
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
                K::ResponseCodingUnsupported,
            ),
        ];
        for (text, kind) in cases {
            assert_eq!(
                parse(text, Method::Get).err(),
                Some(*kind),
                "{}",
                text.escape_ascii()
            );
        }
    }

    #[test]
    fn framing_follows_method_and_status() {
        let framing = |text: &str, method| parse(text.as_bytes(), method).unwrap().framing;
        let length = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
        assert_eq!(framing(length, Method::Get), Framing::Length(5));
        assert_eq!(framing(length, Method::Head), Framing::None);
        assert_eq!(
            framing("HTTP/1.1 304 X\r\nContent-Length: 5\r\n\r\n", Method::Get),
            Framing::None
        );
        assert_eq!(framing("HTTP/1.1 204\r\n\r\n", Method::Get), Framing::None);
        assert_eq!(
            framing("HTTP/1.0 200 OK\r\n\r\n", Method::Get),
            Framing::UntilClose
        );
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(framing(chunked, Method::Get), Framing::Chunked);
        assert!(
            parse(b"HTTP/1.1 103 Early Hints\r\n\r\n", Method::Get)
                .unwrap()
                .is_interim()
        );
        for cut in 0..chunked.len() {
            let mut head = ResponseHead::default();
            let part = chunked.as_bytes().get(..cut).unwrap();
            assert_eq!(
                head.parse(part, &HeadLimits::default(), Method::Get),
                Ok(Progress::Partial)
            );
            let whole = head.parse(chunked.as_bytes(), &HeadLimits::default(), Method::Get);
            assert_eq!(whole, Ok(Progress::Complete));
            // The part is forgotten when other bytes follow.
            let limits = HeadLimits::default();
            assert_eq!(
                head.parse(part, &limits, Method::Get),
                Ok(Progress::Partial)
            );
            head.restart();
            let other = b"HTTP/1.0 404 Not Found\r\n\r\n";
            let whole = head.parse(other, &limits, Method::Get);
            assert_eq!((whole, head.status), (Ok(Progress::Complete), 404));
            assert!(head.fields.is_empty());
        }
    }
}
