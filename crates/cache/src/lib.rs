//! Keeping responses and giving them again (RFC 9111): which may be kept and for how long ([`keep`]),
//! whether one that is kept answers a request ([`Kept`]), and where they are kept ([`Store`]).
//!
//! No I/O and no clock: moments come as seconds since 1970. What is kept is bounded in bytes, and the longest
//! unused is given up first.

#![forbid(unsafe_code)]

mod directives;
mod keep;
mod kept;
mod store;

pub use keep::{Request, Response, Rules, Terms, age_of, keep, wants_fresh};
pub use kept::Kept;
pub use store::{Bounds, Seen, Store};
