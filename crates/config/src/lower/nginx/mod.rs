//! NGINX's language lowered into the model.
//!
//! A server's locations become an ordered list of routes that takes the one NGINX would take
//! ([`location`]), what the rewrite module does becomes rules ([`rewrite`]), upstreams and the servers
//! that `proxy_pass` names become backends ([`upstream`]). What becomes of every directive stands in one
//! table ([`table`]); what depends on its words is noted where it is lowered. To add a directive: its
//! entry in the table, and the code where it is looked for.

mod files;
mod headers;
mod location;
mod logs;
mod more;
mod proxy;
mod rewrite;
mod server;
mod stream;
mod table;
mod upstream;
mod values;

use std::path::{Path, PathBuf};

use super::notes::Notes;
use crate::foreign::Foreign;
use crate::model::{Config, Identifier, Map, MapEntry, OrOff, RegexText, Workers};
use crate::survey::nginx::scope::Scope;
use crate::survey::units;
use crate::syntax::nginx::{Directive, Tree};
use crate::value::Text;
use table::Fate;
use values::Names;

/// What all servers can refer to.
struct Http<'a> {
    upstreams: Vec<&'a Directive>,
}

/// Reads a file and what it includes, as NGINX would, with directives from outside of it that hold for
/// all of it. A file with servers alone is taken for a part of
/// the block `http`. `ignored` are names of directives that are left out where they would be refused.
#[must_use]
pub fn load(path: &Path, globals: &str, ignored: &[String]) -> Foreign {
    let mut tree = crate::syntax::nginx::read_file(path);
    let mut outside = crate::syntax::nginx::read("command line", globals);
    outside.directives.append(&mut tree.directives);
    tree.directives = outside.directives;
    tree.diagnostics.append(&mut outside.diagnostics);
    lower(&tree, ignored)
}

/// The same for a text.
#[must_use]
pub fn load_text(name: &str, text: &str) -> Foreign {
    lower(&crate::syntax::nginx::read(name, text), &[])
}

fn lower(tree: &Tree, ignored: &[String]) -> Foreign {
    let mut notes = Notes::new(ignored);
    let mut config = Config::default();
    config.admin.listen = OrOff::Off;
    judge(&tree.directives, &mut notes);
    let outside = Scope::default().inside(&tree.directives);
    process(&outside, &mut config);
    let inner: Vec<&Directive> = tree
        .directives
        .iter()
        .filter(|found| found.is("http"))
        .collect();
    let blocks: Vec<&[Directive]> = if inner.is_empty() {
        vec![&tree.directives]
    } else {
        inner.iter().map(|found| found.inner()).collect()
    };
    for block in blocks {
        http(block, &outside, &mut config, &mut notes);
    }
    for found in tree.directives.iter().filter(|found| found.is("stream")) {
        stream::lower(found.inner(), &outside, &mut config, &mut notes);
    }
    notes.finish(config, &tree.diagnostics)
}

/// A directive as it stands in reports.
fn text_of(directive: &Directive) -> String {
    let words = std::iter::once(directive.name.text.as_str()).chain(directive.texts());
    words.collect::<Vec<_>>().join(" ")
}

/// Says what becomes of every directive by its name.
fn judge(block: &[Directive], notes: &mut Notes) {
    for directive in block {
        notes.begin(directive.origin(), text_of(directive));
        let name = directive.name.text.as_str();
        note(name, directive, table::fate(name), notes);
        if name == "stream" {
            stream::judge(directive.inner(), notes);
        }
        // What stands in these are entries and not directives.
        let is_table = ["map", "geo", "types", "split_clients", "stream", "mail"];
        if !is_table.contains(&name) {
            judge(directive.inner(), notes);
        }
    }
}

