//! Request heads (RFC 9112 sections 2 to 6, RFC 9110 sections 7 and 8).

use clearway_outcome::FaultKind;

use crate::head::{
    Field, Framing, HeadLimits, Known, Method, Progress, Span, Tolerance, Version, decimal, list,
};
use crate::scan::{self, Bad};

/// A parsed request head. Points into the buffer it was parsed from.
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, read by name"
)]
#[derive(Clone, Debug, Default)]
pub struct RequestHead {
    /// The method.
    pub method: Method,
    /// Its name as it came.
    pub method_text: Span,
    /// The whole request target.
    pub target: Span,
    /// The version.
    pub version: Version,
    /// The fields, in order.
    pub fields: Vec<Field>,
    /// Bytes of the head, the empty line included (and one before the request line, if there was).
    pub len: usize,
    /// Where the body ends.
    pub framing: Framing,
    /// Whether the client keeps the connection open.
    pub keep_alive: bool,
    /// Host and port: of an absolute target, else of `Host`.
    pub host: Span,
    /// The path of the target; empty for `*`.
    pub path: Span,
    /// The query, without `?`.
    pub query: Span,
    /// Whether there is a `?`.
    pub has_query: bool,
    /// Whether the client waits for `100 Continue`.
    pub expect_continue: bool,
    /// Whether the client asks for another protocol.
    pub upgrade: bool,
    /// Whether a host is told to servers: it came, or the client should have sent one.
    pub has_host: bool,
    /// Lines may not end as they should: they do not go on as they came.
    pub(crate) loose: bool,
    /// Where the next line begins: a head that was partial is not scanned again from the start.
    scanned: usize,
    line_done: bool,
    is_absolute: bool,
}

