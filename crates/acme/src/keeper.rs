//! The one task that keeps certificates: looks what is due, runs orders beside itself, tells what came of
//! them.

mod ask;
mod entry;
mod event;
mod job;
mod load;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use clearway_base::hash::Map;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{Id, JoinError, JoinSet};

use crate::answers::Answers;
use crate::certificate::Certificate;
use crate::clock::Clock;
use crate::demand::{Bucket, Denial};
use crate::dns::Lookup;
use crate::failure::{Failure, FailureKind};
use crate::issue::Tools;
use crate::name::Name;
use crate::policy::ask_info_at;
use crate::record::{Info, Record};
use crate::settings::{Issuer, Settings, Terms};
use crate::status::{IssuerStatus, Status};
use crate::storage::Storage;

use ask::ration;
use entry::{Entry, Rests, Waiter};
pub use event::{Event, Issued, Receiver};
use job::{Outcome, Plan, record_key};

/// So many orders run at once: enough to get through a hundred certificates in minutes, few enough not
/// to look like an attack to an authority.
const RUNNING_MAX: usize = 4;

/// The wall clock may step, so the keeper looks at it this often even when nothing is due.
const LOOK: Duration = Duration::from_secs(30);

/// When to look again whether another process has finished.
const ELSEWHERE: u64 = 30;

/// So many requests to the keeper may wait for it.
const COMMANDS: usize = 256;

enum Command {
    Settings(Box<Settings>, oneshot::Sender<()>),
    Ask(Name, Waiter),
    Renew(String, oneshot::Sender<bool>),
}

/// Speaks to a running [`Keeper`]. Cheap to clone; the keeper ends when the last one is dropped.
#[derive(Clone)]
pub struct Handle {
    commands: mpsc::Sender<Command>,
    status: Arc<ArcSwap<Status>>,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handle")
    }
}

impl Handle {
    /// Puts other settings in force. Certificates wanted before and after are kept as they are; orders
    /// under way go on. Returns when the keeper has loaded what is stored for them, or has ended. Cancel
    /// safe: settings that were taken stay.
    pub async fn settings(&self, settings: Settings) {
        let (sender, done) = oneshot::channel();
        let command = Command::Settings(Box::new(settings), sender);
        if self.commands.send(command).await.is_ok() {
            // An error is a keeper that has ended.
            drop(done.await);
        }
    }

    /// Asks for a certificate for a server name and waits until the receiver has it. The caller sets a
    /// limit to the wait. Cancel safe: an order under way goes on.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn ask(&self, server_name: &str) -> Result<(), Denial> {
        let name = Name::parse(server_name).map_err(Denial::NotAName)?;
        let (sender, answer) = oneshot::channel();
        let sent = self.commands.send(Command::Ask(name, sender)).await;
        sent.map_err(|_| Denial::Ended)?;
        answer.await.unwrap_or(Err(Denial::Ended))
    }

    /// Renews a certificate now, once, for example after a theft of its key. Says whether there is one
    /// with this id.
    pub async fn renew(&self, id: &str) -> bool {
        let (sender, known) = oneshot::channel();
        let sent = self
            .commands
            .send(Command::Renew(id.to_owned(), sender))
            .await;
        sent.is_ok() && known.await.unwrap_or(false)
    }

    /// How things stand.
    #[must_use]
    pub fn status(&self) -> Arc<Status> {
        self.status.load_full()
    }
}

/// Keeps certificates; does nothing until [`Keeper::run`].
pub struct Keeper {
    settings: Settings,
    tools: Arc<Tools>,
    receiver: Arc<dyn Receiver>,
    commands: mpsc::Receiver<Command>,
    status: Arc<ArcSwap<Status>>,
    entries: BTreeMap<String, Entry>,
    rests: Rests,
    bucket: Bucket,
    jobs: JoinSet<Outcome>,
    /// Which certificate a job is for.
    job_ids: Map<Id, String>,
    troubles: Vec<String>,
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper")
            .field("certificates", &self.entries.len())
            .finish_non_exhaustive()
    }
}

