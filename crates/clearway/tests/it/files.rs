//! Files that answer: paths, conditions, ranges, slow readers.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::{Duration, UNIX_EPOCH};

use clearway_testkit::h2::RawClient;
use clearway_testkit::{Clearway, Client, Server, TempDir, behave};

#[test]
fn files_go_over_http2() {
    let text: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    let site = site(&[("a.txt", b"0123456789"), ("big", &text)], "", "");
    let mut client = RawClient::connect(site.clearway.address("web"));
    let response = client.get("/a.txt");
    assert_eq!(
        (response.status, response.text().as_str()),
        (200, "0123456789")
    );
    assert_eq!(response.header("content-length"), Some("10"));
    assert!(client.get("/big").body == text, "it came damaged");
    assert_eq!(client.get("/none").status, 404);
}

/// A folder of files with known times, behind one route.
struct Site {
    folder: TempDir,
    clearway: Clearway,
}

/// Long enough that no buffer of a connection holds it.
const BIG: usize = 64 << 20;

#[expect(
    clippy::unwrap_used,
    reason = "a helper of tests: what cannot be written fails the test"
)]
fn site(files: &[(&str, &[u8])], settings: &str, more: &str) -> Site {
    let folder = TempDir::new();
    for (name, text) in files {
        let path = folder.path().join("www").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        let file = fs::File::options().append(true).open(&path).unwrap();
        let time = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        file.set_modified(time).unwrap();
    }
    fs::write(folder.path().join("secret.txt"), "secret").unwrap();
    let clearway = Clearway::setup(&format!(
        "[process]\nworkers = 1\n[listener.web]\nbind = \"127.0.0.1:0\"\nhttp2 = true\n{more}\n[[route]]\n\
         files = {{ root = \"$ROOT/www\", {settings} }}\n"
    ))
    .set("ROOT", folder.path().to_str().unwrap())
    .start();
    Site { folder, clearway }
}

const DIGITS: &[(&str, &[u8])] = &[("digits.txt", b"0123456789")];

#[test]
fn files_are_sent_with_what_tells_them_apart() {
    let site = site(
        &[
            ("index.html", b"front"),
            ("a.txt", b"0123456789\n"),
            ("a b/\u{e4}.css", b"x"),
        ],
        "",
        "",
    );
    let mut client = site.clearway.client();
    let response = client.get("/a.txt");
    assert_eq!(response.status, 200);
    assert_eq!(response.text(), "0123456789\n");
    assert_eq!(response.header("etag"), Some("\"6553f100-b\""));
    assert_eq!(
        response.header("last-modified"),
        Some("Tue, 14 Nov 2023 22:13:20 GMT")
    );
    assert_eq!(response.header("accept-ranges"), Some("bytes"));
    assert_eq!(
        response.header("content-type"),
        Some("text/plain; charset=utf-8")
    );
    assert_eq!(client.get("/").text(), "front");
    let response = client.get("/a%20b/%C3%A4.css");
    assert_eq!((response.status, response.text().as_str()), (200, "x"));
    client.send("HEAD /a.txt HTTP/1.1\r\nHost: test\r\n\r\n");
    let response = client.response("HEAD");
    assert_eq!(response.header("content-length"), Some("11"));
    // The same connection goes on.
    assert_eq!(client.get("/a.txt").status, 200);
    client.send("HEAD /none HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(client.response("HEAD").status, 404);
    let response = client.post("/a.txt", "x");
    assert_eq!(response.status, 405);
    assert_eq!(response.header("allow"), Some("GET, HEAD"));
    let response = client.get("/a%20b?x=1");
    assert_eq!(response.status, 301);
    assert_eq!(response.header("location"), Some("/a%20b/?x=1"));
    assert_eq!(client.get("/a%20b/").status, 403);
}

#[test]
fn nothing_outside_of_the_root_is_served() {
    let site = site(
        &[("a.txt", b"a"), ("sub/b.txt", b"b")],
        "strip = \"/s\"",
        "",
    );
    symlink(
        site.folder.path().join("www/a.txt"),
        site.folder.path().join("www/link"),
    )
    .unwrap();
    let mut client = site.clearway.client();
    for target in [
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/%2e%2e%2fsecret.txt",
        "/sub/..%2f..%2fsecret.txt",
        "/sub/%2e%2e/%2e%2e/secret.txt",
        "/s../secret.txt",
        "/s%2e%2e/secret.txt",
        "/s..%2fsecret.txt",
        "/%252e%252e/secret.txt",
        "/..%5csecret.txt",
        "//../secret.txt",
        "/sub/../../secret.txt",
        "/.%00./secret.txt",
        "/a.txt%00.html",
        "/a.txt/",
        "/a.txt/../a.txt/x",
    ] {
        let response = client.get(target);
        assert!(
            (400..500).contains(&response.status),
            "{target}: {}",
            response.status
        );
        assert!(!response.text().contains("secret"), "{target}");
    }
    for (target, text) in [
        ("/s/a.txt", "a"),
        ("/sub/b.txt", "b"),
        ("/sub/../a.txt", "a"),
    ] {
        assert_eq!(client.get(target).text(), text, "{target}");
    }
    assert_eq!(client.get("/link").text(), "a");
}

#[test]
fn what_cannot_be_read_is_refused() {
    let site = site(&[("closed.txt", b"x")], "", "");
    let path = site.folder.path().join("www/closed.txt");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o0)).unwrap();
    // Root reads everything.
    let is_root = fs::read(&path).is_ok();
    let wanted = if is_root { 200 } else { 403 };
    assert_eq!(site.clearway.get("/closed.txt").status, wanted);
    let name = "x".repeat(300);
    assert_eq!(site.clearway.get(&format!("/{name}")).status, 404);
}

