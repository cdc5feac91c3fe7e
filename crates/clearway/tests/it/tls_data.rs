//! What passes over TLS: bodies, tunnels, kept connections, and how ends are told from cuts.

#![expect(clippy::unwrap_used, reason = "a scenario reads best in one piece")]

use std::io::Write;

use clearway_testkit::clearway::simple;
use clearway_testkit::{
    Authority, Clearway, Client, Conn, End, Gate, Server, TlsClient, TlsServer, behave, wait,
};

/// TLS on both sides of a balancer.
struct Both {
    clearway: Clearway,
    tls: TlsClient,
}

impl Both {
    fn new(root: &Authority, server: &Server, listener: &str, backend: &str) -> Self {
        let backend =
            format!("tls = {{ ca = \"$DIR/ca.pem\", server_name = \"app.test\" }}\n{backend}");
        let listener = format!("\ntls = {{ certificates = \"$DIR/a.pem\" }}\n{listener}\n\n");
        let text = simple(&[server.address()], &backend).replacen("\n\n", &listener, 1);
        let clearway = Clearway::setup(&text)
            .with_file("a.pem", &root.issue(&["a.test"]).pem())
            .with_file("ca.pem", &root.pem())
            .start();
        let tls = TlsClient::trusting(root);
        Self { clearway, tls }
    }

    fn client(&self) -> Client {
        self.tls.open(self.clearway.address("web"))
    }

    fn is_faultless(&self) {
        let faults = self.clearway.faults();
        assert!(faults.is_empty(), "{faults:?}");
    }
}

fn server_of(root: &Authority) -> TlsServer {
    TlsServer::with(&root.issue(&["app.test"]))
}

#[test]
fn bodies_of_every_size_pass_both_ways() {
    let root = Authority::new("root");
    for version in [12, 13] {
        let tls = server_of(&root);
        let tls = if version == 12 {
            tls.only_12()
        } else {
            tls.only_13()
        };
        let server = tls.script(behave::echo_body());
        let mut both = Both::new(&root, &server, "limits = { body_bytes = \"20MiB\" }", "");
        both.tls = if version == 12 {
            both.tls.only_13()
        } else {
            both.tls.only_12()
        };
        let mut client = both.client();
        for size in [0, 1, 100, 16_384, 16_385, 100_000, 10 << 20] {
            let body = behave::pattern(size);
            let response = client.post("/", &body);
            assert_eq!(
                (response.status, &response.end),
                (200, &End::Complete),
                "{size}"
            );
            assert!(response.body == body, "{size} bytes came back changed");
            if size > 1 << 20 && version == 12 {
                continue;
            }
            // The same in chunks, with a trailer.
            client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
            for chunk in body.chunks(70_000) {
                client.send(format!("{:x}\r\n", chunk.len()));
                client.send(chunk);
                client.send("\r\n");
            }
            client.send("0\r\nX-Sum: 7\r\n\r\n");
            let response = client.response("POST");
            assert_eq!(response.status, 200, "{size}");
            assert!(
                response.body == body,
                "{size} bytes in chunks came back changed"
            );
            let seen = server.seen().pop().unwrap();
            assert_eq!(seen.trailers.get("x-sum"), Some("7"), "{size}");
        }
        both.is_faultless();
        assert_eq!(server.connections(), 1);
    }
}

#[test]
fn chunked_responses_with_trailers_pass() {
    let root = Authority::new("root");
    let chunk = "x".repeat(40_000);
    let text = format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
         9c40\r\n{chunk}\r\n1\r\ny\r\n0\r\nX-Sum: 9\r\n\r\n"
    );
    let server = server_of(&root).script(behave::answer(text));
    let both = Both::new(&root, &server, "", "");
    let mut client = both.client();
    for _ in 0..3 {
        let response = client.get("/");
        assert_eq!(
            (response.body.len(), &response.end),
            (40_001, &End::Complete)
        );
        assert_eq!(response.trailers.get("x-sum"), Some("9"));
    }
    both.is_faultless();
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let root = Authority::new("root");
    let server = server_of(&root).script(behave::echo());
    let both = Both::new(&root, &server, "", "");
    let mut client = both.client();
    let all: String = (0..20)
        .map(|number| {
            format!(
                "GET /{number} HTTP/1.1\r\nHost: a\r\nX-Fill: {}\r\n\r\n",
                "f".repeat(900)
            )
        })
        .collect();
    client.send(&all);
    for number in 0..20 {
        let text = client.response("GET").text();
        assert!(text.starts_with(&format!("GET /{number} ")), "{text}");
    }
    // A record may end anywhere.
    for piece in all.as_bytes().chunks(333) {
        client.send(piece);
    }
    for number in 0..20 {
        let text = client.response("GET").text();
        assert!(text.starts_with(&format!("GET /{number} ")), "{text}");
    }
    both.is_faultless();
}

