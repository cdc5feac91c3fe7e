//! The server's side of kept connections: idle limits, restarts, HTTP/2's farewell.

use clearway_config::survey::Spoke;
use clearway_outcome::{Again, FaultKind as Kind, Signal, Speaker};

use crate::case::View;
use crate::evidence::{ChangeKind, Fact, Finding, Probe, Source};
use crate::judge::wait::signs::{self, Delivery, Light, Spelled};
use crate::opinion::{Opinion, Site};
use crate::view::time;

/// How long servers keep idle connections by default, in milliseconds.
const DEFAULTS: &[(u64, &str)] = &[
    (2_000, "gunicorn"),
    (5_000, "Node.js, uvicorn and Apache"),
    (10_000, "many HAProxy configurations"),
    (20_000, "Tomcat and Puma"),
    (30_000, "Jetty"),
    (60_000, "Tomcat and AWS ALB"),
    (65_000, "many NGINX configurations"),
    (75_000, "NGINX"),
    (120_000, "IIS"),
    (130_000, "Kestrel"),
];

/// The server whose default all these idle times are near to.
fn by_default(view: &View<'_>) -> Option<(u64, &'static str)> {
    let idle = view.group.idle;
    DEFAULTS.iter().copied().find(|(ms, _)| {
        let us = ms * 1_000;
        signs::is_near(idle.min, us, 6, 300_000) && signs::is_near(idle.max, us, 6, 300_000)
    })
}

/// What came of a connection that was kept on purpose, that nobody closed, and that was used again: after how
/// long, in microseconds.
pub(super) fn used_again(view: &View<'_>) -> Option<(u64, Again)> {
    view.findings().find_map(|(_, found)| {
        if let Finding::Keep {
            watched_ms,
            again: Some(again),
            ..
        } = found
        {
            Some((watched_ms * 1_000, *again))
        } else {
            None
        }
    })
}

/// Shorter than this, no server gives up an idle connection.
const TOO_SOON_US: u64 = 200_000;

/// Facts that all ends of a kept connection share; `false` when it cannot have been one.
pub(super) fn weigh_reuse(view: &View<'_>, it: &mut Opinion) -> bool {
    let group = view.group;
    if signs::is_all_fresh(view) || signs::keeps_none(view) {
        it.rule_out();
        return false;
    }
    if group.reused() > 0 && group.fresh == 0 {
        it.fair(view.symptom(format!(
            "all {} failed on kept connections that had lain idle for {}",
            group.reused(),
            signs::between(group.idle.min, group.idle.max)
        )));
    } else if group.reused() > 0 {
        it.against(view.symptom(format!(
            "{} of {} failed on fresh connections",
            group.fresh,
            group.fresh + group.reused()
        )));
    } else {
        it.hint(view.seen());
        it.missing("whether the connections were fresh or kept, and how long they had lain idle");
        weigh_unknown_reuse(view, it);
        if signs::was_sent_again(view) {
            it.strongly_against(view.symptom(
                "NGINX sends such requests again on a fresh connection when a kept one fails, and that failed, too",
            ));
        }
    }
    if signs::ends_again(view) {
        it.strongly_against(
            view.probed("the same request ends in the same way on a fresh connection"),
        );
    }
    if signs::was_worked_on(view) {
        it.strongly_against(view.symptom(format!(
            "it ended after {}: one that was over already ends at once",
            time(group.waited.min)
        )));
    } else if group.waited.count > 0 && group.waited.max < 100_000 {
        it.hint(view.symptom("it ended at once, within a round trip"));
    }
    if signs::delivery(view) == Delivery::Unacknowledged {
        it.hint(view.kernel("the server's host did not take the request any more"));
    }
    true
}

/// What a log shows that does not tell kept connections from fresh ones.
pub(super) fn weigh_unknown_reuse(view: &View<'_>, it: &mut Opinion) {
    if signs::has_never_answered(view) {
        // A log may leave out what went well.
        it.against(
            view.symptom(
                "the log has no request that it answered: there was no connection to keep",
            ),
        );
    }
    if let Some(path) = signs::doomed_path(view) {
        it.against(view.symptom(format!(
            "all were for {path}, which never went well, while others did"
        )));
    }
}

