//! The rewrite module: `set`, `if`, `rewrite`, `return`, `break`; each becomes a rule.

use clearway_rules::ast::{Convert, Fetch, Piece, Template};

use super::super::notes::Notes;
use super::values::{self, Names};
use crate::diagnostic::Origin;
use crate::lower::build::{all_of, not, rule, test_of, value};
use crate::model::{
    Actions, BodyText, Condition, HeaderName, HeaderValue, Pairs, Redirect, RegexText, Reply,
    Rewrite, Rule, TemplateText, Token, ValueTest,
};
use crate::survey::units;
use crate::syntax::nginx::Directive;
use crate::value::{Text, print_inline};

/// What `default_type` says, as a constant that no variable can name.
pub(super) const DEFAULT_TYPE: &str = "default type";

/// Rules in the order in which they are looked at, and whether the last one always ends them.
#[derive(Debug, Default)]
pub(super) struct Rules<'a> {
    pub(super) rules: Vec<Rule>,
    /// A `return` without a condition: nothing behind it is reached.
    pub(super) ends: bool,
    /// A rewriting without a flag may have changed the path.
    pub(super) reroutes: bool,
    /// A `break` may have ended the block.
    pub(super) breaks: bool,
    /// Blocks of `if` with directives of other modules: places of their own.
    pub(super) places: Vec<Inner<'a>>,
}

/// The block of an `if` that has directives of other modules: requests that its condition holds for get there.
#[derive(Debug)]
pub(super) struct Inner<'a> {
    /// What the variable `goto` is set to.
    pub(super) name: String,
    pub(super) directive: &'a Directive,
    /// What answers at once there.
    pub(super) answers: Vec<Rule>,
}

/// Set where the rest of a block's directives are to be left alone, and where a path was rewritten.
const BROKEN: &str = "broken";
const REWRITTEN: &str = "rewritten";
/// How many bytes of a response go to the client in a second.
const RATE: &str = "response_rate";
/// What a condition looks at that is no single value.
const PROBE: &str = "probe";
/// What it is compared with where that depends on the request.
const OTHER: &str = "probe-other";
/// Where a request goes that a route is looked for again with.
const GOTO: &str = "goto";
/// The place of an `if` whose condition held last.
const PLACE: &str = "if-place";

impl Rules<'_> {
    /// Whether they answer every request by themselves.
    pub(super) fn answers(&self) -> bool {
        let moves = self.rules.iter().any(|rule| rule.actions.reroute);
        self.ends && !self.reroutes && !moves && self.places.is_empty()
    }
}

/// What answers some requests, and the place where it does.
pub(super) struct Answered {
    /// What the variable `goto` is set to.
    pub(super) name: String,
    pub(super) rule: Rule,
}

/// Has rules lead to places instead of answering, so that answers get the pages, headers and logs that a server has
/// for them. What a pattern has captured is known to its own rule alone: answers with that stay where they are.
pub(super) fn to_answers(rules: &mut [Rule]) -> Vec<Answered> {
    let mut places = Vec::new();
    for (index, rule) in rules.iter_mut().enumerate() {
        let actions = &rule.actions;
        let answers =
            actions.redirect.is_some() || actions.reply.is_some() || actions.deny.is_some();
        let mut text = String::new();
        print_inline(actions, &mut text);
        if !answers || (1..=9).any(|group| text.contains(&format!("${{{group}"))) {
            continue;
        }
        let name = format!("@answer-{index}");
        let Ok(flag) = flag_of(GOTO, &name) else {
            continue;
        };
        let to = Actions {
            set_variables: Pairs(vec![flag]),
            finish: true,
            ..Actions::default()
        };
        let actions = std::mem::replace(&mut rule.actions, to);
        let mut answer = rule.clone();
        (answer.when, answer.actions) = (Condition::default(), actions);
        places.push(Answered { name, rule: answer });
    }
    places
}

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

/// Whether a directive belongs to the module.
fn is_ours(directive: &Directive) -> bool {
    let ours = ["set", "if", "rewrite", "return", "break"];
    ours.contains(&directive.name.text.as_str())
}

impl Rules<'_> {
    fn set(&mut self, when: &Condition, pairs: Vec<(Token, TemplateText)>, origin: &Origin) {
        let actions = Actions {
            set_variables: Pairs(pairs),
            ..Actions::default()
        };
        self.rules
            .push(rule(when.clone(), actions, "set_variables", origin));
    }
}

