//! What control knows around a case: the other servers, checks, changes, what goes well.

use std::collections::BTreeMap;

use clearway_base::intern::Name;
use clearway_doctor::Symptom;
use clearway_doctor::evidence::CheckState;
use clearway_outcome::FaultKind;
use clearway_proxy::board::{DOWN, DRAIN, EJECTED, MAINTENANCE};
use clearway_proxy::plan::{BackendPlan, ServerPlan};

use super::{Key, Watched};
use crate::state::State;
use crate::story::Story;

/// Transitions within this long count as flapping, in microseconds.
const FLAPPING_US: u64 = 600_000_000;

/// Kinds of faults, with how often each came.
type Kinds = Vec<(FaultKind, u64)>;

/// What fails on each server at present: its key, its name, the faults.
pub(super) struct Failing(Vec<(Key, String, Kinds)>);

impl Failing {
    /// Of all servers with open incidents.
    pub(super) fn of(watched: &BTreeMap<Key, Watched>) -> Self {
        let servers = watched.iter().filter(|(key, _)| !key.1.is_none());
        let all = servers.map(|(key, watched)| {
            let kinds = watched.incidents.iter().filter_map(|incident| {
                let count = watched.case.group(incident.symptom)?.count;
                match incident.symptom {
                    Symptom::Fault(kind) => Some((kind, count)),
                    Symptom::ServersOwn => None,
                }
            });
            (*key, watched.case.subject.server.clone(), kinds.collect())
        });
        Self(all.collect())
    }

    /// Puts what concerns the servers beside one into its case.
    pub(super) fn gather(&self, key: Key, watched: &mut Watched) {
        let of_backend = || self.0.iter().filter(|(other, ..)| other.0 == key.0);
        let own = of_backend().find(|(other, ..)| *other == key);
        let own = own.map_or(&[][..], |(_, _, kinds)| kinds);
        let is_alike = |kinds: &[(FaultKind, u64)]| {
            kinds
                .iter()
                .any(|(kind, _)| own.iter().any(|(known, _)| known == kind))
        };
        let alike = of_backend().filter(|(_, _, kinds)| is_alike(kinds)).count();
        let backdrop = &mut watched.case.backdrop;
        backdrop.failing = u32::try_from(alike).unwrap_or(u32::MAX);
        backdrop.others.clear();
        for (_, server, kinds) in of_backend().filter(|(other, ..)| *other != key) {
            let each = kinds
                .iter()
                .map(|(kind, count)| (server.clone(), *kind, *count));
            backdrop.others.extend(each);
        }
    }
}

/// Puts it into the case.
pub(super) fn gather(state: &State, (backend, address): Key, watched: &mut Watched) {
    let plan = state.plan();
    if let Some(group) = plan.backends.iter().find(|b| b.name == backend) {
        servers(state, group, address, watched);
    }
}

fn servers(state: &State, group: &BackendPlan, address: Name, watched: &mut Watched) {
    let stories = state.stories();
    let backdrop = &mut watched.case.backdrop;
    backdrop.servers = u32::try_from(group.servers.len()).unwrap_or(u32::MAX);
    backdrop.checks.clear();
    backdrop.down = 0;
    for server in &group.servers {
        let check = check_state(server, stories.get((group.name, server.address)));
        backdrop.down += u32::from(check.is_down || check.is_ejected);
        if server.address == address {
            watched.case.check = Some(check.clone());
        }
        backdrop.checks.push((server.name.to_string(), check));
    }
    drop(stories);
    let Some(server) = group.servers.iter().find(|s| s.address == address) else {
        return;
    };
    // The most that were seen since the first failure: those that fail are over when they are looked at.
    let busy = u64::from(server.entry.inflight());
    backdrop.in_flight = Some(backdrop.in_flight.map_or(busy, |most| most.max(busy)));
    let successes = server.entry.successes();
    let (first, last) = &mut watched.successes;
    // Not known before: what has gone well until now came before the first look.
    if *first == u64::MAX {
        *first = successes;
    }
    if *last == u64::MAX {
        *last = successes;
    }
    watched.case.successes.count = successes.saturating_sub(*first);
    watched.case.successes.since_failure = successes.saturating_sub(*last);
    watched.case.successes.before = *first;
}

fn check_state(server: &ServerPlan, story: Option<&Story>) -> CheckState {
    let flags = server.entry.cell.flags();
    let mut out = CheckState {
        is_down: flags & DOWN != 0,
        is_ejected: flags & EJECTED != 0,
        is_withdrawn: flags & (DRAIN | MAINTENANCE) != 0,
        ..CheckState::default()
    };
    let Some(story) = story else { return out };
    if let Some(probe) = &story.last_probe {
        out.fault = probe.fault;
        out.status = probe.status;
        out.words.clone_from(&probe.words);
        out.took_us = Some(probe.took_us);
    }
    let now = clearway_base::clock::wall();
    let flaps = story
        .transitions
        .iter()
        .filter(|t| now.saturating_sub(t.at) < FLAPPING_US && matches!(t.to, "up" | "down"));
    out.flaps = u32::try_from(flaps.count()).unwrap_or(u32::MAX);
    out
}
