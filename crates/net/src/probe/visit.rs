//! One connection of a probe: its phases, what was sent and received, and how it failed.

use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use clearway_base::clock;
use clearway_http::proxy_protocol;
use clearway_outcome::{
    Attempt, Ending, Evidence, Fault, FaultKind, Phase, Side, Signal, TcpPath, errno_name,
};
use tokio::time::Instant;

use super::{Http2, ProbeReport, ProxyHeader};
use crate::connect::{self, Target};
use crate::h2::{Driver, Trunk, TrunkSettings};
use crate::kernel;
use crate::stream::{Stream, fault_of};
use crate::tls::{ClientTls, Connecting, ServerName};

/// Most bytes of a response that are read.
pub(super) const READ_MAX: usize = 64 << 10;
/// How long the rest of a response may take after the verdict.
const LEAVE_LIMIT: Duration = Duration::from_millis(200);

/// Why a probe did not pass.
pub(super) struct Failure {
    pub(super) kind: FaultKind,
    errno: i32,
    signal: Option<Signal>,
    words: String,
}

impl Failure {
    pub(super) fn new(kind: FaultKind, words: String) -> Self {
        Self {
            kind,
            errno: 0,
            signal: None,
            words,
        }
    }

    /// The same, with the place where it happened.
    pub(super) fn at(mut self, place: &str) -> Self {
        self.words.push_str(place);
        self
    }

    /// A failure in which the server says why.
    pub(super) fn said(kind: FaultKind, signal: Signal) -> Self {
        let what = kind.summary().trim_end_matches('.');
        Self {
            signal: Some(signal),
            ..Self::new(kind, format!("{what} ({signal})"))
        }
    }
}

/// A probe under way.
pub(super) struct Visit {
    attempt: Attempt,
    stage: Stage,
    stream: Option<Stream>,
    /// Moves the frames of an HTTP/2 connection, of which `stream` is one then.
    driver: Option<Driver>,
    /// What the server sent and nobody has consumed.
    pub(super) buf: Vec<u8>,
    evidence: Evidence,
    /// The server may still be writing.
    unfinished: bool,
    /// How the connection ended, as far as was read.
    pub(super) ending: Ending,
    /// Where in a script it is; empty where there is none.
    pub(super) place: String,
    /// What is told of a script that passes, where that is said.
    pub(super) said: Option<String>,
}

impl Visit {
    pub(super) fn new(attempt: Attempt) -> Self {
        Self {
            attempt,
            stage: Stage::Connect,
            stream: None,
            driver: None,
            buf: Vec::new(),
            evidence: Evidence::default(),
            unfinished: false,
            ending: Ending::Unconnected,
            place: String::new(),
            said: None,
        }
    }

    /// Microseconds since the Attempt began.
    pub(super) fn elapsed_us(&self) -> u64 {
        clock::now().micros_since(self.attempt.started)
    }

    pub(super) async fn connect(
        &mut self,
        target: &Target,
        source: Option<IpAddr>,
    ) -> Result<(), Failure> {
        let stream = connect::connect(target, source)
            .await
            .map_err(|error| Failure {
                kind: connect::fault(&error),
                errno: error.errno,
                signal: None,
                words: error.to_string(),
            })?;
        self.stream = Some(stream);
        self.ending = Ending::Open;
        self.attempt.connected_us = Some(self.elapsed_us());
        Ok(())
    }

    /// Sends the PROXY header that the server expects.
    pub(super) async fn introduce(&mut self, proxy_header: ProxyHeader) -> Result<(), Failure> {
        let mut header = Vec::new();
        match proxy_header {
            ProxyHeader::Off => {}
            ProxyHeader::V1 => proxy_protocol::write_v1(None, None, &mut header),
            ProxyHeader::V2 => proxy_protocol::write_v2(None, None, &mut header),
        }
        self.send(&header).await
    }

