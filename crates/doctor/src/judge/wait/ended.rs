//! The request is away, and the server ends the connection without an answer.

use clearway_outcome::{FaultKind as Kind, Signal, Speaker};

use super::signs::{self, Delivery, Light};
use super::{ENDED, SILENTLY};
use crate::case::View;
use crate::evidence::{ChangeKind, Probe};
use crate::group::Spread;
use crate::opinion::{Opinion, Site};
use crate::view::time;

/// Programs with a watchdog wait at least this long, in microseconds.
const WATCHDOG_US: u64 = 900_000;
/// Bodies end too early for reasons of their own, as a rule.
const BODIES: &[Kind] = &[
    Kind::ResponseBodyShort,
    Kind::ResponseBodyReset,
    Kind::ResponseChunkInvalid,
    Kind::ServerH2Protocol,
    Kind::TunnelServerReset,
];
/// What ends sooner than this was not waited for.
const SOON_US: u64 = 1_000_000;

/// How long all requests had been worked on whose connections ended, kept ones and fresh ones.
fn worked_on(view: &View<'_>) -> Spread {
    let mut out = view.group.waited;
    let others = view.case.groups.iter().filter(|group| {
        group.suspects != view.group.suspects
            && group.is(SILENTLY)
            && group.waited.min >= WATCHDOG_US
    });
    for other in others {
        out.join(&other.waited);
    }
    out
}

pub(in crate::judge) fn worker_timeout_kill(view: &View<'_>, it: &mut Opinion) {
    let waited = worked_on(view);
    it.hint(view.seen());
    if waited.count == 0 {
        return it.missing("how long the requests had been waited for");
    }
    if waited.max < WATCHDOG_US {
        return it.strongly_against(view.symptom(format!(
            "it ended after {}, sooner than any watchdog acts",
            time(waited.max)
        )));
    }
    let limit = signs::limit_us(view);
    if limit.is_some_and(|limit| waited.mean() + 100_000 >= limit) {
        return it.strongly_against(view.symptom("it lasted as long as the balancer's own limit"));
    }
    let is_below = limit.is_none_or(|limit| waited.max + SOON_US <= limit);
    let is_constant = waited.count >= 2 && waited.is_constant(5, 300_000);
    let round = signs::round_seconds(&waited);
    match round {
        Some(seconds) if is_constant => it.strong(view.symptom(format!(
            "{} connections ended {} after the request, which is the limit of {seconds} s of a \
            watchdog",
            waited.count,
            signs::between(waited.min, waited.max)
        ))),
        Some(seconds) => it.fair(view.symptom(format!(
            "it ended {} after the request, close to a round {seconds} s",
            time(waited.mean())
        ))),
        None if is_constant && is_below => {
            it.fair(view.symptom(format!(
                "all {} ended {} after the request",
                waited.count,
                signs::between(waited.min, waited.max)
            )));
            if waited.count >= 3 && waited.is_constant(2, 20_000) {
                it.fair(view.symptom("just equally long: whoever ended them looked at the clock"));
            }
        }
        None if waited.count >= 3 => {
            it.strongly_against(view.symptom(format!(
                "it ended after {}: a watchdog would always be as patient",
                signs::between(waited.min, waited.max)
            )));
        }
        None => it.hint(view.symptom(format!("it ended after {}", time(waited.mean())))),
    }
    if view.group.paths.only().is_some() && view.group.count >= 2 {
        it.hint(view.symptom(format!("always for {}", signs::path(view))));
    }
    if let (Some(backend), Some(limit)) = (view.backend(), limit) {
        let setting = &backend.timeouts.response;
        it.note(view.setting(
            setting,
            format!(
                "{} is {}, so it was not the balancer",
                setting.name,
                time(limit)
            ),
        ));
    }
    it.missing("the program's own log: WORKER TIMEOUT, HARAKIRI, \"execution timed out\"");
    let seconds = round.unwrap_or_else(|| waited.mean() / 1_000_000);
    it.say(format!(
        "{} ends requests for {} after {seconds} s without an answer: its own watchdog kills a worker that is \
         busy for so long.",
        view.address(),
        signs::path(view)
    ));
    it.fix(
        Site::Server,
        format!(
            "Make {} faster, or give workers more than {seconds} s (and the balancer more than that)",
            signs::path(view)
        ),
        "gunicorn --timeout 120   # uWSGI: harakiri = 120; PHP-FPM: request_terminate_timeout = \
        120; Puma: worker_timeout 120",
    );
}

