//! Words as they are meant when a configuration is run: environment variables inside double quotes stand
//! for their values, and what is odd is an error.

use super::environment::Environment;
use crate::diagnostic::{Diagnostic, Origin};
use crate::syntax::word::{Cursor, Word};

/// So many words a line may have.
const WORDS_MAX: usize = 64;

/// Where variables get their values from.
pub(super) struct Values<'a> {
    pub(super) environment: &'a Environment,
    /// The file that is being read.
    pub(super) file: &'a str,
    /// The name of the section, its kind if it has none, empty before the first.
    pub(super) section: &'a str,
}

impl Values<'_> {
    /// What a name stands for; a name with a dot before it stands for something about the place.
    fn of(&self, name: &str, line: u32) -> Option<String> {
        match name {
            ".FILE" => Some(self.file.to_owned()),
            ".LINE" => Some(line.to_string()),
            ".SECTION" => Some(self.section.to_owned()),
            _ => self.environment.variable(name).map(str::to_owned),
        }
    }
}

/// Whether a character may be part of a variable's name.
pub(super) fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Whether a variable's name may begin like this.
pub(super) fn is_first(c: Option<char>) -> bool {
    c.is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
}

/// The words of one line, without its comment; the line's end is taken.
pub(super) fn words(
    cursor: &mut Cursor<'_>,
    values: &Values<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<Word> {
    let mut line = Line {
        words: Vec::new(),
        values,
        diagnostics,
    };
    loop {
        match cursor.peek() {
            None => break,
            Some('\n') => {
                cursor.take();
                break;
            }
            Some('#') => {
                cursor.line();
            }
            Some(next) if is_space(next) => {
                cursor.take();
            }
            Some(_) => line.word(cursor),
        }
    }
    let Line {
        mut words,
        diagnostics,
        ..
    } = line;
    if let Some(word) = words.get(WORDS_MAX) {
        let message = format!("too many words, truncating after word {WORDS_MAX}");
        diagnostics.push(Diagnostic::error("syntax", &word.origin, message));
        words.truncate(WORDS_MAX);
    }
    words
}

fn is_space(c: char) -> bool {
    c.is_ascii_whitespace() || c == '\x0b'
}

struct Line<'a> {
    words: Vec<Word>,
    values: &'a Values<'a>,
    diagnostics: &'a mut Vec<Diagnostic>,
}

impl Line<'_> {
    /// What is written as one word; values of variables can make several of it.
    fn word(&mut self, cursor: &mut Cursor<'_>) {
        let mark = cursor.mark();
        let first = self.words.len();
        let mut text = String::new();
        let mut quote = None;
        let mut is_quoted = false;
        while let Some(next) = cursor.peek() {
            if next == '\n' || (quote.is_none() && (is_space(next) || next == '#')) {
                break;
            }
            let place = cursor.mark();
            cursor.take();
            match (next, quote) {
                ('\0', _) => {
                    self.refuse(&cursor.since(place), "a NUL character");
                }
                ('\\', None | Some('"')) => {
                    if !escape(cursor, quote.is_some(), &mut text) {
                        let message = "truncated or invalid hexadecimal sequence";
                        self.refuse(&cursor.since(place), message);
                    }
                }
                ('"' | '\'', None) => {
                    quote = Some(next);
                    is_quoted = true;
                }
                (_, Some(open)) if next == open => quote = None,
                ('$', Some('"')) => match variable(cursor, self.values) {
                    Ok(value) => self.append(&mut text, &value),
                    Err(message) => self.refuse(&cursor.since(place), message),
                },
                _ => text.push(next),
            }
        }
        let origin = cursor.since(mark);
        if quote.is_some() {
            self.refuse(&origin, "unmatched quote");
        }
        self.push(text);
        for word in self.words.iter_mut().skip(first) {
            word.origin = origin.clone();
            word.is_quoted = is_quoted;
        }
    }

    fn push(&mut self, text: String) {
        self.words.push(Word {
            text,
            is_quoted: true,
            origin: Origin::default(),
        });
    }

    /// Adds a value to the word in hand. One that is a list ends a word wherever there are spaces in it.
    fn append(&mut self, text: &mut String, value: &Value) {
        if !value.is_list {
            text.push_str(&value.text);
            return;
        }
        let mut was_space = false;
        for next in value.text.chars() {
            let is_space = is_space(next);
            if is_space && !was_space {
                self.push(std::mem::take(text));
            } else if !is_space {
                text.push(next);
            }
            was_space = is_space;
        }
    }

    fn refuse(&mut self, origin: &Origin, message: &str) {
        self.diagnostics
            .push(Diagnostic::error("syntax", origin, message));
    }
}

/// What a variable stands for.
struct Value {
    text: String,
    /// Whether it is to be split at spaces.
    is_list: bool,
}

/// A variable, behind its dollar: `NAME`, `{NAME}`, `{NAME-default}`, `{NAME[*]}`. A default is taken as it
/// stands, up to the brace.
fn variable(cursor: &mut Cursor<'_>, values: &Values<'_>) -> Result<Value, &'static str> {
    let line = cursor.mark().line;
    let is_braced = cursor.take_if('{');
    let mut name = String::new();
    let is_pseudo = cursor.take_if('.');
    if is_pseudo {
        name.push('.');
    }
    while let Some(next) = cursor.peek().filter(|next| is_name(*next)) {
        cursor.take();
        name.push(next);
    }
    let is_known = matches!(name.as_str(), ".FILE" | ".LINE" | ".SECTION");
    if !is_known && (is_pseudo || !is_first(name.chars().next())) {
        return Err("forbidden first char in environment variable name");
    }
    let mut is_list = false;
    let mut default = String::new();
    if is_braced {
        if cursor.take_if('[') {
            if !(cursor.take_if('*') && cursor.take_if(']')) {
                return Err("unmatched brace in environment variable name");
            }
            is_list = true;
        }
        if cursor.take_if('-') {
            while let Some(next) = cursor.peek().filter(|next| !matches!(next, '}' | '\n')) {
                cursor.take();
                default.push(next);
            }
        }
        if !cursor.take_if('}') {
            return Err("unmatched brace in environment variable name");
        }
    }
    let text = values.of(&name, line).unwrap_or(default);
    Ok(Value { text, is_list })
}

/// What stands behind a backslash. Where it means nothing it stays, as regular expressions need. Answers
/// whether it is well-formed.
fn escape(cursor: &mut Cursor<'_>, in_quotes: bool, text: &mut String) -> bool {
    let meant = match cursor.peek() {
        Some(next @ (' ' | '\t' | '#' | '\\' | '"' | '\'')) => next,
        Some('$') if in_quotes => '$',
        Some('n') => '\n',
        Some('r') => '\r',
        Some('t') => '\t',
        Some('x') => {
            cursor.take();
            return byte(cursor, text);
        }
        Some(_) | None => {
            text.push('\\');
            return true;
        }
    };
    cursor.take();
    text.push(meant);
    true
}

/// The character with the two hexadecimal digits behind `\x`.
fn byte(cursor: &mut Cursor<'_>, text: &mut String) -> bool {
    let mut number = 0;
    for _ in 0..2 {
        let Some(digit) = cursor.peek().and_then(|next| next.to_digit(16)) else {
            return false;
        };
        cursor.take();
        number = number * 16 + digit;
    }
    text.extend(char::from_u32(number));
    true
}
