//! A ring of points: a key goes to the member whose point follows it.

use clearway_base::hash::mix;

use super::field::Field;
use super::{Ask, Bound};
use crate::member::Member;

/// Points on the ring at most; 16 bytes each. Beyond it every member gets half, a quarter … of its
/// points, which are a subset of the former ones, so crossing the limit moves few keys.
const POINTS_MAX: u64 = 1 << 17;
/// Points looked at before the members are compared one by one: with it a ring whose members are
/// nearly all down or full costs O(n) instead of a walk round the ring.
const STEPS_MAX: usize = 128;
/// Odd constant that separates the points of one member (2^64 divided by the golden ratio).
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// State of `consistent_hash`. O(1) expected while most members are usable, O(n) when the load of
/// the candidate must be compared with the others'.
///
/// The ring holds all members of the active tier, usable or not, and the walk passes over those
/// that may not be chosen: that moves exactly the keys of the missing members, and verdicts change
/// without rebuilding anything.
pub(super) struct ConsistentHash {
    bound: Bound,
    /// Key, weight and index of the members on the ring, to see whether a rebuild is needed.
    placed: Vec<(u64, u32, u32)>,
    points: Vec<Point>,
    /// Where the points of each slice of the hash space begin; its length is a power of two.
    slices: Vec<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Point {
    hash: u64,
    /// Breaks ties alike on every machine, whatever the order of the members.
    key: u64,
    index: u32,
}

impl ConsistentHash {
    pub(super) fn new(_seed: u64, bound: Bound) -> Self {
        Self {
            bound,
            placed: Vec::new(),
            points: Vec::new(),
            slices: Vec::new(),
        }
    }

    pub(super) fn rebuild(&mut self, members: &[Member], live: &[u32]) {
        let placed = placed(members, live);
        if placed == self.placed {
            return;
        }
        self.placed = placed;
        let total: u64 = self
            .placed
            .iter()
            .map(|&(_, weight, _)| u64::from(weight))
            .sum();
        let mut halvings = 0;
        while total >> halvings > POINTS_MAX {
            halvings += 1;
        }
        self.points.clear();
        for &(key, weight, index) in &self.placed {
            let count = (weight >> halvings).max(1);
            self.points.extend((0..u64::from(count)).map(|n| Point {
                hash: mix(mix(key).wrapping_add(n.wrapping_mul(STEP))),
                key,
                index,
            }));
        }
        self.points.sort_unstable();
        self.index_slices();
    }

    /// About two points per slice.
    fn index_slices(&mut self) {
        let count = (self.points.len() / 2).max(1).next_power_of_two();
        self.slices.clear();
        let mut at = 0_u32;
        let mut points = self.points.iter().peekable();
        for slice in 0..count {
            while points
                .next_if(|p| slice_of(p.hash, count) < slice)
                .is_some()
            {
                at += 1;
            }
            self.slices.push(at);
        }
    }

    pub(super) fn pick(&self, field: &Field<'_>, ask: &Ask<'_>) -> Option<usize> {
        let hash = mix(ask.key.unwrap_or(ask.random));
        if self.bound != Bound::NONE {
            let load = Load::new(self.bound, field);
            let within = self.walk(hash, field, |m| load.has_room(m));
            if within.is_some() {
                return within;
            }
        }
        self.walk(hash, field, |_| true)
    }

    /// The first member from the key on that may be chosen and for which `fits` holds.
    fn walk(&self, hash: u64, field: &Field<'_>, fits: impl Fn(&Member) -> bool) -> Option<usize> {
        let start = self.start(hash);
        let (before, after) = self.points.split_at_checked(start)?;
        let round = after.iter().chain(before);
        let mut last = None;
        for point in round.take(STEPS_MAX) {
            let index = point.index as usize;
            if last == Some(index) {
                continue;
            }
            last = Some(index);
            if field.admits(index) && field.members.get(index).is_some_and(&fits) {
                return Some(index);
            }
        }
        field.rendezvous(hash, |_, m| fits(m))
    }

    /// Position of the first point at or after the hash; may be one past the last.
    fn start(&self, hash: u64) -> usize {
        let slice = slice_of(hash, self.slices.len());
        let begin = self.slices.get(slice).map_or(0, |&at| at as usize);
        let tail = self.points.get(begin..).unwrap_or_default();
        begin + tail.iter().take_while(|p| p.hash < hash).count()
    }
}

/// The members of the active tier that have a weight, usable or not, in an order that depends only
/// on their keys.
pub(super) fn placed(members: &[Member], live: &[u32]) -> Vec<(u64, u32, u32)> {
    let tier = live
        .first()
        .and_then(|&index| members.get(index as usize))
        .map(|m| m.tier);
    let mut placed: Vec<_> = (0..)
        .zip(members)
        .filter(|(_, m)| Some(m.tier) == tier && m.weight > 0)
        .map(|(index, m)| (m.key, m.weight, index))
        .collect();
    placed.sort_unstable();
    placed
}

/// The slice of the hash space, of `count` (a power of two), in which a hash lies.
fn slice_of(hash: u64, count: usize) -> usize {
    let wide = u128::from(hash) * u128::try_from(count).unwrap_or(1);
    usize::try_from(wide >> 64).unwrap_or(0)
}

/// Compares members with their fair share of the unfinished requests.
struct Load<'a> {
    bound: Bound,
    field: &'a Field<'a>,
    /// Unfinished requests and weights of all live members, summed up when first needed.
    sums: std::cell::OnceCell<(u64, u64)>,
}

impl<'a> Load<'a> {
    fn new(bound: Bound, field: &'a Field<'a>) -> Self {
        Self {
            bound,
            field,
            sums: std::cell::OnceCell::new(),
        }
    }

    /// Whether the member stays within ⌈bound × fair share⌉ with one more request.
    fn has_room(&self, member: &Member) -> bool {
        if member.inflight == 0 {
            return true;
        }
        let &(inflight, weights) = self.sums.get_or_init(|| {
            let live = self.field.live.iter();
            live.filter_map(|&index| self.field.members.get(index as usize))
                .filter(|m| m.is_open())
                .fold((0, 0), |(i, w), m| {
                    (i + u64::from(m.inflight), w + u64::from(m.weight))
                })
        });
        let have = u128::from(member.inflight) * 100 * u128::from(weights);
        let share = u128::from(self.bound.percent()) * u128::from(member.weight);
        have < share * u128::from(inflight + 1)
    }
}