impl Keeper {
    /// A keeper, and the handle to speak to it.
    #[must_use]
    pub fn new(
        settings: Settings,
        storage: Arc<dyn Storage>,
        answers: Arc<Answers>,
        receiver: Arc<dyn Receiver>,
        clock: Clock,
    ) -> (Handle, Self) {
        let (sender, commands) = mpsc::channel(COMMANDS);
        let status = Arc::new(ArcSwap::from_pointee(Status::default()));
        let handle = Handle {
            commands: sender,
            status: Arc::clone(&status),
        };
        let (burst, per_hour) = ration(&settings);
        let bucket = Bucket::new(burst, per_hour, clock.now());
        let tools = Tools {
            storage,
            answers,
            lookup: Lookup::new(&settings.resolver),
            own_addresses: settings.own_addresses.clone(),
            clock,
        };
        let keeper = Self {
            settings,
            tools: Arc::new(tools),
            receiver,
            commands,
            status,
            entries: BTreeMap::new(),
            rests: Rests::default(),
            bucket,
            jobs: JoinSet::new(),
            job_ids: Map::default(),
            troubles: Vec::new(),
        };
        (handle, keeper)
    }

    /// Works until the last handle is dropped. Must run on a tokio runtime with time and I/O. Dropping
    /// the future ends orders under way; records that a DNS provider has set may stay then.
    pub async fn run(mut self) {
        self.apply().await;
        loop {
            let now = self.tools.clock.now();
            self.start_due(now);
            self.publish(now);
            let wake = tokio::time::Instant::now() + self.until_next(now);
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(command) => self.obey(command).await,
                    None => return,
                },
                Some(done) = self.jobs.join_next_with_id(), if !self.jobs.is_empty() => {
                    self.finish(done).await;
                }
                () = tokio::time::sleep_until(wake) => {}
            }
        }
    }

    async fn obey(&mut self, command: Command) {
        match command {
            Command::Settings(settings, done) => {
                self.settings = *settings;
                self.apply().await;
                self.publish(self.tools.clock.now());
                // Who has gone away needs no answer.
                _ = done.send(());
            }
            Command::Ask(name, waiter) => self.asked(name, waiter).await,
            Command::Renew(id, known) => {
                let entry = self.entries.get_mut(&id);
                let is_known = entry.is_some();
                if let Some(entry) = entry {
                    entry.is_asked = true;
                    entry.record.tries.clear();
                    // Whoever asks may have mended what was wrong with an issuer.
                    for issuer in &entry.issuers {
                        self.rests.remove(&issuer.name);
                    }
                }
                _ = known.send(is_known);
            }
        }
    }

    /// How long nothing is due, at most [`LOOK`].
    fn until_next(&self, now: u64) -> Duration {
        let idle = self.entries.values().filter(|entry| !entry.running);
        let next = idle
            .flat_map(|entry| {
                let info = entry.info_due().map_or(u64::MAX, |(_, at)| at);
                [entry.due(now, &self.rests).0, info]
            })
            .min()
            .unwrap_or(u64::MAX);
        if next <= now && self.jobs.len() >= RUNNING_MAX {
            return LOOK;
        }
        Duration::from_secs(next.saturating_sub(now)).min(LOOK)
    }

    /// Starts what is due, what has waited longest first.
    fn start_due(&mut self, now: u64) {
        let mut due: Vec<(u64, String, bool)> = Vec::new();
        for entry in self.entries.values().filter(|entry| !entry.running) {
            let order = entry.due(now, &self.rests).0;
            let info = entry.info_due().map_or(u64::MAX, |(_, at)| at);
            if order <= now {
                due.push((order, entry.id.clone(), true));
            } else if info <= now {
                due.push((info, entry.id.clone(), false));
            }
        }
        due.sort_unstable();
        for (_, id, is_order) in due {
            if self.jobs.len() >= RUNNING_MAX {
                return;
            }
            self.start(&id, is_order, now);
        }
    }

    fn start(&mut self, id: &str, is_order: bool, now: u64) {
        let Some(entry) = self.entries.get_mut(id) else {
            return;
        };
        let tools = Arc::clone(&self.tools);
        let task = if is_order {
            let plan = Plan {
                id: entry.id.clone(),
                names: entry.wanted.names.clone(),
                terms: entry.wanted.terms.clone(),
                issuers: entry.candidates(now, &self.rests),
                current: entry.current.clone(),
                issued_by: entry.record.issuer.clone(),
            };
            self.jobs.spawn(job::obtain(plan, tools))
        } else {
            let facts = entry.current.as_ref().map(|found| &found.facts);
            let Some((issuer, _)) = entry.info_due() else {
                return;
            };
            let Some((info_id, serial)) =
                facts.and_then(|facts| Some((facts.identifier()?, facts.serial.clone())))
            else {
                return;
            };
            self.jobs
                .spawn(job::ask_info(info_id, serial, issuer, tools))
        };
        entry.running = true;
        self.job_ids.insert(task.id(), entry.id.clone());
    }

    async fn finish(&mut self, done: Result<(Id, Outcome), JoinError>) {
        let (task, outcome) = match done {
            Ok((task, outcome)) => (task, outcome),
            Err(error) => {
                let told = "the order ended in a panic, which is a bug of Clearway";
                let failure = Failure::new(FailureKind::Internal, told);
                (error.id(), Outcome::Failed(vec![failure]))
            }
        };
        let Some(id) = self.job_ids.remove(&task) else {
            return;
        };
        let now = self.tools.clock.now();
        // Settings may have dropped it meanwhile; what was stored stays stored.
        let Some(mut entry) = self.entries.remove(&id) else {
            return;
        };
        entry.running = false;
        self.settle(&mut entry, outcome, now).await;
        self.entries.insert(id, entry);
    }

    async fn settle(&mut self, entry: &mut Entry, outcome: Outcome, now: u64) {
        match outcome {
            Outcome::Obtained {
                certificate,
                issuer,
                failures,
                unstored,
            } => {
                self.note_failures(entry, &failures, now, false);
                self.rests.remove(&issuer);
                self.took(entry, *certificate, &issuer, now);
                self.remember(entry).await;
                if let Some(failure) = unstored {
                    let words = format!("{}: it is in use and not stored: {failure}", entry.id);
                    self.trouble(words);
                }
            }
            Outcome::Adopted {
                certificate,
                record,
            } => {
                entry.succeeded(*certificate, record.issuer.clone(), record.obtained);
                entry.record.info = record.info;
                self.hand_over(entry);
                self.loaded(entry);
                entry.answer(&Ok(()));
            }
            Outcome::Busy { owner, until } => {
                entry.elsewhere = Some((until.min(now + ELSEWHERE).max(now + 1), owner));
            }
            Outcome::Failed(failures) => {
                self.note_failures(entry, &failures, now, true);
                self.remember(entry).await;
                let words = entry.words().unwrap_or_default();
                let wait = entry.candidate_wait(now, &self.rests);
                entry.answer(&Err(Denial::Failed(words, wait)));
            }
            Outcome::Info { serial, answer } => self.note_info(entry, serial, answer, now).await,
        }
    }

    fn took(&self, entry: &mut Entry, certificate: Certificate, issuer: &str, now: u64) {
        let is_first = entry.current.is_none();
        let (id, not_after) = (entry.id.clone(), certificate.facts.validity.not_after);
        entry.succeeded(certificate, Some(issuer.to_owned()), now);
        self.hand_over(entry);
        let issuer = issuer.to_owned();
        self.receiver.event(if is_first {
            Event::Issued {
                id,
                issuer,
                not_after,
            }
        } else {
            Event::Renewed {
                id,
                issuer,
                not_after,
            }
        });
        entry.answer(&Ok(()));
    }

    fn note_failures(
        &mut self,
        entry: &mut Entry,
        failures: &[Failure],
        now: u64,
        tell_next: bool,
    ) {
        if failures.is_empty() {
            return;
        }
        entry.failed(failures, now, &mut self.rests);
        let (at, _) = entry.due(now, &self.rests);
        for failure in failures {
            self.receiver.event(Event::Failed {
                id: entry.id.clone(),
                code: failure.kind.code(),
                actor: failure.actor(),
                words: failure.to_string(),
                next: Some(at).filter(|at| tell_next && *at != u64::MAX),
            });
        }
    }

    async fn note_info(
        &self,
        entry: &mut Entry,
        serial: String,
        answer: Result<Option<crate::issue::Advice>, Failure>,
        now: u64,
    ) {
        let former = entry
            .record
            .info
            .take()
            .filter(|info| info.serial == serial);
        let day = Some(86_400);
        entry.record.info = Some(match answer {
            Ok(Some(advice)) => Info {
                serial,
                window: Some(advice.window),
                ask_at: ask_info_at(now, Some(advice.retry_after)),
                explanation: advice.explanation,
            },
            Ok(None) => Info {
                serial,
                window: None,
                ask_at: ask_info_at(now, day),
                explanation: None,
            },
            // What was known holds on; the lifetime decides where nothing was.
            Err(_) => Info {
                serial,
                window: former.as_ref().and_then(|info| info.window),
                ask_at: ask_info_at(now, None),
                explanation: former.and_then(|info| info.explanation),
            },
        });
        self.remember(entry).await;
    }

    /// Gives the certificate in use to the receiver.
    fn hand_over(&self, entry: &Entry) {
        let Some(current) = &entry.current else {
            return;
        };
        self.receiver.certificate(Issued {
            id: entry.id.clone(),
            names: entry.wanted.names.clone(),
            chain_pem: current.chain_pem.clone(),
            key_pem: current.key_pem.clone(),
            not_after: current.facts.validity.not_after,
            on_demand: entry.on_demand,
        });
    }

    fn loaded(&self, entry: &Entry) {
        if let Some(current) = &entry.current {
            self.receiver.event(Event::Loaded {
                id: entry.id.clone(),
                not_after: current.facts.validity.not_after,
            });
        }
    }

    async fn remember(&self, entry: &Entry) {
        let bytes = Record::to_file(&entry.record);
        if let Err(failure) = self.tools.store(&record_key(&entry.id), &bytes).await {
            let words = format!("{}: what happened is not remembered: {failure}", entry.id);
            self.receiver.event(Event::Trouble { words });
        }
    }

    fn trouble(&mut self, words: String) {
        self.receiver.event(Event::Trouble {
            words: words.clone(),
        });
        // Bounded, because damaged files may be many.
        if self.troubles.len() < 100 {
            self.troubles.push(words);
        }
    }

    fn publish(&self, now: u64) {
        let issuers = self.settings.issuers.iter().map(|issuer| {
            let rest = self.rests.get(&issuer.name);
            IssuerStatus {
                name: issuer.name.clone(),
                rests_until: rest.map_or(0, |rest| rest.until),
                last_failure: rest.map(|rest| rest.words.clone()),
            }
        });
        let certificates = self
            .entries
            .values()
            .map(|entry| entry.status(now, &self.rests));
        self.status.store(Arc::new(Status {
            certificates: certificates.collect(),
            issuers: issuers.collect(),
            troubles: self.troubles.clone(),
        }));
    }

    fn issuers_of(&self, terms: &Terms) -> Vec<Arc<Issuer>> {
        let is_meant = |issuer: &&Arc<Issuer>| {
            terms.issuers.is_empty() || terms.issuers.contains(&issuer.name)
        };
        self.settings
            .issuers
            .iter()
            .filter(is_meant)
            .cloned()
            .collect()
    }
}
