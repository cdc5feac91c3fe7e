//! Exchanges described once, to be played over any pair of protocols.
//!
//! A [`Shape`] says what the client asks and what the server tells, in words that HTTP/1 and HTTP/2
//! share. [`play`] has a client of one protocol and a server of another go through all of them, with
//! whatever is between the two, and says what did not arrive as it was sent.

mod client;
mod list;
mod server;

use crate::message::{End, Fields, Request, Response};
use crate::server::Server;

pub use list::all;

/// A version of HTTP that a side speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    H1,
    /// HTTP/2 with prior knowledge.
    H2,
}

/// Fields as shapes name them.
pub type Pairs = &'static [(&'static str, &'static str)];

/// A body on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// None, and nothing that announces one.
    None,
    /// One whose length is announced.
    Sized(Vec<u8>),
    /// Pieces whose end nobody knows before it comes.
    Streamed(Vec<Vec<u8>>),
}

impl Body {
    /// All of it.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Self::None => Vec::new(),
            Self::Sized(bytes) => bytes.clone(),
            Self::Streamed(pieces) => pieces.concat(),
        }
    }

    /// The pieces it is sent in.
    fn pieces(&self) -> Vec<&[u8]> {
        match self {
            Self::None => Vec::new(),
            Self::Sized(bytes) => vec![bytes],
            Self::Streamed(pieces) => pieces.iter().map(Vec::as_slice).collect(),
        }
    }
}

/// How far a client goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Sends all and reads all.
    End,
    /// Sends the first piece of its body and then reads a whole response.
    Early,
    /// Gives up when the first bytes of the response's body are there.
    Enough,
}

/// What the client asks.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Method.
    pub method: &'static str,
    /// Fields besides those of framing.
    pub fields: Pairs,
    /// Cookies, which HTTP/2 sends as a field each.
    pub cookies: &'static [&'static str],
    /// Body.
    pub body: Body,
    /// Trailers; the body is a streamed one then.
    pub trailers: Pairs,
    /// Sends the body only after `100 Continue`.
    pub waits: bool,
    /// How far it goes.
    pub until: Until,
}

/// How a server ends a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// As it should.
    Well,
    /// Closes its connection in the middle of the body.
    Cut,
    /// Sends more and more until the client gives up, which it notes as `gone`.
    Endless,
    /// Sends no more and waits until the client gives up, which it notes as `gone`.
    Held,
}

/// What the server tells.
#[derive(Clone, Debug)]
pub struct Tell {
    /// 1xx responses before the real one.
    pub interim: &'static [(u16, Pairs)],
    /// Status.
    pub status: u16,
    /// Fields besides those of framing.
    pub fields: Pairs,
    /// Body. Where there is none to be sent, as for HEAD, what it would have been.
    pub body: Body,
    /// Trailers; the body is a streamed one then.
    pub trailers: Pairs,
    /// Answers without reading the request's body.
    pub early: bool,
    /// How it ends.
    pub finish: Finish,
}

/// One exchange.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Its name, which is the path of its request without the slash.
    pub name: &'static str,
    /// What the client asks.
    pub ask: Ask,
    /// What the server tells.
    pub tell: Tell,
    /// How many of it at a time.
    pub times: usize,
    /// Clients of which protocols can do it.
    pub clients: &'static [Protocol],
}

impl Shape {
    fn path(&self) -> String {
        format!("/{}", self.name)
    }

    /// Whether the client gives up before the response is over.
    fn is_given_up(&self) -> bool {
        matches!(self.tell.finish, Finish::Endless | Finish::Held)
    }

    fn is_bodiless(&self) -> bool {
        self.ask.method == "HEAD" || matches!(self.tell.status, 204 | 304)
    }
}

/// What a client got.
#[derive(Clone, Debug)]
pub struct Got {
    /// Heads of 1xx responses, without `100 Continue`.
    pub interim: Vec<(u16, Fields)>,
    /// The response.
    pub response: Response,
}

/// Plays all shapes, each against a server of its own: `between` takes the server's address and
/// gives the one to connect to, and with it what has to live meanwhile.
///
/// # Errors
/// All that did not arrive as it was sent, one line each.
pub fn play<G>(
    client: Protocol,
    server: Protocol,
    mut between: impl FnMut(&str) -> (String, G),
) -> Result<(), String> {
    let mut wrong = String::new();
    let shapes = all().into_iter();
    for shape in shapes.filter(|shape| shape.clients.contains(&client)) {
        let origin = server::start(server, &shape);
        let (address, guard) = between(origin.address());
        let outcome = client::ask(client, &address, &shape)
            .and_then(|got| compare(&shape, &got))
            .and_then(|()| arrived(&shape, &origin));
        if let Err(words) = outcome {
            wrong.push_str(&format!(
                "{client:?} to {server:?}, {}: {words}\n",
                shape.name
            ));
        }
        drop(guard);
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong) }
}

