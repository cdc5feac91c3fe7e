//! The one that holds it all together: opens sockets, starts workers, reloads, drains, ends.
//!
//! A reload goes parse → check → compile → publish. Nothing is touched before the last step, so a
//! bad file, a port in use or a bad rule leaves everything as it was.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clearway_config::model::{Config, Identifier, LogLevel, Workers};
use clearway_config::{Diagnostic, Loaded, Severity};
use clearway_doctor::evidence::ChangeKind;
use clearway_net::identity::{self, Identity};
use clearway_net::kernel;
use clearway_net::listen::Socket;
use clearway_proxy::board::Board;
use clearway_proxy::compile::{self, Names};
use clearway_proxy::plan::Plan;
use clearway_proxy::worker::{self, Command, Handle, Listen, Setup, Shared};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::admin;
use crate::certificates;
use crate::haproxy;
use crate::health::Checks;
use crate::incidents;
use crate::issuance::{self, Issuing};
use crate::logs::{Logs, Sinks};
use crate::names::Followed;
use crate::passive::Passive;
use crate::servers;
use crate::signals::{Manner, Place, Signals, Wish};
use crate::sockets::{self, Key, Opened};
use crate::state::{Ask, Change, News, State};
use crate::task;

/// How the process tells about things that matter to whoever started it.
#[derive(Debug)]
pub enum Event {
    /// A socket is open: name of the listener (or `admin`) and its address.
    Listening(String, String),
    /// Everything is open and traffic is taken.
    Ready,
    /// A reload begins.
    Reloading,
    /// Logs were opened anew; so should be what the process itself writes to.
    Reopened,
    /// The program is to be started anew beside this process, which goes on.
    Upgrading,
    /// A reload took effect or was refused; text for the operator.
    Reloaded(Result<String, String>),
    /// Anything else that is worth a line.
    News(News),
    /// Traffic is no longer taken; what is in flight is finished.
    Draining,
}

/// Why the process could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration has errors; the diagnostics say which.
    #[error("the configuration has errors")]
    Config(Vec<Diagnostic>),
    /// A socket or log file could not be opened.
    #[error("{0}")]
    Open(String),
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

/// The title of what is wrong with a configuration that was not put in force.
const UNCHANGED: &str = "the configuration was not changed:";
/// Size of each worker's ring of failed requests.
const RECEIPT_RING: usize = 2 << 20;
/// How long a start or reload waits for names that were never resolved before.
const NAMES_WAIT: Duration = Duration::from_secs(2);
/// How long a reload waits for a worker to take the new Plan.
const APPLY_WAIT: Duration = Duration::from_secs(5);
/// How long log threads may take to write what is waiting when the process ends.
const LOGS_WAIT: Duration = Duration::from_secs(2);

/// The process.
pub struct Supervisor {
    source: Box<dyn Source>,
    state: Arc<State>,
    inbox: mpsc::Receiver<Ask>,
    news: mpsc::UnboundedReceiver<News>,
    workers: Vec<Handle>,
    /// Opened at start, handed out when names are known.
    opened: Vec<Opened>,
    /// Read at start: the certificates that are to be obtained from when it runs.
    wanted: clearway_acme::Settings,
    open: Vec<Key>,
    names: Followed,
    checks: Checks,
    logs: Logs,
    admin: Option<admin::Running>,
    desk: Arc<haproxy::Desk>,
    sockets: haproxy::Sockets,
    generation: u64,
    place: Place,
    events: Box<dyn FnMut(Event) + Send>,
}

impl Supervisor {
    /// Loads the configuration, opens every socket and log file and starts the workers, which get
    /// their sockets in [`Supervisor::run`].
    ///
    /// # Errors
    /// The configuration has errors, or a socket, file or thread cannot be had.
    pub fn start(
        source: Box<dyn Source>,
        events: Box<dyn FnMut(Event) + Send>,
    ) -> Result<Self, StartError> {
        Self::start_in(Place::default(), source, events)
    }

