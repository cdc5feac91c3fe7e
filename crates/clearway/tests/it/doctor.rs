//! `clearway doctor` as a user meets it: exit status, text and JSON, with real servers, real programs and
//! files of every kind.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests may panic as tests do"
)]

use std::io::Write;
use std::process::{Command, Stdio};

use clearway_testkit::process::{Process, Signal, program};
use clearway_testkit::stream::Stream;
use clearway_testkit::wait::until;
use clearway_testkit::{Authority, Clearway, Client, Server, TempDir, TlsServer, behave};
use clearway_testkit::{clearway, wait};
use serde_json::Value;

/// What a run of the doctor came to.
struct Run {
    code: i32,
    out: String,
    err: String,
}

impl Run {
    fn of(arguments: &[&str]) -> Self {
        let mut command = Command::new(clearway::binary());
        command.arg("doctor").args(arguments);
        command.env_remove("COLUMNS").env("NO_COLOR", "1");
        let mut process = Process::start(command);
        let status = process.wait(wait::LIMIT * 3);
        let (out, err) = (process.stdout.to_end(), process.stderr.to_end());
        let run = Self {
            code: status.code().expect("an exit status"),
            out: out.join("\n"),
            err: err.join("\n"),
        };
        assert!(!run.err.contains("panicked"), "{}", run.err);
        run
    }

    fn json(arguments: &[&str]) -> (i32, Value) {
        let run = Self::of(&[arguments, &["--format", "json"]].concat());
        let json = serde_json::from_str(&run.out);
        let json = json.unwrap_or_else(|error| panic!("{error}: {}\n{}", run.out, run.err));
        (run.code, json)
    }
}

/// Backend, server, cause and count of each verdict.
fn told(json: &Value) -> Vec<(String, String, String, u64)> {
    let verdicts = json["verdicts"].as_array().expect("verdicts");
    let text = |verdict: &Value, name: &str| verdict[name].as_str().expect("a text").to_owned();
    verdicts
        .iter()
        .map(|verdict| {
            (
                text(verdict, "backend"),
                text(verdict, "server"),
                text(verdict, "cause"),
                verdict["count"].as_u64().expect("a count"),
            )
        })
        .collect()
}

fn causes(json: &Value) -> Vec<String> {
    told(json).into_iter().map(|(.., cause, _)| cause).collect()
}

fn notes(json: &Value) -> String {
    json["notes"].to_string()
}

#[test]
fn a_server_that_answers_is_healthy() {
    let server = Server::script(behave::ok("hello"));
    let run = Run::of(&[server.address()]);
    assert_eq!(run.code, 0, "{}{}", run.out, run.err);
    assert!(
        run.out.starts_with("Nothing found: 1 server was looked at"),
        "{}",
        run.out
    );
    assert!(!run.out.contains('\x1b'));
}

#[test]
fn a_closed_port_is_told_with_proof() {
    let (address, _guard) = behave::closed_port();
    let (code, json) = Run::json(&[&address]);
    assert_eq!((code, json["checked"].as_u64()), (1, Some(1)));
    assert_eq!(causes(&json), ["port-closed"]);
    let verdict = &json["verdicts"][0];
    assert_eq!(
        (&verdict["confidence"], &verdict["error"]),
        (&"certain".into(), &"connect_refused".into())
    );
}

#[test]
fn json_has_the_keys_of_schema_1() {
    let (address, _guard) = behave::closed_port();
    let (_, json) = Run::json(&[&address]);
    let keys = |value: &Value| -> Vec<String> {
        value
            .as_object()
            .expect("an object")
            .keys()
            .cloned()
            .collect()
    };
    assert_eq!(json["schema"], 1);
    assert_eq!(
        keys(&json),
        ["checked", "clearway", "notes", "schema", "verdicts"]
    );
    let verdict = &json["verdicts"][0];
    for key in [
        "backend",
        "server",
        "stage",
        "error",
        "cause",
        "confidence",
        "party",
        "summary",
        "evidence",
        "against",
        "missing",
        "fix",
        "alternatives",
        "count",
        "saved",
        "requests",
        "first_seen",
        "last_seen",
    ] {
        assert!(verdict.get(key).is_some(), "{key}");
    }
    assert_eq!(keys(&verdict["evidence"][0]), ["fact", "ref", "source"]);
    assert_eq!(
        keys(&verdict["fix"][0]),
        ["command", "do", "on", "verified"]
    );
}

