//! An established TLS connection as a stream of bytes.

use std::cell::RefCell;
use std::io::{self, IoSlice, Read as _, Write as _};
use std::task::{Context, Poll, ready};

use clearway_outcome::TlsFacts;
use rustls::Connection;

use super::accept::take_early;
use super::fault;
use super::handshake::{self, Sink};
use crate::wire::Wire;

/// Most bytes taken from the socket at once.
const TAKE: usize = 32 * 1_024;
/// And where nobody has room for them yet.
const PEEK: usize = 4_096;

thread_local! {
    /// Ciphertext on its way from the socket into the library, which would read in small pieces.
    static SCRATCH: RefCell<Box<[u8; TAKE]>> = RefCell::new(Box::new([0; TAKE]));
}

/// TLS over a socket.
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, read by name"
)]
#[derive(Debug)]
pub struct TlsStream {
    wire: Wire,
    tls: Connection,
    /// Bytes of the caller's that were encrypted and are not all on the socket yet.
    owed: usize,
    /// Decrypted bytes that the library keeps.
    unread: usize,
    /// Early data that nobody has read yet, from `early_read` on; it comes before all other.
    early: Vec<u8>,
    early_read: usize,
    /// The handshake is not complete: what comes may be played back by somebody else.
    is_early: bool,
    /// FIN was read.
    has_fin: bool,
    /// The peer has said that it will write nothing more.
    has_close_notify: bool,
    /// No `close_notify` is to be sent, or it was.
    is_closed: bool,
    /// Whether a certificate of the other side was verified.
    verifies: bool,
}

impl TlsStream {
    /// A connection whose handshake is complete; `unread` decrypted bytes came with it.
    pub(super) fn new(wire: Wire, tls: Connection, unread: usize, verifies: bool) -> Self {
        Self {
            wire,
            tls,
            owed: 0,
            unread,
            early: Vec::new(),
            early_read: 0,
            is_early: false,
            has_fin: false,
            has_close_notify: false,
            is_closed: false,
            verifies,
        }
    }

    /// The same, whose client has sent `early` before the handshake was complete, if it has.
    pub(super) fn with_early(mut self, early: Vec<u8>) -> Self {
        self.is_early = self.tls.is_handshaking();
        self.early = early;
        self
    }

    /// Whether the handshake is not complete, so that what was read may have been played back.
    pub(crate) fn is_early(&self) -> bool {
        self.is_early
    }

    /// Polls until the handshake is complete; what comes meanwhile is kept.
    pub(crate) fn poll_confirmed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.is_early {
            if self.has_ended() {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            let mut room = [0; PEEK];
            let count = ready!(self.wire.poll_read(cx, &mut room))?;
            self.digest(room.get(..count).unwrap_or_default(), &mut [])?;
        }
        Poll::Ready(Ok(()))
    }

    /// Moves early data that is here.
    fn take_early(&mut self, room: &mut [u8]) -> usize {
        let rest = self.early.get(self.early_read..).unwrap_or_default();
        let count = rest.len().min(room.len());
        if let (Some(from), Some(to)) = (rest.get(..count), room.get_mut(..count)) {
            to.copy_from_slice(from);
        }
        self.early_read += count;
        if self.early_read == self.early.len() {
            (self.early, self.early_read) = (Vec::new(), 0);
        }
        count
    }

