//! HTTP/2 peers that say exactly what they are told, right or wrong (RFC 9113).
//!
//! Nothing here goes by a library's idea of the protocol: [`Frame`] writes any header and any
//! payload, [`Block`] any header block, and what comes back is kept frame by frame. [`RawClient`]
//! plays a client, [`behave`] holds scripts for a server ([`crate::Server::script`]) whose
//! connections are a [`Peer`] each. All of it is synchronous, over whatever is [`Bytes`].

pub mod behave;
mod client;
mod frame;
pub mod hpack;
pub mod huffman;
mod link;
mod peer;
mod reply;
mod windows;

pub use client::{Answer, GoAway, RawClient};
pub use frame::{Frame, PREFACE, code, flag, kind, setting};
pub use hpack::{Block, Form};
pub use link::{Bytes, Link, Message, Stop};
pub use peer::{Peer, Play};
pub use reply::{Last, Pairs, Reply, Step};

#[cfg(test)]
mod tests;
