//! A certificate with its chain and key: reading, checking, keeping in one file.

use std::fmt;
use std::net::IpAddr;

use instant_acme::CertificateIdentifier;
use rcgen::{KeyPair, PublicKeyData};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, Der};
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::encoding::hex;
use crate::name::{Name, Names};
use crate::policy::Validity;
use crate::settings::KeyType;

/// A clock may differ from the authority's by this much.
const CLOCK_SLACK: u64 = 5 * 60;

/// A certificate, its chain and its key.
#[derive(Clone)]
pub struct Certificate {
    /// The chain, leaf first, as PEM.
    pub chain_pem: String,
    /// The key as PKCS#8 PEM. A secret.
    pub key_pem: String,
    /// What the leaf says.
    pub facts: Facts,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("facts", &self.facts)
            .finish_non_exhaustive()
    }
}

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// From when until when.
    pub validity: Validity,
    /// Its serial number in hexadecimal.
    pub serial: String,
    /// The names it is for, as it spells them.
    pub names: Vec<String>,
    /// Who issued it, as it spells it.
    pub issuer: String,
    /// The kind of its key, if it is one of ours.
    pub key_type: Option<KeyType>,
    /// How renewal information calls it (RFC 9773 section 4.1); `None` when it lacks what that needs.
    pub info_id: Option<(String, String)>,
}

impl Facts {
    pub(crate) fn identifier(&self) -> Option<CertificateIdentifier<'static>> {
        let (authority, serial) = self.info_id.clone()?;
        Some(CertificateIdentifier {
            authority_key_identifier: authority.into(),
            serial: serial.into(),
        })
    }
}

impl Certificate {
    /// Takes a chain and a key as PEM.
    ///
    /// # Errors
    /// When the chain cannot be read or the key is not the certificate's, in words.
    pub fn new(chain_pem: &str, key_pem: &str) -> Result<Self, String> {
        let chain: Vec<CertificateDer<'_>> = CertificateDer::pem_slice_iter(chain_pem.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|error| format!("the chain is not PEM: {error}"))?;
        let leaf = chain.first().ok_or("the chain is empty")?;
        for (index, link) in chain.iter().enumerate().skip(1) {
            X509Certificate::from_der(link)
                .map_err(|error| format!("certificate {} of the chain: {error}", index + 1))?;
        }
        let (_, parsed) =
            X509Certificate::from_der(leaf).map_err(|error| format!("the certificate: {error}"))?;
        let key = KeyPair::from_pem(key_pem).map_err(|error| format!("the key: {error}"))?;
        if key.subject_public_key_info() != parsed.tbs_certificate.subject_pki.raw {
            return Err("the key is not the certificate's".to_owned());
        }
        Ok(Self {
            chain_pem: chain_pem.to_owned(),
            key_pem: key_pem.to_owned(),
            facts: facts(&parsed, &key),
        })
    }

    /// Reads the one file that [`Certificate::to_file`] writes.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn from_file(bytes: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "it is not text".to_owned())?;
        let first = text
            .find("-----BEGIN CERTIFICATE-----")
            .ok_or("there is no certificate in it")?;
        let (key, chain) = text.split_at(first);
        if !key.contains("PRIVATE KEY-----") {
            return Err("there is no key before the certificate".to_owned());
        }
        Self::new(chain, key)
    }

    /// Key and chain as one PEM text: a single file changes as a whole or not at all.
    #[must_use]
    pub fn to_file(&self) -> String {
        let key = self.key_pem.trim_end();
        format!("{key}\n{}\n", self.chain_pem.trim_end())
    }

    /// Whether it can serve: it has all names and is valid now.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn check(&self, names: &Names, now: u64) -> Result<(), String> {
        let Validity {
            not_before,
            not_after,
        } = self.facts.validity;
        if not_after <= now {
            return Err(format!("it expired at {}", crate::clock::text(not_after)));
        }
        if not_before > now + CLOCK_SLACK {
            let from = crate::clock::text(not_before);
            return Err(format!(
                "it is not valid before {from}: the clock of this host may be behind"
            ));
        }
        match names.iter().find(|name| !self.has(name)) {
            Some(missing) => Err(format!("it is not for {missing}")),
            None => Ok(()),
        }
    }

    fn has(&self, name: &Name) -> bool {
        let names = self.facts.names.iter();
        names
            .filter_map(|own| Name::parse(own).ok())
            .any(|own| own.covers(name))
    }
}

fn facts(parsed: &X509Certificate<'_>, key: &KeyPair) -> Facts {
    let seconds = |time: i64| u64::try_from(time).unwrap_or(0);
    let validity = parsed.validity();
    let names = parsed
        .subject_alternative_name()
        .ok()
        .flatten()
        .map(|found| {
            found
                .value
                .general_names
                .iter()
                .filter_map(general_name)
                .collect()
        })
        .unwrap_or_default();
    let authority = parsed.iter_extensions().find_map(|extension| {
        if let ParsedExtension::AuthorityKeyIdentifier(found) = extension.parsed_extension() {
            found.key_identifier.as_ref().map(|id| id.0.to_vec())
        } else {
            None
        }
    });
    let info_id = authority.map(|authority| {
        let id = CertificateIdentifier::new(
            Der::from_slice(&authority),
            Der::from_slice(parsed.raw_serial()),
        );
        (
            id.authority_key_identifier.into_owned(),
            id.serial.into_owned(),
        )
    });
    Facts {
        validity: Validity {
            not_before: seconds(validity.not_before.timestamp()),
            not_after: seconds(validity.not_after.timestamp()),
        },
        serial: hex(parsed.raw_serial()),
        names,
        issuer: crate::encoding::one_line(&parsed.issuer().to_string(), 200),
        key_type: key_type(key),
        info_id,
    }
}

