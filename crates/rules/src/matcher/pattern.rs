//! Comparison with regular expressions.
//!
//! Almost all take linear time. Look-around, which other balancers' files use (`/\\.(?!well-known)`), is
//! matched by backtracking with a bound. With a text that takes more steps nobody can tell whether it matches, so the
//! request is not served: a rule that denies would let it through.

use regex::bytes::{Regex, RegexBuilder};

use crate::scratch::Captures;

/// Steps that a pattern with look-around may take for a text.
const STEPS_MAX: usize = 20_000;

/// What looking at a value yields beside whether it passes.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Groups of the pattern that matched, if it has any.
    pub(crate) captures: Option<Captures>,
    /// A pattern took more steps than are allowed.
    pub(crate) gave_up: bool,
}

/// A pattern took more steps than are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GaveUp;

/// Regular expressions, of which one has to match.
#[derive(Debug)]
pub(crate) struct Patterns {
    list: Vec<Pattern>,
}

/// A regular expression.
#[derive(Debug)]
pub(crate) enum Pattern {
    /// It takes linear time.
    Linear(Regex),
    /// It has look-around.
    Backtracking(Box<fancy_regex::Regex>),
}

/// Compiles one expression without look-around.
///
/// # Errors
/// The expression and what is wrong with it, on one line.
pub(crate) fn regex(pattern: &str, ignore_case: bool) -> Result<Regex, String> {
    let built = RegexBuilder::new(pattern)
        .case_insensitive(ignore_case)
        .build();
    built.map_err(|error| {
        // The library draws a picture; its last line has the words.
        let text = error.to_string();
        let words = text.lines().last().unwrap_or_default();
        let words = words.trim().trim_start_matches("error: ");
        format!("{pattern:?} is not a regular expression: {words}")
    })
}

/// Says what is wrong with an expression that values are compared with.
///
/// # Errors
/// The expression and what is wrong with it, on one line.
pub fn check_pattern(pattern: &str) -> Result<(), String> {
    Pattern::new(pattern, false).map(drop)
}

/// The names of the groups of an expression, each with its number; none if it is no expression.
#[must_use]
pub fn group_names(pattern: &str) -> Vec<(usize, String)> {
    let named = |(index, name): (usize, Option<&str>)| Some((index, name?.to_owned()));
    match Pattern::new(pattern, false) {
        Ok(Pattern::Linear(regex)) => regex
            .capture_names()
            .enumerate()
            .filter_map(named)
            .collect(),
        Ok(Pattern::Backtracking(regex)) => regex
            .capture_names()
            .enumerate()
            .filter_map(named)
            .collect(),
        Err(_) => Vec::new(),
    }
}

impl Pattern {
    /// Compiles one expression, perhaps with look-around.
    ///
    /// # Errors
    /// The expression and what is wrong with it, on one line.
    pub(crate) fn new(pattern: &str, ignore_case: bool) -> Result<Self, String> {
        let plain = regex(pattern, ignore_case);
        let looks = ["(?=", "(?!", "(?<=", "(?<!"];
        if plain.is_ok() || !looks.iter().any(|look| pattern.contains(look)) {
            return plain.map(Self::Linear);
        }
        let mut builder = fancy_regex::RegexBuilder::new(pattern);
        builder.case_insensitive(ignore_case);
        builder.backtrack_limit(STEPS_MAX);
        let built = builder.build();
        let told = |error| format!("{pattern:?} is not a regular expression: {error}");
        built
            .map(|regex| Self::Backtracking(Box::new(regex)))
            .map_err(told)
    }

    /// Whether there are groups besides the whole match.
    fn has_groups(&self) -> bool {
        match self {
            Self::Linear(regex) => regex.captures_len() > 1,
            Self::Backtracking(regex) => regex.captures_len() > 1,
        }
    }

    /// Whether it matches somewhere in a value.
    pub(crate) fn is_match(&self, value: &[u8]) -> Result<bool, GaveUp> {
        match self {
            Self::Linear(regex) => Ok(regex.is_match(value)),
            Self::Backtracking(regex) => {
                let text = Text::new(value);
                regex.is_match(&text.text).map_err(|_| GaveUp)
            }
        }
    }

