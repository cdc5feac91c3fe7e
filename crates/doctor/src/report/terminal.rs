//! Reports for a reader at a terminal, who may be new to all of it.

use super::{
    Report, faults, heading, how_often, meaning, nothing_found, party, place, plain, site, sureness,
};
use crate::evidence::Fact;
use crate::opinion::{Confidence, Fix};
use crate::verdict::{Alternative, Verdict};

/// Narrower than this no text can be read.
const NARROWEST: usize = 40;

/// A text that grows, in columns.
struct Page {
    out: String,
    width: usize,
    has_colour: bool,
}

/// How words stand out.
#[derive(Clone, Copy)]
enum Ink {
    /// Not at all.
    Plain,
    /// Headings.
    Bold,
    /// What is said beside.
    Dim,
    /// Certain.
    Red,
    /// Less than certain.
    Yellow,
    /// Good news.
    Green,
    /// What is typed.
    Cyan,
}

impl Ink {
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Bold => "\x1b[1m",
            Self::Dim => "\x1b[2m",
            Self::Red => "\x1b[1;31m",
            Self::Yellow => "\x1b[1;33m",
            Self::Green => "\x1b[32m",
            Self::Cyan => "\x1b[36m",
        }
    }
}

pub(super) fn report(report: &Report, width: usize, has_colour: bool) -> String {
    let mut page = Page {
        out: String::new(),
        width: width.max(NARROWEST),
        has_colour,
    };
    if report.is_clean() {
        let ink = if report.checked > 0 {
            Ink::Green
        } else {
            Ink::Yellow
        };
        page.text("", "", &nothing_found(report), ink);
    } else {
        page.text("", "", &heading(report), Ink::Bold);
    }
    for (index, verdict) in report.verdicts.iter().enumerate() {
        page.blank();
        page.verdict(index + 1, verdict);
    }
    if !report.notes.is_empty() {
        page.blank();
        page.text("", "", "Notes", Ink::Bold);
        for note in &report.notes {
            page.text("  - ", "    ", note, Ink::Plain);
        }
    }
    page.out
}

impl Page {
    fn blank(&mut self) {
        self.out.push('\n');
    }

    fn paint(&mut self, text: &str, ink: Ink) {
        let code = if self.has_colour { ink.code() } else { "" };
        self.out.push_str(code);
        self.out.push_str(text);
        if !code.is_empty() {
            self.out.push_str("\x1b[0m");
        }
    }

    /// A paragraph: escaped, broken at spaces; the first line begins with `first`, the others with `rest`.
    fn text(&mut self, first: &str, rest: &str, text: &str, ink: Ink) {
        let text = plain(text);
        let room = self.width.saturating_sub(rest.chars().count()).max(20);
        for (index, line) in broken(&text, room).iter().enumerate() {
            self.out.push_str(if index == 0 { first } else { rest });
            self.paint(line, ink);
            self.out.push('\n');
        }
    }

    /// What is copied whole, so it is not broken. It is one line, lest a line break of a stranger make two
    /// commands of one.
    fn command(&mut self, indent: &str, command: &str) {
        if command.is_empty() {
            return;
        }
        self.out.push_str(indent);
        self.paint(&plain(command), Ink::Cyan);
        self.out.push('\n');
    }

    fn verdict(&mut self, number: usize, verdict: &Verdict) {
        let ink = match (verdict.cause, verdict.confidence) {
            (None, _) => Ink::Yellow,
            (Some(_), Confidence::Certain) => Ink::Red,
            (Some(_), Confidence::Likely | Confidence::Possible) => Ink::Yellow,
        };
        let begin = format!("{number}. ");
        let indent = " ".repeat(begin.len());
        self.text(&begin, &indent, &verdict.summary, ink);
        let place = match faults(verdict).as_str() {
            "" => format!("Where: {}", place(verdict)),
            faults => format!("Where: {} ({faults})", place(verdict)),
        };
        self.text(&indent, &indent, &place, Ink::Plain);
        let often = format!("How often: {}", how_often(verdict));
        self.text(&indent, &indent, &often, Ink::Plain);
        let sure = match verdict.cause {
            Some(_) => format!(
                "How sure: {}, {}",
                sureness(verdict),
                meaning(verdict.confidence)
            ),
            None => "How sure: the cause is unknown; what was seen does not say enough".to_owned(),
        };
        self.text(&indent, &indent, &sure, Ink::Plain);
        if verdict.party != "unknown" {
            let who = format!("Who has to act: {}", party(verdict.party));
            self.text(&indent, &indent, &who, Ink::Plain);
        }
        self.facts("Why", &verdict.evidence);
        self.facts("What speaks against it", &verdict.against);
        self.fixes(&verdict.fixes);
        self.alternatives(verdict);
        self.missing(&verdict.missing);
        self.further(verdict);
    }

