//! The Plan: Config compiled. Ids for names, routing tables, rule programs; immutable, swapped whole.
//!
//! [`crate::compile`] makes it. Parts that a reload leaves unchanged are the same `Arc`s as before,
//! so that workers can tell by pointer what they may keep.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clearway_balance::Algorithm;
use clearway_balance::budget::{self, Budget};
use clearway_balance::eject;
use clearway_balance::sticky::Sticky;
use clearway_base::hash::Map;
use clearway_base::intern::Name;
use clearway_config::model::{
    Backend, ByRequest, CacheStore, Limits, RetryMethods, RetryOn, ServerProtocol, Timeouts,
};
use clearway_http::{HeadLimits, Tolerance, XForwarded};
use clearway_net::cgi::Dialect;
use clearway_net::connect::Target;
use clearway_net::tls::{ClientTls, Files, Marks, ServerName, ServerTls, marks};
use clearway_outcome::{Address, FaultKind};
use clearway_rules::ast::Definitions;
use clearway_rules::{Elsewhere, Page, Program, Router, Value};
use ipnet::IpNet;

use crate::access::LogSet;
use crate::board::{BackendEntry, KeptSessions, ListenerEntry, ServerEntry};
use crate::body::plan::BodyPlan;
use crate::cache::{CacheEntry, CachePlan};
use crate::issuance::Issuance;
use crate::status::Statistics;

mod watch;

pub use watch::{AgentPlan, CheckPlan, WatchPlan};

/// Everything the data plane needs to know.
pub struct Plan {
    /// Counts the Plans of this process; a worker compares it once per request.
    pub generation: u64,
    /// Listeners, in the order of the configuration.
    pub listeners: Vec<Arc<ListenerPlan>>,
    /// Backends, in the order of the configuration.
    pub backends: Vec<Arc<BackendPlan>>,
    /// Caches, in the order of the configuration.
    pub caches: Vec<Arc<CacheEntry>>,
    /// How large they are.
    pub cache_settings: Vec<CacheStore>,
    /// What rules refer to by name.
    pub named: Arc<Definitions>,
    /// Who obtains certificates, where any listener wants some.
    pub issuance: Option<Arc<dyn Issuance>>,
    /// Who renders pages of statistics.
    pub statistics: Option<Arc<dyn Statistics>>,
    /// Files that were read into it and are not looked at otherwise.
    pub files: Arc<Marked>,
}

/// Files as they were when they were read.
#[derive(Debug, Default)]
pub struct Marked {
    paths: Vec<PathBuf>,
    marks: Marks,
}

impl Marked {
    /// Files as they are now.
    pub(crate) fn new(paths: Vec<PathBuf>) -> Self {
        let mut files = Self {
            paths,
            marks: Marks::new(),
        };
        files.marks = files.now();
        files
    }

    /// How the files are now.
    #[must_use]
    pub fn now(&self) -> Marks {
        marks(self.paths.iter().map(PathBuf::as_path))
    }

    /// Whether this is how they were.
    #[must_use]
    pub fn are(&self, now: &Marks) -> bool {
        self.marks == *now
    }
}

impl Plan {
    /// Puts in force what the Plan says of things that all Plans share: how many requests a server
    /// gets at once and how many wait, what sessions are resumed with. To be called when the Plan is
    /// sure to be used.
    pub fn put_in_force(&self) {
        for listener in &self.listeners {
            let tls = listener.tls.as_ref();
            if let Some(kept) = tls.and_then(|tls| tls.sessions.as_ref()) {
                listener.entry.keep_sessions(kept);
            }
        }
        for (cache, settings) in self.caches.iter().zip(&self.cache_settings) {
            cache.set(settings);
        }
        for backend in &self.backends {
            backend.entry.queue.set_bound(backend.config.queue.size);
            for server in &backend.servers {
                server.entry.slots.set_limit(server.maxconn);
            }
        }
    }
}

/// What a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// HTTP/1.
    Http,
    /// Bytes.
    Tcp,
}

