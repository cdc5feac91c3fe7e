//! Verdicts on response heads that are invalid, too large or of another protocol, and what the tests of
//! other stages build their cases from.

use std::sync::Arc;
use std::time::Duration;

use clearway_config::survey::{BackendSurvey, Setting, Spoke, Survey, TlsSurvey};
use clearway_outcome::{FaultKind as K, FirstBytes, Place, Reuse, Sighting, Speaker, Suspects};

use crate::case::{Case, Subject};
use crate::cause::Cause;
use crate::evidence::{Ask, Connection, Finding, Probe, Reply, Then};
use crate::judge::dns::scene;
use crate::opinion::Confidence;
use crate::verdict::Verdict;

pub(in crate::judge) const ADDRESS: &str = "10.0.0.2:8080";

/// A case about one server.
pub(in crate::judge) fn case(speaker: Speaker) -> Case {
    Case::open(Subject {
        speaker,
        backend: "app".to_owned(),
        server: "a".to_owned(),
        address: ADDRESS.to_owned(),
    })
}

/// A failure of one of these kinds.
pub(in crate::judge) fn seen(speaker: Speaker, kinds: &[K]) -> Sighting<'static> {
    let mut seen = Sighting::of(
        speaker,
        Place {
            file: "error.log",
            line: 7,
        },
    );
    seen.suspects = Suspects::any_of(kinds);
    seen.at_us = Some(1_795_246_200_000_000);
    seen.method = "GET";
    seen.path = "/page";
    seen.reuse = Some(Reuse::default());
    seen
}

/// A configuration with one backend of one server, in clear.
pub(in crate::judge) fn survey(
    speaker: Speaker,
    edit: impl FnOnce(&mut BackendSurvey),
) -> Arc<Survey> {
    let mut backend = BackendSurvey {
        origin: None,
        resolves_at_run_time: Setting::by_default("resolve", true),
        ..scene::backend(ADDRESS)
    };
    backend.timeouts.tunnel = Setting::by_default("timeout tunnel", Some(Duration::from_secs(60)));
    for server in &mut backend.servers {
        server.name = "a".to_owned();
        server.origin = None;
        server.is_checked = true;
    }
    edit(&mut backend);
    let mut survey = Survey::new(speaker);
    survey.backends.push(backend);
    Arc::new(survey)
}

/// TLS as configured with servers.
pub(in crate::judge) fn tls() -> TlsSurvey {
    TlsSurvey {
        verify: Setting::by_default("verify", false),
        ..scene::tls(None)
    }
}

/// What a request on purpose got.
pub(in crate::judge) fn replied(case: &mut Case, ask: Ask, reply: Reply) {
    case.learn(Probe::Request(ask), Finding::Request(Box::new(reply)));
}

/// An answer.
pub(in crate::judge) fn status(status: u16) -> Reply {
    Reply {
        status,
        ..Reply::default()
    }
}

/// For the path that failed.
pub(in crate::judge) fn again() -> Ask {
    path("/page")
}

/// For a path.
pub(in crate::judge) fn path(path: &str) -> Ask {
    Ask {
        path: path.to_owned(),
        ..Ask::default()
    }
}

/// The only verdict.
pub(in crate::judge) fn verdict(case: &Case) -> Verdict {
    let mut verdicts = case.verdicts();
    assert_eq!(verdicts.len(), 1, "{verdicts:?}");
    verdicts.remove(0)
}

/// The first of these causes, and by how much it leads the second.
pub(in crate::judge) fn first_of(case: &Case, causes: &[Cause]) -> (Cause, i32) {
    let mut opinions = case.opinions(&case.groups[0]);
    opinions.retain(|opinion| causes.contains(&opinion.cause) && !opinion.is_ruled_out());
    let second = opinions.get(1).map_or(0, crate::opinion::Opinion::score);
    (opinions[0].cause, opinions[0].score() - second)
}

fn with_first(kinds: &[K], first: &'static [u8]) -> Case {
    let mut case = case(Speaker::Clearway);
    let mut seen = seen(Speaker::Clearway, kinds);
    seen.first = first;
    case.observe(&seen);
    case
}

