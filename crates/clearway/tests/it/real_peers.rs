//! Programs that people use, on both sides.

use clearway_testkit::peers::{Gunicorn, Nginx, Wrk, curl};
use clearway_testkit::{Clearway, Server, TempDir, behave};

const APP: &str = r#"
import hashlib
def app(environ, start):
    path = environ["PATH_INFO"]
    if path == "/sum":
        digest = hashlib.sha256()
        while True:
            block = environ["wsgi.input"].read(65536)
            if not block:
                break
            digest.update(block)
        body = digest.hexdigest().encode()
    elif path == "/stream":
        start("200 OK", [("Content-Type", "text/plain")])
        return (b"line %d\n" % n for n in range(1000))
    elif path == "/who":
        body = environ.get("HTTP_X_FORWARDED_FOR", "nobody").encode()
    elif path == "/fail":
        raise RuntimeError("as asked")
    else:
        body = b"gunicorn"
    start("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"#;

fn url(clearway: &Clearway, path: &str) -> String {
    format!("http://{}{path}", clearway.address("web"))
}

#[test]
fn curl_gets_posts_and_keeps_the_connection() {
    let server = Server::script(behave::echo_body());
    let clearway = Clearway::over(&[server.address()], "");
    let url = url(&clearway, "/x");
    assert_eq!(curl(&["--data", "a=1", &url]), "a=1");
    assert_eq!(curl(&["--http1.0", "--data", "old", &url]), "old");
    assert_eq!(
        curl(&[
            "-H",
            "Transfer-Encoding: chunked",
            "--data",
            "chunked",
            &url
        ]),
        "chunked"
    );
    let twice = curl(&["--write-out", "%{num_connects}", "--data", "", &url, &url]);
    assert_eq!(twice, "10", "the second request needs no new connection");
}

#[test]
fn curl_waits_for_100_continue_with_a_large_file() {
    let server = Server::script(behave::continue_then_ok());
    let clearway = Clearway::over(&[server.address()], "");
    let folder = TempDir::new();
    let file = folder.write("upload", &"0123456789abcdef".repeat(200_000));
    let url = url(&clearway, "/upload");
    assert_eq!(
        curl(&["--upload-file", &file, "-H", "Expect: 100-continue", &url]),
        "3200000"
    );
}

#[test]
fn curl_over_a_unix_socket_and_with_a_proxy_header() {
    let server = Server::script(behave::ok("through"));
    let clearway = Clearway::setup(
        "[listener.web]\nbind = \"unix:$DIR/web.sock\"\n\
         [listener.far]\nbind = \"127.0.0.1:0\"\nproxy_protocol = \"accept\"\ntrusted = [\"127.0.0.1/32\"]\n\
         [backend.app]\nservers = [\"$A\"]\n",
    )
    .set("A", server.address())
    .start();
    let socket = clearway.file("web.sock");
    assert_eq!(curl(&["--unix-socket", &socket, "http://test/"]), "through");
    let far = format!("http://{}/", clearway.address("far"));
    assert_eq!(curl(&["--haproxy-protocol", &far]), "through");
}

#[test]
fn nginx_behind_clearway() {
    let nginx = Nginx::start(
        "location /hello { return 200 nginx; }\nlocation /gone { return 204; }\n\
         keepalive_requests 3; client_max_body_size 1k;\nlocation /up { client_max_body_size 1k; proxy_pass http://127.0.0.1:9; }",
    );
    let big: Vec<u8> = (0..3_000_000_u32)
        .map(|n| (n / 7).to_le_bytes()[0])
        .collect();
    nginx.file("big.bin", &big);
    let clearway = Clearway::over(&[nginx.address()], "");
    let mut client = clearway.client();
    for _ in 0..20 {
        // nginx closes its connection after every third request.
        assert_eq!(client.get("/hello").text(), "nginx");
    }
    assert_eq!(client.get("/gone").status, 204);
    let response = client.get("/big.bin");
    assert!(response.body == big);
    let part = client.get_with("/big.bin", "Range: bytes=10-19\r\n");
    assert_eq!((part.status, &part.body[..]), (206, &big[10..20]));
    let etag = response.header("etag").unwrap_or_default().to_owned();
    assert_eq!(
        client
            .get_with("/big.bin", &format!("If-None-Match: {etag}\r\n"))
            .status,
        304
    );
    assert_eq!(client.get("/absent").status, 404);
    client.send("HEAD /big.bin HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(
        client.response("HEAD").header("content-length"),
        Some("3000000")
    );
    assert_eq!(
        clearway.client().post("/up", "x".repeat(100_000)).status,
        413
    );
    assert!(clearway.faults().is_empty(), "{:?}", clearway.faults());
}

#[test]
fn gunicorn_behind_clearway() {
    let gunicorn = Gunicorn::start(APP, &[]);
    let clearway = Clearway::over(&[gunicorn.address()], "");
    let mut client = clearway.client();
    assert_eq!(client.get("/").text(), "gunicorn");
    assert_eq!(client.get("/who").text(), "127.0.0.1");
    let stream = client.get("/stream").text();
    assert_eq!(stream.lines().count(), 1000);
    assert!(stream.ends_with("line 999\n"));
    assert_eq!(client.get("/fail").status, 500);
    let folder = TempDir::new();
    let file = folder.write("upload", &"gunicorn".repeat(100_000));
    let sum = curl(&[
        "--data-binary",
        &format!("@{file}"),
        &url(&clearway, "/sum"),
    ]);
    let expected =
        clearway_testkit::process::output(std::process::Command::new("sha256sum").arg(&file));
    assert!(expected.starts_with(&sum), "{sum} {expected}");
    let chunked = curl(&[
        "-H",
        "Transfer-Encoding: chunked",
        "--data-binary",
        &format!("@{file}"),
        &url(&clearway, "/sum"),
    ]);
    assert_eq!(chunked, sum);
    assert!(clearway.faults().is_empty(), "{:?}", clearway.faults());
}

#[test]
fn gunicorn_with_threads_keeps_connections() {
    let gunicorn = Gunicorn::start(
        APP,
        &[
            "--worker-class",
            "gthread",
            "--threads",
            "4",
            "--keep-alive",
            "1",
        ],
    );
    let clearway = Clearway::over(&[gunicorn.address()], "");
    let mut client = clearway.client();
    for _ in 0..50 {
        assert_eq!(client.get("/").text(), "gunicorn");
    }
    assert!(clearway.faults().is_empty(), "{:?}", clearway.faults());
}

#[test]
fn wrk_sees_no_failure() {
    let nginx = Nginx::start("keepalive_requests 1000;\nlocation / { return 200 ok; }");
    let clearway = Clearway::over(&[nginx.address()], "");
    let load = Wrk::start(clearway.address("web"), 32, 3).finish();
    assert!(load.requests > 1000, "{}", load.text);
    assert_eq!((load.refused, load.broken), (0, 0), "{}", load.text);
    assert!(clearway.faults().is_empty(), "{:?}", clearway.faults());
    // The last ones are counted a moment after their answers are out.
    let all = f64::from(u32::try_from(load.requests).unwrap());
    clearway.wait_metric("clearway_requests_total", &[("backend", "app")], all);
}
