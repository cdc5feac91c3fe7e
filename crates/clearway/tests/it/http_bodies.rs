//! Bodies of HTTP/1 both ways: chunked, until the end of the connection, large and slow.

use std::time::Duration;

use clearway_testkit::wait::LIMIT;
use clearway_testkit::{Clearway, Client, Conn, End, Gate, Server, behave};

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
    let body = behave::pattern(300_000);
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
            let body = behave::pattern(length);
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
        let body = behave::pattern(parts * size);
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
        let body = behave::pattern(length);
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
    let body = behave::pattern(100_000);
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
fn large_bodies_pass_unharmed_both_ways() {
    let server = Server::script(behave::echo_body());
    let clearway = Clearway::over(&[server.address()], "");
    for length in [1, 16_383, 16_384, 65_537, 8 << 20] {
        let body = behave::pattern(length);
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
    let body = behave::pattern(3 << 20);
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
    let body = behave::pattern(64 << 20);
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
fn a_connection_that_carried_a_large_response_is_used_again() {
    for length in [16 << 10, 64 << 10, 1 << 20, 3 << 20] {
        let body = behave::pattern(length);
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
