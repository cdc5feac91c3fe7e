//! Renewal: by lifetime, by the authority's advice, by hand; after restarts; when it fails.

use std::sync::Arc;

use clearway_acme::settings::Terms;
use clearway_acme::status::Reason;
use clearway_acme::{Answers, Event, Settings};
use clearway_testkit::TempDir;

use crate::support::front::{Front, Reply};
use crate::support::pebble::{Pebble, Setup, ToIssuer};
use crate::support::{DAY, Running, block_on, http_terms, names, over_http, respond, wanted};

fn settings(pebble: &Pebble, terms: &Terms) -> Settings {
    Settings {
        issuers: vec![Arc::new(pebble.issuer("pebble"))],
        certificates: vec![wanted(&["a.example.org"], terms)],
        ..Settings::default()
    }
}

fn id() -> String {
    names(&["a.example.org"]).id()
}

#[test]
fn a_certificate_is_renewed_when_a_third_of_its_life_is_left() {
    let (folder, answers) = (TempDir::new(), Answers::new());
    let pebble = over_http(&answers);
    let settings = settings(&pebble, &http_terms());
    let running = Running::start(settings.clone(), &folder, &answers);
    let first = running.ear.certificate(1);
    running.pass(50 * DAY, &settings);
    let status = running.status("a.example.org", |one| !one.running);
    assert_eq!(status.reason, Reason::Lifetime);
    let left = status.not_after.unwrap() - status.next;
    assert!((30 * DAY..=33 * DAY).contains(&left), "{left}");
    running.pass(10 * DAY, &settings);
    let second = running.ear.certificate(2);
    assert_ne!(first.facts.serial, second.facts.serial);
    assert_ne!(first.key_pem, second.key_pem, "a new key each time");
    running.ear.event("renewed", |event| {
        matches!(event, Event::Renewed { .. }).then_some(())
    });
    // By our clock the new one is as old as the first, and is left alone nevertheless.
    let status = running.status("a.example.org", |one| {
        one.serial.as_deref() == Some(&second.facts.serial) && !one.running
    });
    let now = clearway_acme::Clock::wall().now() + 60 * DAY;
    assert!(
        status.next > now + DAY / 2,
        "{} is soon after {now}",
        status.next
    );
}

#[test]
fn a_failed_renewal_leaves_the_certificate_in_use_and_survives_a_restart() {
    let (folder, answers) = (TempDir::new(), Answers::new());
    let pebble = over_http(&answers);
    let settings = settings(&pebble, &http_terms());
    let running = Running::start(settings.clone(), &folder, &answers);
    let first = running.ear.certificate(1);
    drop(pebble);
    assert!(!block_on(running.handle().renew("nothing")));
    assert!(block_on(running.handle().renew(&id())));
    let (code, words) = running.ear.failure();
    assert_eq!(code, "acme-unreachable", "{words}");
    let status = running.status("a.example.org", |one| one.failures == 1 && !one.running);
    assert_eq!(status.serial.as_deref(), Some(first.facts.serial.as_str()));
    assert_eq!(status.not_after, Some(first.facts.validity.not_after));
    drop(running);

    let again = Running::start(settings, &folder, &answers);
    assert_eq!(again.ear.certificate(1).facts, first.facts);
    again.ear.event("loaded", |event| {
        matches!(event, Event::Loaded { .. }).then_some(())
    });
    let status = again.status("a.example.org", |one| one.serial.is_some());
    assert_eq!(status.failures, 1, "the pause is remembered");
    assert_eq!(status.issuer.as_deref(), Some("pebble"));
    let failed = again
        .ear
        .events()
        .iter()
        .any(|e| matches!(e, Event::Failed { .. }));
    assert!(!failed, "nothing was due");
}

#[test]
fn a_key_is_kept_where_that_is_wanted() {
    let (folder, answers) = (TempDir::new(), Answers::new());
    let pebble = over_http(&answers);
    let terms = Terms {
        reuse_key: true,
        ..http_terms()
    };
    let running = Running::start(settings(&pebble, &terms), &folder, &answers);
    let first = running.ear.certificate(1);
    assert!(block_on(running.handle().renew(&id())));
    let second = running.ear.certificate(2);
    assert_eq!(first.key_pem, second.key_pem);
    assert_ne!(first.facts.serial, second.facts.serial);
}

#[test]
fn an_account_that_the_authority_has_forgotten_is_made_anew() {
    let (folder, answers) = (TempDir::new(), Answers::new());
    let pebble = over_http(&answers);
    let (at, identity) = (pebble.address, pebble.identity.clone());
    let settings = settings(&pebble, &http_terms());
    let running = Running::start(settings, &folder, &answers);
    running.ear.certificate(1);
    drop(pebble);
    let _pebble = Pebble::start(&Setup {
        http: Some(respond::http(&answers)),
        at: Some((at, identity)),
        ..Setup::default()
    });
    assert!(block_on(running.handle().renew(&id())));
    running.ear.certificate(2);
    let accounts = std::fs::read_dir(folder.path().join("acme/accounts")).unwrap();
    assert_eq!(accounts.count(), 2, "the old one is kept aside");
}

/// Pebble of the distribution has no renewal information, so a front before it adds that.
#[test]
fn the_authority_says_when_to_renew() {
    let (folder, answers) = (TempDir::new(), Answers::new());
    let pebble = over_http(&answers);
    let front = Front::start(&pebble, |request, forward| {
        if request.path.starts_with("/renewal-info/") {
            // In the past: renew now.
            let body = r#"{"suggestedWindow":{"start":"2025-01-02T04:00:00Z","end":"2025-01-03T04:00:00Z"},
                "explanationURL":"https://example.org/why"}"#;
            return Reply::new(200, body).with("Retry-After", "21600");
        }
        let mut reply = forward();
        if request.path == "/dir" {
            let info = format!("https://{}/renewal-info", request.host);
            reply.change(|body| body["renewalInfo"] = info.into());
        } else if let Some(old) = request.payload.get("replaces") {
            reply.change(|body| body["replaces"] = old.clone());
        }
        reply
    });
    let settings = Settings {
        issuers: vec![Arc::new(front.issuer("front"))],
        certificates: vec![wanted(&["a.example.org"], &http_terms())],
        ..Settings::default()
    };
    let running = Running::start(settings.clone(), &folder, &answers);
    let first = running.ear.certificate(1);
    let status = running.status("a.example.org", |one| one.reason == Reason::RenewalInfo);
    assert_eq!(
        status.explanation.as_deref(),
        Some("https://example.org/why")
    );
    let now = clearway_acme::Clock::wall().now();
    assert!(status.next > now, "not in the hour it was issued");
    running.pass(DAY + 60, &settings);
    running.ear.certificate(2);
    let (authority, serial) = first.facts.info_id.unwrap();
    let id = format!("{authority}.{serial}");
    let requests = front.requests();
    let asked = format!("/renewal-info/{id}");
    assert!(
        requests.iter().any(|request| request.path == asked),
        "{asked}"
    );
    let replaced = requests
        .iter()
        .filter_map(|request| request.payload.get("replaces"))
        .next();
    assert_eq!(replaced.and_then(|old| old.as_str()), Some(id.as_str()));
}
