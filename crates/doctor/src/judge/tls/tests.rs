//! Tests.

use clearway_outcome::{CertificateFacts, FaultKind as Kind, Signal, Speaker};

use super::{ask, is_for, plain_name};
use crate::case::Case;
use crate::cause::Cause;
use crate::evidence::{Connection, Finding, Greeting, Handshake, Probe, SniWord, Then};
use crate::judge::dns::scene::{Expected, NOW_S, Scene, certificate, check, facts, line, reply};
use crate::opinion::Confidence::{Certain, Likely, Possible};
use clearway_config::survey::Setting;

const AT: &str = "10.0.0.2:8443";

fn scene(speaker: Speaker, kind: Kind) -> Scene {
    Scene::of(speaker, &[kind], AT)
}

fn hello(greeting: Greeting, found: Handshake) -> (Probe, Finding) {
    (Probe::Hello(greeting), Finding::Hello(Box::new(found)))
}

/// A handshake that came to its end.
fn done(certificate: CertificateFacts, chain: u32) -> Handshake {
    Handshake {
        tls: Some(facts("", certificate)),
        chain,
        ..Handshake::default()
    }
}

/// One that ended with an alert.
fn alerted(number: u8) -> Handshake {
    Handshake {
        fault: Some(Kind::ServerTlsAlert),
        signal: Some(Signal::TlsAlert(number)),
        ..Handshake::default()
    }
}

fn failed(kind: Kind) -> Handshake {
    Handshake {
        fault: Some(kind),
        ..Handshake::default()
    }
}

fn named(name: &str) -> Greeting {
    Greeting {
        sni: SniWord::Name(name.to_owned()),
        ..Greeting::default()
    }
}

fn only(version: u16) -> Greeting {
    Greeting {
        version,
        ..Greeting::default()
    }
}

trait And {
    fn and(self, found: (Probe, Finding)) -> Self;
    fn alert(self, number: u8) -> Self;
}

impl And for Scene {
    fn and(self, (probe, finding): (Probe, Finding)) -> Self {
        self.found(probe, finding)
    }

    fn alert(self, number: u8) -> Self {
        self.with(|scene| scene.signal = Some(Signal::TlsAlert(number)))
    }
}

fn opinion(case: &Case, cause: Cause) -> crate::opinion::Opinion {
    let mut all = case.opinions(&case.groups[0]).into_iter();
    all.find(|opinion| opinion.cause == cause).unwrap()
}

#[test]
fn tls_and_clear() {
    let silent = || scene(Speaker::Clearway, Kind::ServerTlsTimeout).over_tls(Some("app.lab"));
    let plain = || scene(Speaker::Clearway, Kind::ServerSpeaksPlain);
    let get = |status| (Probe::Request(ask(false)), reply(status));
    check(vec![
        (
            "silence, and a request in clear is answered",
            silent().and(get(200)),
            Expected(Some(Cause::TlsToPlaintext), Certain, &[]),
        ),
        (
            "silence, and 400 in clear, which TLS ports say too",
            silent().and(get(400)),
            Expected(
                Some(Cause::TlsToPlaintext),
                Possible,
                &[Cause::TlsHandshakeTimeout],
            ),
        ),
        (
            "silence",
            silent(),
            Expected(
                Some(Cause::TlsHandshakeTimeout),
                Possible,
                &[Cause::TlsToPlaintext],
            ),
        ),
        (
            "silence, and a handshake is not answered either",
            silent().and(hello(Greeting::default(), failed(Kind::ServerTlsTimeout))),
            Expected(
                Some(Cause::TlsHandshakeTimeout),
                Possible,
                &[Cause::TlsToPlaintext],
            ),
        ),
        (
            "silence, whatever is said",
            silent()
                .and(hello(Greeting::default(), failed(Kind::ServerTlsTimeout)))
                .and(get(0)),
            Expected(Some(Cause::TlsHandshakeTimeout), Likely, &[]),
        ),
        (
            "the answer is HTTP",
            plain()
                .over_tls(None)
                .with(|scene| scene.first = b"HTTP/1.1 400 Bad Request\r\n"),
            Expected(Some(Cause::TlsToPlaintext), Certain, &[]),
        ),
        (
            "the answer says that TLS is wanted: something stands before the ClientHello",
            plain()
                .with(|scene| {
                    scene.first =
                        b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS";
                })
                .over_tls(None),
            Expected(None, Possible, &[]),
        ),
        (
            "NGINX says wrong version number",
            Scene::of(Speaker::Nginx, &[Kind::ServerSpeaksPlain], AT),
            Expected(Some(Cause::TlsToPlaintext), Likely, &[]),
        ),
    ]);
}

