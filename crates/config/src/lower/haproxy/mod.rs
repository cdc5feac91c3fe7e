//! HAProxy's language (2.6) lowered into the model.
//!
//! A file is read in its order: `defaults` sections are remembered, every other proxy begins as a copy
//! of one, and its lines go on top ([`lines`]). Then proxies become listeners, routes and backends
//! ([`emit`]). What becomes of every line is noted ([`notes`]). To add a keyword: its place in the
//! match of `lines`, `global`, `bind` or `server`, and what it changes in `proxy` and `emit`.

mod acl;
mod around;
mod balance;
mod bind;
mod bodies;
mod caches;
mod check;
mod connection;
mod cookie;
mod emit;
mod extra;
mod format;
mod global;
mod lines;
mod logs;
mod maps;
mod options;
mod pages;
mod pass;
mod proxy;
mod rules;
mod sample;
mod script;
mod server;
mod stats;
mod tables;
mod users;

use std::path::PathBuf;
use std::rc::Rc;

use clearway_base::hash::Set;

use super::notes::Notes;
use crate::diagnostic::{Origins, Severity};
use crate::foreign::Foreign;
use crate::model::{Config, Health, OrOff, Server};
use crate::syntax::haproxy::{Environment, Line, Section, Tree};
use global::Global;
use proxy::Proxy;

/// Reads files, and of directories those that end in `.cfg`, as HAProxy would, in an environment that
/// the files may change and that keeps what they say. `ignored` are first words of directives that are
/// left out where they would be refused.
#[must_use]
pub fn load(paths: &[PathBuf], environment: &mut Environment, ignored: &[String]) -> Foreign {
    let mut tree = crate::syntax::haproxy::read_files_for(paths, environment);
    settle_environment(&mut tree, environment);
    lower(&tree, ignored)
}

/// Puts what variables of the environment are now in place of `env(NAME)`.
fn settle_environment(tree: &mut Tree, environment: &Environment) {
    let lines = tree.sections.iter_mut().flat_map(|s| &mut s.lines);
    for word in lines.flat_map(|line| &mut line.words) {
        while let Some((before, rest)) = word.text.split_once("[env(")
            && let Some((name, after)) = rest.split_once(')')
        {
            let value = environment.variable(name.trim()).unwrap_or_default();
            let value: String = value
                .chars()
                .flat_map(|c| {
                    "\\'\",() #"
                        .contains(c)
                        .then_some('\\')
                        .into_iter()
                        .chain([c])
                })
                .collect();
            word.text = format!("{before}[str({value}){after}");
        }
    }
}

/// The same for a text.
#[must_use]
pub fn load_text(name: &str, text: &str, environment: &mut Environment) -> Foreign {
    lower(
        &crate::syntax::haproxy::read_for(name, text, environment),
        &[],
    )
}

/// A server as the words behind `server` say it, with checks if it asks for some. What it says of TLS,
/// of its protocol and of the PROXY header stands with it.
///
/// # Errors
/// What is wrong with it, in words.
pub fn server(words: &[&str], is_http: bool) -> Result<(Server, Option<Health>), String> {
    let mode = if is_http { "http" } else { "tcp" };
    let quoted = |word: &&str| format!("'{}'", word.replace('\'', "'\\''"));
    let quoted: Vec<String> = words.iter().map(quoted).collect();
    let text = format!(
        "backend command\n mode {mode}\n server {}\n",
        quoted.join(" ")
    );
    let foreign = load_text("command", &text, &mut Environment::default());
    let mut found = foreign.loaded.diagnostics.iter();
    if let Some(wrong) = found.find(|found| found.severity == Severity::Error) {
        return Err(wrong.message.clone());
    }
    let backend = foreign.loaded.config.backends.into_iter().next();
    let mut backend = backend.ok_or("nothing was understood")?;
    let mut server = backend.servers.pop().ok_or("there is no server in it")?;
    server.tls = Some(backend.tls.map_or(OrOff::Off, OrOff::On));
    server.send_proxy = Some(backend.send_proxy);
    server.protocol = Some(backend.protocol);
    server.origins = Origins::default();
    Ok((server, backend.health))
}

