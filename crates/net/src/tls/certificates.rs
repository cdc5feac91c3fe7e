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
    /// Names that it is not used for although a wildcard of its own means them.
    without: Arc<[String]>,
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
            without: Arc::default(),
            facts: Arc::new(facts),
            key: Arc::new(key),
        })
    }

    /// The same for other names than those it holds; those with `!` before them it is not used for.
    pub(super) fn named(mut self, names: &[String]) -> Self {
        let (without, names): (Vec<_>, Vec<_>) =
            names.iter().partition(|name| name.starts_with('!'));
        let without = without.iter().map(|name| name.trim_start_matches('!'));
        self.without = without.map(str::to_ascii_lowercase).collect();
        if !names.is_empty() {
            self.names = names.iter().map(|name| name.to_ascii_lowercase()).collect();
        }
        self
    }

    /// Whether it may be shown to who asks for a name.
    fn serves(&self, name: &str) -> bool {
        let mut without = self.without.iter();
        !without.any(|other| name_matches(other, name))
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

    /// Whether it is valid at `now` (seconds since 1970).
    fn is_valid(&self, now: i64) -> bool {
        (self.facts.not_before..=self.facts.not_after).contains(&now)
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
}

/// What a listener takes of the certificates that are obtained.
#[derive(Clone, Debug)]
pub struct Obtained {
    /// All of them, for whatever listener.
    pub issued: Arc<Issued>,
    /// Names that it wants certificates for, exact or with `*.`; the first that has one is the default.
    pub names: Vec<String>,
    /// Names that clients may ask for, exact or with `*.`.
    pub on_demand: Vec<String>,
}

impl Obtained {
    /// Whether a name, asked for or of a certificate, is one of the listener's.
    fn wants(&self, name: &str) -> bool {
        let mut all = self.names.iter().chain(&self.on_demand);
        all.any(|pattern| name_matches(pattern, name))
    }
}

/// Whether a name is one that a pattern means: itself, or with `*.` any name below.
#[must_use]
pub fn name_matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_prefix("*.") {
        None => pattern.eq_ignore_ascii_case(name),
        Some(parent) => {
            let rest = name.len().checked_sub(parent.len());
            rest.is_some_and(|at| {
                at > 1
                    && name.as_bytes().get(at - 1) == Some(&b'.')
                    && name
                        .get(at..)
                        .is_some_and(|end| end.eq_ignore_ascii_case(parent))
            })
        }
    }
}

/// The certificates of a listener, swapped as a whole while handshakes go on.
#[derive(Debug)]
pub struct Certificates {
    index: ArcSwap<Index>,
    /// Besides its own, after them where both are for a name.
    obtained: Option<Obtained>,
    /// Names without a certificate are refused instead of getting the first one.
    strict: bool,
    /// Names that are refused, exact or with `*.`.
    refused: Vec<String>,
}

impl Certificates {
    /// None yet. With `strict`, clients that ask for another name than those of the certificates are
    /// refused (alert `unrecognized_name`'s case); else they get the first certificate.
    #[must_use]
    pub fn new(strict: bool, obtained: Option<Obtained>) -> Arc<Self> {
        Arc::new(Self {
            index: ArcSwap::default(),
            obtained,
            strict,
            refused: Vec::new(),
        })
    }

    /// The same, with names that are refused whatever certificates there are, exact or with `*.`.
    #[must_use]
    pub fn refusing(strict: bool, obtained: Option<Obtained>, refused: Vec<String>) -> Arc<Self> {
        Arc::new(Self {
            index: ArcSwap::default(),
            obtained,
            strict,
            refused,
        })
    }

    /// Puts others in the place of its own.
    pub fn replace(&self, all: Vec<Certificate>) {
        self.index.store(Arc::new(Index::new(all)));
    }

    /// All certificates, in the order of the configuration, those that were obtained after them.
    #[must_use]
    pub fn all(&self) -> Vec<Certificate> {
        let mut all = self.index.load().all.clone();
        if let Some(obtained) = &self.obtained {
            let is_wanted = |c: &Certificate| c.names.iter().any(|name| obtained.wants(name));
            let issued = obtained.issued.index.load();
            all.extend(issued.all.iter().filter(|c| is_wanted(c)).cloned());
        }
        all
    }

    /// Whether there is none at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.load().all.is_empty() && self.all().is_empty()
    }

    /// Whether certificates are ordered when clients ask for their names.
    #[must_use]
    pub fn are_ordered(&self) -> bool {
        let obtained = self.obtained.as_ref();
        obtained.is_some_and(|obtained| !obtained.on_demand.is_empty())
    }

    /// Whether one for a name is to be ordered: clients may ask for it, and none is valid at `now`
    /// (seconds since 1970).
    #[must_use]
    pub fn lacks(&self, name: &str, now: i64) -> bool {
        let may_ask = |obtained: &Obtained| {
            let mut patterns = obtained.on_demand.iter();
            patterns.any(|pattern| name_matches(pattern, name))
        };
        self.obtained.as_ref().is_some_and(may_ask)
            && !self.view().find(name).iter().any(|c| c.is_valid(now))
    }

    /// Whether what clients get that ask for a name, or for none, is not valid at `now` (seconds since
    /// 1970).
    #[must_use]
    pub fn is_out_of_time(&self, name: Option<&str>, now: i64) -> bool {
        let view = self.view();
        let found = name.map(|name| view.find(name)).unwrap_or_default();
        let candidates = match found {
            [] => view.default(),
            found => found,
        };
        candidates.first().is_some_and(|c| !c.is_valid(now))
    }

    fn view(&self) -> View<'_> {
        let obtained = self.obtained.as_ref();
        View {
            own: self.index.load(),
            obtained: obtained.map(|obtained| (obtained, obtained.issued.index.load())),
        }
    }

    fn choose(&self, hello: &ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if let Some(name) = hello.server_name().filter(|_| !self.refused.is_empty())
            && self
                .refused
                .iter()
                .any(|refused| name_matches(refused, name))
        {
            return None;
        }
        let view = self.view();
        let name = hello.server_name();
        let serves = |c: &&Certificate| name.is_none_or(|name| c.serves(name));
        let found = name.map(|name| view.find(name));
        let candidates = match found {
            Some(found) if found.iter().any(|c| serves(&c)) => found,
            Some(_) if self.strict => return None,
            _ => view.default(),
        };
        let suits = |c: &&Certificate| serves(c) && suits(c, hello);
        // The cheaper signature where the client takes both.
        let chosen = candidates
            .iter()
            .filter(suits)
            .min_by_key(|c| c.is_rsa())
            .or_else(|| candidates.iter().find(serves))
            .or_else(|| candidates.first())?;
        Some(Arc::clone(&chosen.key))
    }
}

