//! What is added to answers and taken from them: `add_header`, `expires`, `proxy_hide_header`.

use clearway_rules::ast::Fetch;

use super::rewrite;
use super::text_of;
use super::values::{self, Names};
use crate::lower::build::{rule, test_of, value};
use crate::lower::notes::Notes;
use crate::model::{Actions, Condition, HeaderName, Pairs, Rule, TemplateText, ValueTest};
use crate::survey::nginx::scope::Scope;
use crate::survey::units;
use crate::value::Text;

/// The statuses that `add_header` is about without `always`.
const ADDED: [&str; 10] = [
    "200", "201", "204", "206", "301", "302", "303", "304", "307", "308",
];

/// `add_header`, `expires` and `proxy_hide_header`.
pub(super) fn response_headers(scope: &Scope<'_>, names: &Names, notes: &mut Notes) -> Vec<Rule> {
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
    rules.extend(expires(scope, added, notes));
    for directive in scope.all("add_header") {
        notes.begin(directive.origin(), text_of(directive));
        let text = directive.argument(1).unwrap_or_default();
        let name = rewrite::header(directive.argument(0).unwrap_or_default());
        let (name, text) = match (name, values::template(text, names)) {
            (Ok(name), Ok(text)) => (name, text),
            (Err(message), _) | (_, Err(message)) => {
                notes.refused(message);
                continue;
            }
        };
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

/// `expires`: for how long caches may keep a response.
fn expires(scope: &Scope<'_>, added: impl Fn() -> Condition, notes: &mut Notes) -> Option<Rule> {
    let directive = scope.find("expires")?;
    notes.begin(directive.origin(), text_of(directive));
    let control = match directive.argument(0).unwrap_or_default() {
        "off" => return None,
        "epoch" => "no-cache".to_owned(),
        "max" => "max-age=315360000".to_owned(),
        text => match units::nginx_time(text.trim_start_matches(['-', '+'])) {
            Some(_) if text.starts_with('-') => "no-cache".to_owned(),
            Some(time) => format!("max-age={}", time.as_secs()),
            None => {
                notes.refused(format!("{text:?} is not known here"));
                return None;
            }
        },
    };
    notes.equivalent("Cache-Control says the same as Expires");
    let name = HeaderName::parse("Cache-Control").ok()?;
    let text = TemplateText::parse(&control).ok()?;
    let actions = Actions {
        set_response_headers: Pairs(vec![(name, text)]),
        own_replies: true,
        ..Actions::default()
    };
    Some(rule(
        added(),
        actions,
        "set_response_headers",
        &directive.origin(),
    ))
}
