//! What requests become.

use super::*;

#[test]
fn request_headers_are_edited() {
    let asked = get(
        "/",
        &[
            "X-Set: old",
            "X-Set: older",
            "X-Add: 1",
            "X-Drop: 1",
            "X-Empty: 1",
        ],
    );
    let add = Action::AddRequestHeader {
        name: "x-add".to_owned(),
        value: template("2"),
    };
    let drop = Action::RemoveRequestHeader("x-drop".to_owned());
    let actions = vec![
        set("x-set", "new"),
        add,
        drop,
        set("x-empty", "${header:none}"),
    ];
    let text = forwarded(&asked, &[always(actions)])
        .unwrap()
        .to_ascii_lowercase();
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("x-")).collect();
    assert_eq!(lines, ["x-add: 1", "x-set: new", "x-add: 2"]);
}

#[test]
fn the_host_is_set_and_checked() {
    let asked = get("/", &["X-A: a.test:81", "X-Bad: a/b"]);
    let text = forwarded(&asked, &[always(vec![set("host", "${header:x-a}")])]).unwrap();
    assert!(
        text.contains("Host: a.test:81\r\n") && !text.contains("Host: test"),
        "{text}"
    );
    for bad in ["${header:x-bad}", "${header:none}"] {
        let reply = reply(&asked, Action::SetHost(template(bad)));
        assert_eq!(reply.fault, Some(FaultKind::RewriteInvalid), "{bad}");
        assert_eq!(reply.status, 500);
    }
}

#[test]
fn values_cannot_break_out_of_a_header() {
    // Decoding happens in tests alone, so only a map can yield what a header cannot hold.
    let map = Map {
        key: Template::new([crate::ast::Piece::Fetch(Fetch::Path)]),
        ignore_case: false,
        entries: vec![
            (
                MapKey::Exact("/cr".to_owned()),
                Template::literal("a\r\nEvil: 1"),
            ),
            (MapKey::Exact("/nul".to_owned()), Template::literal("a\0")),
            (MapKey::Exact("/tab".to_owned()), Template::literal("a\tb")),
            (
                MapKey::Exact("/long".to_owned()),
                Template::literal(&"a".repeat(20_000)),
            ),
        ],
        default: None,
    };
    let definitions = Definitions {
        maps: [("m".to_owned(), map)].into(),
        ..Definitions::default()
    };
    let actions = |location: bool| match location {
        true => redirect("/x${map:m}"),
        false => set("x-a", "${map:m}"),
    };
    for (path, valid) in [
        ("/cr", false),
        ("/nul", false),
        ("/long", false),
        ("/tab", true),
    ] {
        let rules = [always(vec![actions(false)])];
        let program = Program::compile_with(&rules, &definitions).unwrap();
        let asked = get(path, &[]);
        let mut edits = Edits::default();
        let flow = program.run_request(&asked.view(), &mut Scratch::default(), &mut edits);
        match flow {
            Flow::Continue => assert!(valid, "{path}"),
            Flow::Reply(reply) => {
                assert!(!valid, "{path}");
                assert_eq!(reply.fault, Some(FaultKind::RewriteInvalid));
            }
            Flow::Page(_)
            | Flow::Files(_)
            | Flow::Drop
            | Flow::ReadBody(_)
            | Flow::Ask(_)
            | Flow::Reroute
            | Flow::Finish => {
                panic!("{path}")
            }
        }
        assert!(!asked.forwarded(&edits).contains("Evil"));
        let program = Program::compile_with(&[always(vec![actions(true)])], &definitions).unwrap();
        let flow = program.run_request(&asked.view(), &mut Scratch::default(), &mut edits);
        let Flow::Reply(reply) = flow else {
            panic!("{path}")
        };
        assert_eq!(reply.status == 302, valid, "{path}");
    }
    assert_eq!(
        value(&get("/a%0d%0aEvil:1", &[]), "${path}"),
        "/a%0d%0aEvil:1"
    );
}

#[test]
fn prefixes_are_rewritten_at_segments() {
    for (from, to, path, expected) in [
        ("/api", "/", "/api/users?id=1", "/users?id=1"),
        ("/api", "", "/api", "/"),
        ("/api", "", "/api/", "/"),
        ("/api/", "/", "/api/x", "/x"),
        ("/api", "", "/apix", "/apix"),
        ("/old/", "/new/", "/old/x%20y?q", "/new/x%20y?q"),
        ("/old", "/new", "/old", "/new"),
        ("/", "/base", "/x", "/base/x"),
        ("/a", "/b", "/%61/x", "/b/x"),
        ("/a", "/b", "/z/../a/x", "/b/x"),
        ("/a", "/b", "/c/%2e%2e/", "/c/%2e%2e/"),
    ] {
        let rule = always(vec![Action::RewritePrefix {
            from: from.to_owned(),
            to: template(to),
        }]);
        assert_eq!(
            target(&get(path, &[]), rule),
            expected,
            "{from} {to} {path}"
        );
    }
    let rule = always(vec![Action::RewritePrefix {
        from: "/".to_owned(),
        to: template("/base"),
    }]);
    assert_eq!(target(&ask("OPTIONS *", &[]), rule), "*");
}

