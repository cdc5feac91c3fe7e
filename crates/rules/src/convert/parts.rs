//! What stands in values that have a structure: languages, hosts, JSON, times.

use std::io::Write;

use serde_json::Value;

use super::Code;
use super::text::{argument, whole};

/// Of several languages that are wished for, the one that is there and wished for most.
pub(super) fn language(arguments: &[String]) -> Result<Code, String> {
    let known: Vec<String> = argument(arguments, 0)
        .split(';')
        .map(|name| name.trim().to_owned())
        .collect();
    let default = arguments.get(1).cloned();
    Ok(Box::new(move |value, out| {
        let text = String::from_utf8_lossy(value);
        let mut best: Option<(u32, &str)> = None;
        for wish in text.split(',') {
            let (name, rest) = wish.split_once(';').unwrap_or((wish, ""));
            let weight = weight(rest);
            let found = known
                .iter()
                .find(|known| known.eq_ignore_ascii_case(name.trim()));
            if let Some(found) = found
                && weight > best.map_or(0, |(weight, _)| weight)
            {
                best = Some((weight, found));
            }
        }
        let Some(found) = best.map(|(_, name)| name).or(default.as_deref()) else {
            return false;
        };
        out.extend_from_slice(found.as_bytes());
        true
    }))
}

/// The weight of a wish in thousandths (RFC 9110 section 12.4.2).
fn weight(parameters: &str) -> u32 {
    let Some(text) = parameters.trim().strip_prefix("q=") else {
        return 1_000;
    };
    let text = text.trim();
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits: String = fraction.chars().chain("000".chars()).take(3).collect();
    let whole: u32 = whole.parse().unwrap_or(0);
    let part: u32 = digits.parse().unwrap_or(0);
    whole.saturating_mul(1_000).saturating_add(part).min(1_000)
}

/// A host as it stands in a header, cut in two.
fn host_and_port(value: &[u8]) -> (&[u8], &[u8]) {
    let host = clearway_http::uri::without_port(value);
    let rest = value.get(host.len()..).unwrap_or_default();
    (host, rest.strip_prefix(b":").unwrap_or(rest))
}

pub(super) fn host_only(_: &[String]) -> Result<Code, String> {
    Ok(Box::new(|value, out| {
        out.extend_from_slice(host_and_port(value).0);
        true
    }))
}

pub(super) fn port_only(_: &[String]) -> Result<Code, String> {
    Ok(Box::new(|value, out| {
        let (_, port) = host_and_port(value);
        let port = std::str::from_utf8(port).ok();
        let port: u16 = port.and_then(|port| port.parse().ok()).unwrap_or(0);
        write!(out, "{port}").is_ok()
    }))
}

/// A step on the way into a document.
enum Way {
    Name(String),
    Place(usize),
}

fn ways(path: &str) -> Result<Vec<Way>, String> {
    let bad = || format!("{path:?} is no path such as $.a.b[0]");
    let mut rest = path.trim().strip_prefix('$').ok_or_else(bad)?;
    let mut ways = Vec::new();
    while !rest.is_empty() {
        if let Some(tail) = rest.strip_prefix('.') {
            let end = name_end(tail);
            let (name, tail) = tail.split_at_checked(end).ok_or_else(bad)?;
            ways.push(Way::Name(name.replace("\\.", ".")));
            rest = tail;
        } else {
            let inner = rest.strip_prefix('[').ok_or_else(bad)?;
            let (place, tail) = inner.split_once(']').ok_or_else(bad)?;
            ways.push(match place.parse() {
                Ok(place) => Way::Place(place),
                Err(_) => Way::Name(place.trim_matches(['\'', '"']).to_owned()),
            });
            rest = tail;
        }
    }
    Ok(ways)
}

/// Where a name ends: at a dot that no backslash stands before, or at a bracket.
fn name_end(text: &str) -> usize {
    let mut is_escaped = false;
    for (at, next) in text.char_indices() {
        match next {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '.' | '[' => return at,
            _ => {}
        }
    }
    text.len()
}

