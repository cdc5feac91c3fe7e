//! What is not HTTP is refused: nothing of it reaches a server, the reply names the reason, the
//! connection ends.

use clearway_outcome::FaultKind;
use clearway_testkit::{Clearway, End, Server, behave};

/// A request that must not be taken for the rest of the one before it.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n";

struct Case {
    code: &'static str,
    bytes: Vec<u8>,
}

fn case(code: &'static str, bytes: impl Into<Vec<u8>>) -> Case {
    Case {
        code,
        bytes: bytes.into(),
    }
}

/// A head that never was complete leaves nothing behind for whoever comes next on the same worker.
#[test]
fn what_is_left_of_a_head_is_not_taken_for_the_begin_of_another() {
    let server = Server::script(behave::ok("right"));
    let clearway = Clearway::over(
        &[server.address()],
        "[process]\nworkers = 1\n[timeouts]\nrequest_head = \"50ms\"\n",
    );
    let parts = [
        "GET /left HTTP/1.1\r\nHost: l\r\nX-L: 1\r\n",
        "GET /left HTTP/1.1\r\n",
        "GET /le",
    ];
    for part in parts {
        // Timed out, and left.
        let mut slow = clearway.client();
        slow.send(part);
        let status = slow.try_response("GET").map(|r| r.status);
        assert_eq!(status.ok(), Some(408), "{part}");
        let mut gone = clearway.client();
        gone.send(part);
        drop(gone);
        for _ in 0..3 {
            let response = clearway.get("/right");
            assert_eq!(response.status, 200, "{part}: {}", response.text());
        }
    }
    for seen in server.seen() {
        assert_eq!(seen.target, "/right");
        assert_eq!(seen.header("x-l"), None);
    }
}

/// The same for a server that goes away within a head: what another says is read from its begin.
#[test]
fn what_is_left_of_a_response_is_not_taken_for_the_begin_of_another() {
    let cut = Server::script(behave::answer_and_close(
        "HTTP/1.1 500 Left\r\nX-Left: 1\r\nX-L",
    ));
    let good = Server::script(behave::ok("right"));
    let clearway = Clearway::over(
        &[cut.address(), good.address()],
        "retries = { max = 2, on = [\"connect\", \"response_head_truncated\"] }\nejection = \"off\"\n",
    );
    for _ in 0..8 {
        let response = clearway.get("/");
        assert_eq!((response.status, response.text().as_str()), (200, "right"));
        assert_eq!(response.header("x-left"), None);
    }
}

