//! Active health checks: one task per checked server, budgeted, off the workers.

use std::sync::Arc;

use clearway_balance::health::Machine;
use clearway_base::clock;
use clearway_base::hash::Map;
use clearway_base::intern::Name;
use clearway_base::rng::Rng;
use clearway_net::probe;
use clearway_proxy::board::DOWN;
use clearway_proxy::plan::{CheckPlan, ServerPlan};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::haproxy::told::{self, Standing};
use crate::state::State;
use crate::story::LastProbe;
use crate::task;

/// Probes that may be under way at once, over all servers.
const AT_ONCE: usize = 256;

/// The checks that run now, by (backend, address).
pub(crate) struct Checks {
    running: Map<(Name, Name), Running>,
    budget: Arc<Semaphore>,
}

struct Running {
    /// What to check and how; the task looks at it before each check.
    check: watch::Sender<Subject>,
    task: JoinHandle<()>,
}

/// A server and how it is checked.
type Subject = (Arc<ServerPlan>, Arc<CheckPlan>);

impl Default for Checks {
    fn default() -> Self {
        Self {
            running: Map::default(),
            budget: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }
}

impl Checks {
    /// Starts checks for servers that have none, ends those of servers that are gone, and tells the
    /// others when their settings changed. They keep their verdict: after a reload, as before, it takes
    /// results in a row to change it.
    pub(crate) fn reconcile(&mut self, state: &Arc<State>) {
        let plan = state.plan();
        let mut wanted: Map<(Name, Name), Subject> = Map::default();
        for backend in &plan.backends {
            let Some(check) = &backend.check else {
                continue;
            };
            for server in backend.servers.iter().filter(|server| server.checked) {
                wanted.insert(
                    (backend.name, server.address),
                    (Arc::clone(server), Arc::clone(check)),
                );
            }
        }
        self.running.retain(|key, running| {
            let Some(subject) = wanted.get(key) else {
                running.task.abort();
                // Without a check nothing could ever bring the server up again.
                state.set_flags(*key, 0, DOWN);
                return false;
            };
            running.check.send_if_modified(|present| {
                let is_new = *present.1 != *subject.1 || !present.0.has_same_tls(&subject.0);
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
            let budget = Arc::clone(&self.budget);
            let (check, changes) = watch::channel(subject);
            let task = task::spawn(check_for_ever(Arc::clone(state), key, changes, budget));
            self.running.insert(key, Running { check, task });
        }
    }
}

/// Checks one server for ever.
async fn check_for_ever(
    state: Arc<State>,
    key: (Name, Name),
    mut changes: watch::Receiver<Subject>,
    budget: Arc<Semaphore>,
) {
    let mut rng = Rng::from_entropy();
    let (mut server, mut check) = changes.borrow_and_update().clone();
    let mut machine = Machine::new(check.policy);
    let mut next = Instant::now() + machine.first_delay(&mut rng);
    loop {
        tokio::select! {
            biased;
            Ok(()) = changes.changed() => {
                (server, check) = changes.borrow_and_update().clone();
                machine.set_policy(check.policy);
                // Spread like first checks: a reload changes the settings of many servers at once.
                next = next.min(Instant::now() + machine.first_delay(&mut rng));
                continue;
            }
            () = tokio::time::sleep_until(next) => {}
        }
        let Ok(permit) = budget.acquire().await else {
            return;
        };
        let target = check.target_of(&server);
        let report = probe::run(&check.probe, &target, check.tls_of(&server), check.timeout).await;
        drop(permit);
        let passed = report.attempt.fault.is_none();
        let result = if passed {
            Ok(report.words.clone())
        } else {
            Err(report.words.clone())
        };
        let standing = |machine: &Machine| Standing {
            is_up: machine.status().is_usable(),
            against: machine.against(),
        };
        let before = standing(&machine);
        let was_up = before.is_up;
        let transition = machine.observe(&result);
        let mut stories = state.stories();
        let story = stories.of(key);
        story.failed_checks += u64::from(!passed && was_up);
        let last = story.last_probe.replace(LastProbe {
            at: clock::wall(),
            passed,
            words: report.words,
            fault: report.attempt.fault.map(|fault| fault.kind),
            status: report.attempt.status,
            took_us: report.attempt.ended_us,
            against: machine.against(),
        });
        let probe = story.last_probe.clone();
        drop(stories);
        if let Some(probe) = &probe {
            let now = (standing(&machine), probe);
            told::checked(&state, key, &check, (before, last.as_ref()), now);
        }
        if let Some(transition) = transition {
            if machine.status().is_usable() {
                state.set_flags(key, 0, DOWN);
            } else {
                state.set_flags(key, DOWN, 0);
            }
            state.tell(key, transition.to.name(), transition.why);
        }
        next = Instant::now() + machine.next_delay(&mut rng);
    }
}
