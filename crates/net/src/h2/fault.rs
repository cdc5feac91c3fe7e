//! What an error of the HTTP/2 library means.

use std::io;

use clearway_outcome::{FaultKind, Signal};
use h2::Reason;

/// An error of an HTTP/2 stream, inside an [`io::Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct H2Error {
    /// Which symptom.
    pub kind: FaultKind,
    /// What the peer said.
    pub signal: Option<Signal>,
}

impl std::fmt::Display for H2Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.signal {
            Some(signal) => write!(f, "{} ({signal})", self.kind.code()),
            None => f.write_str(self.kind.code()),
        }
    }
}

impl std::error::Error for H2Error {}

impl From<H2Error> for io::Error {
    fn from(error: H2Error) -> Self {
        Self::new(io::ErrorKind::ConnectionReset, error)
    }
}

/// The fault that a stream's error is, when it comes from HTTP/2.
#[must_use]
pub fn fault_of(error: &io::Error) -> Option<H2Error> {
    error.get_ref()?.downcast_ref::<H2Error>().copied()
}

/// Which side the other end of a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Other {
    Client,
    Server,
}

/// What an error of the library is, with the GOAWAY that came: the library does not tell all of it.
pub(super) fn of(error: &h2::Error, other: Other, goaway: Option<Signal>) -> H2Error {
    let code = error.reason().map_or(0, u32::from);
    let signal = match (error.is_remote(), error.is_go_away()) {
        (true, true) => goaway,
        (true, false) => Some(Signal::H2Reset(code)),
        (false, _) => None,
    };
    let kind = match other {
        Other::Client if error.is_remote() => FaultKind::ClientReset,
        Other::Client => FaultKind::H2Protocol,
        Other::Server if error.is_go_away() && error.is_remote() => FaultKind::ServerGoaway,
        Other::Server if error.is_remote() => reset_by_server(error.reason()),
        Other::Server => FaultKind::ServerH2Protocol,
    };
    H2Error { kind, signal }
}

/// A stream that a server reset.
pub(super) fn reset_by_server(reason: Option<Reason>) -> FaultKind {
    match reason {
        Some(Reason::REFUSED_STREAM) => FaultKind::ServerRefusedStream,
        _ => FaultKind::ServerResetStream,
    }
}
