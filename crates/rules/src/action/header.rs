//! Headers of requests and responses, and the host.

use clearway_http::{Edits, Known, uri};
use regex::bytes::Regex;

use super::{Invalid, VALUE_MAX};
use crate::fetch::{Context, Text, edited};
use crate::matcher;
use crate::scratch::{Captures, Scratch};
use crate::view::View;

/// Headers that say how a message is transferred: the encoder writes them.
const TRANSFER: [Known; 9] = [
    Known::ContentLength,
    Known::TransferEncoding,
    Known::Connection,
    Known::KeepAlive,
    Known::ProxyConnection,
    Known::Te,
    Known::Trailer,
    Known::Upgrade,
    Known::Http2Settings,
];

/// What is done with a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Set,
    Add,
    Remove,
}

/// A change of one header.
#[derive(Debug)]
pub(crate) struct Header {
    operation: Operation,
    name: Box<str>,
    value: Text,
    writes_empty: bool,
}

impl Header {
    /// # Errors
    /// Names and constant values that HTTP does not allow, and headers that belong to the
    /// connection and not to rules.
    pub(super) fn new(
        operation: Operation,
        name: &str,
        value: Option<Text>,
        writes_empty: bool,
    ) -> Result<Self, String> {
        check_name(name)?;
        let value = value.unwrap_or_else(|| Text::new(Vec::new()));
        check_constant(&value)?;
        Ok(Self {
            operation,
            name: name.into(),
            value,
            writes_empty,
        })
    }

    /// An empty value is no header unless that is wanted: many servers refuse one that is there and
    /// empty.
    pub(super) fn apply(
        &self,
        view: &View<'_>,
        scratch: &mut Scratch,
        edits: &mut Edits,
    ) -> Result<(), Invalid> {
        scratch.lend(|scratch, room| {
            let value = self
                .value
                .render(&Context::for_templates(&view.with(edits), scratch), room);
            if !is_value(value) {
                return Err(Invalid);
            }
            match self.operation {
                Operation::Remove => edits.remove(&self.name),
                Operation::Set if value.is_empty() && !self.writes_empty => {
                    edits.remove(&self.name);
                }
                Operation::Add if value.is_empty() && !self.writes_empty => {}
                Operation::Set => edits.set(&self.name, value),
                Operation::Add => edits.add(&self.name, value),
            }
            Ok(())
        })
    }
}

/// A pattern in the values of a header, and what takes its place.
#[derive(Debug)]
pub(crate) struct Replace {
    response: bool,
    name: Box<str>,
    regex: Regex,
    replacement: Text,
    items: bool,
}

/// The values that a header gets.
pub(super) struct Replaced<'a> {
    name: &'a str,
    values: Option<Vec<Vec<u8>>>,
}

impl Replaced<'_> {
    /// Writes them down as changes.
    pub(super) fn write(self, edits: &mut Edits) -> Result<(), Invalid> {
        let values = self.values.unwrap_or_default();
        if !values.iter().all(|value| is_value(value)) {
            return Err(Invalid);
        }
        for (index, value) in values.iter().enumerate() {
            if index == 0 {
                edits.set(self.name, value);
            } else {
                edits.add(self.name, value);
            }
        }
        Ok(())
    }
}

impl Replace {
    /// # Errors
    /// Names and values that HTTP does not allow, a pattern that is none.
    pub(super) fn new(
        response: bool,
        name: &str,
        pattern: &str,
        replacement: Text,
        items: bool,
    ) -> Result<Self, String> {
        check_name(name)?;
        check_constant(&replacement)?;
        Ok(Self {
            response,
            name: name.into(),
            regex: matcher::regex(pattern, false)?,
            replacement,
            items,
        })
    }

