//! Authorities and certificates of tests, made on the spot.

use std::time::{Duration, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, PKCS_RSA_SHA256,
    RevokedCertParams, RsaKeySize, SerialNumber, date_time_ymd,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

const DAY: u64 = 86_400;

/// What a certificate is to say.
#[derive(Clone, Debug)]
pub struct Wish {
    names: Vec<String>,
    common_name: String,
    is_rsa: bool,
    /// Seconds from now.
    from: i64,
    until: i64,
    for_clients_only: bool,
}

impl Wish {
    /// A certificate for these DNS names and IP addresses, with an ECDSA key, valid for 90 days since
    /// yesterday.
    #[must_use]
    pub fn of(names: &[&str]) -> Self {
        let first = names.first().copied().unwrap_or("nameless");
        Self {
            names: names.iter().map(|&name| name.to_owned()).collect(),
            common_name: first.to_owned(),
            is_rsa: false,
            from: -seconds(1),
            until: seconds(90),
            for_clients_only: false,
        }
    }

    /// With an RSA key.
    #[must_use]
    pub fn rsa(mut self) -> Self {
        self.is_rsa = true;
        self
    }

    /// Which ended yesterday.
    #[must_use]
    pub fn expired(mut self) -> Self {
        (self.from, self.until) = (-seconds(30), -seconds(1));
        self
    }

    /// Which begins tomorrow.
    #[must_use]
    pub fn early(mut self) -> Self {
        (self.from, self.until) = (seconds(1), seconds(30));
        self
    }

    /// Which ends in some days, of 90.
    #[must_use]
    pub fn ends_in_days(mut self, days: u64) -> Self {
        (self.from, self.until) = (seconds(days) - seconds(90), seconds(days));
        self
    }

    /// With a common name that is not the first of its names.
    #[must_use]
    pub fn called(mut self, common_name: &str) -> Self {
        common_name.clone_into(&mut self.common_name);
        self
    }

    /// That servers may not use.
    #[must_use]
    pub fn for_clients_only(mut self) -> Self {
        self.for_clients_only = true;
        self
    }

    fn params(&self) -> CertificateParams {
        let mut params = CertificateParams::new(self.names.clone()).expect("names of certificates");
        params.distinguished_name = rcgen::DistinguishedName::new();
        let name = self.common_name.as_str();
        params.distinguished_name.push(DnType::CommonName, name);
        let epoch = date_time_ymd(1970, 1, 1);
        (params.not_before, params.not_after) = (epoch + at(self.from), epoch + at(self.until));
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if !self.for_clients_only {
            let server = ExtendedKeyUsagePurpose::ServerAuth;
            params.extended_key_usages.push(server);
        }
        params.serial_number = Some(serial());
        params
    }

    fn key(&self) -> KeyPair {
        match self.is_rsa {
            true => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048),
            false => KeyPair::generate(),
        }
        .expect("a key")
    }
}

fn seconds(days: u64) -> i64 {
    i64::try_from(days * DAY).expect("a few days")
}

/// The time so many seconds from now, as it is added to the year 1970.
#[expect(
    clippy::disallowed_methods,
    reason = "tests have no clock but the real one"
)]
fn at(from_now: i64) -> Duration {
    let now = std::time::SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.expect("a clock after 1970").as_secs();
    Duration::from_secs(now.saturating_add_signed(from_now))
}

/// A serial number of one's own, so that revocation lists mean one certificate.
fn serial() -> SerialNumber {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    SerialNumber::from_slice(&[&[0x10], number.to_be_bytes().as_slice()].concat())
}

/// Who issues certificates.
#[derive(Debug)]
pub struct Authority {
    params: CertificateParams,
    key: KeyPair,
    own: CertificateDer<'static>,
    /// What is sent behind a certificate: this authority and those above it, without the root.
    chain: Vec<CertificateDer<'static>>,
}

impl Authority {
    /// A root with a name.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let (params, key) = Self::prepared(name);
        let own = params.self_signed(&key).expect("a certificate");
        Self {
            own: own.der().clone(),
            chain: Vec::new(),
            params,
            key,
        }
    }

    /// An authority that this one vouches for.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn below(&self, name: &str) -> Self {
        let (params, key) = Self::prepared(name);
        let own = params
            .signed_by(&key, &self.issuer())
            .expect("a certificate")
            .der()
            .clone();
        let mut chain = vec![own.clone()];
        chain.extend(self.chain.iter().cloned());
        Self {
            params,
            key,
            own,
            chain,
        }
    }

    fn prepared(name: &str) -> (CertificateParams, KeyPair) {
        let wish = Wish::of(&[]).called(name);
        let mut params = wish.params();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.extended_key_usages.clear();
        (params, wish.key())
    }

    fn issuer(&self) -> Issuer<'_, &KeyPair> {
        Issuer::from_params(&self.params, &self.key)
    }

    /// A certificate for names, as [`Wish::of`] says.
    #[must_use]
    pub fn issue(&self, names: &[&str]) -> Identity {
        self.grant(&Wish::of(names))
    }

    /// A certificate as wished.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn grant(&self, wish: &Wish) -> Identity {
        let (params, key) = (wish.params(), wish.key());
        let own = params.signed_by(&key, &self.issuer());
        let mut chain = vec![own.expect("a certificate").der().clone()];
        chain.extend(self.chain.iter().cloned());
        Identity::new(chain, &key, params)
    }

    /// Its own certificate (PEM).
    #[must_use]
    pub fn pem(&self) -> String {
        pem("CERTIFICATE", &self.own)
    }

    /// Its own certificate (DER).
    #[must_use]
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.own
    }

    /// A list (PEM) that says of these that they are revoked.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn revokes(&self, identities: &[&Identity]) -> String {
        let epoch = date_time_ymd(1970, 1, 1);
        let revoked = |identity: &&Identity| RevokedCertParams {
            serial_number: identity.serial.clone(),
            revocation_time: epoch + at(-3_600),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: epoch + at(-3_600),
            next_update: epoch + at(seconds(7)),
            crl_number: serial(),
            issuing_distribution_point: None,
            revoked_certs: identities.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let signed = list.signed_by(&self.issuer()).expect("a revocation list");
        signed.pem().expect("PEM")
    }
}

