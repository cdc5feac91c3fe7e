//! Listeners: addresses taken twice, ways that lead nowhere, settings the mode does not know.

use clearway_base::hash::Map;

use super::{Findings, NO_BACKEND, NO_LISTENER, limits, process, routes, time_outs};
use crate::diagnostic::{Diagnostic, Origin};
use crate::model::{Bind, Config, Listener, ListenerTls};

/// Open files that the process needs for itself: logs, epoll, the admin API, resolving.
const OWN_FILES: u64 = 64;

pub(super) fn check(config: &Config, found: &mut Findings) {
    if config.listeners.is_empty() {
        found.push(
            Diagnostic::error(NO_LISTENER, &Origin::default(), "nothing listens")
                .expected("a section [listener.NAME]")
                .hint("begin with: [listener.web] bind = \":8080\""),
        );
    }
    binds(config, found);
    let named = config.definitions();
    for listener in &config.listeners {
        leads_somewhere(config, listener, found);
        trust(listener, found);
        mode(listener, found);
        tls(listener, found);
        passthrough(config, listener, found);
        let label = format!("listener {}", listener.name);
        time_outs(&label, &listener.timeouts, None, found);
        limits(&label, &listener.limits, &LISTENER_LIMITS, found);
        process::pages(&listener.errors, found);
        found.extend(listener.program(&named).err());
        for rule in &listener.rules {
            routes::actions(&rule.actions, found);
            routes::condition_listeners(config, &rule.when, found);
        }
    }
}

const LISTENER_LIMITS: [&str; 12] = [
    "streams",
    "connections",
    "connections_per_source",
    "request_line",
    "header_bytes",
    "header_count",
    "body_bytes",
    "response_rate",
    "response_rate_after",
    "response_header_bytes",
    "interim_responses",
    "hops",
];

/// Two sockets on one address: the kernel would let both open, and spread clients over them.
fn binds(config: &Config, found: &mut Findings) {
    let mut taken: Map<(u16, &str), Vec<(&Bind, String)>> = Map::default();
    let admin = config.admin.listen.on().map(|bind| {
        (
            bind,
            "the admin API".to_owned(),
            config.admin.origins.field_or_section("listen"),
        )
    });
    let listeners = config.listeners.iter().flat_map(|listener| {
        let origin = listener.origins.field_or_section("bind");
        listener
            .bind
            .iter()
            .map(move |bind| (bind, format!("listener {}", listener.name), origin))
    });
    let sockets = config.admin.haproxy_sockets.iter().map(|socket| {
        let origin = socket.origins.field_or_section("bind");
        (
            &socket.bind,
            "a socket for runtime commands".to_owned(),
            origin,
        )
    });
    for (bind, owner, origin) in admin.into_iter().chain(sockets).chain(listeners) {
        let others = taken.entry(bind.slot()).or_default();
        let is_listener = |owner: &str| owner.starts_with("listener ");
        let collides = |(other, by): &&(&Bind, String)| {
            // The kernel gives connections to the socket with the narrower address.
            let may_share = is_listener(by) && is_listener(&owner);
            other.overlaps(bind) && !(may_share && other.covers(bind) != bind.covers(other))
        };
        if let Some((other, by)) = others.iter().find(collides) {
            // The admin API is on by default: the one to be moved is then the admin API.
            let message = format!("{bind} is taken already: {by} is on {other}");
            found.error("duplicate-bind", origin, message);
        }
        others.push((bind, owner));
    }
}

fn leads_somewhere(config: &Config, listener: &Listener, found: &mut Findings) {
    if listener.origins.is_misread("backend") || listener.origins.is_misread("rule") {
        return;
    }
    if let Some(name) = &listener.backend {
        if config.backend(name).is_none() {
            let origin = listener.origins.field_or_section("backend");
            found.unknown(
                "backend",
                name,
                origin,
                config.backends.iter().map(|b| b.name.as_str()),
            );
        }
        return;
    }
    if config.default_backend(listener).is_some() || config.routes_of(listener).next().is_some() {
        return;
    }
    if !listener.passthrough.is_empty() || listener.https_redirect.is_some() || !listener.fallback {
        return;
    }
    // A listener whose rules answer everything needs no backend.
    let answers =
        |rule: &crate::model::Rule| rule.actions.answers() && rule.when == Default::default();
    if listener.rules.iter().any(answers) {
        return;
    }
    let message = format!("listener {} leads nowhere", listener.name);
    let expected = match config.backends.len() {
        0 => "a section [backend.NAME] with servers",
        _ if listener.is_http() => "a backend, or a [[route]]",
        _ => "a backend",
    };
    let diagnostic = Diagnostic::error(NO_BACKEND, listener.origin(), message).expected(expected);
    found.push(match config.backends.first() {
        Some(backend) => diagnostic.hint(format!("add: backend = \"{}\"", backend.name)),
        None => diagnostic,
    });
}

fn trust(listener: &Listener, found: &mut Findings) {
    if listener.accepts_proxy() && listener.trusted.is_empty() {
        let unix = !listener.bind.is_empty()
            && listener
                .bind
                .iter()
                .all(|bind| matches!(bind, Bind::Unix { .. }));
        if !unix {
            let origin = listener.origins.field_or_section("proxy_protocol");
            let message = "nobody may send the PROXY headers that are asked for: every connection would be refused";
            found.push(
                Diagnostic::error("nobody-trusted", origin, message)
                    .expected("`trusted` with the addresses of the proxies in front"),
            );
        }
    }
    if listener.trusted.iter().any(|net| net.prefix_len() == 0) {
        let origin = listener.origins.field_or_section("trusted");
        let message = "everybody is trusted: any client may pretend to have any address";
        found.push(
            Diagnostic::warning("all-trusted", origin, message)
                .hint("name the networks of the proxies in front"),
        );
    }
}

