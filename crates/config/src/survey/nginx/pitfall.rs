//! What in an NGINX configuration will hurt.

use super::destination::Destination;
use super::pass::{self, Pass};
use super::upstream::{Member, Upstream};
use super::{Directive, Family, Walk};
use crate::diagnostic::Origin;
use crate::survey::{Pitfall, Spoke, units};

/// Variables that hold what the client asked for.
const OF_THE_CLIENT: &[&str] = &["$host", "$http_host", "$ssl_preread_server_name"];

/// Parts of paths by which people name what is for WebSocket.
const SOCKET_WORDS: &[&str] = &["websocket", "socket.io", "sockjs"];

impl Walk<'_> {
    /// What is wrong on one way to servers.
    pub(super) fn pass_pitfalls(&mut self, pass: &Pass<'_, '_>, destinations: &[Destination]) {
        let is_known =
            |destination: &Destination| self.upstream(pass.family, &destination.authority);
        let name = |upstream: Option<&Upstream<'_>>| match upstream {
            Some(upstream) => upstream.name.clone(),
            None => pass::shown(pass.argument),
        };
        let mut found = Vec::new();
        for destination in destinations {
            let upstream = is_known(destination);
            if upstream.is_none() && self.is_whole && self.needs_resolver(pass, destination) {
                found.push(no_resolver(pass, destination));
            }
            let of_tls = wrong_port(pass, destination, upstream).into_iter();
            found.extend(
                of_tls
                    .chain(no_server_name(pass, destination, upstream))
                    .map(|found| Pitfall {
                        backend: name(upstream),
                        ..found
                    }),
            );
        }
        let backend = name(destinations.first().and_then(&is_known));
        found.extend(no_upgrade(pass).map(|found| Pitfall { backend, ..found }));
        let rewrites = destinations.iter().any(|destination| destination.has_path);
        if rewrites && pass.path != "/" {
            self.beside.push(pass.directive.origin());
        }
        for pitfall in found {
            self.tell(pitfall);
        }
    }

    /// What is wrong with groups, whoever uses them.
    pub(super) fn upstream_pitfalls(&mut self) {
        let found: Vec<Pitfall> = self.upstreams.iter().flat_map(of_group).collect();
        for pitfall in found {
            self.tell(pitfall);
        }
    }

    /// A place is told of once, however many ways lead there.
    fn tell(&mut self, pitfall: Pitfall) {
        let mut known = self.survey.pitfalls.iter();
        let is_known =
            known.any(|known| known.cause == pitfall.cause && known.origin == pitfall.origin);
        if !is_known {
            self.survey.pitfalls.push(pitfall);
        }
    }

    /// Whether NGINX has to look a name up while it runs and nothing says where.
    fn needs_resolver(&self, pass: &Pass<'_, '_>, destination: &Destination) -> bool {
        if !pass.argument.contains('$') || pass.scope.find("resolver").is_some() {
            return false;
        }
        if destination.socket().is_some() {
            return false;
        }
        let (host, _) = units::host_and_port(&destination.authority);
        if destination.is_open() {
            return OF_THE_CLIENT.contains(&host.as_str());
        }
        !units::is_address(&host) && !self.implicit.contains(&host)
    }
}

fn no_resolver(pass: &Pass<'_, '_>, destination: &Destination) -> Pitfall {
    Pitfall {
        cause: "no-resolver-configured",
        backend: pass::shown(pass.argument),
        words: format!(
            "\"{} {}\" has a variable, so {} is looked up for each request, and no resolver is set: \
             every request gets a 502.",
            pass.names.pass, pass.argument, destination.authority
        ),
        fix: "Write \"resolver ADDRESS valid=10s;\" here or in a block around it, with the address of \
              a DNS server (127.0.0.11 in Docker)."
            .to_owned(),
        origin: pass.directive.origin(),
    }
}

