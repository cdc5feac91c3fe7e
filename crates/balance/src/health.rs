//! Verdicts of active health checks: when results in a row make a server go down or come up, and
//! how soon to check again.

use std::collections::VecDeque;
use std::time::Duration;

use clearway_base::clock::Stamp;
use clearway_base::rng::Rng;
use clearway_outcome::{Fault, FaultKind};

use crate::words;

/// Results and transitions kept per server: enough to see a pattern, small enough to print.
const HISTORY: usize = 20;
/// Requests below which live traffic says nothing against a health check.
const LIVE_REQUESTS_MIN: u64 = 20;
/// Percent of failing requests from which traffic contradicts a passing check.
const FAILING_PERCENT: u64 = 20;
/// Percent of failing requests up to which traffic contradicts a failing check.
const WORKING_PERCENT: u64 = 5;

/// When verdicts change and how often checks run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Policy {
    /// Passed checks in a row that bring a server up; 0 counts as 1.
    pub rise: u32,
    /// Failed checks in a row that take a server down; 0 counts as 1.
    pub fall: u32,
    /// Time between checks while nothing happens.
    pub interval: Duration,
    /// Time between checks while the server is down, untested or changing.
    pub fast_interval: Duration,
    /// Part of the interval by which it varies to both sides, 0 to 1, so that checks of many
    /// servers and balancers do not run in step.
    pub jitter: f64,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            rise: 2,
            fall: 3,
            interval: Duration::from_secs(2),
            fast_interval: Duration::from_secs(1),
            jitter: 0.1,
        }
    }
}

/// What checks say about a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// No check has ended yet. Traffic is allowed: a balancer that starts must not refuse everything
    /// until its first checks are through.
    Untested,
    /// Gets traffic.
    Up,
    /// Gets none.
    Down,
}

impl Status {
    /// Stable name for logs and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Untested => "untested",
            Self::Up => "up",
            Self::Down => "down",
        }
    }

    /// Whether the server may get traffic.
    #[must_use]
    pub fn is_usable(self) -> bool {
        self != Self::Down
    }
}

/// A failed check.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// What went wrong.
    pub fault: Fault,
    /// The same in words that stand alone, e.g. `connection refused (ECONNREFUSED) 0.3 ms after
    /// connecting to 10.0.0.2:8080`.
    pub words: String,
}

impl Failure {
    /// A failure described by its fault alone.
    #[must_use]
    pub fn new(fault: Fault, address: &str) -> Self {
        Self {
            words: words::fault(&fault, address),
            fault,
        }
    }
}

/// The result of one check; a passed one says what was seen, e.g. `200 in 1.2 ms`.
pub type Check = Result<String, Failure>;

/// A check that was made.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// When it ended.
    pub at: Stamp,
    /// How.
    pub check: Check,
}

/// A change of the verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The verdict before.
    pub from: Status,
    /// The verdict from now on.
    pub to: Status,
    /// Why, as a sentence that stands alone.
    pub why: String,
    /// When.
    pub at: Stamp,
}

/// The verdict about one server and how it came about.
#[derive(Clone, Debug)]
pub struct Machine {
    policy: Policy,
    status: Status,
    since: Stamp,
    /// Results in a row that speak against the present verdict.
    against: u32,
    results: VecDeque<Seen>,
    transitions: VecDeque<Transition>,
}

impl Machine {
    /// A server no check has been made of.
    #[must_use]
    pub fn new(policy: Policy, now: Stamp) -> Self {
        Self {
            policy,
            status: Status::Untested,
            since: now,
            against: 0,
            results: VecDeque::with_capacity(HISTORY),
            transitions: VecDeque::new(),
        }
    }

