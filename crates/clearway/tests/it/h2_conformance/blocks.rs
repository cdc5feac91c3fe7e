//! Header blocks over several frames, padding and priorities (RFC 9113 sections 6.1, 6.2, 6.3, 6.10).

use clearway_testkit::h2::code::{FRAME_SIZE_ERROR, PROTOCOL_ERROR, STREAM_CLOSED};
use clearway_testkit::h2::{Block, Form, Frame, flag, kind};

use super::case::{Case, Must, Trial, case};

const WRONG: Must = Must::Connection(&[PROTOCOL_ERROR]);

/// The priorities of RFC 7540, whose section 5.3.1 has an error that RFC 9113 no longer knows.
const OLD_ERROR: Must = Must::Either(&[Must::Lives, Must::Stream(&[PROTOCOL_ERROR])]);

/// Sends HEADERS that announce CONTINUATION, then something else.
fn interrupted(t: &mut Trial, frame: &Frame) {
    let stream = t.next();
    let block = Block::request("GET", "/");
    t.send(&Frame::headers(stream, block, true).without(flag::END_HEADERS));
    t.send(frame);
    t.send(&Frame::continuation(stream, [], true));
}

pub(crate) const CASES: &[Case] = &[
    case(
        "9113 6.10",
        "a block in HEADERS and CONTINUATION",
        Must::Answered,
        |t| {
            let stream = t.next();
            let block = Block::request("GET", "/").0;
            let (first, second) = block.split_at(block.len() / 2);
            t.send(&Frame::headers(stream, first, true).without(flag::END_HEADERS));
            t.send(&Frame::continuation(stream, second, true));
        },
    ),
    case(
        "9113 6.10",
        "a block with two bytes in each frame",
        Must::Answered,
        |t| {
            let stream = t.next();
            // Few enough frames not to be taken for a flood.
            let block = Block::new().indexed(2).indexed(6).indexed(4);
            let block = block.named(Form::Plain, 1, "t").0;
            let frames = Frame::header_frames(stream, &block, true, 2);
            t.check(frames.len() == 3, "three frames");
            for frame in frames {
                t.send(&frame);
            }
        },
    ),
    case(
        "9113 6.10",
        "an empty CONTINUATION at the end of a block",
        Must::Answered,
        |t| {
            let stream = t.next();
            let block = Block::request("GET", "/");
            t.send(&Frame::headers(stream, block, true).without(flag::END_HEADERS));
            t.send(&Frame::continuation(stream, [], true));
        },
    ),
    case(
        "9113 6.2",
        "empty HEADERS with the block in CONTINUATION",
        Must::Answered,
        |t| {
            let stream = t.next();
            t.send(&Frame::headers(stream, [], true).without(flag::END_HEADERS));
            t.send(&Frame::continuation(
                stream,
                Block::request("GET", "/"),
                true,
            ));
        },
    ),
    case(
        "9113 6.2",
        "HEADERS with nothing in them",
        Must::Malformed,
        |t| {
            t.open(&Block::new(), true);
        },
    ),
    case("9113 6.2", "DATA inside a block", WRONG, |t| {
        interrupted(t, &Frame::data(1, *b"x", false));
    }),
    case("9113 6.2", "PING inside a block", WRONG, |t| {
        interrupted(t, &Frame::ping([0; 8]));
    }),
    case("9113 6.2", "SETTINGS inside a block", WRONG, |t| {
        interrupted(t, &Frame::settings(&[]));
    }),
    case("9113 6.2", "WINDOW_UPDATE inside a block", WRONG, |t| {
        interrupted(t, &Frame::window(0, 1));
    }),
    case("9113 6.2", "PRIORITY inside a block", WRONG, |t| {
        interrupted(t, &Frame::priority(1, 0, 1));
    }),
    case("9113 6.2", "RST_STREAM inside a block", WRONG, |t| {
        interrupted(t, &Frame::reset(1, 8));
    }),
    case(
        "9113 6.2",
        "HEADERS of another stream inside a block",
        WRONG,
        |t| {
            interrupted(t, &Frame::headers(3, Block::request("GET", "/"), true));
        },
    ),
    case(
        "9113 6.2",
        "CONTINUATION of another stream inside a block",
        WRONG,
        |t| {
            interrupted(t, &Frame::continuation(3, [], true));
        },
    ),
    case(
        "9113 5.5",
        "a frame of unknown type inside a block",
        WRONG,
        |t| {
            interrupted(t, &Frame::new(0xee, 0, 1, *b"x"));
        },
    ),
    case(
        "9113 6.10",
        "CONTINUATION after a whole block",
        WRONG,
        |t| {
            t.begin();
            t.send(&Frame::continuation(
                t.stream,
                Block::of(&[("x", "y")]),
                true,
            ));
        },
    ),
    case(
        "9113 6.10",
        "CONTINUATION after a block that CONTINUATION ended",
        WRONG,
        |t| {
            let stream = t.next();
            let block = Block::request("POST", "/");
            t.send(&Frame::headers(stream, block, false).without(flag::END_HEADERS));
            t.send(&Frame::continuation(stream, [], true));
            t.send(&Frame::continuation(stream, [], true));
        },
    ),
    case("9113 6.10", "CONTINUATION after DATA", WRONG, |t| {
        t.begin();
        t.send(&Frame::data(t.stream, *b"x", false));
        t.send(&Frame::continuation(t.stream, [], true));
    }),
    case("9113 8.1", "trailers after a body", Must::Answered, |t| {
        t.begin();
        t.send(&Frame::data(t.stream, *b"x", false));
        t.send(&Frame::headers(
            t.stream,
            Block::of(&[("x-sum", "1")]),
            true,
        ));
    }),
    case("9113 8.1", "trailers without a body", Must::Answered, |t| {
        t.begin();
        t.send(&Frame::headers(
            t.stream,
            Block::of(&[("x-sum", "1")]),
            true,
        ));
    }),
    case(
        "9113 8.1",
        "trailers without END_STREAM",
        Must::Malformed,
        |t| {
            t.begin();
            t.send(&Frame::data(t.stream, *b"x", false));
            t.send(&Frame::headers(
                t.stream,
                Block::of(&[("x-sum", "1")]),
                false,
            ));
        },
    ),
    case(
        "9113 5.1",
        "DATA after trailers",
        Must::Stream(&[STREAM_CLOSED]),
        |t| {
            t.client.send(&Frame::settings(&[(4, 0)]));
            t.begin();
            // With bytes that the server gives back and the window keeps back, it is not done before.
            t.send(&Frame::data(t.stream, *b"x", false));
            t.send(&Frame::headers(
                t.stream,
                Block::of(&[("x-sum", "1")]),
                true,
            ));
            t.send(&Frame::data(t.stream, *b"x", true));
        },
    ),
    case("9113 6.1", "DATA with padding", Must::Answered, |t| {
        t.begin();
        t.send(&Frame::data(t.stream, *b"x", true).padded(40));
        t.whole();
        let body = t.answer(t.stream).body;
        t.check(!body.contains(&0), "no padding in what comes back");
    }),
    case(
        "9113 6.1",
        "DATA with a pad length of zero",
        Must::Answered,
        |t| {
            t.begin();
            t.send(&Frame::data(t.stream, *b"x", true).padded(0));
        },
    ),
    case(
        "9113 6.1",
        "DATA that is padding alone, its length announced as 0",
        Must::Answered,
        |t| {
            let block = Block::request("POST", "/").field("content-length", "0");
            t.open(&block, false);
            t.send(&Frame::data(t.stream, [], true).padded(255));
        },
    ),
    case(
        "9113 6.1",
        "DATA with padding as long as the frame",
        WRONG,
        |t| {
            t.begin();
            t.send(&Frame::new(
                kind::DATA,
                flag::PADDED,
                t.stream,
                [4, 0, 0, 0],
            ));
        },
    ),
    case(
        "9113 6.1",
        "DATA with padding longer than the frame",
        WRONG,
        |t| {
            t.begin();
            t.send(&Frame::new(
                kind::DATA,
                flag::PADDED,
                t.stream,
                [255, 0, 0, 0],
            ));
        },
    ),
    case("9113 6.2", "HEADERS with padding", Must::Answered, |t| {
        let stream = t.next();
        t.send(&Frame::headers(stream, Block::request("GET", "/"), true).padded(99));
    }),
    case(
        "9113 6.2",
        "HEADERS with padding and priority",
        Must::Answered,
        |t| {
            let stream = t.next();
            let frame = Frame::headers(stream, Block::request("GET", "/"), true);
            t.send(&frame.depending(0, 200).padded(9));
        },
    ),
    case(
        "9113 6.2",
        "HEADERS with padding longer than the frame",
        WRONG,
        |t| {
            let stream = t.next();
            let mut frame = Frame::headers(stream, Block::request("GET", "/"), true).padded(3);
            frame.payload[0] = 255;
            t.send(&frame);
        },
    ),
    case(
        "9113 6.2",
        "HEADERS with padding that leaves no room for the priority",
        Must::Connection(&[PROTOCOL_ERROR, FRAME_SIZE_ERROR]),
        |t| {
            let stream = t.next();
            let flags = flag::END_HEADERS | flag::END_STREAM | flag::PADDED | flag::PRIORITY;
            t.send(&Frame::new(
                kind::HEADERS,
                flags,
                stream,
                [4, 0, 0, 0, 0, 9, 0, 0],
            ));
        },
    ),
    case("9113 6.2", "HEADERS with a priority", Must::Answered, |t| {
        let stream = t.next();
        let frame = Frame::headers(stream, Block::request("GET", "/"), true);
        t.send(&frame.depending(1 << 31, 255));
    }),
    case(
        "7540 5.3.1",
        "HEADERS that depend on themselves",
        OLD_ERROR,
        |t| {
            let stream = t.next();
            let frame = Frame::headers(stream, Block::request("GET", "/"), true);
            t.send(&frame.depending(stream, 7));
        },
    ),
    case(
        "7540 5.3.1",
        "PRIORITY of a stream on itself",
        OLD_ERROR,
        |t| {
            t.begin();
            t.send(&Frame::priority(t.stream, t.stream, 7));
        },
    ),
    case(
        "9113 5.3.2",
        "PRIORITY on streams that will never be",
        Must::Answered,
        |t| {
            t.send(&Frame::priority(101, 99, 7));
            t.send(&Frame::priority(2, 1 << 31, 0));
            t.get();
        },
    ),
    case(
        "9113 5.3.2",
        "two streams that depend on each other",
        Must::Answered,
        |t| {
            t.begin();
            let first = t.stream;
            t.begin();
            t.send(&Frame::priority(first, t.stream, 7));
            t.send(&Frame::priority(t.stream, 1 << 31 | first, 7));
            t.send(&Frame::data(first, *b"x", true));
            t.send(&Frame::data(t.stream, *b"x", true));
        },
    ),
];
