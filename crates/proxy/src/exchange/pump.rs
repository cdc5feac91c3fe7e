//! One direction of a relay: reads from one stream, follows the body's framing, writes to the other.
//!
//! Bounded by one leased buffer (or one pipe when splicing), so a slow reader slows the writer and
//! nothing piles up. A pump that waits for bytes holds no buffer.

use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use clearway_base::buffer::{Lease, Pool};
use clearway_http::{ChunkedDecoder, Relayed};
use clearway_net::splice::{Pipe, PipePool};
use clearway_net::stream::{Read, Stream};
use clearway_net::wire::Wire;
use clearway_outcome::FaultKind;
use tokio::io::Interest;

use crate::body::Filters;

/// Bodies with more than this left go through a pipe without being copied to user space.
const SPLICE_ABOVE: u64 = 32 * 1_024;
/// What is moved at once in a tunnel that is worth no pipe, in bytes.
const SMALL: usize = 4 * 1_024;
/// So many small amounts end the use of a pipe.
const SMALL_IN_A_ROW: u32 = 4;
/// Filters rest when so much has come out of them, in bytes.
const FILTERED: usize = 16 * 1_024;
/// Most bytes moved by one splice call.
const SPLICE_CHUNK: usize = 1 << 20;

/// Where the bytes end.
#[derive(Debug)]
pub(crate) enum Source {
    /// After this many more bytes.
    Length(u64),
    /// Where the chunked coding says.
    Chunked(ChunkedDecoder),
    /// With the other side's end, which nobody on the way may have forged.
    UntilClose,
    /// With any end: a tunnel passes on what comes.
    Tunnel,
}

/// How the bytes are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    /// As they came.
    Same,
    /// Without the chunked framing they came in.
    Dechunk,
    /// In chunks of our own.
    Enchunk,
    /// Without the framing they came in, into a stream that has to be told their end.
    Frames,
}

impl Coding {
    /// Whether something is to be written at the end.
    fn has_close(self) -> bool {
        matches!(self, Self::Enchunk | Self::Frames)
    }
}

/// Why a pump stopped before the end.
#[derive(Debug)]
pub(crate) enum Cut {
    /// FIN from the source before the end of the body.
    SourceClosed,
    /// The source failed.
    SourceError(io::Error),
    /// The body's framing is broken.
    Framing(FaultKind),
    /// The destination failed.
    SinkError(io::Error),
}

/// The buffers a pump draws from.
#[derive(Clone, Copy)]
pub(crate) struct Supplies<'a> {
    /// Read buffers.
    pub(crate) buffers: &'a Rc<Pool>,
    /// Pipes, when splicing is allowed.
    pub(crate) pipes: Option<&'a Rc<PipePool>>,
}

struct Splice {
    pipe: Pipe,
    held: usize,
    /// Small amounts in a row, for which copying is quicker.
    small: u32,
}

/// One direction of a relay.
pub(crate) struct Pump {
    source: Source,
    coding: Coding,
    /// Bytes to write before those in `buffer`: a head, a chunk header, trailers.
    prefix: Vec<u8>,
    prefix_done: usize,
    buffer: Option<Lease>,
    /// Bytes of `buffer` that are ready to be written.
    start: usize,
    end: usize,
    /// Bytes of `buffer` that the framing has looked at.
    parsed: usize,
    splice: Option<Splice>,
    /// How much came with the last read.
    last_read: usize,
    ended: bool,
    /// The end was written, where one is.
    closed: bool,
    /// Trailers that came and go out with the end, a line each.
    trailers: Vec<u8>,
    /// A copy of what was read, and how large it may become; more than that is not kept at all.
    kept: Vec<u8>,
    keep_max: usize,
    /// What the body goes through; `start..end` of `buffer` has not been through it yet, what has is in
    /// `prefix`.
    filters: Option<Box<Filters>>,
    /// The end of a chunk of our own is still to be written.
    in_chunk: bool,
    /// Largest body allowed, in bytes; `u64::MAX` = no limit.
    pub(crate) limit: u64,
    /// Body bytes taken from the source, framing included.
    pub(crate) taken: u64,
    /// Those of `taken` that somebody else had read and passed on: see [`Pump::begin`].
    pub(crate) begun: u64,
    /// Bytes written to the sink.
    pub(crate) given: u64,
    /// Bytes that may have been written by now.
    quota: u64,
}

