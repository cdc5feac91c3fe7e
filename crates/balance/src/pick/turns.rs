//! Turns along a list that is made once from the weights, and keys that index it.
//!
//! Workers that share a count of turns go along the list together, so that the order is the same however
//! many there are.

use std::sync::atomic::Ordering;

use clearway_base::rng::Rng;

use super::Ask;
use super::field::Field;
use super::round;
use crate::member::Member;

/// Entries at most. With more the weights are made coarser.
const ENTRIES_MAX: u64 = 1 << 16;
/// How much work making a list may be: entries times servers.
const WORK_MAX: u64 = 1 << 22;

/// The live members, each as often as its weight says.
#[derive(Default)]
struct List {
    placed: Vec<(u64, u32, u32)>,
    entries: Vec<u32>,
}

/// How the places of a list are given away.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    /// In rounds that heavier ones begin.
    Rounds,
    /// To whoever is furthest behind its share.
    Shares,
}

impl List {
    fn rebuild(&mut self, order: Order, members: &[Member], live: &[u32]) {
        let known = live
            .iter()
            .filter_map(|&index| Some((index, members.get(index as usize)?)));
        let placed: Vec<_> = known.map(|(i, m)| (m.key, m.weight, i)).collect();
        if placed == self.placed {
            return;
        }
        self.placed = placed;
        let weights = self.placed.iter().map(|p| p.1);
        let common = weights.clone().fold(0, divisor).max(1);
        let is_even = weights.clone().all(|weight| weight == common);
        self.entries.clear();
        if is_even {
            self.entries.extend(self.placed.iter().map(|p| p.2));
            return;
        }
        let units: Vec<u64> = weights.map(round::units).collect();
        let window: u64 = units.iter().sum();
        let work = window.saturating_mul(self.placed.len() as u64);
        let places = if order == Order::Rounds && work <= WORK_MAX {
            round::places(&units)
        } else {
            let shares: Vec<u64> = self
                .placed
                .iter()
                .map(|p| u64::from(p.1 / common))
                .collect();
            shares_in_turn(&shares)
        };
        let index = |place: &usize| self.placed.get(*place).map(|p| p.2);
        self.entries.extend(places.iter().filter_map(index));
    }

    /// The next entry that may be chosen. `own` counts where workers do not share a count.
    fn turn(&self, own: &mut u32, field: &Field<'_>, ask: &Ask<'_>) -> Option<usize> {
        let turn = match ask.turns {
            Some(shared) => shared.fetch_add(1, Ordering::Relaxed),
            None => {
                *own = own.wrapping_add(1);
                own.wrapping_sub(1)
            }
        };
        let at = (turn as usize).checked_rem(self.entries.len())?;
        let (before, after) = self.entries.split_at_checked(at)?;
        let mut entries = after.iter().chain(before).map(|index| *index as usize);
        entries.find(|index| field.admits(*index))
    }
}

fn divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { divisor(b, a % b) }
}

/// Everybody's score grows by its share; whoever is the first to have a whole round takes the place and
/// gives the round back.
fn shares_in_turn(shares: &[u64]) -> Vec<usize> {
    let total: u64 = shares.iter().sum();
    let work = total.saturating_mul(shares.len() as u64);
    let coarser = total
        .div_ceil(ENTRIES_MAX)
        .max(work.div_ceil(WORK_MAX * 16));
    let share = |share: &u64| i64::try_from((share / coarser.max(1)).max(1)).unwrap_or(1);
    let mut scores: Vec<(i64, i64)> = shares.iter().map(|s| (share(s), 0)).collect();
    let total: i64 = scores.iter().map(|(share, _)| share).sum();
    let mut places = Vec::new();
    for _ in 0..total {
        let mut best: Option<(i64, usize)> = None;
        for (at, (share, score)) in scores.iter_mut().enumerate() {
            *score += *share;
            let rounds = (*score + total) / total;
            if best.is_none_or(|(most, _)| rounds > most) {
                best = Some((rounds, at));
            }
        }
        let Some((_, at)) = best else { break };
        if let Some((_, score)) = scores.get_mut(at) {
            *score -= total;
        }
        places.push(at);
    }
    places
}

