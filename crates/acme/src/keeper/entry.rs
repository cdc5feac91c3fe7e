//! One certificate as the keeper sees it: what there is, what failed, what comes next. No I/O.

use std::sync::Arc;

use clearway_base::hash::{Map, stable};
use tokio::sync::oneshot;

use crate::certificate::Certificate;
use crate::demand::Denial;
use crate::failure::Failure;
use crate::policy::{not_before, renew_at, try_again_at};
use crate::record::{Info, Record, Tries};
use crate::settings::{Issuer, Wanted};
use crate::status::{CertificateStatus, Reason};

/// Whoever waits for a certificate on demand.
pub(super) type Waiter = oneshot::Sender<Result<(), Denial>>;

/// An issuer that failed as a whole, and rests.
#[derive(Clone, Debug, Default)]
pub(super) struct Rest {
    pub(super) until: u64,
    pub(super) failures: u32,
    pub(super) words: String,
}

/// Issuers that rest, by name.
pub(super) type Rests = Map<String, Rest>;

/// One certificate.
pub(super) struct Entry {
    pub(super) id: String,
    pub(super) wanted: Arc<Wanted>,
    pub(super) on_demand: bool,
    /// The one in use.
    pub(super) current: Option<Certificate>,
    pub(super) record: Record,
    /// Issuers that may be used, in order.
    pub(super) issuers: Vec<Arc<Issuer>>,
    /// A renewal is wanted now, whatever the lifetime says.
    pub(super) is_asked: bool,
    /// An order or a question is under way.
    pub(super) running: bool,
    /// Another process has the order: when to look again, and which process it is.
    pub(super) elsewhere: Option<(u64, String)>,
    pub(super) waiters: Vec<Waiter>,
}

impl Entry {
    pub(super) fn new(wanted: Arc<Wanted>, on_demand: bool, issuers: Vec<Arc<Issuer>>) -> Self {
        Self {
            id: wanted.names.id(),
            wanted,
            on_demand,
            current: None,
            record: Record {
                on_demand,
                ..Record::default()
            },
            issuers,
            is_asked: false,
            running: false,
            elsewhere: None,
            waiters: Vec::new(),
        }
    }

    fn seed(&self) -> u64 {
        let serial = self
            .current
            .as_ref()
            .map_or("", |found| found.facts.serial.as_str());
        stable(format!("{}\n{serial}", self.id).as_bytes())
    }

    /// Whether the one in use can serve.
    pub(super) fn is_usable(&self, now: u64) -> bool {
        let current = self.current.as_ref();
        current.is_some_and(|found| found.check(&self.wanted.names, now).is_ok())
    }

    /// When to order next, and why then; `u64::MAX` means not until something changes.
    pub(super) fn due(&self, now: u64, rests: &Rests) -> (u64, Reason) {
        if self.issuers.is_empty() {
            return (u64::MAX, Reason::Missing);
        }
        let (wish, reason) = self.wish(now);
        let (pause, has_failed) = self.pause(rests);
        // A stranger's name that never had one is tried again when somebody asks again.
        let is_strange = self.on_demand && self.current.is_none();
        if is_strange && has_failed && reason == Reason::Missing && self.waiters.is_empty() {
            return (u64::MAX, Reason::Pause);
        }
        let elsewhere = self.elsewhere.as_ref().map_or(0, |(until, _)| *until);
        if elsewhere > wish.max(pause) {
            (elsewhere, Reason::Elsewhere)
        } else if pause > wish {
            (pause, Reason::Pause)
        } else {
            (wish, reason)
        }
    }

    /// When an order would be wanted if nothing had failed.
    fn wish(&self, now: u64) -> (u64, Reason) {
        let Some(current) = self.current.as_ref().filter(|_| self.is_usable(now)) else {
            return (0, Reason::Missing);
        };
        let facts = &current.facts;
        if self.is_asked || facts.key_type != Some(self.wanted.terms.key_type) {
            return (0, Reason::Asked);
        }
        let window = self.info().and_then(|info| info.window);
        let reason = window.map_or(Reason::Lifetime, |_| Reason::RenewalInfo);
        let at = renew_at(facts.validity, window, self.seed());
        (
            at.max(not_before(self.record.obtained, facts.validity)),
            reason,
        )
    }