    /// Sets up TLS.
    pub(super) async fn secure(
        &mut self,
        client: &ClientTls,
        name: &ServerName<'static>,
    ) -> Result<(), Failure> {
        self.stage = Stage::Tls;
        let wire = self.stream.as_mut().and_then(Stream::take_plain);
        let connecting = wire.and_then(|wire| Connecting::new(wire, client, name.clone()).ok());
        let Some(mut connecting) = connecting else {
            let words = "TLS could not be begun".to_owned();
            return Err(Failure::new(FaultKind::ServerTlsProtocol, words));
        };
        if let Err(error) = poll_fn(|cx| connecting.poll(cx)).await {
            let (failure, first, wire) = connecting.refuse(Some(&error));
            self.evidence.keep_first(first.as_bytes());
            self.stream = Some(Stream::Plain(wire));
            if failure.kind == FaultKind::ServerTlsClosed {
                self.ending = Ending::Fin;
            } else if failure.kind == FaultKind::ServerTlsReset {
                self.ending = Ending::Reset;
            } else if failure.signal.is_some() {
                self.ending = Ending::Said;
            }
            let mut words = failure.kind.summary().trim_end_matches('.').to_owned();
            if let Some(signal) = failure.signal {
                words.push_str(&format!(" ({signal})"));
            } else if !failure.words.is_empty() {
                words.push_str(&format!(" ({})", failure.words));
            }
            self.evidence.tls = Some(Box::new(failure.facts));
            return Err(Failure {
                kind: failure.kind,
                errno: failure.errno,
                signal: failure.signal,
                words,
            });
        }
        self.stream = Some(Stream::Tls(Box::new(connecting.finish())));
        self.attempt.connected_us = Some(self.elapsed_us());
        Ok(())
    }

    /// Whether TLS has agreed on HTTP/2.
    fn has_agreed_on_http2(&self) -> bool {
        let alpn = self.stream.as_ref().and_then(Stream::tls_alpn);
        alpn == Some(b"h2")
    }

    /// Speaks HTTP/2 from here on, where it is to be spoken.
    pub(super) async fn share_if(&mut self, http2: Http2) -> Result<(), Failure> {
        match http2 {
            Http2::Always => self.share().await,
            Http2::Agreed if self.has_agreed_on_http2() => self.share().await,
            Http2::Agreed | Http2::Never => Ok(()),
        }
    }

    /// Speaks HTTP/2 from here on, over one stream of the connection.
    async fn share(&mut self) -> Result<(), Failure> {
        self.stage = Stage::Send;
        let is_refused = matches!(self.stream, Some(Stream::Tls(_))) && !self.has_agreed_on_http2();
        if is_refused {
            self.stage = Stage::Tls;
            let words = "the server did not agree on HTTP/2 in the TLS handshake".to_owned();
            return Err(Failure::new(FaultKind::ServerRefusesHttp2, words));
        }
        let Some(stream) = self.stream.take() else {
            return Ok(());
        };
        let settings = TrunkSettings {
            header_bytes: READ_MAX,
            window: u32::try_from(READ_MAX).unwrap_or(u32::MAX),
        };
        match Trunk::open(stream, &settings).await {
            Ok((trunk, driver)) => {
                self.stream = Some(Stream::H2(Box::new(trunk.stream())));
                self.driver = Some(driver);
                Ok(())
            }
            Err(error) => Err(self.broken(&error)),
        }
    }

    /// Moves frames, where there are any to move.
    fn drive(&mut self, cx: &mut Context<'_>) {
        if let Some(driver) = &mut self.driver
            && Pin::new(driver).poll(cx).is_ready()
        {
            self.driver = None;
        }
    }

    /// Tells the end of what was sent over HTTP/2.
    pub(super) fn end(&mut self) -> Result<(), Failure> {
        let stream = self.stream.as_mut().and_then(Stream::h2_mut);
        let told = stream.map_or(Ok(()), |stream| stream.finish(&[]));
        told.map_err(|error| self.broken(&error))
    }

    /// The trailers that came over HTTP/2, a line each; after the end was read.
    pub(super) fn trailers(&mut self) -> Vec<u8> {
        let stream = self.stream.as_mut().and_then(Stream::h2_mut);
        stream
            .map(|stream| stream.take_trailers())
            .unwrap_or_default()
    }

    /// Notes that what is written from here on by [`Visit::send_raw`] is a handshake of TLS.
    pub(super) fn begin_tls(&mut self) {
        self.stage = Stage::Tls;
    }

