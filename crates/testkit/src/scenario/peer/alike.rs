//! Causes that the logs and the configuration of a balancer cannot tell apart: another look at the wire,
//! at the host or at counters would be needed, and all that there is are lines of text.
//!
//! Each entry is a face in the log. Where patterns tell (one path only, round times), there is no entry.

use clearway_doctor::cause::Cause;

use super::Kind;

/// Most causes that a verdict names, with all others that it may be.
pub(in crate::scenario) const NAMED_MAX: usize = 6;

/// A connection is refused: by the host, by a rule on the way that says the same, or by our own rules.
const REFUSED: &[Cause] = &[
    Cause::PortClosed,
    Cause::PortWrong,
    Cause::BindLoopbackOnly,
    Cause::FirewallRejectRst,
    Cause::FirewallRejectIcmp,
    Cause::LbEgressReject,
];

/// Nobody answers to a SYN.
const SILENT: &[Cause] = &[
    Cause::FirewallDrop,
    Cause::AcceptQueueOverflow,
    Cause::HostDown,
    Cause::ConntrackFull,
    Cause::ReturnPathDrop,
    Cause::LbEgressDrop,
];

/// Connected, and then silence for all that is asked.
const HANGING: &[Cause] = &[
    Cause::AppSlow,
    Cause::AppHung,
    Cause::WorkersSaturated,
    Cause::BackendFdExhausted,
];

/// Every connection is accepted and closed without a word.
const CLOSED: &[Cause] = &[
    Cause::ContainerPortForwarder,
    Cause::AppCrashOnRequest,
    Cause::PlaintextToTls,
    Cause::ProxyProtocolExpected,
    Cause::FastcgiUwsgiMismatch,
    Cause::MeshSidecarNotReady,
];

/// A kept connection is gone when it is used again.
const REUSED: &[Cause] = &[
    Cause::KeepaliveRace,
    Cause::NatIdleRst,
    Cause::BackendGracefulRecycle,
    Cause::StalePoolAfterReboot,
];

/// Whatever is asked for, handshakes do not end.
const HANDSHAKE_SILENT: &[Cause] = &[Cause::TlsHandshakeTimeout, Cause::TlsToPlaintext];

/// The alert 40 has several reasons.
const ALERT_40: &[Cause] = &[
    Cause::TlsSniMissingOrWrong,
    Cause::TlsCipherMismatch,
    Cause::MtlsCertRequired,
];

/// An issuer is not known, and how long the chain was is not told.
const ISSUER: &[Cause] = &[Cause::TlsUnknownCa, Cause::TlsMissingIntermediate];

/// The client left.
const LEFT: &[Cause] = &[Cause::ClientAbort, Cause::ClientTimeoutShorter];

/// What only the size of a packet, the age of a connection or a moment has to do with.
const LARGE_RESPONSE: &[Cause] = &[Cause::PmtuBlackholeResponse, Cause::AppSlow];
const LARGE_REQUEST: &[Cause] = &[Cause::PmtuBlackholeRequest, Cause::AppSlow];
const IDLE_SILENT: &[Cause] = &[Cause::NatIdleDrop, Cause::AppSlow, Cause::AppHung];
const FROZEN: &[Cause] = &[Cause::CpuThrottledOrGc, Cause::AppSlow];
const LARGE_HEAD: &[Cause] = &[
    Cause::RequestHeaderTooLargeBackend,
    Cause::AppCrashOnRequest,
];

/// An address that is the wrong one fails as the right one would.
const WRONG_ADDRESS: &[Cause] = &[
    Cause::DnsWrongAnswer,
    Cause::FirewallDrop,
    Cause::HostDown,
    Cause::ReturnPathDrop,
    Cause::AcceptQueueOverflow,
];
const OLD_ADDRESS: &[Cause] = &[
    Cause::DnsStaleIp,
    Cause::PortClosed,
    Cause::FirewallRejectRst,
];

/// EACCES of a connection.
const FORBIDDEN_SOCKET: &[Cause] = &[Cause::UnixSocketPermission, Cause::SelinuxDenied];
const FORBIDDEN_ROUTE: &[Cause] = &[Cause::RoutePolicyLocal, Cause::SelinuxDenied];

/// A single path that crashes is told from all others by its being the only one.
const PATH: &[Cause] = &[Cause::AppCrashOnRequest];

/// Of those the first member alone has look-alikes.
const ONE_WAY: &[&[Cause]] = &[
    LARGE_RESPONSE,
    LARGE_REQUEST,
    IDLE_SILENT,
    FROZEN,
    LARGE_HEAD,
    WRONG_ADDRESS,
    OLD_ADDRESS,
    FORBIDDEN_SOCKET,
    FORBIDDEN_ROUTE,
    PATH,
];

/// Any member of those looks like the others.
const ALL: &[&[Cause]] = &[
    REFUSED,
    SILENT,
    HANGING,
    CLOSED,
    REUSED,
    HANDSHAKE_SILENT,
    ALERT_40,
    ISSUER,
    LEFT,
];

/// NGINX relays what is no response and says that it was none.
const NOT_HTTP: &[Cause] = &[
    Cause::NotHttpService,
    Cause::RespInvalidStatusLine,
    Cause::H1ToH2Backend,
    Cause::PlaintextToTls,
    Cause::FastcgiUwsgiMismatch,
];

/// `no live upstreams`, after failures.
const NO_LIVE: &[Cause] = &[Cause::AllBackendsDown, Cause::PassiveEjection];

const NGINX: &[&[Cause]] = &[NOT_HTTP, NO_LIVE];

