//! Certificates and keys in files: reading them, and noticing that they changed.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the lists of the library and of the protocol are long, and grow"
)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::{PemObject, SectionKind};
use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer, PrivatePkcs1KeyDer,
    PrivatePkcs8KeyDer, PrivateSec1KeyDer,
};
use rustls::sign::{CertifiedKey, SigningKey};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::certificates::{Certificate, Chain};
use super::provider;

/// Largest file that is read.
const FILE_MAX: u64 = 4 << 20;

/// Where certificates lie.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// A PEM file with a chain and its key.
    Combined(PathBuf),
    /// A chain, and its key beside it.
    Pair {
        /// The chain, the server's certificate first.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
        /// A stapled OCSP response (DER).
        ocsp: Option<PathBuf>,
    },
    /// All certificates in a directory: `*.pem` with their keys inside or in `*.key` beside them, and
    /// `*.crt` with `*.key`.
    Directory(PathBuf),
    /// The same, for these names instead of those the certificates hold; `!NAME` for none below.
    Named(Box<Self>, Vec<String>),
}

/// Why a certificate cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileProblem {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub words: String,
}

impl std::fmt::Display for FileProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.words)
    }
}

fn problem(path: &Path, words: impl Into<String>) -> FileProblem {
    FileProblem {
        path: path.to_owned(),
        words: words.into(),
    }
}

/// Reads a file, if it has a reasonable size.
fn read(path: &Path) -> Result<Vec<u8>, FileProblem> {
    let size = fs::metadata(path)
        .map_err(|error| problem(path, error.to_string()))?
        .len();
    if size > FILE_MAX {
        return Err(problem(path, "it is larger than 4 MiB"));
    }
    fs::read(path).map_err(|error| problem(path, error.to_string()))
}

/// The certificates in a PEM file.
///
/// # Errors
/// When it cannot be read, or has none.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, FileProblem> {
    let sections = sections(path)?;
    if sections.chain.is_empty() {
        return Err(problem(
            path,
            "it has no certificate (\"BEGIN CERTIFICATE\")",
        ));
    }
    Ok(sections.chain)
}

/// The revocation lists in a PEM file.
///
/// # Errors
/// When it cannot be read, or has none.
pub fn revocation_lists(
    path: &Path,
) -> Result<Vec<CertificateRevocationListDer<'static>>, FileProblem> {
    let sections = sections(path)?;
    if sections.revoked.is_empty() {
        return Err(problem(
            path,
            "it has no revocation list (\"BEGIN X509 CRL\")",
        ));
    }
    Ok(sections.revoked)
}

/// What a PEM file holds.
#[derive(Default)]
struct Sections {
    chain: Chain,
    keys: Vec<PrivateKeyDer<'static>>,
    revoked: Vec<CertificateRevocationListDer<'static>>,
    has_encrypted_key: bool,
}

fn sections(path: &Path) -> Result<Sections, FileProblem> {
    let text = read(path)?;
    sections_of(&text).map_err(|words| problem(path, words))
}

fn sections_of(text: &[u8]) -> Result<Sections, String> {
    let mut found = Sections {
        has_encrypted_key: memchr::memmem::find(text, b"ENCRYPTED").is_some(),
        ..Sections::default()
    };
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(text) {
        let (kind, der) = section.map_err(|error| format!("it is not valid PEM: {error}"))?;
        match kind {
            SectionKind::Certificate => found.chain.push(der.into()),
            SectionKind::Crl => found.revoked.push(der.into()),
            SectionKind::PrivateKey => found.keys.push(PrivatePkcs8KeyDer::from(der).into()),
            SectionKind::RsaPrivateKey => found.keys.push(PrivatePkcs1KeyDer::from(der).into()),
            SectionKind::EcPrivateKey => found.keys.push(PrivateSec1KeyDer::from(der).into()),
            _ => {}
        }
    }
    Ok(found)
}

/// Makes a usable certificate of a chain and a key: the certificate of the key comes first, whatever
/// the order in the file.
fn pair(mut chain: Chain, key: PrivateKeyDer<'static>) -> Result<CertifiedKey, String> {
    let key = signing_key(key)?;
    if chain.is_empty() {
        return Err("there is no certificate (\"BEGIN CERTIFICATE\")".to_owned());
    }
    if chain
        .iter()
        .any(|der| X509Certificate::from_der(der).is_err())
    {
        return Err("the certificate is malformed".to_owned());
    }
    let own = key
        .public_key()
        .ok_or("the key does not say which certificate is its own")?;
    let is_own = |der: &CertificateDer<'_>| {
        X509Certificate::from_der(der)
            .is_ok_and(|(_, certificate)| certificate.public_key().raw == own.as_ref())
    };
    let Some(at) = chain.iter().position(is_own) else {
        return Err("the key does not belong to the certificate".to_owned());
    };
    chain.swap(0, at);
    order(&mut chain);
    Ok(CertifiedKey::new(chain, key))
}

