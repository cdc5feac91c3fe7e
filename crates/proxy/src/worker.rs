//! A worker: one thread, one current-thread runtime, everything it needs in `Rc` and `Cell`.
//!
//! Nothing here is shared but the [`Shared`] counters, the Plan it was given and the rings it writes
//! to. A panic in a connection's task ends that connection and is counted; the worker goes on.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;
use std::thread::JoinHandle;

use clearway_base::buffer::{Lease, Pool};
use clearway_base::clock::{self, Stamp};
use clearway_base::intern::Name;
use clearway_base::ring;
use clearway_base::rng::Rng;
use clearway_http::DateCache;
use clearway_net::identity::Identity;
use clearway_net::listen::Socket;
use clearway_net::splice::PipePool;
use clearway_net::timer::Timers;
use clearway_outcome::{Record, RequestId};
use clearway_telemetry::codec;
use slab::Slab;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::access::{Ending, LogSet};
use crate::client::Conn;
use crate::client::engine::Desk;
use crate::client::lot::{self, Lot};
use crate::listener;
use crate::local::LocalPlan;
use crate::plan::Plan;
use crate::stats::WorkerShard;

/// Size of the buffers that requests are read into.
pub(crate) const SMALL_BUFFER: usize = 16 * 1_024;
/// Size of the buffers that responses and bodies are read into, and the largest head.
pub(crate) const LARGE_BUFFER: usize = 64 * 1_024;

/// Engines kept for the next burst of requests.
const KEPT_ENGINES: usize = 1_024;

/// What all workers and control share.
#[derive(Debug)]
pub struct Shared {
    /// One per worker.
    pub workers: Box<[WorkerShard]>,
    /// Told when a failed request was recorded.
    pub failed: Notify,
    /// Counts the occasions on which tunnels of removed servers and listeners had to end.
    pub cuts: AtomicU64,
    /// Told when an access log ring is more than half full.
    pub log_waiting: Notify,
}

impl Shared {
    /// Counters for a number of workers.
    #[must_use]
    pub fn new(workers: usize) -> Arc<Self> {
        Arc::new(Self {
            workers: (0..workers).map(|_| WorkerShard::default()).collect(),
            failed: Notify::new(),
            cuts: AtomicU64::new(0),
            log_waiting: Notify::new(),
        })
    }
}

/// A listening socket for a worker, and how it is told apart from others.
pub struct Listen {
    /// The listener it belongs to.
    pub listener: Name,
    /// The address as configured: sockets are kept over reloads by (listener, bind).
    pub bind: Name,
    /// The socket, non-blocking.
    pub socket: Socket,
}

/// What control asks of a worker.
pub enum Command {
    /// Use this Plan from the next request on; open and close these sockets.
    Apply {
        /// The new Plan.
        plan: Arc<Plan>,
        /// Sockets to accept from.
        open: Vec<Listen>,
        /// Sockets to stop accepting from, after emptying their queues.
        close: Vec<(Name, Name)>,
        /// Told when all this is done.
        applied: oneshot::Sender<()>,
    },
    /// Stop accepting, finish what is in flight, close what is idle.
    Drain,
    /// Give up whatever is left and end.
    Stop,
}

/// How a worker is set up.
pub struct Setup {
    /// Which worker, from 0.
    pub index: usize,
    /// The core to run on, if any.
    pub core: Option<usize>,
    /// Whose rights the thread is to have; those that it was started with when absent.
    pub identity: Option<Identity>,
    /// Counters shared with control.
    pub shared: Arc<Shared>,
    /// The Plan to begin with.
    pub plan: Arc<Plan>,
    /// Size of the access log ring in bytes.
    pub log_ring: usize,
    /// Size of the ring for failed requests in bytes.
    pub receipt_ring: usize,
}

