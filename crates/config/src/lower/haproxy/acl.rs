//! Conditions: ACLs, and what stands behind `if` and `unless`.

use std::collections::BTreeMap;
use std::path::Path;

use clearway_rules::ast::{Convert, Fetch};
use ipnet::IpNet;

use super::sample::{self, Kind, Sample};
use super::users;
use crate::lower::build::{all_of, fetch_text, never, not, one_of, regex_escape, value};
use crate::model::{Condition, RegexText, ValueTest};
use crate::value::Text;

/// ACLs by name. Several of one name hold when one of them does.
pub(super) type Acls = BTreeMap<String, Vec<Condition>>;

/// How values are compared, from the flags before the patterns.
#[derive(Default)]
struct Flags {
    ignore_case: bool,
    method: Option<String>,
    files: Vec<String>,
    /// The files are maps: patterns are their first words.
    are_maps: bool,
}

/// Reads a criterion with flags and patterns.
///
/// # Errors
/// A sentence about what is wrong or not known.
pub(super) fn criterion(words: &[&str]) -> Result<Condition, String> {
    let Some((expression, rest)) = words.split_first() else {
        return Err("a criterion is missing".to_owned());
    };
    let sample = sample::read(expression)?;
    let (flags, patterns) = flags(rest)?;
    let mut patterns: Vec<String> = patterns.iter().map(|text| (*text).to_owned()).collect();
    for file in &flags.files {
        let first = |line: String| match line.split_once([' ', '\t']) {
            Some((key, _)) if flags.are_maps => key.to_owned(),
            Some(_) | None => line,
        };
        patterns.extend(lines_of(file)?.into_iter().map(first));
    }
    let method = flags.method.as_deref().or(sample.method);
    compare(&sample, method, flags.ignore_case, &patterns)
}

/// The same where ACLs say which users there are.
///
/// # Errors
/// A sentence about what is wrong or not known.
pub(super) fn criterion_among(words: &[&str], acls: &Acls) -> Result<Condition, String> {
    if let [word] = words
        && let Some(names) = word.strip_prefix("acl(").and_then(|w| w.strip_suffix(')'))
    {
        return all_named(names, acls);
    }
    users::criterion(words, acls).unwrap_or_else(|| criterion(words))
}

/// `acl(NAME,!NAME…)`: all these ACLs hold, and those behind `!` do not.
fn all_named(names: &str, acls: &Acls) -> Result<Condition, String> {
    let one = |name: &str| {
        let bare = name.strip_prefix('!').unwrap_or(name);
        let found = acls
            .get(bare)
            .ok_or_else(|| format!("there is no acl {bare:?} above"))?;
        let condition = one_of(found.clone());
        Ok(match bare == name {
            true => condition,
            false => not(condition),
        })
    };
    let all: Result<Vec<Condition>, String> = names.split(',').map(|n| one(n.trim())).collect();
    all.map(all_of)
}