#[test]
fn clear_and_tls() {
    let dropped = || scene(Speaker::Nginx, Kind::ServerResetNoResponse);
    let own = || certificate(&["app.lab"], "Root");
    check(vec![
        (
            "the first bytes are TLS",
            scene(Speaker::Clearway, Kind::ServerSpeaksTls).in_clear(),
            Expected(Some(Cause::PlaintextToTls), Certain, &[]),
        ),
        (
            "dropped in clear, answered in TLS",
            dropped()
                .in_clear()
                .and(hello(Greeting::default(), done(own(), 2))),
            Expected(Some(Cause::PlaintextToTls), Certain, &[]),
        ),
    ]);
    let case = dropped()
        .in_clear()
        .and(hello(Greeting::default(), failed(Kind::ServerTlsReset)))
        .ready();
    assert!(opinion(&case, Cause::PlaintextToTls).score() < 0);
    let case = dropped().over_tls(None).ready();
    assert!(opinion(&case, Cause::PlaintextToTls).is_ruled_out());
    // Where nobody knows what is configured, the handshake alone proves nothing.
    let case = dropped()
        .and(hello(Greeting::default(), done(own(), 2)))
        .ready();
    assert!(!opinion(&case, Cause::PlaintextToTls).is_proven());
}

#[test]
fn remedies_are_written_in_the_readers_language() {
    for (speaker, start) in [
        (Speaker::Nginx, "proxy_pass http://"),
        (Speaker::Haproxy, "server NAME 10.0.0.2:8443"),
    ] {
        let verdict = scene(speaker, Kind::ServerSpeaksPlain)
            .over_tls(None)
            .found(Probe::Request(ask(false)), reply(200))
            .verdict();
        let fix = &verdict.fixes[0];
        assert!(fix.is_verified && fix.command.starts_with(start), "{fix:?}");
        assert!(fix.words.starts_with("in lb.conf:1"), "{fix:?}");
    }
}

#[test]
fn logs_that_do_not_tell_connecting_from_handshakes() {
    let vague = || {
        Scene::of(
            Speaker::Haproxy,
            &[Kind::ConnectTimeout, Kind::ServerTlsTimeout],
            AT,
        )
    };
    let case = vague().in_clear().ready();
    let opinions = case.opinions(&case.groups[0]);
    let of_tls = [Cause::TlsToPlaintext, Cause::TlsHandshakeTimeout];
    assert!(
        !opinions
            .iter()
            .any(|opinion| of_tls.contains(&opinion.cause))
    );
    let open = Connection {
        took_us: 400,
        then: Then::Open,
        ..Connection::default()
    };
    let verdict = vague()
        .over_tls(None)
        .found(Probe::Connect, Finding::Connect(Box::new(open)))
        .found(Probe::Request(ask(false)), reply(200))
        .verdict();
    assert_eq!(
        (verdict.cause, verdict.confidence),
        (Some(Cause::TlsToPlaintext), Certain)
    );
}

#[test]
fn names_asked_for() {
    let alert = |number| scene(Speaker::Nginx, Kind::ServerTlsAlert).alert(number);
    let own = || certificate(&["app.lab"], "Root");
    check(vec![
        (
            "112",
            alert(112).over_tls(None),
            Expected(Some(Cause::TlsSniMissingOrWrong), Likely, &[]),
        ),
        (
            "112, and with the name it succeeds",
            alert(112)
                .over_tls(None)
                .and(hello(Greeting::default(), alerted(112)))
                .and(hello(named("app.lab"), done(own(), 2))),
            Expected(Some(Cause::TlsSniMissingOrWrong), Certain, &[]),
        ),
        (
            "40 and nothing else",
            alert(40),
            Expected(
                Some(Cause::TlsSniMissingOrWrong),
                Possible,
                &[Cause::TlsCipherMismatch, Cause::MtlsCertRequired],
            ),
        ),
        (
            "40, and with the name it succeeds",
            alert(40)
                .over_tls(None)
                .and(hello(Greeting::default(), alerted(40)))
                .and(hello(named("app.lab"), done(own(), 2))),
            Expected(Some(Cause::TlsSniMissingOrWrong), Certain, &[]),
        ),
        (
            "40 with the name, too",
            alert(40)
                .over_tls(Some("app.lab"))
                .and(hello(Greeting::default(), alerted(40)))
                .and(hello(named("app.lab"), alerted(40))),
            Expected(
                Some(Cause::TlsCipherMismatch),
                Possible,
                &[Cause::TlsVersionMismatch],
            ),
        ),
        (
            "71",
            alert(71).over_tls(Some("app.lab")),
            Expected(Some(Cause::TlsCipherMismatch), Likely, &[]),
        ),
        (
            "another certificate without the name",
            scene(Speaker::Nginx, Kind::ServerCertificateName)
                .over_tls(None)
                .and(hello(
                    Greeting::default(),
                    done(certificate(&["other.lab"], "Root"), 2),
                ))
                .and(hello(named("app.lab"), done(own(), 2))),
            Expected(Some(Cause::TlsSniMissingOrWrong), Certain, &[]),
        ),
    ]);
    // A server that drops some connections proves nothing about names.
    let case = scene(Speaker::Nginx, Kind::ServerTlsReset)
        .over_tls(None)
        .and(hello(Greeting::default(), failed(Kind::ServerTlsReset)))
        .and(hello(named("app.lab"), done(own(), 2)))
        .ready();
    assert!(!opinion(&case, Cause::TlsSniMissingOrWrong).is_proven());
}

