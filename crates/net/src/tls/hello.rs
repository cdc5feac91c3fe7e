//! The ClientHello out of raw bytes (RFC 8446 section 4.1.2), for choosing a backend without decrypting
//! and for saying what a client offered.
//!
//! Strict: what two parsers could read in two ways is refused, because the server behind reads the same
//! bytes again. Nothing is decrypted, so with Encrypted Client Hello the name is the outer one. Not
//! here: which offers are acceptable.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use clearway_outcome::FaultKind;
use rustls_pki_types::DnsName;

use super::handshake::plain_http;

/// Default for the most bytes that a hello may take, record headers included.
///
/// Browsers need two kilobytes, half of it the key share of a post-quantum key exchange; the rest is
/// for long session tickets.
pub const HELLO_MAX: usize = 16 * 1024;

/// Longest fragment of a record (RFC 8446 section 5.1).
const FRAGMENT_MAX: usize = 1 << 14;
const HANDSHAKE: u8 = 22;
const ALERT: u8 = 21;
const CLIENT_HELLO: u8 = 1;

/// How far a hello has been read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More bytes are needed.
    Partial,
    /// It is complete.
    Complete(Box<Hello>),
}

/// Why bytes are not taken for a hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The kind of fault that it is.
    pub kind: FaultKind,
    /// What is wrong, in words.
    pub why: &'static str,
}

/// What a client offers. Values that only keep servers tolerant (GREASE, RFC 8701) are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hello {
    /// Bytes from the first record's header to the end of the hello.
    pub len: usize,
    /// The DNS name asked for (SNI, RFC 6066 section 3) in lower case and without a dot at its end;
    /// `None` when none is, or an IP address, which that section forbids and everybody ignores.
    pub server_name: Option<String>,
    /// The versions offered, in the client's order; one where the client knows no more than TLS 1.2: the
    /// highest it takes.
    pub versions: Vec<u16>,
    /// Cipher suites offered, in the client's order.
    pub cipher_suites: Vec<u16>,
    /// Groups for the key exchange, in the client's order.
    pub groups: Vec<u16>,
    /// Signature schemes that the client verifies, in its order.
    pub signature_schemes: Vec<u16>,
    /// The list of application protocols as it stands in the hello, without its length.
    protocols: Vec<u8>,
}

impl Hello {
    /// The application protocols offered (ALPN, RFC 7301), in the client's order.
    pub fn alpn(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = Input(&self.protocols);
        std::iter::from_fn(move || rest.vector8()).filter(|name| !is_grease_name(name))
    }

    /// Whether TLS 1.3 is among the versions offered.
    #[must_use]
    pub fn is_tls13_offered(&self) -> bool {
        self.versions.contains(&0x0304)
    }
}

/// For a receipt: `TLSv1.3 and TLSv1.2 for api.example.org, ALPN h2 and http/1.1`.
impl fmt::Display for Hello {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, version) in self.versions.iter().enumerate() {
            f.write_str(if at > 0 { " and " } else { "" })?;
            match version {
                0x0304 => f.write_str("TLSv1.3")?,
                0x0303 => f.write_str("TLSv1.2")?,
                0x0302 => f.write_str("TLSv1.1")?,
                0x0301 => f.write_str("TLSv1.0")?,
                0x0300 => f.write_str("SSLv3")?,
                other => write!(f, "version {other:#06x}")?,
            }
        }
        match &self.server_name {
            Some(name) => write!(f, " for {name}")?,
            None => f.write_str(" without a server name")?,
        }
        for (at, name) in self.alpn().enumerate() {
            f.write_str(if at > 0 { " and " } else { ", ALPN " })?;
            write!(f, "{}", name.escape_ascii())?;
        }
        Ok(())
    }
}

