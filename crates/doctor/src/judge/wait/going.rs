//! Servers that are taken away, workers that are replaced, and what balancers do about it.

use clearway_outcome::{FaultKind as Kind, Signal, Speaker};

use super::RETRIED;
use super::signs::{self, Delivery, Spelled};
use crate::case::View;
use crate::evidence::{Change, ChangeKind, Fact, Source};
use crate::opinion::{Opinion, Site};
use crate::view::time;

/// What fails while a server goes: connections in flight, then new ones.
const IN_FLIGHT: &[Kind] = &[
    Kind::ServerClosedNoResponse,
    Kind::ServerResetNoResponse,
    Kind::ReusedClosed,
    Kind::ReusedReset,
    Kind::ServerClosedWhileSending,
    Kind::ServerResetWhileSending,
    Kind::ResponseBodyShort,
    Kind::ResponseBodyReset,
];
/// New connections to a server that is gone.
const GONE: &[Kind] = &[
    Kind::ConnectRefused,
    Kind::ConnectTimeout,
    Kind::ConnectUnreachable,
];

/// What ALB writes behind `Lambda` when a function failed.
const FUNCTION_REASONS: &[&str] = &[
    "AccessDenied",
    "BadRequest",
    "ConnectionError",
    "ConnectionTimeout",
    "EC2AccessDeniedException",
    "EC2ThrottledException",
    "EC2UnexpectedException",
    "ENILimitReachedException",
    "InvalidResponse",
    "InvalidRuntimeException",
    "InvalidSecurityGroupIDException",
    "InvalidSubnetIDException",
    "InvalidZipFileException",
    "KMSAccessDeniedException",
    "KMSDisabledException",
    "KMSInvalidStateException",
    "KMSNotFoundException",
    "RequestTooLarge",
    "ResourceNotFound",
    "ResponseTooLarge",
    "ServiceException",
    "SubnetIPAddressLimitReachedException",
    "Throttling",
    "Unhandled",
];

fn told(change: &Change) -> Fact {
    Fact::new(Source::Change, change.words.clone())
}

/// Whether a change is about this server.
fn names(view: &View<'_>, change: &Change) -> bool {
    let (address, server) = (view.address(), view.case.subject.server.as_str());
    let words = change.words.split_whitespace();
    let mut words = words.map(|word| word.trim_matches([',', ';', '.', ':', '(', ')', '"']));
    words.any(|word| !word.is_empty() && (word == address || word == server))
}

/// Whether a change came more than a minute before the first failure.
fn is_long_before(view: &View<'_>, change: &Change) -> bool {
    let first = view.group.first_us;
    first.is_some_and(|first| first - change.at_us > 60_000_000)
}

pub(in crate::judge) fn rolling_deploy(view: &View<'_>, it: &mut Opinion) {
    const TAKEN_AWAY: &[ChangeKind] = &[ChangeKind::ServerLeft, ChangeKind::NameChanged];
    let first = view.lately(TAKEN_AWAY).next();
    let its_own = view.lately(TAKEN_AWAY).find(|change| names(view, change));
    match (its_own, first) {
        // What a server that goes breaks, breaks within seconds.
        (Some(change), _) if is_long_before(view, change) => it.hint(told(change)),
        (Some(change), _) => {
            it.strong(told(change));
            it.hint(view.seen());
        }
        (None, Some(change)) if is_long_before(view, change) => it.note(told(change)),
        (None, Some(change)) => {
            it.fair(told(change));
            it.hint(view.seen());
        }
        (None, None) if view.group.speaker == Speaker::Clearway => {
            it.against(view.symptom("no server was added or taken out at that time"));
        }
        (None, None) => it.missing("whether the server was replaced at that time"),
    }
    if view.is(IN_FLIGHT) && view.other(GONE).is_some() {
        it.fair(view.symptom("first requests under way broke, then connections failed"));
    } else if view.is(GONE) && view.other(IN_FLIGHT).is_some() {
        it.hint(view.symptom("requests under way broke besides"));
    }
    let backdrop = &view.case.backdrop;
    if backdrop.servers >= 2 && backdrop.failing == 1 {
        it.hint(view.symptom("the other servers of the backend are well"));
    }
    if view.group.span_us() > 600_000_000 {
        it.against(view.symptom(format!(
            "it has gone on for {} minutes",
            view.group.span_us() / 60_000_000
        )));
    }
    it.say(format!(
        "{} was taken away while requests were still sent to it.",
        view.address()
    ));
    it.fix(
        Site::Server,
        "Let the old one finish: fail its readiness first, wait until the balancers know, then end it",
        "lifecycle.preStop: sleep 15; terminationGracePeriodSeconds: 60; \
        strategy.rollingUpdate.maxUnavailable: 0",
    );
}

