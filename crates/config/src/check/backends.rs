//! Backends and their servers.

use clearway_balance::{Algorithm, Bound, Spread};
use clearway_base::hash::{Map, Set};
use clearway_outcome::Retry;

use super::{Findings, limits, routes, time_outs};
use crate::diagnostic::{Diagnostic, Origin};
use crate::model::{
    Backend, Bind, ByRequest, CheckStep, Config, CookieSite, HashFunction, Health, HealthKind,
    RetryMethods, RetryOn, SendProxy, ServerAddress, ServerProtocol, ServerState,
};

/// Time-outs that can be set once a backend is known.
const TIME_OUTS: [&str; 8] = [
    "connect",
    "queue",
    "server_write",
    "response",
    "server_idle",
    "tunnel",
    "half_closed",
    "total",
];
const LIMITS: [&str; 2] = ["response_header_bytes", "interim_responses"];

pub(super) fn check(config: &Config, found: &mut Findings) {
    let uses = Uses::of(config);
    let own: Set<std::net::SocketAddr> = config
        .listeners
        .iter()
        .flat_map(|listener| &listener.bind)
        .filter_map(|bind| match bind {
            Bind::Ip { address, .. } if address.port() != 0 => Some(*address),
            Bind::Ip { .. } | Bind::Unix { .. } | Bind::Inherited(_) => None,
        })
        .collect();
    let named = config.definitions();
    for backend in &config.backends {
        let name = backend.name.as_str();
        if !uses.http.contains(name) && !uses.tcp.contains(name) {
            let message = format!("nothing leads to backend {name}");
            found.warning("unused", backend.origin(), message);
        }
        servers(backend, &own, found);
        leads(config, backend, found);
        traffic(backend, found);
        cgi(backend, found);
        tls(backend, found);
        balancing(backend, found);
        health(backend, found);
        retries(backend, found);
        found.extend(backend.program(&named).err());
        super::process::pages(&backend.errors, found);
        for rule in &backend.rules {
            routes::actions(&rule.actions, found);
            routes::condition_listeners(config, &rule.when, found);
        }
        if uses.tcp.contains(name) && !uses.http.contains(name) {
            tcp(backend, found);
        }
        super::watch::check(config, backend, found);
        let label = format!("backend {name}");
        time_outs(&label, &backend.timeouts, Some(&TIME_OUTS), found);
        limits(&label, &backend.limits, &LIMITS, found);
    }
}

/// Which backends are used by what.
struct Uses<'a> {
    http: Set<&'a str>,
    tcp: Set<&'a str>,
}

impl<'a> Uses<'a> {
    fn of(config: &'a Config) -> Self {
        let routed = config
            .routes
            .iter()
            .filter_map(|route| route.backend.as_ref());
        let mut uses = Self {
            http: routed.map(|name| name.as_str()).collect(),
            tcp: Set::default(),
        };
        let named = config.backends.iter().filter_map(|b| b.by_request.as_ref());
        let named = named.flat_map(|by_request| &by_request.backends);
        uses.http.extend(named.map(|(_, backend)| backend.as_str()));
        for listener in &config.listeners {
            let ways = listener.passthrough.iter();
            let backends = ways.filter_map(|way| way.backend.as_ref());
            uses.tcp.extend(backends.map(|name| name.as_str()));
            let own = listener.backend.as_ref().map(|name| name.as_str());
            let name = own.or_else(|| config.default_backend(listener).map(|b| b.name.as_str()));
            if let Some(name) = name {
                let set = if listener.is_http() {
                    &mut uses.http
                } else {
                    &mut uses.tcp
                };
                set.insert(name);
            }
        }
        uses
    }
}

/// TLS that protects nothing.
fn tls(backend: &Backend, found: &mut Findings) {
    let has_frames = matches!(backend.protocol, ServerProtocol::H2 | ServerProtocol::Auto);
    if has_frames && backend.send_proxy != SendProxy::Off {
        let origin = backend.origins.field_or_section("send_proxy");
        let message = "a PROXY header names one client, and HTTP/2 carries the requests of many";
        found.error("protocol", origin, message);
    }
    let Some(tls) = &backend.tls else {
        if backend.protocol == ServerProtocol::Auto {
            let origin = backend.origins.field_or_section("protocol");
            let message = "protocol = \"auto\" means HTTP/1.1 without TLS";
            found.no_effect(
                origin,
                message,
                "a protocol is agreed on in the TLS handshake",
            );
        }
        return;
    };
    if !tls.verify {
        let origin = tls.origins.field_or_section("verify");
        let message = format!(
            "the certificates of backend {} are not verified",
            backend.name
        );
        found.push(Diagnostic::warning("not-verified", origin, message).hint(
            "anybody on the way can read and change everything; name the authority with `ca`",
        ));
    }
    if let (false, Some(_)) = (tls.verify, &tls.ca) {
        let origin = tls.origins.field_or_section("ca");
        found.no_effect(
            origin,
            "ca has no effect".to_owned(),
            "certificates are not verified",
        );
    }
}

