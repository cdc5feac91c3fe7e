//! Why there is no new certificate: one closed table of kinds, and the words of one case.

mod translate;

use std::fmt;

use crate::clock;

pub(crate) use translate::{Step, of_error, of_problem};

/// Who has to act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Actor {
    /// Whoever writes this configuration.
    Configuration,
    /// Whoever runs this host: disk, clock, hook programs.
    Host,
    /// Whoever runs the network between this host and the authority: firewalls, forwarded ports.
    Network,
    /// Whoever runs the DNS zone of the name.
    Dns,
    /// Whoever holds the account at the authority.
    Account,
    /// The authority.
    Authority,
    /// Nobody: it passes by itself.
    Nobody,
}

impl Actor {
    /// Stable name for logs, metrics and JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Host => "host",
            Self::Network => "network",
            Self::Dns => "dns",
            Self::Account => "account",
            Self::Authority => "authority",
            Self::Nobody => "nobody",
        }
    }
}

/// Whom a failure holds up besides its certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// Every certificate of this issuer: it rests as a whole.
    Issuer,
    /// This certificate at this issuer; another issuer may do better.
    Name,
    /// This certificate at any issuer: another would fail in the same way.
    Anywhere,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident $code:literal $actor:ident $reach:ident $summary:literal;)*) => {
        /// What kind of failure it was. Codes are for ever.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum FailureKind {
            $($(#[$doc])* $kind,)*
        }

        impl FailureKind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$kind,)*];

            /// Stable code for logs, metrics and JSON.
            #[must_use]
            pub fn code(self) -> &'static str {
                match self { $(Self::$kind => $code,)* }
            }

            /// What it means, without the case at hand.
            #[must_use]
            pub fn summary(self) -> &'static str {
                match self { $(Self::$kind => $summary,)* }
            }

            /// Who has to act.
            #[must_use]
            pub fn actor(self) -> Actor {
                match self { $(Self::$kind => Actor::$actor,)* }
            }

            fn reach(self) -> Reach {
                match self { $(Self::$kind => Reach::$reach,)* }
            }
        }
    };
}

// Code, who has to act, whom it holds up, summary.
kinds! {
    /// No connection to the authority, or no answer in time.
    Unreachable "acme-unreachable" Network Issuer "the authority cannot be reached";
    /// The authority's own certificate is not trusted.
    Untrusted "acme-untrusted" Configuration Issuer "the authority's certificate is not trusted";
    /// What answered does not speak ACME.
    Protocol "acme-protocol" Authority Issuer "the answer is not ACME";
    /// The authority has an error of its own.
    AuthorityError "acme-authority-error" Authority Issuer "the authority has an internal error";
    /// The authority wants fewer requests.
    RateLimited "acme-rate-limited" Nobody Name "a rate limit of the authority is reached";
    /// The authority refused nonces again and again.
    BadNonce "acme-bad-nonce" Nobody Name "the authority refused fresh nonces";
    /// The account is refused, unknown or needs something.
    Account "acme-account" Account Issuer "the account is refused";
    /// The authority does not issue for this name.
    NameRefused "acme-name-refused" Configuration Name "the authority does not issue for this name";
    /// A CAA record forbids this authority.
    Caa "acme-caa" Dns Name "a CAA record forbids this authority";
    /// The name does not exist.
    NoSuchName "acme-no-such-name" Dns Name "the name does not exist";
    /// The authority got no usable answer from DNS.
    Dns "acme-dns" Dns Name "the authority cannot resolve the name";
    /// The authority could not connect to the name.
    Connection "acme-connection" Network Name "the authority cannot connect to the name";
    /// The TLS handshake of tls-alpn-01 failed.
    Tls "acme-tls" Host Name "the authority's TLS handshake failed";
    /// Something else than this balancer answered the challenge.
    WrongAnswer "acme-wrong-answer" Dns Name "the challenge was answered wrongly";
    /// No configured challenge is offered for the name.
    NoChallenge "acme-no-challenge" Configuration Anywhere "no configured challenge fits the name";
    /// The program that changes DNS records failed.
    Hook "acme-hook" Host Anywhere "the DNS hook failed";
    /// The name server refused the dynamic update.
    Update "acme-dns-update" Dns Anywhere "the DNS update was refused";
    /// The record did not become visible in time.
    NotVisible "acme-dns-not-visible" Dns Anywhere "the DNS record did not become visible";
    /// The request was refused as malformed.
    Refused "acme-refused" Authority Name "the authority refused the request";
    /// The order did not get ready in time.
    Slow "acme-slow" Authority Name "the authority did not finish the order in time";
    /// What was issued cannot be used.
    Unusable "acme-unusable" Authority Name "the certificate issued cannot be used";
    /// This host's clock differs much from the authority's.
    Clock "acme-clock" Host Name "the clock of this host is wrong";
    /// The storage could not be read or written.
    Storage "acme-storage" Host Anywhere "the certificate storage failed";
    /// A stored file is not what it should be.
    Damaged "acme-damaged" Host Name "a stored file is damaged";
    /// The settings make no sense.
    Settings "acme-settings" Configuration Name "the settings cannot be used";
    /// A bug of ours.
    Internal "acme-internal" Nobody Anywhere "an error of Clearway";
}

