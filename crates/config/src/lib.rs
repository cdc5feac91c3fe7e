//! Configuration: the native language, the model, checks, differences, printing, documentation.
//!
//! Text becomes a tree, the tree a [`model::Config`], the Config is checked. No step stops at the
//! first mistake: each returns what it understood and [`Diagnostic`]s with place, expectation and
//! hint. What a section consists of stands in one table per concept, from which reading, defaults,
//! printing, the reference page and the JSON Schema come.
//!
//! Rules are compiled here, because what is wrong with them is the operator's to mend.
//!
//! Not here: compiling the rest of a Config for workers, opening sockets, watching files.
//! Start with [`load`], [`model::Config`] and the tables in `concept`.

#![forbid(unsafe_code)]

pub mod check;
mod compile;
mod concept;
mod diagnostic;
pub mod diff;
pub mod doc;
pub mod foreign;
mod lower;
pub mod model;
pub mod pattern;
pub mod print;
pub mod survey;
mod syntax;
mod value;
mod words;

use std::path::Path;

pub use compile::router;
pub use diagnostic::{Diagnostic, Origin, Origins, Severity};
pub use value::Problem;

use model::Config;

/// What was read, and what is wrong with it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What was understood. Not to be used when there are errors.
    pub config: Config,
    /// Everything that is wrong, in the order of the file.
    pub diagnostics: Vec<Diagnostic>,
}

impl Loaded {
    /// Whether the configuration must not be used.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.diagnostics
            .iter()
            .any(|found| found.severity == Severity::Error)
    }

    /// Puts the admin API elsewhere, as the command line asks.
    pub fn override_admin(&mut self, listen: &str) {
        let origin = Origin {
            file: "--admin".into(),
            ..Origin::default()
        };
        match lower::admin(listen) {
            Ok(listen) => {
                self.config.admin.listen = listen;
                self.config.admin.origins = Origins::new(origin);
                self.diagnostics
                    .retain(|found| found.code != check::ADMIN_EXPOSED);
                self.diagnostics.extend(check::admin(&self.config));
            }
            Err(problem) => {
                let mut found = Diagnostic::error("value", &origin, problem.message);
                found.expected = Some(problem.expected);
                found.hint = problem.hint;
                self.diagnostics.push(found);
            }
        }
    }
}

/// Reads and checks a file.
#[must_use]
pub fn load(path: &Path) -> Loaded {
    let name = path.display().to_string();
    match std::fs::read(path) {
        Ok(bytes) => match String::from_utf8(bytes) {
            Ok(text) => parse(&name, &text),
            Err(error) => unreadable(&name, format!("this file is not UTF-8 text: {error}")),
        },
        Err(error) => unreadable(&name, format!("cannot read {name}: {error}")),
    }
}

fn unreadable(name: &str, message: String) -> Loaded {
    let origin = Origin {
        file: name.into(),
        ..Origin::default()
    };
    Loaded {
        config: Config::default(),
        diagnostics: vec![Diagnostic::error("file", &origin, message)],
    }
}

/// Reads and checks a text; `name` stands in diagnostics and its folder is where relative paths lead.
#[must_use]
pub fn parse(name: &str, text: &str) -> Loaded {
    let lines = diagnostic::Lines::new(name, text);
    let (entries, mut diagnostics) = syntax::native::read(text, &lines);
    let mut reader = value::Reader::new(&lines);
    let config = lower::config(&entries, &mut reader);
    // Text that is no TOML may hide any section. A section that was not understood is missing, which
    // is not what whoever wrote it should hear; a name that differs from it is told all the same.
    if diagnostics.is_empty() {
        let unread = !reader.diagnostics.is_empty();
        let is_news = |found: &Diagnostic| match found.code {
            check::NO_LISTENER => !reader.has_left_out("listener"),
            check::NO_BACKEND => !reader.has_left_out("backend"),
            _ => !unread || found.severity == Severity::Error,
        };
        diagnostics.extend(check::check(&config).into_iter().filter(is_news));
    }
    diagnostics.append(&mut reader.diagnostics);
    for diagnostic in diagnostics.iter_mut().filter(|found| found.file.is_empty()) {
        diagnostic.file = name.into();
    }
    diagnostics.sort_by_key(|d| (d.line, d.column, d.severity));
    Loaded {
        config,
        diagnostics,
    }
}
