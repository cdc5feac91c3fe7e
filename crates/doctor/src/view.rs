//! What judges ask of a case.

use std::net::IpAddr;

use clearway_config::Origin;
use clearway_config::survey::{BackendSurvey, Pitfall, ServerSurvey, Setting};
use clearway_outcome::{FaultKind, Speaker, Spoken, errno_name};

use crate::case::{Case, View};
use crate::evidence::{
    Ask, Change, ChangeKind, Connection, Fact, Finding, Greeting, Handshake, HostLook, Lookup,
    PortState, Probe, Reply, Source, UnixLook, Where,
};
use crate::group::Group;
use crate::opinion::{Opinion, Site};

/// Changes count as lately when they are at most this long before the first failure, in microseconds.
const LATELY_US: i64 = 300_000_000;

/// Whether nothing fails so without TLS with the server.
fn needs_tls(kind: FaultKind) -> bool {
    kind == FaultKind::ServerTlsTimeout || FaultKind::OF_SERVER_TLS.contains(&kind)
}

/// Kinds that need a network between.
const OF_NETWORKS: &[FaultKind] = &[
    FaultKind::ConnectUnreachable,
    FaultKind::ConnectReset,
    FaultKind::ConnectTimeout,
    FaultKind::OutOfPorts,
];
/// Kinds that need a Unix socket.
const OF_PATHS: &[FaultKind] = &[FaultKind::UnixMissing, FaultKind::UnixBacklogFull];

impl<'a> View<'a> {
    /// Whether the failures are, for sure, of one of these kinds.
    #[must_use]
    pub fn is(&self, kinds: &[FaultKind]) -> bool {
        !self.group.suspects.is_empty() && self.kinds().all(|kind| kinds.contains(&kind))
    }

