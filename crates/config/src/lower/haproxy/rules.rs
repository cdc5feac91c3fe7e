//! `http-request`, `http-response` and `redirect`: each line is a rule with one action.

use clearway_rules::ast::{Convert, Fetch, Piece, Template};

use super::acl::{self, Acls};
use super::pages::{self, Groups, What};
use super::{format, sample};
use crate::diagnostic::{Origin, Origins};
use crate::lower::build::{self, rule};
use crate::model::{
    Actions, Condition, HeaderName, HeaderValue, Pairs, ReadBody, Redirect, RegexText, Replacement,
    Reply, Rule, TemplateText, Token, ValueTest,
};
use crate::survey::units;
use crate::value::Text;

/// Whether a rule is about requests or responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Request,
    Response,
}

/// What became of a line.
pub(super) enum Lowered {
    /// It is a rule.
    Rule(Box<Rule>),
    /// It is one that needs no action: nobody notices.
    Nothing(&'static str),
}

/// Why a line cannot be a rule.
pub(super) enum Trouble {
    /// It is wrong in its own language too.
    Wrong(String),
    /// It is not known here.
    Unknown(String),
}

impl From<String> for Trouble {
    fn from(message: String) -> Self {
        Self::Unknown(message)
    }
}

pub(super) fn wrong(message: impl Into<String>) -> Trouble {
    Trouble::Wrong(message.into())
}

/// Lowers the words behind `http-request` or `http-response`.
pub(super) fn lower(
    phase: Phase,
    words: &[&str],
    (acls, groups): (&Acls, &Groups),
    origin: &Origin,
) -> Result<Lowered, Trouble> {
    let (words, mut condition) = acl::of_line(words, acls)?;
    let Some((name, arguments)) = words.split_first() else {
        return Err(wrong("an action is missing"));
    };
    if let Some(more) = provisos(name, arguments)? {
        condition = build::all_of(vec![condition, more]);
    }
    let mut actions = Actions {
        origins: Origins::new(origin.clone()),
        ..Actions::default()
    };
    let (key, is_done) = act(phase, name, arguments, (groups, &mut actions))?;
    if !is_done {
        return Ok(Lowered::Nothing(key));
    }
    match phase {
        Phase::Request => early(&mut actions),
        Phase::Response => actions.with_response = true,
    }
    Ok(Lowered::Rule(Box::new(rule(
        condition, actions, key, origin,
    ))))
}

/// Fills in what an action does; the key it went to, and whether anything is done.
fn act(
    phase: Phase,
    name: &str,
    arguments: &[&str],
    (groups, actions): (&Groups, &mut Actions),
) -> Result<(&'static str, bool), Trouble> {
    if let Some(pair) = variable(name, arguments)? {
        actions.set_variables = Pairs(vec![pair]);
        return Ok(("set_variables", true));
    }
    match (name, arguments) {
        ("set-header" | "add-header" | "del-header" | "replace-header" | "replace-value", _) => {
            header(phase, name, arguments, actions)
        }
        ("set-path" | "set-pathq" | "set-query" | "set-uri", [text, ..]) => {
            actions.set_target = Some(target(name, text)?);
            Ok(("set_target", true))
        }
        ("replace-path" | "replace-pathq" | "replace-uri", [pattern, text, ..]) => {
            actions.set_target = Some(replaced(name, pattern, text)?);
            Ok(("set_target", true))
        }
        ("set-method", [text, ..]) => {
            actions.set_method = Some(format::template(text)?);
            Ok(("set_method", true))
        }
        ("normalize-uri", arguments @ [_, ..]) => {
            let target = Piece::Fetch(formed(arguments));
            actions.set_target = Some(format::to_text(&Template::new([target]))?);
            Ok(("set_target", true))
        }
        ("wait-for-body", words) if phase == Phase::Request => {
            actions.read_body = Some(read_body(words)?);
            Ok(("read_body", true))
        }
        ("set-status", [status, ..]) => {
            actions.set_status = Some(number(status, 100, 999)?);
            Ok(("set_status", true))
        }
        ("allow", _) => {
            actions.finish = true;
            Ok(("finish", true))
        }
        ("silent-drop" | "reject", _) => {
            actions.drop = true;
            Ok(("drop", true))
        }
        ("auth", _) if phase == Phase::Request => {
            let realm = match arguments {
                [] => "",
                ["realm", realm] => realm,
                _ => return Err(wrong("auth takes a realm alone")),
            };
            HeaderValue::parse(realm).map_err(|problem| wrong(problem.message))?;
            actions.basic_auth = Some(super::stats::auth(realm, &[]));
            Ok(("basic_auth", true))
        }
        ("deny" | "tarpit" | "return", _) => answer(phase, name, arguments, (groups, actions)),
        ("redirect", _) => {
            actions.redirect = Some(redirect(arguments)?);
            Ok(("redirect", true))
        }
        ("wait-for-body", _) => Ok(("responses go on as they come", false)),
        (
            "set-nice" | "set-tos" | "set-mark" | "strict-mode" | "set-dst-port"
            | "wait-for-handshake",
            _,
        ) => Ok(("nothing is seen of it in requests and responses", false)),
        _ => Err(Trouble::Unknown(format!(
            "the action {name:?} is not known here"
        ))),
    }
}

/// The target in the form that `normalize-uri` brings it into.
fn formed(arguments: &[&str]) -> Fetch {
    let arguments = arguments.get(..2).unwrap_or(arguments);
    Fetch::SentTarget.through(vec![Convert::with("normalize", arguments)])
}

/// The refusal of targets that `normalize-uri` cannot bring into form.
///
/// # Errors
/// A sentence about a condition that is wrong or not known.
pub(super) fn unformed(words: &[&str], acls: &Acls, origin: &Origin) -> Result<Rule, String> {
    let (words, condition) = acl::of_line(words, acls)?;
    let formed = formed(words.get(1..).unwrap_or_default());
    let is_formed = build::value(build::test_of(&formed));
    let actions = Actions {
        deny: Some(400),
        ..Actions::default()
    };
    let when = build::all_of(vec![condition, build::not(is_formed)]);
    Ok(rule(when, actions, "deny", origin))
}

/// What is set by an action that sets a variable, here or in HAProxy.
fn variable(name: &str, arguments: &[&str]) -> Result<Option<(Token, TemplateText)>, Trouble> {
    if let Some((_, scoped)) = name.split_once('(')
        && name.starts_with("set-var")
    {
        let variable = scoped.split([',', ')']).next().unwrap_or(scoped);
        let value = match arguments {
            [format] if name.starts_with("set-var-fmt") => format::template(format)?,
            _ => fetched(sample::read(&arguments.join(","))?.fetch)?,
        };
        return Ok(Some((token(variable)?, value)));
    }
    if let Some(scoped) = name.strip_prefix("unset-var(") {
        let name = scoped.strip_suffix(')').unwrap_or(scoped);
        return Ok(Some((token(name)?, TemplateText::default())));
    }
    Ok(Some(match (name, arguments) {
        ("set-log-level", [level, ..]) => {
            let value = TemplateText::parse(level).map_err(|problem| wrong(problem.message))?;
            (token("log_level")?, value)
        }
        ("set-timeout", [which @ ("server" | "tunnel"), value, ..]) => {
            let value = match units::haproxy_time(value) {
                Some(time) => Fetch::Literal(time.as_millis().to_string()),
                None => sample::read(value)?.fetch,
            };
            (token(&format!("timeout.{which}"))?, fetched(value)?)
        }
        ("set-src" | "set-dst", [expression, ..]) => {
            // Addresses that rules set are variables in place of those of the connection.
            let name = if name == "set-src" {
                "client_ip"
            } else {
                "server_ip"
            };
            let fetch = sample::read(expression)?.fetch;
            let fetch = fetch.through(vec![Convert::new("ip")]);
            (token(name)?, fetched(fetch)?)
        }
        _ => return Ok(None),
    }))
}

/// A text that is one value.
fn fetched(fetch: Fetch) -> Result<TemplateText, Trouble> {
    Ok(format::to_text(&Template::new([Piece::Fetch(fetch)]))?)
}

/// What has to hold besides the condition of a line: `set-var(txn.a,ifnotexists)` and
/// `redirect … ignore-empty`.
fn provisos(name: &str, arguments: &[&str]) -> Result<Option<Condition>, Trouble> {
    let test = |fetch: &Fetch| -> Result<ValueTest, Trouble> {
        Ok(ValueTest {
            of: build::fetch_text(fetch)?,
            ..ValueTest::default()
        })
    };
    let not_empty = |fetch: &Fetch| {
        test(fetch).map(|test| {
            build::value(ValueTest {
                least_bytes: Some(1),
                ..test
            })
        })
    };
    if name == "redirect" && arguments.contains(&"ignore-empty") {
        let at = arguments.iter().position(|word| *word == "location");
        let text = at.and_then(|at| arguments.get(at + 1)).copied();
        return match format::read(text.unwrap_or_default())?.pieces() {
            [Piece::Fetch(fetch)] => not_empty(fetch).map(Some),
            _ => Ok(None),
        };
    }
    let Some((_, scoped)) = name.split_once('(').filter(|_| name.starts_with("set-var")) else {
        return Ok(None);
    };
    let mut words = scoped.trim_end_matches(')').split(',').map(str::trim);
    let variable = Fetch::Variable(sample::variable(words.next().unwrap_or_default()));
    let mut all = Vec::new();
    for word in words {
        let is_there = test(&variable).map(build::value);
        all.push(match word {
            "ifexists" | "ifset" => is_there?,
            "ifnotexists" | "ifnotset" => build::not(is_there?),
            "ifnotempty" => not_empty(&sample::read(&arguments.join(","))?.fetch)?,
            "ifempty" => build::not(not_empty(&sample::read(&arguments.join(","))?.fetch)?),
            other => return Err(Trouble::Unknown(format!("{other:?} is not known here"))),
        });
    }
    Ok(Some(build::all_of(all)).filter(|condition| *condition != Condition::default()))
}

/// `wait-for-body time T [at-least N]`.
fn read_body(words: &[&str]) -> Result<ReadBody, Trouble> {
    let mut body = ReadBody::default();
    let mut rest = words;
    while let [word, value, tail @ ..] = rest {
        let bad = || wrong(format!("{value:?} does not fit {word}"));
        match *word {
            "time" => body.time = units::haproxy_time(value).ok_or_else(bad)?,
            "at-least" => {
                let bytes = units::size(value).and_then(|size| usize::try_from(size).ok());
                body.at_least = bytes.ok_or_else(bad)?;
            }
            word => return Err(Trouble::Unknown(format!("{word:?} is not known here"))),
        }
        rest = tail;
    }
    Ok(body)
}

/// A name of a backend in a rule about requests is that of the one that is chosen so far.
fn early(actions: &mut Actions) {
    let variables = actions.set_variables.0.iter_mut().map(|(_, text)| text);
    let set = actions
        .set_request_headers
        .0
        .iter_mut()
        .map(|(_, text)| text);
    let added = actions
        .add_request_headers
        .0
        .iter_mut()
        .map(|(_, text)| text);
    for text in variables.chain(set).chain(added) {
        let Ok(template) = Template::parse(text.as_str()) else {
            continue;
        };
        let pieces = template.pieces().iter().map(|piece| match piece {
            Piece::Fetch(fetch) => Piece::Fetch(early_fetch(fetch)),
            text @ Piece::Text(_) => text.clone(),
        });
        if let Ok(new) = format::to_text(&Template::new(pieces)) {
            *text = new;
        }
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "all others are the same")]
fn early_fetch(fetch: &Fetch) -> Fetch {
    match fetch {
        Fetch::Backend => Fetch::Chosen,
        Fetch::Server => Fetch::Literal("<NOSRV>".to_owned()),
        Fetch::Converted(inner, converts) => early_fetch(inner).through(converts.clone()),
        other => other.clone(),
    }
}

fn token(text: &str) -> Result<Token, Trouble> {
    Token::parse(&sample::variable(text)).map_err(|problem| wrong(problem.message))
}

pub(super) fn number(text: &str, least: u16, most: u16) -> Result<u16, Trouble> {
    let number = text.parse().ok();
    let number = number.filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| wrong(format!("{text:?} is no number from {least} to {most}")))
}

