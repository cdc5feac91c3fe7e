//! Which certificate a client gets: by name, by kind of key, by listener.

use clearway_testkit::clearway::secure;
use clearway_testkit::tls::CipherSuite;
use clearway_testkit::{Authority, Clearway, Identity, Server, TlsClient, Wish, behave};

/// The certificate that a client gets.
fn shown(clearway: &Clearway, tls: &TlsClient) -> Vec<u8> {
    let agreed = tls.open(clearway.address("web")).agreed();
    agreed.certificates[0].to_vec()
}

fn is(identity: &Identity) -> Vec<u8> {
    identity.leaf().to_vec()
}

#[test]
fn the_name_asked_for_decides_exact_ones_first_then_wildcards_then_the_first() {
    let root = Authority::new("root");
    let [first, exact, wild, own] = [
        &["first.test"][..],
        &["a.test", "also-a.test"],
        &["*.b.test"],
        &["special.b.test"],
    ]
    .map(|names| root.issue(names));
    let old = root.grant(&Wish::of(&[]).called("old.test"));
    let server = Server::script(behave::ok("x"));
    let text = secure(
        "certificates = [\"$DIR/1.pem\", \"$DIR/2.pem\", \"$DIR/3.pem\", \"$DIR/4.pem\", \"$DIR/5.pem\"]",
        &[server.address()],
        "",
    );
    let clearway = Clearway::setup(&text)
        .with_file("1.pem", &first.pem())
        .with_file("2.pem", &exact.pem())
        .with_file("3.pem", &wild.pem())
        .with_file("4.pem", &own.pem())
        .with_file("5.pem", &old.pem())
        .start();
    for (name, expected) in [
        ("a.test", &exact),
        ("also-a.test", &exact),
        ("ALSO-A.test", &exact),
        ("x.b.test", &wild),
        ("special.b.test", &own),
        ("old.test", &old),
        ("b.test", &first),
        ("x.y.b.test", &first),
        ("elsewhere.test", &first),
    ] {
        let client = TlsClient::credulous().to(name);
        assert_eq!(shown(&clearway, &client), is(expected), "{name}");
        let client = client.only_12();
        assert_eq!(shown(&clearway, &client), is(expected), "{name}, TLS 1.2");
    }
    let nameless = TlsClient::credulous().nameless();
    assert_eq!(shown(&clearway, &nameless), is(&first));
    let verified = TlsClient::trusting(&root).to("x.b.test");
    assert_eq!(verified.open(clearway.address("web")).get("/").text(), "x");
    assert!(clearway.faults().is_empty(), "{:?}", clearway.faults());
}

#[test]
fn strict_names_refuse_what_no_certificate_is_for() {
    let root = Authority::new("root");
    let server = Server::script(behave::ok("x"));
    let tls = "certificates = \"$DIR/a.pem\", strict_names = true";
    let clearway = Clearway::setup(&secure(tls, &[server.address()], ""))
        .with_file("a.pem", &root.issue(&["a.test"]).pem())
        .start();
    let tls = TlsClient::trusting(&root);
    let web = clearway.address("web");
    assert_eq!(tls.open(web).get("/").text(), "x");
    let other = TlsClient::credulous().to("other.test");
    let error = other.try_open(web).unwrap_err().to_string();
    assert!(error.contains("UnrecognisedName"), "{error}");
    let record = clearway.fault_with("tls_name_unknown");
    assert_eq!(record.json["tls"]["server_name"], "other.test");
    let words = clearway.words(record.id());
    assert!(words.contains("for other.test"), "{words}");
    // Clients that ask for nothing have not asked for the wrong thing.
    let nameless = TlsClient::credulous().nameless();
    assert_eq!(nameless.open(web).get("/").text(), "x");
}

#[test]
fn rsa_and_ecdsa_side_by_side() {
    let root = Authority::new("root");
    let rsa = root.grant(&Wish::of(&["a.test"]).rsa());
    let ecdsa = root.issue(&["a.test"]);
    let server = Server::script(behave::ok("x"));
    let tls = "certificates = [\"$DIR/rsa.pem\", \"$DIR/ecdsa.pem\"]";
    let clearway = Clearway::setup(&secure(tls, &[server.address()], ""))
        .with_file("rsa.pem", &rsa.pem())
        .with_file("ecdsa.pem", &ecdsa.pem())
        .start();
    let tls = TlsClient::trusting(&root);
    let only_rsa = [
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ];
    let only_ecdsa = [CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384];
    for (client, expected) in [
        (tls.anew(), &ecdsa),
        (tls.anew().only_13(), &ecdsa),
        (tls.anew().only_12(), &ecdsa),
        (tls.anew().only_12().suites(&only_ecdsa), &ecdsa),
        (tls.anew().only_12().suites(&only_rsa), &rsa),
        // The first certificate and its twin also serve those who ask for no name.
        (TlsClient::credulous().nameless(), &ecdsa),
        (
            TlsClient::credulous()
                .nameless()
                .only_12()
                .suites(&only_rsa),
            &rsa,
        ),
    ] {
        assert_eq!(shown(&clearway, &client), is(expected), "{client:?}");
    }
}

#[test]
fn each_listener_has_its_own_certificates() {
    let root = Authority::new("root");
    let (a, b) = (root.issue(&["a.test"]), root.issue(&["a.test"]));
    let server = Server::script(behave::ok("x"));
    let text = secure("certificates = \"$DIR/a.pem\"", &[server.address()], "")
        + "[listener.other]\nbind = [\"127.0.0.1:0\", \"unix:$DIR/o.sock\"]\n\
           tls = { certificates = \"$DIR/b.pem\" }\n[listener.plain]\nbind = \"127.0.0.1:0\"\n";
    let clearway = Clearway::setup(&text)
        .with_file("a.pem", &a.pem())
        .with_file("b.pem", &b.pem())
        .start();
    let tls = TlsClient::trusting(&root);
    let seen = |address: &str| {
        let mut client = tls.anew().open(address);
        assert_eq!(client.get("/").text(), "x");
        client.agreed().certificates[0].to_vec()
    };
    assert_eq!(seen(clearway.address("web")), is(&a));
    for address in clearway.addresses("other") {
        assert_eq!(seen(address), is(&b), "{address}");
    }
    let plain = clearway.address("plain");
    assert_eq!(
        clearway_testkit::Client::connect(plain).get("/").text(),
        "x"
    );
}
