//! Connected, the request is away, and nothing comes.

use super::signs::{self, Delivery, Light, Spelled};
use super::{FROZEN, SILENT};
use crate::case::View;
use crate::evidence::{Probe, Reply};
use crate::judge::reach;
use crate::opinion::{Opinion, Site};
use crate::view::time;

/// Failures of one kind are a pattern from this many on.
pub(super) const PATTERN: u64 = 3;

pub(in crate::judge) fn app_slow(view: &View<'_>, it: &mut Opinion) {
    it.hint(view.seen());
    it.wants(Probe::Request(signs::light(view)));
    match signs::delivery(view) {
        Delivery::Taken => it.fair(view.kernel(
            "everything that was sent was acknowledged, so the server's host has the request",
        )),
        Delivery::Unacknowledged => it.strongly_against(
            view.kernel("the request was never acknowledged: the server's host does not have it"),
        ),
        Delivery::NotRead => {
            it.strongly_against(view.kernel("the server does not take the rest of the request"));
        }
        Delivery::Unknown => it.missing("whether the server's host acknowledged the request"),
    }
    weigh_paths_of_slow(view, it);
    match signs::light_reply(view) {
        Light::Quick(at) => it.fair(view.probed(format!(
            "{} is answered after {}, so the program itself is well",
            signs::light_path(view),
            time(at)
        ))),
        Light::Late(at) => it.against(view.probed(format!(
            "even {} is answered after {} only",
            signs::light_path(view),
            time(at)
        ))),
        // It is slow in everything, where the same request is answered in the end.
        Light::Silent(after) if signs::is_late_at_last(view) => it.note(view.probed(format!(
            "even {} is not answered within {}",
            signs::light_path(view),
            time(after)
        ))),
        Light::Silent(after) => it.strongly_against(view.probed(format!(
            "even {} is not answered within {}",
            signs::light_path(view),
            time(after)
        ))),
        Light::Broken(_) | Light::NotAsked => {}
    }
    weigh_what_was_said(view, it);
    if view.case.gained.is_some_and(|gained| gained.ofo_queue > 0) {
        it.against(view.kernel("segments came out of order: parts of responses were lost"));
    }
    it.say(format!(
        "{} takes longer for {} than the {} it is given.",
        view.address(),
        signs::path(view),
        time(signs::patience_us(view))
    ));
    match signs::patient(view) {
        Some(ask) => {
            let reply = view.reply(&ask);
            it.wants(Probe::Request(ask));
            match reply {
                Some(reply) => weigh_patience(view, it, reply),
                None => it.missing("how long the same request takes when it may"),
            }
        }
        None => it.missing(
            "how long the same request takes when it may: it is not one that can be repeated on \
            purpose",
        ),
    }
    if let Some(backend) = view.backend()
        && let Some(limit) = signs::limit_us(view)
    {
        let setting = &backend.timeouts.response;
        it.note(view.setting(setting, format!("{} is {}", setting.name, time(limit))));
    }
    it.fix(
        Site::Server,
        format!(
            "Find out what {} waits for (database, other services), and make it faster",
            signs::path(view)
        ),
        "",
    );
}

/// Requests that had not been sent whole, and answers that had begun, are no matter of speed.
fn weigh_what_was_said(view: &View<'_>, it: &mut Opinion) {
    let group = view.group;
    if group.unsent > 0 && group.unsent == group.count {
        it.strongly_against(view.symptom(
            "the client held the body back until it would be told to go on (Expect: 100-continue)",
        ));
    }
    if group.interim > 0 {
        it.strongly_against(view.symptom(format!(
            "the server sent an interim response (1xx) to {} of them",
            group.interim
        )));
    }
}

