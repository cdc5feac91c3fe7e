//! The certificate that was refused last on this thread.
//!
//! The library calls a verifier in the middle of a handshake and tells the connection nothing of what
//! it saw; whoever polled the handshake looks here right after it has failed.

use std::cell::RefCell;

use clearway_outcome::CertificateFacts;

use super::facts;

thread_local! {
    static REFUSED: RefCell<Option<CertificateFacts>> = const { RefCell::new(None) };
}

/// Notes a refused certificate.
pub(super) fn note(der: &[u8]) {
    REFUSED.set(facts::certificate(der));
}

/// The certificate that was refused last.
pub(super) fn take() -> Option<CertificateFacts> {
    REFUSED.take()
}
