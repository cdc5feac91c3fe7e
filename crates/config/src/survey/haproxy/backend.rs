//! `backend` and `listen`: groups of servers.

use std::time::Duration;

use super::super::{BackendSurvey, ServerSurvey, Setting, Spoke, TimeoutSurvey, TlsSurvey, units};
use super::check;
use super::parameters::Parameters;
use super::{Global, Line, Scope};
use crate::diagnostic::Origin;

/// Servers that one line makes at most: more are not needed to explain a failure.
const TEMPLATE_MAX: u64 = 256;

/// A server with its parameters.
pub(super) struct Member<'a> {
    pub(super) server: ServerSurvey,
    pub(super) parameters: Parameters<'a>,
    pub(super) origin: Origin,
}

/// Whether a section is a group of servers; a `listen` need not be.
pub(super) fn is_one(scope: &Scope<'_>) -> bool {
    scope.kind() == "backend" || scope.own().any(is_server)
}

fn is_server(line: &Line) -> bool {
    matches!(line.word(0), "server" | "server-template")
}

pub(super) fn read(scope: &Scope<'_>, global: &Global<'_>) -> BackendSurvey {
    let members = members(scope);
    let is_http = scope.is_http();
    let resolvers = parameter(&members, "resolvers");
    let proxy_header = members
        .iter()
        .find_map(|member| member.parameters.proxy_header());
    BackendSurvey {
        name: scope.name().to_owned(),
        origin: scope.head().map(Line::origin),
        pass_origin: None,
        places: Vec::new(),
        speaks: speaks(scope, &members),
        timeouts: timeouts(scope),
        tls: tls(&members, global),
        check: check::read(scope, &members),
        ejection: ejection(&members),
        keepalive: keepalive(scope),
        keepalive_idle: is_http.then(|| idle(&members)),
        tcp_keepalive: Some(tcp_keepalive(scope)),
        proxy_header: match proxy_header {
            Some((version, origin)) => Setting::written("send-proxy", version, origin),
            None => Setting::by_default("send-proxy", 0),
        },
        host: host(scope),
        passes_upgrade: Setting::by_default("mode", true),
        response_header_limit: is_http.then(|| global.head_limit()),
        response_header_count: is_http.then(|| global.head_count()),
        buffers_request: is_http
            .then(|| scope.option("option http-buffer-request", "http-buffer-request")),
        sticky: scope
            .all("cookie")
            .last()
            .map(|line| Setting::written("cookie", line.word(1).to_owned(), line.origin())),
        retries: Some(
            scope
                .number("retries")
                .unwrap_or_else(|| Setting::by_default("retries", 3)),
        ),
        resolves_at_run_time: match resolvers {
            Some(found) => Setting::written("resolvers", true, found.origin),
            None => Setting::by_default("resolvers", false),
        },
        servers: members.into_iter().map(|member| member.server).collect(),
    }
}

/// The servers of a section, each with the `default-server` words before it.
pub(super) fn members<'a>(scope: &Scope<'a>) -> Vec<Member<'a>> {
    let mut defaults = Parameters::default();
    let own: Vec<&Line> = scope.own_with("default-server").collect();
    for line in scope.all("default-server") {
        if !own.iter().any(|known| std::ptr::eq(*known, line)) {
            defaults.add(line, 1);
        }
    }
    let mut members = Vec::new();
    for line in scope.own() {
        match line.word(0) {
            "default-server" => defaults.add(line, 1),
            "server" => {
                let name = line.word(1).to_owned();
                members.push(member(line, name, 2, &defaults));
            }
            "server-template" => {
                for number in numbers(line.word(2)) {
                    let name = format!("{}{number}", line.word(1));
                    members.push(member(line, name, 3, &defaults));
                }
            }
            _ => {}
        }
    }
    members
}