pub(in crate::judge) fn app_crash_on_request(view: &View<'_>, it: &mut Opinion) {
    let group = view.group;
    it.hint(view.seen());
    let on_fresh = view.other(&[Kind::ServerClosedNoResponse, Kind::ServerResetNoResponse]);
    // A stream that is reset says nothing of its connection.
    let is_stream = view.is(&[Kind::ServerResetStream]);
    let is_at_once = signs::is_all_reused(view) && !signs::was_worked_on(view) && !is_stream;
    if is_at_once {
        it.wants(Probe::Request(view.ask_again()));
    }
    if signs::ends_again(view) {
        it.fair(view.probed("the same request made on purpose ends in the same way"));
    } else if is_at_once && on_fresh.is_none() {
        it.against(view.symptom("only kept connections fail, and at once"));
        if group.saved == group.count {
            it.against(view.symptom("the same requests went well on fresh connections"));
        }
        if group.reused() >= 2 && group.uses.is_constant(3, 0) {
            it.against(view.symptom(format!(
                "each of the connections had carried {} requests",
                group.uses.mean()
            )));
        }
    } else if signs::is_all_fresh(view) {
        it.hint(view.symptom("on fresh connections"));
    }
    match signs::delivery(view) {
        Delivery::Taken => it.fair(
            view.kernel("the server's host acknowledged the request before the connection ended"),
        ),
        Delivery::Unacknowledged if signs::is_all_reused(view) => {
            it.against(view.kernel("the server's host did not take the request"));
        }
        Delivery::Unacknowledged | Delivery::NotRead | Delivery::Unknown => {}
    }
    weigh_paths_of_crash(view, it);
    weigh_clock_of_crash(view, it);
    if group.signal == Some(Signal::H2Reset(2)) {
        it.fair(view.symptom("the server says INTERNAL_ERROR of the stream"));
    }
    if group.interim > 0 {
        it.against(view.symptom("the server had sent an interim response (1xx) before"));
    }
    let successes = &view.case.successes;
    let is_first = successes.before == 0 && successes.count == successes.since_failure;
    if is_first && successes.since_failure > 0 && group.speaker == Speaker::Clearway {
        it.missing("whether the same requests would fail again: nothing went well before, and all did afterwards");
    }
    weigh_server_of_crash(view, it);
    it.missing("the program's log, core or exit code at that second");
    it.say(format!(
        "{} dies or gives up while it works on {}: the connection ends without an answer.",
        view.address(),
        signs::path(view)
    ));
    it.fix(
        Site::Server,
        format!(
            "Look into the program's log and for a core at the time of the failures, and do not repeat {} on other \
             servers",
            signs::path(view)
        ),
        "journalctl -k --grep segfault; coredumpctl list; kubectl describe pod NAME   # exit code \
        139 or 134",
    );
}

/// Crashes do not look at the clock.
fn weigh_clock_of_crash(view: &View<'_>, it: &mut Opinion) {
    let waited = worked_on(view);
    if waited.count < 2 || waited.min < WATCHDOG_US || !waited.is_constant(5, 300_000) {
        return;
    }
    let words = format!("it always takes {}", signs::between(waited.min, waited.max));
    if signs::round_seconds(&waited).is_some() {
        it.strongly_against(view.symptom(format!("{words}: a crash does not look at the clock")));
    } else {
        it.against(view.symptom(words));
    }
}

