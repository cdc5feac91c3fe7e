//! Encodings and check sums.

use std::io::Write;
use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use super::Code;

fn always(work: impl Fn(&[u8], &mut Vec<u8>) + Send + Sync + 'static) -> Result<Code, String> {
    Ok(Box::new(move |value, out| {
        work(value, out);
        true
    }))
}

pub(super) fn base64(_: &[String]) -> Result<Code, String> {
    always(|value, out| out.extend(STANDARD.encode(value).into_bytes()))
}

pub(super) fn b64dec(_: &[String]) -> Result<Code, String> {
    Ok(Box::new(|value, out| {
        STANDARD.decode_vec(value, out).is_ok()
    }))
}

pub(super) fn ub64enc(_: &[String]) -> Result<Code, String> {
    always(|value, out| out.extend(URL_SAFE_NO_PAD.encode(value).into_bytes()))
}

pub(super) fn ub64dec(_: &[String]) -> Result<Code, String> {
    Ok(Box::new(|value, out| {
        URL_SAFE_NO_PAD.decode_vec(value, out).is_ok()
    }))
}

const UPPER: &[u8; 16] = b"0123456789ABCDEF";

fn hex_digits(byte: u8) -> [u8; 2] {
    let digit = |nibble: u8| UPPER.get(usize::from(nibble)).copied().unwrap_or(b'0');
    [digit(byte >> 4), digit(byte & 15)]
}

pub(super) fn hex(_: &[String]) -> Result<Code, String> {
    always(|value, out| value.iter().for_each(|byte| out.extend(hex_digits(*byte))))
}

pub(super) fn hex2i(_: &[String]) -> Result<Code, String> {
    Ok(Box::new(|value, out| {
        let text = std::str::from_utf8(value).unwrap_or_default();
        match i64::from_str_radix(text.trim_start_matches("0x"), 16) {
            Ok(number) => write!(out, "{number}").is_ok(),
            Err(_) => false,
        }
    }))
}

pub(super) fn url_dec(arguments: &[String]) -> Result<Code, String> {
    let is_form = arguments.first().is_some_and(|text| text.trim() == "1");
    always(move |value, out| {
        let mut in_query = is_form;
        let mut rest = value;
        while let [first, after @ ..] = rest {
            rest = after;
            let escaped = match (first, after) {
                (b'%', [high, low, tail @ ..]) => digits(*high, *low).map(|byte| (byte, tail)),
                _ => None,
            };
            match (escaped, *first) {
                (Some((byte, tail)), _) => {
                    out.push(byte);
                    rest = tail;
                }
                (None, b'+') if in_query => out.push(b' '),
                (None, byte) => {
                    in_query |= byte == b'?';
                    out.push(byte);
                }
            }
        }
    })
}

fn digits(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? << 4 | digit(low)?).ok()
}

pub(super) fn url_enc(_: &[String]) -> Result<Code, String> {
    always(|value, out| {
        for byte in value {
            if byte.is_ascii_alphanumeric() || b"-_.~".contains(byte) {
                out.push(*byte);
            } else {
                out.push(b'%');
                out.extend(hex_digits(*byte));
            }
        }
    })
}

pub(super) fn int2hex(_: &[String]) -> Result<Code, String> {
    Ok(Box::new(|value, out| {
        let text = std::str::from_utf8(value).unwrap_or_default();
        let number = text.trim().parse::<i64>();
        number.is_ok_and(|number| write!(out, "{number:04X}").is_ok())
    }))
}

pub(super) fn ip2hex(_: &[String]) -> Result<Code, String> {
    Ok(Box::new(|value, out| {
        let text = std::str::from_utf8(value).unwrap_or_default();
        match text.parse() {
            Ok(IpAddr::V4(ip)) => ip.octets().iter().for_each(|b| out.extend(hex_digits(*b))),
            Ok(IpAddr::V6(ip)) => ip.octets().iter().for_each(|b| out.extend(hex_digits(*b))),
            Err(_) => return false,
        }
        true
    }))
}