    /// Takes a new policy over (reload); verdict and history stay.
    pub fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
    }

    /// Takes the result of a check in and says whether the verdict changes.
    ///
    /// The first result decides alone: until then nothing is known that it could be weighed against.
    pub fn observe(&mut self, check: Check, now: Stamp) -> Option<Transition> {
        let to = if check.is_ok() {
            Status::Up
        } else {
            Status::Down
        };
        let needed = match self.status {
            Status::Untested => 1,
            Status::Up => self.policy.fall.max(1),
            Status::Down => self.policy.rise.max(1),
        };
        self.against = if to == self.status {
            0
        } else {
            self.against + 1
        };
        let transition = (self.against >= needed).then(|| Transition {
            from: self.status,
            to,
            why: self.why(&check),
            at: now,
        });
        push_bounded(&mut self.results, Seen { at: now, check });
        if let Some(transition) = &transition {
            self.status = to;
            self.since = now;
            self.against = 0;
            push_bounded(&mut self.transitions, transition.clone());
        }
        self.check_invariants();
        transition
    }

    fn why(&self, check: &Check) -> String {
        let count = u64::from(self.against);
        match (check, self.status) {
            (Ok(seen), Status::Untested) => format!("up after the first check passed: {seen}"),
            (Err(failure), Status::Untested) => {
                format!("down after the first check failed: {}", failure.words)
            }
            (Ok(seen), Status::Up | Status::Down) => {
                let row = in_a_row(count, "passed check");
                format!("up after {row}: {seen}")
            }
            (Err(failure), Status::Up | Status::Down) => {
                let row = in_a_row(count, "failed check");
                format!("down after {row}: {}", failure.words)
            }
        }
    }

    /// How long to wait until the next check.
    #[must_use]
    pub fn next_delay(&self, rng: &mut Rng) -> Duration {
        let is_calm = self.status == Status::Up && self.against == 0;
        let base = if is_calm {
            self.policy.interval
        } else {
            self.policy.fast_interval
        };
        let jitter = if self.policy.jitter.is_finite() {
            self.policy.jitter.clamp(0.0, 1.0)
        } else {
            0.0
        };
        base.mul_f64(1.0 + jitter * (2.0 * rng.unit() - 1.0))
    }

    /// How long to wait until the very first check: somewhere within the fast interval, so that a
    /// start does not check all servers at the same instant.
    #[must_use]
    pub fn first_delay(&self, rng: &mut Rng) -> Duration {
        self.policy
            .fast_interval
            .min(self.policy.interval)
            .mul_f64(rng.unit())
    }

    /// The verdict.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status
    }

    /// Since when the verdict has stood.
    #[must_use]
    pub fn since(&self) -> Stamp {
        self.since
    }

    /// Results in a row that speak against the verdict, and how many change it.
    #[must_use]
    pub fn against(&self) -> (u32, u32) {
        let needed = match self.status {
            Status::Untested => 1,
            Status::Up => self.policy.fall.max(1),
            Status::Down => self.policy.rise.max(1),
        };
        (self.against, needed)
    }

    /// The last results, oldest first.
    #[must_use]
    pub fn results(&self) -> impl DoubleEndedIterator<Item = &Seen> + ExactSizeIterator {
        self.results.iter()
    }

    /// The last changes of the verdict, oldest first.
    #[must_use]
    pub fn transitions(&self) -> impl DoubleEndedIterator<Item = &Transition> + ExactSizeIterator {
        self.transitions.iter()
    }

    /// The present state in a sentence, e.g. `up for 3 min; 1 failed check in a row, 3 take it
    /// down: connection refused …`.
    #[must_use]
    pub fn words(&self, now: Stamp) -> String {
        let time = words::duration(now.since(self.since));
        let Some(last) = self.results.back() else {
            return format!("not checked yet, for {time}");
        };
        let name = self.status.name();
        let (against, needed) = self.against();
        let seen = match &last.check {
            Ok(seen) => seen,
            Err(failure) => &failure.words,
        };
        let count = u64::from(against);
        match self.status {
            _ if against == 0 => format!("{name} for {time}: {seen}"),
            Status::Down => {
                let row = in_a_row(count, "passed check");
                format!("{name} for {time}; {row}, {needed} bring it up: {seen}")
            }
            Status::Up | Status::Untested => {
                let row = in_a_row(count, "failed check");
                format!("{name} for {time}; {row}, {needed} take it down: {seen}")
            }
        }
    }

    fn check_invariants(&self) {
        debug_assert!(self.against < self.against().1);
        debug_assert!(self.results.len() <= HISTORY && self.transitions.len() <= HISTORY);
        debug_assert!(self.transitions.back().is_none_or(|t| t.to == self.status));
        debug_assert!(self.results.is_empty() == (self.status == Status::Untested));
    }
}

