//! What a reader counted: lines it understood or not, and what went well at which server.

use clearway_base::hash::{Map, stable_seeded};

use super::scan;

/// Servers that are counted by name; those beyond share one place, so that a log full of made-up names
/// takes no more memory than this.
const SERVERS_MAX: usize = 4_096;

/// A line that was not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// Its number, from 1.
    pub line: u64,
    /// Its beginning, without queries and what stands in quotes behind a colon.
    pub text: String,
}

/// What one server did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests that it answered, with whatever status below 500.
    pub successes: u64,
    /// Requests that it answered with a status of 500 or above.
    pub errors: u64,
    /// Attempts that failed.
    pub failures: u64,
    /// Successes before the first Attempt that failed, in the order of the lines.
    pub before_failure: u64,
    /// Successes since the last Attempt that failed.
    pub since_failure: u64,
    /// Answers by the first digit of their status.
    pub by_class: [u64; 6],
    /// The longest answer, in microseconds.
    pub max_us: u64,
    /// Answers whose time is known.
    pub timed: u64,
    /// When it last answered, in microseconds since 1970.
    pub last_success_us: Option<i64>,
    /// Paths that it answered with a status below 500.
    pub paths: Paths,
    times: Times,
}

/// A set of paths that never forgets one and may take others for its own: a Bloom filter with one hash.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paths {
    bits: [u64; 16],
}

impl Paths {
    /// Puts a path in; an empty one is none.
    pub fn add(&mut self, path: &[u8]) {
        let (word, bit) = Self::place(path);
        if let Some(word) = self.bits.get_mut(word).filter(|_| !path.is_empty()) {
            *word |= bit;
        }
    }

    /// Whether it may have been put in; `None` when nothing was.
    #[must_use]
    pub fn may_have(&self, path: &str) -> Option<bool> {
        let (word, bit) = Self::place(path.as_bytes());
        let is_known = self.bits.iter().any(|word| *word != 0);
        is_known.then(|| self.bits.get(word).is_some_and(|word| word & bit != 0))
    }

    /// Puts in what another one has.
    pub fn join(&mut self, other: &Self) {
        for (word, more) in self.bits.iter_mut().zip(other.bits) {
            *word |= more;
        }
    }

    fn place(path: &[u8]) -> (usize, u64) {
        let hash = stable_seeded(path, 4);
        let word = usize::try_from(hash >> 6 & 15).unwrap_or(0);
        (word, 1 << (hash & 63))
    }
}

/// Answers by the logarithm of their time.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Times([u32; 40]);

impl Default for Times {
    fn default() -> Self {
        Self([0; 40])
    }
}

impl Tally {
    /// How many answers took at most `micros`, to the precision of a factor of two.
    #[must_use]
    pub fn at_most(&self, micros: u64) -> u64 {
        let last = bucket(micros);
        let buckets = self.times.0.iter().take(last + 1);
        buckets.map(|count| u64::from(*count)).sum()
    }

    fn answered(&mut self, status: u16, took_us: Option<u64>, at_us: Option<i64>) {
        if status >= 500 {
            self.errors += 1;
        } else {
            self.successes += 1;
            self.since_failure += 1;
            self.before_failure += u64::from(self.failures == 0);
            self.last_success_us = self.last_success_us.max(at_us);
        }
        if let Some(count) = self.by_class.get_mut(usize::from(status / 100)) {
            *count += 1;
        }
        let Some(took) = took_us else { return };
        self.timed += 1;
        self.max_us = self.max_us.max(took);
        if let Some(count) = self.times.0.get_mut(bucket(took)) {
            *count = count.saturating_add(1);
        }
    }
}

/// Which bucket a time goes into: 0 and 1 µs into the first, then one for each doubling.
fn bucket(micros: u64) -> usize {
    let log = 64 - micros.leading_zeros();
    usize::try_from(log.saturating_sub(1)).unwrap_or(0).min(39)
}

/// What a reader counted.
#[derive(Clone, Debug)]
pub struct Stats {
    /// Lines that were not empty.
    pub lines: u64,
    /// Those that were understood, whether they say something or not.
    pub understood: u64,
    /// Sightings that were told.
    pub sightings: u64,
    /// The first line that was not understood.
    pub first_unknown: Option<Unknown>,
    /// The earliest time, in microseconds since 1970.
    pub first_us: Option<i64>,
    /// The latest time.
    pub last_us: Option<i64>,
    by_status: Box<[u64]>,
    servers: Map<Box<[u8]>, Tally>,
    key: Vec<u8>,
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            lines: 0,
            understood: 0,
            sightings: 0,
            first_unknown: None,
            first_us: None,
            last_us: None,
            by_status: vec![0; 1_000].into_boxed_slice(),
            servers: Map::default(),
            key: Vec::new(),
        }
    }
}

impl Stats {
    /// Lines that were not understood.
    #[must_use]
    pub fn not_understood(&self) -> u64 {
        self.lines.saturating_sub(self.understood)
    }

