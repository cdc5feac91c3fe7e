//! All cases of one examination: what many logs, reports and configurations say of many servers.
//!
//! It runs nothing itself. Configurations go in first, then logs (error logs before access logs, so that
//! a failure that both tell of counts once), then reports of states. [`Docket::settle`] puts around each
//! case what is known of the others; then cases can be probed, and [`Docket::report`] has the verdicts.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use clearway_base::hash::Map;
use clearway_config::survey::Survey;
use clearway_outcome::{FaultKind, Remark, Sighting, Speaker};
use clearway_telemetry::read::Stats;
use clearway_telemetry::read::report::{CapturedError, ServerHealth};

use crate::case::{Backdrop, Case, Subject};
use crate::evidence::{Change, ChangeKind, CheckState};
use crate::group::Group;
use crate::report::Report;
use crate::verdict::Verdict;
use pairs::Pairs;
use past::Past;
use place::{Atlas, Called, Candidate};

mod checks;
mod pairs;
mod past;
mod pitfalls;
mod place;
#[cfg(test)]
mod tests;

/// Most cases; servers beyond are only counted.
pub const CASES: usize = 4_096;
/// Most ways of calling a server that are remembered, so that a log full of made-up names takes no more.
const CALLED: usize = 4 * CASES;
/// Most changes that are remembered of one server.
const CHANGES: usize = 64;
/// Most other servers of a backend that a case is told of.
const OTHERS: usize = 32;

/// All cases of one examination.
#[derive(Debug, Default)]
pub struct Docket {
    atlas: Atlas,
    cases: Vec<Case>,
    by_subject: BTreeMap<Subject, usize>,
    /// What sightings call a server, and who that may be.
    by_words: Map<String, Vec<Candidate>>,
    words: String,
    pairs: Pairs,
    pasts: BTreeMap<Subject, Past>,
    checks: BTreeMap<Subject, CheckState>,
    changes: BTreeMap<Subject, Vec<Change>>,
    /// Servers that answered as they are configured: backend and address.
    sound: BTreeSet<(String, String)>,
    left_out: u64,
}

impl Docket {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in a configuration.
    pub fn add_survey(&mut self, survey: Survey) {
        self.atlas.surveys.push(Arc::new(survey));
    }

    /// The configurations.
    #[must_use]
    pub fn surveys(&self) -> &[Arc<Survey>] {
        &self.atlas.surveys
    }

    /// Takes in that an address stands behind a name, so that lines with the one and configurations with
    /// the other are brought together.
    pub fn know(&mut self, name: &str, address: IpAddr) {
        self.atlas.know(name, address);
    }

    /// Takes in what somebody says of an Attempt.
    pub fn observe(&mut self, seen: &Sighting<'_>) {
        if self.pairs.is_repeated(seen) {
            return;
        }
        // What changed explains failures and is none itself.
        if seen.remark == Some(Remark::ServerUp) {
            self.checked(seen);
            return self.change(seen, ChangeKind::ServerUp);
        }
        if seen.remark == Some(Remark::ServerDown) {
            if !self.checked(seen) {
                return;
            }
            self.change(seen, ChangeKind::ServerDown);
        }
        if seen.remark == Some(Remark::ServerDisabled) && seen.speaker == Speaker::Haproxy {
            self.checked(seen);
            return self.change(seen, ChangeKind::ServerDown);
        }
        let is_access = seen.speaker == Speaker::Nginx && seen.status > 0;
        if is_access && self.is_told(seen) {
            return;
        }
        // An upgrade that went well; the error log has told of others.
        if is_access && (100..200).contains(&seen.server_status) {
            return;
        }
        let Some(at) = self.case_of(seen) else {
            self.left_out += 1;
            return;
        };
        let Some(case) = self.cases.get_mut(at) else {
            return;
        };
        case.observe(seen);
        let mut groups = case.groups.iter();
        let group = groups.position(|group| group.takes(seen));
        // That a server is left out for a while is no line of a request.
        let is_request = seen.remark != Some(Remark::ServerDisabled);
        let is_error_log = seen.speaker == Speaker::Nginx && !is_access;
        if let (true, true, Some(group)) = (is_error_log, is_request, group) {
            self.pairs.keep(seen, at, group);
        }
    }

    /// Takes in what a probe met at a server that is written in the configuration of `of`, or nowhere when
    /// that is this balancer. `about` knows its settings where no configuration does.
    pub fn observe_probe(&mut self, of: Speaker, seen: &Sighting<'_>, about: Option<&Case>) {
        let found = self.atlas.locate(Called {
            speaker: of,
            ..called(seen)
        });
        let (subject, survey) = found;
        let at = match self.by_subject.get(&subject) {
            Some(at) => *at,
            None if self.cases.len() < CASES => self.open(subject, survey),
            None => {
                self.left_out += 1;
                return;
            }
        };
        if let Some(case) = self.cases.get_mut(at) {
            if let (None, Some(about)) = (case.survey(), about) {
                case.take_survey(about);
            }
            case.observe(seen);
            case.may_probe = true;
        }
    }