#[test]
fn certificates() {
    let at = |kind, certificate: CertificateFacts| {
        scene(Speaker::Clearway, kind)
            .over_tls(Some("app.lab"))
            .with(|scene| scene.tls = Some(facts("app.lab", certificate)))
    };
    let old = |names: &[&str]| CertificateFacts {
        not_after: NOW_S - 86_400,
        ..certificate(names, "Root")
    };
    let new = CertificateFacts {
        not_before: NOW_S + 86_400,
        ..certificate(&["app.lab"], "Root")
    };
    check(vec![
        (
            "expired",
            at(Kind::ServerCertificateExpired, old(&["app.lab"])),
            Expected(Some(Cause::TlsCertExpired), Certain, &[]),
        ),
        (
            "expired, but of somebody else",
            at(Kind::ServerCertificateExpired, old(&["default.lab"])),
            Expected(Some(Cause::TlsCertExpired), Likely, &[]),
        ),
        (
            "NGINX says expired",
            scene(Speaker::Nginx, Kind::ServerCertificateExpired),
            Expected(Some(Cause::TlsCertExpired), Likely, &[]),
        ),
        (
            "not yet valid",
            at(Kind::ServerCertificateNotYetValid, new),
            Expected(Some(Cause::TlsCertNotYetValid), Certain, &[]),
        ),
        (
            "another name",
            at(
                Kind::ServerCertificateName,
                certificate(&["other.lab"], "Root"),
            ),
            Expected(Some(Cause::TlsCertNameMismatch), Likely, &[]),
        ),
    ]);
    let verdict = at(Kind::ServerCertificateExpired, old(&["app.lab"])).verdict();
    assert_eq!(
        verdict.summary,
        "The server's certificate for app.lab has expired on 2026-11-17 11:06 UTC."
    );
}

#[test]
fn issuers() {
    let untrusted =
        || scene(Speaker::Clearway, Kind::ServerCertificateUntrusted).over_tls(Some("app.lab"));
    let with = |certificate: CertificateFacts, chain| {
        untrusted().and(hello(Greeting::default(), done(certificate, chain)))
    };
    let own_ca = |scene: Scene| {
        scene.with(|scene| {
            let tls = scene.survey.backends[0].tls.as_mut().unwrap();
            tls.ca = Some(Setting::written("ca", "/ca.pem".to_owned(), line(12)));
        })
    };
    let self_signed = CertificateFacts {
        issuer: "CN=app.lab".to_owned(),
        ..certificate(&["app.lab"], "")
    };
    check(vec![
        (
            "issued by itself",
            with(self_signed, 1),
            Expected(Some(Cause::TlsUnknownCa), Certain, &[]),
        ),
        (
            "the chain is there",
            own_ca(with(certificate(&["app.lab"], "Lab Issuing CA"), 2)),
            Expected(Some(Cause::TlsUnknownCa), Likely, &[]),
        ),
        (
            "alone, of a public authority",
            with(certificate(&["app.lab"], "R11,O=Let's Encrypt"), 1),
            Expected(Some(Cause::TlsMissingIntermediate), Likely, &[]),
        ),
        (
            "alone, of one between",
            own_ca(with(certificate(&["app.lab"], "Lab Intermediate"), 1)),
            Expected(
                Some(Cause::TlsMissingIntermediate),
                Likely,
                &[Cause::TlsUnknownCa],
            ),
        ),
        (
            "nobody knows",
            untrusted(),
            Expected(
                Some(Cause::TlsUnknownCa),
                Possible,
                &[Cause::TlsMissingIntermediate],
            ),
        ),
    ]);
}

