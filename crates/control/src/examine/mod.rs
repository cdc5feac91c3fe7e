//! Makes the probes that a case asks for and gives back what they found in the doctor's words: for the
//! balancer while it runs, and for `clearway doctor`.
//!
//! Probes change nothing: connections, handshakes, look-ups, GET requests. Each is one at a time on one
//! server and bounded in time.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use clearway_doctor::evidence::{Ask, HostWord, PortState};
use clearway_doctor::{Case, Finding, Probe};
use clearway_net::connect::Target;
use clearway_net::probe::diagnose::{self, Aim, Request, RequestSettings};
use clearway_net::probe::{Http2, ProxyHeader};
use clearway_net::tls::{self, ClientSettings, ClientTls, ServerName, Trust};
use clearway_outcome::{FirstBytes, Port};

mod connection;
mod hello;
mod look;
mod lookup;
mod path;

pub use look::host;

/// Time for a connection that may be silent: beyond the second SYN, and as long as looking for a
/// neighbour takes.
const SILENT: Duration = Duration::from_millis(3_300);
/// Time for anything else.
const SHORT: Duration = Duration::from_millis(1_500);
/// How long a connection that says nothing is watched.
const WATCHED: Duration = Duration::from_millis(400);
/// Time for one of many ports.
const PORT: Duration = Duration::from_millis(350);
/// How long a kept connection is watched at most.
const KEPT: Duration = Duration::from_secs(8);
/// Bytes by which a large request is larger than others: several full packets.
const PADDING: usize = 6_000;
/// Bytes by which it is larger at most: no server takes heads of this size.
const PADDING_MAX: usize = 62_000;

/// How a server is reached, as far as it is known.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    /// Where it is; `None` = its name does not resolve.
    pub target: Option<Target>,
    /// The address that connections come from.
    pub source: Option<IpAddr>,
    /// Version of the PROXY header that it gets; 0 = none.
    pub proxy_header: u8,
    /// Whether TLS is spoken, and with which settings and name.
    pub tls: Option<(ClientTls, ServerName<'static>)>,
    /// The name that is asked for in TLS; `None` = none.
    pub sni: Option<String>,
    /// Whether HTTP/2 is spoken.
    pub http2: bool,
    /// The Host that requests carry; `None` = whatever clients send.
    pub host: Option<String>,
    /// The Host and path of health checks.
    pub check: Option<(Option<String>, String)>,
    /// Resolvers that are used; empty = the system's.
    pub resolvers: Vec<SocketAddr>,
}

/// Makes one probe. What cannot be made is told as such, and says nothing about the server.
///
/// Cancel safe: dropping it closes what is open.
pub async fn run(reach: &Reach, probe: &Probe, case: &Case) -> Finding {
    if let Probe::Lookup(name) = probe {
        return lookup::run(name, &reach.resolvers).await;
    }
    if let Probe::Host = probe {
        return Finding::Host(Box::new(host(&case.site, case.gained)));
    }
    let Some(target) = &reach.target else {
        return Finding::NotRun("the server's address is not known".to_owned());
    };
    match probe {
        Probe::Lookup(_) | Probe::Host => Finding::NotRun(String::new()),
        Probe::Connect => connection::run(reach, target, is_silent(case)).await,
        Probe::Ports(ports) => other_ports(target, ports).await,
        Probe::Request(ask) => request(reach, target, ask, case).await,
        Probe::Hello(greeting) => hello::run(reach, target, greeting).await,
        Probe::Preface => preface(reach, target).await,
        Probe::Unix => path::run(target).await,
        Probe::Keep => keep(reach, target, case).await,
    }
}

/// Whether connections have been met with silence, so that more time is worth it.
fn is_silent(case: &Case) -> bool {
    use clearway_outcome::FaultKind as Kind;
    let kinds = [Kind::ConnectTimeout, Kind::ConnectUnreachable];
    case.groups.iter().any(|group| group.may_be(&kinds))
}

