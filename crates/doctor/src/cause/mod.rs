//! The catalogue of causes: every explanation that a failure may get, with what is known about it.
//!
//! One list of ids, one page of text per cause in the file of its family, and one judge per cause beside
//! it. The pages of the documentation and `clearway doctor explain` come from here.

use std::fmt;

use clearway_outcome::Party;

mod body;
mod capacity;
mod client;
mod config;
mod connect;
mod dns;
mod head;
mod health;
mod pool;
mod route;
mod send;
mod tls;
mod wait;

/// The part of a request's way that a cause belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// The balancer's own configuration.
    Config,
    /// Finding addresses by names.
    Dns,
    /// The way between the hosts.
    Route,
    /// Making the connection.
    Connect,
    /// TLS with the server.
    Tls,
    /// Sending the request.
    Send,
    /// Waiting for the response.
    Wait,
    /// The head of the response.
    Head,
    /// The body of the response.
    Body,
    /// Kept connections.
    Pool,
    /// Health checks.
    Health,
    /// Limits and resources of the balancer.
    Capacity,
    /// The client.
    Client,
}

impl Stage {
    /// Every stage, in order.
    pub const ALL: &'static [Self] = &[
        Self::Config,
        Self::Dns,
        Self::Route,
        Self::Connect,
        Self::Tls,
        Self::Send,
        Self::Wait,
        Self::Head,
        Self::Body,
        Self::Pool,
        Self::Health,
        Self::Capacity,
        Self::Client,
    ];

    /// Stable name for JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Dns => "dns",
            Self::Route => "route",
            Self::Connect => "tcp-connect",
            Self::Tls => "tls",
            Self::Send => "request-send",
            Self::Wait => "response-wait",
            Self::Head => "response-head",
            Self::Body => "response-body",
            Self::Pool => "pool",
            Self::Health => "health-check",
            Self::Capacity => "capacity",
            Self::Client => "client",
        }
    }

    /// As a heading.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Config => "Configuration",
            Self::Dns => "Names",
            Self::Route => "The way between the hosts",
            Self::Connect => "Connecting",
            Self::Tls => "TLS with the server",
            Self::Send => "Sending the request",
            Self::Wait => "Waiting for the response",
            Self::Head => "The response's head",
            Self::Body => "The response's body",
            Self::Pool => "Kept connections",
            Self::Health => "Health checks",
            Self::Capacity => "The balancer's own limits",
            Self::Client => "Clients",
        }
    }
}