fn weigh_paths_of_crash(view: &View<'_>, it: &mut Opinion) {
    let group = view.group;
    let others = view.case.successes.count;
    let meanwhile = signs::went_well_meanwhile(view);
    // Where a connection may have been a kept one, or nobody knows that the server took the request, equal
    // paths may be what most of the traffic is.
    let is_telling = signs::is_all_fresh(view) || signs::delivery(view) == Delivery::Taken;
    if let Some(path) = signs::doomed_path(view) {
        it.fair(view.symptom(format!(
            "all {} were for {path}, which never went well, while others did",
            group.count
        )));
        return;
    }
    match group.paths.only() {
        // Most requests of many sites are for the front page, those that go well, too.
        Some("/") => {}
        Some(path) if group.count >= 2 && meanwhile && is_telling => {
            it.fair(view.symptom(format!(
                "all {} were for {path}, while {others} requests to the same server went well",
                group.count
            )));
        }
        Some(path) if group.count >= 3 => {
            it.hint(view.symptom(format!("all {} were for {path}", group.count)));
        }
        Some(_) => {}
        None if group.paths.len() >= 3 => it.against(view.symptom(format!(
            "{} different paths are concerned",
            group.paths.len()
        ))),
        None => {}
    }
    let is_said = matches!(signs::light_reply(view), Light::Broken(kind) if ENDED.contains(&kind));
    if !meanwhile && signs::would_know_successes(view) && group.count >= 3 && !is_said {
        it.against(view.symptom("no request at all goes well: it is not about one of them"));
    }
}

/// Whether others are served, and what became of the process.
fn weigh_server_of_crash(view: &View<'_>, it: &mut Opinion) {
    it.wants(Probe::Request(signs::light(view)));
    it.wants(Probe::Connect);
    weigh_again(view, it);
    match signs::light_reply(view) {
        Light::Quick(at) => it.hint(view.probed(format!(
            "{} is answered after {}",
            signs::light_path(view),
            time(at)
        ))),
        Light::Broken(Kind::ConnectRefused) => {
            it.fair(view.probed("connections are refused now: the whole program is gone"));
        }
        Light::Broken(kind) if ENDED.contains(&kind) => it.against(view.probed(format!(
            "{} ends in the same way, so it is not about this request",
            signs::light_path(view)
        ))),
        Light::Broken(_) | Light::Late(_) | Light::Silent(_) | Light::NotAsked => {}
    }
    if view.connection().is_some_and(signs::drops_at_once) {
        it.strongly_against(view.probed("connections are dropped before any request is made"));
    }
    if let Some(refused) = view.other(&[Kind::ConnectRefused]) {
        it.fair(view.symptom(format!(
            "{} connections were refused besides, as when the program starts again",
            refused.count
        )));
    }
    if view.lately(&[ChangeKind::ServerLeft]).next().is_some() {
        it.against(view.symptom("the server was taken out at that time"));
    }
    let Some(host) = view.host().filter(|host| host.is_local) else {
        return;
    };
    let crashed = host.kernel_log.iter().find(|line| {
        ["segfault", "general protection", "trap "]
            .iter()
            .any(|word| line.contains(word))
    });
    if let Some(line) = crashed {
        it.strong(view.kernel(format!("the kernel's log says \"{line}\"")));
    }
    if let Some(process) = host.process.as_ref().filter(|process| process.age_s < 60) {
        it.hint(view.kernel(format!(
            "its process {} ({}) is {} s old",
            process.pid, process.name, process.age_s
        )));
    }
}

/// What comes of the same request, where it was made again, and of a larger one.
fn weigh_again(view: &View<'_>, it: &mut Opinion) {
    let is_light_well = matches!(signs::light_reply(view), Light::Quick(_) | Light::Late(_));
    match signs::same_again(view) {
        Some(reply) if reply.is_answered() => it.against(view.probed(format!(
            "the same request is answered with {} on a fresh connection",
            reply.status
        ))),
        Some(_) | None => {}
    }
    let large = view
        .reply(&signs::large(view))
        .and_then(|reply| reply.fault);
    if is_light_well && large.is_some_and(|kind| ENDED.contains(&kind)) {
        it.strongly_against(view.probed(format!(
            "{}, which is well, ends in the same way when its head is large",
            signs::light_path(view)
        )));
    }
}

