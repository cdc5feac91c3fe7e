//! Layer 4: the same choose, reach and settle around a tunnel of bytes.

use std::rc::Rc;

use clearway_balance::Ask;
use clearway_base::intern::Name;
use clearway_config::model::RetryOn;
use clearway_outcome::{
    Attempt, Evidence, Fault, FaultKind, Phase, Protocol, Record, RequestId, Retry, RetryRefusal,
    Side, Timings,
};
use smallvec::SmallVec;

use crate::client::{Conn, handshake};
use crate::exchange::pump::{Coding, Pump, Source};
use crate::exchange::tunnel::{self, Ends};
use crate::exchange::{connect_fault, gather, open};
use crate::local::{Flight, LocalBackend};
use crate::plan::RetryPlan;
use crate::slots::{self, Slot};

/// What happened to a connection so far.
struct Passage {
    id: RequestId,
    attempts: SmallVec<[Attempt; 2]>,
    tried: SmallVec<[usize; 4]>,
    fault: Option<Fault>,
    bytes: (u64, u64),
}

/// A connection on its way through: reported when it is dropped, whatever the reason.
struct Through {
    conn: Box<Conn>,
    passage: Passage,
    backend: Option<Rc<LocalBackend>>,
    /// The connection came to its own end.
    ended: bool,
}

impl Drop for Through {
    fn drop(&mut self) {
        if !self.ended {
            let kind = if std::thread::panicking() {
                FaultKind::InternalPanic
            } else {
                FaultKind::ShuttingDown
            };
            let elapsed = self.conn.worker.tick().micros_since(self.conn.accepted);
            let fault = Fault::new(kind, Phase::Tunnel, Side::Local).after(elapsed);
            self.passage.fault = Some(fault);
        }
        settle(&self.conn, &self.passage, self.backend.as_ref());
    }
}

/// Serves one layer-4 connection until both sides have finished.
pub(crate) async fn serve(mut conn: Box<Conn>) {
    let Ok(first) = handshake::read(&mut conn).await else {
        return;
    };
    let plan = conn.plan();
    let passage = Passage {
        id: conn.worker.next_id(),
        attempts: SmallVec::new(),
        tried: SmallVec::new(),
        fault: None,
        bytes: (0, 0),
    };
    let backend = conn
        .listener()
        .and_then(|l| plan.backends.get(l.fallback.backend?).cloned());
    let mut through = Through {
        conn,
        passage,
        backend,
        ended: false,
    };
    let result = match through.backend.clone() {
        None => Err(Fault::new(FaultKind::NoRoute, Phase::Route, Side::Local)),
        Some(backend) => {
            let Through { conn, passage, .. } = &mut through;
            Box::pin(relay(conn, &backend, passage, first)).await
        }
    };
    if let Err(fault) = result {
        through.passage.fault = Some(fault);
        // The other side must see that the stream did not end by itself.
        through.conn.stream.reset_on_close();
    }
    through.ended = true;
}

/// Chooses and reaches a server, then relays.
async fn relay(
    conn: &mut Conn,
    backend: &Rc<LocalBackend>,
    passage: &mut Passage,
    first: Option<clearway_base::buffer::Lease>,
) -> Result<(), Fault> {
    let worker = Rc::clone(&conn.worker);
    let timeouts = conn
        .listener()
        .map(|l| l.fallback.timeouts.clone())
        .unwrap_or_default();
    let plan = conn.plan();
    let rules = plan.listener(conn.listener_at).fallback.retries.clone();
    backend.budget.borrow_mut().request(worker.now());
    loop {
        let began = worker.now();
        let tried: &[usize] = if rules.other_server {
            &passage.tried
        } else {
            &[]
        };
        let (member, slot, queued_us) = choose(conn, backend, tried, &timeouts).await?;
        let Some(server) = backend.servers.get(member).cloned() else {
            return Err(Fault::new(FaultKind::NoServers, Phase::Choose, Side::Local));
        };
        let flight = Flight::begin(backend, member, began);
        let plan = &server.plan;
        let mut attempt = Attempt::begin(plan.backend, plan.name, plan.address, began);
        attempt.queued_us = queued_us;
        let opened = open(conn, &server, timeouts.connect).await;
        let elapsed = worker.tick().micros_since(began);
        match opened {
            Ok(mut stream) => {
                attempt.connected_us = Some(elapsed);
                backend.shard().connect.record(elapsed);
                let mut ends = Ends {
                    up: Pump::new(Source::UntilClose, Coding::Same),
                    down: Pump::new(Source::UntilClose, Coding::Same),
                };
                if let Some(first) = first {
                    // A tunnel has no framing that could be broken.
                    drop(ends.up.feed(first, 0));
                }
                let side = (&mut stream, &server.plan.entry.cell);
                let result = tunnel::run(conn, side, &mut ends, &timeouts).await;
                passage.bytes = (ends.up.taken, ends.down.given);
                attempt.bytes_sent = ends.up.given;
                attempt.bytes_received = ends.down.taken;
                attempt.first_byte_us = (ends.down.taken > 0).then_some(elapsed);
                if let Err(fault) = &result {
                    attempt.fault = Some(*fault);
                    attempt.evidence = Some(gather(Some(&stream), &[]));
                }
                file(backend, passage, attempt, member, (flight, slot));
                return result;
            }
            Err((kind, errno)) => {
                let fault = connect_fault(kind, errno, elapsed);
                attempt.fault = Some(fault);
                attempt.evidence = Some(Evidence::default());
                attempt.refusal = refusal(&rules, kind, passage.attempts.len() + 1, backend);
                file(backend, passage, attempt, member, (flight, slot));
                if attempt.refusal.is_some() {
                    return Err(fault);
                }
                passage.tried.push(member);
                backend.shard().retries.one();
            }
        }
    }
}

