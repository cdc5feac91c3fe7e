//! Whom a sighting is about, in the words of the configuration where there is one.

use std::cmp::Reverse;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use clearway_base::hash::Map;
use clearway_config::survey::{BackendSurvey, ServerSurvey, Survey};
use clearway_outcome::{FaultKind, Sighting, Speaker};

use crate::case::Subject;

/// Most addresses that are remembered behind names.
const ADDRESSES: usize = 4_096;

/// What a log or a report calls a server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Called<'a> {
    /// Who calls it so.
    pub(super) speaker: Speaker,
    /// The backend.
    pub(super) backend: &'a str,
    /// The server's name.
    pub(super) server: &'a str,
    /// Its address.
    pub(super) address: &'a str,
}

impl<'a> Called<'a> {
    /// A server that is known by its name, or by its address where it has none.
    pub(super) fn by_label(speaker: Speaker, backend: &'a str, label: &'a str) -> Self {
        let is_address = label.starts_with("unix:") || label.parse::<SocketAddr>().is_ok();
        let (server, address) = if is_address { ("", label) } else { (label, "") };
        Self {
            speaker,
            backend,
            server,
            address,
        }
    }

    /// As it is called, when no configuration says more.
    fn subject(self) -> Subject {
        Subject {
            speaker: self.speaker,
            backend: self.backend.to_owned(),
            server: self.server.to_owned(),
            address: self.address.to_owned(),
        }
    }
}

/// Somebody a sighting may be about.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) subject: Subject,
    /// The configuration that says more.
    pub(super) survey: Option<usize>,
    /// Its backends that have the server, by their places.
    backends: Vec<usize>,
    /// Its case, once there is one.
    pub(super) case: Option<usize>,
}

/// Configurations, and the addresses behind the names in them.
#[derive(Debug, Default)]
pub(super) struct Atlas {
    pub(super) surveys: Vec<Arc<Survey>>,
    addresses: Map<IpAddr, Vec<String>>,
    count: usize,
}

