//! Clients that TLS fails with: what they are told, and what is recorded of them.

use std::io::Write;
use std::process::{Command, Stdio};

use clearway_testkit::clearway::{FaultRecord, secure};
use clearway_testkit::process::program;
use clearway_testkit::stream::Stream;
use clearway_testkit::tls::Reason;
use clearway_testkit::{Authority, Clearway, Client, End, Server, TlsClient, Wish, behave};

/// A listener `web` with TLS, another `proxied` with a PROXY header before it, and one server.
fn start(root: &Authority, server: &Server, more: &str) -> Clearway {
    let text = secure("certificates = \"$DIR/a.pem\"", &[server.address()], more)
        + "[listener.proxied]\nbind = \"127.0.0.1:0\"\nproxy_protocol = \"accept\"\n\
           trusted = [\"127.0.0.1/32\"]\ntls = { certificates = \"$DIR/a.pem\" }\n";
    Clearway::setup(&text)
        .with_file("a.pem", &root.issue(&["a.test"]).pem())
        .start()
}

fn connect(clearway: &Clearway) -> Client {
    Client::connect(clearway.address("web"))
}

/// The words of the receipt of a fault.
fn words(clearway: &Clearway, record: &FaultRecord) -> String {
    clearway.words(record.id())
}

/// Nothing of this is ever blamed on a server.
fn nobody_is_blamed(clearway: &Clearway) {
    let blamed = clearway
        .metrics()
        .count("clearway_server_faults_total", &[]);
    assert_eq!(blamed, 0);
}

#[test]
fn plain_http_gets_an_answer_in_plain_http() {
    let root = Authority::new("root");
    let server = Server::script(behave::ok("x"));
    let clearway = start(&root, &server, "");
    for request in [
        "GET /secret HTTP/1.1\r\nHost: a.test\r\n\r\n",
        "POST /form HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc",
        "OPTIONS * HTTP/1.1\r\nHost: a.test\r\n\r\n",
    ] {
        let mut client = connect(&clearway);
        client.send(request);
        let response = client.response("GET");
        assert_eq!(
            (response.status, response.end.clone()),
            (400, End::Complete)
        );
        let kind = response.header("content-type").unwrap_or_default();
        assert!(kind.starts_with("text/"), "{kind}");
        assert!(response.closes());
        client.expect_closed();
        let record = clearway.fault(&response.id());
        assert_eq!((record.code(), record.status()), ("http_on_tls_port", 400));
    }
    let labels = [("fault", "http_on_tls_port"), ("listener", "web")];
    clearway.wait_metric("clearway_faults_total", &labels, 3.0);
    // Where the request line comes byte by byte, too.
    let mut client = connect(&clearway);
    client.drip(
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        std::time::Duration::from_millis(1),
    );
    assert_eq!(client.response("GET").status, 400);
    assert_eq!(server.connections(), 0);
    nobody_is_blamed(&clearway);
}

#[test]
fn other_protocols_are_told_from_tls() {
    let root = Authority::new("root");
    let server = Server::script(behave::ok("x"));
    let clearway = start(&root, &server, "");
    for (number, bytes) in [
        &b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"[..],
        b"\x00\x01\x02\x03",
        b"EHLO mail.test\r\n",
        b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10",
    ]
    .into_iter()
    .enumerate()
    {
        let mut client = connect(&clearway);
        client.send(bytes);
        client.expect_closed();
        let labels = [("fault", "not_tls")];
        let seen = clearway.wait_metric("clearway_faults_total", &labels, (number + 1) as f64);
        assert_eq!(seen, (number + 1) as f64, "{bytes:?}");
    }
    let record = clearway.fault_with("not_tls");
    assert_eq!(
        (record.json["side"].as_str(), record.status()),
        (Some("client"), 0)
    );
    nobody_is_blamed(&clearway);
}

/// A TLS handshake by openssl, which speaks what the library of these tests does not.
fn openssl(clearway: &Clearway, options: &[&str]) -> String {
    let mut command = Command::new(program("openssl", "openssl"));
    command
        .args(["s_client", "-connect", clearway.address("web")])
        .args(["-servername", "a.test"])
        .args(options)
        .stdin(Stdio::null());
    let Ok(output) = command.output() else {
        return String::new();
    };
    let both = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&both).into_owned()
}

