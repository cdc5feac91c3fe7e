//! What rules may ask about the connection and the servers besides what a request says.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use clearway_base::clock::Stamp;
use clearway_base::intern::Name;
use clearway_http::RequestHead;
use clearway_outcome::{Address, RequestId, TcpPace};
use clearway_rules::{Around, OnDisk, View};

use crate::client::Conn;
use crate::local::{LocalBackend, LocalPlan};

/// A connection and the Plan that its request follows.
pub(crate) struct Surroundings<'a> {
    pub(crate) conn: &'a Conn,
    pub(crate) plan: &'a LocalPlan,
}

impl fmt::Debug for Surroundings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings").finish_non_exhaustive()
    }
}

impl Surroundings<'_> {
    /// What rules see of a request of the connection before there is a response.
    pub(crate) fn view<'v>(
        &'v self,
        head: &'v RequestHead,
        buf: &'v [u8],
        id: RequestId,
    ) -> View<'v> {
        View {
            head,
            buf,
            client: self.conn.client,
            listener: self.conn.seat.listener,
            scheme: self.conn.scheme(),
            tls: self.conn.tls.as_deref(),
            id,
            response: None,
            backend: Name::NONE,
            server: Name::NONE,
            around: Some(self),
            port: self.conn.port(),
            edits: None,
            attempts: &[],
        }
    }

    fn backend(&self, name: &str) -> Option<&LocalBackend> {
        let mut backends = self.plan.backends.iter();
        let found = backends.find(|backend| backend.plan.name.as_str() == name);
        found.map(|backend| &**backend)
    }
}

impl Around for Surroundings<'_> {
    fn local(&self) -> Option<IpAddr> {
        self.conn.local()
    }

    fn servers_up(&self, backend: &str) -> Option<usize> {
        let servers = self.backend(backend)?.servers.iter();
        Some(
            servers
                .filter(|server| server.plan.entry.cell.is_usable())
                .count(),
        )
    }

    fn is_first(&self) -> bool {
        self.conn.requests <= 1
    }

    fn since_epoch(&self) -> Duration {
        Duration::from_micros(clearway_base::clock::wall_of(self.conn.worker.now()))
    }

    fn place(&self, backend: &str, server: &str) -> Option<usize> {
        let mut servers = self.backend(backend)?.servers.iter();
        let place = servers.position(|known| known.plan.name.as_str() == server)?;
        Some(place + 1)
    }

    fn peer(&self) -> Address {
        self.conn.peer()
    }

    fn proxied_field(&self, kind: u8) -> Option<&[u8]> {
        let proxied = self.conn.proxied.as_ref()?;
        clearway_http::proxy_protocol::field(&proxied.fields, kind)
    }

    fn proxied(&self) -> Option<(Option<SocketAddr>, Option<SocketAddr>)> {
        let proxied = self.conn.proxied.as_ref()?;
        Some((proxied.source, proxied.destination))
    }

    fn tcp(&self) -> Option<TcpPace> {
        self.conn.stream.tcp_pace()
    }

    fn requests(&self) -> u32 {
        self.conn.requests
    }

    fn now(&self) -> Stamp {
        self.conn.worker.now()
    }

    fn on_disk(&self, path: &[u8]) -> Option<OnDisk> {
        crate::files::look::on_disk(path)
    }

    fn is_up(&self, backend: &str, server: &str) -> Option<bool> {
        let mut servers = self.backend(backend)?.servers.iter();
        let found = servers.find(|known| known.plan.name.as_str() == server)?;
        Some(found.plan.entry.cell.is_usable())
    }
}
