//! What a peer says in its protocol when it ends something: TLS alerts and HTTP/2 error codes.

/// A peer's own word for why it ended a connection or a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Signal {
    /// A TLS alert (RFC 8446 section 6), by its number.
    TlsAlert(u8),
    /// `RST_STREAM` (RFC 9113 section 6.4), with its error code.
    H2Reset(u32),
    /// `GOAWAY` (RFC 9113 section 6.8).
    H2Goaway {
        /// Its error code.
        code: u32,
        /// The last stream that was or may have been worked on.
        last_stream: u32,
    },
}

impl Signal {
    /// None of the application protocols that were offered is spoken (RFC 7301 section 3.2).
    pub const NO_APPLICATION_PROTOCOL: Self = Self::TlsAlert(120);

    /// Its name in the protocol's document; `None` for a number that none has.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::TlsAlert(number) => alert_name(number),
            Self::H2Reset(code) | Self::H2Goaway { code, .. } => h2_name(code),
        }
    }
}

impl std::fmt::Display for Signal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = self.name().unwrap_or("unknown");
        match self {
            Self::TlsAlert(number) => write!(f, "TLS alert {number} {name}"),
            Self::H2Reset(code) => write!(f, "RST_STREAM {code} {name}"),
            Self::H2Goaway { code, last_stream } => {
                write!(f, "GOAWAY {code} {name}, last stream {last_stream}")
            }
        }
    }
}

/// The registered name of a TLS alert (RFC 8446 section 6 and those before it).
fn alert_name(number: u8) -> Option<&'static str> {
    Some(match number {
        0 => "close_notify",
        10 => "unexpected_message",
        20 => "bad_record_mac",
        21 => "decryption_failed",
        22 => "record_overflow",
        30 => "decompression_failure",
        40 => "handshake_failure",
        41 => "no_certificate",
        42 => "bad_certificate",
        43 => "unsupported_certificate",
        44 => "certificate_revoked",
        45 => "certificate_expired",
        46 => "certificate_unknown",
        47 => "illegal_parameter",
        48 => "unknown_ca",
        49 => "access_denied",
        50 => "decode_error",
        51 => "decrypt_error",
        60 => "export_restriction",
        70 => "protocol_version",
        71 => "insufficient_security",
        80 => "internal_error",
        86 => "inappropriate_fallback",
        90 => "user_canceled",
        100 => "no_renegotiation",
        109 => "missing_extension",
        110 => "unsupported_extension",
        111 => "certificate_unobtainable",
        112 => "unrecognized_name",
        113 => "bad_certificate_status_response",
        114 => "bad_certificate_hash_value",
        115 => "unknown_psk_identity",
        116 => "certificate_required",
        120 => "no_application_protocol",
        121 => "ech_required",
        _ => return None,
    })
}

/// The name of an HTTP/2 error code (RFC 9113 section 7).
fn h2_name(code: u32) -> Option<&'static str> {
    const NAMES: [&str; 14] = [
        "NO_ERROR",
        "PROTOCOL_ERROR",
        "INTERNAL_ERROR",
        "FLOW_CONTROL_ERROR",
        "SETTINGS_TIMEOUT",
        "STREAM_CLOSED",
        "FRAME_SIZE_ERROR",
        "REFUSED_STREAM",
        "CANCEL",
        "COMPRESSION_ERROR",
        "CONNECT_ERROR",
        "ENHANCE_YOUR_CALM",
        "INADEQUATE_SECURITY",
        "HTTP_1_1_REQUIRED",
    ];
    NAMES.get(usize::try_from(code).ok()?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_name_themselves() {
        assert_eq!(Signal::TlsAlert(48).to_string(), "TLS alert 48 unknown_ca");
        assert_eq!(Signal::TlsAlert(3).to_string(), "TLS alert 3 unknown");
        let reset = Signal::H2Reset(7);
        assert_eq!(reset.to_string(), "RST_STREAM 7 REFUSED_STREAM");
        let goaway = Signal::H2Goaway {
            code: 11,
            last_stream: 5,
        };
        assert_eq!(
            goaway.to_string(),
            "GOAWAY 11 ENHANCE_YOUR_CALM, last stream 5"
        );
        assert_eq!(Signal::H2Reset(99).name(), None);
    }
}
