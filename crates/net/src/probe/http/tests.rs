//! The HTTP probe against scripted servers on loopback.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::thread::JoinHandle;
use std::time::Duration;

use clearway_outcome::{FaultKind, Phase};

use super::*;
use crate::probe::{Kind, Probe, ProbeReport, ProxyHeader, run};
use crate::testing::{block_on, scratch};

/// Longer than any test takes; a probe that runs into it has failed.
const AMPLE: Duration = Duration::from_secs(5);

/// A server for one connection; ends with the request head it got.
fn server(script: impl FnOnce(&mut TcpStream) + Send + 'static) -> (Target, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = Target::Ip(listener.local_addr().unwrap());
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let head = read_head(&mut stream);
        script(&mut stream);
        head
    });
    (target, thread)
}

fn read_head(stream: &mut impl Read) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
        head.push(byte[0]);
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// A server that answers with these bytes, in pieces, and closes.
fn answering(pieces: &'static [&'static [u8]]) -> (Target, JoinHandle<String>) {
    server(move |stream| {
        for piece in pieces {
            stream.write_all(piece).unwrap();
        }
    })
}

fn probe(settings: HttpSettings, target: &Target, limit: Duration) -> ProbeReport {
    let probe = Probe::new(Kind::Http(Http::new(settings).unwrap()));
    block_on(async { run(&probe, target, None, limit).await })
}

fn ask(target: &Target) -> ProbeReport {
    probe(HttpSettings::default(), target, AMPLE)
}

fn kind(report: &ProbeReport) -> FaultKind {
    report.attempt.fault.expect(&report.words).kind
}

fn text(text: &str) -> BodyMatch {
    BodyMatch::Text(text.to_owned())
}

fn pattern(expression: &str) -> BodyMatch {
    BodyMatch::pattern(expression).unwrap()
}

#[test]
fn an_expected_status_passes_with_all_phases() {
    let (target, thread) = answering(&[b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", b"hello"]);
    let report = ask(&target);
    let attempt = report.attempt;
    assert_eq!(attempt.fault, None, "{}", report.words);
    assert!(report.words.starts_with("200 OK in "), "{}", report.words);
    assert_eq!(attempt.status, 200);
    let phases = [
        attempt.connected_us.unwrap(),
        attempt.sent_us.unwrap(),
        attempt.first_byte_us.unwrap(),
        attempt.ended_us,
    ];
    assert!(phases.is_sorted(), "{phases:?}");
    let head = thread.join().unwrap();
    assert_eq!(attempt.bytes_sent, head.len() as u64);
    assert_eq!(
        head,
        format!(
            "GET / HTTP/1.1\r\nHost: {target}\r\nUser-Agent: Clearway health check\r\n\
             Connection: close\r\n\r\n"
        )
    );
}

#[test]
fn the_request_is_the_one_asked_for() {
    let (target, thread) = answering(&[b"HTTP/1.1 204 No Content\r\n\r\n"]);
    let settings = HttpSettings {
        method: "POST".to_owned(),
        target: "/ping?deep=1".to_owned(),
        host: Some("app.test".to_owned()),
        headers: vec![
            ("X-Check".to_owned(), "yes".to_owned()),
            ("user-agent".to_owned(), "mine".to_owned()),
        ],
        ..HttpSettings::default()
    };
    assert_eq!(probe(settings, &target, AMPLE).attempt.fault, None);
    assert_eq!(
        thread.join().unwrap(),
        "POST /ping?deep=1 HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\
         Content-Length: 0\r\nX-Check: yes\r\nuser-agent: mine\r\n\r\n"
    );
}

#[test]
fn an_unexpected_status_is_shown_with_its_body() {
    let (target, thread) = answering(&[
        b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 13\r\n\r\ndatabase down",
    ]);
    let report = ask(&target);
    assert_eq!(kind(&report), FaultKind::ProbeStatus);
    assert_eq!(report.attempt.status, 503);
    assert!(
        report
            .words
            .starts_with("the status is 503 Service Unavailable, expected 200-399"),
        "{}",
        report.words
    );
    let evidence = report.attempt.evidence.unwrap();
    assert!(evidence.first().starts_with(b"HTTP/1.1 503"));
    assert!(evidence.tcp.unwrap().bytes_received > 0);
    thread.join().unwrap();
}

#[test]
fn interim_responses_are_passed_over() {
    let (target, thread) = answering(&[
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    ]);
    let report = ask(&target);
    assert_eq!((report.attempt.fault, report.attempt.status), (None, 200));
    thread.join().unwrap();
}

#[test]
fn bodies_are_matched_whatever_their_framing() {
    let framings: [&'static [&'static [u8]]; 3] = [
        &[
            b"HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\nall syste",
            b"ms go",
        ],
        &[
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nall\r\n",
            b"b\r\n systems go\r\n0\r\n\r\n",
        ],
        &[b"HTTP/1.0 200 OK\r\n\r\nall sys", b"tems go"],
    ];
    for pieces in framings {
        for (body, expected) in [
            (text("systems"), None),
            (pattern("^all .* go$"), None),
            (text("broken"), Some(FaultKind::ProbeBody)),
            (pattern("^systems"), Some(FaultKind::ProbeBody)),
        ] {
            let (target, thread) = answering(pieces);
            let settings = HttpSettings {
                body: Some(body.clone()),
                ..HttpSettings::default()
            };
            let report = probe(settings, &target, AMPLE);
            assert_eq!(
                report.attempt.fault.map(|f| f.kind),
                expected,
                "{body}: {}",
                report.words
            );
            if expected.is_some() {
                assert!(report.words.contains("all systems go"), "{}", report.words);
            }
            thread.join().unwrap();
        }
    }
}

#[test]
fn only_the_begin_of_a_body_is_searched() {
    let (target, thread) = server(|stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        // The probe goes away in the middle.
        for _ in 0..10_000 {
            if stream.write_all(&[b'x'; 1_024]).is_err() {
                return;
            }
        }
    });
    let settings = HttpSettings {
        body: Some(BodyMatch::Text("never".to_owned())),
        ..HttpSettings::default()
    };
    let report = probe(settings, &target, AMPLE);
    assert_eq!(kind(&report), FaultKind::ProbeBody);
    thread.join().unwrap();
}

