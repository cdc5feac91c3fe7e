//! Texts with `${…}` in them.

use std::fmt;

use crate::ast::Fetch;
use crate::convert::split;

/// One part of a template.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Piece {
    /// Text as it is.
    Text(String),
    /// The value of a fetch; nothing when there is none.
    Fetch(Fetch),
}

/// A text with values in it: `https://${host}${path}`. `$1` to `$9` are groups of a regular
/// expression, `$$` is a dollar sign.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Template {
    pieces: Vec<Piece>,
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

impl Template {
    /// A template of the pieces, neighbouring texts joined.
    #[must_use]
    pub fn new(pieces: impl IntoIterator<Item = Piece>) -> Self {
        let mut template = Self::default();
        for piece in pieces {
            match piece {
                Piece::Text(text) | Piece::Fetch(Fetch::Literal(text)) => template.text(&text),
                Piece::Fetch(_) => template.pieces.push(piece),
            }
        }
        template
    }

    /// A text that stands for itself, dollar signs included.
    #[must_use]
    pub fn literal(text: &str) -> Self {
        Self::new([Piece::Text(text.to_owned())])
    }

    /// Reads the written form.
    ///
    /// # Errors
    /// What is wrong and where: an unknown fetch, `${` without `}`, a lone `$`.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
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
                let Some((name, tail)) = split(tail, '}') else {
                    return Err(error("`${` without `}`".to_owned()));
                };
                let fetch = Fetch::parse(name).map_err(error)?;
                template.pieces.push(Piece::Fetch(fetch));
                tail
            } else if let Some(digit) = after.bytes().next().filter(u8::is_ascii_digit) {
                template
                    .pieces
                    .push(Piece::Fetch(Fetch::Capture(digit - b'0')));
                after.get(1..).unwrap_or_default()
            } else {
                let message = "`$` that begins nothing; a dollar sign is written `$$`";
                return Err(error(message.to_owned()));
            };
        }
        template.text(rest);
        Ok(template)
    }

    /// The parts, in order.
    #[must_use]
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// The text when it is always the same.
    #[must_use]
    pub fn constant(&self) -> Option<&str> {
        match self.pieces.as_slice() {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            [_, ..] => None,
        }
    }

    fn text(&mut self, text: &str) {
        match self.pieces.last_mut() {
            _ if text.is_empty() => {}
            Some(Piece::Text(last)) => last.push_str(text),
            Some(Piece::Fetch(_)) | None => self.pieces.push(Piece::Text(text.to_owned())),
        }
    }
}

/// The written form, which [`Template::parse`] reads back.
impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => f.write_str(&text.replace('$', "$$"))?,
                Piece::Fetch(fetch) => write!(f, "${{{fetch}}}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fetch(fetch: Fetch) -> Piece {
        Piece::Fetch(fetch)
    }

    #[test]
    fn templates_are_read() {
        let text = |text: &str| Piece::Text(text.to_owned());
        let cases = [
            ("", vec![]),
            ("plain", vec![text("plain")]),
            ("a$$b", vec![text("a$b")]),
            ("$$$$", vec![text("$$")]),
            (
                "https://${host}${path}",
                vec![text("https://"), fetch(Fetch::Host), fetch(Fetch::Path)],
            ),
            (
                "/p/$1x${2}",
                vec![
                    text("/p/"),
                    fetch(Fetch::Capture(1)),
                    text("x"),
                    fetch(Fetch::Capture(2)),
                ],
            ),
            (
                "${header:x-a}",
                vec![fetch(Fetch::Header("x-a".to_owned()))],
            ),
        ];
        for (written, pieces) in cases {
            assert_eq!(
                Template::parse(written).unwrap().pieces(),
                pieces,
                "{written}"
            );
        }
        assert_eq!(Template::parse("a$$").unwrap().constant(), Some("a$"));
    }

    #[test]
    fn mistakes_are_located() {
        for (written, at) in [
            ("a$", 1),
            ("ab${host", 2),
            ("x${hots}", 1),
            ("$ 1", 0),
            ("${}", 0),
        ] {
            assert_eq!(Template::parse(written).unwrap_err().at, at, "{written}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(pieces in proptest::collection::vec(prop_oneof![
            "[a-z$/{}é]{0,6}".prop_map(Piece::Text),
            "[a-z-]{1,6}".prop_map(|n| Piece::Fetch(Fetch::Header(n))),
            (0_u8..10).prop_map(|n| Piece::Fetch(Fetch::Capture(n))),
        ], 0..6)) {
            let template = Template::new(pieces);
            prop_assert_eq!(Template::parse(&template.to_string()).unwrap(), template);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[$0-9{}a-zé]{0,12}") {
            drop(Template::parse(&text));
            let literal = Template::literal(&text);
            prop_assert_eq!(literal.constant(), Some(text.as_str()));
        }
    }
}
