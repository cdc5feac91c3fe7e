//! What an error of the TLS library means.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the lists of the library and of the protocol are long, and grow"
)]

use std::io;

use clearway_outcome::{FaultKind, Signal, TlsFacts};
use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};

use super::handshake::HandshakeError;

/// A handshake that failed.
#[derive(Debug)]
pub struct TlsFailure {
    /// Which symptom.
    pub kind: FaultKind,
    /// The alert that the peer sent, if it sent one.
    pub signal: Option<Signal>,
    /// System error number; 0 when none was involved.
    pub errno: i32,
    /// What the library says.
    pub words: String,
    /// What was known until then.
    pub facts: TlsFacts,
}

impl TlsFailure {
    pub(super) fn new(
        kind: FaultKind,
        error: Option<&HandshakeError>,
        words: String,
        facts: TlsFacts,
    ) -> Self {
        let (signal, errno) = match error {
            Some(HandshakeError::Tls(error)) => (signal(error), 0),
            Some(HandshakeError::Io(error)) => (None, error.raw_os_error().unwrap_or(0)),
            Some(HandshakeError::NotTls) | None => (None, 0),
        };
        Self {
            kind,
            signal,
            errno,
            words,
            facts,
        }
    }
}

/// The library's error as one of a stream.
pub(super) fn wrap(error: Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// The fault that a stream's error is, when it comes from TLS.
#[must_use]
pub fn fault_of(error: &io::Error, from_server: bool) -> Option<(FaultKind, Option<Signal>)> {
    let error = error.get_ref()?.downcast_ref::<Error>()?;
    let kind = if from_server {
        server_kind(error)
    } else {
        client_kind(error)
    };
    Some((kind, signal(error)))
}

/// The alert that the peer sent.
pub(super) fn signal(error: &Error) -> Option<Signal> {
    match error {
        Error::AlertReceived(alert) => Some(Signal::TlsAlert(u8::from(*alert))),
        _ => None,
    }
}

/// The kind of an error that happened with a client.
pub(super) fn client_kind(error: &Error) -> FaultKind {
    match error {
        Error::AlertReceived(alert) if is_about_certificate(*alert) => {
            FaultKind::TlsClientRejectsCertificate
        }
        Error::AlertReceived(_) => FaultKind::TlsClientAlert,
        Error::PeerIncompatible(
            PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::SupportedVersionsExtensionRequired
            | PeerIncompatible::Tls13RequiredForQuic,
        ) => FaultKind::TlsVersionMismatch,
        Error::PeerIncompatible(_) => FaultKind::TlsCipherMismatch,
        Error::NoApplicationProtocol => FaultKind::TlsAlpnMismatch,
        Error::NoCertificatesPresented => FaultKind::TlsClientCertificateMissing,
        Error::InvalidCertificate(_) | Error::InvalidCertRevocationList(_) => {
            FaultKind::TlsClientCertificateInvalid
        }
        _ => FaultKind::TlsClientProtocol,
    }
}

/// The kind of an error that happened with a server.
pub(super) fn server_kind(error: &Error) -> FaultKind {
    match error {
        Error::AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA,
        ) => FaultKind::ServerWantsCertificate,
        Error::AlertReceived(_) => FaultKind::ServerTlsAlert,
        Error::PeerIncompatible(_) | Error::NoApplicationProtocol => {
            FaultKind::ServerTlsIncompatible
        }
        Error::InvalidCertificate(error) => certificate_kind(error),
        _ => FaultKind::ServerTlsProtocol,
    }
}

fn certificate_kind(error: &CertificateError) -> FaultKind {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            FaultKind::ServerCertificateExpired
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            FaultKind::ServerCertificateNotYetValid
        }
        CertificateError::UnknownIssuer => FaultKind::ServerCertificateUntrusted,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            FaultKind::ServerCertificateName
        }
        CertificateError::Revoked => FaultKind::ServerCertificateRevoked,
        _ => FaultKind::ServerCertificateInvalid,
    }
}

/// Whether an alert says that a certificate was not liked.
fn is_about_certificate(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
    )
}
