//! TLS with programs that people use: curl, openssl, nginx, gunicorn, and a scanner.

use std::process::{Command, Stdio};

use clearway_testkit::clearway::{secure, simple};
use clearway_testkit::peers::{Gunicorn, Nginx, curl};
use clearway_testkit::process::{output, program};
use clearway_testkit::{Authority, Clearway, Server, TempDir, TlsClient, Wish, behave};

const APP: &str = r#"
def app(environ, start):
    body = environ["wsgi.input"].read()
    answer = b"%d %s" % (len(body), environ["wsgi.url_scheme"].encode())
    start("200 OK", [("Content-Length", str(len(answer)))])
    return [answer]
"#;

#[test]
fn curl_over_tls() {
    let root = Authority::new("root");
    let server = Server::script(behave::echo_body());
    let tls = "certificates = \"$DIR/a.pem\", client_certificates = { ca = \"$DIR/ca.pem\", optional = true }";
    let clearway = Clearway::setup(&secure(tls, &[server.address()], ""))
        .with_file("a.pem", &root.issue(&["a.test"]).pem())
        .with_file("ca.pem", &root.pem())
        .with_file("client.pem", &root.issue(&["ada.test"]).pem())
        .start();
    let port = clearway.address("web").rsplit(':').next().unwrap();
    let (ca, own) = (clearway.file("ca.pem"), clearway.file("client.pem"));
    let resolve = format!("a.test:{port}:127.0.0.1");
    let url = format!("https://a.test:{port}/x");
    let base = ["--cacert", &ca, "--resolve", &resolve, "--data", "a=1"];
    let folder = TempDir::new();
    let file = folder.write("upload", &"0123456789abcdef".repeat(100_000));
    for more in [
        &[][..],
        &["--tlsv1.3"],
        &["--tls-max", "1.2"],
        &["--http1.1", "--cert", &own],
        &["--http1.0"],
    ] {
        let arguments = [&base, more, &[&url]].concat();
        assert_eq!(curl(&arguments), "a=1", "{more:?}");
    }
    let upload = format!("@{file}");
    let arguments = [
        "--cacert",
        &ca,
        "--resolve",
        &resolve,
        "--data-binary",
        &upload,
        &url,
    ];
    assert_eq!(curl(&arguments).len(), 1_600_000);
    let arguments = [&base[..], &["--write-out", "%{num_connects}", &url, &url]].concat();
    assert_eq!(
        curl(&arguments),
        "a=11a=10",
        "the second request needs no new connection"
    );
    assert!(clearway.faults().is_empty(), "{:?}", clearway.faults());
    // Without the authority.
    let wrong = Command::new(program("curl", "curl"))
        .args(["-s", "--noproxy", "*"])
        .arg(format!("https://127.0.0.1:{port}/"))
        .output()
        .unwrap();
    assert_eq!(wrong.status.code(), Some(60), "curl trusts nobody");
    let record = clearway.fault_with("tls_client_rejects_certificate");
    assert!(record.json["alert"].as_u64().is_some(), "{}", record.json);
}

#[test]
fn openssl_resumes_its_sessions() {
    let root = Authority::new("root");
    let server = Server::script(behave::ok("x"));
    let clearway = Clearway::setup(&secure(
        "certificates = \"$DIR/a.pem\"",
        &[server.address()],
        "",
    ))
    .with_file("a.pem", &root.issue(&["a.test"]).pem())
    .with_file("ca.pem", &root.pem())
    .start();
    let ca = clearway.file("ca.pem");
    let mut command = Command::new(program("openssl", "openssl"));
    command
        .args([
            "s_client",
            "-connect",
            clearway.address("web"),
            "-servername",
            "a.test",
        ])
        .args([
            "-CAfile",
            &ca,
            "-verify_return_error",
            "-tls1_2",
            "-reconnect",
        ])
        .stdin(Stdio::null());
    let said = output(&mut command);
    assert_eq!(said.matches("New, TLSv1.2").count(), 1, "{said}");
    assert_eq!(said.matches("Reused, TLSv1.2").count(), 5, "{said}");
    assert!(said.contains("Verify return code: 0 (ok)"), "{said}");
    assert!(said.contains("Secure Renegotiation IS supported"), "{said}");
}

