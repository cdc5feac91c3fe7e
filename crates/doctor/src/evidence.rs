//! Evidence and its provenance, probes to ask for, and what they find.

use std::net::SocketAddr;

use clearway_outcome::{
    Again, FaultKind, FirstBytes, HostCounters, IcmpSeen, Listening, Neighbour, Route, Signal,
    TcpFacts, TlsFacts, Use,
};

/// Where a fact comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// An Attempt of our own.
    Attempt,
    /// A line of a log.
    Log,
    /// A probe.
    Probe,
    /// This host's kernel.
    Kernel,
    /// A configuration.
    Config,
    /// A resolver.
    Dns,
    /// Something that changed: a reload, servers that came or went.
    Change,
}

impl Source {
    /// Stable name for JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Attempt => "attempt",
            Self::Log => "log",
            Self::Probe => "probe",
            Self::Kernel => "kernel",
            Self::Config => "config",
            Self::Dns => "dns",
            Self::Change => "change",
        }
    }
}

/// One thing that is known, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// A clause without a full stop.
    pub words: String,
    /// Who says so.
    pub source: Source,
    /// File and line, or a time; may be empty.
    pub place: String,
    /// Whether it says of which kinds the failures are, and nothing else.
    pub(crate) is_kind_alone: bool,
}

impl Fact {
    /// A fact without a place.
    #[must_use]
    pub fn new(source: Source, words: impl Into<String>) -> Self {
        Self {
            words: words.into(),
            source,
            place: String::new(),
            is_kind_alone: false,
        }
    }

    /// The same with a place.
    #[must_use]
    pub fn at(mut self, place: impl Into<String>) -> Self {
        self.place = place.into();
        self
    }
}

/// Something to be tried or looked at. Whoever holds the case runs it; nothing of it changes anything on
/// a server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Probe {
    /// Connect to the server and say nothing for a moment.
    Connect,
    /// Connect to other ports of the server's host.
    Ports(Vec<u16>),
    /// Look at this host: route, neighbour, listeners, tables, counters; and at the server's process where
    /// it runs here.
    Host,
    /// Look a name up, with every resolver, with and without search domains, both families.
    Lookup(String),
    /// Send a request on a fresh connection.
    Request(Ask),
    /// Shake hands by TLS.
    Hello(Greeting),
    /// Say that HTTP/2 is spoken, in clear.
    Preface,
    /// Look at the path of a Unix socket.
    Unix,
    /// Keep a connection and see when the server closes it.
    Keep,
}

impl Probe {
    /// What is done, for a reader: "a TCP connection to the server".
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::Connect => "a connection that says nothing".to_owned(),
            Self::Ports(ports) => format!("connections to {} other ports", ports.len()),
            Self::Host => "a look at this host's kernel".to_owned(),
            Self::Lookup(name) => format!("a look-up of {name}"),
            Self::Request(ask) => ask.words(),
            Self::Hello(greeting) => greeting.words(),
            Self::Preface => "an HTTP/2 preface in clear".to_owned(),
            Self::Unix => "a look at the socket's path".to_owned(),
            Self::Keep => "a kept connection left idle".to_owned(),
        }
    }
}

/// A request made on purpose; always GET, HEAD or OPTIONS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ask {
    /// The path; empty = `/`.
    pub path: String,
    /// What stands in Host.
    pub host: HostWord,
    /// Over TLS: `None` = as configured.
    pub tls: Option<bool>,
    /// PROXY header first: `None` = as configured.
    pub proxy_header: Option<u8>,
    /// Over HTTP/2 without asking: `None` = as configured.
    pub http2: Option<bool>,
    /// Made larger than several packets.
    pub is_large: bool,
    /// With the fields that ask for a WebSocket.
    pub upgrade: bool,
    /// Time that it may take, in milliseconds; 0 = a short one.
    pub patience_ms: u64,
}

/// What stands in the Host of a probe.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum HostWord {
    /// What the configuration sends.
    #[default]
    Configured,
    /// What health checks send.
    Check,
    /// The server's address.
    Address,
    /// This name.
    Name(String),
}

