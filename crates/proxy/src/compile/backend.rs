//! A backend with its servers as names resolve now.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clearway_balance::slow_start;
use clearway_balance::sticky::Sticky;
use clearway_base::hash::{self, Map, Set};
use clearway_base::intern::Name;
use clearway_config::Diagnostic;
use clearway_config::model::{
    Backend, BackendTls, ByRequest, CheckFailure, CheckStep, HashKey, Health, HealthKind,
    Identifier, Pattern, SendProxy as SendProxyConfig, Server, ServerAddress, ServerProtocol,
    ServerState, Token,
};
use clearway_net::cgi::Dialect;
use clearway_net::connect::Target;
use clearway_net::probe::{
    self, BodyMatch, Connect, Expect, Grpc, GrpcSettings, Http, Http2, HttpSettings, Probe,
    ProxyHeader, Script, Sought, Step, Tcp, Tell,
};
use clearway_outcome::FaultKind;
use clearway_rules::ast::{Definitions, Fetch, Template};
use clearway_rules::{SERVER_FROM, Value, Words};

use super::{pages, tls};
use crate::board::{Board, DRAIN, MAINTENANCE, server_key};
use crate::plan::{
    AgentPlan, BackendPlan, BackendTlsPlan, ByRequestPlan, CgiPlan, CheckPlan, Keep, SendProxy,
    ServerPlan, WatchPlan,
};

/// What has to be asked of the resolver.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Question {
    /// The addresses of a host, and the port to use with them.
    Host(String, u16),
    /// The targets of a service.
    Srv(String),
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(name, _) | Self::Srv(name) => f.write_str(name),
        }
    }
}

impl Question {
    /// What has to be asked to know the addresses of a server; `None` when it has a literal one.
    #[must_use]
    pub fn of(address: &ServerAddress) -> Option<Self> {
        match address {
            ServerAddress::Name { host, port } => Some(Self::Host(host.clone(), *port)),
            ServerAddress::Srv { name } => Some(Self::Srv(name.clone())),
            ServerAddress::Ip(_) | ServerAddress::Unix(_) => None,
        }
    }
}

/// One address behind a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Where.
    pub socket: SocketAddr,
    /// Weight among those of the same priority; 1 for hosts.
    pub weight: u32,
    /// Lower is used first; 0 for hosts.
    pub priority: u16,
}

/// What is known about a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The addresses, kept from earlier while the resolver is in trouble.
    pub addresses: Vec<Address>,
    /// Why the newest question failed, if it did.
    pub trouble: Option<(FaultKind, String)>,
}

/// Everything known about names.
pub type Names = Map<Question, Answer>;

/// One server with one address.
struct Place<'a> {
    server: &'a Server,
    target: Target,
    weight: u32,
    priority: u16,
}

impl Place<'_> {
    /// The effective weight without a slow start.
    fn weight(&self) -> u32 {
        self.weight.saturating_mul(slow_start::UNIT)
    }

    /// Lower is used first; every backup server comes after all others.
    fn tier(&self) -> u8 {
        let backup = u8::from(self.server.backup) * 128;
        let priority = u8::try_from(self.priority.min(27)).unwrap_or(27);
        backup
            .saturating_add(self.server.priority)
            .saturating_add(priority)
    }

    /// Whether an equal configuration makes an equal plan of it.
    fn is_same(&self, plan: &ServerPlan) -> bool {
        self.target == plan.target && self.weight() == plan.weight && self.tier() == plan.tier
    }
}

