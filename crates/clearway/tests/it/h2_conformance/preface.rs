//! How a connection begins (RFC 9113 section 3.4).

use clearway_testkit::h2::{Block, Frame, PREFACE, code::PROTOCOL_ERROR, setting};
use clearway_testkit::wait::LIMIT;

use super::case::{Case, Must, case};

pub(crate) const CASES: &[Case] = &[
    case(
        "9113 3.4",
        "a preface with a letter changed",
        Must::Ends,
        |t| {
            t.raw(b"PRI * HTTP/2.0\r\n\r\nXM\r\n\r\n");
            t.send(&Frame::settings(&[]));
        },
    )
    .bare(),
    case(
        "9113 3.4",
        "bytes that are no preface at all",
        Must::Ends,
        |t| {
            t.raw(b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03 not TLS either\r\n\r\n");
        },
    )
    .bare(),
    case(
        "9113 3.4",
        "PING as the first frame after the preface",
        Must::Connection(&[PROTOCOL_ERROR]),
        |t| {
            t.raw(PREFACE);
            t.send(&Frame::ping([0; 8]));
        },
    )
    .bare(),
    case(
        "9113 3.4",
        "HEADERS as the first frame after the preface",
        Must::Connection(&[PROTOCOL_ERROR]),
        |t| {
            t.raw(PREFACE);
            t.get();
        },
    )
    .bare(),
    case(
        "9113 3.4",
        "a SETTINGS acknowledgement as the first frame after the preface",
        Must::Connection(&[PROTOCOL_ERROR]),
        |t| {
            t.raw(PREFACE);
            t.send(&Frame::settings_ack());
        },
    )
    .bare(),
    case(
        "9113 3.4",
        "preface and settings byte by byte",
        Must::Answered,
        |t| {
            for byte in PREFACE.iter().chain(&Frame::settings(&[]).bytes()) {
                t.raw(&[*byte]);
            }
            t.get();
        },
    )
    .bare(),
    case(
        "9113 3.4",
        "preface, settings and a request in one write",
        Must::Answered,
        |t| {
            let mut bytes = PREFACE.to_vec();
            bytes.extend(Frame::settings(&[]).bytes());
            let stream = t.next();
            let block = Block::request("GET", "/");
            bytes.extend(Frame::headers(stream, block, true).bytes());
            t.raw(&bytes);
        },
    )
    .bare(),
    case(
        "9113 3.4",
        "the server's first frame is SETTINGS",
        Must::Lives,
        |t| {
            t.client.preface(&[]);
            t.client.wait(LIMIT, |c| !c.log.is_empty());
            let first = t.client.log.first().cloned();
            t.check(first.as_deref() == Some("SETTINGS"), "SETTINGS first");
        },
    )
    .bare(),
    case(
        "9113 6.5.2",
        "the server's settings have values that are allowed",
        Must::Lives,
        |t| {
            let of = |id, most: u32| t.client.setting(id).is_none_or(|value| value <= most);
            let fine = of(setting::ENABLE_PUSH, 0)
                && of(setting::INITIAL_WINDOW_SIZE, 0x7fff_ffff)
                && of(setting::MAX_FRAME_SIZE, 0xff_ffff)
                && of(setting::ENABLE_CONNECT_PROTOCOL, 1);
            let frame = t.client.setting(setting::MAX_FRAME_SIZE);
            t.check(
                fine && frame.is_none_or(|f| f >= 16_384),
                "allowed settings",
            );
        },
    ),
    case(
        "9113 6.5.3",
        "a client that never acknowledges the server's settings gets its answer",
        Must::Answered,
        |t| {
            t.client.acknowledge = false;
            t.client.preface(&[]);
            t.get();
        },
    )
    .bare(),
    case(
        "9113 5.4.1",
        "a client that closes its side in the middle of a frame",
        Must::Ends,
        |t| {
            t.raw(&Frame::ping([0; 8]).bytes()[..12]);
            t.client.link().end();
        },
    ),
];
