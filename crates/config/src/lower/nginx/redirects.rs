//! What is changed in answers so that they lead back here: `proxy_redirect`, `proxy_cookie_domain`,
//! `proxy_cookie_path` and `proxy_cookie_flags`.

use clearway_rules::ast::{Fetch, Piece, Template};

use super::text_of;
use super::values::{self, Names};
use crate::lower::build;
use crate::lower::notes::Notes;
use crate::model::{Actions, HeaderName, RegexText, Replacement};
use crate::survey::nginx::scope::Scope;
use crate::value::Text;

/// How an address of a server is changed.
struct Turn {
    /// A regular expression for its begin.
    from: String,
    to: Template,
    /// Whether what is left over follows.
    keeps_rest: bool,
}

/// The replacements of a place; `default` is what `proxy_redirect default` stands for.
pub(super) fn replacements(
    scope: &Scope<'_>,
    default: Option<&(String, String)>,
    names: &Names,
    notes: &mut Notes,
) -> Actions {
    let mut actions = Actions::default();
    let written = scope.all("proxy_redirect");
    let plain = |(from, to): &(String, String)| Turn {
        from: build::regex_escape(from),
        to: Template::literal(to),
        keeps_rest: true,
    };
    let mut turns = Vec::new();
    if written.is_empty() {
        turns.extend(default.map(plain));
    }
    for directive in &written {
        notes.begin(directive.origin(), text_of(directive));
        match directive.texts().collect::<Vec<_>>().as_slice() {
            ["off"] => {}
            ["default"] => turns.extend(default.map(plain)),
            [from, to] => match turn(from, to, names) {
                Ok(turn) => turns.push(turn),
                Err(message) => notes.ineffective(message),
            },
            _ => notes.wrong(&directive.origin(), "two words are wanted here", ""),
        }
    }
    for turn in turns {
        actions.replace_response_headers.extend(location(&turn));
        actions.replace_response_headers.extend(refresh(&turn));
    }
    cookies(scope, names, &mut actions, notes);
    actions
}

fn turn(from: &str, to: &str, names: &Names) -> Result<Turn, String> {
    let regex = match from.strip_prefix("~*") {
        Some(regex) => Some(format!("(?i){regex}")),
        None => from.strip_prefix('~').map(str::to_owned),
    };
    if let Some(regex) = regex {
        let regex = regex.strip_prefix('^').map(str::to_owned).unwrap_or(regex);
        let regex = regex.replace("(?i)^", "(?i)");
        let mut names = names.clone();
        names.learn_groups(&regex);
        return Ok(Turn {
            to: values::read(to, &names)?,
            from: regex,
            keeps_rest: false,
        });
    }
    let Some(from) = values::constant(from, names) else {
        return Err("an address that depends on the request is not looked for".to_owned());
    };
    Ok(Turn {
        from: build::regex_escape(&from),
        to: values::read(to, names)?,
        keeps_rest: true,
    })
}

/// A template with its groups counted from further on, between two others.
fn shifted(before: Vec<Piece>, template: &Template, by: u8, after: Vec<Piece>) -> Template {
    let pieces = template.pieces().iter().map(|piece| match piece {
        Piece::Fetch(Fetch::Capture(group)) if *group > 0 => {
            Piece::Fetch(Fetch::Capture(group + by))
        }
        other @ (Piece::Text(_) | Piece::Fetch(_)) => other.clone(),
    });
    Template::new(before.into_iter().chain(pieces).chain(after))
}

fn group(number: u8) -> Vec<Piece> {
    vec![Piece::Fetch(Fetch::Capture(number))]
}

fn replacement(header: &str, regex: &str, to: &Template) -> Option<Replacement> {
    Some(Replacement {
        header: HeaderName::parse(header).ok()?,
        regex: RegexText::parse(regex).ok()?,
        to: values::to_text(to).ok()?,
        ..Replacement::default()
    })
}

fn location(turn: &Turn) -> Option<Replacement> {
    // A path alone is told with this host before it.
    let is_path = match turn.to.pieces().first() {
        Some(Piece::Text(text)) => text.starts_with('/'),
        Some(Piece::Fetch(fetch)) => matches!(fetch, Fetch::Path | Fetch::Target),
        None => false,
    };
    let here = ["${scheme}://${host}${port_suffix}"];
    let here = here.iter().filter(|_| is_path);
    let here: Vec<Piece> = here
        .filter_map(|text| Template::parse(text).ok())
        .flat_map(|template| template.pieces().to_vec())
        .collect();
    if turn.keeps_rest {
        let to = shifted(here, &turn.to, 0, group(1));
        return replacement("location", &format!("^{}(.*)$", turn.from), &to);
    }
    // What the pattern does not take of the address is gone.
    let to = shifted(here, &turn.to, 0, Vec::new());
    replacement("location", &format!("^{}", turn.from), &to)
}

fn refresh(turn: &Turn) -> Option<Replacement> {
    let rest = if turn.keeps_rest { "(.*)$" } else { "" };
    let after = if turn.keeps_rest {
        group(2)
    } else {
        Vec::new()
    };
    let regex = format!("^([^;]*;[ ]*(?i:url)=){}{rest}", turn.from);
    replacement("refresh", &regex, &shifted(group(1), &turn.to, 1, after))
}

