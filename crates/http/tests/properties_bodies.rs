//! What holds of chunked bodies and PROXY headers whatever they are made of.

mod pieces;

use std::net::{IpAddr, SocketAddr};

use clearway_http::ChunkedDecoder;
use clearway_http::proxy_protocol::{self, Parse};
use clearway_outcome::FaultKind;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use pieces::{ends, mutate, mutations};

/// A chunked body as it is meant.
#[derive(Clone, Debug)]
struct Chunked {
    body: Vec<u8>,
    bytes: Vec<u8>,
    /// Trailer fields that may be passed on.
    kept: Vec<(String, String)>,
}

fn chunked() -> impl Strategy<Value = Chunked> {
    let extension = || prop_oneof![3 => Just(String::new()), 1 => ";[ -~\t\u{80}-\u{ff}]{0,60}"];
    let data = vec(any::<u8>(), 1..60);
    let chunk = (data, extension(), 0..4_usize, any::<bool>());
    let trailer = (
        select(
            &[
                "X-Sum",
                "x-grpc-status",
                "Digest",
                "Content-Length",
                "HOST",
                "transfer-encoding",
                "Set-Cookie",
                "Connection",
            ][..],
        ),
        "[!-~]([ -~]{0,20}[!-~])?",
    );
    (vec(chunk, 0..8), extension(), vec(trailer, 0..4)).prop_map(|(chunks, last, trailers)| {
        let (mut body, mut bytes) = (Vec::new(), Vec::new());
        for (data, extension, zeros, upper) in chunks {
            let size = format!("{}{:x}", "0".repeat(zeros), data.len());
            let size = if upper { size.to_uppercase() } else { size };
            bytes.extend_from_slice(format!("{size}{extension}\r\n").as_bytes());
            bytes.extend_from_slice(&data);
            bytes.extend_from_slice(b"\r\n");
            body.extend_from_slice(&data);
        }
        bytes.extend_from_slice(format!("0{last}\r\n").as_bytes());
        let mut kept = Vec::new();
        for (name, value) in trailers {
            bytes.extend_from_slice(format!("{name}:\t{value} \r\n").as_bytes());
            if ["X-Sum", "x-grpc-status", "Digest"].contains(&name) {
                kept.push((name.to_owned(), value));
            }
        }
        bytes.extend_from_slice(b"\r\n");
        Chunked { body, bytes, kept }
    })
}

/// The bytes up to the next CRLF, and those after it.
fn split_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    Some((bytes.get(..at)?, bytes.get(at + 2..)?))
}

/// Data and trailer fields.
type Decoded = (Vec<u8>, Vec<(String, String)>);

/// Decodes a whole chunked body the simple way.
fn decode(mut bytes: &[u8]) -> Option<Decoded> {
    let mut body = Vec::new();
    loop {
        let (line, rest) = split_line(bytes)?;
        let size = line.split(|&b| b == b';').next()?;
        let size = usize::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok()?;
        bytes = rest;
        if size == 0 {
            break;
        }
        body.extend_from_slice(bytes.get(..size)?);
        bytes = bytes.get(size..)?.strip_prefix(b"\r\n")?;
    }
    let mut trailers = Vec::new();
    loop {
        let (line, rest) = split_line(bytes)?;
        bytes = rest;
        if line.is_empty() {
            return bytes.is_empty().then_some((body, trailers));
        }
        let text = String::from_utf8_lossy(line);
        let (name, value) = text.split_once(':')?;
        trailers.push((name.to_owned(), value.trim().to_owned()));
    }
}

/// What came out, how many bytes were the body's, and whether it is over.
type Followed = Result<(Vec<u8>, usize, bool), FaultKind>;

/// Relays a body that arrives in pieces.
fn relay(bytes: &[u8], ends: &[usize]) -> Followed {
    let (mut decoder, mut out, mut at) = (ChunkedDecoder::default(), Vec::new(), 0);
    for &end in ends {
        let piece = bytes.get(at..end).unwrap_or_default();
        let mut behind = Vec::new();
        let relayed = decoder.relay(piece, &mut behind)?;
        let passed = piece.get(relayed.skip..relayed.skip + relayed.pass);
        out.extend_from_slice(passed.unwrap_or_default());
        out.extend_from_slice(&behind);
        at += relayed.used;
        if relayed.done {
            return Ok((out, at, true));
        }
        assert_eq!(at, end, "it left bytes of an unfinished body");
    }
    Ok((out, at, false))
}

/// Extracts the data of a body that arrives in pieces.
fn extract(bytes: &[u8], ends: &[usize]) -> Followed {
    let (mut decoder, mut out, mut at) = (ChunkedDecoder::default(), Vec::new(), 0);
    for &end in ends {
        while at < end {
            let piece = bytes.get(at..end).unwrap_or_default();
            let found = decoder.extract(piece, &mut Vec::new())?;
            assert!(found.used > 0, "it makes no progress");
            let data = piece.get(found.skip..found.skip + found.pass);
            out.extend_from_slice(data.unwrap_or_default());
            at += found.used;
            if found.done {
                return Ok((out, at, true));
            }
        }
    }
    Ok((out, at, false))
}

