//! Questions and what came of them: the hosts file, the search list, hickory's errors in words.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::{Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::{Hosts, TokioResolver, system_conf};

use super::{Reason, Settings};

/// How long an answer from the hosts file holds: the file may be edited.
const HOSTS_TTL: Duration = Duration::from_secs(30);

/// Why a question has no answer.
pub(super) struct Trouble {
    pub(super) reason: Reason,
    pub(super) words: String,
}

/// What a question has found: at least one item.
pub(super) struct Found<T> {
    pub(super) items: Vec<T>,
    /// The shortest life of the records, unclamped.
    pub(super) ttl: Duration,
    /// Nothing is missing because of trouble that may pass.
    pub(super) complete: bool,
}

/// One SRV record.
pub(super) struct Service {
    pub(super) priority: u16,
    pub(super) weight: u16,
    pub(super) port: u16,
    pub(super) host: String,
}

/// Asks name servers.
pub(super) struct Client {
    resolver: Result<TokioResolver, String>,
    search: Vec<Name>,
    ndots: usize,
    /// Who is asked, for the words of a fault.
    asked: String,
    limit: Duration,
}

impl Client {
    pub(super) fn new(settings: &Settings) -> Self {
        let read = if settings.servers.is_empty() {
            system_conf::read_system_conf()
        } else {
            let servers = settings
                .servers
                .iter()
                .map(|&server| name_server(server))
                .collect();
            Ok((
                ResolverConfig::from_name_servers(servers),
                ResolverOpts::default(),
            ))
        };
        let attempts = settings.attempts.max(1);
        let limit = settings
            .timeout
            .saturating_mul(u32::try_from(attempts).unwrap_or(u32::MAX));
        let failed = |error: &NetError| format!("/etc/resolv.conf cannot be used: {error}");
        let (config, mut options) = match read {
            Ok(read) => read,
            Err(error) => {
                return Self {
                    resolver: Err(failed(&error)),
                    search: Vec::new(),
                    ndots: 1,
                    asked: String::new(),
                    limit,
                };
            }
        };
        options.timeout = settings.timeout;
        // Hickory counts the tries that follow the first.
        options.attempts = attempts - 1;
        // The caller asks when an answer has run out, and then wants a new one.
        options.cache_size = 0;
        // Looked at here, for both families at once.
        options.use_hosts_file = ResolveHosts::Never;
        options.preserve_intermediates = true;
        let ndots = options.ndots;
        let mut search: Vec<Name> = config.search().to_vec();
        search.extend(config.domain().filter(|_| search.is_empty()).cloned());
        let asked = asked(&config);
        let mut builder =
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options;
        let resolver = builder.build().map_err(|error| failed(&error));
        Self {
            resolver,
            search,
            ndots,
            asked,
            limit,
        }
    }

    /// The addresses of a host, unsorted.
    pub(super) async fn addresses(&self, host: &str) -> Result<Found<IpAddr>, Trouble> {
        let name = parse(host)?;
        if let Some(found) = from_hosts_file(&name) {
            return Ok(found);
        }
        let mut worst: Option<Trouble> = None;
        for candidate in candidates(&name, &self.search, self.ndots) {
            match self.addresses_of(&candidate).await {
                Ok(found) => return Ok(found),
                Err(trouble) => keep_worse(&mut worst, trouble),
            }
        }
        Err(worst.unwrap_or_else(|| invalid(host)))
    }

    /// The records of a service, those that say "not offered" left out.
    pub(super) async fn services(&self, name: &str) -> Result<Found<Service>, Trouble> {
        let parsed = parse(name)?;
        let mut worst: Option<Trouble> = None;
        for candidate in candidates(&parsed, &self.search, self.ndots) {
            match self.lookup(&candidate, RecordType::SRV, service).await {
                Ok(mut found) => {
                    // A target of "." says that the service is decidedly not there (RFC 2782).
                    found
                        .items
                        .retain(|service| !service.host.trim_matches('.').is_empty());
                    if found.items.is_empty() {
                        let words =
                            format!("the service {candidate} is not offered (target \".\")");
                        return Err(Trouble {
                            reason: Reason::NoRecords,
                            words,
                        });
                    }
                    return Ok(found);
                }
                Err(trouble) => keep_worse(&mut worst, trouble),
            }
        }
        Err(worst.unwrap_or_else(|| invalid(name)))
    }

