//! NGINX's access log: `combined`, any `log_format`, JSON with the names of variables as keys.
//!
//! Every server that was tried has its place in the lists of `$upstream_addr`, `$upstream_status` and the
//! times. NGINX writes its own 502 and 504 into `$upstream_status`: only `$upstream_header_time` tells
//! whether the server answered.

use clearway_outcome::{FaultKind, Remark, Sighting, Speaker, Suspects};

use super::field::{Field, Fields};
use super::template::{self, Parts, Template};
use super::{Context, TemplateError, json, scan, server_of};

const COMBINED: &str = "$remote_addr - $remote_user [$time_local] \"$request\" $status \
     $body_bytes_sent \"$http_referer\" \"$http_user_agent\"";

/// Reads the lines.
pub(super) struct Lines {
    template: Template,
    /// Words before each line that are not part of the format.
    prefix: usize,
}

impl Lines {
    pub(super) fn new(text: Option<&str>) -> Result<Self, TemplateError> {
        Ok(Self {
            template: compile(text.unwrap_or(COMBINED))?,
            prefix: 0,
        })
    }

    pub(super) fn line(&mut self, line: &[u8], context: &mut Context<'_>) -> bool {
        let cut = |rest| self.template.cut(rest).filter(is_plausible);
        let fields = template::cut_behind_prefix(line, &mut self.prefix, cut);
        let Some(fields) = fields.or_else(|| from_json(line)) else {
            return false;
        };
        read(&fields, context);
        true
    }
}

/// What a variable of NGINX says; names without their `$`.
fn field(name: &[u8]) -> Field {
    match name {
        b"remote_addr" | b"realip_remote_addr" => Field::Client,
        b"remote_port" => Field::Port,
        b"time_local" | b"time_iso8601" | b"msec" => Field::Time,
        b"request" => Field::Request,
        b"request_method" => Field::Method,
        b"request_uri" | b"uri" | b"document_uri" => Field::Target,
        b"host" | b"http_host" => Field::Host,
        b"server_name" => Field::Listener,
        b"http_user_agent" => Field::Agent,
        b"request_id" | b"http_x_request_id" => Field::Id,
        b"status" => Field::Status,
        b"proxy_host" => Field::Backend,
        b"upstream_addr" => Field::Address,
        b"upstream_status" => Field::ServerStatus,
        b"upstream_connect_time" => Field::Connect,
        b"upstream_header_time" => Field::Header,
        b"upstream_response_time" => Field::Response,
        b"upstream_bytes_received" => Field::Received,
        b"upstream_bytes_sent" => Field::Sent,
        b"request_time" => Field::RequestSeconds,
        b"request_length" => Field::RequestBytes,
        _ => Field::Skip,
    }
}

/// Compiles a `log_format`: `$name` and `${name}` are variables.
fn compile(text: &str) -> Result<Template, TemplateError> {
    let mut parts = Parts::default();
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        let (literal, after) = template::up_to(rest, b'$');
        parts.literal(literal);
        let Some(name) = after.strip_prefix(b"$") else {
            break;
        };
        if let Some(inside) = name.strip_prefix(b"{") {
            let at = text.len() - after.len();
            let (name, after) = scan::split(inside, b"}").ok_or(TemplateError::Unended(at))?;
            parts.field(field(name), false);
            rest = after;
            continue;
        }
        let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        let end = name.iter().take_while(|byte| is_name(byte)).count();
        let (name, after) = name.split_at_checked(end).unwrap_or((name, b""));
        parts.field(field(name), false);
        rest = after;
    }
    parts.template()
}

/// Whether these are values of this format, and not of another that has spaces in the same places.
fn is_plausible(fields: &Fields<'_>) -> bool {
    let status = scan::status(fields.get(Field::Status));
    (status.is_some() || !fields.has(Field::Status))
        && (!fields.has(Field::Client) || is_address(fields.get(Field::Client)))
}

fn is_address(text: &[u8]) -> bool {
    text == b"unix:"
        || (text.iter().any(|byte| matches!(byte, b'.' | b':'))
            && text
                .iter()
                .all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b'.' | b':')))
}

/// A line of JSON; it is NGINX's where it has a status and something else that only NGINX calls so.
fn from_json(line: &[u8]) -> Option<Fields<'_>> {
    let at = memchr::memchr(b'{', line)?;
    let mut fields = Fields::EMPTY;
    let mut own = false;
    json::each(line.get(at..)?, |key, value| {
        let key = key.strip_prefix(b"$").unwrap_or(key);
        own |= matches!(
            key,
            b"request" | b"request_uri" | b"remote_addr" | b"request_time"
        ) || key.starts_with(b"upstream_");
        let field = match key {
            b"time" | b"timestamp" | b"@timestamp" | b"ts" => Field::Time,
            b"method" => Field::Method,
            b"user_agent" => Field::Agent,
            b"client_ip" => Field::Client,
            _ => field(key),
        };
        if field != Field::Skip && !fields.has(field) {
            fields.set(field, value);
        }
    })?;
    let status = scan::status(fields.get(Field::Status));
    (own && status.is_some()).then_some(fields)
}

