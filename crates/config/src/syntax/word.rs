//! Words of foreign languages, with their places, and a cursor that finds them.

use std::iter::Peekable;
use std::str::Chars;
use std::sync::Arc;

use crate::diagnostic::Origin;

/// One word as it is meant: without its quotes, with its escapes resolved.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Word {
    pub(crate) text: String,
    /// Whether any of it stood in quotes.
    pub(crate) is_quoted: bool,
    pub(crate) origin: Origin,
}

/// A position in a text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    pub(crate) line: u32,
    column: u32,
}

/// Walks over a text and knows the line and column it is at.
pub(crate) struct Cursor<'a> {
    file: Arc<str>,
    rest: Peekable<Chars<'a>>,
    at: Mark,
    /// The column behind the last character of each line that lies behind.
    ends: Vec<u32>,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(file: &Arc<str>, text: &'a str) -> Self {
        // Editors on other systems put a byte order mark first.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        Self {
            file: Arc::clone(file),
            rest: text.chars().peekable(),
            at: Mark { line: 1, column: 1 },
            ends: Vec::new(),
        }
    }

    /// The next character.
    pub(crate) fn peek(&mut self) -> Option<char> {
        self.rest.peek().copied()
    }

    /// Takes the next character.
    pub(crate) fn take(&mut self) -> Option<char> {
        let next = self.rest.next()?;
        if next == '\n' {
            self.ends.push(self.at.column);
            self.at.line = self.at.line.saturating_add(1);
            self.at.column = 1;
        } else {
            self.at.column = self.at.column.saturating_add(1);
        }
        Some(next)
    }

    /// Takes the next character if it is this one.
    pub(crate) fn take_if(&mut self, wanted: char) -> bool {
        let is_there = self.peek() == Some(wanted);
        if is_there {
            self.take();
        }
        is_there
    }

    /// Where the cursor is.
    pub(crate) fn mark(&self) -> Mark {
        self.at
    }

    /// What lies between a mark and the cursor, cut at the end of the first line.
    pub(crate) fn since(&self, mark: Mark) -> Origin {
        let end = if mark.line == self.at.line {
            self.at.column
        } else {
            let index = usize::try_from(mark.line).unwrap_or(0).checked_sub(1);
            let end = index.and_then(|index| self.ends.get(index));
            end.copied().unwrap_or(mark.column)
        };
        Origin {
            file: Arc::clone(&self.file),
            line: mark.line,
            column: mark.column,
            len: end.saturating_sub(mark.column).max(1),
        }
    }

    /// Takes the rest of the line and gives it back, without the line's end.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        while let Some(next) = self.peek().filter(|next| *next != '\n') {
            self.take();
            line.push(next);
        }
        line
    }
}