/// Settings that mean something in HTTP only.
fn mode(listener: &Listener, found: &mut Findings) {
    if listener.is_http() {
        return;
    }
    if !listener.rules.is_empty() {
        let origin = listener.origins.field_or_section("rule");
        found.error(
            "mode",
            origin,
            "rules look at requests, and mode = \"tcp\" has none",
        );
    }
    for key in ["https_redirect", "hsts"] {
        if let Some(origin) = listener.origin_of(key) {
            found.error(
                "mode",
                origin,
                format!("{key} answers requests, and mode = \"tcp\" has none"),
            );
        }
    }
    for key in ["errors", "forwarded", "http2"] {
        if let Some(origin) = listener.origin_of(key) {
            let message = format!("{key} has no effect with mode = \"tcp\"");
            found.no_effect(origin, message, "it is about HTTP messages");
        }
    }
}

/// Ways through that lead nowhere, or that nothing can take.
fn passthrough(config: &Config, listener: &Listener, found: &mut Findings) {
    if listener.passthrough.is_empty() {
        return;
    }
    let origin = listener.origins.field_or_section("passthrough");
    if listener.is_http() {
        let message =
            "passthrough needs mode = \"tcp\": requests that stay encrypted cannot be read";
        found.error("mode", origin, message);
    }
    let by_name =
        |way: &crate::model::Passthrough| !way.server_name.is_empty() || !way.alpn.is_empty();
    if listener.tls.is_some() && listener.passthrough.iter().any(by_name) {
        let message = "a listener either decrypts (tls) or passes through";
        found.error("tls", origin, message);
    }
    found.extend(listener.gates(&config.definitions()).err());
    for way in &listener.passthrough {
        let Some(backend) = &way.backend else {
            continue;
        };
        if way.origins.is_misread("backend") || config.backend(backend.as_str()).is_some() {
            continue;
        }
        let names = config.backends.iter().map(|b| b.name.as_str());
        let origin = way.origins.field_or_section("backend");
        found.unknown("backend", backend.as_str(), origin, names);
    }
}

/// What TLS settings cannot mean.
fn tls(listener: &Listener, found: &mut Findings) {
    let at = |key| listener.origins.field_or_section(key);
    match &listener.tls {
        None => {
            if listener.hsts.is_some() {
                let message = "hsts has no effect without TLS";
                let reason = "browsers take it from encrypted answers only (RFC 6797 section 7.2)";
                found.no_effect(at("hsts"), message.to_owned(), reason);
            }
        }
        Some(tls) => {
            if listener.https_redirect.is_some() {
                let message = "https_redirect sends clients of a TLS listener round in a circle";
                found.error("tls", at("https_redirect"), message);
            }
            let misread = ["certificates", "acme", "on_demand"]
                .iter()
                .any(|key| tls.origins.is_misread(key));
            if tls.certificates.is_empty() && !tls.is_automatic() && !misread {
                let origin = tls.origins.field_or_section("certificates");
                found.push(
                    Diagnostic::error("tls", origin, "TLS needs a certificate")
                        .expected("certificates = [\"/path/of/chain-and-key.pem\"], or acme = [\"example.org\"]"),
                );
            }
            early_data(listener, tls, found);
            if tls.key_log.is_some() {
                let origin = tls.origins.field_or_section("key_log");
                let message = "whoever can read the key log can read all traffic";
                found.warning("key-log", origin, message.to_owned());
            }
        }
    }
}

/// Requests that come before the handshake is complete.
fn early_data(listener: &Listener, tls: &ListenerTls, found: &mut Findings) {
    if !tls.early_data {
        return;
    }
    let origin = tls.origins.field_or_section("early_data");
    if !listener.is_http() {
        let message =
            "early_data needs mode = \"http\": nothing else says which bytes may come twice";
        found.error("tls", origin, message);
    }
    if tls.client_certificates.is_some() {
        let message = "early_data comes before a client could show its certificate";
        found.error("tls", origin, message);
    }
    if !tls.resumption {
        let hint = "it comes with the resumption of a session";
        found.no_effect(origin, "early_data has no effect without resumption", hint);
    }
}

/// Every client connection may need a second one to a server.
pub(super) fn open_files(config: &Config, limit: u64, found: &mut Findings) {
    let mut sum: u64 = 0;
    for listener in &config.listeners {
        let limits = config.limits_for(listener, None, None);
        if limits.connections == 0 {
            continue;
        }
        let needed = u64::try_from(limits.connections)
            .unwrap_or(u64::MAX)
            .saturating_mul(2);
        sum = sum.saturating_add(needed);
        if sum.saturating_add(OWN_FILES) > limit {
            let message = format!(
                "limits.connections of {} needs {} open files for clients and servers, and the process may have {limit}",
                limits.connections,
                sum.saturating_add(OWN_FILES),
            );
            let origin = limits
                .origins
                .field("connections")
                .unwrap_or_else(|| listener.origin());
            found.push(
                Diagnostic::warning("open-files", origin, message)
                    .hint("raise LimitNOFILE (systemd) or `ulimit -n`"),
            );
        }
    }
    for backend in &config.backends {
        let all = backend
            .servers
            .iter()
            .map(|server| u64::from(backend.maxconn_of(server)));
        let all: u64 = all.fold(0, u64::saturating_add);
        if all.saturating_add(OWN_FILES) > limit {
            let message = format!(
                "the servers of backend {} may have {all} connections together, and the process {limit} open files",
                backend.name
            );
            let origin = backend.origins.field_or_section("maxconn");
            found.push(
                Diagnostic::warning("open-files", origin, message)
                    .hint("raise LimitNOFILE (systemd) or `ulimit -n`"),
            );
        }
    }
}
