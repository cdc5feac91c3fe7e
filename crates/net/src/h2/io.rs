//! A stream of bytes as the library wants it, with a meter on what comes in.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use clearway_outcome::{FaultKind, FirstBytes, Signal, TcpFacts, TcpPace, TlsFacts};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::fault::{self, H2Error, Other};
use super::meter::{Farewell, Meter};
use crate::kernel;
use crate::stream::Stream;

/// Most bytes that are read from a connection which is over.
const THROW_AWAY: usize = 1 << 20;

/// What a connection and its streams know of each other.
#[derive(Debug)]
pub(super) struct Link {
    /// The socket, for facts about it; negative when it is closed.
    fd: AtomicI32,
    tls: Option<Box<TlsFacts>>,
    /// Streams that are in use.
    active: AtomicU32,
    /// The connection takes no more streams.
    is_closed: AtomicBool,
    /// The TLS handshake beneath is not complete.
    is_early: AtomicBool,
    rare: Mutex<Rare>,
}

/// What is seldom asked for.
#[derive(Debug, Default)]
struct Rare {
    first: FirstBytes,
    flood: Option<FaultKind>,
    goaway: Option<Farewell>,
    lost: Option<Lost>,
    /// The other side's settings are here.
    is_settled: bool,
    /// Who waits for them, or for the TLS handshake.
    waiting: Vec<Waker>,
    waker: Option<Waker>,
}

impl Rare {
    fn wait<T>(&mut self, cx: &Context<'_>) -> Poll<T> {
        if !self.waiting.iter().any(|w| w.will_wake(cx.waker())) {
            self.waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }
}

/// How a connection broke, from the first error that reading or writing it met. The library keeps no
/// more of an error than its kind.
#[derive(Debug)]
struct Lost {
    kind: io::ErrorKind,
    errno: Option<i32>,
    tls: Option<rustls::Error>,
}

impl Lost {
    fn of(error: &io::Error) -> Self {
        let inner = error.get_ref();
        Self {
            kind: error.kind(),
            errno: error.raw_os_error(),
            tls: inner
                .and_then(|inner| inner.downcast_ref::<rustls::Error>())
                .cloned(),
        }
    }

    fn error(&self) -> io::Error {
        match (&self.tls, self.errno) {
            (Some(tls), _) => io::Error::new(self.kind, tls.clone()),
            (None, Some(errno)) => io::Error::from_raw_os_error(errno),
            (None, None) => self.kind.into(),
        }
    }
}

impl Link {
    pub(super) fn new(stream: &Stream) -> Arc<Self> {
        Arc::new(Self {
            fd: AtomicI32::new(stream.tcp_fd().unwrap_or(-1)),
            tls: stream.tls_facts(),
            active: AtomicU32::new(0),
            is_closed: AtomicBool::new(false),
            is_early: AtomicBool::new(stream.is_early()),
            rare: Mutex::default(),
        })
    }

    fn rare(&self) -> MutexGuard<'_, Rare> {
        self.rare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn tcp_facts(&self) -> Option<TcpFacts> {
        let fd = self.fd.load(Ordering::Relaxed);
        (fd >= 0).then(|| kernel::tcp_facts(fd)).flatten()
    }

    pub(super) fn tcp_pace(&self) -> Option<TcpPace> {
        let fd = self.fd.load(Ordering::Relaxed);
        (fd >= 0).then(|| kernel::tcp_pace(fd)).flatten()
    }

    pub(super) fn tls_facts(&self) -> Option<Box<TlsFacts>> {
        self.tls.clone()
    }

    /// The first bytes that came.
    pub(super) fn first(&self) -> FirstBytes {
        self.rare().first
    }

    /// What there was too much of.
    pub(super) fn flood(&self) -> Option<FaultKind> {
        self.rare().flood
    }

    /// The newest GOAWAY that came.
    pub(super) fn goaway(&self) -> Option<Signal> {
        self.rare().goaway.map(|goaway| Signal::H2Goaway {
            code: goaway.code,
            last_stream: goaway.last_stream,
        })
    }

    /// The error that ended the connection; `UnexpectedEof` when the other side closed it.
    pub(super) fn lost(&self) -> io::Error {
        match &self.rare().lost {
            Some(lost) => lost.error(),
            None => io::ErrorKind::UnexpectedEof.into(),
        }
    }

    /// The library's error as one of a stream.
    pub(super) fn error(&self, error: &h2::Error, other: Other) -> io::Error {
        if other == Other::Server && self.flood().is_some() {
            // It was left, whatever the library makes of that.
            let kind = FaultKind::ServerH2Protocol;
            return H2Error { kind, signal: None }.into();
        }
        if error.is_io() {
            return self.lost();
        }
        fault::of(error, other, self.goaway()).into()
    }

    fn note_lost(&self, error: &io::Error) {
        let lost = Lost::of(error);
        let known = &mut self.rare().lost;
        // An alert says more than that nobody listens any longer.
        if known.is_none() || lost.tls.is_some() {
            *known = Some(lost);
        }
    }

    /// Notes the task that drives the connection.
    pub(super) fn note_waker(&self, cx: &Context<'_>) {
        let waker = &mut self.rare().waker;
        if !waker.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
    }

