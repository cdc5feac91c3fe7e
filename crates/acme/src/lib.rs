//! Certificates by ACME (RFC 8555): obtained, kept fresh, and explained when that fails.
//!
//! A [`Keeper`] takes [`Settings`] (issuers, certificates wanted, names that may be asked for on demand),
//! a [`Storage`] and an [`Answers`] registry, runs as one task, and hands every new certificate to a
//! [`Receiver`]. It knows nothing of listeners: whoever serves port 80 and 443 looks into [`Answers`] to
//! answer the challenges http-01 and tls-alpn-01.
//!
//! What always holds:
//! - A failure never takes a working certificate away. It is told in words ([`Failure`]), with who has to
//!   act, and the next try comes after a pause that grows.
//! - When to renew is a pure function of time and facts ([`policy`]).
//! - Nothing found in the storage is deleted because it cannot be read: it is reported and left.
//! - What strangers can make grow (names on demand, answers, bodies, texts of an authority) is bounded.
//!
//! Not here: the ACME protocol itself (instant-acme), the configuration language, sockets that serve.
//! Start with [`Keeper::new`].

#![forbid(unsafe_code)]

pub mod answers;
pub mod certificate;
mod clock;
pub mod demand;
pub mod dns;
mod encoding;
pub mod failure;
mod hints;
mod issue;
pub mod keeper;
pub mod name;
pub mod policy;
mod record;
pub mod settings;
pub mod status;
pub mod storage;

pub use answers::Answers;
pub use certificate::Certificate;
pub use clock::Clock;
pub use failure::{Actor, Failure, FailureKind};
pub use keeper::{Event, Handle, Issued, Keeper, Receiver};
pub use name::{Name, Names};
pub use settings::{
    Challenge, ExternalAccount, Issuer, KeyType, OnDemand, Roots, Settings, Terms, Wanted,
};
pub use status::{CertificateStatus, Status};
pub use storage::{DiskStorage, Storage};