impl Atlas {
    /// Remembers that an address stands behind a name.
    pub(super) fn know(&mut self, name: &str, address: IpAddr) {
        if self.count >= ADDRESSES {
            return;
        }
        let names = self.addresses.entry(address).or_default();
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
            self.count += 1;
        }
    }

    /// Whom it is about; where the configuration has a server more than once, the first.
    pub(super) fn locate(&self, called: Called<'_>) -> (Subject, Option<usize>) {
        let candidates = self.candidates(called);
        let first = candidates.into_iter().next();
        first.map_or_else(
            || (called.subject(), None),
            |candidate| (candidate.subject, candidate.survey),
        )
    }

    /// Everybody it may be about, at least one.
    pub(super) fn candidates(&self, called: Called<'_>) -> Vec<Candidate> {
        let own = self.surveys.iter().enumerate();
        let own = own.filter(|(_, survey)| survey.speaker == called.speaker);
        let mut out: Vec<Candidate> = Vec::new();
        for (at, survey) in own.clone() {
            for (index, backend, server) in self.find(survey, called) {
                let candidate = Candidate {
                    subject: subject(called, backend, server),
                    survey: Some(at),
                    backends: vec![index],
                    case: None,
                };
                let known = out
                    .iter_mut()
                    .find(|known| known.subject == candidate.subject);
                match known {
                    Some(known) => known.backends.push(index),
                    None => out.push(candidate),
                }
            }
        }
        if out.is_empty() {
            out.push(Candidate {
                subject: called.subject(),
                // What holds for all of it is worth knowing even so.
                survey: own.map(|(at, _)| at).next(),
                backends: Vec::new(),
                case: None,
            });
        }
        out
    }

    /// The one of several that a sighting fits best.
    pub(super) fn choose(&self, candidates: &[Candidate], seen: &Sighting<'_>) -> usize {
        let scores = candidates
            .iter()
            .map(|candidate| self.score(candidate, seen));
        // Of equals the first.
        let best = scores
            .enumerate()
            .max_by_key(|(at, score)| (*score, Reverse(*at)));
        best.map_or(0, |(at, _)| at)
    }

    fn score(&self, candidate: &Candidate, seen: &Sighting<'_>) -> usize {
        let survey = candidate.survey.and_then(|at| self.surveys.get(at));
        let Some(survey) = survey else { return 0 };
        let backends = candidate
            .backends
            .iter()
            .filter_map(|at| survey.backends.get(*at));
        backends
            .map(|backend| fit(backend, seen))
            .max()
            .unwrap_or(0)
    }

    fn find<'s>(
        &self,
        survey: &'s Survey,
        called: Called<'_>,
    ) -> Vec<(usize, &'s BackendSurvey, Option<&'s ServerSurvey>)> {
        let is_it = |server: &&ServerSurvey| {
            (!called.server.is_empty() && server.name == called.server)
                || self.is_at(server, called.address)
        };
        let backends = survey.backends.iter().enumerate();
        let named = backends
            .clone()
            .filter(|(_, backend)| !called.backend.is_empty() && backend.name == called.backend);
        let by_name: Vec<_> = named
            .map(|(at, backend)| (at, backend, backend.servers.iter().find(is_it)))
            .collect();
        let with_server: Vec<_> = by_name
            .iter()
            .filter(|(.., server)| server.is_some())
            .copied()
            .collect();
        if !with_server.is_empty() {
            return with_server;
        }
        if !by_name.is_empty() {
            return by_name.into_iter().take(1).collect();
        }
        if !called.backend.is_empty() && called.speaker != Speaker::Nginx {
            return Vec::new();
        }
        // NGINX's logs name the address alone.
        let there = backends.filter_map(|(at, backend)| {
            let mut servers = backend.servers.iter();
            let server = servers.find(|server| self.is_at(server, called.address))?;
            Some((at, backend, Some(server)))
        });
        there.collect()
    }

    /// Whether a server of a configuration is at an address of a log.
    fn is_at(&self, server: &ServerSurvey, address: &str) -> bool {
        if address.is_empty() {
            return false;
        }
        if server.address() == address {
            return true;
        }
        let Ok(socket) = address.parse::<SocketAddr>() else {
            return false;
        };
        if server.is_unix || server.port != socket.port() {
            return false;
        }
        let names = self.addresses.get(&socket.ip());
        names.is_some_and(|names| names.contains(&server.host))
            || (server.host == "localhost" && socket.ip().is_loopback())
    }
}

fn subject(called: Called<'_>, backend: &BackendSurvey, server: Option<&ServerSurvey>) -> Subject {
    Subject {
        speaker: called.speaker,
        backend: backend.name.clone(),
        server: server.map_or_else(|| called.server.to_owned(), |s| s.name.clone()),
        // What was really connected to is told by the log; behind a name there may be several.
        address: match called.address {
            "" => server.map(ServerSurvey::address).unwrap_or_default(),
            logged => logged.to_owned(),
        },
    }
}

/// How well a way to servers fits a request and its failure.
fn fit(backend: &BackendSurvey, seen: &Sighting<'_>) -> usize {
    let of_tls = |kind: FaultKind| kind.code().starts_with("server_tls") || is_certificate(kind);
    let is_tls = !seen.suspects.is_empty() && seen.suspects.iter().all(of_tls);
    let by_fault = match (is_tls, backend.tls.is_some()) {
        (true, true) => 10_000,
        (true, false) | (false, _) => 0,
    };
    let by_place = backend.places.iter().filter_map(|place| {
        // `example.org ^~ /api/`
        let mut words = place.split(' ').filter(|word| !word.is_empty());
        let path = words.next_back().filter(|path| path.starts_with('/'));
        let front = words.next().unwrap_or_default();
        let is_front = seen.listener.is_empty() || front.is_empty() || front == seen.listener;
        let is_below = path.is_none_or(|path| seen.path.starts_with(path));
        (is_front && is_below).then(|| 1 + path.map_or(0, str::len))
    });
    by_fault + by_place.max().unwrap_or(0)
}

fn is_certificate(kind: FaultKind) -> bool {
    let code = kind.code();
    code.starts_with("server_certificate")
        || matches!(code, "server_speaks_plain" | "server_wants_certificate")
}
