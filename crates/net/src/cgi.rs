//! A connection to a server of FastCGI, SCGI or uwsgi, which looks like an HTTP/1.1 connection for one
//! message: heads are text, bodies are bytes, ends are told.

use std::io;
use std::task::{Context, Poll, ready};

use clearway_http::cgi::fastcgi::{self, Event, Reader};
use clearway_http::cgi::{self, Body, PARAMS_MAX, Params, ResponseText};

use crate::wire::Wire;

/// What is spoken with the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// FastCGI.
    Fastcgi,
    /// SCGI.
    Scgi,
    /// uwsgi.
    Uwsgi,
}

/// Bytes of a body that are taken at once, and that wait for the server to take them.
const TAKEN_MAX: usize = 32 * 1_024;
/// Bytes that are read at once.
const READ_MAX: usize = 16 * 1_024;
/// Bytes that are kept of what an application complains about.
const COMPLAINT_MAX: usize = 512;

#[derive(Debug)]
enum Sending {
    /// The head is to come.
    Head,
    /// So many bytes of the body are to come.
    Length(u64),
    /// The body goes on until its end is told.
    Open,
    Done,
}

/// A connection with the message on it.
#[derive(Debug)]
pub struct CgiStream {
    wire: Wire,
    dialect: Dialect,
    keeps: bool,
    params: Params,
    /// Bytes for the server, and how many of them it has taken.
    out: Vec<u8>,
    out_done: usize,
    sending: Sending,
    reader: Reader,
    text: ResponseText,
    /// Bytes of the response, and how many of them were read.
    ready: Vec<u8>,
    ready_done: usize,
    raw: Vec<u8>,
    /// The response is whole.
    ended: bool,
    complaint: Vec<u8>,
}

impl CgiStream {
    /// Speaks `dialect` over a connection; `keeps` asks the server to leave it open for other requests.
    #[must_use]
    pub fn new(wire: Wire, dialect: Dialect, keeps: bool) -> Self {
        Self {
            wire,
            dialect,
            keeps: keeps && dialect == Dialect::Fastcgi,
            params: Params::default(),
            out: Vec::new(),
            out_done: 0,
            sending: Sending::Head,
            reader: Reader::default(),
            text: ResponseText::default(),
            ready: Vec::new(),
            ready_done: 0,
            raw: Vec::new(),
            ended: false,
            complaint: Vec::new(),
        }
    }

    /// Begins a message: what the request says besides its head is to be put into what this returns.
    pub fn begin(&mut self) -> &mut Params {
        self.params.clear();
        self.out.clear();
        self.out_done = 0;
        self.sending = Sending::Head;
        self.text.restart();
        self.ready.clear();
        self.ready_done = 0;
        self.ended = false;
        self.complaint.clear();
        &mut self.params
    }

    /// The socket beneath.
    #[must_use]
    pub fn wire(&self) -> &Wire {
        &self.wire
    }

