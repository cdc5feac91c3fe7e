//! Writing heads: what came, minus what concerns one connection, plus what a proxy adds.

use std::net::IpAddr;

use clearway_base::decimal;

use crate::edits::Edits;
use crate::head::{Field, Framing, Known, Method, Version, list};
use crate::reply::reason;
use crate::request::RequestHead;
use crate::response::ResponseHead;

/// What happens to `X-Forwarded-For`, `-Proto`, `-Host` and `-Port`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum XForwarded {
    /// Kept from trusted peers and added to; replaced otherwise.
    #[default]
    Append,
    /// Always replaced.
    Replace,
    /// Passed on as they came, whoever sent them.
    Keep,
    /// Passed on as trusted peers sent them, and removed from others.
    Off,
}

impl XForwarded {
    /// Whether we write some of our own.
    fn writes(self) -> bool {
        matches!(self, Self::Append | Self::Replace)
    }
}

/// What is said about the client.
#[derive(Clone, Copy, Debug)]
pub struct ForwardPolicy<'a> {
    /// The client's address; `None` on a Unix socket.
    pub client: Option<IpAddr>,
    /// `http` or `https`.
    pub proto: &'a str,
    /// Port the client connected to, when it is to be told.
    pub port: Option<u16>,
    /// Name in `Via`; `None` = no `Via`.
    pub via: Option<&'a str>,
    /// What happens to `X-Forwarded-*`.
    pub mode: XForwarded,
    /// Whether `Forwarded` (RFC 7239) is written.
    pub forwarded: bool,
    /// Whether the peer's own forwarding fields are believed.
    pub trusted: bool,
    /// Whether the head goes on in frames of HTTP/2, which know no upgrade but to WebSocket.
    pub frames: bool,
}

fn field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Neighbouring lines that go out as they came in, copied together.
#[derive(Default)]
struct Run {
    start: usize,
    end: usize,
}

impl Run {
    /// Adds a field's line.
    fn take(&mut self, f: &Field, buf: &[u8], out: &mut Vec<u8>) {
        let (start, end) = (f.name.start as usize, f.line_end as usize);
        if start != self.end {
            self.flush(buf, out);
            self.start = start;
        }
        self.end = end;
    }

    /// Writes what was gathered.
    fn flush(&mut self, buf: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(buf.get(self.start..self.end).unwrap_or_default());
        (self.start, self.end) = (0, 0);
    }
}

/// Writes the request line and `Host` (RFC 9112 section 3); which host that is.
#[inline]
fn write_start<'a>(
    head: &RequestHead,
    buf: &'a [u8],
    edits: &'a Edits,
    out: &mut Vec<u8>,
) -> &'a [u8] {
    out.extend_from_slice(edits.method().unwrap_or_else(|| head.method_text.of(buf)));
    out.push(b' ');
    write_target(head, buf, edits, out);
    out.extend_from_slice(b" HTTP/1.1\r\n");
    let host = edits.host().unwrap_or_else(|| head.host.of(buf));
    if head.has_host || edits.host().is_some() {
        field(out, b"Host", host);
    }
    host
}

