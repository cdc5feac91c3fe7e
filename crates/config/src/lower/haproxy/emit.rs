//! Proxies to the model: frontends become listeners and routes, backends backends.

use std::time::Duration;

use clearway_outcome::FaultKind;

use super::super::notes::Notes;
use super::bind::{self, Seat};
use super::global::Global;
use super::proxy::Proxy;
use super::{balance, bodies, check, logs, server};
use crate::diagnostic::{Origin, Origins};
use crate::lower::build;
use crate::lower::build::rule;
use crate::model::{
    Actions, Backend, Bind, Condition, Config, ErrorKey, ErrorPage, ErrorPages, Forwarding,
    HeaderName, HeaderValue, Identifier, Keepalive, LimitOverrides, Listener, OrOff, Pairs,
    ProxyProtocol, Reply, Retries, RetryMethods, RetryOn, Route, Rule, TemplateText,
    TimeoutOverrides, Tolerated, ValueTest, XForwarded,
};
use crate::value::Text;

/// Puts a frontend into the model.
pub(super) fn frontend(proxy: &Proxy, global: &Global, config: &mut Config, notes: &mut Notes) {
    let mut seats: Vec<Seat> = Vec::new();
    for line in &proxy.binds {
        notes.begin(line.origin(), line.text());
        bind::read(line, global, &mut seats, notes);
    }
    if proxy.disabled {
        return;
    }
    let mut names = Vec::new();
    for (index, seat) in seats.into_iter().enumerate() {
        let name = match (index, &seat.tls) {
            (0, _) => proxy.name.clone(),
            (1, Some(_)) => format!("{}-tls", proxy.name),
            (index, _) => format!("{}-{}", proxy.name, index + 1),
        };
        let Ok(name) = Identifier::parse(&name) else {
            let message = format!("{name:?} cannot be a name");
            notes.wrong(&proxy.origin, message, "letters, digits and _ - . : @");
            return;
        };
        names.push(name.clone());
        let mut listener = listener(proxy, seat, name, (global, notes));
        let logs = logs::of(proxy, &global.logs, &global.manner, notes);
        listener.access_logs = Some(logs).filter(|logs| !logs.is_empty());
        config.listeners.push(listener);
    }
    if !proxy.is_http() {
        let ways = super::pass::ways(proxy, notes);
        let own = config.listeners.iter_mut();
        for listener in own.filter(|known| names.contains(&known.name)) {
            listener.passthrough.clone_from(&ways);
        }
        return;
    }
    for switch in &proxy.switches {
        let default = proxy.default_backend.as_ref().map(|found| &found.value);
        let own = (proxy.serves() && !proxy.servers.is_empty()).then_some(&proxy.name);
        let Some(backend) = switch.backend.as_ref().or(default).or(own) else {
            continue;
        };
        let Ok(backend) = Identifier::parse(backend) else {
            continue;
        };
        let mut route = Route {
            backend: Some(backend),
            when: switch.condition.clone(),
            origins: Origins::new(switch.origin.clone()),
            ..Route::default()
        };
        route.origins.set("backend", switch.origin.clone());
        route.matching.listeners.clone_from(&names);
        config.routes.push(route);
    }
}

/// An address of IPv6 that takes IPv4 too leaves that to a listener that asks for it alone.
pub(super) fn part_families(config: &mut Config) {
    let mut ports = clearway_base::hash::Set::default();
    for bind in config.listeners.iter().flat_map(|listener| &listener.bind) {
        if let Bind::Ip { address, .. } = bind
            && address.ip() == std::net::Ipv4Addr::UNSPECIFIED
        {
            ports.insert(address.port());
        }
    }
    for bind in config
        .listeners
        .iter_mut()
        .flat_map(|listener| &mut listener.bind)
    {
        if let Bind::Ip { address, dual } = bind
            && address.is_ipv6()
            && ports.contains(&address.port())
        {
            *dual = false;
        }
    }
}

