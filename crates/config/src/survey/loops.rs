//! Fronts that lead back to themselves.

use clearway_base::hash::Map;
use clearway_outcome::Speaker;

use super::{BackendSurvey, Pitfall, ServerSurvey, Spoke, Survey, units};
use crate::diagnostic::Origin;

/// A way from a front to another, or to itself.
struct Edge<'a> {
    from: usize,
    to: usize,
    backend: &'a BackendSurvey,
    server: &'a ServerSurvey,
}

/// Servers that are this balancer itself, on a way that comes back to where it began. A front that
/// leads to another one is no mistake. Ways whose origin is in `beside` change the path, so where they
/// lead is not known.
pub(super) fn find(survey: &Survey, beside: &[Origin], fix: &str) -> Vec<Pitfall> {
    let edges = edges(survey, beside);
    let mut pitfalls: Vec<Pitfall> = Vec::new();
    for to in 0..survey.fronts.len() {
        let mut into = edges.iter().filter(|edge| edge.to == to).peekable();
        if into.peek().is_none() {
            continue;
        }
        let reached = reached(to, &edges, survey.fronts.len());
        for edge in into {
            let is_loop = reached.get(edge.from).copied().unwrap_or(false);
            let origin = edge.server.origin.clone().unwrap_or_default();
            if !is_loop || pitfalls.iter().any(|known| known.origin == origin) {
                continue;
            }
            pitfalls.push(Pitfall {
                cause: "proxy-loop",
                backend: edge.backend.name.clone(),
                words: format!(
                    "{} is an address that this balancer listens on itself, and requests that come in \
                     there are sent to it again.",
                    edge.server.address()
                ),
                fix: fix.to_owned(),
                origin,
            });
        }
    }
    pitfalls
}

fn edges<'a>(survey: &'a Survey, beside: &[Origin]) -> Vec<Edge<'a>> {
    let listening = Listening::read(survey);
    let mut edges = Vec::new();
    for backend in &survey.backends {
        if backend
            .pass_origin
            .as_ref()
            .is_some_and(|at| beside.contains(at))
        {
            continue;
        }
        for server in backend.servers.iter().filter(|server| !server.down) {
            let there = listening.at(server);
            if there.is_empty() {
                continue;
            }
            let fronts = survey.fronts.iter().enumerate();
            for (from, _) in fronts.filter(|(_, front)| front.backends.contains(&backend.name)) {
                if let Some(to) = taken_by(survey, from, &there, backend, server) {
                    edges.push(Edge {
                        from,
                        to,
                        backend,
                        server,
                    });
                }
            }
        }
    }
    edges
}

/// The fronts by what they listen on.
struct Listening {
    ports: Map<u16, Vec<(usize, String)>>,
    sockets: Map<String, Vec<usize>>,
}

impl Listening {
    fn read(survey: &Survey) -> Self {
        let mut listening = Self {
            ports: Map::default(),
            sockets: Map::default(),
        };
        for (index, front) in survey.fronts.iter().enumerate() {
            for bind in &front.binds {
                let address = bind.address.as_str();
                let prefixes = ["unix:", "unix@", "abns@", "ipv4@", "ipv6@"];
                let mut bare = prefixes
                    .iter()
                    .filter_map(|prefix| address.strip_prefix(prefix));
                let bare = bare.next().unwrap_or(address);
                let (host, port) = units::host_and_port(bare);
                if port == 0 {
                    listening
                        .sockets
                        .entry(bare.to_owned())
                        .or_default()
                        .push(index);
                } else {
                    listening.ports.entry(port).or_default().push((index, host));
                }
            }
        }
        listening
    }

    /// The fronts that listen where a server is.
    fn at(&self, server: &ServerSurvey) -> Vec<usize> {
        if server.is_unix {
            return self.sockets.get(&server.host).cloned().unwrap_or_default();
        }
        let ip = server.host.parse::<std::net::IpAddr>();
        // Nobody is at the address of all; connecting to it ends at the host itself.
        let is_here = matches!(server.host.as_str(), "localhost" | "*")
            || ip.is_ok_and(|ip| ip.is_loopback() || ip.is_unspecified());
        let is_same = |host: &str| {
            let is_every = matches!(host, "" | "*" | "0.0.0.0" | "::");
            host == server.host || (is_here && is_every)
        };
        let there = self.ports.get(&server.port).into_iter().flatten();
        there
            .filter(|(_, host)| is_same(host))
            .map(|(index, _)| *index)
            .collect()
    }
}

/// Which of several fronts at the same address takes the request: with NGINX its Host decides.
fn taken_by(
    survey: &Survey,
    from: usize,
    listening: &[usize],
    backend: &BackendSurvey,
    server: &ServerSurvey,
) -> Option<usize> {
    let first = listening.first().copied();
    if survey.speaker != Speaker::Nginx || backend.speaks.value == Spoke::Tcp {
        return first;
    }
    let host = match backend.host.as_ref().map(|host| host.value.as_str()) {
        Some("$host" | "$http_host") | None => {
            return if listening.contains(&from) {
                Some(from)
            } else {
                first
            };
        }
        Some("$proxy_host") => server.host.as_str(),
        Some(host) if host.contains('$') => return None,
        Some(host) => host,
    };
    let serves = |index: &&usize| {
        let front = survey.fronts.get(**index);
        front.is_some_and(|front| front.hosts.iter().any(|known| known == host))
    };
    listening.iter().find(serves).copied().or(first)
}

/// Which fronts a front leads to, itself only by a way around.
fn reached(start: usize, edges: &[Edge<'_>], count: usize) -> Vec<bool> {
    let mut reached = vec![false; count];
    let mut open = vec![start];
    // A way to the front itself is already one around.
    while let Some(at) = open.pop() {
        if let Some(seen) = reached.get_mut(at) {
            if *seen {
                continue;
            }
            *seen = true;
        }
        open.extend(
            edges
                .iter()
                .filter(|edge| edge.from == at)
                .map(|edge| edge.to),
        );
    }
    reached
}
