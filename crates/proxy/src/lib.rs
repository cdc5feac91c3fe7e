//! The data plane: listeners, workers, the life of a request, layer 4.
//!
//! A worker owns everything its requests touch; what it shares is the immutable [`plan::Plan`], the
//! [`board::Board`] that control writes, and counters with one writer each. The data plane does not
//! know who diagnoses: it only publishes records of what happened.
//!
//! Start with [`plan::Plan`], [`worker::spawn`] and the picture in ARCHITECTURE.md; the request's
//! way is in `exchange`.

#![forbid(unsafe_code)]

pub mod access;
pub mod board;
mod body;
pub mod cache;
mod client;
pub mod compile;
mod exchange;
mod files;
pub mod issuance;
mod l4;
mod listener;
mod local;
mod named;
pub mod plan;
mod pool;
mod refuse;
mod slots;
pub mod stats;
pub mod status;
mod trunks;
pub mod worker;
