//! Parts and changes of texts.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use regex::bytes::RegexBuilder;

use super::Code;

pub(super) fn lower(_: &[String]) -> Result<Code, String> {
    Ok(Box::new(|value, out| {
        out.extend(value.iter().map(u8::to_ascii_lowercase));
        true
    }))
}

pub(super) fn upper(_: &[String]) -> Result<Code, String> {
    Ok(Box::new(|value, out| {
        out.extend(value.iter().map(u8::to_ascii_uppercase));
        true
    }))
}

/// An argument as a number.
pub(super) fn whole(arguments: &[String], index: usize, default: i64) -> Result<i64, String> {
    match arguments.get(index) {
        None => Ok(default),
        Some(text) => text
            .trim()
            .parse()
            .map_err(|_| format!("{text:?} is not a whole number")),
    }
}

pub(super) fn argument(arguments: &[String], index: usize) -> &str {
    arguments.get(index).map_or("", String::as_str)
}

pub(super) fn field(arguments: &[String]) -> Result<Code, String> {
    part(arguments, false)
}

pub(super) fn word(arguments: &[String]) -> Result<Code, String> {
    part(arguments, true)
}

/// Where a part begins and ends.
type Bounds = (usize, usize);

fn part(arguments: &[String], skips_empty: bool) -> Result<Code, String> {
    let number = whole(arguments, 0, 1)?;
    if number == 0 {
        return Err("parts are numbered from 1, or from -1".to_owned());
    }
    let delimiters: Box<[u8]> = argument(arguments, 1).as_bytes().into();
    let count = usize::try_from(whole(arguments, 2, 1)?).map_err(|_| "no such count".to_owned())?;
    Ok(Box::new(move |value, out| {
        let mut parts: Vec<Bounds> = Vec::new();
        let mut from = 0;
        for part in value.split(|byte| delimiters.contains(byte)) {
            let to = from + part.len();
            if !(skips_empty && part.is_empty()) {
                parts.push((from, to));
            }
            from = to + 1;
        }
        let Some((start, end)) = bounds(&parts, number, count) else {
            return false;
        };
        out.extend_from_slice(value.get(start..end).unwrap_or_default());
        true
    }))
}

/// From the part with a number over so many parts, away from the side that is counted from; 0 is all.
fn bounds(parts: &[Bounds], number: i64, count: usize) -> Option<Bounds> {
    let place = usize::try_from(number.unsigned_abs())
        .ok()?
        .checked_sub(1)?;
    let last = parts.len().checked_sub(1)?;
    let more = if count == 0 { usize::MAX } else { count - 1 };
    let (first, final_) = if number > 0 {
        (place, place.saturating_add(more).min(last))
    } else {
        let place = last.checked_sub(place)?;
        (place.saturating_sub(more), place)
    };
    Some((parts.get(first)?.0, parts.get(final_)?.1))
}

pub(super) fn regsub(arguments: &[String]) -> Result<Code, String> {
    let flags = argument(arguments, 2);
    if let Some(flag) = flags.chars().find(|flag| !matches!(flag, 'i' | 'g')) {
        return Err(format!("{flag:?} is no flag: i and g are"));
    }
    let regex = RegexBuilder::new(argument(arguments, 0))
        .case_insensitive(flags.contains('i'))
        .unicode(false)
        .build()
        .map_err(|error| error.to_string())?;
    let pieces = pieces(argument(arguments, 1));
    let is_global = flags.contains('g');
    Ok(Box::new(move |value, out| {
        let mut from = 0;
        for found in regex.captures_iter(value) {
            let Some(whole) = found.get(0) else { break };
            out.extend_from_slice(value.get(from..whole.start()).unwrap_or_default());
            for piece in &pieces {
                match piece {
                    Piece::Text(text) => out.extend_from_slice(text),
                    Piece::Group(group) => {
                        let group = found.get(*group).map(|group| group.as_bytes());
                        out.extend_from_slice(group.unwrap_or_default());
                    }
                }
            }
            from = whole.end();
            if !is_global {
                break;
            }
        }
        out.extend_from_slice(value.get(from..).unwrap_or_default());
        true
    }))
}

/// A part of a replacement.
enum Piece {
    Text(Vec<u8>),
    Group(usize),
}

fn pieces(text: &str) -> Vec<Piece> {
    let (mut pieces, mut plain) = (Vec::new(), Vec::new());
    let mut bytes = text.bytes().peekable();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            plain.push(byte);
            continue;
        }
        match bytes.next() {
            Some(digit) if digit.is_ascii_digit() => {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
                pieces.push(Piece::Group(usize::from(digit - b'0')));
            }
            Some(other) => plain.push(other),
            None => plain.push(b'\\'),
        }
    }
    pieces.push(Piece::Text(plain));
    pieces
}

pub(super) fn bytes(arguments: &[String]) -> Result<Code, String> {
    let from = usize::try_from(whole(arguments, 0, 0)?).map_err(|_| "no such offset".to_owned())?;
    let count = whole(arguments, 1, i64::MAX)?;
    let count = usize::try_from(count).map_err(|_| "no such count".to_owned())?;
    Ok(Box::new(move |value, out| {
        if from >= value.len() {
            return false;
        }
        let end = from.saturating_add(count).min(value.len());
        out.extend_from_slice(value.get(from..end).unwrap_or_default());
        true
    }))
}

pub(super) fn ltrim(arguments: &[String]) -> Result<Code, String> {
    let set: Box<[u8]> = argument(arguments, 0).as_bytes().into();
    Ok(Box::new(move |value, out| {
        let from = value.iter().position(|byte| !set.contains(byte));
        out.extend_from_slice(value.get(from.unwrap_or(value.len())..).unwrap_or_default());
        true
    }))
}

