//! What a scripted server does about one request.

use std::time::Duration;

use crate::wait::Gate;

/// Fields as scripts name them.
pub type Pairs = Vec<(String, String)>;

/// Which stream a GOAWAY names as the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Last {
    /// That of the request.
    This,
    /// The one before it, so that the request may be sent again elsewhere.
    Before,
    /// This one.
    Is(u32),
}

/// One thing to do.
#[derive(Clone, Debug)]
pub enum Step {
    /// A head: status, fields, and whether it ends the stream.
    Head(u16, Pairs, bool),
    /// DATA as windows allow, and whether the last frame ends the stream.
    Data(Vec<u8>, bool),
    /// The request's body as DATA, when all of it came; ends the stream.
    Echo,
    /// Trailers; they end the stream.
    Trailers(Pairs),
    /// Waits until the whole request came.
    Whole,
    /// DATA again and again, with a pause after each, until the client gives the stream up or the
    /// connection ends; notes `gone`.
    Endless(Vec<u8>, Duration),
    /// Waits until the client gives the stream up or the connection ends, and notes `gone`.
    Gone,
    /// Waits for a gate.
    Wait(Gate),
    /// RST_STREAM.
    Reset(u32),
    /// GOAWAY.
    GoAway(Last, u32),
    /// Any bytes.
    Raw(Vec<u8>),
    /// Tells the test something ([`crate::Server::wait_note`]).
    Note(String),
    /// Closes the connection.
    Close,
    /// Resets the connection.
    Abort,
}

/// Steps that answer a request, or do not.
#[derive(Clone, Debug, Default)]
pub struct Reply(pub Vec<Step>);

impl Reply {
    /// Nothing at all: the stream stays open.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// 200 with a body, once the request is whole.
    #[must_use]
    pub fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self::status(200, body)
    }

    /// A status with a body and its length, once the request is whole.
    #[must_use]
    pub fn status(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let length = body.len().to_string();
        Self::new()
            .whole()
            .head(status, &[("content-length", &length)])
            .last(body)
    }

    /// 200 with the request's body.
    #[must_use]
    pub fn echo() -> Self {
        Self::new().whole().head(200, &[]).step(Step::Echo)
    }

    /// An answer of gRPC: a message, and the call's status in the trailers.
    #[must_use]
    pub fn grpc(message: &[u8], status: u32) -> Self {
        let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
        let mut framed = vec![0];
        framed.extend_from_slice(&length.to_be_bytes());
        framed.extend_from_slice(message);
        Self::new()
            .whole()
            .head(200, &[("content-type", "application/grpc")])
            .data(framed)
            .trailers(&[("grpc-status", &status.to_string())])
    }

    /// An answer of gRPC that is a status alone.
    #[must_use]
    pub fn grpc_trailers_only(status: u32, words: &str) -> Self {
        Self::new().whole().only(
            200,
            &[
                ("content-type", "application/grpc"),
                ("grpc-status", &status.to_string()),
                ("grpc-message", words),
            ],
        )
    }

    /// Adds a step.
    #[must_use]
    pub fn step(mut self, step: Step) -> Self {
        self.0.push(step);
        self
    }

    /// Waits until the whole request came.
    #[must_use]
    pub fn whole(self) -> Self {
        self.step(Step::Whole)
    }

    /// A head with something to follow; also for 1xx.
    #[must_use]
    pub fn head(self, status: u16, fields: &[(&str, &str)]) -> Self {
        self.step(Step::Head(status, pairs(fields), false))
    }

    /// A head that is the whole response.
    #[must_use]
    pub fn only(self, status: u16, fields: &[(&str, &str)]) -> Self {
        self.step(Step::Head(status, pairs(fields), true))
    }

    /// DATA with something to follow.
    #[must_use]
    pub fn data(self, bytes: impl Into<Vec<u8>>) -> Self {
        self.step(Step::Data(bytes.into(), false))
    }

    /// DATA that ends the stream.
    #[must_use]
    pub fn last(self, bytes: impl Into<Vec<u8>>) -> Self {
        self.step(Step::Data(bytes.into(), true))
    }

    /// Trailers.
    #[must_use]
    pub fn trailers(self, fields: &[(&str, &str)]) -> Self {
        self.step(Step::Trailers(pairs(fields)))
    }

    /// Waits for a gate.
    #[must_use]
    pub fn wait(self, gate: &Gate) -> Self {
        self.step(Step::Wait(gate.clone()))
    }

    /// RST_STREAM.
    #[must_use]
    pub fn reset(self, code: u32) -> Self {
        self.step(Step::Reset(code))
    }

    /// GOAWAY.
    #[must_use]
    pub fn goaway(self, last: Last, code: u32) -> Self {
        self.step(Step::GoAway(last, code))
    }

    /// Closes the connection.
    #[must_use]
    pub fn close(self) -> Self {
        self.step(Step::Close)
    }

    /// Resets the connection.
    #[must_use]
    pub fn abort(self) -> Self {
        self.step(Step::Abort)
    }
}

fn pairs(fields: &[(&str, &str)]) -> Pairs {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    fields.iter().map(owned).collect()
}
