//! What HAProxy's statistics tell beyond counters: rates, highest values, how long something has been down.
//!
//! A look each second makes them, so that workers count nothing for them: a peak between two looks is not
//! seen.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clearway_base::clock;
use clearway_base::hash::{Map, Set};
use clearway_base::intern::Name;
use clearway_proxy::plan::{BackendPlan, ListenerPlan, ServerPlan};
use tokio::time::Instant;

use crate::state::State;

/// The time between two looks.
const PERIOD: Duration = Duration::from_secs(1);

/// What a row of the statistics is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Object {
    /// A listener.
    Frontend,
    /// A backend as a whole.
    Backend,
    /// One server of it.
    Server,
}

/// Tells rows apart over reloads: the names of the proxy and of the server.
pub(crate) type Key = (Object, Name, Name);

/// What is seen of one object.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    /// Requests, or Attempts of a server.
    pub(crate) requests: u64,
    /// Connections that were accepted, of a listener.
    pub(crate) connections: u64,
    /// How many of these are under way.
    pub(crate) now: u64,
    /// How many requests wait.
    pub(crate) waiting: u64,
    /// Whether it is of use.
    pub(crate) is_up: bool,
}

/// What the looks so far say about one object.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sample {
    last: Seen,
    /// Requests in the last second, and most in any.
    pub(crate) rate: u64,
    pub(crate) rate_max: u64,
    /// The same of connections.
    pub(crate) connection_rate: u64,
    pub(crate) connection_rate_max: u64,
    /// Most at the same time.
    pub(crate) now_max: u64,
    pub(crate) waiting_max: u64,
    /// When there was traffic last, in seconds since the Unix epoch; 0 = never.
    pub(crate) busy_at: i64,
    /// When it changed between up and down last; 0 = never.
    pub(crate) changed_at: i64,
    /// How often it went down, and for how many seconds it was.
    pub(crate) downs: u64,
    pub(crate) down_seconds: u64,
}

impl Sample {
    /// Takes a look into account. The first one only says where counting begins.
    fn look(&mut self, seen: Seen, is_first: bool, at: i64) {
        if !is_first {
            self.rate = seen.requests.saturating_sub(self.last.requests);
            self.connection_rate = seen.connections.saturating_sub(self.last.connections);
            if self.rate > 0 || self.connection_rate > 0 {
                self.busy_at = at;
            }
            if seen.is_up != self.last.is_up {
                self.changed_at = at;
                self.downs += u64::from(!seen.is_up);
            }
            self.down_seconds += u64::from(!seen.is_up);
        }
        self.rate_max = self.rate_max.max(self.rate);
        self.connection_rate_max = self.connection_rate_max.max(self.connection_rate);
        self.now_max = self.now_max.max(seen.now);
        self.waiting_max = self.waiting_max.max(seen.waiting);
        self.last = seen;
    }

    fn forget_highest(&mut self) {
        self.rate_max = 0;
        self.connection_rate_max = 0;
        self.now_max = self.last.now;
        self.waiting_max = self.last.waiting;
    }
}

/// The samples of all objects, and what counters began with when somebody cleared them.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    samples: Map<Key, Sample>,
    /// Values of columns that count, by key and column.
    cleared: Map<Key, Vec<u64>>,
}

impl Samples {
    /// What is known of an object.
    pub(crate) fn of(&self, key: Key) -> Sample {
        self.samples.get(&key).copied().unwrap_or_default()
    }

    /// What the counters of an object stood at when they were cleared.
    pub(crate) fn cleared(&self, key: Key) -> Option<&[u64]> {
        self.cleared.get(&key).map(Vec::as_slice)
    }

    /// Has the highest values begin anew.
    pub(crate) fn forget_highest(&mut self) {
        self.samples.values_mut().for_each(Sample::forget_highest);
    }

    /// Has counters count from here.
    pub(crate) fn clear(&mut self, counters: Map<Key, Vec<u64>>) {
        self.cleared = counters;
        self.forget_highest();
    }

