//! Fetches and templates, compiled.

use std::sync::Arc;

use clearway_base::intern::Name;

use super::{Argument, Context, Get, Short, Visit};
use crate::convert::Converter;
use crate::map::MapTable;
use crate::table::{Table, What};

/// A compiled fetch.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// One of the list.
    Listed(Get, Argument),
    /// Always the same.
    Literal(Box<[u8]>),
    /// A group of a regular expression.
    Capture(u8),
    /// A variable, and what is there when it is not set.
    Variable(Name, Option<Box<[u8]>>),
    /// What a map yields.
    Map(Arc<MapTable>),
    /// A number of what a counter tracks.
    Tracked(u8, What),
    /// The key that a counter tracks.
    TrackedKey(u8),
    /// How many entries a table has, or can take when `true`.
    Entries(Arc<Table>, bool),
    /// What becomes of another value.
    Converted(Arc<(Self, Box<[Converter]>)>),
}

impl Source {
    /// Shows the values to `visit` until it has had enough, and says whether it has.
    pub(crate) fn visit(&self, at: &Context<'_>, visit: &mut Visit<'_>) -> bool {
        match self {
            Self::Listed(get, argument) => get(at, argument, visit),
            Self::Literal(text) => visit(text),
            Self::Capture(group) => at.captures.group(*group).is_some_and(visit),
            Self::Variable(name, default) => {
                let set = at.scratch.variable(*name);
                // Those of the request end with it.
                let ended = at.view.response.is_some() && name.as_str().starts_with("req.");
                let set = set.filter(|_| !ended);
                set.or(default.as_deref()).is_some_and(visit)
            }
            Self::Map(map) => map.visit(at, visit),
            Self::Tracked(counter, what) => {
                let number = at.scratch.ask_tracked(*counter, *what);
                number.is_some_and(|number| visit(Short::of(number).as_bytes()))
            }
            Self::TrackedKey(counter) => {
                let tracked = at.scratch.tracked(*counter);
                tracked.is_some_and(|tracked| visit(&tracked.key()))
            }
            Self::Entries(table, is_free) => {
                let now = clearway_base::clock::now();
                let count = match is_free {
                    true => table.free(now),
                    false => table.used(now),
                };
                visit(Short::of(count).as_bytes())
            }
            Self::Converted(both) => {
                let (source, converters) = &**both;
                source.visit(at, &mut |value| match converted(at, converters, value) {
                    Some(value) => visit(&value),
                    None => false,
                })
            }
        }
    }
}

/// What comes out behind the last converter; `None` when one of them yields nothing.
fn converted(at: &Context<'_>, converters: &[Converter], value: &[u8]) -> Option<Vec<u8>> {
    let mut value = value.to_vec();
    for converter in converters {
        let mut out = Vec::new();
        if !converter.apply(at, &value, &mut out) {
            return None;
        }
        value = out;
    }
    Some(value)
}

/// A compiled template.
#[derive(Clone, Debug)]
pub(crate) struct Text {
    parts: Box<[Source]>,
}

impl Text {
    pub(crate) fn new(parts: Vec<Source>) -> Self {
        Self {
            parts: parts.into(),
        }
    }

    /// The text when it is always the same.
    pub(crate) fn constant(&self) -> Option<&[u8]> {
        match &*self.parts {
            [] => Some(b""),
            [Source::Literal(text)] => Some(text),
            [_, ..] => None,
        }
    }

    /// Whether there is nothing of it: it is one value, which is not there.
    pub(crate) fn is_missing(&self, at: &Context<'_>) -> bool {
        match &*self.parts {
            [part] => !part.visit(at, &mut |_| true),
            [..] => false,
        }
    }

    /// The literal parts, for checks when it is compiled.
    pub(crate) fn literals(&self) -> impl Iterator<Item = &[u8]> {
        self.parts.iter().filter_map(|part| match part {
            Source::Literal(text) => Some(&**text),
            Source::Listed(..)
            | Source::Capture(_)
            | Source::Variable(..)
            | Source::Map(_)
            | Source::Tracked(..)
            | Source::TrackedKey(_)
            | Source::Entries(..)
            | Source::Converted(_) => None,
        })
    }

    /// The literal part that it begins with.
    pub(crate) fn first_literal(&self) -> Option<&[u8]> {
        match self.parts.first()? {
            Source::Literal(text) => Some(text),
            Source::Listed(..)
            | Source::Capture(_)
            | Source::Variable(..)
            | Source::Map(_)
            | Source::Tracked(..)
            | Source::TrackedKey(_)
            | Source::Entries(..)
            | Source::Converted(_) => None,
        }
    }

    /// Appends the text; of several values of a part the first.
    pub(crate) fn write(&self, at: &Context<'_>, out: &mut Vec<u8>) {
        for part in &self.parts {
            part.visit(at, &mut |value| {
                out.extend_from_slice(value);
                true
            });
        }
    }

    /// Appends the text for a path of the file system: what stands in the template as it is, values
    /// with their escapes decoded.
    pub(crate) fn write_decoded(&self, at: &Context<'_>, out: &mut Vec<u8>) {
        for part in &self.parts {
            let is_literal = matches!(part, Source::Literal(_));
            part.visit(at, &mut |value| {
                if is_literal {
                    out.extend_from_slice(value);
                } else {
                    clearway_http::uri::decode(value, out);
                }
                true
            });
        }
    }

    /// The text, which is written to `room` only when it is not constant.
    pub(crate) fn render<'o>(&'o self, at: &Context<'_>, room: &'o mut Vec<u8>) -> &'o [u8] {
        if let Some(text) = self.constant() {
            return text;
        }
        room.clear();
        self.write(at, room);
        room
    }
}