/// Each server once, each name once, none of them this balancer.
/// Where names lead that requests say.
fn leads(config: &Config, backend: &Backend, found: &mut Findings) {
    let Some(by_request) = &backend.by_request else {
        return;
    };
    let origin = by_request.origins.field_or_section("backends");
    for (name, to) in &by_request.backends {
        let problem = match config.backend(to.as_str()) {
            None => "there is no such backend",
            Some(to) if to.by_request.is_some() => "requests name its servers too",
            Some(_) => continue,
        };
        let message = format!("{} leads to {to}: {problem}", name.as_str());
        found.error("by-request", origin, message);
    }
}

/// What goes with servers of FastCGI and the like, and what does not.
fn cgi(backend: &Backend, found: &mut Findings) {
    if !backend.protocol.is_cgi() {
        for key in ["params", "optional_params", "standard_params"] {
            if let Some(origin) = backend.origin_of(key) {
                let message = format!("{key} is for servers of FastCGI, SCGI and uwsgi");
                found.no_effect(origin, message, "set `protocol`, or remove it");
            }
        }
        return;
    }
    let origin = backend.origins.field_or_section("protocol");
    let refused = [
        (backend.tls.is_some(), "TLS is not spoken with such servers"),
        (
            backend.send_proxy != SendProxy::Off,
            "such servers know no PROXY header",
        ),
        (
            backend
                .health
                .as_ref()
                .is_some_and(|health| health.kind != HealthKind::Tcp),
            "such servers are checked by connecting only",
        ),
    ];
    for (is_there, message) in refused {
        if is_there {
            found.error("protocol", origin, message);
        }
    }
}

/// Servers that requests name.
fn named_by_requests(backend: &Backend, by_request: &ByRequest, found: &mut Findings) {
    if !backend.servers.is_empty() {
        let origin = backend.origins.field_or_section("servers");
        let message = "servers that requests name take the place of these";
        found.error("by-request", origin, message);
    }
    let origin = by_request.origins.section();
    if backend.health.is_some() {
        let origin = backend.origins.field_or_section("health");
        let message = "nothing is checked where requests name the server";
        found.error("by-request", origin, message);
    }
    let is_open = !by_request.names.is_empty() || !by_request.networks.is_empty();
    if !is_open && !by_request.unix_sockets && by_request.backends.is_empty() {
        let message = "no server may be connected to";
        let finding = Diagnostic::error("by-request", origin, message);
        found.push(finding.expected("`names`, `networks`, `unix_sockets` or `backends`"));
    }
}

fn servers(backend: &Backend, own: &Set<std::net::SocketAddr>, found: &mut Findings) {
    if let Some(by_request) = &backend.by_request {
        named_by_requests(backend, by_request, found);
    } else if backend.servers.is_empty() {
        let origin = backend.origins.field_or_section("servers");
        let message = format!(
            "backend {} has no server: every request to it fails",
            backend.name
        );
        found.push(Diagnostic::warning("no-servers", origin, message));
    }
    let mut addresses: Map<&ServerAddress, u32> = Map::default();
    let mut labels: Set<String> = Set::default();
    // One whose address could not be read has been complained about already.
    let read = backend
        .servers
        .iter()
        .filter(|server| server.address != ServerAddress::default());
    for server in read {
        let origin = server.origins.field_or_section("address");
        // Names of their own tell apart what is at one address.
        if let Some(line) = addresses.insert(&server.address, origin.line)
            && server.name.is_none()
        {
            let message = format!(
                "{} is a server of this backend already, in line {line}",
                server.address
            );
            let diagnostic = Diagnostic::error("duplicate", origin, message);
            found.push(diagnostic.hint("for a larger part of the requests use `weight`"));
        } else if !labels.insert(server.label()) {
            let origin = server.origins.field_or_section("name");
            found.error(
                "duplicate",
                origin,
                format!("two servers are called {}", server.label()),
            );
        }
        let ServerAddress::Ip(address) = &server.address else {
            continue;
        };
        if own.contains(address) {
            let message = format!(
                "{address} is a listener of this balancer: requests would go round in a circle"
            );
            found.warning("loop", origin, message);
        }
        if address.ip().is_unspecified() {
            let diagnostic =
                Diagnostic::error("value", origin, format!("{address} is no host's address"));
            found.push(diagnostic.hint(format!(
                "for this host write \"127.0.0.1:{}\"",
                address.port()
            )));
        }
        if backend
            .source_address
            .is_some_and(|source| source.is_ipv4() != address.is_ipv4())
        {
            let message = format!(
                "{address} cannot be reached from source_address: one is IPv4, the other IPv6"
            );
            found.error("contradiction", origin, message);
        }
    }
}

