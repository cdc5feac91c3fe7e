//! Equal keys to equal servers, by remainders: the servers that NGINX's `hash` and `ip_hash` choose.

use super::Ask;
use super::field::Field;
use super::smooth::SmoothRoundRobin;
use crate::member::Member;

/// What stands before a key each time that another remainder is taken, because the server that it falls to may not
/// be chosen; nothing the first time.
const COUNTS: [&str; 20] = [
    "", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16",
    "17", "18", "19",
];
/// Longest key that is hashed once more with a count before it.
const KEY_MAX: u32 = 8_192;

/// The server at a place among all, each as long as its weight. O(n).
fn at(members: &[Member], place: u64) -> Option<usize> {
    let mut left = place;
    for (index, member) in members.iter().enumerate().filter(|(_, m)| m.tier == 0) {
        let length = units(member);
        if left < length {
            return Some(index);
        }
        left -= length;
    }
    None
}

/// The configured weight.
fn units(member: &Member) -> u64 {
    u64::from(member.weight / 100).max(1)
}

fn total(members: &[Member]) -> u64 {
    let first = members.iter().filter(|member| member.tier == 0);
    first.map(units).sum()
}

/// State of `crc_table`: servers take turns where no key is given and where none of those it falls to will do.
#[derive(Default)]
pub(super) struct CrcTable {
    turns: SmoothRoundRobin,
}

impl CrcTable {
    pub(super) fn new(_seed: u64) -> Self {
        Self::default()
    }

    pub(super) fn rebuild(&mut self, members: &[Member], live: &[u32]) {
        self.turns.rebuild(members, live);
    }

    pub(super) fn pick(&mut self, field: &Field<'_>, ask: &Ask<'_>) -> Option<usize> {
        let all = total(field.members);
        if let Some(key) = ask.key.filter(|_| all > 0) {
            let (length, crc) = halves(key);
            let mut place = 0_u64;
            for count in COUNTS {
                let crc = match count {
                    "" => crc,
                    _ if length > KEY_MAX => break,
                    count => with_count(count, crc, length),
                };
                place += u64::from((crc >> 16) & 0x7fff);
                let found = at(field.members, place % all);
                if let Some(index) = found.filter(|index| field.admits(*index)) {
                    return Some(index);
                }
            }
        }
        self.turns.pick(field, ask)
    }
}

/// State of `network_table`.
#[derive(Default)]
pub(super) struct NetworkTable {
    turns: SmoothRoundRobin,
}

impl NetworkTable {
    pub(super) fn new(_seed: u64) -> Self {
        Self::default()
    }

    pub(super) fn rebuild(&mut self, members: &[Member], live: &[u32]) {
        self.turns.rebuild(members, live);
    }

    pub(super) fn pick(&mut self, field: &Field<'_>, ask: &Ask<'_>) -> Option<usize> {
        let all = total(field.members);
        if let Some(key) = ask.key.filter(|_| all > 0) {
            // The key is a step from one remainder to the next.
            let (factor, addend) = halves(key);
            let mut place = 89_u64;
            for _ in COUNTS {
                place = (place * u64::from(factor) + u64::from(addend)) % 6_271;
                let found = at(field.members, place % all);
                if let Some(index) = found.filter(|index| field.admits(*index)) {
                    return Some(index);
                }
            }
        }
        self.turns.pick(field, ask)
    }
}

fn halves(key: u64) -> (u32, u32) {
    let high = u32::try_from(key >> 32).unwrap_or_default();
    (high, u32::try_from(key & 0xffff_ffff).unwrap_or_default())
}

/// The CRC-32 of a count as text with a key behind it, from the CRC-32 of the key and its length.
fn with_count(count: &str, crc: u32, length: u32) -> u32 {
    let mut before = clearway_base::hash32::crc32(count.as_bytes());
    for _ in 0..length * 8 {
        let carry = before & 1;
        before >>= 1;
        if carry == 1 {
            before ^= 0xedb8_8320;
        }
    }
    before ^ crc
}

#[cfg(test)]
mod tests {
    use super::*;
    use clearway_base::hash32::crc32;

    #[test]
    fn a_count_before_a_key_is_hashed_without_the_key() {
        for key in ["", "a", "/some/target?x=y"] {
            let length = u32::try_from(key.len()).unwrap();
            for count in ["1", "7", "19"] {
                let whole = crc32(format!("{count}{key}").as_bytes());
                assert_eq!(
                    with_count(count, crc32(key.as_bytes()), length),
                    whole,
                    "{key}"
                );
            }
        }
    }
}
