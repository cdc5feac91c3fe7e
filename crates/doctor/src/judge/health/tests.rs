//! Verdicts on servers that checks or failures have taken out, and on checks that ask for the wrong thing.

use std::time::Duration;

use clearway_config::survey::{BackendSurvey, CheckKind, CheckSurvey, Setting};
use clearway_outcome::{FaultKind as K, Speaker};

use crate::case::{Case, Subject};
use crate::cause::Cause;
use crate::evidence::{
    Ask, Change, ChangeKind, CheckState, Connection, Finding, HostWord, Probe, Reply,
};
use crate::judge::head::tests::{
    ADDRESS, first_of, path, replied, seen, status, survey, tls, verdict,
};
use crate::opinion::Confidence;

const OWN: &[Cause] = &[
    Cause::AllBackendsDown,
    Cause::HcWrongStatus,
    Cause::HcHostHeader,
    Cause::HcWrongPortOrProtocol,
    Cause::HcTooStrict,
    Cause::HcDependencyCascade,
    Cause::PassiveEjection,
];

/// A backend of which no server may be used.
fn all_down(speaker: Speaker) -> Case {
    let mut case = Case::open(Subject {
        speaker,
        backend: "app".to_owned(),
        server: String::new(),
        address: String::new(),
    });
    case.observe(&seen(speaker, &[K::AllServersDown]));
    case
}

fn check() -> CheckSurvey {
    CheckSurvey {
        kind: Setting::by_default("kind", CheckKind::Http),
        method: "GET".to_owned(),
        path: Setting::by_default("path", "/healthz".to_owned()),
        host: None,
        expect: Setting::by_default("expect", "200-399".to_owned()),
        port: None,
        tls: Setting::by_default("tls", false),
        proxy_header: Setting::by_default("proxy_header", false),
        interval: Setting::by_default("interval", Duration::from_secs(2)),
        timeout: Setting::by_default("timeout", Some(Duration::from_secs(1))),
        fall: Setting::by_default("fall", 3),
        rise: Setting::by_default("rise", 2),
    }
}

fn configured(case: &mut Case, edit: impl FnOnce(&mut BackendSurvey)) {
    let speaker = case.subject.speaker;
    case.set_survey(survey(speaker, |backend| {
        backend.check = Some(check());
        edit(backend);
    }));
}

/// Two servers whose checks met the same.
fn met(case: &mut Case, fault: K, status: u16) {
    for name in ["a", "b"] {
        let state = CheckState {
            is_down: true,
            fault: Some(fault),
            status,
            took_us: Some(1_001_000),
            ..CheckState::default()
        };
        case.backdrop.checks.push((name.to_owned(), state));
    }
    case.backdrop.servers = 2;
    case.backdrop.down = 2;
}

fn by_check() -> Ask {
    Ask {
        host: HostWord::Check,
        ..path("/healthz")
    }
}

#[test]
fn servers_that_refuse_are_down_and_it_says_why() {
    let mut case = all_down(Speaker::Clearway);
    met(&mut case, K::ConnectRefused, 0);
    configured(&mut case, |_| {});
    let told = verdict(&case);
    assert_eq!(told.cause, Some(Cause::AllBackendsDown));
    // A packet filter refuses like that, too.
    assert_eq!(told.confidence, Confidence::Likely);
    assert!(told.summary.contains("with a refusal."), "{}", told.summary);
    assert!(
        told.evidence
            .iter()
            .any(|fact| fact.words.starts_with("b: "))
    );

    // Where the check goes is not known.
    let mut open = all_down(Speaker::Haproxy);
    met(&mut open, K::ConnectRefused, 0);
    assert_eq!(first_of(&open, OWN).0, Cause::AllBackendsDown);
    assert!(verdict(&open).confidence < Confidence::Certain);
    let refused = Connection {
        fault: Some(K::ConnectRefused),
        ..Connection::default()
    };
    open.learn(Probe::Connect, Finding::Connect(Box::new(refused)));
    assert_eq!(verdict(&open).confidence, Confidence::Likely);
}

