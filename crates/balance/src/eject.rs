//! Passive ejection: servers whose live requests fail are left out for a while.

use std::time::Duration;

use clearway_base::clock::Stamp;
use clearway_base::hash::Map;
use clearway_outcome::FaultKind;

use crate::words;

/// Parts of the window for the failure rate: it slides by a tenth.
const PARTS: usize = 10;

/// When servers are ejected, for how long, and how many at most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Policy {
    /// Faults in a row that eject; 0 = off.
    pub consecutive: u32,
    /// Part of the requests within `window` whose failure ejects, 0 to 1; 0 = off.
    pub rate: f64,
    /// Requests within `window` below which `rate` says nothing.
    pub min_requests: u32,
    /// Time over which `rate` is measured.
    pub window: Duration,
    /// How long the first ejection lasts; the next ones last a multiple of it.
    pub duration: Duration,
    /// How long an ejection lasts at most.
    pub max_duration: Duration,
    /// Percent of the servers that may be ejected at the same time. Beyond it a failing server
    /// stays in: when most servers seem broken, the fault is more likely elsewhere.
    pub max_percent: u8,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            consecutive: 5,
            rate: 0.0,
            min_requests: 20,
            window: Duration::from_secs(10),
            duration: Duration::from_secs(10),
            max_duration: Duration::from_secs(300),
            max_percent: 50,
        }
    }
}

/// What happened to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It gets no traffic until then.
    Ejected {
        /// When it may come back.
        until: Stamp,
    },
    /// It should have been ejected, but too many already are. Reported once per `duration`.
    Spared,
    /// Its time is over: it gets traffic again.
    Readmitted,
}

/// A change in a server's standing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Position of the server in the list last given to [`Ejector::sync`].
    pub server: usize,
    /// What happened.
    pub step: Step,
    /// Why, as a sentence that stands alone.
    pub why: String,
    /// When.
    pub at: Stamp,
}

/// How the latest requests of a server ended, for callers that sum up before they report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Requests that the server answered.
    pub passed: u32,
    /// Requests that failed through the server.
    pub faults: u32,
    /// Faults since the last request that it answered.
    pub faults_at_end: u32,
    /// The most recent fault.
    pub last: Option<FaultKind>,
}

/// Watches the live requests of one backend's servers.
#[derive(Clone, Debug)]
pub struct Ejector {
    policy: Policy,
    servers: Vec<Watch>,
}

#[derive(Clone, Debug)]
struct Watch {
    key: u64,
    /// Faults in a row.
    row: u32,
    /// Passed requests and faults per part of the window.
    parts: [(u32, u32); PARTS],
    /// Number of the part that is being filled, counted from the start of the clock.
    part: u64,
    last: Option<FaultKind>,
    until: Option<Stamp>,
    /// Ejections that still count for the length of the next one.
    times: u32,
    readmitted: Stamp,
    spared_until: Stamp,
}

