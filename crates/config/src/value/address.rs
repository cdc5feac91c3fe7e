//! Addresses: of servers, of listeners, of networks.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use clearway_outcome::Bind;
use ipnet::IpNet;

use super::{Problem, Text, text_values};

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ServerAddress {
    /// A literal address and port; 0 = the port of the client's connection, written `*`.
    Ip(SocketAddr),
    /// A host name, looked up again and again, and a port.
    Name {
        /// The host name.
        host: String,
        /// The port; 0 = that of the client's connection.
        port: u16,
    },
    /// The SRV records of a name: they give hosts and ports.
    Srv {
        /// The name, e.g. `_http._tcp.example.org`.
        name: String,
    },
    /// A Unix socket.
    Unix(PathBuf),
}

const SERVER: &str = "address:port, host:port, \"unix:/path\" or \"srv:_service._tcp.name\"";

fn parse_port(text: &str) -> Option<u16> {
    // `parse` also takes a sign.
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

/// Whether a text may be a host name: labels of letters, digits, hyphens and underscores.
fn is_host(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // Four numbers are an address, and a wrong one if it got here.
    let numeric = text
        .rsplit('.')
        .next()
        .is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    text.len() <= 253 && !numeric && text.split('.').all(label)
}

/// Why an address without scheme is none.
fn explain(text: &str) -> Problem {
    let problem = |words: &str| Problem::new(format!("{text:?} {words}"), SERVER);
    if let Some((scheme, rest)) = text.split_once("://") {
        let rest = rest.split('/').next().unwrap_or_default();
        let port = if scheme == "https" { 443 } else { 80 };
        let whole = if rest.contains(':') {
            rest.to_owned()
        } else {
            format!("{rest}:{port}")
        };
        return problem("is a URL, not an address").hint(format!("write \"{whole}\""));
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return problem("has no port").hint(format!("write \"[{text}]:80\""));
    }
    match text.rsplit_once(':') {
        None if !text.is_empty() => problem("has no port").hint(format!("write \"{text}:80\"")),
        Some((_, port)) if parse_port(port).is_none_or(|port| port == 0) => Problem::new(
            format!("{text:?}: {port:?} is not a port"),
            "a port from 1 to 65535",
        ),
        Some((host, port)) if host.parse::<Ipv6Addr>().is_ok() => {
            problem("lacks brackets").hint(format!("write \"[{host}]:{port}\""))
        }
        Some(("", _)) => problem("has no host"),
        None | Some(_) => problem("is not an address"),
    }
}

impl Text for ServerAddress {
    const KIND: &'static str = "address";

    fn parse(text: &str) -> Result<Self, Problem> {
        if let Some(path) = text.strip_prefix("unix:") {
            return parse_path(text, path).map(Self::Unix);
        }
        if let Some(name) = text.strip_prefix("srv:") {
            if is_host(name) {
                return Ok(Self::Srv {
                    name: name.to_owned(),
                });
            }
            let message = format!("{name:?} is not a name of SRV records");
            return Err(Problem::new(
                message,
                "a name such as \"srv:_http._tcp.example.org\"",
            ));
        }
        // The port of the client's connection.
        if let Some(host) = text.strip_suffix(":*") {
            let ip = host.trim_start_matches('[').trim_end_matches(']').parse();
            return match ip {
                Ok(ip) => Ok(Self::Ip(SocketAddr::new(ip, 0))),
                Err(_) if is_host(host) => Ok(Self::Name {
                    host: host.to_owned(),
                    port: 0,
                }),
                Err(_) => Err(explain(text)),
            };
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            return if address.port() == 0 {
                Err(explain(text))
            } else {
                Ok(Self::Ip(address))
            };
        }
        let named = text.rsplit_once(':').filter(|(host, _)| is_host(host));
        match named.and_then(|(host, port)| Some((host, parse_port(port).filter(|p| *p > 0)?))) {
            Some((host, port)) => Ok(Self::Name {
                host: host.to_owned(),
                port,
            }),
            None => Err(explain(text)),
        }
    }

    fn text(&self) -> String {
        self.to_string()
    }

    #[cfg(test)]
    fn sample(rng: &mut clearway_base::rng::Rng) -> Self {
        let port = u16::try_from(rng.below(65_535) + 1).unwrap();
        match rng.below(5) {
            0 => Self::Ip(SocketAddr::new(
                Ipv4Addr::from(u32::try_from(rng.next_u64() >> 32).unwrap()).into(),
                port,
            )),
            1 => Self::Ip(SocketAddr::new(
                Ipv6Addr::from(u128::from(rng.next_u64())).into(),
                port,
            )),
            2 => Self::Name {
                host: "app-1.internal".to_owned(),
                port,
            },
            3 => Self::Srv {
                name: "_http._tcp.example.org".to_owned(),
            },
            _ => Self::Unix("/run/app.sock".into()),
        }
    }
}

/// The path of a Unix socket: it has to fit the kernel's structure.
fn parse_path(text: &str, path: &str) -> Result<PathBuf, Problem> {
    if !path.starts_with('/') || path.contains('\0') {
        return Err(Problem::new(
            format!("{text:?} has no absolute path"),
            "\"unix:/path\"",
        ));
    }
    if path.len() > 107 {
        let message = format!(
            "a path of {} bytes is too long for a Unix socket",
            path.len()
        );
        return Err(Problem::new(message, "at most 107 bytes"));
    }
    Ok(path.into())
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(SocketAddr::V4(address)) if address.port() == 0 => {
                write!(f, "{}:*", address.ip())
            }
            Self::Ip(SocketAddr::V6(address)) if address.port() == 0 => {
                write!(f, "[{}]:*", address.ip())
            }
            Self::Ip(address) => address.fmt(f),
            Self::Name { host, port: 0 } => write!(f, "{host}:*"),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
            Self::Srv { name } => write!(f, "srv:{name}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl ServerAddress {
    /// Whether its port is that of the client's connection.
    #[must_use]
    pub fn takes_port(&self) -> bool {
        match self {
            Self::Ip(address) => address.port() == 0,
            Self::Name { port, .. } => *port == 0,
            Self::Srv { .. } | Self::Unix(_) => false,
        }
    }
}

impl Default for ServerAddress {
    /// Nowhere.
    fn default() -> Self {
        Self::Ip(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0))
    }
}

const BIND: &str = "address:port, \":port\" for all addresses, \"unix:/path\" or \"fd:number\"";

impl Text for Bind {
    const KIND: &'static str = "address to listen on";

    fn parse(text: &str) -> Result<Self, Problem> {
        if let Some(rest) = text.strip_prefix("unix:") {
            let (path, mode) = match rest.rsplit_once(",mode=") {
                None => (rest, None),
                Some((path, octal)) => match u32::from_str_radix(octal, 8) {
                    Ok(mode) if mode <= 0o777 => (path, Some(mode)),
                    _ => {
                        let message = format!("{octal:?} is not a mode");
                        return Err(Problem::new(message, "octal permissions such as 660"));
                    }
                },
            };
            return parse_path(text, path).map(|path| Self::Unix { path, mode });
        }
        let problem = |words: &str| Problem::new(format!("{text:?} {words}"), BIND);
        if let Some(number) = text.strip_prefix("fd:") {
            let known = parse_port(number).filter(|fd| *fd > 2).map(Self::Inherited);
            return known.ok_or_else(|| problem("names no descriptor above 2"));
        }
        let Some((host, port)) = text.rsplit_once(':') else {
            let hint = match parse_port(text) {
                Some(port) => format!("write \":{port}\" for all addresses"),
                None => format!("write \"{text}:80\""),
            };
            return Err(problem("has no port").hint(hint));
        };
        let Some(port) = parse_port(port) else {
            return Err(Problem::new(
                format!("{text:?}: {port:?} is not a port"),
                "a port from 0 to 65535",
            ));
        };
        if host.is_empty() || host == "*" {
            let address = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port);
            return Ok(Self::Ip {
                address,
                dual: true,
            });
        }
        let inner = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let ip = match inner {
            Some(inner) => inner.parse::<Ipv6Addr>().map(IpAddr::V6).ok(),
            None => host.parse::<Ipv4Addr>().map(IpAddr::V4).ok(),
        };
        match ip {
            Some(ip) => Ok(Self::Ip {
                address: SocketAddr::new(ip, port),
                dual: false,
            }),
            None if host.parse::<Ipv6Addr>().is_ok() => {
                Err(problem("lacks brackets").hint(format!("write \"[{host}]:{port}\"")))
            }
            None if host == "localhost" => {
                Err(problem("is a name").hint(format!("write \"127.0.0.1:{port}\"")))
            }
            None => Err(problem("is not an address of this host")),
        }
    }

    fn text(&self) -> String {
        self.to_string()
    }

    #[cfg(test)]
    fn sample(rng: &mut clearway_base::rng::Rng) -> Self {
        let port = u16::try_from(rng.below(65_536)).unwrap();
        let at = |ip: IpAddr, dual| Self::Ip {
            address: SocketAddr::new(ip, port),
            dual,
        };
        match rng.below(4) {
            0 => at(Ipv4Addr::LOCALHOST.into(), false),
            1 => at(Ipv6Addr::UNSPECIFIED.into(), true),
            2 => at(Ipv6Addr::UNSPECIFIED.into(), false),
            _ => Self::Unix {
                path: "/run/x.sock".into(),
                mode: (port > 30_000).then_some(0o660),
            },
        }
    }
}