fn listener(
    proxy: &Proxy,
    seat: Seat,
    name: Identifier,
    (global, notes): (&Global, &mut Notes),
) -> Listener {
    let own = if proxy.serves() && !proxy.servers.is_empty() {
        Some((proxy.name.as_str(), &proxy.origin))
    } else {
        None
    };
    let default = proxy.default_backend.as_ref();
    let default = default
        .map(|found| (found.value.as_str(), &found.origin))
        .or(own);
    let mut origins = Origins::new(proxy.origin.clone());
    let backend = default.and_then(|(name, origin)| {
        origins.set("backend", origin.clone());
        Identifier::parse(name).ok()
    });
    let is_http = proxy.is_http();
    let anyone = || {
        ["0.0.0.0/0", "::/0"]
            .iter()
            .filter_map(|net| net.parse().ok())
            .collect()
    };
    let mut listener = Listener {
        name,
        bind: seat.binds,
        mode: proxy.mode.0,
        backend,
        tls: seat.tls,
        proxy_protocol: if seat.accepts_proxy || proxy.proxy_from.is_some() {
            ProxyProtocol::Accept
        } else {
            ProxyProtocol::Off
        },
        // The word of the address holds for everybody.
        proxy_from: match &proxy.proxy_from {
            Some(from) if !seat.accepts_proxy => from.clone(),
            _ => Vec::new(),
        },
        inspect_delay: match &proxy.inspect_delay {
            Some(delay) if !proxy.is_http() => delay.value,
            _ => Duration::ZERO,
        },
        trusted: if seat.accepts_proxy || proxy.proxy_from.is_some() {
            anyone()
        } else {
            Vec::new()
        },
        defer_accept: seat.defers,
        forwarded: Forwarding {
            x_forwarded: XForwarded::Keep,
            via: OrOff::Off,
            ..Forwarding::default()
        },
        timeouts: client_timeouts(proxy),
        limits: limits(proxy, global),
        compression: bodies::overrides(proxy),
        cache: proxy.caching.clone(),
        // Without requests there is nobody to show them to.
        errors: match is_http {
            true => pages(proxy),
            false => ErrorPages::default(),
        },
        origins,
        ..Listener::default()
    };
    // Who names no backend has none, although there may be but one.
    listener.fallback = listener.backend.is_some();
    if is_http {
        unavailable(&mut listener.errors, global.speaks_tls);
    }
    if let Some(backlog) = seat.backlog {
        listener.backlog = backlog;
    } else if let Some(backlog) = &proxy.backlog {
        listener.backlog = u32::try_from(backlog.value).unwrap_or(u32::MAX);
    }
    if is_http {
        listener.rules = rules(proxy, notes);
        listener.tolerate = tolerated(proxy);
        listener.close = ["httpclose", "forceclose"]
            .iter()
            .any(|name| proxy.option(name));
    }
    listener
}

/// What HAProxy takes although it is not as it should be.
fn tolerated(proxy: &Proxy) -> Vec<Tolerated> {
    let mut all = vec![
        Tolerated::MissingHost,
        Tolerated::BareLf,
        Tolerated::RepeatedLength,
        Tolerated::LengthAndChunks,
        Tolerated::WideTargets,
        Tolerated::ExtraSpaces,
    ];
    if proxy.option("accept-invalid-http-request") {
        all.push(Tolerated::AnyBytes);
    }
    all
}

/// All rules of a section in the order in which they are looked at.
fn rules(proxy: &Proxy, notes: &mut Notes) -> Vec<Rule> {
    let mut rules = Vec::new();
    if let Some(monitor) = proxy.monitor.as_ref().filter(|_| proxy.listens()) {
        for fails in &proxy.monitor_fails {
            let condition = build::all_of(vec![is_monitored(&monitor.value), fails.clone()]);
            let actions = Actions {
                deny: Some(503),
                ..Actions::default()
            };
            rules.push(rule(condition, actions, "deny", &monitor.origin));
        }
        rules.push(monitor_rule(&monitor.value, &monitor.origin));
    }
    rules.extend(super::around::before(proxy, notes));
    rules.extend(proxy.connection.iter().cloned());
    rules.extend(super::tables::let_in(&proxy.connection));
    rules.extend(proxy.request.iter().cloned());
    rules.extend(super::around::behind(proxy));
    rules.extend(proxy.stats.rules());
    for (condition, redirect, origin) in &proxy.redirects {
        let actions = Actions {
            redirect: Some(redirect.clone()),
            ..Actions::default()
        };
        rules.push(rule(condition.clone(), actions, "redirect", origin));
    }
    if let Some(line) = &proxy.originalto {
        let words: Vec<&str> = line.texts(2).collect();
        let to = ("X-Original-To", "server_ip");
        rules.extend(address_in(&words, to, &line.origin()));
    }
    rules.extend(proxy.of_servers.iter().cloned());
    rules.extend(proxy.response.iter().cloned());
    rules
}

