//! The end of a request: counts, learns and reports. The only place that does.

use std::rc::Rc;

use clearway_base::intern::Name;
use clearway_http::{HeadLimits, Known, Progress, ResponseHead};
use clearway_outcome::{Attempt, Fault, Protocol, Record, Side, Timings};
use clearway_rules::table::Event;
use clearway_rules::{Value, View};

use super::Exchange;
use super::talk::Answer;
use crate::access::{Ending, LogSet};
use crate::local::LocalPlan;
use crate::stats::class;

impl Exchange<'_> {
    /// Ends the last Attempt: times it, tells the picker, the counters and the breaker.
    pub(super) fn close_attempt(&mut self, member: usize) {
        let now = self.conn.worker.now();
        let Some(attempt) = self.request.attempts.last_mut() else {
            return;
        };
        attempt.ended_us = now.micros_since(attempt.started);
        // Only an answer says how fast the server is.
        let latency = attempt.first_byte_us.filter(|_| attempt.fault.is_none());
        if let Some(flight) = self.flight.take() {
            flight.end(latency, now);
        }
        self.slot = None;
        let Some(backend) = &self.backend else { return };
        if let Some(first_byte) = attempt.first_byte_us {
            backend.shard().first_byte.record(first_byte);
        }
        let Some(server) = backend.servers.get(member) else {
            return;
        };
        server.count(attempt);
    }

    /// Counts and reports the whole request.
    pub(super) fn settle(&mut self) {
        self.settled = true;
        self.request.scratch.leave_places();
        let now = self.conn.worker.now();
        let worker = Rc::clone(&self.conn.worker);
        let plan = Rc::clone(&self.plan);
        let total_us = now.micros_since(self.arrival.started);
        let status = self.status_for_log();
        let bytes_in = self.bytes_in + self.body_in;
        self.count(total_us, status, bytes_in);
        self.end_tracking(bytes_in);
        // A gateway error is one to the client whoever made it: the server's own are reported, too.
        let failed =
            self.fault.is_some() || self.request.attempts.len() > 1 || matches!(status, 502..=504);
        let logs = self.logs_of(&plan);
        if logs.is_empty() && !failed {
            return;
        }
        if logs.asks_rules() {
            self.begin_for_logs();
        }
        let buf = self.lease.filled();
        let head = &self.request.head;
        let record = Record {
            id: self.id,
            started: self.arrival.started,
            client: self.client(),
            listener: plan.listener(self.conn.listener_at).name,
            route: self.route_name(),
            backend: self.backend.as_ref().map_or(Name::NONE, |b| b.plan.name),
            protocol: match head.version {
                clearway_http::Version::Http10 => Protocol::Http10,
                clearway_http::Version::Http11 => Protocol::Http11,
                clearway_http::Version::Http2 => Protocol::Http2,
            },
            tls: self.conn.tls.as_deref(),
            method: head.method_text.of(buf),
            target: head.target.of(buf),
            host: head.host.of(buf),
            referer: head.field(Known::Referer, buf).unwrap_or_default(),
            user_agent: head.field(Known::UserAgent, buf).unwrap_or_default(),
            status,
            grpc_status: self.grpc_status,
            bytes_in,
            bytes_out: self.bytes_out,
            body_out: self.body_out,
            timings: Timings {
                head_us: self.arrival.complete.micros_since(self.arrival.started),
                total_us,
            },
            attempts: &self.request.attempts,
            fault: self.fault,
            connections: (
                self.conn.seat.open_now,
                self.backend.as_ref().map_or(0, |b| b.inflight()),
            ),
        };
        let ending = Ending {
            conn: self.conn,
            started: self.arrival.started,
            complete: Some(self.arrival.complete),
            now,
            backend: self.backend.as_ref(),
            server: self.last_server(),
            source: self.request.noted.source,
            request: Some((
                self.view_for_logs(None),
                &self.request.scratch,
                &self.request.noted,
            )),
        };
        let log = (!logs.is_empty()).then_some((logs, &ending));
        worker.publish(&record, log, failed);
    }

    /// Counts the end of the request with the keys that are tracked, and ends what is tracked for it.
    fn end_tracking(&mut self, bytes_in: u64) {
        if !self.request.scratch.tracks() {
            return;
        }
        let answered = |attempt: &Attempt| attempt.status > 0;
        if let Some(fault) = self.fault
            && !self.request.attempts.last().is_some_and(answered)
        {
            let connected = |attempt: &Attempt| attempt.connected_us.is_some();
            let reached = self.request.attempts.last().is_some_and(connected);
            match fault.side {
                Side::Client => self.count_event(Event::Error),
                Side::Server if reached => self.count_event(Event::Failure),
                Side::Server | Side::Local => {}
            }
        }
        self.count_event(Event::BytesIn(bytes_in));
        self.count_event(Event::BytesOut(self.bytes_out));
        self.request.scratch.untrack();
    }

    /// Counts the whole request, with its backend and its listener.
    fn count(&self, total_us: u64, status: u16, bytes_in: u64) {
        if let Some(backend) = &self.backend {
            let shard = backend.shard();
            if let Some(responses) = shard.responses.get(class(status)) {
                responses.one();
            }
            shard.total.record(total_us);
            if let Some(status) = self.grpc_status {
                shard.grpc.one(status);
            }
            if self.fault.is_none() && self.request.attempts.len() > 1 {
                shard.prevented.one();
            }
        }
        let listener = self.plan.listener(self.conn.listener_at);
        if let Some(shard) = listener.entry.shards.get(self.conn.worker.index) {
            if let Some(responses) = shard.responses.get(class(status)) {
                responses.one();
            }
            shard.bytes_in.add(bytes_in);
            shard.bytes_out.add(self.bytes_out);
            if let Some(fault) = self
                .fault
                .filter(|f| !is_servers(*f, &self.request.attempts))
            {
                shard.faults.one(fault.kind);
            }
        }
    }

    /// Keeps what access logs want of the response's head while it is there.
    pub(super) fn note_for_logs(&mut self, answer: &Answer) {
        let plan = Rc::clone(&self.plan);
        let logs = self.logs_of(&plan);
        if !logs.asks_response() {
            return;
        }
        self.begin_for_logs();
        let mut noted = std::mem::take(&mut self.request.noted);
        if logs.asks_source() {
            noted.source = answer.server.stream.local();
        }
        let view = self.view_for_logs(Some(answer));
        logs.note(&view, &self.request.scratch, &mut noted);
        self.request.noted = noted;
    }

    /// Keeps what access logs want of a response's head as it is sent.
    pub(super) fn note_sent(&mut self, head: &[u8]) {
        let plan = Rc::clone(&self.plan);
        self.logs_of(&plan).note_sent(head, &mut self.request.noted);
    }

    /// Keeps what access logs want of a response of our own, as it is sent.
    pub(super) fn note_own(&mut self, reply: &[u8]) {
        self.note_sent(reply);
        let plan = Rc::clone(&self.plan);
        let logs = self.logs_of(&plan);
        if !logs.asks_values() {
            return;
        }
        let mut head = ResponseHead::default();
        let parsed = head.parse(reply, &HeadLimits::default(), self.request.head.method);
        if parsed != Ok(Progress::Complete) {
            return;
        }
        self.begin_for_logs();
        let mut noted = std::mem::take(&mut self.request.noted);
        let view = View {
            response: Some((&head, reply)),
            ..self.view_for_logs(None)
        };
        logs.note(&view, &self.request.scratch, &mut noted);
        self.request.noted = noted;
    }

    /// Prepares the memory of rules, should no rule have run.
    fn begin_for_logs(&mut self) {
        let mut scratch = std::mem::take(&mut self.request.scratch);
        Value::begin(&self.view_for_logs(None), &mut scratch);
        self.request.scratch = scratch;
    }

    /// The access logs of the request.
    fn logs_of<'p>(&self, plan: &'p LocalPlan) -> &'p LogSet {
        let (listener, route) = match self.route {
            Some(at) => (at.listener, at.route),
            None => (self.conn.listener_at, usize::MAX),
        };
        &plan.route(listener, route).logs
    }

    fn last_server(&self) -> Name {
        let last = self.request.attempts.last();
        last.map_or(Name::NONE, |attempt| attempt.server)
    }

    fn view_for_logs<'v>(&'v self, answer: Option<&'v Answer>) -> View<'v> {
        View {
            head: &self.request.head,
            buf: self.lease.filled(),
            client: self.client(),
            listener: self.conn.seat.listener,
            scheme: self.conn.scheme(),
            tls: self.conn.tls.as_deref(),
            id: self.id,
            response: answer.map(|answer| (&self.request.response, answer.buffer.filled())),
            backend: self.backend.as_ref().map_or(Name::NONE, |b| b.plan.name),
            server: self.last_server(),
            around: None,
            port: self.conn.port(),
            edits: None,
            attempts: &self.request.attempts,
        }
    }

    /// What the log says was sent: 499 for a client that left before anything was.
    fn status_for_log(&self) -> u16 {
        match self.fault {
            Some(fault) if self.status == 0 => fault.kind.status(),
            _ => self.status,
        }
    }
}

/// Whether the fault of a request is already counted with the server of its last Attempt.
pub(crate) fn is_servers(fault: Fault, attempts: &[Attempt]) -> bool {
    let by_attempt = |attempt: &Attempt| attempt.fault.is_some_and(|f| f.kind == fault.kind);
    fault.side != Side::Client && attempts.last().is_some_and(by_attempt)
}
