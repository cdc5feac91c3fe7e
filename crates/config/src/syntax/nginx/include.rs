//! `include`: finds files, also by patterns, and puts what they say in its place.

use std::path::{Path, PathBuf};

use super::{Directive, Tree, parse};
use crate::diagnostic::Diagnostic;

/// Files deeper than this in each other are left out.
const DEPTH_MAX: usize = 16;

/// More files than this are not read: files that include each other several times grow without end.
const FILES_MAX: usize = 2_000;

/// Reads everything that a tree includes. Relative paths lead from the folder of the main file.
pub(super) fn expand(main: &Path, tree: &mut Tree) {
    let folder = main.parent().map(Path::to_owned).unwrap_or_default();
    let directives = std::mem::take(&mut tree.directives);
    let mut expander = Expander {
        folder,
        tree,
        within: vec![identity(main)],
    };
    let directives = expander.level(directives);
    expander.tree.directives = directives;
}

struct Expander<'a> {
    folder: PathBuf,
    tree: &'a mut Tree,
    /// The files that are being read, the main one first.
    within: Vec<PathBuf>,
}

impl Expander<'_> {
    fn level(&mut self, directives: Vec<Directive>) -> Vec<Directive> {
        let mut level = Vec::with_capacity(directives.len());
        for mut directive in directives {
            directive.block = directive.block.take().map(|block| self.level(block));
            let pattern = directive.argument(0).map(str::to_owned);
            let pattern = pattern.filter(|_| directive.is("include") && directive.block.is_none());
            level.push(directive);
            let Some((pattern, at)) = pattern.zip(level.last().cloned()) else {
                continue;
            };
            for path in self.files(&pattern, &at) {
                level.append(&mut self.file(&path, &at));
            }
        }
        level
    }

    /// The files that are meant.
    fn files(&mut self, pattern: &str, at: &Directive) -> Vec<PathBuf> {
        if pattern.contains('$') {
            self.missing(at, "a path with a variable is not followed".to_owned());
            return Vec::new();
        }
        let path = self.folder.join(pattern);
        if pattern.contains(['*', '?', '[']) {
            // A pattern that fits nothing is no mistake.
            return matching(&path);
        }
        vec![path]
    }

    fn file(&mut self, path: &Path, at: &Directive) -> Vec<Directive> {
        let name = path.display().to_string();
        let identity = identity(path);
        if self.within.contains(&identity) {
            let message = format!("{name} includes itself");
            let origin = at.origin();
            self.tree
                .diagnostics
                .push(Diagnostic::error("include", &origin, message));
            return Vec::new();
        }
        if self.within.len() > DEPTH_MAX || self.tree.files.len() >= FILES_MAX {
            self.missing(at, format!("{name} is left out: too many files"));
            return Vec::new();
        }
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.missing(at, format!("cannot read {name}: {error}"));
                return Vec::new();
            }
        };
        let text = String::from_utf8_lossy(&bytes);
        let directives = parse(&name, &text, &mut self.tree.diagnostics);
        self.tree.files.push(name);
        self.within.push(identity);
        let directives = self.level(directives);
        self.within.pop();
        directives
    }

    fn missing(&mut self, at: &Directive, message: String) {
        let found = Diagnostic::warning("include", &at.origin(), message)
            .hint("what stands there is not taken into account");
        self.tree.diagnostics.push(found);
        self.tree.lacks_files |= !at.argument(0).is_some_and(is_standard);
    }
}

/// Whether a file comes with NGINX and says nothing about the way to servers.
fn is_standard(path: &str) -> bool {
    let names = [
        "mime.types",
        "fastcgi_params",
        "uwsgi_params",
        "scgi_params",
        "fastcgi.conf",
    ];
    let name = path.rsplit('/').next().unwrap_or_default();
    names.contains(&name)
}

/// The same for every way to write a path.
fn identity(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// The files that fit a pattern with `*`, `?` and `[…]`, in order of their names.
fn matching(pattern: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for component in pattern.components() {
        let text = component.as_os_str().to_string_lossy();
        if !text.contains(['*', '?', '[']) {
            for path in &mut found {
                path.push(component);
            }
            continue;
        }
        let pattern: Vec<char> = text.chars().collect();
        found = found
            .iter()
            .flat_map(|folder| entries(folder, &pattern))
            .take(FILES_MAX)
            .collect();
    }
    found.retain(|path| path.exists());
    found
}

fn entries(folder: &Path, pattern: &[char]) -> Vec<PathBuf> {
    let place = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    let Ok(entries) = std::fs::read_dir(place) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| {
            let is_hidden = name.starts_with('.') && pattern.first() != Some(&'.');
            !is_hidden && fits(pattern, &name.chars().collect::<Vec<_>>())
        })
        .collect();
    names.sort();
    names.into_iter().map(|name| folder.join(name)).collect()
}

/// Whether a name fits a pattern. After a mismatch the last `*` takes one character more, so the time
/// is at most the product of both lengths.
fn fits(pattern: &[char], name: &[char]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while n < name.len() {
        match step(pattern, p, name.get(n).copied().unwrap_or_default()) {
            Step::Star => {
                p += 1;
                retry = Some((p, n));
            }
            Step::Fits(next) => {
                p = next;
                n += 1;
            }
            Step::Fails => {
                let Some((after, from)) = retry else {
                    return false;
                };
                p = after;
                n = from + 1;
                retry = Some((after, n));
            }
        }
    }
    pattern
        .get(p..)
        .is_some_and(|rest| rest.iter().all(|c| *c == '*'))
}

enum Step {
    Star,
    /// It fits, and the pattern goes on here.
    Fits(usize),
    Fails,
}

fn step(pattern: &[char], at: usize, c: char) -> Step {
    match pattern.get(at) {
        Some('*') => Step::Star,
        Some('?') => Step::Fits(at + 1),
        Some('[') => class(pattern, at, c),
        Some(wanted) if *wanted == c => Step::Fits(at + 1),
        Some(_) | None => Step::Fails,
    }
}

/// A class of characters, `[a-z]`, `[!0-9]`. Without its closing bracket it is a bracket like any other.
fn class(pattern: &[char], at: usize, c: char) -> Step {
    let inner = pattern.get(at + 1..).unwrap_or_default();
    let Some(end) = inner.iter().skip(1).position(|c| *c == ']') else {
        return if c == '[' {
            Step::Fits(at + 1)
        } else {
            Step::Fails
        };
    };
    let inner = inner.get(..=end).unwrap_or_default();
    let negated = matches!(inner.first(), Some('!' | '^'));
    let mut members = inner.get(usize::from(negated)..).unwrap_or_default();
    let mut is_member = false;
    while let [first, rest @ ..] = members {
        if let ['-', last, rest @ ..] = rest {
            is_member |= (*first..=*last).contains(&c);
            members = rest;
        } else {
            is_member |= *first == c;
            members = rest;
        }
    }
    if is_member == negated {
        Step::Fails
    } else {
        Step::Fits(at + end + 3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_as_in_a_shell() {
        let fits = |pattern: &str, name: &str| {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            fits(&chars(pattern), &chars(name))
        };
        for (pattern, name, expected) in [
            ("*.conf", "a.conf", true),
            ("*.conf", "a.conf.bak", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("?.conf", "ä.conf", true),
            ("?.conf", ".conf", false),
            ("[0-9][!a-c]*", "1d-x", true),
            ("[0-9][!a-c]*", "1a-x", false),
            ("[]]x", "]x", true),
            ("[x", "[x", true),
            ("", "", true),
            ("*", "", true),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
    }
}
