//! Numbers, sizes in bytes, and truth values.

use serde_json::{Value as Json, json};

use super::{Problem, Reader, Spec, Value};
use crate::syntax::Node;

/// Units of sizes, largest first.
const UNITS: [(&str, u64); 4] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

const SIZE: &str = "a size such as \"16KiB\", \"1MiB\" or a number of bytes";

/// Reads a size with a unit.
fn parse_size(text: &str) -> Result<u64, Problem> {
    let bad = || Problem::new(format!("{text:?} is not a size"), SIZE);
    let text = text.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| bad())?;
    let unit = unit.trim_start();
    let Some((_, bytes)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        let problem = bad();
        return Err(match unit.to_ascii_lowercase().as_str() {
            "k" | "kb" | "kib" => problem.hint(format!("write \"{number}KiB\"")),
            "m" | "mb" | "mib" => problem.hint(format!("write \"{number}MiB\"")),
            "g" | "gb" | "gib" => problem.hint(format!("write \"{number}GiB\"")),
            "" => problem.hint(format!("write {number} without quotes for bytes")),
            _ => problem.hint("the units are B, KiB, MiB and GiB"),
        });
    };
    number.checked_mul(*bytes).ok_or_else(bad)
}

/// Prints a size in the largest unit that keeps it whole.
fn print_size(size: u64) -> String {
    let whole =
        |&&(name, bytes): &&(&str, u64)| name != "B" && size > 0 && size.is_multiple_of(bytes);
    match UNITS.iter().find(whole) {
        Some((name, bytes)) => format!("\"{}{name}\"", size / bytes),
        None => size.to_string(),
    }
}

fn range_words(spec: &Spec) -> String {
    match spec.range {
        Some((least, most)) if spec.bytes => {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "ranges of sizes are written as whole positive numbers"
            )]
            let words = |size: f64| print_size(size as u64).replace('"', "");
            format!("{} to {}", words(least), words(most))
        }
        Some((least, most)) => format!("{least} to {most}"),
        None => "a whole number from 0".to_owned(),
    }
}

/// Reads a whole number, or a size where the field is one.
fn read_whole(node: &Node, spec: &Spec, largest: u64, reader: &mut Reader<'_>) -> Option<u64> {
    let kind = if spec.bytes { SIZE } else { "a whole number" };
    let result = match (node.as_integer(), node.as_text()) {
        (Some(number), _) => u64::try_from(number)
            .map_err(|_| Problem::new(format!("{number} is negative"), range_words(spec))),
        (None, Some(text)) if spec.bytes => parse_size(text),
        (None, Some(text)) if text.parse::<u64>().is_ok() => {
            Err(Problem::new("this is text", kind).hint("remove the quotes"))
        }
        (None, _) if node.as_number().is_some_and(f64::is_infinite) => Err(Problem::new(
            "this number is out of range",
            range_words(spec),
        )),
        (None, _) => return reader.wrong_type(node, kind),
    };
    #[expect(
        clippy::cast_precision_loss,
        reason = "the bounds are far below 53 bits"
    )]
    let result = result.and_then(|number| {
        let out = || Problem::new(format!("{number} is out of range"), range_words(spec));
        if number > largest {
            return Err(Problem::new(
                format!("{number} is too large"),
                format!("at most {largest}"),
            ));
        }
        if spec.allows(number as f64) {
            Ok(number)
        } else {
            Err(out())
        }
    });
    result.map_or_else(|problem| reader.wrong_value(node, problem), Some)
}

