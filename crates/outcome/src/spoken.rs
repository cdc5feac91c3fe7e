//! What a peer speaks, told from its first bytes, where something else was expected.

use std::fmt;

use crate::attempt::Attempt;
use crate::kind::FaultKind;
use crate::phase::Phase;
use crate::signal::Signal;

/// The protocol that first bytes belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoken<'a> {
    /// A TLS alert in clear (RFC 8446 section 6).
    TlsAlert {
        /// 1 = warning, 2 = fatal.
        level: u8,
        /// Which alert.
        number: u8,
    },
    /// The answer of a TLS server.
    TlsServerHello,
    /// The first message of a TLS client.
    TlsClientHello,
    /// Another record of TLS.
    TlsRecord,
    /// A response of HTTP/1.
    Http1Response {
        /// The second number of its version.
        minor: u8,
        /// Its status, 0 when that cannot be read.
        status: u16,
        /// It says that this port expects TLS.
        wants_tls: bool,
    },
    /// A request of HTTP/1.
    Http1Request {
        /// Its method.
        method: &'a [u8],
    },
    /// HTTP/2 frames, beginning with `SETTINGS` as they must (RFC 9113 section 3.4).
    Http2Settings,
    /// HTTP/2 frames with a `GOAWAY` among them.
    Http2Goaway {
        /// Its error code.
        code: u32,
        /// The last stream that was or may have been worked on.
        last_stream: u32,
    },
    /// The preface of an HTTP/2 client (RFC 9113 section 3.4).
    Http2Preface,
    /// The banner of SSH (RFC 4253 section 4.2).
    Ssh {
        /// The program; may be empty.
        software: &'a [u8],
    },
    /// The greeting of SMTP (RFC 5321 section 4.2).
    Smtp,
    /// The greeting of FTP (RFC 959 section 5.4).
    Ftp,
    /// The greeting that SMTP and FTP share, with nothing in it that tells them apart.
    SmtpOrFtp,
    /// The greeting of MySQL or MariaDB.
    Mysql {
        /// The server's version.
        version: &'a [u8],
    },
    /// An error of MySQL or MariaDB in place of the greeting.
    MysqlError {
        /// Its number, e.g. 1130: this host may not connect.
        number: u16,
    },
    /// The one byte with which PostgreSQL answers a request for TLS: `S` or `N`.
    PostgresTls {
        /// The byte.
        answer: u8,
    },
    /// An error of PostgreSQL.
    PostgresError,
    /// A reply of Redis.
    Redis,
    /// A PROXY header.
    ProxyHeader {
        /// 1 or 2.
        version: u8,
    },
    /// HTML with no status line before it.
    Html,
    /// A record of FastCGI.
    FastCgi,
}

/// Methods by which a request is known.
const METHODS: &[&[u8]] = &[
    b"GET ",
    b"POST ",
    b"HEAD ",
    b"PUT ",
    b"DELETE ",
    b"OPTIONS ",
    b"PATCH ",
    b"CONNECT ",
    b"TRACE ",
    b"PROPFIND ",
];

/// By what servers say in a response of HTTP/1 that their port expects TLS. NGINX's and Apache's words
/// stand in the body behind headers, beyond the 64 bytes that are kept of a failed Attempt.
const WANTS_TLS: &[&[u8]] = &[
    // Go, and what is written in it.
    b"Client sent an HTTP request to an",
    // NGINX.
    b"The plain HTTP request was sent to HTTPS port",
    // Apache.
    b"speaking plain HTTP to an SSL-enabled server",
    // Tomcat.
    b"This combination of host and port requires TLS",
];

impl<'a> Spoken<'a> {
    /// What `first`, the first bytes of a peer, belong to; `None` when nothing known begins like that.
    #[must_use]
    pub fn of(first: &'a [u8]) -> Option<Self> {
        tls(first)
            .or_else(|| http2(first))
            .or_else(|| http1(first))
            .or_else(|| banner(first))
            .or_else(|| binary(first))
    }
}