/// Whether a request is for `monitor-uri`.
fn is_monitored(path: &str) -> Condition {
    // With a host it is the whole address that is asked for.
    let absolute = path.strip_prefix("http://").and_then(|rest| {
        let at = rest.find('/')?;
        rest.split_at_checked(at)
    });
    if let Some((host, path)) = absolute {
        let host = build::value(ValueTest {
            of: crate::model::FetchText::parse("header_line:host").unwrap_or_default(),
            is: vec![host.to_owned()],
            ..ValueTest::default()
        });
        return build::all_of(vec![host, is_monitored(path)]);
    }
    build::value(ValueTest {
        of: crate::model::FetchText::parse("sent_target").unwrap_or_default(),
        is: vec![path.to_owned()],
        ..ValueTest::default()
    })
}

/// `monitor-uri`: answered without a server.
fn monitor_rule(path: &str, origin: &Origin) -> Rule {
    let reply = Reply {
        status: 200,
        body: "<html><body><h1>200 OK</h1>\nService ready.\n</body></html>\n".to_owned(),
        content_type: HeaderValue::parse("text/html").unwrap_or_default(),
        headers: Pairs(header("cache-control", "no-cache").into_iter().collect()),
        ..Reply::default()
    };
    let actions = Actions {
        reply: Some(reply),
        ..Actions::default()
    };
    rule(is_monitored(path), actions, "reply", origin)
}

pub(super) fn header(name: &str, value: &str) -> Option<(HeaderName, TemplateText)> {
    Some((
        HeaderName::parse(name).ok()?,
        TemplateText::parse(value).ok()?,
    ))
}

/// `option forwardfor`: a header with the client's address behind those that came.
fn forwarded_for(words: &[&str], origin: &Origin) -> Option<Rule> {
    address_in(words, ("X-Forwarded-For", "client_ip"), origin)
}

/// A header with an address, as `option forwardfor` and `option originalto` ask for.
fn address_in(words: &[&str], (name, fetch): (&str, &str), origin: &Origin) -> Option<Rule> {
    let after = |name: &str| {
        let at = words.iter().position(|word| *word == name)?;
        words.get(at + 1).copied()
    };
    let name = after("header").unwrap_or(name);
    let mut not = Vec::new();
    if let Some(network) = after("except").and_then(|text| {
        text.parse()
            .ok()
            .or_else(|| text.parse::<std::net::IpAddr>().ok().map(Into::into))
    }) {
        let test = ValueTest {
            of: crate::model::FetchText::parse(fetch).unwrap_or_default(),
            within: vec![network],
            ..ValueTest::default()
        };
        not.push(build::value(test));
    }
    if words.contains(&"if-none") {
        let of = crate::model::FetchText::parse(&format!("header_line:{name}"));
        let test = ValueTest {
            of: of.unwrap_or_default(),
            ..ValueTest::default()
        };
        not.push(build::value(test));
    }
    let actions = Actions {
        add_request_headers: Pairs(vec![header(name, &format!("${{{fetch}}}"))?]),
        ..Actions::default()
    };
    let condition = Condition {
        not,
        ..Condition::default()
    };
    Some(rule(condition, actions, "add_request_headers", origin))
}

/// No limit where nothing is written.
fn limit(time: Option<Duration>) -> Option<Duration> {
    Some(time.unwrap_or(Duration::ZERO))
}

