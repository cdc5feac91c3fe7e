//! Lines that become more than one rule, or one in another place: captures, `use-server`,
//! `monitor fail`, backends whose name depends on the request.

use clearway_base::hash::Set;
use clearway_rules::ast::{Convert, Fetch, Piece, Template};

use super::super::notes::Notes;
use super::proxy::{Proxy, Switch};
use super::rules::Phase;
use super::{acl, format, sample};
use crate::diagnostic::Origin;
use crate::lower::build::{self, rule};
use crate::model::{Actions, Condition, Pairs, RegexText, Rule, TemplateText, Token, ValueTest};
use crate::syntax::haproxy::Line;
use crate::value::Text;

/// A rule that sets a variable.
fn set(
    name: &str,
    value: TemplateText,
    condition: Condition,
    origin: &Origin,
) -> Result<Rule, String> {
    let name = Token::parse(name).map_err(|problem| problem.message)?;
    let actions = Actions {
        set_variables: Pairs(vec![(name, value)]),
        ..Actions::default()
    };
    Ok(rule(condition, actions, "set_variables", origin))
}

/// A rule that captures so many bytes of a value.
fn captures(
    (phase, number): (Phase, usize),
    fetch: Fetch,
    length: &str,
    condition: Condition,
    origin: &Origin,
) -> Result<Rule, String> {
    let length: usize = length
        .parse()
        .map_err(|_| format!("{length:?} is no length"))?;
    let cut = Convert::with("bytes", &["0", &length.to_string()]);
    let value = format::to_text(&Template::new([Piece::Fetch(fetch.through(vec![cut]))]))?;
    let side = if phase == Phase::Request {
        "req"
    } else {
        "res"
    };
    set(
        &format!("capture.{side}.{number}"),
        value,
        condition,
        origin,
    )
}

/// `capture request header NAME len N` and `declare capture request len N`.
pub(super) fn capture(line: &Line, rest: &[&str], proxy: &mut Proxy, notes: &mut Notes) {
    let (phase, fetch, length) = match rest {
        ["request", "header", name, "len", length, ..] => (
            Phase::Request,
            Some(Fetch::HeaderLine(name.to_ascii_lowercase())),
            *length,
        ),
        ["response", "header", name, "len", length, ..] => (
            Phase::Response,
            Some(Fetch::ResponseHeaderLine(name.to_ascii_lowercase())),
            *length,
        ),
        ["capture", "request", "len", length, ..] => (Phase::Request, None, *length),
        ["capture", "response", "len", length, ..] => (Phase::Response, None, *length),
        ["cookie", name, "len", length, ..] => {
            return match cookies(name, length, &line.origin()) {
                Ok(rules) => {
                    proxy.connection.extend(rules.0);
                    proxy.response.extend(rules.1);
                    proxy.cookie_capture = Some(line.clone());
                    notes.equivalent("captures are variables");
                }
                Err(message) => notes.wrong(&line.origin(), message, ""),
            };
        }
        _ => return notes.refused("such a capture is not known here"),
    };
    let slots = proxy.captures.entry(phase == Phase::Request).or_default();
    let number = slots.len();
    slots.push(length.to_owned());
    let Some(fetch) = fetch else {
        return notes.equivalent("captures are variables");
    };
    let origin = line.origin();
    match captures(
        (phase, number),
        fetch,
        length,
        Condition::default(),
        &origin,
    ) {
        Ok(rule) if phase == Phase::Request => proxy.connection.push(rule),
        Ok(rule) => proxy.response.push(rule),
        Err(message) => notes.wrong(&origin, message, ""),
    }
    notes.equivalent("captures are variables");
}

/// `capture cookie`: the first cookie whose name begins so, of the request and of the response, with its name.
fn cookies(
    name: &str,
    length: &str,
    origin: &Origin,
) -> Result<(Option<Rule>, Option<Rule>), String> {
    let capture = |fetch: Fetch, before: &str, variable: &str| {
        let pattern = format!("{before}({}[^;,]*)", build::regex_escape(name));
        let test = ValueTest {
            regex: vec![RegexText::parse(&pattern).map_err(|problem| problem.message)?],
            ..build::test_of(&fetch)
        };
        let cut = Convert::with("bytes", &["0", length]);
        let value = Template::new([Piece::Fetch(Fetch::Capture(1).through(vec![cut]))]);
        let pair = (
            Token::parse(variable).map_err(|problem| problem.message)?,
            format::to_text(&value)?,
        );
        let actions = Actions {
            set_variables: Pairs(vec![pair]),
            ..Actions::default()
        };
        let condition = build::value(test);
        Ok::<_, String>(rule(condition, actions, "set_variables", origin))
    };
    let came = Fetch::HeaderLine("cookie".to_owned());
    let request = capture(came, "(?:^|;\\s*)", COOKIE_OF_REQUEST)?;
    let set = Fetch::ResponseHeaderLine("set-cookie".to_owned());
    let response = capture(set, "^", COOKIE_OF_RESPONSE)?;
    Ok((Some(request), Some(response)))
}

