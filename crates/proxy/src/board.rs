//! What control says about servers and what workers count about them: shared, lock-free, and kept
//! over reloads because it is keyed by names and addresses, not by places in a Plan.
//!
//! Every field has one writer. Control writes [`ServerCell`]; worker *n* writes shard *n* of each
//! entry; everybody may read. The only exceptions are [`ListenerEntry::open`], which all workers
//! count connections in, and the slots of servers that have a strict `maxconn`.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::cache::CacheEntry;
use clearway_balance::queue::{Queue, Slots};
use clearway_base::clock::Stamp;
use clearway_base::hash::{self, Map};
use clearway_base::intern::Name;
use clearway_config::model::CacheStore;
use clearway_net::tls::{ClientAuth, Sessions};
use clearway_outcome::FaultKind;

use clearway_rules::ast::Limits;
use clearway_rules::table::Tables;

use crate::issuance::Issuance;
use crate::stats::{BackendShard, ListenerShard, ServerShard};
use crate::status::Statistics;

/// Set when active health checks say the server is down.
pub const DOWN: u32 = 1;
/// Set when passive ejection has taken the server out.
pub const EJECTED: u32 = 2;
/// Set when the operator drains the server: sticky clients only.
pub const DRAIN: u32 = 4;
/// Set when the operator has taken the server out.
pub const MAINTENANCE: u32 = 8;
/// Set when the server is no longer in the configuration or the DNS answer.
pub const REMOVED: u32 = 16;
/// Set when the time that connections of a removed server had to end is over.
pub const CUT: u32 = 32;

/// Set when checks want the server drained: sticky clients only.
pub const STOPPING: u32 = 64;

/// Control's word about one server: one cache line, relaxed loads.
#[derive(Debug)]
#[repr(align(64))]
pub struct ServerCell {
    flags: AtomicU32,
    weight: AtomicU32,
    /// Occasions on which what was open then had to end.
    cuts: AtomicU32,
}

impl ServerCell {
    /// Which of [`DOWN`], [`EJECTED`], [`DRAIN`], [`STOPPING`], [`MAINTENANCE`], [`REMOVED`] and [`CUT`] hold.
    #[must_use]
    pub fn flags(&self) -> u32 {
        self.flags.load(Ordering::Relaxed)
    }

    /// Effective weight; 100 stands for a configured weight of 1.
    #[must_use]
    pub fn weight(&self) -> u32 {
        self.weight.load(Ordering::Relaxed)
    }

    /// Whether new requests may go to the server.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.flags() == 0
    }

    /// What tells tunnels that begin now from those that begin later.
    #[must_use]
    pub fn cuts(&self) -> u32 {
        self.cuts.load(Ordering::Relaxed)
    }

    /// Whether tunnels to the server must end now that began when it had so many [`ServerCell::cuts`].
    #[must_use]
    pub fn is_cut(&self, cuts: u32) -> bool {
        self.flags() & CUT != 0 || self.cuts() != cuts
    }

    /// Has the tunnels end that are open now; control's to call, which then tells the workers.
    pub fn cut(&self) {
        self.cuts.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether requests of clients that stick to the server may still go to it.
    #[must_use]
    pub fn takes_sticky(&self) -> bool {
        takes_slots(self.flags())
    }
}

/// The state of a server with these flags in one word: what matters most of what holds.
#[must_use]
pub fn state_name(flags: u32) -> &'static str {
    let names = [
        (REMOVED, "removed"),
        (MAINTENANCE, "maintenance"),
        (DOWN, "down"),
        (EJECTED, "ejected"),
        (DRAIN, "drain"),
        (STOPPING, "drain"),
    ];
    let found = names.into_iter().find(|(flag, _)| flags & flag != 0);
    found.map_or("up", |(_, name)| name)
}

/// Whether a server with these flags gets any requests at all: those of sticky clients while it is
/// drained.
fn takes_slots(flags: u32) -> bool {
    flags & !(DRAIN | STOPPING) == 0
}