/// `3` is 1 to 3, `4-6` is what it says.
fn numbers(text: &str) -> std::ops::RangeInclusive<u64> {
    let (first, last) = text.split_once('-').unwrap_or(("1", text));
    let first: u64 = first.parse().unwrap_or(1);
    let last: u64 = last.parse().unwrap_or(first);
    first..=last.min(first.saturating_add(TEMPLATE_MAX - 1))
}

fn member<'a>(line: &'a Line, name: String, at: usize, defaults: &Parameters<'a>) -> Member<'a> {
    let mut parameters = defaults.clone();
    parameters.add(line, at + 1);
    let (host, port, is_unix) = address(line.word(at));
    let origin = line.origin();
    let maxconn = parameters
        .value("maxconn")
        .and_then(|text| text.parse().ok());
    Member {
        server: ServerSurvey {
            name,
            origin: Some(origin.clone()),
            host,
            port,
            is_unix,
            backup: parameters.has("backup"),
            down: parameters.has("disabled"),
            maxconn: maxconn.unwrap_or(0),
            is_checked: parameters.has("check") || parameters.has("track"),
        },
        parameters,
        origin,
    }
}

/// Host, port and whether it is a socket. Port 0: the one that the client connected to.
fn address(text: &str) -> (String, u16, bool) {
    let socket = ["unix@", "abns@", "abnsz@"];
    if let Some(path) = socket.iter().find_map(|prefix| text.strip_prefix(prefix)) {
        return (path.to_owned(), 0, true);
    }
    if text.starts_with('/') {
        return (text.to_owned(), 0, true);
    }
    let families = ["ipv4@", "ipv6@", "tcp@", "tcp4@", "tcp6@"];
    let bare = families.iter().find_map(|prefix| text.strip_prefix(prefix));
    let (host, port) = units::host_and_port(bare.unwrap_or(text));
    (host, port, false)
}

/// A parameter of the first server that has it.
fn parameter<'a>(members: &[Member<'a>], name: &str) -> Option<super::parameters::Parameter<'a>> {
    let mut found = members
        .iter()
        .filter_map(|member| member.parameters.find(name));
    found.next().cloned()
}

fn text(members: &[Member<'_>], name: &'static str) -> Option<Setting<String>> {
    let found = parameter(members, name)?;
    Some(Setting::written(name, found.value.to_owned(), found.origin))
}

fn speaks(scope: &Scope<'_>, members: &[Member<'_>]) -> Setting<Spoke> {
    let mode = scope.mode();
    if mode.value != Spoke::Http1 {
        return mode;
    }
    if let Some(line) = scope.find(&["use-fcgi-app"]) {
        return Setting::written("use-fcgi-app", Spoke::FastCgi, line.origin());
    }
    match parameter(members, "proto") {
        Some(found) if found.value == "h2" => Setting::written("proto", Spoke::Http2, found.origin),
        Some(found) if found.value == "fcgi" => {
            Setting::written("proto", Spoke::FastCgi, found.origin)
        }
        Some(_) | None => match parameter(members, "alpn") {
            // The first one offered is the one that is wanted.
            Some(found) if found.value.starts_with("h2") => {
                Setting::written("alpn", Spoke::Http2, found.origin)
            }
            Some(_) | None => mode,
        },
    }
}

fn timeouts(scope: &Scope<'_>) -> TimeoutSurvey {
    let connect = scope.timeout("timeout connect");
    let response = scope.timeout("timeout server");
    let queue = scope.timeout("timeout queue");
    let tunnel = scope.timeout("timeout tunnel");
    TimeoutSurvey {
        // Without a time-out of its own the queue has the one of connecting.
        queue: if queue.origin.is_some() {
            queue
        } else {
            connect.clone()
        },
        tunnel: if tunnel.origin.is_some() {
            tunnel
        } else {
            response.clone()
        },
        send: response.clone(),
        connect,
        response,
    }
}

