//! Servers that TLS fails with: the reply, the record with the certificate that was presented, and
//! whether another server is tried.

use std::process::Command;

use clearway_testkit::clearway::{FaultRecord, simple};
use clearway_testkit::process::{Process, program};
use clearway_testkit::stream::Stream;
use clearway_testkit::{
    Authority, Clearway, Conn, Identity, Response, Server, TempDir, TlsServer, Wish, behave, wait,
};

/// A backend `app` that speaks TLS to `app.test` and believes `root`.
fn over(root: &Authority, servers: &[&str], tls: &str, more: &str) -> Clearway {
    let backend =
        format!("tls = {{ ca = \"$DIR/ca.pem\", server_name = \"app.test\"{tls} }}\n{more}");
    Clearway::setup(&simple(servers, &backend))
        .with_file("ca.pem", &root.pem())
        .start()
}

/// What a request came to at a server that cannot be used.
struct Refusal {
    clearway: Clearway,
    response: Response,
    record: FaultRecord,
}

impl Refusal {
    fn of(clearway: Clearway) -> Self {
        let response = clearway.get("/secret");
        let record = clearway.fault(&response.id());
        Self {
            clearway,
            response,
            record,
        }
    }

    /// Status, type in `Proxy-Status`, and code are as expected, everywhere.
    fn is(&self, status: u16, rfc9209: &str, code: &str) {
        let error = self.response.proxy_error();
        assert_eq!(self.response.status, status, "{}", self.record.json);
        assert_eq!(error.as_deref(), Some(rfc9209), "{}", self.record.json);
        assert_eq!(self.record.code(), code, "{}", self.record.json);
        assert_eq!(self.record.attempt_codes(), [code], "{}", self.record.json);
        assert!(self.words().contains(code), "{}", self.words());
        let backend = [("fault", code)];
        let counted = self
            .clearway
            .wait_metric("clearway_server_faults_total", &backend, 1.0);
        assert_eq!(counted, 1.0);
    }

    /// The record shows the certificate that the server presented.
    fn shows(&self, identity: &Identity, common_name: &str) {
        let tls = &self.record.attempts()[0]["tls"];
        let certificate = &tls["certificate"];
        assert_eq!(certificate["subject"], format!("CN={common_name}"), "{tls}");
        assert_eq!(certificate["serial"], identity.serial(), "{tls}");
        assert_eq!(tls["verdict"], "refused");
        assert_eq!(tls["server_name"], "app.test");
        let words = self.words();
        assert!(
            words.contains("the certificate presented is for"),
            "{words}"
        );
        assert!(words.contains(common_name), "{words}");
    }

    fn words(&self) -> String {
        self.clearway.words(self.record.id())
    }
}

/// A server with a certificate; no request may ever reach it.
fn bad_server(identity: &Identity) -> Server {
    TlsServer::with(identity).script(|mut conn: Conn| {
        assert!(
            conn.request().is_none(),
            "a request reached a server that is not trusted"
        );
    })
}

#[test]
fn certificates_that_cannot_be_trusted() {
    let root = Authority::new("root");
    let other = Authority::new("somebody else");
    let middle = root.below("middle");
    let mut without_middle = middle.issue(&["app.test"]);
    without_middle.chain.truncate(1);
    let right = ["app.test"];
    for (identity, code, word) in [
        (
            root.grant(&Wish::of(&right).expired()),
            "server_certificate_expired",
            "xpired",
        ),
        (
            root.grant(&Wish::of(&right).early()),
            "server_certificate_not_yet_valid",
            "not valid yet",
        ),
        (
            root.issue(&["other.test", "*.test.test"]),
            "server_certificate_name",
            "other.test",
        ),
        (
            other.issue(&right),
            "server_certificate_untrusted",
            "somebody else",
        ),
        (without_middle, "server_certificate_untrusted", "CN=middle"),
        (
            Identity::self_signed(&Wish::of(&right)),
            "server_certificate_untrusted",
            "itself",
        ),
        (
            root.grant(&Wish::of(&right).for_clients_only()),
            "server_certificate_invalid",
            "app.test",
        ),
    ] {
        let server = bad_server(&identity);
        let refusal = Refusal::of(over(
            &root,
            &[server.address()],
            "",
            "retries = { max = 0 }",
        ));
        refusal.is(502, "tls_certificate_error", code);
        let name = if code == "server_certificate_name" {
            "other.test"
        } else {
            "app.test"
        };
        refusal.shows(&identity, name);
        let words = refusal.words();
        assert!(words.contains(word), "{word}: {words}");
    }
}