/// A running worker, as control holds it.
pub struct Handle {
    /// Where commands go.
    pub commands: mpsc::UnboundedSender<Command>,
    /// Access log records, until somebody takes them over.
    pub access: Option<ring::Reader>,
    /// Records of failed requests, until somebody takes them over.
    pub receipts: Option<ring::Reader>,
    /// The thread; it ends after [`Command::Stop`], or after [`Command::Drain`] when nothing is left.
    pub thread: JoinHandle<()>,
}

/// Starts a worker.
///
/// # Errors
/// When the thread or its runtime cannot be made.
pub fn spawn(setup: Setup) -> std::io::Result<Handle> {
    let (commands, inbox) = mpsc::unbounded_channel();
    let (access_writer, access) = ring::ring(setup.log_ring);
    let (receipt_writer, receipts) = ring::ring(setup.receipt_ring);
    let (started, hear) = std::sync::mpsc::channel();
    let thread = std::thread::Builder::new()
        .name(format!("clearway-w{}", setup.index))
        .spawn(move || run(setup, inbox, access_writer, receipt_writer, &started))?;
    // A thread that ends without a word has failed in a way that its standard error tells.
    hear.recv()
        .unwrap_or_else(|_| Err(std::io::ErrorKind::Other.into()))?;
    Ok(Handle {
        commands,
        access: Some(access),
        receipts: Some(receipts),
        thread,
    })
}

fn run(
    setup: Setup,
    inbox: mpsc::UnboundedReceiver<Command>,
    access: ring::Writer,
    receipts: ring::Writer,
    started: &std::sync::mpsc::Sender<std::io::Result<()>>,
) {
    if let Some(core) = setup.core {
        // Running unpinned is slower, not wrong.
        clearway_net::kernel::pin_to_core(core).unwrap_or_default();
    }
    let assumed = setup.identity.as_ref().map_or(Ok(()), Identity::assume);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_io_events_per_tick(512)
        .build_local(tokio::runtime::LocalOptions::default());
    let (result, runtime) = match assumed.and(runtime) {
        Ok(runtime) => (Ok(()), Some(runtime)),
        Err(error) => (Err(error), None),
    };
    // The spawner waits for this word.
    drop(started.send(result));
    let Some(runtime) = runtime else { return };
    let worker = Worker::new(setup, access, receipts);
    runtime.block_on(worker.run(inbox));
}

/// A worker's own state.
pub(crate) struct Worker {
    pub(crate) index: usize,
    pub(crate) small: Rc<Pool>,
    pub(crate) large: Rc<Pool>,
    /// Copies of requests under way.
    pub(crate) copies: Cell<usize>,
    pub(crate) pipes: Rc<PipePool>,
    pub(crate) timers: Rc<Timers>,
    /// Heads are encoded here; never borrowed across a wait.
    pub(crate) out: RefCell<Vec<u8>>,
    /// Engines that serve nobody.
    engines: RefCell<Vec<Rc<Desk>>>,
    /// Connections that wait for requests.
    pub(crate) lot: Lot,
    pub(crate) rng: RefCell<Rng>,
    pub(crate) date: RefCell<DateCache>,
    pub(crate) shared: Arc<Shared>,
    clock: Cell<Stamp>,
    pub(crate) draining: Cell<bool>,
    /// Refused connections that are being closed gently.
    pub(crate) lingering: Cell<u32>,
    /// Tasks that relay bytes for as long as both sides like.
    pub(crate) tunnels: RefCell<Slab<Waker>>,
    /// Tasks of HTTP/2 connections with clients.
    pub(crate) sessions: RefCell<Slab<Waker>>,
    cuts_seen: Cell<u64>,
    /// Told when the last connection of a draining worker ends, and when an accept loop does.
    pub(crate) emptied: Notify,
    plan: RefCell<Rc<LocalPlan>>,
    access: RefCell<ring::Writer>,
    receipts: RefCell<ring::Writer>,
    record: RefCell<Vec<u8>>,
}

