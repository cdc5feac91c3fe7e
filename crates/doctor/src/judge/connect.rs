//! Judges of causes that show while a connection is made.

use clearway_outcome::FaultKind as Kind;

use super::Judge;
use crate::cause::Cause;

mod denied;
mod dropped;
mod refused;
mod silent;
mod unix;

const REFUSED: &[Kind] = &[Kind::ConnectRefused];
/// What a filter's ICMP message may come to; where it is sure to be the second, others have said so.
const BY_ICMP: &[Kind] = &[Kind::ConnectRefused, Kind::ConnectUnreachable];
const SILENT: &[Kind] = &[Kind::ConnectTimeout];
const DENIED: &[Kind] = &[Kind::ConnectDenied];
/// What a connection that is taken and dropped at once shows as.
const DROPPED: &[Kind] = &[
    Kind::ServerClosedNoResponse,
    Kind::ServerResetNoResponse,
    Kind::ServerClosedWhileSending,
    Kind::ServerResetWhileSending,
    Kind::ServerTlsClosed,
    Kind::ServerTlsReset,
    Kind::ConnectReset,
    Kind::TunnelServerReset,
];

pub(super) const JUDGES: &[Judge] = &[
    Judge::new(Cause::PortClosed, REFUSED, refused::port_closed),
    Judge::new(Cause::PortWrong, REFUSED, refused::port_wrong),
    Judge::new(
        Cause::BindLoopbackOnly,
        REFUSED,
        refused::bind_loopback_only,
    ),
    Judge::new(Cause::CrashLoop, REFUSED, refused::crash_loop),
    Judge::new(
        Cause::FirewallRejectIcmp,
        BY_ICMP,
        refused::firewall_reject_icmp,
    ),
    Judge::new(
        Cause::FirewallRejectRst,
        REFUSED,
        refused::firewall_reject_rst,
    ),
    Judge::new(
        Cause::FirewallAdminProhibited,
        &[Kind::ConnectUnreachable],
        denied::firewall_admin_prohibited,
    ),
    Judge::new(Cause::FirewallDrop, SILENT, silent::firewall_drop),
    Judge::new(Cause::LbEgressDrop, SILENT, silent::lb_egress_drop),
    Judge::new(Cause::LbEgressReject, BY_ICMP, refused::lb_egress_reject),
    Judge::new(Cause::SelinuxDenied, DENIED, denied::selinux_denied),
    Judge::new(
        Cause::CgroupIpDeny,
        &[
            Kind::ConnectDenied,
            Kind::ConnectTimeout,
            Kind::ConnectFailed,
        ],
        denied::cgroup_ip_deny,
    ),
    Judge::new(Cause::K8sNoEndpoints, REFUSED, refused::k8s_no_endpoints),
    Judge::new(
        Cause::AcceptQueueOverflow,
        SILENT,
        silent::accept_queue_overflow,
    ),
    Judge::new(
        Cause::SynFloodProtection,
        SILENT,
        silent::syn_flood_protection,
    ),
    Judge::new(
        Cause::ContainerPortForwarder,
        DROPPED,
        dropped::container_port_forwarder,
    ),
    Judge::new(
        Cause::ConnectTimeoutTooShort,
        SILENT,
        silent::connect_timeout_too_short,
    ),
    Judge::new(
        Cause::PawsTimewaitReject,
        SILENT,
        silent::paws_timewait_reject,
    ),
    Judge::new(
        Cause::UnixSocketMissing,
        &[Kind::UnixMissing],
        unix::unix_socket_missing,
    ),
    Judge::new(Cause::UnixSocketStale, REFUSED, unix::unix_socket_stale),
    Judge::new(
        Cause::UnixSocketPermission,
        DENIED,
        unix::unix_socket_permission,
    ),
    Judge::new(
        Cause::UnixSocketBacklogFull,
        &[Kind::UnixBacklogFull],
        unix::unix_socket_backlog_full,
    ),
    Judge::new(
        Cause::MeshSidecarNotReady,
        &[
            Kind::ConnectRefused,
            Kind::ServerClosedNoResponse,
            Kind::ServerResetNoResponse,
        ],
        dropped::mesh_sidecar_not_ready,
    ),
];