macro_rules! causes {
    ($($variant:ident = $id:literal $stage:ident,)+) => {
        /// An explanation that evidence can support or refute.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        #[expect(missing_docs, reason = "each has a page")]
        pub enum Cause { $($variant,)+ }

        impl Cause {
            /// Every cause, in the order of the catalogue.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Stable id for JSON, the command line and page names.
            #[must_use]
            pub fn id(self) -> &'static str {
                match self { $(Self::$variant => $id,)+ }
            }

            /// The part of a request's way that it belongs to.
            #[must_use]
            pub fn stage(self) -> Stage {
                match self { $(Self::$variant => Stage::$stage,)+ }
            }

            /// The cause with an id.
            #[must_use]
            pub fn by_id(id: &str) -> Option<Self> {
                match id { $($id => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

causes! {
    // config.rs
    NoResolverConfigured = "no-resolver-configured" Config,
    ConfigHostNotFoundAtStart = "config-host-not-found-at-start" Config,
    LbReloadFailed = "lb-reload-failed" Config,
    TimeoutOrderInverted = "timeout-order-inverted" Config,
    NoServersConfigured = "no-servers-configured" Config,
    NoRouteMatch = "no-route-match" Config,
    ProxyLoop = "proxy-loop" Config,
    LbRewriteFailed = "lb-rewrite-failed" Config,
    AlbProtocol464 = "alb-protocol-464" Config,
    // dns.rs
    DnsNxdomain = "dns-nxdomain" Dns,
    DnsServfail = "dns-servfail" Dns,
    DnsTimeout = "dns-timeout" Dns,
    DnsStaleIp = "dns-stale-ip" Dns,
    DnsWrongAnswer = "dns-wrong-answer" Dns,
    DnsNoUsableFamily = "dns-no-usable-family" Dns,
    LocalhostIpv6First = "localhost-ipv6-first" Dns,
    // route.rs
    RouteMissing = "route-missing" Route,
    IcmpNetUnreachable = "icmp-net-unreachable" Route,
    RoutePolicyLocal = "route-policy-local" Route,
    HostDown = "host-down" Route,
    ReturnPathDrop = "return-path-drop" Route,
    IpConflict = "ip-conflict" Route,
    PacketLoss = "packet-loss" Route,
    StickyToDeadServer = "sticky-to-dead-server" Route,
    AuthSubrequestFailed = "auth-subrequest-failed" Route,
    WrongServiceListening = "wrong-service-listening" Route,
    // connect.rs
    PortClosed = "port-closed" Connect,
    PortWrong = "port-wrong" Connect,
    BindLoopbackOnly = "bind-loopback-only" Connect,
    CrashLoop = "crash-loop" Connect,
    FirewallRejectIcmp = "firewall-reject-icmp" Connect,
    FirewallRejectRst = "firewall-reject-rst" Connect,
    FirewallAdminProhibited = "firewall-admin-prohibited" Connect,
    FirewallDrop = "firewall-drop" Connect,
    LbEgressDrop = "lb-egress-drop" Connect,
    LbEgressReject = "lb-egress-reject" Connect,
    SelinuxDenied = "selinux-denied" Connect,
    CgroupIpDeny = "cgroup-ip-deny" Connect,
    K8sNoEndpoints = "k8s-no-endpoints" Connect,
    AcceptQueueOverflow = "accept-queue-overflow" Connect,
    SynFloodProtection = "syn-flood-protection" Connect,
    ContainerPortForwarder = "container-port-forwarder" Connect,
    ConnectTimeoutTooShort = "connect-timeout-too-short" Connect,
    PawsTimewaitReject = "paws-timewait-reject" Connect,
    UnixSocketMissing = "unix-socket-missing" Connect,
    UnixSocketStale = "unix-socket-stale" Connect,
    UnixSocketPermission = "unix-socket-permission" Connect,
    UnixSocketBacklogFull = "unix-socket-backlog-full" Connect,
    MeshSidecarNotReady = "mesh-sidecar-not-ready" Connect,
    // tls.rs
    TlsToPlaintext = "tls-to-plaintext" Tls,
    PlaintextToTls = "plaintext-to-tls" Tls,
    TlsSniMissingOrWrong = "tls-sni-missing-or-wrong" Tls,
    TlsCertExpired = "tls-cert-expired" Tls,
    TlsCertNotYetValid = "tls-cert-not-yet-valid" Tls,
    TlsCertNameMismatch = "tls-cert-name-mismatch" Tls,
    TlsUnknownCa = "tls-unknown-ca" Tls,
    TlsMissingIntermediate = "tls-missing-intermediate" Tls,
    MtlsCertRequired = "mtls-cert-required" Tls,
    MtlsCertRejected = "mtls-cert-rejected" Tls,
    TlsVersionMismatch = "tls-version-mismatch" Tls,
    TlsCipherMismatch = "tls-cipher-mismatch" Tls,
    TlsLocalPolicyRefusal = "tls-local-policy-refusal" Tls,
    TlsAlpnMismatch = "tls-alpn-mismatch" Tls,
    TlsHandshakeClosed = "tls-handshake-closed" Tls,
    TlsHandshakeTimeout = "tls-handshake-timeout" Tls,
    // send.rs
    PmtuBlackholeRequest = "pmtu-blackhole-request" Send,
    ProxyProtocolExpected = "proxy-protocol-expected" Send,
    ProxyProtocolUnexpected = "proxy-protocol-unexpected" Send,
    WebsocketUpgradeStripped = "websocket-upgrade-stripped" Send,
    H2StreamRefused = "h2-stream-refused" Send,
    EarlyResponseReset = "early-response-reset" Send,
    BackendNotReadingBody = "backend-not-reading-body" Send,
    RequestBodyTooLarge = "request-body-too-large" Send,
    RequestHeaderTooLargeLb = "request-header-too-large-lb" Send,
    RequestHeaderTooLargeBackend = "request-header-too-large-backend" Send,
    BadHostHeader = "bad-host-header" Send,
    InvalidClientRequest = "invalid-client-request" Send,
    Expect100Continue = "expect-100-continue" Send,
    // wait.rs
    PmtuBlackholeResponse = "pmtu-blackhole-response" Wait,
    AppSlow = "app-slow" Wait,
    AppHung = "app-hung" Wait,
    WorkersSaturated = "workers-saturated" Wait,
    BackendFdExhausted = "backend-fd-exhausted" Wait,
    CpuThrottledOrGc = "cpu-throttled-or-gc" Wait,
    WorkerTimeoutKill = "worker-timeout-kill" Wait,
    AppCrashOnRequest = "app-crash-on-request" Wait,
    OomKill = "oom-kill" Wait,
    RollingDeploy = "rolling-deploy" Wait,
    DeregistrationDelayElapsed = "deregistration-delay-elapsed" Wait,
    BackendGracefulRecycle = "backend-graceful-recycle" Wait,
    AlbLambdaTarget = "alb-lambda-target" Wait,
    RetryStormExhausted = "retry-storm-exhausted" Wait,
    // head.rs
    H2ToH1Backend = "h2-to-h1-backend" Head,
    H1ToH2Backend = "h1-to-h2-backend" Head,
    FastcgiUwsgiMismatch = "fastcgi-uwsgi-mismatch" Head,
    NotHttpService = "not-http-service" Head,
    RespHeaderTooBig = "resp-header-too-big" Head,
    RespTooManyHeaders = "resp-too-many-headers" Head,
    RespInvalidHeader = "resp-invalid-header" Head,
    RespDupFraming = "resp-dup-framing" Head,
    RespInvalidStatusLine = "resp-invalid-status-line" Head,
    RespHeaderTruncated = "resp-header-truncated" Head,
    RespHeaderStalled = "resp-header-stalled" Head,
    Resp100Only = "resp-100-only" Head,
    RespUnsolicited101 = "resp-unsolicited-101" Head,
    UpstreamGenerated5xx = "upstream-generated-5xx" Head,
    // body.rs
    WebsocketIdleTimeout = "websocket-idle-timeout" Body,
    RespBodyShort = "resp-body-short" Body,
    RespBodyStalled = "resp-body-stalled" Body,
    RespChunkTruncated = "resp-chunk-truncated" Body,
    RespChunkInvalid = "resp-chunk-invalid" Body,
    RespContentCodingError = "resp-content-coding-error" Body,
    RespBodyTooLarge = "resp-body-too-large" Body,
    // pool.rs
    ConntrackInvalidReset = "conntrack-invalid-reset" Pool,
    H2GoawayRace = "h2-goaway-race" Pool,
    KeepaliveRace = "keepalive-race" Pool,
    NatIdleDrop = "nat-idle-drop" Pool,
    NatIdleRst = "nat-idle-rst" Pool,
    StalePoolAfterReboot = "stale-pool-after-reboot" Pool,
    PoolDesyncLeftover = "pool-desync-leftover" Pool,
    CloseWaitLeak = "close-wait-leak" Pool,
    // health.rs
    AllBackendsDown = "all-backends-down" Health,
    HcWrongStatus = "hc-wrong-status" Health,
    HcHostHeader = "hc-host-header" Health,
    HcWrongPortOrProtocol = "hc-wrong-port-or-protocol" Health,
    HcTooStrict = "hc-too-strict" Health,
    HcDependencyCascade = "hc-dependency-cascade" Health,
    PassiveEjection = "passive-ejection" Health,
    FailOpenMasksDown = "fail-open-masks-down" Health,
    // capacity.rs
    EphemeralPorts = "ephemeral-ports" Capacity,
    LbFdLimit = "lb-fd-limit" Capacity,
    LbWorkerConnections = "lb-worker-connections" Capacity,
    LbFrontendMaxconn = "lb-frontend-maxconn" Capacity,
    QueueTimeout = "queue-timeout" Capacity,
    CircuitBreakerOpen = "circuit-breaker-open" Capacity,
    LbRateLimited = "lb-rate-limited" Capacity,
    ConntrackFull = "conntrack-full" Capacity,
    SnatPortCollision = "snat-port-collision" Capacity,
    LbOutOfMemory = "lb-out-of-memory" Capacity,
    LbDiskFull = "lb-disk-full" Capacity,
    LbTempPermission = "lb-temp-permission" Capacity,
    LbReloadDropped = "lb-reload-dropped" Capacity,
    // client.rs
    ClientSlowUpload = "client-slow-upload" Client,
    ClientAbort = "client-abort" Client,
    ClientTimeoutShorter = "client-timeout-shorter" Client,
    TooManyForwardedFor = "too-many-forwarded-for" Client,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

/// What is known about a cause, for a reader who has never met it.
///
/// Texts are plain sentences; back quotes mark what is typed or read literally, and words in capitals there
/// (`PATH`, `UNIT`) stand for the reader's own. "See ID" refers to another page.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// Which.
    pub cause: Cause,
    /// What it is, as a heading without a full stop.
    pub title: &'static str,
    /// Who has to act.
    pub party: Party,
    /// Error type of RFC 9209, with parameters that are always the same; several with " or " between;
    /// empty = none.
    pub proxy_status: &'static str,
    /// How often it is met, from 1 (rare) to 5 (everywhere).
    pub often: u8,
    /// What it looks like from the balancer, and what tells it apart.
    pub seen: &'static str,
    /// What NGINX reports; empty = it does not occur there.
    pub nginx: &'static str,
    /// What HAProxy reports.
    pub haproxy: &'static str,
    /// What Envoy reports.
    pub envoy: &'static str,
    /// What AWS ALB reports.
    pub alb: &'static str,
    /// How it is mended.
    pub fix: &'static str,
    /// The one command that proves or refutes it, in back quotes; empty where the balancer can tell by
    /// itself. It is for the server's host unless words before it say where. `{host}`, `{port}` and
    /// `{address}` stand for the server's; of a Unix socket `{address}` is the path.
    pub ask: &'static str,
    /// Causes that look alike.
    pub lookalikes: &'static [Cause],
}

impl Cause {
    /// Its page.
    #[must_use]
    pub fn page(self) -> &'static Page {
        let pages = match self.stage() {
            Stage::Config => config::PAGES,
            Stage::Dns => dns::PAGES,
            Stage::Route => route::PAGES,
            Stage::Connect => connect::PAGES,
            Stage::Tls => tls::PAGES,
            Stage::Send => send::PAGES,
            Stage::Wait => wait::PAGES,
            Stage::Head => head::PAGES,
            Stage::Body => body::PAGES,
            Stage::Pool => pool::PAGES,
            Stage::Health => health::PAGES,
            Stage::Capacity => capacity::PAGES,
            Stage::Client => client::PAGES,
        };
        let found = pages.iter().find(|page| page.cause == self);
        // A test sees to it that every cause has one.
        found.unwrap_or(&pages[0])
    }
}

#[cfg(test)]
mod tests;
