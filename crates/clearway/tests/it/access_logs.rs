//! Access logs of listeners and routes: several at once, to syslog servers, with formats of one's own
//! and those of HAProxy and NGINX.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::net::UdpSocket;

use clearway_testkit::{Clearway, Client, Server, behave, wait};

/// A syslog server on UDP.
struct Syslog(UdpSocket);

impl Syslog {
    fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(wait::LIMIT)).unwrap();
        Self(socket)
    }

    fn destination(&self) -> String {
        format!("syslog:udp://{}", self.0.local_addr().unwrap())
    }

    /// The next datagram.
    fn next(&self) -> String {
        let mut room = [0; 9_999];
        let count = self.0.recv(&mut room).unwrap();
        String::from_utf8(room[..count].to_vec()).unwrap()
    }
}

/// A configuration with one listener, whose settings these are, and one backend.
fn one(listener: &str, server: &str, backend: &str) -> String {
    format!(
        "[listener.web]\nbind = \"127.0.0.1:0\"\n{listener}\n\
         [backend.app]\nservers = [{{ address = \"{server}\", name = \"s1\" }}]\nretries = {{ max = 0 }}\n{backend}\n"
    )
}

/// Waits until a file has so many lines.
fn lines_of(path: &str, count: usize) -> Vec<String> {
    wait::until(path, || {
        let text = std::fs::read_to_string(path).ok()?;
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        (lines.len() >= count && text.ends_with('\n')).then_some(lines)
    })
}

/// What follows the address and the time in a line of HAProxy, with zeros for times and bytes.
fn tail(line: &str) -> String {
    let (_, tail) = line.split_once("] ").unwrap();
    let words = tail
        .split(' ')
        .enumerate()
        .map(|(index, word)| match index {
            2 => {
                let small = |time: &str| if time == "-1" { "-1" } else { "0" }.to_owned();
                let times: Vec<String> = word.split('/').map(small).collect();
                times.join("/")
            }
            4 => "0".to_owned(),
            // A connection before this one may not be closed yet.
            8 => format!("1/1/{}", word.splitn(3, '/').last().unwrap()),
            _ => word.to_owned(),
        });
    words.collect::<Vec<_>>().join(" ")
}

/// One listener whose log looks as HAProxy's; each backend has its path.
fn like_haproxy(syslog: &Syslog, backends: &[(&str, &str)]) -> String {
    let mut config = format!(
        "[timeouts]\nresponse = \"500ms\"\nserver_idle = \"200ms\"\nrequest_head = \"200ms\"\n\
         [listener.web]\nbind = \"127.0.0.1:0\"\n\
         access_log = [{{ to = \"{}\", format = \"haproxy_http\", syslog = {{ facility = \"local0\", tag = \"haproxy\", newline = true }} }}]\n\
         [[route]]\npath = \"/deny\"\ndeny = 403\n\
         [[route]]\npath = \"/redirect\"\nredirect = {{ to = \"/x\", status = 302 }}\n\
         [[route]]\npath = \"/return\"\nreply = {{ body = \"hi\" }}\n\
         [[route]]\npath = \"/down\"\nbackend = \"down\"\n[backend.down]\n\
         servers = [{{ address = \"127.0.0.1:1\", name = \"s1\", state = \"maint\" }}]\n",
        syslog.destination()
    );
    for (name, address) in backends {
        config.push_str(&format!(
            "[[route]]\npath = \"/{name}\"\nbackend = \"{name}\"\n[backend.{name}]\n\
             servers = [{{ address = \"{address}\", name = \"s1\" }}]\nretries = {{ max = 0 }}\n"
        ));
    }
    config
}

