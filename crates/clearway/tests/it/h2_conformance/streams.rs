//! Stream identifiers and states (RFC 9113 section 5.1).

use clearway_testkit::h2::code::{CANCEL, PROTOCOL_ERROR, REFUSED_STREAM, STREAM_CLOSED};
use clearway_testkit::h2::{Block, Frame, kind, setting};
use clearway_testkit::wait::LIMIT;

use super::case::{Case, Must, NO_WINDOW, case};

const WRONG: Must = Must::Connection(&[PROTOCOL_ERROR]);

/// For what comes on a half-closed stream.
const CLOSED: Must = Must::Stream(&[STREAM_CLOSED]);

/// For what comes on a closed stream: an error of the connection is allowed, one of the stream where
/// section 6.1 asks for it, and to take it in and forget it (section 5.1, `closed`).
const GONE: Must = Must::Either(&[Must::Lives, Must::Stream(&[STREAM_CLOSED])]);

pub(crate) const CASES: &[Case] = &[
    case("9113 5.1", "DATA on an idle stream", WRONG, |t| {
        t.send(&Frame::data(1, *b"x", true));
    }),
    case("9113 6.4", "RST_STREAM on an idle stream", WRONG, |t| {
        t.send(&Frame::reset(1, CANCEL));
    }),
    case("9113 5.1", "WINDOW_UPDATE on an idle stream", WRONG, |t| {
        t.send(&Frame::window(1, 1));
    }),
    case("9113 5.1", "CONTINUATION on an idle stream", WRONG, |t| {
        t.send(&Frame::continuation(1, Block::request("GET", "/"), true));
    }),
    case(
        "9113 5.1",
        "DATA on an idle stream above an open one",
        WRONG,
        |t| {
            t.begin();
            t.send(&Frame::data(t.stream + 2, *b"x", false));
        },
    ),
    case(
        "9113 6.3",
        "PRIORITY on an idle stream",
        Must::Answered,
        |t| {
            t.send(&Frame::priority(7, 0, 10));
            t.get();
        },
    ),
    case(
        "9113 5.1",
        "DATA on a stream that only the server could open",
        WRONG,
        |t| {
            t.send(&Frame::data(2, *b"x", true));
        },
    ),
    case(
        "9113 5.1",
        "RST_STREAM on a stream that only the server could open",
        WRONG,
        |t| {
            t.send(&Frame::reset(2, CANCEL));
        },
    ),
    case(
        "9113 5.1",
        "WINDOW_UPDATE on a stream that only the server could open",
        WRONG,
        |t| t.send(&Frame::window(2, 1)),
    ),
    case(
        "9113 5.1.1",
        "HEADERS with an even stream identifier",
        WRONG,
        |t| {
            t.client.skip_to(2);
            t.get();
        },
    ),
    case(
        "9113 5.1.1",
        "HEADERS with a smaller identifier than before",
        WRONG,
        |t| {
            t.client.skip_to(5);
            t.done();
            t.client.skip_to(3);
            t.get();
        },
    ),
    case("9113 5.1.1", "identifiers with gaps", Must::Answered, |t| {
        t.done();
        t.client.skip_to(1001);
        t.get();
    }),
    case(
        "9113 5.1.1",
        "the largest identifier",
        Must::Delivered,
        |t| {
            t.client.skip_to(0x7fff_ffff);
            t.open(&Block::request("GET", "/"), true);
        },
    ),
    case("9113 6.1", "DATA on stream 0", WRONG, |t| {
        t.send(&Frame::data(0, *b"x", true));
    }),
    case("9113 6.2", "HEADERS on stream 0", WRONG, |t| {
        t.send(&Frame::headers(0, Block::request("GET", "/"), true));
    }),
    case("9113 6.3", "PRIORITY on stream 0", WRONG, |t| {
        t.send(&Frame::priority(0, 1, 1));
    }),
    case("9113 6.4", "RST_STREAM on stream 0", WRONG, |t| {
        t.send(&Frame::reset(0, CANCEL));
    }),
    case("9113 6.5", "SETTINGS on a stream", WRONG, |t| {
        t.send(&Frame::settings(&[]).on(1));
    }),
    case("9113 6.7", "PING on a stream", WRONG, |t| {
        t.send(&Frame::ping([0; 8]).on(1));
    }),
    case("9113 6.8", "GOAWAY on a stream", WRONG, |t| {
        t.send(&Frame::goaway(0, 0, b"").on(1));
    }),
    case("9113 6.10", "CONTINUATION on stream 0", WRONG, |t| {
        t.send(&Frame::continuation(0, [], true));
    }),
    case(
        "9113 5.1",
        "DATA after END_STREAM, before the response is over",
        CLOSED,
        |t| {
            t.held();
            t.send(&Frame::data(t.stream, *b"x", true));
        },
    )
    .with(NO_WINDOW),
    case(
        "9113 5.1",
        "HEADERS after END_STREAM, before the response is over",
        CLOSED,
        |t| {
            t.held();
            t.send(&Frame::headers(t.stream, Block::of(&[("x", "y")]), true));
        },
    )
    .with(NO_WINDOW),
    case(
        "9113 6.10",
        "CONTINUATION after END_STREAM, before the response is over",
        WRONG,
        |t| {
            t.held();
            t.send(&Frame::continuation(t.stream, [], true));
        },
    )
    .with(NO_WINDOW),
    case(
        "9113 5.1",
        "PRIORITY and WINDOW_UPDATE after END_STREAM let the response come",
        Must::Answered,
        |t| {
            t.held();
            t.send(&Frame::priority(t.stream, 0, 5));
            t.send(&Frame::window(t.stream, 65_535));
        },
    )
    .with(NO_WINDOW),
    case(
        "9113 5.1",
        "RST_STREAM after END_STREAM, before the response is over",
        Must::Lives,
        |t| {
            t.held();
            t.send(&Frame::reset(t.stream, CANCEL));
        },
    )
    .with(NO_WINDOW),
    case("9113 5.1", "DATA after RST_STREAM of ours", GONE, |t| {
        t.begin();
        t.send(&Frame::reset(t.stream, CANCEL));
        t.send(&Frame::data(t.stream, *b"x", true));
    }),
    case("9113 5.1", "HEADERS after RST_STREAM of ours", GONE, |t| {
        t.begin();
        t.send(&Frame::reset(t.stream, CANCEL));
        t.send(&Frame::headers(t.stream, Block::request("GET", "/"), true));
        t.client.ping_works(LIMIT);
        let answer = t.answer(t.stream);
        t.check(answer.status() != Some(200), "no answer on a closed stream");
    }),
    case(
        "9113 6.10",
        "CONTINUATION after RST_STREAM of ours",
        WRONG,
        |t| {
            t.begin();
            t.send(&Frame::reset(t.stream, CANCEL));
            t.send(&Frame::continuation(t.stream, [], true));
        },
    ),
    case(
        "9113 5.1",
        "DATA on a stream that both sides ended",
        GONE,
        |t| {
            t.done();
            t.send(&Frame::data(t.stream, *b"x", true));
        },
    ),
    case(
        "9113 5.1.1",
        "HEADERS on a stream that both sides ended",
        Must::Either(&[
            Must::Lives,
            Must::Stream(&[STREAM_CLOSED]),
            Must::Connection(&[PROTOCOL_ERROR, STREAM_CLOSED]),
        ]),
        |t| {
            t.done();
            let before = t.answer(t.stream).frames;
            t.send(&Frame::headers(t.stream, Block::request("GET", "/"), true));
            t.client.ping_works(LIMIT);
            let answer = t.answer(t.stream);
            let again = answer.frames > before && answer.reset.is_none();
            t.check(!again, "no second response on one stream");
        },
    ),
    case(
        "9113 6.9",
        "WINDOW_UPDATE on a stream that both sides ended",
        Must::Lives,
        |t| {
            t.done();
            t.send(&Frame::window(t.stream, 100));
        },
    ),
    case(
        "9113 5.1",
        "PRIORITY on a stream that both sides ended",
        Must::Lives,
        |t| {
            t.done();
            t.send(&Frame::priority(t.stream, 0, 3));
        },
    ),
    case(
        "9113 5.1",
        "RST_STREAM on a stream that both sides ended",
        Must::Either(&[
            Must::Lives,
            Must::Connection(&[PROTOCOL_ERROR, STREAM_CLOSED]),
        ]),
        |t| {
            t.done();
            t.send(&Frame::reset(t.stream, CANCEL));
        },
    ),
    case(
        "9113 5.1",
        "DATA on a stream that was skipped",
        GONE_OR_WRONG,
        |t| {
            t.client.skip_to(9);
            t.done();
            t.stream = 3;
            t.send(&Frame::data(3, *b"x", true));
        },
    ),
    case(
        "9113 5.1.2",
        "one stream more than the server allows at once",
        Must::Stream(&[PROTOCOL_ERROR, REFUSED_STREAM]),
        |t| {
            let Some(most) = t.client.setting(setting::MAX_CONCURRENT_STREAMS) else {
                return t.does_not_apply("the server sets no limit");
            };
            for _ in 0..=most {
                t.begin();
            }
        },
    ),
    case(
        "9113 5.1.2",
        "as many streams as the server allows at once",
        Must::Checked,
        |t| {
            let most = t.client.setting(setting::MAX_CONCURRENT_STREAMS);
            let count = most.unwrap_or(100).min(100);
            let streams: Vec<u32> = (0..count).map(|_| t.client.begin("/")).collect();
            for stream in &streams {
                t.client.body(*stream, b"x", true);
            }
            let whole = |c: &clearway_testkit::h2::RawClient| {
                streams
                    .iter()
                    .all(|s| c.answer(*s).ended && c.answer(*s).status() == Some(200))
            };
            let came = t.client.wait(LIMIT, whole);
            t.check(came, "an answer on each stream");
        },
    ),
    case("9113 8.4", "PUSH_PROMISE from a client", WRONG, |t| {
        t.begin();
        let block = Block::request("GET", "/");
        t.send(&Frame::push_promise(t.stream, 2, &block.0));
    }),
    case("9113 6.6", "PUSH_PROMISE on stream 0", WRONG, |t| {
        let block = Block::request("GET", "/");
        t.send(&Frame::push_promise(0, 2, &block.0));
    }),
    case(
        "9113 8.4",
        "PUSH_PROMISE of no bytes",
        Must::Connection(&[PROTOCOL_ERROR, clearway_testkit::h2::code::FRAME_SIZE_ERROR]),
        |t| {
            t.begin();
            t.send(&Frame::new(kind::PUSH_PROMISE, 4, t.stream, []));
        },
    ),
];

/// For what comes on a stream that was closed by skipping it: it never was open, so a server may
/// also take it for one that never could have been.
const GONE_OR_WRONG: Must = Must::Either(&[
    Must::Lives,
    Must::Stream(&[STREAM_CLOSED]),
    Must::Connection(&[PROTOCOL_ERROR]),
]);
