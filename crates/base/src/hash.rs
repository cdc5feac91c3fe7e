//! Hashing: maps with a random seed for keys that strangers choose, and one stable hash that is
//! the same on every machine and version.

use std::hash::RandomState;

/// A hash map whose seed is random per process (SipHash), safe for keys that clients choose.
#[expect(
    clippy::disallowed_types,
    reason = "this is the one definition everybody else uses"
)]
pub type Map<K, V> = std::collections::HashMap<K, V, RandomState>;

/// A hash set whose seed is random per process (SipHash).
#[expect(
    clippy::disallowed_types,
    reason = "this is the one definition everybody else uses"
)]
pub type Set<K> = std::collections::HashSet<K, RandomState>;

/// A 64-bit hash (XXH3) that is equal on every machine, for consistent hashing and stickiness.
#[must_use]
pub fn stable(bytes: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(bytes)
}

/// XXH64 without a seed, where others say that it is to be that one.
#[must_use]
pub fn xxh64(bytes: &[u8]) -> u64 {
    xxhash_rust::xxh64::xxh64(bytes, 0)
}

/// [`stable`] with a seed, for independent hash functions over the same bytes.
#[must_use]
pub fn stable_seeded(bytes: &[u8], seed: u64) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(bytes, seed)
}

/// A bijective scramble of 64 bits (the SplitMix64 finaliser).
#[must_use]
pub fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stable_hash_never_changes() {
        // What the reference implementation of XXH3 (xxHash 0.8) says.
        assert_eq!(stable(b""), 0x2d06_8005_38d3_94c2);
        assert_eq!(stable(b"a"), 0xe6c6_32b6_1e96_4e1f);
        assert_eq!(stable_seeded(b"a", 1), 0xd2f6_d099_6f37_a720);
        // Longer than 240 bytes it takes another way.
        assert_eq!(stable(&b"clearway".repeat(40)), 0xc8ef_ee86_5eac_8332);
    }
}
