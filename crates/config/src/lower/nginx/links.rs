//! `secure_link` and `secure_link_md5`: links that expire, proven by a sum.

use clearway_rules::ast::{Convert, Fetch};

use super::text_of;
use super::values::{self, Names};
use crate::lower::build::{all_of, not, rule, test_of, value};
use crate::lower::notes::Notes;
use crate::model::{Actions, Condition, Pairs, Rule, TemplateText, Token, ValueTest};
use crate::survey::nginx::scope::Scope;
use crate::value::Text;

/// Variables that every place has which says what a link is.
pub(super) const VARIABLES: [&str; 2] = ["secure_link", "secure_link_expires"];

/// The rules that find out whether a link holds, before anything looks at it.
pub(super) fn rules(scope: &Scope<'_>, names: &Names, notes: &mut Notes) -> Vec<Rule> {
    let (Some(link), Some(sum)) = (scope.find("secure_link"), scope.find("secure_link_md5")) else {
        return Vec::new();
    };
    notes.begin(link.origin(), text_of(link));
    match made(link.argument(0), sum.argument(0), names) {
        Ok(made) => {
            let origin = link.origin();
            let rules = made.into_iter();
            rules
                .map(|(when, pairs)| {
                    let actions = Actions {
                        set_variables: Pairs(pairs),
                        ..Actions::default()
                    };
                    rule(when, actions, "set_variables", &origin)
                })
                .collect()
        }
        Err(message) => {
            notes.refused(message);
            Vec::new()
        }
    }
}

type Pair = (Token, TemplateText);

fn pair(name: &str, text: &str) -> Result<Pair, String> {
    let name = Token::parse(name).map_err(|problem| problem.message)?;
    let text = TemplateText::parse(text).map_err(|problem| problem.message)?;
    Ok((name, text))
}

fn made(
    link: Option<&str>,
    sum: Option<&str>,
    names: &Names,
) -> Result<Vec<(Condition, Vec<Pair>)>, String> {
    let (given, expires) = match link.unwrap_or_default().split_once(',') {
        Some((given, expires)) => (given, Some(expires)),
        None => (link.unwrap_or_default(), None),
    };
    let text = |text: &str| Ok::<_, String>(values::plain(text, names)?.to_string());
    let mut first = Vec::new();
    for name in [
        "secure_link",
        "secure_link_expires",
        "link-given",
        "link-sum",
    ] {
        first.push(pair(name, "")?);
    }
    first.push(pair("link-given", &text(given)?)?);
    if let Some(expires) = expires {
        first.push(pair("secure_link_expires", &text(expires)?)?);
    }
    let mut out = vec![(Condition::default(), first)];
    // The sum may be about when it ends.
    let sum = text(sum.unwrap_or_default())?;
    out.push((Condition::default(), vec![pair("link-sum", &sum)?]));
    let var = |name: &str| Fetch::Variable(name.to_owned());
    let proven = var("link-sum").through(vec![
        Convert::with("digest", &["md5"]),
        Convert::new("ub64enc"),
        Convert::with("is", &["var:link-given"]),
    ]);
    let is_one = |fetch: &Fetch| {
        value(ValueTest {
            is: vec!["1".to_owned()],
            ..test_of(fetch)
        })
    };
    let holds = is_one(&proven);
    out.push((holds.clone(), vec![pair("secure_link", "1")?]));
    if expires.is_some() {
        // What is left of its time, below 0 when that is over.
        let left =
            var("secure_link_expires").through(vec![Convert::with("sub", &["var:link-now"])]);
        let over = value(ValueTest {
            begins: vec!["-".to_owned()],
            ..test_of(&left)
        });
        let number = value(ValueTest {
            min: Some(1),
            ..test_of(&var("secure_link_expires"))
        });
        out.insert(
            2,
            (
                Condition::default(),
                vec![pair("link-now", "${unix_time}")?],
            ),
        );
        out.push((all_of(vec![holds, over]), vec![pair("secure_link", "0")?]));
        out.push((not(number), vec![pair("secure_link", "")?]));
    }
    Ok(out)
}
