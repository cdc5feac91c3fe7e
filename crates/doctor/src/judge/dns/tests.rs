//! Tests.

use clearway_outcome::{FaultKind as Kind, Listening, Route, Speaker};

use crate::cause::Cause;
use crate::evidence::{Change, ChangeKind, Connection, Finding, HostLook, Lookup, Probe};
use crate::judge::dns::scene::{Expected, NOW_US, Scene, backend, check, lookup};
use crate::opinion::Confidence::{Certain, Likely, Possible};

const NAME: &str = "app.lab";

fn looked(lookups: Vec<Lookup>) -> (Probe, Finding) {
    (Probe::Lookup(NAME.to_owned()), Finding::Lookup(lookups))
}

fn unresolved(words: &'static str, lookups: Option<Vec<Lookup>>) -> Scene {
    let scene = Scene::of(Speaker::Nginx, &[Kind::NameUnresolved], "")
        .with(|scene| scene.words = words)
        .configured(backend("app.lab:8080"));
    match lookups {
        Some(lookups) => {
            let (probe, finding) = looked(lookups);
            scene.found(probe, finding)
        }
        None => scene,
    }
}

#[test]
fn names_without_addresses() {
    let both = |rcode| {
        vec![
            lookup("app.lab.", rcode, &[]),
            lookup("app.lab.", rcode, &[]),
        ]
    };
    check(vec![
        (
            "nothing but the fault",
            unresolved("", None),
            Expected(
                Some(Cause::DnsNxdomain),
                Possible,
                &[Cause::DnsServfail, Cause::DnsNoUsableFamily],
            ),
        ),
        (
            "NGINX says the same of an answer without addresses",
            unresolved("app.lab could not be resolved (3: Host not found)", None),
            Expected(
                Some(Cause::DnsNxdomain),
                Likely,
                &[Cause::DnsNoUsableFamily],
            ),
        ),
        (
            "NXDOMAIN",
            unresolved("", Some(both(Some(3)))),
            Expected(Some(Cause::DnsNxdomain), Certain, &[]),
        ),
        (
            "SERVFAIL",
            unresolved("", Some(both(Some(2)))),
            Expected(Some(Cause::DnsServfail), Certain, &[]),
        ),
        (
            "the log says SERVFAIL",
            unresolved("app.lab could not be resolved (2: Server failure)", None),
            Expected(Some(Cause::DnsServfail), Likely, &[]),
        ),
        (
            "an answer without addresses",
            unresolved("", Some(both(Some(0)))),
            Expected(Some(Cause::DnsNoUsableFamily), Likely, &[]),
        ),
        (
            "silence",
            Scene::of(Speaker::Clearway, &[Kind::NameTimeout], "")
                .configured(backend("app.lab:8080"))
                .found(looked(both(None)).0, looked(both(None)).1),
            Expected(Some(Cause::DnsTimeout), Certain, &[]),
        ),
        (
            "silence, as it was",
            Scene::of(Speaker::Clearway, &[Kind::NameTimeout], "")
                .configured(backend("app.lab:8080")),
            Expected(Some(Cause::DnsTimeout), Likely, &[]),
        ),
    ]);
}

#[test]
fn names_behind_nobody() {
    let nobody = || {
        Scene::of(
            Speaker::Haproxy,
            &[Kind::NoServers, Kind::AllServersDown, Kind::NameUnresolved],
            "",
        )
    };
    let (probe, finding) = looked(vec![lookup("app.lab.", Some(3), &[])]);
    let case = nobody()
        .configured(backend("app.lab:8080"))
        .found(probe, finding)
        .ready();
    let opinions = case.opinions(&case.groups[0]);
    let name = opinions
        .iter()
        .find(|opinion| opinion.cause == Cause::DnsNxdomain)
        .unwrap();
    assert!(!name.is_proven() && name.score() >= 44, "{}", name.score());
    let case = nobody().configured(backend("10.0.0.2:8080")).ready();
    let opinions = case.opinions(&case.groups[0]);
    let name = opinions
        .iter()
        .find(|opinion| opinion.cause == Cause::DnsNxdomain)
        .unwrap();
    assert!(name.is_ruled_out());
}

fn refused(address: &str, configured: &str) -> Scene {
    Scene::of(Speaker::Nginx, &[Kind::ConnectRefused], address).configured(backend(configured))
}

fn fails_still() -> (Probe, Finding) {
    let found = Connection {
        fault: Some(Kind::ConnectRefused),
        took_us: 300,
        ..Connection::default()
    };
    (Probe::Connect, Finding::Connect(Box::new(found)))
}

