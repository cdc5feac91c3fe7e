//! A picture of all certificates, for metrics and the admin API.

use crate::settings::KeyType;

/// The state of a keeper at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Every certificate, sorted by id.
    pub certificates: Vec<CertificateStatus>,
    /// Every issuer, in the order of the settings.
    pub issuers: Vec<IssuerStatus>,
    /// Troubles of settings and storage that belong to no certificate.
    pub troubles: Vec<String>,
}

/// The state of one certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateStatus {
    /// What it is called ([`crate::Names::id`]).
    pub id: String,
    /// Its names.
    pub names: Vec<String>,
    /// Whether a client asked for it.
    pub on_demand: bool,
    /// Which issuer the one in use came from.
    pub issuer: Option<String>,
    /// The serial number of the one in use, in hexadecimal.
    pub serial: Option<String>,
    /// The kind of key of the one in use.
    pub key_type: Option<KeyType>,
    /// Until when the one in use is valid (seconds since the Unix epoch); `None` when there is none.
    pub not_after: Option<u64>,
    /// When it is renewed, or obtained if there is none.
    pub next: u64,
    /// What that moment follows from.
    pub reason: Reason,
    /// A page of the authority that explains why it wants a renewal.
    pub explanation: Option<String>,
    /// Whether an order is under way.
    pub running: bool,
    /// Failures in a row, at the issuer that failed most.
    pub failures: u32,
    /// The last failures in words, one per issuer tried.
    pub last_failure: Option<String>,
    /// Code of the last failure ([`crate::FailureKind::code`]).
    pub last_code: Option<String>,
}

/// What the next moment follows from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// There is no usable certificate.
    Missing,
    /// The lifetime of the certificate.
    Lifetime,
    /// The authority's renewal information.
    RenewalInfo,
    /// The pause after a failure.
    Pause,
    /// Somebody asked for a renewal, or the settings want another kind of key.
    Asked,
    /// Another process has the order.
    Elsewhere,
}

impl Reason {
    /// Stable name for logs and JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Lifetime => "lifetime",
            Self::RenewalInfo => "renewal-info",
            Self::Pause => "pause",
            Self::Asked => "asked",
            Self::Elsewhere => "elsewhere",
        }
    }
}

/// The state of one issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerStatus {
    /// Its name in the settings.
    pub name: String,
    /// It rests until then because it failed as a whole; 0 when it does not.
    pub rests_until: u64,
    /// Why it rests, in words.
    pub last_failure: Option<String>,
}
