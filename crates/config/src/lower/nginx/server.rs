//! `server`: addresses become listeners, names decide which routes hold.

use std::time::Duration;

use super::super::notes::Notes;
use super::location::{self, Common, Work};
use super::rewrite::{self, Rules};
use super::turns::{Before, Turn, captured, numbered, turns};
use super::values::Names;
use super::{Http, absolute, text_of};
use crate::diagnostic::Origins;
use crate::lower::build::all_of;
use crate::model::{
    Bind, CertificateFiles, ClientCertificates, Condition, Config, ErrorKey, ErrorPage, Forwarding,
    HostPattern, Identifier, Listener, ListenerTls, OrOff, ProxyProtocol, Route, Rule, TlsProfile,
    Tolerated, XForwarded,
};
use crate::survey::nginx::scope::Scope;
use crate::survey::units;
use crate::syntax::nginx::Directive;
use crate::value::Text;

/// A server with where it listens.
pub(super) struct Server<'a> {
    pub(super) directive: &'a Directive,
    pub(super) scope: Scope<'a>,
    pub(super) names: Names,
    seats: Vec<Seat>,
    /// The names it is asked for by.
    pub(super) hosts: Vec<String>,
}

/// One `listen`.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent words of `listen`"
)]
struct Seat {
    bind: Bind,
    is_tls: bool,
    is_default: bool,
    http2: bool,
    proxy_protocol: bool,
    backlog: Option<u32>,
}

/// Servers that share addresses.
struct Group {
    binds: Vec<Bind>,
    seat: Seat,
    /// Their places, the default first.
    servers: Vec<usize>,
}

pub(super) fn read<'a>(
    directive: &'a Directive,
    scope: &Scope<'a>,
    names: &Names,
    config: &mut Config,
    notes: &mut Notes,
) -> Server<'a> {
    let scope = scope.inside(directive.inner());
    let mut names = names.clone();
    super::learn(directive.inner(), &mut names);
    for pattern in directive
        .inner()
        .iter()
        .filter(|inner| inner.is("server_name"))
        .flat_map(Directive::texts)
        .filter_map(|name| name.strip_prefix('~'))
    {
        let mut own = Names::default();
        own.learn_groups(pattern);
        names.variables.extend(own.groups.into_keys());
    }
    let mut seats = Vec::new();
    for listen in directive.inner().iter().filter(|inner| inner.is("listen")) {
        notes.begin(listen.origin(), text_of(listen));
        match seat(listen, &scope, notes) {
            Ok(seat) => seats.extend(seat),
            Err(message) => notes.refused(message),
        }
    }
    if !directive.inner().iter().any(|inner| inner.is("listen")) {
        seats.push(Seat::at(Bind::Ip {
            address: ([0, 0, 0, 0], 80).into(),
            dual: false,
        }));
    }
    let named = directive
        .inner()
        .iter()
        .filter(|inner| inner.is("server_name"));
    let hosts: Vec<String> = named
        .flat_map(Directive::texts)
        .map(str::to_owned)
        .collect();
    names.constants.insert(
        "server_name".to_owned(),
        hosts.first().cloned().unwrap_or_default(),
    );
    names.hosts.clone_from(&hosts);
    names.on_unix = seats
        .iter()
        .any(|seat: &Seat| matches!(seat.bind, Bind::Unix { .. }));
    super::learn_place(&scope, None, &mut names);
    let referers = scope.all("valid_referers");
    if let Err(message) = super::tables::referers(&referers, &hosts, &mut names, config) {
        notes.refused(message);
    }
    Server {
        directive,
        scope,
        names,
        seats,
        hosts,
    }
}

impl Seat {
    fn at(bind: Bind) -> Self {
        Self {
            bind,
            is_tls: false,
            is_default: false,
            http2: false,
            proxy_protocol: false,
            backlog: None,
        }
    }
}

