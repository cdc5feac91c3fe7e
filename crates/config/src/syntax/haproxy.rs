//! HAProxy's language: sections of lines of words. Never fails: it returns what it understood and what
//! is wrong with the rest.
//!
//! Environment variables stay as they are written. Of `.if` and `.else` every branch is taken as if it
//! held, because what they ask for is not known here.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::word::{Cursor, Word};
use crate::diagnostic::{Diagnostic, Origin};

/// The words that begin a section.
const SECTIONS: &[&str] = &[
    "global",
    "defaults",
    "frontend",
    "backend",
    "listen",
    "resolvers",
    "userlist",
    "peers",
    "cache",
    "mailers",
    "program",
    "ring",
    "log-forward",
    "http-errors",
    "fcgi-app",
    "crt-store",
    "traces",
    "acme",
    "log-profile",
];

/// One line.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Line {
    /// Its words, at least one.
    pub(crate) words: Vec<Word>,
}

impl Line {
    /// A word as text; empty where there is none.
    pub(crate) fn word(&self, index: usize) -> &str {
        self.words.get(index).map_or("", |word| word.text.as_str())
    }

    /// Whether its first words are these.
    pub(crate) fn begins(&self, words: &[&str]) -> bool {
        words
            .iter()
            .enumerate()
            .all(|(i, word)| self.word(i) == *word)
    }

    /// The words from one on, as texts.
    pub(crate) fn texts(&self, from: usize) -> impl Iterator<Item = &str> {
        self.words.iter().skip(from).map(|word| word.text.as_str())
    }

    /// Its words with single spaces between.
    pub(crate) fn text(&self) -> String {
        self.texts(0).collect::<Vec<_>>().join(" ")
    }

    /// The whole line.
    pub(crate) fn origin(&self) -> Origin {
        let (Some(first), Some(last)) = (self.words.first(), self.words.last()) else {
            return Origin::default();
        };
        let mut origin = first.origin.clone();
        let end = last.origin.column.saturating_add(last.origin.len);
        origin.len = end.saturating_sub(origin.column).max(origin.len);
        origin
    }
}

/// A section with its lines.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Section {
    /// The line that begins it: its kind, its name, and what else stands there.
    pub(crate) head: Line,
    pub(crate) lines: Vec<Line>,
}

impl Section {
    /// What it is: `frontend`, `backend` …
    pub(crate) fn kind(&self) -> &str {
        self.head.word(0)
    }

    /// Its name; empty if it has none.
    pub(crate) fn name(&self) -> &str {
        let name = self.head.word(1);
        // `defaults from base` has no name of its own.
        if name == "from" { "" } else { name }
    }

    /// The `defaults` section that it takes its settings from, where one is named.
    pub(crate) fn from(&self) -> Option<&str> {
        let at = self.head.texts(1).position(|word| word == "from")?;
        Some(self.head.word(at + 2)).filter(|name| !name.is_empty())
    }
}

/// What was read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree {
    pub(crate) sections: Vec<Section>,
    /// Every file that was read, in order.
    pub(crate) files: Vec<String>,
    pub(crate) diagnostics: Vec<Diagnostic>,
}

/// Reads files and directories, one after the other; of a directory the files that end in `.cfg`, in order of
/// their names.
pub(crate) fn read_files(paths: &[PathBuf]) -> Tree {
    let mut tree = Tree::default();
    for path in paths {
        if path.is_dir() {
            for path in files_of(path) {
                read_file(&path, &mut tree);
            }
        } else {
            read_file(path, &mut tree);
        }
    }
    tree
}

/// Reads a text.
pub(crate) fn read(name: &str, text: &str) -> Tree {
    let mut tree = Tree::default();
    read_into(name, text, &mut tree);
    tree
}

fn files_of(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.is_file() && path.extension().is_some_and(|end| end == "cfg"))
        .collect();
    files.sort();
    files
}

fn read_file(path: &Path, tree: &mut Tree) {
    let name = path.display().to_string();
    match std::fs::read(path) {
        Ok(bytes) => read_into(&name, &String::from_utf8_lossy(&bytes), tree),
        Err(error) => {
            let origin = Origin {
                file: name.as_str().into(),
                ..Origin::default()
            };
            let message = format!("cannot read {name}: {error}");
            tree.diagnostics
                .push(Diagnostic::error("file", &origin, message));
        }
    }
}

