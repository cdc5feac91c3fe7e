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
