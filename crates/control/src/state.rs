//! What the parts of control share: the Plan in force, the board, receipts, stories of servers.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use clearway_base::clock::{self, Stamp};
use clearway_base::intern::Name;
use clearway_config::model::Config;
use clearway_proxy::board::Board;
use clearway_proxy::plan::Plan;
use clearway_proxy::worker::Shared;
use tokio::sync::{mpsc, oneshot};

use crate::receipts::Receipts;
use crate::story::Stories;

/// What somebody asks of the supervisor.
pub enum Ask {
    /// Read the configuration again.
    Reload(oneshot::Sender<Result<String, String>>),
    /// The addresses behind a name have changed: make a new Plan.
    NamesChanged,
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
    /// Drain and end.
    Shutdown,
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
    stories: Mutex<Stories>,
    /// Counters of the workers.
    pub shared: Arc<Shared>,
    /// Where requests to the supervisor go.
    pub asks: mpsc::Sender<Ask>,
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    /// The state at start.
    #[must_use]
    pub fn new(
        config: Config,
        plan: Arc<Plan>,
        board: Board,
        shared: Arc<Shared>,
        asks: mpsc::Sender<Ask>,
    ) -> Arc<Self> {
        Arc::new(Self {
            plan: Mutex::new(plan),
            config: Mutex::new(Arc::new(config)),
            board: Mutex::new(board),
            receipts: Mutex::default(),
            stories: Mutex::default(),
            shared,
            asks,
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

    /// Puts a new configuration and Plan in force for control's own readers.
    pub fn publish(&self, config: Option<Config>, plan: Arc<Plan>) {
        if let Some(config) = config {
            *lock(&self.config) = Arc::new(config);
        }
        *lock(&self.plan) = plan;
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

    /// Sets and clears flags of a server.
    pub fn set_flags(&self, key: (Name, Name), set: u32, clear: u32) -> bool {
        self.board().set_flags(key, set, clear)
    }

    /// Whether traffic is accepted.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }
}
