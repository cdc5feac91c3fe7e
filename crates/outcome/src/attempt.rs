//! One try to get something from one server.

use clearway_base::clock::Stamp;
use clearway_base::intern::Name;

use crate::kind::Fault;
use crate::tls::TlsFacts;

/// Whether the connection of an Attempt was fresh, and its history if not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reuse {
    /// Requests that this connection had carried before this one; 0 = fresh.
    pub uses: u32,
    /// Time the connection lay idle in the pool before this request, in microseconds.
    pub idle_us: u64,
    /// Age of the connection when this request took it, in microseconds.
    pub age_us: u64,
}

/// Why a failed Attempt was not followed by another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RetryRefusal {
    /// The fault kind is not one that retries are configured for.
    NotConfigured,
    /// The method is not safe to send twice.
    Method,
    /// Part of the request body was sent and is no longer at hand.
    BodySent,
    /// Bytes of the response already went to the client.
    ResponseStarted,
    /// The retry budget is used up.
    Budget,
    /// The number of retries allowed is used up.
    Attempts,
    /// The request's time is used up.
    Deadline,
    /// There is no server left to try.
    NoServer,
    /// The client is gone.
    ClientGone,
}

impl RetryRefusal {
    /// Every reason, in order.
    pub const ALL: &'static [Self] = &[
        Self::NotConfigured,
        Self::Method,
        Self::BodySent,
        Self::ResponseStarted,
        Self::Budget,
        Self::Attempts,
        Self::Deadline,
        Self::NoServer,
        Self::ClientGone,
    ];

    /// Stable name for logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NotConfigured => "not-configured",
            Self::Method => "method-not-idempotent",
            Self::BodySent => "body-sent",
            Self::ResponseStarted => "response-started",
            Self::Budget => "budget-empty",
            Self::Attempts => "attempts-used-up",
            Self::Deadline => "deadline",
            Self::NoServer => "no-other-server",
            Self::ClientGone => "client-gone",
        }
    }

    /// In words, for a receipt.
    #[must_use]
    pub fn sentence(self) -> &'static str {
        match self {
            Self::NotConfigured => "retries are not configured for this fault",
            Self::Method => "the method is not safe to send twice",
            Self::BodySent => "part of the request body was already sent and is no longer at hand",
            Self::ResponseStarted => "part of the response already went to the client",
            Self::Budget => "the retry budget is used up",
            Self::Attempts => "the allowed number of attempts is used up",
            Self::Deadline => "the request's time is used up",
            Self::NoServer => "there is no server left to try",
            Self::ClientGone => "the client is gone",
        }
    }
}

/// What the kernel knew about a connection when it failed (from `TCP_INFO`, tcp(7)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpFacts {
    /// TCP state number (1 = established, 8 = close-wait, …).
    pub state: u8,
    /// Smoothed round-trip time in microseconds.
    pub rtt_us: u32,
    /// Segments sent and not acknowledged.
    pub unacked: u32,
    /// Segments retransmitted over the connection's life.
    pub retransmits: u32,
    /// Consecutive retransmission time-outs now.
    pub backoff: u8,
    /// Bytes the peer acknowledged.
    pub bytes_acked: u64,
    /// Bytes received from the peer.
    pub bytes_received: u64,
    /// Bytes written by us and not yet sent.
    pub notsent_bytes: u32,
    /// Bytes sent on a connection that we opened and never acknowledged by the peer's kernel; 0 where
    /// the kernel does not tell (Linux before 4.19).
    pub unacked_bytes: u64,
    /// Milliseconds since the last data segment came from the peer.
    pub last_data_recv_ms: u32,
}

/// The first bytes that a peer sent, at most 64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstBytes {
    bytes: [u8; 64],
    len: u8,
}

impl Default for FirstBytes {
    fn default() -> Self {
        Self {
            bytes: [0; 64],
            len: 0,
        }
    }
}

