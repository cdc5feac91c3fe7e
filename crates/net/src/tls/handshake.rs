//! What handshakes with clients and servers have in common.

use std::io::{self, IoSlice, Write};
use std::task::{Context, Poll, ready};

use clearway_outcome::{CertificateVerdict, TlsFacts, TlsOffer};
use rustls::{CommonState, ConnectionCommon, HandshakeKind, SideData};

use super::facts;
use crate::wire::Wire;

/// Bytes read at once during a handshake.
pub(super) const ROOM: usize = 8 * 1_024;

/// Longest method that is taken for one of HTTP; the longest registered one has 17 letters, and is about
/// calendars.
const METHOD_MAX: usize = 17;

/// Why a handshake cannot go on.
#[derive(Debug)]
pub enum HandshakeError {
    /// The connection failed; `UnexpectedEof` = the other side closed it.
    Io(io::Error),
    /// What came is not TLS at all.
    NotTls,
    /// TLS failed.
    Tls(rustls::Error),
}

impl From<io::Error> for HandshakeError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Whether bytes may be the start of a TLS connection: a record of a handshake, or an alert.
pub(super) fn may_be_tls(first: &[u8]) -> bool {
    match first {
        [kind, major, ..] => matches!(kind, 0x15 | 0x16) && *major == 3,
        [kind] => matches!(kind, 0x15 | 0x16),
        [] => true,
    }
}

/// Whether a client's first bytes are the start of a plain HTTP request: a method and a target; `None`
/// when more of them are needed to say so.
pub(super) fn plain_http(first: &[u8]) -> Option<bool> {
    let length = first.iter().take_while(|b| b.is_ascii_uppercase()).count();
    let (method, rest) = first.split_at(length);
    match rest {
        [] | [b' '] if length > 0 && length <= METHOD_MAX => None,
        // Origin form, `*`, absolute form; or an authority (RFC 9112 section 3.2).
        [b' ', b'/' | b'*' | b'h' | b'H', ..] => Some((3..=METHOD_MAX).contains(&length)),
        [b' ', ..] => Some(method == b"CONNECT"),
        _ => Some(false),
    }
}

/// Sends what the library has to say.
pub(super) fn poll_flush<Data: SideData>(
    cx: &mut Context<'_>,
    wire: &Wire,
    tls: &mut ConnectionCommon<Data>,
) -> Poll<io::Result<()>> {
    while tls.wants_write() {
        ready!(wire.poll_writable(cx))?;
        match tls.write_tls(&mut Sink(wire)) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Poll::Ready(Err(error)),
        }
    }
    Poll::Ready(Ok(()))
}

/// Sends as much as the socket takes at once: the alert before giving up.
pub(super) fn flush_now<Data: SideData>(wire: &Wire, tls: &mut ConnectionCommon<Data>) {
    while tls.wants_write() && tls.write_tls(&mut Sink(wire)).is_ok_and(|n| n > 0) {}
}

/// Feeds what came; says how many decrypted bytes are there now.
pub(super) fn digest<Data: SideData>(
    tls: &mut ConnectionCommon<Data>,
    mut bytes: &[u8],
) -> Result<usize, HandshakeError> {
    let mut unread = 0;
    while !bytes.is_empty() {
        if tls.read_tls(&mut bytes)? == 0 {
            break;
        }
        let state = tls.process_new_packets().map_err(HandshakeError::Tls)?;
        unread = state.plaintext_bytes_to_read();
    }
    Ok(unread)
}

/// What both sides have agreed on so far, and the certificate of the other, which somebody `verifies`
/// or nobody.
pub(super) fn facts(tls: &CommonState, verifies: bool) -> TlsFacts {
    let certificate = tls
        .peer_certificates()
        .and_then(|chain| facts::certificate(chain.first()?));
    let verdict = match certificate {
        Some(_) if verifies => CertificateVerdict::Verified,
        Some(_) => CertificateVerdict::NotVerified,
        None => CertificateVerdict::None,
    };
    TlsFacts {
        offered: 0,
        version: tls.protocol_version().map_or(0, u16::from),
        cipher: tls
            .negotiated_cipher_suite()
            .map_or(0, |suite| u16::from(suite.suite())),
        server_name: String::new(),
        alpn: tls.alpn_protocol().unwrap_or_default().to_vec(),
        resumed: tls.handshake_kind() == Some(HandshakeKind::Resumed),
        certificate,
        verdict,
        refusal: String::new(),
        offer: TlsOffer::default(),
    }
}

/// The socket as the library writes to it.
pub(super) struct Sink<'a>(pub(super) &'a Wire);

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.write_now(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_requests_are_told_from_other_protocols() {
        for (first, expected) in [
            (&b"GET / HTTP/1.1\r\n"[..], Some(true)),
            (b"OPTIONS * HTTP/1.1", Some(true)),
            (b"GET http://a/ HTTP/1.1", Some(true)),
            (b"CONNECT a:443 HTTP/1.1", Some(true)),
            (b"UPDATEREDIRECTREF /", Some(true)),
            (b"G", None),
            (b"GET", None),
            (b"GET ", None),
            (b"EHLO mail.test", Some(false)),
            (b"SSH-2.0-x", Some(false)),
            (b"AAAAAAAAAAAAAAAAAAAAAAA", Some(false)),
            (b"get / HTTP/1.1", Some(false)),
            (b"\x00", Some(false)),
        ] {
            assert_eq!(plain_http(first), expected, "{first:?}");
        }
    }
}
