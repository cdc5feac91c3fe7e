//! Judges of causes in the balancer's own configuration.

use std::time::Duration;

use clearway_outcome::{FaultKind as Kind, Remark, Speaker};

use super::Judge;
use crate::case::View;
use crate::cause::Cause;
use crate::evidence::{Change, ChangeKind, Fact, Source, Where};
use crate::group::{Group, Spread};
use crate::opinion::{Opinion, Site};
use crate::view::{is_address, time};

mod ways;

/// What requests fail with for which there is no server; most logs do not tell these apart.
const NOBODY: &[Kind] = &[Kind::NoServers, Kind::AllServersDown];
const WAITED: &[Kind] = &[
    Kind::ResponseTimeout,
    Kind::ResponseHeadStalled,
    Kind::TotalTimeout,
];
const CLIENT_LEFT: &[Kind] = &[Kind::ClientClosed, Kind::ClientReset];

pub(super) const JUDGES: &[Judge] = &[
    Judge::new(
        Cause::NoResolverConfigured,
        &[
            Kind::NameUnresolved,
            Kind::NameTimeout,
            Kind::NoServers,
            Kind::AllServersDown,
        ],
        no_resolver_configured,
    )
    .remarked(&[Remark::NoResolver]),
    Judge::new(
        Cause::ConfigHostNotFoundAtStart,
        &[Kind::NameUnresolved, Kind::NoServers, Kind::AllServersDown],
        host_not_found_at_start,
    )
    .remarked(&[Remark::NameUnknownAtStart]),
    Judge::new(
        Cause::LbReloadFailed,
        &[
            Kind::ConnectRefused,
            Kind::ConnectTimeout,
            Kind::ConnectUnreachable,
            Kind::NoRoute,
            Kind::NoServers,
            Kind::AllServersDown,
            Kind::CertificateUnusable,
            Kind::CertificateExpired,
        ],
        reload_failed,
    ),
    Judge::new(
        Cause::TimeoutOrderInverted,
        &[
            Kind::ResponseTimeout,
            Kind::ResponseHeadStalled,
            Kind::TotalTimeout,
            Kind::ClientClosed,
            Kind::ClientReset,
            Kind::TunnelIdle,
        ],
        timeout_order_inverted,
    ),
    Judge::new(
        Cause::NoServersConfigured,
        NOBODY,
        ways::no_servers_configured,
    )
    .remarked(&[Remark::BackendEmpty]),
    Judge::new(
        Cause::NoRouteMatch,
        &[Kind::NoRoute, Kind::NoServers, Kind::AllServersDown],
        ways::no_route_match,
    ),
    Judge::new(
        Cause::ProxyLoop,
        &[
            Kind::ProxyLoop,
            Kind::ListenerFull,
            Kind::SourceFull,
            Kind::OutOfFiles,
            Kind::HeadersTooLarge,
            Kind::TooManyHeaders,
            Kind::ResponseTimeout,
        ],
        ways::proxy_loop,
    ),
    Judge::new(
        Cause::LbRewriteFailed,
        &[Kind::RewriteInvalid, Kind::PatternSteps],
        rewrite_failed,
    )
    .remarked(&[Remark::RewriteCycle]),
    Judge::new(
        Cause::AlbProtocol464,
        &[
            Kind::VersionUnsupported,
            Kind::Http2OnHttp1Port,
            Kind::ServerSpeaksHttp1,
            Kind::ServerSpeaksHttp2,
            Kind::ServerRefusesHttp2,
            Kind::MethodInvalid,
        ],
        alb_protocol_464,
    )
    .remarked(&[Remark::VersionMismatch]),
];

