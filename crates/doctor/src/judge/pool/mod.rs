//! Judges of causes in kept connections.

use clearway_outcome::{FaultKind as Kind, Remark};

use super::Judge;
use crate::cause::Cause;

mod boxes;
mod idle;
mod leftover;
#[cfg(test)]
mod tests;

/// A kept connection ends when it is used again. Logs of others do not tell it from a fresh one.
const REUSED: &[Kind] = &[
    Kind::ReusedClosed,
    Kind::ReusedReset,
    Kind::ServerClosedNoResponse,
    Kind::ServerResetNoResponse,
    Kind::ServerClosedWhileSending,
    Kind::ServerResetWhileSending,
];
/// A kept connection swallows what is sent.
const SWALLOWED: &[Kind] = &[
    Kind::ResponseTimeout,
    Kind::TotalTimeout,
    Kind::ServerWriteTimeout,
];
/// A kept connection is worth nothing any more, whichever way that shows.
const STALE: &[Kind] = &[
    Kind::ReusedClosed,
    Kind::ReusedReset,
    Kind::ServerClosedNoResponse,
    Kind::ServerResetNoResponse,
    Kind::ServerClosedWhileSending,
    Kind::ServerResetWhileSending,
    Kind::ResponseTimeout,
    Kind::TotalTimeout,
    Kind::ServerWriteTimeout,
];
/// A reset at any point of a connection.
const RESET: &[Kind] = &[
    Kind::ReusedReset,
    Kind::ServerResetNoResponse,
    Kind::ServerResetWhileSending,
    Kind::ResponseHeadReset,
    Kind::ResponseBodyReset,
    Kind::TunnelServerReset,
];
/// An HTTP/2 connection ends with requests on it.
const GOAWAY: &[Kind] = &[
    Kind::ServerGoaway,
    Kind::ServerResetStream,
    Kind::ReusedClosed,
    Kind::ServerClosedNoResponse,
];
/// What comes is not the answer to this request.
const DESYNC: &[Kind] = &[
    Kind::ResponseStatusLineInvalid,
    Kind::ResponseNotHttp,
    Kind::ResponseHeaderInvalid,
];
/// Something has run out that open connections take.
const RUN_OUT: &[Kind] = &[
    Kind::OutOfFiles,
    Kind::OutOfPorts,
    Kind::ListenerFull,
    Kind::QueueTimeout,
    Kind::QueueFull,
    Kind::ResponseTimeout,
];

pub(super) const JUDGES: &[Judge] = &[
    Judge::new(
        Cause::ConntrackInvalidReset,
        RESET,
        boxes::conntrack_invalid_reset,
    ),
    Judge::new(Cause::H2GoawayRace, GOAWAY, idle::h2_goaway_race),
    Judge::new(Cause::KeepaliveRace, REUSED, idle::keepalive_race),
    Judge::new(Cause::NatIdleDrop, SWALLOWED, boxes::nat_idle_drop),
    Judge::new(Cause::NatIdleRst, REUSED, boxes::nat_idle_rst),
    Judge::new(
        Cause::StalePoolAfterReboot,
        STALE,
        idle::stale_pool_after_reboot,
    ),
    Judge::new(
        Cause::PoolDesyncLeftover,
        DESYNC,
        leftover::pool_desync_leftover,
    )
    .remarked(&[Remark::ExcessBody]),
    Judge::new(Cause::CloseWaitLeak, RUN_OUT, leftover::close_wait_leak),
];