#[test]
fn clients_that_have_it_are_told_so() {
    let site = site(DIGITS, "", "");
    let mut client = site.clearway.client();
    for (lines, status) in [
        ("If-None-Match: \"6553f100-a\"\r\n", 304),
        ("If-None-Match: W/\"6553f100-a\"\r\n", 304),
        (
            "If-None-Match: \"x\"\r\nIf-Modified-Since: Tue, 14 Nov 2023 22:13:20 GMT\r\n",
            200,
        ),
        ("If-Modified-Since: Tue, 14 Nov 2023 22:13:20 GMT\r\n", 304),
        ("If-Modified-Since: Wed, 15 Nov 2023 22:13:20 GMT\r\n", 304),
        ("If-Modified-Since: Mon, 13 Nov 2023 22:13:20 GMT\r\n", 200),
        ("If-Match: \"x\"\r\n", 412),
        ("If-Match: \"6553f100-a\"\r\n", 200),
        (
            "If-Unmodified-Since: Mon, 13 Nov 2023 22:13:20 GMT\r\n",
            412,
        ),
    ] {
        let response = client.get_with("/digits.txt", lines);
        assert_eq!(response.status, status, "{lines}");
        let is_sent = status == 200;
        assert_eq!(response.text() == "0123456789", is_sent, "{lines}");
        if status == 304 {
            assert_eq!(response.header("etag"), Some("\"6553f100-a\""));
            assert!(response.body.is_empty(), "{lines}");
        }
    }
}

#[test]
fn ranges_are_parts_of_the_file() {
    let site = site(DIGITS, "", "");
    let mut client = site.clearway.client();
    for (range, status, place, text) in [
        ("bytes=2-4", 206, Some("bytes 2-4/10"), "234"),
        ("bytes=7-", 206, Some("bytes 7-9/10"), "789"),
        ("bytes=-2", 206, Some("bytes 8-9/10"), "89"),
        ("bytes=0-99", 206, Some("bytes 0-9/10"), "0123456789"),
        ("lines=1-2", 200, None, "0123456789"),
        ("bytes=0-9,0-9", 200, None, "0123456789"),
    ] {
        let response = client.get_with("/digits.txt", &format!("Range: {range}\r\n"));
        assert_eq!(response.status, status, "{range}");
        assert_eq!(response.header("content-range"), place, "{range}");
        assert_eq!(response.text(), text, "{range}");
    }
    let response = client.get_with("/digits.txt", "Range: bytes=10-\r\n");
    assert_eq!(response.status, 416);
    assert_eq!(response.header("content-range"), Some("bytes */10"));
    let response = client.get_with("/digits.txt", "Range: bytes=0-1, -1\r\n");
    assert_eq!(response.status, 206);
    let media_type = response.header("content-type").unwrap().to_owned();
    let boundary = media_type
        .strip_prefix("multipart/byteranges; boundary=")
        .unwrap();
    let part = |place: &str, text: &str| {
        format!(
            "\r\n--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Range: bytes {place}/10\r\n\r\n{text}"
        )
    };
    let wanted = part("0-1", "01") + &part("9-9", "9") + &format!("\r\n--{boundary}--\r\n");
    assert_eq!(response.text(), wanted);
    for (condition, status) in [
        ("\"6553f100-a\"", 206),
        ("\"other\"", 200),
        ("Tue, 14 Nov 2023 22:13:20 GMT", 206),
        ("Tue, 14 Nov 2023 22:13:21 GMT", 200),
    ] {
        let lines = format!("Range: bytes=1-2\r\nIf-Range: {condition}\r\n");
        let response = client.get_with("/digits.txt", &lines);
        assert_eq!(response.status, status, "{condition}");
    }
    let response = client.get_with("/digits.txt", "Range: bytes=1-2\r\nIf-None-Match: *\r\n");
    assert_eq!(response.status, 304);
}

