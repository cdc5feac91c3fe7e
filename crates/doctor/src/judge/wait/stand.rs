//! A bench for judges: cases built from what was seen and found, and what is to be thought of them.

use std::sync::Arc;
use std::time::Duration;

use clearway_config::survey::{BackendSurvey, FrontSurvey, Setting, Survey, TimeoutSurvey};
use clearway_outcome::{FaultKind, Place, Reuse, Sighting, Speaker, Suspects, TcpFacts};

use super::signs;
use crate::case::{Case, Subject, View};
use crate::cause::{Cause, Stage};
use crate::evidence::{Ask, Change, ChangeKind, Finding, HostLook, Probe, ProcessLook, Reply};
use crate::judge::dns::scene;
pub(in crate::judge) use crate::judge::dns::scene::line;
use crate::opinion::Confidence;
use crate::verdict::Verdict;

/// When the first failure of a case happens, in microseconds since 1970.
pub(in crate::judge) const BEGIN: i64 = 1_700_000_000_000_000;

/// A case in the making.
pub(in crate::judge) struct Stand {
    case: Case,
    survey: Survey,
}

impl Stand {
    /// On `10.0.0.2:8080`, told by Clearway.
    pub(in crate::judge) fn new() -> Self {
        Self::of(Speaker::Clearway)
    }

    /// The same, told by somebody.
    pub(in crate::judge) fn of(speaker: Speaker) -> Self {
        Self {
            case: Case::open(Subject {
                speaker,
                backend: "app".to_owned(),
                server: "a1".to_owned(),
                address: "10.0.0.2:8080".to_owned(),
            }),
            survey: survey(speaker),
        }
        .knows(|_| {})
    }

    /// What the configuration says of the backend.
    pub(in crate::judge) fn knows(mut self, change: impl FnOnce(&mut BackendSurvey)) -> Self {
        if let Some(backend) = self.survey.backends.first_mut() {
            change(backend);
        }
        self.case.set_survey(Arc::new(self.survey.clone()));
        self
    }

    /// What the configuration says of the front.
    pub(in crate::judge) fn fronted(mut self, change: impl FnOnce(&mut FrontSurvey)) -> Self {
        if let Some(front) = self.survey.fronts.first_mut() {
            change(front);
        }
        self.case.set_survey(Arc::new(self.survey.clone()));
        self
    }

    /// Without a configuration.
    pub(in crate::judge) fn blind(mut self) -> Self {
        let old = std::mem::replace(
            &mut self.case,
            Case::open(Subject {
                speaker: self.survey.speaker,
                backend: "app".to_owned(),
                server: "a1".to_owned(),
                address: "10.0.0.2:8080".to_owned(),
            }),
        );
        self.case.groups = old.groups;
        self
    }

