//! Tests.

use std::time::Duration;

use clearway_config::survey::Setting;
use clearway_outcome::{FaultKind as Kind, Place, Sighting, Speaker, Suspects};

use crate::case::Case;
use crate::cause::{Cause, Stage};
use crate::evidence::{Ask, Change, ChangeKind, Finding, Probe, Reply};
use crate::judge::dns::scene::{Expected, NOW_US, Scene, backend, check, front, line, reply};
use crate::opinion::Confidence::{Certain, Likely, Possible};
use crate::opinion::Opinion;

const AT: &str = "10.0.0.2:8080";

fn opinion(case: &Case, cause: Cause) -> Opinion {
    let mut all = case.opinions(&case.groups[0]).into_iter();
    all.find(|opinion| opinion.cause == cause).unwrap()
}

fn refusal(words: &str) -> Change {
    Change {
        at_us: NOW_US - 60_000_000,
        kind: ChangeKind::ReloadRefused,
        words: words.to_owned(),
    }
}

fn empty() -> clearway_config::survey::BackendSurvey {
    let mut group = backend(AT);
    group.servers.clear();
    group
}

#[test]
fn requests_without_a_way() {
    let nobody = || {
        Scene::of(
            Speaker::Haproxy,
            &[Kind::NoServers, Kind::AllServersDown],
            "",
        )
    };
    check(vec![
        (
            "Clearway has no server",
            Scene::of(Speaker::Clearway, &[Kind::NoServers], "").configured(empty()),
            Expected(Some(Cause::NoServersConfigured), Certain, &[]),
        ),
        (
            "the file has none",
            nobody()
                .configured(empty())
                .pitfall(Cause::NoServersConfigured),
            Expected(Some(Cause::NoServersConfigured), Likely, &[]),
        ),
        (
            "AWS ALB answers 503 by itself",
            Scene::of(Speaker::Alb, &[Kind::NoServers], ""),
            Expected(Some(Cause::NoServersConfigured), Likely, &[]),
        ),
        (
            "no route",
            Scene::of(Speaker::Clearway, &[Kind::NoRoute], ""),
            Expected(Some(Cause::NoRouteMatch), Certain, &[]),
        ),
        (
            "no route, and a new file was refused",
            Scene::of(Speaker::Clearway, &[Kind::NoRoute], "")
                .with(|scene| scene.case.changes.push(refusal("line 3: unknown key"))),
            Expected(
                Some(Cause::LbReloadFailed),
                Possible,
                &[Cause::NoRouteMatch],
            ),
        ),
        (
            "the front leads nowhere",
            nobody().with(|scene| {
                scene.case.subject.backend = "web".to_owned();
                let mut web = front("*:80");
                web.has_default = false;
                scene.survey.fronts.push(web);
            }),
            Expected(Some(Cause::NoRouteMatch), Likely, &[]),
        ),
    ]);
    let case = nobody().in_clear().ready();
    assert!(opinion(&case, Cause::NoServersConfigured).score() < 0);
    assert!(opinion(&case, Cause::NoRouteMatch).is_ruled_out());
}

#[test]
fn the_nearest_name_is_told() {
    let verdict = Scene::of(Speaker::Clearway, &[Kind::NoRoute], "")
        .with(|scene| {
            scene.host = "app.lap:8080";
            let mut web = front(":8080");
            web.hosts = vec!["other.example".to_owned(), "www.app.lab".to_owned()];
            scene.survey.fronts.push(web);
        })
        .verdict();
    let words = "No route matches app.lap:8080/; the nearest name that is served is www.app.lab.";
    assert_eq!(verdict.summary, words);
}

#[test]
fn loops() {
    let to = |kind, bind: &str, server: &str| {
        let bind = bind.to_owned();
        Scene::of(Speaker::Nginx, &[kind], server)
            .configured(backend(server))
            .with(move |scene| scene.survey.fronts.push(front(&bind)))
    };
    check(vec![
        (
            "its own name in Via",
            Scene::of(Speaker::Clearway, &[Kind::ProxyLoop], AT),
            Expected(Some(Cause::ProxyLoop), Certain, &[]),
        ),
        (
            "its own name, and its own address",
            to(Kind::ProxyLoop, "8081", "127.0.0.1:8081"),
            Expected(Some(Cause::ProxyLoop), Certain, &[]),
        ),
        (
            "connections used up, and its own address",
            to(Kind::ListenerFull, "*:8081", "127.0.0.1:8081").pitfall(Cause::ProxyLoop),
            Expected(Some(Cause::ProxyLoop), Likely, &[]),
        ),
        (
            "connections used up",
            to(Kind::ListenerFull, "*:8081", "10.0.0.2:8081"),
            Expected(Some(Cause::LbWorkerConnections), Likely, &[]),
        ),
    ]);
}