fn flags<'a>(words: &'a [&'a str]) -> Result<(Flags, &'a [&'a str]), String> {
    let mut flags = Flags::default();
    let mut rest = words;
    while let [word, tail @ ..] = rest {
        match (*word, tail) {
            ("--", tail) => return Ok((flags, tail)),
            ("-i", tail) => {
                flags.ignore_case = true;
                rest = tail;
            }
            // Host names among addresses: there is nothing to look up.
            ("-n", tail) => rest = tail,
            ("-m", [method, tail @ ..]) => {
                flags.method = Some((*method).to_owned());
                rest = tail;
            }
            ("-f", [file, tail @ ..]) => {
                flags.files.push((*file).to_owned());
                rest = tail;
            }
            ("-u", [_, tail @ ..]) => rest = tail,
            ("-M", tail) => {
                flags.are_maps = true;
                rest = tail;
            }
            (word, _) if word.starts_with('-') && word.len() == 2 && !is_number(word) => {
                return Err(format!("the flag {word} is not known"));
            }
            _ => break,
        }
    }
    Ok((flags, rest))
}

fn is_number(word: &str) -> bool {
    word.parse::<i64>().is_ok()
}

/// The patterns of a file, one in each line, without comments.
fn lines_of(file: &str) -> Result<Vec<String>, String> {
    let text = std::fs::read_to_string(Path::new(file))
        .map_err(|error| format!("cannot read {file}: {error}"))?;
    let lines = text.lines().map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    Ok(lines.map(str::to_owned).collect())
}

/// A test of a value against patterns.
fn compare(
    sample: &Sample,
    method: Option<&str>,
    ignore_case: bool,
    patterns: &[String],
) -> Result<Condition, String> {
    let test = ValueTest {
        of: fetch_text(&sample.fetch)?,
        ignore_case,
        ..ValueTest::default()
    };
    let method = method.unwrap_or(match sample.kind {
        Kind::Text | Kind::Method => "str",
        Kind::Number => "int",
        Kind::Truth => "bool",
        Kind::Address => "ip",
    });
    if !matches!(method, "found" | "bool") && patterns.is_empty() {
        return Err("patterns are missing".to_owned());
    }
    let all = patterns.to_vec();
    let test = match method {
        "found" => test,
        "bool" => {
            let mut is = "1";
            let mut fetch = sample.fetch.clone();
            if sample.kind != Kind::Truth {
                fetch = fetch.through(vec![Convert::new("int"), Convert::new("bool")]);
            }
            if patterns
                .iter()
                .any(|word| matches!(word.as_str(), "0" | "false" | "no" | "off"))
            {
                is = "0";
            }
            ValueTest {
                of: fetch_text(&fetch)?,
                is: vec![is.to_owned()],
                ..test
            }
        }
        "str" => ValueTest { is: all, ..test },
        "bin" => ValueTest {
            of: fetch_text(&sample.fetch.clone().through(vec![Convert::new("hex")]))?,
            is: hexadecimal(patterns)?,
            ..test
        },
        "beg" => ValueTest {
            begins: all,
            ..test
        },
        "end" => ValueTest { ends: all, ..test },
        "sub" => ValueTest {
            contains: all,
            ..test
        },
        "reg" => ValueTest {
            regex: regexes(patterns, |pattern| pattern.to_owned())?,
            ..test
        },
        // Between slashes, and for domains between dots too.
        "dir" => ValueTest {
            regex: regexes(patterns, |pattern| between("/?", pattern))?,
            ..test
        },
        "dom" => ValueTest {
            regex: regexes(patterns, |pattern| between("/?.:", pattern))?,
            ..test
        },
        "ip" => ValueTest {
            within: networks(patterns)?,
            ..test
        },
        "int" => {
            let test = match sample.kind {
                Kind::Text => ValueTest {
                    of: fetch_text(&sample.fetch.clone().through(vec![Convert::new("int")]))?,
                    ..test
                },
                Kind::Number | Kind::Truth | Kind::Address | Kind::Method => test,
            };
            return numbers(&test, patterns, false);
        }
        "len" => return numbers(&test, patterns, true),
        other => return Err(format!("the way of matching {other:?} is not known here")),
    };
    Ok(value(test))
}

/// Patterns that are bytes in hexadecimal, in the form that `hex` gives values.
fn hexadecimal(patterns: &[String]) -> Result<Vec<String>, String> {
    let read = |text: &String| {
        let is_hex = text.len().is_multiple_of(2) && text.bytes().all(|b| b.is_ascii_hexdigit());
        match is_hex {
            true => Ok(text.to_ascii_uppercase()),
            false => Err(format!("{text:?} is not hexadecimal")),
        }
    };
    patterns.iter().map(read).collect()
}

fn regexes(patterns: &[String], make: impl Fn(&str) -> String) -> Result<Vec<RegexText>, String> {
    let regex = |pattern: &String| {
        RegexText::parse(&make(pattern)).map_err(|problem| match problem.hint {
            Some(hint) => format!("{}: {hint}", problem.message),
            None => problem.message,
        })
    };
    patterns.iter().map(regex).collect()
}

/// A text that stands alone between delimiters.
pub(super) fn between(delimiters: &str, pattern: &str) -> String {
    let set = format!("[{delimiters}]");
    let text = pattern.trim_matches(|c| delimiters.contains(c));
    format!("(?:^|{set}){}(?:{set}|$)", regex_escape(text))
}

pub(super) fn networks(patterns: &[String]) -> Result<Vec<IpNet>, String> {
    let network = |pattern: &String| {
        let (address, mask) = pattern.split_once('/').unwrap_or((pattern, ""));
        let Ok(address) = address.parse::<std::net::IpAddr>() else {
            return Err(format!("{pattern:?} is no address"));
        };
        let most = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match mask {
            "" => Some(most),
            mask => match mask.parse::<std::net::IpAddr>() {
                Ok(mask) => ipnet::ip_mask_to_prefix(mask).ok(),
                Err(_) => mask.parse().ok(),
            },
        };
        let network = prefix.and_then(|prefix| IpNet::new(address, prefix).ok());
        network.ok_or_else(|| format!("{pattern:?} is no network"))
    };
    patterns.iter().map(network).collect()
}

/// Bounds of a number or a length; each may have several.
fn numbers(test: &ValueTest, patterns: &[String], is_length: bool) -> Result<Condition, String> {
    let mut any = Vec::new();
    let mut operator = "eq";
    for pattern in patterns {
        if let "eq" | "ge" | "gt" | "le" | "lt" = pattern.as_str() {
            operator = pattern;
            continue;
        }
        let mut test = test.clone();
        if !is_length && (pattern.starts_with('-') || pattern.contains(":-")) {
            any.push(signed(&test, operator, pattern)?);
            continue;
        }
        let (min, max) = bounds(operator, pattern)
            .ok_or_else(|| format!("{pattern:?} is no number and no range"))?;
        if is_length {
            let length = |bound: u64| usize::try_from(bound).unwrap_or(usize::MAX);
            test.least_bytes = Some(length(min));
            test.most_bytes = max.map(length);
        } else {
            if max.is_some_and(|max| max < min) {
                any.push(never());
                continue;
            }
            test.min = Some(min);
            test.max = max;
        }
        any.push(value(test));
    }
    if any.is_empty() {
        return Err("a number is missing".to_owned());
    }
    Ok(one_of(any))
}

/// Bounds below zero: both sides are moved up until they are not.
fn signed(test: &ValueTest, operator: &str, pattern: &str) -> Result<Condition, String> {
    let bad = || format!("{pattern:?} is no number and no range");
    let number = |text: &str| text.parse::<i64>().map_err(|_| bad());
    let (min, max) = match pattern.split_once(':') {
        Some((from, "")) => (Some(number(from)?), None),
        Some(("", to)) => (None, Some(number(to)?)),
        Some((from, to)) => (Some(number(from)?), Some(number(to)?)),
        None => {
            let bound = number(pattern)?;
            match operator {
                "ge" => (Some(bound), None),
                "gt" => (Some(bound.saturating_add(1)), None),
                "le" => (None, Some(bound)),
                "lt" => (None, Some(bound.saturating_sub(1))),
                _ => (Some(bound), Some(bound)),
            }
        }
    };
    let moved = |convert: Vec<Convert>| {
        let fetch = Fetch::parse(test.of.as_str())?;
        let test = ValueTest {
            of: fetch_text(&fetch.through(convert))?,
            min: Some(0),
            ..test.clone()
        };
        Ok::<_, String>(value(test))
    };
    let mut all = Vec::new();
    if let Some(min) = min {
        all.push(moved(vec![Convert::with("sub", &[&min.to_string()])])?);
    }
    if let Some(max) = max {
        let steps = vec![
            Convert::new("neg"),
            Convert::with("add", &[&max.to_string()]),
        ];
        all.push(moved(steps)?);
    }
    Ok(all_of(all))
}

pub(super) fn bounds(operator: &str, pattern: &str) -> Option<(u64, Option<u64>)> {
    // What is compared is never negative.
    let number = |text: &str| match text.strip_prefix('-') {
        Some(rest) => rest.parse::<u64>().ok().map(|_| 0),
        None => text.parse::<u64>().ok(),
    };
    if let Some((from, to)) = pattern.split_once(':') {
        let from = if from.is_empty() { 0 } else { number(from)? };
        let to = if to.is_empty() {
            None
        } else {
            Some(number(to)?)
        };
        return Some((from, to));
    }
    let bound = number(pattern)?;
    Some(match operator {
        "ge" => (bound, None),
        "gt" => (bound.checked_add(1)?, None),
        "le" => (0, Some(bound)),
        "lt" => (u64::from(bound == 0), Some(bound.saturating_sub(1))),
        _ => (bound, Some(bound)),
    })
}

/// The condition at the end of a line, behind `if` or `unless`; always when there is none. Also the
/// words before it.
///
/// # Errors
/// A sentence about what is wrong or not known.
pub(super) fn of_line<'a>(
    words: &'a [&'a str],
    acls: &Acls,
) -> Result<(&'a [&'a str], Condition), String> {
    let at = words
        .iter()
        .position(|word| matches!(*word, "if" | "unless"));
    let Some(at) = at else {
        return Ok((words, Condition::default()));
    };
    let (before, behind) = words.split_at_checked(at).unwrap_or((words, &[]));
    let terms = behind.get(1..).unwrap_or_default();
    let condition = expression(terms, acls)?;
    Ok(match behind.first() {
        Some(&"unless") => (before, not(condition)),
        _ => (before, condition),
    })
}

