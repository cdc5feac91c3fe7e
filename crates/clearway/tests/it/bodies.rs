//! Bodies that are changed on the way: coded for clients, unpacked, texts in place of others.

use std::io::{Read, Write};

use clearway_testkit::h2::{Block, RawClient};
use clearway_testkit::{Clearway, End, Gate, Server, behave};
use flate2::read::GzDecoder;

const GZIP: &str = "compression = { algorithms = [\"zstd\", \"gzip\"], min_bytes = 10 }";

fn answer(lines: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n{lines}\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[expect(
    clippy::unwrap_used,
    reason = "a helper of tests: a broken body fails the test"
)]
fn gunzip(bytes: &[u8]) -> String {
    let mut text = String::new();
    GzDecoder::new(bytes).read_to_string(&mut text).unwrap();
    text
}

#[test]
fn clients_get_the_coding_they_take_and_the_head_says_so() {
    let text = "to be or not to be ".repeat(3_000);
    let lines = "ETag: \"v1\"\r\nAccept-Ranges: bytes\r\n";
    let server = Server::script(behave::answer(answer(lines, &text)));
    let clearway = Clearway::over(&[server.address()], GZIP);
    let mut client = clearway.client();
    for _ in 0..2 {
        let response = client.get_with("/", "Accept-Encoding: gzip;q=1.0, zstd;q=0.5\r\n");
        assert_eq!(response.header("content-encoding"), Some("gzip"));
        assert_eq!(response.header("etag"), Some("W/\"v1\""));
        assert_eq!(response.header("vary"), Some("Accept-Encoding"));
        assert!(!response.headers.has("accept-ranges"));
        assert!(!response.headers.has("content-length"));
        assert_eq!(response.end, End::Complete);
        assert!(response.body.len() < 2_000, "{}", response.body.len());
        assert_eq!(gunzip(&response.body), text);
    }
    let plain = client.get("/");
    assert_eq!(plain.header("etag"), Some("\"v1\""));
    assert_eq!(plain.header("vary"), Some("Accept-Encoding"));
    assert_eq!(plain.text(), text);
    let zstd = client.get_with("/", "Accept-Encoding: gzip, zstd\r\n");
    assert_eq!(zstd.header("content-encoding"), Some("zstd"));
    client.send("GET / HTTP/1.0\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n");
    let old = client.response("GET");
    assert!(!old.headers.has("content-encoding"));
    let mut client = RawClient::connect(clearway.address("web"));
    let block = Block::request("GET", "/").field("accept-encoding", "gzip");
    let stream = client.open(&block, true);
    let response = client.expect_response(stream);
    assert_eq!(response.header("content-encoding"), Some("gzip"));
    assert_eq!(gunzip(&response.body), text);
}

#[test]
fn what_has_a_coding_is_small_partial_or_not_to_be_changed_stays() {
    let text = "x".repeat(100);
    for (lines, body) in [
        ("Content-Encoding: br\r\n", text.as_str()),
        ("Cache-Control: private, no-transform\r\n", text.as_str()),
        ("Content-Range: bytes 0-99/200\r\n", text.as_str()),
        ("", "small"),
    ] {
        let server = Server::script(behave::answer(answer(lines, body)));
        let clearway = Clearway::over(&[server.address()], GZIP);
        let response = clearway.client().get_with("/", "Accept-Encoding: gzip\r\n");
        assert_eq!(response.text(), body, "{lines}");
        assert_ne!(response.header("content-encoding"), Some("gzip"), "{lines}");
    }
}

#[test]
fn a_pause_of_the_server_brings_out_what_was_coded() {
    let gate = Gate::new();
    let next = gate.clone();
    let server = Server::script(move |mut conn| {
        conn.request();
        conn.send(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/event-stream\r\n\r\n\
             7\r\nfirst\n\n\r\n",
        );
        next.wait();
        conn.send("8\r\nsecond\n\n\r\n0\r\nX-Sum: 1\r\n\r\n");
        conn.drain();
    });
    let clearway = Clearway::over(&[server.address()], GZIP);
    let mut client = clearway.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n");
    assert_eq!(
        client.response_head().header("content-encoding"),
        Some("gzip")
    );
    let mut packed = Vec::new();
    let mut begin = [0; 7];
    while GzDecoder::new(&packed[..]).read_exact(&mut begin).is_err() {
        let size = client.take_chunk_size();
        packed.extend(client.take(size));
        client.take(2);
    }
    assert_eq!(&begin, b"first\n\n");
    gate.open();
    loop {
        let size = client.take_chunk_size();
        if size == 0 {
            break;
        }
        packed.extend(client.take(size));
        client.take(2);
    }
    assert_eq!(gunzip(&packed), "first\n\nsecond\n\n");
    assert_eq!(client.take_through(b"\r\n\r\n"), b"X-Sum: 1\r\n\r\n");
}

#[test]
fn a_body_that_is_cut_is_not_made_whole() {
    let half =
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5000\r\n\r\nhalf of it";
    let server = Server::script(behave::answer_and_close(half));
    let clearway = Clearway::over(&[server.address()], GZIP);
    let mut client = clearway.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n");
    let cut = client.response("GET");
    assert_ne!(cut.end, End::Complete);
    clearway.fault_with("response_body_short");
}

fn packed(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    encoder.write_all(text.as_bytes()).unwrap_or_default();
    encoder.finish().unwrap_or_default()
}

#[test]
fn gzip_is_taken_off_for_clients_that_do_not_take_it() {
    let text = "0123456789".repeat(30_000);
    let body = packed(&text);
    let mut bytes = format!(
        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    bytes.extend(&body);
    let server = Server::script(behave::answer(bytes));
    let clearway = Clearway::over(&[server.address()], "compression = { unpack = true }");
    let mut client = clearway.client();
    let plain = client.get("/");
    assert!(!plain.headers.has("content-encoding"));
    assert!(plain.text() == text, "it came damaged");
    let same = client.get_with("/", "Accept-Encoding: gzip\r\n");
    assert_eq!(same.header("content-encoding"), Some("gzip"));
    assert!(same.body == body, "it came damaged");
}

#[test]
fn a_body_that_is_not_in_its_coding_is_a_fault() {
    let server = Server::script(behave::answer(
        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 9\r\n\r\nplaintext",
    ));
    let clearway = Clearway::over(&[server.address()], "compression = { unpack = true }");
    let mut client = clearway.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_ne!(client.response("GET").end, End::Complete);
    clearway.fault_with("response_content_invalid");
}

#[test]
fn servers_are_not_told_of_codings_where_the_work_is_done_here() {
    let server = Server::script(behave::ok("short"));
    let backend = "compression = { algorithms = [\"gzip\"], offload = true }";
    let clearway = Clearway::over(&[server.address()], backend);
    let mut client = clearway.client();
    client.get_with("/", "Accept-Encoding: gzip\r\n");
    client.get_with("/", "Accept-Encoding: br\r\n");
    let seen = server.wait_requests(2);
    assert!(!seen[0].headers.has("accept-encoding"));
    assert_eq!(seen[1].headers.get("accept-encoding"), Some("br"));
}

#[test]
fn texts_are_replaced_wherever_the_body_is_cut() {
    let server = Server::script(|mut conn| {
        while conn.request().is_some() {
            conn.send(
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nETag: \"a\"\r\nTransfer-Encoding: chunked\r\n\r\n\
                 9\r\n<a href=h\r\n",
            );
            conn.send("f\r\nttp://inner/x>i\r\n4\r\nnner\r\n0\r\n\r\n");
        }
    });
    let clearway = Clearway::setup(
        "[listener.web]\nbind = \"127.0.0.1:0\"\n[[route]]\nbackend = \"app\"\n\
         compression = { algorithms = [\"gzip\"], min_bytes = 0 }\n\
         replace_body = { texts = { find = \"HTTP://inner\", to = \"https://${host}\" } }\n\
         [backend.app]\nservers = [\"$A\"]\n",
    )
    .set("A", server.address())
    .start();
    let mut client = clearway.client();
    let plain = client.get("/");
    assert_eq!(plain.text(), "<a href=https://test/x>inner");
    assert!(!plain.headers.has("etag"));
    let coded = client.get_with("/", "Accept-Encoding: gzip\r\n");
    assert_eq!(gunzip(&coded.body), "<a href=https://test/x>inner");
    client.send("GET / HTTP/1.0\r\nHost: test\r\n\r\n");
    let old = client.response("GET");
    assert_eq!(old.text(), "<a href=https://test/x>inner");
}
