//! What an HTTP/2 server must do, rule by rule: RFC 9113, RFC 7541 and RFC 8441.
//!
//! Each file of cases is a table: where the rule stands, what is done, and the outcomes the rule
//! permits. [`runner::run`] plays them against any server that takes HTTP/2 with prior knowledge and
//! reports all that fail. What such a server has to serve: `GET /` with 200 and some bytes, `GET
//! /big` with at least a megabyte, `POST /` with 200 and the bytes it got, and `POST /hold` without
//! reading the body, if it can.
//!
//! The tables are proven right against two servers that others wrote, nghttpd and nginx, each with
//! the short list of where it goes its own way.

mod blocks;
mod case;
mod compression;
mod connect;
mod control;
mod fields;
mod flow;
mod frames;
mod limits;
mod preface;
mod runner;
mod streams;

use std::collections::BTreeSet;

use clearway_testkit::peers::{Nghttpd, Nginx};
use clearway_testkit::{Clearway, Server, behave, h2};

use case::{Case, Must};

/// All tables.
fn all() -> Vec<Case> {
    [
        preface::CASES,
        frames::CASES,
        streams::CASES,
        blocks::CASES,
        control::CASES,
        flow::CASES,
        fields::CASES,
        compression::CASES,
        connect::CASES,
        limits::CASES,
    ]
    .concat()
}

/// The server behind those that pass requests on.
fn origin() -> Server {
    let big = behave::pattern(1 << 20);
    Server::script(move |mut conn| {
        while let Some(mut request) = conn.request_head() {
            if request.target == "/hold" {
                return conn.hold();
            }
            conn.request_body(&mut request);
            let body: &[u8] = match (request.method.as_str(), request.target.as_str()) {
                (_, "/big") => &big,
                ("POST", _) => &request.body,
                _ => b"hello",
            };
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            let body = if request.method == "HEAD" { &[] } else { body };
            if !conn.send(head) || !conn.send(body) {
                return;
            }
        }
    })
}

#[test]
fn each_case_says_something_of_its_own() {
    let all = all();
    let names: BTreeSet<&str> = all.iter().map(|case| case.does).collect();
    assert_eq!(names.len(), all.len());
    assert!(all.len() >= 140, "{} cases", all.len());
}

#[test]
fn cases_fail_where_a_server_takes_everything() {
    let server = Server::script(h2::behave::echo_body());
    let target = runner::Target {
        address: server.address(),
        skip_floods: true,
        memory: None,
    };
    let wrong: Vec<Case> = fields::CASES
        .iter()
        .filter(|case| matches!(case.must, Must::Malformed))
        .copied()
        .collect();
    let report = runner::run(&target, &wrong);
    assert_eq!(report.failures.len(), wrong.len());
    assert!(wrong.len() > 50, "{} cases", wrong.len());
}

/// Where nghttpd goes its own way.
const NGHTTPD: &[(&str, &[&str])] = &[
    (
        "it does not look at the size of CONTINUATION",
        &["CONTINUATION larger than allowed"],
    ),
    (
        "it takes a new stream with a smaller identifier for a closed one, and ignores what comes on it",
        &["HEADERS with a smaller identifier than before"],
    ),
    (
        "it resets the stream where the RFC asks for a connection error",
        &["a stream's window moved beyond 2^31-1 by SETTINGS"],
    ),
];

#[test]
fn nghttpd_conforms() {
    let nghttpd = Nghttpd::start(&[]);
    nghttpd.file("index.html", b"hello");
    nghttpd.file("big", &behave::pattern(1 << 20));
    let memory = || nghttpd.memory();
    let target = runner::Target {
        address: nghttpd.address(),
        skip_floods: false,
        memory: Some(&memory),
    };
    runner::run(&target, &all()).expect(NGHTTPD);
}

/// Where nginx goes its own way, in version 1.22 with a server behind it.
const NGINX: &[(&str, &[&str])] = &[
    (
        "it does not look at what comes first",
        &[
            "PING as the first frame after the preface",
            "HEADERS as the first frame after the preface",
            "a SETTINGS acknowledgement as the first frame after the preface",
        ],
    ),
    (
        "it does not tell idle streams from closed ones",
        &[
            "DATA on an idle stream",
            "RST_STREAM on an idle stream",
            "WINDOW_UPDATE on an idle stream",
            "DATA on an idle stream above an open one",
            "DATA on a stream that only the server could open",
            "RST_STREAM on a stream that only the server could open",
            "WINDOW_UPDATE on a stream that only the server could open",
        ],
    ),
    (
        "it does not take empty pieces of a block: it waits for more, or finds the frame too small",
        &[
            "an empty CONTINUATION at the end of a block",
            "empty HEADERS with the block in CONTINUATION",
            "HEADERS with nothing in them",
        ],
    ),
    (
        "it takes trailers for a second request on the stream",
        &[
            "trailers after a body",
            "trailers without a body",
            "trailers change the table",
        ],
    ),
    (
        "it resets the stream where the RFC asks for a connection error",
        &["a stream's window moved beyond 2^31-1 by SETTINGS"],
    ),
    (
        "it looks at fields as it does in HTTP/1, and passes on what belongs to a connection",
        &[
            "a name with a byte above ASCII",
            "a value with a space before it",
            "a value with a space behind it",
            "a value with a tab before it",
            "a pseudo-header field after a regular one",
            "the field connection",
            "the field proxy-connection",
            "the field keep-alive",
            "the field transfer-encoding",
            "the field upgrade",
            "te with something other than trailers",
            "te with trailers and something else",
        ],
    ),
    (
        "it takes :authority and host for the same field twice",
        &[":authority and host that agree"],
    ),
    (
        "it finds frames too small for the strings in them, where decoding failed",
        &[
            "a string whose length is cut off",
            "a string longer than the block",
            "a name without a value",
        ],
    ),
    (
        "it is lenient in decoding",
        &[
            "Huffman code with padding longer than seven bits",
            "a change of the table's size after a field",
        ],
    ),
];

#[test]
fn nginx_conforms() {
    let origin = origin();
    let nginx = Nginx::start_http2(&format!(
        "location / {{ proxy_pass http://{}; client_max_body_size 8m; }}",
        origin.address()
    ));
    // Its floods are its own business: what counts here is that the rules are told rightly.
    runner::run_all(nginx.address(), true).expect(NGINX);
}

/// Clearway, which is held to more than the RFC asks: it always says why it ends a connection, and
/// floods cost it no memory.
#[test]
fn clearway_conforms() {
    let origin = origin();
    let clearway = Clearway::over(&[origin.address()], "");
    let memory = || clearway.memory();
    let target = runner::Target {
        address: clearway.address("web"),
        skip_floods: false,
        memory: Some(&memory),
    };
    let report = runner::run(&target, &all());
    report.expect(&[(
        "the library drops such fields silently, so nothing of them is passed on",
        &["a pseudo-header field in trailers"],
    )]);
    let silent = report.noted(runner::Note::Silent);
    assert!(silent.is_empty(), "ended without GOAWAY: {silent:#?}");
}
