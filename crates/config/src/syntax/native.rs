//! The native language: TOML text to a tree with positions. Never fails: it returns what it
//! understood and every syntax error.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Entry, Kind, Node};
use crate::diagnostic::{Diagnostic, Lines, Span};

/// Reads a text: the entries of its top level, and what is wrong with it.
pub(crate) fn read(text: &str, lines: &Lines<'_>) -> (Vec<Entry>, Vec<Diagnostic>) {
    // Editors on other systems put a byte order mark first; offsets stay right with one space for
    // each of its bytes.
    let padded = text
        .strip_prefix('\u{feff}')
        .map(|rest| format!("   {rest}"));
    let text = padded.as_deref().unwrap_or(text);
    let (root, errors) = DeTable::parse_recoverable(text);
    let mut diagnostics = Vec::new();
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        let origin = lines.origin(&place(text, &span));
        // What follows on the same line follows from the first mistake on it.
        if diagnostics
            .iter()
            .any(|old: &Diagnostic| old.line == origin.line)
        {
            continue;
        }
        diagnostics.push(Diagnostic::error(
            "syntax",
            &origin,
            sentence(error.message()),
        ));
    }
    (entries(root.get_ref(), text), diagnostics)
}

/// An error at the end of a text ends in a line that exists.
fn place(text: &str, span: &Span) -> Span {
    if span.start < text.len() {
        return span.clone();
    }
    let end = text.trim_end().len();
    end..end
}

fn sentence(message: &str) -> String {
    let message = message.lines().next().unwrap_or_default();
    format!("this is not TOML: {message}")
}

fn entries(table: &DeTable<'_>, text: &str) -> Vec<Entry> {
    let mut entries: Vec<Entry> = table
        .iter()
        .map(|(key, value)| Entry {
            key: key.get_ref().to_string(),
            at: key.span(),
            value: node(value, text),
        })
        .collect();
    // The parser's map is sorted by key; what people see is the order of the file.
    entries.sort_by_key(|entry| entry.at.start);
    entries
}

fn node(value: &Spanned<DeValue<'_>>, text: &str) -> Node {
    let span = value.span();
    let kind = match value.get_ref() {
        DeValue::String(text) => Kind::Text(text.to_string()),
        DeValue::Integer(number) => integer(number.as_str(), number.radix(), &span),
        DeValue::Float(number) => number.as_str().parse().map_or(Kind::Broken, Kind::Float),
        DeValue::Boolean(flag) => Kind::Bool(*flag),
        DeValue::Datetime(_) => Kind::Date,
        DeValue::Array(items) => Kind::List(items.iter().map(|item| node(item, text)).collect()),
        DeValue::Table(table) => Kind::Table(entries(table, text)),
    };
    Node { kind, span }
}

/// A missing or unreadable value comes as an integer without a place.
fn integer(digits: &str, radix: u32, span: &Span) -> Kind {
    if span.is_empty() {
        return Kind::Broken;
    }
    match i64::from_str_radix(digits, radix) {
        Ok(number) => Kind::Integer(number),
        // Too large for 64 bits: a number all the same, which every range check will refuse.
        Err(_) => Kind::Float(f64::INFINITY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> (Vec<Entry>, Vec<Diagnostic>) {
        read(text, &Lines::new("t", text))
    }

    #[test]
    fn order_and_places_are_those_of_the_file() {
        let text = "\u{feff}z = 1\na = [0x10, 'x', {k = 1.5}]\n[b]\nq = true\n";
        let (entries, errors) = all(text);
        assert_eq!(errors, []);
        let keys: Vec<_> = entries.iter().map(|e| e.key.as_str()).collect();
        assert_eq!(keys, ["z", "a", "b"]);
        assert_eq!(
            text.get(entries[1].value.span.clone()),
            Some("[0x10, 'x', {k = 1.5}]")
        );
        let Kind::List(items) = &entries[1].value.kind else {
            panic!("{entries:?}")
        };
        assert!(matches!(items[0].kind, Kind::Integer(16)));
    }

    #[test]
    fn every_error_is_told_and_the_rest_understood() {
        let (entries, errors) = all("a = = 1\nb = \"x\nc = 3\n[d\ne = 5\ne = 6\n");
        let lines: Vec<_> = errors.iter().map(|e| e.line).collect();
        assert!(lines.len() >= 3, "{errors:?}");
        assert!(
            [1, 2, 4].iter().all(|line| lines.contains(line)),
            "{errors:?}"
        );
        assert!(entries.iter().any(|e| e.key == "c"));
        assert!(entries.iter().any(|e| e.key == "a" && e.value.is_broken()));
    }
}
