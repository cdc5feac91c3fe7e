//! Judges of servers that are not used although they might be, or because they are down.

use clearway_outcome::{FaultKind as Kind, Remark, Speaker};

use super::Judge;
use crate::case::View;
use crate::cause::Cause;
use crate::evidence::{Ask, ChangeKind, CheckState, Fact, HostWord, Probe, Reply};
use crate::opinion::{Opinion, Site};
use crate::view::{shell, time};

mod check;
mod eject;
#[cfg(test)]
mod tests;

/// No server of a backend may be used.
const NONE_LEFT: &[Kind] = &[Kind::AllServersDown, Kind::NoServers];
/// What checks alone meet.
const CHECKED: &[Kind] = &[Kind::ProbeStatus, Kind::ProbeBody];
/// A server whose name gave no address.
const NAMELESS: &[Kind] = &[Kind::NameUnresolved, Kind::NameTimeout];
/// A server that cannot be connected to.
const UNREACHED: &[Kind] = &[
    Kind::ConnectRefused,
    Kind::ConnectTimeout,
    Kind::ConnectUnreachable,
    Kind::ConnectReset,
    Kind::UnixMissing,
];

pub(super) const JUDGES: &[Judge] = &[
    Judge::new(
        Cause::AllBackendsDown,
        &[Kind::AllServersDown],
        all_backends_down,
    ),
    Judge::new(
        Cause::HcWrongStatus,
        &[Kind::AllServersDown, Kind::ProbeStatus, Kind::ProbeBody],
        check::hc_wrong_status,
    ),
    Judge::new(
        Cause::HcHostHeader,
        &[Kind::AllServersDown, Kind::ProbeStatus, Kind::ProbeBody],
        check::hc_host_header,
    ),
    Judge::new(
        Cause::HcWrongPortOrProtocol,
        &[
            Kind::AllServersDown,
            Kind::ProbeStatus,
            Kind::ProbeBody,
            Kind::ConnectRefused,
            Kind::ConnectTimeout,
            Kind::ServerSpeaksPlain,
            Kind::ServerSpeaksTls,
            Kind::ServerSpeaksHttp2,
            Kind::ServerSpeaksHttp1,
            Kind::ServerTlsClosed,
            Kind::ServerTlsReset,
            Kind::ServerClosedNoResponse,
            Kind::ServerResetNoResponse,
            Kind::ResponseNotHttp,
        ],
        check::hc_wrong_port_or_protocol,
    ),
    Judge::new(
        Cause::HcTooStrict,
        &[
            Kind::AllServersDown,
            Kind::ConnectTimeout,
            Kind::ServerTlsTimeout,
            Kind::ResponseTimeout,
            Kind::ResponseHeadStalled,
            Kind::TotalTimeout,
        ],
        check::hc_too_strict,
    ),
    Judge::new(
        Cause::HcDependencyCascade,
        &[Kind::AllServersDown, Kind::ProbeStatus, Kind::ProbeBody],
        check::hc_dependency_cascade,
    ),
    Judge::new(
        Cause::PassiveEjection,
        &[
            Kind::AllServersDown,
            Kind::ConnectRefused,
            Kind::ConnectTimeout,
            Kind::ServerClosedNoResponse,
            Kind::ServerResetNoResponse,
            Kind::ResponseTimeout,
        ],
        eject::passive_ejection,
    )
    .remarked(&[Remark::ServerDisabled]),
    Judge::new(
        Cause::FailOpenMasksDown,
        &[
            Kind::ConnectRefused,
            Kind::ConnectTimeout,
            Kind::ConnectUnreachable,
            Kind::ServerClosedNoResponse,
            Kind::ServerResetNoResponse,
            Kind::ResponseTimeout,
            Kind::ProbeStatus,
        ],
        eject::fail_open_masks_down,
    )
    .servers_own(),
];

/// What is known of each server by its checks: name, state.
fn checks<'a>(view: &View<'a>) -> Vec<(&'a str, &'a CheckState)> {
    let case = view.case;
    let mut out: Vec<(&str, &CheckState)> = case
        .backdrop
        .checks
        .iter()
        .map(|(name, state)| (name.as_str(), state))
        .collect();
    if let (true, Some(own)) = (out.is_empty(), &case.check) {
        out.push((view.address(), own));
    }
    out
}

