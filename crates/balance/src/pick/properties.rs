//! What every algorithm must keep, whatever the members: each test runs over `Algorithm::ALL`.

use std::collections::VecDeque;

use clearway_base::clock::Stamp;
use clearway_base::hash::mix;
use clearway_base::rng::Rng;
use proptest::prelude::{ProptestConfig, Strategy, any, prop_assert, prop_assert_eq};
use proptest::proptest;

use super::{Algorithm, Ask, Bound, Picker, Spread};
use crate::member::Member;

fn all() -> impl Iterator<Item = Algorithm> {
    let unbounded = Algorithm::ConsistentHash { bound: Bound::NONE };
    Algorithm::ALL.iter().copied().chain([unbounded])
}

/// Algorithms that go by key, without those that choose as another program does: that one's servers are
/// known by their places, and its list moves nearly all keys.
fn by_key() -> impl Iterator<Item = Algorithm> {
    let foreign = [
        Algorithm::HashTable,
        Algorithm::HashRing,
        Algorithm::CrcTable,
        Algorithm::NetworkTable,
    ];
    all().filter(move |a| a.spread() == Spread::Key && !foreign.contains(a))
}

fn picker(algorithm: Algorithm, members: &[Member]) -> Picker {
    let mut picker = Picker::new(&algorithm, 9);
    picker.rebuild(members);
    picker
}

fn ask(key: u64, exclude: &[usize]) -> Ask<'_> {
    Ask {
        key: Some(mix(key)),
        exclude,
        random: mix(key ^ 0x5eed),
        now: Stamp(1_000_000 + key % 1_000),
        turns: None,
        spare: false,
    }
}

fn equal_members(count: u64) -> Vec<Member> {
    (0..count).map(|n| Member::new(mix(n + 1), 100)).collect()
}

fn any_member() -> impl Strategy<Value = Member> {
    let weight = proptest::prop_oneof![0..3_u32, 50..400_u32];
    (
        0..50_u64,
        weight,
        any::<bool>(),
        0..3_u8,
        0..4_u32,
        any::<bool>(),
    )
        .prop_map(|(key, weight, usable, tier, inflight, full)| {
            // Few keys, so that some are equal by mistake.
            let mut member = Member::new(key, weight);
            (member.usable, member.tier, member.full) = (usable, tier, full);
            (0..inflight).for_each(|_| member.started());
            if key % 2 == 0 {
                member.finished(Some(key * 100), Stamp(500));
            }
            member
        })
}

fn any_members() -> impl Strategy<Value = Vec<Member>> {
    proptest::collection::vec(any_member(), 0..40)
}

/// Keeps `under_way` requests going, each ending after all earlier ones, and counts who got them.
fn load(algorithm: Algorithm, members: &mut [Member], requests: u64, under_way: usize) -> Vec<u64> {
    let mut picker = picker(algorithm, members);
    let mut counts = vec![0; members.len()];
    let mut running = VecDeque::new();
    for n in 0..requests {
        let now = Stamp(1_000_000 + n * 10);
        if running.len() == under_way
            && let Some(index) = running.pop_front()
        {
            let member: &mut Member = &mut members[index];
            member.finished(Some(1_000), now);
        }
        let ask = Ask { now, ..ask(n, &[]) };
        let index = picker.pick(members, &ask).unwrap();
        members[index].started();
        running.push_back(index);
        counts[index] += 1;
    }
    counts
}

fn shares(counts: &[u64]) -> Vec<f64> {
    let total: u64 = counts.iter().sum();
    counts.iter().map(|&c| c as f64 / total as f64).collect()
}

/// Relative deviation from the fair share that an algorithm may show in these tests: none for
/// turns, that of lots for lots, that of 100 points per member for a ring.
fn tolerance(algorithm: Algorithm) -> f64 {
    match algorithm {
        Algorithm::RoundRobin | Algorithm::SmoothRoundRobin | Algorithm::StaticRoundRobin => 0.001,
        Algorithm::RoundRobinOrdered => 0.01,
        Algorithm::LeastRequestsInTurn
        | Algorithm::LeastRequests
        | Algorithm::SmoothLeastRequests
        | Algorithm::PowerOfTwo
        | Algorithm::Random => 0.08,
        Algorithm::PeakEwma => 0.15,
        Algorithm::Maglev
        | Algorithm::HashTable
        | Algorithm::CrcTable
        | Algorithm::NetworkTable => 0.06,
        Algorithm::ConsistentHash { .. } => 0.45,
        // It has sixteen points for a weight of 1.
        Algorithm::HashRing => 0.8,
        Algorithm::First => f64::INFINITY,
    }
}

