//! Changes of the configuration and the end of the process lose nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clearway_testkit::clearway::FaultRecord;
use clearway_testkit::clearway::simple;
use clearway_testkit::peers::Wrk;
use clearway_testkit::process::Signal;
use clearway_testkit::{Clearway, Client, Conn, End, Gate, Server, behave, wait};

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

/// A page that is a file and cannot be read: a reload is refused although the file has no mistake.
const BAD_PAGE: &str = "[errors]\n\"502\" = { file = \"/proc/self/mem\" }\n";

#[test]
fn a_refused_reload_changes_no_limit() {
    let gate = Gate::new();
    let server = Server::script(behave::gated(&gate, "x"));
    let settings = |maxconn| format!("maxconn = {maxconn}\nqueue = {{ size = {maxconn} }}");
    let clearway = Clearway::over(&[server.address()], &settings(1));
    let other = simple(&[server.address()], &settings(9));
    assert_eq!(clearway.reload(&format!("{other}{BAD_PAGE}")), "failed");
    clearway.wait_stderr("/proc/self/mem");
    let request = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";
    let mut clients = [clearway.client(), clearway.client()];
    clients.iter_mut().for_each(|client| {
        client.send(request);
    });
    clearway.wait_metric("clearway_backend_queued", &[("backend", "app")], 1.0);
    let refused = clearway.get("/");
    assert_eq!(clearway.fault(&refused.id()).code(), "queue_full");
    // The same limits are obeyed once they are in force.
    assert_eq!(clearway.reload(&other), "ok");
    server.wait_requests(2);
    gate.open();
    for client in &mut clients {
        assert_eq!(client.response("GET").text(), "x");
    }
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
fn kept_connections_are_used_while_they_begin_as_the_file_says() {
    let gate = Gate::new();
    let barrier = gate.clone();
    let server = Server::script(move |mut conn: Conn| {
        while let Some(head) = conn.take_through(b"\r\n\r\n") {
            barrier.wait();
            let is_announced = head.starts_with(b"PROXY ");
            conn.send(behave::response(
                200,
                if is_announced { "proxy" } else { "plain" },
            ));
        }
    });
    let text = |weight, settings: &str| {
        let server = format!("{{ address = {:?}, weight = {weight} }}", server.address());
        simple(&[], &format!("servers = [{server}]\n{settings}")).replace("servers = []\n", "")
    };
    let clearway = Clearway::start(&text(1, ""));
    let mut client = clearway.client();
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    server.wait_connections(1);
    // Another weight is another plan of the server, over the same connections.
    assert_eq!(clearway.reload(&text(2, "")), "ok");
    gate.open();
    assert_eq!(client.response("GET").text(), "plain");
    assert_eq!(client.get("/").text(), "plain");
    assert_eq!(server.connections(), 1);
    assert_eq!(clearway.reload(&text(2, "send_proxy = \"v1\"")), "ok");
    assert_eq!(client.get("/").text(), "proxy");
    assert_eq!(
        clearway.reload(&text(2, "source_address = \"127.0.0.2\"")),
        "ok"
    );
    assert_eq!(client.get("/").text(), "plain");
    // Nothing is left of the connections that began otherwise.
    server.wait_ended(2);
    assert_eq!((server.connections(), server.open()), (3, 1));
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
    assert_eq!(Client::connect(&second).get("/").text(), "x");
    assert_eq!(clearway.reload(&one), "ok");
    wait::until("the second listener to be gone", || {
        clearway_testkit::stream::Stream::connect(&second)
            .is_err()
            .then_some(())
    });
    assert_eq!(clearway.get("/").text(), "x");
}

#[test]
fn an_idle_connection_closes_when_its_listener_goes() {
    let server = Server::script(behave::ok("x"));
    let one = simple(&[server.address()], "");
    let two = format!("{one}[listener.second]\nbind = \"127.0.0.1:0\"\n");
    let clearway = Clearway::start(&two);
    let mut idle = Client::connect(clearway.address("second"));
    let mut kept = clearway.client();
    assert_eq!(idle.get("/").text(), "x");
    assert_eq!(kept.get("/").text(), "x");
    assert_eq!(clearway.reload(&one), "ok");
    idle.expect_closed();
    assert_eq!(kept.get("/").text(), "x");
}

/// A process section that lets what was removed go on for this long.
const SHORT_DRAIN: &str = "[process]\nworkers = 2\ndrain = \"300ms\"\n";

/// An upgraded connection through listener `web`, which the server echoes on.
fn upgraded(clearway: &Clearway) -> Client {
    let mut client = clearway.client();
    client.send("GET / HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n");
    assert_eq!(client.response_head().status, 101);
    echoes(&mut client, "before");
    client
}

fn echoes(client: &mut Client, message: &str) {
    client.send(message);
    assert_eq!(client.take(message.len()), message.as_bytes());
}

/// The records of connections that were ended because their drain time was over.
fn cut_short(clearway: &Clearway) -> Vec<FaultRecord> {
    let mut faults = clearway.faults();
    faults.retain(|f| f.code() == "shutting_down");
    faults
}

#[test]
fn an_upgraded_connection_to_a_removed_server_goes_on_until_its_drain_time_is_over() {
    let leaving = Server::script(behave::upgrade_echo("chat"));
    let staying = Server::script(behave::upgrade_echo("chat"));
    let text = |servers: &[&str]| format!("{SHORT_DRAIN}{}", simple(servers, ""));
    let clearway = Clearway::start(&text(&[leaving.address(), staying.address()]));
    // Round robin over two workers: go on until each server has one.
    let mut clients = Vec::new();
    while leaving.requests() == 0 || staying.requests() == 0 {
        clients.push(upgraded(&clearway));
    }
    let removed = leaving.requests();
    assert_eq!(clearway.reload(&text(&[staying.address()])), "ok");
    leaving.wait_ended(removed);
    // Every tunnel of the one is over, every tunnel of the other still works.
    assert_eq!(staying.open(), clients.len() - removed);
    wait::until("the records of the tunnels that were ended", || {
        (cut_short(&clearway).len() == removed).then_some(())
    });
    for fault in cut_short(&clearway) {
        assert!(
            fault.json.to_string().contains(leaving.address()),
            "{}",
            fault.json
        );
    }
    let alive = clients
        .iter_mut()
        .filter_map(|client| client.try_send("after").then(|| client.try_take(5))?)
        .count();
    assert_eq!(alive, clients.len() - removed);
}

#[test]
fn an_upgraded_connection_to_a_removed_server_works_while_its_drain_time_lasts() {
    let leaving = Server::script(behave::upgrade_echo("chat"));
    let staying = Server::script(behave::ok("staying"));
    let clearway = Clearway::over(&[leaving.address()], "");
    let mut client = upgraded(&clearway);
    assert_eq!(clearway.reload(&simple(&[staying.address()], "")), "ok");
    assert_eq!(clearway.get("/").text(), "staying");
    echoes(&mut client, "after");
    client.half_close();
    client.expect_closed();
    leaving.wait_ended(1);
    assert!(clearway.faults().is_empty(), "{:?}", clearway.faults());
}

/// A listener in `mode = "tcp"` and its backend, both with this name.
fn tcp_pair(name: &str, servers: &[&str]) -> String {
    format!(
        "[listener.{name}]\nbind = \"127.0.0.1:0\"\nmode = \"tcp\"\nbackend = \"{name}\"\n\
         [backend.{name}]\nservers = {servers:?}\nbalance = \"first\"\n"
    )
}

#[test]
fn a_tcp_connection_to_a_removed_server_goes_on_until_its_drain_time_is_over() {
    let leaving = Server::script(behave::echo_raw());
    let staying = Server::script(behave::echo_raw());
    let text = |servers: &[&str]| format!("{SHORT_DRAIN}{}", tcp_pair("web", servers));
    // The first one gets every connection, until another is the first.
    let clearway = Clearway::start(&text(&[staying.address(), leaving.address()]));
    let mut kept = clearway.client();
    echoes(&mut kept, "before");
    let order = text(&[leaving.address(), staying.address()]);
    assert_eq!(clearway.reload(&order), "ok");
    let mut cut = clearway.client();
    echoes(&mut cut, "before");
    assert_eq!((staying.connections(), leaving.connections()), (1, 1));
    assert_eq!(clearway.reload(&text(&[staying.address()])), "ok");
    cut.read_to_end();
    leaving.wait_ended(1);
    let record = clearway.fault_with("shutting_down");
    let attempt = &record.attempts()[0];
    assert_eq!(attempt["address"], leaving.address(), "{}", record.json);
    assert_eq!(record.json["phase"], "tunnel");
    let bytes = ("bytes_sent", "bytes_received");
    assert_eq!(
        (&attempt[bytes.0], &attempt[bytes.1]),
        (&6.into(), &6.into())
    );
    echoes(&mut kept, "after");
    assert_eq!(cut_short(&clearway).len(), 1);
    echoes(&mut clearway.client(), "new");
}

#[test]
fn a_tcp_connection_of_a_removed_listener_goes_on_until_its_drain_time_is_over() {
    let server = Server::script(behave::echo_raw());
    let servers = [server.address()];
    let one = format!("{SHORT_DRAIN}{}", tcp_pair("web", &servers));
    let clearway = Clearway::start(&format!("{one}{}", tcp_pair("second", &servers)));
    let mut kept = clearway.client();
    echoes(&mut kept, "before");
    let mut cut = Client::connect(clearway.address("second"));
    echoes(&mut cut, "before");
    assert_eq!(clearway.reload(&one), "ok");
    cut.read_to_end();
    let record = clearway.fault_with("shutting_down");
    assert_eq!(record.json["listener"], "second", "{}", record.json);
    server.wait_ended(1);
    echoes(&mut kept, "after");
    assert_eq!(cut_short(&clearway).len(), 1);
}

#[test]
fn a_tcp_connection_of_a_removed_listener_works_while_its_drain_time_lasts() {
    let server = Server::script(behave::echo_raw());
    let one = tcp_pair("web", &[server.address()]);
    let clearway = Clearway::start(&format!("{one}{}", tcp_pair("second", &[server.address()])));
    let mut client = Client::connect(clearway.address("second"));
    echoes(&mut client, "before");
    assert_eq!(clearway.reload(&one), "ok");
    echoes(&mut client, "after");
    client.half_close();
    client.expect_closed();
    assert!(clearway.faults().is_empty(), "{:?}", clearway.faults());
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
fn a_server_that_comes_back_begins_anew() {
    let works = Arc::new(AtomicBool::new(false));
    let mended = Arc::clone(&works);
    let shaky = Server::script(move |mut conn: Conn| {
        while conn.request().is_some() && mended.load(Ordering::SeqCst) {
            conn.send(behave::response(200, "shaky"));
        }
    });
    let well = Server::script(behave::ok("well"));
    let settings = "retries = { max = 0 }\nejection = { consecutive = 3, duration = \"60s\" }";
    let both = simple(&[shaky.address(), well.address()], settings);
    let one = simple(&[well.address()], settings);
    let clearway = Clearway::start(&both);
    // Waiting for a request, it holds on to the Plan that its last one began with.
    let mut idle = clearway.client();
    while shaky.requests() < 3 {
        idle.get("/");
    }
    clearway.wait_state(shaky.address(), &["ejected"]);
    works.store(true, Ordering::SeqCst);
    assert_eq!(clearway.reload(&one), "ok");
    assert_eq!(clearway.reload(&both), "ok");
    let answers = |clearway: &Clearway| {
        let mut client = clearway.client();
        let answers: Vec<_> = (0..10).map(|_| client.get("/").text()).collect();
        answers.iter().filter(|text| *text == "shaky").count()
    };
    // Its old failures are no news: it stays in.
    assert_eq!(answers(&clearway), 5);
    assert_eq!(clearway.server(shaky.address())["state"], "unchecked");
    // What the file says of a server that comes back is obeyed.
    assert_eq!(clearway.reload(&one), "ok");
    let away = both.replace(
        &format!("{:?}", shaky.address()),
        &format!("{{ address = {:?}, state = \"maint\" }}", shaky.address()),
    );
    assert_eq!(clearway.reload(&away), "ok");
    assert_eq!(answers(&clearway), 0);
    assert_eq!(idle.get("/").text(), "well");
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
fn a_second_sigterm_waits_for_nothing() {
    let server = Server::script(behave::never_answer());
    let mut clearway = Clearway::setup(&format!(
        "[process]\nworkers = 1\ndrain = \"off\"\n{}",
        simple(&[server.address()], "[timeouts]\nresponse = \"1h\"\n")
    ))
    .start();
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
    assert!(clearway.is_running(), "a request is still on its way");
    clearway.terminate();
    assert!(clearway.wait().success());
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

#[test]
fn requests_that_the_end_cuts_short_leave_their_records() {
    let silent = Server::script(behave::never_answer());
    let begun = Server::script(behave::answer_and_stall(
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
    ));
    // Two requests have the slots of the server, and a third one waits for one.
    let mut clearway = Clearway::start(&format!(
        "[process]\nworkers = 1\ndrain = \"300ms\"\n\
         [listener.web]\nbind = \"127.0.0.1:0\"\n\
         [[route]]\npath = \"/begun\"\nbackend = \"begun\"\n\
         [[route]]\nbackend = \"silent\"\n\
         [backend.begun]\nservers = [{:?}]\n\
         [backend.silent]\nservers = [{:?}]\nmaxconn = 2\n",
        begun.address(),
        silent.address()
    ));
    let ask = |target: &str| {
        let mut client = clearway.client();
        client.send(format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n"));
        client
    };
    let mut cut = ask("/begun");
    assert_eq!(cut.response_head().status, 200);
    let waiting: Vec<_> = ["/a", "/b"].into_iter().map(ask).collect();
    silent.wait_requests(2);
    let queued = ask("/queued");
    clearway.wait_metric("clearway_backend_queued", &[("backend", "silent")], 1.0);
    clearway.terminate();
    clearway.wait();
    assert_ne!(cut.read_to_end().1, End::Complete);
    for mut client in waiting.into_iter().chain([queued]) {
        if let Ok(response) = client.try_response("GET") {
            assert_eq!(response.status, 503, "{}", response.text());
        }
    }
    let records = wait::until("the records of the four requests", || {
        let mut records = cut_short(&clearway);
        records.sort_by_key(|f| f.json["target"].to_string());
        (records.len() == 4).then_some(records)
    });
    // Each says how far it had come, and which server it had been sent to.
    let words = |record: &FaultRecord| {
        let word = |key: &str| record.json[key].as_str().unwrap_or_default().to_owned();
        let servers = record.attempts().iter().map(|a| a["address"].to_string());
        (word("target"), word("phase"), servers.collect::<Vec<_>>())
    };
    let at = |server: &Server| vec![format!("{:?}", server.address())];
    let expected = [
        ("/a", "wait", at(&silent)),
        ("/b", "wait", at(&silent)),
        ("/begun", "deliver", at(&begun)),
        ("/queued", "queue", vec![]),
    ];
    for (record, (target, phase, servers)) in records.iter().zip(expected) {
        let expected = (target.to_owned(), phase.to_owned(), servers);
        assert_eq!(words(record), expected, "{}", record.json);
    }
    assert!(
        records
            .iter()
            .flat_map(FaultRecord::attempts)
            .all(|a| { a["fault"] == "shutting_down" && a["end_ms"].as_f64() > Some(0.0) })
    );
}
