//! A connection to a server, shared by requests.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use h2::client::{Builder, Connection, SendRequest};
use http::uri::Scheme;

use super::fault::Other;
use super::io::{Io, Link};
use super::stream::H2Stream;
use crate::stream::Stream;

/// What a server may do.
#[derive(Clone, Copy, Debug)]
pub struct TrunkSettings {
    /// Bytes of a response's head, names and values.
    pub header_bytes: usize,
    /// Body bytes of one response that may wait to be passed on.
    pub window: u32,
}

/// Requests that a server is taken to accept at the same time before it says how many.
const FIRST_STREAMS: usize = 100;
/// Bytes for the library to keep until the socket takes them, per stream.
const SEND_BUFFER: usize = 64 * 1_024;
/// Body bytes of all streams that may wait to be passed on.
const ALL_WINDOWS: u32 = 1 << 30;

/// A connection to a server.
#[derive(Debug)]
pub struct Trunk {
    send: RefCell<SendRequest<Bytes>>,
    link: Arc<Link>,
    scheme: Scheme,
}

/// Moves the frames of a [`Trunk`]: to be polled as long as it is used. It ends with the connection.
pub struct Driver {
    connection: Connection<Io, Bytes>,
    link: Arc<Link>,
}

impl Trunk {
    /// Opens HTTP/2 over a connection; whether the server speaks it shows with the first answer.
    ///
    /// # Errors
    /// The connection's error.
    pub async fn open(stream: Stream, settings: &TrunkSettings) -> io::Result<(Self, Driver)> {
        let scheme = match stream {
            Stream::Tls(_) => Scheme::HTTPS,
            Stream::Plain(_) | Stream::H2(_) | Stream::Cgi(_) | Stream::Gone => Scheme::HTTP,
        };
        let link = Link::new(&stream);
        let io = Io::new(stream, Vec::new(), 0, Arc::clone(&link));
        let (send, connection) = Builder::new()
            .enable_push(false)
            .initial_max_send_streams(FIRST_STREAMS)
            .max_header_list_size(u32::try_from(settings.header_bytes).unwrap_or(u32::MAX))
            .initial_window_size(settings.window)
            .initial_connection_window_size(ALL_WINDOWS)
            .max_send_buffer_size(SEND_BUFFER)
            .handshake(io)
            .await
            .map_err(|error| link.error(&error, Other::Server))?;
        let trunk = Self {
            send: RefCell::new(send),
            link: Arc::clone(&link),
            scheme,
        };
        Ok((trunk, Driver { connection, link }))
    }

    /// Whether the connection is open, so that it may take requests, now or later.
    #[must_use]
    pub fn is_open(&self) -> bool {
        if self.link.is_closed() {
            return false;
        }
        let mut cx = Context::from_waker(Waker::noop());
        !matches!(
            self.send.borrow_mut().poll_ready(&mut cx),
            Poll::Ready(Err(_))
        )
    }

    /// Whether the server takes another request now.
    #[must_use]
    pub fn has_room(&self) -> bool {
        let most = self.send.borrow().current_max_send_streams();
        (self.link.active() as usize) < most
    }

    /// Requests under way.
    #[must_use]
    pub fn active(&self) -> u32 {
        self.link.active()
    }

    /// A stream for one request.
    #[must_use]
    pub fn stream(&self) -> H2Stream {
        let send = self.send.borrow().clone();
        H2Stream::to_server(&self.link, send, self.scheme.clone())
    }
}

impl Future for Driver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Poll::Ready(ended) = Pin::new(&mut self.connection).poll(cx) {
            // Streams that were open have told how it ended.
            drop(ended);
            self.link.close();
            return Poll::Ready(());
        }
        if self.link.flood().is_some() {
            self.link.close();
            return Poll::Ready(());
        }
        Poll::Pending
    }
}