impl Worker {
    fn new(setup: Setup, access: ring::Writer, receipts: ring::Writer) -> Rc<Self> {
        let plan = LocalPlan::new(setup.plan, setup.index, None);
        Rc::new(Self {
            index: setup.index,
            small: Pool::new(SMALL_BUFFER, 4_096),
            large: Pool::new(LARGE_BUFFER, 512),
            copies: Cell::new(0),
            pipes: PipePool::new(64),
            timers: Timers::new(),
            out: RefCell::new(Vec::with_capacity(SMALL_BUFFER)),
            engines: RefCell::default(),
            lot: Lot::default(),
            rng: RefCell::new(Rng::from_entropy()),
            date: RefCell::new(DateCache::new()),
            shared: setup.shared,
            clock: Cell::new(clock::now()),
            draining: Cell::new(false),
            lingering: Cell::new(0),
            tunnels: RefCell::default(),
            sessions: RefCell::default(),
            cuts_seen: Cell::new(0),
            emptied: Notify::new(),
            plan: RefCell::new(plan),
            access: RefCell::new(access),
            receipts: RefCell::new(receipts),
            record: RefCell::new(Vec::with_capacity(2_048)),
        })
    }

    /// The worker's own counters.
    pub(crate) fn shard(&self) -> &WorkerShard {
        // One shard per worker is made together with the workers.
        &self.shared.workers[self.index]
    }

    /// The Plan in force now; a request keeps the one it began with.
    pub(crate) fn plan(&self) -> Rc<LocalPlan> {
        Rc::clone(&self.plan.borrow())
    }

    /// The generation of the Plan in force now.
    pub(crate) fn generation(&self) -> u64 {
        self.plan.borrow().plan.generation
    }

    /// An id nobody else has.
    pub(crate) fn next_id(&self) -> RequestId {
        RequestId(self.rng.borrow_mut().next_u64())
    }

    /// Puts a connection before the most recently used engine, with the first bytes of a request.
    pub(crate) fn serve(self: &Rc<Self>, conn: Box<Conn>, first: Lease) {
        let free = self.engines.borrow_mut().pop();
        free.unwrap_or_else(|| Desk::start(self)).put(conn, first);
    }

    /// Keeps an engine for the next request; `false` when there are enough.
    pub(crate) fn keep_engine(&self, engine: &Rc<Desk>) -> bool {
        let mut free = self.engines.borrow_mut();
        let is_kept = free.len() < KEPT_ENGINES;
        if is_kept {
            free.push(Rc::clone(engine));
        }
        is_kept
    }

    /// Closes all kept connections to servers: descriptors have run out.
    pub(crate) fn shed_kept_connections(&self) {
        let plan = self.plan();
        plan.servers().for_each(|server| server.shed());
        plan.named().for_each(|(named, _)| named.clear());
    }

    /// Frees a part of what a burst of requests has left unused.
    pub(crate) fn give_memory_back(&self) {
        self.small.shrink();
        self.large.shrink();
        let mut engines = self.engines.borrow_mut();
        let surplus = engines.len() / 8;
        engines.drain(..surplus).for_each(|engine| engine.close());
    }

