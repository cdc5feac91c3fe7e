//! The less loaded of two drawn by lot.

use std::cmp::Ordering;

use clearway_base::rng::Rng;

use super::Ask;
use super::field::{Field, by_load};
use super::weights::Weights;
use crate::member::Member;

/// State of `power_of_two`. O(log n), O(1) when all weights are equal.
pub(super) struct PowerOfTwo {
    weights: Weights,
}

impl PowerOfTwo {
    pub(super) fn new(_seed: u64) -> Self {
        Self {
            weights: Weights::default(),
        }
    }

    pub(super) fn rebuild(&mut self, members: &[Member], live: &[u32]) {
        self.weights.rebuild(members, live);
    }

    pub(super) fn pick(&self, field: &Field<'_>, ask: &Ask<'_>) -> Option<usize> {
        let (first, second) = self.weights.draw_two(field, &mut Rng::new(ask.random))?;
        let a = field.members.get(first)?;
        // A tie stays with the first lot, which was drawn by weight from all.
        let better = second.filter(|&s| {
            field
                .members
                .get(s)
                .is_some_and(|b| by_load(b, a) == Ordering::Less)
        });
        Some(better.unwrap_or(first))
    }
}
