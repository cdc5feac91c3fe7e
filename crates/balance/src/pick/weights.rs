//! Drawing lots by weight in logarithmic time.

use clearway_base::rng::Rng;

use super::field::Field;
use crate::member::Member;

/// How many lots are drawn before the members are searched one by one.
const LOTS_MAX: u32 = 4;

/// The live members with running sums of their weights.
#[derive(Default)]
pub(super) struct Weights {
    /// Index of the member and the sum of the weights up to and including it.
    entries: Vec<(u32, u64)>,
    /// Whether all weights are equal, so that a lot needs no search.
    is_uniform: bool,
}

impl Weights {
    pub(super) fn rebuild(&mut self, members: &[Member], live: &[u32]) {
        self.entries.clear();
        self.is_uniform = true;
        let (mut sum, mut first) = (0, None);
        for &index in live {
            let Some(member) = members.get(index as usize) else {
                continue;
            };
            sum += u64::from(member.weight);
            self.is_uniform &= *first.get_or_insert(member.weight) == member.weight;
            self.entries.push((index, sum));
        }
    }

    /// One member that may be chosen, by lot.
    pub(super) fn draw(&self, field: &Field<'_>, rng: &mut Rng) -> Option<usize> {
        for _ in 0..LOTS_MAX {
            let index = self.member(self.position(rng, None)?)?;
            if field.admits(index) {
                return Some(index);
            }
        }
        field.draw(rng)
    }

    /// Two different members that may be chosen, by lot, or just one when there is no other.
    pub(super) fn draw_two(
        &self,
        field: &Field<'_>,
        rng: &mut Rng,
    ) -> Option<(usize, Option<usize>)> {
        for _ in 0..LOTS_MAX {
            let first = self.position(rng, None)?;
            let a = self.member(first)?;
            if !field.admits(a) {
                continue;
            }
            for _ in 0..LOTS_MAX {
                let Some(b) = self
                    .position(rng, Some(first))
                    .and_then(|at| self.member(at))
                else {
                    return Some((a, None));
                };
                if field.admits(b) {
                    return Some((a, Some(b)));
                }
            }
            return Some((a, None));
        }
        field.draw(rng).map(|only| (only, None))
    }

    fn member(&self, position: usize) -> Option<usize> {
        self.entries.get(position).map(|&(index, _)| index as usize)
    }

    /// Sum of the weights before a position.
    fn before(&self, position: usize) -> u64 {
        position
            .checked_sub(1)
            .and_then(|p| self.entries.get(p))
            .map_or(0, |&(_, sum)| sum)
    }

    /// A position drawn by weight, never `other_than`; `None` when there is none.
    fn position(&self, rng: &mut Rng, other_than: Option<usize>) -> Option<usize> {
        let count = self.entries.len();
        if self.is_uniform {
            let free = count.checked_sub(usize::from(other_than.is_some()))?;
            let lot = usize::try_from(rng.below(u64::try_from(free).ok()?)).ok()?;
            let at = lot + usize::from(other_than.is_some_and(|other| lot >= other));
            return (free > 0).then_some(at);
        }
        let total = self.before(count);
        let (start, width) = other_than.map_or((u64::MAX, 0), |other| {
            let start = self.before(other);
            (start, self.before(other + 1) - start)
        });
        if total == width {
            return None;
        }
        let lot = rng.below(total - width);
        let lot = if lot >= start { lot + width } else { lot };
        Some(self.entries.partition_point(|&(_, sum)| sum <= lot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pick::field::Pass;

    /// How often each ordered pair is drawn.
    fn pairs(weights: &[u32]) -> Vec<Vec<u32>> {
        let members: Vec<Member> = weights.iter().map(|&w| Member::new(1, w)).collect();
        let live: Vec<u32> = (0..).take(members.len()).collect();
        let mut table = Weights::default();
        table.rebuild(&members, &live);
        let field = Field {
            members: &members,
            live: &live,
            exclude: &[],
            pass: Pass::FreshWithRoom,
        };
        let mut rng = Rng::new(3);
        let mut counts = vec![vec![0; members.len()]; members.len()];
        for _ in 0..30_000 {
            let (a, b) = table.draw_two(&field, &mut rng).unwrap();
            counts[a][b.unwrap()] += 1;
        }
        counts
    }

    #[test]
    fn two_lots_are_different_members_each_by_weight() {
        for weights in [[100, 100, 100], [100, 200, 300], [300, 100, 200]] {
            let counts = pairs(&weights);
            let total: u32 = weights.iter().sum();
            for (a, row) in counts.iter().enumerate() {
                for (b, &count) in row.iter().enumerate() {
                    let first = f64::from(weights[a]) / f64::from(total);
                    let second = f64::from(weights[b]) / f64::from(total - weights[a]);
                    let fair = if a == b {
                        0.0
                    } else {
                        first * second * 30_000.0
                    };
                    let off = (f64::from(count) - fair).abs();
                    assert!(
                        off <= 5.0 * fair.sqrt(),
                        "{weights:?} {a} {b}: {count} for {fair}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_lonely_member_has_no_second() {
        let members = [Member::new(1, 70)];
        let mut table = Weights::default();
        let mut field = Field {
            members: &members,
            live: &[0],
            exclude: &[],
            pass: Pass::FreshWithRoom,
        };
        let mut rng = Rng::new(3);
        assert_eq!(table.draw_two(&field, &mut rng), None);
        table.rebuild(&members, &[0]);
        assert_eq!(table.draw_two(&field, &mut rng), Some((0, None)));
        field.exclude = &[0];
        assert_eq!(table.draw_two(&field, &mut rng), None);
    }
}
