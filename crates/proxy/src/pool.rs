//! Kept connections to servers: taken last in first out, never used after news arrived on them.
//!
//! A connection that lies idle belongs to the worker and has no task. The sweep looks at all of them
//! a few times a second, closes those that are too old or that the server closed, and learns from the
//! latter how long the server keeps idle connections.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use clearway_base::clock::Stamp;
use clearway_net::stream::Stream;
use clearway_outcome::Reuse;
use tokio::time::Instant;

use crate::board::IdleLesson;
use crate::local::LocalServer;
use crate::plan::SendProxy;
use crate::trunks::{Trunks, Wear};
use crate::worker::Worker;

/// How often idle connections are looked at.
const SWEEP_EVERY: Duration = Duration::from_millis(250);

/// A connection to a server, with its history.
pub(crate) struct ServerConn {
    pub(crate) stream: Stream,
    pub(crate) opened: Stamp,
    /// Requests carried so far.
    pub(crate) uses: u32,
    pub(crate) idle_since: Stamp,
    /// The hash of the name that the server was asked for, where that depends on the request; else 0.
    pub(crate) asked: u64,
}

impl ServerConn {
    /// A connection that has carried nothing yet.
    pub(crate) fn new(stream: Stream, now: Stamp) -> Self {
        Self {
            stream,
            opened: now,
            uses: 0,
            idle_since: now,
            asked: 0,
        }
    }

    /// Its history at the moment a request takes it.
    pub(crate) fn reuse(&self, now: Stamp) -> Reuse {
        if self.uses == 0 {
            return Reuse::default();
        }
        Reuse {
            uses: self.uses,
            idle_us: now.micros_since(self.idle_since),
            age_us: now.micros_since(self.opened),
        }
    }
}

/// What a worker keeps of the connections to one server, over reloads that leave them as they are.
///
/// A request that began with an older Plan gives its connection back to the same place.
#[derive(Default)]
pub(crate) struct Kept {
    idle: RefCell<Vec<ServerConn>>,
    pub(crate) trunks: Trunks,
    lesson: Cell<IdleLesson>,
    /// No Plan in force uses it any more: nobody would look after what is given back.
    is_retired: Cell<bool>,
}

impl LocalServer {
    /// Closes all kept connections and those given back from now on.
    pub(crate) fn retire(&self) {
        self.kept.is_retired.set(true);
        self.shed();
    }

    /// The most recently used kept connection that is still good and was opened for the same name, if
    /// any.
    pub(crate) fn checkout(&self, now: Stamp, asked: u64) -> Option<ServerConn> {
        let limit = self.idle_limit_us(now);
        let mut idle = self.kept.idle.borrow_mut();
        let mut taken = None;
        while let Some(at) = idle.iter().rposition(|conn| conn.asked == asked) {
            let mut conn = idle.remove(at);
            if conn.stream.has_news() {
                self.learn(&conn, now);
            } else if now.micros_since(conn.idle_since) < limit && !self.is_worn(&conn, now) {
                taken = Some(conn);
                break;
            }
        }
        self.note_idle(&idle);
        taken
    }

    /// Keeps a connection for the next request, if it may be kept.
    pub(crate) fn give_back(&self, mut conn: ServerConn, now: Stamp) {
        conn.idle_since = now;
        let mut idle = self.kept.idle.borrow_mut();
        // A PROXY header names one client: such a connection is nobody else's.
        let is_shared = self.plan.send_proxy == SendProxy::Off;
        if is_shared
            && idle.len() < self.keep.max_idle
            && !self.is_worn(&conn, now)
            && !self.is_retired()
            && !self.kept.is_retired.get()
        {
            idle.push(conn);
            self.note_idle(&idle);
        }
    }

    /// Closes kept connections that the server closed or that are too old.
    pub(crate) fn sweep(&self, now: Stamp) {
        let mut idle = self.kept.idle.borrow_mut();
        self.note_lesson(now);
        let trunks = self.kept.trunks.sweep(self.wear(), now);
        if idle.is_empty() {
            return self
                .shard()
                .idle
                .set(u32::try_from(trunks).unwrap_or(u32::MAX));
        }
        let limit = self.idle_limit_us(now);
        idle.retain_mut(|conn| {
            if conn.stream.has_news() {
                self.learn(conn, now);
                return false;
            }
            now.micros_since(conn.idle_since) < limit && !self.is_worn(conn, now)
        });
        self.note_idle(&idle);
    }

    /// Closes all kept connections, e.g. because descriptors have run out.
    pub(crate) fn shed(&self) {
        let mut idle = self.kept.idle.borrow_mut();
        idle.clear();
        self.kept.trunks.clear();
        self.note_idle(&idle);
    }

    /// How long HTTP/2 connections are used.
    pub(crate) fn wear(&self) -> Wear {
        Wear {
            max_requests: self.keep.max_requests,
            max_age_us: self.keep.max_age_us,
            idle_us: self.keep.idle_us,
        }
    }

    fn note_idle(&self, idle: &[ServerConn]) {
        let count = u32::try_from(idle.len()).unwrap_or(u32::MAX);
        self.shard().idle.set(count);
    }

    /// Takes note that the server closed a connection while it lay idle.
    pub(crate) fn learn(&self, conn: &ServerConn, now: Stamp) {
        self.shard().idle_closes.one();
        let mut lesson = self.kept.lesson.get();
        lesson.observe(now.micros_since(conn.idle_since), now);
        self.kept.lesson.set(lesson);
        self.note_lesson(now);
    }

    fn note_lesson(&self, now: Stamp) {
        let learnt_us = self.kept.lesson.get().learnt_us(now);
        let learnt_ms = u32::try_from(learnt_us.unwrap_or(0) / 1_000);
        self.shard()
            .idle_limit_ms
            .set(learnt_ms.unwrap_or(u32::MAX));
    }

    fn idle_limit_us(&self, now: Stamp) -> u64 {
        self.kept.lesson.get().limit_us(self.keep.idle_us, now)
    }

    /// Whether the connection has reached its allowed age or number of requests.
    fn is_worn(&self, conn: &ServerConn, now: Stamp) -> bool {
        (self.keep.max_requests > 0 && conn.uses >= self.keep.max_requests)
            || (self.keep.max_age_us > 0 && now.micros_since(conn.opened) >= self.keep.max_age_us)
    }
}

/// Looks at the kept connections of a worker for ever.
#[expect(clippy::infinite_loop, reason = "it ends with the worker's runtime")]
pub(crate) async fn sweep(worker: Rc<Worker>) {
    let mut next = Instant::now() + SWEEP_EVERY;
    loop {
        tokio::time::sleep_until(next).await;
        next = Instant::now() + SWEEP_EVERY;
        let (plan, now) = (worker.plan(), worker.tick());
        // The readiness of thousands of sockets is looked at: the cooperative budget, made for
        // tasks that serve one connection, must not hide some of them.
        let look = std::pin::pin!(async {
            plan.servers().for_each(|server| server.sweep(now));
            plan.named()
                .for_each(|(named, idle)| named.sweep(now, idle));
        });
        tokio::task::coop::unconstrained(look).await;
        worker.give_memory_back();
        worker.wake_tunnels();
    }
}
