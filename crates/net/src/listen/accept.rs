//! Taking connections from a listening socket.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use clearway_outcome::Address;
use socket2::{SockAddr, SockRef};

use super::{Inner, Socket, SocketFile};
use crate::stream::Stream;

/// Takes connections from a [`Socket`] on a worker's runtime.
#[derive(Debug)]
pub struct Acceptor(Accepting);

#[derive(Debug)]
enum Accepting {
    Tcp(tokio::net::TcpListener),
    Unix(
        tokio::net::UnixListener,
        #[expect(
            dead_code,
            reason = "held so that the file stays while the socket is open"
        )]
        Option<Arc<SocketFile>>,
    ),
}

impl Acceptor {
    /// Registers the socket with the runtime of the calling thread.
    ///
    /// # Errors
    /// When the runtime cannot watch it.
    pub fn new(socket: Socket) -> io::Result<Self> {
        Ok(Self(match socket.inner {
            Inner::Tcp(listener) => Accepting::Tcp(tokio::net::TcpListener::from_std(listener)?),
            Inner::Unix(listener, file) => {
                Accepting::Unix(tokio::net::UnixListener::from_std(listener)?, file)
            }
        }))
    }

    /// The next connection and who it is from. Cancel safe.
    ///
    /// # Errors
    /// What `accept(2)` says: a shortage on this host, or a connection that is gone already.
    pub async fn accept(&self) -> io::Result<(Stream, Address)> {
        match &self.0 {
            Accepting::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok((stream.into(), Address::Ip(plain(peer))))
            }
            Accepting::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                Ok((stream.into(), Address::Unix))
            }
        }
    }

    /// A connection that the kernel has completed already, if any: asks the kernel itself, so that
    /// nothing is lost when the socket is closed afterwards.
    #[must_use]
    pub fn try_accept(&self) -> Option<io::Result<(Stream, Address)>> {
        let accepted = match &self.0 {
            Accepting::Tcp(listener) => SockRef::from(listener).accept(),
            Accepting::Unix(listener, _) => SockRef::from(listener).accept(),
        };
        match accepted {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(error) => Some(Err(error)),
            Ok((socket, peer)) => Some(self.adopt(socket, &peer)),
        }
    }

    fn adopt(&self, socket: socket2::Socket, peer: &SockAddr) -> io::Result<(Stream, Address)> {
        socket.set_nonblocking(true)?;
        match &self.0 {
            Accepting::Tcp(_) => {
                let peer = peer.as_socket().ok_or(io::ErrorKind::InvalidData)?;
                let stream = tokio::net::TcpStream::from_std(socket.into())?;
                Ok((stream.into(), Address::Ip(plain(peer))))
            }
            Accepting::Unix(..) => {
                let stream = tokio::net::UnixStream::from_std(socket.into())?;
                Ok((stream.into(), Address::Unix))
            }
        }
    }
}

/// An IPv4 address is one, even where a socket for both families shows it as IPv6.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;
    use crate::listen::{Options, open};
    use crate::testing::{bind, block_on};

    #[test]
    fn accepting_waits_for_a_connection() {
        block_on(async {
            let socket = open(&bind("127.0.0.1:0"), &Options::default()).unwrap();
            let address = socket.local().unwrap();
            let acceptor = Acceptor::new(socket).unwrap();
            assert!(acceptor.try_accept().is_none());
            let (accepted, connected) =
                tokio::join!(acceptor.accept(), tokio::net::TcpStream::connect(address));
            assert_eq!(
                accepted.unwrap().1,
                Address::Ip(connected.unwrap().local_addr().unwrap())
            );
        });
    }

    #[test]
    fn deferred_connections_come_with_their_data() {
        use std::io::Write;
        block_on(async {
            let options = Options {
                defer_accept: true,
                ..Options::default()
            };
            let socket = open(&bind("127.0.0.1:0"), &options).unwrap();
            let mut client = TcpStream::connect(socket.local().unwrap()).unwrap();
            let acceptor = Acceptor::new(socket).unwrap();
            assert!(acceptor.try_accept().is_none(), "nothing was sent yet");
            client.write_all(b"x").unwrap();
            let (mut stream, _) = acceptor.accept().await.unwrap();
            assert_eq!(stream.peek_now().unwrap_or(1), 1);
        });
    }

    #[test]
    fn both_families_arrive_as_what_they_are() {
        block_on(async {
            let socket = open(&bind("*:0"), &Options::default()).unwrap();
            let port = socket.local().unwrap().port();
            let acceptor = Acceptor::new(socket).unwrap();
            let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
            let (_, peer) = acceptor.accept().await.unwrap();
            assert_eq!(peer, Address::Ip(client.local_addr().unwrap()));
        });
    }
}
