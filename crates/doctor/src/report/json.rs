//! Reports for programs.

use clearway_base::clock;
use serde_json::{Value, json};

use super::Report;
use crate::evidence::Fact;
use crate::verdict::Verdict;

/// The version of the form; additions do not change it.
const SCHEMA: u32 = 1;

/// A whole report.
pub(super) fn report(report: &Report) -> Value {
    let verdicts: Vec<Value> = report.verdicts.iter().map(verdict).collect();
    json!({
        "schema": SCHEMA,
        "clearway": env!("CARGO_PKG_VERSION"),
        "checked": report.checked,
        "verdicts": verdicts,
        "notes": report.notes,
    })
}

/// One verdict in the form of schema version 1.
#[must_use]
pub fn verdict(verdict: &Verdict) -> Value {
    let fixes: Vec<Value> = verdict
        .fixes
        .iter()
        .map(|fix| {
            json!({
                "do": fix.words,
                "command": fix.command,
                "on": fix.on.name(),
                "verified": fix.is_verified,
            })
        })
        .collect();
    let alternatives: Vec<Value> = verdict
        .alternatives
        .iter()
        .map(|other| {
            json!({
                "cause": other.cause.id(),
                "confidence": other.confidence.name(),
                "tell_apart": other.tell_apart,
            })
        })
        .collect();
    json!({
        "backend": verdict.backend,
        "server": verdict.server,
        "stage": verdict.stage,
        "error": verdict.error,
        "cause": verdict.cause_id(),
        "confidence": verdict.confidence.name(),
        "party": verdict.party,
        "summary": verdict.summary,
        "evidence": facts(&verdict.evidence),
        "against": facts(&verdict.against),
        "missing": verdict.missing,
        "fix": fixes,
        "alternatives": alternatives,
        "count": verdict.count,
        "saved": verdict.saved,
        "requests": verdict.requests,
        "first_seen": time(verdict.first_us),
        "last_seen": time(verdict.last_us),
    })
}

fn facts(facts: &[Fact]) -> Vec<Value> {
    facts
        .iter()
        .map(|fact| json!({ "fact": fact.words, "source": fact.source.name(), "ref": fact.place }))
        .collect()
}

fn time(us: Option<i64>) -> Option<String> {
    Some(clock::rfc3339(u64::try_from(us?).ok()?))
}

/// Indented text, in which nothing acts on a terminal.
///
/// JSON itself asks for the escape of the first 32 characters only; the others outside ASCII stand in
/// strings alone, where an escape means the same.
pub(super) fn text(value: &Value) -> String {
    let pretty = format!("{value:#}");
    let mut out = String::with_capacity(pretty.len());
    for c in pretty.chars() {
        let is_shown =
            c == '\n' || matches!(c, ' '..='~') || !c.escape_debug().eq(c.escape_unicode());
        if is_shown {
            out.push(c);
        } else {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    out.push('\n');
    out
}

/// The JSON Schema of [`Report::json`].
#[must_use]
pub fn schema() -> Value {
    let text = || json!({ "type": "string" });
    let texts = || json!({ "type": "array", "items": text() });
    let number = || json!({ "type": "integer", "minimum": 0 });
    let moment = || json!({ "type": ["string", "null"], "format": "date-time" });
    let confidence = || json!({ "enum": ["certain", "likely", "possible"] });
    let fact = || {
        object(
            "Something that is known, and who says so.",
            &json!({
                "fact": text(),
                "source": { "enum": ["attempt", "log", "probe", "kernel", "config", "dns", "change"] },
                "ref": text(),
            }),
        )
    };
    let fix = object(
        "Something to do; verified = a probe has shown that it helps.",
        &json!({
            "do": text(),
            "command": text(),
            "on": { "enum": ["server", "clearway", "client", "config"] },
            "verified": { "type": "boolean" },
        }),
    );
    let alternative = object(
        "Another cause that it may be, and what tells.",
        &json!({ "cause": text(), "confidence": confidence(), "tell_apart": text() }),
    );
    let verdict = object(
        "Why a group of like requests failed.",
        &json!({
            "backend": text(),
            "server": text(),
            "stage": text(),
            "error": text(),
            "cause": { "type": "string", "description": "An id of the catalogue, or unknown." },
            "confidence": confidence(),
            "party": text(),
            "summary": text(),
            "evidence": { "type": "array", "items": fact() },
            "against": { "type": "array", "items": fact() },
            "missing": texts(),
            "fix": { "type": "array", "items": fix },
            "alternatives": { "type": "array", "items": alternative },
            "count": number(),
            "saved": number(),
            "requests": texts(),
            "first_seen": moment(),
            "last_seen": moment(),
        }),
    );
    let mut whole = object(
        "What clearway doctor found.",
        &json!({
            "schema": { "const": SCHEMA },
            "clearway": text(),
            "checked": number(),
            "verdicts": { "type": "array", "items": verdict },
            "notes": texts(),
        }),
    );
    if let Some(fields) = whole.as_object_mut() {
        let dialect = "https://json-schema.org/draft/2020-12/schema";
        fields.insert("$schema".to_owned(), dialect.into());
        fields.insert("title".to_owned(), "Report of clearway doctor".into());
    }
    whole
}

/// An object that has all of these fields; later versions may have more.
fn object(description: &str, properties: &Value) -> Value {
    let required: Vec<String> = properties
        .as_object()
        .map(|fields| fields.keys().cloned().collect())
        .unwrap_or_default();
    json!({
        "type": "object",
        "description": description,
        "properties": properties,
        "required": required,
    })
}