/// Notes what becomes of a directive.
fn note(name: &str, directive: &Directive, fate: Option<Fate>, notes: &mut Notes) {
    match fate {
        Some(Fate::Done) => {}
        Some(Fate::Equivalent(why)) => notes.equivalent(why),
        Some(Fate::Harmless(why)) => notes.harmless(why),
        // What is switched off is not missed.
        Some(Fate::Ineffective(_) | Fate::Refused(_)) if directive.argument(0) == Some("off") => {}
        Some(Fate::Ineffective(why)) => notes.ineffective(why),
        Some(Fate::Refused(why)) => notes.refused(why),
        None => notes.refused(format!("{name:?} is not known here")),
    }
}

fn process(scope: &Scope<'_>, config: &mut Config) {
    // Without a word about it there is one.
    let written = scope.find("worker_processes");
    let workers = written.map_or(Some("1"), |found| found.argument(0));
    if let Some(count) = workers
        .and_then(|text| text.parse().ok())
        .filter(|count| *count > 0)
    {
        config.process.workers = Workers::Count(count);
    }
    let drain = scope
        .find("worker_shutdown_timeout")
        .and_then(|found| found.argument(0));
    if let Some(time) = drain.and_then(units::nginx_time) {
        config.process.drain = time;
    }
}

fn http(block: &[Directive], outside: &Scope<'_>, config: &mut Config, notes: &mut Notes) {
    let scope = outside.inside(block);
    let mut names = Names::default();
    tables(block, &mut names, config, notes);
    let http = Http {
        upstreams: block.iter().filter(|found| found.is("upstream")).collect(),
    };
    let servers: Vec<server::Server<'_>> = block
        .iter()
        .filter(|found| found.is("server"))
        .map(|found| server::read(found, &scope, &names, notes))
        .collect();
    server::emit(&servers, &http, config, notes);
}

/// Learns the tables of a block: `map` and `geo`.
fn tables(block: &[Directive], names: &mut Names, config: &mut Config, notes: &mut Notes) {
    for directive in block {
        let made = match directive.name.text.as_str() {
            "map" => map(directive, names, config),
            "geo" => geo(directive, names, config),
            _ => continue,
        };
        if let Err(message) = made {
            notes.begin(directive.origin(), text_of(directive));
            notes.refused(message);
        }
    }
}

/// A name for the map of a variable: one of a stream may be called as one of requests is.
fn map_name(variable: &str, config: &Config) -> Result<Identifier, String> {
    let is_taken = |name: &str| config.maps.iter().any(|map| map.name.as_str() == name);
    let name = if is_taken(variable) {
        let numbers = 2..=config.maps.len().saturating_add(2);
        let mut names = numbers.map(|number| format!("{variable}-{number}"));
        names.find(|name| !is_taken(name)).unwrap_or_default()
    } else {
        variable.to_owned()
    };
    Identifier::parse(&name).map_err(|problem| problem.message)
}

/// What the variables of a block are: those that are always the same are put in where they stand.
fn learn(block: &[Directive], names: &mut Names) {
    let mut set: Vec<&Directive> = Vec::new();
    gather(block, &mut set);
    for directive in &set {
        let name = directive
            .argument(0)
            .unwrap_or_default()
            .trim_start_matches('$')
            .to_owned();
        let text = directive.argument(1).unwrap_or_default();
        let times = set
            .iter()
            .filter(|other| other.argument(0) == directive.argument(0))
            .count();
        let direct = block.iter().any(|inner| std::ptr::eq(inner, *directive));
        match values::constant(text, names) {
            Some(constant) if times == 1 && direct => {
                names.constants.insert(name, constant);
            }
            _ => {
                names.constants.remove(&name);
                names.variables.push(name);
            }
        }
    }
}

/// The media type of texts that are answered.
fn learn_type(scope: &Scope<'_>, names: &mut Names) {
    if let Some(found) = scope.text("default_type") {
        names
            .constants
            .insert(rewrite::DEFAULT_TYPE.to_owned(), found.value);
    }
}

fn gather<'a>(block: &'a [Directive], set: &mut Vec<&'a Directive>) {
    for directive in block {
        if directive.is("set") {
            set.push(directive);
        } else if directive.is("if") {
            gather(directive.inner(), set);
        }
    }
}

