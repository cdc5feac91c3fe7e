//! TLS with a server.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use clearway_outcome::{CertificateVerdict, FaultKind, FirstBytes, TlsFacts};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConnection, Resumption, WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, Connection, DigitallySignedStruct, Error, RootCertStore,
    SignatureScheme,
};

use super::accept::Profile;
use super::certificates::Certificate;
use super::fault::{self, TlsFailure};
use super::handshake::{self, HandshakeError};
use super::stream::TlsStream;
use super::{facts, presented, provider};
use crate::wire::Wire;

/// Sessions remembered for resumption, per backend.
const SESSIONS: usize = 256;

/// Who is trusted to issue certificates of servers.
#[derive(Clone, Debug)]
pub enum Trust {
    /// The authorities that the system trusts.
    System(Vec<CertificateDer<'static>>),
    /// These authorities, and servers with one of these certificates.
    Roots(Vec<CertificateDer<'static>>),
    /// Anybody: certificates are not verified.
    Nobody,
}

/// How servers of a backend are spoken to.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// Who issues their certificates.
    pub trust: Trust,
    /// Lists of revoked certificates.
    pub revoked: Vec<CertificateRevocationListDer<'static>>,
    /// The certificate we show, if one is demanded.
    pub certificate: Option<Certificate>,
    /// The application protocols offered, the best first.
    pub alpn: Vec<Vec<u8>>,
    /// Which versions.
    pub profile: Profile,
    /// Whether the key exchange that quantum computers do not break is offered.
    pub post_quantum: bool,
    /// A file for the secrets of all connections.
    pub key_log: Option<std::path::PathBuf>,
    /// Whether certificates have to be for the name that is asked for.
    pub verify_name: bool,
    /// Whether servers are told that name (SNI).
    pub send_name: bool,
}

impl ClientSettings {
    /// Settings of a trust, with everything else as it is where nothing is said.
    #[must_use]
    pub fn new(trust: Trust) -> Self {
        Self {
            trust,
            revoked: Vec::new(),
            certificate: None,
            alpn: Vec::new(),
            profile: Profile::default(),
            post_quantum: true,
            key_log: None,
            verify_name: true,
            send_name: true,
        }
    }
}

/// A backend's side of TLS.
#[derive(Clone, Debug)]
pub struct ClientTls {
    pub(super) config: Arc<ClientConfig>,
    pub(super) verifies: bool,
}

impl ClientTls {
    /// Compiles the settings.
    ///
    /// # Errors
    /// What is wrong with them, in words.
    pub fn new(settings: &ClientSettings) -> Result<Self, String> {
        let provider = provider::get(settings.post_quantum);
        let verifies = !matches!(settings.trust, Trust::Nobody);
        let verifier = Verifier {
            any_name: !settings.verify_name,
            ..Verifier::new(&settings.trust, &settings.revoked, &provider)?
        };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(settings.profile.versions())
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match &settings.certificate {
            Some(certificate) => builder.with_client_cert_resolver(Arc::new(
                rustls::sign::SingleCertAndKey::from(certificate.key.as_ref().clone()),
            )),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols.clone_from(&settings.alpn);
        config.enable_sni = settings.send_name;
        config.resumption = Resumption::in_memory_sessions(SESSIONS);
        if let Some(path) = &settings.key_log {
            config.key_log = Arc::new(super::key_log::KeyLog::open(path)?);
        }
        Ok(Self {
            config: Arc::new(config),
            verifies,
        })
    }
}

impl ClientTls {
    /// The same, with other application protocols offered.
    #[must_use]
    pub fn offering(&self, alpn: &[&[u8]]) -> Self {
        let mut config = self.config.as_ref().clone();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Self {
            config: Arc::new(config),
            verifies: self.verifies,
        }
    }
}

/// The name a server is asked for, and its certificate has to have.
///
/// # Errors
/// When `text` is neither a DNS name nor an IP address.
pub fn server_name(text: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(text.to_owned())
        .map_err(|_| format!("{text:?} is neither a DNS name nor an IP address"))
}

/// The roots that the operating system trusts.
///
/// # Errors
/// When it has none, in words.
pub fn system_roots() -> Result<Vec<CertificateDer<'static>>, String> {
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        let why = found.errors.first().map(ToString::to_string);
        return Err(format!(
            "the system has no trusted certificates: {}",
            why.unwrap_or_else(|| "is the package ca-certificates installed?".to_owned())
        ));
    }
    Ok(found.certs)
}

/// A handshake with a server, under way.
#[derive(Debug)]
pub struct Connecting {
    wire: Wire,
    tls: ClientConnection,
    name: String,
    verifies: bool,
    first: FirstBytes,
    unread: usize,
}

impl Connecting {
    /// A handshake over `wire` with the server called `name`.
    ///
    /// # Errors
    /// When the library refuses its configuration.
    pub fn new(wire: Wire, client: &ClientTls, name: ServerName<'static>) -> io::Result<Self> {
        let text = name.to_str().into_owned();
        let tls = ClientConnection::new(Arc::clone(&client.config), name).map_err(fault::wrap)?;
        Ok(Self {
            wire,
            tls,
            name: text,
            verifies: client.verifies,
            first: FirstBytes::default(),
            unread: 0,
        })
    }

