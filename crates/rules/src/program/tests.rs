//! What programs do with requests and responses.

mod captures;
mod compile;
mod edit;
mod fetch;
mod reply;
mod waits;

use clearway_http::Edits;
use clearway_outcome::{Address, FaultKind};

use super::*;
use crate::LocalReply;
use crate::ast::{Action, Condition, Fetch, Map, MapKey, Template, Test};
use crate::testing::{Asked, ask, get};

fn template(text: &str) -> Template {
    Template::parse(text).unwrap()
}

fn set(name: &str, value: &str) -> Action {
    Action::SetRequestHeader {
        name: name.to_owned(),
        value: template(value),
    }
}

fn always(actions: Vec<Action>) -> Rule {
    Rule {
        condition: Condition::Always,
        actions,
    }
}

fn when(fetch: &str, test: Test, actions: Vec<Action>) -> Rule {
    Rule {
        condition: Condition::test(Fetch::parse(fetch).unwrap(), test),
        actions,
    }
}

fn exact(text: &str) -> Test {
    Test::Exact(vec![text.to_owned()])
}

/// Runs rules over a request and says what a server sees.
fn forwarded(asked: &Asked, rules: &[Rule]) -> Result<String, LocalReply> {
    let program = Program::compile(rules).unwrap();
    let mut edits = Edits::default();
    match program.run_request(&asked.view(), &mut Scratch::default(), &mut edits) {
        Flow::Continue => Ok(asked.forwarded(&edits)),
        Flow::Reply(reply) => Err(reply),
        Flow::Page(_)
        | Flow::Files(_)
        | Flow::Drop
        | Flow::ReadBody(_)
        | Flow::Ask(_)
        | Flow::Reroute
        | Flow::Finish => {
            unreachable!()
        }
    }
}

fn target(asked: &Asked, rule: Rule) -> String {
    let text = forwarded(asked, &[rule]).unwrap();
    text.split(' ').nth(1).unwrap().to_owned()
}

/// The value that a template has for a request, seen through a header.
fn value(asked: &Asked, text: &str) -> String {
    let text = forwarded(asked, &[always(vec![set("x-out", text)])]).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("x-out: "));
    line.unwrap_or_default().to_owned()
}

fn reply(asked: &Asked, action: Action) -> LocalReply {
    forwarded(asked, &[always(vec![action])]).unwrap_err()
}

fn redirect(location: &str) -> Action {
    Action::Redirect {
        base: None,
        status: 302,
        location: template(location),
        headers: Vec::new(),
    }
}
