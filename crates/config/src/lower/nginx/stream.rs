//! `stream`: servers of bytes become listeners of mode tcp.
//!
//! Who may come in, what is answered, and which servers a map chooses become ways through the listener
//! ([`Passthrough`]), in NGINX's order. What is said of one server's connections to its backend becomes
//! settings of a backend of its own.

mod table;

use std::time::Duration;

use clearway_rules::ast::Fetch;

use super::super::notes::Notes;
use super::upstream::{self, Target};
use super::values::{self, Names};
use super::{logs, server, text_of};
use crate::diagnostic::Origins;
use crate::lower::build::{all_of, not, test_of, value};
use crate::model::{
    Backend, Bind, BodyText, Condition, Config, Identifier, Listener, Map, Match, Mode, OrOff,
    Passthrough, ProxyProtocol, Retries, RetryOn, SendProxy, TemplateText, Token,
};
use crate::survey::nginx::scope::Scope;
use crate::survey::units;
use crate::syntax::nginx::Directive;
use crate::value::Text;

/// More ways than this are not made of one map.
const WAYS_MAX: usize = 1_000;

/// Says what becomes of every directive by its name.
pub(super) fn judge(block: &[Directive], notes: &mut Notes) {
    for directive in block {
        notes.begin(directive.origin(), text_of(directive));
        let name = directive.name.text.as_str();
        super::note(name, directive, table::fate(name), notes);
        if matches!(name, "server" | "upstream") {
            judge(directive.inner(), notes);
        }
    }
}

/// Puts the servers of a block into the model.
pub(super) fn lower(
    block: &[Directive],
    outside: &Scope<'_>,
    config: &mut Config,
    notes: &mut Notes,
) {
    let scope = outside.inside(block);
    let mut names = Names {
        is_stream: true,
        ..Names::default()
    };
    super::tables::read_all(block, &mut names, config, notes);
    let upstreams: Vec<&Directive> = block.iter().filter(|found| found.is("upstream")).collect();
    for directive in block.iter().filter(|found| found.is("server")) {
        let scope = scope.inside(directive.inner());
        let mut names = names.clone();
        let mut work = Work {
            directive,
            scope: &scope,
            upstreams: &upstreams,
            config: &mut *config,
            notes: &mut *notes,
        };
        work.set(&mut names);
        work.server(&names);
    }
}

/// Addresses of a server that are listened on alike.
struct Seat {
    binds: Vec<Bind>,
    is_tls: bool,
    proxy_protocol: bool,
    backlog: Option<u32>,
}

/// One server on its way into the model.
struct Work<'a, 'b> {
    directive: &'a Directive,
    scope: &'b Scope<'a>,
    upstreams: &'b [&'a Directive],
    config: &'b mut Config,
    notes: &'b mut Notes,
}

impl Work<'_, '_> {
    /// What `set` gives a value: a constant, or a map that has nothing but its default.
    fn set(&mut self, names: &mut Names) {
        for directive in self
            .directive
            .inner()
            .iter()
            .filter(|found| found.is("set"))
        {
            let (Some(name), Some(text)) = (directive.argument(0), directive.argument(1)) else {
                continue;
            };
            let name = name.trim_start_matches('$').to_owned();
            if let Some(constant) = values::constant(text, names) {
                names.constants.insert(name, constant);
                continue;
            }
            let made = values::template(text, names).and_then(|text| {
                let name = super::tables::map_name(&name, names, self.config);
                let name = Identifier::parse(&name).map_err(|problem| problem.message)?;
                Ok(Map {
                    name,
                    default: Some(text),
                    key: TemplateText::default(),
                    ..Map::default()
                })
            });
            match made {
                Ok(map) => {
                    names.maps.insert(name, map.name.to_string());
                    self.config.maps.push(map);
                }
                Err(message) => {
                    self.notes.begin(directive.origin(), text_of(directive));
                    self.notes.refused(message);
                }
            }
        }
    }

    fn server(&mut self, names: &Names) {
        let seats = self.seats();
        let mut ways = self.access();
        let backend = self.destination(names, &mut ways);
        let logs = logs::of(self.scope, names, self.notes);
        for seat in seats {
            let Some(name) = seat.binds.first().and_then(server::name_of) else {
                continue;
            };
            let mut listener = Listener {
                name,
                bind: seat.binds,
                mode: Mode::Tcp,
                backend: backend.clone(),
                fallback: false,
                passthrough: ways.clone(),
                access_logs: Some(logs.clone().unwrap_or_default()),
                tls: seat
                    .is_tls
                    .then(|| server::tls(&[(self.directive, self.scope)])),
                origins: Origins::new(self.directive.origin()),
                ..Listener::default()
            };
            if seat.proxy_protocol {
                listener.proxy_protocol = ProxyProtocol::Accept;
                listener.trusted = server::everybody();
            }
            if let Some(backlog) = seat.backlog {
                listener.backlog = backlog;
            }
            self.settle(&mut listener);
            self.config.listeners.push(listener);
        }
    }

