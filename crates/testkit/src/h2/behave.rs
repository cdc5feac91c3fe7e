//! Ready-made scripts for servers that speak HTTP/2 with prior knowledge.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::frame::{code, setting};
use super::peer::{Peer, Play};
use super::reply::{Last, Reply};
use crate::behave::Script;
use crate::message::Request;
use crate::server::Conn;

/// Replies as told to each request, which the server counts from 0 over all its connections.
pub fn replies(
    play: Play,
    choose: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static,
) -> impl Script {
    let count = AtomicUsize::new(0);
    move |conn: Conn| {
        let Some(mut peer) = Peer::accept(conn, play.clone()) else {
            return;
        };
        while let Some((stream, request)) = peer.head() {
            let reply = choose(count.fetch_add(1, Ordering::SeqCst), &request);
            if !peer.play(stream, &reply) {
                return;
            }
        }
    }
}

/// Replies to every request alike.
#[must_use]
pub fn answer(reply: Reply) -> impl Script {
    replies(Play::default(), move |_, _| reply.clone())
}

/// 200 with a body.
#[must_use]
pub fn ok(body: &str) -> impl Script + use<> {
    answer(Reply::ok(body))
}

/// 200 with the request's body.
#[must_use]
pub fn echo_body() -> impl Script {
    answer(Reply::echo())
}

/// Takes requests and says nothing about them.
#[must_use]
pub fn never_answer() -> impl Script {
    answer(Reply::new())
}

/// Refuses the first requests with REFUSED_STREAM, then replies.
#[must_use]
pub fn refuse(times: usize, then: Reply) -> impl Script {
    replies(Play::default(), move |count, _| {
        if count < times {
            Reply::new().reset(code::REFUSED_STREAM)
        } else {
            then.clone()
        }
    })
}

/// Replies to `count` requests, and answers the next one with GOAWAY and the end of the connection;
/// `last` says whether that request may be sent again. Each connection begins anew.
#[must_use]
pub fn goaway_after(count: usize, last: Last, code: u32, body: &str) -> impl Script + use<> {
    let body = body.to_owned();
    move |conn: Conn| {
        let Some(mut peer) = Peer::accept(conn, Play::default()) else {
            return;
        };
        for _ in 0..count {
            let Some((stream, _)) = peer.head() else {
                return;
            };
            if !peer.play(stream, &Reply::ok(body.clone())) {
                return;
            }
        }
        if let Some((stream, _)) = peer.head() {
            peer.play(stream, &Reply::new().goaway(last, code).close());
            // What still comes is read, so that the end does not become a reset.
            while peer.head().is_some() {}
        }
    }
}

/// Lets clients have this many requests at a time; more are refused and noted as `too many`.
#[must_use]
pub fn at_most(streams: u32, reply: Reply) -> impl Script {
    let play = Play::default().with(setting::MAX_CONCURRENT_STREAMS, streams);
    replies(play, move |_, _| reply.clone())
}

/// Lets clients send this many bytes of a body at a time.
#[must_use]
pub fn window(bytes: u32, reply: Reply) -> impl Script {
    let play = Play::default().with(setting::INITIAL_WINDOW_SIZE, bytes);
    replies(play, move |_, _| reply.clone())
}

/// Takes one window's worth of a body and never more.
#[must_use]
pub fn never_reads(bytes: u32) -> impl Script {
    let mut play = Play::default().with(setting::INITIAL_WINDOW_SIZE, bytes);
    play.replenish = false;
    replies(play, |_, _| Reply::new())
}

/// Waits until this many requests are there at once, and answers the newest first.
#[must_use]
pub fn together(count: usize, body: &str) -> impl Script + use<> {
    let body = body.to_owned();
    move |conn: Conn| {
        let Some(mut peer) = Peer::accept(conn, Play::default()) else {
            return;
        };
        loop {
            let mut streams = Vec::new();
            while streams.len() < count {
                let Some((stream, _)) = peer.head() else {
                    return;
                };
                streams.push(stream);
            }
            for stream in streams.into_iter().rev() {
                if !peer.play(stream, &Reply::ok(body.clone())) {
                    return;
                }
            }
        }
    }
}

/// Accepts the connection and never says a word, not even SETTINGS.
#[must_use]
pub fn silent() -> impl Script {
    crate::behave::never_answer()
}

/// A server that knows HTTP/1 only: it refuses the preface as a bad request and closes.
#[must_use]
pub fn http1_only() -> impl Script {
    |mut conn: Conn| {
        if conn.take_through(b"\r\n\r\n").is_some() {
            conn.send("HTTP/1.1 505 Version Not Supported\r\nContent-Length: 0\r\n\r\n");
            conn.half_close();
            conn.drain();
        }
    }
}
