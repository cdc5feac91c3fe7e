//! Where responses are kept: in memory, bounded in bytes, the longest unused given up first.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use clearway_base::hash::Map;

use crate::keep::Request;
use crate::kept::Kept;

/// Parts of a large store, each behind a lock of its own.
const SHARDS: usize = 8;

/// Stores of at least so many bytes have several parts.
const LARGE: u64 = 128 << 20;

/// Most variants of one key: who asks with ever other values gets no more of the memory.
const VARIANTS: usize = 16;

/// What a key alone takes of memory besides its bytes.
const KEY: u64 = 160;

/// How large a store becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of all that is kept.
    pub bytes: u64,
    /// Seconds after which something goes that nobody asked for; 0 = never.
    pub inactive: u64,
}

/// What is known of a key.
#[derive(Debug, Default)]
struct Node {
    variants: Vec<Arc<Kept>>,
    /// How often it was asked for.
    uses: u32,
    /// When it was last, and its place in the order.
    used: u64,
    place: u64,
    size: u64,
}

#[derive(Debug, Default)]
struct Shard {
    nodes: Map<Arc<[u8]>, Node>,
    /// By when they were asked for.
    order: BTreeMap<u64, Arc<[u8]>>,
    next: u64,
    bytes: u64,
}

/// What was found of a key.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The response for the request, fresh or not.
    pub kept: Option<Arc<Kept>>,
    /// How often the key was asked for, this time included.
    pub uses: u32,
}

/// Responses by key that all threads share.
#[derive(Debug)]
pub struct Store {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    bytes: AtomicU64,
    inactive: AtomicU64,
}

impl Store {
    /// An empty store.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        let count = if bounds.bytes >= LARGE { SHARDS } else { 1 };
        let store = Self {
            shards: (0..count).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            bytes: AtomicU64::new(0),
            inactive: AtomicU64::new(0),
        };
        store.set_bounds(bounds);
        store
    }

    /// Changes how large it becomes; it shrinks as something is put in.
    pub fn set_bounds(&self, bounds: Bounds) {
        self.bytes.store(bounds.bytes, Ordering::Relaxed);
        self.inactive.store(bounds.inactive, Ordering::Relaxed);
    }

    fn shard(&self, key: &[u8]) -> MutexGuard<'_, Shard> {
        let hash = self.hasher.hash_one(key);
        let at = usize::try_from(hash % self.shards.len() as u64).unwrap_or(0);
        lock(self.shards.get(at).unwrap_or(&self.shards[0]))
    }

    fn room(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed) / self.shards.len() as u64
    }

    /// Looks for what a request is answered with, and counts it.
    #[must_use]
    pub fn find(&self, key: &[u8], request: Request<'_>, now: u64) -> Seen {
        let room = self.room();
        let inactive = self.inactive.load(Ordering::Relaxed);
        let mut shard = self.shard(key);
        shard.expire(now, inactive);
        let shard = &mut *shard;
        if !shard.nodes.contains_key(key) {
            let key: Arc<[u8]> = key.into();
            let node = Node {
                size: key.len() as u64 + KEY,
                ..Node::default()
            };
            shard.bytes += node.size;
            shard.nodes.insert(key, node);
        }
        shard.touch(key, now);
        let Some(node) = shard.nodes.get_mut(key) else {
            return Seen::default();
        };
        node.uses = node.uses.saturating_add(1);
        // The newest that fits (RFC 9111 section 4.1).
        let mut newest = node.variants.iter().rev();
        let found = newest.find(|kept| kept.is_for(request));
        let seen = Seen {
            kept: found.cloned(),
            uses: node.uses,
        };
        shard.shrink(room);
        seen
    }

    /// Keeps the response to a request in place of what that was answered with before; whether there is
    /// room.
    pub fn insert(&self, key: &[u8], kept: Arc<Kept>, request: Request<'_>, now: u64) -> bool {
        let room = self.room();
        let size = kept.size();
        if size + key.len() as u64 + KEY > room {
            return false;
        }
        let mut shard = self.shard(key);
        let shard = &mut *shard;
        let key: Arc<[u8]> = key.into();
        let node = shard.nodes.entry(Arc::clone(&key)).or_insert_with(|| {
            let size = key.len() as u64 + KEY;
            shard.bytes += size;
            Node {
                size,
                ..Node::default()
            }
        });
        let before = node.size;
        let goes = |old: &Kept| old.is_for(request) || old.is_same_variant(&kept);
        node.variants.retain(|old| {
            let stays = !goes(old);
            if !stays {
                node.size -= old.size();
            }
            stays
        });
        // Room for the newest is made of the oldest.
        while node.variants.len() >= VARIANTS {
            node.size -= node.variants.remove(0).size();
        }
        node.variants.push(kept);
        node.size += size;
        shard.bytes = shard.bytes + node.size - before;
        shard.touch(&key, now);
        shard.shrink(room);
        true
    }

    /// Removes what is kept under keys that `is_meant` says; how many keys.
    pub fn purge(&self, mut is_meant: impl FnMut(&[u8]) -> bool) -> usize {
        let mut count = 0;
        for shard in &self.shards {
            let mut shard = lock(shard);
            let meant: Vec<Arc<[u8]>> = shard
                .nodes
                .iter()
                .filter(|(key, node)| !node.variants.is_empty() && is_meant(key))
                .map(|(key, _)| Arc::clone(key))
                .collect();
            count += meant.len();
            for key in meant {
                shard.remove(&key);
            }
        }
        count
    }

    /// Bytes in use, and keys with something kept.
    #[must_use]
    pub fn totals(&self) -> (u64, usize) {
        let mut totals = (0, 0);
        for shard in &self.shards {
            let shard = lock(shard);
            let kept = shard
                .nodes
                .values()
                .filter(|node| !node.variants.is_empty());
            totals = (totals.0 + shard.bytes, totals.1 + kept.count());
        }
        totals
    }

    /// Shows every response with its key, the keys in no order.
    pub fn each(&self, mut look: impl FnMut(&[u8], &Kept)) {
        for shard in &self.shards {
            let shard = lock(shard);
            for key in shard.order.values() {
                let node = shard.nodes.get(key);
                for kept in node.into_iter().flat_map(|node| &node.variants) {
                    look(key, kept);
                }
            }
        }
    }
}

