//! Whose groups a template sees: those of its own rule, else those of the route.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use clearway_base::intern::Name;
use clearway_http::{
    Edits, ForwardPolicy, Framing, HeadLimits, Method, RequestHead, ResponseHead, ResponseOptions,
    Version, XForwarded, encode_request, encode_response,
};
use clearway_outcome::{Address, RequestId};
use clearway_rules::ast::{Action, Condition, Fetch, RouteMatch, Rule, Template, Test};
use clearway_rules::{Flow, Program, Router, Scratch, View};

const REQUEST: &[u8] = b"GET /user/ann HTTP/1.1\r\nHost: test\r\nX-Number: 42\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

fn regex(fetch: Fetch, pattern: &str) -> Condition {
    Condition::test(fetch, Test::Regex(vec![pattern.to_owned()]))
}

fn rule(condition: Condition, action: Action) -> Rule {
    Rule {
        condition,
        actions: vec![action],
    }
}

fn to_request(name: &str, value: &str) -> Action {
    Action::SetRequestHeader {
        name: name.to_owned(),
        value: Template::parse(value).unwrap(),
    }
}

fn to_response(name: &str, value: &str) -> Action {
    Action::SetResponseHeader {
        name: name.to_owned(),
        value: Template::parse(value).unwrap(),
    }
}

/// Runs the route and the programs over one request and its response, and gives what is forwarded
/// and what is delivered.
fn run(route: &[RouteMatch], programs: &[Vec<Rule>]) -> (String, String) {
    let mut request = RequestHead::default();
    request.parse(REQUEST, &HeadLimits::default()).unwrap();
    let mut response = ResponseHead::default();
    let parsed = response.parse(RESPONSE, &HeadLimits::default(), Method::Get);
    parsed.unwrap();
    let mut view = View {
        head: &request,
        buf: REQUEST,
        client: Address::Unix,
        listener: Name::new("web"),
        scheme: "http",
        id: RequestId(7),
        response: None,
        backend: Name::NONE,
        server: Name::NONE,
    };
    let programs: Vec<Program> = programs
        .iter()
        .map(|rules| Program::compile(rules).unwrap())
        .collect();
    let (mut scratch, mut edits) = (Scratch::default(), Edits::default());
    let router = Router::compile(route).unwrap();
    assert_eq!(router.find(&view, &mut scratch), Some(0));
    for program in &programs {
        let flow = program.run_request(&view, &mut scratch, &mut edits);
        assert_eq!(flow, Flow::Continue);
    }
    let policy = ForwardPolicy {
        client: None,
        proto: "http",
        port: None,
        via: None,
        mode: XForwarded::Off,
        forwarded: false,
        trusted: true,
    };
    let mut forwarded = Vec::new();
    encode_request(&request, REQUEST, &edits, &policy, &mut forwarded);
    edits.clear();
    view.response = Some((&response, RESPONSE));
    for program in &programs {
        let flow = program.run_response(&view, &mut scratch, &mut edits);
        assert_eq!(flow, Flow::Continue);
    }
    let options = ResponseOptions {
        client_version: Version::Http11,
        keep_alive: true,
        framing: Framing::None,
        via: None,
        upgrade: false,
    };
    let mut delivered = Vec::new();
    encode_response(&response, RESPONSE, &edits, &options, &mut delivered);
    (
        String::from_utf8(forwarded).unwrap(),
        String::from_utf8(delivered).unwrap(),
    )
}

fn user_route() -> RouteMatch {
    RouteMatch {
        paths: vec!["~ ^/user/([a-z]+)$".to_owned()],
        ..RouteMatch::default()
    }
}

#[test]
fn a_response_sees_the_groups_of_its_own_rule() {
    let rules = vec![
        rule(
            regex(Fetch::Path, "^/user/([a-z]+)$"),
            to_response("X-User", "$1"),
        ),
        rule(
            regex(Fetch::Header("x-number".to_owned()), "^([0-9]+)$"),
            to_response("X-Seen", "$1"),
        ),
    ];
    let (_, delivered) = run(&[RouteMatch::default()], &[rules]);
    assert!(delivered.contains("X-User: ann\r\n"), "{delivered}");
    assert!(delivered.contains("X-Seen: 42\r\n"), "{delivered}");
}

#[test]
fn rules_of_the_listener_leave_the_groups_of_the_route_alone() {
    for pattern in ["^([0-9]+)$", "^(x)$"] {
        let number = regex(Fetch::Header("x-number".to_owned()), pattern);
        let listener = vec![rule(number, to_request("X-Seen", "$1"))];
        let route = vec![
            rule(Condition::Always, to_request("X-User", "$1")),
            rule(Condition::Always, to_response("X-User", "$1")),
        ];
        let (forwarded, delivered) = run(&[user_route()], &[listener, route]);
        assert!(forwarded.contains("X-User: ann\r\n"), "{forwarded}");
        assert!(delivered.contains("X-User: ann\r\n"), "{delivered}");
    }
}

#[test]
fn a_rule_without_groups_sees_those_of_the_rule_before() {
    let rules = vec![
        rule(
            regex(Fetch::Header("x-number".to_owned()), "^([0-9]+)$"),
            to_request("X-Seen", "$1"),
        ),
        rule(Condition::Always, to_request("X-Again", "$1")),
    ];
    let (forwarded, _) = run(&[user_route()], &[rules]);
    assert!(forwarded.contains("X-Again: 42\r\n"), "{forwarded}");
}