/// Whether the same requests went well on fresh connections.
pub(super) fn weigh_saved(view: &View<'_>, it: &mut Opinion) {
    let group = view.group;
    if group.saved > 0 && group.saved == group.count {
        it.fair(view.symptom(format!(
            "all {} requests went well when they were sent again",
            group.saved
        )));
    } else if group.saved > 0 {
        it.hint(view.symptom(format!(
            "{} of {} requests went well when they were sent again",
            group.saved, group.count
        )));
    }
    match signs::light_reply(view) {
        Light::Quick(at) | Light::Late(at) => {
            it.hint(view.probed(format!("a fresh connection is answered after {}", time(at))));
        }
        Light::Broken(kind) => it.strongly_against(view.probed(format!(
            "a request on a fresh connection fails too ({})",
            kind.code()
        ))),
        Light::Silent(_) | Light::NotAsked => {}
    }
}

pub(in crate::judge) fn keepalive_race(view: &View<'_>, it: &mut Opinion) {
    if !weigh_reuse(view, it) {
        return;
    }
    it.wants(Probe::Keep);
    it.wants(Probe::Request(signs::light(view)));
    weigh_saved(view, it);
    let group = view.group;
    let on_fresh = [Kind::ServerClosedNoResponse, Kind::ServerResetNoResponse];
    let fresh_fail = view.other(&on_fresh).filter(|other| other.fresh > 0);
    if let Some(other) = fresh_fail {
        it.against(view.symptom(format!(
            "{} fresh connections ended without an answer too",
            other.count
        )));
    }
    if group.reused() >= 3 && group.uses.min >= 10 && group.uses.is_constant(3, 1) {
        it.against(view.symptom("all had carried equally many requests"));
    }
    let gone = view.lately(&[ChangeKind::ServerLeft, ChangeKind::ServerDown]);
    if let Some(change) = gone.last() {
        it.against(Fact::new(Source::Change, change.words.clone()));
    }
    if group.reused() > 0 {
        weigh_idle(view, it, fresh_fail.is_none());
    }
    let others = group
        .methods
        .iter()
        .all(|(m, _)| matches!(m, "POST" | "PATCH"));
    if group.speaker == Speaker::Nginx && !group.methods.is_empty() && others {
        it.hint(view.symptom("only methods fail that NGINX does not send again by itself"));
    }
    let keeps = view
        .keeps_ms()
        .or_else(|| by_default(view).map(|(ms, _)| ms));
    remedy(view, it, keeps);
}

/// Whether the idle times are those after which the server closes.
fn weigh_idle(view: &View<'_>, it: &mut Opinion, is_alone: bool) {
    let idle = view.group.idle;
    if idle.max < TOO_SOON_US {
        it.strongly_against(view.symptom(format!(
            "they had lain idle for {} only, and no server closes a connection so soon",
            time(idle.max)
        )));
        return;
    }
    if let Some(keeps) = view.keeps_ms() {
        let us = keeps * 1_000;
        let near = |idle| signs::is_near(idle, us, 10, 300_000);
        if near(idle.min) && near(idle.max) {
            let fact = view.probed(format!(
                "the server closes idle connections after {}, and these had been idle for {}",
                time(us),
                signs::between(idle.min, idle.max)
            ));
            if is_alone && is_sure_to_race(view, us) {
                it.proof(fact);
            } else {
                it.strong(fact);
            }
        } else if idle.max + 500_000 < us {
            it.strongly_against(view.probed(format!(
                "the server closes idle connections after {} only",
                time(us)
            )));
        } else {
            it.hint(view.probed(format!(
                "the server closes idle connections after {}",
                time(us)
            )));
        }
        return;
    }
    match used_again(view) {
        Some((watched, Again::Answered)) if watched > idle.max + 300_000 => {
            return it.strongly_against(view.probed(format!(
                "a connection that was idle for {} still works, and these had been idle for {}",
                time(watched),
                time(idle.max)
            )));
        }
        Some((watched, Again::Ended)) if watched < 2 * idle.max.max(1_000_000) => {
            it.strong(view.probed(format!(
                "a connection kept on purpose was dead when it was used again after {}",
                time(watched)
            )));
            it.missing("who gave it up: no end of it was seen here while it was idle");
        }
        Some(_) => {}
        None => it.missing("after how long the server closes idle connections"),
    }
    if let Some((_, who)) = by_default(view) {
        let fact = view.symptom(format!(
            "{} is how long {who} keep an idle connection by default",
            time(idle.mean())
        ));
        if view.group.reused() >= 2 {
            it.strong(fact);
        } else {
            it.fair(fact);
        }
    } else if view.group.reused() >= 3 && idle.is_constant(6, 300_000) {
        it.fair(view.symptom(format!(
            "all had lain idle equally long, for {}",
            time(idle.mean())
        )));
    } else if view.group.reused() >= 3 && idle.max > idle.min * 2 {
        it.against(view.symptom("they had lain idle for very different times"));
    }
}