impl Shard {
    /// Puts a key at the end of the order.
    fn touch(&mut self, key: &[u8], now: u64) {
        let Some((own, _)) = self.nodes.get_key_value(key) else {
            return;
        };
        let own = Arc::clone(own);
        self.next += 1;
        let place = self.next;
        if let Some(node) = self.nodes.get_mut(key) {
            self.order.remove(&node.place);
            (node.used, node.place) = (now, place);
            self.order.insert(place, own);
        }
    }

    fn remove(&mut self, key: &[u8]) {
        if let Some(node) = self.nodes.remove(key) {
            self.order.remove(&node.place);
            self.bytes -= node.size;
        }
    }

    /// Gives up the longest unused until it fits.
    fn shrink(&mut self, room: u64) {
        while self.bytes > room
            && let Some(key) = self.order.values().next().cloned()
        {
            self.remove(&key);
        }
    }

    /// Gives up what nobody asked for, a few at a time.
    fn expire(&mut self, now: u64, inactive: u64) {
        for _ in 0..4 {
            let Some(key) = self.order.values().next().cloned() else {
                return;
            };
            let used = self.nodes.get(&key).map_or(0, |node| node.used);
            if inactive == 0 || now.saturating_sub(used) <= inactive {
                return;
            }
            self.remove(&key);
        }
    }
}

