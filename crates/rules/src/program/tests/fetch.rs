//! What fetches yield and conditions see.

use clearway_outcome::{CertificateFacts, CertificateVerdict, TlsFacts};

use crate::ast::{FieldTest, RouteMatch};
use crate::testing::Asked;

use super::*;

#[test]
fn each_fetch_has_its_value() {
    let asked = ask(
        "PUT /a/../b%2Fc%41?q=1&r=%41&e",
        &[
            "Host: WWW.Test.:8080",
            "X-A: one",
            "X-A: two",
            "Cookie: a=1; sid=xyz",
            "Cookie: b=2",
            "User-Agent: curl",
        ],
    );
    for (text, expected) in [
        ("${host}", "www.test"),
        ("${path}", "/b%2FcA"),
        ("${raw_path}", "/a/../b%2Fc%41"),
        ("${query}", "q=1&r=%41&e"),
        ("${target}", "/a/../b%2Fc%41?q=1&r=%41&e"),
        ("${method}", "PUT"),
        ("${version}", "1.1"),
        ("${client_ip}", "192.0.2.7"),
        ("${client_port}", "40000"),
        ("${listener}", "web"),
        ("${scheme}", "http"),
        ("${id}", "0000000000001"),
        ("${header:x-a}", "one"),
        ("${header:user-agent}", "curl"),
        ("${header:Host}", "WWW.Test.:8080"),
        ("${sent_host}", "WWW.Test.:8080"),
        ("${header:none}", ""),
        ("${cookie:sid}", "xyz"),
        ("${cookie:b}", "2"),
        ("${cookie:none}", ""),
        ("${query:q}", "1"),
        ("${query:r}", "%41"),
        ("${query:e}", ""),
        ("${var:none}", ""),
        ("${1}", ""),
        ("<${method}|$$>", "<PUT|$>"),
    ] {
        assert_eq!(value(&asked, text), expected, "{text}");
    }
}

#[test]
fn fetches_of_odd_requests() {
    let absolute = get("http://test?x", &[]);
    assert_eq!(value(&absolute, "${path} ${target} ${query}"), "/ /?x x");
    let absolute = get("http://test/p?x", &[]);
    assert_eq!(value(&absolute, "${target}"), "/p?x");
    let asterisk = ask("OPTIONS *", &[]);
    assert_eq!(value(&asterisk, "[${path}]"), "[]");
    let mut local = get("/", &["Host: [::1]:80"]);
    local.client = Address::Unix;
    assert_eq!(
        value(&local, "[${client_ip}${client_port}] ${host}"),
        "[] [::1]"
    );
    local.client = Address::Ip("[::ffff:10.0.0.1]:1".parse().unwrap());
    assert_eq!(value(&local, "${client_ip}"), "10.0.0.1");
}

#[test]
fn tls_with_the_client_has_its_fetches() {
    let mut asked = get("/", &[]);
    assert_eq!(
        value(
            &asked,
            "[${tls_version}${tls_resumed}${client_cert_subject}${client_cert_verdict}]"
        ),
        "[]"
    );
    asked.tls = Some(TlsFacts {
        version: 0x0304,
        cipher: 0x1301,
        server_name: "a.test".to_owned(),
        alpn: b"http/1.1".to_vec(),
        resumed: true,
        ..TlsFacts::default()
    });
    assert_eq!(
        value(
            &asked,
            "${tls_version} ${tls_cipher} ${tls_server_name} ${tls_alpn} ${tls_resumed} \
             ${client_cert_verdict} [${client_cert_names}${client_cert_not_after}]"
        ),
        "TLSv1.3 TLS_AES_128_GCM_SHA256 a.test http/1.1 true none []"
    );
    let tls = asked.tls.as_mut().unwrap();
    tls.verdict = CertificateVerdict::Verified;
    tls.certificate = Some(CertificateFacts {
        subject: "CN=ada,O=x".to_owned(),
        issuer: "CN=root".to_owned(),
        names: vec!["ada.test".to_owned(), "192.0.2.1".to_owned()],
        not_before: 0,
        not_after: 1_767_225_600,
        serial: "0a".to_owned(),
        fingerprint: "ff".to_owned(),
    });
    assert_eq!(
        value(
            &asked,
            "${client_cert_subject} ${client_cert_issuer} ${client_cert_serial} \
             ${client_cert_fingerprint} ${client_cert_names} ${client_cert_not_after} \
             ${client_cert_verdict}"
        ),
        "CN=ada,O=x CN=root 0a ff ada.test,192.0.2.1 2026-01-01T00:00:00Z verified"
    );
}

