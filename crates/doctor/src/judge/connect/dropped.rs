//! Judges of connections that are taken and dropped at once.

use clearway_outcome::{FaultKind as Kind, Speaker};

use super::REFUSED;
use crate::case::View;
use crate::evidence::{ChangeKind, HostLook, Probe, Then};
use crate::judge::reach;
use crate::judge::wait::signs;
use crate::opinion::{Opinion, Site};
use crate::view::time;

pub(super) fn container_port_forwarder(view: &View<'_>, it: &mut Opinion) {
    const IN_HANDSHAKES: &[Kind] = &[Kind::ServerTlsClosed, Kind::ServerTlsReset];
    it.hint(view.seen());
    it.wants(Probe::Connect);
    if view.group.received.max > 0 {
        return it.rule_out();
    }
    let Some(found) = view.connection() else {
        return it.missing("whether a connection that says nothing is dropped too");
    };
    match found.then {
        Then::Closed(after) | Then::Reset(after) if after < 300_000 => {
            let fact = view.probed(format!(
                "a connection that says nothing is taken and dropped after {}: nothing is behind it",
                time(after)
            ));
            if view.is(IN_HANDSHAKES) || view.other(IN_HANDSHAKES).is_some() {
                // Servers that do not want to shake hands with us do so, too.
                it.hint(fact);
            } else {
                it.strong(fact);
                it.fair(view.probed("so it is not the request that the server dislikes"));
            }
        }
        Then::Open => it.rule_out(),
        Then::Spoke(_) => it.rule_out(),
        Then::Closed(_) | Then::Reset(_) | Then::Nothing => {}
    }
    if view.case.successes.count > 0 {
        it.strongly_against(view.symptom(format!(
            "{} requests to it went well",
            view.case.successes.count
        )));
    }
    if let Some(name) = forwarder(view.host()) {
        it.proof(view.kernel(format!("{name} listens there")));
    }
    it.fix(
        Site::Server,
        "Let the program listen on the container's port on 0.0.0.0, and compare the published ports",
        format!("docker ps --format '{{{{.Names}}}} {{{{.Ports}}}}' | grep {}", view.port()),
    );
}

/// The name of a forwarder that listens for the server on this host.
fn forwarder(host: Option<&HostLook>) -> Option<&str> {
    const NAMES: &[&str] = &[
        "docker-proxy",
        "rootlessport",
        "slirp4netns",
        "kubectl",
        "ssh",
        "socat",
    ];
    let listeners = host.filter(|host| host.is_local)?.listeners.as_deref()?;
    let mut names = listeners.iter().filter_map(|l| l.process.as_deref());
    names.find(|name| NAMES.contains(name))
}

/// Whether failures were the first that came from the server, and all has been well since.
fn is_at_the_beginning(view: &View<'_>) -> bool {
    let successes = &view.case.successes;
    view.group.speaker == Speaker::Clearway
        && signs::is_all_fresh(view)
        && view.group.span_us() < 60_000_000
        && successes.before == 0
        && reach::well_between(view) == 0
        && successes.since_failure > 0
}

pub(super) fn mesh_sidecar_not_ready(view: &View<'_>, it: &mut Opinion) {
    let came = view
        .lately(&[ChangeKind::ServerJoined, ChangeKind::ServerUp])
        .count();
    let is_first = is_at_the_beginning(view);
    let is_told = view.group.speaker == Speaker::Clearway || view.case.successes.before > 0;
    if came == 0 && !is_first && is_told {
        return it.against(view.symptom("no server joined or came up lately"));
    }
    if came == 0 && !is_first {
        it.missing("whether the server joined at that time");
    } else {
        it.hint(view.seen());
    }
    if let Some(path) = signs::doomed_path(view) {
        it.against(view.symptom(format!("all were for {path}, and others went well")));
    }
    if is_first {
        it.hint(view.symptom(format!(
            "nothing went well before, and {} requests did afterwards: it was about to start",
            view.case.successes.since_failure
        )));
    } else if view.case.successes.since_failure > 0 {
        it.fair(view.symptom("the failures ended by themselves shortly after the server joined"));
    }
    if let Some(reply) = signs::same_again(view).filter(|reply| reply.is_answered()) {
        it.fair(view.probed(format!(
            "the same request is answered with {} now",
            reply.status
        )));
    }
    let is_known = came > 0 || is_first;
    let waited = view.group.waited;
    if is_known && waited.count > 0 && waited.max < 100_000 && !view.is(REFUSED) {
        it.hint(view.symptom(
            "connections were taken and dropped at once, as a sidecar does without its program",
        ));
    }
    if view
        .connection()
        .is_some_and(|found| found.then == Then::Open)
    {
        it.hint(view.probed("a connection that says nothing stays open now"));
    }
    it.missing("whether a sidecar stands before the program");
    it.say(format!(
        "{} took connections and dropped them while it was about to start, as sidecars do that are ready before their \
         program.",
        view.address()
    ));
    it.fix(
        Site::Server,
        "Let the program start before it gets requests: wait for the sidecar, and pass readiness only when both are",
        "kubectl describe pod NAME   # holdApplicationUntilProxyStarts: true; readinessProbe on the program",
    );
}
