//! Connecting to a server, and what a failure to do so means.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use clearway_outcome::{FaultKind, errno_name};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::io::Interest;
use tokio::net::{TcpStream, UnixStream};

use crate::kernel;
use crate::stream::Stream;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Target {
    /// IPv4 or IPv6 with a port.
    Ip(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl Target {
    /// The same host with another port; a Unix socket has none and stays as it is.
    #[must_use]
    pub fn with_port(&self, port: u16) -> Self {
        match self {
            Self::Ip(address) => {
                let mut address = *address;
                address.set_port(port);
                Self::Ip(address)
            }
            Self::Unix(path) => Self::Unix(path.clone()),
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// What was under way when connecting failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Making the socket.
    Socket,
    /// Binding it to the source address.
    Bind,
    /// Connecting it.
    Connect,
}

/// A connection that could not be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectError {
    /// System error number; 0 when the failure was not the system's.
    pub errno: i32,
    /// Whether the target was a Unix socket.
    pub unix: bool,
    /// What was under way.
    pub step: Step,
    /// Whether the call itself failed: nothing left this host.
    pub is_immediate: bool,
}

impl std::fmt::Display for ConnectError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (_, what) = classify(self);
        match errno_name(self.errno) {
            Some(name) => write!(f, "{what} ({name})"),
            None => write!(f, "{what} (error {})", self.errno),
        }
    }
}

impl std::error::Error for ConnectError {}

/// The kind of fault that an error is.
#[must_use]
pub fn fault(error: &ConnectError) -> FaultKind {
    classify(error).0
}

/// The kind of an error and the words for it.
fn classify(error: &ConnectError) -> (FaultKind, &'static str) {
    match error.errno {
        libc::ENOENT if error.unix => (FaultKind::UnixMissing, "the socket does not exist"),
        libc::EAGAIN if error.unix => (
            FaultKind::UnixBacklogFull,
            "the queue of the socket is full",
        ),
        libc::ECONNREFUSED => (FaultKind::ConnectRefused, "the connection was refused"),
        libc::ETIMEDOUT => (FaultKind::ConnectTimeout, "the host did not answer"),
        libc::EHOSTUNREACH | libc::ENETUNREACH | libc::EHOSTDOWN | libc::ENETDOWN => (
            FaultKind::ConnectUnreachable,
            "the address cannot be reached",
        ),
        libc::ECONNRESET | libc::ECONNABORTED | libc::EPIPE => (
            FaultKind::ConnectReset,
            "the connection was reset while it was being set up",
        ),
        // The bind leaves the port to connect(2), so there it means that the address is not ours.
        libc::EADDRNOTAVAIL | libc::EADDRINUSE if error.step == Step::Connect => {
            (FaultKind::OutOfPorts, "no local port is free")
        }
        libc::EMFILE | libc::ENFILE => (FaultKind::OutOfFiles, "no file descriptor is left"),
        libc::ENOMEM | libc::ENOBUFS => (FaultKind::OutOfMemory, "the kernel has no memory left"),
        libc::EACCES | libc::EPERM => {
            (FaultKind::ConnectDenied, "this host forbids the connection")
        }
        _ if error.step == Step::Bind => (
            FaultKind::ConnectFailed,
            "the source address could not be used",
        ),
        _ => (FaultKind::ConnectFailed, "the connection failed"),
    }
}

/// Connects to `target`, from `source` when given. Waits without limit: the caller has the deadline.
///
/// Cancel safe: dropping the future closes the socket.
///
/// # Errors
/// What the system said.
pub async fn connect(target: &Target, source: Option<IpAddr>) -> Result<Stream, ConnectError> {
    match target {
        Target::Ip(address) => tcp(*address, source).await.map(Stream::from),
        Target::Unix(path) => {
            let failed = |step| move |error| ConnectError::new(&error, true, step);
            let address = SockAddr::unix(path).map_err(failed(Step::Connect))?;
            let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)
                .map_err(failed(Step::Socket))?;
            socket.connect(&address).map_err(failed(Step::Connect))?;
            UnixStream::from_std(socket.into())
                .map(Stream::from)
                .map_err(failed(Step::Socket))
        }
    }
}

async fn tcp(address: SocketAddr, source: Option<IpAddr>) -> Result<TcpStream, ConnectError> {
    let failed = |step| move |error: io::Error| ConnectError::new(&error, false, step);
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))
        .map_err(failed(Step::Socket))?;
    socket.set_tcp_nodelay(true).map_err(failed(Step::Socket))?;
    if let Some(source) = source {
        // Kernels before 4.2 lack the option; there the ports of all destinations are one range.
        kernel::set_bind_address_no_port(socket.as_raw_fd()).unwrap_or_default();
        socket
            .bind(&SocketAddr::new(source, 0).into())
            .map_err(failed(Step::Bind))?;
    }
    let under_way = match socket.connect(&address.into()) {
        Ok(()) => false,
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => true,
        Err(error) => return Err(failed(Step::Connect)(error)),
    };
    let stream = TcpStream::from_std(socket.into()).map_err(failed(Step::Socket))?;
    if under_way {
        finish(&stream).await.map_err(|error| ConnectError {
            is_immediate: false,
            ..failed(Step::Connect)(error)
        })?;
    }
    Ok(stream)
}

