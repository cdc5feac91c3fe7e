//! Each way in which a server can fail has its own name, in the reply, the logs, the metrics and
//! the receipt.

use clearway_outcome::FaultKind;
use clearway_testkit::clearway::FaultRecord;
use clearway_testkit::{Clearway, Client, End, Response, Server, behave, netns, wait};

/// No second tries and short time-outs, so that each test sees one failure at once.
const ONCE: &str = "retries = { max = 0 }\n[timeouts]\nconnect = \"300ms\"\nresponse = \"300ms\"\n\
    server_idle = \"300ms\"\nserver_write = \"300ms\"\nclient_write = \"2s\"\n";

type Script = Box<dyn Fn(clearway_testkit::Conn) + Send + Sync>;

/// What is checked about a reply that the balancer made because a server failed.
fn explained(clearway: &Clearway, response: &Response, code: &str) -> FaultRecord {
    let Some(kind) = FaultKind::from_code(code) else {
        unreachable!("no kind {code}")
    };
    assert_eq!(
        response.status,
        kind.status(),
        "{code}: {}",
        response.text()
    );
    assert_eq!(
        response.proxy_error().as_deref(),
        kind.rfc9209(),
        "{code}: {:?}",
        response.headers
    );
    let content_type = response.header("content-type").unwrap_or_default();
    assert!(content_type.starts_with("text/plain"), "{content_type}");
    let (id, text) = (response.id(), response.text());
    for word in [kind.status().to_string().as_str(), code, &id] {
        assert!(text.contains(word), "{word} is not in the body: {text}");
    }
    let record = clearway.fault(&id);
    assert_eq!(record.code(), code, "{}", record.json);
    assert_eq!(record.status(), u64::from(kind.status()));
    counted(clearway, code, 1);
    let receipt = clearway.receipt(&id).to_string();
    assert!(
        receipt.contains(code),
        "{code} is not in the receipt: {receipt}"
    );
    record
}

fn counted(clearway: &Clearway, code: &str, times: u32) {
    clearway.wait_metric(
        "clearway_server_faults_total",
        &[("backend", "app"), ("fault", code)],
        times.into(),
    );
}

/// A GET that fails before a byte of response went out.
fn fails(server: &Server, code: &str) {
    let clearway = Clearway::over(&[server.address()], ONCE);
    let mut client = clearway.client();
    let response = client.get("/asked?for=this");
    let record = explained(&clearway, &response, code);
    assert_eq!(record.attempt_codes(), [code], "{}", record.json);
    let reason = &record.attempts()[0]["no_retry"];
    assert_ne!(reason, "response-started", "{}", record.json);
    assert!(
        record.json.to_string().contains("/asked?for=…"),
        "{}",
        record.json
    );
    assert!(
        record.json.to_string().contains(server.address()),
        "{}",
        record.json
    );
    // The client did nothing wrong and keeps its connection.
    assert!(!response.closes(), "{code}: {:?}", response.headers);
    assert_eq!(client.get("/again").status, response.status);
}

/// A GET whose response began and cannot be completed.
fn cut(server: &Server, code: &str) {
    let clearway = Clearway::over(&[server.address()], ONCE);
    let mut client = clearway.client();
    let response = client.get("/cut");
    assert_eq!(response.status, 200);
    assert!(
        matches!(
            response.end,
            End::Truncated | End::Reset | End::Malformed(_)
        ),
        "{code}: the client must see that the body is not whole: {:?}",
        response.end
    );
    let record = clearway.fault_with(code);
    assert_eq!(record.attempt_codes(), [code], "{}", record.json);
    let attempt = &record.attempts()[0];
    assert_eq!(attempt["no_retry"], "response-started", "{}", record.json);
    let first = attempt["first_bytes"].as_str().unwrap_or_default();
    assert!(first == "HTTP/1.1 200 OK", "{}", record.json);
    assert!(attempt["bytes_sent"].as_u64() > Some(0), "{}", record.json);
    assert!(attempt["bytes_received"].as_u64() >= Some(first.len() as u64 / 2));
    counted(&clearway, code, 1);
    let id = record.json["id"].as_str().unwrap_or_default().to_owned();
    assert!(clearway.receipt(&id).to_string().contains(code));
}

