//! How requests are spread over servers.

use std::collections::BTreeMap;

use clearway_testkit::{Clearway, Client, Gate, Server, behave};

fn named(names: &[&str]) -> Vec<Server> {
    names
        .iter()
        .map(|name| Server::script(behave::ok(name)))
        .collect()
}

fn over(servers: &[Server], backend: &str) -> Clearway {
    let addresses: Vec<&str> = servers.iter().map(Server::address).collect();
    Clearway::over(&addresses, backend)
}

/// Who answered how many of `count` requests on one connection, that is by one worker.
fn spread(clearway: &Clearway, count: usize) -> BTreeMap<String, usize> {
    let mut client = clearway.client();
    let mut shares = BTreeMap::new();
    for _ in 0..count {
        let response = client.get("/");
        assert_eq!(response.status, 200, "{}", response.text());
        *shares.entry(response.text()).or_insert(0) += 1;
    }
    shares
}

fn shares(pairs: &[(&str, usize)]) -> BTreeMap<String, usize> {
    pairs.iter().map(|&(n, c)| (n.to_owned(), c)).collect()
}

#[test]
fn round_robin_is_even() {
    let servers = named(&["a", "b", "c"]);
    let clearway = over(&servers, "balance = \"round_robin\"");
    assert_eq!(
        spread(&clearway, 30),
        shares(&[("a", 10), ("b", 10), ("c", 10)])
    );
}

#[test]
fn round_robin_is_even_by_default() {
    let servers = named(&["a", "b"]);
    let clearway = over(&servers, "");
    assert_eq!(spread(&clearway, 20), shares(&[("a", 10), ("b", 10)]));
}

#[test]
fn weights_are_obeyed() {
    let servers = named(&["a", "b", "c"]);
    let text = format!(
        "[listener.web]\nbind = \"127.0.0.1:0\"\n[backend.app]\nservers = [\
         {{ address = \"{}\", weight = 3 }}, \"{}\", {{ address = \"{}\", weight = 0 }}]\n",
        servers[0].address(),
        servers[1].address(),
        servers[2].address()
    );
    let clearway = Clearway::start(&text);
    assert_eq!(spread(&clearway, 40), shares(&[("a", 30), ("b", 10)]));
}

#[test]
fn spreading_algorithms_use_every_server() {
    for balance in ["least_requests", "power_of_two", "peak_ewma", "random"] {
        let servers = named(&["a", "b", "c"]);
        let clearway = over(&servers, &format!("balance = \"{balance}\""));
        let shares = spread(&clearway, 300);
        assert_eq!(shares.len(), 3, "{balance}: {shares:?}");
        // A server that happened to be slower once may get few under this one.
        let least = if balance == "peak_ewma" { 1 } else { 15 };
        assert!(
            shares.values().all(|&n| n >= least),
            "{balance}: {shares:?}"
        );
    }
}

#[test]
fn least_requests_avoids_the_busy_server() {
    let gate = Gate::new();
    let busy = Server::script(behave::gated(&gate, "busy"));
    let free = Server::script(behave::ok("free"));
    let clearway = Clearway::setup(
        "[process]\nworkers = 1\n[listener.web]\nbind = \"127.0.0.1:0\"\n\
         [backend.app]\nservers = [\"$A\", \"$B\"]\nbalance = \"least_requests\"\n",
    )
    .set("A", busy.address())
    .set("B", free.address())
    .start();
    // Occupy the busy server with one request, whichever of the first ones it gets.
    let mut held = Vec::new();
    while busy.requests() == 0 {
        let seen = busy.requests() + free.requests();
        let mut client = clearway.client();
        client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
        clearway_testkit::wait::until("a request at a server", || {
            (busy.requests() + free.requests() > seen || busy.requests() > 0).then_some(())
        });
        held.push(client);
    }
    assert_eq!(spread(&clearway, 20), shares(&[("free", 20)]));
    gate.open();
}