    fn title(&mut self, title: &str) {
        self.blank();
        self.text("   ", "   ", title, Ink::Bold);
    }

    fn facts(&mut self, title: &str, facts: &[Fact]) {
        if facts.is_empty() {
            return;
        }
        self.title(title);
        for fact in facts {
            let from = match fact.place.as_str() {
                "" => fact.source.name().to_owned(),
                place => format!("{} {place}", fact.source.name()),
            };
            let words = format!("{} [{from}]", fact.words);
            self.text("   - ", "     ", &words, Ink::Plain);
        }
    }

    fn fixes(&mut self, fixes: &[Fix]) {
        if fixes.is_empty() {
            return;
        }
        self.title("What to do");
        for (index, fix) in fixes.iter().enumerate() {
            let words = format!("{} ({})", fix.words, site(fix.on));
            self.text(&format!("   {}. ", index + 1), "      ", &words, Ink::Plain);
            self.command("        ", &fix.command);
            if fix.is_verified {
                self.text(
                    "      ",
                    "      ",
                    "verified: a probe has shown that this helps",
                    Ink::Green,
                );
            }
        }
    }

    fn alternatives(&mut self, verdict: &Verdict) {
        if verdict.alternatives.is_empty() {
            return;
        }
        self.title(match verdict.cause {
            Some(_) => "What else it may be",
            None => "What it may be",
        });
        let (first, rest) = super::shown(&verdict.alternatives);
        for other in first {
            self.alternative(other);
        }
        if let Some(words) = super::also(rest) {
            self.text("   - ", "     ", &words, Ink::Plain);
        }
    }

    fn alternative(&mut self, other: &Alternative) {
        let page = other.cause.page();
        let words = format!(
            "{} ({}): {}",
            other.cause,
            other.confidence.name(),
            page.title
        );
        self.text("   - ", "     ", &words, Ink::Plain);
        if other.tell_apart.is_empty() {
            return;
        }
        if page.ask.is_empty() {
            let words = format!("What would tell: {}", other.tell_apart);
            self.text("     ", "     ", &words, Ink::Dim);
        } else {
            self.text("     ", "     ", "This tells:", Ink::Dim);
            self.command("       ", &other.tell_apart);
        }
    }

    fn missing(&mut self, missing: &[String]) {
        if missing.is_empty() {
            return;
        }
        self.title("What is not known");
        for words in missing {
            self.text("   - ", "     ", words, Ink::Plain);
        }
    }

    fn further(&mut self, verdict: &Verdict) {
        let mut words = Vec::new();
        if let Some(cause) = verdict.cause {
            words.push(format!("More about it: clearway doctor explain {cause}"));
        }
        if let Some(request) = verdict.requests.first() {
            words.push(format!("One of the requests: {request}"));
        }
        if words.is_empty() {
            return;
        }
        self.blank();
        for words in words {
            self.text("   ", "   ", &words, Ink::Dim);
        }
    }
}

/// Lines of at most `room` characters, broken at spaces; a word that is longer stands alone.
fn broken(text: &str, room: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let length = word.chars().count();
        if used > 0 && used + 1 + length > room {
            lines.push(String::new());
            used = 0;
        }
        if let Some(line) = lines.last_mut() {
            if used > 0 {
                line.push(' ');
                used += 1;
            }
            line.push_str(word);
            used += length;
        }
    }
    lines
}
