//! Checks that ask the health service of gRPC, and checks over HTTP/2.

use clearway_testkit::clearway::simple;
use clearway_testkit::h2::{Play, Reply, Step, behave as h2};
use clearway_testkit::{Authority, Clearway, Conn, Gate, TlsServer, behave, server, wait};

use super::python::{Server, call};

const FAST: &str = "interval = \"50ms\", fast_interval = \"50ms\", timeout = \"2s\"";

/// A backend whose servers speak HTTP/2 and are checked like this.
fn checked(servers: &[&str], health: &str) -> String {
    let backend = format!("protocol = \"h2\"\nhealth = {{ {health}, {FAST}, rise = 1, fall = 1 }}");
    simple(servers, &backend)
}

/// Waits until a server is in a state with a reason that has these words.
fn wait_reason(clearway: &Clearway, address: &str, state: &str, words: &str) {
    let mut last = String::new();
    let told = wait::within(wait::LIMIT, || {
        let entry = clearway.server(address);
        last = format!("{entry:#}");
        (entry["state"] == state && last.contains(words)).then_some(())
    });
    assert!(told.is_some(), "not {state} with {words:?}: {last}");
}

#[test]
fn a_server_that_stops_serving_is_left_out_until_it_serves_again() {
    let servers = [
        Server::healthy("shop.Cart SERVING\n"),
        Server::healthy("shop.Cart SERVING\n"),
    ];
    let addresses = [servers[0].address(), servers[1].address()];
    let clearway = Clearway::start(&checked(&addresses, "grpc = \"shop.Cart\""));
    for address in addresses {
        wait_reason(&clearway, address, "up", "SERVING");
    }
    servers[0].set_health("shop.Cart NOT_SERVING\n");
    let reason = "the service \\\"shop.Cart\\\" is NOT_SERVING";
    wait_reason(&clearway, addresses[0], "down", reason);
    let got = call(clearway.address("web"), "parallel");
    assert_eq!(got["wrong"], serde_json::json!([]));
    let attempts = "clearway_server_attempts_total";
    let by = |server: &str| clearway.metrics().count(attempts, &[("server", server)]);
    assert_eq!(by(addresses[0]), 0);
    clearway.wait_metric(attempts, &[("server", addresses[1])], 320.0);
    servers[0].set_health("shop.Cart SERVING\n");
    clearway.wait_state(addresses[0], &["up"]);
    call(clearway.address("web"), "parallel");
    clearway.wait_metric(attempts, &[("server", addresses[0])], 1.0);
    // When nobody is left, a call is told so.
    for server in &servers {
        server.set_health("shop.Cart NOT_SERVING\n");
        clearway.wait_state(server.address(), &["down"]);
    }
    let got = call(clearway.address("web"), "echo");
    assert_eq!(
        (&got["status"], &got["words"]),
        (&"UNAVAILABLE".into(), &"all_servers_down".into())
    );
}

#[test]
fn what_a_health_service_says_is_told_in_words() {
    let server = Server::healthy("known SERVING\n");
    let clearway = Clearway::start(&checked(&[server.address()], "grpc = \"known\""));
    wait_reason(&clearway, server.address(), "up", "SERVING");
    for (said, words) in [
        (
            "known NOT_SERVING\n",
            "the service \\\"known\\\" is NOT_SERVING",
        ),
        (
            "known SERVICE_UNKNOWN\n",
            "does not know the service \\\"known\\\" (SERVICE_UNKNOWN)",
        ),
        (
            "known UNKNOWN\n",
            "the health of the service \\\"known\\\" is UNKNOWN",
        ),
        (
            "other SERVING\n",
            "does not know the service \\\"known\\\" (NOT_FOUND: unknown service)",
        ),
        (
            "known PERMISSION_DENIED\n",
            "the health service failed (PERMISSION_DENIED: as the file says)",
        ),
        ("known GARBAGE\n", "the answer is no health of a service"),
    ] {
        server.set_health(said);
        wait_reason(&clearway, server.address(), "down", words);
        server.set_health("known SERVING\n");
        clearway.wait_state(server.address(), &["up"]);
    }
}

#[test]
fn servers_without_a_health_service_are_explained() {
    let none = Server::start();
    let lines = server::Server::script(behave::ok("x"));
    let page = server::Server::script(h2::answer(Reply::status(404, "no such page")));
    let other = server::Server::script(h2::ok("<p>Hello"));
    let silent = server::Server::script(h2::never_answer());
    let mute = server::Server::script(h2::silent());
    let closes = server::Server::script(behave::close_after_request());
    let (closed, _port) = behave::closed_port();
    for (address, words) in [
        (
            none.address(),
            "the server has no health service (UNIMPLEMENTED: Method not found!)",
        ),
        (
            lines.address(),
            "The server answered with HTTP/1 on a connection that was to speak HTTP/2",
        ),
        (
            page.address(),
            "the status is 404, expected 200: whoever answers does not speak gRPC",
        ),
        (other.address(), "the answer is no answer of gRPC"),
        (silent.address(), "no byte of response came within"),
        (mute.address(), "no byte of response came within"),
        (
            closes.address(),
            "the server closed the connection without a byte of response",
        ),
        (&closed, "the connection was refused"),
    ] {
        let health = "kind = \"grpc\", timeout = \"300ms\"";
        let text = checked(&[address], health).replace(", timeout = \"2s\"", "");
        let clearway = Clearway::start(&text);
        wait_reason(&clearway, address, "down", words);
    }
}