pub(in crate::judge) fn deregistration_delay_elapsed(view: &View<'_>, it: &mut Opinion) {
    /// What ALB waits by default, in microseconds.
    const ALB_US: u64 = 300_000_000;
    let lasted = view.group.elapsed;
    let is_ours = view.is(&[Kind::ShuttingDown]);
    if lasted.count > 0 && lasted.max < 10_000_000 && !is_ours {
        return it.strongly_against(
            view.symptom(format!("the requests had lasted {} only", time(lasted.max))),
        );
    }
    if is_ours {
        it.fair(view.seen());
        it.hint(view.symptom("the balancer itself ended them"));
    }
    let mut left = view
        .case
        .changes
        .iter()
        .rev()
        .filter(|c| c.kind == ChangeKind::ServerLeft);
    let first = view.group.first_us;
    let before = left.find(|change| {
        first.is_some_and(|first| change.at_us < first) && (!is_ours || names(view, change))
    });
    match (before, first) {
        (Some(change), Some(first)) => {
            let after = u64::try_from(first - change.at_us).unwrap_or(0);
            it.fair(told(change));
            if is_ours {
                it.strong(view.symptom(format!(
                    "they were cut {} after it had left, when its time to finish was over",
                    time(after)
                )));
                it.say(format!(
                    "{} was taken out of the configuration, and what still ran on it was cut {} later, when the time                      to drain was over.",
                    view.address(),
                    time(after)
                ));
            } else if signs::is_near(after, ALB_US, 2, 0) || signs::is_near(after, 30_000_000, 5, 0)
            {
                it.strong(view.symptom(format!(
                    "they were cut {} after the server left, as long as a drain lasts",
                    time(after)
                )));
            }
        }
        _ if signs::language(view) == Speaker::Alb => {
            it.hint(view.seen());
            it.missing("whether the target was deregistered shortly before");
        }
        _ => it.against(view.symptom("no server was taken out before")),
    }
    Spelled {
        clearway: "process.drain = \"2m\"",
        nginx: "worker_shutdown_timeout 2m;",
        haproxy: "hard-stop-after 2m",
        envoy: "--drain-time-s 600",
        alb: "deregistration_delay.timeout_seconds=900",
    }
    .fix(
        view,
        it,
        None,
        "let servers that leave finish what they work on",
    );
}

/// Connections that were idle for less than this were in use all the time, in microseconds.
const BUSY_US: u64 = 200_000;

pub(in crate::judge) fn backend_graceful_recycle(view: &View<'_>, it: &mut Opinion) {
    let group = view.group;
    it.hint(view.seen());
    if view.is(&[Kind::ServerResetStream]) {
        // The connection goes on.
        return it.rule_out();
    }
    if signs::is_all_fresh(view) {
        return it.strongly_against(
            view.symptom("the connections were fresh: they had carried nothing and were not old"),
        );
    }
    weigh_other_ends(view, it);
    if let Some(path) = signs::doomed_path(view) {
        it.against(view.symptom(format!(
            "all were for {path}, which never went well, while others did"
        )));
    }
    let is_busy = group.idle.count > 0 && group.idle.max < BUSY_US;
    if is_busy {
        it.fair(view.symptom(format!(
            "the connections had lain idle for {} only, so it was not for their idleness",
            time(group.idle.max)
        )));
    }
    weigh_uses_and_age(view, it, is_busy);
    if group.paths.len() >= 3 {
        it.hint(view.symptom("any path may meet it"));
    }
    let well = view.case.successes.count;
    if well >= 1_000 * group.count.max(1) {
        it.hint(view.symptom(format!("it is rare: {} in {well}", group.count)));
    }
    it.fix(
        Site::Server,
        "Let the program say \"Connection: close\" in its last answer, and recycle workers at \
        different times",
        "gunicorn --max-requests 1000 --max-requests-jitter 200",
    );
}

