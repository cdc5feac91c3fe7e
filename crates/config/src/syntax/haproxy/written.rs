//! Words as they are written: environment variables stay, and what is odd is taken as it stands.

use crate::diagnostic::Diagnostic;
use crate::syntax::word::{Cursor, Word};

/// The words of one line, without its comment; the line's end is taken.
pub(super) fn words(cursor: &mut Cursor<'_>, diagnostics: &mut Vec<Diagnostic>) -> Vec<Word> {
    let mut words = Vec::new();
    loop {
        match cursor.peek() {
            None => return words,
            Some('\n') => {
                cursor.take();
                return words;
            }
            Some('#') => {
                cursor.line();
            }
            Some(next) if next.is_ascii_whitespace() => {
                cursor.take();
            }
            Some(_) => words.push(word(cursor, diagnostics)),
        }
    }
}

fn word(cursor: &mut Cursor<'_>, diagnostics: &mut Vec<Diagnostic>) -> Word {
    let mark = cursor.mark();
    let mut text = String::new();
    let mut quote: Option<char> = None;
    let mut is_quoted = false;
    while let Some(next) = cursor.peek() {
        let ends = next == '\n' || (quote.is_none() && (next.is_ascii_whitespace() || next == '#'));
        if ends {
            break;
        }
        cursor.take();
        match (next, quote) {
            ('\\', None | Some('"')) => escape(cursor, &mut text),
            ('"' | '\'', None) => {
                quote = Some(next);
                is_quoted = true;
            }
            (_, Some(open)) if next == open => quote = None,
            _ => text.push(next),
        }
    }
    let origin = cursor.since(mark);
    if quote.is_some() {
        diagnostics.push(Diagnostic::error(
            "syntax",
            &origin,
            "this quote is not closed",
        ));
    }
    Word {
        text,
        is_quoted,
        origin,
    }
}

/// What stands behind a backslash. Where it means nothing it stays, as regular expressions need.
fn escape(cursor: &mut Cursor<'_>, text: &mut String) {
    match cursor.peek() {
        Some(next @ (' ' | '#' | '\\' | '"' | '\'' | '$')) => {
            cursor.take();
            text.push(next);
        }
        Some(next @ ('n' | 'r' | 't')) => {
            cursor.take();
            text.push(match next {
                'n' => '\n',
                'r' => '\r',
                _ => '\t',
            });
        }
        Some('x') => {
            cursor.take();
            byte(cursor, text);
        }
        Some(_) | None => text.push('\\'),
    }
}

/// The character with the two hexadecimal digits behind `\x`.
fn byte(cursor: &mut Cursor<'_>, text: &mut String) {
    let mut digits = String::new();
    while digits.len() < 2 {
        match cursor.peek().filter(char::is_ascii_hexdigit) {
            Some(digit) => {
                cursor.take();
                digits.push(digit);
            }
            None => break,
        }
    }
    match u8::from_str_radix(&digits, 16) {
        Ok(byte) if digits.len() == 2 => text.push(char::from(byte)),
        Ok(_) | Err(_) => text.push_str(&format!("\\x{digits}")),
    }
}
