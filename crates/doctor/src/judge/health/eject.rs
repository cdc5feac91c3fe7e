//! Judges of servers that are left out for failed requests, and of such that are used although they are
//! down.

use clearway_outcome::{Remark, Speaker};

use super::{NONE_LEFT, checks, good_replies, known, path_of};
use crate::case::View;
use crate::evidence::{ChangeKind, Probe};
use crate::opinion::{Opinion, Site};
use crate::view::time;

pub(super) fn passive_ejection(view: &View<'_>, it: &mut Opinion) {
    let backend = view.backend();
    if backend.is_some_and(|backend| backend.ejection.is_none()) {
        return it.rule_out();
    }
    let is_remarked = view.group.remark == Some(Remark::ServerDisabled);
    if !is_remarked && !view.group.may_be(NONE_LEFT) {
        // What took it out is the cause, and that it is out is what comes of it.
        let is_out = view
            .case
            .check
            .as_ref()
            .is_some_and(|check| check.is_ejected);
        if !is_out {
            return it.rule_out();
        }
        it.hint(view.symptom("it is left out for these failures now, and others do its work"));
        return fix(view, it);
    }
    it.hint(view.seen());
    it.wants(Probe::Request(view.ask_again()));
    it.wants(Probe::Connect);
    let checks = checks(view);
    let ejected = checks.iter().filter(|(_, state)| state.is_ejected).count();
    let is_all = ejected > 0 && checks.iter().all(|(_, s)| s.is_ejected && !s.is_down);
    if ejected > 0 {
        it.fair(known(
            view,
            format!(
                "{ejected} of {} servers are left out because requests to them failed",
                checks.len()
            ),
        ));
    } else if view.group.speaker == Speaker::Nginx {
        it.fair(view.symptom(
            "NGINX leaves servers out for failed requests only, so that happened to each of them",
        ));
    } else if checks.iter().any(|(_, state)| state.is_down) {
        it.strongly_against(
            view.symptom("servers are down by their checks, not for failed requests"),
        );
    } else if !checks.is_empty() && !was_ejected(view) {
        it.strongly_against(view.symptom("no server was left out for failed requests"));
    } else {
        it.missing("whether servers were left out for failed requests");
    }
    weigh_now(view, it, is_all);
    weigh_block(view, it);
    let triggers = &view.case.backdrop.others;
    for (server, kind, count) in triggers.iter().take(8) {
        it.note(known(
            view,
            format!("what led to it on {server}: {count} × {}", kind.code()),
        ));
    }
    say(view, it);
    fix(view, it);
}

/// Whether a server was left out lately.
fn was_ejected(view: &View<'_>) -> bool {
    let mut changes = view.lately(&[ChangeKind::ServerDown]);
    changes.any(|change| change.words.contains("ejected"))
}

/// Whether the servers are well now.
fn weigh_now(view: &View<'_>, it: &mut Opinion, is_all: bool) {
    if let Some((ask, reply)) = good_replies(view).next() {
        let fact = view.probed(format!(
            "GET {} is answered with {}: the server is well",
            path_of(ask),
            reply.status
        ));
        if is_all {
            it.proof(fact);
        } else {
            it.strong(fact);
        }
    } else if view.connection().is_some_and(|found| found.fault.is_some()) {
        it.strongly_against(view.probed("a fresh connection fails, so the server is really down"));
    } else if view.connection().is_none() {
        it.missing("whether the servers answer now");
    }
    let well = view.case.successes.since_failure;
    if well > 0 {
        it.fair(view.symptom(format!("{well} requests went well afterwards")));
    }
}

/// Failures in a block as long as servers are left out for.
fn weigh_block(view: &View<'_>, it: &mut Opinion) {
    let ejection = view.backend().and_then(|backend| backend.ejection.as_ref());
    let Some((count, pause)) = ejection else {
        return;
    };
    it.note(view.setting(
        count,
        format!(
            "{} failures leave a server out for {}",
            count.value,
            time(u64::try_from(pause.value.as_micros()).unwrap_or(u64::MAX))
        ),
    ));
    let pause_us = u64::try_from(pause.value.as_micros()).unwrap_or(u64::MAX);
    let span = view.group.span_us();
    if view.group.count >= 3 && span > 0 && span <= pause_us.saturating_add(pause_us / 5) {
        it.fair(view.symptom(format!(
            "the failures came in a block of {}, as long as servers are left out",
            time(span)
        )));
    } else if view.group.count >= 3 && span > pause_us.saturating_mul(6) {
        it.hint(view.symptom(format!("the failures go on for {} already", time(span))));
    }
}