pub(super) fn json_query(arguments: &[String]) -> Result<Code, String> {
    let ways = ways(argument(arguments, 0))?;
    let as_number = match argument(arguments, 1) {
        "" => false,
        "int" => true,
        other => return Err(format!("{other:?} is no kind: int is")),
    };
    Ok(Box::new(move |value, out| {
        let Ok(document) = serde_json::from_slice::<Value>(value) else {
            return false;
        };
        let found = ways.iter().try_fold(&document, |at, way| match way {
            Way::Name(name) => at.get(name.as_str()),
            Way::Place(place) => at.get(*place),
        });
        match found {
            None | Some(Value::Null) => false,
            Some(Value::Number(number)) if as_number => match number.as_f64() {
                Some(float) if !number.is_i64() => write!(out, "{:.0}", float.trunc()).is_ok(),
                _ => write!(out, "{number}").is_ok(),
            },
            Some(_) if as_number => false,
            Some(Value::String(text)) => {
                out.extend_from_slice(text.as_bytes());
                true
            }
            Some(Value::Bool(truth)) => {
                out.push(if *truth { b'1' } else { b'0' });
                true
            }
            Some(other @ (Value::Number(_) | Value::Array(_) | Value::Object(_))) => {
                write!(out, "{other}").is_ok()
            }
        }
    }))
}

/// Days since 1970 as year, month and day of the Gregorian calendar.
fn civil(days: i64) -> (i64, i64, i64) {
    // Years begin in March here, so that the leap day is the last of one.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + i64::from(month <= 2), month, day)
}

const DAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// Writes a time in UTC by the letters of `strftime`.
fn write_time(seconds: i64, format: &str, out: &mut Vec<u8>) -> bool {
    let days = seconds.div_euclid(86_400);
    let of_day = seconds.rem_euclid(86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    let place = |number: i64| usize::try_from(number).unwrap_or(0);
    let weekday = (days + 4).rem_euclid(7);
    let weekday_name = DAYS.get(place(weekday)).copied().unwrap_or_default();
    let month_name = MONTHS.get(place(month - 1)).copied().unwrap_or_default();
    let short = |name: &'static str| name.get(..3).unwrap_or(name);
    let of_year = (1..=366).find(|back| civil(days - back).0 != year);
    let mut letters = format.chars();
    let mut fits = true;
    while let Some(next) = letters.next() {
        if next != '%' {
            fits &= write!(out, "{next}").is_ok();
            continue;
        }
        fits &= match letters.next() {
            Some('Y') => write!(out, "{year}"),
            Some('y') => write!(out, "{:02}", year.rem_euclid(100)),
            Some('C') => write!(out, "{:02}", year / 100),
            Some('m') => write!(out, "{month:02}"),
            Some('d') => write!(out, "{day:02}"),
            Some('e') => write!(out, "{day:2}"),
            Some('H') => write!(out, "{hour:02}"),
            Some('I') => write!(out, "{:02}", (hour + 11) % 12 + 1),
            Some('p') => out.write_all(if hour < 12 { b"AM" } else { b"PM" }),
            Some('M') => write!(out, "{minute:02}"),
            Some('S') => write!(out, "{second:02}"),
            Some('j') => write!(out, "{:03}", of_year.unwrap_or(1)),
            Some('u') => write!(out, "{}", if weekday == 0 { 7 } else { weekday }),
            Some('w') => write!(out, "{weekday}"),
            Some('a') => write!(out, "{}", short(weekday_name)),
            Some('A') => write!(out, "{weekday_name}"),
            Some('b' | 'h') => write!(out, "{}", short(month_name)),
            Some('B') => write!(out, "{month_name}"),
            Some('s') => write!(out, "{seconds}"),
            Some('Z') => write!(out, "UTC"),
            Some('z') => write!(out, "+0000"),
            Some('n') => out.write_all(b"\n"),
            Some('t') => out.write_all(b"\t"),
            Some('F') => write!(out, "{year}-{month:02}-{day:02}"),
            Some('T') => write!(out, "{hour:02}:{minute:02}:{second:02}"),
            Some('R') => write!(out, "{hour:02}:{minute:02}"),
            Some('D') => write!(out, "{month:02}/{day:02}/{:02}", year.rem_euclid(100)),
            Some('%') | None => out.write_all(b"%"),
            Some(other) => write!(out, "%{other}"),
        }
        .is_ok();
    }
    fits
}

/// Seconds with an offset from now on.
fn time(arguments: &[String], offset_at: usize, format: &str) -> Result<Code, String> {
    let offset = whole(arguments, offset_at, 0)?;
    let format = format.to_owned();
    Ok(Box::new(move |value, out| {
        let text = std::str::from_utf8(value).unwrap_or_default();
        let Ok(seconds) = text.trim().parse::<i64>() else {
            return false;
        };
        // Beyond it lies no year that anybody writes.
        let seconds = seconds.saturating_add(offset);
        seconds.unsigned_abs() < 1 << 40 && write_time(seconds, &format, out)
    }))
}

pub(super) fn utime(arguments: &[String]) -> Result<Code, String> {
    time(arguments, 1, argument(arguments, 0))
}

pub(super) fn http_date(arguments: &[String]) -> Result<Code, String> {
    time(arguments, 0, "%a, %d %b %Y %T GMT")
}