/// `map SOURCE $variable { … }`.
fn map(directive: &Directive, names: &mut Names, config: &mut Config) -> Result<(), String> {
    let (Some(source), Some(variable)) = (directive.argument(0), directive.argument(1)) else {
        return Err("a map has a source and a variable".to_owned());
    };
    let variable = variable.trim_start_matches('$');
    let mut map = Map {
        name: map_name(variable, config)?,
        key: values::template(source, names)?,
        ignore_case: true,
        ..Map::default()
    };
    let is_hosts = directive.inner().iter().any(|entry| entry.is("hostnames"));
    for entry in directive.inner() {
        let key = entry.name.text.as_str();
        let Some(text) = entry.argument(0) else {
            continue;
        };
        let to = values::template(text, names)?;
        let mut made = MapEntry {
            to,
            ..MapEntry::default()
        };
        if !entry.name.is_quoted && key == "default" {
            map.default = Some(made.to);
            continue;
        }
        if !entry.name.is_quoted && matches!(key, "include" | "volatile") {
            continue;
        }
        let (pattern, ignores) = match key.strip_prefix("~*") {
            Some(pattern) => (Some(pattern), true),
            None => (key.strip_prefix('~'), false),
        };
        if let Some(pattern) = pattern {
            // Texts are compared without regard to case, patterns as they say.
            let flag = if ignores { "(?i)" } else { "(?-i)" };
            let regex = RegexText::parse(&format!("{flag}{pattern}"));
            made.regex = Some(regex.map_err(|problem| problem.message)?);
        } else if is_hosts && key.starts_with("*.") {
            made.ends = Some(key.trim_start_matches('*').to_owned());
        } else if is_hosts && key.starts_with('.') {
            made.ends = Some(key.to_owned());
            let itself = MapEntry {
                is: Some(key.trim_start_matches('.').to_owned()),
                ends: None,
                ..made.clone()
            };
            map.entries.push(itself);
        } else if is_hosts && key.ends_with(".*") {
            made.begins = Some(key.trim_end_matches('*').to_owned());
        } else {
            // A backslash keeps what would else be special.
            made.is = Some(key.strip_prefix('\\').unwrap_or(key).to_owned());
        }
        map.entries.push(made);
    }
    names.maps.insert(variable.to_owned(), map.name.to_string());
    config.maps.push(map);
    Ok(())
}

/// `geo [SOURCE] $variable { … }`: a map from networks.
fn geo(directive: &Directive, names: &mut Names, config: &mut Config) -> Result<(), String> {
    let words: Vec<&str> = directive.texts().collect();
    let (source, variable) = match words.as_slice() {
        [source, variable] => (*source, *variable),
        [variable] => ("$remote_addr", *variable),
        _ => return Err("a table of networks has a variable".to_owned()),
    };
    let variable = variable.trim_start_matches('$');
    let mut map = Map {
        name: map_name(variable, config)?,
        key: values::template(source, names)?,
        default: Some(values::template("", names)?),
        ..Map::default()
    };
    for entry in directive.inner() {
        let key = entry.name.text.as_str();
        let Some(text) = entry.argument(0) else {
            return Err(format!("{key:?} is not known here"));
        };
        let to = values::template(text, names)?;
        let network = key.parse::<ipnet::IpNet>().ok();
        let network = network.or_else(|| Some(key.parse::<std::net::IpAddr>().ok()?.into()));
        match (key, network) {
            ("default", _) => map.default = Some(to),
            (_, Some(network)) => map.entries.push(MapEntry {
                within: Some(network.trunc()),
                to,
                ..MapEntry::default()
            }),
            _ => return Err(format!("{key:?} is not known here")),
        }
    }
    names.maps.insert(variable.to_owned(), map.name.to_string());
    config.maps.push(map);
    Ok(())
}

/// Relative paths lead from where the process is started.
fn absolute(path: &str) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.into())
}
