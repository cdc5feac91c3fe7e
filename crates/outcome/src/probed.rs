//! What probes of causes find: an Attempt made on purpose, and what only looking for it shows.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use crate::attempt::Attempt;
use crate::host::UnixListening;
use crate::kind::FaultKind;
use crate::spoken::Spoken;
use crate::tls::CertificateFacts;

/// How the server's side of a connection ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ending {
    /// There was no connection.
    #[default]
    Unconnected,
    /// It did not, for as long as was looked.
    Open,
    /// With FIN: closed.
    Fin,
    /// With RST, or another error of the system.
    Reset,
    /// In the words of its protocol: an alert of TLS, an error of HTTP/2. The Attempt's fault tells.
    Said,
}

/// What a server did with a connection on which nothing was sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Silence {
    /// The Attempt; its end is the end of the connection, or of the patience. A fault means that there
    /// was no connection. Its first byte and first bytes are those of a banner.
    pub attempt: Attempt,
    /// How it ended.
    pub ending: Ending,
}

/// The versions of TLS that a probe offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsVersions {
    /// 1.2 and 1.3.
    #[default]
    Both,
    /// 1.2.
    Only12,
    /// 1.3.
    Only13,
}

/// What a server did with a ClientHello.
#[derive(Clone, Debug, PartialEq)]
pub struct Handshake {
    /// The Attempt, which passed when the handshake was complete. Its evidence has the version, the
    /// cipher and the application protocol agreed on; its fault, an alert.
    pub attempt: Attempt,
    /// The certificates as they were presented, the server's own first; at most
    /// [`Handshake::SHOWN`].
    pub chain: Vec<CertificateFacts>,
    /// How many were presented.
    pub presented: usize,
    /// What verifying them said, where it was asked for: the fault, and the library's words.
    pub objection: Option<(FaultKind, String)>,
    /// Whether a client certificate was asked for.
    pub wants_certificate: bool,
    /// How the connection ended.
    pub ending: Ending,
}

impl Handshake {
    /// Most certificates of a chain that are kept.
    pub const SHOWN: usize = 8;

    /// The number of the alert that the server sent.
    #[must_use]
    pub fn alert(&self) -> Option<u8> {
        alert(&self.attempt)
    }

    /// Whether the server's own certificate was issued by itself.
    #[must_use]
    pub fn is_self_signed(&self) -> bool {
        let own = self.chain.first();
        own.is_some_and(|own| !own.subject.is_empty() && own.subject == own.issuer)
    }
}

fn alert(attempt: &Attempt) -> Option<u8> {
    match attempt.fault?.signal? {
        crate::Signal::TlsAlert(number) => Some(number),
        crate::Signal::H2Reset(_) | crate::Signal::H2Goaway { .. } => None,
    }
}

/// What a server did with a ClientHello of the old kind, with every cipher that was ever in use.
#[derive(Clone, Debug, PartialEq)]
pub struct OldHandshake {
    /// The Attempt; it goes no further than the first answer.
    pub attempt: Attempt,
    /// The version that the server chose, as it stands in the protocol (0x0301 = TLS 1.0).
    pub version: Option<u16>,
    /// The cipher suite that it chose.
    pub cipher: Option<u16>,
    /// The number of the alert that it sent.
    pub alert: Option<u8>,
    /// How the connection ended.
    pub ending: Ending,
}

/// The answer to a request, as far as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// The status; 0 without a complete head.
    pub status: u16,
    /// Bytes of the head; of what came of it, where it is broken or not complete.
    pub head_bytes: usize,
    /// Header lines of the head, complete or not.
    pub head_lines: usize,
    /// The value of `Server`.
    pub server: Option<String>,
    /// The value of `Via`.
    pub via: Option<String>,
    /// The value of `Location`.
    pub location: Option<String>,
    /// The value of `Date`.
    pub date: Option<String>,
    /// The value of `Content-Type`.
    pub content_type: Option<String>,
    /// The value of `Content-Length`, where that is where the body ends.
    pub length: Option<u64>,
    /// Bytes of the body that came, framing included.
    pub body_bytes: u64,
    /// Whether the body was read to its end; `None` when it is larger than was to be read.
    pub is_whole: Option<bool>,
    /// Whether the server keeps the connection open behind it.
    pub keeps_alive: bool,
}

/// What the kernel knows of how fast a TCP connection goes (`TCP_INFO`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpPace {
    /// Smoothed round-trip time in microseconds.
    pub rtt_us: u32,
    /// How much it varies, in microseconds.
    pub rttvar_us: u32,
    /// Segments that may be under way.
    pub congestion_window: u32,
    /// Bytes that are expected to come in one round trip.
    pub receive_space: u32,
}