fn read_into(name: &str, text: &str, tree: &mut Tree) {
    tree.files.push(name.to_owned());
    let file: Arc<str> = name.into();
    let mut cursor = Cursor::new(&file, text);
    // A file does not go on with the section of the one before.
    let mut current: Option<Section> = None;
    let mut has_stray = false;
    while cursor.peek().is_some() {
        let words = words(&mut cursor, &mut tree.diagnostics);
        let line = Line { words };
        let first = line.word(0);
        if line.words.is_empty() {
            continue;
        }
        if is_preprocessing(first) {
            if first == ".if" {
                let message = "every branch of this condition is read as if it held";
                tree.diagnostics
                    .push(Diagnostic::warning("condition", &line.origin(), message));
            }
        } else if SECTIONS.contains(&first) {
            tree.sections.extend(current.replace(Section {
                head: line,
                lines: Vec::new(),
            }));
        } else if let Some(section) = &mut current {
            section.lines.push(line);
        } else if !has_stray {
            has_stray = true;
            let message = format!("\"{first}\" stands outside of any section");
            tree.diagnostics.push(
                Diagnostic::error("syntax", &line.origin(), message)
                    .expected("\"global\", \"defaults\", \"frontend\", \"backend\" or \"listen\""),
            );
        }
    }
    tree.sections.extend(current);
}

fn is_preprocessing(word: &str) -> bool {
    matches!(
        word,
        ".if" | ".elif" | ".else" | ".endif" | ".diag" | ".notice" | ".warning" | ".alert"
    )
}

/// The words of one line, without its comment; the line's end is taken.
fn words(cursor: &mut Cursor<'_>, diagnostics: &mut Vec<Diagnostic>) -> Vec<Word> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn flat(tree: &Tree) -> Vec<String> {
        let line = |line: &Line| line.texts(0).collect::<Vec<_>>().join("|");
        let sections = tree.sections.iter();
        sections
            .flat_map(|section| std::iter::once(&section.head).chain(&section.lines))
            .map(line)
            .collect()
    }

    fn messages(tree: &Tree) -> Vec<String> {
        tree.diagnostics.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn words_quotes_escapes_and_comments() {
        let tree = read(
            "t",
            "global # all\n  a \"b # c\"'d \\e' f\\ g h\\#i \\.php$ \"${X}:80\" \\x41\\xzz\r\n#x\n\n b \"q\\\"r\"#z\n",
        );
        assert_eq!(messages(&tree), Vec::<String>::new());
        assert_eq!(
            flat(&tree),
            [
                "global",
                "a|b # cd \\e|f g|h#i|\\.php$|${X}:80|A\\xzz",
                "b|q\"r"
            ]
        );
    }

    #[test]
    fn sections_names_and_places() {
        let tree = read(
            "t",
            "defaults base\ndefaults d from base\ndefaults from d\nlisten x\n\tbind :80\n",
        );
        let names: Vec<_> = tree.sections.iter().map(|s| (s.name(), s.from())).collect();
        assert_eq!(
            names,
            [
                ("base", None),
                ("d", Some("base")),
                ("", Some("d")),
                ("x", None)
            ]
        );
        let origin = tree.sections[3].lines[0].origin();
        assert_eq!((origin.line, origin.column, origin.len), (5, 2, 8));
    }

    #[test]
    fn mistakes_are_told_and_the_rest_is_understood() {
        let tree = read(
            "t",
            "mode http\nmode tcp\n.if defined(X)\nbackend a\n.else\nbackend b\n.endif\n server \"x\n log y\n",
        );
        assert_eq!(
            messages(&tree),
            [
                "t:1:1: error: \"mode\" stands outside of any section; expected \"global\", \
                 \"defaults\", \"frontend\", \"backend\" or \"listen\"",
                "t:3:1: warning: every branch of this condition is read as if it held",
                "t:8:9: error: this quote is not closed",
            ]
        );
        assert_eq!(flat(&tree), ["backend|a", "backend|b", "server|x", "log|y"]);
    }

    #[test]
    fn directories_are_read_in_order_of_names() {
        let folder = std::env::temp_dir().join(format!("clearway-cfg-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        for (name, text) in [
            ("2.cfg", "backend two"),
            ("1.cfg", "backend one"),
            ("x.txt", "peers p"),
        ] {
            std::fs::write(folder.join(name), text).unwrap();
        }
        let tree = read_files(&[folder.clone(), folder.join("none.cfg")]);
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(flat(&tree), ["backend|one", "backend|two"]);
        assert_eq!((tree.files.len(), tree.diagnostics.len()), (2, 1));
    }
}
