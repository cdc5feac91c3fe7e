//! TLS with clients and servers: the only place that knows the library.
//!
//! [`ServerTls`] is a listener's side, compiled once and shared by all workers; [`ClientTls`] is the
//! side towards a backend's servers. A handshake is a value that is polled ([`Accepting`],
//! [`Connecting`]), so that its caller keeps the deadline; it ends with a [`TlsStream`] and
//! [`clearway_outcome::TlsFacts`], or with a [`TlsFailure`] that names the fault.

mod accept;
mod certificates;
mod client_auth;
mod connect;
pub mod facts;
mod fault;
mod files;
mod handshake;
pub mod hello;
mod inspect;
mod key_log;
mod presented;
mod provider;
mod stream;

pub use accept::{
    Accepting, CHALLENGE_ALPN, Profile, Refused, ServerSettings, ServerTls, Sessions,
};
pub use certificates::{Certificate, Certificates, Issued, Obtained, name_matches};
pub use client_auth::ClientAuth;
pub use connect::{ClientSettings, ClientTls, Connecting, Trust, server_name, system_roots};
pub use fault::{TlsFailure, fault_of};
pub use files::{
    FileEvent, FileProblem, Files, Marks, Source, certificates, challenge, from_pem, marks,
    revocation_lists,
};
pub use handshake::HandshakeError;
pub use inspect::{Inspection, InspectionSettings, Presented};
pub use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, ServerName};
pub use stream::TlsStream;
