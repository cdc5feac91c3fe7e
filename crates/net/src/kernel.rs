//! What only the kernel knows or decides: facts about a connection, limits, threads.
//!
//! Every function takes a raw descriptor and makes one system call on it. A wrong descriptor gives
//! `EBADF` or facts about another socket, never undefined behaviour.

#![expect(
    unsafe_code,
    reason = "system calls that the standard library and socket2 lack"
)]

use std::io;
use std::mem::{offset_of, size_of};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use clearway_outcome::{TcpFacts, TcpPace, TcpPath};

/// The kernel's `struct tcp_info` (`include/uapi/linux/tcp.h`) up to `tcpi_snd_wnd`.
///
/// Spelt out because the C libraries differ in how much of it they declare. The kernel writes as much
/// as the caller has room for, so an older kernel leaves the last fields zero.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct TcpInfo {
    state: u8,
    ca_state: u8,
    retransmits: u8,
    probes: u8,
    backoff: u8,
    options: u8,
    window_scales: u8,
    flags: u8,
    rto: u32,
    ato: u32,
    snd_mss: u32,
    rcv_mss: u32,
    unacked: u32,
    sacked: u32,
    lost: u32,
    retrans: u32,
    fackets: u32,
    last_data_sent: u32,
    last_ack_sent: u32,
    last_data_recv: u32,
    last_ack_recv: u32,
    pmtu: u32,
    rcv_ssthresh: u32,
    rtt: u32,
    rttvar: u32,
    snd_ssthresh: u32,
    snd_cwnd: u32,
    advmss: u32,
    reordering: u32,
    rcv_rtt: u32,
    rcv_space: u32,
    total_retrans: u32,
    pacing_rate: u64,
    max_pacing_rate: u64,
    bytes_acked: u64,
    bytes_received: u64,
    segs_out: u32,
    segs_in: u32,
    notsent_bytes: u32,
    min_rtt: u32,
    data_segs_in: u32,
    data_segs_out: u32,
    delivery_rate: u64,
    busy_time: u64,
    rwnd_limited: u64,
    sndbuf_limited: u64,
    delivered: u32,
    delivered_ce: u32,
    bytes_sent: u64,
    bytes_retrans: u64,
    dsack_dups: u32,
    reord_seen: u32,
    rcv_ooopack: u32,
    snd_wnd: u32,
}

const _: () = {
    assert!(offset_of!(TcpInfo, total_retrans) == 100);
    assert!(offset_of!(TcpInfo, bytes_acked) == 120);
    assert!(offset_of!(TcpInfo, notsent_bytes) == 144);
    assert!(offset_of!(TcpInfo, bytes_sent) == 200);
    assert!(offset_of!(TcpInfo, snd_wnd) == 228);
};

/// What the kernel knows about a TCP connection; `None` when `fd` is none.
#[must_use]
pub fn tcp_facts(fd: RawFd) -> Option<TcpFacts> {
    let (info, _) = tcp_info(fd)?;
    Some(TcpFacts {
        state: info.state,
        rtt_us: info.rtt,
        unacked: info.unacked,
        retransmits: info.total_retrans,
        backoff: info.backoff,
        bytes_acked: info.bytes_acked,
        bytes_received: info.bytes_received,
        notsent_bytes: info.notsent_bytes,
        // The SYN of a connection we opened counts as one acknowledged byte.
        unacked_bytes: info
            .bytes_sent
            .saturating_sub(info.bytes_retrans)
            .saturating_sub(info.bytes_acked.saturating_sub(1)),
        last_data_recv_ms: info.last_data_recv,
    })
}

/// What the kernel knows about the way of a TCP connection; `None` when `fd` is none.
#[must_use]
pub fn tcp_path(fd: RawFd) -> Option<TcpPath> {
    let (info, len) = tcp_info(fd)?;
    let is_known = len >= size_of::<TcpInfo>();
    Some(TcpPath {
        mtu: info.pmtu,
        segment: info.snd_mss,
        out_of_order: is_known.then_some(info.rcv_ooopack),
        window: is_known.then_some(info.snd_wnd),
    })
}

