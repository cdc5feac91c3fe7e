//! Entries by key that all threads share: bounded in number, forgotten when nobody has used them for a
//! while, the longest unused given up where there is no room.
//!
//! Keys may be chosen by strangers: the hash is seeded. A key that is there is found without allocating,
//! behind the lock of one shard. Whoever holds an [`Arc`] of an entry keeps it in the store. What is in an
//! entry is its own business: the store never looks at it, so its methods take `&V` and values have their
//! own atomics or locks.
//!
//! Which entry is the longest unused is known per shard, and small stores have one shard only, so there it
//! is exact.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Stamp;
use crate::hash::Set;

/// Shards of a large store.
const SHARDS: usize = 16;

/// The least number of entries that is worth several shards.
const LARGE: usize = 4_096;

/// How many entries are looked at at most to make room for one: those in use, or used since they were
/// last looked at, stay.
const LOOKED_AT_MAX: usize = 64;

/// How large a [`Store`] becomes and how long it remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Most entries at any time.
    pub size: usize,
    /// How long an entry stays unused before it is forgotten; for ever when absent.
    pub idle: Option<Duration>,
    /// Whether the longest unused entry makes room for a new one. Else there is no new one in a full store.
    pub gives_up: bool,
}

/// An entry: its key, and what is kept under it.
#[derive(Debug)]
pub struct Entry<V> {
    key: Box<[u8]>,
    /// When it was last used, in microseconds.
    used: AtomicU64,
    /// Where it stands in the order of its shard, which alone changes it.
    place: (AtomicU64, AtomicU64),
    value: V,
}

impl<V> Entry<V> {
    fn place(&self) -> (u64, u64) {
        let (used, number) = &self.place;
        (used.load(Ordering::Relaxed), number.load(Ordering::Relaxed))
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// What is kept.
    #[must_use]
    pub fn value(&self) -> &V {
        &self.value
    }

    /// When it was last used.
    #[must_use]
    pub fn used(&self) -> Stamp {
        Stamp(self.used.load(Ordering::Relaxed))
    }

    /// Notes that it is used now.
    pub fn touch(&self, now: Stamp) {
        self.used.fetch_max(now.0, Ordering::Relaxed);
    }
}

/// How an entry stands in the index: found by its key.
#[derive(Debug)]
struct ByKey<V>(Arc<Entry<V>>);

impl<V> Borrow<[u8]> for ByKey<V> {
    fn borrow(&self) -> &[u8] {
        &self.0.key
    }
}

impl<V> Hash for ByKey<V> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.key.hash(state);
    }
}

impl<V> PartialEq for ByKey<V> {
    fn eq(&self, other: &Self) -> bool {
        self.0.key == other.0.key
    }
}

impl<V> Eq for ByKey<V> {}

/// A part of the entries.
#[derive(Debug)]
struct Shard<V> {
    index: Set<ByKey<V>>,
    /// By when they were used, as far as is known: an entry used later than it stands here is put in its
    /// place when it is looked at. The second number tells those of one moment apart.
    order: BTreeMap<(u64, u64), Arc<Entry<V>>>,
    next: u64,
}

impl<V> Default for Shard<V> {
    fn default() -> Self {
        Self {
            index: Set::default(),
            order: BTreeMap::new(),
            next: 0,
        }
    }
}

/// How often room is made for an entry, should other threads fill it each time.
const ROUNDS: usize = 4;

/// References of the shard itself to each of its entries.
const OWN: usize = 2;

impl<V> Shard<V> {
    fn insert(&mut self, entry: Arc<Entry<V>>) {
        self.place(Arc::clone(&entry));
        self.index.insert(ByKey(entry));
    }

    fn place(&mut self, entry: Arc<Entry<V>>) {
        let used = entry.used.load(Ordering::Relaxed);
        self.next += 1;
        entry.place.0.store(used, Ordering::Relaxed);
        entry.place.1.store(self.next, Ordering::Relaxed);
        self.order.insert((used, self.next), entry);
    }

    /// Takes out the longest unused entry for which `may_go`. One that somebody holds is in use now, and is
    /// looked at again when its turn comes.
    fn take_oldest(&mut self, now: Stamp, may_go: impl Fn(Stamp) -> bool) -> bool {
        for _ in 0..LOOKED_AT_MAX {
            let Some((place, entry)) = self.order.pop_first() else {
                return false;
            };
            if !may_go(Stamp(place.0)) {
                self.order.insert(place, entry);
                return false;
            }
            if entry.used.load(Ordering::Relaxed) > place.0 {
                self.place(entry);
            } else if Arc::strong_count(&entry) > OWN {
                entry.touch(now);
                self.place(entry);
            } else {
                self.index.remove(&*entry.key);
                return true;
            }
        }
        false
    }

