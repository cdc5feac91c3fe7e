//! The workers' counters, summed, as metrics.

use std::sync::atomic::Ordering;

use clearway_base::clock;
use clearway_doctor::Symptom;
use clearway_outcome::{FaultKind, GrpcStatus};
use clearway_proxy::plan::{BackendPlan, ListenerPlan, ServerPlan};
use clearway_proxy::stats::{
    BackendShard, Count, FaultCounts, LazyHistogram, ListenerShard, ServerShard,
};
use clearway_telemetry::Counts;
use clearway_telemetry::catalogue::{Metric, Snapshot, Value};

use crate::certificates;
use crate::state::State;

/// Names of the classes of [`clearway_proxy::stats::class`].
const CLASSES: [&str; 5] = ["none", "2xx", "3xx", "4xx", "5xx"];

/// How to get at a field of a shard.
type Of<S, T> = fn(&S) -> &T;

/// Everything as it is now.
pub(crate) fn snapshot(state: &State) -> Snapshot {
    let mut out = Snapshot::default();
    process(state, &mut out);
    for wanted in state
        .issuing
        .status()
        .iter()
        .flat_map(|status| &status.certificates)
    {
        let failures = level(u64::from(wanted.failures));
        out.add(Metric::AcmeFailures, &[&wanted.id], failures);
    }
    let plan = state.plan();
    for listener in &plan.listeners {
        of_listener(listener, &mut out);
    }
    for backend in &plan.backends {
        of_backend(backend, &mut out);
        for server in &backend.servers {
            of_server(server, &mut out);
        }
    }
    out
}