#[test]
fn shares_follow_weights() {
    for algorithm in all().filter(|a| a.spread() != Spread::Order) {
        // Some know whole weights only.
        let weights = match [Algorithm::CrcTable, Algorithm::NetworkTable].contains(&algorithm) {
            true => [100, 200, 300, 100, 100, 200],
            false => [100, 200, 300, 50, 100, 250],
        };
        let mut members: Vec<Member> = (1..)
            .zip(weights)
            .map(|(key, weight)| Member::new(mix(key), weight))
            .collect();
        let shares = shares(&load(algorithm, &mut members, 60_000, 100));
        for (share, weight) in shares.iter().zip(weights) {
            let fair = f64::from(weight) / 1_000.0;
            let off = (share / fair - 1.0).abs();
            assert!(
                off < tolerance(algorithm),
                "{}: weight {weight} got {share:.4}, off by {off:.3}",
                algorithm.name()
            );
        }
    }
}

#[test]
fn nobody_starves_when_requests_come_one_at_a_time() {
    for algorithm in all().filter(|a| a.spread() != Spread::Order) {
        let counts = load(algorithm, &mut equal_members(10), 10_000, 1);
        assert!(
            counts.iter().all(|&c| c > 500),
            "{}: {counts:?}",
            algorithm.name()
        );
    }
}

