//! The judge of errors that the server itself sent.

use clearway_outcome::{FaultKind as Kind, Remark, Speaker};

use super::super::config;
use super::{by_hand, like_ours};
use crate::case::View;
use crate::evidence::Probe;
use crate::opinion::{Opinion, Site};

/// Whether every one of several servers sends errors and nothing else: a balancer whose checks all fail may
/// send requests to them all the same.
pub(in crate::judge) fn is_all_of_them(view: &View<'_>) -> bool {
    let backdrop = &view.case.backdrop;
    let successes = &view.case.successes;
    view.group.speaker == Speaker::Envoy
        && backdrop.servers >= 2
        && backdrop.failing >= backdrop.servers
        && successes.count + successes.before == 0
}

pub(super) fn upstream_generated_5xx(view: &View<'_>, it: &mut Opinion) {
    it.wants(Probe::Request(view.ask_again()));
    let group = view.group;
    let is_error = |text: &str| text.len() == 3 && text.starts_with('5');
    let made: u64 = group
        .server_statuses
        .iter()
        .filter(|(status, _)| is_error(status))
        .map(|(_, count)| count)
        .sum();
    let status = group.server_statuses.first().filter(|text| is_error(text));
    if group.remark == Some(Remark::ServerDown) {
        // A check got it, and no request of a client.
        return it.rule_out();
    }
    if made > 0 && made == group.count {
        let fact = view.symptom(format!(
            "the server itself sent the status {} in {made} of {} answers, each complete",
            status.unwrap_or("5xx"),
            group.count
        ));
        // Where the server is this balancer, it is known here what it failed with.
        let mut others = view.case.backdrop.others.iter();
        let is_loop = others.any(|(_, kind, _)| *kind == Kind::ProxyLoop);
        if config::is_own_front(view) || is_all_of_them(view) || is_loop {
            it.strong(fact);
        } else {
            it.proof(fact);
        }
    } else if made > 0 {
        it.strong(view.symptom(format!(
            "in {made} of {} cases the server itself sent the status",
            group.count
        )));
    } else if view.is(&[Kind::ProbeStatus]) {
        match &view.case.check {
            Some(check) if check.status >= 500 => it.hint(view.symptom(format!(
                "the check was answered with {}, which the server made",
                check.status
            ))),
            Some(_) | None => return it.rule_out(),
        }
    } else if is_open(view) {
        it.hint(view.seen());
        it.missing(
            "whether the server or the balancer made the status: add $upstream_header_time and \
             $upstream_bytes_received to log_format",
        );
    } else {
        return it.rule_out();
    }
    let who = weigh_reply(view, it);
    let status = status.unwrap_or("an error");
    it.say(match &who {
        Some(who) => format!(
            "{} itself answers with {status} (it calls itself {who}); the balancer only passes that on.",
            view.address()
        ),
        None => format!(
            "{} itself answers with {status}; the balancer only passes that on.",
            view.address()
        ),
    });
    it.fix(
        Site::Server,
        "Look into the log of the server that answers, by the time or the request's id; if it is a balancer \
         itself, ask there why",
        by_hand(view),
    );
}

/// NGINX writes its own 502 and 504 where servers' statuses stand, so without times nobody knows whose they
/// are.
fn is_open(view: &View<'_>) -> bool {
    let group = view.group;
    let is_gateway = |(status, _): (&str, u64)| matches!(status, "502" | "503" | "504");
    group.speaker == Speaker::Nginx
        && !view.is_sure()
        && group.received.count == 0
        && group.statuses.iter().any(is_gateway)
}

/// Who answers with an error now.
fn weigh_reply(view: &View<'_>, it: &mut Opinion) -> Option<String> {
    let again = view.ask_again();
    for (ask, reply) in like_ours(view).filter(|(_, reply)| reply.is_answered()) {
        let words = Probe::Request(ask.clone()).words();
        if reply.status >= 500 {
            let who = [reply.server.as_str(), reply.via.as_str()];
            let who = who.into_iter().find(|name| !name.is_empty());
            let told = who.map_or_else(String::new, |who| format!(", from \"{who}\""));
            it.strong(view.probed(format!("{words} is answered with {}{told}", reply.status)));
            return who.map(|who| format!("\"{who}\""));
        }
        if *ask == again {
            it.note(view.probed(format!("{words} is answered with {} now", reply.status)));
        }
    }
    None
}
