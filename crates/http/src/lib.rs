//! HTTP/1 without I/O: heads as spans over one buffer, body framing, encoding, PROXY headers.
//!
//! Parsing is strict and every refusal is a fault kind of its own, chosen here. Nothing is copied:
//! a head points into the buffer it was read into, edits are kept beside it, and encoding writes both
//! in one pass. The structures are made to be used again; a warm one parses without allocating.
//!
//! Not here: sockets, time-outs, routing. Start with [`RequestHead::parse`] and [`encode_request`].

#![forbid(unsafe_code)]

pub mod cgi;
mod chunked;
pub mod coding;
mod date;
mod edits;
mod encode;
mod head;
pub mod proxy_protocol;
mod reply;
mod request;
mod response;
mod scan;
pub mod uri;

pub use chunked::{ChunkedDecoder, Relayed, write_chunk_header};
pub use date::DateCache;
pub use edits::{Edits, edited_lines};
pub use encode::{
    ForwardPolicy, ResponseOptions, XForwarded, encode_interim, encode_request, encode_response,
    via_count,
};
pub use head::{Field, Framing, HeadLimits, Known, Method, Progress, Span, Tolerance, Version};
pub use reply::{Reply, reason, write_reply};
pub use request::RequestHead;
pub use response::ResponseHead;
