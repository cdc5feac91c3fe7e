//! A ring of 32 bits on which a key goes to the nearest point, before or behind it.

use clearway_base::hash32::scattered;

use super::Ask;
use super::field::Field;
use crate::member::Member;

/// Points of a server for a configured weight of 1.
const POINTS: u32 = 16;
/// Points of a server at most, which is also how far apart the points of two servers are numbered.
const POINTS_MAX: u32 = 256 * POINTS;
/// Points on the ring at most.
const RING_MAX: usize = 1 << 18;

/// State of `hash_ring`. O(log n) while the server of the key may be chosen.
pub(super) struct HashRing {
    placed: Vec<(u32, u32)>,
    /// Where, and whose.
    points: Vec<(u32, u32)>,
}

impl HashRing {
    pub(super) fn new(_seed: u64) -> Self {
        Self {
            placed: Vec::new(),
            points: Vec::new(),
        }
    }

    pub(super) fn rebuild(&mut self, members: &[Member], live: &[u32]) {
        let known = live
            .iter()
            .filter_map(|&index| Some((index, members.get(index as usize)?)));
        let placed: Vec<_> = known.map(|(index, m)| (index, m.weight)).collect();
        if placed == self.placed {
            return;
        }
        self.placed = placed;
        self.points.clear();
        for &(index, weight) in &self.placed {
            let count = (weight.saturating_mul(POINTS) / 100).clamp(1, POINTS_MAX);
            // Servers are numbered from 1 in the order of the configuration.
            let first = index.wrapping_add(1).wrapping_mul(POINTS_MAX);
            let room = RING_MAX.saturating_sub(self.points.len());
            let points = (0..count).map(|n| (scattered(first.wrapping_add(n)), index));
            self.points.extend(points.take(room.max(1)));
        }
        self.points.sort_unstable();
    }

    pub(super) fn pick(&self, field: &Field<'_>, ask: &Ask<'_>) -> Option<usize> {
        #[expect(clippy::cast_possible_truncation, reason = "keys have 32 bits")]
        let hash = ask.key.unwrap_or(ask.random) as u32;
        let after = self.points.partition_point(|(at, _)| *at < hash);
        let next = self.points.get(after).or_else(|| self.points.first())?;
        let previous = match after.checked_sub(1) {
            Some(before) => self.points.get(before)?,
            None => self.points.last()?,
        };
        let is_behind = hash.wrapping_sub(previous.0) <= next.0.wrapping_sub(hash);
        let from = if is_behind {
            after + self.points.len() - 1
        } else {
            after
        };
        let from = from % self.points.len().max(1);
        let (before, onward) = self.points.split_at_checked(from)?;
        let mut round = onward.iter().chain(before).map(|(_, i)| *i as usize);
        round.find(|index| field.admits(*index))
    }
}