#[test]
fn paths_are_tried_in_order() {
    let server = Server::script(behave::ok("app"));
    let folder = TempDir::new();
    fs::write(folder.path().join("a.html"), "a").unwrap();
    fs::write(folder.path().join("app.html"), "app").unwrap();
    fs::create_dir(folder.path().join("empty")).unwrap();
    let clearway = Clearway::setup(
        "[listener.web]\nbind = \"127.0.0.1:0\"\n\
         [[route]]\nwhen = { value = { of = \"var:goto\", is = \"@app\" } }\nbackend = \"app\"\n\
         [[route]]\npath = \"/strict/\"\nfiles = { root = \"$ROOT\", strip = \"/strict\", try = [\"${path}\"], otherwise = \"=410\" }\n\
         [[route]]\npath = \"/page/\"\nfiles = { root = \"$ROOT\", try = [\"${path}\"], otherwise = \"/app.html\" }\n\
         [[route]]\npath = \"/one\"\nfiles = { file = \"$ROOT/a.html\" }\n\
         [[route]]\nfiles = { root = \"$ROOT\", try = [\"${path}\", \"${path}.html\"], otherwise = \"@app\" }\n\
         [backend.app]\nservers = \"$A\"\n",
    )
    .set("ROOT", folder.path().to_str().unwrap())
    .set("A", server.address())
    .start();
    let mut client = clearway.client();
    assert_eq!(client.get("/a.html").text(), "a");
    assert_eq!(client.get("/a").text(), "a");
    assert_eq!(client.get("/one").text(), "a");
    assert_eq!(client.get("/strict/a.html").text(), "a");
    assert_eq!(client.get("/strict/none").status, 410);
    assert_eq!(client.get("/page/some/where?x=1").text(), "app");
    assert_eq!(server.seen().len(), 0);
    // Methods that files do not know go where there is no file.
    client.post("/x?y=1", "body");
    assert_eq!(client.get("/empty").status, 200);
    let targets: Vec<String> = server.seen().into_iter().map(|r| r.target).collect();
    assert_eq!(targets, ["/x?y=1", "/empty"]);
}

#[test]
fn errors_have_pages_of_their_own() {
    let server = Server::script(behave::ok("other"));
    let folder = TempDir::new();
    fs::write(folder.path().join("404.html"), "gone").unwrap();
    fs::write(folder.path().join("502.html"), "sorry").unwrap();
    let clearway = Clearway::setup(
        "[listener.web]\nbind = \"127.0.0.1:0\"\n\
         [[route]]\nwhen = { value = { of = \"var:goto\", is = \"@other\" } }\nbackend = \"app\"\n\
         [[route]]\npath = \"/app/\"\nbackend = \"down\"\non_error = [{ status = [502, 503], to = \"/502.html\" }]\n\
         [[route]]\npath = \"/again/\"\nbackend = \"down\"\non_error = [{ status = [502, 503], to = \"@other\", send = 0 }]\n\
         [[route]]\nfiles = { root = \"$ROOT\" }\non_error = [{ status = [404], to = \"/404.html\" }]\n\
         [backend.app]\nservers = \"$A\"\n[backend.down]\nservers = \"127.0.0.1:1\"\n",
    )
    .set("ROOT", folder.path().to_str().unwrap())
    .set("A", server.address())
    .start();
    let mut client = clearway.client();
    let response = client.get_with("/none", "If-None-Match: *\r\nRange: bytes=0-1\r\n");
    assert_eq!((response.status, response.text().as_str()), (404, "gone"));
    let response = client.post("/app/x", "body");
    assert_eq!((response.status, response.text().as_str()), (502, "sorry"));
    // What failed is told as ever.
    let id = response.header("x-request-id").unwrap().to_owned();
    assert_eq!(clearway.receipt(&id)["fault"], "connect_refused");
    let response = client.post("/again/x", "body");
    assert_eq!((response.status, response.text().as_str()), (200, "other"));
    assert_eq!(server.only().body, b"body");
}

