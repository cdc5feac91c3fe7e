//! CONNECT (RFC 9113 section 8.5), and extended CONNECT where a server offers it (RFC 8441).

use clearway_testkit::h2::{Block, setting};

use super::case::{Case, Must, Trial, case};

const WEBSOCKET: &[(&str, &str)] = &[
    (":method", "CONNECT"),
    (":protocol", "websocket"),
    (":scheme", "http"),
    (":path", "/chat"),
    (":authority", "test"),
    ("sec-websocket-version", "13"),
];

fn is_offered(t: &Trial) -> bool {
    t.client.setting(setting::ENABLE_CONNECT_PROTOCOL) == Some(1)
}

/// An extended CONNECT without some of its fields and with others.
fn changed(t: &mut Trial, without: &[&str], more: &[(&str, &str)]) {
    let kept = WEBSOCKET.iter().filter(|(name, _)| !without.contains(name));
    // Pseudo-header fields go first.
    let fields: Vec<(&str, &str)> = more.iter().chain(kept).copied().collect();
    let block = Block::of(&fields);
    t.open(&block, false);
}

/// For a server that offers extended CONNECT.
fn offered(t: &mut Trial, without: &[&str], more: &[(&str, &str)]) {
    if is_offered(t) {
        changed(t, without, more);
    } else {
        t.does_not_apply("extended CONNECT is not offered");
    }
}

pub(crate) const CASES: &[Case] = &[
    case("9113 8.5", "CONNECT with :path", Must::Malformed, |t| {
        t.request(&[
            (":method", "CONNECT"),
            (":path", "/"),
            (":authority", "test:80"),
        ]);
    }),
    case("9113 8.5", "CONNECT with :scheme", Must::Malformed, |t| {
        t.request(&[
            (":method", "CONNECT"),
            (":scheme", "http"),
            (":authority", "test:80"),
        ]);
    }),
    case(
        "9113 8.5",
        "CONNECT without :authority",
        Must::Malformed,
        |t| {
            t.request(&[(":method", "CONNECT")]);
        },
    ),
    case(
        "9110 9.3.6",
        "CONNECT to a server that is no proxy",
        Must::Refused,
        |t| {
            t.request(&[(":method", "CONNECT"), (":authority", "test:80")]);
        },
    ),
    case(
        "8441 4",
        ":protocol where it was not offered",
        Must::Malformed,
        |t| {
            if is_offered(t) {
                t.does_not_apply("extended CONNECT is offered");
            } else {
                changed(t, &[], &[]);
            }
        },
    ),
    case(
        "8441 4",
        ":protocol with another method than CONNECT",
        Must::Malformed,
        |t| {
            changed(t, &[":method"], &[(":method", "GET")]);
        },
    ),
    case(
        "8441 4",
        "extended CONNECT without :scheme",
        Must::Malformed,
        |t| {
            offered(t, &[":scheme"], &[]);
        },
    ),
    case(
        "8441 4",
        "extended CONNECT without :path",
        Must::Malformed,
        |t| {
            offered(t, &[":path"], &[]);
        },
    ),
    case(
        "8441 4",
        "extended CONNECT with :protocol twice",
        Must::Malformed,
        |t| {
            offered(t, &[], &[(":protocol", "websocket")]);
        },
    ),
    case(
        "8441 5",
        "extended CONNECT is answered",
        Must::Checked,
        |t| {
            offered(t, &[], &[]);
            if t.inapplicable.is_some() {
                return;
            }
            let stream = t.stream;
            let limit = clearway_testkit::wait::LIMIT;
            t.client.wait(limit, |c| c.answer(stream).head.is_some());
            let answer = t.answer(stream);
            t.check(answer.head.is_some(), "a status");
            t.check(answer.broken.is_none(), "a well-formed head");
        },
    ),
    case(
        "8441 5",
        "extended CONNECT with the fields of HTTP/1's upgrade",
        Must::Malformed,
        |t| {
            if !is_offered(t) {
                return t.does_not_apply("extended CONNECT is not offered");
            }
            let mut fields = WEBSOCKET.to_vec();
            fields.extend([("connection", "upgrade"), ("upgrade", "websocket")]);
            let block = Block::of(&fields);
            t.open(&block, false);
        },
    ),
];
