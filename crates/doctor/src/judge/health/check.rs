//! Judges of checks that fail although the server is well.

use clearway_outcome::{FaultKind as Kind, Speaker};

use super::{
    CHECKED, NONE_LEFT, UNREACHED, as_check, as_traffic, backend_name, check_limit_us, checks,
    checks_go_astray, down, every, fix_check, good_replies, has_no_checks, host_of_traffic,
    is_well, known, met, path_of, took, traffic_is_well, url,
};
use crate::case::View;
use crate::evidence::{Ask, ChangeKind, CheckState, HostWord, Probe, Reply};
use crate::opinion::{Opinion, Site};
use crate::view::{shell, time};

/// Transitions from which on a server comes and goes: one up and one down are the begin and the end.
const FLAPS: u32 = 3;

/// A check that is given up sooner than this is impatient, in microseconds.
const SHORT_US: u64 = 1_000_000;

/// Servers go down together when it is within this time, in microseconds.
const TOGETHER_US: i64 = 10_000_000;

/// The status that every failing check got, where it is one and the same.
fn status(view: &View<'_>) -> Option<u16> {
    let failing = failing(view);
    let (_, first) = failing.first()?;
    let is_same = failing
        .iter()
        .all(|(_, state)| state.status == first.status);
    (is_same && first.status > 0).then_some(first.status)
}

/// Checks that fail.
fn failing<'a>(view: &View<'a>) -> Vec<(&'a str, &'a CheckState)> {
    let mut out = checks(view);
    out.retain(|(_, state)| state.fault.is_some() && !state.is_withdrawn);
    out
}

/// Whether no server is left, and neither a log nor a configuration says anything of checks.
fn is_untold(view: &View<'_>) -> bool {
    let is_none_left = view.group.may_be(NONE_LEFT) && view.group.speaker != Speaker::Clearway;
    is_none_left && view.case.survey().is_none() && checks(view).is_empty()
}

/// Whether the failures may come from checks that get answers.
fn is_answered(view: &View<'_>) -> bool {
    let failing = failing(view);
    if failing.is_empty() {
        return view.is(CHECKED) || view.group.may_be(NONE_LEFT);
    }
    let is_by_answer =
        |state: &CheckState| state.fault.is_some_and(|fault| CHECKED.contains(&fault));
    failing.iter().any(|(_, state)| is_by_answer(state))
}

/// What the checks met, as facts.
fn note_failing(view: &View<'_>, it: &mut Opinion) {
    for (name, state) in failing(view).into_iter().take(4) {
        it.note(known(view, format!("{name}: {}", met(state))));
    }
}

pub(super) fn hc_wrong_status(view: &View<'_>, it: &mut Opinion) {
    if has_no_checks(view) || !is_answered(view) {
        return it.rule_out();
    }
    it.hint(view.seen());
    note_failing(view, it);
    it.wants(Probe::Request(as_check(view)));
    it.wants(Probe::Request(as_traffic(view)));
    it.wants(Probe::Request(view.ask_again()));
    it.wants(Probe::Request(Ask::default()));
    let status = status(view);
    if flaps(view) >= FLAPS {
        it.strongly_against(known(
            view,
            "the checks pass at times, and the status that is expected does not change",
        ));
    }
    match status {
        Some(status @ (300..=399 | 401 | 403 | 404 | 405 | 410)) => it.fair(known(view, format!(
            "the checks get {status}, which a program that is well sends for a path that is not meant for them"
        ))),
        Some(status @ 500..=599) => it.against(known(view, format!(
            "the checks get {status}, by which a program says that it is not well itself"
        ))),
        Some(_) => {}
        None => it.missing("which status the checks get"),
    }
    let own = view.reply(&as_traffic(view));
    match own {
        Some(reply) if is_well(reply) && Some(reply.status) != status => {
            it.strongly_against(view.probed(format!(
                "GET {} as traffic asks for it is answered with {}",
                path_of(&as_traffic(view)),
                reply.status
            )));
        }
        Some(reply) if reply.is_answered() => it.fair(view.probed(format!(
            "GET {} is answered with {} whatever the Host is",
            path_of(&as_traffic(view)),
            reply.status
        ))),
        Some(_) | None => {}
    }
    let good = good_replies(view).find(|(ask, _)| ask.path != as_traffic(view).path);
    if let Some((ask, reply)) = good {
        let fact = view.probed(format!(
            "GET {} on the same server is answered with {}",
            path_of(ask),
            reply.status
        ));
        let is_same = |reply: &Reply| Some(reply.status) == status || !is_well(reply);
        let is_refused = own.is_some_and(|reply| reply.is_answered() && is_same(reply));
        // A status of the server's own failure may be true, and an answer for / alone may come from a
        // program that does not belong there.
        let is_theirs = traffic_is_well(view) || ask.path.len() > 1;
        if is_refused && is_theirs && status.is_some_and(|status| status < 500) {
            it.proof(fact);
        } else {
            it.strong(fact);
        }
    } else if traffic_is_well(view) {
        it.strong(view.symptom(format!(
            "{} requests of clients went well meanwhile",
            view.case.successes.count
        )));
    } else {
        it.missing("whether requests other than the check's are answered");
    }
    say_status(view, it, status);
    fix_status(view, it, good.map(|(ask, _)| path_of(ask)), status);
}

