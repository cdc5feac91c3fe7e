//! A client of which every frame can be chosen.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::frame::{Frame, PREFACE, code, setting};
use super::hpack::Block;
use super::link::{Bytes, Link, Message, Socket, Stop};
use super::windows::Windows;
use crate::message::{End, Fields, Response};
use crate::stream::Stream;
use crate::wait::{LIMIT, now};

/// What came on a stream.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// Heads of 1xx responses.
    pub interim: Vec<Fields>,
    /// The head of the final response.
    pub head: Option<Fields>,
    /// The body so far.
    pub body: Vec<u8>,
    /// The trailers.
    pub trailers: Option<Fields>,
    /// END_STREAM came.
    pub ended: bool,
    /// The code of RST_STREAM, if one came.
    pub reset: Option<u32>,
    /// Frames of every kind that came on the stream.
    pub frames: usize,
    /// What came that a response must not do; in words.
    pub broken: Option<String>,
}

impl Answer {
    /// The final status.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.head.as_ref()?.get(":status")?.parse().ok()
    }

    /// Whether nothing more may come.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.ended || self.reset.is_some()
    }

    fn headers(&mut self, fields: Fields, end: bool) {
        if let Some(wrong) = wrong_with(&fields, self.head.is_some()) {
            self.broken.get_or_insert(wrong);
        }
        let status = fields.all(":status").concat();
        if self.head.is_some() {
            self.trailers = Some(fields);
        } else if status.starts_with('1') {
            self.interim.push(fields);
        } else {
            self.head = Some(fields);
        }
        self.ended |= end;
    }

    /// As the response that an HTTP/1 client would have read.
    #[must_use]
    pub fn response(&self) -> Response {
        let fields = self.head.clone().unwrap_or_default();
        let regular = fields.0.into_iter().filter(|(n, _)| !n.starts_with(':'));
        Response {
            version: "HTTP/2".to_owned(),
            status: self.status().unwrap_or(0),
            reason: String::new(),
            headers: Fields(regular.collect()),
            head: Vec::new(),
            body: self.body.clone(),
            trailers: self.trailers.clone().unwrap_or_default(),
            end: match self.reset {
                _ if self.ended => End::Complete,
                Some(_) => End::Reset,
                None => End::Truncated,
            },
        }
    }
}

/// What a response's block breaks of RFC 9113 section 8.2 and 8.3.
fn wrong_with(fields: &Fields, trailers: bool) -> Option<String> {
    let mut regular = false;
    for (name, value) in &fields.0 {
        let pseudo = name.starts_with(':');
        if pseudo && (regular || trailers || name != ":status") {
            return Some(format!("the field {name} where it must not be"));
        }
        regular |= !pseudo;
        let specific = [
            "connection",
            "keep-alive",
            "proxy-connection",
            "transfer-encoding",
            "upgrade",
        ];
        if specific.contains(&name.as_str()) {
            return Some(format!("the field {name}, which belongs to a connection"));
        }
        if name.bytes().any(|b| b.is_ascii_uppercase()) || name.is_empty() {
            return Some(format!("the name {name:?}"));
        }
        if value.contains(['\r', '\n', '\0']) || value.trim() != value {
            return Some(format!("the value {value:?} of {name}"));
        }
    }
    let count = fields.all(":status").len();
    (!trailers && count != 1).then(|| format!("{count} :status fields"))
}

/// A GOAWAY frame that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoAway {
    /// Highest stream that may have been worked on.
    pub last: u32,
    /// Why.
    pub code: u32,
    /// Words for people.
    pub debug: String,
}

/// A scripted client on one connection.
///
/// It keeps what came, stream by stream. Unless told otherwise it acknowledges SETTINGS, answers
/// PING and opens windows again as data comes. `expect_…` and `get` panic when it is otherwise.
#[derive(Debug)]
pub struct RawClient {
    link: Link,
    next: u32,
    /// What came on each stream.
    pub answers: BTreeMap<u32, Answer>,
    /// GOAWAY frames that came.
    pub goaways: Vec<GoAway>,
    /// Why nothing more comes.
    pub stopped: Option<Stop>,
    /// The server's settings; `None` until its first SETTINGS came.
    pub settings: Option<BTreeMap<u16, u32>>,
    /// SETTINGS frames of ours that were acknowledged.
    pub acknowledged: usize,
    /// Answers to PING.
    pub pongs: Vec<[u8; 8]>,
    /// The kinds of frames in the order in which they came, as words.
    pub log: Vec<String>,
    /// Streams whose window is not opened again, 0 for the connection.
    pub held: BTreeSet<u32>,
    windows: Windows,
    /// Opens windows again as data comes.
    pub replenish: bool,
    /// Answers SETTINGS with ACK.
    pub acknowledge: bool,
    pings: u64,
}