fn no_resolver_configured(view: &View<'_>, it: &mut Opinion) {
    if matches!(view.case.site, Where::Socket(_) | Where::Unix(_)) {
        return it.rule_out();
    }
    let sure = view.is(&[Kind::NameUnresolved]);
    view.weigh_pitfalls(it, sure);
    if view.says(&["no resolver defined"]) {
        it.proof(view.symptom("the log says that no resolver is defined"));
        it.say("A name has to be looked up while running, and no resolver is configured to ask.");
    } else if view.says(&["could not be resolved"]) {
        // Somebody was asked.
        return it.rule_out();
    } else if view.says(&["no name server"]) {
        it.strong(view.symptom("there was no name server to ask"));
    }
    if sure {
        it.hint(view.seen());
        let quick = view.group.elapsed;
        if quick.count > 0 && quick.max < 1_000 {
            it.hint(view.symptom("it failed at once: nobody was asked"));
        }
    }
    match view.case.survey() {
        Some(survey) if !survey.resolvers.value.is_empty() => {
            let words = format!("{} is asked", survey.resolvers.value.join(", "));
            it.strongly_against(view.setting(&survey.resolvers, words));
        }
        // Those ask the system's resolvers where none is configured.
        Some(survey) if survey.speaker != Speaker::Nginx => {
            it.against(view.symptom("the system's resolvers are asked where none is configured"));
        }
        Some(_) => it.hint(view.symptom("the configuration names no resolver")),
        None => it.missing("whether the configuration names a resolver"),
    }
    match view.dialect() {
        Speaker::Nginx => it.fix(
            Site::Config,
            "Name a resolver in the same block, or in one around it (127.0.0.11 in Docker)",
            "resolver 127.0.0.11 valid=10s;",
        ),
        Speaker::Haproxy => it.fix(
            Site::Config,
            "Name a resolver, and use it behind the server",
            "resolvers dns\n    parse-resolv-conf",
        ),
        Speaker::Clearway => it.fix(
            Site::Config,
            "Name a resolver, or put one into /etc/resolv.conf",
            "[resolver]\nservers = [\"10.0.0.2\"]",
        ),
        Speaker::Envoy | Speaker::Alb => {}
    }
}

fn host_not_found_at_start(view: &View<'_>, it: &mut Opinion) {
    let said = view.says(&["host not found in upstream", "could not resolve address"]);
    let refused = refusal(view);
    let by_name = refused.is_some_and(|change| {
        let words = change.words.to_ascii_lowercase();
        words.contains("host not found") || words.contains("could not resolve")
    });
    if said {
        it.strong(view.seen());
        it.strong(view.symptom("the name did not resolve when the configuration was read"));
    }
    match refused {
        Some(change) if by_name => it.strong(changed(change)),
        Some(_) | None if !said => {
            if view.dialect() == Speaker::Clearway {
                // It starts without the addresses, and looks them up again and again.
                return it.rule_out();
            }
            it.missing("whether the balancer takes its configuration (its own test says so)");
        }
        Some(_) | None => {}
    }
    view.weigh_pitfalls(it, said);
    test_fix(view, it);
}

fn reload_failed(view: &View<'_>, it: &mut Opinion) {
    match refusal(view) {
        Some(change) => {
            it.strong(changed(change));
            it.say(format!(
                "A new configuration was refused, and the one before it is still in force: {}.",
                change.words.trim_end_matches('.')
            ));
        }
        // Clearway tells of every reload.
        None if view.group.speaker == Speaker::Clearway => return it.rule_out(),
        None => it.missing("whether the last reload went through (the configuration test says so)"),
    }
    if view.is(CONNECT) && is_not_in_file(view) {
        it.fair(view.symptom(format!(
            "requests go to {}, which the configuration does not name",
            view.address()
        )));
    }
    if view.is(&[
        Kind::CertificateUnusable,
        Kind::CertificateExpired,
        Kind::NoRoute,
    ]) {
        it.hint(view.seen());
    }
    test_fix(view, it);
}

const CONNECT: &[Kind] = &[
    Kind::ConnectRefused,
    Kind::ConnectTimeout,
    Kind::ConnectUnreachable,
];

/// Whether a server is used that the file does not have, although it gives all servers by address.
fn is_not_in_file(view: &View<'_>) -> bool {
    let Some(survey) = view.case.survey() else {
        return false;
    };
    let mut servers = survey.backends.iter().flat_map(|backend| &backend.servers);
    let all_known = servers.all(|server| server.is_unix || is_address(&server.host));
    let has_some = survey
        .backends
        .iter()
        .any(|backend| !backend.servers.is_empty());
    has_some && all_known && view.server().is_none() && matches!(view.case.site, Where::Socket(_))
}

