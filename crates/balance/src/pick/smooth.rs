//! Turns by weight, smoothed: before each choice everybody who may be chosen gains its weight, and who has
//! gained most is chosen and pays for all. The order in which NGINX's servers take turns.

use clearway_base::hash::Map;

use super::Ask;
use super::field::{Field, by_load};
use crate::member::Member;

/// What everybody has gained.
#[derive(Default)]
struct Gains {
    gains: Vec<i64>,
    keys: Vec<u64>,
}

impl Gains {
    /// Keeps what is known of members that stay.
    fn rebuild(&mut self, members: &[Member]) {
        if self.keys.len() == members.len()
            && self.keys.iter().zip(members).all(|(key, m)| *key == m.key)
        {
            return;
        }
        let before: Map<u64, i64> = self.keys.drain(..).zip(self.gains.drain(..)).collect();
        for member in members {
            self.keys.push(member.key);
            let gain = before.get(&member.key).copied();
            self.gains.push(gain.unwrap_or_default());
        }
    }

    /// Whose turn it is among those that take part. O(n).
    fn turn<'m>(
        &mut self,
        taking_part: impl Iterator<Item = (usize, &'m Member)>,
    ) -> Option<usize> {
        let (mut all, mut best) = (0_i64, None);
        for (index, member) in taking_part {
            let gain = self.gains.get_mut(index)?;
            let weight = i64::from(member.weight);
            *gain = gain.saturating_add(weight);
            all = all.saturating_add(weight);
            if best.is_none_or(|(_, most)| *gain > most) {
                best = Some((index, *gain));
            }
        }
        let (index, _) = best?;
        let gain = self.gains.get_mut(index)?;
        *gain = gain.saturating_sub(all);
        Some(index)
    }
}

/// State of `smooth_round_robin`. O(n).
#[derive(Default)]
pub(super) struct SmoothRoundRobin {
    gains: Gains,
}

impl SmoothRoundRobin {
    pub(super) fn new(_seed: u64) -> Self {
        Self::default()
    }

    pub(super) fn rebuild(&mut self, members: &[Member], _live: &[u32]) {
        self.gains.rebuild(members);
    }

    pub(super) fn pick(&mut self, field: &Field<'_>, _ask: &Ask<'_>) -> Option<usize> {
        self.gains.turn(field.admitted())
    }
}

/// State of `smooth_least_requests`. O(n).
#[derive(Default)]
pub(super) struct SmoothLeastRequests {
    gains: Gains,
}

impl SmoothLeastRequests {
    pub(super) fn new(_seed: u64) -> Self {
        Self::default()
    }

    pub(super) fn rebuild(&mut self, members: &[Member], _live: &[u32]) {
        self.gains.rebuild(members);
    }

    pub(super) fn pick(&mut self, field: &Field<'_>, _ask: &Ask<'_>) -> Option<usize> {
        let (best, least) = field.admitted().min_by(|(_, a), (_, b)| by_load(a, b))?;
        let equal = |(_, m): &(usize, &Member)| by_load(m, least).is_eq();
        // Without equals nobody's turn is over.
        if field.admitted().filter(equal).nth(1).is_none() {
            return Some(best);
        }
        self.gains.turn(field.admitted().filter(equal))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::member::Member;

    fn field(members: &[Member]) -> Field<'_> {
        Field {
            members,
            live: &[0, 1, 2],
            exclude: &[],
            pass: super::super::field::Pass::Anyone,
        }
    }

    #[test]
    fn heavy_servers_take_their_turns_between_the_others() {
        let members: Vec<Member> = [500, 100, 100]
            .iter()
            .zip(1..)
            .map(|(&weight, key)| Member::new(key, weight))
            .collect();
        let mut gains = Gains::default();
        gains.rebuild(&members);
        let picks: Vec<usize> = (0..7)
            .filter_map(|_| gains.turn(field(&members).admitted()))
            .collect();
        assert_eq!(picks, [0, 0, 1, 0, 2, 0, 0]);
    }
}
