//! `server` and `default-server`: the servers of a backend, and what they say about all of them.

use std::net::IpAddr;
use std::time::Duration;

use super::super::notes::Notes;
use super::global::Global;
use super::proxy::Proxy;
use super::sample;
use crate::diagnostic::Origins;
use crate::lower::build;
use crate::model::{
    Agent, Backend, BackendTls, CertificateFiles, HostPattern, Identifier, OrOff, SendProxy,
    Server, ServerAddress, ServerProtocol, ServerState,
};
use crate::survey::haproxy::parameters::{Parameter, Parameters};
use crate::survey::units;
use crate::value::Text;

/// Words that nobody notices.
const HARMLESS: &[(&str, &str)] = &[
    ("id", "a number for statistics"),
    ("guid", "a name for statistics"),
    (
        "resolvers",
        "names are looked up again and again by the resolvers of [resolver]",
    ),
    ("resolve-prefer", "all addresses of a name are used"),
    ("resolve-net", "all addresses of a name are used"),
    ("resolve-opts", "all addresses of a name are used"),
    (
        "init-addr",
        "a name that cannot be looked up yet is looked up again",
    ),
    ("minconn", "the limit is maxconn"),
    (
        "pool-purge-delay",
        "idle connections end by their own time-out",
    ),
    ("pool-low-conn", "idle connections belong to one worker"),
    (
        "pool-max-conn",
        "idle connections have a limit of their own",
    ),
    ("max-reuse", "connections are used as long as they live"),
    ("tfo", "a matter of speed"),
    ("tcp-ut", "broken connections are found by time-outs"),
    (
        "ciphers",
        "the suites of Mozilla's intermediate profile are used",
    ),
    (
        "ciphersuites",
        "the suites of Mozilla's intermediate profile are used",
    ),
    (
        "curves",
        "the groups of Mozilla's intermediate profile are used",
    ),
    ("no-sslv3", "it is never spoken"),
    ("no-tlsv10", "it is never spoken"),
    ("no-tlsv11", "it is never spoken"),
    (
        "no-ssl-reuse",
        "sessions are resumed where servers allow it",
    ),
    (
        "no-tls-tickets",
        "sessions are resumed where servers allow it",
    ),
    ("non-stick", "it is about stick tables"),
    ("ssl-reuse", "sessions are resumed where servers allow it"),
    ("enabled", "that is the default"),
    ("namespace", "the namespace is that of the process"),
    ("log-proto", "it is about logs"),
];

/// Words that are done where checks are lowered.
const OF_CHECKS: [&str; 12] = [
    "check",
    "inter",
    "fastinter",
    "downinter",
    "rise",
    "fall",
    "port",
    "check-ssl",
    "no-check-ssl",
    "check-sni",
    "check-alpn",
    "no-check",
];

/// A server as it is read.
pub(super) struct Member<'a> {
    pub(super) server: Server,
    pub(super) parameters: Parameters<'a>,
}

/// Reads all servers of a section, and notes what becomes of each of its own lines.
pub(super) fn members<'a>(proxy: &'a Proxy, notes: &mut Notes) -> Vec<Member<'a>> {
    let mut members = Vec::new();
    let mut backups = 0_u8;
    for (line, before) in proxy.servers.iter().zip(&proxy.defaults_before) {
        let mut parameters = Parameters::default();
        for defaults in proxy.default_server.iter().take(*before) {
            parameters.add(defaults, 1);
        }
        let is_template = line.word(0) == "server-template";
        let at = if is_template { 3 } else { 2 };
        parameters.add(line, at + 1);
        notes.begin(line.origin(), line.text());
        let address = match address(line.word(at), proxy.only_port) {
            Ok(address) => address,
            Err(message) => {
                notes.refused(message);
                continue;
            }
        };
        if is_template {
            notes.equivalent("one server for each address behind the name");
        }
        let mut server = Server::new(address);
        server.origins = Origins::new(line.origin());
        server.origins.set("address", line.origin());
        match Identifier::parse(line.word(1)) {
            Ok(name) => server.name = Some(name),
            Err(problem) => notes.wrong(&line.origin(), problem.message, &problem.expected),
        }
        apply(&mut server, &parameters, proxy, &mut backups, notes);
        members.push(Member { server, parameters });
    }
    members
}

fn apply(
    server: &mut Server,
    parameters: &Parameters<'_>,
    proxy: &Proxy,
    backups: &mut u8,
    notes: &mut Notes,
) {
    if let Some(weight) = parameters
        .value("weight")
        .and_then(|text| text.parse().ok())
    {
        server.weight = weight;
    }
    if let Some(maxconn) = parameters
        .value("maxconn")
        .and_then(|text| text.parse().ok())
    {
        server.maxconn = Some(maxconn);
    }
    if let Some(time) = parameters.value("slowstart").and_then(seconds) {
        server.slow_start = Some(time);
    }
    if parameters.has("disabled") && !parameters.has("enabled") {
        server.state = ServerState::Maintenance;
    }
    server.checked = parameters.has("check");
    watched(server, parameters, proxy);
    if parameters.has("backup") {
        server.backup = true;
        // Of backups the first that is up is used, unless all of them are to be.
        if !proxy.option("allbackups") {
            server.priority = *backups;
            *backups = backups.saturating_add(1).min(100);
        }
    }
    if let Some(found) = parameters.find("cookie")
        && proxy.cookie.is_some()
    {
        server.cookie = Some(found.value.to_owned());
    }
    for parameter in parameters.all() {
        note(parameter, notes);
    }
}

