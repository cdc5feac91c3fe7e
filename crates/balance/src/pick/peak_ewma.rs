//! The cheaper of two drawn by lot, cost being latency × (unfinished requests + 1).

use clearway_base::clock::Stamp;
use clearway_base::rng::Rng;

use super::Ask;
use super::field::Field;
use super::weights::Weights;
use crate::member::Member;

/// Latency assumed for a server that was never measured and already has requests: one second. Its
/// first request comes for free, so that it is measured at all; more have to wait for the result.
const PENALTY_US: f64 = 1_000_000.0;

/// State of `peak_ewma`; the averages live in the members. O(log n), O(1) when all weights are
/// equal.
pub(super) struct PeakEwma {
    weights: Weights,
}

impl PeakEwma {
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
        let a = cost(field.members.get(first)?, ask.now);
        let better = second.filter(|&s| {
            let b = field.members.get(s).map(|m| cost(m, ask.now));
            b.is_some_and(|b| b < a)
        });
        Some(better.unwrap_or(first))
    }
}

fn cost(member: &Member, now: Stamp) -> f64 {
    let latency = match member.latency_us(now) {
        Some(measured) => measured,
        None if member.inflight == 0 => 0.0,
        None => PENALTY_US,
    };
    latency * (f64::from(member.inflight) + 1.0) / f64::from(member.weight.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Algorithm, Picker};
    use std::time::Duration;

    fn pick(picker: &mut Picker, members: &[Member], random: u64, now: Stamp) -> usize {
        let ask = Ask {
            key: None,
            exclude: &[],
            random,
            now,
            turns: None,
            spare: false,
        };
        picker.pick(members, &ask).unwrap()
    }

    #[test]
    fn the_slow_server_is_avoided_and_tried_again_when_its_average_faded() {
        let mut members = vec![Member::new(1, 100), Member::new(2, 100)];
        let mut picker = Picker::new(&Algorithm::PeakEwma, 1);
        picker.rebuild(&members);
        let mut now = Stamp(1_000_000);
        for (member, latency) in members.iter_mut().zip([1_000, 100_000]) {
            member.started();
            member.finished(Some(latency), now);
        }
        assert!((0..100).all(|r| pick(&mut picker, &members, r, now) == 0));
        // Only the fast one is measured from here on; the other's average fades.
        let mut tried_after = None;
        for second in 0..120_u64 {
            now = now.plus(Duration::from_secs(1));
            if pick(&mut picker, &members, second, now) == 1 {
                tried_after = Some(second);
                break;
            }
            members[0].started();
            members[0].finished(Some(1_000), now);
        }
        // 100 ms fade to 1 ms in 10 s × ln 100 = 46 s.
        assert!((40..60).contains(&tried_after.unwrap()), "{tried_after:?}");
    }

    #[test]
    fn a_new_server_is_probed_by_one_request_at_a_time() {
        let mut members = vec![Member::new(1, 100), Member::new(2, 100)];
        let mut picker = Picker::new(&Algorithm::PeakEwma, 1);
        picker.rebuild(&members);
        let now = Stamp(1_000_000);
        members[0].started();
        members[0].finished(Some(5_000), now);
        assert_eq!(pick(&mut picker, &members, 1, now), 1);
        members[1].started();
        assert!((0..50).all(|r| pick(&mut picker, &members, r, now) == 0));
    }
}
