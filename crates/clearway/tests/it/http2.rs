//! HTTP/2 through the real program where connections and streams end before their time.

use clearway_testkit::clearway::simple;
use clearway_testkit::h2::{
    Block, Frame, Last, Peer, Play, RawClient, Reply, Step, behave as h2, code,
};
use clearway_testkit::wait::{LIMIT, SHORT};
use clearway_testkit::{Authority, Clearway, Conn, End, Gate, Server, TlsServer, behave};

const H2: &str = "protocol = \"h2\"";

#[test]
fn what_a_goaway_excludes_is_repeated_on_another_connection() {
    let server = Server::script(h2::goaway_after(1, Last::Before, code::NO_ERROR, "fine"));
    // One worker, so that there is one connection to the server.
    let clearway = Clearway::start(&one_worker(&[server.address()], H2));
    let mut client = RawClient::connect(clearway.address("web"));
    assert_eq!(client.get("/first").text(), "fine");
    // Not idempotent, and with a body: the server says that it has not worked on it.
    let response = client.post("/second", b"once");
    assert_eq!((response.status, response.text().as_str()), (200, "fine"));
    let record = clearway.access(|r| r["target"] == "/second");
    assert_eq!(record["retries"], 1);
    let first = &record["attempts"][0];
    assert_eq!(first["fault"], "server_goaway", "{record:#}");
    assert_eq!(first["h2_code_name"], "NO_ERROR");
    assert_eq!(first["goaway_last_stream"], 1);
    assert_eq!(record["attempts"][1]["status"], 200);
    assert_eq!(server.connections(), 2);
    let again = server.seen().into_iter().find(|r| r.connection == 1);
    assert_eq!(again.unwrap().body, b"once");
}

#[test]
fn rules_see_bodies_whose_length_is_not_told() {
    let server = Server::script(behave::echo_body());
    let clearway = Clearway::setup(
        "[listener.web]\nbind = \"127.0.0.1:0\"\nbackend = \"app\"\n[[listener.web.rule]]\n\
         read_body = { time = \"5s\" }\n[[listener.web.rule]]\n\
         when = { value = { of = \"body\", contains = [\"evil\"] } }\ndeny = 403\n\
         [backend.app]\nservers = [\"$A\"]\n",
    )
    .set("A", server.address())
    .start();
    let mut client = RawClient::connect(clearway.address("web"));
    assert_eq!(client.post("/", b"some evil words").status, 403);
    assert_eq!(client.post("/", b"good words").text(), "good words");
    assert_eq!(client.post("/", b"").status, 200);
    // More than is looked at goes on as it comes.
    let large = behave::pattern(200_000);
    assert_eq!(client.post("/", &large).body, large);
    assert_eq!(server.requests(), 3);
}

#[test]
fn connections_are_shared_by_requests_that_ask_for_the_same_name() {
    let root = Authority::new("root");
    let server = TlsServer::with(&root.issue(&["a.test", "b.test"])).alpn(&["h2"]);
    let server = server.script(|conn: Conn| {
        let Ok(agreed) = conn.handshake() else { return };
        h2::ok(agreed.server_name.as_deref().unwrap_or("none"))(conn);
    });
    let tls = "tls = { ca = \"$DIR/ca.pem\", server_name_from = \"header:x-n\" }";
    let text = one_worker(&[server.address()], &format!("{tls}\n{H2}"));
    let clearway = Clearway::setup(&text)
        .with_file("ca.pem", &root.pem())
        .start();
    let mut client = clearway.client();
    for name in ["a.test", "b.test", "a.test", "b.test"] {
        let response = client.get_with("/", &format!("X-N: {name}\r\n"));
        assert_eq!(response.text(), name);
    }
    assert_eq!(server.connections(), 2);
}

