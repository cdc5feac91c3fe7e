//! Conditions of `.if`, `.elif` and the command line.
//!
//! Alternatives of conjunctions of terms; a term is a number, a predicate with arguments in parentheses, or
//! a condition in parentheses, with any number of `!` before it. Arguments have quotes and escapes of their
//! own, which are resolved after those of the line.

use super::environment::{Environment, Unanswered};
use super::{expanded, features};

/// Parentheses in one another: more is no condition that somebody wrote.
const DEPTH_MAX: usize = 100;

/// Whether a condition holds. An empty one does not.
pub(super) fn evaluate(text: &str, environment: &Environment) -> Result<bool, Unanswered> {
    let mut reader = Reader {
        text: text.chars().collect(),
        at: 0,
        depth: 0,
        environment,
    };
    reader.spaces();
    if reader.peek().is_none() {
        return Ok(false);
    }
    let begin = reader.at;
    let holds = reader.alternatives()?;
    reader.spaces();
    match reader.peek() {
        None => Ok(holds),
        Some(other) => {
            let whole = reader.rest(begin);
            Err(reader.refuse(format!(
                "unexpected character '{other}' at the end of conditional expression '{whole}'"
            )))
        }
    }
}

struct Reader<'a> {
    text: Vec<char>,
    at: usize,
    depth: usize,
    environment: &'a Environment,
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    fn take(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += 1;
        Some(next)
    }

    fn take_if(&mut self, wanted: char) -> bool {
        let is_there = self.peek() == Some(wanted);
        self.at += usize::from(is_there);
        is_there
    }

    /// Takes two characters if they are these.
    fn take_both(&mut self, wanted: char) -> bool {
        let both = self.text.get(self.at..self.at.saturating_add(2));
        let is_there = both == Some(&[wanted, wanted]);
        if is_there {
            self.at += 2;
        }
        is_there
    }

    fn spaces(&mut self) {
        while self.peek().is_some_and(|next| next.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    fn rest(&self, from: usize) -> String {
        self.text.get(from..).unwrap_or_default().iter().collect()
    }

    fn refuse(&self, message: String) -> Unanswered {
        Unanswered {
            message,
            at: self.at,
        }
    }

    fn alternatives(&mut self) -> Result<bool, Unanswered> {
        let mut holds = self.conjunction()?;
        loop {
            self.spaces();
            if !self.take_both('|') {
                return Ok(holds);
            }
            // What comes behind has to be understood, whether it matters or not.
            holds |= self.conjunction()?;
        }
    }

    fn conjunction(&mut self) -> Result<bool, Unanswered> {
        let mut holds = self.term()?;
        loop {
            self.spaces();
            if !self.take_both('&') {
                return Ok(holds);
            }
            holds &= self.term()?;
        }
    }

    fn term(&mut self) -> Result<bool, Unanswered> {
        self.spaces();
        let begin = self.at;
        let mut is_negated = false;
        while self.take_if('!') {
            is_negated = !is_negated;
            self.spaces();
        }
        let holds = if self.peek() == Some('(') {
            self.inner()?
        } else if let Some(number) = self.number() {
            number
        } else {
            self.predicate(begin)?
        };
        Ok(holds != is_negated)
    }

    /// A condition in parentheses.
    fn inner(&mut self) -> Result<bool, Unanswered> {
        let begin = self.at;
        self.at += 1;
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.refuse(format!("more than {DEPTH_MAX} parentheses in one another")));
        }
        let holds = self.alternatives()?;
        self.spaces();
        if !self.take_if(')') {
            let whole = self.rest(begin);
            self.at = begin;
            let message = format!("expected ')' after conditional expression '{whole}'");
            return Err(self.refuse(message));
        }
        self.depth -= 1;
        Ok(holds)
    }

    /// A whole number: whether it is another than zero.
    fn number(&mut self) -> Option<bool> {
        let signed = usize::from(matches!(self.peek(), Some('+' | '-')));
        let digits = self.text.get(self.at + signed..)?;
        let is_hex = matches!(digits, ['0', 'x' | 'X', third, ..] if third.is_ascii_hexdigit());
        let (skip, radix) = if is_hex { (2, 16) } else { (0, 10) };
        let digits = digits.get(skip..)?;
        let count = digits.iter().take_while(|c| c.is_digit(radix)).count();
        if count == 0 {
            return None;
        }
        let is_set = digits.iter().take(count).any(|digit| *digit != '0');
        self.at += signed + skip + count;
        Some(is_set)
    }

    fn predicate(&mut self, begin: usize) -> Result<bool, Unanswered> {
        let start = self.at;
        while self
            .peek()
            .is_some_and(|next| next.is_ascii_alphanumeric() || next == '_')
        {
            self.at += 1;
        }
        let name: String = self
            .text
            .get(start..self.at)
            .unwrap_or_default()
            .iter()
            .collect();
        let Some(ask) = PREDICATES.iter().find(|ask| ask.name == name) else {
            self.at = begin;
            let whole = self.rest(begin);
            return Err(self.refuse(format!("unparsable conditional expression '{whole}'")));
        };
        let arguments = self.arguments(ask)?;
        let first = arguments.first().map_or("", String::as_str);
        let second = arguments.get(1).map_or("", String::as_str);
        (ask.answer)(self.environment, first, second)
            .map_err(|message| Unanswered { message, at: begin })
    }

    fn arguments(&mut self, ask: &Predicate) -> Result<Vec<String>, Unanswered> {
        let mut arguments = Vec::new();
        if self.take_if('(') {
            arguments.push(self.argument(ask.name)?);
            while arguments.len() < ask.arguments && self.take_if(',') {
                arguments.push(self.argument(ask.name)?);
            }
            if self.peek() != Some(')') {
                return Err(self.refuse(format!(
                    "expected ')' before '{}' in argument {} of predicate '{}' used in conditional \
                     expression",
                    self.rest(self.at),
                    arguments.len(),
                    ask.name
                )));
            }
            self.at += 1;
        }
        let is_empty = arguments.iter().all(String::is_empty) && arguments.len() < 2;
        if arguments.len() < ask.arguments && ask.arguments > 1 {
            return Err(self.refuse(format!(
                "missing arguments (got {}/{}), type 'string' expected in argument 1 of predicate \
                 '{}' used in conditional expression",
                if is_empty { 0 } else { arguments.len() },
                ask.arguments,
                ask.name
            )));
        }
        Ok(arguments)
    }

    /// One argument, up to the comma or parenthesis behind it.
    fn argument(&mut self, predicate: &str) -> Result<String, Unanswered> {
        let mut text = String::new();
        let mut quote = None;
        loop {
            let begin = self.at;
            let Some(next) = self.take() else {
                self.at = begin;
                let what = if quote.is_some() {
                    "unterminated quote"
                } else {
                    "expected ')'"
                };
                return Err(self.refuse(format!(
                    "{what} in an argument of predicate '{predicate}' used in conditional expression"
                )));
            };
            match (next, quote) {
                (',' | ')', None) => {
                    self.at = begin;
                    return Ok(text);
                }
                ('"' | '\'', None) => quote = Some(next),
                (_, Some(open)) if next == open => quote = None,
                ('\\', None | Some('"')) => self.escape(&mut text),
                ('$', Some('"')) => self.variable(&mut text)?,
                _ => text.push(next),
            }
        }
    }

    fn escape(&mut self, text: &mut String) {
        let meant = match self.peek() {
            Some(next @ (' ' | '\\' | '"' | '\'')) => next,
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some(_) | None => {
                text.push('\\');
                return;
            }
        };
        self.at += 1;
        text.push(meant);
    }

    /// A variable, behind its dollar.
    fn variable(&mut self, text: &mut String) -> Result<(), Unanswered> {
        let is_braced = self.take_if('{');
        let start = self.at;
        while self.peek().is_some_and(expanded::is_name) {
            self.at += 1;
        }
        let name: String = self
            .text
            .get(start..self.at)
            .unwrap_or_default()
            .iter()
            .collect();
        if !expanded::is_first(name.chars().next()) {
            return Err(self.refuse("forbidden first char in environment variable name".to_owned()));
        }
        let mut default = String::new();
        if is_braced && self.take_if('-') {
            while let Some(next) = self.peek().filter(|next| *next != '}') {
                self.at += 1;
                default.push(next);
            }
        }
        if is_braced && !self.take_if('}') {
            return Err(self.refuse("unmatched brace in environment variable name".to_owned()));
        }
        text.push_str(self.environment.variable(&name).unwrap_or(&default));
        Ok(())
    }
}

