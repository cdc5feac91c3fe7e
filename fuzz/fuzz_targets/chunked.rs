//! Chunked bodies of any bytes: both ways to follow them agree, however they arrive.

#![no_main]

use clearway_fuzz::pieces;
use clearway_http::ChunkedDecoder;
use clearway_outcome::FaultKind;
use libfuzzer_sys::fuzz_target;

/// What came out, how many bytes were the body's, and whether it is over.
type Followed = Result<(Vec<u8>, usize, bool), FaultKind>;

fn relay(bytes: &[u8], ends: &[usize]) -> Followed {
    let (mut decoder, mut out, mut at) = (ChunkedDecoder::default(), Vec::new(), 0);
    for &end in ends {
        let piece = &bytes[at..end];
        let mut behind = Vec::new();
        let relayed = decoder.relay(piece, &mut behind)?;
        out.extend_from_slice(&piece[relayed.skip..relayed.skip + relayed.pass]);
        out.extend_from_slice(&behind);
        at += relayed.used;
        if relayed.done {
            return Ok((out, at, true));
        }
        assert_eq!(at, end, "it left bytes of an unfinished body");
    }
    Ok((out, at, false))
}

fn extract(bytes: &[u8], ends: &[usize]) -> Followed {
    let (mut decoder, mut out, mut at) = (ChunkedDecoder::default(), Vec::new(), 0);
    let mut trailers = Vec::new();
    for &end in ends {
        while at < end {
            let piece = &bytes[at..end];
            let found = decoder.extract(piece, &mut trailers)?;
            assert!(found.used > 0, "it makes no progress");
            out.extend_from_slice(&piece[found.skip..found.skip + found.pass]);
            at += found.used;
            if found.done {
                assert!(trailers.is_empty() || trailers.ends_with(b"\r\n"));
                return Ok((out, at, true));
            }
        }
    }
    Ok((out, at, false))
}

fuzz_target!(|data: &[u8]| {
    let Some((bytes, ends)) = pieces(data) else {
        return;
    };
    let relayed = relay(bytes, &ends);
    assert_eq!(relayed, relay(bytes, &[bytes.len()]));
    let extracted = extract(bytes, &ends);
    assert_eq!(extracted.as_ref().err(), relayed.as_ref().err());
    let (Ok((passed, used, true)), Ok((body, taken, ended))) = (relayed, extracted) else {
        return;
    };
    assert!(ended && taken == used);
    // What is passed on is a chunked body with the same data.
    let again = extract(&passed, &[passed.len()]);
    assert_eq!(again, Ok((body, passed.len(), true)));
});
