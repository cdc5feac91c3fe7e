//! The form of frames: types, flags, reserved bits and sizes (RFC 9113 sections 4.1 and 4.2).

use clearway_testkit::h2::code::FRAME_SIZE_ERROR;
use clearway_testkit::h2::{Block, Frame, flag, kind, setting};

use super::case::{Case, Must, Trial, case};

/// A type that no RFC gives a meaning.
const UNKNOWN: u8 = 0xee;

/// Sends a frame whose payload is one byte more than the server takes, or says that it cannot be
/// too large for it.
fn too_large(t: &mut Trial, frame: Frame) {
    let most = t.client.setting(setting::MAX_FRAME_SIZE).unwrap_or(16_384);
    let length = usize::try_from(most)
        .unwrap_or(usize::MAX)
        .saturating_add(1);
    if length > 0xff_ffff {
        return t.does_not_apply("the server takes frames of any size");
    }
    let mut frame = frame;
    match frame.kind {
        // What would fit is well-formed, so that only the size is wrong.
        kind::SETTINGS => frame.payload.resize(length.next_multiple_of(6), 0),
        kind::HEADERS | kind::CONTINUATION => {
            while frame.payload.len() < length {
                let field = Block::new().field("x", "y".repeat(100));
                frame.payload.extend(field.0);
            }
        }
        _ => frame.payload.resize(length, 0),
    }
    t.send(&frame);
}

/// The frame is fine, and the fields may still be more than the server wants.
const FITS: Must = Must::Either(&[Must::Answered, Must::Refused]);

const WRONG_SIZE: Must = Must::Connection(&[FRAME_SIZE_ERROR]);