fn read(fields: &Fields<'_>, context: &mut Context<'_>) {
    let at = fields.at(context.zone);
    let status = scan::status(fields.get(Field::Status)).unwrap_or(0);
    context.stats.time(at);
    context.stats.status(status);
    let addresses = fields.get(Field::Address);
    let is_list = memchr::memchr2(b',', b' ', addresses).is_some();
    // 000 is written when nobody made a status; an interim response is none that ends a request.
    let is_final = status >= 200;
    if status < 400 && is_final && !is_list {
        let took = scan::seconds(fields.get(Field::Response));
        let took = took.or_else(|| scan::seconds(fields.get(Field::RequestSeconds)));
        let server = (fields.get(Field::Backend), addresses);
        return context
            .stats
            .answered(server, status, took, at, fields.path());
    }
    let mut sighting = Sighting::of(Speaker::Nginx, context.place);
    sighting.at_us = at;
    fields.describe(&mut sighting);
    if addresses.is_empty() {
        return unreached(fields, sighting, context);
    }
    let count = tries(addresses).count();
    let total = u32::try_from(count).unwrap_or(u32::MAX);
    for (number, address) in (1_u32..).zip(tries(addresses)) {
        let each = Try::of(
            fields,
            usize::try_from(number).unwrap_or(1) - 1,
            number == total,
        );
        sighting.attempt = (number, total);
        attempt(&each, address, sighting, context);
    }
}

/// The elements of a list: `, ` between servers, ` : ` where the request was redirected inside.
fn tries(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let parts = list
        .split(|byte| *byte == b' ')
        .filter(|part| *part != b":");
    parts
        .map(|part| part.strip_suffix(b",").unwrap_or(part))
        .take(64)
}

/// What one server's places in the lists say.
struct Try {
    /// Status of the request where it was the last.
    status: u16,
    server_status: u16,
    connect: Option<u64>,
    header: Option<u64>,
    response: Option<u64>,
    received: Option<u64>,
    sent: Option<u64>,
    /// Whether the format has the time of connecting, and that of the head.
    knows_connect: bool,
    knows_header: bool,
    is_last: bool,
}

impl Try {
    fn of(fields: &Fields<'_>, at: usize, is_last: bool) -> Self {
        let place = |field| tries(fields.get(field)).nth(at).unwrap_or_default();
        let status = scan::status(fields.get(Field::Status)).unwrap_or(0);
        Self {
            status,
            server_status: scan::status(place(Field::ServerStatus)).unwrap_or(0),
            connect: scan::seconds(place(Field::Connect)),
            header: scan::seconds(place(Field::Header)),
            response: scan::seconds(place(Field::Response)),
            received: scan::number(place(Field::Received)),
            sent: scan::number(place(Field::Sent)),
            knows_connect: fields.has(Field::Connect),
            knows_header: fields.has(Field::Header),
            is_last,
        }
    }

    /// Status of this try: the server's, or the request's where the format has no such list.
    fn outcome(&self) -> u16 {
        if self.server_status > 0 || !self.is_last {
            self.server_status
        } else {
            self.status
        }
    }

    /// Whether the server made the status: `None` where the format does not tell.
    fn is_by_server(&self) -> Option<bool> {
        if self.header.is_some() {
            return Some(true);
        }
        if self.knows_header || self.received == Some(0) {
            return Some(false);
        }
        // NGINX itself makes these alone of what stands in the list.
        (self.server_status > 0 && !matches!(self.server_status, 502 | 504)).then_some(true)
    }
}

