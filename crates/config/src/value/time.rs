//! Durations: `"500ms"`, `"5s"`, `"1m30s"`, `"1h"`.

use std::time::Duration;

use serde_json::{Value as Json, json};

use super::{Problem, Reader, Spec, Value};
use crate::syntax::Node;

/// Units with their length in nanoseconds, longest first.
const UNITS: [(&str, u64); 7] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// Longer ones are mistakes, and sums of a few of them still fit every clock.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 86_400);

const KIND: &str = "a duration such as \"500ms\", \"5s\" or \"1h\"";

/// Reads a duration.
pub(crate) fn parse(text: &str) -> Result<Duration, Problem> {
    let bad = || Problem::new(format!("{text:?} is not a duration"), KIND);
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(bad());
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let letters = after
            .find(|c: char| !c.is_alphabetic())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        rest = after.trim_start();
        let number: u64 = number.parse().map_err(|_| bad())?;
        if unit.is_empty() {
            let hint = format!("add a unit, as in \"{number}s\"");
            return Err(bad().hint(hint));
        }
        let known = UNITS
            .iter()
            .find(|(name, _)| *name == unit || (*name == "us" && unit == "µs"));
        let Some((_, nanoseconds)) = known else {
            return Err(bad().hint("the units are ns, us, ms, s, m, h and d"));
        };
        let part = number.checked_mul(*nanoseconds);
        total = part
            .and_then(|part| total.checked_add(part))
            .ok_or_else(bad)?;
    }
    let duration = Duration::from_nanos(total);
    if duration > LONGEST {
        return Err(Problem::new(
            format!("{text:?} is longer than ten years"),
            "a shorter duration",
        ));
    }
    Ok(duration)
}

/// Prints a duration in the largest unit up to hours that keeps it whole; one minute is `60s`.
pub(crate) fn print(duration: Duration) -> String {
    let nanoseconds = duration.as_nanos();
    if nanoseconds == 0 {
        return "0s".to_owned();
    }
    let units = UNITS.iter().filter(|(name, _)| *name != "d");
    for (name, length) in units {
        let length = u128::from(*length);
        let count = nanoseconds / length;
        let enough = if *name == "m" { 2 } else { 1 };
        if nanoseconds.is_multiple_of(length) && count >= enough {
            return format!("{count}{name}");
        }
    }
    format!("{nanoseconds}ns")
}

impl Value for Duration {
    fn read(node: &Node, spec: &Spec, reader: &mut Reader<'_>) -> Option<Self> {
        if let Some(number) = node.as_integer() {
            let problem = Problem::new("a duration needs a unit", KIND);
            let hint = format!("write \"{number}s\" for seconds");
            return reader.wrong_value(node, problem.hint(hint));
        }
        let Some(text) = node.as_text() else {
            return reader.wrong_type(node, KIND);
        };
        let problem = match (parse(text), spec.range) {
            (Err(problem), _) => problem,
            (Ok(duration), Some((least, most))) if !spec.allows(duration.as_secs_f64()) => {
                let words = |seconds| print(Self::from_secs_f64(seconds));
                Problem::new(
                    format!("{} is out of range", print(duration)),
                    format!("{} to {}", words(least), words(most)),
                )
            }
            (Ok(duration), _) => return Some(duration),
        };
        reader.wrong_value(node, problem)
    }

    fn print(&self, _: &Spec, out: &mut String) {
        out.push_str(&format!("\"{}\"", print(*self)));
    }

    fn kind(_: &Spec) -> String {
        "duration".to_owned()
    }

    fn schema(_: &Spec) -> Json {
        json!({ "type": "string", "pattern": "^([0-9]+(ns|us|µs|ms|s|m|h|d) ?)+$" })
    }

    #[cfg(test)]
    fn sample(rng: &mut clearway_base::rng::Rng, spec: &Spec) -> Self {
        let (least, most) = spec.range.unwrap_or((0.0, 100_000.0));
        let units = [1, 1_000, 1_000_000, 60_000_000];
        let unit = units[usize::try_from(rng.below(4)).unwrap()];
        let drawn = Self::from_micros(rng.below(5_000) * unit);
        drawn.clamp(Self::from_secs_f64(least), Self::from_secs_f64(most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_in_every_unit() {
        for (text, millis) in [
            ("500ms", 500),
            ("5s", 5_000),
            ("1m30s", 90_000),
            ("1h", 3_600_000),
            ("2d", 172_800_000),
            ("1s 500ms", 1_500),
            ("0s", 0),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        assert_eq!(parse("3µs"), Ok(Duration::from_micros(3)));
        for bad in [
            "",
            "5",
            "s",
            "5 parsecs",
            "-1s",
            "1.5s",
            "99999999999999h",
            "4000d",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn printing_keeps_them_whole() {
        for (millis, text) in [
            (0, "0s"),
            (1_500, "1500ms"),
            (60_000, "60s"),
            (90_000, "90s"),
            (120_000, "2m"),
            (300_000, "5m"),
            (3_600_000, "1h"),
        ] {
            assert_eq!(print(Duration::from_millis(millis)), text);
        }
    }
}
