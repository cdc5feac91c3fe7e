//! `fastcgi_pass`, `uwsgi_pass`, `scgi_pass` and `grpc_pass`: other protocols than HTTP/1 with servers.

use clearway_rules::ast::{Convert, Fetch, Piece, Template};

use super::location::Work;
use super::text_of;
use super::upstream::{self, Target, Words};
use super::values::{self, Names};
use crate::diagnostic::Origin;
use crate::lower::build::{self, rule};
use crate::lower::notes::Notes;
use crate::model::{
    Actions, Condition, HeaderName, Pairs, RegexText, Route, Rule, TemplateText, Token, ValueTest,
};
use crate::survey::nginx::scope::Scope;
use crate::syntax::nginx::Directive;
use crate::value::Text;

/// The directives that pass on, but for `proxy_pass`.
pub(super) const NAMES: [&str; 4] = ["fastcgi_pass", "uwsgi_pass", "scgi_pass", "grpc_pass"];

/// What stands for the script and what follows it in a path.
const SCRIPT: &str = "fastcgi_script_name";
const PATH_INFO: &str = "fastcgi_path_info";

/// Passes what a location takes to a server of another protocol.
///
/// # Errors
/// A sentence about what is not known here.
pub(super) fn pass(
    directive: &Directive,
    scope: &Scope<'_>,
    names: &Names,
    route: &mut Route,
    work: &mut Work<'_>,
) -> Result<(), String> {
    let words = match directive.name.text.as_str() {
        "fastcgi_pass" => &upstream::FASTCGI,
        "uwsgi_pass" => &upstream::UWSGI,
        "scgi_pass" => &upstream::SCGI,
        _ => &upstream::GRPC,
    };
    let text = directive.argument(0).unwrap_or_default();
    let (scheme, host) = text.split_once("://").unwrap_or(("", text));
    let is_tls = scheme == "grpcs";
    if scheme == "suwsgi" {
        return Err("TLS is not spoken with servers of uwsgi".to_owned());
    }
    route.origins.set("backend", directive.origin());
    let is_grpc = words.pass == "grpc_pass";
    if !is_grpc {
        split(scope, directive, route, work.notes);
    }
    let params = match is_grpc {
        true => None,
        false => Some(params(words, scope, names, work.notes)),
    };
    let target = values::constant(host, names).map(|host| Target {
        is_tls,
        host,
        uri: None,
        words,
    });
    let name = match &target {
        Some(target) => {
            let mut target = target.clone();
            // A slash behind the name says nothing.
            target.host = target.host.trim_end_matches('/').to_owned();
            upstream::backend_with(&target, scope, params.as_ref(), work)?
        }
        None => super::named::backend(
            directive,
            host,
            words,
            names,
            (scope, params.as_ref()),
            work,
        )?,
    };
    route.backend = Some(name);
    upstream::ask(words, scope, work.config, route);
    if is_grpc {
        super::proxy::request_headers(scope, target.as_ref(), words, names, route, work.notes);
    } else {
        super::proxy::names_of_headers(scope, words, route);
    }
    super::proxy::hidden(scope, words, route);
    let place = (&mut *route, &*work.config);
    super::caches::read(scope, (&words.caches, host), names, place, work.notes);
    Ok(())
}

/// Names and values for servers.
#[derive(Clone, Debug, Default)]
pub(super) struct Params {
    pub(super) pairs: Vec<(Token, TemplateText)>,
    pub(super) optional: Vec<Token>,
}

fn params(words: &Words, scope: &Scope<'_>, names: &Names, notes: &mut Notes) -> Params {
    let mut params = Params::default();
    for directive in scope.all(words.param) {
        notes.begin(directive.origin(), text_of(directive));
        let name = directive.argument(0).unwrap_or_default();
        let text = directive.argument(1).unwrap_or_default();
        // Programs are told the path as people read it.
        match (Token::parse(name), values::plain(text, names)) {
            (Ok(name), Ok(value)) => {
                if directive.argument(2) == Some("if_not_empty") {
                    params.optional.push(name.clone());
                }
                // Of several the last counts.
                params.pairs.retain(|(known, _)| *known != name);
                params.pairs.push((name, value));
            }
            (Err(problem), _) => notes.wrong(&directive.origin(), problem.message, ""),
            (_, Err(message)) => notes.refused(message),
        }
    }
    params
}

/// `fastcgi_split_path_info` and `fastcgi_index`: what of the path names the script.
fn split(scope: &Scope<'_>, directive: &Directive, route: &mut Route, notes: &mut Notes) {
    let mut rules = match script_rules(scope, &directive.origin()) {
        Ok(rules) => rules,
        Err(message) => {
            if let Some(found) = scope.find("fastcgi_split_path_info") {
                notes.begin(found.origin(), text_of(found));
            }
            return notes.refused(message);
        }
    };
    // What is set in the place may go by them.
    let rest = std::mem::take(&mut route.rules);
    let again = rules.clone();
    route.rules.append(&mut rules);
    route.rules.extend(rest);
    // The path may have been changed since.
    route.rules.extend(again);
}

