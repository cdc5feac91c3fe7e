//! What the parts of control share: the Plan in force, the board, receipts, stories of servers.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use clearway_base::clock::{self, Stamp};
use clearway_base::intern::Name;
use clearway_config::model::{Config, LogLevel};
use clearway_doctor::evidence::{self, ChangeKind};
use clearway_proxy::board::Board;
use clearway_proxy::compile::{Names, Question};
use clearway_proxy::plan::{BackendPlan, Plan};
use clearway_proxy::worker::Shared;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::haproxy::Runtime;
use crate::health::verdict::Verdicts;
use crate::incidents::Incidents;
use crate::issuance::Issuing;
use crate::receipts::Receipts;
use crate::story::Stories;

/// A change of the configuration in force.
pub type Change = Box<dyn FnOnce(&mut Config) -> Result<String, String> + Send>;

/// What somebody asks of the supervisor.
pub enum Ask {
    /// Read the configuration again.
    Reload(oneshot::Sender<Result<String, String>>),
    /// Set or clear the operator's word on a server.
    Server {
        /// The backend's name.
        backend: String,
        /// The server's name or address.
        server: String,
        /// What to do.
        action: ServerAction,
        /// Whether it was done, or why not.
        answer: oneshot::Sender<Result<String, String>>,
    },
    /// Change the configuration in force, until the next reload.
    Alter {
        /// What is changed, with what to say about it either way.
        change: Change,
        /// What was said.
        answer: oneshot::Sender<Result<String, String>>,
    },
    /// Read the files again that the configuration in force names.
    Refresh(oneshot::Sender<Result<(), String>>),
    /// Drain and end.
    Shutdown,
}

/// Words for the operator.
#[derive(Clone, Debug)]
pub struct News {
    /// How important they are.
    pub level: LogLevel,
    /// One sentence.
    pub words: String,
}

/// What an operator may do with a server at run time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerAction {
    /// Back to normal.
    Ready,
    /// Sticky clients only.
    Drain,
    /// Out.
    Maintenance,
}

/// Shared by the supervisor, the admin API, the schedulers and the log thread.
pub struct State {
    plan: Mutex<Arc<Plan>>,
    config: Mutex<Arc<Config>>,
    board: Mutex<Board>,
    receipts: Mutex<Receipts>,
    names: Mutex<Names>,
    stories: Mutex<Stories>,
    incidents: Mutex<Incidents>,
    /// Told when there is something new about incidents.
    pub(crate) incident_news: Notify,
    /// What is said of servers by those who look after them.
    pub(crate) verdicts: Verdicts,
    /// What belongs to HAProxy's statistics and runtime commands.
    pub(crate) runtime: Runtime,
    /// Who obtains certificates.
    pub(crate) issuing: Arc<Issuing>,
    /// Counters of the workers.
    pub shared: Arc<Shared>,
    /// Where requests to the supervisor go.
    pub asks: mpsc::Sender<Ask>,
    /// Told when something new is known about a name; several news at a time make one new Plan.
    pub names_changed: Notify,
    /// Set to have the rings of failed requests read a last time, then told back.
    pub(crate) last_look: AtomicBool,
    /// Told when the last look is done.
    pub(crate) looked: Notify,
    /// Where words for the operator go.
    news: mpsc::UnboundedSender<News>,
    /// When the process began.
    pub started: Stamp,
    /// Whether the process accepts traffic.
    pub ready: AtomicBool,
    /// Reloads that took effect.
    pub reloads: AtomicU64,
    /// Reloads that were refused.
    pub reloads_refused: AtomicU64,
    /// Log lines that could not be written.
    pub log_failures: AtomicU64,
}

