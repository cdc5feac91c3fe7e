//! How control looks after servers: checks, agents, and what follows when they go down or come up.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use clearway_balance::health;
use clearway_base::intern::Name;
use clearway_config::model::{AfterErrors, Observe};
use clearway_net::connect::Target;
use clearway_net::probe::{Http2, Probe, ProbeTls, Statuses};

use super::ServerPlan;

/// Active checks of a backend's servers.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckPlan {
    /// How often, and how many results make a verdict.
    pub policy: health::Policy,
    /// What is asked.
    pub probe: Probe,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Port to check instead of the server's own.
    pub port: Option<u16>,
    /// Whether TLS is spoken where the backend speaks it.
    pub tls: bool,
    /// Statuses that drain a server that is up.
    pub drain_on: Option<Statuses>,
    /// What of real traffic is looked at besides.
    pub observe: Observe,
    /// Errors in a row after which something is done.
    pub error_limit: u32,
    /// What is done then.
    pub on_error: AfterErrors,
}

impl CheckPlan {
    /// TLS with a server that is checked.
    #[must_use]
    pub fn tls_of<'a>(&self, server: &'a ServerPlan) -> ProbeTls<'a> {
        let (tls, name) = server.tls.as_ref().filter(|_| self.tls)?;
        let client = match self.probe.http2 {
            Http2::Never => &tls.client,
            Http2::Agreed => &tls.check,
            Http2::Always => &tls.check_h2,
        };
        Some((client, name))
    }

    /// Where to check a server.
    #[must_use]
    pub fn target_of(&self, server: &ServerPlan) -> Target {
        let port = server.watch.port.or(self.port);
        elsewhere(&server.target, server.watch.ip, port)
    }
}

/// How control looks after a server, as far as that is said of the server alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchPlan {
    /// Port to check, in place of the check's own.
    pub port: Option<u16>,
    /// Address to check instead of the server's own.
    pub ip: Option<IpAddr>,
    /// The agent on it.
    pub agent: Option<AgentPlan>,
    /// The backend and the name of the server whose verdict holds for it.
    pub track: Option<(Name, Name)>,
    /// Whether what is open on it may have to end before its time.
    pub severs: bool,
    /// Whether its tunnels end when it goes down.
    pub cuts_when_down: bool,
    /// Whether tunnels to backups end when it comes up.
    pub cuts_backups_when_up: bool,
}

/// An agent on a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentPlan {
    /// Its port.
    pub port: u16,
    /// Its address, in place of the server's.
    pub ip: Option<IpAddr>,
    /// Time between questions.
    pub interval: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// What it is sent.
    pub send: Vec<u8>,
}

impl AgentPlan {
    /// Where the agent of a server is.
    #[must_use]
    pub fn target_of(&self, server: &ServerPlan) -> Target {
        elsewhere(&server.target, self.ip, Some(self.port))
    }
}

/// A target, with another address or port as far as that is given.
fn elsewhere(target: &Target, ip: Option<IpAddr>, port: Option<u16>) -> Target {
    match (target, ip, port) {
        (Target::Ip(own), Some(ip), port) => {
            Target::Ip(SocketAddr::new(ip, port.unwrap_or_else(|| own.port())))
        }
        (Target::Unix(_), Some(ip), Some(port)) => Target::Ip(SocketAddr::new(ip, port)),
        (target, _, Some(port)) => target.with_port(port),
        (target, _, None) => target.clone(),
    }
}
