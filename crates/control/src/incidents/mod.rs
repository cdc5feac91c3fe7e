//! Incidents: failures of a kind on one server, from the first to the last, with the doctor's verdict.
//!
//! Workers know nothing of this. What they report of failed requests becomes sightings; each server that
//! fails has a case; each kind of its failures is an incident, which opens with the first, has a verdict
//! that gets better as probes come back, and closes when it has been quiet.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clearway_base::clock::{self, Stamp};
use clearway_base::hash::Map;
use clearway_base::intern::Name;
use clearway_base::rng::Rng;
use clearway_config::survey::Survey;
use clearway_doctor::evidence::Change;
use clearway_doctor::report::verdict_json;
use clearway_doctor::{Case, Confidence, Finding, Probe, Subject, Symptom, Verdict};
use clearway_outcome::{Attempt, HostCounters, Record, RequestId, Sighting, Speaker};
use serde_json::{Value, json};

mod backdrop;
mod live;
mod reach;
mod sight;
mod store;
mod webhook;

pub(crate) use live::run;
pub(crate) use webhook::run as tell;

/// Most servers that have a case at a time.
const CASES: usize = 256;
/// Closed incidents that are kept in memory.
const KEPT: usize = 1_000;
/// Changes that are remembered.
const CHANGES: usize = 200;
/// Failures that are looked at closely between two looks; of the others only the number counts.
const CLOSELY: u32 = 2_000;
/// A verdict is told to others when it is certain, or after this long.
const SETTLE: Duration = Duration::from_secs(4);
/// Probes are made anew when failures go on for this long.
const STALE: Duration = Duration::from_secs(60);

/// Whom a case is about: a backend and a server's address.
type Key = (Name, Name);

/// What happened to an incident that others may want to hear of.
#[derive(Clone, Debug)]
pub(crate) struct Notice {
    /// `opened`, `revised` or `closed`.
    pub(crate) event: &'static str,
    /// A line for the operator.
    pub(crate) words: String,
    /// The incident as JSON.
    pub(crate) incident: Value,
    /// Whether every request was saved.
    pub(crate) is_prevented: bool,
}

/// Everything that is known of incidents.
#[derive(Default)]
pub(crate) struct Incidents {
    watched: BTreeMap<Key, Watched>,
    closed: VecDeque<Closed>,
    changes: VecDeque<(Option<Name>, Change)>,
    survey: Option<Arc<Survey>>,
    store: Option<store::Store>,
    looked_at: u32,
    /// Incidents opened so far, by fault.
    pub(crate) opened: Map<&'static str, u64>,
    /// Incidents closed so far.
    pub(crate) ended: u64,
    /// Probes made so far.
    pub(crate) probes: u64,
}

/// An incident that is over.
#[derive(Clone, Debug)]
struct Closed {
    json: Value,
    /// Of those that were closed since the start.
    verdict: Option<Verdict>,
}

/// A server with a case.
struct Watched {
    case: Case,
    incidents: Vec<Incident>,
    /// Probes under way.
    probing: Vec<Probe>,
    probed: Stamp,
    /// Evidence that the verdicts do not know of yet.
    is_news: bool,
    /// Counters of the host shortly before the first failure.
    counters: Option<HostCounters>,
    /// Successes of the server when the case was opened, and at the last failure.
    successes: (u64, u64),
    examined: Stamp,
    judged: Stamp,
}

/// One incident that is open.
struct Incident {
    id: RequestId,
    symptom: Symptom,
    opened: Stamp,
    last: Stamp,
    verdict: Option<Verdict>,
    /// What others were told: the cause and how sure.
    told: Option<(&'static str, Confidence)>,
    /// Earlier ones of the same kind on the same server.
    before: Vec<u64>,
}

impl Incidents {
    /// Takes in a record of a failed request.
    pub(crate) fn observe(&mut self, record: &Record<'_>) {
        if self.looked_at >= CLOSELY {
            return self.count(record);
        }
        self.looked_at += 1;
        sight::sightings(record, |seen| self.observe_one(seen));
    }

    /// Of a flood only the numbers.
    fn count(&mut self, record: &Record<'_>) {
        for attempt in record.attempts {
            let Some(symptom) = symptom_of(attempt) else {
                continue;
            };
            let Some(watched) = self.watched.get_mut(&(attempt.backend, attempt.address)) else {
                continue;
            };
            watched.case.count(symptom, record.fault.is_none());
            watched.touch(symptom, clock::now());
        }
    }

