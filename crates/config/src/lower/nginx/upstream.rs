//! `upstream`, and what `proxy_pass` names: backends.

use std::time::Duration;

use clearway_balance::{Algorithm, Bound};
use clearway_outcome::FaultKind;

use super::super::notes::Notes;
use super::text_of;
use crate::diagnostic::Origins;
use crate::lower::build;
use crate::model::{
    Backend, BackendTls, CertificateFiles, Config, Ejection, HashKey, HostPattern, Identifier,
    Keepalive, OrOff, Retries, RetryMethods, RetryOn, Server, ServerAddress, ServerState,
};
use crate::survey::nginx::scope::Scope;
use crate::survey::units;
use crate::syntax::nginx::Directive;
use crate::value::Text;

/// Where `proxy_pass` leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) is_tls: bool,
    /// A name of an upstream or a host, perhaps with a port, or `unix:/path`.
    pub(super) host: String,
    /// What stands behind it: the path and query that take the place of the location's.
    pub(super) uri: Option<String>,
}

/// Reads the argument of `proxy_pass`.
pub(super) fn target(text: &str) -> Option<Target> {
    let (scheme, rest) = text.split_once("://")?;
    let is_tls = match scheme {
        "http" => false,
        "https" => true,
        _ => return None,
    };
    if let Some(socket) = rest.strip_prefix("unix:") {
        let (path, uri) = match socket.split_once(':') {
            Some((path, uri)) => (path, Some(uri.to_owned())),
            None => (socket, None),
        };
        return Some(Target {
            is_tls,
            host: format!("unix:{path}"),
            uri,
        });
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (host, uri) = rest.split_at_checked(end)?;
    Some(Target {
        is_tls,
        host: host.to_owned(),
        uri: Some(uri.to_owned()).filter(|uri| !uri.is_empty()),
    })
}

/// The name of the backend for a target and its settings: made when it is not there.
pub(super) fn backend(
    target: &Target,
    upstreams: &[&Directive],
    scope: &Scope<'_>,
    config: &mut Config,
    notes: &mut Notes,
) -> Result<Identifier, String> {
    let block = upstreams
        .iter()
        .find(|found| found.argument(0) == Some(&*target.host));
    let mut backend = match block {
        Some(block) => from_block(block, notes),
        None => alone(target)?,
    };
    if block.is_none()
        && let Some(server) = backend.servers.first_mut()
    {
        server.origins = Origins::new(
            scope
                .find("proxy_pass")
                .map(Directive::origin)
                .unwrap_or_default(),
        );
    }
    if target.is_tls {
        backend.tls = Some(tls(scope, target));
    }
    settle(&mut backend, scope);
    named(backend, target, config)
}

/// Puts a backend into the model, unless the same is there; returns its name.
pub(super) fn named(
    mut backend: Backend,
    target: &Target,
    config: &mut Config,
) -> Result<Identifier, String> {
    let wanted = name_of(target);
    // The same servers may be asked with other settings elsewhere.
    for number in 1..100 {
        let name = if number == 1 {
            wanted.clone()
        } else {
            format!("{wanted}-{number}")
        };
        let name = Identifier::parse(&name).map_err(|problem| problem.message)?;
        backend.name = name.clone();
        match config.backend(name.as_str()) {
            Some(known) if *known == backend => return Ok(name),
            Some(_) => {}
            None => {
                config.backends.push(backend);
                return Ok(name);
            }
        }
    }
    Err("there are too many ways to ask these servers".to_owned())
}

fn name_of(target: &Target) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_-.:@".contains(c);
    let name: String = target
        .host
        .chars()
        .map(|c| if allowed(c) { c } else { '_' })
        .collect();
    if target.is_tls {
        format!("{name}-tls")
    } else {
        name
    }
}

/// A backend of the one server that `proxy_pass` names itself.
pub(super) fn alone(target: &Target) -> Result<Backend, String> {
    let default = if target.is_tls { 443 } else { 80 };
    let address = address(&target.host, default)?;
    Ok(Backend {
        servers: vec![Server::new(address)],
        ejection: OrOff::Off,
        ..Backend::default()
    })
}

