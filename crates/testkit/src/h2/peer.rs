//! A connection of HTTP/2 from the server's point of view.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::frame::{Frame, PREFACE, code, setting};
use super::hpack::Block;
use super::link::{Bytes, Link, Message, Socket, Stop};
use super::reply::{Last, Reply, Step};
use super::windows::Windows;
use crate::message::{End, Fields, Request};
use crate::server::Conn;
use crate::wait::LIMIT;

/// How a scripted server treats its connections.
#[derive(Clone, Debug)]
pub struct Play {
    /// Its settings.
    pub settings: Vec<(u16, u32)>,
    /// Opens windows again as data comes.
    pub replenish: bool,
    /// Refuses streams above its own SETTINGS_MAX_CONCURRENT_STREAMS, and notes `too many`.
    pub strict: bool,
}

impl Default for Play {
    fn default() -> Self {
        Self {
            settings: Vec::new(),
            replenish: true,
            strict: true,
        }
    }
}

impl Play {
    /// With a setting.
    #[must_use]
    pub fn with(mut self, id: u16, value: u32) -> Self {
        self.settings.push((id, value));
        self
    }

    fn limit(&self) -> Option<usize> {
        let settings = self.settings.iter();
        let mut limits = settings.filter(|(id, _)| *id == setting::MAX_CONCURRENT_STREAMS);
        let (_, limit) = limits.next_back()?;
        usize::try_from(*limit).ok()
    }
}

/// A connection of a scripted server that speaks HTTP/2 without TLS, from the preface on.
///
/// Requests stand in [`crate::Server::seen`] with the version `HTTP/2`, their pseudo-header fields
/// among the others. A client's RST_STREAM is noted as `reset CANCEL` or the like, its GOAWAY as
/// `goaway NO_ERROR`.
#[derive(Debug)]
pub struct Peer {
    link: Link,
    conn: Conn,
    play: Play,
    windows: Windows,
    streams: BTreeMap<u32, Request>,
    /// Streams that neither side is done with.
    open: BTreeSet<u32>,
    came: VecDeque<u32>,
}

impl Peer {
    /// Takes the preface and sends settings; `None` when the client says something else.
    #[must_use]
    pub fn accept(conn: Conn, play: Play) -> Option<Self> {
        let socket = Socket(conn.shared());
        Self::accept_over(Box::new(socket), conn, play)
    }

    /// As [`Peer::accept`], over what lies on top of the connection, such as TLS.
    #[must_use]
    pub fn accept_over(bytes: Box<dyn Bytes>, conn: Conn, play: Play) -> Option<Self> {
        let mut link = Link::over(bytes);
        link.send(&Frame::settings(&play.settings));
        let preface = link.exact(PREFACE.len(), LIMIT).ok()?;
        if preface != PREFACE {
            conn.note("no preface");
            conn.record(&preface);
            return None;
        }
        Some(Self {
            link,
            conn,
            play,
            windows: Windows::default(),
            streams: BTreeMap::new(),
            open: BTreeSet::new(),
            came: VecDeque::new(),
        })
    }

    /// The connection, for its number and for notes.
    #[must_use]
    pub fn conn(&self) -> &Conn {
        &self.conn
    }

    /// The frames' side.
    pub fn link(&mut self) -> &mut Link {
        &mut self.link
    }

    /// The next request whose head came, with its stream; `None` when the connection is over.
    pub fn head(&mut self) -> Option<(u32, Request)> {
        loop {
            if let Some(stream) = self.came.pop_front() {
                return Some((stream, self.streams.get(&stream)?.clone()));
            }
            self.take()?;
        }
    }

    /// The request on a stream when all of it came, or when it was given up ([`End::Reset`]).
    pub fn whole(&mut self, stream: u32) -> Option<Request> {
        loop {
            let request = self.streams.get(&stream)?;
            if request.end != End::Truncated {
                return Some(request.clone());
            }
            self.take()?;
        }
    }

    /// Does what a reply says; false when the connection is over.
    pub fn play(&mut self, stream: u32, reply: &Reply) -> bool {
        let done = reply.0.iter().all(|step| self.step(stream, step));
        if done && self.is_done(stream, reply) {
            self.open.remove(&stream);
        }
        done
    }

    fn is_done(&self, stream: u32, reply: &Reply) -> bool {
        let ended = reply.0.iter().any(|step| {
            matches!(
                step,
                Step::Head(_, _, true)
                    | Step::Data(_, true)
                    | Step::Echo
                    | Step::Trailers(_)
                    | Step::Reset(_)
            )
        });
        let request = self.streams.get(&stream);
        ended && request.is_none_or(|r| r.end != End::Truncated)
    }

    fn step(&mut self, stream: u32, step: &Step) -> bool {
        match step {
            Step::Head(status, fields, end) => {
                let block = Block::new().field(":status", status.to_string());
                self.block(stream, block, fields, *end)
            }
            Step::Trailers(fields) => self.block(stream, Block::new(), fields, true),
            Step::Data(bytes, end) => self.data(stream, bytes, *end),
            Step::Echo => match self.whole(stream) {
                Some(request) => self.data(stream, &request.body, true),
                None => false,
            },
            Step::Whole => self.whole(stream).is_some(),
            Step::Endless(bytes, pause) => {
                while !self.is_given_up(stream) && self.data(stream, bytes, false) {
                    if !self.take_for(*pause) {
                        break;
                    }
                }
                self.conn.note("gone");
                self.is_given_up(stream)
            }
            Step::Gone => {
                while !self.is_given_up(stream) && self.take().is_some() {}
                self.conn.note("gone");
                self.is_given_up(stream)
            }
            Step::Wait(gate) => {
                gate.wait();
                true
            }
            Step::Reset(code) => self.link.send(&Frame::reset(stream, *code)),
            Step::GoAway(last, code) => {
                let last = match last {
                    Last::This => stream,
                    Last::Before => stream.saturating_sub(2),
                    Last::Is(last) => *last,
                };
                self.link.send(&Frame::goaway(last, *code, b"as scripted"))
            }
            Step::Raw(bytes) => self.link.raw(bytes),
            Step::Note(words) => {
                self.conn.note(words);
                true
            }
            Step::Close => {
                self.link.end();
                false
            }
            Step::Abort => {
                self.link.reset_on_close();
                false
            }
        }
    }

