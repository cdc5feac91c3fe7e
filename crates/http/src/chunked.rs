//! The chunked coding (RFC 9112 section 7.1): followed strictly, never copied.

use clearway_outcome::FaultKind;

use crate::head::{Field, HeadLimits, Known};
use crate::scan;

/// Most bytes of extensions in one chunk line.
const EXTENSION_MAX: usize = 256;
/// Most bytes of a trailer section.
const TRAILER_MAX: usize = 8 * 1_024;
/// Most fields of a trailer section.
const TRAILER_COUNT: usize = 64;

/// What a step over some input found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Relayed {
    /// Bytes at the start that are not to be passed on.
    pub skip: usize,
    /// Bytes after those that are.
    pub pass: usize,
    /// Bytes that have been dealt with in all.
    pub used: usize,
    /// The body is over.
    pub done: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// In a chunk line: digits so far.
    Size {
        digits: u8,
    },
    /// In the extension of a chunk line: bytes so far.
    Extension {
        len: usize,
    },
    /// After the CR of a chunk line.
    SizeLf,
    Data,
    /// After a chunk's data.
    DataCr,
    DataLf,
    /// In the trailer section.
    Trailers,
    Done,
}

/// Follows a chunked body over any number of buffers.
#[derive(Clone, Debug)]
pub struct ChunkedDecoder {
    at: At,
    /// Size of the chunk being read, or what is left of its data.
    left: u64,
    /// Trailer section so far: it is small and needed as a whole.
    trailers: Vec<u8>,
}

impl Default for ChunkedDecoder {
    fn default() -> Self {
        Self {
            at: At::Size { digits: 0 },
            left: 0,
            trailers: Vec::new(),
        }
    }
}