macro_rules! whole_numbers {
    ($($type:ty),+) => {$(
        impl Value for $type {
            fn read(node: &Node, spec: &Spec, reader: &mut Reader<'_>) -> Option<Self> {
                let largest = u64::try_from(Self::MAX).unwrap_or(u64::MAX);
                let number = read_whole(node, spec, largest, reader)?;
                Self::try_from(number).ok()
            }

            fn print(&self, spec: &Spec, out: &mut String) {
                let number = u64::try_from(*self).unwrap_or(u64::MAX);
                out.push_str(&if spec.bytes { print_size(number) } else { number.to_string() });
            }

            fn kind(spec: &Spec) -> String {
                let name = if spec.bytes { "size" } else { "number" };
                match spec.range {
                    Some(_) => format!("{name}, {}", range_words(spec)),
                    None => name.to_owned(),
                }
            }

            fn schema(spec: &Spec) -> Json {
                let (least, most) = spec.range.unwrap_or((0.0, f64::MAX));
                let mut number = json!({ "type": "integer", "minimum": least });
                if let (Json::Object(fields), true) = (&mut number, most < f64::MAX) {
                    fields.insert("maximum".to_owned(), json!(most));
                }
                if spec.bytes {
                    json!({ "anyOf": [
                        number,
                        { "type": "string", "pattern": "^[0-9]+ ?(B|KiB|MiB|GiB)$" },
                    ] })
                } else {
                    number
                }
            }

            #[cfg(test)]
            fn sample(rng: &mut clearway_base::rng::Rng, spec: &Spec) -> Self {
                let (least, most) = spec.range.unwrap_or((0.0, 100_000.0));
                let whole = |bound: f64| format!("{bound:.0}").parse::<u64>().unwrap();
                let (least, most) = (whole(least), whole(most));
                let number = (rng.below(40) << rng.below(12)).clamp(least, most);
                Self::try_from(number).unwrap_or(Self::MAX)
            }
        }
    )+};
}

whole_numbers!(u8, u16, u32, u64, usize);

impl Value for f64 {
    fn read(node: &Node, spec: &Spec, reader: &mut Reader<'_>) -> Option<Self> {
        let Some(number) = node.as_number() else {
            return reader.wrong_type(node, "a number");
        };
        if number.is_finite() && spec.allows(number) {
            return Some(number);
        }
        let problem = Problem::new(format!("{number} is out of range"), range_words(spec));
        reader.wrong_value(node, problem)
    }

    fn print(&self, _: &Spec, out: &mut String) {
        // `{:?}` keeps the point of whole numbers, which TOML needs in a float.
        out.push_str(&format!("{self:?}"));
    }

    fn kind(spec: &Spec) -> String {
        match spec.range {
            Some(_) => format!("number, {}", range_words(spec)),
            None => "number".to_owned(),
        }
    }

    fn schema(spec: &Spec) -> Json {
        match spec.range {
            Some((least, most)) => json!({ "type": "number", "minimum": least, "maximum": most }),
            None => json!({ "type": "number" }),
        }
    }

    #[cfg(test)]
    fn sample(rng: &mut clearway_base::rng::Rng, spec: &Spec) -> Self {
        let (least, most) = spec.range.unwrap_or((0.0, 1.0));
        least + rng.unit() * (most - least)
    }
}

impl Value for bool {
    fn read(node: &Node, _: &Spec, reader: &mut Reader<'_>) -> Option<Self> {
        let flag = node.as_bool();
        flag.or_else(|| reader.wrong_type(node, "true or false"))
    }

    fn print(&self, _: &Spec, out: &mut String) {
        out.push_str(if *self { "true" } else { "false" });
    }

    fn kind(_: &Spec) -> String {
        "true or false".to_owned()
    }

    fn schema(_: &Spec) -> Json {
        json!({ "type": "boolean" })
    }

    #[cfg(test)]
    fn sample(rng: &mut clearway_base::rng::Rng, _: &Spec) -> Self {
        rng.below(2) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_need_exact_units() {
        assert_eq!(parse_size("16KiB"), Ok(16_384));
        assert_eq!(parse_size("1 MiB"), Ok(1 << 20));
        assert_eq!(parse_size("7B"), Ok(7));
        let hint = parse_size("16k").unwrap_err().hint;
        assert_eq!(hint.as_deref(), Some("write \"16KiB\""));
        assert!(parse_size("99999999999999GiB").is_err());
        assert_eq!(print_size(16_384), "\"16KiB\"");
        assert_eq!(
            (print_size(0), print_size(1_000)),
            ("0".into(), "1000".into())
        );
    }
}