#[test]
fn tls_to_a_plain_port_and_the_reverse_are_told() {
    let plain = Server::script(behave::ok("hello"));
    let (code, json) = Run::json(&[&format!("https://{}/", plain.address())]);
    assert_eq!(
        (code, causes(&json)),
        (1, vec!["tls-to-plaintext".to_owned()])
    );
    let authority = Authority::new("Root");
    let identity = authority.issue(&["a.test"]);
    let tls = TlsServer::with(&identity).script(behave::ok("hello"));
    let (code, json) = Run::json(&[&format!("http://{}/", tls.address())]);
    assert_eq!(
        (code, causes(&json)),
        (1, vec!["plaintext-to-tls".to_owned()])
    );
    // Nobody said that it speaks in clear.
    let (code, json) = Run::json(&[tls.address()]);
    assert_eq!(code, 0, "{json:#}");
    assert!(notes(&json).contains("speaks TLS"), "{json:#}");
}

#[test]
fn a_missing_socket_and_a_name_that_does_not_exist_are_told() {
    let folder = TempDir::new();
    let (code, json) = Run::json(&[&format!("unix:{}", folder.file("none.sock"))]);
    assert_eq!(
        (code, causes(&json)),
        (1, vec!["unix-socket-missing".to_owned()])
    );
    let (code, json) = Run::json(&["nobody.invalid:80"]);
    assert_eq!((code, told(&json)[0].1.as_str()), (1, "nobody.invalid:80"));
    assert_eq!(json["verdicts"][0]["stage"], "dns", "{json:#}");
}

/// Answers 200 but for one path.
fn without(path: &'static str) -> Server {
    Server::script(move |mut conn| {
        while let Some(request) = conn.request() {
            let status = if request.target == path { 404 } else { 200 };
            if !conn.send(behave::response(status, "x")) {
                return;
            }
        }
    })
}

#[test]
fn a_wrong_health_path_of_the_own_configuration_is_told_with_its_line() {
    let server = without("/healthz");
    let folder = TempDir::new();
    let path = folder.write(
        "clearway.toml",
        &format!(
            "[listener.web]\nbind = \"127.0.0.1:0\"\nbackend = \"app\"\n[backend.app]\nservers = [\"{}\"]\n\
             health = {{ path = \"/healthz\" }}\n[admin]\nlisten = \"off\"\n",
            server.address()
        ),
    );
    let (code, json) = Run::json(&["-c", &path]);
    assert_eq!(code, 1, "{json:#}");
    assert_eq!(causes(&json), ["hc-wrong-status"], "{json:#}");
    assert!(json.to_string().contains("clearway.toml:6:"), "{json:#}");
    // The same, recognised by what is in it.
    let (code, again) = Run::json(&[&path]);
    assert_eq!((code, causes(&again)), (1, causes(&json)));
}

#[test]
fn a_healthy_haproxy_configuration_yields_nothing_and_a_sick_one_its_cause() {
    let well = Server::script(behave::ok("hello"));
    let (closed, _guard) = behave::closed_port();
    let folder = TempDir::new();
    let config = |second: &str| {
        format!(
            "defaults\n  mode http\n  timeout connect 2s\n  timeout client 5s\n  timeout server 5s\n\
             frontend web\n  bind 127.0.0.1:1\n  default_backend app\nbackend app\n  option httpchk GET /\n  \
             server s1 {} check\n  server s2 {second} check\n",
            well.address()
        )
    };
    let path = folder.write("haproxy.cfg", &config(well.address()));
    let run = Run::of(&["--haproxy", &path]);
    assert_eq!(run.code, 0, "{}{}", run.out, run.err);
    assert!(run.out.contains("Nothing found"), "{}", run.out);
    folder.write("haproxy.cfg", &config(&closed));
    let (code, json) = Run::json(&["--haproxy", &path]);
    assert_eq!(code, 1);
    let expected = (
        "app".to_owned(),
        "s2".to_owned(),
        "port-closed".to_owned(),
        1,
    );
    assert_eq!(told(&json), [expected]);
    let (code, json) = Run::json(&["--haproxy", &path, "--no-probe"]);
    assert_eq!((code, causes(&json).len()), (0, 0));
    assert!(notes(&json).contains("--no-probe"));
}

/// A real nginx with an upstream for each server, at `/0`, `/1` …
struct Front {
    _process: Process,
    address: String,
    folder: TempDir,
    config: String,
}

