//! Files from the disk, as far as no connection is needed: which file answers ([`look`]), whether the
//! client has it already ([`condition`]), which parts it asks for ([`range`]), what a folder holds
//! ([`listing`]).
//!
//! Names and heads of files are looked up on the worker's thread: they lie in the kernel's memory nearly
//! always, and the body is read in pieces between which others have their turn.

pub(crate) mod condition;
pub(crate) mod listing;
pub(crate) mod look;
pub(crate) mod range;
mod types;

pub(crate) use types::media_type;

use std::fs::File;
use std::sync::Arc;

use clearway_rules::FileSettings;

/// A file that answers a request.
pub(crate) struct Found {
    pub(crate) settings: Arc<FileSettings>,
    pub(crate) body: Body,
    /// The media type; none when empty.
    pub(crate) media_type: String,
    /// When it was modified, in seconds since 1970.
    pub(crate) modified: Option<u64>,
    /// The strong tag with its quotes.
    pub(crate) etag: Option<String>,
    /// The coding that it has.
    pub(crate) coding: Option<&'static str>,
    /// Whether there is another for clients that take other codings.
    pub(crate) varies: bool,
}

/// Where the bytes come from.
pub(crate) enum Body {
    /// A file and its length.
    File(File, u64),
    /// A text of our own.
    Text(Vec<u8>),
    /// A body that was kept.
    Kept(Arc<[u8]>),
}

impl Body {
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::File(_, len) => *len,
            Self::Text(text) => text.len() as u64,
            Self::Kept(bytes) => bytes.len() as u64,
        }
    }
}

/// A date as headers have it (RFC 9110 section 5.6.7).
pub(crate) fn http_date(seconds: u64) -> [u8; 29] {
    *clearway_http::DateCache::new().at(seconds.saturating_mul(1_000_000))
}