fn answers(bytes: &str, code: &str) {
    fails(&Server::script(behave::answer_and_stall(bytes)), code);
}

#[test]
fn connect_refused() {
    let (address, _guard) = behave::closed_port();
    let clearway = Clearway::over(&[&address], ONCE);
    let response = clearway.get("/");
    let record = explained(&clearway, &response, "connect_refused");
    assert_eq!(record.attempt_codes(), ["connect_refused"]);
    assert!(
        record.json.to_string().contains("111"),
        "errno: {}",
        record.json
    );
}

#[test]
fn connect_timeout() {
    let (address, _guard) = behave::full_backlog();
    let clearway = Clearway::over(&[&address], ONCE);
    let response = clearway.get("/");
    explained(&clearway, &response, "connect_timeout");
}

#[test]
fn connect_unreachable() {
    netns::run_in_new("faults::connect_unreachable", || {
        netns::ip("route add unreachable 192.0.2.0/24");
        let clearway = Clearway::over(&["192.0.2.1:80"], ONCE);
        explained(&clearway, &clearway.get("/"), "connect_unreachable");
    });
}

#[test]
fn connect_unreachable_without_any_route() {
    netns::run_in_new("faults::connect_unreachable_without_any_route", || {
        let clearway = Clearway::over(&["192.0.2.1:80"], ONCE);
        explained(&clearway, &clearway.get("/"), "connect_unreachable");
    });
}

#[test]
fn connect_denied() {
    netns::run_in_new("faults::connect_denied", || {
        netns::ip("route add prohibit 192.0.2.0/24");
        let clearway = Clearway::over(&["192.0.2.1:80"], ONCE);
        explained(&clearway, &clearway.get("/"), "connect_denied");
    });
}

#[test]
fn connect_timeout_behind_a_packet_filter() {
    netns::run_in_new("faults::connect_timeout_behind_a_packet_filter", || {
        let server = Server::script(behave::ok("never"));
        let (_, port) = server.address().split_once(':').unwrap();
        netns::filter_table();
        netns::nft(&format!("add rule inet test input tcp dport {port} drop"));
        let clearway = Clearway::over(&[server.address()], ONCE);
        explained(&clearway, &clearway.get("/"), "connect_timeout");
        netns::nft("flush chain inet test input");
    });
}

#[test]
fn out_of_ports() {
    netns::run_in_new("faults::out_of_ports", || {
        let server = Server::script(behave::never_answer());
        let config = format!(
            "[listener.web]\nbind = \"unix:$DIR/web.sock\"\n[admin]\nlisten = \"unix:$DIR/admin.sock\"\n\
             [backend.app]\nservers = [{:?}]\nretries = {{ max = 0 }}\n",
            server.address()
        );
        let clearway = Clearway::start(&config);
        std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "40000 40000").unwrap();
        let mut holder = clearway.client();
        holder.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
        server.wait_requests(1);
        explained(&clearway, &clearway.get("/"), "out_of_ports");
        // A port that is free again is used at once.
        std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "40000 50000").unwrap();
        let mut next = clearway.client();
        next.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
        server.wait_requests(2);
    });
}

#[test]
fn unix_missing() {
    let folder = clearway_testkit::TempDir::new();
    let address = format!("unix:{}", folder.file("nobody.sock"));
    let clearway = Clearway::over(&[&address], ONCE);
    explained(&clearway, &clearway.get("/"), "unix_missing");
}