    /// The same in another program's place.
    ///
    /// # Errors
    /// As [`Supervisor::start`].
    pub fn start_in(
        place: Place,
        mut source: Box<dyn Source>,
        mut events: Box<dyn FnMut(Event) + Send>,
    ) -> Result<Self, StartError> {
        let loaded = source.load();
        if loaded.has_errors() {
            return Err(StartError::Config(loaded.diagnostics));
        }
        let config = loaded.config;
        for warning in warnings(loaded.diagnostics, &config) {
            emit(&mut events, &config, Event::News(warning));
        }
        let count = worker_count(&config);
        let (asks, inbox) = mpsc::channel(64);
        let (tell, news) = mpsc::unbounded_channel();
        let shared = Shared::new(count);
        let mut board = Board::new(count);
        let issuing = Issuing::new();
        board.set_issuance(Arc::<Issuing>::clone(&issuing));
        let desk = haproxy::Desk::new();
        board.set_statistics(Arc::<haproxy::Desk>::clone(&desk));
        let wanted = issuance::settings(&config).map_err(StartError::Config)?;
        let plan = compile::compile(&config, &Names::default(), &mut board, 1, None);
        let plan = Arc::new(plan.map_err(StartError::Config)?);
        let opened = sockets::open_missing(&config, &[], count, place.takes_over)
            .map_err(StartError::Open)?;
        let sinks = Sinks::open(&config).map_err(StartError::Open)?;
        let identity = identity(&config).map_err(StartError::Open)?;
        if identity.is_none() && config.process.user.is_some() {
            let words = "process.user is for processes of root and does nothing here".to_owned();
            let level = LogLevel::Warn;
            emit(&mut events, &config, Event::News(News { level, words }));
        }
        let mut workers = spawn_workers(&config, (count, identity), &plan, &shared)?;
        let state = State::new(config, plan, board, (shared, issuing), (asks, tell));
        let rings = workers.iter_mut().filter_map(|w| w.access.take()).collect();
        let logs = Logs::start(&state, rings, sinks);
        Ok(Self {
            source,
            state,
            inbox,
            news,
            workers,
            opened,
            wanted,
            open: Vec::new(),
            names: Followed::default(),
            checks: Checks::default(),
            logs,
            admin: None,
            desk,
            sockets: haproxy::Sockets::default(),
            generation: 1,
            place,
            events,
        })
    }

    /// The shared state, for whoever wants to watch.
    #[must_use]
    pub fn state(&self) -> Arc<State> {
        Arc::clone(&self.state)
    }

    /// Runs until told to stop. Returns when every connection has ended or the drain time is over.
    ///
    /// # Errors
    /// The admin socket or a signal handler cannot be had.
    pub async fn run(mut self) -> Result<(), StartError> {
        let mut signals =
            Signals::new(self.place.manner).map_err(|e| StartError::System("signals", e))?;
        let config = self.state.config();
        self.admin = admin::start(&self.state, &config.admin)
            .await
            .map_err(StartError::Open)?;
        let sockets = haproxy::open(&self.state, &config, &self.sockets, self.place.takes_over);
        self.sockets
            .follow(&config, sockets.map_err(StartError::Open)?);
        self.names.follow(&config, &self.state);
        self.names.settle(&self.state, NAMES_WAIT).await;
        self.desk.open(&self.state);
        drop(task::spawn(haproxy::watch(Arc::clone(&self.state))));
        self.start_passive();
        self.start_incidents();
        self.issue(&config).await.map_err(StartError::Open)?;
        let opened = std::mem::take(&mut self.opened);
        match self.compile(&config) {
            Ok(plan) => self.put_in_force(plan, opened, Vec::new()).await,
            Err(words) => return Err(StartError::Open(words)),
        }
        self.tell_of_certificates();
        drop(task::spawn(certificates::watch(Arc::clone(&self.state))));
        if let Some(admin) = &self.admin {
            let address = admin.address.clone();
            self.emit(Event::Listening("admin".to_owned(), address));
        }
        let sockets: Vec<String> = self.sockets.addresses().map(str::to_owned).collect();
        for address in sockets {
            self.emit(Event::Listening("haproxy_sockets".to_owned(), address));
        }
        self.state.ready.store(true, Ordering::Relaxed);
        self.emit(Event::Ready);
        let limit = loop {
            tokio::select! {
                wish = signals.next() => match wish {
                    // The event has told about it.
                    Wish::Reload => drop(self.reload_and_tell().await),
                    Wish::Drain => break self.drain_limit(),
                    Wish::Stop => break Some(Duration::ZERO),
                    Wish::Reopen => self.reopen(),
                    Wish::Upgrade => self.emit(Event::Upgrading),
                    Wish::Nothing => {}
                },
                () = self.state.names_changed.notified() => self.rename().await,
                Some(news) = self.news.recv() => self.emit(Event::News(news)),
                ask = self.inbox.recv() => match ask {
                    Some(Ask::Shutdown) | None => break self.drain_limit(),
                    Some(ask) => self.obey(ask).await,
                },
            }
        };
        self.drain(limit, &mut signals).await;
        Ok(())
    }