/// What ends connections otherwise than a worker that is replaced.
fn weigh_other_ends(view: &View<'_>, it: &mut Opinion) {
    let group = view.group;
    if signs::was_worked_on(view) {
        it.strongly_against(view.symptom(format!(
            "it took {}: a connection that is ended between requests fails at once",
            time(group.waited.min)
        )));
    }
    if let Some(signal @ Signal::H2Goaway { .. }) = group.signal {
        it.against(view.symptom(format!("the server had said so: {signal}")));
    }
    if signs::delivery(view) == Delivery::Unacknowledged && view.is(&[Kind::ReusedReset]) {
        it.against(view.kernel("nobody took the requests: the connections were dead before"));
    }
    let on_fresh = [Kind::ServerClosedNoResponse, Kind::ServerResetNoResponse];
    if let Some(other) = view.other(&on_fresh) {
        it.against(view.symptom(format!(
            "{} fresh connections ended without an answer too",
            other.count
        )));
    }
    if signs::ends_again(view) {
        it.strongly_against(
            view.probed("the same request ends in the same way on a fresh connection"),
        );
    }
}

/// Whether the connections had carried equally much, or were equally old.
fn weigh_uses_and_age(view: &View<'_>, it: &mut Opinion, is_busy: bool) {
    let group = view.group;
    if group.reused() == 0 {
        it.missing("how many requests the connections had carried");
    } else if group.reused() >= 2 && group.uses.min < 10 && group.uses.is_constant(0, 0) && is_busy
    {
        // Few requests that are alike may be chance.
        it.fair(view.symptom(format!(
            "each of the {} connections had carried {} requests",
            group.reused(),
            group.uses.mean()
        )));
    } else if group.reused() >= 3 && group.uses.min >= 10 && group.uses.is_constant(3, 1) {
        it.strong(view.symptom(format!(
            "each of the {} connections had carried {} requests",
            group.reused(),
            group.uses.mean()
        )));
        it.say(format!(
            "{} ends connections after {} requests without saying so in the last answer.",
            view.address(),
            group.uses.mean()
        ));
        limit_uses(view, it);
    } else if group.reused() >= 3 && group.age.min >= 2_000_000 && group.age.is_constant(4, 0) {
        // As old as they were idle says nothing about their age.
        if group.idle.is_constant(6, 0) {
            it.hint(
                view.symptom("the connections were equally old, and had lain idle equally long"),
            );
        } else {
            it.strong(view.symptom(format!(
                "each of the {} connections was {} old",
                group.reused(),
                time(group.age.mean())
            )));
            it.say(format!(
                "{} ends connections when they are {} old, whether they are in use or not.",
                view.address(),
                time(group.age.mean())
            ));
            limit_age(view, it);
        }
    } else if group.reused() >= 3 {
        it.against(view.symptom(format!(
            "the connections had carried {} to {} requests, and were {} to {} old",
            group.uses.min,
            group.uses.max,
            time(group.age.min),
            time(group.age.max)
        )));
    }
}

/// Ends connections here before the server does.
fn limit_uses(view: &View<'_>, it: &mut Opinion) {
    let name = signs::backend_name(view);
    let fewer = (view.group.uses.min.saturating_sub(1)).max(1);
    Spelled {
        clearway: &format!("backend.{name}.keepalive.max_requests = {fewer}"),
        nginx: &format!("keepalive_requests {fewer};"),
        haproxy: &format!("server NAME ADDRESS max-reuse {fewer}"),
        envoy: &format!("common_http_protocol_options.max_requests_per_connection: {fewer}"),
        alb: "",
    }
    .fix(view, it, None, "end connections before the server does");
}

/// Ends connections here before the server does.
fn limit_age(view: &View<'_>, it: &mut Opinion) {
    let name = signs::backend_name(view);
    let sooner = signs::written(view.group.age.min / 1_000 * 4 / 5);
    Spelled {
        clearway: &format!("backend.{name}.keepalive.max_age = \"{sooner}\""),
        nginx: &format!("keepalive_time {sooner};"),
        haproxy: "",
        envoy: &format!("common_http_protocol_options.max_connection_duration: {sooner}"),
        alb: "",
    }
    .fix(view, it, None, "end connections before the server does");
}

