//! One stream of HTTP/2, as a connection of HTTP/1.1 that carries one message each way.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use clearway_outcome::{FaultKind, Signal, Spoken, TcpFacts, TcpPace, TlsFacts};
use h2::client::{ResponseFuture, SendRequest};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::uri::Scheme;
use http::{Method, StatusCode};

use super::fault::{self, H2Error, Other};
use super::io::Link;
use super::text::{self, Body, Outgoing, Tunnel};

/// Most bytes of a body handed to the library at once.
const CHUNK: usize = 16 * 1_024;

/// What goes out.
enum Sending {
    /// The head of a response is due.
    Response(SendResponse<Bytes>),
    /// The head of a request is due.
    Request(SendRequest<Bytes>, Scheme),
    /// A body is due.
    Body(SendStream<Bytes>, Body),
    /// All was sent.
    Done(SendStream<Bytes>),
    /// Nothing can be sent.
    Failed,
}

/// What comes in.
enum Receiving {
    /// The request was not sent yet.
    Nothing,
    /// The head of a response.
    Head(ResponseFuture),
    /// A body.
    Body(RecvStream),
    /// All is here.
    Done,
}

/// One stream of a connection, with a client or a server.
pub struct H2Stream {
    link: Arc<Link>,
    other: Other,
    sending: Sending,
    receiving: Receiving,
    /// A head as text that nobody has read yet, from `head_read` on.
    head: Vec<u8>,
    head_read: usize,
    /// Body bytes that nobody has read yet.
    data: Bytes,
    /// Trailers that came, a line each.
    trailers: Vec<u8>,
    /// The answer to a HEAD request has no body.
    is_head: bool,
    /// A client's extended CONNECT, which a response with 101 opens.
    is_tunnel: bool,
    /// Our own extended CONNECT, which any success opens.
    tunnel: Option<Tunnel>,
    /// Why the head could not be sent: shows again when the answer is read.
    failure: Option<H2Error>,
}

impl std::fmt::Debug for H2Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("H2Stream")
            .field("other", &self.other)
            .finish_non_exhaustive()
    }
}

impl H2Stream {
    /// A client's request, whose body comes next.
    pub(super) fn request(
        link: &Arc<Link>,
        respond: SendResponse<Bytes>,
        body: RecvStream,
        method: &Method,
        is_tunnel: bool,
    ) -> Self {
        let mut stream = Self::new(link, Other::Client, Sending::Response(respond));
        stream.is_head = method == Method::HEAD;
        stream.is_tunnel = is_tunnel;
        if !body.is_end_stream() {
            stream.receiving = Receiving::Body(body);
        } else {
            stream.receiving = Receiving::Done;
        }
        stream
    }

    /// A stream to a server, on which a request may be written.
    pub(super) fn to_server(link: &Arc<Link>, send: SendRequest<Bytes>, scheme: Scheme) -> Self {
        Self::new(link, Other::Server, Sending::Request(send, scheme))
    }

    fn new(link: &Arc<Link>, other: Other, sending: Sending) -> Self {
        link.enter();
        Self {
            link: Arc::clone(link),
            other,
            sending,
            receiving: Receiving::Nothing,
            head: Vec::new(),
            head_read: 0,
            data: Bytes::new(),
            trailers: Vec::new(),
            is_head: false,
            is_tunnel: false,
            tunnel: None,
            failure: None,
        }
    }

    fn failed(&self, error: &h2::Error) -> io::Error {
        let first = self.link.first();
        if self.other == Other::Server && !error.is_remote() && !may_be_h2(first.as_bytes()) {
            let kind = match Spoken::of(first.as_bytes()) {
                Some(Spoken::Http1Response { .. } | Spoken::Html) => FaultKind::ServerSpeaksHttp1,
                Some(Spoken::TlsAlert { .. } | Spoken::TlsServerHello | Spoken::TlsRecord) => {
                    FaultKind::ServerSpeaksTls
                }
                _ => FaultKind::ResponseNotHttp,
            };
            return H2Error { kind, signal: None }.into();
        }
        self.link.error(error, self.other)
    }

    /// Whether the TLS handshake of its connection is not complete.
    pub(crate) fn is_early(&self) -> bool {
        self.link.is_early()
    }

    /// Polls until the TLS handshake of its connection is complete.
    pub(crate) fn poll_confirmed(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        self.link.poll_confirmed(cx)
    }

