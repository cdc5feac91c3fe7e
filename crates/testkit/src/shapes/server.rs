//! Servers that tell what a shape says.

use std::time::Duration;

use super::{Body, Finish, Protocol, Shape, Tell};
use crate::h2::{Play, Reply, Step, behave};
use crate::message::Request;
use crate::server::{Conn, Server};

/// Between two pieces of what does not end.
const PAUSE: Duration = Duration::from_millis(10);

/// A server for the requests of one shape.
pub(super) fn start(protocol: Protocol, shape: &Shape) -> Server {
    let shape = shape.clone();
    match protocol {
        Protocol::H1 => Server::script(move |conn| over_h1(conn, &shape)),
        Protocol::H2 => Server::script(behave::replies(Play::default(), move |_, request| {
            reply(request, &shape)
        })),
    }
}

fn over_h1(mut conn: Conn, shape: &Shape) {
    while let Some(mut request) = conn.request_head() {
        if shape.tell.early {
            conn.send(head(&shape.tell));
            conn.send(shape.tell.body.bytes());
            conn.half_close();
            conn.drain();
            return;
        }
        if request.headers.lists("expect", "100-continue") {
            conn.send("HTTP/1.1 100 Continue\r\n\r\n");
        }
        conn.request_body(&mut request);
        for (status, fields) in shape.tell.interim {
            conn.send(lines(format!("HTTP/1.1 {status} Interim\r\n"), fields) + "\r\n");
        }
        conn.send(head(&shape.tell));
        if !shape.is_bodiless() && !body(&mut conn, &shape.tell) {
            return;
        }
    }
}

fn lines(mut head: String, fields: super::Pairs) -> String {
    for (name, value) in fields {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head
}

fn head(tell: &Tell) -> String {
    let mut head = lines(
        format!("HTTP/1.1 {} Scripted\r\n", tell.status),
        tell.fields,
    );
    match &tell.body {
        Body::Sized(bytes) => head.push_str(&format!("Content-Length: {}\r\n", bytes.len())),
        Body::Streamed(_) => head.push_str("Transfer-Encoding: chunked\r\n"),
        Body::None if matches!(tell.status, 204 | 304) => {}
        Body::None => head.push_str("Content-Length: 0\r\n"),
    }
    head + "\r\n"
}

/// Sends a body; false when the connection is over after it.
fn body(conn: &mut Conn, tell: &Tell) -> bool {
    match &tell.body {
        Body::None => {}
        Body::Sized(bytes) => {
            let count = if tell.finish == Finish::Cut {
                bytes.len() / 2
            } else {
                bytes.len()
            };
            conn.send(bytes.get(..count).unwrap_or_default());
        }
        Body::Streamed(pieces) => {
            for piece in pieces {
                conn.send(format!("{:x}\r\n", piece.len()));
                conn.send(piece);
                conn.send("\r\n");
            }
            if tell.finish == Finish::Well {
                conn.send(lines("0\r\n".to_owned(), tell.trailers) + "\r\n");
            }
        }
    }
    match tell.finish {
        Finish::Well => true,
        Finish::Cut => false,
        Finish::Endless => {
            while conn.send("4\r\nmore\r\n") {
                crate::wait::elapse(PAUSE);
            }
            conn.note("gone");
            false
        }
        Finish::Held => {
            conn.drain();
            conn.note("gone");
            false
        }
    }
}

fn reply(request: &Request, shape: &Shape) -> Reply {
    let tell = &shape.tell;
    let mut reply = Reply::new();
    if !tell.early {
        if request.headers.lists("expect", "100-continue") {
            reply = reply.head(100, &[]);
        }
        reply = reply.whole();
    }
    for (status, fields) in tell.interim {
        reply = reply.head(*status, fields);
    }
    let mut fields = tell.fields.to_vec();
    let length = tell.body.bytes().len().to_string();
    if matches!(tell.body, Body::Sized(_)) {
        fields.push(("content-length", &length));
    }
    if shape.is_bodiless() || tell.body == Body::None {
        return reply.only(tell.status, &fields);
    }
    reply = reply.head(tell.status, &fields);
    let whole = tell.finish == Finish::Well;
    let pieces = tell.body.pieces();
    for (at, piece) in pieces.iter().enumerate() {
        let last = whole && at + 1 == pieces.len() && tell.trailers.is_empty();
        let cut = matches!(tell.body, Body::Sized(_)) && tell.finish == Finish::Cut;
        let count = if cut { piece.len() / 2 } else { piece.len() };
        let sent = piece.get(..count).unwrap_or_default();
        reply = reply.step(Step::Data(sent.to_vec(), last));
    }
    match tell.finish {
        Finish::Well if tell.trailers.is_empty() => reply,
        Finish::Well => reply.trailers(tell.trailers),
        Finish::Cut => reply.close(),
        Finish::Endless => reply.step(Step::Endless(b"more".to_vec(), PAUSE)),
        Finish::Held => reply.step(Step::Gone),
    }
}
