//! Templates of lines: reading them, and writing a Record with one.

use std::fmt;

use clearway_base::decimal;
use clearway_outcome::Record;

use super::parcel::Values;
use super::{Asked, Escape, Value};

/// A template of a line, ready for use.
///
/// `${name}` is a value, `${name:argument}` one with an argument, `$$` a dollar sign. Behind the name
/// may follow, each after a comma: `max=N` (at most so many bytes), `escape=…` (see [`Escape`]) and
/// `else=TEXT` (what stands there when there is no value, in place of the log's `empty`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template {
    pieces: Vec<Piece>,
    given: Vec<Given>,
}

/// What the worker has to give along with the Record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Given {
    /// Something about the connection.
    Asked(Asked),
    /// A fetch of the rules, in its written form.
    Fetch(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    Value(What, Shape),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Value(Value),
    Given(usize),
}

/// How a value is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Shape {
    max: Option<usize>,
    escape: Option<Escape>,
    empty: Option<Box<str>>,
}

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateError {
    /// A sentence without full stop.
    pub message: String,
    /// Where in the text, in bytes.
    pub at: usize,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for TemplateError {}

/// What a line is written from.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// The Record.
    pub record: &'a Record<'a>,
    /// What the worker gave.
    pub given: Values<'a>,
    /// How bytes of strangers are written.
    pub escape: Escape,
    /// What stands in the place of a value that is empty or not there.
    pub empty: &'a str,
}

impl Template {
    /// Reads the written form; `other` says whether a name that only rules know is right.
    ///
    /// # Errors
    /// What is wrong and where: an unknown name or option, `${` without `}`, a lone `$`.
    pub fn parse(
        text: &str,
        other: &mut dyn FnMut(&str) -> Result<(), String>,
    ) -> Result<Self, TemplateError> {
        let mut template = Self::default();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            let at = text.len() - after.len() - 1;
            let error = |message: String| TemplateError { message, at };
            template.text(before);
            rest = if let Some(tail) = after.strip_prefix('$') {
                template.text("$");
                tail
            } else if let Some(tail) = after.strip_prefix('{') {
                let Some((inside, tail)) = tail.split_once('}') else {
                    return Err(error("`${` without `}`".to_owned()));
                };
                template.value(inside, other).map_err(error)?;
                tail
            } else {
                let message = "`$` that begins nothing; a dollar sign is written `$$`";
                return Err(error(message.to_owned()));
            };
        }
        template.text(rest);
        Ok(template)
    }

    /// What the worker has to give, in this order.
    #[must_use]
    pub fn given(&self) -> &[Given] {
        &self.given
    }

    /// Appends the line, without an end of line.
    pub fn write(&self, line: &Line<'_>, out: &mut Vec<u8>) {
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
                Piece::Value(what, shape) => shape.write(*what, line, out),
            }
        }
    }

    /// Whether the line says yes: it is neither empty nor `0`.
    #[must_use]
    pub fn holds(&self, line: &Line<'_>) -> bool {
        let mut out = Vec::new();
        self.write(&Line { empty: "", ..*line }, &mut out);
        !matches!(out.as_slice(), b"" | b"0")
    }

    fn text(&mut self, text: &str) {
        match self.pieces.last_mut() {
            _ if text.is_empty() => {}
            Some(Piece::Text(last)) => *last = format!("{last}{text}").into(),
            Some(Piece::Value(..)) | None => self.pieces.push(Piece::Text(text.into())),
        }
    }

    fn value(
        &mut self,
        inside: &str,
        other: &mut dyn FnMut(&str) -> Result<(), String>,
    ) -> Result<(), String> {
        let mut parts = inside.split(',');
        let name = parts.next().unwrap_or_default();
        let mut shape = Shape::default();
        for option in parts {
            shape.read(option)?;
        }
        let what = match (Value::named(name), Asked::named(name)) {
            (Some(value), _) => What::Value(value),
            (None, Some(asked)) => self.give(Given::Asked(asked)),
            (None, None) => {
                other(name)?;
                self.give(Given::Fetch(name.to_owned()))
            }
        };
        self.pieces.push(Piece::Value(what, shape));
        Ok(())
    }

    fn give(&mut self, given: Given) -> What {
        let known = self.given.iter().position(|known| *known == given);
        let at = known.unwrap_or(self.given.len());
        if known.is_none() {
            self.given.push(given);
        }
        What::Given(at)
    }
}

impl Shape {
    fn read(&mut self, option: &str) -> Result<(), String> {
        let (key, value) = option.split_once('=').unwrap_or((option, ""));
        match key {
            "max" => {
                let max = value.parse().ok().filter(|max| *max > 0);
                let Some(max) = max else {
                    return Err(format!("{value:?} is no number of bytes"));
                };
                self.max = Some(max);
            }
            "escape" => {
                let named = |escape: &&Escape| escape.name() == value;
                let Some(escape) = Escape::ALL.iter().find(named) else {
                    return Err(format!("{value:?} is no way of escaping"));
                };
                self.escape = Some(*escape);
            }
            "else" => self.empty = Some(value.into()),
            _ => {
                return Err(format!(
                    "{option:?} is no option of a value; there are max=N, escape=NAME and else=TEXT"
                ));
            }
        }
        Ok(())
    }

    fn write(&self, what: What, line: &Line<'_>, out: &mut Vec<u8>) {
        let before = out.len();
        let mut place = Place {
            bytes: out,
            escape: self.escape.unwrap_or(line.escape),
            max: self.max.unwrap_or(usize::MAX),
        };
        match what {
            What::Value(value) => value.write(line.record, &mut place),
            What::Given(at) => {
                if let Some(value) = line.given.at(at) {
                    place.text(value);
                }
            }
        }
        if out.len() == before {
            let empty = self.empty.as_deref().unwrap_or(line.empty);
            out.extend_from_slice(empty.as_bytes());
        }
    }
}

/// Where one value is written.
pub(super) struct Place<'a> {
    pub(super) bytes: &'a mut Vec<u8>,
    escape: Escape,
    max: usize,
}

impl Place<'_> {
    /// Bytes of a stranger.
    pub(super) fn text(&mut self, text: &[u8]) {
        let text = text.get(..text.len().min(self.max)).unwrap_or_default();
        self.escape.write(text, self.bytes);
    }

    /// Words of our own: names, numbers, punctuation.
    pub(super) fn raw(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
    }

    pub(super) fn number(&mut self, value: u64) {
        decimal::write(self.bytes, value);
    }

    /// At least so many digits.
    pub(super) fn padded(&mut self, value: u64, width: u32) {
        for digits in (1..width).rev() {
            if value < 10_u64.pow(digits) {
                self.bytes.push(b'0');
            }
        }
        self.number(value);
    }
}