/// Backends that get nothing although they have servers.
fn traffic(backend: &Backend, found: &mut Findings) {
    if backend.servers.is_empty() {
        return;
    }
    let origin = backend.origins.field_or_section("servers");
    if backend.servers.iter().all(|server| server.weight == 0) {
        let message = format!(
            "every server of backend {} has weight 0: none gets new requests",
            backend.name
        );
        found.warning("no-traffic", origin, message);
    } else if backend
        .servers
        .iter()
        .all(|server| server.state != ServerState::Ready)
    {
        let message = format!(
            "no server of backend {} is ready: requests to it fail",
            backend.name
        );
        found.warning("no-traffic", origin, message);
    }
    let limited = backend
        .servers
        .iter()
        .any(|server| backend.maxconn_of(server) > 0);
    if let (Some(origin), false) = (backend.origin_of("queue"), limited) {
        found.no_effect(origin, "nothing waits without a limit", "set maxconn");
    }
}

fn balancing(backend: &Backend, found: &mut Findings) {
    let by_key = backend.balance.spread() == Spread::Key;
    let name = backend.balance.name();
    if let (Some(origin), false) = (backend.origin_of("hash_key"), by_key) {
        let message = format!("{name} does not look at hash_key");
        found.no_effect(
            origin,
            message,
            "set balance = \"consistent_hash\" or \"maglev\"",
        );
    }
    if let Some(origin) = backend.origin_of("hash_avalanche")
        && backend.hash_avalanche
        && backend.hash_function == HashFunction::Xxh3
    {
        let message = "only hashes of 32 bits are spread once more";
        found.no_effect(
            origin,
            message,
            "set hash_function = \"sdbm\" or another of 32 bits",
        );
    }
    if let Some(origin) = backend.origin_of("bounded_load") {
        if Bound::from_factor(backend.bounded_load).is_none() {
            let message = format!(
                "a bound of {} times the fair share is none",
                backend.bounded_load
            );
            found.push(Diagnostic::error("value", origin, message).expected("0 (off) or 1 to 100"));
        } else if !matches!(backend.balance, Algorithm::ConsistentHash { .. }) {
            let message = format!("{name} does not look at bounded_load");
            found.no_effect(origin, message, "set balance = \"consistent_hash\"");
        }
    }
    if let Some(sticky) = &backend.sticky
        && sticky.same_site == CookieSite::None
        && !sticky.secure
    {
        let origin = sticky.origins.field_or_section("same_site");
        let message = "browsers refuse a cookie with same_site = \"none\" that is not secure";
        found.push(Diagnostic::warning("cookie", origin, message).hint("set secure = true"));
    }
}

fn health(backend: &Backend, found: &mut Findings) {
    if let Some(ejection) = backend.ejection.on()
        && ejection.max_duration < ejection.duration
    {
        let origin = ejection.origins.field_or_section("max_duration");
        found.error(
            "range",
            origin,
            "ejection.max_duration is shorter than ejection.duration",
        );
    }
    let Some(health) = &backend.health else {
        return;
    };
    if backend.servers.is_empty() {
        let origin = backend.origins.field_or_section("health");
        found.no_effect(origin, "there is no server to check", "add servers");
    }
    if health.fast_interval > health.interval && health.origin_of("fast_interval").is_some() {
        let origin = health.origins.field_or_section("fast_interval");
        let message =
            "fast_interval is longer than interval: a server that is down is checked less often";
        found.warning("range", origin, message);
    }
    let (name, unused): (_, &[&str]) = match health.kind {
        HealthKind::Tcp => {
            let all = &[
                "path", "method", "host", "headers", "expect", "body", "grpc",
            ];
            ("tcp", all)
        }
        HealthKind::Http => ("http", &["grpc"]),
        HealthKind::Grpc => ("grpc", &["path", "method", "expect", "body"]),
        HealthKind::Script => (
            "script",
            &[
                "path", "method", "host", "headers", "expect", "body", "grpc",
            ],
        ),
    };
    for key in unused {
        if let Some(origin) = health.origin_of(key) {
            let message = format!("a check of kind {name:?} does not look at {key}");
            let instead = if *key == "grpc" { "grpc" } else { "http" };
            found.no_effect(origin, message, &format!("set kind = {instead:?}"));
        }
    }
    match health.kind {
        HealthKind::Tcp => {}
        HealthKind::Script => health_steps(health, found),
        HealthKind::Http => health_request(health, found),
        HealthKind::Grpc => health_headers(health, found),
    }
}

