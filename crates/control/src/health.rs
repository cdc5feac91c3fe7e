//! Active health checks: one task per checked server, budgeted, off the workers.

mod agent;
pub(crate) mod verdict;

use std::sync::Arc;

use clearway_balance::health::{Machine, Status, Transition};
use clearway_base::clock;
use clearway_base::hash::Map;
use clearway_base::intern::Name;
use clearway_base::rng::Rng;
use clearway_config::model::AfterErrors;
use clearway_net::probe::{self, ProbeReport};
use clearway_proxy::plan::{CheckPlan, ServerPlan};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::haproxy::told::{self, Standing};
use crate::state::State;
use crate::story::LastProbe;
use crate::task;
use verdict::{Order, Source, Word};

/// Probes that may be under way at once, over all servers.
const AT_ONCE: usize = 256;

/// A server's place on the board: the names of its backend and its address.
type Key = (Name, Name);

/// A server and how it is checked.
type Subject = (Arc<ServerPlan>, Arc<CheckPlan>);

/// The checks and agents that are asked now.
pub(crate) struct Checks {
    checks: Tasks<Subject>,
    agents: Tasks<Arc<ServerPlan>>,
    budget: Arc<Semaphore>,
}

/// Tasks that look after servers, by (backend, address).
struct Tasks<S> {
    running: Map<Key, Running<S>>,
    source: Source,
}

struct Running<S> {
    /// Whom to look after and how; the task looks at it before each time.
    subject: watch::Sender<S>,
    task: JoinHandle<()>,
}

impl Default for Checks {
    fn default() -> Self {
        Self {
            checks: Tasks::new(Source::Check),
            agents: Tasks::new(Source::Agent),
            budget: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }
}

impl<S: Clone> Tasks<S> {
    fn new(source: Source) -> Self {
        Self {
            running: Map::default(),
            source,
        }
    }

    /// Starts tasks for servers that have none, ends those of servers that are gone, and tells the
    /// others when their settings changed.
    fn reconcile(
        &mut self,
        state: &Arc<State>,
        wanted: Map<Key, S>,
        is_same: impl Fn(&S, &S) -> bool,
        start: impl Fn(Key, watch::Receiver<S>, UnboundedReceiver<Order>) -> JoinHandle<()>,
    ) {
        let source = self.source;
        self.running.retain(|key, running| {
            let Some(subject) = wanted.get(key) else {
                running.task.abort();
                state.verdicts.listen(*key, source, None);
                // With nobody to ask nothing could ever bring the server up again.
                state.judge(*key, source, Word::Up);
                return false;
            };
            running.subject.send_if_modified(|present| {
                let is_new = !is_same(present, subject);
                if is_new {
                    present.clone_from(subject);
                }
                is_new
            });
            true
        });
        let mut missing: Vec<_> = wanted
            .into_iter()
            .filter(|(key, _)| !self.running.contains_key(key))
            .collect();
        missing.sort_by_key(|(key, _)| *key);
        for (key, subject) in missing {
            let (subject, changes) = watch::channel(subject);
            let (to, orders) = unbounded_channel();
            state.verdicts.listen(key, source, Some(to));
            let task = start(key, changes, orders);
            self.running.insert(key, Running { subject, task });
        }
    }
}

impl Checks {
    /// Has all servers of the Plan in force looked after as it says. Checks keep their verdict: after a
    /// reload, as before, it takes results in a row to change it.
    pub(crate) fn reconcile(&mut self, state: &Arc<State>) {
        let plan = state.plan();
        let mut wanted: Map<Key, Subject> = Map::default();
        for backend in &plan.backends {
            let Some(check) = &backend.check else {
                continue;
            };
            let checked =
                |server: &&Arc<ServerPlan>| server.checked && server.watch.track.is_none();
            for server in backend.servers.iter().filter(checked) {
                wanted.insert(
                    (backend.name, server.address),
                    (Arc::clone(server), Arc::clone(check)),
                );
            }
        }
        let budget = &self.budget;
        let is_same = |a: &Subject, b: &Subject| {
            *a.1 == *b.1 && a.0.has_same_tls(&b.0) && a.0.watch == b.0.watch
        };
        self.checks
            .reconcile(state, wanted, is_same, |key, changes, orders| {
                let to = (Arc::clone(state), Arc::clone(budget));
                task::spawn(check_for_ever(to, key, changes, orders))
            });
        let is_same = |a: &Arc<ServerPlan>, b: &Arc<ServerPlan>| {
            a.watch == b.watch && a.maxconn == b.maxconn && a.source == b.source
        };
        self.agents.reconcile(
            state,
            agent::wanted(state),
            is_same,
            |key, changes, orders| {
                let state = Arc::clone(state);
                let asking = agent::ask_for_ever(state, key, changes, orders, Arc::clone(budget));
                task::spawn(asking)
            },
        );
        state.settle_followers();
    }
}

/// One server that is checked, and what its checks have said so far.
struct Checked {
    state: Arc<State>,
    key: Key,
    check: Arc<CheckPlan>,
    machine: Machine,
    /// Whether the last answer was one that drains.
    drains: bool,
}

/// Checks one server for ever.
async fn check_for_ever(
    (state, budget): (Arc<State>, Arc<Semaphore>),
    key: Key,
    mut changes: watch::Receiver<Subject>,
    mut orders: UnboundedReceiver<Order>,
) {
    let mut rng = Rng::from_entropy();
    let (mut server, check) = changes.borrow_and_update().clone();
    let mut checked = Checked {
        machine: Machine::new(check.policy),
        state,
        key,
        check,
        drains: false,
    };
    let (mut next, mut paused) = (Instant::now(), false);
    next += checked.machine.first_delay(&mut rng);
    loop {
        tokio::select! {
            biased;
            Ok(()) = changes.changed() => {
                (server, checked.check) = changes.borrow_and_update().clone();
                checked.machine.set_policy(checked.check.policy);
                // Spread like first checks: a reload changes the settings of many servers at once.
                next = next.min(Instant::now() + checked.machine.first_delay(&mut rng));
                continue;
            }
            Some(order) = orders.recv() => {
                match order {
                    Order::Pause => paused = true,
                    Order::Resume => paused = false,
                    Order::Force(word) => checked.force(word),
                    Order::Errors(what) => {
                        checked.suffer(what);
                        next = next.min(Instant::now() + checked.check.policy.fast_interval);
                    }
                }
                continue;
            }
            () = tokio::time::sleep_until(next), if !paused => {}
            else => return,
        }
        let Ok(permit) = budget.acquire().await else {
            return;
        };
        let check = &checked.check;
        let target = check.target_of(&server);
        let report = probe::run(&check.probe, &target, check.tls_of(&server), check.timeout).await;
        drop(permit);
        checked.observe(&report);
        next = Instant::now() + checked.machine.next_delay(&mut rng);
    }
}

impl Checked {
    fn standing(&self) -> Standing {
        Standing {
            is_up: self.machine.status().is_usable(),
            against: self.machine.against(),
        }
    }