/// An authority of openssl's, a certificate from it of the oldest version, and its word that this is good.
const OCSP: &str = r#"
set -e
key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1"; }
key ca.key; openssl req -x509 -new -key ca.key -out ca.pem -days 30 -subj /CN=ca
key a.key; openssl req -new -key a.key -out a.csr -subj /CN=a.test
openssl x509 -req -in a.csr -CA ca.pem -CAkey ca.key -set_serial 77 -days 20 -out a.crt
printf 'V\t301231235959Z\t\t4D\tunknown\t/CN=a.test\n' > index.txt
openssl ocsp -index index.txt -CA ca.pem -rsigner ca.pem -rkey ca.key -issuer ca.pem -serial 77 -respout a.ocsp -ndays 7
"#;

#[test]
fn openssl_gets_the_word_of_the_authority_with_the_certificate() {
    let openssl = program("openssl", "openssl");
    let folder = TempDir::new();
    let mut made = Command::new("sh");
    let made = made.args(["-c", OCSP]).current_dir(folder.path());
    let made = made.output().unwrap();
    let said = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "{said}");
    let server = Server::script(behave::ok("x"));
    let tls = "certificates = { certificate = \"$MADE/a.crt\", key = \"$MADE/a.key\", ocsp = \"$MADE/a.ocsp\" }";
    let clearway = Clearway::setup(&secure(tls, &[server.address()], ""))
        .set("MADE", folder.path().display().to_string())
        .start();
    for version in ["-tls1_2", "-tls1_3"] {
        let mut command = Command::new(&openssl);
        let address = clearway.address("web");
        let ca = folder.file("ca.pem");
        command
            .args(["s_client", "-connect", address, "-CAfile", &ca, version])
            .args(["-servername", "a.test", "-status"])
            .stdin(Stdio::null());
        let said = output(&mut command);
        assert!(said.contains("OCSP Response Status: successful"), "{said}");
        assert!(said.contains("Cert Status: good"), "{said}");
        assert!(said.contains("Verify return code: 0 (ok)"), "{said}");
    }
}

#[test]
fn nginx_as_a_tls_server() {
    let root = Authority::new("root");
    let clients = Authority::new("clients");
    let folder = TempDir::new();
    let socket = folder.file("tls.sock");
    let identity = root.below("middle").issue(&["app.test"]);
    let (chain, key) = (
        folder.write("a.crt", &identity.chain_pem()),
        folder.write("a.key", &identity.key_pem()),
    );
    let ca = folder.write("clients.pem", &clients.pem());
    let nginx = Nginx::start(&format!(
        "listen unix:{socket} ssl; ssl_certificate {chain}; ssl_certificate_key {key};\n\
         ssl_client_certificate {ca}; ssl_verify_client optional; ssl_protocols TLSv1.2 TLSv1.3; keepalive_requests 3;\n\
         location /who {{ return 200 \"$ssl_client_s_dn $ssl_protocol $ssl_server_name\"; }}\n\
         location /hello {{ return 200 $scheme; }}"
    ));
    let big = behave::pattern(3_000_000);
    nginx.file("big.bin", &big);
    let backend = "tls = { ca = \"$DIR/ca.pem\", server_name = \"app.test\", certificate = \"$DIR/own.pem\" }\n\
                   health = { path = \"/hello\", interval = \"50ms\" }";
    let own = clients.grant(&Wish::of(&["balancer.test"]).called("balancer"));
    let clearway = Clearway::setup(&simple(&[&format!("unix:{socket}")], backend))
        .with_file("ca.pem", &root.pem())
        .with_file("own.pem", &own.pem())
        .start();
    let mut client = clearway.client();
    for _ in 0..20 {
        // nginx closes its connection after every third request.
        assert_eq!(client.get("/hello").text(), "https");
    }
    assert_eq!(client.get("/who").text(), "CN=balancer TLSv1.3 app.test");
    assert!(client.get("/big.bin").body == big);
    assert!(clearway.faults().is_empty(), "{:?}", clearway.faults());
    // Its plain port is no TLS port.
    let backend =
        "tls = { ca = \"$DIR/ca.pem\", server_name = \"app.test\" }\nretries = { max = 0 }";
    assert_eq!(clearway.reload(&simple(&[nginx.address()], backend)), "ok");
    let response = clearway.get("/");
    let record = clearway.fault(&response.id());
    assert_eq!(record.code(), "server_speaks_plain", "{}", record.json);
    // And the other way round: plain HTTP to its TLS port.
    assert_eq!(
        clearway.reload(&simple(&[&format!("unix:{socket}")], "")),
        "ok"
    );
    let response = clearway.get("/");
    assert_eq!(response.status, 400);
    assert!(
        response.text().contains("plain HTTP request"),
        "{}",
        response.text()
    );
}

