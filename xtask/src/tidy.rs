//! `cargo xtask tidy`: rules that neither rustc nor clippy can check. Also run as a test.
//!
//! Each rule reads files and reports findings. `xtask/exceptions.txt` may excuse one, with a reason; an
//! exception that excuses nothing is itself a finding, so the list can only shrink.

use std::path::{Path, PathBuf};

mod exceptions;
mod files;
mod layers;
mod lists;
mod manifests;
mod words;

/// One breach of one rule.
#[derive(Debug, PartialEq)]
pub(crate) struct Finding {
    /// The rule's name, as `exceptions.txt` spells it.
    rule: &'static str,
    /// Path from the top of the repository.
    path: String,
    /// Line, or 0 when the file as a whole is meant.
    line: usize,
    message: String,
}

/// A text file of the repository.
struct File {
    /// Path from the top of the repository.
    path: String,
    text: String,
}

impl File {
    fn is_rust(&self) -> bool {
        has_extension(&self.path, "rs")
    }

    fn finding(&self, rule: &'static str, line: usize, message: String) -> Finding {
        Finding {
            rule,
            path: self.path.clone(),
            line,
            message,
        }
    }
}

/// Checks everything and prints what it finds.
///
/// # Errors
/// When there are findings, or the repository cannot be read.
pub(crate) fn run() -> Result<(), String> {
    let findings = check()?;
    for finding in &findings {
        println!("{}", describe(finding));
    }
    if findings.is_empty() {
        println!("tidy: nothing found");
        return Ok(());
    }
    Err(format!(
        "tidy found {} breaches of its rules",
        findings.len()
    ))
}

fn describe(finding: &Finding) -> String {
    let Finding {
        rule,
        path,
        line,
        message,
    } = finding;
    if *line == 0 {
        format!("{path}: {message} [{rule}]")
    } else {
        format!("{path}:{line}: {message} [{rule}]")
    }
}

fn check() -> Result<Vec<Finding>, String> {
    let root = crate::root();
    let files = read(&root)?;
    let packages = layers::packages()?;
    let mut findings = Vec::new();
    findings.extend(files::check(&files));
    findings.extend(words::check(&files));
    findings.extend(lists::check(&files));
    findings.extend(manifests::check(&files, &packages));
    findings.extend(layers::check(&files, &packages));
    let excuses = files.iter().find(|file| file.path == exceptions::FILE);
    Ok(exceptions::apply(
        excuses.map_or("", |file| &file.text),
        findings,
    ))
}

/// What holds nothing of ours; in a linked work tree `.git` is a file.
const SKIPPED: [&str; 6] = [
    "target",
    ".git",
    "node_modules",
    "corpus",
    "artifacts",
    "dist",
];

fn read(root: &Path) -> Result<Vec<File>, String> {
    let mut paths = Vec::new();
    walk(root, &mut paths).map_err(|error| format!("{}: {error}", root.display()))?;
    paths.sort();
    Ok(paths
        .into_iter()
        .filter_map(|path| {
            // What is no UTF-8 text is none of our business.
            let text = std::fs::read_to_string(&path).ok()?;
            let path = path.strip_prefix(root).ok()?.to_str()?.to_owned();
            Some(File { path, text })
        })
        .collect())
}

fn walk(folder: &Path, into: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if SKIPPED.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        if kind.is_dir() {
            walk(&entry.path(), into)?;
        } else if kind.is_file() && entry.file_name() != "Cargo.lock" {
            into.push(entry.path());
        }
    }
    Ok(())
}

fn has_extension(path: &str, extension: &str) -> bool {
    Path::new(path)
        .extension()
        .is_some_and(|found| found == extension)
}

/// Whether `word` stands in `text` with nothing before and after it that continues a name.
fn has_word(text: &str, word: &str) -> bool {
    let continues = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    text.match_indices(word).any(|(at, _)| {
        let before = text.get(..at).and_then(|before| before.chars().next_back());
        let after = text
            .get(at + word.len()..)
            .and_then(|after| after.chars().next());
        !continues(before) && !continues(after)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn file(path: &str, text: &str) -> File {
        File {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    #[test]
    fn the_repository_is_tidy() {
        let findings = check().unwrap();
        let told: Vec<_> = findings.iter().map(describe).collect();
        assert!(told.is_empty(), "\n{}", told.join("\n"));
    }

    #[test]
    fn words_have_borders() {
        assert!(has_word("a mod b;", "mod"));
        assert!(!has_word("a model b;", "mod"));
        assert!(!has_word("my_mod", "mod"));
    }
}