    /// Takes out an entry by its key.
    fn take(&mut self, key: &[u8]) -> Option<Arc<Entry<V>>> {
        let ByKey(entry) = self.index.take(key)?;
        self.order.remove(&entry.place());
        Some(entry)
    }
}

/// Entries by key. See the module.
#[derive(Debug)]
pub struct Store<V> {
    bounds: Bounds,
    shards: Box<[Mutex<Shard<V>>]>,
    hasher: RandomState,
    len: AtomicUsize,
}

impl<V> Store<V> {
    /// An empty store. No memory is taken before there are entries.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        let shards = if bounds.size < LARGE { 1 } else { SHARDS };
        Self {
            bounds,
            shards: (0..shards).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            len: AtomicUsize::new(0),
        }
    }

    /// Its bounds.
    #[must_use]
    pub fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// How many entries there are, those that are to be forgotten and were not yet included: see
    /// [`Store::sweep`].
    #[must_use]
    pub fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// Whether there are no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The entry of a key, if there is one. It does not count as used.
    pub fn get(&self, key: &[u8], now: Stamp) -> Option<Arc<Entry<V>>> {
        let shard = self.shard(key);
        let ByKey(entry) = shard.index.get(key)?;
        (!self.is_over(entry, now)).then(|| Arc::clone(entry))
    }

    /// The entry of a key, made when there is none, and used now. None where the store is full and no
    /// entry may be given up.
    pub fn enter(&self, key: &[u8], now: Stamp, make: impl FnOnce() -> V) -> Option<Arc<Entry<V>>> {
        let at = self.place_of(key);
        let mut shard = self.lock(at);
        if let Some(ByKey(entry)) = shard.index.get(key) {
            if !self.is_over(entry, now) {
                entry.touch(now);
                return Some(Arc::clone(entry));
            }
            if shard.take(key).is_some() {
                self.len.fetch_sub(1, Ordering::Relaxed);
            }
        }
        // What is to be forgotten goes when something comes: two for one, so that all goes in time.
        for _ in 0..2 {
            self.forget(&mut shard, now);
        }
        let mut counted = self.count_in();
        for _ in 0..ROUNDS {
            if counted {
                break;
            }
            let may_go = |used: Stamp| self.bounds.gives_up || self.is_since(used, now);
            let mut has_gone = shard.take_oldest(now, may_go);
            if !has_gone {
                // Each shard has its own order: another one gives something up.
                drop(shard);
                has_gone = self.take_elsewhere(at, now, may_go);
                shard = self.lock(at);
                // Another thread may have made it in between.
                if let Some(ByKey(entry)) = shard.index.get(key) {
                    entry.touch(now);
                    return Some(Arc::clone(entry));
                }
            }
            if !has_gone && self.bounds.gives_up {
                // Those that were looked at are held: there may be others.
                continue;
            }
            if !has_gone {
                return None;
            }
            self.len.fetch_sub(1, Ordering::Relaxed);
            counted = self.count_in();
        }
        if !counted {
            return None;
        }
        let entry = Arc::new(Entry {
            key: key.into(),
            used: AtomicU64::new(now.0),
            place: (AtomicU64::new(0), AtomicU64::new(0)),
            value: make(),
        });
        shard.insert(Arc::clone(&entry));
        Some(entry)
    }

    /// Takes out the entry of a key, whoever holds it. Whether there was one.
    pub fn remove(&self, key: &[u8]) -> bool {
        let taken = self.shard(key).take(key).is_some();
        if taken {
            self.len.fetch_sub(1, Ordering::Relaxed);
        }
        taken
    }

    /// Takes out the entries for which `goes`.
    pub fn remove_where(&self, goes: impl Fn(&Entry<V>) -> bool) {
        for shard in &self.shards {
            let mut shard = lock(shard);
            let before = shard.index.len();
            shard.index.retain(|ByKey(entry)| !goes(entry));
            shard.order.retain(|_, entry| !goes(entry));
            let gone = before - shard.index.len();
            self.len.fetch_sub(gone, Ordering::Relaxed);
        }
    }

    /// Forgets what nobody has used for long enough.
    pub fn sweep(&self, now: Stamp) {
        for shard in &self.shards {
            let mut shard = lock(shard);
            // What somebody holds is put last, what was used since in its place: each is looked at twice at
            // most.
            let mut left = shard.order.len().saturating_mul(2);
            let is_due = |shard: &Shard<V>| {
                let first = shard.order.first_key_value();
                first.is_some_and(|((used, _), _)| self.is_since(Stamp(*used), now))
            };
            while left > 0 && is_due(&shard) {
                let went = self.forget(&mut shard, now);
                left = left.saturating_sub(if went { 1 } else { LOOKED_AT_MAX });
            }
        }
    }

    /// All entries that are not to be forgotten, in the order of their keys.
    #[must_use]
    pub fn entries(&self, now: Stamp) -> Vec<Arc<Entry<V>>> {
        let mut all = Vec::new();
        for shard in &self.shards {
            let shard = lock(shard);
            let entries = shard.index.iter().map(|ByKey(entry)| entry);
            all.extend(entries.filter(|entry| !self.is_over(entry, now)).cloned());
        }
        all.sort_by(|a, b| a.key.cmp(&b.key));
        all
    }

    /// How long an entry stays when nobody uses it from now on; none when for ever.
    #[must_use]
    pub fn left(&self, entry: &Entry<V>, now: Stamp) -> Option<Duration> {
        let idle = self.bounds.idle?;
        Some(idle.saturating_sub(now.since(entry.used())))
    }

    fn forget(&self, shard: &mut Shard<V>, now: Stamp) -> bool {
        let taken = shard.take_oldest(now, |used| self.is_since(used, now));
        if taken {
            self.len.fetch_sub(1, Ordering::Relaxed);
        }
        taken
    }

    /// Takes an entry out of another shard than this one.
    fn take_elsewhere(&self, not: usize, now: Stamp, may_go: impl Fn(Stamp) -> bool) -> bool {
        let others = (1..self.shards.len()).map(|step| (not + step) % self.shards.len());
        let mut others = others.map(|at| self.lock(at).take_oldest(now, &may_go));
        others.any(|taken| taken)
    }

    /// Counts an entry that is to come, if there is room for it.
    fn count_in(&self) -> bool {
        let one_more = |len: usize| (len < self.bounds.size).then_some(len + 1);
        self.len
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
            .is_ok()
    }

    /// Whether an entry used last at `used` is to be forgotten.
    fn is_since(&self, used: Stamp, now: Stamp) -> bool {
        let idle = self.bounds.idle;
        idle.is_some_and(|idle| now.since(used) >= idle)
    }

    /// Whether an entry is to be forgotten. What somebody holds is not.
    fn is_over(&self, entry: &Arc<Entry<V>>, now: Stamp) -> bool {
        self.is_since(entry.used(), now) && Arc::strong_count(entry) <= OWN
    }

    fn place_of(&self, key: &[u8]) -> usize {
        if self.shards.len() == 1 {
            return 0;
        }
        let hash = self.hasher.hash_one(key);
        usize::try_from(hash >> 32).unwrap_or_default() % self.shards.len()
    }

    fn lock(&self, at: usize) -> MutexGuard<'_, Shard<V>> {
        lock(&self.shards[at])
    }

    fn shard(&self, key: &[u8]) -> MutexGuard<'_, Shard<V>> {
        self.lock(self.place_of(key))
    }
}