/// Settings that a client without wishes sends: it takes no pushes.
pub(crate) const PLAIN: &[(u16, u32)] = &[(setting::ENABLE_PUSH, 0)];

impl RawClient {
    /// Connects and sends nothing.
    ///
    /// # Panics
    /// When the connection is refused.
    #[must_use]
    pub fn bare(address: &str) -> Self {
        let stream = Stream::connect(address)
            .unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"));
        Self::over(Box::new(Socket(Arc::new(stream))))
    }

    /// A client over any stream of bytes, which sends nothing yet.
    #[must_use]
    pub fn over(bytes: Box<dyn Bytes>) -> Self {
        Self {
            link: Link::over(bytes),
            next: 1,
            answers: BTreeMap::new(),
            goaways: Vec::new(),
            stopped: None,
            settings: None,
            acknowledged: 0,
            pongs: Vec::new(),
            log: Vec::new(),
            held: BTreeSet::new(),
            windows: Windows::default(),
            replenish: true,
            acknowledge: true,
            pings: 0,
        }
    }

    /// Connects and exchanges prefaces and settings.
    ///
    /// # Panics
    /// When the server does not.
    #[must_use]
    pub fn connect(address: &str) -> Self {
        Self::connect_with(address, PLAIN)
    }

    /// As [`RawClient::connect`], with settings.
    ///
    /// # Panics
    /// When the server does not.
    #[must_use]
    pub fn connect_with(address: &str, settings: &[(u16, u32)]) -> Self {
        let mut client = Self::bare(address);
        if let Err(words) = client.handshake(settings) {
            panic!("{words}");
        }
        client
    }

    /// Exchanges prefaces and settings; the server's have come and ours are acknowledged.
    ///
    /// # Errors
    /// What the server did instead.
    pub fn handshake(&mut self, settings: &[(u16, u32)]) -> Result<(), String> {
        self.preface(settings);
        self.acknowledged(1)
    }

    /// Sends the preface with SETTINGS and waits for nothing.
    pub fn preface(&mut self, settings: &[(u16, u32)]) {
        let mut bytes = PREFACE.to_vec();
        bytes.extend(Frame::settings(settings).bytes());
        self.raw(&bytes);
    }

    /// Waits until the server's settings came and `count` SETTINGS of ours are acknowledged.
    ///
    /// # Errors
    /// What the server did instead.
    pub fn acknowledged(&mut self, count: usize) -> Result<(), String> {
        let done = self.wait(LIMIT, |c| c.acknowledged >= count && c.settings.is_some());
        if done {
            Ok(())
        } else {
            Err(self.state("an exchange of settings"))
        }
    }

    /// The server's value of a setting, or what holds without one.
    #[must_use]
    pub fn setting(&self, id: u16) -> Option<u32> {
        self.settings.as_ref()?.get(&id).copied()
    }

    /// Writes bytes; false when the server does not take them.
    pub fn raw(&mut self, bytes: &[u8]) -> bool {
        self.link.raw(bytes)
    }

    /// Writes a frame; false when the server does not take it.
    pub fn send(&mut self, frame: &Frame) -> bool {
        self.link.send(frame)
    }

    /// The frames' side, for tables and time-outs.
    pub fn link(&mut self) -> &mut Link {
        &mut self.link
    }

    /// The next stream identifier that was not used yet.
    pub fn stream(&mut self) -> u32 {
        let stream = self.next;
        self.next += 2;
        self.windows.start(stream);
        stream
    }

    /// Has the next stream be this one.
    pub fn skip_to(&mut self, stream: u32) {
        self.next = stream;
    }

    /// Opens a stream with a header block; its identifier.
    pub fn open(&mut self, block: &Block, end: bool) -> u32 {
        let stream = self.stream();
        self.send(&Frame::headers(stream, block.clone(), end));
        stream
    }