fn say(view: &View<'_>, it: &mut Opinion) {
    let mut kinds: Vec<&str> = Vec::new();
    for (_, kind, _) in &view.case.backdrop.others {
        if !kinds.contains(&kind.code()) {
            kinds.push(kind.code());
        }
    }
    let name = match view.case.subject.backend.as_str() {
        "" => "the backend",
        name => name,
    };
    it.say(match kinds.as_slice() {
        [] => format!(
            "All servers of {name} are left out for a while because requests to them failed, whether or not \
             they are well again."
        ),
        kinds => format!(
            "All servers of {name} are left out for a while because requests to them failed ({}), whether or \
             not they are well again.",
            kinds.join(", ")
        ),
    });
}

fn fix(view: &View<'_>, it: &mut Opinion) {
    it.fix(
        Site::Server,
        "Mend what led to it: that failure has a verdict of its own",
        "",
    );
    let to = match view.dialect() {
        Speaker::Clearway => "consecutive = 10   # and max_percent = 50",
        Speaker::Nginx => "server … max_fails=0;   # and no http_5xx in proxy_next_upstream",
        Speaker::Haproxy => "default-server error-limit 50   # or no observe",
        Speaker::Envoy => "outlier_detection: {max_ejection_percent: 50}",
        Speaker::Alb => return,
    };
    let origin = view
        .backend()
        .and_then(|backend| backend.ejection.as_ref())
        .and_then(|(count, _)| count.origin.as_ref());
    let place = match (origin, view.dialect()) {
        (Some(origin), _) => format!(" (in {origin})"),
        (None, Speaker::Clearway) => {
            format!(" ([backend.{}.ejection])", view.case.subject.backend)
        }
        (None, _) => String::new(),
    };
    it.fix(
        Site::Config,
        format!("Let single failures not take servers out{place}"),
        to,
    );
    let placeholder = view
        .backend()
        .and_then(|backend| backend.servers.iter().find(|server| server.down));
    if let Some(server) = placeholder {
        let words = match &server.origin {
            Some(origin) => {
                format!("Remove the server that is marked down, which counts as one (in {origin})")
            }
            None => "Remove the server that is marked down, which counts as one".to_owned(),
        };
        it.fix(
            Site::Config,
            words,
            format!("# server {} down;", server.address()),
        );
    }
}

pub(super) fn fail_open_masks_down(view: &View<'_>, it: &mut Opinion) {
    let backdrop = &view.case.backdrop;
    let is_down = view.case.check.as_ref().is_some_and(|check| check.is_down);
    let is_all = backdrop.servers > 0 && backdrop.down >= backdrop.servers;
    if view.group.is_servers_own() && super::super::head::is_all_of_them(view) {
        it.fair(view.symptom("every server sends errors, and none is left out for it"));
        it.missing("whether their checks fail, too");
    } else if !is_down || !is_all {
        return it.rule_out();
    }
    match view.group.speaker {
        Speaker::Envoy | Speaker::Alb => it.hint(view.symptom(format!(
            "{} sends requests on when all servers are down",
            view.group.speaker.name()
        ))),
        Speaker::Clearway | Speaker::Nginx | Speaker::Haproxy => {
            it.hint(
                view.symptom("requests are sent on although all servers are down by their checks"),
            );
        }
    }
    it.hint(view.seen());
    if let Some(check) = &view.case.check {
        it.note(known(view, super::met(check)));
    }
    if view.case.successes.since_failure > 0 {
        it.note(view.symptom(format!(
            "{} requests went well all the same, so the checks may be wrong",
            view.case.successes.since_failure
        )));
    }
    it.say(
        "All servers are down by their checks, and the balancer sends them requests all the same, because \
         there is nobody else.",
    );
    let to = match view.dialect() {
        Speaker::Envoy => "healthy_panic_threshold: {value: 0}",
        Speaker::Haproxy => "no option allbackups",
        Speaker::Clearway | Speaker::Nginx | Speaker::Alb => "",
    };
    it.fix(
        Site::Config,
        "Mend the checks or the servers first; then decide whether servers that are down may be tried",
        to,
    );
}
