//! Judges of causes that show while the response is waited for.

use clearway_outcome::{FaultKind as Kind, Remark};

use super::Judge;
use crate::cause::Cause;

mod around;
mod ended;
mod going;
pub(super) mod signs;
mod silence;
#[cfg(test)]
pub(super) mod stand;
#[cfg(test)]
mod tests;

/// Connected, and nothing comes.
const SILENT: &[Kind] = &[Kind::ResponseTimeout, Kind::TotalTimeout];
/// Nothing comes in time, or not all of the head.
const SLOW: &[Kind] = &[
    Kind::ResponseTimeout,
    Kind::TotalTimeout,
    Kind::ResponseHeadStalled,
];
/// The same where a server does not even take the request, or the handshake before it.
const FROZEN: &[Kind] = &[
    Kind::ResponseTimeout,
    Kind::TotalTimeout,
    Kind::ServerWriteTimeout,
    Kind::ServerTlsTimeout,
];
/// Nothing comes whole.
const SWALLOWED: &[Kind] = &[
    Kind::ResponseTimeout,
    Kind::TotalTimeout,
    Kind::ResponseHeadStalled,
    Kind::ResponseBodyStalled,
    Kind::ServerTlsTimeout,
];
/// The server ends the connection and has not said a word. Clearway gives kept connections kinds of their
/// own, however long they were waited for.
const ENDED: &[Kind] = &[
    Kind::ServerClosedNoResponse,
    Kind::ServerResetNoResponse,
    Kind::ReusedClosed,
    Kind::ReusedReset,
    Kind::ServerClosedWhileSending,
    Kind::ServerResetWhileSending,
    Kind::ServerResetStream,
];
/// The same where the whole request had been sent.
const SILENTLY: &[Kind] = &[
    Kind::ServerClosedNoResponse,
    Kind::ServerResetNoResponse,
    Kind::ReusedClosed,
    Kind::ReusedReset,
];
/// The server ends the connection at any point.
const BROKEN: &[Kind] = &[
    Kind::ServerClosedNoResponse,
    Kind::ServerResetNoResponse,
    Kind::ReusedClosed,
    Kind::ReusedReset,
    Kind::ServerClosedWhileSending,
    Kind::ServerResetWhileSending,
    Kind::ServerResetStream,
    Kind::ResponseHeadTruncated,
    Kind::ResponseHeadReset,
    Kind::ResponseBodyShort,
    Kind::ResponseBodyReset,
    Kind::TunnelServerReset,
];
/// What requests to a server that is being taken away meet.
const LEAVING: &[Kind] = &[
    Kind::ServerClosedNoResponse,
    Kind::ServerResetNoResponse,
    Kind::ReusedClosed,
    Kind::ReusedReset,
    Kind::ServerClosedWhileSending,
    Kind::ServerResetWhileSending,
    Kind::ServerResetStream,
    Kind::ServerGoaway,
    Kind::ServerRefusedStream,
    Kind::ResponseBodyShort,
    Kind::ResponseBodyReset,
    Kind::ConnectRefused,
    Kind::ConnectTimeout,
    Kind::ConnectUnreachable,
];
/// Requests that the balancer itself ends.
const CUT: &[Kind] = &[
    Kind::ServerClosedNoResponse,
    Kind::ServerResetNoResponse,
    Kind::ResponseBodyShort,
    Kind::ResponseBodyReset,
    Kind::TunnelServerReset,
    Kind::ShuttingDown,
];
/// Faults behind which another attempt may follow.
const RETRIED: &[Kind] = &[
    Kind::ConnectRefused,
    Kind::ConnectTimeout,
    Kind::ConnectUnreachable,
    Kind::ConnectReset,
    Kind::ServerClosedNoResponse,
    Kind::ServerResetNoResponse,
    Kind::ReusedClosed,
    Kind::ReusedReset,
    Kind::ServerRefusedStream,
    Kind::ServerResetStream,
    Kind::ResponseTimeout,
    Kind::TotalTimeout,
];
/// What ALB reports when a function failed; it says more in words.
const FUNCTION: &[Kind] = &[
    Kind::ServerClosedNoResponse,
    Kind::ServerResetNoResponse,
    Kind::ReusedClosed,
    Kind::ReusedReset,
    Kind::ResponseStatusLineInvalid,
    Kind::ResponseNotHttp,
    Kind::ResponseHeaderInvalid,
    Kind::ResponseHeadersTooLarge,
    Kind::ResponseTimeout,
    Kind::ConnectTimeout,
    Kind::ConnectRefused,
    Kind::ConnectDenied,
    Kind::ConnectFailed,
    Kind::ServerRefusedStream,
    Kind::BodyTooLarge,
    Kind::ProbeStatus,
];

pub(super) const JUDGES: &[Judge] = &[
    Judge::new(
        Cause::PmtuBlackholeResponse,
        SWALLOWED,
        around::pmtu_blackhole_response,
    ),
    Judge::new(Cause::AppSlow, SLOW, silence::app_slow),
    Judge::new(Cause::AppHung, FROZEN, silence::app_hung),
    Judge::new(Cause::WorkersSaturated, SILENT, silence::workers_saturated),
    Judge::new(
        Cause::BackendFdExhausted,
        SILENT,
        silence::backend_fd_exhausted,
    ),
    Judge::new(Cause::CpuThrottledOrGc, FROZEN, around::cpu_throttled_or_gc),
    Judge::new(Cause::WorkerTimeoutKill, ENDED, ended::worker_timeout_kill),
    Judge::new(Cause::AppCrashOnRequest, ENDED, ended::app_crash_on_request),
    Judge::new(Cause::OomKill, BROKEN, ended::oom_kill),
    Judge::new(Cause::RollingDeploy, LEAVING, going::rolling_deploy),
    Judge::new(
        Cause::DeregistrationDelayElapsed,
        CUT,
        going::deregistration_delay_elapsed,
    )
    .remarked(&[Remark::EndedByBalancer]),
    Judge::new(
        Cause::BackendGracefulRecycle,
        ENDED,
        going::backend_graceful_recycle,
    ),
    Judge::new(Cause::AlbLambdaTarget, FUNCTION, going::alb_lambda_target)
        .remarked(&[Remark::FunctionFailed]),
    Judge::new(
        Cause::RetryStormExhausted,
        RETRIED,
        going::retry_storm_exhausted,
    ),
];
