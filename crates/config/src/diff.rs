//! What changed between two configurations, in words.

use clearway_base::hash::Map;

use crate::model::{Config, ErrorPages, Server};
use crate::value::{Section, Spec, Value};

/// Longest value that is quoted in a change.
const QUOTE: usize = 80;

/// What is different in `new`, one sentence each; empty when nothing is.
#[must_use]
pub fn diff(old: &Config, new: &Config) -> Vec<String> {
    let mut out = Vec::new();
    section("process", &old.process, &new.process, &mut out);
    section("admin", &old.admin, &new.admin, &mut out);
    section("log", &old.log, &new.log, &mut out);
    section("incidents", &old.incidents, &new.incidents, &mut out);
    section("resolver", &old.resolver, &new.resolver, &mut out);
    section("acme", &old.acme, &new.acme, &mut out);
    section("timeouts", &old.timeouts, &new.timeouts, &mut out);
    section("limits", &old.limits, &new.limits, &mut out);
    section("compression", &old.compression, &new.compression, &mut out);
    errors(&old.errors, &new.errors, &mut out);
    let name = |map: &crate::model::Map| map.name.to_string();
    named("map", (&*old.maps, &*new.maps), name, &mut out, changes);
    let name = |table: &crate::model::Table| table.name.to_string();
    let tables = (&*old.tables, &*new.tables);
    named("table", tables, name, &mut out, changes);
    let name = |limit: &crate::model::RateLimit| limit.name.to_string();
    let limits = (&*old.rate_limits, &*new.rate_limits);
    named("rate_limit", limits, name, &mut out, changes);
    let name = |limit: &crate::model::ConcurrencyLimit| limit.name.to_string();
    let limits = (&*old.concurrency_limits, &*new.concurrency_limits);
    named("concurrency_limit", limits, name, &mut out, changes);
    let name = |cache: &crate::model::CacheStore| cache.name.to_string();
    let caches = (&*old.caches, &*new.caches);
    named("cache", caches, name, &mut out, changes);
    let name = |listener: &crate::model::Listener| listener.name.to_string();
    let listeners = (&*old.listeners, &*new.listeners);
    named("listener", listeners, name, &mut out, changes);
    routes(old, new, &mut out);
    let name = |backend: &crate::model::Backend| backend.name.to_string();
    let backends = (&*old.backends, &*new.backends);
    named(
        "backend",
        backends,
        name,
        &mut out,
        |label, old, new, out| {
            changes_but(&["servers"], label, old, new, out);
            servers(label, (&old.servers, &new.servers), out);
        },
    );
    out
}

fn section<S: Section>(label: &str, old: &S, new: &S, out: &mut Vec<String>) {
    if old != new {
        changes(label, old, new, out);
    }
}

/// Keys whose values may hold secrets: differences are told in logs.
const SECRET: &[&str] = &["webhooks", "authorization"];

/// The fields that are printed differently.
fn changes<S: Section>(label: &str, old: &S, new: &S, out: &mut Vec<String>) {
    changes_but(&[], label, old, new, out);
}

/// The same without keys that have sentences of their own.
fn changes_but<S: Section>(but: &[&str], label: &str, old: &S, new: &S, out: &mut Vec<String>) {
    for (before, after) in old.printed().iter().zip(&new.printed()) {
        if before.text == after.text || but.contains(&before.key) {
            continue;
        }
        let key = before.key;
        if SECRET.contains(&key) {
            out.push(format!("{label}: {key} changed"));
            continue;
        }
        out.push(match (short(&before.text), short(&after.text)) {
            (_, None) => format!("{label}: {key} removed"),
            (None, Some(after)) => format!("{label}: {key} set to {after}"),
            (Some(before), Some(after)) => format!("{label}: {key} {before} → {after}"),
        });
    }
}

/// A value on one line, cut when long; `None` when there is none.
fn short(text: &str) -> Option<String> {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.is_empty() {
        return None;
    }
    if line.chars().count() <= QUOTE {
        return Some(line);
    }
    Some(line.chars().take(QUOTE).chain("…".chars()).collect())
}

fn named<S: Section>(
    kind: &str,
    (old, new): (&[S], &[S]),
    name: impl Fn(&S) -> String,
    out: &mut Vec<String>,
    changed: impl Fn(&str, &S, &S, &mut Vec<String>),
) {
    let before: Map<String, &S> = old.iter().map(|section| (name(section), section)).collect();
    let after: Map<String, &S> = new.iter().map(|section| (name(section), section)).collect();
    for section in old
        .iter()
        .filter(|section| !after.contains_key(&name(section)))
    {
        out.push(format!("{kind} {} removed", name(section)));
    }
    for section in new {
        let name = name(section);
        let label = format!("{kind} {name}");
        match before.get(&name) {
            None => out.push(format!("{label} added")),
            Some(old) if *old != section => changed(&label, old, section, out),
            Some(_) => {}
        }
    }
}

