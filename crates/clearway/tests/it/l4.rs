//! Layer 4: bytes both ways, PROXY headers, and the ends of connections.

use clearway_testkit::clearway::FaultRecord;
use clearway_testkit::stream::Stream;
use clearway_testkit::{Clearway, Client, Conn, End, Server, behave, wait};

fn tcp(listener: &str, backend: &str, server: &Server) -> Clearway {
    Clearway::setup(&format!(
        "[listener.web]\nbind = \"127.0.0.1:0\"\nmode = \"tcp\"\nbackend = \"app\"\n{listener}\n\
         [backend.app]\nservers = [\"$A\"]\n{backend}\n"
    ))
    .set("A", server.address())
    .start()
}

#[test]
fn bytes_pass_both_ways() {
    let server = Server::script(behave::echo_raw());
    let clearway = tcp("", "", &server);
    let mut client = clearway.client();
    for message in ["a", "\0\0\0", "GET / HTTP/1.1\r\n\r\n"] {
        client.send(message);
        assert_eq!(client.take(message.len()), message.as_bytes());
    }
    client.half_close();
    client.expect_closed();
    server.wait_ended(1);
}

#[test]
fn the_server_may_speak_first() {
    let server = Server::script(behave::banner("220 ready\r\n"));
    // The client says nothing, so the listener must not wait for its first bytes.
    let clearway = tcp("defer_accept = false", "", &server);
    assert_eq!(clearway.client().take(11), b"220 ready\r\n");
}

#[test]
fn a_half_closed_client_still_gets_everything() {
    let server = Server::script(|mut conn: Conn| {
        assert_eq!(conn.drain(), End::UntilClose);
        let length = conn.number; // The first connection has number 0.
        conn.send(vec![b'z'; 3_000_000 + length]);
    });
    let clearway = tcp("", "", &server);
    let mut client = clearway.client();
    client.send(vec![b'q'; 1_000_000]);
    client.half_close();
    let (bytes, end) = client.read_to_end();
    assert_eq!((bytes.len(), end), (3_000_000, End::UntilClose));
    assert_eq!(server.bytes().len(), 1_000_000);
}

#[test]
fn a_half_closed_server_still_gets_everything() {
    let server = Server::script(|mut conn: Conn| {
        conn.send("bye");
        conn.half_close();
        conn.drain();
    });
    let clearway = tcp("", "", &server);
    let mut client = clearway.client();
    client.send("one");
    assert_eq!(client.read_to_end(), (b"bye".to_vec(), End::UntilClose));
    client.send("two");
    drop(client);
    server.wait_ended(1);
    assert_eq!(server.bytes(), b"onetwo");
}

#[test]
fn large_streams_are_not_changed() {
    let server = Server::script(behave::echo_raw());
    let clearway = tcp("", "", &server);
    let stream = std::sync::Arc::new(wait::Watched::new(0_usize));
    let body: Vec<u8> = (0..8_000_000_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24).to_le_bytes()[0])
        .collect();
    let mut client = clearway.client();
    let (mut sender, expected) = (
        std::io::BufWriter::new(std::net::TcpStream::connect(clearway.address("web")).unwrap()),
        body.clone(),
    );
    // One thread writes and another reads, on a connection each way at full speed.
    let mut reader = sender.get_ref().try_clone().unwrap();
    let counter = std::sync::Arc::clone(&stream);
    let thread = std::thread::spawn(move || {
        use std::io::Read;
        let mut got = Vec::new();
        reader.read_to_end(&mut got).unwrap();
        counter.change(|n| *n = got.len());
        got
    });
    std::io::Write::write_all(&mut sender, &body).unwrap();
    std::io::Write::flush(&mut sender).unwrap();
    sender
        .get_ref()
        .shutdown(std::net::Shutdown::Write)
        .unwrap();
    assert!(thread.join().unwrap() == expected);
    // Another connection is not disturbed.
    client.send("x");
    assert_eq!(client.take(1), b"x");
}

