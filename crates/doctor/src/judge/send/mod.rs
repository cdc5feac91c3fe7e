//! Judges of causes that show while the request is sent, or that lie in the request itself.

use clearway_outcome::{FaultKind as Kind, Remark};

use super::Judge;
use crate::cause::Cause;

mod protocol;
mod refused;
#[cfg(test)]
mod tests;
mod upload;

/// Large requests vanish, whichever limit ends the wait.
const VANISHED: &[Kind] = &[
    Kind::ResponseTimeout,
    Kind::TotalTimeout,
    Kind::ServerWriteTimeout,
];
/// The server does not take the request. HAProxy reports an end where its own patience was over.
const NOT_TAKEN: &[Kind] = &[
    Kind::ServerWriteTimeout,
    Kind::ServerClosedNoResponse,
    Kind::ServerResetNoResponse,
    Kind::ServerClosedWhileSending,
    Kind::ServerResetWhileSending,
];
/// The server ends the connection while the request is sent.
const CUT_SHORT: &[Kind] = &[
    Kind::ServerClosedWhileSending,
    Kind::ServerResetWhileSending,
    Kind::ServerClosedNoResponse,
    Kind::ServerResetNoResponse,
    Kind::ReusedReset,
    Kind::ResponseHeadReset,
    Kind::ResponseHeadTruncated,
];
/// A server that waits for a PROXY header hears something else, be it HTTP or TLS; or we are that server.
const NO_HEADER: &[Kind] = &[
    Kind::ServerClosedNoResponse,
    Kind::ServerResetNoResponse,
    Kind::ServerClosedWhileSending,
    Kind::ServerResetWhileSending,
    Kind::ServerTlsClosed,
    Kind::ServerTlsReset,
    Kind::ResponseTimeout,
    Kind::ProbeStatus,
    Kind::ProxyHeaderInvalid,
    Kind::ProxyHeaderTimeout,
];
/// A server that expects HTTP or TLS hears a PROXY header.
const HEADER: &[Kind] = &[
    Kind::ServerClosedNoResponse,
    Kind::ServerResetNoResponse,
    Kind::ServerClosedWhileSending,
    Kind::ServerResetWhileSending,
    Kind::ServerTlsClosed,
    Kind::ServerTlsReset,
    Kind::ServerTlsAlert,
    Kind::ServerTlsProtocol,
    Kind::ServerSpeaksPlain,
    Kind::ResponseNotHttp,
    Kind::ResponseStatusLineInvalid,
    Kind::ProbeStatus,
];
/// A WebSocket does not come about.
const NO_UPGRADE: &[Kind] = &[
    Kind::UpgradeIgnored,
    Kind::UpgradeUnsupported,
    Kind::ProbeStatus,
];
const STREAMS: &[Kind] = &[Kind::ServerRefusedStream, Kind::ServerResetStream];
/// The balancer's own limits of heads.
const HEAD_TOO_LARGE: &[Kind] = &[
    Kind::HeadersTooLarge,
    Kind::RequestLineTooLong,
    Kind::TooManyHeaders,
];
/// A server refuses a large head, in words or by leaving.
const HEAD_REFUSED: &[Kind] = &[
    Kind::ProbeStatus,
    Kind::ServerClosedNoResponse,
    Kind::ServerResetNoResponse,
    Kind::ServerClosedWhileSending,
    Kind::ServerResetWhileSending,
];
/// What the parser refuses of clients.
const INVALID: &[Kind] = &[
    Kind::RequestLineInvalid,
    Kind::MethodInvalid,
    Kind::TargetInvalid,
    Kind::VersionUnsupported,
    Kind::HeaderNameInvalid,
    Kind::HeaderSpaceBeforeColon,
    Kind::HeaderValueInvalid,
    Kind::HeaderFolded,
    Kind::BareCr,
    Kind::BareLf,
    Kind::HostMissing,
    Kind::HostDuplicated,
    Kind::HostInvalid,
    Kind::HostMismatch,
    Kind::ContentLengthInvalid,
    Kind::ContentLengthDuplicated,
    Kind::ContentLengthWithTransferEncoding,
    Kind::TransferEncodingUnsupported,
    Kind::TransferEncodingInvalid,
    Kind::TransferEncodingInHttp10,
    Kind::ChunkSizeInvalid,
    Kind::ChunkFramingInvalid,
    Kind::TrailerInvalid,
    Kind::ConnectMethodRefused,
    Kind::TlsOnPlainPort,
    Kind::Http2OnHttp1Port,
    Kind::HttpOnTlsPort,
    Kind::NotTls,
    Kind::H2Protocol,
    Kind::ProxyHeaderUntrusted,
];
const EXPECTING: &[Kind] = &[
    Kind::ExpectationUnsupported,
    Kind::ResponseTimeout,
    Kind::ProbeStatus,
];

pub(super) const JUDGES: &[Judge] = &[
    Judge::new(
        Cause::PmtuBlackholeRequest,
        VANISHED,
        upload::pmtu_blackhole_request,
    ),
    Judge::new(
        Cause::ProxyProtocolExpected,
        NO_HEADER,
        protocol::proxy_protocol_expected,
    ),
    Judge::new(
        Cause::ProxyProtocolUnexpected,
        HEADER,
        protocol::proxy_protocol_unexpected,
    ),
    Judge::new(
        Cause::WebsocketUpgradeStripped,
        NO_UPGRADE,
        protocol::websocket_upgrade_stripped,
    ),
    Judge::new(Cause::H2StreamRefused, STREAMS, protocol::h2_stream_refused),
    Judge::new(
        Cause::EarlyResponseReset,
        CUT_SHORT,
        upload::early_response_reset,
    ),
    Judge::new(
        Cause::BackendNotReadingBody,
        NOT_TAKEN,
        upload::backend_not_reading_body,
    ),
    Judge::new(
        Cause::RequestBodyTooLarge,
        &[Kind::BodyTooLarge],
        refused::request_body_too_large,
    ),
    Judge::new(
        Cause::RequestHeaderTooLargeLb,
        HEAD_TOO_LARGE,
        refused::request_header_too_large_lb,
    ),
    Judge::new(
        Cause::RequestHeaderTooLargeBackend,
        HEAD_REFUSED,
        refused::request_header_too_large_backend,
    ),
    Judge::new(
        Cause::BadHostHeader,
        &[Kind::ProbeStatus],
        refused::bad_host_header,
    ),
    Judge::new(
        Cause::InvalidClientRequest,
        INVALID,
        refused::invalid_client_request,
    )
    .remarked(&[Remark::RequestAmbiguous]),
    Judge::new(
        Cause::Expect100Continue,
        EXPECTING,
        upload::expect_100_continue,
    ),
];
