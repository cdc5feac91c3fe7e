//! Choosing one member of a backend: one file per algorithm, one line per algorithm in the list
//! below.
//!
//! What no algorithm has to care about is done once, in [`Picker`]: tiers, members already tried,
//! members that are full, and callers that forgot to rebuild.

mod consistent_hash;
mod crc_table;
mod field;
mod first;
mod hash_ring;
mod least_requests;
mod maglev;
mod peak_ewma;
mod power_of_two;
#[cfg(test)]
mod properties;
mod random;
mod round;
mod round_robin;
mod smooth;
mod turns;
mod weights;

use std::sync::atomic::AtomicU32;

use clearway_base::clock::Stamp;

use crate::member::Member;
use field::{Field, Pass};

/// What decides how an algorithm spreads requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// Every member gets a share by its weight.
    Weight,
    /// Equal keys go to the same member; keys are spread by weight.
    Key,
    /// The order of the members: one is filled before the next gets anything.
    Order,
}

macro_rules! algorithms {
    ($(
        $(#[doc = $doc:literal])+
        $variant:ident $({ $($(#[doc = $field_doc:literal])+ $field:ident: $type:ty = $default:expr),+ $(,)? })?
            = $name:literal, $module:ident::$state:ident, $spread:ident;
    )+) => {
        /// How a backend chooses a server.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Algorithm {
            $($(#[doc = $doc])+ $variant $({ $($(#[doc = $field_doc])+ $field: $type,)+ })?,)+
        }

        impl Algorithm {
            /// Every algorithm with its default settings.
            pub const ALL: &'static [Self] =
                &[$(Self::$variant $({ $($field: $default,)+ })?,)+];

            /// The name in configuration, logs and documentation.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant { .. } => $name,)+ }
            }

            /// What it does, in a few sentences for the reference page.
            #[must_use]
            pub fn doc(self) -> &'static str {
                match self { $(Self::$variant { .. } => concat!($($doc, "\n",)+).trim_ascii(),)+ }
            }

            /// What decides how it spreads requests.
            #[must_use]
            pub fn spread(self) -> Spread {
                match self { $(Self::$variant { .. } => Spread::$spread,)+ }
            }
        }

        /// The running state of the chosen algorithm.
        enum State { $($variant($module::$state),)+ }

        impl State {
            fn new(algorithm: Algorithm, seed: u64) -> Self {
                match algorithm {
                    $(Algorithm::$variant $({ $($field,)+ })? =>
                        Self::$variant($module::$state::new(seed $($(, $field)+)?)),)+
                }
            }

            fn rebuild(&mut self, members: &[Member], live: &[u32]) {
                match self { $(Self::$variant(state) => state.rebuild(members, live),)+ }
            }

            fn pick(&mut self, field: &Field<'_>, ask: &Ask<'_>) -> Option<usize> {
                match self { $(Self::$variant(state) => state.pick(field, ask),)+ }
            }
        }
    };
}

// Adding an algorithm: a file with `new(seed, settings…)`, `rebuild(members, live)` and
// `pick(field, ask)`, and one entry here; the tests in `properties` then run on it.
algorithms! {
    /// Servers take turns, each as often as its weight says, turns of heavy servers spread out
    /// evenly. The default: fair, predictable, needs no knowledge about the servers.
    RoundRobin = "round_robin", round_robin::RoundRobin, Weight;

    /// The server with the fewest unfinished requests for its weight; equals are drawn by lot. Good
    /// when requests differ much in duration. Its cost grows with the number of servers: beyond a
    /// few hundred take power_of_two.
    LeastRequests = "least_requests", least_requests::LeastRequests, Weight;

    /// Two servers are drawn by lot and the one with fewer unfinished requests for its weight gets
    /// the request. Nearly as even as least_requests, at a cost that does not grow with the number
    /// of servers, and several balancers do not rush to the same server.
    PowerOfTwo = "power_of_two", power_of_two::PowerOfTwo, Weight;

    /// Two servers are drawn by lot and the one with the lower latency × (unfinished requests + 1)
    /// gets the request. The latency average jumps up to slow responses at once and fades slowly,
    /// so a stalling server loses traffic within one response. Good when servers differ in speed.
    PeakEwma = "peak_ewma", peak_ewma::PeakEwma, Weight;

    /// A lot drawn by weight, without any memory.
    Random = "random", random::Random, Weight;

    /// The first server in the order of the configuration that has room (maxconn), then the next:
    /// fills servers one after the other, so that the last can be switched off.
    First = "first", first::First, Order;

    /// Equal keys go to the same server (a ring of points). When a server comes or goes, only its
    /// share of the keys moves. A server that already has more than `bounded_load` times its fair
    /// share of the unfinished requests passes the key on to the next on the ring, so a hot key
    /// cannot sink its server.
    ConsistentHash {
        /// How far above its fair share of unfinished requests a server may go.
        bound: Bound = Bound::DEFAULT,
    } = "consistent_hash", consistent_hash::ConsistentHash, Key;

    /// Equal keys go to the same server (a lookup table): shares of the keys are more even than on
    /// a ring and the look-up is one memory access; slightly more keys move when a server is added
    /// or removed for good.
    Maglev = "maglev", maglev::Maglev, Key;

    /// Servers take turns in an order that is always the same: heavier ones begin, and the turns of
    /// lighter ones fill the gaps. The order of HAProxy's roundrobin.
    RoundRobinOrdered = "round_robin_ordered", turns::RoundRobinOrdered, Weight;

    /// Servers take turns along a list in which each stands as often as its weight says. The order of
    /// HAProxy's static-rr.
    StaticRoundRobin = "static_round_robin", turns::StaticRoundRobin, Weight;

    /// The server with the fewest unfinished requests for its weight; of equals, the one that has been
    /// idle for longest. The order of HAProxy's leastconn.
    LeastRequestsInTurn = "least_requests_in_turn", least_requests::InTurn, Weight;

    /// Equal keys go to the same server: the remainder of the key is a place in a list in which each
    /// server stands as often as its weight says. When a server comes or goes nearly all keys move.
    /// Chooses as HAProxy does with hash-type map-based, given the same `hash_function`.
    HashTable = "hash_table", turns::HashTable, Key;

    /// Equal keys go to the same server: the one with the nearest point on a ring of 32 bits. When a
    /// server comes or goes only its share of the keys moves. Chooses as HAProxy does with hash-type
    /// consistent, given the same `hash_function`.
    HashRing = "hash_ring", hash_ring::HashRing, Key;

    /// Servers take turns by weight in an order that depends on nothing else: before each choice every
    /// server gains its weight, the one that has gained most is chosen and pays for all. The order of
    /// NGINX's round robin. Its cost grows with the number of servers.
    SmoothRoundRobin = "smooth_round_robin", smooth::SmoothRoundRobin, Weight;

    /// The server with the fewest unfinished requests for its weight; equals take turns as in
    /// smooth_round_robin. The order of NGINX's least_conn.
    SmoothLeastRequests = "smooth_least_requests", smooth::SmoothLeastRequests, Weight;

    /// Equal keys go to the same server: the remainder of the key's CRC-32 is a place among all servers, each as
    /// long as its weight. While that one may not be chosen others of the key follow. When a server comes or
    /// goes nearly all keys move. Chooses as NGINX does with hash; takes no `hash_function`.
    CrcTable = "crc_table", crc_table::CrcTable, Key;

    /// Equal keys go to the same server by another remainder; with `hash_key = "source"` only the first three
    /// bytes of IPv4 addresses count. Chooses as NGINX does with ip_hash; takes no `hash_function`.
    NetworkTable = "network_table", crc_table::NetworkTable, Key;
}

impl Algorithm {
    /// The algorithm with a name, with its default settings.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|a| a.name() == name)
    }
}

/// How far above its fair share of unfinished requests a server may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound(u32);

impl Bound {
    /// No bound: a key always goes to its server while that is usable and has room.
    pub const NONE: Self = Self(0);
    /// A quarter above the fair share.
    pub const DEFAULT: Self = Self(125);

    /// A bound from a factor as configured, e.g. 1.25, kept in whole percents; 0 means none.
    /// `None` for factors that are below 1 (no server could take the last request), above 100 or no
    /// number.
    #[must_use]
    pub fn from_factor(factor: f64) -> Option<Self> {
        if factor == 0.0 {
            return Some(Self::NONE);
        }
        if !(1.0..=100.0).contains(&factor) {
            return None;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 100 and 10,000 after the check above"
        )]
        let percent = (factor * 100.0).round() as u32;
        Some(Self(percent))
    }

    /// The bound in percent of the fair share; 0 = none.
    #[must_use]
    pub fn percent(self) -> u32 {
        self.0
    }
}

/// What a request brings to the choice.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// Stable hash of what algorithms that go by key shall keep together; without one they spread
    /// by `random`.
    pub key: Option<u64>,
    /// Indices of members already tried: chosen again only if nothing else is usable.
    pub exclude: &'a [usize],
    /// A fresh random number.
    pub random: u64,
    /// The time now.
    pub now: Stamp,
    /// Counts the turns of all workers, for algorithms that keep one order over all of them; without
    /// one each worker has its own.
    pub turns: Option<&'a AtomicU32>,
    /// Whether members of higher tiers are chosen when all of the lowest that is open were tried.
    pub spare: bool,
}

/// Chooses members of one backend, for one worker.
pub struct Picker {
    state: State,
    /// Indices of the open members of the lowest tier that has any, ascending.
    live: Vec<u32>,
}

impl Picker {
    /// A picker without members; `seed` should differ between workers, so that they do not begin
    /// their turns with the same server.
    #[must_use]
    pub fn new(algorithm: &Algorithm, seed: u64) -> Self {
        Self {
            state: State::new(*algorithm, seed),
            live: Vec::new(),
        }
    }

    /// To be called after the list of members, or a weight, tier or usability changed. Turns and
    /// positions on hash rings survive. May allocate and, for algorithms that go by key, cost
    /// 0.1 to some milliseconds (1,000 members) when weights or members changed, not usability alone.
    pub fn rebuild(&mut self, members: &[Member]) {
        let tier = members.iter().filter(|m| m.is_open()).map(|m| m.tier).min();
        self.live.clear();
        self.live.extend(
            (0_u32..)
                .zip(members)
                .filter(|(_, m)| m.is_open() && Some(m.tier) == tier)
                .map(|(index, _)| index),
        );
        self.state.rebuild(members, &self.live);
    }

    /// Indices of the members among which choices are made: the open ones of the lowest tier that has
    /// any, as of the last rebuild.
    #[must_use]
    pub fn live(&self) -> &[u32] {
        &self.live
    }

    /// The index of the member that shall get the request; `None` only when no member is open.
    ///
    /// Members already tried or full are passed over while there is another in the same tier, or one in a
    /// higher tier where [`Ask::spare`] says so. The caller then notes the choice with [`Member::started`]. Does not allocate.
    pub fn pick(&mut self, members: &[Member], ask: &Ask<'_>) -> Option<usize> {
        for &pass in Pass::ALL {
            if pass.ignores_tried() {
                if ask.exclude.is_empty() {
                    break;
                }
                if let Some(index) = spare(members, ask) {
                    return Some(index);
                }
            }
            let field = Field {
                members,
                live: &self.live,
                exclude: ask.exclude,
                pass,
            };
            if let Some(index) = self.state.pick(&field, ask) {
                debug_assert!(members.get(index).is_some_and(Member::is_open));
                return Some(index);
            }
        }
        last_resort(members, ask)
    }
}

/// A member that was not tried yet, of whatever tier, where those may be chosen. O(n), for the rare request that has
/// tried everybody else.
fn spare(members: &[Member], ask: &Ask<'_>) -> Option<usize> {
    let open = members.iter().enumerate();
    let open = open.filter(|(index, m)| ask.spare && m.is_open() && !ask.exclude.contains(index));
    open.min_by_key(|(_, m)| (m.tier, m.full, m.inflight))
        .map(|(index, _)| index)
}

/// A choice without any prepared state, for the time between a change of the members and the
/// rebuild after it: every prepared member just became unusable.
fn last_resort(members: &[Member], ask: &Ask<'_>) -> Option<usize> {
    let open = || members.iter().enumerate().filter(|(_, m)| m.is_open());
    let tried = |index: usize| ask.exclude.contains(&index);
    open()
        .min_by_key(|&(index, m)| (m.tier, tried(index), m.full, m.inflight))
        .map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spare_members_come_after_all_others_were_tried() {
        let mut members: Vec<Member> = (1..=3).map(|id| Member::new(id, 100)).collect();
        members[2].tier = 1;
        let mut picker = Picker::new(&Algorithm::ALL[0], 1);
        picker.rebuild(&members);
        let mut pick = |exclude: &[usize], spare| {
            let ask = Ask {
                key: None,
                exclude,
                random: 7,
                now: Stamp(1),
                turns: None,
                spare,
            };
            picker.pick(&members, &ask)
        };
        assert_eq!(pick(&[0], true), Some(1));
        assert_eq!(pick(&[0, 1], true), Some(2));
        assert!(pick(&[0, 1], false).is_some_and(|index| index < 2));
        assert!(pick(&[0, 1, 2], true).is_some_and(|index| index < 2));
    }

    #[test]
    fn names_are_found_again_and_docs_are_sentences() {
        for algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::parse(algorithm.name()), Some(*algorithm));
            assert!(algorithm.doc().ends_with('.'), "{}", algorithm.doc());
        }
        assert_eq!(Algorithm::parse("roundrobin"), None);
    }

    #[test]
    fn bounds_are_checked() {
        assert_eq!(Bound::from_factor(1.25), Some(Bound::DEFAULT));
        assert_eq!(Bound::from_factor(0.0), Some(Bound::NONE));
        for bad in [0.99, -1.0, f64::NAN, f64::INFINITY, 101.0] {
            assert_eq!(Bound::from_factor(bad), None);
        }
    }

    #[test]
    fn a_forgotten_rebuild_never_yields_an_unusable_member() {
        for algorithm in Algorithm::ALL {
            let mut picker = Picker::new(algorithm, 1);
            let mut members = vec![Member::new(1, 100), Member::new(2, 100)];
            members[1].tier = 1;
            picker.rebuild(&members);
            members[0].usable = false;
            let ask = Ask {
                key: None,
                exclude: &[],
                random: 3,
                now: Stamp(1),
                turns: None,
                spare: false,
            };
            assert_eq!(picker.pick(&members, &ask), Some(1), "{}", algorithm.name());
            members[1].weight = 0;
            assert_eq!(picker.pick(&members, &ask), None, "{}", algorithm.name());
        }
    }
}