/// Who else looks after a server, and what follows when it goes down or comes up.
fn watched(server: &mut Server, parameters: &Parameters<'_>, proxy: &Proxy) {
    let address = |name: &str| parameters.value(name).and_then(|text| text.parse().ok());
    server.check_address = address("addr").filter(|_| server.checked);
    server.close_on_down = parameters.has("on-marked-down");
    server.close_backups_on_up = parameters.has("on-marked-up");
    server.track = parameters
        .value("track")
        .map(|text| match text.contains('/') {
            true => text.to_owned(),
            false => format!("{}/{text}", proxy.name),
        });
    let port = parameters.value("agent-port");
    if let Some(port) = port.and_then(|text| text.parse().ok())
        && parameters.has("agent-check")
    {
        let times = ["agent-inter", "inter"];
        let mut times = times.iter().filter_map(|name| parameters.value(name));
        server.agent = Some(Agent {
            port,
            address: address("agent-addr").or_else(|| address("addr")),
            interval: times
                .next()
                .and_then(seconds)
                .unwrap_or(Duration::from_secs(2))
                .max(Duration::from_millis(10)),
            send: parameters.value("agent-send").map(str::to_owned),
            origins: Origins::new(server.origin().clone()),
        });
    }
}

/// Says what becomes of a word.
fn note(parameter: &Parameter<'_>, notes: &mut Notes) {
    let name = parameter.name;
    let value = parameter.value;
    match name {
        "weight" | "maxconn" | "slowstart" | "disabled" | "backup" | "cookie" | "maxqueue"
        | "ssl" | "no-ssl" | "ca-file" | "crt" | "verifyhost" | "crl-file" | "send-proxy"
        | "no-send-proxy" | "send-proxy-v2" | "no-send-proxy-v2" | "source" | "observe"
        | "error-limit" | "on-error" => {}
        "verify" if value == "none" || value == "required" => {}
        "sni" if constant_name(value).is_none() => {
            let known = sample::read(value).and_then(|sample| build::fetch_text(&sample.fetch));
            match known {
                Ok(_) => notes.equivalent("checks ask for no name"),
                Err(message) => notes.refused(message),
            }
        }
        "sni" => {}
        "alpn" | "proto"
            if value
                .split(',')
                .all(|name| matches!(name, "h2" | "http/1.1" | "h1")) => {}
        "ssl-min-ver" | "ssl-max-ver" if matches!(value, "TLSv1.2" | "TLSv1.3") => {}
        "ssl-min-ver" => notes.equivalent("TLS before 1.2 is not spoken"),
        "on-marked-down" if value == "shutdown-sessions" => {}
        "on-marked-up" if value == "shutdown-backup-sessions" => {}
        "on-marked-down" | "on-marked-up" => {
            notes.wrong(
                &parameter.origin,
                format!("{name} cannot be {value:?}"),
                "shutdown-sessions, shutdown-backup-sessions",
            );
        }
        "check-send-proxy" | "no-check-send-proxy" => {
            notes.equivalent("checks send the PROXY header where requests do");
        }
        "send-proxy-v2-ssl" | "send-proxy-v2-ssl-cn" | "proxy-v2-options" => {
            notes.ineffective("the PROXY header says nothing of TLS");
        }
        "addr" | "agent-addr" if value.parse::<IpAddr>().is_err() => {
            notes.ineffective(format!("{name}: only addresses are taken, no names"));
        }
        "addr" | "track" | "agent-check" | "no-agent-check" | "agent-port" | "agent-addr"
        | "agent-inter" | "agent-send" => {}
        "check-proto" | "check-via-socks4" => {
            notes.ineffective(format!("{name}: checks speak as requests do"));
        }
        name if OF_CHECKS.contains(&name) => {}
        name => match HARMLESS.iter().find(|(known, _)| *known == name) {
            Some((_, why)) => notes.harmless(format!("{name}: {why}")),
            None => notes.refused(format!("the word {name:?} is not known here")),
        },
    }
}

/// A time whose number alone is milliseconds.
pub(super) fn seconds(text: &str) -> Option<Duration> {
    units::haproxy_time(text)
}