fn tls(first: &[u8]) -> Option<Spoken<'static>> {
    let [kind @ 0x14..=0x17, 3, 0..=4, rest @ ..] = first else {
        return None;
    };
    Some(match (kind, rest) {
        (0x15, &[0, 2, level @ 1..=2, number, ..]) => Spoken::TlsAlert { level, number },
        (0x16, [_, _, 1, ..]) => Spoken::TlsClientHello,
        (0x16, [_, _, 2, ..]) => Spoken::TlsServerHello,
        _ => Spoken::TlsRecord,
    })
}

/// Frames on stream 0 (RFC 9113 section 4.1), or the preface before a client's.
fn http2(first: &[u8]) -> Option<Spoken<'static>> {
    const SETTINGS: u8 = 4;
    const GOAWAY: u8 = 7;
    if first.starts_with(b"PRI * HTTP/2.0") {
        return Some(Spoken::Http2Preface);
    }
    let mut rest = first;
    let mut found = None;
    while let [0, high, low, kind, _, 0, 0, 0, 0, payload @ ..] = rest {
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        match (*kind, payload) {
            (GOAWAY, &[a, b, c, d, e, f, g, h, ..]) if len >= 8 => {
                return Some(Spoken::Http2Goaway {
                    code: u32::from_be_bytes([e, f, g, h]),
                    last_stream: u32::from_be_bytes([a & 0x7f, b, c, d]),
                });
            }
            (SETTINGS, _) if len % 6 == 0 => found = Some(Spoken::Http2Settings),
            _ if found.is_some() => {}
            // SETTINGS comes first (RFC 9113 section 3.4); some servers send GOAWAY alone.
            _ => return None,
        }
        rest = payload.get(len..).unwrap_or_default();
    }
    found
}

fn http1(first: &[u8]) -> Option<Spoken<'_>> {
    if let [
        b'H',
        b'T',
        b'T',
        b'P',
        b'/',
        b'1',
        b'.',
        minor @ b'0'..=b'9',
        rest @ ..,
    ] = first
    {
        let status = match rest {
            &[b' ', a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', ..] => {
                let [a, b, c] = [a, b, c].map(|digit| u16::from(digit - b'0'));
                a * 100 + b * 10 + c
            }
            _ => 0,
        };
        let wants_tls = WANTS_TLS
            .iter()
            .any(|words| rest.windows(words.len()).any(|window| window == *words));
        return Some(Spoken::Http1Response {
            minor: minor - b'0',
            status,
            wants_tls,
        });
    }
    let method = METHODS.iter().find(|method| first.starts_with(method))?;
    Some(Spoken::Http1Request {
        method: method.trim_ascii_end(),
    })
}

/// Protocols whose servers begin with text.
fn banner(first: &[u8]) -> Option<Spoken<'_>> {
    if let Some(rest) = first.strip_prefix(b"SSH-") {
        // `SSH-VERSION-SOFTWARE`, then a space and comments or the end of the line.
        let software = rest.splitn(2, |&byte| byte == b'-').nth(1);
        let end = |byte: &u8| matches!(byte, b' ' | b'\r' | b'\n');
        let software = software.and_then(|text| text.split(end).next());
        return Some(Spoken::Ssh {
            software: software.unwrap_or_default(),
        });
    }
    if first.starts_with(b"220 ") || first.starts_with(b"220-") {
        let says = |word: &[u8]| {
            first
                .windows(word.len())
                .any(|window| window.eq_ignore_ascii_case(word))
        };
        return Some(match (says(b"SMTP"), says(b"FTP")) {
            (true, false) => Spoken::Smtp,
            (false, true) => Spoken::Ftp,
            _ => Spoken::SmtpOrFtp,
        });
    }
    let is = |starts: &[&[u8]]| {
        starts.iter().any(|start| {
            let begin = first.get(..start.len());
            begin.is_some_and(|begin| begin.eq_ignore_ascii_case(start))
        })
    };
    if is(&[b"-ERR ", b"+PONG", b"-NOAUTH ", b"-DENIED "]) {
        Some(Spoken::Redis)
    } else if is(&[b"PROXY "]) {
        Some(Spoken::ProxyHeader { version: 1 })
    } else if is(&[b"<!doctype", b"<html"]) {
        Some(Spoken::Html)
    } else {
        None
    }
}