impl Ask {
    fn words(&self) -> String {
        let path = if self.path.is_empty() {
            "/"
        } else {
            &self.path
        };
        let mut out = format!("GET {path} on a fresh connection");
        match &self.host {
            HostWord::Configured => {}
            HostWord::Check => out.push_str(" as health checks send it"),
            HostWord::Address => out.push_str(" with the address as Host"),
            HostWord::Name(name) => out.push_str(&format!(" with Host {name}")),
        }
        match self.tls {
            Some(true) => out.push_str(" over TLS"),
            Some(false) => out.push_str(" in clear"),
            None => {}
        }
        match self.proxy_header {
            Some(0) => out.push_str(" without a PROXY header"),
            Some(version) => out.push_str(&format!(" after a PROXY header of version {version}")),
            None => {}
        }
        if self.is_large {
            out.push_str(", several packets long");
        }
        if self.upgrade {
            out.push_str(", asking for a WebSocket");
        }
        out
    }
}

/// A TLS handshake made on purpose, without verifying anything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Greeting {
    /// The name asked for.
    pub sni: SniWord,
    /// Only this version, as in the protocol; 0 = whatever there is.
    pub version: u16,
    /// Whether `h2` and `http/1.1` are both offered.
    pub alpn: bool,
}

/// The name asked for in a handshake.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum SniWord {
    /// What the configuration sends.
    #[default]
    Configured,
    /// None.
    None,
    /// This.
    Name(String),
}

impl Greeting {
    fn words(&self) -> String {
        let mut out = "a TLS handshake".to_owned();
        match &self.sni {
            SniWord::Configured => {}
            SniWord::None => out.push_str(" without a server name"),
            SniWord::Name(name) => out.push_str(&format!(" for {name}")),
        }
        match self.version {
            0 => {}
            0x0301 => out.push_str(" of TLS 1.0 only"),
            0x0302 => out.push_str(" of TLS 1.1 only"),
            0x0303 => out.push_str(" of TLS 1.2 only"),
            0x0304 => out.push_str(" of TLS 1.3 only"),
            other => out.push_str(&format!(" of version {other:#06x} only")),
        }
        out
    }
}

/// What a probe found; [`Finding::NotRun`] when it could not be made, which says nothing about the server.
#[derive(Clone, Debug)]
pub enum Finding {
    /// Of [`Probe::Connect`].
    Connect(Box<Connection>),
    /// Of [`Probe::Ports`].
    Ports(Vec<(u16, PortState)>),
    /// Of [`Probe::Host`].
    Host(Box<HostLook>),
    /// Of [`Probe::Lookup`].
    Lookup(Vec<Lookup>),
    /// Of [`Probe::Request`].
    Request(Box<Reply>),
    /// Of [`Probe::Hello`].
    Hello(Box<Handshake>),
    /// Of [`Probe::Preface`]: whether SETTINGS came back, and the first bytes.
    Preface {
        /// Whether HTTP/2 is spoken.
        speaks_http2: bool,
        /// What came.
        first: FirstBytes,
    },
    /// Of [`Probe::Unix`].
    Unix(Box<UnixLook>),
    /// Of [`Probe::Keep`]: after how long the server closed an idle connection, in milliseconds; `None` =
    /// not while it was watched.
    Keep {
        /// When it closed.
        closed_after_ms: Option<u64>,
        /// How long it was watched.
        watched_ms: u64,
        /// What came of it when it was used again; `None` when it had been closed.
        again: Option<Again>,
    },
    /// Why it could not be made.
    NotRun(String),
}

/// How a connection that says nothing fared.
#[derive(Clone, Debug, Default)]
pub struct Connection {
    /// What went wrong while connecting.
    pub fault: Option<FaultKind>,
    /// The operating system's error.
    pub errno: i32,
    /// Whether the call itself failed, before anything left this host.
    pub is_immediate: bool,
    /// How long connecting took, or until it failed, in microseconds.
    pub took_us: u64,
    /// An ICMP message that came meanwhile.
    pub icmp: Option<IcmpSeen>,
    /// Whether ICMP messages could be heard.
    pub heard_icmp: bool,
    /// What happened to the open connection.
    pub then: Then,
    /// What the host's counters gained meanwhile.
    pub gained: Option<HostCounters>,
}

