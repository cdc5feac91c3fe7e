//! Failures in the words of libraries that several peers share: system errors, OpenSSL, BoringSSL.

use clearway_outcome::{FaultKind, Signal, Suspects};

use super::scan;

/// `strerror(3)` of the GNU C library, lower-case where Envoy or a library may write it so.
const ERRNOS: [(&str, i32); 20] = [
    ("operation not permitted", 1),
    ("no such file or directory", 2),
    ("resource temporarily unavailable", 11),
    ("cannot allocate memory", 12),
    ("permission denied", 13),
    ("invalid argument", 22),
    ("too many open files in system", 23),
    ("too many open files", 24),
    ("no space left on device", 28),
    ("broken pipe", 32),
    ("address family not supported", 97),
    ("address already in use", 98),
    ("cannot assign requested address", 99),
    ("network is unreachable", 101),
    ("connection reset by peer", 104),
    ("no buffer space available", 105),
    ("connection timed out", 110),
    ("connection refused", 111),
    ("host is down", 112),
    ("no route to host", 113),
];

/// The number of the system error that a text in lower case names; 0 = none.
pub(super) fn errno_named(text: &[u8]) -> i32 {
    let found = ERRNOS.iter().find(|(name, _)| scan::has(text, name));
    found.map_or(0, |(_, errno)| *errno)
}

/// The kind of a failed `connect(2)`, as the data plane decides it.
pub(super) fn connect(errno: i32, unix: bool) -> FaultKind {
    use FaultKind as K;
    match errno {
        111 => K::ConnectRefused,
        101 | 113 => K::ConnectUnreachable,
        110 => K::ConnectTimeout,
        104 => K::ConnectReset,
        1 | 13 => K::ConnectDenied,
        99 => K::OutOfPorts,
        23 | 24 => K::OutOfFiles,
        12 | 105 => K::OutOfMemory,
        11 if unix => K::UnixBacklogFull,
        2 if unix => K::UnixMissing,
        _ => K::ConnectFailed,
    }
}

/// Every kind of a connection that did not come about, in the order of how common they are.
pub(super) const CONNECT: [FaultKind; 10] = [
    FaultKind::ConnectRefused,
    FaultKind::ConnectUnreachable,
    FaultKind::ConnectReset,
    FaultKind::ConnectDenied,
    FaultKind::OutOfPorts,
    FaultKind::OutOfFiles,
    FaultKind::OutOfMemory,
    FaultKind::UnixMissing,
    FaultKind::UnixBacklogFull,
    FaultKind::ConnectFailed,
];

/// What a TLS library says in words; letters in lower case, `_` as space.
const SERVER_SAYS: &[(&str, FaultKind)] = &[
    (
        "certificate has expired",
        FaultKind::ServerCertificateExpired,
    ),
    (
        "certificate is not yet valid",
        FaultKind::ServerCertificateNotYetValid,
    ),
    ("certificate revoked", FaultKind::ServerCertificateRevoked),
    ("hostname mismatch", FaultKind::ServerCertificateName),
    ("ip address mismatch", FaultKind::ServerCertificateName),
    ("san matcher", FaultKind::ServerCertificateName),
    ("verify san list", FaultKind::ServerCertificateName),
    (
        "self signed certificate",
        FaultKind::ServerCertificateUntrusted,
    ),
    (
        "self-signed certificate",
        FaultKind::ServerCertificateUntrusted,
    ),
    ("unable to get", FaultKind::ServerCertificateUntrusted),
    (
        "unable to verify the first",
        FaultKind::ServerCertificateUntrusted,
    ),
    ("different from the", FaultKind::ServerCertificateName),
    (
        "certificate verify failed",
        FaultKind::ServerCertificateInvalid,
    ),
    (
        "certificate verify error",
        FaultKind::ServerCertificateInvalid,
    ),
    ("wrong version number", FaultKind::ServerSpeaksPlain),
    ("http request", FaultKind::ServerSpeaksPlain),
    ("packet length too long", FaultKind::ServerSpeaksPlain),
    ("unsupported protocol", FaultKind::ServerTlsIncompatible),
    ("no protocols available", FaultKind::ServerTlsIncompatible),
    (
        "no supported versions enabled",
        FaultKind::ServerTlsIncompatible,
    ),
    ("legacy sigalg disallowed", FaultKind::ServerTlsIncompatible),
    ("no shared cipher", FaultKind::ServerTlsIncompatible),
    ("wrong cipher", FaultKind::ServerTlsIncompatible),
    ("unknown cipher", FaultKind::ServerTlsIncompatible),
    ("dh key too small", FaultKind::ServerTlsIncompatible),
    ("bad ecpoint", FaultKind::ServerTlsIncompatible),
    ("connection reset by peer", FaultKind::ServerTlsReset),
    ("unexpected eof", FaultKind::ServerTlsClosed),
    ("connection closed", FaultKind::ServerTlsClosed),
    ("peer closed connection", FaultKind::ServerTlsClosed),
    (" alert", FaultKind::ServerTlsAlert),
];

