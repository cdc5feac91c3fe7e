//! A connected socket, TCP or Unix.
//!
//! Each socket is registered once, edge-triggered; a read shorter than the buffer means drained, so
//! the next wait needs no probing system call.
//!
//! All `poll_*` functions register the task for wake-up when they return `Pending`, and are cancel
//! safe: a byte is either still in the kernel or in the buffer handed back.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use clearway_outcome::{TcpFacts, TcpPace};
use rustix::net::{RecvFlags, SendFlags, recv, send};
use tokio::io::{AsyncWrite, Interest};
use tokio::net::{TcpStream, UnixStream};

use crate::kernel;

/// A connected socket.
#[derive(Debug)]
pub enum Wire {
    /// Over IPv4 or IPv6.
    Tcp(TcpStream),
    /// Over a Unix socket.
    Unix(UnixStream),
}

impl Wire {
    /// Polls for bytes into `room`; 0 means FIN (or that there is no room).
    pub fn poll_read(&self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.poll_readable(cx))?;
            match self.read_now(room) {
                Ok(count) => return Poll::Ready(Ok(count)),
                Err(error) if is_transient(&error) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Reads what is there.
    ///
    /// # Errors
    /// `WouldBlock` when there is nothing, or the socket's error.
    pub fn read_now(&self, room: &mut [u8]) -> io::Result<usize> {
        let size = room.len();
        let got = self.try_io(Interest::READABLE, || {
            let (count, _) = recv(self.borrow(), &mut *room, RecvFlags::empty())?;
            Ok(count)
        });
        if let Ok(count) = got
            && count > 0
            && count < size
        {
            self.is_drained(Interest::READABLE);
        }
        got
    }

    /// Polls to write some of `data`; returns how much was taken.
    pub fn poll_write(&self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_send(cx, data.len(), |fd| {
            Ok(send(fd, data, SendFlags::NOSIGNAL)?)
        })
    }

    /// Polls to write some of `slices`, in their order, in one system call.
    pub fn poll_write_slices(
        &self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let len = slices.iter().map(|slice| slice.len()).sum();
        self.poll_send(cx, len, |fd| Ok(rustix::io::writev(fd, slices)?))
    }

    /// Writes some of `slices`, in their order, in one system call.
    ///
    /// # Errors
    /// `WouldBlock` when there is no room, or the socket's error.
    pub fn write_now(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let len = slices.iter().map(|slice| slice.len()).sum();
        self.send_now(len, |fd| match slices {
            [one] => Ok(send(fd, one, SendFlags::NOSIGNAL)?),
            _ => Ok(rustix::io::writev(fd, slices)?),
        })
    }

    fn send_now(
        &self,
        len: usize,
        call: impl Fn(BorrowedFd<'_>) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let count = self.try_io(Interest::WRITABLE, || call(self.borrow()))?;
        if count > 0 && count < len {
            self.is_drained(Interest::WRITABLE);
        }
        Ok(count)
    }

    fn poll_send(
        &self,
        cx: &mut Context<'_>,
        len: usize,
        call: impl Fn(BorrowedFd<'_>) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.poll_writable(cx))?;
            match self.send_now(len, &call) {
                Ok(count) => return Poll::Ready(Ok(count)),
                Err(error) if is_transient(&error) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Notes that the kernel has nothing more, or no more room, without asking it: the next wait
    /// needs no probing system call. The socket's next event is not missed, because events are only
    /// taken in between polls of tasks.
    fn is_drained(&self, interest: Interest) {
        let nothing = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
        self.try_io(interest, nothing).unwrap_or_default();
    }

    fn borrow(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }

    /// Sends FIN: nothing more will be written.
    pub fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    /// Polls until a read would not block, without a system call and without reading.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_read_ready(cx),
            Self::Unix(stream) => stream.poll_read_ready(cx),
        }
    }

    /// Polls until a write would not block, without a system call.
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_write_ready(cx),
            Self::Unix(stream) => stream.poll_write_ready(cx),
        }
    }

    /// Runs a system call of our own on the socket; `WouldBlock` clears the readiness in `interest`.
    ///
    /// # Errors
    /// What `call` returned, `WouldBlock` included.
    pub fn try_io<T>(
        &self,
        interest: Interest,
        call: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        match self {
            Self::Tcp(stream) => stream.try_io(interest, call),
            Self::Unix(stream) => stream.try_io(interest, call),
        }
    }

    /// The error that the socket has met and nobody has heard of, which is taken: after the end of the peer's
    /// direction reading tells of none (`SO_ERROR`, socket(7)).
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        match self {
            Self::Tcp(stream) => stream.take_error(),
            Self::Unix(stream) => stream.take_error(),
        }
    }

    /// What the kernel knows about the connection; `None` for a Unix socket.
    #[must_use]
    pub fn tcp_facts(&self) -> Option<TcpFacts> {
        match self {
            Self::Tcp(stream) => kernel::tcp_facts(stream.as_raw_fd()),
            Self::Unix(_) => None,
        }
    }

    /// How fast the connection goes, for TCP.
    #[must_use]
    pub fn tcp_pace(&self) -> Option<TcpPace> {
        match self {
            Self::Tcp(stream) => kernel::tcp_pace(stream.as_raw_fd()),
            Self::Unix(_) => None,
        }
    }

    /// The raw descriptor, for splice.
    #[must_use]
    pub fn fd(&self) -> RawFd {
        match self {
            Self::Tcp(stream) => stream.as_raw_fd(),
            Self::Unix(stream) => stream.as_raw_fd(),
        }
    }

    /// Looks at the next unread byte without taking it: `Ok(0)` is FIN.
    ///
    /// # Errors
    /// `WouldBlock` when there is nothing, or the socket's error.
    pub fn peek_now(&self) -> io::Result<usize> {
        let fd = self.fd();
        self.try_io(Interest::READABLE, || kernel::peek(fd))
    }

    /// The local address, when it is an IP address.
    #[must_use]
    pub fn local(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(stream) => stream.local_addr().ok(),
            Self::Unix(_) => None,
        }
    }

    /// Makes the coming close send RST instead of FIN, so that the peer cannot take a cut response
    /// for a whole one.
    pub fn reset_on_close(&self) {
        if let Self::Tcp(stream) = self {
            // Nothing depends on success: the connection is being given up either way.
            stream.set_zero_linger().unwrap_or_default();
        }
    }
}

/// Whether a call is to be made again: at once, or when the socket is ready.
fn is_transient(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}
