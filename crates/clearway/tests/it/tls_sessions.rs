//! What clients and listeners agree on: versions, application protocols, sessions that are resumed.

use clearway_testkit::clearway::secure;
use clearway_testkit::{Authority, Clearway, Server, TlsClient, behave};

fn start(root: &Authority, server: &Server, tls: &str) -> Clearway {
    let text = secure(
        &format!("certificates = \"$DIR/a.pem\"{tls}"),
        &[server.address()],
        "",
    );
    Clearway::setup(&text)
        .with_file("a.pem", &root.issue(&["a.test"]).pem())
        .with_file("ca.pem", &root.pem())
        .with_file("none.crl", &root.revokes(&[]))
        .start()
}

#[test]
fn both_versions_are_spoken_and_told() {
    let root = Authority::new("root");
    let server = Server::script(behave::ok("x"));
    let clearway = start(&root, &server, "");
    let tls = TlsClient::trusting(&root);
    for (client, version, label) in [
        (tls.anew(), "TLSv1_3", "TLSv1.3"),
        (tls.anew().only_13(), "TLSv1_3", "TLSv1.3"),
        (tls.anew().only_12(), "TLSv1_2", "TLSv1.2"),
    ] {
        let mut client = client.open(clearway.address("web"));
        assert_eq!(client.agreed().version, version);
        let target = format!("/{version}");
        assert_eq!(client.get(&target).text(), "x");
        let record = clearway.access(|record| record["target"] == target.as_str());
        assert_eq!(record["tls"]["version"], label, "{record}");
        assert_eq!(record["tls"]["server_name"], "a.test");
        assert_eq!(record["tls"]["resumed"], false);
        let cipher = record["tls"]["cipher"].as_str().unwrap();
        assert!(cipher.starts_with("TLS_"), "{cipher}");
        let labels = [("version", label), ("resumed", "no")];
        clearway.wait_metric("clearway_tls_handshakes_total", &labels, 1.0);
    }
}

#[test]
fn the_modern_profile_refuses_older_clients() {
    let root = Authority::new("root");
    let server = Server::script(behave::ok("x"));
    let clearway = start(&root, &server, ", profile = \"modern\"");
    let tls = TlsClient::trusting(&root);
    assert_eq!(tls.open(clearway.address("web")).get("/").text(), "x");
    let old = tls.anew().only_12().try_open(clearway.address("web"));
    let error = old.unwrap_err().to_string();
    assert!(error.contains("ProtocolVersion"), "{error}");
    clearway.fault_with("tls_version_mismatch");
}

#[test]
fn application_protocols_are_agreed_on() {
    let root = Authority::new("root");
    let server = Server::script(behave::ok("x"));
    let tls = TlsClient::trusting(&root);
    let clearway = start(&root, &server, ", alpn = [\"http/1.1\"]");
    let web = clearway.address("web");
    for (offer, agreed) in [
        (&[][..], None),
        (&["http/1.1"], Some("http/1.1")),
        (&["h2", "http/1.1"], Some("http/1.1")),
        (&["http/1.1", "spdy/3"], Some("http/1.1")),
    ] {
        let mut client = tls.anew().alpn(offer).open(web);
        assert_eq!(client.agreed().alpn.as_deref(), agreed, "{offer:?}");
        assert_eq!(client.get("/").text(), "x");
    }
    let error = tls.anew().alpn(&["spdy/3"]).try_open(web).unwrap_err();
    assert!(
        error.to_string().contains("NoApplicationProtocol"),
        "{error}"
    );
    clearway.fault_with("tls_alpn_mismatch");
    let record = clearway.access(|record| record["tls"]["alpn"] == "http/1.1");
    assert_eq!(record["status"], 200);
}

