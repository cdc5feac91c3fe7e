//! Certificates of listeners: files that change are read again, and those that end are told about.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use clearway_base::clock;
use clearway_config::Diagnostic;
use clearway_config::model::{Config, LogLevel};
use clearway_net::tls::{Certificate, FileEvent, Marks};
use clearway_proxy::board::Board;
use clearway_proxy::compile::{self, Names};
use clearway_proxy::plan::{ListenerPlan, Plan};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::issuance;
use crate::state::{Ask, State};

/// How often files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How many looks pass before files that could not be taken over are tried again.
const RETRY_LOOKS: u32 = 4;
/// How often certificates that end soon are told about again.
const REMIND_EVERY: Duration = Duration::from_secs(86_400);
/// What is soon, for a certificate that was valid for long.
const SOON: i64 = 14 * 86_400;

/// Looks at the files of the Plan in force, for ever.
#[expect(clippy::infinite_loop, reason = "it ends with control's runtime")]
pub(crate) async fn watch(state: Arc<State>) {
    let mut next = Instant::now();
    let mut remind = Instant::now() + REMIND_EVERY;
    let mut others = Others::default();
    loop {
        next += LOOK_EVERY;
        tokio::time::sleep_until(next).await;
        let plan = state.plan();
        for listener in &plan.listeners {
            look(&state, listener);
        }
        if others.have_changed(&plan) {
            others.refresh(&state).await;
        }
        if Instant::now() >= remind {
            remind += REMIND_EVERY;
            for (level, words) in warnings(&plan) {
                state.say(level, words);
            }
        }
    }
}

/// Files beside the certificates of listeners: they are compiled into the Plan.
#[derive(Default)]
struct Others {
    /// As they were at the last look.
    last: Marks,
    /// Why they could not be taken over; that is told once.
    told: String,
    /// Looks that pass before they are tried again.
    pause: u32,
}

impl Others {
    /// Whether they are other than those in use, and no longer being written.
    fn have_changed(&mut self, plan: &Plan) -> bool {
        let now = plan.files.now();
        let settled = now == self.last;
        self.last = now;
        settled && !plan.files.are(&self.last)
    }

    /// Has the configuration in force compiled again, with the files as they are now.
    async fn refresh(&mut self, state: &State) {
        if self.pause > 0 {
            self.pause -= 1;
            return;
        }
        let (answer, result) = oneshot::channel();
        // A supervisor that is gone needs no files.
        drop(state.asks.send(Ask::Refresh(answer)).await);
        match result.await {
            Ok(Err(words)) => {
                // The reason may lie in another file than those that are looked at here.
                self.pause = RETRY_LOOKS;
                if words != self.told {
                    state.say(LogLevel::Warn, words.clone());
                    self.told = words;
                }
            }
            Ok(Ok(())) | Err(_) => self.told.clear(),
        }
    }
}

/// Takes over what has changed in the files of one listener.
fn look(state: &State, listener: &ListenerPlan) {
    let Some(tls) = &listener.tls else { return };
    let mut files = tls.files.lock().unwrap_or_else(PoisonError::into_inner);
    let events = files.look();
    if events.is_empty() {
        return;
    }
    tls.server.certificates().replace(files.usable());
    let name = listener.name;
    for event in events {
        match event {
            FileEvent::Loaded(path, certificate) => {
                let until = date(certificate.facts().not_after);
                let words = format!(
                    "listener {name}: the certificate {} is in use, valid until {until}",
                    path.display()
                );
                state.say(LogLevel::Info, words);
                if let Some((level, words)) = warning(listener, &certificate) {
                    state.say(level, words);
                }
            }
            FileEvent::Failed { problem, kept } => {
                let then = if kept {
                    "the certificate read before stays in use"
                } else {
                    "it is not used"
                };
                let words = format!("listener {name}: {problem}; {then}");
                state.say(LogLevel::Warn, words);
            }
            FileEvent::Gone(path) => {
                let words = format!(
                    "listener {name}: the certificate {} is gone",
                    path.display()
                );
                state.say(LogLevel::Info, words);
            }
        }
    }
}

/// What is to be said about certificates that have ended or end soon.
pub(crate) fn warnings(plan: &Plan) -> Vec<(LogLevel, String)> {
    let mut found = Vec::new();
    for listener in &plan.listeners {
        let Some(tls) = &listener.tls else { continue };
        let all = tls.server.certificates().all();
        found.extend(all.iter().filter_map(|c| warning(listener, c)));
    }
    found
}

fn warning(listener: &ListenerPlan, certificate: &Certificate) -> Option<(LogLevel, String)> {
    let facts = certificate.facts();
    let now = clock::wall_seconds();
    let whose = format!(
        "listener {}: the certificate for {}",
        listener.name,
        label(certificate)
    );
    let left = facts.not_after - now;
    // A certificate that lives for a week is not always about to end.
    let soon = SOON.min((facts.not_after - facts.not_before) / 3);
    if left < 0 {
        let words = format!("{whose} has expired on {}", date(facts.not_after));
        Some((LogLevel::Error, words))
    } else if facts.not_before > now {
        let words = format!("{whose} is not valid before {}", date(facts.not_before));
        Some((LogLevel::Error, words))
    } else if left < soon {
        let days = left / 86_400;
        let words = format!(
            "{whose} expires in {days} days, on {}",
            date(facts.not_after)
        );
        Some((LogLevel::Warn, words))
    } else {
        None
    }
}

/// A certificate in one word: the first name it is for.
pub(crate) fn label(certificate: &Certificate) -> &str {
    match certificate.names() {
        [first, ..] => first,
        [] => &certificate.facts().subject,
    }
}

/// A day and a time, to the second.
pub(crate) fn date(seconds: i64) -> String {
    let micros = u64::try_from(seconds)
        .unwrap_or(0)
        .saturating_mul(1_000_000);
    clock::rfc3339(micros).replace(".000Z", "Z")
}

/// Compiles a configuration as a start would, and throws the Plan away: what is wrong, or what is to
/// be said about its certificates.
///
/// # Errors
/// What the checks of the configuration alone could not see, such as files that cannot be read.
pub fn try_out(config: &Config) -> Result<Vec<(LogLevel, String)>, Vec<Diagnostic>> {
    let mut board = Board::new(1);
    let plan = compile::compile(config, &Names::default(), &mut board, 1, None);
    match (plan, issuance::settings(config)) {
        (Ok(plan), Ok(_)) => Ok(warnings(&plan)),
        (plan, settings) => {
            let mut found = plan.err().unwrap_or_default();
            found.extend(settings.err().into_iter().flatten());
            Err(found)
        }
    }
}