/// TLS to a port where plain HTTP is usual, and the reverse.
fn wrong_port(
    pass: &Pass<'_, '_>,
    destination: &Destination,
    upstream: Option<&Upstream<'_>>,
) -> Vec<Pitfall> {
    let speaks = pass.names.speaks;
    if pass.family == Family::Stream || !matches!(speaks, Spoke::Http1 | Spoke::Http2) {
        return Vec::new();
    }
    let Some(upstream) = upstream else {
        let (_, port) = destination.host_and_port(speaks);
        if destination.socket().is_some() {
            return Vec::new();
        }
        let origin = pass.directive.origin();
        let found = port_pitfall(destination.tls, port, true, &destination.authority);
        return found.map(|found| found.at(origin)).into_iter().collect();
    };
    let usable = upstream.members.iter().filter(|member| !member.server.down);
    usable
        .filter(|member| !member.server.is_unix)
        .filter_map(|member| {
            let server = &member.server;
            let found = port_pitfall(destination.tls, server.port, member.has_port, &server.name)?;
            Some(found.at(member.directive.origin()))
        })
        .collect()
}

/// A pitfall without its place.
struct Found {
    cause: &'static str,
    words: String,
    fix: &'static str,
}

impl Found {
    fn at(self, origin: Origin) -> Pitfall {
        Pitfall {
            cause: self.cause,
            backend: String::new(),
            words: self.words,
            fix: self.fix.to_owned(),
            origin,
        }
    }
}

fn port_pitfall(tls: bool, port: u16, has_port: bool, server: &str) -> Option<Found> {
    match (tls, port) {
        (true, 80) if !has_port => Some(Found {
            cause: "tls-to-plaintext",
            words: format!(
                "{server} has no port, which means 80 in an upstream block, but TLS is spoken with it."
            ),
            fix: "Write the port of HTTPS behind the server, e.g. \":443\".",
        }),
        (true, 80) => Some(Found {
            cause: "tls-to-plaintext",
            words: format!("TLS is spoken with {server}, and port 80 is usually plain HTTP."),
            fix: "Write \"http://\" in proxy_pass, or the server's port for HTTPS.",
        }),
        (false, 443) => Some(Found {
            cause: "plaintext-to-tls",
            words: format!("Plain HTTP is spoken with {server}, and port 443 is usually HTTPS."),
            fix: "Write \"https://\" in proxy_pass, or the server's port for plain HTTP.",
        }),
        _ => None,
    }
}

