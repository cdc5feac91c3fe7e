//! Encodings and check sums.

use std::io::Write;

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

pub(super) fn json(_: &[String]) -> Result<Code, String> {
    always(|value, out| {
        for character in String::from_utf8_lossy(value).chars() {
            match character {
                '"' | '\\' | '/' => out.extend([b'\\', u8::try_from(character).unwrap_or(b'"')]),
                '\n' => out.extend(b"\\n"),
                '\r' => out.extend(b"\\r"),
                '\t' => out.extend(b"\\t"),
                '\u{8}' => out.extend(b"\\b"),
                '\u{c}' => out.extend(b"\\f"),
                c if u32::from(c) < 0x20 => {
                    out.extend(format!("\\u{:04x}", u32::from(c)).into_bytes());
                }
                c => out.extend(c.to_string().into_bytes()),
            }
        }
    })
}
