//! Parts of the model that the languages of other balancers put together in the same way.

use clearway_rules::ast::Fetch;

use crate::diagnostic::{Origin, Origins};
use crate::model::{Actions, Backend, Condition, FetchText, Rule, Server, ValueTest};
use crate::value::Text;

/// A rule with one action.
pub(super) fn rule(
    condition: Condition,
    mut actions: Actions,
    key: &'static str,
    origin: &Origin,
) -> Rule {
    actions.origins = Origins::new(origin.clone());
    actions.origins.set(key, origin.clone());
    let mut origins = Origins::new(origin.clone());
    origins.set("when", origin.clone());
    Rule {
        when: condition,
        actions,
        origins,
    }
}

/// A condition that holds when all of these do.
pub(super) fn all_of(all: Vec<Condition>) -> Condition {
    let mut all: Vec<Condition> = all
        .into_iter()
        .filter(|condition| *condition != Condition::default())
        .collect();
    match all.len() {
        0 => Condition::default(),
        1 => all.pop().unwrap_or_default(),
        _ => Condition {
            all,
            ..Condition::default()
        },
    }
}

/// A condition that holds when one of these does.
pub(super) fn one_of(mut any: Vec<Condition>) -> Condition {
    match any.len() {
        0 => never(),
        1 => any.pop().unwrap_or_default(),
        _ => Condition {
            any,
            ..Condition::default()
        },
    }
}

/// The opposite of a condition.
pub(super) fn not(condition: Condition) -> Condition {
    Condition {
        not: vec![condition],
        ..Condition::default()
    }
}

/// What never holds.
pub(super) fn never() -> Condition {
    not(Condition::default())
}

/// A condition of one test.
pub(super) fn value(test: ValueTest) -> Condition {
    Condition {
        value: vec![test],
        ..Condition::default()
    }
}

/// A test of a value.
pub(super) fn test_of(fetch: &Fetch) -> ValueTest {
    ValueTest {
        of: FetchText::parse(&fetch.to_string()).unwrap_or_default(),
        ..ValueTest::default()
    }
}

/// A value as it stands in a condition.
pub(super) fn fetch_text(fetch: &Fetch) -> Result<FetchText, String> {
    FetchText::parse(&fetch.to_string()).map_err(|problem| problem.message)
}

/// A text as a regular expression that matches nothing else.
pub(super) fn regex_escape(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if !(c.is_alphanumeric() || "_/ ".contains(c)) && c.is_ascii() {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// Puts a server into a backend; one whose address is there already adds its weight to it.
///
/// True where it did that.
pub(super) fn add_server(server: Server, backend: &mut Backend) -> bool {
    let known = backend
        .servers
        .iter_mut()
        .find(|known| known.address == server.address && known.name == server.name);
    match known {
        Some(known) => {
            known.weight = known.weight.saturating_add(server.weight).min(1_000);
            true
        }
        None => {
            backend.servers.push(server);
            false
        }
    }
}
