//! Tables of counters and servers by key (stick tables): how often an address has asked, which server a
//! user goes to.
//!
//! A rule tracks a key: from then on what happens to the request or the connection is counted with it.
//! Other rules look at the counters, of what is tracked or of any key. Tables outlive the configuration
//! they were made by: [`Tables`] keeps them by name, as long as what they are stays the same.
//!
//! Each entry has a lock of its own, held for one change. Finding a key that is there allocates nothing.

mod datum;
mod key;
mod rate;
mod tracked;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use clearway_base::clock::{self, Stamp};
use clearway_base::hash::Map;
use clearway_base::intern::Name;
use clearway_base::store::{Bounds, Entry, Store};

pub use datum::{Datum, MANY_MAX, Shape, Stored};
pub use key::{KeyKind, Shown};
use rate::Rate;
pub use tracked::{COUNTERS_MAX, Event};
pub(crate) use tracked::{Change, Tracked, What};

/// What a table is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableSettings {
    /// What keys are.
    pub key: KeyKind,
    /// Most entries.
    pub size: usize,
    /// How long an entry stays that is not used; for ever when absent.
    pub expire: Option<Duration>,
    /// Whether a full table takes no new entries, instead of giving up the longest unused one.
    pub keeps: bool,
    /// What is stored.
    pub store: Vec<Stored>,
}

/// What is kept in one place of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    Number(u64),
    Rate(Rate),
    Server(Name),
}

/// What is kept with a key.
#[derive(Debug)]
pub struct Values(Mutex<Box<[Slot]>>);

impl Values {
    fn lock(&self) -> MutexGuard<'_, Box<[Slot]>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A table.
#[derive(Debug)]
pub struct Table {
    name: Name,
    settings: TableSettings,
    store: Store<Values>,
    /// Where each datum stands in an entry, by its number; none where it is not stored.
    places: [Option<(usize, usize)>; Datum::ALL.len()],
}

impl Table {
    /// An empty table.
    #[must_use]
    pub fn new(name: &str, settings: TableSettings) -> Self {
        let store = Store::new(Bounds {
            size: settings.size,
            idle: settings.expire,
            gives_up: !settings.keeps,
        });
        let mut places = [None; Datum::ALL.len()];
        let mut slots = 0;
        for (at, stored) in settings.store.iter().enumerate() {
            if let Some(place @ None) = places.get_mut(stored.datum as usize) {
                *place = Some((slots, at));
            }
            slots += stored.count;
        }
        Self {
            name: Name::new(name),
            settings,
            store,
            places,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> Name {
        self.name
    }

    /// What it is.
    #[must_use]
    pub fn settings(&self) -> &TableSettings {
        &self.settings
    }

    /// How many entries it has.
    #[must_use]
    pub fn used(&self, now: Stamp) -> usize {
        self.store.sweep(now);
        self.store.len()
    }

    /// How many more it can take before it has to give up any.
    #[must_use]
    pub fn free(&self, now: Stamp) -> usize {
        self.settings.size.saturating_sub(self.used(now))
    }

    /// All entries, in the order of their keys.
    #[must_use]
    pub fn rows(&self, now: Stamp) -> Vec<Row> {
        self.store.entries(now)
    }

    /// The entry of a value, if there is one. It does not count as used.
    #[must_use]
    pub fn look(&self, value: &[u8], now: Stamp) -> Option<Row> {
        self.store.get(&self.settings.key.key(value)?, now)
    }

    /// The entry of a value, made when there is none. None when the value is no key, or the table is full.
    pub fn enter(&self, value: &[u8], now: Stamp) -> Option<Row> {
        let key = self.settings.key.key(value)?;
        self.store
            .enter(&key, now, || Values(Mutex::new(self.blank())))
    }

    /// Takes out the entry of a value. Whether there was one.
    pub fn remove(&self, value: &[u8]) -> bool {
        let key = self.settings.key.key(value);
        key.is_some_and(|key| self.store.remove(&key))
    }

    /// Takes out an entry. Whether it was there.
    pub fn remove_row(&self, row: &Entry<Values>) -> bool {
        self.store.remove(row.key())
    }

    /// How long an entry stays that nobody uses from now on; none when for ever.
    #[must_use]
    pub fn left(&self, row: &Entry<Values>, now: Stamp) -> Option<Duration> {
        self.store.left(row, now)
    }

    /// The key of an entry as it is shown.
    #[must_use]
    pub fn key<'e>(&self, row: &'e Entry<Values>) -> Shown<'e> {
        Shown {
            kind: self.settings.key,
            key: row.key(),
        }
    }

