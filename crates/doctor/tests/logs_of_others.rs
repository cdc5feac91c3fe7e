//! What is made of the logs of other balancers, where nothing can be asked: causes that the lines tell, and
//! the company of causes that they do not tell apart.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

use clearway_config::survey;
use clearway_doctor::{Confidence, Docket, Verdict};
use clearway_outcome::Speaker;
use clearway_telemetry::read::{Format, Reader, Zone};

/// `option httplog`: a time of day, the server, the times, the status, the state and the request.
fn haproxy(at: &str, server: &str, times: &str, status: &str, state: &str, path: &str) -> String {
    format!(
        "192.0.2.7:4000 [21/Nov/2026:07:30:{at}] web app/{server} {times} {status} 217 - - {state} \
         1/1/0/0/0 0/0 \"GET {path} HTTP/1.1\"\n"
    )
}

/// Envoy's line as Istio has it: a time of day, the status, flags and details, the path, and the own end of
/// the connection.
fn envoy(at: &str, status: &str, said: &str, path: &str, own: &str) -> String {
    format!(
        "[2026-11-21T07:30:{at}Z] \"GET {path} HTTP/1.1\" {status} {said} - \"-\" 0 95 4 - \"-\" \"-\" \"id\" \
         \"example.org\" \"10.0.0.2:8080\" app {own} 10.0.0.1:80 192.0.2.7:4000 - -\n"
    )
}

fn verdicts(speaker: Speaker, config: &str, log: &str) -> Vec<Verdict> {
    let mut docket = Docket::new();
    let format = if speaker == Speaker::Haproxy {
        docket.add_survey(survey::haproxy_text("haproxy.cfg", config));
        Format::Haproxy
    } else {
        Format::Envoy
    };
    let mut reader = Reader::new(format, Zone(0)).unwrap();
    reader.feed("x.log", log.as_bytes(), &mut |seen| docket.observe(seen));
    docket.add_stats(speaker, reader.stats());
    docket.settle();
    docket.report(Vec::new()).verdicts
}

fn first(speaker: Speaker, config: &str, log: &str) -> Verdict {
    let mut all = verdicts(speaker, config, log).into_iter();
    all.next().expect("a verdict")
}

fn others(verdict: &Verdict) -> Vec<&str> {
    let others = verdict.alternatives.iter();
    others.map(|other| other.cause.id()).collect()
}

const PLAIN: &str = "defaults\n mode http\nbackend app\n server s1 10.0.0.2:8080\n";

#[test]
fn a_path_that_never_goes_well_is_not_a_matter_of_connections() {
    let well = |at| haproxy(at, "s1", "0/0/0/1/1", "200", "----", "/");
    let ends = |at| haproxy(at, "s1", "0/0/0/-1/4", "502", "SH--", "/boom");
    let log = [
        well("01.000"),
        ends("02.000"),
        ends("03.000"),
        ends("04.000"),
        well("05.000"),
    ];
    let verdict = first(Speaker::Haproxy, PLAIN, &log.concat());
    assert_eq!(verdict.cause_id(), "app-crash-on-request", "{verdict:#?}");
    // Where the same path goes well, too, kept connections come first.
    let verdict = first(Speaker::Haproxy, PLAIN, &log.concat().replace("/boom", "/"));
    assert_eq!(verdict.cause_id(), "keepalive-race", "{verdict:#?}");
    assert!(others(&verdict).contains(&"nat-idle-rst"));
}

#[test]
fn what_a_log_does_not_tell_apart_is_named_together() {
    let log = haproxy("01.000", "s1", "0/0/-1/-1/0", "503", "SC--", "/").repeat(3);
    let verdict = first(Speaker::Haproxy, PLAIN, &log);
    assert_eq!(verdict.cause_id(), "port-closed");
    assert_eq!(verdict.confidence, Confidence::Possible);
    let others = others(&verdict);
    for cause in [
        "port-wrong",
        "firewall-reject-rst",
        "host-down",
        "route-missing",
    ] {
        assert!(others.contains(&cause), "{cause}: {others:?}");
    }
    // Nothing is encrypted, and nothing is a path of a file.
    for cause in ["tls-unknown-ca", "unix-socket-missing"] {
        assert!(!others.contains(&cause), "{cause}: {others:?}");
    }
    let asks = |words: &String| words.contains("bc_err_str");
    assert!(verdict.missing.iter().any(asks), "{:?}", verdict.missing);
    let all = "other kinds that the log does not tell apart";
    assert!(verdict.evidence[0].words.contains(all), "{verdict:#?}");
}

#[test]
fn a_unix_socket_has_troubles_of_its_own() {
    let config = "defaults\n mode http\nbackend app\n server s1 /run/app.sock\n";
    let log = haproxy("01.000", "s1", "0/0/-1/-1/0", "503", "SC--", "/").repeat(2);
    let verdict = first(Speaker::Haproxy, config, &log);
    let mut all = others(&verdict);
    all.push(verdict.cause_id());
    assert!(all.contains(&"unix-socket-missing"), "{all:?}");
    assert!(!all.contains(&"host-down"), "{all:?}");
}