#[test]
fn revoked_certificates() {
    let root = Authority::new("root");
    let identity = root.issue(&["app.test"]);
    let server = bad_server(&identity);
    let backend = "tls = { ca = \"$DIR/ca.pem\", crl = \"$DIR/list.crl\", server_name = \"app.test\" }\n\
                   retries = { max = 0 }";
    let clearway = Clearway::setup(&simple(&[server.address()], backend))
        .with_file("ca.pem", &root.pem())
        .with_file("list.crl", &root.revokes(&[&identity]))
        .start();
    let refusal = Refusal::of(clearway);
    refusal.is(502, "tls_certificate_error", "server_certificate_revoked");
    refusal.shows(&identity, "app.test");
    drop(server);
    // One that is not on the list is fine.
    let server = TlsServer::with(&root.issue(&["app.test"])).script(behave::ok("fine"));
    let clearway = Clearway::setup(&simple(&[server.address()], backend))
        .with_file("ca.pem", &root.pem())
        .with_file("list.crl", &root.revokes(&[&identity]))
        .start();
    assert_eq!(clearway.get("/").text(), "fine");
}

#[test]
fn certificates_that_are_trusted_in_other_ways() {
    let root = Authority::new("root");
    let own = Identity::self_signed(&Wish::of(&["app.test"]));
    let ok = |setup: clearway_testkit::Setup| {
        let clearway = setup.start();
        assert_eq!(clearway.get("/").text(), "fine");
        assert!(clearway.faults().is_empty(), "{:?}", clearway.faults());
    };
    // A self-signed one that is given as `ca`.
    let server = TlsServer::with(&own).script(behave::ok("fine"));
    let text = simple(
        &[server.address()],
        "tls = { ca = \"$DIR/own.pem\", server_name = \"app.test\" }",
    );
    ok(Clearway::setup(&text).with_file("own.pem", &own.chain_pem()));
    // Any, when nobody wants to know.
    let text = simple(&[server.address()], "tls = { verify = false }");
    ok(Clearway::setup(&text));
    // The address itself, where no name is written.
    let by_address = TlsServer::with(&root.issue(&["127.0.0.1"])).script(behave::ok("fine"));
    let text = simple(&[by_address.address()], "tls = { ca = \"$DIR/ca.pem\" }");
    ok(Clearway::setup(&text).with_file("ca.pem", &root.pem()));
    // One behind intermediates, which come with it.
    let deep = root.below("a").below("b").issue(&["app.test"]);
    let server = TlsServer::with(&deep).only_12().script(behave::ok("fine"));
    let text = simple(
        &[server.address()],
        "tls = { ca = \"$DIR/ca.pem\", server_name = \"app.test\" }",
    );
    ok(Clearway::setup(&text).with_file("ca.pem", &root.pem()));
}

#[test]
fn a_self_signed_certificate_that_is_given_still_has_to_be_valid() {
    for (wish, code) in [
        (
            Wish::of(&["app.test"]).expired(),
            "server_certificate_expired",
        ),
        (
            Wish::of(&["app.test"]).early(),
            "server_certificate_not_yet_valid",
        ),
        (Wish::of(&["other.test"]), "server_certificate_name"),
    ] {
        let own = Identity::self_signed(&wish);
        let server = bad_server(&own);
        let text = simple(
            &[server.address()],
            "tls = { ca = \"$DIR/own.pem\", server_name = \"app.test\" }\nretries = { max = 0 }",
        );
        let clearway = Clearway::setup(&text).with_file("own.pem", &own.chain_pem());
        Refusal::of(clearway.start()).is(502, "tls_certificate_error", code);
    }
}

#[test]
fn servers_that_demand_a_certificate() {
    let root = Authority::new("root");
    let clients = Authority::new("clients");
    let strangers = Authority::new("strangers");
    let tls = TlsServer::with(&root.issue(&["app.test"])).demanding(&clients);
    for tls in [tls.clone().only_12(), tls.only_13()] {
        let server = tls.script(behave::ok("welcome"));
        let address = [server.address()];
        let refusal = Refusal::of(over(&root, &address, "", "retries = { max = 0 }"));
        refusal.is(502, "tls_alert_received", "server_wants_certificate");
        let attempt = &refusal.record.attempts()[0];
        assert!(attempt["alert"].as_u64().is_some(), "{attempt}");
        assert_eq!(attempt["phase"], "tls", "{attempt}");
        assert_eq!(refusal.record.json["party"], "configuration");
        assert!(refusal.words().contains("TLS alert"), "{}", refusal.words());

        let with = |identity: &Identity| {
            let backend = "tls = { ca = \"$DIR/ca.pem\", server_name = \"app.test\", \
                           certificate = \"$DIR/own.pem\" }\nretries = { max = 0 }";
            Clearway::setup(&simple(&address, backend))
                .with_file("ca.pem", &root.pem())
                .with_file("own.pem", &identity.pem())
                .start()
        };
        let refusal = Refusal::of(with(&strangers.issue(&["balancer.test"])));
        refusal.is(502, "tls_alert_received", "server_wants_certificate");
        let clearway = with(&clients.issue(&["balancer.test"]));
        let mut client = clearway.client();
        for _ in 0..3 {
            assert_eq!(client.get("/").text(), "welcome");
        }
        assert!(clearway.faults().is_empty(), "{:?}", clearway.faults());
    }
}