    fn block(&mut self, stream: u32, start: Block, fields: &[(String, String)], end: bool) -> bool {
        let block = fields
            .iter()
            .fold(start, |block, (name, value)| block.field(name, value));
        let frames = Frame::header_frames(stream, &block.0, end, 16_384);
        frames.iter().all(|frame| self.link.send(frame))
    }

    /// Sends a body as windows allow; a stream that was given up is no failure.
    fn data(&mut self, stream: u32, body: &[u8], end: bool) -> bool {
        let mut rest = body;
        while !rest.is_empty() {
            if self.is_given_up(stream) {
                return true;
            }
            let room = self.windows.room(stream).min(16_384).min(rest.len());
            if room == 0 {
                if self.take().is_none() {
                    return false;
                }
                continue;
            }
            let (now, later) = rest.split_at(room);
            rest = later;
            self.windows.spend(stream, room);
            let last = end && rest.is_empty();
            if !self.link.send(&Frame::data(stream, now, last)) {
                return false;
            }
        }
        !(end && body.is_empty()) || self.link.send(&Frame::data(stream, [], true))
    }

    fn is_given_up(&self, stream: u32) -> bool {
        self.streams.get(&stream).map(|r| &r.end) == Some(&End::Reset)
    }

    /// Takes what comes within a time; false when the connection is over.
    fn take_for(&mut self, time: Duration) -> bool {
        loop {
            match self.link.message(time) {
                Ok(message) => self.obey(message),
                Err(Stop::Silent) => return true,
                Err(_) => return false,
            }
        }
    }

    /// Takes the next message; `None` when the connection is over.
    fn take(&mut self) -> Option<()> {
        let message = self.link.message(LIMIT).ok()?;
        self.obey(message);
        Some(())
    }

    fn obey(&mut self, message: Message) {
        match message {
            Message::Headers {
                stream,
                fields,
                end,
            } => self.headers(stream, fields, end),
            Message::Data {
                stream,
                bytes,
                taken,
                end,
            } => self.body(stream, &bytes, taken, end),
            Message::Reset { stream, code } => {
                self.conn.note(&format!("reset {}", code::name(code)));
                self.finish(stream, End::Reset);
                self.open.remove(&stream);
            }
            Message::Settings(values) => {
                for (id, value) in values {
                    if id == setting::INITIAL_WINDOW_SIZE {
                        self.windows.resize(value);
                    }
                }
                self.link.send(&Frame::settings_ack());
            }
            Message::Ping(opaque) => {
                self.link.send(&Frame::pong(opaque));
            }
            Message::GoAway { code, .. } => {
                self.conn.note(&format!("goaway {}", code::name(code)));
            }
            Message::Window { stream, increment } => self.windows.grow(stream, increment),
            Message::SettingsAck | Message::Pong(_) | Message::Other(_) => {}
        }
    }

    fn headers(&mut self, stream: u32, fields: Fields, end: bool) {
        if let Some(request) = self.streams.get_mut(&stream) {
            request.trailers = fields;
            self.finish(stream, End::Complete);
            return;
        }
        if self.play.strict
            && self
                .play
                .limit()
                .is_some_and(|most| self.open.len() >= most)
        {
            self.conn.note("too many");
            self.link.send(&Frame::reset(stream, code::REFUSED_STREAM));
            return;
        }
        let request = self.request(stream, fields);
        self.conn.log_request(&request);
        self.windows.start(stream);
        self.streams.insert(stream, request);
        self.open.insert(stream);
        self.came.push_back(stream);
        if end {
            self.finish(stream, End::Complete);
        }
    }

    fn request(&self, stream: u32, headers: Fields) -> Request {
        let mut head = format!("stream {stream}\r\n");
        for (name, value) in &headers.0 {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let text = |name| headers.all(name).concat();
        Request {
            method: text(":method"),
            target: text(":path"),
            version: "HTTP/2".to_owned(),
            head: head.into_bytes(),
            headers,
            body: Vec::new(),
            trailers: Fields::default(),
            end: End::Truncated,
            connection: self.conn.number,
        }
    }

    fn body(&mut self, stream: u32, bytes: &[u8], taken: usize, end: bool) {
        if let Some(request) = self.streams.get_mut(&stream) {
            request.body.extend_from_slice(bytes);
        }
        let taken = u32::try_from(taken).unwrap_or(0);
        if self.play.replenish && taken > 0 {
            self.link.send(&Frame::window(0, taken));
            if !end {
                self.link.send(&Frame::window(stream, taken));
            }
        }
        if end {
            self.finish(stream, End::Complete);
        }
    }

    fn finish(&mut self, stream: u32, end: End) {
        if let Some(request) = self.streams.get_mut(&stream) {
            request.end = end;
            self.conn.log_request(request);
        }
    }
}
