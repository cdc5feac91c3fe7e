//! Each way to prove control over a name, each kind of key, what an authority may ask for besides.

use std::sync::Arc;
use std::time::Duration;

use clearway_acme::dns::{DnsProvider, Hook, Propagation, TsigAlgorithm, TsigKey, Update, Via};
use clearway_acme::settings::Terms;
use clearway_acme::{Answers, Challenge, Event, ExternalAccount, Issuer, KeyType, Settings};
use clearway_testkit::TempDir;
use clearway_testkit::bind::Bind;
use clearway_testkit::process::program;

use crate::support::pebble::{Dns, Pebble, Setup, ToIssuer, ToResolver};
use crate::support::{Running, block_on, http_terms, names, over_http, respond, wanted};

#[test]
fn a_certificate_by_http_01() {
    let (folder, answers) = (TempDir::new(), Answers::new());
    let pebble = over_http(&answers);
    let settings = Settings {
        issuers: vec![Arc::new(pebble.issuer("pebble"))],
        certificates: vec![wanted(&["b.example.org", "a.example.org"], &http_terms())],
        ..Settings::default()
    };
    let running = Running::start(settings, &folder, &answers);
    let issued = running.ear.certificate(1);
    assert_eq!(issued.facts.names, ["a.example.org", "b.example.org"]);
    assert_eq!(issued.facts.key_type, Some(KeyType::EcdsaP256));
    assert_eq!(issued.chain_pem.matches("BEGIN CERTIFICATE").count(), 2);
    running.ear.event("issued", |event| {
        matches!(event, Event::Issued { issuer, .. } if issuer == "pebble").then_some(())
    });
    let status = running.status("a.example.org", |one| {
        one.not_after.is_some() && !one.running
    });
    assert_eq!(status.last_failure, None);
    assert!(answers.is_empty(), "answers are withdrawn");
}

#[test]
fn a_certificate_by_tls_alpn_01() {
    let (folder, answers) = (TempDir::new(), Answers::new());
    let pebble = Pebble::start(&Setup {
        tls: Some(respond::tls(&answers)),
        ..Setup::default()
    });
    let terms = Terms {
        key_type: KeyType::EcdsaP384,
        challenges: vec![Challenge::TlsAlpn01],
        ..Terms::default()
    };
    let settings = Settings {
        issuers: vec![Arc::new(pebble.issuer("pebble"))],
        certificates: vec![wanted(&["a.example.org"], &terms)],
        ..Settings::default()
    };
    let running = Running::start(settings, &folder, &answers);
    let issued = running.ear.certificate(1);
    assert_eq!(issued.facts.key_type, Some(KeyType::EcdsaP384));
}

/// A hook that tells Pebble's DNS server.
fn hook(dns: &Dns, folder: &TempDir) -> DnsProvider {
    let curl = program("curl", "curl");
    let script = format!(
        r#"echo "$@" >> {log}
case "$ACME_ACTION" in
present) path=set-txt body="{{\"host\":\"$2.\",\"value\":\"$3\"}}" ;;
cleanup) path=clear-txt body="{{\"host\":\"$2.\"}}" ;;
esac
exec {curl} -sSf -d "$body" http://{management}/$path
"#,
        log = folder.file("hook.log"),
        curl = curl.display(),
        management = dns.management,
    );
    let hook = Hook {
        program: "/bin/sh".into(),
        arguments: vec![folder.write("hook.sh", &script)],
        environment: Vec::new(),
        timeout: Duration::from_secs(20),
    };
    DnsProvider {
        via: Via::Exec(hook),
        propagation: Propagation::Visible {
            servers: vec![dns.address],
            within: Duration::from_secs(10),
            every: Duration::from_millis(50),
        },
    }
}

#[test]
fn a_wildcard_by_dns_01_with_a_hook() {
    let (folder, answers) = (TempDir::new(), Answers::new());
    let pebble = Pebble::start(&Setup::default());
    let terms = Terms {
        key_type: KeyType::Rsa2048,
        challenges: vec![
            Challenge::Http01,
            Challenge::Dns01(Arc::new(hook(pebble.dns(), &folder))),
        ],
        ..Terms::default()
    };
    let settings = Settings {
        issuers: vec![Arc::new(pebble.issuer("pebble"))],
        certificates: vec![wanted(&["*.example.org"], &terms)],
        resolver: pebble.dns().resolver(),
        ..Settings::default()
    };
    let running = Running::start(settings, &folder, &answers);
    let issued = running.ear.certificate(1);
    assert_eq!(issued.facts.names, ["*.example.org"]);
    assert_eq!(issued.facts.key_type, Some(KeyType::Rsa2048));
    let log = std::fs::read_to_string(folder.file("hook.log")).unwrap();
    let calls: Vec<&str> = log.lines().collect();
    assert_eq!(calls.len(), 2, "{log}");
    assert!(
        calls[0].starts_with("present _acme-challenge.example.org "),
        "{log}"
    );
    assert!(
        calls[1].starts_with("cleanup _acme-challenge.example.org "),
        "{log}"
    );
}