impl Front {
    fn before(servers: &[&str]) -> Self {
        let folder = TempDir::new();
        let root = folder.path().display().to_string();
        let socket = folder.file("front.sock");
        let mut text = format!(
            "daemon off; master_process off; worker_processes 1; pid {root}/nginx.pid;\n\
             error_log {root}/error.log error;\nevents {{ worker_connections 64; }}\nhttp {{\n\
             log_format up '$remote_addr [$time_local] \"$request\" $status to=$upstream_addr \
             st=$upstream_status ct=$upstream_connect_time ht=$upstream_header_time rt=$upstream_response_time';\n\
             access_log {root}/access.log up;\n"
        );
        for name in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
            text.push_str(&format!("{name}_temp_path {root}/{name};\n"));
        }
        for (number, server) in servers.iter().enumerate() {
            text.push_str(&format!("upstream u{number} {{ server {server}; }}\n"));
        }
        text.push_str(&format!(
            "server {{\nlisten unix:{socket}; server_name a.test;\n"
        ));
        for number in 0..servers.len() {
            text.push_str(&format!(
                "location /{number} {{ proxy_pass http://u{number}; }}\n"
            ));
        }
        text.push_str("}\n}\n");
        let config = folder.write("nginx.conf", &text);
        let mut command = Command::new(program("nginx", "nginx-light"));
        command.args(["-p", &root, "-c", &config, "-e", "stderr"]);
        let process = Process::start(command);
        let address = format!("unix:{socket}");
        until("nginx to listen", || Stream::connect(&address).ok());
        Self {
            _process: process,
            address,
            folder,
            config,
        }
    }

    fn get(&self, path: &str) -> u16 {
        Client::connect(&self.address).get(path).status
    }

    /// Waits until the access log has so many lines: it is written behind the answer.
    fn wait_lines(&self, count: usize) {
        until("nginx to log", || {
            let text = std::fs::read_to_string(self.folder.file("access.log")).ok()?;
            (text.lines().count() >= count).then_some(())
        });
    }
}

#[test]
fn a_real_nginx_before_broken_servers_is_understood_from_its_configuration_and_logs() {
    let well = Server::script(behave::ok("hello"));
    let (closed, _guard) = behave::closed_port();
    let rude = Server::script(behave::close_after_request());
    let front = Front::before(&[well.address(), &closed, rude.address()]);
    let answers: Vec<u16> = ["/0/a", "/0/b", "/1/a", "/1/b", "/2/a"]
        .iter()
        .map(|path| front.get(path))
        .collect();
    assert_eq!(answers, [200, 200, 502, 502, 502]);
    front.wait_lines(5);
    let (code, json) = Run::json(&["--nginx", &front.config]);
    assert_eq!(code, 1, "{json:#}");
    let told = told(&json);
    // Two requests, though both logs tell of each.
    let refused = ("u1".to_owned(), closed, "port-closed".to_owned(), 2);
    assert!(told.contains(&refused), "{told:?}");
    let dropped: Vec<_> = told.iter().filter(|verdict| verdict.0 == "u2").collect();
    assert_eq!(dropped.len(), 1, "{told:?}");
    assert_eq!((dropped[0].1.as_str(), dropped[0].3), (rude.address(), 1));
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(notes(&json).contains("Logs that the configuration names were read"));
    // From the logs alone nobody is connected to.
    let before = rude.connections();
    let (error, access) = (
        front.folder.file("error.log"),
        front.folder.file("access.log"),
    );
    let (code, json) = Run::json(&["--log", &error, &access]);
    assert_eq!((code, rude.connections()), (1, before));
    assert!(notes(&json).contains("--probe"), "{json:#}");
    let counts: u64 = json["verdicts"]
        .as_array()
        .expect("verdicts")
        .iter()
        .filter_map(|verdict| verdict["count"].as_u64())
        .sum();
    assert_eq!(counts, 3, "{json:#}");
    // All that is in the folder, recognised by what it is.
    let (code, json) = Run::json(&[&front.config, &error, &access]);
    assert_eq!((code, self::told(&json).len()), (1, told.len()));
}

#[test]
fn a_healthy_nginx_yields_nothing() {
    let well = Server::script(behave::ok("hello"));
    let front = Front::before(&[well.address()]);
    assert_eq!(front.get("/0/a"), 200);
    front.wait_lines(1);
    let run = Run::of(&["--nginx", &front.config]);
    assert_eq!(run.code, 0, "{}{}", run.out, run.err);
    assert!(run.out.contains("Nothing found"), "{}", run.out);
}