/// One server of one backend.
pub struct ServerEntry {
    /// Control's word.
    pub cell: ServerCell,
    /// Slots, where a `maxconn` asks for them.
    pub slots: Arc<Slots>,
    /// Per worker.
    pub shards: Box<[ServerShard]>,
}

impl ServerEntry {
    /// Attempts in flight on it now.
    #[must_use]
    pub fn inflight(&self) -> u32 {
        self.shards.iter().map(|s| s.inflight.value()).sum()
    }

    /// Attempts begun on it so far.
    #[must_use]
    pub fn attempts(&self) -> u64 {
        self.shards.iter().map(|s| s.attempts.value()).sum()
    }

    /// Attempts on it that succeeded so far.
    #[must_use]
    pub fn successes(&self) -> u64 {
        self.shards.iter().map(|s| s.successes.value()).sum()
    }

    /// Attempts on it so far that ended in a fault which `counts`.
    pub fn faults(&self, counts: impl Fn(FaultKind) -> bool) -> u64 {
        let shards = self.shards.iter().filter(|s| s.faults.any());
        let kinds = || FaultKind::ALL.iter().filter(|kind| counts(**kind));
        shards
            .map(|s| kinds().map(|&kind| s.faults.value(kind)).sum::<u64>())
            .sum()
    }
}

/// One backend.
pub struct BackendEntry {
    /// Bumped by control after any change of one of its cells.
    generation: AtomicU64,
    /// The line of requests that wait for a slot.
    pub queue: Arc<Queue>,
    /// Turns of all workers, where the algorithm keeps one order over all of them.
    pub turns: AtomicU32,
    /// Per worker.
    pub shards: Box<[BackendShard]>,
}

impl BackendEntry {
    /// The number of changes so far: workers look again at the cells when it moves.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }
}

/// What sessions of a listener are resumed with, and for which demands on clients' certificates: a session
/// must not outlive what it was begun under, authorities and lists of revoked certificates included.
#[derive(Clone, Debug)]
pub struct KeptSessions {
    pub(crate) clients: Option<ClientAuth>,
    pub(crate) sessions: Sessions,
}

/// One listener.
#[derive(Debug)]
pub struct ListenerEntry {
    /// Connections open now, over all workers.
    pub open: AtomicU32,
    /// Set when the listener was removed and the time its connections had to end is over.
    cut: AtomicBool,
    /// Connections by source address; used only where the configuration limits them.
    sources: Mutex<Map<IpAddr, usize>>,
    sessions: Mutex<Option<KeptSessions>>,
    /// Per worker.
    pub shards: Box<[ListenerShard]>,
}

impl ListenerEntry {
    /// What sessions are resumed with under these demands on clients' certificates, with `early` data or
    /// without: what is in use, when that fits, or something new.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub(crate) fn sessions(
        &self,
        clients: Option<&ClientAuth>,
        early: bool,
    ) -> Result<KeptSessions, String> {
        let in_use = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |kept: &&KeptSessions| {
            kept.clients.as_ref() == clients && kept.sessions.take_early_data() == early
        };
        if let Some(kept) = in_use.as_ref().filter(fits) {
            return Ok(kept.clone());
        }
        Ok(KeptSessions {
            clients: clients.cloned(),
            sessions: match early {
                true => Sessions::single(),
                false => Sessions::tickets()?,
            },
        })
    }

    /// Has later Plans go on with these.
    pub(crate) fn keep_sessions(&self, kept: &KeptSessions) {
        let mut in_use = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        *in_use = Some(kept.clone());
    }

    /// Whether tunnels of the listener must end now.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Relaxed)
    }

    /// Says whether tunnels of the listener must end; control's to call.
    pub fn set_cut(&self, cut: bool) {
        self.cut.store(cut, Ordering::Relaxed);
    }

    /// Counts a connection from `source` in; returns how many it has now.
    pub fn enter(&self, source: IpAddr) -> usize {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let held = sources.entry(source).or_insert(0);
        *held += 1;
        *held
    }

    /// Counts a connection from `source` out.
    pub fn leave(&self, source: IpAddr) {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = sources.get_mut(&source) {
            *held -= 1;
            if *held == 0 {
                sources.remove(&source);
            }
        }
    }
}

