//! Listening sockets: opened by control, one per worker, and accepted from by workers.
//!
//! Each worker has an IP socket of its own with `SO_REUSEPORT`, so the kernel spreads connections
//! and no lock is shared. Unix sockets have no such option: there the workers share one queue.

mod accept;
mod unix;

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::Arc;

use clearway_outcome::{Bind, errno_name};
use socket2::{Domain, Protocol, Type};

pub use accept::Acceptor;
pub use unix::SocketFile;

use crate::kernel;

/// Seconds after which a connection without data is handed over all the same.
const DEFER_SECONDS: u16 = 1;

/// How sockets are opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Connections that may wait to be accepted, per socket; `net.core.somaxconn` caps it.
    pub backlog: u32,
    /// Several sockets may share the address.
    pub reuse_port: bool,
    /// Connections are handed over when their first data has come.
    pub defer_accept: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            backlog: 4_096,
            reuse_port: true,
            defer_accept: false,
        }
    }
}

/// A socket that could not be opened; prints as a sentence.
#[derive(Debug)]
pub struct ListenError {
    /// What was to be opened.
    pub bind: Bind,
    /// System error number, 0 when none was involved.
    pub errno: i32,
    words: String,
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot listen on {}: {}", self.bind, self.words)?;
        match errno_name(self.errno) {
            Some(name) => write!(f, " ({name})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ListenError {}

impl ListenError {
    fn new(bind: &Bind, error: &io::Error) -> Self {
        let errno = error.raw_os_error().unwrap_or(0);
        let words = match bind {
            Bind::Ip { address, .. } => ip_words(*address, errno),
            Bind::Unix { path, .. } => unix_words(path, errno),
            Bind::Inherited(fd) => inherited_words(*fd, errno),
        };
        let words = words.unwrap_or_else(|| error.to_string());
        Self {
            bind: bind.clone(),
            errno,
            words,
        }
    }
}

fn ip_words(address: SocketAddr, errno: i32) -> Option<String> {
    let (ip, port) = (address.ip(), address.port());
    Some(match errno {
        libc::EADDRINUSE => format!("port {port} is already in use by another process"),
        libc::EACCES => format!(
            "ports below {} need CAP_NET_BIND_SERVICE (or root)",
            first_free_port()
        ),
        libc::EADDRNOTAVAIL => format!("this host does not have the address {ip}"),
        libc::EAFNOSUPPORT if address.is_ipv6() => "this host has no IPv6".to_owned(),
        errno => return shortage(errno),
    })
}

fn inherited_words(fd: u16, errno: i32) -> Option<String> {
    Some(match errno {
        libc::EBADF => format!("whoever started this process left no descriptor {fd} open"),
        libc::EINVAL | libc::ENOTSOCK => format!("descriptor {fd} is no socket that listens"),
        errno => return shortage(errno),
    })
}

fn unix_words(path: &Path, errno: i32) -> Option<String> {
    let folder = path
        .parent()
        .map(|p| p.display().to_string())
        .unwrap_or_default();
    Some(match errno {
        libc::EADDRINUSE => "another process listens there already".to_owned(),
        libc::EACCES | libc::EPERM => format!("no permission to create a socket in {folder}"),
        libc::ENOENT => format!("the folder {folder} does not exist"),
        libc::EROFS => "the file system is read-only".to_owned(),
        errno => return shortage(errno),
    })
}

fn shortage(errno: i32) -> Option<String> {
    Some(match errno {
        libc::EMFILE => "this process has no file descriptor left".to_owned(),
        libc::ENFILE => "the system has no file descriptor left".to_owned(),
        libc::ENOBUFS | libc::ENOMEM => "the kernel has no memory left for it".to_owned(),
        _ => return None,
    })
}

/// The first port that needs no privilege.
fn first_free_port() -> u32 {
    std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(1_024)
}

/// An open listening socket that no runtime knows yet: it may go to any thread.
#[derive(Debug)]
pub struct Socket {
    inner: Inner,
    address: String,
}

/// A listening socket of the standard library.
#[derive(Debug)]
pub enum StdListener {
    /// For IP.
    Tcp(std::net::TcpListener),
    /// For Unix sockets.
    Unix(std::os::unix::net::UnixListener),
}

#[derive(Debug)]
enum Inner {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener, Option<Arc<SocketFile>>),
}

impl Socket {
    /// The real address as text, with the port that the kernel chose: `127.0.0.1:8080`,
    /// `unix:/run/a.sock`.
    #[must_use]
    pub fn address_text(&self) -> String {
        self.address.clone()
    }

    /// The real address, when it is an IP address.
    #[must_use]
    pub fn local(&self) -> Option<SocketAddr> {
        match &self.inner {
            Inner::Tcp(listener) => listener.local_addr().ok(),
            Inner::Unix(..) => None,
        }
    }

    /// The listener itself, non-blocking, for a server that is not ours; a Unix socket's file is
    /// removed when the second part is dropped.
    #[must_use]
    pub fn into_std(self) -> (StdListener, Option<SocketFile>) {
        match self.inner {
            Inner::Tcp(listener) => (StdListener::Tcp(listener), None),
            Inner::Unix(listener, file) => {
                (StdListener::Unix(listener), file.and_then(Arc::into_inner))
            }
        }
    }

    fn tcp(listener: std::net::TcpListener) -> io::Result<Self> {
        let address = listener.local_addr()?.to_string();
        Ok(Self {
            inner: Inner::Tcp(listener),
            address,
        })
    }

    fn try_clone(&self) -> io::Result<Self> {
        let inner = match &self.inner {
            Inner::Tcp(listener) => Inner::Tcp(listener.try_clone()?),
            Inner::Unix(listener, file) => Inner::Unix(listener.try_clone()?, file.clone()),
        };
        Ok(Self {
            inner,
            address: self.address.clone(),
        })
    }
}

/// Opens one listening socket.
///
/// # Errors
/// A sentence about what stands in the way.
pub fn open(bind: &Bind, options: &Options) -> Result<Socket, ListenError> {
    match bind {
        Bind::Ip { address, dual } => open_ip(*address, *dual, options)
            .and_then(Socket::tcp)
            .map_err(|error| ListenError::new(bind, &error)),
        Bind::Unix { path, mode } => unix::open(bind, path, *mode, options),
        Bind::Inherited(fd) => inherited(*fd).map_err(|error| ListenError::new(bind, &error)),
    }
}

/// A socket that listens already.
fn inherited(fd: u16) -> io::Result<Socket> {
    let socket = socket2::Socket::from(kernel::duplicate(i32::from(fd))?);
    if !socket.is_listener()? {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    socket.set_nonblocking(true)?;
    if socket.local_addr()?.is_unix() {
        // Its file belongs to whoever made it.
        let inner = Inner::Unix(socket.into(), None);
        let address = format!("fd:{fd}");
        return Ok(Socket { inner, address });
    }
    Socket::tcp(socket.into())
}

/// Opens `count` sockets on the same address: `SO_REUSEPORT` for IP, one shared queue for Unix.
///
/// # Errors
/// A sentence about what stands in the way; none is open then.
pub fn open_many(bind: &Bind, options: &Options, count: usize) -> Result<Vec<Socket>, ListenError> {
    let options = Options {
        reuse_port: options.reuse_port || count > 1,
        ..*options
    };
    let first = open(bind, &options)?;
    let mut sockets = Vec::with_capacity(count);
    for _ in 1..count {
        let next = match (bind, first.local()) {
            // Port 0 was chosen by the kernel for the first one; the others have to follow.
            (Bind::Ip { dual, .. }, Some(address)) => {
                open_ip(address, *dual, &options).and_then(Socket::tcp)
            }
            _ => first.try_clone(),
        };
        sockets.push(next.map_err(|error| ListenError::new(bind, &error))?);
    }
    sockets.insert(0, first);
    Ok(sockets)
}

/// Whether some process listens on `bind` already, even one that would share it.
///
/// With `SO_REUSEPORT` a second instance of the same user opens the same port without an error and
/// takes half of the connections: worth asking before the first start.
#[must_use]
pub fn is_taken(bind: &Bind) -> bool {
    let exclusive = Options {
        backlog: 1,
        reuse_port: false,
        defer_accept: false,
    };
    match bind {
        Bind::Ip { address, .. } if address.port() == 0 => false,
        Bind::Ip { address, dual } => bind_ip(*address, *dual, &exclusive)
            .is_err_and(|error| error.raw_os_error() == Some(libc::EADDRINUSE)),
        Bind::Unix { path, .. } => matches!(unix::state(path), Ok(unix::State::Listened)),
        Bind::Inherited(_) => false,
    }
}

/// Tries whether an address can be bound; one that somebody has already is none of the errors.
///
/// # Errors
/// It is no address of this host, or the process may not have it.
pub fn try_bind(bind: &Bind) -> io::Result<()> {
    let Bind::Ip { address, dual } = bind else {
        return Ok(());
    };
    let options = Options {
        backlog: 1,
        reuse_port: false,
        defer_accept: false,
    };
    match bind_ip(*address, *dual, &options) {
        Err(error) if error.raw_os_error() != Some(libc::EADDRINUSE) => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}

fn open_ip(
    address: SocketAddr,
    dual: bool,
    options: &Options,
) -> io::Result<std::net::TcpListener> {
    let socket = bind_ip(address, dual, options)?;
    if options.defer_accept {
        kernel::set_defer_accept(socket.as_raw_fd(), DEFER_SECONDS)?;
    }
    socket.listen(i32::try_from(options.backlog).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}

fn bind_ip(address: SocketAddr, dual: bool, options: &Options) -> io::Result<socket2::Socket> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let new = |domain| socket2::Socket::new(domain, kind, Some(Protocol::TCP));
    let (socket, address) = match new(Domain::for_address(address)) {
        // A host without IPv6 still has all of IPv4 to listen on.
        Err(error) if dual && error.raw_os_error() == Some(libc::EAFNOSUPPORT) => {
            let any = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port());
            (new(Domain::IPV4)?, any)
        }
        socket => (socket?, address),
    };
    if address.is_ipv6() {
        socket.set_only_v6(!dual)?;
    }
    // Connections of a former process in TIME-WAIT must not keep us from starting.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(options.reuse_port)?;
    // Accepted sockets inherit it, which saves a system call for each.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use clearway_outcome::Address;

    use super::*;
    use crate::stream::Stream;
    use crate::testing::{bind, block_on};
    use crate::wire::Wire;

    #[test]
    fn many_sockets_share_a_port_that_the_kernel_chose() {
        let sockets = open_many(&bind("127.0.0.1:0"), &Options::default(), 3).unwrap();
        let first = sockets[0].address_text();
        assert!(sockets.iter().all(|s| s.address_text() == first) && !first.ends_with(":0"));
        block_on(async {
            let acceptors: Vec<Acceptor> = sockets
                .into_iter()
                .map(|s| Acceptor::new(s).unwrap())
                .collect();
            let client = TcpStream::connect(&first).unwrap();
            let mut taken: Vec<_> = acceptors.iter().filter_map(Acceptor::try_accept).collect();
            assert_eq!(taken.len(), 1);
            let (stream, peer) = taken.remove(0).unwrap();
            assert_eq!(peer, Address::Ip(client.local_addr().unwrap()));
            let Stream::Plain(Wire::Tcp(stream)) = stream else {
                panic!()
            };
            assert!(stream.nodelay().unwrap(), "inherited");
        });
    }

    #[test]
    fn only_ipv6_means_only_ipv6() {
        let Ok(socket) = open(&bind("[::]:0"), &Options::default()) else {
            return; // A host without IPv6.
        };
        let port = socket.local().unwrap().port();
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    }

    #[test]
    fn errors_are_sentences() {
        let busy = TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = bind(&busy.local_addr().unwrap().to_string());
        let error = open(&taken, &Options::default()).unwrap_err();
        let port = busy.local_addr().unwrap().port();
        assert_eq!(
            error.to_string(),
            format!(
                "cannot listen on 127.0.0.1:{port}: port {port} is already in use by another \
                 process (EADDRINUSE)"
            )
        );
        let foreign = open(&bind("192.0.2.1:0"), &Options::default()).unwrap_err();
        assert!(
            foreign
                .to_string()
                .contains("does not have the address 192.0.2.1"),
            "{foreign}"
        );
        let low = ip_words("0.0.0.0:80".parse().unwrap(), libc::EACCES).unwrap();
        assert!(low.contains("CAP_NET_BIND_SERVICE"), "{low}");
        let lost = open(&bind("unix:/no/such/folder/a.sock"), &Options::default()).unwrap_err();
        assert!(
            lost.to_string().contains("/no/such/folder does not exist"),
            "{lost}"
        );
        let long = format!("unix:/{}", "x".repeat(200));
        let long = open(&bind(&long), &Options::default()).unwrap_err();
        assert!(long.to_string().contains("too long"), "{long}");
    }

    #[test]
    fn a_port_that_would_be_shared_is_noticed() {
        let socket = open(&bind("127.0.0.1:0"), &Options::default()).unwrap();
        let same = bind(&socket.address_text());
        assert!(open(&same, &Options::default()).is_ok(), "shared silently");
        assert!(is_taken(&same));
        assert!(!is_taken(&bind("127.0.0.1:0")));
        drop(socket);
        assert!(!is_taken(&same));
    }
}
