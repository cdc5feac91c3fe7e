//! Hashes of 32 bits that other programs compute too, so that they choose alike. None of them is safe
//! against somebody who chooses keys on purpose.

/// SDBM: multiplies by 65,599.
#[must_use]
pub fn sdbm(bytes: &[u8]) -> u32 {
    let add = |hash: u32, byte: &u8| hash.wrapping_mul(65_599).wrapping_add(u32::from(*byte));
    bytes.iter().fold(0, add)
}

/// DJB2: multiplies by 33, beginning with 5381.
#[must_use]
pub fn djb2(bytes: &[u8]) -> u32 {
    let add = |hash: u32, byte: &u8| hash.wrapping_mul(33).wrapping_add(u32::from(*byte));
    bytes.iter().fold(5_381, add)
}

/// WT6: two words turned by each other's bits.
#[must_use]
pub fn wt6(bytes: &[u8]) -> u32 {
    let (mut first, mut second) = (0xa53c_965a_u32, 0x5ca6_953a_u32);
    let (mut left, mut right) = (6, 18);
    for byte in bytes {
        first = !(first ^ u32::from(*byte));
        second = !second.wrapping_add(u32::from(*byte));
        let turned = second.rotate_left(left);
        second = first.rotate_left(right);
        first = turned;
        let mixed = ((first >> 16) ^ second) & 0xffff;
        (left, right) = (mixed & 0x1f, mixed >> 11);
    }
    first ^ second
}

/// A cyclic redundancy check, bit by bit, with a reversed polynomial.
fn check_sum(bytes: &[u8], polynomial: u32) -> u32 {
    let mut sum = u32::MAX;
    for byte in bytes {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            let carry = if sum & 1 == 1 { polynomial } else { 0 };
            sum = (sum >> 1) ^ carry;
        }
    }
    !sum
}

/// CRC-32 as Ethernet and gzip compute it.
#[must_use]
pub fn crc32(bytes: &[u8]) -> u32 {
    check_sum(bytes, 0xEDB8_8320)
}

/// CRC-32C (Castagnoli).
#[must_use]
pub fn crc32c(bytes: &[u8]) -> u32 {
    check_sum(bytes, 0x82F6_3B78)
}

/// Spreads the bits of a sum: Bob Jenkins' full avalanche of 4-byte integers.
#[must_use]
pub fn avalanche(sum: u32) -> u32 {
    let mut a = sum;
    a = a.wrapping_add(0x7ed5_5d16).wrapping_add(a << 12);
    a = (a ^ 0xc761_c23c) ^ (a >> 19);
    a = a.wrapping_add(0x1656_67b1).wrapping_add(a << 5);
    a = a.wrapping_add(0xd3a2_646c) ^ (a << 9);
    a = a.wrapping_add(0xfd70_46c5).wrapping_add(a << 3);
    (a ^ 0xb55a_4f09) ^ (a >> 16)
}

/// [`avalanche`], and its result spread over a ring by a prime near three quarters of it: how HAProxy
/// places servers and keys.
#[must_use]
pub fn scattered(sum: u32) -> u32 {
    avalanche(sum).wrapping_mul(3_221_225_473)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_what_others_compute() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(djb2(b"abc"), 193_485_963);
        assert_eq!(sdbm(b"a"), 97);
        assert_eq!(sdbm(b"abc"), 807_794_786);
        assert_ne!(wt6(b"a"), wt6(b"b"));
    }
}
