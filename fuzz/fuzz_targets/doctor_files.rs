//! Configurations and logs of other balancers, from the first byte to the report: whatever stands in them,
//! there is a report, and nobody's words act in it.

#![no_main]

use clearway_config::survey;
use clearway_doctor::{Confidence, Docket};
use clearway_outcome::Speaker;
use clearway_telemetry::read::{Format, Reader, Zone};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((which, text)) = data.split_first() else {
        return;
    };
    let text = String::from_utf8_lossy(text);
    // The configuration, and behind a line of dashes the log.
    let (config, log) = text.split_once("\n---\n").unwrap_or(("", &text));
    let mut docket = Docket::new();
    let (speaker, format) = match which % 4 {
        0 => (Speaker::Haproxy, Format::Haproxy),
        1 => (Speaker::Nginx, Format::NginxError),
        2 => (Speaker::Nginx, Format::NginxAccess),
        _ => (Speaker::Envoy, Format::Envoy),
    };
    match speaker {
        Speaker::Haproxy => docket.add_survey(survey::haproxy_text("x.cfg", config)),
        Speaker::Nginx => docket.add_survey(survey::nginx_text("x.conf", config)),
        Speaker::Clearway | Speaker::Envoy | Speaker::Alb => {}
    }
    let Ok(mut reader) = Reader::new(format, Zone(0)) else {
        return;
    };
    reader.feed("x.log", log.as_bytes(), &mut |seen| docket.observe(seen));
    docket.add_stats(speaker, reader.stats());
    docket.settle();
    let report = docket.report(Vec::new());
    for verdict in &report.verdicts {
        let is_open = verdict.confidence < Confidence::Certain;
        assert!(is_open || verdict.alternatives.is_empty());
        assert!(verdict.cause.is_some() || !verdict.missing.is_empty());
    }
    let shown = report.json().to_string();
    assert!(!shown.contains('\u{1b}'));
});