/// Those that are down by their checks; nobody withdrew them.
fn down<'a>(view: &View<'a>) -> Vec<(&'a str, &'a CheckState)> {
    let mut out = checks(view);
    out.retain(|(_, state)| state.is_down && !state.is_withdrawn);
    out
}

/// What a check met, for a reader.
fn met(state: &CheckState) -> String {
    match (state.words.as_str(), state.fault, state.status) {
        ("", Some(Kind::ProbeStatus), status) if status > 0 => {
            format!("the check was answered with status {status}")
        }
        ("", Some(fault), _) => format!("the check failed, as {}", clause(fault.summary())),
        ("", None, _) => "its check passes".to_owned(),
        (words, _, _) => words.to_owned(),
    }
}

/// What is known of servers, which stands in no line of a log.
fn known(view: &View<'_>, words: impl Into<String>) -> Fact {
    view.symptom(words).at("")
}

/// `both servers`, `all 5 servers`.
fn every(count: usize) -> String {
    match count {
        1 => "the only server".to_owned(),
        2 => "both servers".to_owned(),
        many => format!("all {many} servers"),
    }
}

/// The sentence as a clause.
fn clause(sentence: &str) -> String {
    let mut chars = sentence.trim_end_matches('.').chars();
    let first = chars.next().map(|c| c.to_ascii_lowercase());
    first.into_iter().chain(chars).collect()
}

/// The Host of the traffic: as it was asked for, or as it is configured.
fn host_of_traffic(view: &View<'_>) -> String {
    let asked = view.group.hosts.first();
    let is_name = |name: &&str| !name.is_empty() && !name.contains(['$', '%', '*', '~']);
    let set = view.backend().and_then(|backend| backend.host.as_ref());
    let fronts = view
        .case
        .survey()
        .into_iter()
        .flat_map(|survey| &survey.fronts);
    let served = fronts.flat_map(|front| &front.hosts).map(String::as_str);
    let mut names = asked
        .into_iter()
        .chain(set.map(|host| host.value.as_str()))
        .chain(served);
    names.find(is_name).unwrap_or("NAME").to_owned()
}

/// The path that checks ask for; empty = `/`.
fn check_path(view: &View<'_>) -> String {
    let check = view.backend().and_then(|backend| backend.check.as_ref());
    let path = check.map_or("", |check| check.path.value.as_str());
    if path == "/" {
        String::new()
    } else {
        path.to_owned()
    }
}

/// A check made by hand.
fn as_check(view: &View<'_>) -> Ask {
    Ask {
        path: check_path(view),
        host: HostWord::Check,
        ..Ask::default()
    }
}

/// The path of checks, asked for as traffic asks.
fn as_traffic(view: &View<'_>) -> Ask {
    Ask {
        path: check_path(view),
        ..Ask::default()
    }
}

/// What a person would take for an answer of a server that is well.
fn is_well(reply: &Reply) -> bool {
    reply.fault.is_none() && (200..400).contains(&reply.status)
}

/// The path of a request, as it is shown.
fn path_of(ask: &Ask) -> &str {
    if ask.path.is_empty() { "/" } else { &ask.path }
}

/// Requests as traffic makes them that are answered well.
fn good_replies<'a>(view: &View<'a>) -> impl Iterator<Item = (&'a Ask, &'a Reply)> + use<'a> {
    view.replies().filter(|(ask, reply)| {
        let is_usual = matches!(ask.host, HostWord::Configured | HostWord::Name(_))
            && ask.tls.is_none()
            && ask.proxy_header.is_none()
            && ask.http2.is_none();
        is_usual && is_well(reply)
    })
}

/// Where the server is, for commands.
fn url(view: &View<'_>, path: &str) -> String {
    let backend = view.backend();
    let scheme = match backend {
        Some(backend) if backend.tls.is_some() => "https",
        Some(_) | None => "http",
    };
    let first = backend.and_then(|backend| backend.servers.first());
    let address = match view.address() {
        "" => first.map_or_else(|| "SERVER".to_owned(), |server| server.address()),
        address => address.to_owned(),
    };
    shell(&format!("{scheme}://{address}{path}"))
}