/// Waits until the connection is there or has failed.
async fn finish(stream: &TcpStream) -> io::Result<()> {
    loop {
        stream.writable().await?;
        let result = stream.try_io(Interest::WRITABLE, || match stream.take_error()? {
            Some(error) => Err(error),
            None => match stream.peer_addr() {
                Ok(_) => Ok(()),
                Err(error) if error.kind() == io::ErrorKind::NotConnected => {
                    Err(io::ErrorKind::WouldBlock.into())
                }
                Err(error) => Err(error),
            },
        });
        match result {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            result => return result,
        }
    }
}

impl ConnectError {
    fn new(error: &io::Error, unix: bool, step: Step) -> Self {
        Self {
            errno: error.raw_os_error().unwrap_or(0),
            unix,
            step,
            is_immediate: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::testing::{block_on, scratch};
    use crate::wire::Wire;

    fn ip(text: &str) -> Target {
        Target::Ip(text.parse().unwrap())
    }

    fn open(target: &Target, source: Option<&str>) -> Result<Stream, ConnectError> {
        block_on(connect(target, source.map(|s| s.parse().unwrap())))
    }

    #[test]
    fn a_listening_server_is_reached_from_the_source_asked_for() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = Target::Ip(listener.local_addr().unwrap());
        let Stream::Plain(Wire::Tcp(stream)) = open(&target, Some("127.0.0.9")).unwrap() else {
            panic!()
        };
        assert!(stream.nodelay().unwrap());
        let (_, peer) = listener.accept().unwrap();
        assert_eq!(peer.ip().to_string(), "127.0.0.9");
        assert_eq!(stream.local_addr().unwrap(), peer);
    }

    #[test]
    fn a_refusal_is_told_from_other_failures() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = Target::Ip(listener.local_addr().unwrap());
        drop(listener);
        let error = open(&target, None).unwrap_err();
        assert_eq!(
            (error.errno, fault(&error)),
            (libc::ECONNREFUSED, FaultKind::ConnectRefused)
        );
        assert_eq!(
            error.to_string(),
            "the connection was refused (ECONNREFUSED)"
        );
    }

    #[test]
    fn a_source_address_that_is_not_ours_is_no_lack_of_ports() {
        let error = open(&ip("127.0.0.1:9"), Some("192.0.2.77")).unwrap_err();
        assert_eq!((error.errno, error.step), (libc::EADDRNOTAVAIL, Step::Bind));
        assert_eq!(fault(&error), FaultKind::ConnectFailed);
        assert!(error.to_string().contains("source address"));
    }

    #[test]
    fn unix_sockets_fail_in_their_own_ways() {
        let dir = scratch();
        let path = dir.path().join("app.sock");
        let target = Target::Unix(path.clone());
        let missing = open(&target, None).unwrap_err();
        assert_eq!(fault(&missing), FaultKind::UnixMissing);
        let listener = UnixListener::bind(&path).unwrap();
        assert!(matches!(
            open(&target, None),
            Ok(Stream::Plain(Wire::Unix(_)))
        ));
        drop(listener);
        let refused = open(&target, None).unwrap_err();
        assert_eq!(fault(&refused), FaultKind::ConnectRefused);
        let long = Target::Unix("/".repeat(200).into());
        assert_eq!(
            fault(&open(&long, None).unwrap_err()),
            FaultKind::ConnectFailed
        );
    }

    #[test]
    fn a_full_unix_queue_is_told() {
        let dir = scratch();
        let path = dir.path().join("full.sock");
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        socket.bind(&SockAddr::unix(&path).unwrap()).unwrap();
        socket.listen(0).unwrap();
        let target = Target::Unix(path);
        let waiting = open(&target, None).unwrap();
        let error = open(&target, None).unwrap_err();
        assert_eq!(error.errno, libc::EAGAIN);
        assert_eq!(fault(&error), FaultKind::UnixBacklogFull);
        drop(waiting);
    }

    #[test]
    fn every_errno_has_a_kind() {
        let of = |errno, unix, step| {
            fault(&ConnectError {
                errno,
                unix,
                step,
                is_immediate: true,
            })
        };
        for (errno, kind) in [
            (libc::EHOSTUNREACH, FaultKind::ConnectUnreachable),
            (libc::ENETUNREACH, FaultKind::ConnectUnreachable),
            (libc::ETIMEDOUT, FaultKind::ConnectTimeout),
            (libc::ECONNRESET, FaultKind::ConnectReset),
            (libc::EADDRNOTAVAIL, FaultKind::OutOfPorts),
            (libc::EMFILE, FaultKind::OutOfFiles),
            (libc::ENFILE, FaultKind::OutOfFiles),
            (libc::ENOBUFS, FaultKind::OutOfMemory),
            (libc::EACCES, FaultKind::ConnectDenied),
            (libc::EPERM, FaultKind::ConnectDenied),
            (libc::EAGAIN, FaultKind::ConnectFailed),
            (libc::ENOENT, FaultKind::ConnectFailed),
        ] {
            assert_eq!(of(errno, false, Step::Connect), kind, "{errno}");
        }
        assert_eq!(
            of(libc::EAGAIN, true, Step::Connect),
            FaultKind::UnixBacklogFull
        );
    }

    #[test]
    fn targets_print_and_change_ports() {
        assert_eq!(ip("[::1]:80").with_port(8080).to_string(), "[::1]:8080");
        let unix = Target::Unix("/run/a.sock".into());
        assert_eq!(unix.with_port(1).to_string(), "unix:/run/a.sock");
    }
}