#[test]
fn clients_that_are_too_old_are_refused() {
    let root = Authority::new("root");
    let server = Server::script(behave::ok("x"));
    let clearway = start(&root, &server, "");
    for (number, version) in ["-tls1_1", "-tls1"].into_iter().enumerate() {
        let said = openssl(&clearway, &[version, "-cipher", "ALL:@SECLEVEL=0"]);
        assert!(said.contains("alert protocol version"), "{said}");
        let labels = [("fault", "tls_version_mismatch")];
        clearway.wait_metric("clearway_faults_total", &labels, (number + 1) as f64);
    }
    let record = clearway.fault_with("tls_version_mismatch");
    assert_eq!(record.json["party"], "client");
    nobody_is_blamed(&clearway);
}

#[test]
fn clients_without_a_common_cipher_are_refused() {
    let root = Authority::new("root");
    let server = Server::script(behave::ok("x"));
    let clearway = start(&root, &server, "");
    for options in [
        &["-tls1_2", "-cipher", "AES128-SHA"][..],
        &["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"],
        &["-tls1_3", "-groups", "ffdhe2048"],
        &["-tls1_3", "-sigalgs", "RSA+SHA256"],
    ] {
        let said = openssl(&clearway, options);
        assert!(
            said.contains("alert handshake failure"),
            "{options:?}: {said}"
        );
    }
    let labels = [("fault", "tls_cipher_mismatch")];
    clearway.wait_metric("clearway_faults_total", &labels, 4.0);
}

#[test]
fn silent_and_hasty_clients_are_recorded_and_scanners_are_not() {
    let root = Authority::new("root");
    let server = Server::script(behave::ok("x"));
    let clearway = start(&root, &server, "[timeouts]\ntls_handshake = \"300ms\"\n");
    for _ in 0..3 {
        // Whoever only connects did nothing wrong.
        drop(connect(&clearway));
    }
    let mut silent = connect(&clearway);
    silent.expect_closed();
    clearway.fault_with("tls_handshake_timeout");
    // A hello that never ends.
    let mut stuck = connect(&clearway);
    stuck.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03");
    stuck.expect_closed();
    let labels = [("fault", "tls_handshake_timeout")];
    clearway.wait_metric("clearway_faults_total", &labels, 2.0);
    let mut hasty = connect(&clearway);
    hasty.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03");
    hasty.half_close();
    hasty.expect_closed();
    let record = clearway.fault_with("tls_handshake_closed");
    assert!(words(&clearway, &record).contains("tls_handshake_closed"));
    let hasty = connect(&clearway);
    hasty.stream().write_all(b"\x16\x03\x01\x02").unwrap();
    hasty.reset();
    let labels = [("fault", "tls_handshake_closed")];
    clearway.wait_metric("clearway_faults_total", &labels, 2.0);
    // Records are written after they are counted.
    clearway_testkit::wait::until("four records", || {
        (clearway.faults().len() >= 4).then_some(())
    });
    clearway_testkit::wait::until("no connection", || {
        let open = clearway.metrics().sum("clearway_client_connections", &[]);
        (open < 1.0).then_some(())
    });
    assert_eq!(clearway.faults().len(), 4);
}

#[test]
fn clients_that_refuse_our_certificate_say_why() {
    let root = Authority::new("root");
    let server = Server::script(behave::ok("x"));
    let clearway = start(&root, &server, "");
    let web = clearway.address("web");
    let other = Authority::new("other");
    for (reason, number, name) in [
        (Reason::UnknownIssuer, 48, "unknown_ca"),
        (Reason::Expired, 45, "certificate_expired"),
        (Reason::Revoked, 44, "certificate_revoked"),
        (Reason::NotValidForName, 42, "bad_certificate"),
    ] {
        for tls in [
            TlsClient::trusting(&other).only_12(),
            TlsClient::trusting(&other).only_13(),
        ] {
            tls.refusing(reason.clone()).try_open(web).unwrap_err();
        }
        let labels = [("fault", "tls_client_rejects_certificate")];
        clearway.wait_metric("clearway_faults_total", &labels, 1.0);
        let seen = clearway_testkit::wait::until(name, || {
            let all = clearway.faults();
            let mine: Vec<_> = all
                .into_iter()
                .filter(|r| r.json["alert"] == number)
                .collect();
            (mine.len() == 2).then_some(mine)
        });
        for record in seen {
            assert_eq!(record.code(), "tls_client_rejects_certificate");
            assert_eq!(record.json["alert_name"], name);
            assert_eq!(record.json["party"], "configuration");
            let text = words(&clearway, &record);
            assert!(
                text.contains(&format!("TLS alert {number} {name}")),
                "{text}"
            );
        }
    }
    // The alert that curl and browsers send.
    let said = openssl(&clearway, &["-verify_return_error", "-tls1_2"]);
    assert!(said.contains("verify error"), "{said}");
    let labels = [("fault", "tls_client_rejects_certificate")];
    clearway.wait_metric("clearway_faults_total", &labels, 9.0);
    nobody_is_blamed(&clearway);
}