impl Pump {
    /// A pump that has read nothing yet.
    pub(crate) fn new(source: Source, coding: Coding) -> Self {
        let ended = matches!(source, Source::Length(0));
        Self {
            source,
            coding,
            prefix: Vec::new(),
            prefix_done: 0,
            buffer: None,
            start: 0,
            end: 0,
            parsed: 0,
            splice: None,
            last_read: 0,
            ended,
            closed: false,
            trailers: Vec::new(),
            kept: Vec::new(),
            keep_max: 0,
            filters: None,
            in_chunk: false,
            limit: u64::MAX,
            taken: 0,
            begun: 0,
            given: 0,
            quota: u64::MAX,
        }
    }

    /// Lets no more than so many bytes be written from the begin on.
    pub(crate) fn allow(&mut self, given: u64) {
        self.quota = given;
    }

    /// Whether what is written is counted, see [`Pump::allow`].
    pub(crate) fn is_paced(&self) -> bool {
        self.quota < u64::MAX
    }

    /// Whether there is something to be written that may not be, yet.
    pub(crate) fn is_held(&self) -> bool {
        self.given >= self.quota && self.has_output()
    }

    /// Has the body go through filters. It must not be written as it came: not with [`Coding::Same`] out of
    /// chunks.
    pub(crate) fn set_filters(&mut self, filters: Option<Box<Filters>>) {
        self.filters = filters;
    }

    /// Notes that the first `used` bytes of the body were already read and looked at elsewhere.
    ///
    /// # Errors
    /// [`Cut::Framing`] when they are more than the limit.
    pub(crate) fn begin(&mut self, used: u64, ended: bool, trailers: &[u8]) -> Result<(), Cut> {
        (self.taken, self.begun, self.ended) = (used, used, ended);
        self.prefix.extend_from_slice(trailers);
        if used > self.limit {
            return Err(Cut::Framing(FaultKind::BodyTooLarge));
        }
        Ok(())
    }

    /// From here on keeps a copy of a body that has no framing of its own, up to `most` bytes.
    pub(crate) fn keep(&mut self, most: usize) {
        self.keep_max = most;
    }

    /// Whether all that was read is there to be sent again: nothing came but what somebody else had
    /// read, or all is kept. Trailers that follow a body without framing of its own are not.
    pub(crate) fn is_replayable(&self) -> bool {
        let lost = matches!(self.source, Source::UntilClose) && !self.trailers.is_empty();
        !lost && (self.taken == self.begun || self.kept.len() as u64 == self.taken)
    }

    /// Gives up the copy, and makes no other.
    pub(crate) fn stop_keeping(&mut self) {
        (self.kept, self.keep_max) = (Vec::new(), 0);
    }

    /// The copy of a body that was read to its end, unless it became too large.
    pub(crate) fn take_copy(&mut self) -> Option<Vec<u8>> {
        (self.ended && self.keep_max > 0).then(|| self.take_kept())
    }

