//! One stream type for TCP and Unix sockets, bare or with TLS.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use crate::tls::TlsStream;
use crate::wait::LIMIT;

/// A connected stream socket.
#[derive(Debug)]
pub enum Stream {
    /// TCP over IPv4 or IPv6.
    Tcp(TcpStream),
    /// A Unix stream socket.
    Unix(UnixStream),
    /// TLS over one of these.
    Tls(Box<TlsStream>),
}

impl Stream {
    /// Connects to `127.0.0.1:80`, `[::1]:80` or `unix:/path`.
    ///
    /// # Errors
    /// Those of connect(2).
    ///
    /// # Panics
    /// When the address is malformed.
    pub fn connect(address: &str) -> io::Result<Self> {
        Self::connect_from(None, address)
    }

    /// As [`Stream::connect`], from a given source address.
    ///
    /// # Errors
    /// Those of bind(2) and connect(2).
    ///
    /// # Panics
    /// When the address is malformed.
    pub fn connect_from(source: Option<IpAddr>, address: &str) -> io::Result<Self> {
        let stream = if let Some(path) = address.strip_prefix("unix:") {
            Self::Unix(UnixStream::connect(path)?)
        } else {
            let to: SocketAddr = address.parse().expect("an address with a port");
            let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
            if let Some(source) = source {
                socket.bind(&SockAddr::from(SocketAddr::new(source, 0)))?;
            }
            socket.connect_timeout(&SockAddr::from(to), LIMIT)?;
            Self::Tcp(socket.into())
        };
        stream.prepare()?;
        Ok(stream)
    }

    /// Sets the time-outs that keep a failing test from hanging.
    pub(crate) fn prepare(&self) -> io::Result<()> {
        self.set_timeout(LIMIT)?;
        match self {
            Self::Tcp(s) => s.set_nodelay(true),
            Self::Unix(_) => Ok(()),
            Self::Tls(s) => s.socket().prepare(),
        }
    }

    /// Limit of a single read or write.
    ///
    /// # Errors
    /// Those of setsockopt(2).
    pub fn set_timeout(&self, limit: Duration) -> io::Result<()> {
        match self {
            Self::Tcp(s) => {
                s.set_read_timeout(Some(limit))?;
                s.set_write_timeout(Some(limit))
            }
            Self::Unix(s) => {
                s.set_read_timeout(Some(limit))?;
                s.set_write_timeout(Some(limit))
            }
            Self::Tls(s) => s.socket().set_timeout(limit),
        }
    }

    /// Ends one or both directions.
    pub fn shutdown(&self, how: Shutdown) {
        drop(match self {
            Self::Tcp(s) => s.shutdown(how),
            Self::Unix(s) => s.shutdown(how),
            Self::Tls(s) => {
                s.shutdown(how);
                Ok(())
            }
        });
    }

    /// Makes the coming close a reset (RST); a Unix socket has none and closes.
    pub fn reset_on_close(&self) {
        match self {
            Self::Tcp(s) => drop(SockRef::from(s).set_linger(Some(Duration::ZERO))),
            Self::Unix(_) => {}
            Self::Tls(s) => {
                s.cut();
                s.socket().reset_on_close();
            }
        }
    }

    /// TLS, where it is spoken.
    #[must_use]
    pub fn tls(&self) -> Option<&TlsStream> {
        match self {
            Self::Tls(s) => Some(s),
            Self::Tcp(_) | Self::Unix(_) => None,
        }
    }

    /// The peer's address as text; empty for Unix sockets.
    #[must_use]
    pub fn peer(&self) -> String {
        match self {
            Self::Tcp(s) => s.peer_addr().map_or(String::new(), |a| a.to_string()),
            Self::Unix(_) => String::new(),
            Self::Tls(s) => s.socket().peer(),
        }
    }

    /// The own address as text; empty for Unix sockets.
    #[must_use]
    pub fn local(&self) -> String {
        match self {
            Self::Tcp(s) => s.local_addr().map_or(String::new(), |a| a.to_string()),
            Self::Unix(_) => String::new(),
            Self::Tls(s) => s.socket().local(),
        }
    }
}

impl Read for &Stream {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(s) => (&*s).read(to),
            Stream::Unix(s) => (&*s).read(to),
            Stream::Tls(s) => s.read(to),
        }
    }
}

impl Write for &Stream {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(s) => (&*s).write(from),
            Stream::Unix(s) => (&*s).write(from),
            Stream::Tls(s) => s.write(from),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
