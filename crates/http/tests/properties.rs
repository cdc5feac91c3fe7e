//! What holds of heads whatever they are made of.

mod pieces;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use clearway_http::{
    Edits, Field, ForwardPolicy, Framing, HeadLimits, Known, Method, Progress, RequestHead,
    ResponseHead, Version, XForwarded, encode_request,
};
use clearway_outcome::FaultKind;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use pieces::{ends, mutate, mutations};

/// What may follow the first byte of a target: all visible characters but `#"<>\`.
const TARGET_TAIL: &str = "[!$-;=?-\\[\\]-~]{0,20}";

/// Name, white space, value, white space.
type Line = (String, &'static str, Vec<u8>, &'static str);

/// A valid request, as it is meant.
#[derive(Clone, Debug)]
struct Request {
    empty_line: bool,
    method: String,
    /// Scheme and authority of an absolute target.
    absolute: Option<(&'static str, String)>,
    path: String,
    http10: bool,
    host: Option<String>,
    framing: Framing,
    fields: Vec<Line>,
}

impl Request {
    fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if self.empty_line {
            out.extend_from_slice(b"\r\n");
        }
        let version = if self.http10 { "1.0" } else { "1.1" };
        let (scheme, authority) = self.absolute.clone().unwrap_or_default();
        let start = format!("{} {scheme}{authority}{}", self.method, self.path);
        out.extend_from_slice(format!("{start} HTTP/{version}\r\n").as_bytes());
        let (before, after) = self.fields.split_at(self.fields.len() / 2);
        write_fields(before, &mut out);
        if let Some(host) = &self.host {
            out.extend_from_slice(format!("hOST:{host}\r\n").as_bytes());
        }
        match self.framing {
            Framing::Length(length) => {
                out.extend_from_slice(format!("content-length: {length}\r\n").as_bytes());
            }
            Framing::Chunked => out.extend_from_slice(b"Transfer-encoding: Chunked\r\n"),
            Framing::None | Framing::UntilClose => {}
        }
        write_fields(after, &mut out);
        out.extend_from_slice(b"\r\n");
        out
    }

    /// What the server is to be asked for.
    fn origin(&self) -> String {
        // The whole server is asked (RFC 9112 section 3.2.4).
        if self.absolute.is_some() && self.method == "OPTIONS" && self.path.is_empty() {
            return "*".to_owned();
        }
        match (&self.absolute, self.path.starts_with('/')) {
            (Some(_), false) => format!("/{}", self.path),
            _ => self.path.clone(),
        }
    }

    /// The options of all `Connection` fields.
    fn options(&self) -> Vec<String> {
        let fields = self.fields.iter();
        let connection = fields.filter(|f| f.0.eq_ignore_ascii_case("connection"));
        let texts = connection.map(|f| String::from_utf8_lossy(&f.2).to_lowercase());
        let words = |text: String| -> Vec<String> {
            let options = text.split(',').map(|option| option.trim().to_owned());
            options.collect()
        };
        texts.flat_map(words).collect()
    }

    /// The fields that the server must get, as they came.
    fn end_to_end(&self) -> Vec<(String, Vec<u8>)> {
        let options = self.options();
        let passes = |f: &&Line| is_end_to_end(&f.0) && !options.contains(&f.0.to_lowercase());
        let fields = self.fields.iter().filter(passes);
        fields.map(|f| (f.0.clone(), trim(&f.2).to_vec())).collect()
    }
}

/// Fields of one connection.
const HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "upgrade",
    "http2-settings",
    "content-length",
    "transfer-encoding",
];

/// Fields that a proxy writes, or writes anew.
const OWN: [&str; 8] = [
    "host",
    "via",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-port",
    "x-real-ip",
];

/// Names with `_` may be taken for those of forwarding fields.
fn is_end_to_end(name: &str) -> bool {
    let name = name.to_lowercase();
    let is_in = |names: &[&str]| names.contains(&name.as_str());
    !is_in(&HOP) && !is_in(&OWN) && !name.contains('_')
}

fn write_fields(fields: &[Line], out: &mut Vec<u8>) {
    for (name, lead, value, trail) in fields {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(format!(":{lead}").as_bytes());
        out.extend_from_slice(value);
        out.extend_from_slice(format!("{trail}\r\n").as_bytes());
    }
}

fn trim(value: &[u8]) -> &[u8] {
    let is_ink = |b: &u8| *b != b' ' && *b != b'\t';
    let start = value.iter().position(is_ink).unwrap_or(value.len());
    let end = value.iter().rposition(is_ink).map_or(start, |at| at + 1);
    value.get(start..end).unwrap_or_default()
}