fn seat(
    directive: &Directive,
    scope: &Scope<'_>,
    notes: &mut Notes,
) -> Result<Option<Seat>, String> {
    let mut words = directive.texts();
    let bind = address(words.next().unwrap_or_default())?;
    let mut seat = Seat::at(bind);
    seat.http2 = scope.flag("http2", false).value;
    seat.is_tls = scope.flag("ssl", false).value;
    for word in words {
        let (name, text) = word.split_once('=').unwrap_or((word, ""));
        match name {
            "ssl" => seat.is_tls = true,
            "default_server" | "default" => seat.is_default = true,
            "http2" => seat.http2 = true,
            "proxy_protocol" => seat.proxy_protocol = true,
            "backlog" => seat.backlog = text.parse().ok(),
            "ipv6only" => {
                if let Bind::Ip { dual, .. } = &mut seat.bind {
                    *dual = text == "off";
                }
            }
            "quic" | "http3" => {
                notes.harmless("HTTP/3 is not spoken, nor is it promised");
                return Ok(None);
            }
            "reuseport" | "deferred" | "fastopen" | "setfib" | "so_keepalive" | "rcvbuf"
            | "sndbuf" | "bind" | "accept_filter" | "spdy" => {
                notes.harmless(format!("{name}: a matter of speed"));
            }
            other => notes.refused(format!("{other:?} is not known here")),
        }
    }
    Ok(Some(seat))
}

/// An address of `listen`.
pub(super) fn address(text: &str) -> Result<Bind, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        return Ok(Bind::Unix {
            path: path.into(),
            mode: Some(0o666),
        });
    }
    let at = |ip: std::net::IpAddr, port| Bind::Ip {
        address: std::net::SocketAddr::new(ip, port),
        dual: false,
    };
    let any = std::net::Ipv4Addr::UNSPECIFIED.into();
    if let Ok(port) = text.parse::<u16>() {
        return Ok(at(any, port));
    }
    let (host, port) = units::host_and_port(text);
    let port = if port == 0 && !text.ends_with(":0") {
        80
    } else {
        port
    };
    match host.as_str() {
        "*" | "" => Ok(at(any, port)),
        "localhost" => Ok(at(std::net::Ipv4Addr::LOCALHOST.into(), port)),
        host => match host.parse() {
            Ok(ip) => Ok(at(ip, port)),
            Err(_) => Err(format!("{host:?} is not an address of this host")),
        },
    }
}

