//! Everything that says how the lines of one access log look.

use clearway_outcome::Record;

use super::parcel::Values;
use super::{Escape, Given, Line, Template};
use crate::format::Format;

/// How the lines of an access log look, and which requests have one.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    body: Body,
    conditions: Vec<Template>,
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
            conditions: Vec::new(),
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
            conditions: Vec::new(),
        }
    }

    /// The same with lines only where each condition yields something else than `0`.
    #[must_use]
    pub fn when(self, conditions: Vec<Template>) -> Self {
        Self { conditions, ..self }
    }

    /// What the worker has to give, in this order: for the line, then for the conditions.
    pub fn given(&self) -> impl Iterator<Item = &Given> {
        let of_conditions = self.conditions.iter().flat_map(Template::given);
        self.of_line().iter().chain(of_conditions)
    }

    /// Appends the line with its end, if the request has one.
    pub fn write(&self, record: &Record<'_>, given: Values<'_>, out: &mut Vec<u8>) {
        let mut behind = self.of_line().len();
        for condition in &self.conditions {
            let line = Line {
                record,
                given: given.behind(behind),
                escape: Escape::None,
                empty: "",
            };
            if !condition.holds(&line) {
                return;
            }
            behind += condition.given().len();
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