#[test]
fn client_certificates() {
    let with_own = |scene: Scene| {
        scene.with(|scene| {
            let tls = scene.survey.backends[0].tls.as_mut().unwrap();
            tls.certificate = Some(Setting::written("crt", "/c.pem".to_owned(), line(12)));
        })
    };
    let wants = |number| {
        scene(Speaker::Clearway, Kind::ServerWantsCertificate)
            .over_tls(Some("app.lab"))
            .alert(number)
    };
    let demanding = || Handshake {
        wants_certificate: true,
        ..done(certificate(&["app.lab"], "Root"), 2)
    };
    check(vec![
        (
            "116 and none",
            wants(116),
            Expected(Some(Cause::MtlsCertRequired), Certain, &[]),
        ),
        (
            "116, unknown",
            Scene::of(Speaker::Nginx, &[Kind::ServerWantsCertificate], AT).alert(116),
            Expected(Some(Cause::MtlsCertRequired), Likely, &[]),
        ),
        (
            "48 and one",
            with_own(wants(48)),
            Expected(Some(Cause::MtlsCertRejected), Likely, &[]),
        ),
        (
            "48, unknown",
            Scene::of(Speaker::Nginx, &[Kind::ServerWantsCertificate], AT).alert(48),
            Expected(Some(Cause::MtlsCertRejected), Likely, &[]),
        ),
        (
            "42, unknown",
            Scene::of(Speaker::Nginx, &[Kind::ServerWantsCertificate], AT).alert(42),
            Expected(
                Some(Cause::MtlsCertRejected),
                Possible,
                &[Cause::MtlsCertRequired],
            ),
        ),
        (
            "40, and one is asked for",
            scene(Speaker::Nginx, Kind::ServerTlsAlert)
                .alert(40)
                .over_tls(Some("app.lab"))
                .and(hello(Greeting::default(), demanding())),
            Expected(Some(Cause::MtlsCertRequired), Likely, &[]),
        ),
        (
            "dropped behind the handshake, and one is asked for",
            scene(Speaker::Nginx, Kind::ServerResetNoResponse)
                .over_tls(Some("app.lab"))
                .and(hello(Greeting::default(), demanding())),
            Expected(Some(Cause::MtlsCertRequired), Likely, &[]),
        ),
    ]);
}

#[test]
fn versions_and_silence() {
    let own = || certificate(&["app.lab"], "Root");
    let incompatible =
        || scene(Speaker::Clearway, Kind::ServerTlsIncompatible).over_tls(Some("app.lab"));
    let range = |scene: Scene| {
        scene.with(|scene| {
            let tls = scene.survey.backends[0].tls.as_mut().unwrap();
            tls.min_version = Some(Setting::written("min", 0x0304, line(12)));
        })
    };
    let old = || Handshake {
        tls: Some(clearway_outcome::TlsFacts {
            version: 0x0303,
            ..facts("", own())
        }),
        ..Handshake::default()
    };
    check(vec![
        (
            "70",
            scene(Speaker::Nginx, Kind::ServerTlsAlert).alert(70),
            Expected(Some(Cause::TlsVersionMismatch), Likely, &[]),
        ),
        (
            "the server has 1.2, the balancer wants 1.3",
            range(incompatible())
                .and(hello(only(0x0303), old()))
                .and(hello(only(0x0304), alerted(70))),
            Expected(Some(Cause::TlsVersionMismatch), Certain, &[]),
        ),
        (
            "nobody knows",
            incompatible(),
            Expected(
                Some(Cause::TlsVersionMismatch),
                Possible,
                &[Cause::TlsCipherMismatch, Cause::TlsLocalPolicyRefusal],
            ),
        ),
        (
            "too weak for the library",
            scene(Speaker::Nginx, Kind::ServerTlsIncompatible)
                .with(|scene| scene.words = "SSL_do_handshake() failed (dh key too small)"),
            Expected(Some(Cause::TlsLocalPolicyRefusal), Likely, &[]),
        ),
        (
            "no protocol in common",
            scene(Speaker::Nginx, Kind::ServerTlsAlert).alert(120),
            Expected(Some(Cause::TlsAlpnMismatch), Likely, &[]),
        ),
        (
            "closed without a word",
            scene(Speaker::Clearway, Kind::ServerTlsClosed)
                .over_tls(Some("app.lab"))
                .and(hello(Greeting::default(), failed(Kind::ServerTlsClosed))),
            Expected(Some(Cause::TlsHandshakeClosed), Likely, &[]),
        ),
    ]);
}

#[test]
fn names_are_compared_as_browsers_do() {
    let both = certificate(&["*.lab", "example.org"], "Root");
    assert!(is_for(&both, "app.lab") && is_for(&both, "EXAMPLE.org"));
    assert!(!is_for(&both, "a.b.lab") && !is_for(&both, "lab") && !is_for(&both, "x.example.org"));
    assert_eq!(plain_name("app.lab:8443").as_deref(), Some("app.lab"));
    for text in ["$host", "10.0.0.2", "[::1]:80", "req.hdr(host)", ""] {
        assert_eq!(plain_name(text), None, "{text}");
    }
}