    /// Whether the error log told of it; what the access log knows more is put there.
    fn is_told(&mut self, seen: &Sighting<'_>) -> bool {
        let cases = &self.cases;
        let is_there = |at: usize| {
            let subject = cases.get(at).map(|case| &case.subject);
            subject.is_some_and(|subject| {
                let is_backend = subject.backend == seen.backend || seen.backend.is_empty();
                subject.address == seen.address || (seen.address.is_empty() && is_backend)
            })
        };
        let Some((case, group)) = self.pairs.take(seen, is_there) else {
            return false;
        };
        let case = self.cases.get_mut(case);
        if let Some(group) = case.and_then(|case| case.groups.get_mut(group)) {
            pairs::supplement(group, seen);
        }
        true
    }

    /// Takes in what a log says of the check of a server that went or came; `false` when that was known.
    fn checked(&mut self, seen: &Sighting<'_>) -> bool {
        let (subject, _) = self.atlas.locate(called(seen));
        if self.checks.len() >= CASES && !self.checks.contains_key(&subject) {
            return true;
        }
        let state = self.checks.entry(subject).or_default();
        let is_down = seen.remark == Some(Remark::ServerDown);
        // What is said on the terminal, too, has no time there.
        if seen.at_us.is_none() && state.words == seen.words {
            return false;
        }
        if state.is_down != is_down && seen.at_us.is_some() {
            state.flaps += 1;
        }
        state.is_down = is_down;
        state.is_ejected = seen.remark == Some(Remark::ServerDisabled);
        if is_down || state.is_ejected {
            // Where the reason is vague, the most frequent.
            state.fault = seen.suspects.iter().next();
            state.status = seen.server_status;
            seen.words.clone_into(&mut state.words);
            state.took_us = seen.elapsed_us;
        }
        true
    }

    fn change(&mut self, seen: &Sighting<'_>, kind: ChangeKind) {
        let Some(at_us) = seen.at_us else { return };
        let (subject, _) = self.atlas.locate(called(seen));
        if self.changes.len() >= CASES && !self.changes.contains_key(&subject) {
            return;
        }
        let list = self.changes.entry(subject).or_default();
        if list.len() == CHANGES {
            list.remove(0);
        }
        list.push(Change {
            at_us,
            kind,
            words: seen.words.to_owned(),
        });
    }

    /// The case that a sighting belongs to; `None` when there are too many.
    fn case_of(&mut self, seen: &Sighting<'_>) -> Option<usize> {
        self.words.clear();
        for part in [seen.speaker.name(), seen.backend, seen.server, seen.address] {
            self.words.push_str(part);
            self.words.push('\0');
        }
        if let Some(candidates) = self.by_words.get(self.words.as_str()) {
            let at = self.atlas.choose(candidates, seen);
            let candidate = candidates.get(at)?;
            if candidate.case.is_some() {
                return candidate.case;
            }
            let case = self.opened(&candidate.clone());
            let candidates = self.by_words.get_mut(self.words.as_str());
            if let Some(candidate) = candidates.and_then(|all| all.get_mut(at)) {
                candidate.case = case;
            }
            return case;
        }
        let candidates = self.atlas.candidates(called(seen));
        let at = self.atlas.choose(&candidates, seen);
        let candidate = candidates.get(at)?.clone();
        if self.by_words.len() < CALLED {
            self.by_words.insert(self.words.clone(), candidates);
        }
        self.opened(&candidate)
    }

    /// The case of somebody, which is opened when there is none.
    fn opened(&mut self, candidate: &Candidate) -> Option<usize> {
        if let Some(at) = self.by_subject.get(&candidate.subject) {
            return Some(*at);
        }
        let has_room = self.cases.len() < CASES;
        has_room.then(|| self.open(candidate.subject.clone(), candidate.survey))
    }

    fn open(&mut self, subject: Subject, survey: Option<usize>) -> usize {
        let mut case = Case::open(subject.clone());
        if let Some(survey) = survey.and_then(|at| self.atlas.surveys.get(at)) {
            case.set_survey(Arc::clone(survey));
        }
        self.cases.push(case);
        self.by_subject.insert(subject, self.cases.len() - 1);
        self.cases.len() - 1
    }