impl RequestHead {
    /// Parses the head at the start of `buf`.
    ///
    /// Call it again with the same bytes and more after [`Progress::Partial`]; after
    /// [`Progress::Complete`] or an error the next call begins a new head, and so it does after
    /// [`RequestHead::restart`].
    ///
    /// # Errors
    /// The fault kind the request is refused with.
    pub fn parse(&mut self, buf: &[u8], limits: &HeadLimits) -> Result<Progress, FaultKind> {
        let parsed = self.parse_on(buf, limits);
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

    fn parse_on(&mut self, buf: &[u8], limits: &HeadLimits) -> Result<Progress, FaultKind> {
        if !self.line_done {
            self.fields.clear();
            match self.parse_line(buf, limits)? {
                Progress::Partial => return Ok(Progress::Partial),
                Progress::Complete => self.line_done = true,
            }
        }
        let end = scan::section(buf, &mut self.scanned, limits, &mut self.fields);
        let Some(end) = end.map_err(refuse)? else {
            return Ok(Progress::Partial);
        };
        self.len = end;
        self.judge(buf, limits.tolerates)?;
        Ok(Progress::Complete)
    }

    /// The request line: `METHOD SP TARGET SP VERSION CRLF` (RFC 9112 section 3).
    fn parse_line(&mut self, buf: &[u8], limits: &HeadLimits) -> Result<Progress, FaultKind> {
        // One empty line before the request line is ignored (section 2.2).
        let at = match limits.tolerates.bare_lf {
            false if buf.starts_with(b"\r\n") => 2,
            false => 0,
            true => empty_lines(buf),
        };
        self.loose = limits.tolerates.bare_lf;
        let rest = buf.get(at..).unwrap_or_default();
        foreign(rest)?;
        let Some(end) = memchr::memchr(b'\n', rest) else {
            if rest.len() > limits.line {
                return Err(FaultKind::RequestLineTooLong);
            }
            if let Some(cr) = memchr::memchr(b'\r', rest)
                && cr + 1 < rest.len()
            {
                return Err(FaultKind::BareCr);
            }
            let method_len = rest.iter().take_while(|&&b| scan::is_token(b)).count();
            if rest
                .get(method_len)
                .is_some_and(|&b| b != b' ' && b != b'\r')
                // One byte of a TLS record does not tell yet.
                && rest != [0x16]
            {
                return Err(FaultKind::MethodInvalid);
            }
            return Ok(Progress::Partial);
        };
        if end + 1 > limits.line {
            return Err(FaultKind::RequestLineTooLong);
        }
        let line = rest.get(..end).unwrap_or_default();
        let line = match line.strip_suffix(b"\r") {
            Some(line) => line,
            None if limits.tolerates.bare_lf => line,
            None => return Err(FaultKind::BareLf),
        };
        let method_len = line.iter().take_while(|&&b| scan::is_token(b)).count();
        match line.get(method_len) {
            Some(b' ') if method_len > 0 => {}
            None | Some(b' ') => return Err(FaultKind::RequestLineInvalid),
            Some(b'\r') => return Err(FaultKind::BareCr),
            Some(_) => return Err(FaultKind::MethodInvalid),
        }
        let more = |text: &[u8]| match limits.tolerates.extra_spaces {
            true => text.iter().take_while(|&&b| b == b' ').count(),
            false => 0,
        };
        let tail = line.get(method_len + 1..).unwrap_or_default();
        let skipped = more(tail);
        let tail = tail.get(skipped..).unwrap_or_default();
        let wide = limits.tolerates;
        let is_part = |b: &&u8| scan::is_wide_target(**b, wide);
        let target_len = tail.iter().take_while(is_part).count();
        match tail.get(target_len) {
            Some(b' ') if target_len > 0 => {}
            None | Some(b' ') => return Err(FaultKind::RequestLineInvalid),
            Some(b'\r') => return Err(FaultKind::BareCr),
            Some(_) => return Err(FaultKind::TargetInvalid),
        }
        let version = tail.get(target_len + 1..).unwrap_or_default();
        self.version = match version.get(more(version)..) {
            Some(b"HTTP/1.1") => Version::Http11,
            Some(b"HTTP/1.0") => Version::Http10,
            Some(other) if other.starts_with(b"HTTP/") && !other.contains(&b' ') => {
                return Err(FaultKind::VersionUnsupported);
            }
            Some(_) | None => return Err(FaultKind::RequestLineInvalid),
        };
        self.method_text = Span::new(at, at + method_len);
        self.method = Method::of(self.method_text.of(buf));
        let target_at = at + method_len + 1 + skipped;
        self.target = Span::new(target_at, target_at + target_len);
        self.scanned = at + end + 1;
        self.split_target(buf)?;
        Ok(Progress::Complete)
    }

    /// The four forms of a target (RFC 9112 section 3.2).
    fn split_target(&mut self, buf: &[u8]) -> Result<(), FaultKind> {
        if self.method == Method::Connect {
            return Err(FaultKind::ConnectMethodRefused);
        }
        let target = self.target.of(buf);
        let start = self.target.start as usize;
        (self.host, self.is_absolute) = (Span::default(), false);
        let path_at = if target.starts_with(b"/") {
            0
        } else if target == b"*" && self.method == Method::Options {
            (self.path, self.query, self.has_query) = (Span::default(), Span::default(), false);
            return Ok(());
        } else {
            let scheme = [&b"http://"[..], b"https://"].into_iter().find(|s| {
                target
                    .get(..s.len())
                    .is_some_and(|t| t.eq_ignore_ascii_case(s))
            });
            let Some(scheme) = scheme else {
                return Err(FaultKind::TargetInvalid);
            };
            let authority = target.get(scheme.len()..).unwrap_or_default();
            let len = authority
                .iter()
                .take_while(|&&b| b != b'/' && b != b'?')
                .count();
            if len == 0 {
                return Err(FaultKind::TargetInvalid);
            }
            let at = start + scheme.len();
            (self.host, self.is_absolute) = (Span::new(at, at + len), true);
            scheme.len() + len
        };
        let tail = target.get(path_at..).unwrap_or_default();
        let query_at = memchr::memchr(b'?', tail);
        let path_end = query_at.unwrap_or(tail.len());
        self.path = Span::new(start + path_at, start + path_at + path_end);
        self.has_query = query_at.is_some();
        self.query = match query_at {
            Some(at) => Span::new(start + path_at + at + 1, start + target.len()),
            None => Span::default(),
        };
        Ok(())
    }

    /// Judges the fields as a whole: host, framing, connection.
    fn judge(&mut self, buf: &[u8], tolerates: Tolerance) -> Result<(), FaultKind> {
        self.framing = Framing::None;
        self.keep_alive = self.version == Version::Http11;
        (self.expect_continue, self.upgrade) = (false, false);
        let (mut host, mut length, mut chunked) = (None, None, false);
        let (mut has_upgrade, mut asks_upgrade, mut named) = (false, false, false);
        for index in 0..self.fields.len() {
            let Some(field) = self.fields.get(index).copied() else {
                break;
            };
            let value = field.value.of(buf);
            #[expect(
                clippy::wildcard_enum_match_arm,
                reason = "all others concern the ends"
            )]
            let hop = match field.known {
                Known::Host => {
                    if host.replace(field.value).is_some() {
                        return Err(FaultKind::HostDuplicated);
                    }
                    false
                }
                Known::ContentLength => {
                    let number = decimal(value).ok_or(FaultKind::ContentLengthInvalid)?;
                    let before = length.replace(number);
                    let is_same = tolerates.repeated_length && before == Some(number);
                    if before.is_some() && !is_same {
                        return Err(FaultKind::ContentLengthDuplicated);
                    }
                    true
                }
                Known::TransferEncoding => {
                    if self.version == Version::Http10 && !tolerates.length_and_chunks {
                        return Err(FaultKind::TransferEncodingInHttp10);
                    }
                    if std::mem::replace(&mut chunked, true) {
                        return Err(FaultKind::TransferEncodingInvalid);
                    }
                    transfer_coding(value)?;
                    true
                }
                Known::Connection => {
                    let (upgrade, other) = self.connection(value);
                    asks_upgrade |= upgrade;
                    named |= other;
                    true
                }
                Known::Upgrade => {
                    has_upgrade = true;
                    true
                }
                Known::Expect => {
                    if !value.eq_ignore_ascii_case(b"100-continue") {
                        return Err(FaultKind::ExpectationUnsupported);
                    }
                    // An HTTP/1.0 client cannot take an interim response (RFC 9110 section 10.1.1).
                    self.expect_continue = self.version == Version::Http11;
                    false
                }
                Known::KeepAlive
                | Known::ProxyConnection
                | Known::Te
                | Known::Trailer
                | Known::Http2Settings => true,
                _ => false,
            };
            if hop && let Some(field) = self.fields.get_mut(index) {
                field.hop = true;
            }
        }
        if self.version == Version::Http10 && closes(&self.fields, buf) {
            self.keep_alive = false;
        }
        self.upgrade = asks_upgrade && has_upgrade && self.version == Version::Http11;
        if named && !mark_named(&mut self.fields, buf) {
            return Err(FaultKind::HeaderValueInvalid);
        }
        self.judge_framing(length, chunked, tolerates)?;
        self.has_host = host.is_some() || self.is_absolute || !tolerates.missing_host;
        self.judge_host(host, tolerates, buf)
    }

    /// Where the body ends (RFC 9112 section 6.3): never in two ways at once, unless that is
    /// tolerated.
    #[inline]
    fn judge_framing(
        &mut self,
        length: Option<u64>,
        chunked: bool,
        tolerates: Tolerance,
    ) -> Result<(), FaultKind> {
        self.framing = match (length, chunked) {
            (Some(_), true) if tolerates.length_and_chunks => {
                // What follows the last chunk may be another request or none.
                self.keep_alive = false;
                Framing::Chunked
            }
            (Some(_), true) => return Err(FaultKind::ContentLengthWithTransferEncoding),
            (None, true) => {
                self.keep_alive &= self.version == Version::Http11;
                Framing::Chunked
            }
            (Some(0) | None, false) => Framing::None,
            (Some(length), false) => Framing::Length(length),
        };
        Ok(())
    }

    /// Obeys the options of one `Connection` field; whether an upgrade is asked for, and whether
    /// fields are named.
    fn connection(&mut self, value: &[u8]) -> (bool, bool) {
        let (mut upgrade, mut named) = (false, false);
        for option in list(value) {
            if option.eq_ignore_ascii_case(b"close") {
                self.keep_alive = false;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive |= self.version == Version::Http10;
            } else if option.eq_ignore_ascii_case(b"upgrade") {
                upgrade = true;
            } else {
                named = true;
            }
        }
        (upgrade, named)
    }

    /// `Host` (RFC 9112 section 3.2): exactly one in HTTP/1.1, sound, equal to an absolute target's.
    fn judge_host(
        &mut self,
        host: Option<Span>,
        tolerates: Tolerance,
        buf: &[u8],
    ) -> Result<(), FaultKind> {
        let Some(host) = host else {
            if self.version == Version::Http11 && !tolerates.missing_host {
                return Err(FaultKind::HostMissing);
            }
            if !crate::uri::is_host(self.host.of(buf)) {
                return Err(FaultKind::TargetInvalid);
            }
            return Ok(());
        };
        if !crate::uri::is_host(host.of(buf)) {
            return Err(FaultKind::HostInvalid);
        }
        if !self.is_absolute {
            self.host = host;
        } else if !crate::uri::is_host(self.host.of(buf)) {
            return Err(FaultKind::TargetInvalid);
        } else if !crate::uri::same_host(self.host.of(buf), host.of(buf)) {
            return Err(FaultKind::HostMismatch);
        }
        Ok(())
    }

    /// Whether the request opens a WebSocket and offers nothing else (RFC 6455 section 4.1).
    #[must_use]
    pub fn opens_websocket(&self, buf: &[u8]) -> bool {
        if !self.upgrade || self.method != Method::Get || self.framing != Framing::None {
            return false;
        }
        let upgrades = self.fields.iter().filter(|f| f.known == Known::Upgrade);
        let mut protocols = upgrades.flat_map(|f| list(f.value.of(buf)));
        let is_websocket = |name: &[u8]| name.eq_ignore_ascii_case(b"websocket");
        protocols.next().is_some_and(is_websocket) && protocols.next().is_none()
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

    /// The value of a cookie (RFC 6265 section 4.2.1).
    #[must_use]
    pub fn cookie<'b>(&self, name: &[u8], buf: &'b [u8]) -> Option<&'b [u8]> {
        self.fields
            .iter()
            .filter(|f| f.known == Known::Cookie)
            .flat_map(|f| f.value.of(buf).split(|&b| b == b';'))
            .find_map(|pair| pair.trim_ascii().strip_prefix(name)?.strip_prefix(b"="))
    }
}