fn address(text: &str, default: u16) -> Result<ServerAddress, String> {
    if text.starts_with("unix:") {
        return ServerAddress::parse(text).map_err(|problem| problem.message);
    }
    let (host, port) = units::host_and_port(text);
    let port = if port == 0 { default } else { port };
    // Whoever connects to the address of all gets this host.
    let host = match host.as_str() {
        "0.0.0.0" => "127.0.0.1".to_owned(),
        "::" => "::1".to_owned(),
        _ => host,
    };
    let text = if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    };
    ServerAddress::parse(&text).map_err(|problem| problem.message)
}

/// What an `upstream` says.
pub(super) fn from_block(block: &Directive, notes: &mut Notes) -> Backend {
    let mut backend = Backend {
        origins: Origins::new(block.origin()),
        keepalive: Keepalive {
            max_idle: 0,
            ..Keepalive::default()
        },
        ..Backend::default()
    };
    let (mut fails, mut pause) = (1_u32, Duration::from_secs(10));
    for directive in block.inner() {
        let argument = directive.argument(0).unwrap_or_default();
        match directive.name.text.as_str() {
            "server" => {
                notes.begin(directive.origin(), text_of(directive));
                match server(directive, &mut fails, &mut pause, notes) {
                    Ok(server) => add(server, &mut backend, notes),
                    Err(message) => notes.refused(message),
                }
            }
            "least_conn" => backend.balance = Algorithm::LeastRequests,
            "least_time" => backend.balance = Algorithm::PeakEwma,
            "random" => {
                let two = argument == "two";
                backend.balance = if two {
                    Algorithm::PowerOfTwo
                } else {
                    Algorithm::Random
                };
            }
            "ip_hash" => {
                backend.balance = Algorithm::ConsistentHash {
                    bound: Bound::DEFAULT,
                };
                backend.bounded_load = 0.0;
            }
            "hash" => {
                backend.bounded_load = 0.0;
                backend.balance = Algorithm::ConsistentHash {
                    bound: Bound::DEFAULT,
                };
                notes.begin(directive.origin(), text_of(directive));
                match key(argument) {
                    Some(key) => backend.hash_key = key,
                    None => notes.refused(format!("hashing {argument:?} is not known here")),
                }
            }
            "keepalive" => {
                backend.keepalive.max_idle = argument.parse().unwrap_or(256);
            }
            "keepalive_requests" => {
                backend.keepalive.max_requests = argument.parse().unwrap_or(0);
            }
            "keepalive_timeout" => {
                if let Some(time) = units::nginx_time(argument) {
                    backend.keepalive.idle_timeout = time;
                }
            }
            "keepalive_time" => {
                if let Some(time) = units::nginx_time(argument) {
                    backend.keepalive.max_age = time;
                }
            }
            _ => {}
        }
    }
    backend.ejection = if fails == 0 || backend.servers.len() < 2 {
        OrOff::Off
    } else {
        OrOff::On(Ejection {
            consecutive: fails,
            duration: pause.max(Duration::from_millis(10)),
            max_duration: pause.max(Duration::from_millis(10)),
            max_percent: 100,
            ..Ejection::default()
        })
    };
    backend
}

fn add(server: Server, backend: &mut Backend, notes: &mut Notes) {
    if build::add_server(server, backend) {
        notes.equivalent("the address is known: its weight is added");
    }
}

fn server(
    directive: &Directive,
    fails: &mut u32,
    pause: &mut Duration,
    notes: &mut Notes,
) -> Result<Server, String> {
    let text = directive.argument(0).unwrap_or_default();
    let mut server = Server::new(address(text, 80)?);
    server.origins = Origins::new(directive.origin());
    server.origins.set("address", directive.origin());
    for word in directive.texts().skip(1) {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        match name {
            "weight" => server.weight = value.parse().unwrap_or(1),
            "max_conns" => server.maxconn = value.parse().ok(),
            "max_fails" => *fails = value.parse().unwrap_or(1),
            "fail_timeout" => *pause = units::nginx_time(value).unwrap_or(*pause),
            "backup" => server.backup = true,
            "down" => server.state = ServerState::Maintenance,
            "slow_start" => server.slow_start = units::nginx_time(value),
            "resolve" => {}
            "drain" => server.state = ServerState::Drain,
            "service" => return Err("services by name are not known here".to_owned()),
            other => notes.ineffective(format!("{other:?} is not known here")),
        }
    }
    Ok(server)
}

