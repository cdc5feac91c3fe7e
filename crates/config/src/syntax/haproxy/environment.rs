//! What a configuration that is to be run finds around it.

use std::collections::BTreeMap;

use super::condition;
use crate::diagnostic::Origin;

/// Environment variables, as a configuration reads and changes them, and what it has said.
///
/// The process's own environment stays as it is: reading a configuration again begins with the variables
/// that the process was started with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    notices: Vec<Notice>,
}

/// Something that a configuration has said while it was read, by `.notice` or `.diag`.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    /// Where it says it.
    pub origin: Origin,
    /// What it says.
    pub message: String,
    /// Whether it is meant only for who asks for diagnostics (`.diag`).
    pub is_diagnostic: bool,
}

/// Why a condition has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unanswered {
    /// What is wrong with it.
    pub message: String,
    /// Where, in characters from its beginning.
    pub at: usize,
}

impl Environment {
    /// An environment with these variables.
    #[must_use]
    pub fn new(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        Self {
            variables: variables.into_iter().collect(),
            notices: Vec::new(),
        }
    }

    /// What a variable is set to.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// Sets a variable.
    pub fn set(&mut self, name: &str, value: &str) {
        self.variables.insert(name.to_owned(), value.to_owned());
    }

    /// What was said by files that were read with it, in order.
    #[must_use]
    pub fn notices(&self) -> &[Notice] {
        &self.notices
    }

    /// Whether a condition holds, as in `.if` and `-cc`.
    ///
    /// # Errors
    /// When it cannot be understood.
    pub fn holds(&self, condition: &str) -> Result<bool, Unanswered> {
        condition::evaluate(condition, self)
    }

    /// Sets a variable unless it is set.
    pub(super) fn preset(&mut self, name: &str, value: &str) {
        if self.variable(name).is_none() {
            self.set(name, value);
        }
    }

    pub(super) fn unset(&mut self, name: &str) {
        self.variables.remove(name);
    }

    /// Unsets all but these.
    pub(super) fn keep(&mut self, names: &[&str]) {
        self.variables
            .retain(|name, _| names.contains(&name.as_str()));
    }

    pub(super) fn say(&mut self, notice: Notice) {
        self.notices.push(notice);
    }
}
