//! The model: what the operator wrote, as plain typed data with the place of every value.

pub use crate::concept::acme::{Acme, AcmeChallenge, AcmeDns, AcmeIssuer, AcmeKey};
pub use crate::concept::actions::{
    Actions, Ask, BasicAuth, ClientFrom, Mirror, Persistence, ReadBody, Redirect, Replacement,
    Reply, Rewrite, StatusPage,
};
pub use crate::concept::admin::{Admin, RuntimeLevel, RuntimeSocket};
pub use crate::concept::backend::{Backend, HashFunction, SendProxy, ServerProtocol};
pub use crate::concept::by_request::ByRequest;
pub use crate::concept::cache::{CacheStore, CacheTime, Caching, StaleWhen};
pub use crate::concept::compression::{CodingName, Compression, CompressionOverrides, Proxied};
pub use crate::concept::ejection::Ejection;
pub use crate::concept::errors::{ErrorPage, ErrorPages};
pub use crate::concept::files::{Files, ModifiedSince, Precompressed};
pub use crate::concept::forwarded::{Forwarding, XForwarded};
pub use crate::concept::health::{
    AfterErrors, CheckFailure, CheckStep, Health, HealthKind, Observe,
};
pub use crate::concept::incidents::{Incidents, Webhook, WebhookFormat};
pub use crate::concept::keepalive::Keepalive;
pub use crate::concept::limits::{LimitOverrides, Limits};
pub use crate::concept::listener::{HttpsPort, Listener, Mode, ProxyProtocol, Tolerated};
pub use crate::concept::log::{
    AccessLog, Log, LogLevel, LogSample, ServerLog, Syslog, SyslogFacility, SyslogFraming,
    SyslogSeverity,
};
pub use crate::concept::map::{Map, MapEntry};
pub use crate::concept::matching::{Condition, Match, ValueTest};
pub use crate::concept::on_error::OnError;
pub use crate::concept::process::{Process, Workers};
pub use crate::concept::queue::Queue;
pub use crate::concept::rate_limit::{
    ConcurrencyLimit, ConcurrencyLimitUse, ConcurrencyLimiting, RateLimit, RateLimitUse,
    RateLimiting,
};
pub use crate::concept::replace_body::{BodyReplacement, ReplaceBody};
pub use crate::concept::resolver::Resolver;
pub use crate::concept::retries::{Retries, RetryMethods, RetryOverrides};
pub use crate::concept::route::{Route, Rule};
pub use crate::concept::server::{Agent, Server, ServerState};
pub use crate::concept::sticky::{CookieMode, CookieSite, StickyCookie};
pub use crate::concept::table::{Stick, Table, TableKey, Tally, Track, TrackUntil};
pub use crate::concept::timeouts::{TimeoutOverrides, Timeouts};
pub use crate::concept::tls::{
    Alpn, BackendTls, CertificateFiles, ClientCertificates, ListenerTls, Passthrough, TlsProfile,
};
pub use crate::diagnostic::{Origin, Origins};
pub use crate::value::{
    Bind, BodyText, CookieName, DatumText, ErrorKey, FetchText, FieldTest, HashKey, HeaderName,
    HeaderValue, HostPattern, Identifier, LogDestination, LogFormat, LogText, MethodName, OrOff,
    Pairs, PathPattern, PathPrefix, Pattern, QueryName, RegexText, RetryOn, ServerAddress,
    Statuses, StoredText, SyslogAddress, TemplateText, Token, UriPart, main_domain,
};

/// A whole configuration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// The process as a whole.
    pub process: Process,
    /// The admin API.
    pub admin: Admin,
    /// What is written down.
    pub log: Log,
    /// What is done about failures.
    pub incidents: Incidents,
    /// How names are looked up.
    pub resolver: Resolver,
    /// Certificates that are obtained by themselves.
    pub acme: Acme,
    /// How long everybody may take.
    pub timeouts: Timeouts,
    /// How much everybody may take.
    pub limits: Limits,
    /// Bodies coded for clients.
    pub compression: Compression,
    /// Pages in place of the short texts of error replies.
    pub errors: ErrorPages,
    /// Tables from values to texts.
    pub maps: Vec<Map>,
    /// Counters and servers by key.
    pub tables: Vec<Table>,
    /// How many requests may come in a time, by key.
    pub rate_limits: Vec<RateLimit>,
    /// How many requests may be served at the same time, by key.
    pub concurrency_limits: Vec<ConcurrencyLimit>,
    /// Memory for responses that are kept.
    pub caches: Vec<CacheStore>,
    /// Where clients connect, in the order of the file.
    pub listeners: Vec<Listener>,
    /// Where requests go; the first that matches.
    pub routes: Vec<Route>,
    /// The groups of servers, in the order of the file.
    pub backends: Vec<Backend>,
}

impl Config {
    /// The backend with a name.
    #[must_use]
    pub fn backend(&self, name: &str) -> Option<&Backend> {
        self.backends
            .iter()
            .find(|backend| backend.name.as_str() == name)
    }

