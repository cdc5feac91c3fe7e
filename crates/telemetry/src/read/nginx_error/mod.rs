//! NGINX's error log, of HTTP and of streams.
//!
//! `2026/11/21 04:34:26 [error] 28310#28310: *2 SENTENCE while DOING, client: …, server: …,
//! request: "…", upstream: "…", host: "…"`. Times are local and name no zone.

mod sentence;

use clearway_outcome::{FaultKind, Remark, Sighting, Speaker, Suspects};

use super::time;
use super::{Context, TemplateError, failure, scan};

/// Most messages that are remembered with what they say; a log has few different ones.
const KNOWN_MAX: usize = 64;

/// Reads the lines.
#[derive(Default)]
pub(super) struct Lines {
    /// What was read before: nearly every line says what another one has said.
    known: Vec<Known>,
}

/// A message, and what it says.
struct Known {
    message: Vec<u8>,
    scheme: Scheme,
    is_serious: bool,
    said: Option<Said>,
    /// Its words as they are shown.
    words: String,
}

/// What stands at the upstream's front: some messages mean other things by it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Other,
    Tls,
    Grpc,
    Unix,
}

impl Lines {
    pub(super) fn new(text: Option<&str>) -> Result<Self, TemplateError> {
        text.map_or_else(|| Ok(Self::default()), |_| Err(TemplateError::NoTemplate))
    }

    pub(super) fn line(&mut self, line: &[u8], context: &mut Context<'_>) -> bool {
        let Some(entry) = Entry::of(line) else {
            return false;
        };
        let at = time::parse(entry.time, context.zone);
        context.stats.time(at);
        let fields = Fields::of(entry.fields);
        let known = self.known(&entry, fields.scheme(), &mut context.scratch.plain);
        let Some(said) = &known.said else {
            return !entry.is_serious;
        };
        if said.suspects.is_empty() && said.remark.is_none() {
            return true;
        }
        let mut sighting = Sighting::of(Speaker::Nginx, context.place);
        sighting.at_us = at;
        sighting.suspects = said.suspects;
        sighting.remark = said.remark;
        sighting.signal = said.signal;
        sighting.errno = said.errno;
        sighting.is_immediate = said.is_immediate;
        fields.describe(&mut sighting);
        context.scratch.words.push_str(&known.words);
        context.tell(sighting);
        true
    }

    /// What a message says, as it was read before or is now.
    fn known(&mut self, entry: &Entry<'_>, scheme: Scheme, plain: &mut Vec<u8>) -> &Known {
        let is_same = |known: &Known| {
            known.message == entry.message
                && known.scheme == scheme
                && known.is_serious == entry.is_serious
        };
        let at = match self.known.iter().position(is_same) {
            Some(at) => at,
            None => {
                if self.known.len() == KNOWN_MAX {
                    self.known.clear();
                }
                let mut words = String::new();
                scan::push_words(&mut words, entry.message);
                self.known.push(Known {
                    message: entry.message.to_vec(),
                    scheme,
                    is_serious: entry.is_serious,
                    said: entry.said(scheme, plain),
                    words,
                });
                self.known.len() - 1
            }
        };
        // The oldest that is asked for comes nearer to the front.
        let at = if at > 0 {
            self.known.swap(at, at - 1);
            at - 1
        } else {
            at
        };
        &self.known[at]
    }
}

/// On HTTP/2 nothing of a head is cut short: the server said goodbye, or ended the connection.
fn in_frames(suspects: Suspects) -> Suspects {
    const NAMES: [(FaultKind, FaultKind); 2] = [
        (FaultKind::ResponseHeadTruncated, FaultKind::ServerGoaway),
        (FaultKind::ResponseHeadReset, FaultKind::ServerResetStream),
    ];
    let kinds = suspects.iter().map(|kind| {
        let own = NAMES.iter().find(|(other, _)| *other == kind);
        own.map_or(kind, |(_, own)| *own)
    });
    kinds.collect()
}

/// What a message says.
struct Said {
    suspects: Suspects,
    remark: Option<Remark>,
    signal: Option<clearway_outcome::Signal>,
    errno: i32,
    is_immediate: Option<bool>,
}

impl Said {
    fn suspects(suspects: Suspects) -> Self {
        Self {
            suspects,
            remark: None,
            signal: None,
            errno: 0,
            is_immediate: None,
        }
    }

    fn one(kind: FaultKind) -> Self {
        Self::suspects(Suspects::just(kind))
    }
}

/// A line in its parts.
struct Entry<'a> {
    time: &'a [u8],
    /// Whether its level is `error` or above.
    is_serious: bool,
    message: &'a [u8],
    /// From `, client: ` on.
    fields: &'a [u8],
}

