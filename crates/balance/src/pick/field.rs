//! What algorithms share: which members may be chosen now, and slow but exact choices among them.

use clearway_base::hash::mix;
use clearway_base::rng::Rng;

use crate::member::Member;

/// How picky a choice is; each is tried only when the one before found nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pass {
    /// Not tried yet and not full.
    FreshWithRoom,
    /// Not tried yet.
    Fresh,
    /// Not full.
    WithRoom,
    /// Anyone.
    Anyone,
}

impl Pass {
    pub(super) const ALL: &'static [Self] = &[
        Self::FreshWithRoom,
        Self::Fresh,
        Self::WithRoom,
        Self::Anyone,
    ];

    /// Whether members already tried are allowed.
    pub(super) fn ignores_tried(self) -> bool {
        matches!(self, Self::WithRoom | Self::Anyone)
    }

    fn ignores_full(self) -> bool {
        matches!(self, Self::Fresh | Self::Anyone)
    }
}

/// The members as one choice sees them.
pub(super) struct Field<'a> {
    pub(super) members: &'a [Member],
    /// Indices of the open members of the active tier at the last rebuild.
    pub(super) live: &'a [u32],
    pub(super) exclude: &'a [usize],
    pub(super) pass: Pass,
}

impl Field<'_> {
    /// Whether the member may be chosen in this pass.
    pub(super) fn admits(&self, index: usize) -> bool {
        self.members.get(index).is_some_and(|m| {
            m.is_open()
                && (self.pass.ignores_full() || !m.full)
                && (self.pass.ignores_tried() || !self.exclude.contains(&index))
        })
    }

    /// Every member that may be chosen in this pass. O(n).
    pub(super) fn admitted(&self) -> impl Iterator<Item = (usize, &Member)> {
        self.live
            .iter()
            .map(|&index| index as usize)
            .filter(|&index| self.admits(index))
            .filter_map(|index| self.members.get(index).map(|m| (index, m)))
    }

    /// A lot by weight among all that may be chosen. O(n).
    pub(super) fn draw(&self, rng: &mut Rng) -> Option<usize> {
        let mut lots = Lots::default();
        for (index, member) in self.admitted() {
            lots.add(index, member.weight, rng);
        }
        lots.winner
    }

    /// The member that the key `hash` prefers among all for which `fits` holds, by the highest
    /// weighted random score (rendezvous hashing). O(n).
    pub(super) fn rendezvous(
        &self,
        hash: u64,
        fits: impl Fn(usize, &Member) -> bool,
    ) -> Option<usize> {
        let score = |m: &Member| {
            let unit = Rng::new(mix(hash) ^ m.key).unit().max(f64::MIN_POSITIVE);
            -unit.ln() / f64::from(m.weight.max(1))
        };
        self.admitted()
            .filter(|&(index, m)| fits(index, m))
            .min_by(|(_, a), (_, b)| score(a).total_cmp(&score(b)))
            .map(|(index, _)| index)
    }
}

/// Draws one of several by weight while they are being enumerated.
#[derive(Default)]
pub(super) struct Lots {
    total: u64,
    pub(super) winner: Option<usize>,
}

impl Lots {
    pub(super) fn add(&mut self, index: usize, weight: u32, rng: &mut Rng) {
        self.total += u64::from(weight);
        // The first needs no lot: the common case of a single candidate costs nothing.
        if self.winner.is_none() || rng.below(self.total) < u64::from(weight) {
            self.winner = Some(index);
        }
    }

    /// Forgets all candidates.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// Orders two members by unfinished requests per weight.
pub(super) fn by_load(a: &Member, b: &Member) -> std::cmp::Ordering {
    let load = |x: &Member, y: &Member| u64::from(x.inflight) * u64::from(y.weight);
    load(a, b).cmp(&load(b, a))
}
