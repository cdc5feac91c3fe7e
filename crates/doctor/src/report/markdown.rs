//! Reports for tickets.

use super::{
    Report, faults, heading, how_often, meaning, nothing_found, party, place, plain, site, sureness,
};
use crate::evidence::Fact;
use crate::verdict::Verdict;

pub(super) fn report(report: &Report) -> String {
    let mut out = String::from("# Why requests fail\n\n");
    let first = if report.is_clean() {
        nothing_found(report)
    } else {
        heading(report)
    };
    out.push_str(&first);
    out.push('\n');
    for (index, each) in report.verdicts.iter().enumerate() {
        verdict(&mut out, index + 1, each);
    }
    list(&mut out, "Notes", &report.notes);
    out
}

fn verdict(out: &mut String, number: usize, verdict: &Verdict) {
    let head = format!("{}: {}", place(verdict), verdict.cause_id());
    out.push_str(&format!("\n## {number}. {}\n\n", words(&head)));
    out.push_str(&format!("**{}**\n\n", words(&verdict.summary)));
    let sure = match verdict.cause {
        Some(_) => format!("{}, {}", sureness(verdict), meaning(verdict.confidence)),
        None => "the cause is unknown; what was seen does not say enough".to_owned(),
    };
    let lines = [
        ("How often", how_often(verdict)),
        ("How sure", sure),
        ("Fault", faults(verdict)),
        ("Who has to act", party(verdict.party).to_owned()),
    ];
    for (name, value) in lines.into_iter().filter(|(_, value)| !value.is_empty()) {
        out.push_str(&format!("- {name}: {}\n", words(&value)));
    }
    facts(out, "Why", &verdict.evidence);
    facts(out, "What speaks against it", &verdict.against);
    if !verdict.fixes.is_empty() {
        out.push_str("\n### What to do\n\n");
    }
    for (index, fix) in verdict.fixes.iter().enumerate() {
        let verified = if fix.is_verified {
            " – **verified** by a probe"
        } else {
            ""
        };
        let told = format!("{} ({})", fix.words, site(fix.on));
        out.push_str(&format!("{}. {}{verified}\n", index + 1, words(&told)));
        code(out, &fix.command);
    }
    if !verdict.alternatives.is_empty() {
        out.push_str("\n### What else it may be\n\n");
    }
    let (first, rest) = super::shown(&verdict.alternatives);
    for other in first {
        let page = other.cause.page();
        let told = format!(
            "{} ({}): {}",
            other.cause,
            other.confidence.name(),
            page.title
        );
        out.push_str(&format!("- {}\n", words(&told)));
        if page.ask.is_empty() && !other.tell_apart.is_empty() {
            out.push_str(&format!(
                "  What would tell: {}\n",
                words(&other.tell_apart)
            ));
        } else {
            code(out, &other.tell_apart);
        }
    }
    if let Some(told) = super::also(rest) {
        out.push_str(&format!("- {told}\n"));
    }
    list(out, "What is not known", &verdict.missing);
    list(out, "Some of the requests", &verdict.requests);
}

fn facts(out: &mut String, title: &str, facts: &[Fact]) {
    let told: Vec<String> = facts
        .iter()
        .map(|fact| match fact.place.as_str() {
            "" => format!("{} ({})", fact.words, fact.source.name()),
            place => format!("{} ({} {place})", fact.words, fact.source.name()),
        })
        .collect();
    list(out, title, &told);
}

fn list(out: &mut String, title: &str, items: &[String]) {
    if items.is_empty() {
        return;
    }
    out.push_str(&format!("\n### {title}\n\n"));
    for item in items {
        out.push_str(&format!("- {}\n", words(item)));
    }
}

/// A block of code within an item of a list; its fence is longer than any within.
fn code(out: &mut String, text: &str) {
    if text.is_empty() {
        return;
    }
    let mut longest = 2;
    let mut run = 0;
    for c in text.chars() {
        run = if c == '`' { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    let fence = "`".repeat(longest + 1);
    out.push_str(&format!("\n   {fence}\n   {}\n   {fence}\n\n", plain(text)));
}

/// Text in which no character is markup.
fn words(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in plain(text).chars() {
        if matches!(
            c,
            '\\' | '`' | '*' | '[' | ']' | '<' | '>' | '|' | '#' | '&' | '~'
        ) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}