/// Writes the head for a server (RFC 9112 section 3, RFC 9110 sections 7.6 and 7.8).
pub fn encode_request(
    head: &RequestHead,
    buf: &[u8],
    edits: &Edits,
    policy: &ForwardPolicy<'_>,
    out: &mut Vec<u8>,
) {
    let host = write_start(head, buf, edits, out);
    let changed = !edits.is_empty();
    let believed = policy.trusted || policy.mode == XForwarded::Keep;
    let replaces = policy.mode == XForwarded::Replace || !believed;
    let mut via_before: Option<&[u8]> = None;
    let (mut for_before, mut proto_seen, mut host_seen, mut forwarded_before) =
        (None, false, false, None);
    let mut run = Run::default();
    for f in &head.fields {
        if f.hop {
            continue;
        }
        let value = f.value.of(buf);
        #[expect(clippy::wildcard_enum_match_arm, reason = "all others pass")]
        match f.known {
            Known::Host => continue,
            Known::Via if policy.via.is_some() => {
                if via_before.is_some() {
                    field(out, b"Via", via_before.unwrap_or_default());
                }
                via_before = Some(value);
                continue;
            }
            Known::XForwardedFor
            | Known::XForwardedProto
            | Known::XForwardedHost
            | Known::XForwardedPort
            | Known::XRealIp
            | Known::Forwarded
                if replaces =>
            {
                continue;
            }
            Known::Other if !believed && is_lookalike(f.name.of(buf)) => continue,
            Known::XForwardedFor if policy.mode.writes() => {
                if let Some(earlier) = for_before.replace(value) {
                    field(out, b"X-Forwarded-For", earlier);
                }
                continue;
            }
            Known::Forwarded if policy.forwarded => {
                if let Some(earlier) = forwarded_before.replace(value) {
                    field(out, b"Forwarded", earlier);
                }
                continue;
            }
            Known::XForwardedProto => proto_seen = true,
            Known::XForwardedHost => host_seen = true,
            _ => {}
        }
        if changed && edits.drops(f.name.of(buf)) {
            continue;
        }
        if head.loose {
            field(out, f.name.of(buf), value);
        } else {
            run.take(f, buf, out);
        }
    }
    run.flush(buf, out);
    // A rule that sets or removes one of these fields has the last word.
    let ours = |name: &str| !changed || !edits.drops(name.as_bytes());
    if policy.mode.writes() {
        let seen = (for_before, proto_seen, host_seen);
        write_x_forwarded(out, policy, seen, host, &ours);
    }
    if policy.forwarded && ours("Forwarded") {
        write_forwarded(out, policy, forwarded_before, host);
    }
    if let Some(via) = policy.via
        && ours("Via")
    {
        write_via(out, head.version, via, via_before);
    }
    write_framing(head, buf, policy.frames, out);
    edits.write(out);
    out.extend_from_slice(b"\r\n");
}

/// Whether servers that turn `-` into `_` (CGI and its heirs) take a field for one that names the
/// client.
fn is_lookalike(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 5] = [
        b"x-forwarded-for",
        b"x-forwarded-proto",
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"x-real-ip",
    ];
    let same = |(a, b): (&u8, &u8)| a.to_ascii_lowercase() == *b || (*a == b'_' && *b == b'-');
    name.contains(&b'_')
        && NAMES
            .iter()
            .any(|known| known.len() == name.len() && name.iter().zip(*known).all(same))
}

/// Writes the fields that concern the connection to the server.
fn write_framing(head: &RequestHead, buf: &[u8], frames: bool, out: &mut Vec<u8>) {
    match head.framing {
        Framing::Length(length) => {
            out.extend_from_slice(b"Content-Length: ");
            decimal::write(out, length);
            out.extend_from_slice(b"\r\n");
        }
        // A body without a length that came over HTTP/2 goes on in chunks.
        Framing::Chunked | Framing::UntilClose => {
            out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
            pass(head, Known::Trailer, b"Trailer", buf, out);
        }
        Framing::None if has_empty_length(head) => {
            out.extend_from_slice(b"Content-Length: 0\r\n");
        }
        Framing::None => {}
    }
    if frames && head.opens_websocket(buf) {
        out.extend_from_slice(b"Connection: upgrade\r\nUpgrade: websocket\r\n");
    } else if head.upgrade && !frames {
        out.extend_from_slice(b"Connection: upgrade\r\n");
        pass(head, Known::Upgrade, b"Upgrade", buf, out);
    } else if accepts_trailers(head, buf) {
        // Trailers are relayed, so the wish for them may be too (RFC 9110 section 10.1.4).
        out.extend_from_slice(b"TE: trailers\r\nConnection: TE\r\n");
    }
}

/// Whether the client said `Content-Length: 0`, which some servers insist on for POST.
fn has_empty_length(head: &RequestHead) -> bool {
    head.fields.iter().any(|f| f.known == Known::ContentLength)
}