/// One listener.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a setting of its own, as the operator wrote it"
)]
pub struct ListenerPlan {
    /// Its name.
    pub name: Name,
    /// What it speaks.
    pub mode: Mode,
    /// Routes by their place in `routes`.
    pub router: Router,
    /// Routes that this listener can reach, in order.
    pub routes: Vec<RoutePlan>,
    /// What happens when no route matches: the listener's own backend, if it has one.
    pub fallback: RoutePlan,
    /// The listener's own rules.
    pub program: Option<Program>,
    /// Time-outs before a route is known.
    pub timeouts: Timeouts,
    /// Limits before a route is known.
    pub limits: Limits,
    /// Whether connections begin with a PROXY header.
    pub proxy_protocol: bool,
    /// Whose connections begin with one; everybody's when empty.
    pub proxy_from: Vec<IpNet>,
    /// How long ways of `passthrough` wait for first bytes.
    pub inspect_delay: Duration,
    /// Who may send PROXY headers and forwarding fields.
    pub trusted: Vec<IpNet>,
    /// What happens to `X-Forwarded-*`.
    pub x_forwarded: XForwarded,
    /// Whether `Forwarded` (RFC 7239) is written.
    pub forwarded: bool,
    /// Name in `Via`; `None` = no `Via`.
    pub via: Option<String>,
    /// `Strict-Transport-Security` of our own replies; a rule sets it in those of servers.
    pub transport_security: Option<String>,
    /// Whether a connection of HTTP/1 ends with its first response.
    pub closes: bool,
    /// What is taken of requests although it is not as it should be.
    pub tolerates: Tolerance,
    /// Statuses of own replies that end the connection.
    pub close_after: Vec<u16>,
    /// Pages for errors.
    pub errors: ErrorPages,
    /// Whether HTTP/2 is spoken.
    pub http2: bool,
    /// Where TLS connections go that are passed through.
    pub passthrough: Vec<PassPlan>,
    /// TLS with its clients.
    pub tls: Option<ListenerTlsPlan>,
    /// What is shared about it.
    pub entry: Arc<ListenerEntry>,
}

/// Where TLS connections go that ask for certain names or protocols.
#[derive(Debug)]
pub struct PassPlan {
    /// Names, exact or with `*.`; none = any.
    pub names: Vec<String>,
    /// Application protocols of which one has to be offered; none = any.
    pub alpn: Vec<Vec<u8>>,
    /// What has to hold besides.
    pub gate: clearway_rules::Gate,
    /// The first bytes have to be looked at for it.
    pub needs_hello: bool,
    /// The backend's place in the Plan; none = the listener's own.
    pub backend: Option<usize>,
    /// Such connections are closed at once.
    pub rejects: bool,
    /// Such connections are let in, past further rejections.
    pub accepts: bool,
    /// What such connections are counted by, before the next way is looked at.
    pub counting: Option<Program>,
    /// What has to have come before it is certain that the condition does not hold.
    pub payload: PayloadNeed,
    /// What they are told before.
    pub reply: Option<clearway_rules::Words>,
    /// Time-outs, with those of its backend.
    pub timeouts: Timeouts,
    /// Retry rules of its backend.
    pub retries: RetryPlan,
}

/// What a way looks at of the first bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PayloadNeed {
    /// So many bytes.
    pub bytes: usize,
    /// The first line, which says whether it is HTTP.
    pub http: bool,
    /// Whatever may come yet.
    pub any: bool,
}

impl PayloadNeed {
    /// Whether anything is looked at.
    #[must_use]
    pub fn is_some(&self) -> bool {
        *self != Self::default()
    }

    /// Whether bytes that come later can change nothing.
    #[must_use]
    pub fn is_met(&self, bytes: &[u8]) -> bool {
        !self.any
            && bytes.len() >= self.bytes
            && (!self.http || clearway_rules::looks_like_http(bytes).is_some())
    }
}

/// TLS of a listener.
pub struct ListenerTlsPlan {
    /// The settings, compiled.
    pub server: ServerTls,
    /// Where its certificates come from; control looks whether they change.
    pub files: Mutex<Files>,
    /// Who obtains certificates for it, where somebody does.
    pub issuance: Option<Arc<dyn Issuance>>,
    /// What sessions are resumed with, where they are.
    pub sessions: Option<KeptSessions>,
}

