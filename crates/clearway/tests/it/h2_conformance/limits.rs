//! What strangers may ask for too much of (RFC 9113 section 10.5).
//!
//! A server may go along, slow down or end the connection; it has to serve others afterwards, and
//! must not hold what was sent or asked for in memory.

use std::time::Duration;

use clearway_testkit::h2::{Block, Form, Frame, RawClient, flag, hpack::FIRST_DYNAMIC, setting};

use super::case::{Case, Must, NO_WINDOW, Trial, case};

/// Too many for a server that pays attention, and sent in less than a second.
const MANY: usize = 10_000;

/// Writes frames in large pieces and takes what comes in between, as long as the server goes along;
/// a server that stops reading is one that does not.
fn flood(t: &mut Trial, count: usize, mut next: impl FnMut(&mut RawClient, usize) -> Vec<u8>) {
    t.client.link().limit(Duration::from_secs(2));
    let mut piece = Vec::new();
    for n in 0..count {
        piece.extend(next(&mut t.client, n));
        if piece.len() < 60_000 && n + 1 < count {
            continue;
        }
        if !t.client.raw(&piece) {
            return;
        }
        piece.clear();
        t.client.wait(Duration::from_millis(1), |_| false);
        t.client.link().limit(Duration::from_secs(2));
        if t.client.stopped.is_some() {
            return;
        }
    }
}

fn repeated(t: &mut Trial, frame: &Frame) {
    let bytes = frame.bytes();
    flood(t, MANY, |_, _| bytes.clone());
}

/// Asks for many large responses.
fn ask_for_much(t: &mut Trial) {
    let most = t.client.setting(setting::MAX_CONCURRENT_STREAMS);
    for _ in 0..most.unwrap_or(100).min(100) {
        t.get_big();
    }
    t.client.wait(Duration::from_millis(500), |_| false);
}

/// A field block that is too large for most: the outcome is up to the server.
const TOO_LARGE: Must = Must::Either(&[Must::Refused, Must::Answered]);

