//! Servers of CGI's heirs: PHP over FastCGI, Python over uwsgi and SCGI.

use clearway_testkit::peers::{PhpFpm, Uwsgi};
use clearway_testkit::{Clearway, Server, behave};

const INDEX: &str = r#"<?php
header("X-Made: by php");
setcookie("a", "1");
setcookie("b", "2");
$s = $_SERVER;
echo $s["REQUEST_METHOD"], " ", $s["SCRIPT_NAME"], " ", $s["QUERY_STRING"], " ", $s["HTTP_X_A"] ?? "-", " ",
    $s["HTTP_PROXY"] ?? "no-proxy", " ", $s["CONTENT_LENGTH"] ?? "-", " ", isset($s["HTTPS"]) ? "tls" : "plain",
    " ", strlen(file_get_contents("php://input")), "\n";
"#;

const OTHERS: [(&str, &str); 5] = [
    (
        "missing.php",
        "<?php http_response_code(404); echo \"nope\\n\";",
    ),
    ("away.php", "<?php header(\"Location: /elsewhere\");"),
    (
        "long.php",
        "<?php for ($i = 0; $i < 50000; $i++) echo \"0123456789\\n\";",
    ),
    (
        "length.php",
        "<?php header(\"Content-Length: 3\"); echo \"abc\";",
    ),
    ("ends.php", "<?php echo \"x\"; posix_kill(getmypid(), 9);"),
];

fn php(settings: &str) -> (PhpFpm, Clearway) {
    let mut scripts = vec![("index.php", INDEX)];
    scripts.extend(OTHERS);
    let php = PhpFpm::start(&scripts);
    let root = php.root();
    let settings = format!(
        "protocol = \"fastcgi\"\n{settings}\n\
         params = {{ SCRIPT_FILENAME = \"{root}${{path}}\", HTTPS = \"\" }}\noptional_params = [\"HTTPS\"]\n"
    );
    let clearway = Clearway::over(&[php.address()], &settings);
    (php, clearway)
}

#[test]
fn php_gets_requests_and_answers() {
    for settings in ["", "keepalive = { max_idle = 0 }"] {
        let (_php, clearway) = php(settings);
        let mut client = clearway.client();
        let answer = client.get_with("/index.php?q=1", "X-A: 1\r\nProxy: x\r\n");
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.headers.all("x-made"), ["by php"]);
        assert_eq!(answer.headers.all("set-cookie").len(), 2);
        assert_eq!(answer.text(), "GET /index.php q=1 1 no-proxy  plain 0\n");
        let body = "x".repeat(200_000);
        let answer = client.post("/index.php", &body);
        assert_eq!(
            answer.text(),
            "POST /index.php  - no-proxy 200000 plain 200000\n"
        );
        assert_eq!(client.get("/missing.php").status, 404);
        let away = client.get("/away.php");
        assert_eq!(away.status, 302);
        assert_eq!(away.headers.all("location"), ["/elsewhere"]);
        assert_eq!(client.get("/long.php").body.len(), 550_000);
        assert_eq!(client.get("/length.php").text(), "abc");
        // PHP says so itself.
        assert_eq!(client.get("/nothing.php").status, 404);
        assert!(clearway.faults().is_empty(), "{:?}", clearway.faults());
    }
}

#[test]
fn connections_to_php_are_kept_where_they_may_be() {
    let (_php, clearway) = php("");
    let mut client = clearway.client();
    for _ in 0..3 {
        assert_eq!(client.get("/length.php").status, 200);
        assert_eq!(client.get("/index.php").status, 200);
    }
    let metrics = clearway.metrics();
    assert_eq!(metrics.sum("clearway_server_connects_total", &[]), 1.0);
}

#[test]
fn what_is_no_fastcgi_is_a_bad_gateway() {
    let server = Server::script(behave::banner("HTTP/1.1 200 OK\r\n\r\n"));
    let clearway = Clearway::over(&[server.address()], "protocol = \"fastcgi\"");
    assert_eq!(clearway.client().get("/").status, 502);
}

const APP: &str = r#"
def application(environ, start):
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    start("201 Made", [("X-A", environ.get("HTTP_X_A", "-"))])
    text = "%s %s %s %d\n" % (environ["REQUEST_METHOD"], environ["PATH_INFO"], environ["QUERY_STRING"], len(body))
    return [text.encode()]
"#;

#[test]
fn python_over_uwsgi_and_scgi() {
    for (protocol, socket) in [("uwsgi", "--uwsgi-socket"), ("scgi", "--scgi-socket")] {
        let uwsgi = Uwsgi::start(APP, socket);
        let settings =
            format!("protocol = \"{protocol}\"\nparams = {{ PATH_INFO = \"${{path}}\" }}\n");
        let clearway = Clearway::over(&[uwsgi.address()], &settings);
        let mut client = clearway.client();
        let answer = client.get_with("/a/b?c=d", "X-A: 1\r\n");
        assert_eq!(
            (answer.status, answer.text()),
            (201, "GET /a/b c=d 0\n".into())
        );
        assert_eq!(answer.headers.all("x-a"), ["1"]);
        let answer = client.post("/up", "x".repeat(100_000));
        assert_eq!(answer.text(), "POST /up  100000\n", "{protocol}");
    }
}

#[test]
fn a_request_that_no_parameters_can_carry_is_the_clients_fault() {
    let server = Server::script(behave::never_answer());
    for protocol in ["fastcgi", "scgi", "uwsgi"] {
        let clearway = Clearway::over(
            &[server.address()],
            &format!(
                "protocol = \"{protocol}\"\n[limits]\nheader_bytes = \"64KiB\"\nrequest_line = \"40KiB\"\n"
            ),
        );
        let target = format!("/{}", "x".repeat(30_000));
        let response = clearway.get(&target);
        assert_eq!(response.status, 431, "{protocol}");
        assert_eq!(clearway.fault(&response.id()).code(), "headers_too_large");
    }
    assert_eq!(server.connections(), 0);
}