#[test]
fn first_fills_the_first_server() {
    let servers = named(&["a", "b", "c"]);
    let clearway = over(&servers, "balance = \"first\"");
    assert_eq!(spread(&clearway, 20), shares(&[("a", 20)]));
}

#[test]
fn hashes_send_a_key_to_one_server() {
    for balance in ["consistent_hash", "maglev"] {
        let servers = named(&["a", "b", "c"]);
        let clearway = over(
            &servers,
            &format!("balance = \"{balance}\"\nhash_key = \"header:x-user\""),
        );
        let mut homes = BTreeMap::new();
        for round in 0..3 {
            for user in 0..40 {
                // A connection of its own each: all workers must agree.
                let line = format!("X-User: u{user}\r\n");
                let home = clearway.client().get_with("/", &line).text();
                let known = homes.entry(user).or_insert_with(|| home.clone());
                assert_eq!(*known, home, "{balance}: user {user} in round {round}");
            }
        }
        let used: std::collections::BTreeSet<_> = homes.values().collect();
        assert_eq!(used.len(), 3, "{balance}: {homes:?}");
    }
}

#[test]
fn hashes_by_path_query_cookie_and_source() {
    for (key, one, two) in [
        (
            "path",
            "GET /same?x=1 HTTP/1.1\r\nHost: t\r\n\r\n",
            "GET /same?x=2 HTTP/1.1\r\nHost: t\r\n\r\n",
        ),
        (
            "query:u",
            "GET /a?u=7&x=1 HTTP/1.1\r\nHost: t\r\n\r\n",
            "GET /b?x=2&u=7 HTTP/1.1\r\nHost: t\r\n\r\n",
        ),
        (
            "cookie:u",
            "GET /a HTTP/1.1\r\nHost: t\r\nCookie: u=7\r\n\r\n",
            "GET /b HTTP/1.1\r\nHost: t\r\nCookie: v=1; u=7\r\n\r\n",
        ),
        (
            "source",
            "GET /a HTTP/1.1\r\nHost: t\r\n\r\n",
            "GET /b HTTP/1.1\r\nHost: t\r\n\r\n",
        ),
        (
            "uri",
            "GET /a?b HTTP/1.1\r\nHost: t\r\n\r\n",
            "GET /a?b HTTP/1.1\r\nHost: t\r\n\r\n",
        ),
    ] {
        let servers = named(&["a", "b", "c", "d", "e"]);
        let clearway = over(
            &servers,
            &format!("balance = \"consistent_hash\"\nhash_key = \"{key}\""),
        );
        let mut answers = Vec::new();
        for _ in 0..5 {
            for request in [one, two] {
                let mut client = clearway.client();
                client.send(request);
                answers.push(client.response("GET").text());
            }
        }
        assert!(
            answers.iter().all(|a| a == &answers[0]),
            "{key}: {answers:?}"
        );
    }
}

#[test]
fn a_hash_moves_only_the_keys_of_a_lost_server() {
    let mut servers = named(&["a", "b", "c"]);
    let clearway = over(
        &servers,
        "balance = \"consistent_hash\"\nhash_key = \"query:k\"\nhealth = { kind = \"tcp\", interval = \"50ms\", fast_interval = \"50ms\" }",
    );
    let homes = |clearway: &Clearway| -> Vec<String> {
        let mut client = clearway.client();
        (0..60)
            .map(|k| client.get(&format!("/?k={k}")).text())
            .collect()
    };
    let before = homes(&clearway);
    let lost = servers.pop().unwrap();
    let address = lost.address().to_owned();
    lost.stop();
    clearway.wait_state(&address, &["down"]);
    let after = homes(&clearway);
    for (key, (old, new)) in before.iter().zip(&after).enumerate() {
        assert_ne!(new, "c");
        if old != "c" {
            assert_eq!(old, new, "key {key} moved without need");
        }
    }
}

