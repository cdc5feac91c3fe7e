//! What a certificate says about itself, as text for receipts, logs and expiry.
//!
//! The certificate comes from a stranger: number and length of what is kept are bounded, and whatever a
//! terminal would not show as it stands is written in hexadecimal. Not here: whether to believe any of
//! it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use clearway_outcome::CertificateFacts;
use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
use x509_parser::asn1_rs::Tag;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// Most names kept; certificates of large sites have a hundred, and nobody reads them in a log.
pub const NAMES_MAX: usize = 32;
/// Longest name kept in bytes: a DNS name has at most 253 characters (RFC 1035 section 2.3.4).
pub const NAME_MAX: usize = 255;
/// Longest subject or issuer kept in bytes.
pub const SUBJECT_MAX: usize = 512;
/// Most octets of a serial number kept; RFC 5280 section 4.1.2.2 allows 20.
const SERIAL_MAX: usize = 32;
/// Longest object identifier written out, in octets as encoded.
const OID_MAX: usize = 32;

/// The facts of one certificate in DER (RFC 5280 section 4.1); `None` when it cannot be read or
/// something follows it.
///
/// Subject and issuer are in the form of RFC 4514, the most specific part first. A text or list that is
/// too long ends in `…`.
#[must_use]
pub fn certificate(der: &[u8]) -> Option<CertificateFacts> {
    let (rest, certificate) = X509Certificate::from_der(der).ok()?;
    if !rest.is_empty() {
        return None;
    }
    Some(CertificateFacts {
        subject: distinguished_name(certificate.subject()),
        issuer: distinguished_name(certificate.issuer()),
        names: names(&certificate),
        not_before: certificate.validity().not_before.timestamp(),
        not_after: certificate.validity().not_after.timestamp(),
        serial: serial(certificate.raw_serial()),
        fingerprint: fingerprint(der),
    })
}

/// SHA-256 of a certificate in DER, in lower-case hexadecimal.
#[must_use]
pub fn fingerprint(der: &[u8]) -> String {
    // A cipher suite is how rustls hands out the hash of the library it has anyway.
    let suite = TLS13_AES_128_GCM_SHA256.tls13();
    suite.map_or_else(String::new, |suite| {
        hex(suite.common.hash_provider.hash(der).as_ref())
    })
}

/// DNS names and IP addresses of the subject's alternative names (RFC 5280 section 4.2.1.6).
fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let mut names = Vec::new();
    let mut more = 0_usize;
    for extension in certificate.extensions() {
        let ParsedExtension::SubjectAlternativeName(alternative) = extension.parsed_extension()
        else {
            continue;
        };
        for name in &alternative.general_names {
            let Some(name) = name_text(name) else {
                continue;
            };
            if names.len() < NAMES_MAX {
                names.push(name);
            } else {
                more += 1;
            }
        }
    }
    if more > 0 {
        names.push(format!("… {more} more"));
    }
    names
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "other kinds of names are no names of servers"
)]
fn name_text(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => {
            let mut out = Bounded::new(NAME_MAX);
            name.chars().for_each(|c| out.put(c));
            Some(out.text)
        }
        GeneralName::IPAddress(octets) => {
            let v4 = <[u8; 4]>::try_from(*octets).map(|octets| Ipv4Addr::from(octets).into());
            let v6 = || <[u8; 16]>::try_from(*octets).map(|octets| Ipv6Addr::from(octets).into());
            v4.or_else(|_| v6())
                .ok()
                .map(|address: IpAddr| address.to_string())
        }
        _ => None,
    }
}

/// A name in the form of RFC 4514.
fn distinguished_name(name: &X509Name<'_>) -> String {
    let mut out = Bounded::new(SUBJECT_MAX);
    let parts: Vec<_> = name.iter_rdn().collect();
    for (at, part) in parts.iter().rev().enumerate() {
        if at > 0 {
            out.push(",");
        }
        for (at, attribute) in part.iter().enumerate() {
            if at > 0 {
                out.push("+");
            }
            write_attribute(attribute, &mut out);
        }
        if out.is_full {
            break;
        }
    }
    out.text
}