proptest! {
    /// A chunked body stays the same, however it is cut into chunks and pieces.
    #[test]
    fn chunked_bodies_stay_the_same(
        chunked in chunked(),
        cuts in vec(any::<Index>(), 0..12),
        next in vec(any::<u8>(), 0..20),
    ) {
        let mut bytes = chunked.bytes.clone();
        bytes.extend_from_slice(&next);
        let ends = ends(&cuts, bytes.len());
        let relayed = relay(&bytes, &ends);
        prop_assert!(relayed.is_ok(), "{:?}", relayed);
        let (passed, used, done) = relayed.unwrap();
        prop_assert!(done);
        prop_assert_eq!(used, chunked.bytes.len());
        let decoded = decode(&passed);
        prop_assert_eq!(decoded, Some((chunked.body.clone(), chunked.kept)));
        let extracted = extract(&bytes, &ends);
        prop_assert_eq!(extracted, Ok((chunked.body, chunked.bytes.len(), true)));
    }

    /// Any bytes are followed or refused, by both ways alike and however they arrive.
    #[test]
    fn no_bytes_break_a_chunked_body(
        chunked in chunked(),
        mutations in mutations(),
        noise in vec(any::<u8>(), 0..80),
        cuts in vec(any::<Index>(), 0..12),
    ) {
        let mut bytes = chunked.bytes;
        mutate(&mut bytes, &mutations);
        for bytes in [bytes, noise] {
            let ends = ends(&cuts, bytes.len());
            let whole = relay(&bytes, &[bytes.len()]);
            let relayed = relay(&bytes, &ends);
            prop_assert_eq!(&relayed, &whole);
            let extracted = extract(&bytes, &ends);
            prop_assert_eq!(extracted.as_ref().err(), relayed.as_ref().err());
            let (Ok((passed, used, true)), Ok((body, taken, ended))) = (relayed, extracted) else {
                continue;
            };
            prop_assert!(ended);
            prop_assert_eq!(taken, used);
            prop_assert_eq!(decode(&passed).map(|(body, _)| body), Some(body));
        }
    }

    /// What is written about the addresses of a connection is read as the same.
    #[test]
    fn proxy_headers_are_read_as_written(
        source in proptest::option::weighted(0.9, any::<(IpAddr, u16)>()),
        destination in proptest::option::weighted(0.9, any::<(IpAddr, u16)>()),
        second in any::<bool>(),
        rest in vec(any::<u8>(), 0..20),
    ) {
        let source = source.map(SocketAddr::from);
        let destination = destination.map(SocketAddr::from);
        let mut bytes = Vec::new();
        if second {
            proxy_protocol::write_v2(source, destination, &mut bytes);
        } else {
            proxy_protocol::write_v1(source, destination, &mut bytes);
        }
        let len = bytes.len();
        for end in 0..len {
            prop_assert_eq!(proxy_protocol::parse(&bytes[..end]), Ok(Parse::Partial));
        }
        bytes.extend_from_slice(&rest);
        let pair = source.zip(destination).filter(|(a, b)| a.is_ipv4() == b.is_ipv4());
        let (source, destination) = pair.unzip();
        let expected = Parse::Complete { len, source, destination, fields: len };
        prop_assert_eq!(proxy_protocol::parse(&bytes), Ok(expected));
    }

    /// Any bytes are a PROXY header or refused, and the answer does not change with what follows.
    #[test]
    fn no_bytes_break_a_proxy_header(
        addresses in any::<((IpAddr, u16), (IpAddr, u16))>(),
        second in any::<bool>(),
        mutations in mutations(),
        noise in vec(any::<u8>(), 0..200),
        tail in vec(any::<u8>(), 0..80),
    ) {
        let (source, destination) = (Some(addresses.0.into()), Some(addresses.1.into()));
        let mut bytes = Vec::new();
        if second {
            proxy_protocol::write_v2(source, destination, &mut bytes);
        } else {
            proxy_protocol::write_v1(source, destination, &mut bytes);
        }
        mutate(&mut bytes, &mutations);
        bytes.extend_from_slice(&tail);
        for bytes in [bytes, noise] {
            let mut settled = None;
            for end in 0..=bytes.len() {
                let parsed = proxy_protocol::parse(&bytes[..end]);
                if let Ok(Parse::Complete { len, .. }) = parsed {
                    prop_assert!(len <= end);
                }
                prop_assert_eq!(parsed, settled.unwrap_or(parsed));
                settled = Some(parsed).filter(|p| *p != Ok(Parse::Partial));
            }
        }
    }
}