/// Each step does one thing, and what is written in hexadecimal is.
fn health_steps(health: &Health, found: &mut Findings) {
    for step in &health.steps {
        let sends = usize::from(step.send.is_some()) + usize::from(step.send_hex.is_some());
        let looks = usize::from(step.expect.is_some()) + usize::from(step.expect_hex.is_some());
        if usize::from(step.connect) + sends + looks != 1 {
            let message = "a step connects, sends one thing or expects one thing";
            found.error("value", step.origins.section(), message);
        }
        for text in [&step.send_hex, &step.expect_hex].into_iter().flatten() {
            if CheckStep::bytes(text).is_none() {
                let message = format!("{text:?} is not hexadecimal");
                found.error("value", step.origins.section(), message);
            }
        }
    }
}

/// What HTTP allows a check to ask (RFC 9110 sections 7.1 and 9.3.6).
fn health_request(health: &Health, found: &mut Findings) {
    let mut wrong = |key, message, expected: &str| {
        let origin = health.origins.field_or_section(key);
        found.push(Diagnostic::error("value", origin, message).expected(expected));
    };
    let (method, path) = (health.method.as_str(), health.path.as_str());
    if method == "CONNECT" {
        let message = "CONNECT asks for a tunnel, which says nothing about health".to_owned();
        wrong("method", message, "a method such as GET, HEAD or OPTIONS");
    }
    let is_target = path.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
    let is_server = path == "*" && method == "OPTIONS";
    let is_path = is_target && path.starts_with('/');
    if !(is_server || is_path) {
        let message = format!("{path:?} is not a path");
        let expected = "a path that begins with \"/\", without spaces and \"#\"";
        wrong("path", message, expected);
    }
    health_headers(health, found);
}

/// The body of a check is its own business.
fn health_headers(health: &Health, found: &mut Findings) {
    for (name, _) in health.headers.iter() {
        let framing = ["content-length", "transfer-encoding"];
        if framing
            .iter()
            .any(|f| name.as_str().eq_ignore_ascii_case(f))
        {
            let message = format!("{} cannot be set for a check", name.as_str());
            let origin = health.origins.field_or_section("headers");
            found.push(Diagnostic::error("value", origin, message).expected("other headers"));
        }
    }
}

fn retries(backend: &Backend, found: &mut Findings) {
    let retries = &backend.retries;
    if retries.methods == RetryMethods::Any && retries.body_buffer == 0 && retries.max > 0 {
        let origin = retries.origins.field_or_section("body_buffer");
        let message =
            "methods = \"any\" repeats requests without a body only, because none is kept";
        found.push(Diagnostic::warning("no-effect", origin, message).hint("set body_buffer"));
    }
    if let Some(origin) = retries.origin_of("on").filter(|_| retries.max == 0) {
        found.no_effect(
            origin,
            "nothing is retried with max = 0",
            "remove `on`, or allow attempts",
        );
    }
    if retries.max > 0 && retries.budget == 0.0 && retries.budget_min == 0 {
        let origin = retries.origins.field_or_section("budget");
        let message = "nothing is retried: budget and budget_min are both 0";
        found.no_effect(origin, message, "write max = 0, or allow some");
    }
    retry_faults(&retries.on, retries.origins.field_or_section("on"), found);
}

/// Faults after which a request is never sent again, whatever is configured.
pub(super) fn retry_faults(on: &[RetryOn], origin: &Origin, found: &mut Findings) {
    for retry in on {
        if let RetryOn::Fault(kind) = retry
            && kind.retry() == Retry::Never
        {
            let message = format!("nothing can be retried after {}", kind.code());
            found.no_effect(
                origin,
                message,
                "the client has part of the answer, or would get the same",
            );
        }
    }
}

/// Settings about HTTP messages in a backend that only sees bytes.
fn tcp(backend: &Backend, found: &mut Findings) {
    let name = backend.name.as_str();
    if let Some(origin) = backend.origin_of("sticky") {
        let message =
            format!("backend {name} is used with mode = \"tcp\", where there are no cookies");
        let diagnostic = Diagnostic::error("mode", origin, message);
        found.push(diagnostic.hint("balance = \"maglev\" keeps a client's address on its server"));
    }
    if backend.balance.spread() == Spread::Key && backend.hash_key != crate::model::HashKey::Source
    {
        let origin = backend.origins.field_or_section("hash_key");
        let message =
            format!("backend {name} is used with mode = \"tcp\", where only the source is known");
        found.push(Diagnostic::error("mode", origin, message).expected("hash_key = \"source\""));
    }
}