/// Sends each case on a connection of its own to one balancer.
fn refuse(limits: &str, cases: Vec<Case>) {
    let server = Server::script(behave::ok("reached"));
    let clearway = Clearway::over(&[server.address()], limits);
    let mut wrong = Vec::new();
    for Case { code, bytes } in cases {
        if let Err(why) = refused(&clearway, code, &bytes) {
            let text = String::from_utf8_lossy(&bytes);
            let start: String = text.chars().take(120).collect();
            wrong.push(format!("{code}: {why}\n    {start:?}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} cases:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert_eq!(server.requests(), 0, "{:#?}", server.seen());
    assert_eq!(
        clearway
            .metrics()
            .count("clearway_server_faults_total", &[]),
        0
    );
}

fn refused(clearway: &Clearway, code: &str, bytes: &[u8]) -> Result<(), String> {
    let kind = FaultKind::from_code(code).ok_or("no such code")?;
    let mut client = clearway.client();
    client.try_send(bytes);
    client.try_send(SMUGGLED);
    let response = client
        .try_response("GET")
        .map_err(|end| format!("no response: {end:?}"))?;
    if response.status != kind.status() {
        return Err(format!("status {}: {}", response.status, response.text()));
    }
    if response.proxy_error().as_deref() != kind.rfc9209() {
        return Err(format!(
            "Proxy-Status {:?}",
            response.headers.all("proxy-status")
        ));
    }
    if !response.headers.lists("connection", "close") {
        return Err("the reply does not announce the end".to_owned());
    }
    let (rest, end) = client.read_to_end();
    if !rest.is_empty() || !matches!(end, End::UntilClose | End::Reset) {
        return Err(format!("not closed: {end:?} after {} bytes", rest.len()));
    }
    if !response.headers.has("x-request-id") {
        return Err("no request id".to_owned());
    }
    let record = clearway.fault(&response.id());
    if record.code() != code || !record.attempts().is_empty() {
        return Err(format!("faults log: {}", record.json));
    }
    Ok(())
}

#[test]
fn request_lines() {
    refuse(
        "",
        vec![
            case("request_line_invalid", "GET\r\nHost: test\r\n\r\n"),
            case("request_line_invalid", "GET /\r\nHost: test\r\n\r\n"),
            case(
                "request_line_invalid",
                "GET  / HTTP/1.1\r\nHost: test\r\n\r\n",
            ),
            case(
                "request_line_invalid",
                "GET / HTTP/1.1 \r\nHost: test\r\n\r\n",
            ),
            case(
                "request_line_invalid",
                "GET /a b HTTP/1.1\r\nHost: test\r\n\r\n",
            ),
            case("method_invalid", "G@T / HTTP/1.1\r\nHost: test\r\n\r\n"),
            case("method_invalid", "G\x01T / HTTP/1.1\r\nHost: test\r\n\r\n"),
            case(
                "target_invalid",
                "GET index.html HTTP/1.1\r\nHost: test\r\n\r\n",
            ),
            case("target_invalid", "GET /a#b HTTP/1.1\r\nHost: test\r\n\r\n"),
            case(
                "target_invalid",
                "GET /\u{e4} HTTP/1.1\r\nHost: test\r\n\r\n",
            ),
            case("target_invalid", "GET /\x7f HTTP/1.1\r\nHost: test\r\n\r\n"),
            case("target_invalid", "GET * HTTP/1.1\r\nHost: test\r\n\r\n"),
            case(
                "version_unsupported",
                "GET / HTTP/1.2\r\nHost: test\r\n\r\n",
            ),
            case(
                "version_unsupported",
                "GET / HTTP/2.0\r\nHost: test\r\n\r\n",
            ),
            case(
                "version_unsupported",
                "GET / HTTP/3.0\r\nHost: test\r\n\r\n",
            ),
            case(
                "connect_method_refused",
                "CONNECT test:443 HTTP/1.1\r\nHost: test:443\r\n\r\n",
            ),
            case(
                "expectation_unsupported",
                "GET / HTTP/1.1\r\nHost: test\r\nExpect: 200-ok\r\n\r\n",
            ),
        ],
    );
}

#[test]
fn other_protocols() {
    refuse(
        "",
        vec![case(
            "tls_on_plain_port",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        )],
    );
}

#[test]
fn http2_where_it_is_not_spoken() {
    let server = Server::script(behave::ok("reached"));
    let config = format!(
        "[listener.web]\nbind = \"127.0.0.1:0\"\nhttp2 = false\n\
         [backend.app]\nservers = [\"{}\"]\n",
        server.address()
    );
    let clearway = Clearway::setup(&config).start();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    assert_eq!(refused(&clearway, "http2_on_http1_port", preface), Ok(()));
}

#[test]
fn header_lines() {
    let with = |line: &str| format!("GET / HTTP/1.1\r\nHost: test\r\n{line}\r\n\r\n");
    refuse(
        "",
        vec![
            case("header_name_invalid", with(": empty")),
            case("header_name_invalid", with("X(y): 1")),
            case("header_name_invalid", with("no colon at all")),
            case("header_space_before_colon", with("X-Y : 1")),
            case("header_space_before_colon", with("X-Y\t: 1")),
            case(
                "header_space_before_colon",
                with("Transfer-Encoding : chunked"),
            ),
            case("header_value_invalid", with("X-Y: a\0b")),
            case("header_value_invalid", with("X-Y: a\x01b")),
            case("header_value_invalid", with("X-Y: a\x7fb")),
            case("header_folded", with("X-Y: a\r\n b")),
            case("header_folded", with("X-Y: a\r\n\tb")),
            case("bare_cr", with("X-Y: a\rb")),
            case("bare_cr", with("X-Y: a\rTransfer-Encoding: chunked")),
            case("bare_lf", with("X-Y: a\nX-Z: b")),
            case("bare_lf", "GET / HTTP/1.1\nHost: test\n\n"),
        ],
    );
}

#[test]
fn hosts() {
    refuse(
        "",
        vec![
            case("host_missing", "GET / HTTP/1.1\r\nX-Y: 1\r\n\r\n"),
            case(
                "host_duplicated",
                "GET / HTTP/1.1\r\nHost: test\r\nHost: test\r\n\r\n",
            ),
            case(
                "host_duplicated",
                "GET / HTTP/1.1\r\nHost: test\r\nhOST: evil\r\n\r\n",
            ),
            case("host_invalid", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
            case("host_invalid", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
            case("host_invalid", "GET / HTTP/1.1\r\nHost: user@test\r\n\r\n"),
            case("host_invalid", "GET / HTTP/1.1\r\nHost: test:port\r\n\r\n"),
            case(
                "host_mismatch",
                "GET http://evil/ HTTP/1.1\r\nHost: test\r\n\r\n",
            ),
        ],
    );
}

#[test]
fn framing() {
    let post = |lines: &str| format!("POST / HTTP/1.1\r\nHost: test\r\n{lines}\r\n\r\n");
    let both = "content_length_with_transfer_encoding";
    refuse(
        "",
        vec![
            case(
                "content_length_invalid",
                post("Content-Length: abc") + "abc",
            ),
            case("content_length_invalid", post("Content-Length: +3") + "abc"),
            case("content_length_invalid", post("Content-Length: -3") + "abc"),
            case(
                "content_length_invalid",
                post("Content-Length: 0x3") + "abc",
            ),
            case(
                "content_length_invalid",
                post("Content-Length: 3 3") + "abc",
            ),
            case("content_length_invalid", post("Content-Length:") + "abc"),
            case(
                "content_length_invalid",
                post("Content-Length: 99999999999999999999") + "abc",
            ),
            case(
                "content_length_duplicated",
                post("Content-Length: 3\r\nContent-Length: 3") + "abc",
            ),
            case(
                "content_length_duplicated",
                post("Content-Length: 3\r\ncontent-length: 0") + "abc",
            ),
            case(
                both,
                post("Content-Length: 4\r\nTransfer-Encoding: chunked") + "0\r\n\r\n",
            ),
            case(
                both,
                post("Transfer-Encoding: chunked\r\nContent-Length: 4") + "0\r\n\r\n",
            ),
            case(
                "transfer_encoding_unsupported",
                post("Transfer-Encoding: gzip, chunked") + "0\r\n\r\n",
            ),
            case(
                "transfer_encoding_unsupported",
                post("Transfer-Encoding: xchunked") + "0\r\n\r\n",
            ),
            case(
                "transfer_encoding_invalid",
                post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked") + "0\r\n\r\n",
            ),
            case(
                "transfer_encoding_invalid",
                post("Transfer-Encoding:") + "0\r\n\r\n",
            ),
            case(
                "transfer_encoding_in_http10",
                "POST / HTTP/1.0\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            ),
        ],
    );
}

#[test]
fn content_length_lists_are_refused() {
    // One field with a list is what several fields become on the way; either name will do.
    let server = Server::script(behave::ok("reached"));
    let clearway = Clearway::over(&[server.address()], "");
    let mut client = clearway.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 3, 3\r\n\r\nabc");
    let response = client.response("POST");
    assert_eq!(response.status, 400);
    let record = clearway.fault(&response.id());
    assert!(
        record.code().starts_with("content_length_"),
        "{}",
        record.code()
    );
    assert_eq!(server.requests(), 0);
}

#[test]
fn sizes() {
    let long = |length: usize| "a".repeat(length);
    let many: String = (0..50).map(|n| format!("X-{n}: y\r\n")).collect();
    refuse(
        "[limits]\nrequest_line = \"1KiB\"\nheader_bytes = \"4KiB\"\nheader_count = 40\n",
        vec![
            case(
                "request_line_too_long",
                format!("GET /{} HTTP/1.1\r\nHost: test\r\n\r\n", long(1100)),
            ),
            case("request_line_too_long", format!("GET /{}", long(9000))),
            case(
                "headers_too_large",
                format!("GET / HTTP/1.1\r\nHost: test\r\nX: {}\r\n\r\n", long(4200)),
            ),
            case(
                "headers_too_large",
                format!("GET / HTTP/1.1\r\nHost: test\r\nX: {}", long(9000)),
            ),
            case(
                "too_many_headers",
                format!("GET / HTTP/1.1\r\nHost: test\r\n{many}\r\n"),
            ),
        ],
    );
}

#[test]
fn an_announced_body_beyond_the_limit_is_refused_at_once() {
    refuse(
        "[limits]\nbody_bytes = 100\n",
        vec![case(
            "body_too_large",
            "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 101\r\n\r\n",
        )],
    );
}

/// Bodies are relayed as they come, so the server may see the beginning; never the end.
#[test]
fn broken_chunks_never_complete_a_request() {
    let head = "POST /broken HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n";
    let long = format!("3;{}\r\nabc\r\n0\r\n\r\n", "e".repeat(5000));
    let cases = [
        ("chunk_size_invalid", "x\r\nabc\r\n0\r\n\r\n"),
        ("chunk_size_invalid", "-3\r\nabc\r\n0\r\n\r\n"),
        ("chunk_size_invalid", "0x3\r\nabc\r\n0\r\n\r\n"),
        ("chunk_size_invalid", " 3\r\nabc\r\n0\r\n\r\n"),
        ("chunk_size_invalid", "\r\nabc\r\n0\r\n\r\n"),
        (
            "chunk_size_invalid",
            "10000000000000000\r\nabc\r\n0\r\n\r\n",
        ),
        ("chunk_framing_invalid", "3\r\nabcd\r\n0\r\n\r\n"),
        ("chunk_framing_invalid", "3\r\nabc0\r\n\r\n"),
        ("chunk_framing_invalid", "3\nabc\n0\n\n"),
        ("chunk_framing_invalid", "3;a\rb\r\nabc\r\n0\r\n\r\n"),
        ("chunk_framing_invalid", long.as_str()),
        ("trailer_invalid", "3\r\nabc\r\n0\r\nno colon\r\n\r\n"),
        ("trailer_invalid", "3\r\nabc\r\n0\r\nX : 1\r\n\r\n"),
    ];
    let server = Server::script(behave::ok("reached"));
    let clearway = Clearway::over(&[server.address()], "");
    for (code, body) in cases {
        let mut client = clearway.client();
        client.try_send(format!("{head}{body}{SMUGGLED}"));
        let response = client.response("POST");
        assert_eq!(response.status, 400, "{code} {body:?}");
        assert!(response.closes(), "{code} {body:?}");
        assert_eq!(clearway.fault(&response.id()).code(), code, "{body:?}");
        client.expect_closed();
    }
    for request in server.seen() {
        assert_eq!(request.target, "/broken");
        assert_ne!(request.end, End::Complete, "{request:?}");
    }
    assert_eq!(
        clearway
            .metrics()
            .count("clearway_server_faults_total", &[]),
        0
    );
}

#[test]
fn header_injection_through_encoded_line_ends_is_impossible() {
    let server = Server::script(behave::ok("x"));
    let clearway = Clearway::over(&[server.address()], "");
    let target = "/a%0d%0aX-Injected:%201";
    assert_eq!(clearway.get(target).status, 200);
    let request = server.only();
    assert_eq!(request.target, target);
    assert!(!request.headers.has("x-injected"));
}

#[test]
fn bytes_behind_a_refused_request_are_not_served() {
    let server = Server::script(behave::ok("x"));
    let clearway = Clearway::over(&[server.address()], "");
    let mut client = clearway.client();
    assert_eq!(client.get("/first").status, 200);
    client.send(format!("GET / HTTP/1.1\r\n\r\n{SMUGGLED}"));
    assert_eq!(client.response("GET").status, 400);
    client.expect_closed();
    assert_eq!(server.only().target, "/first");
}
