//! HAProxy's termination states and error names, and what they are. The other direction is the column of
//! HAProxy in the table of fault kinds.

use clearway_outcome::{FaultKind, Remark, Signal, Suspects};

use FaultKind as K;

use crate::read::field::{Field, Fields};
use crate::read::{failure, scan};

/// A state's first two letters, the statuses they come with (0 = any) and what it is. The first that fits
/// counts.
const STATES: &[(&[u8; 2], u16, &[FaultKind])] = &[
    (
        b"sC",
        0,
        // The last as version 2.6 writes it, whatever ICMP said.
        &[
            K::ConnectTimeout,
            K::ServerTlsTimeout,
            K::ConnectUnreachable,
        ],
    ),
    (b"sQ", 0, &[K::QueueTimeout, K::QueueFull]),
    (b"SQ", 0, &[K::QueueTimeout, K::QueueFull]),
    (b"SH", 0, ENDED),
    (
        b"sH",
        0,
        &[
            K::ResponseTimeout,
            K::ResponseHeadStalled,
            K::TotalTimeout,
            K::ServerWriteTimeout,
        ],
    ),
    (b"PH", 500, &[K::RewriteInvalid]),
    (b"PH", 0, BAD_HEAD),
    (b"SD", 101, &[K::TunnelServerReset]),
    (
        b"SD",
        0,
        &[
            K::ResponseBodyShort,
            K::ResponseBodyReset,
            // Version 2.6 writes so too what later versions call `PD`.
            K::ResponseChunkInvalid,
            K::TunnelServerReset,
        ],
    ),
    (b"sD", 101, &[K::TunnelIdle]),
    (b"sD", 0, &[K::ResponseBodyStalled, K::TunnelIdle]),
    (b"PD", 0, &[K::ResponseChunkInvalid, K::ResponseBodyShort]),
    (
        b"CR",
        0,
        &[
            K::ClientClosed,
            K::RequestBodyTruncated,
            K::TlsHandshakeClosed,
            K::TlsClientAlert,
            K::TlsClientRejectsCertificate,
            K::CertificateExpired,
        ],
    ),
    (
        b"CD",
        0,
        &[
            K::ClientClosed,
            K::ClientReset,
            K::TunnelClientReset,
            K::RequestBodyTruncated,
        ],
    ),
    (b"CC", 0, GONE),
    (b"CH", 0, GONE),
    (b"CQ", 0, GONE),
    (b"CL", 0, GONE),
    (b"CT", 0, GONE),
    (b"cR", 408, &[K::RequestHeadTimeout]),
    (
        b"cR",
        0,
        &[
            K::RequestHeadTimeout,
            K::ProxyHeaderTimeout,
            K::TlsHandshakeTimeout,
        ],
    ),
    (b"cH", 0, &[K::RequestBodyTimeout, K::ClientNotReading]),
    (
        b"cD",
        0,
        &[K::ClientNotReading, K::RequestBodyTimeout, K::TunnelIdle],
    ),
    (b"cC", 0, &[K::RequestBodyTimeout]),
    (b"PR", 403, &[K::Denied]),
    (b"PR", 413, &[K::BodyTooLarge]),
    (b"PR", 414, &[K::RequestLineTooLong]),
    (b"PR", 431, &[K::HeadersTooLarge, K::TooManyHeaders]),
    (b"PR", 429, &[K::SourceFull]),
    (b"PR", 500, &[K::RewriteInvalid]),
    (b"PR", 503, &[K::Denied, K::ShuttingDown]),
    (
        b"PR",
        501,
        &[K::TransferEncodingUnsupported, K::ConnectMethodRefused],
    ),
    (b"PR", 505, &[K::VersionUnsupported, K::Http2OnHttp1Port]),
    (b"PR", 404, &[K::NoRoute]),
    (b"PR", 0, BAD_REQUEST),
    (b"PT", 0, &[K::Denied]),
    (b"RC", 0, RESOURCES),
    (b"RQ", 0, RESOURCES),
    (b"RR", 0, &[K::ListenerFull, K::OutOfMemory, K::OutOfFiles]),
    (b"RH", 0, RESOURCES),
    (b"RD", 0, RESOURCES),
    (b"IR", 0, &[K::InternalPanic, K::CertificateUnusable]),
    (b"IH", 0, &[K::InternalPanic]),
    (b"ID", 0, &[K::InternalPanic]),
    (b"IC", 0, &[K::InternalPanic]),
];

