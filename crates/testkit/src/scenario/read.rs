//! Reading TOML with places, where every key that nobody asked for is an error.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A file and its text, for the places of errors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source<'a> {
    pub(super) file: &'a str,
    pub(super) text: &'a str,
}

impl Source<'_> {
    fn error(&self, at: &Range<usize>, message: &str) -> String {
        let before = self.text.get(..at.start).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        format!("{}:{line}: {message}", self.file)
    }
}

/// A value with its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node<'a> {
    source: Source<'a>,
    value: &'a Spanned<DeValue<'a>>,
}

impl<'a> Node<'a> {
    /// An error at this value.
    pub(super) fn error(&self, message: &str) -> String {
        self.source.error(&self.value.span(), message)
    }

    pub(super) fn text(&self) -> Result<String, String> {
        match self.value.get_ref().as_str() {
            Some(text) => Ok(text.to_owned()),
            None => Err(self.error("a text is expected")),
        }
    }

    pub(super) fn number(&self) -> Result<i64, String> {
        let number = self.value.get_ref().as_integer().and_then(|digits| {
            let digits = digits.as_str().replace('_', "");
            digits.parse().ok()
        });
        number.ok_or_else(|| self.error("a number is expected"))
    }

    pub(super) fn count(&self) -> Result<usize, String> {
        usize::try_from(self.number()?).map_err(|_| self.error("it cannot be negative"))
    }

    pub(super) fn flag(&self) -> Result<bool, String> {
        let flag = self.value.get_ref().as_bool();
        flag.ok_or_else(|| self.error("true or false is expected"))
    }

    pub(super) fn duration(&self) -> Result<Duration, String> {
        duration(&self.text()?).ok_or_else(|| self.error("a duration such as \"1500ms\" or \"2s\""))
    }

    /// The members of a list; of a single value that value.
    pub(super) fn list(&self) -> Vec<Self> {
        match self.value.get_ref().as_array() {
            Some(items) => items
                .iter()
                .map(|value| Self {
                    source: self.source,
                    value,
                })
                .collect(),
            None => vec![*self],
        }
    }

    pub(super) fn texts(&self) -> Result<Vec<String>, String> {
        self.list().iter().map(Self::text).collect()
    }

    pub(super) fn section(&self) -> Result<Section<'a>, String> {
        match self.value.get_ref().as_table() {
            Some(table) => Ok(Section::new(self.source, table, self.value.span())),
            None => Err(self.error("a table is expected")),
        }
    }

    /// A table whose keys are free.
    pub(super) fn entries(&self) -> Result<Vec<(String, Self)>, String> {
        let Some(table) = self.value.get_ref().as_table() else {
            return Err(self.error("a table is expected"));
        };
        let entry = |(key, value): (&'a Spanned<_>, &'a Spanned<DeValue<'a>>)| {
            let key: &std::borrow::Cow<'_, str> = key.get_ref();
            let node = Self {
                source: self.source,
                value,
            };
            (key.to_string(), node)
        };
        Ok(table.iter().map(entry).collect())
    }

    /// A table from free keys to texts.
    pub(super) fn strings(&self) -> Result<BTreeMap<String, String>, String> {
        let text = |(key, node): (String, Self)| Ok((key, node.text()?));
        self.entries()?.into_iter().map(text).collect()
    }

    /// The value as JSON, for comparisons.
    pub(super) fn json(&self) -> Result<serde_json::Value, String> {
        let value = self.value.get_ref();
        if let Some(text) = value.as_str() {
            return Ok(text.into());
        }
        if let Some(flag) = value.as_bool() {
            return Ok(flag.into());
        }
        Ok(self.number()?.into())
    }
}

/// A table whose keys are known.
#[derive(Debug)]
pub(super) struct Section<'a> {
    source: Source<'a>,
    table: &'a DeTable<'a>,
    at: Range<usize>,
    taken: Vec<&'static str>,
}

impl<'a> Section<'a> {
    pub(super) fn new(source: Source<'a>, table: &'a DeTable<'a>, at: Range<usize>) -> Self {
        Self {
            source,
            table,
            at,
            taken: Vec::new(),
        }
    }

    /// An error at the table.
    pub(super) fn error(&self, message: &str) -> String {
        self.source.error(&self.at, message)
    }

    pub(super) fn take(&mut self, key: &'static str) -> Option<Node<'a>> {
        self.taken.push(key);
        let (_, value) = self.table.iter().find(|(k, _)| k.get_ref() == key)?;
        Some(Node {
            source: self.source,
            value,
        })
    }

    pub(super) fn need(&mut self, key: &'static str) -> Result<Node<'a>, String> {
        let found = self.take(key);
        found.ok_or_else(|| self.error(&format!("`{key}` is missing")))
    }

    /// What `read` makes of a value, if it is there.
    pub(super) fn maybe<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&Node<'a>) -> Result<T, String>,
    ) -> Result<Option<T>, String> {
        self.take(key).map(|node| read(&node)).transpose()
    }

    pub(super) fn texts(&mut self, key: &'static str) -> Result<Vec<String>, String> {
        Ok(self.maybe(key, Node::texts)?.unwrap_or_default())
    }

    pub(super) fn flag(&mut self, key: &'static str) -> Result<bool, String> {
        Ok(self.maybe(key, Node::flag)?.unwrap_or_default())
    }

    /// Every key has been asked for.
    pub(super) fn end(self) -> Result<(), String> {
        let unknown = self
            .table
            .keys()
            .find(|key| !self.taken.iter().any(|known| key.get_ref() == known));
        match unknown {
            None => Ok(()),
            Some(key) => {
                let name = key.get_ref();
                let known = self.taken.join(", ");
                let message = format!("`{name}` is not known here; known: {known}");
                Err(self.source.error(&key.span(), &message))
            }
        }
    }
}

/// `300ms`, `2s` or `1m`.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().ok()?;
    match text.get(digits.len()..)? {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_secs(number * 60)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_keys_are_told_with_their_line() {
        let text = "a = 1\n[t]\nb = \"2s\"\nc = 3\n";
        let table = DeTable::parse(text).unwrap();
        let source = Source { file: "f", text };
        let mut root = Section::new(source, table.get_ref(), 0..0);
        assert_eq!(root.need("a").unwrap().number(), Ok(1));
        let mut inner = root.need("t").unwrap().section().unwrap();
        let time = inner.need("b").unwrap().duration();
        assert_eq!(time, Ok(Duration::from_secs(2)));
        let why = inner.end().unwrap_err();
        assert!(why.starts_with("f:4: `c` is not known here"), "{why}");
        root.end().unwrap();
        let why = Section::new(source, table.get_ref(), 0..0)
            .need("x")
            .unwrap_err();
        assert_eq!(why, "f:1: `x` is missing");
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("1500ms"), Some(Duration::from_millis(1500)));
        assert_eq!(duration("2"), None);
        assert_eq!(duration("s"), None);
    }
}