    fn look(&mut self, seen: Vec<(Key, Seen)>, at: i64) {
        let keys: Set<Key> = seen.iter().map(|(key, _)| *key).collect();
        self.samples.retain(|key, _| keys.contains(key));
        self.cleared.retain(|key, _| keys.contains(key));
        for (key, seen) in seen {
            let is_first = !self.samples.contains_key(&key);
            self.samples
                .entry(key)
                .or_default()
                .look(seen, is_first, at);
        }
    }
}

/// Looks each second, for ever.
#[expect(clippy::infinite_loop, reason = "it ends with control's runtime")]
pub(crate) async fn watch(state: Arc<State>) {
    let mut next = Instant::now();
    loop {
        let plan = state.plan();
        let listeners = plan
            .listeners
            .iter()
            .map(|l| (frontend_key(l), of_listener(l)));
        let mut all: Vec<(Key, Seen)> = listeners.collect();
        for backend in &plan.backends {
            all.push((backend_key(backend), of_backend(backend)));
            let servers = backend.servers.iter();
            all.extend(servers.map(|server| (server_key(server), of_server(server))));
        }
        state.runtime.samples().look(all, clock::wall_seconds());
        drop(plan);
        next += PERIOD;
        tokio::time::sleep_until(next.max(Instant::now())).await;
    }
}

pub(crate) fn frontend_key(listener: &ListenerPlan) -> Key {
    (Object::Frontend, listener.name, Name::NONE)
}

pub(crate) fn backend_key(backend: &BackendPlan) -> Key {
    (Object::Backend, backend.name, Name::NONE)
}

pub(crate) fn server_key(server: &ServerPlan) -> Key {
    (Object::Server, server.backend, server.address)
}

fn of_listener(listener: &ListenerPlan) -> Seen {
    let shards = || listener.entry.shards.iter();
    let requests = shards()
        .flat_map(|s| &s.responses)
        .map(|count| count.value());
    Seen {
        requests: requests.sum(),
        connections: shards().map(|s| s.accepted.value()).sum(),
        now: u64::from(listener.entry.open.load(Ordering::Relaxed)),
        waiting: 0,
        is_up: true,
    }
}

fn of_backend(backend: &BackendPlan) -> Seen {
    let shards = || backend.entry.shards.iter();
    let requests = shards()
        .flat_map(|s| &s.responses)
        .map(|count| count.value());
    let servers = || backend.servers.iter();
    Seen {
        requests: requests.sum(),
        connections: 0,
        now: servers().map(|s| u64::from(s.entry.inflight())).sum(),
        waiting: shards().map(|s| u64::from(s.queued.value())).sum(),
        is_up: backend.servers.is_empty() || servers().any(|s| s.entry.cell.is_usable()),
    }
}

fn of_server(server: &ServerPlan) -> Seen {
    Seen {
        requests: server.entry.attempts(),
        connections: 0,
        now: u64::from(server.entry.inflight()),
        waiting: 0,
        is_up: server.entry.cell.is_usable(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_highest_values_and_downtime_follow_from_looks() {
        let key = (Object::Server, Name::new("app"), Name::new("a"));
        let seen = |requests, now, is_up| Seen {
            requests,
            now,
            is_up,
            ..Seen::default()
        };
        let mut samples = Samples::default();
        samples.look(vec![(key, seen(100, 1, true))], 10);
        assert_eq!((samples.of(key).rate, samples.of(key).busy_at), (0, 0));
        samples.look(vec![(key, seen(130, 7, true))], 11);
        samples.look(vec![(key, seen(140, 2, false))], 12);
        samples.look(vec![(key, seen(140, 2, false))], 13);
        let sample = samples.of(key);
        assert_eq!((sample.rate, sample.rate_max, sample.now_max), (0, 30, 7));
        assert_eq!((sample.busy_at, sample.changed_at), (12, 12));
        assert_eq!((sample.downs, sample.down_seconds), (1, 2));
        samples.clear([(key, vec![1])].into_iter().collect());
        assert_eq!((samples.of(key).rate_max, samples.of(key).now_max), (0, 2));
        samples.look(Vec::new(), 14);
        assert!(samples.cleared(key).is_none());
    }
}