/// Compiles one backend, or takes over the old one when nothing has changed.
///
/// # Errors
/// A health check that HTTP does not allow.
pub(super) fn compile(
    backend: &Backend,
    named: &Definitions,
    names: &Names,
    board: &mut Board,
    (before, keeps): (Option<&Arc<BackendPlan>>, bool),
    index: &Map<&str, usize>,
) -> Result<Arc<BackendPlan>, Diagnostic> {
    let name = Name::new(backend.name.as_str());
    let mut empty_because = FaultKind::NoServers;
    let mut places = Vec::new();
    // Where requests name the server this one stands for all of them: counts are kept with it.
    let stand_in = backend.by_request.as_ref().map(ByRequest::stand_in);
    let places_of = backend.servers.iter().filter(|_| stand_in.is_none());
    for server in places_of.chain(&stand_in) {
        find_places(server, names, &mut places, &mut empty_because);
    }
    let tls = match &backend.tls {
        Some(settings) => {
            let old =
                before.and_then(|b| Some((&b.config, b.config.tls.as_ref()?, b.tls.as_ref()?)));
            Some(tls::backend(settings, backend.protocol, named, old)?)
        }
        None => None,
    };
    let is_same_tls = |before: &BackendPlan| match (&tls, &before.tls) {
        (Some(new), Some(old)) => Arc::ptr_eq(new, old),
        (new, old) => new.is_none() && old.is_none(),
    };
    if let Some(before) = before
        && keeps
        && before.config == *backend
        // A file may say something else by now.
        && backend.errors.iter().all(|(_, page)| page.file.is_none())
        && is_same_tls(before)
        && backend.servers.iter().all(|server| server.tls.is_none())
        && before.empty_because == empty_because
        && before.servers.len() == places.len()
        && before.by_request.as_ref().is_none_or(|by| by.leads_as(index))
        && places
            .iter()
            .zip(&before.servers)
            .all(|(p, s)| p.is_same(s))
    {
        return Ok(Arc::clone(before));
    }
    let check = check_plan(backend)?;
    let servers = server_plans(backend, named, (&places, tls.as_ref()), board, before)?;
    // The checks have compiled the same rules.
    let wrong = |found: Vec<Diagnostic>| {
        let first = found.into_iter().next();
        first.unwrap_or_else(|| Diagnostic::error("rule", backend.origin(), "a rule cannot work"))
    };
    let program = backend.program(named).map_err(wrong)?;
    let sticking = backend.sticking(named).map_err(wrong)?;
    let errors = pages::compile(&[&backend.errors], named)
        .map_err(|words| Diagnostic::error("error-page", backend.origin(), words))?;
    let entry = board.backend(name);
    Ok(Arc::new(BackendPlan {
        name,
        errors,
        algorithm: backend.algorithm(),
        hash_value: hash_value(backend, named)?,
        has_maxconn: servers.iter().any(|s| s.maxconn > 0),
        empty_because,
        program: program.map(Arc::new),
        cgi: cgi(backend),
        body_buffer: backend.body_buffer(),
        by_request: by_request(backend, named, index),
        sticking,
        keep: Keep {
            max_idle: backend.keepalive.max_idle,
            idle_us: micros(backend.keepalive.idle_timeout),
            max_requests: backend.keepalive.max_requests,
            max_age_us: micros(backend.keepalive.max_age),
        },
        sticky: sticky(backend, &servers),
        budget: backend.retries.budget_policy(),
        check,
        ejection: backend.ejection.on().map(|ejection| ejection.policy()),
        servers,
        tls,
        config: backend.clone(),
        entry,
    }))
}

/// The check of its servers, compiled.
fn check_plan(backend: &Backend) -> Result<Option<Arc<CheckPlan>>, Diagnostic> {
    let Some(health) = &backend.health else {
        return Ok(None);
    };
    match check(backend, health) {
        Ok(check) => Ok(Some(Arc::new(check))),
        Err(words) => {
            let origin = health.origins.section();
            Err(Diagnostic::error("health", origin, words))
        }
    }
}

/// How clients find the server again that they were with.
fn sticky(backend: &Backend, servers: &[Arc<ServerPlan>]) -> Option<Sticky> {
    let sticky = backend.sticky.as_ref()?;
    let dynamic = sticky.dynamic_key.as_deref();
    let named = dynamic.is_some() || servers.iter().any(|server| server.cookie.is_some());
    if named {
        let tokens = servers.iter().map(|server| {
            let made = || dynamic.and_then(|key| dynamic_cookie(server.address.as_str(), key));
            server.cookie.clone().or_else(made).unwrap_or_default()
        });
        return Some(Sticky::with_tokens(sticky.policy(), tokens));
    }
    let secret = hash::stable(backend.name.as_str().as_bytes());
    let addresses = servers.iter().map(|s| s.address.as_str());
    Some(Sticky::new(sticky.policy(), secret, addresses))
}

/// How requests name its servers.
fn by_request(
    backend: &Backend,
    named: &Definitions,
    index: &Map<&str, usize>,
) -> Option<Arc<ByRequestPlan>> {
    let by_request = backend.by_request.as_ref()?;
    Some(Arc::new(ByRequestPlan {
        variable: Name::new(SERVER_FROM),
        words: words_of(by_request, named),
        backends: leads(by_request, index),
        settings: by_request.clone(),
    }))
}

/// The text that names the server, for connections at layer 4; none where only requests can say it.
pub(super) fn words_of(by_request: &ByRequest, named: &Definitions) -> Option<Words> {
    let template = Template::parse(by_request.to.as_str()).ok()?;
    Words::compile(&template, named).ok()
}