/// The kind and the alert of a TLS handshake with a server that failed with this text, in lower case
/// with `_` as space.
pub(super) fn server_tls(text: &[u8]) -> (FaultKind, Option<Signal>) {
    if let Some(number) = alert(text) {
        return (server_alert(number), Some(Signal::TlsAlert(number)));
    }
    let found = SERVER_SAYS.iter().find(|(words, _)| scan::has(text, words));
    (
        found.map_or(FaultKind::ServerTlsProtocol, |(_, kind)| *kind),
        None,
    )
}

/// The kind of an alert that a server sent: it is about our certificate, or not.
pub(super) fn server_alert(number: u8) -> FaultKind {
    match number {
        42..=46 | 48 | 116 => FaultKind::ServerWantsCertificate,
        _ => FaultKind::ServerTlsAlert,
    }
}

const CLIENT_SAYS: &[(&str, FaultKind)] = &[
    ("unsupported protocol", FaultKind::TlsVersionMismatch),
    ("version too low", FaultKind::TlsVersionMismatch),
    ("unknown protocol", FaultKind::TlsVersionMismatch),
    ("no shared cipher", FaultKind::TlsCipherMismatch),
    ("no suitable", FaultKind::TlsCipherMismatch),
    ("http request", FaultKind::HttpOnTlsPort),
    ("wrong version number", FaultKind::NotTls),
    ("https proxy request", FaultKind::NotTls),
    ("callback failed", FaultKind::TlsNameUnknown),
    (
        "peer did not return a certificate",
        FaultKind::TlsClientCertificateMissing,
    ),
    (
        "certificate verify failed",
        FaultKind::TlsClientCertificateInvalid,
    ),
    ("no application protocol", FaultKind::TlsAlpnMismatch),
    ("peer closed connection", FaultKind::TlsHandshakeClosed),
    ("connection closed during", FaultKind::TlsHandshakeClosed),
    ("connection reset", FaultKind::TlsHandshakeClosed),
    ("unexpected eof", FaultKind::TlsHandshakeClosed),
    ("timeout during", FaultKind::TlsHandshakeTimeout),
    ("timed out", FaultKind::TlsHandshakeTimeout),
    (" alert", FaultKind::TlsClientAlert),
];

/// The same for a handshake with a client. Which alerts are about a certificate of ours that has expired
/// and which about one that is not trusted, a log cannot tell.
pub(super) fn client_tls(text: &[u8]) -> (Suspects, Option<Signal>) {
    if let Some(number) = alert(text) {
        let kinds: &[FaultKind] = match number {
            42..=46 | 48 => &[
                FaultKind::TlsClientRejectsCertificate,
                FaultKind::CertificateExpired,
            ],
            _ => &[FaultKind::TlsClientAlert],
        };
        return (Suspects::any_of(kinds), Some(Signal::TlsAlert(number)));
    }
    let found = CLIENT_SAYS.iter().find(|(words, _)| scan::has(text, words));
    let kind = found.map_or(FaultKind::TlsClientProtocol, |(_, kind)| *kind);
    (Suspects::just(kind), None)
}