#[test]
fn requests_of_a_connection_share_what_it_keeps() {
    let server = Server::script(behave::ok("x"));
    let clearway = Clearway::setup(
        "[table.t]\nkey = \"ip\"\nstore = [\"conn_cnt\"]\n[listener.web]\nbind = \"127.0.0.1:0\"\n\
         backend = \"app\"\n[[listener.web.rule]]\nwhen = { not = { value = { of = \"var:sess.in\" } } }\n\
         set_request_headers = { x-first = \"1\" }\n[[listener.web.rule]]\n\
         set_variables = { \"sess.in\" = \"1\" }\n\
         track = [{ table = \"t\", key = \"client_ip\", until = \"connection\" }]\n\
         [backend.app]\nservers = [\"$A\"]\n",
    )
    .set("A", server.address())
    .start();
    let mut client = RawClient::connect(clearway.address("web"));
    for times in 1..4 {
        client.get("/");
        let seen = server.seen().pop().unwrap();
        assert_eq!(seen.header("x-first").is_some(), times == 1);
    }
}

#[test]
fn what_a_goaway_includes_is_finished_on_the_old_connection() {
    let gate = Gate::new();
    let opened = gate.clone();
    let server = Server::script(move |conn: Conn| {
        let number = conn.number;
        let Some(mut peer) = Peer::accept(conn, Play::default()) else {
            return;
        };
        let Some((first, _)) = peer.head() else {
            return;
        };
        if number == 0 {
            peer.head();
            let leave = Reply::new().goaway(Last::This, code::NO_ERROR);
            peer.play(first, &leave.wait(&opened));
        }
        peer.play(first, &Reply::ok(format!("connection {number}")));
        while peer.head().is_some() {}
    });
    let clearway = Clearway::start(&one_worker(&[server.address()], H2));
    let mut client = RawClient::connect(clearway.address("web"));
    let first = client.ask("/first");
    server.wait_requests(1);
    let second = client.ask("/second");
    // The second is answered while the first still runs.
    assert_eq!(client.expect_response(second).text(), "connection 1");
    assert!(!client.answer(first).is_over());
    gate.open();
    assert_eq!(client.expect_response(first).text(), "connection 0");
}

#[test]
fn what_is_lost_after_a_goaway_names_its_code_and_last_stream() {
    // It may have worked on the request, and goes.
    let gone = Reply::new()
        .goaway(Last::Is(5), code::INTERNAL_ERROR)
        .close();
    let server = Server::script(h2::answer(gone));
    let clearway = Clearway::start(&one_worker(&[server.address()], H2));
    let mut client = RawClient::connect(clearway.address("web"));
    let response = client.post("/", b"x");
    assert_eq!(response.status, 502, "{}", response.text());
    let fault = clearway.fault(&response.id());
    assert_eq!(
        fault.code(),
        "server_closed_no_response",
        "{:#}",
        fault.json
    );
    assert_eq!(
        fault.json["h2_code_name"], "INTERNAL_ERROR",
        "{:#}",
        fault.json
    );
    assert_eq!(fault.json["goaway_last_stream"], 5);
    let words = clearway.words(&response.id());
    assert!(
        words.contains("GOAWAY") && words.contains("INTERNAL_ERROR"),
        "{words}"
    );
}

#[test]
fn a_response_cut_after_a_goaway_is_reset_and_explained() {
    let cut = Reply::new().head(200, &[]).data("half");
    let cut = cut.goaway(Last::This, code::ENHANCE_YOUR_CALM).close();
    let server = Server::script(h2::answer(cut));
    let clearway = Clearway::start(&one_worker(&[server.address()], H2));
    let mut client = RawClient::connect(clearway.address("web"));
    let stream = client.ask("/");
    client.wait(LIMIT, |c| c.answer(stream).is_over());
    let answer = client.answer(stream);
    assert!(answer.reset.is_some() && !answer.ended, "{answer:?}");
    let fault = clearway.fault_with("response_body_short");
    assert_eq!(fault.json["h2_code_name"], "ENHANCE_YOUR_CALM");
    assert_eq!(fault.json["goaway_last_stream"], 1);
    assert_eq!(fault.attempts()[0]["no_retry"], "response-started");
}