fn in_a_row(count: u64, noun: &str) -> String {
    let text = words::count(count, noun);
    if count > 1 {
        format!("{text} in a row")
    } else {
        text
    }
}

fn push_bounded<T>(queue: &mut VecDeque<T>, item: T) {
    if queue.len() == HISTORY {
        drop(queue.pop_front());
    }
    queue.push_back(item);
}

/// What live traffic of the last minutes says about a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Live {
    /// Requests given to the server that ended.
    pub requests: u64,
    /// How many of them failed through the server.
    pub faults: u64,
    /// The most frequent fault among them.
    pub main: Option<FaultKind>,
}

/// Health checks and live traffic say different things about a server: either the check asks the
/// wrong question, or it takes another way than the requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disagreement {
    /// The check passes while requests fail.
    PassesButFails(Live),
    /// The check fails while requests succeed (those still under way, or of other balancers).
    FailsButWorks(Live),
}

impl Disagreement {
    /// Compares a verdict with recent traffic; `None` when they agree or there is too little of it.
    #[must_use]
    pub fn find(status: Status, live: Live) -> Option<Self> {
        if live.requests < LIVE_REQUESTS_MIN {
            return None;
        }
        let failing = words::percent(live.faults, live.requests);
        match status {
            Status::Up => (failing >= FAILING_PERCENT).then_some(Self::PassesButFails(live)),
            Status::Down => (failing <= WORKING_PERCENT).then_some(Self::FailsButWorks(live)),
            Status::Untested => None,
        }
    }