/// Whether connections that ended about when the server closes idle ones can have ended for no other reason.
fn is_sure_to_race(view: &View<'_>, keeps_us: u64) -> bool {
    /// Some boxes reset connections when they forget them, but none so soon.
    const TOO_SOON_FOR_BOXES_US: u64 = 200_000_000;
    const RESTARTS: &[ChangeKind] = &[
        ChangeKind::ServerDown,
        ChangeKind::ServerUp,
        ChangeKind::ServerLeft,
        ChangeKind::ServerJoined,
        ChangeKind::NameChanged,
    ];
    const AWAY: &[Kind] = &[
        Kind::ConnectRefused,
        Kind::ConnectTimeout,
        Kind::ConnectUnreachable,
        Kind::ConnectReset,
    ];
    let group = view.group;
    let is_just_then = [group.idle.min, group.idle.max]
        .iter()
        .all(|idle| signs::is_near(*idle, keeps_us, 5, 150_000));
    let is_used_up = group.uses.min >= 10 && group.uses.is_constant(3, 1);
    let stayed = view.lately(RESTARTS).next().is_none() && view.other(AWAY).is_none();
    view.is(&[Kind::ReusedClosed, Kind::ReusedReset])
        && signs::is_all_reused(view)
        && group.reused() >= 3
        && is_just_then
        && !is_used_up
        && stayed
        && keeps_us < TOO_SOON_FOR_BOXES_US
        && !signs::was_worked_on(view)
        && signs::delivery(view) != Delivery::Taken
}

/// Closes idle connections here before the server does.
fn remedy(view: &View<'_>, it: &mut Opinion, keeps: Option<u64>) {
    // Times that differ say nothing of a limit.
    let idle = view.group.idle;
    let common = (idle.count > 0 && idle.is_constant(6, 300_000)).then_some(idle.min / 1_000);
    let ms = keeps.or(common).filter(|ms| *ms > 0);
    let told = ms.map_or_else(|| "its own limit".to_owned(), |ms| time(ms * 1_000));
    it.say(format!(
        "{} closes kept connections after {told} of idleness, and sometimes just when the next request is on \
         its way.",
        view.address()
    ));
    let sooner = match ms {
        Some(ms) if ms >= 2_000 => signs::written(ms / 1_000 * 1_000 * 4 / 5 / 1_000 * 1_000),
        Some(ms) => signs::written((ms / 2).max(100)),
        None => "4s".to_owned(),
    };
    let name = signs::backend_name(view);
    let setting = view
        .backend()
        .and_then(|backend| backend.keepalive_idle.as_ref());
    let line = Spelled {
        clearway: &format!("backend.{name}.keepalive.idle_timeout = \"{sooner}\""),
        nginx: &format!("keepalive_timeout {sooner};"),
        haproxy: &format!("server NAME ADDRESS pool-purge-delay {sooner}"),
        envoy: &format!("common_http_protocol_options.idle_timeout: {sooner}"),
        alb: "",
    };
    let words = "give up idle connections before the server does";
    line.fix(view, it, signs::origin_of(setting), words);
    it.fix(
        Site::Server,
        "Or let the server keep idle connections for longer than the balancer does",
        "Node.js: server.keepAliveTimeout = 65000, headersTimeout = 66000; gunicorn --keep-alive \
        75; uvicorn --timeout-keep-alive 75; Apache: KeepAliveTimeout 75",
    );
}