impl Text for IpNet {
    const KIND: &'static str = "network such as \"10.0.0.0/8\"";

    fn parse(text: &str) -> Result<Self, Problem> {
        // An address alone is a network of one.
        let net = text
            .parse::<Self>()
            .ok()
            .or_else(|| text.parse::<IpAddr>().ok().map(Self::from));
        let Some(net) = net else {
            return Err(Problem::new(
                format!("{text:?} is not a network"),
                <Self as Text>::KIND,
            ));
        };
        if net.addr() == net.network() {
            return Ok(net);
        }
        let problem = Problem::new(
            format!("{text:?} has bits beyond its prefix"),
            "the first address of the network",
        );
        Err(problem.hint(format!("write \"{}\", or \"{}\"", net.trunc(), net.addr())))
    }

    fn text(&self) -> String {
        self.to_string()
    }

    #[cfg(test)]
    fn sample(rng: &mut clearway_base::rng::Rng) -> Self {
        let nets = ["10.0.0.0/8", "192.0.2.7/32", "::/0", "2001:db8::/32"];
        nets[usize::try_from(rng.below(4)).unwrap()]
            .parse()
            .unwrap()
    }
}

impl Text for IpAddr {
    const KIND: &'static str = "IP address";

    fn parse(text: &str) -> Result<Self, Problem> {
        let bad = |_| {
            Problem::new(
                format!("{text:?} is not an IP address"),
                "an address without a port",
            )
        };
        text.parse().map_err(bad)
    }

