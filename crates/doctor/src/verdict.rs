//! Verdicts: ranked causes for a group of like failures.

use clearway_outcome::{FaultKind, Speaker};

use crate::case::{Case, View};
use crate::cause::Cause;
use crate::evidence::Fact;
use crate::group::Group;
use crate::opinion::{Confidence, Fix, Opinion};
use crate::page::Ask;
use crate::view::{is_address, shown_address};

/// A cause is named only when at least this much speaks for it.
const NAMED: i32 = 16;
/// The same where a log does not tell several kinds apart: what is frequent is worth a look.
const NAMED_VAGUELY: i32 = 8;
/// A cause is likely when this much speaks for it,
const LIKELY: i32 = 44;
/// and this much more than for any other.
const LEAD: i32 = 12;
/// Other causes are told when they are at most this far behind.
const NEAR: i32 = 34;
/// Most other causes that are told.
const ALTERNATIVES: usize = 20;

/// Another cause that it may be.
#[derive(Clone, Debug)]
pub struct Alternative {
    /// Which.
    pub cause: Cause,
    /// How sure.
    pub confidence: Confidence,
    /// The command that tells them apart, or what is to be looked at.
    pub tell_apart: String,
}

/// What is thought of a group of like failures.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The backend.
    pub backend: String,
    /// The server; empty = none was chosen.
    pub server: String,
    /// The fault kinds, as codes.
    pub error: String,
    /// The stage, where no cause is known, by its phase; else the cause's.
    pub stage: &'static str,
    /// The cause; `None` = unknown.
    pub cause: Option<Cause>,
    /// How sure.
    pub confidence: Confidence,
    /// Who has to act.
    pub party: &'static str,
    /// One sentence.
    pub summary: String,
    /// What speaks for it.
    pub evidence: Vec<Fact>,
    /// What speaks against it.
    pub against: Vec<Fact>,
    /// What is not known.
    pub missing: Vec<String>,
    /// What mends it.
    pub fixes: Vec<Fix>,
    /// Other causes that it may be.
    pub alternatives: Vec<Alternative>,
    /// How many failures.
    pub count: u64,
    /// How many of their requests were saved.
    pub saved: u64,
    /// The first, in microseconds since 1970.
    pub first_us: Option<i64>,
    /// The last.
    pub last_us: Option<i64>,
    /// Ids of a few of the requests.
    pub requests: Vec<String>,
}

impl Verdict {
    /// The verdict on a group.
    #[must_use]
    pub fn of(case: &Case, group: &Group) -> Self {
        let view = View { case, group };
        let mut opinions = case.opinions(group);
        opinions.retain(|opinion| !opinion.is_ruled_out());
        let is_vague = !group.suspects.is_empty() && group.kind().is_none();
        let least = if is_vague { NAMED_VAGUELY } else { NAMED };
        let (best, rest) = match opinions.split_first() {
            Some((best, rest)) if best.score() >= least => (Some(best), rest),
            _ => (None, opinions.as_slice()),
        };
        let mut out = Self::empty(case, group);
        if let Some(best) = best {
            out.name(case, best, rest);
        } else {
            out.evidence.push(view.seen());
            out.missing = rest.iter().flat_map(|o| o.missing.clone()).collect();
            out.missing.dedup();
            if out.missing.is_empty() {
                out.missing
                    .push("evidence beyond the failure itself".to_owned());
            }
        }
        if is_vague && out.confidence == Confidence::Possible {
            out.missing.extend(log_more(group).map(str::to_owned));
        }
        let confidence = best.map_or(0, Opinion::score);
        // Where nothing decides, whatever nothing speaks against may be it.
        let is_open = out.confidence == Confidence::Possible;
        let near = rest.iter().filter(|other| {
            let score = other.score();
            let is_near = score >= confidence - NEAR || 3 * score >= confidence;
            score >= NAMED / 2 && is_near || is_open && other.against.is_empty()
        });
        if out.confidence < Confidence::Certain || best.is_none() {
            out.alternatives = near
                .take(ALTERNATIVES)
                .map(|other| Alternative {
                    cause: other.cause,
                    confidence: Confidence::Possible,
                    tell_apart: tell_apart(case, other),
                })
                .collect();
        }
        out
    }

    fn empty(case: &Case, group: &Group) -> Self {
        let codes: Vec<&str> = group.suspects.iter().map(FaultKind::code).collect();
        let kind = group.suspects.iter().next();
        let server = if case.subject.server.is_empty() {
            &case.subject.address
        } else {
            &case.subject.server
        };
        Self {
            backend: case.subject.backend.clone(),
            server: server.clone(),
            error: match group.symptom() {
                Some(symptom) => symptom.code().to_owned(),
                None => codes.join("|"),
            },
            stage: "unknown",
            cause: None,
            confidence: Confidence::Possible,
            party: kind.map_or("unknown", |kind| kind.party().name()),
            summary: kind.map_or_else(String::new, |kind| kind.summary().to_owned()),
            evidence: Vec::new(),
            against: Vec::new(),
            missing: Vec::new(),
            fixes: Vec::new(),
            alternatives: Vec::new(),
            count: group.count,
            saved: group.saved,
            first_us: group.first_us,
            last_us: group.last_us,
            requests: group.requests.clone(),
        }
    }

