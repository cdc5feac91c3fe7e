//! Logs in their formats, and what happens when they cannot be written.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::Command;
use std::sync::mpsc;

use clearway_testkit::clearway::simple;
use clearway_testkit::process::Signal;
use clearway_testkit::{Clearway, Server, behave, process, wait};

fn with_log(log: &str, server: &Server) -> Clearway {
    Clearway::setup(&format!(
        "[log]\n{log}\n[listener.web]\nbind = \"127.0.0.1:0\"\n[backend.app]\nservers = [\"$A\"]\nretries = {{ max = 0 }}\n"
    ))
    .set("A", server.address())
    .start()
}

/// Waits until a file has a line in which `wanted` holds.
fn line_of(path: &str, wanted: impl Fn(&str) -> bool) -> String {
    wait::until(path, || {
        let text = std::fs::read_to_string(path).ok()?;
        let whole = text.rfind('\n').map(|end| text.split_at(end).0)?;
        whole.lines().find(|l| wanted(l)).map(str::to_owned)
    })
}

#[test]
fn json_has_everything() {
    let server = Server::script(behave::ok("hello"));
    let clearway = with_log(
        "access = \"$DIR/access.log\"\nformat = \"json\"\nfaults = \"stderr\"",
        &server,
    );
    clearway.client().get_with(
        "/page?x=1",
        "User-Agent: tester/1\r\nReferer: http://a/\r\n",
    );
    let line = line_of(&clearway.file("access.log"), |l| l.contains("/page"));
    let record: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(record["status"], 200, "{line}");
    assert_eq!(record["method"], "GET");
    assert_eq!(record["listener"], "web");
    assert_eq!(record["backend"], "app");
    assert!(record["fault"].is_null());
    for part in [
        "/page?x=1",
        "tester/1",
        "http://a/",
        "127.0.0.1",
        server.address(),
    ] {
        assert!(line.contains(part), "{part} is not in {line}");
    }
}

#[test]
fn combined_is_what_existing_tools_read() {
    let server = Server::script(behave::ok("hello"));
    let clearway = with_log(
        "access = \"$DIR/access.log\"\nformat = \"combined\"",
        &server,
    );
    clearway
        .client()
        .get_with("/page", "User-Agent: tester/1\r\nReferer: http://a/\r\n");
    let line = line_of(&clearway.file("access.log"), |l| l.contains("/page"));
    let (before, after) = line.split_once(" \"GET /page HTTP/1.1\" ").unwrap();
    assert!(before.starts_with("127.0.0.1 - - ["), "{line}");
    assert!(
        after.starts_with("200 5 \"http://a/\" \"tester/1\""),
        "{line}"
    );
}

#[test]
fn haproxy_is_what_existing_tools_read() {
    let server = Server::script(behave::ok("hello"));
    let clearway = with_log(
        "access = \"$DIR/access.log\"\nformat = \"haproxy\"",
        &server,
    );
    clearway.get("/page");
    let line = line_of(&clearway.file("access.log"), |l| l.contains("/page"));
    assert!(line.contains("127.0.0.1:"), "{line}");
    assert!(line.contains(" web app/"), "{line}");
    assert!(line.contains(" 200 "), "{line}");
    assert!(line.contains(" ---- "), "{line}");
    assert!(line.ends_with("\"GET /page HTTP/1.1\""), "{line}");
    let (address, _guard) = behave::closed_port();
    let clearway = Clearway::setup(
        "[log]\naccess = \"$DIR/access.log\"\nformat = \"haproxy\"\n\
         [listener.web]\nbind = \"127.0.0.1:0\"\n[backend.app]\nservers = [\"$A\"]\nretries = { max = 0 }\n",
    )
    .set("A", &address)
    .start();
    assert_eq!(clearway.get("/refused").status, 502);
    let line = line_of(&clearway.file("access.log"), |l| l.contains("/refused"));
    assert!(line.contains(" 502 ") && line.contains(" SC-- "), "{line}");
}

#[test]
fn clients_cannot_forge_lines() {
    for format in ["json", "combined", "haproxy"] {
        let server = Server::script(behave::ok("hello"));
        let clearway = with_log(
            &format!("access = \"$DIR/access.log\"\nformat = \"{format}\""),
            &server,
        );
        clearway.client().get_with(
            "/quote\"x%0afake",
            "User-Agent: a\" 200 0 \"b\\\u{e9}\r\nReferer: \"}\tx\r\n",
        );
        clearway.get("/end");
        let path = clearway.file("access.log");
        line_of(&path, |l| l.contains("/end"));
        let text = std::fs::read(&path).unwrap();
        let text = String::from_utf8_lossy(&text).into_owned();
        assert_eq!(text.lines().count(), 2, "{format}: {text}");
        if format == "json" {
            for line in text.lines() {
                assert!(
                    serde_json::from_str::<serde_json::Value>(line).is_ok(),
                    "{line}"
                );
            }
        }
    }
}