impl<'a> Entry<'a> {
    fn of(line: &'a [u8]) -> Option<Self> {
        const LEVELS: [(&[u8], bool); 8] = [
            (b"error", true),
            (b"crit", true),
            (b"alert", true),
            (b"emerg", true),
            (b"warn", false),
            (b"notice", false),
            (b"info", false),
            (b"debug", false),
        ];
        // Behind 19 bytes of time, which others may have put something before.
        let (head, rest) = scan::split(line, b" [")?;
        let time = head.get(head.len().checked_sub(19)?..)?;
        let (level, rest) = scan::split(rest, b"] ")?;
        let (_, is_serious) = LEVELS.iter().find(|(name, _)| *name == level)?;
        if time.get(4) != Some(&b'/') || time.get(7) != Some(&b'/') {
            return None;
        }
        let (_, rest) = scan::split(rest, b": ")?;
        let numbered = rest
            .strip_prefix(b"*")
            .and_then(|rest| scan::split(rest, b" "));
        let body = numbered.map_or(rest, |(_, body)| body);
        let at = [
            &b", client: "[..],
            b", server: ",
            b", upstream: \"",
            b", resolver: ",
        ]
        .iter()
        .find_map(|start| scan::find(body, start))
        .unwrap_or(body.len());
        let (message, fields) = body.split_at_checked(at)?;
        Some(Self {
            time,
            is_serious: *is_serious,
            message,
            fields,
        })
    }

    fn said(&self, scheme: Scheme, plain: &mut Vec<u8>) -> Option<Said> {
        let message = self.message;
        let errno = errno(message);
        let mut said =
            if message.starts_with(b"connect() ") && !scan::has(message, "while resolving") {
                self.connect(scheme, errno)
            } else if is_tls(message) {
                failure::plain(message, plain);
                tls(message, plain, errno)
            } else {
                sentence::said(message, errno)?
            };
        said.errno = errno;
        if scheme == Scheme::Grpc {
            said.suspects = in_frames(said.suspects);
        }
        Some(said)
    }

    /// `connect() to ADDRESS failed (` is what the call itself returned; without the address it is what
    /// came later.
    fn connect(&self, scheme: Scheme, errno: i32) -> Said {
        let unix = scan::has(self.message, "unix:") || scheme == Scheme::Unix;
        let is_immediate = self.message.starts_with(b"connect() to ");
        // NGINX asks for the outcome once more before it sends the request, when TLS may be done.
        let late: &[FaultKind] = match errno {
            104 if is_immediate => &[],
            104 if scheme == Scheme::Tls => &[
                FaultKind::ConnectReset,
                FaultKind::ServerWantsCertificate,
                FaultKind::ServerTlsReset,
                FaultKind::ServerResetWhileSending,
            ],
            104 => &[FaultKind::ConnectReset, FaultKind::ServerResetWhileSending],
            _ => &[],
        };
        let suspects = if late.is_empty() {
            Suspects::just(failure::connect(errno, unix))
        } else {
            Suspects::any_of(late)
        };
        Said {
            is_immediate: Some(is_immediate),
            ..Said::suspects(suspects)
        }
    }
}

/// What stands behind a message; empty where it does not.
#[derive(Default)]
struct Fields<'a> {
    client: &'a [u8],
    server: &'a [u8],
    request: &'a [u8],
    upstream: &'a [u8],
    host: &'a [u8],
    /// Of streams: bytes from and to the upstream.
    bytes: Option<(u64, u64)>,
}

impl<'a> Fields<'a> {
    /// Reads `, client: 192.0.2.7, server: x, request: "GET / HTTP/1.1", …`.
    fn of(text: &'a [u8]) -> Self {
        let mut out = Self::default();
        let mut rest = text;
        while let Some(field) = rest.strip_prefix(b", ") {
            let Some((name, value)) = split_at(field, b':') else {
                break;
            };
            let value = value.strip_prefix(b" ").unwrap_or(value);
            let (value, after) = match value.strip_prefix(b"\"") {
                Some(inside) => quoted(inside),
                None => bare(value),
            };
            rest = after;
            match name {
                b"client" => out.client = value,
                b"server" => out.server = value,
                b"request" => out.request = value,
                b"upstream" => out.upstream = value,
                b"host" => out.host = value,
                b"bytes from/to upstream" => out.bytes = pair(value),
                _ => {}
            }
        }
        out
    }

    /// The upstream's scheme and what follows.
    fn place(&self) -> (&'a [u8], &'a [u8]) {
        let upstream = self.upstream;
        // The first colon is the scheme's, where it has one.
        match split_at(upstream, b':') {
            Some((scheme, rest)) if rest.starts_with(b"//") => {
                (scheme, rest.get(2..).unwrap_or_default())
            }
            Some(_) | None => (b"", upstream),
        }
    }

