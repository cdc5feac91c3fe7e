//! HTTP/1 beyond one request and one response: interim responses, upgrades, early answers, half-close.

use clearway_testkit::{Clearway, Gate, Server, behave};

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
    let big = behave::pattern(50_000);
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