    fn observe_one(&mut self, seen: &Sighting<'_>) {
        let Some(symptom) = Symptom::of(seen) else {
            return;
        };
        let key = (name(seen.backend), name(seen.address));
        if !self.watched.contains_key(&key) {
            if self.watched.len() >= CASES {
                return;
            }
            self.watched.insert(key, Watched::open(seen));
        }
        let Some(watched) = self.watched.get_mut(&key) else {
            return;
        };
        if let Some(survey) = &self.survey {
            watched.case.set_survey(Arc::clone(survey));
        }
        watched.case.observe(seen);
        watched.is_news = true;
        let now = clock::now();
        let is_new = !watched.touch(symptom, now);
        let has_group = |group: &clearway_doctor::Group| {
            group.symptom() == Some(symptom) && clearway_doctor::case::is_news(group)
        };
        if is_new && watched.case.groups.iter().any(has_group) {
            let before = earlier(&self.closed, seen, symptom);
            let incident = Incident::open(symptom, now, before);
            watched.incidents.push(incident);
            *self.opened.entry(symptom.code()).or_default() += 1;
        }
    }

    /// Remembers that something changed; `backend` is `None` when it concerns all.
    pub(crate) fn change(&mut self, backend: Option<Name>, change: Change) {
        if self.changes.len() == CHANGES {
            self.changes.pop_front();
        }
        self.changes.push_back((backend, change));
        for watched in self.watched.values_mut() {
            watched.is_news = true;
        }
    }

    /// Puts the configuration in force before the cases.
    pub(crate) fn set_survey(&mut self, survey: Survey) {
        self.survey = Some(Arc::new(survey));
    }

    /// Keeps closed incidents in a file from now on, after reading what is there; in words why not.
    ///
    /// # Errors
    /// A sentence, when the file cannot be read or written.
    pub(crate) fn keep_in(&mut self, path: Option<&Path>, age: Duration) -> Result<(), String> {
        if self.store.as_ref().map(store::Store::path) == path {
            return Ok(());
        }
        self.store = None;
        let Some(path) = path else { return Ok(()) };
        let opened = store::Store::open(path, age);
        let (store, found) = opened.map_err(|error| {
            format!(
                "incidents.store: {}: {error}; closed incidents are kept in memory only",
                path.display()
            )
        })?;
        let known: Vec<Value> = self
            .closed
            .drain(..)
            .map(|closed| closed.json["id"].clone())
            .collect();
        for json in found
            .into_iter()
            .filter(|json| !known.contains(&json["id"]))
        {
            self.closed.push_back(Closed {
                json,
                verdict: None,
            });
        }
        self.store = Some(store);
        Ok(())
    }

    /// How many incidents are open.
    pub(crate) fn open(&self) -> usize {
        self.watched
            .values()
            .map(|watched| watched.incidents.len())
            .sum()
    }

    /// Every incident, those open first, newest first.
    pub(crate) fn json(&self, limit: usize) -> Value {
        let mut open: Vec<(Stamp, Value)> = Vec::new();
        for watched in self.watched.values() {
            for incident in &watched.incidents {
                open.push((incident.opened, incident.json(&watched.case, "open")));
            }
        }
        open.sort_by_key(|(opened, _)| std::cmp::Reverse(*opened));
        let open = open.into_iter().map(|(_, value)| value);
        let closed = self.closed.iter().rev().map(|closed| closed.json.clone());
        let incidents: Vec<Value> = open.chain(closed).take(limit).collect();
        json!({ "schema": 1, "incidents": incidents })
    }

    /// The verdict on a failed request: of the incident it belongs to.
    pub(crate) fn verdict_for(&self, record: &Record<'_>) -> Option<Verdict> {
        let attempts = record.attempts.iter().rev();
        let failed = attempts
            .filter_map(|attempt| Some(((attempt.backend, attempt.address), symptom_of(attempt)?)));
        let whole = record
            .fault
            .map(|fault| ((record.backend, Name::NONE), Symptom::Fault(fault.kind)));
        let mut all = failed.chain(whole);
        all.find_map(|(key, of)| self.open_verdict(key, of).or_else(|| self.past(key, of)))
    }

    fn open_verdict(&self, key: Key, symptom: Symptom) -> Option<Verdict> {
        let watched = self.watched.get(&key)?;
        let group = watched.case.group(symptom)?;
        Some(Verdict::of(&watched.case, group))
    }

    fn past(&self, (backend, address): Key, symptom: Symptom) -> Option<Verdict> {
        let is_it = |closed: &&Closed| {
            closed.json["fault"] == symptom.code()
                && name(closed.json["backend"].as_str().unwrap_or_default()) == backend
                && name(closed.json["address"].as_str().unwrap_or_default()) == address
        };
        self.closed.iter().rev().find(is_it)?.verdict.clone()
    }
}

impl Watched {
    fn open(seen: &Sighting<'_>) -> Self {
        let mut case = Case::open(Subject {
            speaker: Speaker::Clearway,
            backend: seen.backend.to_owned(),
            server: seen.server.to_owned(),
            address: seen.address.to_owned(),
        });
        case.may_probe = true;
        let now = clock::now();
        Self {
            case,
            incidents: Vec::new(),
            probing: Vec::new(),
            probed: Stamp(0),
            is_news: true,
            counters: None,
            successes: (u64::MAX, 0),
            examined: now,
            judged: Stamp(0),
        }
    }

