//! Certificates of clients: which are taken, what refused ones are told, and what rules and servers
//! learn of them.

#![expect(
    clippy::too_many_lines,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "a scenario reads best in one piece"
)]

use clearway_testkit::clearway::secure;
use clearway_testkit::{
    Authority, Clearway, Client, End, Identity, Server, TlsClient, Wish, behave,
};

/// Who issues certificates of servers and clients here.
struct Trust {
    servers: Authority,
    clients: Authority,
    more: Authority,
}

impl Trust {
    fn new() -> Self {
        Self {
            servers: Authority::new("servers"),
            clients: Authority::new("clients"),
            more: Authority::new("more clients"),
        }
    }

    /// A listener that asks for certificates of both authorities.
    fn start(&self, server: &Server, settings: &str, more: &str, crl: &str) -> Clearway {
        let tls = format!(
            "certificates = \"$DIR/a.pem\", client_certificates = {{ ca = \"$DIR/ca.pem\"{settings} }}"
        );
        Clearway::setup(&secure(&tls, &[server.address()], more))
            .with_file("a.pem", &self.servers.issue(&["a.test"]).pem())
            .with_file("ca.pem", &(self.clients.pem() + &self.more.pem()))
            .with_file("list.crl", crl)
            .start()
    }

    fn both_versions(&self) -> [TlsClient; 2] {
        let tls = TlsClient::trusting(&self.servers);
        [tls.clone().only_12(), tls.only_13()]
    }
}

/// How a client is refused: in TLS 1.3 it learns of it when it reads.
fn refusal(tls: &TlsClient, clearway: &Clearway) -> String {
    match tls.try_open(clearway.address("web")) {
        Err(error) => error.to_string(),
        Ok(mut client) => match client.read_to_end().1 {
            End::Malformed(words) => words,
            other => panic!("not refused: {other:?}"),
        },
    }
}

fn get(tls: &TlsClient, clearway: &Clearway) -> clearway_testkit::Response {
    tls.open(clearway.address("web")).get("/")
}

#[test]
fn clients_have_to_show_a_certificate() {
    let trust = Trust::new();
    let server = Server::script(behave::ok("welcome"));
    let clearway = trust.start(&server, "", "", "");
    let ada = trust.clients.grant(&Wish::of(&["ada.test"]).called("ada"));
    for tls in trust.both_versions() {
        for identity in [
            &ada,
            &trust.more.below("branch").issue(&["eve.test"]),
            &trust.clients.grant(&Wish::of(&["r.test"]).rsa()),
        ] {
            let tls = tls.clone().showing(identity);
            assert_eq!(get(&tls, &clearway).text(), "welcome");
        }
    }
    // Workers write their records in no common order.
    let record =
        clearway.access(|record| record["tls"]["client_certificate"]["subject"] == "CN=ada");
    let shown = &record["tls"]["client_certificate"];
    assert_eq!(shown["issuer"], "CN=clients");
    assert_eq!(shown["serial"], ada.serial());
    assert_eq!(shown["verdict"], "verified");
    for (at, tls) in trust.both_versions().iter().enumerate() {
        let said = refusal(tls, &clearway);
        assert!(
            said.contains("CertificateRequired") || said.contains("HandshakeFailure"),
            "{said}"
        );
        let labels = [("fault", "tls_client_certificate_missing")];
        clearway.wait_metric("clearway_faults_total", &labels, (at + 1) as f64);
    }
    let record = clearway.fault_with("tls_client_certificate_missing");
    assert_eq!(
        (record.json["party"].as_str(), record.status()),
        (Some("client"), 0)
    );
    let words = clearway.words(record.id());
    assert!(words.contains("sent none"), "{words}");
    assert_eq!(server.requests(), 6);
}

