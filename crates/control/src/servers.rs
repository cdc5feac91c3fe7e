//! What becomes of servers when a Plan takes the place of another, and when the operator says so.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use clearway_balance::slow_start;
use clearway_base::clock;
use clearway_base::hash::Map;
use clearway_base::intern::Name;
use clearway_doctor::evidence::ChangeKind;
use clearway_proxy::board::{CUT, DRAIN, MAINTENANCE, REMOVED};
use clearway_proxy::plan::{Plan, ServerPlan};
use tokio::time::Instant;

use crate::state::{ServerAction, State};
use crate::task;

/// A server's place on the board: the names of its backend and its address.
type Key = (Name, Name);

/// Applies the operator's word where the file has changed it, and lets servers that had been
/// removed begin anew.
pub(crate) fn settle(state: &State, before: &Plan, plan: &Plan) {
    let old = servers_of(before);
    note_who_came_and_went(state, before, plan);
    for (key, server) in servers(plan) {
        match old.get(&key) {
            Some(known) if known.state != server.state => obey_file(state, key, server.state),
            Some(_) => {}
            // Whoever still held the entry of a removed server has kept its flags, too.
            None => {
                state.set_flags(key, server.state, !server.state);
                if state.is_ready() {
                    start_slowly(state, key, server);
                }
            }
        }
    }
}

/// Remembers which servers joined and left, as causes of failures.
fn note_who_came_and_went(state: &State, before: &Plan, plan: &Plan) {
    if !state.is_ready() {
        return;
    }
    let (old, new) = (servers_of(before), servers_of(plan));
    for ((backend, address), server) in servers(plan) {
        if !old.contains_key(&(backend, address)) {
            let words = format!("server {} joined backend {backend}", server.name);
            state.note_change(Some(backend), ChangeKind::ServerJoined, words);
        }
    }
    for ((backend, address), server) in servers(before) {
        if !new.contains_key(&(backend, address)) {
            let words = format!("server {} left backend {backend}", server.name);
            state.note_change(Some(backend), ChangeKind::ServerLeft, words);
        }
    }
}

/// Gives a server that joins the others the weight with which it begins; raising it is
/// part of the look at all servers (`passive.rs`).
fn start_slowly(state: &State, key: Key, server: &ServerPlan) {
    let (configured, now) = (server.weight / slow_start::UNIT, clock::now());
    let weight = slow_start::effective(configured, Some(now), server.slow_start, now);
    state.board().set_weight(key, weight);
}

/// Marks what was removed, and gives its connections until the drain time is over.
pub(crate) fn let_go(state: &Arc<State>, before: &Plan, plan: &Plan) {
    let new = servers_of(plan);
    let gone = |key: &Key| !new.contains_key(key);
    let servers: Vec<Key> = servers(before).map(|(key, _)| key).filter(gone).collect();
    let known = |name| plan.listeners.iter().any(|l| l.name == name);
    let lost = before.listeners.iter().filter(|l| !known(l.name));
    let listeners: Vec<_> = lost.map(|l| Arc::clone(&l.entry)).collect();
    for key in &servers {
        state.set_flags(*key, REMOVED, 0);
    }
    for listener in &plan.listeners {
        listener.entry.set_cut(false);
    }
    if servers.is_empty() && listeners.is_empty() {
        return;
    }
    let state = Arc::clone(state);
    let Some(limit) = state.config().process.drain.on().copied() else {
        return;
    };
    let until = Instant::now() + limit;
    drop(task::spawn(async move {
        tokio::time::sleep_until(until).await;
        let plan = state.plan();
        // What came back in the meantime stays.
        let back = servers_of(&plan);
        for key in servers.into_iter().filter(|key| !back.contains_key(key)) {
            state.set_flags(key, CUT, 0);
        }
        for entry in listeners {
            if !plan.listeners.iter().any(|l| Arc::ptr_eq(&l.entry, &entry)) {
                entry.set_cut(true);
            }
        }
        state.shared.cuts.fetch_add(1, Ordering::Release);
    }));
}

/// Puts the operator's word of the file in force.
fn obey_file(state: &State, key: Key, word: u32) {
    let to = match word {
        0 => "ready",
        DRAIN => "drain",
        _ => "maintenance",
    };
    if state.set_flags(key, word, (DRAIN | MAINTENANCE) & !word) {
        state.tell(key, to, "set in the configuration".to_owned());
    }
}

/// Does what the operator asks; a sentence either way.
pub(crate) fn obey(
    state: &State,
    backend: &str,
    server: &str,
    action: ServerAction,
) -> Result<String, String> {
    let plan = state.plan();
    let Some(backend) = plan.backends.iter().find(|b| b.name.as_str() == backend) else {
        return Err(format!("there is no backend {backend}"));
    };
    let named = |s: &&Arc<ServerPlan>| s.name.as_str() == server || s.address.as_str() == server;
    let Some(found) = backend.servers.iter().find(named) else {
        return Err(format!("backend {} has no server {server}", backend.name));
    };
    let key = (backend.name, found.address);
    let (set, clear, to) = match action {
        ServerAction::Ready => (0, DRAIN | MAINTENANCE, "ready"),
        ServerAction::Drain => (DRAIN, MAINTENANCE, "drain"),
        ServerAction::Maintenance => (MAINTENANCE, DRAIN, "maintenance"),
    };
    if state.set_flags(key, set, clear) {
        state.tell(key, to, "set by the operator".to_owned());
    }
    Ok(format!("{}/{} is {to}", backend.name, found.name))
}

fn servers(plan: &Plan) -> impl Iterator<Item = (Key, &Arc<ServerPlan>)> {
    let servers = plan
        .backends
        .iter()
        .flat_map(|b| b.servers.iter().map(|s| (b.name, s)));
    servers.map(|(backend, server)| ((backend, server.address), server))
}

fn servers_of(plan: &Plan) -> Map<Key, &Arc<ServerPlan>> {
    servers(plan).collect()
}

/// Whether a Plan has a server.
pub(crate) fn is_in(plan: &Plan, (backend, address): Key) -> bool {
    let mut backends = plan.backends.iter().filter(|b| b.name == backend);
    backends.any(|b| b.servers.iter().any(|s| s.address == address))
}
