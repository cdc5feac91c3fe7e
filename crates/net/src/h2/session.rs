//! A client's connection.

use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use clearway_base::buffer::{Lease, Pool};
use clearway_base::rng::Rng;
use clearway_outcome::FaultKind;
use h2::server::{Builder, Connection, Handshake};
use h2::{Reason, RecvStream};
use http::Request;

use super::PREFACE;
use super::fault::{self, H2Error, Other};
use super::io::{Io, Link};
use super::stream::H2Stream;
use super::text;
use crate::stream::Stream;

/// What a client may do.
#[derive(Clone, Copy, Debug)]
pub struct SessionSettings {
    /// Requests at the same time.
    pub streams: u32,
    /// Bytes of a request's head, names and values.
    pub header_bytes: usize,
    /// Body bytes of one request that may wait to be passed on.
    pub window: u32,
    /// What the keys of WebSockets are made from.
    pub seed: u64,
}

/// A request that came.
pub struct Incoming {
    /// Its head as text; `None` when it is larger than any buffer.
    pub head: Option<Lease>,
    /// What is wrong with it that its text does not show.
    pub refused: Option<FaultKind>,
    /// Whether a body follows, until its end is told.
    pub has_body: bool,
    /// Its stream.
    pub stream: H2Stream,
}

enum State {
    Handshake(Handshake<Io, Bytes>),
    Open(Connection<Io, Bytes>),
    Over,
}

/// A client's connection, as long as it is driven by [`Session::poll_next`].
pub struct Session {
    state: State,
    link: Arc<Link>,
    text: Vec<u8>,
    rng: Rng,
    is_leaving: bool,
    has_shut: bool,
    has_flooded: bool,
}

/// Bytes for the library to keep until the socket takes them, per stream.
const SEND_BUFFER: usize = 64 * 1_024;

impl Session {
    /// A connection that begins with `early`, bytes that were read already.
    #[must_use]
    pub fn new(stream: Stream, early: Option<Lease>, settings: &SessionSettings) -> Self {
        let link = Link::new(&stream);
        let early = early.map(|early| early.filled().to_vec());
        let early = early.unwrap_or_default();
        let io = Io::new(stream, early, PREFACE.len(), Arc::clone(&link));
        let streams = settings.streams.max(1);
        let mut builder = Builder::new();
        builder
            .max_concurrent_streams(streams)
            // Larger heads are refused with words by whoever parses them.
            .max_header_list_size(u32::try_from(settings.header_bytes).unwrap_or(u32::MAX / 4) * 2)
            .initial_window_size(settings.window)
            // No stream that is slow to be passed on holds the others up.
            .initial_connection_window_size(settings.window.saturating_mul(streams).min(1 << 30))
            .max_send_buffer_size(SEND_BUFFER)
            // Resets are counted where other frames are, so that too many have one name.
            .max_pending_accept_reset_streams(usize::MAX)
            .enable_connect_protocol();
        Self {
            state: State::Handshake(builder.handshake(io)),
            link,
            text: Vec::new(),
            rng: Rng::new(settings.seed),
            is_leaving: false,
            has_shut: false,
            has_flooded: false,
        }
    }

    /// Polls for the next request, and moves the frames of all streams meanwhile. `None` means that the
    /// connection is over. Cancel safe.
    ///
    /// # Errors
    /// Why the connection ends: what the client did.
    pub fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        (small, large): (&Rc<Pool>, &Rc<Pool>),
    ) -> Poll<Option<Result<Incoming, H2Error>>> {
        self.link.note_waker(cx);
        loop {
            match &mut self.state {
                State::Over => return Poll::Ready(None),
                State::Handshake(handshake) => {
                    match ready!(std::pin::Pin::new(handshake).poll(cx)) {
                        Ok(connection) => self.state = State::Open(connection),
                        Err(error) => return Poll::Ready(self.over(&error)),
                    }
                    self.leave();
                }
                State::Open(connection) => {
                    let polled = connection.poll_accept(cx);
                    if let Some(kind) = self.link.flood()
                        && !std::mem::replace(&mut self.has_flooded, true)
                    {
                        connection.abrupt_shutdown(if kind == FaultKind::H2Protocol {
                            Reason::PROTOCOL_ERROR
                        } else {
                            Reason::ENHANCE_YOUR_CALM
                        });
                        continue;
                    }
                    return match ready!(polled) {
                        Some(Ok((request, respond))) => {
                            let incoming = self.incoming(request, respond, (small, large));
                            Poll::Ready(Some(Ok(incoming)))
                        }
                        Some(Err(error)) => Poll::Ready(self.over(&error)),
                        None => {
                            self.state = State::Over;
                            Poll::Ready(self.flood().map(Err))
                        }
                    };
                }
            }
        }
    }

    fn incoming(
        &mut self,
        request: Request<RecvStream>,
        respond: h2::server::SendResponse<Bytes>,
        (small, large): (&Rc<Pool>, &Rc<Pool>),
    ) -> Incoming {
        let (parts, body) = request.into_parts();
        self.text.clear();
        let is_tunnel = text::write_request(&parts, || self.rng.next_u64(), &mut self.text);
        let pool = if self.text.len() <= small.size() {
            small
        } else {
            large
        };
        let head = (self.text.len() <= pool.size()).then(|| {
            let mut lease = pool.lease();
            lease.append(&self.text);
            lease
        });
        let refused = text::has_padded_value(&parts.headers);
        let refused = refused.then_some(FaultKind::HeaderValueInvalid);
        let has_body = !body.is_end_stream();
        let stream = H2Stream::request(&self.link, respond, body, &parts.method, is_tunnel);
        Incoming {
            head,
            refused,
            has_body,
            stream,
        }
    }

    /// The connection has failed.
    fn over(&mut self, error: &h2::Error) -> Option<Result<Incoming, H2Error>> {
        self.state = State::Over;
        if let Some(flood) = self.flood() {
            return Some(Err(flood));
        }
        // One that goes away without a word leaves no fault: its streams have told theirs.
        if error.is_io() || error.is_remote() {
            return None;
        }
        Some(Err(fault::of(error, Other::Client, None)))
    }

    fn flood(&self) -> Option<H2Error> {
        let kind: FaultKind = self.link.flood()?;
        Some(H2Error { kind, signal: None })
    }

    /// Takes no more requests; those that are under way are finished (RFC 9113 section 6.8).
    pub fn shut_down(&mut self) {
        self.is_leaving = true;
        self.leave();
    }

    fn leave(&mut self) {
        if let State::Open(connection) = &mut self.state
            && self.is_leaving
            && !std::mem::replace(&mut self.has_shut, true)
        {
            connection.graceful_shutdown();
        }
    }

    /// Whether the client's preface was read.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// Whether it takes no more requests.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.has_shut || self.has_flooded
    }

    /// What there was too much of, if that is why it ends.
    #[must_use]
    pub fn flood_fault(&self) -> Option<H2Error> {
        self.flood()
    }

    /// Requests under way.
    #[must_use]
    pub fn active(&self) -> u32 {
        self.link.active()
    }
}