/// A certificate with its key.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate and what is sent behind it.
    pub chain: Vec<CertificateDer<'static>>,
    key: Vec<u8>,
    serial: SerialNumber,
}

impl Identity {
    fn new(chain: Vec<CertificateDer<'static>>, key: &KeyPair, params: CertificateParams) -> Self {
        Self {
            chain,
            key: key.serialize_der(),
            serial: params.serial_number.unwrap_or_else(serial),
        }
    }

    /// A certificate that vouches for itself.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn self_signed(wish: &Wish) -> Self {
        let (params, key) = (wish.params(), wish.key());
        let own = params.self_signed(&key).expect("a certificate");
        Self::new(vec![own.der().clone()], &key, params)
    }

    /// A chain and a key (PKCS #8) in one text (PEM).
    ///
    /// # Panics
    /// When it is something else.
    #[must_use]
    pub fn from_pem(text: &str) -> Self {
        let chain = CertificateDer::pem_slice_iter(text.as_bytes());
        let key = PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes()).expect("a key");
        Self {
            chain: chain.map(|der| der.expect("a certificate")).collect(),
            key: key.secret_pkcs8_der().to_vec(),
            // Only whoever issues certificates asks for it.
            serial: SerialNumber::from(0),
        }
    }

    /// The certificate alone.
    ///
    /// # Panics
    /// Never: there is one.
    #[must_use]
    pub fn leaf(&self) -> &CertificateDer<'static> {
        self.chain.first().expect("a certificate")
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.clone()).into()
    }

    /// The chain (PEM).
    #[must_use]
    pub fn chain_pem(&self) -> String {
        self.chain
            .iter()
            .map(|der| pem("CERTIFICATE", der))
            .collect()
    }

    /// The key (PEM).
    #[must_use]
    pub fn key_pem(&self) -> String {
        pem("PRIVATE KEY", &self.key)
    }

    /// Chain and key in one text (PEM).
    #[must_use]
    pub fn pem(&self) -> String {
        self.chain_pem() + &self.key_pem()
    }

    /// The serial number in lower-case hexadecimal.
    #[must_use]
    pub fn serial(&self) -> String {
        let bytes = self.serial.to_bytes();
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Chain and key (PEM) of a certificate that is described in words: `names=app.test,10.0.0.1`,
/// `by=root`, `middle`, `other` or `self`, `expired`, `early`, `rsa`, `clients` (not for servers) and
/// `leaf` (sent without the authorities between it and the root).
pub(crate) fn wished(words: &str, [root, middle, other]: [&Authority; 3]) -> String {
    let mut names = vec!["app.test"];
    let mut by = "root";
    let mut is_alone = false;
    let mut change: Vec<fn(Wish) -> Wish> = Vec::new();
    for word in words.split_whitespace() {
        match word.split_once('=').unwrap_or((word, "")) {
            ("names", list) => names = list.split(',').collect(),
            ("by", name) => by = name,
            ("expired", _) => change.push(Wish::expired),
            ("early", _) => change.push(Wish::early),
            ("rsa", _) => change.push(Wish::rsa),
            ("clients", _) => change.push(Wish::for_clients_only),
            ("leaf", _) => is_alone = true,
            (other, _) => panic!("{other:?} says nothing about certificates"),
        }
    }
    let wish = change
        .into_iter()
        .fold(Wish::of(&names), |wish, change| change(wish));
    let mut identity = match by {
        "root" => root.grant(&wish),
        "middle" => middle.grant(&wish),
        "other" => other.grant(&wish),
        "self" => Identity::self_signed(&wish),
        _ => panic!("there is no authority {by:?}"),
    };
    if is_alone {
        identity.chain.truncate(1);
    }
    identity.pem()
}

/// DER as PEM (RFC 7468).
fn pem(label: &str, der: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in base64(der).as_bytes().chunks(64) {
        text.push_str(&String::from_utf8_lossy(line));
        text.push('\n');
    }
    text + &format!("-----END {label}-----\n")
}

/// RFC 4648 section 4.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for group in bytes.chunks(3) {
        let word = [0, 1, 2].iter().fold(0_u32, |word, &at| {
            word << 8 | u32::from(*group.get(at).unwrap_or(&0))
        });
        for at in 0..4 {
            let letter = LETTERS[(word >> (18 - 6 * at) & 63) as usize];
            out.push(if at > group.len() {
                '='
            } else {
                char::from(letter)
            });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pem_is_what_others_read() {
        use rustls_pki_types::pem::PemObject;
        assert_eq!(base64(b"f"), "Zg==");
        assert_eq!(base64(b"foobar"), "Zm9vYmFy");
        let root = Authority::new("root");
        let identity = root.below("middle").issue(&["a.test", "127.0.0.1"]);
        let read: Vec<CertificateDer<'_>> =
            CertificateDer::pem_slice_iter(identity.pem().as_bytes())
                .map(Result::unwrap)
                .collect();
        assert_eq!(read, identity.chain);
        let key = PrivateKeyDer::from_pem_slice(identity.pem().as_bytes()).unwrap();
        assert_eq!(key, identity.key());
    }
}
