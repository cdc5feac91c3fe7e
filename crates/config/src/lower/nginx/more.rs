//! The module that sets and takes away headers whatever else holds: `more_set_headers`,
//! `more_clear_headers` and the same for requests.
//!
//! Other than `add_header`, what wider blocks say holds too, and before it.

use clearway_rules::ast::Fetch;

use super::values::{self, Names};
use super::{rewrite, text_of};
use crate::lower::build::{all_of, regex_escape, rule, test_of, value};
use crate::lower::notes::Notes;
use crate::model::{Actions, Condition, Pairs, RegexText, Rule, ValueTest};
use crate::survey::nginx::scope::Scope;
use crate::syntax::nginx::Directive;
use crate::value::Text;

/// What is done with requests.
pub(super) fn of_requests(scope: &Scope<'_>, names: &Names, notes: &mut Notes) -> Vec<Rule> {
    rules(
        scope,
        names,
        notes,
        "more_set_input_headers",
        "more_clear_input_headers",
    )
}

/// What is done with responses.
pub(super) fn of_responses(scope: &Scope<'_>, names: &Names, notes: &mut Notes) -> Vec<Rule> {
    rules(
        scope,
        names,
        notes,
        "more_set_headers",
        "more_clear_headers",
    )
}

fn rules(
    scope: &Scope<'_>,
    names: &Names,
    notes: &mut Notes,
    sets: &str,
    clears: &str,
) -> Vec<Rule> {
    let mut levels: Vec<_> = scope.levels().collect();
    levels.reverse();
    let mut rules = Vec::new();
    let ours = levels.into_iter().flatten().copied();
    for directive in ours.filter(|found| found.is(sets) || found.is(clears)) {
        notes.begin(directive.origin(), text_of(directive));
        match one(directive, names) {
            Ok(made) => rules.extend(made),
            Err(message) => notes.refused(message),
        }
    }
    rules
}

fn one(directive: &Directive, names: &Names) -> Result<Vec<Rule>, String> {
    let is_input = directive.name.text.ends_with("_input_headers");
    let is_clear = directive.name.text.contains("_clear_");
    let (mut conditions, mut rules) = (Vec::new(), Vec::new());
    let mut headers = Vec::new();
    let mut words = directive.texts();
    while let Some(word) = words.next() {
        match word {
            "-s" if !is_input => {
                let statuses = words.next().unwrap_or_default().split_whitespace();
                conditions.push(value(ValueTest {
                    is: statuses.map(str::to_owned).collect(),
                    ..test_of(&Fetch::Status)
                }));
            }
            "-t" => conditions.push(types(words.next().unwrap_or_default(), is_input)?),
            "-r" if is_input => return Err("\"-r\" is not known here".to_owned()),
            "-a" => return Err("\"-a\" is not known here".to_owned()),
            word => headers.push(word),
        }
    }
    let when = all_of(conditions);
    for header in headers {
        let (name, text) = header.split_once(':').unwrap_or((header, ""));
        let text = text.trim();
        if name.contains('*') {
            return Err("names with \"*\" are not known here".to_owned());
        }
        let name = rewrite::header(name.trim())?;
        // A header without a value is taken away.
        let (mut actions, key) = (
            Actions::default(),
            match (is_input, is_clear || text.is_empty()) {
                (true, true) => "remove_request_headers",
                (true, false) => "set_request_headers",
                (false, true) => "remove_response_headers",
                (false, false) => "set_response_headers",
            },
        );
        let pair = || Ok::<_, String>(Pairs(vec![(name.clone(), values::template(text, names)?)]));
        match key {
            "remove_request_headers" => actions.remove_request_headers = vec![name],
            "set_request_headers" => actions.set_request_headers = pair()?,
            "remove_response_headers" => actions.remove_response_headers = vec![name],
            _ => actions.set_response_headers = pair()?,
        }
        actions.own_replies = !is_input;
        rules.push(rule(when.clone(), actions, key, &directive.origin()));
    }
    Ok(rules)
}

/// Media types, without what may stand behind them.
fn types(list: &str, is_input: bool) -> Result<Condition, String> {
    let name = "content-type".to_owned();
    let fetch = if is_input {
        Fetch::Header(name)
    } else {
        Fetch::ResponseHeader(name)
    };
    let types: Vec<String> = list.split_whitespace().map(regex_escape).collect();
    let pattern = format!("^({})\\s*(;|$)", types.join("|"));
    Ok(value(ValueTest {
        regex: vec![RegexText::parse(&pattern).map_err(|problem| problem.message)?],
        ignore_case: true,
        ..test_of(&fetch)
    }))
}

/// `charset`: texts of the usual types say how they are written, unless they do so already.
pub(super) fn charset(scope: &Scope<'_>, notes: &mut Notes) -> Option<Rule> {
    let directive = scope.find("charset")?;
    let charset = directive.argument(0).filter(|word| *word != "off")?;
    notes.begin(directive.origin(), text_of(directive));
    let usual =
        "text/html text/xml text/plain text/vnd.wap.wml application/javascript application/rss+xml";
    let own = scope
        .find("charset_types")
        .map(|found| found.texts().collect::<Vec<_>>().join(" "));
    let types = own.unwrap_or_else(|| usual.to_owned());
    let made = charset_rule(directive, charset, &types);
    made.map_err(|message| notes.refused(message)).ok()
}

fn charset_rule(directive: &Directive, charset: &str, types: &str) -> Result<Rule, String> {
    if charset.contains('$') {
        return Err("a charset that depends on the request is not known here".to_owned());
    }
    let name = rewrite::header("content-type")?;
    let fetch = Fetch::ResponseHeader("content-type".to_owned());
    let types: Vec<String> = types.split_whitespace().map(regex_escape).collect();
    let mut test = test_of(&fetch);
    if !types.iter().any(|known| known == "\\*") {
        let pattern = format!("^({})\\s*$", types.join("|"));
        test.regex = vec![RegexText::parse(&pattern).map_err(|problem| problem.message)?];
    } else {
        test.regex = vec![RegexText::parse("^[^;]+$").map_err(|problem| problem.message)?];
    }
    test.ignore_case = true;
    let text = format!("${{{fetch}}}; charset={charset}");
    let text = crate::model::TemplateText::parse(&text).map_err(|problem| problem.message)?;
    let actions = Actions {
        set_response_headers: Pairs(vec![(name, text)]),
        own_replies: true,
        ..Actions::default()
    };
    Ok(rule(
        value(test),
        actions,
        "set_response_headers",
        &directive.origin(),
    ))
}