    /// The kinds that the failures may be of, as far as logs, bytes and the configuration tell: without TLS
    /// nothing fails by it, and without a network nothing is unreachable.
    pub fn kinds(&self) -> impl Iterator<Item = FaultKind> + use<'a> {
        let backend = self.configured_backend();
        let is_plain = backend.is_some_and(|backend| backend.tls.is_none());
        let others = match self.case.site {
            Where::Unix(_) => OF_NETWORKS,
            Where::Socket(_) => OF_PATHS,
            Where::Name(..) | Where::Nowhere => &[],
        };
        let fits = move |kind: &FaultKind| !(others.contains(kind) || is_plain && needs_tls(*kind));
        let group = self.group;
        let is_narrowed = group.kinds().any(|kind| fits(&kind));
        group.kinds().filter(move |kind| !is_narrowed || fits(kind))
    }

    /// Whether nothing but one kind is possible.
    #[must_use]
    pub fn is_sure(&self) -> bool {
        self.group.kind().is_some()
    }

    /// Another group of failures on the same server.
    #[must_use]
    pub fn other(&self, kinds: &[FaultKind]) -> Option<&'a Group> {
        let groups = self.case.groups.iter();
        let mut others = groups.filter(|g| g.suspects != self.group.suspects);
        others.find(|group| group.is(kinds))
    }

    /// How the failures look, as a fact: "12 × connect_refused (ECONNREFUSED) within 0.4 ms".
    #[must_use]
    pub fn symptom(&self, words: impl Into<String>) -> Fact {
        let source = match self.group.speaker {
            Speaker::Clearway => Source::Attempt,
            Speaker::Nginx | Speaker::Haproxy | Speaker::Envoy | Speaker::Alb => Source::Log,
        };
        Fact::new(source, words).at(self.group.place.clone())
    }

    /// The failures in words. It weighs less the fewer of their kinds are those of a cause.
    #[must_use]
    pub fn seen(&self) -> Fact {
        let codes: Vec<&str> = self.kinds().map(FaultKind::code).collect();
        let mut words = match codes.as_slice() {
            [] => format!("{} ×", self.group.count),
            [one] => format!("{} × {one}", self.group.count),
            [a, b, c, _, _, rest @ ..] => format!(
                "{} × {a}, {b}, {c} or one of {} other kinds that the log does not tell apart",
                self.group.count,
                rest.len() + 2
            ),
            many => format!("{} × one of {}", self.group.count, many.join(", ")),
        };
        if let Some(name) = self.group.errno().and_then(errno_name) {
            words.push_str(&format!(" ({name})"));
        }
        let elapsed = self.group.elapsed;
        if elapsed.count > 0 {
            words.push_str(&if elapsed.is_constant(2, 1_000) {
                format!(", after {}", time(elapsed.mean()))
            } else {
                format!(", after {} to {}", time(elapsed.min), time(elapsed.max))
            });
        }
        if !self.group.words.is_empty() {
            words.push_str(&format!(": \"{}\"", self.group.words));
        }
        let mut fact = self.symptom(words);
        fact.is_kind_alone = true;
        fact
    }

    /// The backend in the configuration.
    #[must_use]
    pub fn backend(&self) -> Option<&'a BackendSurvey> {
        self.case.backend()
    }

    /// The server in the configuration.
    #[must_use]
    pub fn server(&self) -> Option<&'a ServerSurvey> {
        self.case.server()
    }

    /// The server's address for a reader: `10.0.0.2:8080`.
    #[must_use]
    pub fn address(&self) -> &'a str {
        shown_address(self.case)
    }

    /// The server's port; 0 where there is none.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.case.site.port()
    }

    /// Whether the server is behind a Unix socket.
    #[must_use]
    pub fn is_unix(&self) -> bool {
        matches!(self.case.site, Where::Unix(_))
    }

    /// A setting as a fact, with its file and line.
    #[must_use]
    pub fn setting<T>(&self, setting: &Setting<T>, words: impl Into<String>) -> Fact {
        let place = setting.origin.as_ref().map(ToString::to_string);
        Fact::new(Source::Config, words).at(place.unwrap_or_default())
    }

    /// How an edit of a setting is told: `in nginx.conf:41 set proxy_read_timeout to 90s`.
    #[must_use]
    pub fn edit<T>(&self, setting: &Setting<T>, to: &str) -> (String, String) {
        let place = match &setting.origin {
            Some(origin) => format!("in {origin}, set {}", setting.name),
            None => format!("set {}", setting.name),
        };
        (place, to.to_owned())
    }

    /// What probes found that were made since the failures began.
    pub fn findings(&self) -> impl Iterator<Item = (&'a Probe, &'a Finding)> + use<'a> {
        let own = self.case.findings_for(self.group);
        own.map(|found| (&found.probe, &found.finding))
    }

    /// What a connection that says nothing met.
    #[must_use]
    pub fn connection(&self) -> Option<&'a Connection> {
        self.findings().find_map(|(_, found)| {
            if let Finding::Connect(it) = found {
                Some(&**it)
            } else {
                None
            }
        })
    }

    /// Other ports of the server's host.
    #[must_use]
    pub fn ports(&self) -> &'a [(u16, PortState)] {
        let found = self.findings().find_map(|(_, found)| {
            if let Finding::Ports(it) = found {
                Some(it.as_slice())
            } else {
                None
            }
        });
        found.unwrap_or_default()
    }

    /// What this host's kernel says.
    #[must_use]
    pub fn host(&self) -> Option<&'a HostLook> {
        self.findings().find_map(|(_, found)| {
            if let Finding::Host(it) = found {
                Some(&**it)
            } else {
                None
            }
        })
    }

    /// Look-ups of the server's name.
    #[must_use]
    pub fn lookups(&self) -> &'a [Lookup] {
        let found = self.findings().find_map(|(_, found)| {
            if let Finding::Lookup(it) = found {
                Some(it.as_slice())
            } else {
                None
            }
        });
        found.unwrap_or_default()
    }

    /// Every request that was made on purpose, with what came of it.
    pub fn replies(&self) -> impl Iterator<Item = (&'a Ask, &'a Reply)> + use<'a> {
        self.findings().filter_map(|pair| match pair {
            (Probe::Request(ask), Finding::Request(reply)) => Some((ask, &**reply)),
            _ => None,
        })
    }

    /// What came of just this request.
    #[must_use]
    pub fn reply(&self, ask: &Ask) -> Option<&'a Reply> {
        self.replies()
            .find(|(known, _)| *known == ask)
            .map(|(_, reply)| reply)
    }

    /// Every handshake that was made on purpose, with what came of it.
    pub fn handshakes(&self) -> impl Iterator<Item = (&'a Greeting, &'a Handshake)> + use<'a> {
        self.findings().filter_map(|pair| match pair {
            (Probe::Hello(greeting), Finding::Hello(handshake)) => Some((greeting, &**handshake)),
            _ => None,
        })
    }

    /// What came of just this handshake.
    #[must_use]
    pub fn handshake(&self, greeting: &Greeting) -> Option<&'a Handshake> {
        let mut all = self.handshakes();
        all.find(|(known, _)| *known == greeting)
            .map(|(_, found)| found)
    }

    /// Whether HTTP/2 in clear is spoken.
    #[must_use]
    pub fn speaks_http2(&self) -> Option<bool> {
        self.findings().find_map(|(_, found)| {
            if let Finding::Preface { speaks_http2, .. } = found {
                Some(*speaks_http2)
            } else {
                None
            }
        })
    }

    /// What stands at the Unix socket's path.
    #[must_use]
    pub fn unix(&self) -> Option<&'a UnixLook> {
        self.findings().find_map(|(_, found)| {
            if let Finding::Unix(it) = found {
                Some(&**it)
            } else {
                None
            }
        })
    }

    /// After how long the server closes idle connections, in milliseconds, where that was seen.
    #[must_use]
    pub fn keeps_ms(&self) -> Option<u64> {
        self.findings().find_map(|(_, found)| {
            if let Finding::Keep {
                closed_after_ms, ..
            } = found
            {
                *closed_after_ms
            } else {
                None
            }
        })
    }

    /// Whether a probe was made, whatever came of it.
    #[must_use]
    pub fn has_tried(&self, probe: &Probe) -> bool {
        self.findings().any(|(known, _)| known == probe)
    }

    /// Changes of a kind shortly before the first failure, or since.
    pub fn lately(
        &self,
        kinds: &'static [ChangeKind],
    ) -> impl Iterator<Item = &'a Change> + use<'a> {
        let first = self.group.first_us;
        self.case.changes.iter().filter(move |change| {
            kinds.contains(&change.kind)
                && first.is_none_or(|first| change.at_us >= first - LATELY_US)
        })
    }

    /// A fact told by a probe.
    #[must_use]
    pub fn probed(&self, words: impl Into<String>) -> Fact {
        Fact::new(Source::Probe, words)
    }

    /// A fact told by this host's kernel.
    #[must_use]
    pub fn kernel(&self, words: impl Into<String>) -> Fact {
        Fact::new(Source::Kernel, words)
    }

    /// What the server spoke, told from the first bytes of the failures.
    #[must_use]
    pub fn spoken(&self) -> Option<Spoken<'a>> {
        Spoken::of(self.group.first_bytes())
    }

    /// Whose language remedies are written in: the configuration's, else that of who told of the failures.
    #[must_use]
    pub fn dialect(&self) -> Speaker {
        let survey = self.case.survey();
        survey.map_or(self.group.speaker, |survey| survey.speaker)
    }

    /// A request for the path that failed most, where asking for it changes nothing; else for `/`.
    #[must_use]
    pub fn ask_again(&self) -> Ask {
        let is_read = |(method, _): (&str, u64)| matches!(method, "GET" | "HEAD");
        let path = self.group.paths.first().unwrap_or_default();
        let is_safe = self.group.methods.iter().all(is_read) && path != "/";
        Ask {
            path: if is_safe {
                path.to_owned()
            } else {
                String::new()
            },
            ..Ask::default()
        }
    }

    /// Whether the words of the log contain one of these, which are in lower case.
    #[must_use]
    pub fn says(&self, phrases: &[&str]) -> bool {
        let words = self.group.words.to_ascii_lowercase();
        phrases.iter().any(|phrase| words.contains(phrase))
    }

    /// The server in the configuration and its group, also where a log has the address and the
    /// configuration has a name: that is the one server with a name and this port, if nothing in the
    /// configuration has the address itself.
    #[must_use]
    pub fn configured(&self) -> Option<(&'a BackendSurvey, &'a ServerSurvey)> {
        if let Some(found) = self.backend().zip(self.server()) {
            return Some(found);
        }
        let Where::Socket(address) = &self.case.site else {
            return None;
        };
        let backends = match self.backend() {
            Some(backend) => std::slice::from_ref(backend),
            None => self.case.survey()?.backends.as_slice(),
        };
        let mut named = backends.iter().flat_map(|backend| {
            let servers = backend.servers.iter().filter(|server| {
                !server.is_unix && server.port == address.port() && !is_address(&server.host)
            });
            servers.map(move |server| (backend, server))
        });
        let (first, more) = (named.next(), named.next());
        first.filter(|_| more.is_none())
    }

    /// The group in the configuration, found as [`View::configured`] does where its name is not told.
    #[must_use]
    pub fn configured_backend(&self) -> Option<&'a BackendSurvey> {
        let by_server = || self.configured().map(|(backend, _)| backend);
        self.backend().or_else(by_server)
    }

    /// `in nginx.conf:12:5, ` of the server's own line, to put before what is to be done there; empty where it is
    /// not known.
    #[must_use]
    pub fn place_of_server(&self) -> String {
        let found = self.configured();
        place(found.and_then(|(_, server)| server.origin.as_ref()))
    }

    /// The same of where requests are passed on to the backend, or else of the backend.
    #[must_use]
    pub fn place_of_pass(&self) -> String {
        let backend = self.configured_backend();
        place(backend.and_then(|backend| backend.pass_origin.as_ref().or(backend.origin.as_ref())))
    }

    /// Weighs what the configuration says already without any traffic. `is_sure`: the failures are of no
    /// other kind than those the cause shows as.
    pub fn weigh_pitfalls(&self, it: &mut Opinion, is_sure: bool) {
        let pitfalls = self
            .case
            .survey()
            .map_or(&[][..], |survey| &survey.pitfalls);
        let (id, mut is_first) = (it.cause.id(), true);
        for pitfall in pitfalls.iter().filter(|pitfall| pitfall.cause == id) {
            let is_of_all = pitfall.backend.is_empty();
            if !is_of_all && !self.is_about(pitfall) {
                continue;
            }
            let fact = Fact::new(Source::Config, pitfall.words.trim_end_matches('.'))
                .at(pitfall.origin.to_string());
            match (is_first, is_sure && !is_of_all) {
                (true, true) => it.strong(fact),
                (true, false) => it.fair(fact),
                (false, _) => it.note(fact),
            }
            is_first = false;
            let words = pitfall.fix.trim_end_matches('.');
            it.fix(Site::Config, format!("At {}: {words}", pitfall.origin), "");
        }
    }

    /// Whether a pitfall is about the backend in question: by its name, or by where it stands.
    fn is_about(&self, pitfall: &Pitfall) -> bool {
        if pitfall.backend == self.case.subject.backend {
            return true;
        }
        let Some(backend) = self.configured_backend() else {
            return false;
        };
        let server = self
            .configured()
            .and_then(|(_, server)| server.origin.as_ref());
        let places = [
            backend.origin.as_ref(),
            backend.pass_origin.as_ref(),
            server,
        ];
        let mut places = places.into_iter().flatten();
        pitfall.backend == backend.name
            || places.any(|at| at.line == pitfall.origin.line && at.file == pitfall.origin.file)
    }
}

