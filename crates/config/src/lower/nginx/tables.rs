//! Variables that tables make: `map`, `geo`, `split_clients`, `valid_referers`.

use std::net::IpAddr;

use clearway_base::hash::Map as Table;
use clearway_rules::ast::{Convert, Fetch};
use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};

use super::super::notes::Notes;
use super::access::network;
use super::text_of;
use super::values::{self, Names};
use crate::lower::build;
use crate::model::{Config, Identifier, Map, MapEntry, RegexText, TemplateText};
use crate::syntax::nginx::Directive;
use crate::value::Text;

/// The blocks that make variables.
const TABLES: [&str; 3] = ["map", "geo", "split_clients"];

/// Puts the tables of a block into the model.
pub(super) fn read_all(
    block: &[Directive],
    names: &mut Names,
    config: &mut Config,
    notes: &mut Notes,
) {
    let ours = || {
        let tables = block.iter();
        tables.filter(|found| TABLES.contains(&found.name.text.as_str()))
    };
    // The names come first: tables may use each other.
    for directive in ours() {
        if let Some(name) = directive.texts().last() {
            let name = name.trim_start_matches('$').to_owned();
            let map = map_name(&name, names, config);
            names.maps.insert(name, map);
        }
    }
    for directive in ours() {
        if let Err(message) = read(directive, names, config) {
            notes.begin(directive.origin(), text_of(directive));
            notes.refused(message);
        }
    }
}

/// A name for the map of a variable: one of a stream may be called as one of requests is.
pub(super) fn map_name(variable: &str, names: &Names, config: &Config) -> String {
    let mut taken = config.maps.iter().map(|map| map.name.as_str());
    match names.is_stream && taken.any(|name| name == variable) {
        true => format!("{variable}-stream"),
        false => variable.to_owned(),
    }
}

/// Puts a table into the model.
///
/// # Errors
/// A sentence about what is wrong or not known.
fn read(directive: &Directive, names: &Names, config: &mut Config) -> Result<(), String> {
    let made = match directive.name.text.as_str() {
        "map" => map(directive, names)?,
        "geo" => geo(directive, names)?,
        _ => split_clients(directive, names, config)?,
    };
    // Of two with one name NGINX takes the last.
    config.maps.retain(|known| known.name != made.name);
    config.maps.push(made);
    Ok(())
}

fn name_of(variable: &str, names: &Names) -> Result<Identifier, String> {
    let name = variable
        .strip_prefix('$')
        .ok_or_else(|| format!("{variable:?} is no variable: it does not begin with \"$\""))?;
    let name = names.maps.get(name).map_or(name, String::as_str);
    Identifier::parse(name).map_err(|problem| problem.message)
}

/// `map SOURCE $variable { … }`.
fn map(directive: &Directive, names: &Names) -> Result<Map, String> {
    let words: Vec<&str> = directive.texts().collect();
    let [source, variable] = words.as_slice() else {
        return Err("a map has a source and a variable".to_owned());
    };
    let mut map = Map {
        name: name_of(variable, names)?,
        key: values::plain(source, names)?,
        ignore_case: true,
        default: Some(TemplateText::default()),
        ..Map::default()
    };
    let is_hosts = directive.inner().iter().any(|entry| entry.is("hostnames"));
    for entry in directive.inner() {
        let key = entry.name.text.as_str();
        let is_word = !entry.name.is_quoted;
        if is_word && matches!(key, "include" | "volatile" | "hostnames") {
            continue;
        }
        let values: Vec<&str> = entry.texts().collect();
        let [text] = values.as_slice() else {
            return Err(format!("the entry {key:?} needs one value"));
        };
        if is_word && key == "default" {
            map.default = Some(values::plain(text, names)?);
            continue;
        }
        for made in map_entry(key, text, is_hosts, names)? {
            map.entries.push(made);
        }
    }
    Ok(map)
}

fn map_entry(
    key: &str,
    text: &str,
    is_hosts: bool,
    names: &Names,
) -> Result<Vec<MapEntry>, String> {
    let (pattern, ignores) = match key.strip_prefix("~*") {
        Some(pattern) => (Some(pattern), true),
        None => (key.strip_prefix('~'), false),
    };
    if let Some(pattern) = pattern {
        // Texts are compared without regard to case, patterns as they say.
        let flag = if ignores { "(?i)" } else { "(?-i)" };
        let regex = RegexText::parse(&format!("{flag}{pattern}"));
        let mut names = names.clone();
        names.learn_groups(pattern);
        return Ok(vec![MapEntry {
            regex: Some(regex.map_err(|problem| problem.hint.unwrap_or(problem.message))?),
            to: values::plain(text, &names)?,
            ..MapEntry::default()
        }]);
    }
    let mut made = MapEntry {
        to: values::plain(text, names)?,
        ..MapEntry::default()
    };
    if is_hosts && key.starts_with("*.") {
        made.ends = Some(key.trim_start_matches('*').to_owned());
    } else if is_hosts && key.starts_with('.') {
        made.ends = Some(key.to_owned());
        let itself = MapEntry {
            is: Some(key.trim_start_matches('.').to_owned()),
            ends: None,
            ..made.clone()
        };
        return Ok(vec![itself, made]);
    } else if is_hosts && key.ends_with(".*") {
        made.begins = Some(key.trim_end_matches('*').to_owned());
    } else {
        // A backslash keeps what would else be special.
        made.is = Some(key.strip_prefix('\\').unwrap_or(key).to_owned());
    }
    Ok(vec![made])
}