#[test]
fn gunicorn_with_tls() {
    let root = Authority::new("root");
    let folder = TempDir::new();
    let identity = root.issue(&["app.test"]);
    let (chain, key) = (
        folder.write("a.crt", &identity.chain_pem()),
        folder.write("a.key", &identity.key_pem()),
    );
    let gunicorn = Gunicorn::start(APP, &["--certfile", &chain, "--keyfile", &key]);
    let backend = "tls = { ca = \"$DIR/ca.pem\", server_name = \"app.test\" }";
    let clearway = Clearway::setup(&simple(&[gunicorn.address()], backend))
        .with_file("ca.pem", &root.pem())
        .start();
    let mut client = clearway.client();
    for size in [0, 1, 100_000] {
        let text = client.post("/", vec![b'g'; size]).text();
        // What the client spoke, which it is told.
        assert_eq!(text, format!("{size} http"));
    }
    assert!(clearway.faults().is_empty(), "{:?}", clearway.faults());
}

/// What testssl.sh may say: these are about the certificate of this test and the openssl it calls.
const NOT_OURS: [&str; 5] = [
    // What pages say about themselves is for the server's application.
    "security_headers",
    "cert_revocation",
    "engine_problem",
    "scanTime",
    // Its own openssl fails to connect with the session; that sessions are resumed is tested above.
    "sessionresumption_ticket",
];

#[test]
fn a_scanner_finds_nothing() {
    let root = Authority::new("root");
    let server = Server::script(behave::ok("x"));
    let tls = "certificates = [\"$DIR/a.pem\", \"$DIR/rsa.pem\"]";
    let text = secure(tls, &[server.address()], "");
    let clearway = Clearway::setup(&text.replacen("\ntls", "\nhsts = \"365d\"\ntls", 1))
        .with_file("a.pem", &root.issue(&["a.test"]).pem())
        .with_file("rsa.pem", &root.grant(&Wish::of(&["a.test"]).rsa()).pem())
        .with_file("ca.pem", &root.pem())
        .start();
    let port = clearway.address("web").rsplit(':').next().unwrap();
    let (ca, report) = (clearway.file("ca.pem"), clearway.file("testssl.json"));
    // Only that it is there matters.
    drop(program("hexdump", "bsdextrautils"));
    let openssl = program("openssl", "openssl");
    let mut command = Command::new(program("testssl", "testssl.sh"));
    // No section is asked for by name: then it looks at everything.
    command
        .args([
            "--quiet",
            "--color",
            "0",
            "--warnings",
            "off",
            "--nodns",
            "none",
        ])
        .args(["--severity", "LOW", "--add-ca", &ca, "--jsonfile", &report])
        .args([
            "--ip",
            "127.0.0.1",
            "--openssl",
            &openssl.display().to_string(),
        ])
        .arg(format!("a.test:{port}"))
        .stdin(Stdio::null());
    let said = command.output().unwrap();
    let text = std::fs::read_to_string(&report).unwrap_or_default();
    let findings: serde_json::Value = serde_json::from_str(&text).unwrap_or_else(|error| {
        panic!("{error}: {text}\n{}", String::from_utf8_lossy(&said.stdout))
    });
    let bad: Vec<_> = findings
        .as_array()
        .unwrap()
        .iter()
        .filter(|finding| {
            // With two certificates the number of each stands behind the name.
            let id = finding["id"].as_str().unwrap_or_default();
            !NOT_OURS
                .iter()
                .any(|known| id.split(' ').next() == Some(*known))
        })
        .collect();
    let printed = String::from_utf8_lossy(&said.stdout);
    assert!(bad.is_empty(), "{bad:#?}\n{printed}");
    for words in [
        "TLS 1.3",
        "ROBOT",
        "CRIME",
        "Heartbleed",
        "LOGJAM",
        "cipher order",
        "client simulations",
    ] {
        assert!(
            printed.contains(words),
            "{words} was not looked at:\n{printed}"
        );
    }
    // The scanner breaks connections in every way it knows; the listener goes on.
    let mut client = TlsClient::trusting(&root).open(clearway.address("web"));
    assert_eq!(client.get("/").text(), "x");
}
