//! Text to tree: tokens, quoting and positions, never meaning.

pub(crate) mod haproxy;
pub(crate) mod native;
pub(crate) mod nginx;
pub(crate) mod word;

use crate::diagnostic::Span;

/// A value with its place in the text.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    pub(crate) span: Span,
}

/// What a value is.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Text(String),
    Integer(i64),
    Float(f64),
    Bool(bool),
    Date,
    List(Vec<Node>),
    Table(Vec<Entry>),
    /// Something that the syntax has already complained about.
    Broken,
}

/// A key with its value.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    /// Where the key stands.
    pub(crate) at: Span,
    pub(crate) value: Node,
}

impl Node {
    /// What it is, as words for "…, not …".
    pub(crate) fn words(&self) -> &'static str {
        match &self.kind {
            Kind::Text(_) => "text",
            Kind::Integer(_) => "a whole number",
            Kind::Float(_) => "a number",
            Kind::Bool(_) => "true or false",
            Kind::Date => "a date",
            Kind::List(_) => "a list",
            Kind::Table(_) => "a table",
            Kind::Broken => "something unreadable",
        }
    }

    /// The text, if it is one.
    pub(crate) fn as_text(&self) -> Option<&str> {
        if let Kind::Text(text) = &self.kind {
            Some(text)
        } else {
            None
        }
    }

    /// The number, if it is a whole one.
    pub(crate) fn as_integer(&self) -> Option<i64> {
        if let Kind::Integer(number) = self.kind {
            Some(number)
        } else {
            None
        }
    }

    /// The number, whole or not.
    #[expect(
        clippy::cast_precision_loss,
        reason = "bounds of numbers are far below 53 bits"
    )]
    pub(crate) fn as_number(&self) -> Option<f64> {
        let whole = self.as_integer().map(|number| number as f64);
        if let Kind::Float(number) = self.kind {
            Some(number)
        } else {
            whole
        }
    }

    /// Whether it is true, if it is true or false.
    pub(crate) fn as_bool(&self) -> Option<bool> {
        if let Kind::Bool(flag) = self.kind {
            Some(flag)
        } else {
            None
        }
    }

    /// The elements, if it is a list.
    pub(crate) fn as_list(&self) -> Option<&[Self]> {
        if let Kind::List(items) = &self.kind {
            Some(items)
        } else {
            None
        }
    }

    /// The entries, if it is a table.
    pub(crate) fn as_table(&self) -> Option<&[Entry]> {
        if let Kind::Table(entries) = &self.kind {
            Some(entries)
        } else {
            None
        }
    }

    /// Whether the syntax has already complained about it.
    pub(crate) fn is_broken(&self) -> bool {
        matches!(self.kind, Kind::Broken)
    }
}
