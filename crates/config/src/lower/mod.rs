//! Tree to model: puts the sections of a file together.

mod build;
mod files;
pub(crate) mod haproxy;
pub(crate) mod nginx;
mod notes;
pub(crate) mod rules;

use crate::diagnostic::Span;
use crate::model::{
    Backend, CacheStore, ConcurrencyLimit, Config, Listener, Map, RateLimit, Route, Table,
};
use crate::syntax::{Entry, Node};
use crate::value::{
    Bind, Identifier, OrOff, Problem, Reader, Section, Spec, Text, Value, read_section,
};
use crate::words;

/// The sections of a file.
pub(crate) const SECTIONS: [&str; 18] = [
    "process",
    "admin",
    "log",
    "incidents",
    "resolver",
    "acme",
    "timeouts",
    "limits",
    "compression",
    "errors",
    "map",
    "table",
    "rate_limit",
    "concurrency_limit",
    "cache",
    "listener",
    "route",
    "backend",
];

/// Reads a whole configuration.
pub(crate) fn config(entries: &[Entry], reader: &mut Reader<'_>) -> Config {
    let mut config = Config::default();
    for entry in entries {
        let node = &entry.value;
        match entry.key.as_str() {
            "process" => section(entry, reader, &mut config.process),
            "admin" => section(entry, reader, &mut config.admin),
            "log" => section(entry, reader, &mut config.log),
            "incidents" => section(entry, reader, &mut config.incidents),
            "resolver" => section(entry, reader, &mut config.resolver),
            "acme" => section(entry, reader, &mut config.acme),
            "timeouts" => section(entry, reader, &mut config.timeouts),
            "limits" => section(entry, reader, &mut config.limits),
            "compression" => section(entry, reader, &mut config.compression),
            "errors" => {
                if let Some(pages) = Value::read(node, &Spec::NONE, reader) {
                    config.errors = pages;
                }
            }
            "listener" => config.listeners = named(entry, reader, Listener::with_name),
            "rate_limit" => config.rate_limits = named(entry, reader, RateLimit::with_name),
            "concurrency_limit" => {
                config.concurrency_limits = named(entry, reader, ConcurrencyLimit::with_name);
            }
            "cache" => config.caches = named(entry, reader, CacheStore::with_name),
            "map" => config.maps = named(entry, reader, Map::with_name),
            "table" => config.tables = named(entry, reader, Table::with_name),
            "backend" => config.backends = named(entry, reader, Backend::with_name),
            "route" => config.routes = routes(node, reader),
            unknown => {
                let mut problem = Problem::new(
                    format!("there is no section `{unknown}`"),
                    format!("one of {}", SECTIONS.join(", ")),
                );
                problem.hint = meant(unknown).map(|meant| format!("did you mean `{meant}`?"));
                reader.problem(&entry.at, "unknown-key", problem);
            }
        }
    }
    config
}

/// What other balancers call our sections.
const ELSEWHERE: [(&str, &str); 12] = [
    ("frontend", "listener"),
    ("entrypoint", "listener"),
    ("listen", "listener"),
    ("upstream", "backend"),
    ("cluster", "backend"),
    ("pool", "backend"),
    ("service", "backend"),
    ("server", "backend"),
    ("location", "route"),
    ("rule", "route"),
    ("global", "process"),
    ("defaults", "timeouts"),
];

/// The section that was probably meant.
fn meant(unknown: &str) -> Option<&'static str> {
    let plural = unknown.strip_suffix('s').unwrap_or(unknown);
    let elsewhere = ELSEWHERE
        .iter()
        .find(|(name, _)| [unknown, plural].contains(name));
    words::closest(unknown, SECTIONS).or_else(|| elsewhere.map(|(_, ours)| *ours))
}

fn section<S: Section>(entry: &Entry, reader: &mut Reader<'_>, into: &mut S) {
    let title = format!("[{}]", entry.key);
    if let Some(entries) = reader.table(&entry.value, &format!("a section {title}")) {
        *into = read_section(&title, entries, &place(entry), reader);
    }
}

/// Where a section is pointed at: its header, or its key in a dotted or inline form.
fn place(entry: &Entry) -> Span {
    entry.at.clone()
}

