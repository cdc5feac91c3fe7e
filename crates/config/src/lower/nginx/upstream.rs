//! `upstream`, and what `proxy_pass` names: backends.

use std::time::Duration;

use clearway_balance::{Algorithm, Bound};
use clearway_outcome::FaultKind;
use clearway_rules::ast::Piece;

use super::super::notes::Notes;
use super::gateway::Params;
use super::location::Work;
use super::text_of;
use super::values::{self, Names};
use crate::diagnostic::{Origin, Origins};
use crate::lower::build;
use crate::model::{
    Actions, Backend, BackendTls, CertificateFiles, Condition, Config, Ejection, ErrorKey,
    ErrorPage, ErrorPages, HashKey, HostPattern, Identifier, Keepalive, OrOff, Pairs, RetryMethods,
    RetryOn, RetryOverrides, Route, Server, ServerAddress, ServerProtocol, ServerState, Token,
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
    /// The directives of the protocol.
    pub(super) words: &'static Words,
}

/// The names of the directives about a protocol with servers.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Words {
    pub(super) protocol: ServerProtocol,
    pub(super) pass: &'static str,
    pub(super) param: &'static str,
    pub(super) set_header: &'static str,
    pub(super) hide_header: &'static str,
    pub(super) pass_header: &'static str,
    pub(super) pass_headers: &'static str,
    connect: &'static str,
    read: &'static str,
    send: &'static str,
    next: &'static str,
    abort: &'static str,
    tries: &'static str,
    time: &'static str,
    buffering: &'static str,
    pub(super) bind: &'static str,
    tls: TlsWords,
    pub(super) caches: CacheWords,
}

/// The directives about keeping responses.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CacheWords {
    pub(super) zone: &'static str,
    pub(super) key: &'static str,
    pub(super) methods: &'static str,
    pub(super) ignored: &'static str,
    pub(super) bypass: &'static str,
    pub(super) not_kept: &'static str,
    pub(super) min_uses: &'static str,
    pub(super) revalidate: &'static str,
    pub(super) lock: &'static str,
    pub(super) lock_timeout: &'static str,
    pub(super) valid: &'static str,
    pub(super) use_stale: &'static str,
}

/// The directives about TLS with servers.
#[derive(Debug, PartialEq, Eq)]
struct TlsWords {
    asks: &'static str,
    name: &'static str,
    verify: &'static str,
    ca: &'static str,
    crl: &'static str,
    certificate: &'static str,
    key: &'static str,
}

macro_rules! words {
    ($name:ident, $protocol:ident, $prefix:literal) => {
        pub(super) const $name: Words = Words {
            protocol: ServerProtocol::$protocol,
            pass: concat!($prefix, "_pass"),
            param: concat!($prefix, "_param"),
            set_header: concat!($prefix, "_set_header"),
            hide_header: concat!($prefix, "_hide_header"),
            pass_header: concat!($prefix, "_pass_header"),
            pass_headers: concat!($prefix, "_pass_request_headers"),
            connect: concat!($prefix, "_connect_timeout"),
            read: concat!($prefix, "_read_timeout"),
            send: concat!($prefix, "_send_timeout"),
            next: concat!($prefix, "_next_upstream"),
            abort: concat!($prefix, "_ignore_client_abort"),
            tries: concat!($prefix, "_next_upstream_tries"),
            time: concat!($prefix, "_next_upstream_timeout"),
            buffering: concat!($prefix, "_request_buffering"),
            bind: concat!($prefix, "_bind"),
            tls: TlsWords {
                asks: concat!($prefix, "_ssl_server_name"),
                name: concat!($prefix, "_ssl_name"),
                verify: concat!($prefix, "_ssl_verify"),
                ca: concat!($prefix, "_ssl_trusted_certificate"),
                crl: concat!($prefix, "_ssl_crl"),
                certificate: concat!($prefix, "_ssl_certificate"),
                key: concat!($prefix, "_ssl_certificate_key"),
            },
            caches: CacheWords {
                zone: concat!($prefix, "_cache"),
                key: concat!($prefix, "_cache_key"),
                methods: concat!($prefix, "_cache_methods"),
                ignored: concat!($prefix, "_ignore_headers"),
                bypass: concat!($prefix, "_cache_bypass"),
                not_kept: concat!($prefix, "_no_cache"),
                min_uses: concat!($prefix, "_cache_min_uses"),
                revalidate: concat!($prefix, "_cache_revalidate"),
                lock: concat!($prefix, "_cache_lock"),
                lock_timeout: concat!($prefix, "_cache_lock_timeout"),
                valid: concat!($prefix, "_cache_valid"),
                use_stale: concat!($prefix, "_cache_use_stale"),
            },
        };
    };
}

