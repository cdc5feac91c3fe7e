//! The task that looks after incidents: gathers what is known around each, has probes made, tells of what
//! opened, changed and closed.

use std::sync::Arc;
use std::time::Duration;

use clearway_base::clock::{self, Stamp};
use clearway_config::model::{LogDestination, LogLevel};
use clearway_doctor::{Case, Probe, Symptom, Verdict};
use clearway_net::host;
use clearway_outcome::HostCounters;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;

use super::backdrop::Failing;
use super::{Closed, Incidents, Key, Notice, SETTLE, STALE, Watched, backdrop, reach};
use crate::examine;
use crate::state::State;
use crate::task;

/// How often incidents are looked at while there are any.
const TICK: Duration = Duration::from_millis(200);
/// How often counters of the host are read while there is nothing to look at.
const REST: Duration = Duration::from_secs(5);
/// Probes under way at a time, over all servers.
const AT_ONCE: usize = 4;
/// How often verdicts are made anew without news.
const REJUDGE: Duration = Duration::from_secs(1);
/// Probes of one server under way at a time.
const EACH: usize = 2;
/// Least time between the begins of two probes of one server.
const APART: Duration = Duration::from_millis(50);

/// What the task knows besides the incidents.
struct Live {
    state: Arc<State>,
    /// Counters of the host at the last rest.
    before: Option<HostCounters>,
    budget: Arc<Semaphore>,
    notices: mpsc::UnboundedSender<Notice>,
}

/// Looks after incidents for ever. Cancel safe.
pub(crate) async fn run(state: Arc<State>, notices: mpsc::UnboundedSender<Notice>) {
    let mut live = Live {
        state,
        before: host::counters().ok(),
        budget: Arc::new(Semaphore::new(AT_ONCE)),
        notices,
    };
    loop {
        let wait = if live.state.incidents().is_idle() {
            REST
        } else {
            TICK
        };
        tokio::select! {
            () = live.state.incident_news.notified() => {}
            () = tokio::time::sleep_until(Instant::now() + wait) => {}
        }
        live.look();
    }
}

impl Live {
    fn look(&mut self) {
        let counters = host::counters().ok();
        let quiet = self.state.config().incidents.quiet;
        let now = clock::now();
        let mut due = Vec::new();
        let (mut notices, mut troubles) = (Vec::new(), Vec::new());
        {
            let mut incidents = self.state.incidents();
            incidents.looked_at = 0;
            let failing = Failing::of(&incidents.watched);
            let Incidents {
                watched, changes, ..
            } = &mut *incidents;
            for (key, watched) in watched {
                if watched.counters.is_none() {
                    watched.counters = self.before;
                }
                watched.is_news |= now.since(watched.judged) > REJUDGE;
                if watched.is_news {
                    watched.judged = now;
                    watched.case.changes = super::concerning(changes, key.0);
                    self.gather(*key, watched, counters.as_ref());
                    failing.gather(*key, watched);
                }
                watched.judge(now, &mut notices);
                if let Some(probe) = self.wanted(watched, now) {
                    due.push((*key, probe, watched.case.clone()));
                }
            }
            incidents.close_quiet(now, quiet, &mut notices, &mut troubles);
        }
        // Nothing fails: the next failure is compared with now.
        if self.state.incidents().is_idle() {
            self.before = counters.or(self.before);
        }
        for (key, probe, case) in due {
            self.examine(key, probe, case);
        }
        for notice in notices {
            self.tell(notice);
        }
        for words in troubles {
            self.state.say(LogLevel::Error, words);
        }
    }

    /// Puts what else is known around a case into it.
    fn gather(&self, key: Key, watched: &mut Watched, counters: Option<&HostCounters>) {
        if let (Some(now), Some(before)) = (counters, &watched.counters) {
            watched.case.gained = Some(now.since(before));
        }
        backdrop::gather(&self.state, key, watched);
    }

    /// The probe that is to be made next, if any may be.
    fn wanted(&self, watched: &mut Watched, now: Stamp) -> Option<Probe> {
        if !self.state.config().incidents.probes
            || watched.probing.len() >= EACH
            || watched.incidents.is_empty()
            || now.since(watched.probed) < APART
            || self.budget.available_permits() == 0
        {
            return None;
        }
        let goes_on = watched
            .incidents
            .iter()
            .any(|i| now.since(i.last) < TICK * 5);
        if goes_on && now.since(watched.examined) > STALE {
            watched.case.forget();
            watched.examined = now;
        }
        let probe = watched.case.next_probe(&watched.probing)?;
        watched.probing.push(probe.clone());
        watched.probed = now;
        Some(probe)
    }

    fn examine(&self, key: Key, probe: Probe, case: Case) {
        let (state, budget) = (Arc::clone(&self.state), Arc::clone(&self.budget));
        drop(task::spawn(async move {
            let Ok(_permit) = budget.acquire().await else {
                return;
            };
            let begun_us = i64::try_from(clock::wall()).unwrap_or(i64::MAX);
            let reach = reach::of(&state, key);
            let finding = examine::run(&reach, &probe, &case).await;
            let mut incidents = state.incidents();
            incidents.probes += 1;
            if let Some(watched) = incidents.watched.get_mut(&key) {
                watched.learn(probe, finding, begun_us);
            }
            drop(incidents);
            state.incident_news.notify_one();
        }));
    }