pub(super) fn header_name(text: &str) -> Result<HeaderName, Trouble> {
    // A colon behind the name is a slip that is seen often.
    HeaderName::parse(text.trim_end_matches(':')).map_err(|problem| wrong(problem.message))
}

fn header(
    phase: Phase,
    action: &str,
    arguments: &[&str],
    actions: &mut Actions,
) -> Result<(&'static str, bool), Trouble> {
    let Some((name, values)) = arguments.split_first() else {
        return Err(wrong("the name of a header is missing"));
    };
    if let ("del-header", ["-m", method]) = (action, values) {
        return drop_like(phase, name_pattern(method, name)?, actions);
    }
    let name = header_name(name)?;
    let is_host = name.as_str().eq_ignore_ascii_case("host") && phase == Phase::Request;
    match (action, values) {
        ("set-header" | "add-header", [text, ..]) => {
            let value = format::template(text)?;
            actions.empty_headers = format::read(text)?.constant().is_none();
            if is_host {
                actions.empty_headers = false;
                actions.set_host = Some(value);
                return Ok(("set_host", true));
            }
            let pairs = Pairs(vec![(name, value)]);
            Ok((with_headers(phase, action, pairs, actions), true))
        }
        // The response to HEAD and a 304 may carry it; whether there is a body says the connection.
        ("del-header", []) if is_of_transfer(&name) => Ok((
            "how a message is transferred is each connection's own affair",
            false,
        )),
        ("del-header", [] | [""]) if is_host => Ok((
            "a request has to have a host: one that is set later takes its place",
            false,
        )),
        ("del-header", []) => Ok(match phase {
            Phase::Request => {
                actions.remove_request_headers = vec![name];
                ("remove_request_headers", true)
            }
            Phase::Response => {
                actions.remove_response_headers = vec![name];
                ("remove_response_headers", true)
            }
        }),
        ("replace-header" | "replace-value", [pattern, text, ..]) if is_host => {
            let replacement = format::read(text)?;
            let Some(constant) = replacement.constant() else {
                return Err(Trouble::Unknown(
                    "a host with a value is not known here".to_owned(),
                ));
            };
            let whole = format!("(?s)^.*?(?:{pattern}).*$");
            let convert = Convert::with("regsub", &[whole.as_str(), constant]);
            let host = Fetch::HeaderLine("host".to_owned()).through(vec![convert]);
            regex(pattern)?;
            actions.set_host = Some(format::to_text(&Template::new([Piece::Fetch(host)]))?);
            Ok(("set_host", true))
        }
        ("replace-header" | "replace-value", [pattern, text, ..]) => {
            let replacement = Replacement {
                header: name,
                regex: regex(pattern)?,
                to: captures(text)?,
                items: action == "replace-value",
                ..Replacement::default()
            };
            Ok(match phase {
                Phase::Request => {
                    actions.replace_request_headers = vec![replacement];
                    ("replace_request_headers", true)
                }
                Phase::Response => {
                    actions.replace_response_headers = vec![replacement];
                    ("replace_response_headers", true)
                }
            })
        }
        _ => Err(Trouble::Unknown(format!(
            "{action} with these words is not known here"
        ))),
    }
}

