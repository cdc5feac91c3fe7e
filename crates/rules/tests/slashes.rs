//! Patterns with more slashes at their end than they need mean the same with few routes and many.

use clearway_base::intern::Name;
use clearway_http::{HeadLimits, Progress, RequestHead};
use clearway_outcome::{Address, RequestId};
use clearway_rules::ast::RouteMatch;
use clearway_rules::{Router, Scratch, View};

fn find(router: &Router, target: &str) -> Option<usize> {
    let text = format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n");
    let mut head = RequestHead::default();
    let parsed = head.parse(text.as_bytes(), &HeadLimits::default());
    assert_eq!(parsed, Ok(Progress::Complete));
    let view = View {
        head: &head,
        buf: text.as_bytes(),
        client: Address::Unix,
        listener: Name::new("web"),
        scheme: "http",
        id: RequestId(1),
        response: None,
        backend: Name::NONE,
        server: Name::NONE,
    };
    router.find(&view, &mut Scratch::default())
}

#[test]
fn the_size_of_the_table_does_not_change_what_a_pattern_means() {
    for pattern in ["/a/", "/a/*", "/a//", "/a//*", "/a///"] {
        let path = |text: String| RouteMatch {
            paths: vec![text],
            ..RouteMatch::default()
        };
        let mut routes = vec![path(pattern.to_owned())];
        for others in [0, 100] {
            routes.extend((0..others).map(|n| path(format!("/other{n}"))));
            let router = Router::compile(&routes).unwrap();
            for target in ["/a", "/a/", "/a/b", "/a//b"] {
                assert_eq!(
                    find(&router, target),
                    Some(0),
                    "{pattern} {target} {others}"
                );
            }
            assert_eq!(find(&router, "/ab"), None, "{pattern} {others}");
        }
    }
}
