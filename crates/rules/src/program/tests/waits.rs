//! Where programs go on that wait for a body or for the answer to a question.

use super::*;
use crate::ast::BodyWait;

/// Runs a program until it no longer waits, and says how often it did and what a server would see.
fn run(asked: &Asked, rules: &[Rule]) -> (usize, Result<String, Flow>) {
    let program = Program::compile(rules).unwrap();
    let (mut scratch, mut edits) = (Scratch::default(), Edits::default());
    let mut waits = 0;
    loop {
        match program.run_request(&asked.view(), &mut scratch, &mut edits) {
            Flow::ReadBody(_) | Flow::Ask(_) => waits += 1,
            Flow::Continue => return (waits, Ok(asked.forwarded(&edits))),
            end @ (Flow::Reply(_)
            | Flow::Page(_)
            | Flow::Files(_)
            | Flow::Drop
            | Flow::Reroute
            | Flow::Finish) => return (waits, Err(end)),
        }
    }
}

/// What waits.
fn waiting() -> [Action; 2] {
    let wait = BodyWait {
        time: std::time::Duration::from_secs(1),
        from_start: false,
        at_least: 0,
    };
    let ask = Action::Ask {
        path: "/auth".to_owned(),
        set: Vec::new(),
    };
    [Action::ReadBody(wait), ask]
}

/// Actions that end a request.
fn ends() -> Vec<Action> {
    vec![
        Action::Deny { status: 403 },
        redirect("/elsewhere"),
        Action::Reply {
            status: 200,
            content_type: "text/plain".to_owned(),
            body: template("here"),
            headers: Vec::new(),
        },
        Action::ErrorPage { status: 404 },
        Action::BasicAuth {
            realm: "r".to_owned(),
            users: crate::ast::Users::default(),
        },
        Action::Drop,
        Action::Reroute,
    ]
}

#[test]
fn what_stands_behind_a_wait_in_the_same_rule_is_done() {
    for wait in waiting() {
        for end in ends() {
            let text = format!("{wait:?} {end:?}");
            let alone = run(&get("/", &[]), &[always(vec![end.clone()])]);
            let behind = run(&get("/", &[]), &[always(vec![wait.clone(), end])]);
            assert!(alone.1.is_err(), "{text}");
            assert_eq!((behind.0, behind.1), (1, alone.1), "{text}");
        }
        let edits = vec![
            set("x-before", "1"),
            wait,
            set("x-behind", "2"),
            Action::SetPath(template("/new")),
        ];
        let (waits, forwarded) = run(
            &get("/", &[]),
            &[always(edits), always(vec![set("x-next", "3")])],
        );
        let forwarded = forwarded.unwrap();
        assert_eq!(waits, 1);
        for line in [
            "GET /new ",
            "x-before: 1\r\n",
            "x-behind: 2\r\n",
            "x-next: 3\r\n",
        ] {
            assert_eq!(forwarded.matches(line).count(), 1, "{line} in {forwarded}");
        }
    }
}

#[test]
fn several_waits_follow_each_other_in_one_rule() {
    let [body, ask] = waiting();
    let actions = vec![body, ask, Action::Deny { status: 403 }];
    let (waits, end) = run(&get("/", &[]), &[always(actions)]);
    assert_eq!(waits, 2);
    assert!(matches!(end, Err(Flow::Reply(reply)) if reply.status == 403));
}

#[test]
fn the_condition_of_a_rule_that_waits_holds_for_all_of_it() {
    for wait in waiting() {
        // The rule takes away what its condition looks at, and captures.
        let actions = vec![
            Action::RemoveRequestHeader("x-user".to_owned()),
            wait,
            set("x-seen", "$1"),
        ];
        let test = Test::Regex(vec!["^u-([a-z]+)$".to_owned()]);
        let rules = [when("header_line:x-user,1", test, actions)];
        let (waits, forwarded) = run(&get("/", &["X-User: u-ann"]), &rules);
        let forwarded = forwarded.unwrap();
        assert_eq!(waits, 1);
        assert!(forwarded.contains("x-seen: ann\r\n"), "{forwarded}");
        assert!(!forwarded.contains("X-User"), "{forwarded}");
    }
}