    /// Where it listens.
    fn seats(&mut self) -> Vec<Seat> {
        let mut seats: Vec<Seat> = Vec::new();
        let listens = self.directive.inner().iter();
        for directive in listens.filter(|found| found.is("listen")) {
            self.notes.begin(directive.origin(), text_of(directive));
            let seat = match seat(directive, self.notes) {
                Ok(seat) => seat,
                Err(message) => {
                    self.notes.refused(message);
                    continue;
                }
            };
            let same = seats.iter_mut().find(|known| {
                (known.is_tls, known.proxy_protocol, known.backlog)
                    == (seat.is_tls, seat.proxy_protocol, seat.backlog)
            });
            match same {
                Some(known) => known.binds.extend(seat.binds),
                None => seats.push(seat),
            }
        }
        seats
    }

    /// `allow` and `deny`: the first that names the client decides.
    fn access(&mut self) -> Vec<Passthrough> {
        let is_one = |found: &&Directive| found.is("allow") || found.is("deny");
        let level = self
            .scope
            .levels()
            .find(|level| level.iter().copied().any(|d| is_one(&d)));
        let mut ways = Vec::new();
        let mut allowed: Vec<Condition> = Vec::new();
        for directive in level.unwrap_or_default().iter().copied().filter(is_one) {
            self.notes.begin(directive.origin(), text_of(directive));
            let whom = match clients(directive.argument(0).unwrap_or_default()) {
                Ok(whom) => whom,
                Err(message) => {
                    self.notes.refused(message);
                    continue;
                }
            };
            if directive.is("allow") {
                if whom == Condition::default() {
                    break;
                }
                allowed.push(whom);
                continue;
            }
            let mut all: Vec<Condition> = allowed.iter().cloned().map(not).collect();
            all.push(whom);
            ways.push(Passthrough {
                reject: true,
                ..way(all_of(all), directive)
            });
        }
        ways
    }

    /// Where its connections go: the backend, and ways to others.
    fn destination(&mut self, names: &Names, ways: &mut Vec<Passthrough>) -> Option<Identifier> {
        let own = |name| self.directive.inner().iter().find(|found| found.is(name));
        let (directive, result) = if let Some(directive) = own("return") {
            let text = directive.argument(0).unwrap_or_default();
            (
                directive,
                reply(directive, text, names, ways).map(|()| None),
            )
        } else if let Some(directive) = own("proxy_pass") {
            let text = directive.argument(0).unwrap_or_default();
            (directive, self.pass(directive, text, names, ways))
        } else {
            self.notes
                .begin(self.directive.origin(), text_of(self.directive));
            self.notes
                .refused("a server without proxy_pass or return is not known here");
            return None;
        };
        match result {
            Ok(backend) => backend,
            Err(message) => {
                self.notes.begin(directive.origin(), text_of(directive));
                self.notes.refused(message);
                None
            }
        }
    }

    fn pass(
        &mut self,
        directive: &Directive,
        text: &str,
        names: &Names,
        ways: &mut Vec<Passthrough>,
    ) -> Result<Option<Identifier>, String> {
        if let Some(host) = values::constant(text, names) {
            return self.backend(&host).map(Some);
        }
        let unknown = || "the map has texts that depend on the connection".to_owned();
        let (variable, rest) = values::name(text.strip_prefix('$').unwrap_or_default());
        let Some(name) = names.maps.get(variable).filter(|_| rest.is_empty()) else {
            let backend = self.named(directive, text, names)?;
            ways.push(Passthrough {
                backend: Some(backend),
                ..way(Condition::default(), directive)
            });
            return Ok(None);
        };
        let known = self
            .config
            .maps
            .iter()
            .find(|map| map.name.as_str() == name);
        let map = known.ok_or_else(unknown)?;
        let constant = |text: &TemplateText| {
            let template = clearway_rules::ast::Template::parse(text.as_str()).ok()?;
            template.constant().map(str::to_owned)
        };
        let default = match &map.default {
            Some(text) => constant(text).ok_or_else(unknown)?,
            None => String::new(),
        };
        let mut hosts: Vec<String> = Vec::new();
        for entry in &map.entries {
            let host = constant(&entry.to).ok_or_else(unknown)?;
            if !host.is_empty() && host != default && !hosts.contains(&host) {
                hosts.push(host);
            }
        }
        if hosts.len() > WAYS_MAX {
            return Err("the map leads to too many servers".to_owned());
        }
        let fetch = Fetch::Map(name.clone());
        for host in hosts {
            let mut test = test_of(&fetch);
            test.is = vec![host.clone()];
            ways.push(Passthrough {
                backend: Some(self.backend(&host)?),
                ..way(value(test), directive)
            });
        }
        match default.as_str() {
            "" => Ok(None),
            host => self.backend(host).map(Some),
        }
    }