fn host() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-zA-Z][a-z0-9.-]{0,9}(:[0-9]{0,5})?",
        any::<Ipv4Addr>().prop_map(|ip| ip.to_string()),
        any::<(Ipv6Addr, u16)>().prop_map(|(ip, port)| format!("[{ip}]:{port}")),
    ]
}

fn field() -> impl Strategy<Value = Line> {
    let blank = || select(&["", " ", "\t ", "   "][..]);
    let byte = prop_oneof![8 => 0x20..0x7f_u8, 1 => Just(b'\t'), 1 => 0x80..=0xff_u8];
    let value = || vec(byte.clone(), 0..40);
    let text = |text: &'static str| Just(text.as_bytes().to_vec());
    let name = |names: &'static [&'static str]| select(names).prop_map(str::to_owned);
    let option = select(
        &[
            "close",
            "Keep-Alive",
            "UPGRADE",
            "x-named",
            "X-Other",
            "cookie",
            "host",
            "te",
            "",
        ][..],
    );
    let options = vec(option, 1..4).prop_map(|options| options.join(" ,\t").into_bytes());
    let codings = select(&["trailers", "gzip, Trailers", "gzip"][..]);
    let pair = prop_oneof![
        4 => (
            name(&["Accept", "cookie", "User-Agent", "x-named", "X-OTHER", "Set-Cookie", "date"]),
            value(),
        ),
        4 => ("[a-zA-Z!#$%&'*+.^`|~-]{1,12}z", value()),
        1 => (name(&["Expect"]), text("100-Continue")),
        2 => (name(&["Keep-Alive", "Proxy-Connection", "HTTP2-Settings"]), text("hop-only")),
        1 => (name(&["TE"]), codings.prop_map(|value| value.as_bytes().to_vec())),
        1 => (name(&["Trailer"]), text("x-sum")),
        1 => (name(&["Upgrade"]), text("websocket")),
        2 => (name(&["Connection"]), options),
        2 => (
            name(&[
                "Forwarded",
                "X-Forwarded-For",
                "x-forwarded-host",
                "X-Forwarded-Proto",
                "X-Forwarded-Port",
                "X-Real-IP",
                "X_Forwarded_For",
                "X-Forwarded_Host",
            ]),
            text("spoofed"),
        ),
        1 => (name(&["Via"]), text("1.0 other")),
    ];
    (pair, blank(), blank()).prop_map(|((name, value), lead, trail)| (name, lead, value, trail))
}

fn request() -> impl Strategy<Value = Request> {
    let scheme = select(&["http://", "HTTPS://"][..]);
    let framing = prop_oneof![
        Just(Framing::None),
        (0..1_u64 << 60).prop_map(Framing::Length),
        Just(Framing::Length(0)),
        Just(Framing::Chunked),
    ];
    let place = (
        "(GET|HEAD|POST|OPTIONS|[a-zA-Z!#$%&'*+.^_`|~-]{1,8}z)",
        proptest::option::weighted(0.3, scheme),
        TARGET_TAIL,
        0..4_u8,
        host(),
    );
    let rest = (any::<(bool, bool, bool)>(), framing, vec(field(), 0..12));
    (place, rest).prop_map(
        |((method, scheme, tail, form, host), ((empty_line, http10, bare), framing, fields))| {
            let absolute = scheme.map(|scheme| (scheme, host.clone()));
            let path = match form {
                0 if absolute.is_some() => String::new(),
                1 if absolute.is_some() => format!("?{tail}"),
                2 if absolute.is_none() && method == "OPTIONS" => "*".to_owned(),
                _ => format!("/{tail}"),
            };
            Request {
                empty_line,
                method,
                absolute,
                path,
                http10,
                host: Some(host).filter(|_| !(http10 && bare)),
                framing: if http10 && framing == Framing::Chunked {
                    Framing::None
                } else {
                    framing
                },
                fields,
            }
        },
    )
}

fn limits() -> impl Strategy<Value = HeadLimits> {
    let small =
        (1..80_usize, 1..400_usize, 0..10_usize).prop_map(|(line, bytes, count)| HeadLimits {
            line,
            bytes,
            count,
            ..HeadLimits::default()
        });
    prop_oneof![3 => Just(HeadLimits::default()), 1 => small]
}

