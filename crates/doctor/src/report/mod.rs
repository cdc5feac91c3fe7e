//! Verdicts as text: for programs, for terminals, for tickets, for logs.
//!
//! Words in verdicts may come from strangers (paths, banners, lines of logs), so that every form escapes
//! what could break a line, colour a terminal or turn the direction of writing.

use clearway_base::clock;

use crate::opinion::{Confidence, Site};
use crate::verdict::{Alternative, Verdict};

mod json;
mod markdown;
mod read;
mod terminal;
#[cfg(test)]
mod tests;

pub use json::{schema, verdict as verdict_json};
pub use read::verdict as verdict_of_json;

/// Other causes that a reader gets with all there is to say of them; of the rest the names.
const SHOWN: usize = 6;

/// Those to be told in full, and those to be named.
fn shown(others: &[Alternative]) -> (&[Alternative], &[Alternative]) {
    others.split_at_checked(SHOWN).unwrap_or((others, &[]))
}

/// The names of the rest; `None` when there is none.
fn also(rest: &[Alternative]) -> Option<String> {
    let names: Vec<&str> = rest.iter().map(|other| other.cause.id()).collect();
    (!names.is_empty()).then(|| {
        format!(
            "or {}; `clearway doctor explain CAUSE` says what tells each",
            names.join(", ")
        )
    })
}

/// What an examination came to.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The verdicts, the most important first.
    pub verdicts: Vec<Verdict>,
    /// How many servers were looked at.
    pub checked: usize,
    /// What else a reader has to know, as sentences: files that could not be read, probes not made.
    pub notes: Vec<String>,
}

impl Report {
    /// One of these verdicts, which are put in order.
    #[must_use]
    pub fn new(mut verdicts: Vec<Verdict>, checked: usize, notes: Vec<String>) -> Self {
        verdicts.sort_by_key(|verdict| {
            let lost = verdict.count.saturating_sub(verdict.saved);
            let is_clients = verdict.party == "client";
            let order = std::cmp::Reverse((lost, verdict.confidence, verdict.count));
            (is_clients, order)
        });
        Self {
            verdicts,
            checked,
            notes,
        }
    }

    /// Whether nothing was found.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.verdicts.is_empty()
    }

    /// For programs: schema version 1, as [`schema`] describes it.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        json::report(self)
    }

    /// [`Report::json`] as text that is safe to look at in a terminal.
    #[must_use]
    pub fn json_text(&self) -> String {
        json::text(&self.json())
    }

    /// For a reader at a terminal of so many columns.
    #[must_use]
    pub fn terminal(&self, width: usize, has_colour: bool) -> String {
        terminal::report(&self.for_readers(), width, has_colour)
    }

    /// For a ticket.
    #[must_use]
    pub fn markdown(&self) -> String {
        markdown::report(&self.for_readers())
    }

    /// The same with verdicts made one where the same cause hits several servers of a backend: a reader
    /// has one thing to do then. Programs get each.
    fn for_readers(&self) -> Self {
        let mut verdicts: Vec<(Verdict, usize)> = Vec::new();
        // Logs without a configuration name no backend; a few servers are told one by one then.
        let are_many = self.verdicts.len() > MANY;
        for verdict in &self.verdicts {
            let is_same = |known: &&mut (Verdict, usize)| {
                verdict.cause.is_some()
                    && (are_many || !verdict.backend.is_empty())
                    && !verdict.server.is_empty()
                    && !known.0.server.is_empty()
                    && known.0.cause == verdict.cause
                    && known.0.backend == verdict.backend
                    && known.0.server != verdict.server
            };
            match verdicts.iter_mut().find(is_same) {
                Some((known, more)) => {
                    *more += 1;
                    take_in(known, verdict, *more);
                }
                None => verdicts.push((verdict.clone(), 0)),
            }
        }
        Self {
            verdicts: verdicts.into_iter().map(|(verdict, _)| verdict).collect(),
            checked: self.checked,
            notes: self.notes.clone(),
        }
    }
}

/// More verdicts than this are too many to read.
const MANY: usize = 8;
/// Most servers that are named where the same cause hits several.
const NAMED: usize = 4;

/// Takes in the verdict on another server of the same backend, the `more`th.
fn take_in(known: &mut Verdict, other: &Verdict, more: usize) {
    if more < NAMED {
        known.server = format!("{}, {}", known.server, other.server);
    } else {
        let named = known.server.split(" and ").next().unwrap_or_default();
        known.server = format!("{named} and {} others", more + 1 - NAMED);
    }
    let words = format!("the same at {}: {}", other.server, other.summary);
    if more < NAMED {
        let place = other.evidence.first().map(|fact| fact.place.clone());
        let source = other.evidence.first().map(|fact| fact.source);
        known.evidence.push(
            crate::evidence::Fact::new(
                source.unwrap_or(crate::evidence::Source::Attempt),
                words.trim_end_matches('.'),
            )
            .at(place.unwrap_or_default()),
        );
    }
    known.count += other.count;
    known.saved += other.saved;
    known.first_us = [known.first_us, other.first_us].into_iter().flatten().min();
    known.last_us = known.last_us.max(other.last_us);
    known.confidence = known.confidence.min(other.confidence);
}

