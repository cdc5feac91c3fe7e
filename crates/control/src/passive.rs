//! What control learns from live traffic: receipts, servers to eject, weights of servers that are
//! starting, probes that disagree with the traffic.

use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Weak};
use std::time::Duration;

use clearway_balance::eject::{Batch, Change, Ejector, Step};
use clearway_balance::health::{Disagreement, Live, Status};
use clearway_balance::slow_start;
use clearway_base::clock::{self, Stamp};
use clearway_base::hash::{Map, Set};
use clearway_base::intern::Name;
use clearway_base::ring::Reader;
use clearway_config::model::{LogDestination, Observe};
use clearway_outcome::FaultKind;
use clearway_proxy::board::{DOWN, EJECTED, ServerEntry};
use clearway_proxy::plan::{BackendPlan, CheckPlan, Plan, ServerPlan};
use clearway_telemetry::{codec, receipt};
use tokio::time::Instant;

use crate::health::verdict::{Order, Source};
use crate::logs;
use crate::state::State;

/// How often servers are looked at when nobody fails.
const TICK: Duration = Duration::from_millis(200);
/// How often probes are compared with live traffic.
const COMPARE: Duration = Duration::from_secs(10);

/// Reads the rings of failed requests and the counters of servers.
pub(crate) struct Passive {
    state: Arc<State>,
    rings: Vec<Reader>,
    faults_log: SyncSender<Vec<u8>>,
    ejectors: Map<Name, Ejector>,
    seen: Map<(Name, Name), Seen>,
    /// Whether servers were looked at before: those of the first look had their weight from the
    /// start.
    has_looked: bool,
    compared: Stamp,
}

/// What was known about a server at the last look. Kept for as long as its entry on the board, so
/// that one that comes back into the Plan does not bring its whole history as news.
#[derive(Clone, Default)]
struct Seen {
    /// Whose counts these are.
    entry: Weak<ServerEntry>,
    successes: u64,
    faults: u64,
    /// Totals at the last comparison.
    compared: (u64, u64),
    last_fault: Option<FaultKind>,
    was_usable: bool,
    up_since: Option<Stamp>,
    /// What went well and what failed, as far as it is looked at beside checks.
    observed: (u64, u64),
    /// Errors in a row.
    errors: u32,
}

impl Passive {
    /// Takes over the rings.
    pub(crate) fn new(
        state: Arc<State>,
        rings: Vec<Reader>,
        faults_log: SyncSender<Vec<u8>>,
    ) -> Self {
        Self {
            state,
            rings,
            faults_log,
            ejectors: Map::default(),
            seen: Map::default(),
            has_looked: false,
            compared: clock::now(),
        }
    }

    /// Looks on until asked for a last look: at once when a request failed, else every tick.
    /// Cancel safe.
    pub(crate) async fn run(mut self) {
        loop {
            let shared = Arc::clone(&self.state.shared);
            tokio::select! {
                () = shared.failed.notified() => {}
                () = tokio::time::sleep_until(Instant::now() + TICK) => {}
            }
            let last = self.state.last_look.load(Ordering::Acquire);
            self.read_rings();
            if last {
                self.state.looked.notify_one();
                return;
            }
            self.look();
        }
    }

    /// Files receipts and writes the faults log.
    fn read_rings(&mut self) {
        let mut lines = Vec::new();
        let logs = self.state.config().log.faults != LogDestination::Off;
        let mut is_news = false;
        for ring in &mut self.rings {
            let state = &self.state;
            let seen = &mut self.seen;
            ring.drain(|bytes| {
                let Some(record) = codec::decode(bytes) else {
                    return;
                };
                for attempt in record.as_record().attempts {
                    if let Some(fault) = attempt.fault {
                        let key = (attempt.backend, attempt.address);
                        seen.entry(key).or_default().last_fault = Some(fault.kind);
                    }
                }
                if logs {
                    receipt::json(&record.as_record(), &mut lines);
                }
                state.incidents().observe(&record.as_record());
                state.receipts().file(record);
                is_news = true;
            });
        }
        if is_news {
            self.state.incident_news.notify_one();
        }
        if lines.is_empty() {
            return;
        }
        if let Err(TrySendError::Full(lines) | TrySendError::Disconnected(lines)) =
            self.faults_log.try_send(lines)
        {
            logs::lost(&self.state, &lines);
        }
    }

    /// Looks at every server's counters.
    fn look(&mut self) {
        let plan = self.state.plan();
        let now = clock::now();
        for backend in &plan.backends {
            self.look_at(backend, now);
        }
        self.has_looked = true;
        if now.since(self.compared) >= COMPARE {
            self.compared = now;
            self.compare(&plan);
        }
        let backends: Set<Name> = plan.backends.iter().map(|b| b.name).collect();
        self.ejectors.retain(|name, _| backends.contains(name));
        let servers = plan.backends.iter().flat_map(|b| &b.servers);
        let servers: Set<_> = servers.map(|s| (s.backend, s.address)).collect();
        self.seen
            .retain(|key, seen| servers.contains(key) || seen.rest());
    }

    fn look_at(&mut self, backend: &BackendPlan, now: Stamp) {
        let mut changes = Vec::new();
        if let Some(policy) = backend.ejection {
            let keys: Vec<u64> = backend.servers.iter().map(|s| s.key).collect();
            let ejector = self
                .ejectors
                .entry(backend.name)
                .or_insert_with(|| Ejector::new(policy));
            ejector.sync(policy, &keys);
            changes.extend(ejector.tick(now));
        } else if self.ejectors.remove(&backend.name).is_some() {
            for server in &backend.servers {
                self.state
                    .set_flags((backend.name, server.address), 0, EJECTED);
            }
        }
        for (index, server) in backend.servers.iter().enumerate() {
            let batch = self.batch(backend.name, server);
            if let Some(ejector) = self.ejectors.get_mut(&backend.name)
                && (batch.passed > 0 || batch.faults > 0)
            {
                changes.extend(ejector.observe_many(index, batch, now));
            }
            if let Some(check) = backend.check.as_ref().filter(|_| server.checked) {
                self.observe(server, check);
            }
            self.weigh(server, now);
        }
        for change in changes {
            self.apply(backend, &change);
        }
    }