/// The server's address, or its name where only that is known, as it may stand in a command: what a
/// stranger's log brings in its place is not shown.
#[must_use]
pub(crate) fn shown_address(case: &Case) -> &str {
    let text = match case.subject.address.as_str() {
        "" => case.subject.server.as_str(),
        address => address,
    };
    let is_plain = |c: char| c.is_alphanumeric() || "_-./:@%+=,[]".contains(c);
    match text {
        "" => "the server",
        text if text.chars().all(is_plain) && !text.starts_with('-') => text,
        _ => "ADDRESS",
    }
}

/// A word for a shell: quoted where it has anything but what is plain, without control characters.
#[must_use]
pub(crate) fn shell(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./:@%+=,~".contains(c);
    if !word.is_empty() && !word.starts_with('~') && word.chars().all(is_plain) {
        return word.to_owned();
    }
    let shown: String = word.chars().filter(|c| !c.is_control()).collect();
    format!("'{}'", shown.replace('\'', "'\\''"))
}

/// `in nginx.conf:12:5, ` to put before what is to be done there; empty where the place is not known.
#[must_use]
pub(crate) fn place(origin: Option<&Origin>) -> String {
    origin.map_or_else(String::new, |origin| format!("in {origin}, "))
}

/// Whether a host is an address and no name.
#[must_use]
pub(crate) fn is_address(host: &str) -> bool {
    host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
}

/// A time for a reader: `0.3 ms`, `12 ms`, `5.0 s`.
#[must_use]
pub(crate) fn time(us: u64) -> String {
    match us {
        0..=9_999 => format!("{}.{} ms", us / 1_000, us % 1_000 / 100),
        10_000..=999_999 => format!("{} ms", us / 1_000),
        _ => format!("{}.{} s", us / 1_000_000, us % 1_000_000 / 100_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_a_shell_stay_one_word() {
        assert_eq!(shell("/a/b.html"), "/a/b.html");
        assert_eq!(shell(""), "''");
        assert_eq!(shell("/a;rm -rf /"), "'/a;rm -rf /'");
        assert_eq!(shell("it's\n`id`"), "'it'\\''s`id`'");
    }

    #[test]
    fn times_are_short() {
        assert_eq!(time(320), "0.3 ms");
        assert_eq!(time(45_900), "45 ms");
        assert_eq!(time(5_020_000), "5.0 s");
    }
}