/// The backend's name, for a sentence.
fn backend_name<'a>(view: &View<'a>) -> &'a str {
    match view.case.subject.backend.as_str() {
        "" => "the backend",
        name => name,
    }
}

fn all_backends_down(view: &View<'_>, it: &mut Opinion) {
    it.hint(view.seen());
    it.wants(Probe::Connect);
    it.wants(Probe::Request(view.ask_again()));
    let all = checks(view);
    let down = down(view);
    note_checks(view, it, &all);
    let withdrawn = all.iter().filter(|(_, state)| state.is_withdrawn).count();
    if withdrawn > 0 {
        it.note(view.symptom(format!(
            "{withdrawn} of {} servers were taken out on purpose (maintenance or draining)",
            all.len()
        )));
    }
    if all.is_empty() {
        it.missing("what the checks of each server met");
    } else if down.len() + withdrawn == all.len() && !down.is_empty() {
        let verb = if down.len() == 1 { "is" } else { "are" };
        it.fair(known(
            view,
            format!("{} {verb} down by the checks", every(down.len())),
        ));
    } else if all.iter().any(|(_, state)| state.is_ejected) {
        it.against(
            view.symptom("some servers are left out for failed requests, not by their checks"),
        );
    }
    weigh_real_failures(view, it);
    weigh_reached(view, it, &down);
    say_why(view, it, &all);
    for change in view
        .lately(&[ChangeKind::ServerDown, ChangeKind::Reloaded])
        .take(4)
    {
        it.note(Fact::new(
            crate::evidence::Source::Change,
            change.words.clone(),
        ));
    }
    let is_refused = |(_, state): &(&str, &CheckState)| state.fault == Some(Kind::ConnectRefused);
    let port = view.backend().and_then(|backend| backend.servers.first());
    let command = match port {
        Some(server) if down.iter().any(is_refused) => {
            format!("ss -ltnp 'sport = :{}'   # on each server", server.port)
        }
        Some(_) | None => format!("curl -sv {} -o /dev/null", url(view, &check_path(view))),
    };
    it.fix(
        Site::Server,
        "Mend what each server's check met; the first that passes brings the backend back",
        command,
    );
}

/// What each check met is what has to be mended.
fn note_checks(view: &View<'_>, it: &mut Opinion, all: &[(&str, &CheckState)]) {
    const SHOWN: usize = 8;
    for (name, state) in all.iter().take(SHOWN) {
        it.note(known(view, format!("{name}: {}", met(state))));
    }
    if all.len() > SHOWN {
        it.note(known(
            view,
            format!("and {} other servers", all.len() - SHOWN),
        ));
    }
}

/// Real requests failed on the servers, too.
fn weigh_real_failures(view: &View<'_>, it: &mut Opinion) {
    let others = &view.case.backdrop.others;
    for (server, kind, count) in others.iter().take(8) {
        it.note(known(view, format!("{server}: {count} × {}", kind.code())));
    }
    let unreached = others
        .iter()
        .filter(|(_, kind, _)| UNREACHED.contains(kind));
    if !others.is_empty() && unreached.count() == others.len() {
        it.fair(view.symptom("requests could not be connected to any of the servers before"));
    }
}

/// Whether servers can be reached, by checks that go where traffic goes, and by probes.
fn weigh_reached(view: &View<'_>, it: &mut Opinion, down: &[(&str, &CheckState)]) {
    let all_met = |kinds: &[Kind]| {
        let met = |(_, state): &(&str, &CheckState)| {
            state.fault.is_some_and(|fault| kinds.contains(&fault))
        };
        !down.is_empty() && down.iter().all(met)
    };
    let nobody = all_met(UNREACHED) && down.len() == checks(view).len();
    // Never a proof: the servers may be well, and something between may keep everybody away.
    let astray = checks_go_astray(view);
    if nobody && astray == Some(true) {
        it.against(known(
            view,
            "the checks go elsewhere than the traffic, or otherwise",
        ));
    } else if nobody {
        it.strong(known(view, "no check could even connect"));
        if astray == Some(false) {
            it.hint(known(
                view,
                "the checks go where the traffic goes, in the same way",
            ));
        }
    }
    if all_met(NAMELESS) {
        it.strongly_against(known(
            view,
            "their names gave no address, whatever the servers do",
        ));
    }
    if all_met(CHECKED) {
        it.against(known(
            view,
            "the servers answer their checks, and what they answer is not what is expected",
        ));
    }
    match view.connection().map(|found| found.fault) {
        Some(Some(fault)) => {
            it.fair(view.probed(format!("a fresh connection fails, too: {}", fault.code())));
        }
        Some(None) if nobody => it.strongly_against(view.probed("a fresh connection is taken now")),
        Some(None) | None => {}
    }
    if let Some((ask, reply)) = good_replies(view).next() {
        it.strongly_against(view.probed(format!(
            "GET {} is answered with {}, so a server is well enough for that",
            path_of(ask),
            reply.status
        )));
    }
}

