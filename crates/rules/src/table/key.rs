//! Keys: what a value becomes before it is looked up.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use smallvec::SmallVec;

/// What keys are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// IPv4 addresses.
    #[default]
    Ip,
    /// IPv6 addresses; IPv4 addresses are mapped.
    Ipv6,
    /// Numbers of 32 bits.
    Integer,
    /// Texts, of which so many bytes count.
    String(usize),
    /// So many bytes; zeros are put behind what is shorter.
    Binary(usize),
}

/// Bytes of a key.
pub(super) type Key = SmallVec<[u8; 64]>;

/// The number that a text begins with, within 32 bits; 0 when there is none.
fn number(text: &[u8]) -> u32 {
    let text = text.trim_ascii();
    let (is_negative, digits) = match text.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let digits = digits.iter().take_while(|byte| byte.is_ascii_digit());
    let value = digits.fold(0_u64, |value, digit| {
        value
            .saturating_mul(10)
            .saturating_add(u64::from(digit - b'0'))
    });
    let value = u32::try_from(value & u64::from(u32::MAX)).unwrap_or(u32::MAX);
    if is_negative {
        value.wrapping_neg()
    } else {
        value
    }
}

impl KeyKind {
    /// The key that a value is looked up by; none when it cannot be one.
    pub(super) fn key(self, value: &[u8]) -> Option<Key> {
        let address = || {
            let text = std::str::from_utf8(value).ok()?.trim();
            text.parse::<IpAddr>().ok()
        };
        match self {
            Self::Ip => match address()?.to_canonical() {
                IpAddr::V4(ip) => Some(Key::from_slice(&ip.octets())),
                IpAddr::V6(_) => None,
            },
            Self::Ipv6 => {
                let ip = match address()? {
                    IpAddr::V4(ip) => ip.to_ipv6_mapped(),
                    IpAddr::V6(ip) => ip,
                };
                Some(Key::from_slice(&ip.octets()))
            }
            Self::Integer => Some(Key::from_slice(&number(value).to_be_bytes())),
            Self::String(length) => {
                let value = value.get(..length).unwrap_or(value);
                (!value.is_empty()).then(|| Key::from_slice(value))
            }
            Self::Binary(length) => {
                if value.is_empty() {
                    return None;
                }
                let mut key = Key::from_slice(value.get(..length).unwrap_or(value));
                key.resize(length, 0);
                Some(key)
            }
        }
    }

    /// Its word in configurations.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ip => "ip",
            Self::Ipv6 => "ipv6",
            Self::Integer => "integer",
            Self::String(_) => "string",
            Self::Binary(_) => "binary",
        }
    }
}

/// A key as it is shown.
pub struct Shown<'a> {
    pub(super) kind: KeyKind,
    pub(super) key: &'a [u8],
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            KeyKind::Ip => match <[u8; 4]>::try_from(self.key) {
                Ok(octets) => Ipv4Addr::from(octets).fmt(f),
                Err(_) => Ok(()),
            },
            KeyKind::Ipv6 => match <[u8; 16]>::try_from(self.key) {
                Ok(octets) => Ipv6Addr::from(octets).fmt(f),
                Err(_) => Ok(()),
            },
            KeyKind::Integer => match <[u8; 4]>::try_from(self.key) {
                Ok(octets) => u32::from_be_bytes(octets).fmt(f),
                Err(_) => Ok(()),
            },
            // What could end a line or a word of a listing is escaped.
            KeyKind::String(_) => self.key.iter().try_for_each(|&byte| match byte {
                b' ' | b'\\' => write!(f, "\\{}", char::from(byte)),
                byte if byte.is_ascii_graphic() => write!(f, "{}", char::from(byte)),
                byte => write!(f, "\\x{byte:02x}"),
            }),
            KeyKind::Binary(_) => self.key.iter().try_for_each(|byte| write!(f, "{byte:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(kind: KeyKind, value: &[u8]) -> Option<String> {
        let key = kind.key(value)?;
        Some(Shown { kind, key: &key }.to_string())
    }

    #[test]
    fn values_become_keys_of_their_kind() {
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(shown(KeyKind::Ip, b"10.1.2.3"), text("10.1.2.3"));
        assert_eq!(shown(KeyKind::Ip, b"::ffff:10.1.2.3"), text("10.1.2.3"));
        assert_eq!(shown(KeyKind::Ip, b"2001:db8::1"), None);
        assert_eq!(shown(KeyKind::Ip, b"nothing"), None);
        assert_eq!(shown(KeyKind::Ipv6, b"10.1.2.3"), text("::ffff:10.1.2.3"));
        assert_eq!(shown(KeyKind::Integer, b"17 apples"), text("17"));
        assert_eq!(shown(KeyKind::String(3), b"abcdef"), text("abc"));
        assert_eq!(shown(KeyKind::String(8), b"a b\n"), text("a\\ b\\x0a"));
        assert_eq!(shown(KeyKind::String(3), b""), None);
        assert_eq!(shown(KeyKind::Binary(3), b"\x01"), text("010000"));
    }

    proptest! {
        #[test]
        fn keys_are_bounded(value in proptest::collection::vec(any::<u8>(), 0..200), length in 1..100_usize) {
            for kind in [KeyKind::Ip, KeyKind::Ipv6, KeyKind::Integer] {
                prop_assert!(kind.key(&value).is_none_or(|key| key.len() <= 16));
            }
            prop_assert!(KeyKind::String(length).key(&value).is_none_or(|key| key.len() <= length));
            prop_assert!(KeyKind::Binary(length).key(&value).is_none_or(|key| key.len() == length));
        }
    }
}
