//! `proxy_pass` and its kin: the way to a group of servers, with all settings that hold on it.

use std::time::Duration;

use super::destination::Destination;
use super::names::{Names, PROXY};
use super::upstream::Upstream;
use super::{BackendSurvey, Directive, Family, MINUTE, Scope, Setting, is_upgrade};
use crate::survey::{CheckKind, CheckSurvey, ServerSurvey, Spoke, TimeoutSurvey, TlsSurvey, units};

/// A `…_pass` with what is around it.
pub(super) struct Pass<'a, 'b> {
    pub(super) directive: &'a Directive,
    /// Where it leads, as it is written.
    pub(super) argument: &'a str,
    pub(super) names: &'static Names,
    pub(super) scope: &'b Scope<'a>,
    /// The `location` or condition it stands in.
    pub(super) location: Option<&'a Directive>,
    pub(super) path: &'b str,
    pub(super) family: Family,
}

impl<'a> Pass<'a, '_> {
    /// A header that is set, and where.
    pub(super) fn header(&self, name: &str) -> Option<Setting<String>> {
        let all = self.scope.all(self.names.set_header);
        let matches = |found: &&&Directive| {
            let header = found.argument(0);
            header.is_some_and(|header| header.eq_ignore_ascii_case(name))
        };
        let found = all.iter().rev().find(matches)?;
        let value = found.argument(1).unwrap_or_default().to_owned();
        Some(Setting::written(
            self.names.set_header,
            value,
            found.origin(),
        ))
    }

    /// Whether HTTP/1.1 is spoken, which upgrades and kept connections need.
    pub(super) fn version(&self) -> Setting<bool> {
        let name = "proxy_http_version";
        self.scope
            .setting(name, |text| Some(text != "1.0"))
            .unwrap_or_else(|| Setting::by_default(name, false))
    }

    fn speaks(&self) -> Setting<Spoke> {
        let spoke = match self.family {
            Family::Stream => Spoke::Tcp,
            Family::Http => self.names.speaks,
        };
        let version = self.scope.find("proxy_http_version");
        if spoke == Spoke::Http1 && version.and_then(|found| found.argument(0)) == Some("2") {
            return Setting {
                value: Spoke::Http2,
                name: "proxy_http_version",
                origin: version.map(Directive::origin),
            };
        }
        Setting::written(self.names.pass, spoke, self.directive.origin())
    }
}

/// The group of an `upstream` block, as one way leads to it.
pub(super) fn through(pass: &Pass<'_, '_>, upstream: &Upstream<'_>, tls: bool) -> BackendSurvey {
    let mut backend = common(pass, tls);
    backend.name.clone_from(&upstream.name);
    backend.origin = Some(upstream.directive.origin());
    backend.servers = servers(upstream);
    backend.ejection.clone_from(&upstream.ejection);
    backend.keepalive = keepalive(pass, upstream.keepalive.as_ref());
    if backend.keepalive.value {
        backend.keepalive_idle = Some(upstream.keepalive_idle.clone());
    }
    if let Some(member) = upstream.resolved() {
        let origin = member.directive.origin();
        backend.resolves_at_run_time = Setting::written("resolve", true, origin);
    }
    limit_retries(&mut backend);
    backend
}

/// What stands in a `proxy_pass` itself: addresses and names without an `upstream` block.
pub(super) fn direct(pass: &Pass<'_, '_>, destinations: &[Destination]) -> BackendSurvey {
    let tls = destinations
        .first()
        .is_some_and(|destination| destination.tls);
    let mut backend = common(pass, tls);
    backend.name = shown(pass.argument);
    backend.servers = destinations
        .iter()
        .map(|destination| direct_server(pass, destination))
        .collect();
    let is_dynamic = pass.argument.contains('$');
    let origin = pass.directive.origin();
    let fixed = |server: &ServerSurvey| server.is_unix || units::is_address(&server.host);
    if is_dynamic && !backend.servers.iter().all(fixed) {
        backend.resolves_at_run_time = Setting::written(pass.names.pass, true, origin);
    }
    // Behind a name there may be several addresses, which are then left out like servers of a group.
    if !backend.servers.iter().all(fixed) {
        backend.ejection = Some((
            Setting::by_default("max_fails", 1),
            Setting::by_default("fail_timeout", Duration::from_secs(10)),
        ));
    }
    limit_retries(&mut backend);
    backend
}

