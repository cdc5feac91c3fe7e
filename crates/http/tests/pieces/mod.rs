//! Changing bytes and cutting them into pieces.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// How bytes are changed: a place, how many are cut out there, and what is put there instead.
pub(crate) type Mutation = (Index, usize, Vec<u8>);

pub(crate) fn mutations() -> impl Strategy<Value = Vec<Mutation>> {
    let telling = select(&b"\r\n\0 \t:;,/?*#@[]\"\\\x7f\x16\x03\xff09afHTGE"[..]);
    let byte = prop_oneof![4 => telling, 1 => any::<u8>()];
    vec((any::<Index>(), 0..4_usize, vec(byte, 0..4)), 0..4)
}

pub(crate) fn mutate(bytes: &mut Vec<u8>, mutations: &[Mutation]) {
    for (place, cut, put) in mutations {
        let at = place.index(bytes.len() + 1);
        let end = (at + cut).min(bytes.len());
        drop(bytes.splice(at..end, put.iter().copied()));
    }
}

/// Ends of the pieces that so many bytes arrive in; the last one is the end of all.
pub(crate) fn ends(cuts: &[Index], len: usize) -> Vec<usize> {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(len + 1)).collect();
    ends.push(len);
    ends.sort_unstable();
    ends
}