    /// A number of an entry; none where the table does not store it.
    #[must_use]
    pub fn read(&self, row: &Entry<Values>, datum: Datum, index: usize, now: Stamp) -> Option<u64> {
        let (slot, stored) = self.place(datum, index)?;
        match *row.value().lock().get(slot)? {
            Slot::Number(number) => Some(number),
            Slot::Rate(rate) => Some(rate.read(stored.period_ms(), milliseconds(now))),
            Slot::Server(_) => None,
        }
    }

    /// Whether a number may be asked for.
    #[must_use]
    pub fn stores(&self, datum: Datum, index: usize) -> bool {
        self.place(datum, index).is_some()
    }

    /// Counts a number up, and the rate that goes with it. What the number is then; none where it is not
    /// stored.
    pub fn add(
        &self,
        row: &Entry<Values>,
        datum: Datum,
        index: usize,
        by: u64,
        now: Stamp,
    ) -> Option<u64> {
        let count = self.place(datum, index);
        let rate = datum.rate().and_then(|rate| self.place(rate, index));
        if count.is_none() && rate.is_none() {
            return None;
        }
        let mut slots = row.value().lock();
        if let Some((slot, stored)) = rate
            && let Some(Slot::Rate(rate)) = slots.get_mut(slot)
        {
            rate.add(by, stored.period_ms(), milliseconds(now));
        }
        match slots.get_mut(count?.0)? {
            Slot::Number(number) => {
                *number = number.saturating_add(by);
                Some(*number)
            }
            Slot::Rate(_) | Slot::Server(_) => None,
        }
    }

    /// Counts a number down, not below 0.
    pub fn subtract(&self, row: &Entry<Values>, datum: Datum, by: u64) {
        let Some((slot, _)) = self.place(datum, 0) else {
            return;
        };
        if let Some(Slot::Number(number)) = row.value().lock().get_mut(slot) {
            *number = number.saturating_sub(by);
        }
    }

    /// Sets a number or a rate. What it was before; none where it is not stored.
    pub fn set(
        &self,
        row: &Entry<Values>,
        datum: Datum,
        index: usize,
        value: u64,
        now: Stamp,
    ) -> Option<u64> {
        let (slot, stored) = self.place(datum, index)?;
        match row.value().lock().get_mut(slot)? {
            Slot::Number(number) => Some(std::mem::replace(number, value)),
            Slot::Rate(rate) => {
                let before = rate.read(stored.period_ms(), milliseconds(now));
                rate.set(value, milliseconds(now));
                Some(before)
            }
            Slot::Server(_) => None,
        }
    }

    /// The server that is stored with a key.
    #[must_use]
    pub fn server(&self, row: &Entry<Values>) -> Option<Name> {
        let (slot, _) = self.server_place()?;
        match *row.value().lock().get(slot)? {
            Slot::Server(name) => Some(name).filter(|name| !name.is_none()),
            Slot::Number(_) | Slot::Rate(_) => None,
        }
    }

    /// Stores a server with a key.
    pub fn set_server(&self, row: &Entry<Values>, server: Name) {
        let Some((slot, _)) = self.server_place() else {
            return;
        };
        if let Some(Slot::Server(name)) = row.value().lock().get_mut(slot) {
            *name = server;
        }
    }

    fn server_place(&self) -> Option<(usize, &Stored)> {
        let by_id = || self.place(Datum::ServerId, 0);
        self.place(Datum::ServerKey, 0).or_else(by_id)
    }

    /// Where a datum stands in an entry, or the one of many that stands for it.
    fn place(&self, datum: Datum, index: usize) -> Option<(usize, &Stored)> {
        let Some((slot, at)) = self.places.get(datum as usize).copied().flatten() else {
            let (many, index) = datum.among()?;
            return self.place(many, index);
        };
        let stored = self.settings.store.get(at)?;
        (index < stored.count).then_some((slot + index, stored))
    }