#[test]
fn resets_pass_as_resets() {
    let server = Server::script(|mut conn: Conn| {
        conn.take(1);
        conn.reset();
    });
    let clearway = tcp("", "", &server);
    let mut client = clearway.client();
    client.send("x");
    assert_eq!(client.read_to_end().1, End::Reset);
    clearway.wait_metric(
        "clearway_server_faults_total",
        &[("fault", "tunnel_server_reset")],
        1.0,
    );
}

#[test]
fn a_dead_server_ends_the_connection_and_is_recorded() {
    let (address, _guard) = behave::closed_port();
    let clearway = Clearway::setup(
        "[listener.web]\nbind = \"127.0.0.1:0\"\nmode = \"tcp\"\nbackend = \"app\"\n\
         [backend.app]\nservers = [\"$A\"]\nretries = { max = 0 }\n",
    )
    .set("A", &address)
    .start();
    // The reset may come so soon that connecting already fails.
    if let Ok(stream) = Stream::connect(clearway.address("web")) {
        let mut client = Client::over(stream);
        client.try_send("x");
        client.expect_closed();
    }
    let record = clearway.fault_with("connect_refused");
    assert_eq!(record.attempt_codes(), ["connect_refused"]);
}

#[test]
fn another_server_is_tried() {
    let (address, _guard) = behave::closed_port();
    let good = Server::script(behave::echo_raw());
    let clearway = Clearway::setup(
        "[listener.web]\nbind = \"127.0.0.1:0\"\nmode = \"tcp\"\nbackend = \"app\"\n\
         [backend.app]\nservers = [\"$A\", \"$B\"]\nbalance = \"first\"\n",
    )
    .set("A", &address)
    .set("B", good.address())
    .start();
    let mut client = clearway.client();
    client.send("ping");
    assert_eq!(client.take(4), b"ping");
}

#[test]
fn idle_tunnels_end() {
    let server = Server::script(behave::echo_raw());
    let clearway = tcp("", "[timeouts]\ntunnel = \"200ms\"\n", &server);
    let mut client = clearway.client();
    client.send("x");
    assert_eq!(client.take(1), b"x");
    client.expect_closed();
    clearway.fault_with("tunnel_idle");
}

#[test]
fn a_tunnel_in_use_does_not_end() {
    let server = Server::script(behave::echo_raw());
    let clearway = tcp("", "[timeouts]\ntunnel = \"500ms\"\n", &server);
    let mut client = clearway.client();
    for _ in 0..10 {
        client.send("x");
        assert_eq!(client.take(1), b"x");
        wait::elapse(std::time::Duration::from_millis(100));
    }
}

#[test]
fn proxy_v1_is_sent() {
    let server = Server::script(behave::proxy_v1_then_ok("x"));
    let clearway = tcp("", "send_proxy = \"v1\"", &server);
    let mut client = clearway.client();
    let local = client.stream().local();
    assert_eq!(client.get("/").text(), "x");
    let port = local.rsplit(':').next().unwrap();
    let to = clearway.address("web").rsplit(':').next().unwrap();
    let line = String::from_utf8(server.bytes()).unwrap();
    assert_eq!(
        line,
        format!("PROXY TCP4 127.0.0.1 127.0.0.1 {port} {to}\r\n")
    );
}

#[test]
fn proxy_v2_is_sent_also_over_http() {
    for mode in ["tcp", "http"] {
        let server = Server::script(behave::proxy_v2_then_ok("x"));
        let clearway = Clearway::setup(&format!(
            "[listener.web]\nbind = \"127.0.0.1:0\"\nmode = \"{mode}\"\nbackend = \"app\"\n\
             [backend.app]\nservers = [\"$A\"]\nsend_proxy = \"v2\"\n"
        ))
        .set("A", server.address())
        .start();
        let mut client = clearway.client();
        let local: std::net::SocketAddr = client.stream().local().parse().unwrap();
        assert_eq!(client.get("/").text(), "x");
        let bytes = server.bytes();
        assert_eq!(bytes[..12], *b"\r\n\r\n\0\r\nQUIT\n", "{mode}");
        assert_eq!(bytes[12..16], [0x21, 0x11, 0, 12], "{mode}");
        assert_eq!(bytes[16..20], [127, 0, 0, 1]);
        assert_eq!(bytes[24..26], local.port().to_be_bytes());
    }
}

