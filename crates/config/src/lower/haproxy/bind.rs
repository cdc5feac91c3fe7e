//! `bind`: addresses and what is spoken there.

use std::path::{Path, PathBuf};

use super::super::notes::Notes;
use super::global::Global;
use crate::diagnostic::Origins;
use crate::model::{
    Alpn, Bind, CertificateFiles, ClientCertificates, HostPattern, ListenerTls, TlsProfile,
};
use crate::syntax::haproxy::Line;
use crate::value::Text;

/// Where a frontend listens in one way.
#[derive(Debug, Default)]
pub(super) struct Seat {
    pub(super) binds: Vec<Bind>,
    pub(super) tls: Option<ListenerTls>,
    pub(super) accepts_proxy: bool,
    pub(super) defers: bool,
    pub(super) backlog: Option<u32>,
}

/// Parameters that are followed by a value, with what becomes of them when nothing is done.
const WITH_VALUE: &[(&str, &str)] = &[
    ("crt", ""),
    ("crt-list", ""),
    ("ca-file", ""),
    ("ca-verify-file", ""),
    ("crl-file", ""),
    ("verify", ""),
    ("alpn", ""),
    ("npn", ""),
    ("ssl-min-ver", ""),
    ("ssl-max-ver", ""),
    ("backlog", ""),
    ("mode", ""),
    ("user", "sockets belong to the user that Clearway runs as"),
    ("group", "sockets belong to the group that Clearway runs as"),
    ("uid", "sockets belong to the user that Clearway runs as"),
    ("gid", "sockets belong to the group that Clearway runs as"),
    ("name", "addresses are told apart by themselves"),
    ("id", "a number for statistics"),
    ("process", "all workers serve all listeners"),
    ("thread", "all workers serve all listeners"),
    ("nice", "all connections are equal"),
    ("level", "it is about the runtime socket"),
    ("severity-output", "it is about the runtime socket"),
    ("expose-fd", "it is about the runtime socket"),
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
    (
        "ecdhe",
        "the groups of Mozilla's intermediate profile are used",
    ),
    ("ca-sign-file", "certificates are not made up"),
    ("ca-sign-pass", "certificates are not made up"),
    (
        "crt-ignore-err",
        "certificates of clients are verified without exception",
    ),
    (
        "ca-ignore-err",
        "certificates of clients are verified without exception",
    ),
    ("mss", "the kernel chooses it"),
    ("tcp-ut", "broken connections are found by time-outs"),
    ("proto", ""),
    ("maxconn", ""),
    ("interface", ""),
    ("namespace", ""),
    ("gpc0", ""),
];

/// Reads a line; seats that speak alike are one.
pub(super) fn read(line: &Line, global: &Global, seats: &mut Vec<Seat>, notes: &mut Notes) {
    let mut seat = Seat::default();
    let mut tls = ListenerTls {
        origins: Origins::new(line.origin()),
        alpn: Some(Vec::new()),
        ..ListenerTls::default()
    };
    let (mut is_tls, mut ca, mut crl, mut verify) = (false, None, None, "none");
    let mut mode = None;
    let mut words = line.texts(2);
    while let Some(word) = words.next() {
        let known = WITH_VALUE.iter().find(|(known, _)| *known == word);
        let value = known.map_or("", |_| words.next().unwrap_or_default());
        match word {
            "ssl" => is_tls = true,
            "crt" => tls.certificates.push(certificate(&global.crt(value), line)),
            "crt-list" => crt_list(value, global, &mut tls, line, notes),
            "ca-file" | "ca-verify-file" => ca = Some(global.ca(value)),
            "crl-file" => crl = Some(global.ca(value)),
            "verify" => verify = value,
            "alpn" | "npn" => tls.alpn = Some(protocols(value)),
            "strict-sni" => tls.strict_names = true,
            "accept-proxy" => seat.accepts_proxy = true,
            "defer-accept" => seat.defers = true,
            "backlog" => seat.backlog = value.parse().ok(),
            "mode" => mode = u32::from_str_radix(value, 8).ok(),
            "ssl-min-ver" if value == "TLSv1.3" => tls.profile = TlsProfile::Modern,
            "ssl-min-ver" | "ssl-max-ver" if value == "TLSv1.2" || value == "TLSv1.3" => {}
            "ssl-min-ver" => notes.ineffective("TLS before 1.2 is not spoken"),
            "ssl-max-ver" => notes.refused("TLS before 1.2 is not spoken"),
            "force-tlsv13" | "no-tlsv12" => tls.profile = TlsProfile::Modern,
            "no-sslv3" | "no-tlsv10" | "no-tlsv11" => notes.equivalent("it is never spoken"),
            "no-tls-tickets" => tls.resumption = false,
            "allow-0rtt" => tls.early_data = true,
            "v6only" | "v4v6" | "tfo" | "transparent" if word == "v6only" || word == "v4v6" => {}
            "tfo" | "prefer-client-ciphers" | "no-alpn" | "generate-certificates" => {
                notes.harmless(format!("{word}: a matter of speed or of old clients"));
            }
            "maxconn" => notes.ineffective("the limit is that of the whole section"),
            "proto" if value == "h1" || value == "h2" => {
                notes.equivalent("the client's protocol is found out");
            }
            _ => match known {
                Some((_, "")) => notes.refused(format!("\"{word} {value}\" is not known here")),
                Some((_, why)) => notes.harmless(format!("{word}: {why}")),
                None => notes.refused(format!("\"{word}\" is not known here")),
            },
        }
    }
    let v6_only = line.texts(2).any(|word| word == "v6only");
    for text in line.word(1).split(',').filter(|text| !text.is_empty()) {
        match addresses(text, mode, v6_only) {
            Ok(binds) => seat.binds.extend(binds),
            Err(message) => notes.refused(message),
        }
    }
    if is_tls {
        if global.min_version_is_13() {
            tls.profile = TlsProfile::Modern;
        }
        if verify != "none" {
            tls.client_certificates = Some(ClientCertificates {
                ca: ca.unwrap_or_default(),
                crl,
                optional: verify == "optional",
                ..ClientCertificates::default()
            });
        }
        seat.tls = Some(tls);
    }
    join(seat, seats);
}

