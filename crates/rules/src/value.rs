//! Single values, for whoever wants to know something of a request without deciding anything: logs.

use crate::ast::{Definitions, Fetch, Since, Template};
use crate::compile::Compiler;
use crate::fetch::{Context, Source, Text};
use crate::scratch::Scratch;
use crate::view::View;

/// A fetch, compiled.
#[derive(Clone, Debug)]
pub struct Value {
    source: Source,
    since: Since,
}

impl Value {
    /// Compiles a fetch, with the maps that it may refer to.
    ///
    /// # Errors
    /// A sentence: there is no such map, or there is a mistake in it.
    pub fn compile(fetch: &Fetch, definitions: &Definitions) -> Result<Self, String> {
        let mut compiler = Compiler::new(definitions);
        let (source, needs) = compiler.asking(|compiler| compiler.source(fetch));
        let since = match needs.response {
            Some(_) => Since::Response,
            None => Since::Request,
        };
        Ok(Self {
            source: source?,
            since,
        })
    }

    /// From when on it can be had.
    #[must_use]
    pub fn since(&self) -> Since {
        self.since
    }

    /// Shows the value as it came, of several the first; `None` when there is none.
    ///
    /// `scratch` must belong to the request: see [`Value::begin`].
    pub fn show(&self, view: &View<'_>, scratch: &Scratch, look: &mut dyn FnMut(Option<&[u8]>)) {
        let context = Context::for_templates(view, scratch);
        let mut found = false;
        self.source.visit(&context, &mut |value| {
            found = true;
            look(Some(value));
            true
        });
        if !found {
            look(None);
        }
    }

    /// Prepares the memory of rules for [`Value::show`], should no rule have run.
    pub fn begin(view: &View<'_>, scratch: &mut Scratch) {
        scratch.begin(view);
    }
}

/// A template, compiled, for whoever writes it somewhere else than into a head.
#[derive(Clone, Debug)]
pub struct Phrase(Text);

impl Phrase {
    /// Compiles a template, with the maps that it may refer to.
    ///
    /// # Errors
    /// A sentence: there is no such map, or there is a mistake in it.
    pub fn compile(template: &Template, definitions: &Definitions) -> Result<Self, String> {
        Compiler::new(definitions).text(template).map(Self)
    }

    /// Appends the text.
    pub fn write(&self, view: &View<'_>, scratch: &mut Scratch, out: &mut Vec<u8>) {
        scratch.begin(view);
        self.0.write(&Context::for_templates(view, scratch), out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn values_are_shown_as_they_came_and_what_is_not_there_is_told() {
        let request = testing::get("/a%2e?q=%41", &["Host: A.test", "X-A: 1", "X-A: 2"]);
        let view = request.view();
        let mut scratch = Scratch::default();
        Value::begin(&view, &mut scratch);
        for (fetch, wanted) in [
            ("host", Some("a.test")),
            ("header:x-a", Some("1")),
            ("header:x-b", None),
            ("query:q", Some("%41")),
            ("var:none", None),
        ] {
            let fetch = Fetch::parse(fetch).unwrap();
            let value = Value::compile(&fetch, &Definitions::default()).unwrap();
            assert_eq!(value.since(), Since::Request);
            let mut seen = Vec::new();
            value.show(&view, &scratch, &mut |value| {
                seen.push(value.map(|v| String::from_utf8(v.to_vec()).unwrap()));
            });
            assert_eq!(seen, [wanted.map(str::to_owned)], "{fetch}");
        }
        let status = Value::compile(&Fetch::Status, &Definitions::default()).unwrap();
        assert_eq!(status.since(), Since::Response);
        assert!(Value::compile(&Fetch::Map("m".to_owned()), &Definitions::default()).is_err());
    }
}
