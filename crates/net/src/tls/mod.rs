//! TLS: what is known about a connection and what a client offers.
//!
//! Not here: what to do about it. A bad peer becomes a [`clearway_outcome::FaultKind`]; routes and
//! retries are decided above.

pub mod facts;
pub mod hello;