/// TLS of a backend.
#[derive(Debug)]
pub struct BackendTlsPlan {
    /// The settings, compiled.
    pub client: ClientTls,
    /// The same for checks that take what a server agrees on, and for those that need HTTP/2.
    pub check: ClientTls,
    /// See `check`.
    pub check_h2: ClientTls,
    /// The same for what HTTP/1.1 alone is sure to carry.
    pub http1: ClientTls,
    /// The name that servers are asked for, where it depends on the request.
    pub name: Option<Value>,
    /// What tells whether its files have changed since.
    pub marks: Marks,
}

impl ListenerPlan {
    /// Whether forwarding fields and PROXY headers from an address are believed.
    ///
    /// A peer on a Unix socket is local and passed the socket's file mode.
    #[must_use]
    pub fn trusts(&self, peer: &Address) -> bool {
        match peer.ip() {
            None => true,
            Some(ip) => {
                let ip = unmap(ip);
                self.trusted.iter().any(|net| net.contains(&ip))
            }
        }
    }

    /// Whether connections of an address begin with a PROXY header.
    #[must_use]
    pub fn expects_proxy(&self, peer: &Address) -> bool {
        let is_among = |ip| self.proxy_from.iter().any(|net| net.contains(&unmap(ip)));
        self.proxy_protocol && (self.proxy_from.is_empty() || peer.ip().is_some_and(is_among))
    }

    /// Limits of a request head.
    #[must_use]
    pub fn head_limits(&self) -> HeadLimits {
        HeadLimits {
            line: self.limits.request_line,
            bytes: self.limits.header_bytes,
            count: self.limits.header_count,
            tolerates: self.tolerates,
        }
    }
}

/// An IPv4 address in IPv6 clothes is the IPv4 address.
fn unmap(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(ip, IpAddr::V4),
        IpAddr::V4(_) => ip,
    }
}

/// One route of one listener.
pub struct RoutePlan {
    /// Its name.
    pub name: Name,
    /// Where its requests go; `None` when its rules always answer.
    pub backend: Option<usize>,
    /// Its rules.
    pub program: Option<Program>,
    /// Time-outs, all levels merged.
    pub timeouts: Timeouts,
    /// Limits, all levels merged.
    pub limits: Limits,
    /// Retry rules, all levels merged.
    pub retries: RetryPlan,
    /// Whether wishes to change the protocol are passed on.
    pub upgrades: bool,
    /// Whether servers finish requests whose clients have left before the response came.
    pub finishes_abandoned: bool,
    /// Access logs.
    pub logs: LogSet,
    /// What other routes answer in place of errors.
    pub on_error: Vec<ErrorTurn>,
    /// What is done with bodies of responses; none when nothing is.
    pub(crate) body: Option<Arc<BodyPlan>>,
    /// What is kept of responses; none when nothing is.
    pub(crate) cache: Option<Arc<CachePlan>>,
}

/// That another route answers in place of an error.
#[derive(Clone, Debug, PartialEq)]
pub struct ErrorTurn {
    /// For which statuses.
    pub statuses: Vec<u16>,
    /// Where it is looked for.
    pub to: Elsewhere,
    /// The status that is sent: the error's own when absent, with 0 that of the answer.
    pub send: Option<u16>,
    /// Whether it is for errors that servers answer with, too.
    pub of_servers: bool,
    /// Whether the other route sees GET, unless it is asked for a head alone.
    pub as_get: bool,
    /// Whether errors of the answer are answered by what its route says about them.
    pub again: bool,
}

impl ErrorTurn {
    /// Whether it is for an error with a status.
    #[must_use]
    pub fn is_for(&self, status: u16) -> bool {
        self.statuses.contains(&status)
    }
}

/// When failed Attempts are followed by others.
#[derive(Clone, Debug, PartialEq)]
pub struct RetryPlan {
    /// Attempts after the first.
    pub max: u32,
    /// After what.
    pub on: Vec<RetryOn>,
    /// Which methods may be sent twice.
    pub methods: RetryMethods,
    /// Largest body kept to be sent again, in bytes.
    pub body_buffer: usize,
    /// Whether another server is preferred.
    pub other_server: bool,
    /// Whether backup servers are tried when all others were.
    pub backups: bool,
    /// Whether a server that failed may be tried again.
    pub same_server: bool,
    /// How long after the first Attempt another may begin; zero = any time.
    pub time: Duration,
}

