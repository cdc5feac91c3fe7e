//! What a configuration in the native language says about failures.

use std::time::Duration;

use clearway_outcome::Speaker;

use super::{
    BackendSurvey, BindSurvey, CheckKind, CheckSurvey, FrontSurvey, ServerSurvey, Setting, Spoke,
    Survey, TimeoutSurvey, TlsSurvey,
};
use crate::diagnostic::Origin;
use crate::model::{
    Backend, BackendTls, Config, Health, HealthKind, Limits, Listener, LogDestination, LogFormat,
    Origins, Route, SendProxy, Server, ServerAddress, ServerProtocol, ServerState, Timeouts,
    TlsProfile,
};

/// Looks at a configuration in the native language. What is wrong with it is a matter of its checks, so
/// only loops are told of.
#[must_use]
pub fn native(config: &Config) -> Survey {
    let mut survey = Survey::new(Speaker::Clearway);
    let places = config.listeners.iter().map(|listener| listener.origin());
    let places = places.chain(config.backends.iter().map(|backend| backend.origin()));
    for place in places {
        let file = place.file.to_string();
        if !file.is_empty() && !survey.files.contains(&file) {
            survey.files.push(file);
        }
    }
    let servers = config.resolver.servers.iter().map(ToString::to_string);
    survey.resolvers = Setting {
        value: servers.collect(),
        name: "resolver.servers",
        origin: config.resolver.origin_of("servers").cloned(),
    };
    survey.fronts = config
        .listeners
        .iter()
        .map(|listener| front(config, listener))
        .collect();
    for backend in &config.backends {
        survey.backends.push(group(config, backend, None));
        for (index, route) in config.routes.iter().enumerate() {
            let leads = route.backend.as_ref() == Some(&backend.name);
            if leads && has_own_settings(route) {
                let mut group = group(config, backend, Some(route));
                group.places.push(config.route_name(index));
                survey.backends.push(group);
            }
        }
    }
    let fix = "Write the application's own address and port into \"servers\".";
    survey.pitfalls = super::loops::find(&survey, &[], fix);
    survey
}

fn has_own_settings(route: &Route) -> bool {
    let mut written = route.timeouts.origins.written();
    let mut retries = route.retries.origins.written();
    written.next().is_some() || retries.next().is_some()
}

/// A value with the place of its key.
fn setting<T>(name: &'static str, value: T, origins: &Origins) -> Setting<T> {
    let key = name.rsplit('.').next().unwrap_or_default();
    Setting {
        value,
        name,
        origin: origins.field(key).cloned(),
    }
}

fn front(config: &Config, listener: &Listener) -> FrontSurvey {
    let timeouts = config.timeouts_for(listener, None, None);
    let limits = config.limits_for(listener, None, None);
    let mut backends: Vec<String> = Vec::new();
    let routed = config.routes_of(listener);
    let routed = routed.filter_map(|(_, route)| route.backend.as_ref());
    let passed = listener
        .passthrough
        .iter()
        .filter_map(|pass| pass.backend.as_ref());
    let default = config
        .default_backend(listener)
        .map(|backend| &backend.name);
    for name in routed.chain(passed).chain(default) {
        if !backends.iter().any(|known| known == name.as_str()) {
            backends.push(name.to_string());
        }
    }
    let binds = listener.bind.iter().map(|bind| BindSurvey {
        address: bind.to_string(),
        tls: listener.tls.is_some(),
        proxy_header: listener.accepts_proxy(),
        origin: listener.origin_of("bind").cloned(),
    });
    let always = |(_, route): (usize, &Route)| route.matching.is_always();
    let head = setting(
        "timeouts.request_head",
        timeouts.request_head,
        &timeouts.origins,
    );
    let connections = u64::try_from(limits.connections).unwrap_or(u64::MAX);
    FrontSurvey {
        name: listener.name.to_string(),
        origin: Some(listener.origin().clone()),
        binds: binds.collect(),
        hosts: Vec::new(),
        has_default: default.is_some() || config.routes_of(listener).any(always),
        backends,
        client_timeout: Some(head).filter(|head| !head.value.is_zero()),
        body_limit: Some(setting(
            "limits.body_bytes",
            limits.body_bytes,
            &limits.origins,
        )),
        header_limit: Some(bytes("limits.header_bytes", limits.header_bytes, &limits)),
        maxconn: (connections > 0)
            .then(|| setting("limits.connections", connections, &limits.origins)),
        access_logs: access_logs(config, listener),
        error_logs: path(&config.log.faults).into_iter().collect(),
    }
}

