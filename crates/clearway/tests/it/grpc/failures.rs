//! Calls that fail between client and server: what the client is told, and the operator.

use clearway_testkit::clearway::simple;
use clearway_testkit::h2::{Block, Last, Play, RawClient, Reply, Step, behave as h2, code};
use clearway_testkit::wait::LIMIT;
use clearway_testkit::{Clearway, behave, server};
use serde_json::json;

use super::python::{Running, Server, call};

const H2: &str = "protocol = \"h2\"";
const CALLS: &str = "clearway_grpc_calls_total";

#[test]
fn a_dead_server_is_a_status_with_a_receipt() {
    let (address, _closed) = behave::closed_port();
    let clearway = Clearway::over(&[&address], H2);
    let got = call(clearway.address("web"), "echo");
    assert_eq!(got["status"], "UNAVAILABLE", "{got:#}");
    assert_eq!(got["words"], "connect_refused");
    let id = got["trailers"]["x-request-id"].as_str().unwrap();
    let fault = clearway.fault(id);
    assert_eq!(fault.code(), "connect_refused");
    assert_eq!(fault.json["grpc_status"], 14);
    assert_eq!(fault.json["grpc_status_name"], "UNAVAILABLE");
    let told = got["trailers"]["proxy-status"].as_str().unwrap();
    assert!(told.contains("connection_refused"), "{told}");
    let words = clearway.words(id);
    assert!(words.contains("UNAVAILABLE"), "{words}");
    clearway.wait_metric(CALLS, &[("grpc_status", "UNAVAILABLE")], 1.0);
}

#[test]
fn nobody_gets_a_page_for_a_call() {
    let (address, _closed) = behave::closed_port();
    let text = format!(
        "[listener.web]\nbind = \"127.0.0.1:0\"\nbackend = \"none\"\n[backend.none]\nservers = []\n\
         [backend.app]\nservers = [{address:?}]\n{H2}\n\
         [[route]]\npath = \"/test.Test/\"\nbackend = \"app\"\n\
         [[route]]\npath = \"/denied/\"\ndeny = 403\n"
    );
    let clearway = Clearway::start(&text);
    let got = call(clearway.address("web"), "echo");
    assert_eq!(got["status"], "UNAVAILABLE", "{got:#}");
    // A backend without servers, and a rule of the operator's.
    for (path, status) in [("/none.Service/Call", "14"), ("/denied/Call", "7")] {
        let mut client = RawClient::connect(clearway.address("web"));
        let stream = client.open(&post(path), true);
        let response = client.expect_response(stream);
        assert_eq!(response.header("grpc-status"), Some(status), "{response:?}");
        assert_eq!(response.body, b"");
    }
}

/// The head of a call.
fn post(path: &str) -> Block {
    Block::request("POST", path)
        .field("content-type", "application/grpc")
        .field("te", "trailers")
}

#[test]
fn the_deadline_of_a_call_ends_it_everywhere() {
    let server = Server::start();
    let clearway = Clearway::over(&[server.address()], H2);
    let got = call(clearway.address("web"), "silent");
    assert_eq!(got["status"], "DEADLINE_EXCEEDED");
    server.wait_said("given up");
    let record = clearway.access(|r| r["target"] == "/test.Test/Silent");
    // Whose clock was first is chance: the server has one, too.
    let said = [&record["fault"], &record["grpc_status_name"]];
    let fits = ["total_timeout", "client_reset", "DEADLINE_EXCEEDED"];
    assert!(
        said.iter().any(|s| fits.map(|f| json!(f)).contains(s)),
        "{record:#}"
    );
}

#[test]
fn a_client_that_only_waits_is_told_when_its_deadline_is_over() {
    // Neither does the server look at the clock.
    let server = server::Server::script(h2::replies(Play::default(), |_, request| {
        match request.target.as_str() {
            "/late" => Reply::new()
                .whole()
                .head(200, &[("content-type", "application/grpc")])
                .data([0, 0, 0, 0, 1, b'a'])
                .step(Step::Gone),
            _ => Reply::new(),
        }
    }));
    let clearway = Clearway::over(&[server.address()], H2);
    let mut client = RawClient::connect(clearway.address("web"));
    let mut wait = |path: &str| {
        let stream = client.open(&post(path).field("grpc-timeout", "300m"), false);
        client.body(stream, &[0; 5], true);
        client.expect_response(stream)
    };
    let response = wait("/early");
    assert_eq!(response.header("grpc-status"), Some("4"), "{response:?}");
    assert_eq!(response.header("grpc-message"), Some("total_timeout"));
    server.wait_note("reset CANCEL");
    let fault = clearway.fault(&response.id());
    assert_eq!(fault.code(), "total_timeout");
    assert_eq!(fault.json["grpc_status_name"], "DEADLINE_EXCEEDED");
    assert_eq!(server.seen()[0].header("grpc-timeout"), Some("300m"));
    // The response has begun: the status comes behind it.
    let response = wait("/late");
    assert_eq!(response.status, 200);
    assert!(response.body.ends_with(b"a"), "{response:?}");
    assert_eq!(
        response.trailers.get("grpc-status"),
        Some("4"),
        "{response:?}"
    );
    server.wait_note("gone");
    let record = clearway.access(|r| r["target"] == "/late");
    assert_eq!(record["grpc_status"], 4, "{record:#}");
    assert_eq!(record["fault"], "total_timeout");
}