    /// Writes all of `bytes`, of a request.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.stage = Stage::Send;
        self.send_raw(bytes).await
    }

    /// Writes all of `bytes`.
    pub(super) async fn send_raw(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let written = poll_fn(|cx| {
                self.drive(cx);
                match &mut self.stream {
                    Some(stream) => stream.poll_write(cx, rest),
                    None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
                }
            });
            let count = match written.await {
                Ok(0) => Err(io::ErrorKind::WriteZero.into()),
                other => other,
            };
            let count = count.map_err(|error| self.broken(&error))?;
            rest = rest.get(count..).unwrap_or_default();
        }
        self.attempt.bytes_sent += bytes.len() as u64;
        Ok(())
    }

    /// Notes that the request is out.
    pub(super) fn sent(&mut self) {
        self.attempt.sent_us = Some(self.elapsed_us());
        self.stage = Stage::Wait;
        self.unfinished = true;
    }

    /// Notes that an interim response is complete: the final one is waited for.
    pub(super) fn interim_done(&mut self) {
        self.stage = if self.buf.is_empty() {
            Stage::Wait
        } else {
            Stage::Head
        };
    }

    /// Notes that the head is complete.
    /// Notes the status that the server names.
    pub(super) fn note_status(&mut self, status: u16) {
        self.attempt.status = status;
    }

    pub(super) fn head_done(&mut self, status: u16) {
        self.attempt.status = status;
        self.stage = Stage::Body;
    }

    /// Notes that the response is complete. Over HTTP/2 its end is still to be told.
    pub(super) fn finished(&mut self) {
        self.unfinished &= self.driver.is_some();
    }

    /// Reads more into `buf`; `false` is FIN.
    pub(super) async fn read(&mut self) -> Result<bool, Failure> {
        let mut room = [0; 4_096];
        let read = poll_fn(|cx| {
            self.drive(cx);
            match &mut self.stream {
                Some(stream) => stream.poll_read_plain(cx, &mut room),
                None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
            }
        });
        let count = read.await.map_err(|error| self.broken(&error))?;
        if count == 0 {
            self.unfinished = false;
            self.ending = Ending::Fin;
            return Ok(false);
        }
        self.buf
            .extend_from_slice(room.get(..count).unwrap_or_default());
        if self.attempt.first_byte_us.is_none() {
            self.attempt.first_byte_us = Some(self.elapsed_us());
            self.evidence.keep_first(&self.buf);
        }
        if self.stage == Stage::Wait {
            self.stage = Stage::Head;
        }
        self.attempt.bytes_received += count as u64;
        Ok(true)
    }

    /// FIN came too early.
    pub(super) fn closed(&self) -> Failure {
        self.ended(FinOrRst::Fin, 0)
    }

    fn broken(&mut self, error: &io::Error) -> Failure {
        self.unfinished = false;
        if let Some((kind, signal)) = fault_of(error, true) {
            self.ending = Ending::Said;
            return match signal {
                Some(signal) => Failure::said(kind, signal),
                None => Failure::new(kind, kind.summary().trim_end_matches('.').to_owned()),
            };
        }
        let ends = [io::ErrorKind::BrokenPipe, io::ErrorKind::UnexpectedEof];
        let how = if ends.contains(&error.kind()) {
            FinOrRst::Fin
        } else {
            FinOrRst::Rst
        };
        self.ending = match how {
            FinOrRst::Fin => Ending::Fin,
            FinOrRst::Rst => Ending::Reset,
        };
        self.ended(how, error.raw_os_error().unwrap_or(0))
    }

    fn ended(&self, how: FinOrRst, errno: i32) -> Failure {
        use FinOrRst::{Fin, Rst};
        let (kind, when) = match (self.stage, how) {
            (Stage::Connect | Stage::Tls | Stage::Send, Fin) => (
                FaultKind::ServerClosedWhileSending,
                "while the request was sent",
            ),
            (Stage::Connect | Stage::Tls | Stage::Send, Rst) => (
                FaultKind::ServerResetWhileSending,
                "while the request was sent",
            ),
            (Stage::Wait, Fin) => (
                FaultKind::ServerClosedNoResponse,
                "without a byte of response",
            ),
            (Stage::Wait, Rst) => (
                FaultKind::ServerResetNoResponse,
                "without a byte of response",
            ),
            (Stage::Head, Fin) => (
                FaultKind::ResponseHeadTruncated,
                "in the middle of the response head",
            ),
            (Stage::Head, Rst) => (
                FaultKind::ResponseHeadReset,
                "in the middle of the response head",
            ),
            (Stage::Body, Fin) => (FaultKind::ResponseBodyShort, "before the end of the body"),
            (Stage::Body, Rst) => (FaultKind::ResponseBodyReset, "before the end of the body"),
        };
        let what = match how {
            Fin => "closed",
            Rst => "reset",
        };
        let mut words = format!("the server {what} the connection {when}");
        if let Some(name) = errno_name(errno) {
            words.push_str(&format!(" ({name})"));
        }
        Failure {
            kind,
            errno,
            signal: None,
            words,
        }
    }

    /// The time is over: what that means depends on how far it came.
    pub(super) fn timed_out(&self, limit: Duration) -> Failure {
        let (kind, what) = match self.stage {
            Stage::Connect => (
                FaultKind::ConnectTimeout,
                "the connection attempt was not answered",
            ),
            Stage::Tls => (
                FaultKind::ServerTlsTimeout,
                "connected, but the TLS handshake was not complete",
            ),
            Stage::Send => (
                FaultKind::ServerWriteTimeout,
                "the server did not take the request",
            ),
            Stage::Wait => (
                FaultKind::ResponseTimeout,
                "connected, but no byte of response came",
            ),
            Stage::Head => (
                FaultKind::ResponseHeadStalled,
                "the response head was not complete",
            ),
            Stage::Body => (FaultKind::ResponseBodyStalled, "the body was not complete"),
        };
        Failure::new(kind, format!("{what} within {limit:?}{}", self.place))
    }

    /// Puts the verdict on record.
    pub(super) fn report(&mut self, verdict: Result<String, Failure>) -> ProbeReport {
        let ended_us = self.elapsed_us();
        let mut attempt = self.attempt.clone();
        attempt.ended_us = ended_us;
        let words = match verdict {
            // What is said of it is told as it is.
            Ok(words) if self.said.as_ref() == Some(&words) => words,
            Ok(words) => format!("{words} in {}", milliseconds(ended_us)),
            Err(Failure {
                kind,
                errno,
                signal,
                words,
            }) => {
                let fault = Fault::new(kind, self.stage.phase(), Side::Server);
                let fault = fault.with_errno(errno).with_signal(signal);
                attempt.fault = Some(fault.after(ended_us));
                self.evidence.tcp = self.stream.as_ref().and_then(Stream::tcp_facts);
                attempt.evidence = Some(Box::new(std::mem::take(&mut self.evidence)));
                self.unfinished &= matches!(kind, FaultKind::ProbeStatus | FaultKind::ProbeBody);
                words
            }
        };
        ProbeReport { attempt, words }
    }

    /// What the kernel knows about the way to the server.
    pub(super) fn tcp_path(&self) -> Option<TcpPath> {
        kernel::tcp_path(self.stream.as_ref()?.tcp_fd()?)
    }

    /// As [`Visit::report`], but what was seen is kept whatever the verdict.
    pub(super) fn testify(&mut self, verdict: Result<String, Failure>) -> Attempt {
        let mut evidence = self.evidence.clone();
        evidence.tcp = self.stream.as_ref().and_then(Stream::tcp_facts);
        if evidence.tls.is_none() {
            evidence.tls = self.stream.as_ref().and_then(Stream::tls_facts);
        }
        let mut attempt = self.report(verdict).attempt;
        attempt.evidence = Some(Box::new(evidence));
        attempt
    }

    /// Reads the rest of a response within bounds: closing on a server that still writes is a reset to
    /// it, and an error in its log for every probe.
    pub(super) async fn leave(mut self) {
        let deadline = Instant::now() + LEAVE_LIMIT;
        let rest = async {
            let mut left = READ_MAX;
            while self.unfinished && left > 0 {
                self.buf.clear();
                if self.read().await.is_err() {
                    return;
                }
                left = left.saturating_sub(self.buf.len());
            }
        };
        // Whether it came to its end makes no difference.
        tokio::time::timeout_at(deadline, rest)
            .await
            .unwrap_or_default();
        if self.driver.is_none() {
            return;
        }
        // The stream's end is told, and that nothing follows it.
        self.stream = None;
        let over = poll_fn(|cx| {
            self.drive(cx);
            match self.driver {
                Some(_) => Poll::Pending,
                None => Poll::Ready(()),
            }
        });
        tokio::time::timeout_at(deadline, over)
            .await
            .unwrap_or_default();
    }
}

#[derive(Clone, Copy)]
enum FinOrRst {
    Fin,
    Rst,
}

/// How far a visit has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Connect,
    Tls,
    Send,
    Wait,
    Head,
    Body,
}

impl Stage {
    fn phase(self) -> Phase {
        match self {
            Self::Connect => Phase::Connect,
            Self::Tls => Phase::Tls,
            Self::Send => Phase::Send,
            Self::Wait => Phase::Wait,
            Self::Head => Phase::ResponseHead,
            Self::Body => Phase::ResponseBody,
        }
    }
}

/// A time with three digits that matter.
fn milliseconds(us: u64) -> String {
    match us {
        0..10_000 => format!("{}.{:02} ms", us / 1_000, us % 1_000 / 10),
        _ => format!("{} ms", us / 1_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_readable() {
        assert_eq!(milliseconds(345), "0.34 ms");
        assert_eq!(milliseconds(9_999), "9.99 ms");
        assert_eq!(milliseconds(1_234_567), "1234 ms");
    }
}
