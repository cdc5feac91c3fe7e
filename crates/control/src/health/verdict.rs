//! What those say of a server who look after it, put together into what workers see; and who can be told
//! to look otherwise.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use clearway_base::hash::Map;
use clearway_base::intern::Name;
use clearway_config::model::AfterErrors;
use clearway_proxy::board::{DOWN, DRAIN, EJECTED, MAINTENANCE, STOPPING};
use clearway_proxy::plan::{Plan, ServerPlan};
use tokio::sync::mpsc::UnboundedSender;

use crate::state::State;

/// A server's place on the board: the names of its backend and its address.
type Key = (Name, Name);

/// Who says something of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// Checks.
    Check,
    /// Its agent.
    Agent,
    /// The server that it tracks.
    Track,
}

/// What is said of a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Word {
    /// It may be used.
    #[default]
    Up,
    /// Only by clients that stick to it.
    Stopping,
    /// It may not.
    Down,
}

/// What somebody who looks after a server is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Not to ask any more.
    Pause,
    /// To ask again.
    Resume,
    /// To take this for the truth, and to go on from there.
    Force(Word),
    /// That real traffic has failed so many times in a row that this follows.
    Errors(AfterErrors),
}

/// What is known of all servers, by (backend, address).
#[derive(Debug, Default)]
pub(crate) struct Verdicts(Mutex<Map<Key, Verdict>>);

#[derive(Debug, Default)]
struct Verdict {
    words: [Word; 3],
    /// Percent of its weight that its agent wants.
    percent: Option<u32>,
    /// Where checks and agent take orders.
    orders: [Option<UnboundedSender<Order>>; 2],
}

impl Verdicts {
    fn lock(&self) -> MutexGuard<'_, Map<Key, Verdict>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says where orders go; none when nobody takes them any more.
    pub(super) fn listen(&self, key: Key, source: Source, to: Option<UnboundedSender<Order>>) {
        let mut known = self.lock();
        if let Some(place) = known
            .entry(key)
            .or_default()
            .orders
            .get_mut(source as usize)
        {
            *place = to;
        }
    }

    /// Gives an order; whether there is anybody who takes it.
    pub(crate) fn order(&self, key: Key, source: Source, order: Order) -> bool {
        let known = self.lock();
        let place = known.get(&key).and_then(|v| v.orders.get(source as usize));
        let to = place.and_then(Option::as_ref);
        to.is_some_and(|to| to.send(order).is_ok())
    }

    /// Takes over what percent of its weight a server is to have.
    pub(super) fn set_percent(&self, key: Key, percent: Option<u32>) {
        self.lock().entry(key).or_default().percent = percent;
    }

    /// A weight as the agent of the server wants it.
    pub(crate) fn weight(&self, key: Key, weight: u32) -> u32 {
        match self.lock().get(&key).and_then(|verdict| verdict.percent) {
            Some(percent) => {
                let scaled = u64::from(weight) * u64::from(percent) / 100;
                u32::try_from(scaled).unwrap_or(u32::MAX)
            }
            None => weight,
        }
    }

    /// Keeps a word; the flags that follow from all words.
    fn keep(&self, key: Key, source: Source, word: Word) -> u32 {
        let mut known = self.lock();
        let verdict = known.entry(key).or_default();
        if let Some(place) = verdict.words.get_mut(source as usize) {
            *place = word;
        }
        if verdict.words.contains(&Word::Down) {
            DOWN
        } else if verdict.words.contains(&Word::Stopping) {
            STOPPING
        } else {
            0
        }
    }
}

/// The server at a place.
fn find(plan: &Plan, (backend, address): Key) -> Option<&Arc<ServerPlan>> {
    let group = plan.backends.iter().find(|group| group.name == backend)?;
    group.servers.iter().find(|s| s.address == address)
}

impl State {
    /// Takes a word about a server in; whether it changes what workers see.
    pub(crate) fn judge(&self, key: Key, source: Source, word: Word) -> bool {
        let set = self.verdicts.keep(key, source, word);
        self.set_flags(key, set, (DOWN | STOPPING) & !set)
    }

    /// Does what follows from another state of a server, for others and for its connections.
    pub(crate) fn follow(&self, key: Key, before: u32) {
        let plan = self.plan();
        let Some(server) = find(&plan, key) else {
            return;
        };
        let gone = DOWN | EJECTED | MAINTENANCE;
        let flags = server.entry.cell.flags();
        let (went_down, came_up) = (
            before & gone == 0 && flags & gone != 0,
            before & gone != 0 && flags & gone == 0,
        );
        let mut cuts = false;
        if went_down && server.watch.cuts_when_down {
            server.entry.cell.cut();
            cuts = true;
        }
        if came_up && server.watch.cuts_backups_when_up && server.tier < 128 {
            let groups = plan.backends.iter().filter(|group| group.name == key.0);
            for backup in groups.flat_map(|g| &g.servers).filter(|s| s.tier >= 128) {
                backup.entry.cell.cut();
                cuts = true;
            }
        }
        if cuts {
            self.shared.cuts.fetch_add(1, Ordering::Release);
        }
        self.tell_followers(&plan, server);
    }

    /// Ends what a server has open.
    pub(crate) fn cut_sessions(&self, server: &ServerPlan) {
        server.entry.cell.cut();
        self.shared.cuts.fetch_add(1, Ordering::Release);
    }

    /// Has servers that track this one be what it is.
    fn tell_followers(&self, plan: &Plan, server: &ServerPlan) {
        let whom = (server.backend, server.name);
        let all = plan.backends.iter().flat_map(|group| &group.servers);
        for follower in all.filter(|other| other.watch.track == Some(whom)) {
            let flags = server.entry.cell.flags();
            let (word, to) = if flags & (DOWN | EJECTED | MAINTENANCE) != 0 {
                (Word::Down, "down")
            } else if flags & (DRAIN | STOPPING) != 0 {
                (Word::Stopping, "stopping")
            } else {
                (Word::Up, "up")
            };
            let key = (follower.backend, follower.address);
            if self.judge(key, Source::Track, word) {
                let why = format!("{to} like {}/{}, which it tracks", whom.0, whom.1);
                self.tell(key, to, why);
            }
        }
    }

    /// Has all that track another be what that is, as after a new Plan.
    pub(super) fn settle_followers(&self) {
        let plan = self.plan();
        let all = || plan.backends.iter().flat_map(|group| &group.servers);
        let tracked = |server: &ServerPlan| {
            let whom = Some((server.backend, server.name));
            all().any(|other| other.watch.track == whom)
        };
        if all().all(|server| server.watch.track.is_none()) {
            return;
        }
        for server in all().filter(|server| tracked(server)) {
            self.tell_followers(&plan, server);
        }
    }
}