#[test]
fn unix_refused() {
    // A socket file that a dead server left behind.
    let folder = clearway_testkit::TempDir::new();
    let path = folder.file("left.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let clearway = Clearway::over(&[&format!("unix:{path}")], ONCE);
    explained(&clearway, &clearway.get("/"), "connect_refused");
}

#[test]
fn unix_backlog_full() {
    let (address, _guard) = behave::full_unix_backlog();
    let clearway = Clearway::over(&[&address], ONCE);
    explained(&clearway, &clearway.get("/"), "unix_backlog_full");
}

#[test]
fn server_closed_no_response() {
    fails(
        &Server::script(behave::close_after_request()),
        "server_closed_no_response",
    );
}

#[test]
fn server_reset_no_response() {
    fails(
        &Server::script(behave::reset_after_request()),
        "server_reset_no_response",
    );
}

#[test]
fn servers_that_end_the_connection_at_once() {
    // Which of the steps notices is a matter of timing; that the server is blamed is not.
    for server in [
        Server::script(behave::close_on_accept()),
        Server::script(behave::reset_on_accept()),
    ] {
        let clearway = Clearway::over(&[server.address()], ONCE);
        for _ in 0..10 {
            let response = clearway.get("/");
            let record = clearway.fault(&response.id());
            let known = [
                "server_closed_no_response",
                "server_reset_no_response",
                "server_closed_while_sending",
                "server_reset_while_sending",
                "connect_reset",
            ];
            assert!(known.contains(&record.code()), "{}", record.json);
            assert_eq!(response.status, 502);
        }
    }
}

#[test]
fn response_timeout() {
    fails(&Server::script(behave::never_answer()), "response_timeout");
}

#[test]
fn response_head_truncated() {
    let half = "HTTP/1.1 200 OK\r\nContent-Le";
    fails(
        &Server::script(behave::answer_and_close(half)),
        "response_head_truncated",
    );
    fails(
        &Server::script(behave::answer_and_close("H")),
        "response_head_truncated",
    );
}

#[test]
fn response_head_reset() {
    let half = "HTTP/1.1 200 OK\r\nContent-Le";
    fails(
        &Server::script(behave::answer_and_reset(half)),
        "response_head_reset",
    );
}

#[test]
fn response_head_stalled() {
    answers("HTTP/1.1 200 OK\r\nContent-Le", "response_head_stalled");
}

#[test]
fn response_headers_too_large() {
    let head = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "y".repeat(70_000));
    answers(&head, "response_headers_too_large");
}

#[test]
fn response_too_many_headers() {
    let many: String = (0..200).map(|n| format!("X-{n}: y\r\n")).collect();
    answers(
        &format!("HTTP/1.1 200 OK\r\n{many}\r\n"),
        "response_too_many_headers",
    );
}

#[test]
fn response_status_line_invalid() {
    for line in [
        "HTTP/1.1 abc OK",
        "HTTP/1.1 20 OK",
        "HTTP/1.1 2000 OK",
        "HTTP/1.1",
        "HTTP/1.1 099 Low",
    ] {
        answers(
            &format!("{line}\r\nContent-Length: 0\r\n\r\n"),
            "response_status_line_invalid",
        );
    }
}

#[test]
fn response_not_http() {
    for banner in [
        "SSH-2.0-OpenSSH_9.6\r\n",
        "220 mail.test ESMTP\r\n\r\n",
        "-ERR unknown command\r\n",
    ] {
        answers(banner, "response_not_http");
    }
}

#[test]
fn a_banner_that_comes_unasked_is_not_http() {
    fails(
        &Server::script(behave::banner("SSH-2.0-OpenSSH_9.6\r\n")),
        "response_not_http",
    );
}

#[test]
fn server_speaks_tls() {
    fails(
        &Server::script(behave::answer_and_close(behave::TLS_ALERT)),
        "server_speaks_tls",
    );
}

#[test]
fn server_speaks_http2() {
    fails(
        &Server::script(behave::answer_and_stall(behave::HTTP2_SETTINGS)),
        "server_speaks_http2",
    );
    fails(
        &Server::script(behave::banner(behave::HTTP2_SETTINGS)),
        "server_speaks_http2",
    );
}