/// Puts behind each certificate the one of its issuer, as far as there is one: not every client looks
/// further (RFC 5246 section 7.4.2).
fn order(chain: &mut [CertificateDer<'static>]) {
    let name = |der: &CertificateDer<'_>, issuer: bool| {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let name = match issuer {
            true => certificate.issuer(),
            false => certificate.subject(),
        };
        Some(name.as_raw().to_vec())
    };
    for at in 1..chain.len() {
        let (before, rest) = chain.split_at_mut(at);
        let Some(wanted) = before.last().and_then(|last| name(last, true)) else {
            return;
        };
        let found = rest
            .iter()
            .position(|der| name(der, false).as_ref() == Some(&wanted));
        match found {
            Some(found) => rest.swap(0, found),
            None => return,
        }
    }
}

/// A certificate of a chain and its key that are in memory (PEM).
///
/// # Errors
/// What is wrong with them, in words.
pub fn from_pem(chain: &str, key: &str) -> Result<Certificate, String> {
    let chain = sections_of(chain.as_bytes())?.chain;
    let key = the_key(sections_of(key.as_bytes())?)?;
    pair(chain, key).and_then(Certificate::new)
}

/// A certificate that answers a challenge (DER). Whether the key is its own is not looked at: nothing but
/// authorities can read certificates with the extension that these have (RFC 8737 section 3).
///
/// # Errors
/// When the key is of an unknown kind, in words.
pub fn challenge(chain: Chain, key: PrivateKeyDer<'static>) -> Result<Certificate, String> {
    let key = signing_key(key)?;
    Certificate::new(CertifiedKey::new(chain, key))
}

fn signing_key(key: PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, String> {
    let keys = provider::get(true).key_provider;
    keys.load_private_key(key)
        .map_err(|error| format!("the key cannot be used: {error}"))
}

fn the_key(mut sections: Sections) -> Result<PrivateKeyDer<'static>, String> {
    match (sections.keys.pop(), sections.has_encrypted_key) {
        (Some(key), _) if sections.keys.is_empty() => Ok(key),
        (Some(_), _) => Err("it has more than one key".to_owned()),
        (None, true) => Err(
            "its key is encrypted; decrypt it with \"openssl pkey -in FILE -out NEW\"".to_owned(),
        ),
        (None, false) => Err("it has no key (\"BEGIN PRIVATE KEY\")".to_owned()),
    }
}

/// One certificate to be read: its files.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    certificate: PathBuf,
    /// In the same file when absent.
    key: Option<PathBuf>,
    /// The key is what lies beside the certificate: one in the same file comes first.
    is_beside: bool,
    ocsp: Option<PathBuf>,
    /// What it is for, where that is not what it says itself.
    names: Vec<String>,
}

impl Entry {
    fn load(&self) -> Result<Certificate, FileProblem> {
        let mut sections = sections(&self.certificate)?;
        let chain = std::mem::take(&mut sections.chain);
        let has_own = !sections.keys.is_empty();
        let (key_path, key) = match &self.key {
            Some(path) if !(self.is_beside && has_own) => (path, the_key(self::sections(path)?)),
            _ => (&self.certificate, the_key(sections)),
        };
        let key = key.map_err(|words| problem(key_path, words))?;
        let mut certified = pair(chain, key).map_err(|words| problem(&self.certificate, words))?;
        if let Some(path) = &self.ocsp {
            certified.ocsp = Some(read(path)?);
        }
        Certificate::new(certified)
            .map(|certificate| certificate.named(&self.names))
            .map_err(|words| problem(&self.certificate, words))
    }

    fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let others = [&self.key, &self.ocsp];
        [&self.certificate]
            .into_iter()
            .chain(others.into_iter().flatten())
    }
}

/// The entries that a source stands for.
fn entries(source: &Source) -> Result<Vec<Entry>, FileProblem> {
    Ok(match source {
        Source::Combined(path) => vec![combined(path)],
        Source::Pair {
            certificate,
            key,
            ocsp,
        } => vec![Entry {
            certificate: certificate.clone(),
            key: Some(key.clone()),
            is_beside: false,
            ocsp: ocsp.clone(),
            names: Vec::new(),
        }],
        Source::Named(inner, names) => {
            let mut all = entries(inner)?;
            for entry in &mut all {
                entry.names.clone_from(names);
            }
            all
        }
        Source::Directory(directory) => {
            let listed =
                fs::read_dir(directory).map_err(|error| problem(directory, error.to_string()))?;
            let mut found: Vec<Entry> = listed
                .filter_map(|entry| Some(entry.ok()?.path()))
                .filter(|path| {
                    let extension = path.extension().and_then(|e| e.to_str());
                    matches!(extension, Some("pem" | "crt")) && path.is_file()
                })
                .map(|path| combined(&path))
                .collect();
            if found.is_empty() {
                let words = "there is no certificate in it (\"*.pem\" or \"*.crt\")";
                return Err(problem(directory, words));
            }
            found.sort();
            found
        }
    })
}