/// Reads the directives of a block that belong to the module; others are left alone.
pub(super) fn read<'a>(
    block: &'a [Directive],
    names: &Names,
    rules: &mut Rules<'a>,
    notes: &mut Notes,
) {
    level(block, &Condition::default(), names, rules, notes);
    if rules.breaks
        && let Ok(flag) = flag_of(BROKEN, "")
    {
        // One of another block is none of this one.
        let actions = Actions {
            set_variables: Pairs(vec![flag]),
            ..Actions::default()
        };
        let origin = block.first().map(Directive::origin).unwrap_or_default();
        let reset = rule(Condition::default(), actions, "set_variables", &origin);
        rules.rules.insert(0, reset);
    }
}

fn level<'a>(
    block: &'a [Directive],
    when: &Condition,
    names: &Names,
    rules: &mut Rules<'a>,
    notes: &mut Notes,
) {
    for directive in block.iter().filter(|directive| is_ours(directive)) {
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

fn one<'a>(
    directive: &'a Directive,
    when: &Condition,
    names: &Names,
    rules: &mut Rules<'a>,
    notes: &mut Notes,
) -> Result<(), String> {
    let words: Vec<&str> = directive.texts().collect();
    let origin = directive.origin();
    match (directive.name.text.as_str(), words.as_slice()) {
        ("set", ["$limit_rate", value]) if !value.contains('$') => {
            let rate = units::size(value).ok_or_else(|| format!("{value:?} is no size"))?;
            rules.set(when, vec![flag_of(RATE, &rate.to_string())?], &origin);
        }
        ("set", [name, value]) => {
            let pairs = assigned(name.trim_start_matches('$'), value, names)?;
            rules.set(when, pairs, &origin);
        }
        ("break", []) => {
            rules.set(when, vec![flag_of(BROKEN, "1")?], &origin);
            rules.breaks = true;
        }
        ("return", words) => {
            let (actions, key) = answer(words, names)?;
            let ends = *when == Condition::default();
            let answer = rule(when.clone(), actions, key, &origin);
            if ends {
                // It is the answer of the last `if` that held, with what that one says of answers.
                to_places(rules, &origin);
                let open = rules
                    .places
                    .iter_mut()
                    .filter(|place| place.answers.is_empty());
                open.for_each(|place| place.answers.push(answer.clone()));
            }
            rules.rules.push(answer);
            rules.ends |= ends;
        }
        ("rewrite", [pattern, to, flags @ ..]) => {
            let flag = flags.first().copied().unwrap_or_default();
            rewrite((pattern, to, flag), when, names, &origin, rules)?;
        }
        ("if", words) => block(directive, words, when, names, rules, notes)?,
        (name, _) => return Err(format!("{name} with these words is not known here")),
    }
    Ok(())
}

/// What a variable is set to. What is not there is empty, not what it was before.
fn assigned(name: &str, text: &str, names: &Names) -> Result<Vec<(Token, TemplateText)>, String> {
    let token = Token::parse(name).map_err(|problem| problem.message)?;
    let template = values::read_plain(text, names)?;
    let mut pieces = template.pieces().to_vec();
    if let [Piece::Fetch(fetch)] = template.pieces()
        && *fetch != Fetch::Variable(name.to_owned())
    {
        // With nothing behind it, it is empty where there is no value.
        pieces.push(Piece::Fetch(Fetch::Literal(String::new())));
    }
    Ok(vec![(token, values::to_text(&Template::new(pieces))?)])
}

/// `if`.
fn block<'a>(
    directive: &'a Directive,
    words: &[&str],
    when: &Condition,
    names: &Names,
    rules: &mut Rules<'a>,
    notes: &mut Notes,
) -> Result<(), String> {
    let origin = directive.origin();
    let asked = condition(words, names)?;
    if !asked.before.is_empty() {
        rules.set(when, asked.before, &origin);
    }
    let mut own = all_of(vec![when.clone(), asked.holds]);
    let mut inner_names = names.clone();
    if let Some(pattern) = &asked.pattern {
        inner_names.learn_groups(pattern);
    }
    let ours = directive.inner().iter().filter(|inner| is_ours(inner));
    let is_place = directive
        .inner()
        .iter()
        .any(|inner| !is_ours(inner) && !inner.is("include"));
    if ours.clone().count() + usize::from(is_place) > 1 || !inner_names.groups.is_empty() {
        // What the first directive changes does not decide about the others.
        let flag = format!("if-{}-{}", origin.line, origin.column);
        rules.set(&Condition::default(), vec![flag_of(&flag, "")?], &origin);
        let mut pairs = vec![flag_of(&flag, "1")?];
        for (name, group) in &inner_names.groups {
            if !names.groups.contains_key(name) {
                pairs.push(flag_of(name, &format!("${group}"))?);
            }
        }
        rules.set(&own, pairs, &origin);
        own = is_set(&flag);
    }
    if !is_place {
        level(directive.inner(), &own, names, rules, notes);
        if rules.places.iter().any(|place| place.answers.is_empty()) {
            // It is the last that held, and its place is the location's own.
            rules.set(&own, vec![flag_of(PLACE, "")?], &origin);
        }
        return Ok(());
    }
    let name = format!("@if-{}-{}", origin.line, origin.column);
    let mut place = Inner {
        name: name.clone(),
        directive,
        answers: Vec::new(),
    };
    let ends = ours.clone().find(|inner| inner.is("return"));
    let before = directive
        .inner()
        .iter()
        .take_while(|inner| !inner.is("return"));
    let before = before.count();
    let first = directive.inner().get(..before).unwrap_or_default();
    level(first, &own, names, rules, notes);
    match ends {
        Some(ends) => {
            notes.begin(ends.origin(), super::text_of(ends));
            let words: Vec<&str> = ends.texts().collect();
            let (actions, key) = answer(&words, names)?;
            let answer = rule(Condition::default(), actions, key, &ends.origin());
            place.answers.push(answer);
            let actions = Actions {
                set_variables: Pairs(vec![flag_of(GOTO, &name)?]),
                reroute: true,
                ..Actions::default()
            };
            rules.rules.push(rule(own, actions, "reroute", &origin));
        }
        None => rules.set(&own, vec![flag_of(PLACE, &name)?], &origin),
    }
    rules.places.push(place);
    Ok(())
}