fn general_name(name: &GeneralName<'_>) -> Option<String> {
    if let GeneralName::DNSName(dns) = name {
        return Some((*dns).to_owned());
    }
    let GeneralName::IPAddress(bytes) = name else {
        return None;
    };
    let four = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
    let address = four.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from));
    address.ok().map(|address| address.to_string())
}

fn key_type(key: &KeyPair) -> Option<KeyType> {
    let algorithm = key.algorithm();
    if algorithm == &rcgen::PKCS_ECDSA_P256_SHA256 {
        Some(KeyType::EcdsaP256)
    } else if algorithm == &rcgen::PKCS_ECDSA_P384_SHA384 {
        Some(KeyType::EcdsaP384)
    } else if algorithm == &rcgen::PKCS_RSA_SHA256 {
        Some(KeyType::Rsa2048)
    } else {
        None
    }
}

/// Makes a fresh key.
///
/// # Errors
/// When the random number generator fails, in words.
pub(crate) fn new_key(kind: KeyType) -> Result<KeyPair, String> {
    let made = match kind {
        KeyType::EcdsaP256 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
        KeyType::EcdsaP384 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384),
        KeyType::Rsa2048 => {
            KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048)
        }
    };
    made.map_err(|error| format!("a key cannot be made: {error}"))
}

#[cfg(test)]
pub(crate) mod testing {
    use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, IsCa, Issuer};

    use super::*;

    /// A certificate for `names` that is valid from 2020 until 2040, from an authority of its own.
    pub(crate) fn certificate(names: &[&str], kind: KeyType) -> Certificate {
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = Issuer::new(authority, new_key(KeyType::EcdsaP256).unwrap());
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.use_authority_key_identifier_extension = true;
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2040, 1, 1);
        let key = new_key(kind).unwrap();
        let made = params.signed_by(&key, &authority).unwrap();
        Certificate::new(&made.pem(), &key.serialize_pem()).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::testing::certificate;
    use super::*;

    const IN_2026: u64 = 1_767_225_600;

    fn names(texts: &[&str]) -> Names {
        Names::new(texts.iter().map(|text| Name::parse(text).unwrap())).unwrap()
    }

    #[test]
    fn what_is_written_is_read_again_for_every_kind_of_key() {
        for kind in [KeyType::EcdsaP256, KeyType::EcdsaP384, KeyType::Rsa2048] {
            let made = certificate(&["a.org", "192.0.2.1"], kind);
            let read = Certificate::from_file(made.to_file().as_bytes()).unwrap();
            assert_eq!(read.facts, made.facts);
            assert_eq!(read.facts.key_type, Some(kind));
            assert_eq!(read.facts.names, ["a.org", "192.0.2.1"]);
            assert_eq!(read.facts.validity.not_before, 1_577_836_800);
            assert!(read.facts.identifier().is_some());
        }
    }

    #[test]
    fn a_certificate_is_checked_before_it_serves() {
        let made = certificate(&["a.org", "*.b.org"], KeyType::EcdsaP256);
        assert_eq!(made.check(&names(&["a.org", "x.b.org"]), IN_2026), Ok(()));
        let told = made.check(&names(&["c.org"]), IN_2026).unwrap_err();
        assert_eq!(told, "it is not for c.org");
        let told = made.check(&names(&["a.org"]), 3_000_000_000).unwrap_err();
        assert!(told.starts_with("it expired at 2040-01-01"), "{told}");
        let told = made.check(&names(&["a.org"]), 1_000).unwrap_err();
        assert!(told.contains("clock"), "{told}");
    }

    #[test]
    fn damaged_files_say_what_is_wrong() {
        let (a, b) = (
            certificate(&["a.org"], KeyType::EcdsaP256),
            certificate(&["b.org"], KeyType::EcdsaP256),
        );
        let mixed = format!("{}{}", a.key_pem, b.chain_pem);
        let half = a.to_file();
        let half: String = half.chars().take(half.len() - 200).collect();
        for (file, why) in [
            (mixed.as_str(), "not the certificate's"),
            (half.as_str(), "PEM"),
            ("", "no certificate"),
            (b.chain_pem.as_str(), "no key"),
        ] {
            let told = Certificate::from_file(file.as_bytes()).unwrap_err();
            assert!(told.contains(why), "{told}");
        }
        assert!(Certificate::from_file(&[0xff, 0xfe]).is_err());
    }

    #[test]
    fn debug_shows_no_key() {
        let made = certificate(&["a.org"], KeyType::EcdsaP256);
        assert!(!format!("{made:?}").contains("PRIVATE"));
    }
}
