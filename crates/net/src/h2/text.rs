//! Heads between their two forms: the library's maps, and text as HTTP/1.1 has it.
//!
//! What comes in as text was written by our own encoder; what comes in as a map was checked by the
//! library, and is checked again by whoever parses the text.

use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};
use bytes::Bytes;
use h2::ext::Protocol;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Request, Response, StatusCode, Uri, request, response};

/// Why a head cannot be written down or understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

fn line(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Bytes in base64 (RFC 4648 section 4).
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let digit = bits >> (18 - 6 * at) & 0x3f;
            out.push(match at {
                at if at > group.len() => '=',
                _ => char::from(DIGITS[digit as usize]),
            });
        }
    }
    out
}

/// A nonce of 16 bytes in base64 (RFC 6455 section 4.1).
fn websocket_key(mut random: impl FnMut() -> u64) -> String {
    base64(&(u128::from(random()) << 64 | u128::from(random())).to_be_bytes())
}

/// What a server answers to a nonce (RFC 6455 section 4.2.2).
fn websocket_accept(key: &[u8]) -> String {
    let mut digest = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    digest.update(key);
    digest.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    base64(digest.finish().as_ref())
}

/// Writes a request's head. A WebSocket opened by an extended CONNECT (RFC 8441) becomes the upgrade
/// that HTTP/1.1 has for it; the answer is whether it was one.
pub(super) fn write_request(
    parts: &request::Parts,
    random: impl FnMut() -> u64,
    out: &mut Vec<u8>,
) -> bool {
    let protocol = parts.extensions.get::<Protocol>();
    let upgrades = parts.method == Method::CONNECT && protocol.is_some();
    let method = if upgrades {
        "GET"
    } else {
        parts.method.as_str()
    };
    out.extend_from_slice(method.as_bytes());
    out.push(b' ');
    let authority = parts.uri.authority();
    match (parts.uri.path_and_query(), authority) {
        (None, Some(authority)) if parts.method == Method::CONNECT => {
            out.extend_from_slice(authority.as_str().as_bytes());
        }
        (Some(path), _) => out.extend_from_slice(path.as_str().as_bytes()),
        (None, _) => out.push(b'/'),
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
    if let Some(authority) = authority {
        line(b"host", authority.as_str().as_bytes(), out);
    }
    let mut cookies = 0;
    for (name, value) in &parts.headers {
        match *name {
            header::COOKIE => cookies += 1,
            // The same again is no contradiction (RFC 9113 section 8.3.1).
            header::HOST
                if authority.is_some_and(|a| a.as_str().as_bytes() == value.as_bytes()) => {}
            _ => line(name.as_str().as_bytes(), value.as_bytes(), out),
        }
    }
    if cookies > 0 {
        // Crumbs are put together again (RFC 9113 section 8.2.3).
        out.extend_from_slice(b"cookie: ");
        for (at, value) in parts.headers.get_all(header::COOKIE).iter().enumerate() {
            if at > 0 {
                out.extend_from_slice(b"; ");
            }
            out.extend_from_slice(value.as_bytes());
        }
        out.extend_from_slice(b"\r\n");
    }
    if let (true, Some(protocol)) = (upgrades, protocol) {
        out.extend_from_slice(b"connection: upgrade\r\n");
        line(b"upgrade", protocol.as_str().as_bytes(), out);
        line(b"sec-websocket-key", websocket_key(random).as_bytes(), out);
    }
    out.extend_from_slice(b"\r\n");
    upgrades
}

/// Whether a value begins or ends with white space, which nobody may send (RFC 9113 section 8.2.1).
pub(super) fn has_padded_value(fields: &HeaderMap) -> bool {
    let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    fields.values().any(|value| {
        let value = value.as_bytes();
        is_space(value.first()) || is_space(value.last())
    })
}

/// Writes the head of a response, interim or final.
pub(super) fn write_response(parts: &response::Parts, out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(parts.status.as_str().as_bytes());
    out.extend_from_slice(b" \r\n");
    write_fields(&parts.headers, out);
    out.extend_from_slice(b"\r\n");
}

/// Writes fields, a line each: the trailers of a body.
pub(super) fn write_fields(fields: &HeaderMap, out: &mut Vec<u8>) {
    for (name, value) in fields {
        line(name.as_str().as_bytes(), value.as_bytes(), out);
    }
}

/// Where the body ends that follows a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// There is none.
    None,
    /// After so many bytes.
    Length(u64),
    /// When its end is told.
    Open,
}

/// The fields of a head, without those that concern a connection of HTTP/1.1.
struct Fields {
    map: HeaderMap,
    host: Option<Bytes>,
    upgrade: Option<Bytes>,
    body: Body,
}

