//! Turns by weight, spread out evenly.

use clearway_base::hash::{Map, mix};

use super::Ask;
use super::field::Field;
use crate::member::Member;

/// Virtual time between the turns of a member of weight 1.
const ROUND: u64 = 1 << 32;
/// Virtual time at which all clocks are set back.
const REBASE_AT: u64 = 1 << 62;

/// State of `round_robin`: every member has the virtual time of its next turn, the earliest comes
/// next and is due again after a period of `ROUND / weight`. O(log n).
///
/// The heap keeps the earliest turn on top. Turns begin at a random phase, so that workers which start
/// together do not all begin with the same server; with seed 0 they begin in the order of the list.
pub(super) struct RoundRobin {
    heap: Vec<Turn>,
    clock: u64,
    seed: u64,
}

#[derive(Clone, Copy)]
struct Turn {
    due: u64,
    period: u64,
    index: u32,
    key: u64,
}

impl Turn {
    fn rank(&self) -> (u64, u32) {
        (self.due, self.index)
    }
}

impl RoundRobin {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            heap: Vec::new(),
            clock: 0,
            seed,
        }
    }

    fn phase(&self, key: u64) -> u64 {
        match self.seed {
            0 => 0,
            seed => mix(seed ^ key),
        }
    }

    pub(super) fn rebuild(&mut self, members: &[Member], live: &[u32]) {
        let clock = self.clock;
        let before: Map<u64, Turn> = self.heap.iter().map(|turn| (turn.key, *turn)).collect();
        self.heap.clear();
        for &index in live {
            let Some(member) = members.get(index as usize) else {
                continue;
            };
            let period = (ROUND / u64::from(member.weight.max(1))).max(1);
            // Who already waited part of a period has waited the same part of the new one: frequent
            // rebuilds (slow start) must not reset anyone's place in the order.
            let (part, whole) = before.get(&member.key).map_or_else(
                || (self.phase(member.key) % period, period),
                |turn| (turn.due.saturating_sub(clock), turn.period),
            );
            let wait = u128::from(part) * u128::from(period) / u128::from(whole);
            self.heap.push(Turn {
                due: clock.saturating_add(u64::try_from(wait).unwrap_or(period)),
                period,
                index,
                key: member.key,
            });
        }
        for at in (0..self.heap.len() / 2).rev() {
            self.sink(at);
        }
    }

    pub(super) fn pick(&mut self, field: &Field<'_>, _ask: &Ask<'_>) -> Option<usize> {
        let admits = |turn: &Turn| field.admits(turn.index as usize);
        let at = match self.heap.first() {
            Some(top) if admits(top) => 0,
            _ => {
                let open = self.heap.iter().enumerate().filter(|(_, t)| admits(t));
                open.min_by_key(|(_, turn)| turn.rank())?.0
            }
        };
        let turn = self.heap.get_mut(at)?;
        self.clock = self.clock.max(turn.due);
        // Whoever was passed over (full, already tried) makes up for one turn at most.
        turn.due = turn.due.max(self.clock.saturating_sub(turn.period)) + turn.period;
        let index = turn.index as usize;
        self.sink(at);
        if self.clock > REBASE_AT {
            self.rebase();
        }
        Some(index)
    }

    /// Moves the turn at `at` down until no later one is above an earlier one.
    fn sink(&mut self, mut at: usize) {
        loop {
            let rank = |i: usize| self.heap.get(i).map(Turn::rank);
            let Some(mine) = rank(at) else { return };
            let (left, right) = (2 * at + 1, 2 * at + 2);
            let Some(left_rank) = rank(left) else { return };
            let (child, child_rank) = match rank(right) {
                Some(right_rank) if right_rank < left_rank => (right, right_rank),
                _ => (left, left_rank),
            };
            if mine <= child_rank {
                return;
            }
            self.heap.swap(at, child);
            at = child;
        }
    }

    #[cold]
    fn rebase(&mut self) {
        let by = self.clock.saturating_sub(ROUND);
        self.clock -= by;
        // Subtracting the same from all keeps the order; only turns long overdue become equal.
        for turn in &mut self.heap {
            turn.due = turn.due.saturating_sub(by);
        }
        for at in (0..self.heap.len() / 2).rev() {
            self.sink(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Algorithm, Picker};
    use clearway_base::clock::Stamp;

    const ASK: Ask<'_> = Ask {
        key: None,
        exclude: &[],
        random: 0,
        now: Stamp(1),
        turns: None,
        spare: false,
    };

    fn members(weights: &[u32]) -> Vec<Member> {
        (1..)
            .zip(weights)
            .map(|(key, &weight)| Member::new(key, weight))
            .collect()
    }

    #[test]
    fn turns_of_a_heavy_server_are_spread_out() {
        let members = members(&[500, 100, 100]);
        let mut picker = Picker::new(&Algorithm::RoundRobin, 5);
        picker.rebuild(&members);
        let picks: Vec<_> = (0..70)
            .filter_map(|_| picker.pick(&members, &ASK))
            .collect();
        for window in picks.windows(7) {
            let heavy = window.iter().filter(|&&i| i == 0).count();
            assert!((4..=6).contains(&heavy), "{window:?}");
        }
        assert_eq!(picks.iter().filter(|&&i| i == 1).count(), 10);
    }

    #[test]
    fn rebuilding_before_every_choice_changes_no_share() {
        let members = members(&[100, 100, 200]);
        let mut picker = Picker::new(&Algorithm::RoundRobin, 5);
        let mut counts = [0_usize; 3];
        for _ in 0..400 {
            picker.rebuild(&members);
            counts[picker.pick(&members, &ASK).unwrap()] += 1;
        }
        assert!(counts[0].abs_diff(100) <= 1 && counts[2].abs_diff(200) <= 1);
    }

    #[test]
    fn a_server_that_was_full_does_not_get_a_burst_afterwards() {
        let mut members = members(&[100, 100]);
        let mut picker = Picker::new(&Algorithm::RoundRobin, 5);
        picker.rebuild(&members);
        members[0].full = true;
        assert!((0..100).all(|_| picker.pick(&members, &ASK) == Some(1)));
        members[0].full = false;
        let first = (0..10)
            .filter(|_| picker.pick(&members, &ASK) == Some(0))
            .count();
        assert!((5..=6).contains(&first), "{first}");
    }

    #[test]
    fn setting_the_clocks_back_keeps_the_order() {
        let members = members(&[100, 300]);
        let mut state = RoundRobin::new(1);
        state.clock = REBASE_AT - 10;
        state.rebuild(&members, &[0, 1]);
        let field = Field {
            members: &members,
            live: &[0, 1],
            exclude: &[],
            pass: super::super::field::Pass::Anyone,
        };
        let heavy = (0..400).filter(|_| state.pick(&field, &ASK) == Some(1));
        assert!(heavy.count().abs_diff(300) <= 1);
        assert!(state.clock < REBASE_AT);
    }
}