#[test]
fn every_request_is_logged_once() {
    let server = Server::script(behave::ok("x"));
    let clearway = with_log("access = \"$DIR/access.log\"\nformat = \"json\"", &server);
    let mut client = clearway.client();
    for number in 0..500 {
        client.get(&format!("/number/{number}/"));
    }
    let path = clearway.file("access.log");
    line_of(&path, |l| l.contains("/number/499/"));
    let text = std::fs::read_to_string(&path).unwrap();
    for number in 0..500 {
        let count = text.matches(&format!("/number/{number}/\"")).count()
            + text.matches(&format!("/number/{number}/ ")).count();
        assert_eq!(count, 1, "request {number}");
    }
}

#[test]
fn the_last_lines_are_written_before_the_end() {
    let server = Server::script(behave::ok("x"));
    let folder = clearway_testkit::TempDir::new();
    let path = folder.file("access.log");
    let clearway = with_log(&format!("access = \"{path}\"\nformat = \"json\""), &server);
    clearway.get("/last");
    assert!(clearway.stop().success());
    assert!(std::fs::read_to_string(&path).unwrap().contains("/last"));
}

#[test]
fn a_moved_log_is_opened_again_on_reload() {
    let server = Server::script(behave::ok("x"));
    let clearway = with_log("access = \"$DIR/access.log\"\nformat = \"json\"", &server);
    let path = clearway.file("access.log");
    clearway.get("/one");
    line_of(&path, |l| l.contains("/one"));
    std::fs::rename(&path, clearway.file("access.log.1")).unwrap();
    assert_eq!(clearway.hup(), "ok");
    clearway.get("/two");
    line_of(&path, |l| l.contains("/two"));
}

#[test]
fn rotated_logs_are_let_go_at_once_and_begun_anew() {
    let server = Server::script(behave::ok("x"));
    let mut clearway = with_log(
        "access = \"$DIR/access.log\"\nfaults = \"$DIR/faults.log\"\nformat = \"json\"",
        &server,
    );
    let paths = ["access.log", "faults.log"].map(|name| clearway.file(name));
    let fail = |clearway: &Clearway| clearway.client().get_with("/", "Host: other\r\n").id();
    let first = fail(&clearway);
    for path in &paths {
        line_of(path, |l| l.contains(&first));
        std::fs::rename(path, format!("{path}.1")).unwrap();
    }
    clearway.process().signal(Signal::Usr1);
    // Nothing is to be written: no request comes.
    for path in &paths {
        wait::until(path, || std::fs::exists(path).ok()?.then_some(()));
    }
    let second = fail(&clearway);
    for path in &paths {
        line_of(path, |l| l.contains(&second));
        let old = std::fs::read_to_string(format!("{path}.1")).unwrap();
        assert!(!old.contains(&second), "{old}");
    }
}

#[test]
fn a_full_disk_stops_no_request() {
    let server = Server::script(behave::ok("x"));
    let clearway = with_log(
        "access = \"/dev/full\"\nformat = \"json\"\nfaults = \"/dev/full\"",
        &server,
    );
    let mut client = clearway.client();
    for _ in 0..300 {
        assert_eq!(client.get("/").status, 200);
    }
    clearway.wait_metric("clearway_log_failed_total", &[], 1.0);
}

#[test]
fn a_disk_that_has_room_again_is_written_to_again() {
    let server = Server::script(behave::ok("x"));
    let folder = clearway_testkit::TempDir::new();
    let path = folder.file("access.log");
    std::os::unix::fs::symlink("/dev/full", &path).unwrap();
    let clearway = with_log(&format!("access = \"{path}\"\nformat = \"json\""), &server);
    clearway.get("/lost");
    clearway.wait_metric("clearway_log_failed_total", &[], 1.0);
    std::fs::remove_file(&path).unwrap();
    clearway.get("/kept");
    line_of(&path, |l| l.contains("/kept"));
    assert!(!std::fs::read_to_string(&path).unwrap().contains("/lost"));
}

#[test]
fn a_reload_away_from_a_full_disk_writes_lines_again() {
    let (refusing, _guard) = behave::closed_port();
    let text = |access: &str, faults: &str| {
        format!(
            "[log]\naccess = \"{access}\"\nformat = \"json\"\nfaults = \"{faults}\"\n\
             [listener.web]\nbind = \"127.0.0.1:0\"\n[backend.app]\nservers = [\"{refusing}\"]\n\
             retries = {{ max = 0 }}\n"
        )
    };
    let clearway = Clearway::start(&text("/dev/full", "/dev/full"));
    for _ in 0..10 {
        assert_eq!(clearway.get("/lost").status, 502);
    }
    clearway.wait_metric("clearway_log_failed_total", &[], 20.0);
    let good = text("$DIR/access.log", "$DIR/faults.log");
    assert_eq!(clearway.reload(&good), "ok", "{:?}", clearway.stderr());
    assert_eq!(clearway.get("/kept").status, 502);
    for file in ["access.log", "faults.log"] {
        line_of(&clearway.file(file), |l| l.contains("/kept"));
    }
    let before = clearway.metrics().count("clearway_log_failed_total", &[]);
    clearway.get("/kept/too");
    line_of(&clearway.file("access.log"), |l| l.contains("/kept/too"));
    let after = clearway.metrics().count("clearway_log_failed_total", &[]);
    assert_eq!(before, after);
}