    /// Statuses sent to clients, and how often.
    pub fn by_status(&self) -> impl Iterator<Item = (u16, u64)> + '_ {
        let counted = (0_u16..).zip(self.by_status.iter().copied());
        counted.filter(|(_, count)| *count > 0)
    }

    /// What each server did, as (backend, server, tally) in order of the names; the server is its name
    /// or, where the log has none, its address. Both are empty where the log does not name them.
    #[must_use]
    pub fn servers(&self) -> Vec<(&str, &str, &Tally)> {
        let mut servers: Vec<_> = self
            .servers
            .iter()
            .map(|(key, tally)| {
                let (backend, server) = scan::split(key, b"\0").unwrap_or((key, b""));
                (scan::text(backend), scan::text(server), tally)
            })
            .collect();
        servers.sort_unstable_by_key(|(backend, server, _)| (*backend, *server));
        servers
    }

    /// What one server did.
    #[must_use]
    pub fn server(&self, backend: &str, server: &str) -> Option<&Tally> {
        let mut servers = self.servers().into_iter();
        let found = servers.find(|found| (found.0, found.1) == (backend, server))?;
        Some(found.2)
    }

    pub(super) fn line(&mut self, number: u64, line: &[u8], understood: bool) {
        self.lines += 1;
        if understood {
            self.understood += 1;
        } else if self.first_unknown.is_none() {
            let mut text = String::new();
            let lossy = String::from_utf8_lossy(line.get(..line.len().min(400)).unwrap_or(line));
            scan::push_unknown(&mut text, lossy.as_bytes());
            self.first_unknown = Some(Unknown { line: number, text });
        }
    }

    pub(super) fn time(&mut self, at_us: Option<i64>) {
        let Some(at) = at_us else { return };
        self.first_us = Some(self.first_us.map_or(at, |first| first.min(at)));
        self.last_us = Some(self.last_us.map_or(at, |last| last.max(at)));
    }

    pub(super) fn status(&mut self, status: u16) {
        if let Some(count) = self.by_status.get_mut(usize::from(status)) {
            *count += 1;
        }
    }

    pub(super) fn answered(
        &mut self,
        server: (&[u8], &[u8]),
        status: u16,
        took_us: Option<u64>,
        at_us: Option<i64>,
        path: &[u8],
    ) {
        if let Some(tally) = self.tally(server) {
            tally.answered(status, took_us, at_us);
            if status < 500 {
                tally.paths.add(path);
            }
        }
    }

    pub(super) fn failed(&mut self, server: (&[u8], &[u8])) {
        if let Some(tally) = self.tally(server) {
            tally.failures += 1;
            tally.since_failure = 0;
        }
    }

    fn tally(&mut self, (backend, server): (&[u8], &[u8])) -> Option<&mut Tally> {
        self.key.clear();
        self.key.extend_from_slice(backend);
        self.key.push(0);
        self.key.extend_from_slice(server);
        if !self.servers.contains_key(self.key.as_slice()) {
            if self.servers.len() >= SERVERS_MAX {
                self.key.clear();
                self.key.extend_from_slice("(others)\0".as_bytes());
            }
            let place = self.key.clone().into_boxed_slice();
            self.servers.entry(place).or_default();
        }
        self.servers.get_mut(self.key.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_by_server() {
        let mut stats = Stats::default();
        for took in [1_000, 2_000, 900_000] {
            stats.answered((b"app", b"s1"), 200, Some(took), Some(5), b"/a");
        }
        stats.answered((b"app", b"s1"), 503, None, Some(6), b"/b");
        stats.failed((b"app", b"s2"));
        stats.answered((b"app", b"s2"), 200, None, Some(7), b"/c");
        let one = stats.server("app", "s1").unwrap();
        assert_eq!((one.successes, one.errors, one.max_us), (3, 1, 900_000));
        assert_eq!((one.at_most(4_000), one.timed), (2, 3));
        assert_eq!(one.last_success_us, Some(5));
        assert_eq!((one.by_class[2], one.by_class[5]), (3, 1));
        assert_eq!((one.before_failure, one.since_failure), (3, 3));
        let well = ["/a", "/b"].map(|path| one.paths.may_have(path));
        assert_eq!(well, [Some(true), Some(false)]);
        assert_eq!(Tally::default().paths.may_have("/a"), None);
        let two = stats.server("app", "s2").unwrap();
        assert_eq!((two.failures, two.before_failure), (1, 0));
        assert_eq!(two.since_failure, 1);
        let names: Vec<_> = stats.servers().iter().map(|s| (s.0, s.1)).collect();
        assert_eq!(names, [("app", "s1"), ("app", "s2")]);
    }

    #[test]
    fn made_up_servers_take_bounded_memory() {
        let mut stats = Stats::default();
        for number in 0..10_000_u32 {
            stats.failed((b"", number.to_string().as_bytes()));
        }
        assert_eq!(stats.servers().len(), SERVERS_MAX + 1);
        assert_eq!(
            stats.server("(others)", "").unwrap().failures,
            10_000 - 4_096
        );
    }
}
