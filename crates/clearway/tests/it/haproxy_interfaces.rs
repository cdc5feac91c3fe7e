//! What scripts and monitoring that were written for HAProxy ask: its statistics as a page, and its runtime
//! commands on a socket.

#![expect(clippy::expect_used, reason = "helpers of tests may panic as tests do")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::process::Command;

use clearway_testkit::process::{Process, program};
use clearway_testkit::stream::Stream;
use clearway_testkit::wait::until;
use clearway_testkit::{Clearway, Client, Server, Setup, TempDir, behave, clearway, wait};

/// The answer to a line, as a script gets it: written, half closed, read to the end.
pub(crate) fn ask(address: &str, line: &str) -> String {
    let stream = Stream::connect(address).expect("a connection to the socket");
    stream.set_timeout(wait::LIMIT).expect("a time-out");
    (&stream).write_all(line.as_bytes()).expect("a line");
    (&stream).write_all(b"\n").expect("its end");
    stream.shutdown(Shutdown::Write);
    let mut out = String::new();
    (&stream).read_to_string(&mut out).expect("an answer");
    out
}

/// The rows of CSV by `PROXY/SERVER`, each with its cells by their names.
fn rows(csv: &str) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut lines = csv.lines().filter(|line| !line.is_empty());
    let head = lines.next().expect("a header");
    let head: Vec<&str> = head
        .strip_prefix("# ")
        .expect("a mark")
        .split(',')
        .collect();
    let row = |line: &str| {
        let cells = line.split(',').map(str::to_owned);
        let cells: BTreeMap<String, String> =
            head.iter().map(ToString::to_string).zip(cells).collect();
        (format!("{}/{}", cells["pxname"], cells["svname"]), cells)
    };
    lines.map(row).collect()
}

/// The rows once so many requests have come to listener `web`: they are counted when the answer is out.
fn counted(address: &str, requests: &str) -> BTreeMap<String, BTreeMap<String, String>> {
    until("all requests to be counted", || {
        let rows = rows(&ask(address, "show stat"));
        (rows["web/FRONTEND"]["req_tot"] == requests).then_some(rows)
    })
}

/// A listener with a page, a backend of two servers, and a socket for everything.
fn setup(server: &Server) -> Setup {
    Clearway::setup(
        "[admin]\nlisten = \"127.0.0.1:0\"\nhaproxy_sockets = [\"unix:$DIR/r.sock\", \
         { bind = \"127.0.0.1:0\", level = \"user\" }]\n\
         [listener.web]\nbind = \"127.0.0.1:0\"\nbackend = \"app\"\n\
         [[listener.web.rule]]\nwhen = { value = { of = \"sent_target\", begins = \"/stats\" } }\n\
         basic_auth = { realm = \"ops\", users = { anna = \"geheim\" } }\nstatus_page = { refresh = \"5s\" }\n\
         [backend.app]\nservers = [{ name = \"a\", address = \"$A\", weight = 4 }, \
         { name = \"b\", address = \"127.0.0.1:9\", state = \"maint\", backup = true, maxconn = 7 }]\n",
    )
    .set("A", server.address())
}

fn socket(clearway: &Clearway) -> String {
    clearway.address("haproxy_sockets").to_owned()
}

#[test]
fn rows_tell_what_was_counted() {
    let server = Server::script(behave::ok("hello"));
    let clearway = setup(&server).start();
    for _ in 0..3 {
        assert_eq!(clearway.get("/").status, 200);
    }
    let found = counted(&socket(&clearway), "3");
    let cell = |row: &str, name: &str| found[row][name].clone();
    assert_eq!(cell("web/FRONTEND", "hrsp_2xx"), "3");
    assert_eq!(cell("web/FRONTEND", "status"), "OPEN");
    assert_eq!(cell("app/a", "status"), "no check");
    assert_eq!(
        (cell("app/a", "stot"), cell("app/a", "hrsp_2xx")),
        ("3".to_owned(), "3".to_owned())
    );
    assert_eq!(
        (cell("app/a", "weight"), cell("app/a", "act")),
        ("4".to_owned(), "1".to_owned())
    );
    assert_eq!(cell("app/b", "status"), "MAINT");
    assert_eq!(
        (cell("app/b", "bck"), cell("app/b", "slim")),
        ("1".to_owned(), "7".to_owned())
    );
    assert_eq!(cell("app/BACKEND", "status"), "UP");
    assert_eq!(
        (cell("app/BACKEND", "act"), cell("app/BACKEND", "req_tot")),
        ("1".to_owned(), "3".to_owned())
    );
    assert_eq!(ask(&socket(&clearway), "clear counters all"), "\n");
    let cleared = ask(&socket(&clearway), "show stat app 4 1");
    let cleared = rows(&cleared);
    assert_eq!((cleared.len(), cleared["app/a"]["stot"].as_str()), (1, "0"));
    let typed = ask(&socket(&clearway), "show stat typed");
    assert!(typed.contains("S.3.1.0.pxname.1:KNS:str:app\n"), "{typed}");
    let json: serde_json::Value =
        serde_json::from_str(&ask(&socket(&clearway), "show stat json")).expect("JSON");
    assert_eq!(json[0][0]["field"]["name"], "pxname");
}

