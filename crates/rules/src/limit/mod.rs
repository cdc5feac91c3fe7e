//! Limits by key, which all workers share: how many requests may come in a time ([`rate`]), and how many
//! may be served at the same time.
//!
//! Budgets outlive the configuration they were made by: [`Limits`] keeps them by name, as long as what
//! they are stays the same. Each entry is one atomic, or has a lock of its own, held for one sum.

mod rate;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use clearway_base::clock::Stamp;
use clearway_base::store::{Bounds, Entry, Store};

pub(crate) use rate::{Allowed, Verdict, ask};

/// What a limit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitKind {
    /// So many thousandths of a request in a second.
    Rate(u64),
    /// A number of requests at the same time, which whoever asks says.
    Together,
}

/// A limit by key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitSettings {
    /// What is limited.
    pub kind: LimitKind,
    /// Most keys that are remembered; the longest unused one makes room for a new one.
    pub entries: usize,
}

/// What is kept of a key.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// Requests that are served now.
    together: AtomicU32,
    bucket: Mutex<rate::Bucket>,
}

/// What is kept of all keys of a limit.
#[derive(Debug)]
pub struct Budget {
    settings: LimitSettings,
    store: Store<Kept>,
}

impl Budget {
    fn new(settings: LimitSettings) -> Self {
        Self {
            settings,
            store: Store::new(Bounds {
                size: settings.entries.max(1),
                idle: None,
                gives_up: true,
            }),
        }
    }

    /// The thousandths of a request that may come in a second.
    fn rate(&self) -> u64 {
        match self.settings.kind {
            LimitKind::Rate(rate) => rate,
            LimitKind::Together => 0,
        }
    }

    /// One more request of a key, which counts until what is returned is dropped; none when there are
    /// `most` already.
    pub(crate) fn join(&self, key: &[u8], most: u32, now: Stamp) -> Option<Place> {
        let entry = self.store.enter(key, now, Kept::default)?;
        let together = &entry.value().together;
        let more = |count: u32| (count < most).then_some(count + 1);
        let joined = together.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        joined.ok()?;
        Some(Place(entry))
    }
}

/// That a request is one of those that are served at the same time.
#[derive(Debug)]
pub(crate) struct Place(Arc<Entry<Kept>>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.value().together.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Budgets by name.
#[derive(Clone, Debug, Default)]
pub struct Limits(Arc<Mutex<BTreeMap<String, Arc<Budget>>>>);

/// They are where things are kept, and say nothing of what a configuration is.
impl PartialEq for Limits {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Limits {
    /// The budget of a limit: the one there is while the limit stays the same, else a new one.
    #[must_use]
    pub fn open(&self, name: &str, settings: LimitSettings) -> Arc<Budget> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.get(name).filter(|known| known.settings == settings) {
            return Arc::clone(known);
        }
        let budget = Arc::new(Budget::new(settings));
        all.insert(name.to_owned(), Arc::clone(&budget));
        budget
    }

    /// Forgets what is no limit any longer.
    pub fn settle<T>(&self, limits: &BTreeMap<String, T>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|name, _| limits.contains_key(name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_given_back() {
        let settings = LimitSettings {
            kind: LimitKind::Together,
            entries: 10,
        };
        let limits = Limits::default();
        let budget = limits.open("a", settings);
        let now = Stamp(1);
        let first = budget.join(b"k", 2, now);
        let second = budget.join(b"k", 2, now);
        assert!(first.is_some() && second.is_some());
        assert!(budget.join(b"k", 2, now).is_none());
        assert!(budget.join(b"other", 2, now).is_some());
        drop(first);
        assert!(limits.open("a", settings).join(b"k", 2, now).is_some());
        limits.settle(&BTreeMap::<String, ()>::new());
        assert!(!Arc::ptr_eq(&budget, &limits.open("a", settings)));
    }
}
