//! NGINX's language lowered into the model.
//!
//! A server's locations become an ordered list of routes that takes the one NGINX would take
//! ([`location`]), what the rewrite module does becomes rules ([`rewrite`]), upstreams and the servers
//! that `proxy_pass` names become backends ([`upstream`]). What becomes of every directive stands in one
//! table ([`table`]); what depends on its words is noted where it is lowered. To add a directive: its
//! entry in the table, and the code where it is looked for.

mod access;
mod bodies;
mod caches;
mod files;
mod gateway;
mod headers;
mod limits;
mod links;
mod location;
mod logs;
mod more;
mod named;
mod places;
mod proxy;
mod redirects;
mod rewrite;
mod server;
mod shape;
mod stream;
mod table;
mod tables;
mod turns;
mod upstream;
mod values;

use std::path::{Path, PathBuf};

use super::notes::Notes;
use crate::foreign::Foreign;
use crate::model::{Config, Identifier, OrOff, Workers};
use crate::survey::nginx::scope::Scope;
use crate::survey::units;
use crate::syntax::nginx::{Directive, Tree};
use crate::value::Text as _;
use table::Fate;
use values::Names;

/// What all servers can refer to.
struct Http<'a> {
    upstreams: Vec<&'a Directive>,
    /// Paths that are asked whether requests may go on.
    asked: Vec<&'a str>,
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
    shape::check(tree, &mut notes);
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
    if let Some(user) = scope.find("user") {
        let name = |index| Identifier::parse(user.argument(index)?).ok();
        config.process.user = name(0);
        // A group has the user's name unless it has its own.
        config.process.group = name(1).or_else(|| name(0));
    }
    let drain = scope
        .find("worker_shutdown_timeout")
        .and_then(|found| found.argument(0));
    // Without a limit connections end when they want.
    config.process.drain = match drain.and_then(units::nginx_time) {
        Some(time) => OrOff::On(time),
        None => OrOff::Off,
    };
}

fn http(block: &[Directive], outside: &Scope<'_>, config: &mut Config, notes: &mut Notes) {
    let scope = outside.inside(block);
    let mut names = Names::default();
    tables::read_all(block, &mut names, config, notes);
    for directive in block
        .iter()
        .filter(|found| found.name.text.ends_with("_cache_path"))
    {
        caches::path(directive, config, notes);
    }
    for directive in block {
        if !(directive.is("limit_req_zone") || directive.is("limit_conn_zone")) {
            continue;
        }
        notes.begin(directive.origin(), text_of(directive));
        if let Err(message) = limits::zone(directive, &names, config) {
            notes.wrong(&directive.origin(), message, "");
        }
    }
    let http = Http {
        upstreams: block.iter().filter(|found| found.is("upstream")).collect(),
        asked: {
            let mut asked = Vec::new();
            questions(block, &mut asked);
            asked
        },
    };
    let servers: Vec<server::Server<'_>> = block
        .iter()
        .filter(|found| found.is("server"))
        .map(|found| server::read(found, &scope, &names, config, notes))
        .collect();
    server::emit(&servers, &http, config, notes);
}

/// What the variables of a block are: those that are always the same are put in where they stand.
fn learn(block: &[Directive], names: &mut Names) {
    let mut set: Vec<&Directive> = Vec::new();
    gather(block, &mut set);
    learn_conditions(block, names);
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

/// What texts of a place may refer to, and where its redirections lead: `prefix` is the begin of its paths
/// where `alias` takes that off.
fn learn_place(scope: &Scope<'_>, prefix: Option<&str>, names: &mut Names) {
    if let Some(found) = scope.text("default_type") {
        names
            .constants
            .insert(rewrite::DEFAULT_TYPE.to_owned(), found.value);
    }
    files::learn_root(scope, prefix, names);
    if !scope.flag("absolute_redirect", true).value {
        names.redirect_base = Some(String::new());
        return;
    }
    let own = names.constants.get("server_name");
    let own = own.filter(|name| !name.is_empty() && !name.contains('$'));
    let by_name = scope.flag("server_name_in_redirect", false).value;
    let host = match own.filter(|_| by_name) {
        Some(name) => name.clone(),
        None => "${host_or_address}".to_owned(),
    };
    let port = match scope.flag("port_in_redirect", true).value {
        true => "${port_suffix}",
        false => "",
    };
    names.redirect_base = Some(format!("${{scheme}}://{host}{port}"));
}

fn gather<'a>(block: &'a [Directive], set: &mut Vec<&'a Directive>) {
    for directive in block {
        if directive.is("set") || directive.is("auth_request_set") {
            set.push(directive);
        } else if directive.is("if") {
            gather(directive.inner(), set);
        }
    }
}

/// Paths that `auth_request` and `mirror` name, in all blocks.
fn questions<'a>(block: &'a [Directive], asked: &mut Vec<&'a str>) {
    for directive in block {
        if directive.is("auth_request") || directive.is("mirror") {
            asked.extend(directive.argument(0));
        }
        questions(directive.inner(), asked);
    }
}

/// Names of groups of the patterns of `if`, which are variables everywhere.
fn learn_conditions(block: &[Directive], names: &mut Names) {
    for directive in block.iter().filter(|directive| directive.is("if")) {
        let text = directive.texts().collect::<Vec<_>>().join(" ");
        for part in text.split("(?").skip(1) {
            let part = part.trim_start_matches('P').trim_start_matches('<');
            if let Some((name, _)) = part.split_once('>')
                && !name.is_empty()
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            {
                names.variables.push(name.to_owned());
            }
        }
    }
}

/// Relative paths lead from where the process is started.
fn absolute(path: &str) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.into())
}
