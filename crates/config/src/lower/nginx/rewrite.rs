//! The rewrite module: `set`, `if`, `rewrite`, `return`, `break`; each becomes a rule.

use clearway_rules::ast::Fetch;

use super::super::notes::Notes;
use super::values::{self, Names};
use crate::diagnostic::Origin;
use crate::lower::build::{all_of, not, rule, test_of, value};
use crate::model::{
    Actions, BodyText, Condition, HeaderName, HeaderValue, Pairs, Redirect, RegexText, Reply,
    Rewrite, Rule, TemplateText, Token, ValueTest,
};
use crate::syntax::nginx::Directive;
use crate::value::Text;

/// What `default_type` says, as a constant that no variable can name.
pub(super) const DEFAULT_TYPE: &str = "default type";

/// Rules in the order in which they are looked at, and whether the last one always ends them.
#[derive(Debug, Default)]
pub(super) struct Rules {
    pub(super) rules: Vec<Rule>,
    /// A `return` without a condition: nothing behind it is reached.
    pub(super) ends: bool,
    /// A rewriting without a flag may have changed the path.
    pub(super) reroutes: bool,
    /// A `break` may have ended the block.
    pub(super) breaks: bool,
}

/// Set where the rest of a block's directives are to be left alone, and where a path was rewritten.
const BROKEN: &str = "broken";
const REWRITTEN: &str = "rewritten";

fn flag_of(name: &str, value: &str) -> Result<(Token, TemplateText), String> {
    let name = Token::parse(name).map_err(|problem| problem.message)?;
    let value = TemplateText::parse(value).map_err(|problem| problem.message)?;
    Ok((name, value))
}

/// Whether a flag is set.
fn is_set(name: &str) -> Condition {
    value(ValueTest {
        is: vec!["1".to_owned()],
        ..test_of(&Fetch::Variable(name.to_owned()))
    })
}

/// Reads the directives of a block that belong to the module; others are left alone.
pub(super) fn read(
    block: &[Directive],
    when: &Condition,
    names: &Names,
    rules: &mut Rules,
    notes: &mut Notes,
) {
    for directive in block {
        let is_ours = matches!(
            directive.name.text.as_str(),
            "set" | "if" | "rewrite" | "return" | "break"
        );
        if !is_ours {
            continue;
        }
        notes.begin(directive.origin(), super::text_of(directive));
        let own = if rules.breaks {
            all_of(vec![not(is_set(BROKEN)), when.clone()])
        } else {
            when.clone()
        };
        let when = &own;
        if let Err(message) = one(directive, when, names, rules, notes) {
            notes.refused(message);
        }
        if rules.ends && *when == Condition::default() {
            return;
        }
    }
}

fn one(
    directive: &Directive,
    when: &Condition,
    names: &Names,
    rules: &mut Rules,
    notes: &mut Notes,
) -> Result<(), String> {
    let words: Vec<&str> = directive.texts().collect();
    let origin = directive.origin();
    match (directive.name.text.as_str(), words.as_slice()) {
        ("set", [name, value]) => {
            let name = Token::parse(name.trim_start_matches('$')).map_err(|p| p.message)?;
            let actions = Actions {
                set_variables: Pairs(vec![(name, values::template(value, names)?)]),
                ..Actions::default()
            };
            rules
                .rules
                .push(rule(when.clone(), actions, "set_variables", &origin));
        }
        ("break", []) => {
            let actions = Actions {
                set_variables: Pairs(vec![flag_of(BROKEN, "1")?]),
                ..Actions::default()
            };
            rules
                .rules
                .push(rule(when.clone(), actions, "set_variables", &origin));
            rules.breaks = true;
        }
        ("return", words) => {
            let (actions, key) = answer(words, names)?;
            rules.rules.push(rule(when.clone(), actions, key, &origin));
            rules.ends |= *when == Condition::default();
        }
        ("rewrite", [pattern, to, flags @ ..]) => {
            let flag = flags.first().copied().unwrap_or_default();
            rewrite((pattern, to, flag), when, names, &origin, rules)?;
        }
        ("if", words) => {
            let own = condition(words, names)?;
            let both = all_of(vec![when.clone(), own]);
            read(directive.inner(), &both, names, rules, notes);
            let other = directive.inner().iter().find(|inner| {
                !matches!(
                    inner.name.text.as_str(),
                    "set" | "if" | "rewrite" | "return" | "break"
                )
            });
            if let Some(other) = other {
                notes.begin(other.origin(), super::text_of(other));
                notes.refused("within \"if\" only set, rewrite, return and break are known here");
            }
        }
        (name, _) => return Err(format!("{name} with these words is not known here")),
    }
    Ok(())
}