    /// Streams that are in use.
    pub(super) fn active(&self) -> u32 {
        self.active.load(Ordering::Relaxed)
    }

    /// Whether the connection takes no more streams.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Relaxed)
    }

    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
        self.wake_waiting();
    }

    fn wake_waiting(&self) {
        let waiting = std::mem::take(&mut self.rare().waiting);
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Polls until the other side's settings are here.
    pub(super) fn poll_settled(&self, cx: &Context<'_>) -> Poll<()> {
        let mut rare = self.rare();
        if rare.is_settled {
            return Poll::Ready(());
        }
        rare.wait(cx)
    }

    /// Whether the TLS handshake beneath is not complete.
    pub(super) fn is_early(&self) -> bool {
        self.is_early.load(Ordering::Relaxed)
    }

    /// Polls until the TLS handshake beneath is complete; whoever drives the connection brings it there.
    pub(super) fn poll_confirmed(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_early() {
            return Poll::Ready(Ok(()));
        }
        if self.is_closed() {
            return Poll::Ready(Err(self.lost()));
        }
        self.rare().wait(cx)
    }

    /// Notes how far the TLS handshake is.
    fn note_handshake(&self, stream: &Stream) {
        if self.is_early() && !stream.is_early() {
            self.is_early.store(false, Ordering::Relaxed);
            self.wake_waiting();
        }
    }

    /// Counts a stream in.
    pub(super) fn enter(&self) {
        self.active.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a stream out; whoever drives the connection looks whether it was the last.
    pub(super) fn leave(&self) {
        if self.active.fetch_sub(1, Ordering::Relaxed) == 1
            && let Some(waker) = &self.rare().waker
        {
            waker.wake_by_ref();
        }
    }
}

/// The connection beneath.
#[derive(Debug)]
pub(super) struct Io {
    stream: Stream,
    /// Bytes that were read before HTTP/2 was known to be spoken.
    early: Vec<u8>,
    meter: Meter,
    link: Arc<Link>,
    has_flood: bool,
    has_first: bool,
    is_settled: bool,
    thrown_away: usize,
}

impl Io {
    /// A connection that begins with `early`, and with `preface` bytes of no frame.
    pub(super) fn new(stream: Stream, early: Vec<u8>, preface: usize, link: Arc<Link>) -> Self {
        Self {
            stream,
            early,
            meter: Meter::new(preface),
            link,
            has_flood: false,
            has_first: false,
            is_settled: false,
            thrown_away: 0,
        }
    }

    /// A write to somebody who is gone is taken for done: reading goes on, because what was said before
    /// the end, such as GOAWAY, an answer or an alert, may be here and not read yet. Then it meets the
    /// end.
    fn despite(&self, result: io::Result<usize>, all: usize) -> io::Result<usize> {
        match result {
            // FIN had come before.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(all),
            Err(error) => {
                self.link.note_lost(&error);
                if error.kind() == io::ErrorKind::ConnectionReset {
                    Ok(all)
                } else {
                    Err(error)
                }
            }
            Ok(count) => Ok(count),
        }
    }

    fn note(&mut self, bytes: &[u8]) {
        if !std::mem::replace(&mut self.has_first, true) {
            self.link.rare().first = FirstBytes::of(bytes);
        }
        let before = self.meter.goaway();
        if let Err(kind) = self.meter.count(bytes) {
            self.has_flood = true;
            self.link.rare().flood = Some(kind);
        }
        if !self.is_settled && self.meter.is_settled() {
            self.is_settled = true;
            self.link.rare().is_settled = true;
            self.link.wake_waiting();
        }
        if self.meter.goaway() != before {
            self.link.rare().goaway = self.meter.goaway();
        }
    }
}

impl Drop for Io {
    fn drop(&mut self) {
        self.link.fd.store(-1, Ordering::Relaxed);
        self.link.close();
    }
}

impl AsyncRead for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.has_flood {
            // Nothing more of it is worked on.
            return Poll::Pending;
        }
        if !self.early.is_empty() {
            let mut early = std::mem::take(&mut self.early);
            let rest = early.split_off(early.len().min(buf.remaining()));
            buf.put_slice(&early);
            self.note(&early);
            self.early = rest;
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let polled = self.stream.poll_read_plain(cx, buf.initialize_unfilled());
        self.link.note_handshake(&self.stream);
        let count = ready!(polled).inspect_err(|error| self.link.note_lost(error))?;
        buf.advance(count);
        self.note(buf.filled().get(before..).unwrap_or_default());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = self.stream.poll_write(cx, bytes);
        written.map(|result| self.despite(result, bytes.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = self.stream.poll_write_slices(cx, slices);
        let all = slices.iter().map(|slice| slice.len()).sum();
        written.map(|result| self.despite(result, all))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A write is only ready when all of it is with the kernel.
        Poll::Ready(Ok(()))
    }

    /// Ends our direction, and reads on for a while: what was said last must not be lost to the reset
    /// that unread bytes cause when a socket is closed.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.stream.poll_finish(cx))?;
        let mut room = [0; 4_096];
        while self.thrown_away < THROW_AWAY {
            match ready!(self.stream.poll_read_plain(cx, &mut room)) {
                Ok(count) if count > 0 => self.thrown_away += count,
                _ => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}
