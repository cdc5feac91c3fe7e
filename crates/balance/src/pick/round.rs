//! A round of turns that heavier servers begin and lighter ones join where there is a gap.
//!
//! A round is a window of as many positions as all weights have units. Servers that have not had a turn
//! wait by weight; one that had is at the position of its next turn, a window divided by its weight
//! further on. Who waits fills positions that nobody is at. The round is over when nobody has a position
//! left in it.

use std::cmp::Reverse;

/// Units of a configured weight of 1.
const SCALE: u64 = 16;
/// The most units that count in the order of equals.
const HEAVIEST: i64 = 256 * 16;

/// The units of a weight, of which 100 are a configured weight of 1.
pub(super) fn units(weight: u32) -> u64 {
    (u64::from(weight) * SCALE / 100).max(1)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Waiting,
    InRound,
    Over,
}

struct Turn {
    units: u64,
    place: Place,
    at: u64,
    /// What divisions have left over, carried to the next turn.
    rest: u64,
    /// When it took its place: equals go in the order in which they came.
    stamp: u64,
}

impl Turn {
    fn by_position(&self) -> (u64, i64, u64) {
        let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX / 4);
        let lead = HEAVIEST + signed(self.rest) - signed(self.units);
        (self.at, lead / signed(SCALE), self.stamp)
    }
}

/// Who has which turn of a round.
pub(super) fn places(units: &[u64]) -> Vec<usize> {
    let window: u64 = units.iter().sum();
    let turn = |(stamp, units): (u64, &u64)| Turn {
        units: (*units).max(1),
        place: Place::Waiting,
        at: 0,
        rest: 0,
        stamp,
    };
    let mut turns: Vec<Turn> = (0..).zip(units).map(turn).collect();
    let mut stamp = turns.len() as u64;
    let mut places = Vec::new();
    let mut position = 0;
    while let Some(at) = next(&turns, position) {
        let Some(turn) = turns.get_mut(at) else { break };
        if turn.place == Place::Waiting {
            turn.at = position;
        }
        turn.at += window / turn.units;
        turn.rest += window % turn.units;
        if turn.rest >= turn.units {
            turn.rest -= turn.units;
            turn.at += 1;
        }
        stamp += 1;
        turn.stamp = stamp;
        turn.place = if turn.at >= window {
            Place::Over
        } else {
            Place::InRound
        };
        position += 1;
        places.push(at);
    }
    places
}

/// Whose turn it is: who is at its position, else who waits, else who comes next.
fn next(turns: &[Turn], position: u64) -> Option<usize> {
    let of = |place: Place| {
        let turns = turns.iter().enumerate();
        turns.filter(move |(_, turn)| turn.place == place)
    };
    let coming = of(Place::InRound).min_by_key(|(_, turn)| turn.by_position());
    if let Some((at, turn)) = coming
        && turn.at <= position
    {
        return Some(at);
    }
    let waiting = of(Place::Waiting).min_by_key(|(_, turn)| (Reverse(turn.units), turn.stamp));
    waiting.or(coming).map(|(at, _)| at)
}