    async fn addresses_of(&self, name: &Name) -> Result<Found<IpAddr>, Trouble> {
        let ask = |kind| self.lookup(name, kind, RData::ip_addr);
        match tokio::join!(ask(RecordType::A), ask(RecordType::AAAA)) {
            (Ok(mut one), Ok(two)) => {
                one.items.extend(two.items);
                one.ttl = one.ttl.min(two.ttl);
                Ok(one)
            }
            (Ok(mut found), Err(trouble)) | (Err(trouble), Ok(mut found)) => {
                found.complete = trouble.reason <= Reason::NoRecords;
                Ok(found)
            }
            (Err(one), Err(two)) => {
                let mut worst = Some(one);
                keep_worse(&mut worst, two);
                let reason = worst.as_ref().map(|t| t.reason);
                if reason == Some(Reason::NoRecords) {
                    return Err(self.trouble(Reason::NoRecords, name, "A or AAAA"));
                }
                Err(worst.unwrap_or_else(|| invalid(&host_text(name))))
            }
        }
    }

    /// Asks for the records of one kind.
    async fn lookup<T>(
        &self,
        name: &Name,
        kind: RecordType,
        pick: impl Fn(&RData) -> Option<T>,
    ) -> Result<Found<T>, Trouble> {
        let resolver = match &self.resolver {
            Ok(resolver) => resolver,
            Err(words) => {
                let words = format!("{} cannot be looked up: {words}", host_text(name));
                return Err(Trouble {
                    reason: Reason::NoNameServer,
                    words,
                });
            }
        };
        let answer = tokio::time::timeout(self.limit, resolver.lookup(name.clone(), kind)).await;
        let lookup = match answer {
            Ok(Ok(lookup)) => lookup,
            Ok(Err(error)) => return Err(self.explain(&error, name, kind)),
            Err(_) => return Err(self.trouble(Reason::Timeout, name, "")),
        };
        let records = lookup.answers();
        let items: Vec<T> = records
            .iter()
            .filter_map(|record| pick(&record.data))
            .collect();
        if items.is_empty() {
            return Err(self.trouble(Reason::NoRecords, name, &kind.to_string()));
        }
        let ttl = records.iter().map(|record| record.ttl).min().unwrap_or(0);
        Ok(Found {
            items,
            ttl: Duration::from_secs(ttl.into()),
            complete: true,
        })
    }

    fn explain(&self, error: &NetError, name: &Name, kind: RecordType) -> Trouble {
        if let NetError::Timeout = error {
            return self.trouble(Reason::Timeout, name, "");
        }
        if error.is_nx_domain() {
            return self.trouble(Reason::NoSuchName, name, "");
        }
        if error.is_no_records_found() {
            return self.trouble(Reason::NoRecords, name, &kind.to_string());
        }
        if let NetError::Io(_) | NetError::NoConnections = error {
            return self.trouble(Reason::Unreachable, name, &error.to_string());
        }
        let what = if let NetError::Dns(DnsError::ResponseCode(code)) = error {
            code_name(*code)
        } else {
            error.to_string()
        };
        self.trouble(Reason::ServerFailure, name, &what)
    }

    /// The sentence for a reason; `detail` is what the sentence needs beside the name.
    fn trouble(&self, reason: Reason, name: &Name, detail: &str) -> Trouble {
        let (name, asked) = (host_text(name), &self.asked);
        let words = match reason {
            Reason::Invalid => format!("{name:?} is not a name"),
            Reason::NoSuchName => format!("{name} does not exist (NXDOMAIN), says {asked}"),
            Reason::NoRecords => format!("{name} exists but has no {detail} record, says {asked}"),
            Reason::NoNameServer => format!("there is no name server to ask about {name}"),
            Reason::ServerFailure => {
                format!("the name server {asked} could not answer for {name} ({detail})")
            }
            Reason::Unreachable => {
                format!("the name server {asked} cannot be reached to ask for {name} ({detail})")
            }
            Reason::Timeout => format!(
                "the name server {asked} did not answer for {name} within {:?}",
                self.limit
            ),
        };
        Trouble { reason, words }
    }
}

/// A response code as resolvers and manuals call it.
fn code_name(code: ResponseCode) -> String {
    if code == ResponseCode::ServFail {
        "SERVFAIL".to_owned()
    } else if code == ResponseCode::Refused {
        "REFUSED".to_owned()
    } else {
        code.to_str().to_owned()
    }
}

