//! Tests, compiled. One file per way of comparing.

mod literal;
mod network;
mod pattern;

use clearway_base::intern::Name;

use crate::ast::Test;
use crate::fetch::{Context, Source};
use crate::scratch::Scratch;
use crate::users::Users;
use crate::view::View;

pub(crate) use literal::{Literals, below};
pub(crate) use network::{Networks, address};
pub(crate) use pattern::{Found, GaveUp, Pattern, Patterns, regex};
pub use pattern::{check_pattern, group_names};

/// A compiled condition.
#[derive(Debug)]
pub(crate) enum Check {
    Always,
    Not(Box<Self>),
    All(Box<[Self]>),
    Any(Box<[Self]>),
    /// One of the values of a source passes.
    Value(Source, Matcher),
    /// The client's address is in one of the networks: no detour through text.
    Client(Networks),
    /// The request came in by one of the listeners: no look at the table of names.
    Listener(Box<[Name]>),
    /// The request names one of these users with the right password.
    User(Box<Users>),
}

/// A compiled test.
#[derive(Debug)]
pub(crate) enum Matcher {
    Literals(Literals),
    Patterns(Patterns),
    Networks(Networks),
    Exists,
    Range { min: u64, max: u64 },
    Length { min: usize, max: usize },
}

impl Matcher {
    /// # Errors
    /// A sentence about a regular expression that is none, or a test that nothing can pass.
    pub(crate) fn compile(test: &Test, ignore_case: bool) -> Result<Self, String> {
        Ok(match test {
            Test::Regex(patterns) => Self::Patterns(Patterns::new(patterns, ignore_case)?),
            Test::Contains(texts) if ignore_case => {
                let escaped: Vec<String> = texts.iter().map(|text| regex::escape(text)).collect();
                Self::Patterns(Patterns::new(&escaped, true)?)
            }
            Test::Network(list) => Self::Networks(Networks::new(list)),
            Test::Exists => Self::Exists,
            Test::Range { min, max } => {
                let (min, max) = (min.unwrap_or(0), max.unwrap_or(u64::MAX));
                if min > max {
                    return Err(format!("no number is at least {min} and at most {max}"));
                }
                Self::Range { min, max }
            }
            Test::Length { min, max } => Self::Length {
                min: *min,
                max: max.unwrap_or(usize::MAX),
            },
            Test::Exact(_)
            | Test::Prefix(_)
            | Test::Suffix(_)
            | Test::Contains(_)
            | Test::PathPrefix(_)
            | Test::Wildcard(_) => Self::Literals(Literals::new(test, ignore_case)),
        })
    }

    /// Whether a match yields captures.
    pub(crate) fn has_groups(&self) -> bool {
        match self {
            Self::Patterns(patterns) => patterns.has_groups(),
            Self::Literals(_)
            | Self::Networks(_)
            | Self::Exists
            | Self::Range { .. }
            | Self::Length { .. } => false,
        }
    }

    fn matches(&self, value: &[u8], found: &mut Found) -> bool {
        match self {
            Self::Literals(literals) => literals.matches(value),
            Self::Patterns(patterns) => patterns.matches(value, found),
            Self::Networks(networks) => address(value).is_some_and(|ip| networks.contains(ip)),
            Self::Exists => true,
            Self::Range { min, max } => {
                number(value).is_some_and(|number| (*min..=*max).contains(&number))
            }
            Self::Length { min, max } => (*min..=*max).contains(&value.len()),
        }
    }
}

/// A plain decimal number; one that does not fit is the greatest there is.
fn number(text: &[u8]) -> Option<u64> {
    let text = text.trim_ascii();
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |sum, &byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        Some(sum.saturating_mul(10).saturating_add(digit))
    })
}

impl Check {
    /// Whether the condition holds. Groups of the last pattern that matched become the captures.
    pub(crate) fn holds(&self, view: &View<'_>, scratch: &mut Scratch) -> bool {
        match self {
            Self::Always => true,
            Self::Not(check) => !check.holds(view, scratch),
            Self::All(checks) => checks.iter().all(|check| check.holds(view, scratch)),
            Self::Any(checks) => checks.iter().any(|check| check.holds(view, scratch)),
            Self::Value(source, matcher) => {
                let mut found = Found::default();
                let at = Context::for_tests(view, scratch);
                let holds = source.visit(&at, &mut |value| matcher.matches(value, &mut found));
                if let Some(captures) = found.captures {
                    scratch.set_captures(captures);
                }
                if found.gave_up {
                    scratch.give_up();
                }
                holds
            }
            Self::Client(networks) => {
                crate::fetch::client(view, scratch).is_some_and(|ip| networks.contains(ip))
            }
            Self::Listener(names) => names.contains(&view.listener),
            Self::User(users) => users.knows(view),
        }
    }

