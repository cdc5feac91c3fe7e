//! Judges of causes in the balancer's own limits.

use clearway_config::survey::{ServerSurvey, Setting};
use clearway_outcome::{FaultKind as Kind, Remark, Speaker};

use super::Judge;
use crate::case::View;
use crate::cause::Cause;
use crate::evidence::{Change, ChangeKind, Fact, Source};
use crate::opinion::{Opinion, Site};
use crate::view::{place, time};

mod host;
mod tables;

const SILENT: &[Kind] = &[Kind::ConnectTimeout];
/// What logs say of requests for which there was no server; NGINX also where all are at their limit.
const NOBODY: &[Kind] = &[Kind::AllServersDown, Kind::NoServers];
const CUT: &[Kind] = &[
    Kind::ClientClosed,
    Kind::ClientReset,
    Kind::ResponseBodyShort,
    Kind::ResponseBodyReset,
];

pub(super) const JUDGES: &[Judge] = &[
    Judge::new(
        Cause::EphemeralPorts,
        &[Kind::OutOfPorts],
        tables::ephemeral_ports,
    ),
    Judge::new(Cause::LbFdLimit, &[Kind::OutOfFiles], tables::fd_limit),
    Judge::new(
        Cause::LbWorkerConnections,
        &[Kind::ListenerFull],
        worker_connections,
    ),
    Judge::new(
        Cause::LbFrontendMaxconn,
        &[Kind::ListenerFull],
        frontend_maxconn,
    ),
    Judge::new(
        Cause::QueueTimeout,
        &[Kind::QueueTimeout, Kind::QueueFull],
        queue_timeout,
    ),
    Judge::new(
        Cause::CircuitBreakerOpen,
        &[
            Kind::QueueFull,
            Kind::QueueTimeout,
            Kind::AllServersDown,
            Kind::NoServers,
        ],
        circuit_breaker_open,
    ),
    Judge::new(
        Cause::LbRateLimited,
        &[Kind::SourceFull, Kind::Denied],
        rate_limited,
    )
    .remarked(&[
        Remark::RateLimited,
        Remark::ConnectionsLimited,
        Remark::LimiterFailed,
    ]),
    Judge::new(
        Cause::ConntrackFull,
        &[Kind::ConnectTimeout, Kind::NameTimeout],
        tables::conntrack_full,
    ),
    Judge::new(
        Cause::SnatPortCollision,
        SILENT,
        tables::snat_port_collision,
    ),
    Judge::new(
        Cause::LbOutOfMemory,
        &[
            Kind::OutOfMemory,
            Kind::InternalPanic,
            Kind::ClientReset,
            Kind::ClientClosed,
        ],
        host::out_of_memory,
    )
    .remarked(&[Remark::WorkerDied, Remark::Overloaded]),
    Judge::new(
        Cause::LbDiskFull,
        &[
            Kind::InternalPanic,
            Kind::ResponseBodyShort,
            Kind::ResponseBodyReset,
            Kind::ClientClosed,
            Kind::ClientReset,
        ],
        host::disk_full,
    )
    .remarked(&[Remark::DiskFull]),
    Judge::new(
        Cause::LbTempPermission,
        &[
            Kind::InternalPanic,
            Kind::ResponseBodyShort,
            Kind::ResponseBodyReset,
            Kind::ClientClosed,
            Kind::ClientReset,
        ],
        host::temp_permission,
    )
    .remarked(&[Remark::TempFilesDenied]),
    Judge::new(
        Cause::LbReloadDropped,
        &[
            Kind::ShuttingDown,
            Kind::ClientReset,
            Kind::ClientClosed,
            Kind::TunnelClientReset,
        ],
        reload_dropped,
    )
    .remarked(&[Remark::EndedWithProcess]),
];

// Connections.