#[test]
fn connections_with_a_proxy_header_are_not_shared_between_clients() {
    let server = Server::script(behave::proxy_v1_then_ok("x"));
    let clearway = Clearway::over(&[server.address()], "send_proxy = \"v1\"");
    for _ in 0..6 {
        assert_eq!(clearway.get("/").status, 200);
    }
    assert_eq!(server.connections(), 6, "a header names one client only");
}

const ACCEPT: &str = "proxy_protocol = \"accept\"\ntrusted = [\"127.0.0.1/32\"]";

#[test]
fn proxy_v1_is_accepted() {
    let server = Server::script(behave::proxy_v1_then_ok("x"));
    let clearway = tcp(ACCEPT, "send_proxy = \"v1\"", &server);
    let mut client = clearway.client();
    client.send("PROXY TCP4 192.0.2.7 192.0.2.8 1234 443\r\n");
    assert_eq!(client.get("/").text(), "x");
    assert_eq!(
        server.bytes(),
        b"PROXY TCP4 192.0.2.7 192.0.2.8 1234 443\r\n"
    );
}

#[test]
fn proxy_v2_is_accepted() {
    let server = Server::script(behave::proxy_v1_then_ok("x"));
    let clearway = tcp(ACCEPT, "send_proxy = \"v1\"", &server);
    let mut client = clearway.client();
    let mut head = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0f".to_vec();
    head.extend_from_slice(&[192, 0, 2, 7, 192, 0, 2, 8, 0x04, 0xd2, 0x01, 0xbb]);
    head.extend_from_slice(&[0x04, 0, 0]); // An empty TLV of type NOOP.
    client.send(&head[..10]);
    client.send(&head[10..]);
    assert_eq!(client.get("/").text(), "x");
    assert_eq!(
        server.bytes(),
        b"PROXY TCP4 192.0.2.7 192.0.2.8 1234 443\r\n"
    );
}

#[test]
fn a_local_proxy_header_changes_nothing() {
    let server = Server::script(behave::ok("x"));
    let clearway = tcp(ACCEPT, "", &server);
    let mut client = clearway.client();
    client.send(b"\r\n\r\n\0\r\nQUIT\n\x20\x00\0\0");
    assert_eq!(client.get("/").text(), "x");
}

#[test]
fn a_missing_or_broken_proxy_header_is_refused() {
    let server = Server::script(behave::ok("never"));
    for mode in ["tcp", "http"] {
        let clearway = Clearway::setup(&format!(
            "[listener.web]\nbind = \"127.0.0.1:0\"\nmode = \"{mode}\"\nbackend = \"app\"\n{ACCEPT}\n\
             [backend.app]\nservers = [\"$A\"]\n"
        ))
        .set("A", server.address())
        .start();
        for bytes in [
            "GET / HTTP/1.1\r\nHost: test\r\n\r\n",
            "PROXY TCP4 a b c d\r\n",
            "PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n",
        ] {
            let mut client = clearway.client();
            client.try_send(bytes);
            client.expect_closed();
        }
        clearway.fault_with("proxy_header_invalid");
    }
    assert_eq!(server.connections(), 0);
}

#[test]
fn a_proxy_header_from_somebody_untrusted_is_refused() {
    let server = Server::script(behave::ok("never"));
    let clearway = tcp(
        "proxy_protocol = \"accept\"\ntrusted = [\"192.0.2.0/24\"]",
        "",
        &server,
    );
    let mut client = clearway.client();
    client.try_send(
        "PROXY TCP4 192.0.2.7 192.0.2.8 1234 443\r\nGET / HTTP/1.1\r\nHost: test\r\n\r\n",
    );
    client.expect_closed();
    clearway.fault_with("proxy_header_untrusted");
    assert_eq!(server.connections(), 0);
}

#[test]
fn a_proxy_header_that_does_not_come_is_not_waited_for() {
    let server = Server::script(behave::ok("never"));
    let clearway = tcp(ACCEPT, "[timeouts]\nproxy_header = \"200ms\"\n", &server);
    let mut client = clearway.client();
    client.send("PROXY TCP4");
    client.expect_closed();
    clearway.fault_with("proxy_header_timeout");
}

