//! Where accounts and certificates are kept: one small trait, and folders on disk.
//!
//! Keys are paths of segments in lower case, such as `certificates/example.org-0123.pem`. A lock has an
//! owner and an end, so that an owner that crashed blocks nobody for ever.

mod disk;

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

pub use disk::DiskStorage;

/// What a storage call returns later. Dropping it may leave the work going on to its end.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = Result<T, StorageError>> + Send + 'a>>;

/// Keeps values by key, and locks by name. Shared by every task of a keeper, maybe by several hosts.
pub trait Storage: Send + Sync + 'static {
    /// The value of a key, or `None` when there is none.
    fn load<'a>(&'a self, key: &'a str) -> Later<'a, Option<Vec<u8>>>;

    /// Replaces the value of a key as a whole: a reader sees the old one or the new one.
    fn store<'a>(&'a self, key: &'a str, value: &'a [u8]) -> Later<'a, ()>;

    /// Removes a key. One that is not there is fine.
    fn delete<'a>(&'a self, key: &'a str) -> Later<'a, ()>;

    /// The keys directly below a folder, sorted.
    fn list<'a>(&'a self, folder: &'a str) -> Later<'a, Vec<String>>;

    /// Takes a lock for `hold`, if nobody has it, or whoever had it is over its time or known to be gone.
    fn lock<'a>(&'a self, name: &'a str, hold: Duration) -> Later<'a, Locked>;

    /// Holds a lock of ours for another `hold` from now; false when it is not ours any more.
    fn extend<'a>(&'a self, lease: &'a Lease, hold: Duration) -> Later<'a, bool>;

    /// Gives a lock back. One that is not ours any more is left alone.
    fn unlock<'a>(&'a self, lease: &'a Lease) -> Later<'a, ()>;
}

/// Whether a lock was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Locked {
    /// We have it.
    Ours(Lease),
    /// Somebody else has it.
    Theirs {
        /// Who, for words.
        owner: String,
        /// Until when, in seconds since the Unix epoch.
        until: u64,
    },
}

/// A lock that we have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The lock's name.
    pub name: String,
    /// A number that grows with each owner of this lock.
    pub fence: u64,
}

/// Why the storage failed: what was tried, where, and the system's reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageError(pub String);

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StorageError {}
