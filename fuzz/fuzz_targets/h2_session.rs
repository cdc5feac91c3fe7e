//! Frames of any bytes after a client's preface: what becomes a request is a head that can be parsed, and
//! every request can be answered.

#![no_main]

use std::future::poll_fn;
use std::io::IoSlice;
use std::task::Poll;

use clearway_base::buffer::Pool;
use clearway_fuzz::breaks;
use clearway_http::{HeadLimits, Progress, RequestHead};
use clearway_net::h2::{Incoming, PREFACE, Session, SessionSettings};
use clearway_net::stream::Stream;
use clearway_net::wire::Wire;
use libfuzzer_sys::fuzz_target;
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};

/// What fits into a socket's buffer at once.
const MOST: usize = 64 * 1_024;
/// Looks at the connection while nothing comes of it.
const LOOKS: usize = 16;

const SETTINGS: SessionSettings = SessionSettings {
    streams: 16,
    header_bytes: 8 * 1_024,
    window: 16 * 1_024,
    seed: 1,
};

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread().enable_io().build().expect("a runtime");
}

fuzz_target!(|data: &[u8]| {
    RUNTIME.with(|runtime| runtime.block_on(serve(&data[..data.len().min(MOST)])));
});

async fn serve(frames: &[u8]) {
    let (ours, theirs) = UnixStream::pair().expect("two sockets");
    theirs.try_write(PREFACE).expect("an empty buffer");
    theirs.try_write(frames).unwrap_or_default();
    let (small, large) = (Pool::new(4 * 1_024, 4), Pool::new(32 * 1_024, 4));
    let mut session = Session::new(Stream::Plain(Wire::Unix(ours)), None, &SETTINGS);
    let mut streams = Vec::new();
    let (mut idle, mut taken) = (0, vec![0; 4_096]);
    while idle < LOOKS {
        let next = poll_fn(|cx| {
            Poll::Ready(match session.poll_next(cx, (&small, &large)) {
                Poll::Ready(next) => Some(next),
                Poll::Pending => None,
            })
        })
        .await;
        match next {
            Some(Some(Ok(incoming))) => streams.extend(answer(incoming).await),
            Some(Some(Err(_)) | None) => return,
            None => {
                idle += 1;
                tokio::task::yield_now().await;
                while theirs.try_read(&mut taken).is_ok_and(|count| count > 0) {}
            }
        }
    }
}

/// Looks at a request and answers it; its stream may stay.
async fn answer(incoming: Incoming) -> Option<Stream> {
    let bytes = incoming.head.as_ref()?.filled();
    let mut head = RequestHead::default();
    let parsed = head.parse(bytes, &HeadLimits::default());
    // Never cut short: a stream would wait for the rest for ever.
    assert_ne!(parsed, Ok(Progress::Partial), "{}", bytes.escape_ascii());
    if parsed == Ok(Progress::Complete) {
        assert_eq!(head.len, bytes.len(), "{}", bytes.escape_ascii());
        assert!(!breaks(head.target.of(bytes)));
    }
    let mut stream = Stream::H2(Box::new(incoming.stream));
    let reply = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    poll_fn(|cx| {
        // A stream that was reset takes none; one whose window is shut takes it later.
        drop(stream.poll_write_slices(cx, &[IoSlice::new(reply)]));
        let mut room = [0; 256];
        while let Poll::Ready(Ok(1..)) = stream.poll_read_plain(cx, &mut room) {}
        Poll::Ready(())
    })
    .await;
    Some(stream)
}