/// `geo [SOURCE] $variable { … }`: a map from networks.
fn geo(directive: &Directive, names: &Names) -> Result<Map, String> {
    let words: Vec<&str> = directive.texts().collect();
    let (source, variable) = match words.as_slice() {
        [source, variable] => (*source, *variable),
        [variable] => ("$remote_addr", *variable),
        _ => return Err("a table of networks has a variable".to_owned()),
    };
    let mut map = Map {
        name: name_of(variable, names)?,
        key: values::template(source, names)?,
        default: Some(TemplateText::default()),
        ..Map::default()
    };
    // Where networks stand: of several for one the last counts.
    let mut places: Table<IpNet, usize> = Table::default();
    let has_ranges = directive.inner().iter().any(|entry| entry.is("ranges"));
    for entry in directive.inner() {
        let key = entry.name.text.as_str();
        let value = entry.argument(0);
        match (key, value) {
            ("ranges", None) | ("include", Some(_)) => {}
            ("proxy" | "proxy_recursive", _) => {
                return Err(
                    "addresses of clients behind proxies are taken from real_ip_header alone"
                        .to_owned(),
                );
            }
            ("delete", Some(text)) => {
                let gone = network(text).ok_or_else(|| format!("{text:?} is no network"))?;
                map.entries.retain(|known| known.within != Some(gone));
                let known = map.entries.iter().enumerate();
                places = known.filter_map(|(at, e)| Some((e.within?, at))).collect();
            }
            ("default", Some(text)) => map.default = Some(constant(text)?),
            (key, Some(text)) => {
                let networks = match key.split_once('-') {
                    Some((from, to)) if has_ranges => between(from, to),
                    _ => network(key).map(|network| vec![network]),
                };
                let networks = networks.ok_or_else(|| format!("{key:?} is no network"))?;
                let to = constant(text)?;
                for within in networks {
                    let place = *places.entry(within).or_insert(map.entries.len());
                    if let Some(known) = map.entries.get_mut(place) {
                        known.to.clone_from(&to);
                        continue;
                    }
                    map.entries.push(MapEntry {
                        within: Some(within),
                        to: to.clone(),
                        ..MapEntry::default()
                    });
                }
            }
            (key, None) => return Err(format!("{key:?} is not known here")),
        }
    }
    Ok(map)
}

/// A value of `geo`, in which a dollar sign is one.
fn constant(text: &str) -> Result<TemplateText, String> {
    TemplateText::parse(&text.replace('$', "$$")).map_err(|problem| problem.message)
}

/// The networks that make a range of addresses up.
fn between(from: &str, to: &str) -> Option<Vec<IpNet>> {
    Some(match (from.parse().ok()?, to.parse().ok()?) {
        (IpAddr::V4(from), IpAddr::V4(to)) if from <= to => {
            Ipv4Subnets::new(from, to, 0).map(IpNet::V4).collect()
        }
        (IpAddr::V6(from), IpAddr::V6(to)) if from <= to => {
            Ipv6Subnets::new(from, to, 0).map(IpNet::V6).collect()
        }
        _ => return None,
    })
}

/// `split_clients TEXT $variable { … }`: parts of what a hash of a text can be.
fn split_clients(directive: &Directive, names: &Names, config: &mut Config) -> Result<Map, String> {
    let words: Vec<&str> = directive.texts().collect();
    let [source, variable] = words.as_slice() else {
        return Err("split_clients has a text and a variable".to_owned());
    };
    let name = name_of(variable, names)?;
    // A table without entries gives the text a name.
    let text = Map {
        name: Identifier::parse(&format!("{name}-of")).map_err(|problem| problem.message)?,
        default: Some(values::plain(source, names)?),
        ..Map::default()
    };
    let hash = Fetch::Map(text.name.to_string()).through(vec![Convert::new("murmur2")]);
    config.maps.push(text);
    let mut map = Map {
        name,
        key: TemplateText::parse(&format!("${{{hash}}}")).map_err(|problem| problem.message)?,
        default: Some(TemplateText::default()),
        ..Map::default()
    };
    let (mut from, mut sum) = (0_u64, 0_u64);
    for entry in directive.inner() {
        let key = entry.name.text.as_str();
        let text = entry
            .argument(0)
            .ok_or_else(|| format!("the part {key:?} has no value"))?;
        let to = values::plain(text, names)?;
        if key == "*" {
            map.default = Some(to);
            continue;
        }
        // Parts are counted in hundredths of a per cent.
        let percent = key.strip_suffix('%').and_then(hundredths);
        let percent = percent.filter(|count| *count > 0);
        let percent = percent.ok_or_else(|| format!("{key:?} is no part in per cent"))?;
        sum += percent;
        if sum > 10_000 {
            return Err("the parts are more than the whole".to_owned());
        }
        // Each part is rounded by itself.
        let end = from + percent * u64::from(u32::MAX) / 10_000;
        map.entries.push(MapEntry {
            min: Some(from),
            max: Some(end.saturating_sub(1)),
            to,
            ..MapEntry::default()
        });
        from = end;
    }
    Ok(map)
}