impl Ejector {
    /// An ejector without servers.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            servers: Vec::new(),
        }
    }

    /// Takes over a new policy and list of servers, by their keys; servers that were there before
    /// keep their standing.
    pub fn sync(&mut self, policy: Policy, keys: &[u64]) {
        let same_window = policy.window == self.policy.window;
        let mut before: Map<u64, Watch> = Map::default();
        for mut watch in self.servers.drain(..) {
            if !same_window {
                // The parts of another window cover other times.
                watch.parts = [(0, 0); PARTS];
                watch.part = 0;
            }
            before.insert(watch.key, watch);
        }
        self.servers = keys
            .iter()
            .map(|&key| before.remove(&key).unwrap_or_else(|| Watch::new(key)))
            .collect();
        self.policy = policy;
    }

    /// Takes in how the latest requests of a server ended. Faults that do not count against servers
    /// ([`FaultKind::counts_against_server`]) are not to be among them.
    pub fn observe_many(&mut self, server: usize, batch: Batch, now: Stamp) -> Option<Change> {
        let policy = self.policy;
        let watch = self.servers.get_mut(server)?;
        // Requests still under way when a server was ejected say nothing new.
        if watch.until.is_some() {
            return None;
        }
        watch.add(batch, now, policy.window);
        let reason = watch.reason(&policy)?;
        let ejected = self.ejected();
        let allowed = self.servers.len() * usize::from(policy.max_percent.min(100)) / 100;
        let count = self.servers.len();
        let watch = self.servers.get_mut(server)?;
        if ejected >= allowed {
            if now < watch.spared_until {
                return None;
            }
            watch.spared_until = now.plus(policy.duration);
            let why = format!(
                "kept in although it should be ejected ({reason}): {ejected} of {count} servers \
                 are ejected already and max_percent = {} allows {allowed}",
                policy.max_percent
            );
            return Some(Change {
                server,
                step: Step::Spared,
                why,
                at: now,
            });
        }
        let time = watch.eject(&policy, now);
        let nth = match watch.times {
            0 | 1 => String::new(),
            n => format!(", {n} times its base as it keeps failing"),
        };
        let why = format!("ejected for {}{nth}: {reason}", words::duration(time));
        let step = Step::Ejected {
            until: now.plus(time),
        };
        Some(Change {
            server,
            step,
            why,
            at: now,
        })
    }

    /// Lets back in whoever's time is over.
    pub fn tick(&mut self, now: Stamp) -> Vec<Change> {
        let policy = self.policy;
        let mut changes = Vec::new();
        for (server, watch) in self.servers.iter_mut().enumerate() {
            if watch.until.is_none_or(|until| until > now) {
                continue;
            }
            watch.until = None;
            watch.readmitted = now;
            watch.clear();
            let next = words::duration(policy.time(watch.times + 1));
            let why = format!(
                "back in after its ejection; if it fails again at once it is ejected for {next}"
            );
            changes.push(Change {
                server,
                step: Step::Readmitted,
                why,
                at: now,
            });
        }
        changes
    }

    /// How many servers get no traffic now.
    #[must_use]
    pub fn ejected(&self) -> usize {
        self.servers.iter().filter(|w| w.until.is_some()).count()
    }
}

impl Policy {
    /// How long the ejection lasts that is the `times`th in close succession.
    fn time(&self, times: u32) -> Duration {
        self.duration
            .saturating_mul(times)
            .min(self.max_duration.max(self.duration))
    }
}

impl Watch {
    fn new(key: u64) -> Self {
        Self {
            key,
            row: 0,
            parts: [(0, 0); PARTS],
            part: 0,
            last: None,
            until: None,
            times: 0,
            readmitted: Stamp::ZERO,
            spared_until: Stamp::ZERO,
        }
    }

    fn clear(&mut self) {
        self.row = 0;
        self.parts = [(0, 0); PARTS];
        self.last = None;
    }

    fn add(&mut self, batch: Batch, now: Stamp, window: Duration) {
        let length = u64::try_from(window.as_micros()).unwrap_or(u64::MAX) / PARTS as u64;
        let part = now.0 / length.max(1);
        // Parts that went by without a request are empty.
        let gone = part.saturating_sub(self.part).min(PARTS as u64);
        for n in 0..gone {
            if let Some(old) = self.parts.get_mut(slot(part - n)) {
                *old = (0, 0);
            }
        }
        self.part = self.part.max(part);
        if let Some((passed, faults)) = self.parts.get_mut(slot(self.part)) {
            *passed = passed.saturating_add(batch.passed);
            *faults = faults.saturating_add(batch.faults);
        }
        let carried = if batch.passed == 0 { self.row } else { 0 };
        self.row = carried.saturating_add(batch.faults_at_end);
        self.last = batch.last.or(self.last);
    }