/// Puts all servers into the model.
pub(super) fn emit(
    servers: &[Server<'_>],
    http: &Http<'_>,
    config: &mut Config,
    notes: &mut Notes,
) {
    for group in groups(servers) {
        let Some(name) = group.binds.first().and_then(name_of) else {
            continue;
        };
        let members: Vec<&Server<'_>> = group
            .servers
            .iter()
            .filter_map(|at| servers.get(*at))
            .collect();
        let listener = listener(name.clone(), &group, &members);
        config.listeners.push(listener);
        one_word_of_clients(&members, notes);
        let mut before = Before::default();
        let clients = Clients::of(&members, notes);
        if let (Clients::Alike(Some(client)), Some(listener)) =
            (&clients, config.listeners.last_mut())
        {
            listener.rules.push(*client.clone());
        }
        for turn in turns(&members) {
            let Some(server) = members.get(turn.member) else {
                continue;
            };
            let mut common = Common {
                first: config.routes.len(),
                finds_client: clients.finds(turn.member),
                route: Route {
                    when: turn.condition.clone(),
                    ..Route::default()
                },
                names: server.names.clone(),
            };
            if let Some(captures) = numbered(server, &turn) {
                common.route.when = all_of(vec![common.route.when, captures]);
            }
            common.route.matching.listeners = vec![name.clone()];
            common.route.matching.host = turn.hosts.clone();
            let mut rules = Rules::default();
            rewrite::read(server.directive.inner(), &server.names, &mut rules, notes);
            let answer = rules.answers().then(|| std::mem::take(&mut rules.rules));
            let mut answers = Vec::new();
            if let Some(listener) = config.listeners.last_mut() {
                listener
                    .rules
                    .extend(clients.own(turn.member, &turn, &before));
                listener.rules.extend(captured(server, &turn, &before));
                if !rules.rules.is_empty() {
                    let is_for = before.and_now(&turn);
                    answers = rewrite::to_answers(&mut rules.rules);
                    listener.rules.extend(first_phase(rules.rules, &is_for));
                }
            }
            before.add(&turn);
            let mut work = Work {
                common: &common,
                http,
                config: &mut *config,
                notes: &mut *notes,
            };
            match answer {
                Some(answer) => {
                    location::whole(server.directive, &server.scope, answer, &mut work);
                }
                None if rules.ends => {}
                None => location::routes(server.directive, &server.scope, &mut work),
            }
            for answer in answers {
                location::answer(server.directive, &server.scope, answer, &mut work);
            }
        }
    }
}

/// Refuses servers of a port that say different things of certificates of clients: the listener asks for them before
/// it knows which server is meant, and one word would hold for all.
fn one_word_of_clients(members: &[&Server<'_>], notes: &mut Notes) {
    let secure = members.iter().filter(|server| {
        let mut listens = server.directive.inner().iter().filter(|d| d.is("listen"));
        listens.any(|listen| listen.texts().any(|word| word == "ssl"))
    });
    let words: Vec<_> = secure
        .map(|server| server.scope.find("ssl_verify_client"))
        .collect();
    let text = |found: &Option<&Directive>| {
        let word = found.and_then(|directive| directive.argument(0));
        word.unwrap_or("off").to_owned()
    };
    let first = words.first().map(text);
    if words.iter().all(|found| Some(text(found)) == first) {
        return;
    }
    for directive in words.into_iter().flatten() {
        notes.begin(directive.origin(), text_of(directive));
        notes.refused("other servers of the port say something else of certificates of clients");
    }
}

/// Who the clients are by what servers of a listener say.
enum Clients {
    /// It is the same for all servers.
    Alike(Option<Box<Rule>>),
    /// Each by itself.
    Apart(Vec<Option<Rule>>),
}

impl Clients {
    fn of(members: &[&Server<'_>], notes: &mut Notes) -> Self {
        let rules = members.iter();
        let mut rules: Vec<Option<Rule>> = rules
            .map(|server| super::access::real_ip(&server.scope, notes))
            .collect();
        match rules.split_first() {
            Some((first, rest)) if rest.iter().all(|other| other == first) => {
                Self::Alike(rules.swap_remove(0).map(Box::new))
            }
            Some(_) => Self::Apart(rules),
            None => Self::Alike(None),
        }
    }

    /// Whether a server finds out by itself who the client is.
    fn finds(&self, member: usize) -> bool {
        match self {
            Self::Alike(rule) => rule.is_some(),
            Self::Apart(rules) => rules.get(member).is_some_and(Option::is_some),
        }
    }

    /// The rule of one server alone, where they differ.
    fn own(&self, member: usize, turn: &Turn, before: &Before) -> Option<Rule> {
        let Self::Apart(rules) = self else {
            return None;
        };
        let mut rule = rules.get(member)?.clone()?;
        rule.when = before.and_now(turn);
        Some(rule)
    }
}

/// Rules of a server that come before a location is looked for.
fn first_phase(rules: Vec<Rule>, is_for: &Condition) -> impl Iterator<Item = Rule> {
    rules.into_iter().map(move |mut rule| {
        rule.when = all_of(vec![is_for.clone(), rule.when]);
        // A location is looked for anyway.
        if rule.actions.reroute {
            rule.actions.reroute = false;
            rule.actions.finish = true;
        }
        rule
    })
}

/// Addresses with the same servers are one listener.
fn groups(servers: &[Server<'_>]) -> Vec<Group> {
    let mut places: Vec<(Bind, Vec<(usize, Seat)>)> = Vec::new();
    for (index, server) in servers.iter().enumerate() {
        for seat in &server.seats {
            match places
                .iter_mut()
                .find(|(bind, _)| same_place(bind, &seat.bind))
            {
                Some((_, members)) => members.push((index, seat.clone())),
                None => places.push((seat.bind.clone(), vec![(index, seat.clone())])),
            }
        }
    }
    let mut groups: Vec<Group> = Vec::new();
    for (bind, members) in places {
        let default = members
            .iter()
            .position(|(_, seat)| seat.is_default)
            .unwrap_or(0);
        let mut order: Vec<usize> = members.iter().map(|(index, _)| *index).collect();
        order.dedup();
        if let Some((first, _)) = members.get(default) {
            let first = *first;
            order.retain(|index| *index != first);
            order.insert(0, first);
        }
        let Some((_, first)) = members.first() else {
            continue;
        };
        let mut seat = first.clone();
        seat.is_tls = members.iter().any(|(_, seat)| seat.is_tls);
        seat.http2 = members.iter().any(|(_, seat)| seat.http2);
        let same = groups.iter_mut().find(|group| {
            group.servers == order
                && group.seat.is_tls == seat.is_tls
                && group.seat.http2 == seat.http2
                && group.seat.proxy_protocol == seat.proxy_protocol
        });
        match same {
            Some(group) => group.binds.push(bind),
            None => groups.push(Group {
                binds: vec![bind],
                seat,
                servers: order,
            }),
        }
    }
    groups
}

fn same_place(a: &Bind, b: &Bind) -> bool {
    match (a, b) {
        (Bind::Ip { address: a, .. }, Bind::Ip { address: b, .. }) => a == b,
        (Bind::Unix { path: a, .. }, Bind::Unix { path: b, .. }) => a == b,
        _ => false,
    }
}

/// The name of a listener by its first address.
pub(super) fn name_of(bind: &Bind) -> Option<Identifier> {
    let name = match bind {
        Bind::Ip { address, .. } if address.ip().is_unspecified() && address.is_ipv4() => {
            format!("port-{}", address.port())
        }
        Bind::Ip { address, .. } => address.to_string().replace(['[', ']'], ""),
        Bind::Inherited(fd) => format!("fd-{fd}"),
        Bind::Unix { path, .. } => path
            .display()
            .to_string()
            .replace(|c: char| !c.is_ascii_alphanumeric(), "_"),
    };
    Identifier::parse(&name).ok()
}

fn listener(name: Identifier, group: &Group, members: &[&Server<'_>]) -> Listener {
    let first = members.first();
    let scope = first.map(|server| server.scope.clone()).unwrap_or_default();
    let minute = Duration::from_secs(60);
    let mut listener = Listener {
        name,
        bind: group.binds.clone(),
        http2: group.seat.http2,
        tls: group.seat.is_tls.then(|| {
            let places = members
                .iter()
                .map(|server| (server.directive, &server.scope));
            tls(&places.collect::<Vec<_>>())
        }),
        proxy_protocol: if group.seat.proxy_protocol {
            ProxyProtocol::Accept
        } else {
            ProxyProtocol::Off
        },
        forwarded: Forwarding {
            x_forwarded: XForwarded::Keep,
            via: OrOff::Off,
            ..Forwarding::default()
        },
        errors: super::upstream::no_live(),
        origins: Origins::new(
            first
                .map(|server| server.directive.origin())
                .unwrap_or_default(),
        ),
        ..Listener::default()
    };
    if group.seat.proxy_protocol {
        listener.trusted = everybody();
    }
    // The status after which NGINX closes: what went wrong may have been about the connection.
    listener.close_after = vec![400, 413, 414, 500, 501];
    listener.tolerate = vec![
        Tolerated::BareLf,
        Tolerated::WideTargets,
        Tolerated::AnyBytes,
        Tolerated::ExtraSpaces,
    ];
    // Who is too slow hears nothing.
    if let Ok(key) = ErrorKey::parse("408") {
        let page = ErrorPage {
            drop: true,
            ..ErrorPage::default()
        };
        listener.errors.0.push((key, page));
    }
    let once = scope.find("keepalive_requests");
    let once = once.and_then(|found| found.argument(0)) == Some("1");
    let kept = scope.time("keepalive_timeout", Duration::from_secs(75));
    listener.close = once || kept.value.is_zero();
    if group.seat.proxy_protocol {
        let origin = listener.origins.section().clone();
        listener.rules.push(super::access::connected(&origin));
    }
    if let Some(backlog) = group.seat.backlog {
        listener.backlog = backlog;
    }
    listener.timeouts.client_idle = Some(
        scope
            .time("keepalive_timeout", Duration::from_secs(75))
            .value,
    );
    listener.timeouts.request_head = Some(scope.time("client_header_timeout", minute).value);
    listener.timeouts.tls_handshake = Some(scope.time("client_header_timeout", minute).value);
    let buffers = scope.find("large_client_header_buffers");
    let number = buffers
        .and_then(|d| d.argument(0)?.parse::<u64>().ok())
        .unwrap_or(4);
    let size = buffers
        .and_then(|d| units::size(d.argument(1)?))
        .unwrap_or(8 << 10);
    let clamp = |bytes: u64| usize::try_from(bytes.clamp(1_024, 65_536)).unwrap_or(65_536);
    listener.limits.request_line = Some(clamp(size));
    listener.limits.header_bytes = Some(clamp(size.saturating_mul(number)));
    listener
}

/// All addresses.
pub(super) fn everybody() -> Vec<ipnet::IpNet> {
    let all = ["0.0.0.0/0", "::/0"].iter();
    all.filter_map(|net| net.parse().ok()).collect()
}

/// TLS as the servers of an address speak it, the default first.
pub(super) fn tls(members: &[(&Directive, &Scope<'_>)]) -> ListenerTls {
    let mut tls = ListenerTls {
        origins: Origins::new(
            members
                .first()
                .map(|(directive, _)| directive.origin())
                .unwrap_or_default(),
        ),
        ..ListenerTls::default()
    };
    for (_, scope) in members {
        let certificates = scope.all("ssl_certificate");
        let keys = scope.all("ssl_certificate_key");
        for (certificate, key) in certificates
            .iter()
            .zip(keys.iter().map(Some).chain(std::iter::repeat(None)))
        {
            let path = certificate.argument(0).unwrap_or_default();
            let key = key
                .and_then(|key| key.argument(0))
                .filter(|key| *key != path);
            let mut origins = Origins::new(certificate.origin());
            origins.set("certificate", certificate.origin());
            let files = CertificateFiles {
                certificate: absolute(path),
                key: key.map(absolute),
                origins,
                ..CertificateFiles::default()
            };
            if !tls.certificates.contains(&files) {
                tls.certificates.push(files);
            }
        }
        if let Some(ca) = scope
            .find("ssl_client_certificate")
            .and_then(|d| d.argument(0))
        {
            let verify = scope.text("ssl_verify_client").map(|found| found.value);
            if let Some(verify) = verify.filter(|verify| verify != "off") {
                tls.client_certificates = Some(ClientCertificates {
                    ca: absolute(ca),
                    crl: scope
                        .find("ssl_crl")
                        .and_then(|d| d.argument(0))
                        .map(absolute),
                    optional: verify != "on",
                    ..ClientCertificates::default()
                });
            }
        }
    }
    let scope = members
        .first()
        .map(|(_, scope)| (*scope).clone())
        .unwrap_or_default();
    if let Some(protocols) = scope.find("ssl_protocols") {
        let words: Vec<&str> = protocols.texts().collect();
        if words.contains(&"TLSv1.3") && !words.iter().any(|word| *word != "TLSv1.3") {
            tls.profile = TlsProfile::Modern;
        }
    }
    tls.resumption = scope.flag("ssl_session_tickets", true).value;
    tls.early_data = scope.flag("ssl_early_data", false).value;
    tls.strict_names = scope.flag("ssl_reject_handshake", false).value;
    for (directive, scope) in members.iter().skip(1) {
        if scope.flag("ssl_reject_handshake", false).value {
            let named = directive
                .inner()
                .iter()
                .filter(|inner| inner.is("server_name"));
            let names = named.flat_map(Directive::texts);
            tls.refused_names
                .extend(names.filter_map(|name| HostPattern::parse(name).ok()));
        }
    }
    tls
}
