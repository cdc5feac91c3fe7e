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
    /// A header of the response as it was sent to the client: `sent_header:NAME`.
    Sent(String),
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
        // Commas in parentheses belong to what a value goes through: `path|field(1,2)`.
        let mut depth = 0_u32;
        let mut parts = inside.split(|c: char| {
            match c {
                '(' => depth += 1,
                ')' => depth = depth.saturating_sub(1),
                _ => {}
            }
            c == ',' && depth == 0
        });
        let name = parts.next().unwrap_or_default();
        let mut shape = Shape::default();
        for option in parts {
            shape.read(option)?;
        }
        let sent = name.strip_prefix("sent_header:");
        let what = match (Value::named(name), Asked::named(name), sent) {
            (Some(value), _, _) => What::Value(value),
            (None, Some(asked), _) => self.give(Given::Asked(asked)),
            (None, None, Some("")) => {
                return Err(format!("{name:?} lacks a name behind the colon"));
            }
            (None, None, Some(header)) => self.give(Given::Sent(header.to_owned())),
            (None, None, None) => {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::parcel::{self, Writer};
    use crate::sample;

    fn parse(text: &str) -> Result<Template, TemplateError> {
        Template::parse(text, &mut |name| match name.starts_with("header:") {
            true => Ok(()),
            false => Err(format!("{name} is not known")),
        })
    }

    /// The line for a request that was tried twice, with `given` for whatever the worker has to give.
    fn written(text: &str, escape: Escape, given: Option<&[u8]>) -> String {
        let mut attempts = [sample::failed_attempt(), sample::failed_attempt()];
        (attempts[1].connected_us, attempts[1].first_byte_us) = (Some(1_000), Some(2_500_000));
        (attempts[1].status, attempts[1].fault) = (200, None);
        let record = sample::record(&attempts);
        let template = parse(text).unwrap();
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes);
        writer.log(record.listener);
        for _ in template.given() {
            writer.value(given);
        }
        let mut out = Vec::new();
        parcel::read(&bytes, |_, given| {
            let line = Line {
                record: &record,
                given,
                escape,
                empty: "-",
            };
            template.write(&line, &mut out);
        });
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn values_and_options_are_written() {
        let hostile = b"a\"b\\c#{|}\x01\xe9 \t".as_slice();
        for (text, escape, wanted) in [
            ("$$${method} x", Escape::Nginx, "$GET x"),
            (
                "${header:x}",
                Escape::Nginx,
                "a\\x22b\\x5Cc#{|}\\x01\\xE9 \\x09",
            ),
            ("${header:x}", Escape::Haproxy, "a#22b\\c#23{|}#01#E9 #09"),
            (
                "${header:x}",
                Escape::HaproxyCapture,
                "a#22b\\c#23#7B#7C#7D#01#E9 #09",
            ),
            (
                "${header:x}",
                Escape::Json,
                "a\\\"b\\\\c#{|}\\u0001\u{fffd} \\t",
            ),
            ("${header:x}", Escape::None, "a\"b\\c#{|}\\x01\\xE9 \t"),
            ("${header:x,max=2}", Escape::Nginx, "a\\x22"),
            ("${header:x,max=2,escape=none}", Escape::Nginx, "a\""),
            (
                "${upstream_addr}",
                Escape::Nginx,
                "10.0.0.2:8080, 10.0.0.2:8080",
            ),
            ("${upstream_status}", Escape::Nginx, "502, 200"),
            ("${upstream_connect_time}", Escape::Nginx, "-, 0.001"),
            ("${upstream_header_time}", Escape::Nginx, "-, 2.500"),
            ("${connect_ms}/${response_ms}", Escape::Nginx, "1/2500"),
            ("${total_s} ${total_us}", Escape::Nginx, "0.005 5432"),
            ("${haproxy_retries} ${tls_version}", Escape::Nginx, "1 -"),
        ] {
            assert_eq!(
                written(text, escape, Some(hostile)),
                wanted,
                "{text} {escape:?}"
            );
        }
        assert_eq!(
            written("${header:x} ${header:y,else=no}", Escape::Nginx, None),
            "- no"
        );
        assert_eq!(written("${header:x,else=}.", Escape::Nginx, Some(b"")), ".");
    }

    #[test]
    fn the_worker_is_asked_once_for_what_stands_twice() {
        let template = parse("${header:a}${local_ip}${header:a}${status}").unwrap();
        let wanted = [
            Given::Fetch("header:a".to_owned()),
            Given::Asked(Asked::LocalIp),
        ];
        assert_eq!(template.given(), wanted);
    }

    #[test]
    fn what_values_go_through_may_have_commas() {
        let template = parse("${header:a|field(1,2),max=3}").unwrap();
        let wanted = [Given::Fetch("header:a|field(1,2)".to_owned())];
        assert_eq!(template.given(), wanted);
    }

    #[test]
    fn mistakes_are_located() {
        for (text, at) in [
            ("a$", 1),
            ("$1", 0),
            ("ab${status", 2),
            ("x${nothing}", 1),
            ("${status,max=0}", 0),
            ("${status,max}", 0),
            ("${status,escape=loud}", 0),
            ("${status,upper}", 0),
        ] {
            assert_eq!(parse(text).unwrap_err().at, at, "{text}");
        }
    }

    #[test]
    fn names_are_unique_and_documented() {
        let mut names: Vec<&str> = super::super::reference().map(|doc| doc.spelling).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        for doc in super::super::reference() {
            if doc.spelling.starts_with("sent_header:") {
                continue;
            }
            assert!(doc.summary.trim_end().ends_with('.'), "{}", doc.spelling);
            let known =
                Value::named(doc.spelling).is_some() != Asked::named(doc.spelling).is_some();
            assert!(known, "{}", doc.spelling);
        }
    }
}
