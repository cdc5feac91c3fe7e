//! A connected stream of bytes, TCP or Unix, as the data plane uses it.
//!
//! Each socket is registered once, edge-triggered; a read shorter than the buffer means drained, so
//! the next wait needs no probing system call. Reads *lease* a buffer from the worker's pool at the
//! moment bytes are there: a connection that waits holds none.
//!
//! All `poll_*` functions register the task for wake-up when they return `Pending`, and are cancel
//! safe: a byte is either still in the kernel or in the buffer handed back.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use clearway_base::buffer::{Lease, Pool};
use rustix::net::{RecvFlags, SendFlags, recv, send};
use tokio::io::{AsyncWrite, Interest};
use tokio::net::{TcpStream, UnixStream};

/// A connected socket.
#[derive(Debug)]
pub enum Stream {
    /// Over IPv4 or IPv6.
    Tcp(TcpStream),
    /// Over a Unix socket.
    Unix(UnixStream),
}

/// What a finished read found.
#[derive(Debug)]
pub enum Read {
    /// At least one byte.
    Bytes(Lease),
    /// The peer sent FIN: nothing more will come.
    End,
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

    /// Polls for more bytes behind those already in `lease`; 0 means FIN (or that it is full).
    pub fn poll_read_into(
        &mut self,
        cx: &mut Context<'_>,
        lease: &mut Lease,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.poll_readable(cx))?;
            let spare = lease.spare();
            let room = spare.len();
            let got = self.try_io(Interest::READABLE, || {
                let (count, _) = recv(self.borrow(), spare, RecvFlags::empty())?;
                Ok(count)
            });
            match got {
                Ok(count) => {
                    if count > 0 && count < room {
                        self.is_drained(Interest::READABLE);
                    }
                    lease.advance(count);
                    return Poll::Ready(Ok(count));
                }
                Err(error) if is_transient(&error) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Polls to write some of `data`; returns how much was taken.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_send(cx, data.len(), |fd| {
            Ok(send(fd, data, SendFlags::NOSIGNAL)?)
        })
    }

    /// Polls to write some of `first` followed by `second` in one system call.
    pub fn poll_write_two(
        &mut self,
        cx: &mut Context<'_>,
        first: &[u8],
        second: &[u8],
    ) -> Poll<io::Result<usize>> {
        let slices = [IoSlice::new(first), IoSlice::new(second)];
        let len = first.len() + second.len();
        self.poll_send(cx, len, |fd| Ok(rustix::io::writev(fd, &slices)?))
    }

    fn poll_send(
        &self,
        cx: &mut Context<'_>,
        len: usize,
        call: impl Fn(BorrowedFd<'_>) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.poll_writable(cx))?;
            match self.try_io(Interest::WRITABLE, || call(self.borrow())) {
                Ok(count) => {
                    if count > 0 && count < len {
                        self.is_drained(Interest::WRITABLE);
                    }
                    return Poll::Ready(Ok(count));
                }
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

    /// Whether bytes, FIN or an error have arrived that nobody has read: no system call, unless the
    /// last read took exactly what it asked for.
    ///
    /// An idle server connection for which this holds must not be used again.
    #[must_use]
    pub fn has_news(&self) -> bool {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        // A splice of known length leaves the readiness set: only a look tells.
        self.poll_readable(&mut cx).is_ready()
            && !matches!(self.peek_now(), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// The raw descriptor, for `TCP_INFO` and splice.
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
        self.try_io(Interest::READABLE, || crate::kernel::peek(fd))
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