/// The rules that lead to the place of the last `if` whose condition held, behind all others.
pub(super) fn to_places(rules: &mut Rules<'_>, origin: &Origin) {
    let names: Vec<String> = rules
        .places
        .iter()
        .filter(|place| place.answers.is_empty())
        .map(|place| place.name.clone())
        .collect();
    if names.is_empty() {
        return;
    }
    let (Ok(unset), Ok(goto)) = (
        flag_of(PLACE, ""),
        flag_of(GOTO, &format!("${{var:{PLACE}}}")),
    ) else {
        return;
    };
    let is_there = value(ValueTest {
        is: names,
        ..test_of(&Fetch::Variable(PLACE.to_owned()))
    });
    let actions = Actions {
        set_variables: Pairs(vec![goto, unset]),
        reroute: true,
        ..Actions::default()
    };
    rules.rules.push(rule(is_there, actions, "reroute", origin));
}

/// What an `if` asks.
#[derive(Default)]
struct Asked {
    /// Variables that are set before it is asked.
    before: Vec<(Token, TemplateText)>,
    holds: Condition,
    /// A pattern that captures groups when it holds.
    pattern: Option<String>,
}

/// What stands in the parentheses of `if`.
fn condition(words: &[&str], names: &Names) -> Result<Asked, String> {
    let joined = words.join(" ");
    let inner = joined
        .trim()
        .strip_prefix('(')
        .and_then(|rest| rest.trim_end().strip_suffix(')'))
        .ok_or_else(|| "a condition stands in parentheses".to_owned())?;
    let inner = inner.trim();
    let mut asked = Asked::default();
    if let Some(done) = on_disk(inner, names) {
        let (before, holds) = done?;
        asked.before = before;
        asked.holds = holds;
        return Ok(asked);
    }
    if !inner.starts_with('$') {
        return Err(format!(
            "{inner:?} is no condition: it looks at no variable"
        ));
    }
    let (left, rest) = inner.split_once(char::is_whitespace).unwrap_or((inner, ""));
    let template = values::read_plain(left, names)?;
    let fetch = match template.pieces() {
        [Piece::Fetch(fetch)] => fetch.clone(),
        [] => Fetch::Literal(String::new()),
        _ => match template.constant() {
            Some(text) => Fetch::Literal(text.to_owned()),
            None => {
                asked.before.extend(assigned(PROBE, left, names)?);
                Fetch::Variable(PROBE.to_owned())
            }
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
        asked.holds = all_of(vec![value(filled), not(value(zero))]);
        return Ok(asked);
    }
    let (operator, right) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let right = unquoted(right.trim());
    let is_regex = matches!(operator, "~" | "~*" | "!~" | "!~*");
    let holds = if is_regex {
        let regex =
            RegexText::parse(right).map_err(|problem| problem.hint.unwrap_or(problem.message))?;
        if !operator.starts_with('!') {
            asked.pattern = Some(right.to_owned());
        }
        value(ValueTest {
            regex: vec![regex],
            ignore_case: operator.ends_with('*'),
            ..test
        })
    } else if matches!(operator, "=" | "!=") {
        let (before, holds) = equal(&fetch, right, names)?;
        asked.before.extend(before);
        holds
    } else {
        return Err(format!("the operator {operator:?} is not known"));
    };
    asked.holds = if operator.starts_with('!') {
        not(holds)
    } else {
        holds
    };
    Ok(asked)
}

/// Variables to be set before, and the condition.
type Test = (Vec<(Token, TemplateText)>, Condition);

/// Whether a value is a text.
fn equal(fetch: &Fetch, right: &str, names: &Names) -> Result<Test, String> {
    let test = test_of(fetch);
    Ok(match values::constant(right, names) {
        Some(text) if text.is_empty() => {
            // What is not there is empty.
            let there = ValueTest {
                least_bytes: Some(1),
                ..test
            };
            (Vec::new(), not(value(there)))
        }
        Some(text) => {
            let is = ValueTest {
                is: vec![text],
                ..test
            };
            (Vec::new(), value(is))
        }
        None => {
            let compared = Convert::with("is", &[&format!("var:{OTHER}")]);
            let same = ValueTest {
                is: vec!["1".to_owned()],
                ..test_of(&fetch.clone().through(vec![compared]))
            };
            (assigned(OTHER, right, names)?, value(same))
        }
    })
}

/// `-f`, `-d`, `-e`, `-x`, each perhaps with `!`: what lies on the disk.
fn on_disk(inner: &str, names: &Names) -> Option<Result<Test, String>> {
    let (sign, path) = inner.split_once(char::is_whitespace)?;
    let test = |converter, is: &[&str]| {
        let fetch = Fetch::Variable(PROBE.to_owned()).through(vec![converter]);
        value(ValueTest {
            is: is.iter().map(|text| (*text).to_owned()).collect(),
            ..test_of(&fetch)
        })
    };
    let there = || Convert::new("on_disk");
    let holds = match sign.trim_start_matches('!') {
        "-f" => test(there(), &["file"]),
        "-d" => test(there(), &["folder"]),
        "-e" => test(there(), &[]),
        "-x" => test(Convert::with("on_disk", &["executable"]), &["1"]),
        _ => return None,
    };
    let holds = if sign.starts_with('!') {
        not(holds)
    } else {
        holds
    };
    let before = assigned(PROBE, unquoted(path.trim()), names);
    Some(before.map(|before| (before, holds)))
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
    if status > 999 {
        return Err(format!("{status} is no status"));
    }
    let mut actions = Actions::default();
    // Who is too slow hears nothing, either.
    if status == 444 || status == 408 && text.is_none() {
        actions.drop = true;
        return Ok((actions, "drop"));
    }
    if matches!(status, 301 | 302 | 303 | 307 | 308) {
        let to = text.ok_or_else(|| "a redirection needs a place to go to".to_owned())?;
        actions.redirect = Some(redirect(to, status, names)?);
        return Ok((actions, "redirect"));
    }
    let kind = names.constants.get(DEFAULT_TYPE);
    let kind = kind.map_or("text/plain", String::as_str);
    let Some(text) = text else {
        if status >= 400 {
            actions.deny = Some(status);
            return Ok((actions, "deny"));
        }
        actions.reply = Some(Reply {
            status,
            headers: typed(kind, status),
            ..Reply::default()
        });
        return Ok((actions, "reply"));
    };
    let mut reply = Reply {
        status,
        content_type: HeaderValue::parse(kind).map_err(|problem| problem.message)?,
        ..Reply::default()
    };
    match values::constant(text, names) {
        Some(constant) => {
            if constant.is_empty() {
                reply.headers = typed(kind, status);
            }
            reply.body = constant;
        }
        None => {
            let text = values::read_plain(text, names)?;
            // The status that is sent in place of an error counts before this one.
            let known = |piece: &Piece| match piece {
                Piece::Fetch(Fetch::Status) => {
                    Piece::Fetch(Fetch::Variable(format!("sent_status,{status}")))
                }
                other @ (Piece::Text(_) | Piece::Fetch(_)) => other.clone(),
            };
            let pieces: Vec<Piece> = text.pieces().iter().map(known).collect();
            let text = Template::new(pieces).to_string();
            let text = BodyText::parse(&text).map_err(|problem| problem.message)?;
            reply.template = Some(text);
        }
    }
    actions.reply = Some(reply);
    Ok((actions, "reply"))
}

/// The media type of an answer without a text.
fn typed(kind: &str, status: u16) -> Pairs<HeaderName, TemplateText> {
    let name = HeaderName::parse("Content-Type").ok();
    let pair = name.zip(TemplateText::parse(&kind.replace('$', "$$")).ok());
    Pairs(
        pair.into_iter()
            .filter(|_| !matches!(status, 204 | 304))
            .collect(),
    )
}

/// A redirection: a path alone is one of this host.
pub(super) fn redirect(text: &str, status: u16, names: &Names) -> Result<Redirect, String> {
    let base = names.redirect_base.as_deref().unwrap_or(BASE);
    let mut redirect = Redirect {
        status,
        ..Redirect::default()
    };
    let text = values::read(text, names)?.to_string();
    if text.starts_with('/') {
        redirect.to = parsed(&format!("{base}{text}"))?;
        return Ok(redirect);
    }
    // What a variable says may be a path, too.
    let may_be_path = text.starts_with("${") && !text.starts_with("${scheme}://");
    if may_be_path && !base.is_empty() {
        redirect.base = Some(parsed(base)?);
    }
    redirect.to = parsed(&text)?;
    Ok(redirect)
}

/// What goes before paths that clients are sent to.
pub(super) const BASE: &str = "${scheme}://${host_or_address}${port_suffix}";

fn parsed(text: &str) -> Result<TemplateText, String> {
    TemplateText::parse(text).map_err(|problem| problem.message)
}

/// `rewrite PATTERN TEXT [FLAG]`.
fn rewrite(
    (pattern, to, flag): (&str, &str, &str),
    when: &Condition,
    names: &Names,
    origin: &Origin,
    rules: &mut Rules<'_>,
) -> Result<(), String> {
    let mut names = names.clone();
    names.learn_groups(pattern);
    let names = &names;
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
        let status = if flag == "permanent" { 301 } else { 302 };
        let mut send = |when: Condition, text: &str| -> Result<(), String> {
            let actions = Actions {
                redirect: Some(redirect(text, status, names)?),
                ..Actions::default()
            };
            rules.rules.push(rule(when, actions, "redirect", origin));
            Ok(())
        };
        if keeps_query && to.contains('?') {
            // What the request asks for goes behind what the target asks for.
            let asks = value(ValueTest {
                least_bytes: Some(1),
                ..test_of(&Fetch::Query)
            });
            send(all_of(vec![both.clone(), asks]), &format!("{to}&$args"))?;
            return send(both, to);
        }
        let query = if keeps_query { "$is_args$args" } else { "" };
        return send(both, &format!("{to}{query}"));
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
        "last" => {
            actions.set_variables = Pairs(vec![flag_of(GOTO, "")?]);
            actions.reroute = true;
        }
        "break" => {
            actions.set_variables = Pairs(vec![flag_of(BROKEN, "1")?, flag_of(FINAL, "1")?]);
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
        set_variables: Pairs(vec![flag_of(REWRITTEN, "").ok()?, flag_of(GOTO, "").ok()?]),
        reroute: true,
        ..Actions::default()
    };
    Some(rule(is_set(REWRITTEN), actions, "reroute", origin))
}

/// Set where a path was rewritten for the place that the request is at.
const FINAL: &str = "rewritten-here";

/// Whether a path was rewritten for the place that the request is at: it is passed on as it is then.
pub(super) fn is_rewritten() -> Condition {
    is_set(FINAL)
}

/// A header of the model.
pub(super) fn header(name: &str) -> Result<HeaderName, String> {
    HeaderName::parse(name).map_err(|problem| problem.message)
}
