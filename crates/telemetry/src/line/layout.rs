//! Everything that says how the lines of one access log look.

use clearway_outcome::Record;

use super::parcel::Values;
use super::{Escape, Given, Line, Template};
use crate::format::Format;

/// How the lines of an access log look, and which requests have one.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    body: Body,
    condition: Option<Template>,
}

#[derive(Clone, Debug, PartialEq)]
enum Body {
    Own(Format),
    Template {
        template: Template,
        escape: Escape,
        empty: Box<str>,
    },
}

impl Layout {
    /// Lines in one of our own formats.
    #[must_use]
    pub fn own(format: Format) -> Self {
        Self {
            body: Body::Own(format),
            condition: None,
        }
    }

    /// Lines from a template; `empty` stands in the place of values that are empty or not there.
    #[must_use]
    pub fn template(template: Template, escape: Escape, empty: &str) -> Self {
        Self {
            body: Body::Template {
                template,
                escape,
                empty: empty.into(),
            },
            condition: None,
        }
    }

    /// The same with lines only where the condition yields something else than `0`.
    #[must_use]
    pub fn when(self, condition: Option<Template>) -> Self {
        Self { condition, ..self }
    }

    /// What the worker has to give, in this order: for the line, then for the condition.
    pub fn given(&self) -> impl Iterator<Item = &Given> {
        let condition = self.condition.as_ref().map(Template::given);
        self.of_line()
            .iter()
            .chain(condition.unwrap_or_default().iter())
    }

    /// Appends the line with its end, if the request has one.
    pub fn write(&self, record: &Record<'_>, given: Values<'_>, out: &mut Vec<u8>) {
        if let Some(condition) = &self.condition {
            let line = Line {
                record,
                given: given.behind(self.of_line().len()),
                escape: Escape::None,
                empty: "",
            };
            if !condition.holds(&line) {
                return;
            }
        }
        match &self.body {
            Body::Own(format) => format.write(record, out),
            Body::Template {
                template,
                escape,
                empty,
            } => {
                let (escape, empty) = (*escape, &**empty);
                let line = Line {
                    record,
                    given,
                    escape,
                    empty,
                };
                template.write(&line, out);
                out.push(b'\n');
            }
        }
    }

    fn of_line(&self) -> &[Given] {
        match &self.body {
            Body::Own(_) => &[],
            Body::Template { template, .. } => template.given(),
        }
    }
}