fn servers(label: &str, (old, new): (&[Server], &[Server]), out: &mut Vec<String>) {
    let before: Map<String, &Server> = old.iter().map(|s| (s.address.to_string(), s)).collect();
    let after: Map<String, &Server> = new.iter().map(|s| (s.address.to_string(), s)).collect();
    for server in old
        .iter()
        .filter(|s| !after.contains_key(&s.address.to_string()))
    {
        out.push(format!("{label}: server {} removed", words(server)));
    }
    for server in new {
        match before.get(&server.address.to_string()) {
            None => out.push(format!("{label}: server {} added", words(server))),
            Some(old) => {
                section(
                    &format!("{label}, server {}", server.label()),
                    *old,
                    server,
                    out,
                );
            }
        }
    }
    let order = |servers: &[Server]| -> Vec<String> {
        servers
            .iter()
            .map(|server| server.address.to_string())
            .collect()
    };
    let (mut sorted_old, mut sorted_new) = (order(old), order(new));
    let moved = sorted_old != sorted_new;
    sorted_old.sort();
    sorted_new.sort();
    if moved && sorted_old == sorted_new {
        out.push(format!("{label}: order of servers changed"));
    }
}

fn words(server: &Server) -> String {
    match &server.name {
        Some(name) => format!("{name} ({})", server.address),
        None => server.address.to_string(),
    }
}

fn errors(old: &ErrorPages, new: &ErrorPages, out: &mut Vec<String>) {
    let print = |pages: &ErrorPages| {
        let mut text = String::new();
        pages.print(&Spec::NONE, &mut text);
        text
    };
    if print(old) != print(new) {
        out.push("errors: pages changed".to_owned());
    }
}

/// Routes with names are followed by name, others by place.
fn routes(old: &Config, new: &Config, out: &mut Vec<String>) {
    let name = |config: &Config, index: usize| config.route_name(index);
    let before: Vec<String> = (0..old.routes.len()).map(|i| name(old, i)).collect();
    let after: Vec<String> = (0..new.routes.len()).map(|i| name(new, i)).collect();
    let places: Map<&str, usize> = before
        .iter()
        .enumerate()
        .map(|(i, n)| (n.as_str(), i))
        .collect();
    let kept: clearway_base::hash::Set<&str> = after.iter().map(String::as_str).collect();
    for gone in before.iter().filter(|name| !kept.contains(name.as_str())) {
        out.push(format!("route {gone} removed"));
    }
    let mut last = None;
    let mut moved = false;
    for (index, name) in after.iter().enumerate() {
        let place = places.get(name.as_str()).copied();
        let pair = place
            .and_then(|place| old.routes.get(place))
            .zip(new.routes.get(index));
        match pair {
            None => out.push(format!("route {name} added")),
            Some((before, after)) => {
                moved |= place < last;
                last = place;
                section(&format!("route {name}"), before, after, out);
            }
        }
    }
    if moved {
        out.push("order of routes changed".to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        let loaded = crate::parse("t", text);
        loaded.config
    }

    const BASE: &str = "[listener.web]\nbind = \":80\"\n[backend.app]\n\
        servers = [\"10.0.0.1:80\", \"10.0.0.2:80\"]\n";

    #[test]
    fn nothing_is_said_about_nothing() {
        assert_eq!(
            diff(&config(BASE), &config(&format!("# moved\n\n{BASE}"))),
            Vec::<String>::new()
        );
    }

    #[test]
    fn every_change_has_its_sentence() {
        let new = "[timeouts]\nconnect = \"1s\"\n[listener.web]\nbind = \":81\"\n[listener.b]\nbind = \":82\"\n\
            [[route]]\nname = \"x\"\nbackend = \"app\"\n\
            [backend.app]\nbalance = \"random\"\n\
            servers = [{ address = \"10.0.0.2:80\", weight = 2 }, \"10.0.0.3:80\"]\n";
        assert_eq!(
            diff(&config(BASE), &config(new)),
            [
                "timeouts: connect \"5s\" → \"1s\"",
                "listener web: bind [\"*:80\"] → [\"*:81\"]",
                "listener b added",
                "route x added",
                "backend app: balance \"round_robin\" → \"random\"",
                "backend app: server 10.0.0.1:80 removed",
                "backend app, server 10.0.0.2:80: weight 1 → 2",
                "backend app: server 10.0.0.3:80 added",
            ]
        );
        assert_eq!(diff(&config(new), &config(BASE)).len(), 8);
    }

    #[test]
    fn order_counts_where_it_means_something() {
        let turned = BASE.replace(
            "\"10.0.0.1:80\", \"10.0.0.2:80\"",
            "\"10.0.0.2:80\", \"10.0.0.1:80\"",
        );
        assert_eq!(
            diff(&config(BASE), &config(&turned)),
            ["backend app: order of servers changed"]
        );
        let a = "[[route]]\nname = \"a\"\ndeny = 403\n[[route]]\nname = \"b\"\ndeny = 403\n";
        let b = "[[route]]\nname = \"b\"\ndeny = 403\n[[route]]\nname = \"a\"\ndeny = 403\n";
        assert_eq!(diff(&config(a), &config(b)), ["order of routes changed"]);
    }
}
