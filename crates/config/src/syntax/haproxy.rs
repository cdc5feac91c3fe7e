//! HAProxy's language: sections of lines of words. Never fails: it returns what it understood and what
//! is wrong with the rest.
//!
//! To be looked at ([`read_files`]), environment variables stay as they are written, and of `.if` and
//! `.else` every branch is taken as if it held, because what they ask for is not known. To be run
//! ([`read_files_for`]), variables stand for their values and one branch is taken.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::word::{Cursor, Word};
use crate::diagnostic::{Diagnostic, Origin};

mod condition;
mod directive;
mod environment;
mod expanded;
mod features;
mod written;

use directive::Branches;
use expanded::Values;

pub use environment::{Environment, Notice, Unanswered};
pub use features::{
    FEATURES, SERVICES, TLS_LIBRARY, TLS_LIBRARY_VERSION, VERSION, VERSION_DATE, has_feature,
};

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

    /// What `.SECTION` stands for: its name, or its kind if it has none.
    fn title(&self) -> &str {
        if self.name().is_empty() {
            self.kind()
        } else {
            self.name()
        }
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
    for path in all_files(paths) {
        read_file(&path, &mut Mode::AsWritten, &mut tree);
    }
    tree
}

/// The same for a configuration that is to be run: variables of the environment stand for their values, and
/// what the files do to the environment is done to this one. Lines that do so stay in the tree.
pub(crate) fn read_files_for(paths: &[PathBuf], environment: &mut Environment) -> Tree {
    let mut tree = Tree::default();
    let files = all_files(paths);
    let names: Vec<String> = files
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    environment.set("HAPROXY_CFGFILES", &names.join(";"));
    for path in files {
        read_file(&path, &mut Mode::ToRun(environment), &mut tree);
    }
    tree
}

/// Reads a text.
pub(crate) fn read(name: &str, text: &str) -> Tree {
    let mut tree = Tree::default();
    read_into(name, text, &mut Mode::AsWritten, &mut tree);
    tree
}

/// Reads a text that is to be run.
pub(crate) fn read_for(name: &str, text: &str, environment: &mut Environment) -> Tree {
    let mut tree = Tree::default();
    read_into(name, text, &mut Mode::ToRun(environment), &mut tree);
    tree
}

/// What is made of a text.
enum Mode<'a> {
    /// It is only looked at.
    AsWritten,
    /// It is to be run in an environment.
    ToRun(&'a mut Environment),
}

fn all_files(paths: &[PathBuf]) -> Vec<PathBuf> {
    let files = |path: &PathBuf| {
        if path.is_dir() {
            files_of(path)
        } else {
            vec![path.clone()]
        }
    };
    paths.iter().flat_map(files).collect()
}

fn files_of(folder: &Path) -> Vec<PathBuf> {
    let is_hidden = |path: &Path| {
        let name = path.file_name().unwrap_or_default();
        name.as_encoded_bytes().starts_with(b".")
    };
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.is_file() && path.extension().is_some_and(|end| end == "cfg"))
        .filter(|path| !is_hidden(path))
        .collect();
    files.sort();
    files
}

fn read_file(path: &Path, mode: &mut Mode<'_>, tree: &mut Tree) {
    let name = path.display().to_string();
    match std::fs::read(path) {
        Ok(bytes) => read_into(&name, &String::from_utf8_lossy(&bytes), mode, tree),
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

fn read_into(name: &str, text: &str, mode: &mut Mode<'_>, tree: &mut Tree) {
    tree.files.push(name.to_owned());
    let file: Arc<str> = name.into();
    let mut cursor = Cursor::new(&file, text);
    // A file does not go on with the section of the one before.
    let mut current: Option<Section> = None;
    let mut has_stray = false;
    let mut branches = Branches::default();
    while cursor.peek().is_some() {
        let words = match mode {
            Mode::AsWritten => written::words(&mut cursor, &mut tree.diagnostics),
            Mode::ToRun(environment) => {
                let values = Values {
                    environment,
                    file: name,
                    section: current.as_ref().map_or("", Section::title),
                };
                expanded::words(&mut cursor, &values, &mut tree.diagnostics)
            }
        };
        let line = Line { words };
        if line.words.is_empty() {
            continue;
        }
        let is_global = current.as_ref().is_some_and(|s| s.kind() == "global");
        match obey(&line, is_global, &mut branches, mode) {
            Ok(false) => {}
            Ok(true) => continue,
            Err(found) => {
                tree.diagnostics.push(found);
                continue;
            }
        }
        let first = line.word(0);
        if SECTIONS.contains(&first) {
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
    tree.diagnostics.extend(branches.end());
    // HAProxy refuses such a file; whoever wrote it meant what stands there.
    if matches!(mode, Mode::ToRun(_)) && !text.is_empty() && !text.ends_with('\n') {
        let origin = cursor.since(cursor.mark());
        let message = "Missing LF on last line, file might have been truncated";
        tree.diagnostics
            .push(Diagnostic::warning("syntax", &origin, message));
    }
}

/// Obeys a line that is about reading; answers whether it is over with it.
fn obey(
    line: &Line,
    is_global: bool,
    branches: &mut Branches,
    mode: &mut Mode<'_>,
) -> Result<bool, Diagnostic> {
    let first = line.word(0);
    match mode {
        Mode::AsWritten if first == ".if" => {
            let message = "every branch of this condition is read as if it held";
            Err(Diagnostic::warning("condition", &line.origin(), message))
        }
        Mode::AsWritten => Ok(is_preprocessing(first)),
        Mode::ToRun(environment) if first.starts_with('.') => {
            branches.obey(line, environment).map(|()| true)
        }
        Mode::ToRun(_) if !branches.are_taken() => Ok(true),
        Mode::ToRun(environment) if is_global => {
            directive::change(line, environment).map(|()| false)
        }
        Mode::ToRun(_) => Ok(false),
    }
}

fn is_preprocessing(word: &str) -> bool {
    matches!(
        word,
        ".if" | ".elif" | ".else" | ".endif" | ".diag" | ".notice" | ".warning" | ".alert"
    )
}

#[cfg(test)]
mod running;
#[cfg(test)]
mod tests;
