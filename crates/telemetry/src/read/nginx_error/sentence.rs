//! The sentences of NGINX's error log and what they are. The other direction, which phrase a kind would
//! have there, is the column of NGINX in the table of fault kinds.

use clearway_outcome::{FaultKind, Remark, Suspects};

use super::Said;
use crate::read::scan;

/// A sentence: how it begins, what stands in it besides (empty = anything), what it is.
type Sentence = (&'static str, &'static str, &'static [FaultKind]);

use FaultKind as K;

/// A server's connection ended before a byte of response, or in the middle of the head: the sentence is
/// the same, and whether the connection was a kept one is not said.
const CLOSED: &[K] = &[
    K::ServerClosedNoResponse,
    K::ReusedClosed,
    K::ResponseHeadTruncated,
];
const RESET: &[K] = &[
    K::ServerResetNoResponse,
    K::ReusedReset,
    K::ResponseHeadReset,
];
const WAITED: &[K] = &[K::ResponseTimeout, K::ResponseHeadStalled];
const GONE: &[K] = &[K::ClientClosed, K::ClientReset];
const NOT_HTTP: &[K] = &[
    K::ResponseNotHttp,
    K::ServerSpeaksTls,
    K::ServerSpeaksHttp2,
    K::ResponseStatusLineInvalid,
];
const LINE: &[K] = &[
    K::HeaderNameInvalid,
    K::HeaderSpaceBeforeColon,
    K::HeaderValueInvalid,
    K::HeaderFolded,
    K::BareCr,
    K::BareLf,
];
const FLOOD: &[K] = &[
    K::H2RapidReset,
    K::H2ContinuationFlood,
    K::H2SettingsFlood,
    K::H2PingFlood,
    K::H2EmptyFrames,
    K::H2TinyWindows,
    K::H2FrameFlood,
];

/// What ends with a server. The first that fits counts.
const SERVER: &[Sentence] = &[
    (
        "upstream timed out",
        "while connecting",
        &[K::ConnectTimeout],
    ),
    (
        "upstream timed out",
        "while SSL handshaking",
        &[K::ServerTlsTimeout],
    ),
    (
        "upstream timed out",
        "while sending request",
        &[K::ServerWriteTimeout],
    ),
    (
        "upstream timed out",
        "while reading response header",
        WAITED,
    ),
    (
        "upstream timed out",
        "while reading upstream",
        &[K::ResponseBodyStalled],
    ),
    ("upstream timed out", "while proxying", &[K::TunnelIdle]),
    (
        "upstream timed out",
        "",
        &[K::ResponseTimeout, K::ConnectTimeout, K::ServerWriteTimeout],
    ),
    ("connection timed out", "while proxying", &[K::TunnelIdle]),
    (
        "upstream prematurely closed",
        "while sending request",
        &[K::ServerClosedWhileSending],
    ),
    (
        "upstream prematurely closed",
        "while reading upstream",
        &[K::ResponseBodyShort],
    ),
    (
        "upstream prematurely closed",
        "while proxying",
        &[K::ResponseBodyShort],
    ),
    ("upstream prematurely closed", "", CLOSED),
    (
        "upstream sent too big header",
        "",
        &[K::ResponseHeadersTooLarge, K::ResponseTooManyHeaders],
    ),
    ("upstream sent no valid HTTP/1.0 header", "", NOT_HTTP),
    (
        "upstream sent \"Content-Length\" and \"Transfer-Encoding\"",
        "",
        &[K::ResponseFramingConflict],
    ),
    (
        "upstream sent invalid \"Content-Length\"",
        "",
        &[K::ResponseLengthInvalid],
    ),
    (
        "upstream sent invalid \"Transfer-Encoding\"",
        "",
        &[K::ResponseCodingUnsupported],
    ),
    (
        "upstream sent unknown \"Transfer-Encoding\"",
        "",
        &[K::ResponseCodingUnsupported],
    ),
    (
        "upstream sent duplicate header line",
        "Content-Length",
        &[K::ResponseLengthInvalid, K::ResponseFramingConflict],
    ),
    (
        "upstream sent duplicate header line",
        "",
        &[
            K::ResponseFramingConflict,
            K::ResponseLengthInvalid,
            K::ResponseHeaderInvalid,
        ],
    ),
    (
        "upstream sent invalid chunked response",
        "",
        &[K::ResponseChunkInvalid],
    ),
    (
        "upstream sent data after final chunk",
        "",
        &[K::ResponseChunkInvalid],
    ),
    (
        "upstream sent invalid status",
        "",
        &[K::ResponseStatusLineInvalid],
    ),
    (
        "upstream sent invalid trailer",
        "",
        &[K::ResponseHeaderInvalid],
    ),
    (
        "upstream sent invalid header",
        "",
        &[K::ResponseHeaderInvalid],
    ),
    (
        "upstream sent unsupported FastCGI",
        "",
        &[K::ResponseNotHttp],
    ),
    ("upstream sent goaway", "", &[K::ServerGoaway]),
    (
        "upstream rejected request with error 7",
        "",
        &[K::ServerRefusedStream],
    ),
    (
        "upstream rejected request",
        "",
        &[K::ServerResetStream, K::ServerRefusedStream],
    ),
    (
        "upstream sent too large http2 frame",
        "",
        &[K::ServerSpeaksHttp1, K::ServerH2Protocol],
    ),
    (
        "upstream sent response body larger",
        "",
        &[K::ServerH2Protocol],
    ),
    (
        "upstream sent unexpected FastCGI",
        "",
        &[K::ResponseNotHttp],
    ),
    ("upstream sent ", "http2", &[K::ServerH2Protocol]),
    ("upstream sent ", " frame", &[K::ServerH2Protocol]),
    ("no live upstreams", "", &[K::AllServersDown, K::NoServers]),
    ("socket() failed (12", "", &[K::OutOfMemory]),
    ("socket() failed (2", "", &[K::OutOfFiles]),
];

/// What ends with a client.
const CLIENT: &[Sentence] = &[
    ("client intended to send too large", "", &[K::BodyTooLarge]),
    (
        "client intended to send body data larger",
        "",
        &[K::ContentLengthInvalid, K::H2Protocol],
    ),
    (
        "client sent invalid request",
        "",
        &[K::RequestLineInvalid, K::TargetInvalid],
    ),
    (
        "client sent invalid method",
        "",
        &[K::MethodInvalid, K::TlsOnPlainPort, K::RequestLineInvalid],
    ),
    (
        "client sent invalid version",
        "",
        &[K::VersionUnsupported, K::Http2OnHttp1Port],
    ),
    ("client sent invalid header", "", LINE),
    (
        "client sent HTTP/1.1 request without \"Host\"",
        "",
        &[K::HostMissing],
    ),
    (
        "client sent duplicate host header",
        "",
        &[K::HostDuplicated],
    ),
    (
        "client sent invalid host",
        "",
        &[K::HostInvalid, K::HostMismatch],
    ),
    (
        "client sent invalid \"Content-Length\"",
        "",
        &[K::ContentLengthInvalid],
    ),
    (
        "client sent duplicate header line",
        "",
        &[K::ContentLengthDuplicated, K::TransferEncodingInvalid],
    ),
    (
        "client sent \"Content-Length\" and",
        "",
        &[K::ContentLengthWithTransferEncoding],
    ),
    (
        "client sent unknown \"Transfer-Encoding\"",
        "",
        &[K::TransferEncodingUnsupported, K::TransferEncodingInvalid],
    ),
    (
        "client sent HTTP/1.0 request with \"Transfer-Encoding\"",
        "",
        &[K::TransferEncodingInHttp10],
    ),
    (
        "client sent invalid chunked body",
        "",
        &[K::ChunkSizeInvalid, K::ChunkFramingInvalid],
    ),
    ("client sent invalid trailer", "", &[K::TrailerInvalid]),
    ("client sent too long URI", "", &[K::RequestLineTooLong]),
    (
        "client sent too long header line",
        "",
        &[K::HeadersTooLarge],
    ),
    ("client sent too large request", "", &[K::HeadersTooLarge]),
    ("client sent too large header", "", &[K::HeadersTooLarge]),
    (
        "client sent too many header lines",
        "",
        &[K::TooManyHeaders],
    ),
    ("client sent CONNECT method", "", &[K::ConnectMethodRefused]),
    (
        "client sent unknown Expect",
        "",
        &[K::ExpectationUnsupported],
    ),
    (
        "client sent plain HTTP request to HTTPS port",
        "",
        &[K::HttpOnTlsPort],
    ),
    (
        "client sent no required SSL certificate",
        "",
        &[K::TlsClientCertificateMissing],
    ),
    (
        "client SSL certificate verify error",
        "",
        &[K::TlsClientCertificateInvalid],
    ),
    ("client sent too many", "", FLOOD),
    ("client sent ", "", &[K::H2Protocol]),
    ("http2 flood detected", "", FLOOD),
    ("http2 negative window", "", &[K::H2Protocol]),
    ("broken header", "PROXY", &[K::ProxyHeaderInvalid]),
    (
        "broken header",
        "",
        &[K::ProxyHeaderInvalid, K::ProxyHeaderUntrusted],
    ),
    (
        "client timed out",
        "while SSL handshaking",
        &[K::TlsHandshakeTimeout],
    ),
    (
        "client timed out",
        "while reading PROXY",
        &[K::ProxyHeaderTimeout],
    ),
    (
        "client timed out",
        "while reading client request body",
        &[K::RequestBodyTimeout],
    ),
    (
        "client timed out",
        "while reading client request",
        &[K::RequestHeadTimeout],
    ),
    ("client timed out", "while sending", &[K::ClientNotReading]),
    // Nothing was under way on the connection.
    ("client timed out", "while waiting for request", &[]),
    ("client timed out", "while keepalive", &[]),
    (
        "client timed out",
        "",
        &[
            K::RequestHeadTimeout,
            K::RequestBodyTimeout,
            K::ClientNotReading,
            K::ProxyHeaderTimeout,
        ],
    ),
    (
        "client closed connection",
        "while SSL handshaking",
        &[K::TlsHandshakeClosed],
    ),
    (
        "client prematurely closed connection",
        "while reading client request",
        &[K::RequestBodyTruncated, K::ClientClosed],
    ),
    (
        "client prematurely closed stream: only",
        "",
        &[K::RequestBodyTruncated],
    ),
    (
        "client prematurely closed",
        "",
        &[
            K::ClientClosed,
            K::ClientReset,
            K::RequestBodyTruncated,
            K::TunnelClientReset,
        ],
    ),
    (
        "epoll_wait() reported that client prematurely closed",
        "",
        GONE,
    ),
    ("kevent() reported that client prematurely closed", "", GONE),
    ("limiting connections", "", &[K::SourceFull]),
    ("access forbidden by rule", "", &[K::Denied]),
];

/// What NGINX says of its own host and configuration, with a remark where there is no kind.
const OWN: &[(&str, &str, Option<Remark>, &[FaultKind])] = &[
    ("limiting requests", "", Some(Remark::RateLimited), &[]),
    ("delaying request", "", None, &[]),
    (
        "upstream server temporarily disabled",
        "",
        Some(Remark::ServerDisabled),
        &[],
    ),
    (
        "upstream sent more data than specified",
        "",
        Some(Remark::ExcessBody),
        &[],
    ),
    (
        "rewrite or internal redirection cycle",
        "",
        Some(Remark::RewriteCycle),
        &[],
    ),
    ("subrequests cycle", "", Some(Remark::RewriteCycle), &[]),
    // A pattern takes too many steps.
    ("pcre2_match() failed", "", None, &[K::PatternSteps]),
    ("pcre_exec() failed", "", None, &[K::PatternSteps]),
    (
        "auth request unexpected status",
        "",
        Some(Remark::AuthRequestFailed),
        &[],
    ),
    (
        "no resolver defined",
        "",
        Some(Remark::NoResolver),
        &[K::NameUnresolved],
    ),
    (
        "host not found in upstream",
        "",
        Some(Remark::NameUnknownAtStart),
        &[],
    ),
    ("", "exited on signal", Some(Remark::WorkerDied), &[]),
    ("", "exited with fatal code", Some(Remark::WorkerDied), &[]),
    ("", "(28: No space left", Some(Remark::DiskFull), &[]),
    ("", "(122: Disk quota", Some(Remark::DiskFull), &[]),
    ("", "could not be resolved (110", None, &[K::NameTimeout]),
    ("", "could not be resolved (", None, &[K::NameUnresolved]),
    (
        "",
        "could not be resolved",
        None,
        &[K::NameUnresolved, K::NameTimeout],
    ),
    ("send() failed", "while resolving", None, &[K::NameTimeout]),
    (
        "inflate() failed",
        "",
        None,
        &[K::ResponseCodingUnsupported],
    ),
    (
        "",
        "while resolving",
        None,
        &[K::NameTimeout, K::NameUnresolved],
    ),
    (
        "",
        "worker_connections are not enough",
        None,
        &[K::ListenerFull],
    ),
    ("accept4() failed (2", "", None, &[K::OutOfFiles]),
    ("accept() failed (2", "", None, &[K::OutOfFiles]),
    ("", "(24: Too many open files", None, &[K::OutOfFiles]),
    (
        "",
        "(23: Too many open files in system",
        None,
        &[K::OutOfFiles],
    ),
];

/// Whether the file in quotes is a temporary one, whose name is a number of ten digits.
fn is_temporary(message: &[u8]) -> bool {
    let (_, rest) = scan::split(message, b"\"").unwrap_or_default();
    let name = scan::before(rest, b'"');
    let name = name.rsplit(|byte| *byte == b'/').next().unwrap_or(name);
    name.len() == 10 && name.iter().all(u8::is_ascii_digit)
}

/// What a message says; `None` where it is not in the tables. Some of them say nothing that matters.
pub(super) fn said(message: &[u8], errno: i32) -> Option<Said> {
    if message.starts_with(b"open() ")
        && errno == 13
        && (is_temporary(message) || scan::has(message, "upstream"))
    {
        return Some(Said {
            remark: Some(Remark::TempFilesDenied),
            ..Said::suspects(Suspects::NONE)
        });
    }
    let own = |from_start: bool| {
        let found = OWN
            .iter()
            .filter(|row| row.0.is_empty() != from_start)
            .find(|row| fits(message, row.0, row.1))?;
        let (_, _, said, kinds) = *found;
        Some(Said {
            remark: said,
            ..Said::suspects(Suspects::any_of(kinds))
        })
    };
    let known = || {
        let mut tables = SERVER.iter().chain(CLIENT);
        let (_, _, kinds) = tables.find(|row| fits(message, row.0, row.1))?;
        Some(Said::suspects(Suspects::any_of(kinds)))
    };
    // What is known by its first words is found faster than what is known by words inside.
    if let Some(said) = own(true).or_else(known).or_else(|| own(false)) {
        return Some(said);
    }
    let is_transfer = message
        .split(|byte| *byte == b' ')
        .next()
        .is_some_and(|call| {
            const CALLS: [&[u8]; 8] = [
                b"recv()",
                b"readv()",
                b"send()",
                b"writev()",
                b"sendfile()",
                b"sendmsg()",
                b"recvmsg()",
                b"sendfilev()",
            ];
            CALLS.contains(&call)
        });
    is_transfer
        .then(|| lost(message, errno))
        .filter(|said| !said.suspects.is_empty())
}

fn fits(message: &[u8], start: &str, inside: &str) -> bool {
    message.starts_with(start.as_bytes()) && (inside.is_empty() || scan::has(message, inside))
}

/// A connection that ended while something was read or written, by what was being done.
pub(super) fn lost(message: &[u8], errno: i32) -> Said {
    const ROWS: &[(&str, &[FaultKind], &[FaultKind])] = &[
        // Doing, kinds of a reset, kinds of whatever else.
        (
            "while SSL handshaking to upstream",
            &[K::ServerTlsReset],
            &[K::ServerTlsProtocol],
        ),
        (
            "while connecting to upstream",
            &[K::ConnectReset],
            &[K::ConnectFailed],
        ),
        (
            "while sending request",
            &[K::ServerResetWhileSending],
            &[K::ServerResetWhileSending, K::ServerClosedWhileSending],
        ),
        ("while reading response header", RESET, CLOSED),
        (
            "while reading upstream",
            &[K::ResponseBodyReset],
            &[K::ResponseBodyShort, K::ResponseBodyReset],
        ),
        (
            "proxying and reading from upstream",
            &[K::TunnelServerReset],
            &[K::TunnelServerReset],
        ),
        (
            "proxying and sending to upstream",
            &[K::TunnelServerReset],
            &[K::TunnelServerReset],
        ),
        (
            "proxying and reading from client",
            &[K::TunnelClientReset],
            &[K::TunnelClientReset],
        ),
        (
            "proxying and sending to client",
            &[K::TunnelClientReset],
            &[K::TunnelClientReset],
        ),
        (
            "while proxying",
            &[K::TunnelServerReset, K::TunnelClientReset],
            &[K::TunnelServerReset, K::TunnelClientReset],
        ),
        (
            "while SSL handshaking",
            &[K::TlsHandshakeClosed],
            &[K::TlsClientProtocol],
        ),
        (
            "while reading client request body",
            &[K::RequestBodyTruncated],
            &[K::RequestBodyTruncated],
        ),
        ("while sending to client", GONE, GONE),
        ("while sending response to client", GONE, GONE),
        ("while processing HTTP/2", GONE, GONE),
    ];
    let Some(row) = ROWS.iter().find(|row| scan::has(message, row.0)) else {
        return Said::suspects(Suspects::NONE);
    };
    let kinds = if errno == 104 { row.1 } else { row.2 };
    Said::suspects(Suspects::any_of(kinds))
}