/// The access logs of a listener and its routes, each once.
fn access_logs(config: &Config, listener: &Listener) -> Vec<(String, String)> {
    let mut logs = config.access_logs_for(listener, None);
    for (_, route) in config.routes_of(listener) {
        logs.extend(route.access_logs.iter().flatten().cloned());
    }
    let mut found = Vec::new();
    for log in logs {
        let format = match &log.format {
            LogFormat::Own(_) | LogFormat::Fixed(_) => log.format.name(),
            // Its text is in no language that readers of logs know.
            LogFormat::Template(_) => "text",
        };
        let entry = path(&log.to).map(|path| (path, format.to_owned()));
        found.extend(entry.filter(|entry| !found.contains(entry)));
    }
    found
}

fn bytes(name: &'static str, value: usize, limits: &Limits) -> Setting<u64> {
    setting(
        name,
        u64::try_from(value).unwrap_or(u64::MAX),
        &limits.origins,
    )
}

fn path(destination: &LogDestination) -> Option<String> {
    match destination {
        LogDestination::Off => None,
        LogDestination::Stdout => Some("stdout".to_owned()),
        LogDestination::Stderr => Some("stderr".to_owned()),
        LogDestination::File(path) => Some(path.display().to_string()),
        // What is there, nobody can read from here.
        LogDestination::Syslog(_) => None,
    }
}

/// The first listener that leads to a backend: its settings are the ones around.
fn listener_of<'a>(config: &'a Config, backend: &Backend) -> Option<&'a Listener> {
    let name = &backend.name;
    let mut listeners = config.listeners.iter();
    listeners.find(|listener| {
        let default = config.default_backend(listener);
        let mut routes = config.routes_of(listener);
        default.is_some_and(|known| known.name == *name)
            || routes.any(|(_, route)| route.backend.as_ref() == Some(name))
            || listener
                .passthrough
                .iter()
                .any(|pass| pass.backend.as_ref() == Some(name))
    })
}

fn group(config: &Config, backend: &Backend, route: Option<&Route>) -> BackendSurvey {
    let listener = listener_of(config, backend);
    let fallback = Listener::default();
    let around = listener.unwrap_or(&fallback);
    let times = config.timeouts_for(around, Some(backend), route);
    let limits = config.limits_for(around, Some(backend), route);
    let retries = config.retries_for(backend, route);
    let is_http = around.is_http();
    let origins = &backend.origins;
    let proxy = match backend.send_proxy {
        SendProxy::Off => 0,
        SendProxy::V1 => 1,
        SendProxy::V2 => 2,
    };
    let is_name = |server: &Server| {
        matches!(
            server.address,
            ServerAddress::Name { .. } | ServerAddress::Srv { .. }
        )
    };
    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let host = route.and_then(|route| route.actions.set_host.as_ref());
    BackendSurvey {
        name: backend.name.to_string(),
        origin: Some(backend.origin().clone()),
        pass_origin: None,
        places: Vec::new(),
        speaks: setting("protocol", speaks(backend, is_http), origins),
        servers: servers(backend),
        timeouts: timeouts(&times),
        tls: backend.tls.as_ref().map(tls),
        check: backend.health.as_ref().map(|health| check(backend, health)),
        ejection: ejection(backend),
        keepalive: setting(
            "keepalive.max_idle",
            is_http && backend.keepalive.max_idle > 0,
            &backend.keepalive.origins,
        ),
        keepalive_idle: Some(setting(
            "keepalive.idle_timeout",
            backend.keepalive.idle_timeout,
            &backend.keepalive.origins,
        )),
        tcp_keepalive: None,
        proxy_header: setting("send_proxy", proxy, origins),
        host: host.map(|host| Setting {
            value: host.to_string(),
            name: "set_host",
            origin: route.and_then(|route| route.origin_of("set_host")).cloned(),
        }),
        passes_upgrade: Setting::by_default("protocol", true),
        response_header_limit: Some(bytes(
            "limits.response_header_bytes",
            limits.response_header_bytes,
            &limits,
        )),
        response_header_count: Some(setting(
            "limits.header_count",
            count(limits.header_count),
            &limits.origins,
        )),
        buffers_request: Some(Setting::by_default("retries.body_buffer", false)),
        sticky: backend
            .sticky
            .as_ref()
            .map(|sticky| setting("sticky", sticky.cookie.to_string(), &backend.origins)),
        retries: Some(setting(
            "retries.max",
            u64::from(retries.max),
            &retries.origins,
        )),
        resolves_at_run_time: Setting::by_default("servers", backend.servers.iter().any(is_name)),
    }
}

