//! The certificates of a listener: which one a client gets.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the lists of the library and of the protocol are long, and grow"
)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

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
    /// Takes a certificate of which can be said for whom it is and until when.
    ///
    /// # Errors
    /// When it cannot be read, in words.
    pub(super) fn new(key: CertifiedKey) -> Result<Self, String> {
        let leaf = key.cert.first().map(|der| der.as_ref()).unwrap_or_default();
        let facts = facts::certificate(leaf).ok_or("the certificate is malformed")?;
        Ok(Self {
            names: names(leaf).into(),
            facts: Arc::new(facts),
            key: Arc::new(key),
        })
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

    /// The certificates for just this name, which is in lower case.
    fn exact(&self, name: &str) -> Option<&[Certificate]> {
        self.exact.get(name).map(Vec::as_slice)
    }

    /// The certificates for all names beside this one.
    fn wildcard(&self, name: &str) -> Option<&[Certificate]> {
        let (_, parent) = name.split_once('.')?;
        self.wildcard.get(parent).map(Vec::as_slice)
    }
}

/// Certificates that are obtained while the process runs, for all listeners that want such.
#[derive(Debug, Default)]
pub struct Issued {
    index: ArcSwap<Index>,
    by_id: Mutex<BTreeMap<String, Certificate>>,
}

impl Issued {
    /// Takes a certificate into use, in the place of the former one with this id.
    pub fn put(&self, id: &str, certificate: Certificate) {
        self.change(|all| drop(all.insert(id.to_owned(), certificate)));
    }

    /// Ends the use of a certificate.
    pub fn remove(&self, id: &str) {
        self.change(|all| drop(all.remove(id)));
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<String, Certificate>)) {
        let mut all = self.by_id.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut all);
        let index = Index::new(all.values().cloned().collect());
        self.index.store(Arc::new(index));
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> Vec<Certificate> {
        self.index.load().all.clone()
    }
}

/// The certificates of a listener, swapped as a whole while handshakes go on.
#[derive(Debug)]
pub struct Certificates {
    index: ArcSwap<Index>,
    /// Besides its own, after them where both are for a name.
    issued: Option<Arc<Issued>>,
    /// Names without a certificate are refused instead of getting the first one.
    strict: bool,
}

impl Certificates {
    /// None yet. With `strict`, clients that ask for another name than those of the certificates are
    /// refused (alert `unrecognized_name`'s case); else they get the first certificate.
    #[must_use]
    pub fn new(strict: bool, issued: Option<Arc<Issued>>) -> Arc<Self> {
        Arc::new(Self {
            index: ArcSwap::default(),
            issued,
            strict,
        })
    }

    /// Puts others in the place of all.
    pub fn replace(&self, all: Vec<Certificate>) {
        self.index.store(Arc::new(Index::new(all)));
    }

    /// All certificates, in the order of the configuration, those that were obtained after them.
    #[must_use]
    pub fn all(&self) -> Vec<Certificate> {
        let mut all = self.index.load().all.clone();
        all.extend(self.issued.iter().flat_map(|issued| issued.all()));
        all
    }

    /// Whether there is none at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let is_issued = |issued: &Arc<Issued>| !issued.index.load().all.is_empty();
        self.index.load().all.is_empty() && !self.issued.as_ref().is_some_and(is_issued)
    }

    /// Whether there is one for a name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        let (own, issued) = self.indices();
        !find(
            &[Some(&**own), issued.as_ref().map(|issued| &***issued)],
            name,
        )
        .is_empty()
    }

    fn indices(&self) -> (Guard, Option<Guard>) {
        let issued = self.issued.as_ref().map(|issued| issued.index.load());
        (self.index.load(), issued)
    }

    /// Whether what clients get that ask for a name, or for none, is not valid at `now` (seconds since
    /// 1970).
    #[must_use]
    pub fn is_out_of_time(&self, name: Option<&str>, now: i64) -> bool {
        let (own, issued) = self.indices();
        let indices = [Some(&**own), issued.as_ref().map(|issued| &***issued)];
        let found = name.map(|name| find(&indices, name)).unwrap_or_default();
        let candidates = match found {
            [] => default_of(&indices),
            found => found,
        };
        let is_out = |c: &Certificate| !(c.facts.not_before..=c.facts.not_after).contains(&now);
        candidates.first().is_some_and(is_out)
    }

    fn choose(&self, hello: &ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let (own, issued) = self.indices();
        let indices = [Some(&**own), issued.as_ref().map(|issued| &***issued)];
        let found = hello.server_name().map(|name| find(&indices, name));
        let candidates = match found {
            Some(found) if !found.is_empty() => found,
            Some(_) if self.strict => return None,
            _ => default_of(&indices),
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
}

type Guard = arc_swap::Guard<Arc<Index>>;

/// The certificates for a name in the first index that has any: the exact ones before those of a
/// wildcard.
fn find<'i>(indices: &[Option<&'i Index>], name: &str) -> &'i [Certificate] {
    let name = name.strip_suffix('.').unwrap_or(name);
    let lower;
    let name = if name.bytes().any(|b| b.is_ascii_uppercase()) {
        lower = name.to_ascii_lowercase();
        &lower
    } else {
        name
    };
    let mut exact = indices
        .iter()
        .flatten()
        .filter_map(|index| index.exact(name));
    let mut wildcard = indices
        .iter()
        .flatten()
        .filter_map(|index| index.wildcard(name));
    exact.next().or_else(|| wildcard.next()).unwrap_or_default()
}

/// The first certificate of all, with those for the same names.
fn default_of<'i>(indices: &[Option<&'i Index>]) -> &'i [Certificate] {
    let mut some = indices
        .iter()
        .flatten()
        .filter(|index| !index.all.is_empty());
    let Some((index, first)) = some.next().and_then(|i| Some((i, i.all.first()?))) else {
        return &[];
    };
    let alike = |c: &Certificate| c.names == first.names;
    let count = index.all.iter().take_while(|c| alike(c)).count();
    index.all.get(..count).unwrap_or_default()
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