#[test]
fn first_fills_in_order() {
    let mut members = equal_members(3);
    let mut picker = picker(Algorithm::First, &members);
    for key in 0..15 {
        let index = picker.pick(&members, &ask(key, &[])).unwrap();
        members[index].started();
        members[index].full = members[index].inflight == 10;
    }
    let counts: Vec<u32> = members.iter().map(|m| m.inflight).collect();
    assert_eq!(counts, [10, 5, 0]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whoever is chosen is open, in the lowest tier that has anyone open, not tried before and not
    /// full while there is another; somebody is chosen if and only if somebody is open.
    #[test]
    fn choices_keep_the_rules(
        members in any_members(),
        exclude in proptest::collection::vec(0..45_usize, 0..6),
        keys in proptest::collection::vec(any::<u64>(), 1..8),
    ) {
        let tier = members.iter().filter(|m| m.is_open()).map(|m| m.tier).min();
        let open: Vec<usize> = (0..members.len())
            .filter(|&i| members[i].is_open() && Some(members[i].tier) == tier)
            .collect();
        let fresh = |i: usize| !exclude.contains(&i);
        let has_room = |i: usize| !members[i].full;
        for algorithm in all() {
            let mut picker = picker(algorithm, &members);
            for &key in &keys {
                let name = algorithm.name();
                let Some(got) = picker.pick(&members, &ask(key, &exclude)) else {
                    prop_assert!(open.is_empty(), "{} chose nobody", name);
                    continue;
                };
                prop_assert!(open.contains(&got), "{} chose {}", name, got);
                prop_assert!(fresh(got) || !open.iter().any(|&i| fresh(i)), "{}", name);
                let rivals = || open.iter().filter(|&&i| fresh(i) == fresh(got));
                prop_assert!(has_room(got) || !rivals().any(|&i| has_room(i)), "{}", name);
            }
        }
    }

    /// Members change between rebuilds and choices in any order, the list may even shrink: nobody
    /// who is not open is chosen, and nothing panics.
    #[test]
    fn a_stale_picker_is_safe(before in any_members(), after in any_members(), key in any::<u64>()) {
        for algorithm in all() {
            let mut picker = picker(algorithm, &before);
            for n in 0..4 {
                let got = picker.pick(&after, &ask(key.wrapping_add(n), &[]));
                prop_assert!(got.is_none_or(|i| after[i].is_open()));
                prop_assert_eq!(got.is_some(), after.iter().any(Member::is_open));
            }
        }
    }

    /// The order of the list decides nothing for algorithms that go by key.
    #[test]
    fn keys_do_not_depend_on_the_order(count in 1..30_u64, by in 0..30_usize, key in any::<u64>()) {
        let members = equal_members(count);
        let mut turned = members.clone();
        turned.rotate_left(by % members.len());
        for algorithm in by_key() {
            let a = picker(algorithm, &members).pick(&members, &ask(key, &[])).unwrap();
            let b = picker(algorithm, &turned).pick(&turned, &ask(key, &[])).unwrap();
            prop_assert_eq!(members[a].key, turned[b].key);
        }
    }

    /// With the bound on, nobody has more than ⌈bound × fair share⌉ requests, however skewed the
    /// keys are.
    #[test]
    fn bounded_load_holds(
        weights in proptest::collection::vec(50..400_u32, 1..12),
        percent in 100..300_u32,
        seed in any::<u64>(),
        hot in 1..5_u64,
    ) {
        let mut members: Vec<Member> = (1..)
            .zip(&weights)
            .map(|(key, &weight)| Member::new(mix(key), weight))
            .collect();
        let bound = Bound::from_factor(f64::from(percent) / 100.0).unwrap();
        let mut picker = picker(Algorithm::ConsistentHash { bound }, &members);
        let weight_sum: u64 = weights.iter().map(|&w| u64::from(w)).sum();
        let mut rng = Rng::new(seed);
        let mut running = Vec::new();
        for _ in 0..300 {
            if !running.is_empty() && rng.below(3) == 0 {
                let at = usize::try_from(rng.below(running.len() as u64)).unwrap();
                let index: usize = running.swap_remove(at);
                members[index].finished(None, Stamp(2));
            }
            let index = picker.pick(&members, &ask(rng.below(hot), &[])).unwrap();
            members[index].started();
            running.push(index);
            let total = running.len() as u64;
            let fair = u64::from(bound.percent()) * total * u64::from(members[index].weight);
            let limit = fair.div_ceil(100 * weight_sum);
            prop_assert!(u64::from(members[index].inflight) <= limit);
        }
    }
}

/// Part of the keys that go to another member (by key) after a change.
fn moved(algorithm: Algorithm, before: &[Member], after: &[Member]) -> (f64, f64) {
    const KEYS: u64 = 20_000;
    let (mut a, mut b) = (picker(algorithm, before), picker(algorithm, after));
    let (mut forced, mut needless) = (0, 0);
    for n in 0..KEYS {
        let ask = ask(mix(n), &[]);
        let was = before[a.pick(before, &ask).unwrap()].key;
        let is = after[b.pick(after, &ask).unwrap()].key;
        if was == is {
            continue;
        }
        let has = |list: &[Member], key| list.iter().any(|m| m.key == key && m.is_open());
        // A key must move when its member is gone; it may move to a member that is new.
        if has(after, was) && has(before, is) {
            needless += 1;
        } else {
            forced += 1;
        }
    }
    let part = |count: u64| count as f64 / KEYS as f64;
    (part(forced), part(needless))
}

#[test]
fn few_keys_move_when_a_member_comes_or_goes() {
    for algorithm in by_key() {
        for count in [5, 20, 100] {
            let all = equal_members(count);
            let fewer = &all[..all.len() - 1];
            let fair = 1.0 / count as f64;
            for (before, after) in [(&all[..], fewer), (fewer, &all[..])] {
                let (forced, needless) = moved(algorithm, before, after);
                let name = algorithm.name();
                assert!(
                    forced > 0.0 && forced < 2.0 * fair,
                    "{name} {count}: {forced}"
                );
                // A ring moves nothing else; a lookup table a little.
                let extra = if algorithm == Algorithm::Maglev {
                    0.06
                } else {
                    0.0
                };
                assert!(needless <= extra, "{name} {count}: {needless}");
            }
        }
    }
}

#[test]
fn only_the_keys_of_a_member_that_goes_down_move_and_they_spread_out() {
    for algorithm in by_key() {
        let up = equal_members(20);
        let mut down = up.clone();
        down[7].usable = false;
        let (forced, needless) = moved(algorithm, &up, &down);
        assert!(
            forced > 0.02 && forced < 0.1,
            "{} {forced}",
            algorithm.name()
        );
        assert!(needless == 0.0, "{} {needless}", algorithm.name());

        let mut with_all = picker(algorithm, &up);
        let mut with_fewer = picker(algorithm, &down);
        let mut heirs: Vec<usize> = (0..5_000)
            .map(|n| ask(mix(n), &[]))
            .filter(|ask| with_all.pick(&up, ask) == Some(7))
            .filter_map(|ask| with_fewer.pick(&down, &ask))
            .collect();
        heirs.sort_unstable();
        heirs.dedup();
        assert!(
            heirs.len() >= 15,
            "{}: {} heirs",
            algorithm.name(),
            heirs.len()
        );
    }
}

#[test]
fn most_members_down_still_finds_the_one_that_is_up() {
    for algorithm in all() {
        let mut members = equal_members(300);
        members.iter_mut().for_each(|m| m.usable = false);
        members[211].usable = true;
        let mut picker = picker(algorithm, &members);
        for key in 0..50 {
            assert_eq!(picker.pick(&members, &ask(mix(key), &[])), Some(211));
        }
    }
}

#[test]
fn retries_reach_every_member_once_before_any_twice() {
    for algorithm in all() {
        let members = equal_members(12);
        let mut picker = picker(algorithm, &members);
        let mut tried = Vec::new();
        for _ in 0..12 {
            let next = picker.pick(&members, &ask(77, &tried)).unwrap();
            assert!(!tried.contains(&next), "{}", algorithm.name());
            tried.push(next);
        }
        assert!(picker.pick(&members, &ask(77, &tried)).is_some());
    }
}

#[test]
fn the_same_seed_and_asks_give_the_same_choices() {
    for algorithm in all() {
        let run = || {
            let members = equal_members(9);
            let mut picker = picker(algorithm, &members);
            (0..200)
                .map(|n| picker.pick(&members, &ask(mix(n), &[])))
                .collect::<Vec<_>>()
        };
        assert_eq!(run(), run(), "{}", algorithm.name());
    }
}