    /// The backend whose server each connection names: `$ssl_preread_server_name:443`.
    fn named(
        &mut self,
        directive: &Directive,
        text: &str,
        names: &Names,
    ) -> Result<Identifier, String> {
        let mut leads = Vec::new();
        let groups: Vec<String> = self
            .upstreams
            .iter()
            .filter_map(|block| block.argument(0).map(str::to_owned))
            .collect();
        for group in groups {
            if let Ok(name) = Token::parse(&group) {
                leads.push((name, self.backend(&group)?));
            }
        }
        let is_tls = self.scope.flag("proxy_ssl", false).value;
        let target = Target {
            words: &upstream::PROXY,
            is_tls,
            host: String::new(),
            uri: None,
        };
        let by_request = super::named::anywhere(directive, text, names, (self.scope, leads))?;
        let mut backend = Backend {
            by_request: Some(by_request),
            ejection: OrOff::Off,
            origins: Origins::new(directive.origin()),
            ..Backend::default()
        };
        backend.tls = is_tls.then(|| upstream::tls(self.scope, &target));
        let minute = Duration::from_secs(60);
        backend.timeouts.connect = Some(self.scope.time("proxy_connect_timeout", minute).value);
        if self.scope.flag("proxy_protocol", false).value {
            backend.send_proxy = SendProxy::V1;
        }
        upstream::put(backend, "by-request", self.config)
    }

    /// The backend for a name of `proxy_pass`: made when it is not there.
    fn backend(&mut self, host: &str) -> Result<Identifier, String> {
        let target = Target {
            words: &upstream::PROXY,
            is_tls: self.scope.flag("proxy_ssl", false).value,
            host: host.to_owned(),
            uri: None,
        };
        let mut blocks = self.upstreams.iter();
        let block = blocks.find(|found| found.argument(0) == Some(host));
        let mut backend = match block {
            Some(block) => upstream::from_block(block, self.notes),
            None if !host.starts_with("unix:") && units::host_and_port(host).1 == 0 => {
                return Err(format!("{host:?} has no port"));
            }
            None => upstream::alone(&target)?,
        };
        let minute = Duration::from_secs(60);
        backend.tls = target.is_tls.then(|| upstream::tls(self.scope, &target));
        if self.scope.flag("proxy_protocol", false).value {
            backend.send_proxy = SendProxy::V1;
        }
        let bind = self.scope.text("proxy_bind").map(|found| found.value);
        if let Some(address) = bind.filter(|text| text != "off") {
            let address = address
                .parse()
                .map_err(|_| format!("{address:?} is no address"))?;
            backend.source_address = Some(address);
        }
        backend.timeouts.connect = Some(self.scope.time("proxy_connect_timeout", minute).value);
        backend.retries = self.retries(&backend);
        upstream::put(backend, &upstream::name_of(&target), self.config)
    }

    fn retries(&self, backend: &Backend) -> Retries {
        let others = u32::try_from(backend.servers.len().saturating_sub(1)).unwrap_or(20);
        let tries = self.scope.find("proxy_next_upstream_tries");
        let tries = tries.and_then(|found| found.argument(0)?.parse::<u32>().ok());
        let is_on = self.scope.flag("proxy_next_upstream", true).value && others > 0;
        Retries {
            max: match tries {
                Some(0) | None => others,
                Some(tries) => tries.saturating_sub(1),
            }
            .min(20),
            on: if is_on {
                vec![RetryOn::Connect]
            } else {
                Vec::new()
            },
            budget: 10.0,
            ..Retries::default()
        }
    }