#[test]
fn a_connection_that_ends_without_goaway_was_closed_not_reset() {
    let server = Server::script(h2::answer(Reply::new().close()));
    let clearway = Clearway::start(&one_worker(&[server.address()], H2));
    let mut client = RawClient::connect(clearway.address("web"));
    let response = client.get("/");
    assert_eq!(response.status, 502);
    let fault = clearway.fault(&response.id());
    assert_eq!(
        fault.code(),
        "server_closed_no_response",
        "{:#}",
        fault.json
    );
    assert!(fault.json.get("h2_code").is_none());

    let server = Server::script(h2::answer(Reply::new().abort()));
    let clearway = Clearway::start(&one_worker(&[server.address()], H2));
    let response = RawClient::connect(clearway.address("web")).get("/");
    let fault = clearway.fault(&response.id());
    assert_eq!(fault.code(), "server_reset_no_response", "{:#}", fault.json);
    assert_eq!(fault.json["errno_name"], "ECONNRESET");
}

#[test]
fn the_end_of_a_shared_connection_tells_nothing_about_one_request() {
    let server = Server::script(h2::replies(Play::default(), |_, request| {
        match request.target.as_str() {
            "/closes" => Reply::new().whole().close(),
            _ => Reply::ok("fine"),
        }
    }));
    let clearway = Clearway::start(&one_worker(&[server.address()], H2));
    let mut client = RawClient::connect(clearway.address("web"));
    assert_eq!(client.get("/").text(), "fine");
    let response = client.post("/closes", b"once");
    let fault = clearway.fault(&response.id());
    assert_eq!(fault.code(), "reused_closed", "{:#}", fault.json);
    assert_eq!(fault.attempts()[0]["no_retry"], "method-not-idempotent");
    let posts = server.seen();
    assert_eq!(posts.iter().filter(|r| r.method == "POST").count(), 1);
    // It was in use: how long servers keep idle connections does not follow from it.
    let closes = "clearway_server_idle_closes_total";
    assert!(clearway.metrics().has(closes, &[]));
    assert!(clearway.metrics().sum(closes, &[]) < 1.0);
}

#[test]
fn a_server_that_floods_has_broken_the_rules() {
    let flood = Frame::settings(&[]).bytes().repeat(1_000);
    let server = Server::script(h2::replies(Play::default(), move |_, request| {
        let reply = match request.target.as_str() {
            "/early" => Reply::new(),
            _ => Reply::new().head(200, &[]).data("half"),
        };
        reply.step(Step::Raw(flood.clone())).step(Step::Gone)
    }));
    let clearway = Clearway::start(&one_worker(&[server.address()], H2));
    let mut client = RawClient::connect(clearway.address("web"));
    let response = client.get("/early");
    assert_eq!(response.status, 502, "{}", response.text());
    let fault = clearway.fault(&response.id());
    assert_eq!(fault.code(), "server_h2_protocol_error", "{:#}", fault.json);
    let stream = client.ask("/late");
    client.wait(LIMIT, |c| c.answer(stream).is_over());
    let record = clearway.access(|r| r["target"] == "/late");
    assert_eq!(record["fault"], "server_h2_protocol_error", "{record:#}");
}

#[test]
fn a_refused_stream_is_tried_again_whatever_its_method() {
    let server = Server::script(h2::refuse(1, Reply::echo()));
    let clearway = Clearway::start(&one_worker(&[server.address()], H2));
    let mut client = RawClient::connect(clearway.address("web"));
    let response = client.post("/", b"once");
    assert_eq!((response.status, response.text().as_str()), (200, "once"));
    let record = clearway.access(|r| r["retries"] == 1);
    let first = &record["attempts"][0];
    assert_eq!(first["fault"], "server_refused_stream");
    assert_eq!(first["h2_code_name"], "REFUSED_STREAM");
    assert_eq!(
        server.connections(),
        1,
        "the connection is as good as before"
    );
}