fn say_status(view: &View<'_>, it: &mut Opinion, status: Option<u16>) {
    let path = as_check(view);
    let path = path_of(&path);
    it.say(match status {
        Some(status) => format!(
            "The check of {} asks for {path} and gets {status}, while the servers answer requests: the check \
             is wrong.",
            backend_name(view)
        ),
        None => format!(
            "The check of {} asks for {path} and does not get what it expects, while the servers answer \
             requests: the check is wrong.",
            backend_name(view)
        ),
    });
}

fn fix_status(view: &View<'_>, it: &mut Opinion, good: Option<&str>, status: Option<u16>) {
    let path = good.unwrap_or("/");
    it_path(view, it, path, good.is_some());
    if let Some(status) = status.filter(|status| *status < 500) {
        fix_check(
            view,
            it,
            [
                &format!("expect = [\"200-399\", {status}]"),
                &format!("match ok {{ status 200-399 {status}; }}"),
                &format!("http-check expect status 200-399,{status}"),
                &format!(
                    "expected_statuses: [{{start: {status}, end: {}}}]",
                    status + 1
                ),
                &format!("aws elbv2 modify-target-group --matcher HttpCode=200-399,{status}"),
            ],
            "Or take this status for healthy, if it is",
            false,
        );
    }
}

/// The path that a check is to ask for.
fn it_path(view: &View<'_>, it: &mut Opinion, path: &str, is_verified: bool) {
    let quoted = shell(path);
    fix_check(
        view,
        it,
        [
            &format!("path = \"{path}\""),
            &format!("health_check uri={path};"),
            &format!("http-check send meth GET uri {path}"),
            &format!("http_health_check: {{path: \"{path}\"}}"),
            &format!("aws elbv2 modify-target-group --health-check-path {quoted}"),
        ],
        "Let the check ask for a path that needs no login and answers 200",
        is_verified,
    );
}

pub(super) fn hc_host_header(view: &View<'_>, it: &mut Opinion) {
    if has_no_checks(view) || !is_answered(view) {
        return it.rule_out();
    }
    it.hint(view.seen());
    note_failing(view, it);
    it.wants(Probe::Request(as_check(view)));
    it.wants(Probe::Request(as_traffic(view)));
    match status(view) {
        Some(status @ (400 | 403 | 404 | 421)) => it.fair(known(
            view,
            format!("the checks get {status}, as requests with a Host that is not served do"),
        )),
        Some(status) => {
            it.against(known(
                view,
                format!("the checks get {status}, which no Host leads to"),
            ));
        }
        None => it.missing("which status the checks get"),
    }
    let check = view.backend().and_then(|backend| backend.check.as_ref());
    let host = check.map(|check| check.host.as_ref().map(|host| host.value.clone()));
    if let Some(None) = &host {
        it.hint(known(view, "the check names no host of its own"));
    }
    let (by_check, by_traffic) = (view.reply(&as_check(view)), view.reply(&as_traffic(view)));
    match (by_check, by_traffic) {
        (Some(bad), Some(good)) if bad.is_answered() && !is_well(bad) && is_well(good) => {
            let fact = view.probed(format!(
                "GET {} is answered with {} with the check's Host, and with {} with that of traffic",
                path_of(&as_check(view)),
                bad.status,
                good.status
            ));
            if (400..500).contains(&bad.status) {
                it.proof(fact);
            } else {
                it.strong(fact);
            }
        }
        (Some(check), Some(traffic)) if check.status == traffic.status && check.is_answered() => {
            it.strongly_against(view.probed(format!(
                "GET {} is answered with {} whatever the Host is",
                path_of(&as_check(view)),
                check.status
            )));
        }
        (Some(_), Some(_)) => it.against(view.probed("the Host makes no difference of that kind")),
        (Some(_), None) | (None, _) => {
            it.missing("what the check's path answers with traffic's Host");
        }
    }
    say_host(view, it, host.flatten());
}

