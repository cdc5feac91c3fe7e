//! Tests.

use clearway_config::survey::{BackendSurvey, Setting};
use clearway_outcome::{FaultKind as Kind, HostCounters, Speaker, Use};

use crate::case::Case;
use crate::cause::Cause;
use crate::evidence::{Change, ChangeKind, Connection, Finding, HostLook, Probe};
use crate::judge::dns::scene::{Expected, NOW_US, Scene, backend, check, line};
use crate::opinion::Confidence::{Certain, Likely, Possible};
use crate::opinion::Opinion;

const AT: &str = "10.0.0.2:8080";

fn opinion(case: &Case, cause: Cause) -> Opinion {
    let mut all = case.opinions(&case.groups[0]).into_iter();
    all.find(|opinion| opinion.cause == cause).unwrap()
}

fn look(look: HostLook) -> Finding {
    Finding::Host(Box::new(look))
}

fn full(limit: u64) -> Option<Use> {
    Some(Use { used: limit, limit })
}

fn limited(address: &str, maxconn: u64) -> BackendSurvey {
    let mut group = backend(address);
    group.servers[0].maxconn = maxconn;
    group
}

#[test]
fn ports_and_files() {
    let ports = || Scene::of(Speaker::Nginx, &[Kind::OutOfPorts], AT).in_clear();
    let files = || Scene::of(Speaker::Nginx, &[Kind::OutOfFiles], AT).in_clear();
    check(vec![
        (
            "the error alone",
            ports(),
            Expected(Some(Cause::EphemeralPorts), Likely, &[]),
        ),
        (
            "ports are used up",
            ports().found(
                Probe::Host,
                look(HostLook {
                    ports: full(28_232),
                    sockets: vec![(6, 28_000), (1, 200)],
                    ..HostLook::default()
                }),
            ),
            Expected(Some(Cause::EphemeralPorts), Certain, &[]),
        ),
        (
            "HAProxy says the same of a Unix socket",
            Scene::of(
                Speaker::Haproxy,
                &[Kind::OutOfPorts, Kind::UnixBacklogFull],
                "unix:/run/app.sock",
            ),
            Expected(Some(Cause::UnixSocketBacklogFull), Likely, &[]),
        ),
        (
            "files, by the error alone",
            files(),
            Expected(Some(Cause::LbFdLimit), Likely, &[]),
        ),
        (
            "files are used up",
            files().found(
                Probe::Host,
                look(HostLook {
                    files: full(1_024),
                    sockets: vec![(1, 400)],
                    ..HostLook::default()
                }),
            ),
            Expected(Some(Cause::LbFdLimit), Certain, &[]),
        ),
        (
            "files are used up by what is not closed",
            files().found(
                Probe::Host,
                look(HostLook {
                    files: full(1_024),
                    sockets: vec![(8, 900), (1, 4)],
                    ..HostLook::default()
                }),
            ),
            Expected(Some(Cause::CloseWaitLeak), Likely, &[]),
        ),
    ]);
}

#[test]
fn connections_and_places() {
    let waited = |speaker| {
        Scene::of(speaker, &[Kind::QueueTimeout], "")
            .with(|scene| scene.queued_us = Some(10_000_000))
    };
    let nobody = |kinds: &[Kind]| Scene::of(Speaker::Nginx, kinds, "");
    check(vec![
        (
            "waited in vain",
            waited(Speaker::Haproxy).configured(limited(AT, 10)),
            Expected(Some(Cause::QueueTimeout), Certain, &[]),
        ),
        (
            "waited in vain, while servers are down",
            waited(Speaker::Haproxy).with(|scene| {
                scene.case.backdrop.servers = 3;
                scene.case.backdrop.down = 2;
            }),
            Expected(Some(Cause::QueueTimeout), Likely, &[]),
        ),
        (
            "refused at once",
            Scene::of(Speaker::Clearway, &[Kind::QueueFull], "")
                .with(|scene| scene.elapsed_us = Some(50)),
            Expected(Some(Cause::CircuitBreakerOpen), Likely, &[]),
        ),
        (
            "Envoy's overflow",
            Scene::of(Speaker::Envoy, &[Kind::QueueFull, Kind::QueueTimeout], "")
                .with(|scene| scene.elapsed_us = Some(0)),
            Expected(Some(Cause::CircuitBreakerOpen), Likely, &[]),
        ),
        (
            "NGINX is full",
            Scene::of(Speaker::Nginx, &[Kind::ListenerFull], "")
                .with(|scene| scene.words = "512 worker_connections are not enough"),
            Expected(Some(Cause::LbWorkerConnections), Likely, &[]),
        ),
        (
            "HAProxy is full",
            Scene::of(Speaker::Haproxy, &[Kind::ListenerFull], ""),
            Expected(Some(Cause::LbFrontendMaxconn), Likely, &[]),
        ),
        (
            "one client has too many",
            Scene::of(Speaker::Clearway, &[Kind::SourceFull], ""),
            Expected(Some(Cause::LbRateLimited), Certain, &[]),
        ),
    ]);
    let kinds = [Kind::AllServersDown, Kind::NoServers];
    let case = nobody(&kinds)
        .configured(limited(AT, 5))
        .went_well(50)
        .ready();
    assert!(opinion(&case, Cause::CircuitBreakerOpen).score() >= 44);
    let case = nobody(&kinds).in_clear().ready();
    assert!(opinion(&case, Cause::CircuitBreakerOpen).is_ruled_out());
}