/// What stands in the parentheses of `if`.
fn condition(words: &[&str], names: &Names) -> Result<Condition, String> {
    let joined = words.join(" ");
    let inner = joined
        .trim()
        .strip_prefix('(')
        .and_then(|rest| rest.trim_end().strip_suffix(')'))
        .ok_or_else(|| "a condition stands in parentheses".to_owned())?;
    let inner = inner.trim();
    if inner.starts_with("-f")
        || inner.starts_with("!-f")
        || inner.starts_with("-d")
        || inner.starts_with("!-d")
        || inner.starts_with("-e")
        || inner.starts_with("!-e")
    {
        return Err("whether files exist is not known here".to_owned());
    }
    let (left, rest) = inner.split_once(char::is_whitespace).unwrap_or((inner, ""));
    let template = values::read(left, names)?;
    let fetch = match template.pieces() {
        [clearway_rules::ast::Piece::Fetch(fetch)] => fetch.clone(),
        [] => Fetch::Literal(String::new()),
        _ => match template.constant() {
            Some(text) => Fetch::Literal(text.to_owned()),
            None => return Err("a condition looks at one variable".to_owned()),
        },
    };
    let test = test_of(&fetch);
    let rest = rest.trim();
    if rest.is_empty() {
        // Neither empty nor 0.
        let filled = ValueTest {
            least_bytes: Some(1),
            ..test.clone()
        };
        let zero = ValueTest {
            is: vec!["0".to_owned()],
            ..test
        };
        return Ok(all_of(vec![value(filled), not(value(zero))]));
    }
    let (operator, right) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let right = unquoted(right.trim());
    let regex = |ignore_case| {
        let regex = RegexText::parse(right).map_err(|problem| problem.message)?;
        Ok::<_, String>(value(ValueTest {
            regex: vec![regex],
            ignore_case,
            ..test.clone()
        }))
    };
    let equal = || match values::constant(right, names) {
        Some(text) if text.is_empty() => {
            // What is not there is empty.
            let there = ValueTest {
                least_bytes: Some(1),
                ..test.clone()
            };
            Ok(not(value(there)))
        }
        Some(text) => Ok(value(ValueTest {
            is: vec![text],
            ..test.clone()
        })),
        None => Err("what is compared with cannot depend on the request".to_owned()),
    };
    match operator {
        "=" => equal(),
        "!=" => equal().map(not),
        "~" => regex(false),
        "~*" => regex(true),
        "!~" => regex(false).map(not),
        "!~*" => regex(true).map(not),
        other => Err(format!("the operator {other:?} is not known")),
    }
}

fn unquoted(text: &str) -> &str {
    let inner = text
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    let inner = inner.or_else(|| {
        text.strip_prefix('\'')
            .and_then(|rest| rest.strip_suffix('\''))
    });
    inner.unwrap_or(text)
}

