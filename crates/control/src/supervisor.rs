//! The one that holds it all together: opens sockets, starts workers, reloads, drains, ends.
//!
//! A reload goes parse → check → compile → publish. Nothing is touched before the last step, so a
//! bad file, a port in use or a bad rule leaves everything as it was.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clearway_base::clock;
use clearway_base::intern::Name;
use clearway_config::model::{Config, Workers};
use clearway_config::{Diagnostic, Loaded, Severity};
use clearway_net::listen::{self, Socket};
use clearway_proxy::board::Board;
use clearway_proxy::compile::{self, Names};
use clearway_proxy::plan::Plan;
use clearway_proxy::worker::{self, Command, Handle, Listen, Setup, Shared};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::health::Checks;
use crate::logs::{self, LogControl, Sink};
use crate::names::Followed;
use crate::passive::Passive;
use crate::state::{Ask, ServerAction, State};
use crate::{admin, task};

/// How the process is told about things that matter to whoever started it.
pub enum Event {
    /// A socket is open: name of the listener (or `admin`) and its address.
    Listening(String, String),
    /// Everything is open and traffic is taken.
    Ready,
    /// A reload took effect or was refused; text for the operator.
    Reloaded(Result<String, String>),
    /// Traffic is no longer taken; what is in flight is finished.
    Draining,
}

/// Why the process could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration has errors; the diagnostics say which.
    #[error("the configuration has errors")]
    Config(Vec<Diagnostic>),
    /// A socket could not be opened.
    #[error("{0}")]
    Listen(String),
    /// The system refused something else.
    #[error("{0}: {1}")]
    System(&'static str, std::io::Error),
}

/// Where the configuration comes from.
pub trait Source: Send {
    /// Reads it anew.
    fn load(&mut self) -> Loaded;
}

impl Source for PathBuf {
    fn load(&mut self) -> Loaded {
        clearway_config::load(self)
    }
}

impl<F: FnMut() -> Loaded + Send> Source for F {
    fn load(&mut self) -> Loaded {
        self()
    }
}

/// Size of each worker's access log ring.
const LOG_RING: usize = 4 << 20;
/// Size of each worker's ring of failed requests.
const RECEIPT_RING: usize = 2 << 20;

/// An open socket: its listener, its bind as text, and its real address.
struct Open {
    listener: Name,
    bind: Name,
}

/// The process.
pub struct Supervisor {
    source: Box<dyn Source>,
    state: Arc<State>,
    inbox: mpsc::Receiver<Ask>,
    workers: Vec<Handle>,
    open: Vec<Open>,
    names: Followed,
    checks: Checks,
    log_control: Arc<LogControl>,
    log_thread: Option<std::thread::JoinHandle<()>>,
    generation: u64,
    events: Box<dyn FnMut(Event) + Send>,
}

impl Supervisor {
    /// Loads the configuration, opens every socket and starts the workers.
    ///
    /// # Errors
    /// The configuration has errors, or a socket or thread cannot be had.
    pub fn start(
        mut source: Box<dyn Source>,
        events: Box<dyn FnMut(Event) + Send>,
    ) -> Result<Self, StartError> {
        let loaded = source.load();
        if loaded.diagnostics.iter().any(|d| d.severity == Severity::Error) {
            return Err(StartError::Config(loaded.diagnostics));
        }
        let config = loaded.config;
        let count = worker_count(&config);
        let (asks, inbox) = mpsc::channel(64);
        let shared = Shared::new(count);
        let mut board = Board::new(count);
        let plan = compile::compile(&config, &Names::default(), &mut board, 1, None)
            .map_err(StartError::Config)?;
        let plan = Arc::new(plan);
        let state = State::new(config, Arc::clone(&plan), board, Arc::clone(&shared), asks.clone());
        let mut supervisor = Self {
            source,
            state,
            inbox,
            workers: Vec::new(),
            open: Vec::new(),
            names: Followed::new(asks),
            checks: Checks::default(),
            log_control: Arc::default(),
            log_thread: None,
            generation: 1,
            events,
        };
        supervisor.start_workers(count, &plan, &shared)?;
        Ok(supervisor)
    }

    /// The shared state, for the demo and tests.
    #[must_use]
    pub fn state(&self) -> Arc<State> {
        Arc::clone(&self.state)
    }

    fn start_workers(
        &mut self,
        count: usize,
        plan: &Arc<Plan>,
        shared: &Arc<Shared>,
    ) -> Result<(), StartError> {
        let sockets = self.open_sockets(&self.state.config(), count)?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        for index in 0..count {
            let setup = Setup {
                index,
                // Pinning helps only while every worker has a core of its own.
                core: (count > 1 && count <= cores).then_some(index),
                shared: Arc::clone(shared),
                plan: Arc::clone(plan),
                log_ring: LOG_RING,
                receipt_ring: RECEIPT_RING,
            };
            let handle = worker::spawn(setup).map_err(|e| StartError::System("worker", e))?;
            self.workers.push(handle);
        }
        self.hand_out(plan, sockets, Vec::new());
        Ok(())
    }