    /// What ended on a server since the last look.
    fn batch(&mut self, backend: Name, server: &ServerPlan) -> Batch {
        let (successes, faults) = totals(&server.entry);
        let seen = self.seen.entry((backend, server.address)).or_default();
        seen.follow(&server.entry, !self.has_looked);
        let passed = narrow(successes.saturating_sub(seen.successes));
        let failed = narrow(faults.saturating_sub(seen.faults));
        (seen.successes, seen.faults) = (successes, faults);
        // A look follows every failure at once, so of a mixed batch the failure came last.
        let faults_at_end = if passed == 0 { failed } else { failed.min(1) };
        Batch {
            passed,
            faults: failed,
            faults_at_end,
            last: seen.last_fault,
        }
    }

    /// Gives a server that came up its weight step by step.
    fn weigh(&mut self, server: &ServerPlan, now: Stamp) {
        let key = (server.backend, server.address);
        let usable = server.entry.cell.is_usable();
        let seen = self.seen.entry(key).or_default();
        if usable && !seen.was_usable {
            seen.up_since = Some(now);
        }
        seen.was_usable = usable;
        let configured = server.weight / slow_start::UNIT;
        let weight = slow_start::effective(configured, seen.up_since, server.slow_start, now);
        let weight = self.state.verdicts.weight(key, weight);
        if weight != server.entry.cell.weight() {
            self.state.board().set_weight(key, weight);
        }
    }

    /// Counts errors in a row that say something about a server beside its checks. Of those that ended
    /// since the last look nobody knows the order: one that went well ends the row.
    fn observe(&mut self, server: &ServerPlan, check: &CheckPlan) {
        if check.observe == Observe::Off {
            return;
        }
        let key = (server.backend, server.address);
        let (well, failed) = observed(&server.entry, check.observe);
        let seen = self.seen.entry(key).or_default();
        let before = std::mem::replace(&mut seen.observed, (well, failed));
        let failed = narrow(failed.saturating_sub(before.1));
        if well > before.0 {
            seen.errors = 0;
        } else {
            seen.errors = seen.errors.saturating_add(failed);
        }
        if seen.errors >= check.error_limit {
            seen.errors = 0;
            let order = Order::Errors(check.on_error);
            self.state.verdicts.order(key, Source::Check, order);
        }
    }

    fn apply(&self, backend: &BackendPlan, change: &Change) {
        let Some(server) = backend.servers.get(change.server) else {
            return;
        };
        let key = (backend.name, server.address);
        let to = match change.step {
            Step::Ejected { .. } => {
                self.state.set_flags(key, EJECTED, 0);
                "ejected"
            }
            Step::Readmitted => {
                self.state.set_flags(key, 0, EJECTED);
                "back"
            }
            Step::Spared => "spared",
        };
        self.state.tell(key, to, change.why.clone());
    }

    /// Compares what probes say with what live traffic says.
    fn compare(&mut self, plan: &Plan) {
        for backend in plan.backends.iter().filter(|b| b.check.is_some()) {
            for server in &backend.servers {
                let key = (backend.name, server.address);
                let (successes, faults) = totals(&server.entry);
                let seen = self.seen.entry(key).or_default();
                let before = std::mem::replace(&mut seen.compared, (successes, faults));
                let failed = faults.saturating_sub(before.1);
                let live = Live {
                    requests: successes.saturating_sub(before.0) + failed,
                    faults: failed,
                    main: seen.last_fault,
                };
                let down = server.entry.cell.flags() & DOWN != 0;
                let status = if down { Status::Down } else { Status::Up };
                self.state.stories().of(key).disagreement =
                    Disagreement::find(status, live).map(|d| d.words());
            }
        }
    }
}

impl Seen {
    /// Begins from zero when another entry has taken the place of the one known.
    fn follow(&mut self, entry: &Arc<ServerEntry>, was_usable: bool) {
        if self.entry.as_ptr() != Arc::as_ptr(entry) {
            *self = Self {
                entry: Arc::downgrade(entry),
                last_fault: self.last_fault,
                was_usable,
                ..Self::default()
            };
        }
    }

    /// Lets what ends on a server outside the Plan go by; whether its entry is still in use.
    fn rest(&mut self) -> bool {
        let Some(entry) = self.entry.upgrade() else {
            return false;
        };
        (self.successes, self.faults) = totals(&entry);
        self.compared = (self.successes, self.faults);
        (self.was_usable, self.up_since) = (false, None);
        true
    }
}

/// Successes, and faults that count against the server, over all workers.
fn totals(server: &ServerEntry) -> (u64, u64) {
    let faults = server.faults(FaultKind::counts_against_server);
    (server.successes(), faults)
}

/// What went well on a server so far and what failed, as far as it is looked at.
fn observed(server: &ServerEntry, what: Observe) -> (u64, u64) {
    let connects = server.faults(|kind| kind.haproxy()[1] == b'C');
    let refused: u64 = server.shards.iter().map(|s| s.responses[4].value()).sum();
    let (well, all) = (server.successes(), totals(server).1);
    match what {
        Observe::Off => (0, 0),
        Observe::Tcp => (well + all.saturating_sub(connects), connects),
        Observe::Http => (well.saturating_sub(refused), all + refused),
    }
}

fn narrow(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
