//! What a keeper tells: certificates to use, and what happened.

use std::fmt;

use crate::clock;
use crate::failure::Actor;
use crate::name::Names;

/// A certificate to be used from now on.
#[derive(Clone)]
pub struct Issued {
    /// What it is called ([`Names::id`]); one with the same id takes the place of the former.
    pub id: String,
    /// The names it is wanted for.
    pub names: Names,
    /// The chain, leaf first, as PEM.
    pub chain_pem: String,
    /// The key as PEM. A secret.
    pub key_pem: String,
    /// Until when it is valid (seconds since the Unix epoch).
    pub not_after: u64,
    /// Whether a client asked for it.
    pub on_demand: bool,
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued")
            .field("id", &self.id)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

/// What happened, for logs and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// There is a certificate where there was none.
    Issued {
        /// The certificate.
        id: String,
        /// Who issued it.
        issuer: String,
        /// Until when it is valid.
        not_after: u64,
    },
    /// A certificate has its successor.
    Renewed {
        /// The certificate.
        id: String,
        /// Who issued it.
        issuer: String,
        /// Until when it is valid.
        not_after: u64,
    },
    /// One was found in the storage: at start, or obtained by another process.
    Loaded {
        /// The certificate.
        id: String,
        /// Until when it is valid.
        not_after: u64,
    },
    /// An issuer did not give one. Another may have: then an event of that follows.
    Failed {
        /// The certificate.
        id: String,
        /// Stable code of the kind.
        code: &'static str,
        /// Who has to act.
        actor: Actor,
        /// What went wrong, with name, issuer and hints.
        words: String,
        /// When the next try comes; `None` when it follows at once or waits for a client.
        next: Option<u64>,
    },
    /// A certificate is no longer kept.
    Dropped {
        /// The certificate.
        id: String,
        /// Why.
        words: String,
    },
    /// Something that belongs to no certificate, such as a damaged file.
    Trouble {
        /// What it is.
        words: String,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let until = |time: &u64| clock::text(*time);
        match self {
            Self::Issued {
                id,
                issuer,
                not_after,
            } => {
                write!(
                    f,
                    "{id}: issued by {issuer}, valid until {}",
                    until(not_after)
                )
            }
            Self::Renewed {
                id,
                issuer,
                not_after,
            } => {
                write!(
                    f,
                    "{id}: renewed by {issuer}, valid until {}",
                    until(not_after)
                )
            }
            Self::Loaded { id, not_after } => {
                write!(f, "{id}: loaded, valid until {}", until(not_after))
            }
            Self::Failed {
                id,
                words,
                next: Some(next),
                ..
            } => {
                write!(f, "{id}: {words}; next try at {}", until(next))
            }
            Self::Failed {
                id,
                words,
                next: None,
                ..
            } => write!(f, "{id}: {words}"),
            Self::Dropped { id, words } => write!(f, "{id}: {words}"),
            Self::Trouble { words } => f.write_str(words),
        }
    }
}

/// Who is told. Called from the keeper's task, so it must return quickly.
pub trait Receiver: Send + Sync + 'static {
    /// Takes a certificate into use.
    fn certificate(&self, issued: Issued);

    /// Takes note of what happened.
    fn event(&self, event: Event);
}