    /// Why the server should be ejected, if it should.
    fn reason(&self, policy: &Policy) -> Option<String> {
        let last = self
            .last
            .map(|kind| format!("{} ({})", words::kind(kind), kind.code()));
        let last = last.unwrap_or_default();
        if policy.consecutive > 0 && self.row >= policy.consecutive {
            let row = words::count(u64::from(self.row), "fault");
            return Some(format!("{row} in a row, the last: {last}"));
        }
        let (passed, faults) = self.parts.iter().fold((0, 0), |(p, f), &(passed, faults)| {
            (p + u64::from(passed), f + u64::from(faults))
        });
        let total = passed + faults;
        if policy.rate <= 0.0 || faults == 0 || total < u64::from(policy.min_requests) {
            return None;
        }
        #[expect(clippy::cast_precision_loss, reason = "counts of a few seconds")]
        let share = faults as f64 / total as f64;
        (share >= policy.rate).then(|| {
            format!(
                "{} % of {total} requests failed within {}, the limit being {:.0} %, the last: {last}",
                words::percent(faults, total),
                words::duration(policy.window),
                policy.rate * 100.0,
            )
        })
    }

    /// Ejects and says for how long. Each `duration` without ejection takes back one earlier one.
    fn eject(&mut self, policy: &Policy, now: Stamp) -> Duration {
        let base = u64::try_from(policy.duration.as_micros())
            .unwrap_or(u64::MAX)
            .max(1);
        let forgiven = now.micros_since(self.readmitted) / base;
        let forgiven = u32::try_from(forgiven).unwrap_or(u32::MAX);
        self.times = self.times.saturating_sub(forgiven).saturating_add(1);
        let time = policy.time(self.times);
        self.until = Some(now.plus(time));
        time
    }
}