    /// The groups where it matches.
    pub(crate) fn captures(&self, value: &[u8]) -> Result<Option<Captures>, GaveUp> {
        Ok(match self {
            Self::Linear(regex) => {
                let found = regex.captures(value);
                found.map(|found| Captures::new(&found, value))
            }
            Self::Backtracking(regex) => {
                let text = Text::new(value);
                let found = regex.captures(&text.text).map_err(|_| GaveUp)?;
                let Some(found) = found else { return Ok(None) };
                let group = |index| {
                    let group = found.get(index)?;
                    Some(text.place(group.start())..text.place(group.end()))
                };
                Some(Captures::placed(value, group))
            }
        })
    }
}

/// Bytes as the text that a pattern with look-around wants: each byte a character where they are not
/// UTF-8.
struct Text<'a> {
    text: std::borrow::Cow<'a, str>,
}

impl<'a> Text<'a> {
    fn new(value: &'a [u8]) -> Self {
        let text = match std::str::from_utf8(value) {
            Ok(text) => text.into(),
            Err(_) => value
                .iter()
                .map(|byte| char::from(*byte))
                .collect::<String>()
                .into(),
        };
        Self { text }
    }

    /// The place in the bytes of a place in the text.
    fn place(&self, at: usize) -> usize {
        match &self.text {
            std::borrow::Cow::Borrowed(_) => at,
            std::borrow::Cow::Owned(text) => {
                text.get(..at).map_or(at, |before| before.chars().count())
            }
        }
    }
}

impl Patterns {
    pub(crate) fn new(patterns: &[String], ignore_case: bool) -> Result<Self, String> {
        let compiled = patterns
            .iter()
            .map(|pattern| Pattern::new(pattern, ignore_case));
        let list = compiled.collect::<Result<_, _>>()?;
        Ok(Self { list })
    }

    pub(crate) fn has_groups(&self) -> bool {
        self.list.iter().any(Pattern::has_groups)
    }

    /// Whether one matches; what more is to be told goes to `found`.
    pub(crate) fn matches(&self, value: &[u8], found: &mut Found) -> bool {
        self.list.iter().any(|pattern| {
            let matched = match pattern.has_groups() {
                false => pattern.is_match(value),
                true => pattern.captures(value).map(|groups| {
                    let is_match = groups.is_some();
                    if is_match {
                        found.captures = groups;
                    }
                    is_match
                }),
            };
            found.gave_up |= matched.is_err();
            matched.unwrap_or(false)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn look_around_is_matched() {
        let hidden = Pattern::new(r"/\.(?!well-known)", false).unwrap();
        assert!(hidden.is_match(b"/a/.git/config").unwrap());
        assert!(!hidden.is_match(b"/.well-known/acme").unwrap());
        let found = hidden.is_match(b"/.git/\xff");
        assert_eq!(found, Ok(true), "bytes that are no text");
        let groups = Pattern::new(r"^/(?!b)([^/]+)/(.*)$", true).unwrap();
        let found = groups.captures(b"/\xffa/x").unwrap().unwrap();
        assert_eq!(found.group(1), Some(&b"\xffa"[..]));
        assert_eq!(found.group(2), Some(&b"x"[..]));
        assert!(groups.captures(b"/B/x").unwrap().is_none());
        assert!(Pattern::new("(?!", false).is_err());
    }

    #[test]
    fn backtracking_is_bounded() {
        let slow = Pattern::new(r"^((?!b)[a-z]+/?)+x$", false).unwrap();
        let text = [&[b'a'; 60][..], b"!"].concat();
        assert_eq!(slow.is_match(b"aaax"), Ok(true));
        assert_eq!(slow.is_match(&text), Err(GaveUp));
        let (all, mut found) = (Patterns { list: vec![slow] }, Found::default());
        assert!(!all.matches(&text, &mut found));
        assert!(found.gave_up);
    }
}