    /// Opens a stream with `GET path`.
    pub fn ask(&mut self, path: &str) -> u32 {
        self.open(&Block::request("GET", path), true)
    }

    /// Opens a stream with `POST path` whose body is yet to come.
    pub fn begin(&mut self, path: &str) -> u32 {
        self.open(&Block::request("POST", path), false)
    }

    /// Sends `GET path` and reads the response.
    ///
    /// # Panics
    /// When there is none.
    pub fn get(&mut self, path: &str) -> Response {
        let stream = self.ask(path);
        self.expect_response(stream)
    }

    /// Sends `POST path` with a body and reads the response.
    ///
    /// # Panics
    /// When there is none.
    pub fn post(&mut self, path: &str, body: &[u8]) -> Response {
        let stream = self.begin(path);
        self.body(stream, body, true);
        self.expect_response(stream)
    }

    /// Sends a body as windows allow, and END_STREAM; false when the server takes no more of it.
    pub fn body(&mut self, stream: u32, body: &[u8], end: bool) -> bool {
        let mut rest = body;
        while !rest.is_empty() {
            let room = self.room(stream);
            if room == 0 {
                let more = self.wait(LIMIT, |c| c.room(stream) > 0 || c.has_ended(stream));
                if !more || self.has_ended(stream) {
                    return false;
                }
                continue;
            }
            let (now, later) = rest.split_at(rest.len().min(room).min(16_384));
            rest = later;
            self.windows.spend(stream, now.len());
            if !self.send(&Frame::data(stream, now, end && rest.is_empty())) {
                return false;
            }
        }
        !(end && body.is_empty()) || self.send(&Frame::data(stream, [], true))
    }

    /// Bytes of DATA that the server takes on a stream now.
    #[must_use]
    pub fn room(&self, stream: u32) -> usize {
        self.windows.room(stream)
    }

    fn has_ended(&self, stream: u32) -> bool {
        self.answers.get(&stream).is_some_and(Answer::is_over)
    }

    /// What came on a stream so far.
    #[must_use]
    pub fn answer(&self, stream: u32) -> Answer {
        self.answers.get(&stream).cloned().unwrap_or_default()
    }

    /// Takes what comes until `enough`, the end of the connection or the end of the time; whether
    /// it is enough.
    pub fn wait(&mut self, limit: Duration, mut enough: impl FnMut(&Self) -> bool) -> bool {
        let end = now() + limit;
        loop {
            if enough(self) {
                return true;
            }
            let left = end.saturating_duration_since(now());
            if left.is_zero() || self.stopped.is_some() {
                return false;
            }
            match self.link.message(left) {
                Ok(message) => self.take(message),
                Err(Stop::Silent) => return false,
                Err(stop) => self.stopped = Some(stop),
            }
        }
    }

    fn take(&mut self, message: Message) {
        self.note(&message);
        match message {
            Message::Headers {
                stream,
                fields,
                end,
            } => {
                let answer = self.answers.entry(stream).or_default();
                answer.frames += 1;
                answer.headers(fields, end);
            }
            Message::Data {
                stream,
                bytes,
                taken,
                end,
            } => {
                let answer = self.answers.entry(stream).or_default();
                answer.frames += 1;
                if answer.head.is_none() {
                    answer
                        .broken
                        .get_or_insert_with(|| "DATA before a head".to_owned());
                }
                answer.body.extend_from_slice(&bytes);
                answer.ended |= end;
                self.give_back(stream, taken, end);
            }
            Message::Reset { stream, code } => {
                let answer = self.answers.entry(stream).or_default();
                answer.frames += 1;
                answer.reset.get_or_insert(code);
            }
            Message::Settings(values) => self.learn(&values),
            Message::SettingsAck => self.acknowledged += 1,
            Message::Ping(opaque) => {
                self.send(&Frame::pong(opaque));
            }
            Message::Pong(opaque) => self.pongs.push(opaque),
            Message::GoAway { last, code, debug } => {
                self.goaways.push(GoAway { last, code, debug });
            }
            Message::Window { stream, increment } => {
                self.windows.grow(stream, increment);
            }
            Message::Other(_) => {}
        }
    }

