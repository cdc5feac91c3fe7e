//! Requests that come along with the resumption of a session (0-RTT, RFC 8446 section 2.3, RFC 8470).

use std::process::{Command, Stdio};

use clearway_testkit::clearway::secure;
use clearway_testkit::process::{output, program};
use clearway_testkit::{Authority, Clearway, Server, TlsClient, behave, wait};

const GET: &[u8] = b"GET /early HTTP/1.1\r\nHost: a.test\r\n\r\n";
const POST: &[u8] = b"POST /order HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabc";

fn start(root: &Authority, server: &Server, settings: &str) -> Clearway {
    let tls = format!("certificates = \"$DIR/a.pem\"{settings}");
    Clearway::setup(&secure(&tls, &[server.address()], ""))
        .with_file("a.pem", &root.issue(&["a.test"]).pem())
        .with_file("ca.pem", &root.pem())
        .start()
}

/// A client that has sessions to resume.
fn known(root: &Authority, clearway: &Clearway) -> TlsClient {
    let tls = TlsClient::trusting(root).only_13();
    assert_eq!(tls.open(clearway.address("web")).get("/").text(), "x");
    tls
}

#[test]
fn safe_requests_are_served_before_the_handshake_is_complete() {
    let root = Authority::new("root");
    let server = Server::script(behave::ok("x"));
    let clearway = start(&root, &server, ", early_data = true");
    let tls = known(&root, &clearway);
    let mut client = tls.begin(clearway.address("web"), GET).unwrap();
    // The client has not yet proved that it is there.
    let requests = server.wait_requests(2);
    assert_eq!(requests[1].header("early-data"), Some("1"));
    assert_eq!(client.response("GET").text(), "x");
    assert!(client.stream().tls().unwrap().took_early_data());
    // Now it has.
    assert_eq!(client.get("/late").text(), "x");
    let late = server.wait_requests(3).pop().unwrap();
    assert_eq!(late.header("early-data"), None);
    assert!(clearway.faults().is_empty(), "{:?}", clearway.faults());
}

#[test]
fn what_may_not_come_twice_waits_for_the_handshake() {
    let root = Authority::new("root");
    let server = Server::script(behave::ok("x"));
    let clearway = start(&root, &server, ", early_data = true");
    let tls = known(&root, &clearway);
    let mut order = tls.begin(clearway.address("web"), POST).unwrap();
    // One that comes after it is served before it.
    let mut look = tls.begin(clearway.address("web"), GET).unwrap();
    assert_eq!(server.wait_requests(2)[1].target, "/early");
    assert_eq!(look.response("GET").text(), "x");
    assert_eq!(server.requests(), 2);
    assert_eq!(order.response("POST").text(), "x");
    let served = server.wait_requests(3).pop().unwrap();
    assert_eq!(
        (served.target.as_str(), served.body.as_slice()),
        ("/order", &b"abc"[..])
    );
    assert_eq!(served.header("early-data"), None);
    // Nor is one that never proves to be there ever served.
    let lost = tls.begin(clearway.address("web"), POST).unwrap();
    lost.reset();
    clearway.fault_with("tls_handshake_closed");
    assert_eq!(server.requests(), 3);
}

#[test]
fn streams_of_http_2_are_told_apart_as_well() {
    let root = Authority::new("root");
    let server = Server::script(behave::ok("x"));
    let clearway = start(&root, &server, ", early_data = true");
    let tls = TlsClient::trusting(&root).only_13().alpn(&["h2"]);
    // Settings, then GET of / and POST of / on two streams (RFC 7541 appendix A).
    let mut first = tls.open(clearway.address("web"));
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    first.send(&bytes);
    // The tickets have come with its settings.
    first.take(9);
    drop(first);
    for (stream, method) in [(1, 0x83), (3, 0x82)] {
        bytes.extend_from_slice(&[0, 0, 11, 1, 5, 0, 0, 0, stream]);
        bytes.extend_from_slice(&[method, 0x87, 0x84, 0x41, 6]);
        bytes.extend_from_slice(b"a.test");
    }
    let mut client = tls.begin(clearway.address("web"), &bytes).unwrap();
    let first = server.wait_requests(1).pop().unwrap();
    assert_eq!(
        (first.method.as_str(), first.header("early-data")),
        ("GET", Some("1"))
    );
    // The first read makes the handshake; then the other is served, too.
    client.take(9);
    let second = server.wait_requests(2).pop().unwrap();
    assert_eq!(
        (second.method.as_str(), second.header("early-data")),
        ("POST", None)
    );
}

#[test]
fn sessions_are_resumed_once_so_that_nothing_is_played_back() {
    let root = Authority::new("root");
    let server = Server::script(behave::ok("x"));
    let clearway = start(&root, &server, ", early_data = true");
    let openssl = program("openssl", "openssl");
    let [session, ca] = [clearway.file("session"), clearway.file("ca.pem")];
    let early = clearway.file("early");
    let close = "GET /openssl HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";
    std::fs::write(&early, close).unwrap();
    let run = |more: &[&str]| {
        let mut command = Command::new(&openssl);
        let address = clearway.address("web");
        command
            .args(["s_client", "-connect", address, "-CAfile", &ca, "-tls1_3"])
            .args(["-servername", "a.test", "-ign_eof"])
            .args(more);
        command
    };
    // It has to read a response for the tickets that come before it.
    let mut first = run(&["-sess_out", &session]);
    let from = std::fs::File::open(&early).unwrap();
    let said = output(first.stdin(Stdio::from(from)));
    assert!(said.contains("Early data was not sent"), "{said}");
    let again = ["-sess_in", &session, "-early_data", &early];
    let said = output(run(&again).stdin(Stdio::null()));
    assert!(said.contains("Early data was accepted"), "{said}");
    assert!(said.contains("Reused, TLSv1.3"), "{said}");
    assert_eq!(server.wait_requests(2)[1].header("early-data"), Some("1"));
    // The same once more, as somebody would who has listened.
    let mut replayed = run(&again);
    replayed.stdin(Stdio::from(std::fs::File::open(&early).unwrap()));
    let said = output(&mut replayed);
    assert!(said.contains("Early data was rejected"), "{said}");
    let third = server.wait_requests(3).pop().unwrap();
    assert_eq!(third.header("early-data"), None);
}

#[test]
fn nothing_comes_early_unless_the_settings_say_so() {
    let root = Authority::new("root");
    let server = Server::script(behave::ok("x"));
    let clearway = start(&root, &server, "");
    let tls = known(&root, &clearway);
    assert!(tls.begin(clearway.address("web"), GET).is_none());
    // Sessions go on over a reload that turns it on, and off.
    let on = secure(
        "certificates = \"$DIR/a.pem\", early_data = true",
        &[server.address()],
        "",
    );
    assert_eq!(clearway.reload(&on), "ok");
    let tls = known(&root, &clearway);
    let mut client = tls.begin(clearway.address("web"), GET).unwrap();
    assert_eq!(client.response("GET").text(), "x");
    let off = on.replace(", early_data = true", "");
    assert_eq!(clearway.reload(&off), "ok");
    wait::until("early data refused", || {
        let mut client = tls.begin(clearway.address("web"), GET)?;
        // What was refused is not sent again by itself.
        assert_eq!(client.get("/").text(), "x");
        (!client.stream().tls()?.took_early_data()).then_some(())
    });
}