/// A page that replaces the short text of an error reply.
#[derive(Clone, Debug)]
pub struct ErrorPage {
    /// Status to send instead.
    pub status: Option<u16>,
    /// Media type of the body.
    pub content_type: String,
    /// The body; the usual short text when absent.
    pub body: Option<Vec<u8>>,
    /// What of it depends on the request, and its headers.
    pub dressed: Option<Page>,
    /// Whether `dressed` has the body.
    pub is_template: bool,
    /// The connection is ended instead.
    pub drop: bool,
}

/// Pages by fault and by status.
#[derive(Clone, Debug, Default)]
pub struct ErrorPages {
    /// By fault kind.
    pub by_fault: Map<FaultKind, ErrorPage>,
    /// By status.
    pub by_status: Map<u16, ErrorPage>,
}

impl ErrorPages {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_fault.is_empty() && self.by_status.is_empty()
    }

    /// The page for a fault answered with a status: the fault's own before the status's.
    #[must_use]
    pub fn for_fault(&self, kind: FaultKind, status: u16) -> Option<&ErrorPage> {
        self.by_fault
            .get(&kind)
            .or_else(|| self.by_status.get(&status))
    }
}

/// How long and how many connections are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Idle connections per server and worker.
    pub max_idle: usize,
    /// Longest idle time in microseconds.
    pub idle_us: u64,
    /// Requests per connection; 0 = no limit.
    pub max_requests: u32,
    /// Longest life in microseconds; 0 = no limit.
    pub max_age_us: u64,
}

/// One backend with its servers as they are now.
pub struct BackendPlan {
    /// Its name.
    pub name: Name,
    /// How servers are chosen.
    pub algorithm: Algorithm,
    /// What is hashed, where that is a value such as rules look at.
    pub hash_value: Option<Value>,
    /// The servers.
    pub servers: Vec<Arc<ServerPlan>>,
    /// Why there are no servers, if there are none.
    pub empty_because: FaultKind,
    /// Its rules.
    pub program: Option<Arc<Program>>,
    /// What servers of FastCGI and the like get.
    pub cgi: Option<Arc<CgiPlan>>,
    /// Bytes of bodies without a length that are read to their ends; 0 = bodies go on as they come.
    pub body_buffer: usize,
    /// How requests name its server, where they do: then `servers` holds a stand-in that no request goes to.
    pub by_request: Option<Arc<ByRequestPlan>>,
    /// The part of it that connections without requests have a use for.
    pub sticking: Option<Program>,
    /// Pages for errors, which go before those of the listener.
    pub errors: ErrorPages,
    /// What is kept of connections.
    pub keep: Keep,
    /// Cookie stickiness.
    pub sticky: Option<Sticky>,
    /// Whether any server has a `maxconn`.
    pub has_maxconn: bool,
    /// Share of requests that may be retries.
    pub budget: budget::Policy,
    /// Active checks.
    pub check: Option<Arc<CheckPlan>>,
    /// Passive ejection.
    pub ejection: Option<eject::Policy>,
    /// TLS with the servers.
    pub tls: Option<Arc<BackendTlsPlan>>,
    /// What it was made from.
    pub config: Backend,
    /// What is shared about it.
    pub entry: Arc<BackendEntry>,
}

/// What servers of FastCGI and the like get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgiPlan {
    /// What is spoken with them.
    pub dialect: Dialect,
    /// Whether connections are kept.
    pub keeps: bool,
    /// Names, the variables that hold their values, and whether they are left out when those are empty.
    pub params: Vec<(String, Name, bool)>,
}

/// How requests name the server of a backend.
#[derive(Debug)]
pub struct ByRequestPlan {
    /// The variable with what a request says.
    pub variable: Name,
    /// The text that says it, for connections at layer 4, where no rules set variables.
    pub words: Option<clearway_rules::Words>,
    /// Places of backends in the Plan, by the names that lead to them.
    pub backends: Map<Vec<u8>, usize>,
    /// The settings.
    pub settings: ByRequest,
}