    /// How long connections may take to end; `None` is as long as they want.
    fn drain_limit(&self) -> Option<Duration> {
        self.state.config().process.drain.on().copied()
    }

    /// Opens logs anew: they may have been renamed.
    fn reopen(&mut self) {
        self.logs.reopen(&self.state);
        self.emit(Event::Reopened);
    }

    fn emit(&mut self, event: Event) {
        let config = self.state.config();
        emit(&mut self.events, &config, event);
    }

    /// Begins to obtain the certificates of the first configuration; what is stored serves at once.
    async fn issue(&mut self, config: &Config) -> Result<(), String> {
        let wanted = std::mem::take(&mut self.wanted);
        let issuing = &self.state.issuing;
        issuing.start(issuing.open(config, &wanted)?, &self.state);
        issuing.follow(wanted).await;
        issuing.settle();
        Ok(())
    }

    /// Says which certificates of the Plan in force have ended or end soon.
    fn tell_of_certificates(&self) {
        for (level, words) in certificates::warnings(&self.state.plan()) {
            self.state.say(level, words);
        }
    }

    fn start_passive(&mut self) {
        let receipts = self
            .workers
            .iter_mut()
            .filter_map(|w| w.receipts.take())
            .collect();
        if let Some(queue) = self.logs.queue() {
            let passive = Passive::new(Arc::clone(&self.state), receipts, queue);
            drop(task::spawn(passive.run()));
        }
    }

    /// Begins to look after incidents.
    fn start_incidents(&self) {
        let (tell, notices) = mpsc::unbounded_channel();
        let words = "the balancer started".to_owned();
        self.state.note_change(None, ChangeKind::Started, words);
        self.keep_incidents();
        drop(task::spawn(incidents::run(Arc::clone(&self.state), tell)));
        let told = incidents::tell(Arc::clone(&self.state), notices, self.logs.queue());
        drop(task::spawn(told));
    }

    /// Keeps closed incidents where the configuration in force says.
    fn keep_incidents(&self) {
        let config = self.state.config();
        let settings = &config.incidents;
        let survey = clearway_config::survey::native(&config);
        self.state.incidents().set_survey(survey);
        let path = settings.store.on().map(PathBuf::as_path);
        if let Err(words) = self.state.incidents().keep_in(path, settings.keep) {
            self.state.say(LogLevel::Error, words);
        }
    }

