//! What a case is: a rule of an RFC, what is done about it, and which outcomes the rule permits.

use std::time::Duration;

use clearway_testkit::h2::{Answer, Block, Form, Frame, RawClient, setting};
use clearway_testkit::wait::LIMIT;

/// Outcomes that a rule permits.
///
/// A code of an error may always be PROTOCOL_ERROR or INTERNAL_ERROR instead of the one that is
/// named (RFC 9113 section 5.4), and a stream error may always be a connection error (section 5.4.1).
#[derive(Clone, Copy, Debug)]
pub(crate) enum Must {
    /// A connection error: GOAWAY with one of these codes, then the end; or just the end.
    Connection(&'static [u32]),
    /// A stream error: RST_STREAM with one of these codes.
    Stream(&'static [u32]),
    /// The request is malformed (RFC 9113 section 8.1.1): a stream error PROTOCOL_ERROR, or a status
    /// that says the client is wrong.
    Malformed,
    /// A status of 400 or above, or any stream error.
    Refused,
    /// The response is 200, whole and well-formed, and the connection goes on.
    Answered,
    /// The response comes whole and well-formed, whatever happens to the connection then.
    Delivered,
    /// Any final response.
    Responded,
    /// Nothing comes of it: the connection goes on and the stream is not reset.
    Lives,
    /// The connection ends, whatever is said before.
    Ends,
    /// The server protects itself or copes, and a new connection is served either way.
    Calm,
    /// Any of these.
    Either(&'static [Self]),
    /// The first is what the RFC advises (SHOULD), the second what it permits.
    Should(&'static Self, &'static Self),
    /// What the case checked by itself.
    Checked,
}

/// One line of a table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    /// Where the rule stands, as in `9113 6.5.3`.
    pub(crate) section: &'static str,
    /// What is done; no two cases say the same.
    pub(crate) does: &'static str,
    /// What is permitted to come of it.
    pub(crate) must: Must,
    /// What does it.
    pub(crate) act: fn(&mut Trial),
    /// The client's settings; `None` leaves preface and settings to the act.
    pub(crate) settings: Option<&'static [(u16, u32)]>,
}

/// A case with a client that takes no pushes.
pub(crate) const fn case(
    section: &'static str,
    does: &'static str,
    must: Must,
    act: fn(&mut Trial),
) -> Case {
    Case {
        section,
        does,
        must,
        act,
        settings: Some(&[(setting::ENABLE_PUSH, 0)]),
    }
}

/// Settings of a client that lets no response body come.
pub(crate) const NO_WINDOW: &[(u16, u32)] =
    &[(setting::ENABLE_PUSH, 0), (setting::INITIAL_WINDOW_SIZE, 0)];

impl Case {
    /// With other settings.
    pub(crate) const fn with(mut self, settings: &'static [(u16, u32)]) -> Self {
        self.settings = Some(settings);
        self
    }

    /// On a connection on which nothing was said yet.
    pub(crate) const fn bare(mut self) -> Self {
        self.settings = None;
        self
    }
}

/// A case while it runs.
#[derive(Debug)]
pub(crate) struct Trial {
    /// The client.
    pub(crate) client: RawClient,
    /// The stream that outcomes are about.
    pub(crate) stream: u32,
    /// What is permitted; an act may find out that it is something else.
    pub(crate) must: Must,
    /// What the act found wrong by itself.
    pub(crate) failed: Option<String>,
    /// Why the case says nothing about this server.
    pub(crate) inapplicable: Option<&'static str>,
}

impl Trial {
    /// Writes a frame. That the server is gone already shows later.
    pub(crate) fn send(&mut self, frame: &Frame) {
        self.client.send(frame);
    }

    /// Writes bytes.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.client.raw(bytes);
    }

    /// Notes a failure when something does not hold.
    pub(crate) fn check(&mut self, holds: bool, words: &str) {
        if !holds && self.failed.is_none() {
            self.failed = Some(self.client.state(words));
        }
    }

    /// The next stream, which outcomes are about from now on.
    pub(crate) fn next(&mut self) -> u32 {
        self.stream = self.client.stream();
        self.stream
    }

    /// Opens a stream with a block.
    pub(crate) fn open(&mut self, block: &Block, end: bool) {
        self.stream = self.client.open(block, end);
    }

    /// Opens a stream with `GET /`.
    pub(crate) fn get(&mut self) {
        self.open(&Block::request("GET", "/"), true);
    }

    /// Opens a stream with `GET` of a large response.
    pub(crate) fn get_big(&mut self) {
        self.open(&Block::request("GET", "/big"), true);
    }

    /// Opens a stream with `POST /` whose body is yet to come.
    pub(crate) fn begin(&mut self) {
        self.open(&Block::request("POST", "/"), false);
    }

    /// `GET /` with more fields.
    pub(crate) fn get_with(&mut self, fields: &[(&str, &str)]) {
        let block = add(Block::request("GET", "/"), fields);
        self.open(&block, true);
    }

    /// A request of exactly these fields.
    pub(crate) fn request(&mut self, fields: &[(&str, &str)]) {
        self.open(&Block::of(fields), true);
    }

    /// `POST /` with more fields and a body of one frame.
    pub(crate) fn post_with(&mut self, fields: &[(&str, &str)], body: &[u8]) {
        let block = add(Block::request("POST", "/"), fields);
        self.open(&block, false);
        self.send(&Frame::data(self.stream, body, true));
    }

    /// Sends `GET /` and waits for its whole response; the stream is closed then.
    pub(crate) fn done(&mut self) {
        self.get();
        self.whole();
    }

    /// Sends `GET /` and waits for the head of its response, whose body the window keeps back: the
    /// stream is half-closed (remote) for the server.
    pub(crate) fn held(&mut self) {
        self.get();
        let stream = self.stream;
        let came = self.client.wait(LIMIT, |c| c.answer(stream).head.is_some());
        self.check(came, "the head of a response");
    }

    /// Waits for the whole response.
    pub(crate) fn whole(&mut self) {
        let stream = self.stream;
        let came = self.client.wait(LIMIT, |c| c.answer(stream).ended);
        self.check(came, "a whole response");
    }

    /// Waits until this much of a body came.
    pub(crate) fn comes(&mut self, stream: u32, bytes: usize) {
        let came = self
            .client
            .wait(LIMIT, |c| c.answer(stream).body.len() >= bytes);
        self.check(came, &format!("{bytes} bytes on stream {stream}"));
    }

    /// Waits until PING is answered: what was sent before was taken.
    pub(crate) fn settle(&mut self) {
        let works = self.client.ping_works(LIMIT);
        self.check(works, "an answer to PING");
    }

    /// Lets a while pass in which an answer to what was allowed would come, and then says how much
    /// of a body came.
    pub(crate) fn after_a_while(&mut self, stream: u32) -> usize {
        // Windows are obeyed by whoever writes, which may be later than what answers PING.
        self.settle();
        self.client.wait(Duration::from_millis(50), |_| false);
        self.answer(stream).body.len()
    }

    /// What came on a stream.
    pub(crate) fn answer(&self, stream: u32) -> Answer {
        self.client.answer(stream)
    }

    /// Says that the case says nothing about this server.
    pub(crate) fn does_not_apply(&mut self, why: &'static str) {
        self.inapplicable = Some(why);
    }
}

/// Adds fields to a block.
pub(crate) fn add(block: Block, fields: &[(&str, &str)]) -> Block {
    let each = fields.iter();
    each.fold(block, |block, (name, value)| block.field(name, value))
}

/// `GET /` with an entry that goes into the table.
pub(crate) fn remembered(name: &str, value: &str) -> Block {
    Block::request("GET", "/").literal(Form::Indexed, name, value)
}