type Guard = arc_swap::Guard<Arc<Index>>;

/// What there is to choose from at one moment.
struct View<'a> {
    own: Guard,
    obtained: Option<(&'a Obtained, Guard)>,
}

impl View<'_> {
    /// The certificates for a name: exact ones before those of a wildcard, own ones before others.
    fn find(&self, name: &str) -> &[Certificate] {
        let name = name.strip_suffix('.').unwrap_or(name);
        let lower;
        let name = if name.bytes().any(|b| b.is_ascii_uppercase()) {
            lower = name.to_ascii_lowercase();
            &lower
        } else {
            name
        };
        let wanted = self.obtained.as_ref().filter(|(o, _)| o.wants(name));
        let issued = wanted.map(|(_, index)| index);
        let exact = self.own.exact(name);
        let exact = exact.or_else(|| issued?.exact(name));
        let own = exact.or_else(|| self.own.wildcard(name));
        own.or_else(|| issued?.wildcard(name)).unwrap_or_default()
    }

    /// The first certificate of all, with those for the same names.
    fn default(&self) -> &[Certificate] {
        if let Some(first) = self.own.all.first() {
            let alike = |c: &Certificate| c.names == first.names;
            let count = self.own.all.iter().take_while(|c| alike(c)).count();
            return self.own.all.get(..count).unwrap_or_default();
        }
        let Some((obtained, index)) = &self.obtained else {
            return &[];
        };
        let of = |name: &String| match name.strip_prefix("*.") {
            Some(parent) => index.wildcard.get(parent).map(Vec::as_slice),
            None => index.exact(name),
        };
        obtained.names.iter().find_map(of).unwrap_or_default()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_mean_names_below() {
        assert!(name_matches("a.test", "a.test"));
        assert!(name_matches("*.a.test", "b.a.test"));
        assert!(name_matches("*.a.test", "c.b.a.test"));
        for name in ["a.test", "ba.test", ".a.test", "x.b.test", ""] {
            assert!(!name_matches("*.a.test", name), "{name}");
        }
    }

    fn certificate(names: &[&str]) -> Certificate {
        let key = rcgen::KeyPair::generate().unwrap();
        let names = names.iter().map(|name| (*name).to_owned());
        let made = rcgen::CertificateParams::new(names.collect::<Vec<_>>()).unwrap();
        let made = made.self_signed(&key).unwrap();
        super::super::from_pem(&made.pem(), &key.serialize_pem()).unwrap()
    }

    #[test]
    fn a_listener_takes_what_it_wants_of_what_is_obtained() {
        let issued: Arc<Issued> = Arc::default();
        for (id, name) in [("1", "a.test"), ("2", "b.test"), ("3", "s.shops.test")] {
            issued.put(id, certificate(&[name]));
        }
        let texts = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let obtained = Obtained {
            issued: Arc::clone(&issued),
            names: texts(&["c.test", "b.test"]),
            on_demand: texts(&["*.shops.test"]),
        };
        let certificates = Certificates::new(true, Some(obtained));
        let found = |name: &str| {
            let view = certificates.view();
            view.find(name).first().map(|c| c.names[0].clone())
        };
        assert_eq!(found("b.test").as_deref(), Some("b.test"));
        assert_eq!(found("S.shops.test.").as_deref(), Some("s.shops.test"));
        // Another listener's.
        assert_eq!(found("a.test"), None);
        assert_eq!(certificates.all().len(), 2);
        // The first of its own wishes that has one, not the first of all.
        let first = certificates.view().default()[0].names[0].clone();
        assert_eq!(first, "b.test");
        // A file goes before it, also with its wildcard after an exact name.
        certificates.replace(vec![certificate(&["*.test"])]);
        assert_eq!(found("b.test").as_deref(), Some("b.test"));
        assert_eq!(found("a.test").as_deref(), Some("*.test"));
        certificates.replace(vec![certificate(&["b.test"]), certificate(&["x.test"])]);
        issued.remove("2");
        assert_eq!(found("b.test").as_deref(), Some("b.test"));
        // Ordered are those that clients may ask for, when there is none or its time is over.
        assert!(certificates.are_ordered());
        assert!(!certificates.lacks("s.shops.test", 1_800_000_000));
        assert!(certificates.lacks("s.shops.test", 99_999_999_999));
        assert!(certificates.lacks("other.shops.test", 1_800_000_000));
        assert!(!certificates.lacks("c.test", 1_800_000_000));
    }
}