    async fn obey(&mut self, ask: Ask) {
        match ask {
            Ask::Reload(answer) => {
                let result = self.reload_and_tell().await;
                // Whoever asked may have gone.
                drop(answer.send(result));
            }
            Ask::Server {
                backend,
                server,
                action,
                answer,
            } => {
                drop(answer.send(servers::obey(&self.state, &backend, &server, action)));
            }
            Ask::Alter { change, answer } => {
                let result = self.alter(change).await;
                // Whoever asked may have gone.
                drop(answer.send(result));
            }
            Ask::Refresh(answer) => {
                let result = self.refresh().await;
                // Whoever asked may have gone.
                drop(answer.send(result));
            }
            Ask::Shutdown => {}
        }
    }

    /// Changes the configuration in force, until the next reload.
    async fn alter(&mut self, change: Change) -> Result<String, String> {
        let mut config = Config::clone(&self.state.config());
        let words = change(&mut config)?;
        let opened = sockets::open_missing(&config, &self.open, self.workers.len(), false)?;
        let plan = self.compile(&config)?;
        let close = sockets::superfluous(&config, &self.open);
        self.state.set_config(config);
        self.put_in_force(plan, opened, close).await;
        Ok(words)
    }

    /// Compiles the configuration in force again, because files that it names have changed.
    async fn refresh(&mut self) -> Result<(), String> {
        let config = self.state.config();
        let plan = self.compile(&config)?;
        self.put_in_force(plan, Vec::new(), Vec::new()).await;
        let words = "changed files of authorities, revocations and backends' TLS are in use";
        self.state.say(LogLevel::Info, words.to_owned());
        Ok(())
    }