/// What a server does with a connection that says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Then {
    /// There was none.
    #[default]
    Nothing,
    /// It stayed open.
    Open,
    /// The server closed it after so many microseconds.
    Closed(u64),
    /// The server reset it after so many microseconds.
    Reset(u64),
    /// The server spoke first.
    Spoke(FirstBytes),
}

/// What another port of a host does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortState {
    /// Takes connections.
    Open,
    /// Refuses them.
    Refused,
    /// Does not answer.
    Silent,
    /// Cannot be reached.
    Unreachable,
}

/// What this host's kernel says about the way to a server. What is `None` could not be looked at.
#[derive(Clone, Debug, Default)]
pub struct HostLook {
    /// Whether the address is this host's own.
    pub is_local: bool,
    /// The way there.
    pub route: Option<Route>,
    /// The neighbour behind the address, or the router.
    pub neighbour: Option<Neighbour>,
    /// Listening sockets on the server's port or of its process, when it is local.
    pub listeners: Option<Vec<Listening>>,
    /// Connections known to the packet filter.
    pub conntrack: Option<Use>,
    /// Local ports towards the server.
    pub ports: Option<Use>,
    /// File descriptors of the balancer.
    pub files: Option<Use>,
    /// Sockets to the server, by TCP state number.
    pub sockets: Vec<(u8, u32)>,
    /// What counters gained since shortly before the first failure.
    pub gained: Option<HostCounters>,
    /// The server's process, when it is local.
    pub process: Option<ProcessLook>,
    /// Lines of the kernel's log that matter.
    pub kernel_log: Vec<String>,
    /// What could not be looked at, and why.
    pub could_not: Vec<String>,
}

/// A process on this host that listens for the server.
#[derive(Clone, Debug, Default)]
pub struct ProcessLook {
    /// Its name.
    pub name: String,
    /// Its id.
    pub pid: u32,
    /// Its state letter in `/proc/PID/stat`: `T` stopped, `D` waiting for a device.
    pub state: char,
    /// How long it has run, in seconds.
    pub age_s: u64,
    /// Open files.
    pub files: Option<Use>,
    /// Processes of its control group that were killed for memory.
    pub oom_kills: Option<u64>,
    /// Times that its control group was throttled.
    pub throttled: Option<u64>,
}

/// One look-up of a name.
#[derive(Clone, Debug, Default)]
pub struct Lookup {
    /// The resolver asked.
    pub resolver: String,
    /// The name asked for, as it went out.
    pub asked: String,
    /// Whether a search domain was put behind it.
    pub is_searched: bool,
    /// `A` or `AAAA`.
    pub family: &'static str,
    /// The answer's code: 0 no error, 2 server failure, 3 no such name, 5 refused; `None` = no answer.
    pub rcode: Option<u16>,
    /// The addresses.
    pub addresses: Vec<std::net::IpAddr>,
    /// How long they may be kept, in seconds.
    pub ttl_s: Option<u32>,
    /// How long it took, in microseconds.
    pub took_us: u64,
    /// The port of the resolver refused.
    pub is_refused: bool,
}

/// What came of a request.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    /// What went wrong.
    pub fault: Option<FaultKind>,
    /// The operating system's error.
    pub errno: i32,
    /// What the peer said in its protocol.
    pub signal: Option<Signal>,
    /// The status; 0 = none.
    pub status: u16,
    /// `Server` of the response.
    pub server: String,
    /// `Via` of the response.
    pub via: String,
    /// `Location` of the response.
    pub location: String,
    /// Bytes of its head.
    pub head_bytes: u64,
    /// Lines of its head.
    pub head_lines: u32,
    /// The body's announced length and what came of it.
    pub body: Option<(u64, u64)>,
    /// Until the first byte, in microseconds.
    pub first_byte_us: Option<u64>,
    /// Until it was over, in microseconds.
    pub took_us: u64,
    /// The first bytes that came.
    pub first: FirstBytes,
    /// What the kernel knew in the end.
    pub tcp: Option<TcpFacts>,
}

