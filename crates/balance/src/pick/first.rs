//! The first that has room, in the order of the configuration.

use super::Ask;
use super::field::Field;
use crate::member::Member;

/// `first` has no state. O(number of full servers before the chosen one).
pub(super) struct First;

impl First {
    pub(super) fn new(_seed: u64) -> Self {
        Self
    }

    pub(super) fn rebuild(&self, _members: &[Member], _live: &[u32]) {}

    pub(super) fn pick(&self, field: &Field<'_>, _ask: &Ask<'_>) -> Option<usize> {
        field.admitted().next().map(|(index, _)| index)
    }
}
