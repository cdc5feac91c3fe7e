//! Which servers get traffic: active checks, passive ejection, and the words that explain both.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use clearway_testkit::clearway::simple;
use clearway_testkit::{Clearway, Conn, Server, behave, wait};

const FAST: &str = "interval = \"50ms\", fast_interval = \"50ms\", timeout = \"300ms\"";

fn answers(clearway: &Clearway, count: usize) -> Vec<String> {
    let mut client = clearway.client();
    let mut names: Vec<String> = (0..count).map(|_| client.get("/").text()).collect();
    names.sort();
    names.dedup();
    names
}

#[test]
fn a_failing_check_takes_a_server_out_and_a_passing_one_back_in() {
    let status = Arc::new(AtomicU16::new(200));
    let sick = Server::script(behave::status_of(&status, "sick"));
    let well = Server::script(behave::ok("well"));
    let clearway = Clearway::over(
        &[sick.address(), well.address()],
        &format!("health = {{ path = \"/health\", {FAST}, rise = 2, fall = 3 }}"),
    );
    clearway.wait_state(sick.address(), &["up"]);
    clearway.wait_state(well.address(), &["up"]);
    assert_eq!(answers(&clearway, 10), ["sick", "well"]);
    status.store(500, Ordering::SeqCst);
    let entry = clearway.wait_state(sick.address(), &["down"]);
    let words = entry.to_string();
    assert!(words.contains("500"), "the reason must be told: {entry:#}");
    assert_eq!(answers(&clearway, 10), ["well"]);
    clearway.wait_metric("clearway_server_up", &[("server", well.address())], 1.0);
    assert_eq!(
        clearway
            .metrics()
            .count("clearway_server_up", &[("server", sick.address())]),
        0
    );
    status.store(200, Ordering::SeqCst);
    clearway.wait_state(sick.address(), &["up"]);
    assert_eq!(answers(&clearway, 10), ["sick", "well"]);
    let check = sick
        .seen()
        .into_iter()
        .find(|r| r.target == "/health")
        .unwrap();
    assert_eq!(check.method, "GET");
    assert!(check.headers.has("host"));
}

#[test]
fn a_tcp_check_sees_a_dead_server() {
    let dying = Server::script(behave::ok("dying"));
    let well = Server::script(behave::ok("well"));
    let clearway = Clearway::over(
        &[dying.address(), well.address()],
        &format!("health = {{ kind = \"tcp\", {FAST} }}"),
    );
    let address = dying.address().to_owned();
    dying.stop();
    let entry = clearway.wait_state(&address, &["down"]);
    assert!(entry.to_string().contains("refused"), "{entry:#}");
    assert_eq!(answers(&clearway, 10), ["well"]);
}

#[test]
fn no_server_left_is_explained() {
    let status = Arc::new(AtomicU16::new(500));
    let server = Server::script(behave::status_of(&status, "x"));
    let clearway = Clearway::over(
        &[server.address()],
        &format!("health = {{ path = \"/\", {FAST} }}"),
    );
    clearway.wait_state(server.address(), &["down"]);
    let response = clearway.get("/");
    assert_eq!(response.status, 503);
    assert_eq!(
        response.proxy_error().as_deref(),
        Some("destination_unavailable")
    );
    assert_eq!(clearway.fault(&response.id()).code(), "all_servers_down");
    status.store(200, Ordering::SeqCst);
    clearway.wait_state(server.address(), &["up"]);
    assert_eq!(clearway.get("/").status, 200);
}

#[test]
fn expected_statuses_and_bodies() {
    let server = Server::script(behave::answer(behave::response(404, "all systems go")));
    for (health, state) in [
        ("path = \"/\", expect = [\"404\"]", "up"),
        ("path = \"/\", expect = \"400-499\"", "up"),
        ("path = \"/\", expect = [200, \"3xx\"]", "down"),
        ("path = \"/\", expect = \"4xx\", body = \"systems\"", "up"),
        (
            "path = \"/\", expect = \"4xx\", body = \"~ ^all .* go$\"",
            "up",
        ),
        ("path = \"/\", expect = \"4xx\", body = \"broken\"", "down"),
    ] {
        let clearway = Clearway::over(
            &[server.address()],
            &format!("health = {{ {health}, {FAST} }}"),
        );
        wait::until(health, || {
            let entry = clearway.server(server.address());
            let checked = entry.to_string().contains("404");
            (entry["state"] == state && (state == "down" || checked || entry["state"] == "up"))
                .then_some(())
        });
    }
}

