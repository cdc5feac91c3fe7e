//! Requests against servers that answer in every way.

use std::time::Duration;

use clearway_outcome::{Ending, FaultKind, Phase};
use clearway_testkit::{Server, behave};

use super::*;
use crate::connect::Target;
use crate::probe::{Http2, ProxyHeader};
use crate::testing::block_on;

fn aim(server: &Server) -> Aim {
    Aim::at(
        Target::Ip(server.address().parse().unwrap()),
        Duration::from_secs(8),
    )
}

fn get(settings: RequestSettings) -> Request {
    Request::new(settings).unwrap()
}

fn asked(aim: &Aim, settings: RequestSettings) -> Answered {
    block_on(async { request(aim, &get(settings)).await })
}

#[test]
fn a_whole_answer_is_described() {
    let server = Server::script(behave::answer_and_close(
        "HTTP/1.1 302 Found\r\nServer: nginx/1.2\r\nVia: 1.1 cache\r\nLocation: /login\r\n\
         Date: Mon\r\nContent-Type: text/html\r\nContent-Length: 5\r\n\r\nhello",
    ));
    let found = asked(
        &aim(&server),
        RequestSettings {
            target: "/a?b".to_owned(),
            host: Some("app.test".to_owned()),
            headers: vec![("X-One".to_owned(), "1".to_owned())],
            ..RequestSettings::default()
        },
    );
    assert_eq!(found.attempt.fault, None);
    assert_eq!((found.attempt.status, found.reply.status), (302, 302));
    let reply = &found.reply;
    assert_eq!(reply.server.as_deref(), Some("nginx/1.2"));
    assert_eq!(reply.via.as_deref(), Some("1.1 cache"));
    assert_eq!(reply.location.as_deref(), Some("/login"));
    assert_eq!(reply.date.as_deref(), Some("Mon"));
    assert_eq!(reply.content_type.as_deref(), Some("text/html"));
    assert_eq!((reply.head_lines, reply.length), (6, Some(5)));
    assert_eq!((reply.body_bytes, reply.is_whole), (5, Some(true)));
    assert!(found.attempt.first_byte_us.is_some());
    let evidence = found.attempt.evidence.unwrap();
    assert!(evidence.first().starts_with(b"HTTP/1.1 302"));
    assert!(evidence.tcp.is_some());
    let seen = server.only();
    assert_eq!(
        (seen.method.as_str(), seen.target.as_str()),
        ("GET", "/a?b")
    );
    assert_eq!(seen.headers.get("host"), Some("app.test"));
    assert_eq!(seen.headers.get("x-one"), Some("1"));
    assert_eq!(seen.headers.get("connection"), Some("close"));
}

#[test]
fn bodies_end_where_their_framing_says() {
    for (answer, bytes, whole, ending) in [
        ("\r\nbody", 4, Some(true), Ending::Fin),
        (
            "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            13,
            Some(true),
            Ending::Open,
        ),
        (
            "Transfer-Encoding: chunked\r\n\r\n3\r\nab",
            5,
            Some(false),
            Ending::Fin,
        ),
        ("Content-Length: 9\r\n\r\nbody", 4, Some(false), Ending::Fin),
    ] {
        let server = Server::script(behave::answer_and_close(format!(
            "HTTP/1.1 200 OK\r\n{answer}"
        )));
        let found = asked(&aim(&server), RequestSettings::default());
        assert_eq!(found.reply.is_whole, whole, "{answer}");
        assert_eq!(found.ending, ending, "{answer}");
        assert_eq!(found.attempt.fault.is_some(), whole == Some(false));
        assert_eq!(found.reply.body_bytes, bytes, "{answer}");
    }
    let server = Server::script(behave::ok(&"x".repeat(100_000)));
    let found = asked(
        &aim(&server),
        RequestSettings {
            body_max: 1_000,
            ..RequestSettings::default()
        },
    );
    assert_eq!((found.reply.is_whole, found.attempt.fault), (None, None));
    assert!(found.reply.body_bytes >= 1_000);
}

#[test]
fn heads_are_measured_even_when_they_are_too_large_for_others() {
    let lines: String = (0..500).map(|n| format!("X-{n}: {n:0100}\r\n")).collect();
    let server = Server::script(behave::answer_and_close(format!(
        "HTTP/1.1 200 OK\r\n{lines}Content-Length: 0\r\n\r\n"
    )));
    let found = asked(&aim(&server), RequestSettings::default());
    assert_eq!(found.attempt.fault, None);
    assert_eq!(found.reply.head_lines, 501);
    assert!(found.reply.head_bytes > 50_000);
    let server = Server::script(behave::answer_and_close(
        "HTTP/1.1 200 OK\r\nA: b\r\nBad Name: x\r\n\r\n",
    ));
    let found = asked(&aim(&server), RequestSettings::default());
    assert_eq!(
        found.attempt.fault.unwrap().kind,
        FaultKind::ResponseHeaderInvalid
    );
    assert!(found.reply.head_bytes > 20 && found.reply.head_lines >= 1);
}