#[test]
fn configurations_that_are_not_in_force() {
    let refused =
        || Scene::of(Speaker::Clearway, &[Kind::ConnectRefused], "10.0.0.9:8080").in_clear();
    let case = refused().ready();
    assert!(opinion(&case, Cause::LbReloadFailed).is_ruled_out());
    let case = refused()
        .with(|scene| {
            scene.survey.backends[0].servers[0].host = "10.0.0.2".to_owned();
            scene.case.changes.push(refusal("line 3: unknown key"));
        })
        .ready();
    assert!(opinion(&case, Cause::LbReloadFailed).score() >= 60);
    // A reload that went through afterwards ends it.
    let case = refused()
        .with(|scene| {
            scene.case.changes.push(refusal("line 3: unknown key"));
            scene.case.changes.push(Change {
                at_us: NOW_US - 30_000_000,
                kind: ChangeKind::Reloaded,
                words: "reloaded".to_owned(),
            });
        })
        .ready();
    assert!(opinion(&case, Cause::LbReloadFailed).is_ruled_out());
    let case = Scene::of(Speaker::Nginx, &[Kind::NameUnresolved], "")
        .with(|scene| scene.words = "host not found in upstream \"app\" in nginx.conf:3")
        .ready();
    assert!(opinion(&case, Cause::ConfigHostNotFoundAtStart).score() >= 80);
}

#[test]
fn limits_of_hops() {
    let waits = |limit: u64| {
        let mut group = backend(AT);
        group.timeouts.response = Setting::written(
            "proxy_read_timeout",
            Some(Duration::from_secs(limit)),
            line(12),
        );
        group
    };
    let timed_out = || {
        Scene::of(Speaker::Nginx, &[Kind::ResponseTimeout], AT)
            .configured(waits(3))
            .with(|scene| scene.elapsed_us = Some(3_000_000))
    };
    let case = timed_out().ready();
    let alone = opinion(&case, Cause::TimeoutOrderInverted);
    assert!(alone.score() < 16, "{}", alone.score());
    let patient = Probe::Request(Ask {
        patience_ms: 10_000,
        ..Ask::default()
    });
    let inner = Reply {
        status: 504,
        server: "nginx".to_owned(),
        took_us: 5_000_000,
        ..Reply::default()
    };
    let case = timed_out()
        .found(patient.clone(), Finding::Request(Box::new(inner)))
        .ready();
    assert!(opinion(&case, Cause::TimeoutOrderInverted).score() >= 60);
    let case = timed_out().found(patient, reply(200)).ready();
    assert!(opinion(&case, Cause::TimeoutOrderInverted).score() < 16);
    // Clients that leave just when the balancer gives up.
    let mut case = timed_out().ready();
    let mut left = Sighting::of(Speaker::Nginx, Place::default());
    left.suspects = Suspects::just(Kind::ClientClosed);
    left.elapsed_us = Some(3_010_000);
    case.observe(&left);
    case.observe(&left);
    assert!(opinion(&case, Cause::TimeoutOrderInverted).score() >= 44);
}

