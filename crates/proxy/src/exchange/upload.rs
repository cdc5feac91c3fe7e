//! The request on its way to a server: head, the body bytes that came with it, and the rest.
//!
//! A body of known length that is kept for another attempt stays behind the head in the buffer it is
//! read into; one that ends with its stream is copied as far as there is room. Of others nothing is
//! kept, and once more was read than came with the head the request cannot be sent again.

use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use clearway_base::buffer::{Lease, Pool};
use clearway_http::{ChunkedDecoder, Framing};
use clearway_net::stream::Stream;

use super::pump::{Coding, Cut, Pump, Source, Supplies};

/// Progress of sending one request.
pub(crate) struct Upload {
    /// Encoded head bytes that did not fit into the first write.
    head_rest: Vec<u8>,
    head_done: usize,
    /// Body bytes in the request's own buffer: `start..end`, of which `sent` were written.
    start: usize,
    end: usize,
    sent: usize,
    /// Body bytes that may still be read into the request's own buffer.
    room: u64,
    /// What does not fit.
    rest: Option<Pump>,
    /// Bytes written to the server.
    pub(crate) written: u64,
    /// Body bytes read from the client beyond those that came with the head.
    pub(crate) read: u64,
}

/// What is kept of a body for another attempt.
pub(crate) enum Keep {
    /// Nothing but what came with the head.
    Nothing,
    /// All of it, behind the head.
    Lease,
    /// A copy of at most `most` bytes, which begins with those of the attempt `before`.
    Copy { before: Vec<u8>, most: usize },
}

/// Where the bytes of the next request are.
pub(crate) enum Leftover {
    /// In the request's own buffer, behind this many bytes.
    Own(usize),
    /// In a buffer of their own, if there are any.
    Other(Option<Lease>),
}

/// A buffer with these bytes; few requests are tried again.
fn copy_of(bytes: &[u8]) -> Lease {
    let mut lease = Pool::new(bytes.len(), 0).lease();
    lease.append(bytes);
    lease
}

impl Upload {
    /// Prepares to send the body behind `head_len` bytes of `lease`; with [`Keep::Lease`] the lease has
    /// room for all of it, and with `frames`, where buffers come from, the server speaks HTTP/2.
    ///
    /// # Errors
    /// [`Cut::Framing`] when the bytes at hand break the framing or exceed `limit`.
    pub(crate) fn new(
        framing: &Framing,
        lease: &Lease,
        head_len: usize,
        limit: u64,
        keep: Keep,
        frames: Option<&Rc<Pool>>,
    ) -> Result<Self, Cut> {
        let at_hand = lease.filled().get(head_len..).unwrap_or_default();
        let mut upload = Self {
            head_rest: Vec::new(),
            head_done: 0,
            start: head_len,
            end: head_len,
            sent: 0,
            room: 0,
            rest: None,
            written: 0,
            read: 0,
        };
        match *framing {
            Framing::None => {}
            Framing::UntilClose => {
                let coding = match frames {
                    Some(_) => Coding::Frames,
                    None => Coding::Enchunk,
                };
                let mut rest = Pump::new(Source::UntilClose, coding);
                rest.limit = limit;
                if let Keep::Copy { before, most } = keep {
                    rest.keep(most);
                    // What rules have waited for is in what was kept of it too.
                    let begin = if before.is_empty() { at_hand } else { &before };
                    if !begin.is_empty() {
                        rest.feed(copy_of(begin), 0)?;
                    }
                    rest.begun = rest.taken;
                }
                upload.rest = Some(rest);
            }
            Framing::Length(length) => {
                let here = at_hand
                    .len()
                    .min(usize::try_from(length).unwrap_or(usize::MAX));
                upload.end += here;
                let left = length - here as u64;
                if matches!(keep, Keep::Lease) {
                    upload.room = left;
                } else {
                    let mut rest = Pump::new(Source::Length(left), Coding::Same);
                    rest.begin(here as u64, left == 0, &[])?;
                    upload.rest = Some(rest);
                }
            }
            Framing::Chunked if let Some(buffers) = frames => {
                let source = Source::Chunked(ChunkedDecoder::default());
                let mut rest = Pump::new(source, Coding::Frames);
                rest.limit = limit;
                let mut copy = buffers.lease();
                copy.append(at_hand);
                rest.feed(copy, 0)?;
                rest.begun = rest.taken;
                upload.rest = Some(rest);
            }
            Framing::Chunked => {
                let mut decoder = ChunkedDecoder::default();
                let mut trailers = Vec::new();
                let relayed = decoder
                    .relay(at_hand, &mut trailers)
                    .map_err(Cut::Framing)?;
                upload.end += relayed.pass;
                let mut rest = Pump::new(Source::Chunked(decoder), Coding::Same);
                rest.limit = limit;
                rest.begin(relayed.used as u64, relayed.done, &trailers)?;
                upload.rest = Some(rest);
            }
        }
        Ok(upload)
    }

