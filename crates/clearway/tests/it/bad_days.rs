//! What goes wrong on a bad day: no files, no answers, too many connections.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clearway_testkit::clearway::simple;
use clearway_testkit::stream::Stream;
use clearway_testkit::{Clearway, Client, Gate, Metrics, Server, behave, process, wait};

/// Waits until accepting was paused; over a connection that was there before files ran out.
fn wait_paused(admin: &mut Client) {
    wait::until("accepting to be paused", || {
        let metrics = Metrics::parse(&admin.get("/metrics").text());
        let paused = metrics.count("clearway_accept_paused_total", &[("listener", "web")]);
        let named = metrics.count("clearway_faults_total", &[("fault", "out_of_files")]);
        (paused > 0 && named > 0).then_some(())
    });
}

#[test]
fn running_out_of_files_pauses_and_recovers() {
    let server = Server::script(behave::ok("x"));
    let clearway = Clearway::setup(&simple(&[server.address()], ""))
        .open_files(80)
        .start();
    let address = clearway.address("web").to_owned();
    let mut admin = clearway.admin();
    let metrics = Metrics::parse(&admin.get("/metrics").text());
    assert_eq!(metrics.count("clearway_accept_paused_total", &[]), 0);
    // More connections than the balancer may have files; many stay in the kernel's queue.
    let held: Vec<Stream> = (0..200)
        .filter_map(|_| Stream::connect(&address).ok())
        .collect();
    assert!(held.len() > 80, "{}", held.len());
    wait_paused(&mut admin);
    // One that is not taken yet is not refused either: it waits for its turn.
    let mut late = clearway.client();
    late.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    drop(held);
    assert_eq!(late.response("GET").status, 200);
    assert_eq!(clearway.get("/").status, 200);
    assert_eq!(clearway.admin().get("/healthz").status, 200);
    drop(late);
    wait::until("all connections to be gone", || {
        let open = clearway
            .metrics()
            .count("clearway_client_connections", &[("listener", "web")]);
        (open == 0).then_some(())
    });
}

#[test]
fn requests_that_need_a_file_are_refused_by_name_while_files_are_short() {
    const GET: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";
    let gate = Gate::new();
    let server = Server::script(behave::gated(&gate, "x"));
    let clearway = Clearway::setup(&simple(&[server.address()], "retries = { max = 0 }"))
        .open_files(80)
        .start();
    let address = clearway.address("web").to_owned();
    let mut admin = clearway.admin();
    let mut early: Vec<Client> = (0..30).map(|_| clearway.client()).collect();
    wait::until("the first connections to be accepted", || {
        let metrics = Metrics::parse(&admin.get("/metrics").text());
        (metrics.count("clearway_accepted_total", &[]) == 30).then_some(())
    });
    let held: Vec<Stream> = (0..200)
        .filter_map(|_| Stream::connect(&address).ok())
        .collect();
    wait_paused(&mut admin);
    // Each needs a connection to the server, as none is kept.
    for client in &mut early {
        client.send(GET);
    }
    let record = clearway.fault_with("out_of_files");
    assert_eq!(record.status(), 503);
    gate.open();
    let statuses: Vec<u16> = early.iter_mut().map(|c| c.response("GET").status).collect();
    assert!(statuses.contains(&503), "{statuses:?}");
    assert!(
        statuses.iter().all(|s| matches!(s, 200 | 503)),
        "{statuses:?}"
    );
    drop(held);
    // Their connections outlived the refusal.
    for client in &mut early {
        wait::until("an answer", || {
            (client.get("/").status == 200).then_some(())
        });
    }
    let codes: Vec<String> = clearway
        .faults()
        .iter()
        .map(|f| f.code().to_owned())
        .collect();
    assert!(codes.iter().all(|c| c == "out_of_files"), "{codes:?}");
}

