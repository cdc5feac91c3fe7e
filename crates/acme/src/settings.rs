//! What a [`crate::Keeper`] is told: issuers, certificates, certificates on demand.
//!
//! Plain values. Debug forms leave secrets out.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::demand::Pattern;
use crate::dns::DnsProvider;
use crate::encoding;
use crate::name::{Name, Names};

/// Everything; may be replaced while the keeper runs.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Authorities, in the order in which they are tried.
    pub issuers: Vec<Arc<Issuer>>,
    /// Certificates wanted at all times.
    pub certificates: Vec<Arc<Wanted>>,
    /// Certificates obtained when a client asks for their name.
    pub on_demand: Option<OnDemand>,
    /// How names are resolved for hints and for finding name servers.
    pub resolver: clearway_net::dns::Settings,
    /// Addresses that lead to this host besides those of its interfaces, for example those of a NAT or
    /// of a floating address. Only hints depend on them.
    pub own_addresses: Vec<IpAddr>,
}

/// One authority and our account there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    /// What it is called in [`Terms::issuers`], words and metrics.
    pub name: String,
    /// The directory's URL (RFC 8555 section 7.1.1), `https` only.
    pub directory: String,
    /// Contact URIs such as `mailto:admin@example.org`.
    pub contact: Vec<String>,
    /// Binding to an account the authority knows already (RFC 8555 section 7.3.4).
    pub external_account: Option<ExternalAccount>,
    /// Whose certificate the directory may have.
    pub roots: Roots,
    /// A certificate profile the authority offers.
    pub profile: Option<String>,
    /// Whether to follow the authority's renewal information (RFC 9773), if it has any.
    pub renewal_info: bool,
}

impl Issuer {
    /// An issuer with the system's trust roots and without extras.
    #[must_use]
    pub fn new(name: &str, directory: &str) -> Self {
        Self {
            name: name.to_owned(),
            directory: directory.to_owned(),
            contact: Vec::new(),
            external_account: None,
            roots: Roots::System,
            profile: None,
            renewal_info: true,
        }
    }
}

/// A key that binds our account to one at the authority.
#[derive(Clone, PartialEq, Eq)]
pub struct ExternalAccount {
    /// The key's identifier.
    pub key_id: String,
    hmac_key: Vec<u8>,
}

impl ExternalAccount {
    /// Takes the identifier and the key in base64 of either alphabet, as authorities hand it out.
    ///
    /// # Errors
    /// When the key is no base64 or empty; the key is not repeated.
    pub fn new(key_id: &str, hmac_key: &str) -> Result<Self, String> {
        let hmac_key = encoding::base64(hmac_key)?;
        if hmac_key.is_empty() {
            return Err("the key of the external account is empty".to_owned());
        }
        Ok(Self {
            key_id: key_id.to_owned(),
            hmac_key,
        })
    }

    pub(crate) fn hmac_key(&self) -> &[u8] {
        &self.hmac_key
    }
}

impl fmt::Debug for ExternalAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExternalAccount")
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}

/// Whose certificates the directory may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Roots {
    /// Those the system trusts.
    System,
    /// Those in this PEM text and no others: a private authority.
    Pem(String),
}

/// The kind of a certificate's key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum KeyType {
    /// ECDSA on P-256: what every client of today takes, small and fast.
    #[default]
    EcdsaP256,
    /// ECDSA on P-384.
    EcdsaP384,
    /// RSA with 2,048 bits, for old clients.
    Rsa2048,
}

impl KeyType {
    /// Stable name for configuration and status.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::EcdsaP256 => "ecdsa-p256",
            Self::EcdsaP384 => "ecdsa-p384",
            Self::Rsa2048 => "rsa-2048",
        }
    }
}

/// A way to prove control over a name.
#[derive(Clone, Debug)]
pub enum Challenge {
    /// A file over HTTP on port 80 (RFC 8555 section 8.3).
    Http01,
    /// A handshake on port 443 (RFC 8737).
    TlsAlpn01,
    /// A TXT record (RFC 8555 section 8.4); the only one that wildcards can have.
    Dns01(Arc<DnsProvider>),
}

impl Challenge {
    /// Its name in the protocol.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Http01 => "http-01",
            Self::TlsAlpn01 => "tls-alpn-01",
            Self::Dns01(_) => "dns-01",
        }
    }

    /// Whether it can prove control over a name: wildcards only by dns-01 (RFC 8555 section 7.1.3),
    /// addresses only by the others (RFC 8738 section 7).
    #[must_use]
    pub fn fits(&self, name: &Name) -> bool {
        match self {
            Self::Dns01(_) => name.ip().is_none(),
            Self::Http01 | Self::TlsAlpn01 => !name.is_wildcard(),
        }
    }
}

/// How certificates are obtained.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// The kind of key.
    pub key_type: KeyType,
    /// Whether a renewal keeps the key. A new key each time bounds the harm of a stolen one.
    pub reuse_key: bool,
    /// Ways to prove control, best first. When a try fails, the next try begins with the next way.
    pub challenges: Vec<Challenge>,
    /// Names of issuers to use; all of them when empty. Their order is that of [`Settings::issuers`].
    pub issuers: Vec<String>,
}

/// One certificate wanted.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The names it is for. Equal names are the same certificate.
    pub names: Names,
    /// How it is obtained.
    pub terms: Terms,
}

/// Certificates that are obtained when a client asks for their name.
#[derive(Clone, Debug)]
pub struct OnDemand {
    /// Which names may be asked for.
    pub allow: Vec<Pattern>,
    /// How many may be ordered at once.
    pub burst: u32,
    /// How many may be ordered per hour after that.
    pub per_hour: u32,
    /// How many are held at most.
    pub max: usize,
    /// How they are obtained.
    pub terms: Terms,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let account = ExternalAccount::new("kid-1", "c2VjcmV0").unwrap();
        assert_eq!(account.hmac_key(), b"secret");
        let shown = format!("{account:?}");
        assert!(shown.contains("kid-1") && !shown.contains("115"), "{shown}");
        assert!(ExternalAccount::new("kid", "").is_err());
    }

    #[test]
    fn challenges_fit_what_the_protocol_allows() {
        let name = |text| Name::parse(text).unwrap();
        assert!(Challenge::Http01.fits(&name("a.org")));
        assert!(!Challenge::Http01.fits(&name("*.a.org")));
        assert!(Challenge::TlsAlpn01.fits(&name("192.0.2.1")));
    }
}