fn cookies(scope: &Scope<'_>, names: &Names, actions: &mut Actions, notes: &mut Notes) {
    for (directive, attribute) in [
        ("proxy_cookie_domain", "domain"),
        ("proxy_cookie_path", "path"),
    ] {
        for found in scope.all(directive) {
            notes.begin(found.origin(), text_of(found));
            let made = match found.texts().collect::<Vec<_>>().as_slice() {
                ["off"] => continue,
                [from, to] => attribute_turn(attribute, from, to, names),
                _ => Err("two words are wanted here".to_owned()),
            };
            match made {
                Ok(made) => actions.replace_response_headers.push(made),
                Err(message) => notes.ineffective(message),
            }
        }
    }
    for found in scope.all("proxy_cookie_flags") {
        notes.begin(found.origin(), text_of(found));
        let words: Vec<&str> = found.texts().collect();
        match words.as_slice() {
            ["off"] => {}
            [name, flags @ ..] => match flag_turns(name, flags) {
                Ok(made) => actions.replace_response_headers.extend(made),
                Err(message) => notes.ineffective(message),
            },
            [] => notes.wrong(&found.origin(), "a cookie has a name", ""),
        }
    }
}

/// A new value for an attribute of cookies.
fn attribute_turn(
    attribute: &str,
    from: &str,
    to: &str,
    names: &Names,
) -> Result<Replacement, String> {
    let is_domain = attribute == "domain";
    let regex = from
        .strip_prefix("~*")
        .map(|regex| format!("(?i:{regex})"))
        .or_else(|| from.strip_prefix('~').map(str::to_owned));
    let (from, rest, to) = match regex {
        Some(regex) => {
            let regex = regex.replace("(?i:^", "(?i:");
            let regex = regex.strip_prefix('^').map(str::to_owned).unwrap_or(regex);
            // An end of the value is where the attribute ends.
            let regex = regex.strip_suffix('$').map(str::to_owned).unwrap_or(regex);
            let mut names = names.clone();
            names.learn_groups(&regex);
            let groups = regex::Regex::new(&regex).map_or(1, |regex| regex.captures_len());
            let rest = u8::try_from(groups + 1).unwrap_or(u8::MAX);
            (regex, rest, values::read(to, &names)?)
        }
        None => {
            let Some(constant) = values::constant(from, names) else {
                return Err("a value that depends on the request is not looked for".to_owned());
            };
            let constant = match is_domain {
                true => constant.trim_start_matches('.').to_owned(),
                false => constant,
            };
            (build::regex_escape(&constant), 2, values::read(to, names)?)
        }
    };
    if rest > 9 {
        return Err("a pattern with so many groups is not known here".to_owned());
    }
    // A domain is compared as a whole and in any case, of a path its begin.
    let (dot, flag, tail) = match is_domain {
        true => ("\\.?", "(?i:", "[ ]*(?:;.*)?"),
        false => ("", "(?-i:", ".*"),
    };
    let regex = format!("^([^;]*;(?:.*;)?[ ]*(?i:{attribute})=){dot}{flag}{from})({tail})$");
    let to = shifted(group(1), &to, 1, group(rest));
    replacement("set-cookie", &regex, &to).ok_or_else(|| "the pattern cannot be used".to_owned())
}

/// Attributes that cookies get or lose.
fn flag_turns(name: &str, flags: &[&str]) -> Result<Vec<Replacement>, String> {
    let regex = name
        .strip_prefix("~*")
        .map(|regex| format!("(?i:{regex})"))
        .or_else(|| name.strip_prefix('~').map(|regex| format!("(?:{regex})")));
    let name = match regex {
        // The pattern may stand anywhere in the name.
        Some(regex) => {
            let regex = regex.replace("(?:^", "(?:").replace("(?i:^", "(?i:");
            format!("{regex}[^=;]*")
        }
        None if name.contains('$') => {
            return Err("a cookie whose name depends on the request is not looked for".to_owned());
        }
        None => format!("(?i:{})", build::regex_escape(name)),
    };
    let mut made = Vec::new();
    for flag in flags {
        let (attribute, adds) = match *flag {
            "secure" => ("secure", Some("Secure")),
            "httponly" => ("httponly", Some("HttpOnly")),
            "nosecure" => ("secure", None),
            "nohttponly" => ("httponly", None),
            "samesite=strict" => ("samesite=[^;]*", Some("SameSite=Strict")),
            "samesite=lax" => ("samesite=[^;]*", Some("SameSite=Lax")),
            "samesite=none" => ("samesite=[^;]*", Some("SameSite=None")),
            "nosamesite" => ("samesite=[^;]*", None),
            other => return Err(format!("{other:?} is not known here")),
        };
        let gone = Template::new([
            Piece::Fetch(Fetch::Capture(1)),
            Piece::Fetch(Fetch::Capture(2)),
        ]);
        let regex = format!("^({name}=.*?);[ ]*(?i:{attribute})[ ]*(;.*)?$");
        made.extend(replacement("set-cookie", &regex, &gone));
        if let Some(adds) = adds {
            let to = Template::new([
                Piece::Fetch(Fetch::Capture(1)),
                Piece::Text(format!("; {adds}")),
            ]);
            made.extend(replacement("set-cookie", &format!("^({name}=.*)$"), &to));
        }
    }
    Ok(made)
}
