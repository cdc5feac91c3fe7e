//! The client and the scripted servers against each other.

use super::{Frame, Last, Play, RawClient, Reply, behave, code, setting};
use crate::message::End;
use crate::server::Server;
use crate::wait::{LIMIT, SHORT};

#[test]
fn requests_are_answered_and_seen() {
    let server = Server::script(behave::echo_body());
    let mut client = RawClient::connect(server.address());
    assert_eq!(client.get("/a").body, b"");
    let long = crate::behave::pattern(300_000);
    assert!(client.post("/b", &long).body == long);
    let seen = server.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(
        (seen[1].method.as_str(), seen[1].target.as_str()),
        ("POST", "/b")
    );
    assert!(seen[1].body == long && seen[1].end == End::Complete);
    assert!(client.ping_works(LIMIT));
}

#[test]
fn interim_heads_bodies_and_trailers_come_in_order() {
    let reply = Reply::new()
        .head(103, &[("link", "</a>")])
        .head(200, &[])
        .data("some")
        .trailers(&[("x-sum", "4")]);
    let server = Server::script(behave::answer(reply));
    let mut client = RawClient::connect(server.address());
    let stream = client.ask("/");
    let response = client.expect_response(stream);
    assert_eq!((response.status, response.text().as_str()), (200, "some"));
    assert_eq!(response.trailers.get("x-sum"), Some("4"));
    assert_eq!(client.answer(stream).interim.len(), 1);
}

#[test]
fn answers_of_grpc() {
    let server = Server::script(behave::replies(Play::default(), |count, _| match count {
        0 => Reply::grpc(b"hi", 0),
        _ => Reply::grpc_trailers_only(12, "no such method"),
    }));
    let mut client = RawClient::connect(server.address());
    let response = client.post("/s/m", b"\0\0\0\0\0");
    assert_eq!(response.body, b"\0\0\0\0\x02hi");
    assert_eq!(response.trailers.get("grpc-status"), Some("0"));
    let response = client.post("/s/n", b"\0\0\0\0\0");
    assert_eq!(response.header("grpc-status"), Some("12"));
}

#[test]
fn refusals_and_goaways_are_told() {
    let server = Server::script(behave::refuse(1, Reply::ok("then")));
    let mut client = RawClient::connect(server.address());
    let refused = client.ask("/");
    client.expect_reset(refused, &[code::REFUSED_STREAM]);
    assert_eq!(client.get("/").text(), "then");

    let script = behave::goaway_after(1, Last::Before, code::NO_ERROR, "one");
    let server = Server::script(script);
    let mut client = RawClient::connect(server.address());
    assert_eq!(client.get("/").text(), "one");
    client.ask("/");
    assert_eq!(client.expect_goaway(&[code::NO_ERROR]).last, 1);
    client.expect_closed();
}

#[test]
fn limits_of_the_server_are_kept_and_enforced() {
    let server = Server::script(behave::window(7, Reply::echo()));
    let mut client = RawClient::connect(server.address());
    assert_eq!(client.post("/", b"more than seven bytes").body.len(), 21);

    let server = Server::script(behave::never_reads(7));
    let mut client = RawClient::connect(server.address());
    let stream = client.begin("/");
    assert_eq!(client.room(stream), 7);
    client.body(stream, b"seven b", false);
    assert!(!client.wait(SHORT, |c| c.room(stream) > 0));

    let server = Server::script(behave::at_most(1, Reply::new()));
    let mut client = RawClient::connect(server.address());
    assert_eq!(client.setting(setting::MAX_CONCURRENT_STREAMS), Some(1));
    client.ask("/1");
    let second = client.ask("/2");
    client.expect_reset(second, &[code::REFUSED_STREAM]);
    server.wait_note("too many");
}

#[test]
fn windows_of_the_client_are_kept() {
    let server = Server::script(behave::answer(Reply::ok("abcdef")));
    let settings = [(setting::INITIAL_WINDOW_SIZE, 4)];
    let mut client = RawClient::connect_with(server.address(), &settings);
    client.replenish = false;
    let stream = client.ask("/");
    client.wait(LIMIT, |c| c.answer(stream).body.len() == 4);
    assert!(!client.wait(SHORT, |c| c.answer(stream).body.len() > 4));
    client.send(&Frame::window(stream, 2));
    assert_eq!(client.expect_response(stream).text(), "abcdef");
}

#[test]
fn parallel_requests_are_answered_newest_first() {
    let server = Server::script(behave::together(3, "all"));
    let mut client = RawClient::connect(server.address());
    let streams = [client.ask("/1"), client.ask("/2"), client.ask("/3")];
    for stream in streams {
        assert_eq!(client.expect_response(stream).text(), "all");
    }
    let order: Vec<String> = client
        .log
        .iter()
        .filter_map(|l| l.strip_prefix("HEADERS ").map(str::to_owned))
        .collect();
    assert_eq!(order, ["5 200", "3 200", "1 200"]);
}

#[test]
fn cuts_are_seen() {
    let cut = Reply::new().head(200, &[]).data("half").close();
    let server = Server::script(behave::answer(cut));
    let mut client = RawClient::connect(server.address());
    let stream = client.ask("/");
    client.expect_closed();
    assert_eq!(client.answer(stream).response().end, End::Truncated);

    let server = Server::script(behave::http1_only());
    let mut client = RawClient::bare(server.address());
    assert!(client.handshake(&[]).is_err());

    let server = Server::script(behave::never_answer());
    let mut client = RawClient::connect(server.address());
    let stream = client.ask("/");
    client.send(&Frame::reset(stream, code::CANCEL));
    server.wait_note("reset CANCEL");
}
