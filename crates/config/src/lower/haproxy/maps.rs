//! Files of maps: each way of matching that a converter names makes a map of the model.
//!
//! Lines are looked through for such converters before anything else, so that what reads expressions
//! needs to know no more than the name that a file gets.

use std::path::Path;

use clearway_base::hash;
use clearway_rules::ast::Convert;

use super::super::notes::Notes;
use super::acl;
use super::sample::{self, Call, Kind};
use crate::model::{Config, Identifier, Map, MapEntry, RegexText, TemplateText};
use crate::syntax::haproxy::{Line, Tree};
use crate::value::Text;

/// Ways of matching; `map` alone is `map_str`.
const WAYS: [&str; 9] = [
    "str", "beg", "end", "sub", "dir", "dom", "reg", "regm", "int",
];

/// How keys are compared and what kind of value comes out; none when it is no converter of maps.
fn way(name: &str) -> Option<(&'static str, Kind)> {
    let rest = name.strip_prefix("map")?;
    let mut words = rest.split('_');
    if words.next() != Some("") {
        return None;
    }
    let way = match words.next() {
        None => "str",
        Some("ip") => "ip",
        Some(word) => WAYS.into_iter().find(|known| *known == word)?,
    };
    let kind = match words.next() {
        None | Some("str") => Kind::Text,
        Some("int") => Kind::Number,
        Some("ip") => Kind::Address,
        Some(_) => return None,
    };
    words.next().is_none().then_some((way, kind))
}

/// Whether a converter looks something up in a file.
pub(super) fn is_map(name: &str) -> bool {
    way(name).is_some()
}

/// The name of the map that a file becomes.
fn name_of(way: &str, file: &str) -> String {
    let stem = Path::new(file)
        .file_stem()
        .map(|stem| stem.to_string_lossy());
    let fits = |c: &char| c.is_ascii_alphanumeric() || "_-.".contains(*c);
    let stem: String = stem.unwrap_or_default().chars().filter(fits).collect();
    let mark = hash::stable(file.as_bytes()) & 0xffff;
    format!("{stem}-{way}-{mark:04x}")
}

/// The converter as it is here.
pub(super) fn converter(call: &Call) -> Result<(Vec<Convert>, Option<Kind>), String> {
    let (way, kind) =
        way(&call.name).ok_or_else(|| format!("the converter {:?} is not known", call.name))?;
    let file = call.argument(0);
    let name = name_of(way, file);
    if file.is_empty() || Identifier::parse(&name).is_err() {
        return Err(format!("{} needs a file", call.name));
    }
    let mut arguments = vec![name.as_str()];
    arguments.extend(call.arguments.get(1).map(String::as_str));
    Ok((vec![Convert::with("map", &arguments)], Some(kind)))
}

/// Puts the files that lines name into the model.
pub(super) fn collect(tree: &Tree, config: &mut Config, notes: &mut Notes) {
    for section in &tree.sections {
        for line in &section.lines {
            let words: Vec<&str> = line.texts(0).collect();
            for word in words {
                for call in calls(word) {
                    add(&call, line, config, notes);
                }
            }
        }
    }
}

/// The calls of converters of maps in a word.
fn calls(word: &str) -> Vec<Call> {
    let mut found = Vec::new();
    for (at, _) in word.match_indices(",map") {
        let rest = word.get(at + 1..).unwrap_or_default();
        let Some((name, inner)) = rest.split_once('(') else {
            continue;
        };
        if is_map(name)
            && let Some((arguments, _)) = sample::arguments(inner)
        {
            found.push(Call {
                name: name.to_owned(),
                arguments,
            });
        }
    }
    found
}

fn add(call: &Call, line: &Line, config: &mut Config, notes: &mut Notes) {
    let (Some((way, _)), file) = (way(&call.name), call.argument(0)) else {
        return;
    };
    let Ok(name) = Identifier::parse(&name_of(way, file)) else {
        return;
    };
    if config.maps.iter().any(|map| map.name == name) {
        return;
    }
    match read(way, file) {
        Ok(entries) => config.maps.push(Map {
            name,
            entries,
            ..Map::default()
        }),
        Err(message) => {
            notes.begin(line.origin(), line.text());
            notes.wrong(&line.origin(), message, "");
        }
    }
}

fn read(way: &str, file: &str) -> Result<Vec<MapEntry>, String> {
    let text =
        std::fs::read_to_string(file).map_err(|error| format!("cannot read {file}: {error}"))?;
    let mut entries: Vec<MapEntry> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (key, value) = line.split_once([' ', '\t']).unwrap_or((line, ""));
        let entry = entry(way, key, value.trim())
            .map_err(|message| format!("{file}:{}: {message}", number + 1))?;
        // The first end that fits counts, so what a shorter one before hides is left out.
        let is_hidden = entry.ends.as_ref().is_some_and(|end| {
            let mut before = entries.iter().filter_map(|entry| entry.ends.as_ref());
            before.any(|before| end.ends_with(before.as_str()))
        });
        if !is_hidden {
            entries.push(entry);
        }
    }
    Ok(entries)
}

fn entry(way: &str, key: &str, value: &str) -> Result<MapEntry, String> {
    let mut to = value.replace('$', "$$");
    if way == "regm" {
        for group in 0..10 {
            to = to.replace(&format!("\\{group}"), &format!("${{{group}}}"));
        }
    }
    let to = TemplateText::parse(&to).map_err(|problem| problem.message)?;
    let mut entry = MapEntry {
        to,
        ..MapEntry::default()
    };
    let regex = |text: &str| RegexText::parse(text).map_err(|problem| problem.message);
    match way {
        "str" => entry.is = Some(key.to_owned()),
        "beg" => entry.begins = Some(key.to_owned()),
        "end" => entry.ends = Some(key.to_owned()),
        "sub" => entry.contains = Some(key.to_owned()),
        "dir" => entry.regex = Some(regex(&acl::between("/?", key))?),
        "dom" => entry.regex = Some(regex(&acl::between("/?.:", key))?),
        "ip" => entry.within = acl::networks(&[key.to_owned()])?.pop(),
        "int" => {
            let bounds = acl::bounds("eq", key);
            let (min, max) = bounds.ok_or_else(|| format!("{key:?} is no number"))?;
            (entry.min, entry.max) = (Some(min), max);
        }
        _ => entry.regex = Some(regex(key)?),
    }
    Ok(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_converters_say_how_keys_are_compared() {
        assert_eq!(way("map"), Some(("str", Kind::Text)));
        assert_eq!(way("map_str_int"), Some(("str", Kind::Number)));
        assert_eq!(way("map_ip_ip"), Some(("ip", Kind::Address)));
        assert_eq!(way("map_regm"), Some(("regm", Kind::Text)));
        assert_eq!(way("mapper"), None);
        assert_eq!(way("map_what"), None);
    }

    #[test]
    fn calls_are_found_in_words() {
        let found = calls("%[path,lower,map_beg(/a.map,x)] %[src,map_ip(/b.map)]");
        let names: Vec<&str> = found.iter().map(|call| call.name.as_str()).collect();
        assert_eq!(names, ["map_beg", "map_ip"]);
        assert!(calls("set-map(/a.map)").is_empty());
    }

    #[test]
    fn groups_stand_in_values() {
        let entry = entry("regm", "^/(.*)", "/x/\\1$").unwrap();
        assert_eq!(entry.to.as_str(), "/x/${1}$$");
    }
}
