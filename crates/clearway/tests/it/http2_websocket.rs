//! WebSocket over HTTP/2 by extended CONNECT (RFC 8441), through the real program.

use clearway_testkit::h2::{
    Block, Frame, Play, RawClient, Reply, Step, Stop, behave as h2, code, setting,
};
use clearway_testkit::process::{output, program};
use clearway_testkit::wait::LIMIT;
use clearway_testkit::{Authority, Clearway, Conn, Server, TlsServer, behave};
use std::process::Command;

/// Opens a stream for a WebSocket.
fn open(client: &mut RawClient, path: &str) -> u32 {
    let block = Block::of(&[
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "test"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-protocol", "chat"),
        ("origin", "http://test"),
    ]);
    client.open(&block, false)
}

/// Waits for the head of the answer; its status.
fn status(client: &mut RawClient, stream: u32) -> u16 {
    let came = client.wait(LIMIT, |c| c.answer(stream).head.is_some());
    assert!(came, "{}", client.state("a head"));
    let answer = client.answer(stream);
    assert_eq!(answer.broken, None);
    answer.status().unwrap_or(0)
}

/// Waits for so many bytes of the tunnel, and gives what came.
fn bytes(client: &mut RawClient, stream: u32, count: usize) -> Vec<u8> {
    let came = client.wait(LIMIT, |c| c.answer(stream).body.len() >= count);
    assert!(came, "{}", client.state(&format!("{count} bytes")));
    client.answer(stream).body
}

#[test]
fn a_websocket_over_http2_is_an_upgrade_for_the_server() {
    let server = Server::script(behave::upgrade_echo("websocket"));
    let clearway = Clearway::over(&[server.address()], "");
    let mut client = RawClient::connect(clearway.address("web"));
    assert_eq!(client.setting(setting::ENABLE_CONNECT_PROTOCOL), Some(1));
    let stream = open(&mut client, "/chat?room=1");
    assert_eq!(status(&mut client, stream), 200);
    let head = client.answer(stream).head.unwrap();
    assert!(!head.has("sec-websocket-accept"), "{head:?}");
    let request = server.only();
    assert_eq!(
        (request.method.as_str(), request.target.as_str()),
        ("GET", "/chat?room=1")
    );
    assert!(request.headers.lists("connection", "upgrade"));
    assert_eq!(request.header("upgrade"), Some("websocket"));
    assert_eq!(request.header("sec-websocket-version"), Some("13"));
    assert_eq!(request.header("sec-websocket-protocol"), Some("chat"));
    assert_eq!(request.header("origin"), Some("http://test"));
    // Sixteen bytes in base64 (RFC 6455 section 4.1).
    let key = request.header("sec-websocket-key").unwrap();
    assert!(key.len() == 24 && key.ends_with("=="), "{key}");
    assert!(!request.headers.has(":protocol"));
    for (sent, sum) in [("hello", "hello"), (" and on", "hello and on")] {
        client.body(stream, sent.as_bytes(), false);
        assert_eq!(bytes(&mut client, stream, sum.len()), sum.as_bytes());
    }
    // The client's end is the server's, whose own comes back.
    client.body(stream, b", bye", true);
    let whole = client.expect_response(stream);
    assert_eq!(whole.text(), "hello and on, bye");
    server.wait_ended(1);
    let record = clearway.access(|r| r["target"] == "/chat?room=1");
    assert_eq!(record["protocol"], "HTTP/2.0");
    assert_eq!(record["status"], 101);
    assert!(record.get("fault").is_none(), "{record:#}");
    // The connection goes on.
    assert_eq!(client.get("/").status, 426);
}

#[test]
fn websockets_of_one_connection_move_much_at_once() {
    let server = Server::script(behave::upgrade_echo("websocket"));
    let clearway = Clearway::over(&[server.address()], "");
    let mut client = RawClient::connect(clearway.address("web"));
    let streams = [0, 1, 2].map(|_| open(&mut client, "/"));
    for stream in streams {
        assert_eq!(status(&mut client, stream), 200);
    }
    let sent = behave::pattern(300_000);
    for (at, stream) in streams.into_iter().enumerate() {
        client.body(stream, &sent[at * 1_000..], true);
    }
    for (at, stream) in streams.into_iter().enumerate() {
        let whole = client.expect_response(stream);
        assert!(whole.body == sent[at * 1_000..], "{}", whole.body.len());
    }
}