#[test]
fn every_early_end_has_its_name() {
    let cases: [(&'static [&'static [u8]], FaultKind); 5] = [
        (&[], FaultKind::ServerClosedNoResponse),
        (&[b"HTTP/1.1 20"], FaultKind::ResponseHeadTruncated),
        (
            &[b"HTTP/1.1 100 Continue\r\n\r\n"],
            FaultKind::ServerClosedNoResponse,
        ),
        (
            &[b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"],
            FaultKind::ResponseBodyShort,
        ),
        (
            &[b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n!"],
            FaultKind::ResponseChunkInvalid,
        ),
    ];
    for (pieces, expected) in cases {
        let (target, thread) = answering(pieces);
        let settings = HttpSettings {
            body: Some(BodyMatch::Text("x".to_owned())),
            ..HttpSettings::default()
        };
        let report = probe(settings, &target, AMPLE);
        assert_eq!(kind(&report), expected, "{}", report.words);
        thread.join().unwrap();
    }
}

#[test]
fn what_is_not_http_is_told() {
    let cases: [(&'static [&'static [u8]], FaultKind, &str); 2] = [
        (
            &[b"SSH-2.0-OpenSSH_9.9\r\n"],
            FaultKind::ResponseNotHttp,
            "SSH-2.0",
        ),
        (
            &[b"\x15\x03\x03\x00\x02\x02\x28"],
            FaultKind::ServerSpeaksTls,
            "TLS",
        ),
    ];
    for (pieces, expected, words) in cases {
        let (target, thread) = answering(pieces);
        let report = ask(&target);
        assert_eq!(kind(&report), expected);
        assert!(report.words.contains(words), "{}", report.words);
        thread.join().unwrap();
    }
}

#[test]
fn resets_are_no_closes() {
    let (target, thread) = server(|stream| {
        socket2::SockRef::from(&*stream)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
    });
    let report = ask(&target);
    assert_eq!(kind(&report), FaultKind::ServerResetNoResponse);
    assert!(report.words.contains("ECONNRESET"), "{}", report.words);
    thread.join().unwrap();
}

