//! What HTTP has to do with TLS: redirects, HSTS, what servers are told; keys and metrics; checks.

use std::os::unix::fs::PermissionsExt;

use clearway_testkit::clearway::{secure, simple};
use clearway_testkit::{
    Authority, Clearway, Client, Server, TlsClient, TlsServer, Wish, behave, wait,
};

const FAST: &str =
    "interval = \"50ms\", fast_interval = \"50ms\", timeout = \"2s\", rise = 1, fall = 1";

#[test]
fn plain_clients_are_sent_to_https() {
    let root = Authority::new("root");
    let server = Server::script(behave::ok("x"));
    let text = secure("certificates = \"$DIR/a.pem\"", &[server.address()], "")
        + "[listener.plain]\nbind = \"127.0.0.1:0\"\nhttps_redirect = 443\n\
           [listener.other]\nbind = \"127.0.0.1:0\"\nhttps_redirect = 8443\n";
    let clearway = Clearway::setup(&text)
        .with_file("a.pem", &root.issue(&["a.test"]).pem())
        .start();
    let location = |listener: &str, host: &str| {
        let mut client = Client::connect(clearway.address(listener));
        client.send(format!("GET /a%20b?c=d HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        let response = client.response("GET");
        assert!(
            [301, 302, 307, 308].contains(&response.status),
            "{response:?}"
        );
        response.header("location").unwrap().to_owned()
    };
    assert_eq!(location("plain", "a.test"), "https://a.test/a%20b?c=d");
    assert_eq!(location("plain", "a.test:80"), "https://a.test/a%20b?c=d");
    assert_eq!(
        location("other", "a.test:80"),
        "https://a.test:8443/a%20b?c=d"
    );
    assert_eq!(server.requests(), 0);
    // Whoever follows gets there.
    let mut client = TlsClient::trusting(&root).open(clearway.address("web"));
    assert_eq!(client.get("/a%20b?c=d").text(), "x");
}

#[test]
fn browsers_are_told_to_stay_and_servers_what_was_spoken() {
    let root = Authority::new("root");
    let server = Server::script(behave::ok("x"));
    let text = secure("certificates = \"$DIR/a.pem\"", &[server.address()], "").replacen(
        "\ntls",
        "\nhsts = \"365d\"\ntls",
        1,
    ) + "[listener.plain]\nbind = \"127.0.0.1:0\"\nbackend = \"app\"\n\
         [[route]]\npath = \"/away\"\nredirect = { to = \"/\" }\n\
         [[route]]\npath = \"/\"\nbackend = \"app\"\n";
    let clearway = Clearway::setup(&text)
        .with_file("a.pem", &root.issue(&["a.test"]).pem())
        .start();
    let mut client = TlsClient::trusting(&root).open(clearway.address("web"));
    let response = client.get_with("/", "X-Forwarded-Proto: http\r\n");
    assert_eq!(
        response.header("strict-transport-security"),
        Some("max-age=31536000")
    );
    assert_eq!(server.only().header("x-forwarded-proto"), Some("https"));
    // What is answered here is no different (RFC 6797 section 7.1).
    let response = client.get("/away");
    assert_eq!(response.status, 308);
    let told = response.header("strict-transport-security");
    assert_eq!(told, Some("max-age=31536000"));
    let mut bad = TlsClient::trusting(&root).open(clearway.address("web"));
    bad.send("GET / HTTP/1.1\r\nHost\r\n\r\n");
    let response = bad.response("GET");
    assert_eq!(response.status, 400);
    assert!(response.header("strict-transport-security").is_some());
    let response = Client::connect(clearway.address("plain")).get("/");
    assert_eq!(response.header("strict-transport-security"), None);
    let request = server.wait_requests(2).pop().unwrap();
    assert_eq!(request.header("x-forwarded-proto"), Some("http"));
}

#[test]
fn the_key_log_holds_the_secrets_and_is_the_owners_alone() {
    let root = Authority::new("root");
    let server = TlsServer::with(&root.issue(&["app.test"]))
        .only_12()
        .script(behave::ok("x"));
    let backend = "tls = { ca = \"$DIR/ca.pem\", server_name = \"app.test\", key_log = \"$DIR/servers.keys\" }";
    let tls = "certificates = \"$DIR/a.pem\", key_log = \"$DIR/clients.keys\"";
    let clearway = Clearway::setup(&secure(tls, &[server.address()], backend))
        .with_file("a.pem", &root.issue(&["a.test"]).pem())
        .with_file("ca.pem", &root.pem())
        .umask(0)
        .start();
    clearway.wait_stderr("key log");
    let mut client = TlsClient::trusting(&root)
        .only_13()
        .open(clearway.address("web"));
    assert_eq!(client.get("/").text(), "x");
    let labels = |name: &str| {
        let path = clearway.file(name);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
        let text = std::fs::read_to_string(&path).unwrap();
        let mut labels: Vec<String> = text
            .lines()
            .map(|line| {
                let parts: Vec<&str> = line.split(' ').collect();
                let [label, random, secret] = parts[..] else {
                    panic!("{line}")
                };
                assert_eq!(random.len(), 64, "{line}");
                assert!(
                    secret.len() >= 64 && secret.bytes().all(|b| b.is_ascii_hexdigit()),
                    "{line}"
                );
                label.to_owned()
            })
            .collect();
        labels.sort();
        labels
    };
    let modern = [
        "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
        "CLIENT_TRAFFIC_SECRET_0",
        "EXPORTER_SECRET",
        "SERVER_HANDSHAKE_TRAFFIC_SECRET",
        "SERVER_TRAFFIC_SECRET_0",
    ];
    assert_eq!(labels("clients.keys"), modern);
    assert_eq!(labels("servers.keys"), ["CLIENT_RANDOM"]);
}

#[test]
fn the_end_of_certificates_is_told() {
    let root = Authority::new("root");
    let server = Server::script(behave::ok("x"));
    let soon = root.grant(&Wish::of(&["soon.test"]).ends_in_days(3));
    let tls = "certificates = [\"$DIR/a.pem\", \"$DIR/soon.pem\"]";
    let clearway = Clearway::setup(&secure(tls, &[server.address()], ""))
        .with_file("a.pem", &root.issue(&["a.test"]).pem())
        .with_file("soon.pem", &soon.pem())
        .start();
    let line = clearway.wait_stderr("expires in");
    assert!(
        line.contains("soon.test") && (line.contains(" 2 days") || line.contains(" 3 days")),
        "{line}"
    );
    let metrics = clearway.metrics();
    const NAME: &str = "clearway_certificate_not_after_timestamp_seconds";
    let serial = soon.serial();
    let labels = [
        ("name", "soon.test"),
        ("serial", serial.as_str()),
        ("listener", "web"),
    ];
    let (ends, later) = (
        metrics.sum(NAME, &labels),
        metrics.sum(NAME, &[("name", "a.test")]),
    );
    assert!(
        (later - ends - 87.0 * 86_400.0).abs() < 60.0,
        "{later} {ends}"
    );
    assert_eq!(metrics.samples(NAME, &[]).count(), 2);
    let said = clearway
        .stderr()
        .iter()
        .filter(|line| line.contains("expires in"))
        .count();
    assert_eq!(said, 1);
}

#[test]
fn health_checks_speak_tls() {
    let root = Authority::new("root");
    let good = TlsServer::with(&root.issue(&["app.test"])).script(behave::ok("good"));
    let expired = TlsServer::with(&root.grant(&Wish::of(&["app.test"]).expired())).script(|conn| {
        conn.handshake().unwrap_err();
    });
    let plain = Server::script(|mut conn| {
        conn.take_some();
        conn.send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    });
    let backend = format!(
        "tls = {{ ca = \"$DIR/ca.pem\", server_name = \"app.test\" }}\nhealth = {{ path = \"/health\", {FAST} }}"
    );
    let servers = [good.address(), expired.address(), plain.address()];
    let clearway = Clearway::setup(&simple(&servers, &backend))
        .with_file("ca.pem", &root.pem())
        .start();
    clearway.wait_state(good.address(), &["up"]);
    let entry = clearway
        .wait_state(expired.address(), &["down"])
        .to_string();
    assert!(entry.contains("expired"), "{entry}");
    let entry = clearway.wait_state(plain.address(), &["down"]).to_string();
    assert!(entry.contains("not TLS"), "{entry}");
    for _ in 0..5 {
        assert_eq!(clearway.get("/").text(), "good");
    }
    let checks = good.seen();
    assert!(checks.iter().any(|request| request.target == "/health"));
    // A check of the connection alone is complete with its handshake.
    let backend = format!(
        "tls = {{ ca = \"$DIR/ca.pem\", server_name = \"app.test\" }}\nhealth = {{ kind = \"tcp\", {FAST} }}"
    );
    assert_eq!(clearway.reload(&simple(&servers, &backend)), "ok");
    clearway.wait_state(good.address(), &["up"]);
    clearway.wait_state(expired.address(), &["down"]);
    clearway.wait_state(plain.address(), &["down"]);
}

#[test]
fn health_checks_without_tls() {
    let root = Authority::new("root");
    let server = TlsServer::with(&root.issue(&["app.test"])).script(behave::ok("good"));
    let health = Server::script(behave::ok("fine"));
    let port = health.address().rsplit(':').next().unwrap();
    let backend = |health: &str| {
        let backend = format!(
            "tls = {{ ca = \"$DIR/ca.pem\", server_name = \"app.test\" }}\nhealth = {{ {health}, {FAST} }}"
        );
        simple(&[server.address()], &backend)
    };
    let text = backend(&format!("path = \"/health\", port = {port}, tls = false"));
    let clearway = Clearway::setup(&text)
        .with_file("ca.pem", &root.pem())
        .start();
    clearway.wait_state(server.address(), &["up"]);
    health.wait_requests(1);
    assert_eq!(clearway.get("/").text(), "good");
    assert!(server.seen().iter().all(|request| request.target == "/"));
    // A change of that alone is a change.
    let text = backend(&format!("path = \"/health\", port = {port}"));
    assert_eq!(clearway.reload(&text), "ok");
    clearway.wait_state(server.address(), &["down"]);
    assert_eq!(clearway.reload(&backend("path = \"/health\"")), "ok");
    clearway.wait_state(server.address(), &["up"]);
    wait::until("a check over TLS", || {
        server
            .seen()
            .iter()
            .any(|r| r.target == "/health")
            .then_some(())
    });
}
