//! Certificates on demand.

use std::sync::Arc;

use clearway_acme::demand::{Denial, Pattern};
use clearway_acme::{Answers, Event, OnDemand, Settings};
use clearway_testkit::TempDir;

use crate::support::pebble::{Pebble, ToIssuer};
use crate::support::{Running, block_on, http_terms, over_http};

fn settings(pebble: &Pebble, burst: u32) -> Settings {
    let allow = ["*.example.org", "example.net"].map(|text| Pattern::parse(text).unwrap());
    Settings {
        issuers: vec![Arc::new(pebble.issuer("pebble"))],
        on_demand: Some(OnDemand {
            allow: allow.into(),
            burst,
            per_hour: 1,
            max: 3,
            terms: http_terms(),
        }),
        ..Settings::default()
    }
}

#[test]
fn who_is_allowed_gets_one_and_who_is_not_hears_why() {
    let (folder, answers) = (TempDir::new(), Answers::new());
    let pebble = over_http(&answers);
    let settings = settings(&pebble, 2);
    let running = Running::start(settings.clone(), &folder, &answers);
    let ask = |name: &str| block_on(running.handle().ask(name));

    // Many at once for one name are one order.
    let askers: Vec<_> = (0..10)
        .map(|_| {
            let handle = running.handle().clone();
            std::thread::spawn(move || block_on(handle.ask("A.example.org")))
        })
        .collect();
    for asker in askers {
        assert_eq!(asker.join().unwrap(), Ok(()));
    }
    let issued = running.ear.certificate(1);
    assert_eq!(issued.facts.names, ["a.example.org"]);
    assert_eq!(ask("a.example.org"), Ok(()));

    let denied = ask("a.example.com").unwrap_err().to_string();
    assert!(
        denied.contains("a.example.com is not in the allow list"),
        "{denied}"
    );
    assert!(matches!(ask("example.org"), Err(Denial::NotAllowed(_))));
    assert!(matches!(ask("*.example.org"), Err(Denial::NotAllowed(_))));
    assert!(matches!(ask("x y"), Err(Denial::NotAName(_))));

    assert_eq!(ask("example.net"), Ok(()));
    let denied = ask("b.example.org").unwrap_err();
    assert!(
        matches!(denied, Denial::TooFast(wait) if wait > 3_000),
        "{denied}"
    );
    let count = running
        .ear
        .events()
        .iter()
        .filter(|e| matches!(e, Event::Issued { .. }))
        .count();
    assert_eq!(count, 2);
    drop(running);

    // After a restart they are there without being asked for.
    drop(pebble);
    let again = Running::start(settings, &folder, &answers);
    again.ear.certificate(2);
    assert_eq!(block_on(again.handle().ask("example.net")), Ok(()));
    assert!(
        again
            .handle()
            .status()
            .certificates
            .iter()
            .all(|one| one.on_demand)
    );
}

#[test]
fn a_failure_is_told_to_who_waits_and_to_who_comes_later() {
    let (folder, answers) = (TempDir::new(), Answers::new());
    let pebble = over_http(&answers);
    let settings = settings(&pebble, 5);
    drop(pebble);
    let running = Running::start(settings, &folder, &answers);
    for _ in 0..2 {
        let denied = block_on(running.handle().ask("a.example.org")).unwrap_err();
        let words = denied.to_string();
        assert!(
            matches!(denied, Denial::Failed(_, wait) if wait > 0),
            "{words}"
        );
        assert!(
            words.contains("cannot be reached") && words.contains("tried again in"),
            "{words}"
        );
    }
    let failures = running
        .ear
        .events()
        .iter()
        .filter(|e| matches!(e, Event::Failed { .. }))
        .count();
    assert_eq!(failures, 1, "the second was turned away without an order");
}
