//! Maps, compiled: hash tables per length of key, networks by length of prefix, then patterns.

use clearway_base::hash::Map as Table;
use ipnet::IpNet;

use crate::ast::MapKey;
use crate::fetch::{Context, Text, Visit};
use crate::matcher::{self, GaveUp, Pattern};
use crate::scratch::{Captures, Scratch};

/// A compiled [`crate::ast::Map`].
#[derive(Debug)]
pub(crate) struct MapTable {
    key: Text,
    ignore_case: bool,
    exact: Table<Box<[u8]>, usize>,
    networks: Table<IpNet, usize>,
    /// Lengths of network prefixes, longest first.
    network_lengths: Vec<u8>,
    prefixes: ByLength,
    suffixes: ByLength,
    /// Ranges of numbers, in order.
    ranges: Vec<(i64, i64, usize)>,
    /// Parts of keys, in order.
    parts: Vec<(Box<[u8]>, usize)>,
    patterns: Vec<(Pattern, usize)>,
    values: Vec<Text>,
    default: Option<Text>,
}

/// Begins or ends of keys.
#[derive(Debug, Default)]
struct ByLength {
    table: Table<Box<[u8]>, usize>,
    /// Lengths that occur, longest first.
    lengths: Vec<usize>,
}

impl ByLength {
    fn insert(&mut self, text: Box<[u8]>, value: usize) {
        if !self.lengths.contains(&text.len()) {
            self.lengths.push(text.len());
            self.lengths.sort_unstable_by(|a, b| b.cmp(a));
        }
        self.table.entry(text).or_insert(value);
    }

    /// The longest that `cut` finds in the key.
    fn find<'k>(&self, cut: impl Fn(usize) -> Option<&'k [u8]>) -> Option<usize> {
        let mut found = self
            .lengths
            .iter()
            .filter_map(|&len| self.table.get(cut(len)?));
        found.next().copied()
    }
}

impl MapTable {
    /// An empty map.
    pub(crate) fn new(key: Text, ignore_case: bool, default: Option<Text>) -> Self {
        Self {
            key,
            ignore_case,
            exact: Table::default(),
            networks: Table::default(),
            network_lengths: Vec::new(),
            prefixes: ByLength::default(),
            suffixes: ByLength::default(),
            ranges: Vec::new(),
            parts: Vec::new(),
            patterns: Vec::new(),
            values: Vec::new(),
            default,
        }
    }

    /// Adds an entry; of equal keys the first counts.
    ///
    /// # Errors
    /// A sentence about a regular expression that is none.
    pub(crate) fn insert(&mut self, key: &MapKey, value: Text) -> Result<(), String> {
        let index = self.values.len();
        let folded = |text: &str| match self.ignore_case {
            true => text.to_ascii_lowercase().into_bytes().into_boxed_slice(),
            false => text.as_bytes().into(),
        };
        match key {
            MapKey::Exact(text) => {
                let text = folded(text);
                self.exact.entry(text).or_insert(index);
            }
            MapKey::Prefix(text) => {
                let text = folded(text);
                self.prefixes.insert(text, index);
            }
            MapKey::Suffix(text) => {
                let text = folded(text);
                self.suffixes.insert(text, index);
            }
            MapKey::Contains(text) => self.parts.push((folded(text), index)),
            MapKey::Range(min, max) => self.ranges.push((*min, *max, index)),
            MapKey::Regex(pattern) => {
                let pattern = Pattern::new(pattern, self.ignore_case)?;
                self.patterns.push((pattern, index));
            }
            MapKey::Network(network) => {
                let network = network.trunc();
                if !self.network_lengths.contains(&network.prefix_len()) {
                    self.network_lengths.push(network.prefix_len());
                    self.network_lengths.sort_unstable_by(|a, b| b.cmp(a));
                }
                self.networks.entry(network).or_insert(index);
            }
        }
        self.values.push(value);
        Ok(())
    }

    /// Shows what the map yields, if anything.
    pub(crate) fn visit(&self, at: &Context<'_>, visit: &mut Visit<'_>) -> bool {
        let for_key = Context { raw: false, ..*at };
        let mut room = Vec::new();
        let key = self.key.render(&for_key, &mut room);
        self.show(at, key, visit)
    }

    /// Shows what the map yields for a key that is looked up in place of its own.
    pub(crate) fn look_up(&self, at: &Context<'_>, key: &[u8], visit: &mut Visit<'_>) -> bool {
        self.show(at, key, visit)
    }

    fn show(&self, at: &Context<'_>, key: &[u8], visit: &mut Visit<'_>) -> bool {
        let (value, captures) = self.find(key, at.scratch);
        let captures = captures.as_ref();
        let at = Context {
            captures: captures.unwrap_or(at.captures),
            ..*at
        };
        value.is_some_and(|text| visit(text.render(&at, &mut Vec::new())))
    }

    fn find(&self, key: &[u8], scratch: &Scratch) -> (Option<&Text>, Option<Captures>) {
        let lower;
        let mut folded = key;
        if self.ignore_case && key.iter().any(u8::is_ascii_uppercase) {
            lower = key.to_ascii_lowercase();
            folded = &lower;
        }
        let value = |index: usize| self.values.get(index);
        let plain = self
            .exact
            .get(folded)
            .copied()
            .or_else(|| self.network(key))
            .or_else(|| self.prefixes.find(|len| folded.get(..len)))
            .or_else(|| {
                let cut = |len| folded.get(folded.len().checked_sub(len)?..);
                self.suffixes.find(cut)
            });
        let plain = plain.or_else(|| self.range(key)).or_else(|| {
            let mut parts = self.parts.iter();
            let found = parts.find(|(part, _)| memchr::memmem::find(folded, part).is_some());
            found.map(|(_, index)| *index)
        });
        if let Some(index) = plain {
            return (value(index), None);
        }
        for (regex, index) in &self.patterns {
            match regex.captures(key) {
                Ok(Some(found)) => return (value(*index), Some(found)),
                Ok(None) => {}
                Err(GaveUp) => scratch.give_up(),
            }
        }
        (self.default.as_ref(), None)
    }

    fn range(&self, key: &[u8]) -> Option<usize> {
        if self.ranges.is_empty() {
            return None;
        }
        let number: i64 = std::str::from_utf8(key).ok()?.trim().parse().ok()?;
        let mut ranges = self.ranges.iter();
        let found = ranges.find(|(min, max, _)| (*min..=*max).contains(&number));
        found.map(|(.., index)| *index)
    }

    fn network(&self, key: &[u8]) -> Option<usize> {
        if self.network_lengths.is_empty() {
            return None;
        }
        let ip = matcher::address(key)?;
        let mut found = self.network_lengths.iter().filter_map(|&length| {
            let network = IpNet::new(ip, length).ok()?.trunc();
            self.networks.get(&network)
        });
        found.next().copied()
    }
}