    /// Reads the configuration again and puts it in force, or says why not.
    async fn reload_and_tell(&mut self) -> Result<String, String> {
        self.emit(Event::Reloading);
        let result = self.reload().await;
        let counter = match &result {
            Ok(_) => &self.state.reloads,
            Err(_) => &self.state.reloads_refused,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        let (kind, words) = match &result {
            Ok(words) => (ChangeKind::Reloaded, words),
            Err(words) => (ChangeKind::ReloadRefused, words),
        };
        let first = words.lines().next().unwrap_or_default();
        self.state.note_change(None, kind, first.to_owned());
        self.emit(Event::Reloaded(result.clone()));
        result
    }

    async fn reload(&mut self) -> Result<String, String> {
        let loaded = self.source.load();
        if loaded.has_errors() {
            let errors = loaded
                .diagnostics
                .iter()
                .filter(|d| d.severity == Severity::Error);
            return Err(lines(UNCHANGED, errors));
        }
        let config = loaded.config;
        let old = self.state.config();
        let mut changes = clearway_config::diff::diff(&old, &config);
        let opened = sockets::open_missing(&config, &self.open, self.workers.len(), false)?;
        let sinks = Sinks::open(&config)?;
        let refused = |found: Vec<Diagnostic>| lines(UNCHANGED, found.iter());
        let wanted = issuance::settings(&config).map_err(refused)?;
        let storage = self.state.issuing.open(&config, &wanted)?;
        let admin = match config.admin.listen == old.admin.listen {
            true => None,
            false => Some(admin::start(&self.state, &config.admin).await?),
        };
        let runtime = haproxy::open(&self.state, &config, &self.sockets, false)?;
        self.names.follow(&config, &self.state);
        self.names.settle(&self.state, NAMES_WAIT).await;
        let plan = match self.compile(&config) {
            Ok(plan) => plan,
            Err(words) => {
                self.names.follow(&old, &self.state);
                self.names.forget(&old, &self.state);
                // Waiting for the new names may have taken the news of the old ones.
                self.state.names_changed.notify_one();
                return Err(words);
            }
        };
        self.names.forget(&config, &self.state);
        for warning in warnings(loaded.diagnostics, &config) {
            self.emit(Event::News(warning));
        }
        let (user, group) = (&config.process.user, &config.process.group);
        if (user, group) != (&old.process.user, &old.process.group) {
            changes.push("process.user and process.group change with the next start".to_owned());
        }
        if config.process.workers != old.process.workers {
            changes.push("the number of workers changes with the next start".to_owned());
        }
        if self.state.issuing.is_elsewhere(&config, &wanted) {
            changes.push("acme.storage changes with the next start".to_owned());
        }
        self.state.issuing.start(storage, &self.state);
        self.state.issuing.follow(wanted).await;
        let close = sockets::superfluous(&config, &self.open);
        self.state.set_config(config);
        self.logs.change(&self.state, sinks);
        if let Some(admin) = admin {
            self.admin = admin;
        }
        self.sockets.follow(&self.state.config(), runtime);
        self.state.runtime.forget();
        self.put_in_force(plan, opened, close).await;
        self.state.issuing.settle();
        self.tell_of_certificates();
        self.keep_incidents();
        Ok(if changes.is_empty() {
            "nothing changed".to_owned()
        } else {
            changes.join("\n")
        })
    }

    /// The addresses behind names may have changed: makes a new Plan if they have.
    async fn rename(&mut self) {
        let (config, before) = (self.state.config(), self.state.plan());
        self.generation += 1;
        let plan = {
            let names = self.state.names();
            let mut board = self.state.board();
            compile::rename(&config, &names, &mut board, self.generation, &before)
        };
        if let Some(plan) = plan {
            self.put_in_force(Arc::new(plan), Vec::new(), Vec::new())
                .await;
        }
    }

    /// Compiles a Plan that shares what it can with the one in force.
    fn compile(&mut self, config: &Config) -> Result<Arc<Plan>, String> {
        self.generation += 1;
        let before = self.state.plan();
        let names = self.state.names();
        let mut board = self.state.board();
        compile::compile(config, &names, &mut board, self.generation, Some(&before))
            .map(Arc::new)
            .map_err(|found| lines(UNCHANGED, found.iter()))
    }

    /// Publishes a Plan and returns when every worker uses it.
    async fn put_in_force(&mut self, plan: Arc<Plan>, opened: Vec<Opened>, close: Vec<Key>) {
        let before = self.state.plan();
        plan.put_in_force();
        self.state.set_plan(Arc::clone(&plan));
        servers::settle(&self.state, &before, &plan);
        let mut per_worker: Vec<Vec<Listen>> = self.workers.iter().map(|_| Vec::new()).collect();
        for Opened {
            key: (listener, bind),
            sockets,
        } in opened
        {
            if let Some(address) = sockets.first().map(Socket::address_text) {
                self.emit(Event::Listening(listener.to_string(), address));
            }
            self.open.push((listener, bind));
            for (worker, socket) in per_worker.iter_mut().zip(sockets) {
                worker.push(Listen {
                    listener,
                    bind,
                    socket,
                });
            }
        }
        self.open.retain(|key| !close.contains(key));
        let mut waits = Vec::new();
        for (worker, open) in self.workers.iter().zip(per_worker) {
            let (applied, wait) = oneshot::channel();
            let plan = Arc::clone(&plan);
            let command = Command::Apply {
                plan,
                open,
                close: close.clone(),
                applied,
            };
            // A worker that is gone is noticed when the threads are joined.
            if worker.commands.send(command).is_ok() {
                waits.push(wait);
            }
        }
        let until = Instant::now() + APPLY_WAIT;
        for wait in waits {
            drop(tokio::time::timeout_at(until, wait).await);
        }
        // Not before: a worker with the old Plan would find no usable server.
        servers::let_go(&self.state, &before, &plan);
        self.checks.reconcile(&self.state);
        self.state
            .stories()
            .retain(|(backend, address)| servers::is_in(&plan, (backend, address)));
        drop(before);
        self.state.board().sweep();
    }

    /// Stops accepting, waits so long for what is in flight, ends. A signal that asks for less ends it sooner.
    async fn drain(mut self, limit: Option<Duration>, signals: &mut Signals) {
        self.state.ready.store(false, Ordering::Relaxed);
        self.emit(Event::Draining);
        for worker in &self.workers {
            drop(worker.commands.send(Command::Drain));
        }
        let until = limit.map(|limit| Instant::now() + limit);
        let is_over = || until.is_some_and(|until| Instant::now() >= until);
        let pause = Duration::from_millis(10);
        while self.workers.iter().any(|w| !w.thread.is_finished()) && !is_over() {
            tokio::select! {
                wish = signals.next() => match wish {
                    Wish::Stop => break,
                    Wish::Drain if self.place.manner == Manner::Own => break,
                    Wish::Reopen => self.reopen(),
                    Wish::Drain | Wish::Reload | Wish::Upgrade | Wish::Nothing => {}
                },
                () = tokio::time::sleep_until(Instant::now() + pause) => {}
            }
        }
        for worker in self.workers.drain(..) {
            drop(worker.commands.send(Command::Stop));
            drop(worker.thread.join());
        }
        // Receipts of the last requests are still to be read.
        self.state.finish_receipts().await;
        let troubles = self.state.incidents().end();
        for words in troubles {
            self.state.say(LogLevel::Error, words);
        }
        while let Ok(news) = self.news.try_recv() {
            self.emit(Event::News(news));
        }
        self.logs.finish(&self.state, LOGS_WAIT).await;
    }
}

/// Whose rights the threads that serve traffic are to have, where the process may give them.
///
/// # Errors
/// There is no such user or group.
pub fn identity(config: &Config) -> Result<Option<Identity>, String> {
    let Some(user) = config.process.user.as_ref() else {
        return Ok(None);
    };
    let group = config.process.group.as_ref();
    let found = Identity::find(user.as_str(), group.map(Identifier::as_str))?;
    Ok(identity::is_root().then_some(found))
}

/// Starts the threads that serve traffic.
fn spawn_workers(
    config: &Config,
    (count, identity): (usize, Option<Identity>),
    plan: &Arc<Plan>,
    shared: &Arc<Shared>,
) -> Result<Vec<Handle>, StartError> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let spawn = |index| {
        worker::spawn(Setup {
            index,
            // Pinning helps only while every worker has a core of its own.
            core: (count > 1 && count <= cores).then_some(index),
            identity: identity.clone(),
            shared: Arc::clone(shared),
            plan: Arc::clone(plan),
            log_ring: config.log.buffer,
            receipt_ring: RECEIPT_RING,
        })
    };
    let workers: std::io::Result<Vec<Handle>> = (0..count).map(spawn).collect();
    workers.map_err(|error| StartError::System("worker", error))
}

