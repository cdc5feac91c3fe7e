//! The fewest unfinished requests per weight.

use std::cmp::Ordering;

use clearway_base::rng::Rng;

use super::Ask;
use super::field::{Field, Lots, by_load};
use crate::member::Member;

/// `least_requests` has no state. O(n): one pass over the members.
///
/// Equals are drawn by lot with their weights: without it an idle backend would give everything to
/// its first or heaviest server, and all workers would choose the same.
pub(super) struct LeastRequests;

impl LeastRequests {
    pub(super) fn new(_seed: u64) -> Self {
        Self
    }

    pub(super) fn rebuild(&self, _members: &[Member], _live: &[u32]) {}

    pub(super) fn pick(&self, field: &Field<'_>, ask: &Ask<'_>) -> Option<usize> {
        let mut rng = Rng::new(ask.random);
        let mut lots = Lots::default();
        let mut best: Option<&Member> = None;
        for (index, member) in field.admitted() {
            match best.map_or(Ordering::Less, |b| by_load(member, b)) {
                Ordering::Less => {
                    best = Some(member);
                    lots.clear();
                    lots.add(index, member.weight, &mut rng);
                }
                Ordering::Equal => lots.add(index, member.weight, &mut rng),
                Ordering::Greater => {}
            }
        }
        lots.winner
    }
}

/// State of `least_requests_in_turn`: when each member was last chosen. O(n).
pub(super) struct InTurn {
    chosen: Vec<u64>,
    count: u64,
}

impl InTurn {
    pub(super) fn new(_seed: u64) -> Self {
        Self {
            chosen: Vec::new(),
            count: 0,
        }
    }

    pub(super) fn rebuild(&mut self, members: &[Member], _live: &[u32]) {
        self.chosen.resize(members.len(), 0);
    }

    pub(super) fn pick(&mut self, field: &Field<'_>, _ask: &Ask<'_>) -> Option<usize> {
        let mut best: Option<(usize, &Member, u64)> = None;
        for (index, member) in field.admitted() {
            let chosen = self.chosen.get(index).copied().unwrap_or(0);
            let is_better = best.is_none_or(|(_, other, last)| {
                by_next_load(member, other).then(chosen.cmp(&last)) == Ordering::Less
            });
            if is_better {
                best = Some((index, member, chosen));
            }
        }
        let index = best?.0;
        self.count += 1;
        if let Some(chosen) = self.chosen.get_mut(index) {
            *chosen = self.count;
        }
        Some(index)
    }
}

/// Orders two members by the load that one more request would make; all who are idle are equal.
fn by_next_load(a: &Member, b: &Member) -> Ordering {
    let load = |x: &Member, y: &Member| match x.inflight {
        0 => 0,
        count => (u64::from(count) + 1) * u64::from(y.weight),
    };
    load(a, b).cmp(&load(b, a))
}