fn expression(words: &[&str], acls: &Acls) -> Result<Condition, String> {
    let (mut any, mut all) = (Vec::new(), Vec::new());
    let mut rest = words;
    let mut is_negated = false;
    while let [word, tail @ ..] = rest {
        rest = tail;
        match *word {
            "or" | "||" | "OR" => {
                if all.is_empty() {
                    return Err("\"or\" stands alone".to_owned());
                }
                any.push(all_of(std::mem::take(&mut all)));
                continue;
            }
            "!" => {
                is_negated = !is_negated;
                continue;
            }
            _ => {}
        }
        let bare = word.trim_start_matches('!');
        let turns = word.len() - bare.len();
        is_negated ^= turns % 2 == 1;
        let condition = if bare == "{" {
            let end = rest.iter().position(|word| *word == "}");
            let Some(end) = end else {
                return Err("a closing brace is missing".to_owned());
            };
            let (inner, behind) = rest.split_at_checked(end).unwrap_or((rest, &[]));
            rest = behind.get(1..).unwrap_or_default();
            criterion_among(inner, acls)?
        } else {
            named(bare, acls)?
        };
        all.push(if std::mem::take(&mut is_negated) {
            not(condition)
        } else {
            condition
        });
    }
    if all.is_empty() {
        return Err("a condition is missing".to_owned());
    }
    any.push(all_of(all));
    Ok(one_of(any))
}

