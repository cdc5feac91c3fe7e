//! Handshakes with servers that are made to see what they show, believed or not.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use clearway_outcome::{CertificateFacts, FaultKind, Handshake, TlsVersions};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, SignatureScheme, SupportedProtocolVersion, version,
};

use super::certificates::Certificate;
use super::connect::{ClientTls, Trust, Verifier};
use super::{facts, fault, presented, provider};

/// What is offered, and whom to believe.
#[derive(Clone, Debug)]
pub struct InspectionSettings {
    /// Whether the name that is asked for is sent (SNI).
    pub sends_name: bool,
    /// The versions offered.
    pub versions: TlsVersions,
    /// The application protocols offered, the best first.
    pub alpn: Vec<Vec<u8>>,
    /// Whom to believe; with [`Trust::Nobody`] the certificate is not judged.
    pub trust: Trust,
    /// The name that the certificate is judged for.
    pub expected: ServerName<'static>,
    /// The certificate that is shown when one is asked for.
    pub certificate: Option<Certificate>,
}

/// What a server presented.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presented {
    /// Its certificates, its own first, at most [`Handshake::SHOWN`].
    pub chain: Vec<CertificateFacts>,
    /// How many there were.
    pub count: usize,
    /// Why they would not be believed.
    pub objection: Option<(FaultKind, String)>,
}

/// One handshake's settings and what was seen in it. The certificate never ends the handshake.
#[derive(Debug)]
pub struct Inspection {
    client: ClientTls,
    seen: Arc<Seen>,
}

/// Filled by the library's calls in the middle of the handshake.
#[derive(Debug, Default)]
struct Seen {
    presented: OnceLock<Presented>,
    asked: AtomicBool,
}

impl Inspection {
    /// Compiles the settings, for one handshake.
    ///
    /// # Errors
    /// What is wrong with them, in words.
    pub fn new(settings: &InspectionSettings) -> Result<Self, String> {
        static BOTH: [&SupportedProtocolVersion; 2] = [&version::TLS13, &version::TLS12];
        let versions = match settings.versions {
            TlsVersions::Both => &BOTH[..],
            TlsVersions::Only13 => &BOTH[..1],
            TlsVersions::Only12 => &BOTH[1..],
        };
        let provider = provider::get(true);
        let seen = Arc::new(Seen::default());
        let looker = Looker {
            verifier: Verifier::new(&settings.trust, &[], &provider)?,
            expected: settings.expected.clone(),
            seen: Arc::clone(&seen),
        };
        let shower = Shower {
            key: settings
                .certificate
                .as_ref()
                .map(|own| Arc::clone(&own.key)),
            seen: Arc::clone(&seen),
        };
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(looker))
            .with_client_cert_resolver(Arc::new(shower));
        config.alpn_protocols.clone_from(&settings.alpn);
        config.enable_sni = settings.sends_name;
        config.resumption = Resumption::disabled();
        let client = ClientTls {
            config: Arc::new(config),
            verifies: !matches!(settings.trust, Trust::Nobody),
        };
        Ok(Self { client, seen })
    }

    /// What to make the handshake with.
    #[must_use]
    pub fn client(&self) -> &ClientTls {
        &self.client
    }

    /// The certificates that were presented, once they were.
    #[must_use]
    pub fn presented(&self) -> Option<&Presented> {
        self.seen.presented.get()
    }

    /// Whether a client certificate was asked for.
    #[must_use]
    pub fn was_asked(&self) -> bool {
        self.seen.asked.load(Ordering::Relaxed)
    }
}

/// Notes certificates of servers.
#[derive(Debug)]
struct Looker {
    verifier: Verifier,
    expected: ServerName<'static>,
    seen: Arc<Seen>,
}

impl ServerCertVerifier for Looker {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let judged =
            self.verifier
                .verify_server_cert(end_entity, intermediates, &self.expected, ocsp, now);
        // Its note is for handshakes that a refusal ends.
        drop(presented::take());
        let all = std::iter::once(end_entity).chain(intermediates);
        let chain = all.filter_map(|der| facts::certificate(der));
        let presented = Presented {
            chain: chain.take(Handshake::SHOWN).collect(),
            count: 1 + intermediates.len(),
            objection: judged
                .err()
                .map(|error| (fault::server_kind(&error), error.to_string())),
        };
        // There is one handshake, so nothing was there before.
        self.seen.presented.set(presented).unwrap_or_default();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

/// Shows a certificate, or none, and notes that one was asked for.
#[derive(Debug)]
struct Shower {
    key: Option<Arc<CertifiedKey>>,
    seen: Arc<Seen>,
}

impl ResolvesClientCert for Shower {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.seen.asked.store(true, Ordering::Relaxed);
        self.key.clone()
    }

    fn has_certs(&self) -> bool {
        true
    }
}