fn tls(members: &[Member<'_>], global: &Global<'_>) -> Option<TlsSurvey> {
    parameter(members, "ssl")?;
    let verify = match parameter(members, "verify") {
        Some(found) => Setting::written("verify", found.value != "none", found.origin),
        None => match global.find("ssl-server-verify") {
            Some(line) => {
                Setting::written("ssl-server-verify", line.word(1) != "none", line.origin())
            }
            None => Setting::by_default("verify", true),
        },
    };
    let sni = text(members, "sni");
    let version = |name: &'static str| {
        let found = parameter(members, name)?;
        let value = version(found.value)?;
        Some(Setting::written(name, value, found.origin))
    };
    Some(TlsSurvey {
        verify,
        sni: match sni {
            Some(sni) => Setting {
                value: Some(sni.value),
                name: sni.name,
                origin: sni.origin,
            },
            None => Setting::by_default("sni", None),
        },
        expected_name: text(members, "verifyhost"),
        ca: text(members, "ca-file"),
        certificate: text(members, "crt"),
        min_version: version("ssl-min-ver"),
        max_version: version("ssl-max-ver"),
        ciphers: text(members, "ciphers"),
    })
}

fn version(name: &str) -> Option<u16> {
    match name {
        "SSLv3" => Some(0x0300),
        "TLSv1.0" => Some(0x0301),
        "TLSv1.1" => Some(0x0302),
        "TLSv1.2" => Some(0x0303),
        "TLSv1.3" => Some(0x0304),
        _ => None,
    }
}

/// `observe` counts the faults of real traffic; what follows is a matter of checks, so the time until the
/// next one is how long it lasts at least.
fn ejection(members: &[Member<'_>]) -> Option<(Setting<u64>, Setting<Duration>)> {
    parameter(members, "observe")?;
    let limit = parameter(members, "error-limit").and_then(|found| {
        let limit = found.value.parse().ok()?;
        Some(Setting::written("error-limit", limit, found.origin))
    });
    let limit = limit.unwrap_or_else(|| Setting::by_default("error-limit", 10));
    Some((limit, check::interval(members)))
}

/// Of the options about it the nearest and last one holds.
fn keepalive(scope: &Scope<'_>) -> Setting<bool> {
    if !scope.is_http() {
        return Setting::by_default("mode", false);
    }
    let found = scope.find_by(|line| {
        let names = [
            "http-keep-alive",
            "http-server-close",
            "httpclose",
            "forceclose",
        ];
        line.word(0) == "option" && names.contains(&line.word(1))
    });
    match found {
        Some(line) => {
            let name = match line.word(1) {
                "http-keep-alive" => "option http-keep-alive",
                "http-server-close" => "option http-server-close",
                _ => "option httpclose",
            };
            Setting::written(name, line.word(1) == "http-keep-alive", line.origin())
        }
        None => Setting::by_default("option http-keep-alive", true),
    }
}

/// Idle connections without a client are closed little by little, half of them each time.
fn idle(members: &[Member<'_>]) -> Setting<Duration> {
    let name = "pool-purge-delay";
    let written = parameter(members, name).and_then(|found| {
        let time = units::haproxy_time(found.value)?;
        Some(Setting::written(name, time, found.origin))
    });
    written.unwrap_or_else(|| Setting::by_default(name, Duration::from_secs(5)))
}

fn tcp_keepalive(scope: &Scope<'_>) -> Setting<bool> {
    let servers = scope.option("option srvtcpka", "srvtcpka");
    if servers.value {
        return servers;
    }
    scope.option("option tcpka", "tcpka")
}

fn host(scope: &Scope<'_>) -> Option<Setting<String>> {
    let line = scope.own_with("http-request").find(|line| {
        matches!(line.word(1), "set-header" | "replace-header")
            && line.word(2).eq_ignore_ascii_case("host")
    })?;
    let at = if line.word(1) == "set-header" { 3 } else { 4 };
    let name = "http-request set-header";
    Some(Setting::written(
        name,
        line.word(at).to_owned(),
        line.origin(),
    ))
}
