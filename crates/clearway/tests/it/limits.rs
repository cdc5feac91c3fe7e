//! Clients that are slow, greedy or many.

use std::time::Duration;

use clearway_testkit::clearway::FaultRecord;
use clearway_testkit::{Clearway, Client, End, Gate, Response, Server, behave, wait};

#[test]
fn a_head_that_comes_one_byte_at_a_time_is_cut_off() {
    let server = Server::script(behave::ok("x"));
    let clearway = Clearway::over(
        &[server.address()],
        "[timeouts]\nrequest_head = \"300ms\"\n",
    );
    let started = wait::now();
    let mut client = clearway.client();
    let endless = format!("GET / HTTP/1.1\r\nHost: test\r\nX: {}", "y".repeat(2000));
    let sent = client.drip(endless, Duration::from_millis(10));
    assert!(
        sent < 2000,
        "the balancer took {sent} bytes in {:?}",
        started.elapsed()
    );
    let record = clearway.fault_with("request_head_timeout");
    assert_eq!(record.status(), 408);
    assert_eq!(server.requests(), 0);
}

#[test]
fn a_head_that_stops_is_answered_with_408() {
    let server = Server::script(behave::ok("x"));
    let clearway = Clearway::over(
        &[server.address()],
        "[timeouts]\nrequest_head = \"200ms\"\n",
    );
    let mut client = clearway.client();
    client.send("GET / HTTP/1.1\r\nHo");
    let response = client.response("GET");
    assert_eq!(response.status, 408);
    assert!(response.closes());
    assert_eq!(
        clearway.fault(&response.id()).code(),
        "request_head_timeout"
    );
    client.expect_closed();
}

#[test]
fn a_body_that_stops_is_answered_with_408() {
    let server = Server::script(behave::ok("x"));
    let clearway = Clearway::over(
        &[server.address()],
        "[timeouts]\nrequest_body = \"200ms\"\n",
    );
    let mut client = clearway.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nabc");
    let response = client.response("POST");
    assert_eq!(response.status, 408);
    assert_eq!(
        clearway.fault(&response.id()).code(),
        "request_body_timeout"
    );
    client.expect_closed();
    assert!(server.seen().iter().all(|r| r.end != End::Complete));
    assert_eq!(
        clearway
            .metrics()
            .count("clearway_server_faults_total", &[]),
        0
    );
}

#[test]
fn idle_connections_are_closed_without_a_word() {
    let server = Server::script(behave::ok("x"));
    let clearway = Clearway::over(&[server.address()], "[timeouts]\nclient_idle = \"200ms\"\n");
    let mut client = clearway.client();
    assert_eq!(client.get("/").status, 200);
    client.expect_closed();
    assert!(clearway.faults().is_empty(), "{:?}", clearway.faults());
}

#[test]
fn connections_that_never_say_anything_are_closed() {
    let server = Server::script(behave::ok("x"));
    let clearway = Clearway::over(
        &[server.address()],
        "[timeouts]\nclient_idle = \"300ms\"\nrequest_head = \"300ms\"\n",
    );
    let mut client = clearway.client();
    let (_, end) = client.read_to_end();
    assert!(matches!(end, End::UntilClose | End::Reset), "{end:?}");
}

#[test]
fn bodies_beyond_the_limit_are_refused_while_they_come() {
    let server = Server::script(behave::ok("x"));
    let clearway = Clearway::over(&[server.address()], "[limits]\nbody_bytes = \"10KiB\"\n");
    let mut client = clearway.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n");
    let chunk = format!("400\r\n{}\r\n", "x".repeat(0x400));
    for _ in 0..12 {
        if !client.try_send(&chunk) {
            break;
        }
    }
    let response = client.response("POST");
    assert_eq!(response.status, 413);
    assert_eq!(clearway.fault(&response.id()).code(), "body_too_large");
    assert!(server.seen().iter().all(|r| r.end != End::Complete));
    let mut client = clearway.client();
    assert_eq!(
        client.post("/", "x".repeat(10 << 10)).status,
        200,
        "the limit itself is allowed"
    );
}

#[test]
fn heads_just_below_the_limits_pass() {
    let server = Server::script(behave::ok("x"));
    let clearway = Clearway::over(
        &[server.address()],
        "[limits]\nrequest_line = \"2KiB\"\nheader_bytes = \"16KiB\"\nheader_count = 50\n",
    );
    let mut client = clearway.client();
    assert_eq!(client.get(&format!("/{}", "a".repeat(1900))).status, 200);
    assert_eq!(
        client
            .get_with("/", &format!("X-Long: {}\r\n", "b".repeat(15_000)))
            .status,
        200
    );
    let many: String = (0..45).map(|n| format!("X-{n}: y\r\n")).collect();
    assert_eq!(client.get_with("/", &many).status, 200);
    assert_eq!(
        server.seen()[1].header("x-long").map(str::len),
        Some(15_000)
    );
}

