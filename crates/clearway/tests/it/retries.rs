//! When a failed try is followed by another, and when not.

use clearway_testkit::clearway::simple;
use clearway_testkit::{Clearway, Conn, Response, Server, behave};

/// Two servers, the first of which is bad; `balance = "first"` makes it the first choice.
fn bad_first(bad: &str, retries: &str) -> (Clearway, Server) {
    let good = Server::script(behave::echo_body());
    let clearway = Clearway::over(
        &[bad, good.address()],
        &format!("balance = \"first\"\nejection = \"off\"\n{retries}\n"),
    );
    (clearway, good)
}

#[test]
fn a_refused_connection_is_tried_elsewhere() {
    let (address, _guard) = behave::closed_port();
    let (clearway, _good) = bad_first(&address, "");
    let mut client = clearway.client();
    assert_eq!(client.get("/").status, 200);
    // Nothing was sent, so methods that are not idempotent may be tried again as well.
    assert_eq!(client.post("/", "hello").text(), "hello");
    let record = clearway.access(|r| r["attempts"].as_array().is_some_and(|a| a.len() == 2));
    assert!(record.to_string().contains("connect_refused"), "{record}");
    assert_eq!(record["status"], 200);
    clearway.wait_metric("clearway_retries_total", &[("backend", "app")], 2.0);
    assert!(
        clearway.faults().is_empty(),
        "a request that was saved has not failed"
    );
    assert_eq!(
        clearway.metrics().count(
            "clearway_server_faults_total",
            &[("fault", "connect_refused")]
        ),
        2,
        "the server failed all the same"
    );
}

#[test]
fn what_may_never_be_retried_is_not_although_it_is_named() {
    let bad = Server::script(behave::answer_and_close(behave::TLS_ALERT));
    let named = "retries = { on = [\"server_speaks_tls\"] }";
    let (clearway, _good) = bad_first(bad.address(), named);
    assert_eq!(clearway.get("/").status, 502);
    let fault = clearway.access(|r| r["fault"] == "server_speaks_tls");
    assert_eq!(fault["attempts"].as_array().unwrap().len(), 1, "{fault}");
    assert_eq!(
        fault["attempts"][0]["no_retry"], "not-configured",
        "{fault}"
    );
}

#[test]
fn a_stale_connection_is_replaced_without_a_trace_for_the_client() {
    for server in [
        Server::script(behave::close_after(1)),
        Server::script(behave::reset_after(1)),
    ] {
        let clearway = Clearway::over(&[server.address()], "");
        let mut client = clearway.client();
        for number in 0..10 {
            let response = client.get("/");
            assert_eq!(
                (response.status, response.text().as_str()),
                (200, "kept"),
                "{number}"
            );
        }
        assert!(clearway.faults().is_empty());
        assert!(clearway.metrics().count("clearway_retries_total", &[]) >= 1);
    }
}

#[test]
fn no_post_is_served_twice_however_connections_close() {
    let server = Server::script(|mut conn: Conn| {
        if conn.request().is_some() {
            conn.send(behave::response(200, "closed behind it"));
        }
    });
    let clearway = Clearway::over(&[server.address()], "");
    let mut client = clearway.client();
    let mut answered = 0;
    for _ in 0..100 {
        let response = client.post("/", "small body");
        if response.status == 200 {
            answered += 1;
            continue;
        }
        // The request lay unread in the server's kernel when the server closed: whether it was read
        // cannot be known here.
        assert_eq!(clearway.fault(&response.id()).code(), "reused_reset");
    }
    assert_eq!(server.requests(), answered);
    assert!(answered >= 50, "{answered} of 100");
}