#[test]
fn exact_kinds_are_proof() {
    let rows: &[(K, &'static [u8], Cause)] = &[
        (
            K::ResponseHeadersTooLarge,
            b"HTTP/1.1 200",
            Cause::RespHeaderTooBig,
        ),
        (
            K::ResponseTooManyHeaders,
            b"HTTP/1.1 200",
            Cause::RespTooManyHeaders,
        ),
        (
            K::ResponseHeaderInvalid,
            b"HTTP/1.1 200",
            Cause::RespInvalidHeader,
        ),
        (
            K::ResponseFramingConflict,
            b"HTTP/1.1 200",
            Cause::RespDupFraming,
        ),
        (
            K::ResponseLengthInvalid,
            b"HTTP/1.1 200",
            Cause::RespDupFraming,
        ),
        (
            K::ResponseStatusLineInvalid,
            b"HTTP/2 200 OK\r\n",
            Cause::RespInvalidStatusLine,
        ),
        (
            K::ResponseStatusLineInvalid,
            b"HTTP/1.1 20 OK\r\n",
            Cause::RespInvalidStatusLine,
        ),
        (
            K::UpgradeUnexpected,
            b"HTTP/1.1 101",
            Cause::RespUnsolicited101,
        ),
        (
            K::ServerSpeaksHttp2,
            b"\0\0\x12\x04\0\0\0\0\0",
            Cause::H1ToH2Backend,
        ),
        (
            K::ServerSpeaksHttp1,
            b"HTTP/1.1 505 No\r\n",
            Cause::H2ToH1Backend,
        ),
        (
            K::ResponseNotHttp,
            b"SSH-2.0-OpenSSH_9.2p1\r\n",
            Cause::NotHttpService,
        ),
        (
            K::ResponseNotHttp,
            b"-ERR unknown command",
            Cause::NotHttpService,
        ),
        (
            K::ServerSpeaksPlain,
            b"220 mail ESMTP\r\n",
            Cause::NotHttpService,
        ),
        (
            K::ResponseNotHttp,
            b"\x01\x06\0\x01\0\x40\0\0",
            Cause::FastcgiUwsgiMismatch,
        ),
    ];
    for (kind, first, cause) in rows {
        let verdict = verdict(&with_first(&[*kind], first));
        assert_eq!(verdict.cause, Some(*cause), "{kind:?}");
        assert_eq!(verdict.confidence, Confidence::Certain, "{kind:?}");
        assert!(verdict.summary.contains(ADDRESS), "{}", verdict.summary);
        assert!(verdict.summary.ends_with('.'), "{}", verdict.summary);
        assert!(!verdict.fixes.is_empty());
    }
}

#[test]
fn what_may_be_something_else_is_not_certain() {
    let rows: &[(K, &'static [u8], Cause)] = &[
        // A port that expects TLS says 400 in HTTP/1, too.
        (
            K::ServerSpeaksHttp1,
            b"HTTP/1.1 400 Bad Request\r\n",
            Cause::H2ToH1Backend,
        ),
        (
            K::ResponseNotHttp,
            b"<html><body>",
            Cause::RespInvalidStatusLine,
        ),
        (
            K::ResponseNotHttp,
            b"{\"ok\":true}",
            Cause::RespInvalidStatusLine,
        ),
        (
            K::ResponseHeadTruncated,
            b"HTTP/1.1 200 OK\r\nA",
            Cause::RespHeaderTruncated,
        ),
        (
            K::ResponseHeadReset,
            b"HTTP/1.1 200 OK\r\nA",
            Cause::RespHeaderTruncated,
        ),
        (
            K::ResponseHeadStalled,
            b"HTTP/1.1 200 OK\r\nA",
            Cause::RespHeaderStalled,
        ),
        (
            K::ResponseHeadTruncated,
            b"HTTP/1.1 100 Continue\r\n\r\n",
            Cause::Resp100Only,
        ),
    ];
    let own = [
        Cause::H2ToH1Backend,
        Cause::RespInvalidStatusLine,
        Cause::NotHttpService,
        Cause::RespHeaderTruncated,
        Cause::RespHeaderStalled,
        Cause::Resp100Only,
    ];
    for (kind, first, cause) in rows {
        let case = with_first(&[*kind], first);
        assert_eq!(first_of(&case, &own).0, *cause, "{kind:?}");
        assert!(verdict(&case).confidence < Confidence::Certain, "{kind:?}");
    }
}

#[test]
fn kept_connections_may_carry_what_was_left_over() {
    let mut case = case(Speaker::Clearway);
    let mut seen = seen(Speaker::Clearway, &[K::ResponseStatusLineInvalid]);
    seen.first = b"HTTP/1.1 x\r\n";
    seen.reuse = Some(Reuse {
        uses: 3,
        ..Reuse::default()
    });
    case.observe(&seen);
    assert!(verdict(&case).confidence < Confidence::Certain);
}

#[test]
fn a_measured_head_says_what_to_set() {
    let rows = [
        (
            Speaker::Nginx,
            "proxy_buffer_size 16k; proxy_buffers 8 16k; proxy_busy_buffers_size 32k;",
        ),
        (Speaker::Haproxy, "tune.bufsize 16384"),
        (
            Speaker::Clearway,
            "limits.response_header_bytes = \"16KiB\"",
        ),
        (Speaker::Envoy, "max_response_headers_kb: 16"),
    ];
    for (speaker, command) in rows {
        let mut case = case(speaker);
        case.observe(&seen(speaker, &[K::ResponseHeadersTooLarge]));
        case.set_survey(survey(speaker, |backend| {
            backend.response_header_limit = Some(Setting::by_default("proxy_buffer_size", 4_096));
        }));
        let mut reply = status(200);
        reply.head_bytes = 9_700;
        replied(&mut case, again(), reply);
        let verdict = verdict(&case);
        assert_eq!(verdict.cause, Some(Cause::RespHeaderTooBig));
        assert!(verdict.summary.contains("9700 bytes") && verdict.summary.contains("4096"));
        assert_eq!(verdict.fixes[0].command, command);
        assert!(verdict.fixes[0].is_verified);
    }
}

/// What HAProxy's PH may be.
const PH: &[K] = &[
    K::ResponseHeadersTooLarge,
    K::ResponseTooManyHeaders,
    K::ResponseHeaderInvalid,
    K::ResponseFramingConflict,
    K::ResponseHeadTruncated,
    K::ServerSpeaksHttp2,
    K::ResponseStatusLineInvalid,
];

const PH_CAUSES: &[Cause] = &[
    Cause::RespHeaderTooBig,
    Cause::RespTooManyHeaders,
    Cause::RespInvalidHeader,
    Cause::RespDupFraming,
    Cause::RespHeaderTruncated,
    Cause::RespInvalidStatusLine,
    Cause::H1ToH2Backend,
];

#[test]
fn look_alikes_of_a_log_are_told_apart_by_asking_again() {
    let faulty = |fault| Reply {
        fault: Some(fault),
        ..Reply::default()
    };
    let rows = [
        (faulty(K::ResponseHeaderInvalid), Cause::RespInvalidHeader),
        (faulty(K::ResponseFramingConflict), Cause::RespDupFraming),
        (faulty(K::ResponseHeadTruncated), Cause::RespHeaderTruncated),
        (
            Reply {
                head_bytes: 40_000,
                ..faulty(K::ResponseHeadersTooLarge)
            },
            Cause::RespHeaderTooBig,
        ),
        (
            Reply {
                head_lines: 150,
                ..status(200)
            },
            Cause::RespTooManyHeaders,
        ),
        (
            Reply {
                first: FirstBytes::of(b"\0\0\x12\x04\0\0\0\0\0"),
                ..faulty(K::ServerSpeaksHttp2)
            },
            Cause::H1ToH2Backend,
        ),
    ];
    for (reply, cause) in rows {
        let mut case = case(Speaker::Haproxy);
        case.observe(&seen(Speaker::Haproxy, PH));
        replied(&mut case, again(), reply);
        let (first, lead) = first_of(&case, PH_CAUSES);
        assert_eq!(first, cause);
        assert!(lead >= 12, "{cause}: {lead}");
    }
    let mut open = case(Speaker::Haproxy);
    open.observe(&seen(Speaker::Haproxy, PH));
    let verdict = verdict(&open);
    assert_eq!(verdict.confidence, Confidence::Possible);
    assert!(verdict.alternatives.len() >= 3, "{verdict:?}");
}

#[test]
fn numbers_of_frames_are_read_as_text() {
    let mut case = case(Speaker::Nginx);
    let mut seen = seen(Speaker::Nginx, &[K::ServerSpeaksHttp1]);
    seen.words = "upstream sent too large http2 frame: 4740180 while reading response header";
    case.observe(&seen);
    case.set_survey(survey(Speaker::Nginx, |backend| {
        backend.speaks = Setting::by_default("grpc_pass", Spoke::Http2);
    }));
    let open = verdict(&case);
    assert_eq!(open.cause, Some(Cause::H2ToH1Backend));
    assert!(open.confidence < Confidence::Certain);
    let in_http1 = Ask {
        http2: Some(false),
        ..Ask::default()
    };
    replied(&mut case, in_http1, status(200));
    let proven = verdict(&case);
    assert_eq!(proven.confidence, Confidence::Certain);
    assert_eq!(proven.fixes[0].command, "proxy_pass http://10.0.0.2:8080;");
    assert!(proven.fixes[0].is_verified);
    // Inside TLS nothing else is left, either.
    case.forget();
    case.set_survey(survey(Speaker::Nginx, |backend| {
        backend.speaks = Setting::by_default("grpc_pass", Spoke::Http2);
        backend.tls = Some(tls());
    }));
    assert_eq!(verdict(&case).confidence, Confidence::Certain);
}

#[test]
fn gateways_of_another_protocol() {
    let fastcgi = |case: &mut Case| {
        case.set_survey(survey(Speaker::Nginx, |backend| {
            backend.speaks = Setting::by_default("fastcgi_pass", Spoke::FastCgi);
        }));
    };
    let mut by_words = case(Speaker::Nginx);
    let mut line = seen(
        Speaker::Nginx,
        &[K::ResponseNotHttp, K::ResponseHeaderInvalid],
    );
    line.words =
        "upstream sent unsupported FastCGI protocol version: 72 while reading response header";
    by_words.observe(&line);
    assert_eq!(verdict(&by_words).cause, Some(Cause::FastcgiUwsgiMismatch));
    assert_eq!(verdict(&by_words).confidence, Confidence::Certain);

    let mut silent = case(Speaker::Nginx);
    silent.observe(&seen(Speaker::Nginx, &[K::ResponseTimeout]));
    fastcgi(&mut silent);
    let open = first_of(&silent, &[Cause::FastcgiUwsgiMismatch]);
    assert_eq!(open.0, Cause::FastcgiUwsgiMismatch);
    assert!(verdict(&silent).confidence < Confidence::Certain);
    replied(&mut silent, again(), status(404));
    assert_eq!(verdict(&silent).cause, Some(Cause::FastcgiUwsgiMismatch));
    assert_eq!(verdict(&silent).confidence, Confidence::Certain);

    // An HTTP server that is slow is none of it.
    let mut slow = case(Speaker::Nginx);
    slow.observe(&seen(Speaker::Nginx, &[K::ResponseTimeout]));
    let opinions = slow.opinions(&slow.groups[0]);
    let mut own = opinions
        .iter()
        .filter(|o| o.cause == Cause::FastcgiUwsgiMismatch);
    assert!(own.all(crate::opinion::Opinion::is_ruled_out));
}

#[test]
fn banners_come_before_anything_is_said() {
    let mut case = case(Speaker::Haproxy);
    case.observe(&seen(Speaker::Haproxy, PH));
    case.observe(&seen(Speaker::Haproxy, &[K::ResponseNotHttp]));
    let found = Connection {
        then: Then::Spoke(FirstBytes::of(b"\x4a\0\0\0\x0a8.0.36\0")),
        ..Connection::default()
    };
    case.learn(Probe::Connect, Finding::Connect(Box::new(found)));
    let verdicts = case.verdicts();
    let told = verdicts
        .iter()
        .find(|v| v.cause == Some(Cause::NotHttpService));
    assert!(
        told.is_some_and(|v| v.summary.contains("MySQL (8.0.36)")),
        "{verdicts:?}"
    );
}

#[test]
fn addresses_that_moved_are_not_called_another_service() {
    let mut case = with_first(&[K::ResponseNotHttp], b"SSH-2.0-x\r\n");
    let lookup = crate::evidence::Lookup {
        addresses: vec!["10.0.0.9".parse().unwrap()],
        ..crate::evidence::Lookup::default()
    };
    case.learn(
        Probe::Lookup("app".to_owned()),
        Finding::Lookup(vec![lookup]),
    );
    assert!(verdict(&case).confidence < Confidence::Certain);
}

#[test]
fn statuses_of_the_server_are_its_own() {
    let judge = super::JUDGES
        .iter()
        .find(|judge| judge.cause == Cause::UpstreamGenerated5xx)
        .unwrap();
    let mut case = case(Speaker::Nginx);
    let mut answer = seen(Speaker::Nginx, &[]);
    answer.server_status = 503;
    case.observe(&answer);
    let reply = Reply {
        server: "gunicorn".to_owned(),
        ..status(503)
    };
    replied(&mut case, again(), reply);
    let view = crate::case::View {
        case: &case,
        group: &case.groups[0],
    };
    let mut opinion = crate::opinion::Opinion::of(judge.cause);
    (judge.weigh)(&view, &mut opinion);
    assert!(opinion.is_proven());
    let summary = opinion.summary.unwrap();
    assert!(
        summary.contains("503") && summary.contains("gunicorn"),
        "{summary}"
    );
    // A refused connection is nobody's answer.
    let mut refused = crate::judge::head::tests::case(Speaker::Clearway);
    refused.observe(&seen(Speaker::Clearway, &[K::ConnectRefused]));
    let opinions = refused.opinions(&refused.groups[0]);
    let mut own = opinions
        .iter()
        .filter(|o| o.cause == Cause::UpstreamGenerated5xx);
    assert!(own.all(crate::opinion::Opinion::is_ruled_out));
}
