//! Certificates that are obtained while the process runs: what the data plane asks of whoever does it.

use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;

use clearway_net::tls::{Certificate, Issued};

/// What [`Issuance::ask`] returns: done when there is a certificate, or will be none for now.
pub type Asked<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// Obtains certificates from authorities, which validate names by asking listeners (RFC 8555 section 8).
///
/// Called from workers: everything but [`Issuance::ask`] returns at once and takes no lock.
pub trait Issuance: Debug + Send + Sync {
    /// The certificates that were obtained.
    fn issued(&self) -> &Arc<Issued>;

    /// The answer to http-01, when an authority asks for it at this path.
    fn http_answer(&self, path: &str) -> Option<Arc<str>>;

    /// Whether an authority may be about to validate a name by a handshake.
    fn expects_handshake(&self) -> bool;

    /// The answer to tls-alpn-01 for a server name.
    fn tls_answer(&self, server_name: &str) -> Option<Certificate>;

    /// Asks for a certificate that a client wants. Cancel safe: what has begun goes on.
    fn ask<'a>(&'a self, server_name: &'a str) -> Asked<'a>;
}