#[test]
fn a_silent_server_leaves_facts_about_the_connection() {
    let server = Server::script(behave::never_answer());
    let mut aim = aim(&server);
    aim.limit = Duration::from_millis(150);
    let found = asked(
        &aim,
        RequestSettings {
            padding: 6_000,
            ..RequestSettings::default()
        },
    );
    let fault = found.attempt.fault.unwrap();
    assert_eq!(
        (fault.kind, fault.phase),
        (FaultKind::ResponseTimeout, Phase::Wait)
    );
    assert!(found.attempt.bytes_sent > 6_000);
    assert_eq!((found.ending, found.reply.is_whole), (Ending::Open, None));
    let tcp = found.attempt.evidence.unwrap().tcp.unwrap();
    assert_eq!((tcp.unacked, tcp.unacked_bytes), (0, 0), "it was delivered");
}

#[test]
fn closes_and_resets_are_told_apart() {
    let server = Server::script(behave::close_after_request());
    let found = asked(&aim(&server), RequestSettings::default());
    assert_eq!(found.ending, Ending::Fin);
    assert_eq!(
        found.attempt.fault.unwrap().kind,
        FaultKind::ServerClosedNoResponse
    );
    let server = Server::script(behave::reset_after_request());
    let found = asked(&aim(&server), RequestSettings::default());
    assert_eq!(found.ending, Ending::Reset);
    let fault = found.attempt.fault.unwrap();
    assert_eq!(fault.kind, FaultKind::ServerResetNoResponse);
    assert_eq!(fault.errno, libc::ECONNRESET);
}

#[test]
fn proxy_headers_come_first() {
    for (header, script) in [
        (
            ProxyHeader::V1,
            Server::script(behave::proxy_v1_then_ok("x")),
        ),
        (
            ProxyHeader::V2,
            Server::script(behave::proxy_v2_then_ok("x")),
        ),
    ] {
        let mut aim = aim(&script);
        aim.proxy_header = header;
        let found = asked(&aim, RequestSettings::default());
        assert_eq!(found.reply.status, 200, "{header:?}");
    }
}

#[test]
fn http2_is_spoken_by_prior_knowledge() {
    let server = Server::script(clearway_testkit::h2::behave::ok("hello"));
    let mut aim = aim(&server);
    aim.http2 = Http2::Always;
    let found = asked(&aim, RequestSettings::default());
    assert_eq!(found.attempt.fault, None, "{found:?}");
    assert_eq!((found.reply.status, found.reply.body_bytes), (200, 5));
    assert_eq!(found.reply.is_whole, Some(true));
}

#[test]
fn tls_is_spoken_and_told() {
    let root = clearway_testkit::Authority::new("Root");
    let identity = root.issue(&["app.test"]);
    let server = clearway_testkit::TlsServer::with(&identity).script(behave::ok("hello"));
    let mut aim = aim(&server);
    let inspection = crate::tls::Inspection::new(&crate::tls::InspectionSettings {
        sends_name: true,
        versions: clearway_outcome::TlsVersions::Both,
        alpn: Vec::new(),
        trust: crate::tls::Trust::Nobody,
        expected: crate::tls::server_name("app.test").unwrap(),
        certificate: None,
    });
    let client = inspection.unwrap().client().clone();
    aim.tls = Some((client, crate::tls::server_name("app.test").unwrap()));
    let found = asked(&aim, RequestSettings::default());
    assert_eq!((found.reply.status, found.attempt.fault), (200, None));
    let tls = found.attempt.evidence.unwrap().tls.unwrap();
    assert_eq!(tls.version, 0x0304);
    assert_eq!(tls.certificate.unwrap().names, ["app.test"]);
}

#[test]
fn http2_without_knowing_is_a_fault() {
    let server = Server::script(behave::answer_and_close(
        "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
    ));
    let mut aim = aim(&server);
    aim.http2 = Http2::Always;
    let found = asked(&aim, RequestSettings::default());
    assert!(found.attempt.fault.is_some(), "{found:?}");
}

#[test]
fn what_http_does_not_allow_is_not_sent() {
    let bad = |change: fn(&mut RequestSettings)| {
        let mut settings = RequestSettings::default();
        change(&mut settings);
        Request::new(settings).is_err()
    };
    assert!(bad(|s| s.target = "no".to_owned()));
    assert!(bad(|s| s.target = "*".to_owned()));
    assert!(bad(|s| s.host = Some("a b".to_owned())));
    assert!(bad(
        |s| s.headers = vec![("content-length".to_owned(), "1".to_owned())]
    ));
    assert!(bad(
        |s| s.headers = vec![("x".to_owned(), "a\r\nb: c".to_owned())]
    ));
    let options = RequestSettings {
        method: SafeMethod::Options,
        target: "*".to_owned(),
        ..RequestSettings::default()
    };
    assert!(Request::new(options).is_ok());
}
