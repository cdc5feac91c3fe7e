//! The response on its way to the client.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};

use clearway_http::{Framing, Method, ResponseOptions, Version, encode_response};
use clearway_net::stream::{Stream, fault_of};
use clearway_outcome::{Fault, FaultKind, FirstBytes, Phase, RetryRefusal, Side};

use super::evidence;
use super::pump::{Coding, Cut, Pump, Source, Supplies};
use super::sever::Severing;
use super::talk::{Answer, of_client};
use super::tunnel::{self, Ends};
use super::upload::Leftover;
use super::{Exchange, Next, Stop};
use crate::client::{ClientWatch, Seen};

/// Bodies up to this size are copied behind the head: one plain write costs less than a gathering
/// one.
const COPY_BELOW: usize = 4_096;

/// How the body of a response is passed on.
struct Shape {
    source: Source,
    coding: Coding,
    /// What the client is told.
    framing: Framing,
    /// Whether the client can tell the end without a close.
    delimited: bool,
}

impl Shape {
    /// Whether chunks go out as they came.
    fn is_relayed(&self) -> bool {
        matches!(self.source, Source::Chunked(_)) && self.coding == Coding::Same
    }
}

/// A body on its way, both directions: the request's rest may still be going up.
struct Transfer {
    answer: Answer,
    pump: Pump,
    progress: u64,
    client_silent: bool,
    watch: ClientWatch,
    /// It waits until more may be written.
    resting: bool,
}

/// How a body goes to a client that speaks HTTP/2: frames tell its end (RFC 9113 section 8.1).
fn in_frames(framing: Framing, end_follows: bool) -> Shape {
    let (source, coding, framing) = match framing {
        Framing::None => (Source::Length(0), Coding::Same, Framing::None),
        Framing::Length(n) if end_follows => (Source::UntilClose, Coding::Same, Framing::Length(n)),
        Framing::Length(n) => (Source::Length(n), Coding::Same, Framing::Length(n)),
        Framing::Chunked => (
            Source::Chunked(Default::default()),
            Coding::Frames,
            Framing::Chunked,
        ),
        Framing::UntilClose => (Source::UntilClose, Coding::Frames, Framing::Chunked),
    };
    Shape {
        source,
        coding,
        framing,
        delimited: true,
    }
}

/// What became of a response that is written.
enum Delivered {
    /// The client has it, as far as anybody knows.
    To(Next),
    /// The client had ended its side: it may have left.
    MaybeToNobody,
}