#[test]
fn backup_servers_wait_for_the_others_to_fail() {
    let main = Server::script(behave::ok("main"));
    let spare = Server::script(behave::ok("spare"));
    let clearway = Clearway::setup(
        "[listener.web]\nbind = \"127.0.0.1:0\"\n[backend.app]\n\
         servers = [\"$A\", { address = \"$B\", backup = true }]\n\
         health = { kind = \"tcp\", interval = \"50ms\", fast_interval = \"50ms\" }\n",
    )
    .set("A", main.address())
    .set("B", spare.address())
    .start();
    assert_eq!(spread(&clearway, 10), shares(&[("main", 10)]));
    let address = main.address().to_owned();
    main.stop();
    clearway.wait_state(&address, &["down"]);
    assert_eq!(spread(&clearway, 10), shares(&[("spare", 10)]));
    let _back = Server::script_at(&address, behave::ok("main"));
    clearway.wait_state(&address, &["up"]);
    assert_eq!(spread(&clearway, 10), shares(&[("main", 10)]));
}

#[test]
fn states_in_the_configuration_are_obeyed() {
    let servers = named(&["a", "b", "c"]);
    let text = format!(
        "[listener.web]\nbind = \"127.0.0.1:0\"\n[backend.app]\nservers = [\
         {{ address = \"{}\", state = \"drain\" }}, \"{}\", {{ address = \"{}\", state = \"maint\" }}]\n",
        servers[0].address(),
        servers[1].address(),
        servers[2].address()
    );
    let clearway = Clearway::start(&text);
    assert_eq!(spread(&clearway, 10), shares(&[("b", 10)]));
}

#[test]
fn a_cookie_keeps_a_client_on_its_server() {
    let servers = named(&["a", "b", "c"]);
    let clearway = over(&servers, "sticky = { cookie = \"SRV\" }");
    for _ in 0..4 {
        let first = clearway.get("/");
        let cookie = first.header("set-cookie").unwrap_or_default().to_owned();
        assert!(cookie.starts_with("SRV="), "{cookie}");
        assert!(
            cookie.contains("HttpOnly") && cookie.contains("Path=/"),
            "{cookie}"
        );
        assert!(
            !cookie.contains("127.0.0.1"),
            "the cookie must not tell addresses: {cookie}"
        );
        let pair = cookie.split(';').next().unwrap_or_default();
        for _ in 0..6 {
            let response = clearway
                .client()
                .get_with("/", &format!("Cookie: x=1; {pair}\r\n"));
            assert_eq!(response.text(), first.text());
        }
    }
}

#[test]
fn cookies_that_rules_took_away_do_not_come_back() {
    let server = Server::script(behave::ok("a"));
    let start = |rule: &str| {
        Clearway::setup(&format!(
            "[listener.web]\nbind = \"127.0.0.1:0\"\n[[route]]\nbackend = \"app\"\n{rule}\n\
             [backend.app]\nservers = [\"$A\"]\nsticky = {{ cookie = \"SRV\", hidden = true }}\n"
        ))
        .set("A", server.address())
        .start()
    };
    for (rule, wanted) in [
        ("", Some("one=1; two=2")),
        ("remove_request_headers = [\"cookie\"]", None),
        (
            "set_request_headers = { cookie = \"SRV=x; other=3\" }",
            Some("other=3"),
        ),
        (
            "add_request_headers = { cookie = \"other=3\" }",
            Some("one=1; two=2; other=3"),
        ),
    ] {
        let clearway = start(rule);
        let lines = "Cookie: one=1; SRV=x; two=2\r\n";
        clearway.client().get_with("/", lines);
        let seen = server.seen().pop().unwrap();
        assert_eq!(seen.header("cookie"), wanted, "{rule}");
    }
}

