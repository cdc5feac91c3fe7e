//! `include`: finds files, also by patterns, and puts what they say in its place.

use std::path::{Path, PathBuf};

use super::{Directive, Tree, parse};
use crate::diagnostic::Diagnostic;
use crate::pattern::{is_pattern, matching};

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
        if is_pattern(pattern) {
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