const GONE: &[K] = &[K::ClientClosed, K::ClientReset];
const RESOURCES: &[K] = &[
    K::OutOfFiles,
    K::OutOfPorts,
    K::OutOfMemory,
    K::ListenerFull,
];
const ENDED: &[K] = &[
    K::ServerClosedNoResponse,
    K::ServerResetNoResponse,
    K::ReusedClosed,
    K::ReusedReset,
    K::ServerClosedWhileSending,
    K::ServerResetWhileSending,
    K::ServerWriteTimeout,
    K::ServerWantsCertificate,
    K::ServerTlsAlert,
    K::ServerGoaway,
    K::ServerRefusedStream,
    K::ServerResetStream,
    // Version 2.6 writes so too what later versions call `PH`.
    K::ResponseHeadTruncated,
    K::ResponseHeadReset,
];
/// The server ended a connection on which the request was still being sent.
const UNANSWERED: &[K] = &[
    K::ServerClosedWhileSending,
    K::ServerResetWhileSending,
    K::ServerClosedNoResponse,
    K::ServerResetNoResponse,
    K::ReusedClosed,
    K::ReusedReset,
];
/// The server was silent, or did not take more of the request.
const UNREAD: &[K] = &[K::ServerWriteTimeout, K::ResponseTimeout];
const RESET: &[K] = &[
    K::ServerResetNoResponse,
    K::ReusedReset,
    K::ServerResetWhileSending,
];
const BAD_HEAD: &[K] = &[
    K::ResponseHeadTruncated,
    K::ResponseHeadReset,
    K::ResponseHeadersTooLarge,
    K::ResponseTooManyHeaders,
    K::ResponseHeaderInvalid,
    K::ResponseFramingConflict,
    K::ResponseLengthInvalid,
    K::ResponseCodingUnsupported,
    K::ResponseStatusLineInvalid,
    K::ResponseNotHttp,
    K::ServerSpeaksTls,
    K::ServerSpeaksHttp2,
    K::ServerSpeaksHttp1,
    K::ServerH2Protocol,
    K::UpgradeUnexpected,
    K::UpgradeUnsupported,
    K::UpgradeIgnored,
    K::TooManyInterim,
    K::RewriteInvalid,
];
const BAD_REQUEST: &[K] = &[
    K::RequestLineInvalid,
    K::MethodInvalid,
    K::TargetInvalid,
    K::HeaderNameInvalid,
    K::HeaderSpaceBeforeColon,
    K::HeaderValueInvalid,
    K::HostMissing,
    K::HostDuplicated,
    K::HostInvalid,
    K::HostMismatch,
    K::ContentLengthInvalid,
    K::ContentLengthDuplicated,
    K::ContentLengthWithTransferEncoding,
    K::TransferEncodingInvalid,
    K::HeadersTooLarge,
    K::RequestLineTooLong,
    K::TlsOnPlainPort,
    K::HttpOnTlsPort,
    K::H2Protocol,
    K::TooManyHeaders,
    K::ProxyHeaderInvalid,
    K::Denied,
];
const NO_SERVER: &[K] = &[
    K::AllServersDown,
    K::NoServers,
    K::NameUnresolved,
    K::NameTimeout,
];

/// What a state is, with what else the line says.
pub(super) fn judge(fields: &Fields<'_>, state: &[u8]) -> (Suspects, Option<Remark>) {
    let letters = state.get(..2).unwrap_or_default();
    let status = scan::status(fields.get(Field::Status)).unwrap_or(0);
    let remark = match letters {
        [b'D' | b'U', _] => Some(Remark::EndedByBalancer),
        // By an operator, or by the hard stop of an old process.
        [b'K', _] => Some(Remark::EndedWithProcess),
        b"PR" if status == 429 => Some(Remark::RateLimited),
        _ => None,
    };
    if letters == b"SC" {
        return (not_reached(fields), remark);
    }
    if letters == b"SH" && said(fields, "ERESET", "connection reset") {
        return (Suspects::any_of(RESET), remark);
    }
    if letters == b"SH" && is_tls(fields) {
        let kinds = [
            K::ServerWantsCertificate,
            K::ServerTlsAlert,
            K::ServerTlsProtocol,
        ];
        return (
            tls_error(fields).unwrap_or_else(|| Suspects::any_of(&kinds)),
            remark,
        );
    }
    let kinds = match (letters, fields.get(Field::Status)) {
        // No head had come: the request was still being sent.
        (b"SD", b"-1") => UNANSWERED,
        (b"sD", b"-1") => UNREAD,
        _ => {
            let row = STATES
                .iter()
                .find(|row| *row.0 == letters && (row.1 == 0 || row.1 == status));
            row.map_or(&[][..], |row| row.2)
        }
    };
    // A response's head came, so that it is no tunnel.
    let is_response = (200..600).contains(&status);
    let fits =
        |kind: &FaultKind| !is_response || !matches!(kind, K::TunnelIdle | K::TunnelServerReset);
    (kinds.iter().copied().filter(fits).collect(), remark)
}