/// A question that conditions can ask.
struct Predicate {
    name: &'static str,
    /// How many arguments it takes.
    arguments: usize,
    answer: fn(&Environment, &str, &str) -> Result<bool, String>,
}

const PREDICATES: &[Predicate] = &[
    Predicate {
        name: "defined",
        arguments: 1,
        answer: |environment, name, _| Ok(environment.variable(name).is_some()),
    },
    Predicate {
        name: "feature",
        arguments: 1,
        answer: |_, name, _| Ok(features::has_feature(name)),
    },
    Predicate {
        name: "streq",
        arguments: 2,
        answer: |_, one, other| Ok(one == other),
    },
    Predicate {
        name: "strneq",
        arguments: 2,
        answer: |_, one, other| Ok(one != other),
    },
    Predicate {
        name: "version_atleast",
        arguments: 1,
        answer: |_, version, _| Ok(Version::of(features::VERSION) >= Version::of(version)),
    },
    Predicate {
        name: "version_before",
        arguments: 1,
        answer: |_, version, _| Ok(Version::of(features::VERSION) < Version::of(version)),
    },
    Predicate {
        name: "openssl_version_atleast",
        arguments: 1,
        answer: |_, version, _| Ok(library()? >= Library::of(version)?),
    },
    Predicate {
        name: "openssl_version_before",
        arguments: 1,
        answer: |_, version, _| Ok(library()? < Library::of(version)?),
    },
    Predicate {
        name: "ssllib_name_startswith",
        arguments: 1,
        answer: |_, name, _| Ok(features::TLS_LIBRARY.starts_with(name)),
    },
];

