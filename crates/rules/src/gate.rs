//! A condition by itself, for what is decided before there is a request.

use crate::ast::{Condition, Definitions};
use crate::compile::Compiler;
use crate::matcher::Check;
use crate::scratch::Scratch;
use crate::view::View;

/// A condition, compiled.
#[derive(Debug)]
pub struct Gate {
    check: Check,
}

impl Gate {
    /// Compiles a condition, with the maps that it may refer to.
    ///
    /// # Errors
    /// A sentence about a mistake in it, or about what only a response has.
    pub fn compile(condition: &Condition, definitions: &Definitions) -> Result<Self, String> {
        let mut compiler = Compiler::new(definitions);
        let (check, needs) = compiler.asking(|compiler| compiler.check(condition));
        match needs.response {
            None => check.map(|check| Self { check }),
            Some(fetch) => Err(format!("{fetch:?} is known only with a response")),
        }
    }

    /// Whether it holds.
    pub fn holds(&self, view: &View<'_>, scratch: &mut Scratch) -> bool {
        scratch.begin(view);
        self.check.holds(view, scratch)
    }
}