/// The stable hash by which a server is placed on rings and found among waiters.
#[must_use]
pub fn server_key(address: Name) -> u64 {
    hash::stable(address.as_str().as_bytes())
}

/// The registry of everything shared, owned by control.
pub struct Board {
    workers: usize,
    servers: Map<(Name, Name), Arc<ServerEntry>>,
    backends: Map<Name, Arc<BackendEntry>>,
    listeners: Map<Name, Arc<ListenerEntry>>,
    caches: Map<Name, Arc<CacheEntry>>,
    issuance: Option<Arc<dyn Issuance>>,
    statistics: Option<Arc<dyn Statistics>>,
    tables: Tables,
    limits: Limits,
}

impl Board {
    /// An empty board for a number of workers.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self {
            workers,
            servers: Map::default(),
            backends: Map::default(),
            listeners: Map::default(),
            caches: Map::default(),
            issuance: None,
            statistics: None,
            tables: Tables::default(),
            limits: Limits::default(),
        }
    }

    /// The cache with a name, which is made when there is none.
    pub(crate) fn cache(&mut self, settings: &CacheStore) -> Arc<CacheEntry> {
        let name = Name::new(settings.name.as_str());
        let entry = self.caches.entry(name);
        Arc::clone(entry.or_insert_with(|| Arc::new(CacheEntry::new(name, settings))))
    }

    /// Forgets caches that a configuration no longer has.
    pub(crate) fn keep_caches(&mut self, config: &[CacheStore]) {
        self.caches.retain(|name, _| {
            let mut named = config.iter().map(|cache| cache.name.as_str());
            named.any(|known| known == name.as_str())
        });
    }

    /// Says who obtains certificates for the listeners of Plans that are compiled from now on.
    pub fn set_issuance(&mut self, issuance: Arc<dyn Issuance>) {
        self.issuance = Some(issuance);
    }

    /// Who obtains certificates; nobody where a configuration is only checked.
    pub(crate) fn issuance(&self) -> Option<Arc<dyn Issuance>> {
        self.issuance.clone()
    }

    /// Tables of counters and servers by key.
    #[must_use]
    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    /// What limits by key have counted.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Says who renders pages of statistics for Plans that are compiled from now on.
    pub fn set_statistics(&mut self, statistics: Arc<dyn Statistics>) {
        self.statistics = Some(statistics);
    }

    /// Who renders pages of statistics; nobody where a configuration is only checked.
    pub(crate) fn statistics(&self) -> Option<Arc<dyn Statistics>> {
        self.statistics.clone()
    }

    /// The entry of a server, made with `weight` and `flags` when it is new.
    pub fn server(&mut self, key: (Name, Name), weight: u32, flags: u32) -> Arc<ServerEntry> {
        let workers = self.workers;
        let queue = Arc::clone(&self.backend(key.0).queue);
        let entry = self.servers.entry(key).or_insert_with(|| {
            let slots = Slots::new(&queue, server_key(key.1), 0);
            slots.set_open(takes_slots(flags));
            Arc::new(ServerEntry {
                cell: ServerCell {
                    flags: AtomicU32::new(flags),
                    weight: AtomicU32::new(weight),
                    cuts: AtomicU32::new(0),
                },
                slots,
                shards: (0..workers).map(|_| ServerShard::default()).collect(),
            })
        });
        Arc::clone(entry)
    }

    /// The entry of a backend.
    pub fn backend(&mut self, name: Name) -> Arc<BackendEntry> {
        let workers = self.workers;
        let entry = self.backends.entry(name).or_insert_with(|| {
            Arc::new(BackendEntry {
                turns: AtomicU32::new(0),
                generation: AtomicU64::new(1),
                queue: Queue::new(usize::MAX),
                shards: (0..workers).map(|_| BackendShard::default()).collect(),
            })
        });
        Arc::clone(entry)
    }

    /// The entry of a listener.
    pub fn listener(&mut self, name: Name) -> Arc<ListenerEntry> {
        let workers = self.workers;
        let entry = self.listeners.entry(name).or_insert_with(|| {
            Arc::new(ListenerEntry {
                open: AtomicU32::new(0),
                cut: AtomicBool::new(false),
                sources: Mutex::default(),
                sessions: Mutex::default(),
                shards: (0..workers).map(|_| ListenerShard::default()).collect(),
            })
        });
        Arc::clone(entry)
    }

    /// Sets and clears flags of a server and tells the workers; what they were, if anything changed.
    pub fn set_flags(&self, key: (Name, Name), set: u32, clear: u32) -> Option<u32> {
        let entry = self.servers.get(&key)?;
        let old = entry.cell.flags();
        let new = (old | set) & !clear;
        if new == old {
            return None;
        }
        entry.cell.flags.store(new, Ordering::Relaxed);
        // Workers must never take a server with closed slots for a usable one: those whom it
        // refuses choose again at once.
        if takes_slots(new) {
            entry.slots.set_open(true);
            self.touch(key.0);
        } else {
            self.touch(key.0);
            entry.slots.set_open(false);
        }
        Some(old)
    }

    /// Sets a server's effective weight and tells the workers.
    pub fn set_weight(&self, key: (Name, Name), weight: u32) -> bool {
        let Some(entry) = self.servers.get(&key) else {
            return false;
        };
        if entry.cell.weight.swap(weight, Ordering::Relaxed) == weight {
            return false;
        }
        self.touch(key.0);
        true
    }

    fn touch(&self, backend: Name) {
        if let Some(entry) = self.backends.get(&backend) {
            entry.generation.fetch_add(1, Ordering::Release);
        }
    }

    /// Forgets servers that nothing but the board holds any more.
    pub fn sweep(&mut self) {
        self.servers.retain(|_, entry| Arc::strong_count(entry) > 1);
        self.backends
            .retain(|_, entry| Arc::strong_count(entry) > 1);
        self.listeners
            .retain(|_, entry| Arc::strong_count(entry) > 1);
    }
}