words!(PROXY, Http1, "proxy");
words!(FASTCGI, Fastcgi, "fastcgi");
words!(UWSGI, Uwsgi, "uwsgi");
words!(SCGI, Scgi, "scgi");
words!(GRPC, H2, "grpc");

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
            words: &PROXY,
        });
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (host, uri) = rest.split_at_checked(end)?;
    Some(Target {
        is_tls,
        host: host.to_owned(),
        uri: Some(uri.to_owned()).filter(|uri| !uri.is_empty()),
        words: &PROXY,
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
    let backend = made(target, upstreams, scope, notes)?;
    put(backend, &name_of(target), config)
}

/// The same for servers that get names and values.
pub(super) fn backend_with(
    target: &Target,
    scope: &Scope<'_>,
    params: Option<&Params>,
    work: &mut Work<'_>,
) -> Result<Identifier, String> {
    let mut backend = made(target, &work.http.upstreams, scope, work.notes)?;
    add_params(&mut backend, params);
    put(backend, &name_of(target), work.config)
}

/// Gives servers of a backend names and values.
pub(super) fn add_params(backend: &mut Backend, params: Option<&Params>) {
    let Some(params) = params else { return };
    backend.params = Pairs(params.pairs.clone());
    backend.optional_params.clone_from(&params.optional);
    backend.standard_params = false;
}

fn made(
    target: &Target,
    upstreams: &[&Directive],
    scope: &Scope<'_>,
    notes: &mut Notes,
) -> Result<Backend, String> {
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
                .find(target.words.pass)
                .map(Directive::origin)
                .unwrap_or_default(),
        );
    }
    settle(&mut backend, scope, target);
    Ok(backend)
}