/// A pipe with a name, which the balancer can write to and nobody reads until the test does.
///
/// It is opened for both directions, so that opening it never waits.
fn unread(folder: &clearway_testkit::TempDir) -> (String, File) {
    let path = folder.file("unread.fifo");
    process::output(Command::new("mkfifo").arg(&path));
    let file = File::options().read(true).write(true).open(&path).unwrap();
    (path, file)
}

/// Reads lines from now on and sends them.
fn lines_of(file: File) -> mpsc::Receiver<String> {
    let (tell, lines) = mpsc::channel();
    std::thread::spawn(move || {
        let mut lines = BufReader::new(file).lines();
        while let Some(Ok(line)) = lines.next() {
            if tell.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// Waits for a line in which `wanted` holds.
fn next_line(lines: &mpsc::Receiver<String>, wanted: impl Fn(&str) -> bool) -> String {
    loop {
        let line = lines.recv_timeout(wait::LIMIT).unwrap();
        if wanted(&line) {
            return line;
        }
    }
}

#[test]
fn a_reader_that_does_not_read_stops_no_request() {
    let server = Server::script(behave::ok("x"));
    let folder = clearway_testkit::TempDir::new();
    let (fifo, file) = unread(&folder);
    let clearway = with_log(
        &format!("access = \"{fifo}\"\nformat = \"json\"\nbuffer = \"64KiB\""),
        &server,
    );
    let mut client = clearway.client();
    let long = format!("User-Agent: {}\r\n", "u".repeat(2000));
    for _ in 0..400 {
        assert_eq!(client.get_with("/", &long).status, 200);
    }
    clearway.wait_metric("clearway_log_dropped_total", &[], 1.0);
    let lines = lines_of(file);
    next_line(&lines, |l| l.contains("uuu"));
    // What is asked now is written, once there is room for it.
    wait::until("a line of a later request", || {
        assert_eq!(clearway.get("/later").status, 200);
        lines.try_iter().any(|l| l.contains("/later")).then_some(())
    });
    let dropped = || clearway.metrics().count("clearway_log_dropped_total", &[]);
    let before = dropped();
    assert_eq!(clearway.get("/last").status, 200);
    next_line(&lines, |l| l.contains("/last"));
    assert_eq!(dropped(), before);
}

#[test]
fn a_reader_that_is_not_there_yet_stops_no_start_and_no_reload() {
    let server = Server::script(behave::ok("x"));
    let folder = clearway_testkit::TempDir::new();
    let fifo = folder.file("access.fifo");
    process::output(Command::new("mkfifo").arg(&fifo));
    let clearway = with_log(&format!("access = \"{fifo}\"\nformat = \"json\""), &server);
    assert_eq!(clearway.get("/early").status, 200);
    assert_eq!(clearway.hup(), "ok", "{:?}", clearway.stderr());
    let reader = File::open(&fifo).unwrap();
    let lines = lines_of(reader);
    wait::until("a line of a later request", || {
        assert_eq!(clearway.get("/later").status, 200);
        lines.try_iter().any(|l| l.contains("/later")).then_some(())
    });
}

#[test]
fn a_reader_that_leaves_and_comes_back_gets_lines_again() {
    let server = Server::script(behave::ok("x"));
    let folder = clearway_testkit::TempDir::new();
    let (fifo, file) = unread(&folder);
    let clearway = with_log(&format!("access = \"{fifo}\"\nformat = \"json\""), &server);
    clearway.get("/first");
    let mut first = String::new();
    BufReader::new(file).read_line(&mut first).unwrap();
    assert!(first.contains("/first"), "{first}");
    for _ in 0..50 {
        assert_eq!(clearway.get("/alone").status, 200);
    }
    let lines = lines_of(File::options().read(true).write(true).open(&fifo).unwrap());
    wait::until("a line of a later request", || {
        assert_eq!(clearway.get("/later").status, 200);
        lines.try_iter().any(|l| l.contains("/later")).then_some(())
    });
}

/// Text of a configuration whose records of failures go to standard error.
fn faults_on_stderr(server: &str) -> String {
    simple(
        &[server],
        "retries = { max = 0 }\nhealth = { path = \"/\", interval = \"50ms\", fast_interval = \"50ms\" }\n\
         [log]\naccess = \"off\"\nfaults = \"stderr\"",
    )
}

/// Fails requests until their records are given up because nobody reads them.
fn fill_stderr(clearway: &Clearway) {
    let mut client = clearway.client();
    let target = format!("/{}", "p".repeat(1000));
    wait::until("records to be given up", || {
        for _ in 0..200 {
            let status = client.get(&target).status;
            assert!(matches!(status, 502 | 503), "{status}");
        }
        let failed = clearway.metrics().count("clearway_log_failed_total", &[]);
        (failed > 0).then_some(())
    });
}

#[test]
fn standard_error_that_nobody_reads_stops_nothing() {
    let (refusing, guard) = behave::closed_port();
    let text = faults_on_stderr(&refusing);
    let folder = clearway_testkit::TempDir::new();
    let (fifo, file) = unread(&folder);
    let clearway = Clearway::setup(&text).stderr_to(&fifo).start();
    fill_stderr(&clearway);
    // Neither news of the balancer itself nor what it does beside traffic waits for the reader.
    clearway.wait_state(&refusing, &["down"]);
    assert_eq!(clearway.hup(), "ok");
    assert_eq!(clearway.admin().get("/healthz").status, 200);
    assert_eq!(clearway.reload("[listener.web"), "failed");
    drop(guard);
    let server = Server::script_at(&refusing, behave::ok("up again"));
    clearway.wait_state(&refusing, &["up"]);
    assert_eq!(clearway.get("/").status, 200);
    let lines = lines_of(file);
    next_line(&lines, |l| l.contains("ppp"));
    server.stop();
    wait::until("a record of a later request", || {
        clearway.get("/later");
        lines.try_iter().any(|l| l.contains("/later")).then_some(())
    });
}

#[test]
fn the_end_does_not_wait_for_a_reader_that_does_not_read() {
    let (refusing, _guard) = behave::closed_port();
    let folder = clearway_testkit::TempDir::new();
    let (fifo, _file) = unread(&folder);
    let clearway = Clearway::setup(&faults_on_stderr(&refusing))
        .stderr_to(&fifo)
        .start();
    fill_stderr(&clearway);
    assert!(clearway.stop().success());
}

#[test]
fn a_log_that_cannot_be_opened_is_an_error_at_the_start() {
    let folder = clearway_testkit::TempDir::new();
    let path = folder.write(
        "clearway.toml",
        "[log]\naccess = \"/no/such/folder/access.log\"\n[admin]\nlisten = \"off\"\n[listener.web]\nbind = \"127.0.0.1:0\"\n[backend.app]\nservers = [\"127.0.0.1:1\"]\n",
    );
    let mut command = Command::new(clearway_testkit::clearway::binary());
    command.args(["run", "-c", &path]);
    let mut process = process::Process::start(command);
    assert!(!process.wait(wait::LIMIT).success());
    let text = process.stderr.to_end().join("\n");
    assert!(text.contains("/no/such/folder/access.log"), "{text}");
}

#[test]
fn logs_can_be_off() {
    let server = Server::script(behave::ok("x"));
    let clearway = with_log("access = \"off\"\nfaults = \"off\"", &server);
    assert_eq!(clearway.get("/quiet").status, 200);
    assert_eq!(clearway.client().get_with("/", "Expect: x\r\n").status, 417);
    clearway.wait_metric("clearway_listener_requests_total", &[], 2.0);
    let said = clearway.stdout().join("\n") + &clearway.stderr().join("\n");
    assert!(
        !said.contains("/quiet") && !said.contains("expectation"),
        "{said}"
    );
}

#[test]
fn bytes_of_bodies_are_counted_on_both_sides() {
    let server = Server::script(behave::echo_body());
    let clearway = Clearway::over(&[server.address()], "");
    let body = behave::pattern(300_000);
    let head = "POST /sized HTTP/1.1\r\nHost: test\r\nContent-Length: 300000\r\n\r\n";
    let mut client = clearway.client();
    client.send(head).send(&body);
    assert_eq!(client.response("POST").body, body);
    let record = clearway.access(|r| r["target"] == "/sized");
    assert_eq!(record["bytes_in"], head.len() + body.len());
    // A small one comes together with its head.
    client.send("POST /small HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!(client.response("POST").text(), "hello");
    let record = clearway.access(|r| r["target"] == "/small");
    assert_eq!(record["bytes_in"], 60);
    // With its framing.
    let head = "POST /chunks HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.send(head).send("5\r\nhello\r\n0\r\n\r\n");
    assert_eq!(client.response("POST").text(), "hello");
    let record = clearway.access(|r| r["target"] == "/chunks");
    assert_eq!(record["bytes_in"], head.len() + 15);
}
