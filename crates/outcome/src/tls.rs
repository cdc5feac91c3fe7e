//! What is known about a TLS connection: what was agreed, and the certificate that the peer showed.

/// What a certificate says about itself (RFC 5280).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Distinguished name of the subject, e.g. `CN=app.example.org,O=Example`; may be empty.
    pub subject: String,
    /// Distinguished name of the issuer.
    pub issuer: String,
    /// DNS names and IP addresses it is for.
    pub names: Vec<String>,
    /// Valid from, in seconds since 1970.
    pub not_before: i64,
    /// Valid until, in seconds since 1970.
    pub not_after: i64,
    /// Serial number in lower-case hexadecimal.
    pub serial: String,
    /// SHA-256 of the certificate in lower-case hexadecimal.
    pub fingerprint: String,
}

/// What became of the peer's certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum CertificateVerdict {
    /// None was asked for, or none was sent.
    #[default]
    None,
    /// It was verified.
    Verified,
    /// It was not looked at.
    NotVerified,
    /// It was refused.
    Refused,
}

impl CertificateVerdict {
    /// Every verdict, in order.
    pub const ALL: &'static [Self] =
        &[Self::None, Self::Verified, Self::NotVerified, Self::Refused];

    /// Stable name for logs and headers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Verified => "verified",
            Self::NotVerified => "not-verified",
            Self::Refused => "refused",
        }
    }
}

/// What is known about a TLS connection, with a client or a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFacts {
    /// The version agreed on, as it stands in the protocol (0x0304 = TLS 1.3); 0 = none yet.
    pub version: u16,
    /// The version that the client's hello began with, where it was read by itself; else 0.
    pub offered: u16,
    /// The cipher suite agreed on, as it stands in the protocol; 0 = none yet.
    pub cipher: u16,
    /// The name asked for (SNI); empty when none was.
    pub server_name: String,
    /// The application protocol agreed on (ALPN); empty when none was.
    pub alpn: Vec<u8>,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
    /// The certificate that the peer showed.
    pub certificate: Option<CertificateFacts>,
    /// What became of it.
    pub verdict: CertificateVerdict,
    /// Why it was refused, in words; empty otherwise.
    pub refusal: String,
    /// What a client offered that is passed through.
    pub offer: TlsOffer,
}

/// What a client offers whose connection is passed through, where nothing is agreed on here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsOffer {
    /// The highest version, as it stands in the protocol; 0 = none that is known.
    pub version: u16,
    /// The application protocols (ALPN) in the client's order, with commas between.
    pub alpn: Vec<u8>,
}

impl TlsOffer {
    /// `TLSv1.3` down to `SSLv3`; nothing for a version that is not known.
    #[must_use]
    pub fn version_name(&self) -> Option<&'static str> {
        Some(match self.version {
            0x0304 => "TLSv1.3",
            0x0303 => "TLSv1.2",
            0x0302 => "TLSv1.1",
            0x0301 => "TLSv1",
            0x0300 => "SSLv3",
            _ => return None,
        })
    }
}

impl TlsFacts {
    /// `TLSv1.3` or `TLSv1.2`, as NGINX and HAProxy write it; `-` before a version was agreed on.
    #[must_use]
    pub fn version_name(&self) -> &'static str {
        match self.version {
            0x0304 => "TLSv1.3",
            0x0303 => "TLSv1.2",
            _ => "-",
        }
    }

    /// The registered name of the cipher suite (IANA), `-` for none or one that is not spoken here.
    #[must_use]
    pub fn cipher_name(&self) -> &'static str {
        match self.cipher {
            0x1301 => "TLS_AES_128_GCM_SHA256",
            0x1302 => "TLS_AES_256_GCM_SHA384",
            0x1303 => "TLS_CHACHA20_POLY1305_SHA256",
            0xc02b => "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
            0xc02c => "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
            0xc02f => "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
            0xc030 => "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
            0xcca8 => "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
            0xcca9 => "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
            _ => "-",
        }
    }
}