fn speaks(backend: &Backend, is_http: bool) -> Spoke {
    match backend.protocol {
        _ if !is_http => Spoke::Tcp,
        ServerProtocol::H2 => Spoke::Http2,
        ServerProtocol::Http1
        | ServerProtocol::Auto
        | ServerProtocol::Fastcgi
        | ServerProtocol::Scgi
        | ServerProtocol::Uwsgi => Spoke::Http1,
    }
}

fn timeouts(times: &Timeouts) -> TimeoutSurvey {
    let limit = |name: &'static str, time: Duration| {
        setting(
            name,
            Some(time).filter(|time| !time.is_zero()),
            &times.origins,
        )
    };
    TimeoutSurvey {
        connect: limit("timeouts.connect", times.connect),
        send: limit("timeouts.server_write", times.server_write),
        response: limit("timeouts.response", times.response),
        queue: limit("timeouts.queue", times.queue),
        tunnel: limit("timeouts.tunnel", times.tunnel),
    }
}

fn tls(tls: &BackendTls) -> TlsSurvey {
    let text = |name: &'static str, value: Option<String>| {
        value.map(|value| setting(name, value, &tls.origins))
    };
    let name = tls.server_name.as_ref().map(ToString::to_string);
    let certificate = tls.certificate.as_ref();
    let oldest = match tls.profile {
        TlsProfile::Modern => 0x0304,
        TlsProfile::Intermediate => 0x0303,
    };
    TlsSurvey {
        verify: setting("tls.verify", tls.verify, &tls.origins),
        // Without a name of its own a server's host name is asked for.
        sni: setting(
            "tls.server_name",
            Some(
                name.clone()
                    .unwrap_or_else(|| "the server's host name".to_owned()),
            ),
            &tls.origins,
        ),
        expected_name: text("tls.server_name", name),
        ca: text(
            "tls.ca",
            tls.ca.as_ref().map(|path| path.display().to_string()),
        ),
        certificate: text(
            "tls.certificate",
            certificate.map(|files| files.certificate.display().to_string()),
        ),
        min_version: Some(setting("tls.profile", oldest, &tls.origins)),
        max_version: Some(setting("tls.profile", 0x0304, &tls.origins)),
        ciphers: None,
    }
}

fn check(backend: &Backend, health: &Health) -> CheckSurvey {
    let origins = &health.origins;
    let kind = match health.kind {
        HealthKind::Tcp => CheckKind::Tcp,
        HealthKind::Http => CheckKind::Http,
        HealthKind::Grpc | HealthKind::Script => CheckKind::Other,
    };
    let expect: Vec<String> = health
        .expect
        .ranges()
        .iter()
        .map(|(first, last)| {
            if first == last {
                first.to_string()
            } else {
                format!("{first}-{last}")
            }
        })
        .collect();
    let host = health.host.as_ref().map(ToString::to_string);
    let sends = backend.send_proxy != SendProxy::Off && health.port.is_none();
    CheckSurvey {
        kind: setting("health.kind", kind, origins),
        method: health.method.to_string(),
        path: setting("health.path", health.path.to_string(), origins),
        host: host.map(|host| setting("health.host", host, origins)),
        expect: setting("health.expect", expect.join(", "), origins),
        port: health
            .port
            .map(|port| setting("health.port", port, origins)),
        tls: setting("health.tls", health.tls && backend.tls.is_some(), origins),
        proxy_header: Setting::by_default("send_proxy", sends),
        interval: setting("health.interval", health.interval, origins),
        timeout: setting("health.timeout", Some(health.timeout), origins),
        fall: setting("health.fall", u64::from(health.fall), origins),
        rise: setting("health.rise", u64::from(health.rise), origins),
    }
}