pub(super) fn unhex(_: &[String]) -> Result<Code, String> {
    Ok(Box::new(|value, out| {
        let (pairs, rest) = value.as_chunks::<2>();
        let bytes: Option<Vec<u8>> = pairs
            .iter()
            .map(|[high, low]| digits(*high, *low))
            .collect();
        match bytes {
            Some(bytes) if rest.is_empty() => {
                out.extend(bytes);
                true
            }
            _ => false,
        }
    }))
}

/// Groups of bytes: delimiter, size, and whether what is left at the end is dropped.
fn groups(arguments: &[String]) -> Result<(Vec<u8>, usize, bool), String> {
    let delimiter = arguments.first().map_or("", String::as_str);
    let size = super::text::whole(arguments, 1, 1)?;
    let size = usize::try_from(size).ok().filter(|size| *size > 0);
    let size = size.ok_or("groups have at least one byte")?;
    let drops = super::text::whole(arguments, 2, 0)? != 0;
    Ok((delimiter.as_bytes().to_vec(), size, drops))
}

fn each_group(
    arguments: &[String],
    write: fn(&[u8], &mut Vec<u8>) -> bool,
) -> Result<Code, String> {
    let (delimiter, size, drops) = groups(arguments)?;
    Ok(Box::new(move |value, out| {
        let groups = value
            .chunks(size)
            .filter(|group| !drops || group.len() == size);
        let mut fits = true;
        for (index, group) in groups.enumerate() {
            if index > 0 {
                out.extend_from_slice(&delimiter);
            }
            fits &= write(group, out);
        }
        fits
    }))
}

pub(super) fn be2dec(arguments: &[String]) -> Result<Code, String> {
    if groups(arguments)?.1 > 8 {
        return Err("a number has at most 8 bytes".to_owned());
    }
    each_group(arguments, |group, out| {
        let number = group
            .iter()
            .fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
        write!(out, "{number}").is_ok()
    })
}

pub(super) fn be2hex(arguments: &[String]) -> Result<Code, String> {
    each_group(arguments, |group, out| {
        group.iter().for_each(|byte| out.extend(hex_digits(*byte)));
        true
    })
}

pub(super) fn json(arguments: &[String]) -> Result<Code, String> {
    let kind = arguments.first().map_or("", |kind| kind.trim());
    let (is_utf8, skips) = match kind {
        "" | "ascii" => (false, false),
        "utf8" | "utf8p" => (true, false),
        "utf8s" | "utf8ps" => (true, true),
        other => {
            return Err(format!(
                "{other:?} is none of ascii, utf8, utf8s, utf8p, utf8ps"
            ));
        }
    };
    Ok(Box::new(move |value, out| {
        if !is_utf8 {
            let bytes = value.iter().map(|byte| char::from(*byte));
            return bytes.fold(true, |fits, next| fits & escape(next, out));
        }
        for chunk in value.utf8_chunks() {
            if !chunk.invalid().is_empty() && !skips {
                return false;
            }
            if !chunk.valid().chars().all(|next| escape(next, out)) {
                return false;
            }
        }
        true
    }))
}

/// Writes a character as strings of JSON have it, beyond ASCII by its number.
fn escape(character: char, out: &mut Vec<u8>) -> bool {
    let short = match character {
        '"' | '\\' | '/' => Some(character),
        '\n' => Some('n'),
        '\r' => Some('r'),
        '\t' => Some('t'),
        '\u{8}' => Some('b'),
        '\u{c}' => Some('f'),
        _ => None,
    };
    if let Some(short) = short {
        return write!(out, "\\{short}").is_ok();
    }
    if (' '..='~').contains(&character) {
        return write!(out, "{character}").is_ok();
    }
    let mut units = [0; 2];
    let mut units = character.encode_utf16(&mut units).iter();
    units.all(|unit| write!(out, "\\u{unit:04x}").is_ok())
}
