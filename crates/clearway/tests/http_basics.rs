//! HTTP/1 through the balancer as clients and servers see it.

use std::time::Duration;

use clearway_testkit::wait::LIMIT;
use clearway_testkit::{Clearway, Client, Conn, End, Gate, Server, behave};

/// Bytes that do not repeat in a pattern a wrong offset would hide.
fn pattern(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state.to_le_bytes()[0]
        })
        .collect()
}

#[test]
fn connections_are_kept_on_both_sides() {
    let server = Server::script(behave::ok("kept"));
    let clearway = Clearway::over(&[server.address()], "");
    let mut client = clearway.client();
    for number in 0..5 {
        let response = client.get(&format!("/{number}"));
        assert_eq!((response.status, response.text().as_str()), (200, "kept"));
        assert!(!response.closes());
    }
    assert_eq!(server.connections(), 1);
    let targets: Vec<String> = server.seen().into_iter().map(|r| r.target).collect();
    assert_eq!(targets, ["/0", "/1", "/2", "/3", "/4"]);
}

#[test]
fn clients_share_kept_server_connections() {
    let server = Server::script(behave::ok("shared"));
    let clearway = Clearway::over(&[server.address()], "");
    for _ in 0..20 {
        assert_eq!(clearway.get("/").status, 200);
    }
    // One pool per worker, two workers.
    assert!(server.connections() <= 2, "{}", server.connections());
}

#[test]
fn connection_close_of_the_client_is_obeyed() {
    let server = Server::script(behave::ok("bye"));
    let clearway = Clearway::over(&[server.address()], "");
    let mut client = clearway.client();
    let response = client.get_with("/", "Connection: close\r\n");
    assert_eq!(response.text(), "bye");
    assert!(response.closes());
    client.expect_closed();
    // The server's connection is another matter.
    assert!(!server.only().headers.lists("connection", "close"));
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = Server::script(behave::echo());
    let clearway = Clearway::over(&[server.address()], "");
    let mut client = clearway.client();
    let mut all = String::new();
    for number in 0..10 {
        all.push_str(&format!("GET /{number} HTTP/1.1\r\nHost: test\r\n\r\n"));
    }
    client.send(all);
    for number in 0..10 {
        let response = client.response("GET");
        let line = format!("GET /{number} HTTP/1.1\r\n");
        assert!(response.text().starts_with(&line), "{}", response.text());
    }
}

#[test]
fn pipelined_bodies_do_not_run_into_the_next_request() {
    let server = Server::script(behave::echo_body());
    let clearway = Clearway::over(&[server.address()], "");
    let mut client = clearway.client();
    client.send(
        "POST /a HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\none\
         POST /b HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ntwo\r\n0\r\n\r\n\
         GET /c HTTP/1.1\r\nHost: test\r\n\r\n",
    );
    let bodies: Vec<String> = ["POST", "POST", "GET"]
        .map(|m| client.response(m).text())
        .into();
    assert_eq!(bodies, ["one", "two", ""]);
}

#[test]
fn an_empty_line_before_a_request_is_tolerated() {
    let server = Server::script(behave::ok("fine"));
    let clearway = Clearway::over(&[server.address()], "");
    let mut client = clearway.client();
    client.send("\r\n");
    assert_eq!(client.get("/").status, 200);
}

#[test]
fn chunked_requests_arrive_with_their_trailers() {
    let server = Server::script(behave::ok("thanks"));
    let clearway = Clearway::over(&[server.address()], "");
    let mut client = clearway.client();
    client.send(
        "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
         5\r\nhello\r\n1;ext=1\r\n \r\n5\r\nworld\r\n0\r\nX-Sum: 42\r\nContent-Length: 3\r\n\r\n",
    );
    assert_eq!(client.response("POST").text(), "thanks");
    let request = server.only();
    assert_eq!(request.body, b"hello world");
    assert_eq!(request.end, End::Complete);
    assert_eq!(request.trailers.get("x-sum"), Some("42"));
    assert!(
        !request.trailers.has("content-length"),
        "framing fields are no trailers"
    );
}