impl FailureKind {
    /// Whether another issuer may do better.
    #[must_use]
    pub fn tries_next_issuer(self) -> bool {
        self.reach() != Reach::Anywhere
    }

    /// Whether all certificates of the issuer wait, not only this one.
    #[must_use]
    pub fn rests_issuer(self) -> bool {
        self.reach() == Reach::Issuer
    }
}

/// One failure, with words a stranger can act on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What kind it was.
    pub kind: FailureKind,
    /// The issuer's name in the settings; empty when none is involved.
    pub issuer: String,
    /// The name it is about, where one of several is.
    pub name: Option<String>,
    /// What happened, as a clause.
    pub detail: String,
    /// What was found by looking around afterwards, as clauses.
    pub hints: Vec<String>,
    /// The authority does not want to be asked before this time (seconds since the Unix epoch).
    pub until: Option<u64>,
}

impl Failure {
    /// A failure without issuer and name.
    #[must_use]
    pub fn new(kind: FailureKind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            issuer: String::new(),
            name: None,
            detail: detail.into(),
            hints: Vec::new(),
            until: None,
        }
    }

    /// With the name it is about.
    #[must_use]
    pub fn about(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// With a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Who has to act.
    #[must_use]
    pub fn actor(&self) -> Actor {
        self.kind.actor()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.issuer.is_empty() {
            write!(f, "{}: ", self.issuer)?;
        }
        if let Some(name) = &self.name {
            write!(f, "{name}: ")?;
        }
        f.write_str(&self.detail)?;
        for hint in &self.hints {
            write!(f, "; {hint}")?;
        }
        if let Some(until) = self.until {
            write!(f, "; not before {}", clock::text(until))?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_each_kind_has_words() {
        let mut codes: Vec<_> = FailureKind::ALL.iter().map(|kind| kind.code()).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), FailureKind::ALL.len());
        for kind in FailureKind::ALL {
            assert!(!kind.summary().is_empty() && !kind.actor().name().is_empty());
            assert!(kind.code().starts_with("acme-"));
        }
    }

    #[test]
    fn the_words_are_one_sentence_with_all_there_is() {
        let mut failure = Failure::new(FailureKind::Connection, "port 80 cannot be reached")
            .about("example.org")
            .hint("it resolves to 192.0.2.7, which is not an address of this host");
        failure.issuer = "le".to_owned();
        failure.until = Some(1_767_225_600);
        assert_eq!(
            failure.to_string(),
            "le: example.org: port 80 cannot be reached; it resolves to 192.0.2.7, which is not an \
             address of this host; not before 2026-01-01T00:00:00Z"
        );
    }
}