#[test]
fn large_response_heads_pass_up_to_the_limit() {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Long: {}\r\n\r\nok",
        "y".repeat(30_000)
    );
    let server = Server::script(behave::answer(head));
    let clearway = Clearway::over(&[server.address()], "");
    let mut client = clearway.client();
    for _ in 0..2 {
        let response = client.get("/");
        assert_eq!(response.header("x-long").map(str::len), Some(30_000));
        assert_eq!(response.text(), "ok");
    }
}

#[test]
fn one_source_may_not_take_every_connection() {
    let gate = Gate::new();
    let server = Server::script(behave::gated(&gate, "x"));
    let clearway = Clearway::over(
        &[server.address()],
        "[limits]\nconnections_per_source = 3\n",
    );
    let address = clearway.address("web");
    let mut held: Vec<Client> = (0..3)
        .map(|_| {
            let mut client = clearway.client();
            client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
            client
        })
        .collect();
    server.wait_requests(3);
    let mut fourth = clearway.client();
    fourth.try_send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    let response = fourth.response("GET");
    assert_eq!(response.status, 429);
    assert_eq!(clearway.fault(&response.id()).code(), "source_full");
    // Another address is not concerned.
    let mut other = Client::connect_from([127, 0, 0, 9].into(), address);
    other.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    server.wait_requests(4);
    gate.open();
    for client in held.iter_mut().chain([&mut other]) {
        assert_eq!(client.response("GET").status, 200);
    }
    drop(held);
    wait::until("the source's places to be free", || {
        (clearway.get("/").status == 200).then_some(())
    });
}

