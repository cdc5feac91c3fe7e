//! A connection as the data plane uses it: a stream of bytes each way, over a bare socket or TLS.
//!
//! Reads *lease* a buffer from the worker's pool at the moment bytes are there: a connection that
//! waits holds none.
//!
//! All `poll_*` functions register the task for wake-up when they return `Pending`, and are cancel
//! safe: a byte is either still on its way or in the buffer handed back. A write that returned
//! `Pending` is to be repeated with bytes that begin with the same ones, or to be given up together
//! with the connection: TLS has taken them already and only waits for the socket to have room.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;
use std::task::{Context, Poll};

use clearway_base::buffer::{Lease, Pool};
use clearway_outcome::{FaultKind, Signal, TcpFacts, TcpPace, TlsFacts};
use tokio::net::{TcpStream, UnixStream};

use crate::cgi::CgiStream;
use crate::h2::H2Stream;
use crate::tls::TlsStream;
use crate::wire::Wire;

/// A connection.
#[derive(Debug)]
pub enum Stream {
    /// The bytes of the socket themselves.
    Plain(Wire),
    /// TLS over a socket.
    Tls(Box<TlsStream>),
    /// A stream of an HTTP/2 connection, which looks like an HTTP/1.1 connection for one message.
    H2(Box<H2Stream>),
    /// A connection to a server of FastCGI and the like, which looks like an HTTP/1.1 connection for one
    /// message.
    Cgi(Box<CgiStream>),
    /// A connection that was given away: nothing can be done with it.
    Gone,
}

/// What a finished read found.
#[derive(Debug)]
pub enum Read {
    /// At least one byte.
    Bytes(Lease),
    /// The peer has ended its direction: nothing more will come.
    End,
}

impl From<TcpStream> for Stream {
    fn from(stream: TcpStream) -> Self {
        Self::Plain(Wire::Tcp(stream))
    }
}

impl From<UnixStream> for Stream {
    fn from(stream: UnixStream) -> Self {
        Self::Plain(Wire::Unix(stream))
    }
}