#[test]
fn one_request_is_written_to_several_places_in_several_formats() {
    let syslog = Syslog::start();
    let server = Server::script(behave::answer(
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: its \"own\"\r\n\r\nhello",
    ));
    let listener = format!(
        "[[listener.web.access_log]]\nto = \"{}\"\nformat = \"nginx_combined\"\n\
         syslog = {{ tag = \"nginx\", pid = false, hostname = \"host\" }}\n\
         [[listener.web.access_log]]\nto = \"$DIR/own.log\"\nempty = \"-\"\n\
         format = '${{method}} ${{host}} ${{header:x-b,max=3}} ${{header:x-c}} ${{response_header:x-a}} ${{status}} ${{body_out}} ${{server}} ${{connection_requests}} $$'\n\
         [[listener.web.access_log]]\nto = \"$DIR/json.log\"\nescape = \"json\"\n\
         format = '{{\"agent\":\"${{header:user-agent}}\",\"a\":\"${{response_header:x-a}}\"}}'",
        syslog.destination()
    );
    let clearway = Clearway::start(&one(&listener, server.address(), ""));
    let mut client = clearway.client();
    client.get_with("/a?b", "User-Agent: x\"y\r\nX-B: abcdef\r\n");
    client.get("/b");
    let line = syslog.next();
    assert!(line.starts_with("<190>"), "{line}");
    assert!(line.contains(" host nginx: 127.0.0.1 - - ["), "{line}");
    assert!(
        line.ends_with("] \"GET /a?b HTTP/1.1\" 200 5 \"-\" \"x\\x22y\""),
        "{line}"
    );
    let lines = lines_of(&clearway.file("own.log"), 2);
    assert_eq!(
        lines,
        [
            "GET test abc - its \\x22own\\x22 200 5 s1 1 $",
            "GET test - - its \\x22own\\x22 200 5 s1 2 $"
        ]
    );
    let lines = lines_of(&clearway.file("json.log"), 2);
    assert_eq!(lines[0], r#"{"agent":"x\"y","a":"its \"own\""}"#);
}

#[test]
fn what_only_the_worker_knows_can_be_written_too() {
    let server = Server::script(behave::ok("hello"));
    let config = format!(
        "[listener.web]\nbind = \"127.0.0.1:0\"\n\
         access_log = [{{ to = \"$DIR/own.log\", empty = \"-\", format = '${{remote_user}} ${{source_ip}} ${{sent_header:X-By}} ${{sent_header:content-length}} ${{body_out}} ${{var:kind}} ${{local_ip}}:${{local_port}} ${{handshake_ms}} ${{backend_queue}}' }}]\n\
         [[route]]\npath = \"/deny\"\ndeny = 403\n\
         [[route]]\nbackend = \"app\"\nset_variables = {{ kind = \"k\" }}\nset_response_headers = {{ x-by = \"${{var:kind}}!\" }}\n\
         [backend.app]\nservers = [\"{}\"]\n",
        server.address()
    );
    let clearway = Clearway::start(&config);
    clearway
        .client()
        .get_with("/", "Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n");
    let denied = clearway.get("/deny");
    let address = clearway.address("web");
    let length = denied.body.len();
    let mut lines = lines_of(&clearway.file("own.log"), 2);
    lines.sort_by_key(|line| !line.starts_with("Aladdin"));
    assert_eq!(
        lines,
        [
            format!("Aladdin 127.0.0.1 k! 5 5 k {address} 0 0"),
            format!("- - - {length} {length} - {address} 0 0"),
        ]
    );
}

#[test]
fn routes_have_logs_of_their_own_or_none_and_conditions_choose() {
    let server = Server::script(behave::ok("x"));
    let config = format!(
        "[log]\naccess = \"$DIR/process.log\"\nformat = \"${{target}}\"\n\
         [listener.web]\nbind = \"127.0.0.1:0\"\n[listener.other]\nbind = \"127.0.0.1:0\"\n\
         access_log = [{{ to = \"$DIR/other.log\", format = \"${{target}}\", if = \"${{header:x-log}}\" }}]\n\
         [[route]]\npath = \"/quiet/\"\nbackend = \"app\"\naccess_log = []\n\
         [[route]]\npath = \"/own/\"\nbackend = \"app\"\naccess_log = [{{ to = \"$DIR/own.log\", format = \"${{route}} ${{target}}\" }}]\n\
         [backend.app]\nservers = [\"{}\"]\n",
        server.address()
    );
    let clearway = Clearway::start(&config);
    // Over one connection, so by one worker.
    let mut client = clearway.client();
    for target in ["/quiet/1", "/own/1", "/1", "/quiet/2", "/2"] {
        client.get(target);
    }
    let mut other = Client::connect(clearway.address("other"));
    for value in ["", "X-Log: 0\r\n", "X-Log: 1\r\n"] {
        other.get_with(&format!("/{}", value.len()), value);
    }
    assert_eq!(lines_of(&clearway.file("process.log"), 2), ["/1", "/2"]);
    assert_eq!(lines_of(&clearway.file("own.log"), 1), ["route-2 /own/1"]);
    assert_eq!(lines_of(&clearway.file("other.log"), 1), ["/10"]);
}

#[test]
fn lines_of_requests_look_as_those_of_haproxy() {
    let (refusing, _guard) = behave::closed_port();
    let cut = "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nhello";
    let ok = Server::script(behave::ok("x"));
    let missing = Server::script(behave::status(404));
    let silent = Server::script(behave::never_answer());
    let early = Server::script(behave::close_after_request());
    let short = Server::script(behave::answer_and_close(cut));
    let stalls = Server::script(behave::answer_and_stall(cut));
    let bad = Server::script(behave::answer_and_close("garbage\r\n\r\n"));
    let syslog = Syslog::start();
    let config = like_haproxy(
        &syslog,
        &[
            ("ok", ok.address()),
            ("missing", missing.address()),
            ("refused", &refusing),
            ("silent", silent.address()),
            ("early", early.address()),
            ("short", short.address()),
            ("stalls", stalls.address()),
            ("bad", bad.address()),
        ],
    );
    let clearway = Clearway::start(&config);
    let counts = "1/1/0/0/0 0/0";
    let ask = |target: &str| {
        let mut client = clearway.client();
        client.send(format!("GET /{target} HTTP/1.1\r\nHost: test\r\n\r\n"));
        drop(client.try_response("GET"));
        let line = syslog.next();
        assert!(
            line.starts_with("<134>") && line.ends_with('\n'),
            "{line:?}"
        );
        assert!(line.contains(" haproxy["), "{line}");
        tail(line.trim_end())
    };
    for (target, wanted) in [
        ("ok", "ok/s1 0/0/0/0/0 200 0 - - ----"),
        ("missing", "missing/s1 0/0/0/0/0 404 0 - - ----"),
        ("down", "down/<NOSRV> 0/-1/-1/-1/0 503 0 - - SC--"),
        ("refused", "refused/s1 0/0/-1/-1/0 502 0 - - SC--"),
        ("silent", "silent/s1 0/0/0/-1/0 504 0 - - sH--"),
        ("early", "early/s1 0/0/0/-1/0 502 0 - - SH--"),
        ("short", "short/s1 0/0/0/0/0 200 0 - - SD--"),
        ("stalls", "stalls/s1 0/0/0/0/0 200 0 - - sD--"),
        ("bad", "bad/s1 0/0/0/-1/0 502 0 - - PH--"),
        ("deny", "web/<NOSRV> 0/-1/-1/-1/0 403 0 - - PR--"),
        ("redirect", "web/<NOSRV> 0/-1/-1/-1/0 302 0 - - LR--"),
        ("return", "web/<NOSRV> 0/-1/-1/-1/0 200 0 - - LR--"),
    ] {
        let wanted = format!("web {wanted} {counts} \"GET /{target} HTTP/1.1\"");
        assert_eq!(ask(target), wanted);
    }
}

#[test]
fn clients_that_err_or_leave_look_as_in_lines_of_haproxy() {
    let cut = "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nhello";
    let stalls = Server::script(behave::answer_and_stall(cut));
    let waits = Server::script(behave::gated(&wait::Gate::new(), "x"));
    let syslog = Syslog::start();
    let clearway = Clearway::start(&like_haproxy(
        &syslog,
        &[("stalls", stalls.address()), ("waits", waits.address())],
    ));
    let counts = "1/1/0/0/0 0/0";
    let head = |path: &str| format!("GET /{path} HTTP/1.1\r\nHost: test\r\n\r\n");
    for (bytes, wanted) in [
        (
            "NONSENSE\r\n\r\n",
            "web/<NOSRV> -1/-1/-1/-1/0 400 0 - - PR--",
        ),
        (
            "GET /ok HTTP/1.1\r\nHost: t\r\n",
            "web/<NOSRV> -1/-1/-1/-1/0 408 0 - - cR--",
        ),
    ] {
        let mut client = clearway.client();
        client.send(bytes);
        client.read_to_end();
        let line = tail(syslog.next().trim_end());
        assert_eq!(line, format!("web {wanted} {counts} \"<BADREQ>\""));
    }
    let mut client = clearway.client();
    client.send(head("waits"));
    waits.wait_requests(1);
    client.reset();
    let line = tail(syslog.next().trim_end());
    let wanted = "waits/s1 0/0/0/-1/0 400 0 - - CH--";
    assert_eq!(
        line,
        format!("web {wanted} {counts} \"GET /waits HTTP/1.1\"")
    );
    let mut client = clearway.client();
    client.send(head("stalls"));
    client.take_through(b"hello");
    client.reset();
    let line = tail(syslog.next().trim_end());
    let wanted = "stalls/s1 0/0/0/0/0 200 0 - - CD--";
    assert_eq!(
        line,
        format!("web {wanted} {counts} \"GET /stalls HTTP/1.1\"")
    );
}

#[test]
fn connections_are_written_as_haproxy_does() {
    let (refusing, _guard) = behave::closed_port();
    let syslog = Syslog::start();
    let server = Server::script(behave::ok("x"));
    let config = format!(
        "[log]\naccess = \"{0}\"\nformat = \"haproxy_tcp\"\nsyslog = {{ framing = \"rfc5424\", tag = \"lb\" }}\n\
         [listener.good]\nbind = \"127.0.0.1:0\"\nmode = \"tcp\"\nbackend = \"good\"\n\
         [listener.bad]\nbind = \"127.0.0.1:0\"\nmode = \"tcp\"\nbackend = \"bad\"\n\
         access_log = [{{ to = \"{0}\", format = \"haproxy_tcp\" }}, {{ to = \"$DIR/def.log\", format = \"haproxy_default\" }}]\n\
         [backend.good]\nservers = [{{ address = \"{1}\", name = \"s1\" }}]\n\
         [backend.bad]\nservers = [{{ address = \"{refusing}\", name = \"s1\" }}]\nretries = {{ max = 0 }}\n",
        syslog.destination(),
        server.address()
    );
    let clearway = Clearway::start(&config);
    let mut client = Client::connect(clearway.address("good"));
    client.get("/");
    drop(client);
    let line = syslog.next();
    assert!(
        line.starts_with("<190>1 ") && line.contains("+00:00 - lb "),
        "{line}"
    );
    let (_, tail) = line.split_once("] good good/s1 ").unwrap();
    assert!(
        tail.starts_with("0/") && tail.ends_with(" -- 1/1/0/0/0 0/0"),
        "{line}"
    );
    let address = clearway.address("bad").to_owned();
    // It may be reset before it is known to be open.
    drop(std::net::TcpStream::connect(&address));
    let line = syslog.next();
    let (_, tail) = line.split_once("] bad bad/s1 ").unwrap();
    assert!(
        tail.starts_with("0/-1/") && tail.contains(" 0 SC "),
        "{line}"
    );
    let lines = lines_of(&clearway.file("def.log"), 1);
    assert!(lines[0].starts_with("Connect from 127.0.0.1:"), "{lines:?}");
    assert!(
        lines[0].ends_with(&format!(" to {address} (bad/TCP)")),
        "{lines:?}"
    );
}

#[test]
fn places_in_line_and_time_in_it_are_written() {
    let gate = wait::Gate::new();
    let server = Server::script(behave::gated(&gate, "x"));
    let config = format!(
        "[timeouts]\nqueue = \"300ms\"\n[listener.web]\nbind = \"127.0.0.1:0\"\n\
         access_log = [{{ to = \"$DIR/own.log\", format = '${{target}} ${{haproxy_server}} ${{haproxy_state}} ${{backend_queue}}' }}]\n\
         [backend.app]\nservers = [{{ address = \"{}\", name = \"s1\", maxconn = 1 }}]\n",
        server.address()
    );
    let clearway = Clearway::start(&config);
    let mut first = clearway.client();
    first.send("GET /first HTTP/1.1\r\nHost: test\r\n\r\n");
    server.wait_requests(1);
    assert_eq!(clearway.get("/second").status, 503);
    gate.open();
    assert_eq!(first.response("GET").status, 200);
    // Workers write on their own.
    let mut lines = lines_of(&clearway.file("own.log"), 2);
    lines.sort_by_key(|line| line.starts_with("/first"));
    assert_eq!(lines, ["/second <NOSRV> sQ-- 1", "/first s1 ---- 0"]);
}

#[test]
fn a_log_that_a_reload_takes_away_is_written_for_requests_that_still_run() {
    let gate = wait::Gate::new();
    let server = Server::script(behave::gated(&gate, "x"));
    let with = |log: &str| {
        let listener =
            format!("access_log = [{{ to = \"$DIR/{log}\", format = \"${{target}}\" }}]");
        one(&listener, server.address(), "")
    };
    let clearway = Clearway::start(&with("first.log"));
    let mut slow = clearway.client();
    slow.send("GET /slow HTTP/1.1\r\nHost: test\r\n\r\n");
    server.wait_requests(1);
    assert_eq!(clearway.reload(&with("second.log")), "ok");
    gate.open();
    assert_eq!(slow.response("GET").status, 200);
    clearway.get("/new");
    assert_eq!(lines_of(&clearway.file("first.log"), 1), ["/slow"]);
    assert_eq!(lines_of(&clearway.file("second.log"), 1), ["/new"]);
}

#[test]
fn a_syslog_server_that_is_gone_stops_no_request_and_costs_lines_that_are_counted() {
    let folder = clearway_testkit::TempDir::new();
    let path = folder.file("log");
    let server = Server::script(behave::ok("x"));
    let listener = format!(
        "access_log = [{{ to = \"syslog:unix:{path}\", format = \"${{target}}\", syslog = {{ framing = \"raw\" }} }}]"
    );
    let clearway = Clearway::start(&one(&listener, server.address(), ""));
    assert_eq!(clearway.get("/lost").status, 200);
    clearway.wait_metric("clearway_log_failed_total", &[], 1.0);
    let socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    socket.set_nonblocking(true).unwrap();
    wait::until("a line of a later request", || {
        assert_eq!(clearway.get("/later").status, 200);
        let mut room = [0; 99];
        let count = socket.recv(&mut room).ok()?;
        (&room[..count] == b"/later").then_some(())
    });
}