#[test]
fn a_body_without_length_is_repeated_as_far_as_it_is_kept() {
    // What a client of HTTP/2 streams, such as one of gRPC, has no length.
    let refusing = Server::script(|mut conn: Conn| {
        while let Some(request) = conn.request() {
            let first = !request.headers.has("x-again") && conn.number == 0;
            conn.note(&format!("{} bytes", request.body.len()));
            conn.send(behave::response(if first { 503 } else { 200 }, "lines"));
            if first {
                return;
            }
        }
    });
    let retries =
        "retries = { on = [\"connect\", 503], methods = \"any\", body_buffer = \"8KiB\" }";
    let frames = Server::script(h2::refuse(2, Reply::echo()));
    for (server, backend) in [(&refusing, ""), (&frames, H2)] {
        let text = one_worker(&[server.address()], &format!("{backend}\n{retries}"));
        let clearway = Clearway::start(&text);
        let mut client = RawClient::connect(clearway.address("web"));
        let stream = client.begin("/small");
        let body = behave::pattern(8_192);
        for piece in body.chunks(3_000) {
            client.body(stream, piece, false);
            assert!(client.ping_works(LIMIT));
        }
        client.body(stream, b"", true);
        let response = client.expect_response(stream);
        assert_eq!(response.status, 200, "{}", response.text());
        let record = clearway.access(|r| r["target"] == "/small");
        assert!(record["retries"].as_u64() > Some(0), "{record:#}");
        let last = server.seen().pop().unwrap();
        assert!(last.body == body && last.end == End::Complete, "{last:?}");
    }
    // One byte more is not kept.
    let server = Server::script(h2::replies(Play::default(), |_, _| {
        Reply::new().whole().reset(code::REFUSED_STREAM)
    }));
    let text = one_worker(&[server.address()], &format!("{H2}\n{retries}"));
    let clearway = Clearway::start(&text);
    let mut client = RawClient::connect(clearway.address("web"));
    let response = client.post("/large", &behave::pattern(8_193));
    assert_eq!(response.status, 503);
    let fault = clearway.fault(&response.id());
    assert_eq!(fault.code(), "server_refused_stream");
    assert_eq!(fault.attempts()[0]["no_retry"], "body-sent");
}

#[test]
fn trailers_of_a_request_are_not_lost_by_a_repeat() {
    let server = Server::script(h2::replies(Play::default(), |_, _| {
        Reply::new().whole().reset(code::REFUSED_STREAM)
    }));
    let clearway = Clearway::start(&one_worker(&[server.address()], H2));
    let mut client = RawClient::connect(clearway.address("web"));
    for body in [&b""[..], b"some"] {
        let stream = client.begin("/");
        client.body(stream, body, false);
        let trailers = Block::of(&[("x-last", "1")]);
        client.send(&Frame::headers(stream, trailers, true));
        let response = client.expect_response(stream);
        assert_eq!(response.status, 503, "{}", response.text());
        let fault = clearway.fault(&response.id());
        assert_eq!(fault.attempts()[0]["no_retry"], "body-sent");
    }
    let seen = server.seen();
    assert!(seen.iter().all(|r| r.trailers.has("x-last")), "{seen:?}");
    assert_eq!(seen.len(), 2);
}

#[test]
fn a_stream_that_the_server_resets_is_a_fault_with_its_code() {
    let server = Server::script(h2::replies(Play::default(), |_, request| {
        match request.target.as_str() {
            "/early" => Reply::new().reset(code::INTERNAL_ERROR),
            "/late" => Reply::new()
                .head(200, &[])
                .data("half")
                .reset(code::INTERNAL_ERROR),
            _ => Reply::ok("fine"),
        }
    }));
    let clearway = Clearway::start(&one_worker(&[server.address()], H2));
    let mut client = RawClient::connect(clearway.address("web"));
    let response = client.get("/early");
    assert_eq!(response.status, 502);
    let fault = clearway.fault(&response.id());
    assert_eq!(fault.code(), "server_reset_stream");
    assert_eq!(fault.json["h2_code_name"], "INTERNAL_ERROR");
    assert_eq!(fault.json["phase"], "wait");
    let stream = client.ask("/late");
    client.wait(LIMIT, |c| c.answer(stream).is_over());
    let answer = client.answer(stream);
    assert!(answer.reset.is_some() && !answer.ended, "{answer:?}");
    let fault = clearway.fault_with("server_reset_stream");
    assert_eq!(fault.json["h2_code_name"], "INTERNAL_ERROR");
    // Neither side lost its connection.
    assert_eq!(client.get("/").text(), "fine");
    assert_eq!(server.connections(), 1);
}