#[test]
fn checks_send_what_they_are_told() {
    let server = Server::script(behave::ok("x"));
    let clearway = Clearway::over(
        &[server.address()],
        &format!(
            "health = {{ path = \"/ping?deep=1\", method = \"HEAD\", host = \"app.test\", headers = {{ x-check = \"yes\" }}, {FAST} }}"
        ),
    );
    let request = server.wait_requests(1).remove(0);
    assert_eq!(
        (request.method.as_str(), request.target.as_str()),
        ("HEAD", "/ping?deep=1")
    );
    assert_eq!(request.header("host"), Some("app.test"));
    assert_eq!(request.header("x-check"), Some("yes"));
    drop(clearway);
}

#[test]
fn checks_may_go_to_another_port() {
    let server = Server::script(behave::ok("app"));
    let checker = Server::script(behave::ok("check"));
    let port = checker.address().rsplit(':').next().unwrap().to_owned();
    let clearway = Clearway::over(
        &[server.address()],
        &format!("health = {{ path = \"/\", port = {port}, {FAST} }}"),
    );
    checker.wait_requests(2);
    assert_eq!(clearway.get("/").text(), "app");
    assert_eq!(server.requests(), 1);
}

#[test]
fn a_check_without_an_answer_fails_in_time() {
    let server = Server::script(behave::never_answer());
    let clearway = Clearway::over(
        &[server.address()],
        "health = { path = \"/\", interval = \"50ms\", fast_interval = \"50ms\", timeout = \"100ms\" }",
    );
    let entry = clearway.wait_state(server.address(), &["down"]);
    assert!(entry.to_string().contains("time"), "{entry:#}");
}

#[test]
fn servers_are_used_before_the_first_check_is_over() {
    let server = Server::script(|mut conn: Conn| {
        while let Some(request) = conn.request() {
            if request.target == "/health" {
                conn.drain();
                return;
            }
            conn.send(behave::response(200, "early"));
        }
    });
    let clearway = Clearway::over(
        &[server.address()],
        "health = { path = \"/health\", interval = \"10s\", timeout = \"10s\" }",
    );
    assert_eq!(clearway.get("/").text(), "early");
}

#[test]
fn consecutive_failures_eject_a_server() {
    let broken = Server::script(behave::close_after_request());
    let well = Server::script(behave::ok("well"));
    let clearway = Clearway::over(
        &[broken.address(), well.address()],
        "retries = { max = 0 }\nejection = { consecutive = 3, duration = \"60s\" }",
    );
    let mut client = clearway.client();
    // Failures are judged beside the traffic, so a few more may follow the third.
    while broken.requests() < 3 {
        client.get("/");
    }
    let entry = clearway.wait_state(broken.address(), &["ejected"]);
    assert!(
        entry.to_string().contains("server_closed_no_response"),
        "{entry:#}"
    );
    let before = broken.requests();
    for _ in 0..40 {
        assert_eq!(client.get("/").text(), "well");
    }
    assert_eq!(broken.requests(), before);
}

#[test]
fn an_ejected_server_gets_another_chance() {
    let status = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let works = Arc::clone(&status);
    let shaky = Server::script(move |mut conn: Conn| {
        while conn.request().is_some() {
            if !works.load(Ordering::SeqCst) {
                return;
            }
            conn.send(behave::response(200, "shaky"));
        }
    });
    let well = Server::script(behave::ok("well"));
    let clearway = Clearway::over(
        &[shaky.address(), well.address()],
        "retries = { max = 0 }\nejection = { consecutive = 2, duration = \"200ms\" }",
    );
    let mut client = clearway.client();
    for _ in 0..20 {
        client.get("/");
    }
    clearway.wait_state(shaky.address(), &["ejected"]);
    status.store(true, Ordering::SeqCst);
    wait::until("the server to be used again", || {
        (client.get("/").text() == "shaky").then_some(())
    });
}

#[test]
fn ejection_never_takes_everybody() {
    let servers = [
        Server::script(behave::close_after_request()),
        Server::script(behave::close_after_request()),
    ];
    let clearway = Clearway::over(
        &[servers[0].address(), servers[1].address()],
        "retries = { max = 0 }\nejection = { consecutive = 1, duration = \"60s\", max_percent = 50 }",
    );
    let mut client = clearway.client();
    for _ in 0..20 {
        let response = client.get("/");
        assert_eq!(response.status, 502, "{}", response.text());
    }
    assert!(servers.iter().any(|s| s.requests() >= 10));
}

#[test]
fn ejection_can_be_switched_off() {
    let broken = Server::script(behave::close_after_request());
    let clearway = Clearway::over(
        &[broken.address()],
        "retries = { max = 0 }\nejection = \"off\"",
    );
    let mut client = clearway.client();
    for _ in 0..20 {
        assert_eq!(client.get("/").status, 502);
    }
    assert_eq!(broken.requests(), 20);
}

