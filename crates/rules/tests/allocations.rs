//! Common requests are routed and edited without allocating.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use clearway_base::intern::Name;
use clearway_http::{Edits, HeadLimits, Progress, RequestHead};
use clearway_outcome::{Address, RequestId};
use clearway_rules::ast::{Action, Condition, Fetch, FieldTest, RouteMatch, Rule, Template, Test};
use clearway_rules::{Flow, Program, Router, Scratch, View};

/// The system's allocator, which counts what this thread asks of it.
struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

#[expect(
    unsafe_code,
    reason = "an allocator is unsafe by its trait; all work is the system's"
)]
// SAFETY: every call is passed on unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract, which is the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `alloc`, which is the system's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

fn routes() -> Vec<RouteMatch> {
    let mut routes: Vec<RouteMatch> = (0..1000)
        .map(|n| RouteMatch {
            hosts: vec![format!("h{n}.test")],
            ..RouteMatch::default()
        })
        .collect();
    for n in 0..40 {
        routes.push(RouteMatch {
            hosts: texts(&["*.app.test", "app.test"]),
            paths: vec![format!("/v{n}/"), format!("/exact{n}")],
            methods: texts(&["GET", "POST"]),
            headers: vec![
                (
                    "accept".to_owned(),
                    FieldTest::Exact("text/html".to_owned()),
                ),
                ("x-version".to_owned(), FieldTest::Present),
            ],
            cookies: vec![("group".to_owned(), FieldTest::Exact("b".to_owned()))],
            queries: vec![("v".to_owned(), FieldTest::Exact("2".to_owned()))],
            sources: vec!["192.0.2.0/24".parse().unwrap()],
            listeners: texts(&["web"]),
            ..RouteMatch::default()
        });
    }
    routes
}

fn rules() -> Vec<Rule> {
    let set = |name: &str, value: &str| Action::SetRequestHeader {
        name: name.to_owned(),
        value: Template::parse(value).unwrap(),
    };
    let below = Condition::test(Fetch::Path, Test::PathPrefix(texts(&["/v7"])));
    let host = Condition::test(Fetch::Host, Test::Wildcard(texts(&["*.app.test"])));
    vec![
        Rule {
            condition: Condition::All(vec![below, host]),
            actions: vec![
                set("x-constant", "1"),
                set("x-client", "${client_ip} ${host}${path} ${header:accept}"),
                Action::RemoveRequestHeader("x-version".to_owned()),
                Action::RewritePrefix {
                    from: "/v7".to_owned(),
                    to: Template::parse("/${cookie:group}/").unwrap(),
                },
                Action::SetVariable {
                    name: "v".to_owned(),
                    value: Template::parse("${cookie:group}").unwrap(),
                },
            ],
        },
        Rule {
            condition: Condition::test(Fetch::Header("x-debug".to_owned()), Test::Exists),
            actions: vec![Action::Deny { status: 403 }],
        },
    ]
}

#[test]
fn routing_and_constant_edits_allocate_nothing() {
    let text =
        b"GET /v7/users?a=1&v=2 HTTP/1.1\r\nHost: WWW.app.test:8080\r\nAccept: text/html\r\n\
        X-Version: 3\r\nCookie: a=b; group=b\r\nUser-Agent: test\r\n\r\n";
    let mut head = RequestHead::default();
    let parsed = head.parse(text, &HeadLimits::default());
    assert_eq!(parsed, Ok(Progress::Complete));
    let router = Router::compile(&routes()).unwrap();
    let program = Program::compile(&rules()).unwrap();
    let (mut scratch, mut edits) = (Scratch::default(), Edits::default());
    let mut run = |id: u64| {
        let view = View {
            head: &head,
            buf: text,
            client: Address::Ip("192.0.2.7:40000".parse().unwrap()),
            listener: Name::new("web"),
            scheme: "http",
            tls: None,
            id: RequestId(id),
            response: None,
            backend: Name::NONE,
            server: Name::NONE,
            around: None,
            port: Some(80),
            edits: None,
            attempts: &[],
        };
        scratch.clear();
        edits.clear();
        let before = COUNT.with(Cell::get);
        let found = router.find(&view, &mut scratch);
        let flow = program.run_request(&view, &mut scratch, &mut edits);
        let count = COUNT.with(Cell::get) - before;
        assert_eq!(found, Some(1007));
        assert_eq!(flow, Flow::Continue);
        assert_eq!(edits.target(), Some(&b"/b/users?a=1&v=2"[..]));
        count
    };
    assert!(
        run(1) > 0,
        "the counter counts: buffers grow the first time"
    );
    for id in 2..10 {
        assert_eq!(run(id), 0, "request {id}");
    }
}
