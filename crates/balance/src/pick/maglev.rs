//! A lookup table filled in turns (Maglev: Eisenbud et al., NSDI 2016, section 3.4).

use clearway_base::hash::mix;

use super::Ask;
use super::consistent_hash::placed;
use super::field::Field;
use crate::member::Member;

/// Sizes of the table, primes: the smallest with about a hundred entries per member is used. Three
/// sizes only, since a change of size moves nearly all keys.
const SIZES: [(usize, u32); 3] = [(160, 16_381), (1_300, 131_071), (usize::MAX, 1_048_573)];
/// Entries looked at before the members are compared one by one.
const STEPS_MAX: u64 = 32;
/// Marks an entry nobody has taken yet.
const EMPTY: u32 = u32::MAX;
/// Odd constant that separates the entries tried for one key.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// State of `maglev`. O(1) while most members are usable, O(n) at worst.
///
/// The table holds all members of the active tier, usable or not; a key whose member may not be
/// chosen looks at further entries. So a server that goes down and comes back moves only its own
/// keys, and verdicts change without filling the table anew.
pub(super) struct Maglev {
    placed: Vec<(u64, u32, u32)>,
    table: Vec<u32>,
}

/// A member while the table is filled.
struct Turn {
    index: u32,
    weight: u64,
    credit: u64,
    at: u32,
    skip: u32,
}

impl Maglev {
    pub(super) fn new(_seed: u64) -> Self {
        Self {
            placed: Vec::new(),
            table: Vec::new(),
        }
    }

    pub(super) fn rebuild(&mut self, members: &[Member], live: &[u32]) {
        let placed = placed(members, live);
        if placed == self.placed {
            return;
        }
        self.placed = placed;
        self.table.clear();
        let heaviest = self.placed.iter().map(|&(_, weight, _)| weight).max();
        let Some(heaviest) = heaviest.map(u64::from) else {
            return;
        };
        let count = self.placed.len();
        let size = SIZES
            .iter()
            .find(|(members_max, _)| count <= *members_max)
            .map_or(EMPTY, |&(_, size)| size);
        self.table.resize(size as usize, EMPTY);
        let mut turns: Vec<Turn> = self
            .placed
            .iter()
            .map(|&(key, weight, index)| Turn {
                index,
                weight: u64::from(weight),
                credit: 0,
                at: below(mix(key), size),
                skip: 1 + below(mix(mix(key).wrapping_add(STEP)), size - 1),
            })
            .collect();
        let mut left = size;
        while left > 0 {
            for turn in &mut turns {
                // A member takes an entry in every round if it is the heaviest, else in as many
                // rounds as its weight is to the heaviest's.
                turn.credit += turn.weight;
                if turn.credit < heaviest || left == 0 {
                    continue;
                }
                turn.credit -= heaviest;
                take_entry(&mut self.table, turn, size);
                left -= 1;
            }
        }
    }

    pub(super) fn pick(&self, field: &Field<'_>, ask: &Ask<'_>) -> Option<usize> {
        let key = ask.key.unwrap_or(ask.random);
        let size = u32::try_from(self.table.len()).unwrap_or(0);
        for step in 0..STEPS_MAX {
            let hash = mix(key.wrapping_add(step.wrapping_mul(STEP)));
            let index = *self.table.get(below(hash, size) as usize)? as usize;
            if field.admits(index) {
                return Some(index);
            }
        }
        field.rendezvous(key, |_, _| true)
    }
}

/// Gives the next free entry of the member's permutation to it. There must be one.
fn take_entry(table: &mut [u32], turn: &mut Turn, size: u32) {
    loop {
        let at = turn.at;
        // Sizes stay below 2^21, so the sum cannot overflow.
        turn.at = (turn.at + turn.skip) % size;
        match table.get_mut(at as usize) {
            Some(entry) if *entry == EMPTY => {
                *entry = turn.index;
                return;
            }
            Some(_) => {}
            None => return,
        }
    }
}

/// Maps a hash to a number below `bound`; 0 when `bound` is 0.
fn below(hash: u64, bound: u32) -> u32 {
    let wide = u128::from(hash) * u128::from(bound);
    u32::try_from(wide >> 64).unwrap_or(0)
}