#[test]
fn rules_and_protocols() {
    check(vec![
        (
            "a rule made a bad header",
            Scene::of(Speaker::Clearway, &[Kind::RewriteInvalid], ""),
            Expected(Some(Cause::LbRewriteFailed), Certain, &[]),
        ),
        (
            "HAProxy says so",
            Scene::of(Speaker::Haproxy, &[Kind::RewriteInvalid], ""),
            Expected(Some(Cause::LbRewriteFailed), Likely, &[]),
        ),
        (
            "464",
            Scene::of(Speaker::Alb, &[Kind::ServerSpeaksHttp1], "")
                .with(|scene| scene.status = 464),
            Expected(Some(Cause::AlbProtocol464), Certain, &[]),
        ),
        (
            "no resolver",
            Scene::of(Speaker::Nginx, &[Kind::NameUnresolved], "")
                .configured(backend("app.lab:80"))
                .with(|scene| scene.words = "no resolver defined to resolve app.lab"),
            Expected(Some(Cause::NoResolverConfigured), Certain, &[]),
        ),
        (
            "no resolver in the file",
            Scene::of(Speaker::Nginx, &[Kind::NameUnresolved], "")
                .configured(backend("app.lab:80"))
                .pitfall(Cause::NoResolverConfigured),
            Expected(
                Some(Cause::NoResolverConfigured),
                Likely,
                &[Cause::DnsNxdomain],
            ),
        ),
    ]);
    let verdict = Scene::of(Speaker::Nginx, &[Kind::NameUnresolved], "")
        .configured(backend("app.lab:80"))
        .with(|scene| scene.words = "app.lab could not be resolved (3: Host not found)")
        .pitfall(Cause::NoResolverConfigured)
        .verdict();
    assert_eq!(
        (verdict.cause, verdict.confidence),
        (Some(Cause::DnsNxdomain), Likely)
    );
    let case = Scene::of(Speaker::Haproxy, &[Kind::ServerSpeaksHttp1], "").ready();
    assert!(opinion(&case, Cause::AlbProtocol464).is_ruled_out());
}

/// Kinds that mean one cause, by their own definition, when Clearway says so.
const EXACT: &[Kind] = &[
    Kind::NoRoute,
    Kind::ProxyLoop,
    Kind::RewriteInvalid,
    Kind::PatternSteps,
    Kind::ServerSpeaksTls,
    Kind::ShuttingDown,
    Kind::SourceFull,
    Kind::QueueTimeout,
];

#[test]
fn a_kind_alone_proves_nothing_but_itself() {
    for speaker in Speaker::ALL {
        for kind in Kind::ALL {
            for address in ["", AT, "[::1]:8080", "unix:/run/app.sock"] {
                let scene = Scene::of(*speaker, &[*kind], address);
                let mut cases = vec![scene.ready()];
                let scene = Scene::of(*speaker, &[*kind], address);
                cases.push(scene.configured(backend("app.lab:8080")).ready());
                cases.push(
                    Scene::of(*speaker, &[*kind], address)
                        .over_tls(None)
                        .ready(),
                );
                for case in &cases {
                    for opinion in case.opinions(&case.groups[0]) {
                        let stage = opinion.cause.stage();
                        let ours = [Stage::Config, Stage::Dns, Stage::Tls, Stage::Capacity];
                        let is_exact = EXACT.contains(kind);
                        let what = format!("{} {} {address}", opinion.cause, kind.code());
                        assert!(
                            !ours.contains(&stage) || !opinion.is_proven() || is_exact,
                            "{what}"
                        );
                        assert!(
                            opinion.fixes.iter().all(|fix| !fix.words.is_empty()),
                            "{what}"
                        );
                        let ends = |text: &String| text.ends_with('.');
                        assert!(opinion.summary.as_ref().is_none_or(ends), "{what}");
                    }
                }
            }
        }
    }
}

/// What NGINX's access log leaves open of a 502.
#[test]
fn a_status_alone_names_no_cause_of_tls_or_limits() {
    let kinds = [
        Kind::ConnectRefused,
        Kind::ServerClosedNoResponse,
        Kind::ServerResetNoResponse,
        Kind::ConnectUnreachable,
        Kind::AllServersDown,
        Kind::ServerTlsAlert,
        Kind::ServerSpeaksPlain,
        Kind::NameUnresolved,
    ];
    let case = Scene::of(Speaker::Nginx, &kinds, AT).ready();
    for opinion in case.opinions(&case.groups[0]) {
        let stage = opinion.cause.stage();
        if [Stage::Config, Stage::Dns, Stage::Tls, Stage::Capacity].contains(&stage) {
            let named = opinion.score() >= 16 && !opinion.is_ruled_out();
            assert!(!named, "{} {}", opinion.cause, opinion.score());
        }
    }
}