#[test]
fn addresses_that_were_left() {
    let moved = |to: &[&str]| looked(vec![lookup("app.lab.", Some(0), to)]);
    let at = |scene: Scene, found: (Probe, Finding)| scene.found(found.0, found.1);
    check(vec![
        (
            "the name leads elsewhere now, and the old address is dead",
            at(
                at(
                    refused("10.0.0.2:8080", "app.lab:8080"),
                    moved(&["10.0.0.3"]),
                ),
                fails_still(),
            ),
            Expected(Some(Cause::DnsStaleIp), Certain, &[]),
        ),
        (
            "the name leads elsewhere now",
            at(
                refused("10.0.0.2:8080", "app.lab:8080"),
                moved(&["10.0.0.3"]),
            ),
            Expected(Some(Cause::DnsStaleIp), Likely, &[]),
        ),
        (
            "the name leads there still",
            at(
                refused("10.0.0.2:8080", "app.lab:8080"),
                moved(&["10.0.0.2"]),
            ),
            Expected(Some(Cause::PortClosed), Possible, &[]),
        ),
        (
            "nobody knows",
            refused("10.0.0.2:8080", "app.lab:8080"),
            Expected(Some(Cause::DnsStaleIp), Possible, &[Cause::PortClosed]),
        ),
        (
            "answers take turns",
            at(
                at(
                    refused("10.0.0.2:8080", "app.lab:8080"),
                    looked(vec![
                        lookup("app.lab.", Some(0), &["10.0.0.3"]),
                        lookup("app.lab.", Some(0), &["10.0.0.4"]),
                    ]),
                ),
                fails_still(),
            ),
            Expected(Some(Cause::DnsStaleIp), Likely, &[]),
        ),
        (
            "a search domain catches the name",
            at(
                refused("10.0.9.9:8080", "app.lab:8080"),
                looked(vec![
                    lookup("app.lab.", Some(0), &["10.0.0.2"]),
                    Lookup {
                        is_searched: true,
                        ..lookup("app.lab.corp.", Some(0), &["10.0.9.9"])
                    },
                ]),
            ),
            Expected(Some(Cause::DnsWrongAnswer), Likely, &[]),
        ),
    ]);
    let by_address = refused("10.0.0.2:8080", "10.0.0.2:8080").ready();
    let opinions = by_address.opinions(&by_address.groups[0]);
    let stale = opinions
        .iter()
        .find(|o| o.cause == Cause::DnsStaleIp)
        .unwrap();
    assert!(stale.is_ruled_out());
}

#[test]
fn a_change_of_the_name_speaks_for_an_old_address() {
    let mut scene = refused("10.0.0.2:8080", "app.lab:8080");
    scene.case.changes.push(Change {
        at_us: NOW_US - 1_000_000,
        kind: ChangeKind::NameChanged,
        words: "app.lab leads to 10.0.0.3".to_owned(),
    });
    assert_eq!(scene.verdict().cause, Some(Cause::DnsStaleIp));
}

#[test]
fn families() {
    let v6 = |route| {
        let look = HostLook {
            route,
            ..HostLook::default()
        };
        Scene::of(
            Speaker::Nginx,
            &[Kind::ConnectUnreachable],
            "[2001:db8::1]:8080",
        )
        .with(|scene| {
            scene.errno = 101;
            scene.is_immediate = Some(true);
        })
        .configured(backend("app.lab:8080"))
        .found(Probe::Host, Finding::Host(Box::new(look)))
    };
    let case = v6(Some(Route::Missing)).ready();
    let opinions = case.opinions(&case.groups[0]);
    let family = opinions
        .iter()
        .find(|o| o.cause == Cause::DnsNoUsableFamily)
        .unwrap();
    assert!(family.score() >= 44, "{}", family.score());
    let case = v6(Some(Route::Local)).ready();
    let opinions = case.opinions(&case.groups[0]);
    let family = opinions
        .iter()
        .find(|o| o.cause == Cause::DnsNoUsableFamily)
        .unwrap();
    assert!(family.score() < 16, "{}", family.score());
}

#[test]
fn localhost() {
    let scene = |listens: Option<&str>, configured: &str| {
        let scene = refused("[::1]:3000", configured);
        let Some(listens) = listens else { return scene };
        let listening = Listening {
            v6_only: false,
            address: listens.parse().unwrap(),
            queue: 0,
            backlog: 128,
            process: Some("node".to_owned()),
            pid: None,
        };
        let look = HostLook {
            is_local: true,
            listeners: Some(vec![listening]),
            ..HostLook::default()
        };
        scene.found(Probe::Host, Finding::Host(Box::new(look)))
    };
    check(vec![
        (
            "the program listens on the other family",
            scene(Some("127.0.0.1:3000"), "localhost:3000"),
            Expected(Some(Cause::LocalhostIpv6First), Certain, &[]),
        ),
        (
            "nobody looked",
            scene(None, "localhost:3000"),
            Expected(
                Some(Cause::LocalhostIpv6First),
                Possible,
                &[Cause::PortClosed],
            ),
        ),
    ]);
    for listens in ["[::]:3000", "[::1]:3000"] {
        let verdict = scene(Some(listens), "localhost:3000").verdict();
        assert_ne!(verdict.cause, Some(Cause::LocalhostIpv6First), "{listens}");
    }
    let verdict = scene(None, "[::1]:3000").verdict();
    assert_eq!(verdict.cause, Some(Cause::PortClosed));
}
