//! Accepting connections: limits, exhaustion, and closing a socket without losing its queue.

use std::cell::Cell;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clearway_base::intern::Name;
use clearway_net::listen::Acceptor;
use clearway_net::stream::Stream;
use clearway_outcome::{Address, FaultKind};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::board::ListenerEntry;
use crate::client::{Conn, h1};
use crate::l4;
use crate::local::LocalPlan;
use crate::plan::Mode;
use crate::refuse;
use crate::worker::{Listen, Worker};

/// How long accepting pauses when no descriptor or memory is left.
const PAUSE: Duration = Duration::from_millis(50);

/// The accept loops of a worker.
#[derive(Default)]
pub(crate) struct Acceptors {
    /// By (listener, bind); without those that were told to stop.
    open: Vec<((Name, Name), Rc<Stop>)>,
    /// How many have not ended.
    running: Rc<Cell<usize>>,
}

#[derive(Default)]
struct Stop {
    asked: Cell<bool>,
    notify: Notify,
}

impl Acceptors {
    /// Starts accepting from a socket.
    pub(crate) fn open(&mut self, worker: &Rc<Worker>, listen: Listen) {
        let stop = Rc::new(Stop::default());
        self.open
            .push(((listen.listener, listen.bind), Rc::clone(&stop)));
        let running = Running::begin(worker, &self.running);
        let accepting = accept_loop(Rc::clone(worker), listen, stop);
        worker.spawn(async move {
            accepting.await;
            drop(running);
        });
    }

    /// Stops accepting, after the connections already queued were taken.
    pub(crate) fn close(&mut self, key: (Name, Name)) {
        self.open.retain(|(known, stop)| {
            if *known == key {
                stop.asked.set(true);
                stop.notify.notify_one();
            }
            *known != key
        });
    }

    /// Stops accepting anywhere.
    pub(crate) fn close_all(&mut self) {
        for (_, stop) in self.open.drain(..) {
            stop.asked.set(true);
            stop.notify.notify_one();
        }
    }

    /// Whether every loop has ended, and so taken all connections that were queued.
    pub(crate) fn have_ended(&self) -> bool {
        self.running.get() == 0
    }
}

/// An accept loop that has not ended: counts itself out on drop.
struct Running {
    worker: Rc<Worker>,
    count: Rc<Cell<usize>>,
}