/// `SC`: there was no connection, or no server to connect to.
fn not_reached(fields: &Fields<'_>) -> Suspects {
    if fields.get(Field::Server) == b"<NOSRV>" {
        // No backend was found: the front end stands in its place.
        let listener = fields.get(Field::Listener);
        let listener = listener.strip_suffix(b"~").unwrap_or(listener);
        if fields.get(Field::Backend) == listener && fields.get(Field::HeadMs) == b"-1" {
            return Suspects::just(K::NoRoute);
        }
        return Suspects::any_of(NO_SERVER);
    }
    // An error of its own that means one thing is surer than OpenSSL's, which may mean several.
    let own = error(fields);
    let tls = tls_error(fields).map(|found| found.iter().collect::<Vec<_>>());
    let sure = own
        .filter(|kinds| kinds.len() == 1)
        .or(tls.as_deref())
        .or(own);
    if let Some(kinds) = sure {
        return Suspects::any_of(kinds);
    }
    let events = fields.get(Field::Events);
    if scan::has(events, "F9") || scan::has(events, "f9") {
        // ICMP: nothing of it but that it came.
        return Suspects::any_of(&[K::ConnectUnreachable, K::ConnectRefused]);
    }
    if scan::has(events, "F7") || scan::has(events, "f7") {
        return Suspects::just(K::ConnectRefused);
    }
    if fields.has(Field::ErrorName) && fields.get(Field::ErrorName).is_empty() {
        return Suspects::any_of(&[K::ConnectRefused, K::ConnectUnreachable, K::ConnectReset]);
    }
    unreached()
}

/// A server that could not be connected to, in whatever way.
pub(super) fn unreached() -> Suspects {
    let lists = failure::CONNECT.into_iter().chain(FaultKind::OF_SERVER_TLS);
    lists.collect()
}

