//! What a HAProxy configuration says about failures.
//!
//! Defaults are those of the documentation. A time-out that is not written has no limit.

use std::path::PathBuf;

use clearway_outcome::Speaker;

use super::{Setting, Survey, units};
use crate::syntax::haproxy::{Line, Section, Tree};
use scope::Scope;

mod backend;
mod check;
mod front;
pub(crate) mod parameters;
mod pitfall;
mod scope;

/// Reads files of a HAProxy configuration and, of directories, the files that end in `.cfg`, in the
/// order in which HAProxy is given them.
#[must_use]
pub fn haproxy(paths: &[PathBuf]) -> Survey {
    survey(&crate::syntax::haproxy::read_files(paths))
}

/// Reads the text of a HAProxy configuration; `name` stands in origins.
#[must_use]
pub fn haproxy_text(name: &str, text: &str) -> Survey {
    survey(&crate::syntax::haproxy::read(name, text))
}

fn survey(tree: &Tree) -> Survey {
    let mut survey = Survey::new(Speaker::Haproxy);
    survey.files.clone_from(&tree.files);
    survey.diagnostics.clone_from(&tree.diagnostics);
    let global = Global::read(tree);
    survey.file_limit = global.number("ulimit-n");
    survey.connection_limit = global.number("maxconn");
    survey.resolvers = resolvers(tree);
    let scopes = scopes(tree);
    for scope in &scopes {
        if matches!(scope.kind(), "frontend" | "listen") {
            survey.fronts.push(front::read(scope, &global));
        }
        if matches!(scope.kind(), "backend" | "listen") && backend::is_one(scope) {
            survey.backends.push(backend::read(scope, &global));
        }
    }
    survey.pitfalls = pitfall::find(&scopes, &survey);
    let fix = "Write the application's own address and port behind \"server\".";
    let loops = super::loops::find(&survey, &[], fix);
    survey.pitfalls.extend(loops);
    survey
}

/// Every section that listens or serves, with the defaults that it takes.
fn scopes(tree: &Tree) -> Vec<Scope<'_>> {
    let mut scopes = Vec::new();
    let mut latest: Option<&Section> = None;
    let mut defaults: Vec<&Section> = Vec::new();
    for section in &tree.sections {
        match section.kind() {
            "defaults" => {
                latest = Some(section);
                defaults.push(section);
            }
            "frontend" | "backend" | "listen" => {
                let named = section.from().and_then(|name| by_name(&defaults, name));
                scopes.push(Scope::new(section, chain(named.or(latest), &defaults)));
            }
            _ => {}
        }
    }
    scopes
}

fn by_name<'a>(defaults: &[&'a Section], name: &str) -> Option<&'a Section> {
    let mut latest_first = defaults.iter().rev();
    latest_first.find(|known| known.name() == name).copied()
}

/// A `defaults` section and those that it takes its own settings from.
fn chain<'a>(first: Option<&'a Section>, defaults: &[&'a Section]) -> Vec<&'a Section> {
    let mut chain: Vec<&Section> = Vec::new();
    let mut next = first;
    while let Some(section) = next {
        // Each can take settings from another only once: a ring would have no end.
        if chain.iter().any(|known| std::ptr::eq(*known, section)) {
            break;
        }
        chain.push(section);
        next = section.from().and_then(|name| by_name(defaults, name));
    }
    chain
}

/// What holds for the whole process.
struct Global<'a> {
    lines: Vec<&'a Line>,
}

impl<'a> Global<'a> {
    fn read(tree: &'a Tree) -> Self {
        let sections = tree.sections.iter();
        let global = sections.filter(|section| section.kind() == "global");
        Self {
            lines: global.flat_map(|section| &section.lines).collect(),
        }
    }

    fn find(&self, name: &str) -> Option<&'a Line> {
        let mut latest_first = self.lines.iter().rev();
        latest_first.find(|line| line.word(0) == name).copied()
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &'a Line> {
        let lines = self.lines.iter().copied();
        lines.filter(move |line| line.word(0) == name)
    }

    fn number(&self, name: &'static str) -> Option<Setting<u64>> {
        let line = self.find(name)?;
        let number = units::size(line.word(1))?;
        Some(Setting::written(name, number, line.origin()))
    }

    /// What fits a buffer besides the room that is kept for changes: the largest head.
    fn head_limit(&self) -> Setting<u64> {
        let or = |name, default| {
            self.number(name)
                .unwrap_or_else(|| Setting::by_default(name, default))
        };
        let (buffer, reserve) = (or("tune.bufsize", 16_384), or("tune.maxrewrite", 1_024));
        Setting {
            value: buffer.value.saturating_sub(reserve.value),
            name: buffer.name,
            origin: buffer.origin.or(reserve.origin),
        }
    }

    fn head_count(&self) -> Setting<u64> {
        let name = "tune.http.maxhdr";
        self.number(name)
            .unwrap_or_else(|| Setting::by_default(name, 101))
    }
}

fn resolvers(tree: &Tree) -> Setting<Vec<String>> {
    let sections = tree.sections.iter();
    let mut sections = sections
        .filter(|section| section.kind() == "resolvers")
        .peekable();
    let origin = sections.peek().map(|section| section.head.origin());
    let address = |line: &Line| match line.word(0) {
        "nameserver" => Some(line.word(2).to_owned()),
        "parse-resolv-conf" => Some("/etc/resolv.conf".to_owned()),
        _ => None,
    };
    Setting {
        value: sections
            .flat_map(|section| section.lines.iter().filter_map(address))
            .collect(),
        name: "nameserver",
        origin,
    }
}

#[cfg(test)]
mod tests;