/// The cookie of a server by its address and a key, as HAProxy makes it: XXH64 over the key, the
/// address, and the port in four bytes, the highest first.
fn dynamic_cookie(address: &str, key: &str) -> Option<String> {
    let address: SocketAddr = address.parse().ok()?;
    let mut bytes = key.as_bytes().to_vec();
    match address.ip() {
        std::net::IpAddr::V4(ip) => bytes.extend_from_slice(&ip.octets()),
        std::net::IpAddr::V6(ip) => bytes.extend_from_slice(&ip.octets()),
    }
    bytes.extend_from_slice(&u32::from(address.port()).to_be_bytes());
    Some(format!("{:016x}", hash::xxh64(&bytes)))
}

/// The value that requests are told apart by, compiled.
fn hash_value(backend: &Backend, named: &Definitions) -> Result<Option<Value>, Diagnostic> {
    let HashKey::Value(fetch) = &backend.hash_key else {
        return Ok(None);
    };
    let value = Fetch::parse(fetch).and_then(|fetch| Value::compile(&fetch, named));
    value.map(Some).map_err(|words| {
        let origin = backend.origins.field_or_section("hash_key");
        Diagnostic::error("hash_key", origin, words)
    })
}

/// What servers of FastCGI and the like get.
fn cgi(backend: &Backend) -> Option<Arc<CgiPlan>> {
    let dialect = match backend.protocol {
        ServerProtocol::Fastcgi => Dialect::Fastcgi,
        ServerProtocol::Scgi => Dialect::Scgi,
        ServerProtocol::Uwsgi => Dialect::Uwsgi,
        ServerProtocol::Http1 | ServerProtocol::H2 | ServerProtocol::Auto => return None,
    };
    let params = backend.all_params().into_iter().map(|(name, _)| {
        let variable = Name::new(&Backend::param_variable(name.as_str()));
        let is_optional = backend.optional_params.contains(&name);
        (name.as_str().to_owned(), variable, is_optional)
    });
    Some(Arc::new(CgiPlan {
        dialect,
        keeps: backend.keepalive.max_idle > 0,
        params: params.collect(),
    }))
}

impl ByRequestPlan {
    /// Whether the backends that names lead to stand at the same places.
    fn leads_as(&self, index: &Map<&str, usize>) -> bool {
        self.backends == leads(&self.settings, index)
    }
}

/// The places of the backends that names lead to.
fn leads(by_request: &ByRequest, index: &Map<&str, usize>) -> Map<Vec<u8>, usize> {
    let place = |(name, backend): &(Token, Identifier)| {
        let place = *index.get(backend.as_str())?;
        Some((name.as_str().as_bytes().to_vec(), place))
    };
    by_request.backends.iter().filter_map(place).collect()
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// The addresses of a configured server as they are known now.
fn find_places<'a>(
    server: &'a Server,
    names: &Names,
    places: &mut Vec<Place<'a>>,
    empty_because: &mut FaultKind,
) {
    let literal = match &server.address {
        ServerAddress::Ip(socket) => Some(Target::Ip(*socket)),
        ServerAddress::Unix(path) => Some(Target::Unix(PathBuf::from(path))),
        ServerAddress::Name { .. } | ServerAddress::Srv { .. } => None,
    };
    if let Some(target) = literal {
        return places.push(Place {
            server,
            target,
            weight: server.weight,
            priority: 0,
        });
    }
    let Some(question) = Question::of(&server.address) else {
        return;
    };
    *empty_because = FaultKind::NameUnresolved;
    let Some(answer) = names.get(&question) else {
        return;
    };
    if let Some((kind, _)) = &answer.trouble {
        *empty_because = *kind;
    }
    for address in &answer.addresses {
        let target = Target::Ip(address.socket);
        if places.iter().all(|place| place.target != target) {
            let weight = server.weight.saturating_mul(address.weight);
            places.push(Place {
                server,
                target,
                weight,
                priority: address.priority,
            });
        }
    }
}