fn say_host(view: &View<'_>, it: &mut Opinion, sent: Option<String>) {
    let is_proven = it.is_proven();
    let sent = sent.unwrap_or_else(|| "the server's address, or none".to_owned());
    it.say(format!(
        "The check of {} sends a Host ({sent}) that the server does not serve; with that of the traffic it \
         would pass.",
        backend_name(view)
    ));
    let name = host_of_traffic(view);
    let path = as_check(view);
    let path = path_of(&path);
    fix_check(
        view,
        it,
        [
            &format!("host = \"{name}\""),
            &format!("proxy_set_header Host {name};"),
            &format!("http-check send meth GET uri {path} ver HTTP/1.1 hdr Host {name}"),
            &format!("http_health_check: {{host: \"{name}\"}}"),
            "",
        ],
        "Let the check send the Host of the traffic",
        is_proven,
    );
    it.fix(
        Site::Server,
        "Or let the program answer the check's path before it looks at Host",
        format!(
            "curl -sv -H {} {}",
            shell(&format!("Host: {name}")),
            url(view, path)
        ),
    );
}

/// Faults that a check meets which speaks otherwise than it should, or elsewhere.
fn is_astray(kind: Kind) -> bool {
    const SPOKEN: &[Kind] = &[
        Kind::ServerSpeaksPlain,
        Kind::ServerSpeaksTls,
        Kind::ServerSpeaksHttp2,
        Kind::ServerSpeaksHttp1,
        Kind::ServerTlsClosed,
        Kind::ServerTlsReset,
        Kind::ServerClosedNoResponse,
        Kind::ServerResetNoResponse,
        Kind::ResponseNotHttp,
    ];
    UNREACHED.contains(&kind) || SPOKEN.contains(&kind)
}

pub(super) fn hc_wrong_port_or_protocol(view: &View<'_>, it: &mut Opinion) {
    if has_no_checks(view) {
        return it.rule_out();
    }
    if is_untold(view) {
        return it.missing("where checks go, and what they met");
    }
    let failing = failing(view);
    if failing.is_empty() {
        return green_but_dead(view, it);
    }
    let is_own = view.group.may_be(NONE_LEFT) || view.is(CHECKED);
    let met_by_check = failing.iter().filter_map(|(_, state)| state.fault);
    let is_theirs = met_by_check
        .clone()
        .any(|fault| view.group.kind() == Some(fault));
    let is_beside = is_theirs && traffic_is_well(view);
    if !(is_own || is_beside) {
        return it.rule_out();
    }
    let faults: Vec<Kind> = met_by_check.filter(|fault| is_astray(*fault)).collect();
    if faults.is_empty() {
        return it.rule_out();
    }
    it.hint(view.seen());
    note_failing(view, it);
    it.wants(Probe::Request(view.ask_again()));
    let answered = view.replies().find(|(ask, reply)| {
        reply.is_answered()
            && reply.fault.is_none()
            && ask.host != HostWord::Check
            && ask.tls.is_none()
            && ask.proxy_header.is_none()
    });
    let is_well = match answered {
        Some((ask, reply)) => {
            it.strong(view.probed(format!(
                "on the port of the traffic, GET {} is answered with {}",
                path_of(ask),
                reply.status
            )));
            true
        }
        None if traffic_is_well(view) => {
            it.strong(view.symptom(format!(
                "{} requests of clients went well meanwhile",
                view.case.successes.count
            )));
            true
        }
        None => {
            it.missing("whether the port of the traffic answers");
            false
        }
    };
    match checks_go_astray(view) {
        Some(true) => {
            let fact = known(view, difference(view));
            if is_well {
                it.proof(fact);
            } else {
                it.strong(fact);
            }
        }
        Some(false) => {
            it.against(known(
                view,
                "the check goes where the traffic goes, in the same way",
            ));
        }
        None => it.missing("where the check goes: the configuration is not known"),
    }
    it.say(format!(
        "The check of {} goes elsewhere than the traffic, or otherwise, and fails, while the servers answer.",
        backend_name(view)
    ));
    fix_port(view, it);
}

