//! Reports as text, Markdown, JSON and a line of a log, with hostile words among them.

use serde_json::Value;

use super::*;
use crate::cause::Cause;
use crate::evidence::{Fact, Source};
use crate::opinion::Fix;
use crate::verdict::Alternative;

/// 2026-11-21T07:30:00Z.
const HALF_PAST: i64 = 1_795_246_200_000_000;

fn refused() -> Verdict {
    Verdict {
        backend: "app".to_owned(),
        server: "10.0.0.2:8080".to_owned(),
        error: "connect_refused".to_owned(),
        stage: "tcp-connect",
        cause: Some(Cause::PortClosed),
        confidence: Confidence::Likely,
        party: "server-host",
        summary: "Nothing listens on 10.0.0.2:8080: its host is up and refuses connections there."
            .to_owned(),
        evidence: vec![
            Fact::new(Source::Log, "12 × connect_refused (ECONNREFUSED)").at("error.log:3"),
            Fact::new(Source::Probe, "the host is up: it answers on port 22"),
        ],
        against: Vec::new(),
        missing: vec!["what listens on the server's host: it cannot be seen from here".to_owned()],
        fixes: vec![
            Fix {
                words: "Start the service".to_owned(),
                command: "ss -ltnp 'sport = :8080'".to_owned(),
                on: Site::Server,
                is_verified: false,
            },
            Fix {
                words: "in nginx.conf:4, name the port".to_owned(),
                command: "10.0.0.2:8081".to_owned(),
                on: Site::Config,
                is_verified: true,
            },
        ],
        alternatives: vec![Alternative {
            cause: Cause::FirewallRejectRst,
            confidence: Confidence::Possible,
            tell_apart: "nft list ruleset".to_owned(),
        }],
        count: 12,
        saved: 3,
        first_us: Some(HALF_PAST),
        last_us: Some(HALF_PAST + 70_000_000),
        requests: vec!["7f3a".to_owned()],
    }
}

fn unknown() -> Verdict {
    Verdict {
        cause: None,
        stage: "unknown",
        confidence: Confidence::Possible,
        summary: "No byte of response came within timeouts.response.".to_owned(),
        missing: vec!["whether the request reached the server".to_owned()],
        fixes: Vec::new(),
        alternatives: Vec::new(),
        count: 1,
        saved: 0,
        first_us: None,
        last_us: None,
        ..refused()
    }
}

/// What strangers may write into paths, banners and names.
const HOSTILE: &str = "\x1b[2J\r\nFAKE\u{202e}\u{9b}31m\u{7f}";

fn hostile() -> Verdict {
    Verdict {
        backend: HOSTILE.to_owned(),
        summary: format!("It said \"{HOSTILE}\"."),
        evidence: vec![Fact::new(Source::Log, HOSTILE).at(HOSTILE)],
        missing: vec![HOSTILE.to_owned()],
        fixes: vec![Fix {
            words: HOSTILE.to_owned(),
            command: format!("echo ```{HOSTILE}"),
            on: Site::Server,
            is_verified: false,
        }],
        requests: vec![HOSTILE.to_owned()],
        ..refused()
    }
}

#[test]
fn newcomers_read_what_where_why_and_what_to_do() {
    let report = Report::new(
        vec![refused()],
        3,
        vec!["access.log cannot be read.".to_owned()],
    );
    let expected = "\
1 problem found; 3 servers were looked at.

1. Nothing listens on 10.0.0.2:8080: its host is up and refuses connections
   there.
   Where: app / 10.0.0.2:8080 (connect_refused)
   How often: 12 failures, 3 of them saved by another attempt, from 2026-11-21
   07:30:00 to 07:31:10 UTC
   How sure: likely, it fits clearly better than anything else
   Who has to act: whoever runs the server's host

   Why
   - 12 × connect_refused (ECONNREFUSED) [log error.log:3]
   - the host is up: it answers on port 22 [probe]

   What to do
   1. Start the service (on the server)
        ss -ltnp 'sport = :8080'
   2. in nginx.conf:4, name the port (in the configuration)
        10.0.0.2:8081
      verified: a probe has shown that this helps

   What else it may be
";
    let text = report.terminal(80, false);
    assert!(text.starts_with(expected), "{text}");
    let rest = text.get(expected.len()..).unwrap();
    assert!(rest.starts_with("   - firewall-reject-rst (possible): "));
    assert!(rest.contains("nft list ruleset\n"));
    let end = "\
   What is not known
   - what listens on the server's host: it cannot be seen from here

   More about it: clearway doctor explain port-closed
   One of the requests: 7f3a

Notes
  - access.log cannot be read.
";
    assert!(rest.ends_with(end), "{rest}");
}

#[test]
fn what_is_unknown_is_said_to_be() {
    let report = Report::new(vec![unknown()], 1, Vec::new());
    let text = report.terminal(80, false);
    assert!(text.contains("the cause is unknown"), "{text}");
    assert!(text.contains("- whether the request reached the server"));
    assert!(!text.contains("explain"), "{text}");
    assert!(report.markdown().contains("the cause is unknown"));
    let json = report.json();
    assert_eq!(json["verdicts"][0]["cause"], "unknown");
    assert_eq!(json["verdicts"][0]["first_seen"], Value::Null);
    assert!(line(&unknown()).contains("unknown (not found out)"));
}