/// What a worker has learnt about how long a server keeps idle connections.
///
/// A server's time-out shows as closes after the same time of idleness. Restarts and deployments
/// close connections, too, after whatever time they have lain there.
#[derive(Clone, Copy, Debug, Default)]
pub struct IdleLesson {
    /// Shortest idle time among the closes that agree, in µs.
    closed_after_us: u64,
    /// How many closes in a row agree.
    closes: u32,
    /// When the last close was seen.
    at: Stamp,
}

/// How long a lesson is believed without another close: a server may be set up anew, and below the
/// learnt time it has no occasion to show it.
const LESSON_LASTS: Duration = Duration::from_secs(600);

impl IdleLesson {
    /// Learns from one close after `idle_us` of idleness.
    ///
    /// Closes within 100 ms are taken for restarts or limits on requests, not for time-outs.
    pub fn observe(&mut self, idle_us: u64, now: Stamp) {
        if idle_us < 100_000 {
            return;
        }
        let difference = idle_us.abs_diff(self.closed_after_us);
        let agrees = difference <= self.closed_after_us / 10 && !self.is_over(now);
        *self = Self {
            closed_after_us: if agrees {
                self.closed_after_us.min(idle_us)
            } else {
                idle_us
            },
            closes: if agrees {
                self.closes.saturating_add(1)
            } else {
                1
            },
            at: now,
        };
    }