/// Protocols whose servers begin with numbers.
fn binary(first: &[u8]) -> Option<Spoken<'_>> {
    Some(match first {
        [b'\r', b'\n', b'\r', b'\n', 0, b'\r', b'\n', b'Q', ..] => {
            Spoken::ProxyHeader { version: 2 }
        }
        // A length of three bytes, the first packet, version 10 of the protocol, text up to a NUL.
        [_, _, 0, 0, 10, version @ ..] if version.first().is_some_and(u8::is_ascii_digit) => {
            Spoken::Mysql {
                version: version.split(|&byte| byte == 0).next()?,
            }
        }
        &[_, _, 0, 0, 0xff, low, high, ..] => Spoken::MysqlError {
            number: u16::from_le_bytes([low, high]),
        },
        &[answer @ (b'S' | b'N')] => Spoken::PostgresTls { answer },
        // `E`, a length, fields of which the first is the severity; without a length before version 3.
        [b'E', 0, 0, _, _, b'S', ..] | [b'E', b'F', b'A', b'T', b'A', b'L', b':', ..] => {
            Spoken::PostgresError
        }
        // Version 1; end of a request, output or errors; the first request, or none.
        [1, 3 | 6 | 7, 0, 0 | 1, ..] => Spoken::FastCgi,
        _ => return None,
    })
}

/// The protocol in words, to stand behind "it speaks"; bytes of the peer are escaped.
impl fmt::Display for Spoken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = |f: &mut fmt::Formatter<'_>, name: &str, text: &[u8]| {
            if text.is_empty() {
                return f.write_str(name);
            }
            write!(f, "{name} ({})", text.escape_ascii())
        };
        match *self {
            Self::TlsAlert { level, number } => {
                let name = Signal::TlsAlert(number).name().unwrap_or("unknown");
                let level = if level == 1 { "warning" } else { "fatal" };
                write!(f, "TLS ({level} alert {number} {name})")
            }
            Self::TlsServerHello => f.write_str("TLS (ServerHello)"),
            Self::TlsClientHello => f.write_str("TLS as a client (ClientHello)"),
            Self::TlsRecord => f.write_str("TLS"),
            Self::Http1Response {
                minor,
                status,
                wants_tls,
            } => {
                write!(f, "HTTP/1.{minor}")?;
                match (status, wants_tls) {
                    (0, false) => Ok(()),
                    (_, false) => write!(f, " (status {status})"),
                    (_, true) => write!(f, " (status {status}: this port expects TLS)"),
                }
            }
            Self::Http1Request { method } => named(f, "HTTP/1 as a client", method),
            Self::Http2Settings => f.write_str("HTTP/2 (SETTINGS)"),
            Self::Http2Goaway { code, last_stream } => {
                write!(f, "HTTP/2 ({})", Signal::H2Goaway { code, last_stream })
            }
            Self::Http2Preface => f.write_str("HTTP/2 as a client (preface)"),
            Self::Ssh { software } => named(f, "SSH", software),
            Self::Smtp => f.write_str("SMTP"),
            Self::Ftp => f.write_str("FTP"),
            Self::SmtpOrFtp => f.write_str("SMTP or FTP"),
            Self::Mysql { version } => named(f, "MySQL", version),
            Self::MysqlError { number } => write!(f, "MySQL (error {number})"),
            Self::PostgresTls { answer } => {
                let answer = char::from(answer);
                write!(f, "PostgreSQL ({answer}, its answer to a request for TLS)")
            }
            Self::PostgresError => f.write_str("PostgreSQL (error)"),
            Self::Redis => f.write_str("Redis"),
            Self::ProxyHeader { version } => write!(f, "PROXY protocol, version {version}"),
            Self::Html => f.write_str("HTML without a status line"),
            Self::FastCgi => f.write_str("FastCGI"),
        }
    }
}

