//! Clients that fail: what is recorded of them, and that no server is blamed.

use clearway_testkit::{Clearway, End, Gate, Server, behave};
use serde_json::json;

#[test]
fn clients_that_go_away_are_never_the_servers_fault() {
    let server = Server::script(behave::never_answer());
    let clearway = Clearway::over(&[server.address()], "retries = { max = 0 }\n");
    for number in 1..=3 {
        let mut client = clearway.client();
        client.send("GET /gone HTTP/1.1\r\nHost: test\r\n\r\n");
        server.wait_requests(number);
        client.reset();
        server.wait_ended(number);
    }
    let record = clearway.fault_with("client_reset");
    assert_eq!(record.status(), 499);
    assert_eq!(
        clearway
            .metrics()
            .count("clearway_server_faults_total", &[]),
        0
    );
    let entry = clearway.server(server.address());
    assert!(
        entry["state"] == "up" || entry["state"] == "unchecked",
        "{entry}"
    );
}

#[test]
fn clients_that_close_while_waiting_are_recorded() {
    let server = Server::script(behave::never_answer());
    // A half-closed client may still want its answer; it is given up after this time.
    let clearway = Clearway::over(&[server.address()], "[timeouts]\nhalf_closed = \"100ms\"\n");
    let mut client = clearway.client();
    client.send("GET /gone HTTP/1.1\r\nHost: test\r\n\r\n");
    server.wait_requests(1);
    drop(client);
    let record = clearway.fault_with("client_closed");
    assert_eq!(record.attempts().len(), 1, "{}", record.json);
    assert_eq!(
        clearway
            .metrics()
            .count("clearway_server_faults_total", &[]),
        0
    );
    server.wait_ended(1);
}

/// FIN alone does not say whether anybody waits for the response; the answer to what is written does.
#[test]
fn clients_that_left_before_the_response_are_told_from_those_that_wait() {
    let gate = Gate::new();
    let server = Server::script(behave::gated(&gate, "late"));
    let clearway = Clearway::over(&[server.address()], "[process]\nworkers = 1\n");
    let (mut waits, mut leaves) = (clearway.client(), clearway.client());
    waits.send("GET /waits HTTP/1.1\r\nHost: test\r\n\r\n");
    waits.half_close();
    leaves.send("GET /leaves HTTP/1.1\r\nHost: test\r\n\r\n");
    server.wait_requests(2);
    drop(leaves);
    // What comes later is looked at later: then the worker has seen the end.
    let mut last = clearway.client();
    last.send("GET / HTTP/1.1\r\nHost: a b\r\n\r\n");
    assert_eq!(last.response("GET").status, 400);
    gate.open();
    let response = waits.response("GET");
    assert_eq!((response.status, response.text()), (200, "late".to_owned()));
    let record = clearway.fault_with("client_closed");
    assert_eq!(record.json["target"], "/leaves", "{}", record.json);
    let entry = clearway.access(|entry| entry["target"] == "/leaves");
    assert_eq!(entry["status"], 499, "{entry}");
    let entry = clearway.access(|entry| entry["target"] == "/waits");
    assert_eq!(
        (&entry["status"], &entry["fault"]),
        (&json!(200), &json!(null))
    );
    let faults = clearway
        .metrics()
        .count("clearway_server_faults_total", &[]);
    assert_eq!(faults, 0);
}

#[test]
fn clients_that_go_away_during_a_response_are_recorded() {
    let big = "x".repeat(32 << 20);
    let server = Server::script(behave::answer(behave::response(200, &big)));
    let clearway = Clearway::over(&[server.address()], "");
    let mut client = clearway.client();
    client.send("GET /big HTTP/1.1\r\nHost: test\r\n\r\n");
    client.response_head();
    client.reset();
    clearway.fault_with("client_reset");
    assert_eq!(
        clearway
            .metrics()
            .count("clearway_server_faults_total", &[]),
        0
    );
}

#[test]
fn clients_that_do_not_read_are_recorded() {
    let big = "x".repeat(64 << 20);
    let server = Server::script(behave::answer(behave::response(200, &big)));
    let clearway = Clearway::over(
        &[server.address()],
        "[timeouts]\nclient_write = \"300ms\"\n",
    );
    let mut client = clearway.client();
    client.send("GET /big HTTP/1.1\r\nHost: test\r\n\r\n");
    clearway.fault_with("client_not_reading");
    assert_eq!(
        clearway
            .metrics()
            .count("clearway_server_faults_total", &[]),
        0
    );
}

#[test]
fn request_bodies_that_end_too_early_are_the_clients_fault() {
    let server = Server::script(behave::ok("never"));
    let clearway = Clearway::over(&[server.address()], "");
    for bytes in [
        "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nabc",
        "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ] {
        let mut client = clearway.client();
        client.send(bytes);
        client.half_close();
        let response = client.response("POST");
        assert_eq!(response.status, 400);
        assert_eq!(
            clearway.fault(&response.id()).code(),
            "request_body_truncated"
        );
    }
    assert!(server.seen().iter().all(|r| r.end != End::Complete));
    assert_eq!(
        clearway
            .metrics()
            .count("clearway_server_faults_total", &[]),
        0
    );
}
