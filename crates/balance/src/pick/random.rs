//! A lot by weight.

use clearway_base::rng::Rng;

use super::Ask;
use super::field::Field;
use super::weights::Weights;
use crate::member::Member;

/// State of `random`. O(log n), O(1) when all weights are equal.
pub(super) struct Random {
    weights: Weights,
}

impl Random {
    pub(super) fn new(_seed: u64) -> Self {
        Self {
            weights: Weights::default(),
        }
    }

    pub(super) fn rebuild(&mut self, members: &[Member], live: &[u32]) {
        self.weights.rebuild(members, live);
    }

    pub(super) fn pick(&self, field: &Field<'_>, ask: &Ask<'_>) -> Option<usize> {
        self.weights.draw(field, &mut Rng::new(ask.random))
    }
}