impl Reach {
    /// Where a probe goes.
    fn aim(&self, target: &Target, limit: Duration) -> Aim {
        let mut aim = Aim::at(target.clone(), limit);
        aim.source = self.source;
        aim
    }

    /// Where a request goes, as it is configured or as the probe wants it.
    fn aim_of(&self, target: &Target, ask: &Ask, limit: Duration) -> Result<Aim, String> {
        let mut aim = self.aim(target, limit);
        aim.proxy_header = match ask.proxy_header.unwrap_or(self.proxy_header) {
            0 => ProxyHeader::Off,
            1 => ProxyHeader::V1,
            _ => ProxyHeader::V2,
        };
        let has_tls = ask.tls.unwrap_or_else(|| self.tls.is_some());
        if has_tls {
            aim.tls = Some(match &self.tls {
                Some(tls) => tls.clone(),
                None => (lenient()?, self.name(target)?),
            });
        }
        aim.http2 = match (ask.http2.unwrap_or(self.http2), has_tls) {
            (false, _) => Http2::Never,
            (true, true) => Http2::Agreed,
            (true, false) => Http2::Always,
        };
        Ok(aim)
    }

    /// The name that a TLS handshake is for.
    fn name(&self, target: &Target) -> Result<ServerName<'static>, String> {
        match (&self.sni, target) {
            (Some(name), _) => tls::server_name(name),
            (None, Target::Ip(address)) => tls::server_name(&address.ip().to_string()),
            (None, Target::Unix(_)) => tls::server_name("localhost"),
        }
    }
}

/// TLS that takes any certificate: what is looked for is not whether to trust it.
pub fn lenient() -> Result<ClientTls, String> {
    ClientTls::new(&ClientSettings::new(Trust::Nobody))
}

async fn other_ports(target: &Target, ports: &[u16]) -> Finding {
    let Target::Ip(address) = target else {
        return Finding::NotRun("a Unix socket has no ports".to_owned());
    };
    let found = diagnose::ports(address.ip(), ports, PORT).await;
    Finding::Ports(
        found
            .iter()
            .map(|port| (port.number, state_of(port)))
            .collect(),
    )
}

fn state_of(port: &Port) -> PortState {
    match port.errno {
        None => PortState::Open,
        Some(libc::ECONNREFUSED) => PortState::Refused,
        Some(libc::EHOSTUNREACH | libc::ENETUNREACH) => PortState::Unreachable,
        Some(_) => PortState::Silent,
    }
}

/// The Host that a probe carries; `None` = the address.
fn host_of(reach: &Reach, ask: &Ask, case: &Case) -> Option<String> {
    let clients = || {
        let hosts = case.groups.iter().find_map(|group| group.hosts.first());
        hosts.map(str::to_owned)
    };
    match &ask.host {
        HostWord::Configured => reach.host.clone().or_else(clients),
        HostWord::Check => reach.check.as_ref().and_then(|(host, _)| host.clone()),
        HostWord::Address => None,
        HostWord::Name(name) => Some(name.clone()),
    }
}

fn settings(reach: &Reach, ask: &Ask, case: &Case) -> RequestSettings {
    let mut out = RequestSettings {
        target: match (&ask.host, ask.path.as_str()) {
            (HostWord::Check, "") => match &reach.check {
                Some((_, path)) => path.clone(),
                None => "/".to_owned(),
            },
            (_, "") => "/".to_owned(),
            (_, path) => path.to_owned(),
        },
        host: host_of(reach, ask, case),
        body_max: 256 << 10,
        ..RequestSettings::default()
    };
    if ask.is_large {
        out.padding = padding(case);
    }
    if ask.upgrade {
        for (name, value) in [
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "Y2xlYXJ3YXkgZG9jdG9yIQ=="),
        ] {
            out.headers.push((name.to_owned(), value.to_owned()));
        }
    }
    out
}