/// All that were kept are dead together, and those made since live on; whether it is so.
fn weigh_all_at_once(view: &View<'_>, it: &mut Opinion) -> bool {
    let group = view.group;
    let since = view.case.successes.since_failure;
    let is_together = group.reused() >= 2 && group.span_us() < 2_000_000 && since > 0;
    if is_together {
        it.fair(view.symptom(format!(
            "{} kept connections were dead within {}, and since then {since} requests went well",
            group.reused(),
            time(group.span_us())
        )));
    }
    if let Some((watched, Again::Answered)) = used_again(view)
        && watched > group.idle.max
        && group.reused() > 0
    {
        it.fair(view.probed(format!(
            "a connection that is made now still works after {} of idleness, so it was not for that",
            time(watched)
        )));
    }
    is_together
}

pub(in crate::judge) fn stale_pool_after_reboot(view: &View<'_>, it: &mut Opinion) {
    const WAS_AWAY: &[ChangeKind] = &[
        ChangeKind::ServerDown,
        ChangeKind::ServerUp,
        ChangeKind::NameChanged,
    ];
    let group = view.group;
    if signs::is_all_fresh(view) || signs::keeps_none(view) {
        return it.rule_out();
    }
    if signs::is_all_reused(view) {
        it.hint(view.symptom(format!("all {} failed on kept connections", group.reused())));
    } else if group.reused() == 0 {
        it.missing("whether the connections were kept from before");
    }
    if signs::delivery(view) == Delivery::Taken {
        it.against(view.kernel("the server's host acknowledged the requests"));
    }
    let is_together = weigh_all_at_once(view, it);
    let backend = view.backend();
    let is_checked = backend.is_some_and(|backend| backend.check.is_some());
    if let Some(change) = view.lately(WAS_AWAY).last() {
        it.strong(Fact::new(Source::Change, change.words.clone()));
    } else if is_together && !is_checked {
        it.missing("whether the server was away shortly before: it has no checks");
    } else if group.speaker == Speaker::Clearway {
        it.against(view.symptom("the server was not away lately"));
    }
    weigh_restart(view, it);
    if group.reused() >= 3 && group.idle.max > group.idle.min * 2 && group.span_us() < 60_000_000 {
        it.fair(view.symptom(format!(
            "{} of them, idle for {}, failed within {}",
            group.reused(),
            signs::between(group.idle.min, group.idle.max),
            time(group.span_us())
        )));
    } else if group.span_us() > 600_000_000 {
        it.against(view.symptom(format!(
            "it goes on for {} minutes, and a pool is clean after one failure of each",
            group.span_us() / 60_000_000
        )));
    }
    weigh_saved(view, it);
    it.say(format!(
        "{} was started anew or moved, and the connections kept from before are dead.",
        view.address()
    ));
    let name = signs::backend_name(view);
    let setting = view
        .backend()
        .and_then(|backend| backend.keepalive_idle.as_ref());
    Spelled {
        clearway: &format!("backend.{name}.keepalive.idle_timeout = \"10s\""),
        nginx: "keepalive_timeout 10s;",
        haproxy: "server NAME ADDRESS pool-purge-delay 5s on-marked-down shutdown-sessions",
        envoy: "common_http_protocol_options.idle_timeout: 10s; \
        close_connections_on_host_health_failure: true",
        alb: "",
    }
    .fix(
        view,
        it,
        signs::origin_of(setting),
        "keep idle connections for a shorter time",
    );
}

