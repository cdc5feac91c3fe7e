//! A condition or a text by itself, for what is decided before there is a request.

use crate::ast::{Condition, Definitions, Template};
use crate::compile::{Compiler, Needs};
use crate::fetch::{Context, Text};
use crate::matcher::Check;
use crate::scratch::Scratch;
use crate::view::View;

/// A condition, compiled.
#[derive(Debug)]
pub struct Gate {
    check: Check,
    hello: bool,
}

impl Gate {
    /// Compiles a condition, with the maps that it may refer to.
    ///
    /// # Errors
    /// A sentence about a mistake in it, or about what only a response has.
    pub fn compile(condition: &Condition, definitions: &Definitions) -> Result<Self, String> {
        let mut compiler = Compiler::new(definitions);
        let (check, needs) = compiler.asking(|compiler| compiler.check(condition));
        before_response(&needs)?;
        let hello = needs.hello;
        check.map(|check| Self { check, hello })
    }

    /// Whether it looks at the ClientHello of a client that is passed through.
    #[must_use]
    pub fn needs_hello(&self) -> bool {
        self.hello
    }

    /// The same where there is a response already.
    ///
    /// # Errors
    /// A sentence about a mistake in it.
    pub fn compile_late(condition: &Condition, definitions: &Definitions) -> Result<Self, String> {
        let check = Compiler::new(definitions).check(condition);
        check.map(|check| Self {
            check,
            hello: false,
        })
    }

    /// Whether it holds.
    pub fn holds(&self, view: &View<'_>, scratch: &mut Scratch) -> bool {
        scratch.begin(view);
        self.check.holds(view, scratch)
    }
}

fn before_response(needs: &Needs) -> Result<(), String> {
    match &needs.response {
        None => Ok(()),
        Some(fetch) => Err(format!("{fetch:?} is known only with a response")),
    }
}

/// A text with values in it, compiled.
#[derive(Debug)]
pub struct Words {
    text: Text,
    hello: bool,
}

impl Words {
    /// Compiles a text, with the maps that it may refer to.
    ///
    /// # Errors
    /// A sentence about a mistake in it, or about what only a response has.
    pub fn compile(template: &Template, definitions: &Definitions) -> Result<Self, String> {
        let mut compiler = Compiler::new(definitions);
        let (text, needs) = compiler.asking(|compiler| compiler.text(template));
        before_response(&needs)?;
        let hello = needs.hello;
        text.map(|text| Self { text, hello })
    }

    /// Whether it tells of the ClientHello of a client that is passed through.
    #[must_use]
    pub fn needs_hello(&self) -> bool {
        self.hello
    }

    /// Writes the text.
    pub fn write(&self, view: &View<'_>, scratch: &mut Scratch, out: &mut Vec<u8>) {
        scratch.begin(view);
        let context = Context::for_templates(view, scratch);
        self.text.write(&context, out);
    }
}