fn weigh_paths_of_slow(view: &View<'_>, it: &mut Opinion) {
    let group = view.group;
    let meanwhile = signs::went_well_meanwhile(view);
    let others = view.case.successes.count;
    match (group.paths.only(), meanwhile) {
        (Some(path), true) if group.count >= PATTERN => it.fair(view.symptom(format!(
            "all {} were for {path}, while {others} requests to the same server went well",
            group.count
        ))),
        (Some(path), false) if group.count >= PATTERN => {
            it.hint(view.symptom(format!("all {} were for {path}", group.count)));
        }
        (_, true) => {
            it.hint(view.symptom(format!("{others} requests to the same server went well")));
        }
        _ => {}
    }
    if group.paths.len() >= 4 {
        it.against(view.symptom(format!(
            "{} different paths are concerned",
            group.paths.len()
        )));
    }
    if !meanwhile && signs::would_know_successes(view) && group.count >= PATTERN {
        it.against(view.symptom("no request at all went well meanwhile"));
    }
}

/// What came of the same request with more time.
fn weigh_patience(view: &View<'_>, it: &mut Opinion, reply: &Reply) {
    let limit = signs::patience_us(view);
    if !reply.is_answered() {
        return it.note(view.probed(format!(
            "the same request is not answered within {} either",
            time(reply.took_us)
        )));
    }
    let at = reply.first_byte_us.unwrap_or(reply.took_us);
    if at <= limit {
        if at < limit / 2 {
            it.against(view.probed(format!(
                "the same request is answered after {} now",
                time(at)
            )));
        }
        return;
    }
    let fact = view.probed(format!(
        "with more time {} is answered with {} after {}, and the limit is {}",
        signs::path(view),
        reply.status,
        time(at),
        time(limit)
    ));
    let is_light_quick = matches!(signs::light_reply(view), Light::Quick(_));
    if is_slow_by_itself(view, reply) {
        it.proof(fact);
    } else if signs::at_once(view) >= 4 && !is_light_quick {
        // It may have waited for its turn like everybody else.
        it.fair(fact);
    } else {
        it.strong(fact);
    }
    it.say(format!(
        "{} answers {} after {}; {} is all that it is given.",
        view.address(),
        signs::path(view),
        time(at),
        time(limit)
    ));
    let enough = signs::written((at + at / 2) / 1_000);
    let seconds = enough.trim_end_matches("ms").trim_end_matches('s');
    let name = signs::backend_name(view);
    let key = if view.is(&[clearway_outcome::FaultKind::TotalTimeout]) {
        "total"
    } else {
        "response"
    };
    let setting = view.backend().map(|backend| &backend.timeouts.response);
    Spelled {
        clearway: &format!("backend.{name}.timeouts.{key} = \"{enough}\""),
        nginx: &format!("proxy_read_timeout {enough};"),
        haproxy: &format!("timeout server {enough}"),
        envoy: &format!("route.timeout: {enough}"),
        alb: &format!("idle_timeout.timeout_seconds={seconds}"),
    }
    .verified_fix(
        view,
        it,
        signs::origin_of(setting),
        "until it is faster, give this path more time",
    );
}

/// Whether nothing but the request itself can have made it late: it was delivered, nothing was lost, the
/// program has time for others, and nobody waits for a turn.
fn is_slow_by_itself(view: &View<'_>, reply: &Reply) -> bool {
    let limit = signs::patience_us(view);
    let successes = view.case.successes.took;
    let process = view.host().and_then(|host| host.process.as_ref());
    let is_lossless = signs::is_clean(reply)
        && view.group.tcp.is_none_or(|tcp| tcp.retransmits == 0)
        && view.case.gained.is_none_or(|gained| gained.ofo_queue == 0);
    let has_room = signs::listener(view).is_none_or(|listener| listener.queue == 0)
        && (successes.count == 0 || successes.max <= limit / 4)
        && process.is_none_or(|process| process.throttled.unwrap_or(0) == 0);
    // Different places of a configuration may have different limits.
    let waited = view.group.waited;
    let is_that_limit = waited.count > 0 && signs::is_near(waited.mean(), limit, 10, 300_000);
    view.is(SILENT)
        && view.group.count >= 2
        && is_that_limit
        && signs::delivery(view) == Delivery::Taken
        && matches!(signs::light_reply(view), Light::Quick(_))
        && view.group.paths.len() < 4
        && view.group.burst < 3
        && is_lossless
        && has_room
}

