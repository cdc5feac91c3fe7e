//! Asking another route whether a request may go on.

use std::sync::Arc;

use clearway_base::intern::Name;

use super::{Step, When};
use crate::compile::Compiler;
use crate::fetch::{Context, Text};
use crate::scratch::Scratch;
use crate::view::View;

/// The step that asks.
///
/// # Errors
/// See [`AskPlan::new`].
pub(super) fn step(
    path: &str,
    set: &[(String, crate::ast::Template)],
    compiler: &Compiler<'_>,
) -> Result<(When, Step), String> {
    let plan = AskPlan::new(path, set, compiler)?;
    Ok((When::Request, Step::Ask(plan)))
}

/// A question: by which route, and what is kept of the answer.
#[derive(Debug)]
pub struct AskPlan {
    /// The path that the route is looked for with, perhaps with a query.
    pub path: Vec<u8>,
    set: Box<[(Name, Text)]>,
}

/// Two are equal when they are one.
impl PartialEq for AskPlan {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for AskPlan {}

impl AskPlan {
    /// # Errors
    /// What is kept cannot be had.
    pub(super) fn new(
        path: &str,
        set: &[(String, crate::ast::Template)],
        compiler: &Compiler<'_>,
    ) -> Result<Arc<Self>, String> {
        if !path.starts_with('/') {
            return Err(format!("{path:?} is not a path: it does not begin with /"));
        }
        // What the answer says is looked at when it is there, not with the response to the client.
        let mut apart = compiler.apart();
        let set = set
            .iter()
            .map(|(name, text)| Ok((Name::new(name), apart.text(text)?)));
        Ok(Arc::new(Self {
            path: path.as_bytes().to_vec(),
            set: set.collect::<Result<_, String>>()?,
        }))
    }

    /// Keeps what is wanted of the answer, which the view has, in variables.
    pub fn note(&self, view: &View<'_>, scratch: &mut Scratch) {
        for (name, text) in &self.set {
            scratch.lend(|scratch, room| {
                let at = Context::for_templates(view, scratch);
                let value = text.render(&at, room);
                scratch.set_variable(*name, value);
            });
        }
    }

    /// The variables that it sets.
    pub(crate) fn names(&self) -> impl Iterator<Item = Name> {
        self.set.iter().map(|(name, _)| *name)
    }
}