#[test]
fn answers_with_an_error_status_do_not_eject() {
    let server = Server::script(behave::status(500));
    let other = Server::script(behave::status(404));
    let clearway = Clearway::over(
        &[server.address(), other.address()],
        "ejection = { consecutive = 2 }",
    );
    let mut client = clearway.client();
    for _ in 0..20 {
        client.get("/");
    }
    assert_eq!((server.requests(), other.requests()), (10, 10));
}

#[test]
fn changed_checks_need_as_many_failures_as_before() {
    let checks = AtomicU16::new(0);
    let server = Server::script(move |mut conn: Conn| {
        while let Some(request) = conn.request() {
            let nth = match request.target.as_str() {
                "/new" => checks.fetch_add(1, Ordering::SeqCst),
                _ => u16::MAX,
            };
            if !conn.send(behave::response(if nth < 2 { 500 } else { 200 }, "x")) {
                return;
            }
        }
    });
    let config = |health: &str| simple(&[server.address()], &format!("health = {{ {health} }}"));
    // No further check for an hour, unless the new settings are heeded at once.
    let hourly = "path = \"/old\", interval = \"1h\", fast_interval = \"50ms\", fall = 3";
    let clearway = Clearway::start(&config(hourly));
    clearway.wait_state(server.address(), &["up"]);
    let often = format!("path = \"/new\", {FAST}, fall = 3");
    assert_eq!(clearway.reload(&config(&often)), "ok");
    wait::until("four checks with the new settings", || {
        let new = server.seen().iter().filter(|r| r.target == "/new").count();
        (new >= 4).then_some(())
    });
    let entry = clearway.server(server.address());
    assert_eq!(entry["state"], "up", "{entry:#}");
    assert!(!entry.to_string().contains("down after"), "{entry:#}");
}

#[test]
fn the_history_of_a_server_is_told() {
    let status = Arc::new(AtomicU16::new(200));
    let server = Server::script(behave::status_of(&status, "x"));
    let clearway = Clearway::over(
        &[server.address()],
        &format!("health = {{ path = \"/\", {FAST}, rise = 1, fall = 1 }}"),
    );
    clearway.wait_state(server.address(), &["up"]);
    status.store(503, Ordering::SeqCst);
    clearway.wait_state(server.address(), &["down"]);
    status.store(200, Ordering::SeqCst);
    let entry = clearway.wait_state(server.address(), &["up"]);
    let text = entry.to_string();
    assert!(text.contains("503") && text.contains("down"), "{entry:#}");
}

/// Returns when control has looked at every server's counters: it does after every failed request,
/// before it tells of it.
fn wait_look(clearway: &Clearway) {
    let refused = clearway.client().get_with("/", "Host: other\r\n");
    assert_eq!(refused.status, 400);
    clearway.receipt(&refused.id());
}

#[test]
fn a_server_that_is_added_or_comes_up_starts_slowly_if_it_shall() {
    let main = Server::script(behave::ok("main"));
    let late = Server::script(behave::ok("late"));
    let address = late.address().to_owned();
    late.stop();
    let slow = Server::script(behave::ok("slow"));
    let quick = Server::script(behave::ok("quick"));
    let text = |more: &str| {
        format!(
            "[listener.web]\nbind = \"127.0.0.1:0\"\n[backend.app]\n\
             health = {{ kind = \"tcp\", {FAST}, rise = 1, fall = 1 }}\n\
             servers = [{:?}, {{ address = {address:?}, slow_start = \"600s\" }}{more}]\n",
            main.address()
        )
    };
    let clearway = Clearway::start(&text(""));
    clearway.wait_state(&address, &["down"]);
    wait_look(&clearway);
    let more = format!(
        ", {{ address = {:?}, slow_start = \"600s\" }}, {:?}",
        slow.address(),
        quick.address()
    );
    assert_eq!(clearway.reload(&text(&more)), "ok");
    let weight = |server: &str| clearway.server(server)["weight"].as_f64();
    // From its first request on.
    let weights = [main.address(), slow.address(), quick.address()].map(weight);
    assert_eq!(weights, [Some(1.0), Some(0.1), Some(1.0)]);
    let mut client = clearway.client();
    let answers: Vec<_> = (0..21).map(|_| client.get("/").text()).collect();
    let count = |name| answers.iter().filter(|text| *text == name).count();
    assert_eq!((count("main"), count("slow"), count("quick")), (10, 1, 10));
    // It comes up before it ever had a request.
    let _late = Server::script_at(&address, behave::ok("late"));
    clearway.wait_state(&address, &["up"]);
    wait::until("the weight of the server that came up", || {
        (weight(&address) == Some(0.1)).then_some(())
    });
}