/// The change that a transition of a server is.
fn change_of(to: &str) -> Option<ChangeKind> {
    Some(match to {
        "down" | "ejected" => ChangeKind::ServerDown,
        "up" | "back" => ChangeKind::ServerUp,
        "drain" | "stopping" | "maintenance" => ChangeKind::ServerLeft,
        "ready" => ChangeKind::ServerJoined,
        _ => return None,
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    /// The state at start.
    #[must_use]
    pub(crate) fn new(
        config: Config,
        plan: Arc<Plan>,
        board: Board,
        (shared, issuing): (Arc<Shared>, Arc<Issuing>),
        (asks, news): (mpsc::Sender<Ask>, mpsc::UnboundedSender<News>),
    ) -> Arc<Self> {
        Arc::new(Self {
            plan: Mutex::new(plan),
            config: Mutex::new(Arc::new(config)),
            board: Mutex::new(board),
            receipts: Mutex::default(),
            names: Mutex::default(),
            stories: Mutex::default(),
            incidents: Mutex::default(),
            incident_news: Notify::new(),
            verdicts: Verdicts::default(),
            runtime: Runtime::default(),
            issuing,
            shared,
            asks,
            names_changed: Notify::new(),
            last_look: AtomicBool::new(false),
            looked: Notify::new(),
            news,
            started: clock::now(),
            ready: AtomicBool::new(false),
            reloads: AtomicU64::new(0),
            reloads_refused: AtomicU64::new(0),
            log_failures: AtomicU64::new(0),
        })
    }

    /// The Plan in force.
    #[must_use]
    pub fn plan(&self) -> Arc<Plan> {
        Arc::clone(&lock(&self.plan))
    }

    /// The configuration in force.
    #[must_use]
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&lock(&self.config))
    }

    /// Puts a Plan in force for control's own readers.
    pub fn set_plan(&self, plan: Arc<Plan>) {
        *lock(&self.plan) = plan;
    }

    /// Puts a configuration in force for control's own readers.
    pub fn set_config(&self, config: Config) {
        *lock(&self.config) = Arc::new(config);
    }

    /// The board, for as long as the guard lives.
    pub fn board(&self) -> MutexGuard<'_, Board> {
        lock(&self.board)
    }

    /// The receipts, for as long as the guard lives.
    pub fn receipts(&self) -> MutexGuard<'_, Receipts> {
        lock(&self.receipts)
    }

    /// The stories of the servers, for as long as the guard lives.
    pub fn stories(&self) -> MutexGuard<'_, Stories> {
        lock(&self.stories)
    }

    /// The incidents, for as long as the guard lives.
    pub(crate) fn incidents(&self) -> MutexGuard<'_, Incidents> {
        lock(&self.incidents)
    }

    /// Remembers that something changed; `backend` is `None` when it concerns all.
    pub(crate) fn note_change(&self, backend: Option<Name>, kind: ChangeKind, words: String) {
        let at_us = i64::try_from(clock::wall()).unwrap_or(i64::MAX);
        let change = evidence::Change { at_us, kind, words };
        self.incidents().change(backend, change);
    }

    /// What is known about names, for as long as the guard lives.
    pub fn names(&self) -> MutexGuard<'_, Names> {
        lock(&self.names)
    }

    /// Why names of a backend's servers do not resolve, in words; empty while they do.
    #[must_use]
    pub fn name_troubles(&self, backend: &BackendPlan) -> Vec<String> {
        let names = self.names();
        let questions = backend
            .config
            .servers
            .iter()
            .filter_map(|s| Question::of(&s.address));
        let troubles = questions.filter_map(|q| names.get(&q)?.trouble.as_ref());
        troubles.map(|(_, words)| words.clone()).collect()
    }

    /// Writes what happened to a server into its story and tells the operator.
    pub fn tell(&self, key: (Name, Name), to: &'static str, why: String) {
        let level = match to {
            "down" | "ejected" => LogLevel::Warn,
            _ => LogLevel::Info,
        };
        let name = self.shown_name(key);
        let words = if why.starts_with(to) {
            format!("server {name} is {why}")
        } else {
            format!("server {name} is {to}: {why}")
        };
        if let Some(kind) = change_of(to) {
            self.note_change(Some(key.0), kind, words.clone());
        }
        // A supervisor that is gone does not print any more.
        drop(self.news.send(News { level, words }));
        self.stories().tell(key, to, why);
        crate::haproxy::told::changed(self, key, to);
    }

    /// A server as operators are shown it: `BACKEND/NAME (ADDRESS)`, or without a name of its own
    /// `BACKEND/ADDRESS`.
    fn shown_name(&self, (backend, address): (Name, Name)) -> String {
        let plan = self.plan();
        let group = plan.backends.iter().find(|b| b.name == backend);
        let server = group.and_then(|b| b.servers.iter().find(|s| s.address == address));
        match server.filter(|s| s.name != address) {
            Some(server) => format!("{backend}/{} ({address})", server.name),
            None => format!("{backend}/{address}"),
        }
    }

    /// Tells the operator something.
    pub fn say(&self, level: LogLevel, words: String) {
        drop(self.news.send(News { level, words }));
    }

    /// Sets and clears flags of a server, and has follow what follows; whether anything changed.
    pub fn set_flags(&self, key: (Name, Name), set: u32, clear: u32) -> bool {
        let Some(before) = self.board().set_flags(key, set, clear) else {
            return false;
        };
        self.follow(key, before);
        true
    }

    /// Returns when the receipts of requests that have ended are filed, or after a second.
    pub(crate) async fn finish_receipts(&self) {
        self.last_look.store(true, Ordering::Release);
        self.shared.failed.notify_one();
        let limit = std::time::Duration::from_secs(1);
        // A reader that is gone has read all it could.
        drop(tokio::time::timeout(limit, self.looked.notified()).await);
    }

    /// Whether traffic is accepted.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }
}