/// The kinds of the connection's error, by its name or its text.
fn error(fields: &Fields<'_>) -> Option<&'static [FaultKind]> {
    let name = fields.get(Field::ErrorName);
    let mut plain = Vec::new();
    failure::plain(fields.get(Field::ErrorText), &mut plain);
    let by_text = |row: &&Error| !plain.is_empty() && scan::has(&plain, row.1);
    let found = ERRORS.iter().find(|row| row.0.as_bytes() == name);
    let found = found.or_else(|| ERRORS.iter().find(by_text));
    found.map(|row| row.2)
}

type Error = (&'static str, &'static str, &'static [FaultKind]);

/// Names (`bc_err_name`) and beginnings of texts (`bc_err_str`, lower case) of connection errors.
const ERRORS: &[Error] = &[
    ("EREFUSED", "connection refused", &[K::ConnectRefused]),
    ("ERESET", "connection reset", &[K::ConnectReset]),
    ("EUNREACH", "unreachable", &[K::ConnectUnreachable]),
    (
        "FREE_PORTS",
        "out of local source ports",
        &[K::OutOfPorts, K::UnixBacklogFull],
    ),
    (
        "PORT_RANGE",
        "source port range exhausted",
        &[K::OutOfPorts],
    ),
    (
        "CANT_BIND",
        "can't bind to source",
        &[K::OutOfPorts, K::ConnectFailed],
    ),
    ("ADDR_INUSE", "already in use", &[K::OutOfPorts]),
    ("CONF_FDLIM", "reached configured maxconn", &[K::OutOfFiles]),
    (
        "PROC_FDLIM",
        "too many sockets on the process",
        &[K::OutOfFiles],
    ),
    (
        "SYS_FDLIM",
        "too many sockets on the system",
        &[K::OutOfFiles],
    ),
    ("SYS_MEMLIM", "out of system buffers", &[K::OutOfMemory]),
    // The error number is lost: whatever failed on this host.
    (
        "SOCK_ERR",
        "general socket error",
        &[
            K::ConnectDenied,
            K::ConnectUnreachable,
            K::ConnectFailed,
            K::UnixMissing,
            K::ConnectRefused,
            K::ConnectReset,
        ],
    ),
    ("NOPROTO", "protocol or address family", &[K::ConnectFailed]),
    (
        "SSL_EMPTY",
        "connection closed during ssl",
        &[K::ServerTlsClosed],
    ),
    (
        "SSL_ABORT",
        "connection error during ssl",
        &[K::ServerTlsReset, K::ServerTlsClosed],
    ),
    ("SSL_TIMEOUT", "timeout during ssl", &[K::ServerTlsTimeout]),
    (
        "SSL_MISMATCH_SNI",
        "different from the expected",
        &[K::ServerCertificateName],
    ),
    (
        "SSL_MISMATCH",
        "different from the configured",
        &[K::ServerCertificateName],
    ),
    (
        "SSL_CA_FAIL",
        "ca verification",
        &[K::ServerCertificateUntrusted, K::ServerCertificateInvalid],
    ),
    (
        "SSL_CRT_FAIL",
        "certificate verification",
        &[
            K::ServerCertificateExpired,
            K::ServerCertificateNotYetValid,
            K::ServerCertificateInvalid,
            K::ServerCertificateUntrusted,
        ],
    ),
    ("SSL_HANDSHAKE", "ssl handshake failure", HANDSHAKE),
    ("SSL_FATAL", "ssl fatal error", HANDSHAKE),
];

const HANDSHAKE: &[K] = &[
    K::ServerTlsAlert,
    K::ServerWantsCertificate,
    K::ServerSpeaksPlain,
    K::ServerTlsIncompatible,
    K::ServerTlsProtocol,
    K::ServerCertificateUntrusted,
    K::ServerCertificateExpired,
    K::ServerCertificateName,
    K::ServerCertificateNotYetValid,
    K::ServerCertificateRevoked,
    K::ServerCertificateInvalid,
    K::ServerTlsClosed,
    K::ServerTlsReset,
];

fn said(fields: &Fields<'_>, name: &str, words: &str) -> bool {
    let mut plain = Vec::new();
    failure::plain(fields.get(Field::ErrorText), &mut plain);
    fields.get(Field::ErrorName) == name.as_bytes() || scan::has(&plain, words)
}

fn is_tls(fields: &Fields<'_>) -> bool {
    fields.get(Field::ErrorName).starts_with(b"SSL_") || said(fields, "SSL_FATAL", "ssl ")
}

/// The alert that the server sent, where the format has OpenSSL's error.
pub(super) fn signal(fields: &Fields<'_>) -> Option<Signal> {
    tls_parts(fields)?.1
}

fn tls_error(fields: &Fields<'_>) -> Option<Suspects> {
    let (kind, _) = tls_parts(fields)?;
    // OpenSSL says that a certificate was refused, and not why.
    if kind == K::ServerCertificateInvalid {
        let certificates = FaultKind::OF_SERVER_TLS.into_iter().filter(|kind| {
            matches!(
                kind,
                K::ServerCertificateUntrusted
                    | K::ServerCertificateExpired
                    | K::ServerCertificateNotYetValid
                    | K::ServerCertificateName
                    | K::ServerCertificateRevoked
                    | K::ServerCertificateInvalid
            )
        });
        return Some(certificates.collect());
    }
    Some(Suspects::just(kind))
}

/// `ssl_bc_err` in decimal or hexadecimal, or its text.
fn tls_parts(fields: &Fields<'_>) -> Option<(FaultKind, Option<Signal>)> {
    let text = fields.get(Field::TlsError);
    if text.is_empty() || text == b"0" {
        return None;
    }
    let digits = scan::text(text);
    let code = digits
        .parse::<u64>()
        .ok()
        .filter(|_| !digits.starts_with('0'));
    let code = code.or_else(|| u64::from_str_radix(digits, 16).ok());
    let Some(code) = code else {
        let mut plain = Vec::new();
        failure::plain(text, &mut plain);
        return Some(failure::server_tls(&plain));
    };
    // The reason is the low part; alerts of the peer are their number and 1000.
    let reason = code & 0xfff;
    if let Some(number) = reason.checked_sub(1_000).and_then(|n| u8::try_from(n).ok()) {
        return Some((
            failure::server_alert(number),
            Some(Signal::TlsAlert(number)),
        ));
    }
    let kind = match reason {
        0 => return None,
        134 => K::ServerCertificateInvalid,
        267 | 156 => K::ServerSpeaksPlain,
        258 | 193 | 191 => K::ServerTlsIncompatible,
        294 => K::ServerTlsClosed,
        _ => K::ServerTlsProtocol,
    };
    Some((kind, None))
}
