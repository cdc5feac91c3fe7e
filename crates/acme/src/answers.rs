//! Answers to challenges that are under way, for whoever serves ports 80 and 443.
//!
//! Publishing replaces an immutable table, so that readers on any thread never wait. While nothing is
//! under way, a look costs one load.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use arc_swap::ArcSwap;
use clearway_base::hash::Map;
use rcgen::{
    CertificateParams, CustomExtension, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::name::Name;

/// The path under which http-01 asks, up to the token (RFC 8555 section 8.3).
pub const HTTP_PATH: &str = "/.well-known/acme-challenge/";

/// A certificate that answers tls-alpn-01 for one name.
pub struct TlsAnswer {
    /// The self-signed certificate.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its key.
    pub key: PrivateKeyDer<'static>,
}

impl fmt::Debug for TlsAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsAnswer")
    }
}

/// What is published now.
#[derive(Clone, Default)]
struct Tables {
    http: Map<String, (Arc<str>, Arc<AtomicU32>)>,
    tls: Map<String, (Arc<TlsAnswer>, Arc<AtomicU32>)>,
}

/// The registry: one [`crate::Keeper`] writes, any number of threads read.
#[derive(Default)]
pub struct Answers {
    tables: ArcSwap<Tables>,
}

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tables = self.tables.load();
        f.debug_struct("Answers")
            .field("http", &tables.http.len())
            .field("tls", &tables.tls.len())
            .finish()
    }
}

impl Answers {
    /// An empty registry.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Whether no challenge is under way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let tables = self.tables.load();
        tables.http.is_empty() && tables.tls.is_empty()
    }

    /// The body to answer with when `path` is asked for over HTTP (RFC 8555 section 8.3); `None` when no
    /// challenge of ours is meant.
    #[must_use]
    pub fn http_path(&self, path: &str) -> Option<Arc<str>> {
        self.http(path.strip_prefix(HTTP_PATH)?)
    }

    /// The key authorization of a token.
    #[must_use]
    pub fn http(&self, token: &str) -> Option<Arc<str>> {
        let tables = self.tables.load();
        let (answer, asked) = tables.http.get(token)?;
        asked.fetch_add(1, Ordering::Relaxed);
        Some(Arc::clone(answer))
    }

    /// The certificate for a handshake that offers [`clearway_net::tls::CHALLENGE_ALPN`] alone, with this
    /// server name. For a name that is an
    /// IP address the server name is its reverse name (RFC 8738 section 6).
    #[must_use]
    pub fn tls(&self, server_name: &str) -> Option<Arc<TlsAnswer>> {
        let tables = self.tables.load();
        if tables.tls.is_empty() {
            return None;
        }
        let lower = server_name.to_ascii_lowercase();
        let (answer, asked) = tables.tls.get(&lower)?;
        asked.fetch_add(1, Ordering::Relaxed);
        Some(Arc::clone(answer))
    }

    /// Publishes an answer to http-01 until the returned guard is dropped.
    pub fn publish_http(self: &Arc<Self>, token: &str, key_authorization: &str) -> Published {
        let asked = Arc::new(AtomicU32::new(0));
        let entry = (Arc::from(key_authorization), Arc::clone(&asked));
        self.change(|tables| {
            tables.http.insert(token.to_owned(), entry.clone());
        });
        self.published(Place::Http(token.to_owned()), asked)
    }

    /// Makes the certificate for tls-alpn-01 (RFC 8737 section 3) and publishes it until the returned
    /// guard is dropped. `digest` is the SHA-256 of the key authorization.
    ///
    /// # Errors
    /// When the certificate cannot be made, in words.
    pub fn publish_tls(self: &Arc<Self>, name: &Name, digest: &[u8]) -> Result<Published, String> {
        let answer = tls_answer(name, digest)?;
        let asked = Arc::new(AtomicU32::new(0));
        let server_name = server_name(name);
        let entry = (Arc::new(answer), Arc::clone(&asked));
        self.change(|tables| {
            tables.tls.insert(server_name.clone(), entry.clone());
        });
        Ok(self.published(Place::Tls(server_name), asked))
    }

    fn published(self: &Arc<Self>, place: Place, asked: Arc<AtomicU32>) -> Published {
        Published {
            answers: Arc::clone(self),
            place,
            asked,
        }
    }

    fn change(&self, change: impl Fn(&mut Tables)) {
        self.tables.rcu(|tables| {
            let mut tables = Tables::clone(tables);
            change(&mut tables);
            tables
        });
    }
}

enum Place {
    Http(String),
    Tls(String),
}

/// An answer that is withdrawn when this is dropped.
#[must_use]
pub struct Published {
    answers: Arc<Answers>,
    place: Place,
    asked: Arc<AtomicU32>,
}

