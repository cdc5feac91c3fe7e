//! Verdicts read back from their JSON: those of a running balancer.

use clearway_base::clock;
use clearway_outcome::Party;
use serde_json::Value;

use crate::cause::{Cause, Stage};
use crate::evidence::{Fact, Source};
use crate::opinion::{Confidence, Fix, Site};
use crate::verdict::{Alternative, Verdict};

const SOURCES: [Source; 7] = [
    Source::Attempt,
    Source::Log,
    Source::Probe,
    Source::Kernel,
    Source::Config,
    Source::Dns,
    Source::Change,
];
const PARTIES: [Party; 6] = [
    Party::Client,
    Party::ClearwayHost,
    Party::Network,
    Party::ServerHost,
    Party::Application,
    Party::Configuration,
];
const SITES: [Site; 4] = [Site::Server, Site::Clearway, Site::Client, Site::Config];

/// The verdict that [`super::verdict_json`] wrote; a cause that this version does not know is unknown.
/// `None` when it is something else.
#[must_use]
pub fn verdict(json: &Value) -> Option<Verdict> {
    let cause = Cause::by_id(json["cause"].as_str()?);
    let stage = json["stage"].as_str().unwrap_or_default();
    let stage = Stage::ALL.iter().find(|known| known.name() == stage);
    let party = json["party"].as_str().unwrap_or_default();
    let party = PARTIES.iter().find(|known| known.name() == party);
    let number = |name: &str| json[name].as_u64().unwrap_or(0);
    let time = |name: &str| {
        let micros = clock::parse_rfc3339(json[name].as_str()?)?;
        i64::try_from(micros).ok()
    };
    Some(Verdict {
        backend: text(json, "backend"),
        server: text(json, "server"),
        error: text(json, "error"),
        stage: stage.map_or("unknown", |stage| stage.name()),
        cause,
        confidence: confidence(json),
        party: party.map_or("unknown", |party| party.name()),
        summary: text(json, "summary"),
        evidence: facts(&json["evidence"]),
        against: facts(&json["against"]),
        missing: texts(&json["missing"]),
        fixes: list(&json["fix"]).iter().map(fix).collect(),
        alternatives: list(&json["alternatives"])
            .iter()
            .filter_map(alternative)
            .collect(),
        count: number("count"),
        saved: number("saved"),
        first_us: time("first_seen"),
        last_us: time("last_seen"),
        requests: texts(&json["requests"]),
    })
}

fn list(json: &Value) -> &[Value] {
    json.as_array().map_or(&[], Vec::as_slice)
}

fn text(json: &Value, name: &str) -> String {
    json[name].as_str().unwrap_or_default().to_owned()
}

fn texts(json: &Value) -> Vec<String> {
    let texts = list(json).iter().filter_map(Value::as_str);
    texts.map(str::to_owned).collect()
}

fn confidence(json: &Value) -> Confidence {
    match json["confidence"].as_str() {
        Some("certain") => Confidence::Certain,
        Some("likely") => Confidence::Likely,
        _ => Confidence::Possible,
    }
}

fn facts(json: &Value) -> Vec<Fact> {
    let facts = list(json).iter().map(|fact| {
        let source = fact["source"].as_str().unwrap_or_default();
        let source = SOURCES.iter().find(|known| known.name() == source);
        Fact::new(
            source.copied().unwrap_or(Source::Attempt),
            text(fact, "fact"),
        )
        .at(text(fact, "ref"))
    });
    facts.collect()
}

fn fix(json: &Value) -> Fix {
    let on = json["on"].as_str().unwrap_or_default();
    let on = SITES.iter().find(|known| known.name() == on);
    Fix {
        words: text(json, "do"),
        command: text(json, "command"),
        on: on.copied().unwrap_or(Site::Clearway),
        is_verified: json["verified"].as_bool().unwrap_or(false),
    }
}

fn alternative(json: &Value) -> Option<Alternative> {
    Some(Alternative {
        cause: Cause::by_id(json["cause"].as_str()?)?,
        confidence: confidence(json),
        tell_apart: text(json, "tell_apart"),
    })
}