#[test]
fn response_header_invalid() {
    for line in [
        "X Y: 1",
        "X\0Y: 1",
        "X-Y: a\0b",
        ": empty",
        "no colon",
        "X-Y : 1",
    ] {
        answers(
            &format!("HTTP/1.1 200 OK\r\n{line}\r\nContent-Length: 0\r\n\r\n"),
            "response_header_invalid",
        );
    }
}

#[test]
fn response_framing_conflict() {
    answers(
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "response_framing_conflict",
    );
}

#[test]
fn response_length_invalid() {
    for lines in [
        "Content-Length: abc",
        "Content-Length: -1",
        "Content-Length: 1\r\nContent-Length: 2",
    ] {
        answers(
            &format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\nab"),
            "response_length_invalid",
        );
    }
}

#[test]
fn response_coding_unsupported() {
    answers(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "response_coding_unsupported",
    );
}

#[test]
fn upgrade_unexpected() {
    answers(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n",
        "upgrade_unexpected",
    );
}

#[test]
fn too_many_interim() {
    let many = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(40);
    let server = Server::script(behave::answer_and_stall(many));
    let clearway = Clearway::over(&[server.address()], ONCE);
    let response = clearway.get("/");
    explained(&clearway, &response, "too_many_interim");
}

#[test]
fn response_body_short() {
    cut(
        &Server::script(behave::answer_and_close(
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
        )),
        "response_body_short",
    );
    cut(
        &Server::script(behave::answer_and_close(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc",
        )),
        "response_body_short",
    );
    cut(
        &Server::script(behave::answer_and_close(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        )),
        "response_body_short",
    );
}

#[test]
fn response_body_reset() {
    cut(
        &Server::script(behave::answer_and_reset(
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
        )),
        "response_body_reset",
    );
    // A body that ends with the connection is not whole when the end is a reset.
    cut(
        &Server::script(behave::answer_and_reset("HTTP/1.1 200 OK\r\n\r\nabc")),
        "response_body_reset",
    );
}

#[test]
fn response_body_stalled() {
    cut(
        &Server::script(behave::answer_and_stall(
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
        )),
        "response_body_stalled",
    );
}

#[test]
fn response_chunk_invalid() {
    for body in ["xyz\r\nabc\r\n", "3\r\nabcdef\r\n", "-1\r\n", "3 abc\r\n"] {
        let bytes =
            format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n{body}");
        // The first good chunk goes out before the bad one is known when they come apart.
        let server = Server::script(behave::answer_and_stall(bytes));
        let clearway = Clearway::over(&[server.address()], ONCE);
        let response = clearway.get("/");
        let record = clearway.fault_with("response_chunk_invalid");
        assert!(
            response.status == 502 || response.end != End::Complete,
            "{body:?}: {response:?} {}",
            record.json
        );
        counted(&clearway, "response_chunk_invalid", 1);
    }
}

#[test]
fn server_write_timeout() {
    let server = Server::script(behave::never_read());
    let clearway = Clearway::over(&[server.address()], ONCE);
    let mut client = clearway.client();
    let body = vec![b'x'; 1 << 20];
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 104857600\r\n\r\n");
    client
        .stream()
        .set_timeout(std::time::Duration::from_secs(1))
        .unwrap();
    for _ in 0..100 {
        if !client.try_send(&body) {
            break;
        }
    }
    client.stream().set_timeout(wait::LIMIT).unwrap();
    let response = client.response("POST");
    explained(&clearway, &response, "server_write_timeout");
}

#[test]
fn servers_that_end_the_connection_during_an_upload() {
    let scripts: [(Script, &[&str]); 2] = [
        (
            Box::new(|mut conn| {
                conn.request_head();
                conn.take(100_000);
            }),
            &[
                "server_closed_while_sending",
                "server_reset_while_sending",
                "server_reset_no_response",
                "server_closed_no_response",
            ],
        ),
        (
            Box::new(|mut conn| {
                conn.request_head();
                conn.take(100_000);
                conn.reset();
            }),
            &["server_reset_while_sending", "server_reset_no_response"],
        ),
    ];
    for (script, codes) in scripts {
        let server = Server::script(script);
        let clearway = Clearway::over(&[server.address()], ONCE);
        let mut client = clearway.client();
        client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 104857600\r\n\r\n");
        for _ in 0..100 {
            if !client.try_send(vec![b'x'; 1 << 20]) {
                break;
            }
        }
        let response = client.response("POST");
        assert_eq!(response.status, 502);
        let record = clearway.fault(&response.id());
        assert!(codes.contains(&record.code()), "{}", record.json);
        counted(&clearway, record.code(), 1);
    }
}