fn worker_connections(view: &View<'_>, it: &mut Opinion) {
    if view.group.speaker != Speaker::Nginx {
        return it.rule_out();
    }
    let sure = view.is(&[Kind::ListenerFull]);
    view.weigh_pitfalls(it, sure);
    if sure {
        it.strong(view.seen());
    }
    if view.says(&["worker_connections"]) {
        it.fair(view.symptom("the log says that worker_connections are not enough"));
    }
    if view.group.burst >= 8 && view.group.paths.only().is_some() {
        it.against(view.symptom("many requests for one path came at once, as they do in a loop"));
    }
    it.say("NGINX has used up its worker_connections; a request that is passed on takes two.");
    it.missing("what holds the connections: slow servers, slow clients, or a loop");
    let limit = view
        .case
        .survey()
        .and_then(|survey| survey.connection_limit.as_ref());
    raise(view, it, limit, "events { worker_connections 4096; }");
}

/// Tells how a limit of connections is raised.
fn raise(view: &View<'_>, it: &mut Opinion, limit: Option<&Setting<u64>>, line: &str) {
    match limit {
        Some(limit) => {
            it.note(view.setting(limit, format!("{} is {}", limit.name, limit.value)));
            let (words, _) = view.edit(limit, "");
            let more = limit.value.saturating_mul(4).max(1_024);
            it.fix(Site::Config, words, more.to_string());
        }
        None => it.fix(
            Site::Config,
            "Allow more connections, and as many open files",
            line,
        ),
    }
}

fn frontend_maxconn(view: &View<'_>, it: &mut Opinion) {
    if view.group.speaker == Speaker::Nginx {
        return it.rule_out();
    }
    let sure = view.is(&[Kind::ListenerFull]);
    view.weigh_pitfalls(it, sure);
    if sure {
        it.strong(view.seen());
        it.hint(view.symptom("the balancer itself says that its limit of connections is reached"));
    }
    let survey = view.case.survey();
    let of_front = survey.and_then(|survey| {
        let mut fronts = survey.fronts.iter().filter(|front| front.maxconn.is_some());
        let (first, more) = (fronts.next(), fronts.next());
        first.filter(|_| more.is_none())?.maxconn.as_ref()
    });
    let limit = of_front.or_else(|| survey.and_then(|survey| survey.connection_limit.as_ref()));
    it.say("As many clients are connected as the balancer takes at a time.");
    it.missing("what holds the connections: slow servers, slow clients, or WebSockets");
    let line = match view.dialect() {
        Speaker::Haproxy => "maxconn 20000",
        Speaker::Clearway => "[limits]\nconnections = 20000",
        Speaker::Envoy => "connection_limit, or the overload manager",
        Speaker::Nginx | Speaker::Alb => "",
    };
    raise(view, it, limit, line);
}

fn queue_timeout(view: &View<'_>, it: &mut Opinion) {
    let sure = view.is(&[Kind::QueueTimeout]);
    view.weigh_pitfalls(it, sure);
    let backdrop = &view.case.backdrop;
    let others_are_up = backdrop.down == 0 && backdrop.failing <= 1;
    if sure && others_are_up {
        it.proof(view.seen());
    } else if sure {
        it.strong(view.seen());
        it.hint(view.symptom(format!(
            "{} of {} servers are down, so fewer places are left",
            backdrop.down, backdrop.servers
        )));
    }
    let waited = view.group.queued;
    if view.is(&[Kind::QueueFull]) {
        it.hint(view.seen());
        if waited.count == 0 || waited.max < 100_000 {
            it.against(view.symptom("it did not wait: the queue was full at once"));
        }
    } else if waited.count > 0 && waited.max >= 100_000 {
        it.fair(view.symptom(format!("it waited {} for a place", time(waited.mean()))));
    }
    let limit = maxconn(view);
    let took = view.case.successes.took;
    let mut words = "Requests waited too long for a free place on a server".to_owned();
    if let Some((server, count)) = limit {
        words.push_str(&format!("; {server} takes {count} at a time"));
    }
    if took.count > 0 {
        it.note(view.symptom(format!(
            "requests take {} there on average",
            time(took.mean())
        )));
        words.push_str(&format!(", and each takes {}", time(took.mean())));
    } else {
        it.missing("how long requests take: whether the program is slow or the limit low");
    }
    it.say(format!("{words}."));
    places_fix(view, it);
}

