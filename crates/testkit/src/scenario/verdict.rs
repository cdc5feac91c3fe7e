//! Comparing what the balancer says about a failure with what was done to it.

use std::time::Duration;

use clearway_doctor::cause::Cause;
use serde_json::Value;

use super::file::Scenario;
use super::peer::NAMED_MAX;
use crate::clearway::Clearway;
use crate::wait::within;

/// How sure a verdict can be, from least to most.
pub(super) const CONFIDENCES: [&str; 4] = ["none", "possible", "likely", "certain"];

/// How long the balancer may take to find a cause; its questions to servers take a moment.
const LIMIT: Duration = Duration::from_secs(8);

/// Where the right cause stands in the balancer's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It was named.
    First,
    /// It is among the first two alternatives.
    FirstThree,
    /// It is not.
    Missing,
    /// Nobody looked.
    NotAsked,
}

impl Place {
    /// In a word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::FirstThree => "first-three",
            Self::Missing => "missing",
            Self::NotAsked => "not-asked",
        }
    }
}

/// What was said.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Where the right cause stands.
    pub place: Place,
    /// What was named instead, or as well.
    pub named: String,
    /// Whether a wrong cause was called certain.
    pub is_wrong_certain: bool,
    /// Of causes that cannot be told apart: whether all of them were named.
    pub is_whole: Option<bool>,
    /// What is wrong with it.
    pub problems: Vec<String>,
}

impl Verdict {
    /// Of a run without a look at it.
    #[must_use]
    pub fn not_asked() -> Self {
        Self {
            place: Place::NotAsked,
            named: String::new(),
            is_wrong_certain: false,
            is_whole: None,
            problems: Vec::new(),
        }
    }

    /// One that nobody could read.
    pub(super) fn failed(why: String) -> Self {
        Self {
            problems: vec![why],
            ..Self::not_asked()
        }
    }
}

/// Asks the balancer for its incidents until the expected cause is named, or time is over. Who `is_patient`
/// asks on: then the verdict counts that stands at the end, and no other may have been certain meanwhile.
pub(super) fn ask(clearway: &Clearway, scenario: &Scenario, is_patient: bool) -> Verdict {
    let also = &scenario.expect.also;
    if scenario.cause.is_none() {
        return judged(&incidents(clearway), scenario, also);
    }
    if scenario.expect.no_incident {
        return Verdict::not_asked();
    }
    let mut last = Verdict::not_asked();
    let mut was_wrong = false;
    within(LIMIT, || {
        last = judged(&incidents(clearway), scenario, also);
        was_wrong |= last.is_wrong_certain;
        let least = scenario.expect.confidence.as_ref();
        if last.place == Place::First && least.is_some_and(|least| is_weaker(&last.named, least)) {
            last.problems
                .push(format!("the verdict is {} only", last.named));
        }
        (last.problems.is_empty() && !is_patient).then_some(())
    });
    if was_wrong && !last.is_wrong_certain {
        last.is_wrong_certain = true;
        last.problems
            .push("a wrong cause was called certain for a while".to_owned());
    }
    last
}

fn is_weaker(named: &str, least: &str) -> bool {
    let confidence = named.rsplit('(').next().unwrap_or_default();
    rank(confidence.trim_end_matches(')')) < rank(least)
}

/// The verdicts of incidents, in the form of a report.
fn incidents(clearway: &Clearway) -> Vec<Value> {
    let answer = clearway.json("/api/v1/incidents");
    let list = answer["incidents"].as_array();
    let list = list.unwrap_or_else(|| panic!("no incidents in {answer}"));
    let verdict = |incident: &Value| {
        let mut verdict = incident["verdict"].clone();
        if !verdict.is_object() {
            verdict = serde_json::json!({});
        }
        verdict["error"] = incident["fault"].clone();
        verdict["count"] = incident["count"].clone();
        verdict
    };
    list.iter().map(verdict).collect()
}

/// Where nothing is wrong nothing may be said.
fn healthy(verdicts: &[Value]) -> Verdict {
    let told = verdicts.iter();
    let told = told.map(|verdict| format!("nothing is wrong, but: {verdict}"));
    let mut certain = verdicts.iter();
    Verdict {
        problems: told.collect(),
        is_wrong_certain: certain.any(|verdict| verdict["confidence"] == "certain"),
        ..Verdict::not_asked()
    }
}

/// The verdict that this is about: on the expected fault if there is one, else on the most requests.
fn relevant<'a>(verdicts: &'a [Value], scenario: &Scenario) -> Option<&'a Value> {
    let faults = &scenario.expect.faults;
    let expected = |verdict: &&Value| {
        let codes = verdict["error"].as_str().unwrap_or_default();
        let mut codes =
            codes.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        codes.any(|code| faults.iter().any(|kind| kind.code() == code))
    };
    // The first of the largest.
    let frequent = |list: Vec<&'a Value>| {
        let ranked = list.into_iter().rev();
        ranked.max_by_key(|verdict| verdict["count"].as_u64())
    };
    frequent(verdicts.iter().filter(expected).collect())
        .or_else(|| frequent(verdicts.iter().collect()))
}

