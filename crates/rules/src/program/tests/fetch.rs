//! What fetches yield and conditions see.

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