#[test]
fn servers_are_taken_out_and_back_weighed_and_moved() {
    let (one, other) = (
        Server::script(behave::ok("one")),
        Server::script(behave::ok("other")),
    );
    let clearway = setup(&one).start();
    let at = socket(&clearway);
    assert_eq!(ask(&at, "disable server app/a"), "\n");
    assert_eq!(clearway.get("/").status, 503);
    assert_eq!(clearway.server("a")["state"], "maintenance");
    assert_eq!(ask(&at, "set server app/a state ready"), "\n");
    assert_eq!(clearway.get("/").text(), "one");
    assert_eq!(
        ask(&at, "set server app/a state drain; get weight app/a"),
        "\n4 (initial 4)\n\n"
    );
    assert_eq!(clearway.server("a")["state"], "drain");
    assert_eq!(
        ask(
            &at,
            "enable server app/a;set weight app/a 50%;get weight app/a"
        ),
        "\n\n2 (initial 4)\n\n"
    );
    let (ip, port) = other.address().rsplit_once(':').expect("a port");
    let words = ask(&at, &format!("set server app/a addr {ip} port {port}"));
    assert!(
        words.starts_with("no need to change the addr, port changed from '"),
        "{words}"
    );
    assert_eq!(clearway.get("/").text(), "other");
    assert_eq!(ask(&at, "set maxconn server app/a 3"), "\n");
    assert_eq!(rows(&ask(&at, "show stat"))["app/a"]["slim"], "3");
    // The file is in force again after a reload.
    clearway.hup();
    assert_eq!(clearway.get("/").text(), "one");
    assert_eq!(ask(&at, "get weight app/a"), "4 (initial 4)\n\n");
    for (line, answer) in [
        ("disable server app/x", "No such server.\n\n"),
        ("disable server x/a", "No such backend.\n\n"),
        ("disable server", "Require 'backend/server'.\n\n"),
        (
            "set weight app/a 257",
            "Absolute weight can only be between 0 and 256 inclusive.\n\n",
        ),
        ("show servers state x", "Can't find backend.\n\n"),
        ("show table x", "No such table\n\n"),
    ] {
        assert_eq!(ask(&at, line), answer, "{line}");
    }
    assert!(ask(&at, "bogus").starts_with("Unknown command."));
}

#[test]
fn a_listener_that_is_disabled_accepts_nothing_until_it_is_enabled() {
    let folder = TempDir::new();
    let server = Server::script(behave::ok("x"));
    let clearway = Clearway::setup(
        "[admin]\nlisten = \"127.0.0.1:0\"\nhaproxy_sockets = \"unix:$DIR/r.sock\"\n\
         [listener.web]\nbind = \"unix:$WEB\"\nbackend = \"app\"\n[backend.app]\nservers = \"$A\"\n",
    )
    .set("A", server.address())
    .set("WEB", folder.file("w.sock"))
    .start();
    let (at, web) = (socket(&clearway), clearway.address("web").to_owned());
    assert_eq!(ask(&at, "disable frontend web"), "\n");
    until("the listener to be closed", || {
        Stream::connect(&web).is_err().then_some(())
    });
    assert_eq!(
        rows(&ask(&at, "show stat"))["web/FRONTEND"]["status"],
        "STOP"
    );
    assert_eq!(
        ask(&at, "disable frontend web"),
        "All sockets are already disabled.\n\n"
    );
    assert_eq!(ask(&at, "enable frontend web"), "\n");
    assert_eq!(Client::connect(&web).get("/").status, 200);
    assert_eq!(ask(&at, "enable frontend nil"), "No such frontend.\n\n");
}

