//! The PROXY protocol, versions 1 and 2 (haproxy.org, `proxy-protocol.txt`), both ways.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use clearway_outcome::FaultKind;

/// The twelve bytes that begin a version 2 header.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Longest version 1 header, with its CRLF.
const V1_MAX: usize = 107;
/// Longest version 2 header taken, TLVs included.
const V2_MAX: usize = 4_096;

/// How far a header has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parse {
    /// More bytes are needed.
    Partial,
    /// The header is complete.
    Complete {
        /// Its length in bytes.
        len: usize,
        /// The client, when the header names one.
        source: Option<SocketAddr>,
        /// Where the client connected to, when the header says so.
        destination: Option<SocketAddr>,
        /// Where in the header further fields begin (section 2.2); its length where there are none.
        fields: usize,
    },
}

/// Type of the field with the name that the client asked for.
pub const AUTHORITY: u8 = 2;
/// Type of the field with the id that the sender has given the connection.
pub const UNIQUE_ID: u8 = 5;

/// The value of the first field of a type among the further fields of a header.
#[must_use]
pub fn field(fields: &[u8], kind: u8) -> Option<&[u8]> {
    let mut rest = fields;
    while let Some((own, value, behind)) = next_field(rest) {
        if own == kind {
            return Some(value);
        }
        rest = behind;
    }
    None
}

/// A field, and what stands behind it.
fn next_field(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[kind, high, low], rest) = bytes.split_first_chunk::<3>()?;
    let length = usize::from(u16::from_be_bytes([high, low]));
    let (value, behind) = rest.split_at_checked(length)?;
    Some((kind, value, behind))
}

/// Whether fields end where the header does.
fn are_sound(fields: &[u8]) -> bool {
    let mut rest = fields;
    while let Some((_, _, behind)) = next_field(rest) {
        rest = behind;
    }
    rest.is_empty()
}

/// Parses a header of either version at the start of `buf`.
///
/// # Errors
/// [`FaultKind::ProxyHeaderInvalid`].
pub fn parse(buf: &[u8]) -> Result<Parse, FaultKind> {
    let head = buf.len().min(SIGNATURE.len());
    if buf.get(..head) == SIGNATURE.get(..head) {
        return if head < SIGNATURE.len() {
            Ok(Parse::Partial)
        } else {
            parse_v2(buf)
        };
    }
    let prefix = b"PROXY ";
    let head = buf.len().min(prefix.len());
    if buf.get(..head) == prefix.get(..head) {
        return parse_v1(buf);
    }
    Err(FaultKind::ProxyHeaderInvalid)
}

fn parse_v1(buf: &[u8]) -> Result<Parse, FaultKind> {
    let window = buf.get(..buf.len().min(V1_MAX)).unwrap_or_default();
    let Some(end) = memchr::memchr(b'\n', window) else {
        return if buf.len() < V1_MAX {
            Ok(Parse::Partial)
        } else {
            Err(FaultKind::ProxyHeaderInvalid)
        };
    };
    read_v1(window.get(..end).unwrap_or_default())
        .map(|(source, destination)| Parse::Complete {
            len: end + 1,
            source,
            destination,
            fields: end + 1,
        })
        .ok_or(FaultKind::ProxyHeaderInvalid)
}

fn read_v1(line: &[u8]) -> Option<(Option<SocketAddr>, Option<SocketAddr>)> {
    let text = std::str::from_utf8(line.strip_suffix(b"\r")?).ok()?;
    let mut words = text.split(' ').skip(1);
    let family = words.next()?;
    if family == "UNKNOWN" {
        return Some((None, None));
    }
    let source: IpAddr = words.next()?.parse().ok()?;
    let destination: IpAddr = words.next()?.parse().ok()?;
    let fits = match family {
        "TCP4" => source.is_ipv4() && destination.is_ipv4(),
        "TCP6" => source.is_ipv6() && destination.is_ipv6(),
        _ => false,
    };
    let port = |word: &str| -> Option<u16> {
        let plain = word == "0" || !word.starts_with(['0', '+']);
        plain.then(|| word.parse().ok())?
    };
    let (from, to) = (port(words.next()?)?, port(words.next()?)?);
    (fits && words.next().is_none()).then(|| {
        (
            Some(SocketAddr::new(source, from)),
            Some(SocketAddr::new(destination, to)),
        )
    })
}

