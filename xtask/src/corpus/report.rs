//! What came of a folder of files, as text.

use std::collections::{BTreeMap, BTreeSet};

use super::verdict::{Kind, Verdict};

/// A line for each file, with `why` also what stands in its way.
pub(super) fn files(judged: &[(String, Verdict)], why: bool) -> String {
    let mut out = String::new();
    for (name, verdict) in judged {
        if verdict.is_accepted() && verdict.conversion.is_none() {
            out.push_str(&format!("accepted      {name}\n"));
            continue;
        }
        let count = |kind| {
            verdict
                .obstacles
                .iter()
                .filter(|one| one.kind == kind)
                .count()
        };
        let state = if verdict.is_accepted() {
            "accepted"
        } else {
            "NOT"
        };
        out.push_str(&format!(
            "{state:<12}  {name}: {} refused, {} ignored with effect, {} errors\n",
            count(Kind::Refused),
            count(Kind::Ineffective),
            count(Kind::Error)
        ));
        if let Some(words) = &verdict.refused {
            out.push_str(&format!("    its own program refuses it too: {words}\n"));
        }
        for failure in verdict.failures.iter().chain(&verdict.conversion) {
            out.push_str(&format!("    FAILURE {failure}\n"));
        }
        for one in verdict.obstacles.iter().filter(|_| why) {
            let (kind, line, text) = (one.kind.name(), &one.line, &one.text);
            out.push_str(&format!("    {line}: {kind}: {text}: {}\n", one.remark));
        }
    }
    out
}

/// What stands in the way, by word, with the number of files and of times and an example.
pub(super) fn table(judged: &[(String, Verdict)]) -> String {
    #[derive(Default)]
    struct Row<'a> {
        files: BTreeSet<&'a str>,
        times: usize,
        example: Option<(&'a str, &'a str)>,
    }
    let mut rows: BTreeMap<(Kind, String), Row<'_>> = BTreeMap::new();
    for (name, verdict) in judged {
        for one in &verdict.obstacles {
            let row = rows.entry((one.kind, word(&one.text))).or_default();
            row.files.insert(name);
            row.times = row.times.saturating_add(1);
            row.example.get_or_insert((&one.text, &one.remark));
        }
    }
    let mut rows: Vec<_> = rows.into_iter().collect();
    rows.sort_by_key(|(_, row)| std::cmp::Reverse((row.files.len(), row.times)));
    let mut out = String::from("\nfiles  times  what                  word\n");
    for ((kind, word), row) in rows {
        let (text, remark) = row.example.unwrap_or_default();
        let text = if kind == Kind::Error { "" } else { text };
        out.push_str(&format!(
            "{:>5}  {:>5}  {:<20}  {word:<28}  {text}: {remark}\n",
            row.files.len(),
            row.times,
            kind.name()
        ));
    }
    let accepted = accepted(judged);
    let all = judged.len();
    out.push_str(&format!(
        "\naccepted: {accepted} of {all} ({:.1} %)\n",
        share(judged)
    ));
    let refused = judged
        .iter()
        .filter(|(_, verdict)| verdict.refused.is_some());
    match refused.count() {
        0 => {}
        count => out.push_str(&format!(
            "of the others {count} are refused by their own program\n"
        )),
    }
    out
}

/// The word that a directive is counted by: with a second one where the first alone says little.
fn word(text: &str) -> String {
    let mut words = text.split_whitespace();
    let first = words.next().unwrap_or_default();
    let families = [
        "option",
        "stats",
        "http-request",
        "http-response",
        "tcp-request",
        "tcp-response",
        "http-check",
        "tcp-check",
        "timeout",
        "stick",
        "compression",
        "filter",
        "no",
        "http-after-response",
    ];
    match words.next() {
        Some(second) if families.contains(&first) => format!("{first} {second}"),
        _ => first.to_owned(),
    }
}

fn accepted(judged: &[(String, Verdict)]) -> usize {
    judged
        .iter()
        .filter(|(_, verdict)| verdict.is_accepted())
        .count()
}

#[expect(clippy::cast_precision_loss, reason = "numbers of files are small")]
fn share(judged: &[(String, Verdict)]) -> f64 {
    100.0 * accepted(judged) as f64 / judged.len().max(1) as f64
}

/// What must not be.
///
/// # Errors
/// When there is any of it.
pub(super) fn failures(judged: &[(String, Verdict)], least: f64) -> Result<(), String> {
    let failed = |(_, verdict): &&(String, Verdict)| {
        !verdict.failures.is_empty() || verdict.conversion.is_some()
    };
    let failed: Vec<&str> = judged
        .iter()
        .filter(failed)
        .map(|(name, _)| name.as_str())
        .collect();
    if !failed.is_empty() {
        return Err(format!(
            "{} files fail: {}",
            failed.len(),
            failed.join(", ")
        ));
    }
    let share = share(judged);
    if share < least {
        return Err(format!(
            "{share:.1} % are accepted, and {least} % are asked for"
        ));
    }
    Ok(())
}