#[test]
fn servers_that_speak_something_else() {
    let root = Authority::new("root");
    for (bytes, spoken) in [
        (
            "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            "HTTP/1.1",
        ),
        ("SSH-2.0-OpenSSH_9.2p1\r\n", "SSH"),
        ("220 mail.test ESMTP\r\n", "SMTP"),
    ] {
        // As soon as the hello is there, so that it is not lost in a reset.
        let server = Server::script(move |mut conn| {
            conn.take_some();
            conn.send(bytes);
            conn.drain();
        });
        let clearway = over(&root, &[server.address()], "", "retries = { max = 0 }");
        let refusal = Refusal::of(clearway);
        refusal.is(502, "tls_protocol_error", "server_speaks_plain");
        let attempt = &refusal.record.attempts()[0];
        let first = attempt["first_bytes"].as_str().unwrap();
        assert!(
            first.starts_with(bytes.split('\r').next().unwrap()),
            "{attempt}"
        );
        let said = attempt["spoken"].as_str().unwrap_or_default();
        assert!(said.contains(spoken), "{attempt}");
        assert!(refusal.words().contains(spoken), "{}", refusal.words());
    }
    // A server of plain HTTP, with its parser.
    let server = Server::script(behave::ok("x"));
    let clearway = over(
        &root,
        &[server.address()],
        "",
        "timeouts = { connect = \"300ms\" }\nretries = { max = 0 }",
    );
    let refusal = Refusal::of(clearway);
    refusal.is(504, "connection_timeout", "server_tls_timeout");
}

#[test]
fn servers_that_end_the_handshake() {
    let root = Authority::new("root");
    let alert = b"\x15\x03\x03\x00\x02\x02\x28";
    let late = "timeouts = { connect = \"300ms\" }\nretries = { max = 0 }";
    let none = "retries = { max = 0 }";
    let close = Server::script(|mut conn| {
        conn.take_some();
    });
    let reset = Server::script(|mut conn| {
        conn.take_some();
        conn.reset();
    });
    let stall = Server::script(behave::never_read());
    let refuse = Server::script(move |mut conn| {
        conn.take_some();
        conn.send(alert);
        conn.drain();
    });
    let nonsense = Server::script(|mut conn| {
        conn.take_some();
        conn.send(b"\x16\x03\x03\x00\x04\x0e\x00\x00\x00");
        conn.drain();
    });
    for (server, more, status, rfc9209, code) in [
        (&close, none, 502, "tls_protocol_error", "server_tls_closed"),
        (
            &reset,
            none,
            502,
            "connection_terminated",
            "server_tls_reset",
        ),
        (
            &stall,
            late,
            504,
            "connection_timeout",
            "server_tls_timeout",
        ),
        (&refuse, none, 502, "tls_alert_received", "server_tls_alert"),
        (
            &nonsense,
            none,
            502,
            "tls_protocol_error",
            "server_tls_protocol",
        ),
    ] {
        let refusal = Refusal::of(over(&root, &[server.address()], "", more));
        refusal.is(status, rfc9209, code);
        let attempt = &refusal.record.attempts()[0];
        assert_eq!(
            (&attempt["phase"], &attempt["side"]),
            (&"tls".into(), &"server".into())
        );
        if code == "server_tls_alert" {
            assert_eq!(attempt["alert_name"], "handshake_failure");
            assert!(refusal.words().contains("TLS alert 40 handshake_failure"));
        }
        if code == "server_tls_reset" {
            assert_eq!(attempt["errno_name"], "ECONNRESET", "{attempt}");
        }
    }
}

/// openssl as a server, which speaks what the library of these tests does not.
fn s_server(folder: &TempDir, identity: &Identity, options: &[&str]) -> (Process, String) {
    let pem = folder.write("openssl.pem", &identity.pem());
    // It cannot choose a port and say which: one that was free a moment ago.
    let (address, free) = behave::closed_port();
    let port = address.rsplit(':').next().unwrap_or_default().to_owned();
    drop(free);
    let mut command = Command::new(program("openssl", "openssl"));
    command
        .args([
            "s_server",
            "-accept",
            &format!("127.0.0.1:{port}"),
            "-cert",
            &pem,
            "-key",
            &pem,
        ])
        .args(["-cert_chain", &pem, "-www", "-quiet"])
        .args(options);
    let mut process = Process::start(command);
    wait::until("openssl to listen", || {
        assert!(process.is_running(), "{}", process.stderr.text());
        Stream::connect(&address).ok()
    });
    (process, address)
}