/// TLS without the name of the server in it.
fn no_server_name(
    pass: &Pass<'_, '_>,
    destination: &Destination,
    upstream: Option<&Upstream<'_>>,
) -> Option<Pitfall> {
    let tls = &pass.names.tls;
    if !destination.tls || pass.scope.flag(tls.server_name, false).value {
        return None;
    }
    let (host, _) = units::host_and_port(&destination.authority);
    let members = upstream.map_or(&[][..], |upstream| &upstream.members);
    let mut hosts = members
        .iter()
        .map(|member: &Member<'_>| member.server.host.as_str());
    let verifies = pass.scope.flag(tls.verify, false).value;
    // Inside a network a machine mostly has one certificate, which matters only if it is verified.
    let is_name =
        |host: &str| units::is_public_name(host) || (verifies && units::is_full_name(host));
    let name = if upstream.is_none() && is_name(&host) {
        Some(host.as_str())
    } else {
        hosts.find(|host| is_name(host))
    };
    let words = match (name, verifies) {
        (Some(name), _) => format!(
            "TLS is spoken with {name} without its name (SNI): a server with several certificates refuses \
             that or shows another one."
        ),
        (None, true) => "Certificates are verified, but no name is asked for (SNI): a server with \
                         several certificates shows another one."
            .to_owned(),
        (None, false) => return None,
    };
    Some(Pitfall {
        cause: "tls-sni-missing-or-wrong",
        backend: String::new(),
        words,
        fix: format!(
            "Write \"{} on;\", and \"{} NAME;\" if the name is not the one in {}.",
            tls.server_name, tls.name, pass.names.pass
        ),
        origin: pass.directive.origin(),
    })
}

/// Places that are meant for WebSocket and do not pass the upgrade on.
fn no_upgrade(pass: &Pass<'_, '_>) -> Option<Pitfall> {
    if pass.names.pass != "proxy_pass" || pass.family == Family::Stream {
        return None;
    }
    let is_set = |header: &str| {
        pass.header(header)
            .is_some_and(|value| !value.value.is_empty())
    };
    let mut outer = pass.scope.everywhere(pass.names.set_header);
    let has_version = pass.version().value;
    let words = if is_set("Upgrade") {
        if pass
            .header("Connection")
            .is_some_and(|value| value.value.is_empty())
        {
            // Connections are kept on purpose; what is left of "Upgrade" does no harm.
            return None;
        } else if !is_set("Connection") {
            "\"Upgrade\" is set for servers, but not \"Connection\", without which it means nothing."
        } else if !has_version {
            "\"Upgrade\" is set for servers, but HTTP/1.0 is spoken with them (before NGINX 1.29.7), \
             which knows no upgrade."
        } else {
            return None;
        }
    } else if outer.any(pass::sets_upgrade) {
        "\"Upgrade\" is set in a block around, but a block with a proxy_set_header of its own inherits \
         none: requests for WebSocket fail here."
    } else if pass.location.is_some_and(is_for_sockets) {
        "This place is named for WebSocket, but the upgrade is not passed on."
    } else {
        return None;
    };
    Some(Pitfall {
        cause: "websocket-upgrade-stripped",
        backend: String::new(),
        words: words.to_owned(),
        fix: "Write \"proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; \
              proxy_set_header Connection $connection_upgrade;\" here, with a map of $http_upgrade \
              to $connection_upgrade."
            .to_owned(),
        origin: pass.directive.origin(),
    })
}

/// Whether a location's path or the comment above it is about WebSocket.
fn is_for_sockets(location: &Directive) -> bool {
    let names_it = |text: &str| {
        let text = text.to_ascii_lowercase();
        let mut parts = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '.');
        SOCKET_WORDS.iter().any(|word| text.contains(word)) || parts.any(|part| part == "ws")
    };
    let is_denied = |text: &str| {
        let mut words = text.split_ascii_whitespace();
        words.any(|word| matches!(word.to_ascii_lowercase().as_str(), "no" | "not" | "without"))
    };
    let mut comments = location.comments.iter();
    location.texts().any(names_it)
        || comments.any(|text| text.to_ascii_lowercase().contains("websocket") && !is_denied(text))
}

fn of_group(upstream: &Upstream<'_>) -> Vec<Pitfall> {
    let pitfall = |cause, words: String, fix: &str, origin| Pitfall {
        cause,
        backend: upstream.name.clone(),
        words,
        fix: fix.to_owned(),
        origin,
    };
    let mut found = Vec::new();
    let usable: Vec<_> = upstream
        .members
        .iter()
        .filter(|member| !member.server.down)
        .collect();
    if usable.is_empty() {
        let words = if upstream.members.is_empty() {
            format!("The group \"{}\" has no servers.", upstream.name)
        } else {
            format!(
                "Every server of the group \"{}\" is marked as down.",
                upstream.name
            )
        };
        let fix = "Write a \"server\" into the block that may be used.";
        let origin = upstream.directive.origin();
        found.push(pitfall("no-servers-configured", words, fix, origin));
    }
    if let [only] = usable.as_slice()
        && upstream.members.len() > 1
        && only.parameter("max_fails").is_none()
    {
        let words = format!(
            "{} is the only server that is used, but as others are listed (as down) one failed request \
             takes it out for 10 seconds.",
            only.server.name
        );
        let fix =
            "Remove the servers that are down, or write \"max_fails=0\" behind the other one.";
        found.push(pitfall(
            "passive-ejection",
            words,
            fix,
            only.directive.origin(),
        ));
    }
    if let Some(member) = upstream
        .resolved()
        .filter(|_| upstream.scope.find("resolver").is_none())
    {
        let words = format!(
            "{} is to be looked up while running (\"resolve\"), and no resolver is set.",
            member.server.name
        );
        let fix = "Write \"resolver ADDRESS valid=10s;\" into this upstream block or around it.";
        found.push(pitfall(
            "no-resolver-configured",
            words,
            fix,
            member.directive.origin(),
        ));
    }
    found
}