/// The length of the head at the start of `text`, its empty line included.
pub(super) fn head_len(text: &[u8]) -> Option<usize> {
    memchr::memmem::find(text, b"\r\n\r\n").map(|at| at + 4)
}

fn fields(text: &Bytes, mut at: usize) -> Result<Fields, Malformed> {
    let mut map = HeaderMap::with_capacity(16);
    let (mut host, mut upgrade, mut body) = (None, None, Body::None);
    loop {
        let rest = text.get(at..).unwrap_or_default();
        let end = memchr::memchr(b'\r', rest).ok_or(Malformed)?;
        if end == 0 {
            return Ok(Fields {
                map,
                host,
                upgrade,
                body,
            });
        }
        let colon = memchr::memchr(b':', rest)
            .filter(|&c| c < end)
            .ok_or(Malformed)?;
        let name = HeaderName::from_bytes(rest.get(..colon).unwrap_or_default());
        let name = name.map_err(|_| Malformed)?;
        let mut from = at + colon + 1;
        while from < at + end && matches!(text.get(from), Some(b' ' | b'\t')) {
            from += 1;
        }
        let value = text.slice(from..at + end);
        at += end + 2;
        match name {
            header::HOST => host = Some(value),
            header::TRANSFER_ENCODING => body = Body::Open,
            header::CONNECTION => {}
            header::UPGRADE => upgrade = Some(value),
            // Of what TE may say this alone may be said here (RFC 9113 section 8.2.2).
            header::TE if value.as_ref() != b"trailers" => {}
            name => {
                if name == header::CONTENT_LENGTH {
                    body = match length(&value).ok_or(Malformed)? {
                        0 => Body::None,
                        length => Body::Length(length),
                    };
                }
                if name.as_str() == "keep-alive" || name.as_str() == "proxy-connection" {
                    continue;
                }
                let value = HeaderValue::from_maybe_shared(value).map_err(|_| Malformed)?;
                map.append(name, value);
            }
        }
    }
}