#[test]
fn servers_of_another_version_are_told_apart() {
    for (server, backend, code) in [
        (Server::script(h2::http1_only()), H2, "server_speaks_http1"),
        (Server::script(behave::ok("x")), H2, "server_speaks_http1"),
        (Server::script(h2::ok("x")), "", "server_speaks_http2"),
    ] {
        let clearway = Clearway::start(&one_worker(&[server.address()], backend));
        let response = RawClient::connect(clearway.address("web")).get("/");
        assert_eq!(response.status, 502, "{code}");
        let fault = clearway.fault(&response.id());
        assert_eq!(fault.code(), code, "{:#}", fault.json);
        assert_eq!(fault.json["party"], "configuration");
    }
}

/// A server with TLS that speaks what was agreed on.
fn both(root: &Authority, alpn: &[&str]) -> Server {
    let tls = TlsServer::with(&root.issue(&["app.test"])).alpn(alpn);
    tls.script(|mut conn: Conn| {
        let Ok(agreed) = conn.handshake() else { return };
        if agreed.alpn.as_deref() == Some("h2") {
            h2::ok("in frames")(conn);
        } else {
            while conn.request().is_some() {
                conn.send(behave::response(200, "in lines"));
            }
        }
    })
}

#[test]
fn with_tls_the_version_is_agreed_on() {
    let root = Authority::new("root");
    let tls = "tls = { ca = \"$DIR/ca.pem\", server_name = \"app.test\" }";
    let over = |server: &Server, protocol: &str| {
        let text = one_worker(&[server.address()], &format!("{tls}\n{protocol}"));
        Clearway::setup(&text)
            .with_file("ca.pem", &root.pem())
            .start()
    };
    let auto = "protocol = \"auto\"";
    for (alpn, protocol, body) in [
        (&["h2", "http/1.1"][..], auto, "in frames"),
        (&["http/1.1"], auto, "in lines"),
        (&[], auto, "in lines"),
        (&["h2", "http/1.1"], H2, "in frames"),
        (&["h2", "http/1.1"], "", "in lines"),
    ] {
        let server = both(&root, alpn);
        let clearway = over(&server, protocol);
        let mut client = RawClient::connect(clearway.address("web"));
        for _ in 0..2 {
            let response = client.get("/");
            assert_eq!(response.text(), body, "{alpn:?} {protocol:?}");
        }
        assert_eq!(server.connections(), 1, "{alpn:?} {protocol:?}");
    }
    let server = both(&root, &["http/1.1"]);
    let clearway = over(&server, H2);
    let response = RawClient::connect(clearway.address("web")).get("/");
    assert_eq!(response.status, 502);
    let fault = clearway.fault(&response.id());
    assert_eq!(fault.code(), "server_refuses_http2", "{:#}", fault.json);
}

#[test]
fn an_empty_body_is_read_to_its_end() {
    let gate = Gate::new();
    // A length of nothing, and the end in a frame of its own.
    let reply = Reply::new().head(200, &[("content-length", "0")]);
    let server = Server::script(h2::answer(reply.wait(&gate).last("")));
    let clearway = Clearway::start(&one_worker(&[server.address()], H2));
    let mut lines = clearway.client();
    lines.send("GET /lines HTTP/1.1\r\nHost: test\r\n\r\n");
    // The client need not wait for it.
    assert_eq!(lines.response("GET").header("content-length"), Some("0"));
    gate.open();
    let mut frames = RawClient::connect(clearway.address("web"));
    assert_eq!(frames.get("/frames").body, b"");
    clearway.access(|r| r["target"] == "/frames");
    clearway.access(|r| r["target"] == "/lines");
    // Whatever else it was told had been said by now.
    assert_eq!(frames.get("/again").status, 200);
    assert_eq!(
        server.notes(),
        Vec::<String>::new(),
        "nothing was cancelled"
    );
}

