//! Variables.

use clearway_base::intern::Name;

use crate::fetch::{Context, Text};
use crate::scratch::{OF_SESSION, Scratch};
use crate::view::View;

/// Sets a variable. An empty text forgets it; a value that is not there leaves it as it was.
#[derive(Debug)]
pub(crate) struct Variable {
    name: Name,
    of_session: bool,
    value: Text,
}

impl Variable {
    pub(super) fn new(name: &str, value: Text) -> Self {
        Self {
            name: Name::new(name),
            of_session: name.starts_with(OF_SESSION),
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
            if self.of_session {
                scratch.set_session_variable(self.name, value);
            } else {
                scratch.set_variable(self.name, value);
            }
        });
    }
}
