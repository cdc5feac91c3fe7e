//! Clients that ask what a shape says.

use super::{Ask, Body, Finish, Got, Protocol, Shape, Until};
use crate::client::Client;
use crate::h2::{Block, Frame, RawClient, code};
use crate::message::End;
use crate::wait::LIMIT;

/// Has a client ask, as many times at once as the shape says.
pub(super) fn ask(protocol: Protocol, address: &str, shape: &Shape) -> Result<Vec<Got>, String> {
    match protocol {
        Protocol::H1 => {
            let mut clients: Vec<Client> =
                (0..shape.times).map(|_| Client::connect(address)).collect();
            for client in &mut clients {
                client.send(head(shape));
            }
            // All of them before any answer: a server may want another one's first.
            for client in clients.iter_mut().filter(|_| !shape.ask.waits) {
                send_body(client, shape);
            }
            let each = clients.iter_mut();
            each.map(|client| over_h1(client, shape)).collect()
        }
        Protocol::H2 => {
            let mut client = RawClient::bare(address);
            client.handshake(&[(crate::h2::setting::ENABLE_PUSH, 0)])?;
            let open = |_| client.open(&block(shape), ends_at_once(&shape.ask));
            let streams: Vec<u32> = (0..shape.times).map(open).collect();
            let each = streams.into_iter();
            each.map(|stream| over_h2(&mut client, stream, shape))
                .collect()
        }
    }
}

fn head(shape: &Shape) -> String {
    let ask = &shape.ask;
    let mut head = format!("{} {} HTTP/1.1\r\nHost: test\r\n", ask.method, shape.path());
    for (name, value) in ask.fields {
        head.push_str(&format!("{name}: {value}\r\n"));
        if *name == "te" {
            head.push_str("Connection: te\r\n");
        }
    }
    if !ask.cookies.is_empty() {
        head.push_str(&format!("Cookie: {}\r\n", ask.cookies.join("; ")));
    }
    if ask.waits {
        head.push_str("Expect: 100-continue\r\n");
    }
    match &ask.body {
        Body::None => {}
        Body::Sized(bytes) => head.push_str(&format!("Content-Length: {}\r\n", bytes.len())),
        Body::Streamed(_) => head.push_str("Transfer-Encoding: chunked\r\n"),
    }
    head.push_str("\r\n");
    head
}

fn send_body(client: &mut Client, shape: &Shape) {
    let ask = &shape.ask;
    let pieces = ask.body.pieces();
    let count = if ask.until == Until::Early {
        1
    } else {
        pieces.len()
    };
    for piece in pieces.iter().take(count) {
        match ask.body {
            Body::Streamed(_) => {
                client.try_send(format!("{:x}\r\n", piece.len()));
                client.try_send(piece);
                client.try_send("\r\n");
            }
            Body::None | Body::Sized(_) => {
                client.try_send(piece);
            }
        }
    }
    if matches!(ask.body, Body::Streamed(_)) && ask.until != Until::Early {
        let mut end = "0\r\n".to_owned();
        for (name, value) in ask.trailers {
            end.push_str(&format!("{name}: {value}\r\n"));
        }
        client.try_send(end + "\r\n");
    }
}

fn over_h1(client: &mut Client, shape: &Shape) -> Result<Got, String> {
    let ask = &shape.ask;
    let told = |end: End| format!("no response: {end:?}");
    if ask.waits {
        let response = client.try_response_head().map_err(told)?;
        if response.status != 100 {
            return Err(format!("{} instead of 100", response.status));
        }
        send_body(client, shape);
    }
    let mut interim = Vec::new();
    let mut response = loop {
        let head = client.try_response_head().map_err(told)?;
        match head.status {
            100 => {}
            101..=199 => interim.push((head.status, head.headers)),
            _ => break head,
        }
    };
    if ask.until == Until::Enough {
        // Where a chunk begins the rest of it is not far.
        client.try_take(1).ok_or("nothing of the body")?;
        // A FIN would say no more than that the client has nothing more to ask.
        client.stream().reset_on_close();
    } else {
        client.response_body(ask.method, &mut response);
    }
    Ok(Got { interim, response })
}

fn ends_at_once(ask: &Ask) -> bool {
    ask.body == Body::None && ask.trailers.is_empty()
}

fn block(shape: &Shape) -> Block {
    let ask = &shape.ask;
    let mut block = Block::request(ask.method, &shape.path());
    for (name, value) in ask.fields {
        block = block.field(name, value);
    }
    for cookie in ask.cookies {
        block = block.field("cookie", cookie);
    }
    if ask.waits {
        block = block.field("expect", "100-continue");
    }
    match &ask.body {
        Body::Sized(bytes) => block.field("content-length", bytes.len().to_string()),
        Body::None | Body::Streamed(_) => block,
    }
}

fn over_h2(client: &mut RawClient, stream: u32, shape: &Shape) -> Result<Got, String> {
    let ask = &shape.ask;
    if ask.waits && !client.wait(LIMIT, |c| !c.answer(stream).interim.is_empty()) {
        return Err(client.state("100 Continue"));
    }
    let pieces = ask.body.pieces();
    let count = if ask.until == Until::Early {
        1
    } else {
        pieces.len()
    };
    for (at, piece) in pieces.iter().take(count).enumerate() {
        let last = at + 1 == pieces.len() && ask.trailers.is_empty();
        if !client.body(stream, piece, last) {
            break;
        }
    }
    if !ask.trailers.is_empty() {
        let trailers = Block::of(ask.trailers);
        client.send(&Frame::headers(stream, trailers, true));
    }
    if ask.until == Until::Enough {
        if !client.wait(LIMIT, |c| !c.answer(stream).body.is_empty()) {
            return Err(client.state("the first of the body"));
        }
        client.send(&Frame::reset(stream, code::CANCEL));
    } else {
        client.wait(LIMIT, |c| c.answer(stream).is_over());
    }
    let answer = client.answer(stream);
    if let Some(words) = answer.broken {
        return Err(format!("the response has {words}"));
    }
    if answer.head.is_none() && shape.tell.finish == Finish::Well {
        return Err(client.state("a response"));
    }
    let interim = answer.interim.iter().filter_map(|fields| {
        let status: u16 = fields.all(":status").concat().parse().ok()?;
        (status != 100).then(|| (status, fields.clone()))
    });
    Ok(Got {
        interim: interim.collect(),
        response: answer.response(),
    })
}