fn ensure(holds: bool, words: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(words()) }
}

/// Whether a client got what the server told.
fn compare(shape: &Shape, all: &[Got]) -> Result<(), String> {
    let tell = &shape.tell;
    for got in all {
        let response = &got.response;
        ensure(response.status == tell.status, || {
            format!("status {} instead of {}", response.status, tell.status)
        })?;
        contains(&response.headers, tell.fields, "the response")?;
        let statuses: Vec<u16> = got.interim.iter().map(|(status, _)| *status).collect();
        let expected: Vec<u16> = tell.interim.iter().map(|(status, _)| *status).collect();
        ensure(statuses == expected, || format!("1xx {statuses:?}"))?;
        for ((_, came), (_, sent)) in got.interim.iter().zip(tell.interim) {
            contains(came, sent, "a 1xx response")?;
        }
        let whole = matches!(response.end, End::Complete);
        if tell.finish == Finish::Cut {
            ensure(!whole, || "a cut response looks whole".to_owned())?;
            continue;
        }
        if shape.is_given_up() {
            continue;
        }
        ensure(whole, || format!("the response ended {:?}", response.end))?;
        let body = if shape.is_bodiless() {
            Vec::new()
        } else {
            tell.body.bytes()
        };
        ensure(response.body == body, || {
            format!("{} bytes of body, {} sent", response.body.len(), body.len())
        })?;
        contains(&response.trailers, tell.trailers, "the response's trailers")?;
        if let (true, Body::Sized(bytes)) = (shape.ask.method == "HEAD", &tell.body) {
            let length = response.headers.all("content-length").concat();
            let expected = bytes.len().to_string();
            ensure(length == expected, || format!("content-length {length:?}"))?;
        }
    }
    Ok(())
}

/// Whether the server got what the client asked.
fn arrived(shape: &Shape, server: &Server) -> Result<(), String> {
    let ask = &shape.ask;
    if shape.is_given_up() {
        server.wait_note("gone");
        return Ok(());
    }
    let seen = server.seen();
    ensure(seen.len() == shape.times, || {
        format!("{} requests at the server", seen.len())
    })?;
    for request in &seen {
        let line = (request.method.as_str(), request.target.clone());
        let expected = (ask.method, shape.path());
        ensure(line == expected, || format!("{line:?} at the server"))?;
        ensure(host(request) == "test", || {
            format!("host {:?}", host(request))
        })?;
        contains(&request.headers, ask.fields, "the request")?;
        let cookies = request.headers.all("cookie").join("; ");
        let expected = ask.cookies.join("; ");
        ensure(cookies == expected, || format!("cookies {cookies:?}"))?;
        if ask.until != Until::End {
            continue;
        }
        ensure(request.end == End::Complete, || {
            format!("the request ended {:?}", request.end)
        })?;
        let body = ask.body.bytes();
        ensure(request.body == body, || {
            format!(
                "{} bytes at the server, {} sent",
                request.body.len(),
                body.len()
            )
        })?;
        contains(&request.trailers, ask.trailers, "the request's trailers")?;
    }
    Ok(())
}

/// The host of a request, wherever the protocol puts it.
fn host(request: &Request) -> String {
    let authority = request.headers.all(":authority");
    let host = request.headers.all("host");
    authority
        .first()
        .or_else(|| host.first())
        .copied()
        .unwrap_or_default()
        .to_owned()
}

fn contains(fields: &Fields, expected: Pairs, place: &str) -> Result<(), String> {
    for (name, value) in expected {
        let found = fields.all(name);
        ensure(found == [*value], || {
            format!("{name} is {found:?} in {place}")
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::behave;

    #[test]
    fn all_shapes_arrive_with_nothing_between() {
        for protocol in [Protocol::H1, Protocol::H2] {
            let outcome = play(protocol, protocol, |address| (address.to_owned(), ()));
            assert_eq!(outcome, Ok(()));
        }
    }

    #[test]
    fn what_does_not_arrive_is_told() {
        let outcome = play(Protocol::H1, Protocol::H1, |_| {
            let other = Server::script(behave::answer_early(behave::response(500, "")));
            (other.address().to_owned(), other)
        });
        let told = outcome.unwrap_err().lines().count();
        let shapes = all().into_iter();
        let count = shapes.filter(|s| s.clients.contains(&Protocol::H1)).count();
        assert_eq!(told, count);
    }
}