#[test]
fn nothing_found_is_told_from_nothing_looked_at() {
    let clean = Report::new(Vec::new(), 2, Vec::new());
    assert!(clean.is_clean());
    assert_eq!(
        clean.terminal(80, false),
        "Nothing found: 2 servers were looked at, and nobody has to act.\n"
    );
    assert!(clean.markdown().contains("Nothing found"));
    let blind = Report::new(Vec::new(), 0, Vec::new());
    assert!(blind.terminal(80, false).contains("nothing can be said"));
}

#[test]
fn the_most_important_comes_first() {
    let mut client = refused();
    client.party = "client";
    client.count = 1_000;
    let mut saved = refused();
    (saved.count, saved.saved) = (50, 50);
    let report = Report::new(vec![client, saved, unknown(), refused()], 1, Vec::new());
    let counts: Vec<u64> = report.verdicts.iter().map(|v| v.count).collect();
    assert_eq!(counts, [12, 1, 50, 1_000]);
}

#[test]
fn widths_are_kept_and_colours_are_asked_for() {
    let report = Report::new(vec![refused(), unknown()], 1, Vec::new());
    for width in [40, 80, 160] {
        let text = report.terminal(width, false);
        assert!(!text.contains('\x1b'));
        let longest = text.lines().map(|line| line.chars().count()).max();
        assert!(longest <= Some(width), "{longest:?} in {width}");
    }
    let coloured = report.terminal(80, true);
    assert!(coloured.contains("\x1b[1m") && coloured.contains("\x1b[0m"));
}

#[test]
fn strangers_words_cannot_act() {
    let report = Report::new(vec![hostile()], 1, vec![HOSTILE.to_owned()]);
    let forms = [
        report.terminal(80, false),
        report.markdown(),
        report.json_text(),
        line(&hostile()),
    ];
    for text in forms {
        let is_bad = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!text.contains(is_bad), "{}", text.escape_debug());
        assert!(
            !text
                .lines()
                .any(|line| line.trim_start().starts_with("FAKE"))
        );
    }
    assert!(!line(&hostile()).contains('\n'));
    let read: Value = serde_json::from_str(&report.json_text()).unwrap();
    assert_eq!(read, report.json());
    assert_eq!(read["notes"][0], HOSTILE);
    // The fence is longer than what is within.
    assert!(report.markdown().contains("````\n"));
}

#[test]
fn programs_read_schema_1() {
    let json = Report::new(vec![refused()], 3, Vec::new()).json();
    assert_eq!(json["schema"], 1);
    assert_eq!(json["checked"], 3);
    let verdict = &json["verdicts"][0];
    assert_eq!(verdict["cause"], "port-closed");
    assert_eq!(verdict["confidence"], "likely");
    assert_eq!(verdict["first_seen"], "2026-11-21T07:30:00.000Z");
    assert_eq!(verdict["evidence"][0]["ref"], "error.log:3");
    assert_eq!(verdict["fix"][1]["verified"], true);
    assert_eq!(verdict["fix"][1]["on"], "config");
    assert_eq!(verdict["alternatives"][0]["cause"], "firewall-reject-rst");
    conforms(&json, &schema(), "report");
}

/// Every object has the fields that its schema asks for, and no other; words of enumerations are known.
fn conforms(value: &Value, schema: &Value, at: &str) {
    if let Some(known) = schema["enum"].as_array() {
        assert!(known.contains(value), "{at}: {value}");
    }
    if let (Some(fields), Some(properties)) = (value.as_object(), schema["properties"].as_object())
    {
        let names: Vec<&String> = fields.keys().collect();
        let known: Vec<&String> = properties.keys().collect();
        assert_eq!(names, known, "{at}");
        for (name, field) in fields {
            conforms(field, &properties[name], &format!("{at}.{name}"));
        }
    }
    for item in value.as_array().into_iter().flatten() {
        conforms(item, &schema["items"], &format!("{at}[]"));
    }
}

#[test]
fn tickets_have_headings_and_code() {
    let text = Report::new(vec![refused()], 3, Vec::new()).markdown();
    assert!(
        text.contains("## 1. app / 10.0.0.2:8080: port-closed\n"),
        "{text}"
    );
    assert!(text.contains("   ```\n   ss -ltnp 'sport = :8080'\n   ```\n"));
    assert!(text.contains("**verified** by a probe"));
    assert!(text.contains("- 12 × connect_refused (ECONNREFUSED) (log error.log:3)"));
}

#[test]
fn logs_get_one_line() {
    assert_eq!(
        line(&refused()),
        "app / 10.0.0.2:8080: port-closed (likely): Nothing listens on 10.0.0.2:8080: its host is up and \
         refuses connections there. [12 failures, 3 of them saved by another attempt, from 2026-11-21 \
         07:30:00 to 07:31:10 UTC] To do: Start the service: ss -ltnp 'sport = :8080'"
    );
}
