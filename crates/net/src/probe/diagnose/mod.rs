//! Probes that tell one cause of a failure from another, one file per question.
//!
//! Each opens one connection (or asks one question after the other, where it says so), changes nothing
//! at the server beyond what a GET may, and ends within its time. All are cancel safe: dropping the
//! future closes the connection. What they find is plain data of `clearway_outcome`; what it means is
//! judged above.

mod hello;
mod keep;
mod old_hello;
mod ports;
mod preface;
mod request;
mod silent;
mod unix;

use std::net::IpAddr;
use std::time::Duration;

use clearway_base::clock;
use clearway_base::intern::Name;
use clearway_outcome::Attempt;

pub use hello::{Hello, hello};
pub use keep::keep;
pub use old_hello::old_hello;
pub use ports::ports;
pub use preface::preface;
pub use request::{Request, RequestSettings, SafeMethod, request};
pub use silent::silent;
pub use unix::{User, unix};

pub use crate::dns::{Lookup, lookup, resolv_conf};

use super::visit::{Failure, Visit};
use super::{Http2, ProxyHeader};
use crate::connect::Target;
use crate::tls::{ClientTls, ServerName};

/// Where a probe goes, how it gets there and how long it may take.
#[derive(Clone, Debug)]
pub struct Aim {
    /// The server.
    pub target: Target,
    /// The address to connect from.
    pub source: Option<IpAddr>,
    /// The PROXY header that comes first.
    pub proxy_header: ProxyHeader,
    /// TLS, and the name that the server is asked for.
    pub tls: Option<(ClientTls, ServerName<'static>)>,
    /// Where HTTP/2 is spoken.
    pub http2: Http2,
    /// The time for all of it.
    pub limit: Duration,
}

impl Aim {
    /// Straight to a server, without PROXY header, TLS and HTTP/2.
    #[must_use]
    pub fn at(target: Target, limit: Duration) -> Self {
        Self {
            target,
            source: None,
            proxy_header: ProxyHeader::Off,
            tls: None,
            http2: Http2::Never,
            limit,
        }
    }

    fn visit(&self) -> Visit {
        let address = Name::new(&self.target.to_string());
        Visit::new(Attempt::begin(
            Name::NONE,
            Name::NONE,
            address,
            clock::now(),
        ))
    }

    /// Connects and does what comes before a request.
    async fn arrive(&self, visit: &mut Visit) -> Result<(), Failure> {
        visit.connect(&self.target, self.source).await?;
        visit.introduce(self.proxy_header).await?;
        if let Some((client, name)) = &self.tls {
            visit.secure(client, name).await?;
        }
        visit.share_if(self.http2).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_may_run_on_any_thread() {
        fn assert_send(_: impl Send) {}
        let aim = Aim::at(Target::Unix("/a".into()), Duration::from_secs(1));
        assert_send(silent(&aim));
        let get = Request::new(RequestSettings::default()).unwrap();
        assert_send(request(&aim, &get));
        assert_send(hello(&aim, &Hello::to(None)));
        assert_send(old_hello(&aim, 0x0301, None));
        assert_send(preface(&aim));
        assert_send(keep(&aim, &get, aim.limit));
        assert_send(ports(std::net::Ipv4Addr::LOCALHOST.into(), &[1], aim.limit));
        let user = User {
            uid: 0,
            groups: Vec::new(),
        };
        assert_send(unix(std::path::Path::new("/a"), &user));
        assert_send(lookup(&Lookup::absolute("a", &[], aim.limit)));
    }
}