pub(crate) const CASES: &[Case] = &[
    case("9113 10.5.1", "a field of 200,000 bytes", TOO_LARGE, |t| {
        let block = Block::request("GET", "/").field("x-long", "y".repeat(200_000));
        let stream = t.next();
        for frame in Frame::header_frames(stream, &block.0, true, 16_384) {
            t.send(&frame);
        }
    }),
    case("9113 10.5.1", "two thousand fields", TOO_LARGE, |t| {
        let mut block = Block::request("GET", "/");
        for n in 0..2000 {
            block = block.field(format!("x-{n}"), "y");
        }
        let stream = t.next();
        for frame in Frame::header_frames(stream, &block.0, true, 16_384) {
            t.send(&frame);
        }
    }),
    case("9113 10.5.1", "a :path of 100,000 bytes", TOO_LARGE, |t| {
        let block = Block::request("GET", &format!("/{}", "p".repeat(100_000)));
        let stream = t.next();
        for frame in Frame::header_frames(stream, &block.0, true, 16_384) {
            t.send(&frame);
        }
    }),
    case("9113 10.5.1", "trailers of 200,000 bytes", TOO_LARGE, |t| {
        t.begin();
        let block = Block::new().field("x-long", "y".repeat(200_000));
        for frame in Frame::header_frames(t.stream, &block.0, true, 16_384) {
            t.send(&frame);
        }
    }),
    case(
        "9113 10.5",
        "10,000 requests that are taken back at once",
        Must::Calm,
        |t| {
            flood(t, MANY, |c, _| {
                let stream = c.stream();
                let mut bytes = Frame::headers(stream, Block::request("GET", "/"), true).bytes();
                bytes.extend(Frame::reset(stream, 8).bytes());
                bytes
            });
        },
    ),
    case(
        "9113 10.5",
        "10,000 requests that make the server reset them",
        Must::Calm,
        |t| {
            flood(t, MANY, |c, _| {
                let stream = c.stream();
                let mut bytes = Frame::headers(stream, Block::request("POST", "/"), false).bytes();
                bytes.extend(Frame::window(stream, 0).bytes());
                bytes
            });
        },
    ),
    case("9113 10.5", "10,000 malformed requests", Must::Calm, |t| {
        flood(t, MANY, |c, _| {
            let block = Block::request("GET", "/").field("X-Bad", "1");
            Frame::headers(c.stream(), block, true).bytes()
        });
    }),
    case(
        "9113 10.5",
        "a block of 10,000 CONTINUATION frames of a kilobyte",
        Must::Calm,
        |t| {
            let stream = t.next();
            let head = Frame::headers(stream, Block::request("GET", "/"), true);
            t.send(&head.without(flag::END_HEADERS));
            let piece = Block::new().field("x", "y".repeat(1000));
            let bytes = Frame::continuation(stream, piece, false).bytes();
            flood(t, MANY, |_, _| bytes.clone());
        },
    ),
    case(
        "9113 10.5",
        "a block of 10,000 empty CONTINUATION frames",
        Must::Calm,
        |t| {
            let stream = t.next();
            let head = Frame::headers(stream, Block::request("GET", "/"), true);
            t.send(&head.without(flag::END_HEADERS));
            repeated(t, &Frame::continuation(stream, [], false));
        },
    ),
    case(
        "7541 7.3",
        "a block of 16 kB that unfolds to 64 MB",
        Must::Calm,
        |t| {
            let block = Block::request("GET", "/").literal(Form::Indexed, "x", "y".repeat(4000));
            t.open(&block, true);
            let mut bomb = Block::request("GET", "/");
            while bomb.0.len() < 16_000 {
                bomb = bomb.indexed(FIRST_DYNAMIC);
            }
            t.open(&bomb, true);
            let stream = t.stream;
            let limit = Duration::from_secs(5);
            t.client.wait(limit, |c| {
                c.answer(stream).is_over() || !c.goaways.is_empty()
            });
        },
    ),
    case("9113 10.5", "10,000 SETTINGS", Must::Calm, |t| {
        repeated(t, &Frame::settings(&[(setting::MAX_FRAME_SIZE, 16_384)]));
    }),
    case("9113 10.5", "10,000 PING", Must::Calm, |t| {
        repeated(t, &Frame::ping([7; 8]));
    }),
    case(
        "9113 10.5",
        "10,000 PING whose answers are not read",
        Must::Calm,
        |t| {
            t.client.link().limit(Duration::from_secs(2));
            let bytes = Frame::ping([7; 8]).bytes().repeat(1000);
            for _ in 0..10 {
                if !t.client.raw(&bytes) {
                    return;
                }
            }
        },
    ),
    case("9113 10.5", "10,000 empty DATA frames", Must::Calm, |t| {
        t.begin();
        repeated(t, &Frame::data(t.stream, [], false));
    }),
    case(
        "9113 10.5",
        "10,000 DATA frames of one byte and much padding",
        Must::Calm,
        |t| {
            t.begin();
            let stream = t.stream;
            flood(t, MANY, |c, n| {
                if c.room(stream) < (n + 1) * 257 {
                    return Vec::new();
                }
                Frame::data(stream, *b"x", false).padded(255).bytes()
            });
        },
    ),
    case("9113 10.5", "10,000 PRIORITY frames", Must::Calm, |t| {
        flood(t, MANY, |_, n| {
            let stream = u32::try_from(n).unwrap_or(0) * 2 + 1;
            Frame::priority(stream, stream + 2, 9).bytes()
        });
    }),
    case(
        "9113 10.5",
        "10,000 WINDOW_UPDATE frames of one byte",
        Must::Calm,
        |t| {
            t.get_big();
            repeated(t, &Frame::window(t.stream, 1));
        },
    )
    .with(NO_WINDOW),
    case(
        "9113 10.5",
        "10,000 frames of unknown type",
        Must::Calm,
        |t| {
            repeated(t, &Frame::new(0xee, 0, 0, []));
        },
    ),
    case(
        "9113 10.5",
        "10,000 RST_STREAM on a closed stream",
        Must::Calm,
        |t| {
            t.begin();
            t.send(&Frame::reset(t.stream, 8));
            repeated(t, &Frame::reset(t.stream, 8));
        },
    ),
    case("9113 10.5", "10,000 GOAWAY", Must::Calm, |t| {
        repeated(t, &Frame::goaway(0, 0, b""));
    }),
    case(
        "9113 10.5",
        "a hundred large responses into windows of 0",
        Must::Calm,
        ask_for_much,
    )
    .with(NO_WINDOW),
    case(
        "9113 10.5",
        "a hundred large responses into windows of 1",
        Must::Calm,
        ask_for_much,
    )
    .with(&[(setting::ENABLE_PUSH, 0), (setting::INITIAL_WINDOW_SIZE, 1)]),
    case(
        "9113 10.5",
        "a hundred large responses that are not read",
        Must::Calm,
        |t| {
            t.send(&Frame::window(0, 0x7fff_0000));
            let most = t.client.setting(setting::MAX_CONCURRENT_STREAMS);
            for _ in 0..most.unwrap_or(100).min(100) {
                t.get_big();
            }
            // Nothing is taken from the socket: what fills up is the server's side.
            clearway_testkit::wait::elapse(Duration::from_millis(500));
        },
    )
    .with(&[
        (setting::ENABLE_PUSH, 0),
        (setting::INITIAL_WINDOW_SIZE, 0x7fff_ffff),
    ]),
];
