//! Failures and their words.

use std::sync::Arc;

use clearway_acme::status::Reason;
use clearway_acme::{Answers, Event, Issuer, Roots, Settings};
use clearway_testkit::TempDir;
use clearway_testkit::dns::NameServer;

use crate::support::front::{Front, Reply};
use crate::support::pebble::{Dns, Pebble, Setup, ToIssuer, ToResolver, free_address};
use crate::support::{Running, http_terms, over_http, respond, wanted};

fn settings(issuers: Vec<Issuer>) -> Settings {
    Settings {
        issuers: issuers.into_iter().map(Arc::new).collect(),
        certificates: vec![wanted(&["a.example.org"], &http_terms())],
        ..Settings::default()
    }
}

#[test]
fn a_port_that_refuses_and_a_name_that_leads_elsewhere() {
    let (folder, answers) = (TempDir::new(), Answers::new());
    let pebble = Pebble::start(&Setup::default());
    // Seen from here the name leads elsewhere; the authority comes to this host, to an address on which
    // no other test listens.
    pebble.dns().set_address("a.example.org", "127.9.9.9");
    let ours = Dns::start();
    ours.set_address("a.example.org", "192.0.2.7");
    let settings = Settings {
        resolver: ours.resolver(),
        ..settings(vec![pebble.issuer("pebble")])
    };
    let running = Running::start(settings, &folder, &answers);
    let (code, words) = running.ear.failure();
    assert_eq!(code, "acme-connection", "{words}");
    for part in [
        "pebble: a.example.org: port 80 cannot be reached: connection refused",
        "a.example.org resolves to 192.0.2.7, which is not an address of this host",
        "from this host, port 80 of 192.0.2.7",
    ] {
        assert!(words.contains(part), "{part:?} is not in {words}");
    }
    let status = running.status("a.example.org", |one| one.failures == 1 && !one.running);
    assert_eq!(status.reason, Reason::Pause);
    assert_eq!(status.last_code.as_deref(), Some("acme-connection"));
    assert!(
        answers.is_empty(),
        "answers are withdrawn after a failure too"
    );
}

#[test]
fn a_name_that_does_not_exist() {
    let (folder, answers) = (TempDir::new(), Answers::new());
    let nowhere = NameServer::start();
    let pebble = Pebble::start(&Setup {
        dns: Some(nowhere.address().parse().unwrap()),
        ..Setup::default()
    });
    let settings = Settings {
        resolver: clearway_net::dns::Settings {
            servers: vec![nowhere.address().parse().unwrap()],
            ..clearway_net::dns::Settings::default()
        },
        ..settings(vec![pebble.issuer("pebble")])
    };
    let running = Running::start(settings, &folder, &answers);
    let (code, words) = running.ear.failure();
    assert_eq!(code, "acme-no-such-name", "{words}");
    let part = "seen from this host, a.example.org does not exist (NXDOMAIN)";
    assert!(words.contains(part), "{words}");
}

#[test]
fn an_answer_that_is_not_ours() {
    let (folder, answers) = (TempDir::new(), Answers::new());
    let pebble = Pebble::start(&Setup {
        // Serves a registry that nobody publishes into.
        http: Some(respond::http(&Answers::new())),
        ..Setup::default()
    });
    let running = Running::start(settings(vec![pebble.issuer("pebble")]), &folder, &answers);
    let (code, words) = running.ear.failure();
    assert_eq!(code, "acme-wrong-answer", "{words}");
    assert!(words.contains("port 80 gave a wrong answer"), "{words}");
    assert!(words.contains("nobody asked this balancer"), "{words}");
}

#[test]
fn a_refused_name() {
    let (folder, answers) = (TempDir::new(), Answers::new());
    let pebble = Pebble::start(&Setup {
        blocked: vec!["example.org"],
        ..Setup::default()
    });
    let running = Running::start(settings(vec![pebble.issuer("pebble")]), &folder, &answers);
    let (code, words) = running.ear.failure();
    assert_eq!(code, "acme-name-refused", "{words}");
}

#[test]
fn a_dead_issuer_gives_way_to_the_next() {
    let (folder, answers) = (TempDir::new(), Answers::new());
    let pebble = over_http(&answers);
    let dead = Issuer::new("dead", &format!("https://{}/dir", free_address()));
    let untrusted = Issuer {
        roots: Roots::System,
        ..pebble.issuer("untrusted")
    };
    let no_acme = Issuer {
        directory: format!("https://localhost:{}/nothing", pebble.address.port()),
        ..pebble.issuer("no-acme")
    };
    let settings = settings(vec![dead, untrusted, no_acme, pebble.issuer("pebble")]);
    let running = Running::start(settings, &folder, &answers);
    running.ear.certificate(1);
    let failure = |issuer: &str| {
        running.ear.event(issuer, |event| {
            if let Event::Failed { code, words, .. } = event
                && words.starts_with(issuer)
            {
                Some((*code, words.clone()))
            } else {
                None
            }
        })
    };
    for (issuer, code, part) in [
        ("dead", "acme-unreachable", "refused"),
        ("untrusted", "acme-untrusted", "not trusted: localhost: "),
        ("no-acme", "acme-protocol", "ACME directory"),
    ] {
        let (found, words) = failure(issuer);
        assert_eq!(found, code, "{words}");
        assert!(words.contains(part), "{words}");
    }
    let one = running.status("a.example.org", |one| one.issuer.is_some());
    assert_eq!(
        (one.issuer.as_deref(), one.last_failure),
        (Some("pebble"), None)
    );
    let status = running.handle().status();
    let resting: Vec<bool> = status
        .issuers
        .iter()
        .map(|one| one.rests_until > 0)
        .collect();
    assert_eq!(resting, [true, true, true, false]);
}

#[test]
fn a_rate_limit_says_until_when() {
    let (folder, answers) = (TempDir::new(), Answers::new());
    let pebble = over_http(&answers);
    let front = Front::start(&pebble, |request, forward| {
        if !request.path.contains("order") {
            return forward();
        }
        let body = r#"{"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many certificates (5) already issued"}"#;
        Reply::new(429, body).with("Retry-After", "7200")
    });
    let running = Running::start(settings(vec![front.issuer("front")]), &folder, &answers);
    let (code, words) = running.ear.failure();
    assert_eq!(code, "acme-rate-limited", "{words}");
    assert!(
        words.contains("too many certificates (5) already issued"),
        "{words}"
    );
    assert!(words.contains("; not before 20"), "{words}");
    let status = running.status("a.example.org", |one| one.failures == 1 && !one.running);
    let wait = status.next - clearway_acme::Clock::wall().now();
    assert!((7_000..=7_200).contains(&wait), "{wait}");
}

#[test]
fn an_authority_in_trouble_without_a_problem_document() {
    let (folder, answers) = (TempDir::new(), Answers::new());
    let pebble = over_http(&answers);
    let front = Front::start(&pebble, |request, forward| {
        if request.path.contains("order") {
            Reply::new(502, "<html>Bad Gateway</html>")
                .with("Date", "Thu, 01 Jan 2026 00:00:00 GMT")
        } else {
            forward()
        }
    });
    let running = Running::start(settings(vec![front.issuer("front")]), &folder, &answers);
    let (code, words) = running.ear.failure();
    assert_eq!(code, "acme-authority-error", "{words}");
    assert!(
        words.contains("the authority answered 502 while ordering"),
        "{words}"
    );
    assert!(words.contains("the clock of this host is"), "{words}");
}
