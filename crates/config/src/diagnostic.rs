//! What is wrong with a configuration, and where: positions, origins, diagnostics and their rendering.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// Byte range in a source text.
pub(crate) type Span = Range<usize>;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// It can, but probably does not do what was meant.
    Warning,
}

impl Severity {
    /// Its name in lower case.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// A place in a configuration file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// The file as it was named when it was read.
    pub file: Arc<str>,
    /// Line, from 1; 0 when no line is meant.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// Length in characters, at most to the end of the line.
    pub len: u32,
}

impl Default for Origin {
    fn default() -> Self {
        Self {
            file: Arc::from(""),
            line: 0,
            column: 0,
            len: 0,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            f.write_str(&self.file)
        } else {
            write!(f, "{}:{}:{}", self.file, self.line, self.column)
        }
    }
}

/// Where a section and each field that was written in it stand.
///
/// Two of them are always equal: sections are compared by what they say, not by where they say it.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    section: Origin,
    fields: Vec<(&'static str, Origin)>,
    misread: Vec<&'static str>,
}

impl PartialEq for Origins {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Origins {
    pub(crate) fn new(section: Origin) -> Self {
        Self {
            section,
            ..Self::default()
        }
    }

    /// Where the section begins; line 0 when it was not written at all.
    #[must_use]
    pub fn section(&self) -> &Origin {
        &self.section
    }

    /// Where a field's value stands; `None` when the default holds.
    #[must_use]
    pub fn field(&self, key: &str) -> Option<&Origin> {
        let found = self.fields.iter().find(|(name, _)| *name == key);
        found.map(|(_, origin)| origin)
    }

    /// The field's place, or the section's when the field was not written.
    #[must_use]
    pub fn field_or_section(&self, key: &str) -> &Origin {
        self.field(key).unwrap_or(&self.section)
    }

    /// Every field that was written, in the order of the table of fields.
    pub fn written(&self) -> impl Iterator<Item = (&'static str, &Origin)> {
        self.fields.iter().map(|(key, origin)| (*key, origin))
    }

    /// Whether something in a field was not understood, so that more about it would be noise.
    pub(crate) fn is_misread(&self, key: &str) -> bool {
        self.misread.contains(&key)
    }

    /// Notes that something in a field was not understood.
    pub(crate) fn misread(&mut self, key: &'static str) {
        self.misread.push(key);
    }

    /// Notes where a field stands, in place of what was known.
    pub(crate) fn set(&mut self, key: &'static str, origin: Origin) {
        match self.fields.iter_mut().find(|(name, _)| *name == key) {
            Some((_, old)) => *old = origin,
            None => self.fields.push((key, origin)),
        }
    }
}

/// One thing that is wrong, with everything needed to mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// Stable name of the kind of mistake.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// The file.
    pub file: Arc<str>,
    /// Line, from 1; 0 when the file as a whole is meant.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// Length in characters of what is meant.
    pub len: u32,
    /// What would be right.
    pub expected: Option<String>,
    /// What to do.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// A diagnostic about a place.
    #[must_use]
    pub fn new(
        severity: Severity,
        code: &'static str,
        origin: &Origin,
        message: impl Into<String>,
    ) -> Self {
        Self {
            severity,
            code,
            message: message.into(),
            file: Arc::clone(&origin.file),
            line: origin.line,
            column: origin.column,
            len: origin.len,
            expected: None,
            hint: None,
        }
    }

    /// An error about a place.
    #[must_use]
    pub fn error(code: &'static str, origin: &Origin, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, origin, message)
    }

    /// A warning about a place.
    #[must_use]
    pub fn warning(code: &'static str, origin: &Origin, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, origin, message)
    }

    /// The same with what would be right.
    #[must_use]
    pub fn expected(mut self, words: impl Into<String>) -> Self {
        self.expected = Some(words.into());
        self
    }

    /// The same with what to do.
    #[must_use]
    pub fn hint(mut self, words: impl Into<String>) -> Self {
        self.hint = Some(words.into());
        self
    }