fn attempt(each: &Try, address: &[u8], of: Sighting<'_>, context: &mut Context<'_>) {
    let mut sighting = of;
    sighting.elapsed_us = each.response;
    sighting.connected_us = each.connect;
    sighting.header_us = each.header;
    sighting.bytes_received = each.received;
    sighting.bytes_sent = each.sent;
    sighting.saved = !each.is_last && (100..500).contains(&each.status);
    let address = scan::said(address);
    let is_group = !address.is_empty() && !address.contains(&b':');
    if is_group {
        sighting.backend = scan::text(address);
    } else {
        sighting.address = scan::text(address);
    }
    let by_server = each.is_by_server();
    // 009 is no answer: bytes that are no response were passed on.
    let is_answer = each.outcome() != 9 && each.status != 9;
    if by_server == Some(true) {
        sighting.server_status = each.outcome();
    }
    if by_server == Some(true) && is_answer {
        let (key, took) = (server_of(&sighting), each.response);
        let path = sighting.path.as_bytes();
        context
            .stats
            .answered(key, each.outcome(), took, sighting.at_us, path);
    }
    // The worker ended before there was an answer.
    let is_cut = each.status == 0 && each.is_last && each.header.is_none();
    sighting.remark = is_cut.then_some(Remark::EndedWithProcess);
    sighting.suspects = match (is_group, by_server) {
        _ if is_cut => Suspects::NONE,
        (true, _) => Suspects::any_of(&[FaultKind::AllServersDown, FaultKind::NoServers]),
        (_, Some(true)) if each.outcome() == 9 || each.status == 9 => Suspects::any_of(&NOT_HTTP),
        (_, Some(true)) if each.status == 499 => Suspects::any_of(&CLIENT_LEFT),
        (_, Some(true)) => Suspects::NONE,
        (_, Some(false)) => failed(each),
        (_, None) if matches!(each.outcome(), 502 | 504) => failed(each),
        (_, None) => own_status(each.outcome()),
    };
    let is_interim = (100..200).contains(&sighting.server_status);
    if sighting.is_failure() || is_cut || is_interim || sighting.server_status >= 500 {
        words(each, address, context);
        context.tell(sighting);
    }
}

// ---- What NGINX writes, and which kinds it may be ----

const CLIENT_LEFT: [FaultKind; 2] = [FaultKind::ClientClosed, FaultKind::ClientReset];

/// Status 009: bytes that are no response were relayed as HTTP/0.9.
const NOT_HTTP: [FaultKind; 4] = [
    FaultKind::ResponseNotHttp,
    FaultKind::ServerSpeaksHttp2,
    FaultKind::ServerSpeaksTls,
    FaultKind::ResponseStatusLineInvalid,
];

const ENDED: [FaultKind; 9] = [
    FaultKind::ServerClosedNoResponse,
    FaultKind::ServerResetNoResponse,
    FaultKind::ReusedClosed,
    FaultKind::ReusedReset,
    FaultKind::ServerClosedWhileSending,
    FaultKind::ServerResetWhileSending,
    FaultKind::ServerWantsCertificate,
    FaultKind::ServerGoaway,
    FaultKind::ServerResetStream,
];

const BAD_HEAD: [FaultKind; 9] = [
    FaultKind::ResponseHeadersTooLarge,
    FaultKind::ResponseHeadTruncated,
    FaultKind::ResponseHeadReset,
    FaultKind::ResponseHeaderInvalid,
    FaultKind::ResponseFramingConflict,
    FaultKind::ResponseLengthInvalid,
    FaultKind::ResponseCodingUnsupported,
    FaultKind::ServerSpeaksHttp1,
    FaultKind::ServerH2Protocol,
];

/// A server that gave no head.
fn failed(each: &Try) -> Suspects {
    let has_bytes = each.received.is_some_and(|bytes| bytes > 0);
    let is_connected = each.connect.is_some();
    match each.outcome() {
        504 if is_connected && has_bytes => Suspects::just(FaultKind::ResponseHeadStalled),
        504 if is_connected => Suspects::any_of(&[
            FaultKind::ResponseTimeout,
            FaultKind::ServerWriteTimeout,
            FaultKind::ResponseHeadStalled,
        ]),
        504 if each.knows_connect => {
            Suspects::any_of(&[FaultKind::ConnectTimeout, FaultKind::ServerTlsTimeout])
        }
        504 => Suspects::any_of(&[
            FaultKind::ResponseTimeout,
            FaultKind::ConnectTimeout,
            FaultKind::ServerWriteTimeout,
            FaultKind::ServerTlsTimeout,
            FaultKind::ResponseHeadStalled,
        ]),
        502 if has_bytes => Suspects::any_of(&BAD_HEAD),
        502 if is_connected && each.received == Some(0) => Suspects::any_of(&ENDED),
        502 if is_connected => several(&[&ENDED, &BAD_HEAD]),
        502 if each.knows_connect => {
            several(&[&super::failure::CONNECT, &FaultKind::OF_SERVER_TLS])
        }
        502 => BAD_GATEWAY.iter().copied().collect(),
        499 => Suspects::any_of(&CLIENT_LEFT),
        0 if each.status == 499 => Suspects::any_of(&CLIENT_LEFT),
        status => own_status(status),
    }
}