#[test]
fn certificates_of_clients_that_are_refused() {
    let trust = Trust::new();
    let server = Server::script(behave::ok("welcome"));
    let revoked = trust
        .clients
        .grant(&Wish::of(&["gone.test"]).called("gone"));
    let list = trust.clients.revokes(&[&revoked]);
    let clearway = trust.start(&server, ", crl = \"$DIR/list.crl\"", "", &list);
    let others = Authority::new("clients");
    let cases: Vec<(Identity, &str, &str, &str)> = vec![
        (revoked, "CN=gone", "evoked", "CertificateRevoked"),
        (
            trust
                .clients
                .grant(&Wish::of(&["old.test"]).called("old").expired()),
            "CN=old",
            "xpired",
            "CertificateExpired",
        ),
        (
            trust
                .clients
                .grant(&Wish::of(&["new.test"]).called("new").early()),
            "CN=new",
            "not valid yet",
            "CertificateExpired",
        ),
        (
            others.grant(&Wish::of(&["x.test"]).called("stranger")),
            "CN=stranger",
            "ignature",
            "",
        ),
        (
            trust
                .servers
                .grant(&Wish::of(&["x.test"]).called("foreigner")),
            "CN=foreigner",
            "ssuer",
            "UnknownCA",
        ),
        (
            Identity::self_signed(&Wish::of(&["x.test"]).called("myself")),
            "CN=myself",
            "ssuer",
            "UnknownCA",
        ),
    ];
    for tls in trust.both_versions() {
        for (identity, subject, reason, alert) in &cases {
            let said = refusal(&tls.clone().showing(identity), &clearway);
            assert!(
                said.contains("fatal alert") && said.contains(*alert),
                "{subject}: {said}"
            );
            let record = clearway_testkit::wait::until(subject, || {
                clearway
                    .faults()
                    .into_iter()
                    .rev()
                    .find(|r| r.json["tls"]["client_certificate"]["subject"] == **subject)
            });
            assert_eq!(record.code(), "tls_client_certificate_invalid");
            let tls = &record.json["tls"];
            assert_eq!(tls["client_certificate"]["verdict"], "refused");
            let refusal = tls["refusal"].as_str().unwrap();
            assert!(refusal.contains(*reason), "{subject}: {refusal}");
            let words = clearway.words(record.id());
            assert!(
                words.contains(*subject) && words.contains("refused"),
                "{words}"
            );
        }
    }
    // Those that are not on the list go on to be served; so do those whose issuer has no list.
    for identity in [
        trust.clients.issue(&["a.test"]),
        trust.more.issue(&["b.test"]),
    ] {
        for tls in trust.both_versions() {
            assert_eq!(get(&tls.showing(&identity), &clearway).text(), "welcome");
        }
    }
}

#[test]
fn with_optional_certificates_rules_tell_clients_apart() {
    let trust = Trust::new();
    let server = Server::script(behave::ok("welcome"));
    let rules = "[[listener.web.rule]]\nwhen = { path = \"/private/\", client_cert = false }\ndeny = 403\n\
         [[listener.web.rule]]\nwhen = { path = \"/ada/\", not = { client_cert = \"CN=ada\" } }\ndeny = 403\n\
         [[route]]\nclient_cert = \"~ ^CN=a\"\npath = \"/route\"\nbackend = \"app\"\n\
         [[route]]\npath = \"/route\"\nreply = { status = 418, body = \"others\" }\n";
    let clearway = trust.start(&server, ", optional = true", rules, "");
    let ada = trust.clients.grant(&Wish::of(&["ada.test"]).called("ada"));
    let eve = trust.clients.grant(&Wish::of(&["eve.test"]).called("eve"));
    let web = clearway.address("web");
    for tls in trust.both_versions() {
        let statuses = |tls: &TlsClient| {
            let mut client: Client = tls.open(web);
            ["/", "/private/x", "/ada/x", "/route"].map(|target| client.get(target).status)
        };
        assert_eq!(statuses(&tls), [200, 403, 403, 418]);
        assert_eq!(statuses(&tls.clone().showing(&ada)), [200, 200, 200, 200]);
        assert_eq!(statuses(&tls.clone().showing(&eve)), [200, 200, 403, 418]);
        // A session that is resumed is still the same client's.
        let tls = tls.showing(&ada);
        for resumed in [false, true] {
            let mut client = tls.open(web);
            assert_eq!(client.get("/ada/x").status, 200);
            assert_eq!(client.agreed().resumed, resumed);
        }
    }
    let denied = clearway.fault_with("denied");
    assert_eq!(denied.status(), 403);
    // One that is shown has to be good, too.
    let tls = TlsClient::trusting(&trust.servers).showing(&trust.servers.issue(&["x.test"]));
    assert!(refusal(&tls, &clearway).contains("fatal alert"));
}