    /// The body bytes that can go out together with the head.
    pub(crate) fn first<'b>(&self, lease: &'b Lease) -> &'b [u8] {
        lease
            .filled()
            .get(self.start + self.sent..self.end)
            .unwrap_or_default()
    }

    /// Accounts for the first write: `count` bytes of `head` followed by [`Upload::first`].
    pub(crate) fn wrote_first(&mut self, head: &[u8], count: usize) {
        self.written += count as u64;
        if count < head.len() {
            self.head_rest
                .extend_from_slice(head.get(count..).unwrap_or_default());
        } else {
            self.sent += count - head.len();
        }
    }

    /// Whether everything was read from the client and written to the server.
    pub(crate) fn is_done(&self) -> bool {
        self.head_done == self.head_rest.len()
            && self.start + self.sent == self.end
            && self.room == 0
            && self.rest.as_ref().is_none_or(Pump::is_done)
    }

    /// Whether the client has sent the whole body.
    pub(crate) fn is_read(&self) -> bool {
        self.room == 0 && self.rest.as_ref().is_none_or(Pump::is_read)
    }

    /// Whether the request can be sent again from what is in memory.
    pub(crate) fn is_replayable(&self) -> bool {
        self.rest.as_ref().is_none_or(Pump::is_replayable)
    }

    /// No other attempt can follow: what was copied of the body is given up.
    pub(crate) fn stop_keeping(&mut self) {
        if let Some(rest) = &mut self.rest {
            rest.stop_keeping();
        }
    }

    /// What was copied of the body, for another attempt.
    pub(crate) fn take_kept(&mut self) -> Vec<u8> {
        self.rest.as_mut().map(Pump::take_kept).unwrap_or_default()
    }

    /// Whether bytes wait for the server to take them (else for the client to send them).
    pub(crate) fn waits_for_server(&self) -> bool {
        self.head_done < self.head_rest.len()
            || self.start + self.sent < self.end
            || self.rest.as_ref().is_some_and(Pump::has_output)
    }

    /// A number that moves whenever bytes move.
    pub(crate) fn progress(&self) -> u64 {
        let rest = self.rest.as_ref().map_or(0, |rest| rest.taken + rest.given);
        self.written + self.read + rest
    }

    /// Bytes of the body that came from the client so far, framing included, whoever read them.
    pub(crate) fn body_in(&self) -> u64 {
        match &self.rest {
            Some(rest) => rest.taken,
            None => (self.end - self.start) as u64,
        }
    }

    /// Bytes written to the server and body bytes read from the client so far.
    pub(crate) fn totals(&self) -> (u64, u64) {
        let rest = self.rest.as_ref();
        (
            self.written + rest.map_or(0, |r| r.given),
            self.read + rest.map_or(0, |r| r.taken - r.begun),
        )
    }

    /// What came behind the body: the next request.
    pub(crate) fn leftover(self) -> Leftover {
        match self.rest {
            Some(mut rest) if rest.taken > rest.begun => Leftover::Other(rest.leftover()),
            Some(rest) => {
                Leftover::Own(self.start + usize::try_from(rest.begun).unwrap_or(usize::MAX))
            }
            None => Leftover::Own(self.end),
        }
    }

    /// Moves bytes until both sides would block or all is sent. Cancel safe.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Stream,
        server: &mut Stream,
        lease: &mut Lease,
        supplies: Supplies<'_>,
    ) -> Poll<Result<(), Cut>> {
        loop {
            ready!(self.poll_send_own(cx, server, lease)).map_err(Cut::SinkError)?;
            if self.room == 0 {
                break;
            }
            let count = ready!(client.poll_read_into(cx, lease)).map_err(Cut::SourceError)?;
            if count == 0 {
                return Poll::Ready(Err(Cut::SourceClosed));
            }
            self.read += count as u64;
            let body = (count as u64).min(self.room);
            self.room -= body;
            self.end += usize::try_from(body).unwrap_or(0);
        }
        match &mut self.rest {
            None => Poll::Ready(Ok(())),
            Some(rest) => rest.poll(cx, client, server, supplies),
        }
    }

    fn poll_send_own(
        &mut self,
        cx: &mut Context<'_>,
        server: &mut Stream,
        lease: &Lease,
    ) -> Poll<io::Result<()>> {
        loop {
            let head = self.head_rest.get(self.head_done..).unwrap_or_default();
            let body = lease
                .filled()
                .get(self.start + self.sent..self.end)
                .unwrap_or_default();
            let count = match (head.is_empty(), body.is_empty()) {
                (true, true) => return Poll::Ready(Ok(())),
                (false, _) => ready!(server.poll_write_two(cx, head, body))?,
                (true, false) => ready!(server.poll_write(cx, body))?,
            };
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let of_head = count.min(head.len());
            self.head_done += of_head;
            self.sent += count - of_head;
            self.written += count as u64;
        }
    }
}