/// All there is to see of a head.
fn seen(head: &RequestHead) -> String {
    let ends = (head.len, head.framing, head.keep_alive, head.version);
    let places = (head.host, head.path, head.query, head.has_query);
    let wishes = (head.expect_continue, head.upgrade, head.method);
    let line = (head.method_text, head.target, &head.fields);
    format!("{ends:?} {places:?} {wishes:?} {line:?}")
}

fn response() -> impl Strategy<Value = Vec<u8>> {
    let line = "HTTP/1\\.[01] [1-9][0-9]{2}( [a-zA-Z ]{0,9})?";
    (line, vec(field(), 0..12), 0..4_u8).prop_map(|(line, fields, framing)| {
        let mut out = format!("{line}\r\n").into_bytes();
        write_fields(&fields, &mut out);
        out.extend_from_slice(match framing {
            0 => b"content-length: 12\r\n\r\n",
            1 => b"transfer-encoding: chunked\r\n\r\n",
            2 => b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            _ => b"\r\n",
        });
        out
    })
}

fn seen_response(head: &ResponseHead) -> String {
    let ends = (head.len, head.framing, head.keep_alive, head.version);
    let line = (head.status, head.reason, &head.fields);
    format!("{ends:?} {line:?}")
}

/// Whether text could end a line for anybody.
fn breaks(text: &[u8]) -> bool {
    text.iter().any(|b| matches!(b, b'\r' | b'\n' | 0))
}

fn field_breaks(field: &Field, buf: &[u8]) -> bool {
    field.name.is_empty() || breaks(field.name.of(buf)) || breaks(field.value.of(buf))
}

fn policy() -> impl Strategy<Value = ForwardPolicy<'static>> {
    let client = proptest::option::of(any::<IpAddr>());
    let mode = select(&[XForwarded::Append, XForwarded::Replace, XForwarded::Off][..]);
    let via = select(&[None, Some("clearway")][..]);
    let rest = any::<(bool, bool, Option<u16>)>();
    (client, mode, via, rest).prop_map(|(client, mode, via, (forwarded, trusted, port))| {
        ForwardPolicy {
            client,
            proto: "http",
            port,
            via,
            mode,
            forwarded,
            trusted,
            frames: false,
        }
    })
}

/// The complete head at the start of `bytes`.
fn parse(bytes: &[u8]) -> Option<RequestHead> {
    let mut head = RequestHead::default();
    let parsed = head.parse(bytes, &HeadLimits::default());
    (parsed == Ok(Progress::Complete)).then_some(head)
}

fn end_to_end(head: &RequestHead, buf: &[u8]) -> Vec<(String, Vec<u8>)> {
    let pair = |f: &Field| {
        let name = String::from_utf8_lossy(f.name.of(buf)).into_owned();
        (name, f.value.of(buf).to_vec())
    };
    let fields = head.fields.iter().filter(|f| !f.hop).map(pair);
    fields.filter(|(name, _)| is_end_to_end(name)).collect()
}

/// Whether all that is said about the connection to the server is the proxy's own word.
fn hop_is_own(head: &RequestHead, again: &RequestHead, out: &[u8]) -> bool {
    let count = |known| again.fields.iter().filter(|f| f.known == known).count();
    let has = |known| count(known) > 0;
    let never = [
        Known::KeepAlive,
        Known::ProxyConnection,
        Known::Http2Settings,
    ];
    let te = again.field(Known::Te, out);
    let expected: Option<&[u8]> = match (head.upgrade, te.is_some()) {
        (true, _) => Some(b"upgrade"),
        (false, true) => Some(b"TE"),
        (false, false) => None,
    };
    let two_ends = has(Known::ContentLength) && has(Known::TransferEncoding);
    !two_ends
        && never.into_iter().all(|known| !has(known))
        && count(Known::Connection) <= 1
        && again.field(Known::Connection, out) == expected
        && te.is_none_or(|te| te == b"trailers" && !head.upgrade)
        && has(Known::Upgrade) == head.upgrade
        && again.upgrade == head.upgrade
        && (!has(Known::Trailer) || head.framing == Framing::Chunked)
}