#[test]
fn reused_connections_that_are_gone_have_kinds_of_their_own() {
    for (server, code) in [
        (Server::script(behave::close_after(1)), "reused_closed"),
        (Server::script(behave::reset_after(1)), "reused_reset"),
    ] {
        let clearway = Clearway::over(&[server.address()], ONCE);
        let mut client = clearway.client();
        assert_eq!(client.get("/first").text(), "kept");
        // Not replayable, so the failure has to be shown.
        client.send("POST /second HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n");
        server.wait_requests(2);
        let response = client.response("POST");
        assert_eq!(response.status, 502, "{code}");
        let record = clearway.fault(&response.id());
        assert_eq!(record.code(), code, "{}", record.json);
        let faults = clearway.metrics();
        assert!(faults.count("clearway_server_faults_total", &[("fault", code)]) >= 1);
    }
}

#[test]
fn a_backend_without_a_usable_server_says_so() {
    let clearway = Clearway::over(&[], "");
    let response = clearway.get("/");
    assert_eq!(response.status, 503);
    assert_eq!(
        response.proxy_error().as_deref(),
        Some("destination_unavailable")
    );
    assert_eq!(clearway.fault(&response.id()).code(), "no_servers");
}

#[test]
fn a_pattern_that_takes_too_many_steps_lets_nothing_through() {
    let server = Server::script(behave::ok("secret"));
    let rule = "rule = [{ when = { value = [{ of = \"path\", regex = ['^/((?!b)[a-z]+/?)+x$'] }] }, deny = 403 }]\n";
    let clearway = Clearway::over(&[server.address()], rule);
    assert_eq!(clearway.get("/aax").status, 403);
    assert_eq!(clearway.get("/bbx").status, 200);
    let slow = format!("/{}!x", "a".repeat(60));
    let response = clearway.get(&slow);
    assert_eq!(response.status, 500);
    assert_eq!(clearway.fault(&response.id()).code(), "pattern_steps");
}

#[test]
fn error_pages_can_be_replaced() {
    let (address, _guard) = behave::closed_port();
    let clearway = Clearway::over(
        &[&address],
        "retries = { max = 0 }\n[errors]\n\"502\" = { body = \"sorry\", content_type = \"text/html\" }\n",
    );
    let response = clearway.get("/");
    assert_eq!((response.status, response.text().as_str()), (502, "sorry"));
    assert_eq!(response.header("content-type"), Some("text/html"));
    assert_eq!(response.id().len(), 13);
}

#[test]
fn replies_to_head_have_no_body() {
    let (address, _guard) = behave::closed_port();
    let clearway = Clearway::over(&[&address], ONCE);
    let mut client = clearway.client();
    for _ in 0..2 {
        client.send("HEAD / HTTP/1.1\r\nHost: test\r\n\r\n");
        let response = client.response("HEAD");
        assert_eq!(response.status, 502);
        assert_eq!(response.id().len(), 13);
    }
}

#[test]
fn proxy_status_names_clearway_and_hides_the_server() {
    let (address, _guard) = behave::closed_port();
    let clearway = Clearway::over(&[&address], ONCE);
    let response = Client::connect(clearway.address("web")).get("/");
    let value = response.header("proxy-status").unwrap_or_default();
    assert!(
        value.starts_with("clearway; error=connection_refused"),
        "{value}"
    );
    assert!(!value.contains(&address), "{value}");
    assert!(!response.text().contains(&address), "{}", response.text());
}