#[test]
fn unix_sockets_on_both_sides() {
    let server = Server::script_unix(behave::echo_raw());
    let clearway = Clearway::setup(
        "[listener.web]\nbind = \"unix:$DIR/web.sock\"\nmode = \"tcp\"\nbackend = \"app\"\n\
         [backend.app]\nservers = [\"$A\"]\n",
    )
    .set("A", server.address())
    .start();
    let mut client = Client::connect(&format!("unix:{}", clearway.file("web.sock")));
    client.send("through");
    assert_eq!(client.take(7), b"through");
    client.half_close();
    client.expect_closed();
}

#[test]
fn connections_of_a_listener_are_limited() {
    let server = Server::script(behave::echo_raw());
    let clearway = tcp("[listener.web.limits]\nconnections = 2\n", "", &server);
    let mut clients: Vec<Client> = (0..2).map(|_| clearway.client()).collect();
    for client in &mut clients {
        client.send("x");
        client.take(1);
    }
    let mut third = clearway.client();
    third.try_send("x");
    // Either refused at once or left waiting in the kernel's queue, but never served beside the two.
    assert!(!third.hears_within(wait::SHORT) || server.connections() == 2);
    drop(clients);
    server.wait_ended(2);
    let mut next = clearway.client();
    next.send("y");
    assert_eq!(next.take(1), b"y");
}

/// A listener in `mode = "tcp"` over servers that refuse, and the record of a connection to it.
fn refused_by(count: usize, retries: &str) -> (FaultRecord, u64) {
    let guards: Vec<_> = (0..count).map(|_| behave::closed_port()).collect();
    let servers: Vec<&str> = guards.iter().map(|(a, _)| a.as_str()).collect();
    let clearway = Clearway::start(&format!(
        "[listener.web]\nbind = \"127.0.0.1:0\"\nmode = \"tcp\"\nbackend = \"app\"\n\
         [backend.app]\nservers = {servers:?}\nejection = \"off\"\nretries = {{ {retries} }}\n"
    ));
    // The reset may come as early as with the answer to the client's own attempt to connect.
    if let Ok(stream) = Stream::connect(clearway.address("web")) {
        let mut client = Client::over(stream);
        client.try_send("x");
        client.expect_closed();
    }
    let record = clearway.fault_with("connect_refused");
    (
        record,
        clearway.metrics().count("clearway_retries_total", &[]),
    )
}

#[test]
fn a_refused_connection_is_not_tried_elsewhere_unless_connect_is_named() {
    for on in ["", "\"reused\"", "503", "\"connect_timeout\""] {
        let (record, retries) = refused_by(2, &format!("on = [{on}]"));
        assert_eq!(record.attempt_codes(), ["connect_refused"], "{on}");
        assert_eq!(
            record.attempts()[0]["no_retry"],
            "not-configured",
            "{on}: {}",
            record.json
        );
        assert_eq!(retries, 0);
    }
    let (record, retries) = refused_by(2, "on = [\"connect_refused\"], max = 1");
    assert_eq!(
        record.attempts().len(),
        2,
        "the code of the fault is as good"
    );
    assert_eq!(retries, 1);
}

#[test]
fn connections_are_retried_as_often_as_allowed() {
    for max in [0_u8, 1, 3] {
        let (record, retries) = refused_by(5, &format!("max = {max}"));
        let made = usize::from(max) + 1;
        assert_eq!(record.attempt_codes(), vec!["connect_refused"; made]);
        let last = record.attempts().last().unwrap();
        assert_eq!(last["no_retry"], "attempts-used-up", "{}", record.json);
        assert_eq!(retries, u64::from(max));
        let mut tried: Vec<String> = record
            .attempts()
            .iter()
            .map(|a| a["address"].to_string())
            .collect();
        tried.sort();
        tried.dedup();
        assert_eq!(tried.len(), made, "each try goes to another server");
    }
}

#[test]
fn connections_are_not_retried_without_a_budget() {
    let (record, retries) = refused_by(2, "max = 1, budget = 0, budget_min = 0");
    assert_eq!(record.attempt_codes(), ["connect_refused"]);
    assert_eq!(record.attempts()[0]["no_retry"], "budget-empty");
    assert_eq!(retries, 0);
}
