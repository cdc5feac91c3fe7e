//! A page of the catalogue as text for a terminal and as Markdown.

use std::fmt::Write as _;

use clearway_outcome::Party;

use crate::cause::{Cause, Page};

/// What stands before what hangs below a heading.
const INDENT: &str = "  ";

/// Lines are never made narrower than this, however narrow the terminal is.
const WIDTH_MIN: usize = 40;

/// The page for a terminal `width` characters wide.
#[must_use]
pub fn text(page: &Page, width: usize) -> String {
    let width = width.max(WIDTH_MIN);
    let mut out = String::new();
    wrap(&mut out, page.title, "", "", width);
    wrap(&mut out, &summary(page), "", "", width);

    let mut section = |heading: &str, body: &str| {
        let _ = write!(out, "\n{heading}\n{body}");
    };
    let paragraph = |text: &str| {
        let mut body = String::new();
        wrap(&mut body, text, INDENT, INDENT, width);
        body
    };
    section("What it looks like", &paragraph(page.seen));
    let mut reports = String::new();
    for (name, report) in reports_of(page) {
        let first = format!("{INDENT}{name:<13}");
        let rest = " ".repeat(first.len());
        wrap(&mut reports, &report, &first, &rest, width);
    }
    if !reports.is_empty() {
        section("What is reported", &reports);
    }
    section("What to do", &paragraph(page.fix));
    if let Some(ask) = Ask::of(page) {
        // On one line, whatever its length, so that it can be copied.
        section(
            &format!("What proves or refutes it, {}", ask.place),
            &format!("{INDENT}{}\n", ask.command),
        );
    }
    if !page.lookalikes.is_empty() {
        section("What looks alike", &alike(page, width));
    }
    out
}

fn alike(page: &Page, width: usize) -> String {
    let ids = page.lookalikes.iter().map(|cause| cause.id().len());
    let column = ids.max().unwrap_or(0) + 2;
    let mut body = String::new();
    for cause in page.lookalikes {
        let first = format!("{INDENT}{:<column$}", cause.id());
        let rest = " ".repeat(first.len());
        wrap(&mut body, cause.page().title, &first, &rest, width);
    }
    body
}

/// The page as a Markdown document; other pages are linked as `ID.md`.
#[must_use]
pub fn markdown(page: &Page) -> String {
    let mut out = format!("# {}\n\n", page.title);
    let _ = writeln!(out, "{}\n", summary(page));
    let _ = writeln!(out, "## What it looks like\n\n{}", linked(page.seen));
    let mut reports = reports_of(page).peekable();
    if reports.peek().is_some() {
        out.push_str("\n## What is reported\n\n");
    }
    for (name, report) in reports {
        let _ = writeln!(out, "- **{name}**: {}", linked(&report));
    }
    let _ = writeln!(out, "\n## What to do\n\n{}", linked(page.fix));
    if let Some(Ask { place, command }) = Ask::of(page) {
        let _ = writeln!(
            out,
            "\n## What proves or refutes it\n\nRun {place}:\n\n```sh\n{command}\n```"
        );
    }
    if !page.lookalikes.is_empty() {
        out.push_str("\n## What looks alike\n\n");
    }
    for cause in page.lookalikes {
        let _ = writeln!(out, "- [{}]({}.md)", cause.page().title, cause.id());
    }
    out
}

/// The line below the title.
fn summary(page: &Page) -> String {
    let stage = page.cause.stage().title();
    let acts = party(page.party);
    let often = often(page.often);
    format!(
        "`{}`. {stage}. Who has to act: {acts}. {often}.",
        page.cause
    )
}

fn party(party: Party) -> &'static str {
    match party {
        Party::Client => "the client",
        Party::ClearwayHost => "the balancer or its host",
        Party::Network => "the network between the hosts",
        Party::ServerHost => "the server's host",
        Party::Application => "the application",
        Party::Configuration => "whoever configures it",
    }
}

fn often(often: u8) -> &'static str {
    match often {
        0 | 1 => "Rare",
        2 => "Not frequent",
        3 => "Common",
        4 => "Frequent",
        _ => "Very frequent",
    }
}

/// What each program reports, where it reports anything.
fn reports_of(page: &Page) -> impl Iterator<Item = (&'static str, String)> {
    let all = [
        ("NGINX", page.nginx.to_owned()),
        ("HAProxy", page.haproxy.to_owned()),
        ("Envoy", page.envoy.to_owned()),
        ("AWS ALB", page.alb.to_owned()),
        ("Proxy-Status", quoted(page.proxy_status)),
    ];
    all.into_iter().filter(|(_, report)| !report.is_empty())
}

/// Error types of RFC 9209 as a sentence.
fn quoted(types: &str) -> String {
    let types = types.split(" or ").filter(|name| !name.is_empty());
    let quoted: Vec<_> = types.map(|name| format!("`{name}`")).collect();
    if quoted.is_empty() {
        return String::new();
    }
    format!("{}.", quoted.join(" or "))
}

/// The command that proves or refutes a cause, taken apart.
pub(crate) struct Ask {
    place: &'static str,
    pub(crate) command: &'static str,
}

impl Ask {
    pub(crate) fn of(page: &Page) -> Option<Self> {
        let (place, command) = page.ask.trim_end_matches('`').split_once('`')?;
        let place = place.trim_end_matches([':', ' ']);
        let place = if place.is_empty() {
            "on the server"
        } else {
            place
        };
        Some(Self { place, command })
    }
}