/// Whether a header is about the connection it came on.
fn is_of_transfer(name: &HeaderName) -> bool {
    let names = ["transfer-encoding", "connection"];
    names
        .iter()
        .any(|known| name.as_str().eq_ignore_ascii_case(known))
}

/// Sets or adds headers; the key they went to.
fn with_headers(
    phase: Phase,
    action: &str,
    pairs: Pairs<HeaderName, TemplateText>,
    actions: &mut Actions,
) -> &'static str {
    match (phase, action) {
        (Phase::Request, "set-header") => {
            actions.set_request_headers = pairs;
            "set_request_headers"
        }
        (Phase::Request, _) => {
            actions.add_request_headers = pairs;
            "add_request_headers"
        }
        (Phase::Response, "set-header") => {
            actions.set_response_headers = pairs;
            "set_response_headers"
        }
        (Phase::Response, _) => {
            actions.add_response_headers = pairs;
            "add_response_headers"
        }
    }
}

/// Removes headers by a pattern of their names.
fn drop_like(
    phase: Phase,
    pattern: RegexText,
    actions: &mut Actions,
) -> Result<(&'static str, bool), Trouble> {
    Ok(match phase {
        Phase::Request => {
            actions.remove_request_headers_like = vec![pattern];
            ("remove_request_headers_like", true)
        }
        Phase::Response => {
            actions.remove_response_headers_like = vec![pattern];
            ("remove_response_headers_like", true)
        }
    })
}

