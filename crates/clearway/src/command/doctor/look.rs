//! A first look at a server that nobody has complained of: what a balancer would meet there.

use clearway_control::examine::{self, Reach};
use clearway_doctor::evidence::{Ask, Connection, HostWord, Reply, Then};
use clearway_doctor::{Case, Finding, Probe, Subject};
use clearway_net::connect::Target;
use clearway_net::dns::DnsFault;
use clearway_outcome::{
    FaultKind, FirstBytes, Place, Sighting, Signal, Speaker, Suspects, TcpFacts,
};

/// Time for a request; a longer one is no complaint, unless the configuration has less patience.
const PATIENCE_MS: u64 = 8_000;

/// What is to be looked at.
#[derive(Clone, Debug)]
pub(super) struct Glance {
    pub(super) reach: Reach,
    pub(super) case: Case,
    pub(super) asks: What,
    /// Milliseconds that a response may take by the configuration.
    pub(super) limit_ms: Option<u64>,
    /// What checks accept, where they are requests to the same port.
    pub(super) expect: Option<String>,
}

/// What is asked of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// To take a connection.
    Connection,
    /// To answer a request for this path.
    Request(String),
}

/// What a first look came to.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) complaints: Vec<Complaint>,
    /// Probes made, with what they found.
    pub(super) findings: Vec<(Probe, Finding)>,
    /// What is worth a sentence, though it is no complaint.
    pub(super) remark: Option<String>,
}

/// Something that went wrong.
#[derive(Clone, Debug, Default)]
pub(super) struct Complaint {
    kind: Option<FaultKind>,
    errno: i32,
    is_immediate: Option<bool>,
    elapsed_us: Option<u64>,
    connected_us: Option<u64>,
    first: FirstBytes,
    signal: Option<Signal>,
    tcp: Option<TcpFacts>,
    status: u16,
    received: Option<u64>,
    path: String,
    host: String,
    words: String,
}

impl Complaint {
    /// A name that does not resolve.
    pub(super) fn of_name(fault: &DnsFault) -> Self {
        Self {
            kind: Some(fault.kind),
            words: fault.words.clone(),
            ..Self::default()
        }
    }

    /// The kind of fault.
    pub(super) fn kind(&self) -> Option<FaultKind> {
        self.kind
    }