    /// Marks that a failure of a kind came; whether there is an incident for it.
    fn touch(&mut self, symptom: Symptom, now: Stamp) -> bool {
        let incident = self.incidents.iter_mut().find(|i| i.symptom == symptom);
        let is_there = incident.is_some();
        if let Some(incident) = incident {
            incident.last = now;
        }
        self.successes.1 = u64::MAX;
        is_there
    }

    /// Takes in what a probe found.
    fn learn(&mut self, probe: Probe, finding: Finding, begun_us: i64) {
        self.probing.retain(|other| *other != probe);
        self.case.learn_at(probe, finding, begun_us);
        self.is_news = true;
    }
}

impl Incident {
    fn open(symptom: Symptom, now: Stamp, before: Vec<u64>) -> Self {
        Self {
            id: RequestId(Rng::from_entropy().next_u64()),
            symptom,
            opened: now,
            last: now,
            verdict: None,
            told: None,
            before,
        }
    }

    fn json(&self, case: &Case, state: &'static str) -> Value {
        let group = case.group(self.symptom);
        let time = |us: Option<i64>| us.and_then(|us| u64::try_from(us).ok()).map(clock::rfc3339);
        let mut out = json!({
            "id": self.id.to_string(),
            "state": state,
            "backend": case.subject.backend,
            "server": case.subject.server,
            "address": case.subject.address,
            "fault": self.symptom.code(),
            "count": group.map_or(0, |group| group.count),
            "prevented": group.map_or(0, |group| group.saved),
            "first_seen": time(group.and_then(|group| group.first_us)),
            "last_seen": time(group.and_then(|group| group.last_us)),
            "verdict": self.verdict.as_ref().map(verdict_json),
        });
        let probes = case.findings().iter().map(|found| found.probe.words());
        out["probes"] = probes.collect();
        if !self.before.is_empty() {
            out["before"] = self
                .before
                .iter()
                .map(|at| json!(clock::rfc3339(*at)))
                .collect();
            out["recurrence"] = json!(recurrence(&self.before));
        }
        out
    }
}

/// What changed that concerns a backend, oldest first.
fn concerning(changes: &VecDeque<(Option<Name>, Change)>, backend: Name) -> Vec<Change> {
    let changes = changes
        .iter()
        .filter(|(of, _)| of.is_none_or(|of| of == backend));
    changes.map(|(_, change)| change.clone()).collect()
}

/// What went wrong with an Attempt, as far as incidents go.
fn symptom_of(attempt: &Attempt) -> Option<Symptom> {
    let own = (attempt.status >= 500).then_some(Symptom::ServersOwn);
    attempt
        .fault
        .map(|fault| Symptom::Fault(fault.kind))
        .or(own)
}

/// When closed incidents of the same kind on the same server were opened, within a week.
fn earlier(closed: &VecDeque<Closed>, seen: &Sighting<'_>, symptom: Symptom) -> Vec<u64> {
    const WEEK_US: u64 = 7 * 24 * 3_600 * 1_000_000;
    let now = clock::wall();
    let of_this = closed.iter().map(|closed| &closed.json).filter(|value| {
        value["fault"] == symptom.code()
            && value["backend"] == seen.backend
            && value["server"] == seen.server
    });
    let times = of_this.filter_map(|value| {
        let at = clock::parse_rfc3339(value["first_seen"].as_str()?)?;
        (now.saturating_sub(at) < WEEK_US).then_some(at)
    });
    times.collect()
}

/// How often it has come before, in words: "third time this week, each between 12:00 and 12:20 UTC".
fn recurrence(before: &[u64]) -> String {
    const DAY_US: u64 = 24 * 3_600 * 1_000_000;
    let nth = match before.len() {
        1 => "second".to_owned(),
        2 => "third".to_owned(),
        more => format!("{}th", more + 1),
    };
    let mut out = format!("{nth} time this week");
    let minutes = before.iter().map(|at| at % DAY_US / 60_000_000);
    if let (Some(first), Some(last)) = (minutes.clone().min(), minutes.max())
        && before.len() >= 2
        && last - first <= 60
    {
        out.push_str(&format!(
            ", each between {:02}:{:02} and {:02}:{:02} UTC",
            first / 60,
            first % 60,
            last / 60,
            last % 60
        ));
    }
    out
}

/// The interned name of a text that a record brought; the empty one is that of nobody.
fn name(text: &str) -> Name {
    if text.is_empty() {
        Name::NONE
    } else {
        Name::new(text)
    }
}