#[test]
fn levels_hold_and_a_prompt_answers_line_after_line() {
    let server = Server::script(behave::ok("x"));
    let clearway = setup(&server).start();
    let addresses = clearway.addresses("haproxy_sockets");
    let user = addresses
        .iter()
        .find(|a| !a.starts_with("unix:"))
        .expect("a socket for users");
    assert_eq!(ask(user, "show cli level"), "user\n\n");
    for line in [
        "disable server app/a",
        "show errors",
        "set server app/a weight 1",
        "add map x y z",
    ] {
        assert_eq!(ask(user, line), "Permission denied\n\n", "{line}");
    }
    let at = socket(&clearway);
    assert_eq!(
        ask(&at, "operator;show cli level;disable server app/a"),
        "\noperator\n\nPermission denied\n\n"
    );
    let stream = Stream::connect(&at).expect("a connection");
    stream.set_timeout(wait::LIMIT).expect("a time-out");
    (&stream)
        .write_all(b"prompt\nget weight app/a\nquit\n")
        .expect("lines");
    let mut out = String::new();
    (&stream).read_to_string(&mut out).expect("answers");
    assert_eq!(out, "\n> 4 (initial 4)\n\n> ");
}

#[test]
fn the_page_asks_for_a_password_and_comes_in_three_forms() {
    let server = Server::script(behave::ok("x"));
    let clearway = setup(&server).start();
    let right = "Authorization: Basic YW5uYTpnZWhlaW0=\r\n";
    let response = clearway.get("/stats");
    assert_eq!(response.status, 401);
    assert_eq!(
        response.header("www-authenticate"),
        Some("Basic realm=\"ops\"")
    );
    let wrong = "Authorization: Basic YW5uYTpnZWhlaW4=\r\n";
    assert_eq!(clearway.client().get_with("/stats", wrong).status, 401);
    let mut client = clearway.client();
    let page = client.get_with("/stats", right);
    assert_eq!((page.status, page.header("refresh")), (200, Some("5")));
    assert!(page.text().contains("<h2 id=\"app\">"), "{}", page.text());
    assert!(
        !client
            .get_with("/stats;norefresh", right)
            .headers
            .has("refresh")
    );
    let csv = client.get_with("/stats;csv", right);
    assert_eq!(rows(&csv.text())["app/a"]["addr"], server.address());
    let json = client.get_with("/stats;json", right);
    assert_eq!(json.header("content-type"), Some("application/json"));
    assert_eq!(server.requests(), 0);
    assert_eq!(clearway.get("/").status, 200);
}

/// A configuration with sockets in a folder, for HAProxy and for Clearway.
fn configuration(folder: &TempDir, server: &str) -> String {
    let (front, stats, admin) = (
        folder.file("f.sock"),
        folder.file("s.sock"),
        folder.file("a.sock"),
    );
    folder.write(
        "haproxy.cfg",
        &format!(
            "global\n  stats socket {admin} mode 600 level admin\n  stats timeout 10s\n  maxconn 200\n\
             userlist ops\n  user anna insecure-password geheim\n\
             defaults\n  mode http\n  timeout connect 2s\n  timeout client 5s\n  timeout server 5s\n\
             frontend web\n  bind unix@{front}\n  maxconn 100\n\
             http-request auth realm Ops if {{ path /ops }} !{{ http_auth(ops) }}\n  default_backend app\n\
             backend app\n  balance roundrobin\n  cookie SRV insert\n  option httpchk GET /\n\
             server a {server} check inter 200 cookie ca weight 5\n  server b 127.0.0.1:9 backup disabled maxconn 9\n\
             listen stats\n  bind unix@{stats}\n  stats uri /st\n  stats refresh 7s\n  stats auth root:toor\n"
        ),
    )
}

/// Columns whose values have to be those of HAProxy.
const SAME: &[&str] = &[
    "status",
    "weight",
    "act",
    "bck",
    "chkfail",
    "chkdown",
    "pid",
    "type",
    "check_status",
    "check_code",
    "hrsp_1xx",
    "hrsp_2xx",
    "hrsp_3xx",
    "hrsp_4xx",
    "hrsp_5xx",
    "req_tot",
    "check_rise",
    "check_fall",
    "check_health",
    "cookie",
    "mode",
    "algo",
    "check_desc",
    "uweight",
    "econ",
    "eresp",
    "ereq",
    "dreq",
    "wretr",
];