/// Puts a backend into the configuration unless one like it is there, under a name like this.
pub(super) fn put(
    mut backend: Backend,
    wanted: &str,
    config: &mut Config,
) -> Result<Identifier, String> {
    // The same servers may be asked with other settings elsewhere.
    for number in 1..1_000 {
        let name = if number == 1 {
            wanted.to_owned()
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

/// What is answered where no server is left: with NGINX it is a bad gateway.
pub(super) fn no_live() -> ErrorPages {
    let page = ErrorPage {
        status: Some(502),
        ..ErrorPage::default()
    };
    let kinds = [FaultKind::NoServers, FaultKind::AllServersDown];
    Pairs(
        kinds
            .map(|kind| (ErrorKey::Fault(kind), page.clone()))
            .into(),
    )
}

pub(super) fn name_of(target: &Target) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_-.:@".contains(c);
    let name: String = target
        .host
        .chars()
        .map(|c| if allowed(c) { c } else { '_' })
        .collect();
    let protocol = target.words.protocol;
    if protocol != ServerProtocol::Http1 {
        return format!("{name}-{}", protocol.name());
    }
    match target.is_tls {
        true => format!("{name}-tls"),
        false => name,
    }
}

/// A backend of the one server that `proxy_pass` names itself.
pub(super) fn alone(target: &Target) -> Result<Backend, String> {
    let default = match target.words.protocol {
        ServerProtocol::Fastcgi | ServerProtocol::Scgi | ServerProtocol::Uwsgi => 0,
        ServerProtocol::Http1 | ServerProtocol::H2 | ServerProtocol::Auto if target.is_tls => 443,
        ServerProtocol::Http1 | ServerProtocol::H2 | ServerProtocol::Auto => 80,
    };
    let address = address(&target.host, default)?;
    Ok(Backend {
        servers: vec![Server::new(address)],
        ejection: OrOff::Off,
        keepalive: unkept(target.words),
        ..Backend::default()
    })
}

/// Connections are kept only where an `upstream` says so; those of HTTP/2 are shared.
pub(super) fn unkept(words: &Words) -> Keepalive {
    let mut keepalive = Keepalive::default();
    if words.protocol != ServerProtocol::H2 {
        keepalive.max_idle = 0;
    }
    keepalive
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
        balance: Algorithm::SmoothRoundRobin,
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
            "least_conn" => backend.balance = Algorithm::SmoothLeastRequests,
            "least_time" => backend.balance = Algorithm::PeakEwma,
            "random" => {
                let two = argument == "two";
                backend.balance = if two {
                    Algorithm::PowerOfTwo
                } else {
                    Algorithm::Random
                };
            }
            "ip_hash" => backend.balance = Algorithm::NetworkTable,
            "hash" => {
                backend.bounded_load = 0.0;
                backend.balance = match directive.argument(1) {
                    Some("consistent") => Algorithm::ConsistentHash {
                        bound: Bound::DEFAULT,
                    },
                    _ => Algorithm::CrcTable,
                };
                notes.begin(directive.origin(), text_of(directive));
                if let Err(message) = hash(argument, &directive.origin(), &mut backend) {
                    notes.refused(message);
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

/// What `hash` goes by.
fn hash(text: &str, origin: &Origin, backend: &mut Backend) -> Result<(), String> {
    let template = values::read(text, &Names::default())?;
    backend.hash_key = match (text, template.pieces()) {
        ("$binary_remote_addr", _) => HashKey::Source,
        ("$request_uri", _) => HashKey::Uri,
        (_, [Piece::Fetch(fetch)]) => HashKey::Value(fetch.to_string()),
        _ => {
            let name = Token::parse(HASHED).map_err(|problem| problem.message)?;
            let actions = Actions {
                set_variables: Pairs(vec![(name, values::to_text(&template)?)]),
                ..Actions::default()
            };
            let key = "set_variables";
            backend
                .rules
                .push(build::rule(Condition::default(), actions, key, origin));
            HashKey::Value(format!("var:{HASHED}"))
        }
    };
    Ok(())
}

/// The variable with what `hash` goes by where that is several values.
const HASHED: &str = "hashed";

/// TLS with servers.
pub(super) fn tls(scope: &Scope<'_>, target: &Target) -> BackendTls {
    let path = |name: &'static str| {
        scope
            .find(name)
            .and_then(|d| d.argument(0))
            .map(super::absolute)
    };
    let words = &target.words.tls;
    let asks = scope.flag(words.asks, false).value;
    let name = scope.text(words.name).map(|found| found.value);
    let host = units::host_and_port(&target.host).0;
    let name = name.filter(|name| !name.contains('$')).unwrap_or(host);
    BackendTls {
        verify: scope.flag(words.verify, false).value,
        ca: path(words.ca),
        crl: path(words.crl),
        server_name: HostPattern::parse(&name).ok().filter(|_| asks),
        certificate: path(words.certificate).map(|certificate| CertificateFiles {
            certificate,
            key: path(words.key),
            ..CertificateFiles::default()
        }),
        ..BackendTls::default()
    }
}

/// What the place of `proxy_pass` says about asking.
pub(super) fn settle(backend: &mut Backend, scope: &Scope<'_>, target: &Target) {
    if target.is_tls {
        backend.tls = Some(tls(scope, target));
    }
    let words = target.words;
    backend.protocol = words.protocol;
    if words.protocol == ServerProtocol::Http1 && scope.flag(words.buffering, true).value {
        // What is larger goes on as it comes.
        let size = scope.size("client_body_buffer_size", 16 << 10).value;
        let size = size.clamp(64 << 10, 1 << 20);
        backend.body_buffer = usize::try_from(size).ok();
    }
    if words.protocol == ServerProtocol::Fastcgi && !scope.flag("fastcgi_keep_conn", false).value {
        backend.keepalive.max_idle = 0;
    }
    backend.source_address = scope
        .find(words.bind)
        .and_then(|found| found.argument(0)?.parse().ok());
    // Nothing but the number of servers limits how often a request is tried.
    backend.retries.budget = 10.0;
}

/// How servers are asked from a place.
pub(super) fn ask(words: &Words, scope: &Scope<'_>, config: &Config, route: &mut Route) {
    let minute = Duration::from_secs(60);
    let timeouts = &mut route.timeouts;
    timeouts.connect = Some(scope.time(words.connect, minute).value);
    let read = scope.time(words.read, minute).value;
    timeouts.response = Some(read);
    timeouts.server_idle = Some(read);
    timeouts.tunnel = Some(read);
    timeouts.server_write = Some(scope.time(words.send, minute).value);
    route.finish_abandoned = scope.flag(words.abort, false).value;
    route.upgrades = words.protocol == ServerProtocol::Http1 && upgrades(scope);
    let backend = route.backend.as_ref();
    let backend = backend.and_then(|name| config.backend(name.as_str()));
    // How many servers there are is known only when a request names them.
    let servers = match backend {
        Some(backend) if backend.by_request.is_none() => backend.servers.len(),
        Some(_) | None => usize::MAX,
    };
    route.retries = retries(words, scope, servers);
}

/// Whether a place passes on wishes to change the protocol: both headers have to be named.
fn upgrades(scope: &Scope<'_>) -> bool {
    let set = scope.all("proxy_set_header");
    let is_set = |name: &str| {
        set.iter().any(|found| {
            let is_it = found
                .argument(0)
                .unwrap_or_default()
                .eq_ignore_ascii_case(name);
            is_it && found.argument(1).is_some_and(|value| !value.is_empty())
        })
    };
    is_set("upgrade") && is_set("connection")
}

/// Faults that `error`, `timeout` and `invalid_header` stand for.
const ERRORS: [FaultKind; 6] = [
    FaultKind::ServerClosedNoResponse,
    FaultKind::ServerResetNoResponse,
    FaultKind::ServerClosedWhileSending,
    FaultKind::ServerResetWhileSending,
    FaultKind::ResponseHeadTruncated,
    FaultKind::ResponseHeadReset,
];
const TIMEOUTS: [FaultKind; 4] = [
    FaultKind::ConnectTimeout,
    FaultKind::ResponseTimeout,
    FaultKind::ResponseHeadStalled,
    FaultKind::ServerWriteTimeout,
];
const INVALID: [FaultKind; 4] = [
    FaultKind::ResponseNotHttp,
    FaultKind::ResponseStatusLineInvalid,
    FaultKind::ResponseHeaderInvalid,
    FaultKind::ResponseLengthInvalid,
];

fn retries(words: &Words, scope: &Scope<'_>, servers: usize) -> RetryOverrides {
    let written = scope.find(words.next);
    let reasons: Vec<&str> =
        written.map_or_else(|| vec!["error", "timeout"], |d| d.texts().collect());
    let tries = scope
        .find(words.tries)
        .and_then(|d| d.argument(0)?.parse::<u32>().ok());
    let others = u32::try_from(servers.saturating_sub(1)).unwrap_or(20);
    let mut on = vec![RetryOn::Reused];
    let mut methods = RetryMethods::Idempotent;
    for word in &reasons {
        match *word {
            "error" => {
                on.push(RetryOn::Connect);
                on.extend(ERRORS.map(RetryOn::Fault));
            }
            "timeout" => on.extend(TIMEOUTS.map(RetryOn::Fault)),
            "invalid_header" => on.extend(INVALID.map(RetryOn::Fault)),
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
    let max = match tries {
        Some(0) | None => others.max(1),
        Some(tries) => tries.saturating_sub(1),
    };
    RetryOverrides {
        max: Some(max.min(20)),
        on: Some(on),
        methods: Some(methods),
        same_server: Some(servers < 2),
        time: scope
            .find(words.time)
            .map(|_| scope.time(words.time, Duration::ZERO).value),
        ..RetryOverrides::default()
    }
}