/// In what the check differs from the traffic.
fn difference(view: &View<'_>) -> String {
    let backend = view.backend();
    let check = backend.and_then(|backend| backend.check.as_ref());
    let (Some(backend), Some(check)) = (backend, check) else {
        return "the check differs from the traffic".to_owned();
    };
    let port = check.port.as_ref().map(|port| port.value);
    let other = backend
        .servers
        .iter()
        .find(|server| port.is_some_and(|port| port != server.port));
    match (port, other) {
        (Some(port), Some(server)) => {
            format!(
                "the check goes to port {port}, and the traffic to port {}",
                server.port
            )
        }
        _ if check.tls.value && backend.tls.is_none() => {
            "the check speaks TLS, and the traffic does not".to_owned()
        }
        _ if !check.tls.value && backend.tls.is_some() => {
            "the traffic speaks TLS, and the check does not".to_owned()
        }
        _ => "the traffic begins with a PROXY header, and the check does not".to_owned(),
    }
}

/// The reverse: a check of another port passes while traffic's port is dead.
fn green_but_dead(view: &View<'_>, it: &mut Opinion) {
    let passes = checks(view)
        .iter()
        .any(|(_, state)| !state.is_down && state.fault.is_none());
    if view.group.may_be(NONE_LEFT) || !passes || checks_go_astray(view) != Some(true) {
        return it.rule_out();
    }
    it.hint(view.seen());
    it.fair(view.symptom(format!("its check passes; {}", difference(view))));
    it.say(format!(
        "The check of {} does not go where the traffic goes, so a server that fails stays in use.",
        backend_name(view)
    ));
    fix_port(view, it);
}

fn fix_port(view: &View<'_>, it: &mut Opinion) {
    let is_encrypted = view.backend().is_some_and(|backend| backend.tls.is_some());
    let (tls, haproxy) = if is_encrypted {
        (
            "tls = true   # and no port of its own",
            "check check-ssl verify none   # and no port of its own",
        )
    } else {
        (
            "tls = false   # and no port of its own",
            "check no-check-ssl   # and no port of its own",
        )
    };
    fix_check(
        view,
        it,
        [
            tls,
            "health_check;   # without port=",
            haproxy,
            "health_check_config: {}   # without port_value",
            "aws elbv2 modify-target-group --health-check-port traffic-port",
        ],
        "Let the check go to the port that serves users, and speak what they speak",
        false,
    );
}

pub(super) fn hc_too_strict(view: &View<'_>, it: &mut Opinion) {
    const LATE: &[Kind] = &[
        Kind::ConnectTimeout,
        Kind::ServerTlsTimeout,
        Kind::ResponseTimeout,
        Kind::ResponseHeadStalled,
        Kind::TotalTimeout,
    ];
    if has_no_checks(view) {
        return it.rule_out();
    }
    let late: Vec<_> = failing(view)
        .into_iter()
        .filter(|(_, state)| state.fault.is_some_and(|fault| LATE.contains(&fault)))
        .collect();
    let flaps = flaps(view);
    if is_untold(view) {
        return it.missing("how long checks may take, and how long they took");
    }
    if late.is_empty() && (flaps < FLAPS || !view.group.may_be(NONE_LEFT)) {
        return it.rule_out();
    }
    it.hint(view.seen());
    note_failing(view, it);
    it.wants(Probe::Request(Ask {
        patience_ms: 10_000,
        ..as_check(view)
    }));
    if let Some((_, state)) = late.first()
        && let Some(words) = took(state)
    {
        let fact = known(view, format!("the check was given up after {words}"));
        // What is busy takes as long now and then.
        let is_short = state.took_us.is_some_and(|took| took < SHORT_US);
        if is_short && UNREACHED.iter().all(|kind| state.fault != Some(*kind)) {
            it.fair(fact);
        } else {
            it.hint(fact);
        }
    }
    weigh_flaps(view, it, flaps);
    let limit = check_limit_us(view);
    let slow = view.replies().find(|(ask, reply)| {
        let took = reply.first_byte_us.unwrap_or(reply.took_us);
        ask.path == as_check(view).path && is_well(reply) && limit.is_some_and(|limit| took > limit)
    });
    if let (Some((_, reply)), Some(limit)) = (slow, limit) {
        it.strong(view.probed(format!(
            "the check's request is answered with {} after {}, and the limit is {}",
            reply.status,
            time(reply.first_byte_us.unwrap_or(reply.took_us)),
            time(limit)
        )));
    }
    if traffic_is_well(view) {
        it.strong(view.symptom(format!(
            "{} requests of clients to it went well meanwhile",
            view.case.successes.count
        )));
    } else if slow.is_none() {
        it.missing("whether the check would pass with more time");
    }
    it.say(format!(
        "The check of {} allows {}, which the servers do not always keep although they are well.",
        backend_name(view),
        limit.map_or_else(|| "too little time".to_owned(), time)
    ));
    fix_strict(view, it, slow.is_some());
}