    /// Goes on with the handshake, until it is complete or has failed. Cancel safe.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), HandshakeError>> {
        loop {
            ready!(handshake::poll_flush(cx, &self.wire, &mut self.tls))?;
            if !self.tls.is_handshaking() {
                return Poll::Ready(Ok(()));
            }
            let mut room = [0; handshake::ROOM];
            let count = ready!(self.wire.poll_read(cx, &mut room))?;
            if count == 0 {
                return Poll::Ready(Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()));
            }
            let bytes = room.get(..count).unwrap_or_default();
            if self.first.as_bytes().is_empty() {
                self.first = FirstBytes::of(bytes);
            }
            if !handshake::may_be_tls(self.first.as_bytes()) {
                return Poll::Ready(Err(HandshakeError::NotTls));
            }
            match handshake::digest(&mut self.tls, bytes) {
                Ok(unread) => self.unread = unread,
                Err(error) => {
                    handshake::flush_now(&self.wire, &mut self.tls);
                    return Poll::Ready(Err(error));
                }
            }
        }
    }

    /// The connection, after [`Connecting::poll`] said that it is complete.
    #[must_use]
    pub fn finish(self) -> TlsStream {
        let tls = Connection::Client(self.tls);
        TlsStream::new(self.wire, tls, self.unread, self.verifies)
    }

    /// Gives the handshake up: after an error, or without one when its time is over. The socket is
    /// handed back for facts about it.
    #[must_use]
    pub fn refuse(self, error: Option<&HandshakeError>) -> (TlsFailure, FirstBytes, Wire) {
        let mut facts = self.facts();
        let (kind, words) = match error {
            None => (FaultKind::ServerTlsTimeout, String::new()),
            Some(HandshakeError::Io(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                (FaultKind::ServerTlsClosed, String::new())
            }
            Some(HandshakeError::Io(error)) => (FaultKind::ServerTlsReset, error.to_string()),
            Some(HandshakeError::NotTls) => (FaultKind::ServerSpeaksPlain, String::new()),
            Some(HandshakeError::Tls(error)) => (fault::server_kind(error), error.to_string()),
        };
        if let Some(HandshakeError::Tls(Error::InvalidCertificate(_))) = error {
            facts.certificate = presented::take();
            facts.verdict = CertificateVerdict::Refused;
            facts.refusal.clone_from(&words);
        }
        (
            TlsFailure::new(kind, error, words, facts),
            self.first,
            self.wire,
        )
    }

    fn facts(&self) -> TlsFacts {
        let mut facts = handshake::facts(&self.tls, self.verifies);
        facts.server_name.clone_from(&self.name);
        facts
    }
}

/// Verifies certificates of servers, or not, and notes those that it refuses.
#[derive(Debug)]
pub(super) struct Verifier {
    inner: Option<Arc<WebPkiServerVerifier>>,
    /// Certificates that the operator names, as far as they may be a server's own.
    given: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
    /// Whose certificate it is does not matter.
    any_name: bool,
}

impl Verifier {
    pub(super) fn new(
        trust: &Trust,
        revoked: &[CertificateRevocationListDer<'static>],
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, String> {
        let mut given = Vec::new();
        let inner = match trust {
            Trust::Nobody => None,
            Trust::System(roots) | Trust::Roots(roots) => {
                if let Trust::Roots(roots) = trust {
                    given.clone_from(roots);
                }
                let mut store = RootCertStore::empty();
                // The system's store may hold certificates that nobody can use.
                store.add_parsable_certificates(roots.iter().cloned());
                let builder = WebPkiServerVerifier::builder_with_provider(
                    Arc::new(store),
                    Arc::clone(provider),
                )
                .with_crls(revoked.iter().cloned())
                .allow_unknown_revocation_status();
                Some(builder.build().map_err(|error| error.to_string())?)
            }
        };
        Ok(Self {
            inner,
            given,
            provider: Arc::clone(provider),
            any_name: false,
        })
    }
}

impl Verifier {
    /// Verifies a certificate that was itself given as one to trust, as self-signed ones are: it needs
    /// no issuer, but has to have the name and to be valid now. `None` when it was not given.
    fn verify_given(
        &self,
        end_entity: &CertificateDer<'_>,
        server_name: &ServerName<'_>,
        now: UnixTime,
    ) -> Option<Result<ServerCertVerified, Error>> {
        let given = self.given.iter().find(|root| *root == end_entity)?;
        let facts = facts::certificate(given)?;
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let verdict = if now < facts.not_before {
            Err(CertificateError::NotValidYet.into())
        } else if now > facts.not_after {
            Err(CertificateError::Expired.into())
        } else {
            let verify = |parsed| match self.any_name {
                true => Ok(()),
                false => verify_server_name(&parsed, server_name),
            };
            ParsedCertificate::try_from(end_entity).and_then(verify)
        };
        Some(verdict.map(|()| ServerCertVerified::assertion()))
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(inner) = &self.inner else {
            return Ok(ServerCertVerified::assertion());
        };
        let verdict = inner.verify_server_cert(end_entity, intermediates, server_name, ocsp, now);
        verdict
            .or_else(|error| {
                // The name is looked at last: all else was right.
                let is_name = matches!(
                    error,
                    Error::InvalidCertificate(
                        CertificateError::NotValidForName
                            | CertificateError::NotValidForNameContext { .. },
                    )
                );
                match is_name && self.any_name {
                    true => Ok(ServerCertVerified::assertion()),
                    false => Err(error),
                }
            })
            .or_else(|error| {
                self.verify_given(end_entity, server_name, now)
                    .ok_or(error)?
            })
            .inspect_err(|_| presented::note(end_entity))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}
