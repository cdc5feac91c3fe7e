//! A case: everything that is known of the failures on one server.
//!
//! Whoever holds it puts in what was seen ([`Case::observe`]), asks what to try next
//! ([`Case::next_probe`]), puts in what came of it ([`Case::learn`]), and reads the verdicts
//! ([`Case::verdicts`]) at any time: they get better as evidence comes.

use std::sync::Arc;

use clearway_config::survey::{BackendSurvey, ServerSurvey, Survey};
use clearway_outcome::{FaultKind, HostCounters, Remark, Sighting, Speaker};
use clearway_telemetry::read::Paths;

use crate::evidence::{Change, CheckState, Finding, Probe, Where};
use crate::group::{Group, Spread, Symptom};
use crate::judge;
use crate::opinion::Opinion;
use crate::verdict::Verdict;

/// Most groups of failures that one case keeps apart.
const GROUPS: usize = 24;
/// Probes are made for so many of the likeliest causes.
const LIKELY: usize = 8;
/// Most findings that are kept.
const FINDINGS: usize = 60;
/// Most probes of one case.
pub const PROBES: usize = 12;

/// Whom a case is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subject {
    /// Who told of it.
    pub speaker: Speaker,
    /// The backend; empty = none was chosen.
    pub backend: String,
    /// The server's name or address; empty = none was chosen.
    pub server: String,
    /// The server's address; empty = unknown.
    pub address: String,
}

/// What went well on a server.
#[derive(Clone, Debug, Default)]
pub struct Successes {
    /// How many requests, from about the first failure on.
    pub count: u64,
    /// How many since the last failure.
    pub since_failure: u64,
    /// How many before the first failure.
    pub before: u64,
    /// The last, in microseconds since 1970.
    pub last_us: Option<i64>,
    /// How long servers took for them, in microseconds.
    pub took: Spread,
    /// How long connecting took.
    pub connected: Spread,
    /// Statuses of 500 and more that the server itself sent.
    pub server_errors: u64,
    /// Their paths, as far as a log tells them.
    pub paths: Paths,
}

/// What is known of the other servers of the same backend.
#[derive(Clone, Debug, Default)]
pub struct Backdrop {
    /// Servers of the backend, this one included; 0 = unknown.
    pub servers: u32,
    /// How many of them fail the same way.
    pub failing: u32,
    /// How many are down by checks, or ejected.
    pub down: u32,
    /// What checks say of each: name, state.
    pub checks: Vec<(String, CheckState)>,
    /// What failed on each of the others: server, kinds, how often, the last words.
    pub others: Vec<(String, FaultKind, u64)>,
    /// Requests under way on this server, of all workers.
    pub in_flight: Option<u64>,
}

/// What a probe found, and when.
#[derive(Clone, Debug)]
pub struct Found {
    /// What was tried.
    pub probe: Probe,
    /// What came of it.
    pub finding: Finding,
    /// When it was begun, in microseconds since 1970.
    at_us: i64,
}

impl Found {
    /// Whether it says something about failures: it was not made before the first of them.
    #[must_use]
    pub fn is_about(&self, group: &Group) -> bool {
        group.first_us.is_none_or(|first| self.at_us >= first)
    }
}

/// Everything known of the failures on one server.
#[derive(Clone, Debug)]
pub struct Case {
    /// Whom it is about.
    pub subject: Subject,
    /// Where the server is.
    pub site: Where,
    /// The failures, alike ones together.
    pub groups: Vec<Group>,
    /// What went well meanwhile.
    pub successes: Successes,
    /// What checks say of this server.
    pub check: Option<CheckState>,
    /// The rest of the backend.
    pub backdrop: Backdrop,
    /// What changed lately, oldest first.
    pub changes: Vec<Change>,
    /// What this host's counters gained since shortly before the first failure.
    pub gained: Option<HostCounters>,
    /// Whether probes can be run: the server can be reached from here as the balancer reaches it.
    pub may_probe: bool,
    /// Most probes; [`PROBES`] unless whoever holds the case has more time.
    pub budget: usize,
    survey: Option<Arc<Survey>>,
    findings: Vec<Found>,
}