/// Lowers what was read.
fn lower(tree: &Tree, ignored: &[String]) -> Foreign {
    let mut notes = Notes::new(ignored);
    let mut config = Config::default();
    config.admin.listen = OrOff::Off;
    // Without `hard-stop-after` connections end when they want.
    config.process.drain = OrOff::Off;
    maps::collect(tree, &mut config, &mut notes);
    let mut global = Global::default();
    let names = backends(tree);
    let (mut defaults, mut proxies): (Vec<Proxy>, Vec<Proxy>) = (Vec::new(), Vec::new());
    let mut users = acl::Acls::new();
    for section in tree
        .sections
        .iter()
        .filter(|section| section.kind() == "userlist")
    {
        users::read(section, &mut users, &mut notes);
    }
    let groups = Rc::new(pages::collect(tree, &mut notes));
    let mut caches = Vec::new();
    let known = (&names, &users, &groups);
    for section in &tree.sections {
        notes.begin(section.head.origin(), section.head.text());
        match section.kind() {
            "userlist" | "http-errors" => {}
            "global" => {
                for line in &section.lines {
                    notes.begin(line.origin(), line.text());
                    global.read(line, &mut config, &mut notes);
                }
            }
            "defaults" => defaults.push(proxy(section, &defaults, known, &mut notes)),
            "frontend" | "backend" | "listen" => {
                let mut proxy = proxy(section, &defaults, known, &mut notes);
                if proxy.number == 0 {
                    proxy.number = proxies.len() + 1;
                }
                proxies.push(proxy);
            }
            "peers" => tables::peers(section, &mut config, &mut notes),
            "cache" => caches.extend(caches::section(section, &mut config, &mut notes)),
            kind => other(kind, section, &mut notes),
        }
    }
    global.speaks_tls = proxies.iter().any(|proxy| {
        let mut lines = proxy.servers.iter().chain(&proxy.default_server);
        lines.any(|line| line.texts(2).any(|word| word == "ssl"))
    });
    stats::settle(&global, &mut config);
    tables::settle(&proxies, &mut config);
    share_forwardfor(&mut proxies);
    share_ports(&mut proxies);
    told_once(&proxies, &mut notes);
    let lines = tree.sections.iter().flat_map(|section| &section.lines);
    let asks = |line: &Line| {
        line.words
            .iter()
            .any(|word| word.text.contains("_timeout]"))
    };
    let tells_timeouts = lines.clone().any(asks);
    for proxy in &mut proxies {
        proxy.tells_timeouts = tells_timeouts;
    }
    let stores = caches::stores(&proxies);
    for proxy in &mut proxies {
        proxy.caching = caches::caching(proxy, &caches, &stores, &mut notes);
    }
    for proxy in &proxies {
        if proxy.serves() && (proxy.kind == "backend" || !proxy.servers.is_empty()) {
            emit::backend(proxy, &global, &mut config, &mut notes);
        }
        if proxy.listens() {
            emit::frontend(proxy, &global, &mut config, &mut notes);
        }
    }
    emit::part_families(&mut config);
    notes.finish(config, &tree.diagnostics)
}

/// Two sections that do the same work have different names.
fn told_once(proxies: &[Proxy], notes: &mut Notes) {
    for (at, proxy) in proxies.iter().enumerate() {
        let before = proxies.get(..at).unwrap_or_default().iter();
        let mut same = before.filter(|known| known.name == proxy.name);
        if same.any(|known| known.listens() && proxy.listens() || known.serves() && proxy.serves())
        {
            let message = format!("there are two sections {:?}", proxy.name);
            notes.wrong(&proxy.origin, message, "another name");
        }
    }
}

