//! Status codes of gRPC, and which of them a failure here is.

use crate::kind::{Fault, FaultKind};

/// A status of gRPC: 0 = OK.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GrpcStatus(pub u8);

impl GrpcStatus {
    /// Names by number.
    const NAMES: [&'static str; 17] = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];

    /// Every status that has a name.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..=16).map(Self)
    }

    /// Its name; `UNKNOWN` for a number without one.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES
            .get(usize::from(self.0))
            .copied()
            .unwrap_or("UNKNOWN")
    }

    /// Reads the value of `grpc-status`.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        std::str::from_utf8(value).ok()?.parse().ok().map(Self)
    }

    /// What a client is told that would have got an HTTP status: as gRPC's own clients translate it
    /// (`http-grpc-status-mapping.md`), but for what only a balancer knows.
    #[must_use]
    pub fn of_http(status: u16) -> Self {
        Self(match status {
            400 => 13,
            401 => 16,
            403 => 7,
            404 | 405 | 501 => 12,
            408 | 504 => 4,
            413 | 414 | 431 => 8,
            429 | 502 | 503 => 14,
            499 => 1,
            500 => 13,
            _ => 2,
        })
    }

    /// What a client is told of a fault.
    #[must_use]
    pub fn of_fault(fault: &Fault, status: u16) -> Self {
        if fault.kind == FaultKind::TotalTimeout {
            return Self(4);
        }
        Self::of_http(status)
    }
}

/// Reads the value of `grpc-timeout`: up to eight digits and a unit, in microseconds.
#[must_use]
pub fn grpc_timeout_us(value: &[u8]) -> Option<u64> {
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > 8 {
        return None;
    }
    let count: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(match unit {
        b'H' => count * 3_600_000_000,
        b'M' => count * 60_000_000,
        b'S' => count * 1_000_000,
        b'm' => count * 1_000,
        b'u' => count,
        b'n' => count.div_ceil(1_000),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_have_units() {
        for (text, us) in [
            ("1H", Some(3_600_000_000)),
            ("2M", Some(120_000_000)),
            ("3S", Some(3_000_000)),
            ("40m", Some(40_000)),
            ("5u", Some(5)),
            ("1n", Some(1)),
            ("123456789S", None),
            ("S", None),
            ("1", None),
            ("1x", None),
            ("-1S", None),
        ] {
            assert_eq!(grpc_timeout_us(text.as_bytes()), us, "{text}");
        }
    }

    #[test]
    fn statuses_are_named_and_mapped() {
        assert_eq!(GrpcStatus::parse(b"14"), Some(GrpcStatus(14)));
        assert_eq!(GrpcStatus::parse(b"x"), None);
        assert_eq!(GrpcStatus::of_http(503).name(), "UNAVAILABLE");
        assert_eq!(GrpcStatus::of_http(504).name(), "DEADLINE_EXCEEDED");
        assert_eq!(GrpcStatus(99).name(), "UNKNOWN");
        assert_eq!(GrpcStatus::all().count(), 17);
    }
}