#[test]
fn a_broken_record_ends_the_connection_with_an_alert_and_a_record() {
    let root = Authority::new("root");
    let server = Server::script(behave::ok("x"));
    let clearway = start(&root, &server, "");
    for (number, tls) in [
        TlsClient::trusting(&root).only_13(),
        TlsClient::trusting(&root).only_12(),
    ]
    .into_iter()
    .enumerate()
    {
        let mut client = tls.open(clearway.address("web"));
        assert_eq!(client.get("/").text(), "x");
        let socket = client.stream().tls().unwrap().socket();
        let mut socket = socket;
        // Application data of 32 bytes that nobody can decrypt.
        socket
            .write_all(&[&b"\x17\x03\x03\x00\x20"[..], &[7; 32]].concat())
            .unwrap();
        let end = client.read_to_end().1;
        assert!(
            matches!(&end, End::Malformed(words) if words.contains("BadRecordMac")),
            "{end:?}"
        );
        let labels = [("fault", "tls_client_protocol")];
        clearway.wait_metric("clearway_faults_total", &labels, (number + 1) as f64);
    }
    nobody_is_blamed(&clearway);
}

#[test]
fn tls_behind_a_proxy_header() {
    let root = Authority::new("root");
    let server = Server::script(behave::echo());
    let clearway = start(&root, &server, "[timeouts]\ntls_handshake = \"5s\"\n");
    let address = clearway.address("proxied");
    let tls = TlsClient::trusting(&root);
    let header = b"PROXY TCP4 192.0.2.7 192.0.2.1 4000 443\r\n";
    for split in [true, false] {
        let socket = Stream::connect(address).unwrap();
        if split {
            (&socket).write_all(header).unwrap();
            let mut client = tls.over(socket).unwrap();
            let text = client.get("/").text();
            assert!(
                text.contains("X-Forwarded-For: 192.0.2.7")
                    || text.contains("x-forwarded-for: 192.0.2.7"),
                "{text}"
            );
            continue;
        }
        // Header and the beginning of something else in one segment.
        for (bytes, fault) in [
            (
                &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
                "http_on_tls_port",
            ),
            (b"SSH-2.0-x\r\n", "not_tls"),
            (
                b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03",
                "tls_client_protocol",
            ),
        ] {
            let mut client = Client::connect(address);
            client.send([header, bytes].concat());
            if fault == "http_on_tls_port" {
                assert_eq!(client.response("GET").status, 400);
            } else {
                client.read_to_end();
            }
            let record = clearway.fault_with(fault);
            assert_eq!(record.json["client"], "192.0.2.7:4000", "{}", record.json);
            let took = record.json["total_ms"].as_f64().unwrap();
            assert!(
                took < 4_000.0,
                "found out when the time was over: {took} ms"
            );
        }
    }
    // No PROXY header at all.
    let error = tls.try_open(address).unwrap_err();
    drop(error);
    clearway.fault_with("proxy_header_invalid");
}

#[test]
fn a_listener_whose_certificate_is_expired_goes_on_and_says_so() {
    let root = Authority::new("root");
    let server = Server::script(behave::ok("x"));
    let text = secure("certificates = \"$DIR/old.pem\"", &[server.address()], "");
    let clearway = Clearway::setup(&text)
        .with_file(
            "old.pem",
            &root.grant(&Wish::of(&["a.test"]).expired()).pem(),
        )
        .start();
    let line = clearway.wait_stderr("has expired on");
    assert!(
        line.contains("a.test") && line.contains("listener web"),
        "{line}"
    );
    let tls = TlsClient::credulous();
    assert_eq!(tls.open(clearway.address("web")).get("/").text(), "x");
    let picky = TlsClient::trusting(&root).try_open(clearway.address("web"));
    assert!(picky.unwrap_err().to_string().contains("xpired"));
    let record = clearway.fault_with("certificate_expired");
    assert_eq!(record.json["alert_name"], "certificate_expired");
    assert_eq!(record.json["party"], "configuration");
}