/// Turns "see ID" into a link.
fn linked(text: &str) -> String {
    let mut words = Vec::new();
    let mut previous = "";
    for word in text.split(' ') {
        let bare = word.trim_end_matches(['.', ',', ';', ')']);
        match Cause::by_id(bare) {
            Some(cause) if previous.ends_with("see") => {
                words.push(word.replacen(bare, &format!("[{cause}]({cause}.md)"), 1));
            }
            _ => words.push(word.to_owned()),
        }
        previous = word;
    }
    words.join(" ")
}

/// Writes `text` in lines of at most `width` characters, the first behind `first`, the others behind
/// `rest`. A word that is longer stands alone.
fn wrap(out: &mut String, text: &str, first: &str, rest: &str, width: usize) {
    out.push_str(first);
    let mut column = first.chars().count();
    let mut is_at_start = true;
    for word in text.split(' ') {
        let length = word.chars().count();
        if !is_at_start && column + 1 + length > width {
            out.push('\n');
            out.push_str(rest);
            column = rest.chars().count();
            is_at_start = true;
        }
        if !is_at_start {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
        is_at_start = false;
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text without what stands in back quotes.
    fn prose(text: &str) -> String {
        text.split('`').step_by(2).collect()
    }

    #[test]
    fn a_page_has_everything_in_order() {
        let page = Cause::PortClosed.page();
        let text = text(page, 80);
        let parts = [
            "Nothing listens on the server's port\n`port-closed`. Connecting. Who has to act: the server's",
            "\nWhat it looks like\n  The server's host answers",
            "\nWhat is reported\n  NGINX        502 `connect() failed (111",
            "\n  Proxy-Status `connection_refused`.\n",
            "\nWhat to do\n  Start the application.",
            "\nWhat proves or refutes it, on the server\n  ss -ltnp 'sport = :{port}'\n",
            "\nWhat looks alike\n  port-wrong",
        ];
        let mut from = 0;
        for part in parts {
            let at = text.match_indices(part).map(|(at, _)| at).next();
            let at = at.unwrap_or_else(|| panic!("{part:?} is not in\n{text}"));
            assert!(at >= from, "{part:?} comes too early in\n{text}");
            from = at;
        }
    }

    #[test]
    fn a_page_says_where_to_run_the_command() {
        let page = Cause::RouteMissing.page();
        let command = "ip route get {host}";
        assert!(
            text(page, 80).contains(&format!("it, on the balancer\n  {command}\n")),
            "{}",
            text(page, 80)
        );
        assert!(
            markdown(page).contains(&format!("Run on the balancer:\n\n```sh\n{command}\n```\n"))
        );
    }

    #[test]
    fn lines_fit_into_the_width_but_for_commands_and_long_words() {
        for width in [40, 72, 100] {
            for &cause in Cause::ALL {
                let page = cause.page();
                let command = Ask::of(page).map(|ask| ask.command);
                for line in text(page, width).lines() {
                    let fits = line.chars().count() <= width;
                    let is_heading = line.starts_with("What ");
                    let is_word = line.split_whitespace().count() <= 2;
                    let is_command = Some(line.trim_start()) == command;
                    assert!(
                        fits || is_heading || is_word || is_command,
                        "{cause}: {line}"
                    );
                }
            }
        }
    }

    #[test]
    fn nothing_gets_lost_by_wrapping() {
        let page = Cause::KeepaliveRace.page();
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let text = words(&text(page, 60));
        for part in [page.title, page.seen, page.nginx, page.alb, page.fix] {
            assert!(text.contains(&words(part)), "{part}");
        }
    }

    #[test]
    fn sections_without_content_are_left_out() {
        let page = Cause::TooManyForwardedFor.page();
        for out in [text(page, 80), markdown(page)] {
            assert!(!out.contains("proves or refutes"), "{out}");
            assert!(!out.contains("HAProxy"), "{out}");
        }
        let page = Cause::RespBodyTooLarge.page();
        for out in [text(page, 80), markdown(page)] {
            assert!(!out.contains("looks alike"), "{out}");
        }
    }

    #[test]
    fn markdown_links_look_alikes_and_pages_that_it_refers_to() {
        let page = markdown(Cause::PortClosed.page());
        let link = "\n- [The application listens on 127.0.0.1 only](bind-loopback-only.md)\n";
        assert!(page.starts_with("# Nothing listens on the server's port\n\n`port-closed`. "));
        assert!(page.contains(link), "{page}");
        let page = markdown(Cause::AppSlow.page());
        assert!(
            page.contains("(see [timeout-order-inverted](timeout-order-inverted.md))."),
            "{page}"
        );
    }

    #[test]
    fn markdown_has_no_marks_by_accident() {
        for &cause in Cause::ALL {
            let page = cause.page();
            let all = [
                page.title,
                page.seen,
                page.nginx,
                page.haproxy,
                page.envoy,
                page.alb,
                page.fix,
            ];
            for text in all {
                let prose = prose(text);
                assert!(
                    !prose.contains(['<', '>', '*', '|', '\\', '[', ']']),
                    "{cause}: {prose}"
                );
            }
            assert!(!page.ask.contains("```"), "{cause}");
        }
    }
}
