//! RST_STREAM, SETTINGS, PING and GOAWAY (RFC 9113 sections 6.4, 6.5, 6.7, 6.8).

use clearway_testkit::h2::code::{CANCEL, FLOW_CONTROL_ERROR, PROTOCOL_ERROR};
use clearway_testkit::h2::{Frame, RawClient, flag, setting};
use clearway_testkit::wait::LIMIT;

use super::case::{Case, Must, Trial, case};

const WRONG: Must = Must::Connection(&[PROTOCOL_ERROR]);

/// A request as a sign that what came before did no harm.
fn then_get(t: &mut Trial, frame: &Frame) {
    t.send(frame);
    t.get();
}

pub(crate) const CASES: &[Case] = &[
    case(
        "9113 6.4",
        "nothing comes on a stream after its RST_STREAM",
        Must::Lives,
        |t| {
            t.get_big();
            let stream = t.stream;
            t.client.replenish = false;
            t.comes(stream, 1);
            t.send(&Frame::reset(stream, CANCEL));
            t.settle();
            // The answer to PING was written after RST_STREAM had been read.
            let before = t.answer(stream).frames;
            t.send(&Frame::window(0, 1 << 20));
            t.after_a_while(stream);
            let after = t.answer(stream).frames;
            t.check(before == after, "silence on a stream that was reset");
        },
    ),
    case(
        "9113 5.4.2",
        "RST_STREAM is not answered by RST_STREAM",
        Must::Lives,
        |t| {
            t.begin();
            t.send(&Frame::reset(t.stream, CANCEL));
            t.after_a_while(t.stream);
        },
    ),
    case(
        "9113 6.4",
        "RST_STREAM leaves other streams alone",
        Must::Answered,
        |t| {
            t.begin();
            let first = t.stream;
            t.begin();
            t.send(&Frame::reset(first, CANCEL));
            t.send(&Frame::data(t.stream, *b"x", true));
        },
    ),
    case(
        "9113 7",
        "RST_STREAM with an unknown code",
        Must::Answered,
        |t| {
            t.begin();
            t.send(&Frame::reset(t.stream, 0xdead_beef));
            t.get();
        },
    ),
    case("9113 6.5.2", "ENABLE_PUSH of 2", WRONG, |t| {
        t.send(&Frame::settings(&[(setting::ENABLE_PUSH, 2)]));
    }),
    case("9113 6.5.2", "ENABLE_PUSH of 1", Must::Answered, |t| {
        then_get(t, &Frame::settings(&[(setting::ENABLE_PUSH, 1)]));
    }),
    case(
        "9113 6.5.2",
        "INITIAL_WINDOW_SIZE of 2^31",
        Must::Connection(&[FLOW_CONTROL_ERROR]),
        |t| t.send(&Frame::settings(&[(setting::INITIAL_WINDOW_SIZE, 1 << 31)])),
    ),
    case(
        "9113 6.5.2",
        "INITIAL_WINDOW_SIZE of 2^31-1",
        Must::Answered,
        |t| {
            then_get(
                t,
                &Frame::settings(&[(setting::INITIAL_WINDOW_SIZE, 0x7fff_ffff)]),
            );
        },
    ),
    case("9113 6.5.2", "MAX_FRAME_SIZE of 16,383", WRONG, |t| {
        t.send(&Frame::settings(&[(setting::MAX_FRAME_SIZE, 16_383)]));
    }),
    case("9113 6.5.2", "MAX_FRAME_SIZE of 0", WRONG, |t| {
        t.send(&Frame::settings(&[(setting::MAX_FRAME_SIZE, 0)]));
    }),
    case("9113 6.5.2", "MAX_FRAME_SIZE of 2^24", WRONG, |t| {
        t.send(&Frame::settings(&[(setting::MAX_FRAME_SIZE, 1 << 24)]));
    }),
    case(
        "9113 6.5.2",
        "MAX_FRAME_SIZE of 2^24-1",
        Must::Answered,
        |t| {
            then_get(t, &Frame::settings(&[(setting::MAX_FRAME_SIZE, 0xff_ffff)]));
        },
    ),
    case(
        "9113 6.5.2",
        "a wrong value in the first SETTINGS",
        WRONG,
        |t| {
            t.client.preface(&[(setting::ENABLE_PUSH, 7)]);
        },
    )
    .bare(),
    case(
        "9113 6.5.2",
        "settings that nobody knows",
        Must::Answered,
        |t| {
            then_get(
                t,
                &Frame::settings(&[(0, 1), (7, 0xffff_ffff), (0xfafa, 0)]),
            );
        },
    ),
    case(
        "9113 6.5.2",
        "MAX_CONCURRENT_STREAMS of 0, which is for pushes",
        Must::Answered,
        |t| {
            then_get(t, &Frame::settings(&[(setting::MAX_CONCURRENT_STREAMS, 0)]));
        },
    ),
    case(
        "9113 6.5.2",
        "MAX_HEADER_LIST_SIZE of 0, which is advice",
        Must::Either(&[Must::Answered, Must::Responded, Must::Refused]),
        |t| then_get(t, &Frame::settings(&[(setting::MAX_HEADER_LIST_SIZE, 0)])),
    ),
    case(
        "9113 6.5.3",
        "of several values for one setting the last holds",
        Must::Answered,
        |t| {
            let id = setting::INITIAL_WINDOW_SIZE;
            then_get(t, &Frame::settings(&[(id, 0), (id, 1), (id, 65_535)]));
        },
    ),
    case(
        "9113 6.5.3",
        "each SETTINGS is acknowledged",
        Must::Lives,
        |t| {
            for size in [70_000, 80_000, 90_000] {
                t.send(&Frame::settings(&[(setting::INITIAL_WINDOW_SIZE, size)]));
            }
            t.settle();
            let all = t.client.acknowledged(4);
            t.check(all.is_ok(), "four acknowledgements");
            let more = t.client.acknowledged > 4;
            t.check(!more, "no more than four acknowledgements");
        },
    ),
    case(
        "9113 6.5.3",
        "empty SETTINGS are acknowledged",
        Must::Lives,
        |t| {
            t.send(&Frame::settings(&[]));
            let all = t.client.acknowledged(2);
            t.check(all.is_ok(), "two acknowledgements");
        },
    ),
    case(
        "9113 6.5.3",
        "an acknowledgement of SETTINGS that were never sent",
        Must::Either(&[Must::Lives, WRONG]),
        |t| {
            t.send(&Frame::settings_ack());
            t.send(&Frame::settings_ack());
        },
    ),
    case(
        "8441 3",
        "ENABLE_CONNECT_PROTOCOL of 2",
        Must::Either(&[Must::Lives, WRONG]),
        |t| t.send(&Frame::settings(&[(setting::ENABLE_CONNECT_PROTOCOL, 2)])),
    ),
    case(
        "9113 4.2",
        "no frame is larger than 16,384 bytes unless allowed",
        Must::Answered,
        |t| {
            t.get_big();
        },
    ),
    case(
        "9113 6.5.2",
        "a HEADER_TABLE_SIZE of 0 is kept to",
        Must::Answered,
        |t| {
            t.send(&Frame::settings(&[(setting::HEADER_TABLE_SIZE, 0)]));
            let known = t.client.acknowledged(2).is_ok();
            t.check(known, "an acknowledgement");
            t.client.link().decoder.allow(0);
            t.done();
            t.done();
        },
    ),
    case(
        "9113 6.7",
        "PING is answered with the same bytes",
        Must::Lives,
        |t| {
            t.send(&Frame::ping(*b"\0\xff same!"));
            let came = |c: &RawClient| c.pongs.contains(b"\0\xff same!");
            let came = t.client.wait(LIMIT, came);
            t.check(came, "the same bytes");
        },
    ),
    case(
        "9113 6.7",
        "each PING is answered, in order",
        Must::Lives,
        |t| {
            for n in 0..5_u8 {
                t.send(&Frame::ping([n; 8]));
            }
            t.client.wait(LIMIT, |c| c.pongs.len() >= 5);
            let pongs = t.client.pongs.clone();
            let expected: Vec<[u8; 8]> = (0..5).map(|n| [n; 8]).collect();
            t.check(pongs == expected, "five answers in order");
        },
    ),
    case(
        "9113 6.7",
        "an answer to PING is not answered",
        Must::Lives,
        |t| {
            t.send(&Frame::ping(*b"answered").with(flag::ACK));
            t.settle();
            let answered = t.client.pongs.contains(b"answered");
            t.check(!answered, "no answer to an answer");
        },
    ),
    case(
        "9113 6.7",
        "PING is answered while windows are closed",
        Must::Lives,
        |t| {
            t.client.replenish = false;
            t.get_big();
            t.comes(t.stream, 65_535);
        },
    ),
    case(
        "9113 6.8",
        "requests in progress are finished after our GOAWAY",
        Must::Delivered,
        |t| {
            t.begin();
            t.send(&Frame::goaway(0, 0, b"done soon"));
            t.send(&Frame::data(t.stream, *b"x", true));
        },
    ),
    case(
        "9113 7",
        "GOAWAY with an unknown code",
        Must::Delivered,
        |t| {
            t.get();
            t.send(&Frame::goaway(0, 0xdead_beef, b""));
        },
    ),
];
