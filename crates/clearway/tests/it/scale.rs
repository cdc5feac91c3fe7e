//! Configurations of a size that few have.

#![expect(clippy::print_stdout, reason = "times are told, not judged")]

use clearway_testkit::process::Signal;
use clearway_testkit::{Clearway, Server, behave, netns, wait};

const BACKENDS: usize = 1_000;
const SERVERS: usize = 10;

/// Servers that every loopback address leads to, one port each: the ten of each backend.
struct Crowd([Server; SERVERS]);

impl Crowd {
    fn new() -> Self {
        Self(std::array::from_fn(|_| {
            Server::script_at("0.0.0.0:0", behave::ok("x"))
        }))
    }

    /// A listener, and backends of ten servers each with a route by host; each server has an
    /// address of its own.
    fn config(&self, backend: &str) -> String {
        let mut text = "[listener.web]\nbind = \"127.0.0.1:0\"\n".to_owned();
        for number in 0..BACKENDS {
            let (third, fourth) = (number / 250 + 1, number % 250 + 1);
            let servers = self.0.iter().map(|server| {
                let port = server.address().trim_start_matches("0.0.0.0");
                format!("\"127.0.{third}.{fourth}{port}\"")
            });
            let servers: Vec<String> = servers.collect();
            text.push_str(&format!(
                "[[route]]\nhost = \"h{number}.test\"\nbackend = \"b{number}\"\n\
                 [backend.b{number}]\nservers = [{}]\n{backend}\n",
                servers.join(", ")
            ));
        }
        text
    }

    fn requests(&self) -> usize {
        self.0.iter().map(Server::requests).sum()
    }
}

/// Asks some of the backends.
fn ask(clearway: &Clearway) {
    let mut client = clearway.client();
    for number in (0..BACKENDS).step_by(BACKENDS / 7) {
        for _ in 0..2 * SERVERS {
            client.send(format!(
                "GET /{number} HTTP/1.1\r\nHost: h{number}.test\r\n\r\n"
            ));
            assert_eq!(client.response("GET").status, 200);
        }
    }
}

/// Starts, serves, and does so again after a reload that changes every backend; prints how long
/// each took.
fn starts_serves_and_reloads(test: &str, backend: &str, look: impl Fn(&Clearway, &Crowd)) {
    netns::run_in_new(test, || {
        let crowd = Crowd::new();
        let begun = wait::now();
        let mut clearway = Clearway::start(&crowd.config(backend));
        println!("ready after {:?}", begun.elapsed());
        ask(&clearway);
        look(&clearway, &crowd);
        clearway.rewrite(&crowd.config(&format!("{backend}\nbalance = \"random\"")));
        let begun = wait::now();
        clearway.process().signal(Signal::Hup);
        clearway.wait_stderr("reloaded: ");
        println!("reloaded after {:?}", begun.elapsed());
        ask(&clearway);
        look(&clearway, &crowd);
        let metrics = clearway.metrics();
        let reloads = |result| metrics.count("clearway_reloads_total", &[("result", result)]);
        assert_eq!((reloads("ok"), reloads("refused")), (1, 0));
        assert!(clearway.faults().is_empty(), "{:?}", clearway.faults());
        assert!(clearway.stop().success());
    });
}

#[test]
fn a_thousand_backends_of_ten_servers_start_serve_and_reload() {
    starts_serves_and_reloads(
        "scale::a_thousand_backends_of_ten_servers_start_serve_and_reload",
        "",
        |clearway, _| assert_eq!(clearway.admin().get("/healthz").status, 200),
    );
}

#[test]
fn ten_thousand_servers_are_checked() {
    starts_serves_and_reloads(
        "scale::ten_thousand_servers_are_checked",
        "health = { path = \"/check\", interval = \"5s\", timeout = \"4s\" }",
        |clearway, crowd| {
            let before = crowd.requests();
            wait::until("a check of every server", || {
                (crowd.requests() >= before + BACKENDS * SERVERS).then_some(())
            });
            let metrics = clearway.metrics();
            let up = metrics.count("clearway_server_up", &[]);
            assert_eq!(up, (BACKENDS * SERVERS) as u64);
        },
    );
}