pub(in crate::judge) fn app_hung(view: &View<'_>, it: &mut Opinion) {
    it.hint(view.seen());
    if view.is(&[clearway_outcome::FaultKind::ServerTlsTimeout]) {
        it.against(view.symptom(
            "it is the handshake that goes unanswered, as ports that do not speak TLS leave it",
        ));
    }
    it.wants(Probe::Request(signs::light(view)));
    it.wants(Probe::Host);
    match signs::delivery(view) {
        Delivery::Taken => it.hint(view.kernel(
            "the server's kernel acknowledged the requests, which it does for a program that \
            stands still",
        )),
        Delivery::Unacknowledged => it
            .strongly_against(view.kernel("not even the server's kernel acknowledged the request")),
        Delivery::NotRead => {
            it.hint(
                view.kernel("the server's kernel took what it had room for, and nobody reads it"),
            );
        }
        Delivery::Unknown => {}
    }
    let meanwhile = signs::went_well_meanwhile(view);
    if meanwhile {
        it.strongly_against(view.symptom(format!(
            "{} requests to it went well",
            view.case.successes.count
        )));
    } else if signs::would_know_successes(view) && view.group.count >= 2 {
        it.fair(view.symptom("no request to it went well since the first failure"));
    }
    if view.group.paths.len() >= 2 {
        it.hint(view.symptom(format!(
            "{} different paths are concerned",
            view.group.paths.len()
        )));
    }
    weigh_light_of_hung(view, it);
    weigh_what_was_said(view, it);
    if signs::is_late_at_last(view) {
        it.strongly_against(view.probed("the same request is answered when it is given more time"));
    }
    if let Some(check) = &view.case.check {
        if check.fault == Some(clearway_outcome::FaultKind::ResponseTimeout) {
            it.hint(view.symptom("its health check is not answered either"));
        } else if !check.is_down && (200..400).contains(&check.status) {
            it.against(view.symptom(format!(
                "its health check is answered with {}",
                check.status
            )));
        }
    }
    weigh_process_of_hung(view, it);
    it.say(format!(
        "The program behind {} stands still: connections are taken, and no request is answered.",
        view.address()
    ));
    it.fix(
        Site::Server,
        "Take a dump of its threads to see where it stands, then start it again",
        format!(
            "pid=$(ss -ltnpH 'sport = :{}' | grep -o 'pid=[0-9]*' | head -1 | cut -d= -f2); grep \
            State /proc/$pid/status",
            view.port()
        ),
    );
}

fn weigh_light_of_hung(view: &View<'_>, it: &mut Opinion) {
    let path = signs::light_path(view);
    match signs::light_reply(view) {
        Light::Silent(after) => {
            it.fair(view.probed(format!(
                "even {path} is not answered within {}",
                time(after)
            )));
            if view.connection().is_some_and(|found| found.fault.is_none()) {
                it.hint(view.probed("and yet connections are taken at once"));
            }
        }
        Light::Quick(at) => {
            it.strongly_against(view.probed(format!("{path} is answered after {}", time(at))));
        }
        Light::Late(at) => {
            it.against(view.probed(format!("{path} is answered, after {}", time(at))));
        }
        Light::Broken(_) => {}
        Light::NotAsked => it.missing("whether anything at all is answered"),
    }
}