#[test]
fn a_post_that_a_server_took_is_not_repeated_unless_allowed() {
    let server = Server::script(behave::close_after(1));
    let clearway = Clearway::over(&[server.address()], "");
    let mut client = clearway.client();
    assert_eq!(client.post("/", "small body").text(), "kept");
    let response = client.post("/", "small body");
    assert_eq!(response.status, 502);
    let fault = clearway.fault(&response.id());
    assert_eq!(fault.code(), "reused_closed");
    assert_eq!(
        fault.json["attempts"][0]["no_retry"],
        "method-not-idempotent"
    );

    let clearway = Clearway::over(&[server.address()], "retries = { methods = \"any\" }");
    let mut client = clearway.client();
    for _ in 0..5 {
        assert_eq!(client.post("/", "small body").text(), "kept");
    }
}

#[test]
fn a_closed_idle_connection_is_noticed_before_it_is_used() {
    let server = Server::script(|mut conn: Conn| {
        conn.request();
        conn.send(behave::response(200, "once"));
        // Keep-alive was promised, and broken at once.
    });
    let clearway = Clearway::over(&[server.address()], "retries = { max = 0 }");
    let mut client = clearway.client();
    for number in 1..=5 {
        assert_eq!(client.post("/", "x").text(), "once");
        server.wait_ended(number);
    }
    assert!(clearway.faults().is_empty(), "{:?}", clearway.faults());
}

#[test]
fn failures_after_sending_are_not_retried_by_default() {
    let bad = Server::script(behave::close_after_request());
    let (clearway, good) = bad_first(bad.address(), "");
    let response = clearway.client().post("/", "pay 100");
    assert_eq!(response.status, 502);
    let record = clearway.fault(&response.id());
    assert_eq!(record.attempt_codes(), ["server_closed_no_response"]);
    assert_eq!(good.requests(), 0);
    let receipt = clearway.receipt(&response.id()).to_string();
    assert!(
        receipt.contains("not-configured") || receipt.contains("not configured"),
        "{receipt}"
    );
}

#[test]
fn configured_faults_are_retried_for_idempotent_methods_only() {
    let bad = Server::script(behave::close_after_request());
    let (clearway, good) = bad_first(
        bad.address(),
        "retries = { on = [\"connect\", \"server_closed_no_response\"] }",
    );
    let mut client = clearway.client();
    assert_eq!(client.get("/").status, 200);
    let response = client.post("/", "pay 100");
    assert_eq!(response.status, 502);
    assert_eq!(good.requests(), 1);
    let receipt = clearway.receipt(&response.id()).to_string();
    assert!(receipt.contains("method"), "{receipt}");
}

#[test]
fn any_method_is_retried_where_the_configuration_says_so() {
    let bad = Server::script(behave::close_after_request());
    let (clearway, good) = bad_first(
        bad.address(),
        "retries = { on = [\"server_closed_no_response\"], methods = \"any\" }",
    );
    assert_eq!(clearway.client().post("/", "safe").text(), "safe");
    assert_eq!(good.only().body, b"safe");
}

#[test]
fn statuses_are_retried_where_the_configuration_says_so() {
    let bad = Server::script(behave::status(503));
    let (clearway, _good) = bad_first(bad.address(), "retries = { on = [503] }");
    let mut client = clearway.client();
    assert_eq!(client.get("/").status, 200);
    assert_eq!(
        client.post("/", "x").status,
        503,
        "the server's answer, not one of the balancer"
    );
    let (clearway, _good) = bad_first(bad.address(), "");
    assert_eq!(clearway.get("/").status, 503);
}

#[test]
fn the_last_answer_passes_when_retries_are_used_up() {
    let servers = [
        Server::script(behave::status(503)),
        Server::script(behave::status(503)),
    ];
    let clearway = Clearway::over(
        &[servers[0].address(), servers[1].address()],
        "retries = { max = 1, on = [503] }",
    );
    let response = clearway.get("/");
    assert_eq!(
        (response.status, response.text().as_str()),
        (503, "scripted")
    );
    assert_eq!(servers[0].requests() + servers[1].requests(), 2);
}