/// How many requests a server may have at a time, if that is limited.
fn maxconn<'a>(view: &View<'a>) -> Option<(&'a str, u64)> {
    let of = |server: &'a ServerSurvey| {
        (server.maxconn > 0).then_some((server.name.as_str(), server.maxconn))
    };
    let own = view.server().and_then(of);
    own.or_else(|| view.configured_backend()?.servers.iter().find_map(of))
}

fn places_fix(view: &View<'_>, it: &mut Opinion) {
    it.fix(
        Site::Server,
        "Find what makes the program slow, or add servers",
        "",
    );
    let server = view
        .server()
        .or_else(|| view.configured_backend()?.servers.first());
    let at = place(server.and_then(|server| server.origin.as_ref()));
    let (words, line) = match view.dialect() {
        Speaker::Haproxy => (
            "raise the limit, if the program can take more",
            "server … maxconn 200",
        ),
        Speaker::Clearway => (
            "raise the limit, if the program can take more",
            "maxconn = 200",
        ),
        Speaker::Nginx => (
            "raise the limit, if the program can take more",
            "server … max_conns=200;",
        ),
        Speaker::Envoy => (
            "raise the thresholds, if the program can take more",
            "circuit_breakers: { thresholds: [{ max_connections: 4096, \
             max_pending_requests: 4096, max_requests: 4096 }] }",
        ),
        Speaker::Alb => return,
    };
    it.fix(Site::Config, format!("{at}{words}"), line);
}

fn circuit_breaker_open(view: &View<'_>, it: &mut Opinion) {
    let by_nginx = view.is(NOBODY);
    if by_nginx && view.group.speaker != Speaker::Nginx {
        return it.rule_out();
    }
    let sure = view.is(&[Kind::QueueFull]);
    view.weigh_pitfalls(it, sure);
    // Envoy has one flag for both, and no limit of time for those that wait.
    let by_envoy = view.group.speaker == Speaker::Envoy
        && view.group.may_be(&[Kind::QueueFull, Kind::QueueTimeout]);
    if view.group.speaker == Speaker::Envoy && !by_envoy {
        // No healthy server is told by another flag.
        return it.rule_out();
    }
    if sure || by_envoy {
        it.strong(view.seen());
    }
    let elapsed = view.group.elapsed;
    if elapsed.count > 0 && elapsed.max < 20_000 {
        it.hint(view.symptom("it was refused at once"));
    } else if elapsed.count > 0 && elapsed.min >= 500_000 {
        it.against(view.symptom(format!("it took {}", time(elapsed.mean()))));
    }
    if by_nginx {
        match maxconn(view) {
            Some((server, count)) => {
                it.fair(view.symptom(format!(
                    "{server} takes {count} requests at a time (max_conns)"
                )));
            }
            None if view.configured_backend().is_some() => return it.rule_out(),
            None => it.missing("whether servers have a limit of requests (max_conns)"),
        }
        if view.case.backdrop.others.is_empty()
            && view.case.groups.len() == 1
            && view.case.successes.count > 0
        {
            it.fair(view.symptom("servers answer others and fail nobody, so none was taken out"));
        } else if view.case.groups.len() > 1 {
            it.against(
                view.symptom(
                    "requests to the servers fail, too, and servers that fail are taken out",
                ),
            );
        }
    }
    it.say("The balancer refused requests by its own limit, without asking a server.");
    places_fix(view, it);
    if view.dialect() == Speaker::Clearway {
        it.fix(
            Site::Config,
            "Or let more requests wait",
            "queue = { size = 4096 }",
        );
    }
}

