//! The record of one whole request (or layer-4 connection): what logs print and receipts keep.

use clearway_base::clock::Stamp;
use clearway_base::intern::Name;

use crate::address::Address;
use crate::attempt::Attempt;
use crate::grpc::GrpcStatus;
use crate::kind::Fault;
use crate::tls::TlsFacts;

/// A request's id: unique within the process's life and, with 64 random bits, in practice beyond.
///
/// Printed as 13 characters of Crockford base 32, which have no look-alikes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RequestId(pub u64);

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

impl RequestId {
    /// The 13 characters.
    #[must_use]
    pub fn text(self) -> [u8; 13] {
        let mut out = [b'0'; 13];
        let mut rest = self.0;
        for place in out.iter_mut().rev() {
            let digit = usize::try_from(rest & 31).unwrap_or(0);
            *place = ALPHABET.get(digit).copied().unwrap_or(b'0');
            rest >>= 5;
        }
        out
    }

    /// Reads what [`RequestId::text`] wrote; upper case and the usual confusions (o, i, l) are taken.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 13 {
            return None;
        }
        let mut value: u64 = 0;
        for byte in text.bytes() {
            let byte = match byte.to_ascii_lowercase() {
                b'o' => b'0',
                b'i' | b'l' => b'1',
                other => other,
            };
            let digit = ALPHABET.iter().position(|&known| known == byte)?;
            value = value.checked_mul(32)?.checked_add(digit as u64)?;
        }
        Some(Self(value))
    }
}

impl std::fmt::Display for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(std::str::from_utf8(&self.text()).unwrap_or("-"))
    }
}

/// What was spoken with the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Protocol {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
    /// HTTP/2.
    Http2,
    /// Bytes at layer 4.
    Tcp,
}

impl Protocol {
    /// As it stands in a request line; `TCP` at layer 4.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
            Self::Http2 => "HTTP/2.0",
            Self::Tcp => "TCP",
        }
    }
}

/// When the steps on the client's side happened, in microseconds from [`Record::started`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    /// From the first byte of the request until its head was complete.
    pub head_us: u64,
    /// Until everything was over.
    pub total_us: u64,
}

/// One whole request, from the client's first byte to the last of the response.
///
/// Text fields are the client's bytes, unescaped: whoever prints them escapes them.
#[derive(Clone, Debug)]
pub struct Record<'a> {
    /// The id that is given to the client when the request fails.
    pub id: RequestId,
    /// When the first byte of the request came (layer 4: when the connection was accepted).
    pub started: Stamp,
    /// The client's address, after PROXY header.
    pub client: Address,
    /// The listener's name.
    pub listener: Name,
    /// The route that matched, or [`Name::NONE`].
    pub route: Name,
    /// The backend chosen, or [`Name::NONE`].
    pub backend: Name,
    /// What was spoken with the client.
    pub protocol: Protocol,
    /// TLS with the client, where it was spoken.
    pub tls: Option<&'a TlsFacts>,
    /// Request method; empty at layer 4 or when it could not be parsed.
    pub method: &'a [u8],
    /// Request target as received, query included.
    pub target: &'a [u8],
    /// Host of the request.
    pub host: &'a [u8],
    /// `Referer`, empty when absent.
    pub referer: &'a [u8],
    /// `User-Agent`, empty when absent.
    pub user_agent: &'a [u8],
    /// Status sent to the client; 0 when none was.
    pub status: u16,
    /// Outcome of a call of gRPC, where one was told.
    pub grpc_status: Option<GrpcStatus>,
    /// Bytes read from the client for this request.
    pub bytes_in: u64,
    /// Bytes written to the client for this request, head included.
    pub bytes_out: u64,
    /// Body bytes written to the client.
    pub body_out: u64,
    /// Times on the client's side.
    pub timings: Timings,
    /// The tries, in order; empty when the balancer answered by itself.
    pub attempts: &'a [Attempt],
    /// What the request failed with as a whole; `None` when it succeeded, also after retries.
    pub fault: Option<Fault>,
    /// Connections open on the listener and in flight on the backend when it ended.
    pub connections: (u32, u32),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_survive_print_and_parse() {
        for id in [0, 1, 31, 32, 0x0123_4567_89ab_cdef, u64::MAX] {
            let id = RequestId(id);
            assert_eq!(RequestId::parse(&id.to_string()), Some(id));
            assert_eq!(RequestId::parse(&id.to_string().to_uppercase()), Some(id));
        }
        assert_eq!(RequestId::parse("short"), None);
        assert_eq!(RequestId::parse("zzzzzzzzzzzzz"), None);
    }
}