#[test]
fn conditions_see_the_certificate_of_the_client() {
    let mut asked = get("/", &[]);
    let held = |asked: &Asked, test: FieldTest| {
        let route = RouteMatch {
            client_cert: Some(test),
            ..RouteMatch::default()
        };
        let rule = Rule {
            condition: route.condition(),
            actions: vec![set("x-held", "yes")],
        };
        forwarded(asked, &[rule]).unwrap().contains("x-held: yes")
    };
    let subject = FieldTest::Exact("CN=ada".to_owned());
    let pattern = FieldTest::Regex("^CN=a".to_owned());
    for tls in [None, Some(TlsFacts::default())] {
        asked.tls = tls;
        assert!(!held(&asked, FieldTest::Present));
        assert!(held(&asked, FieldTest::Absent));
        assert!(!held(&asked, subject.clone()) && !held(&asked, pattern.clone()));
    }
    let tls = asked.tls.as_mut().unwrap();
    tls.certificate = Some(CertificateFacts {
        subject: "CN=ada".to_owned(),
        ..CertificateFacts::default()
    });
    assert!(held(&asked, FieldTest::Present) && !held(&asked, FieldTest::Absent));
    assert!(held(&asked, subject) && held(&asked, pattern));
    assert!(!held(&asked, FieldTest::Exact("CN=eve".to_owned())));
    let name = Condition::test(Fetch::ClientCertNames, exact("b.test"));
    let tls = asked.tls.as_mut().unwrap();
    tls.certificate.as_mut().unwrap().names = vec!["a.test".to_owned(), "b.test".to_owned()];
    let rule = Rule {
        condition: name,
        actions: vec![set("x-held", "yes")],
    };
    assert!(forwarded(&asked, &[rule]).unwrap().contains("x-held: yes"));
}

#[test]
fn response_fetches_have_their_values() {
    let asked = get("/", &[]).answered("HTTP/1.1 404 Not Found\r\nX-Kind: a\r\n\r\n");
    let program = Program::compile(&[always(vec![Action::SetResponseHeader {
        name: "x-out".to_owned(),
        value: template("${status} ${response_header:x-kind} ${backend} ${server} ${host}"),
    }])])
    .unwrap();
    assert!(program.has_response_rules());
    let (mut scratch, mut edits) = (Scratch::default(), Edits::default());
    let view = asked.view();
    assert_eq!(
        program.run_request(&view, &mut scratch, &mut edits),
        Flow::Continue
    );
    let mut edits = Edits::default();
    assert_eq!(
        program.run_response(&view, &mut scratch, &mut edits),
        Flow::Continue
    );
    let text = asked.delivered(&edits);
    assert!(text.contains("x-out: 404 a app app1 test\r\n"), "{text}");
}

#[test]
fn conditions_combine() {
    let holds = |condition: Condition| Rule {
        condition,
        actions: vec![set("x-held", "yes")],
    };
    let held = |condition: Condition, target: &str| {
        let text = forwarded(&get(target, &["X-N: 12"]), &[holds(condition)]).unwrap();
        text.contains("x-held: yes")
    };
    let path = |text: &str| Condition::test(Fetch::Path, Test::PathPrefix(vec![text.to_owned()]));
    let number = |min, max| {
        Condition::test(
            Fetch::Header("x-n".to_owned()),
            Test::Range {
                min: Some(min),
                max: Some(max),
            },
        )
    };
    assert!(held(Condition::Always, "/"));
    assert!(held(Condition::All(vec![]), "/"));
    assert!(!held(Condition::Any(vec![]), "/"));
    assert!(held(path("/a"), "/%61/b"));
    assert!(!held(path("/a"), "/ab"));
    assert!(held(path("/a").negated(), "/ab"));
    assert!(held(Condition::All(vec![path("/a"), number(10, 12)]), "/a"));
    assert!(!held(
        Condition::All(vec![path("/a"), number(13, 20)]),
        "/a"
    ));
    assert!(held(Condition::Any(vec![path("/b"), number(10, 12)]), "/a"));
    let parameter = |text: &str| Condition::test(Fetch::QueryParam("q".to_owned()), exact(text));
    for query in ["/?q=a%20b", "/?q=a+b", "/?q=x&q=a%20b", "/?%71=a+b"] {
        assert!(held(parameter("a b"), query), "{query}");
    }
    assert!(!held(parameter("a b"), "/?qq=a+b"));
    let source = Condition::test(
        Fetch::Source,
        Test::Network(vec!["192.0.2.0/24".parse().unwrap()]),
    );
    assert!(held(source, "/"));
    let port = Condition::test(
        Fetch::SourcePort,
        Test::Range {
            min: Some(1024),
            max: None,
        },
    );
    assert!(held(port, "/"));
    let listener = |name| Condition::test(Fetch::Listener, exact(name));
    assert!(held(listener("web"), "/"));
    assert!(!held(listener("other"), "/"));
    let host = Condition::test(Fetch::Host, exact("TEST"));
    assert!(held(host, "/"), "hosts are compared without regard to case");
}

#[test]
fn header_tests_look_at_every_line() {
    let asked = get("/", &["X-A: good", "X-A: bad"]);
    let deny = when(
        "header:x-a",
        exact("bad"),
        vec![Action::Deny { status: 403 }],
    );
    let reply = forwarded(&asked, &[deny]).unwrap_err();
    assert_eq!((reply.status, reply.fault), (403, Some(FaultKind::Denied)));
}
