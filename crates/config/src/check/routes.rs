//! Routes, rules and what they do.

use clearway_base::hash::Map;

use super::backends::retry_faults;
use super::{Findings, NO_BACKEND, limits, time_outs};
use crate::compile::{RULE, router};
use crate::diagnostic::{Diagnostic, Origin};
use clearway_rules::ast::Definitions;

use crate::model::{Actions, Caching, Condition, Config, Identifier, Match, Route};

/// Time-outs that can be set once a route is known.
const ROUTE_TIME_OUTS: [&str; 10] = [
    "request_body",
    "client_write",
    "connect",
    "queue",
    "server_write",
    "response",
    "server_idle",
    "tunnel",
    "half_closed",
    "total",
];
const ROUTE_LIMITS: [&str; 5] = [
    "body_bytes",
    "response_rate",
    "response_rate_after",
    "response_header_bytes",
    "interim_responses",
];

/// Checks that a cache is there and what it wants can work.
pub(super) fn cache(
    config: &Config,
    caching: Option<&Caching>,
    named: &Definitions,
    found: &mut Findings,
) {
    let Some(caching) = caching else { return };
    let name = caching.store.as_str();
    if !config
        .caches
        .iter()
        .any(|known| known.name.as_str() == name)
    {
        let origin = caching.origins.field_or_section("store");
        let message = format!("there is no cache {name:?}");
        let names = config.caches.iter().map(|known| known.name.as_str());
        let hint = crate::words::closest(name, names);
        let diagnostic = Diagnostic::error("no-cache", origin, message);
        found.push(match hint {
            Some(close) => diagnostic.hint(format!("did you mean {close:?}?")),
            None => diagnostic.hint(format!("write a section [cache.{name}]")),
        });
    }
    if let Err(message) = caching.gates(named) {
        found.error(RULE, caching.origin(), message);
    }
}

pub(super) fn check(config: &Config, found: &mut Findings) {
    let named = config.definitions();
    let of_listeners = config.listeners.iter().map(|l| l.cache.as_ref());
    let of_backends = config.backends.iter().map(|b| b.cache.as_ref());
    for caching in of_listeners.chain(of_backends) {
        cache(config, caching, &named, found);
    }
    let mut names: Map<String, &Origin> = Map::default();
    let backends: Map<&str, ()> = config
        .backends
        .iter()
        .map(|b| (b.name.as_str(), ()))
        .collect();
    for (index, route) in config.routes.iter().enumerate() {
        let name = config.route_name(index);
        let label = format!("route {name}");
        let origin = route.origin_of("name").unwrap_or_else(|| route.origin());
        if let Some(first) = names.insert(name, origin) {
            let message = format!(
                "there are two routes of this name; the other is in line {}",
                first.line
            );
            found.error("duplicate", origin, message);
        }
        target(config, route, &backends, found);
        actions(&route.actions, found);
        for rule in &route.rules {
            actions(&rule.actions, found);
            condition_listeners(config, &rule.when, found);
        }
        found.extend(route.program(&named).err());
        match_listeners(config, &route.matching, found);
        condition_listeners(config, &route.when, found);
        time_outs(&label, &route.timeouts, Some(&ROUTE_TIME_OUTS), found);
        limits(&label, &route.limits, &ROUTE_LIMITS, found);
        cache(config, route.cache.as_ref(), &named, found);
        if let Some(on) = &route.retries.on {
            retry_faults(on, route.retries.origins.field_or_section("on"), found);
        }
    }
    let routes: Vec<&Route> = config.routes.iter().collect();
    found.extend(router(&routes, &named).err());
    let matches: Vec<_> = routes.iter().map(|route| route.lowered()).collect();
    for (hidden, by) in clearway_rules::shadowed(&matches) {
        let (Some(route), Some(first)) = (config.routes.get(hidden), config.routes.get(by)) else {
            continue;
        };
        let message = format!(
            "{} is never reached: {} in line {} takes every request first",
            config.route_name(hidden),
            config.route_name(by),
            first.origin().line,
        );
        let diagnostic = Diagnostic::warning("shadowed", route.origin(), message);
        found.push(diagnostic.hint("put the narrower route first"));
    }
}