/// The servers of a backend; those that have not changed keep their plans, and so their pools.
fn server_plans(
    backend: &Backend,
    named: &Definitions,
    (places, tls): (&[Place<'_>], Option<&Arc<BackendTlsPlan>>),
    board: &mut Board,
    before: Option<&Arc<BackendPlan>>,
) -> Result<Vec<Arc<ServerPlan>>, Diagnostic> {
    let known: Map<Name, &Arc<ServerPlan>> = before
        .iter()
        .flat_map(|b| &b.servers)
        .map(|s| (s.address, s))
        .collect();
    let mut servers = Vec::with_capacity(places.len());
    let mut taken: Set<Name> = Set::default();
    for place in places {
        let mut address = Name::new(&place.target.to_string());
        // Of several servers at one address the later ones are known by their names too.
        if !taken.insert(address) {
            address = Name::new(&format!("{} {}", place.target, place.server.label()));
        }
        let mut plan = server_plan(backend, address, place, board);
        if let Some(settings) = backend.tls_of(place.server) {
            let protocol = backend.protocol_of(place.server);
            let tls = match (&place.server.tls, tls) {
                (None, Some(shared)) if protocol == backend.protocol => Arc::clone(shared),
                _ => {
                    let old = own_tls(before, place.server, known.get(&address).copied());
                    tls::backend(settings, protocol, named, old)?
                }
            };
            let name = tls::name_of(settings, place.server, &place.target)?;
            plan.tls = Some((tls, name));
        }
        servers.push(match known.get(&plan.address) {
            Some(old) if plan.is_same(old) => Arc::clone(old),
            _ => Arc::new(plan),
        });
    }
    Ok(servers)
}

/// What was compiled before of the TLS that a server has for itself.
fn own_tls<'a>(
    before: Option<&'a Arc<BackendPlan>>,
    server: &Server,
    plan: Option<&'a Arc<ServerPlan>>,
) -> Option<(&'a Backend, &'a BackendTls, &'a Arc<BackendTlsPlan>)> {
    let config = &before?.config;
    let mut servers = config.servers.iter();
    let old = servers.find(|old| old.address == server.address && old.name == server.name)?;
    let (tls, _) = plan?.tls.as_ref()?;
    Some((config, old.tls.as_ref()?.on()?, tls))
}

fn server_plan(
    backend: &Backend,
    address: Name,
    place: &Place<'_>,
    board: &mut Board,
) -> ServerPlan {
    let server = place.server;
    let name = Name::new(backend.name.as_str());
    let weight = place.weight();
    let flags = match server.state {
        ServerState::Ready => 0,
        ServerState::Drain => DRAIN,
        ServerState::Maintenance => MAINTENANCE,
    };
    let entry = board.server((name, address), weight, flags);
    ServerPlan {
        backend: name,
        name: server.name.as_ref().map_or_else(
            || {
                if matches!(server.address, ServerAddress::Ip(_)) {
                    address
                } else {
                    Name::new(&server.label())
                }
            },
            |own| Name::new(own.as_str()),
        ),
        address,
        target: place.target.clone(),
        source: backend.source_address,
        key: server_key(address),
        weight,
        tier: place.tier(),
        maxconn: backend.maxconn_of(server),
        state: flags,
        slow_start: backend.slow_start_of(server),
        checked: server.checked,
        watch: Arc::new(watch(backend, server)),
        cookie: server.cookie.clone(),
        send_proxy: match backend.send_proxy_of(server) {
            SendProxyConfig::Off => SendProxy::Off,
            SendProxyConfig::V1 => SendProxy::V1,
            SendProxyConfig::V2 => SendProxy::V2,
        },
        protocol: backend.protocol_of(server),
        tls: None,
        entry,
    }
}

/// How control looks after a server.
fn watch(backend: &Backend, server: &Server) -> WatchPlan {
    let track = server.track.as_deref().map(|text| {
        let (group, name) = text
            .split_once('/')
            .unwrap_or((backend.name.as_str(), text));
        (Name::new(group), Name::new(name))
    });
    let agent = server.agent.as_ref().map(|agent| AgentPlan {
        port: agent.port,
        ip: agent.address,
        interval: agent.interval,
        timeout: agent.interval,
        send: agent.send.clone().unwrap_or_default().into_bytes(),
    });
    WatchPlan {
        port: server.check_port,
        ip: server.check_address,
        agent,
        track,
        severs: server.close_on_down
            || server.backup && backend.servers.iter().any(|s| s.close_backups_on_up),
        cuts_when_down: server.close_on_down,
        cuts_backups_when_up: server.close_backups_on_up,
    }
}

fn headers(health: &Health) -> Vec<(String, String)> {
    let pairs = health.headers.0.iter();
    pairs.map(|(n, v)| (n.to_string(), v.to_string())).collect()
}

/// Where a check asks over HTTP/2: where requests do. On a port of its own a server that speaks
/// HTTP/2 alone has something simpler, unless TLS says otherwise.
fn http2_of(backend: &Backend, health: &Health) -> Http2 {
    let has_tls = backend.tls.is_some() && health.tls;
    match backend.protocol {
        ServerProtocol::Http1
        | ServerProtocol::Fastcgi
        | ServerProtocol::Scgi
        | ServerProtocol::Uwsgi => Http2::Never,
        ServerProtocol::H2 | ServerProtocol::Auto if has_tls => Http2::Agreed,
        ServerProtocol::H2 if health.port.is_none() => Http2::Always,
        ServerProtocol::H2 | ServerProtocol::Auto => Http2::Never,
    }
}

/// The steps of a script.
fn steps(health: &Health) -> Result<Vec<Step>, String> {
    health.steps.iter().map(step).collect()
}

fn step(step: &CheckStep) -> Result<Step, String> {
    let bytes =
        |text: &str| CheckStep::bytes(text).ok_or_else(|| format!("{text:?} is not hexadecimal"));
    if let Some(text) = &step.send {
        return Ok(Step::Send(text.clone().into_bytes()));
    }
    if let Some(text) = &step.send_hex {
        return bytes(text).map(Step::Send);
    }
    let what = match (&step.expect, &step.expect_hex) {
        (Some(Pattern::Text(text)), _) => Some(Sought::Bytes(text.clone().into_bytes())),
        (Some(Pattern::Regex(expression)), _) => Some(Sought::pattern(expression)?),
        (None, Some(text)) => Some(match step.at {
            Some(at) => Sought::At(usize::try_from(at).unwrap_or(0), bytes(text)?),
            None => Sought::Bytes(bytes(text)?),
        }),
        (None, None) => None,
    };
    Ok(match what {
        Some(what) => Step::Expect(Expect {
            what,
            absent: step.absent,
            least: usize::try_from(step.least_bytes).unwrap_or(0),
            tell: Tell {
                fault: match step.fail_as {
                    CheckFailure::Body => None,
                    CheckFailure::Status => Some(FaultKind::ProbeStatus),
                    CheckFailure::Tls => Some(FaultKind::ServerTlsProtocol),
                },
                passed: step.pass_words.clone(),
                failed: step.fail_words.clone(),
                status_at: step.status_at.and_then(|at| usize::try_from(at).ok()),
                status_bytes: usize::try_from(step.status_bytes).unwrap_or(0),
                words_at: step.words_at.and_then(|at| usize::try_from(at).ok()),
            },
        }),
        None => Step::Connect(Connect {
            port: step.port,
            tls: step.tls,
            proxy_header: step.send_proxy.map(proxy_header),
        }),
    })
}

fn proxy_header(header: SendProxyConfig) -> ProxyHeader {
    match header {
        SendProxyConfig::Off => ProxyHeader::Off,
        SendProxyConfig::V1 => ProxyHeader::V1,
        SendProxyConfig::V2 => ProxyHeader::V2,
    }
}

/// The active check of a backend's servers, or why there cannot be one.
fn check(backend: &Backend, health: &Health) -> Result<CheckPlan, String> {
    let kind = match health.kind {
        HealthKind::Tcp => probe::Kind::Tcp(Tcp),
        HealthKind::Http => {
            let mut settings = HttpSettings {
                method: health.method.to_string(),
                target: health.path.to_string(),
                host: health.host.as_ref().map(ToString::to_string),
                headers: headers(health),
                ..HttpSettings::default()
            };
            let ranges = health.expect.ranges();
            if !ranges.is_empty() {
                settings.expect = ranges.iter().copied().collect();
            }
            settings.body = match &health.body {
                None => None,
                Some(Pattern::Text(text)) => Some(BodyMatch::Text(text.clone())),
                Some(Pattern::Regex(expression)) => Some(BodyMatch::pattern(expression)?),
            };
            settings.body_absent = health.body_absent;
            probe::Kind::Http(Http::new(settings)?)
        }
        HealthKind::Script => probe::Kind::Script(Script::new(steps(health)?)?),
        HealthKind::Grpc => probe::Kind::Grpc(Grpc::new(GrpcSettings {
            service: health.grpc.clone().unwrap_or_default(),
            host: health.host.as_ref().map(ToString::to_string),
            headers: headers(health),
        })?),
    };
    let mut probe = Probe::new(kind);
    probe.http2 = match health.kind {
        HealthKind::Tcp | HealthKind::Script => Http2::Never,
        HealthKind::Http => http2_of(backend, health),
        HealthKind::Grpc => Http2::Always,
    };
    probe.source = backend.source_address;
    probe.proxy_header = proxy_header(backend.send_proxy);
    Ok(CheckPlan {
        policy: health.policy(),
        probe,
        timeout: health.timeout,
        port: health.port,
        tls: health.tls,
        drain_on: health
            .drain_on
            .as_ref()
            .map(|statuses| statuses.ranges().iter().copied().collect()),
        observe: health.observe,
        error_limit: health.error_limit.max(1),
        on_error: health.on_error,
    })
}
