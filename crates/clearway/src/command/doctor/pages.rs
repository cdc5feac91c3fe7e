//! `clearway doctor explain` and `clearway doctor causes`.

use std::process::ExitCode;

use clearway_doctor::{Cause, page};

use super::terminal;
use crate::command::{complain, say};

/// Prints the page of a cause.
pub(super) fn explain(id: &str, width: Option<usize>) -> ExitCode {
    if let Some(cause) = Cause::by_id(id) {
        say(&page::text(cause.page(), terminal::width(width)));
        return ExitCode::SUCCESS;
    }
    let near = near(id);
    let advice = if near.is_empty() {
        ";".to_owned()
    } else {
        format!("; did you mean {}?", near.join(", "))
    };
    complain(&format!(
        "clearway doctor: there is no cause {id:?}{advice} \"clearway doctor causes\" lists all\n"
    ));
    ExitCode::from(2)
}

/// Lists causes by stage.
pub(super) fn list(causes: &[Cause]) -> ExitCode {
    let column = causes.iter().map(|cause| cause.id().len()).max();
    let column = column.unwrap_or(0) + 2;
    let mut out = String::new();
    let mut stage = None;
    for cause in causes {
        if stage.replace(cause.stage()) != Some(cause.stage()) {
            if !out.is_empty() {
                out.push('\n');
            }
            out.push_str(&format!("{}\n", cause.stage().title()));
        }
        out.push_str(&format!(
            "  {:<column$}{}\n",
            cause.id(),
            cause.page().title
        ));
    }
    say(&out);
    ExitCode::SUCCESS
}

/// Letters and digits alone.
fn bare(text: &str) -> String {
    let kept = text.chars().filter(char::is_ascii_alphanumeric);
    kept.map(|c| c.to_ascii_lowercase()).collect()
}

/// Ids that have words in common with a text, those with the most first.
fn near(text: &str) -> Vec<&'static str> {
    let words: Vec<String> = text
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| word.len() > 2)
        .map(str::to_ascii_lowercase)
        .collect();
    let mut found: Vec<(usize, &'static str)> = Cause::ALL
        .iter()
        .map(|cause| {
            let title = cause.page().title.to_ascii_lowercase();
            let in_id = words.iter().filter(|word| cause.id().contains(*word));
            let in_title = words.iter().filter(|word| title.contains(*word));
            let is_run_together = bare(cause.id()) == bare(text);
            let score = 2 * in_id.count() + in_title.count() + 9 * usize::from(is_run_together);
            (score, cause.id())
        })
        .filter(|(score, _)| *score > 0)
        .collect();
    found.sort_by_key(|(score, _)| std::cmp::Reverse(*score));
    found.into_iter().map(|(_, id)| id).take(3).collect()
}
