//! Causes that the logs and the configuration of a balancer cannot tell apart: another look at the wire,
//! at the host or at counters would be needed, and all that there is are lines of text.
//!
//! Each entry is a face in the log. Where patterns tell (one path only, round times), there is no entry.

use clearway_doctor::cause::Cause;
use clearway_outcome::FaultKind;

use super::Kind;

/// What a server does that sends nothing.
const ENDED: &[FaultKind] = &[
    FaultKind::ServerClosedNoResponse,
    FaultKind::ServerResetNoResponse,
];
/// Groups of responses that could not be read.
const UNREADABLE: &[&[Cause]] = &[NOT_HTTP, PH, UPE];

/// Most causes that a verdict names, with all others that it may be.
pub(in crate::scenario) const NAMED_MAX: usize = 12;

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

/// A body ends too early; how its end was to be told stands in no log.
const CUT: &[Cause] = &[Cause::RespBodyShort, Cause::RespChunkTruncated];

/// A client that waits for `100 Continue` is as silent as one that is slow.
const NO_BODY: &[Cause] = &[Cause::Expect100Continue, Cause::ClientSlowUpload];

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
    NO_BODY,
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
    CUT,
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
    // That it was TLS that failed is not told either.
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
    Cause::SelinuxDenied,
];

/// `SC` at a Unix socket.
const SC_UNIX: &[Cause] = &[
    Cause::UnixSocketMissing,
    Cause::UnixSocketStale,
    Cause::UnixSocketPermission,
    Cause::UnixSocketBacklogFull,
    Cause::SelinuxDenied,
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

/// `sC`: no connection in time. Of what ICMP says nothing is written, and the time is waited for all the same.
const SILENT_OR_ICMP: &[Cause] = &[
    Cause::FirewallDrop,
    Cause::AcceptQueueOverflow,
    Cause::ConntrackFull,
    Cause::ReturnPathDrop,
    Cause::LbEgressDrop,
    Cause::FirewallRejectIcmp,
    Cause::FirewallAdminProhibited,
    Cause::IcmpNetUnreachable,
    Cause::LbEgressReject,
];

/// `sH`, of which the bytes that came, and those that were sent, are not told.
const NO_HEAD: &[&[Cause]] = &[
    &[Cause::RespHeaderStalled, Cause::AppSlow],
    &[Cause::Resp100Only, Cause::AppSlow],
    &[Cause::Expect100Continue, Cause::AppSlow],
    &[Cause::BackendNotReadingBody, Cause::AppSlow],
    &[Cause::EarlyResponseReset, Cause::AppCrashOnRequest],
];

/// `SD`: the body ended otherwise than it should.
const BAD_BODY: &[Cause] = &[
    Cause::RespBodyShort,
    Cause::RespChunkTruncated,
    Cause::RespChunkInvalid,
];

/// `SH` of HTTP/2: the end of the connection and that of a stream.
const STREAM: &[Cause] = &[Cause::H2GoawayRace, Cause::H2StreamRefused];

/// Nothing but HTTP/1 is expected, or HTTP/2 is: the connection fails.
const NO_H2: &[Cause] = &[Cause::H2ToH1Backend, Cause::PortClosed];

/// `<BADREQ>`
const BADREQ: &[Cause] = &[Cause::RequestHeaderTooLargeLb, Cause::InvalidClientRequest];

/// The status that a check got may be that of the path, or that of the Host.
const CHECK_STATUS: &[Cause] = &[Cause::HcWrongStatus, Cause::HcHostHeader];

/// A check gets no answer in time, and nothing else is known of the server.
const CHECK_LATE: &[Cause] = &[Cause::HcTooStrict, Cause::AllBackendsDown];

/// `SH`, of one that closes without a word and one that closes in the middle of the head.
const SH: &[Cause] = &[
    Cause::ContainerPortForwarder,
    Cause::AppCrashOnRequest,
    Cause::PlaintextToTls,
    Cause::ProxyProtocolExpected,
    Cause::FastcgiUwsgiMismatch,
    Cause::MeshSidecarNotReady,
    Cause::RespHeaderTruncated,
];

const HAPROXY: &[&[Cause]] = &[
    SH,
    SILENT_OR_ICMP,
    SC,
    SC_TLS,
    SC_UNIX,
    SC_SILENT_TLS,
    PH,
    NO_ADDRESS,
    BAD_BODY,
    STREAM,
    CHECK_STATUS,
];
/// `SH` after requests that went well: whether the connection had been kept is not told.
const MAYBE_KEPT: &[&[Cause]] = &[
    &[Cause::MeshSidecarNotReady, Cause::KeepaliveRace],
    &[Cause::H2GoawayRace, Cause::KeepaliveRace],
    &[Cause::RequestHeaderTooLargeBackend, Cause::KeepaliveRace],
];

/// Some attempts are answered, so that nothing on the way drops them all.
const NOW_AND_THEN: &[&[Cause]] = &[
    &[Cause::ConnectTimeoutTooShort, Cause::AcceptQueueOverflow],
    &[Cause::SynFloodProtection, Cause::AcceptQueueOverflow],
];

/// The address of a Service is known as one; others are not taken for it.
const SERVICE: &[Cause] = &[Cause::K8sNoEndpoints, Cause::FirewallDrop];

const HAPROXY_ONE_WAY: &[&[Cause]] = &[NO_H2, BADREQ, CHECK_LATE, SERVICE];

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

/// `UC` on a connection that the log shows to have carried requests before.
const UC: &[Cause] = REUSED;

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

/// `UC` and no request that ever went well: whether TLS was spoken is not told.
const UC_NEVER: &[Cause] = &[
    Cause::MtlsCertRejected,
    Cause::MtlsCertRequired,
    Cause::AppCrashOnRequest,
    Cause::ContainerPortForwarder,
    Cause::PlaintextToTls,
    Cause::ProxyProtocolExpected,
    Cause::FastcgiUwsgiMismatch,
];

/// `remote_refused_stream_reset` is what a stream gets behind GOAWAY, too.
const REFUSED_STREAM: &[Cause] = &[Cause::H2GoawayRace, Cause::H2StreamRefused];

/// Only the last attempt of a request has a line, and its number is not told.
const LAST_ATTEMPT: &[Cause] = &[Cause::RetryStormExhausted, Cause::AppSlow];

/// Some of many connections at a time have no answer.
const LOST: &[Cause] = &[Cause::PacketLoss, Cause::AcceptQueueOverflow];

/// The time for the whole response is over, and how much came is not told of one that began.
const LATE: &[&[Cause]] = &[
    &[Cause::RespBodyStalled, Cause::AppSlow],
    &[Cause::RespHeaderStalled, Cause::AppSlow],
    &[Cause::Resp100Only, Cause::AppSlow],
];

const ENVOY: &[&[Cause]] = &[UH, UF_SILENT, UC, UPE, BAD_BODY, REFUSED_STREAM];
const ENVOY_ONE_WAY: &[&[Cause]] = &[UC_NEVER, LAST_ATTEMPT, LOST];

/// The look-alikes of a cause in the log of a balancer; `None` = Clearway's own log, which has the errno,
/// the phase and what a server said.
///
/// `faults` are those that Clearway has for the scenario: what ends without a response is none that could not
/// be read.
pub(super) fn of(kind: Option<Kind>, cause: Cause, faults: &[FaultKind]) -> Vec<Cause> {
    let special: &[&[Cause]] = match kind {
        Some(Kind::Nginx) => NGINX,
        Some(Kind::Haproxy) => HAPROXY,
        Some(Kind::Envoy) => ENVOY,
        None => &[],
    };
    let own: &[&[&[Cause]]] = match kind {
        Some(Kind::Haproxy) => &[HAPROXY_ONE_WAY, NO_HEAD, MAYBE_KEPT, NOW_AND_THEN],
        Some(Kind::Envoy) => &[ENVOY_ONE_WAY, LATE],
        Some(Kind::Nginx) | None => &[],
    };
    let is_first = |group: &&&[Cause]| group.first() == Some(&cause);
    let mut one_way = own.iter().copied().flatten().chain(ONE_WAY);
    let one_way = one_way.find(is_first);
    // What a peer does not tell is more than what no log tells; but patterns tell everywhere.
    let is_pattern = one_way.is_some_and(|group| *group == PATH);
    let is_own = own.iter().copied().flatten().any(|group| is_first(&group));
    let (before, after) = if is_pattern || is_own {
        (one_way, None)
    } else {
        (None, one_way)
    };
    let mut groups = before.into_iter().chain(special).chain(after).chain(ALL);
    let is_ended = faults.iter().any(|fault| ENDED.contains(fault));
    let fits = |group: &&[Cause]| is_ended || *group != SH || cause == Cause::RespHeaderTruncated;
    let fits = |group: &&[Cause]| fits(group) && (!is_ended || !UNREADABLE.contains(group));
    let mine = groups.find(|group| group.contains(&cause) && fits(group));
    mine.map_or_else(Vec::new, |group| group.to_vec())
}