/// An `upstream` block that nothing leads to, with the settings of its surroundings.
pub(super) fn unused(upstream: &Upstream<'_>) -> BackendSurvey {
    let pass = Pass {
        directive: upstream.directive,
        argument: &upstream.name,
        names: &PROXY,
        scope: &upstream.scope,
        location: None,
        path: "",
        family: upstream.family,
    };
    let mut backend = through(&pass, upstream, false);
    backend.pass_origin = None;
    backend.speaks.origin = None;
    backend
}

/// Whether two groups are the same servers reached in the same way, wherever that is written.
pub(super) fn says_the_same(a: &BackendSurvey, b: &BackendSurvey) -> bool {
    let times = |backend: &BackendSurvey| {
        let all = &backend.timeouts;
        [
            all.connect.value,
            all.send.value,
            all.response.value,
            all.tunnel.value,
        ]
    };
    let tls = |backend: &BackendSurvey| {
        let text = |setting: &Option<Setting<String>>| setting.as_ref().map(|s| s.value.clone());
        backend.tls.as_ref().map(|tls| {
            let names = [
                tls.sni.value.clone(),
                text(&tls.expected_name),
                text(&tls.ca),
            ];
            (tls.verify.value, names, text(&tls.certificate))
        })
    };
    let size = |backend: &BackendSurvey| backend.response_header_limit.as_ref().map(|s| s.value);
    let buffers = |backend: &BackendSurvey| backend.buffers_request.as_ref().map(|s| s.value);
    let retries = |backend: &BackendSurvey| backend.retries.as_ref().map(|s| s.value);
    let host = |backend: &BackendSurvey| backend.host.as_ref().map(|s| s.value.clone());
    a.name == b.name
        && a.origin == b.origin
        && a.speaks.value == b.speaks.value
        && times(a) == times(b)
        && tls(a) == tls(b)
        && size(a) == size(b)
        && buffers(a) == buffers(b)
        && retries(a) == retries(b)
        && host(a) == host(b)
        && a.keepalive.value == b.keepalive.value
        && a.passes_upgrade.value == b.passes_upgrade.value
        && a.proxy_header.value == b.proxy_header.value
}

/// Everything that depends on the place alone.
fn common(pass: &Pass<'_, '_>, tls: bool) -> BackendSurvey {
    let (scope, names) = (pass.scope, pass.names);
    let is_http = pass.family == Family::Http;
    let is_proxy = names.pass == PROXY.pass && is_http;
    let host = pass.header("Host");
    let header_limit = is_http.then(|| scope.size(names.buffer_size, 4_096));
    BackendSurvey {
        name: String::new(),
        origin: None,
        pass_origin: Some(pass.directive.origin()),
        places: Vec::new(),
        speaks: pass.speaks(),
        servers: Vec::new(),
        timeouts: timeouts(pass),
        tls: (tls || (!is_http && scope.flag("proxy_ssl", false).value)).then(|| self::tls(pass)),
        check: check(pass),
        ejection: None,
        keepalive: keepalive(pass, None),
        keepalive_idle: None,
        tcp_keepalive: Some(scope.flag(names.socket_keepalive, false)),
        proxy_header: proxy_header(pass),
        host: match host {
            None if is_proxy => Some(Setting::by_default(
                names.set_header,
                "$proxy_host".to_owned(),
            )),
            host => host,
        },
        passes_upgrade: passes_upgrade(pass),
        response_header_limit: header_limit,
        response_header_count: None,
        buffers_request: is_http.then(|| scope.flag(names.request_buffering, true)),
        sticky: None,
        retries: Some(retries(pass)),
        resolves_at_run_time: Setting::by_default("resolve", false),
    }
}

fn timeouts(pass: &Pass<'_, '_>) -> TimeoutSurvey {
    let (scope, names) = (pass.scope, pass.names);
    let connect = scope.timeout(names.connect, MINUTE);
    let queue = Setting::by_default("queue", None);
    if pass.family == Family::Stream {
        let idle = scope.timeout("proxy_timeout", MINUTE * 10);
        return TimeoutSurvey {
            connect,
            send: idle.clone(),
            response: idle.clone(),
            queue,
            tunnel: idle,
        };
    }
    let read = scope.timeout(names.read, MINUTE);
    TimeoutSurvey {
        connect,
        send: scope.timeout(names.send, MINUTE),
        response: read.clone(),
        queue,
        tunnel: read,
    }
}