fn accepts_trailers(head: &RequestHead, buf: &[u8]) -> bool {
    head.fields
        .iter()
        .filter(|f| f.known == Known::Te)
        .any(|f| list(f.value.of(buf)).any(|item| item.eq_ignore_ascii_case(b"trailers")))
}

/// Writes all fields of a kind although they concern one connection.
fn pass(head: &RequestHead, known: Known, name: &[u8], buf: &[u8], out: &mut Vec<u8>) {
    for f in head.fields.iter().filter(|f| f.known == known) {
        field(out, name, f.value.of(buf));
    }
}

/// The target in origin form, or `*`.
fn write_target(head: &RequestHead, buf: &[u8], edits: &Edits, out: &mut Vec<u8>) {
    if let Some(target) = edits.target() {
        return out.extend_from_slice(target);
    }
    if head.path.is_empty() {
        // Asked of the whole server: `*`, or an absolute target without a path (RFC 9112 section 3.2.4).
        let is_asterisk =
            head.target.of(buf) == b"*" || (head.method == Method::Options && !head.has_query);
        out.push(if is_asterisk { b'*' } else { b'/' });
    } else {
        out.extend_from_slice(head.path.of(buf));
    }
    if head.has_query {
        out.push(b'?');
        out.extend_from_slice(head.query.of(buf));
    }
}

fn write_x_forwarded(
    out: &mut Vec<u8>,
    policy: &ForwardPolicy<'_>,
    seen: (Option<&[u8]>, bool, bool),
    host: &[u8],
    ours: &impl Fn(&str) -> bool,
) {
    let (for_before, proto_seen, host_seen) = seen;
    if (policy.client.is_some() || for_before.is_some()) && ours("X-Forwarded-For") {
        out.extend_from_slice(b"X-Forwarded-For: ");
        if let Some(before) = for_before {
            out.extend_from_slice(before);
            if policy.client.is_some() {
                out.extend_from_slice(b", ");
            }
        }
        if let Some(ip) = policy.client {
            decimal::write_ip(out, ip);
        }
        out.extend_from_slice(b"\r\n");
    }
    if !proto_seen && ours("X-Forwarded-Proto") {
        field(out, b"X-Forwarded-Proto", policy.proto.as_bytes());
    }
    if !host_seen && !host.is_empty() && ours("X-Forwarded-Host") {
        field(out, b"X-Forwarded-Host", host);
    }
    if let Some(port) = policy.port
        && ours("X-Forwarded-Port")
    {
        out.extend_from_slice(b"X-Forwarded-Port: ");
        decimal::write(out, u64::from(port));
        out.extend_from_slice(b"\r\n");
    }
}

/// `Forwarded` (RFC 7239 section 4).
fn write_forwarded(
    out: &mut Vec<u8>,
    policy: &ForwardPolicy<'_>,
    before: Option<&[u8]>,
    host: &[u8],
) {
    out.extend_from_slice(b"Forwarded: ");
    if let Some(before) = before {
        out.extend_from_slice(before);
        out.extend_from_slice(b", ");
    }
    out.extend_from_slice(b"for=");
    match policy.client {
        Some(ip @ IpAddr::V4(_)) => decimal::write_ip(out, ip),
        Some(ip @ IpAddr::V6(_)) => {
            out.extend_from_slice(b"\"[");
            decimal::write_ip(out, ip);
            out.extend_from_slice(b"]\"");
        }
        None => out.extend_from_slice(b"unknown"),
    }
    out.extend_from_slice(b";proto=");
    out.extend_from_slice(policy.proto.as_bytes());
    if !host.is_empty() {
        out.extend_from_slice(b";host=\"");
        out.extend_from_slice(host);
        out.push(b'"');
    }
    out.extend_from_slice(b"\r\n");
}

