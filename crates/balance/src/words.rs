//! Words for faults, times and shares, the same in every sentence this crate writes.

use std::time::Duration;

use clearway_outcome::FaultKind;

/// Kinds whose code alone reads badly in a sentence.
const PHRASES: &[(FaultKind, &str)] = &[
    (FaultKind::ConnectRefused, "connection refused"),
    (FaultKind::ConnectTimeout, "connection attempt not answered"),
    (FaultKind::ConnectUnreachable, "no way to the host"),
    (FaultKind::ConnectReset, "connection reset while connecting"),
    (
        FaultKind::ConnectDenied,
        "connecting not permitted on this host",
    ),
    (FaultKind::ConnectFailed, "connecting failed"),
    (FaultKind::UnixMissing, "socket file missing"),
    (
        FaultKind::UnixBacklogFull,
        "accept queue of the socket full",
    ),
    (
        FaultKind::ServerClosedNoResponse,
        "connection closed without a byte of response",
    ),
    (
        FaultKind::ServerResetNoResponse,
        "connection reset without a byte of response",
    ),
    (FaultKind::ResponseTimeout, "no byte of response in time"),
    (FaultKind::ResponseNotHttp, "the answer is not HTTP"),
    (
        FaultKind::ServerSpeaksTls,
        "the answer is TLS, not plain HTTP",
    ),
    (
        FaultKind::ServerSpeaksHttp2,
        "the answer is HTTP/2, not HTTP/1.1",
    ),
    (
        FaultKind::ServerSpeaksHttp1,
        "the answer is HTTP/1, not HTTP/2",
    ),
    (FaultKind::ProbeStatus, "unexpected status"),
    (FaultKind::ProbeBody, "unexpected body"),
];

/// A fault kind as part of a sentence, e.g. `connection refused`.
#[must_use]
pub(crate) fn kind(kind: FaultKind) -> String {
    PHRASES.iter().find(|(k, _)| *k == kind).map_or_else(
        || kind.code().replace('_', " "),
        |(_, text)| (*text).to_owned(),
    )
}

/// A time in the unit in which it is a small number: `0.3 ms`, `120 ms`, `2.5 s`, `3 min`, `1.5 h`.
#[must_use]
pub(crate) fn duration(time: Duration) -> String {
    let micros = time.as_micros();
    let (value, unit) = match micros {
        0..1_000_000 => (micros, 1_000),
        1_000_000..60_000_000 => (micros, 1_000_000),
        60_000_000..3_600_000_000 => (micros, 60_000_000),
        _ => (micros, 3_600_000_000),
    };
    let name = match unit {
        1_000 => "ms",
        1_000_000 => "s",
        60_000_000 => "min",
        _ => "h",
    };
    let tenths = value * 10 / unit;
    match (tenths / 10, tenths % 10) {
        (whole, tenth) if whole < 10 && tenth > 0 => format!("{whole}.{tenth} {name}"),
        (0, 0) if micros > 0 => format!("less than 0.1 {name}"),
        (whole, _) => format!("{whole} {name}"),
    }
}

/// `1 check`, `3 checks`.
#[must_use]
pub(crate) fn count(number: u64, noun: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{ending}")
}

/// `part` of `whole` in whole percents, rounded; 0 when `whole` is 0.
#[must_use]
pub(crate) fn percent(part: u64, whole: u64) -> u64 {
    (part.saturating_mul(100).saturating_add(whole / 2))
        .checked_div(whole)
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        for (micros, text) in [
            (0, "0 ms"),
            (7, "less than 0.1 ms"),
            (300, "0.3 ms"),
            (120_400, "120 ms"),
            (2_500_000, "2.5 s"),
            (10_000_000, "10 s"),
            (90_000_000, "1.5 min"),
            (5_400_000_000, "1.5 h"),
        ] {
            assert_eq!(duration(Duration::from_micros(micros)), text);
        }
    }

    #[test]
    fn kinds_without_a_phrase_and_empty_wholes_have_words_too() {
        assert_eq!(kind(FaultKind::ConnectRefused), "connection refused");
        assert_eq!(kind(FaultKind::ResponseBodyShort), "response body short");
        assert_eq!((percent(2, 3), percent(1, 0)), (67, 0));
    }
}
