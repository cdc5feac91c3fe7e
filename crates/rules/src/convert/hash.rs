//! Hashes and digests, as numbers and as bytes.

use std::io::Write;

use aws_lc_rs::{digest, hmac};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clearway_base::hash32;

use super::Code;
use super::text::whole;

/// What spreads bits further: it adds the two lowest ones to the highest.
const FURTHER: u32 = 3_221_225_473;

/// A sum of 32 bits; an argument other than 0 spreads its bits, that of 2 further.
fn sum(arguments: &[String], work: fn(&[u8]) -> u32) -> Result<Code, String> {
    let stirred = whole(arguments, 0, 0)?;
    Ok(Box::new(move |value, out| {
        let sum = work(value);
        let sum = match stirred {
            0 => sum,
            2 => hash32::avalanche(sum).wrapping_mul(FURTHER),
            _ => hash32::avalanche(sum),
        };
        write!(out, "{sum}").is_ok()
    }))
}

pub(super) fn crc32(arguments: &[String]) -> Result<Code, String> {
    sum(arguments, hash32::crc32)
}

pub(super) fn crc32c(arguments: &[String]) -> Result<Code, String> {
    sum(arguments, hash32::crc32c)
}

pub(super) fn djb2(arguments: &[String]) -> Result<Code, String> {
    sum(arguments, hash32::djb2)
}

pub(super) fn sdbm(arguments: &[String]) -> Result<Code, String> {
    sum(arguments, hash32::sdbm)
}

/// MurmurHash2 with 32 bits, whose seed is the length alone.
pub(super) fn murmur2(_: &[String]) -> Result<Code, String> {
    Ok(Box::new(|value, out| {
        out.extend_from_slice(murmur_sum(value).to_string().as_bytes());
        true
    }))
}

fn murmur_sum(value: &[u8]) -> u32 {
    const MIX: u32 = 0x5bd1_e995;
    let (words, rest) = value.as_chunks::<4>();
    let mut hash = u32::try_from(value.len()).unwrap_or(u32::MAX);
    for word in words {
        let word = u32::from_le_bytes(*word).wrapping_mul(MIX);
        hash = hash.wrapping_mul(MIX) ^ (word ^ (word >> 24)).wrapping_mul(MIX);
    }
    if !rest.is_empty() {
        let mut word = [0; 4];
        for (to, from) in word.iter_mut().zip(rest) {
            *to = *from;
        }
        hash = (hash ^ u32::from_le_bytes(word)).wrapping_mul(MIX);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(MIX);
    hash ^ (hash >> 15)
}

pub(super) fn wt6(arguments: &[String]) -> Result<Code, String> {
    sum(arguments, hash32::wt6)
}

pub(super) fn xxh32(arguments: &[String]) -> Result<Code, String> {
    let seed = u32::try_from(whole(arguments, 0, 0)?).map_err(|_| "no such seed".to_owned())?;
    Ok(Box::new(move |value, out| {
        write!(out, "{}", xxhash_rust::xxh32::xxh32(value, seed)).is_ok()
    }))
}

pub(super) fn xxh64(arguments: &[String]) -> Result<Code, String> {
    let seed = whole(arguments, 0, 0)?.cast_unsigned();
    Ok(Box::new(move |value, out| {
        let sum = xxhash_rust::xxh64::xxh64(value, seed);
        write!(out, "{}", sum.cast_signed()).is_ok()
    }))
}

pub(super) fn xxh3(arguments: &[String]) -> Result<Code, String> {
    let seed = whole(arguments, 0, 0)?.cast_unsigned();
    Ok(Box::new(move |value, out| {
        let sum = xxhash_rust::xxh3::xxh3_64_with_seed(value, seed);
        write!(out, "{}", sum.cast_signed()).is_ok()
    }))
}

pub(super) fn sha1(_: &[String]) -> Result<Code, String> {
    digest(&["sha1".to_owned()])
}

pub(super) fn sha2(arguments: &[String]) -> Result<Code, String> {
    let bits = whole(arguments, 0, 256)?;
    digest(&[format!("sha{bits}")])
}

pub(super) fn digest(arguments: &[String]) -> Result<Code, String> {
    let name = arguments.first().map_or("", |name| name.trim());
    let algorithm = match name.to_ascii_lowercase().replace('-', "").as_str() {
        "md5" => {
            return Ok(Box::new(|value, out| {
                out.extend(md5(value));
                true
            }));
        }
        "sha1" => &digest::SHA1_FOR_LEGACY_USE_ONLY,
        "sha224" => &digest::SHA224,
        "sha256" => &digest::SHA256,
        "sha384" => &digest::SHA384,
        "sha512" => &digest::SHA512,
        _ => return Err(format!("{name:?} is none of md5, sha1, sha224 to sha512")),
    };
    Ok(Box::new(move |value, out| {
        out.extend_from_slice(digest::digest(algorithm, value).as_ref());
        true
    }))
}

pub(super) fn hmac(arguments: &[String]) -> Result<Code, String> {
    let name = arguments.first().map_or("", |name| name.trim());
    let algorithm = match name.to_ascii_lowercase().replace('-', "").as_str() {
        "sha1" => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        "sha224" => hmac::HMAC_SHA224,
        "sha256" => hmac::HMAC_SHA256,
        "sha384" => hmac::HMAC_SHA384,
        "sha512" => hmac::HMAC_SHA512,
        _ => return Err(format!("{name:?} is none of sha1, sha224 to sha512")),
    };
    let key = arguments.get(1).map_or("", |key| key.trim());
    let key = STANDARD
        .decode(key)
        .map_err(|_| "the key has to be Base64".to_owned())?;
    let key = hmac::Key::new(algorithm, &key);
    Ok(Box::new(move |value, out| {
        out.extend_from_slice(hmac::sign(&key, value).as_ref());
        true
    }))
}

/// How far each step turns, by round (RFC 1321 section 3.4).
const TURNS: [[u32; 4]; 4] = [
    [7, 12, 17, 22],
    [5, 9, 14, 20],
    [4, 11, 16, 23],
    [6, 10, 15, 21],
];

/// The addends of the steps: the fractions of sines.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "below 2^32 and not negative"
)]
fn addend(step: u32) -> u32 {
    (f64::from(step + 1).sin().abs() * 4_294_967_296.0) as u32
}

