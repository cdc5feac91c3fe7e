//! Windows, both ways (RFC 9113 sections 5.2 and 6.9).

use clearway_testkit::h2::code::{FLOW_CONTROL_ERROR, PROTOCOL_ERROR};
use clearway_testkit::h2::{Block, Frame, RawClient, setting};
use clearway_testkit::wait::LIMIT;

use super::case::{Case, Must, NO_WINDOW, Trial, case};

const TOO_MUCH: Must = Must::Connection(&[FLOW_CONTROL_ERROR]);

/// Settings of a client that takes ten bytes of each response.
const TEN: &[(u16, u32)] = &[
    (setting::ENABLE_PUSH, 0),
    (setting::INITIAL_WINDOW_SIZE, 10),
];

/// Changes the initial size of windows, and waits until the server goes by it.
fn resize(t: &mut Trial, size: u32) {
    let before = t.client.acknowledged;
    t.send(&Frame::settings(&[(setting::INITIAL_WINDOW_SIZE, size)]));
    let known = t.client.acknowledged(before + 1);
    t.check(known.is_ok(), "an acknowledgement");
}

/// Expects exactly so much of a body.
fn exactly(t: &mut Trial, bytes: usize) {
    t.comes(t.stream, bytes);
    let came = t.after_a_while(t.stream);
    t.check(came == bytes, &format!("{bytes} bytes, not {came}"));
}