/// Bytes of the empty lines at the start, each with its line feed.
fn empty_lines(buf: &[u8]) -> usize {
    let blank = buf
        .iter()
        .take_while(|b| matches!(b, b'\r' | b'\n'))
        .count();
    let lines = buf.get(..blank).unwrap_or_default();
    memchr::memrchr(b'\n', lines).map_or(0, |at| at + 1)
}

/// The value of the first field with a name, in any case.
pub(crate) fn header<'b>(fields: &[Field], name: &[u8], buf: &'b [u8]) -> Option<&'b [u8]> {
    fields
        .iter()
        .find(|f| f.name.of(buf).eq_ignore_ascii_case(name))
        .map(|f| f.value.of(buf))
}

/// Options of `Connection` looked at in one head. Each is compared with every field, so that a head
/// full of them would cost far more than it costs to send.
const OPTIONS_MAX: usize = 64;

/// Marks the fields that `Connection` names as its own (RFC 9110 section 7.6.1); `false` when it
/// names more than any sender has use for.
#[must_use]
pub(crate) fn mark_named(fields: &mut [Field], buf: &[u8]) -> bool {
    let mut left = OPTIONS_MAX;
    for index in 0..fields.len() {
        let Some(connection) = fields.get(index).filter(|f| f.known == Known::Connection) else {
            continue;
        };
        for option in list(connection.value.of(buf)) {
            let Some(fewer) = left.checked_sub(1) else {
                return false;
            };
            left = fewer;
            for field in fields.iter_mut() {
                // `Host` and framing cannot be named away: that would be a way to smuggle.
                if !matches!(field.known, Known::Host)
                    && field.name.of(buf).eq_ignore_ascii_case(option)
                {
                    field.hop = true;
                }
            }
        }
    }
    true
}

