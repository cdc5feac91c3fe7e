//! Whose groups a template sees: those of its own rule, else those of the route.

use super::*;
use crate::Router;
use crate::ast::RouteMatch;

fn regex(fetch: &str, pattern: &str, action: Action) -> Rule {
    when(fetch, Test::Regex(vec![pattern.to_owned()]), vec![action])
}

fn to_response(name: &str, value: &str) -> Action {
    Action::SetResponseHeader {
        name: name.to_owned(),
        value: template(value),
    }
}

/// Runs the route and the programs over one request and its response, and gives what is forwarded
/// and what is delivered.
fn run(route: &[RouteMatch], programs: &[Vec<Rule>]) -> (String, String) {
    let asked = get("/user/ann", &["X-Number: 42"]);
    let programs: Vec<Program> = programs
        .iter()
        .map(|rules| Program::compile(rules).unwrap())
        .collect();
    let (mut scratch, mut edits) = (Scratch::default(), Edits::default());
    let router = Router::compile(route).unwrap();
    assert_eq!(router.find(&asked.view(), &mut scratch), Some(0));
    for program in &programs {
        let flow = program.run_request(&asked.view(), &mut scratch, &mut edits);
        assert_eq!(flow, Flow::Continue);
    }
    let forwarded = asked.forwarded(&edits);
    edits.clear();
    let asked = asked.answered("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    for program in &programs {
        let flow = program.run_response(&asked.view(), &mut scratch, &mut edits);
        assert_eq!(flow, Flow::Continue);
    }
    (forwarded, asked.delivered(&edits))
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
        regex("path", "^/user/([a-z]+)$", to_response("X-User", "$1")),
        regex("header:x-number", "^([0-9]+)$", to_response("X-Seen", "$1")),
    ];
    let (_, delivered) = run(&[RouteMatch::default()], &[rules]);
    assert!(delivered.contains("X-User: ann\r\n"), "{delivered}");
    assert!(delivered.contains("X-Seen: 42\r\n"), "{delivered}");
}

#[test]
fn rules_of_the_listener_leave_the_groups_of_the_route_alone() {
    for pattern in ["^([0-9]+)$", "^(x)$"] {
        let listener = vec![regex("header:x-number", pattern, set("X-Seen", "$1"))];
        let route = vec![
            always(vec![set("X-User", "$1")]),
            always(vec![to_response("X-User", "$1")]),
        ];
        let (forwarded, delivered) = run(&[user_route()], &[listener, route]);
        assert!(forwarded.contains("X-User: ann\r\n"), "{forwarded}");
        assert!(delivered.contains("X-User: ann\r\n"), "{delivered}");
    }
}

#[test]
fn a_rule_without_groups_sees_those_of_the_rule_before() {
    let rules = vec![
        regex("header:x-number", "^([0-9]+)$", set("X-Seen", "$1")),
        always(vec![set("X-Again", "$1")]),
    ];
    let (forwarded, _) = run(&[user_route()], &[rules]);
    assert!(forwarded.contains("X-Again: 42\r\n"), "{forwarded}");
}
