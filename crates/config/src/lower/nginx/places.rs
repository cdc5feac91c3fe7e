//! Which location takes a request: the locations of a server in the order in which they are to be tried.
//!
//! NGINX looks level by level: the exact one, else the longest that begins the path, and within that again. A location
//! found there ends the search if it is exact or a pattern. Otherwise the patterns beside the outer one come next,
//! unless that is final (`^~`), and only then the prefixes that were found.

use clearway_rules::ast::Fetch;

use super::super::notes::Notes;
use super::text_of;
use crate::lower::build::{all_of, not, test_of, value};
use crate::model::{Condition, RegexText, ValueTest};
use crate::survey::nginx::scope::Scope;
use crate::syntax::nginx::Directive;
use crate::value::Text;

/// How a location's path is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Exact,
    /// `^~`: no pattern is tried when it is the longest.
    Final,
    Prefix,
    Regex {
        ignore_case: bool,
    },
    Named,
}

/// A location with everything around it.
pub(super) struct Place<'a> {
    pub(super) kind: Kind,
    pub(super) path: String,
    pub(super) scope: Scope<'a>,
    pub(super) directive: &'a Directive,
    /// What the locations around it ask for, and those beside it that come first.
    pub(super) outer: Condition,
}

/// A location with those within it.
struct Node<'a> {
    kind: Kind,
    path: String,
    scope: Scope<'a>,
    directive: &'a Directive,
    inner: Level<'a>,
}

/// The locations of one block: prefixes with the longest first, patterns as they are written.
#[derive(Default)]
struct Level<'a> {
    named: Vec<Node<'a>>,
    exact: Vec<Node<'a>>,
    prefixes: Vec<Node<'a>>,
    patterns: Vec<Node<'a>>,
}

/// The locations of a server, in the order in which they are to be tried: named ones first, then exact ones.
pub(super) fn in_order<'a>(
    server: &'a Directive,
    scope: &Scope<'a>,
    notes: &mut Notes,
) -> Vec<Place<'a>> {
    let level = Level::read(server.inner(), scope, notes);
    let mut places = Vec::new();
    let always = Condition::default();
    level.strong(&always, Depth::Server, &mut places);
    level.weak(&always, Depth::Server, &mut places);
    places
}

/// Whether locations stand in the server itself.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    Server,
    Location,
}

impl<'a> Node<'a> {
    fn place(&self, outer: &Condition) -> Place<'a> {
        Place {
            kind: self.kind.clone(),
            path: self.path.clone(),
            scope: self.scope.clone(),
            directive: self.directive,
            outer: outer.clone(),
        }
    }

    fn is_final(&self) -> bool {
        self.kind == Kind::Final
    }

    fn own(&self) -> Condition {
        simple(&self.kind, &self.path).unwrap_or_default()
    }
}

impl<'a> Level<'a> {
    fn read(block: &'a [Directive], scope: &Scope<'a>, notes: &mut Notes) -> Self {
        let mut level = Self::default();
        for directive in block.iter().filter(|directive| directive.is("location")) {
            let Some((kind, path)) = kind_of(directive) else {
                notes.begin(directive.origin(), text_of(directive));
                notes.wrong(&directive.origin(), "a location has a path", "");
                continue;
            };
            let scope = scope.inside(directive.inner());
            let inner = Self::read(directive.inner(), &scope, notes);
            let list = match kind {
                Kind::Named => &mut level.named,
                Kind::Exact => &mut level.exact,
                Kind::Final | Kind::Prefix => &mut level.prefixes,
                Kind::Regex { .. } => &mut level.patterns,
            };
            list.push(Node {
                kind,
                path: path.to_owned(),
                scope,
                directive,
                inner,
            });
        }
        level
            .prefixes
            .sort_by_key(|node| std::cmp::Reverse(node.path.len()));
        level
    }

    /// Whether nothing in it ends a search.
    fn has_only_prefixes(&self) -> bool {
        let nothing = self.exact.is_empty() && self.patterns.is_empty();
        nothing && self.prefixes.iter().all(|p| p.inner.has_only_prefixes())
    }

    /// That a prefix is the longest of the level.
    fn is_longest(&self, node: &Node<'_>) -> Condition {
        let longer = self.prefixes.iter().filter(|other| {
            other.path.len() > node.path.len() && other.path.starts_with(&node.path)
        });
        let mut all = vec![node.own()];
        all.extend(longer.map(|other| not(other.own())));
        all_of(all)
    }