/// Where a worker begins that shares no count: only the first with the first server.
fn begin(seed: u64) -> u32 {
    u32::try_from(seed >> 32).unwrap_or_default()
}

macro_rules! along {
    ($($(#[doc = $doc:literal])+ $name:ident, $order:ident;)+) => {$(
        $(#[doc = $doc])+
        pub(super) struct $name {
            list: List,
            next: u32,
        }

        impl $name {
            pub(super) fn new(seed: u64) -> Self {
                Self {
                    list: List::default(),
                    next: begin(seed),
                }
            }

            pub(super) fn rebuild(&mut self, members: &[Member], live: &[u32]) {
                self.list.rebuild(Order::$order, members, live);
            }

            pub(super) fn pick(&mut self, field: &Field<'_>, ask: &Ask<'_>) -> Option<usize> {
                self.list.turn(&mut self.next, field, ask)
            }
        }
    )+};
}

along! {
    /// State of `round_robin_ordered`. O(1) while most members may be chosen.
    RoundRobinOrdered, Rounds;
    /// State of `static_round_robin`. O(1) while most members may be chosen.
    StaticRoundRobin, Shares;
}

/// State of `hash_table`. O(1) while the server of the key may be chosen.
pub(super) struct HashTable {
    list: List,
    next: u32,
}

impl HashTable {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            list: List::default(),
            next: begin(seed),
        }
    }

    pub(super) fn rebuild(&mut self, members: &[Member], live: &[u32]) {
        self.list.rebuild(Order::Shares, members, live);
    }

    pub(super) fn pick(&mut self, field: &Field<'_>, ask: &Ask<'_>) -> Option<usize> {
        // Without a key servers take turns.
        let Some(key) = ask.key else {
            return self.list.turn(&mut self.next, field, ask);
        };
        let count = u64::try_from(self.list.entries.len()).ok()?;
        let at = usize::try_from(key.checked_rem(count)?).ok()?;
        let index = *self.list.entries.get(at)? as usize;
        if field.admits(index) {
            return Some(index);
        }
        field.draw(&mut Rng::new(ask.random))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Algorithm, Picker};
    use clearway_base::clock::Stamp;
    use std::sync::atomic::AtomicU32;

    fn picks(algorithm: Algorithm, weights: &[u32], count: usize) -> String {
        let members: Vec<Member> = (1..)
            .zip(weights)
            .map(|(key, &weight)| Member::new(key, weight * 100))
            .collect();
        let mut workers = [Picker::new(&algorithm, 0), Picker::new(&algorithm, 7)];
        workers
            .iter_mut()
            .for_each(|picker| picker.rebuild(&members));
        let turns = AtomicU32::new(0);
        let ask = Ask {
            key: None,
            exclude: &[],
            random: 0,
            now: Stamp(1),
            turns: Some(&turns),
            spare: false,
        };
        let picks = (0..count).filter_map(|n| workers[n % 2].pick(&members, &ask));
        picks.map(|i| ["a", "b", "c"][i]).collect()
    }

    #[test]
    fn heavier_ones_begin_and_gaps_are_filled() {
        let ordered = |weights: &[u32], count| picks(Algorithm::RoundRobinOrdered, weights, count);
        assert_eq!(ordered(&[1, 1, 1], 7), "abcabca");
        assert_eq!(ordered(&[3, 1], 8), "aaabaaab");
        assert_eq!(ordered(&[5, 2, 1], 8), "aabaacab");
        assert_eq!(ordered(&[1, 3], 4), "bbba");
    }

    #[test]
    fn a_static_list_spreads_by_weight() {
        let listed = picks(Algorithm::StaticRoundRobin, &[2, 1], 6);
        assert_eq!(listed.matches('a').count(), 4);
        assert_eq!(listed.matches('b').count(), 2);
    }
}
