//! Rewriting of path and query.

use clearway_http::Edits;

use super::{Invalid, VALUE_MAX};
use crate::fetch::{Context, Text};
use crate::matcher::{Pattern, below};
use crate::scratch::Scratch;
use crate::view::View;

/// A rewrite. It starts from the path in normal form, because that is what conditions saw.
#[derive(Debug)]
pub(crate) enum Rewrite {
    /// One begin for another; `from` is without slash at the end.
    Prefix { from: Box<[u8]>, to: Text },
    /// A text for the first match.
    Regex { regex: Pattern, replacement: Text },
    /// The whole path.
    Path(Text),
    /// The whole query.
    Query(Text),
    /// Path and query, as they are.
    Target(Text),
}

impl Rewrite {
    /// # Errors
    /// Texts that are no path.
    pub(super) fn prefix(from: &str, to: Text) -> Result<Self, String> {
        // What follows a value of the request does not begin the path.
        let begin = to.first_literal().unwrap_or_default();
        let begins = [from.as_bytes(), begin];
        let in_path = |text: &[u8]| text.iter().all(|&b| is_target(b) && b != b'?');
        let wrong_begin = begins.into_iter().find(|path| !is_begin(path));
        let wrong = wrong_begin.or_else(|| to.literals().find(|text| !in_path(text)));
        if let Some(wrong) = wrong {
            let wrong = String::from_utf8_lossy(wrong);
            return Err(format!("{wrong:?} is not a path"));
        }
        let from = from.strip_suffix('/').unwrap_or(from).as_bytes().into();
        Ok(Self::Prefix { from, to })
    }

    /// # Errors
    /// A pattern that is none, a replacement that cannot stand in a target.
    pub(super) fn regex(pattern: &str, replacement: Text) -> Result<Self, String> {
        check_literals(&replacement)?;
        Ok(Self::Regex {
            regex: Pattern::new(pattern, false)?,
            replacement,
        })
    }

    /// # Errors
    /// A text that is no path.
    pub(super) fn path(path: Text) -> Result<Self, String> {
        check_literals(&path)?;
        match path.constant() {
            Some(text) if !is_path(text) => {
                let text = String::from_utf8_lossy(text);
                Err(format!("{text:?} is not a path: it does not begin with /"))
            }
            Some(_) | None => Ok(Self::Path(path)),
        }
    }

    /// # Errors
    /// A text that cannot stand in a query.
    pub(super) fn query(query: Text) -> Result<Self, String> {
        check_literals(&query)?;
        Ok(Self::Query(query))
    }

    /// # Errors
    /// A text that cannot stand in a target.
    pub(super) fn target(target: Text) -> Result<Self, String> {
        check_literals(&target)?;
        Ok(Self::Target(target))
    }

    pub(super) fn apply(
        &self,
        view: &View<'_>,
        scratch: &mut Scratch,
        edits: &mut Edits,
    ) -> Result<(), Invalid> {
        scratch.lend(|scratch, room| {
            room.clear();
            if !self.write(&view.with(edits), scratch, room) {
                return Ok(());
            }
            match self {
                Self::Target(_) => return take_target(scratch, room, edits),
                Self::Query(_) if !room.iter().all(|&b| is_target(b)) => return Err(Invalid),
                Self::Query(_) => scratch.set_query(room),
                // What a client sent for a part of the path must not make the rest of it a query.
                Self::Prefix { .. } if !is_path(room) => return Err(Invalid),
                Self::Prefix { .. } | Self::Regex { .. } | Self::Path(_) => {
                    set_path(view, scratch, room)?;
                }
            }
            set_target(view, scratch, room, edits)
        })
    }

