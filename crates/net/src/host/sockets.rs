//! TCP sockets of this network namespace (sock_diag(7)).

use std::io;
use std::net::{IpAddr, SocketAddr};

use clearway_outcome::{Connected, Listening, Sockets, Use};

use super::limits;
use super::netlink::{DUMP, INET, INET6, Netlink, address, array, attributes};
use super::process::{self, Owners};
use super::text;

const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// Whether a socket of IPv6 is for IPv6 only.
const V6_ONLY: u16 = 11;
/// The fixed part of an answer.
const FIXED: usize = 72;
/// The timer that is running: the other end has closed its window, and is asked whether it still is.
const PROBES_WINDOW: u8 = 4;
/// Number of the state LISTEN.
const LISTEN: u8 = 10;
/// All states but LISTEN; a set bit is a state.
const CONNECTED: u32 = 0xfff & !(1 << LISTEN);

/// The listening TCP sockets of both families.
///
/// # Errors
/// When neither sock_diag nor `/proc/net/tcp` tells.
pub fn listeners(owners: Owners) -> io::Result<Vec<Listening>> {
    let mut found = diagnosed(1 << LISTEN, Ports::default()).or_else(|error| {
        // A kernel without the module has the list as text.
        from_proc().map_err(|_| error)
    })?;
    found.retain(|socket| socket.state == LISTEN);
    let inodes: Vec<_> = found.iter().map(|socket| socket.inode).collect();
    let mut owners = process::owners(owners, &inodes);
    let listening = found.iter().map(|socket| {
        let (pid, process) = owners.remove(&socket.inode).unzip();
        Listening {
            address: socket.local,
            queue: socket.receive,
            backlog: socket.send,
            v6_only: socket.v6_only,
            process,
            pid,
        }
    });
    Ok(listening.collect())
}

/// The sockets that are connected to `remote`, or on their way there or from there.
///
/// # Errors
/// When sock_diag does not answer.
pub fn sockets_to(remote: SocketAddr) -> io::Result<Sockets> {
    let ports = Ports {
        local: 0,
        remote: remote.port(),
    };
    connected(ports, |socket| is_same(socket.remote, remote))
}

/// The connections that listeners at `local` have accepted or will: the same from the server's side.
/// Of all addresses of this host where `local` is unspecified.
///
/// # Errors
/// When sock_diag does not answer.
pub fn sockets_at(local: SocketAddr) -> io::Result<Sockets> {
    let ports = Ports {
        local: local.port(),
        remote: 0,
    };
    connected(ports, |socket| {
        let any = local.ip().is_unspecified() && socket.local.port() == local.port();
        any || is_same(socket.local, local)
    })
}

/// Local ports that hold connections to `remote`, in whatever state, of those that connecting may
/// choose from. Each source address has all of them: the one with the most in use counts.
///
/// # Errors
/// When the range or the sockets cannot be read.
pub fn ports(remote: SocketAddr) -> io::Result<Use> {
    let range = text::read("/proc/sys/net/ipv4/ip_local_port_range")?;
    let mut ends = range
        .split_whitespace()
        .filter_map(|word| word.parse().ok());
    let (Some(low), Some(high)) = (ends.next(), ends.next()) else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let reserved = text::read("/proc/sys/net/ipv4/ip_local_reserved_ports").unwrap_or_default();
    let mut sources: Vec<(IpAddr, u64)> = Vec::new();
    let ports = Ports {
        local: 0,
        remote: remote.port(),
    };
    for socket in diagnosed(CONNECTED, ports)? {
        if !is_same(socket.remote, remote) || !(low..=high).contains(&socket.local.port()) {
            continue;
        }
        let ip = socket.local.ip().to_canonical();
        match sources.iter_mut().find(|(source, _)| *source == ip) {
            Some((_, count)) => *count += 1,
            None => sources.push((ip, 1)),
        }
    }
    let all = u64::from(high.saturating_sub(low)) + 1;
    Ok(Use {
        used: sources.iter().map(|&(_, count)| count).max().unwrap_or(0),
        limit: all.saturating_sub(overlap(&reserved, low, high)),
    })
}

/// How many ports of a list such as `8080,9000-9010` are in a range.
fn overlap(list: &str, low: u16, high: u16) -> u64 {
    let parts = list.trim().split(',').filter_map(|part| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let (from, to): (u16, u16) = (from.parse().ok()?, to.parse().ok()?);
        let count = u64::from(to.min(high)) + 1;
        Some(count.saturating_sub(from.max(low).into()))
    });
    parts.sum()
}

fn connected(ports: Ports, is_wanted: impl Fn(&Found) -> bool) -> io::Result<Sockets> {
    let mut sockets = Sockets::default();
    for found in diagnosed(CONNECTED, ports)? {
        if !is_wanted(&found) {
            continue;
        }
        if let Some(count) = sockets.states.get_mut(usize::from(found.state)) {
            *count += 1;
        }
        if sockets.shown.len() < Sockets::SHOWN {
            sockets.shown.push(Connected {
                local: found.local,
                remote: found.remote,
                state: found.state,
                unread: found.receive,
                unacked_bytes: found.send,
                retransmits: found.retransmits,
                is_window_closed: found.is_window_closed,
            });
        }
    }
    Ok(sockets)
}