    /// What ends the search on this level.
    fn strong(&self, outer: &Condition, depth: Depth, places: &mut Vec<Place<'a>>) {
        let straight = self.named.iter().chain(&self.exact);
        places.extend(straight.map(|node| node.place(outer)));
        for node in &self.prefixes {
            if !node.inner.has_only_prefixes() {
                let within = all_of(vec![outer.clone(), self.is_longest(node)]);
                node.inner.strong(&within, Depth::Location, places);
            }
        }
        let finals = self.prefixes.iter().filter(|node| node.is_final());
        let mut no_final = vec![outer.clone()];
        for node in finals {
            if depth == Depth::Location {
                // Patterns of the levels around come before it, those of its own do not.
                no_final.push(not(self.is_longest(node)));
                continue;
            }
            let longer = self.prefixes.iter().filter(|other| {
                !other.is_final()
                    && other.path.len() > node.path.len()
                    && other.path.starts_with(&node.path)
            });
            let mut own = vec![outer.clone()];
            own.extend(longer.map(|other| not(other.own())));
            self.ends_in(node, &all_of(own), places);
        }
        let outer = all_of(no_final);
        for node in &self.patterns {
            if !node.inner.has_only_prefixes() {
                let within = all_of(vec![outer.clone(), node.own()]);
                node.inner.strong(&within, Depth::Location, places);
            }
            self.ends_in(node, &outer, places);
        }
    }

    /// What is taken where nothing has ended the search.
    fn weak(&self, outer: &Condition, depth: Depth, places: &mut Vec<Place<'a>>) {
        for node in &self.prefixes {
            if depth == Depth::Location || !node.is_final() {
                self.ends_in(node, outer, places);
            }
        }
    }

    /// The prefixes within a location, and the location itself.
    fn ends_in(&self, node: &Node<'a>, outer: &Condition, places: &mut Vec<Place<'a>>) {
        if !node.inner.prefixes.is_empty() {
            let within = all_of(vec![outer.clone(), node.own()]);
            node.inner.weak(&within, Depth::Location, places);
        }
        places.push(node.place(outer));
    }
}

fn kind_of(directive: &Directive) -> Option<(Kind, &str)> {
    let words: Vec<&str> = directive.texts().collect();
    let regex = |ignore_case| Kind::Regex { ignore_case };
    Some(match words.as_slice() {
        ["=", path] => (Kind::Exact, path),
        ["^~", path] => (Kind::Final, path),
        ["~", path] => (regex(false), path),
        ["~*", path] => (regex(true), path),
        [path] if path.starts_with('@') => (Kind::Named, path),
        [path] => {
            if let Some(path) = path.strip_prefix("~*") {
                (regex(true), path)
            } else if let Some(path) = path.strip_prefix('~') {
                (regex(false), path)
            } else if let Some(path) = path.strip_prefix("^~") {
                (Kind::Final, path)
            } else if let Some(path) = path.strip_prefix('=') {
                (Kind::Exact, path)
            } else {
                (Kind::Prefix, path)
            }
        }
        _ => return None,
    })
}

/// A path as it is written in a location, as requests may spell it: with the escapes that it needs.
fn spellings(path: &str) -> Vec<String> {
    let escaped = clearway_rules::escaped(path.as_bytes());
    let Ok(escaped) = String::from_utf8(escaped) else {
        return vec![path.to_owned()];
    };
    if path.starts_with('@') || escaped == path {
        return vec![path.to_owned()];
    }
    let lower = escaped.to_ascii_lowercase();
    let mut all = vec![escaped.clone()];
    if lower != escaped && path.to_ascii_lowercase() == path {
        all.push(lower);
    }
    all
}

/// What the path has to be, without regard to other locations.
pub(super) fn simple(kind: &Kind, path: &str) -> Option<Condition> {
    let test = test_of(&Fetch::Path);
    let text = spellings(path);
    Some(match kind {
        Kind::Exact => value(ValueTest { is: text, ..test }),
        Kind::Final | Kind::Prefix if path == "/" => Condition::default(),
        Kind::Final | Kind::Prefix => value(ValueTest {
            begins: text,
            ..test
        }),
        Kind::Regex { ignore_case } => value(ValueTest {
            regex: vec![RegexText::parse(path).ok()?],
            ignore_case: *ignore_case,
            ..test
        }),
        Kind::Named => value(ValueTest {
            is: text,
            ..test_of(&Fetch::Variable("goto".to_owned()))
        }),
    })
}