impl Stream {
    /// Polls for bytes into a freshly leased buffer.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, pool: &Rc<Pool>) -> Poll<io::Result<Read>> {
        let mut lease = pool.lease();
        match self.poll_read_into(cx, &mut lease) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(0)) => Poll::Ready(Ok(Read::End)),
            Poll::Ready(Ok(_)) => Poll::Ready(Ok(Read::Bytes(lease))),
        }
    }

    /// Polls for more bytes behind those already in `lease`; 0 means the end (or that it is full).
    pub fn poll_read_into(
        &mut self,
        cx: &mut Context<'_>,
        lease: &mut Lease,
    ) -> Poll<io::Result<usize>> {
        let polled = self.poll_read_plain(cx, lease.spare());
        if let Poll::Ready(Ok(count)) = polled {
            lease.advance(count);
        }
        polled
    }

    /// Polls for bytes into `room`; 0 means the end (or that there is no room).
    pub fn poll_read_plain(
        &mut self,
        cx: &mut Context<'_>,
        room: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(wire) => wire.poll_read(cx, room),
            Self::Tls(tls) => tls.poll_read(cx, room),
            Self::H2(stream) => stream.poll_read(cx, room),
            Self::Cgi(stream) => stream.poll_read(cx, room),
            Self::Gone => gone(),
        }
    }

    /// Polls to write some of `data`; returns how much was taken.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(wire) => wire.poll_write(cx, data),
            Self::Tls(tls) => tls.poll_write(cx, &[IoSlice::new(data)]),
            Self::H2(stream) => stream.poll_write(cx, &[IoSlice::new(data)], false),
            Self::Cgi(stream) => stream.poll_write(cx, &[data]),
            Self::Gone => gone(),
        }
    }

    /// Polls to write some of `first` followed by `second` in one system call.
    pub fn poll_write_two(
        &mut self,
        cx: &mut Context<'_>,
        first: &[u8],
        second: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_slices(cx, &[IoSlice::new(first), IoSlice::new(second)])
    }

    /// Polls to write some of `slices`, in their order, in one system call.
    pub fn poll_write_slices(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(wire) => wire.poll_write_slices(cx, slices),
            Self::Tls(tls) => tls.poll_write(cx, slices),
            Self::H2(stream) => stream.poll_write(cx, slices, false),
            Self::Cgi(stream) => {
                let parts: [&[u8]; 2] = [
                    slices.first().map(|part| &**part).unwrap_or_default(),
                    slices.get(1).map(|part| &**part).unwrap_or_default(),
                ];
                stream.poll_write(cx, &parts)
            }
            Self::Gone => gone(),
        }
    }

    /// As [`Stream::poll_write`], for the last bytes of a message: where ends are told, the end may go
    /// along.
    pub fn poll_write_last(
        &mut self,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::H2(stream) => stream.poll_write(cx, &[IoSlice::new(data)], true),
            Self::Plain(_) | Self::Tls(_) | Self::Cgi(_) | Self::Gone => self.poll_write(cx, data),
        }
    }

    /// Writes all of `data`. Not cancel safe: a part may have been written.
    ///
    /// # Errors
    /// The connection's error.
    pub async fn write_all(&mut self, mut data: &[u8]) -> io::Result<()> {
        while !data.is_empty() {
            let count = poll_fn(|cx| self.poll_write(cx, data)).await?;
            if count == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            data = data.get(count..).unwrap_or_default();
        }
        Ok(())
    }

    /// Reads some bytes into `room`; 0 means the end. Cancel safe.
    ///
    /// # Errors
    /// The connection's error.
    pub async fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| self.poll_read_plain(cx, room)).await
    }

    /// Ends our direction: nothing more will be written.
    pub fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(wire) => wire.poll_finish(cx),
            Self::Tls(tls) => tls.poll_finish(cx),
            Self::H2(stream) => Poll::Ready(stream.finish(&[])),
            Self::Cgi(stream) => {
                stream.finish();
                stream.poll_flush(cx)
            }
            Self::Gone => gone(),
        }
    }

    /// Polls until a read would find something, bytes or an end, without taking it.
    ///
    /// On a bare socket that is no system call, and may be wrong: [`Stream::peek_now`] tells.
    pub fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(wire) => wire.poll_readable(cx),
            Self::Tls(tls) => tls.poll_readable(cx),
            Self::H2(stream) => stream.poll_reset(cx).map(Err),
            Self::Cgi(stream) => stream.wire().poll_readable(cx),
            Self::Gone => gone(),
        }
    }

    /// Whether bytes, an end or an error have arrived that nobody has read.
    ///
    /// An idle server connection for which this holds must not be used again.
    #[must_use]
    pub fn has_news(&mut self) -> bool {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        // A splice of known length leaves the readiness set: only a look tells.
        self.poll_readable(&mut cx).is_ready()
            && !matches!(self.peek_now(), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Looks for unread bytes without taking them: `Ok(0)` is the end of the peer's direction.
    ///
    /// # Errors
    /// `WouldBlock` when there is nothing, or the connection's error.
    pub fn peek_now(&mut self) -> io::Result<usize> {
        match self {
            Self::Plain(wire) => wire.peek_now(),
            Self::Tls(tls) => tls.peek_now(),
            Self::H2(_) => Err(io::ErrorKind::WouldBlock.into()),
            Self::Cgi(stream) => stream.wire().peek_now(),
            Self::Gone => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// The socket, when its bytes are the connection's: for splicing.
    #[must_use]
    pub fn plain(&self) -> Option<&Wire> {
        match self {
            Self::Plain(wire) => Some(wire),
            Self::Tls(_) | Self::H2(_) | Self::Cgi(_) | Self::Gone => None,
        }
    }

    /// The socket beneath.
    #[must_use]
    pub fn wire(&self) -> Option<&Wire> {
        match self {
            Self::Plain(wire) => Some(wire),
            Self::Tls(tls) => Some(tls.wire()),
            Self::Cgi(stream) => Some(stream.wire()),
            Self::H2(_) | Self::Gone => None,
        }
    }

    /// The socket, taken out before anything was spoken over it; `None` when TLS is.
    #[must_use]
    pub fn take_plain(&mut self) -> Option<Wire> {
        match std::mem::replace(self, Self::Gone) {
            Self::Plain(wire) => Some(wire),
            other @ (Self::Tls(_) | Self::H2(_) | Self::Cgi(_) | Self::Gone) => {
                *self = other;
                None
            }
        }
    }

    /// The application protocol that was agreed on with TLS, empty when none was; `None` without TLS.
    #[must_use]
    pub fn tls_alpn(&self) -> Option<&[u8]> {
        match self {
            Self::Tls(tls) => Some(tls.alpn()),
            Self::Plain(_) | Self::H2(_) | Self::Cgi(_) | Self::Gone => None,
        }
    }

    /// The stream of an HTTP/2 connection that it is.
    #[must_use]
    pub fn h2(&self) -> Option<&H2Stream> {
        match self {
            Self::H2(stream) => Some(stream),
            Self::Plain(_) | Self::Tls(_) | Self::Cgi(_) | Self::Gone => None,
        }
    }

    /// The stream of an HTTP/2 connection that it is.
    pub fn h2_mut(&mut self) -> Option<&mut H2Stream> {
        match self {
            Self::H2(stream) => Some(stream),
            Self::Plain(_) | Self::Tls(_) | Self::Cgi(_) | Self::Gone => None,
        }
    }

    /// The connection to a server of FastCGI and the like that it is.
    pub fn cgi_mut(&mut self) -> Option<&mut CgiStream> {
        match self {
            Self::Cgi(stream) => Some(stream),
            Self::Plain(_) | Self::Tls(_) | Self::H2(_) | Self::Gone => None,
        }
    }

    /// Whether bodies go in frames of a protocol, which tell their ends.
    #[must_use]
    pub fn has_frames(&self) -> bool {
        matches!(self, Self::H2(_) | Self::Cgi(_))
    }

    /// Whether the end of the message was told and nothing of it is left to be read, where ends are told.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        match self {
            Self::H2(stream) => stream.is_at_end(),
            Self::Cgi(stream) => stream.is_at_end(),
            Self::Plain(_) | Self::Tls(_) | Self::Gone => false,
        }
    }

    /// Whether the TLS handshake is not complete: then requests that were read may have been played back
    /// by somebody else (RFC 8470 section 1).
    #[must_use]
    pub fn is_early(&self) -> bool {
        match self {
            Self::Plain(_) | Self::Cgi(_) | Self::Gone => false,
            Self::Tls(tls) => tls.is_early(),
            Self::H2(stream) => stream.is_early(),
        }
    }

    /// Polls until the TLS handshake is complete. Cancel safe.
    pub fn poll_confirmed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(_) | Self::Cgi(_) => Poll::Ready(Ok(())),
            Self::Tls(tls) => tls.poll_confirmed(cx),
            Self::H2(stream) => stream.poll_confirmed(cx),
            Self::Gone => gone(),
        }
    }

    /// The descriptor of a TCP socket, for facts about it while it is open.
    pub(crate) fn tcp_fd(&self) -> Option<RawFd> {
        match self.wire()? {
            Wire::Tcp(stream) => Some(stream.as_raw_fd()),
            Wire::Unix(_) => None,
        }
    }

    /// What the other side said before it ended the connection: GOAWAY of HTTP/2.
    #[must_use]
    pub fn farewell(&self) -> Option<Signal> {
        match self {
            Self::H2(stream) => stream.farewell(),
            Self::Plain(_) | Self::Tls(_) | Self::Cgi(_) | Self::Gone => None,
        }
    }

    /// The error that a socket of its own has met and nobody has heard of: see [`Wire::take_error`].
    #[must_use]
    pub fn take_error(&self) -> Option<io::Error> {
        match self {
            Self::H2(_) => None,
            Self::Plain(_) | Self::Tls(_) | Self::Cgi(_) | Self::Gone => {
                self.wire()?.take_error().ok().flatten()
            }
        }
    }

    /// What the kernel knows about the connection; `None` for a Unix socket.
    #[must_use]
    pub fn tcp_facts(&self) -> Option<TcpFacts> {
        match self {
            Self::H2(stream) => stream.tcp_facts(),
            Self::Plain(_) | Self::Tls(_) | Self::Cgi(_) | Self::Gone => self.wire()?.tcp_facts(),
        }
    }

    /// How fast the connection goes; `None` for a Unix socket.
    #[must_use]
    pub fn tcp_pace(&self) -> Option<TcpPace> {
        match self {
            Self::H2(stream) => stream.tcp_pace(),
            Self::Plain(_) | Self::Tls(_) | Self::Cgi(_) | Self::Gone => self.wire()?.tcp_pace(),
        }
    }

    /// What is known about its TLS; `None` without.
    #[must_use]
    pub fn tls_facts(&self) -> Option<Box<TlsFacts>> {
        match self {
            Self::Plain(_) | Self::Cgi(_) | Self::Gone => None,
            Self::Tls(tls) => Some(Box::new(tls.facts())),
            Self::H2(stream) => stream.tls_facts(),
        }
    }

    /// The local address, when it is an IP address.
    #[must_use]
    pub fn local(&self) -> Option<SocketAddr> {
        self.wire()?.local()
    }

    /// Makes the coming close send RST instead of FIN, so that the peer cannot take a cut response
    /// for a whole one.
    pub fn reset_on_close(&mut self) {
        match self {
            Self::Plain(wire) => wire.reset_on_close(),
            Self::Tls(tls) => tls.reset_on_close(),
            Self::Cgi(stream) => stream.wire().reset_on_close(),
            // Not finished, it is reset in any case.
            Self::H2(_) | Self::Gone => {}
        }
    }

    /// Whether the end that was read may be taken for one that the peer meant: over TLS only its
    /// `close_notify` is (RFC 8446 section 6.1), as anybody on the way can send a FIN.
    #[must_use]
    pub fn ended_properly(&self) -> bool {
        match self {
            Self::Plain(_) | Self::H2(_) | Self::Cgi(_) | Self::Gone => true,
            Self::Tls(tls) => tls.ended_properly(),
        }
    }
}

fn gone<T>() -> Poll<io::Result<T>> {
    Poll::Ready(Err(io::ErrorKind::NotConnected.into()))
}

/// The fault that a connection's error is beyond what its error number says: of TLS or HTTP/2, with
/// what the other side said.
#[must_use]
pub fn fault_of(error: &io::Error, from_server: bool) -> Option<(FaultKind, Option<Signal>)> {
    if let Some(error) = crate::h2::fault_of(error) {
        return Some((error.kind, error.signal));
    }
    crate::tls::fault_of(error, from_server)
}