/// A server that comes and goes is well for the most part, and its checks are too quick to give it up.
fn weigh_flaps(view: &View<'_>, it: &mut Opinion, flaps: u32) {
    if flaps < FLAPS {
        return;
    }
    let words = format!("servers went down and up {flaps} times within ten minutes");
    if flaps > FLAPS {
        it.strong(known(view, words));
    } else {
        it.fair(known(view, words));
    }
    let passes = view
        .replies()
        .any(|(ask, reply)| *ask == as_check(view) && is_well(reply));
    if passes {
        it.fair(view.probed("the check's request is answered well now"));
    }
    if let Some((ask, reply)) = good_replies(view).find(|(ask, _)| ask.path != as_check(view).path)
    {
        it.fair(view.probed(format!(
            "GET {} is answered with {}, so users would have been served",
            path_of(ask),
            reply.status
        )));
    }
}

/// The most transitions of a server.
fn flaps(view: &View<'_>) -> u32 {
    let known = checks(view);
    known
        .iter()
        .map(|(_, state)| state.flaps)
        .max()
        .unwrap_or(0)
}

fn fix_strict(view: &View<'_>, it: &mut Opinion, is_verified: bool) {
    fix_check(
        view,
        it,
        [
            "timeout = \"3s\"   # and fall = 5",
            "health_check fails=5;",
            "timeout check 3s   # and default-server fall 5",
            "timeout: 3s   # and unhealthy_threshold: 5",
            "aws elbv2 modify-target-group --health-check-timeout-seconds 10 --unhealthy-threshold-count 5",
        ],
        "Give the check more time, and let several in a row fail before a server is taken out",
        is_verified,
    );
    it.fix(
        Site::Server,
        "Let the check's path cost little",
        format!(
            "curl -so /dev/null -w '%{{time_total}}\\n' {}",
            url(view, path_of(&as_check(view)))
        ),
    );
}

pub(super) fn hc_dependency_cascade(view: &View<'_>, it: &mut Opinion) {
    if has_no_checks(view) || !is_answered(view) {
        return it.rule_out();
    }
    let down = down(view);
    let status = status(view);
    if status.is_some_and(|status| status < 500) {
        return it.rule_out();
    }
    it.hint(view.seen());
    note_failing(view, it);
    it.wants(Probe::Request(as_check(view)));
    it.wants(Probe::Request(Ask::default()));
    if let (Some(status), true) = (status, down.len() >= 2 && down.len() == checks(view).len()) {
        it.fair(known(
            view,
            format!("the checks of {} get the same: {status}", every(down.len())),
        ));
    } else if checks(view).len() == 1 {
        it.note(known(view, "it is the only server"));
    } else if !checks(view).is_empty() {
        it.against(known(
            view,
            "not all servers are down, so it is nothing that they share",
        ));
    }
    let times: Vec<i64> = view
        .lately(&[ChangeKind::ServerDown])
        .map(|change| change.at_us)
        .collect();
    if let (Some(first), Some(last)) = (times.iter().min(), times.iter().max())
        && times.len() >= 2
    {
        if last - first <= TOGETHER_US {
            it.fair(known(
                view,
                format!("{} servers went down together", times.len()),
            ));
        } else {
            it.against(known(view, "the servers went down one after the other"));
        }
    }
    let good = good_replies(view).find(|(ask, _)| ask.path != as_traffic(view).path);
    let shows_error = view.replies().any(|(ask, reply)| {
        ask.path == as_check(view).path && reply.is_answered() && reply.status >= 500
    });
    match good {
        Some((ask, reply)) if shows_error || status.is_some() => it.strong(view.probed(format!(
            "GET {} is answered with {} all the same",
            path_of(ask),
            reply.status
        ))),
        Some(_) => {}
        None => it.missing("whether anything but the check's path works"),
    }
    if flaps(view) > FLAPS {
        it.against(known(view, "servers come and go, and do not stay away"));
    }
    it.missing("what the check's path looks at: the program's log says what it misses");
    it.say(format!(
        "The check of {} fails on its servers with an error of the program, as it does when something that \
         all of them need (a database, a cache) is gone.",
        backend_name(view)
    ));
    it.fix(
        Site::Server,
        "See what the check's path complains about, and mend that",
        format!("curl -sv {}", url(view, path_of(&as_check(view)))),
    );
    it.fix(
        Site::Server,
        "Let the check tell whether this server works, not what it depends on",
        "",
    );
}