pub(in crate::judge) fn oom_kill(view: &View<'_>, it: &mut Opinion) {
    let group = view.group;
    it.hint(view.seen());
    if signs::has_never_answered(view) {
        it.against(view.symptom("the log has no request that it answered before"));
    }
    let different = group.paths.len() >= 2 || group.clients.len() >= 2;
    if group.burst >= 3 && different {
        it.fair(view.symptom(format!(
            "{} different requests broke within 20 ms",
            group.burst
        )));
        it.hint(view.symptom("so the whole program ended, not one request"));
    } else if group.burst >= 3 {
        it.hint(view.symptom(format!("{} requests broke within 20 ms", group.burst)));
    } else if group.burst <= 1 && (group.count >= 3 || group.speaker == Speaker::Clearway) {
        it.against(view.symptom(match group.count {
            1 => "one request broke, and no other with it",
            _ => "they broke one at a time",
        }));
    } else if group.burst < 3
        && group.speaker != Speaker::Clearway
        && view.is(BODIES)
        && view.other(&[Kind::ConnectRefused]).is_none()
    {
        it.against(view.symptom("few broke together, and no connection was refused afterwards"));
    }
    if signs::is_all_reused(view) && signs::delivery(view) == Delivery::Unacknowledged {
        it.against(view.symptom("the connections were dead before: nobody took the requests"));
    }
    if signs::is_gone(view) {
        it.fair(view.probed("connections are refused now: the whole program is gone"));
    } else if let Light::Broken(kind) = signs::light_reply(view)
        && ENDED.contains(&kind)
    {
        it.strongly_against(view.probed("the program runs, and ends each request in the same way"));
    } else if let Light::Quick(_) | Light::Late(_) = signs::light_reply(view) {
        it.missing("whether the program that answers now was started a moment ago");
    }
    if let Some(refused) = view.other(&[Kind::ConnectRefused]) {
        it.fair(view.symptom(format!("then {} connections were refused", refused.count)));
    }
    if let Some(path) = signs::doomed_path(view) {
        it.against(view.symptom(format!("all were for {path}, which never went well")));
    } else if group.paths.only().is_some() && group.count >= 3 && group.burst < 3 {
        it.against(view.symptom(format!("all were for {}", signs::path(view))));
    }
    if group.waited.count >= 2 && signs::round_seconds(&group.waited).is_some() {
        it.against(view.symptom("all had lasted equally long"));
    }
    if view
        .lately(&[ChangeKind::ServerLeft, ChangeKind::NameChanged])
        .next()
        .is_some()
    {
        it.against(view.symptom("the server was taken out at that time"));
    }
    it.wants(Probe::Host);
    weigh_memory(view, it);
    it.say(format!(
        "The program behind {} was killed with all that it worked on, most likely because memory \
        ran out.",
        view.address()
    ));
    it.fix(
        Site::Server,
        "Give it more memory, or let it take less (workers, heap, size of uploads)",
        "journalctl -k --grep 'Killed process'; cat /sys/fs/cgroup/PATH/memory.events; kubectl \
        describe pod NAME   # OOMKilled, exit code 137",
    );
}

fn weigh_memory(view: &View<'_>, it: &mut Opinion) {
    let Some(host) = view.host().filter(|host| host.is_local) else {
        return it
            .missing("whether its host killed it for memory (exit code 137, \"Killed process\")");
    };
    let killed = host.kernel_log.iter().find(|line| {
        let line = line.to_ascii_lowercase();
        line.contains("killed process") || line.contains("out of memory")
    });
    if let Some(line) = killed {
        it.strong(view.kernel(format!("the kernel's log says \"{line}\"")));
    }
    match host.process.as_ref().and_then(|process| process.oom_kills) {
        Some(0) if killed.is_none() => {
            it.strongly_against(view.kernel("nothing of its control group was killed for memory"));
        }
        Some(0) | None => {}
        Some(times) => it.strong(view.kernel(format!(
            "{times} processes of its control group were killed for memory"
        ))),
    }
}