proptest! {
    /// Heads of any bytes are parsed or refused, and what is accepted cannot break a line.
    #[test]
    fn no_bytes_break_a_request_head(
        request in request(),
        mutations in mutations(),
        noise in vec(any::<u8>(), 0..200),
        limits in limits(),
    ) {
        let mut bytes = request.bytes();
        mutate(&mut bytes, &mutations);
        for buf in [bytes, noise] {
            let mut head = RequestHead::default();
            if head.parse(&buf, &limits) != Ok(Progress::Complete) {
                continue;
            }
            prop_assert!(head.len <= buf.len() && head.len <= limits.bytes);
            prop_assert!(head.fields.len() <= limits.count);
            for span in [head.target, head.method_text, head.host, head.path, head.query] {
                prop_assert!(!breaks(span.of(&buf)));
            }
            prop_assert!(!head.fields.iter().any(|f| field_breaks(f, &buf)));
        }
    }

    /// The same of response heads.
    #[test]
    fn no_bytes_break_a_response_head(
        response in response(),
        mutations in mutations(),
        noise in vec(any::<u8>(), 0..200),
        limits in limits(),
    ) {
        let mut bytes = response;
        mutate(&mut bytes, &mutations);
        for buf in [bytes, noise] {
            let mut head = ResponseHead::default();
            if head.parse(&buf, &limits, Method::Get) != Ok(Progress::Complete) {
                continue;
            }
            prop_assert!(head.len <= buf.len() && head.len <= limits.bytes);
            prop_assert!(!breaks(head.reason.of(&buf)));
            prop_assert!(!head.fields.iter().any(|f| field_breaks(f, &buf)));
        }
    }

    /// A request head is the same however it arrives.
    #[test]
    fn request_heads_in_pieces_are_the_same(
        request in request(),
        mutations in mutations(),
        cuts in vec(any::<Index>(), 0..8),
        body in vec(any::<u8>(), 0..20),
        limits in limits(),
    ) {
        let mut bytes = request.bytes();
        mutate(&mut bytes, &mutations);
        bytes.extend_from_slice(&body);
        let mut whole = RequestHead::default();
        let at_once = whole.parse(&bytes, &limits);
        let mut head = RequestHead::default();
        let mut in_pieces = Ok(Progress::Partial);
        for end in ends(&cuts, bytes.len()) {
            in_pieces = head.parse(&bytes[..end], &limits);
            if in_pieces != Ok(Progress::Partial) {
                break;
            }
        }
        // Of several things that are wrong, any may be told.
        prop_assert_eq!(in_pieces.ok(), at_once.ok(), "{:?} {:?}", in_pieces, at_once);
        if at_once == Ok(Progress::Complete) {
            prop_assert_eq!(seen(&head), seen(&whole));
        }
    }

    /// The same of response heads.
    #[test]
    fn response_heads_in_pieces_are_the_same(
        response in response(),
        mutations in mutations(),
        cuts in vec(any::<Index>(), 0..8),
        limits in limits(),
        method in select(&[Method::Get, Method::Head][..]),
    ) {
        let mut bytes = response;
        mutate(&mut bytes, &mutations);
        let mut whole = ResponseHead::default();
        let at_once = whole.parse(&bytes, &limits, method);
        let mut head = ResponseHead::default();
        let mut in_pieces = Ok(Progress::Partial);
        for end in ends(&cuts, bytes.len()) {
            in_pieces = head.parse(&bytes[..end], &limits, method);
            if in_pieces != Ok(Progress::Partial) {
                break;
            }
        }
        prop_assert_eq!(in_pieces.ok(), at_once.ok(), "{:?} {:?}", in_pieces, at_once);
        if at_once == Ok(Progress::Complete) {
            prop_assert_eq!(seen_response(&head), seen_response(&whole));
        }
    }

    /// One thing that is wrong has the same name however the head arrives.
    #[test]
    fn a_refusal_does_not_depend_on_pieces(
        case in select(WRONG),
        cuts in vec(any::<Index>(), 0..6),
    ) {
        let (bytes, expected) = case;
        let mut head = RequestHead::default();
        let mut result = Ok(Progress::Partial);
        for end in ends(&cuts, bytes.len()) {
            result = head.parse(&bytes[..end], &HeadLimits::default());
            if result != Ok(Progress::Partial) {
                break;
            }
        }
        prop_assert_eq!(result, Err(expected), "{}", bytes.escape_ascii());
    }

    /// A request means the same to the server as to the client, whatever is said about the client.
    #[test]
    fn requests_are_passed_on_as_they_were_meant(request in request(), policy in policy()) {
        let bytes = request.bytes();
        let head = parse(&bytes);
        prop_assert!(head.is_some(), "{}", bytes.escape_ascii());
        let head = head.unwrap();
        let mut out = Vec::new();
        encode_request(&head, &bytes, &Edits::default(), &policy, &mut out);
        let again = parse(&out);
        prop_assert!(again.is_some(), "{}", out.escape_ascii());
        let again = again.unwrap();
        prop_assert_eq!(again.len, out.len());
        prop_assert_eq!(again.version, Version::Http11);
        prop_assert_eq!(again.method_text.of(&out), request.method.as_bytes());
        prop_assert_eq!(again.target.of(&out).to_vec(), request.origin().into_bytes());
        let authority = request.absolute.as_ref().map(|(_, authority)| authority);
        let host = authority.or(request.host.as_ref()).cloned().unwrap_or_default();
        prop_assert_eq!(again.host.of(&out), host.as_bytes());
        let is_empty = request.framing == Framing::Length(0);
        let framing = if is_empty { Framing::None } else { request.framing };
        prop_assert_eq!(again.framing, framing);
        prop_assert_eq!(end_to_end(&again, &out), request.end_to_end());
        prop_assert!(hop_is_own(&head, &again, &out), "{}", out.escape_ascii());
        let text = String::from_utf8_lossy(&out);
        prop_assert!(!text.contains("hop-only"), "{}", text);
        prop_assert!(policy.trusted || !text.contains("spoofed"), "{}", text);
    }

    /// Whatever is accepted, also of odd requests, is accepted again as the same.
    #[test]
    fn what_is_accepted_is_passed_on_soundly(
        request in request(),
        authority in proptest::option::of("[!$-.0-;=@-\\[\\]-~]{1,8}"),
        mutations in mutations(),
        policy in policy(),
    ) {
        let mut request = request;
        if let Some(authority) = authority {
            (request.host, request.http10) = (None, true);
            request.absolute = Some(("http://", authority));
            request.framing = Framing::None;
        }
        let mut bytes = request.bytes();
        mutate(&mut bytes, &mutations);
        let Some(head) = parse(&bytes) else {
            return Ok(());
        };
        let mut out = Vec::new();
        encode_request(&head, &bytes, &Edits::default(), &policy, &mut out);
        let again = parse(&out);
        prop_assert!(again.is_some(), "{} of {}", out.escape_ascii(), bytes.escape_ascii());
        let again = again.unwrap();
        prop_assert_eq!(again.len, out.len());
        prop_assert_eq!(again.method_text.of(&out), head.method_text.of(&bytes));
        prop_assert_eq!(again.host.of(&out), head.host.of(&bytes));
        prop_assert_eq!(again.query.of(&out), head.query.of(&bytes));
        prop_assert_eq!(again.framing, head.framing);
        prop_assert_eq!(end_to_end(&again, &out), end_to_end(&head, &bytes));
        prop_assert!(hop_is_own(&head, &again, &out), "{}", out.escape_ascii());
    }
}

