//! Rules that stand around those of a section: what it says of itself, ids of requests, bodies that are
//! waited for, names of headers that servers do not get.

use super::super::notes::Notes;
use super::emit::header;
use super::proxy::Proxy;
use super::{format, sample};
use crate::diagnostic::Origin;
use crate::lower::build::{self, rule};
use crate::model::{
    Actions, Condition, FetchText, Pairs, ReadBody, RegexText, Rule, TemplateText, Token, ValueTest,
};
use crate::value::Text;

/// Characters in names of headers that CGI makes the same as others.
const UNUSUAL: &str = "[^a-zA-Z0-9-]";

/// Rules that go before all others.
pub(super) fn before(proxy: &Proxy, notes: &mut Notes) -> Vec<Rule> {
    let mut rules = Vec::new();
    if proxy.listens() {
        rules.extend(of_proxy(proxy));
        if !proxy.log_levels.is_empty() {
            let usual = format::template("usual");
            rules.extend(
                usual
                    .and_then(|usual| set("log_level", usual, &proxy.origin))
                    .ok(),
            );
        }
        if let Some(line) = &proxy.unique_id {
            let text = line.word(1);
            match format::template(text).and_then(|value| set("id", value, &line.origin())) {
                Ok(rule) => rules.push(rule),
                Err(message) => {
                    notes.begin(line.origin(), line.text());
                    notes.refused(message);
                }
            }
        }
    }
    rules.extend(names(proxy));
    if proxy.serves() && proxy.tells_timeouts {
        rules.extend(timeouts(proxy));
    }
    if proxy.option("http-buffer-request") {
        let time = proxy.first_timeout(&["http-request", "client"]);
        let actions = Actions {
            read_body: Some(ReadBody {
                time: time.unwrap_or_default(),
                from_start: true,
                ..ReadBody::default()
            }),
            ..Actions::default()
        };
        rules.push(rule(
            Condition::default(),
            actions,
            "read_body",
            &proxy.origin,
        ));
    }
    rules
}

/// Rules that go behind those about requests.
pub(super) fn behind(proxy: &Proxy) -> Option<Rule> {
    let line = proxy.unique_id_header.as_ref()?;
    proxy.unique_id.as_ref().filter(|_| proxy.listens())?;
    let actions = Actions {
        add_request_headers: Pairs(vec![header(line.word(1), "${id}")?]),
        ..Actions::default()
    };
    let key = "add_request_headers";
    Some(rule(Condition::default(), actions, key, &line.origin()))
}

/// A rule that sets a variable.
fn set(name: &str, value: TemplateText, origin: &Origin) -> Result<Rule, String> {
    let name = Token::parse(name).map_err(|problem| problem.message)?;
    let actions = Actions {
        set_variables: Pairs(vec![(name, value)]),
        ..Actions::default()
    };
    Ok(rule(Condition::default(), actions, "set_variables", origin))
}

/// What the section says of itself, where its rules ask.
fn of_proxy(proxy: &Proxy) -> Vec<Rule> {
    let all = [&proxy.connection, &proxy.request, &proxy.response];
    let texts = all.into_iter().flatten();
    let text: String = texts
        .map(|rule| format!("{:?}{:?}", rule.actions, rule.when))
        .collect();
    let socket = |word: &str| {
        let words: Vec<&str> = proxy.binds.first()?.texts(0).collect();
        let at = words.iter().position(|known| *known == word)?;
        words.get(at + 1).map(|found| (*found).to_owned())
    };
    let values = [
        ("fe_id", proxy.number.to_string()),
        ("so_name", socket("name").unwrap_or_default()),
        ("so_id", socket("id").unwrap_or_else(|| "1".to_owned())),
    ];
    let asked = |name: &str| text.contains(&format!("var:{}", sample::of_proxy(name)));
    let values = values
        .into_iter()
        .filter(|(name, value)| !value.is_empty() && asked(name));
    let rules = values.filter_map(|(name, value)| {
        let value = format::template(&value.replace('%', "%%")).ok()?;
        set(&sample::of_proxy(name), value, &proxy.origin).ok()
    });
    rules.collect()
}

/// The time-outs of a backend, for who asks.
fn timeouts(proxy: &Proxy) -> Vec<Rule> {
    let mut rules = Vec::new();
    for (name, own) in [("server", "server"), ("tunnel", "tunnel")] {
        let Some(time) = proxy.timeout(own) else {
            continue;
        };
        let value = time.as_millis().to_string();
        for variable in [
            sample::of_proxy(&format!("be_{name}_timeout")),
            format!("timeout.{name}"),
        ] {
            let value = format::template(&value);
            rules.extend(
                value
                    .and_then(|value| set(&variable, value, &proxy.origin))
                    .ok(),
            );
        }
    }
    rules
}

/// `option http-restrict-req-hdr-names`.
fn names(proxy: &Proxy) -> Option<Rule> {
    let line = proxy.restricts.as_ref().filter(|_| proxy.is_http())?;
    let unusual = RegexText::parse(UNUSUAL).ok()?;
    let mut actions = Actions::default();
    let mut condition = Condition::default();
    let key = match line.word(2) {
        "delete" => {
            actions.remove_request_headers_like = vec![unusual];
            "remove_request_headers_like"
        }
        "reject" => {
            condition = build::value(ValueTest {
                of: FetchText::parse("header_names:-").ok()?,
                regex: vec![unusual],
                ..ValueTest::default()
            });
            actions.deny = Some(403);
            "deny"
        }
        _ => return None,
    };
    Some(rule(condition, actions, key, &line.origin()))
}