/// Parses the hello at the start of `bytes`, which may lie in several records; `limit` bounds its length
/// with record headers ([`HELLO_MAX`]).
///
/// Bytes behind the record in which the hello ends are not looked at.
///
/// # Errors
/// As soon as the bytes cannot become a hello: [`FaultKind::HttpOnTlsPort`], [`FaultKind::NotTls`],
/// [`FaultKind::TlsVersionMismatch`] for what is older than SSL 3.0, [`FaultKind::TlsClientProtocol`] for
/// the rest.
pub fn parse(bytes: &[u8], limit: usize) -> Result<Progress, Refused> {
    if let Some(answer) = foreign(bytes) {
        return answer.map(|()| Progress::Partial);
    }
    let mut message = Vec::new();
    let mut input = Input(bytes);
    loop {
        // Content type, version, length (RFC 8446 section 5.1). The version may be any of SSL 3.0 or
        // later, which all begin with 3.
        match input.0 {
            [] | [HANDSHAKE] | [HANDSHAKE, 3, ..] => {}
            [ALERT, ..] => return broken("the client sent an alert instead of a ClientHello"),
            [HANDSHAKE, ..] => return broken("a record has a version that is none of TLS"),
            _ => return broken("another record stands inside the ClientHello"),
        }
        let header = input.array::<5>();
        let Some([_, _, _, high, low]) = header else {
            return partial(bytes, limit);
        };
        let len = usize::from(u16::from_be_bytes([high, low]));
        if len == 0 {
            return broken("a record of the handshake is empty");
        }
        if len > FRAGMENT_MAX {
            return broken("a record is longer than 16384 bytes");
        }
        let fragment = input.0.get(..len.min(input.0.len())).unwrap_or_default();
        message.extend_from_slice(fragment);
        let before = message.len() - fragment.len();
        let Some(end) = message_end(&message)? else {
            if fragment.len() < len {
                return partial(bytes, limit);
            }
            input.0 = input.0.get(len..).unwrap_or_default();
            continue;
        };
        let read = bytes.len() - input.0.len();
        if read + end - before > limit {
            return broken("the ClientHello is longer than the limit");
        }
        if before + len > end {
            // RFC 8446 section 5.1: nothing may follow before the server answers.
            return broken("something follows the ClientHello in its record");
        }
        if fragment.len() < len {
            return partial(bytes, limit);
        }
        if before + len == end {
            let body = message.get(4..end).unwrap_or_default();
            let mut hello = read_hello(body)?;
            hello.len = read + len;
            return Ok(Progress::Complete(Box::new(hello)));
        }
        input.0 = input.0.get(len..).unwrap_or_default();
    }
}

fn refuse<T>(kind: FaultKind, why: &'static str) -> Result<T, Refused> {
    Err(Refused { kind, why })
}

fn broken<T>(why: &'static str) -> Result<T, Refused> {
    refuse(FaultKind::TlsClientProtocol, why)
}

fn partial(bytes: &[u8], limit: usize) -> Result<Progress, Refused> {
    if bytes.len() >= limit {
        return broken("the ClientHello is longer than the limit");
    }
    Ok(Progress::Partial)
}

/// What does not begin like a record of TLS; `Some(Ok)` when more bytes are needed to tell.
fn foreign(bytes: &[u8]) -> Option<Result<(), Refused>> {
    match bytes {
        [HANDSHAKE | ALERT, 3, ..] => None,
        [] | [0x14..=0x17] => Some(Ok(())),
        // A record header of two bytes with the highest bit set, then the message (RFC 5246 appendix
        // E.2).
        [0x80..=0xff, _, CLIENT_HELLO, 0, 2, ..] | [0x80..=0xff, _, CLIENT_HELLO, 3, _, ..] => {
            Some(refuse(
                FaultKind::TlsVersionMismatch,
                "the ClientHello has the form of SSL 2.0, which RFC 6176 forbids",
            ))
        }
        [0x80..=0xff]
        | [0x80..=0xff, _]
        | [0x80..=0xff, _, CLIENT_HELLO]
        | [0x80..=0xff, _, CLIENT_HELLO, 0 | 3] => Some(Ok(())),
        [0x14 | 0x17, 3, ..] => Some(broken("the first record is not of a handshake")),
        _ => Some(match plain_http(bytes) {
            None => Ok(()),
            Some(true) => refuse(
                FaultKind::HttpOnTlsPort,
                "the client speaks HTTP without TLS",
            ),
            Some(false) => refuse(FaultKind::NotTls, "the first bytes are not a record of TLS"),
        }),
    }
}