const ERRORS: &str = "2026/11/21 07:30:00 [error] 1#1: *2 connect() failed (111: Connection refused) while \
    connecting to upstream, client: 192.0.2.7, server: a, request: \"GET /a HTTP/1.1\", \
    upstream: \"http://192.0.2.1:8080/a\", host: \"a\"\n";

#[test]
fn logs_come_from_files_compressed_or_not_from_patterns_and_from_standard_input() {
    let folder = TempDir::new();
    let plain = folder.write("error.log", ERRORS);
    let count = |json: &Value| told(json).iter().map(|verdict| verdict.3).sum::<u64>();
    let (code, json) = Run::json(&["--log", &plain]);
    assert_eq!((code, count(&json)), (1, 1));
    let status = Command::new("gzip").args(["-k", &plain]).status();
    assert!(status.expect("gzip").success());
    let (_, json) = Run::json(&["--log", &format!("{plain}.gz")]);
    assert_eq!(count(&json), 1, "{json:#}");
    let (_, json) = Run::json(&["--log", &folder.file("err*.log*")]);
    assert_eq!(count(&json), 2, "{json:#}");
    let mut child = Command::new(clearway::binary())
        .args(["doctor", "--log", "-", "--format", "json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("clearway starts");
    let mut stdin = child.stdin.take().expect("piped");
    stdin
        .write_all(ERRORS.repeat(3).as_bytes())
        .expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    let json: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((output.status.code(), count(&json)), (Some(1), 3));
}

#[test]
fn what_cannot_be_read_is_said_and_the_rest_is_examined() {
    let folder = TempDir::new();
    let good = folder.write("error.log", ERRORS);
    let junk = folder.write("junk.log", "hello\nworld\n");
    let run = Run::of(&["--log", "/no/such.log", "--log", &junk, "--log", &good]);
    assert_eq!(run.code, 1, "{}", run.err);
    assert!(
        run.err.contains("/no/such.log: no such file"),
        "{}",
        run.err
    );
    assert!(
        run.err.contains("junk.log: its lines are in no format"),
        "{}",
        run.err
    );
    assert!(
        run.out.contains("Not examined: /no/such.log"),
        "{}",
        run.out
    );
    for nothing in [
        &["--log", "/no/such.log"][..],
        &["--nginx", "/no/such.conf"],
        &["/no/such"],
        &["10.0.0.1"],
        &["ftp://10.0.0.1:21"],
        &["--admin", "127.0.0.1:1"],
        &[&junk],
    ] {
        let run = Run::of(nothing);
        assert_eq!(run.code, 2, "{nothing:?}: {}{}", run.out, run.err);
    }
}

#[test]
fn asked_for_nothing_it_says_what_to_give() {
    let folder = TempDir::new();
    let output = Command::new(clearway::binary())
        .arg("doctor")
        .current_dir(folder.path())
        .output()
        .expect("clearway starts");
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(err.contains("clearway doctor 10.0.0.2:8080"), "{err}");
}

#[test]
fn reports_of_others_are_read() {
    let folder = TempDir::new();
    let stat = folder.write(
        "stat.csv",
        "# pxname,svname,status,type,check_status,check_code,last_chk,addr,\n\
         app,s1,DOWN,2,L4CON,,Connection refused,192.0.2.1:80,\napp,s2,UP,2,L7OK,200,,192.0.2.2:80,\n",
    );
    let (code, json) = Run::json(&[&stat]);
    assert_eq!((code, json["checked"].as_u64()), (1, Some(2)), "{json:#}");
    assert_eq!(told(&json)[0].1, "s1");
    let health = folder.write(
        "health.json",
        r#"{"TargetHealthDescriptions":[{"Target":{"Id":"192.0.2.1","Port":80},
            "TargetHealth":{"State":"unhealthy","Reason":"Target.ResponseCodeMismatch",
            "Description":"Health checks failed with these codes: [503]"}}]}"#,
    );
    let (code, json) = Run::json(&["--target-health", &health]);
    assert_eq!((code, told(&json).len()), (1, 1), "{json:#}");
}