/// Heads with one thing that is wrong, and its name.
#[rustfmt::skip]
const WRONG: &[(&[u8], FaultKind)] = &[
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", FaultKind::TlsOnPlainPort),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", FaultKind::Http2OnHttp1Port),
    (b"G@T / HTTP/1.1\r\nHost: a\r\n\r\n", FaultKind::MethodInvalid),
    (b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", FaultKind::TargetInvalid),
    (b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", FaultKind::TargetInvalid),
    (b"GET /\ra HTTP/1.1\r\nHost: a\r\n\r\n", FaultKind::BareCr),
    (b"GET / HTTP/1.1\nHost: a\r\n\r\n", FaultKind::BareLf),
    (b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", FaultKind::VersionUnsupported),
    (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", FaultKind::RequestLineInvalid),
    (b"GET / HTTP/1.1\r\nHo@st: a\r\n\r\n", FaultKind::HeaderNameInvalid),
    (b"GET / HTTP/1.1\r\nHo st: a\r\n\r\n", FaultKind::HeaderNameInvalid),
    (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", FaultKind::HeaderSpaceBeforeColon),
    (b"GET / HTTP/1.1\r\nHost \t : a\r\n\r\n", FaultKind::HeaderSpaceBeforeColon),
    (b"GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", FaultKind::HeaderFolded),
    (b"GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n", FaultKind::BareCr),
    (b"GET / HTTP/1.1\r\nHost: a\n\r\n", FaultKind::BareLf),
    (b"GET / HTTP/1.1\r\nHost: a\x7f\r\n\r\n", FaultKind::HeaderValueInvalid),
    (b"GET / HTTP/1.1\r\nHost: a\r\n\rb", FaultKind::BareCr),
    (b"GET / HTTP/1.1\r\nHost: a\r\n\n", FaultKind::BareLf),
];