/// A frontend's `option forwardfor` holds for the backends it leads to, unless they say it themselves.
fn share_forwardfor(proxies: &mut [Proxy]) {
    let mut wishes = Vec::new();
    for front in proxies.iter().filter(|proxy| proxy.listens()) {
        let Some(line) = &front.forwardfor else {
            continue;
        };
        let switched = front
            .switches
            .iter()
            .filter_map(|switch| switch.backend.as_ref());
        let default = front.default_backend.iter().map(|found| &found.value);
        for name in switched.chain(default) {
            wishes.push((name.clone(), line.clone()));
        }
    }
    for (name, line) in wishes {
        let backend = proxies.iter_mut().find(|p| p.serves() && p.name == name);
        if let Some(backend) = backend {
            backend.forwardfor.get_or_insert(line);
        }
    }
}

/// Servers without a port have that of the client's connection, which is known where there is only one.
fn share_ports(proxies: &mut [Proxy]) {
    let mut ports: Vec<(String, Option<u16>)> = Vec::new();
    for front in proxies.iter().filter(|proxy| proxy.listens()) {
        let addresses = front.binds.iter().flat_map(|line| line.word(1).split(','));
        let port = |address: &str| match crate::survey::units::host_and_port(address).1 {
            0 => None,
            port => Some(port),
        };
        let own: Vec<Option<u16>> = addresses.map(port).collect();
        let switched = front.switches.iter().filter_map(|s| s.backend.as_ref());
        let default = front.default_backend.iter().map(|found| &found.value);
        for name in switched.chain(default).chain([&front.name]) {
            ports.extend(own.iter().map(|port| (name.clone(), *port)));
        }
    }
    for proxy in proxies.iter_mut().filter(|proxy| proxy.serves()) {
        let mut own = ports.iter().filter(|(name, _)| *name == proxy.name);
        let first = own.next().and_then(|(_, port)| *port);
        proxy.only_port = first.filter(|_| own.all(|(_, port)| *port == first));
    }
}

/// The names of all sections with servers.
fn backends(tree: &Tree) -> Set<String> {
    let sections = tree.sections.iter();
    let sections = sections.filter(|section| matches!(section.kind(), "backend" | "listen"));
    sections.map(|section| section.name().to_owned()).collect()
}

fn proxy(
    section: &Section,
    defaults: &[Proxy],
    (names, users, groups): (&Set<String>, &acl::Acls, &Rc<pages::Groups>),
    notes: &mut Notes,
) -> Proxy {
    let base = match section.from() {
        Some(name) => {
            let found = defaults.iter().rev().find(|known| known.name == name);
            if found.is_none() {
                let message = format!("there is no section \"defaults {name}\" above");
                notes.wrong(&section.head.origin(), message, "");
            }
            found
        }
        None if section.kind() == "defaults" => None,
        None => defaults.last(),
    };
    let origin = section.head.origin();
    let mut proxy = Proxy::begin(section.kind(), section.name(), origin, base);
    proxy.acls.extend(users.clone());
    proxy.groups = Rc::clone(groups);
    // An address behind the name, as it was written long ago.
    if proxy.listens() && section.head.word(2).contains(':') {
        let mut line = section.head.clone();
        line.words.remove(0);
        proxy.binds.push(line);
    }
    for line in &section.lines {
        notes.begin(line.origin(), line.text());
        lines::read(
            &tables::with_own(line, section.name()),
            &mut proxy,
            names,
            notes,
        );
    }
    proxy
}

/// Sections that are no proxies.
fn other(kind: &str, section: &Section, notes: &mut Notes) {
    for line in &section.lines {
        notes.begin(line.origin(), line.text());
        match kind {
            "resolvers" => notes.equivalent("names are looked up as the system's resolver says"),
            "mailers" | "ring" | "log-forward" | "traces" | "log-profile" => {
                notes.harmless("nothing refers to it");
            }
            "fcgi-app" | "crt-store" => {
                notes.harmless("what refers to it says whether it is missing");
            }
            _ => notes.refused(format!("sections of the kind {kind:?} are not known here")),
        }
    }
}
