//! Pages of errors with values of the request in them.

use std::fmt;
use std::sync::Arc;

use super::answer::Answer;
use super::fields;
use crate::ast::{Definitions, Template};
use crate::compile::Compiler;
use crate::scratch::Scratch;
use crate::view::{LocalReply, View};

/// A page whose headers or body hold values of the request.
#[derive(Clone)]
pub struct Page(Arc<Answer>);

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Page").finish_non_exhaustive()
    }
}

impl Page {
    /// Compiles a page. Without a body it has headers alone.
    ///
    /// # Errors
    /// A value that is not known, or a header that rules cannot set.
    pub fn compile(
        body: Option<&Template>,
        headers: &[(String, Template)],
        definitions: &Definitions,
    ) -> Result<Self, String> {
        let mut compiler = Compiler::new(definitions);
        let nothing = Template::literal("");
        let body = compiler.text(body.unwrap_or(&nothing))?;
        let headers = fields(headers, &mut compiler)?;
        Answer::reply(200, "", body, headers).map(|answer| Self(Arc::new(answer)))
    }

    /// Its headers and body where they are the same for all requests.
    #[must_use]
    pub fn constant(&self) -> Option<LocalReply> {
        self.0.constant()
    }

    /// Its headers and body for a request; of the status that goes with them it knows nothing.
    #[must_use]
    pub fn render(&self, view: &View<'_>, scratch: &mut Scratch) -> LocalReply {
        scratch.begin(view);
        self.0.to(view, scratch)
    }
}