    /// Polls for bytes into `room`: of a head, then of the body; 0 means the end.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        room: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            if self.head_read < self.head.len() {
                let rest = self.head.get(self.head_read..).unwrap_or_default();
                let count = rest.len().min(room.len());
                copy(rest, room, count);
                self.head_read += count;
                return Poll::Ready(Ok(count));
            }
            if !self.data.is_empty() {
                return Poll::Ready(Ok(self.take_data(room)));
            }
            match &mut self.receiving {
                Receiving::Nothing if let Some(failure) = self.failure => {
                    return Poll::Ready(Err(failure.into()));
                }
                Receiving::Nothing | Receiving::Done => return Poll::Ready(Ok(0)),
                Receiving::Head(_) => ready!(self.poll_head(cx))?,
                Receiving::Body(body) => match ready!(body.poll_data(cx)) {
                    Some(Ok(data)) => self.data = data,
                    Some(Err(error)) => return Poll::Ready(self.end_of_body(&error)),
                    None => {
                        let trailers = ready!(body.poll_trailers(cx));
                        self.receiving = Receiving::Done;
                        if let Some(trailers) = trailers.map_err(|e| self.failed(&e))? {
                            text::write_fields(&trailers, &mut self.trailers);
                        }
                    }
                },
            }
        }
    }

    /// A body that was cut; after a whole answer `NO_ERROR` only says that the rest of the request is
    /// not wanted (RFC 9113 section 8.1).
    fn end_of_body(&mut self, error: &h2::Error) -> io::Result<usize> {
        if error.reason() == Some(Reason::NO_ERROR) && error.is_reset() {
            self.receiving = Receiving::Done;
            return Ok(0);
        }
        Err(self.failed(error))
    }

    fn take_data(&mut self, room: &mut [u8]) -> usize {
        let count = self.data.len().min(room.len());
        copy(&self.data, room, count);
        self.data.advance(count);
        if let Receiving::Body(body) = &mut self.receiving {
            // What was taken makes room for more. It cannot be more than what came.
            body.flow_control()
                .release_capacity(count)
                .unwrap_or_default();
        }
        count
    }

    /// Waits for the head of a response, interim or final, and writes it down as text.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Receiving::Head(response) = &mut self.receiving else {
            return Poll::Ready(Ok(()));
        };
        self.head.clear();
        self.head_read = 0;
        match response.poll_informational(cx) {
            Poll::Ready(Some(Ok(interim))) => {
                text::write_response(&interim.into_parts().0, &mut self.head);
                return Poll::Ready(Ok(()));
            }
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(self.failed(&error))),
            Poll::Ready(None) | Poll::Pending => {}
        }
        let response = ready!(std::pin::Pin::new(response).poll(cx));
        let (parts, body) = response.map_err(|e| self.failed(&e))?.into_parts();
        match &self.tunnel {
            Some(tunnel) if parts.status.is_success() => {
                text::write_switch(&parts, tunnel, &mut self.head);
            }
            _ => text::write_response(&parts, &mut self.head),
        }
        self.receiving = if body.is_end_stream() {
            Receiving::Done
        } else {
            Receiving::Body(body)
        };
        Poll::Ready(Ok(()))
    }

    /// Whether all was read, trailers too.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        let has_ended = match &self.receiving {
            Receiving::Done => true,
            Receiving::Body(body) => body.is_end_stream(),
            Receiving::Nothing | Receiving::Head(_) => false,
        };
        has_ended
            && self.head_read == self.head.len()
            && self.data.is_empty()
            && self.trailers.is_empty()
    }

    /// The trailers that came, a line each; after the end was read.
    pub fn take_trailers(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.trailers)
    }

    /// Polls to write a head, which has to be whole, and of the body what there is room for; with
    /// `last` nothing follows it.
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
        last: bool,
    ) -> Poll<io::Result<usize>> {
        let mut taken = 0;
        for (at, part) in parts.iter().enumerate() {
            let mut part: &[u8] = part;
            while !part.is_empty() {
                let is_last = last && at + 1 == parts.len();
                let count = if matches!(self.sending, Sending::Body(..)) {
                    match self.poll_body(cx, part, is_last) {
                        Poll::Ready(Ok(count)) => count,
                        Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                        Poll::Pending if taken > 0 => return Poll::Ready(Ok(taken)),
                        Poll::Pending => return Poll::Pending,
                    }
                } else {
                    self.write_head(part)?
                };
                taken += count;
                part = part.get(count..).unwrap_or_default();
            }
        }
        Poll::Ready(Ok(taken))
    }

    /// Sends the head at the start of `part`; its length.
    fn write_head(&mut self, part: &[u8]) -> io::Result<usize> {
        let Some(len) = text::head_len(part) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let head = part.get(..len).unwrap_or_default();
        match std::mem::replace(&mut self.sending, Sending::Failed) {
            Sending::Response(respond) => self.write_response(respond, head)?,
            Sending::Request(send, scheme) => self.write_request(send, &scheme, head)?,
            // Behind the end of a message nothing is sent.
            done @ (Sending::Body(..) | Sending::Done(_) | Sending::Failed) => {
                self.sending = done;
                return Ok(part.len());
            }
        }
        Ok(len)
    }

    fn write_response(&mut self, mut respond: SendResponse<Bytes>, head: &[u8]) -> io::Result<()> {
        let malformed = |_| io::Error::from(io::ErrorKind::InvalidData);
        let (mut response, mut body) = text::read_response(head).map_err(malformed)?;
        let status = response.status();
        if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
            let sent = respond.send_informational(response);
            self.sending = Sending::Response(respond);
            return sent.map_err(|e| self.failed(&e));
        }
        if status == StatusCode::SWITCHING_PROTOCOLS {
            if !self.is_tunnel {
                return Err(io::ErrorKind::InvalidData.into());
            }
            *response.status_mut() = StatusCode::OK;
            response
                .headers_mut()
                .remove(http::header::SEC_WEBSOCKET_ACCEPT);
            body = Body::Open;
        }
        if self.is_head || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED {
            body = Body::None;
        }
        let sent = respond.send_response(response, body == Body::None);
        let send = sent.map_err(|e| self.failed(&e))?;
        self.sending = sending(send, body);
        Ok(())
    }

    fn write_request(
        &mut self,
        mut send: SendRequest<Bytes>,
        scheme: &Scheme,
        head: &[u8],
    ) -> io::Result<()> {
        let malformed = |_| io::Error::from(io::ErrorKind::InvalidData);
        let Outgoing {
            request,
            body,
            tunnel,
        } = text::read_request(head, scheme).map_err(malformed)?;
        let sent = send.send_request(request, body == Body::None);
        let (response, stream) = match sent {
            Ok(sent) => sent,
            Err(error) => {
                // The connection was given up between the look at it and now: nothing was sent.
                let kind = FaultKind::ServerGoaway;
                let signal = fault::of(&error, Other::Server, self.link.goaway()).signal;
                let failure = H2Error { kind, signal };
                self.failure = Some(failure);
                return Err(failure.into());
            }
        };
        self.receiving = Receiving::Head(response);
        self.tunnel = tunnel;
        self.sending = sending(stream, body);
        Ok(())
    }

    /// Hands over a piece of the body, as far as the windows are open.
    fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        part: &[u8],
        last: bool,
    ) -> Poll<io::Result<usize>> {
        let Sending::Body(send, body) = &mut self.sending else {
            return Poll::Ready(Ok(part.len()));
        };
        let wanted = part.len().min(CHUNK);
        send.reserve_capacity(wanted);
        while send.capacity() == 0 {
            match ready!(send.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(self.failed(&error))),
                None => return Poll::Ready(Err(self.gone(cx))),
            }
        }
        let count = wanted.min(send.capacity());
        let left = match *body {
            Body::Length(left) => Body::Length(left.saturating_sub(count as u64)),
            Body::None | Body::Open => *body,
        };
        let ends = left == Body::Length(0) || (last && count == part.len());
        let piece = Bytes::copy_from_slice(part.get(..count).unwrap_or_default());
        match send.send_data(piece, ends) {
            Ok(()) => *body = left,
            Err(_) => return Poll::Ready(Err(self.gone(cx))),
        }
        if ends {
            self.end();
        }
        Poll::Ready(Ok(count))
    }

    /// Why a stream on which nothing can be sent is not open any more.
    fn gone(&mut self, cx: &mut Context<'_>) -> io::Error {
        match self.poll_reset(cx) {
            Poll::Ready(error) => error,
            Poll::Pending => io::ErrorKind::BrokenPipe.into(),
        }
    }

    fn end(&mut self) {
        self.sending = match std::mem::replace(&mut self.sending, Sending::Failed) {
            Sending::Body(send, _) => Sending::Done(send),
            other @ (Sending::Response(_)
            | Sending::Request(..)
            | Sending::Done(_)
            | Sending::Failed) => other,
        };
    }

    /// Tells the end of the body that was written, with trailers, a line each.
    ///
    /// # Errors
    /// When the stream is not open any more, or less was written than the head had announced: then it
    /// is reset.
    pub fn finish(&mut self, trailers: &[u8]) -> io::Result<()> {
        let Sending::Body(send, body) = &mut self.sending else {
            return Ok(());
        };
        let sent = match body {
            // Less came than the head had announced.
            Body::Length(1..) => {
                send.send_reset(Reason::INTERNAL_ERROR);
                self.end();
                return Err(io::ErrorKind::InvalidData.into());
            }
            Body::None | Body::Open | Body::Length(0) if trailers.is_empty() => {
                send.send_data(Bytes::new(), true)
            }
            Body::None | Body::Open | Body::Length(0) => {
                let trailers = text::read_trailers(trailers);
                send.send_trailers(trailers.unwrap_or_default())
            }
        };
        self.end();
        sent.map_err(|e| self.failed(&e))
    }

    /// Whether the whole message was written.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        matches!(self.sending, Sending::Done(_))
    }

    /// Polls until the other side resets the stream, or its connection ends.
    pub(crate) fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let reset = match &mut self.sending {
            Sending::Response(respond) => respond.poll_reset(cx),
            Sending::Body(send, _) | Sending::Done(send) => send.poll_reset(cx),
            Sending::Request(..) | Sending::Failed => return Poll::Pending,
        };
        Poll::Ready(match ready!(reset) {
            Ok(reason) => {
                let kind = match self.other {
                    Other::Client => FaultKind::ClientReset,
                    Other::Server => fault::reset_by_server(Some(reason)),
                };
                let signal = Some(Signal::H2Reset(reason.into()));
                H2Error { kind, signal }.into()
            }
            Err(error) => self.failed(&error),
        })
    }

    /// Polls until it is known whether a server takes tunnels ([`Tunnel`]), which its settings tell.
    pub fn poll_takes_tunnels(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let Sending::Request(send, _) = &self.sending else {
            return Poll::Ready(true);
        };
        let takes = send.is_extended_connect_protocol_enabled();
        // What is over tells so when the request is to be sent.
        if takes || self.link.is_closed() {
            return Poll::Ready(true);
        }
        self.link.poll_settled(cx).map(|()| false)
    }

    /// The GOAWAY that came before whatever happened to the connection.
    pub(crate) fn farewell(&self) -> Option<Signal> {
        self.link.goaway()
    }

    /// What the kernel knows about the connection.
    pub(crate) fn tcp_facts(&self) -> Option<TcpFacts> {
        self.link.tcp_facts()
    }

    /// How fast the connection goes.
    pub(crate) fn tcp_pace(&self) -> Option<TcpPace> {
        self.link.tcp_pace()
    }

    /// What is known about the connection's TLS.
    pub(crate) fn tls_facts(&self) -> Option<Box<TlsFacts>> {
        self.link.tls_facts()
    }

    fn reset(&mut self, reason: Reason) {
        match &mut self.sending {
            Sending::Response(respond) => respond.send_reset(reason),
            Sending::Body(send, _) | Sending::Done(send) => send.send_reset(reason),
            Sending::Request(..) | Sending::Failed => {}
        }
    }
}

