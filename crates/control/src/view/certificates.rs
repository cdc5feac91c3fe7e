//! Certificates: which listener has which, and how it stands with those that are obtained.

use clearway_acme::{CertificateStatus, Status};
use clearway_net::tls::Certificate;
use serde_json::{Value, json};

use super::table;
use crate::certificates::{date, label};
use crate::state::State;

/// All certificates as JSON.
pub(crate) fn json(state: &State) -> Value {
    let plan = state.plan();
    let listeners: Vec<Value> = plan
        .listeners
        .iter()
        .filter_map(|listener| {
            let all = listener.tls.as_ref()?.server.certificates().all();
            let all: Vec<Value> = all.iter().map(certificate).collect();
            Some(json!({ "name": listener.name.as_str(), "certificates": all }))
        })
        .collect();
    let mut out = json!({ "listeners": listeners });
    if let Some(status) = state.issuing.status() {
        out["acme"] = acme(&status);
    }
    out
}

fn certificate(certificate: &Certificate) -> Value {
    let facts = certificate.facts();
    json!({
        "names": certificate.names(),
        "subject": facts.subject,
        "issuer": facts.issuer,
        "serial": facts.serial,
        "not_before": date(facts.not_before),
        "not_after": date(facts.not_after),
    })
}

fn acme(status: &Status) -> Value {
    let certificates: Vec<Value> = status.certificates.iter().map(wanted).collect();
    let issuers: Vec<Value> = status
        .issuers
        .iter()
        .map(|issuer| {
            let mut out = json!({ "name": issuer.name });
            if let Some(words) = &issuer.last_failure {
                out["rests_until"] = json!(time(issuer.rests_until));
                out["last_failure"] = json!(words);
            }
            out
        })
        .collect();
    json!({ "certificates": certificates, "issuers": issuers, "troubles": status.troubles })
}

fn wanted(status: &CertificateStatus) -> Value {
    json!({
        "id": status.id,
        "names": status.names,
        "on_demand": status.on_demand,
        "issuer": status.issuer,
        "serial": status.serial,
        "key": status.key_type.map(clearway_acme::KeyType::name),
        "not_after": status.not_after.map(time),
        "state": word(status),
        "next": next(status),
        "next_because": status.reason.name(),
        "explanation": status.explanation,
        "failures": status.failures,
        "last_failure": status.last_failure,
        "last_failure_code": status.last_code,
    })
}

/// How it stands with a certificate, in one word.
fn word(status: &CertificateStatus) -> &'static str {
    match (status.not_after, status.running) {
        (_, true) => "ordering",
        (Some(_), false) if status.failures > 0 => "failing",
        (Some(_), false) => "valid",
        (None, false) => "missing",
    }
}

/// When the next order is made, if any is to be made.
fn next(status: &CertificateStatus) -> Option<String> {
    (status.next != u64::MAX).then(|| time(status.next))
}

/// A time of the authority's.
fn time(seconds: u64) -> String {
    date(i64::try_from(seconds).unwrap_or(i64::MAX))
}

/// All certificates as tables, with what failed below the certificate that it kept from.
pub(crate) fn text(state: &State) -> String {
    let plan = state.plan();
    let mut rows = vec![["LISTENER", "NAMES", "ISSUER", "VALID UNTIL"].map(str::to_owned)];
    for listener in &plan.listeners {
        let Some(tls) = &listener.tls else { continue };
        for certificate in tls.server.certificates().all() {
            let more = certificate.names().len().saturating_sub(1);
            let names = match more {
                0 => label(&certificate).to_owned(),
                more => format!("{} and {more} more", label(&certificate)),
            };
            let facts = certificate.facts();
            rows.push([
                listener.name.to_string(),
                names,
                facts.issuer.clone(),
                date(facts.not_after),
            ]);
        }
    }
    let mut out = table(&rows, &vec![None; rows.len()]);
    let Some(status) = state.issuing.status() else {
        return out;
    };
    let mut rows =
        vec![["ACME", "STATE", "VALID UNTIL", "NEXT ORDER", "BECAUSE"].map(str::to_owned)];
    let mut notes = vec![None];
    for wanted in &status.certificates {
        let none = || "-".to_owned();
        rows.push([
            wanted.id.clone(),
            word(wanted).to_owned(),
            wanted.not_after.map_or_else(none, time),
            next(wanted).unwrap_or_else(none),
            wanted.reason.name().to_owned(),
        ]);
        notes.push(wanted.last_failure.clone());
    }
    out.push('\n');
    out.push_str(&table(&rows, &notes));
    for trouble in &status.troubles {
        out.push_str(trouble);
        out.push('\n');
    }
    out
}