/// `SC` with a server's name: no connection, and not a word about why.
const SC: &[Cause] = &[
    Cause::PortClosed,
    Cause::PortWrong,
    Cause::BindLoopbackOnly,
    Cause::FirewallRejectRst,
    Cause::FirewallRejectIcmp,
    Cause::LbEgressReject,
    Cause::FirewallAdminProhibited,
    Cause::IcmpNetUnreachable,
    Cause::RouteMissing,
    Cause::RoutePolicyLocal,
    Cause::HostDown,
    Cause::EphemeralPorts,
    Cause::K8sNoEndpoints,
    Cause::SelinuxDenied,
];

/// `SC` at a server with TLS: the handshake failed, and not a word about why.
const SC_TLS: &[Cause] = &[
    Cause::TlsUnknownCa,
    Cause::TlsMissingIntermediate,
    Cause::TlsCertExpired,
    Cause::TlsCertNotYetValid,
    Cause::TlsCertNameMismatch,
    Cause::TlsVersionMismatch,
    Cause::TlsCipherMismatch,
    Cause::TlsSniMissingOrWrong,
    Cause::TlsAlpnMismatch,
    Cause::TlsHandshakeClosed,
    Cause::TlsToPlaintext,
    Cause::TlsLocalPolicyRefusal,
    Cause::MtlsCertRequired,
    Cause::MtlsCertRejected,
    Cause::PortClosed,
];

/// `SC` at a Unix socket.
const SC_UNIX: &[Cause] = &[
    Cause::UnixSocketMissing,
    Cause::UnixSocketStale,
    Cause::UnixSocketPermission,
    Cause::UnixSocketBacklogFull,
];

/// `sC`, at a server with TLS.
const SC_SILENT_TLS: &[Cause] = &[
    Cause::TlsHandshakeTimeout,
    Cause::TlsToPlaintext,
    Cause::FirewallDrop,
    Cause::AcceptQueueOverflow,
    Cause::HostDown,
];

/// `PH`: the response could not be read.
const PH: &[Cause] = &[
    Cause::RespInvalidHeader,
    Cause::RespHeaderTooBig,
    Cause::RespTooManyHeaders,
    Cause::RespDupFraming,
    Cause::RespInvalidStatusLine,
    Cause::RespHeaderTruncated,
    Cause::RespUnsolicited101,
    Cause::H1ToH2Backend,
    Cause::NotHttpService,
    Cause::PlaintextToTls,
    Cause::FastcgiUwsgiMismatch,
];

/// A name without an address: the server is in maintenance.
const NO_ADDRESS: &[Cause] = &[
    Cause::DnsNxdomain,
    Cause::DnsServfail,
    Cause::DnsTimeout,
    Cause::DnsNoUsableFamily,
    Cause::AllBackendsDown,
];

const HAPROXY: &[&[Cause]] = &[SC, SC_TLS, SC_UNIX, SC_SILENT_TLS, PH, NO_ADDRESS];

/// `UH`: nobody is there or healthy, and why stands in no access log.
const UH: &[Cause] = &[
    Cause::AllBackendsDown,
    Cause::NoServersConfigured,
    Cause::PassiveEjection,
    Cause::HcWrongStatus,
    Cause::HcHostHeader,
    Cause::HcWrongPortOrProtocol,
    Cause::HcTooStrict,
    Cause::DnsNxdomain,
    Cause::DnsServfail,
    Cause::DnsTimeout,
    Cause::DnsNoUsableFamily,
];

/// `connection_timeout`, and whether there is TLS is not known.
const UF_SILENT: &[Cause] = &[
    Cause::FirewallDrop,
    Cause::AcceptQueueOverflow,
    Cause::HostDown,
    Cause::ConntrackFull,
    Cause::ReturnPathDrop,
    Cause::LbEgressDrop,
    Cause::TlsHandshakeTimeout,
    Cause::TlsToPlaintext,
];

/// `UC`, whether the connection was a new one or not.
const UC: &[Cause] = &[
    Cause::KeepaliveRace,
    Cause::NatIdleRst,
    Cause::AppCrashOnRequest,
    Cause::BackendGracefulRecycle,
    Cause::StalePoolAfterReboot,
    Cause::RollingDeploy,
];

/// `protocol_error`: what was wrong with the response stands in no access log.
const UPE: &[Cause] = &[
    Cause::RespInvalidHeader,
    Cause::RespHeaderTooBig,
    Cause::RespTooManyHeaders,
    Cause::RespDupFraming,
    Cause::RespInvalidStatusLine,
    Cause::RespHeaderTruncated,
    Cause::RespUnsolicited101,
    Cause::H1ToH2Backend,
    Cause::H2ToH1Backend,
    Cause::NotHttpService,
    Cause::FastcgiUwsgiMismatch,
];

const ENVOY: &[&[Cause]] = &[UH, UF_SILENT, UC, UPE];

/// The look-alikes of a cause in the log of a balancer; `None` = Clearway's own log, which has the errno,
/// the phase and what a server said.
pub(super) fn of(kind: Option<Kind>, cause: Cause) -> Vec<Cause> {
    let special: &[&[Cause]] = match kind {
        Some(Kind::Nginx) => NGINX,
        Some(Kind::Haproxy) => HAPROXY,
        Some(Kind::Envoy) => ENVOY,
        None => &[],
    };
    let one_way = ONE_WAY.iter().find(|group| group.first() == Some(&cause));
    let mut groups = special.iter().chain(one_way).chain(ALL);
    let mine = groups.find(|group| group.contains(&cause));
    mine.map_or_else(Vec::new, |group| group.to_vec())
}
