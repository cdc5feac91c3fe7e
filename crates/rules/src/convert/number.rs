//! Numbers, written in decimal.

use std::io::Write;

use super::{Code, text};

/// The number that a text begins with; none when it begins with none.
fn read(value: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(value).ok()?.trim();
    match text {
        "true" => return Some(1),
        "false" => return Some(0),
        _ => {}
    }
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    let end = digits.bytes().position(|b| !b.is_ascii_digit());
    let digits = digits.get(..end.unwrap_or(digits.len()))?;
    if digits.is_empty() {
        return None;
    }
    let number = digits.parse::<i64>().unwrap_or(i64::MAX);
    Some(number * sign)
}

fn each(work: impl Fn(i64) -> i64 + Send + Sync + 'static) -> Result<Code, String> {
    Ok(Box::new(move |value, out| match read(value) {
        Some(number) => write!(out, "{}", work(number)).is_ok(),
        None => false,
    }))
}

fn with(arguments: &[String], work: fn(i64, i64) -> i64) -> Result<Code, String> {
    let other = text::whole(arguments, 0, 0)?;
    each(move |number| work(number, other))
}

pub(super) fn length(_: &[String]) -> Result<Code, String> {
    Ok(Box::new(|value, out| {
        write!(out, "{}", value.len()).is_ok()
    }))
}

pub(super) fn text_length(_: &[String]) -> Result<Code, String> {
    Ok(Box::new(|value, out| {
        let end = value.iter().position(|byte| *byte == 0);
        write!(out, "{}", end.unwrap_or(value.len())).is_ok()
    }))
}

/// As a number of its own.
pub(super) fn int(_: &[String]) -> Result<Code, String> {
    Ok(Box::new(|value, out| {
        !value.is_empty() && write!(out, "{}", read(value).unwrap_or(0)).is_ok()
    }))
}

pub(super) fn add(arguments: &[String]) -> Result<Code, String> {
    with(arguments, i64::saturating_add)
}

pub(super) fn sub(arguments: &[String]) -> Result<Code, String> {
    with(arguments, i64::saturating_sub)
}

pub(super) fn mul(arguments: &[String]) -> Result<Code, String> {
    with(arguments, i64::saturating_mul)
}

pub(super) fn div(arguments: &[String]) -> Result<Code, String> {
    with(arguments, |a, b| a.checked_div(b).unwrap_or(i64::MAX))
}

pub(super) fn rem(arguments: &[String]) -> Result<Code, String> {
    with(arguments, |a, b| a.checked_rem(b).unwrap_or(0))
}

pub(super) fn neg(_: &[String]) -> Result<Code, String> {
    each(i64::saturating_neg)
}

pub(super) fn bool(_: &[String]) -> Result<Code, String> {
    each(|number| i64::from(number != 0))
}

pub(super) fn not(_: &[String]) -> Result<Code, String> {
    each(|number| i64::from(number == 0))
}

pub(super) fn odd(_: &[String]) -> Result<Code, String> {
    each(|number| number & 1)
}

pub(super) fn even(_: &[String]) -> Result<Code, String> {
    each(|number| i64::from(number & 1 == 0))
}

pub(super) fn and(arguments: &[String]) -> Result<Code, String> {
    with(arguments, |a, b| a & b)
}

pub(super) fn or(arguments: &[String]) -> Result<Code, String> {
    with(arguments, |a, b| a | b)
}

pub(super) fn xor(arguments: &[String]) -> Result<Code, String> {
    with(arguments, |a, b| a ^ b)
}

pub(super) fn cpl(_: &[String]) -> Result<Code, String> {
    each(|number| !number)
}