/// A version of the program: `2.6`, `2.6.12`, `2.7-dev3-14`. What is missing counts as zero, and so does
/// what is no number.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Version {
    numbers: [u64; 3],
    /// What comes before a release comes before it here.
    stage: Stage,
    commits: u64,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Development(u64),
    Candidate(u64),
    Release,
}

impl Version {
    fn of(text: &str) -> Self {
        let mut parts = text.split('-');
        let mut given = parts.next().unwrap_or("").split('.').map(leading);
        let mut next = || given.next().unwrap_or(0);
        let numbers = [next(), next(), next()];
        let mut version = Self {
            numbers,
            stage: Stage::Release,
            // A fourth number comes after the third.
            commits: next(),
        };
        for part in parts {
            if let Some(number) = part.strip_prefix("dev") {
                version.stage = Stage::Development(leading(number));
            } else if let Some(number) = part.strip_prefix("rc") {
                version.stage = Stage::Candidate(leading(number));
            } else {
                version.commits = leading(part);
            }
        }
        version
    }
}

/// The number that a text begins with.
fn leading(text: &str) -> u64 {
    let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(0)
}

/// A version of the TLS library: `3.0.0`, `1.1.1k`, `1.1.1-alpha1`.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Library {
    numbers: [u64; 3],
    /// Whether it is a release.
    is_release: bool,
    letter: char,
}

fn library() -> Result<Library, String> {
    Library::of(features::TLS_LIBRARY_VERSION)
}