#[test]
fn the_end_of_the_server_ends_the_stream() {
    let server = Server::script(|mut conn| {
        conn.request_head();
        conn.send("HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nnow");
        conn.take(5);
        conn.send(", bye");
        conn.half_close();
        conn.drain();
    });
    let clearway = Clearway::over(&[server.address()], "");
    let mut client = RawClient::connect(clearway.address("web"));
    let stream = open(&mut client, "/");
    assert_eq!(bytes(&mut client, stream, 3), b"now");
    client.body(stream, b"hello", false);
    assert_eq!(client.expect_response(stream).text(), "now, bye");
    // Our direction is still open.
    client.body(stream, b" late", true);
    server.wait_ended(1);
    assert_eq!(server.bytes(), b" late");
}

#[test]
fn a_reset_of_either_side_is_told_to_the_other() {
    let client_resets = Server::script(behave::upgrade_echo("websocket"));
    let clearway = Clearway::over(&[client_resets.address()], "");
    let mut client = RawClient::connect(clearway.address("web"));
    let (lost, kept) = (open(&mut client, "/lost"), open(&mut client, "/kept"));
    assert_eq!(status(&mut client, lost), 200);
    assert_eq!(status(&mut client, kept), 200);
    client.send(&Frame::reset(lost, code::CANCEL));
    client_resets.wait_ended(1);
    let fault = clearway.fault_with("tunnel_client_reset");
    assert_eq!(fault.json["target"], "/lost");
    assert_eq!(fault.json["h2_code_name"], "CANCEL", "{:#}", fault.json);
    client.body(kept, b"still", true);
    assert_eq!(client.expect_response(kept).text(), "still");

    let server_resets = Server::script(|mut conn| {
        conn.request_head();
        conn.send("HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
        conn.take(5);
        conn.reset();
    });
    let clearway = Clearway::over(&[server_resets.address()], "");
    let mut client = RawClient::connect(clearway.address("web"));
    let stream = open(&mut client, "/");
    assert_eq!(status(&mut client, stream), 200);
    client.body(stream, b"hello", false);
    let over = client.wait(LIMIT, |c| c.answer(stream).is_over());
    assert!(
        over && !client.answer(stream).ended,
        "{}",
        client.state("a reset")
    );
    let fault = clearway.fault_with("tunnel_server_reset");
    assert_eq!(fault.json["errno_name"], "ECONNRESET");
    assert!(client.ping_works(LIMIT));
}

#[test]
fn a_server_that_refuses_is_heard() {
    let server = Server::script(|mut conn| {
        while conn.request_head().is_some() {
            conn.send(behave::response(403, "not you"));
        }
    });
    let clearway = Clearway::over(&[server.address()], "");
    let mut client = RawClient::connect(clearway.address("web"));
    let stream = open(&mut client, "/");
    assert_eq!(status(&mut client, stream), 403);
    assert_eq!(client.expect_response(stream).text(), "not you");
    assert_eq!(clearway.access(|r| r["status"] == 403)["method"], "GET");
    assert_eq!(client.get("/").status, 403);
    assert_eq!(client.stopped, None::<Stop>);
}

#[test]
fn success_without_a_switch_does_not_pass_for_a_websocket() {
    // For HTTP/1.1 any status but 101 is a refusal; for HTTP/2 200 is consent (RFC 8441 section 5).
    let server = Server::script(behave::ok("<p>What upgrade?"));
    let clearway = Clearway::over(&[server.address()], "");
    let mut client = RawClient::connect(clearway.address("web"));
    let stream = open(&mut client, "/");
    assert_eq!(status(&mut client, stream), 502);
    let response = client.expect_response(stream);
    assert!(!response.text().contains("upgrade?"), "{}", response.text());
    let fault = clearway.fault(&response.id());
    assert_eq!(fault.code(), "upgrade_ignored");
    assert_eq!(fault.attempts()[0]["status"], 200);
    let words = clearway.words(&response.id());
    assert!(words.contains("without switching"), "{words}");
    assert_eq!(client.get("/").text(), "<p>What upgrade?");
}

/// A server that takes WebSockets over HTTP/2, says `now` and sends back what it gets.
fn offers() -> Server {
    let play = Play::default().with(setting::ENABLE_CONNECT_PROTOCOL, 1);
    Server::script(h2::replies(play, |_, request| {
        match request.header(":protocol") {
            Some("websocket") if request.target == "/chat" => Reply::new()
                .head(200, &[("x-by", "frames")])
                .data("now")
                .step(Step::Echo),
            Some(_) => Reply::new().head(403, &[]).last("not you"),
            None => Reply::ok("no upgrade"),
        }
    }))
}

const H2: &str = "protocol = \"h2\"\ntimeouts = { connect = \"500ms\" }\nretries = { max = 0 }";
const UPGRADE: &str = "Host: test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

#[test]
fn servers_of_http2_get_websockets_as_extended_connects() {
    let server = offers();
    let clearway = Clearway::over(&[server.address()], H2);
    let mut client = RawClient::connect(clearway.address("web"));
    let stream = open(&mut client, "/chat");
    assert_eq!(status(&mut client, stream), 200);
    assert_eq!(bytes(&mut client, stream, 3), b"now");
    client.body(stream, b" hello", true);
    assert_eq!(client.expect_response(stream).text(), "now hello");
    // From a client of HTTP/1.1, who has sent a key and wants its answer (RFC 6455 section 1.3).
    let mut client = clearway.client();
    client.send(format!("GET /chat HTTP/1.1\r\n{UPGRADE}"));
    let response = client.response_head();
    assert_eq!(response.status, 101);
    assert_eq!(response.header("upgrade"), Some("websocket"));
    assert_eq!(response.header("x-by"), Some("frames"));
    let accept = response.header("sec-websocket-accept");
    assert_eq!(accept, Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    client.send(" hello").half_close();
    assert_eq!(client.read_to_end().0, b"now hello");
    let requests = server.wait_requests(2);
    for request in requests {
        assert_eq!(
            (request.method.as_str(), request.target.as_str()),
            ("CONNECT", "/chat")
        );
        assert_eq!(request.header("sec-websocket-version"), Some("13"));
        for name in [
            "connection",
            "upgrade",
            "sec-websocket-key",
            "content-length",
        ] {
            assert!(!request.headers.has(name), "{request:?}");
        }
    }
    // A refusal is one, and other requests are not touched.
    let mut client = RawClient::connect(clearway.address("web"));
    let stream = open(&mut client, "/other");
    assert_eq!(client.expect_response(stream).text(), "not you");
    assert_eq!(client.get("/").text(), "no upgrade");
    assert_eq!(clearway.faults().len(), 0, "{:#?}", clearway.faults());
}

#[test]
fn a_server_of_http2_without_websockets_is_not_asked_for_one() {
    let server = Server::script(h2::ok("x"));
    let silent = Server::script(h2::silent());
    for (server, code) in [
        (&server, "upgrade_unsupported"),
        (&silent, "connect_timeout"),
    ] {
        let clearway = Clearway::over(&[server.address()], H2);
        let mut client = RawClient::connect(clearway.address("web"));
        let stream = open(&mut client, "/");
        let response = client.expect_response(stream);
        assert!([502, 504].contains(&response.status), "{response:?}");
        assert_eq!(clearway.fault(&response.id()).code(), code);
        let mut client = clearway.client();
        client.send(format!("GET /chat HTTP/1.1\r\n{UPGRADE}"));
        let response = client.response("GET");
        assert_eq!(clearway.fault(&response.id()).code(), code);
        // Nothing but the preface.
        let seen = server.seen();
        assert!(seen.iter().all(|r| r.method == "PRI"), "{seen:?}");
    }
}

#[test]
fn where_both_versions_are_offered_websockets_take_the_older() {
    let root = Authority::new("root");
    let tls = TlsServer::with(&root.issue(&["app.test"])).alpn(&["h2", "http/1.1"]);
    let server = tls.script(|conn: Conn| match conn.handshake() {
        Ok(agreed) if agreed.alpn.as_deref() == Some("h2") => h2::ok("in frames")(conn),
        Ok(_) => behave::upgrade_echo("websocket")(conn),
        Err(_) => {}
    });
    let backend = "protocol = \"auto\"\ntls = { ca = \"$DIR/ca.pem\", server_name = \"app.test\" }";
    let text = clearway_testkit::clearway::simple(&[server.address()], backend);
    let clearway = Clearway::setup(&text)
        .with_file("ca.pem", &root.pem())
        .start();
    let mut client = RawClient::connect(clearway.address("web"));
    for _ in 0..2 {
        assert_eq!(client.get("/").text(), "in frames");
        let stream = open(&mut client, "/");
        assert_eq!(status(&mut client, stream), 200);
        client.body(stream, b"hello", true);
        assert_eq!(client.expect_response(stream).text(), "hello");
    }
}

/// A server that shows what it gets; with `tunnels` it takes WebSockets over HTTP/2.
fn shows(tunnels: bool) -> impl Fn(Conn) + Send + Sync + 'static {
    let play = Play::default().with(setting::ENABLE_CONNECT_PROTOCOL, u32::from(tunnels));
    h2::replies(play, |_, request| {
        let fields = ["upgrade", "connection", "http2-settings", ":protocol"];
        let is_plain = fields.iter().all(|name| !request.headers.has(name));
        match (request.method.as_str(), is_plain) {
            ("POST", true) => Reply::echo(),
            ("GET", true) => Reply::ok("in frames"),
            _ => Reply::status(400, "an upgrade"),
        }
    })
}

#[test]
fn a_wish_for_another_protocol_is_ignored_where_a_server_speaks_http2() {
    let root = Authority::new("root");
    let tls = TlsServer::with(&root.issue(&["app.test"])).alpn(&["h2", "http/1.1"]);
    let agreed = tls.script(|conn: Conn| match conn.handshake() {
        Ok(agreed) if agreed.alpn.as_deref() == Some("h2") => shows(false)(conn),
        Ok(_) | Err(_) => behave::ok("not in frames")(conn),
    });
    let auto = "protocol = \"auto\"\ntls = { ca = \"$DIR/ca.pem\", server_name = \"app.test\" }";
    let (without, with) = (Server::script(shows(false)), Server::script(shows(true)));
    for (server, backend) in [(&without, H2), (&with, H2), (&agreed, auto)] {
        let text = clearway_testkit::clearway::simple(&[server.address()], backend);
        let clearway = Clearway::setup(&text)
            .with_file("ca.pem", &root.pem())
            .start();
        let url = format!("http://{}/", clearway.address("web"));
        // On a connection without TLS curl asks for HTTP/2 by an upgrade.
        let curl = |arguments: &[&str]| {
            let mut curl = Command::new(program("curl", "curl"));
            let base = ["-s", "-S", "--noproxy", "*", "--http2", "--fail-with-body"];
            output(curl.args(base).args(arguments).arg(&url))
        };
        assert_eq!(curl(&[]), "in frames", "{backend}");
        assert_eq!(curl(&["--data", "twice"]), "twice", "{backend}");
        for asked in ["tcp", "websocket, h2c", "websocket/13"] {
            let mut client = clearway.client();
            client.send(format!(
                "POST / HTTP/1.1\r\nHost: test\r\nConnection: upgrade\r\nUpgrade: {asked}\r\n\
                 Content-Length: 4\r\n\r\nbody"
            ));
            let response = client.response("POST");
            assert_eq!((response.status, response.text().as_str()), (200, "body"));
            assert_eq!(client.get("/").text(), "in frames");
        }
        assert!(clearway.faults().is_empty(), "{:?}", clearway.faults());
    }
}
