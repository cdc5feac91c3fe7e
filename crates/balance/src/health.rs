//! Verdicts of active health checks: when results in a row make a server go down or come up, and
//! how soon to check again.

use std::time::Duration;

use clearway_base::rng::Rng;
use clearway_outcome::FaultKind;

use crate::words;

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

/// The result of one check in words that stand alone: what was seen, e.g. `200 in 1.2 ms`, or why it
/// failed.
pub type Check = Result<String, String>;

/// A change of the verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The verdict before.
    pub from: Status,
    /// The verdict from now on.
    pub to: Status,
    /// Why, as a sentence that stands alone.
    pub why: String,
}

/// The verdict about one server.
#[derive(Clone, Debug)]
pub struct Machine {
    policy: Policy,
    status: Status,
    /// Results in a row that speak against the present verdict.
    against: u32,
}

impl Machine {
    /// A server no check has been made of.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            status: Status::Untested,
            against: 0,
        }
    }

    /// Takes a new policy over (reload). The verdict stays, and so do the results against it, as far as
    /// the new policy asks for one more.
    pub fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
        self.against = self.against.min(self.needed() - 1);
    }

    /// Takes the result of a check in and says whether the verdict changes.
    ///
    /// The first result decides alone: until then nothing is known that it could be weighed against.
    pub fn observe(&mut self, check: &Check) -> Option<Transition> {
        let to = if check.is_ok() {
            Status::Up
        } else {
            Status::Down
        };
        let needed = self.needed();
        self.against = if to == self.status {
            0
        } else {
            self.against + 1
        };
        let transition = (self.against >= needed).then(|| Transition {
            from: self.status,
            to,
            why: self.why(check),
        });
        if transition.is_some() {
            self.status = to;
            self.against = 0;
        }
        debug_assert!(self.against < self.needed());
        transition
    }

    /// Takes the word of somebody for it who knows better than checks. Those go on from there.
    pub fn force(&mut self, to: Status, why: String) -> Option<Transition> {
        let from = std::mem::replace(&mut self.status, to);
        self.against = 0;
        (from != to).then_some(Transition { from, to, why })
    }

    /// Has one more failed check take a server down that is up.
    pub fn weaken(&mut self) {
        if self.status == Status::Up {
            self.against = self.needed() - 1;
        }
    }

    /// How many results in a row speak against the present verdict.
    #[must_use]
    pub fn against(&self) -> u32 {
        self.against
    }

    /// How many results in a row change the verdict.
    fn needed(&self) -> u32 {
        match self.status {
            Status::Untested => 1,
            Status::Up => self.policy.fall.max(1),
            Status::Down => self.policy.rise.max(1),
        }
    }

    fn why(&self, check: &Check) -> String {
        let count = u64::from(self.against);
        match (check, self.status) {
            (Ok(seen), Status::Untested) => format!("up after the first check passed: {seen}"),
            (Err(words), Status::Untested) => {
                format!("down after the first check failed: {words}")
            }
            (Ok(seen), Status::Up | Status::Down) => {
                let row = in_a_row(count, "passed check");
                format!("up after {row}: {seen}")
            }
            (Err(words), Status::Up | Status::Down) => {
                let row = in_a_row(count, "failed check");
                format!("down after {row}: {words}")
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
}

fn in_a_row(count: u64, noun: &str) -> String {
    let text = words::count(count, noun);
    if count > 1 {
        format!("{text} in a row")
    } else {
        text
    }
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
    use proptest::prelude::*;

    fn refused() -> Check {
        Err("connection refused (ECONNREFUSED)".to_owned())
    }

    fn passed() -> Check {
        Ok("200 in 1.2 ms".to_owned())
    }

    #[test]
    fn the_first_check_decides_and_then_rows_are_needed() {
        let mut machine = Machine::new(Policy::default());
        assert!(machine.status().is_usable());
        let first = machine.observe(&passed()).unwrap();
        assert_eq!(first.why, "up after the first check passed: 200 in 1.2 ms");
        assert_eq!(machine.observe(&refused()), None);
        assert_eq!(machine.observe(&refused()), None);
        let down = machine.observe(&refused()).unwrap();
        assert_eq!((down.from, down.to), (Status::Up, Status::Down));
        assert_eq!(
            down.why,
            "down after 3 failed checks in a row: connection refused (ECONNREFUSED)"
        );
        assert_eq!(machine.observe(&passed()), None);
        assert_eq!(machine.observe(&refused()), None);
        assert_eq!(machine.observe(&passed()), None);
        let up = machine.observe(&passed()).unwrap();
        assert_eq!(up.why, "up after 2 passed checks in a row: 200 in 1.2 ms");
    }

    #[test]
    fn a_new_policy_keeps_the_verdict_and_needs_one_more_result_to_change_it() {
        let policy = |fall| Policy {
            fall,
            ..Policy::default()
        };
        let mut machine = Machine::new(policy(5));
        machine.observe(&passed()).unwrap();
        for _ in 0..4 {
            assert_eq!(machine.observe(&refused()), None);
        }
        machine.set_policy(policy(2));
        assert_eq!(machine.status(), Status::Up);
        let down = machine.observe(&refused()).unwrap();
        assert!(down.why.starts_with("down after 2 failed checks in a row"));
        machine.set_policy(policy(7));
        assert_eq!(machine.status(), Status::Down);
        assert_eq!(machine.observe(&passed()), None);
    }

    #[test]
    fn a_word_from_elsewhere_is_where_checks_go_on_from() {
        let mut machine = Machine::new(Policy::default());
        machine.observe(&passed());
        let down = machine.force(Status::Down, "told".to_owned()).unwrap();
        assert_eq!((down.from, down.to), (Status::Up, Status::Down));
        assert_eq!(machine.force(Status::Down, "told".to_owned()), None);
        assert_eq!(machine.observe(&passed()), None);
        machine.observe(&passed()).unwrap();
        machine.weaken();
        assert_eq!(machine.against(), 2);
        assert_eq!(machine.observe(&refused()).unwrap().to, Status::Down);
    }

    #[test]
    fn a_single_needed_result_is_not_called_a_row() {
        let policy = Policy {
            rise: 0,
            fall: 0,
            ..Policy::default()
        };
        let mut machine = Machine::new(policy);
        machine.observe(&refused()).unwrap();
        let up = machine.observe(&passed()).unwrap();
        assert_eq!(up.why, "up after 1 passed check: 200 in 1.2 ms");
    }

    #[test]
    fn checks_are_faster_while_down_or_changing() {
        let policy = Policy {
            jitter: 0.0,
            ..Policy::default()
        };
        let mut rng = Rng::new(1);
        let mut machine = Machine::new(policy);
        assert_eq!(machine.next_delay(&mut rng), policy.fast_interval);
        assert!(machine.first_delay(&mut rng) <= policy.fast_interval);
        machine.observe(&passed());
        assert_eq!(machine.next_delay(&mut rng), policy.interval);
        machine.observe(&refused());
        assert_eq!(machine.next_delay(&mut rng), policy.fast_interval);
        machine.set_policy(Policy {
            jitter: 0.1,
            ..policy
        });
        machine.observe(&passed());
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
            let mut machine = Machine::new(policy);
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
                let transition = machine.observe(&check);
                prop_assert_eq!(transition.is_some(), up != before);
                let expected = if up == Some(true) { Status::Up } else { Status::Down };
                prop_assert_eq!(machine.status(), expected);
            }
        }
    }
}