#[test]
fn a_client_that_ends_its_side_still_gets_its_answer() {
    let root = Authority::new("root");
    let gate = Gate::new();
    let server = server_of(&root).script(behave::gated(&gate, "late"));
    let both = Both::new(&root, &server, "", "");
    for tls in [both.tls.clone().only_12(), both.tls.clone().only_13()] {
        let mut client = tls.open(both.clearway.address("web"));
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
        client.half_close();
        server.wait_requests(1);
        gate.open();
        assert_eq!(client.response("POST").text(), "late");
        assert_eq!(client.read_to_end(), (Vec::new(), End::UntilClose));
    }
    both.is_faultless();
}

#[test]
fn kept_connections_survive_messages_of_tls() {
    let root = Authority::new("root");
    // After each answer come new keys, when the connection lies idle; tickets came before.
    let server = server_of(&root).only_13().script(|mut conn: Conn| {
        while conn.request().is_some() {
            conn.send(behave::response(200, "kept"));
            conn.stream().tls().unwrap().refresh_keys().unwrap();
            conn.note("refreshed");
        }
    });
    let both = Both::new(&root, &server, "", "");
    let mut client = both.client();
    for number in 1..=10 {
        assert_eq!(client.get("/").text(), "kept");
        // The client's side, too.
        client.stream().tls().unwrap().refresh_keys().unwrap();
        wait::until("new keys", || {
            (server.notes().len() >= number).then_some(())
        });
    }
    assert_eq!(
        server.connections(),
        1,
        "a message of TLS is no reason to give a connection up"
    );
    both.is_faultless();
    let reuses = both
        .clearway
        .metrics()
        .count("clearway_server_reuses_total", &[]);
    assert_eq!(reuses, 9);
}

#[test]
fn connections_to_servers_resume_sessions() {
    let root = Authority::new("root");
    for tls in [server_of(&root).only_12(), server_of(&root).only_13()] {
        let server = tls.script(|mut conn: Conn| {
            let agreed = conn.handshake().unwrap();
            conn.note(if agreed.resumed { "resumed" } else { "full" });
            conn.request();
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        });
        let both = Both::new(&root, &server, "", "");
        let mut client = both.client();
        for _ in 0..5 {
            assert_eq!(client.get("/").status, 200);
        }
        assert_eq!(server.notes()[0], "full");
        assert!(
            server.notes()[1..].iter().all(|note| note == "resumed"),
            "{:?}",
            server.notes()
        );
        both.is_faultless();
    }
}

/// Bytes of memory that a process has in use.
fn memory(pid: u32) -> usize {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap();
    let number = line.split_whitespace().next().unwrap();
    number.parse::<usize>().unwrap() * 1_024
}

#[test]
fn slow_readers_do_not_fill_the_memory() {
    const SIZE: usize = 32 << 20;
    let root = Authority::new("root");
    let gate = Gate::new();
    let opened = gate.clone();
    let server = server_of(&root).script(move |mut conn: Conn| {
        let Some(mut request) = conn.request_head() else {
            return;
        };
        if request.target == "/warm" {
            conn.send(behave::response(200, ""));
        } else if request.method == "POST" {
            gate.wait();
            conn.request_body(&mut request);
            conn.send(behave::response(200, &request.body.len().to_string()));
        } else {
            conn.send(behave::response(200, &"d".repeat(SIZE)));
        }
    });
    let mut both = Both::new(&root, &server, "limits = { body_bytes = \"100MiB\" }", "");
    assert_eq!(both.client().get("/warm").status, 200);
    let pid = both.clearway.process().id();
    let before = memory(pid);
    let (mut down, mut up) = (both.client(), both.client());
    down.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = down.response_head();
    assert_eq!(
        head.header("content-length"),
        Some(SIZE.to_string().as_str())
    );
    up.send(format!(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {SIZE}\r\n\r\n"
    ));
    let sender = std::thread::spawn(move || {
        up.send(vec![b'u'; SIZE]);
        up.response("POST").text()
    });
    // Both directions stand still when nothing moves any more.
    let moved = |both: &Both| {
        let metrics = both.clearway.metrics();
        metrics.sum("clearway_server_received_bytes_total", &[])
            + metrics.sum("clearway_listener_received_bytes_total", &[])
    };
    let (mut last, mut same) = (moved(&both), 0);
    wait::until("both directions to stand still", || {
        let now = moved(&both);
        same = if now == last { same + 1 } else { 0 };
        last = now;
        wait::elapse(wait::SHORT);
        (same >= 5).then_some(())
    });
    let grown = memory(pid).saturating_sub(before);
    assert!(
        grown < 8 << 20,
        "{grown} bytes of memory for two connections that stand still"
    );
    opened.open();
    assert_eq!(sender.join().unwrap(), SIZE.to_string());
    let mut response = head;
    down.response_body("GET", &mut response);
    assert_eq!((response.body.len(), response.end), (SIZE, End::Complete));
    assert!(response.body.iter().all(|&b| b == b'd'));
    both.is_faultless();
}

