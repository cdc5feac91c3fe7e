//! What goes wrong on a bad day: no files, no answers, too many connections.

use std::net::{IpAddr, Ipv4Addr};

use clearway_testkit::clearway::simple;
use clearway_testkit::stream::Stream;
use clearway_testkit::{Clearway, Client, Gate, Server, behave, wait};

#[test]
fn running_out_of_files_pauses_and_recovers() {
    let server = Server::script(behave::ok("x"));
    let clearway = Clearway::setup(&simple(&[server.address()], ""))
        .open_files(80)
        .start();
    let address = clearway.address("web").to_owned();
    // More connections than the balancer may have files; many stay in the kernel's queue.
    let held: Vec<Stream> = (0..200)
        .filter_map(|_| Stream::connect(&address).ok())
        .collect();
    assert!(held.len() > 80, "{}", held.len());
    drop(held);
    wait::until("the balancer to serve again", || {
        let mut client = Client::over(Stream::connect(&address).ok()?);
        client.try_send("GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        client
            .try_response("GET")
            .ok()
            .filter(|r| r.status == 200)
            .map(drop)
    });
    assert_eq!(clearway.admin().get("/healthz").status, 200);
}

#[test]
fn connections_in_use_are_served_while_files_are_short() {
    let server = Server::script(behave::ok("x"));
    let clearway = Clearway::setup(&simple(&[server.address()], ""))
        .open_files(80)
        .start();
    let mut early = clearway.client();
    assert_eq!(early.get("/").status, 200);
    let address = clearway.address("web").to_owned();
    let held: Vec<Stream> = (0..150)
        .filter_map(|_| Stream::connect(&address).ok())
        .collect();
    for _ in 0..20 {
        assert_eq!(early.get("/").status, 200);
    }
    drop(held);
}

#[test]
fn a_server_that_accepts_and_never_answers_does_not_stop_the_others() {
    let dead = Server::script(behave::never_read());
    let alive = Server::script(behave::ok("alive"));
    let clearway = Clearway::over(
        &[dead.address(), alive.address()],
        "retries = { max = 0 }\nejection = { consecutive = 3, duration = \"60s\" }\n[timeouts]\nresponse = \"200ms\"\n",
    );
    let mut answers = Vec::new();
    let mut client = clearway.client();
    for _ in 0..30 {
        answers.push(client.get("/").status);
    }
    let late = answers.iter().filter(|&&s| s == 504).count();
    assert!((1..=6).contains(&late), "{answers:?}");
    assert!(
        answers.iter().all(|s| matches!(s, 200 | 504)),
        "{answers:?}"
    );
}

#[test]
fn a_server_that_hangs_is_not_flooded_with_checks() {
    let dead = Server::script(behave::never_read());
    let clearway = Clearway::over(
        &[dead.address()],
        "health = { path = \"/\", interval = \"20ms\", fast_interval = \"20ms\", timeout = \"200ms\" }",
    );
    clearway.wait_state(dead.address(), &["down"]);
    wait::elapse(std::time::Duration::from_secs(1));
    // One check at a time, each ending by its time-out: about five a second, not fifty.
    let count = dead.connections();
    assert!(count <= 25, "{count} checks");
}

/// How many connections can be held: each takes a file here and one in the balancer, which may need
/// a second one for a server.
fn affordable() -> usize {
    let text = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let soft: usize = text
        .lines()
        .find_map(|l| l.strip_prefix("Max open files"))
        .and_then(|l| l.split_whitespace().next())
        .and_then(|n| n.parse().ok())
        .unwrap_or(1024);
    (soft / 2).saturating_sub(1000).min(20_000)
}

#[test]
fn thousands_of_idle_connections_cost_little() {
    let server = Server::script(behave::ok("x"));
    let clearway = Clearway::over(
        &[server.address()],
        "[timeouts]\nclient_idle = \"300s\"\nrequest_head = \"300s\"\n",
    );
    let address = clearway.address("web").to_owned();
    let count = affordable();
    let mut held = Vec::with_capacity(count);
    for number in 0..count {
        // Several sources, because one has fewer ports than there are connections.
        let last = u8::try_from(number % 8).unwrap_or(0) + 1;
        let source = IpAddr::V4(Ipv4Addr::new(127, 0, 1, last));
        match Stream::connect_from(Some(source), &address) {
            Ok(stream) => held.push(stream),
            Err(error) => panic!("connection {number} of {count}: {error}"),
        }
    }
    let mut client = clearway.client();
    for _ in 0..100 {
        assert_eq!(client.get("/").status, 200);
    }
    // Each is alive: a request on some of them is answered.
    for stream in held.drain(..).step_by(count / 50 + 1) {
        assert_eq!(Client::over(stream).get("/").status, 200);
    }
    println!("{count} idle connections");
}

#[test]
fn a_burst_of_connections_is_taken() {
    let gate = Gate::new();
    let server = Server::script(behave::gated(&gate, "x"));
    let clearway = Clearway::over(&[server.address()], "");
    let mut clients: Vec<Client> = (0..300)
        .map(|_| {
            let mut client = clearway.client();
            client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
            client
        })
        .collect();
    server.wait_requests(300);
    gate.open();
    for client in &mut clients {
        assert_eq!(client.response("GET").status, 200);
    }
}

#[test]
fn a_server_that_comes_back_is_used_again() {
    let server = Server::script(behave::ok("before"));
    let address = server.address().to_owned();
    let clearway = Clearway::over(
        &[&address],
        "ejection = { consecutive = 2, duration = \"100ms\" }",
    );
    let mut client = clearway.client();
    assert_eq!(client.get("/").text(), "before");
    server.stop();
    for _ in 0..10 {
        assert!(matches!(client.get("/").status, 502 | 503));
    }
    let _after = Server::script_at(&address, behave::ok("after"));
    wait::until("the server to be used again", || {
        (client.get("/").text() == "after").then_some(())
    });
}

#[test]
fn a_frozen_balancer_goes_on_where_it_was() {
    use clearway_testkit::process::Signal;
    let server = Server::script(behave::ok("x"));
    let mut clearway = Clearway::over(&[server.address()], "");
    let mut client = clearway.client();
    assert_eq!(client.get("/").status, 200);
    clearway.process().signal(Signal::Stop);
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    assert!(!client.hears_within(wait::SHORT));
    clearway.process().signal(Signal::Cont);
    assert_eq!(client.response("GET").status, 200);
}

#[test]
fn receipts_are_bounded() {
    let (address, _guard) = behave::closed_port();
    let clearway = Clearway::over(&[&address], "retries = { max = 0 }");
    let mut client = clearway.client();
    let mut last = String::new();
    for _ in 0..3000 {
        last = client.get("/").id();
    }
    assert!(
        clearway
            .receipt(&last)
            .to_string()
            .contains("connect_refused")
    );
    assert_eq!(clearway.admin().get("/healthz").status, 200);
}
