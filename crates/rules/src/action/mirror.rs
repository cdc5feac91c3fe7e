//! Copies of a request that go to other routes as well.

use std::sync::Arc;

use super::{Step, When};

/// The step that has a copy sent.
///
/// # Errors
/// See [`Mirror::new`].
pub(super) fn step(path: &str, body: bool) -> Result<(When, Step), String> {
    let mirror = Mirror::new(path, body)?;
    Ok((When::Request, Step::Mirror(mirror)))
}

/// Where a copy goes.
#[derive(Debug, PartialEq, Eq)]
pub struct Mirror {
    /// The path that the route is looked for with; the request's own query goes behind it, unless it has one.
    pub path: Vec<u8>,
    /// Whether the body goes along.
    pub body: bool,
}

impl Mirror {
    /// # Errors
    /// What is no path.
    pub(super) fn new(path: &str, body: bool) -> Result<Arc<Self>, String> {
        if !path.starts_with('/') {
            return Err(format!("{path:?} is not a path: it does not begin with /"));
        }
        Ok(Arc::new(Self {
            path: path.as_bytes().to_vec(),
            body,
        }))
    }
}