impl BackendPlan {
    /// A fresh retry budget for one worker.
    #[must_use]
    pub fn new_budget(&self) -> Budget {
        Budget::new(self.budget)
    }

    /// The same backend with other servers, as requests have named them: without rules over requests, which
    /// have been run, without stickiness and checks.
    #[must_use]
    pub fn with_servers(&self, servers: Vec<Arc<ServerPlan>>) -> Self {
        Self {
            name: self.name,
            errors: self.errors.clone(),
            hash_value: None,
            algorithm: self.algorithm,
            servers,
            empty_because: self.empty_because,
            program: self.program.clone(),
            sticking: None,
            cgi: self.cgi.clone(),
            body_buffer: self.body_buffer,
            by_request: None,
            keep: self.keep,
            sticky: None,
            has_maxconn: false,
            budget: self.budget,
            check: None,
            ejection: None,
            tls: self.tls.clone(),
            config: self.config.clone(),
            entry: Arc::clone(&self.entry),
        }
    }
}

/// What is sent before the first byte of a server connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendProxy {
    /// Nothing.
    Off,
    /// A PROXY header, text form.
    V1,
    /// A PROXY header, binary form.
    V2,
}

/// One server.
pub struct ServerPlan {
    /// Its backend's name.
    pub backend: Name,
    /// Its configured name, or its address.
    pub name: Name,
    /// Its address as text.
    pub address: Name,
    /// Where to connect.
    pub target: Target,
    /// Address to connect from.
    pub source: Option<IpAddr>,
    /// Stable hash of its identity.
    pub key: u64,
    /// Effective weight at first: 100 per configured weight of 1.
    pub weight: u32,
    /// 0 is used first.
    pub tier: u8,
    /// Requests at once over all workers; 0 = no limit.
    pub maxconn: u32,
    /// The operator's word in the file, as board flags.
    pub state: u32,
    /// Time over which it gets its full weight after it came up.
    pub slow_start: Duration,
    /// Whether it is checked where its backend has checks.
    pub checked: bool,
    /// How control looks after it.
    pub watch: Arc<WatchPlan>,
    /// What the sticky cookie says of it, where that is given.
    pub cookie: Option<String>,
    /// What is sent before the first byte.
    pub send_proxy: SendProxy,
    /// What is spoken with it.
    pub protocol: ServerProtocol,
    /// TLS with it, and the name it is asked for.
    pub tls: Option<(Arc<BackendTlsPlan>, ServerName<'static>)>,
    /// What is shared about it.
    pub entry: Arc<ServerEntry>,
}

impl ServerPlan {
    /// The same server elsewhere, with this name.
    #[must_use]
    pub fn moved(&self, target: Target, name: Name, key: u64) -> Self {
        Self {
            backend: self.backend,
            name,
            address: name,
            target,
            source: self.source,
            key,
            weight: self.weight,
            tier: self.tier,
            maxconn: 0,
            state: self.state,
            slow_start: self.slow_start,
            checked: false,
            watch: Arc::default(),
            cookie: None,
            send_proxy: self.send_proxy,
            protocol: self.protocol,
            tls: self.tls.clone(),
            entry: Arc::clone(&self.entry),
        }
    }

    /// Whether two plans of a server differ in nothing.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let all = |s: &Self| {
            (
                s.backend, s.name, s.address, s.source, s.key, s.weight, s.tier, s.maxconn,
            )
        };
        all(self) == all(other)
            && (self.state, self.slow_start, self.send_proxy)
                == (other.state, other.slow_start, other.send_proxy)
            && (self.protocol, self.checked, &self.cookie, &self.watch)
                == (other.protocol, other.checked, &other.cookie, &other.watch)
            && self.has_same_tls(other)
            && Arc::ptr_eq(&self.entry, &other.entry)
    }

    /// Whether TLS is spoken alike with both.
    #[must_use]
    pub fn has_same_tls(&self, other: &Self) -> bool {
        match (&self.tls, &other.tls) {
            (None, None) => true,
            (Some((plan, name)), Some((other, other_name))) => {
                Arc::ptr_eq(plan, other) && name == other_name
            }
            (Some(_), None) | (None, Some(_)) => false,
        }
    }
}