#[test]
fn a_server_that_ends_tls_says_why_on_a_shared_connection_too() {
    let root = Authority::new("root");
    // In TLS 1.3 a server judges the client's certificate when the client thinks all is well.
    let server = TlsServer::with(&root.issue(&["app.test"])).alpn(&["h2"]);
    let server = server.only_13().demanding(&root).script(|conn: Conn| {
        conn.handshake().unwrap_err();
    });
    let tls = "tls = { ca = \"$DIR/ca.pem\", server_name = \"app.test\" }";
    let text = one_worker(&[server.address()], &format!("{tls}\n{H2}"));
    let clearway = Clearway::setup(&text)
        .with_file("ca.pem", &root.pem())
        .start();
    let response = RawClient::connect(clearway.address("web")).get("/");
    assert_eq!(response.status, 502);
    let fault = clearway.fault(&response.id());
    assert_eq!(fault.code(), "server_wants_certificate", "{:#}", fault.json);
    assert_eq!(fault.json["alert_name"], "certificate_required");
}

#[test]
fn a_client_that_cancels_ends_the_work_of_the_server_alone() {
    let lines = Server::script(|mut conn: Conn| {
        while let Some(request) = conn.request() {
            if request.target == "/other" {
                conn.send(behave::response(200, "fine"));
                continue;
            }
            if request.target == "/late" {
                conn.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf");
            }
            conn.drain();
            conn.note("gone");
            return;
        }
    });
    let frames = Server::script(h2::replies(Play::default(), |_, request| {
        match request.target.as_str() {
            "/other" => Reply::ok("fine"),
            "/late" => Reply::new().head(200, &[]).data("half").step(Step::Gone),
            _ => Reply::new(),
        }
    }));
    for (server, backend, note) in [(lines, "", "gone"), (frames, H2, "reset CANCEL")] {
        for path in ["/early", "/late"] {
            let clearway = Clearway::start(&one_worker(&[server.address()], backend));
            let mut client = RawClient::connect(clearway.address("web"));
            let before = server.seen().len();
            let stream = client.ask(path);
            server.wait_requests(before + 1);
            if path == "/late" {
                client.wait(LIMIT, |c| c.answer(stream).body == b"half");
            }
            client.send(&Frame::reset(stream, code::CANCEL));
            server.wait_note(note);
            let fault = clearway.fault_with("client_reset");
            assert_eq!(fault.json["target"], path);
            assert_eq!(fault.json["side"], "client");
            assert_eq!(fault.json["h2_code_name"], "CANCEL", "{:#}", fault.json);
            assert_eq!(client.get("/other").text(), "fine");
            assert_eq!(client.answer(stream).reset, None);
        }
    }
}

#[test]
fn a_stop_loses_no_stream() {
    let gate = Gate::new();
    let server = Server::script(behave::gated(&gate, "after all"));
    let mut clearway = Clearway::over(&[server.address()], "");
    let mut client = RawClient::connect(clearway.address("web"));
    let streams = [client.ask("/1"), client.ask("/2"), client.begin("/3")];
    server.wait_requests(2);
    clearway.terminate();
    let told = client.expect_goaway(&[code::NO_ERROR]);
    assert!(told.last >= streams[2], "{told:?}");
    // What has begun may go on: also the body that is still to come.
    client.body(streams[2], b"the rest", true);
    server.wait_requests(3);
    assert!(!client.answer(streams[0]).is_over());
    gate.open();
    for stream in streams {
        assert_eq!(client.expect_response(stream).text(), "after all");
    }
    client.expect_closed();
    assert_eq!(client.goaways.last().unwrap().last, streams[2]);
    assert!(clearway.wait().success());
    assert_eq!(clearway.faults().len(), 0, "{:#?}", clearway.faults());
}