    /// Sends a record to the log thread and, when it failed, to control.
    pub(crate) fn publish(
        &self,
        record: &Record<'_>,
        log: Option<(&LogSet, &Ending<'_>)>,
        failed: bool,
    ) {
        let mut bytes = self.record.borrow_mut();
        bytes.clear();
        if let Some((logs, ending)) = log {
            logs.write(ending, &mut bytes);
        }
        let start = bytes.len();
        codec::encode(record, &mut bytes);
        if log.is_some() {
            let mut access = self.access.borrow_mut();
            if !access.push(&bytes) {
                self.shard().log_dropped.one();
            }
            if access.is_half_full() {
                self.shared.log_waiting.notify_one();
            }
        }
        if failed {
            let record = bytes.get(start..).unwrap_or_default();
            if !self.receipts.borrow_mut().push(record) {
                self.shard().receipts_dropped.one();
            }
            self.shared.failed.notify_one();
        }
    }

    /// Spawns a task whose panic is contained and counted.
    pub(crate) fn spawn(self: &Rc<Self>, task: impl Future<Output = ()> + 'static) {
        let guard = PanicCount(Rc::clone(self));
        // The handle is not needed: nobody waits for a single connection.
        drop(tokio::task::spawn_local(async move {
            let _guard = guard;
            task.await;
        }));
    }

    /// Works until told to end.
    async fn run(self: Rc<Self>, inbox: mpsc::UnboundedReceiver<Command>) {
        self.obey(inbox).await;
        self.lot.clear();
    }

    async fn obey(self: &Rc<Self>, mut inbox: mpsc::UnboundedReceiver<Command>) {
        drop(tokio::task::spawn_local(Rc::clone(&self.timers).drive()));
        let sweep = crate::pool::sweep(Rc::clone(self));
        drop(tokio::task::spawn_local(sweep));
        drop(tokio::task::spawn_local(lot::attend(Rc::clone(self))));
        let mut acceptors = listener::Acceptors::default();
        loop {
            tokio::select! {
                command = inbox.recv() => match command {
                    Some(Command::Apply { plan, open, close, applied }) => {
                        let local = LocalPlan::new(plan, self.index, Some(&self.plan()));
                        *self.plan.borrow_mut() = local;
                        for key in close {
                            acceptors.close(key);
                        }
                        for listen in open {
                            acceptors.open(self, listen);
                        }
                        self.call_all();
                        // Whoever asked may not wait any more.
                        let _: Result<(), ()> = applied.send(());
                    }
                    Some(Command::Drain) => {
                        acceptors.close_all();
                        self.draining.set(true);
                        self.call_all();
                        if self.is_done(&acceptors) {
                            return;
                        }
                    }
                    Some(Command::Stop) | None => return,
                },
                () = self.emptied.notified() => {
                    if self.is_done(&acceptors) {
                        return;
                    }
                }
            }
        }
    }

    /// Whether the worker drains and has no connection left, none that waits to be accepted either.
    fn is_done(&self, acceptors: &listener::Acceptors) -> bool {
        self.draining.get() && acceptors.have_ended() && self.shard().connections.value() == 0
    }

    /// Lets connections that wait look at the new Plan, or at the end that is near.
    fn call_all(&self) {
        self.lot.call_all();
        wake_all(&self.sessions);
    }

    /// Lets tunnels look whether they must end, if any must.
    pub(crate) fn wake_tunnels(&self) {
        let cuts = self.shared.cuts.load(Ordering::Acquire);
        if self.cuts_seen.replace(cuts) != cuts {
            wake_all(&self.tunnels);
        }
    }

    /// The time of the event being worked on: the clock is read once per event, by
    /// [`Worker::tick`].
    pub(crate) fn now(&self) -> Stamp {
        self.clock.get()
    }

    /// Reads the clock: to be called when bytes, a connection or a deadline woke the task.
    pub(crate) fn tick(&self) -> Stamp {
        let now = clock::now();
        self.clock.set(now);
        now
    }
}

/// Wakes tasks; what they do at once must not find the list borrowed.
fn wake_all(wakers: &RefCell<Slab<Waker>>) {
    let wakers: Vec<Waker> = wakers.borrow().iter().map(|(_, w)| w.clone()).collect();
    for waker in wakers {
        waker.wake();
    }
}

/// A task's place among those that are woken together.
pub(crate) struct Place<'a> {
    list: &'a RefCell<Slab<Waker>>,
    at: Option<usize>,
}

impl<'a> Place<'a> {
    pub(crate) fn none(list: &'a RefCell<Slab<Waker>>) -> Self {
        Self { list, at: None }
    }

    /// Leaves the waker, once: these tasks never change.
    pub(crate) fn register(&mut self, cx: &std::task::Context<'_>) {
        if self.at.is_none() {
            self.at = Some(self.list.borrow_mut().insert(cx.waker().clone()));
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(at) = self.at {
            drop(self.list.borrow_mut().try_remove(at));
        }
    }
}

/// Counts the panic of the task it lives in.
struct PanicCount(Rc<Worker>);

impl Drop for PanicCount {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.shard().panics.one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use clearway_net::listen;
    use clearway_outcome::Bind;