    fn text(&self) -> String {
        self.to_string()
    }

    #[cfg(test)]
    fn sample(_: &mut clearway_base::rng::Rng) -> Self {
        Ipv4Addr::new(192, 0, 2, 9).into()
    }
}

/// The address of a resolver; port 53 when none is written.
impl Text for SocketAddr {
    const KIND: &'static str = "IP address, with or without a port";

    fn parse(text: &str) -> Result<Self, Problem> {
        let plain = || text.parse::<IpAddr>().ok().map(|ip| Self::new(ip, 53));
        text.parse().ok().or_else(plain).ok_or_else(|| {
            Problem::new(format!("{text:?} is not an address"), <Self as Text>::KIND)
        })
    }

    fn text(&self) -> String {
        self.to_string()
    }

    #[cfg(test)]
    fn sample(rng: &mut clearway_base::rng::Rng) -> Self {
        Self::new(
            Ipv4Addr::LOCALHOST.into(),
            u16::try_from(rng.below(65_536)).unwrap(),
        )
    }
}

text_values!(ServerAddress, Bind, IpNet, IpAddr, SocketAddr);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_addresses_names_records_and_sockets() {
        let name = |host: &str, port| ServerAddress::Name {
            host: host.to_owned(),
            port,
        };
        for (text, address) in [
            (
                "10.0.0.1:80",
                ServerAddress::Ip("10.0.0.1:80".parse().unwrap()),
            ),
            ("[::1]:80", ServerAddress::Ip("[::1]:80".parse().unwrap())),
            ("app.internal:80", name("app.internal", 80)),
            ("localhost:1", name("localhost", 1)),
            ("unix:/run/a", ServerAddress::Unix("/run/a".into())),
            (
                "srv:_http._tcp.x",
                ServerAddress::Srv {
                    name: "_http._tcp.x".into(),
                },
            ),
        ] {
            assert_eq!(ServerAddress::parse(text), Ok(address.clone()), "{text}");
            assert_eq!(address.to_string(), text);
        }
        let long = format!("unix:/{}", "x".repeat(107));
        for bad in [
            "",
            "10.0.0.1",
            "10.0.0.1:0",
            "10.0.0.1:99999",
            "10.0.0:80",
            "a b:80",
            ":80",
            "::1:80",
            "unix:",
            "unix:x",
            "srv:",
            "app:+80",
            "-a:80",
            "256.1.1.1:80",
            &long,
        ] {
            assert!(ServerAddress::parse(bad).is_err(), "{bad}");
        }
        let hint = |text| ServerAddress::parse(text).unwrap_err().hint.unwrap();
        assert_eq!(hint("http://app/x"), "write \"app:80\"");
        assert_eq!(hint("::1"), "write \"[::1]:80\"");
    }

    #[test]
    fn binds_are_read() {
        for (text, printed) in [
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("[::1]:8080", "[::1]:8080"),
            ("[::]:80", "[::]:80"),
            (":80", "*:80"),
            ("*:80", "*:80"),
            ("unix:/run/a.sock", "unix:/run/a.sock"),
            ("unix:/run/a.sock,mode=660", "unix:/run/a.sock,mode=660"),
        ] {
            let bind = Bind::parse(text).unwrap();
            assert_eq!(bind.to_string(), printed);
            assert_eq!(Bind::parse(printed), Ok(bind));
        }
        for bad in [
            "80",
            "127.0.0.1",
            "127.0.0.1:http",
            "127.0.0.1:+80",
            "[127.0.0.1]:80",
            "localhost:80",
            "::1:80",
            ":x",
            ":70000",
            "unix:",
            "unix:/a,mode=9",
            "unix:/a,mode=999",
        ] {
            assert!(Bind::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn networks_need_clean_prefixes() {
        assert_eq!(
            <IpNet as Text>::parse("127.0.0.1").unwrap().to_string(),
            "127.0.0.1/32"
        );
        assert!(
            <IpNet as Text>::parse("10.1.0.0/8")
                .unwrap_err()
                .hint
                .unwrap()
                .contains("10.0.0.0/8")
        );
    }
}