fn named(name: &str, acls: &Acls) -> Result<Condition, String> {
    if let Some(conditions) = acls.get(name) {
        return Ok(one_of(conditions.clone()));
    }
    predefined(name).unwrap_or_else(|| Err(format!("there is no ACL {name:?} above this line")))
}

/// The ACLs that exist without being written.
fn predefined(name: &str) -> Option<Result<Condition, String>> {
    let words: &[&str] = match name {
        "TRUE" => return Some(Ok(Condition::default())),
        "FALSE" => return Some(Ok(never())),
        "HTTP" => return Some(Ok(Condition::default())),
        "WAIT_END" => return Some(Ok(Condition::default())),
        "HTTP_1.0" => &["req.ver", "1.0"],
        "HTTP_1.1" => &["req.ver", "1.1"],
        "HTTP_2.0" => &["req.ver", "2.0"],
        "HTTP_CONTENT" => &["req.hdr_val(content-length)", "gt", "0"],
        "HTTP_URL_ABS" => &["url_reg", "^[^/:]*://"],
        "HTTP_URL_SLASH" => &["url_beg", "/"],
        "HTTP_URL_STAR" => &["url", "*"],
        "LOCALHOST" => &["src", "127.0.0.1/8", "::1"],
        "METH_CONNECT" => &["method", "CONNECT"],
        "METH_DELETE" => &["method", "DELETE"],
        "METH_GET" => &["method", "GET", "HEAD"],
        "METH_HEAD" => &["method", "HEAD"],
        "METH_OPTIONS" => &["method", "OPTIONS"],
        "METH_POST" => &["method", "POST"],
        "METH_PUT" => &["method", "PUT"],
        "METH_TRACE" => &["method", "TRACE"],
        _ => return None,
    };
    Some(criterion(words))
}
