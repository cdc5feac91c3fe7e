//! What programs do with requests and responses.

mod captures;

use std::collections::BTreeMap;

use clearway_http::Edits;
use clearway_outcome::{Address, FaultKind};

use super::*;
use crate::LocalReply;
use crate::ast::{Action, Condition, Fetch, Map, MapKey, Template, Test};
use crate::testing::{Asked, ask, get};

fn template(text: &str) -> Template {
    Template::parse(text).unwrap()
}

fn set(name: &str, value: &str) -> Action {
    Action::SetRequestHeader {
        name: name.to_owned(),
        value: template(value),
    }
}

fn always(actions: Vec<Action>) -> Rule {
    Rule {
        condition: Condition::Always,
        actions,
    }
}

fn when(fetch: &str, test: Test, actions: Vec<Action>) -> Rule {
    Rule {
        condition: Condition::test(Fetch::parse(fetch).unwrap(), test),
        actions,
    }
}

fn exact(text: &str) -> Test {
    Test::Exact(vec![text.to_owned()])
}

/// Runs rules over a request and says what a server sees.
fn forwarded(asked: &Asked, rules: &[Rule]) -> Result<String, LocalReply> {
    let program = Program::compile(rules).unwrap();
    let mut edits = Edits::default();
    match program.run_request(&asked.view(), &mut Scratch::default(), &mut edits) {
        Flow::Continue => Ok(asked.forwarded(&edits)),
        Flow::Reply(reply) => Err(reply),
    }
}

fn target(asked: &Asked, rule: Rule) -> String {
    let text = forwarded(asked, &[rule]).unwrap();
    text.split(' ').nth(1).unwrap().to_owned()
}

/// The value that a template has for a request, seen through a header.
fn value(asked: &Asked, text: &str) -> String {
    let text = forwarded(asked, &[always(vec![set("x-out", text)])]).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("x-out: "));
    line.unwrap_or_default().to_owned()
}

fn reply(asked: &Asked, action: Action) -> LocalReply {
    forwarded(asked, &[always(vec![action])]).unwrap_err()
}

fn redirect(location: &str) -> Action {
    Action::Redirect {
        status: 302,
        location: template(location),
    }
}

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
        key: Fetch::Path,
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
        conditions: BTreeMap::new(),
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
        body: "no".to_owned(),
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

#[test]
fn maps_choose_the_best_entry() {
    let entry = |key: MapKey, value: &str| (key, template(value));
    let text = |text: &str| text.to_owned();
    let map = Map {
        key: Fetch::Header("x-k".to_owned()),
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
        body: body.to_owned(),
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
                status: 200,
                location: template("/"),
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