#[test]
fn silence_is_named_by_the_phase_it_is_in() {
    let limit = Duration::from_millis(250);
    for (said, kind_expected, phase) in [
        (&b""[..], FaultKind::ResponseTimeout, Phase::Wait),
        (
            b"HTTP/1.1 200",
            FaultKind::ResponseHeadStalled,
            Phase::ResponseHead,
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nx",
            FaultKind::ResponseBodyStalled,
            Phase::ResponseBody,
        ),
    ] {
        let (target, thread) = server(move |stream| {
            stream.write_all(said).unwrap();
            // Until the probe gives up.
            stream.read_to_end(&mut Vec::new()).unwrap_or_default();
        });
        let settings = HttpSettings {
            body: Some(BodyMatch::Text("y".to_owned())),
            ..HttpSettings::default()
        };
        let report = probe(settings, &target, limit);
        let fault = report.attempt.fault.unwrap();
        assert_eq!(
            (fault.kind, fault.phase),
            (kind_expected, phase),
            "{}",
            report.words
        );
        assert!(report.words.ends_with("within 250ms"), "{}", report.words);
        assert!(report.attempt.evidence.unwrap().tcp.is_some());
        thread.join().unwrap();
    }
}

#[test]
fn a_full_accept_queue_is_a_connect_timeout() {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let any: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
    socket.bind(&any.into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let waiting = TcpStream::connect(address).unwrap();
    let report = probe(
        HttpSettings::default(),
        &Target::Ip(address),
        Duration::from_millis(50),
    );
    assert_eq!(kind(&report), FaultKind::ConnectTimeout);
    drop(waiting);
}

#[test]
fn the_rest_of_a_body_is_taken_so_that_the_server_sees_no_reset() {
    let (target, thread) = server(|stream| {
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 40000\r\n\r\n")
            .unwrap();
        stream.write_all(&[b'x'; 40_000]).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        // A reset would be an error here.
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    });
    assert_eq!(ask(&target).attempt.fault, None);
    thread.join().unwrap();
}

#[test]
fn unix_servers_and_proxy_headers() {
    let dir = scratch();
    let path = dir.path().join("app.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let head = read_head(&mut stream);
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            .unwrap();
        head
    });
    let probe = Probe {
        proxy_header: ProxyHeader::V1,
        ..Probe::new(Kind::Http(Http::new(HttpSettings::default()).unwrap()))
    };
    let report = block_on(async { run(&probe, &Target::Unix(path), None, AMPLE).await });
    assert_eq!(report.attempt.fault, None, "{}", report.words);
    let head = thread.join().unwrap();
    assert!(
        head.starts_with("PROXY UNKNOWN\r\nGET / HTTP/1.1\r\nHost: localhost\r\n"),
        "{head}"
    );
}

#[test]
fn statuses_are_found_and_printed() {
    let set: Statuses = [(200, 200), (300, 399), (404, 410)].into_iter().collect();
    assert_eq!(set.to_string(), "200, 300-399, 404-410");
    for (status, expected) in [
        (200, true),
        (201, false),
        (302, true),
        (404, true),
        (411, false),
    ] {
        assert_eq!(set.contains(status), expected, "{status}");
    }
}

#[test]
fn what_http_forbids_is_refused_at_once() {
    let default = HttpSettings::default;
    let header = |name: &str, value: &str| HttpSettings {
        headers: vec![(name.to_owned(), value.to_owned())],
        ..default()
    };
    for settings in [
        HttpSettings {
            method: "GE T".to_owned(),
            ..default()
        },
        HttpSettings {
            method: "CONNECT".to_owned(),
            ..default()
        },
        HttpSettings {
            target: "health".to_owned(),
            ..default()
        },
        HttpSettings {
            target: "/a b".to_owned(),
            ..default()
        },
        HttpSettings {
            target: "/a\r\nX: y".to_owned(),
            ..default()
        },
        HttpSettings {
            host: Some("a\r\nb".to_owned()),
            ..default()
        },
        header("X:", "y"),
        header("X", "y\r\nZ: 1"),
        header("Content-Length", "5"),
    ] {
        assert!(Http::new(settings.clone()).is_err(), "{settings:?}");
    }
    assert!(BodyMatch::pattern("(").is_err());
    assert_eq!(pattern("a"), pattern("a"));
    assert_ne!(text("a"), pattern("a"));
}