/// Whether a server's first bytes may be the frame that comes first: SETTINGS (RFC 9113 section 3.4).
fn may_be_h2(first: &[u8]) -> bool {
    first.is_empty() || matches!(first, [0, _, _, 4, ..])
}

fn copy(from: &[u8], to: &mut [u8], count: usize) {
    if let (Some(to), Some(from)) = (to.get_mut(..count), from.get(..count)) {
        to.copy_from_slice(from);
    }
}

fn sending(send: SendStream<Bytes>, body: Body) -> Sending {
    match body {
        Body::None => Sending::Done(send),
        Body::Length(_) | Body::Open => Sending::Body(send, body),
    }
}

impl Drop for H2Stream {
    /// A stream that is not over is reset: what was cut must not look whole.
    fn drop(&mut self) {
        let is_read = matches!(self.receiving, Receiving::Done) || self.is_at_end();
        match (self.other, self.is_finished()) {
            (_, true) if is_read => {}
            // The rest of the request is not wanted: the library says NO_ERROR once all that waits is
            // sent (RFC 9113 section 8.1). A reset of ours would throw it away.
            (Other::Client, true) => {}
            // As here: it says CANCEL. What the socket has not taken yet is lost with it.
            (Other::Client, false) if matches!(self.sending, Sending::Body(..)) => {}
            (Other::Client, false) => self.reset(Reason::INTERNAL_ERROR),
            (Other::Server, _) => self.reset(Reason::CANCEL),
        }
        self.link.leave();
    }
}