#[test]
fn a_check_without_a_service_is_of_the_whole_server() {
    let server = Server::healthy(" SERVING\n");
    let health = "kind = \"grpc\", headers = { x-check = \"yes\" }";
    let clearway = Clearway::start(&checked(&[server.address()], health));
    wait_reason(&clearway, server.address(), "up", "the server is SERVING");
    server.wait_said("checked '' yes");
    server.set_health(" NOT_SERVING\n");
    wait_reason(
        &clearway,
        server.address(),
        "down",
        "the server is NOT_SERVING",
    );
}

#[test]
fn checks_by_grpc_speak_tls() {
    let root = Authority::new("root");
    let identity = root.issue(&["app.test"]);
    let server = Server::healthy_and_secure("shop.Cart SERVING\n", &identity);
    let lines = TlsServer::with(&identity).alpn(&["http/1.1"]);
    let lines = lines.script(behave::ok("x"));
    let nameless = TlsServer::with(&identity).script(behave::ok("x"));
    let tls = "tls = { ca = \"$DIR/ca.pem\", server_name = \"app.test\" }";
    // Whatever is spoken with the servers otherwise: a check by gRPC needs HTTP/2.
    for protocol in ["h2", "auto", "http1"] {
        let servers = [server.address(), lines.address(), nameless.address()];
        let text = checked(&servers, "grpc = \"shop.Cart\"");
        let protocol = format!("{tls}\nprotocol = \"{protocol}\"");
        let text = text.replace("protocol = \"h2\"", &protocol);
        let clearway = Clearway::setup(&text)
            .with_file("ca.pem", &root.pem())
            .start();
        server.set_health("shop.Cart SERVING\n");
        wait_reason(&clearway, server.address(), "up", "SERVING");
        wait_reason(
            &clearway,
            lines.address(),
            "down",
            "no_application_protocol",
        );
        let words = "did not agree on HTTP/2 in the TLS handshake";
        wait_reason(&clearway, nameless.address(), "down", words);
        server.set_health("shop.Cart NOT_SERVING\n");
        wait_reason(&clearway, server.address(), "down", "NOT_SERVING");
    }
}

#[test]
fn checks_by_http_speak_what_the_servers_speak() {
    let frames = || {
        server::Server::script(h2::replies(Play::default(), |_, request| {
            match request.target.as_str() {
                "/health" => Reply::ok("fine"),
                _ => Reply::status(404, "nothing here"),
            }
        }))
    };
    let server = frames();
    let health = "path = \"/health\", body = \"fine\", host = \"app.test\"";
    let clearway = Clearway::start(&checked(&[server.address()], health));
    wait_reason(&clearway, server.address(), "up", "200");
    let request = server.wait_requests(1).remove(0);
    assert_eq!(
        (request.version.as_str(), request.target.as_str()),
        ("HTTP/2", "/health")
    );
    assert_eq!(request.header(":authority"), Some("app.test"));
    assert_eq!(
        clearway.reload(&checked(&[server.address()], "path = \"/\"")),
        "ok"
    );
    wait_reason(&clearway, server.address(), "down", "the status is 404");
    // A port of its own is for something simpler.
    let lines = server::Server::script(behave::ok("fine"));
    let port = lines.address().rsplit(':').next().unwrap();
    let health = format!("path = \"/health\", port = {port}");
    assert_eq!(
        clearway.reload(&checked(&[server.address()], &health)),
        "ok"
    );
    wait_reason(&clearway, server.address(), "up", "200");
    assert_eq!(lines.wait_requests(1)[0].version, "HTTP/1.1");
}

#[test]
fn checks_by_http_read_an_answer_to_its_end() {
    // The body is on its way when the head has decided.
    for (path, state, words) in [("/health", "up", "200"), ("/nothing", "down", "404")] {
        let gate = Gate::new();
        let opened = gate.clone();
        let server = server::Server::script(h2::replies(Play::default(), move |_, request| {
            let status = if request.target == "/health" {
                200
            } else {
                404
            };
            let head = Reply::new().whole().head(status, &[]);
            let head = head.step(Step::Note("head".to_owned()));
            head.wait(&opened).data("fi").last("ne")
        }));
        let text = checked(&[server.address()], &format!("path = {path:?}"));
        let clearway = Clearway::start(&text);
        server.wait_note("head");
        gate.open();
        wait_reason(&clearway, server.address(), state, words);
        server.wait_ended(1);
        let notes = server.notes();
        assert!(!notes.iter().any(|n| n.starts_with("reset")), "{notes:?}");
    }
}

#[test]
fn checks_by_http_over_tls_speak_what_is_agreed_on() {
    let root = Authority::new("root");
    let identity = root.issue(&["app.test"]);
    let tls = "tls = { ca = \"$DIR/ca.pem\", server_name = \"app.test\" }";
    for alpn in [&["h2"][..], &["h2", "http/1.1"], &["http/1.1"], &[]] {
        let server = TlsServer::with(&identity).alpn(alpn);
        let server = server.script(|mut conn: Conn| {
            let Ok(agreed) = conn.handshake() else { return };
            if agreed.alpn.as_deref() == Some("h2") {
                h2::ok("fine")(conn);
            } else if conn.request().is_some() {
                conn.send(behave::response(200, "fine"));
            }
        });
        for protocol in ["h2", "auto"] {
            let text = checked(&[server.address()], "path = \"/health\", body = \"fine\"");
            let protocol = format!("{tls}\nprotocol = \"{protocol}\"");
            let text = text.replace("protocol = \"h2\"", &protocol);
            let clearway = Clearway::setup(&text)
                .with_file("ca.pem", &root.pem())
                .start();
            wait_reason(&clearway, server.address(), "up", "200");
        }
        let version = if alpn.contains(&"h2") {
            "HTTP/2"
        } else {
            "HTTP/1.1"
        };
        let seen = server.seen();
        assert!(
            seen.iter().all(|r| r.version == version),
            "{alpn:?}: {seen:?}"
        );
    }
}