impl Case {
    /// A case of which nothing is known but whom it is about.
    #[must_use]
    pub fn open(subject: Subject) -> Self {
        Self {
            site: Where::parse(&subject.address),
            subject,
            groups: Vec::new(),
            successes: Successes::default(),
            check: None,
            backdrop: Backdrop::default(),
            changes: Vec::new(),
            gained: None,
            may_probe: false,
            budget: PROBES,
            survey: None,
            findings: Vec::new(),
        }
    }

    /// What the configuration says.
    pub fn set_survey(&mut self, survey: Arc<Survey>) {
        self.survey = Some(survey);
    }

    /// Takes the configuration of another case.
    pub fn take_survey(&mut self, other: &Self) {
        self.survey.clone_from(&other.survey);
    }

    /// The configuration.
    #[must_use]
    pub fn survey(&self) -> Option<&Survey> {
        self.survey.as_deref()
    }

    /// Takes in a failure. More kinds than can be told apart are let go.
    pub fn observe(&mut self, seen: &Sighting<'_>) {
        let known = self.groups.iter_mut().find(|group| group.takes(seen));
        if let Some(group) = known {
            group.add(seen);
        } else if self.groups.len() < GROUPS {
            let mut group = Group::new(seen);
            group.add(seen);
            self.groups.push(group);
        }
        self.successes.since_failure = 0;
    }

    /// Counts a failure of a kind that is known already, without looking at it.
    pub fn count(&mut self, symptom: Symptom, is_saved: bool) {
        let known = self
            .groups
            .iter_mut()
            .find(|g| g.symptom() == Some(symptom));
        if let Some(group) = known {
            group.count += 1;
            group.saved += u64::from(is_saved);
        }
    }

    /// The failures with a symptom.
    #[must_use]
    pub fn group(&self, symptom: Symptom) -> Option<&Group> {
        self.groups.iter().find(|g| g.symptom() == Some(symptom))
    }

    /// Takes in that something went well.
    pub fn succeed(&mut self, at_us: Option<i64>, took_us: Option<u64>) {
        self.successes.count += 1;
        self.successes.since_failure += 1;
        self.successes.last_us = at_us.or(self.successes.last_us);
        if let Some(took) = took_us {
            self.successes.took.add(took);
        }
    }

    /// Takes in what a probe found; the newest of a kind counts.
    pub fn learn(&mut self, probe: Probe, finding: Finding) {
        self.learn_at(probe, finding, i64::MAX);
    }

    /// As [`Case::learn`], of a probe that was begun at this time, in microseconds since 1970: what
    /// fails later needs another.
    pub fn learn_at(&mut self, probe: Probe, finding: Finding, at_us: i64) {
        // Without a time nothing tells an older one from a newer one.
        self.findings
            .retain(|found| found.probe != probe || found.at_us != at_us);
        if self.findings.len() == FINDINGS {
            self.findings.remove(0);
        }
        self.findings.push(Found {
            probe,
            finding,
            at_us,
        });
    }

    /// Forgets what probes found, because it has become old.
    pub fn forget(&mut self) {
        self.findings.clear();
    }

    /// What probes found, in the order in which they were made.
    #[must_use]
    pub fn findings(&self) -> &[Found] {
        &self.findings
    }