impl ChunkedDecoder {
    /// Looks over `input` for passing it on as it is: all up to the line of the last chunk may be
    /// passed verbatim, and so may an empty trailer section. Another one is not; once complete it is
    /// written to `out`, with its empty line, and without fields that a trailer must not have
    /// (RFC 9110 section 6.5.1).
    ///
    /// # Errors
    /// The fault kind on the client's side of the table.
    pub fn relay(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<Relayed, FaultKind> {
        let mut at = 0;
        while at < input.len() && self.at != At::Trailers && self.at != At::Done {
            at += self.step(input, at)?.0;
        }
        at += self.empty_trailer(input, at);
        let pass = at;
        if self.at == At::Trailers {
            at += self.trailer(input.get(at..).unwrap_or_default(), out)?;
        }
        Ok(Relayed {
            skip: 0,
            pass,
            used: at,
            done: self.at == At::Done,
        })
    }

    /// Finds the next run of body data in `input`, without framing. A trailer section that is complete
    /// is written to `out`, with its empty line, and without fields that a trailer must not have.
    ///
    /// # Errors
    /// The fault kind on the client's side of the table.
    pub fn extract(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<Relayed, FaultKind> {
        let mut at = 0;
        while at < input.len() && self.at != At::Done {
            at += self.empty_trailer(input, at);
            if self.at == At::Trailers {
                at += self.trailer(input.get(at..).unwrap_or_default(), out)?;
                continue;
            }
            let (count, is_data) = self.step(input, at)?;
            if is_data {
                return Ok(Relayed {
                    skip: at,
                    pass: count,
                    used: at + count,
                    done: false,
                });
            }
            at += count;
        }
        Ok(Relayed {
            skip: at,
            pass: 0,
            used: at,
            done: self.at == At::Done,
        })
    }

    /// One step over the byte or run of data at `at`: how many bytes, and whether they are data.
    fn step(&mut self, input: &[u8], at: usize) -> Result<(usize, bool), FaultKind> {
        let byte = input.get(at).copied().unwrap_or_default();
        self.at = match self.at {
            At::Data => {
                let here = input.len() - at;
                let count = here.min(usize::try_from(self.left).unwrap_or(usize::MAX));
                self.left -= count as u64;
                if self.left == 0 {
                    self.at = At::DataCr;
                }
                return Ok((count, true));
            }
            At::Size { digits } => match byte {
                b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F' => {
                    if digits == 16 {
                        return Err(FaultKind::ChunkSizeInvalid);
                    }
                    let digit = char::from(byte).to_digit(16).unwrap_or(0);
                    self.left = self.left << 4 | u64::from(digit);
                    At::Size { digits: digits + 1 }
                }
                _ if digits == 0 => return Err(FaultKind::ChunkSizeInvalid),
                b'\r' => At::SizeLf,
                b';' => At::Extension { len: 1 },
                b'\n' => return Err(FaultKind::ChunkFramingInvalid),
                _ => return Err(FaultKind::ChunkSizeInvalid),
            },
            At::Extension { len } => match byte {
                b'\r' => At::SizeLf,
                _ if len < EXTENSION_MAX && scan::is_value(byte) => At::Extension { len: len + 1 },
                _ => return Err(FaultKind::ChunkFramingInvalid),
            },
            At::SizeLf if byte == b'\n' && self.left == 0 => At::Trailers,
            At::SizeLf if byte == b'\n' => At::Data,
            At::DataCr if byte == b'\r' => At::DataLf,
            At::DataLf if byte == b'\n' => At::Size { digits: 0 },
            At::SizeLf | At::DataCr | At::DataLf => return Err(FaultKind::ChunkFramingInvalid),
            At::Trailers | At::Done => return Ok((0, false)),
        };
        Ok((1, false))
    }

    /// Takes an empty trailer section at `at`: the usual one.
    fn empty_trailer(&mut self, input: &[u8], at: usize) -> usize {
        let rest = input.get(at..).unwrap_or_default();
        if self.at != At::Trailers || !self.trailers.is_empty() || !rest.starts_with(b"\r\n") {
            return 0;
        }
        self.at = At::Done;
        2
    }

    /// Gathers the trailer section; says how many bytes of `input` belong to it.
    fn trailer(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<usize, FaultKind> {
        let before = self.trailers.len();
        let room = (TRAILER_MAX + 1).saturating_sub(before).min(input.len());
        self.trailers
            .extend_from_slice(input.get(..room).unwrap_or_default());
        let mut kept: Vec<Field> = Vec::new();
        let limits = HeadLimits {
            line: 0,
            bytes: TRAILER_MAX + 1,
            count: TRAILER_COUNT,
            ..HeadLimits::default()
        };
        let end = scan::section(&self.trailers, &mut 0, &limits, &mut kept);
        let Some(end) = end.map_err(|_| FaultKind::TrailerInvalid)? else {
            return Ok(room);
        };
        for field in kept.iter().filter(|field| may_trail(field.known)) {
            out.extend_from_slice(field.name.of(&self.trailers));
            out.extend_from_slice(b": ");
            out.extend_from_slice(field.value.of(&self.trailers));
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"\r\n");
        self.at = At::Done;
        Ok(end - before)
    }
}

/// Whether a field may stand in a trailer: not framing, routing, authentication or connection.
fn may_trail(known: Known) -> bool {
    !matches!(
        known,
        Known::Host
            | Known::ContentLength
            | Known::TransferEncoding
            | Known::Connection
            | Known::KeepAlive
            | Known::ProxyConnection
            | Known::Te
            | Known::Trailer
            | Known::Upgrade
            | Known::Expect
            | Known::Cookie
            | Known::SetCookie
            | Known::Authorization
            | Known::Forwarded
            | Known::XForwardedFor
            | Known::XForwardedHost
            | Known::XForwardedProto
            | Known::XForwardedPort
            | Known::XRealIp
            | Known::Via
            | Known::ContentType
            | Known::CacheControl
            | Known::Location
    )
}

/// Writes the line before a chunk of `len` bytes.
pub fn write_chunk_header(len: usize, out: &mut Vec<u8>) {
    let mut started = false;
    for shift in (0..16).rev() {
        let digit = (len >> (shift * 4)) & 15;
        started |= digit != 0 || shift == 0;
        if started {
            out.push(b"0123456789abcdef".get(digit).copied().unwrap_or(b'0'));
        }
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relay_split(input: &[u8], at: usize) -> Result<(Vec<u8>, bool), FaultKind> {
        let mut decoder = ChunkedDecoder::default();
        let (mut passed, mut done) = (Vec::new(), false);
        for part in [&input[..at], &input[at..]] {
            let mut out = Vec::new();
            let relayed = decoder.relay(part, &mut out)?;
            passed.extend_from_slice(&part[..relayed.pass]);
            passed.extend_from_slice(&out);
            done = relayed.done;
        }
        Ok((passed, done))
    }

    #[test]
    fn bodies_pass_verbatim_under_any_split() {
        let body = b"5;ext=1\r\nhello\r\n1A\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\nX-Sum: 1\r\nHost: evil\r\n\r\n";
        for at in 0..=body.len() {
            let (passed, done) = relay_split(body, at).unwrap();
            assert!(done, "split at {at}");
            let text = String::from_utf8(passed).unwrap();
            assert!(text.ends_with("0\r\nX-Sum: 1\r\n\r\n"), "{text}");
            assert!(text.starts_with("5;ext=1\r\nhello\r\n"));
        }
    }

    #[test]
    fn data_is_extracted_under_any_split() {
        let body = b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\nnext";
        for at in 0..=body.len() {
            let mut decoder = ChunkedDecoder::default();
            let (mut data, mut used) = (Vec::new(), 0);
            for part in [&body[..at], &body[at..]] {
                let mut rest = part;
                loop {
                    let r = decoder.extract(rest, &mut Vec::new()).unwrap();
                    data.extend_from_slice(&rest[r.skip..r.skip + r.pass]);
                    rest = &rest[r.used..];
                    used += r.used;
                    if r.used == 0 || rest.is_empty() {
                        break;
                    }
                }
            }
            assert_eq!(data, b"abcde");
            assert_eq!(used, body.len() - 4);
        }
    }

    #[test]
    fn broken_framing_is_refused() {
        let cases: [(&[u8], FaultKind); 12] = [
            (b"\r\n", FaultKind::ChunkSizeInvalid),
            (b"-1\r\n", FaultKind::ChunkSizeInvalid),
            (b"+1\r\n", FaultKind::ChunkSizeInvalid),
            (b"0x5\r\nhello", FaultKind::ChunkSizeInvalid),
            (b" 5\r\nhello", FaultKind::ChunkSizeInvalid),
            (b"5 \r\nhello", FaultKind::ChunkSizeInvalid),
            (b"12345678901234567\r\n", FaultKind::ChunkSizeInvalid),
            (b"5\nhello\r\n", FaultKind::ChunkFramingInvalid),
            (b"5\r\nhelloX\r\n", FaultKind::ChunkFramingInvalid),
            (b"5\r\nhello\n", FaultKind::ChunkFramingInvalid),
            (b"5;a\x00\r\n", FaultKind::ChunkFramingInvalid),
            (b"0\r\nBad Name: x\r\n\r\n", FaultKind::TrailerInvalid),
        ];
        for (body, kind) in cases {
            let found = ChunkedDecoder::default().relay(body, &mut Vec::new());
            assert_eq!(found, Err(kind), "{:?}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn chunk_headers_are_hexadecimal() {
        let mut out = Vec::new();
        for len in [0, 15, 16, 65_536] {
            write_chunk_header(len, &mut out);
        }
        assert_eq!(out, b"0\r\nf\r\n10\r\n10000\r\n");
    }
}