    /// Time-outs and limits.
    fn settle(&mut self, listener: &mut Listener) {
        let seconds = Duration::from_secs;
        let timeouts = &mut listener.timeouts;
        let tunnel = self.scope.time("proxy_timeout", seconds(600)).value;
        timeouts.tunnel = Some(tunnel);
        if self.scope.flag("proxy_half_close", false).value {
            timeouts.half_closed = Some(tunnel);
        }
        timeouts.tls_handshake = Some(if listener.tls.is_some() {
            self.scope.time("ssl_handshake_timeout", seconds(60)).value
        } else {
            self.scope.time("preread_timeout", seconds(30)).value
        });
        timeouts.proxy_header = Some(self.scope.time("proxy_protocol_timeout", seconds(30)).value);
        for directive in self.scope.all("limit_conn") {
            self.notes.begin(directive.origin(), text_of(directive));
            match self.connections(directive) {
                Ok(count) => listener.limits.connections_per_source = Some(count),
                Err(message) => self.notes.ineffective(message),
            }
        }
    }

    /// How many connections of a client `limit_conn` allows.
    fn connections(&self, directive: &Directive) -> Result<usize, String> {
        let zone = directive.argument(0).unwrap_or_default();
        let is_it = |text: &str| {
            let name = text
                .strip_prefix("zone=")
                .and_then(|text| text.split(':').next());
            name == Some(zone)
        };
        let mut zones = self.scope.everywhere("limit_conn_zone");
        let found = zones.find(|found| found.texts().any(is_it));
        let key = found
            .and_then(|found| found.argument(0))
            .unwrap_or_default();
        if !matches!(key, "$binary_remote_addr" | "$remote_addr") {
            return Err(format!(
                "connections are counted by address, not by {key:?}"
            ));
        }
        let count = directive.argument(1).and_then(|text| text.parse().ok());
        count.ok_or_else(|| "a number is missing".to_owned())
    }
}

fn seat(directive: &Directive, notes: &mut Notes) -> Result<Seat, String> {
    let mut words = directive.texts();
    let mut seat = Seat {
        binds: binds(words.next().unwrap_or_default())?,
        is_tls: false,
        proxy_protocol: false,
        backlog: None,
    };
    for word in words {
        let (name, text) = word.split_once('=').unwrap_or((word, ""));
        match name {
            "ssl" => seat.is_tls = true,
            "proxy_protocol" => seat.proxy_protocol = true,
            "backlog" => seat.backlog = text.parse().ok(),
            "udp" => return Err("UDP is not passed on".to_owned()),
            "ipv6only" => {
                for bind in &mut seat.binds {
                    if let Bind::Ip { dual, .. } = bind {
                        *dual = text == "off";
                    }
                }
            }
            "reuseport" | "bind" | "so_keepalive" | "rcvbuf" | "sndbuf" | "fastopen" => {
                notes.harmless(format!("{name}: a matter of speed"));
            }
            other => return Err(format!("{other:?} is not known here")),
        }
    }
    Ok(seat)
}

/// An address, perhaps with a range of ports.
fn binds(text: &str) -> Result<Vec<Bind>, String> {
    let (host, ports) = match text.rsplit_once(':') {
        Some((host, ports)) if !ports.contains(']') => (Some(host), ports),
        _ => (None, text),
    };
    let range = ports
        .split_once('-')
        .and_then(|(first, last)| Some((first.parse::<u16>().ok()?, last.parse::<u16>().ok()?)));
    let Some((first, last)) = range else {
        return Ok(vec![server::address(text)?]);
    };
    let place = |port: u16| match host {
        Some(host) => format!("{host}:{port}"),
        None => port.to_string(),
    };
    (first..=last)
        .map(|port| server::address(&place(port)))
        .collect()
}

/// Whom a word of `allow` or `deny` means.
fn clients(text: &str) -> Result<Condition, String> {
    if text == "all" {
        return Ok(Condition::default());
    }
    let network = text.parse::<ipnet::IpNet>().ok();
    let network = network.or_else(|| Some(text.parse::<std::net::IpAddr>().ok()?.into()));
    let network = network.ok_or_else(|| format!("{text:?} is no address or network"))?;
    Ok(Condition {
        matching: Match {
            source: vec![network.trunc()],
            ..Match::default()
        },
        ..Condition::default()
    })
}

fn reply(
    directive: &Directive,
    text: &str,
    names: &Names,
    ways: &mut Vec<Passthrough>,
) -> Result<(), String> {
    let text = values::read(text, names)?.to_string();
    ways.push(Passthrough {
        reply: Some(BodyText::parse(&text).map_err(|problem| problem.message)?),
        ..way(Condition::default(), directive)
    });
    Ok(())
}

fn way(when: Condition, directive: &Directive) -> Passthrough {
    let mut origins = Origins::new(directive.origin());
    for key in ["when", "backend", "reply"] {
        origins.set(key, directive.origin());
    }
    Passthrough {
        when,
        origins,
        ..Passthrough::default()
    }
}
