//! Log formats given as their text (`log_format`, `log-format`, `text_format`): compiled once into the
//! pieces that a line is cut at.

use super::field::{Field, Fields};
use super::scan;

/// What is wrong with the text of a log format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TemplateError {
    /// It has no field that is known.
    NothingKnown,
    /// A field that begins here, counted in bytes from 0, does not end.
    Unended(usize),
    /// Lines of this format do not follow a text.
    NoTemplate,
}

impl std::fmt::Display for TemplateError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NothingKnown => f.write_str("the log format has no field that is known"),
            Self::Unended(at) => write!(f, "the field at byte {at} does not end"),
            Self::NoTemplate => f.write_str("lines of this format do not follow a text"),
        }
    }
}

impl std::error::Error for TemplateError {}

/// Part of a log format.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Text that stands in each line as it is.
    Literal(Vec<u8>),
    /// A field; with `true` it may be in quotes of its own.
    Field(Field, bool),
}

/// A field and what follows it.
#[derive(Debug)]
struct Piece {
    field: Field,
    may_be_quoted: bool,
    until: Box<[u8]>,
}

/// A compiled log format.
#[derive(Debug)]
pub(super) struct Template {
    before: Box<[u8]>,
    pieces: Box<[Piece]>,
    /// How many pieces a line must have; the others were added to the format later.
    needed: usize,
}

impl Template {
    /// Puts a format together from its parts.
    pub(super) fn new(parts: impl IntoIterator<Item = Part>) -> Result<Self, TemplateError> {
        let mut before = Vec::new();
        let mut pieces: Vec<(Field, bool, Vec<u8>)> = Vec::new();
        for part in parts {
            match (part, pieces.last_mut()) {
                (Part::Literal(text), None) => before.extend(text),
                (Part::Literal(text), Some((_, _, until))) => until.extend(text),
                // Nobody knows where the first of two fields ends that touch each other.
                (Part::Field(..), Some((field, _, until))) if until.is_empty() => {
                    *field = Field::Skip;
                }
                (Part::Field(field, quoted), _) => pieces.push((field, quoted, Vec::new())),
            }
        }
        join(&mut pieces, Field::Client, Field::Port, Field::ClientPort);
        join(&mut pieces, Field::Address, Field::Port, Field::AddressPort);
        if pieces.iter().all(|(field, ..)| *field == Field::Skip) {
            return Err(TemplateError::NothingKnown);
        }
        let pieces = pieces
            .into_iter()
            .map(|(field, may_be_quoted, until)| Piece {
                field,
                may_be_quoted,
                until: until.into_boxed_slice(),
            });
        let pieces: Box<[_]> = pieces.collect();
        Ok(Self {
            before: before.into_boxed_slice(),
            needed: pieces.len(),
            pieces,
        })
    }

    /// The same, for lines that may end after `needed` fields.
    pub(super) fn with_needed(self, needed: usize) -> Self {
        Self { needed, ..self }
    }

    /// The fields of a line; `None` where it does not have this shape. What follows is not looked at.
    pub(super) fn cut<'a>(&self, line: &'a [u8]) -> Option<Fields<'a>> {
        let mut rest = line.strip_prefix(&*self.before)?;
        let mut fields = Fields::EMPTY;
        for (at, piece) in self.pieces.iter().enumerate() {
            let Some((value, after)) = piece.cut(rest) else {
                // The last field of an older line has nothing behind it.
                if at + 1 < self.needed {
                    return None;
                }
                fields.set(piece.field, rest);
                break;
            };
            fields.set(piece.field, value);
            rest = after;
        }
        Some(fields)
    }
}

impl Piece {
    fn cut<'a>(&self, rest: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
        if self.may_be_quoted
            && let Some(inside) = rest.strip_prefix(b"\"")
        {
            let end = closing_quote(inside, b"\"")?;
            let after = inside.get(end + 1..)?;
            return Some((inside.get(..end)?, after.strip_prefix(&*self.until)?));
        }
        let Some(first) = self.until.first() else {
            return Some((rest, b""));
        };
        let end = match (*first, self.until.len()) {
            (b'"', _) => closing_quote(rest, &self.until)?,
            (byte, 1) => memchr::memchr(byte, rest)?,
            (byte, _) => find_from(rest, byte, &self.until)?,
        };
        Some((rest.get(..end)?, rest.get(end + self.until.len()..)?))
    }
}

/// Where `until`, which begins with a quote, stands: not behind a backslash, by which the formats that
/// escape with it keep quotes of strangers apart.
fn closing_quote(rest: &[u8], until: &[u8]) -> Option<usize> {
    memchr::memchr_iter(b'"', rest).find(|at| {
        let head = rest.get(..*at).unwrap_or_default();
        let slashes = head.iter().rev().take_while(|byte| **byte == b'\\').count();
        slashes % 2 == 0 && rest.get(*at..).is_some_and(|tail| tail.starts_with(until))
    })
}

