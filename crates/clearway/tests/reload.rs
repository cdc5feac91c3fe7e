//! Changes of the configuration and the end of the process lose nothing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clearway_testkit::clearway::simple;
use clearway_testkit::peers::Wrk;
use clearway_testkit::process::Signal;
use clearway_testkit::{Clearway, End, Gate, Server, behave, wait};

/// Reloads a hundred times, between two configurations with different servers.
fn reload_a_hundred_times(clearway: &Clearway, texts: [&str; 2]) {
    for text in texts.into_iter().cycle().take(100) {
        assert_eq!(clearway.reload(text), "ok", "{:?}", clearway.stderr());
    }
    let ok = clearway
        .metrics()
        .count("clearway_reloads_total", &[("result", "ok")]);
    assert_eq!(ok, 100);
    assert!(clearway.faults().is_empty(), "{:?}", clearway.faults());
}

#[test]
fn a_hundred_reloads_under_load_lose_no_request() {
    let servers = [
        Server::script(behave::ok("a")),
        Server::script(behave::ok("b")),
    ];
    let addresses = servers.each_ref().map(|s| s.address().to_owned());
    let both = simple(&[&addresses[0], &addresses[1]], "");
    let one = simple(&[&addresses[0]], "balance = \"least_requests\"");
    let clearway = Clearway::start(&both);
    let wrk = Wrk::start(clearway.address("web"), 16, 100);
    clearway.wait_metric("clearway_listener_requests_total", &[], 100.0);
    reload_a_hundred_times(&clearway, [&one, &both]);
    let load = wrk.stop();
    assert!(load.requests > 500, "{}", load.text);
    assert_eq!((load.refused, load.broken), (0, 0), "{}", load.text);
    assert!(clearway.faults().is_empty(), "{:?}", clearway.faults());
}

/// Says that something is over, also when a test fails.
struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn a_hundred_reloads_answer_every_request_once() {
    let servers = ["a", "b"].map(|name| Server::script(behave::ok(name)));
    let addresses = servers.each_ref().map(|s| s.address().to_owned());
    let both = simple(&[&addresses[0], &addresses[1]], "");
    let other = simple(&[&addresses[1]], "balance = \"least_requests\"");
    let clearway = Clearway::start(&both);
    let over = AtomicBool::new(false);
    let sent: usize = std::thread::scope(|scope| {
        let (clearway, over) = (&clearway, &over);
        // Even ones keep their connection, odd ones use each once.
        let clients: Vec<_> = (0..6)
            .map(|number| {
                scope.spawn(move || {
                    let mut client = clearway.client();
                    let mut sent = 0;
                    while !over.load(Ordering::SeqCst) {
                        if number % 2 == 1 {
                            client = clearway.client();
                        }
                        let response = client.get(&format!("/{number}/{sent}"));
                        assert_eq!(response.status, 200, "{}", response.text());
                        assert_eq!(response.end, End::Complete, "{response:?}");
                        sent += 1;
                    }
                    sent
                })
            })
            .collect();
        let end = OnDrop(over);
        reload_a_hundred_times(clearway, [&other, &both]);
        drop(end);
        clients.into_iter().map(|c| c.join().unwrap()).sum()
    });
    println!("{sent} requests during a hundred reloads");
    let mut targets: Vec<String> = servers
        .iter()
        .flat_map(|s| s.seen().into_iter().map(|r| r.target))
        .collect();
    assert_eq!(targets.len(), sent);
    targets.sort_unstable();
    targets.dedup();
    assert_eq!(targets.len(), sent);
    let counted = wait::until("every request to be counted", || {
        let metrics = clearway.metrics();
        let count = metrics.count("clearway_listener_requests_total", &[("listener", "web")]);
        (count >= sent as u64).then_some(count)
    });
    assert_eq!(counted, sent as u64);
}

#[test]
fn a_bad_file_keeps_the_old_configuration() {
    let server = Server::script(behave::ok("still here"));
    let clearway = Clearway::over(&[server.address()], "");
    for bad in [
        "[listener.web",
        "[listener.web]\nbind = 7\n",
        "[listener.web]\nbnd = \"127.0.0.1:0\"\n",
    ] {
        assert_eq!(clearway.reload(bad), "failed", "{bad}");
        assert_eq!(clearway.get("/").text(), "still here");
    }
    let line = clearway.wait_stderr("bnd");
    assert!(line.contains("clearway.toml:2:"), "{line}");
    assert_eq!(clearway.reload(&simple(&[server.address()], "")), "ok");
}

#[test]
fn connections_and_requests_survive_a_reload() {
    let gate = Gate::new();
    let old = Server::script(behave::gated(&gate, "old"));
    let new = Server::script(behave::ok("new"));
    let clearway = Clearway::over(&[old.address()], "");
    let mut busy = clearway.client();
    busy.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    old.wait_requests(1);
    assert_eq!(clearway.reload(&simple(&[new.address()], "")), "ok");
    assert_eq!(clearway.get("/").text(), "new");
    gate.open();
    assert_eq!(
        busy.response("GET").text(),
        "old",
        "the request goes on where it began"
    );
    assert_eq!(
        busy.get("/").text(),
        "new",
        "the connection stays, the next request sees the change"
    );
}