    /// The moment from which some issuer may be tried, and whether any failed.
    fn pause(&self, rests: &Rests) -> (u64, bool) {
        let tries = &self.record.tries;
        let from = self
            .issuers
            .iter()
            .map(|issuer| self.may_try_at(issuer, rests));
        (from.min().unwrap_or(u64::MAX), !tries.is_empty())
    }

    fn may_try_at(&self, issuer: &Issuer, rests: &Rests) -> u64 {
        let own = self
            .record
            .tries
            .get(&issuer.name)
            .map_or(0, |tries| tries.not_before);
        own.max(rests.get(&issuer.name).map_or(0, |rest| rest.until))
    }

    /// Seconds until some issuer may be tried.
    pub(super) fn candidate_wait(&self, now: u64, rests: &Rests) -> u64 {
        self.pause(rests).0.saturating_sub(now)
    }

    /// The issuers to try now, with how often each has failed.
    pub(super) fn candidates(&self, now: u64, rests: &Rests) -> Vec<(Arc<Issuer>, u32)> {
        let open = self
            .issuers
            .iter()
            .filter(|issuer| self.may_try_at(issuer, rests) <= now);
        open.map(|issuer| {
            let failures = self
                .record
                .tries
                .get(&issuer.name)
                .map_or(0, |tries| tries.failures);
            (Arc::clone(issuer), failures)
        })
        .collect()
    }

    /// Renewal information of the one in use.
    fn info(&self) -> Option<&Info> {
        let serial = &self.current.as_ref()?.facts.serial;
        self.record
            .info
            .as_ref()
            .filter(|info| info.serial == *serial)
    }

    /// The issuer to ask for renewal information, and when.
    pub(super) fn info_due(&self) -> Option<(Arc<Issuer>, u64)> {
        let current = self.current.as_ref()?;
        current.facts.info_id.as_ref()?;
        let name = self.record.issuer.as_deref()?;
        let issuer = self.issuers.iter().find(|issuer| issuer.name == name)?;
        if !issuer.renewal_info {
            return None;
        }
        Some((
            Arc::clone(issuer),
            self.info().map_or(0, |info| info.ask_at),
        ))
    }

    /// Takes a new certificate; failures are forgotten.
    pub(super) fn succeeded(
        &mut self,
        certificate: Certificate,
        issuer: Option<String>,
        obtained: u64,
    ) {
        self.current = Some(certificate);
        self.record.issuer = issuer;
        self.record.obtained = obtained;
        self.record.info = None;
        self.record.tries.clear();
        self.is_asked = false;
        self.elsewhere = None;
    }

    /// Notes failures: each issuer that failed rests for this certificate, or as a whole.
    pub(super) fn failed(&mut self, failures: &[Failure], now: u64, rests: &mut Rests) {
        let not_after = self
            .current
            .as_ref()
            .filter(|_| self.is_usable(now))
            .map(|found| found.facts.validity.not_after);
        let seed = self.seed() ^ now;
        for failure in failures {
            let everywhere = !failure.kind.tries_next_issuer();
            let names: Vec<String> = self
                .issuers
                .iter()
                .map(|issuer| issuer.name.clone())
                .filter(|name| everywhere || *name == failure.issuer)
                .collect();
            for name in names {
                let tries = self.record.tries.entry(name).or_default();
                tries.failures = tries.failures.saturating_add(1);
                tries.not_before =
                    try_again_at(now, tries.failures, not_after, failure.until, seed);
                tries.words = failure.to_string();
                tries.code = failure.kind.code().to_owned();
            }
            if failure.kind.rests_issuer() && !failure.issuer.is_empty() {
                let rest = rests.entry(failure.issuer.clone()).or_default();
                // Orders that ran side by side and failed together are one failure.
                if rest.until <= now {
                    rest.failures = rest.failures.saturating_add(1);
                }
                let until = try_again_at(now, rest.failures, not_after, failure.until, seed);
                rest.until = rest.until.max(until);
                rest.words = failure.to_string();
            }
        }
        // The wish of an operator is tried once; after that the lifetime decides again.
        self.is_asked = false;
    }

    /// The failures since the last success in words, each once.
    pub(super) fn words(&self) -> Option<String> {
        let mut words: Vec<&str> = Vec::new();
        for tries in self.record.tries.values() {
            if !words.contains(&tries.words.as_str()) {
                words.push(&tries.words);
            }
        }
        (!words.is_empty()).then(|| words.join(" — "))
    }