#[test]
fn what_takes_the_place_of_a_prefix_is_a_template() {
    for (to, header, expected) in [
        ("/${header:x}/", "t1", Some("/t1/b?q=1")),
        ("/${header:x}", "t1", Some("/t1/b?q=1")),
        ("${header:x}", "/t1/", Some("/t1/b?q=1")),
        ("/p$$/${host}", "", Some("/p$/test/b?q=1")),
        ("/$1/", "", Some("/ol/b?q=1")),
        ("/${header:x}/", "", Some("/b?q=1")),
        ("/${header:x}/", "/a.test", Some("/a.test/b?q=1")),
        ("/${header:x}/", "..", Some("/b?q=1")),
        ("/${header:x}/", "a?b", None),
        ("/${header:x}/", "a b", None),
        ("${header:x}", "t1", None),
    ] {
        let rule = when(
            "path",
            Test::Regex(vec!["^/(ol)d".to_owned()]),
            vec![Action::RewritePrefix {
                from: "/old/".to_owned(),
                to: template(to),
            }],
        );
        let asked = get("/old/b?q=1", &[&format!("X: {header}")]);
        let found = forwarded(&asked, &[rule]);
        let found = found.as_ref().map(|text| text.split(' ').nth(1).unwrap());
        assert_eq!(found.ok(), expected, "{to} {header}");
    }
}

#[test]
fn patterns_are_rewritten() {
    for (pattern, to, path, expected) in [
        (
            "^/user/([0-9]+)$",
            "/profile/$1",
            "/user/42?tab=a",
            "/profile/42?tab=a",
        ),
        ("^/user/([0-9]+)$", "/profile/$1", "/user/x", "/user/x"),
        ("/b", "", "/a/b/c/b", "/a/c/b"),
        ("^/p/(?<id>.*)$", "/?id=$1", "/p/7", "/?id=7"),
        ("^/p/(.*)$", "/?id=$1", "/p/7?x=y", "/?id=7&x=y"),
        ("^/(a)?(b)$", "/${2}-${1}-${host}", "/b", "/b--test"),
        ("^/(.*)$", "/$1/../x", "/a/b", "/a/x"),
    ] {
        let rule = always(vec![Action::RewriteRegex {
            pattern: pattern.to_owned(),
            replacement: template(to),
        }]);
        assert_eq!(
            target(&get(path, &[]), rule),
            expected,
            "{pattern} {to} {path}"
        );
    }
}

#[test]
fn path_and_query_are_set() {
    let asked = get("/a?q=1", &["X-P: p q"]);
    let path = |text: &str| always(vec![Action::SetPath(template(text))]);
    let query = |text: &str| always(vec![Action::SetQuery(template(text))]);
    assert_eq!(target(&asked, path("/b${path}")), "/b/a?q=1");
    assert_eq!(target(&asked, query("${query}&r=2")), "/a?q=1&r=2");
    assert_eq!(target(&asked, query("")), "/a");
    for bad in [
        path("/${header:x-p}"),
        path("${header:none}"),
        query("${header:x-p}"),
    ] {
        let reply = forwarded(&asked, &[bad]).unwrap_err();
        assert_eq!(reply.fault, Some(FaultKind::RewriteInvalid));
    }
}

#[test]
fn later_rules_see_the_rewritten_path() {
    let strip = always(vec![Action::RewritePrefix {
        from: "/api".to_owned(),
        to: template("/"),
    }]);
    let seen = when(
        "path",
        exact("/x"),
        vec![set("x-seen", "${path} ${target}")],
    );
    let text = forwarded(&get("/api/x", &[]), &[strip, seen]).unwrap();
    assert!(text.contains("x-seen: /x /api/x"), "{text}");
}

#[test]
fn captures_and_variables_reach_later_actions() {
    let pattern = Test::Regex(vec!["^/u/([a-z]+)/(.*)".to_owned()]);
    let variable = Action::SetVariable {
        name: "user".to_owned(),
        value: template("${1}!"),
    };
    let first = when("path", pattern, vec![variable]);
    let second = always(vec![set("x-out", "${var:user} $2 $0 [$3]")]);
    let text = forwarded(&get("/u/ann/x", &[]), &[first.clone(), second.clone()]).unwrap();
    assert!(text.contains("x-out: ann! x /u/ann/x []"), "{text}");
    let text = forwarded(&get("/v", &[]), &[first, second]).unwrap();
    assert!(text.contains("x-out:    []"), "{text}");
}

#[test]
fn captures_of_another_rule_are_not_taken_for_ones_own() {
    let pattern = |text: &str| Test::Regex(vec![text.to_owned()]);
    let either = Rule {
        condition: Condition::Any(vec![
            Condition::test(Fetch::Path, pattern("^/b/(.)")),
            Condition::test(Fetch::Method, exact("GET")),
        ]),
        actions: vec![set("x-out", "[$1]")],
    };
    let first = when("path", pattern("^/a/(.)"), vec![]);
    let text = forwarded(&get("/a/7", &[]), &[first, either]).unwrap();
    assert!(text.contains("x-out: []"), "{text}");
}

#[test]
fn the_last_value_of_a_variable_counts() {
    let variable = |value: &str| Action::SetVariable {
        name: "v".to_owned(),
        value: template(value),
    };
    let actions = vec![
        variable("a"),
        variable("${var:v}b"),
        set("x-out", "${var:v}"),
    ];
    let text = forwarded(&get("/", &[]), &[always(actions)]).unwrap();
    assert!(text.contains("x-out: ab\r\n"), "{text}");
}
