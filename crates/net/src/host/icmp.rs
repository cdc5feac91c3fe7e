//! ICMP messages that refuse packets of ours: who sent them, and with what words.
//!
//! A refused connection does not tell whether the server or a filter refused it, and a filter's answer
//! comes from the filter's own address. The kernel tells neither to the socket that was refused.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use clearway_outcome::IcmpSeen;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::time::timeout;

/// Longer messages are cut: the packet they are about begins within the first bytes.
const ROOM: usize = 2_048;
/// TCP, as a number in a packet.
const TCP: u8 = 6;

/// Hears all ICMP messages that come to this network namespace, from the time it is opened on. Whoever
/// asks for one address loses the messages about others: each probe has an ear of its own.
#[derive(Debug)]
pub struct IcmpEar {
    four: UdpSocket,
    /// Not there on a host without IPv6.
    six: Option<UdpSocket>,
}

impl IcmpEar {
    /// Begins to hear; to be called on a tokio runtime, before the packets are sent that may be refused.
    ///
    /// # Errors
    /// `PermissionDenied` without the capability `CAP_NET_RAW`, or what the system says.
    pub fn open() -> io::Result<Self> {
        let open = |domain, protocol| {
            let kind = Type::RAW.nonblocking().cloexec();
            let socket = Socket::new(domain, kind, Some(protocol))?;
            // Both read datagrams with their senders: to the runtime a raw socket is one of UDP.
            UdpSocket::from_std(socket.into())
        };
        Ok(Self {
            four: open(Domain::IPV4, Protocol::ICMPV4)?,
            six: open(Domain::IPV6, Protocol::ICMPV6).ok(),
        })
    }

    /// Waits until a TCP packet to `to` is refused, at most for `limit`; `None` = none was. Messages that
    /// came since the ear was opened, or since the last call, count.
    ///
    /// Cancel safe: a message is lost only when it is about something else.
    ///
    /// # Errors
    /// What the system says.
    pub async fn hear(&self, to: SocketAddr, limit: Duration) -> io::Result<Option<IcmpSeen>> {
        let heard = timeout(limit, async {
            match (to.ip().to_canonical(), &self.six) {
                (IpAddr::V4(ip), _) => {
                    let to = SocketAddr::new(ip.into(), to.port());
                    listen(&self.four, |from, bytes| about_four(from, bytes, to)).await
                }
                (IpAddr::V6(_), Some(six)) => {
                    listen(six, |from, bytes| about_six(from, bytes, to)).await
                }
                (IpAddr::V6(_), None) => Err(io::ErrorKind::Unsupported.into()),
            }
        });
        heard.await.map_or(Ok(None), |heard| heard.map(Some))
    }
}

async fn listen(
    socket: &UdpSocket,
    judge: impl Fn(IpAddr, &[u8]) -> Option<IcmpSeen>,
) -> io::Result<IcmpSeen> {
    let mut room = [0; ROOM];
    loop {
        let (len, from) = socket.recv_from(&mut room).await?;
        let bytes = room.get(..len).unwrap_or_default();
        if let Some(seen) = judge(from.ip(), bytes) {
            return Ok(seen);
        }
    }
}

/// A message with its IP header in front (RFC 792), if it refuses a packet to `to`.
fn about_four(from: IpAddr, bytes: &[u8], to: SocketAddr) -> Option<IcmpSeen> {
    let message = bytes.get(header_four(bytes)?..)?;
    let &[kind, code, _, _, _, _, _, _, ref packet @ ..] = message else {
        return None;
    };
    // Destination unreachable, time exceeded, parameter problem.
    if !matches!(kind, 3 | 11 | 12) || *packet.get(9)? != TCP {
        return None;
    }
    let ip: [u8; 4] = *packet.get(16..)?.first_chunk()?;
    let port = port(packet.get(header_four(packet)?..)?)?;
    (SocketAddr::new(Ipv4Addr::from(ip).into(), port) == to).then_some(IcmpSeen {
        from,
        kind,
        code,
    })
}

/// The length of an IPv4 header.
fn header_four(bytes: &[u8]) -> Option<usize> {
    let first = bytes.first()?;
    (first >> 4 == 4).then_some(usize::from(first & 15) * 4)
}

/// A message without its IP header (RFC 4443), if it refuses a packet to `to`. Packets with extension
/// headers are not recognised; TCP of today has none.
fn about_six(from: IpAddr, bytes: &[u8], to: SocketAddr) -> Option<IcmpSeen> {
    let &[kind, code, _, _, _, _, _, _, ref packet @ ..] = bytes else {
        return None;
    };
    // Errors have numbers below 128: unreachable, too big, time exceeded, parameter problem.
    if kind >= 128 || *packet.get(6)? != TCP {
        return None;
    }
    let ip: [u8; 16] = *packet.get(24..)?.first_chunk()?;
    let port = port(packet.get(40..)?)?;
    (Ipv6Addr::from(ip) == to.ip() && port == to.port()).then_some(IcmpSeen { from, kind, code })
}

