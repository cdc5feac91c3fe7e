//! Caches as routes use them: a store that all workers share, who is asking the server for what, and what is
//! wanted of responses that are kept. What may be kept is decided in `clearway-cache`.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use clearway_base::hash::Map;
use clearway_base::intern::Name;
use clearway_cache::{Bounds, Rules, Store};
use clearway_config::model::{CacheStore, Caching, StaleWhen};
use clearway_outcome::{Fault, FaultKind};
use clearway_rules::ast::{self, Definitions};
use clearway_rules::{Gate, Phrase};
use tokio::sync::Semaphore;

/// A store and what is known of its use. Outlives Plans.
#[derive(Debug)]
pub struct CacheEntry {
    /// Its name.
    pub name: Name,
    /// What is kept.
    pub store: Store,
    flights: Mutex<Map<Arc<[u8]>, Arc<Flight>>>,
    /// Requests that were answered from it, and those that went to a server.
    pub hits: AtomicU64,
    /// See `hits`.
    pub misses: AtomicU64,
}

/// Somebody asks the server for something.
#[derive(Debug)]
pub(crate) struct Flight {
    /// Closed when that is over.
    over: Semaphore,
}

impl Flight {
    /// Waits until it is over. Cancel safe.
    pub(crate) async fn wait(&self) {
        // There are no permits: it ends when it is closed.
        drop(self.over.acquire().await);
    }
}

/// The right to ask the server for something that others wait for.
#[derive(Debug)]
pub(crate) struct Ticket {
    entry: Arc<CacheEntry>,
    key: Arc<[u8]>,
    flight: Arc<Flight>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.entry.flights().remove(&self.key);
        self.flight.over.close();
    }
}

impl CacheEntry {
    /// An empty one.
    #[must_use]
    pub fn new(name: Name, settings: &CacheStore) -> Self {
        Self {
            name,
            store: Store::new(bounds(settings)),
            flights: Mutex::default(),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        }
    }

    /// Puts in force what the configuration says now.
    pub fn set(&self, settings: &CacheStore) {
        self.store.set_bounds(bounds(settings));
    }

    fn flights(&self) -> MutexGuard<'_, Map<Arc<[u8]>, Arc<Flight>>> {
        // Nothing that panics is done behind the lock.
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to ask the server for something, unless somebody does already.
    ///
    /// # Errors
    /// Who does.
    pub(crate) fn begin(self: &Arc<Self>, key: &[u8]) -> Result<Ticket, Arc<Flight>> {
        let mut flights = self.flights();
        if let Some(flight) = flights.get(key) {
            return Err(Arc::clone(flight));
        }
        let key: Arc<[u8]> = key.into();
        let flight = Arc::new(Flight {
            over: Semaphore::new(0),
        });
        flights.insert(Arc::clone(&key), Arc::clone(&flight));
        Ok(Ticket {
            entry: Arc::clone(self),
            key,
            flight,
        })
    }
}

fn bounds(settings: &CacheStore) -> Bounds {
    Bounds {
        bytes: settings.size,
        inactive: settings.inactive.as_secs(),
    }
}

/// What is kept of a route's responses, and when.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a setting of its own, as the operator wrote it"
)]
pub(crate) struct CachePlan {
    pub(crate) entry: Arc<CacheEntry>,
    pub(crate) max_object: usize,
    pub(crate) key: Phrase,
    pub(crate) methods: Vec<String>,
    pub(crate) when: Option<Gate>,
    pub(crate) store_when: Option<Gate>,
    pub(crate) rules: Rules,
    pub(crate) use_stale: Vec<StaleWhen>,
    pub(crate) lock_timeout: Duration,
    pub(crate) min_uses: u32,
    pub(crate) locks: bool,
    pub(crate) revalidates: bool,
    pub(crate) obeys_clients: bool,
    pub(crate) tells_age: bool,
}

impl CachePlan {
    /// Compiles the settings of a place.
    ///
    /// # Errors
    /// A sentence about a condition or a key that cannot work.
    pub(crate) fn new(
        settings: &Caching,
        (entry, store): (Arc<CacheEntry>, &CacheStore),
        named: &Definitions,
    ) -> Result<Self, String> {
        let key = ast::Template::parse(settings.key.as_str()).map_err(|error| error.message)?;
        let (when, store_when) = settings.gates(named)?;
        let times = settings.times.iter();
        Ok(Self {
            max_object: usize::try_from(store.max_object).unwrap_or(usize::MAX),
            key: Phrase::compile(&key, named)?,
            methods: settings.methods.iter().map(ToString::to_string).collect(),
            when,
            store_when,
            rules: Rules {
                times: times
                    .map(|time| (time.status.clone(), time.time.as_secs()))
                    .collect(),
                max_age: settings.max_age.map(|age| age.as_secs()),
                statuses: settings.statuses.clone(),
                validated_only: settings.validated_only,
                no_variants: !settings.variants,
                ignores: settings
                    .ignore_headers
                    .iter()
                    .map(|name| name.to_string().to_ascii_lowercase())
                    .collect(),
            },
            use_stale: settings.use_stale.clone(),
            lock_timeout: settings.lock_timeout,
            min_uses: settings.min_uses,
            locks: settings.lock,
            revalidates: settings.revalidate,
            obeys_clients: settings.obeys_clients,
            tells_age: settings.tells_age,
            entry,
        })
    }

    /// Whether a stale response is given in place of a failure, as the operator says.
    pub(crate) fn covers(&self, fault: &Fault) -> bool {
        let when = match fault.kind.status() {
            504 => StaleWhen::Timeout,
            _ if is_nonsense(fault.kind) => StaleWhen::Invalid,
            _ => StaleWhen::Error,
        };
        self.use_stale.contains(&when)
    }

    /// The same in place of a response with a status; `None` when no status could be meant.
    pub(crate) fn covers_status(&self, status: u16) -> Option<bool> {
        let when = match status {
            500 => StaleWhen::Http500,
            502 => StaleWhen::Http502,
            503 => StaleWhen::Http503,
            504 => StaleWhen::Http504,
            403 => StaleWhen::Http403,
            404 => StaleWhen::Http404,
            429 => StaleWhen::Http429,
            _ => return None,
        };
        Some(self.use_stale.contains(&when))
    }
}

/// Whether what the server answered is not HTTP.
fn is_nonsense(kind: FaultKind) -> bool {
    let code = kind.code();
    code.starts_with("response_") && kind.status() == 502 && !code.starts_with("response_body")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_asks_and_others_hear_of_it() {
        let entry = Arc::new(CacheEntry::new(Name::new("c"), &CacheStore::default()));
        let ticket = entry.begin(b"a").unwrap();
        let flight = entry.begin(b"a").unwrap_err();
        assert!(entry.begin(b"b").is_ok());
        drop(ticket);
        assert!(flight.over.is_closed());
        assert!(entry.begin(b"a").is_ok());
    }
}