/// Where the handshake message at the start of `message` ends, once its header is there.
fn message_end(message: &[u8]) -> Result<Option<usize>, Refused> {
    match message {
        [] | [CLIENT_HELLO] | [CLIENT_HELLO, _] | [CLIENT_HELLO, _, _] => Ok(None),
        [CLIENT_HELLO, high, middle, low, ..] => {
            let len = u32::from_be_bytes([0, *high, *middle, *low]);
            Ok(Some(4 + usize::try_from(len).unwrap_or(usize::MAX - 4)))
        }
        _ => broken("the first message of the handshake is not a ClientHello"),
    }
}

/// What is left to read of a message.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(head)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    /// Bytes with their number before them in one byte.
    fn vector8(&mut self) -> Option<&'a [u8]> {
        let [len] = self.array()?;
        self.take(len.into())
    }

    /// Bytes with their number before them in two bytes.
    fn vector16(&mut self) -> Option<&'a [u8]> {
        let len = self.u16()?;
        self.take(len.into())
    }

    /// Whether nothing is left.
    fn is_done(&self) -> bool {
        self.0.is_empty()
    }
}

fn read_hello(body: &[u8]) -> Result<Hello, Refused> {
    let mut input = Input(body);
    let mut hello = Hello::default();
    let Some(legacy) = input.u16() else {
        return broken("the ClientHello is cut short");
    };
    if legacy < 0x0300 {
        return refuse(
            FaultKind::TlsVersionMismatch,
            "the ClientHello is of a version before SSL 3.0",
        );
    }
    let random = input.take(32);
    let session = input.vector8().filter(|session| session.len() <= 32);
    if random.is_none() || session.is_none() {
        return broken("the ClientHello is cut short or its session id is too long");
    }
    hello.cipher_suites = match input.vector16().and_then(numbers) {
        Some(suites) => suites,
        None => return broken("the list of cipher suites is malformed"),
    };
    // RFC 8446 section 4.1.2: "no compression" is always among them.
    if !input.vector8().is_some_and(|list| list.contains(&0)) {
        return broken("the list of compression methods is malformed");
    }
    // Before TLS 1.3 extensions may be missing as a whole (RFC 5246 section 7.4.1.2).
    if !input.is_done() {
        match input.vector16().filter(|_| input.is_done()) {
            Some(extensions) => read_extensions(extensions, &mut hello)?,
            None => return broken("the extensions do not end where the ClientHello does"),
        }
    }
    if hello.versions.is_empty() {
        // Without the extension a server takes TLS 1.2 at most (RFC 8446 section 4.2.1).
        hello.versions.push(legacy.min(0x0303));
    }
    Ok(hello)
}

fn read_extensions(bytes: &[u8], hello: &mut Hello) -> Result<(), Refused> {
    let mut input = Input(bytes);
    let mut kinds = Vec::new();
    while !input.is_done() {
        let (Some(kind), Some(data)) = (input.u16(), input.vector16()) else {
            return broken("an extension is longer than the ClientHello");
        };
        kinds.push(kind);
        read_extension(kind, data, hello)?;
    }
    if kinds
        .iter()
        .rev()
        .skip(1)
        .any(|&kind| kind == PRE_SHARED_KEY)
    {
        return broken("the extension pre_shared_key is not the last one");
    }
    kinds.sort_unstable();
    if kinds.array_windows::<2>().any(|[a, b]| a == b) {
        return broken("an extension stands in the ClientHello twice");
    }
    Ok(())
}

/// RFC 8446 section 4.2.11: nothing follows it.
const PRE_SHARED_KEY: u16 = 41;