/// `Via` (RFC 9110 section 7.6.3).
fn write_via(out: &mut Vec<u8>, received: Version, via: &str, before: Option<&[u8]>) {
    out.extend_from_slice(b"Via: ");
    if let Some(before) = before {
        out.extend_from_slice(before);
        out.extend_from_slice(b", ");
    }
    out.extend_from_slice(match received {
        Version::Http10 => b"1.0 ",
        Version::Http11 => b"1.1 ",
        Version::Http2 => b"2.0 ",
    });
    out.extend_from_slice(via.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// How often `name` stands in `Via`: how often the request has passed here.
#[must_use]
pub fn via_count(head: &RequestHead, buf: &[u8], name: &str) -> usize {
    head.fields
        .iter()
        .filter(|f| f.known == Known::Via)
        .flat_map(|f| list(f.value.of(buf)))
        .filter(|hop| hop.rsplit(|&b| b == b' ').next() == Some(name.as_bytes()))
        .count()
}

/// How a response is passed on.
#[derive(Clone, Copy, Debug)]
pub struct ResponseOptions<'a> {
    /// What the client speaks.
    pub client_version: Version,
    /// Whether its connection is kept.
    pub keep_alive: bool,
    /// Where the body ends for the client.
    pub framing: Framing,
    /// Name in `Via`; `None` = no `Via`.
    pub via: Option<&'a str>,
    /// The response switches protocols.
    pub upgrade: bool,
}

/// Writes the head for a client (RFC 9112 sections 4, 6 and 9).
pub fn encode_response(
    head: &ResponseHead,
    buf: &[u8],
    edits: &Edits,
    options: &ResponseOptions<'_>,
    out: &mut Vec<u8>,
) {
    match edits.status() {
        Some(status) => write_status(status, b"", out),
        None => write_status(head.status, head.reason.of(buf), out),
    }
    let changed = !edits.is_empty();
    let mut length = None;
    let mut run = Run::default();
    for f in &head.fields {
        let value = f.value.of(buf);
        // Rules that drop it change the body.
        if f.known == Known::ContentLength && !(changed && edits.drops(b"content-length")) {
            length = Some(value);
        }
        if f.hop || (changed && edits.drops(f.name.of(buf))) {
            continue;
        }
        run.take(f, buf, out);
    }
    run.flush(buf, out);
    if let Some(via) = options.via {
        write_via(out, head.version, via, None);
    }
    match options.framing {
        Framing::Length(length) => {
            out.extend_from_slice(b"Content-Length: ");
            decimal::write(out, length);
            out.extend_from_slice(b"\r\n");
        }
        Framing::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        // What HEAD or 304 says about a body that is not sent (RFC 9110 section 8.6).
        Framing::None if head.status >= 200 && head.status != 204 => {
            if let Some(length) = length {
                field(out, b"Content-Length", length);
            }
        }
        Framing::None | Framing::UntilClose => {}
    }
    if options.upgrade {
        out.extend_from_slice(b"Connection: upgrade\r\n");
        for f in head.fields.iter().filter(|f| f.known == Known::Upgrade) {
            field(out, b"Upgrade", f.value.of(buf));
        }
    } else if !options.keep_alive {
        out.extend_from_slice(b"Connection: close\r\n");
    } else if options.client_version == Version::Http10 {
        out.extend_from_slice(b"Connection: keep-alive\r\n");
    }
    edits.write(out);
    out.extend_from_slice(b"\r\n");
}

/// Writes an interim response (1xx) for the client.
pub fn encode_interim(head: &ResponseHead, buf: &[u8], out: &mut Vec<u8>) {
    write_status(head.status, head.reason.of(buf), out);
    for f in head.fields.iter().filter(|f| !f.hop) {
        field(out, f.name.of(buf), f.value.of(buf));
    }
    out.extend_from_slice(b"\r\n");
}

fn write_status(status: u16, phrase: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    decimal::write(out, u64::from(status));
    out.push(b' ');
    if phrase.is_empty() {
        out.extend_from_slice(reason(status).as_bytes());
    } else {
        out.extend_from_slice(phrase);
    }
    out.extend_from_slice(b"\r\n");
}