#[test]
fn a_server_that_dies_in_the_middle_of_a_stream_is_unavailable() {
    let server = Server::start();
    let clearway = Clearway::over(&[server.address()], H2);
    let running = Running::start(clearway.address("web"), "hold", &[]);
    running.wait_got("one");
    server.kill();
    let got = running.finish();
    assert_eq!(got["got"], json!(["one"]));
    assert_eq!(got["status"], "UNAVAILABLE", "{got:#}");
    let id = got["trailers"]["x-request-id"].as_str().unwrap();
    let fault = clearway.fault(id);
    let is_cut = ["response_body_short", "response_body_reset"].contains(&fault.code());
    assert!(is_cut, "{:#}", fault.json);
    assert_eq!(got["words"], fault.code());
    assert_eq!(fault.json["grpc_status_name"], "UNAVAILABLE");
    assert_eq!(fault.attempts()[0]["no_retry"], "response-started");
    clearway.wait_metric(CALLS, &[("grpc_status", "UNAVAILABLE")], 1.0);
}

#[test]
fn a_client_that_cancels_a_stream_ends_the_call() {
    let server = Server::start();
    let clearway = Clearway::over(&[server.address()], H2);
    let got = Running::start(clearway.address("web"), "hold", &["--stop"]).finish();
    assert_eq!(
        (&got["got"], &got["status"]),
        (&json!(["one"]), &json!("CANCELLED"))
    );
    server.wait_said("given up");
    let fault = clearway.fault_with("client_reset");
    assert_eq!(fault.json["h2_code_name"], "CANCEL", "{:#}", fault.json);
}

#[test]
fn a_call_that_a_server_has_not_begun_is_repeated() {
    // What servers do that are stopped or updated: nobody has to notice.
    let well = Server::start();
    for reply in [
        Reply::new().goaway(Last::Before, code::NO_ERROR).close(),
        Reply::new().reset(code::REFUSED_STREAM),
    ] {
        let leaving = server::Server::script(h2::answer(reply));
        let clearway = Clearway::start(&simple(&[leaving.address(), well.address()], H2));
        let got = call(clearway.address("web"), "kinds");
        assert_eq!(got["unary"]["got"], "hello", "{got:#}");
        assert_eq!(got["client streams"], "a,b,c");
        let record = clearway.access(|r| r["retries"] == 1);
        assert_eq!(record["grpc_status"], 0, "{record:#}");
    }
}

#[test]
fn what_a_cut_message_lacks_is_not_made_up() {
    // Five bytes of eight, and then nothing more: the message is lost, and the call has failed.
    let cut = Reply::new()
        .whole()
        .head(200, &[("content-type", "application/grpc")])
        .data([0, 0, 0, 0, 8, 1, 2, 3, 4, 5])
        .reset(code::INTERNAL_ERROR);
    let server = server::Server::script(h2::answer(cut));
    let clearway = Clearway::over(&[server.address()], H2);
    let got = call(clearway.address("web"), "hold");
    assert_eq!(got["got"], json!([]));
    assert_eq!(got["status"], "UNAVAILABLE", "{got:#}");
    let fault = clearway.fault_with("server_reset_stream");
    assert_eq!(fault.json["h2_code_name"], "INTERNAL_ERROR");
    let mut client = RawClient::connect(clearway.address("web"));
    assert!(client.ping_works(LIMIT));
}

#[test]
fn what_cannot_have_a_status_behind_it_is_reset_when_cut() {
    // A client of gRPC-Web looks for the status in the body, and where a body has a length nothing
    // can follow less.
    let web = "application/grpc-web+proto";
    for (asked, fields) in [
        (web, vec![("content-type", web)]),
        (
            "application/grpc",
            vec![
                ("content-type", "application/grpc"),
                ("content-length", "13"),
            ],
        ),
    ] {
        let cut = Reply::new()
            .whole()
            .head(200, &fields)
            .data([0, 0, 0, 0, 8, 1, 2, 3])
            .reset(code::INTERNAL_ERROR);
        let server = server::Server::script(h2::answer(cut));
        let clearway = Clearway::over(&[server.address()], H2);
        let mut client = RawClient::connect(clearway.address("web"));
        let head = Block::request("POST", "/").field("content-type", asked);
        let stream = client.open(&head, false);
        client.body(stream, &[0; 5], true);
        let over = client.wait(LIMIT, |c| c.answer(stream).is_over());
        let answer = client.answer(stream);
        assert!(over && answer.reset.is_some(), "{asked}: {answer:?}");
        assert!(!answer.ended && answer.trailers.is_none(), "{answer:?}");
        let record = clearway.access(|r| r["status"] == 200);
        assert_eq!(record["fault"], "server_reset_stream");
        assert!(record.get("grpc_status").is_none(), "{record:#}");
    }
}