/// Where only the status is known, or less: the commonest.
const BAD_GATEWAY: [FaultKind; 14] = [
    FaultKind::ConnectRefused,
    FaultKind::ServerClosedNoResponse,
    FaultKind::ServerResetNoResponse,
    FaultKind::ReusedReset,
    FaultKind::ReusedClosed,
    FaultKind::ConnectUnreachable,
    FaultKind::ResponseHeadersTooLarge,
    FaultKind::AllServersDown,
    FaultKind::UnixMissing,
    FaultKind::ConnectDenied,
    FaultKind::ServerTlsAlert,
    FaultKind::ServerSpeaksPlain,
    FaultKind::NameUnresolved,
    FaultKind::ResponseHeadTruncated,
];

/// A status that NGINX made before it had anything to do with a server.
fn own_status(status: u16) -> Suspects {
    use FaultKind as K;
    let kinds: &[FaultKind] = match status {
        9 => &NOT_HTTP,
        408 => &[K::RequestBodyTimeout, K::RequestHeadTimeout],
        413 => &[K::BodyTooLarge],
        414 => &[K::RequestLineTooLong],
        431 | 494 => &[K::HeadersTooLarge, K::TooManyHeaders],
        495 => &[K::TlsClientCertificateInvalid],
        496 => &[K::TlsClientCertificateMissing],
        497 => &[K::HttpOnTlsPort],
        499 => &CLIENT_LEFT,
        502 => &BAD_GATEWAY,
        504 => &[K::ResponseTimeout, K::ConnectTimeout, K::ServerWriteTimeout],
        505 => &[K::VersionUnsupported],
        _ => &[],
    };
    Suspects::any_of(kinds)
}

/// A request for which no server was tried, or a format that does not tell which.
fn unreached(fields: &Fields<'_>, mut sighting: Sighting<'_>, context: &mut Context<'_>) {
    let status = sighting.status;
    let knows = fields.has(Field::Address);
    let line = fields.get(Field::Request);
    sighting.elapsed_us = scan::seconds(fields.get(Field::RequestSeconds));
    sighting.suspects = match status {
        502 if knows => Suspects::any_of(&[FaultKind::NameUnresolved, FaultKind::NameTimeout]),
        400 => bad_request(line),
        500 if knows => Suspects::any_of(&[
            FaultKind::OutOfFiles,
            FaultKind::ListenerFull,
            FaultKind::RewriteInvalid,
        ]),
        _ => own_status(status),
    };
    // 503 is what limits answer by default, and what a configuration may answer for many reasons.
    sighting.remark = (status == 429 && knows).then_some(Remark::RateLimited);
    let is_told = sighting.is_failure() || sighting.remark.is_some() || status >= 500;
    if !is_told {
        let took = sighting.elapsed_us;
        return context
            .stats
            .answered((b"", b""), status, took, sighting.at_us, b"");
    }
    let words = &mut context.scratch.words;
    words.push_str("status ");
    words.push_str(fields.text(Field::Status));
    words.push_str(if knows { ", no server was tried" } else { "" });
    context.tell(sighting);
}

/// Requests that NGINX could not read leave traces in `$request`; those of others leave none.
fn bad_request(line: &[u8]) -> Suspects {
    if line.starts_with(b"\\x16\\x03") || line.starts_with(b"\x16\x03") {
        return Suspects::just(FaultKind::TlsOnPlainPort);
    }
    if line.starts_with(b"PRI * HTTP/2") {
        return Suspects::just(FaultKind::Http2OnHttp1Port);
    }
    let (method, _) = scan::request(line);
    let kinds: &[FaultKind] = if method.is_empty() {
        &[
            FaultKind::RequestLineInvalid,
            FaultKind::MethodInvalid,
            FaultKind::TargetInvalid,
            FaultKind::HttpOnTlsPort,
            FaultKind::RequestHeadTimeout,
        ]
    } else {
        &[]
    };
    Suspects::any_of(kinds)
}

/// Both lists.
fn several(lists: &[&[FaultKind]]) -> Suspects {
    lists.iter().flat_map(|list| list.iter().copied()).collect()
}

/// `upstream 10.0.0.2:80 status 502 connect - header -`, as far as the format tells.
fn words(each: &Try, address: &[u8], context: &mut Context<'_>) {
    use std::fmt::Write as _;
    let words = &mut context.scratch.words;
    words.clear();
    let _ = write!(
        words,
        "upstream {}, status {}",
        scan::text(address),
        each.status
    );
    if each.server_status > 0 {
        let _ = write!(words, ", upstream status {}", each.server_status);
    }
    let times = [
        ("connect", each.knows_connect, each.connect),
        ("header", each.knows_header, each.header),
        ("response", each.response.is_some(), each.response),
    ];
    for (name, known, time) in times {
        match (known, time) {
            (false, _) => {}
            (true, None) => {
                let _ = write!(words, ", {name} time -");
            }
            (true, Some(us)) => {
                let _ = write!(
                    words,
                    ", {name} time {}.{:03} s",
                    us / 1_000_000,
                    us / 1_000 % 1_000
                );
            }
        }
    }
}
