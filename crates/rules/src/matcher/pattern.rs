//! Comparison with regular expressions.

use regex::bytes::{Regex, RegexBuilder};

use crate::scratch::Captures;

/// Regular expressions, of which one has to match.
#[derive(Debug)]
pub(crate) struct Patterns {
    list: Vec<Regex>,
}

/// Compiles one expression.
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

impl Patterns {
    pub(crate) fn new(patterns: &[String], ignore_case: bool) -> Result<Self, String> {
        let compiled = patterns.iter().map(|pattern| regex(pattern, ignore_case));
        let list = compiled.collect::<Result<_, _>>()?;
        Ok(Self { list })
    }

    pub(crate) fn has_groups(&self) -> bool {
        self.list.iter().any(|regex| regex.captures_len() > 1)
    }

    /// Whether one matches; groups go to `captures`, if it has any.
    pub(crate) fn matches(&self, value: &[u8], captures: &mut Option<Captures>) -> bool {
        self.list.iter().any(|regex| {
            if regex.captures_len() == 1 {
                return regex.is_match(value);
            }
            let found = regex.captures(value);
            if let Some(found) = &found {
                *captures = Some(Captures::new(found, value));
            }
            found.is_some()
        })
    }
}