    /// Takes in what the reader of one file counted.
    pub fn add_stats(&mut self, speaker: Speaker, stats: &Stats) {
        for (backend, server, tally) in stats.servers() {
            if server.is_empty() {
                continue;
            }
            let (subject, _) = self
                .atlas
                .locate(Called::by_label(speaker, backend, server));
            if self.pasts.len() < CASES || self.pasts.contains_key(&subject) {
                self.pasts
                    .entry(subject)
                    .or_default()
                    .add(stats.first_us, tally);
            }
        }
    }

    /// Takes in what a balancer reports of a server. One that is down is a complaint of its own, unless a
    /// log has told of it.
    pub fn add_health(&mut self, speaker: Speaker, health: &ServerHealth) {
        if health.server == "BACKEND" {
            return;
        }
        let state = checks::state(health);
        let complaint = checks::complaint(speaker, health, &state);
        let (subject, _) = self.atlas.locate(Called {
            speaker,
            backend: &health.backend,
            server: &health.server,
            address: &health.address,
        });
        if let Some(seen) = complaint {
            let case = self
                .by_subject
                .get(&subject)
                .and_then(|at| self.cases.get(*at));
            let is_known = case.is_some_and(|case| {
                let mut groups = case.groups.iter();
                groups.any(|group| seen.suspects.iter().any(|kind| group.may_be(&[kind])))
            });
            if !is_known {
                self.observe(&seen);
            }
        }
        if self.checks.len() < CASES {
            self.checks.insert(subject, state);
        }
    }

    /// Takes in a message that HAProxy's parser refused.
    pub fn add_captured(&mut self, error: &CapturedError) {
        let seen = checks::captured(error);
        let (subject, _) = self.atlas.locate(called(&seen));
        let case = self.by_subject.get(&subject).copied();
        let case = case.and_then(|at| self.cases.get_mut(at));
        let group = case.and_then(|case| {
            let mut groups = case.groups.iter_mut();
            groups.find(|group| group.suspects.iter().any(checks::is_bad_response))
        });
        match group {
            Some(group) if error.is_response => {
                group.first = Some(error.first);
            }
            _ => self.observe(&seen),
        }
    }

    /// Takes in that a server answers as it is configured.
    pub fn add_sound(&mut self, backend: &str, address: &str) {
        self.sound.insert((backend.to_owned(), address.to_owned()));
    }

    /// Whether somebody complains of a server.
    #[must_use]
    pub fn has_case(&self, backend: &str, address: &str) -> bool {
        let mut cases = self.cases.iter();
        cases.any(|case| {
            let subject = &case.subject;
            subject.backend == backend
                && (subject.address == address || subject.server == address)
                && !case.groups.is_empty()
        })
    }

    /// The cases.
    #[must_use]
    pub fn cases(&self) -> &[Case] {
        &self.cases
    }

    /// The cases, to be probed.
    pub fn cases_mut(&mut self) -> &mut [Case] {
        &mut self.cases
    }

    /// Servers that something is known of: by logs, reports, probes and configurations.
    #[must_use]
    pub fn servers(&self) -> usize {
        let label = |subject: &Subject| {
            let label = match subject.address.as_str() {
                "" => subject.server.clone(),
                address => address.to_owned(),
            };
            (subject.backend.clone(), label)
        };
        let mut all: BTreeSet<(String, String)> = self.sound.clone();
        let cases = self.cases.iter().map(|case| &case.subject);
        let known = cases.chain(self.pasts.keys()).chain(self.checks.keys());
        all.extend(known.map(label));
        for backend in self.atlas.surveys.iter().flat_map(|s| &s.backends) {
            let servers = backend.servers.iter().filter(|server| !server.down);
            let missing = servers.filter(|server| !self.is_counted(&backend.name, &server.name));
            all.extend(missing.map(|server| (backend.name.clone(), server.address())));
        }
        all.retain(|(_, label)| !label.is_empty());
        all.len()
    }

    fn is_counted(&self, backend: &str, server: &str) -> bool {
        let cases = self.cases.iter().map(|case| &case.subject);
        let mut known = cases.chain(self.pasts.keys());
        known.any(|subject| subject.backend == backend && subject.server == server)
    }

    /// Puts around each case what is known of the rest. To be called when everything has been read, and
    /// again when cases were added.
    pub fn settle(&mut self) {
        self.absorb_checks();
        let around: Vec<Around> = self.cases.iter().map(|case| self.around(case)).collect();
        for (case, around) in self.cases.iter_mut().zip(around) {
            case.backdrop = around.backdrop;
            case.check = around.check.or_else(|| case.check.take());
            case.changes = around.changes;
            if let Some(past) = self.pasts.get(&case.subject) {
                let first = case.groups.iter().filter_map(|group| group.first_us).min();
                let last = case.groups.iter().filter_map(|group| group.last_us).max();
                case.successes = past.successes((first, last));
            }
        }
    }