    /// What rules refer to by name.
    #[must_use]
    pub fn definitions(&self) -> clearway_rules::ast::Definitions {
        clearway_rules::ast::Definitions {
            maps: self.maps.iter().map(Map::lowered).collect(),
            tables: self.tables.iter().map(Table::lowered).collect(),
            limits: self
                .rate_limits
                .iter()
                .map(RateLimit::lowered)
                .chain(
                    self.concurrency_limits
                        .iter()
                        .map(ConcurrencyLimit::lowered),
                )
                .collect(),
            ..Default::default()
        }
    }

    /// The listener with a name.
    #[must_use]
    pub fn listener(&self, name: &str) -> Option<&Listener> {
        self.listeners
            .iter()
            .find(|listener| listener.name.as_str() == name)
    }

    /// The backend of a listener's requests that no route matches: the one it names, or the only one
    /// there is.
    #[must_use]
    pub fn default_backend(&self, listener: &Listener) -> Option<&Backend> {
        match (&listener.backend, self.backends.as_slice()) {
            (Some(name), _) => self.backend(name),
            // What is passed through goes where it is said to.
            (None, [only]) if listener.passthrough.is_empty() && listener.fallback => Some(only),
            (None, _) => None,
        }
    }

    /// The routes that a listener's requests are tried on, with their place in `routes`.
    pub fn routes_of<'a>(
        &'a self,
        listener: &'a Listener,
    ) -> impl Iterator<Item = (usize, &'a Route)> {
        self.routes.iter().enumerate().filter(move |(_, route)| {
            let listeners = &route.matching.listeners;
            listener.is_http() && (listeners.is_empty() || listeners.contains(&listener.name))
        })
    }

    /// The name of a route: its own, or `route-N` by its place, from 1.
    #[must_use]
    pub fn route_name(&self, index: usize) -> String {
        let own = self.routes.get(index).and_then(|route| route.name.as_ref());
        own.map_or_else(|| format!("route-{}", index + 1), ToString::to_string)
    }

    /// The time-outs that hold in a place, from the widest to the narrowest.
    #[must_use]
    pub fn timeouts_for(
        &self,
        listener: &Listener,
        backend: Option<&Backend>,
        route: Option<&Route>,
    ) -> Timeouts {
        let backend = backend.map(|backend| &backend.timeouts);
        let route = route.map(|route| &route.timeouts);
        let levels: Vec<_> = [Some(&listener.timeouts), backend, route]
            .into_iter()
            .flatten()
            .collect();
        self.timeouts.resolved(&levels)
    }

    /// The limits that hold in a place, from the widest to the narrowest.
    #[must_use]
    pub fn limits_for(
        &self,
        listener: &Listener,
        backend: Option<&Backend>,
        route: Option<&Route>,
    ) -> Limits {
        let backend = backend.map(|backend| &backend.limits);
        let route = route.map(|route| &route.limits);
        let levels: Vec<_> = [Some(&listener.limits), backend, route]
            .into_iter()
            .flatten()
            .collect();
        self.limits.resolved(&levels)
    }

    /// The compression that holds in a place, from the widest to the narrowest.
    #[must_use]
    pub fn compression_for(
        &self,
        listener: &Listener,
        backend: Option<&Backend>,
        route: Option<&Route>,
    ) -> Compression {
        let backend = backend.map(|backend| &backend.compression);
        let route = route.map(|route| &route.compression);
        let levels: Vec<_> = [Some(&listener.compression), backend, route]
            .into_iter()
            .flatten()
            .collect();
        self.compression.resolved(&levels)
    }

    /// What is kept of the responses of a place: what the narrowest says that says anything.
    #[must_use]
    pub fn caching_for<'a>(
        &'a self,
        listener: &'a Listener,
        backend: Option<&'a Backend>,
        route: Option<&'a Route>,
    ) -> Option<&'a Caching> {
        route
            .and_then(|route| route.cache.as_ref())
            .or_else(|| backend.and_then(|backend| backend.cache.as_ref()))
            .or(listener.cache.as_ref())
    }

    /// The access logs of a listener's requests on a route; those of the listener when there is none.
    #[must_use]
    pub fn access_logs_for(&self, listener: &Listener, route: Option<&Route>) -> Vec<AccessLog> {
        let own = route.and_then(|route| route.access_logs.as_ref());
        match own.or(listener.access_logs.as_ref()) {
            Some(logs) => logs.iter().filter(|log| log.is_on()).cloned().collect(),
            None => self.log.access_log().into_iter().collect(),
        }
    }

    /// Every access log that is written, each once.
    #[must_use]
    pub fn access_logs(&self) -> Vec<AccessLog> {
        let listeners = self.listeners.iter().flat_map(|l| &l.access_logs);
        let routes = self.routes.iter().flat_map(|route| &route.access_logs);
        let own = listeners.chain(routes).flatten().cloned();
        let mut all: Vec<AccessLog> = Vec::new();
        for log in self.log.access_log().into_iter().chain(own) {
            if log.is_on() && !all.contains(&log) {
                all.push(log);
            }
        }
        all
    }

    /// The retry rules that hold for a backend's requests on a route.
    #[must_use]
    pub fn retries_for(&self, backend: &Backend, route: Option<&Route>) -> Retries {
        match route {
            Some(route) => backend.retries.resolved(&[&route.retries]),
            None => backend.retries.clone(),
        }
    }
}
