//! `Proxy-Status` (RFC 9209): what the client is told about a failure.

use clearway_base::decimal;
use clearway_outcome::Fault;

/// Appends the field's value: the error type and nothing about the topology behind.
pub fn write(fault: &Fault, received_status: u16, out: &mut Vec<u8>) {
    out.extend_from_slice(b"clearway");
    if let Some(error) = fault.kind.rfc9209() {
        out.extend_from_slice(b"; error=");
        out.extend_from_slice(error.as_bytes());
    }
    if received_status > 0 {
        out.extend_from_slice(b"; received-status=");
        decimal::write(out, u64::from(received_status));
    }
    out.extend_from_slice(b"; details=\"");
    out.extend_from_slice(fault.kind.code().as_bytes());
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn values_are_structured_fields() {
        let mut out = Vec::new();
        write(&sample::failed_attempt().fault.unwrap(), 0, &mut out);
        assert_eq!(
            out,
            b"clearway; error=connection_refused; details=\"connect_refused\""
        );
    }
}