#[test]
fn tables_of_connections() {
    let silent = || Scene::of(Speaker::Nginx, &[Kind::ConnectTimeout], AT).in_clear();
    let gained = |counters: HostCounters| Connection {
        fault: Some(Kind::ConnectTimeout),
        gained: Some(counters),
        ..Connection::default()
    };
    let refused = HostCounters {
        retrans_fail: 2,
        ..HostCounters::default()
    };
    let table = |used| HostLook {
        conntrack: Some(Use { used, limit: 1_000 }),
        ..HostLook::default()
    };
    let verdict = silent()
        .found(Probe::Connect, Finding::Connect(Box::new(gained(refused))))
        .found(Probe::Host, look(table(1_000)))
        .verdict();
    assert_eq!(
        (verdict.cause, verdict.confidence),
        (Some(Cause::ConntrackFull), Certain)
    );
    // A full table alone may be so by chance.
    let case = silent().found(Probe::Host, look(table(1_000))).ready();
    assert!(!opinion(&case, Cause::ConntrackFull).is_proven());
    let case = silent().found(Probe::Host, look(table(10))).ready();
    assert!(opinion(&case, Cause::ConntrackFull).score() < 16);
    let case = silent().ready();
    assert!(opinion(&case, Cause::SnatPortCollision).score() < 0);
    let taken = HostLook {
        gained: Some(HostCounters {
            conntrack_insert_failed: 7,
            ..HostCounters::default()
        }),
        ..HostLook::default()
    };
    let case = silent()
        .went_well(40)
        .found(Probe::Host, look(taken))
        .ready();
    assert!(opinion(&case, Cause::SnatPortCollision).score() >= 44);
}

#[test]
fn the_host_and_reloads() {
    let words = |kind, words: &'static str, errno| {
        Scene::of(Speaker::Nginx, &[kind], AT).with(move |scene| {
            scene.words = words;
            scene.errno = errno;
        })
    };
    check(vec![
        (
            "no space",
            words(
                Kind::InternalPanic,
                "pwrite() \"/var/cache/nginx/client_temp/1\" failed (28: No space left on device)",
                28,
            ),
            Expected(Some(Cause::LbDiskFull), Likely, &[]),
        ),
        (
            "no permission",
            words(
                Kind::InternalPanic,
                "open() \"/var/lib/nginx/proxy/1\" failed (13: Permission denied)",
                13,
            ),
            Expected(Some(Cause::LbTempPermission), Likely, &[]),
        ),
        (
            "no memory",
            words(
                Kind::OutOfMemory,
                "socket() failed (12: Cannot allocate memory)",
                12,
            ),
            Expected(Some(Cause::LbOutOfMemory), Likely, &[]),
        ),
        (
            "shut down",
            Scene::of(Speaker::Clearway, &[Kind::ShuttingDown], ""),
            Expected(Some(Cause::LbReloadDropped), Certain, &[]),
        ),
        (
            "denied, and nobody knows why",
            Scene::of(Speaker::Haproxy, &[Kind::Denied], "").with(|scene| scene.status = 403),
            Expected(Some(Cause::LbRateLimited), Possible, &[]),
        ),
        (
            "denied with 429",
            Scene::of(Speaker::Haproxy, &[Kind::Denied], "").with(|scene| scene.status = 429),
            Expected(Some(Cause::LbRateLimited), Likely, &[]),
        ),
    ]);
    let case = Scene::of(Speaker::Haproxy, &[Kind::ResponseBodyShort], AT).ready();
    assert!(opinion(&case, Cause::LbDiskFull).is_ruled_out());
    let left = || Scene::of(Speaker::Clearway, &[Kind::ClientReset], AT);
    let case = left().ready();
    assert!(opinion(&case, Cause::LbReloadDropped).is_ruled_out());
    let case = left()
        .with(|scene| {
            scene.case.changes.push(Change {
                at_us: NOW_US - 1_000_000,
                kind: ChangeKind::Reloaded,
                words: "generation 4".to_owned(),
            });
        })
        .ready();
    assert!(!opinion(&case, Cause::LbReloadDropped).is_ruled_out());
}

#[test]
fn settings_are_named_with_their_place() {
    let verdict = Scene::of(Speaker::Nginx, &[Kind::OutOfFiles], AT)
        .in_clear()
        .with(|scene| {
            scene.survey.file_limit =
                Some(Setting::written("worker_rlimit_nofile", 1_024, line(3)));
        })
        .verdict();
    let fix = &verdict.fixes[0];
    assert_eq!(fix.words, "in lb.conf:3:5, set worker_rlimit_nofile");
}
