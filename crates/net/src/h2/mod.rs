//! HTTP/2 (RFC 9113) with clients and servers: the only place that knows the library.
//!
//! A [`Session`] is a client's connection, a [`Trunk`] one to a server. Each of their streams is an
//! [`H2Stream`], which behaves like an HTTP/1.1 connection for one message: heads are read and written
//! as text, bodies as bytes without any framing, the end is an end. So whoever relays between
//! connections needs to know of HTTP/2 only that bodies are not chunked and that ends are told.
//!
//! Every frame that comes in is metered; what costs work and brings nothing is a fault of its own
//! kind once there is too much of it.

mod fault;
mod io;
mod meter;
mod session;
mod stream;
mod text;
mod trunk;

pub use fault::{H2Error, fault_of};
pub use session::{Incoming, Session, SessionSettings};
pub use stream::H2Stream;
pub use trunk::{Driver, Trunk, TrunkSettings};

/// What a client sends first (RFC 9113 section 3.4).
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