/// What the kernel knows about the way between the two ends of a TCP connection (`TCP_INFO`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpPath {
    /// Bytes of the largest packet that is believed to fit.
    pub mtu: u32,
    /// Bytes of data in the largest segment sent.
    pub segment: u32,
    /// Segments that came and had others missing before them; `None` on Linux before 5.4.
    pub out_of_order: Option<u32>,
    /// Bytes that the other end is ready to take; `None` on Linux before 5.4.
    pub window: Option<u32>,
}

/// What a server did with a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    /// The Attempt, which passed when a whole response came, whatever its status.
    pub attempt: Attempt,
    /// The response.
    pub reply: Reply,
    /// The way to the server as it was at the end, over TCP without HTTP/2.
    pub path: Option<TcpPath>,
    /// How the connection ended.
    pub ending: Ending,
}

/// What a server did with the preface of HTTP/2 without TLS.
#[derive(Clone, Debug, PartialEq)]
pub struct Prefaced {
    /// The Attempt, which passed when the server answered with SETTINGS.
    pub attempt: Attempt,
    /// How the connection ended.
    pub ending: Ending,
}

impl Prefaced {
    /// What the server speaks, as far as its first bytes tell.
    #[must_use]
    pub fn spoken(&self) -> Option<Spoken<'_>> {
        Spoken::of(self.attempt.evidence.as_ref()?.first())
    }
}

/// What came of a kept connection when it was used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// The server said something.
    Answered,
    /// It ended at once: it had been over before.
    Ended,
    /// Nothing came.
    Silent,
}

/// What a server did with a connection that was kept after a response.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// The Attempt.
    pub attempt: Attempt,
    /// The response.
    pub reply: Reply,
    /// How long it was idle behind the response until it ended, or until patience did, in
    /// microseconds; `None` when there was no whole response.
    pub idle_us: Option<u64>,
    /// What the server sent while nothing was asked, at most 64 bytes.
    pub unasked: crate::FirstBytes,
    /// How the connection ended while it was idle.
    pub ending: Ending,
    /// What came of it when it was used again; `None` when it had ended.
    pub again: Option<Again>,
}

/// What connecting to a port found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// The port.
    pub number: u16,
    /// When it was known, in microseconds.
    pub took_us: u64,
    /// The system's error number; `None` = connected, ETIMEDOUT = nobody answered in time.
    pub errno: Option<i32>,
}

/// How this host looks up names (resolv.conf(5)).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolvConf {
    /// Name servers, in the order in which they are asked.
    pub servers: Vec<SocketAddr>,
    /// Domains that are appended to names.
    pub search: Vec<String>,
    /// Names with fewer dots have a domain appended before they are asked for as they are.
    pub ndots: usize,
}

/// What a name server was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordKind {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
}

/// What a name server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DnsAnswer {
    /// A message.
    Message {
        /// Its response code (0 = no error, 2 = SERVFAIL, 3 = NXDOMAIN, 5 = REFUSED).
        code: u16,
        /// The addresses in it.
        addresses: Vec<IpAddr>,
        /// The shortest life of a record in it, in seconds; of the answer that there is none, too.
        ttl: Option<u32>,
        /// The last name that aliases lead to.
        alias: Option<String>,
        /// Whether the answer was too large for UDP and was asked for again over TCP.
        over_tcp: bool,
    },
    /// Nothing.
    Silence,
    /// The system's error number: ECONNREFUSED = nobody listens there.
    Unreachable(i32),
    /// Something that is no DNS message, or not the answer to the question.
    Garbage,
}

/// One question to one name server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The name server.
    pub server: SocketAddr,
    /// The name as it was asked for, with a dot at the end.
    pub name: String,
    /// What for.
    pub kind: RecordKind,
    /// What it answered.
    pub answer: DnsAnswer,
    /// When it did, in microseconds from the question.
    pub took_us: u64,
}

/// What stands at the path of a Unix socket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnixPath {
    /// The first folder or file on the way that does not exist.
    pub missing: Option<PathBuf>,
    /// The first folder on the way that the user may not search.
    pub closed: Option<PathBuf>,
    /// What is there, when something is.
    pub file: Option<UnixFile>,
    /// The socket that listens there.
    pub listening: Option<UnixListening>,
    /// The error number of connecting as this process; `None` = connected.
    pub errno: Option<i32>,
    /// Other sockets in the folder, at most 16, sorted.
    pub siblings: Vec<PathBuf>,
}

/// A file at the path of a Unix socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnixFile {
    /// Whether it is a socket.
    pub is_socket: bool,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Whether the permission bits let the user connect: that is to write.
    pub is_writable: bool,
}