/// Whether two addresses are one, in whatever family they are written.
fn is_same(one: SocketAddr, other: SocketAddr) -> bool {
    one.port() == other.port() && one.ip().to_canonical() == other.ip().to_canonical()
}

/// Which ports to list; 0 is any.
#[derive(Clone, Copy, Default)]
struct Ports {
    local: u16,
    remote: u16,
}

/// A socket as the kernel lists it.
#[derive(Debug, PartialEq)]
struct Found {
    local: SocketAddr,
    remote: SocketAddr,
    state: u8,
    retransmits: u8,
    is_window_closed: bool,
    /// Bytes to read; of a listener, connections that wait.
    receive: u32,
    /// Bytes not acknowledged; of a listener, how many connections may wait.
    send: u32,
    inode: u32,
    v6_only: bool,
}

fn diagnosed(states: u32, ports: Ports) -> io::Result<Vec<Found>> {
    let mut all = Vec::new();
    for family in [INET, INET6] {
        // TCP; no extra facts; the states; the two ports, then addresses and interface: any.
        let mut body = vec![family, 6, 0, 0];
        body.extend(states.to_ne_bytes());
        body.extend(ports.local.to_be_bytes());
        body.extend(ports.remote.to_be_bytes());
        body.resize(48, 0);
        // No cookie.
        body.extend([0xff; 8]);
        let netlink = Netlink::open(libc::NETLINK_SOCK_DIAG)?;
        let asked = netlink.ask(SOCK_DIAG_BY_FAMILY, DUMP, &body, |message| {
            all.extend(found(message.body));
        });
        match asked {
            // A host without IPv6.
            Err(error) if family == INET6 && error.raw_os_error() == Some(libc::ENOENT) => {}
            result => result?,
        }
    }
    Ok(all)
}

fn found(body: &[u8]) -> Option<Found> {
    let &[family, state, timer, retransmits, ..] = body else {
        return None;
    };
    let end = |port, ip| {
        let len = if family == INET { 4 } else { 16 };
        let port = u16::from_be_bytes(array(body, port)?);
        Some(SocketAddr::new(address(body.get(ip..ip + len)?)?, port))
    };
    let number = |at| array(body, at).map(u32::from_ne_bytes);
    let mut more = attributes(body.get(FIXED..)?);
    Some(Found {
        local: end(4, 8)?,
        remote: end(6, 24)?,
        state,
        retransmits,
        is_window_closed: timer == PROBES_WINDOW,
        receive: number(56)?,
        send: number(60)?,
        inode: number(68)?,
        v6_only: more.any(|(kind, value)| kind == V6_ONLY && value == [1]),
    })
}

/// The same from `/proc/net/tcp` and `tcp6`, where a listener's backlog is missing: it is at most that
/// of all listeners.
fn from_proc() -> io::Result<Vec<Found>> {
    let mut all: Vec<_> = text::read("/proc/net/tcp")?
        .lines()
        .filter_map(line)
        .collect();
    let six = text::read("/proc/net/tcp6").unwrap_or_default();
    all.extend(six.lines().filter_map(line));
    let most = u32::try_from(limits::somaxconn()?).unwrap_or(u32::MAX);
    for listener in all.iter_mut().filter(|found| found.state == LISTEN) {
        listener.send = most;
    }
    Ok(all)
}

/// `0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 12345 …`
fn line(text: &str) -> Option<Found> {
    let mut words = text.split_whitespace().skip(1);
    let mut word = || words.next();
    let (local, remote) = (end(word()?)?, end(word()?)?);
    let state = u8::from_str_radix(word()?, 16).ok()?;
    let (send, receive) = word()?.split_once(':')?;
    let hex = |text| u32::from_str_radix(text, 16).ok();
    let _timer = word()?;
    let retransmits = u8::try_from(hex(word()?)?).unwrap_or(u8::MAX);
    let inode = words.nth(2)?.parse().ok()?;
    Some(Found {
        local,
        remote,
        state,
        retransmits,
        is_window_closed: false,
        receive: hex(receive)?,
        send: hex(send)?,
        inode,
        v6_only: false,
    })
}

