//! Aliases and name servers of a zone, by the resolver of this host.

use std::net::SocketAddr;

use clearway_net::dns::{Resolver, Settings};
use hickory_proto::rr::{Name, RData, RecordType};
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::{TokioResolver, system_conf};

/// An alias of an alias is followed this often.
const ALIASES_MAX: usize = 8;

/// Zones have a handful of servers; more than these are not asked.
const SERVERS_MAX: usize = 13;

/// Asks the resolver for what [`Resolver`] does not.
pub(crate) struct Lookup {
    records: Result<TokioResolver, String>,
    addresses: Resolver,
}

impl Lookup {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            records: resolver(settings),
            addresses: Resolver::new(settings),
        }
    }

    /// Addresses of hosts.
    pub(crate) fn addresses(&self) -> &Resolver {
        &self.addresses
    }

    /// Where a chain of aliases (CNAME) that begins at `owner` ends; `None` when there is none.
    pub(super) async fn alias(&self, owner: &str) -> Option<String> {
        let mut at = Name::from_ascii(format!("{owner}.")).ok()?;
        let mut found = None;
        for _ in 0..ALIASES_MAX {
            let answers = self.lookup(&at, RecordType::CNAME).await.ok()?;
            let Some(next) = answers.into_iter().find_map(|data| {
                if let RData::CNAME(name) = data {
                    Some(name.0)
                } else {
                    None
                }
            }) else {
                break;
            };
            at = next;
            found = Some(at.to_ascii().trim_end_matches('.').to_ascii_lowercase());
        }
        found
    }

    /// The addresses of the servers of the zone that `owner` is in.
    ///
    /// # Errors
    /// Why none is known, in words.
    pub(super) async fn authorities(&self, owner: &str) -> Result<Vec<SocketAddr>, String> {
        let mut zone = Name::from_ascii(format!("{owner}.")).map_err(|error| error.to_string())?;
        let mut last = format!("no zone above {owner} has NS records");
        while !zone.is_root() {
            match self.lookup(&zone, RecordType::NS).await {
                Ok(answers) => {
                    let hosts: Vec<Name> = answers
                        .into_iter()
                        .filter_map(|data| {
                            if let RData::NS(name) = data {
                                Some(name.0)
                            } else {
                                None
                            }
                        })
                        .collect();
                    if !hosts.is_empty() {
                        return self.addresses_of(&hosts).await;
                    }
                }
                // Most names above a record are no zones; a resolver that is down shows at each.
                Err(why) => last = why,
            }
            zone = zone.base_name();
        }
        Err(last)
    }

    async fn addresses_of(&self, hosts: &[Name]) -> Result<Vec<SocketAddr>, String> {
        let mut found = Vec::new();
        let mut last = String::new();
        for host in hosts.iter().take(SERVERS_MAX) {
            match self.addresses.resolve(&host.to_ascii(), 53).await {
                // One address of each: all of them show the same zone.
                Ok(answer) => found.extend(answer.addresses.first().copied()),
                Err(why) => last = why.words,
            }
        }
        if found.is_empty() {
            Err(last)
        } else {
            Ok(found)
        }
    }

    async fn lookup(&self, name: &Name, kind: RecordType) -> Result<Vec<RData>, String> {
        let resolver = self.records.as_ref().map_err(Clone::clone)?;
        match resolver.lookup(name.clone(), kind).await {
            Ok(lookup) => Ok(lookup
                .answers()
                .iter()
                .map(|record| record.data.clone())
                .collect()),
            Err(error) if error.is_no_records_found() => Ok(Vec::new()),
            Err(error) => Err(error.to_string()),
        }
    }
}

fn resolver(settings: &Settings) -> Result<TokioResolver, String> {
    let (config, mut options) = if settings.servers.is_empty() {
        system_conf::read_system_conf()
            .map_err(|error| format!("/etc/resolv.conf cannot be used: {error}"))?
    } else {
        let servers = settings.servers.iter().map(|&server| name_server(server));
        (
            ResolverConfig::from_name_servers(servers.collect()),
            ResolverOpts::default(),
        )
    };
    options.timeout = settings.timeout;
    options.attempts = settings.attempts.max(1) - 1;
    // Records that were just set must be seen.
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    *builder.options_mut() = options;
    builder.build().map_err(|error| error.to_string())
}

fn name_server(address: SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = address.port();
        connection
    });
    NameServerConfig::new(address.ip(), true, connections.into())
}
