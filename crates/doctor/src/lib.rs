//! Why requests fail: evidence goes in, ranked causes with fixes come out.
//!
//! It does no I/O and knows no clock: whoever holds a [`Case`] feeds it with what was seen, runs the probes
//! it asks for, and prints what it says. So the same reasoning runs inside the balancer, from the command
//! line over somebody else's logs, and in tests.
//!
//! Start with [`Case`], [`Cause`] and [`Verdict`]; judges are in `judge/`, one per cause.

#![forbid(unsafe_code)]

pub mod case;
pub mod cause;
pub mod docket;
pub mod evidence;
pub mod group;
mod judge;
mod opinion;
pub mod page;
pub mod report;
mod verdict;
mod view;

pub use case::{Backdrop, Case, Subject, Successes, View};
pub use cause::{Cause, Page, Stage};
pub use docket::Docket;
pub use evidence::{Fact, Finding, Probe, Source};
pub use group::{Group, Symptom};
pub use opinion::{Confidence, Fix, Opinion, Site};
pub use verdict::{Alternative, Verdict};
