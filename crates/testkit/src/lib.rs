//! Everything a black-box test of Clearway needs: the balancer as a child process, servers and
//! clients that follow a script byte by byte, real peers, a name server and network namespaces.
//!
//! Plain threads and blocking sockets, so that a script reads top-down and owes nothing to the
//! runtime under test. Whatever a test waits for is an event with a deadline ([`wait`]); nothing
//! sleeps. Helpers report by panicking with a sentence that says what was expected.
//!
//! Start with [`Clearway::start`], [`Server::script`] with the scripts of [`behave`], and
//! [`Client::connect`].
#![forbid(unsafe_code)]
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests report by panicking"
)]

pub mod behave;
pub mod bind;
pub mod clearway;
pub mod client;
pub mod dns;
pub mod faulty;
pub mod h2;
pub mod lab;
pub mod message;
pub mod metrics;
pub mod netns;
pub mod pebble;
pub mod peers;
pub mod pki;
pub mod process;
pub mod scenario;
pub mod server;
pub mod shapes;
pub mod stream;
pub mod temp;
pub mod tls;
pub mod wait;

pub use clearway::{Clearway, Setup};
pub use client::Client;
pub use message::{End, Request, Response};
pub use metrics::Metrics;
pub use pki::{Authority, Identity, Wish};
pub use server::{Conn, Server};
pub use temp::TempDir;
pub use tls::{TlsClient, TlsServer};
pub use wait::Gate;