fn ejection(backend: &Backend) -> Option<(Setting<u64>, Setting<Duration>)> {
    let ejection = backend
        .ejection
        .on()
        .filter(|ejection| ejection.consecutive > 0)?;
    Some((
        setting(
            "ejection.consecutive",
            u64::from(ejection.consecutive),
            &ejection.origins,
        ),
        setting("ejection.duration", ejection.duration, &ejection.origins),
    ))
}

fn servers(backend: &Backend) -> Vec<ServerSurvey> {
    let server = |server: &Server| {
        let (host, port, is_unix) = place(&server.address);
        let origin: Option<&Origin> = server.origin_of("address");
        ServerSurvey {
            name: server.label(),
            origin: origin.cloned(),
            host,
            port,
            is_unix,
            backup: server.backup,
            down: server.state == ServerState::Maintenance,
            maxconn: u64::from(backend.maxconn_of(server)),
            is_checked: backend.health.is_some(),
        }
    };
    backend.servers.iter().map(server).collect()
}

fn place(address: &ServerAddress) -> (String, u16, bool) {
    match address {
        ServerAddress::Ip(address) => (address.ip().to_string(), address.port(), false),
        ServerAddress::Name { host, port } => (host.clone(), *port, false),
        // Records of services give hosts and ports only when they are asked for.
        ServerAddress::Srv { name } => (name.clone(), 0, false),
        ServerAddress::Unix(path) => (path.display().to_string(), 0, true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOP: &str = r#"
[timeouts]
connect = "2s"
[listener.web]
bind = [":8080"]
backend = "app"
[[route]]
path = "/slow/"
backend = "app"
timeouts = { response = "5m" }
[backend.app]
servers = ["10.0.0.1:80", { address = "app.internal:80", state = "maint" }]
maxconn = 9
tls = { server_name = "app.example.org" }
health = { path = "/up", expect = [200, "3xx"], port = 9000 }
send_proxy = "v2"
"#;

    #[test]
    fn the_narrowest_place_wins_and_is_known() {
        let loaded = crate::parse("c.toml", SHOP);
        let survey = native(&loaded.config);
        assert_eq!(survey.files, ["c.toml"]);
        let [app, slow] = survey.backends.as_slice() else {
            panic!("{survey:#?}")
        };
        assert_eq!(app.timeouts.connect.value, Some(Duration::from_secs(2)));
        assert_eq!(app.timeouts.connect.origin.as_ref().unwrap().line, 3);
        assert_eq!(app.timeouts.response.origin, None);
        assert_eq!(slow.timeouts.response.value, Some(Duration::from_secs(300)));
        assert_eq!(slow.places, ["route-1"]);
        assert_eq!(app.proxy_header.value, 2);
        assert_eq!((app.servers[0].maxconn, app.servers[1].down), (9, true));
        assert_eq!(app.servers[1].address(), "app.internal:80");
        let check = app.check.as_ref().unwrap();
        assert_eq!(
            (check.expect.value.as_str(), check.tls.value),
            ("200, 300-399", true)
        );
        assert!(!check.proxy_header.value && app.resolves_at_run_time.value);
        let tls = app.tls.as_ref().unwrap();
        assert_eq!(tls.sni.value.as_deref(), Some("app.example.org"));
        let front = &survey.fronts[0];
        assert_eq!(
            (front.backends.as_slice(), front.has_default),
            (&["app".to_owned()][..], true)
        );
        assert_eq!(front.error_logs, ["stderr"]);
        assert_eq!(survey.pitfalls, []);
    }

    #[test]
    fn loops_are_told_of() {
        let text = "[listener.web]\nbind = \":80\"\n[backend.app]\nservers = [\"127.0.0.1:80\"]\n";
        let survey = native(&crate::parse("c.toml", text).config);
        let [found] = survey.pitfalls.as_slice() else {
            panic!("{survey:#?}")
        };
        assert_eq!((found.cause, found.origin.line), ("proxy-loop", 4));
    }
}