    /// The server's own time-out, once two closes have agreed on it.
    #[must_use]
    pub fn learnt_us(&self, now: Stamp) -> Option<u64> {
        (self.closes >= 2 && !self.is_over(now)).then_some(self.closed_after_us)
    }

    /// How long a connection may lie idle: `configured`, or 90 % of the server's own time-out.
    #[must_use]
    pub fn limit_us(&self, configured: u64, now: Stamp) -> u64 {
        match self.learnt_us(now) {
            Some(learnt) => configured.min(learnt / 10 * 9),
            None => configured,
        }
    }

    fn is_over(&self, now: Stamp) -> bool {
        now.since(self.at) > LESSON_LASTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_kept_while_used_and_changes_move_the_generation() {
        let mut board = Board::new(2);
        let key = (Name::new("app"), Name::new("10.0.0.1:80"));
        let backend = board.backend(key.0);
        let server = board.server(key, 100, 0);
        assert!(server.cell.is_usable());
        let before = backend.generation();
        assert_eq!(board.set_flags(key, DOWN, 0), Some(0));
        assert_eq!(board.set_flags(key, DOWN, 0), None);
        assert!(backend.generation() > before && !server.cell.is_usable());
        assert!(board.set_flags(key, DRAIN, DOWN).is_some() && server.cell.takes_sticky());
        board.sweep();
        assert!(Arc::ptr_eq(&board.server(key, 1, 0), &server));
        drop(server);
        board.sweep();
        assert_eq!(board.server(key, 7, 0).cell.weight(), 7);
    }

    #[test]
    fn the_state_that_matters_most_has_the_name() {
        assert_eq!(state_name(0), "up");
        assert_eq!(state_name(DOWN | EJECTED), "down");
        assert_eq!(state_name(MAINTENANCE | DOWN), "maintenance");
        assert_eq!(state_name(DRAIN), "drain");
    }

    #[test]
    fn a_drained_server_gives_slots_however_it_came_to_be_drained() {
        let mut board = Board::new(1);
        let key = |n| (Name::new("app"), Name::new(n));
        let born = board.server(key("10.0.0.1:80"), 100, DRAIN);
        let made = board.server(key("10.0.0.2:80"), 100, 0);
        board.set_flags(key("10.0.0.2:80"), DRAIN, 0);
        assert!(born.slots.is_open() && made.slots.is_open());
        board.set_flags(key("10.0.0.1:80"), MAINTENANCE, 0);
        assert!(!born.slots.is_open());
        assert!(
            !board
                .server(key("10.0.0.3:80"), 1, DOWN | DRAIN)
                .slots
                .is_open()
        );
    }

    #[test]
    fn the_pool_stays_below_the_learnt_time_out() {
        let mut lesson = IdleLesson::default();
        let now = Stamp(1);
        lesson.observe(50_000, now);
        lesson.observe(5_010_000, now);
        assert_eq!(lesson.limit_us(60_000_000, now), 60_000_000);
        lesson.observe(5_005_000, now);
        assert_eq!(lesson.limit_us(60_000_000, now), 4_504_500);
        assert_eq!(lesson.limit_us(1_000_000, now), 1_000_000);
    }

    #[test]
    fn closes_that_do_not_agree_or_are_long_ago_teach_nothing() {
        let mut lesson = IdleLesson::default();
        let mut now = Stamp(1);
        // Two deployments, each after another time of idleness.
        for idle_us in [200_000, 3_000_000, 200_000, 2_600_000] {
            lesson.observe(idle_us, now);
            assert_eq!(lesson.learnt_us(now), None);
        }
        lesson.observe(2_500_000, now);
        assert_eq!(lesson.learnt_us(now), Some(2_500_000));
        now = now.plus(LESSON_LASTS + Duration::from_secs(1));
        assert_eq!(lesson.limit_us(60_000_000, now), 60_000_000);
        lesson.observe(2_500_000, now);
        assert_eq!(lesson.learnt_us(now), None);
    }
}
