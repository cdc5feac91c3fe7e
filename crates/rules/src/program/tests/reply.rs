//! Answers, and what responses become.

use super::*;

#[test]
fn answers_end_the_program() {
    let asked = get("/x?y=1", &[]);
    let location = |location: &str| {
        let reply = reply(&asked, redirect(location));
        let (name, value) = reply.headers.first().cloned().unwrap();
        assert_eq!((reply.status, name.as_str()), (302, "Location"));
        String::from_utf8(value).unwrap()
    };
    assert_eq!(location("https://${host}${target}"), "https://test/x?y=1");
    assert_eq!(location("/there"), "/there");
    let text = Action::Reply {
        status: 404,
        content_type: "text/plain".to_owned(),
        body: Template::literal("no"),
        headers: Vec::new(),
    };
    let reply = reply(&asked, text);
    assert_eq!(
        (reply.status, reply.fault, reply.body.as_slice()),
        (404, None, &b"no"[..])
    );
    assert_eq!(
        reply.headers,
        [("Content-Type".to_owned(), b"text/plain".to_vec())]
    );
    let rules = [
        always(vec![Action::Deny { status: 429 }, set("x-a", "1")]),
        always(vec![Action::Deny { status: 403 }]),
    ];
    let reply = forwarded(&asked, &rules).unwrap_err();
    assert_eq!(reply.status, 429);
}

#[test]
fn a_redirection_does_not_leave_for_a_host_of_the_clients_choice() {
    for (target, location, expected) in [
        ("//evil.test/x", "${target}", "/evil.test/x"),
        ("/x", "${header:x-to}", "/evil.test"),
        ("//evil.test", "/${target}", "/evil.test"),
        ("/x", "//cdn.test${path}", "//cdn.test/x"),
    ] {
        let asked = get(target, &["X-To: /\\evil.test"]);
        let reply = reply(&asked, redirect(location));
        let (_, value) = reply.headers.first().unwrap();
        let value = String::from_utf8(value.clone()).unwrap().replace('\\', "/");
        assert_eq!(value, expected, "{target} {location}");
    }
}

#[test]
fn responses_are_changed_by_what_held_when_the_request_came() {
    let rewrite = Action::RewritePrefix {
        from: "/old".to_owned(),
        to: template("/new"),
    };
    let header = |name: &str| Action::SetResponseHeader {
        name: name.to_owned(),
        value: template("yes"),
    };
    let below = |path: &str| Test::PathPrefix(vec![path.to_owned()]);
    let program = Program::compile(&[
        when("path", below("/old"), vec![rewrite, header("x-old")]),
        when("path", below("/gone"), vec![header("x-gone")]),
        when(
            "status",
            exact("200"),
            vec![
                header("x-fine"),
                Action::RemoveResponseHeader("server".to_owned()),
            ],
        ),
        when("status", exact("500"), vec![header("x-broken")]),
    ])
    .unwrap();
    let asked = get("/old/x", &[]).answered("HTTP/1.1 200 OK\r\nServer: s\r\n\r\n");
    let (mut scratch, mut edits) = (Scratch::default(), Edits::default());
    let view = asked.view();
    assert_eq!(
        program.run_request(&view, &mut scratch, &mut edits),
        Flow::Continue
    );
    assert!(asked.forwarded(&edits).starts_with("GET /new/x "));
    let mut edits = Edits::default();
    assert_eq!(
        program.run_response(&view, &mut scratch, &mut edits),
        Flow::Continue
    );
    let text = asked.delivered(&edits).to_ascii_lowercase();
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("x-")).collect();
    assert_eq!(lines, ["x-old: yes", "x-fine: yes"]);
    assert!(!text.contains("server"), "{text}");
}

#[test]
fn responses_can_be_refused() {
    let program = Program::compile(&[when(
        "response_header:x-secret",
        Test::Exists,
        vec![Action::Deny { status: 502 }],
    )])
    .unwrap();
    let asked = get("/", &[]).answered("HTTP/1.1 200 OK\r\nX-Secret: 1\r\n\r\n");
    let (mut scratch, mut edits) = (Scratch::default(), Edits::default());
    let view = asked.view();
    assert_eq!(
        program.run_request(&view, &mut scratch, &mut edits),
        Flow::Continue
    );
    let Flow::Reply(reply) = program.run_response(&view, &mut scratch, &mut edits) else {
        panic!("not refused")
    };
    assert_eq!(reply.status, 502);
}

#[test]
fn a_scratch_forgets_the_request_before() {
    let set_variable = Action::SetVariable {
        name: "v".to_owned(),
        value: template("leak"),
    };
    let rules = [
        when("path", exact("/set"), vec![set_variable]),
        always(vec![set("x-out", "[${var:v}]${host}${path}")]),
    ];
    let program = Program::compile(&rules).unwrap();
    let mut scratch = Scratch::default();
    for (id, path, host, expected) in [
        (1, "/set", "Host: a.test", "[leak]a.test/set"),
        (2, "/./b", "Host: b.test", "[]b.test/b"),
        (3, "/c", "Host: c.test", "[]c.test/c"),
    ] {
        let mut asked = get(path, &[host]);
        asked.id = clearway_outcome::RequestId(id);
        let mut edits = Edits::default();
        assert_eq!(
            program.run_request(&asked.view(), &mut scratch, &mut edits),
            Flow::Continue
        );
        let text = asked.forwarded(&edits);
        assert!(text.contains(&format!("x-out: {expected}\r\n")), "{text}");
    }
}