/// The address of a server; `taken` is the port where none is written.
fn address(text: &str, taken: Option<u16>) -> Result<ServerAddress, String> {
    let unix = |path: &str| ServerAddress::parse(&format!("unix:{path}"));
    let parsed = if let Some(path) = text.strip_prefix("unix@") {
        unix(path)
    } else if text.starts_with('/') {
        unix(text)
    } else if text.contains("abns@") || text.contains("fd@") || text.contains("quic") {
        return Err(format!("addresses such as {text:?} are not known here"));
    } else {
        let bare = ["ipv4@", "ipv6@", "tcp@", "tcp4@", "tcp6@"];
        let bare = bare.iter().find_map(|prefix| text.strip_prefix(prefix));
        let bare = bare.unwrap_or(text);
        let (host, port) = units::host_and_port(bare);
        let port = match port {
            0 if host == bare => taken.unwrap_or(0),
            port => port,
        };
        // Names of services by DNS begin with underscores.
        if host.starts_with('_') {
            ServerAddress::parse(&format!("srv:{host}"))
        } else {
            let port = match port {
                0 => "*".to_owned(),
                port => port.to_string(),
            };
            if host.contains(':') {
                ServerAddress::parse(&format!("[{host}]:{port}"))
            } else if host == "*" || host.is_empty() {
                ServerAddress::parse(&format!("127.0.0.1:{port}"))
            } else {
                ServerAddress::parse(&format!("{host}:{port}"))
            }
        }
    };
    parsed.map_err(|problem| problem.message)
}

/// A name for SNI that is always the same.
fn constant_name(expression: &str) -> Option<HostPattern> {
    let sample = sample::read(expression).ok()?;
    match sample.fetch.constant() {
        Some(text) => HostPattern::parse(text).ok(),
        None => None,
    }
}

/// What the servers say that holds for the whole backend.
pub(super) fn settle(backend: &mut Backend, members: &mut [Member<'_>], global: &Global) {
    // What the first server says is said of the backend, what others say differently of themselves.
    for (index, member) in members.iter_mut().enumerate() {
        let origin = member.server.origin().clone();
        let own = member.parameters.has("ssl");
        let own = own.then(|| tls(&member.parameters, global));
        let header = proxy_header(&member.parameters);
        if index == 0 {
            if own.is_some() {
                backend.origins.set("tls", origin);
            }
            backend.tls = own;
            backend.send_proxy = header;
            continue;
        }
        if own != backend.tls {
            member.server.tls = Some(own.map_or(OrOff::Off, OrOff::On));
            member.server.origins.set("tls", origin);
        }
        if header != backend.send_proxy {
            member.server.send_proxy = Some(header);
        }
    }
    let find = |name: &str| members.iter().find_map(|m| m.parameters.find(name));
    let asks = members.iter().any(|m| {
        let sni = m.parameters.value("sni");
        sni.is_some_and(|sni| constant_name(sni).is_none())
    });
    if asks {
        // Connections of HTTP/2 are shared by requests that ask for different names.
    } else if find("proto").is_some_and(|found| found.value == "h2") {
        backend.protocol = ServerProtocol::H2;
    } else if find("alpn").is_some_and(|found| found.value.starts_with("h2")) {
        backend.protocol = ServerProtocol::Auto;
    }
    if let Some(found) = find("source") {
        let host = units::host_and_port(found.value).0;
        backend.source_address = host.parse().ok().filter(|ip: &IpAddr| !ip.is_unspecified());
    }
    if let Some(size) = find("maxqueue").and_then(|found| found.value.parse().ok()) {
        backend.queue.size = size;
    }
}

fn proxy_header(parameters: &Parameters<'_>) -> SendProxy {
    let second = ["send-proxy-v2", "send-proxy-v2-ssl", "send-proxy-v2-ssl-cn"];
    if second.iter().any(|name| parameters.has(name)) {
        SendProxy::V2
    } else if parameters.has("send-proxy") {
        SendProxy::V1
    } else {
        SendProxy::Off
    }
}

fn tls(parameters: &Parameters<'_>, global: &Global) -> BackendTls {
    let verify = match parameters.value("verify") {
        Some(value) => value != "none",
        None => global.server_verify,
    };
    let named = parameters.value("verifyhost");
    let named = named.and_then(|name| HostPattern::parse(name).ok());
    let sni = parameters.value("sni");
    let from = sni
        .filter(|text| constant_name(text).is_none())
        .and_then(|text| build::fetch_text(&sample::read(text).ok()?.fetch).ok());
    BackendTls {
        verify,
        ca: parameters
            .value("ca-file")
            .filter(|ca| !ca.starts_with('@'))
            .map(|path| global.ca(path)),
        crl: parameters.value("crl-file").map(|path| global.ca(path)),
        // Only who is named somewhere is told a name, and has to have it.
        verify_name: named.is_some() || sni.is_some(),
        send_name: sni.is_some(),
        server_name: named.or_else(|| sni.and_then(constant_name)),
        server_name_from: from,
        certificate: parameters.value("crt").map(|path| CertificateFiles {
            certificate: global.crt(path),
            ..CertificateFiles::default()
        }),
        ..BackendTls::default()
    }
}