#[test]
fn connections_in_use_are_served_while_files_are_short() {
    let server = Server::script(behave::ok("x"));
    let clearway = Clearway::setup(&simple(&[server.address()], ""))
        .open_files(80)
        .start();
    let mut admin = clearway.admin();
    let mut early: Vec<Client> = (0..8).map(|_| clearway.client()).collect();
    for client in &mut early {
        assert_eq!(client.get("/").status, 200);
    }
    let address = clearway.address("web").to_owned();
    let held: Vec<Stream> = (0..150)
        .filter_map(|_| Stream::connect(&address).ok())
        .collect();
    // Long enough for whoever makes room for itself at the cost of others.
    wait::until("accepting to be paused many times", || {
        for client in &mut early {
            let response = client.get("/");
            assert_eq!(response.status, 200, "{}", response.text());
        }
        let metrics = Metrics::parse(&admin.get("/metrics").text());
        (metrics.count("clearway_accept_paused_total", &[]) >= 10).then_some(())
    });
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
fn a_server_that_hangs_delays_only_its_own_requests_and_is_used_again_when_it_answers() {
    const GET: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";
    let answers = Arc::new(AtomicBool::new(false));
    let sick = Server::script({
        let answers = Arc::clone(&answers);
        move |mut conn| {
            while conn.request().is_some() {
                if !answers.load(Ordering::SeqCst) {
                    conn.drain();
                    return;
                }
                conn.send(behave::response(200, "sick"));
            }
        }
    });
    let good = Server::script(behave::ok("good"));
    // A request that comes while the first server is at work goes to the second.
    let clearway = Clearway::setup(
        "[listener.web]\nbind = \"127.0.0.1:0\"\n[backend.app]\nbalance = \"first\"\n\
         servers = [{ address = \"$SICK\", maxconn = 1 }, \"$GOOD\"]\nretries = { max = 0 }\n\
         ejection = { consecutive = 2, duration = \"50ms\" }\n[timeouts]\nresponse = \"2s\"\n",
    )
    .set("SICK", sick.address())
    .set("GOOD", good.address())
    .start();
    for round in 1..=2 {
        let mut late = clearway.client();
        late.send(GET);
        sick.wait_requests(round);
        let mut others = clearway.client();
        for _ in 0..50 {
            assert_eq!(others.get("/").text(), "good");
        }
        let response = late.response("GET");
        assert_eq!(response.status, 504);
        assert_eq!(clearway.fault(&response.id()).code(), "response_timeout");
    }
    let faults = |labels: &[(&str, &str)]| {
        let metrics = clearway.metrics();
        metrics.count("clearway_server_faults_total", labels)
    };
    let timeouts = faults(&[("server", sick.address()), ("fault", "response_timeout")]);
    assert_eq!((timeouts, faults(&[])), (2, 2));
    answers.store(true, Ordering::SeqCst);
    wait::until("an answer of the server that hung", || {
        (clearway.get("/").text() == "sick").then_some(())
    });
    let mut client = clearway.client();
    for _ in 0..50 {
        assert_eq!(client.get("/").status, 200);
    }
    assert_eq!(faults(&[]), timeouts);
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

/// A number of this process's limit of open files: `soft` or `hard`.
fn files(column: usize) -> usize {
    let text = std::fs::read_to_string("/proc/self/limits").unwrap();
    text.lines()
        .find_map(|l| l.strip_prefix("Max open files"))
        .and_then(|l| l.split_whitespace().nth(column))
        .and_then(|n| n.parse().ok())
        .unwrap()
}

/// Lets this process, and with it the balancer, open as many files as it may; how many
/// connections can be held then, of `wanted`: each takes a file here and one in the balancer.
fn affordable(wanted: usize) -> usize {
    let (own, hard) = (std::process::id(), files(1));
    let prlimit = process::program("prlimit", "util-linux");
    process::output(
        Command::new(prlimit)
            .args(["--pid", &own.to_string()])
            .arg(format!("--nofile={hard}:{hard}")),
    );
    let count = files(0).saturating_sub(200).min(wanted);
    assert!(count >= 2_000, "the limit of open files is too low: {hard}");
    count
}

/// Bytes of memory that a process has in use.
fn memory(pid: u32) -> usize {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    let kib = line.and_then(|l| l.split_whitespace().next()?.parse::<usize>().ok());
    kib.unwrap() * 1024
}

#[test]
fn thousands_of_idle_connections_cost_little_and_stay_open() {
    let server = Server::script(behave::ok("x"));
    let count = affordable(20_000);
    let mut clearway = Clearway::over(
        &[server.address()],
        "[timeouts]\nclient_idle = \"300s\"\nrequest_head = \"300s\"\n",
    );
    let pid = clearway.process().id();
    let open = |clearway: &Clearway| {
        let metrics = clearway.metrics();
        metrics.count("clearway_client_connections", &[("listener", "web")])
    };
    let address = clearway.address("web").to_owned();
    let connect = |number: usize| {
        // Several sources, because one has fewer ports than there are connections.
        let source = Ipv4Addr::new(127, 0, 1, u8::try_from(number % 8).unwrap() + 1);
        let mut client = Client::connect_from(IpAddr::V4(source), &address);
        assert_eq!(client.get("/").status, 200, "connection {number}");
        client
    };
    // What the first connections need is there for all.
    let mut held: Vec<Client> = (0..count / 20).map(connect).collect();
    let (warm, before) = (held.len(), memory(pid));
    held.extend((warm..count).map(connect));
    let each = memory(pid).saturating_sub(before) / (count - warm);
    println!("{count} idle connections, {each} bytes of memory each");
    let mut client = clearway.client();
    for _ in 0..100 {
        assert_eq!(client.get("/").status, 200);
    }
    assert_eq!(open(&clearway), count as u64 + 1);
    for client in held.iter_mut().step_by(10) {
        assert_eq!(client.get("/").status, 200);
    }
    drop((held, client));
    wait::until("all connections to be gone", || {
        (open(&clearway) == 0).then_some(())
    });
    assert_eq!(clearway.get("/").status, 200);
    assert!(each < 4096, "{each} bytes of memory for a connection");
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
    let status = format!("/proc/{}/stat", clearway.process().id());
    wait::until("the process to stand still", || {
        std::fs::read_to_string(&status)
            .ok()?
            .contains(") T ")
            .then_some(())
    });
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