fn weigh_process_of_hung(view: &View<'_>, it: &mut Opinion) {
    if let Some(listener) = signs::listener(view).filter(|listener| listener.queue > 0) {
        it.hint(view.kernel(format!(
            "{} connections wait to be accepted",
            listener.queue
        )));
    }
    let Some(process) = view.host().and_then(|host| host.process.as_ref()) else {
        return it.missing("the state of its process: that shows on its own host only");
    };
    match process.state {
        'T' | 't' => {
            let fact = view.kernel(format!(
                "its process {} ({}) is stopped (state {})",
                process.pid, process.name, process.state
            ));
            // One that is stopped and continued again and again answers in between.
            let is_silent = matches!(signs::light_reply(view), Light::Silent(_));
            let spells = reach::spells(view.group.times());
            let is_steady = !signs::went_well_meanwhile(view)
                && (view.case.successes.count == 0 || spells <= 1);
            if is_silent && is_steady && view.is(FROZEN) {
                it.proof(fact);
                it.say(format!(
                    "The process {} ({}) behind {} is stopped: the kernel takes connections for it, and nobody \
                     answers.",
                    process.pid,
                    process.name,
                    view.address()
                ));
                it.fix(
                    Site::Server,
                    "Let it go on, and find out who stopped it",
                    format!("kill -CONT {}", process.pid),
                );
            } else {
                it.strong(fact);
            }
        }
        'D' => it.fair(view.kernel(format!(
            "its process {} ({}) waits for a device (state D)",
            process.pid, process.name
        ))),
        _ => {}
    }
}

pub(in crate::judge) fn workers_saturated(view: &View<'_>, it: &mut Opinion) {
    it.hint(view.seen());
    it.wants(Probe::Request(signs::light(view)));
    it.wants(Probe::Host);
    match signs::delivery(view) {
        Delivery::Taken => it.hint(view.kernel("the server's host has the requests")),
        Delivery::Unacknowledged => {
            it.strongly_against(view.kernel("the server's host does not have the request"));
        }
        Delivery::NotRead | Delivery::Unknown => {}
    }
    let limit = signs::patience_us(view);
    let successes = view.case.successes.took;
    let meanwhile = signs::went_well_meanwhile(view);
    if meanwhile {
        it.hint(view.symptom("some requests are answered and others are not"));
        if successes.count >= 2 && successes.max >= limit / 2 && successes.max >= successes.min * 3
        {
            it.fair(view.symptom(format!(
                "those that are answered take from {} up to {}, near the limit of {}",
                time(successes.min),
                time(successes.max),
                time(limit)
            )));
        }
    }
    let busy = u64::try_from(signs::at_once(view)).unwrap_or(u64::MAX);
    match view.case.backdrop.in_flight.map(|known| known.max(busy)) {
        Some(busy) if busy >= 4 => {
            it.fair(view.symptom(format!("{busy} requests to it were under way at once")));
        }
        Some(_) if signs::is_one_at_a_time(view) => it.strongly_against(view.symptom(
            "they failed one after the other: nobody stood before them in a queue, as far as it is known here",
        )),
        Some(_) => {}
        None => it.missing("how many requests are under way at once"),
    }
    if view.group.paths.len() >= 2 {
        it.hint(view.symptom("different paths are concerned"));
    }
    weigh_queue(view, it);
    it.say(format!(
        "All workers behind {} are busy, so that requests wait for their turn longer than the {} \
        they are given.",
        view.address(),
        time(limit)
    ));
    let name = signs::backend_name(view);
    Spelled {
        clearway: &format!("backend.{name}.maxconn = WORKERS"),
        nginx: "server ADDRESS max_conns=WORKERS;",
        haproxy: "server NAME ADDRESS maxconn WORKERS",
        envoy: "circuit_breakers.thresholds.max_requests: WORKERS",
        alb: "",
    }
    .fix(
        view,
        it,
        view.server().and_then(|server| server.origin.as_ref()),
        "let no more requests through to the server than it has workers",
    );
    it.fix(
        Site::Server,
        "Give the program more workers, or find out what all of them wait for",
        format!(
            "ss -ltn 'sport = :{}'   # Recv-Q: connections that wait for a worker",
            view.port()
        ),
    );
}

