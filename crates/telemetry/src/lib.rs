//! What Clearway tells about its work: histograms, metrics, log lines, receipts, `Proxy-Status`.
//!
//! No I/O; recording costs plain loads and stores; whatever a client or server sent is escaped before
//! it is printed, so that one record is always one line. Start with [`codec::encode`],
//! [`format::Format`] and [`receipt::words`].

#![forbid(unsafe_code)]

pub mod catalogue;
pub mod codec;
mod escape;
pub mod format;
mod histogram;
pub mod line;
pub mod proxy_status;
pub mod read;
pub mod receipt;
pub mod redact;
#[cfg(test)]
mod sample;

pub use histogram::{Counts, Histogram};
