//! The certificates of a listener: which one a client gets.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the lists of the library and of the protocol are long, and grow"
)]

use std::sync::Arc;

use arc_swap::ArcSwap;
use clearway_base::hash::Map;
use clearway_outcome::CertificateFacts;
use rustls::pki_types::CertificateDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CipherSuite, SignatureAlgorithm};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::facts;

/// A certificate with its key, ready to be used.
#[derive(Clone, Debug)]
pub struct Certificate {
    pub(super) key: Arc<CertifiedKey>,
    /// DNS names, in lower case, `*.` included.
    names: Arc<[String]>,
    facts: Arc<CertificateFacts>,
}

impl Certificate {
    pub(super) fn new(key: CertifiedKey) -> Self {
        let leaf = key.cert.first().map(|der| der.as_ref()).unwrap_or_default();
        Self {
            names: names(leaf).into(),
            facts: Arc::new(facts::certificate(leaf).unwrap_or_default()),
            key: Arc::new(key),
        }
    }

    /// What it says about itself.
    #[must_use]
    pub fn facts(&self) -> &CertificateFacts {
        &self.facts
    }

    /// The DNS names it is for, in lower case.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    fn is_rsa(&self) -> bool {
        self.key.key.algorithm() == SignatureAlgorithm::RSA
    }
}

/// The DNS names of a certificate; its common name when it has no others (RFC 6125 section 6.4.4).
fn names(der: &[u8]) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else {
        return Vec::new();
    };
    let alternative = certificate.subject_alternative_name().ok().flatten();
    let mut names: Vec<String> = alternative
        .iter()
        .flat_map(|extension| &extension.value.general_names)
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        })
        .collect();
    if names.is_empty() {
        let common = certificate.subject().iter_common_name();
        names.extend(common.filter_map(|name| Some(name.as_str().ok()?.to_ascii_lowercase())));
    }
    names
}

/// The certificates by the names they are for.
#[derive(Debug, Default)]
struct Index {
    exact: Map<String, Vec<Certificate>>,
    /// `*.example.org` under `example.org`.
    wildcard: Map<String, Vec<Certificate>>,
    /// In the order of the configuration; the first are for clients that ask for none of the names.
    all: Vec<Certificate>,
}

impl Index {
    fn new(all: Vec<Certificate>) -> Self {
        let mut index = Self::default();
        for certificate in &all {
            for name in certificate.names.iter() {
                let (map, key) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut index.wildcard, parent),
                    None => (&mut index.exact, name.as_str()),
                };
                map.entry(key.to_owned())
                    .or_default()
                    .push(certificate.clone());
            }
        }
        index.all = all;
        index
    }

    /// The certificates for a name: the exact ones before those of a wildcard.
    fn find(&self, name: &str) -> &[Certificate] {
        let name = name.strip_suffix('.').unwrap_or(name);
        let lower;
        let name = if name.bytes().any(|b| b.is_ascii_uppercase()) {
            lower = name.to_ascii_lowercase();
            &lower
        } else {
            name
        };
        if let Some(found) = self.exact.get(name) {
            return found;
        }
        let parent = name.split_once('.').map(|(_, parent)| parent);
        parent
            .and_then(|parent| self.wildcard.get(parent))
            .map_or(&[], Vec::as_slice)
    }
}

/// The certificates of a listener, swapped as a whole while handshakes go on.
#[derive(Debug)]
pub struct Certificates {
    index: ArcSwap<Index>,
    /// Names without a certificate are refused instead of getting the first one.
    strict: bool,
}

impl Certificates {
    /// None yet. With `strict`, clients that ask for another name than those of the certificates are
    /// refused (alert `unrecognized_name`'s case); else they get the first certificate.
    #[must_use]
    pub fn new(strict: bool) -> Arc<Self> {
        Arc::new(Self {
            index: ArcSwap::default(),
            strict,
        })
    }

    /// Puts others in the place of all.
    pub fn replace(&self, all: Vec<Certificate>) {
        self.index.store(Arc::new(Index::new(all)));
    }

    /// All certificates, in the order of the configuration.
    #[must_use]
    pub fn all(&self) -> Vec<Certificate> {
        self.index.load().all.clone()
    }

    /// Whether there is none at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.load().all.is_empty()
    }

    fn choose(&self, hello: &ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let index = self.index.load();
        let found = hello.server_name().map(|name| index.find(name));
        let candidates = match found {
            Some(found) if !found.is_empty() => found,
            Some(_) if self.strict => return None,
            _ => self.default_of(&index),
        };
        let suits = |c: &&Certificate| suits(c, hello);
        // The cheaper signature where the client takes both.
        let chosen = candidates
            .iter()
            .filter(suits)
            .min_by_key(|c| c.is_rsa())
            .or_else(|| candidates.first())?;
        Some(Arc::clone(&chosen.key))
    }

    /// The first certificate, with those for the same names.
    fn default_of<'i>(&self, index: &'i Index) -> &'i [Certificate] {
        let Some(first) = index.all.first() else {
            return &[];
        };
        let alike = |c: &Certificate| c.names == first.names;
        let count = index.all.iter().take_while(|c| alike(c)).count();
        index.all.get(..count).unwrap_or_default()
    }
}

/// Whether a client can use a certificate's signatures.
fn suits(certificate: &Certificate, hello: &ClientHello<'_>) -> bool {
    let signs = certificate.key.key.choose_scheme(hello.signature_schemes());
    if signs.is_none() {
        return false;
    }
    hello.cipher_suites().iter().any(|suite| match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256
        | CipherSuite::TLS13_AES_256_GCM_SHA384
        | CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => true,
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
        | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
        | CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 => !certificate.is_rsa(),
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
        | CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384
        | CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => certificate.is_rsa(),
        _ => false,
    })
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(&hello)
    }
}

/// A chain in the order in which it is sent.
pub(super) type Chain = Vec<CertificateDer<'static>>;