/// The variable with what `capture cookie` found in the request.
pub(super) const COOKIE_OF_REQUEST: &str = "capture.cookie.req";
/// The same for the response.
pub(super) const COOKIE_OF_RESPONSE: &str = "capture.cookie.res";

/// `http-request capture EXPRESSION len N` or `id N`.
pub(super) fn capture_rule(
    line: &Line,
    phase: Phase,
    rest: &[&str],
    proxy: &mut Proxy,
    notes: &mut Notes,
) {
    let mut made = || -> Result<Rule, String> {
        let (words, condition) = acl::of_line(rest, &proxy.acls)?;
        let at = words
            .iter()
            .position(|word| matches!(*word, "len" | "id"))
            .ok_or("a capture needs a length or a place")?;
        let fetch = sample::read(&words.get(1..at).unwrap_or_default().join(","))?.fetch;
        let value = words.get(at + 1).copied().unwrap_or_default();
        let slots = proxy.captures.entry(phase == Phase::Request).or_default();
        let number = match words.get(at) {
            Some(&"id") => value
                .parse()
                .map_err(|_| format!("{value:?} is no place"))?,
            _ => {
                slots.push(value.to_owned());
                slots.len() - 1
            }
        };
        let length = slots.get(number).cloned();
        let length = length.ok_or_else(|| format!("there is no capture {number}"))?;
        captures((phase, number), fetch, &length, condition, &line.origin())
    };
    match (made(), phase) {
        (Ok(rule), Phase::Request) => proxy.request.push(rule),
        (Ok(rule), Phase::Response) => proxy.response.push(rule),
        (Err(message), _) => notes.refused(message),
    }
}

/// `use-server NAME if …`: the first whose condition holds.
pub(super) fn use_server(rest: &[&str], origin: &Origin, proxy: &mut Proxy, notes: &mut Notes) {
    let made = || -> Result<Rule, String> {
        let (words, condition) = acl::of_line(rest, &proxy.acls)?;
        let name = words.first().copied().unwrap_or_default();
        let actions = Actions {
            use_server: Some(format::template(name)?),
            ..Actions::default()
        };
        Ok(rule(condition, actions, "use_server", origin))
    };
    match made() {
        // The last that is set counts here.
        Ok(rule) => proxy.use_server.insert(0, rule),
        Err(message) => notes.refused(message),
    }
}

/// `monitor fail if …`.
pub(super) fn monitor_fail(rest: &[&str], proxy: &mut Proxy, notes: &mut Notes) {
    match acl::of_line(rest, &proxy.acls) {
        Ok((["fail"], condition)) => proxy.monitor_fails.push(condition),
        Ok(_) => notes.refused("only \"monitor fail\" is known"),
        Err(message) => notes.refused(message),
    }
}

/// `use_backend %[…]`: one way for each backend that the name may come to, and the default for others.
pub(super) fn dynamic(
    text: &str,
    condition: &Condition,
    origin: &Origin,
    proxy: &mut Proxy,
    names: &Set<String>,
) -> Result<(), String> {
    let template = format::read(text)?;
    let (before, fetch, after) = match template.pieces() {
        [Piece::Fetch(fetch)] => ("", fetch, ""),
        [Piece::Text(before), Piece::Fetch(fetch)] => (before.as_str(), fetch, ""),
        [Piece::Fetch(fetch), Piece::Text(after)] => ("", fetch, after.as_str()),
        [Piece::Text(before), Piece::Fetch(fetch), Piece::Text(after)] => {
            (before.as_str(), fetch, after.as_str())
        }
        _ => {
            return Err(
                "a backend whose name has several values in it is not known here".to_owned(),
            );
        }
    };
    let of = build::fetch_text(fetch)?;
    let mut sorted: Vec<&String> = names.iter().collect();
    sorted.sort();
    for name in sorted {
        let Some(middle) = name
            .strip_prefix(before)
            .and_then(|rest| rest.strip_suffix(after))
        else {
            continue;
        };
        let test = ValueTest {
            of: of.clone(),
            is: vec![middle.to_owned()],
            ..ValueTest::default()
        };
        proxy.switches.push(Switch {
            backend: Some(name.clone()),
            condition: build::all_of(vec![condition.clone(), build::value(test)]),
            origin: origin.clone(),
        });
    }
    // A name that nothing has leads where requests go that no line takes.
    proxy.switches.push(Switch {
        backend: None,
        condition: condition.clone(),
        origin: origin.clone(),
    });
    Ok(())
}