impl Published {
    /// How often the answer was fetched: 0 tells that the authority asked somebody else.
    #[must_use]
    pub fn asked(&self) -> u32 {
        self.asked.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Published")
            .field("asked", &self.asked())
            .finish_non_exhaustive()
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        // Another order for the same name may have put its own answer in our place.
        self.answers.change(|tables| match &self.place {
            Place::Http(token) => {
                if tables
                    .http
                    .get(token)
                    .is_some_and(|(_, asked)| Arc::ptr_eq(asked, &self.asked))
                {
                    tables.http.remove(token);
                }
            }
            Place::Tls(name) => {
                if tables
                    .tls
                    .get(name)
                    .is_some_and(|(_, asked)| Arc::ptr_eq(asked, &self.asked))
                {
                    tables.tls.remove(name);
                }
            }
        });
    }
}

/// The server name under which tls-alpn-01 asks for a name.
fn server_name(name: &Name) -> String {
    match name.ip() {
        None => name.base().to_owned(),
        Some(std::net::IpAddr::V4(ip)) => {
            let [a, b, c, d] = ip.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        Some(std::net::IpAddr::V6(ip)) => {
            let mut text = String::new();
            for byte in ip.octets().iter().rev() {
                text.push_str(&format!("{:x}.{:x}.", byte & 0xf, byte >> 4));
            }
            text + "ip6.arpa"
        }
    }
}

fn tls_answer(name: &Name, digest: &[u8]) -> Result<TlsAnswer, String> {
    if digest.len() != 32 {
        return Err(format!("a digest of {} bytes is no SHA-256", digest.len()));
    }
    let told = |error: rcgen::Error| format!("the tls-alpn-01 certificate of {name}: {error}");
    let mut params = CertificateParams::new([name.base().to_owned()]).map_err(told)?;
    params.distinguished_name = DistinguishedName::new();
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(told)?;
    let certificate = params.self_signed(&key).map_err(told)?;
    Ok(TlsAnswer {
        chain: vec![certificate.der().clone()],
        key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    #[test]
    fn an_answer_is_there_as_long_as_its_guard() {
        let answers = Answers::new();
        assert!(answers.is_empty());
        let published = answers.publish_http("token", "token.thumb");
        assert!(!answers.is_empty());
        let body = answers.http_path("/.well-known/acme-challenge/token");
        assert_eq!(body.as_deref(), Some("token.thumb"));
        assert_eq!(answers.http_path("/.well-known/acme-challenge/other"), None);
        assert_eq!(answers.http_path("/token"), None);
        assert_eq!(published.asked(), 1);
        drop(published);
        assert!(answers.is_empty());
    }

    #[test]
    fn a_guard_leaves_the_answer_of_another_alone() {
        let answers = Answers::new();
        let first = answers.publish_http("t", "one");
        let second = answers.publish_http("t", "two");
        drop(first);
        assert_eq!(answers.http("t").as_deref(), Some("two"));
        drop(second);
        assert!(answers.is_empty());
    }

    #[test]
    fn the_certificate_of_tls_alpn_holds_the_digest_in_a_critical_extension() {
        let answers = Answers::new();
        let digest = [7; 32];
        let published = answers
            .publish_tls(&name("a.example.org"), &digest)
            .unwrap();
        assert!(answers.tls("b.example.org").is_none());
        let answer = answers.tls("A.example.org").unwrap();
        assert_eq!(published.asked(), 1);
        let (_, parsed) = x509_parser::parse_x509_certificate(&answer.chain[0]).unwrap();
        let extension = parsed
            .extensions()
            .iter()
            .find(|e| e.oid.to_id_string() == "1.3.6.1.5.5.7.1.31")
            .unwrap();
        assert!(extension.critical);
        assert_eq!(
            extension.value,
            [[4, 32].as_slice(), digest.as_slice()].concat()
        );
        let names = parsed.subject_alternative_name().unwrap().unwrap();
        assert_eq!(names.value.general_names.len(), 1);
        assert!(answers.publish_tls(&name("a.example.org"), &[1]).is_err());
    }

    #[test]
    fn addresses_are_asked_for_by_their_reverse_names() {
        assert_eq!(server_name(&name("192.0.2.1")), "1.2.0.192.in-addr.arpa");
        assert!(server_name(&name("2001:db8::1")).ends_with("8.b.d.0.1.0.0.2.ip6.arpa"));
        assert!(server_name(&name("2001:db8::1")).starts_with("1.0.0.0."));
    }

    #[test]
    fn readers_on_other_threads_see_what_is_published() {
        let answers = Answers::new();
        let reader = Arc::clone(&answers);
        let published = answers.publish_http("t", "one");
        let seen = std::thread::spawn(move || reader.http("t")).join().unwrap();
        assert_eq!(seen.as_deref(), Some("one"));
        drop(published);
    }
}
