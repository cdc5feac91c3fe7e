//! What other balancers report of their servers, as states of checks and as sightings.

use clearway_outcome::{FaultKind, Place, Sighting, Speaker, Spoken, Suspects};
use clearway_telemetry::read::report::{CapturedError, ServerHealth};

use crate::evidence::CheckState;

use FaultKind as K;

const REFUSED: &[K] = &[K::ConnectRefused];
const UNREACHABLE: &[K] = &[K::ConnectUnreachable];
const UNCONNECTED: &[K] = &[
    K::ConnectRefused,
    K::ConnectUnreachable,
    K::ConnectReset,
    K::ConnectDenied,
    K::UnixMissing,
    K::ConnectFailed,
];
const STATUS: &[K] = &[K::ProbeStatus];
const NOT_TLS: &[K] = &[
    K::ServerTlsProtocol,
    K::ServerSpeaksPlain,
    K::ServerTlsAlert,
    K::ServerCertificateUntrusted,
    K::ServerCertificateExpired,
    K::ServerCertificateName,
];
const NOT_HTTP: &[K] = &[
    K::ProbeBody,
    K::ResponseNotHttp,
    K::ServerSpeaksTls,
    K::ResponseStatusLineInvalid,
    K::ServerClosedNoResponse,
];

/// What a parser of HAProxy refuses in a response.
const BAD_RESPONSE: &[K] = &[
    K::ResponseHeaderInvalid,
    K::ResponseStatusLineInvalid,
    K::ResponseFramingConflict,
    K::ResponseLengthInvalid,
    K::ResponseNotHttp,
    K::ServerSpeaksTls,
    K::ServerSpeaksHttp2,
    K::ResponseHeadersTooLarge,
];
const BAD_REQUEST: &[K] = &[
    K::RequestLineInvalid,
    K::HeaderNameInvalid,
    K::HeaderValueInvalid,
    K::TargetInvalid,
    K::HeadersTooLarge,
];

/// How checks see the server.
pub(super) fn state(health: &ServerHealth) -> CheckState {
    let status = health.status.to_ascii_lowercase();
    let withdrawn = ["maint", "drain", "unused", "nolb", "stopped"];
    let is_withdrawn = withdrawn.iter().any(|word| status.starts_with(word));
    let undecided = ["initial", "unavailable", "no check"];
    let is_undecided = undecided.iter().any(|word| status.starts_with(word));
    let is_down = !health.is_up() && !is_withdrawn && !is_undecided && !status.is_empty();
    let kinds = kinds(health);
    CheckState {
        is_down,
        is_ejected: false,
        is_withdrawn,
        fault: match kinds {
            [only] if is_down => Some(*only),
            _ => None,
        },
        status: health.check_code,
        words: words(health),
        took_us: None,
        flaps: 0,
    }
}

/// The complaint of a check that failed; `None` when nobody complains.
pub(super) fn complaint<'a>(
    speaker: Speaker,
    health: &'a ServerHealth,
    state: &'a CheckState,
) -> Option<Sighting<'a>> {
    let kinds = kinds(health);
    if !state.is_down || kinds.is_empty() {
        return None;
    }
    let mut seen = Sighting::of(speaker, Place::default());
    seen.backend = &health.backend;
    seen.server = &health.server;
    seen.address = &health.address;
    seen.suspects = Suspects::any_of(kinds);
    seen.server_status = health.check_code;
    seen.words = &state.words;
    if kinds == REFUSED {
        seen.errno = 111;
    }
    Some(seen)
}

/// `DOWN, L7STS 404: HTTP status check returned code`.
fn words(health: &ServerHealth) -> String {
    let mut out = health.status.clone();
    if !health.check_status.is_empty() {
        out.push_str(", ");
        out.push_str(&health.check_status);
    }
    if health.check_code > 0 {
        out.push_str(&format!(" {}", health.check_code));
    }
    if !health.last_check.is_empty() {
        out.push_str(": ");
        out.push_str(&health.last_check);
    }
    out
}

fn kinds(health: &ServerHealth) -> &'static [K] {
    let says = |words: &str| health.last_check.contains(words);
    match health.check_status.as_str() {
        "L4CON" | "SOCKERR" if says("refused") => REFUSED,
        "L4CON" | "SOCKERR" if says("No route to host") || says("unreachable") => UNREACHABLE,
        "L4CON" | "SOCKERR" => UNCONNECTED,
        "L4TOUT" => &[K::ConnectTimeout],
        "L6TOUT" => &[K::ServerTlsTimeout],
        "L6RSP" => NOT_TLS,
        "L7TOUT" => &[K::ResponseTimeout],
        "L7STS" | "Target.ResponseCodeMismatch" => STATUS,
        "L7RSP" => NOT_HTTP,
        "Target.Timeout" => &[K::ConnectTimeout, K::ResponseTimeout],
        "Target.FailedHealthChecks" => &[
            K::ConnectRefused,
            K::ConnectReset,
            K::ServerClosedNoResponse,
            K::ServerSpeaksPlain,
            K::ResponseNotHttp,
        ],
        _ => &[],
    }
}

/// A captured message as a sighting.
pub(super) fn captured(error: &CapturedError) -> Sighting<'_> {
    let mut seen = Sighting::of(Speaker::Haproxy, Place::default());
    let first = error.first.as_bytes();
    let spoken = Spoken::of(first);
    seen.client = &error.client;
    seen.first = first;
    if error.is_response {
        seen.backend = &error.proxy;
        seen.server = &error.server;
        seen.words = "a response that HAProxy's parser refused (show errors)";
        seen.suspects = Suspects::any_of(match spoken {
            Some(Spoken::TlsAlert { .. } | Spoken::TlsServerHello | Spoken::TlsClientHello) => {
                &[K::ServerSpeaksTls]
            }
            Some(Spoken::Http2Settings | Spoken::Http2Goaway { .. } | Spoken::Http2Preface) => {
                &[K::ServerSpeaksHttp2]
            }
            _ if !first.starts_with(b"HTTP/") && !first.is_empty() => &[K::ResponseNotHttp],
            _ => BAD_RESPONSE,
        });
    } else {
        seen.listener = &error.proxy;
        seen.words = "a request that HAProxy's parser refused (show errors)";
        seen.suspects = Suspects::any_of(match spoken {
            Some(Spoken::TlsAlert { .. } | Spoken::TlsServerHello | Spoken::TlsClientHello) => {
                &[K::TlsOnPlainPort]
            }
            Some(Spoken::Http2Settings | Spoken::Http2Goaway { .. } | Spoken::Http2Preface) => {
                &[K::Http2OnHttp1Port]
            }
            _ => BAD_REQUEST,
        });
    }
    seen
}

/// Kinds that a captured response may explain.
pub(super) fn is_bad_response(kind: K) -> bool {
    BAD_RESPONSE.contains(&kind)
}