fn rate_limited(view: &View<'_>, it: &mut Opinion) {
    let by_connections = view.is(&[Kind::SourceFull]);
    view.weigh_pitfalls(it, view.is(&[Kind::SourceFull, Kind::Denied]));
    if by_connections && view.group.speaker == Speaker::Clearway {
        it.proof(view.seen());
    } else if by_connections || view.says(&["limiting requests", "limiting connections"]) {
        it.strong(view.seen());
    } else if view.is(&[Kind::Denied]) {
        it.fair(view.seen());
    }
    let by_status = view
        .group
        .statuses
        .iter()
        .any(|(status, _)| status == "429");
    if by_status {
        it.fair(view.symptom("it answered 429: too many requests"));
    }
    let clients = &view.group.clients;
    match clients.only() {
        Some(client) if view.group.count >= 20 => {
            it.note(view.symptom(format!(
                "all of them came from {client}: one client, or a balancer before this one \
                 that stands for all"
            )));
            it.say(format!("The balancer's own rules refused {client}."));
        }
        Some(client) => it.say(format!("The balancer's own rules refused {client}.")),
        None => it.say("The balancer's own rules refused the clients, without asking a server."),
    }
    let (words, line) = match view.dialect() {
        Speaker::Nginx => (
            "Answer 429 in place of 503, allow bursts, and count the client's own address \
             (`real_ip`)",
            "limit_req_status 429; limit_conn_status 429;",
        ),
        Speaker::Haproxy => (
            "Look at the rule that denies, and count the client's own address behind \
             another balancer",
            "http-request deny deny_status 429 if …",
        ),
        Speaker::Clearway => (
            "Raise the limit, or trust the balancer before this one so that clients keep \
             their own addresses",
            "[limits]\nconnections_per_source = 100",
        ),
        Speaker::Envoy => (
            "Look at the rate limit's descriptors and its service",
            "curl -s localhost:9901/stats | grep ratelimit",
        ),
        Speaker::Alb => (
            "Look at the rules of the web application firewall",
            "aws wafv2 get-sampled-requests …",
        ),
    };
    it.fix(Site::Config, words, line);
}

// Reloads.

/// Failures so close to a reload belong to it, in microseconds.
const NEAR_US: i64 = 5_000_000;

fn reload_dropped(view: &View<'_>, it: &mut Opinion) {
    let left = view.lately(&[ChangeKind::ServerLeft]).next();
    if let Some(change) = left.filter(|_| view.is(&[Kind::ShuttingDown])) {
        it.fair(view.seen());
        // Then the balancer itself goes on.
        it.strongly_against(Fact::new(Source::Change, change.words.clone()));
        return drain_fix(view, it);
    }
    if view.is(&[Kind::ShuttingDown]) {
        if view.group.place.is_empty() {
            it.proof(view.seen());
        } else {
            // A log says nothing of servers that left.
            it.strong(view.seen());
            it.missing("whether the process ended, or a server was taken out");
        }
        it.say("The balancer was shut down, and the time for requests under way was over.");
        return drain_fix(view, it);
    }
    let near =
        view.group
            .first_us
            .zip(view.group.last_us)
            .and_then(|(first, last)| {
                let changes = view.case.changes.iter().filter(|change| {
                    matches!(change.kind, ChangeKind::Reloaded | ChangeKind::Started)
                });
                let mut close = changes.filter(|change: &&Change| {
                    change.at_us >= first - NEAR_US
                        && change.at_us <= last
                        && last - change.at_us <= 2 * NEAR_US
                });
                close.next()
            });
    match near {
        Some(change) => {
            it.fair(view.symptom(format!(
                "they came within seconds of this: {}",
                change.words
            )));
            if view.group.burst >= 3 {
                it.fair(view.symptom(format!("{} at once", view.group.burst)));
            }
            it.say("A reload or restart of the balancer cut requests under way.");
        }
        None if view.group.speaker == Speaker::Clearway => return it.rule_out(),
        None => it.missing("when the balancer was reloaded or restarted"),
    }
    drain_fix(view, it);
}

fn drain_fix(view: &View<'_>, it: &mut Opinion) {
    let (words, line) = match view.dialect() {
        Speaker::Clearway => (
            "Give requests under way more time",
            "[process]\ndrain = \"2m\"",
        ),
        Speaker::Nginx => (
            "Reload in place of restarting, and let old workers finish",
            "worker_shutdown_timeout 2m;",
        ),
        Speaker::Haproxy => (
            "Reload with sockets handed over, and let old processes finish",
            "hard-stop-after 2m   # in global, and `expose-fd listeners`",
        ),
        Speaker::Envoy => (
            "Give requests under way more time",
            "--drain-time-s 120 --parent-shutdown-time-s 150",
        ),
        Speaker::Alb => return,
    };
    it.fix(Site::Config, words, line);
}

#[cfg(test)]
mod tests;
