//! Incidents as a table for people.

use serde_json::Value;

use super::table;

/// Open and closed incidents as a table, each with its verdict beneath.
pub(crate) fn text(all: &Value) -> String {
    let incidents = all["incidents"].as_array().map_or(&[][..], Vec::as_slice);
    if incidents.is_empty() {
        return "no incident: nothing has failed since the start\n".to_owned();
    }
    let mut rows =
        vec![["INCIDENT", "STATE", "SINCE", "SERVER", "FAULT", "COUNT"].map(str::to_owned)];
    let mut notes = vec![None];
    for incident in incidents {
        let word = |key: &str| incident[key].as_str().unwrap_or("-").to_owned();
        let server = match (word("backend").as_str(), word("server").as_str()) {
            ("", "") => "-".to_owned(),
            (backend, "") => backend.to_owned(),
            (backend, server) => format!("{backend}/{server}"),
        };
        rows.push([
            word("id"),
            word("state"),
            word("first_seen"),
            server,
            word("fault"),
            incident["count"].to_string(),
        ]);
        notes.push(Some(note(incident)));
    }
    table(&rows, &notes)
}

fn note(incident: &Value) -> String {
    let verdict = &incident["verdict"];
    let word = |key: &str| verdict[key].as_str().unwrap_or_default();
    let mut out = match word("summary") {
        "" => "being looked at".to_owned(),
        summary => format!("{} ({}): {summary}", word("cause"), word("confidence")),
    };
    if incident["prevented"] == incident["count"] {
        out.push_str(" Retries saved every request.");
    }
    if let Some(recurrence) = incident["recurrence"].as_str() {
        out.push_str(&format!(" It is the {recurrence}."));
    }
    out
}
