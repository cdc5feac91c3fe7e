//! Probes: Attempts made on purpose. Those of health stand here, one file per kind; those that tell one
//! cause of a failure from another are in [`diagnose`].
//!
//! A probe runs on the control runtime and is told its target and its time; when to run and what
//! follows from the result is decided above.

mod agent;
pub mod diagnose;
mod grpc;
mod http;
mod script;
mod tcp;
mod visit;

use std::net::IpAddr;
use std::time::Duration;

use clearway_base::clock;
use clearway_base::intern::Name;
use clearway_outcome::Attempt;

pub use agent::Agent;
pub use grpc::{Grpc, GrpcSettings};
pub use http::{BodyMatch, Http, HttpSettings, Statuses};
pub use script::{Connect, Depth, Expect, Script, Sought, Step, Tell};
pub use tcp::Tcp;

use crate::connect::Target;
use crate::tls::{ClientTls, ServerName};
use visit::{Failure, Visit};

macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $variant:ident($type:ty),)+) => {
        /// What a probe does.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Kind { $($(#[doc = $doc])+ $variant($type),)+ }

        impl Kind {
            async fn check(&self, visit: &mut Visit, target: &Target) -> Result<String, Failure> {
                match self { $(Self::$variant(kind) => kind.check(visit, target).await,)+ }
            }
        }
    };
}

kinds! {
    /// Connects and closes.
    Tcp(Tcp),
    /// Sends a request and looks at the status and, if asked to, at the body.
    Http(Http),
    /// Asks the health service of gRPC, over HTTP/2.
    Grpc(Grpc),
    /// Follows a script.
    Script(Script),
    /// Asks an agent; the words of the report are those of the agent.
    Agent(Agent),
}

/// The PROXY header that comes first on a connection. A probe speaks for nobody, so it says so:
/// UNKNOWN in version 1, LOCAL in version 2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProxyHeader {
    /// None.
    #[default]
    Off,
    /// Version 1, text.
    V1,
    /// Version 2, binary.
    V2,
}

/// Where a probe speaks HTTP/2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Http2 {
    /// Nowhere.
    #[default]
    Never,
    /// Where TLS has agreed on it.
    Agreed,
    /// Everywhere: without TLS by prior knowledge.
    Always,
}

/// A probe, ready to run any number of times.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    /// What it does.
    pub kind: Kind,
    /// Where it speaks HTTP/2.
    pub http2: Http2,
    /// The PROXY header that the servers expect.
    pub proxy_header: ProxyHeader,
    /// The address to connect from.
    pub source: Option<IpAddr>,
}

impl Probe {
    /// A probe without a PROXY header, from whatever address the system chooses.
    #[must_use]
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            http2: Http2::Never,
            proxy_header: ProxyHeader::Off,
            source: None,
        }
    }
}

/// What a probe found.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbeReport {
    /// The Attempt; it passed when there is no fault. Backend and server are the caller's to fill in.
    pub attempt: Attempt,
    /// The result as a sentence.
    pub words: String,
}

/// TLS with the server that is probed: how, and the name it is asked for.
pub type ProbeTls<'a> = Option<(&'a ClientTls, &'a ServerName<'static>)>;

/// Runs a probe once, over TLS if asked to; never takes longer than `timeout` to reach its verdict.
///
/// Cancel safe: dropping the future closes the connection.
pub async fn run(
    probe: &Probe,
    target: &Target,
    tls: ProbeTls<'_>,
    timeout: Duration,
) -> ProbeReport {
    let address = Name::new(&target.to_string());
    let mut visit = Visit::new(Attempt::begin(
        Name::NONE,
        Name::NONE,
        address,
        clock::now(),
    ));
    let verdict = tokio::time::timeout(timeout, check(probe, &mut visit, target, tls)).await;
    let verdict = verdict.unwrap_or_else(|_| Err(visit.timed_out(timeout)));
    let report = visit.report(verdict);
    visit.leave().await;
    report
}

async fn check(
    probe: &Probe,
    visit: &mut Visit,
    target: &Target,
    tls: ProbeTls<'_>,
) -> Result<String, Failure> {
    if let Kind::Script(script) = &probe.kind {
        return script.run(visit, (target, tls), probe).await;
    }
    visit.connect(target, probe.source).await?;
    visit.introduce(probe.proxy_header).await?;
    if let Some((client, name)) = tls {
        visit.secure(client, name).await?;
    }
    visit.share_if(probe.http2).await?;
    probe.kind.check(visit, target).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_may_run_on_any_thread() {
        fn assert_send(_: impl Send) {}
        let probe = Probe::new(Kind::Tcp(Tcp));
        assert_send(run(
            &probe,
            &Target::Unix("/a".into()),
            None,
            Duration::from_secs(1),
        ));
    }
}