fn tls(pass: &Pass<'_, '_>) -> TlsSurvey {
    let (scope, names) = (pass.scope, &pass.names.tls);
    let name = scope.text(names.name);
    let usual = || "$proxy_host".to_owned();
    let asks = scope.flag(names.server_name, false);
    let sent = name.as_ref().map_or_else(usual, |name| name.value.clone());
    let versions = |newest: bool| {
        let found = scope.find(names.protocols)?;
        let all = found.texts().filter_map(version);
        let value = if newest { all.max() } else { all.min() };
        Some(Setting::written(names.protocols, value?, found.origin()))
    };
    TlsSurvey {
        verify: scope.flag(names.verify, false),
        sni: Setting {
            value: asks.value.then_some(sent),
            name: names.server_name,
            origin: asks.origin,
        },
        expected_name: Some(name.unwrap_or_else(|| Setting::by_default(names.name, usual()))),
        ca: scope.text(names.ca),
        certificate: scope.text(names.certificate),
        min_version: versions(false),
        max_version: versions(true),
        ciphers: scope.text(names.ciphers),
    }
}

fn version(name: &str) -> Option<u16> {
    match name {
        "SSLv3" => Some(0x0300),
        "TLSv1" => Some(0x0301),
        "TLSv1.1" => Some(0x0302),
        "TLSv1.2" => Some(0x0303),
        "TLSv1.3" => Some(0x0304),
        _ => None,
    }
}

/// Active checks are a part of the commercial version.
fn check(pass: &Pass<'_, '_>) -> Option<CheckSurvey> {
    let name = "health_check";
    let found = pass.scope.find(name)?;
    let origin = found.origin();
    let value = |key: &str| {
        let mut texts = found.texts();
        texts.find_map(|text| text.strip_prefix(key)?.strip_prefix('='))
    };
    let count = |key: &str| value(key).and_then(|text| text.parse().ok()).unwrap_or(1);
    let interval = value("interval").and_then(units::nginx_time);
    let is_http = pass.family == Family::Http;
    let kind = if is_http {
        CheckKind::Http
    } else {
        CheckKind::Tcp
    };
    let path = value("uri").unwrap_or("/").to_owned();
    let port: Option<u16> = value("port").and_then(|port| port.parse().ok());
    let read = pass.scope.timeout(pass.names.read, MINUTE);
    Some(CheckSurvey {
        kind: Setting::written(name, kind, origin.clone()),
        method: "GET".to_owned(),
        path: Setting::written(name, path, origin.clone()),
        host: None,
        expect: Setting::by_default("match", "200-399".to_owned()),
        port: port.map(|port| Setting::written(name, port, origin.clone())),
        tls: Setting::by_default(name, false),
        proxy_header: Setting::by_default(name, false),
        interval: match interval {
            Some(interval) => Setting::written(name, interval, origin.clone()),
            None => Setting::by_default(name, Duration::from_secs(5)),
        },
        timeout: read,
        fall: Setting::written(name, count("fails"), origin.clone()),
        rise: Setting::written(name, count("passes"), origin),
    })
}

/// Kept connections need room in the group, HTTP/1.1, and no `Connection: close`.
fn keepalive(pass: &Pass<'_, '_>, group: Option<&Setting<bool>>) -> Setting<bool> {
    let off = Setting::by_default("keepalive", false);
    let Some(group) = group.filter(|group| group.value) else {
        return off;
    };
    let value = match pass.names.speaks {
        Spoke::Http1 if pass.family == Family::Http => {
            let connection = pass.header("Connection");
            pass.version().value && connection.is_some_and(|value| !closes(pass, &value.value))
        }
        Spoke::FastCgi => pass.scope.flag("fastcgi_keep_conn", false).value,
        Spoke::Http2 | Spoke::Uwsgi | Spoke::Scgi => true,
        Spoke::Http1 | Spoke::Tcp => false,
    };
    Setting {
        value,
        ..group.clone()
    }
}