#[test]
fn incidents_of_a_running_balancer_are_told() {
    let (closed, _guard) = behave::closed_port();
    let clearway = Clearway::start(&clearway::simple(&[&closed], ""));
    assert_eq!(clearway.get("/").status, 502);
    until("an incident with a cause", || {
        let json = clearway.json("/api/v1/incidents");
        (json["incidents"][0]["verdict"]["cause"] == "port-closed").then_some(())
    });
    let admin = clearway.address("admin").to_owned();
    let (code, json) = Run::json(&["--admin", &admin]);
    assert_eq!(code, 1, "{json:#}");
    assert_eq!(causes(&json), ["port-closed"]);
    assert!(notes(&json).contains("open incidents: 1"), "{json:#}");
    drop(clearway);
    // Another process may have got the port meanwhile, but none that has incidents.
    assert_ne!(Run::of(&["--admin", &admin]).code, 1);
}

#[test]
fn causes_are_explained_and_listed() {
    let run = Run::of(&["explain", "port-closed", "--width", "60"]);
    assert_eq!(run.code, 0);
    assert!(
        run.out.starts_with("Nothing listens on the server's port"),
        "{}",
        run.out
    );
    let run = Run::of(&["explain", "port closed"]);
    assert_eq!(run.code, 2);
    assert!(run.err.contains("did you mean port-closed"), "{}", run.err);
    let run = Run::of(&["causes"]);
    assert_eq!(run.code, 0);
    assert!(run.out.contains("\n  port-closed "), "{}", run.out);
}

#[test]
fn a_colourful_or_narrow_text_is_made_where_it_is_asked_for() {
    let (address, _guard) = behave::closed_port();
    let run = Run::of(&[&address, "--colour", "always", "--width", "60"]);
    assert!(run.out.contains("\x1b[1;31m"), "{}", run.out);
    let run = Run::of(&[&address, "--format", "markdown"]);
    assert!(run.out.starts_with("# Why requests fail"), "{}", run.out);
}

/// Real HAProxy, with its log on a socket that the test reads, and its own socket for questions.
#[test]
fn a_real_haproxy_is_understood_from_its_log_and_its_socket() {
    let (closed, _guard) = behave::closed_port();
    let rude = Server::script(behave::close_after_request());
    let folder = TempDir::new();
    let (log, front, admin) = (
        folder.file("l.sock"),
        folder.file("f.sock"),
        folder.file("a.sock"),
    );
    let socket = std::os::unix::net::UnixDatagram::bind(&log).expect("a socket");
    let config = folder.write(
        "haproxy.cfg",
        &format!(
            "global\n  log {log} local0\n  stats socket {admin} mode 600 level admin\ndefaults\n  mode http\n  \
             log global\n  option httplog\n  retries 0\n  timeout connect 2s\n  timeout client 5s\n  \
             timeout server 5s\nfrontend web\n  bind unix@{front}\n  use_backend rude if {{ path /rude }}\n  \
             default_backend app\nbackend app\n  server s1 {closed}\nbackend rude\n  server r1 {}\n",
            rude.address()
        ),
    );
    let mut command = Command::new(program("haproxy", "haproxy"));
    command.args(["-db", "-f", &config]);
    let process = Process::start(command);
    let address = format!("unix:{front}");
    until("haproxy to listen", || Stream::connect(&address).ok());
    assert_eq!(Client::connect(&address).get("/a").status, 503);
    assert_eq!(Client::connect(&address).get("/rude").status, 502);
    let mut lines = String::new();
    let mut buffer = [0; 8_192];
    socket
        .set_read_timeout(Some(wait::LIMIT))
        .expect("a time-out");
    while lines.matches("HTTP/1.1\"").count() < 2 {
        let count = socket.recv(&mut buffer).expect("a line of the log");
        lines.push_str(&String::from_utf8_lossy(&buffer[..count]));
        lines.push('\n');
    }
    let path = folder.write("haproxy.log", &lines);
    let (code, json) = Run::json(&["--haproxy", &config, "--log", &path, "--stat", &admin]);
    assert_eq!(code, 1, "{json:#}");
    let told = told(&json);
    let refused = (
        "app".to_owned(),
        "s1".to_owned(),
        "port-closed".to_owned(),
        1,
    );
    assert!(told.contains(&refused), "{told:?}\n{lines}");
    assert!(
        told.iter()
            .any(|verdict| verdict.0 == "rude" && verdict.1 == "r1"),
        "{told:?}"
    );
    assert_eq!(told.len(), 2, "{json:#}");
    process.signal(Signal::Term);
}
