//! Layer 4: the same choose, reach and settle around a tunnel of bytes.

mod lead;
mod passthrough;

use std::net::SocketAddr;
use std::rc::Rc;

use clearway_balance::Ask;
use clearway_base::intern::Name;
use clearway_config::model::RetryOn;
use clearway_http::{Edits, RequestHead};
use clearway_outcome::{
    Attempt, Fault, FaultKind, Phase, Protocol, Record, RequestId, RetryRefusal, Side, Timings,
};
use clearway_rules::ast::Persist;
use clearway_rules::table::Event;
use clearway_rules::{Scratch, Value};
use smallvec::SmallVec;

use crate::access::{Ending, LogSet};
use crate::client::{Conn, handshake};
use crate::exchange::around::Surroundings;
use crate::exchange::pump::{Coding, Pump, Source};
use crate::exchange::tunnel::{self, Ends};
use crate::exchange::{Offer, asked_name, gather, is_servers, open};
use crate::local::{Flight, LocalBackend};
use crate::plan::RetryPlan;
use crate::slots::{self, Slot};
use passthrough::Way;

/// What happened to a connection so far.
struct Passage {
    id: RequestId,
    attempts: SmallVec<[Attempt; 2]>,
    tried: SmallVec<[usize; 4]>,
    fault: Option<Fault>,
    ends: Ends,
    /// Where the connection to the server came from, where a log asks for it.
    source: Option<SocketAddr>,
    /// What counts the Attempt in flight, the last of `attempts`, on its member.
    held: Option<(Flight, Option<Slot>)>,
}

impl Passage {
    /// The members that another one is to be chosen in place of.
    fn tried_by(&self, rules: &RetryPlan) -> &[usize] {
        match rules.other_server {
            true => &self.tried,
            false => &[],
        }
    }

    /// How far the connection has come.
    fn phase(&self) -> Phase {
        match self.attempts.last() {
            Some(attempt) if self.held.is_some() && attempt.connected_us.is_some() => Phase::Tunnel,
            Some(_) if self.held.is_some() => Phase::Connect,
            _ => Phase::Queue,
        }
    }

    /// The Attempt in flight, or else the last one; there is one once a server was chosen.
    fn attempt(&mut self) -> &mut Attempt {
        let last = self.attempts.len().saturating_sub(1);
        &mut self.attempts[last]
    }

    /// Ends the Attempt in flight, if there is one, and counts it.
    fn close_attempt(&mut self, backend: &LocalBackend, fault: Option<Fault>) {
        let (Some((flight, slot)), Some(attempt)) = (self.held.take(), self.attempts.last_mut())
        else {
            return;
        };
        let now = clearway_base::clock::now();
        attempt.fault = fault;
        attempt.ended_us = now.micros_since(attempt.started);
        attempt.bytes_sent = self.ends.up.given;
        attempt.bytes_received = self.ends.down.taken;
        let first = self.ends.first_down;
        attempt.first_byte_us = first.map(|at| at.micros_since(attempt.started));
        let server = backend.servers.get(flight.member());
        flight.end(attempt.connected_us.filter(|_| fault.is_none()), now);
        drop(slot);
        if let Some(server) = server {
            server.count(attempt);
        }
    }
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
            let fault = Fault::new(kind, self.passage.phase(), Side::Local).after(elapsed);
            self.passage.fault = Some(fault);
            if let Some(backend) = &self.backend {
                self.passage.close_attempt(backend, Some(fault));
            }
        }
        settle(&self.conn, &self.passage, self.backend.as_ref());
    }
}

/// Serves one layer-4 connection until both sides have finished.
pub(crate) async fn serve(mut conn: Box<Conn>) {
    let Ok(mut first) = handshake::complete(&mut conn).await else {
        return;
    };
    let mut way = Way::Own;
    if conn.listener().is_some_and(|l| !l.passthrough.is_empty()) {
        // Boxed: the room is not needed afterwards.
        match Box::pin(passthrough::choose(&mut conn, first)).await {
            Ok(seen) => (first, way) = (seen.first, seen.way),
            Err(()) => return,
        }
    }
    let plan = conn.plan();
    let mut passage = Passage {
        id: conn.worker.next_id(),
        attempts: SmallVec::new(),
        tried: SmallVec::new(),
        fault: None,
        ends: Ends::new(
            Pump::new(Source::Tunnel, Coding::Same),
            Pump::new(Source::Tunnel, Coding::Same),
        ),
        source: None,
        held: None,
    };
    if let Some(first) = first {
        // A tunnel has no framing that could be broken.
        drop(passage.ends.up.feed(first, 0));
    }
    let place = match way {
        Way::Through(place) => Some(place),
        Way::Own | Way::Told(_) => None,
    };
    let backend = conn.listener().and_then(|listener| {
        let way = place.and_then(|place| listener.passthrough.get(place)?.backend);
        plan.backends
            .get(way.or(listener.fallback.backend)?)
            .cloned()
    });
    let mut through = Through {
        conn,
        passage,
        backend,
        ended: false,
    };
    let result = match (through.backend.clone(), &way) {
        (_, Way::Told(words)) => {
            through.backend = None;
            tell(&mut through.conn, &mut through.passage, words).await
        }
        (None, _) => Err(Fault::new(FaultKind::NoRoute, Phase::Route, Side::Local)),
        (Some(backend), _) => {
            let led = match &backend.plan.by_request {
                // Boxed: hardly any listener needs the room.
                Some(_) => Box::pin(lead::lead(&through.conn, &backend, through.passage.id)).await,
                None => Ok(backend),
            };
            match led {
                Ok(backend) => {
                    through.backend = Some(Rc::clone(&backend));
                    let Through { conn, passage, .. } = &mut through;
                    Box::pin(relay(conn, &backend, passage, place)).await
                }
                Err(fault) => Err(fault),
            }
        }
    };
    if let Err(fault) = result {
        through.passage.fault = Some(fault);
        // The other side must see that the stream did not end by itself.
        through.conn.stream.reset_on_close();
    }
    through.ended = true;
}

