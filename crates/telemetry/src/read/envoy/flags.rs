//! Envoy's response flags with what its details add, and what they are. The other direction is the column
//! of Envoy in the table of fault kinds.

use clearway_outcome::{FaultKind, Remark, Sighting, Suspects};

use FaultKind as K;

use crate::read::field::{Field, Fields};
use crate::read::{failure, scan};

/// A flag, a remark it makes, and what it may be where the details say nothing.
const FLAGS: &[(&str, Option<Remark>, &[FaultKind])] = &[
    ("UF", None, &[]),
    ("UC", None, ENDED),
    ("UPE", None, BAD_HEAD),
    (
        "UT",
        None,
        &[
            K::ResponseTimeout,
            K::ResponseHeadStalled,
            K::TotalTimeout,
            K::ServerWriteTimeout,
            K::ResponseBodyStalled,
        ],
    ),
    (
        "UH",
        None,
        &[
            K::AllServersDown,
            K::NoServers,
            K::NameUnresolved,
            K::NameTimeout,
        ],
    ),
    (
        "UR",
        None,
        &[
            K::ServerRefusedStream,
            K::ServerResetStream,
            K::ServerGoaway,
        ],
    ),
    ("LR", None, &[K::ServerResetStream, K::ServerH2Protocol]),
    (
        "UO",
        None,
        &[K::QueueFull, K::QueueTimeout, K::ListenerFull],
    ),
    ("NR", None, &[K::NoRoute]),
    ("NC", None, &[K::NoServers]),
    ("NFCF", None, &[K::NoRoute]),
    ("DF", None, &[K::NameUnresolved, K::NameTimeout]),
    ("DC", None, GONE),
    ("DPE", None, BAD_REQUEST),
    (
        "SI",
        None,
        &[K::RequestBodyTimeout, K::TunnelIdle, K::ResponseBodyStalled],
    ),
    ("DT", None, &[K::TotalTimeout, K::RequestBodyTimeout]),
    ("UMSDR", None, &[K::TotalTimeout]),
    ("OM", Some(Remark::Overloaded), &[]),
    ("DO", Some(Remark::Overloaded), &[]),
    ("RL", Some(Remark::RateLimited), &[K::SourceFull]),
    ("RLSE", Some(Remark::LimiterFailed), &[]),
    ("UAEX", Some(Remark::AuthRequestFailed), &[K::Denied]),
    ("FI", Some(Remark::FaultInjected), &[]),
    ("DI", Some(Remark::FaultInjected), &[]),
    ("LH", Some(Remark::LocalCheckFailed), &[]),
    ("IH", None, &[K::HeaderValueInvalid]),
    ("URX", Some(Remark::RetriesUsedUp), &[]),
];

const GONE: &[K] = &[K::ClientClosed, K::ClientReset, K::TunnelClientReset];
const ENDED: &[K] = &[
    K::ServerClosedNoResponse,
    K::ServerResetNoResponse,
    K::ReusedClosed,
    K::ReusedReset,
    K::ServerClosedWhileSending,
    K::ServerResetWhileSending,
    K::ServerWantsCertificate,
    K::ServerGoaway,
    K::ResponseBodyReset,
    K::ResponseBodyShort,
    K::TunnelServerReset,
];
/// The head had been passed on.
const STALLED: &[K] = &[K::ResponseBodyStalled, K::TotalTimeout];
const CUT: &[K] = &[
    K::ResponseBodyReset,
    K::ResponseBodyShort,
    K::TunnelServerReset,
];
const BAD_HEAD: &[K] = &[
    K::ResponseHeadTruncated,
    K::ResponseHeadReset,
    K::ResponseHeadersTooLarge,
    K::ResponseTooManyHeaders,
    K::ResponseStatusLineInvalid,
    K::ResponseNotHttp,
    K::ServerSpeaksTls,
    K::ServerSpeaksHttp2,
    K::ResponseHeaderInvalid,
    K::ResponseFramingConflict,
    K::ResponseLengthInvalid,
    K::ResponseCodingUnsupported,
    K::UpgradeUnexpected,
    K::UpgradeUnsupported,
    K::UpgradeIgnored,
    K::TooManyInterim,
    K::ServerSpeaksHttp1,
    K::ServerH2Protocol,
    K::ResponseBodyShort,
    K::ResponseChunkInvalid,
];
const BAD_BODY: &[K] = &[
    K::ResponseBodyShort,
    K::ResponseChunkInvalid,
    K::ServerH2Protocol,
];
const BAD_REQUEST: &[K] = &[
    K::RequestLineInvalid,
    K::MethodInvalid,
    K::TargetInvalid,
    K::VersionUnsupported,
    K::HeaderNameInvalid,
    K::HeaderSpaceBeforeColon,
    K::HeaderValueInvalid,
    K::HostMissing,
    K::HostDuplicated,
    K::HostInvalid,
    K::ContentLengthInvalid,
    K::ContentLengthDuplicated,
    K::ContentLengthWithTransferEncoding,
    K::TransferEncodingInvalid,
    K::ChunkSizeInvalid,
    K::ChunkFramingInvalid,
    K::RequestLineTooLong,
    K::HeadersTooLarge,
    K::TooManyHeaders,
    K::TlsOnPlainPort,
    K::H2Protocol,
    K::H2RapidReset,
    K::H2FrameFlood,
    K::BodyTooLarge,
];