#[test]
fn openssl_as_a_server_old_and_new() {
    let root = Authority::new("root");
    let folder = TempDir::new();
    let identity = root.grant(&Wish::of(&["app.test"]).rsa());
    for options in [
        &["-tls1_3"][..],
        &["-tls1_2"],
        &["-tls1_2", "-cipher", "ECDHE-RSA-CHACHA20-POLY1305"],
    ] {
        let (_process, address) = s_server(&folder, &identity, options);
        let clearway = over(&root, &[&address], "", "");
        let response = clearway.get("/");
        assert_eq!(response.status, 200, "{options:?}");
        assert!(response.text().contains("s_server"), "{}", response.text());
    }
    for (options, code) in [
        (
            &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"][..],
            "server_tls_alert",
        ),
        (
            &["-tls1_2", "-cipher", "AES128-SHA:@SECLEVEL=0"],
            "server_tls_alert",
        ),
    ] {
        let (_process, address) = s_server(&folder, &identity, options);
        let clearway = over(&root, &[&address], "", "retries = { max = 0 }");
        let refusal = Refusal::of(clearway);
        refusal.is(502, "tls_alert_received", code);
    }
    let (_process, address) = s_server(&folder, &identity, &["-tls1_2"]);
    let clearway = over(
        &root,
        &[&address],
        ", profile = \"modern\"",
        "retries = { max = 0 }",
    );
    let refusal = Refusal::of(clearway);
    let code = refusal.record.code().to_owned();
    assert!(
        ["server_tls_alert", "server_tls_incompatible"].contains(&code.as_str()),
        "{code}"
    );
}

#[test]
fn another_server_is_tried_where_there_is_one() {
    let root = Authority::new("root");
    let expired = bad_server(&root.grant(&Wish::of(&["app.test"]).expired()));
    let closing = Server::script(|mut conn| {
        conn.take_some();
    });
    let good = TlsServer::with(&root.issue(&["app.test"])).script(behave::echo_body());
    let servers = [expired.address(), closing.address(), good.address()];
    let clearway = over(
        &root,
        &servers,
        "",
        "retries = { max = 2, budget_min = 100 }",
    );
    for number in 0..6 {
        let response = clearway.client().post("/", format!("body {number}"));
        assert_eq!(
            (response.status, response.text()),
            (200, format!("body {number}"))
        );
    }
    let saved = clearway.access(|record| record["retries"].as_u64() > Some(0));
    let codes: Vec<&str> = saved["attempts"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|attempt| attempt["fault"].as_str())
        .collect();
    assert!(!codes.is_empty(), "{saved}");
    for code in codes {
        assert!(
            ["server_certificate_expired", "server_tls_closed"].contains(&code),
            "{code}"
        );
    }
}

#[test]
fn a_request_that_was_sent_is_not_repeated_because_tls_failed_afterwards() {
    let root = Authority::new("root");
    let clients = Authority::new("clients");
    let identity = root.issue(&["app.test"]);
    // In TLS 1.3 the demand is known when the request is out.
    let picky = || {
        TlsServer::with(&identity)
            .only_13()
            .demanding(&clients)
            .script(behave::ok("x"))
    };
    let servers = [picky(), picky()];
    let addresses = servers.each_ref().map(Server::address);
    let clearway = over(
        &root,
        &addresses,
        "",
        "retries = { max = 1, on = [\"connect\"] }",
    );
    let response = clearway.client().post("/", "once");
    assert_eq!(response.status, 502);
    let record = clearway.fault(&response.id());
    assert_eq!(
        record.attempt_codes(),
        ["server_wants_certificate"],
        "{}",
        record.json
    );
    assert_eq!(record.attempts()[0]["no_retry"], "method-not-idempotent");
    let response = clearway.get("/");
    let record = clearway.fault(&response.id());
    assert_eq!(record.attempts().len(), 2, "{}", record.json);
}

#[test]
fn what_is_wrong_with_a_certificate_is_not_asked_for_again() {
    let root = Authority::new("root");
    let expired = bad_server(&root.grant(&Wish::of(&["app.test"]).expired()));
    let again = bad_server(&root.grant(&Wish::of(&["app.test"]).expired()));
    let retries = "retries = { max = 3, budget_min = 100 }";
    for (servers, attempts) in [
        (vec![expired.address()], 1),
        (vec![expired.address(), again.address()], 2),
    ] {
        let clearway = over(&root, &servers, "", retries);
        assert_eq!(clearway.get("/").status, 502);
        let record = clearway.fault_with("server_certificate_expired");
        assert_eq!(record.attempts().len(), attempts, "{}", record.json);
        let last = &record.attempts()[attempts - 1];
        assert_eq!(last["no_retry"], "no-other-server");
    }
}