fn client_timeouts(proxy: &Proxy) -> TimeoutOverrides {
    let client = proxy.timeout("client");
    let request = proxy.first_timeout(&["http-request", "client"]);
    let mut timeouts = TimeoutOverrides {
        client_write: limit(client),
        tls_handshake: limit(client),
        proxy_header: limit(client),
        tunnel: limit(proxy.first_timeout(&["tunnel", "client"])),
        half_closed: limit(proxy.first_timeout(&["client-fin", "client"])),
        origins: Origins::new(proxy.origin.clone()),
        ..TimeoutOverrides::default()
    };
    if proxy.is_http() {
        timeouts.client_idle =
            limit(proxy.first_timeout(&["http-keep-alive", "http-request", "client"]));
        timeouts.request_head = limit(request);
        timeouts.request_body = limit(client);
    }
    timeouts
}

fn server_timeouts(proxy: &Proxy) -> TimeoutOverrides {
    let server = proxy.timeout("server");
    TimeoutOverrides {
        connect: limit(proxy.timeout("connect")),
        queue: limit(proxy.first_timeout(&["queue", "connect"])),
        server_write: limit(server),
        response: limit(server),
        server_idle: limit(server),
        tunnel: limit(proxy.first_timeout(&["tunnel", "server"])),
        half_closed: limit(proxy.first_timeout(&["server-fin", "server"])),
        origins: Origins::new(proxy.origin.clone()),
        ..TimeoutOverrides::default()
    }
}

fn limits(proxy: &Proxy, global: &Global) -> LimitOverrides {
    let connections = proxy
        .maxconn
        .as_ref()
        .map(|found| found.value)
        .or(global.maxconn);
    let mut limits = LimitOverrides {
        connections: connections.and_then(|count| usize::try_from(count).ok()),
        origins: Origins::new(proxy.origin.clone()),
        ..LimitOverrides::default()
    };
    if proxy.is_http() {
        let bytes = global.buffer.clamp(1_024, 65_536);
        limits.request_line = Some(bytes);
        limits.header_bytes = Some(bytes);
        limits.header_count = Some(global.headers.clamp(8, 1_000));
    }
    limits
}

/// The pages of errors.
fn pages(proxy: &Proxy) -> ErrorPages {
    let pages = proxy.pages.iter();
    let pages = pages.map(|(status, page)| (ErrorKey::Status(*status), page.value.clone()));
    Pairs(pages.collect())
}

/// Faults that are answered as if there were no server: what never got a connection, and requests that
/// no backend is named for.
const UNAVAILABLE: [FaultKind; 8] = [
    FaultKind::NoRoute,
    FaultKind::ConnectRefused,
    FaultKind::ConnectTimeout,
    FaultKind::ConnectUnreachable,
    FaultKind::ConnectReset,
    FaultKind::ConnectDenied,
    FaultKind::ConnectFailed,
    FaultKind::UnixMissing,
];

/// Handshakes with servers that fail are connections that were never there.
const UNSECURED: [FaultKind; 14] = [
    FaultKind::ServerTlsTimeout,
    FaultKind::ServerTlsClosed,
    FaultKind::ServerTlsReset,
    FaultKind::ServerTlsAlert,
    FaultKind::ServerWantsCertificate,
    FaultKind::ServerSpeaksPlain,
    FaultKind::ServerTlsProtocol,
    FaultKind::ServerTlsIncompatible,
    FaultKind::ServerCertificateExpired,
    FaultKind::ServerCertificateNotYetValid,
    FaultKind::ServerCertificateUntrusted,
    FaultKind::ServerCertificateName,
    FaultKind::ServerCertificateRevoked,
    FaultKind::ServerCertificateInvalid,
];

fn unavailable(pages: &mut ErrorPages, speaks_tls: bool) {
    let own = pages.iter().find(|(key, _)| *key == ErrorKey::Status(503));
    let own = own.map(|(_, page)| page.clone()).unwrap_or_default();
    let handshakes = UNSECURED.iter().filter(|_| speaks_tls);
    for &kind in UNAVAILABLE.iter().chain(handshakes) {
        let page = ErrorPage {
            status: own.status.or(Some(503)),
            ..own.clone()
        };
        pages.0.push((ErrorKey::Fault(kind), page));
    }
}