#[test]
fn a_full_listener_serves_those_it_has() {
    let gate = Gate::new();
    let server = Server::script(behave::gated(&gate, "x"));
    let clearway = Clearway::over(
        &[server.address()],
        "[listener.web.limits]\nconnections = 2\n",
    );
    let mut held: Vec<Client> = (0..2)
        .map(|_| {
            let mut client = clearway.client();
            client.send("GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
            client
        })
        .collect();
    server.wait_requests(2);
    let mut third = clearway.client();
    third.try_send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    // It may wait for its turn or be told 503; it must not be served beside the two.
    let told = third.hears_within(wait::SHORT);
    assert_eq!(server.requests(), 2);
    gate.open();
    for client in &mut held {
        assert_eq!(client.response("GET").status, 200);
    }
    if told {
        let response = third.response("GET");
        assert_eq!(response.status, 503);
        assert_eq!(clearway.fault(&response.id()).code(), "listener_full");
    } else {
        assert_eq!(third.response("GET").status, 200);
    }
}

#[test]
fn a_total_time_bounds_a_request() {
    let server = Server::script(behave::drip(
        behave::response(200, &"x".repeat(5000)),
        Duration::from_millis(5),
    ));
    let clearway = Clearway::over(
        &[server.address()],
        "retries = { max = 0 }\n[timeouts]\ntotal = \"400ms\"\n",
    );
    let started = wait::now();
    let mut client = clearway.client();
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    if let Ok(response) = client.try_response("GET") {
        assert!(response.status >= 500 || response.end != End::Complete);
    }
    assert!(
        started.elapsed() < Duration::from_secs(8),
        "{:?}",
        started.elapsed()
    );
}

/// Checks the answer of a request that took longer than `timeouts.total`.
fn took_too_long(clearway: &Clearway, response: &Response) -> FaultRecord {
    assert_eq!(response.status, 504, "{}", response.text());
    assert_eq!(
        response.proxy_error().as_deref(),
        Some("http_response_timeout")
    );
    let record = clearway.fault(&response.id());
    assert_eq!((record.code(), record.status()), ("total_timeout", 504));
    record
}

#[test]
fn a_server_that_never_answers_is_given_up_when_the_total_time_is_over() {
    let server = Server::script(behave::never_answer());
    for retries in ["", "retries = { max = 3, on = [\"response_timeout\"] }"] {
        let clearway = Clearway::over(
            &[server.address()],
            &format!("{retries}\n[timeouts]\ntotal = \"300ms\"\n"),
        );
        let mut client = clearway.client();
        for response in [client.get("/"), clearway.client().post("/", "body")] {
            let record = took_too_long(&clearway, &response);
            assert_eq!(record.attempts().len(), 1, "{}", record.json);
        }
    }
}

#[test]
fn the_total_time_bounds_all_attempts_together() {
    let server = Server::script(behave::never_answer());
    let clearway = Clearway::over(
        &[server.address()],
        "ejection = \"off\"\nretries = { max = 20, budget = 10.0, on = [\"response_timeout\"] }\n\
         [timeouts]\nresponse = \"100ms\"\ntotal = \"1s\"\n",
    );
    let response = clearway.get("/");
    let record = took_too_long(&clearway, &response);
    let made = record.attempts().len();
    assert!((2..=10).contains(&made), "{}", record.json);
    assert!(
        record.attempt_codes()[..made - 1]
            .iter()
            .all(|code| *code == "response_timeout")
    );
}

#[test]
fn the_total_time_counts_waiting_for_a_connection() {
    let (address, _guard) = behave::full_backlog();
    let clearway = Clearway::over(
        &[&address],
        "[timeouts]\nconnect = \"20s\"\ntotal = \"300ms\"\n",
    );
    let response = clearway.get("/");
    took_too_long(&clearway, &response);
}

#[test]
fn the_total_time_counts_waiting_for_a_slot() {
    let gate = Gate::new();
    let server = Server::script(behave::gated(&gate, "held"));
    let clearway = Clearway::start(&format!(
        "[listener.web]\nbind = \"127.0.0.1:0\"\n\
         [[route]]\npath = \"/held\"\nbackend = \"app\"\n\
         [[route]]\nbackend = \"app\"\ntimeouts = {{ total = \"300ms\" }}\n\
         [backend.app]\nservers = [{:?}]\nmaxconn = 1\n[timeouts]\nqueue = \"20s\"\n",
        server.address()
    ));
    let mut held = clearway.client();
    held.send("GET /held HTTP/1.1\r\nHost: test\r\n\r\n");
    server.wait_requests(1);
    let mut client = clearway.client();
    took_too_long(&clearway, &client.get("/"));
    assert_eq!(clearway.metrics().count("clearway_backend_queued", &[]), 0);
    gate.open();
    assert_eq!(held.response("GET").text(), "held");
    assert_eq!(clearway.get("/").text(), "held", "the slot is free again");
    assert_eq!(
        server.requests(),
        2,
        "the request that gave up was not sent"
    );
}

#[test]
fn the_total_time_does_not_bound_a_tunnel() {
    let server = Server::script(behave::upgrade_echo("chat"));
    let clearway = Clearway::over(&[server.address()], "[timeouts]\ntotal = \"100ms\"\n");
    let mut client = clearway.client();
    client.send("GET / HTTP/1.1\r\nHost: test\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n");
    assert_eq!(client.response_head().status, 101);
    assert!(!client.hears_within(wait::SHORT), "it goes on in silence");
    client.send("late");
    assert_eq!(client.take(4), b"late");
}

#[test]
fn a_refused_client_that_stays_does_not_keep_its_place() {
    let gate = Gate::new();
    let server = Server::script(behave::gated(&gate, "x"));
    let clearway = Clearway::over(
        &[server.address()],
        "[process]\nworkers = 1\n[listener.web.limits]\nconnections = 1\n",
    );
    let mut held = clearway.client();
    held.send("GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    server.wait_requests(1);
    // They read nothing and close nothing, so that the balancer waits for them.
    let refused: Vec<Client> = (0..3).map(|_| clearway.client()).collect();
    clearway.wait_metric("clearway_faults_total", &[("fault", "listener_full")], 3.0);
    gate.open();
    assert_eq!(held.response("GET").status, 200);
    held.expect_closed();
    assert_eq!(clearway.get("/").status, 200);
    drop(refused);
}

#[test]
fn a_client_over_the_limit_gets_its_whole_answer_although_it_had_sent_its_request() {
    let gate = Gate::new();
    let server = Server::script(behave::gated(&gate, "x"));
    let clearway = Clearway::over(
        &[server.address()],
        "[listener.web.limits]\nconnections = 1\n",
    );
    let mut held = clearway.client();
    held.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    server.wait_requests(1);
    let body = "x".repeat(20_000);
    for request in [
        "GET / HTTP/1.1\r\nHost: test\r\n\r\n".to_owned(),
        format!("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 20000\r\n\r\n{body}"),
    ] {
        for _ in 0..10 {
            let mut client = clearway.client();
            client.try_send(&request);
            let response = client.response("GET");
            assert_eq!((response.status, &response.end), (503, &End::Complete));
            assert_eq!(
                response.proxy_error().as_deref(),
                Some("connection_limit_reached")
            );
            assert!(!response.body.is_empty());
            assert_eq!(clearway.fault(&response.id()).code(), "listener_full");
            client.half_close();
            client.expect_closed();
        }
    }
    assert_eq!(server.requests(), 1);
    gate.open();
    assert_eq!(held.response("GET").text(), "x");
    drop(held);
    // The place is free again.
    wait::until("a connection to be taken", || {
        (clearway.get("/").status == 200).then_some(())
    });
}