/// An address whose 32-bit words are written as numbers of this machine, and a port.
fn end(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let mut octets = Vec::with_capacity(16);
    for at in (0..ip.len()).step_by(8) {
        let word = u32::from_str_radix(ip.get(at..at + 8)?, 16).ok()?;
        octets.extend(word.to_ne_bytes());
    }
    Some(SocketAddr::new(
        address(&octets)?,
        u16::from_str_radix(port, 16).ok()?,
    ))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};

    use socket2::{Domain, Socket, Type};

    use super::*;

    fn listener(backlog: i32) -> (Socket, SocketAddr) {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket
            .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
            .unwrap();
        socket.listen(backlog).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        (socket, address)
    }

    #[test]
    fn a_listener_is_listed_with_its_queue_and_its_process() {
        let (_socket, address) = listener(3);
        let _waiting = [
            TcpStream::connect(address).unwrap(),
            TcpStream::connect(address).unwrap(),
        ];
        let all = listeners(Owners::Find).unwrap();
        let found = all
            .iter()
            .find(|listening| listening.takes(address))
            .unwrap();
        assert_eq!((found.address, found.queue, found.backlog), (address, 2, 3));
        assert_eq!(found.pid, Some(std::process::id()));
        assert!(found.process.as_ref().is_some_and(|name| !name.is_empty()));
        let all = listeners(Owners::Leave).unwrap();
        let found = all
            .iter()
            .find(|listening| listening.takes(address))
            .unwrap();
        assert_eq!((found.pid, &found.process), (None, &None));
    }

    #[test]
    fn sockets_of_ipv6_tell_whether_they_take_ipv4() {
        for only in [false, true] {
            let socket = Socket::new(Domain::IPV6, Type::STREAM, None).unwrap();
            socket.set_only_v6(only).unwrap();
            socket
                .bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)).into())
                .unwrap();
            socket.listen(1).unwrap();
            let port = socket.local_addr().unwrap().as_socket().unwrap().port();
            let all = listeners(Owners::Leave).unwrap();
            let taken = |ip: IpAddr| all.iter().any(|l| l.takes(SocketAddr::new(ip, port)));
            assert!(taken(Ipv6Addr::LOCALHOST.into()));
            assert_eq!(taken(Ipv4Addr::LOCALHOST.into()), !only);
        }
    }

    #[test]
    fn connections_are_seen_from_both_ends() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut client = TcpStream::connect(address).unwrap();
        let (server, _) = listener.accept().unwrap();
        client.write_all(b"unread").unwrap();
        server.peek(&mut [0; 6]).unwrap();
        let there = sockets_to(address).unwrap();
        assert_eq!((there.in_state(1), there.total()), (1, 1));
        assert_eq!(there.shown[0].local, client.local_addr().unwrap());
        assert_eq!(there.shown[0].remote, address);
        let here = sockets_at(address).unwrap();
        assert_eq!((here.in_state(1), here.total()), (1, 1));
        assert_eq!(here.shown[0].unread, 6);
        assert_eq!(ports(address).unwrap().used, 1);
        client.shutdown(std::net::Shutdown::Write).unwrap();
        (&server).read_to_end(&mut Vec::new()).unwrap();
        assert_eq!(sockets_at(address).unwrap().in_state(8), 1, "close-wait");
        assert!(ports(address).unwrap().limit > 1_000);
        assert_eq!(
            sockets_to("127.0.0.1:1".parse().unwrap()).unwrap().total(),
            0
        );
    }

    #[test]
    fn a_reader_that_does_not_read_shows() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut client = TcpStream::connect(address).unwrap();
        let (_server, _) = listener.accept().unwrap();
        client.set_nonblocking(true).unwrap();
        while client.write(&[0; 1 << 16]).is_ok() {}
        let closed = || {
            let sockets = sockets_to(address).unwrap();
            sockets.shown[0]
                .is_window_closed
                .then_some(sockets.shown[0])
        };
        let seen = clearway_testkit::wait::until("the window is closed", closed);
        assert!(seen.unacked_bytes > 0, "{seen:?}");
        assert!(sockets_at(address).unwrap().shown[0].unread > 0);
    }

    #[test]
    fn the_list_as_text_says_the_same() {
        let (_socket, address) = listener(1);
        let _waiting = TcpStream::connect(address).unwrap();
        let of = |all: Vec<Found>| {
            all.into_iter()
                .find(|found| found.local == address)
                .unwrap()
        };
        let (text, asked) = (
            of(from_proc().unwrap()),
            of(diagnosed(1 << LISTEN, Ports::default()).unwrap()),
        );
        assert_eq!((text.state, text.receive), (asked.state, asked.receive));
        assert_eq!((text.inode, text.remote), (asked.inode, asked.remote));
        let six = line(
            "1: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A \
             00000000:00000000 00:00000000 00000000 0 0 77 1",
        );
        let six = six.unwrap();
        assert_eq!(
            (six.local.to_string().as_str(), six.inode),
            ("[::1]:80", 77)
        );
        assert_eq!(line("sl local_address rem_address st"), None);
        assert_eq!(line("0: 0100007F0:1F90 x"), None);
        assert_eq!(found(&[0; 71]), None);
    }

    #[test]
    fn reserved_ports_are_not_counted() {
        assert_eq!(overlap("", 1, 9), 0);
        assert_eq!(overlap("3,5-6,8-20\n", 4, 10), 5);
        assert_eq!(overlap("1-2", 4, 10), 0);
    }
}