    /// Opens the sockets of `config` that are not open yet, a set per worker.
    ///
    /// All or nothing: on an error the new ones are closed again.
    fn open_sockets(
        &mut self,
        config: &Config,
        count: usize,
    ) -> Result<Vec<(Name, Name, Vec<Socket>)>, StartError> {
        let mut opened = Vec::new();
        for listener in &config.listeners {
            let name = Name::new(&listener.name);
            for bind in &listener.bind {
                let key = Name::new(&bind.to_string());
                if self.open.iter().any(|o| o.listener == name && o.bind == key) {
                    continue;
                }
                let options = listen::Options {
                    backlog: listener.backlog,
                    reuse_port: true,
                    defer_accept: listener.defer_accept && listener.is_http(),
                };
                let sockets = listen::open_many(bind, &options, count)
                    .map_err(|words| StartError::Listen(format!("listener {name}: {words}")))?;
                opened.push((name, key, sockets));
            }
        }
        Ok(opened)
    }

    /// Gives workers a Plan and sockets, and tells which to close.
    fn hand_out(
        &mut self,
        plan: &Arc<Plan>,
        opened: Vec<(Name, Name, Vec<Socket>)>,
        close: Vec<(Name, Name)>,
    ) {
        let mut per_worker: Vec<Vec<Listen>> = self.workers.iter().map(|_| Vec::new()).collect();
        for (listener, bind, sockets) in opened {
            if let Some(address) = sockets.first().map(listen::Socket::address_text) {
                (self.events)(Event::Listening(listener.to_string(), address));
            }
            self.open.push(Open { listener, bind });
            for (worker, socket) in per_worker.iter_mut().zip(sockets) {
                worker.push(Listen { listener, bind, socket });
            }
        }
        self.open.retain(|o| !close.contains(&(o.listener, o.bind)));
        for (worker, open) in self.workers.iter().zip(per_worker) {
            let command = Command::Apply { plan: Arc::clone(plan), open, close: close.clone() };
            // A worker that is gone is noticed when the threads are joined.
            drop(worker.commands.send(command));
        }
    }

    /// Runs until told to stop. Returns when every connection has ended or the drain time is over.
    ///
    /// # Errors
    /// The admin socket or a signal handler cannot be had.
    pub async fn run(mut self) -> Result<(), StartError> {
        let config = self.state.config();
        self.start_log(&config);
        if let Some(address) = admin::start(&self.state, &config.admin).await? {
            (self.events)(Event::Listening("admin".to_owned(), address));
        }
        self.names.follow(&config);
        self.checks.reconcile(&self.state);
        let receipts = self.workers.iter_mut().filter_map(|w| w.receipts.take()).collect();
        let faults_log = Sink::new(config.log.faults.clone());
        drop(task::spawn(Passive::new(Arc::clone(&self.state), receipts, faults_log).run()));
        let mut hangup = signal(SignalKind::hangup()).map_err(|e| StartError::System("signal", e))?;
        let mut terminate =
            signal(SignalKind::terminate()).map_err(|e| StartError::System("signal", e))?;
        let mut interrupt =
            signal(SignalKind::interrupt()).map_err(|e| StartError::System("signal", e))?;
        let mut reopen =
            signal(SignalKind::user_defined1()).map_err(|e| StartError::System("signal", e))?;
        self.state.ready.store(true, Ordering::Relaxed);
        (self.events)(Event::Ready);
        loop {
            tokio::select! {
                _ = hangup.recv() => {
                    let result = self.reload();
                    (self.events)(Event::Reloaded(result));
                }
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = reopen.recv() => self.log_control.reopen.store(true, Ordering::Release),
                ask = self.inbox.recv() => match ask {
                    Some(Ask::Shutdown) | None => break,
                    Some(ask) => self.obey(ask),
                },
            }
        }
        self.drain().await;
        Ok(())
    }

    fn start_log(&mut self, config: &Config) {
        let rings = self.workers.iter_mut().filter_map(|w| w.access.take()).collect();
        let (destination, format) = (config.log.access.clone(), config.log.format);
        let (control, state) = (Arc::clone(&self.log_control), Arc::clone(&self.state));
        let thread = std::thread::Builder::new().name("clearway-log".to_owned()).spawn(move || {
            logs::write_access(rings, destination, format, &control, &state);
        });
        // Without a log thread the rings fill and drop, which is counted.
        self.log_thread = thread.ok();
    }

    fn obey(&mut self, ask: Ask) {
        match ask {
            Ask::Reload(answer) => {
                let result = self.reload();
                (self.events)(Event::Reloaded(result.clone()));
                // Whoever asked may have gone.
                drop(answer.send(result));
            }
            Ask::NamesChanged => self.rename(),
            Ask::Server { backend, server, action, answer } => {
                drop(answer.send(self.set_server(&backend, &server, action)));
            }
            Ask::Shutdown => {}
        }
    }