fn parse_v2(buf: &[u8]) -> Result<Parse, FaultKind> {
    let Some(&[version_command, family, high, low]) = buf.get(12..16) else {
        return Ok(Parse::Partial);
    };
    let body_len = usize::from(u16::from_be_bytes([high, low]));
    let len = 16 + body_len;
    if version_command >> 4 != 2 || version_command & 15 > 1 || len > V2_MAX {
        return Err(FaultKind::ProxyHeaderInvalid);
    }
    let Some(body) = buf.get(16..len) else {
        return Ok(Parse::Partial);
    };
    let addresses = match family >> 4 {
        1 => 12,
        2 => 36,
        3 => 216,
        _ => 0,
    };
    let own = body.get(addresses..).unwrap_or_default();
    if family >> 4 != 0 && !are_sound(own) {
        return Err(FaultKind::ProxyHeaderInvalid);
    }
    // LOCAL: a health check of the proxy itself; the addresses mean nothing.
    let (source, destination) = if version_command & 15 == 0 {
        (None, None)
    } else {
        addresses_v2(family, body)?
    };
    Ok(Parse::Complete {
        len,
        source,
        destination,
        fields: (16 + addresses).min(len),
    })
}

type Pair = (Option<SocketAddr>, Option<SocketAddr>);

fn addresses_v2(family: u8, body: &[u8]) -> Result<Pair, FaultKind> {
    let port = |at: usize| -> Option<u16> {
        body.get(at..at + 2)?
            .try_into()
            .ok()
            .map(u16::from_be_bytes)
    };
    let found = match family >> 4 {
        // Unspecified, or Unix sockets: nothing to tell.
        0 | 3 => return Ok((None, None)),
        1 => {
            let ip = |at: usize| -> Option<IpAddr> {
                let octets: [u8; 4] = body.get(at..at + 4)?.try_into().ok()?;
                Some(Ipv4Addr::from(octets).into())
            };
            ip(0).zip(port(8)).zip(ip(4).zip(port(10)))
        }
        2 => {
            let ip = |at: usize| -> Option<IpAddr> {
                let octets: [u8; 16] = body.get(at..at + 16)?.try_into().ok()?;
                Some(Ipv6Addr::from(octets).into())
            };
            ip(0).zip(port(32)).zip(ip(16).zip(port(34)))
        }
        _ => None,
    };
    let ((from, from_port), (to, to_port)) = found.ok_or(FaultKind::ProxyHeaderInvalid)?;
    Ok((
        Some(SocketAddr::new(from, from_port)),
        Some(SocketAddr::new(to, to_port)),
    ))
}

/// Writes a version 1 header; `UNKNOWN` when an address is missing or the families differ.
pub fn write_v1(source: Option<SocketAddr>, destination: Option<SocketAddr>, out: &mut Vec<u8>) {
    use std::io::Write;
    let (Some(from), Some(to)) = (source, destination) else {
        return out.extend_from_slice(b"PROXY UNKNOWN\r\n");
    };
    let family = match (from, to) {
        (SocketAddr::V4(_), SocketAddr::V4(_)) => "TCP4",
        (SocketAddr::V6(_), SocketAddr::V6(_)) => "TCP6",
        _ => return out.extend_from_slice(b"PROXY UNKNOWN\r\n"),
    };
    // Writing into memory cannot fail.
    write!(
        out,
        "PROXY {family} {} {} {} {}\r\n",
        from.ip(),
        to.ip(),
        from.port(),
        to.port()
    )
    .unwrap_or_default();
}