pub(in crate::judge) fn alb_lambda_target(view: &View<'_>, it: &mut Opinion) {
    let is_alb = matches!(view.group.speaker, Speaker::Alb);
    let mut words = view.group.words.split(|c: char| !c.is_ascii_alphanumeric());
    let reason = words.find(|word| {
        let of_function = word.strip_prefix("Lambda");
        of_function.is_some_and(|reason| FUNCTION_REASONS.contains(&reason))
    });
    let Some(reason) = reason.filter(|_| is_alb) else {
        // An error with a function behind it always has one of these reasons.
        return it.rule_out();
    };
    it.proof(view.symptom(format!("ALB gives the reason {reason}")));
    it.say(format!(
        "The Lambda function behind the load balancer failed: {reason}."
    ));
    let remedy = match reason {
        "LambdaAccessDenied" => "Allow elasticloadbalancing.amazonaws.com to invoke the function",
        "LambdaThrottling" => "Raise the function's concurrency",
        "LambdaConnectionTimeout" => {
            "Look whether the function's service can be reached, and try again"
        }
        "LambdaInvalidResponse" => "Return statusCode, headers, body and isBase64Encoded",
        "LambdaRequestTooLarge" | "LambdaResponseTooLarge" => {
            "Keep requests and responses of the function below 1 MB"
        }
        "LambdaUnhandled" => "Look into the function's log for the error that it does not handle",
        _ => {
            "Look the reason up in the documentation of ALB's access logs, and into the function's log"
        }
    };
    it.fix(
        Site::Server,
        remedy,
        "aws logs tail /aws/lambda/NAME --since 15m",
    );
}

/// How requests fail on the other servers, where that is otherwise than here: `b2 with connect_refused`.
fn other_ways(view: &View<'_>) -> Vec<String> {
    let others = view.case.backdrop.others.iter();
    others
        .filter(|(_, kind, _)| RETRIED.contains(kind) && !view.group.may_be(&[*kind]))
        .take(4)
        .map(|(server, kind, _)| format!("{server} with {}", kind.code()))
        .collect()
}

pub(in crate::judge) fn retry_storm_exhausted(view: &View<'_>, it: &mut Opinion) {
    let words = &view.group.words;
    let says_so = words.contains("URX") || words.contains("upstream_retry_limit_exceeded");
    let backdrop = &view.case.backdrop;
    let group = view.group;
    let ways = other_ways(view);
    let retries = view.backend().and_then(|backend| backend.retries.as_ref());
    if says_so {
        it.fair(view.symptom("the balancer says that all retries were used up"));
    } else if group.in_vain == group.count && !ways.is_empty() {
        it.fair(view.symptom(format!(
            "each of the {} requests was tried several times, and all of it was in vain",
            group.count
        )));
        it.strong(view.symptom(format!(
            "on other servers they failed in another way: {}",
            ways.join(", ")
        )));
        it.hint(view.symptom("so no single server is to blame for the answers that clients got"));
        it.say(format!(
            "Every attempt of the requests failed, and each server fails in its own way: {} with {}, {}; each has a              verdict of its own.",
            view.address(),
            group.kind().map_or("a fault", |kind| kind.code()),
            ways.join(", ")
        ));
    } else if group.in_vain == 0 && group.speaker == Speaker::Clearway {
        return it.rule_out();
    } else if backdrop.servers >= 2 && backdrop.failing == backdrop.servers {
        it.hint(view.symptom(format!(
            "all {} servers fail, so that retries fail too",
            backdrop.servers
        )));
    } else {
        it.against(view.symptom("nothing says that the retries of a request failed as well"));
    }
    if let Some(retries) = retries.filter(|retries| retries.value > 0) {
        it.note(view.setting(retries, format!("{} is {}", retries.name, retries.value)));
    } else if retries.is_some() {
        return it.rule_out();
    }
    it.missing("what each attempt failed with: the first tells more than the last");
    let name = signs::backend_name(view);
    Spelled {
        clearway: &format!("backend.{name}.retries.max = 1"),
        nginx: "proxy_next_upstream_tries 2;",
        haproxy: "retries 1",
        envoy: "retry_policy.num_retries: 1; circuit_breakers.thresholds.retry_budget",
        alb: "",
    }
    .fix(
        view,
        it,
        signs::origin_of(retries),
        "keep retries few, so that they do not multiply the load, and explain the first failure",
    );
}