#[test]
fn the_number_of_retries_is_limited() {
    let guards: Vec<_> = (0..5).map(|_| behave::closed_port()).collect();
    let addresses: Vec<&str> = guards.iter().map(|(a, _)| a.as_str()).collect();
    let clearway = Clearway::over(&addresses, "retries = { max = 2 }\nejection = \"off\"");
    let response = clearway.get("/");
    assert_eq!(response.status, 502);
    let record = clearway.fault(&response.id());
    assert_eq!(record.attempt_codes(), ["connect_refused"; 3]);
    let mut tried: Vec<String> = record
        .attempts()
        .iter()
        .map(|a| a["address"].as_str().unwrap_or_default().to_owned())
        .collect();
    tried.sort();
    tried.dedup();
    assert_eq!(
        tried.len(),
        3,
        "each try goes to another server: {}",
        record.json
    );
}

#[test]
fn a_body_that_is_too_large_to_keep_is_not_replayed() {
    let bad = Server::script(behave::close_after_request());
    let (clearway, good) = bad_first(
        bad.address(),
        "retries = { on = [\"server_closed_no_response\"], methods = \"any\", body_buffer = \"1KiB\" }",
    );
    let response = clearway.client().post("/", "x".repeat(100_000));
    assert_eq!(response.status, 502);
    assert_eq!(good.requests(), 0);
    let receipt = clearway.receipt(&response.id()).to_string();
    assert!(receipt.contains("body"), "{receipt}");
}

#[test]
fn a_response_that_began_is_never_replaced() {
    let bad = Server::script(behave::answer_and_close(
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
    ));
    let (clearway, good) = bad_first(
        bad.address(),
        "retries = { on = [\"response_body_short\", \"server_closed_no_response\"] }",
    );
    let response = clearway.get("/");
    assert_eq!(response.body, b"abc");
    assert_ne!(response.end, clearway_testkit::End::Complete);
    assert_eq!(good.requests(), 0);
}

#[test]
fn the_budget_bounds_a_storm_of_retries() {
    let servers = [
        Server::script(behave::close_after_request()),
        Server::script(behave::close_after_request()),
    ];
    let clearway = Clearway::over(
        &[servers[0].address(), servers[1].address()],
        "ejection = \"off\"\nretries = { max = 3, on = [\"server_closed_no_response\"], budget = 0.1, budget_min = 0 }",
    );
    let mut client = clearway.client();
    for _ in 0..200 {
        assert_eq!(client.get("/").status, 502);
    }
    let tries = servers[0].requests() + servers[1].requests();
    assert!(
        (200..=260).contains(&tries),
        "200 requests became {tries} tries"
    );
    let refused = clearway
        .faults()
        .iter()
        .any(|f| f.json.to_string().contains("budget"));
    assert!(refused, "the record must say why there was no other try");
}

/// How 200 requests end whose first server fails as `on` says and whose second one answers 200: how
/// many were answered by the second, and the access records of those that were not.
fn answered_with_budget(bad: &Server, on: &str, budget: &str) -> (usize, Vec<serde_json::Value>) {
    let good = Server::script(behave::ok("saved"));
    let servers = simple(
        &[bad.address(), good.address()],
        &format!(
            "balance = \"first\"\nejection = \"off\"\n\
             retries = {{ max = 1, budget = {budget}, budget_min = 0, on = [{on}] }}\n"
        ),
    );
    let clearway = Clearway::start(&format!("[process]\nworkers = 1\n{servers}"));
    let mut client = clearway.client();
    let is_saved = (0..200).map(|n| client.get(&format!("/{n}")).status == 200);
    let is_saved: Vec<bool> = is_saved.collect();
    let refused = (0..200)
        .zip(&is_saved)
        .filter(|(_, is_saved)| !**is_saved)
        .map(|(n, _)| clearway.access(|r| r["target"] == format!("/{n}")))
        .collect();
    let saved = is_saved.iter().filter(|is_saved| **is_saved).count();
    assert_eq!((bad.requests(), good.requests()), (200, saved));
    let counted = clearway.metrics().count("clearway_retries_total", &[]);
    assert_eq!(counted, saved as u64);
    (saved, refused)
}

