//! What a host's kernel counts and lists, as far as it tells causes apart.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $field:ident = $group:literal $name:literal,)+) => {
        /// Counters of the network stack (`/proc/net/netstat`, `/proc/net/snmp`,
        /// `/proc/net/stat/nf_conntrack`); what a kernel does not have stays 0.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct HostCounters { $($(#[doc = $doc])+ pub $field: u64,)+ }

        impl HostCounters {
            /// Group and name of each counter as the kernel writes them.
            pub const NAMES: &'static [(&'static str, &'static str)] = &[$(($group, $name),)+];

            /// The place of a counter by the kernel's names; `None` for one that is not kept.
            pub fn slot(&mut self, group: &str, name: &str) -> Option<&mut u64> {
                match (group, name) {
                    $(($group, $name) => Some(&mut self.$field),)+
                    _ => None,
                }
            }

            /// What was added since `before`.
            #[must_use]
            pub fn since(&self, before: &Self) -> Self {
                Self { $($field: self.$field.saturating_sub(before.$field),)+ }
            }
        }
    };
}

counters! {
    /// SYN segments sent again: nobody answered the first.
    syn_retrans = "TcpExt" "TCPSynRetrans",
    /// Retransmissions that this host's own stack refused to send.
    retrans_fail = "TcpExt" "TCPRetransFail",
    /// Retransmission time-outs.
    timeouts = "TcpExt" "TCPTimeouts",
    /// Connections that did not fit into a listener's queue.
    listen_overflows = "TcpExt" "ListenOverflows",
    /// Connections dropped by listeners.
    listen_drops = "TcpExt" "ListenDrops",
    /// SYN queue full, dropped.
    req_q_full_drop = "TcpExt" "TCPReqQFullDrop",
    /// SYN queue full, answered with cookies.
    req_q_full_cookies = "TcpExt" "TCPReqQFullDoCookies",
    /// SYN cookies sent.
    syncookies_sent = "TcpExt" "SyncookiesSent",
    /// Closed while data was on its way in.
    abort_on_data = "TcpExt" "TCPAbortOnData",
    /// Closed with unread data.
    abort_on_close = "TcpExt" "TCPAbortOnClose",
    /// Segments out of order that were queued.
    ofo_queue = "TcpExt" "TCPOFOQueue",
    /// Times this host closed its window.
    to_zero_window = "TcpExt" "TCPToZeroWindowAdv",
    /// Probes of a closed window.
    win_probe = "TcpExt" "TCPWinProbe",
    /// Segments refused for their timestamps.
    paws_passive = "TcpExt" "PAWSPassive",
    /// Segments refused for their timestamps on connections opened here.
    paws_active = "TcpExt" "PAWSActive",
    /// Too many sockets in TIME_WAIT.
    time_wait_overflow = "TcpExt" "TCPTimeWaitOverflow",
    /// Dropped by the reverse path filter.
    rp_filter = "TcpExt" "IPReversePathFilter",
    /// Connection attempts that failed.
    attempt_fails = "Tcp" "AttemptFails",
    /// Established connections that were reset.
    estab_resets = "Tcp" "EstabResets",
    /// RST segments sent.
    out_rsts = "Tcp" "OutRsts",
    /// Segments sent again.
    retrans_segs = "Tcp" "RetransSegs",
    /// Destination-unreachable messages that came.
    icmp_in_unreachable = "Icmp" "InDestUnreachs",
    /// Destination-unreachable messages sent by this host itself.
    icmp_out_unreachable = "Icmp" "OutDestUnreachs",
    /// Packets without a route.
    out_no_routes = "Ip" "OutNoRoutes",
    /// Packets dropped because the table of connections is full, or a rule said so.
    conntrack_drop = "nf_conntrack" "drop",
    /// Connections that were thrown out of the full table for new ones.
    conntrack_early_drop = "nf_conntrack" "early_drop",
    /// New connections that could not be put into the table.
    conntrack_insert_failed = "nf_conntrack" "insert_failed",
    /// Packets that belong to no connection known.
    conntrack_invalid = "nf_conntrack" "invalid",
}

/// An ICMP message that came as the answer to a packet of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpSeen {
    /// Who sent it: the host, or the router that refuses.
    pub from: IpAddr,
    /// Its type (3 = destination unreachable).
    pub kind: u8,
    /// Its code (3 = port, 1 = host, 0 = network, 9, 10, 13 = prohibited, 4 = too big).
    pub code: u8,
}

/// What this host knows of the neighbour behind an address (`ip neigh`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Neighbour {
    /// Its link address is known and answered lately.
    Reachable,
    /// Its link address is known from before.
    Stale,
    /// It is being asked for and does not answer.
    Incomplete,
    /// It did not answer.
    Failed,
    /// There is no entry: it is behind a router, or was never asked for.
    None,
}

/// How this host would send to an address (`ip route get`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// Through an interface, directly or by a router.
    Via {
        /// The router; `None` when the address is on the link.
        gateway: Option<IpAddr>,
        /// The interface's name.
        interface: String,
        /// The source address.
        source: Option<IpAddr>,
    },
    /// To this host itself.
    Local,
    /// There is no route.
    Missing,
    /// A policy route refuses: `prohibit`, `unreachable` or `blackhole`.
    Refused {
        /// Its type.
        kind: &'static str,
    },
}

