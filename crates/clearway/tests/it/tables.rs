//! Tables of counters and servers by key: what rules see of them, what a socket says, what a reload leaves.

use clearway_testkit::{Clearway, Server, behave};

use crate::haproxy_interfaces::ask;

const TEXT: &str = "[admin]\nlisten = \"127.0.0.1:0\"\nhaproxy_sockets = [{ bind = \"127.0.0.1:0\", level = \"admin\" }]\n\
    [table.clients]\nsize = 100\nexpire = \"1h\"\nstore = [\"http_req_cnt\", \"gpc0\", \"conn_cur\"]\n\
    [table.users]\nkey = \"string\"\nsize = 100\nstore = \"server_key\"\n\
    [listener.web]\nbind = \"127.0.0.1:0\"\nbackend = \"app\"\n\
    [[listener.web.rule]]\ntrack = { table = \"clients\" }\n\
    [[listener.web.rule]]\nwhen = { path = \"/mark\" }\ntally = { what = \"gpc0\", add = \"2\" }\n\
    [[listener.web.rule]]\nwhen = { value = { of = \"tracked:0,http_req_cnt\", min = 4 } }\ndeny = 429\n\
    [backend.app]\nservers = [{ name = \"a\", address = \"$A\" }, { name = \"b\", address = \"$B\" }]\n\
    [[backend.app.rule]]\nstick = { table = \"users\", key = \"header:x-user\" }\n";

/// The lines of an answer without what is only true in one process.
fn lines(answer: &str) -> Vec<String> {
    let line = |line: &str| match line.split_once(": key=") {
        Some((_, rest)) => {
            let words = rest.split(' ').filter(|word| !word.starts_with("exp="));
            words.collect::<Vec<_>>().join(" ")
        }
        None => line.to_owned(),
    };
    answer.lines().filter(|l| !l.is_empty()).map(line).collect()
}

#[test]
fn tables_count_are_shown_and_outlive_a_reload() {
    let servers = [
        Server::script(behave::ok("a")),
        Server::script(behave::ok("b")),
    ];
    let clearway = Clearway::setup(TEXT)
        .set("A", servers[0].address())
        .set("B", servers[1].address())
        .start();
    let socket = clearway.address("haproxy_sockets").to_owned();
    assert_eq!(clearway.get("/").status, 200);
    assert_eq!(clearway.get("/mark").status, 200);
    let rows = |line: &str| lines(&ask(&socket, line));
    let wanted = [
        "# table: clients, type: ip, size:100, used:1",
        "127.0.0.1 use=0 gpc0=2 conn_cur=0 http_req_cnt=2",
    ];
    clearway_testkit::wait::until("requests to be over", || {
        (rows("show table clients") == wanted).then_some(())
    });
    assert_eq!(
        clearway.reload(&TEXT.replace("deny = 429", "deny = 403")),
        "ok"
    );
    assert_eq!(rows("show table clients data.gpc0 gt 1"), wanted);
    assert_eq!(rows("show table clients data.gpc0 gt 2").len(), 1);
    assert_eq!(clearway.get("/").status, 200);
    assert_eq!(clearway.get("/").status, 403);
    assert_eq!(ask(&socket, "clear table clients key 127.0.0.1"), "\n");
    assert_eq!(clearway.get("/").status, 200);
    assert_eq!(
        ask(&socket, "set table clients key 10.0.0.1 data.gpc0 7"),
        "\n"
    );
    assert_eq!(
        rows("show table clients key 10.0.0.1")[1],
        "10.0.0.1 use=0 gpc0=7 conn_cur=0 http_req_cnt=0"
    );
    assert_eq!(
        rows("show table"),
        [
            "# table: users, type: string, size:100, used:0",
            "# table: clients, type: ip, size:100, used:2",
        ]
    );
    assert_eq!(ask(&socket, "show table nothing"), "No such table\n\n");
}

#[test]
fn users_stay_on_the_server_that_a_table_has_for_them() {
    let servers = [
        Server::script(behave::ok("a")),
        Server::script(behave::ok("b")),
    ];
    let text = TEXT.replace("deny = 429", "set_status = 200");
    let clearway = Clearway::setup(&text)
        .set("A", servers[0].address())
        .set("B", servers[1].address())
        .start();
    let body = |user: &str| {
        let answer = clearway
            .client()
            .get_with("/", &format!("X-User: {user}\r\n"));
        String::from_utf8_lossy(&answer.body).into_owned()
    };
    for user in ["anna", "bert", "one two"] {
        let first = body(user);
        for _ in 0..4 {
            assert_eq!(body(user), first, "{user}");
        }
    }
    let socket = clearway.address("haproxy_sockets").to_owned();
    let shown = lines(&ask(&socket, "show table users"));
    assert_eq!(shown.len(), 4, "{shown:?}");
    assert!(
        shown[3].starts_with("one\\ two use=0 server_key="),
        "{shown:?}"
    );
}