/// Chooses and reaches a server, then relays: the listener's way of a place, or its own.
async fn relay(
    conn: &mut Conn,
    backend: &Rc<LocalBackend>,
    passage: &mut Passage,
    place: Option<usize>,
) -> Result<(), Fault> {
    let worker = Rc::clone(&conn.worker);
    let local = conn.plan();
    let head = RequestHead::default();
    let listener = local.listener(conn.listener_at);
    let way = place.and_then(|place| listener.passthrough.get(place));
    let (timeouts, rules) = match way {
        Some(way) => (way.timeouts.clone(), way.retries.clone()),
        None => (
            listener.fallback.timeouts.clone(),
            listener.fallback.retries.clone(),
        ),
    };
    backend.budget.borrow_mut().request(worker.now());
    let mut scratch = Scratch::default();
    if let Some(sticking) = &backend.plan.sticking {
        let around = Surroundings { conn, plan: &local };
        let view = around.view(&head, b"", passage.id);
        sticking.run_request(&view, &mut scratch, &mut Edits::default());
    }
    loop {
        let began = worker.now();
        let tried = passage.tried_by(&rules);
        let stuck = stuck_member(backend, &scratch, &passage.tried);
        let place = (backend, stuck);
        let (member, slot, queued_us) =
            choose(conn, place, (tried, rules.backups), &timeouts).await?;
        let Some(server) = backend.servers.get(member).cloned() else {
            return Err(Fault::new(FaultKind::NoServers, Phase::Choose, Side::Local));
        };
        let plan = &server.plan;
        let mut attempt = Attempt::begin(plan.backend, plan.name, plan.address, began);
        attempt.queued_us = queued_us;
        passage.attempts.push(attempt);
        passage.held = Some((Flight::begin(backend, member, began), slot));
        let name = plan.tls.as_ref().and_then(|(tls, _)| {
            let around = Surroundings { conn, plan: &local };
            let view = around.view(&head, b"", passage.id);
            let mut scratch = Scratch::default();
            Value::begin(&view, &mut scratch);
            asked_name(tls.name.as_ref()?, &view, &scratch)
        });
        let offer = (Offer::Whatever, name);
        let opened = open(conn, &server, timeouts.connect, offer).await;
        let elapsed = worker.tick().micros_since(began);
        match opened {
            Ok(mut stream) => {
                passage.attempt().connected_us = Some(elapsed);
                if conn.access_logs().is_some_and(LogSet::asks_source) {
                    passage.source = stream.local();
                }
                backend.shard().connect.record(elapsed);
                scratch.store_server(plan.name);
                let side = (&mut stream, &server.plan.entry.cell);
                let result = tunnel::run(conn, side, &mut passage.ends, &timeouts).await;
                if result.is_err() {
                    passage.attempt().evidence = Some(gather(Some(&stream), &[]));
                }
                passage.close_attempt(backend, result.err());
                return result;
            }
            Err(unopened) => {
                let fault = unopened.fault(elapsed);
                let refusal = refusal(&rules, fault.kind, passage.attempts.len(), backend);
                let attempt = passage.attempt();
                attempt.evidence = Some(unopened.evidence);
                attempt.refusal = refusal;
                passage.close_attempt(backend, Some(fault));
                if refusal.is_some() {
                    return Err(fault);
                }
                passage.tried.push(member);
                backend.shard().retries.one();
            }
        }
    }
}

