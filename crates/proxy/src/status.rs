//! The page of statistics: what the data plane asks of whoever keeps the numbers.

use std::fmt::Debug;
use std::pin::Pin;

use clearway_rules::LocalReply;
use clearway_rules::ast::StatusPage;

/// What [`Statistics::page`] returns.
pub type Rendering<'a> = Pin<Box<dyn Future<Output = LocalReply> + Send + 'a>>;

/// What was sent to a page of statistics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Posted {
    /// A form, whole.
    Form(Vec<u8>),
    /// More than there is room for.
    TooLong,
    /// It comes from a page of another site, of which nobody here has to know.
    Foreign,
}

/// Renders pages of statistics.
///
/// Called from workers: the work is done elsewhere, and no lock is taken meanwhile.
pub trait Statistics: Debug + Send + Sync {
    /// The answer to a request for `target`. Cancel safe.
    fn page<'a>(&'a self, page: &'a StatusPage, target: &'a [u8]) -> Rendering<'a>;

    /// The answer to what was sent to `target` with POST. Cancel safe: what was begun is done.
    fn posted<'a>(&'a self, page: &'a StatusPage, target: &'a [u8], form: Posted) -> Rendering<'a>;
}