/// A route ends in exactly one way.
fn target(config: &Config, route: &Route, backends: &Map<&str, ()>, found: &mut Findings) {
    let ways = ["backend", "redirect", "reply", "files", "deny", "drop"];
    let written: Vec<&str> = ways
        .into_iter()
        .filter(|key| route.origin_of(key).is_some())
        .collect();
    if let [first, second, ..] = written.as_slice() {
        let origin = route.origin_of(second).unwrap_or_else(|| route.origin());
        let message = format!("this route has both `{first}` and `{second}`");
        let diagnostic = Diagnostic::error("contradiction", origin, message);
        found.push(diagnostic.expected("one of backend, redirect, reply, files, deny, drop"));
    }
    let Some(name) = &route.backend else {
        // A rule that always answers is an end too.
        let ends = route.rules.iter().any(|rule| {
            rule.when == Condition::default() && (rule.actions.answers() || rule.actions.reroute)
        });
        if written.is_empty() && !ends {
            let diagnostic =
                Diagnostic::error(NO_BACKEND, route.origin(), "this route leads nowhere");
            found.push(diagnostic.expected("one of backend, redirect, reply, files, deny, drop"));
        }
        return;
    };
    if !backends.contains_key(name.as_str()) {
        let origin = route.origin_of("backend").unwrap_or_else(|| route.origin());
        found.unknown(
            "backend",
            name,
            origin,
            config.backends.iter().map(|b| b.name.as_str()),
        );
    }
}

/// Listeners a condition names: they exist and speak HTTP.
fn match_listeners(config: &Config, matching: &Match, found: &mut Findings) {
    for name in &matching.listeners {
        let origin = matching.origins.field_or_section("listeners");
        match config.listener(name) {
            None => {
                let known = config
                    .listeners
                    .iter()
                    .map(|listener| listener.name.as_str());
                found.unknown("listener", name, origin, known);
            }
            Some(listener) if !listener.is_http() => {
                let message =
                    format!("listener {name} has mode = \"tcp\": it has no requests to route");
                let diagnostic = Diagnostic::error("mode", origin, message);
                found.push(diagnostic.hint(format!("set its `backend` in [listener.{name}]")));
            }
            Some(_) => {}
        }
    }
    repeated(
        &matching.listeners,
        matching.origins.field_or_section("listeners"),
        found,
    );
}

fn repeated(names: &[Identifier], origin: &Origin, found: &mut Findings) {
    let mut seen: Map<&str, ()> = Map::default();
    for name in names {
        if seen.insert(name.as_str(), ()).is_some() {
            found.warning("duplicate", origin, format!("{name} stands here twice"));
        }
    }
}

/// The same for conditions within conditions.
pub(super) fn condition_listeners(config: &Config, condition: &Condition, found: &mut Findings) {
    match_listeners(config, &condition.matching, found);
    for inner in condition
        .not
        .iter()
        .chain(&condition.any)
        .chain(&condition.all)
    {
        condition_listeners(config, inner, found);
    }
}

/// What is done with a request, as far as it can be told without compiling it.
pub(super) fn actions(actions: &Actions, found: &mut Findings) {
    if let Some(rewrite) = &actions.rewrite
        && rewrite.prefix.is_some() == rewrite.regex.is_some()
    {
        let message = "a rewrite has either a prefix or a regex";
        let diagnostic = Diagnostic::error("contradiction", rewrite.origin(), message);
        found.push(diagnostic.expected("{ prefix = \"/old/\", to = \"/new/\" }"));
    }
    let key = "set_request_headers";
    let mut names = actions.set_request_headers.iter().map(|(name, _)| name);
    if names.any(|name| name.as_str().eq_ignore_ascii_case("host")) {
        let origin = actions.origins.field_or_section(key);
        let message = format!("the host cannot be changed by {key}");
        found.push(Diagnostic::error(RULE, origin, message).hint("use set_host"));
    }
}