    /// What counts for a group of failures: of each probe that was made since they began the first after
    /// the last failure, or else the newest.
    pub fn findings_for<'a>(
        &'a self,
        group: &'a Group,
    ) -> impl Iterator<Item = &'a Found> + use<'a> {
        let last = group.last_us.unwrap_or(i64::MIN);
        let rank = move |found: &Found| {
            let is_after = found.at_us >= last;
            let near = if is_after {
                found.at_us.wrapping_neg()
            } else {
                found.at_us
            };
            (is_after, near)
        };
        self.findings.iter().filter(move |found| {
            let mut alike = self
                .findings
                .iter()
                .filter(|other| other.probe == found.probe);
            found.is_about(group)
                && !alike.any(|other| other.is_about(group) && rank(other) > rank(found))
        })
    }

    /// What would tell most now, besides what is under way; `None` when nothing would, or enough was
    /// tried.
    #[must_use]
    pub fn next_probe(&self, under_way: &[Probe]) -> Option<Probe> {
        if !self.may_probe {
            return None;
        }
        let is_open = |group: &&Group| {
            let made = self.findings.iter().filter(|found| found.is_about(group));
            made.count() + under_way.len() < self.budget
        };
        self.groups
            .iter()
            .filter(|group| is_news(group))
            .filter(is_open)
            .find_map(|group| {
                let opinions = self.opinions(group);
                if opinions.first().is_some_and(Opinion::is_proven) {
                    return None;
                }
                let wanted = opinions
                    .iter()
                    .filter(|opinion| !opinion.is_ruled_out() && opinion.score() > 0)
                    .take(LIKELY)
                    .flat_map(|opinion| &opinion.probes);
                wanted
                    .into_iter()
                    .find(|probe| {
                        !under_way.contains(probe)
                            && !self
                                .findings
                                .iter()
                                .any(|found| found.probe == **probe && found.is_about(group))
                    })
                    .cloned()
            })
    }

    /// What every cause that the failures may come from has for and against it, the best first.
    #[must_use]
    pub fn opinions(&self, group: &Group) -> Vec<Opinion> {
        judge::opinions(&View { case: self, group })
    }

    /// A verdict for each group of failures; alike ones made one. Failures that nobody has to act on have
    /// none.
    #[must_use]
    pub fn verdicts(&self) -> Vec<Verdict> {
        let mut out: Vec<Verdict> = Vec::new();
        for group in self.groups.iter().filter(|group| is_news(group)) {
            let verdict = Verdict::of(self, group);
            match out.iter_mut().find(|known| known.cause == verdict.cause) {
                Some(known) if verdict.cause.is_some() => known.join(verdict),
                _ => out.push(verdict),
            }
        }
        out.sort_by_key(|verdict| std::cmp::Reverse(verdict.count));
        out
    }

    /// The server's backend in the configuration.
    #[must_use]
    pub fn backend(&self) -> Option<&BackendSurvey> {
        let survey = self.survey.as_deref()?;
        let by_name = survey.backends.iter().find(|backend| {
            !self.subject.backend.is_empty() && backend.name == self.subject.backend
        });
        by_name.or_else(|| {
            // NGINX's logs name the address alone.
            survey
                .backends
                .iter()
                .find(|backend| backend.servers.iter().any(|server| self.is_at(server)))
        })
    }

    /// The server in the configuration.
    #[must_use]
    pub fn server(&self) -> Option<&ServerSurvey> {
        let servers = &self.backend()?.servers;
        let by_address = servers.iter().find(|server| self.is_at(server));
        by_address.or_else(|| servers.iter().find(|s| s.name == self.subject.server))
    }

    fn is_at(&self, server: &ServerSurvey) -> bool {
        let address = server.address();
        address == self.subject.address || address == self.subject.server
    }
}

/// A client that leaves sooner has not waited for anything, in microseconds.
const WAITED_US: u64 = 100_000;

/// Whether somebody may have to act on a group: clients that leave are no news unless there is a rhythm
/// to it.
#[must_use]
pub fn is_news(group: &Group) -> bool {
    const LEFT: &[FaultKind] = &[
        FaultKind::ClientClosed,
        FaultKind::ClientReset,
        FaultKind::TunnelClientReset,
        FaultKind::ClientNotReading,
    ];
    // Logs that do not tell kinds apart are given the benefit of the doubt: somebody looked whether the port
    // is open, or closed a page.
    let may_have_left = group.kind().is_none() && group.may_be(&[FaultKind::ClientClosed]);
    if group.is(LEFT) || may_have_left {
        return group.count >= 5
            && group.elapsed.mean() >= WAITED_US
            && group.elapsed.is_constant(6, 50_000);
    }
    // That a server went or came is no failure of a request.
    !matches!(
        group.remark,
        Some(Remark::ServerUp | Remark::ServerDown | Remark::RetriesUsedUp)
    ) || !group.suspects.is_empty()
}

/// One group of a case, as judges look at it.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The case.
    pub case: &'a Case,
    /// The failures in question.
    pub group: &'a Group,
}