fn count(value: u64) -> Value {
    Value::Count(value)
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53")]
fn level(value: u64) -> Value {
    Value::Level(value as f64)
}

fn process(state: &State, out: &mut Snapshot) {
    let uptime = clock::now().since(state.started).as_secs_f64();
    out.add(Metric::BuildInfo, &[env!("CARGO_PKG_VERSION")], level(1));
    out.add(Metric::Uptime, &[], Value::Level(uptime));
    out.add(
        Metric::Reloads,
        &["ok"],
        count(state.reloads.load(Ordering::Relaxed)),
    );
    out.add(
        Metric::Reloads,
        &["refused"],
        count(state.reloads_refused.load(Ordering::Relaxed)),
    );
    out.add(Metric::Generation, &[], level(state.plan().generation));
    out.add(
        Metric::LogFailed,
        &[],
        count(state.log_failures.load(Ordering::Relaxed)),
    );
    out.add(Metric::Receipts, &[], count(state.receipts().filed));
    incidents(state, out);
    for (index, worker) in state.shared.workers.iter().enumerate() {
        let index = index.to_string();
        out.add(Metric::Panics, &[&index], count(worker.panics.value()));
        out.add(
            Metric::LogDropped,
            &[&index],
            count(worker.log_dropped.value()),
        );
        out.add(
            Metric::ReceiptsDropped,
            &[&index],
            count(worker.receipts_dropped.value()),
        );
    }
}

fn incidents(state: &State, out: &mut Snapshot) {
    let incidents = state.incidents();
    let open = u64::try_from(incidents.open()).unwrap_or(u64::MAX);
    out.add(Metric::IncidentsOpen, &[], level(open));
    out.add(Metric::IncidentsClosed, &[], count(incidents.ended));
    out.add(Metric::Probes, &[], count(incidents.probes));
    let kinds = FaultKind::ALL.iter().map(|kind| Symptom::Fault(*kind));
    for symptom in kinds.chain([Symptom::ServersOwn]) {
        if let Some(opened) = incidents.opened.get(symptom.code()) {
            out.add(Metric::Incidents, &[symptom.code()], count(*opened));
        }
    }
}

fn of_listener(listener: &ListenerPlan, out: &mut Snapshot) {
    let name = listener.name.as_str();
    let shards = &listener.entry.shards;
    let open = listener.entry.open.load(Ordering::Relaxed);
    out.add(Metric::ClientConnections, &[name], level(u64::from(open)));
    out.add(Metric::Accepted, &[name], total(shards, |s| &s.accepted));
    out.add(
        Metric::AcceptPaused,
        &[name],
        total(shards, |s| &s.accept_paused),
    );
    out.add(
        Metric::ListenerBytesIn,
        &[name],
        total(shards, |s| &s.bytes_in),
    );
    out.add(
        Metric::ListenerBytesOut,
        &[name],
        total(shards, |s| &s.bytes_out),
    );
    for (class, label) in CLASSES.iter().enumerate() {
        let requests = total(shards, |s| &s.responses[class]);
        out.add(Metric::ListenerRequests, &[name, label], requests);
    }
    if let Some(tls) = &listener.tls {
        let handshakes: [(&str, &str, Of<ListenerShard, Count>); 4] = [
            ("TLSv1.2", "no", |s| &s.handshakes[0]),
            ("TLSv1.2", "yes", |s| &s.handshakes[1]),
            ("TLSv1.3", "no", |s| &s.handshakes[2]),
            ("TLSv1.3", "yes", |s| &s.handshakes[3]),
        ];
        for (version, resumed, of) in handshakes {
            out.add(
                Metric::Handshakes,
                &[name, version, resumed],
                total(shards, of),
            );
        }
        for certificate in tls.server.certificates().all() {
            let facts = certificate.facts();
            let end = u64::try_from(facts.not_after).unwrap_or(0);
            let labels = [name, certificates::label(&certificate), &facts.serial];
            out.add(Metric::CertificateEnd, &labels, level(end));
        }
    }
    for (kind, value) in faults(shards.iter().map(|s| &s.faults)) {
        out.add(
            Metric::Faults,
            &[name, kind.code(), kind.party().name()],
            count(value),
        );
    }
}

fn of_backend(backend: &BackendPlan, out: &mut Snapshot) {
    let name = backend.name.as_str();
    let shards = &backend.entry.shards;
    out.add(Metric::Retries, &[name], total(shards, |s| &s.retries));
    out.add(Metric::Prevented, &[name], total(shards, |s| &s.prevented));
    let queued: u64 = shards.iter().map(|s| u64::from(s.queued.value())).sum();
    out.add(Metric::Queued, &[name], level(queued));
    for (class, label) in CLASSES.iter().enumerate() {
        out.add(
            Metric::Requests,
            &[name, label],
            total(shards, |s| &s.responses[class]),
        );
    }
    for (kind, value) in faults(shards.iter().map(|s| &s.faults)) {
        out.add(
            Metric::BackendFaults,
            &[name, kind.code(), kind.party().name()],
            count(value),
        );
    }
    for status in GrpcStatus::all() {
        let calls: Vec<u64> = shards.iter().filter_map(|s| s.grpc.value(status)).collect();
        let sum = calls.iter().sum();
        if sum > 0 {
            out.add(Metric::GrpcCalls, &[name, status.name()], count(sum));
        }
    }
    let phases: [(&str, Of<BackendShard, LazyHistogram>); 4] = [
        ("queue", |s| &s.queue),
        ("connect", |s| &s.connect),
        ("first_byte", |s| &s.first_byte),
        ("total", |s| &s.total),
    ];
    for (phase, of) in phases {
        let mut counts = Counts::default();
        for histogram in shards.iter().filter_map(|s| of(s).get()) {
            histogram.add_to(&mut counts);
        }
        if counts.count() > 0 {
            out.add(
                Metric::Phase,
                &[name, phase],
                Value::Durations(Box::new(counts)),
            );
        }
    }
}

fn of_server(server: &ServerPlan, out: &mut Snapshot) {
    let labels = [server.backend.as_str(), server.address.as_str()];
    let shards = &server.entry.shards;
    let cell = &server.entry.cell;
    out.add(
        Metric::ServerUp,
        &labels,
        level(u64::from(cell.is_usable())),
    );
    out.add(
        Metric::ServerWeight,
        &labels,
        level(u64::from(cell.weight())),
    );
    let idle: u64 = shards.iter().map(|s| u64::from(s.idle.value())).sum();
    out.add(
        Metric::ServerInflight,
        &labels,
        level(u64::from(server.entry.inflight())),
    );
    out.add(Metric::ServerIdle, &labels, level(idle));
    let counters: [(Metric, Of<ServerShard, Count>); 6] = [
        (Metric::ServerAttempts, |s| &s.attempts),
        (Metric::ServerConnects, |s| &s.connects),
        (Metric::ServerReuses, |s| &s.reuses),
        (Metric::ServerBytesIn, |s| &s.bytes_in),
        (Metric::ServerBytesOut, |s| &s.bytes_out),
        (Metric::ServerIdleCloses, |s| &s.idle_closes),
    ];
    for (metric, of) in counters {
        out.add(metric, &labels, total(shards, of));
    }
    let learnt = shards
        .iter()
        .map(|s| s.idle_limit_ms.value())
        .filter(|&ms| ms > 0)
        .min();
    out.add(
        Metric::ServerIdleLimit,
        &labels,
        Value::Level(f64::from(learnt.unwrap_or(0)) / 1_000.0),
    );
    for (kind, value) in faults(shards.iter().map(|s| &s.faults)) {
        let [backend, address] = labels;
        let labels = [backend, address, kind.code(), kind.party().name()];
        out.add(Metric::ServerFaults, &labels, count(value));
    }
}

fn total<S>(shards: &[S], of: impl Fn(&S) -> &Count) -> Value {
    count(shards.iter().map(|shard| of(shard).value()).sum())
}

/// Kinds that happened, with their counts.
fn faults<'a>(shards: impl Iterator<Item = &'a FaultCounts>) -> Vec<(FaultKind, u64)> {
    let shards: Vec<&FaultCounts> = shards.filter(|counts| counts.any()).collect();
    if shards.is_empty() {
        return Vec::new();
    }
    let sum = |kind| shards.iter().map(|counts| counts.value(kind)).sum();
    FaultKind::ALL
        .iter()
        .map(|&kind| (kind, sum(kind)))
        .filter(|(_, count)| *count > 0)
        .collect()
}