/// Whether any `Connection` field says `close`.
pub(crate) fn closes(fields: &[Field], buf: &[u8]) -> bool {
    fields
        .iter()
        .filter(|f| f.known == Known::Connection)
        .any(|f| list(f.value.of(buf)).any(|option| option.eq_ignore_ascii_case(b"close")))
}

/// Only `chunked`, once, is understood (RFC 9112 section 6.1).
fn transfer_coding(value: &[u8]) -> Result<(), FaultKind> {
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(());
    }
    let mut codings = 0;
    let (mut chunked, mut last_chunked) = (0, false);
    for coding in list(value) {
        codings += 1;
        last_chunked = coding.eq_ignore_ascii_case(b"chunked");
        chunked += usize::from(last_chunked);
        if !coding
            .iter()
            .all(|&b| scan::is_token(b) || matches!(b, b';' | b'=' | b' ' | b'"'))
        {
            return Err(FaultKind::TransferEncodingInvalid);
        }
    }
    if codings == 0 || chunked > 1 || (chunked == 1 && !last_chunked) {
        return Err(FaultKind::TransferEncodingInvalid);
    }
    Err(FaultKind::TransferEncodingUnsupported)
}

/// Other protocols on this port, told by their first bytes.
fn foreign(start: &[u8]) -> Result<(), FaultKind> {
    if start.starts_with(&[0x16, 0x03]) {
        return Err(FaultKind::TlsOnPlainPort);
    }
    if start.starts_with(b"PRI * HTTP/2.0") {
        return Err(FaultKind::Http2OnHttp1Port);
    }
    Ok(())
}

fn refuse(bad: Bad) -> FaultKind {
    match bad {
        Bad::TooLarge => FaultKind::HeadersTooLarge,
        Bad::TooMany => FaultKind::TooManyHeaders,
        Bad::Name => FaultKind::HeaderNameInvalid,
        Bad::SpaceBeforeColon => FaultKind::HeaderSpaceBeforeColon,
        Bad::Value => FaultKind::HeaderValueInvalid,
        Bad::Folded => FaultKind::HeaderFolded,
        Bad::BareCr => FaultKind::BareCr,
        Bad::BareLf => FaultKind::BareLf,
    }
}

#[cfg(test)]
mod tests;