#[test]
fn a_removed_server_is_drained() {
    let gate = Gate::new();
    let leaving = Server::script(behave::gated(&gate, "leaving"));
    let staying = Server::script(behave::ok("staying"));
    let clearway = Clearway::over(
        &[leaving.address(), staying.address()],
        "balance = \"first\"",
    );
    let mut busy = clearway.client();
    busy.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    leaving.wait_requests(1);
    clearway.reload(&simple(&[staying.address()], "balance = \"first\""));
    for _ in 0..10 {
        assert_eq!(clearway.get("/").text(), "staying");
    }
    gate.open();
    assert_eq!(busy.response("GET").text(), "leaving");
    assert_eq!(leaving.requests(), 1);
    // Nothing is left in a pool: the removed server sees its connections end.
    leaving.wait_ended(leaving.connections());
    assert!(!clearway.servers().to_string().contains(leaving.address()));
}

#[test]
fn listeners_come_and_go() {
    let server = Server::script(behave::ok("x"));
    let one = simple(&[server.address()], "");
    let clearway = Clearway::start(&one);
    let folder = clearway.file("second.sock");
    let two = format!("{one}[listener.second]\nbind = \"unix:{folder}\"\n");
    assert_eq!(clearway.reload(&two), "ok");
    let second = format!("unix:{folder}");
    assert_eq!(
        clearway_testkit::Client::connect(&second).get("/").text(),
        "x"
    );
    assert_eq!(clearway.reload(&one), "ok");
    wait::until("the second listener to be gone", || {
        clearway_testkit::stream::Stream::connect(&second)
            .is_err()
            .then_some(())
    });
    assert_eq!(clearway.get("/").text(), "x");
}

#[test]
fn health_is_kept_over_a_reload() {
    let server = Server::script(behave::ok("x"));
    let (address, _guard) = behave::closed_port();
    let health = "health = { kind = \"tcp\", interval = \"50ms\", fast_interval = \"50ms\" }";
    let clearway = Clearway::over(&[server.address(), &address], health);
    clearway.wait_state(&address, &["down"]);
    let changed = simple(
        &[server.address(), &address],
        &format!("{health}\nbalance = \"random\""),
    );
    assert_eq!(clearway.reload(&changed), "ok");
    assert_eq!(clearway.server(&address)["state"], "down");
    for _ in 0..10 {
        assert_eq!(clearway.get("/").status, 200);
    }
}

#[test]
fn the_admin_api_reloads_too() {
    let old = Server::script(behave::ok("old"));
    let new = Server::script(behave::ok("new"));
    let clearway = Clearway::over(&[old.address()], "");
    clearway.rewrite(&simple(&[new.address()], ""));
    let response = clearway.admin().post("/api/v1/reload", "");
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(clearway.get("/").text(), "new");
    clearway.rewrite("[nonsense");
    let response = clearway.admin().post("/api/v1/reload", "");
    assert!((400..500).contains(&response.status), "{}", response.status);
    assert!(
        response.text().contains("clearway.toml"),
        "{}",
        response.text()
    );
    assert_eq!(clearway.get("/").text(), "new");
}

#[test]
fn sigterm_lets_requests_end() {
    let gate = Gate::new();
    let server = Server::script(behave::gated(&gate, "finished"));
    let mut clearway = Clearway::over(&[server.address()], "");
    let mut idle = clearway.client();
    let mut busy = clearway.client();
    busy.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    server.wait_requests(1);
    let address = clearway.address("web").to_owned();
    clearway.terminate();
    wait::until("new connections to be refused", || {
        clearway_testkit::stream::Stream::connect(&address)
            .is_err()
            .then_some(())
    });
    idle.expect_closed();
    assert!(clearway.is_running(), "a request is still on its way");
    gate.open();
    let response = busy.response("GET");
    assert_eq!(response.text(), "finished");
    busy.expect_closed();
    let status = clearway.wait();
    assert!(status.success(), "{status}");
}

#[test]
fn sigterm_waits_no_longer_than_it_may() {
    let server = Server::script(behave::never_answer());
    let mut clearway = Clearway::setup(&format!(
        "[process]\nworkers = 1\ndrain = \"300ms\"\n{}",
        simple(&[server.address()], "")
    ))
    .start();
    let mut busy = clearway.client();
    busy.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    server.wait_requests(1);
    let started = wait::now();
    clearway.terminate();
    clearway.wait();
    assert!(started.elapsed() < Duration::from_secs(10));
    let (bytes, _) = busy.read_to_end();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    assert!(
        text.is_empty() || text.starts_with("HTTP/1.1 503"),
        "{text}"
    );
}

#[test]
fn sigterm_under_load_breaks_nothing_that_began() {
    let server = Server::script(behave::ok("x"));
    let clearway = Clearway::over(&[server.address()], "");
    let mut client = clearway.client();
    for _ in 0..50 {
        assert_eq!(client.get("/").status, 200);
    }
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    server.wait_requests(51);
    clearway.terminate();
    assert_eq!(client.response("GET").text(), "x");
    let mut clearway = clearway;
    assert!(clearway.wait().success());
}

#[test]
fn sigint_ends_like_sigterm() {
    let mut clearway = Clearway::over(&["127.0.0.1:1"], "");
    clearway.process().signal(Signal::Int);
    assert!(clearway.wait().success());
}

#[test]
fn readiness_follows_the_life_of_the_process() {
    let gate = Gate::new();
    let server = Server::script(behave::gated(&gate, "x"));
    let mut clearway = Clearway::over(&[server.address()], "");
    assert_eq!(clearway.admin().get("/healthz").status, 200);
    assert_eq!(clearway.admin().get("/readyz").status, 200);
    let mut busy = clearway.client();
    busy.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    server.wait_requests(1);
    clearway.terminate();
    wait::until("the balancer to say that it is not ready", || {
        (clearway.admin().get("/readyz").status == 503).then_some(())
    });
    assert_eq!(clearway.admin().get("/healthz").status, 200);
    gate.open();
    assert_eq!(busy.response("GET").status, 200);
    assert!(clearway.wait().success());
}