    fn tell(&self, notice: Notice) {
        let level = match (notice.event, notice.is_prevented) {
            ("closed", _) | (_, true) => LogLevel::Info,
            _ => LogLevel::Warn,
        };
        // Who wants no log of failures wants no log of incidents.
        if self.state.config().log.faults != LogDestination::Off {
            self.state.say(level, notice.words.clone());
        }
        // Nobody listens when nothing is to be told elsewhere.
        drop(self.notices.send(notice));
    }
}

impl Incidents {
    /// Whether nothing is watched.
    fn is_idle(&self) -> bool {
        self.watched.is_empty()
    }

    /// Closes what has been quiet, and forgets servers with nothing open.
    fn close_quiet(
        &mut self,
        now: Stamp,
        quiet: Duration,
        notices: &mut Vec<Notice>,
        troubles: &mut Vec<String>,
    ) {
        let mut closed = Vec::new();
        for watched in self.watched.values_mut() {
            let Watched {
                case, incidents, ..
            } = watched;
            incidents.retain(|incident| {
                // What nobody has been told of yet is not over, either.
                let is_forming = incident.told.is_none() && now.since(incident.opened) < SETTLE;
                if now.since(incident.last) < quiet || is_forming && !quiet.is_zero() {
                    return true;
                }
                let json = incident.json(case, "closed");
                let what = incident
                    .verdict
                    .as_ref()
                    .map_or("unknown", Verdict::cause_id);
                notices.push(Notice {
                    event: "closed",
                    words: format!(
                        "incident {} is closed: {} {} ({what}), {} failures",
                        incident.id,
                        shown(case),
                        incident.symptom.code(),
                        json["count"],
                    ),
                    incident: json.clone(),
                    is_prevented: json["count"] == json["prevented"],
                });
                closed.push(Closed {
                    json,
                    verdict: incident.verdict.clone(),
                });
                false
            });
        }
        self.watched
            .retain(|_, watched| !watched.incidents.is_empty() || watched.is_fresh(now, quiet));
        self.ended += u64::try_from(closed.len()).unwrap_or(0);
        for incident in closed {
            self.keep(incident, troubles);
        }
    }

    /// Remembers a closed incident.
    fn keep(&mut self, incident: Closed, troubles: &mut Vec<String>) {
        if self.closed.len() == super::KEPT {
            self.closed.pop_front();
        }
        if let Some(store) = &mut self.store
            && let Err(error) = store.append(&incident.json)
        {
            let path = store.path().display();
            troubles.push(format!(
                "incident {} is not in {path}: {error}",
                incident.json["id"]
            ));
        }
        self.closed.push_back(incident);
    }

    /// Closes everything, because the process ends.
    pub(crate) fn end(&mut self) -> Vec<String> {
        let mut troubles = Vec::new();
        self.close_quiet(clock::now(), Duration::ZERO, &mut Vec::new(), &mut troubles);
        troubles
    }
}

impl Watched {
    fn is_fresh(&self, now: Stamp, quiet: Duration) -> bool {
        now.since(self.examined) < quiet
    }

    /// Makes verdicts anew when there is news, and tells of those that are worth it.
    fn judge(&mut self, now: Stamp, notices: &mut Vec<Notice>) {
        let is_news = std::mem::take(&mut self.is_news);
        let is_thinking = !self.probing.is_empty() || self.case.next_probe(&[]).is_some();
        for incident in &mut self.incidents {
            let group = self.case.group(incident.symptom);
            let Some(group) = group else { continue };
            if is_news || incident.verdict.is_none() {
                incident.verdict = Some(Verdict::of(&self.case, group));
            }
            let Some(verdict) = &incident.verdict else {
                continue;
            };
            let is_settled = !is_thinking || now.since(incident.opened) >= SETTLE;
            let found = (verdict.cause_id(), verdict.confidence);
            if !is_settled || incident.told == Some(found) {
                continue;
            }
            let event = match incident.told.replace(found) {
                None => "opened",
                Some((cause, _)) if cause != found.0 => "revised",
                // Only more or less sure than before.
                Some(_) => continue,
            };
            notices.push(Notice {
                event,
                words: words(
                    event,
                    &self.case,
                    &incident.id.to_string(),
                    incident.symptom,
                    verdict,
                ),
                incident: incident.json(&self.case, "open"),
                is_prevented: group.saved == group.count,
            });
        }
    }
}

fn words(event: &str, case: &Case, id: &str, symptom: Symptom, verdict: &Verdict) -> String {
    let prevented = if verdict.saved == verdict.count {
        ", prevented by retries"
    } else {
        ""
    };
    format!(
        "incident {id} is {event}: {} {}{prevented}: {} ({}, {})",
        shown(case),
        symptom.code(),
        verdict.summary,
        verdict.cause_id(),
        verdict.confidence.name()
    )
}

/// `backend/server`, as far as there are any.
fn shown(case: &Case) -> String {
    match (case.subject.backend.as_str(), case.subject.server.as_str()) {
        ("", "") => "requests".to_owned(),
        (backend, "") => backend.to_owned(),
        (backend, server) => format!("{backend}/{server}"),
    }
}
