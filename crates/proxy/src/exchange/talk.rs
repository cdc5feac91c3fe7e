//! One conversation with one server: the request goes out, the head of the response comes in.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use clearway_base::buffer::{Lease, Pool};
use clearway_http::cgi::Params;
use clearway_http::{Framing, HeadLimits, Method, Progress, encode_interim};
use clearway_net::cgi::CgiStream;
use clearway_net::stream::{Read, Stream, fault_of};
use clearway_net::tls;
use clearway_outcome::{Attempt, Fault, FaultKind, Phase};

use super::Exchange;
use super::evidence;
use super::pump::{Cut, Supplies};
use super::sever::Severing;
use super::upload::{Keep, Upload};
use crate::client::{ClientWatch, Seen};
use crate::pool::ServerConn;
use crate::worker::LARGE_BUFFER;

/// A response whose head is complete: the parsed head lies in the request state.
pub(crate) struct Answer {
    pub(crate) server: ServerConn,
    /// Which member answered.
    pub(crate) member: usize,
    /// The bytes the response head points into, with whatever came behind it.
    pub(crate) buffer: Lease,
    pub(crate) upload: Upload,
    /// The server takes no more of the request.
    pub(crate) upload_failed: bool,
}

/// How a conversation failed.
pub(super) enum Failed {
    /// On the server's side: another Attempt may follow.
    Server(Fault),
    /// The client is gone or broke its own body.
    Client(Fault),
}

/// What ended one round of waiting.
enum Event {
    /// A head, interim or final, is complete.
    Head,
    Failed(Failed),
}

/// The state of one conversation.
struct Talk {
    server: ServerConn,
    upload: Upload,
    upload_error: Option<io::Error>,
    buffer: Option<Lease>,
    watch: ClientWatch,
    progress: u64,
    awaiting_continue: bool,
}

