//! Variables.

use clearway_base::intern::Name;

use crate::fetch::{Context, Text};
use crate::scratch::Scratch;
use crate::view::View;

/// Sets a variable. An empty text forgets it; a value that is not there leaves it as it was.
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
        if self.value.constant().is_some_and(<[u8]>::is_empty) {
            return scratch.unset_variable(self.name);
        }
        scratch.lend(|scratch, room| {
            let at = Context::for_templates(view, scratch);
            if self.value.is_missing(&at) {
                return;
            }
            let value = self.value.render(&at, room);
            scratch.set_variable(self.name, value);
        });
    }
}
