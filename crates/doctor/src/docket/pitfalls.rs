//! What a configuration alone says will hurt, as verdicts.

use clearway_config::survey::{Pitfall, Survey};

use crate::cause::{Cause, Stage};
use crate::evidence::{Fact, Source};
use crate::opinion::{Confidence, Fix, Site};
use crate::verdict::Verdict;

/// Most places of the same pitfall that are told.
const PLACES: usize = 8;

/// Verdicts on what nothing else has named. What something has named is told there.
pub(super) fn verdicts(
    surveys: &[impl AsRef<Survey>],
    known: &mut [Verdict],
    is_sound: impl Fn(&Survey, &str) -> bool,
) -> Vec<Verdict> {
    let mut out: Vec<Verdict> = Vec::new();
    for survey in surveys.iter().map(AsRef::as_ref) {
        for pitfall in &survey.pitfalls {
            let Some(cause) = Cause::by_id(pitfall.cause) else {
                continue;
            };
            let is_its = |verdict: &&mut Verdict| {
                verdict.cause == Some(cause)
                    && (verdict.backend == pitfall.backend || pitfall.backend.is_empty())
            };
            if let Some(named) = known.iter_mut().find(is_its) {
                add(named, pitfall);
                continue;
            }
            if is_refuted_by_success(cause) && is_sound(survey, &pitfall.backend) {
                continue;
            }
            match out
                .iter_mut()
                .find(|told| told.cause == Some(cause) && told.backend == pitfall.backend)
            {
                Some(told) => add(told, pitfall),
                None => out.push(verdict(cause, pitfall)),
            }
        }
    }
    out
}

/// Whether servers that answer as they are configured prove that all is well.
fn is_refuted_by_success(cause: Cause) -> bool {
    matches!(cause.stage(), Stage::Tls | Stage::Health | Stage::Dns)
        || matches!(cause, Cause::PlaintextToTls | Cause::ProxyLoop)
}

fn add(verdict: &mut Verdict, pitfall: &Pitfall) {
    let fact = fact(pitfall);
    let is_known = verdict
        .evidence
        .iter()
        .any(|known| known.place == fact.place);
    if !is_known && verdict.evidence.len() < PLACES {
        verdict.evidence.push(fact);
    }
}

fn fact(pitfall: &Pitfall) -> Fact {
    let words = pitfall.words.trim_end_matches('.');
    Fact::new(Source::Config, words).at(pitfall.origin.to_string())
}

fn verdict(cause: Cause, pitfall: &Pitfall) -> Verdict {
    let page = cause.page();
    Verdict {
        backend: pitfall.backend.clone(),
        server: String::new(),
        error: String::new(),
        stage: cause.stage().name(),
        cause: Some(cause),
        confidence: confidence(cause),
        party: page.party.name(),
        summary: pitfall.words.clone(),
        evidence: vec![fact(pitfall)],
        against: Vec::new(),
        missing: Vec::new(),
        fixes: vec![Fix {
            words: pitfall.fix.clone(),
            command: String::new(),
            on: Site::Config,
            is_verified: false,
        }],
        alternatives: Vec::new(),
        count: 0,
        saved: 0,
        first_us: None,
        last_us: None,
        requests: Vec::new(),
    }
}

/// What must fail is likely; what depends on the servers is possible.
fn confidence(cause: Cause) -> Confidence {
    match cause.id() {
        "proxy-loop" | "no-servers-configured" | "no-resolver-configured" | "no-route-match" => {
            Confidence::Likely
        }
        _ => Confidence::Possible,
    }
}
