//! Certificates from a real authority: Pebble, the test server of Let's Encrypt.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests and their helpers report by panicking"
)]

mod demand;
mod fail;
mod issue;
mod renew;
mod support;