impl Attempt {
    /// What the server speaks, when its first bytes tell that it is not what was expected of it.
    ///
    /// Never in a tunnel, where nothing particular is expected.
    #[must_use]
    pub fn spoken_instead(&self) -> Option<Spoken<'_>> {
        use FaultKind as K;
        let fault = self.fault.filter(|fault| fault.phase != Phase::Tunnel)?;
        let spoken = Spoken::of(self.evidence.as_ref()?.first())?;
        let kind = fault.kind;
        let is_news = match spoken {
            Spoken::Http1Response { wants_tls, .. } => wants_tls || kind == K::ServerSpeaksPlain,
            Spoken::Http2Settings | Spoken::Http2Goaway { .. } => {
                matches!(kind, K::ServerSpeaksHttp2 | K::ServerSpeaksPlain)
            }
            Spoken::TlsAlert { .. } | Spoken::TlsServerHello | Spoken::TlsRecord => {
                kind == K::ServerSpeaksTls
            }
            Spoken::TlsClientHello
            | Spoken::Http1Request { .. }
            | Spoken::Http2Preface
            | Spoken::Ssh { .. }
            | Spoken::Smtp
            | Spoken::Ftp
            | Spoken::SmtpOrFtp
            | Spoken::Mysql { .. }
            | Spoken::MysqlError { .. }
            | Spoken::PostgresTls { .. }
            | Spoken::PostgresError
            | Spoken::Redis
            | Spoken::ProxyHeader { .. }
            | Spoken::Html
            | Spoken::FastCgi => true,
        };
        is_news.then_some(spoken)
    }
}

#[cfg(test)]
mod tests {
    use clearway_base::clock::Stamp;
    use clearway_base::intern::Name;

    use super::*;
    use crate::attempt::Evidence;
    use crate::kind::Fault;
    use crate::phase::Side;

    fn words(first: &[u8]) -> String {
        Spoken::of(first).map_or_else(|| "-".to_owned(), |spoken| spoken.to_string())
    }