/// The alert that the other side sent: by its number (`SSL alert number 40`) or by its name behind the
/// words that OpenSSL and BoringSSL put before it.
fn alert(text: &[u8]) -> Option<u8> {
    if let Some((_, rest)) = scan::split(text, b"alert number ") {
        let (number, _) = scan::leading_number(rest)?;
        return u8::try_from(number).ok();
    }
    if let Some((_, rest)) = scan::split(text, b" alert ") {
        return named(rest);
    }
    // `tlsv1 unrecognized name` and a few more lack the word.
    let at = scan::find(text, b"tlsv1 ")?;
    named(text.get(at + 6..)?)
}

/// The alert whose name begins here; the longest, as one name may begin another.
fn named(text: &[u8]) -> Option<u8> {
    let matches = (1..=u8::MAX).filter_map(|number| {
        let name = Signal::TlsAlert(number).name()?;
        let same = name.len() <= text.len()
            && name
                .bytes()
                .zip(text)
                .all(|(a, b)| a == *b || (a == b'_' && *b == b' '));
        same.then_some((name.len(), number))
    });
    matches.max().map(|(_, number)| number)
}

/// Appends `text` in lower case with spaces for `_`, as the tables here spell it. At most 1000 bytes.
pub(super) fn plain(text: &[u8], out: &mut Vec<u8>) {
    out.clear();
    let bytes = text.iter().take(1_000).map(|byte| match byte {
        b'_' => b' ',
        other => other.to_ascii_lowercase(),
    });
    out.extend(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(text: &str) -> (FaultKind, Option<Signal>) {
        let mut out = Vec::new();
        plain(text.as_bytes(), &mut out);
        server_tls(&out)
    }

    #[test]
    fn alerts_are_found_by_number_and_name() {
        use FaultKind as K;
        for (text, kind, number) in [
            (
                "(SSL: error:0A000410:SSL routines::sslv3 alert handshake failure:SSL alert number 40)",
                K::ServerTlsAlert,
                40,
            ),
            (
                "TLS_error:|268436496:SSL_routines:OPENSSL_internal:SSLV3_ALERT_HANDSHAKE_FAILURE:TLS_error_end",
                K::ServerTlsAlert,
                40,
            ),
            (
                "268436528:SSL_routines:OPENSSL_internal:TLSV1_ALERT_UNKNOWN_CA",
                K::ServerWantsCertificate,
                48,
            ),
            (
                "OPENSSL_internal:TLSV1_ALERT_UNRECOGNIZED_NAME",
                K::ServerTlsAlert,
                112,
            ),
            ("tlsv1 unrecognized name", K::ServerTlsAlert, 112),
            (
                "SSLV3_ALERT_CERTIFICATE_EXPIRED",
                K::ServerWantsCertificate,
                45,
            ),
            (
                "tlsv13 alert certificate required",
                K::ServerWantsCertificate,
                116,
            ),
            (
                "TLSV1_ALERT_NO_APPLICATION_PROTOCOL",
                K::ServerTlsAlert,
                120,
            ),
        ] {
            assert_eq!(
                server(text),
                (kind, Some(Signal::TlsAlert(number))),
                "{text}"
            );
        }
    }

    #[test]
    fn libraries_words_have_kinds() {
        use FaultKind as K;
        for (text, kind) in [
            (
                "OPENSSL_internal:WRONG_VERSION_NUMBER",
                K::ServerSpeaksPlain,
            ),
            (
                "CERTIFICATE_VERIFY_FAILED:verify cert failed: X509_verify_cert: certificate verification error at depth 0: certificate has expired",
                K::ServerCertificateExpired,
            ),
            (
                "CERTIFICATE_VERIFY_FAILED: verify SAN list",
                K::ServerCertificateName,
            ),
            ("something new", K::ServerTlsProtocol),
        ] {
            assert_eq!(server(text), (kind, None), "{text}");
        }
        let (suspects, _) = client_tls(b"ssl routines::no shared cipher");
        assert_eq!(suspects.only(), Some(K::TlsCipherMismatch));
        let (suspects, signal) = client_tls(b"tlsv1 alert unknown ca:ssl alert number 48");
        assert!(suspects.contains(K::TlsClientRejectsCertificate));
        assert_eq!(signal, Some(Signal::TlsAlert(48)));
        assert_eq!(
            errno_named(b"delayed connect error: connection refused"),
            111
        );
        assert_eq!(connect(2, true), K::UnixMissing);
        assert_eq!(connect(2, false), K::ConnectFailed);
    }
}