/// A panic elsewhere leaves a shard as it was between two steps, which is sound.
fn lock<V>(shard: &Mutex<Shard<V>>) -> MutexGuard<'_, Shard<V>> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn store(size: usize, idle: u64, gives_up: bool) -> Store<AtomicU64> {
        Store::new(Bounds {
            size,
            idle: (idle > 0).then(|| Duration::from_micros(idle)),
            gives_up,
        })
    }

    #[derive(Clone, Debug)]
    enum Op {
        Enter(u8),
        Get(u8),
        Remove(u8),
        Wait(u64),
        Sweep,
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            4 => (0..12_u8).prop_map(Op::Enter),
            2 => (0..12_u8).prop_map(Op::Get),
            1 => (0..12_u8).prop_map(Op::Remove),
            2 => (0..60_u64).prop_map(Op::Wait),
            1 => Just(Op::Sweep),
        ]
    }

    proptest! {
        /// Against a list that is searched and sorted each time.
        #[test]
        fn it_does_what_a_plain_list_does(
            ops in proptest::collection::vec(op(), 0..60),
            size in 1..8_usize,
            idle in prop_oneof![Just(0_u64), 1..100_u64],
            gives_up: bool,
        ) {
            let store = store(size, idle, gives_up);
            let mut model: Vec<(u8, u64)> = Vec::new();
            let mut now = 0_u64;
            for op in ops {
                now += 1;
                model.retain(|(_, used)| idle == 0 || now - used < idle);
                match op {
                    Op::Wait(time) => now += time,
                    Op::Sweep => {
                        store.sweep(Stamp(now));
                        prop_assert_eq!(store.len(), model.len());
                    }
                    Op::Get(key) => {
                        let known = model.iter().any(|(k, _)| *k == key);
                        prop_assert_eq!(store.get(&[key], Stamp(now)).is_some(), known);
                    }
                    Op::Remove(key) => {
                        let known = model.iter().any(|(k, _)| *k == key);
                        model.retain(|(k, _)| *k != key);
                        let was = store.remove(&[key]);
                        // What is to be forgotten may still have been there.
                        prop_assert!(was || !known);
                    }
                    Op::Enter(key) => {
                        let known = model.iter().any(|(k, _)| *k == key);
                        let entered = store.enter(&[key], Stamp(now), || AtomicU64::new(0));
                        if !known && model.len() == size && !gives_up {
                            prop_assert!(entered.is_none());
                            continue;
                        }
                        prop_assert!(entered.is_some());
                        model.retain(|(k, _)| *k != key);
                        if model.len() == size {
                            let oldest = model.iter().map(|(_, used)| *used).min();
                            model.retain(|(_, used)| Some(*used) != oldest);
                        }
                        model.push((key, now));
                    }
                }
                prop_assert!(store.len() <= size);
                let keys: Vec<u8> = store
                    .entries(Stamp(now))
                    .iter()
                    .filter_map(|entry| entry.key().first().copied())
                    .collect();
                let mut wanted: Vec<u8> = model
                    .iter()
                    .filter(|(_, used)| idle == 0 || now - used < idle)
                    .map(|(key, _)| *key)
                    .collect();
                wanted.sort_unstable();
                prop_assert_eq!(keys, wanted);
            }
        }
    }

    #[test]
    fn what_is_held_does_not_keep_others_from_going() {
        let make = || AtomicU64::new(0);
        let enter = |store: &Store<_>, key: usize, now| store.enter(&key.to_be_bytes(), now, make);
        for gives_up in [true, false] {
            let store = store(120, 10, gives_up);
            let held: Vec<_> = (0..100).map(|key| enter(&store, key, Stamp(0))).collect();
            (100..120).for_each(|key| drop(enter(&store, key, Stamp(0))));
            store.sweep(Stamp(100));
            assert_eq!(store.len(), 100);
            (200..220).for_each(|key| drop(enter(&store, key, Stamp(100))));
            assert!(enter(&store, 300, Stamp(105)).is_some() == gives_up);
            assert!(enter(&store, 301, Stamp(150)).is_some());
            drop(held);
            store.sweep(Stamp(1_000));
            assert_eq!(store.len(), 0);
        }
    }

    #[test]
    fn what_is_held_stays() {
        let store = store(2, 10, true);
        let make = || AtomicU64::new(0);
        let held = store.enter(b"a", Stamp(0), make).unwrap();
        assert!(store.enter(b"b", Stamp(1), make).is_some());
        assert!(store.enter(b"c", Stamp(2), make).is_some());
        assert!(store.get(b"a", Stamp(100)).is_some());
        assert!(store.get(b"b", Stamp(2)).is_none());
        held.touch(Stamp(100));
        drop(held);
        assert!(store.get(b"a", Stamp(109)).is_some());
        assert!(store.get(b"a", Stamp(110)).is_none());
        store.sweep(Stamp(110));
        assert!(store.is_empty());
    }

    #[test]
    fn a_full_one_that_gives_nothing_up_takes_nothing() {
        let store = store(1, 0, false);
        let make = || AtomicU64::new(0);
        assert!(store.enter(b"a", Stamp(0), make).is_some());
        assert!(store.enter(b"b", Stamp(1), make).is_none());
        assert!(store.remove(b"a"));
        assert!(store.enter(b"b", Stamp(1), make).is_some());
        store.remove_where(|entry| entry.key() == b"b");
        assert_eq!(store.len(), 0);
    }

    #[test]
    fn many_threads_never_exceed_the_bound() {
        let store = store(LARGE, 0, true);
        std::thread::scope(|scope| {
            for thread in 0..4_u32 {
                let store = &store;
                scope.spawn(move || {
                    for at in 0..4_000_u32 {
                        let key = (thread * 2_000 + at).to_le_bytes();
                        let entry = store.enter(&key, Stamp(u64::from(at)), || AtomicU64::new(0));
                        if let Some(entry) = entry {
                            entry.value().fetch_add(1, Ordering::Relaxed);
                        }
                        assert!(store.len() <= LARGE);
                    }
                });
            }
        });
        let sum: usize = store.entries(Stamp(5_000)).len();
        assert_eq!(sum, store.len());
    }
}