/// MD5 (RFC 1321): a fingerprint for what others compute too, no protection against anybody.
fn md5(value: &[u8]) -> [u8; 16] {
    let mut state = [0x6745_2301_u32, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    let bits = (value.len() as u64).wrapping_mul(8);
    let mut padded = value.to_vec();
    padded.push(0x80);
    while padded.len() % 64 != 56 {
        padded.push(0);
    }
    padded.extend(bits.to_le_bytes());
    for block in padded.chunks_exact(64) {
        let word = |index: u32| {
            let at = usize::try_from(index).unwrap_or(0) * 4;
            let bytes = block
                .get(at..at + 4)
                .and_then(|bytes| bytes.try_into().ok());
            u32::from_le_bytes(bytes.unwrap_or_default())
        };
        let [mut a, mut b, mut c, mut d] = state;
        for step in 0..64_u32 {
            let (mixed, index) = match step / 16 {
                0 => ((b & c) | (!b & d), step),
                1 => ((d & b) | (!d & c), (5 * step + 1) % 16),
                2 => (b ^ c ^ d, (3 * step + 5) % 16),
                _ => (c ^ (b | !d), (7 * step) % 16),
            };
            let sum = a
                .wrapping_add(mixed)
                .wrapping_add(addend(step))
                .wrapping_add(word(index));
            let round = TURNS.get(usize::try_from(step / 16).unwrap_or(0));
            let turn = round.and_then(|round| round.get(usize::try_from(step % 4).unwrap_or(0)));
            (a, d, c) = (d, c, b);
            b = b.wrapping_add(sum.rotate_left(turn.copied().unwrap_or(0)));
        }
        for (word, more) in state.iter_mut().zip([a, b, c, d]) {
            *word = word.wrapping_add(more);
        }
    }
    let mut out = [0; 16];
    for (place, word) in out.chunks_exact_mut(4).zip(state) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    out
}