fn find_from(rest: &[u8], first: u8, until: &[u8]) -> Option<usize> {
    memchr::memchr_iter(first, rest)
        .find(|at| rest.get(*at..).is_some_and(|tail| tail.starts_with(until)))
}

/// Makes one field of an address and a port with a colon between them: an IPv6 address has more colons.
fn join(pieces: &mut Vec<(Field, bool, Vec<u8>)>, address: Field, port: Field, both: Field) {
    let found = pieces.windows(2).position(|pair| match pair {
        [first, second] => first.0 == address && first.2 == b":" && second.0 == port,
        _ => false,
    });
    if let Some(at) = found {
        pieces.remove(at);
        if let Some(piece) = pieces.get_mut(at) {
            piece.0 = both;
        }
    }
}

/// Cuts a line that a program or a person put something before: syslog, a container's name, a time. The
/// number of words that were passed over last time is tried first.
pub(super) fn cut_behind_prefix<'a>(
    line: &'a [u8],
    words: &mut usize,
    cut: impl Fn(&'a [u8]) -> Option<Fields<'a>>,
) -> Option<Fields<'a>> {
    const WORDS_MAX: usize = 10;
    if let Some(found) = behind(line, *words).and_then(&cut) {
        return Some(found);
    }
    for count in (0..=WORDS_MAX).filter(|count| *count != *words) {
        if let Some(found) = cut(behind(line, count)?) {
            *words = count;
            return Some(found);
        }
    }
    None
}

fn behind(line: &[u8], words: usize) -> Option<&[u8]> {
    let mut rest = line;
    for _ in 0..words {
        let at = memchr::memchr(b' ', rest)?;
        rest = rest.get(at + 1..)?;
        while let Some(after) = rest.strip_prefix(b" ") {
            rest = after;
        }
    }
    Some(rest)
}

/// Collects the parts of a format: fields between literal text.
#[derive(Debug, Default)]
pub(super) struct Parts(Vec<Part>);

impl Parts {
    pub(super) fn literal(&mut self, text: &[u8]) {
        match self.0.last_mut() {
            Some(Part::Literal(before)) => before.extend_from_slice(text),
            _ if text.is_empty() => {}
            _ => self.0.push(Part::Literal(text.to_vec())),
        }
    }

    pub(super) fn field(&mut self, field: Field, may_be_quoted: bool) {
        self.0.push(Part::Field(field, may_be_quoted));
    }

    pub(super) fn template(self) -> Result<Template, TemplateError> {
        Template::new(self.0)
    }
}

/// What stands before the byte, and it and what follows; all of it where there is none.
pub(super) fn up_to(text: &[u8], byte: u8) -> (&[u8], &[u8]) {
    let head = scan::before(text, byte);
    (head, text.get(head.len()..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(parts: &[(&str, Field)]) -> Template {
        let mut all = Parts::default();
        for (literal, field) in parts {
            all.literal(literal.as_bytes());
            all.field(*field, false);
        }
        all.template().unwrap()
    }

    #[test]
    fn lines_are_cut_at_the_literals() {
        let template = template(&[
            ("[", Field::Time),
            ("] \"", Field::Request),
            ("\" ", Field::Status),
        ]);
        let fields = template.cut(b"[now] \"GET /\\\"a HTTP/1.1\" 200").unwrap();
        assert_eq!(fields.get(Field::Time), b"now");
        assert_eq!(fields.get(Field::Request), b"GET /\\\"a HTTP/1.1");
        assert_eq!(fields.get(Field::Status), b"200");
        assert!(fields.has(Field::Status) && !fields.has(Field::Host));
        assert!(template.cut(b"now] \"GET").is_none());
        assert!(template.cut(b"[now] GET").is_none());
    }

    #[test]
    fn addresses_with_ports_are_one_field() {
        let template = template(&[
            ("", Field::Client),
            (":", Field::Port),
            (" ", Field::Status),
        ]);
        let fields = template.cut(b"::1:4000 200").unwrap();
        assert_eq!(fields.get(Field::ClientPort), b"::1:4000");
    }

    #[test]
    fn prefixes_are_passed_over() {
        let template = template(&[("#", Field::Status), (";", Field::Skip)]);
        let mut words = 0;
        let line = b"<134>Nov  1 07:30:00 host haproxy[1]: #200;";
        let fields = cut_behind_prefix(line, &mut words, |rest| template.cut(rest)).unwrap();
        assert_eq!((fields.get(Field::Status), words), (&b"200"[..], 5));
        assert!(cut_behind_prefix(b"nothing", &mut words, |rest| template.cut(rest)).is_none());
    }

    #[test]
    fn formats_without_known_fields_are_refused() {
        let mut parts = Parts::default();
        parts.literal(b"hello ");
        parts.field(Field::Skip, false);
        assert_eq!(parts.template().unwrap_err(), TemplateError::NothingKnown);
    }
}