    /// Several lines: the message, the source line with a caret below what is meant, what would be
    /// right, and what to do.
    #[must_use]
    pub fn render(&self, source: &str) -> String {
        let mut out = format!(
            "{}[{}]: {}\n",
            self.severity.name(),
            self.code,
            self.message
        );
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        out.push_str(&format!("{margin}--> {}\n", self.place()));
        let index = usize::try_from(self.line).unwrap_or(0).checked_sub(1);
        if let Some(line) = index.and_then(|index| source.split('\n').nth(index)) {
            let line = line.trim_end_matches('\r');
            let before = usize::try_from(self.column.max(1) - 1).unwrap_or(0);
            // Tabs are kept, so that the caret stands below its character at any tab width. Other
            // control characters would move the terminal's cursor.
            let indent: String = line
                .chars()
                .chain(std::iter::repeat(' '))
                .take(before)
                .map(|c| if c == '\t' { c } else { ' ' })
                .collect();
            let shown: String = line
                .chars()
                .map(|c| {
                    if c.is_control() && c != '\t' {
                        '\u{fffd}'
                    } else {
                        c
                    }
                })
                .collect();
            let carets = "^".repeat(usize::try_from(self.len.max(1)).unwrap_or(1));
            out.push_str(&format!(
                "{margin} |\n{number} | {shown}\n{margin} | {indent}{carets}\n"
            ));
        }
        if let Some(expected) = &self.expected {
            out.push_str(&format!("{margin} = expected: {expected}\n"));
        }
        if let Some(hint) = &self.hint {
            out.push_str(&format!("{margin} = hint: {hint}\n"));
        }
        out
    }

    fn place(&self) -> Origin {
        Origin {
            file: Arc::clone(&self.file),
            line: self.line,
            column: self.column,
            len: self.len,
        }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (place, severity) = (self.place(), self.severity.name());
        write!(f, "{place}: {severity}: {}", self.message)?;
        if let Some(expected) = &self.expected {
            write!(f, "; expected {expected}")?;
        }
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

/// Turns byte offsets of one text into places.
pub(crate) struct Lines<'a> {
    file: Arc<str>,
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(file: &str, text: &'a str) -> Self {
        let after = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let starts = std::iter::once(0)
            .chain(after.map(|(at, _)| at + 1))
            .collect();
        Self {
            file: Arc::from(file),
            text,
            starts,
        }
    }

    /// The place of a range. A range over several lines is cut at the end of the first.
    pub(crate) fn origin(&self, span: &Span) -> Origin {
        let line = self
            .starts
            .partition_point(|start| *start <= span.start)
            .max(1)
            - 1;
        let start = self.starts.get(line).copied().unwrap_or(0);
        let chars = |from: usize, to: usize| {
            let text = self.text.get(from..to).unwrap_or_default();
            let text = text.split('\n').next().unwrap_or_default();
            u32::try_from(text.trim_end_matches('\r').chars().count()).unwrap_or(u32::MAX)
        };
        Origin {
            file: Arc::clone(&self.file),
            line: u32::try_from(line + 1).unwrap_or(u32::MAX),
            column: chars(start, span.start).saturating_add(1),
            len: chars(span.start, span.end).max(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_characters_and_carets_stand_below_them() {
        let text = "a = 1\n\tb = \"äö\" # x\r\n";
        let lines = Lines::new("f.toml", text);
        let at = text.find('"').unwrap();
        let origin = lines.origin(&(at..at + 6));
        assert_eq!((origin.line, origin.column, origin.len), (2, 6, 4));
        let diagnostic = Diagnostic::error("code", &origin, "wrong")
            .expected("something else")
            .hint("change it");
        assert_eq!(
            diagnostic.render(text),
            "error[code]: wrong\n --> f.toml:2:6\n  |\n2 | \tb = \"äö\" # x\n  | \t    ^^^^\n  \
             = expected: something else\n  = hint: change it\n"
        );
        assert_eq!(
            diagnostic.to_string(),
            "f.toml:2:6: error: wrong; expected something else; change it"
        );
    }

    #[test]
    fn ranges_beyond_the_text_and_over_lines_are_cut() {
        let lines = Lines::new("f", "ab\ncd\n");
        let origin = lines.origin(&(1..5));
        assert_eq!((origin.line, origin.column, origin.len), (1, 2, 1));
        let origin = lines.origin(&(99..100));
        assert_eq!((origin.line, origin.len), (3, 1));
        let text = Diagnostic::error("c", &origin, "m").render("short");
        assert!(text.ends_with("--> f:3:1\n"), "{text}");
    }
}