    /// Where no server of a backend is left, that checks took them out is part of that, and no failure
    /// besides.
    fn absorb_checks(&mut self) {
        const NONE_LEFT: &[FaultKind] = &[FaultKind::AllServersDown];
        let is_empty = |case: &&Case| case.groups.iter().any(|group| group.may_be(NONE_LEFT));
        let empty: Vec<Subject> = self
            .cases
            .iter()
            .filter(is_empty)
            .map(|case| case.subject.clone())
            .collect();
        for case in &mut self.cases {
            let own = &case.subject;
            let is_told = empty.iter().any(|other| {
                other.speaker == own.speaker
                    && other.backend == own.backend
                    && !own.backend.is_empty()
                    && other != own
            });
            if is_told {
                case.groups
                    .retain(|group| group.remark != Some(Remark::ServerDown));
            }
        }
    }

    fn around(&self, case: &Case) -> Around {
        let subject = &case.subject;
        let same =
            |other: &Subject| other.speaker == subject.speaker && other.backend == subject.backend;
        let kinds = kinds(case);
        let is_own = case.groups.iter().any(Group::is_servers_own);
        let mut servers: BTreeSet<&str> = BTreeSet::new();
        let mut backdrop = Backdrop::default();
        for other in self.cases.iter().filter(|other| same(&other.subject)) {
            let name = label(&other.subject);
            servers.insert(name);
            let fails_alike = other.groups.iter().any(|group| {
                !kinds.is_empty() && group.may_be(&kinds) || is_own && group.is_servers_own()
            });
            backdrop.failing += u32::from(fails_alike);
            if other.subject == *subject || backdrop.others.len() >= OTHERS {
                continue;
            }
            let told = other.groups.iter().filter_map(|group| {
                let kind = group.suspects.iter().next()?;
                Some((name.to_owned(), kind, group.count))
            });
            backdrop.others.extend(told);
        }
        for (other, check) in self.checks.iter().filter(|(other, _)| same(other)) {
            servers.insert(label(other));
            backdrop.down += u32::from(check.is_down || check.is_ejected);
            if backdrop.checks.len() < OTHERS {
                let name = label(other).to_owned();
                backdrop.checks.push((name, check.clone()));
            }
        }
        servers.extend(self.pasts.keys().filter(|other| same(other)).map(label));
        servers.remove("");
        let known = u32::try_from(servers.len()).unwrap_or(u32::MAX);
        let written = case.backend().map(|backend| backend.servers.len());
        backdrop.servers = match written.and_then(|count| u32::try_from(count).ok()) {
            Some(count) => count,
            // Without a configuration there may be others that no log has told of.
            None if subject.backend.is_empty() => 0,
            None => known,
        };
        Around {
            backdrop,
            check: self.checks.get(subject).cloned(),
            changes: self.changes.get(subject).cloned().unwrap_or_default(),
        }
    }

    /// What it came to, with what else a reader has to know.
    #[must_use]
    pub fn report(&self, mut notes: Vec<String>) -> Report {
        let mut verdicts: Vec<Verdict> = self.cases.iter().flat_map(Case::verdicts).collect();
        let is_sound = |survey: &Survey, backend: &str| {
            let mut groups = survey.backends.iter().filter(|b| b.name == backend);
            let is_sound = |address: String| self.sound.contains(&(backend.to_owned(), address));
            let mut servers = groups
                .clone()
                .flat_map(|group| &group.servers)
                .filter(|server| !server.down);
            groups.next().is_some() && servers.all(|server| is_sound(server.address()))
        };
        let pitfalls = pitfalls::verdicts(&self.atlas.surveys, &mut verdicts, is_sound);
        verdicts.extend(pitfalls);
        if self.left_out > 0 {
            notes.push(format!(
                "There are more than {CASES} servers; {} failures of others were not looked at.",
                self.left_out
            ));
        }
        if self.pairs.left_out > 0 {
            notes.push(format!(
                "{} failures may be counted twice, because an error log and an access log tell of them.",
                self.pairs.left_out
            ));
        }
        Report::new(verdicts, self.servers(), notes)
    }
}

/// What is known around a case.
struct Around {
    backdrop: Backdrop,
    check: Option<CheckState>,
    changes: Vec<Change>,
}

fn kinds(case: &Case) -> Vec<FaultKind> {
    let groups = case.groups.iter();
    let most = groups.max_by_key(|group| group.count);
    most.map(|group| group.suspects.iter().collect())
        .unwrap_or_default()
}

fn label(subject: &Subject) -> &str {
    match subject.server.as_str() {
        "" => &subject.address,
        server => server,
    }
}

fn called<'a>(seen: &Sighting<'a>) -> Called<'a> {
    Called {
        speaker: seen.speaker,
        backend: seen.backend,
        server: seen.server,
        address: seen.address,
    }
}