fn slot(part: u64) -> usize {
    usize::try_from(part % PARTS as u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RESET: Option<FaultKind> = Some(FaultKind::ServerResetNoResponse);

    fn ejector(policy: Policy, servers: u64) -> Ejector {
        let mut ejector = Ejector::new(policy);
        ejector.sync(policy, &(0..servers).collect::<Vec<_>>());
        ejector
    }

    /// One request that ended well, or by a fault.
    fn one(last: Option<FaultKind>) -> Batch {
        let (passed, faults) = if last.is_none() { (1, 0) } else { (0, 1) };
        Batch {
            passed,
            faults,
            faults_at_end: faults,
            last,
        }
    }

    fn until(e: &Ejector, server: usize) -> Option<Stamp> {
        e.servers[server].until
    }

    fn seconds(n: u64) -> Stamp {
        Stamp(n * 1_000_000)
    }

    #[test]
    fn faults_in_a_row_eject_longer_each_time() {
        let mut e = ejector(Policy::default(), 2);
        let mut now = seconds(100);
        for (nth, expected) in [(1, "10 s"), (2, "20 s"), (3, "30 s")] {
            for _ in 0..4 {
                assert_eq!(e.observe_many(0, one(RESET), now), None);
            }
            let change = e.observe_many(0, one(RESET), now).unwrap();
            assert!(
                change.why.contains(&format!("ejected for {expected}")),
                "{}",
                change.why
            );
            assert!(change.why.ends_with(
                ": 5 faults in a row, the last: connection reset without a byte of response (server_reset_no_response)"
            ));
            assert!(until(&e, 0).is_some() && until(&e, 1).is_none());
            assert_eq!(e.observe_many(0, one(RESET), now), None);
            let until = until(&e, 0).unwrap();
            assert_eq!(until, now.plus(Duration::from_secs(10 * nth)));
            assert!(e.tick(Stamp(until.0 - 1)).is_empty());
            now = until;
            let back = e.tick(now);
            assert_eq!((back.len(), back[0].step), (1, Step::Readmitted));
        }
        // A long good time makes the next ejection a first one again.
        now = now.plus(Duration::from_secs(40));
        let change = (0..5)
            .find_map(|_| e.observe_many(0, one(RESET), now))
            .unwrap();
        assert!(
            change.why.starts_with("ejected for 10 s: 5 faults"),
            "{}",
            change.why
        );
    }

    #[test]
    fn a_success_breaks_the_row() {
        let mut e = ejector(Policy::default(), 2);
        for _ in 0..20 {
            for _ in 0..4 {
                assert_eq!(e.observe_many(0, one(RESET), seconds(1)), None);
            }
            assert_eq!(e.observe_many(0, one(None), seconds(1)), None);
        }
        assert_eq!(e.ejected(), 0);
    }

    #[test]
    fn the_rate_counts_within_the_window_only_and_needs_volume() {
        let policy = Policy {
            consecutive: 0,
            rate: 0.5,
            ..Policy::default()
        };
        let mut e = ejector(policy, 2);
        for n in 0..19 {
            assert_eq!(
                e.observe_many(0, one(if n % 2 == 0 { RESET } else { None }), seconds(1)),
                None
            );
        }
        // Eleven seconds later the old requests are forgotten.
        for n in 0..19 {
            assert_eq!(
                e.observe_many(0, one(if n % 2 == 0 { RESET } else { None }), seconds(12)),
                None
            );
        }
        let change = e.observe_many(0, one(RESET), seconds(13)).unwrap();
        assert_eq!(
            change.why,
            "ejected for 10 s: 55 % of 20 requests failed within 10 s, the limit being 50 %, the \
             last: connection reset without a byte of response (server_reset_no_response)"
        );
    }

    #[test]
    fn too_many_failing_servers_stay_in_and_that_is_said_once() {
        let mut e = ejector(Policy::default(), 3);
        let mut all = Vec::new();
        for _ in 0..20 {
            for server in 0..3 {
                all.extend(e.observe_many(server, one(RESET), seconds(5)));
            }
        }
        let steps: Vec<_> = all.iter().map(|c| (c.server, c.step)).collect();
        let until = seconds(15);
        assert_eq!(
            steps,
            [
                (0, Step::Ejected { until }),
                (1, Step::Spared),
                (2, Step::Spared)
            ]
        );
        assert!(
            all[1]
                .why
                .ends_with("1 of 3 servers are ejected already and max_percent = 50 allows 1")
        );
    }

    #[test]
    fn a_lonely_server_is_never_ejected_by_default() {
        let mut e = ejector(Policy::default(), 1);
        let change = (0..9)
            .find_map(|_| e.observe_many(0, one(RESET), seconds(1)))
            .unwrap();
        assert_eq!(change.step, Step::Spared);
    }

    #[test]
    fn standing_survives_a_new_list() {
        let mut e = ejector(Policy::default(), 4);
        (0..5).for_each(|_| drop(e.observe_many(2, one(RESET), seconds(1))));
        e.sync(Policy::default(), &[9, 2, 3]);
        assert!(until(&e, 1).is_some() && e.ejected() == 1);
    }

    #[test]
    fn batches_count_like_single_requests() {
        let mut e = ejector(Policy::default(), 2);
        let mixed = Batch {
            passed: 10,
            faults: 8,
            faults_at_end: 4,
            last: RESET,
        };
        assert_eq!(e.observe_many(0, mixed, seconds(1)), None);
        assert!(e.observe_many(0, one(RESET), seconds(1)).is_some());
    }

    proptest! {
        #[test]
        fn never_more_than_allowed_and_everyone_comes_back(
            servers in 1..12_u64,
            max_percent in 0..=100_u8,
            events in proptest::collection::vec((0..12_usize, any::<bool>(), 0..3_000_000_u64), 0..400),
        ) {
            let policy = Policy { consecutive: 2, rate: 0.3, max_percent, ..Policy::default() };
            let mut e = ejector(policy, servers);
            let mut now = seconds(1);
            let allowed = servers * u64::from(max_percent) / 100;
            for (server, ok, later) in events {
                now = Stamp(now.0 + later);
                e.tick(now);
                let change = e.observe_many(server, one(if ok { None } else { RESET }), now);
                prop_assert!(change.is_none_or(|c| c.server == server && !c.why.is_empty()));
                prop_assert!(e.ejected() as u64 <= allowed);
            }
            e.tick(now.plus(policy.max_duration));
            prop_assert_eq!(e.ejected(), 0);
        }
    }
}