    /// The same as a sighting of a subject.
    pub(super) fn tell(&self, subject: &Subject, at_us: i64, told: &mut impl FnMut(&Sighting<'_>)) {
        let mut seen = Sighting::of(Speaker::Clearway, Place::default());
        seen.backend = &subject.backend;
        seen.server = &subject.server;
        seen.address = &subject.address;
        seen.at_us = Some(at_us);
        seen.suspects = self.kind.map_or(Suspects::NONE, Suspects::just);
        seen.errno = self.errno;
        seen.is_immediate = self.is_immediate;
        seen.elapsed_us = self.elapsed_us;
        seen.connected_us = self.connected_us;
        seen.first = self.first.as_bytes();
        seen.signal = self.signal;
        seen.tcp = self.tcp;
        seen.server_status = self.status;
        seen.status = self.status;
        seen.bytes_received = self.received;
        seen.method = if self.path.is_empty() { "" } else { "GET" };
        seen.path = &self.path;
        seen.host = &self.host;
        seen.words = &self.words;
        told(&seen);
    }
}

/// Looks. Cancel safe: dropping it closes what is open.
pub(super) async fn look(glance: &Glance) -> Seen {
    match &glance.asks {
        What::Connection => connection(glance).await,
        What::Request(path) => requests(glance, path).await,
    }
}

async fn connection(glance: &Glance) -> Seen {
    let mut seen = Seen::default();
    let finding = examine::run(&glance.reach, &Probe::Connect, &glance.case).await;
    if let Finding::Connect(found) = &finding {
        if let Some(kind) = found.fault {
            seen.complaints.push(of_connection(kind, found));
        } else if let Then::Reset(after) = found.then {
            seen.remark = Some(format!(
                "takes connections and resets those that say nothing after {} ms",
                after / 1_000
            ));
        }
    }
    seen.findings.push((Probe::Connect, finding));
    seen
}

fn of_connection(kind: FaultKind, found: &Connection) -> Complaint {
    Complaint {
        kind: Some(kind),
        errno: found.errno,
        is_immediate: Some(found.is_immediate),
        elapsed_us: Some(found.took_us),
        ..Complaint::default()
    }
}

async fn requests(glance: &Glance, path: &str) -> Seen {
    let limit = glance.limit_ms.unwrap_or(u64::MAX);
    let ask = Ask {
        path: path.to_owned(),
        patience_ms: limit.min(PATIENCE_MS),
        ..Ask::default()
    };
    let mut seen = one(glance, &ask).await;
    let is_connected = seen.complaints.is_empty();
    if let (true, Some(expect)) = (is_connected, &glance.expect) {
        let check = Ask {
            host: HostWord::Check,
            patience_ms: PATIENCE_MS,
            ..Ask::default()
        };
        let checked = one(glance, &check).await;
        let failed = checked.findings.iter().find_map(|(_, finding)| {
            if let Finding::Request(reply) = finding {
                of_check(glance, reply, expect)
            } else {
                None
            }
        });
        seen.complaints.extend(failed);
        seen.findings.extend(checked.findings);
    }
    seen
}

async fn one(glance: &Glance, ask: &Ask) -> Seen {
    let mut seen = Seen::default();
    let probe = Probe::Request(ask.clone());
    let finding = examine::run(&glance.reach, &probe, &glance.case).await;
    let is_ended = matches!(&finding, Finding::Request(reply) if !is_late(reply));
    // With less patience the same would have come of it, so that nobody has to ask again.
    let probe = if is_ended {
        Probe::Request(Ask {
            patience_ms: 0,
            ..ask.clone()
        })
    } else {
        probe
    };
    if let Finding::Request(reply) = &finding {
        judge(glance, ask, reply, &mut seen);
    } else if let Finding::NotRun(why) = &finding {
        seen.remark = Some(format!("could not be asked: {why}"));
    }
    seen.findings.push((probe, finding));
    seen
}

fn judge(glance: &Glance, ask: &Ask, reply: &Reply, seen: &mut Seen) {
    if is_late(reply) && glance.limit_ms.is_some_and(|limit| limit > ask.patience_ms) {
        seen.remark = Some(format!(
            "took the request for {} and was still busy with it after {} s",
            shown(&ask.path),
            ask.patience_ms / 1_000
        ));
        return;
    }
    // A long body is cut by the probe itself.
    if reply.fault.is_none() && reply.status < 500 {
        if reply.status >= 400 && !ask.path.is_empty() {
            seen.remark = Some(format!(
                "GET {} is answered with {}",
                ask.path, reply.status
            ));
        }
        return;
    }
    let path = shown(&ask.path).to_owned();
    let words = match reply.fault {
        Some(_) => String::new(),
        None => format!("GET {path} is answered with {}", reply.status),
    };
    seen.complaints.push(Complaint {
        kind: reply.fault,
        errno: reply.errno,
        elapsed_us: Some(reply.took_us),
        first: reply.first,
        signal: reply.signal,
        tcp: reply.tcp,
        status: reply.status,
        received: Some(u64::try_from(reply.first.as_bytes().len()).unwrap_or(0)),
        host: glance.reach.host.clone().unwrap_or_default(),
        path,
        words,
        ..Complaint::default()
    });
}

fn is_late(reply: &Reply) -> bool {
    let late = [
        FaultKind::ResponseTimeout,
        FaultKind::ResponseHeadStalled,
        FaultKind::ResponseBodyStalled,
    ];
    reply.fault.is_some_and(|fault| late.contains(&fault))
}

/// A check that would fail.
fn of_check(glance: &Glance, reply: &Reply, expect: &str) -> Option<Complaint> {
    if !reply.is_answered() {
        return None;
    }
    let is_taken = super::reach::accepts(expect, reply.status);
    if is_taken.unwrap_or(reply.status < 400) {
        return None;
    }
    let (host, path) = glance.reach.check.clone()?;
    Some(Complaint {
        kind: Some(FaultKind::ProbeStatus),
        elapsed_us: Some(reply.took_us),
        first: reply.first,
        status: reply.status,
        words: format!(
            "the health check GET {path} is answered with {}, expected is {expect}",
            reply.status
        ),
        path,
        host: host.unwrap_or_default(),
        ..Complaint::default()
    })
}

fn shown(path: &str) -> &str {
    if path.is_empty() { "/" } else { path }
}

/// Whether a connection is taken and a request in clear is not answered, as a TLS server does.
pub(super) fn may_want_tls(seen: &Seen) -> bool {
    let is_connected = |complaint: &Complaint| {
        complaint.kind.is_some_and(|kind| {
            kind.code().starts_with("server_") || kind.code().starts_with("response_")
        })
    };
    wants_tls(seen) || seen.complaints.iter().any(is_connected)
}

/// Whether what came is what a TLS server sends to somebody who speaks in clear.
fn wants_tls(seen: &Seen) -> bool {
    use clearway_outcome::Spoken;
    seen.findings.iter().any(|(_, finding)| {
        let Finding::Request(reply) = finding else {
            return false;
        };
        let spoken = Spoken::of(reply.first.as_bytes());
        if let Some(Spoken::Http1Response { wants_tls, .. }) = spoken {
            return wants_tls;
        }
        matches!(
            spoken,
            Some(Spoken::TlsAlert { .. } | Spoken::TlsServerHello | Spoken::TlsRecord)
        ) || reply.fault == Some(FaultKind::ServerSpeaksTls)
    })
}

/// A target that a probe goes to.
pub(super) fn target_words(target: &Target) -> String {
    target.to_string()
}
