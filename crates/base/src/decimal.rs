//! Numbers and addresses as text, without the machinery of formatting.

use std::net::IpAddr;

/// Appends a number in decimal.
pub fn write(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Appends an address as it is displayed: an IPv4 address, the usual one, the quick way.
pub fn write_ip(out: &mut Vec<u8>, ip: IpAddr) {
    use std::io::Write;
    let IpAddr::V4(v4) = ip else {
        // Writing into memory cannot fail.
        return write!(out, "{ip}").unwrap_or_default();
    };
    let mut before = None;
    for octet in v4.octets() {
        out.extend(before.replace(b'.'));
        write(out, octet.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_they_are_displayed() {
        for text in [
            "0.0.0.0",
            "10.1.22.255",
            "::1",
            "2001:db8::7",
            "::ffff:1.2.3.4",
        ] {
            let mut out = Vec::new();
            write_ip(&mut out, text.parse().unwrap());
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }
}