/// Names of headers, matched in one of the ways of ACLs.
fn name_pattern(method: &str, text: &str) -> Result<RegexText, Trouble> {
    let escaped = build::regex_escape(text);
    regex(&match method {
        "str" => format!("^{escaped}$"),
        "beg" => format!("^{escaped}"),
        "end" => format!("{escaped}$"),
        "sub" => escaped,
        "reg" => text.to_owned(),
        other => {
            return Err(Trouble::Unknown(format!(
                "the way of matching {other:?} is not known here"
            )));
        }
    })
}

fn regex(pattern: &str) -> Result<RegexText, Trouble> {
    RegexText::parse(pattern).map_err(|problem| match problem.hint {
        Some(hint) => Trouble::Unknown(format!("{}: {hint}", problem.message)),
        None => Trouble::Unknown(problem.message),
    })
}

/// A log-format string in which `\1` is a group of a regular expression.
fn captures(text: &str) -> Result<TemplateText, Trouble> {
    let mut pieces = Vec::new();
    for piece in format::read(text)?.pieces() {
        match piece {
            Piece::Text(text) => pieces.extend(groups(text)),
            fetch @ Piece::Fetch(_) => pieces.push(fetch.clone()),
        }
    }
    Ok(format::to_text(&Template::new(pieces))?)
}