pub(crate) const CASES: &[Case] = &[
    case(
        "9113 5.5",
        "a frame of unknown type for the connection",
        Must::Lives,
        |t| {
            t.send(&Frame::new(UNKNOWN, 0xff, 0, *b"whatever"));
        },
    ),
    case(
        "9113 5.5",
        "a frame of unknown type on an open stream",
        Must::Answered,
        |t| {
            t.begin();
            t.send(&Frame::new(UNKNOWN, 0xff, t.stream, *b"whatever"));
            t.send(&Frame::data(t.stream, *b"x", true));
        },
    ),
    case(
        "9113 5.5",
        "a frame of unknown type on an idle stream",
        Must::Lives,
        |t| {
            t.send(&Frame::new(UNKNOWN, 0, 77, []));
        },
    ),
    case(
        "9113 4.1",
        "PING with flags that mean nothing",
        Must::Lives,
        |t| {
            t.send(&Frame::ping(*b"flagged!").with(0xfe));
            let came = |c: &clearway_testkit::h2::RawClient| c.pongs.contains(b"flagged!");
            let came = t.client.wait(clearway_testkit::wait::LIMIT, came);
            t.check(came, "an answer to PING");
        },
    ),
    case(
        "9113 4.1",
        "HEADERS and DATA with flags that mean nothing",
        Must::Answered,
        |t| {
            let stream = t.next();
            let block = Block::request("POST", "/");
            t.send(&Frame::headers(stream, block, false).with(0x92));
            t.send(&Frame::data(stream, *b"x", true).with(0xf6));
        },
    ),
    case(
        "9113 4.1",
        "RST_STREAM, WINDOW_UPDATE and PRIORITY with flags",
        Must::Lives,
        |t| {
            t.begin();
            t.send(&Frame::priority(t.stream, 0, 1).with(0xff));
            t.send(&Frame::window(t.stream, 1).with(0xff));
            t.send(&Frame::reset(t.stream, 8).with(0xff));
        },
    ),
    case(
        "9113 4.1",
        "the reserved bit of a stream identifier",
        Must::Answered,
        |t| {
            let stream = t.next();
            let block = Block::request("POST", "/");
            t.send(&Frame::headers(stream | 1 << 31, block, false));
            t.send(&Frame::data(stream | 1 << 31, *b"x", true));
        },
    ),
    case(
        "9113 6.9",
        "the reserved bit of a window's increment",
        Must::Lives,
        |t| {
            t.send(&Frame::window(0, 1 << 31 | 5));
        },
    ),
    case("9113 4.2", "DATA of 16,384 bytes", Must::Answered, |t| {
        t.begin();
        t.send(&Frame::data(t.stream, vec![b'x'; 16_384], true));
    }),
    case(
        "9113 4.2",
        "HEADERS of 16,384 bytes with their padding",
        FITS,
        |t| {
            let stream = t.next();
            let mut block = Block::request("GET", "/");
            while block.0.len() < 16_384 - 200 {
                let room = (16_384 - 200 - block.0.len()).min(100);
                block = block.field("x", "y".repeat(room));
            }
            let frame = Frame::headers(stream, block, true);
            let room = 16_384 - frame.payload.len() - 1;
            let frame = frame.padded(u8::try_from(room).unwrap_or(0));
            t.check(frame.payload.len() == 16_384, "a frame of the right size");
            t.send(&frame);
        },
    ),
    case(
        "9113 4.2",
        "DATA larger than allowed",
        Must::Stream(&[FRAME_SIZE_ERROR]),
        |t| {
            t.begin();
            too_large(t, Frame::data(t.stream, [], true));
        },
    ),
    case("9113 4.2", "HEADERS larger than allowed", WRONG_SIZE, |t| {
        let stream = t.next();
        too_large(t, Frame::headers(stream, Block::request("GET", "/"), true));
    }),
    case(
        "9113 4.2",
        "CONTINUATION larger than allowed",
        WRONG_SIZE,
        |t| {
            let stream = t.next();
            let block = Block::request("GET", "/");
            t.send(&Frame::headers(stream, block, true).without(flag::END_HEADERS));
            too_large(t, Frame::continuation(stream, [], true));
        },
    ),
    case(
        "9113 4.2",
        "SETTINGS larger than allowed",
        WRONG_SIZE,
        |t| {
            too_large(t, Frame::settings(&[]));
        },
    ),
    case("9113 4.2", "GOAWAY larger than allowed", WRONG_SIZE, |t| {
        too_large(t, Frame::goaway(0, 0, b""));
    }),
    case("9113 4.2", "PING larger than allowed", WRONG_SIZE, |t| {
        too_large(t, Frame::ping([0; 8]));
    }),
    case(
        "9113 4.2",
        "a frame of unknown type larger than allowed",
        WRONG_SIZE,
        |t| {
            too_large(t, Frame::new(UNKNOWN, 0, 0, []));
        },
    ),
    case("9113 6.7", "PING of 7 bytes", WRONG_SIZE, |t| {
        t.send(&Frame::new(kind::PING, 0, 0, [0; 7]));
    }),
    case("9113 6.7", "PING of 9 bytes", WRONG_SIZE, |t| {
        t.send(&Frame::new(kind::PING, 0, 0, [0; 9]));
    }),
    case("9113 6.4", "RST_STREAM of 3 bytes", WRONG_SIZE, |t| {
        t.begin();
        t.send(&Frame::new(kind::RST_STREAM, 0, t.stream, [0; 3]));
    }),
    case("9113 6.4", "RST_STREAM of 5 bytes", WRONG_SIZE, |t| {
        t.begin();
        t.send(&Frame::new(kind::RST_STREAM, 0, t.stream, [0; 5]));
    }),
    case("9113 6.9", "WINDOW_UPDATE of 3 bytes", WRONG_SIZE, |t| {
        t.send(&Frame::new(kind::WINDOW_UPDATE, 0, 0, [0; 3]));
    }),
    case("9113 6.9", "WINDOW_UPDATE of 5 bytes", WRONG_SIZE, |t| {
        t.send(&Frame::new(kind::WINDOW_UPDATE, 0, 0, [0; 5]));
    }),
    case(
        "9113 6.3",
        "PRIORITY of 4 bytes",
        Must::Stream(&[FRAME_SIZE_ERROR]),
        |t| {
            t.begin();
            t.send(&Frame::new(kind::PRIORITY, 0, t.stream, [0; 4]));
        },
    ),
    case(
        "9113 6.3",
        "PRIORITY of 6 bytes",
        Must::Stream(&[FRAME_SIZE_ERROR]),
        |t| {
            t.begin();
            t.send(&Frame::new(kind::PRIORITY, 0, t.stream, [0; 6]));
        },
    ),
    case("9113 6.5", "SETTINGS of 5 bytes", WRONG_SIZE, |t| {
        t.send(&Frame::new(kind::SETTINGS, 0, 0, [0; 5]));
    }),
    case("9113 6.5", "SETTINGS of 7 bytes", WRONG_SIZE, |t| {
        t.send(&Frame::new(kind::SETTINGS, 0, 0, [0, 9, 0, 0, 0, 0, 0]));
    }),
    case(
        "9113 6.5",
        "an acknowledgement of SETTINGS with a value",
        WRONG_SIZE,
        |t| {
            t.send(&Frame::settings(&[(0xfafa, 1)]).with(flag::ACK));
        },
    ),
    case("9113 6.8", "GOAWAY of 7 bytes", WRONG_SIZE, |t| {
        t.send(&Frame::new(kind::GOAWAY, 0, 0, [0; 7]));
    }),
    case(
        "9113 6.2",
        "HEADERS too short for the priority they announce",
        WRONG_SIZE,
        |t| {
            let stream = t.next();
            let flags = flag::END_HEADERS | flag::END_STREAM | flag::PRIORITY;
            t.send(&Frame::new(kind::HEADERS, flags, stream, [0; 4]));
        },
    ),
    case(
        "9113 6.2",
        "HEADERS too short for the pad length they announce",
        WRONG_SIZE,
        |t| {
            let stream = t.next();
            let flags = flag::END_HEADERS | flag::END_STREAM | flag::PADDED;
            t.send(&Frame::new(kind::HEADERS, flags, stream, []));
        },
    ),
    case(
        "9113 6.1",
        "DATA too short for the pad length it announces",
        Must::Stream(&[FRAME_SIZE_ERROR]),
        |t| {
            t.begin();
            t.send(&Frame::new(kind::DATA, flag::PADDED, t.stream, []));
        },
    ),
];