/// Puts a backend into the model.
pub(super) fn backend(proxy: &Proxy, global: &Global, config: &mut Config, notes: &mut Notes) {
    let mut members = server::members(proxy, notes);
    let name = match Identifier::parse(&proxy.name) {
        Ok(name) => name,
        Err(problem) => {
            notes.wrong(&proxy.origin, problem.message, &problem.expected);
            return;
        }
    };
    let mut backend = Backend {
        name,
        ejection: OrOff::Off,
        timeouts: server_timeouts(proxy),
        retries: retries(proxy),
        origins: Origins::new(proxy.origin.clone()),
        ..Backend::default()
    };
    backend.limits.response_header_bytes = Some(global.buffer.clamp(1_024, 65_536));
    balance::read(proxy, &members, &mut backend, notes);
    server::settle(&mut backend, &mut members, global);
    backend.health = check::read(proxy, &mut members, notes);
    let is_checked = |member: &server::Member<'_>| member.parameters.has("check");
    if members.is_empty() || members.iter().any(is_checked) {
        backend.server_logs = logs::of_servers(proxy, &global.logs, &global.manner);
    }
    if proxy.is_http() && proxy.kind == "backend" {
        if proxy.disabled {
            let actions = Actions {
                deny: Some(503),
                ..Actions::default()
            };
            let origin = &proxy.origin;
            backend
                .rules
                .push(rule(Condition::default(), actions, "deny", origin));
        }
        backend.rules.extend(rules(proxy, notes));
        backend.compression = bodies::overrides(proxy);
        backend.cache.clone_from(&proxy.caching);
    }
    // It is said once, in the backend, whichever section asks for it.
    if let Some(line) = proxy.forwardfor.as_ref().filter(|_| proxy.is_http()) {
        let words: Vec<&str> = line.texts(2).collect();
        backend.rules.extend(forwarded_for(&words, &line.origin()));
    }
    let closes = ["http-server-close", "httpclose", "forceclose"];
    if closes.iter().any(|name| proxy.option(name)) {
        backend.keepalive = Keepalive {
            max_idle: 0,
            ..Keepalive::default()
        };
    }
    if proxy.is_http() {
        backend.rules.extend(proxy.use_server.iter().cloned());
    }
    backend.rules.extend(proxy.sticks.iter().cloned());
    backend.persist = proxy.option("persist");
    super::cookie::read(proxy, &mut backend, notes);
    if proxy.is_http() {
        backend.errors = pages(proxy);
        if proxy.pages.contains_key(&503) {
            unavailable(&mut backend.errors, global.speaks_tls);
        }
    }
    for member in members {
        let server = member.server;
        let name = server.label();
        if build::add_server(server, &mut backend) {
            notes.equivalent(format!(
                "{name} is at an address that is known: its weight is added"
            ));
        }
    }
    config.backends.push(backend);
}

fn retries(proxy: &Proxy) -> Retries {
    let max = proxy.retries.as_ref().map_or(3, |found| found.value);
    let mut on = vec![RetryOn::Connect];
    let words = proxy.retry_on.as_ref().map(|found| found.value.as_slice());
    for word in words.unwrap_or_default() {
        match word.as_str() {
            "none" => on.clear(),
            "empty-response" => on.extend([
                RetryOn::Reused,
                RetryOn::Fault(FaultKind::ServerClosedNoResponse),
                RetryOn::Fault(FaultKind::ServerResetNoResponse),
            ]),
            "response-timeout" => on.push(RetryOn::Fault(FaultKind::ResponseTimeout)),
            "all-retryable-errors" => on.extend([
                RetryOn::Reused,
                RetryOn::Fault(FaultKind::ServerClosedNoResponse),
                RetryOn::Fault(FaultKind::ServerResetNoResponse),
                RetryOn::Fault(FaultKind::ResponseTimeout),
                RetryOn::Status(500),
                RetryOn::Status(502),
                RetryOn::Status(503),
                RetryOn::Status(504),
            ]),
            status => on.extend(status.parse().ok().map(RetryOn::Status)),
        }
    }
    Retries {
        max: u32::try_from(max).unwrap_or(20).min(20),
        on,
        methods: if proxy.retry_on.is_some() {
            RetryMethods::Any
        } else {
            RetryMethods::Idempotent
        },
        // There is no budget: what is written is done.
        budget: 10.0,
        other_server: proxy.option("redispatch"),
        // Those serve only when no other server is up.
        backups: false,
        ..Retries::default()
    }
}