fn script_rules(scope: &Scope<'_>, origin: &Origin) -> Result<Vec<Rule>, String> {
    let set = |script: &str, info: &str| -> Result<Actions, String> {
        let pair = |name: &str, text: &str| -> Result<(Token, TemplateText), String> {
            let name = Token::parse(name).map_err(|problem| problem.message)?;
            let text = TemplateText::parse(text).map_err(|problem| problem.message)?;
            Ok((name, text))
        };
        Ok(Actions {
            set_variables: Pairs(vec![pair(SCRIPT, script)?, pair(PATH_INFO, info)?]),
            ..Actions::default()
        })
    };
    let key = "set_variables";
    let path = Template::new([Piece::Fetch(values::decoded_path())]).to_string();
    let mut rules = vec![rule(Condition::default(), set(&path, "")?, key, origin)];
    if let Some(pattern) = scope.text("fastcgi_split_path_info") {
        let regex = RegexText::parse(&pattern.value);
        let matches = build::value(ValueTest {
            regex: vec![regex.map_err(|problem| problem.message)?],
            ..build::test_of(&values::decoded_path())
        });
        rules.push(rule(matches, set("$1", "$2")?, key, origin));
    }
    if let Some(index) = scope.text("fastcgi_index") {
        let script = Fetch::Variable(SCRIPT.to_owned());
        let is_folder = build::value(ValueTest {
            ends: vec!["/".to_owned()],
            ..build::test_of(&script)
        });
        let index = index.value.replace('$', "$$");
        let text = format!("${{var:{SCRIPT}}}{index}");
        let info = format!("${{var:{PATH_INFO}}}");
        rules.push(rule(is_folder, set(&text, &info)?, key, origin));
    }
    Ok(rules)
}

/// `try_files` in a place that passes on: the first that is there becomes the path, the last is what happens
/// when none is.
///
/// # Errors
/// A sentence about what is not known here.
pub(super) fn tries(directive: &Directive, names: &Names, route: &mut Route) -> Result<(), String> {
    let origin = directive.origin();
    let words: Vec<&str> = directive.texts().collect();
    let Some((last, tries)) = words.split_last() else {
        return Err("try_files has files and what follows without them".to_owned());
    };
    let token = |name: &str| Token::parse(name).map_err(|problem| problem.message);
    let flag = |value: &str| -> Result<(Token, TemplateText), String> {
        let value = TemplateText::parse(value).map_err(|problem| problem.message)?;
        Ok((token(FOUND)?, value))
    };
    let mut first = Actions {
        set_variables: Pairs(vec![flag("")?]),
        ..Actions::default()
    };
    let is_found = build::value(ValueTest {
        is: vec!["1".to_owned()],
        ..build::test_of(&Fetch::Variable(FOUND.to_owned()))
    });
    for text in tries {
        let (text, kind) = match text.strip_suffix('/') {
            Some(text) => (text, "folder"),
            None => (*text, "file"),
        };
        let place = values::template(&format!("$document_root{text}"), names)?;
        let path = values::template(text, names)?;
        let mut look = std::mem::take(&mut first);
        look.set_variables.0.push((token(PLACE)?, place));
        route.rules.push(rule(
            build::not(is_found.clone()),
            look,
            "set_variables",
            &origin,
        ));
        let there = Fetch::Variable(PLACE.to_owned()).through(vec![Convert::new("on_disk")]);
        let is_there = build::value(ValueTest {
            of: build::fetch_text(&there)?,
            is: vec![kind.to_owned()],
            ..ValueTest::default()
        });
        let take = Actions {
            set_variables: Pairs(vec![flag("1")?]),
            set_path: Some(path).filter(|_| text != "$uri"),
            ..Actions::default()
        };
        let both = build::all_of(vec![build::not(is_found.clone()), is_there]);
        route.rules.push(rule(both, take, "set_variables", &origin));
    }
    let mut otherwise = Actions::default();
    let key = if let Some(status) = last.strip_prefix('=') {
        let status = status
            .parse()
            .map_err(|_| format!("{last:?} is no status"))?;
        otherwise.deny = Some(status);
        "deny"
    } else if last.starts_with('@') {
        let to = TemplateText::parse(last).map_err(|problem| problem.message)?;
        otherwise.set_variables = Pairs(vec![(token("goto")?, to)]);
        otherwise.reroute = true;
        "reroute"
    } else {
        let (path, query) = last.split_once('?').unwrap_or((last, ""));
        otherwise.set_path = Some(values::template(path, names)?);
        if last.contains('?') {
            otherwise.set_query = Some(values::template(query, names)?);
        }
        otherwise.reroute = true;
        "reroute"
    };
    route
        .rules
        .push(rule(build::not(is_found), otherwise, key, &origin));
    Ok(())
}

/// Where a file is looked for, and whether one was found.
const PLACE: &str = "tried";
const FOUND: &str = "tried-found";

/// The names of headers that a directive lists.
pub(super) fn listed(scope: &Scope<'_>, name: &str) -> Vec<HeaderName> {
    let all = scope.all(name);
    let words = all.iter().filter_map(|found| found.argument(0));
    words
        .filter_map(|word| HeaderName::parse(word).ok())
        .collect()
}