    /// Takes the result of a check in.
    fn observe(&mut self, report: &ProbeReport) {
        let before = self.standing();
        let statuses = self.check.drain_on.as_ref();
        let status = report.attempt.status;
        // One that is down has to be well to come up.
        let drains = before.is_up && statuses.is_some_and(|drain| drain.contains(status));
        let passed = drains || report.attempt.fault.is_none();
        let result = if passed {
            Ok(report.words.clone())
        } else {
            Err(report.words.clone())
        };
        let transition = self.machine.observe(&result);
        let mut stories = self.state.stories();
        let story = stories.of(self.key);
        story.failed_checks += u64::from(!passed && before.is_up);
        let last = story.last_probe.replace(LastProbe {
            at: clock::wall(),
            passed,
            words: report.words.clone(),
            fault: report.attempt.fault.map(|fault| fault.kind),
            status,
            took_us: report.attempt.ended_us,
            against: self.machine.against(),
        });
        let probe = story.last_probe.clone();
        drop(stories);
        if let Some(probe) = &probe {
            let now = (self.standing(), probe);
            let (state, check) = (&self.state, &self.check);
            told::checked(state, self.key, check, (before, last.as_ref()), now);
        }
        if !passed {
            // One failed check brings nobody back who is to be drained.
            return self.apply(transition);
        }
        let was_draining = std::mem::replace(&mut self.drains, drains);
        self.apply(transition);
        if was_draining != drains {
            let to = if drains { "stopping" } else { "up" };
            let why = format!("{to}: {}", report.words);
            self.state.tell(self.key, to, why);
        }
    }

    /// Takes somebody's word for it.
    fn force(&mut self, word: Word) {
        self.drains = word == Word::Stopping;
        let to = match word {
            Word::Up | Word::Stopping => Status::Up,
            Word::Down => Status::Down,
        };
        let why = format!("{} by the operator's word", to.name());
        let transition = self.machine.force(to, why);
        self.apply(transition);
    }

    /// Real traffic has failed so often that it counts like checks.
    fn suffer(&mut self, what: AfterErrors) {
        let limit = self.check.error_limit;
        let words = format!("{limit} errors of real traffic in a row");
        let transition = match what {
            AfterErrors::Fastinter => None,
            AfterErrors::FailCheck => self.machine.observe(&Err(words)),
            AfterErrors::SuddenDeath => {
                self.machine.weaken();
                None
            }
            AfterErrors::MarkDown => self
                .machine
                .force(Status::Down, format!("down after {words}")),
        };
        self.apply(transition);
    }

    /// Puts in force what the checks say now, and tells of a change of the verdict.
    fn apply(&mut self, transition: Option<Transition>) {
        let word = match (self.machine.status().is_usable(), self.drains) {
            (true, true) => Word::Stopping,
            (true, false) => Word::Up,
            (false, _) => Word::Down,
        };
        self.drains &= word == Word::Stopping;
        self.state.judge(self.key, Source::Check, word);
        if let Some(transition) = transition {
            self.state
                .tell(self.key, transition.to.name(), transition.why);
        }
    }
}
