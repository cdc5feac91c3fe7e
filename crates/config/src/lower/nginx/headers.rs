//! What is added to answers and taken from them: `add_header`, `expires`, `proxy_hide_header`.

use clearway_rules::ast::Fetch;

use super::rewrite;
use super::text_of;
use super::values::{self, Names};
use crate::lower::build::{all_of, rule, test_of, value};
use crate::lower::notes::Notes;
use crate::model::{Actions, Condition, Config, HeaderName, Pairs, Rule, TemplateText, ValueTest};
use crate::survey::nginx::scope::Scope;
use crate::survey::units;
use crate::value::Text;

/// The statuses that `add_header` is about without `always`.
const ADDED: [&str; 10] = [
    "200", "201", "204", "206", "301", "302", "303", "304", "307", "308",
];

/// `add_header`, `expires` and `proxy_hide_header`.
pub(super) fn response_headers(
    scope: &Scope<'_>,
    names: &Names,
    config: &Config,
    notes: &mut Notes,
) -> Vec<Rule> {
    let mut rules = Vec::new();
    for directive in scope.all("proxy_hide_header") {
        if let Ok(name) = HeaderName::parse(directive.argument(0).unwrap_or_default()) {
            let actions = Actions {
                remove_response_headers: vec![name],
                ..Actions::default()
            };
            let origin = directive.origin();
            rules.push(rule(
                Condition::default(),
                actions,
                "remove_response_headers",
                &origin,
            ));
        }
    }
    let added = || {
        value(ValueTest {
            is: ADDED.iter().map(|status| (*status).to_owned()).collect(),
            ..test_of(&Fetch::Status)
        })
    };
    // What is added does not go with what this sets.
    rules.extend(expires(scope, names, config, added, notes));
    for directive in scope.all("add_header") {
        notes.begin(directive.origin(), text_of(directive));
        let text = directive.argument(1).unwrap_or_default();
        let name = rewrite::header(directive.argument(0).unwrap_or_default());
        let (name, text) = match (name, values::plain(text, names)) {
            (Ok(name), Ok(text)) => (name, text),
            (Err(message), _) | (_, Err(message)) => {
                notes.refused(message);
                continue;
            }
        };
        let framing = [
            "content-length",
            "transfer-encoding",
            "connection",
            "keep-alive",
        ];
        let lower = name.as_str().to_ascii_lowercase();
        if framing.contains(&lower.as_str()) {
            notes.equivalent("what says how a message is transferred is written by itself");
            continue;
        }
        let always = directive.argument(2) == Some("always");
        let actions = Actions {
            add_response_headers: Pairs(vec![(name, text)]),
            own_replies: true,
            ..Actions::default()
        };
        let when = if always {
            Condition::default()
        } else {
            added()
        };
        rules.push(rule(
            when,
            actions,
            "add_response_headers",
            &directive.origin(),
        ));
    }
    rules
}

/// What `expires` says.
enum Keep {
    /// Until then, in seconds from now.
    For(i64),
    Until(&'static str, &'static str),
    Nothing,
}

impl Keep {
    fn of(text: &str) -> Option<Self> {
        match text {
            "off" => return Some(Self::Nothing),
            "epoch" => return Some(Self::Until("Thu, 01 Jan 1970 00:00:01 GMT", "no-cache")),
            "max" => {
                let far = "Thu, 31 Dec 2037 23:55:55 GMT";
                return Some(Self::Until(far, "max-age=315360000"));
            }
            _ => {}
        }
        let time = units::nginx_time(text.trim_start_matches(['-', '+']))?;
        let seconds = i64::try_from(time.as_secs()).ok()?;
        Some(Self::For(if text.starts_with('-') {
            -seconds
        } else {
            seconds
        }))
    }

    /// The values of `Expires` and `Cache-Control`.
    fn headers(&self) -> Option<(String, String)> {
        Some(match self {
            Self::Nothing => return None,
            Self::Until(date, control) => ((*date).to_owned(), (*control).to_owned()),
            Self::For(seconds) => {
                let control = match seconds {
                    ..0 => "no-cache".to_owned(),
                    seconds => format!("max-age={seconds}"),
                };
                (format!("${{unix_time|http_date({seconds})}}"), control)
            }
        })
    }
}

/// `expires`: for how long caches may keep a response.
fn expires(
    scope: &Scope<'_>,
    names: &Names,
    config: &Config,
    added: impl Fn() -> Condition,
    notes: &mut Notes,
) -> Vec<Rule> {
    let Some(directive) = scope.find("expires") else {
        return Vec::new();
    };
    notes.begin(directive.origin(), text_of(directive));
    let text = directive.argument(0).unwrap_or_default();
    let origin = directive.origin();
    let kept = |keep: &Keep, when: Condition| {
        let (expires, control) = keep.headers()?;
        let pair = |name, text: &str| {
            Some((
                HeaderName::parse(name).ok()?,
                TemplateText::parse(text).ok()?,
            ))
        };
        let actions = Actions {
            set_response_headers: Pairs(vec![
                pair("Expires", &expires)?,
                pair("Cache-Control", &control)?,
            ]),
            own_replies: true,
            ..Actions::default()
        };
        Some(rule(when, actions, "set_response_headers", &origin))
    };
    if let Some(keep) = Keep::of(text).filter(|_| directive.argument(1).is_none()) {
        return kept(&keep, added()).into_iter().collect();
    }
    // What a table says is known beforehand.
    let table = text.strip_prefix('$').and_then(|name| names.maps.get(name));
    let table = table.and_then(|name| config.maps.iter().find(|map| map.name.as_str() == name));
    let Some(table) = table else {
        notes.refused(format!("{text:?} is not known here"));
        return Vec::new();
    };
    let values = table.entries.iter().map(|entry| &entry.to);
    let mut seen: Vec<&str> = Vec::new();
    for value in values.chain(&table.default).map(TemplateText::as_str) {
        if !seen.contains(&value) {
            seen.push(value);
        }
    }
    let mut rules = Vec::new();
    for word in seen {
        let Some(keep) = Keep::of(word) else { continue };
        let is_it = value(ValueTest {
            is: vec![word.to_owned()],
            ..test_of(&Fetch::Map(table.name.to_string()))
        });
        rules.extend(kept(&keep, all_of(vec![added(), is_it])));
    }
    rules
}