#[test]
fn the_same_configuration_gives_the_same_statistics_as_haproxy() {
    let server = Server::script(behave::ok("hello"));
    let (theirs, ours) = (TempDir::new(), TempDir::new());
    let (foreign, own) = (
        configuration(&theirs, server.address()),
        configuration(&ours, server.address()),
    );
    let mut haproxy = Command::new(program("haproxy", "haproxy"));
    haproxy.args(["-db", "-f", &foreign]);
    let mut clearway = Command::new(clearway::binary());
    clearway.args(["run", "--haproxy", &own]);
    let _running = (Process::start(haproxy), Process::start(clearway));
    let ((head, theirs), (own_head, ours)) = (seen(&theirs), seen(&ours));
    assert_eq!(head, own_head);
    // HAProxy has a row for what a `listen` section passes on, even when it has no server.
    let names: Vec<&String> = theirs
        .keys()
        .filter(|name| *name != "stats/BACKEND")
        .collect();
    assert_eq!(names, ours.keys().collect::<Vec<_>>());
    for name in names {
        let row = &theirs[name];
        for column in SAME {
            assert_eq!(row[*column], ours[name][*column], "{column} of {name}");
        }
        // What HAProxy fills is filled, up to the columns of its modules.
        for (column, value) in row {
            let is_own = column.starts_with("h1_")
                || column.starts_with("h2_")
                || UNCOUNTED.contains(&column.as_str());
            if !value.is_empty() && !is_own {
                assert!(
                    !ours[name][column].is_empty(),
                    "{column} of {name} is {value} there"
                );
            }
        }
    }
}

/// Columns that HAProxy fills and Clearway does not: there is no such limit, or nothing of the kind.
const UNCOUNTED: &[&str] = &[
    "slim",
    "ssl_sess",
    "ssl_reused_sess",
    "ssl_failed_handshake",
    "downtime",
    "chkdown",
    "last_chk",
];

type Table = BTreeMap<String, BTreeMap<String, String>>;

/// The header and the rows of whoever runs with sockets in a folder, once the same has happened to both.
fn seen(folder: &TempDir) -> (String, Table) {
    let path = |name: &str| format!("unix:{}", folder.file(name));
    let (front, stats, admin) = (path("f.sock"), path("s.sock"), path("a.sock"));
    until("the socket", || Stream::connect(&admin).ok());
    until("a check that passed", || {
        let rows = rows(&ask(&admin, "show stat"));
        (rows["app/a"]["check_status"] == "L7OK").then_some(())
    });
    assert_eq!(Client::connect(&front).get("/").status, 200);
    assert_eq!(Client::connect(&front).get("/ops").status, 401);
    let known = "Authorization: Basic YW5uYTpnZWhlaW0=\r\n";
    assert_eq!(Client::connect(&front).get_with("/ops", known).status, 200);
    assert_eq!(Client::connect(&stats).get("/st").status, 401);
    let known = "Authorization: Basic cm9vdDp0b29y\r\n";
    let page = Client::connect(&stats).get_with("/st;csv", known);
    assert_eq!((page.status, page.header("refresh")), (200, Some("7")));
    // Outside the page there is nobody.
    assert_eq!(Client::connect(&stats).get("/other").status, 503);
    assert_eq!(
        ask(&admin, "set server app/a weight 50%;get weight app/a"),
        "\n2 (initial 5)\n\n"
    );
    assert_eq!(ask(&admin, "set server app/a weight 5"), "\n");
    let state = ask(&admin, "show servers state app");
    let states: Vec<Vec<&str>> = state
        .lines()
        .skip(2)
        .map(|line| line.split(' ').collect())
        .collect();
    // Operational and administrative state, weights, and that the last check passed.
    assert_eq!(states[0][5..9], ["2", "0", "5", "5"], "{state}");
    assert_eq!((states[0][11], states[1][6]), ("3", "5"), "{state}");
    until("the weight to be in force", || {
        (rows(&ask(&admin, "show stat"))["app/a"]["weight"] == "5").then_some(())
    });
    counted(&admin, "3");
    let csv = ask(&admin, "show stat");
    let head = csv.lines().next().unwrap_or_default().to_owned();
    (head, rows(&csv))
}