/// Sections with names of their own: `[listener.NAME]`.
fn named<S: Section>(
    entry: &Entry,
    reader: &mut Reader<'_>,
    with_name: fn(S, Identifier) -> S,
) -> Vec<S> {
    let kind = &entry.key;
    let Some(entries) = reader.table(&entry.value, &format!("sections [{kind}.NAME]")) else {
        reader.leave_out(kind);
        return Vec::new();
    };
    let mut sections = Vec::with_capacity(entries.len());
    for entry in entries {
        let title = format!("[{kind}.{}]", words::key(&entry.key));
        let name = match Identifier::parse(&entry.key) {
            Ok(name) => name,
            Err(problem) => {
                reader.problem(&entry.at, "name", problem);
                reader.leave_out(kind);
                continue;
            }
        };
        let Some(fields) = entry.value.as_table() else {
            let expected = format!("a section [{kind}.NAME]");
            // `[listener]` with fields: its name was forgotten.
            let message = format!("{kind} needs a name before `{}`", entry.key);
            let problem = Problem::new(message, expected).hint(format!("write [{kind}.web]"));
            if !entry.value.is_broken() {
                reader.problem(&entry.at, "missing-name", problem);
            }
            reader.leave_out(kind);
            continue;
        };
        let section: S = read_section(&title, fields, &place(entry), reader);
        sections.push(with_name(section, name));
    }
    sections
}

fn routes(node: &Node, reader: &mut Reader<'_>) -> Vec<Route> {
    if node.as_list().is_none() && node.as_table().is_none() {
        return reader
            .wrong_type(node, "sections [[route]]")
            .unwrap_or_default();
    }
    Value::read(node, &Spec::NONE, reader).unwrap_or_default()
}

/// The address of the admin API as the command line has it.
pub(crate) fn admin(text: &str) -> Result<OrOff<Bind>, Problem> {
    if text == "off" {
        return Ok(OrOff::Off);
    }
    Bind::parse(text).map(OrOff::On)
}

impl CacheStore {
    fn with_name(self, name: Identifier) -> Self {
        Self { name, ..self }
    }
}

impl Map {
    fn with_name(self, name: Identifier) -> Self {
        Self { name, ..self }
    }
}

impl Table {
    fn with_name(self, name: Identifier) -> Self {
        Self { name, ..self }
    }
}

impl RateLimit {
    fn with_name(self, name: Identifier) -> Self {
        Self { name, ..self }
    }
}

impl ConcurrencyLimit {
    fn with_name(self, name: Identifier) -> Self {
        Self { name, ..self }
    }
}

impl Listener {
    fn with_name(self, name: Identifier) -> Self {
        Self { name, ..self }
    }
}

impl Backend {
    fn with_name(self, name: Identifier) -> Self {
        Self { name, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_section_is_printed_compared_and_documented() {
        let schema = crate::doc::json_schema();
        let (page, sample) = (crate::doc::reference(), crate::doc::sample());
        let chapters = page.strip_suffix(&format!("{sample}```\n")).unwrap();
        let texts = [
            "[process]\nworkers = 4\n",
            "[admin]\nlisten = \"off\"\n",
            "[log]\naccess = \"stdout\"\n",
            "[incidents]\nprobes = false\n",
            "[resolver]\nattempts = 9\n",
            "[acme]\nstorage = \"/srv/acme\"\n",
            "[timeouts]\nconnect = \"1s\"\n",
            "[limits]\nhops = 9\n",
            "[compression]\nalgorithms = [\"gzip\"]\n",
            "[errors]\n503 = { body = \"x\" }\n",
            "[map.upgrade]\nkey = \"${host}\"\n",
            "[table.clients]\nsize = 7\n",
            "[rate_limit.by_ip]\nkey = \"${client_ip}\"\nrequests = 5\n",
            "[concurrency_limit.by_ip]\nkey = \"${client_ip}\"\n",
            "[cache.pages]\nsize = \"1MiB\"\n",
            "[listener.web]\nbind = \":80\"\n",
            "[[route]]\ndeny = 403\n",
            "[backend.app]\nservers = \"h:1\"\n",
        ];
        assert_eq!(texts.len(), SECTIONS.len());
        for (name, text) in SECTIONS.into_iter().zip(texts) {
            let config = crate::parse("t", text).config;
            assert_ne!(config, Config::default(), "{text}");
            let printed = crate::print::print(&config);
            assert_eq!(crate::parse("t", &printed).config, config, "{printed}");
            let changes = crate::diff::diff(&Config::default(), &config);
            let begins = |change: &&String| change.starts_with(name);
            assert_eq!(changes.iter().filter(begins).count(), 1, "{changes:?}");
            assert!(schema["properties"][name].is_object(), "{name}");
            let header = text.lines().next().unwrap_or_default();
            let is_it = |line: &str| line.trim_start_matches("# ") == header;
            assert!(sample.lines().any(is_it), "{header}");
            assert!(chapters.contains(&format!("[{name}")), "{name}");
        }
    }
}
