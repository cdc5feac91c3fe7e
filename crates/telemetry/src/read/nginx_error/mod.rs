//! NGINX's error log, of HTTP and of streams.
//!
//! `2026/11/21 04:34:26 [error] 28310#28310: *2 SENTENCE while DOING, client: …, server: …,
//! request: "…", upstream: "…", host: "…"`. Times are local and name no zone.

mod sentence;

use clearway_outcome::{FaultKind, Remark, Sighting, Speaker, Suspects};

use super::time;
use super::{Context, TemplateError, failure, scan};

/// Reads the lines.
pub(super) struct Lines;

impl Lines {
    pub(super) fn new(text: Option<&str>) -> Result<Self, TemplateError> {
        text.map_or(Ok(Self), |_| Err(TemplateError::NoTemplate))
    }

    #[expect(
        clippy::needless_pass_by_ref_mut,
        clippy::unused_self,
        reason = "readers of other formats learn from their lines"
    )]
    pub(super) fn line(&mut self, line: &[u8], context: &mut Context<'_>) -> bool {
        let Some(entry) = Entry::of(line) else {
            return false;
        };
        let at = time::parse(entry.time, context.zone);
        context.stats.time(at);
        let Some(said) = entry.said(&mut context.scratch.plain) else {
            return !entry.is_serious;
        };
        if said.suspects.is_empty() && said.remark.is_none() {
            return true;
        }
        let mut sighting = Sighting::of(Speaker::Nginx, context.place);
        sighting.at_us = at;
        sighting.suspects = if scan::has(entry.fields, "upstream: \"grpc") {
            in_frames(said.suspects)
        } else {
            said.suspects
        };
        sighting.remark = said.remark;
        sighting.signal = said.signal;
        sighting.errno = said.errno;
        sighting.is_immediate = said.is_immediate;
        entry.describe(&mut sighting);
        scan::push_words(&mut context.scratch.words, entry.message);
        context.tell(sighting);
        true
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

    fn said(&self, plain: &mut Vec<u8>) -> Option<Said> {
        let message = self.message;
        let errno = errno(message);
        let mut said =
            if message.starts_with(b"connect() ") && !scan::has(message, "while resolving") {
                self.connect(errno)
            } else if is_tls(message) {
                failure::plain(message, plain);
                tls(message, plain, errno)
            } else {
                sentence::said(message, errno)?
            };
        said.errno = errno;
        Some(said)
    }

    /// `connect() to ADDRESS failed (` is what the call itself returned; without the address it is what
    /// came later.
    fn connect(&self, errno: i32) -> Said {
        let unix = scan::has(self.message, "unix:") || scan::has(self.fields, "unix:");
        let is_immediate = self.message.starts_with(b"connect() to ");
        // NGINX asks for the outcome once more before it sends the request, when TLS may be done.
        let late: &[FaultKind] = match errno {
            104 if is_immediate => &[],
            104 if scan::has(self.fields, "upstream: \"https:") => &[
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

    /// Tells `sighting` what the fields behind the message say.
    fn describe(&self, sighting: &mut Sighting<'a>) {
        let client = self.bare(b", client: ");
        sighting.client = scan::text(client);
        sighting.listener = scan::text(self.bare(b", server: "));
        let (method, path) = scan::request(self.quoted(b", request: \""));
        (sighting.method, sighting.path) = (method, path);
        sighting.host = scan::text(self.quoted(b", host: \""));
        let upstream = self.quoted(b", upstream: \"");
        let (_, authority) = scan::split(upstream, b"://").unwrap_or((b"", upstream));
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
        let pair = |name| {
            let (_, rest) = scan::split(self.fields, name)?;
            let (to, rest) = scan::leading_number(rest)?;
            let (from, _) = scan::leading_number(rest.strip_prefix(b"/")?)?;
            Some((to, from))
        };
        // Of streams: "from/to upstream".
        if let Some((from, to)) = pair(b", bytes from/to upstream:") {
            sighting.bytes_received = Some(from);
            sighting.bytes_sent = Some(to);
        }
    }

    /// A field without quotes.
    fn bare(&self, name: &[u8]) -> &'a [u8] {
        let (_, value) = scan::split(self.fields, name).unwrap_or_default();
        scan::before(value, b',')
    }

    /// A field in quotes, whose name ends with the first of them. A request line has no `", `: its spaces
    /// would make it one that NGINX refuses.
    fn quoted(&self, name: &[u8]) -> &'a [u8] {
        let (_, value) = scan::split(self.fields, name).unwrap_or_default();
        let (value, _) = scan::split(value, b"\", ").unwrap_or((value, b""));
        value.strip_suffix(b"\"").unwrap_or(value)
    }
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