/// A configuration that was refused after the last one that was taken.
fn refusal<'a>(view: &View<'a>) -> Option<&'a Change> {
    let last = view
        .case
        .changes
        .iter()
        .filter(|change| {
            matches!(
                change.kind,
                ChangeKind::Reloaded | ChangeKind::ReloadRefused | ChangeKind::Started
            )
        })
        .max_by_key(|change| change.at_us)?;
    let is_before = view.group.last_us.is_none_or(|end| last.at_us <= end);
    (last.kind == ChangeKind::ReloadRefused && is_before).then_some(last)
}

fn changed(change: &Change) -> Fact {
    let words = format!(
        "a configuration was refused: {}",
        change.words.trim_end_matches('.')
    );
    Fact::new(Source::Change, words)
}

fn test_fix(view: &View<'_>, it: &mut Opinion) {
    let words = "Mend what the configuration test tells of, and reload";
    match view.dialect() {
        Speaker::Nginx => it.fix(Site::Clearway, words, "nginx -t && nginx -s reload"),
        Speaker::Haproxy => it.fix(
            Site::Clearway,
            words,
            "haproxy -c -f /etc/haproxy/haproxy.cfg && systemctl reload haproxy",
        ),
        Speaker::Clearway => it.fix(
            Site::Clearway,
            words,
            "clearway check -c FILE && clearway ctl reload",
        ),
        Speaker::Envoy => it.fix(
            Site::Clearway,
            words,
            "envoy --mode validate -c FILE; curl -s localhost:9901/stats | grep update_rejected",
        ),
        Speaker::Alb => {}
    }
}

fn timeout_order_inverted(view: &View<'_>, it: &mut Opinion) {
    let waited = view.is(WAITED);
    view.weigh_pitfalls(it, false);
    if view.is(CLIENT_LEFT) {
        if let Some(limit) = response_limit(view)
            && view.group.elapsed.is_constant(3, 100_000)
            && view.group.elapsed.count >= 5
        {
            let left = view.group.elapsed.mean();
            if left < limit && left >= 1_000_000 {
                it.fair(view.symptom(format!(
                    "clients leave after {}, always, and the balancer would wait {}",
                    time(left),
                    time(limit)
                )));
            }
        }
        it.missing("how long the hop before this one waits");
        return;
    }
    if let Some(other) = view
        .other(CLIENT_LEFT)
        .filter(|other| waited && is_race(view, other))
    {
        it.strong(view.symptom(format!(
            "as often as the response is not awaited here, the client is gone after the \
             same {} ({} times): \
             both hops have the same limit",
            time(other.elapsed.mean()),
            other.count
        )));
    }
    if waited {
        inner_hop(view, it);
        own_hop(view, it);
    }
    if let Some((front, client)) = shorter_client(view) {
        it.fair(view.setting(
            client,
            format!(
                "{front} leaves clients {}, less than servers get",
                time(micros(client.value))
            ),
        ));
    }
    it.missing("the limits of the hops before and behind this one");
    if let Some(backend) = view.configured_backend().filter(|_| waited) {
        let (words, to) = view.edit(
            &backend.timeouts.response,
            "a little more than the hop behind it waits",
        );
        it.fix(Site::Config, words, to);
    }
}

/// Whether the server is a front of the same configuration.
pub(super) fn is_own_front(view: &View<'_>) -> bool {
    ways::own_front(view).is_some()
}

/// The hop behind may be a front of the same configuration, whose servers have longer.
fn own_hop(view: &View<'_>, it: &mut Opinion) {
    let Some((front, survey)) = ways::own_front(view).zip(view.case.survey()) else {
        return;
    };
    let Some(limit) = response_limit(view) else {
        return;
    };
    let behind = survey
        .backends
        .iter()
        .filter(|b| front.backends.contains(&b.name));
    for backend in behind {
        let response = &backend.timeouts.response;
        let longer = response.value.is_none_or(|value| micros(value) >= limit);
        if longer {
            let words = match response.value {
                Some(value) => format!("{} behind it gets {}", backend.name, time(micros(value))),
                None => format!("{} behind it has no limit", backend.name),
            };
            it.strong(view.setting(
                response,
                format!(
                    "the server is a front of this balancer, and {words}: longer than {} here",
                    time(limit)
                ),
            ));
            it.fair(view.symptom("so this hop always gives up first"));
            return;
        }
    }
}