/// The destination port of a segment.
fn port(segment: &[u8]) -> Option<u16> {
    segment
        .get(2..)?
        .first_chunk()
        .map(|port| u16::from_be_bytes(*port))
}

#[cfg(test)]
mod tests {
    use clearway_outcome::FaultKind;
    use clearway_testkit::netns;

    use super::*;
    use crate::connect::{self, Target};
    use crate::host::counters;
    use crate::testing::block_on;

    const LIMIT: Duration = Duration::from_secs(5);
    const SHORT: Duration = Duration::from_millis(100);

    /// Connects while listening; what was heard, and why connecting failed.
    fn refused(to: SocketAddr, limit: Duration) -> (Option<IcmpSeen>, FaultKind) {
        block_on(async {
            let ear = IcmpEar::open().unwrap();
            let error = connect::connect(&Target::Ip(to), None).await.unwrap_err();
            (ear.hear(to, limit).await.unwrap(), connect::fault(&error))
        })
    }

    fn seen(from: &str, kind: u8, code: u8) -> Option<IcmpSeen> {
        let from = from.parse().unwrap();
        Some(IcmpSeen { from, kind, code })
    }

    fn in_new(name: &str, body: impl FnOnce()) {
        netns::run_in_new(&format!("host::icmp::tests::{name}"), || {
            netns::filter_table();
            body();
        });
    }

    #[test]
    fn a_filter_that_refuses_is_heard() {
        in_new("a_filter_that_refuses_is_heard", || {
            netns::nft("add rule inet test input tcp dport 81 reject with icmp port-unreachable");
            netns::nft("add rule inet test input tcp dport 82 reject with icmp admin-prohibited");
            netns::nft("add rule inet test input tcp dport 83 reject with tcp reset");
            let to = |port| SocketAddr::from(([127, 0, 0, 1], port));
            let before = counters().unwrap();
            let refusal = FaultKind::ConnectRefused;
            assert_eq!(refused(to(81), LIMIT), (seen("127.0.0.1", 3, 3), refusal));
            let added = counters().unwrap().since(&before);
            assert!(added.icmp_in_unreachable >= 1 && added.icmp_out_unreachable >= 1);
            assert_eq!(
                refused(to(82), LIMIT),
                (seen("127.0.0.1", 3, 13), FaultKind::ConnectUnreachable)
            );
            assert_eq!(refused(to(83), SHORT), (None, refusal), "an RST");
            assert_eq!(refused(to(84), SHORT), (None, refusal), "nobody listens");
        });
    }

    #[test]
    fn so_is_one_of_ipv6() {
        in_new("so_is_one_of_ipv6", || {
            netns::nft("add rule inet test input tcp dport 81 reject with icmpv6 admin-prohibited");
            let to = SocketAddr::from((Ipv6Addr::LOCALHOST, 81));
            let (heard, _) = refused(to, LIMIT);
            assert_eq!(heard, seen("::1", 1, 1));
        });
    }

    #[test]
    fn messages_about_other_packets_are_left() {
        let to = SocketAddr::from(([10, 0, 0, 9], 80));
        let from = IpAddr::from([10, 0, 0, 1]);
        let mut bytes = vec![0; 60];
        // An IP header, an ICMP header, the packet's IP header, its TCP ports.
        (bytes[0], bytes[20], bytes[21]) = (0x45, 3, 1);
        (bytes[28], bytes[37]) = (0x45, TCP);
        bytes[44..48].copy_from_slice(&[10, 0, 0, 9]);
        bytes[51] = 80;
        let seen = IcmpSeen {
            from,
            kind: 3,
            code: 1,
        };
        assert_eq!(about_four(from, &bytes, to), Some(seen));
        let other = SocketAddr::from(([10, 0, 0, 9], 81));
        assert_eq!(about_four(from, &bytes, other), None);
        for cut in 0..52 {
            assert_eq!(about_four(from, &bytes[..cut], to), None, "{cut}");
        }
        bytes[37] = 17;
        assert_eq!(about_four(from, &bytes, to), None, "UDP");
        for cut in 0..60 {
            let six = SocketAddr::from((Ipv6Addr::LOCALHOST, 80));
            assert_eq!(about_six(from, &[1; 60][..cut], six), None);
        }
    }
}