fn length(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// The first line, cut at its spaces.
fn words(text: &Bytes) -> Result<([Bytes; 2], usize), Malformed> {
    let end = memchr::memchr(b'\r', text).ok_or(Malformed)?;
    let line = text.get(..end).unwrap_or_default();
    let first = memchr::memchr(b' ', line).ok_or(Malformed)?;
    let rest = line.get(first + 1..).unwrap_or_default();
    let second = memchr::memchr(b' ', rest).unwrap_or(rest.len());
    Ok((
        [
            text.slice(..first),
            text.slice(first + 1..first + 1 + second),
        ],
        end + 2,
    ))
}

/// A request on its way to a server.
pub(super) struct Outgoing {
    pub(super) request: Request<()>,
    pub(super) body: Body,
    pub(super) tunnel: Option<Tunnel>,
}

/// An upgrade of HTTP/1.1 that went out as an extended CONNECT (RFC 8441).
pub(super) struct Tunnel {
    protocol: Bytes,
    key: Option<HeaderValue>,
}

/// Writes the head of the response that opens a tunnel, as HTTP/1.1 has it.
pub(super) fn write_switch(parts: &response::Parts, tunnel: &Tunnel, out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 101 \r\nconnection: upgrade\r\n");
    line(b"upgrade", &tunnel.protocol, out);
    if let Some(key) = &tunnel.key {
        let accept = websocket_accept(key.as_bytes());
        line(b"sec-websocket-accept", accept.as_bytes(), out);
    }
    write_fields(&parts.headers, out);
    out.extend_from_slice(b"\r\n");
}

/// Reads the head of a request that our encoder wrote.
pub(super) fn read_request(text: &[u8], scheme: &Scheme) -> Result<Outgoing, Malformed> {
    let text = Bytes::copy_from_slice(text);
    let ([method, target], at) = words(&text)?;
    let Fields {
        mut map,
        host,
        upgrade,
        mut body,
    } = fields(&text, at)?;
    let mut uri = http::uri::Parts::default();
    uri.scheme = Some(scheme.clone());
    let authority = host.ok_or(Malformed)?;
    uri.authority = Some(Authority::from_maybe_shared(authority).map_err(|_| Malformed)?);
    let path = PathAndQuery::from_maybe_shared(target).map_err(|_| Malformed)?;
    uri.path_and_query = Some(path);
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(&method).map_err(|_| Malformed)?;
    *request.uri_mut() = Uri::from_parts(uri).map_err(|_| Malformed)?;
    let upgrade = upgrade.filter(|protocol| protocol.as_ref() == b"websocket");
    let tunnel = upgrade.map(|protocol| Tunnel {
        protocol,
        key: map.remove(header::SEC_WEBSOCKET_KEY),
    });
    if let Some(tunnel) = &tunnel {
        let protocol = std::str::from_utf8(&tunnel.protocol).map_err(|_| Malformed)?;
        *request.method_mut() = Method::CONNECT;
        request.extensions_mut().insert(Protocol::from(protocol));
        // A tunnel has no length, not even that of an empty body.
        map.remove(header::CONTENT_LENGTH);
        body = Body::Open;
    }
    *request.headers_mut() = map;
    Ok(Outgoing {
        request,
        body,
        tunnel,
    })
}

/// Reads the head of a response that our encoder wrote.
pub(super) fn read_response(text: &[u8]) -> Result<(Response<()>, Body), Malformed> {
    let text = Bytes::copy_from_slice(text);
    let ([_, status], at) = words(&text)?;
    let Fields { map, body, .. } = fields(&text, at)?;
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_bytes(&status).map_err(|_| Malformed)?;
    *response.headers_mut() = map;
    Ok((response, body))
}

/// Reads trailers: lines of fields.
pub(super) fn read_trailers(lines: &[u8]) -> Result<HeaderMap, Malformed> {
    let mut text = lines.to_vec();
    text.extend_from_slice(b"\r\n");
    fields(&Bytes::from(text), 0).map(|fields| fields.map)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_go_there_and_back() {
        let text = b"POST /a?b=c HTTP/1.1\r\nHost: x.test:81\r\nX-A: 1\r\nx-a: 2\r\nTE: trailers\r\nConnection: TE\r\nTransfer-Encoding: chunked\r\n\r\n";
        let Outgoing { request, body, .. } = read_request(text, &Scheme::HTTPS).unwrap();
        assert_eq!(body, Body::Open);
        assert_eq!(request.uri(), "https://x.test:81/a?b=c");
        assert_eq!(request.headers().len(), 3);
        let mut out = Vec::new();
        let (parts, ()) = request.into_parts();
        assert!(!write_request(&parts, || 0, &mut out));
        let again = String::from_utf8(out).unwrap();
        assert_eq!(
            again,
            "POST /a?b=c HTTP/1.1\r\nhost: x.test:81\r\nx-a: 1\r\nx-a: 2\r\nte: trailers\r\n\r\n"
        );
    }

    #[test]
    fn crumbs_become_one_cookie() {
        let request = Request::get("https://x.test/")
            .header("cookie", "a=1")
            .header("b", "2")
            .header("cookie", "c=3")
            .body(())
            .unwrap();
        let mut out = Vec::new();
        write_request(&request.into_parts().0, || 0, &mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("\r\ncookie: a=1; c=3\r\n"), "{text}");
    }

    #[test]
    fn keys_of_websockets_are_sixteen_bytes_in_base64() {
        let mut numbers = [0x0001_0203_0405_0607, 0x0809_0a0b_0c0d_0eff].into_iter();
        let key = websocket_key(|| numbers.next().unwrap());
        assert_eq!(key, "AAECAwQFBgcICQoLDA0O/w==");
        // The example of RFC 6455 section 1.3.
        let accept = websocket_accept(b"dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(base64(b"ab"), "YWI=");
    }

    #[test]
    fn upgrades_become_extended_connects_and_their_answers_switches() {
        let text = b"GET /chat HTTP/1.1\r\nHost: x.test\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
            Sec-WebSocket-Version: 13\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
        let Outgoing {
            request,
            body,
            tunnel,
        } = read_request(text, &Scheme::HTTPS).unwrap();
        assert_eq!(request.method(), Method::CONNECT);
        assert_eq!(request.uri(), "https://x.test/chat");
        let protocol = request.extensions().get::<Protocol>();
        assert_eq!(protocol.map(Protocol::as_str), Some("websocket"));
        assert_eq!(request.headers().len(), 1);
        assert_eq!(body, Body::Open);
        let answer = Response::builder().status(200).header("a", "b");
        let (parts, ()) = answer.body(()).unwrap().into_parts();
        let mut out = Vec::new();
        write_switch(&parts, &tunnel.unwrap(), &mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "HTTP/1.1 101 \r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\na: b\r\n\r\n"
        );
    }

    #[test]
    fn responses_and_trailers_go_there_and_back() {
        let text =
            b"HTTP/1.1 204 No Content\r\nServer: a\r\nContent-Length: 0\r\nKeep-Alive: 5\r\n\r\n";
        let (response, body) = read_response(text).unwrap();
        assert_eq!((response.status().as_u16(), body), (204, Body::None));
        assert_eq!(response.headers().len(), 2);
        let trailers = read_trailers(b"grpc-status: 0\r\nx: y\r\n").unwrap();
        assert_eq!(trailers.len(), 2);
        let mut out = Vec::new();
        write_fields(&trailers, &mut out);
        assert_eq!(out, b"grpc-status: 0\r\nx: y\r\n");
    }
}