/// A listening socket in this network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listening {
    /// Its address.
    pub address: SocketAddr,
    /// Connections that wait to be accepted.
    pub queue: u32,
    /// Most connections that may wait; the most that any listener may have, where no more is told.
    pub backlog: u32,
    /// Whether a socket of IPv6 takes no connections of IPv4.
    pub v6_only: bool,
    /// Its process, where that may be seen.
    pub process: Option<String>,
    /// Its process's id, where that may be seen.
    pub pid: Option<u32>,
}

impl Listening {
    /// Whether its queue takes nothing more: further connections are dropped.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.queue > self.backlog
    }

    /// Whether a connection to `address` would be its to take.
    #[must_use]
    pub fn takes(&self, address: SocketAddr) -> bool {
        let (own, ip) = (
            self.address.ip().to_canonical(),
            address.ip().to_canonical(),
        );
        let any = own.is_unspecified() && (own.is_ipv4() == ip.is_ipv4() || self.is_dual());
        self.address.port() == address.port() && (any || own == ip)
    }

    fn is_dual(&self) -> bool {
        self.address.is_ipv6() && !self.v6_only
    }
}

/// A listening Unix socket in this network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnixListening {
    /// Its path as it was bound, which may be relative; a name without a file begins with `@`.
    pub path: PathBuf,
    /// Connections that wait to be accepted, and how many may, where the kernel tells.
    pub waiting: Option<Use>,
    /// Its process, where that may be seen.
    pub process: Option<String>,
    /// Its process's id, where that may be seen.
    pub pid: Option<u32>,
}

/// A TCP socket in this network namespace that is not listening.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connected {
    /// This end.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
    /// TCP state number (1 = established, 2 = SYN-SENT, 3 = SYN-RECV, 6 = TIME-WAIT, 8 = CLOSE-WAIT).
    pub state: u8,
    /// Bytes that came and that its process has not read.
    pub unread: u32,
    /// Bytes that its process has written and the other end has not acknowledged.
    pub unacked_bytes: u32,
    /// Times that the oldest of them, or a probe, was sent again without an answer.
    pub retransmits: u8,
    /// Whether the other end takes nothing more for now, as its process does not read.
    pub is_window_closed: bool,
}

/// The TCP sockets that have something in common, as an address they are connected to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sockets {
    /// How many, by TCP state number.
    pub states: [u32; 16],
    /// The first [`Sockets::SHOWN`] of them.
    pub shown: Vec<Connected>,
}

impl Sockets {
    /// Most sockets that are kept one by one.
    pub const SHOWN: usize = 64;

    /// How many are in a state.
    #[must_use]
    pub fn in_state(&self, state: u8) -> u32 {
        self.states.get(usize::from(state)).copied().unwrap_or(0)
    }

    /// How many there are.
    #[must_use]
    pub fn total(&self) -> u32 {
        self.states.iter().sum()
    }
}

/// How many of something are used, and how many there may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Use {
    /// In use.
    pub used: u64,
    /// The limit.
    pub limit: u64,
}

impl Use {
    /// Whether at least 95 % are in use.
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        self.limit > 0 && self.used.saturating_mul(100) >= self.limit.saturating_mul(95)
    }
}

/// A process on this host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// Its name, at most 15 bytes.
    pub name: String,
    /// Its state as `ps` shows it: `R`, `S` = it waits, `D` = it waits for a disk and cannot be
    /// interrupted, `T` = stopped, `t` = stopped by a debugger, `Z` = ended and not collected.
    pub state: char,
    /// When it began, in seconds since 1970.
    pub started: i64,
    /// Threads.
    pub threads: u32,
    /// Open files; `None` where that may not be seen.
    pub files: Option<Use>,
}

/// A line of the kernel's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelLine {
    /// When it was written, in seconds since 1970.
    pub at: i64,
    /// Its text.
    pub text: String,
}

/// What a control group has counted and allows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cgroup {
    /// Its path below the root of its hierarchy.
    pub path: String,
    /// Processes that were killed as it had no memory left.
    pub oom_kills: Option<u64>,
    /// Bytes of memory; no limit is 0.
    pub memory: Option<Use>,
    /// Periods in which it was allowed no more processor time.
    pub throttled: Option<u64>,
    /// Periods there were with a limit of processor time.
    pub periods: Option<u64>,
    /// Time that it was kept waiting for a processor, in microseconds.
    pub throttled_us: Option<u64>,
    /// Processes and threads; no limit is 0.
    pub tasks: Option<Use>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_take_what_is_for_them() {
        let takes = |own: &str, v6_only, address: &str| {
            let listening = Listening {
                address: own.parse().unwrap(),
                queue: 0,
                backlog: 0,
                v6_only,
                process: None,
                pid: None,
            };
            listening.takes(address.parse().unwrap())
        };
        assert!(takes("127.0.0.1:80", false, "127.0.0.1:80"));
        assert!(!takes("127.0.0.1:80", false, "127.0.0.1:81"));
        assert!(!takes("127.0.0.1:80", false, "10.0.0.1:80"));
        assert!(takes("0.0.0.0:80", false, "10.0.0.1:80"));
        assert!(!takes("0.0.0.0:80", false, "[::1]:80"));
        assert!(takes("[::]:80", false, "10.0.0.1:80"));
        assert!(!takes("[::]:80", true, "10.0.0.1:80"));
        assert!(takes("[::]:80", true, "[::1]:80"));
        assert!(takes("[::ffff:10.0.0.1]:80", false, "10.0.0.1:80"));
    }
}