/// A file with a certificate, and what lies beside it: `.key`, `.ocsp`.
fn combined(path: &Path) -> Entry {
    let beside = |extension: &str| Some(path.with_extension(extension)).filter(|p| p.is_file());
    Entry {
        certificate: path.to_owned(),
        key: beside("key"),
        is_beside: true,
        ocsp: beside("ocsp"),
        names: Vec::new(),
    }
}

/// What tells that a file was changed.
type Mark = Option<(u64, u64, i64, i64)>;

/// What tells that any of several files was changed.
pub type Marks = Vec<Mark>;

/// The marks of files as they are now.
pub fn marks<'a>(files: impl IntoIterator<Item = &'a Path>) -> Marks {
    files.into_iter().map(mark).collect()
}

fn mark(path: &Path) -> Mark {
    let data = fs::metadata(path).ok()?;
    Some((data.ino(), data.len(), data.mtime(), data.mtime_nsec()))
}

/// Something that happened to a certificate's files.
#[derive(Clone, Debug)]
pub enum FileEvent {
    /// A certificate was read, for the first time or anew.
    Loaded(PathBuf, Certificate),
    /// A certificate cannot be used; `kept` = the one read before stays in use.
    Failed {
        /// Where and why.
        problem: FileProblem,
        /// Whether there is one to go on with.
        kept: bool,
    },
    /// A file has left its directory.
    Gone(PathBuf),
}

/// The files of a listener's certificates, looked at from time to time.
#[derive(Debug, Default)]
pub struct Files {
    sources: Vec<Source>,
    known: BTreeMap<Entry, Known>,
    /// In the order of the configuration.
    order: Vec<Entry>,
    /// Sources that could not be listed at the last look, and why: that is told once.
    troubles: BTreeMap<Source, FileProblem>,
}

#[derive(Debug)]
struct Known {
    marks: Marks,
    loaded: Option<Certificate>,
}

impl Files {
    /// The files of `sources`; nothing is read yet.
    #[must_use]
    pub fn new(sources: Vec<Source>) -> Self {
        Self {
            sources,
            ..Self::default()
        }
    }

    /// Reads what is new or has changed since the last look. A certificate that cannot be read any more
    /// stays as it was.
    pub fn look(&mut self) -> Vec<FileEvent> {
        let mut events = Vec::new();
        let mut order = Vec::new();
        // Of directories that cannot be listed.
        let mut held = Vec::new();
        for source in &self.sources {
            match entries(source) {
                Ok(found) => {
                    self.troubles.remove(source);
                    order.extend(found);
                }
                Err(problem) => {
                    // What was in a directory that cannot be listed now stays.
                    let inside =
                        |e: &&Entry| e.certificate.parent() == Some(problem.path.as_path());
                    let before: Vec<Entry> = self.order.iter().filter(inside).cloned().collect();
                    let kept = !before.is_empty();
                    order.extend(before.iter().cloned());
                    held.extend(before);
                    if self.troubles.insert(source.clone(), problem.clone())
                        != Some(problem.clone())
                    {
                        events.push(FileEvent::Failed { problem, kept });
                    }
                }
            }
        }
        for entry in order.iter().filter(|entry| !held.contains(entry)) {
            let marks = marks(entry.files().map(PathBuf::as_path));
            let known = self.known.get(entry);
            if known.is_some_and(|known| known.marks == marks) {
                continue;
            }
            let before = known.and_then(|known| known.loaded.clone());
            let loaded = match entry.load() {
                Ok(certificate) => {
                    let path = entry.certificate.clone();
                    events.push(FileEvent::Loaded(path, certificate.clone()));
                    Some(certificate)
                }
                Err(problem) => {
                    let kept = before.is_some();
                    events.push(FileEvent::Failed { problem, kept });
                    before
                }
            };
            self.known.insert(entry.clone(), Known { marks, loaded });
        }
        for gone in self.order.iter().filter(|entry| !order.contains(entry)) {
            self.known.remove(gone);
            events.push(FileEvent::Gone(gone.certificate.clone()));
        }
        self.order = order;
        events
    }

    /// The certificates that can be used, in the order of the configuration.
    #[must_use]
    pub fn usable(&self) -> Vec<Certificate> {
        let loaded = |entry| self.known.get(entry)?.loaded.clone();
        self.order.iter().filter_map(loaded).collect()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    #[test]
    fn a_certificate_of_which_nothing_can_be_said_is_refused() {
        let key = KeyPair::generate().unwrap();
        let made = CertificateParams::new(["a.test".to_owned()])
            .unwrap()
            .self_signed(&key)
            .unwrap();
        let good = from_pem(&made.pem(), &key.serialize_pem()).unwrap();
        assert_eq!(good.names(), ["a.test"]);
        // Its end is no time any more; its key is still its own.
        let mut der = made.der().to_vec();
        let at = memchr::memmem::find(&der, b"40960101").unwrap();
        der[at + 8] = 0xb0;
        let bad = pair(vec![der.into()], key.serialize_der().try_into().unwrap());
        assert_eq!(
            bad.and_then(Certificate::new).unwrap_err(),
            "the certificate is malformed"
        );
    }
}
