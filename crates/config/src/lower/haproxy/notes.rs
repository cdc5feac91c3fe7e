//! What becomes of each line, written down while it is read.

use crate::diagnostic::{Diagnostic, Origin};
use crate::foreign::{Directive, Treatment};
use crate::syntax::haproxy::Line;

/// Notes about all lines.
#[derive(Default)]
pub(super) struct Notes {
    pub(super) directives: Vec<Directive>,
    pub(super) diagnostics: Vec<Diagnostic>,
    /// First words of directives that are to be left out instead of refused.
    ignored: Vec<String>,
}

impl Notes {
    pub(super) fn new(ignored: &[String]) -> Self {
        Self {
            ignored: ignored.to_vec(),
            ..Self::default()
        }
    }

    /// Begins the note about a line: honoured, as long as nothing else is said.
    pub(super) fn begin(&mut self, line: &Line) {
        let words: Vec<&str> = line.texts(0).collect();
        self.directives.push(Directive {
            origin: line.origin(),
            text: words.join(" "),
            treatment: Treatment::Honoured,
            remarks: Vec::new(),
        });
    }

    fn worsen(&mut self, treatment: Treatment, remark: impl Into<String>) {
        let Some(directive) = self.directives.last_mut() else {
            return;
        };
        let remark = remark.into();
        let first = directive.text.split(' ').next().unwrap_or_default();
        let is_let_go = self.ignored.iter().any(|word| word == first);
        let treatment = if is_let_go {
            treatment.min(Treatment::Ineffective)
        } else {
            treatment
        };
        directive.treatment = directive.treatment.max(treatment);
        if !directive.remarks.contains(&remark) {
            directive.remarks.push(remark);
        }
    }

    /// The line is done in another way that comes to the same.
    pub(super) fn equivalent(&mut self, remark: impl Into<String>) {
        self.worsen(Treatment::Equivalent, remark);
    }

    /// Nothing is done about the line, and nobody notices.
    pub(super) fn harmless(&mut self, remark: impl Into<String>) {
        self.worsen(Treatment::Harmless, remark);
    }

    /// Nothing is done about the line or a part of it, and this is different then.
    pub(super) fn ineffective(&mut self, remark: impl Into<String>) {
        self.worsen(Treatment::Ineffective, remark);
    }

    /// The line changes who gets what, and cannot be done.
    pub(super) fn refused(&mut self, remark: impl Into<String>) {
        self.worsen(Treatment::Refused, remark);
    }

    /// The line is wrong in its own language too.
    pub(super) fn wrong(&mut self, origin: &Origin, message: impl Into<String>, expected: &str) {
        let mut found = Diagnostic::error("value", origin, message);
        if !expected.is_empty() {
            found.expected = Some(expected.to_owned());
        }
        self.diagnostics.push(found);
    }
}

impl Notes {
    /// Puts the notes about one line together and in the order of the files.
    pub(super) fn settle(&mut self) {
        let mut settled: Vec<Directive> = Vec::with_capacity(self.directives.len());
        let mut places = clearway_base::hash::Map::default();
        for directive in self.directives.drain(..) {
            let origin = &directive.origin;
            let key = (origin.file.clone(), origin.line, origin.column);
            let place = *places.entry(key).or_insert(settled.len());
            match settled.get_mut(place) {
                None => settled.push(directive),
                Some(known) => {
                    known.treatment = known.treatment.max(directive.treatment);
                    for remark in directive.remarks {
                        if !known.remarks.contains(&remark) {
                            known.remarks.push(remark);
                        }
                    }
                }
            }
        }
        self.directives = settled;
    }
}
