//! Calls that a server answers, well or not.

use clearway_testkit::clearway::{secure, simple};
use clearway_testkit::{Authority, Clearway};
use serde_json::{Value, json};

use super::python::{Server, call, call_secure};

const CALLS: &str = "clearway_grpc_calls_total";

/// A balancer without and one with TLS on both sides, and what a client of each gets in a scenario.
fn both_ways(scenario: &str, check: impl Fn(&Value, &Clearway)) {
    let server = Server::start();
    let clearway = Clearway::over(&[server.address()], "protocol = \"h2\"");
    check(&call(clearway.address("web"), scenario), &clearway);

    let root = Authority::new("root");
    let server = Server::secure(&root.issue(&["app.test"]));
    let backend = "protocol = \"auto\"\ntls = { ca = \"$DIR/ca.pem\", server_name = \"app.test\" }";
    let text = secure(
        "certificates = \"$DIR/a.pem\"",
        &[server.address()],
        backend,
    );
    let clearway = Clearway::setup(&text)
        .with_file("a.pem", &root.issue(&["a.test"]).pem())
        .with_file("ca.pem", &root.pem())
        .start();
    check(
        &call_secure(clearway.address("web"), scenario, &root),
        &clearway,
    );
}

#[test]
fn every_kind_of_call_passes() {
    both_ways("kinds", |got, clearway| {
        let unary = &got["unary"];
        assert_eq!(
            (&unary["status"], &unary["got"]),
            (&json!("OK"), &json!("hello"))
        );
        // Metadata of both directions, text and bytes, before and behind the message.
        assert_eq!(unary["head"]["x-there"], "and back");
        assert_eq!(unary["head"]["x-bytes-bin"], "00ff10");
        assert_eq!(unary["head"]["x-deadline"], "True");
        assert_eq!(unary["trailers"]["x-end"], "over");
        assert_eq!(got["no deadline"], "False");
        let stream = json!({"got": ["0", "1", "2", "3", "4"], "status": "OK"});
        assert_eq!(got["server streams"], stream);
        assert_eq!(got["nothing streamed"], json!({"got": [], "status": "OK"}));
        assert_eq!(got["client streams"], "a,b,c");
        let said = json!({"got": ["you said a", "you said ", "you said c"], "status": "OK"});
        assert_eq!(got["both stream"], said);
        let record = clearway.access(|r| r["target"] == "/test.Test/Join");
        assert_eq!(record["status"], 200);
        assert_eq!(
            (&record["grpc_status"], &record["grpc_status_name"]),
            (&json!(0), &json!("OK"))
        );
        clearway.wait_metric(CALLS, &[("backend", "app"), ("grpc_status", "OK")], 6.0);
        assert_eq!(clearway.faults().len(), 0, "{:#?}", clearway.faults());
    });
}

#[test]
fn messages_of_a_conversation_are_not_held_back() {
    both_ways("turns", |got, _| {
        let said = [
            "you said 0",
            "you said 1",
            "you said 2",
            "you said 3",
            "you said 4",
        ];
        assert_eq!(got["got"], json!(said));
        assert_eq!(got["status"], "OK");
    });
}

#[test]
fn errors_of_a_server_are_its_own() {
    both_ways("errors", |got, clearway| {
        let abort = &got["abort"];
        assert_eq!(abort["status"], "FAILED_PRECONDITION");
        assert_eq!(abort["words"], "no tea: 100 % späť");
        let late = &got["late"];
        assert_eq!(late["got"], json!(["one", "two"]));
        assert_eq!(late["status"], "DATA_LOSS");
        assert_eq!(late["words"], "nothing behind two");
        assert_eq!(got["unknown"]["status"], "UNIMPLEMENTED");
        // In trailers alone, behind messages, and without a handler.
        for (method, status, name) in [
            ("Abort", 9, "FAILED_PRECONDITION"),
            ("Late", 15, "DATA_LOSS"),
            ("Nothing", 12, "UNIMPLEMENTED"),
        ] {
            let record = clearway.access(|r| r["target"] == format!("/test.Test/{method}"));
            assert_eq!(record["grpc_status"], status, "{record:#}");
            assert_eq!(record["grpc_status_name"], name);
            clearway.wait_metric(CALLS, &[("grpc_status", name)], 1.0);
        }
        assert_eq!(clearway.faults().len(), 0, "{:#?}", clearway.faults());
    });
}

#[test]
fn messages_of_four_megabytes_arrive_whole() {
    both_ways("large", |got, clearway| {
        let record = clearway.access(|r| r["target"] == "/test.Test/Echo");
        assert!(record["bytes_in"].as_u64() > Some(4 << 20), "{record:#}");
        assert!(record["bytes_out"].as_u64() > Some(4 << 20), "{record:#}");
        assert_eq!(
            got,
            &json!({"status": "OK", "bytes": 4 << 20, "same": true})
        );
    });
}

#[test]
fn hundreds_of_calls_at_once_are_all_answered() {
    both_ways("parallel", |got, clearway| {
        assert_eq!(got["wrong"], json!([]));
        assert_eq!(got["lengths"], json!(vec![50; 20]));
        clearway.wait_metric(CALLS, &[("grpc_status", "OK")], 320.0);
        assert_eq!(clearway.faults().len(), 0, "{:#?}", clearway.faults());
    });
}

#[test]
fn calls_are_spread_over_servers_one_by_one() {
    // One connection of the client, and yet not one server: what a balancer of connections cannot do.
    let servers = [Server::start(), Server::start()];
    let addresses = [servers[0].address(), servers[1].address()];
    let clearway = Clearway::start(&simple(&addresses, "protocol = \"h2\""));
    assert_eq!(
        call(clearway.address("web"), "parallel")["wrong"],
        json!([])
    );
    for address in addresses {
        let got = clearway.access(|r| r["server"] == address);
        assert_eq!(got["grpc_status"], 0);
    }
}