#[test]
fn servers_learn_of_certificates_by_headers() {
    let trust = Trust::new();
    let server = Server::script(behave::ok("x"));
    let rules = "[[listener.web.rule]]\nremove_request_headers = [\"x-unset\"]\n\
        set_request_headers = { x-subject = \"${client_cert_subject}\", x-issuer = \"${client_cert_issuer}\", \
        x-serial = \"${client_cert_serial}\", x-fingerprint = \"${client_cert_fingerprint}\", \
        x-names = \"${client_cert_names}\", x-until = \"${client_cert_not_after}\", \
        x-verdict = \"${client_cert_verdict}\", x-tls = \"${tls_version} ${tls_cipher} ${tls_server_name} \
        ${tls_alpn} ${tls_resumed}\" }\n\
        set_response_headers = { x-seen = \"${client_cert_subject}\" }\n"
        .replace(" \\\n        ", " ");
    let clearway = trust.start(&server, ", optional = true", &rules, "");
    let ada = trust
        .clients
        .grant(&Wish::of(&["ada.test", "192.0.2.7"]).called("Ada, \"Countess\" of Lovelace"));
    let tls = TlsClient::trusting(&trust.servers)
        .only_13()
        .alpn(&["http/1.1"]);
    let mut client = tls.clone().showing(&ada).open(clearway.address("web"));
    let response = client.get_with("/", "X-Subject: CN=root\r\nX-Verdict: verified\r\n");
    let subject = "CN=Ada\\, \\\"Countess\\\" of Lovelace";
    assert_eq!(response.header("x-seen"), Some(subject));
    let request = server.only();
    assert_eq!(request.header("x-subject"), Some(subject));
    assert_eq!(request.header("x-issuer"), Some("CN=clients"));
    assert_eq!(request.header("x-serial"), Some(ada.serial().as_str()));
    assert_eq!(request.header("x-names"), Some("ada.test,192.0.2.7"));
    assert_eq!(request.header("x-verdict"), Some("verified"));
    let tls_words = request.header("x-tls").unwrap();
    assert!(tls_words.starts_with("TLSv1.3 TLS_AES_"), "{tls_words}");
    assert!(tls_words.ends_with(" a.test http/1.1 false"), "{tls_words}");
    let until = request.header("x-until").unwrap();
    assert!(until.ends_with('Z') && until.len() == 20, "{until}");
    let folder = clearway_testkit::TempDir::new();
    let pem = folder.write("ada.pem", &ada.chain_pem());
    let openssl = clearway_testkit::process::program("openssl", "openssl");
    let said = clearway_testkit::process::output(std::process::Command::new(openssl).args([
        "x509",
        "-in",
        &pem,
        "-noout",
        "-fingerprint",
        "-sha256",
    ]));
    let expected = said
        .trim()
        .rsplit('=')
        .next()
        .unwrap()
        .replace(':', "")
        .to_lowercase();
    assert_eq!(request.header("x-fingerprint"), Some(expected.as_str()));
    // A client without one cannot pretend.
    let mut client = tls.open(clearway.address("web"));
    client.get_with(
        "/",
        "X-Subject: CN=root\r\nX-Verdict: verified\r\nX-Serial: 1\r\n",
    );
    let request = server.wait_requests(2).pop().unwrap();
    assert_eq!(request.headers.all("x-subject"), Vec::<&str>::new());
    assert_eq!(request.headers.all("x-serial"), Vec::<&str>::new());
    assert_eq!(request.header("x-verdict"), Some("none"));
}