/// What the kernel knows of how fast a TCP connection goes; `None` when `fd` is none.
#[must_use]
pub fn tcp_pace(fd: RawFd) -> Option<TcpPace> {
    let (info, _) = tcp_info(fd)?;
    Some(TcpPace {
        rtt_us: info.rtt,
        rttvar_us: info.rttvar,
        congestion_window: info.snd_cwnd,
        receive_space: info.rcv_space,
    })
}

/// `TCP_INFO`, and how many bytes of it the kernel knows.
fn tcp_info(fd: RawFd) -> Option<(TcpInfo, usize)> {
    let mut info = TcpInfo::default();
    let mut len = libc::socklen_t::try_from(size_of::<TcpInfo>()).ok()?;
    // SAFETY: `info` is writable for `len` bytes, and every bit pattern is a valid `TcpInfo`.
    let result = unsafe {
        libc::getsockopt(
            fd,
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut len,
        )
    };
    let len = usize::try_from(len).ok()?;
    (result == 0).then_some((info, len))
}

/// Another descriptor of what `fd` refers to, which ends with programs that are started.
///
/// # Errors
/// `EBADF` when nothing is open by that number.
pub fn duplicate(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: no memory is passed, and a wrong descriptor is refused.
    let copy = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 3) };
    if copy < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just made and belongs to nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// Looks at the next unread byte without taking it and without waiting: `Ok(0)` is FIN.
///
/// # Errors
/// `WouldBlock` when nothing has arrived, or the socket's error.
pub fn peek(fd: RawFd) -> io::Result<usize> {
    let mut byte = 0_u8;
    let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
    // SAFETY: `byte` is writable for one byte.
    let count = unsafe { libc::recv(fd, (&raw mut byte).cast(), 1, flags) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

fn set_int(
    fd: RawFd,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    let len = libc::socklen_t::try_from(size_of::<libc::c_int>()).map_err(io::Error::other)?;
    // SAFETY: `value` is readable for `len` bytes.
    let result = unsafe { libc::setsockopt(fd, level, option, (&raw const value).cast(), len) };
    done(result)
}

fn done(result: libc::c_int) -> io::Result<()> {
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Hands a connection to `accept` only when data has come, or after about `seconds` without any.
///
/// # Errors
/// What `setsockopt(2)` says.
pub fn set_defer_accept(fd: RawFd, seconds: u16) -> io::Result<()> {
    set_int(
        fd,
        libc::IPPROTO_TCP,
        libc::TCP_DEFER_ACCEPT,
        seconds.into(),
    )
}

/// Lets a bind to a source address leave the choice of port to `connect`, which knows the
/// destination: without it all destinations share one range of local ports.
///
/// # Errors
/// What `setsockopt(2)` says.
pub fn set_bind_address_no_port(fd: RawFd) -> io::Result<()> {
    // The option sits at level IP for IPv6 sockets too.
    set_int(fd, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1)
}

/// Raises the soft limit of open files to the hard one; returns (soft, hard) as they are then.
///
/// # Errors
/// What `getrlimit(2)` or `setrlimit(2)` says.
pub fn raise_fd_limit() -> io::Result<(u64, u64)> {
    let mut limit = fd_limit()?;
    if limit.rlim_cur < limit.rlim_max {
        limit.rlim_cur = limit.rlim_max;
        // SAFETY: `limit` is a readable `rlimit`.
        done(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) })?;
        limit = fd_limit()?;
    }
    Ok((limit.rlim_cur, limit.rlim_max))
}

fn fd_limit() -> io::Result<libc::rlimit> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is a writable `rlimit`.
    done(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) })?;
    Ok(limit)
}

/// Binds the calling thread to one core, counted among those the process may use.
///
/// # Errors
/// When there is no such core, or what `sched_setaffinity(2)` says.
pub fn pin_to_core(index: usize) -> io::Result<()> {
    let allowed = affinity()?;
    let core = (0..CPU_SET_BITS)
        .filter(|&core| is_set(core, &allowed))
        .nth(index)
        .ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, format!("there is no core {index}"))
        })?;
    let mut wanted = no_cores();
    // SAFETY: `core` is below the number of bits of a `cpu_set_t`.
    unsafe { libc::CPU_SET(core, &mut wanted) };
    // SAFETY: `wanted` is a readable `cpu_set_t` of the size given; 0 is the calling thread.
    done(unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const wanted) })
}