/// Details of responses that Envoy made itself and gives no flag.
const DETAILS: &[(&str, FaultKind)] = &[
    ("request header timeout", K::RequestHeadTimeout),
    ("request overall timeout", K::RequestBodyTimeout),
    ("request payload too large", K::BodyTooLarge),
    ("request headers too large", K::HeadersTooLarge),
];

/// What a response of its own without a flag was.
pub(super) fn own(details: &[u8], plain: &mut Vec<u8>) -> Option<(Suspects, Option<Remark>)> {
    failure::plain(details, plain);
    if scan::has(plain, "response payload too large") {
        // To be kept whole, as a filter wants it.
        return Some((Suspects::NONE, Some(Remark::ResponseTooLarge)));
    }
    let row = DETAILS.iter().find(|(words, _)| scan::has(plain, words));
    row.map(|(_, kind)| (Suspects::just(*kind), None))
}

/// Tells `sighting` what the flags and the details say.
pub(super) fn judge(fields: &Fields<'_>, sighting: &mut Sighting<'_>, plain: &mut Vec<u8>) {
    let flags = fields.get(Field::Flags);
    failure::plain(fields.get(Field::Details), plain);
    for flag in flags.split(|byte| *byte == b',') {
        let row = FLAGS.iter().find(|row| row.0.as_bytes() == flag);
        let Some((name, remark, kinds)) = row else {
            continue;
        };
        sighting.remark = sighting.remark.or(*remark);
        if sighting.suspects.is_empty() {
            let is_late = *name == "UT" && (100..500).contains(&sighting.status);
            let kinds = if is_late {
                STALLED
            } else {
                closer(name, plain).unwrap_or(kinds)
            };
            sighting.suspects = Suspects::any_of(kinds);
        }
    }
    if flags.split(|byte| *byte == b',').any(|flag| flag == b"UF") {
        not_reached(fields, sighting, plain);
    }
}

/// The kinds of a flag where the details (in plain spelling) say more.
fn closer(flag: &str, details: &[u8]) -> Option<&'static [FaultKind]> {
    let has = |words| scan::has(details, words);
    let is_late = has("after response started");
    Some(match flag {
        "UC" if is_late => CUT,
        "UC" if has("before response started") => ENDED.get(..8)?,
        "UPE" if is_late => BAD_BODY,
        "UPE" if has("before response started") => BAD_HEAD.get(..18)?,
        "UPE" if has("header") && has("too large") => &[K::ResponseHeadersTooLarge],
        "UT" if has("per try timeout") => &[
            K::ResponseTimeout,
            K::ResponseHeadStalled,
            K::ServerWriteTimeout,
        ],
        "UT" if is_late => STALLED,
        "UR" if has("refused stream") => &[K::ServerRefusedStream],
        "UR" if has("remote reset") => &[K::ServerResetStream],
        "UO" if has("overflow") => &[K::QueueFull],
        _ => return None,
    })
}

/// `UF`: the connection or TLS on it did not come about. The reason stands in
/// `UPSTREAM_TRANSPORT_FAILURE_REASON`, and in the details behind a bar.
fn not_reached(fields: &Fields<'_>, sighting: &mut Sighting<'_>, plain: &mut Vec<u8>) {
    let said = fields.get(Field::Transport);
    if !said.is_empty() {
        failure::plain(said, plain);
    } else if !scan::has(plain, "connection failure") && !scan::has(plain, "connection timeout") {
        // Of layer 4, or in a format without either.
        failure::plain(fields.get(Field::Termination), plain);
    }
    let has = |words| scan::has(plain, words);
    if has("immediate connect error") || has("delayed connect error") {
        sighting.is_immediate = Some(has("immediate connect error"));
        sighting.errno = failure::errno_named(plain);
        let is_unix = sighting.address.starts_with('/') || sighting.address.starts_with("unix:");
        let kind = failure::connect(sighting.errno, is_unix || sighting.errno == 2);
        sighting.suspects = Suspects::just(kind);
    } else if has("tls error") || has("tls ") || has("openssl") || has("ssl routines") {
        let (kind, signal) = failure::server_tls(plain);
        sighting.signal = signal;
        sighting.suspects = Suspects::just(kind);
    } else if has("socket creation failure") {
        sighting.is_immediate = Some(true);
        sighting.suspects = Suspects::any_of(&[K::OutOfFiles, K::OutOfMemory]);
    } else if has("timeout") {
        sighting.suspects = Suspects::any_of(&[K::ConnectTimeout, K::ServerTlsTimeout]);
    } else {
        let timeouts = [K::ConnectTimeout, K::ServerTlsTimeout];
        let lists = failure::CONNECT
            .into_iter()
            .chain(timeouts)
            .chain(FaultKind::OF_SERVER_TLS);
        // Whoever has no memory or no files left has other troubles first.
        let lists = lists.filter(|kind| !matches!(kind, K::OutOfMemory | K::ServerTlsProtocol));
        sighting.suspects = lists.collect();
    }
}
