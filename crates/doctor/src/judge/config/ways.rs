//! Requests that lead nowhere, or back.

use clearway_config::survey::{BindSurvey, FrontSurvey, ServerSurvey};
use clearway_outcome::{FaultKind as Kind, Speaker};

use super::{NOBODY, refusal};
use crate::case::View;
use crate::evidence::{Fact, Source};
use crate::opinion::{Opinion, Site};
use crate::view::place;

pub(super) fn no_servers_configured(view: &View<'_>, it: &mut Opinion) {
    let sure = view.is(&[Kind::NoServers]);
    view.weigh_pitfalls(it, sure);
    let backend = view.backend();
    let count = backend.map(|backend| backend.servers.iter().filter(|server| !server.down).count());
    // A server whose name gave nothing would look the same, were it not for the file.
    if sure && view.group.speaker == Speaker::Clearway && count == Some(0) {
        it.proof(view.seen());
    } else if sure {
        it.strong(view.seen());
    }
    if view.group.speaker == Speaker::Alb && view.is(NOBODY) {
        it.strong(view.symptom(
            "AWS ALB sends requests even to targets that are down, and answers 503 by \
             itself only where none is \
             registered or usable",
        ));
    }
    match (backend, count) {
        (Some(backend), Some(0)) => {
            let words = if backend.servers.is_empty() {
                format!("{} has no servers", backend.name)
            } else {
                format!("every server of {} is marked as down", backend.name)
            };
            let at = backend.origin.as_ref().map(ToString::to_string);
            it.strong(Fact::new(Source::Config, words).at(at.unwrap_or_default()));
        }
        (Some(backend), Some(count)) if !sure => {
            it.strongly_against(Fact::new(
                Source::Config,
                format!("{} has {count} servers in the configuration", backend.name),
            ));
        }
        _ if !sure => it.missing("how many servers the backend has"),
        _ => {}
    }
    if !sure && view.case.backdrop.servers > 0 {
        it.strongly_against(view.symptom(format!(
            "the backend has {} servers",
            view.case.backdrop.servers
        )));
    }
    let name = match view.case.subject.backend.as_str() {
        "" => "the backend",
        name => name,
    };
    it.say(format!(
        "There is no server in {name}: not one that is down, but none at all."
    ));
    let at = place(backend.and_then(|backend| backend.origin.as_ref()));
    let (words, line) = match view.dialect() {
        Speaker::Nginx => ("write a server into the upstream", "server 10.0.0.2:8080;"),
        Speaker::Haproxy => (
            "write a server into the backend",
            "server app1 10.0.0.2:8080 check",
        ),
        Speaker::Clearway => (
            "write servers into the backend, or see why their names have no addresses",
            "servers = [\"10.0.0.2:8080\"]",
        ),
        Speaker::Envoy => (
            "give the cluster endpoints, or see why discovery sends none",
            "curl -s localhost:9901/clusters",
        ),
        Speaker::Alb => (
            "register targets in a zone that the balancer uses",
            "aws elbv2 describe-target-health --target-group-arn ARN",
        ),
    };
    it.fix(Site::Config, format!("{at}{words}"), line);
}

pub(super) fn no_route_match(view: &View<'_>, it: &mut Opinion) {
    let sure = view.is(&[Kind::NoRoute]);
    view.weigh_pitfalls(it, sure);
    let host = view.group.hosts.first().unwrap_or("");
    if sure {
        // An old configuration may lack a route that the file has by now.
        if refusal(view).is_none() {
            it.proof(view.seen());
        } else {
            it.strong(view.seen());
        }
    } else if let Some(front) = front_without_way(view) {
        it.strong(
            Fact::new(
                Source::Config,
                format!("{} leads nowhere when no rule matches", front.name),
            )
            .at(front
                .origin
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default()),
        );
        it.hint(view.symptom("no backend was chosen"));
    } else if view.group.speaker == Speaker::Clearway || view.backend().is_some() {
        return it.rule_out();
    } else {
        it.missing("whether a backend was chosen for the request");
    }
    let path = view.group.paths.first().unwrap_or("");
    let what = if host.is_empty() {
        "the request".to_owned()
    } else {
        format!("{host}{path}")
    };
    it.say(format!("No route matches {what}."));
    if let Some((known, origin)) = nearest(view, host) {
        it.note(
            Fact::new(
                Source::Config,
                format!("the nearest name that is served is {known}"),
            )
            .at(origin),
        );
        it.say(format!(
            "No route matches {what}; the nearest name that is served is {known}."
        ));
    }
    let (words, line) = match view.dialect() {
        Speaker::Nginx => (
            "Add the name to a `server_name`, or a `location`",
            format!("server_name {host};"),
        ),
        Speaker::Haproxy => (
            "Add a rule, or a backend for all that match none",
            "default_backend NAME".to_owned(),
        ),
        Speaker::Clearway => (
            "Add a route, or a backend for all that match none to the listener",
            format!("[[route]]\nwhen = {{ host = \"{host}\" }}\nbackend = \"NAME\""),
        ),
        Speaker::Envoy => (
            "Add the name to a virtual host",
            format!("domains: [\"{host}\"]"),
        ),
        Speaker::Alb => (
            "Add a rule for the name",
            format!("aws elbv2 create-rule … Values={host}"),
        ),
    };
    it.fix(Site::Config, words, line);
}