#[test]
fn checks_that_are_wrong_are_told_from_servers_that_are() {
    type Row<'a> = (u16, &'a [(Ask, Reply)], Cause, Option<Confidence>);
    let rows: &[Row<'_>] = &[
        // The path is wrong: users' own path is well, and no Host helps.
        (
            404,
            &[
                (by_check(), status(404)),
                (path("/healthz"), status(404)),
                (path("/page"), status(200)),
            ],
            Cause::HcWrongStatus,
            Some(Confidence::Certain),
        ),
        // Everybody is sent to HTTPS, which the check does not take for healthy.
        (
            301,
            &[
                (path("/healthz"), status(301)),
                (path("/page"), status(301)),
            ],
            Cause::HcWrongStatus,
            Some(Confidence::Certain),
        ),
        // An answer for / alone may come from another program.
        (
            404,
            &[
                (path("/healthz"), status(404)),
                (Ask::default(), status(200)),
            ],
            Cause::HcWrongStatus,
            None,
        ),
        // The Host is wrong.
        (
            400,
            &[(by_check(), status(400)), (path("/healthz"), status(200))],
            Cause::HcHostHeader,
            Some(Confidence::Certain),
        ),
        // What the path looks at is gone.
        (
            503,
            &[
                (by_check(), status(503)),
                (path("/healthz"), status(503)),
                (Ask::default(), status(200)),
            ],
            Cause::HcDependencyCascade,
            None,
        ),
    ];
    for (code, replies, cause, confidence) in rows {
        let mut case = all_down(Speaker::Haproxy);
        met(&mut case, K::ProbeStatus, *code);
        configured(&mut case, |_| {});
        for (ask, reply) in *replies {
            replied(&mut case, ask.clone(), reply.clone());
        }
        assert_eq!(first_of(&case, OWN).0, *cause, "{code}");
        let told = verdict(&case);
        match confidence {
            Some(confidence) => assert_eq!(told.confidence, *confidence, "{code}"),
            None => assert!(told.confidence < Confidence::Certain, "{code}"),
        }
    }
}

#[test]
fn without_probes_nothing_is_certain_and_all_are_listed() {
    let mut case = all_down(Speaker::Haproxy);
    met(&mut case, K::ProbeStatus, 404);
    configured(&mut case, |_| {});
    let told = verdict(&case);
    assert!(told.confidence < Confidence::Certain);
    let mut listed: Vec<Cause> = told.alternatives.iter().map(|other| other.cause).collect();
    listed.extend(told.cause);
    for cause in [
        Cause::HcWrongStatus,
        Cause::HcHostHeader,
        Cause::AllBackendsDown,
    ] {
        assert!(listed.contains(&cause), "{cause} in {listed:?}");
    }
}

#[test]
fn hosts_are_set_in_the_readers_own_words() {
    let rows = [
        (
            Speaker::Haproxy,
            "http-check send meth GET uri /healthz ver HTTP/1.1 hdr Host app.lab",
        ),
        (Speaker::Clearway, "host = \"app.lab\""),
    ];
    for (speaker, command) in rows {
        let mut case = Case::open(Subject {
            speaker,
            backend: "app".to_owned(),
            server: "a".to_owned(),
            address: ADDRESS.to_owned(),
        });
        let mut failed = seen(speaker, &[K::AllServersDown]);
        failed.host = "app.lab";
        case.observe(&failed);
        met(&mut case, K::ProbeStatus, 400);
        configured(&mut case, |_| {});
        replied(&mut case, by_check(), status(400));
        replied(&mut case, path("/healthz"), status(200));
        let told = verdict(&case);
        assert_eq!(told.fixes[0].command, command);
        assert!(told.fixes[0].is_verified);
    }
}

#[test]
fn checks_that_go_elsewhere() {
    type Row = (K, fn(&mut BackendSurvey));
    let rows: &[Row] = &[
        (K::ConnectRefused, |backend| {
            if let Some(check) = &mut backend.check {
                check.port = Some(Setting::by_default("port", 9001));
            }
        }),
        (K::ServerSpeaksTls, |backend| backend.tls = Some(tls())),
        (K::ServerClosedNoResponse, |backend| {
            backend.proxy_header = Setting::by_default("send_proxy", 2);
        }),
    ];
    for (fault, edit) in rows {
        let mut case = all_down(Speaker::Haproxy);
        met(&mut case, *fault, 0);
        configured(&mut case, *edit);
        assert!(verdict(&case).confidence < Confidence::Certain, "{fault:?}");
        replied(&mut case, path("/page"), status(200));
        let told = verdict(&case);
        assert_eq!(told.cause, Some(Cause::HcWrongPortOrProtocol), "{fault:?}");
        assert_eq!(told.confidence, Confidence::Certain, "{fault:?}");
    }
    // A check that goes where traffic goes is not astray.
    let mut same = all_down(Speaker::Haproxy);
    met(&mut same, K::ConnectRefused, 0);
    configured(&mut same, |_| {});
    assert_eq!(first_of(&same, OWN).0, Cause::AllBackendsDown);
}

