//! `tcp-request` and `tcp-response`: rules about connections, done with requests and responses where HTTP is
//! spoken.

use super::super::notes::Notes;
use super::lines::trouble_with;
use super::proxy::{At, Proxy};
use super::rules::{self, Lowered, Phase};
use super::{acl, pass, tables};
use crate::lower::build;
use crate::model::{Actions, Condition, Rule};
use crate::survey::units;
use crate::syntax::haproxy::Line;

/// `tcp-request …`.
pub(super) fn request(line: &Line, rest: &[&str], proxy: &mut Proxy, notes: &mut Notes) {
    let mut acls = std::borrow::Cow::Borrowed(&proxy.acls);
    if !proxy.is_http() && !acls.contains_key("HTTP") {
        let http = acl::criterion_among(&["payload_http"], &proxy.acls);
        acls.to_mut()
            .insert("HTTP".to_owned(), http.into_iter().collect());
    }
    let (words, condition) = match acl::of_line(rest, &acls) {
        Ok(found) => found,
        Err(message) => return notes.refused(message),
    };
    let (stage, action) = match words {
        ["inspect-delay", time, ..] => match units::haproxy_time(time) {
            Some(time) => {
                proxy.inspect_delay = Some(At::new(time, line));
                if proxy.is_http() {
                    notes.equivalent("what is needed is waited for as the time-outs allow");
                }
                return;
            }
            None => return notes.wrong(&line.origin(), format!("{time:?} is no time"), ""),
        },
        ["connection", "expect-proxy", "layer4"] => {
            return pass::expect_proxy(&condition, proxy, notes);
        }
        [stage @ ("connection" | "session" | "content"), action, ..] => (*stage, *action),
        _ => return notes.refused("such a rule is not known here"),
    };
    if !proxy.is_http() {
        return pass::rule(line, words, condition, proxy, notes);
    }
    let of_connection = stage != "content";
    let rule = if tables::is_action(action) {
        let action = words.get(1..).unwrap_or_default();
        match tables::rule(
            line,
            Phase::Request,
            action,
            condition,
            (proxy, of_connection),
        ) {
            Ok(rule) => rule,
            Err(message) => return notes.refused(message),
        }
    } else if is_accept(action) {
        return accept(stage, condition, proxy, notes);
    } else if matches!(action, "reject" | "silent-drop") {
        notes.equivalent("done when the first request has come");
        let actions = Actions {
            drop: true,
            ..Actions::default()
        };
        build::rule(condition, actions, "drop", &line.origin())
    } else {
        match other(line, Phase::Request, rest, proxy, notes) {
            Some(rule) => rule,
            None => return,
        }
    };
    let rule = match of_connection {
        true => tables::once(rule),
        false => rule,
    };
    let rule = unless_accepted(stage, rule, proxy, notes);
    proxy.connection.extend(rule);
}

/// `tcp-response …`: before the rules about responses.
pub(super) fn response(line: &Line, rest: &[&str], proxy: &mut Proxy, notes: &mut Notes) {
    const STAGE: &str = "response";
    let (words, condition) = match acl::of_line(rest, &proxy.acls) {
        Ok(found) => found,
        Err(message) => return notes.refused(message),
    };
    let action = match words {
        ["inspect-delay", ..] => {
            return notes.equivalent("what is needed is waited for as the time-outs allow");
        }
        ["content", action, ..] => *action,
        _ => return notes.refused("such a rule is not known here"),
    };
    if !proxy.is_http() && !is_accept(action) {
        return notes.refused("what servers send is not looked at in mode tcp");
    }
    let rule = if is_accept(action) {
        return accept(STAGE, condition, proxy, notes);
    } else if matches!(action, "reject" | "close" | "silent-drop") {
        let actions = Actions {
            drop: true,
            with_response: true,
            ..Actions::default()
        };
        build::rule(condition, actions, "drop", &line.origin())
    } else {
        match other(line, Phase::Response, rest, proxy, notes) {
            Some(rule) => rule,
            None => return,
        }
    };
    let rule = unless_accepted(STAGE, rule, proxy, notes);
    proxy.of_servers.extend(rule);
}

fn is_accept(action: &str) -> bool {
    action == "accept"
}

/// What `accept` lets in no later rule of its kind looks at.
fn accept(stage: &str, condition: Condition, proxy: &mut Proxy, notes: &mut Notes) {
    if condition == Condition::default() {
        notes.equivalent("connections are accepted unless something above is against it");
    }
    let accepted = proxy.accepted.entry(stage.to_owned()).or_default();
    accepted.push(condition);
}

/// A rule for what those above it have not let in; none where they have let in all.
fn unless_accepted(stage: &str, mut rule: Rule, proxy: &Proxy, notes: &mut Notes) -> Option<Rule> {
    let accepted = proxy.accepted.get(stage).map_or(&[][..], Vec::as_slice);
    if accepted.contains(&Condition::default()) {
        notes.harmless("all is accepted above");
        return None;
    }
    if !accepted.is_empty() {
        let mut all: Vec<Condition> = accepted.iter().cloned().map(build::not).collect();
        all.push(rule.when);
        rule.when = build::all_of(all);
    }
    Some(rule)
}

/// An action that rules about requests and responses have too.
fn other(
    line: &Line,
    phase: Phase,
    rest: &[&str],
    proxy: &Proxy,
    notes: &mut Notes,
) -> Option<Rule> {
    let words = rest.get(1..).unwrap_or_default();
    let name = words.first().copied().unwrap_or_default();
    let is_known = ["set-var", "unset-var"]
        .iter()
        .any(|known| name.starts_with(known))
        || [
            "set-src",
            "set-dst",
            "set-src-port",
            "set-dst-port",
            "set-mark",
            "set-tos",
            "set-nice",
        ]
        .contains(&name);
    if !is_known {
        notes.refused(format!("the action {name:?} is not known here"));
        return None;
    }
    match rules::lower(phase, words, (&proxy.acls, &proxy.groups), &line.origin()) {
        Ok(Lowered::Rule(rule)) => Some(*rule),
        Ok(Lowered::Nothing(why)) => {
            notes.harmless(why);
            None
        }
        Err(trouble) => {
            trouble_with(line, trouble, notes);
            None
        }
    }
}