fn write_attribute(attribute: &AttributeTypeAndValue<'_>, out: &mut Bounded) {
    let oid = attribute.attr_type();
    match attribute_name(oid.as_bytes()) {
        Some(name) => out.push(name),
        None if oid.as_bytes().len() <= OID_MAX => out.push(&oid.to_id_string()),
        None => out.push("?"),
    }
    out.push("=");
    let Some(text) = attribute_text(attribute) else {
        // RFC 4514 section 2.4: what is not text stands in hexadecimal.
        out.push("#");
        for &byte in attribute.as_slice().iter().take(SUBJECT_MAX) {
            out.push(&hex(&[byte]));
        }
        return;
    };
    let last = text.chars().count().saturating_sub(1);
    for (at, c) in text.chars().enumerate() {
        let is_special = match c {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => true,
            ' ' => at == 0 || at == last,
            '#' => at == 0,
            _ => false,
        };
        if is_special {
            out.push(&format!("\\{c}"));
        } else {
            out.put(c);
        }
        if out.is_full {
            return;
        }
    }
}

/// The short name of a type of attribute: RFC 4514 section 3, and what else stands in certificates.
fn attribute_name(oid: &[u8]) -> Option<&'static str> {
    Some(match oid {
        [0x55, 0x04, 0x03] => "CN",
        [0x55, 0x04, 0x05] => "serialNumber",
        [0x55, 0x04, 0x06] => "C",
        [0x55, 0x04, 0x07] => "L",
        [0x55, 0x04, 0x08] => "ST",
        [0x55, 0x04, 0x09] => "STREET",
        [0x55, 0x04, 0x0a] => "O",
        [0x55, 0x04, 0x0b] => "OU",
        // 0.9.2342.19200300.100.1.25 and 1.
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x19] => "DC",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x01] => "UID",
        // 1.2.840.113549.1.9.1
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x01] => "emailAddress",
        _ => return None,
    })
}

/// The value as text, if it is one of ASN.1's many kinds of strings.
fn attribute_text(attribute: &AttributeTypeAndValue<'_>) -> Option<String> {
    let bytes = attribute.as_slice();
    match attribute.attr_value().tag() {
        Tag::Utf8String
        | Tag::PrintableString
        | Tag::Ia5String
        | Tag::NumericString
        | Tag::VisibleString => Some(std::str::from_utf8(bytes).ok()?.to_owned()),
        // In theory T.61, in certificates ISO 8859-1, whose characters are the first of Unicode.
        Tag::T61String => Some(bytes.iter().map(|&byte| char::from(byte)).collect()),
        Tag::BmpString => {
            let (pairs, rest) = bytes.as_chunks::<2>();
            let units: Vec<u16> = pairs.iter().map(|&pair| u16::from_be_bytes(pair)).collect();
            String::from_utf16(&units).ok().filter(|_| rest.is_empty())
        }
        _ => None,
    }
}

fn serial(octets: &[u8]) -> String {
    // A zero in front only says that the number is positive.
    let octets = match octets {
        [0, rest @ ..] if !rest.is_empty() => rest,
        whole => whole,
    };
    let kept = octets.len().min(SERIAL_MAX);
    let mut text = hex(octets.get(..kept).unwrap_or_default());
    if kept < octets.len() {
        text.push('…');
    }
    text
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(digit.into(), 16).unwrap_or('0'));
        }
    }
    text
}

/// Text that stops growing at a limit and then ends in `…`.
struct Bounded {
    text: String,
    limit: usize,
    is_full: bool,
}

impl Bounded {
    fn new(limit: usize) -> Self {
        Self {
            text: String::new(),
            limit,
            is_full: false,
        }
    }

    fn push(&mut self, piece: &str) {
        if self.is_full {
            return;
        }
        self.is_full = self.text.len() + piece.len() > self.limit - '…'.len_utf8();
        self.text.push_str(if self.is_full { "…" } else { piece });
    }

    /// Appends a character, each byte of one that is not shown as it stands as `\HH` (RFC 4514
    /// section 2.4).
    fn put(&mut self, c: char) {
        let mut buf = [0; 4];
        let piece = c.encode_utf8(&mut buf);
        // Of these `escape_debug` escapes two although they are shown.
        if matches!(c, '\'' | '"') || (c != '\\' && c.escape_debug().len() == 1) {
            return self.push(piece);
        }
        for byte in piece.bytes() {
            self.push(&format!("\\{byte:02X}"));
        }
    }
}

#[cfg(test)]
mod tests;