#[test]
fn a_cookie_of_a_lost_server_is_replaced() {
    let mut servers = named(&["a", "b"]);
    let clearway = over(
        &servers,
        "sticky = { cookie = \"SRV\" }\nhealth = { kind = \"tcp\", interval = \"50ms\", fast_interval = \"50ms\" }",
    );
    let pair = wait_cookie(&clearway, "b");
    let lost = servers.pop().unwrap();
    let address = lost.address().to_owned();
    lost.stop();
    clearway.wait_state(&address, &["down"]);
    let response = clearway
        .client()
        .get_with("/", &format!("Cookie: {pair}\r\n"));
    assert_eq!(response.text(), "a");
    let new = response.header("set-cookie").unwrap_or_default();
    assert!(new.starts_with("SRV=") && !new.starts_with(&pair), "{new}");
    // A made-up cookie is no error either.
    assert_eq!(
        clearway
            .client()
            .get_with("/", "Cookie: SRV=zzz\r\n")
            .text(),
        "a"
    );
}

fn wait_cookie(clearway: &Clearway, server: &str) -> String {
    clearway_testkit::wait::until("a cookie", || {
        let response = clearway.get("/");
        let cookie = response.header("set-cookie")?.split(';').next()?.to_owned();
        (response.text() == server).then_some(cookie)
    })
}

/// Sends a request on a connection of its own and returns at once.
fn ask(clearway: &Clearway) -> Client {
    let mut client = clearway.client();
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    client
}

#[test]
fn maxconn_is_never_exceeded_and_the_queue_is_fair() {
    let gate = Gate::new();
    let server = Server::script(behave::gated(&gate, "done"));
    let clearway = Clearway::over(&[server.address()], "maxconn = 2");
    let mut clients: Vec<Client> = (0..10).map(|_| ask(&clearway)).collect();
    server.wait_requests(2);
    clearway.wait_metric("clearway_backend_queued", &[("backend", "app")], 8.0);
    assert_eq!((server.requests(), server.open()), (2, 2));
    gate.open();
    for client in &mut clients {
        assert_eq!(client.response("GET").text(), "done");
    }
    assert!(server.connections() <= 10);
    assert!(clearway.faults().is_empty());
}

#[test]
fn a_queued_request_gives_up_after_its_time() {
    let gate = Gate::new();
    let server = Server::script(behave::gated(&gate, "done"));
    let clearway = Clearway::over(
        &[server.address()],
        "maxconn = 1\n[timeouts]\nqueue = \"200ms\"\n",
    );
    let mut first = ask(&clearway);
    server.wait_requests(1);
    let response = clearway.get("/");
    assert_eq!(response.status, 503);
    assert_eq!(
        response.proxy_error().as_deref(),
        Some("connection_limit_reached")
    );
    assert_eq!(clearway.fault(&response.id()).code(), "queue_timeout");
    gate.open();
    assert_eq!(first.response("GET").text(), "done");
    assert_eq!(clearway.get("/").status, 200, "the slot is free again");
}

#[test]
fn a_full_queue_refuses_at_once() {
    let gate = Gate::new();
    let server = Server::script(behave::gated(&gate, "done"));
    let clearway = Clearway::over(&[server.address()], "maxconn = 1\nqueue = { size = 1 }");
    let mut first = ask(&clearway);
    server.wait_requests(1);
    let mut second = ask(&clearway);
    clearway.wait_metric("clearway_backend_queued", &[("backend", "app")], 1.0);
    let response = clearway.get("/");
    assert_eq!(response.status, 503);
    assert_eq!(clearway.fault(&response.id()).code(), "queue_full");
    gate.open();
    assert_eq!(first.response("GET").text(), "done");
    assert_eq!(second.response("GET").text(), "done");
}