/// Tells the client something and ends its connection.
async fn tell(conn: &mut Conn, passage: &mut Passage, words: &[u8]) -> Result<(), Fault> {
    let limit = conn.listener().map(|l| l.timeouts.client_write);
    conn.timer
        .set_after(conn.worker.tick(), limit.unwrap_or_default());
    let written = conn.write_all(words).await;
    let fault = |kind| {
        let elapsed = conn.worker.tick().micros_since(conn.accepted);
        Fault::new(kind, Phase::Tunnel, Side::Client).after(elapsed)
    };
    written.map_err(fault)?;
    passage.ends.down.given = words.len() as u64;
    conn.linger().await;
    Ok(())
}

/// Why a failed connection attempt is not followed by another; `None` = it is.
fn refusal(
    rules: &RetryPlan,
    kind: FaultKind,
    made: usize,
    backend: &LocalBackend,
) -> Option<RetryRefusal> {
    let on = |what| rules.on.contains(&what);
    // No connection at layer 4 is a kept one.
    let named = on(RetryOn::Fault(kind));
    if !kind.retry().allows(named, on(RetryOn::Connect), false) {
        return Some(RetryRefusal::NotConfigured);
    }
    if made > rules.max as usize {
        return Some(RetryRefusal::Attempts);
    }
    let now = clearway_base::clock::now();
    let allowed = backend.budget.borrow_mut().try_retry(now);
    (!allowed).then_some(RetryRefusal::Budget)
}

/// Chooses a member and waits for a slot on it where servers have a `maxconn`.
async fn choose(
    conn: &mut Conn,
    (backend, stuck): (&Rc<LocalBackend>, Option<usize>),
    (tried, spare): (&[usize], bool),
    timeouts: &clearway_config::model::Timeouts,
) -> Result<(usize, Option<Slot>, Option<u64>), Fault> {
    let now = conn.worker.now();
    let key = conn
        .client
        .ip()
        .map(|ip| slots::source_key(&ip, &backend.plan.config));
    let random = conn.worker.rng.borrow_mut().next_u64();
    let ask = Ask {
        key,
        exclude: tried,
        random,
        now,
        turns: Some(&backend.plan.entry.turns),
        spare,
    };
    slots::take(conn, backend, stuck, &ask, timeouts.queue).await
}

/// The member that a table has for the connection, if it may serve it and was not tried yet.
fn stuck_member(backend: &LocalBackend, scratch: &Scratch, tried: &[usize]) -> Option<usize> {
    let name = scratch.stuck_to()?;
    let mut servers = backend.servers.iter();
    let member = servers.position(|server| server.plan.name == name)?;
    let fits = match scratch.persist() {
        Some(Persist::Ignore) => false,
        Some(Persist::Force) => true,
        None => backend.plan.config.persist || backend.takes_sticky(member),
    };
    (fits && !tried.contains(&member)).then_some(member)
}

/// Counts and reports the connection.
fn settle(conn: &Conn, passage: &Passage, backend: Option<&Rc<LocalBackend>>) {
    let worker = &conn.worker;
    let now = worker.tick();
    let total_us = now.micros_since(conn.accepted);
    let (bytes_in, bytes_out) = (passage.ends.up.taken, passage.ends.down.given);
    conn.session.count(Event::BytesIn(bytes_in));
    conn.session.count(Event::BytesOut(bytes_out));
    if let Some(shard) = conn.seat.entry().shards.get(worker.index) {
        shard.bytes_in.add(bytes_in);
        shard.bytes_out.add(bytes_out);
        if let Some(responses) = shard.responses.first() {
            responses.one();
        }
        let attempts = &passage.attempts;
        if let Some(fault) = passage.fault.filter(|f| !is_servers(*f, attempts)) {
            shard.faults.one(fault.kind);
        }
    }
    if let Some(backend) = backend {
        let shard = backend.shard();
        shard.total.record(total_us);
        if let Some(responses) = shard.responses.first() {
            responses.one();
        }
        if passage.fault.is_none() && passage.attempts.len() > 1 {
            shard.prevented.one();
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
        tls: conn.tls.as_deref(),
        method: b"",
        target: b"",
        host: b"",
        referer: b"",
        user_agent: b"",
        status: 0,
        grpc_status: None,
        bytes_in,
        bytes_out,
        body_out: bytes_out,
        timings: Timings {
            head_us: 0,
            total_us,
        },
        attempts: &passage.attempts,
        fault: passage.fault,
        connections: (conn.seat.open_now, backend.map_or(0, |b| b.inflight())),
    };
    let failed = passage.fault.is_some() || passage.attempts.len() > 1;
    let last = passage.attempts.last();
    let ending = Ending {
        conn,
        started: conn.accepted,
        complete: None,
        now,
        backend,
        server: last.map_or(Name::NONE, |attempt| attempt.server),
        source: passage.source,
        request: None,
    };
    let logs = conn.access_logs().map(|logs| (logs, &ending));
    if logs.is_some() || failed {
        worker.publish(&record, logs, failed);
    }
}