    /// Writes what takes the place of the path or query; `false` when nothing changes.
    fn write(&self, view: &View<'_>, scratch: &Scratch, out: &mut Vec<u8>) -> bool {
        let at = Context::for_templates(view, scratch);
        let path = scratch.path(view);
        // `*` of OPTIONS is no path and stays what it is.
        if path.is_empty() {
            return false;
        }
        match self {
            Self::Prefix { from, to } => {
                let Some(rest) = below(path, from) else {
                    return false;
                };
                to.write(&at, out);
                if out.last() == Some(&b'/') {
                    out.pop();
                }
                out.extend_from_slice(rest);
                if out.is_empty() {
                    out.push(b'/');
                }
                true
            }
            Self::Regex { regex, replacement } => {
                let captures = match regex.captures(path) {
                    Ok(Some(captures)) => captures,
                    Ok(None) => return false,
                    Err(_) => {
                        scratch.give_up();
                        return false;
                    }
                };
                let captures = &captures;
                let whole = captures.place(0).unwrap_or(0..0);
                out.extend_from_slice(path.get(..whole.start).unwrap_or_default());
                replacement.write(&Context { captures, ..at }, out);
                out.extend_from_slice(path.get(whole.end..).unwrap_or_default());
                true
            }
            Self::Path(text) | Self::Query(text) | Self::Target(text) => {
                text.write(&at, out);
                true
            }
        }
    }
}

/// Takes over a whole target, which is sent as it is.
pub(crate) fn take_target(
    scratch: &mut Scratch,
    new: &[u8],
    edits: &mut Edits,
) -> Result<(), Invalid> {
    let mut parts = new.splitn(2, |&b| b == b'?');
    let (path, query) = (parts.next().unwrap_or_default(), parts.next());
    let is_fine = new.len() <= VALUE_MAX && new.iter().all(|&b| is_target(b));
    if !is_fine || !is_path(path) {
        return Err(Invalid);
    }
    scratch.set_path(path);
    scratch.set_query(query.unwrap_or_default());
    edits.set_target(new);
    Ok(())
}

/// Takes over a new path; a query in it goes before the query there was.
fn set_path(view: &View<'_>, scratch: &mut Scratch, new: &[u8]) -> Result<(), Invalid> {
    let mut parts = new.splitn(2, |&b| b == b'?');
    let (path, query) = (parts.next().unwrap_or_default(), parts.next());
    if !is_path(path) || !query.unwrap_or_default().iter().all(|&b| is_target(b)) {
        return Err(Invalid);
    }
    if let Some(query) = query {
        let mut joined = query.to_vec();
        if let Some(old) = scratch.query(view).filter(|old| !old.is_empty()) {
            if !joined.is_empty() {
                joined.push(b'&');
            }
            joined.extend_from_slice(old);
        }
        scratch.set_query(&joined);
    }
    scratch.set_path(path);
    Ok(())
}

fn set_target(
    view: &View<'_>,
    scratch: &Scratch,
    room: &mut Vec<u8>,
    edits: &mut Edits,
) -> Result<(), Invalid> {
    room.clear();
    room.extend_from_slice(scratch.path(view));
    if let Some(query) = scratch.query(view) {
        room.push(b'?');
        room.extend_from_slice(query);
    }
    if room.len() > VALUE_MAX {
        return Err(Invalid);
    }
    edits.set_target(room);
    Ok(())
}

/// Visible ASCII but for the begin of a fragment.
fn is_target(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b'#'
}

/// A path, or nothing.
fn is_begin(path: &[u8]) -> bool {
    path.is_empty() || is_path(path)
}

fn is_path(path: &[u8]) -> bool {
    path.starts_with(b"/") && path.iter().all(|&b| is_target(b) && b != b'?')
}

fn check_literals(text: &Text) -> Result<(), String> {
    let bad = |text: &&[u8]| !text.iter().all(|&b| is_target(b));
    match text.literals().find(bad) {
        None => Ok(()),
        Some(text) => {
            let text = String::from_utf8_lossy(text);
            Err(format!("{text:?} cannot stand in a request target"))
        }
    }
}
