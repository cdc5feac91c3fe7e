//! Header compression (RFC 7541, RFC 9113 section 4.3).

use clearway_testkit::h2::code::COMPRESSION_ERROR;
use clearway_testkit::h2::hpack::FIRST_DYNAMIC;
use clearway_testkit::h2::huffman::{EOS, Padding, encode_symbols};
use clearway_testkit::h2::{Block, Form, Frame, setting};

use super::case::{Case, Must, Trial, case, remembered};

const BROKEN: Must = Must::Connection(&[COMPRESSION_ERROR]);

/// `GET /` and then a piece of a block.
fn then(t: &mut Trial, piece: impl FnOnce(Block) -> Block) {
    t.open(&piece(Block::request("GET", "/")), true);
}

/// `GET /` with a field whose value is this Huffman code.
fn coded(t: &mut Trial, text: &str, end: Option<u16>, padding: Padding) {
    let symbols: Vec<u16> = text.bytes().map(u16::from).chain(end).collect();
    let code = encode_symbols(&symbols, padding);
    then(t, |block| block.raw(&[0]).text(b"x").coded(&code));
}

/// The size of table that the server allows.
fn allowed(t: &Trial) -> usize {
    let size = t.client.setting(setting::HEADER_TABLE_SIZE).unwrap_or(4096);
    usize::try_from(size).unwrap_or(usize::MAX)
}