/// Passes an event on if the configuration wants to hear of it.
fn emit(events: &mut Box<dyn FnMut(Event) + Send>, config: &Config, event: Event) {
    let level = match &event {
        Event::Listening(..)
        | Event::Ready
        | Event::Reloading
        | Event::Reopened
        | Event::Upgrading => LogLevel::Error,
        Event::Reloaded(Err(_)) => LogLevel::Error,
        Event::Reloaded(Ok(_)) | Event::Draining => LogLevel::Info,
        Event::News(news) => news.level,
    };
    if level <= config.log.level {
        events(event);
    }
}

/// What will hurt although it is allowed.
fn warnings(found: Vec<Diagnostic>, config: &Config) -> Vec<News> {
    let mut all = found;
    if let Ok((soft, _)) = kernel::raise_fd_limit() {
        all.extend(clearway_config::check::open_files(config, soft));
    }
    let words = all.iter().map(|diagnostic| diagnostic.to_string());
    words
        .map(|words| News {
            level: LogLevel::Warn,
            words,
        })
        .collect()
}

fn lines<'a>(title: &str, found: impl Iterator<Item = &'a Diagnostic>) -> String {
    let mut out = title.to_owned();
    for diagnostic in found {
        out.push_str(&format!("\n{diagnostic}"));
    }
    out
}

fn worker_count(config: &Config) -> usize {
    match config.process.workers {
        Workers::Auto => std::thread::available_parallelism().map_or(1, usize::from),
        Workers::Count(count) => count.max(1),
    }
}