/// Whether the server could not be reached for a while, or its process is younger than the connections.
fn weigh_restart(view: &View<'_>, it: &mut Opinion) {
    let group = view.group;
    let away = [
        Kind::ConnectRefused,
        Kind::ConnectTimeout,
        Kind::ConnectUnreachable,
    ];
    if let Some(other) = view.other(&away)
        && other.first_us <= group.last_us
    {
        it.fair(view.symptom(format!(
            "{} connections could not be made at that time",
            other.count
        )));
    }
    let process = view.host().and_then(|host| host.process.as_ref());
    if let Some(process) = process.filter(|_| group.age.count > 0)
        && process.age_s * 1_000_000 < group.age.min
    {
        it.strong(view.kernel(format!(
            "its process {} ({}) is {} s old, younger than the connections were",
            process.pid, process.name, process.age_s
        )));
    }
}

pub(in crate::judge) fn h2_goaway_race(view: &View<'_>, it: &mut Opinion) {
    let group = view.group;
    let goaway = match group.signal {
        Some(Signal::H2Goaway { code, last_stream }) => Some((code, last_stream)),
        Some(Signal::H2Reset(_) | Signal::TlsAlert(_)) | None => None,
    };
    let is_goaway = view.is(&[Kind::ServerGoaway]);
    if !is_goaway && goaway.is_none() {
        let backend = view.configured_backend();
        let is_http2 = backend.is_none_or(|backend| backend.speaks.value == Spoke::Http2);
        if group.speaker == Speaker::Clearway || !is_http2 {
            return it.against(view.symptom("the server sent no GOAWAY"));
        }
        it.missing("whether the server sent GOAWAY");
        if backend.is_some() {
            it.fair(view.symptom("the configuration speaks HTTP/2 with it"));
        }
    } else {
        it.fair(view.seen());
    }
    match goaway {
        Some((0, last_stream)) => it.fair(view.symptom(format!(
            "GOAWAY says NO_ERROR, and that stream {last_stream} was the last that it worked on"
        ))),
        Some((code, _)) => it.strongly_against(view.symptom(format!(
            "GOAWAY gives an error: {}",
            Signal::H2Goaway { code, last_stream: 0 }.name().unwrap_or("unknown")
        ))),
        None => it.missing("the error code of the GOAWAY"),
    }
    if group.reused() >= 2 && group.uses.min >= 10 && group.uses.is_constant(3, 2) {
        it.fair(view.symptom(format!(
            "each connection had carried {} requests",
            group.uses.mean()
        )));
    } else if group.reused() >= 2 && group.age.min >= 10_000_000 && group.age.is_constant(5, 0) {
        it.fair(view.symptom(format!(
            "each connection was {} old",
            time(group.age.mean())
        )));
    }
    let leaving = [
        ChangeKind::ServerLeft,
        ChangeKind::ServerDown,
        ChangeKind::NameChanged,
    ];
    let mut changes = view.case.changes.iter().rev();
    if let Some(change) = changes.find(|change| leaving.contains(&change.kind)) {
        it.against(Fact::new(Source::Change, change.words.clone()));
    }
    it.say(format!(
        "{} ended its HTTP/2 connection, as servers do now and then, while requests were on their \
        way to it.",
        view.address()
    ));
    let name = signs::backend_name(view);
    Spelled {
        clearway: &format!("backend.{name}.keepalive.max_age = \"5m\""),
        nginx: "grpc_next_upstream error non_idempotent;",
        haproxy: "retry-on conn-failure empty-response",
        envoy: "retry_policy.retry_on: refused-stream,reset-before-request",
        alb: "",
    }
    .fix(
        view,
        it,
        None,
        "renew connections before the server does, and send again what it did not work on",
    );
    it.fix(
        Site::Server,
        "Let the server end connections later, and say GOAWAY well before it closes them",
        "NGINX: keepalive_requests 100000; gRPC: MAX_CONNECTION_AGE_GRACE",
    );
}