    /// Whether it holds for every request.
    pub(crate) fn is_always(&self) -> bool {
        match self {
            Self::Always => true,
            Self::All(checks) => checks.iter().all(Self::is_always),
            Self::Not(_)
            | Self::Any(_)
            | Self::Value(..)
            | Self::Client(_)
            | Self::Listener(_)
            | Self::User(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(test: &Test, ignore_case: bool, value: &str) -> bool {
        let matcher = Matcher::compile(test, ignore_case).unwrap();
        matcher.matches(value.as_bytes(), &mut Found::default())
    }

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    /// A test, values that pass, values that fail.
    type Case = (Test, &'static [&'static str], &'static [&'static str]);

    fn judge(cases: &[Case]) {
        for (test, good, bad) in cases {
            for value in *good {
                assert!(passes(test, false, value), "{test:?} {value:?}");
            }
            for value in *bad {
                assert!(!passes(test, false, value), "{test:?} {value:?}");
            }
        }
    }

    #[test]
    fn each_test_with_values_that_pass_and_fail() {
        let cases: Vec<Case> = vec![
            (
                Test::Exact(texts(&["a", "bc"])),
                &["a", "bc"],
                &["", "A", "ab", "abc"],
            ),
            (Test::Exact(vec![]), &[], &["", "a"]),
            (
                Test::Prefix(texts(&["/a", "x"])),
                &["/a", "/ab", "x"],
                &["", "/A", "a/a"],
            ),
            (
                Test::Suffix(texts(&[".js", "t"])),
                &["a.js", ".js", "st"],
                &["", "js", ".JS"],
            ),
            (
                Test::Contains(texts(&["ab"])),
                &["ab", "xaby"],
                &["", "aXb", "AB"],
            ),
            (
                Test::PathPrefix(texts(&["/api", "/v/"])),
                &["/api", "/api/", "/api/x", "/v", "/v/1"],
                &["/", "/apix", "/ap", "/vx", "x/api"],
            ),
            (Test::PathPrefix(texts(&["/"])), &["/", "", "/x"], &[]),
            (
                Test::Wildcard(texts(&["*.b.test", "A.test"])),
                &["x.b.test", "x.y.b.test", "a.test", "X.B.TEST"],
                &["b.test", ".b.test", "xb.test", "b.a.test", ""],
            ),
            (Test::Wildcard(texts(&["*"])), &["", "x"], &[]),
            (
                Test::Regex(texts(&["^/[0-9]+$", "z"])),
                &["/12", "xzx"],
                &["/1a", "", "Z"],
            ),
        ];
        judge(&cases);
    }

    #[test]
    fn each_test_that_understands_its_value() {
        let cases: Vec<Case> = vec![
            (
                Test::Network(vec![
                    "10.0.0.0/8".parse().unwrap(),
                    "fd00::/8".parse().unwrap(),
                ]),
                &["10.1.2.3", "fd12::1", " 10.0.0.1", "::ffff:10.0.0.1"],
                &["11.0.0.1", "fe80::1", "x", ""],
            ),
            (Test::Exists, &["", "x"], &[]),
            (
                Test::Range {
                    min: Some(5),
                    max: Some(10),
                },
                &["5", "10", "007", " 6 "],
                &["4", "11", "", "x", "-5", "5x", "99999999999999999999999"],
            ),
            (
                Test::Range {
                    min: Some(5),
                    max: None,
                },
                &["5", "99999999999999999999999"],
                &["4", "+5"],
            ),
            (
                Test::Length {
                    min: 1,
                    max: Some(2),
                },
                &["a", "ab"],
                &["", "abc"],
            ),
        ];
        judge(&cases);
    }

    #[test]
    fn case_can_be_ignored() {
        for (test, value) in [
            (Test::Exact(texts(&["aB"])), "Ab"),
            (Test::Prefix(texts(&["/aB"])), "/Abc"),
            (Test::Suffix(texts(&[".Js"])), "x.jS"),
            (Test::Contains(texts(&["a.B"])), "xA.by"),
            (Test::PathPrefix(texts(&["/Api"])), "/aPI/x"),
            (Test::Regex(texts(&["^ab$"])), "AB"),
        ] {
            assert!(passes(&test, true, value), "{test:?}");
            assert!(!passes(&test, false, value), "{test:?}");
        }
        assert!(!passes(&Test::Contains(texts(&["a.b"])), true, "axb"));
        assert!(!passes(&Test::PathPrefix(texts(&["/api"])), true, "/APIX"));
    }

    #[test]
    fn long_lists_are_as_short_ones() {
        let list: Vec<String> = (0..100).map(|n| format!("Value{n}")).collect();
        for (value, ignore_case, expected) in [
            ("Value7", false, true),
            ("value7", false, false),
            ("vaLue99", true, true),
            ("value100", true, false),
        ] {
            assert_eq!(
                passes(&Test::Exact(list.clone()), ignore_case, value),
                expected,
                "{value}"
            );
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        assert!(Matcher::compile(&Test::Regex(texts(&["("])), false).is_err());
        let range = Test::Range {
            min: Some(2),
            max: Some(1),
        };
        assert!(Matcher::compile(&range, false).is_err());
    }
}