fn name_server(address: SocketAddr) -> NameServerConfig {
    let with_port = |mut connection: ConnectionConfig| {
        connection.port = address.port();
        connection
    };
    let connections = vec![
        with_port(ConnectionConfig::udp()),
        with_port(ConnectionConfig::tcp()),
    ];
    NameServerConfig::new(address.ip(), true, connections)
}

fn asked(config: &ResolverConfig) -> String {
    let servers = config.name_servers().iter().map(|server| {
        let port = server
            .connections
            .first()
            .map_or(53, |connection| connection.port);
        SocketAddr::new(server.ip, port).to_string()
    });
    servers.collect::<Vec<_>>().join(" or ")
}

pub(super) fn parse(text: &str) -> Result<Name, Trouble> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    if text.is_empty() || !text.bytes().all(plain) {
        return Err(invalid(text));
    }
    let name = Name::from_ascii(text).map_err(|_| invalid(text))?;
    if name.is_root() {
        Err(invalid(text))
    } else {
        Ok(name)
    }
}

fn invalid(text: &str) -> Trouble {
    Trouble {
        reason: Reason::Invalid,
        words: format!("{text:?} is not a name"),
    }
}

/// The name without the dot that makes it absolute.
fn host_text(name: &Name) -> String {
    let text = name.to_ascii();
    text.strip_suffix('.')
        .map_or_else(|| text.clone(), str::to_owned)
}

/// The absolute names to try, in order: see `search` and `ndots` in resolv.conf(5).
pub(super) fn candidates(name: &Name, search: &[Name], ndots: usize) -> Vec<Name> {
    let mut absolute = name.clone();
    absolute.set_fqdn(true);
    if name.is_fqdn() {
        return vec![absolute];
    }
    let dots = usize::from(name.num_labels()).saturating_sub(1);
    let mut names: Vec<Name> = search
        .iter()
        .filter_map(|domain| name.clone().append_domain(domain).ok())
        .map(|mut name| {
            name.set_fqdn(true);
            name
        })
        .collect();
    let place = if dots >= ndots { 0 } else { names.len() };
    names.insert(place, absolute);
    names
}

fn from_hosts_file(name: &Name) -> Option<Found<IpAddr>> {
    // Read each time: the file is small and containers change it while they run.
    let hosts = Hosts::from_system().ok()?;
    let mut items = Vec::new();
    for kind in [RecordType::A, RecordType::AAAA] {
        if let Some(lookup) = hosts.lookup_static_host(&Query::query(name.clone(), kind)) {
            items.extend(
                lookup
                    .answers()
                    .iter()
                    .filter_map(|record| record.data.ip_addr()),
            );
        }
    }
    (!items.is_empty()).then_some(Found {
        items,
        ttl: HOSTS_TTL,
        complete: true,
    })
}

fn service(data: &RData) -> Option<Service> {
    let RData::SRV(srv) = data else { return None };
    Some(Service {
        priority: srv.priority,
        weight: srv.weight,
        port: srv.port,
        host: srv.target.to_ascii(),
    })
}

/// Of two troubles the one more likely to pass decides: the other proves nothing while it lasts.
fn keep_worse(worst: &mut Option<Trouble>, other: Trouble) {
    if worst
        .as_ref()
        .is_none_or(|known| known.reason < other.reason)
    {
        *worst = Some(other);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    #[test]
    fn the_search_list_is_walked_as_resolv_conf_says() {
        let search = [name("a.test"), name("b.test.")];
        let tried = |text: &str, ndots| -> Vec<String> {
            candidates(&name(text), &search, ndots)
                .iter()
                .map(ToString::to_string)
                .collect()
        };
        assert_eq!(tried("app", 1), ["app.a.test.", "app.b.test.", "app."]);
        assert_eq!(
            tried("app.org", 1),
            ["app.org.", "app.org.a.test.", "app.org.b.test."]
        );
        assert_eq!(
            tried("app.org", 5),
            ["app.org.a.test.", "app.org.b.test.", "app.org."]
        );
        assert_eq!(tried("app.org.", 5), ["app.org."]);
    }

    #[test]
    fn passing_trouble_outweighs_what_it_may_hide() {
        let trouble = |reason| Trouble {
            reason,
            words: String::new(),
        };
        let mut worst = None;
        for reason in [Reason::NoSuchName, Reason::Timeout, Reason::NoRecords] {
            keep_worse(&mut worst, trouble(reason));
        }
        assert_eq!(worst.map(|t| t.reason), Some(Reason::Timeout));
    }
}
