//! Comparing records, replies and metrics with what a scenario expects.

use std::time::Duration;

use clearway_outcome::FaultKind;
use serde_json::Value;

use super::file::{Expect, Wait, borrowed};
use crate::clearway::Clearway;
use crate::wait::within;

/// How long records and metrics may take after the last reply.
const LIMIT: Duration = Duration::from_secs(5);

/// The records of failed and of saved requests so far.
pub(super) fn records(clearway: &Clearway) -> Vec<Value> {
    clearway
        .stderr()
        .iter()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|record| record.get("id").is_some())
        .collect()
}

/// The fault of a request; where a retry saved it, that of the attempt before.
pub(super) fn fault(record: &Value) -> String {
    let of = |value: &Value| value["fault"].as_str().map(str::to_owned);
    let attempts = || record["attempts"].as_array()?.iter().rev().find_map(of);
    of(record).or_else(attempts).unwrap_or_default()
}

/// What does not hold, in words.
pub(super) fn check(clearway: &Clearway, expect: &Expect, is_healthy: bool) -> Vec<String> {
    let mut problems = Vec::new();
    if !expect.faults.is_empty() {
        let found = within(LIMIT, || {
            let all = records(clearway);
            all.into_iter()
                .find(|record| fits(record, expect).is_empty())
        });
        if found.is_none() {
            problems.extend(nearest(&records(clearway), expect));
        }
    }
    let allowed = |code: &str| {
        let known = expect.faults.iter().chain(&expect.others);
        known.map(|kind| kind.code()).any(|known| known == code)
    };
    if is_healthy || !expect.faults.is_empty() {
        for record in records(clearway) {
            let code = fault(&record);
            // An error that the server made has a record without a fault.
            let is_servers = code.is_empty() && !is_healthy;
            if !allowed(&code) && !is_servers {
                problems.push(format!("a record with {code:?}, which is not expected"));
            }
        }
    }
    if let Some(least) = expect.prevented {
        let name = "clearway_prevented_total";
        let reached = within(LIMIT, || {
            (clearway.metrics().count(name, &[]) >= least).then_some(())
        });
        if reached.is_none() {
            problems.push(format!("fewer than {least} requests were saved by a retry"));
        }
    }
    for wait in &expect.metrics {
        problems.extend(metric(clearway, wait));
    }
    problems
}

fn metric(clearway: &Clearway, wait: &Wait) -> Option<String> {
    let Wait::Metric(name, labels, least) = wait else {
        return Some(format!("{wait:?} is no metric"));
    };
    let reached = within(LIMIT, || {
        (clearway.metrics().sum(name, &borrowed(labels)) >= *least).then_some(())
    });
    reached.is_none().then(|| {
        let value = clearway.metrics().sum(name, &borrowed(labels));
        format!("{name} {labels:?} is {value} and not {least}")
    })
}

/// The complaints about the record that has the fewest.
fn nearest(records: &[Value], expect: &Expect) -> Vec<String> {
    let complaints = records.iter().map(|record| fits(record, expect));
    complaints
        .min_by_key(Vec::len)
        .unwrap_or_else(|| vec!["no record of a failure".to_owned()])
}

/// What keeps a record from being the one expected.
fn fits(record: &Value, expect: &Expect) -> Vec<String> {
    let mut problems = Vec::new();
    let code = fault(record);
    let kinds = &expect.faults;
    if !kinds.iter().any(|kind| kind.code() == code) {
        let codes: Vec<_> = kinds.iter().copied().map(FaultKind::code).collect();
        problems.push(format!("the fault is {code} and not {codes:?}: {record}"));
    }
    if let Some(phase) = expect.phase {
        let last = record["attempts"].as_array().and_then(|all| {
            let mut phases = all.iter().rev().map(|attempt| attempt["phase"].as_str());
            phases.find_map(|phase| phase)
        });
        let found = record["phase"].as_str().or(last).unwrap_or("-");
        if found != phase.name() {
            problems.push(format!("the phase is {found} and not {}", phase.name()));
        }
    }
    if let Some(status) = expect.status
        && record["status"] != status
    {
        problems.push(format!(
            "the status is {} and not {status}",
            record["status"]
        ));
    }
    for (path, expected) in &expect.record {
        let found = at(record, path);
        if found != Some(expected) {
            problems.push(format!("{path} is {found:?} and not {expected}: {record}"));
        }
    }
    problems
}

/// The value at a path such as `attempts.0.errno`.
fn at<'a>(record: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.')
        .try_fold(record, |value, part| match part.parse::<usize>() {
            Ok(index) => value.get(index),
            Err(_) => value.get(part),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fields_are_found_by_path() {
        let record = json!({"attempts": [{"errno": 111, "fault": "a"}, {"fault": null}]});
        assert_eq!(at(&record, "attempts.0.errno"), Some(&json!(111)));
        assert_eq!(at(&record, "attempts.2.errno"), None);
        assert_eq!(fault(&record), "a");
        assert_eq!(fault(&json!({"fault": "b"})), "b");
    }
}
