//! `by_request`: a server whose address comes from the request.

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::server::Server;
use super::{concept, table_value};
use crate::value::{HostPattern, Identifier, Pairs, ServerAddress, TemplateText, Text, Token};

concept! {
    /// A server that each request, or connection at layer 4, names itself; `servers` is empty then. Only what `names`,
    /// `networks` or `unix_sockets` allow is connected to: without one of them nothing is. Such servers are neither
    /// checked nor ejected.
    ByRequest, "by_request";

    /// Where the request goes: `host`, `host:port` or `unix:/path`. With `http://` or `https://` before it, that
    /// says whether TLS is spoken; a path behind it takes the place of the request's path and query.
    to: TemplateText = TemplateText::default(), required = true,
        example = Some("\"${header:x-shard}.shards.internal:8080\"");
    /// Names that lead to other backends, with their servers and settings.
    backends: Pairs<Token, Identifier> = Pairs::default(), example = Some("{ blue = \"app-blue\" }");
    /// Hosts that may be connected to by name.
    names: Vec<HostPattern> = Vec::new(), example = Some("[\"*.shards.internal\"]");
    /// Networks of addresses that may stand in `to`. Where there are any, names have to lead there too: whoever runs
    /// the name server of a host would else choose the address, one of this machine perhaps.
    networks: Vec<IpNet> = Vec::new(), example = Some("[\"10.1.0.0/16\"]");
    /// Whether sockets of this machine may be connected to.
    unix_sockets: bool = false, example = Some("true");
    /// The port where `to` has none: 80, or 443 with TLS, when absent.
    port: Option<u16> = None, range = Some((1.0, 65_535.0)), example = Some("8080");
    /// Whether the server sees `to` as the `Host` of the request, without the usual port.
    set_host: bool = false, example = Some("true");
    /// Whether names are looked up; else there are only addresses and `backends`.
    resolve: bool = true, example = Some("false");
    /// The resolvers to ask; those of `/etc/resolv.conf` when empty.
    resolvers: Vec<SocketAddr> = Vec::new(), example = Some("[\"10.0.0.2:53\"]");
    /// How long a looked up address is used, whatever its record says; as long as the record says when absent.
    valid: Option<Duration> = None, example = Some("\"30s\"");
    /// Whether addresses of IPv6 are used.
    ipv6: bool = true, example = Some("false");
    /// How long looking up a name may take.
    resolve_timeout: Duration = Duration::from_secs(5), example = Some("\"2s\"");
    /// Servers that each worker remembers, with their kept connections; the one that was used least recently is
    /// given up for a new one.
    max: usize = 256, range = Some((1.0, 65_536.0)), example = Some("64");
    /// A server that is not used for so long is given up.
    idle: Duration = Duration::from_secs(60), example = Some("\"5m\"");
}
table_value!(ByRequest);

impl ByRequest {
    /// What stands for servers that are not known before requests name them.
    #[must_use]
    pub fn stand_in(&self) -> Server {
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        Server {
            name: Identifier::parse("by-request").ok(),
            ..Server::new(ServerAddress::Ip(nowhere))
        }
    }
}