    /// In words, e.g. `probe passes, 40 % of 120 requests fail with server_reset_no_response`.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::PassesButFails(live) => {
                let share = words::percent(live.faults, live.requests);
                let with = live
                    .main
                    .map(|kind| format!(" with {}", kind.code()))
                    .unwrap_or_default();
                format!(
                    "probe passes, {share} % of {} requests fail{with}",
                    live.requests
                )
            }
            Self::FailsButWorks(live) => {
                let share =
                    words::percent(live.requests.saturating_sub(live.faults), live.requests);
                format!(
                    "probe fails, {share} % of {} requests succeed",
                    live.requests
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clearway_base::rng::Rng;
    use clearway_outcome::{Phase, Side};
    use proptest::prelude::*;

    fn refused() -> Check {
        let fault = Fault::new(FaultKind::ConnectRefused, Phase::Connect, Side::Server)
            .with_errno(111)
            .after(300);
        Err(Failure::new(fault, "10.0.0.2:8080"))
    }

    fn passed() -> Check {
        Ok("200 in 1.2 ms".to_owned())
    }

    #[test]
    fn the_first_check_decides_and_then_rows_are_needed() {
        let mut machine = Machine::new(Policy::default(), Stamp(1));
        assert!(machine.status().is_usable());
        let first = machine.observe(passed(), Stamp(2)).unwrap();
        assert_eq!(first.why, "up after the first check passed: 200 in 1.2 ms");
        assert_eq!(machine.observe(refused(), Stamp(3)), None);
        assert_eq!(machine.observe(refused(), Stamp(4)), None);
        assert_eq!(
            machine.words(Stamp(3_000_002)),
            "up for 3 s; 2 failed checks in a row, 3 take it down: connection refused \
             (ECONNREFUSED) 0.3 ms after connecting to 10.0.0.2:8080"
        );
        let down = machine.observe(refused(), Stamp(5)).unwrap();
        assert_eq!(
            (down.from, down.to, down.at),
            (Status::Up, Status::Down, Stamp(5))
        );
        assert_eq!(
            down.why,
            "down after 3 failed checks in a row: connection refused (ECONNREFUSED) 0.3 ms after \
             connecting to 10.0.0.2:8080"
        );
        assert_eq!(machine.observe(passed(), Stamp(6)), None);
        assert_eq!(machine.observe(refused(), Stamp(7)), None);
        assert_eq!(machine.observe(passed(), Stamp(8)), None);
        let up = machine.observe(passed(), Stamp(9)).unwrap();
        assert_eq!(up.why, "up after 2 passed checks in a row: 200 in 1.2 ms");
        assert_eq!(machine.since(), Stamp(9));
        assert_eq!(
            (machine.results().len(), machine.transitions().len()),
            (8, 3)
        );
    }

    #[test]
    fn a_single_needed_result_is_not_called_a_row() {
        let policy = Policy {
            rise: 0,
            fall: 0,
            ..Policy::default()
        };
        let mut machine = Machine::new(policy, Stamp(1));
        machine.observe(refused(), Stamp(2)).unwrap();
        let up = machine.observe(passed(), Stamp(3)).unwrap();
        assert_eq!(up.why, "up after 1 passed check: 200 in 1.2 ms");
    }

    #[test]
    fn checks_are_faster_while_down_or_changing() {
        let policy = Policy {
            jitter: 0.0,
            ..Policy::default()
        };
        let mut rng = Rng::new(1);
        let mut machine = Machine::new(policy, Stamp(1));
        assert_eq!(machine.next_delay(&mut rng), policy.fast_interval);
        assert!(machine.first_delay(&mut rng) <= policy.fast_interval);
        machine.observe(passed(), Stamp(2));
        assert_eq!(machine.next_delay(&mut rng), policy.interval);
        machine.observe(refused(), Stamp(3));
        assert_eq!(machine.next_delay(&mut rng), policy.fast_interval);
        machine.set_policy(Policy {
            jitter: 0.1,
            ..policy
        });
        machine.observe(passed(), Stamp(4));
        let delays: Vec<_> = (0..100)
            .map(|_| machine.next_delay(&mut rng).as_millis())
            .collect();
        assert!(delays.iter().all(|d| (1_800..=2_200).contains(d)));
        assert!(delays.iter().min() != delays.iter().max());
    }

    #[test]
    fn disagreements_are_said_in_words() {
        let live = Live {
            requests: 120,
            faults: 48,
            main: Some(FaultKind::ServerResetNoResponse),
        };
        assert_eq!(
            Disagreement::find(Status::Up, live).unwrap().words(),
            "probe passes, 40 % of 120 requests fail with server_reset_no_response"
        );
        assert_eq!(Disagreement::find(Status::Down, live), None);
        let fine = Live { faults: 2, ..live };
        assert_eq!(Disagreement::find(Status::Up, fine), None);
        assert_eq!(
            Disagreement::find(Status::Down, fine).unwrap().words(),
            "probe fails, 98 % of 120 requests succeed"
        );
        let few = Live {
            requests: 19,
            faults: 19,
            main: None,
        };
        assert_eq!(Disagreement::find(Status::Up, few), None);
        assert_eq!(Disagreement::find(Status::Untested, live), None);
    }

    proptest! {
        /// The verdict is the one of a model that looks at the whole history of results.
        #[test]
        fn verdicts_follow_rows(
            rise in 1..5_u32,
            fall in 1..5_u32,
            results in proptest::collection::vec(any::<bool>(), 0..200),
        ) {
            let policy = Policy { rise, fall, ..Policy::default() };
            let mut machine = Machine::new(policy, Stamp(1));
            let mut up = None;
            for (n, &ok) in results.iter().enumerate() {
                let seen = &results[..=n];
                let needed = if ok { rise } else { fall } as usize;
                let row = seen.iter().rev().take_while(|&&r| r == ok).count();
                let before = up;
                if up.is_none() || row >= needed {
                    up = Some(ok);
                }
                let check = if ok { passed() } else { refused() };
                let transition = machine.observe(check, Stamp(n as u64 + 2));
                prop_assert_eq!(transition.is_some(), up != before);
                let expected = if up == Some(true) { Status::Up } else { Status::Down };
                prop_assert_eq!(machine.status(), expected);
            }
            prop_assert!(machine.results().len() <= HISTORY);
            prop_assert!(machine.transitions().len() <= HISTORY);
        }
    }
}