#[test]
fn a_client_that_leaves_the_queue_frees_its_place() {
    let gate = Gate::new();
    let server = Server::script(behave::gated(&gate, "done"));
    let clearway = Clearway::over(&[server.address()], "maxconn = 1\nqueue = { size = 1 }");
    let mut first = ask(&clearway);
    server.wait_requests(1);
    let second = ask(&clearway);
    clearway.wait_metric("clearway_backend_queued", &[("backend", "app")], 1.0);
    second.reset();
    clearway_testkit::wait::until("the queue to be empty", || {
        (clearway.metrics().count("clearway_backend_queued", &[]) == 0).then_some(())
    });
    let mut third = ask(&clearway);
    gate.open();
    assert_eq!(first.response("GET").text(), "done");
    assert_eq!(third.response("GET").text(), "done");
    assert_eq!(
        server.requests(),
        2,
        "the request of the client that left was not sent"
    );
}

#[test]
fn requests_beyond_one_servers_maxconn_go_to_the_other() {
    let gate = Gate::new();
    let servers = [
        Server::script(behave::gated(&gate, "a")),
        Server::script(behave::gated(&gate, "b")),
    ];
    let clearway = over(&servers, "maxconn = 3");
    let mut clients: Vec<Client> = (0..6).map(|_| ask(&clearway)).collect();
    for server in &servers {
        server.wait_requests(3);
    }
    gate.open();
    for client in &mut clients {
        assert_eq!(client.response("GET").status, 200);
    }
}

/// `main` with one slot, and what else the backend has.
fn one_slot(main: &Server, other: &str, settings: &str) -> Clearway {
    Clearway::start(&format!(
        "[listener.web]\nbind = \"127.0.0.1:0\"\n[backend.app]\nbalance = \"first\"\n\
         servers = [{{ address = {:?}, maxconn = 1 }}, {other}]\n{settings}\n",
        main.address()
    ))
}

fn wait_queued(clearway: &Clearway, count: f64) {
    clearway.wait_metric("clearway_backend_queued", &[("backend", "app")], count);
}

#[test]
fn a_full_server_is_waited_for_and_not_replaced_by_its_backup() {
    let gate = Gate::new();
    let main = Server::script(behave::gated(&gate, "main"));
    let spare = Server::script(behave::ok("spare"));
    let backup = format!("{{ address = {:?}, backup = true }}", spare.address());
    let clearway = one_slot(&main, &backup, "");
    let mut clients = [ask(&clearway), ask(&clearway)];
    wait_queued(&clearway, 1.0);
    gate.open();
    for client in &mut clients {
        assert_eq!(client.response("GET").text(), "main");
    }
    assert_eq!(spare.requests(), 0);
}

#[test]
fn whoever_waits_for_a_server_that_goes_away_gets_its_backup() {
    let gate = Gate::new();
    let main = Server::script(behave::gated(&gate, "main"));
    let spare = Server::script(behave::ok("spare"));
    let backup = format!("{{ address = {:?}, backup = true }}", spare.address());
    let clearway = one_slot(&main, &backup, "");
    let mut first = ask(&clearway);
    main.wait_requests(1);
    let mut second = ask(&clearway);
    wait_queued(&clearway, 1.0);
    let away = format!("/api/v1/servers/app/{}/maintenance", main.address());
    assert_eq!(clearway.admin().post(&away, "").status, 200);
    assert_eq!(second.response("GET").text(), "spare");
    gate.open();
    assert_eq!(first.response("GET").text(), "main");
}

#[test]
fn a_retry_waits_for_a_full_server_rather_than_try_the_broken_one_again() {
    let gate = Gate::new();
    let main = Server::script(behave::gated(&gate, "main"));
    let broken = Server::script(behave::close_after_request());
    let clearway = one_slot(
        &main,
        &format!("{:?}", broken.address()),
        "retries = { max = 1, on = [\"server_closed_no_response\"] }\nejection = \"off\"",
    );
    let mut first = ask(&clearway);
    main.wait_requests(1);
    let mut second = ask(&clearway);
    wait_queued(&clearway, 1.0);
    gate.open();
    assert_eq!(first.response("GET").text(), "main");
    assert_eq!(second.response("GET").text(), "main");
    assert_eq!((main.requests(), broken.requests()), (2, 1));
}
