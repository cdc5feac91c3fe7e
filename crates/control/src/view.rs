//! Backends, servers and certificates as the admin API shows them: as JSON for programs, as a table for
//! people.

pub(crate) mod certificates;
pub(crate) mod incidents;

use clearway_base::clock;
use clearway_proxy::board;
use clearway_proxy::plan::ServerPlan;
use serde_json::{Value, json};

use crate::state::State;
use crate::story::Story;

/// The state of a server in one word.
///
/// `unchecked` = it gets traffic, but no check has ended yet, or there are none.
pub(crate) fn state_word(server: &ServerPlan, story: Option<&Story>) -> &'static str {
    match board::state_name(server.entry.cell.flags()) {
        "up" if story.is_none_or(|s| s.last_probe.is_none()) => "unchecked",
        name => name,
    }
}

/// All backends as JSON.
pub(crate) fn json(state: &State) -> Value {
    let plan = state.plan();
    let stories = state.stories();
    let backends: Vec<Value> = plan
        .backends
        .iter()
        .map(|backend| {
            let servers: Vec<Value> = backend
                .servers
                .iter()
                .map(|s| server_json(s, stories.get((backend.name, s.address))))
                .collect();
            let mut out = json!({
                "name": backend.name.as_str(),
                "balance": backend.config.balance.name(),
                "servers": servers,
            });
            let troubles = state.name_troubles(backend);
            if !troubles.is_empty() {
                out["name_troubles"] = json!(troubles);
            }
            if servers_empty(&out) {
                out["empty_because"] = json!(backend.empty_because.summary());
            }
            out
        })
        .collect();
    json!({ "backends": backends })
}

fn servers_empty(backend: &Value) -> bool {
    backend["servers"].as_array().is_some_and(Vec::is_empty)
}

fn server_json(server: &ServerPlan, story: Option<&Story>) -> Value {
    let mut out = json!({
        "name": server.name.as_str(),
        "address": server.address.as_str(),
        "state": state_word(server, story),
        "weight": f64::from(server.entry.cell.weight()) / 100.0,
        "tier": server.tier,
        "maxconn": server.maxconn,
        "inflight": server.entry.inflight(),
        "attempts": server.entry.attempts(),
        "successes": server.entry.successes(),
    });
    let Some(story) = story else { return out };
    if let Some(probe) = &story.last_probe {
        out["last_check"] = json!({
            "time": clock::rfc3339(probe.at),
            "passed": probe.passed,
            "words": probe.words,
        });
    }
    if let Some(words) = &story.disagreement {
        out["disagreement"] = json!(words);
    }
    let history: Vec<Value> = story
        .transitions
        .iter()
        .rev()
        .map(|t| json!({ "time": clock::rfc3339(t.at), "to": t.to, "why": t.why }))
        .collect();
    out["history"] = json!(history);
    out
}

/// All servers as a table, with the reason of every state that is not as usual.
pub(crate) fn text(state: &State) -> String {
    let plan = state.plan();
    let stories = state.stories();
    let mut rows = vec![
        [
            "BACKEND",
            "SERVER",
            "STATE",
            "WEIGHT",
            "IN FLIGHT",
            "ATTEMPTS",
        ]
        .map(str::to_owned),
    ];
    let mut notes: Vec<Option<String>> = vec![None];
    for backend in &plan.backends {
        for server in &backend.servers {
            let weight = f64::from(server.entry.cell.weight()) / 100.0;
            let story = stories.get((backend.name, server.address));
            rows.push([
                backend.name.to_string(),
                label(server),
                state_word(server, story).to_owned(),
                weight.to_string(),
                server.entry.inflight().to_string(),
                server.entry.attempts().to_string(),
            ]);
            notes.push(note(server, story));
        }
        if backend.servers.is_empty() {
            let row = [backend.name.as_str(), "-", "empty", "-", "-", "-"].map(str::to_owned);
            rows.push(row);
            let troubles = state.name_troubles(backend);
            let why = backend.empty_because.summary().to_owned();
            notes.push(Some(if troubles.is_empty() {
                why
            } else {
                troubles.join("; ")
            }));
        }
    }
    table(&rows, &notes)
}

fn label(server: &ServerPlan) -> String {
    if server.name == server.address {
        return server.address.to_string();
    }
    format!("{} ({})", server.name, server.address)
}

/// Why a server is not as usual.
fn note(server: &ServerPlan, story: Option<&Story>) -> Option<String> {
    let story = story?;
    let mut words = Vec::new();
    if server.entry.cell.flags() != 0
        && let Some(last) = story.transitions.back()
    {
        words.push(format!("since {}: {}", clock::rfc3339(last.at), last.why));
    }
    words.extend(story.disagreement.clone());
    (!words.is_empty()).then(|| words.join("; "))
}

/// Rows of cells below each other, each with a note below it or none.
fn table<const N: usize>(rows: &[[String; N]], notes: &[Option<String>]) -> String {
    let mut widths = [0_usize; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut out = String::new();
    for (row, note) in rows.iter().zip(notes) {
        let cells: Vec<String> = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        out.push_str(cells.join("  ").trim_end());
        out.push('\n');
        if let Some(note) = note {
            out.push_str(&format!("    {note}\n"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_align_and_notes_follow_their_row() {
        let rows = [
            [
                "BACKEND",
                "SERVER",
                "STATE",
                "WEIGHT",
                "IN FLIGHT",
                "ATTEMPTS",
            ]
            .map(str::to_owned),
            ["app", "10.0.0.1:80", "down", "1", "0", "7"].map(str::to_owned),
        ];
        let text = table(&rows, &[None, Some("since then".to_owned())]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0].find("STATE"), lines[1].find("down"));
        assert_eq!(lines[2], "    since then");
    }
}
