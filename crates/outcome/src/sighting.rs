//! What somebody says of one Attempt: our own record, or a line of another balancer's log.

use crate::attempt::{Reuse, TcpFacts};
use crate::kind::FaultKind;
use crate::remark::Remark;
use crate::signal::Signal;
use crate::tls::TlsFacts;

/// Whose words they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Speaker {
    /// This balancer.
    Clearway,
    /// NGINX.
    Nginx,
    /// HAProxy.
    Haproxy,
    /// Envoy.
    Envoy,
    /// AWS Application Load Balancer.
    Alb,
}

impl Speaker {
    /// Every speaker, in order.
    pub const ALL: &'static [Self] = &[
        Self::Clearway,
        Self::Nginx,
        Self::Haproxy,
        Self::Envoy,
        Self::Alb,
    ];

    /// Its name as people write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Clearway => "Clearway",
            Self::Nginx => "NGINX",
            Self::Haproxy => "HAProxy",
            Self::Envoy => "Envoy",
            Self::Alb => "AWS ALB",
        }
    }
}

/// The fault kinds that an Attempt may have failed with: one where it is known, several where a log does
/// not tell them apart, none where it did not fail or nothing is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Suspects {
    kinds: [Option<FaultKind>; Self::MOST],
}

impl Suspects {
    /// Most kinds that are kept.
    pub const MOST: usize = 24;

    /// None.
    pub const NONE: Self = Self {
        kinds: [None; Self::MOST],
    };

    /// The one kind that it was.
    #[must_use]
    pub fn just(kind: FaultKind) -> Self {
        Self::any_of(&[kind])
    }

    /// One of these, nobody knows which; those beyond [`Suspects::MOST`] are left out.
    #[must_use]
    pub fn any_of(kinds: &[FaultKind]) -> Self {
        kinds.iter().copied().collect()
    }

    /// The kind, where there is no doubt about it.
    #[must_use]
    pub fn only(&self) -> Option<FaultKind> {
        match self.kinds {
            [kind, None, ..] => kind,
            _ => None,
        }
    }

    /// Whether it may have been this kind.
    #[must_use]
    pub fn contains(&self, kind: FaultKind) -> bool {
        self.kinds.contains(&Some(kind))
    }

    /// The kinds.
    pub fn iter(&self) -> impl Iterator<Item = FaultKind> + '_ {
        self.kinds.iter().map_while(|kind| *kind)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kinds.first().is_none_or(Option::is_none)
    }
}

impl FromIterator<FaultKind> for Suspects {
    fn from_iter<T: IntoIterator<Item = FaultKind>>(kinds: T) -> Self {
        let mut out = Self::NONE;
        for (place, kind) in out.kinds.iter_mut().zip(kinds) {
            *place = Some(kind);
        }
        out
    }
}

/// Where words stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place<'a> {
    /// The file; `-` for standard input.
    pub file: &'a str,
    /// The line, from 1; 0 = unknown.
    pub line: u64,
}

/// What is said of one Attempt. Whatever is `None`, empty or 0 was not said, which never means that it
/// was not so.
///
/// Times are in microseconds from the beginning of the Attempt.
#[derive(Clone, Copy, Debug)]
pub struct Sighting<'a> {
    /// Who says it.
    pub speaker: Speaker,
    /// Where.
    pub place: Place<'a>,
    /// When the Attempt ended, in microseconds since 1970.
    pub at_us: Option<i64>,
    /// Id of the request.
    pub request: &'a str,
    /// Listener (front end, virtual server, ALB) that the request came in by.
    pub listener: &'a str,
    /// The group of servers (upstream, backend, cluster, target group).
    pub backend: &'a str,
    /// The server's name where it has one.
    pub server: &'a str,
    /// The server's address: `10.0.0.2:8080`, `[::1]:80`, `unix:/run/app.sock`.
    pub address: &'a str,
    /// The client's address, without a port.
    pub client: &'a str,
    /// Method of the request.
    pub method: &'a str,
    /// Path of the request, without its query.
    pub path: &'a str,
    /// Host of the request.
    pub host: &'a str,
    /// Who asked (`User-Agent`).
    pub user_agent: &'a str,
    /// Status sent to the client.
    pub status: u16,
    /// Status that the server itself sent: whoever has sent one made it.
    pub server_status: u16,
    /// What it may have failed with.
    pub suspects: Suspects,
    /// What else is said, or that has no fault kind.
    pub remark: Option<Remark>,
    /// The operating system's error.
    pub errno: i32,
    /// Whether `connect(2)` itself failed, before anything left this host.
    pub is_immediate: Option<bool>,
    /// How long the Attempt took until it failed or ended.
    pub elapsed_us: Option<u64>,
    /// When the connection was ready, TLS included.
    pub connected_us: Option<u64>,
    /// When the response's head was there.
    pub header_us: Option<u64>,
    /// How long it waited for a free place.
    pub queued_us: Option<u64>,
    /// Bytes sent to the server.
    pub bytes_sent: Option<u64>,
    /// Bytes received from the server.
    pub bytes_received: Option<u64>,
    /// Bytes of request received from the client.
    pub request_bytes: Option<u64>,
    /// History of the connection.
    pub reuse: Option<Reuse>,
    /// What the kernel knew.
    pub tcp: Option<TcpFacts>,
    /// The first bytes that the server sent.
    pub first: &'a [u8],
    /// TLS with the server.
    pub tls: Option<&'a TlsFacts>,
    /// What the peer said in its protocol when it ended things.
    pub signal: Option<Signal>,
    /// Which Attempt of its request it was, from 1, and how many there were; (0, 0) = unknown.
    pub attempt: (u32, u32),
    /// Whether a later Attempt saved the request.
    pub saved: bool,
    /// Whether the whole request had been sent.
    pub was_sent: Option<bool>,
    /// Whether an interim response (1xx) came, and nothing after it.
    pub is_interim_only: bool,
    /// The words that say it, without what is secret in them.
    pub words: &'a str,
}

impl<'a> Sighting<'a> {
    /// One of which nothing is known yet.
    #[must_use]
    pub fn of(speaker: Speaker, place: Place<'a>) -> Self {
        Self {
            speaker,
            place,
            at_us: None,
            request: "",
            listener: "",
            backend: "",
            server: "",
            address: "",
            client: "",
            method: "",
            path: "",
            host: "",
            user_agent: "",
            status: 0,
            server_status: 0,
            suspects: Suspects::NONE,
            remark: None,
            errno: 0,
            is_immediate: None,
            elapsed_us: None,
            connected_us: None,
            header_us: None,
            queued_us: None,
            bytes_sent: None,
            bytes_received: None,
            request_bytes: None,
            reuse: None,
            tcp: None,
            first: &[],
            tls: None,
            signal: None,
            attempt: (0, 0),
            saved: false,
            was_sent: None,
            is_interim_only: false,
            words: "",
        }
    }

    /// Whether something failed.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        !self.suspects.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suspects_are_sure_when_there_is_one() {
        let one = Suspects::just(FaultKind::ConnectRefused);
        assert_eq!(one.only(), Some(FaultKind::ConnectRefused));
        let two = Suspects::any_of(&[FaultKind::ConnectRefused, FaultKind::ConnectTimeout]);
        assert_eq!(two.only(), None);
        assert!(two.contains(FaultKind::ConnectTimeout) && !two.is_empty());
        assert_eq!(two.iter().count(), 2);
        assert!(Suspects::NONE.is_empty() && Suspects::NONE.only().is_none());
        let many = Suspects::any_of(FaultKind::ALL);
        assert_eq!(many.iter().count(), Suspects::MOST);
    }
}