    /// What becomes of the values; nothing is changed where the pattern does not match.
    pub(super) fn apply(&self, view: &View<'_>, scratch: &Scratch) -> Replaced<'_> {
        let at = Context::for_templates(view, scratch);
        let (mut values, mut is_changed) = (Vec::new(), false);
        for line in edited::lines_of(&at, &self.name, self.response) {
            let parts: Vec<&[u8]> = if self.items {
                edited::items(&[line])
            } else {
                vec![line]
            };
            let mut value = Vec::new();
            for (index, part) in parts.iter().enumerate() {
                if index > 0 {
                    value.extend_from_slice(b", ");
                }
                is_changed |= self.replace(part, &at, &mut value);
            }
            values.push(value);
        }
        Replaced {
            name: &self.name,
            values: is_changed.then_some(values),
        }
    }

    fn replace(&self, value: &[u8], at: &Context<'_>, out: &mut Vec<u8>) -> bool {
        let Some(found) = self.regex.captures(value) else {
            out.extend_from_slice(value);
            return false;
        };
        let captures = Captures::new(&found, value);
        let captures = &captures;
        self.replacement.write(&Context { captures, ..*at }, out);
        true
    }
}

/// Headers that go, by a pattern of their names.
#[derive(Debug)]
pub(crate) struct RemoveLike {
    response: bool,
    regex: Regex,
}

impl RemoveLike {
    /// # Errors
    /// A pattern that is none.
    pub(super) fn new(response: bool, pattern: &str) -> Result<Self, String> {
        let regex = matcher::regex(pattern, true)?;
        Ok(Self { response, regex })
    }

    /// Those that belong to the connection and the host stay.
    pub(super) fn apply(&self, view: &View<'_>, edits: &mut Edits) {
        let (fields, buf) = match view.response {
            Some((head, buf)) if self.response => (&head.fields, buf),
            Some(_) | None => (&view.head.fields, view.buf),
        };
        for field in fields {
            let name = field.name.of(buf);
            let stays = field.known == Known::Host || TRANSFER.contains(&field.known);
            if !stays
                && self.regex.is_match(name)
                && let Ok(name) = std::str::from_utf8(name)
            {
                edits.remove(name);
            }
        }
    }
}

/// The host that the server sees.
#[derive(Debug)]
pub(crate) struct Host {
    value: Text,
}

impl Host {
    /// # Errors
    /// A constant that is no host.
    pub(super) fn new(value: Text) -> Result<Self, String> {
        match value.constant() {
            Some(host) if !is_host(host) => {
                let host = String::from_utf8_lossy(host);
                Err(format!("{host:?} is not a host"))
            }
            Some(_) | None => Ok(Self { value }),
        }
    }

    pub(super) fn apply(
        &self,
        view: &View<'_>,
        scratch: &mut Scratch,
        edits: &mut Edits,
    ) -> Result<(), Invalid> {
        scratch.lend(|scratch, room| {
            let host = self
                .value
                .render(&Context::for_templates(&view.with(edits), scratch), room);
            if !is_host(host) {
                return Err(Invalid);
            }
            edits.set_host(host);
            Ok(())
        })
    }
}

fn is_host(host: &[u8]) -> bool {
    !host.is_empty() && host.len() <= VALUE_MAX && uri::is_host(host)
}

/// Whether a value may stand in a header (RFC 9110 section 5.5) and is not too long.
pub(super) fn is_value(value: &[u8]) -> bool {
    let allowed = |&b: &u8| b == b'\t' || (b >= b' ' && b != 0x7f);
    value.len() <= VALUE_MAX && value.iter().all(allowed)
}

/// Checks what is known of a value before there is a request.
pub(super) fn check_constant(value: &Text) -> Result<(), String> {
    match value.literals().find(|text| !is_value(text)) {
        None => Ok(()),
        Some(text) => {
            let text = String::from_utf8_lossy(text);
            Err(format!("{text:?} cannot stand in a header"))
        }
    }
}

/// Whether it is a token (RFC 9110 section 5.6.2).
pub(super) fn is_token(text: &[u8]) -> bool {
    let token = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
    !text.is_empty() && text.iter().all(token)
}

/// The host of a request is more than a header; in a response it means nothing.
pub(super) fn check_not_host(name: &str) -> Result<(), String> {
    match Known::of(name.as_bytes()) == Known::Host {
        true => {
            Err("the host can be set, as a whole, but is no header to add or remove".to_owned())
        }
        false => Ok(()),
    }
}

pub(super) fn check_name(name: &str) -> Result<(), String> {
    if !is_token(name.as_bytes()) {
        return Err(format!("{name:?} is not the name of a header"));
    }
    if TRANSFER.contains(&Known::of(name.as_bytes())) {
        return Err(format!(
            "{name:?} says how the message is transferred; rules cannot change it"
        ));
    }
    Ok(())
}
