//! Routes, rules and what they do.

use clearway_base::hash::Map;

use super::backends::retry_faults;
use super::{Findings, limits, shadow, time_outs};
use crate::diagnostic::{Diagnostic, Origin};
use crate::model::{Actions, Condition, Config, HeaderName, Identifier, Match, Route};

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
const ROUTE_LIMITS: [&str; 3] = ["body_bytes", "response_header_bytes", "interim_responses"];

/// Header fields that say where a message ends or that concern one connection only: what stands in
/// them follows from the message, not from a rule.
const OWN_FIELDS: [&str; 8] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

pub(super) fn check(config: &Config, found: &mut Findings) {
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
        match_listeners(config, &route.matching, found);
        time_outs(&label, &route.timeouts, Some(&ROUTE_TIME_OUTS), found);
        limits(&label, &route.limits, &ROUTE_LIMITS, found);
        if let Some(on) = &route.retries.on {
            retry_faults(on, route.retries.origins.field_or_section("on"), found);
        }
    }
    for (hidden, by) in shadow::shadowed(&config.routes) {
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
    let ways = ["backend", "redirect", "reply", "deny"];
    let written: Vec<&str> = ways
        .into_iter()
        .filter(|key| route.origin_of(key).is_some())
        .collect();
    if let [first, second, ..] = written.as_slice() {
        let origin = route.origin_of(second).unwrap_or_else(|| route.origin());
        let message = format!("this route has both `{first}` and `{second}`");
        let diagnostic = Diagnostic::error("contradiction", origin, message);
        found.push(diagnostic.expected("one of backend, redirect, reply, deny"));
    }
    let Some(name) = &route.backend else {
        if written.is_empty() {
            let diagnostic =
                Diagnostic::error("no-backend", route.origin(), "this route leads nowhere");
            found.push(diagnostic.expected("one of backend, redirect, reply, deny"));
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

/// What is done with a request.
pub(super) fn actions(actions: &Actions, found: &mut Findings) {
    let origins = &actions.origins;
    if let Some(rewrite) = &actions.rewrite
        && rewrite.prefix.is_some() == rewrite.regex.is_some()
    {
        let message = "a rewrite has either a prefix or a regex";
        let diagnostic = Diagnostic::error("contradiction", rewrite.origin(), message);
        found.push(diagnostic.expected("{ prefix = \"/old/\", to = \"/new/\" }"));
    }
    if let Some(redirect) = &actions.redirect
        && ![301, 302, 303, 307, 308].contains(&redirect.status)
    {
        let origin = redirect.origins.field_or_section("status");
        let message = format!("{} is not a redirection with a location", redirect.status);
        found.push(
            Diagnostic::error("value", origin, message).expected("301, 302, 303, 307 or 308"),
        );
    }
    if let Some(reply) = &actions.reply
        && [204, 205, 304].contains(&reply.status)
        && !reply.body.is_empty()
    {
        let origin = reply.origins.field_or_section("body");
        found.no_effect(
            origin,
            format!("a {} answer has no body", reply.status),
            "remove it",
        );
    }
    let pairs = [
        ("set_request_headers", &actions.set_request_headers),
        ("add_request_headers", &actions.add_request_headers),
        ("set_response_headers", &actions.set_response_headers),
        ("add_response_headers", &actions.add_response_headers),
    ];
    for (key, pairs) in pairs {
        own_fields(
            pairs.iter().map(|(name, _)| name),
            key,
            origins.field_or_section(key),
            found,
        );
    }
    let key = "remove_request_headers";
    own_fields(
        actions.remove_request_headers.iter(),
        key,
        origins.field_or_section(key),
        found,
    );
    let key = "remove_response_headers";
    own_fields(
        actions.remove_response_headers.iter(),
        key,
        origins.field_or_section(key),
        found,
    );
}

fn own_fields<'a>(
    names: impl Iterator<Item = &'a HeaderName>,
    key: &str,
    origin: &Origin,
    found: &mut Findings,
) {
    for name in names {
        let lower = name.as_str().to_ascii_lowercase();
        if OWN_FIELDS.contains(&lower.as_str()) {
            let message = format!("{name} follows from the message and cannot be changed by {key}");
            found.error("own-header", origin, message);
        } else if lower == "host" && key.contains("request") {
            let message = format!("the host cannot be changed by {key}");
            let diagnostic = Diagnostic::error("own-header", origin, message);
            found.push(diagnostic.hint("use set_host"));
        }
    }
}
