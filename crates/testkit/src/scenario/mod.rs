//! Scenarios: a fault that is real on the wire, requests through a balancer, and what has to be said
//! about it.
//!
//! One file each in `scenarios/`, in TOML; a key that is not known is an error with its place. The
//! `scenario` program runs one of them in namespaces of its own, `cargo xtask scenarios` runs all.

mod expect;
mod file;
mod peer;
mod read;
mod request;
mod run;
mod verdict;

pub use file::{Balancer, Dns, Expect, Request, Scenario, Server, Step, Value, Wait, Way};
pub use peer::{Kind, Peer};
pub(crate) use read::duration;
pub use run::{Options, Report, judge_kept, run};
pub use verdict::{Place, Verdict};