#[test]
fn a_budget_of_a_fifth_lets_about_one_in_five_failed_requests_be_retried() {
    let unavailable = Server::script(behave::status(503));
    let (saved, _) = answered_with_budget(&unavailable, "503", "0.2");
    assert!((30..=50).contains(&saved), "{saved} of 200");
    let closing = Server::script(behave::close_after_request());
    let (saved, refused) = answered_with_budget(&closing, "\"server_closed_no_response\"", "0.2");
    assert!((30..=50).contains(&saved), "{saved} of 200");
    for record in refused {
        assert_eq!(
            record["attempts"][0]["no_retry"], "budget-empty",
            "{record}"
        );
    }
}

#[test]
fn an_answer_that_passes_because_the_budget_is_used_up_says_so_in_its_record() {
    let unavailable = Server::script(behave::status(503));
    let (_, refused) = answered_with_budget(&unavailable, "503", "0.2");
    assert!(!refused.is_empty());
    for record in refused {
        assert_eq!(
            record["attempts"][0]["no_retry"], "budget-empty",
            "{record}"
        );
    }
}

#[test]
fn a_large_budget_lets_every_failed_request_be_retried() {
    let unavailable = Server::script(behave::status(503));
    let (saved, refused) = answered_with_budget(&unavailable, "503", "10.0");
    assert_eq!(saved, 200, "{refused:?}");
}

#[test]
fn a_budget_of_nothing_lets_no_failed_request_be_retried() {
    let unavailable = Server::script(behave::status(503));
    let (saved, refused) = answered_with_budget(&unavailable, "503", "0");
    assert_eq!((saved, refused.len()), (0, 200));
}

/// PUTs 100 KB where the first of two servers takes the whole request and closes.
fn put_large(body_buffer: &str) -> (Response, Clearway, [Server; 2], Vec<u8>) {
    let bad = Server::script(behave::close_after_request());
    let (clearway, good) = bad_first(
        bad.address(),
        &format!("retries = {{ on = [\"connect\", \"server_closed_no_response\"]{body_buffer} }}"),
    );
    let body: Vec<u8> = (0..100_000_u32).map(|n| (n % 251) as u8).collect();
    let mut client = clearway.client();
    client.send("PUT /file HTTP/1.1\r\nHost: test\r\nContent-Length: 100000\r\n\r\n");
    client.send(&body);
    let response = client.response("PUT");
    assert_eq!(bad.only().body, body);
    (response, clearway, [bad, good], body)
}

#[test]
fn a_body_that_fits_the_buffer_is_sent_again_as_a_whole() {
    let (response, clearway, [_, good], body) = put_large(", body_buffer = \"256KiB\"");
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.body, body, "the server sends it back");
    let request = good.only();
    assert_eq!(
        (request.method.as_str(), request.body == body),
        ("PUT", true)
    );
    assert!(clearway.faults().is_empty());
}

#[test]
fn a_body_that_exceeds_the_default_buffer_is_not_sent_again_and_the_record_says_why() {
    let (response, clearway, [_, good], _) = put_large("");
    assert_eq!(response.status, 502);
    let record = clearway.fault(&response.id());
    assert_eq!(record.attempt_codes(), ["server_closed_no_response"]);
    assert_eq!(
        record.attempts()[0]["no_retry"],
        "body-sent",
        "{}",
        record.json
    );
    assert_eq!(good.requests(), 0);
}

#[test]
fn a_large_body_of_which_nothing_was_sent_is_not_bound_to_the_buffer() {
    let (address, _guard) = behave::closed_port();
    let (clearway, good) = bad_first(&address, "");
    let body = "x".repeat(100_000);
    assert_eq!(clearway.client().post("/", &body).text(), body);
    assert_eq!(good.requests(), 1);
}
