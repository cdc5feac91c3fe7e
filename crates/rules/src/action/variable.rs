//! Variables.

use clearway_base::intern::Name;

use crate::fetch::{Context, Text};
use crate::scratch::Scratch;
use crate::view::View;

/// Sets a variable.
#[derive(Debug)]
pub(crate) struct Variable {
    name: Name,
    value: Text,
}

impl Variable {
    pub(super) fn new(name: &str, value: Text) -> Self {
        Self {
            name: Name::new(name),
            value,
        }
    }

    pub(super) fn apply(&self, view: &View<'_>, scratch: &mut Scratch) {
        scratch.lend(|scratch, room| {
            let value = self
                .value
                .render(&Context::for_templates(view, scratch), room);
            scratch.set_variable(self.name, value);
        });
    }
}
