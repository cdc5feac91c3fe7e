//! Control: one runtime beside the workers, for everything that is not on a request's way.
//!
//! It loads and reloads configurations, opens sockets, resolves names, checks servers, learns from
//! failures, keeps receipts, writes logs and answers the admin API. Workers hear from it through
//! [`clearway_proxy::worker::Command`] and the board; it hears from them through rings and counters.
//! Start with [`supervisor::Supervisor`].

#![forbid(unsafe_code)]

mod admin;
pub mod certificates;
pub mod client;
pub mod examine;
mod haproxy;
mod health;
mod incidents;
mod issuance;
mod logs;
mod metrics;
mod names;
mod passive;
pub mod receipts;
mod servers;
pub mod signals;
mod sockets;
pub mod state;
pub mod story;
pub mod supervisor;
mod task;
mod view;

pub use logs::try_logs;
pub use sockets::try_addresses;
