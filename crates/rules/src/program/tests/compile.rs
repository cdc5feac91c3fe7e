//! Maps, and mistakes that are found when rules are compiled.

use super::*;

#[test]
fn maps_choose_the_best_entry() {
    let entry = |key: MapKey, value: &str| (key, template(value));
    let text = |text: &str| text.to_owned();
    let map = Map {
        key: Template::new([crate::ast::Piece::Fetch(Fetch::Header("x-k".to_owned()))]),
        ignore_case: true,
        entries: vec![
            entry(MapKey::Regex(text("^/r/([0-9]+)")), "group $1 of ${host}"),
            entry(MapKey::Regex(text("^/r")), "pattern"),
            entry(MapKey::Suffix(text(".js")), "end"),
            entry(MapKey::Suffix(text("n.js")), "longer end"),
            entry(MapKey::Prefix(text("/a")), "begin"),
            entry(MapKey::Prefix(text("/a/b")), "longer begin"),
            entry(MapKey::Exact(text("/a/b/C")), "exact"),
            entry(MapKey::Exact(text("/A/b/c")), "exact again"),
            entry(MapKey::Network("10.0.0.0/8".parse().unwrap()), "wide"),
            entry(MapKey::Network("10.1.0.0/16".parse().unwrap()), "narrow"),
            entry(MapKey::Exact(String::new()), "empty"),
        ],
        default: Some(template("default ${header:x-k}")),
    };
    let definitions = Definitions {
        maps: [(text("m"), map)].into(),
        conditions: [(
            text("wide"),
            Condition::test(Fetch::Map(text("m")), exact("wide")),
        )]
        .into(),
        ..Definitions::default()
    };
    let rules = [
        always(vec![set("x-out", "${map:m}")]),
        Rule {
            condition: Condition::Named(text("wide")),
            actions: vec![set("x-wide", "yes")],
        },
    ];
    let program = Program::compile_with(&rules, &definitions).unwrap();
    for (key, expected) in [
        ("/a/B/c", "exact"),
        ("/a/bc", "longer begin"),
        ("/ax.js", "begin"),
        ("x.js", "end"),
        ("xN.js", "longer end"),
        ("/r/12", "group 12 of test"),
        ("/rx", "pattern"),
        ("10.1.2.3", "narrow"),
        ("10.2.2.3", "wide"),
        ("Q", "default Q"),
        ("", "empty"),
    ] {
        let asked = get("/", &[&format!("X-K: {key}")]);
        let mut edits = Edits::default();
        let flow = program.run_request(&asked.view(), &mut Scratch::default(), &mut edits);
        assert_eq!(flow, Flow::Continue);
        let text = asked.forwarded(&edits);
        assert!(
            text.contains(&format!("x-out: {expected}\r\n")),
            "{key}: {text}"
        );
        assert_eq!(text.contains("x-wide: yes"), expected == "wide", "{key}");
    }
    let asked = get("/", &[]);
    let mut edits = Edits::default();
    drop(program.run_request(&asked.view(), &mut Scratch::default(), &mut edits));
    assert!(asked.forwarded(&edits).contains("x-out: empty\r\n"));
}

#[test]
fn mistakes_are_found_when_compiling() {
    let response = |name: &str, value: &str| Action::SetResponseHeader {
        name: name.to_owned(),
        value: Template::literal(value),
    };
    let rewrite = |from: &str, to: &str| Action::RewritePrefix {
        from: from.to_owned(),
        to: template(to),
    };
    let answer = |status, body: &str| Action::Reply {
        status,
        content_type: String::new(),
        body: Template::literal(body),
        headers: Vec::new(),
    };
    for (action, words) in [
        (response("x a", "1"), "not the name of a header"),
        (response("", "1"), "not the name of a header"),
        (response("x-a", "1\r\nEvil: 1"), "cannot stand in a header"),
        (response("x-a", "1\0"), "cannot stand in a header"),
        (response("content-length", "1"), "transferred"),
        (set("Transfer-Encoding", "x"), "transferred"),
        (set("connection", "x"), "transferred"),
        (set("host", "a/b"), "not a host"),
        (Action::SetHost(template("")), "not a host"),
        (
            Action::RemoveRequestHeader("Host".to_owned()),
            "host can be set",
        ),
        (set("x-a", "${status}"), "known only with the response"),
        (set("x-a", "${map:none}"), "no map"),
        (rewrite("old", "/new"), "not a path"),
        (rewrite("/old", "/a b"), "not a path"),
        (rewrite("/old", "new/${host}"), "not a path"),
        (rewrite("/old", "/${host}/?q="), "not a path"),
        (Action::SetPath(template("x")), "not a path"),
        (
            Action::SetQuery(Template::literal("a b")),
            "cannot stand in a request target",
        ),
        (redirect(""), "needs a place"),
        (redirect("/a\nb"), "cannot stand in a header"),
        (
            Action::Redirect {
                base: None,
                status: 200,
                location: template("/"),
                headers: Vec::new(),
            },
            "no status of a redirection",
        ),
        (Action::Deny { status: 200 }, "no status of a refusal"),
        (answer(100, ""), "no status of an answer"),
        (answer(204, "x"), "has no body"),
        (
            Action::RewriteRegex {
                pattern: "(".to_owned(),
                replacement: template(""),
            },
            "not a regular expression",
        ),
    ] {
        let rules = [always(vec![]), always(vec![action.clone()])];
        let errors = Program::compile(&rules).unwrap_err();
        assert_eq!(errors.len(), 1, "{action:?}");
        assert_eq!(errors[0].rule, 1, "{action:?}");
        assert!(
            errors[0].message.contains(words),
            "{action:?}: {}",
            errors[0]
        );
    }
}

#[test]
fn every_mistake_is_told() {
    let rules = [
        when(
            "path",
            Test::Regex(vec!["(".to_owned()]),
            vec![Action::Deny { status: 1 }],
        ),
        when("status", exact("200"), vec![set("x-a", "1")]),
        always(vec![]),
    ];
    let errors = Program::compile(&rules).unwrap_err();
    let places: Vec<_> = errors.iter().map(|e| (e.rule, e.action)).collect();
    assert_eq!(places, [(0, None), (0, Some(0)), (1, Some(0))]);
}