    fn blank(&self) -> Box<[Slot]> {
        let slots = self.settings.store.iter().flat_map(|stored| {
            let slot = match stored.datum.shape() {
                Shape::Count | Shape::Tag => Slot::Number(0),
                Shape::Rate => Slot::Rate(Rate::default()),
                Shape::Server => Slot::Server(Name::NONE),
            };
            std::iter::repeat_n(slot, stored.count)
        });
        slots.collect()
    }
}

/// An entry.
pub type Row = Arc<Entry<Values>>;

/// How many hold an entry besides its table and whoever asks: those who track it.
#[must_use]
pub fn trackers(row: &Row) -> usize {
    // The table itself has it in two orders.
    Arc::strong_count(row).saturating_sub(3)
}

fn milliseconds(now: Stamp) -> u64 {
    now.0 / 1_000
}

/// The time, where it is needed: the clock is read only where a table is asked.
fn now() -> Stamp {
    clock::now()
}

/// All tables by name. They outlive a configuration: the next one that describes a table in the same way
/// has it with its entries.
#[derive(Clone, Default)]
pub struct Tables(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    /// Those of the configuration in use.
    used: Map<String, Arc<Table>>,
    /// Those of one that is being compiled and may still turn out to be wrong.
    new: Map<String, Arc<Table>>,
}

impl Tables {
    /// The table with a name for a configuration that is compiled: the one in use while it is the same,
    /// else a new one, which is in use from [`Tables::settle`] on.
    #[must_use]
    pub fn open(&self, name: &str, settings: &TableSettings) -> Arc<Table> {
        let mut all = self.lock();
        let used = all.used.get(name).or_else(|| all.new.get(name));
        let new = all.new.get(name);
        let mut known = used.into_iter().chain(new);
        if let Some(known) = known.find(|known| known.settings == *settings) {
            return Arc::clone(known);
        }
        let table = Arc::new(Table::new(name, settings.clone()));
        all.new.insert(name.to_owned(), Arc::clone(&table));
        table
    }

    /// Has the tables of a configuration that is in use from now on, and no others.
    pub fn settle<'a>(&self, tables: impl IntoIterator<Item = (&'a String, &'a TableSettings)>) {
        let used = tables
            .into_iter()
            .map(|(name, settings)| (name.clone(), self.open(name, settings)));
        let used: Map<String, Arc<Table>> = used.collect();
        let mut all = self.lock();
        all.new.clear();
        all.used = used;
    }

    /// The table with a name.
    #[must_use]
    pub fn table(&self, name: &str) -> Option<Arc<Table>> {
        self.lock().used.get(name).cloned()
    }

    /// All of them, by name.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Table>> {
        let mut all: Vec<_> = self.lock().used.values().cloned().collect();
        all.sort_by_key(|table| table.name.as_str());
        all
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Tables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.lock().used.keys().cloned().collect();
        f.debug_tuple("Tables").field(&names).finish()
    }
}

/// Where tables are kept does not matter to what rules are.
impl PartialEq for Tables {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(store: &[&str]) -> Table {
        let time = |text: &str| {
            let seconds = text.strip_suffix('s')?;
            seconds.parse().ok().map(Duration::from_secs)
        };
        let store = store.iter().map(|text| Stored::parse(text, time).unwrap());
        let settings = TableSettings {
            size: 100,
            store: store.collect(),
            ..TableSettings::default()
        };
        Table::new("t", settings)
    }

    #[test]
    fn counts_and_rates_go_together() {
        let table = table(&["http_req_cnt", "http_req_rate(10s)", "conn_cur"]);
        let now = Stamp(5_000_000);
        let row = table.enter(b"10.0.0.1", now).unwrap();
        assert_eq!(table.add(&row, Datum::HttpReqCnt, 0, 2, now), Some(2));
        assert_eq!(table.read(&row, Datum::HttpReqRate, 0, now), Some(2));
        assert_eq!(table.read(&row, Datum::Gpc0, 0, now), None);
        table.subtract(&row, Datum::ConnCur, 1);
        assert_eq!(table.read(&row, Datum::ConnCur, 0, now), Some(0));
        assert!(table.look(b"10.0.0.2", now).is_none());
        assert!(table.enter(b"no address", now).is_none());
    }

    #[test]
    fn one_of_many_stands_for_the_old_names() {
        let table = table(&["gpc(3)", "gpt(2)", "gpc_rate(3,10s)"]);
        let now = Stamp(1);
        let row = table.enter(b"10.0.0.1", now).unwrap();
        assert_eq!(table.add(&row, Datum::Gpc1, 0, 4, now), Some(4));
        assert_eq!(table.read(&row, Datum::Gpc, 1, now), Some(4));
        assert_eq!(table.read(&row, Datum::GpcRate, 1, now), Some(4));
        assert_eq!(table.read(&row, Datum::Gpc, 3, now), None);
        assert_eq!(table.set(&row, Datum::Gpt, 1, 9, now), Some(0));
        assert_eq!(table.read(&row, Datum::Gpt, 1, now), Some(9));
    }

    #[test]
    fn tables_stay_while_they_are_the_same() {
        let tables = Tables::default();
        let settings = table(&["gpc0"]).settings;
        let first = tables.open("a", &settings);
        assert!(Arc::ptr_eq(&first, &tables.open("a", &settings)));
        let other = TableSettings {
            size: 7,
            ..settings
        };
        assert!(!Arc::ptr_eq(&first, &tables.open("a", &other)));
        assert!(tables.table("a").is_none());
        tables.settle([(&"a".to_owned(), &other)]);
        assert!(tables.table("a").is_some());
        tables.settle([]);
        assert!(tables.table("a").is_none());
    }
}
