//! The page of statistics: what the data plane asks of whoever keeps the numbers.

use std::fmt::Debug;
use std::pin::Pin;

use clearway_rules::LocalReply;
use clearway_rules::ast::StatusPage;

/// What [`Statistics::page`] returns.
pub type Rendering<'a> = Pin<Box<dyn Future<Output = LocalReply> + Send + 'a>>;

/// Renders pages of statistics.
///
/// Called from workers: the work is done elsewhere, and no lock is taken meanwhile.
pub trait Statistics: Debug + Send + Sync {
    /// The answer to a request for `target`. Cancel safe.
    fn page<'a>(&'a self, page: &'a StatusPage, target: &'a [u8]) -> Rendering<'a>;
}