    #[test]
    fn protocols_are_known_by_their_first_bytes() {
        let cases: &[(&[u8], &str)] = &[
            (b"\x15\x03\x03\0\x02\x02\x28", "TLS (fatal alert 40 handshake_failure)"),
            (b"\x15\x03\x01\0\x02\x01\x70", "TLS (warning alert 112 unrecognized_name)"),
            (b"\x15\x03\x03\0\x02\x02\x03", "TLS (fatal alert 3 unknown)"),
            (b"\x15\x03\x03\0\x1a\x02\x28", "TLS"),
            (b"\x15\x03\x03\0\x02\x02", "TLS"),
            (b"\x16\x03\x03\0\x7a\x02\0", "TLS (ServerHello)"),
            (b"\x16\x03\x01\x02\0\x01\0", "TLS as a client (ClientHello)"),
            (b"\x17\x03\x03", "TLS"),
            (b"\x16\x04\x03", "-"),
            (b"HTTP/1.1 200 OK\r\n", "HTTP/1.1 (status 200)"),
            (b"HTTP/1.0 4", "HTTP/1.0"),
            (
                b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HT",
                "HTTP/1.0 (status 400: this port expects TLS)",
            ),
            (
                b"HTTP/1.1 400 Bad Request\r\nServer: nginx\r\n\r\n<title>400 The plain HTTP request was sent to HTTPS port</title>",
                "HTTP/1.1 (status 400: this port expects TLS)",
            ),
            (b"GET / HTTP/1.1\r\n", "HTTP/1 as a client (GET)"),
            (b"GETTING", "-"),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/2 as a client (preface)"),
            (b"\0\0\x12\x04\0\0\0\0\0", "HTTP/2 (SETTINGS)"),
            (b"\0\0\0\x04\x01\0\0\0\0", "HTTP/2 (SETTINGS)"),
            (b"\0\0\x11\x04\0\0\0\0\0", "-"),
            (b"\0\0\x12\x04\0\0\0\0\x01", "-"),
            (
                b"\0\0\x08\x07\0\0\0\0\0\x80\0\0\x05\0\0\0\x0b",
                "HTTP/2 (GOAWAY 11 ENHANCE_YOUR_CALM, last stream 5)",
            ),
            (
                b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64\0\0\x04\x08\0\0\0\0\0\0\x3f\0\x01\
                  \0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\x01",
                "HTTP/2 (GOAWAY 1 PROTOCOL_ERROR, last stream 0)",
            ),
            (b"\0\0\x08\x07\0\0\0\0\0\0", "-"),
            (b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", "SSH (OpenSSH_9.2p1)"),
            (b"SSH-1.99-Cisco\x1b[2J-1\r\n", "SSH (Cisco\\x1b[2J-1)"),
            (b"SSH-2.0", "SSH"),
            (b"220 mail.example.org ESMTP Postfix\r\n", "SMTP"),
            (b"220-ProFTPD Server ready\r\n", "FTP"),
            (b"220 ready\r\n", "SMTP or FTP"),
            (b"2200", "-"),
            (b"\x4a\0\0\0\x0a8.0.36\0\x08\0", "MySQL (8.0.36)"),
            (b"\x4a\0\0\0\x0a", "-"),
            (b"\x45\0\0\0\xff\x6a\x04Host", "MySQL (error 1130)"),
            (b"S", "PostgreSQL (S, its answer to a request for TLS)"),
            (b"N", "PostgreSQL (N, its answer to a request for TLS)"),
            (b"So", "-"),
            (b"E\0\0\0\x84SFATAL\0", "PostgreSQL (error)"),
            (b"EFATAL:  unsupported frontend protocol", "PostgreSQL (error)"),
            (b"-ERR unknown command", "Redis"),
            (b"+PONG\r\n", "Redis"),
            (b"-DENIED Redis is running in protected mode", "Redis"),
            (b"PROXY TCP4 192.0.2.1 ", "PROXY protocol, version 1"),
            (b"\r\n\r\n\0\r\nQUIT\n", "PROXY protocol, version 2"),
            (b"<!DOCTYPE html>", "HTML without a status line"),
            (b"<html>", "HTML without a status line"),
            (b"\x01\x06\0\x01\0\x40\0\0", "FastCGI"),
            (b"\x01\x03\0\x01\0\x08\0\0", "FastCGI"),
            (b"", "-"),
            (b"{}", "-"),
            (b"\0\0\0\0\0\0\0\0\0", "-"),
        ];
        for (first, expected) in cases {
            assert_eq!(words(first), *expected, "{}", first.escape_ascii());
        }
    }

    /// Cut anywhere and followed by anything, bytes are judged, in words that fit on a line.
    #[test]
    fn any_bytes_are_judged() {
        for seed in 0..=u8::MAX {
            for start in [
                &b""[..],
                b"\0\0",
                b"\x15\x03\x03",
                b"HTTP/1.",
                b"SSH-",
                b"220 ",
                b"\x4a\0\0\0\x0a",
            ] {
                let noise = (0..40).map(|at: u8| at.wrapping_mul(seed).wrapping_add(seed));
                let bytes: Vec<u8> = start.iter().copied().chain(noise).collect();
                for len in 0..=bytes.len() {
                    assert!(!words(&bytes[..len]).contains(char::is_control));
                }
            }
        }
    }

    #[test]
    fn attempts_tell_what_was_not_expected() {
        use FaultKind as K;
        let settings = b"\0\0\x12\x04\0\0\0\0\0";
        let alert = b"\x15\x03\x03\0\x02\x02\x28";
        let wants_tls = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS";
        let cases: &[(&[u8], FaultKind, bool)] = &[
            (b"HTTP/1.1 200 OK\r\n", K::ResponseHeaderInvalid, false),
            (b"HTTP/1.1 400 Bad Request\r\n", K::ServerSpeaksPlain, true),
            (wants_tls, K::ResponseBodyShort, true),
            (settings, K::ServerSpeaksHttp2, true),
            (settings, K::ServerSpeaksPlain, true),
            (settings, K::ResponseTimeout, false),
            (alert, K::ServerSpeaksTls, true),
            (alert, K::ServerTlsAlert, false),
            (b"SSH-2.0-x\r\n", K::ResponseNotHttp, true),
            (b"SSH-2.0-x\r\n", K::ServerSpeaksPlain, true),
            (b"{}", K::ResponseNotHttp, false),
        ];
        let mut attempt = Attempt::begin(Name::NONE, Name::NONE, Name::NONE, Stamp(0));
        assert_eq!(attempt.spoken_instead(), None);
        for &(first, kind, told) in cases {
            let mut evidence = Evidence::default();
            evidence.keep_first(first);
            attempt.evidence = Some(Box::new(evidence));
            attempt.fault = Some(Fault::new(kind, Phase::Wait, Side::Server));
            assert_eq!(attempt.spoken_instead().is_some(), told, "{}", kind.code());
            attempt.fault = Some(Fault::new(kind, Phase::Tunnel, Side::Server));
            assert_eq!(attempt.spoken_instead(), None);
        }
    }
}