#[test]
fn rules_change_responses_with_files() {
    let site = site(
        DIGITS,
        "types = { txt = \"text/x-own\" }",
        "[[listener.web.rule]]\nset_response_headers = { x-listener = \"1\" }\n\
         [[listener.web.rule]]\nwhen = { value = { of = \"status\", is = \"206\" } }\n\
         add_response_headers = { x-part = \"1\" }\n",
    );
    let mut client = site.clearway.client();
    let response = client.get("/digits.txt");
    assert_eq!(response.header("content-type"), Some("text/x-own"));
    assert_eq!(response.header("x-listener"), Some("1"));
    assert!(!response.headers.has("x-part"));
    let response = client.get_with("/digits.txt", "Range: bytes=0-0\r\n");
    assert_eq!(response.header("x-part"), Some("1"));
}

#[test]
fn folders_are_listed_where_that_is_wanted() {
    let site = site(
        &[("a&b.txt", b"abc"), ("sub/x", b"x"), (".hidden", b"x")],
        "autoindex = true",
        "",
    );
    let response = site.clearway.get("/");
    assert_eq!(response.status, 200);
    let text = response.text();
    assert!(
        text.contains("<a href=\"a&amp;b.txt\">a&amp;b.txt</a>"),
        "{text}"
    );
    assert!(text.contains("<a href=\"sub/\">sub/</a>"), "{text}");
    assert!(!text.contains("hidden"), "{text}");
}

fn big() -> Vec<u8> {
    (0..BIG / 8)
        .flat_map(|at| (at as u64).to_le_bytes())
        .collect()
}

#[test]
fn big_files_go_to_slow_readers_with_little_memory() {
    let bytes = big();
    let site = site(&[("big.bin", &bytes), ("a.txt", b"a")], "", "");
    site.clearway.get("/a.txt");
    let before = site.clearway.memory();
    let mut readers: Vec<Client> = (0..8).map(|_| site.clearway.client()).collect();
    for reader in &mut readers {
        reader.send("GET /big.bin HTTP/1.1\r\nHost: test\r\n\r\n");
        assert_eq!(reader.response_head().status, 200);
    }
    // Nobody has to wait for those who read slowly.
    for _ in 0..20 {
        assert_eq!(site.clearway.get("/a.txt").text(), "a");
    }
    let after = site.clearway.memory();
    assert!(
        after < before + (16 << 20),
        "{before} bytes before, {after} after"
    );
    let mut reader = readers.pop().unwrap();
    assert!(reader.take(BIG) == bytes, "the file came damaged");
    // The connection goes on.
    assert_eq!(reader.get("/a.txt").text(), "a");
}

#[test]
fn readers_that_stop_are_cut_after_a_while() {
    let bytes = big();
    let site = site(
        &[("big.bin", &bytes)],
        "",
        "timeouts = { client_write = \"300ms\" }",
    );
    let mut client = site.clearway.client();
    client.send("GET /big.bin HTTP/1.1\r\nHost: test\r\n\r\n");
    site.clearway.fault_with("client_not_reading");
    let (rest, _) = client.read_to_end();
    assert!(rest.len() < BIG, "all of it came");
}

#[test]
fn files_that_shrink_are_never_whole() {
    let bytes = big();
    let site = site(&[("big.bin", &bytes)], "", "");
    let mut client = site.clearway.client();
    client.send("GET /big.bin HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(client.response_head().status, 200);
    let path = site.folder.path().join("www/big.bin");
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_len(1_000).unwrap();
    let (rest, _) = client.read_to_end();
    assert!(rest.len() < BIG, "{} bytes", rest.len());
}

/// Root alone may be somebody else: elsewhere the setting is told of and nothing changes.
#[test]
fn files_are_read_with_the_rights_of_the_user() {
    let folder = TempDir::new();
    let may = |path: &std::path::Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    may(folder.path(), 0o755);
    for (name, mode) in [("open.txt", 0o644), ("shut.txt", 0o600)] {
        let path = folder.write(name, "text");
        may(path.as_ref(), mode);
    }
    let root = folder.path().display();
    let clearway = Clearway::setup(&format!(
        "[process]\nworkers = 1\nuser = \"12345\"\n[listener.web]\nbind = \"127.0.0.1:0\"\n\
         [[route]]\nfiles = {{ root = \"{root}\" }}\n"
    ))
    .start();
    assert_eq!(clearway.get("/open.txt").text(), "text");
    let expected = if rustix::process::geteuid().is_root() {
        403
    } else {
        200
    };
    assert_eq!(clearway.get("/shut.txt").status, expected);
}