fn groups(text: &str) -> Vec<Piece> {
    let (mut pieces, mut plain) = (Vec::new(), String::new());
    let mut chars = text.chars();
    while let Some(next) = chars.next() {
        if next != '\\' {
            plain.push(next);
            continue;
        }
        match chars.next() {
            Some(digit) if digit.is_ascii_digit() => {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
                let group = digit
                    .to_digit(10)
                    .and_then(|group| u8::try_from(group).ok());
                pieces.push(Piece::Fetch(Fetch::Capture(group.unwrap_or(0))));
            }
            Some(other) => plain.push(other),
            None => plain.push('\\'),
        }
    }
    pieces.push(Piece::Text(plain));
    pieces
}

/// The whole target, of which a part is a log-format string.
fn target(action: &str, text: &str) -> Result<TemplateText, Trouble> {
    let own = format::read(text)?;
    let mut pieces: Vec<Piece> = Vec::new();
    if action == "set-query" {
        pieces.push(Piece::Fetch(Fetch::SentPath));
        let query = own.to_string();
        let starts = query.starts_with('?');
        if !starts && !query.is_empty() {
            pieces.push(Piece::Text("?".to_owned()));
        }
    }
    pieces.extend(own.pieces().iter().cloned());
    if action == "set-path" {
        pieces.push(Piece::Fetch(Fetch::QuerySign));
        pieces.push(Piece::Fetch(Fetch::Query));
    }
    Ok(format::to_text(&Template::new(pieces))?)
}

/// The target with what a pattern matches in a part of it replaced.
fn replaced(action: &str, pattern: &str, text: &str) -> Result<TemplateText, Trouble> {
    regex(pattern)?;
    let replacement = format::read(text)?;
    let Some(constant) = replacement.constant() else {
        return Err(Trouble::Unknown(format!(
            "{action} with a value is not known here"
        )));
    };
    // All of the part is replaced when the pattern matches anywhere in it.
    let whole = format!("(?s)^.*?(?:{pattern}).*$");
    let with = |fetch: Fetch| {
        let convert = Convert::with("regsub", &[whole.as_str(), constant]);
        Piece::Fetch(fetch.through(vec![convert]))
    };
    let pieces = match action {
        "replace-path" => vec![
            with(Fetch::SentPath),
            Piece::Fetch(Fetch::QuerySign),
            Piece::Fetch(Fetch::Query),
        ],
        _ => vec![with(Fetch::SentTarget)],
    };
    Ok(format::to_text(&Template::new(pieces))?)
}