/// Why a failed connection attempt is not followed by another; `None` = it is.
fn refusal(
    rules: &RetryPlan,
    kind: FaultKind,
    made: usize,
    backend: &LocalBackend,
) -> Option<RetryRefusal> {
    let wanted = (kind.retry() == Retry::Always && rules.on.contains(&RetryOn::Connect))
        || rules.on.contains(&RetryOn::Fault(kind));
    if !wanted {
        return Some(RetryRefusal::NotConfigured);
    }
    if made > rules.max as usize {
        return Some(RetryRefusal::Attempts);
    }
    let now = clearway_base::clock::now();
    let allowed = backend.budget.borrow_mut().try_retry(now);
    (!allowed).then_some(RetryRefusal::Budget)
}

/// Ends an Attempt and counts it.
fn file(
    backend: &Rc<LocalBackend>,
    passage: &mut Passage,
    mut attempt: Attempt,
    member: usize,
    held: (Flight, Option<Slot>),
) {
    let now = clearway_base::clock::now();
    attempt.ended_us = now.micros_since(attempt.started);
    let latency = attempt.connected_us.filter(|_| attempt.fault.is_none());
    let (flight, slot) = held;
    flight.end(latency, now);
    drop(slot);
    if let Some(server) = backend.servers.get(member) {
        let shard = server.shard();
        shard.bytes_out.add(attempt.bytes_sent);
        shard.bytes_in.add(attempt.bytes_received);
        match attempt.fault {
            None => shard.successes.one(),
            Some(fault) if fault.side == Side::Client => {}
            Some(fault) => shard.faults.one(fault.kind),
        }
    }
    passage.attempts.push(attempt);
}

/// Chooses a member and waits for a slot on it where servers have a `maxconn`.
async fn choose(
    conn: &mut Conn,
    backend: &Rc<LocalBackend>,
    tried: &[usize],
    timeouts: &clearway_config::model::Timeouts,
) -> Result<(usize, Option<Slot>, Option<u64>), Fault> {
    let now = conn.worker.now();
    let key = conn.client.ip().map(|ip| slots::source_key(&ip));
    let random = conn.worker.rng.borrow_mut().next_u64();
    let ask = Ask {
        key,
        exclude: tried,
        random,
        now,
    };
    let picked = backend.pick(&ask);
    slots::take(conn, backend, picked, timeouts.queue).await
}

/// Counts and reports the connection.
fn settle(conn: &Conn, passage: &Passage, backend: Option<&Rc<LocalBackend>>) {
    let worker = &conn.worker;
    let now = worker.tick();
    let total_us = now.micros_since(conn.accepted);
    if let Some(shard) = conn.seat.entry().shards.get(worker.index) {
        shard.bytes_in.add(passage.bytes.0);
        shard.bytes_out.add(passage.bytes.1);
        if let Some(fault) = passage.fault
            && fault.side != Side::Server
        {
            shard.faults.one(fault.kind);
        }
    }
    if let Some(backend) = backend {
        backend.shard().total.record(total_us);
        if let Some(responses) = backend.shard().responses.first() {
            responses.one();
        }
    }
    let record = Record {
        id: passage.id,
        started: conn.accepted,
        client: conn.client,
        listener: conn.seat.listener,
        route: Name::NONE,
        backend: backend.map_or(Name::NONE, |b| b.plan.name),
        protocol: Protocol::Tcp,
        method: b"",
        target: b"",
        host: b"",
        referer: b"",
        user_agent: b"",
        status: 0,
        bytes_in: passage.bytes.0,
        bytes_out: passage.bytes.1,
        body_out: passage.bytes.1,
        timings: Timings {
            idle_us: 0,
            head_us: 0,
            reply_us: None,
            total_us,
        },
        attempts: &passage.attempts,
        fault: passage.fault,
        connections: (conn.seat.open_now, backend.map_or(0, |b| b.inflight())),
        worker: u16::try_from(worker.index).unwrap_or(u16::MAX),
    };
    let failed = passage.fault.is_some() || passage.attempts.len() > 1;
    let log = conn.access_log();
    if log || failed {
        worker.publish(&record, log, failed);
    }
}