/// Compares verdicts with what is wrong, where `also` look like it.
pub(super) fn judged(verdicts: &[Value], scenario: &Scenario, also: &[Cause]) -> Verdict {
    let Some(cause) = scenario.cause else {
        return healthy(verdicts);
    };
    let group: Vec<&str> = also
        .iter()
        .chain([&cause])
        .map(|cause| cause.id())
        .collect();
    // Nobody can be certain of a look-alike either.
    let mut wrong = verdicts.iter();
    let is_wrong_certain =
        wrong.any(|verdict| verdict["confidence"] == "certain" && verdict["cause"] != cause.id());
    let mut out = Verdict {
        place: Place::Missing,
        named: "–".to_owned(),
        is_wrong_certain,
        is_whole: None,
        problems: Vec::new(),
    };
    if is_wrong_certain {
        out.problems
            .push("a wrong cause is called certain".to_owned());
    }
    let Some(verdict) = relevant(verdicts, scenario) else {
        out.problems.push("no incident".to_owned());
        return out;
    };
    compare(verdict, cause, &group, &mut out);
    out
}

/// Where the cause, or its group, stands in the verdict that is about it.
fn compare(verdict: &Value, cause: Cause, group: &[&str], out: &mut Verdict) {
    let named = text(&verdict["cause"]);
    let confidence = text(&verdict["confidence"]);
    let others = verdict["alternatives"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    out.named = format!("{named} ({confidence})");
    let mut missing: Vec<String> = Vec::new();
    for member in group.iter().filter(|member| **member != named) {
        match others.iter().find(|other| other["cause"] == **member) {
            None => missing.push((*member).to_owned()),
            Some(other) if text(&other["tell_apart"]).is_empty() => {
                missing.push(format!("what tells {member} apart"));
            }
            Some(_) => {}
        }
    }
    let is_member = group.contains(&named.as_str());
    if group.len() > 1 {
        // More than a verdict can name: as many of them as it can.
        let members = others.iter().filter(|other| {
            let id = text(&other["cause"]);
            group.contains(&id.as_str())
        });
        let is_full = group.len() > NAMED_MAX && members.count() + 1 >= NAMED_MAX;
        out.is_whole = Some(is_member && (missing.is_empty() || is_full));
    }
    let is_first = named == cause.id();
    if is_first || out.is_whole == Some(true) {
        out.place = Place::First;
    } else if others
        .iter()
        .take(2)
        .any(|other| other["cause"] == cause.id())
    {
        out.place = Place::FirstThree;
    }
    if out.place != Place::First {
        let problem = if is_member {
            format!(
                "the group is not named whole: {named} ({confidence}), without {}",
                missing.join(", ")
            )
        } else {
            let summary = text(&verdict["summary"]);
            format!("the verdict is {named} ({confidence}): {summary}")
        };
        out.problems.push(problem);
    }
}

fn rank(confidence: &str) -> Option<usize> {
    CONFIDENCES.iter().position(|known| *known == confidence)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn scenario() -> Scenario {
        let text = "cause = \"port-closed\"\nabout = \"x\"\n[clearway]\nservers = [\"a:1\"]\n\
            [expect]\nfault = \"connect_refused\"\nconfidence = \"likely\"\nalso = [\"port-wrong\"]\n";
        Scenario::parse("f", text).unwrap()
    }

    fn judged(cause: &str, others: &[&str]) -> Verdict {
        let others = others.iter();
        let others = others.map(|id| json!({"cause": id, "tell_apart": "look"}));
        let verdicts = [
            json!({"error": "other", "count": 9, "cause": "x", "confidence": "possible"}),
            json!({"error": "connect_refused", "count": 1, "cause": cause,
                "confidence": "certain", "alternatives": others.collect::<Vec<_>>()}),
        ];
        let scenario = scenario();
        super::judged(&verdicts, &scenario, &scenario.expect.also)
    }

    #[test]
    fn the_right_cause_first_is_right() {
        let verdict = judged("port-closed", &[]);
        assert_eq!((verdict.place, verdict.problems), (Place::First, vec![]));
        assert!(is_weaker("port-closed (possible)", "likely"));
        assert!(!is_weaker("port-closed (likely)", "likely"));
    }

    #[test]
    fn look_alikes_are_named_together() {
        let verdict = judged("port-wrong", &["port-closed"]);
        assert_eq!(
            (verdict.place, verdict.is_whole),
            (Place::First, Some(true))
        );
        let verdict = judged("port-wrong", &["host-down"]);
        assert_eq!(
            (verdict.place, verdict.is_whole),
            (Place::Missing, Some(false))
        );
        let told = verdict.problems.iter();
        assert_eq!(
            told.filter(|p| p.ends_with("without port-closed")).count(),
            1
        );
    }

    #[test]
    fn a_wrong_cause_is_worse_when_certain() {
        let verdict = judged("host-down", &["port-closed"]);
        assert_eq!(verdict.place, Place::FirstThree);
        assert!(verdict.is_wrong_certain);
        let scenario = scenario();
        let none = super::judged(&[], &scenario, &[]);
        assert_eq!(none.problems, ["no incident"]);
    }
}