pub(super) fn rtrim(arguments: &[String]) -> Result<Code, String> {
    let set: Box<[u8]> = argument(arguments, 0).as_bytes().into();
    Ok(Box::new(move |value, out| {
        let last = value.iter().rposition(|byte| !set.contains(byte));
        let end = last.map_or(0, |last| last + 1);
        out.extend_from_slice(value.get(..end).unwrap_or_default());
        true
    }))
}

pub(super) fn concat(arguments: &[String]) -> Result<Code, String> {
    let before = argument(arguments, 0).as_bytes().to_vec();
    let after = argument(arguments, 1).as_bytes().to_vec();
    Ok(Box::new(move |value, out| {
        for part in [before.as_slice(), value, after.as_slice()] {
            out.extend_from_slice(part);
        }
        true
    }))
}

pub(super) fn add_item(arguments: &[String]) -> Result<Code, String> {
    let texts = [0, 1, 2].map(|at| argument(arguments, at).as_bytes().to_vec());
    Ok(Box::new(move |value, out| {
        let [delimiter, text, after] = &texts;
        out.extend_from_slice(value);
        if !value.is_empty() {
            out.extend_from_slice(delimiter);
        }
        out.extend_from_slice(text);
        out.extend_from_slice(after);
        true
    }))
}

/// 0 for the same text, else the difference of the first bytes that differ, or of the lengths.
pub(super) fn compare(arguments: &[String]) -> Result<Code, String> {
    let other = argument(arguments, 0).as_bytes().to_vec();
    Ok(Box::new(move |value, out| {
        let mut pairs = value.iter().zip(&other);
        let order = match pairs.find(|(a, b)| a != b) {
            Some((a, b)) => i64::from(*a) - i64::from(*b),
            None => match value.len().cmp(&other.len()) {
                std::cmp::Ordering::Less => -1,
                std::cmp::Ordering::Equal => 0,
                std::cmp::Ordering::Greater => 1,
            },
        };
        out.extend_from_slice(order.to_string().as_bytes());
        true
    }))
}

/// Maps are looked up by who compiles: see `Converter`.
pub(super) fn map(_: &[String]) -> Result<Code, String> {
    Err("maps are named where rules are".to_owned())
}

pub(super) fn on_disk(_: &[String]) -> Result<Code, String> {
    Err("what lies on the disk is looked at where rules are".to_owned())
}

pub(super) fn is(arguments: &[String]) -> Result<Code, String> {
    let wanted = argument(arguments, 0).as_bytes().to_vec();
    Ok(Box::new(move |value, out| {
        out.push(if value == wanted { b'1' } else { b'0' });
        true
    }))
}

pub(super) fn iif(arguments: &[String]) -> Result<Code, String> {
    let yes = argument(arguments, 0).as_bytes().to_vec();
    let no = argument(arguments, 1).as_bytes().to_vec();
    Ok(Box::new(move |value, out| {
        let is_true = !matches!(value, b"" | b"0" | b"false");
        out.extend_from_slice(if is_true { &yes } else { &no });
        true
    }))
}

pub(super) fn param(arguments: &[String]) -> Result<Code, String> {
    let name = argument(arguments, 0).as_bytes().to_vec();
    let delimiters = match argument(arguments, 1) {
        "" => b"&".to_vec(),
        own => own.as_bytes().to_vec(),
    };
    Ok(Box::new(move |value, out| {
        for pair in value.split(|byte| delimiters.contains(byte)) {
            let mut sides = pair.splitn(2, |&byte| byte == b'=');
            if sides.next() == Some(name.as_slice()) {
                out.extend_from_slice(sides.next().unwrap_or_default());
                return true;
            }
        }
        false
    }))
}

pub(super) fn ip(_: &[String]) -> Result<Code, String> {
    Ok(Box::new(|value, out| {
        let Some(address) = crate::matcher::address(value) else {
            return false;
        };
        out.extend_from_slice(address.to_string().as_bytes());
        true
    }))
}

pub(super) fn network(arguments: &[String]) -> Result<Code, String> {
    let first = argument(arguments, 0);
    let v4 = mask(first, 32).ok_or_else(|| format!("{first:?} is no mask of IPv4"))?;
    let v4 = u32::try_from(v4).unwrap_or(u32::MAX);
    let second = argument(arguments, 1);
    let v6 = match second {
        "" => u128::MAX,
        text => mask(text, 128).ok_or_else(|| format!("{text:?} is no mask of IPv6"))?,
    };
    Ok(Box::new(move |value, out| {
        let Some(address) = crate::matcher::address(value) else {
            return false;
        };
        let network = match address {
            IpAddr::V4(ip) => IpAddr::V4(Ipv4Addr::from_bits(ip.to_bits() & v4)),
            IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & v6)),
        };
        write!(out, "{network}").is_ok()
    }))
}

/// A mask of so many bits, written as such or as the length of a prefix.
fn mask(text: &str, bits: u32) -> Option<u128> {
    match (text.parse::<IpAddr>(), bits) {
        (Ok(IpAddr::V4(mask)), 32) => return Some(mask.to_bits().into()),
        (Ok(IpAddr::V6(mask)), 128) => return Some(mask.to_bits()),
        (Ok(_), _) => return None,
        (Err(_), _) => {}
    }
    let length: u32 = text.parse().ok().filter(|length| *length <= bits)?;
    let all = u128::MAX.checked_shr(128 - bits).unwrap_or(0);
    Some(all & !all.checked_shr(length).unwrap_or(0))
}
