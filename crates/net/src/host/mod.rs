//! What this host's kernel knows beside the facts about one connection: counters, listeners, routes,
//! neighbours, limits, processes.
//!
//! Everything here looks and changes nothing. An error says that it could not be looked, and why;
//! `None`, an empty list and 0 say that it was looked and nothing was there. No function needs
//! privileges, unless it says so. Each reads what the kernel makes up on the spot, which takes
//! microseconds, or milliseconds where a list of sockets or processes is read: never call them from a
//! worker.

mod cgroup;
mod counters;
mod icmp;
mod kernel_log;
mod limits;
mod netlink;
mod process;
mod route;
mod sockets;
mod text;
mod unix;

pub use cgroup::cgroup;
pub use counters::counters;
pub use icmp::IcmpEar;
pub use kernel_log::kernel_log;
pub use limits::{all_files, conntrack, somaxconn};
pub use process::{Owners, files, process};
pub use route::{is_local, neighbour, route};
pub use sockets::{listeners, ports, sockets_at, sockets_to};
pub use unix::{unix_listener, unix_listeners};