#[test]
fn certificates_by_dns_01_with_dynamic_updates() {
    let (folder, answers) = (TempDir::new(), Answers::new());
    let bind = Bind::start();
    let pebble = Pebble::start(&Setup {
        dns: Some(bind.address),
        ..Setup::default()
    });
    let provider = DnsProvider {
        via: Via::Update(Update {
            server: bind.address,
            zone: None,
            key: Some(TsigKey::new("update", TsigAlgorithm::HmacSha256, &bind.secret).unwrap()),
            ttl: 60,
            timeout: Duration::from_secs(5),
        }),
        propagation: Propagation::Visible {
            servers: vec![bind.address],
            within: Duration::from_secs(10),
            every: Duration::from_millis(50),
        },
    };
    let terms = Terms {
        challenges: vec![Challenge::Dns01(Arc::new(provider))],
        ..Terms::default()
    };
    let settings = Settings {
        issuers: vec![Arc::new(pebble.issuer("pebble"))],
        certificates: vec![
            // Both at one place with a value each.
            wanted(&["example.org", "*.example.org"], &terms),
            // By way of an alias.
            wanted(&["b.example.org"], &terms),
        ],
        resolver: clearway_net::dns::Settings {
            servers: vec![bind.address],
            ..clearway_net::dns::Settings::default()
        },
        ..Settings::default()
    };
    let running = Running::start(settings, &folder, &answers);
    running.ear.certificate(2);
    let status = running.status("b.example.org", |one| one.not_after.is_some());
    assert_eq!(status.last_failure, None);
}

const MAC_KEY: &str = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";

#[test]
fn an_external_account_is_bound_or_missed_in_words() {
    let (folder, answers) = (TempDir::new(), Answers::new());
    let pebble = Pebble::start(&Setup {
        http: Some(respond::http(&answers)),
        external: Some(("kid-1", MAC_KEY)),
        ..Setup::default()
    });
    let bound = Issuer {
        external_account: Some(ExternalAccount::new("kid-1", MAC_KEY).unwrap()),
        ..pebble.issuer("bound")
    };
    let settings = Settings {
        issuers: vec![Arc::new(pebble.issuer("bare")), Arc::new(bound)],
        certificates: vec![wanted(&["a.example.org"], &http_terms())],
        ..Settings::default()
    };
    let running = Running::start(settings, &folder, &answers);
    running.ear.certificate(1);
    let (code, words) = running.ear.failure();
    assert_eq!(code, "acme-account", "{words}");
    assert!(
        words.starts_with("bare: the authority wants an external account binding"),
        "{words}"
    );
    let status = running.status("a.example.org", |one| one.issuer.is_some());
    assert_eq!(status.issuer.as_deref(), Some("bound"));
}

#[test]
fn refused_nonces_are_tried_again() {
    let (folder, answers) = (TempDir::new(), Answers::new());
    let pebble = Pebble::start(&Setup {
        http: Some(respond::http(&answers)),
        refused_nonces: 30,
        ..Setup::default()
    });
    let settings = Settings {
        issuers: vec![Arc::new(pebble.issuer("pebble"))],
        certificates: vec![wanted(&["a.example.org"], &http_terms())],
        ..Settings::default()
    };
    let running = Running::start(settings, &folder, &answers);
    // About one order in six fails for good at this rate; the pause after it is a minute.
    for _ in 0..6 {
        let status = running.status("a.example.org", |one| {
            one.not_after.is_some() || one.failures > 0 && !one.running
        });
        if status.not_after.is_some() {
            return;
        }
        assert_eq!(
            status.last_code.as_deref(),
            Some("acme-bad-nonce"),
            "{status:?}"
        );
        let id = names(&["a.example.org"]).id();
        assert!(block_on(running.handle().renew(&id)));
    }
    panic!("never issued");
}