#[test]
fn short_limits_are_told_from_servers_that_are_slow() {
    let slow = || {
        let mut case = all_down(Speaker::Haproxy);
        met(&mut case, K::ResponseTimeout, 0);
        configured(&mut case, |_| {});
        case
    };
    let mut strict = slow();
    strict.backdrop.checks[0].1.flaps = 4;
    let reply = Reply {
        first_byte_us: Some(1_300_000),
        ..status(200)
    };
    let patient = Ask {
        patience_ms: 10_000,
        ..by_check()
    };
    replied(&mut strict, patient, reply);
    let (first, lead) = first_of(&strict, OWN);
    assert_eq!(first, Cause::HcTooStrict);
    assert!(lead >= 12, "{lead}");
    assert!(verdict(&strict).confidence < Confidence::Certain);
    assert!(verdict(&strict).summary.contains("1.0 s"));
    let (first, lead) = first_of(&slow(), OWN);
    assert_eq!(first, Cause::AllBackendsDown);
    assert!(lead <= 34, "{lead}");
}

#[test]
fn what_all_need_takes_all_down_together() {
    let mut case = all_down(Speaker::Clearway);
    met(&mut case, K::ProbeStatus, 503);
    configured(&mut case, |_| {});
    for at in [0, 1_500_000] {
        case.changes.push(Change {
            at_us: 1_795_246_199_000_000 + at,
            kind: ChangeKind::ServerDown,
            words: "a server went down".to_owned(),
        });
    }
    replied(&mut case, Ask::default(), status(200));
    assert_eq!(first_of(&case, OWN).0, Cause::HcDependencyCascade);
    let told = verdict(&case);
    assert_eq!(told.confidence, Confidence::Likely);
}

#[test]
fn servers_left_out_are_told_from_servers_that_are_gone() {
    let nginx = || {
        let mut case = all_down(Speaker::Nginx);
        case.set_survey(survey(Speaker::Nginx, |backend| {
            let pause = Setting::by_default("fail_timeout", Duration::from_secs(10));
            backend.ejection = Some((Setting::by_default("max_fails", 1), pause));
        }));
        case
    };
    let mut left_out = nginx();
    left_out
        .backdrop
        .others
        .push(("a".to_owned(), K::ResponseTimeout, 1));
    replied(&mut left_out, path("/page"), status(200));
    assert_eq!(first_of(&left_out, OWN).0, Cause::PassiveEjection);
    let told = verdict(&left_out);
    assert!(
        told.summary.contains("response_timeout"),
        "{}",
        told.summary
    );
    assert!(
        told.fixes
            .iter()
            .any(|fix| fix.command.contains("max_fails=0"))
    );

    let mut gone = nginx();
    gone.backdrop
        .others
        .push(("a".to_owned(), K::ConnectRefused, 40));
    let refused = Connection {
        fault: Some(K::ConnectRefused),
        ..Connection::default()
    };
    gone.learn(Probe::Connect, Finding::Connect(Box::new(refused)));
    assert_eq!(first_of(&gone, OWN).0, Cause::AllBackendsDown);

    let (_, lead) = first_of(&nginx(), &[Cause::AllBackendsDown, Cause::PassiveEjection]);
    assert!(lead <= 34, "{lead}");

    let mut known = all_down(Speaker::Clearway);
    let state = CheckState {
        is_ejected: true,
        ..CheckState::default()
    };
    known.backdrop.checks.push(("a".to_owned(), state));
    replied(&mut known, path("/page"), status(200));
    assert_eq!(verdict(&known).cause, Some(Cause::PassiveEjection));
    assert_eq!(verdict(&known).confidence, Confidence::Certain);
}

#[test]
fn servers_that_are_used_although_they_are_down() {
    let mut case = crate::judge::head::tests::case(Speaker::Envoy);
    case.observe(&seen(Speaker::Envoy, &[K::ConnectRefused]));
    let listed = |case: &Case| {
        let opinions = case.opinions(&case.groups[0]);
        let mut own = opinions.into_iter().filter(|o| !o.is_ruled_out());
        own.any(|opinion| opinion.cause == Cause::FailOpenMasksDown)
    };
    assert!(!listed(&case));
    case.check = Some(CheckState {
        is_down: true,
        ..CheckState::default()
    });
    (case.backdrop.servers, case.backdrop.down) = (1, 1);
    assert!(listed(&case));
    assert_ne!(verdict(&case).cause, Some(Cause::FailOpenMasksDown));
}
