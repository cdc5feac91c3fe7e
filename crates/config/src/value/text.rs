//! Plain text, names, paths.

use std::path::PathBuf;

use super::{Problem, Reader, Spec, Text, Value, text_values};
use crate::syntax::Node;
use crate::words;

/// Any text.
impl Value for String {
    fn read(node: &Node, _: &Spec, reader: &mut Reader<'_>) -> Option<Self> {
        let text = node.as_text().map(str::to_owned);
        text.or_else(|| reader.wrong_type(node, "text in quotes"))
    }

    fn print(&self, _: &Spec, out: &mut String) {
        out.push_str(&words::quoted(self));
    }

    fn kind(_: &Spec) -> String {
        "text".to_owned()
    }

    fn schema(_: &Spec) -> serde_json::Value {
        serde_json::json!({ "type": "string" })
    }

    #[cfg(test)]
    fn sample(rng: &mut clearway_base::rng::Rng, _: &Spec) -> Self {
        sample_text(rng, "abz09 \"\\\n\t'é{}$#=.")
    }
}

#[cfg(test)]
pub(super) fn sample_text(rng: &mut clearway_base::rng::Rng, alphabet: &str) -> String {
    let letters: Vec<char> = alphabet.chars().collect();
    let letter = |rng: &mut clearway_base::rng::Rng| {
        letters[usize::try_from(rng.below(letters.len() as u64)).unwrap()]
    };
    (0..=rng.below(8)).map(|_| letter(rng)).collect()
}

/// Longest name of a listener, route, backend or server.
const NAME_MAX: usize = 128;

/// A name of a listener, route, backend or server: it stands in logs, metrics and URLs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identifier(String);

impl Identifier {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Identifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::ops::Deref for Identifier {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Text for Identifier {
    const KIND: &'static str = "name";

    fn parse(text: &str) -> Result<Self, Problem> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "_-.:@".contains(c);
        let expected = "letters, digits and _ - . : @";
        if text.is_empty() || text == "-" {
            return Err(Problem::new(format!("{text:?} is not a name"), expected));
        }
        if text.len() > NAME_MAX {
            let message = format!("a name of {} characters is too long", text.len());
            return Err(Problem::new(message, format!("at most {NAME_MAX}")));
        }
        match text.chars().find(|c| !allowed(*c)) {
            None => Ok(Self(text.to_owned())),
            Some(c) => Err(Problem::new(
                format!("{text:?} is not a name: it contains {c:?}"),
                expected,
            )),
        }
    }

    fn text(&self) -> String {
        self.0.clone()
    }

    #[cfg(test)]
    fn sample(rng: &mut clearway_base::rng::Rng) -> Self {
        Self(sample_text(rng, "abcxyz019_.") + "n")
    }
}

/// Whether a byte may stand in a token (RFC 9110 section 5.6.2).
pub(super) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// A token as in HTTP: what may stand in `Via` or name a variable.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Token(String);

impl Token {
    /// A token from text that is known to be one; anything else becomes `clearway`.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self::parse(text).unwrap_or_else(|_| Self("clearway".to_owned()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Text for Token {
    const KIND: &'static str = "token";

    fn parse(text: &str) -> Result<Self, Problem> {
        if !text.is_empty() && text.bytes().all(is_token_byte) {
            return Ok(Self(text.to_owned()));
        }
        Err(Problem::new(
            format!("{text:?} is not a token"),
            "letters, digits and !#$%&'*+-.^_`|~",
        ))
    }

    fn text(&self) -> String {
        self.0.clone()
    }

    #[cfg(test)]
    fn sample(rng: &mut clearway_base::rng::Rng) -> Self {
        Self(sample_text(rng, "abcxyz019_-"))
    }
}

/// A path of a file.
impl Text for PathBuf {
    const KIND: &'static str = "path";

    fn parse(text: &str) -> Result<Self, Problem> {
        if text.is_empty() || text.contains('\0') {
            return Err(Problem::new(
                format!("{text:?} is not a path"),
                "the path of a file",
            ));
        }
        Ok(text.into())
    }

    fn text(&self) -> String {
        self.display().to_string()
    }

    #[cfg(test)]
    fn sample(_: &mut clearway_base::rng::Rng) -> Self {
        "pages/sorry.html".into()
    }
}

text_values!(Identifier, Token, PathBuf);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_in_logs_and_urls() {
        for good in ["app", "app-1.example", "10.0.0.1:80", "a@b"] {
            assert!(Identifier::parse(good).is_ok(), "{good}");
        }
        let long = "x".repeat(NAME_MAX + 1);
        for bad in ["", "-", "a b", "a/b", "a\"b", "ä", &long] {
            assert!(Identifier::parse(bad).is_err(), "{bad}");
        }
    }
}