impl Running {
    fn begin(worker: &Rc<Worker>, count: &Rc<Cell<usize>>) -> Self {
        count.set(count.get() + 1);
        Self {
            worker: Rc::clone(worker),
            count: Rc::clone(count),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.count.set(self.count.get() - 1);
        self.worker.emptied.notify_one();
    }
}

async fn accept_loop(worker: Rc<Worker>, listen: Listen, stop: Rc<Stop>) {
    let Listen {
        listener, socket, ..
    } = listen;
    let mut door = Door {
        listener,
        port: socket.local().map(|address| address.port()),
        plan: worker.plan(),
    };
    let Ok(acceptor) = Acceptor::new(socket) else {
        return;
    };
    loop {
        let accepted = tokio::select! {
            biased;
            accepted = acceptor.accept() => accepted,
            () = stop.notify.notified() => break,
        };
        match accepted {
            Ok((stream, peer)) => door.admit(&worker, stream, peer),
            Err(error) => recover(&worker, listener, &error).await,
        }
        if stop.asked.get() {
            break;
        }
    }
    // What the kernel has already completed for us must not be reset by closing the socket.
    while let Some(Ok((stream, peer))) = acceptor.try_accept() {
        door.admit(&worker, stream, peer);
    }
}

/// Waits out a shortage; other errors concern one connection that is already gone.
async fn recover(worker: &Rc<Worker>, listener: Name, error: &io::Error) {
    let kind = match error.raw_os_error() {
        Some(libc::EMFILE | libc::ENFILE) => FaultKind::OutOfFiles,
        Some(libc::ENOBUFS | libc::ENOMEM) => FaultKind::OutOfMemory,
        _ => return,
    };
    let plan = worker.plan();
    if let Some(shard) = plan.listener_shard(listener, worker.index) {
        shard.accept_paused.one();
        shard.faults.one(kind);
    }
    tokio::time::sleep_until(Instant::now() + PAUSE).await;
}

/// Where connections of one socket come in.
struct Door {
    listener: Name,
    port: Option<u16>,
    /// The newest Plan that has the listener: connections that were queued when it was removed are
    /// still served.
    plan: Rc<LocalPlan>,
}

impl Door {
    /// Takes a connection in, or refuses it.
    fn admit(&mut self, worker: &Rc<Worker>, stream: Stream, peer: Address) {
        if self.plan.plan.generation != worker.generation() {
            let newest = worker.plan();
            if newest.listener_index(self.listener).is_some() {
                self.plan = newest;
            }
        }
        let at = self.plan.listener_index(self.listener);
        let Some(listener) = at.and_then(|at| self.plan.plan.listeners.get(at)) else {
            return;
        };
        let (mode, limits) = (listener.mode, &listener.limits);
        let per_source = limits.connections_per_source;
        let mut seat = Seat::take(
            worker,
            self.listener,
            &listener.entry,
            peer.ip(),
            per_source,
        );
        seat.port = self.port;
        let is_full = limits.connections > 0 && seat.open_now as usize > limits.connections;
        let over_source = seat.over_source;
        let plan = Rc::clone(&self.plan);
        let conn = Box::new(Conn::new(Rc::clone(worker), plan, stream, peer, seat));
        match mode {
            _ if is_full => refuse::connection(conn, FaultKind::ListenerFull),
            _ if over_source => refuse::connection(conn, FaultKind::SourceFull),
            Mode::Http => h1::begin(conn),
            Mode::Tcp => worker.spawn(l4::serve(conn)),
        }
    }
}

/// A connection's place among those open: counts itself out on drop.
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, read by name"
)]
pub(crate) struct Seat {
    pub(crate) listener: Name,
    /// The port that is listened on; `None` for a Unix socket.
    pub(crate) port: Option<u16>,
    /// The listener is no longer in the configuration.
    pub(crate) orphaned: bool,
    /// Connections open on the listener, this one included, when it came.
    pub(crate) open_now: u32,
    over_source: bool,
    /// Counted out of the listener already.
    vacated: bool,
    /// It is counted with another.
    is_guest: bool,
    worker: Rc<Worker>,
    entry: Arc<ListenerEntry>,
    source: Option<IpAddr>,
}

impl Seat {
    fn take(
        worker: &Rc<Worker>,
        listener: Name,
        entry: &Arc<ListenerEntry>,
        source: Option<IpAddr>,
        per_source: usize,
    ) -> Self {
        let open_now = entry.open.fetch_add(1, Ordering::Relaxed) + 1;
        worker.shard().connections.up();
        if let Some(shard) = entry.shards.get(worker.index) {
            shard.accepted.one();
        }
        let source = source.filter(|_| per_source > 0);
        let held = source.map_or(0, |ip| entry.enter(ip));
        Self {
            listener,
            port: None,
            orphaned: false,
            open_now,
            over_source: per_source > 0 && held > per_source,
            vacated: false,
            is_guest: false,
            worker: Rc::clone(worker),
            entry: Arc::clone(entry),
            source,
        }
    }

    /// The place of a stream, which its connection is counted for.
    pub(crate) fn guest(&self) -> Self {
        Self {
            listener: self.listener,
            port: self.port,
            orphaned: self.orphaned,
            open_now: self.open_now,
            over_source: false,
            vacated: true,
            is_guest: true,
            worker: Rc::clone(&self.worker),
            entry: Arc::clone(&self.entry),
            source: None,
        }
    }

    /// Gives the place back though the connection is not closed yet: it was refused.
    pub(crate) fn vacate(&mut self) {
        if !std::mem::replace(&mut self.vacated, true) {
            self.entry.open.fetch_sub(1, Ordering::Relaxed);
            if let Some(ip) = self.source {
                self.entry.leave(ip);
            }
        }
    }

    /// The listener's shared entry.
    pub(crate) fn entry(&self) -> &ListenerEntry {
        &self.entry
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if self.is_guest {
            return;
        }
        self.vacate();
        self.worker.shard().connections.down();
        if self.worker.draining.get() && self.worker.shard().connections.value() == 0 {
            self.worker.emptied.notify_one();
        }
    }
}
