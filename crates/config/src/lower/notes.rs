//! What becomes of each directive of another language, written down while it is lowered.

use crate::Loaded;
use crate::diagnostic::{Diagnostic, Origin, Severity};
use crate::foreign::{Directive, Foreign, Treatment, complaints};
use crate::model::Config;

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
    /// What was made of a configuration, with everything that is wrong with it: what its syntax said,
    /// what was noted, and what the checks find that matters to its author.
    pub(crate) fn finish(mut self, config: Config, syntax: &[Diagnostic]) -> Foreign {
        self.settle();
        let mut diagnostics = syntax.to_vec();
        diagnostics.append(&mut self.diagnostics);
        diagnostics.extend(complaints(&self.directives));
        diagnostics.extend(crate::check::foreign(&config));
        let is_error = |found: &Diagnostic| found.severity == Severity::Error;
        // Checks and a runtime socket are something to do, too.
        let is_idle = config.listeners.is_empty() && config.backends.is_empty();
        if is_idle && !diagnostics.iter().any(is_error) {
            let place = self
                .directives
                .first()
                .map(|directive| directive.origin.clone());
            let message = "nothing listens: there is nothing to do";
            let place = place.unwrap_or_default();
            diagnostics.push(Diagnostic::error("no-listener", &place, message));
        }
        diagnostics.sort_by(|a, b| {
            (&a.file, a.line, a.column, a.severity).cmp(&(&b.file, b.line, b.column, b.severity))
        });
        diagnostics.dedup();
        Foreign {
            loaded: Loaded {
                config,
                diagnostics,
            },
            directives: self.directives,
        }
    }

    /// Puts the notes about one line together and in the order of the files.
    fn settle(&mut self) {
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