/// By how much a large request is larger: as large as the heads that fail.
fn padding(case: &Case) -> usize {
    let without_body = |group: &&clearway_doctor::Group| {
        let mut methods = group.methods.iter();
        methods.all(|(method, _)| matches!(method, "GET" | "HEAD" | "OPTIONS" | "DELETE"))
    };
    let sent = case
        .groups
        .iter()
        .filter(without_body)
        .map(|group| group.sent.max);
    let most = usize::try_from(sent.max().unwrap_or(0)).unwrap_or(PADDING_MAX);
    most.clamp(PADDING, PADDING_MAX)
}

async fn request(reach: &Reach, target: &Target, ask: &Ask, case: &Case) -> Finding {
    let limit = match ask.patience_ms {
        0 => SHORT,
        ms => Duration::from_millis(ms),
    };
    let made = Request::new(settings(reach, ask, case));
    let (aim, made) = match (reach.aim_of(target, ask, limit), made) {
        (Ok(aim), Ok(made)) => (aim, made),
        (Err(why), _) | (_, Err(why)) => return Finding::NotRun(why),
    };
    let answered = diagnose::request(&aim, &made).await;
    Finding::Request(Box::new(reply_of(&answered)))
}

fn reply_of(answered: &clearway_outcome::Answered) -> clearway_doctor::evidence::Reply {
    let (attempt, reply) = (&answered.attempt, &answered.reply);
    let evidence = attempt.evidence.as_deref();
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    clearway_doctor::evidence::Reply {
        fault: attempt.fault.map(|fault| fault.kind),
        errno: attempt.fault.map_or(0, |fault| fault.errno),
        signal: attempt.fault.and_then(|fault| fault.signal),
        status: reply.status,
        server: reply.server.clone().unwrap_or_default(),
        via: reply.via.clone().unwrap_or_default(),
        location: reply.location.clone().unwrap_or_default(),
        head_bytes: count(reply.head_bytes),
        head_lines: u32::try_from(reply.head_lines).unwrap_or(u32::MAX),
        body: reply.length.map(|length| (length, reply.body_bytes)),
        first_byte_us: attempt.first_byte_us,
        took_us: attempt.ended_us,
        first: evidence.map_or_else(FirstBytes::default, |e| FirstBytes::of(e.first())),
        tcp: evidence.and_then(|evidence| evidence.tcp),
    }
}

async fn preface(reach: &Reach, target: &Target) -> Finding {
    let found = diagnose::preface(&reach.aim(target, SHORT)).await;
    let first = found.attempt.evidence.as_deref();
    Finding::Preface {
        speaks_http2: found.attempt.fault.is_none(),
        first: first.map_or_else(FirstBytes::default, |e| FirstBytes::of(e.first())),
    }
}

/// How long a kept connection is watched: a little longer than those had been idle that failed, so that what
/// happened to them happens to it.
fn patience(case: &Case) -> Duration {
    let idle = case.groups.iter().map(|group| group.idle.max).max();
    let idle = Duration::from_micros(idle.unwrap_or(0));
    let least = Duration::from_secs(1);
    match idle.is_zero() {
        true => KEPT,
        false => (idle + idle / 10 + Duration::from_millis(600)).clamp(least, KEPT),
    }
}

async fn keep(reach: &Reach, target: &Target, case: &Case) -> Finding {
    let ask = Ask::default();
    let made = Request::new(settings(reach, &ask, case));
    let (aim, made) = match (reach.aim_of(target, &ask, SHORT), made) {
        (Ok(aim), Ok(made)) => (aim, made),
        (Err(why), _) | (_, Err(why)) => return Finding::NotRun(why),
    };
    let kept = diagnose::keep(&aim, &made, patience(case)).await;
    let Some(idle) = kept.idle_us else {
        return Finding::NotRun("no whole response came to keep a connection behind".to_owned());
    };
    let is_closed = kept.ending != clearway_outcome::Ending::Open;
    Finding::Keep {
        closed_after_ms: is_closed.then_some(idle / 1_000),
        watched_ms: idle / 1_000,
        again: kept.again,
    }
}