/// `redirect location|prefix|scheme VALUE [code N] [options]`.
pub(super) fn redirect(words: &[&str]) -> Result<Redirect, Trouble> {
    let mut redirect = Redirect {
        status: 302,
        ..Redirect::default()
    };
    let (mut to, mut drops_query, mut appends_slash) = (None, false, false);
    let mut rest = words;
    while let [word, tail @ ..] = rest {
        rest = match (*word, tail) {
            (kind @ ("location" | "prefix" | "scheme"), [text, tail @ ..]) => {
                to = Some((kind, *text));
                tail
            }
            ("code", [code, tail @ ..]) => {
                redirect.status = number(code, 301, 308)?;
                tail
            }
            ("drop-query", tail) => {
                drops_query = true;
                tail
            }
            ("append-slash", tail) => {
                appends_slash = true;
                tail
            }
            ("ignore-empty", tail) => tail,
            (word @ ("set-cookie" | "clear-cookie"), [cookie, tail @ ..]) => {
                let value = cookie_value(word, cookie);
                let value = TemplateText::parse(&value).map_err(|p| wrong(p.message))?;
                redirect.headers.0.push((header_name("set-cookie")?, value));
                tail
            }
            (word, _) => return Err(Trouble::Unknown(format!("{word:?} is not known here"))),
        };
    }
    let Some((kind, text)) = to else {
        return Err(wrong("a redirection needs location, prefix or scheme"));
    };
    let mut pieces: Vec<Piece> = format::read(text)?.pieces().to_vec();
    if kind == "scheme" {
        pieces.push(Piece::Text("://".to_owned()));
        pieces.push(Piece::Fetch(Fetch::HeaderLine("host".to_owned())));
    }
    if kind != "location" {
        if kind == "prefix" && text == "/" {
            pieces.clear();
        }
        pieces.push(Piece::Fetch(match (drops_query, appends_slash) {
            (true, true) => Fetch::SentPath.through(vec![slash()]),
            (true, false) => Fetch::SentPath,
            (false, true) => Fetch::SentTarget.through(vec![slash()]),
            (false, false) => Fetch::SentTarget,
        }));
    }
    redirect.to = format::to_text(&Template::new(pieces))?;
    if matches!(redirect.status, 302 | 303 | 307) {
        let value = TemplateText::parse("no-cache").unwrap_or_default();
        redirect
            .headers
            .0
            .push((header_name("cache-control")?, value));
    }
    Ok(redirect)
}

fn slash() -> Convert {
    Convert::with("regsub", &["([^/])$", "\\1/"])
}

fn cookie_value(word: &str, cookie: &str) -> String {
    match word {
        "clear-cookie" => format!(
            "{}; path=/; Max-Age=0;",
            cookie.trim_end_matches('=').to_owned() + "="
        ),
        _ => format!("{cookie}; path=/;"),
    }
}

/// `deny`, `tarpit` and `return` with what they say about the answer.
fn answer(
    phase: Phase,
    action: &str,
    words: &[&str],
    (groups, actions): (&Groups, &mut Actions),
) -> Result<(&'static str, bool), Trouble> {
    let default = match (action, phase) {
        ("return", _) => 200,
        ("tarpit", _) => 500,
        (_, Phase::Request) => 403,
        (_, Phase::Response) => 502,
    };
    let said = pages::said(words, groups)?;
    let status = said.status.unwrap_or(default);
    let is_described = !matches!(words, [] | ["deny_status", _]);
    let mut reply = Reply {
        status,
        content_type: HeaderValue::default(),
        headers: Pairs(said.headers),
        ..Reply::default()
    };
    match said.what {
        What::Page(page) if page.drop => {
            actions.drop = true;
            return Ok(("drop", true));
        }
        What::Page(page) => {
            reply.status = page.status.unwrap_or(status);
            reply.body = page.body.unwrap_or_default();
            reply.template = page.template;
            reply.content_type = page.content_type;
            reply.headers = page.headers;
        }
        What::Usual if status >= 400 && action != "return" => {
            actions.deny = Some(status);
            return Ok(("deny", true));
        }
        What::Usual => reply.page = true,
        // Who describes an answer without a body gets one without a body.
        What::Nothing if action == "return" || is_described => {}
        What::Nothing if status >= 400 => {
            actions.deny = Some(status);
            return Ok(("deny", true));
        }
        What::Nothing => reply.page = true,
    }
    actions.reply = Some(reply);
    Ok(("reply", true))
}