/// Whether checks go elsewhere than traffic does, or otherwise; `None` = unknown.
fn checks_go_astray(view: &View<'_>) -> Option<bool> {
    let backend = view.backend()?;
    let check = backend.check.as_ref()?;
    let is_other_port = check.port.as_ref().is_some_and(|port| {
        backend
            .servers
            .iter()
            .any(|server| server.port != port.value)
    });
    let is_other_tls = check.tls.value != backend.tls.is_some();
    let lacks_header = backend.proxy_header.value > 0 && !check.proxy_header.value;
    Some(is_other_port || is_other_tls || lacks_header)
}

/// The server's own cause in words.
fn say_why(view: &View<'_>, it: &mut Opinion, all: &[(&str, &CheckState)]) {
    let name = backend_name(view);
    let mut reasons: Vec<String> = all
        .iter()
        .filter(|(_, state)| state.is_down || state.is_ejected)
        .map(|(_, state)| met(state))
        .collect();
    if reasons.is_empty() {
        let others = view.case.backdrop.others.iter();
        reasons = others.map(|(_, kind, _)| clause(kind.summary())).collect();
    }
    reasons.dedup();
    it.say(match reasons.as_slice() {
        [] => format!("No server of {name} may be used: all are down."),
        [one] => format!("No server of {name} may be used: {one}."),
        [one, rest @ ..] => format!(
            "No server of {name} may be used: {one}; and {} other reasons on others.",
            rest.len()
        ),
    });
}

/// How a setting of checks is written where it is not known where it stands.
fn fix_check(view: &View<'_>, it: &mut Opinion, to: [&str; 5], words: &str, is_verified: bool) {
    let [clearway, nginx, haproxy, envoy, alb] = to;
    let (place, to) = match view.dialect() {
        Speaker::Clearway => (format!("[backend.{}.health]", backend_name(view)), clearway),
        Speaker::Nginx => ("location of health_check".to_owned(), nginx),
        Speaker::Haproxy => (format!("backend {}", backend_name(view)), haproxy),
        Speaker::Envoy => ("health_checks of the cluster".to_owned(), envoy),
        Speaker::Alb => ("the target group".to_owned(), alb),
    };
    let check = view.backend().and_then(|backend| backend.check.as_ref());
    let origin = check.and_then(|check| {
        let written = [check.path.origin.as_ref(), check.kind.origin.as_ref()];
        written.into_iter().flatten().next()
    });
    let words = match origin {
        Some(origin) => format!("{words} ({origin})"),
        None => format!("{words} ({place})"),
    };
    if is_verified {
        it.verified_fix(Site::Config, words, to);
    } else {
        it.fix(Site::Config, words, to);
    }
}

/// A time limit of checks, in microseconds.
fn check_limit_us(view: &View<'_>) -> Option<u64> {
    let check = view.backend()?.check.as_ref()?;
    let limit = check.timeout.value?;
    Some(u64::try_from(limit.as_micros()).unwrap_or(u64::MAX))
}

/// How long a check took, for a reader.
fn took(state: &CheckState) -> Option<String> {
    state.took_us.map(time)
}

/// Whether traffic to the server itself goes well while its check fails.
fn traffic_is_well(view: &View<'_>) -> bool {
    let case = view.case;
    case.successes.since_failure > 0 || view.is(CHECKED) && case.successes.count > 0
}

/// NGINX without a licence has no checks, so none can be wrong.
fn has_no_checks(view: &View<'_>) -> bool {
    let is_unchecked = view
        .backend()
        .is_some_and(|backend| backend.check.is_none());
    is_unchecked || view.dialect() == Speaker::Nginx && view.backend().is_none()
}
