//! Sockets, connecting, names, splice, kernel evidence, and probes of health and of causes.
//!
//! Beside `clearway-base` this is the only crate with `unsafe` in it: [`kernel`] and [`splice`] hold
//! every system call that the standard library, tokio and socket2 lack. What the kernel lists rather than
//! does is read in [`host`], through files and netlink.
//!
//! Not here: what to do about a failure. A failed connect comes back as an error number that
//! [`connect::fault`] turns into a [`clearway_outcome::FaultKind`]; who is tried next is decided above.

pub mod cgi;
pub mod connect;
pub mod dns;
pub mod h2;
pub mod host;
pub mod identity;
pub mod kernel;
pub mod listen;
pub mod probe;
pub mod splice;
pub mod stream;
pub mod timer;
pub mod tls;
pub mod wire;

#[cfg(test)]
mod testing;