/// Nothing that panics is done behind the lock.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::keep::Terms;
    use crate::kept::tests::{request, response};

    fn kept(ask: &str, answer: &str, len: usize) -> Arc<Kept> {
        let (request, response) = (request(ask), response(answer));
        Arc::new(Kept::new(
            (&request.0, &request.1),
            (&response.0, &response.1),
            vec![b'x'; len].into(),
            Terms::default(),
        ))
    }

    fn find(store: &Store, key: &str, ask: &str, now: u64) -> Seen {
        let request = request(ask);
        store.find(key.as_bytes(), (&request.0, &request.1), now)
    }

    fn bounds(bytes: u64) -> Bounds {
        Bounds {
            bytes,
            inactive: 10,
        }
    }

    /// Puts in a response of `len` bytes with these fields to a request with these.
    fn insert(store: &Store, key: &str, (ask, answer, len): (&str, &str, usize), now: u64) -> bool {
        let asked = request(ask);
        let kept = kept(ask, answer, len);
        store.insert(key.as_bytes(), kept, (&asked.0, &asked.1), now)
    }

    /// How long the body is that a request finds.
    fn len(store: &Store, key: &str, ask: &str) -> Option<usize> {
        find(store, key, ask, 1).kept.map(|kept| kept.body.len())
    }

    #[test]
    fn the_newest_that_fits_is_found_whatever_older_ones_depended_on() {
        let store = Store::new(bounds(100_000));
        // The server no longer varies, then varies again, by something else.
        for (answer, size) in [
            ("200|Vary: X-Lang", 1),
            ("200", 2),
            ("200|Vary: X-Lang", 3),
            ("200|Vary: X-Other", 4),
        ] {
            assert!(insert(&store, "a", ("X-Lang: de", answer, size), 0));
            assert_eq!(len(&store, "a", "X-Lang: de"), Some(size));
        }
        let shard = lock(&store.shards[0]);
        let node = shard.nodes.get(&b"a"[..]).unwrap();
        assert_eq!(node.variants.len(), 1);
    }

    #[test]
    fn a_variant_that_is_replaced_takes_no_room_from_others() {
        let store = Store::new(bounds(1_000_000));
        let lang = |at: usize| format!("X-Lang: l{at}");
        for at in 0..VARIANTS {
            assert!(insert(&store, "a", (&lang(at), "200|Vary: X-Lang", 1), 0));
        }
        assert!(insert(&store, "a", (&lang(3), "200|Vary: X-Lang", 2), 0));
        assert_eq!(len(&store, "a", &lang(0)), Some(1));
        assert_eq!(len(&store, "a", &lang(3)), Some(2));
        assert!(insert(
            &store,
            "a",
            ("X-Lang: new", "200|Vary: X-Lang", 1),
            0
        ));
        assert_eq!(len(&store, "a", &lang(0)), None);
    }

    #[test]
    fn what_was_kept_is_found_by_key_and_variant() {
        let store = Store::new(bounds(100_000));
        assert!(find(&store, "a", "", 0).kept.is_none());
        let de = kept("X-Lang: de", "200|Vary: X-Lang", 10);
        let en = kept("X-Lang: en", "200|Vary: X-Lang", 20);
        for (ask, size) in [("X-Lang: de", 10), ("X-Lang: en", 20)] {
            assert!(insert(&store, "a", (ask, "200|Vary: X-Lang", size), 0));
        }
        let found = find(&store, "a", "X-Lang: de", 1);
        assert_eq!((found.uses, found.kept), (2, Some(de)));
        assert_eq!(find(&store, "a", "X-Lang: en", 1).kept, Some(en));
        assert!(find(&store, "a", "X-Lang: fr", 1).kept.is_none());
        assert!(find(&store, "b", "X-Lang: de", 1).kept.is_none());
        assert_eq!(store.totals().1, 1);
        assert_eq!(store.purge(|key| key == b"a"), 1);
        assert!(find(&store, "a", "X-Lang: de", 1).kept.is_none());
    }

    #[test]
    fn the_longest_unused_goes_and_what_is_too_large_never_comes() {
        let store = Store::new(bounds(4_000));
        let some = ("", "200", 1_000);
        for key in ["a", "b"] {
            assert!(insert(&store, key, some, 0));
        }
        assert!(find(&store, "a", "", 0).kept.is_some());
        assert!(insert(&store, "c", some, 0));
        assert!(find(&store, "b", "", 0).kept.is_none());
        assert!(find(&store, "a", "", 0).kept.is_some());
        assert!(!insert(&store, "d", ("", "200", 10_000), 0));
        // Nobody asked for it for a while.
        assert!(find(&store, "c", "", 50).kept.is_none());
    }

    proptest! {
        #[test]
        fn it_never_takes_more_than_it_may(
            ops in proptest::collection::vec((0_u8..30, 0_usize..3_000, any::<bool>()), 0..80),
        ) {
            let store = Store::new(bounds(8_000));
            for (at, (key, len, inserts)) in ops.into_iter().enumerate() {
                let key = format!("key{key}");
                if inserts {
                    insert(&store, &key, ("", "200", len), at as u64);
                } else {
                    find(&store, &key, "", at as u64);
                }
                let (bytes, _) = store.totals();
                prop_assert!(bytes <= 8_000);
            }
            store.purge(|_| true);
            let shard = lock(&store.shards[0]);
            let sum: u64 = shard.nodes.values().map(|node| node.size).sum();
            prop_assert_eq!((shard.bytes, shard.order.len()), (sum, shard.nodes.len()));
        }
    }
}
