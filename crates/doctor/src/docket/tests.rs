//! What a docket makes of logs, reports and configurations.

use clearway_config::survey;
use clearway_outcome::{FaultKind as K, FirstBytes, Place, Suspects};
use clearway_telemetry::read::{Format, Reader, Zone};

use super::*;
use crate::cause::Cause;
use crate::opinion::Confidence;

const CONFIG: &str = r"
events {}
http {
  upstream app { server 10.0.0.2:8080; server 10.0.0.3:8080; server app.internal:8080; }
  server {
    listen 80; server_name example.org;
    location / { proxy_pass http://app; }
    location /secure/ { proxy_pass https://10.0.0.2:8080; }
  }
}
";

const REFUSED: &str = "2026/11/21 07:30:00 [error] 1#1: *2 connect() failed (111: Connection refused) while \
    connecting to upstream, client: 192.0.2.7, server: example.org, request: \"GET /a HTTP/1.1\", \
    upstream: \"http://10.0.0.2:8080/a\", host: \"example.org\"\n";
const ACCESS: &str = "192.0.2.7 - - [21/Nov/2026:07:30:00 +0000] \"GET /a HTTP/1.1\" 502 157 \"-\" \"curl\" \
    ua=10.0.0.2:8080 us=502 uct=- uht=- urt=0.001\n";
const FORMAT: &str = "$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent \
    \"$http_referer\" \"$http_user_agent\" ua=$upstream_addr us=$upstream_status \
    uct=$upstream_connect_time uht=$upstream_header_time urt=$upstream_response_time";

fn nginx(docket: &mut Docket, lines: &[(Format, &str)]) {
    for (format, text) in lines {
        let mut reader = if *format == Format::NginxAccess {
            Reader::with_template(*format, FORMAT, Zone(0)).unwrap()
        } else {
            Reader::new(*format, Zone(0)).unwrap()
        };
        reader.feed("x.log", text.as_bytes(), &mut |seen| docket.observe(seen));
        docket.add_stats(Speaker::Nginx, reader.stats());
    }
    docket.settle();
}

fn with_config() -> Docket {
    let mut docket = Docket::new();
    docket.add_survey(survey::nginx_text("nginx.conf", CONFIG));
    docket
}

#[test]
fn a_failure_that_two_logs_tell_of_counts_once() {
    let mut docket = with_config();
    let errors = REFUSED.repeat(2);
    let access = ACCESS.repeat(3);
    nginx(
        &mut docket,
        &[
            (Format::NginxError, &errors),
            (Format::NginxAccess, &access),
        ],
    );
    let [case] = docket.cases() else {
        panic!("{:#?}", docket.cases())
    };
    let counts: Vec<_> = case.groups.iter().map(|g| (g.kind(), g.count)).collect();
    // The third line of the access log has no line in the error log.
    assert_eq!(counts.first(), Some(&(Some(K::ConnectRefused), 2)));
    assert_eq!(counts.get(1).map(|(_, count)| *count), Some(1));
    let refused = &case.groups[0];
    assert_eq!(
        (refused.elapsed.max, refused.agents.only()),
        (1_000, Some("curl"))
    );
    assert!(refused.words.starts_with("connect() failed (111"));
}

#[test]
fn without_addresses_in_the_access_log_lines_are_paired_by_their_requests() {
    let mut docket = with_config();
    let combined =
        "192.0.2.7 - - [21/Nov/2026:07:30:01 +0000] \"GET /a?b HTTP/1.1\" 502 157 \"-\" \"curl\"\n";
    let mut reader = Reader::new(Format::NginxAccess, Zone(0)).unwrap();
    nginx(&mut docket, &[(Format::NginxError, REFUSED)]);
    reader.feed("access.log", combined.as_bytes(), &mut |seen| {
        docket.observe(seen);
    });
    assert_eq!(docket.cases().len(), 1);
    // A request of another path is another failure.
    let other = combined.replace("/a?b", "/b");
    reader.feed("access.log", other.as_bytes(), &mut |seen| {
        docket.observe(seen);
    });
    assert_eq!(docket.cases().len(), 2);
}

#[test]
fn the_way_of_a_request_tells_which_backend_it_was() {
    let mut docket = with_config();
    let secure = REFUSED.replace("/a ", "/secure/a ");
    nginx(
        &mut docket,
        &[(Format::NginxError, REFUSED), (Format::NginxError, &secure)],
    );
    let subjects = docket.cases().iter().map(|case| &case.subject);
    let backends: Vec<&str> = subjects.map(|subject| subject.backend.as_str()).collect();
    assert_eq!(backends, ["app", "https://10.0.0.2:8080"]);
}

#[test]
fn names_of_the_configuration_are_found_by_their_addresses() {
    let mut docket = with_config();
    docket.know("app.internal", "10.9.9.9".parse().unwrap());
    let there = REFUSED.replace("10.0.0.2:8080", "10.9.9.9:8080");
    nginx(&mut docket, &[(Format::NginxError, &there)]);
    let subject = &docket.cases()[0].subject;
    assert_eq!(
        (subject.backend.as_str(), subject.server.as_str()),
        ("app", "app.internal:8080")
    );
    assert_eq!(subject.address, "10.9.9.9:8080");
    assert!(docket.cases()[0].backend().is_some_and(|b| b.name == "app"));
}

#[test]
fn a_case_knows_the_rest_of_its_backend() {
    let mut docket = with_config();
    let other = REFUSED.replace("10.0.0.2", "10.0.0.3");
    let well = "192.0.2.7 - - [21/Nov/2026:07:29:00 +0000] \"GET /a HTTP/1.1\" 200 1 \"-\" \"curl\" \
                ua=10.0.0.2:8080 us=200 uct=0.001 uht=0.002 urt=0.003\n";
    nginx(
        &mut docket,
        &[
            (Format::NginxError, REFUSED),
            (Format::NginxError, &other),
            (Format::NginxAccess, well),
        ],
    );
    let case = &docket.cases()[0];
    assert_eq!((case.backdrop.servers, case.backdrop.failing), (3, 2));
    assert_eq!(case.backdrop.others.len(), 1);
    // It was before the failure.
    assert_eq!((case.successes.before, case.successes.count), (1, 0));
    assert_eq!(docket.servers(), 4);
}

#[test]
fn a_flood_of_servers_takes_bounded_room() {
    let mut docket = Docket::new();
    for number in 0..CASES + 10 {
        let address = format!("10.{}.{}.1:80", number / 250, number % 250);
        let mut seen = Sighting::of(Speaker::Nginx, Place::default());
        seen.address = &address;
        seen.suspects = Suspects::just(K::ConnectRefused);
        docket.observe(&seen);
    }
    assert_eq!(docket.cases().len(), CASES);
    let report = docket.report(Vec::new());
    assert!(
        report.notes.iter().any(|note| note.contains("10 failures")),
        "{:?}",
        report.notes
    );
}

#[test]
fn the_same_request_in_two_files_of_clearway_counts_once() {
    let mut docket = Docket::new();
    for file in ["access.log", "faults.log"] {
        let place = Place { file, line: 1 };
        let mut seen = Sighting::of(Speaker::Clearway, place);
        (seen.request, seen.address) = ("7f3a", "10.0.0.2:80");
        seen.suspects = Suspects::just(K::ConnectRefused);
        docket.observe(&seen);
    }
    assert_eq!(docket.cases()[0].groups[0].count, 1);
}

#[test]
fn servers_that_are_down_are_complaints_unless_a_log_has_told() {
    let mut docket = Docket::new();
    let health = |server: &str, status: &str| ServerHealth {
        backend: "app".to_owned(),
        server: server.to_owned(),
        status: status.to_owned(),
        check_status: "L7STS".to_owned(),
        check_code: 404,
        ..ServerHealth::default()
    };
    for (server, status) in [
        ("s1", "DOWN"),
        ("s2", "UP"),
        ("s3", "MAINT"),
        ("BACKEND", "UP"),
    ] {
        docket.add_health(Speaker::Haproxy, &health(server, status));
    }
    docket.add_health(Speaker::Haproxy, &health("s1", "DOWN"));
    docket.settle();
    let [case] = docket.cases() else {
        panic!("{:#?}", docket.cases())
    };
    assert_eq!(
        (case.groups[0].kind(), case.groups[0].count),
        (Some(K::ProbeStatus), 1)
    );
    assert!(
        case.check
            .as_ref()
            .is_some_and(|check| check.is_down && check.status == 404)
    );
    assert_eq!((case.backdrop.down, case.backdrop.servers), (1, 3));
}

#[test]
fn captured_bytes_are_put_to_the_failures_they_explain() {
    let mut docket = Docket::new();
    let mut seen = Sighting::of(Speaker::Haproxy, Place::default());
    (seen.backend, seen.server) = ("app", "s1");
    seen.suspects = Suspects::any_of(&[K::ResponseNotHttp, K::ResponseHeaderInvalid]);
    docket.observe(&seen);
    let mut error = CapturedError {
        is_response: true,
        proxy: "app".to_owned(),
        server: "s1".to_owned(),
        client: String::new(),
        position: None,
        length: None,
        first: FirstBytes::of(b"SSH-2.0-x"),
        around: Vec::new(),
    };
    docket.add_captured(&error);
    assert_eq!(docket.cases()[0].groups.len(), 1);
    assert_eq!(docket.cases()[0].groups[0].first_bytes(), b"SSH-2.0-x");
    error.server = "s2".to_owned();
    docket.add_captured(&error);
    assert_eq!(docket.cases()[1].groups[0].kind(), Some(K::ResponseNotHttp));
}

#[test]
fn pitfalls_are_told_when_nothing_else_names_them() {
    let text =
        "events {}\nhttp { server { listen 80; location / { proxy_pass http://$host; } } }\n";
    let mut docket = Docket::new();
    docket.add_survey(survey::nginx_text("nginx.conf", text));
    docket.settle();
    let report = docket.report(Vec::new());
    let [verdict] = report.verdicts.as_slice() else {
        panic!("{:#?}", report.verdicts)
    };
    assert_eq!(verdict.cause, Some(Cause::NoResolverConfigured));
    assert_eq!((verdict.confidence, verdict.count), (Confidence::Likely, 0));
    assert_eq!(verdict.evidence[0].place, "nginx.conf:2:41");
    assert!(report.terminal(80, false).contains("no failure seen"));
}

#[test]
fn a_sound_configuration_yields_nothing() {
    let mut docket = with_config();
    docket.settle();
    let report = docket.report(Vec::new());
    assert!(report.is_clean(), "{:#?}", report.verdicts);
    assert_eq!(report.checked, 4);
}

#[test]
fn servers_that_answer_refute_what_only_looked_wrong() {
    let text = "events {}\nhttp { server { location / { proxy_pass http://10.0.0.2:443; } } }\n";
    let report = |is_sound: bool| {
        let mut docket = Docket::new();
        docket.add_survey(survey::nginx_text("nginx.conf", text));
        if is_sound {
            docket.add_sound("http://10.0.0.2:443", "10.0.0.2:443");
        }
        docket.report(Vec::new())
    };
    assert_eq!(report(false).verdicts.len(), 1);
    assert!(report(true).is_clean());
}