impl Exchange<'_> {
    /// Writes the response and relays its body; the Attempt is finished here.
    pub(super) async fn deliver(&mut self, mut answer: Answer) -> Result<Next, Stop> {
        self.note_for_logs(&answer);
        if self.request.response.status == 101 {
            // Boxed: a tunnel's room need not be part of every request's.
            return Box::pin(self.switch_protocols(answer)).await;
        }
        self.refuse_consent(&answer)?;
        if self.cached.is_some()
            && let Some(kept) = self.in_place_of(&answer)
        {
            self.put_away(answer);
            return Box::pin(self.give(kept)).await;
        }
        let mut shape = self.shape(&answer);
        self.apply_response_rules(&answer)?;
        let filters = self.filters(answer.buffer.filled(), shape.framing);
        let copied = match self.cached {
            Some(_) => self.copies(answer.buffer.filled()),
            None => None,
        };
        // What is copied must be bare of chunks.
        if filters.is_some() || (copied.is_some() && shape.is_relayed()) {
            shape = self.filtered(shape);
        }
        let delimited = shape.delimited;
        let keep = self.keeps_client(&answer, &shape);
        let head_len = self.request.response.len;
        if self.request.response.framing == Framing::Length(0) {
            self.note_grpc_head(answer.buffer.filled());
        }
        self.encode_response_head(&answer, shape.framing, keep);
        let mut pump = Pump::new(shape.source, shape.coding);
        pump.set_filters(filters);
        self.begin_pace_of(&mut pump);
        if let Some(most) = copied {
            pump.keep(most);
        }
        self.begin_body(&mut answer, &mut pump, head_len)?;
        self.status = self.request.response.status;
        let mut transfer = Transfer {
            answer,
            pump,
            progress: u64::MAX,
            client_silent: false,
            watch: ClientWatch::new(self.conn.half_closed),
            resting: false,
        };
        let owed = match self.write_first(&mut transfer).await {
            Ok(owed) => owed,
            Err(error) => {
                let fault = self.client_write_fault(&error);
                let received = transfer.pump.buffered().len() as u64;
                self.finish_attempt(&transfer.answer, received);
                return Err(Stop::Cut(fault));
            }
        };
        if transfer.pump.is_done() {
            self.count_body(&transfer.pump, owed);
            let delivered = self.delivered(transfer, keep);
            return self.end(delivered).await;
        }
        let first = FirstBytes::of(transfer.pump.buffered());
        let moved = self.transfer(&mut transfer).await;
        self.conn.worker.tick();
        self.note_grpc_trailers(transfer.pump.trailers());
        self.count_body(&transfer.pump, owed);
        let Err(fault) = moved else {
            let delivered = self.delivered(transfer, keep);
            return self.end(delivered).await;
        };
        self.end_grpc(&fault);
        let received = self.received(&transfer.pump);
        if fault.side == Side::Server {
            self.fail_attempt(&transfer.answer, fault, &first, received);
        } else {
            self.finish_attempt(&transfer.answer, received);
        }
        if !delimited {
            // Only a reset tells this client that the body is not whole.
            self.conn.stream.reset_on_close();
        }
        Err(Stop::Cut(fault))
    }

    /// The end of a response that is written.
    #[inline]
    async fn end(&mut self, delivered: Delivered) -> Result<Next, Stop> {
        match delivered {
            Delivered::To(next) => Ok(next),
            // Boxed: a wait that hardly any request has need not be part of every request's room.
            Delivered::MaybeToNobody => Box::pin(self.after_the_end()).await,
        }
    }

    /// Hands over what came of the body with the head.
    fn begin_body(
        &mut self,
        answer: &mut Answer,
        pump: &mut Pump,
        head_len: usize,
    ) -> Result<(), Stop> {
        let empty = self.conn.worker.small.lease();
        let buffer = std::mem::replace(&mut answer.buffer, empty);
        let Err(cut) = pump.feed(buffer, head_len) else {
            return Ok(());
        };
        let fault = self.body_cut(&cut, &answer.server.stream);
        let first = FirstBytes::of(pump.buffered());
        self.fail_attempt(answer, fault, &first, pump.buffered().len() as u64);
        Err(Stop::Fault(fault))
    }

    /// The response is written; whether anybody took it is another matter where the client had ended its side.
    fn delivered(&mut self, transfer: Transfer, keep: bool) -> Delivered {
        let next = self.finish(transfer, keep);
        if self.conn.half_closed {
            Delivered::MaybeToNobody
        } else {
            Delivered::To(next)
        }
    }

    /// What comes after a response to a client that had ended its side.
    async fn after_the_end(&mut self) -> Result<Next, Stop> {
        match self.left_before().await {
            Some(fault) => {
                self.status = fault.kind.status();
                Err(Stop::Cut(fault))
            }
            None => Ok(Next::Close),
        }
    }

    /// A server that ignores an upgrade answers the request: for HTTP/1.1 that is a refusal. A client of
    /// HTTP/2 would take success for consent (RFC 8441 section 5).
    fn refuse_consent(&mut self, answer: &Answer) -> Result<(), Stop> {
        let head = &self.request.head;
        let is_success = (200..300).contains(&self.request.response.status);
        if !(head.upgrade && head.version == Version::Http2 && is_success) {
            return Ok(());
        }
        let fault = self.server_fault(FaultKind::UpgradeIgnored, Phase::ResponseHead, 0);
        let first = FirstBytes::of(answer.buffer.filled());
        self.fail_attempt(answer, fault, &first, answer.buffer.len() as u64);
        Err(Stop::Fault(fault))
    }

    /// Applies the rules for the response; one that answers itself ends the Attempt, which went well.
    fn apply_response_rules(&mut self, answer: &Answer) -> Result<(), Stop> {
        self.respond_rules(answer.buffer.filled(), Some(answer))
            .inspect_err(|_| self.finish_attempt(answer, answer.buffer.len() as u64))
    }

    /// Counts what the client got of a body whose head still owed `owed` bytes after the first write.
    fn count_body(&mut self, pump: &Pump, owed: u64) {
        self.bytes_out += pump.given;
        self.body_out = pump.given.saturating_sub(owed);
    }

    /// Bytes of the response that came from the server, as far as they belong to it.
    fn received(&self, pump: &Pump) -> u64 {
        pump.taken + self.request.response.len as u64
    }

    /// How the body is read and written (RFC 9112 section 6).
    fn shape(&self, answer: &Answer) -> Shape {
        let response = &self.request.response;
        // In frames the end is told, also that of an empty body: who goes before has it cancelled.
        let end_follows = answer.server.stream.h2().is_some_and(|s| !s.is_at_end());
        if self.request.head.version == Version::Http2 {
            return in_frames(response.framing, end_follows);
        }
        let modern = self.request.head.version == Version::Http11;
        let same = |source, framing| Shape {
            source,
            coding: Coding::Same,
            framing,
            delimited: true,
        };
        if self.is_bodiless_by_rule() {
            return same(Source::Length(0), response.framing);
        }
        match response.framing {
            Framing::None => same(Source::Length(0), Framing::None),
            // The library counts, and the end is told.
            Framing::Length(length) if end_follows => {
                same(Source::UntilClose, Framing::Length(length))
            }
            Framing::Length(length) => same(Source::Length(length), Framing::Length(length)),
            Framing::Chunked if modern => {
                same(Source::Chunked(Default::default()), Framing::Chunked)
            }
            Framing::Chunked => Shape {
                source: Source::Chunked(Default::default()),
                coding: Coding::Dechunk,
                framing: Framing::UntilClose,
                delimited: false,
            },
            Framing::UntilClose if modern => Shape {
                source: Source::UntilClose,
                coding: Coding::Enchunk,
                framing: Framing::Chunked,
                delimited: true,
            },
            Framing::UntilClose => Shape {
                source: Source::UntilClose,
                coding: Coding::Same,
                framing: Framing::UntilClose,
                delimited: false,
            },
        }
    }

    /// Whether the server was asked by another method than HEAD, which the client has used: it sends a body
    /// that nobody wants.
    fn is_bodiless_by_rule(&self) -> bool {
        self.request.head.method == Method::Head && self.request.edits.method().is_some()
    }

    /// Whether the listener wants one request per connection.
    pub(super) fn closes(&self) -> bool {
        self.plan.listener(self.conn.listener_at).closes
    }

    /// How a body is written whose length is not known before its end.
    fn filtered(&self, shape: Shape) -> Shape {
        let (coding, framing) = match self.request.head.version {
            Version::Http2 => (Coding::Frames, Framing::Chunked),
            Version::Http11 => (Coding::Enchunk, Framing::Chunked),
            Version::Http10 => match shape.source {
                Source::Chunked(_) => (Coding::Dechunk, Framing::UntilClose),
                Source::Length(_) | Source::UntilClose | Source::Tunnel => {
                    (Coding::Same, Framing::UntilClose)
                }
            },
        };
        Shape {
            source: shape.source,
            coding,
            framing,
            delimited: framing == Framing::Chunked,
        }
    }

    /// Whether the client's connection can carry another request afterwards.
    fn keeps_client(&self, answer: &Answer, shape: &Shape) -> bool {
        self.request.head.keep_alive
            && !self.closes()
            && shape.delimited
            && !self.conn.half_closed
            && !self.conn.is_leaving()
            && answer.upload.is_read()
            && !answer.upload_failed
    }

    /// Encodes the head into the worker's buffer.
    fn encode_response_head(&mut self, answer: &Answer, framing: Framing, keep_alive: bool) {
        let worker = Rc::clone(&self.conn.worker);
        let mut out = worker.out.borrow_mut();
        out.clear();
        let options = ResponseOptions {
            client_version: self.request.head.version,
            keep_alive,
            framing,
            via: self.plan.listener(self.conn.listener_at).via.as_deref(),
            upgrade: self.request.response.status == 101,
        };
        encode_response(
            &self.request.response,
            answer.buffer.filled(),
            &self.request.response_edits,
            &options,
            &mut out,
        );
        self.note_sent(&out);
    }

    /// Writes the head and the body bytes at hand in one system call; says how much of the head is
    /// still to be written, in front of the body.
    async fn write_first(&mut self, transfer: &mut Transfer) -> io::Result<u64> {
        let worker = Rc::clone(&self.conn.worker);
        poll_fn(|cx| {
            let mut out = worker.out.borrow_mut();
            let pump = &mut transfer.pump;
            let last = pump.ends_with_this();
            let direct = !pump.has_prefix() && !pump.is_paced();
            let body = if direct { pump.ready_bytes() } else { b"" };
            let head_len = out.len();
            if body.len() <= COPY_BELOW {
                out.extend_from_slice(body);
            }
            let polled = if last && out.len() > head_len {
                self.conn.stream.poll_write_last(cx, &out)
            } else if out.len() > head_len || body.is_empty() {
                self.conn.stream.poll_write(cx, &out)
            } else {
                self.conn.stream.poll_write_two(cx, &out, body)
            };
            let count = match polled {
                Poll::Ready(Ok(count)) => count,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => 0,
            };
            let of_head = count.min(head_len);
            self.bytes_out += of_head as u64;
            if of_head < head_len {
                pump.prepend(out.get(of_head..head_len).unwrap_or_default());
            } else {
                pump.wrote(count - of_head, last && out.len() > head_len);
            }
            Poll::Ready(Ok((head_len - of_head) as u64))
        })
        .await
    }

    /// Moves both bodies until the response is over, or the server's connections have to end.
    async fn transfer(&mut self, transfer: &mut Transfer) -> Result<(), Fault> {
        let worker = Rc::clone(&self.conn.worker);
        let mut severing = Severing::new(&worker, self.severable());
        poll_fn(|cx| {
            if severing.poll(cx) {
                let kind = FaultKind::ResponseBodyReset;
                return Poll::Ready(Err(self.server_fault(kind, Phase::ResponseBody, 0)));
            }
            self.poll_transfer(cx, transfer)
        })
        .await
    }

    fn poll_transfer(
        &mut self,
        cx: &mut Context<'_>,
        transfer: &mut Transfer,
    ) -> Poll<Result<(), Fault>> {
        let worker = Rc::clone(&self.conn.worker);
        let supplies = Supplies {
            buffers: &worker.large,
            pipes: Some(&worker.pipes),
        };
        let Transfer { answer, pump, .. } = transfer;
        if let Some(pace) = &self.pace {
            pump.allow(pace.allowed(worker.now()));
        }
        if !answer.upload_failed && !answer.upload.is_done() && !transfer.client_silent {
            let polled = answer.upload.poll(
                cx,
                &mut self.conn.stream,
                &mut answer.server.stream,
                &mut self.lease,
                supplies,
            );
            match polled {
                Poll::Ready(Err(Cut::SinkError(_))) => answer.upload_failed = true,
                // The response may still be delivered to a client that stopped sending.
                Poll::Ready(Err(_)) => transfer.client_silent = true,
                Poll::Ready(Ok(())) | Poll::Pending => {}
            }
        }
        match pump.poll(
            cx,
            &mut answer.server.stream,
            &mut self.conn.stream,
            supplies,
        ) {
            Poll::Ready(Ok(())) => return Poll::Ready(Ok(())),
            Poll::Ready(Err(Cut::SinkError(error))) => {
                return Poll::Ready(Err(self.client_write_fault(&error)));
            }
            Poll::Ready(Err(cut)) => {
                return Poll::Ready(Err(self.body_cut(&cut, &answer.server.stream)));
            }
            Poll::Pending => {}
        }
        // A client that has gone while the server pauses would be noticed with the next bytes only.
        let is_read = answer.upload.is_read() && !transfer.client_silent;
        let watch = &mut transfer.watch;
        match watch.poll(cx, &mut self.conn.stream, is_read) {
            Some(Seen::Reset(error)) => {
                worker.tick();
                return Poll::Ready(Err(self.client_write_fault(&error)));
            }
            Some(Seen::Finished) => self.conn.half_closed = true,
            None => {}
        }
        if transfer.pump.is_held() {
            return self.poll_rest(cx, transfer);
        }
        let pump = &transfer.pump;
        let answer = &transfer.answer;
        let progress = pump.taken + pump.given + answer.upload.progress();
        if progress != transfer.progress {
            transfer.progress = progress;
            let timeouts = &self.route_plan().timeouts;
            let limit = if pump.has_output() {
                timeouts.client_write
            } else {
                self.limits[0].unwrap_or(timeouts.server_idle)
            };
            self.conn.timer.set_after(worker.tick(), limit);
        }
        if self.conn.timer.poll_expired(cx) {
            worker.tick();
            return Poll::Ready(Err(self.or_total(if transfer.pump.has_output() {
                self.client_fault(FaultKind::ClientNotReading, Phase::Deliver)
            } else {
                self.server_fault(FaultKind::ResponseBodyStalled, Phase::ResponseBody, 0)
            })));
        }
        Poll::Pending
    }

    /// Rests until more may be written.
    fn poll_rest(&self, cx: &Context<'_>, transfer: &mut Transfer) -> Poll<Result<(), Fault>> {
        let Some(pace) = &self.pace else {
            return Poll::Pending;
        };
        if !std::mem::replace(&mut transfer.resting, true) {
            let now = self.conn.worker.tick();
            self.conn.timer.set_after(now, pace.rest());
        }
        if !self.conn.timer.poll_expired(cx) {
            return Poll::Pending;
        }
        let now = self.conn.worker.tick();
        if self.conn.timer.latest().is_some_and(|latest| latest <= now) {
            let fault = self.client_fault(FaultKind::ClientNotReading, Phase::Deliver);
            return Poll::Ready(Err(self.or_total(fault)));
        }
        // Time-outs begin anew with what goes now.
        (transfer.resting, transfer.progress) = (false, u64::MAX);
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// All was delivered: gives the connections back and says what comes next.
    fn finish(&mut self, transfer: Transfer, keep: bool) -> Next {
        let Transfer {
            answer, mut pump, ..
        } = transfer;
        if self.cached.is_some() {
            self.keep_response(&mut pump);
        }
        let received = self.received(&pump);
        self.finish_attempt(&answer, received);
        let now = self.conn.worker.now();
        let clean = pump.leftover().is_none();
        let Answer {
            mut server,
            member,
            upload,
            upload_failed,
            ..
        } = answer;
        let sent_all = upload.is_done() && !upload_failed;
        let is_shared = server.stream.h2().is_some();
        // A body that nobody wanted may still come.
        let clean = clean && !self.is_bodiless_by_rule();
        let may_follow = match server.stream.cgi_mut() {
            Some(stream) => stream.may_follow(),
            None => self.request.response.keep_alive,
        };
        if !is_shared && clean && sent_all && may_follow {
            server.uses += 1;
            if let Some(backend) = &self.backend
                && let Some(home) = backend.servers.get(member)
            {
                home.give_back(server, now);
            }
        }
        if !sent_all {
            return Next::Linger;
        }
        if !keep {
            return Next::Close;
        }
        match upload.leftover() {
            Leftover::Own(used) => self.keep_alive_after(used),
            Leftover::Other(rest) => Next::KeepAlive(rest),
        }
    }

    /// Ends an exchange with a server whose answer nobody gets.
    fn put_away(&mut self, mut answer: Answer) {
        let head_len = self.request.response.len;
        if !matches!(
            self.request.response.framing,
            Framing::None | Framing::Length(0)
        ) {
            // Its body is not worth reading.
            return self.finish_attempt(&answer, answer.buffer.len() as u64);
        }
        let mut pump = Pump::new(Source::Length(0), Coding::Same);
        let empty = self.conn.worker.small.lease();
        let buffer = std::mem::replace(&mut answer.buffer, empty);
        // There is nothing that could be cut.
        drop(pump.feed(buffer, head_len));
        let transfer = Transfer {
            answer,
            pump,
            progress: u64::MAX,
            client_silent: false,
            watch: ClientWatch::new(self.conn.half_closed),
            resting: false,
        };
        // What comes next depends on what the client gets in its place.
        self.finish(transfer, false);
    }

    /// A switch of protocols: both sides become a tunnel (RFC 9110 section 7.8).
    async fn switch_protocols(&mut self, mut answer: Answer) -> Result<Next, Stop> {
        let head_len = self.request.response.len;
        let first = FirstBytes::of(answer.buffer.filled());
        let is_shared = answer.server.stream.h2().is_some();
        if !self.request.head.upgrade || (is_shared && !self.opens_websocket()) {
            let kind = FaultKind::UpgradeUnexpected;
            let fault = self.server_fault(kind, Phase::ResponseHead, 0);
            self.fail_attempt(&answer, fault, &first, answer.buffer.len() as u64);
            return Err(Stop::Fault(fault));
        }
        self.apply_response_rules(&answer)?;
        self.encode_response_head(&answer, Framing::None, true);
        self.status = 101;
        // A tunnel has time-outs of its own.
        self.conn.timer.set_latest(None);
        let mut down = Pump::new(Source::Tunnel, Coding::Same);
        let mut up = Pump::new(Source::Tunnel, Coding::Same);
        let owed = self.conn.worker.out.borrow().len() as u64;
        down.prepend(&self.conn.worker.out.borrow());
        let empty = self.conn.worker.small.lease();
        let from_server = std::mem::replace(&mut answer.buffer, empty);
        // Neither feed can fail: a tunnel has no framing.
        drop(down.feed(from_server, head_len));
        // The request's own buffer is still needed for the record.
        let mut early = self.conn.worker.large.lease();
        early.append(
            self.lease
                .filled()
                .get(self.request.head.len..)
                .unwrap_or_default(),
        );
        drop(up.feed(early, 0));
        let mut timeouts = self.route_plan().timeouts.clone();
        if let [_, Some(tunnel)] = self.limits {
            timeouts.tunnel = tunnel;
        }
        let mut ends = Ends::new(up, down);
        let Some(home) = self
            .backend
            .as_ref()
            .and_then(|b| b.servers.get(answer.member).cloned())
        else {
            return Err(Stop::Cut(
                self.local_fault(FaultKind::NoServers, Phase::Tunnel),
            ));
        };
        let server = (&mut answer.server.stream, &home.plan.entry.cell);
        let result = tunnel::run(self.conn, server, &mut ends, &timeouts).await;
        self.conn.worker.tick();
        self.count_body(&ends.down, owed);
        self.bytes_in += ends.up.taken;
        answer.upload.written += ends.up.given;
        let received = self.received(&ends.down);
        match result {
            Err(fault) if fault.side == Side::Server => {
                self.fail_attempt(&answer, fault, &first, received);
            }
            Ok(()) | Err(_) => self.finish_attempt(&answer, received),
        }
        result.map(|()| Next::Close).map_err(Stop::Cut)
    }

    fn client_write_fault(&self, error: &io::Error) -> Fault {
        of_client(
            self.client_fault(FaultKind::ClientReset, Phase::Deliver),
            error,
        )
    }

    /// The fault of a response body that could not be read to its end.
    fn body_cut(&self, cut: &Cut, server: &Stream) -> Fault {
        let (kind, errno) = match cut {
            Cut::SourceClosed => (FaultKind::ResponseBodyShort, 0),
            Cut::SourceError(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                (FaultKind::ResponseBodyShort, 0)
            }
            Cut::SourceError(error) | Cut::SinkError(error) => (
                FaultKind::ResponseBodyReset,
                error.raw_os_error().unwrap_or(0),
            ),
            Cut::Framing(kind @ FaultKind::ResponseContentInvalid) => (*kind, 0),
            Cut::Framing(_) => (FaultKind::ResponseChunkInvalid, 0),
        };
        if let Cut::SourceError(error) = cut
            && let Some((kind, signal)) = fault_of(error, true)
        {
            let fault = self.server_fault(kind, Phase::ResponseBody, 0);
            return fault.with_signal(signal);
        }
        // What was said before the end explains it.
        self.server_fault(kind, Phase::ResponseBody, errno)
            .with_signal(server.farewell())
    }

    /// Marks the Attempt as failed, with the facts of its connection.
    fn fail_attempt(&mut self, answer: &Answer, fault: Fault, first: &FirstBytes, received: u64) {
        let has_begun = self.status > 0;
        let attempt = self.request.attempt();
        attempt.fault = Some(fault);
        attempt.evidence = Some(evidence::gather(
            Some(&answer.server.stream),
            first.as_bytes(),
        ));
        attempt.refusal = Some(if has_begun {
            RetryRefusal::ResponseStarted
        } else {
            RetryRefusal::NotConfigured
        });
        self.finish_attempt(answer, received);
    }

    /// Marks the Attempt as done, after `received` bytes from the server.
    pub(super) fn finish_attempt(&mut self, answer: &Answer, received: u64) {
        self.body_in = self.body_in.max(answer.upload.body_in());
        let head_len = self.request.response.len as u64;
        let attempt = self.request.attempt();
        attempt.bytes_sent = answer.upload.totals().0;
        attempt.bytes_received = received;
        attempt.body_received = received.saturating_sub(head_len);
        self.close_attempt(answer.member);
    }
}