    fn name(&mut self, case: &Case, best: &Opinion, rest: &[Opinion]) {
        let page = best.cause.page();
        let lead = best.score() - rest.first().map_or(0, Opinion::score);
        self.cause = Some(best.cause);
        self.stage = best.cause.stage().name();
        self.confidence = if best.is_proven() {
            Confidence::Certain
        } else if best.score() >= LIKELY && lead >= LEAD {
            Confidence::Likely
        } else {
            Confidence::Possible
        };
        self.party = page.party.name();
        self.summary = best
            .summary
            .clone()
            .unwrap_or_else(|| format!("{}.", page.title));
        self.evidence.clone_from(&best.evidence);
        self.against.clone_from(&best.against);
        self.missing.clone_from(&best.missing);
        self.fixes.clone_from(&best.fixes);
        if self.fixes.is_empty() {
            self.fixes.push(Fix {
                words: page.fix.to_owned(),
                command: Ask::of(page).map_or_else(String::new, |ask| filled(ask.command, case)),
                on: crate::opinion::Site::of(page.party),
                is_verified: false,
            });
        }
    }

    /// Takes in the verdict on another group with the same cause.
    pub(crate) fn join(&mut self, other: Self) {
        self.count += other.count;
        self.saved += other.saved;
        self.first_us = [self.first_us, other.first_us].into_iter().flatten().min();
        self.last_us = self.last_us.max(other.last_us);
        for code in other.error.split('|') {
            if !self.error.split('|').any(|known| known == code) {
                self.error = format!("{}|{code}", self.error);
            }
        }
        if other.confidence > self.confidence {
            self.confidence = other.confidence;
            self.summary = other.summary;
            self.alternatives = other.alternatives;
            self.fixes = other.fixes;
        }
        for fact in other.evidence {
            if !self.evidence.contains(&fact) {
                self.evidence.push(fact);
            }
        }
    }

    /// Id of the cause, or `unknown`.
    #[must_use]
    pub fn cause_id(&self) -> &'static str {
        self.cause.map_or("unknown", Cause::id)
    }
}

/// The command that tells whether it is this cause, or the probe that would.
fn tell_apart(case: &Case, other: &Opinion) -> String {
    match Ask::of(other.cause.page()) {
        Some(ask) => filled(ask.command, case),
        None => other
            .probes
            .first()
            .map_or_else(String::new, crate::evidence::Probe::words),
    }
}

/// What the log would have to say for more to be known.
fn log_more(group: &Group) -> Option<&'static str> {
    const HAPROXY: &[FaultKind] = &[FaultKind::ConnectRefused, FaultKind::ServerClosedNoResponse];
    const NGINX: &[FaultKind] = &[
        FaultKind::ServerClosedNoResponse,
        FaultKind::ResponseTimeout,
    ];
    match group.speaker {
        Speaker::Haproxy if group.may_be(HAPROXY) => Some(
            "what the connection met: put %[bc_err_str] and, with TLS, %[ssl_bc_err_str] into log-format",
        ),
        Speaker::Nginx if group.may_be(NGINX) && group.received.count == 0 => Some(
            "what came of each attempt: put $upstream_addr, $upstream_status, $upstream_connect_time, \
             $upstream_header_time and $upstream_bytes_received into log_format",
        ),
        Speaker::Envoy if group.words.split(' ').count() < 3 => Some(
            "the details: put %RESPONSE_CODE_DETAILS% and %UPSTREAM_TRANSPORT_FAILURE_REASON% into the format",
        ),
        Speaker::Clearway | Speaker::Nginx | Speaker::Haproxy | Speaker::Envoy | Speaker::Alb => {
            None
        }
    }
}

/// The name that led to the server, where the configuration has one.
fn name_of(case: &Case) -> Option<&str> {
    let servers = &case.backend()?.servers;
    let mut hosts = servers.iter().map(|server| server.host.as_str());
    hosts.find(|host| !is_address(host))
}

/// A command with the server's address put in.
pub(crate) fn filled(command: &str, case: &Case) -> String {
    let address = match shown_address(case) {
        "the server" => "ADDRESS",
        address => address,
    };
    let host = match address.rsplit_once(':') {
        Some((host, _)) => host.trim_matches(['[', ']']),
        None => address,
    };
    // An address is no name that could be looked up.
    let name = Some(host)
        .filter(|host| !is_address(host))
        .or_else(|| name_of(case));
    if command.starts_with("dig ") {
        return name.map_or_else(String::new, |name| command.replace("{host}", name));
    }
    let port = match case.site.port() {
        0 => "PORT".to_owned(),
        port => port.to_string(),
    };
    command
        .replace("{address}", address)
        .replace("{host}", host)
        .replace("{port}", &port)
}