/// Whether `Connection` says `close` for requests without an upgrade, also by way of a `map`.
fn closes(pass: &Pass<'_, '_>, value: &str) -> bool {
    let Some(variable) = value.strip_prefix('$') else {
        return value.eq_ignore_ascii_case("close");
    };
    let mut maps = pass.scope.everywhere("map");
    let is_meant =
        |map: &&Directive| map.argument(1).and_then(|v| v.strip_prefix('$')) == Some(variable);
    let Some(map) = maps.find(is_meant) else {
        return false;
    };
    let result = |key: &str| {
        let mut lines = map.inner().iter();
        let line = lines.find(|line| line.is(key))?;
        line.argument(0)
    };
    let without_upgrade = result("").or_else(|| result("default"));
    without_upgrade.is_some_and(|value| value.eq_ignore_ascii_case("close"))
}

fn proxy_header(pass: &Pass<'_, '_>) -> Setting<u8> {
    let is_sent = pass.scope.flag("proxy_protocol", false);
    let is_stream = pass.family == Family::Stream;
    Setting {
        value: u8::from(is_sent.value && is_stream),
        name: "proxy_protocol",
        origin: is_sent.origin.filter(|_| is_stream),
    }
}

/// NGINX passes an upgrade on when both headers are set and HTTP/1.1 is spoken.
fn passes_upgrade(pass: &Pass<'_, '_>) -> Setting<bool> {
    if pass.family == Family::Stream {
        return Setting::by_default("proxy_set_header", true);
    }
    let upgrade = pass
        .header("Upgrade")
        .filter(|value| !value.value.is_empty());
    let is_told = pass.header("Connection").is_some() && pass.version().value;
    let is_proxy = pass.names.pass == PROXY.pass;
    Setting {
        value: is_proxy && is_told && upgrade.is_some(),
        name: "proxy_set_header",
        origin: upgrade.and_then(|upgrade| upgrade.origin),
    }
}

/// Attempts after the first; how many servers there are limits them too.
fn retries(pass: &Pass<'_, '_>) -> Setting<u64> {
    let (scope, names) = (pass.scope, pass.names);
    let is_on = if pass.family == Family::Stream {
        scope.flag(names.next, true)
    } else {
        let parsed = scope.setting(names.next, |text| Some(text != "off"));
        parsed.unwrap_or_else(|| Setting::by_default(names.next, true))
    };
    if !is_on.value {
        return Setting {
            value: 0,
            name: names.next,
            origin: is_on.origin,
        };
    }
    let tries: Option<Setting<u64>> = scope.setting(names.tries, |text| text.parse().ok());
    match tries {
        Some(tries) if tries.value > 0 => Setting {
            value: tries.value - 1,
            ..tries
        },
        Some(_) | None => Setting::by_default(names.next, u64::MAX),
    }
}

/// Each server is tried once.
fn limit_retries(backend: &mut BackendSurvey) {
    let usable = backend.servers.iter().filter(|server| !server.down).count();
    let others = u64::try_from(usable).unwrap_or(u64::MAX).saturating_sub(1);
    if let Some(retries) = &mut backend.retries {
        retries.value = retries.value.min(others);
    }
}

fn servers(upstream: &Upstream<'_>) -> Vec<ServerSurvey> {
    let servers = upstream.members.iter();
    servers.map(|member| member.server.clone()).collect()
}

fn direct_server(pass: &Pass<'_, '_>, destination: &Destination) -> ServerSurvey {
    let speaks = pass.speaks().value;
    let (host, port) = destination.host_and_port(speaks);
    let socket = destination.socket();
    ServerSurvey {
        name: destination.authority.clone(),
        origin: Some(pass.directive.origin()),
        host: socket.map_or(host, str::to_owned),
        port: if socket.is_some() { 0 } else { port },
        is_unix: socket.is_some(),
        backup: false,
        down: false,
        maxconn: 0,
        is_checked: false,
    }
}

/// A `proxy_pass` without its path: `http://10.0.0.1:8080`.
pub(super) fn shown(argument: &str) -> String {
    let (scheme, rest) = match argument.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), argument),
    };
    if let Some(path) = rest.strip_prefix("unix:") {
        let path = path.split(':').next().unwrap_or_default();
        return format!("{scheme}unix:{path}");
    }
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    format!("{scheme}{authority}")
}

/// Whether a header is the one that asks for another protocol.
pub(super) fn sets_upgrade(found: &Directive) -> bool {
    found.argument(0).is_some_and(is_upgrade)
}