    /// Failures, three seconds apart.
    pub(in crate::judge) fn fails(
        mut self,
        kinds: &[FaultKind],
        times: i64,
        shape: impl for<'a> Fn(i64, &mut Sighting<'a>),
    ) -> Self {
        for turn in 0..times {
            let mut seen = Sighting::of(self.survey.speaker, Place::default());
            seen.suspects = Suspects::any_of(kinds);
            seen.at_us = Some(BEGIN + turn * 3_000_000);
            seen.method = "GET";
            seen.path = "/report";
            shape(turn, &mut seen);
            self.case.observe(&seen);
        }
        self
    }

    /// Requests that go well between the failures.
    pub(in crate::judge) fn succeeds(mut self, times: i64, took_us: u64) -> Self {
        for turn in 0..times {
            let at = BEGIN + 1_000_000 + turn * 3_000_000;
            self.case.succeed(Some(at), Some(took_us));
        }
        self
    }

    /// What a probe finds.
    pub(in crate::judge) fn finds(mut self, probe: Probe, finding: Finding) -> Self {
        self.case.learn(probe, finding);
        self
    }

    /// What comes of a request.
    pub(in crate::judge) fn replies(
        self,
        ask: impl FnOnce(&View<'_>) -> Ask,
        reply: Reply,
    ) -> Self {
        let ask = ask(&self.view());
        self.finds(Probe::Request(ask), Finding::Request(Box::new(reply)))
    }

    /// The light request is answered after so long.
    pub(in crate::judge) fn light(self, first_byte_us: u64) -> Self {
        self.replies(signs::light, answered(200, first_byte_us))
    }

    /// The light request fails.
    pub(in crate::judge) fn light_fails(self, kind: FaultKind) -> Self {
        self.replies(signs::light, failed(kind))
    }

    /// The server is on this host, and this is known of its process.
    pub(in crate::judge) fn process(
        self,
        change: impl FnOnce(&mut HostLook, &mut ProcessLook),
    ) -> Self {
        let mut process = ProcessLook {
            name: "app".to_owned(),
            pid: 4711,
            state: 'S',
            age_s: 90_000,
            ..ProcessLook::default()
        };
        let mut look = HostLook {
            is_local: true,
            ..HostLook::default()
        };
        change(&mut look, &mut process);
        look.process = Some(process);
        self.finds(Probe::Host, Finding::Host(Box::new(look)))
    }

    /// Something changed so many seconds before the first failure.
    pub(in crate::judge) fn changed(mut self, kind: ChangeKind, seconds: i64, words: &str) -> Self {
        self.case.changes.push(Change {
            at_us: BEGIN - seconds * 1_000_000,
            kind,
            words: words.to_owned(),
        });
        self
    }

    /// Anything else.
    pub(in crate::judge) fn with(mut self, change: impl FnOnce(&mut Case)) -> Self {
        change(&mut self.case);
        self
    }

    /// The first group of failures.
    pub(in crate::judge) fn view(&self) -> View<'_> {
        View {
            case: &self.case,
            group: &self.case.groups[0],
        }
    }

    /// The verdict on it.
    pub(in crate::judge) fn verdict(&self) -> Verdict {
        Verdict::of(&self.case, &self.case.groups[0])
    }

    /// Causes of sending, waiting and kept connections that are near enough to the best to be told.
    pub(in crate::judge) fn listed(&self) -> Vec<Cause> {
        let opinions = self.case.opinions(&self.case.groups[0]);
        let best = opinions.first().map_or(0, crate::opinion::Opinion::score);
        let near = opinions
            .iter()
            .filter(|o| !o.is_ruled_out() && o.score() >= 8 && o.score() >= best - 34);
        near.map(|opinion| opinion.cause)
            .filter(|cause| matches!(cause.stage(), Stage::Send | Stage::Wait | Stage::Pool))
            .collect()
    }

    /// Checks the first cause, its confidence, and those that must be told with it.
    #[track_caller]
    pub(in crate::judge) fn is(
        self,
        name: &str,
        first: Cause,
        confidence: Confidence,
        listed: &[Cause],
    ) -> Self {
        let verdict = self.verdict();
        let scores: Vec<String> = self
            .case
            .opinions(&self.case.groups[0])
            .iter()
            .map(|o| {
                format!(
                    "{} {}{}",
                    o.cause,
                    o.score(),
                    if o.is_ruled_out() { " out" } else { "" }
                )
            })
            .collect();
        assert_eq!(verdict.cause, Some(first), "{name}: {scores:?}");
        assert_eq!(verdict.confidence, confidence, "{name}: {scores:?}");
        let told = self.listed();
        for cause in listed {
            assert!(
                told.contains(cause),
                "{name}: {cause} is not told: {scores:?}"
            );
        }
        assert!(
            verdict.summary.ends_with('.'),
            "{name}: {}",
            verdict.summary
        );
        for fact in verdict.evidence.iter().chain(&verdict.against) {
            assert!(!fact.words.ends_with('.'), "{name}: {}", fact.words);
        }
        self
    }
}

/// An answer.
pub(in crate::judge) fn answered(status: u16, first_byte_us: u64) -> Reply {
    Reply {
        status,
        first_byte_us: Some(first_byte_us),
        took_us: first_byte_us,
        ..Reply::default()
    }
}

/// None.
pub(in crate::judge) fn failed(kind: FaultKind) -> Reply {
    Reply {
        fault: Some(kind),
        took_us: 3_000_000,
        ..Reply::default()
    }
}

/// A kept connection.
pub(in crate::judge) fn reused(uses: u32, idle_ms: u64) -> Option<Reuse> {
    Some(Reuse {
        uses,
        idle_us: idle_ms * 1_000,
        age_us: idle_ms * 1_000 + u64::from(uses) * 700_000,
    })
}

/// A fresh connection.
pub(in crate::judge) fn fresh() -> Option<Reuse> {
    Some(Reuse::default())
}

/// Everything was acknowledged.
pub(in crate::judge) fn taken() -> Option<TcpFacts> {
    Some(TcpFacts {
        state: 1,
        rtt_us: 300,
        bytes_acked: 400,
        ..TcpFacts::default()
    })
}

/// Nothing was acknowledged.
pub(in crate::judge) fn lost() -> Option<TcpFacts> {
    Some(TcpFacts {
        state: 1,
        unacked: 3,
        unacked_bytes: 4_000,
        retransmits: 6,
        backoff: 5,
        ..TcpFacts::default()
    })
}

/// The server's window is closed.
pub(in crate::judge) fn not_read() -> Option<TcpFacts> {
    Some(TcpFacts {
        state: 1,
        notsent_bytes: 700_000,
        bytes_acked: 130_000,
        ..TcpFacts::default()
    })
}

fn survey(speaker: Speaker) -> Survey {
    let mut out = Survey::new(speaker);
    out.fronts.push(FrontSurvey {
        hosts: vec!["shop.example".to_owned()],
        ..scene::front(":80")
    });
    out.backends.push(backend());
    out
}

fn backend() -> BackendSurvey {
    let seconds = |name, seconds| Setting::by_default(name, Some(Duration::from_secs(seconds)));
    let mut out = BackendSurvey {
        timeouts: TimeoutSurvey {
            connect: seconds("connect", 5),
            send: seconds("send", 60),
            response: Setting::written("response", Some(Duration::from_secs(60)), line(20)),
            queue: seconds("queue", 10),
            tunnel: seconds("tunnel", 3_600),
        },
        resolves_at_run_time: Setting::by_default("resolve", true),
        ..scene::backend("10.0.0.2:8080")
    };
    for server in &mut out.servers {
        server.name = "a1".to_owned();
    }
    out
}