impl FirstBytes {
    /// The first bytes of `text`.
    #[must_use]
    pub fn of(text: &[u8]) -> Self {
        let mut first = Self::default();
        let len = text.len().min(first.bytes.len());
        if let (Some(to), Some(from)) = (first.bytes.get_mut(..len), text.get(..len)) {
            to.copy_from_slice(from);
        }
        first.len = u8::try_from(len).unwrap_or(64);
        first
    }

    /// Keeps what comes behind, too, as far as there is room.
    pub fn extend(&mut self, more: &[u8]) {
        let len = usize::from(self.len);
        let room = self.bytes.get_mut(len..).unwrap_or_default();
        let count = room.len().min(more.len());
        if let (Some(to), Some(from)) = (room.get_mut(..count), more.get(..count)) {
            to.copy_from_slice(from);
        }
        self.len = u8::try_from(len + count).unwrap_or(64);
    }

    /// What was kept.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

/// What is kept about a failed Attempt and costs nothing on success.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// Kernel facts, read before the connection was closed.
    pub tcp: Option<TcpFacts>,
    /// The first bytes the peer sent.
    pub first: FirstBytes,
    /// What is known about its TLS, where that was spoken.
    pub tls: Option<Box<TlsFacts>>,
    /// The call to connect itself failed: nothing left this host.
    pub is_immediate: bool,
}

impl Evidence {
    /// Keeps the first bytes of what the peer sent.
    pub fn keep_first(&mut self, bytes: &[u8]) {
        self.first = FirstBytes::of(bytes);
    }

    /// The first bytes the peer sent.
    #[must_use]
    pub fn first(&self) -> &[u8] {
        self.first.as_bytes()
    }
}

/// The record of one try to get something from one server.
///
/// All times are microseconds from [`Attempt::started`]; `None` means the phase was not reached. A
/// health probe and a line of another balancer's log are Attempts too.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    /// The group the server belongs to.
    pub backend: Name,
    /// The server's configured name, or its address when it has none; `-` when none was chosen.
    pub server: Name,
    /// The address used, e.g. `10.0.0.2:8080` or `unix:/run/app.sock`; `-` when none was chosen.
    pub address: Name,
    /// When the Attempt began (before queueing and connecting).
    pub started: Stamp,
    /// Time spent waiting for a slot.
    pub queued_us: Option<u64>,
    /// When the connection was ready: close to 0 on a reused one.
    pub connected_us: Option<u64>,
    /// When the request had been written.
    pub sent_us: Option<u64>,
    /// When the first byte of the response came.
    pub first_byte_us: Option<u64>,
    /// When the Attempt ended.
    pub ended_us: u64,
    /// Bytes written to the server.
    pub bytes_sent: u64,
    /// Bytes read from the server.
    pub bytes_received: u64,
    /// Bytes of the response's body among them, framing included.
    pub body_received: u64,
    /// History of the connection.
    pub reuse: Reuse,
    /// The server's status, 0 when none was parsed.
    pub status: u16,
    /// What went wrong, if anything.
    pub fault: Option<Fault>,
    /// Why no other Attempt followed, when one might have.
    pub refusal: Option<RetryRefusal>,
    /// Facts kept because it failed.
    pub evidence: Option<Box<Evidence>>,
}

impl Attempt {
    /// An Attempt on `server` that begins now.
    #[must_use]
    pub fn begin(backend: Name, server: Name, address: Name, started: Stamp) -> Self {
        Self {
            backend,
            server,
            address,
            started,
            queued_us: None,
            connected_us: None,
            sent_us: None,
            first_byte_us: None,
            ended_us: 0,
            bytes_sent: 0,
            bytes_received: 0,
            body_received: 0,
            reuse: Reuse::default(),
            status: 0,
            fault: None,
            refusal: None,
            evidence: None,
        }
    }

    /// Whether the Attempt used a connection that had carried a request before.
    #[must_use]
    pub fn is_reused(&self) -> bool {
        self.reuse.uses > 0
    }
}