    /// Reads the configuration again and puts it in force, or says why not.
    fn reload(&mut self) -> Result<String, String> {
        let result = self.try_reload();
        let counter = match &result {
            Ok(_) => &self.state.reloads,
            Err(_) => &self.state.reloads_refused,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        result
    }

    fn try_reload(&mut self) -> Result<String, String> {
        let loaded = self.source.load();
        let errors: Vec<String> = loaded
            .diagnostics
            .iter()
            .filter(|d| d.severity == Severity::Error)
            .map(ToString::to_string)
            .collect();
        if !errors.is_empty() {
            return Err(format!("the configuration was not changed:\n{}", errors.join("\n")));
        }
        let config = loaded.config;
        let old = self.state.config();
        let changes = clearway_config::diff::diff(&old, &config);
        self.names.follow(&config);
        let plan = self.compile(&config)?;
        let count = self.workers.len();
        let opened = self.open_sockets(&config, count).map_err(|e| e.to_string())?;
        let close: Vec<(Name, Name)> = self
            .open
            .iter()
            .map(|o| (o.listener, o.bind))
            .filter(|&(listener, bind)| !has_bind(&config, listener, bind))
            .collect();
        self.state.publish(Some(config), Arc::clone(&plan));
        self.hand_out(&plan, opened, close);
        self.after_plan();
        Ok(if changes.is_empty() { "nothing changed".to_owned() } else { changes.join("\n") })
    }

    /// Compiles a Plan that shares what it can with the one in force.
    fn compile(&mut self, config: &Config) -> Result<Arc<Plan>, String> {
        self.generation += 1;
        let before = self.state.plan();
        let names = self.names.answers();
        let mut board = self.state.board();
        compile::compile(config, &names, &mut board, self.generation, Some(&before))
            .map(Arc::new)
            .map_err(|d| d.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    }

    /// The addresses behind a name have changed.
    fn rename(&mut self) {
        let config = self.state.config();
        let Ok(plan) = self.compile(&config) else { return };
        self.state.publish(None, Arc::clone(&plan));
        self.hand_out(&plan, Vec::new(), Vec::new());
        self.after_plan();
    }

    fn after_plan(&mut self) {
        self.checks.reconcile(&self.state);
        let plan = self.state.plan();
        self.state.stories().retain(|(backend, address)| {
            plan.backends
                .iter()
                .any(|b| b.name == backend && b.servers.iter().any(|s| s.address == address))
        });
        self.state.board().sweep();
    }

    fn set_server(
        &self,
        backend: &str,
        server: &str,
        action: ServerAction,
    ) -> Result<String, String> {
        use clearway_proxy::board::{DRAIN, MAINTENANCE};
        let plan = self.state.plan();
        let Some(backend) = plan.backends.iter().find(|b| b.name.as_str() == backend) else {
            return Err(format!("there is no backend {backend}"));
        };
        let named = |s: &&Arc<clearway_proxy::plan::ServerPlan>| {
            s.name.as_str() == server || s.address.as_str() == server
        };
        let Some(found) = backend.servers.iter().find(named) else {
            return Err(format!("backend {} has no server {server}", backend.name));
        };
        let key = (backend.name, found.address);
        let (set, clear, to) = match action {
            ServerAction::Ready => (0, DRAIN | MAINTENANCE, "ready"),
            ServerAction::Drain => (DRAIN, MAINTENANCE, "drain"),
            ServerAction::Maintenance => (MAINTENANCE, DRAIN, "maintenance"),
        };
        if self.state.set_flags(key, set, clear) {
            self.state.stories().tell(key, to, "set by the operator".to_owned());
        }
        Ok(format!("{}/{} is {to}", backend.name, found.name))
    }

    /// Stops accepting, waits for what is in flight, ends.
    async fn drain(&mut self) {
        self.state.ready.store(false, Ordering::Relaxed);
        (self.events)(Event::Draining);
        for worker in &self.workers {
            drop(worker.commands.send(Command::Drain));
        }
        let limit = self.state.config().process.drain;
        let until = Instant::now() + limit;
        let pause = Duration::from_millis(10);
        while self.workers.iter().any(|w| !w.thread.is_finished()) && Instant::now() < until {
            tokio::time::sleep_until(Instant::now() + pause).await;
        }
        for worker in self.workers.drain(..) {
            drop(worker.commands.send(Command::Stop));
            drop(worker.thread.join());
        }
        self.log_control.stop.store(true, Ordering::Release);
        if let Some(log) = self.log_thread.take() {
            // A reader that does not read must not keep the process from ending.
            let until = Instant::now() + Duration::from_secs(2);
            while !log.is_finished() && Instant::now() < until {
                tokio::time::sleep_until(Instant::now() + pause).await;
            }
        }
    }
}

fn has_bind(config: &Config, listener: Name, bind: Name) -> bool {
    config.listeners.iter().any(|l| {
        l.name == listener.as_str() && l.bind.iter().any(|b| b.to_string() == bind.as_str())
    })
}

fn worker_count(config: &Config) -> usize {
    match config.process.workers {
        Workers::Auto => std::thread::available_parallelism().map_or(1, usize::from),
        Workers::Count(count) => count.max(1),
    }
}