    fn note(&mut self, message: &Message) {
        let words = match message {
            Message::Headers { stream, fields, .. } => {
                let status = fields.all(":status").concat();
                format!("HEADERS {stream} {status}")
            }
            Message::Data { stream, bytes, .. } => format!("DATA {stream} ({})", bytes.len()),
            Message::Reset { stream, code } => format!("RST_STREAM {stream} {}", code::name(*code)),
            Message::GoAway { last, code, .. } => format!("GOAWAY {last} {}", code::name(*code)),
            Message::Settings(_) => "SETTINGS".to_owned(),
            Message::SettingsAck => "SETTINGS ACK".to_owned(),
            Message::Ping(_) => "PING".to_owned(),
            Message::Pong(_) => "PING ACK".to_owned(),
            Message::Window { stream, increment } => format!("WINDOW_UPDATE {stream} {increment}"),
            Message::Other(frame) => format!("{frame:?}"),
        };
        // Only what was last is of interest in a message.
        if self.log.len() >= 64 {
            self.log.remove(0);
        }
        self.log.push(words);
    }

    fn learn(&mut self, values: &[(u16, u32)]) {
        let known = self.settings.get_or_insert_default();
        known.extend(values.iter().copied());
        if let Some(size) = known.get(&setting::INITIAL_WINDOW_SIZE) {
            self.windows.resize(*size);
        }
        if self.acknowledge {
            self.send(&Frame::settings_ack());
        }
    }

    fn give_back(&mut self, stream: u32, taken: usize, end: bool) {
        let count = u32::try_from(taken).unwrap_or(0);
        if !self.replenish || count == 0 {
            return;
        }
        if !self.held.contains(&0) {
            self.send(&Frame::window(0, count));
        }
        if !end && !self.held.contains(&stream) {
            self.send(&Frame::window(stream, count));
        }
    }

    /// Whether the connection still works: a PING is answered within a time.
    pub fn ping_works(&mut self, limit: Duration) -> bool {
        self.pings += 1;
        let opaque = (0x6b69_7400_0000_0000 + self.pings).to_be_bytes();
        self.send(&Frame::ping(opaque)) && self.wait(limit, |c| c.pongs.contains(&opaque))
    }

    /// What came last, for messages.
    #[must_use]
    pub fn state(&self, wanted: &str) -> String {
        let end = match &self.stopped {
            None => "the connection is open".to_owned(),
            Some(stop) => format!("the connection ended: {stop:?}"),
        };
        let from = self.log.len().saturating_sub(8);
        let log = self.log.get(from..).unwrap_or_default();
        format!("wanted {wanted}; came {log:?}; {end}")
    }

    /// Waits for the whole response on a stream.
    ///
    /// # Panics
    /// When there is none.
    pub fn expect_response(&mut self, stream: u32) -> Response {
        let whole = self.wait(LIMIT, |c| c.has_ended(stream)) && self.answer(stream).ended;
        assert!(whole, "{}", self.state(&format!("a response on {stream}")));
        let answer = self.answer(stream);
        assert_eq!(answer.broken, None, "in the response on {stream}");
        answer.response()
    }

    /// Waits for a RST_STREAM with one of some codes.
    ///
    /// # Panics
    /// When there is none.
    pub fn expect_reset(&mut self, stream: u32, codes: &[u32]) {
        self.wait(LIMIT, |c| c.answer(stream).reset.is_some());
        let reset = self.answer(stream).reset;
        let fits = reset.is_some_and(|code| codes.contains(&code));
        assert!(fits, "{}", self.state(&format!("a reset of {stream}")));
    }

    /// Waits for a GOAWAY with one of some codes.
    ///
    /// # Panics
    /// When there is none.
    pub fn expect_goaway(&mut self, codes: &[u32]) -> GoAway {
        self.wait(LIMIT, |c| !c.goaways.is_empty());
        let found = self.goaways.iter().find(|g| codes.contains(&g.code));
        let found = found.cloned();
        found.unwrap_or_else(|| panic!("{}", self.state("GOAWAY")))
    }

    /// Waits for the end of the connection.
    ///
    /// # Panics
    /// When it does not come.
    pub fn expect_closed(&mut self) {
        self.wait(LIMIT, |c| c.stopped.is_some());
        let closed = matches!(self.stopped, Some(Stop::Closed | Stop::Reset));
        assert!(closed, "{}", self.state("the end of the connection"));
    }
}