#[test]
fn chunked_responses_arrive_with_their_trailers() {
    let server = Server::script(behave::answer(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
         5\r\nhello\r\n6\r\n world\r\n0\r\nX-Sum: 42\r\n\r\n",
    ));
    let clearway = Clearway::over(&[server.address()], "");
    let mut client = clearway.client();
    for _ in 0..2 {
        let response = client.get_with("/", "Connection: TE\r\nTE: trailers\r\n");
        assert_eq!(response.text(), "hello world");
        assert_eq!(response.end, End::Complete);
        assert_eq!(response.trailers.get("x-sum"), Some("42"));
    }
}

#[test]
fn an_event_stream_is_not_held_back() {
    let gate = Gate::new();
    let next = gate.clone();
    let server = Server::script(move |mut conn| {
        conn.request();
        conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/event-stream\r\n\r\n7\r\nfirst\n\n\r\n");
        next.wait();
        conn.send("8\r\nsecond\n\n\r\n0\r\n\r\n");
        conn.drain();
    });
    let clearway = Clearway::over(&[server.address()], "");
    let mut client = clearway.client();
    client.send("GET /events HTTP/1.1\r\nHost: test\r\n\r\n");
    client.response_head();
    client.take_through(b"first\n\n");
    gate.open();
    client.take_through(b"second\n\n");
}

#[test]
fn head_has_no_body_and_keeps_the_length() {
    let server = Server::script(behave::answer(
        "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
    ));
    let clearway = Clearway::over(&[server.address()], "");
    let mut client = clearway.client();
    for _ in 0..2 {
        client.send("HEAD / HTTP/1.1\r\nHost: test\r\n\r\n");
        let response = client.response("HEAD");
        assert_eq!(response.header("content-length"), Some("1000"));
        assert!(!response.closes());
    }
    assert_eq!(server.connections(), 1);
}

#[test]
fn statuses_without_a_body_end_with_their_head() {
    for head in [
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\nETag: \"x\"\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n",
    ] {
        let server = Server::script(behave::answer(head));
        let clearway = Clearway::over(&[server.address()], "");
        let mut client = clearway.client();
        for _ in 0..3 {
            let response = client.get("/");
            assert!(matches!(response.status, 204 | 304));
        }
        assert_eq!(server.connections(), 1, "{head}");
    }
}