fn key(text: &str) -> Option<HashKey> {
    match text {
        "$remote_addr" | "$binary_remote_addr" => Some(HashKey::Source),
        "$request_uri" => Some(HashKey::Uri),
        "$uri" => Some(HashKey::Path),
        other => {
            let name = other.strip_prefix('$')?;
            if let Some(name) = name.strip_prefix("http_") {
                return Some(HashKey::Header(name.replace('_', "-")));
            }
            if let Some(name) = name.strip_prefix("cookie_") {
                return Some(HashKey::Cookie(name.to_owned()));
            }
            name.strip_prefix("arg_")
                .map(|name| HashKey::Query(name.to_owned()))
        }
    }
}

/// TLS with servers.
pub(super) fn tls(scope: &Scope<'_>, target: &Target) -> BackendTls {
    let path = |name: &'static str| {
        scope
            .find(name)
            .and_then(|d| d.argument(0))
            .map(super::absolute)
    };
    let asks = scope.flag("proxy_ssl_server_name", false).value;
    let name = scope.text("proxy_ssl_name").map(|found| found.value);
    let host = units::host_and_port(&target.host).0;
    let name = name.filter(|name| !name.contains('$')).unwrap_or(host);
    BackendTls {
        verify: scope.flag("proxy_ssl_verify", false).value,
        ca: path("proxy_ssl_trusted_certificate"),
        crl: path("proxy_ssl_crl"),
        server_name: HostPattern::parse(&name).ok().filter(|_| asks),
        certificate: path("proxy_ssl_certificate").map(|certificate| CertificateFiles {
            certificate,
            key: path("proxy_ssl_certificate_key"),
            ..CertificateFiles::default()
        }),
        ..BackendTls::default()
    }
}

/// What the place of `proxy_pass` says about asking.
fn settle(backend: &mut Backend, scope: &Scope<'_>) {
    let minute = Duration::from_secs(60);
    backend.timeouts.connect = Some(scope.time("proxy_connect_timeout", minute).value);
    let read = scope.time("proxy_read_timeout", minute).value;
    backend.timeouts.response = Some(read);
    backend.timeouts.server_idle = Some(read);
    backend.timeouts.tunnel = Some(read);
    backend.timeouts.server_write = Some(scope.time("proxy_send_timeout", minute).value);
    backend.retries = retries(scope, backend.servers.len());
}

fn retries(scope: &Scope<'_>, servers: usize) -> Retries {
    let written = scope.find("proxy_next_upstream");
    let words: Vec<&str> =
        written.map_or_else(|| vec!["error", "timeout"], |d| d.texts().collect());
    let tries = scope
        .find("proxy_next_upstream_tries")
        .and_then(|d| d.argument(0)?.parse::<u32>().ok());
    let others = u32::try_from(servers.saturating_sub(1)).unwrap_or(20);
    let mut on = vec![RetryOn::Reused];
    let mut methods = RetryMethods::Idempotent;
    for word in &words {
        match *word {
            "error" => on.extend([
                RetryOn::Connect,
                RetryOn::Fault(FaultKind::ServerClosedNoResponse),
                RetryOn::Fault(FaultKind::ServerResetNoResponse),
            ]),
            "timeout" => on.extend([
                RetryOn::Fault(FaultKind::ConnectTimeout),
                RetryOn::Fault(FaultKind::ResponseTimeout),
            ]),
            "invalid_header" => on.push(RetryOn::Fault(FaultKind::ResponseNotHttp)),
            "non_idempotent" => methods = RetryMethods::Any,
            "off" => on = vec![RetryOn::Reused],
            word => {
                let status = word
                    .strip_prefix("http_")
                    .and_then(|status| status.parse().ok());
                on.extend(status.map(RetryOn::Status));
            }
        }
    }
    // Alone there is nobody else to ask, unless a kept connection was closed meanwhile.
    if servers < 2 {
        on = vec![RetryOn::Reused];
    }
    Retries {
        max: match tries {
            Some(0) | None => others.max(1),
            Some(tries) => tries.saturating_sub(1),
        }
        .min(20),
        on,
        methods,
        budget: 10.0,
        ..Retries::default()
    }
}