fn read_extension(kind: u16, data: &[u8], hello: &mut Hello) -> Result<(), Refused> {
    let mut input = Input(data);
    // A list of numbers that is all there is of an extension, with its length before it in two bytes.
    let mut list = || {
        input
            .vector16()
            .filter(|_| input.is_done())
            .and_then(numbers)
    };
    match kind {
        0 => hello.server_name = read_server_name(data)?,
        10 => match list() {
            Some(groups) => hello.groups = groups,
            None => return broken("the extension supported_groups is malformed"),
        },
        13 => match list() {
            Some(schemes) => hello.signature_schemes = schemes,
            None => return broken("the extension signature_algorithms is malformed"),
        },
        16 => match read_protocols(data) {
            Some(protocols) => hello.protocols = protocols.to_vec(),
            None => return broken("the list of application protocols (ALPN) is malformed"),
        },
        43 => {
            let list = input.vector8().filter(|_| input.is_done());
            match list.and_then(numbers) {
                Some(versions) if !versions.is_empty() => hello.versions = versions,
                Some(_) => {
                    return refuse(
                        FaultKind::TlsVersionMismatch,
                        "the ClientHello offers no version that exists",
                    );
                }
                None => return broken("the extension supported_versions is malformed"),
            }
        }
        _ => {}
    }
    Ok(())
}

/// A list of at least one number, without those of GREASE.
fn numbers(bytes: &[u8]) -> Option<Vec<u16>> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let numbers = pairs.iter().map(|&pair| u16::from_be_bytes(pair));
    (rest.is_empty() && !pairs.is_empty())
        .then(|| numbers.filter(|&number| !is_grease(number)).collect())
}

/// RFC 8701 section 2: `0x0a0a`, `0x1a1a` to `0xfafa`.
fn is_grease(number: u16) -> bool {
    let [high, low] = number.to_be_bytes();
    high == low && low & 15 == 10
}

fn is_grease_name(name: &[u8]) -> bool {
    matches!(name, &[high, low] if is_grease(u16::from_be_bytes([high, low])))
}

/// The extension's list of names (RFC 6066 section 3), of which one may be a DNS name.
fn read_server_name(data: &[u8]) -> Result<Option<String>, Refused> {
    const MALFORMED: &str = "the extension server_name is malformed";
    let mut input = Input(data);
    let Some(list) = input
        .vector16()
        .filter(|list| !list.is_empty() && input.is_done())
    else {
        return broken(MALFORMED);
    };
    let mut found = None;
    let mut list = Input(list);
    while !list.is_done() {
        let (Some([kind]), Some(name)) = (list.array(), list.vector16()) else {
            return broken(MALFORMED);
        };
        if kind != 0 {
            continue;
        }
        if found.replace(name).is_some() {
            return broken("the ClientHello asks for more than one server name");
        }
    }
    found.map_or(Ok(None), host_name)
}

/// A name to compare others with; `None` for an IP address.
fn host_name(name: &[u8]) -> Result<Option<String>, Refused> {
    let Ok(text) = std::str::from_utf8(name) else {
        return broken("the server name asked for is not a DNS name");
    };
    if IpAddr::from_str(text).is_ok() {
        return Ok(None);
    }
    if DnsName::try_from(text).is_err() {
        return broken("the server name asked for is not a DNS name");
    }
    let text = text.strip_suffix('.').unwrap_or(text);
    Ok(Some(text.to_ascii_lowercase()))
}

/// The extension's list of protocols (RFC 7301 section 3.1): at least one, none without a name.
fn read_protocols(data: &[u8]) -> Option<&[u8]> {
    let mut input = Input(data);
    let list = input.vector16().filter(|_| input.is_done())?;
    let mut names = Input(list);
    while !names.is_done() {
        names.vector8().filter(|name| !name.is_empty())?;
    }
    Some(list).filter(|list| !list.is_empty())
}

#[cfg(test)]
mod tests;