    /// Answers everybody who waits.
    pub(super) fn answer(&mut self, result: &Result<(), Denial>) {
        for waiter in self.waiters.drain(..) {
            // Who has gone away needs no answer.
            drop(waiter.send(result.clone()));
        }
    }

    pub(super) fn status(&self, now: u64, rests: &Rests) -> CertificateStatus {
        let (next, reason) = self.due(now, rests);
        let facts = self.current.as_ref().map(|found| &found.facts);
        let worst: Option<&Tries> = self
            .record
            .tries
            .values()
            .max_by_key(|tries| tries.failures);
        let last_failure = if self.issuers.is_empty() {
            Some("no issuer is set for it".to_owned())
        } else if let (Reason::Elsewhere, Some((_, owner))) = (reason, &self.elsewhere) {
            Some(format!("{owner} has the order"))
        } else {
            self.words()
        };
        CertificateStatus {
            id: self.id.clone(),
            names: self.wanted.names.iter().map(ToString::to_string).collect(),
            on_demand: self.on_demand,
            issuer: self.record.issuer.clone().filter(|_| facts.is_some()),
            serial: facts.map(|facts| facts.serial.clone()),
            key_type: facts.and_then(|facts| facts.key_type),
            not_after: facts.map(|facts| facts.validity.not_after),
            next,
            reason,
            explanation: self.info().and_then(|info| info.explanation.clone()),
            running: self.running,
            failures: worst.map_or(0, |tries| tries.failures),
            last_failure,
            last_code: worst.map(|tries| tries.code.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;
    use crate::certificate::testing::certificate;
    use crate::failure::FailureKind;
    use crate::name::{Name, Names};
    use crate::policy::Window;
    use crate::settings::{KeyType, Terms};

    /// The certificates of these tests are valid from 2020 until 2040.
    const IN_2026: u64 = 1_767_225_600;

    fn entry(issuers: &[&str]) -> Entry {
        let wanted = Wanted {
            names: Names::one(Name::parse("a.org").unwrap()),
            terms: Terms::default(),
        };
        let issuers = issuers
            .iter()
            .map(|name| Arc::new(Issuer::new(name, "https://x/")));
        Entry::new(Arc::new(wanted), false, issuers.collect())
    }

    fn with_certificate() -> Entry {
        // Making keys takes its time, and a property is tried often.
        static MADE: LazyLock<Certificate> =
            LazyLock::new(|| certificate(&["a.org"], KeyType::EcdsaP256));
        let mut entry = entry(&["one", "two"]);
        entry.succeeded(MADE.clone(), Some("one".to_owned()), 0);
        entry
    }

    fn failure(kind: FailureKind, issuer: &str) -> Failure {
        Failure {
            issuer: issuer.to_owned(),
            ..Failure::new(kind, "it failed")
        }
    }

    #[test]
    fn what_is_missing_is_due_and_what_is_there_waits_for_its_time() {
        let rests = Rests::default();
        assert_eq!(entry(&["one"]).due(IN_2026, &rests), (0, Reason::Missing));
        assert_eq!(entry(&[]).due(IN_2026, &rests).0, u64::MAX);
        let mut there = with_certificate();
        let (at, reason) = there.due(IN_2026, &rests);
        assert!(at > IN_2026 + 5 * 365 * 86_400, "{at}");
        assert_eq!(reason, Reason::Lifetime);
        assert!(there.is_usable(IN_2026) && !there.is_usable(3_000_000_000));
        assert_eq!(there.due(3_000_000_000, &rests), (0, Reason::Missing));
        there.is_asked = true;
        assert_eq!(there.due(IN_2026, &rests), (0, Reason::Asked));
    }

    #[test]
    fn another_kind_of_key_is_a_reason_to_renew() {
        let mut there = with_certificate();
        let mut wanted = Wanted::clone(&there.wanted);
        wanted.terms.key_type = KeyType::EcdsaP384;
        there.wanted = Arc::new(wanted);
        assert_eq!(there.due(IN_2026, &Rests::default()), (0, Reason::Asked));
    }

    #[test]
    fn renewal_information_counts_for_its_own_certificate_only() {
        let mut there = with_certificate();
        let serial = there.current.as_ref().unwrap().facts.serial.clone();
        let (issuer, at) = there.info_due().unwrap();
        assert_eq!((issuer.name.as_str(), at), ("one", 0));
        let window = Some(Window {
            start: IN_2026 + 10,
            end: IN_2026 + 20,
        });
        let info = |serial: &str| Info {
            serial: serial.to_owned(),
            window,
            ask_at: IN_2026 + 5,
            explanation: None,
        };
        there.record.info = Some(info(&serial));
        let (at, reason) = there.due(IN_2026, &Rests::default());
        assert_eq!(reason, Reason::RenewalInfo);
        assert!((IN_2026 + 10..IN_2026 + 20).contains(&at));
        assert_eq!(there.info_due().unwrap().1, IN_2026 + 5);
        there.record.info = Some(info("of another"));
        assert_eq!(there.due(IN_2026, &Rests::default()).1, Reason::Lifetime);
        assert_eq!(there.info_due().unwrap().1, 0);
    }

    #[test]
    fn a_failure_pauses_its_issuer_and_leaves_the_certificate() {
        let mut there = with_certificate();
        let mut rests = Rests::default();
        there.failed(&[failure(FailureKind::Caa, "one")], IN_2026, &mut rests);
        assert!(there.is_usable(IN_2026));
        let open = there.candidates(IN_2026, &rests);
        assert_eq!(open.len(), 1);
        assert_eq!(open[0].0.name, "two");
        assert!(rests.is_empty());
        let later = there.candidates(IN_2026 + 80, &rests);
        assert_eq!(
            (later.len(), later[0].1),
            (2, 1),
            "one failure of the first"
        );
        assert!(there.words().unwrap().contains("one: it failed"));
    }

    #[test]
    fn a_dead_issuer_rests_for_all() {
        let mut rests = Rests::default();
        with_certificate().failed(
            &[failure(FailureKind::Unreachable, "one")],
            IN_2026,
            &mut rests,
        );
        let other = entry(&["one", "two"]);
        let open = other.candidates(IN_2026, &rests);
        assert_eq!(open.len(), 1);
        assert_eq!(open[0].0.name, "two");
        assert_eq!(entry(&["one"]).due(IN_2026, &rests).1, Reason::Pause);
    }

    #[test]
    fn trouble_of_our_own_pauses_every_issuer() {
        let mut missing = entry(&["one", "two"]);
        let mut rests = Rests::default();
        missing.failed(&[failure(FailureKind::Hook, "one")], IN_2026, &mut rests);
        assert!(missing.candidates(IN_2026, &rests).is_empty());
        let (at, reason) = missing.due(IN_2026, &rests);
        assert!(at >= IN_2026 + 60 && reason == Reason::Pause);
        assert_eq!(
            missing.words().as_deref(),
            Some("one: it failed"),
            "told once"
        );
    }

    #[test]
    fn what_a_stranger_asked_for_is_not_tried_by_itself() {
        let mut asked = entry(&["one"]);
        asked.on_demand = true;
        let mut rests = Rests::default();
        assert_eq!(asked.due(IN_2026, &rests).0, 0);
        asked.failed(
            &[failure(FailureKind::Connection, "one")],
            IN_2026,
            &mut rests,
        );
        assert_eq!(asked.due(IN_2026 + 1_000, &rests).0, u64::MAX);
        let (sender, _receiver) = oneshot::channel();
        asked.waiters.push(sender);
        assert!(asked.due(IN_2026 + 1_000, &rests).0 <= IN_2026 + 1_000);
    }

    proptest! {
        #[test]
        fn no_run_of_failures_stops_the_tries_or_makes_them_hot(
            kinds in proptest::collection::vec(0..FailureKind::ALL.len(), 1..40),
        ) {
            let mut rests = Rests::default();
            let mut there = with_certificate();
            there.is_asked = true;
            let mut now = IN_2026;
            for kind in kinds {
                there.failed(&[failure(FailureKind::ALL[kind], "one")], now, &mut rests);
                there.failed(&[failure(FailureKind::ALL[kind], "two")], now, &mut rests);
                there.is_asked = true;
                prop_assert!(there.candidates(now, &rests).is_empty());
                let (at, _) = there.due(now, &rests);
                prop_assert!(at >= now + 60 && at <= now + 8 * 3_600);
                prop_assert!(!there.candidates(at, &rests).is_empty());
                now = at;
            }
        }
    }
}