    /// Polls for decrypted bytes into `room`; 0 means the end of the peer's direction.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        room: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            if !self.early.is_empty() {
                return Poll::Ready(Ok(self.take_early(room)));
            }
            if self.unread > 0 {
                return Poll::Ready(self.take_plain(room));
            }
            if self.has_ended() {
                return Poll::Ready(Ok(0));
            }
            let count = ready!(self.poll_fetch(cx, room))?;
            if count > 0 {
                return Poll::Ready(Ok(count));
            }
        }
    }

    /// Moves decrypted bytes that are here.
    fn take_plain(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let mut taken = 0;
        while self.unread > 0 && taken < room.len() {
            let count = self
                .tls
                .reader()
                .read(room.get_mut(taken..).unwrap_or_default())?;
            taken += count;
            self.unread = self.unread.saturating_sub(count);
        }
        Ok(taken)
    }

    /// Takes ciphertext from the socket, no more than `room` is large, and decrypts it.
    ///
    /// So what does not fit into `room` is at most the record that had begun before, which is as much
    /// as the library keeps.
    fn poll_fetch(&mut self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let most = room.len().clamp(1, TAKE);
            let scratch = scratch.get_mut(..most).unwrap_or_default();
            let count = ready!(self.wire.poll_read(cx, scratch))?;
            Poll::Ready(self.digest(scratch.get(..count).unwrap_or_default(), room))
        })
    }

    /// Decrypts what came into `room`, as far as it fits; nothing means FIN.
    fn digest(&mut self, mut bytes: &[u8], room: &mut [u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            self.has_fin = true;
            return Ok(0);
        }
        let mut taken = 0;
        while !bytes.is_empty() && !self.has_close_notify {
            self.tls.read_tls(&mut bytes)?;
            match self.tls.process_new_packets() {
                Ok(state) => {
                    self.unread = state.plaintext_bytes_to_read();
                    self.has_close_notify = state.peer_has_closed();
                }
                Err(error) => {
                    // The alert that says why.
                    self.flush_now().unwrap_or_default();
                    return Err(fault::wrap(error));
                }
            }
            if self.is_early {
                self.note_early();
            }
            if self.early.is_empty() {
                taken += self.take_plain(room.get_mut(taken..).unwrap_or_default())?;
            }
        }
        if self.tls.wants_write() && self.owed == 0 {
            // Answers to key updates: what does not go out now goes with the next write.
            match self.flush_now() {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                _ => {}
            }
        }
        Ok(taken)
    }

    /// Takes more early data, and notes the end of the handshake.
    fn note_early(&mut self) {
        if let Connection::Server(tls) = &mut self.tls {
            take_early(tls, &mut self.early);
        }
        self.is_early = self.tls.is_handshaking();
    }

    /// Whether the peer has ended its direction.
    fn has_ended(&self) -> bool {
        self.has_close_notify || self.has_fin
    }

    /// Polls to encrypt and send `parts`; the count is what was taken of them, from the front.
    ///
    /// After `Pending` a part of them is encrypted: the call has to be repeated with the same bytes,
    /// or more.
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.owed == 0 {
            let mut writer = self.tls.writer();
            self.owed = match parts {
                [one] => writer.write(one)?,
                several => writer.write_vectored(several)?,
            };
        }
        ready!(self.poll_flush(cx))?;
        Poll::Ready(Ok(std::mem::take(&mut self.owed)))
    }

    /// Polls until all ciphertext is on the socket.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.tls.wants_write() {
            ready!(self.wire.poll_writable(cx))?;
            match self.flush_now() {
                Err(error) if is_transient(&error) => {}
                result => return Poll::Ready(result),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Writes ciphertext until none is left.
    ///
    /// # Errors
    /// `WouldBlock` when the socket has no room for all, or its error.
    fn flush_now(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            if self.tls.write_tls(&mut Sink(&self.wire))? == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        Ok(())
    }

    /// Polls to send `close_notify` and FIN.
    pub(crate) fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !std::mem::replace(&mut self.is_closed, true) {
            self.tls.send_close_notify();
        }
        ready!(self.poll_flush(cx))?;
        self.wire.poll_finish(cx)
    }

    /// Polls until decrypted bytes or an end are there.
    pub(crate) fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match self.peek_now() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok(_) => return Poll::Ready(Ok(())),
            }
            ready!(self.wire.poll_readable(cx))?;
        }
    }

    /// How many decrypted bytes are there; `Ok(0)` is the end.
    ///
    /// # Errors
    /// `WouldBlock` when there is nothing, or the connection's error.
    pub(crate) fn peek_now(&mut self) -> io::Result<usize> {
        while self.unread == 0 && self.early.is_empty() && !self.has_ended() {
            SCRATCH.with_borrow_mut(|scratch| {
                let scratch = scratch.get_mut(..PEEK).unwrap_or_default();
                let count = self.wire.read_now(scratch)?;
                self.digest(scratch.get(..count).unwrap_or_default(), &mut [])
            })?;
        }
        Ok(self.early.len() - self.early_read + self.unread)
    }

    /// What was agreed on, and the certificate of the other side.
    pub(crate) fn facts(&self) -> TlsFacts {
        handshake::facts(&self.tls, self.verifies)
    }

    /// The application protocol that was agreed on; empty when none was.
    pub(crate) fn alpn(&self) -> &[u8] {
        self.tls.alpn_protocol().unwrap_or_default()
    }

    /// The socket beneath.
    pub(crate) fn wire(&self) -> &Wire {
        &self.wire
    }

    /// Makes the close a reset, without `close_notify`.
    pub(crate) fn reset_on_close(&mut self) {
        self.is_closed = true;
        self.wire.reset_on_close();
    }

    /// Whether the peer's end came with `close_notify`.
    pub(crate) fn ended_properly(&self) -> bool {
        self.has_close_notify
    }
}

impl Drop for TlsStream {
    /// A connection that ends well says so; what the socket does not take at once is lost.
    fn drop(&mut self) {
        if !self.is_closed && self.owed == 0 {
            self.tls.send_close_notify();
            self.flush_now().unwrap_or_default();
        }
    }
}

fn is_transient(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}