#[test]
fn a_web_socket_over_tls_is_a_tunnel() {
    let root = Authority::new("root");
    let server = server_of(&root).script(behave::upgrade_echo("websocket"));
    let both = Both::new(&root, &server, "", "");
    let mut client = both.client();
    client.send(
        "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly",
    );
    assert_eq!(client.response_head().status, 101);
    assert_eq!(client.take(5), b"early");
    for size in [1, 1_000, 40_000, 200_000] {
        let message = behave::pattern(size);
        // In pieces that fit into the buffers on the way: the echo waits for nobody.
        for piece in message.chunks(8_000) {
            client.send(piece);
            assert!(client.take(piece.len()) == piece, "{size}");
        }
    }
    client.half_close();
    assert_eq!(client.read_to_end(), (Vec::new(), End::UntilClose));
    server.wait_ended(1);
    both.is_faultless();
}

#[test]
fn layer_4_with_tls_on_either_side() {
    let root = Authority::new("root");
    let echo = |server_tls: bool| match server_tls {
        true => server_of(&root).script(behave::echo_raw()),
        false => Server::script(behave::echo_raw()),
    };
    for (client_tls, server_tls) in [(true, true), (true, false), (false, true)] {
        let server = echo(server_tls);
        let mut text = "[listener.web]\nbind = \"127.0.0.1:0\"\nmode = \"tcp\"\n".to_owned();
        if client_tls {
            text += "tls = { certificates = \"$DIR/a.pem\" }\n";
        }
        text += &format!("[backend.app]\nservers = [\"{}\"]\n", server.address());
        if server_tls {
            text += "tls = { ca = \"$DIR/ca.pem\", server_name = \"app.test\" }\n";
        }
        let clearway = Clearway::setup(&text)
            .with_file("a.pem", &root.issue(&["a.test"]).pem())
            .with_file("ca.pem", &root.pem())
            .start();
        let address = clearway.address("web");
        let mut client = match client_tls {
            true => TlsClient::trusting(&root).open(address),
            false => Client::connect(address),
        };
        let message = behave::pattern(300_000);
        for piece in message.chunks(9_999) {
            client.send(piece);
            assert!(client.take(piece.len()) == piece);
        }
        client.send("the last words");
        client.half_close();
        let end = client.read_to_end();
        assert_eq!(
            end,
            (b"the last words".to_vec(), End::UntilClose),
            "{client_tls} {server_tls}"
        );
        server.wait_ended(1);
        let record = clearway.access(|record| record["protocol"] == "TCP");
        assert_eq!(record["tls"].is_object(), client_tls, "{record}");
        assert!(clearway.faults().is_empty(), "{:?}", clearway.faults());
    }
}

#[test]
fn layer_4_with_tls_tells_who_failed() {
    let root = Authority::new("root");
    let other = Authority::new("other");
    let server = TlsServer::with(&other.issue(&["app.test"])).script(|conn: Conn| {
        conn.handshake().unwrap_err();
    });
    let both = Both::new(&root, &server, "mode = \"tcp\"", "retries = { max = 0 }");
    let mut client = both.client();
    client.send("x");
    client.read_to_end();
    let record = both.clearway.fault_with("server_certificate_untrusted");
    let certificate = &record.attempts()[0]["tls"]["certificate"];
    assert_eq!(certificate["issuer"], "CN=other", "{}", record.json);
    // Nobody there: TLS with the client has its own faults.
    let stranger = TlsClient::trusting(&other);
    stranger.try_open(both.clearway.address("web")).unwrap_err();
    let record = both.clearway.fault_with("tls_client_rejects_certificate");
    assert_eq!(record.json["protocol"], "TCP");
}