#[test]
fn checks_in_a_log_explain_a_backend_without_servers() {
    let checked = "defaults\n mode http\nbackend app\n option httpchk GET /healthz\n \
        server s1 10.0.0.2:8080 check\n server s2 10.0.0.3:8080 check\n";
    let well = haproxy("01.000", "s1", "0/0/0/1/1", "200", "----", "/");
    let down = |server: &str| {
        format!(
            "Server app/{server} is DOWN, reason: Layer7 wrong status, code: 500, info: \"x\", check \
             duration: 0ms. 0 active and 0 backup servers left.\n"
        )
    };
    let none = haproxy("02.000", "<NOSRV>", "0/-1/-1/-1/0", "503", "SC--", "/").repeat(2);
    let empty = "backend app has no server available!\n".to_owned();
    let log = [
        well.clone(),
        down("s1"),
        down("s2"),
        empty.clone(),
        none.clone(),
    ];
    let all = verdicts(Speaker::Haproxy, checked, &log.concat());
    let [one] = all.as_slice() else {
        panic!("{all:#?}")
    };
    assert_eq!(one.cause_id(), "hc-dependency-cascade", "{one:#?}");
    assert!(one.confidence < Confidence::Certain);
    // A server that comes and goes is well for the most part.
    let up = "Server app/s1 is UP, reason: Layer7 check passed, code: 200, check duration: 0ms. 1 active\n";
    let single = checked.replace(" server s2 10.0.0.3:8080 check\n", "");
    let turn = [well, down("s1"), empty, none, up.to_owned()].concat();
    let verdict = first(Speaker::Haproxy, &single, &turn.repeat(3));
    assert_eq!(verdict.cause_id(), "hc-too-strict", "{verdict:#?}");
}

#[test]
fn unchecked_servers_go_for_their_names() {
    let config = "resolvers dns\n nameserver a 10.0.0.53:53\ndefaults\n mode http\nbackend app\n \
        server s1 app.internal:8080 resolvers dns init-addr none\n";
    let log = haproxy("02.000", "<NOSRV>", "0/-1/-1/-1/0", "503", "SC--", "/").repeat(2);
    let verdict = first(Speaker::Haproxy, config, &log);
    assert_eq!(verdict.cause_id(), "dns-nxdomain", "{verdict:#?}");
    let others = others(&verdict);
    for cause in ["dns-servfail", "dns-timeout", "dns-no-usable-family"] {
        assert!(others.contains(&cause), "{cause}: {others:?}");
    }
    let gone =
        "Server app/s1 is going DOWN for maintenance (DNS timeout status). 0 active and 0 backup\n";
    let verdict = first(Speaker::Haproxy, config, &format!("{gone}{log}"));
    assert!(verdict.cause_id().starts_with("dns-"), "{verdict:#?}");
}

#[test]
fn own_ends_of_connections_tell_kept_ones() {
    let ended = "UC upstream_reset_before_response_started{connection_termination}";
    let well = |at, own| envoy(at, "200", "- via_upstream", "/", own);
    let ends = |at, own| envoy(at, "503", ended, "/", own);
    let kept = [
        well("01.000", "10.0.0.9:4001"),
        ends("06.004", "10.0.0.9:4001"),
        well("07.000", "10.0.0.9:4002"),
        ends("12.004", "10.0.0.9:4002"),
    ];
    let verdict = first(Speaker::Envoy, "", &kept.concat());
    assert_eq!(verdict.cause_id(), "keepalive-race", "{verdict:#?}");
    let mut facts = verdict.evidence.iter();
    let idle = facts.any(|fact| fact.words.contains("had lain idle for 5.0 s"));
    assert!(idle, "{:?}", verdict.evidence);
    // Nothing ever went well: nothing was kept.
    let never = [
        ends("01.000", "10.0.0.9:4001"),
        ends("02.000", "10.0.0.9:4002"),
    ];
    let verdict = first(Speaker::Envoy, "", &never.concat());
    assert_ne!(verdict.cause_id(), "keepalive-race", "{verdict:#?}");
}

#[test]
fn errors_from_every_server_may_have_a_cause_in_common() {
    let line = envoy("01.000", "503", "- via_upstream", "/", "10.0.0.9:4001");
    let both = line.clone() + &line.replace("10.0.0.2:8080", "10.0.0.3:8080");
    let verdict = first(Speaker::Envoy, "", &both.repeat(2));
    assert_eq!(verdict.cause_id(), "upstream-generated-5xx");
    assert!(verdict.confidence < Confidence::Certain, "{verdict:#?}");
}