#[test]
fn a_listener_that_goes_lets_its_streams_finish() {
    let gate = Gate::new();
    let server = Server::script(behave::gated(&gate, "after all"));
    let other = "[listener.other]\nbind = \"127.0.0.1:0\"\nbackend = \"app\"\n";
    let text = simple(&[server.address()], "");
    let clearway = Clearway::start(&format!("{text}{other}"));
    let mut leaving = RawClient::connect(clearway.address("other"));
    let mut staying = RawClient::connect(clearway.address("web"));
    let stream = leaving.ask("/");
    server.wait_requests(1);
    assert_eq!(clearway.reload(&text), "ok");
    leaving.expect_goaway(&[code::NO_ERROR]);
    gate.open();
    assert_eq!(leaving.expect_response(stream).text(), "after all");
    leaving.expect_closed();
    assert_eq!(staying.get("/").text(), "after all");
    assert!(staying.goaways.is_empty());
}

#[test]
fn a_server_that_is_removed_finishes_what_it_has_begun() {
    let gate = Gate::new();
    let old = Server::script(h2::answer(
        Reply::new().whole().wait(&gate).head(200, &[]).last("old"),
    ));
    let new = Server::script(h2::ok("new"));
    let clearway = Clearway::start(&one_worker(&[old.address()], H2));
    let mut client = RawClient::connect(clearway.address("web"));
    let stream = client.ask("/");
    old.wait_requests(1);
    assert_eq!(clearway.reload(&one_worker(&[new.address()], H2)), "ok");
    assert_eq!(client.get("/").text(), "new");
    gate.open();
    assert_eq!(client.expect_response(stream).text(), "old");
    // Its connection is not kept any longer.
    old.wait_ended(1);
}

#[test]
fn idle_connections_are_closed_on_both_sides() {
    let server = Server::script(h2::ok("x"));
    let backend = format!("{H2}\nkeepalive = {{ idle_timeout = \"100ms\" }}");
    let text = one_worker(&[server.address()], &backend) + "[timeouts]\nclient_idle = \"300ms\"\n";
    let clearway = Clearway::start(&text);
    let mut client = RawClient::connect(clearway.address("web"));
    assert_eq!(client.get("/").text(), "x");
    server.wait_note("goaway NO_ERROR");
    server.wait_ended(1);
    let told = client.expect_goaway(&[code::NO_ERROR]);
    assert!(told.last >= 1);
    client.expect_closed();
    assert_eq!(clearway.faults().len(), 0, "{:#?}", clearway.faults());
    // A stream under way is no idleness.
    let gate = Gate::new();
    let server = Server::script(h2::answer(
        Reply::new().whole().wait(&gate).head(200, &[]).last("y"),
    ));
    let text = text.replace(
        "servers = [",
        &format!("servers = [{:?}] # ", server.address()),
    );
    assert_eq!(clearway.reload(&text), "ok");
    let mut client = RawClient::connect(clearway.address("web"));
    let stream = client.ask("/");
    assert!(!client.wait(SHORT * 4, |c| !c.goaways.is_empty()));
    gate.open();
    assert_eq!(client.expect_response(stream).text(), "y");
}

#[test]
fn a_flood_of_one_client_leaves_the_streams_of_others_alone() {
    let gate = Gate::new();
    let server = Server::script(behave::gated(&gate, "fine"));
    let clearway = Clearway::start(&one_worker(&[server.address()], ""));
    let mut calm = RawClient::connect(clearway.address("web"));
    let stream = calm.ask("/");
    server.wait_requests(1);
    let mut wild = RawClient::connect(clearway.address("web"));
    for _ in 0..5_000 {
        let stream = wild.open(&Block::request("GET", "/"), true);
        if !wild.send(&Frame::reset(stream, code::CANCEL)) {
            break;
        }
    }
    wild.expect_closed();
    clearway.fault_with("h2_rapid_reset");
    gate.open();
    assert_eq!(calm.expect_response(stream).text(), "fine");
}

/// A configuration with one worker, so that all requests share a connection to the server.
fn one_worker(servers: &[&str], backend: &str) -> String {
    simple(servers, backend) + "[process]\nworkers = 1\n"
}