    /// Whether the response was read to its end.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        self.ended && self.ready_done == self.ready.len()
    }

    /// Whether another request may follow on the connection.
    #[must_use]
    pub fn may_follow(&self) -> bool {
        self.keeps && self.is_at_end() && self.out_done == self.out.len()
    }

    /// What the application has complained about, as far as it is kept.
    #[must_use]
    pub fn complaint(&self) -> &[u8] {
        &self.complaint
    }

    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        parts: &[&[u8]],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_flush(cx))?;
        let mut taken = 0;
        for part in parts {
            let mut part: &[u8] = part;
            while !part.is_empty() && self.out.len() < TAKEN_MAX {
                let count = match self.sending {
                    Sending::Head => self.write_head(part)?,
                    Sending::Length(_) | Sending::Open => self.write_body(part),
                    // Behind the end of a message nothing is sent.
                    Sending::Done => part.len(),
                };
                taken += count;
                part = part.get(count..).unwrap_or_default();
            }
        }
        if let Poll::Ready(Err(error)) = self.poll_flush(cx) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(taken))
    }

    /// Whether a server can be given these parameters.
    #[must_use]
    pub fn fits(dialect: Dialect, params: &Params) -> bool {
        params.len() <= PARAMS_MAX
            && (dialect != Dialect::Uwsgi || cgi::write_uwsgi(params, &mut Vec::new()))
    }

    fn write_head(&mut self, part: &[u8]) -> io::Result<usize> {
        let malformed = || io::Error::from(io::ErrorKind::InvalidData);
        let mut ends = part.windows(4);
        let end = ends
            .position(|four| four == b"\r\n\r\n")
            .ok_or_else(malformed)?;
        let body = self
            .params
            .add_head(part.get(..end + 2).unwrap_or_default());
        if self.params.len() > PARAMS_MAX {
            return Err(malformed());
        }
        match self.dialect {
            Dialect::Fastcgi => fastcgi::write_begin(&self.params, self.keeps, &mut self.out),
            Dialect::Scgi => cgi::write_scgi(&self.params, &mut self.out),
            Dialect::Uwsgi => {
                if !cgi::write_uwsgi(&self.params, &mut self.out) {
                    return Err(malformed());
                }
            }
        }
        self.sending = match body {
            Body::Length(length) => Sending::Length(length),
            Body::Open => Sending::Open,
        };
        self.end_when_whole();
        Ok(end + 4)
    }

    fn write_body(&mut self, part: &[u8]) -> usize {
        let count = part.len().min(TAKEN_MAX);
        let count = match &mut self.sending {
            Sending::Length(left) => {
                let count = count.min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= count as u64;
                count
            }
            Sending::Head | Sending::Open | Sending::Done => count,
        };
        let data = part.get(..count).unwrap_or_default();
        match self.dialect {
            Dialect::Fastcgi => fastcgi::write_body(data, &mut self.out),
            Dialect::Scgi | Dialect::Uwsgi => self.out.extend_from_slice(data),
        }
        self.end_when_whole();
        count
    }

    fn end_when_whole(&mut self) {
        if matches!(self.sending, Sending::Length(0)) {
            self.finish();
        }
    }

    /// Ends the request's body.
    pub fn finish(&mut self) {
        if matches!(self.sending, Sending::Done) {
            return;
        }
        self.sending = Sending::Done;
        if self.dialect == Dialect::Fastcgi {
            fastcgi::write_end_of_body(&mut self.out);
        }
    }

    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.out_done < self.out.len() {
            let rest = self.out.get(self.out_done..).unwrap_or_default();
            let count = ready!(self.wire.poll_write(cx, rest))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.out_done += count;
        }
        self.out.clear();
        self.out_done = 0;
        Poll::Ready(Ok(()))
    }

    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        room: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if room.is_empty() {
            return Poll::Ready(Ok(0));
        }
        // A server that answers before it has everything is heard nevertheless.
        let flushed = self.poll_flush(cx);
        loop {
            if self.ready_done < self.ready.len() {
                let rest = self.ready.get(self.ready_done..).unwrap_or_default();
                let count = rest.len().min(room.len());
                if let (Some(to), Some(from)) = (room.get_mut(..count), rest.get(..count)) {
                    to.copy_from_slice(from);
                }
                self.ready_done += count;
                if self.ready_done == self.ready.len() {
                    self.ready.clear();
                    self.ready_done = 0;
                }
                return Poll::Ready(Ok(count));
            }
            if self.ended {
                return Poll::Ready(Ok(0));
            }
            if self.raw.is_empty() {
                self.raw.resize(READ_MAX, 0);
            }
            let polled = self.wire.poll_read(cx, &mut self.raw);
            let count = match polled {
                Poll::Ready(Ok(count)) => count,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    // An error of writing says more than that nothing came.
                    if let Poll::Ready(Err(error)) = flushed {
                        return Poll::Ready(Err(error));
                    }
                    return Poll::Pending;
                }
            };
            if count == 0 {
                return Poll::Ready(self.closed());
            }
            self.take_raw(count)?;
        }
    }

    /// The server has closed the connection.
    fn closed(&mut self) -> io::Result<usize> {
        match self.dialect {
            // The end of a response is told.
            Dialect::Fastcgi => Err(io::ErrorKind::UnexpectedEof.into()),
            Dialect::Scgi | Dialect::Uwsgi => {
                self.ended = true;
                Ok(0)
            }
        }
    }

    /// Takes apart the bytes that were read.
    fn take_raw(&mut self, count: usize) -> io::Result<()> {
        let raw = std::mem::take(&mut self.raw);
        let mut rest = raw.get(..count).unwrap_or_default();
        if self.dialect != Dialect::Fastcgi {
            self.text.feed(rest, &mut self.ready);
            self.raw = raw;
            return Ok(());
        }
        while !rest.is_empty() && !self.ended {
            let next = self.reader.next(rest);
            let (event, count) = next.map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
            match event {
                Event::Response(data) => self.text.feed(data, &mut self.ready),
                Event::Complaint(data) => {
                    let room = COMPLAINT_MAX.saturating_sub(self.complaint.len());
                    let data = data.get(..data.len().min(room)).unwrap_or_default();
                    self.complaint.extend_from_slice(data);
                }
                Event::Done => self.ended = true,
                Event::Refused => return Err(io::ErrorKind::ConnectionReset.into()),
                Event::Nothing => {}
            }
            rest = rest.get(count..).unwrap_or_default();
        }
        // What follows the end belongs to nothing: the connection is not used again then.
        let is_clean = rest.is_empty();
        self.keeps &= is_clean;
        self.raw = raw;
        Ok(())
    }
}
