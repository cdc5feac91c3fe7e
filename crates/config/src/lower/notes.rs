//! What becomes of each directive of another language, written down while it is lowered.

use crate::diagnostic::{Diagnostic, Origin};
use crate::foreign::{Directive, Treatment};

/// Notes about all lines.
#[derive(Default)]
pub(crate) struct Notes {
    pub(crate) directives: Vec<Directive>,
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// First words of directives that are to be left out instead of refused.
    ignored: Vec<String>,
}

impl Notes {
    pub(crate) fn new(ignored: &[String]) -> Self {
        Self {
            ignored: ignored.to_vec(),
            ..Self::default()
        }
    }

    /// Begins the note about a directive: honoured, as long as nothing else is said. It may be begun
    /// several times.
    pub(crate) fn begin(&mut self, origin: Origin, text: String) {
        self.directives.push(Directive {
            origin,
            text,
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
    pub(crate) fn equivalent(&mut self, remark: impl Into<String>) {
        self.worsen(Treatment::Equivalent, remark);
    }

    /// Nothing is done about the line, and nobody notices.
    pub(crate) fn harmless(&mut self, remark: impl Into<String>) {
        self.worsen(Treatment::Harmless, remark);
    }

    /// Nothing is done about the line or a part of it, and this is different then.
    pub(crate) fn ineffective(&mut self, remark: impl Into<String>) {
        self.worsen(Treatment::Ineffective, remark);
    }

    /// The line changes who gets what, and cannot be done.
    pub(crate) fn refused(&mut self, remark: impl Into<String>) {
        self.worsen(Treatment::Refused, remark);
    }

    /// The line is wrong in its own language too.
    pub(crate) fn wrong(&mut self, origin: &Origin, message: impl Into<String>, expected: &str) {
        let mut found = Diagnostic::error("value", origin, message);
        if !expected.is_empty() {
            found.expected = Some(expected.to_owned());
        }
        self.diagnostics.push(found);
    }
}

impl Notes {
    /// Puts the notes about one line together and in the order of the files.
    pub(crate) fn settle(&mut self) {
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