impl Library {
    fn of(text: &str) -> Result<Self, String> {
        let (given, stage) = text.split_once('-').unwrap_or((text, ""));
        let bare = given.trim_end_matches(|c: char| c.is_ascii_lowercase());
        let letter = given.chars().last().filter(char::is_ascii_lowercase);
        let mut numbers = [0; 3];
        let mut parts = bare.split('.');
        for (number, part) in numbers.iter_mut().zip(parts.by_ref()) {
            *number = part
                .parse()
                .map_err(|_| format!("'{text}' is not a version of OpenSSL"))?;
        }
        Ok(Self {
            numbers,
            is_release: !stage.starts_with("alpha") && !stage.starts_with("beta"),
            letter: letter.unwrap_or(' '),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(condition: &str) -> Result<bool, Unanswered> {
        let variables = [("A", "hello"), ("E", ""), ("V", "2.4")];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Environment::new(variables).holds(condition)
    }

    /// Each was put to HAProxy 2.6.12, and answered like this.
    #[test]
    fn conditions_that_hold() {
        for condition in [
            "1",
            " 1",
            "( 1 )",
            "-1",
            "+1",
            "0x1",
            "!0",
            "! defined(NONE)",
            "!!defined(A)",
            "((1)||0)&&1",
            "1 && 0 || 1",
            "1 || 0 && 0",
            "defined(A)",
            "defined(\"A\")",
            "defined(E)",
            "streq(a,a)",
            "streq(,)",
            "streq('a',\"a\")",
            "streq(\"a,b\",'a,b')",
            "strneq(a,b)",
            "streq(\"$A\",hello)",
            "streq(\"${NONE-x y}\",'x y')",
            "version_atleast(\"$V\")",
            "feature(OPENSSL)",
            "version_atleast(2.6)",
            "version_atleast(2.6.12)",
            "version_atleast(2)",
            "version_before(2.6.13)",
            "version_atleast(2.6-dev3)",
            "version_atleast(abc)",
            "version_atleast()",
            "version_atleast(2.6.12-foo)",
            "openssl_version_atleast(1.1.1)",
            "openssl_version_atleast(1.1.1-alpha1)",
            "openssl_version_before(3.0.23)",
            "ssllib_name_startswith(OpenSSL)",
        ] {
            assert_eq!(ask(condition), Ok(true), "{condition}");
        }
    }

    #[test]
    fn conditions_that_do_not() {
        for condition in [
            "",
            " ",
            "0",
            "00",
            "!1",
            "0 && 1 || 0",
            "defined(NONE)",
            "defined( A )",
            "defined",
            "defined()",
            "streq(a, a)",
            "streq($A,hello)",
            "feature(openssl)",
            "feature(LUA)",
            "version_atleast(2.6.13)",
            "version_atleast(2.7-dev0)",
            "version_before(2.6.12)",
            "version_atleast(2.6.12-1)",
            "version_before(2.6.12-dev1)",
            "version_atleast(2.6.12.1)",
            "openssl_version_before(1.1.1)",
            "ssllib_name_startswith(Boring)",
        ] {
            assert_eq!(ask(condition), Ok(false), "{condition}");
        }
    }

    #[test]
    fn conditions_without_an_answer() {
        for (condition, message, at) in [
            ("foo(1)", "unparsable conditional expression 'foo(1)'", 0),
            ("!", "unparsable conditional expression '!'", 0),
            ("()", "unparsable conditional expression ')'", 1),
            ("(1", "expected ')' after conditional expression '(1'", 0),
            (
                "1)",
                "unexpected character ')' at the end of conditional expression '1)'",
                1,
            ),
            (
                "12abc",
                "unexpected character 'a' at the end of conditional expression '12abc'",
                2,
            ),
            (
                "1 & 1",
                "unexpected character '&' at the end of conditional expression '1 & 1'",
                2,
            ),
            (
                "enabled(POLL)",
                "unparsable conditional expression 'enabled(POLL)'",
                0,
            ),
        ] {
            let answer = ask(condition).unwrap_err();
            assert_eq!(
                (answer.message.as_str(), answer.at),
                (message, at),
                "{condition}"
            );
        }
        for condition in [
            "1 &&",
            "1 ||",
            "streq(a)",
            "streq()",
            "streq (a,a)",
            "streq(a,a,a)",
            "defined(A,B)",
            "streq(a,a)x",
            "streq(\"a",
            "streq(a\\,b,a\\,b)",
            "openssl_version_atleast(x)",
            "streq(\"$\",a)",
            "streq(\"${A\",a)",
        ] {
            assert!(ask(condition).is_err(), "{condition}");
        }
        assert!(ask(&"(".repeat(100_000)).is_err());
        assert_eq!(ask(&"!".repeat(100_000)).unwrap_err().at, 0);
    }
}