fn weigh_queue(view: &View<'_>, it: &mut Opinion) {
    let path = signs::light_path(view);
    match signs::light_reply(view) {
        Light::Late(at) if signs::is_one_at_a_time(view) => it.fair(view.probed(format!(
            "{path}, which costs nothing, is answered after {}",
            time(at)
        ))),
        Light::Late(at) => it.strong(view.probed(format!(
            "{path}, which costs nothing, is answered after {}: it waits for its turn",
            time(at)
        ))),
        Light::Silent(after) => {
            it.fair(view.probed(format!(
                "even {path} is not answered within {}",
                time(after)
            )));
        }
        Light::Quick(at) => {
            it.against(view.probed(format!("{path} is answered after {}", time(at))));
        }
        Light::Broken(_) | Light::NotAsked => {}
    }
    match signs::listener(view) {
        Some(listener) if listener.queue > 0 => it.strong(view.kernel(format!(
            "{} connections wait in the queue of {} to be accepted",
            listener.queue, listener.address
        ))),
        Some(_) => it.against(view.kernel("nobody waits in its queue of connections")),
        None => it.missing("the server's queue of connections"),
    }
    if let Some(process) = view.host().and_then(|host| host.process.as_ref())
        && matches!(process.state, 'T' | 't')
    {
        it.strongly_against(view.kernel("its process is stopped, not busy"));
    }
}

pub(in crate::judge) fn backend_fd_exhausted(view: &View<'_>, it: &mut Opinion) {
    it.hint(view.seen());
    match signs::delivery(view) {
        Delivery::Taken => it.hint(view.kernel("the server's kernel has the requests")),
        Delivery::Unacknowledged | Delivery::NotRead => {
            it.against(view.kernel("the server's host does not take the whole request"));
        }
        Delivery::Unknown => {}
    }
    if signs::is_all_reused(view) {
        it.against(view.symptom("it fails on kept connections, which need no new descriptor"));
    } else if signs::is_all_fresh(view) && signs::went_well_meanwhile(view) {
        it.hint(view.symptom("only fresh connections fail, and others still work"));
    }
    let is_silent = match signs::light_reply(view) {
        Light::Silent(after) => {
            it.fair(view.probed(format!(
                "a fresh connection is taken, and a request on it not answered within {}",
                time(after)
            )));
            true
        }
        Light::Quick(_) | Light::Late(_) => {
            it.strongly_against(view.probed("a request on a fresh connection is answered"));
            false
        }
        Light::Broken(_) | Light::NotAsked => false,
    };
    let files = view
        .host()
        .and_then(|host| host.process.as_ref())
        .and_then(|process| process.files.map(|files| (process, files)));
    match files {
        Some((process, files)) if files.limit > 0 && files.used >= files.limit => {
            let fact = view.kernel(format!(
                "its process {} ({}) has {} of {} files open",
                process.pid, process.name, files.used, files.limit
            ));
            let waits = signs::listener(view).is_some_and(|listener| listener.queue > 0);
            if is_silent && waits && !matches!(process.state, 'T' | 't') {
                it.proof(fact);
            } else {
                it.strong(fact);
            }
            it.say(format!(
                "The program behind {} has all {} files open that it may, and accepts no \
                connection any more.",
                view.address(),
                files.limit
            ));
        }
        Some((_, files)) if files.is_exhausted() => {
            it.fair(view.kernel(format!("{} of {} files are open", files.used, files.limit)));
        }
        Some(_) => it.rule_out(),
        None => it.missing(
            "how many files the server's process has open, and its words (\"Too many open files\")",
        ),
    }
    it.fix(
        Site::Server,
        "Raise the limit (LimitNOFILE), start it again, and look for what it does not close",
        format!(
            "pid=$(ss -ltnpH 'sport = :{}' | grep -o 'pid=[0-9]*' | head -1 | cut -d= -f2); ls \
            /proc/$pid/fd | wc -l; grep 'open files' /proc/$pid/limits",
            view.port()
        ),
    );
}
