//! The same fault behind other balancers: what a scenario's file says of them, their configurations, and
//! running one of them.

mod alike;
mod envoy;
mod haproxy;
mod nginx;
mod offline;
mod running;
mod syslog;
mod wish;

use clearway_doctor::cause::Cause;

use super::file::cause;
use super::read::Node;

pub(super) use alike::NAMED_MAX;
pub(super) use offline::{Logs, ask, own};
pub(super) use running::Running;

/// Another balancer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// NGINX.
    Nginx,
    /// HAProxy.
    Haproxy,
    /// Envoy.
    Envoy,
}

impl Kind {
    /// Each of them.
    pub const ALL: [Self; 3] = [Self::Nginx, Self::Haproxy, Self::Envoy];

    /// Its name in scenarios and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Envoy => "envoy",
        }
    }

    /// The one with a name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// What a scenario says of one of them.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Which.
    pub kind: Kind,
    /// Its configuration, where that of the scenario's servers and limits is not the right one.
    pub config: Option<String>,
    /// Why the fault cannot be there.
    pub skip: Option<String>,
    /// What its log has to contain.
    pub log: Option<String>,
    /// A status that it answers at least once.
    pub status: Option<u16>,
    /// Causes that its log and its configuration cannot tell from the right one.
    pub also: Vec<Cause>,
    /// Whether it is right that it does not start.
    pub refuses: bool,
}

/// Reads `[peers]`.
pub(super) fn peers(node: &Node<'_>) -> Result<Vec<Peer>, String> {
    let mut section = node.section()?;
    let mut peers = Vec::new();
    for kind in Kind::ALL {
        let Some(node) = section.take(kind.name()) else {
            continue;
        };
        let mut peer = node.section()?;
        let status = peer.maybe("status", Node::count)?;
        let causes = |node: &Node<'_>| node.list().iter().map(cause).collect();
        peers.push(Peer {
            kind,
            config: peer.maybe("config", Node::text)?,
            skip: peer.maybe("skip", Node::text)?,
            log: peer.maybe("log", Node::text)?,
            status: status.and_then(|n| n.try_into().ok()),
            also: peer.maybe("also", causes)?.unwrap_or_default(),
            refuses: peer.flag("refuses")?,
        });
        peer.end()?;
    }
    section.end()?;
    Ok(peers)
}