/// What `return` answers.
fn answer(words: &[&str], names: &Names) -> Result<(Actions, &'static str), String> {
    let (status, text) = match words {
        [only] => match only.parse::<u16>() {
            Ok(status) => (status, None),
            Err(_) => (302, Some(*only)),
        },
        [status, text] => {
            let status = status
                .parse()
                .map_err(|_| format!("{status:?} is no status"))?;
            (status, Some(*text))
        }
        _ => return Err("return has a status and perhaps a text".to_owned()),
    };
    let mut actions = Actions::default();
    if status == 444 {
        actions.drop = true;
        return Ok((actions, "drop"));
    }
    if matches!(status, 301 | 302 | 303 | 307 | 308) {
        let to = text.ok_or_else(|| "a redirection needs a place to go to".to_owned())?;
        actions.redirect = Some(Redirect {
            to: place(to, names)?,
            status,
            ..Redirect::default()
        });
        return Ok((actions, "redirect"));
    }
    let Some(text) = text else {
        if status >= 400 {
            actions.deny = Some(status);
            return Ok((actions, "deny"));
        }
        actions.reply = Some(Reply {
            status,
            ..Reply::default()
        });
        return Ok((actions, "reply"));
    };
    let kind = names.constants.get(DEFAULT_TYPE);
    let kind = kind.map_or("text/plain", String::as_str);
    let mut reply = Reply {
        status,
        content_type: HeaderValue::parse(kind).map_err(|problem| problem.message)?,
        ..Reply::default()
    };
    match values::constant(text, names) {
        Some(constant) => reply.body = constant,
        None => {
            let text = values::read(text, names)?.to_string();
            let text = BodyText::parse(&text).map_err(|problem| problem.message)?;
            reply.template = Some(text);
        }
    }
    actions.reply = Some(reply);
    Ok((actions, "reply"))
}

/// Where a redirection leads: a path alone is one of this host.
pub(super) fn place(text: &str, names: &Names) -> Result<TemplateText, String> {
    if text.starts_with('/') {
        let path = values::read(text, names)?.to_string();
        return TemplateText::parse(&format!("${{scheme}}://${{host}}${{port_suffix}}{path}"))
            .map_err(|problem| problem.message);
    }
    values::template(text, names)
}

/// `rewrite PATTERN TEXT [FLAG]`.
fn rewrite(
    (pattern, to, flag): (&str, &str, &str),
    when: &Condition,
    names: &Names,
    origin: &Origin,
    rules: &mut Rules,
) -> Result<(), String> {
    RegexText::parse(pattern).map_err(|problem| match problem.hint {
        Some(hint) => format!("{}: {hint}", problem.message),
        None => problem.message,
    })?;
    let matches = value(ValueTest {
        regex: vec![RegexText::parse(pattern).map_err(|problem| problem.message)?],
        ..test_of(&Fetch::Path)
    });
    let both = all_of(vec![when.clone(), matches]);
    let (to, keeps_query) = match to.strip_suffix('?') {
        Some(to) => (to, false),
        None => (to, true),
    };
    let is_absolute = ["http://", "https://", "$scheme"]
        .iter()
        .any(|begin| to.starts_with(begin));
    if is_absolute || matches!(flag, "redirect" | "permanent") {
        let text = if keeps_query && !to.contains('?') {
            format!("{to}$is_args$args")
        } else {
            to.to_owned()
        };
        let actions = Actions {
            redirect: Some(Redirect {
                to: place(&text, names)?,
                status: if flag == "permanent" { 301 } else { 302 },
                ..Redirect::default()
            }),
            ..Actions::default()
        };
        rules.rules.push(rule(both, actions, "redirect", origin));
        return Ok(());
    }
    let whole = format!("(?s)^.*?(?:{pattern}).*$");
    let mut actions = Actions {
        rewrite: Some(Rewrite {
            regex: Some(RegexText::parse(&whole).map_err(|problem| problem.message)?),
            to: values::template(to, names)?,
            ..Rewrite::default()
        }),
        ..Actions::default()
    };
    if !keeps_query {
        actions.set_query = Some(TemplateText::default());
    }
    match flag {
        "last" => actions.reroute = true,
        "break" => {
            actions.set_variables = Pairs(vec![flag_of(BROKEN, "1")?]);
            rules.breaks = true;
        }
        _ => {
            actions.set_variables = Pairs(vec![flag_of(REWRITTEN, "1")?]);
            rules.reroutes = true;
        }
    }
    rules.rules.push(rule(both, actions, "rewrite", origin));
    Ok(())
}

/// The rule that routes again what was rewritten without a flag.
pub(super) fn reroute(origin: &Origin) -> Option<Rule> {
    let actions = Actions {
        set_variables: Pairs(vec![flag_of(REWRITTEN, "").ok()?]),
        reroute: true,
        ..Actions::default()
    };
    Some(rule(is_set(REWRITTEN), actions, "reroute", origin))
}

/// A header of the model.
pub(super) fn header(name: &str) -> Result<HeaderName, String> {
    HeaderName::parse(name).map_err(|problem| problem.message)
}