fn join(seat: Seat, seats: &mut Vec<Seat>) {
    let same = seats.iter_mut().find(|known| {
        known.tls == seat.tls
            && known.accepts_proxy == seat.accepts_proxy
            && known.defers == seat.defers
            && known.backlog == seat.backlog
    });
    match same {
        Some(known) => known.binds.extend(seat.binds),
        None => seats.push(seat),
    }
}

/// A file, or a directory, which has to end in a slash.
fn certificate(path: &Path, line: &Line) -> CertificateFiles {
    let mut text = path.as_os_str().to_owned();
    if path.is_dir() && !text.as_encoded_bytes().ends_with(b"/") {
        text.push("/");
    }
    let mut origins = Origins::new(line.origin());
    origins.set("certificate", line.origin());
    CertificateFiles {
        certificate: PathBuf::from(text),
        origins,
        ..CertificateFiles::default()
    }
}

/// The first word of each line is a certificate. Words in brackets may follow, and names that it is used for
/// in place of those in it.
fn crt_list(file: &str, global: &Global, tls: &mut ListenerTls, line: &Line, notes: &mut Notes) {
    let path = global.crt(file);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) => {
            let message = format!("cannot read {}: {error}", path.display());
            return notes.wrong(&line.origin(), message, "");
        }
    };
    for entry in text.lines().map(str::trim) {
        let (entry, options) = match entry.split_once('[') {
            Some((before, rest)) => {
                let (options, names) = rest.split_once(']').unwrap_or((rest, ""));
                (format!("{before} {names}"), options.trim())
            }
            None => (entry.to_owned(), ""),
        };
        let mut words = entry.split_whitespace();
        let Some(first) = words.next().filter(|word| !word.starts_with('#')) else {
            continue;
        };
        if !options.is_empty() {
            notes.ineffective(format!(
                "[{options}]: the words of the line hold for all of them"
            ));
        }
        let mut files = certificate(&global.crt(first), line);
        for word in words.take_while(|word| !word.starts_with('#')) {
            let (names, text) = match word.strip_prefix('!') {
                Some(rest) => (&mut files.except, rest),
                None => (&mut files.names, word),
            };
            match HostPattern::parse(text) {
                Ok(name) => names.push(name),
                Err(_) => notes.ineffective(format!("{word:?} is no name that is looked for")),
            }
        }
        tls.certificates.push(files);
    }
}

fn protocols(text: &str) -> Vec<Alpn> {
    let names = text.split(',').map(str::trim);
    names.filter_map(|name| Alpn::parse(name).ok()).collect()
}

/// The addresses of a word: of a range of ports each one.
pub(super) fn addresses(text: &str, mode: Option<u32>, v6_only: bool) -> Result<Vec<Bind>, String> {
    let unix = |path: &str| {
        let bind = Bind::Unix {
            path: path.into(),
            mode,
        };
        Ok(vec![bind])
    };
    if let Some(path) = text.strip_prefix("unix@") {
        return unix(path);
    }
    if text.starts_with('/') {
        return unix(text);
    }
    if let Some(fd) = text.strip_prefix("fd@") {
        let fd = fd.parse().map_err(|_| format!("{fd:?} is no descriptor"))?;
        return Ok(vec![Bind::Inherited(fd)]);
    }
    for prefix in ["abns@", "abnsz@", "sockpair@", "quic4@", "quic6@", "udp@"] {
        if text.starts_with(prefix) {
            return Err(format!("addresses such as {text:?} are not known here"));
        }
    }
    let bare = ["ipv4@", "ipv6@", "tcp@", "tcp4@", "tcp6@"];
    let bare = bare.iter().find_map(|prefix| text.strip_prefix(prefix));
    let bare = bare.unwrap_or(text);
    let Some((host, ports)) = bare.rsplit_once(':') else {
        return Err(format!("{text:?} has no port"));
    };
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let (Ok(first), Ok(last)) = (first.parse::<u16>(), last.parse::<u16>()) else {
        return Err(format!("{ports:?} is no port"));
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    // Without an address it is IPv4 alone; `::` takes IPv4 too, as the kernel does by default.
    let (ip, dual) = match host {
        "" | "*" if text.starts_with("ipv6@") => (std::net::Ipv6Addr::UNSPECIFIED.into(), !v6_only),
        "" | "*" => (std::net::Ipv4Addr::UNSPECIFIED.into(), false),
        "::" => (std::net::Ipv6Addr::UNSPECIFIED.into(), !v6_only),
        "localhost" => (std::net::Ipv4Addr::LOCALHOST.into(), false),
        host => match host.parse::<std::net::IpAddr>() {
            Ok(ip) => (ip, false),
            Err(_) => return Err(format!("{host:?} is not an address of this host")),
        },
    };
    let bind = |port| Bind::Ip {
        address: std::net::SocketAddr::new(ip, port),
        dual,
    };
    Ok((first..=last).map(bind).collect())
}