#[test]
fn ends_are_told_from_cuts_where_the_close_delimits() {
    let root = Authority::new("root");
    let server = server_of(&root).script(|mut conn: Conn| {
        let Some(request) = conn.request() else {
            return;
        };
        conn.send("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall of it");
        if request.target == "/cut" {
            conn.cut();
        }
    });
    let both = Both::new(&root, &server, "", "");
    let whole = both.client().get("/whole");
    assert_eq!(
        (whole.text().as_str(), &whole.end),
        ("all of it", &End::Complete)
    );
    both.is_faultless();
    let mut client = both.client();
    let cut = client.get("/cut");
    assert!(matches!(cut.end, End::Truncated | End::Reset), "{cut:?}");
    let record = both.clearway.fault_with("response_body_short");
    assert_eq!(record.attempt_codes(), ["response_body_short"]);
    // To a client that knows no chunks only a reset says that this is not all.
    let mut client = both.client();
    client.send("GET /cut HTTP/1.0\r\nHost: a\r\n\r\n");
    let (bytes, end) = client.read_to_end();
    assert!(bytes.ends_with(b"all of it") || bytes.is_empty());
    assert!(matches!(end, End::Truncated | End::Reset), "{end:?}");
    let mut client = both.client();
    client.send("GET /whole HTTP/1.0\r\nHost: a\r\n\r\n");
    let (bytes, end) = client.read_to_end();
    assert!(bytes.ends_with(b"all of it"));
    assert_eq!(end, End::UntilClose, "close_notify says that this is all");
}

#[test]
fn responses_that_break_off() {
    let root = Authority::new("root");
    let server = server_of(&root).script(|mut conn: Conn| {
        let Some(request) = conn.request() else {
            return;
        };
        let part = "x".repeat(50_000);
        match request.target.as_str() {
            "/no-answer" => {}
            "/broken" => {
                conn.send(format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n{part}"
                ));
                // A record that nobody can decrypt.
                let mut socket = conn.stream().tls().unwrap().socket();
                socket
                    .write_all(&[&b"\x17\x03\x03\x00\x20"[..], &[7; 32]].concat())
                    .unwrap();
                conn.drain();
            }
            "/short" => {
                conn.send(format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n{part}"
                ));
            }
            other => panic!("{other}"),
        }
    });
    let both = Both::new(&root, &server, "", "retries = { max = 0 }");
    let response = both.client().get("/no-answer");
    assert_eq!(response.status, 502);
    let record = both.clearway.fault(&response.id());
    assert_eq!(record.code(), "server_closed_no_response");
    for (target, code) in [
        ("/broken", "server_tls_protocol"),
        ("/short", "response_body_short"),
    ] {
        let response = both.client().get(target);
        assert_eq!(response.status, 200);
        assert!(
            matches!(response.end, End::Truncated | End::Reset),
            "{target}: {:?}",
            response.end
        );
        let record = both.clearway.fault_with(code);
        assert_eq!(record.attempt_codes(), [code], "{}", record.json);
    }
}

#[test]
fn connections_that_are_reset_in_the_middle() {
    let root = Authority::new("root");
    let gate = Gate::new();
    let closed = gate.clone();
    let server = server_of(&root).script(move |mut conn: Conn| {
        let Some(request) = conn.request() else {
            return;
        };
        let part = "x".repeat(50_000);
        conn.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n{part}"
        ));
        if request.target == "/server" {
            closed.wait();
            return conn.reset();
        }
        conn.drain();
    });
    let both = Both::new(&root, &server, "", "retries = { max = 0 }");
    let mut client = both.client();
    client.send("GET /server HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut response = client.response_head();
    assert_eq!(response.status, 200);
    gate.open();
    client.response_body("GET", &mut response);
    assert!(
        matches!(response.end, End::Truncated | End::Reset),
        "{:?}",
        response.end
    );
    both.clearway.fault_with("response_body_reset");
    let mut client = both.client();
    client.send("GET /client HTTP/1.1\r\nHost: a\r\n\r\n");
    client.response_head();
    client.reset();
    both.clearway.fault_with("client_reset");
    server.wait_ended(2);
}