/// Whether clients leave just when the balancer gives up, too.
fn is_race(view: &View<'_>, other: &Group) -> bool {
    let ours = view.group.elapsed;
    let theirs = other.elapsed;
    let is_near = |a: Spread, b: Spread| {
        a.mean().abs_diff(b.mean()).saturating_mul(100) <= a.mean().saturating_mul(5)
    };
    ours.count >= 2
        && theirs.count >= 2
        && ours.is_constant(5, 100_000)
        && theirs.is_constant(5, 100_000)
        && is_near(ours, theirs)
}

/// The server is a balancer itself that gives up later than this one.
fn inner_hop(view: &View<'_>, it: &mut Opinion) {
    let limit = view.group.elapsed.mean();
    let gave_up = view.replies().find_map(|(_, reply)| {
        let is_later = limit > 0 && reply.took_us > limit;
        (reply.status == 504 && is_later).then_some(reply)
    });
    if let Some(reply) = gave_up {
        let who = if reply.server.is_empty() {
            "the server"
        } else {
            &reply.server
        };
        it.strong(view.probed(format!(
            "with more time {who} answers 504 itself after {}",
            time(reply.took_us)
        )));
        it.fair(view.probed(format!(
            "so it is a hop that waits longer than the {} here",
            time(limit)
        )));
        it.say(format!(
            "This balancer gives up after {}, before the one behind it does ({}): the outer \
             hop has the shorter \
             limit.",
            time(limit),
            time(reply.took_us)
        ));
    }
}

fn response_limit(view: &View<'_>) -> Option<u64> {
    let backend = view.configured_backend()?;
    backend.timeouts.response.value.map(micros)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// A front that gives clients less time than servers get.
fn shorter_client<'a>(
    view: &View<'a>,
) -> Option<(&'a str, &'a clearway_config::survey::Setting<Duration>)> {
    let backend = view.configured_backend()?;
    let limit = backend.timeouts.response.value?;
    view.case.survey()?.fronts.iter().find_map(|front| {
        let client = front.client_timeout.as_ref()?;
        let leads_here = front.backends.contains(&backend.name);
        (leads_here && client.value < limit).then_some((front.name.as_str(), client))
    })
}

fn rewrite_failed(view: &View<'_>, it: &mut Opinion) {
    let sure = view.is(&[Kind::RewriteInvalid, Kind::PatternSteps]);
    if sure && view.group.speaker == Speaker::Clearway {
        it.proof(view.seen());
    } else if sure {
        it.strong(view.seen());
    }
    if view.says(&["internal redirection cycle", "subrequests cycle"]) {
        it.strong(view.symptom("rewrites lead in a circle"));
    }
    view.weigh_pitfalls(it, sure);
    match view.dialect() {
        Speaker::Nginx => it.fix(
            Site::Config,
            "Let `try_files` and `error_page` end in a page that is served without another rewrite",
            "try_files $uri $uri/ =404;",
        ),
        Speaker::Haproxy => it.fix(
            Site::Config,
            "Leave more room for headers that rules add, or make them shorter",
            "tune.maxrewrite 4096",
        ),
        Speaker::Clearway => it.fix(
            Site::Config,
            "Look at what the rule makes of this request, and shorten or correct it",
            format!(
                "clearway why {}",
                view.group
                    .requests
                    .first()
                    .map_or("REQUEST-ID", String::as_str)
            ),
        ),
        Speaker::Envoy | Speaker::Alb => {}
    }
}

fn alb_protocol_464(view: &View<'_>, it: &mut Opinion) {
    if view.group.speaker != Speaker::Alb {
        return it.rule_out();
    }
    if view
        .group
        .statuses
        .iter()
        .any(|(status, _)| status == "464")
    {
        it.proof(view.symptom("AWS ALB answered 464, which means this and nothing else"));
    } else {
        it.missing("the status that the client got");
    }
    it.say("The protocol of the request does not fit the protocol version of the target group.");
    it.fix(
        Site::Config,
        "Make a target group with the protocol version that clients use (it cannot be \
         changed later)",
        "aws elbv2 create-target-group --protocol-version HTTP1|HTTP2|GRPC …",
    );
}

#[cfg(test)]
mod tests;