    fn scheme(&self) -> Scheme {
        let (scheme, place) = self.place();
        match scheme {
            _ if place.starts_with(b"unix:") => Scheme::Unix,
            b"https" => Scheme::Tls,
            b"grpc" | b"grpcs" => Scheme::Grpc,
            _ => Scheme::Other,
        }
    }

    /// Tells `sighting` what they say.
    fn describe(&self, sighting: &mut Sighting<'a>) {
        sighting.client = scan::text(self.client);
        sighting.listener = scan::text(self.server);
        let (method, path) = scan::request(self.request);
        (sighting.method, sighting.path) = (method, path);
        sighting.host = scan::text(self.host);
        let (_, authority) = self.place();
        let place = match authority.strip_prefix(b"unix:") {
            Some(socket) => {
                let len = scan::before(socket, b':').len() + b"unix:".len();
                authority.get(..len).unwrap_or(authority)
            }
            None => scan::before(authority, b'/'),
        };
        if place.contains(&b':') {
            sighting.address = scan::text(place);
        } else {
            sighting.backend = scan::text(place);
        }
        if let Some((from, to)) = self.bytes {
            sighting.bytes_received = Some(from);
            sighting.bytes_sent = Some(to);
        }
    }
}

/// What stands before and behind the first `byte`.
fn split_at(text: &[u8], byte: u8) -> Option<(&[u8], &[u8])> {
    let at = memchr::memchr(byte, text)?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

/// A value in quotes, and what follows. A request line has no `", `: its spaces would make it one that NGINX
/// refuses.
fn quoted(inside: &[u8]) -> (&[u8], &[u8]) {
    let mut ends = memchr::memchr_iter(b'"', inside);
    let end = ends.find(|at| {
        let after = inside.get(at + 1..).unwrap_or_default();
        after.is_empty() || after.starts_with(b", ")
    });
    let end = end.unwrap_or(inside.len());
    let value = inside.get(..end).unwrap_or(inside);
    (value, inside.get(end + 1..).unwrap_or_default())
}

/// A value without quotes, and what follows.
fn bare(value: &[u8]) -> (&[u8], &[u8]) {
    let end = memchr::memchr(b',', value).unwrap_or(value.len());
    value.split_at_checked(end).unwrap_or((value, b""))
}

/// `3/4`
fn pair(value: &[u8]) -> Option<(u64, u64)> {
    let (first, rest) = scan::leading_number(value)?;
    let (second, _) = scan::leading_number(rest.strip_prefix(b"/")?)?;
    Some((first, second))
}

/// The error number of `failed (111: Connection refused)`.
fn errno(message: &[u8]) -> i32 {
    let numbers = message
        .split(|byte| *byte == b'(')
        .skip(1)
        .filter_map(|text| {
            let (number, rest) = scan::leading_number(text)?;
            (rest.starts_with(b": ") && number < 134).then_some(number)
        });
    let found = numbers.last().and_then(|number| i32::try_from(number).ok());
    found.unwrap_or(0)
}

fn is_tls(message: &[u8]) -> bool {
    message.starts_with(b"SSL_")
        || message.starts_with(b"peer closed connection in SSL handshake")
        || message.starts_with(b"upstream SSL certificate")
}

/// TLS with a server or, where nothing is said of an upstream, with a client.
fn tls(message: &[u8], plain: &[u8], errno: i32) -> Said {
    let with_server = scan::has(message, "upstream");
    if let Some((_, rest)) = scan::split(message, b"verify error: (") {
        let code = scan::leading_number(rest).map_or(0, |(code, _)| code);
        return Said::one(verify(code));
    }
    if message.starts_with(b"upstream SSL certificate does not match") {
        return Said::one(FaultKind::ServerCertificateName);
    }
    if !with_server {
        let (suspects, signal) = failure::client_tls(plain);
        return Said {
            signal,
            ..Said::suspects(suspects)
        };
    }
    // Once there is a connection, the end of it is no longer the handshake's.
    let in_handshake = scan::has(message, "SSL handshaking");
    let (kind, signal) = failure::server_tls(plain);
    let kind = match (errno, in_handshake) {
        (104, true) => FaultKind::ServerTlsReset,
        (_, true) => kind,
        _ if signal.is_some() => kind,
        _ => return sentence::lost(message, errno),
    };
    Said {
        signal,
        ..Said::one(kind)
    }
}

/// The kind of a verification result of OpenSSL (`X509_V_ERR_…`).
fn verify(code: u64) -> FaultKind {
    match code {
        10 => FaultKind::ServerCertificateExpired,
        9 => FaultKind::ServerCertificateNotYetValid,
        2 | 18 | 19 | 20 | 21 => FaultKind::ServerCertificateUntrusted,
        23 => FaultKind::ServerCertificateRevoked,
        62 | 64 => FaultKind::ServerCertificateName,
        _ => FaultKind::ServerCertificateInvalid,
    }
}

#[cfg(test)]
mod tests;