pub(crate) const CASES: &[Case] = &[
    case("7541 6.1", "index 0", BROKEN, |t| then(t, |b| b.indexed(0))),
    case(
        "7541 2.3.3",
        "an index beyond an empty table",
        BROKEN,
        |t| {
            then(t, |b| b.indexed(FIRST_DYNAMIC));
        },
    ),
    case("7541 2.3.3", "an index far beyond the table", BROKEN, |t| {
        then(t, |b| b.indexed(1_000_000));
    }),
    case(
        "7541 2.3.3",
        "a name that is an index beyond the table",
        BROKEN,
        |t| {
            then(t, |b| b.named(Form::Plain, 70, "1"));
        },
    ),
    case(
        "7541 5.2",
        "Huffman code with padding of zeros",
        BROKEN,
        |t| {
            coded(t, "a", None, Padding::Zeros);
        },
    ),
    case(
        "7541 5.2",
        "Huffman code with padding longer than seven bits",
        BROKEN,
        |t| {
            coded(t, "a", None, Padding::TooLong);
        },
    ),
    case("7541 5.2", "Huffman code with EOS inside", BROKEN, |t| {
        coded(t, "a", Some(EOS), Padding::Ones);
    }),
    case("7541 5.1", "an integer that does not end", BROKEN, |t| {
        then(t, |b| b.raw(&[0xff; 16]));
    }),
    case("7541 5.1", "an integer beyond 32 bits", BROKEN, |t| {
        then(t, |b| {
            b.raw(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f])
        });
    }),
    case(
        "7541 5.1",
        "a string whose length is cut off",
        BROKEN,
        |t| {
            then(t, |b| b.raw(&[0, 0x7f]));
        },
    ),
    case("7541 5.2", "a string longer than the block", BROKEN, |t| {
        then(t, |b| b.raw(&[0, 0x7e, b'x']));
    }),
    case("7541 6.2", "a name without a value", BROKEN, |t| {
        then(t, |b| b.raw(&[0]).text(b"name"));
    }),
    case("7541 6.3", "a table larger than allowed", BROKEN, |t| {
        let size = allowed(t);
        let block = Block::new().table_size(size + 1);
        t.open(&block.raw(&Block::request("GET", "/").0), true);
    }),
    case(
        "7541 4.2",
        "a change of the table's size after a field",
        BROKEN,
        |t| {
            then(t, |b| b.table_size(0).field("x", "1"));
        },
    ),
    case(
        "7541 4.2",
        "changes of the table's size before the fields",
        Must::Answered,
        |t| {
            let size = allowed(t);
            let block = Block::new().table_size(0).table_size(size);
            t.open(&block.raw(&Block::request("GET", "/").0), true);
        },
    ),
    case(
        "7541 4.3",
        "an entry that a smaller table forgot",
        BROKEN,
        |t| {
            t.open(&remembered("x-kept", "1"), true);
            let block = Block::new().table_size(0).table_size(100);
            let block = block.raw(&Block::request("GET", "/").indexed(FIRST_DYNAMIC).0);
            t.open(&block, true);
        },
    ),
    case(
        "7541 4.4",
        "an entry larger than the table empties it",
        BROKEN,
        |t| {
            t.open(&remembered("x-kept", "1"), true);
            let block = Block::new().table_size(100);
            let large =
                Block::request("GET", "/").literal(Form::Indexed, "x-large", "y".repeat(200));
            t.open(&block.raw(&large.0), true);
            then(t, |b| b.indexed(FIRST_DYNAMIC));
        },
    ),
    case(
        "7541 4.4",
        "an entry larger than the table is a field all the same",
        Must::Answered,
        |t| {
            let block = Block::new().table_size(100);
            let large =
                Block::request("GET", "/").literal(Form::Indexed, "x-large", "y".repeat(200));
            t.open(&block.raw(&large.0), true);
        },
    ),
    case(
        "7541 2.3.2",
        "an entry of an earlier request",
        Must::Answered,
        |t| {
            t.open(&remembered("x-kept", "1"), true);
            t.whole();
            then(t, |b| b.indexed(FIRST_DYNAMIC));
        },
    ),
    case(
        "7541 6.2.1",
        "a request of entries alone",
        Must::Answered,
        |t| {
            let block = Block::new()
                .literal(Form::Indexed, ":authority", "test")
                .indexed(2)
                .indexed(4)
                .indexed(6);
            t.open(&block, true);
            t.whole();
            t.open(
                &Block::new()
                    .indexed(2)
                    .indexed(4)
                    .indexed(6)
                    .indexed(FIRST_DYNAMIC),
                true,
            );
        },
    ),
    case(
        "7541 6.2.3",
        "fields that must never be indexed",
        Must::Answered,
        |t| {
            then(t, |b| {
                let secret = b.literal(Form::Never, "authorization", "Basic eDp5");
                secret.named(Form::Never, 32, "a=1")
            });
        },
    ),
    case("7541 5.2", "strings in Huffman code", Must::Answered, |t| {
        let block = Block::new()
            .huffman(Form::Plain, ":method", "GET")
            .huffman(Form::Plain, ":scheme", "http")
            .huffman(Form::Plain, ":path", "/")
            .huffman(Form::Indexed, ":authority", "test")
            .huffman(Form::Never, "x-long", "~".repeat(500));
        t.open(&block, true);
    }),
    case(
        "9113 4.3",
        "a malformed request changes the table all the same",
        Must::Answered,
        |t| {
            let bad = Block::request("GET", "/").field("X-Bad", "1");
            t.open(&bad.literal(Form::Indexed, "x-kept", "1"), true);
            let stream = t.stream;
            t.client.wait(clearway_testkit::wait::LIMIT, |c| {
                c.answer(stream).is_over()
            });
            if t.client.stopped.is_some() || !t.client.goaways.is_empty() {
                return t.does_not_apply("the server ends the connection over a malformed request");
            }
            then(t, |b| b.indexed(FIRST_DYNAMIC));
        },
    ),
    case(
        "9113 4.3",
        "trailers change the table",
        Must::Answered,
        |t| {
            t.begin();
            let trailers = Block::new().literal(Form::Indexed, "x-kept", "1");
            t.send(&Frame::headers(t.stream, trailers, true));
            t.whole();
            then(t, |b| b.indexed(FIRST_DYNAMIC));
        },
    ),
    case(
        "9113 5.1",
        "HEADERS on a stream of ours that was reset change the table",
        Must::Either(&[
            Must::Answered,
            Must::Connection(&[clearway_testkit::h2::code::STREAM_CLOSED]),
        ]),
        |t| {
            t.begin();
            t.send(&Frame::reset(t.stream, 8));
            let trailers = Block::new().literal(Form::Indexed, "x-kept", "1");
            t.send(&Frame::headers(t.stream, trailers, true));
            then(t, |b| b.indexed(FIRST_DYNAMIC));
        },
    ),
    case("9113 4.3", "a broken block in trailers", BROKEN, |t| {
        t.begin();
        t.send(&Frame::headers(t.stream, Block::new().indexed(0), true));
    }),
    case("9113 4.3", "a broken block over two frames", BROKEN, |t| {
        let stream = t.next();
        let block = Block::request("GET", "/").indexed(FIRST_DYNAMIC + 9);
        for frame in Frame::header_frames(stream, &block.0, true, 40) {
            t.send(&frame);
        }
    }),
];