const CPU_SET_BITS: usize = size_of::<libc::cpu_set_t>() * 8;

fn affinity() -> io::Result<libc::cpu_set_t> {
    let mut set = no_cores();
    // SAFETY: `set` is a writable `cpu_set_t` of the size given.
    done(unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) })?;
    Ok(set)
}

fn no_cores() -> libc::cpu_set_t {
    // SAFETY: a `cpu_set_t` is an array of integers, for which all-zero is valid.
    unsafe { std::mem::zeroed() }
}

fn is_set(core: usize, set: &libc::cpu_set_t) -> bool {
    debug_assert!(core < CPU_SET_BITS);
    // SAFETY: `core` is below the number of bits of a `cpu_set_t`.
    unsafe { libc::CPU_ISSET(core, set) }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;

    use super::*;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (client, listener.accept().unwrap().0)
    }

    #[test]
    fn facts_follow_the_connection() {
        let (mut client, mut server) = pair();
        client.write_all(b"hello").unwrap();
        server.read_exact(&mut [0; 5]).unwrap();
        server.write_all(b"bye").unwrap();
        client.read_exact(&mut [0; 3]).unwrap();
        let facts = tcp_facts(client.as_raw_fd()).unwrap();
        assert_eq!(facts.state, 1, "established");
        assert_eq!(facts.bytes_received, 3);
        // The answer carried the acknowledgement of the five bytes; the SYN counts as one.
        assert!((5..=6).contains(&facts.bytes_acked), "{facts:?}");
        assert_eq!((facts.unacked, facts.notsent_bytes), (0, 0));
        assert!(facts.rtt_us > 0);
        let path = tcp_path(client.as_raw_fd()).unwrap();
        assert!(path.mtu > 1_000 && path.segment > 500, "{path:?}");
        assert_eq!(path.out_of_order.unwrap_or(0), 0);
        assert_ne!(path.window, Some(0));
        drop(server);
        assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
        assert_eq!(
            tcp_facts(client.as_raw_fd()).unwrap().state,
            8,
            "close-wait"
        );
    }

    #[test]
    fn no_facts_without_a_tcp_socket() {
        assert_eq!((tcp_facts(-1), tcp_path(-1)), (None, None));
        let (one, _two) = std::os::unix::net::UnixStream::pair().unwrap();
        assert_eq!(tcp_facts(one.as_raw_fd()), None);
    }

    #[test]
    fn peeking_takes_nothing() {
        let (mut client, server) = pair();
        let fd = client.as_raw_fd();
        assert_eq!(peek(fd).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let mut twin = server.try_clone().unwrap();
        twin.write_all(b"x").unwrap();
        client.peek(&mut [0]).unwrap();
        assert_eq!(peek(fd).unwrap(), 1);
        client.read_exact(&mut [0]).unwrap();
        drop((twin, server));
        client.peek(&mut [0]).unwrap();
        assert_eq!(peek(fd).unwrap(), 0);
    }

    #[test]
    fn the_limit_of_files_is_raised_to_what_is_allowed() {
        let (soft, hard) = raise_fd_limit().unwrap();
        assert_eq!(soft, hard);
        assert_eq!(fd_limit().unwrap().rlim_cur, soft);
    }

    #[test]
    fn a_thread_is_pinned() {
        std::thread::spawn(|| {
            pin_to_core(0).unwrap();
            let only = affinity().unwrap();
            assert_eq!((0..CPU_SET_BITS).filter(|&c| is_set(c, &only)).count(), 1);
            assert_eq!(
                pin_to_core(1).unwrap_err().kind(),
                io::ErrorKind::NotFound,
                "just one core is left"
            );
        })
        .join()
        .unwrap();
    }
}