#[test]
fn keys_are_exchanged_as_the_settings_say() {
    let root = Authority::new("root");
    let server = Server::script(behave::ok("x"));
    let tls = TlsClient::trusting(&root);
    for (settings, group) in [("", "X25519MLKEM768"), (", post_quantum = false", "X25519")] {
        let clearway = start(&root, &server, settings);
        let mut client = tls.anew().open(clearway.address("web"));
        assert_eq!(client.agreed().group, group);
        assert_eq!(client.get("/").text(), "x");
        let mut client = tls.anew().only_12().open(clearway.address("web"));
        assert_eq!(client.agreed().group, "X25519");
        assert_eq!(client.get("/").text(), "x");
    }
}

/// How many of some connections resume a session.
fn resumed(clearway: &Clearway, tls: &TlsClient, connections: usize) -> usize {
    let connect = || {
        let mut client = tls.open(clearway.address("web"));
        assert_eq!(client.get("/").text(), "x");
        client.agreed().resumed
    };
    (0..connections).filter(|_| connect()).count()
}

#[test]
fn sessions_are_resumed_across_workers_and_reloads() {
    let root = Authority::new("root");
    let server = Server::script(behave::ok("x"));
    let clearway = start(&root, &server, "");
    let base = TlsClient::trusting(&root);
    for tls in [base.anew().only_13(), base.anew().only_12()] {
        assert_eq!(resumed(&clearway, &tls, 1), 0);
        // Connections are spread over two workers; each has to know the tickets of the other.
        assert_eq!(resumed(&clearway, &tls, 20), 20, "{tls:?}");
        assert_eq!(clearway.hup(), "ok");
        assert_eq!(resumed(&clearway, &tls, 20), 20, "{tls:?}");
    }
    for version in ["TLSv1.2", "TLSv1.3"] {
        let labels = [("version", version), ("resumed", "yes")];
        clearway.wait_metric("clearway_tls_handshakes_total", &labels, 40.0);
    }
    clearway.access(|record| record["tls"]["resumed"] == true);
}

#[test]
fn without_resumption_no_session_is_resumed() {
    let root = Authority::new("root");
    let server = Server::script(behave::ok("x"));
    let clearway = start(&root, &server, ", resumption = false");
    let base = TlsClient::trusting(&root);
    for tls in [base.anew().only_13(), base.anew().only_12()] {
        assert_eq!(resumed(&clearway, &tls, 10), 0);
    }
}

#[test]
fn sessions_end_with_the_demands_they_were_begun_under() {
    let root = Authority::new("root");
    let server = Server::script(behave::ok("x"));
    let clearway = start(&root, &server, "");
    let identity = root.issue(&["client.test"]);
    let base = TlsClient::trusting(&root).showing(&identity);
    let demand = |more: &str| {
        secure(
            &format!("certificates = \"$DIR/a.pem\", client_certificates = {{ {more} }}"),
            &[server.address()],
            "",
        )
    };
    let fresh = |tls: &TlsClient| {
        assert_eq!(resumed(&clearway, tls, 1), 0);
        assert_eq!(resumed(&clearway, tls, 5), 5);
    };
    for tls in [base.anew().only_13(), base.anew().only_12()] {
        fresh(&tls);
        assert_eq!(clearway.reload(&demand("ca = \"$DIR/ca.pem\"")), "ok");
        fresh(&tls);
        let text = demand("ca = \"$DIR/ca.pem\", crl = \"$DIR/none.crl\"");
        assert_eq!(clearway.reload(&text), "ok");
        fresh(&tls);
        // The same words, and another list of those who are to be kept out.
        std::fs::write(clearway.file("none.crl"), root.revokes(&[&identity])).unwrap();
        assert_eq!(clearway.reload(&text), "ok");
        let closed = match tls.try_open(clearway.address("web")) {
            Ok(mut client) => {
                client.try_send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                    && client.try_response("GET").is_err()
            }
            Err(_) => true,
        };
        assert!(
            closed,
            "a revoked certificate is served by way of an old session"
        );
        clearway.fault_with("tls_client_certificate_invalid");
        std::fs::write(clearway.file("none.crl"), root.revokes(&[])).unwrap();
        assert_eq!(
            clearway.reload(&secure(
                "certificates = \"$DIR/a.pem\"",
                &[server.address()],
                ""
            )),
            "ok"
        );
    }
}