impl Reply {
    /// Whether HTTP was answered.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        self.status > 0
    }
}

/// What came of a handshake in which nothing was verified.
#[derive(Clone, Debug, Default)]
pub struct Handshake {
    /// What went wrong.
    pub fault: Option<FaultKind>,
    /// The operating system's error.
    pub errno: i32,
    /// An alert.
    pub signal: Option<Signal>,
    /// What was agreed on and shown.
    pub tls: Option<TlsFacts>,
    /// Certificates in the chain as it was sent.
    pub chain: u32,
    /// Whether a client certificate was asked for.
    pub wants_certificate: bool,
    /// What came instead of TLS.
    pub first: FirstBytes,
    /// How long it took, in microseconds.
    pub took_us: u64,
}

/// What stands at the path of a Unix socket.
#[derive(Clone, Debug, Default)]
pub struct UnixLook {
    /// Whether something is there.
    pub exists: bool,
    /// Whether it is a socket.
    pub is_socket: bool,
    /// Whether somebody listens.
    pub is_listening: Option<bool>,
    /// What connecting says.
    pub errno: i32,
    /// Permissions of the socket.
    pub mode: u32,
    /// Owner and group.
    pub owner: (u32, u32),
    /// The first folder on the way that may not be passed.
    pub barred: Option<String>,
    /// Sockets in the same folder.
    pub others: Vec<String>,
    /// Connections that wait, and most that may.
    pub queue: Option<Use>,
}

/// Something that changed, which failures may follow from.
#[derive(Clone, Debug)]
pub struct Change {
    /// When, in microseconds since 1970.
    pub at_us: i64,
    /// What kind.
    pub kind: ChangeKind,
    /// In words.
    pub words: String,
}

/// Kinds of changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// A configuration took effect.
    Reloaded,
    /// A configuration was refused.
    ReloadRefused,
    /// The balancer started.
    Started,
    /// A server joined the backend.
    ServerJoined,
    /// A server left the backend, or drains.
    ServerLeft,
    /// A server went down by its checks or was ejected.
    ServerDown,
    /// A server came up.
    ServerUp,
    /// Addresses behind a name changed.
    NameChanged,
}

/// What is known of a server by its checks.
#[derive(Clone, Debug, Default)]
pub struct CheckState {
    /// Whether it is down by its checks.
    pub is_down: bool,
    /// Whether it is ejected for its faults.
    pub is_ejected: bool,
    /// Whether somebody put it into maintenance or drains it.
    pub is_withdrawn: bool,
    /// The last check's fault.
    pub fault: Option<FaultKind>,
    /// The status that it got.
    pub status: u16,
    /// The last check in words.
    pub words: String,
    /// How long it took, in microseconds.
    pub took_us: Option<u64>,
    /// Transitions within the last ten minutes.
    pub flaps: u32,
}

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Where {
    /// An address and port.
    Socket(SocketAddr),
    /// A name and port that were not resolved.
    Name(String, u16),
    /// A Unix socket.
    Unix(String),
    /// Unknown.
    Nowhere,
}

impl Where {
    /// Reads `10.0.0.2:80`, `[::1]:80`, `app:80`, `unix:/run/app.sock`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        if let Some(path) = text.strip_prefix("unix:") {
            return Self::Unix(path.to_owned());
        }
        // As Envoy writes it.
        if text.starts_with('/') {
            return Self::Unix(text.to_owned());
        }
        if let Ok(address) = text.parse() {
            return Self::Socket(address);
        }
        match text.rsplit_once(':') {
            Some((name, port)) if !name.is_empty() => match port.parse() {
                Ok(port) => Self::Name(name.to_owned(), port),
                Err(_) => Self::Nowhere,
            },
            _ => Self::Nowhere,
        }
    }

    /// The port; 0 where there is none.
    #[must_use]
    pub fn port(&self) -> u16 {
        match self {
            Self::Socket(address) => address.port(),
            Self::Name(_, port) => *port,
            Self::Unix(_) | Self::Nowhere => 0,
        }
    }
}