/// The front that took the request, where it leads nowhere without a rule that matches: HAProxy writes
/// the front's own name where no backend was chosen.
fn front_without_way<'a>(view: &View<'a>) -> Option<&'a FrontSurvey> {
    let name = &view.case.subject.backend;
    let mut fronts = view.case.survey()?.fronts.iter();
    let front = fronts.find(|front| front.name == *name)?;
    let is_backend = view.backend().is_some();
    (!front.has_default && !is_backend).then_some(front)
}

/// The served name that differs least from `host`, and where it stands.
fn nearest(view: &View<'_>, host: &str) -> Option<(String, String)> {
    let bare = |name: &str| {
        let name = name.rsplit_once(':').map_or(name, |(name, _)| name);
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        name.strip_prefix("www.").map(str::to_owned).unwrap_or(name)
    };
    if host.is_empty() {
        return None;
    }
    let wanted = bare(host);
    let fronts = &view.case.survey()?.fronts;
    let names = fronts
        .iter()
        .flat_map(|front| front.hosts.iter().map(move |name| (front, name)));
    let found = names.min_by_key(|(_, name)| distance(&wanted, &bare(name)))?;
    let (front, name) = found;
    let is_near = distance(&wanted, &bare(name)) <= 2 && name != host;
    let origin = front
        .origin
        .as_ref()
        .map(ToString::to_string)
        .unwrap_or_default();
    is_near.then(|| (name.clone(), origin))
}

/// How many letters have to be changed, put in or left out to make one of the other (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().take(64).enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (slot, y) in row.iter_mut().skip(1).zip(&b) {
            let above = *slot;
            let changed = diagonal + usize::from(x != *y);
            let best = changed.min(above + 1).min(left + 1);
            diagonal = above;
            left = best;
            *slot = best;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

pub(super) fn proxy_loop(view: &View<'_>, it: &mut Opinion) {
    let sure = view.is(&[Kind::ProxyLoop]);
    if sure {
        it.strong(view.seen());
        it.proof(view.symptom("the request carries this balancer's own name in Via several times"));
    }
    view.weigh_pitfalls(it, sure);
    let own = own_address(view);
    if let Some((bind, server)) = own {
        let words = format!(
            "the server {} is an address that this balancer listens on ({})",
            server.address(),
            bind.address
        );
        let at = server
            .origin
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default();
        let fact = Fact::new(Source::Config, words).at(at);
        if sure {
            it.proof(fact);
        } else {
            it.strong(fact);
        }
        it.say(format!(
            "The balancer sends requests to itself: {} is where it listens.",
            server.address()
        ));
    } else if !sure {
        // Nothing else of these faults points to a loop.
        if view.case.survey().is_some() {
            it.against(view.symptom("no server is an address that the balancer listens on"));
        } else {
            it.missing("whether a server's address leads back to the balancer");
        }
    }
    if !sure && view.group.burst >= 8 && view.group.paths.only().is_some() && own.is_some() {
        it.fair(view.symptom(format!(
            "{} requests for the same path failed within 20 ms",
            view.group.burst
        )));
    }
    let at = place(own.and_then(|(_, server)| server.origin.as_ref()));
    it.fix(
        Site::Config,
        format!(
            "{at}give the address of the program itself, not one that leads back to the balancer"
        ),
        format!("curl -sI http://{}/ | grep -i '^via'", view.address()),
    );
}

/// The server, when it is an address of the balancer's own.
fn own_address<'a>(view: &View<'a>) -> Option<(&'a BindSurvey, &'a ServerSurvey)> {
    let (_, server) = view.configured()?;
    let survey = view.case.survey()?;
    let is_local = view.host().is_some_and(|host| host.is_local);
    let mut binds = survey.fronts.iter().flat_map(|front| &front.binds);
    let found = binds.find(|bind| {
        let (host, port) = split(&bind.address);
        let is_same = host == server.host;
        let is_any = matches!(host, "" | "*" | "0.0.0.0" | "::");
        let here = is_local || matches!(server.host.as_str(), "localhost" | "127.0.0.1" | "::1");
        port == Some(server.port) && (is_same || is_any && here)
    });
    found.map(|bind| (bind, server))
}

/// The front of the same configuration that listens at the server's address.
pub(super) fn own_front<'a>(view: &View<'a>) -> Option<&'a FrontSurvey> {
    let (bind, _) = own_address(view)?;
    let fronts = &view.case.survey()?.fronts;
    fronts
        .iter()
        .find(|front| front.binds.iter().any(|own| std::ptr::eq(own, bind)))
}

/// Host and port of an address to listen on, in any of the languages: `8081`, `*:8081`, `[::]:8081`.
fn split(bind: &str) -> (&str, Option<u16>) {
    match bind.rsplit_once(':') {
        Some((host, port)) => (host.trim_matches(['[', ']']), port.parse().ok()),
        None => ("", bind.parse().ok()),
    }
}