    use super::*;
    use crate::board::Board;
    use crate::compile::Names;

    /// Worker 1 of two, without a listener, and a runtime for it.
    fn idle_worker() -> (Rc<Worker>, tokio::runtime::LocalRuntime) {
        let plan = Arc::new(Plan {
            named: Arc::default(),
            generation: 1,
            listeners: Vec::new(),
            backends: Vec::new(),
            issuance: None,
            statistics: None,
            files: Arc::default(),
            caches: Vec::new(),
            cache_settings: Vec::new(),
        });
        let setup = Setup {
            index: 1,
            core: None,
            identity: None,
            shared: Shared::new(2),
            plan,
            log_ring: 0,
            receipt_ring: 0,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build_local(tokio::runtime::LocalOptions::default())
            .unwrap();
        let worker = Worker::new(setup, ring::ring(0).0, ring::ring(0).0);
        (worker, runtime)
    }

    #[test]
    fn a_panic_ends_its_task_alone_and_is_counted() {
        let (worker, runtime) = idle_worker();
        runtime.block_on(async {
            let (alive, waits) = oneshot::channel();
            let (answer, told) = oneshot::channel();
            worker.spawn(async move { answer.send(waits.await).unwrap() });
            // The sender goes down with the task.
            let (held, gone) = oneshot::channel::<()>();
            worker.spawn(async move {
                let _held = held;
                tokio::task::yield_now().await;
                panic!("on purpose");
            });
            assert!(gone.await.is_err());
            assert_eq!(worker.shard().panics.value(), 1);
            alive.send(7).unwrap();
            assert_eq!(told.await, Ok(Ok(7)), "a task from before runs on");
            let (ran, hear) = oneshot::channel();
            worker.spawn(async move { ran.send(8).unwrap() });
            assert_eq!(hear.await, Ok(8), "a task from after runs");
            tokio::task::yield_now().await;
        });
        let counts = worker.shared.workers.iter().map(|w| w.panics.value());
        assert_eq!(counts.collect::<Vec<_>>(), [0, 1]);
        drop(runtime);
        assert_eq!(Rc::strong_count(&worker), 1, "no task is left");
    }

    #[test]
    fn a_connection_that_waits_to_be_accepted_is_served_by_a_draining_worker() {
        let text = "[listener.web]\nbind = \"127.0.0.1:0\"\n\
                    [backend.app]\nservers = [\"127.0.0.1:1\"]\n";
        let config = clearway_config::parse("test", text).config;
        let mut board = Board::new(1);
        let plan = crate::compile::compile(&config, &Names::default(), &mut board, 1, None);
        let plan = Arc::new(plan.unwrap());
        let bind = Bind::Ip {
            address: "127.0.0.1:0".parse().unwrap(),
            dual: false,
        };
        let socket = listen::open(&bind, &listen::Options::default()).unwrap();
        let mut client = TcpStream::connect(socket.local().unwrap()).unwrap();
        client
            .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            .unwrap();
        let (commands, inbox) = mpsc::unbounded_channel();
        let (applied, _told) = oneshot::channel();
        let listen = Listen {
            listener: Name::new("web"),
            bind: Name::new("127.0.0.1:0"),
            socket,
        };
        let apply = Command::Apply {
            plan: Arc::clone(&plan),
            open: vec![listen],
            close: Vec::new(),
            applied,
        };
        commands.send(apply).ok().unwrap();
        commands.send(Command::Drain).ok().unwrap();
        let setup = Setup {
            index: 0,
            core: None,
            identity: None,
            shared: Shared::new(1),
            plan,
            log_ring: 0,
            receipt_ring: 0,
        };
        let (started, _hear) = std::sync::mpsc::channel();
        run(setup, inbox, ring::ring(0).0, ring::ring(0).0, &started);
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    }
}