impl Exchange<'_> {
    /// Sends the request over `server` and reads the head of the response.
    ///
    /// On failure the connection is closed, after facts about it were read into the Attempt.
    pub(super) async fn talk(
        &mut self,
        server: ServerConn,
        member: usize,
    ) -> Result<Answer, Failed> {
        // The Attempt before may have ended within a head.
        self.request.response.restart();
        let limit = self.body_limit();
        let keep = self.keep_body();
        let framing = &self.request.head.framing;
        let has_frames = server.stream.has_frames();
        let frames = has_frames.then_some(&self.conn.worker.large);
        let upload = Upload::new(
            framing,
            &self.lease,
            self.request.head.len,
            limit,
            keep,
            frames,
        )
        .map_err(|cut| Failed::Client(self.upload_cut(&cut)))?;
        let mut talk = Talk {
            server,
            upload,
            upload_error: None,
            buffer: None,
            watch: ClientWatch::new(self.conn.half_closed),
            progress: 0,
            awaiting_continue: self.request.head.expect_continue,
        };
        self.send_first(&mut talk).await;
        let mut interim = 0;
        loop {
            match self.next_head(&mut talk).await {
                Event::Failed(failed) => return Err(self.give_up(&mut talk, failed)),
                Event::Head if self.request.response.is_interim() => {
                    interim += 1;
                    talk.awaiting_continue = false;
                    if interim > self.route_plan().limits.interim_responses {
                        let kind = FaultKind::TooManyInterim;
                        let fault = self.server_fault(kind, Phase::ResponseHead, 0);
                        return Err(self.give_up(&mut talk, Failed::Server(fault)));
                    }
                    if let Err(fault) = self.pass_interim(&mut talk).await {
                        return Err(self.give_up(&mut talk, Failed::Client(fault)));
                    }
                }
                Event::Head => break,
            }
        }
        let Talk {
            server,
            upload,
            upload_error,
            buffer,
            ..
        } = talk;
        self.note_upload(&upload);
        let Some(buffer) = buffer else {
            let fault = self.local_fault(FaultKind::InternalPanic, Phase::ResponseHead);
            return Err(Failed::Server(fault));
        };
        Ok(Answer {
            server,
            member,
            buffer,
            upload,
            upload_failed: upload_error.is_some(),
        })
    }

    /// What of the body is kept in case it has to be sent again.
    fn keep_body(&mut self) -> Keep {
        let rules = &self.route_plan().retries;
        let most = if rules.max == 0 { 0 } else { rules.body_buffer };
        let length = match self.request.head.framing {
            Framing::Length(length) => length,
            Framing::UntilClose => {
                let before = std::mem::take(&mut self.kept);
                return Keep::Copy { before, most };
            }
            Framing::None | Framing::Chunked => return Keep::Nothing,
        };
        if self.make_room_for_body(length, most) {
            Keep::Lease
        } else {
            Keep::Nothing
        }
    }

    /// Makes room for a body of known length; whether there is.
    fn make_room_for_body(&mut self, length: u64, most: usize) -> bool {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let needed = self.request.head.len.saturating_add(length);
        if needed <= self.lease.len() + self.lease.spare().len() {
            return true;
        }
        if length > most {
            return false;
        }
        let mut larger = if needed <= LARGE_BUFFER {
            self.conn.worker.large.lease()
        } else {
            // Rare enough to be given back to the system afterwards.
            Pool::new(needed, 0).lease()
        };
        larger.append(self.lease.filled());
        self.lease = larger;
        true
    }

    /// Encodes the head and writes it, with the body bytes at hand, in one system call.
    async fn send_first(&mut self, talk: &mut Talk) {
        let worker = std::rc::Rc::clone(&self.conn.worker);
        self.begin_params(&mut talk.server.stream);
        self.encode_head(talk.server.stream.has_frames());
        poll_fn(|cx| {
            let out = worker.out.borrow();
            let first = talk.upload.first(&self.lease);
            let written = if first.is_empty() {
                talk.server.stream.poll_write(cx, &out)
            } else {
                talk.server.stream.poll_write_two(cx, &out, first)
            };
            let count = match written {
                Poll::Ready(Ok(count)) => count,
                // The error shows again, with its kind, when the response is awaited.
                Poll::Ready(Err(_)) | Poll::Pending => 0,
            };
            talk.upload.wrote_first(&out, count);
            Poll::Ready(())
        })
        .await;
        if talk.upload.is_done() {
            self.sent();
        } else {
            talk.progress = u64::MAX;
        }
    }

    /// Gives a server of FastCGI or the like what it gets besides the head.
    fn begin_params(&self, stream: &mut Stream) {
        let Some(stream) = stream.cgi_mut() else {
            return;
        };
        self.fill_params(stream.begin());
    }

    /// Whether what a server of FastCGI or the like gets of the request is more than its protocol can carry,
    /// which is known before one is asked.
    pub(super) fn exceeds_params(&self) -> bool {
        let plan = self.backend.as_ref().and_then(|b| b.plan.cgi.as_ref());
        let Some(plan) = plan else { return false };
        let mut params = Params::default();
        self.fill_params(&mut params);
        self.encode_head(false);
        params.add_head(&self.conn.worker.out.borrow());
        !CgiStream::fits(plan.dialect, &params)
    }

    fn fill_params(&self, params: &mut Params) {
        let plan = self.backend.as_ref().and_then(|b| b.plan.cgi.as_ref());
        let wanted = plan.map(|plan| plan.params.as_slice()).unwrap_or_default();
        for (name, variable, is_optional) in wanted {
            let value = self.request.scratch.variable(*variable).unwrap_or_default();
            if !(*is_optional && value.is_empty()) {
                params.push(name.as_bytes(), value);
            }
        }
    }

    /// Everything was sent with the head: from now on the server's time runs.
    fn sent(&mut self) {
        let attempt = self.request.attempt();
        let connected = attempt.connected_us.unwrap_or(0);
        attempt.sent_us = Some(connected);
        let now = attempt.started.plus(Duration::from_micros(connected));
        self.conn.timer.set_after(now, self.response_limit());
    }

    /// Waits until a response head is complete or something failed, sending the rest meanwhile.
    async fn next_head(&mut self, talk: &mut Talk) -> Event {
        if let Some(event) = self.parse_head(talk) {
            return event;
        }
        let worker = std::rc::Rc::clone(&self.conn.worker);
        let mut severing = Severing::new(&worker, self.severable());
        poll_fn(|cx| {
            if severing.poll(cx) {
                let kind = FaultKind::ServerClosedNoResponse;
                let fault = self.server_fault(kind, Phase::Wait, 0);
                return Poll::Ready(Event::Failed(Failed::Server(fault)));
            }
            self.poll_head(cx, talk)
        })
        .await
    }

    fn poll_head(&mut self, cx: &mut Context<'_>, talk: &mut Talk) -> Poll<Event> {
        if let Some(failed) = self.poll_upload(cx, talk) {
            return Poll::Ready(Event::Failed(failed));
        }
        loop {
            let read = match &mut talk.buffer {
                Some(buffer) => talk
                    .server
                    .stream
                    .poll_read_into(cx, buffer)
                    .map_ok(|n| n > 0),
                None => match talk.server.stream.poll_read(cx, &self.conn.worker.large) {
                    Poll::Ready(Ok(Read::Bytes(lease))) => {
                        talk.buffer = Some(lease);
                        let now = self.conn.worker.tick();
                        let attempt = self.request.attempt();
                        attempt.first_byte_us = Some(now.micros_since(attempt.started));
                        Poll::Ready(Ok(true))
                    }
                    Poll::Ready(Ok(Read::End)) => Poll::Ready(Ok(false)),
                    Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                    Poll::Pending => Poll::Pending,
                },
            };
            match read {
                Poll::Ready(Ok(true)) => {
                    if let Some(event) = self.parse_head(talk) {
                        return Poll::Ready(event);
                    }
                }
                Poll::Ready(Ok(false)) => {
                    self.conn.worker.tick();
                    return Poll::Ready(self.server_ended(talk, None));
                }
                Poll::Ready(Err(error)) => {
                    self.conn.worker.tick();
                    return Poll::Ready(self.server_ended(talk, Some(&error)));
                }
                Poll::Pending => break,
            }
        }
        if let Some(seen) = talk
            .watch
            .poll(cx, &mut self.conn.stream, talk.upload.is_read())
        {
            self.conn.worker.tick();
            match seen {
                // The server is to finish all the same; nobody will take what it says.
                Seen::Reset(_) if self.route_plan().finishes_abandoned => {}
                Seen::Reset(error) => {
                    let fault = self.client_fault(FaultKind::ClientReset, Phase::Wait);
                    let fault = of_client(fault, &error);
                    return Poll::Ready(Event::Failed(Failed::Client(fault)));
                }
                Seen::Finished => {
                    self.conn.half_closed = true;
                    let grace = self.route_plan().timeouts.half_closed;
                    let response = self.response_limit();
                    let is_bounded = !self.route_plan().finishes_abandoned;
                    if is_bounded && !grace.is_zero() && (response.is_zero() || grace < response) {
                        self.conn.timer.set_after(self.conn.worker.now(), grace);
                    }
                }
            }
        }
        if self.conn.timer.poll_expired(cx) {
            self.conn.worker.tick();
            let failed = match self.timed_out(talk) {
                Failed::Server(fault) | Failed::Client(fault)
                    if self.or_total(fault).kind == FaultKind::TotalTimeout =>
                {
                    Failed::Server(self.or_total(fault))
                }
                failed @ (Failed::Server(_) | Failed::Client(_)) => failed,
            };
            return Poll::Ready(Event::Failed(failed));
        }
        Poll::Pending
    }

    /// Drives the upload; `Some` when the client failed.
    fn poll_upload(&mut self, cx: &mut Context<'_>, talk: &mut Talk) -> Option<Failed> {
        if talk.upload.is_done() || talk.upload_error.is_some() {
            return None;
        }
        let supplies = Supplies {
            buffers: &self.conn.worker.large,
            pipes: Some(&self.conn.worker.pipes),
        };
        let polled = talk.upload.poll(
            cx,
            &mut self.conn.stream,
            &mut talk.server.stream,
            &mut self.lease,
            supplies,
        );
        match polled {
            Poll::Ready(Ok(())) => {
                let now = self.conn.worker.tick();
                let attempt = self.request.attempt();
                attempt.sent_us = Some(now.micros_since(attempt.started));
                self.conn.timer.set_after(now, self.response_limit());
            }
            // The server may have answered before it stopped taking the body: read on.
            Poll::Ready(Err(Cut::SinkError(error))) => talk.upload_error = Some(error),
            Poll::Ready(Err(cut)) => {
                return Some(Failed::Client(self.upload_cut(&cut)));
            }
            Poll::Pending => {
                let progress = talk.upload.progress();
                if progress != talk.progress {
                    talk.progress = progress;
                    let timeouts = &self.route_plan().timeouts;
                    let limit = if talk.upload.waits_for_server() {
                        timeouts.server_write
                    } else if talk.awaiting_continue {
                        self.response_limit()
                    } else {
                        timeouts.request_body
                    };
                    self.conn.timer.set_after(self.conn.worker.tick(), limit);
                }
            }
        }
        None
    }

    /// Parses what is in the buffer; `None` when more is needed.
    fn parse_head(&mut self, talk: &Talk) -> Option<Event> {
        let buffer = talk.buffer.as_ref()?;
        if buffer.is_empty() {
            return None;
        }
        let limits = &self.route_plan().limits;
        let limits = HeadLimits {
            line: limits.response_header_bytes,
            bytes: limits.response_header_bytes,
            count: limits.header_count,
            ..HeadLimits::default()
        };
        let method = match self.request.edits.method() {
            Some(method) => Method::of(method),
            None => self.request.head.method,
        };
        match self
            .request
            .response
            .parse(buffer.filled(), &limits, method)
        {
            Ok(Progress::Complete) => {
                let is_alone = buffer.len() <= self.request.response.len;
                let at_end = is_alone && talk.server.stream.is_at_end();
                if self.request.response.framing == Framing::UntilClose && at_end {
                    self.request.response.framing = Framing::Length(0);
                }
                Some(Event::Head)
            }
            Ok(Progress::Partial) if buffer.is_full() => {
                let kind = FaultKind::ResponseHeadersTooLarge;
                let fault = self.server_fault(kind, Phase::ResponseHead, 0);
                Some(Event::Failed(Failed::Server(fault)))
            }
            Ok(Progress::Partial) => None,
            Err(kind) => {
                let fault = self.server_fault(kind, Phase::ResponseHead, 0);
                Some(Event::Failed(Failed::Server(fault)))
            }
        }
    }

    /// Forwards an interim response (RFC 9110 section 15.2) and drops it from the buffer.
    async fn pass_interim(&mut self, talk: &mut Talk) -> Result<(), Fault> {
        let Some(buffer) = &mut talk.buffer else {
            return Ok(());
        };
        let mut copy = Vec::new();
        if self.request.head.version != clearway_http::Version::Http10 {
            encode_interim(&self.request.response, buffer.filled(), &mut copy);
        }
        buffer.consume(self.request.response.len);
        let now = self.conn.worker.now();
        self.conn
            .timer
            .set_after(now, self.route_plan().timeouts.client_write);
        let written = self.conn.write_all(&copy).await;
        let now = self.conn.worker.tick();
        self.bytes_out += copy.len() as u64;
        if let Err(kind) = written {
            return Err(self.client_fault(kind, Phase::Deliver));
        }
        if talk.upload.is_done() {
            self.conn.timer.set_after(now, self.response_limit());
        } else {
            talk.progress = u64::MAX;
        }
        Ok(())
    }

    /// The server's stream ended or failed before the head was complete.
    fn server_ended(&self, talk: &Talk, error: Option<&io::Error>) -> Event {
        let got_bytes = talk.buffer.as_ref().is_some_and(|b| !b.is_empty());
        let error = error.or(talk.upload_error.as_ref());
        let errno = error.and_then(io::Error::raw_os_error).unwrap_or(0);
        let reused = self.request.attempts.last().is_some_and(Attempt::is_reused);
        let broken = error.and_then(|error| fault_of(error, true));
        let is_tls = error.is_some_and(|error| tls::fault_of(error, true).is_some());
        let is_nonsense = error.is_some_and(|e| e.kind() == io::ErrorKind::InvalidData);
        if is_nonsense && matches!(talk.server.stream, Stream::Cgi(_)) {
            let kind = FaultKind::ResponseNotHttp;
            let fault = self.server_fault(kind, Phase::ResponseHead, 0);
            return Event::Failed(Failed::Server(fault));
        }
        // A kept connection that TLS ends is one that was over, as if it had been reset.
        if let Some((kind, signal)) = broken.filter(|_| !(is_tls && reused)) {
            let phase = match (got_bytes, is_tls) {
                (true, _) => Phase::ResponseHead,
                // In TLS 1.3 a server says what it has against our certificate only now.
                (false, true) => Phase::Tls,
                (false, false) => Phase::Wait,
            };
            let fault = self.server_fault(kind, phase, errno).with_signal(signal);
            return Event::Failed(Failed::Server(fault));
        }
        // What was said before the end explains it.
        let signal = broken.and_then(|(_, signal)| signal);
        let signal = signal.or_else(|| talk.server.stream.farewell());
        let was_reset = error.is_some_and(|e| e.kind() != io::ErrorKind::UnexpectedEof);
        let (kind, phase) = match (got_bytes, was_reset) {
            (true, false) => (FaultKind::ResponseHeadTruncated, Phase::ResponseHead),
            (true, true) => (FaultKind::ResponseHeadReset, Phase::ResponseHead),
            (false, false) if reused => (FaultKind::ReusedClosed, Phase::Wait),
            (false, true) if reused => (FaultKind::ReusedReset, Phase::Wait),
            (false, false) if !talk.upload.is_done() => {
                (FaultKind::ServerClosedWhileSending, Phase::Send)
            }
            (false, true) if !talk.upload.is_done() => {
                (FaultKind::ServerResetWhileSending, Phase::Send)
            }
            (false, false) => (FaultKind::ServerClosedNoResponse, Phase::Wait),
            (false, true) => (FaultKind::ServerResetNoResponse, Phase::Wait),
        };
        let fault = self.server_fault(kind, phase, errno).with_signal(signal);
        Event::Failed(Failed::Server(fault))
    }

    /// The deadline passed: whose was it?
    fn timed_out(&self, talk: &Talk) -> Failed {
        if self.conn.half_closed {
            return Failed::Client(self.client_fault(FaultKind::ClientClosed, Phase::Wait));
        }
        if !talk.upload.is_done() && talk.upload_error.is_none() {
            if talk.upload.waits_for_server() {
                let kind = FaultKind::ServerWriteTimeout;
                return Failed::Server(self.server_fault(kind, Phase::Send, 0));
            }
            if !talk.awaiting_continue {
                let kind = FaultKind::RequestBodyTimeout;
                return Failed::Client(self.client_fault(kind, Phase::RequestBody));
            }
        }
        let (kind, phase) = if talk.buffer.as_ref().is_some_and(|b| !b.is_empty()) {
            (FaultKind::ResponseHeadStalled, Phase::ResponseHead)
        } else {
            (FaultKind::ResponseTimeout, Phase::Wait)
        };
        Failed::Server(self.server_fault(kind, phase, 0))
    }

    /// The fault of a request body that could not be read to its end.
    pub(super) fn upload_cut(&self, cut: &Cut) -> Fault {
        let (kind, errno) = match cut {
            Cut::SourceClosed => (FaultKind::RequestBodyTruncated, 0),
            Cut::SourceError(error) | Cut::SinkError(error) => {
                (FaultKind::ClientReset, error.raw_os_error().unwrap_or(0))
            }
            Cut::Framing(kind) => (*kind, 0),
        };
        let fault = self.client_fault(kind, Phase::RequestBody);
        match cut {
            Cut::SourceError(error) | Cut::SinkError(error) => of_client(fault, error),
            Cut::SourceClosed | Cut::Framing(_) => fault.with_errno(errno),
        }
    }

    /// Reads the facts of a failed conversation and closes it.
    fn give_up(&mut self, talk: &mut Talk, failed: Failed) -> Failed {
        let first = talk.buffer.as_ref().map(Lease::filled).unwrap_or_default();
        let attempt = self.request.attempt();
        // What an application complained about says more than nothing.
        let said = match &talk.server.stream {
            Stream::Cgi(stream) if first.is_empty() => stream.complaint(),
            Stream::Cgi(_) | Stream::Plain(_) | Stream::Tls(_) | Stream::H2(_) | Stream::Gone => {
                first
            }
        };
        attempt.evidence = Some(evidence::gather(Some(&talk.server.stream), said));
        attempt.bytes_received = first.len() as u64;
        attempt.bytes_sent = talk.upload.totals().0;
        self.replayable = talk.upload.is_replayable();
        self.kept = talk.upload.take_kept();
        self.note_upload(&talk.upload);
        self.was_alone = talk.server.stream.h2().is_none();
        let was_closed = matches!(&failed, Failed::Server(f) if f.kind == FaultKind::ReusedClosed);
        // One that is shared need not have lain idle.
        if was_closed && self.was_alone {
            self.learn_close(&talk.server);
        }
        failed
    }

    /// Takes over what the upload read from the client.
    fn note_upload(&mut self, upload: &Upload) {
        self.upload_read = upload.totals().1;
        self.body_in = self.body_in.max(upload.body_in());
    }
}

/// The fault that an error of the client's connection is: `fault`, unless the error itself tells.
pub(crate) fn of_client(fault: Fault, error: &io::Error) -> Fault {
    match fault_of(error, false) {
        Some((kind, signal)) => Fault { kind, ..fault }.with_signal(signal),
        None => fault.with_errno(error.raw_os_error().unwrap_or(0)),
    }
}