pub(crate) const CASES: &[Case] = &[
    case(
        "9113 6.9",
        "WINDOW_UPDATE of 0 on a stream",
        Must::Stream(&[PROTOCOL_ERROR]),
        |t| {
            t.begin();
            t.send(&Frame::window(t.stream, 0));
        },
    ),
    case(
        "9113 6.9",
        "WINDOW_UPDATE of 0 on the connection",
        Must::Connection(&[PROTOCOL_ERROR, FLOW_CONTROL_ERROR]),
        |t| t.send(&Frame::window(0, 0)),
    ),
    case(
        "9113 6.9.1",
        "a stream's window beyond 2^31-1",
        Must::Stream(&[FLOW_CONTROL_ERROR]),
        |t| {
            t.begin();
            t.send(&Frame::window(t.stream, 0x7fff_ffff));
        },
    ),
    case(
        "9113 6.9.1",
        "the connection's window beyond 2^31-1",
        TOO_MUCH,
        |t| {
            t.send(&Frame::window(0, 0x7fff_ffff));
        },
    ),
    case(
        "9113 6.9.1",
        "the connection's window at 2^31-1",
        Must::Answered,
        |t| {
            t.send(&Frame::window(0, 0x7fff_ffff - 65_535));
            t.get();
        },
    ),
    case(
        "9113 6.9.2",
        "a stream's window moved beyond 2^31-1 by SETTINGS",
        TOO_MUCH,
        |t| {
            // The connection's window keeps the stream from ending.
            t.client.replenish = false;
            t.get_big();
            t.comes(t.stream, 65_535);
            t.send(&Frame::window(t.stream, 0x7fff_0000));
            t.send(&Frame::settings(&[(
                setting::INITIAL_WINDOW_SIZE,
                0x7fff_ffff,
            )]));
        },
    ),
    case(
        "9113 6.9.1",
        "no body comes into a window of 0",
        Must::Lives,
        |t| {
            t.held();
            exactly(t, 0);
        },
    )
    .with(NO_WINDOW),
    case(
        "9113 6.9.1",
        "a body comes byte by byte as the window allows",
        Must::Answered,
        |t| {
            t.client.replenish = false;
            t.held();
            for bytes in 1..=3 {
                t.send(&Frame::window(t.stream, 1));
                exactly(t, bytes);
            }
            t.send(&Frame::window(t.stream, 65_535));
        },
    )
    .with(NO_WINDOW),
    case(
        "9113 6.9.2",
        "SETTINGS open the windows of streams that wait",
        Must::Answered,
        |t| {
            t.held();
            resize(t, 65_535);
        },
    )
    .with(NO_WINDOW),
    case(
        "9113 6.9.2",
        "a window below zero counts",
        Must::Lives,
        |t| {
            t.client.replenish = false;
            t.get_big();
            exactly(t, 10);
            // Ten were used of a window that now begins at two: eight are owed.
            resize(t, 2);
            t.send(&Frame::window(t.stream, 8));
            exactly(t, 10);
            t.send(&Frame::window(t.stream, 1));
            exactly(t, 11);
        },
    )
    .with(TEN),
    case(
        "9113 6.9.2",
        "SETTINGS leave the connection's window alone",
        Must::Lives,
        |t| {
            t.client.replenish = false;
            t.get_big();
            exactly(t, 65_535);
            resize(t, 2_000_000);
            exactly(t, 65_535);
            t.send(&Frame::window(0, 5));
            exactly(t, 65_540);
        },
    )
    .with(&[
        (setting::ENABLE_PUSH, 0),
        (setting::INITIAL_WINDOW_SIZE, 1_000_000),
    ]),
    case(
        "9113 6.9.1",
        "two streams share the connection's window",
        Must::Lives,
        |t| {
            t.client.replenish = false;
            let first = t.client.ask("/big");
            let second = t.client.ask("/big");
            let both =
                move |c: &RawClient| c.answer(first).body.len() + c.answer(second).body.len();
            t.client.wait(LIMIT, |c| both(c) >= 65_535);
            t.after_a_while(first);
            let sum = both(&t.client);
            t.check(
                sum == 65_535,
                &format!("65,535 bytes on both streams, not {sum}"),
            );
        },
    ),
    case(
        "9113 6.9",
        "a window of one stream is not that of another",
        Must::Answered,
        |t| {
            t.client.replenish = false;
            t.get_big();
            exactly(t, 10);
            let first = t.stream;
            t.get();
            t.send(&Frame::window(t.stream, 1000));
            t.whole();
            let came = t.answer(first).body.len();
            t.check(came == 10, "nothing more on the first stream");
        },
    )
    .with(TEN),
    case(
        "9113 6.9",
        "a large response through windows that are opened again",
        Must::Answered,
        |t| {
            t.get_big();
            t.whole();
            let length = t.answer(t.stream).body.len();
            t.check(length >= 1 << 20, "a megabyte");
        },
    ),
    case(
        "9113 6.9",
        "an upload larger than all windows",
        Must::Answered,
        |t| {
            t.begin();
            let stream = t.stream;
            let taken = t.client.body(stream, &vec![b'u'; 1 << 20], true);
            t.check(taken, "windows for a megabyte");
        },
    ),
    case(
        "9113 6.9",
        "padding is given back to the windows",
        Must::Answered,
        |t| {
            t.begin();
            let stream = t.stream;
            // The padding alone is more than a window; with so much data beside it it is no flood.
            const FRAME: usize = 1 + 1000 + 255;
            for sent in 0..300 {
                let used = sent * FRAME;
                let room = |c: &RawClient| c.room(stream) >= used + FRAME;
                let room = t.client.wait(LIMIT, room);
                t.check(room, "a window for padding");
                if !room {
                    return;
                }
                t.send(&Frame::data(stream, [b'x'; 1000], sent == 299).padded(255));
            }
        },
    ),
    case(
        "9113 6.9",
        "DATA on streams that were reset is given back to the connection",
        Must::Answered,
        |t| {
            // More than most servers allow in flight: the connection's window has to be opened again.
            // In few enough streams not to be taken for a flood of resets.
            let mut sent = 0_usize;
            while sent < 3 << 20 {
                t.begin();
                let stream = t.stream;
                let body = [b'x'; 60_000];
                let taken = t.client.body(stream, &body, false);
                t.check(taken, "a window for the connection");
                if !taken {
                    return;
                }
                t.send(&Frame::reset(stream, 8));
                sent += body.len();
            }
            t.post_with(&[], b"x");
        },
    ),
    case(
        "9113 6.9.1",
        "more DATA than a stream's window allows",
        // Whoever reads the body as it comes has opened the window before it was exceeded.
        Must::Either(&[Must::Lives, Must::Stream(&[FLOW_CONTROL_ERROR])]),
        |t| {
            t.open(&Block::request("POST", "/hold"), false);
            let window = t.client.room(t.stream);
            if window > 1 << 20 {
                return t.does_not_apply("the window is too large to be exceeded");
            }
            let mut left = window + 1;
            while left > 0 {
                let now = left.min(16_384);
                t.send(&Frame::data(t.stream, vec![b'x'; now], false));
                left -= now;
            }
        },
    ),
    case(
        "9113 6.9.1",
        "an empty DATA frame ends a stream without a window",
        Must::Answered,
        |t| {
            t.begin();
            t.send(&Frame::data(t.stream, [], true));
        },
    ),
];