#[test]
fn early_hints_pass_before_the_response() {
    let server = Server::script(behave::answer(
        "HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n\
         HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ));
    let clearway = Clearway::over(&[server.address()], "");
    let mut client = clearway.client();
    for _ in 0..2 {
        client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
        let hints = client.response_head();
        assert_eq!(hints.status, 103);
        assert_eq!(hints.header("link"), Some("</style.css>; rel=preload"));
        assert_eq!(client.response("GET").text(), "ok");
    }
}

#[test]
fn clients_of_http_1_0_get_no_interim_response() {
    let server = Server::script(behave::answer(
        "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ));
    let clearway = Clearway::over(&[server.address()], "");
    let mut client = clearway.client();
    client.send("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(client.response_head().status, 200);
}

#[test]
fn a_body_is_sent_after_100_continue() {
    let server = Server::script(behave::continue_then_ok());
    let clearway = Clearway::over(&[server.address()], "");
    let mut client = clearway.client();
    for _ in 0..2 {
        client.send(
            "POST / HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
        );
        assert_eq!(client.response_head().status, 100);
        client.send("hello");
        assert_eq!(client.response("POST").text(), "5");
    }
}

#[test]
fn a_refusal_instead_of_100_continue_reaches_the_client() {
    let server = Server::script(behave::answer_early(
        "HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno",
    ));
    let clearway = Clearway::over(&[server.address()], "");
    let mut client = clearway.client();
    client
        .send("POST / HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    let response = client.response_head();
    assert_eq!(response.status, 401);
}

#[test]
fn http_1_0_clients_get_plain_bodies() {
    let server = Server::script(behave::answer(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n",
    ));
    let clearway = Clearway::over(&[server.address()], "");
    let mut client = clearway.client();
    client.send("GET /old HTTP/1.0\r\n\r\n");
    let response = client.response("GET");
    assert!(
        !response.headers.has("transfer-encoding"),
        "{:?}",
        response.headers
    );
    assert_eq!(response.text(), "abcdef");
    client.expect_closed();
    let request = server.only();
    assert_eq!(request.version, "HTTP/1.1");
    assert_eq!(request.headers.all("host").len(), 1, "{}", request.text());
}

#[test]
fn http_1_0_clients_may_keep_the_connection() {
    let server = Server::script(behave::ok("ten"));
    let clearway = Clearway::over(&[server.address()], "");
    let mut client = clearway.client();
    for _ in 0..2 {
        client.send("GET / HTTP/1.0\r\nHost: test\r\nConnection: keep-alive\r\n\r\n");
        let response = client.response("GET");
        assert_eq!(response.text(), "ten");
        assert!(response.headers.lists("connection", "keep-alive"));
    }
}

#[test]
fn http_1_0_servers_are_understood() {
    let server = Server::script(behave::answer_and_close(
        "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nuntil the end",
    ));
    let clearway = Clearway::over(&[server.address()], "");
    for _ in 0..2 {
        let response = clearway.get("/");
        assert_eq!(response.text(), "until the end");
        assert!(matches!(response.end, End::Complete | End::UntilClose));
        assert_eq!(response.version, "HTTP/1.1");
    }
    assert!(clearway.faults().is_empty());
}

#[test]
fn a_body_until_close_of_an_http_1_1_server_is_whole() {
    let body = pattern(300_000);
    let mut answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_vec();
    answer.extend_from_slice(&body);
    let server = Server::script(behave::answer_and_close(answer));
    let clearway = Clearway::over(&[server.address()], "");
    assert_eq!(clearway.get("/").body, body);
}

/// Reads a chunked body as it stands on the wire: the chunks, each without its framing.
fn chunks(client: &mut Client) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        let size = client.take_chunk_size();
        let chunk = client.take(size);
        assert_eq!(client.take(2), b"\r\n");
        if size == 0 {
            return all;
        }
        all.push(chunk);
    }
}

#[test]
fn a_body_until_close_becomes_chunks_and_the_client_keeps_its_connection() {
    for version in ["1.0", "1.1"] {
        for length in [0, 1, 10, 100_000] {
            let body = pattern(length);
            let mut answer =
                format!("HTTP/{version} 200 OK\r\nConnection: close\r\n\r\n").into_bytes();
            answer.extend_from_slice(&body);
            let server = Server::script(behave::answer_and_close(answer));
            let clearway = Clearway::over(&[server.address()], "");
            let mut client = clearway.client();
            for _ in 0..2 {
                client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
                let head = client.response_head();
                assert!(head.headers.lists("transfer-encoding", "chunked"));
                assert!(!head.headers.has("content-length"));
                assert!(chunks(&mut client).concat() == body, "{version}, {length}");
            }
            assert!(clearway.faults().is_empty());
        }
    }
}

#[test]
fn a_body_until_close_that_comes_bit_by_bit_becomes_several_chunks() {
    // Each part is sent when the one before has come through, so each is a chunk of its own.
    for (parts, size) in [(2, 1), (10, 1), (10, 10_000)] {
        let gates: Vec<Gate> = (0..parts).map(|_| Gate::new()).collect();
        let body = pattern(parts * size);
        let script = {
            let (gates, body) = (gates.clone(), body.clone());
            move |mut conn: Conn| {
                conn.request();
                conn.send("HTTP/1.0 200 OK\r\n\r\n");
                for (gate, part) in gates.iter().zip(body.chunks(size)) {
                    gate.wait();
                    conn.send(part);
                }
            }
        };
        let server = Server::script(script);
        let clearway = Clearway::over(&[server.address()], "");
        let mut client = clearway.client();
        client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
        let head = client.response_head();
        assert!(head.headers.lists("transfer-encoding", "chunked"));
        let mut got = Vec::new();
        let mut count = 0;
        for (number, gate) in gates.iter().enumerate() {
            gate.open();
            while got.len() < (number + 1) * size {
                if count > 0 {
                    assert_eq!(client.take(2), b"\r\n");
                }
                let length = client.take_chunk_size();
                assert!(length > 0, "the end came after {} bytes", got.len());
                got.extend_from_slice(&client.take(length));
                count += 1;
            }
        }
        assert_eq!(client.take(7), b"\r\n0\r\n\r\n");
        assert!(got == body, "{parts} parts of {size}");
        assert!(count >= parts, "{count} chunks for {parts} parts");
    }
}

#[test]
fn a_chunk_made_of_a_body_until_close_is_complete_before_the_next_one_comes() {
    let gate = Gate::new();
    let server = {
        let gate = gate.clone();
        Server::script(move |mut conn: Conn| {
            conn.request();
            conn.send("HTTP/1.0 200 OK\r\n\r\n");
            conn.send("event");
            gate.wait();
        })
    };
    let clearway = Clearway::over(&[server.address()], "");
    let mut client = clearway.client();
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    client.response_head();
    assert_eq!(client.take(8), b"5\r\nevent");
    // Clients that hand on whole chunks would otherwise see each event with the next one only.
    assert!(client.hears_within(LIMIT / 4), "the chunk is not closed");
    assert_eq!(client.take(2), b"\r\n");
    gate.open();
    assert_eq!(client.take(5), b"0\r\n\r\n");
}

#[test]
fn a_dripped_body_until_close_is_whole() {
    for length in [1, 10, 2_000] {
        let body = pattern(length);
        let server = {
            let body = body.clone();
            Server::script(move |mut conn: Conn| {
                conn.request();
                conn.send("HTTP/1.0 200 OK\r\n\r\n");
                conn.drip(&body, Duration::ZERO);
            })
        };
        let clearway = Clearway::over(&[server.address()], "");
        let response = clearway.get("/");
        assert_eq!(response.end, End::Complete);
        assert!(response.body == body, "{length}");
    }
}

#[test]
fn an_http_1_0_client_gets_a_body_until_close_as_it_is() {
    let body = pattern(100_000);
    let mut answer = b"HTTP/1.0 200 OK\r\n\r\n".to_vec();
    answer.extend_from_slice(&body);
    let server = Server::script(behave::answer_and_close(answer));
    let clearway = Clearway::over(&[server.address()], "");
    let mut client = clearway.client();
    client.send("GET / HTTP/1.0\r\n\r\n");
    let head = client.response_head();
    assert!(!head.headers.has("transfer-encoding"));
    let (bytes, end) = client.read_to_end();
    assert!(bytes == body);
    assert_eq!(end, End::UntilClose);
}

/// A chunked body that may be cut at any of its bytes.
const CHUNKED: &str = "5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nX-Trailer: 1\r\n\r\n";

#[test]
fn a_chunked_response_may_come_in_two_segments_cut_anywhere() {
    for cut in 1..CHUNKED.len() {
        let (before, after) = CHUNKED.split_at(cut);
        let gate = Gate::new();
        let server = {
            let gate = gate.clone();
            Server::script(move |mut conn: Conn| {
                while conn.request().is_some() {
                    conn.send(format!(
                        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{before}"
                    ));
                    gate.wait();
                    conn.send(after);
                }
            })
        };
        let clearway = Clearway::over(&[server.address()], "");
        let mut client = clearway.client();
        client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
        client.response_head();
        // What came through shows that the first segment was read for itself.
        let mut body = Vec::new();
        for word in ["hello", "world"] {
            if before.contains(word) {
                body.extend_from_slice(&client.take_through(word.as_bytes()));
            }
        }
        gate.open();
        body.extend_from_slice(&client.take_through(b"\r\n\r\n"));
        let body = String::from_utf8(body).unwrap();
        assert!(body.ends_with("\r\n0\r\nX-Trailer: 1\r\n\r\n"), "{body:?}");
        let data: String = body.split("\r\n").skip(1).step_by(2).collect();
        assert!(
            data.starts_with("hello world"),
            "{before:?}, {after:?}: {body:?}"
        );
        let again = client.get("/");
        assert_eq!(again.text(), "hello world", "{before:?}, {after:?}");
        assert_eq!(server.connections(), 1, "the connection is used again");
        assert!(clearway.faults().is_empty());
    }
}

#[test]
fn a_chunked_request_may_come_in_two_segments_cut_anywhere() {
    let server = Server::script(|mut conn: Conn| {
        while let Some(mut request) = conn.request_head() {
            conn.note(&request.target);
            conn.request_body(&mut request);
            let body = String::from_utf8(request.body).unwrap();
            conn.send(behave::response(200, &body));
        }
    });
    let clearway = Clearway::over(&[server.address()], "");
    let mut client = clearway.client();
    for cut in 1..CHUNKED.len() {
        let (before, after) = CHUNKED.split_at(cut);
        client.send(format!(
            "POST /{cut} HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n{before}"
        ));
        // The head at the server shows that the first segment was read for itself.
        server.wait_note(&format!("/{cut}"));
        client.send(after);
        let response = client.response("POST");
        assert_eq!(response.text(), "hello world", "{before:?}, {after:?}");
    }
    assert_eq!(server.connections(), 1);
    assert!(clearway.faults().is_empty());
}

#[test]
fn an_upgraded_connection_is_a_tunnel() {
    let server = Server::script(behave::upgrade_echo("websocket"));
    let clearway = Clearway::over(&[server.address()], "");
    let mut client = clearway.client();
    client.send(
        "GET /chat HTTP/1.1\r\nHost: test\r\nConnection: keep-alive, Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    let response = client.response_head();
    assert_eq!(response.status, 101);
    assert!(response.headers.lists("connection", "upgrade"));
    assert_eq!(response.header("upgrade"), Some("websocket"));
    for message in ["ping", "GET / HTTP/1.1\r\n\r\n", "\0\u{1}binary"] {
        client.send(message);
        assert_eq!(client.take(message.len()), message.as_bytes());
    }
    let big = pattern(50_000);
    client.send(&big);
    assert_eq!(client.take(50_000), big);
    client.half_close();
    client.expect_closed();
    server.wait_ended(1);
    assert!(server.only().headers.has("sec-websocket-key"));
}

#[test]
fn bytes_sent_right_behind_an_upgrade_are_not_lost() {
    let server = Server::script(behave::upgrade_echo("chat"));
    let clearway = Clearway::over(&[server.address()], "");
    let mut client = clearway.client();
    client
        .send("GET / HTTP/1.1\r\nHost: test\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\nearly");
    assert_eq!(client.response_head().status, 101);
    assert_eq!(client.take(5), b"early");
}

#[test]
fn a_refused_upgrade_leaves_plain_http() {
    let server = Server::script(behave::ok("no upgrade"));
    let clearway = Clearway::over(&[server.address()], "");
    let mut client = clearway.client();
    for _ in 0..2 {
        let response = client.get_with("/", "Connection: upgrade\r\nUpgrade: chat\r\n");
        assert_eq!(
            (response.status, response.text().as_str()),
            (200, "no upgrade")
        );
    }
}

#[test]
fn an_answer_in_the_middle_of_an_upload_reaches_the_client() {
    let server = Server::script(behave::answer_early(
        "HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig",
    ));
    let clearway = Clearway::over(&[server.address()], "");
    let mut client = clearway.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 50000000\r\n\r\n");
    client.send(vec![b'x'; 100_000]);
    // The rest is never sent: a client that waited for the end of its upload would wait for ever.
    let response = client.response("POST");
    assert_eq!((response.status, response.text().as_str()), (413, "big"));
    assert!(clearway.faults().is_empty(), "{:?}", clearway.faults());
}

#[test]
fn an_answer_followed_by_a_reset_during_an_upload_is_not_lost() {
    let server = Server::script(|mut conn| {
        conn.request_head();
        conn.send("HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig");
        // Closing with unread bytes makes the kernel send a reset.
    });
    let clearway = Clearway::over(&[server.address()], "");
    let mut client = clearway.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000\r\n\r\n");
    for _ in 0..10 {
        if !client.try_send(vec![b'x'; 100_000]) {
            break;
        }
    }
    let response = client.response("POST");
    assert_eq!((response.status, response.text().as_str()), (413, "big"));
}

#[test]
fn a_client_that_ended_its_side_gets_its_response() {
    let gate = Gate::new();
    let server = Server::script(behave::gated(&gate, "late"));
    let clearway = Clearway::over(&[server.address()], "");
    let mut client = clearway.client();
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    client.half_close();
    server.wait_requests(1);
    gate.open();
    assert_eq!(client.response("GET").text(), "late");
    client.expect_closed();
}

#[test]
fn large_bodies_pass_unharmed_both_ways() {
    let server = Server::script(behave::echo_body());
    let clearway = Clearway::over(&[server.address()], "");
    for length in [1, 16_383, 16_384, 65_537, 8 << 20] {
        let body = pattern(length);
        let mut client = clearway.client();
        let response = std::thread::scope(|scope| {
            client.send(format!(
                "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n"
            ));
            client.send(&body);
            scope.spawn(move || client.response("POST")).join()
        })
        .unwrap();
        assert_eq!(response.end, End::Complete, "{length}");
        assert!(response.body == body, "{length} bytes came back changed");
    }
}

#[test]
fn large_chunked_bodies_pass_unharmed_both_ways() {
    let server = Server::script(|mut conn| {
        while let Some(request) = conn.request() {
            conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            for chunk in request.body.chunks(70_001) {
                conn.send(format!("{:X}\r\n", chunk.len()));
                conn.send(chunk);
                conn.send("\r\n");
            }
            conn.send("0\r\n\r\n");
        }
    });
    let clearway = Clearway::over(&[server.address()], "");
    let body = pattern(3 << 20);
    let mut client = clearway.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n");
    for chunk in body.chunks(9_973) {
        client.send(format!("{:x}\r\n", chunk.len()));
        client.send(chunk);
        client.send("\r\n");
    }
    client.send("0\r\n\r\n");
    let response = client.response("POST");
    assert_eq!(response.end, End::Complete);
    assert!(response.body == body);
}

#[test]
fn a_slow_reader_loses_nothing_and_holds_the_server_back() {
    let body = pattern(64 << 20);
    let length = body.len();
    let (answer, expected) = (body.clone(), body);
    let server = Server::script(move |mut conn| {
        conn.request();
        conn.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"
        ));
        conn.send(&answer);
        conn.note("all sent");
        conn.drain();
    });
    let clearway = Clearway::over(&[server.address()], "");
    let mut client = clearway.client();
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    let mut head = client.response_head();
    clearway_testkit::wait::elapse(clearway_testkit::wait::SHORT);
    assert!(
        server.notes().is_empty(),
        "64 MiB were buffered for a client that does not read"
    );
    client.response_body("GET", &mut head);
    assert_eq!(head.end, End::Complete);
    assert!(head.body == expected);
}

#[test]
fn a_slow_server_is_waited_for() {
    let server = Server::script(behave::drip(
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nX-Slow: yes\r\n\r\ndrip",
        Duration::from_millis(1),
    ));
    let clearway = Clearway::over(&[server.address()], "");
    let response = clearway.get("/");
    assert_eq!(
        (response.text().as_str(), response.header("x-slow")),
        ("drip", Some("yes"))
    );
}

#[test]
fn a_slow_client_is_understood() {
    let server = Server::script(behave::echo_body());
    let clearway = Clearway::over(&[server.address()], "");
    let mut client = clearway.client();
    let sent =
        "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nslow\r\n0\r\n\r\n";
    client.drip(sent, Duration::from_millis(1));
    assert_eq!(client.response("POST").text(), "slow");
}

#[test]
fn targets_reach_the_server_in_origin_form() {
    let server = Server::script(behave::ok("x"));
    let clearway = Clearway::over(&[server.address()], "");
    let mut client = clearway.client();
    client.send("GET http://test/a%20b/../c?q=1&q=%2F HTTP/1.1\r\nHost: test\r\n\r\n");
    client.response("GET");
    client.send("OPTIONS * HTTP/1.1\r\nHost: test\r\n\r\n");
    client.response("OPTIONS");
    client.send("GET //double?//x HTTP/1.1\r\nHost: test\r\n\r\n");
    client.response("GET");
    let targets: Vec<String> = server.seen().into_iter().map(|r| r.target).collect();
    assert_eq!(targets, ["/a%20b/../c?q=1&q=%2F", "*", "//double?//x"]);
    assert!(
        server
            .seen()
            .iter()
            .all(|r| r.header("host") == Some("test"))
    );
}

#[test]
fn end_to_end_headers_pass_in_order_and_hop_by_hop_ones_do_not() {
    let server = Server::script(behave::answer(
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\
         Connection: X-Private\r\nX-Private: 1\r\nKeep-Alive: timeout=5\r\nX-Public: 2\r\n\r\n",
    ));
    let clearway = Clearway::over(&[server.address()], "");
    let mut client = clearway.client();
    let response = client.get_with(
        "/",
        "Accept: a\r\nX-One: 1\r\nAccept: b\r\nConnection: X-Hop, keep-alive\r\nX-Hop: 1\r\n\
         Keep-Alive: timeout=9\r\nProxy-Connection: keep-alive\r\nTE: trailers\r\nX-Two: \r\n",
    );
    assert_eq!(response.headers.all("set-cookie"), ["a=1", "b=2"]);
    assert_eq!(response.header("x-public"), Some("2"));
    for name in ["x-private", "keep-alive"] {
        assert!(
            !response.headers.has(name),
            "{name}: {:?}",
            response.headers
        );
    }
    let request = server.only();
    assert_eq!(request.headers.all("accept"), ["a", "b"]);
    assert_eq!(request.header("x-one"), Some("1"));
    assert_eq!(request.header("x-two"), Some(""));
    for name in ["x-hop", "keep-alive", "proxy-connection", "upgrade"] {
        assert!(!request.headers.has(name), "{name}: {}", request.text());
    }
}

#[test]
fn unusual_methods_pass() {
    let server = Server::script(behave::ok("x"));
    let clearway = Clearway::over(&[server.address()], "");
    let mut client = clearway.client();
    for method in ["PROPFIND", "M-SEARCH", "DELETE", "PATCH", "PURGE"] {
        client.send(format!("{method} / HTTP/1.1\r\nHost: test\r\n\r\n"));
        assert_eq!(client.response(method).status, 200);
    }
    let methods: Vec<String> = server.seen().into_iter().map(|r| r.method).collect();
    assert_eq!(
        methods,
        ["PROPFIND", "M-SEARCH", "DELETE", "PATCH", "PURGE"]
    );
}

#[test]
fn unusual_statuses_pass() {
    for status in [200, 299, 302, 404, 418, 451, 503, 599] {
        let server = Server::script(behave::status(status));
        let clearway = Clearway::over(&[server.address()], "");
        let response = clearway.get("/");
        assert_eq!(response.status, status);
        assert_eq!(response.reason, "Scripted");
        assert!(
            !response.headers.has("proxy-status"),
            "the server's own answer"
        );
    }
}

#[test]
fn a_server_that_announces_its_close_is_not_used_again() {
    let server = Server::script(behave::answer_and_close(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
    ));
    let clearway = Clearway::over(&[server.address()], "");
    let mut client = clearway.client();
    for _ in 0..5 {
        let response = client.get("/");
        assert_eq!(response.text(), "ok");
        assert!(
            !response.closes(),
            "the client's connection is another matter"
        );
    }
    assert_eq!(server.connections(), 5);
    assert!(clearway.faults().is_empty());
}

#[test]
fn unix_sockets_work_on_both_sides() {
    let server = Server::script_unix(behave::ok("unix"));
    let clearway = Clearway::setup(
        "[listener.web]\nbind = \"unix:$DIR/web.sock\"\n[backend.app]\nservers = [\"$A\"]\n",
    )
    .set("A", server.address())
    .start();
    let path = format!("unix:{}", clearway.file("web.sock"));
    assert_eq!(Client::connect(&path).get("/").text(), "unix");
}

#[test]
fn ipv6_works_on_both_sides() {
    let server = Server::script_at("[::1]:0", behave::ok("six"));
    let clearway = Clearway::setup(
        "[listener.web]\nbind = [\"[::1]:0\", \"127.0.0.1:0\"]\n[backend.app]\nservers = [\"$A\"]\n",
    )
    .set("A", server.address())
    .start();
    let addresses = clearway.addresses("web");
    assert_eq!(addresses.len(), 2, "{addresses:?}");
    for address in addresses {
        assert_eq!(Client::connect(address).get("/").text(), "six");
    }
}

#[test]
fn a_connection_that_carried_a_large_response_is_used_again() {
    for length in [16 << 10, 64 << 10, 1 << 20, 3 << 20] {
        let body = pattern(length);
        let text = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        let answer = [text.as_bytes(), &body].concat();
        let server = Server::script(move |mut conn: Conn| {
            while conn.request().is_some() {
                conn.send(&answer);
            }
        });
        let clearway = Clearway::over(&[server.address()], "");
        let mut client = clearway.client();
        for _ in 0..5 {
            assert!(client.get("/").body == body);
        }
        assert_eq!(server.connections(), 1, "{length} bytes");
    }
}