/// A verdict in one line, for a log.
#[must_use]
pub fn line(verdict: &Verdict) -> String {
    let mut out = format!(
        "{}: {} ({}): {} [{}]",
        place(verdict),
        verdict.cause_id(),
        sureness(verdict),
        verdict.summary,
        how_often(verdict)
    );
    if let Some(fix) = verdict.fixes.first() {
        out.push_str(" To do: ");
        out.push_str(&fix.words);
        if !fix.command.is_empty() {
            out.push_str(": ");
            out.push_str(&fix.command);
        }
    }
    plain(&out)
}

/// Text of strangers on one line: what a terminal would not show as it stands becomes `\u{…}`.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '"' | '\'' | '\\') {
            out.push(c);
        } else {
            out.extend(c.escape_debug());
        }
    }
    out
}

/// `app / 10.0.0.2:8080`.
fn place(verdict: &Verdict) -> String {
    match (verdict.backend.as_str(), verdict.server.as_str()) {
        ("", "") if verdict.count == 0 => "the configuration as a whole".to_owned(),
        ("", "") => "no server".to_owned(),
        ("", server) => server.to_owned(),
        (backend, "") => backend.to_owned(),
        (backend, server) => format!("{backend} / {server}"),
    }
}

/// Most faults that are told one by one where a log does not tell which it was.
const FAULTS: usize = 3;

/// `connect_refused`, or `connect_refused or one of 22 others` where nobody knows.
fn faults(verdict: &Verdict) -> String {
    let codes: Vec<&str> = verdict.error.split('|').collect();
    match codes.split_first() {
        Some((first, rest)) if rest.len() >= FAULTS => {
            format!("{first} or one of {} others", rest.len())
        }
        _ => codes.join(" or "),
    }
}

/// How sure a verdict is; of no cause one cannot be sure.
fn sureness(verdict: &Verdict) -> &'static str {
    match verdict.cause {
        Some(_) => verdict.confidence.name(),
        None => "not found out",
    }
}

/// `certain` and the like as a clause.
fn meaning(confidence: Confidence) -> &'static str {
    match confidence {
        Confidence::Certain => "something proves it",
        Confidence::Likely => "it fits clearly better than anything else",
        Confidence::Possible => "it fits, and other causes fit too",
    }
}

/// `12 failures, 3 of them saved by another attempt, from 2026-11-21 07:30:00 to 07:31:10 UTC`.
fn how_often(verdict: &Verdict) -> String {
    let mut out = match verdict.count {
        0 => return "no failure seen; the configuration alone tells".to_owned(),
        1 => "1 failure".to_owned(),
        count => format!("{count} failures"),
    };
    match (verdict.saved, verdict.count) {
        (0, _) => {}
        (saved, count) if saved >= count => out.push_str(", saved by another attempt"),
        (saved, _) => out.push_str(&format!(", {saved} of them saved by another attempt")),
    }
    let (first, last) = (
        verdict.first_us.and_then(moment),
        verdict.last_us.and_then(moment),
    );
    match (first, last) {
        (Some(first), Some(last)) if first == last => {
            out.push_str(&format!(", at {} {} UTC", first.0, first.1));
        }
        (Some(first), Some(last)) if first.0 == last.0 => {
            out.push_str(&format!(", from {} {} to {} UTC", first.0, first.1, last.1));
        }
        (Some(first), Some(last)) => out.push_str(&format!(
            ", from {} {} to {} {} UTC",
            first.0, first.1, last.0, last.1
        )),
        (Some(only), None) | (None, Some(only)) => {
            out.push_str(&format!(", at {} {} UTC", only.0, only.1));
        }
        (None, None) => {}
    }
    out
}

/// Day and time to the second.
fn moment(us: i64) -> Option<(String, String)> {
    let text = clock::rfc3339(u64::try_from(us).ok()?);
    Some((text.get(..10)?.to_owned(), text.get(11..19)?.to_owned()))
}

/// Where a remedy is applied, for a reader.
fn site(on: Site) -> &'static str {
    match on {
        Site::Server => "on the server",
        Site::Clearway => "on the balancer's host",
        Site::Client => "at the client",
        Site::Config => "in the configuration",
    }
}

/// Who has to act, for a reader.
fn party(name: &str) -> &str {
    match name {
        "client" => "whoever sends the requests",
        "clearway-host" => "whoever runs the balancer's host",
        "network" => "whoever runs the network between the hosts",
        "server-host" => "whoever runs the server's host",
        "application" => "whoever looks after the application",
        "configuration" => "whoever writes the balancer's configuration",
        other => other,
    }
}

/// What a report says that found nothing.
fn nothing_found(report: &Report) -> String {
    let servers = match report.checked {
        0 => return "No server was looked at, so nothing can be said.".to_owned(),
        1 => "1 server was looked at".to_owned(),
        many => format!("{many} servers were looked at"),
    };
    format!("Nothing found: {servers}, and nobody has to act.")
}

/// What comes before the verdicts.
fn heading(report: &Report) -> String {
    let found = match report.verdicts.len() {
        1 => "1 problem found".to_owned(),
        many => format!("{many} problems found"),
    };
    match report.checked {
        0 => format!("{found}."),
        1 => format!("{found}; 1 server was looked at."),
        many => format!("{found}; {many} servers were looked at."),
    }
}
