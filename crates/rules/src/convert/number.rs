//! Numbers, written in decimal.

use std::io::Write;

use super::{Code, text};

/// The number that a text begins with; none when it is no number.
fn read(value: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(value).ok()?.trim();
    match text {
        "true" => Some(1),
        "false" => Some(0),
        _ => text.parse().ok(),
    }
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