/// A number with up to two decimals, in hundredths.
fn hundredths(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if part.len() > 2 || whole.len() > 3 {
        return None;
    }
    let part = format!("{part:0<2}");
    Some(whole.parse::<u64>().ok()? * 100 + part.parse::<u64>().ok()?)
}

/// `valid_referers`: `$invalid_referer` is 1 where the header names nobody of these.
///
/// # Errors
/// A sentence about a pattern that cannot be used.
pub(super) fn referers(
    written: &[&Directive],
    hosts: &[String],
    names: &mut Names,
    config: &mut Config,
) -> Result<(), String> {
    let Some(first) = written.first() else {
        return Ok(());
    };
    let origin = first.origin();
    let name = format!("referer-{}-{}", origin.line, origin.column);
    let constant = |text: &str| TemplateText::parse(text).unwrap_or_default();
    let mut map = Map {
        name: Identifier::parse(&name).map_err(|problem| problem.message)?,
        key: constant("${header:referer}"),
        default: Some(constant("1")),
        ignore_case: true,
        ..Map::default()
    };
    let mut fits = |regex: String, to: &str| {
        let regex = RegexText::parse(&regex);
        map.entries.push(MapEntry {
            regex: Some(regex.map_err(|problem| problem.hint.unwrap_or(problem.message))?),
            to: constant(to),
            ..MapEntry::default()
        });
        Ok::<_, String>(())
    };
    let (mut allows_none, mut allows_blocked) = (false, false);
    for word in written.iter().flat_map(|directive| directive.texts()) {
        match word {
            "none" => allows_none = true,
            "blocked" => allows_blocked = true,
            "server_names" => {
                for host in hosts {
                    fits(referer(host), "")?;
                }
            }
            word => fits(referer(word), "")?,
        }
    }
    if allows_blocked {
        fits("^https?://".to_owned(), "1")?;
        map.default = Some(constant(""));
    }
    map.entries.push(MapEntry {
        is: Some(String::new()),
        to: constant(if allows_none { "" } else { "1" }),
        ..MapEntry::default()
    });
    if !config.maps.iter().any(|known| known.name == map.name) {
        config.maps.push(map);
    }
    names.maps.insert("invalid_referer".to_owned(), name);
    Ok(())
}

/// The pattern of a referer from a host: a name, one with an asterisk, or `~` and a pattern.
fn referer(host: &str) -> String {
    if let Some(pattern) = host.strip_prefix('~') {
        return format!("^https?://.*?(?:{pattern})");
    }
    let (host, path) = match host.find('/') {
        Some(at) => host.split_at(at),
        None => (host, ""),
    };
    let escape = build::regex_escape;
    let host = if let Some(domain) = host.strip_prefix("*.") {
        format!("[^/:]+\\.{}", escape(domain))
    } else if let Some(begin) = host.strip_suffix(".*") {
        format!("{}\\.[^/:]+", escape(begin))
    } else if let Some(domain) = host.strip_prefix('.') {
        format!("(?:[^/:]+\\.)?{}", escape(domain))
    } else {
        escape(host)
    };
    match path {
        "" => format!("^https?://{host}(?:[:/?]|$)"),
        path => format!("^https?://{host}(?::[0-9]+)?{}", escape(path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_networks() {
        let texts = |from, to| -> Vec<String> {
            let found = between(from, to).unwrap();
            found.iter().map(ToString::to_string).collect()
        };
        assert_eq!(texts("10.0.0.0", "10.0.0.255"), ["10.0.0.0/24"]);
        assert_eq!(
            texts("10.0.0.1", "10.0.0.4"),
            ["10.0.0.1/32", "10.0.0.2/31", "10.0.0.4/32"]
        );
        assert!(between("10.0.0.2", "10.0.0.1").is_none());
        assert!(between("10.0.0.2", "::1").is_none());
    }

    #[test]
    fn parts_have_two_decimals() {
        assert_eq!(hundredths("25"), Some(2_500));
        assert_eq!(hundredths("0.5"), Some(50));
        assert_eq!(hundredths("33.33"), Some(3_333));
        assert_eq!(hundredths("1.234"), None);
        assert_eq!(hundredths("x"), None);
    }
}