    /// Takes the copy out.
    pub(crate) fn take_kept(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.kept)
    }

    /// Whether bytes wait to be written.
    pub(crate) fn has_output(&self) -> bool {
        self.has_prefix()
            || self.start < self.end
            || self.splice.as_ref().is_some_and(|splice| splice.held > 0)
    }

    /// Puts bytes in front of everything that is still to be written.
    pub(crate) fn prepend(&mut self, bytes: &[u8]) {
        debug_assert!(self.start == self.end || self.prefix_done == self.prefix.len());
        self.prefix.drain(..self.prefix_done);
        self.prefix_done = 0;
        self.prefix.splice(0..0, bytes.iter().copied());
    }

    /// Hands over a buffer of which the first `parsed` bytes are none of the body.
    ///
    /// # Errors
    /// [`Cut::Framing`] when the bytes break the body's framing.
    pub(crate) fn feed(&mut self, buffer: Lease, from: usize) -> Result<(), Cut> {
        debug_assert!(self.buffer.is_none());
        self.parsed = from;
        (self.start, self.end) = (from, from);
        self.buffer = Some(buffer);
        self.decode()
    }

    /// The bytes that can be written now without reading more: after [`Pump::feed`].
    pub(crate) fn ready_bytes(&self) -> &[u8] {
        if self.filters.is_some() {
            return b"";
        }
        let filled = self.buffer.as_ref().map(Lease::filled).unwrap_or_default();
        filled.get(self.start..self.end).unwrap_or_default()
    }

    /// Everything in the buffer: after [`Pump::feed`].
    pub(crate) fn buffered(&self) -> &[u8] {
        self.buffer.as_ref().map(Lease::filled).unwrap_or_default()
    }

    /// Whether something comes before [`Pump::ready_bytes`].
    pub(crate) fn has_prefix(&self) -> bool {
        self.prefix_done < self.prefix.len()
    }

    /// Marks `count` of the ready bytes as written; with `last` their end went along.
    pub(crate) fn wrote(&mut self, count: usize, last: bool) {
        self.start += count;
        self.closed |= last && self.start == self.end;
        debug_assert!(self.start <= self.end);
        self.given += count as u64;
    }

    /// Whether all was read and written.
    pub(crate) fn is_done(&self) -> bool {
        self.ended
            && self.start == self.end
            && !self.has_prefix()
            && self.splice.as_ref().is_none_or(|s| s.held == 0)
            && (!self.coding.has_close() || self.closed)
            && self.filters.as_ref().is_none_or(|f| f.is_ended())
    }

    /// Whether the source has delivered the whole body.
    pub(crate) fn is_read(&self) -> bool {
        self.ended
    }

    /// Bytes behind the end of the body that came with it: the next message, or garbage.
    pub(crate) fn leftover(&mut self) -> Option<Lease> {
        debug_assert!(self.ended);
        let mut buffer = self.buffer.take()?;
        buffer.consume(self.parsed);
        (!buffer.is_empty()).then_some(buffer)
    }

    /// Moves bytes until both sides would block or the body is over. Cancel safe.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Stream,
        to: &mut Stream,
        supplies: Supplies<'_>,
    ) -> Poll<Result<(), Cut>> {
        loop {
            ready!(self.poll_flush(cx, to)).map_err(Cut::SinkError)?;
            if self.filters.is_some() && self.filter()? {
                continue;
            }
            if self.ended {
                if self.coding.has_close() && !std::mem::replace(&mut self.closed, true) {
                    self.close(to).map_err(Cut::SinkError)?;
                    continue;
                }
                return Poll::Ready(Ok(()));
            }
            if self.buffer.as_ref().is_some_and(|b| self.parsed < b.len()) {
                self.decode()?;
                if self.start < self.end || self.has_prefix() || self.ended {
                    continue;
                }
            }
            self.compact();
            if let (Some(from), Some(to)) = (from.plain(), to.plain())
                && self.may_splice(supplies.pipes)
            {
                return self.poll_splice(cx, from, to);
            }
            let filled = self.poll_fill(cx, from, supplies.buffers);
            if filled.is_pending() && self.filters.is_some() && self.flush_filters()? {
                continue;
            }
            ready!(filled)?;
        }
    }

    /// Puts what was read through the filters, a bounded amount of it; whether something was done.
    fn filter(&mut self) -> Result<bool, Cut> {
        let Some(filters) = &mut self.filters else {
            return Ok(false);
        };
        let filled = self.buffer.as_ref().map(Lease::filled).unwrap_or_default();
        let mut out = Vec::new();
        let mut done = false;
        while out.len() < FILTERED {
            let input = filled.get(self.start..self.end).unwrap_or_default();
            if !input.is_empty() || filters.has_more() {
                self.start += filters
                    .push(input, &mut out)
                    .map_err(|_| Cut::Framing(FaultKind::ResponseContentInvalid))?;
            } else if self.ended && !filters.is_ended() {
                filters
                    .finish(&mut out)
                    .map_err(|_| Cut::Framing(FaultKind::ResponseContentInvalid))?;
            } else {
                break;
            }
            done = true;
        }
        self.put(&out);
        Ok(done)
    }

    /// Brings out what filters hold back, as the source pauses; whether there was any.
    fn flush_filters(&mut self) -> Result<bool, Cut> {
        let Some(filters) = &mut self.filters else {
            return Ok(false);
        };
        let mut out = Vec::new();
        filters
            .flush(&mut out)
            .map_err(|_| Cut::Framing(FaultKind::ResponseContentInvalid))?;
        self.put(&out);
        Ok(!out.is_empty())
    }

    /// Has bytes that came out of filters written, in a chunk where chunks are written.
    fn put(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if self.coding == Coding::Enchunk {
            clearway_http::write_chunk_header(bytes.len(), &mut self.prefix);
            self.prefix.extend_from_slice(bytes);
            self.prefix.extend_from_slice(b"\r\n");
        } else {
            self.prefix.extend_from_slice(bytes);
        }
    }

    /// Writes the end of the body, with its trailers.
    fn close(&mut self, to: &mut Stream) -> io::Result<()> {
        if let Some(stream) = to.h2_mut() {
            return stream.finish(&self.trailers);
        }
        if let Some(stream) = to.cgi_mut() {
            stream.finish();
            return Ok(());
        }
        let before: &[u8] = if self.in_chunk {
            b"\r\n0\r\n"
        } else {
            b"0\r\n"
        };
        self.set_prefix(before);
        self.prefix.extend_from_slice(&self.trailers);
        self.prefix.extend_from_slice(b"\r\n");
        Ok(())
    }

    /// Trailers that came and were passed on, a line each, where they were looked at.
    pub(crate) fn trailers(&self) -> &[u8] {
        &self.trailers
    }

    /// Whether what is ready is the last of the body, so that its end may go along.
    pub(crate) fn ends_with_this(&self) -> bool {
        self.ended
            && self.coding == Coding::Frames
            && self.trailers.is_empty()
            && self.filters.is_none()
    }

    /// Writes what is ready.
    pub(crate) fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut Stream,
    ) -> Poll<io::Result<()>> {
        loop {
            let prefix = self.prefix.get(self.prefix_done..).unwrap_or_default();
            let filled = self.buffer.as_ref().map(Lease::filled).unwrap_or_default();
            let body = match &self.filters {
                Some(_) => b"",
                None => filled.get(self.start..self.end).unwrap_or_default(),
            };
            if prefix.is_empty() && body.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let room = self.quota.saturating_sub(self.given);
            let room = usize::try_from(room).unwrap_or(usize::MAX);
            if room == 0 {
                // Whoever has set the quota wakes the task.
                return Poll::Pending;
            }
            let is_whole = prefix.len().saturating_add(body.len()) <= room;
            let prefix = prefix.get(..room).unwrap_or(prefix);
            let body = body.get(..room - prefix.len()).unwrap_or(body);
            let count = match (prefix.is_empty(), body.is_empty()) {
                (true, true) => return Poll::Ready(Ok(())),
                (true, false) if is_whole && self.ends_with_this() => {
                    let count = ready!(to.poll_write_last(cx, body))?;
                    self.closed = count == body.len();
                    count
                }
                (true, false) => ready!(to.poll_write(cx, body))?,
                (false, true) => ready!(to.poll_write(cx, prefix))?,
                (false, false) => ready!(to.poll_write_two(cx, prefix, body))?,
            };
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let of_prefix = count.min(prefix.len());
            self.prefix_done += of_prefix;
            self.start += count - of_prefix;
            self.given += count as u64;
            if self.prefix_done == self.prefix.len() {
                self.prefix.clear();
                self.prefix_done = 0;
            }
        }
    }

    /// Reads into the buffer and decodes.
    fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Stream,
        pool: &Rc<Pool>,
    ) -> Poll<Result<(), Cut>> {
        let count = if let Some(buffer) = &mut self.buffer {
            ready!(from.poll_read_into(cx, buffer)).map_err(Cut::SourceError)?
        } else {
            match ready!(from.poll_read(cx, pool)).map_err(Cut::SourceError)? {
                Read::End => 0,
                Read::Bytes(lease) => {
                    let count = lease.len();
                    self.buffer = Some(lease);
                    count
                }
            }
        };
        self.last_read = count;
        if let Some(stream) = from.h2_mut() {
            if count == 0 {
                self.trailers = stream.take_trailers();
            }
            let counts = matches!(self.source, Source::UntilClose | Source::Tunnel);
            if count > 0 && counts && stream.is_at_end() {
                self.decode()?;
                self.ended = true;
                return Poll::Ready(Ok(()));
            }
        }
        if count == 0 {
            self.ended = match self.source {
                Source::Tunnel => true,
                Source::UntilClose => from.ended_properly(),
                Source::Length(_) | Source::Chunked(_) => false,
            };
            return Poll::Ready(if self.ended {
                Ok(())
            } else {
                Err(Cut::SourceClosed)
            });
        }
        Poll::Ready(self.decode())
    }

    /// Follows the framing over the bytes not looked at yet.
    fn decode(&mut self) -> Result<(), Cut> {
        debug_assert!(self.start == self.end);
        let Some(buffer) = &self.buffer else {
            return Ok(());
        };
        let input = buffer.filled().get(self.parsed..).unwrap_or_default();
        if input.is_empty() {
            return Ok(());
        }
        let mut trailers = Vec::new();
        let (skip, pass, used, ended) = match &mut self.source {
            Source::UntilClose | Source::Tunnel => (0, input.len(), input.len(), false),
            Source::Length(left) => {
                let pass = input
                    .len()
                    .min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= pass as u64;
                (0, pass, pass, *left == 0)
            }
            Source::Chunked(decoder) => {
                let relayed = if self.coding == Coding::Same {
                    decoder.relay(input, &mut trailers)
                } else {
                    decoder.extract(input, &mut trailers)
                };
                let Relayed {
                    skip,
                    pass,
                    used,
                    done,
                } = relayed.map_err(Cut::Framing)?;
                (skip, pass, used, done)
            }
        };
        self.start = self.parsed + skip;
        self.end = self.start + pass;
        self.parsed += used;
        if self.keep_max > 0 {
            self.copy(pass);
        }
        self.taken += used as u64;
        self.ended = ended;
        if self.taken > self.limit {
            return Err(Cut::Framing(FaultKind::BodyTooLarge));
        }
        if self.coding == Coding::Enchunk && pass > 0 && self.filters.is_none() {
            self.frame_chunk(pass);
        }
        match self.coding {
            Coding::Same if !trailers.is_empty() => self.append_trailers(&trailers),
            // Their empty line belongs to the chunks.
            Coding::Frames | Coding::Enchunk => {
                let lines = trailers.strip_suffix(b"\r\n").unwrap_or_default();
                self.trailers.extend_from_slice(lines);
            }
            Coding::Same | Coding::Dechunk => {}
        }
        Ok(())
    }

    /// Copies what was just read, unless it becomes too much.
    fn copy(&mut self, count: usize) {
        if self.kept.len() + count > self.keep_max {
            return self.stop_keeping();
        }
        let ready = self.buffer.as_ref().map(Lease::filled).unwrap_or_default();
        let read = ready.get(self.start..self.start + count);
        self.kept.extend_from_slice(read.unwrap_or_default());
    }

    /// Makes the ready bytes a chunk of our own: its header goes before them, its end behind them in
    /// the same buffer. Without room there, the end is written together with what follows.
    fn frame_chunk(&mut self, len: usize) {
        if std::mem::replace(&mut self.in_chunk, true) {
            self.prefix.extend_from_slice(b"\r\n");
        }
        clearway_http::write_chunk_header(len, &mut self.prefix);
        if let Some(buffer) = &mut self.buffer
            && buffer.len() == self.end
            && buffer.spare().len() >= 2
        {
            buffer.append(b"\r\n");
            self.end += 2;
            self.parsed = self.end;
            self.in_chunk = false;
        }
    }

    /// Moves the ready bytes and `trailers` into the prefix, so that trailers come last.
    fn append_trailers(&mut self, trailers: &[u8]) {
        let body: Vec<u8> = self.ready_bytes().to_vec();
        self.prefix.extend_from_slice(&body);
        self.prefix.extend_from_slice(trailers);
        self.start = self.end;
    }

    fn set_prefix(&mut self, bytes: &[u8]) {
        self.prefix.clear();
        self.prefix.extend_from_slice(bytes);
        self.prefix_done = 0;
    }

    /// Drops what was written; gives the buffer back when nothing is left in it.
    fn compact(&mut self) {
        if let Some(buffer) = &mut self.buffer {
            buffer.consume(self.parsed);
            if buffer.is_empty() {
                self.buffer = None;
            }
        }
        (self.start, self.end, self.parsed) = (0, 0, 0);
    }

    /// Whether the rest goes through a pipe; takes one when it newly does.
    fn may_splice(&mut self, pipes: Option<&Rc<PipePool>>) -> bool {
        let Some(pipes) = pipes else { return false };
        if self.splice.is_some() {
            return true;
        }
        let worth_it = match self.source {
            Source::Length(left) => left > SPLICE_ABOVE && self.limit == u64::MAX,
            // A tunnel or an endless body is worth a pipe while it is bulk.
            Source::UntilClose | Source::Tunnel => self.last_read as u64 >= SPLICE_ABOVE,
            Source::Chunked(_) => false,
        };
        if worth_it
            && self.buffer.is_none()
            && self.coding == Coding::Same
            && self.filters.is_none()
            && self.keep_max == 0
            && !self.is_paced()
        {
            // Without descriptors for a pipe, copying still works.
            self.splice = pipes.take().ok().map(|pipe| Splice {
                pipe,
                held: 0,
                small: 0,
            });
        }
        self.splice.is_some()
    }

    fn poll_splice(
        &mut self,
        cx: &mut Context<'_>,
        from: &Wire,
        to: &Wire,
    ) -> Poll<Result<(), Cut>> {
        let Some(splice) = &mut self.splice else {
            return Poll::Pending;
        };
        loop {
            while splice.held > 0 {
                ready!(to.poll_writable(cx)).map_err(Cut::SinkError)?;
                let (fd, held) = (to.fd(), splice.held);
                let pipe = &splice.pipe;
                match to.try_io(Interest::WRITABLE, || pipe.splice_out(fd, held)) {
                    Ok(count) => {
                        splice.held -= count;
                        self.given += count as u64;
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Poll::Ready(Err(Cut::SinkError(error))),
                }
            }
            if splice.small == SMALL_IN_A_ROW {
                self.splice = None;
                self.last_read = 0;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let want = match self.source {
                Source::Length(0) => {
                    self.ended = true;
                    self.splice = None;
                    return Poll::Ready(Ok(()));
                }
                Source::Length(left) => usize::try_from(left).unwrap_or(usize::MAX),
                Source::UntilClose | Source::Tunnel | Source::Chunked(_) => usize::MAX,
            };
            ready!(from.poll_readable(cx)).map_err(Cut::SourceError)?;
            let (fd, pipe) = (from.fd(), &splice.pipe);
            match from.try_io(Interest::READABLE, || {
                pipe.splice_in(fd, want.min(SPLICE_CHUNK))
            }) {
                Ok(0) => {
                    self.ended = matches!(self.source, Source::UntilClose | Source::Tunnel);
                    self.splice = None;
                    return Poll::Ready(if self.ended {
                        Ok(())
                    } else {
                        Err(Cut::SourceClosed)
                    });
                }
                Ok(count) => {
                    splice.held = count;
                    self.taken += count as u64;
                    if let Source::Length(left) = &mut self.source {
                        *left -= count as u64;
                    } else if count >= SMALL {
                        splice.small = 0;
                    } else {
                        splice.small += 1;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(Cut::SourceError(error))),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(bytes: &[u8]) -> Lease {
        let mut lease = Pool::new(bytes.len(), 0).lease();
        lease.append(bytes);
        lease
    }

    fn fed(bytes: &[u8]) -> Pump {
        let mut pump = Pump::new(Source::UntilClose, Coding::Frames);
        pump.keep(8);
        pump.feed(lease(bytes), 0).unwrap();
        pump
    }

    #[test]
    fn what_is_kept_is_given_up_when_nothing_can_follow() {
        let mut pump = fed(b"abc");
        assert!(pump.is_replayable());
        pump.stop_keeping();
        pump.wrote(3, false);
        pump.compact();
        pump.feed(lease(b"def"), 0).unwrap();
        assert!(!pump.is_replayable());
        assert_eq!(pump.take_kept(), b"");
        assert_eq!(pump.kept.capacity(), 0);
    }

    #[test]
    fn trailers_that_are_not_kept_cannot_be_sent_again() {
        // With a body that is kept, without one, and with one that came from the copy.
        let again = {
            let mut pump = fed(b"abc");
            pump.begun = pump.taken;
            pump
        };
        for mut pump in [fed(b"abc"), fed(b""), again] {
            assert!(pump.is_replayable());
            pump.trailers.extend_from_slice(b"a: b\r\n");
            assert!(!pump.is_replayable());
        }
    }
}