/// Writes a version 2 header; LOCAL when an address is missing or the families differ.
pub fn write_v2(source: Option<SocketAddr>, destination: Option<SocketAddr>, out: &mut Vec<u8>) {
    out.extend_from_slice(SIGNATURE);
    match (source, destination) {
        (Some(SocketAddr::V4(from)), Some(SocketAddr::V4(to))) => {
            out.extend_from_slice(&[0x21, 0x11, 0, 12]);
            out.extend_from_slice(&from.ip().octets());
            out.extend_from_slice(&to.ip().octets());
            out.extend_from_slice(&from.port().to_be_bytes());
            out.extend_from_slice(&to.port().to_be_bytes());
        }
        (Some(SocketAddr::V6(from)), Some(SocketAddr::V6(to))) => {
            out.extend_from_slice(&[0x21, 0x21, 0, 36]);
            out.extend_from_slice(&from.ip().octets());
            out.extend_from_slice(&to.ip().octets());
            out.extend_from_slice(&from.port().to_be_bytes());
            out.extend_from_slice(&to.port().to_be_bytes());
        }
        _ => out.extend_from_slice(&[0x20, 0, 0, 0]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_survive_write_and_parse_under_any_split() {
        let pairs = [
            ("10.0.0.1:4000", "10.0.0.2:80"),
            ("[2001:db8::1]:4000", "[2001:db8::2]:443"),
        ];
        for (from, to) in pairs {
            let (from, to) = (Some(from.parse().unwrap()), Some(to.parse().unwrap()));
            for write in [write_v1, write_v2] {
                let mut out = Vec::new();
                write(from, to, &mut out);
                let whole = Parse::Complete {
                    len: out.len(),
                    source: from,
                    destination: to,
                    fields: out.len(),
                };
                for cut in 0..out.len() {
                    assert_eq!(parse(&out[..cut]), Ok(Parse::Partial), "cut {cut}");
                }
                out.extend_from_slice(b"GET /");
                assert_eq!(parse(&out), Ok(whole));
            }
        }
        let mut out = Vec::new();
        write_v2(None, None, &mut out);
        assert_eq!(
            parse(&out),
            Ok(Parse::Complete {
                len: 16,
                source: None,
                destination: None,
                fields: 16,
            })
        );
    }

    #[test]
    fn further_fields_are_found_and_have_to_end_with_the_header() {
        let header = |fields: &[u8]| {
            let mut out = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0".to_vec();
            out.push(12 + u8::try_from(fields.len()).unwrap());
            out.extend([127, 0, 0, 1, 127, 0, 0, 1, 0, 1, 0, 2]);
            out.extend(fields);
            out
        };
        let whole = header(b"\x02\0\x01a\x05\0\x02id");
        let Ok(Parse::Complete { len, fields, .. }) = parse(&whole) else {
            panic!("it is complete");
        };
        let fields = &whole[fields..len];
        assert_eq!(field(fields, AUTHORITY), Some(&b"a"[..]));
        assert_eq!(field(fields, UNIQUE_ID), Some(&b"id"[..]));
        assert_eq!(field(fields, 1), None);
        for broken in [&b"\x02\0\x05a"[..], b"\x02\0", b"\x02\0\x01ab"] {
            assert_eq!(parse(&header(broken)), Err(FaultKind::ProxyHeaderInvalid));
        }
    }

    #[test]
    fn broken_headers_are_refused() {
        let cases: [&[u8]; 8] = [
            b"GET / HTTP/1.1\r\n",
            b"PROXY TCP4 1.2.3.4 5.6.7.8 1 70000\r\n",
            b"PROXY TCP4 ::1 ::2 1 2\r\n",
            b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n",
            b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n",
            b"PROXY TCP4 1.2.3.4 5.6.7.8 01 2\r\n",
            b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x02ab",
        ];
        for case in cases {
            assert_eq!(parse(case), Err(FaultKind::ProxyHeaderInvalid), "{case:?}");
        }
        assert!(parse(&[b'A'; 200]).is_err());
        let long = [&b"PROXY TCP4 "[..], &[b'1'; 200]].concat();
        assert!(parse(&long).is_err());
    }
}
