//! Connections, methods, targets and fields of HTTP/1 as clients and servers see them.

use clearway_testkit::{Clearway, Client, Server, behave};

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
