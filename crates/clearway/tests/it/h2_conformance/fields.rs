//! What a request may say (RFC 9113 sections 8.1 to 8.3, RFC 9110 section 4.2.4).

use clearway_testkit::h2::{Block, Frame};

use super::case::{Case, Must, Trial, case};

/// Values that only advice forbids.
const ADVISED: Must = Must::Should(&Must::Malformed, &Must::Responded);

/// `GET /` with one more field.
fn with(t: &mut Trial, name: &str, value: &str) {
    t.get_with(&[(name, value)]);
}

/// A POST that announces a length and sends another.
fn announced(t: &mut Trial, length: &str, body: &[u8]) {
    t.post_with(&[("content-length", length)], body);
}

pub(crate) const CASES: &[Case] = &[
    case(
        "9113 8.2.1",
        "a name with a capital letter",
        Must::Malformed,
        |t| with(t, "X-Name", "1"),
    ),
    case("9113 8.2.1", "a name with a space", Must::Malformed, |t| {
        with(t, "x name", "1");
    }),
    case("9113 8.2.1", "a name with a colon", Must::Malformed, |t| {
        with(t, "x:name", "1");
    }),
    case(
        "9113 8.2.1",
        "a name of no characters",
        Must::Malformed,
        |t| with(t, "", "1"),
    ),
    case(
        "9113 8.2.1",
        "a name with a control character",
        Must::Malformed,
        |t| {
            with(t, "x\x01name", "1");
        },
    ),
    case(
        "9113 8.2.1",
        "a name with a line break",
        Must::Malformed,
        |t| {
            with(t, "x\r\ny", "1");
        },
    ),
    case(
        "9113 8.2.1",
        "a name with the byte 0x7f",
        Must::Malformed,
        |t| with(t, "x\x7f", "1"),
    ),
    case(
        "9113 8.2.1",
        "a name with a byte above ASCII",
        Must::Malformed,
        |t| {
            with(t, "x\u{e4}", "1");
        },
    ),
    case("9113 8.2.1", "a value with CR LF", Must::Malformed, |t| {
        with(t, "x", "1\r\ntransfer-encoding: chunked");
    }),
    case("9113 8.2.1", "a value with LF", Must::Malformed, |t| {
        with(t, "x", "1\n2");
    }),
    case("9113 8.2.1", "a value with CR", Must::Malformed, |t| {
        with(t, "x", "1\r2");
    }),
    case("9113 8.2.1", "a value with NUL", Must::Malformed, |t| {
        with(t, "x", "1\x002");
    }),
    case(
        "9113 8.2.1",
        "a value with a space before it",
        Must::Malformed,
        |t| with(t, "x", " 1"),
    ),
    case(
        "9113 8.2.1",
        "a value with a space behind it",
        Must::Malformed,
        |t| with(t, "x", "1 "),
    ),
    case(
        "9113 8.2.1",
        "a value with a tab before it",
        Must::Malformed,
        |t| with(t, "x", "\t1"),
    ),
    case(
        "9113 8.2.1",
        "a value with a tab and bytes above ASCII inside",
        Must::Answered,
        |t| {
            let block = Block::request("GET", "/").field("x", b"a\tb\xe4\xff");
            t.open(&block, true);
        },
    ),
    case("9113 8.2.1", "an empty value", Must::Answered, |t| {
        with(t, "x", "");
    }),
    case("9113 8.3.1", "no :method", Must::Malformed, |t| {
        t.request(&[(":scheme", "http"), (":path", "/"), (":authority", "test")]);
    }),
    case("9113 8.3.1", "no :scheme", Must::Malformed, |t| {
        t.request(&[(":method", "GET"), (":path", "/"), (":authority", "test")]);
    }),
    case("9113 8.3.1", "no :path", Must::Malformed, |t| {
        t.request(&[
            (":method", "GET"),
            (":scheme", "http"),
            (":authority", "test"),
        ]);
    }),
    case("9113 8.3", ":method twice", Must::Malformed, |t| {
        with(t, ":method", "GET");
    }),
    case("9113 8.3", ":scheme twice", Must::Malformed, |t| {
        with(t, ":scheme", "http");
    }),
    case("9113 8.3", ":path twice", Must::Malformed, |t| {
        with(t, ":path", "/");
    }),
    case("9113 8.3", ":authority twice", Must::Malformed, |t| {
        with(t, ":authority", "test");
    }),
    case(
        "9113 8.3",
        "a pseudo-header field after a regular one",
        Must::Malformed,
        |t| {
            t.request(&[
                (":method", "GET"),
                (":scheme", "http"),
                (":authority", "test"),
                ("x", "1"),
                (":path", "/"),
            ]);
        },
    ),
    case(
        "9113 8.3",
        "a pseudo-header field that nobody knows",
        Must::Malformed,
        |t| {
            with(t, ":fancy", "1");
        },
    ),
    case("9113 8.3", ":status in a request", Must::Malformed, |t| {
        with(t, ":status", "200");
    }),
    case(
        "9113 8.1",
        "a pseudo-header field in trailers",
        Must::Malformed,
        |t| {
            t.begin();
            t.send(&Frame::data(t.stream, *b"x", false));
            t.send(&Frame::headers(
                t.stream,
                Block::of(&[(":path", "/x")]),
                true,
            ));
        },
    ),
    case(
        "9113 8.2.1",
        "a capital letter in trailers",
        Must::Malformed,
        |t| {
            t.begin();
            t.send(&Frame::data(t.stream, *b"x", false));
            t.send(&Frame::headers(
                t.stream,
                Block::of(&[("X-Sum", "1")]),
                true,
            ));
        },
    ),
    case(
        "9113 8.2.1",
        "a line break in trailers",
        Must::Malformed,
        |t| {
            t.begin();
            t.send(&Frame::data(t.stream, *b"x", false));
            t.send(&Frame::headers(
                t.stream,
                Block::of(&[("x", "1\r\ny: 2")]),
                true,
            ));
        },
    ),
    case("9113 8.2.2", "the field connection", Must::Malformed, |t| {
        with(t, "connection", "keep-alive");
    }),
    case(
        "9113 8.2.2",
        "the field proxy-connection",
        Must::Malformed,
        |t| {
            with(t, "proxy-connection", "keep-alive");
        },
    ),
    case("9113 8.2.2", "the field keep-alive", Must::Malformed, |t| {
        with(t, "keep-alive", "timeout=5");
    }),
    case(
        "9113 8.2.2",
        "the field transfer-encoding",
        Must::Malformed,
        |t| {
            t.post_with(&[("transfer-encoding", "chunked")], b"0\r\n\r\n");
        },
    ),
    case("9113 8.2.2", "the field upgrade", Must::Malformed, |t| {
        with(t, "upgrade", "websocket");
    }),
    case(
        "9113 8.2.2",
        "te with something other than trailers",
        Must::Malformed,
        |t| {
            with(t, "te", "gzip");
        },
    ),
    case(
        "9113 8.2.2",
        "te with trailers and something else",
        Must::Malformed,
        |t| {
            with(t, "te", "trailers, deflate;q=0.5");
        },
    ),
    case("9113 8.2.2", "te with trailers", Must::Answered, |t| {
        with(t, "te", "trailers");
    }),
    case(
        "9113 8.1.1",
        "less DATA than content-length says",
        Must::Malformed,
        |t| {
            announced(t, "5", b"1234");
        },
    ),
    case(
        "9113 8.1.1",
        "more DATA than content-length says",
        Must::Malformed,
        |t| {
            announced(t, "3", b"1234");
        },
    ),
    case(
        "9113 8.1.1",
        "DATA where content-length says 0",
        Must::Malformed,
        |t| {
            announced(t, "0", b"1234");
        },
    ),
    case(
        "9113 8.1.1",
        "DATA in two frames, more than content-length says",
        Must::Malformed,
        |t| {
            let block = Block::request("POST", "/").field("content-length", "3");
            t.open(&block, false);
            t.send(&Frame::data(t.stream, *b"12", false));
            t.send(&Frame::data(t.stream, *b"34", true));
        },
    ),
    case(
        "9113 8.1.1",
        "trailers before content-length is reached",
        Must::Malformed,
        |t| {
            let block = Block::request("POST", "/").field("content-length", "3");
            t.open(&block, false);
            t.send(&Frame::data(t.stream, *b"12", false));
            t.send(&Frame::headers(
                t.stream,
                Block::of(&[("x-sum", "1")]),
                true,
            ));
        },
    ),
    case(
        "9113 8.1.1",
        "no DATA at all where content-length says 3",
        Must::Malformed,
        |t| {
            let block = Block::request("POST", "/").field("content-length", "3");
            t.open(&block, true);
        },
    ),
    case(
        "9113 8.1.1",
        "as much DATA as content-length says",
        Must::Answered,
        |t| {
            announced(t, "4", b"1234");
        },
    ),
    case(
        "9112 6.3",
        "a content-length that is no number",
        Must::Malformed,
        |t| {
            announced(t, "4x", b"1234");
        },
    ),
    case(
        "9112 6.3",
        "a content-length with a sign",
        Must::Malformed,
        |t| {
            announced(t, "+4", b"1234");
        },
    ),
    case(
        "9112 6.3",
        "a content-length beyond 64 bits",
        Must::Malformed,
        |t| {
            announced(t, "18446744073709551620", b"1234");
        },
    ),
    case(
        "9112 6.3",
        "two content-length fields that differ",
        Must::Malformed,
        |t| {
            t.post_with(&[("content-length", "4"), ("content-length", "5")], b"1234");
        },
    ),
    case("9113 8.3.1", "an empty :path", Must::Malformed, |t| {
        t.open(&Block::request("GET", ""), true);
    }),
    case(
        "9113 8.3.1",
        "a :path without a slash at its start",
        Must::Malformed,
        |t| {
            t.open(&Block::request("GET", "index.html"), true);
        },
    ),
    case(
        "9113 8.3.1",
        "a :path that is a whole URI",
        Must::Malformed,
        |t| {
            t.open(&Block::request("GET", "http://test/"), true);
        },
    ),
    case("9113 8.3.1", "a :path of * for GET", Must::Malformed, |t| {
        t.open(&Block::request("GET", "*"), true);
    }),
    case(
        "9113 10.3",
        "a :path with a space and more of a request line",
        Must::Malformed,
        |t| {
            t.open(&Block::request("GET", "/ HTTP/1.1"), true);
        },
    ),
    case("9113 10.3", "a :path with CR LF", Must::Malformed, |t| {
        t.open(&Block::request("GET", "/\r\nx: y"), true);
    }),
    case("9113 10.3", "a :path with a fragment", ADVISED, |t| {
        t.open(&Block::request("GET", "/#part"), true);
    }),
    case(
        "9113 10.3",
        "a :method with a space and more of a request line",
        Must::Malformed,
        |t| {
            t.open(&Block::request("GET /x HTTP/1.1", "/"), true);
        },
    ),
    case("9113 8.3.1", "an empty :method", Must::Malformed, |t| {
        t.open(&Block::request("", "/"), true);
    }),
    case(
        "9113 10.3",
        "an :authority with CR LF",
        Must::Malformed,
        |t| {
            t.request(&[
                (":method", "GET"),
                (":scheme", "http"),
                (":path", "/"),
                (":authority", "test\r\nx: y"),
            ]);
        },
    ),
    case(
        "9113 10.3",
        "an :authority with a path in it",
        ADVISED,
        |t| {
            t.request(&[
                (":method", "GET"),
                (":scheme", "http"),
                (":path", "/"),
                (":authority", "test/elsewhere"),
            ]);
        },
    ),
    case(
        "9113 8.3.1",
        "an :authority with a user's name",
        ADVISED,
        |t| {
            t.request(&[
                (":method", "GET"),
                (":scheme", "http"),
                (":path", "/"),
                (":authority", "user@test"),
            ]);
        },
    ),
    case(
        "9113 8.3.1",
        ":authority and host that differ",
        ADVISED,
        |t| with(t, "host", "other"),
    ),
    case(
        "9113 8.3.1",
        ":authority and host that agree",
        Must::Answered,
        |t| {
            with(t, "host", "test");
        },
    ),
    case(
        "9113 8.3.1",
        "host without :authority",
        Must::Answered,
        |t| {
            t.request(&[
                (":method", "GET"),
                (":scheme", "http"),
                (":path", "/"),
                ("host", "test"),
            ]);
        },
    ),
    case(
        "9110 7.2",
        "two host fields without :authority",
        ADVISED,
        |t| {
            t.request(&[
                (":method", "GET"),
                (":scheme", "http"),
                (":path", "/"),
                ("host", "test"),
                ("host", "other"),
            ]);
        },
    ),
    case(
        "9113 8.1",
        "HEAD is answered without a body",
        Must::Answered,
        |t| {
            t.open(&Block::request("HEAD", "/"), true);
            t.whole();
            let body = t.answer(t.stream).body;
            t.check(body.is_empty(), "no body");
        },
    ),
    case(
        "9113 8.2.3",
        "cookies in several fields",
        Must::Answered,
        |t| {
            t.get_with(&[("cookie", "a=1"), ("cookie", "b=2")]);
        },
    ),
];
