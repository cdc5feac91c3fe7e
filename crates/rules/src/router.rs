//! The route table: the first route that matches, in the order of the configuration.
//!
//! Indexes by host and by path only narrow down which routes are tried; the lists they give are
//! merged by place, so what is found is what a scan from the top would have found.

use clearway_base::hash::Map as Table;
use smallvec::SmallVec;

use crate::ast::{Condition, Definitions, RouteMatch};
use crate::compile::{CompileError, Compiler};
use crate::matcher::Check;
use crate::route_match::PathPattern;
use crate::scratch::Scratch;
use crate::view::View;

/// Below so many routes of a host, looking at each is cheaper than an index by path.
const FEW: usize = 12;

/// Places of routes, ascending.
type Places = Vec<u32>;

/// Lists that a request has to be tried on.
type Lists<'r> = SmallVec<[&'r [u32]; 8]>;

/// Routes, compiled.
#[derive(Debug, Default)]
pub struct Router {
    /// Everything about a route but its hosts.
    checks: Box<[Check]>,
    hosts: Table<Box<[u8]>, Paths>,
    /// `*.example.org` under `example.org`.
    wildcards: Table<Box<[u8]>, Paths>,
    /// Most labels of a key of `wildcards`: deeper names need not be looked up.
    wildcard_labels: usize,
    any: Paths,
    /// Some route captures groups of its path or another value.
    captures: bool,
}

/// The routes of one host, by path.
#[derive(Debug, Default)]
struct Paths {
    exact: Table<Box<[u8]>, Places>,
    /// By begin, without slash at its end.
    below: Table<Box<[u8]>, Places>,
    /// Most segments of a key of `below`.
    segments: usize,
    /// Those whose path is anything or a pattern.
    rest: Places,
}

impl Router {
    /// Compiles routes.
    ///
    /// # Errors
    /// All mistakes, in the order of the routes.
    pub fn compile(routes: &[RouteMatch]) -> Result<Self, Vec<CompileError>> {
        Self::compile_with(routes, &Definitions::default())
    }

    /// Compiles routes that refer to maps and conditions by name.
    ///
    /// # Errors
    /// All mistakes, in the order of the routes.
    pub fn compile_with(
        routes: &[RouteMatch],
        definitions: &Definitions,
    ) -> Result<Self, Vec<CompileError>> {
        let mut compiler = Compiler::new(definitions);
        let (mut checks, mut errors) = (Vec::with_capacity(routes.len()), Vec::new());
        let mut captures = false;
        let mistake = |rule, message| CompileError {
            rule,
            action: None,
            message,
        };
        for (rule, route) in routes.iter().enumerate() {
            let condition = Condition::All(route.condition_but_host());
            let (check, needs) = compiler.asking(|compiler| compiler.check(&condition));
            captures |= needs.captures;
            let host = route.hosts.iter().find(|host| !is_pattern(host));
            if let Some(host) = host {
                let message = format!("{host:?} is not a host, `*.` and a domain, or `*`");
                errors.push(mistake(rule, message));
            }
            match check {
                Ok(check) if check.is_always() => checks.push(Check::Always),
                Ok(check) => checks.push(check),
                Err(message) => errors.push(mistake(rule, message)),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let mut router = Self {
            checks: checks.into(),
            captures,
            ..Self::default()
        };
        router.index(routes);
        Ok(router)
    }

    /// The place of the first route that matches. Groups of its patterns are what rules see until
    /// they capture something themselves.
    pub fn find(&self, view: &View<'_>, scratch: &mut Scratch) -> Option<usize> {
        scratch.begin(view);
        let mut lists = self.lists(scratch.host(), scratch.path(view));
        loop {
            let first = lists.iter().filter_map(|list| list.first()).min();
            let place = *first?;
            let index = usize::try_from(place).ok()?;
            if self.captures {
                scratch.forget_captures();
            }
            if self.checks.get(index)?.holds(view, scratch) {
                scratch.keep_for_route();
                return Some(index);
            }
            for list in &mut lists {
                if let Some((&head, rest)) = list.split_first()
                    && head == place
                {
                    *list = rest;
                }
            }
        }
    }

    fn lists(&self, host: &[u8], path: &[u8]) -> Lists<'_> {
        let mut lists = Lists::new();
        if let Some(paths) = self.hosts.get(host) {
            paths.lists(path, &mut lists);
        }
        let mut end = host.len();
        for _ in 0..self.wildcard_labels {
            let before = host.get(..end).unwrap_or_default();
            let Some(dot) = memchr::memrchr(b'.', before).filter(|&dot| dot > 0) else {
                break;
            };
            end = dot;
            let domain = host.get(dot + 1..).unwrap_or_default();
            if let Some(paths) = self.wildcards.get(domain) {
                paths.lists(path, &mut lists);
            }
        }
        self.any.lists(path, &mut lists);
        lists
    }

    fn index(&mut self, routes: &[RouteMatch]) {
        let mut any = Places::new();
        let mut exact: Table<Box<[u8]>, Places> = Table::default();
        let mut wildcards: Table<Box<[u8]>, Places> = Table::default();
        for (route, place) in routes.iter().zip(0_u32..) {
            if route.hosts.is_empty() {
                push(&mut any, place);
            }
            for host in &route.hosts {
                let host = folded(host);
                match host.strip_prefix("*.") {
                    _ if host == "*" => push(&mut any, place),
                    Some(domain) => push(wildcards.entry(key(domain)).or_default(), place),
                    None => push(exact.entry(key(&host)).or_default(), place),
                }
            }
        }
        let labels = |domain: &[u8]| domain.iter().filter(|&&b| b == b'.').count() + 1;
        self.wildcard_labels = wildcards.keys().map(|key| labels(key)).max().unwrap_or(0);
        self.any = Paths::new(any, routes);
        let paths = |(host, places)| (host, Paths::new(places, routes));
        self.hosts = exact.into_iter().map(paths).collect();
        self.wildcards = wildcards.into_iter().map(paths).collect();
    }
}

impl Paths {
    fn new(places: Places, routes: &[RouteMatch]) -> Self {
        let mut paths = Self::default();
        if places.len() < FEW {
            paths.rest = places;
            return paths;
        }
        for place in places {
            let route = usize::try_from(place).ok().and_then(|at| routes.get(at));
            let patterns = route
                .map(|route| route.paths.as_slice())
                .unwrap_or_default();
            if patterns.is_empty() {
                push(&mut paths.rest, place);
            }
            for pattern in patterns {
                match PathPattern::of(pattern) {
                    PathPattern::Exact(text) => {
                        push(paths.exact.entry(key(text)).or_default(), place);
                    }
                    PathPattern::Below(text) => {
                        let segments = text.bytes().filter(|&b| b == b'/').count();
                        paths.segments = paths.segments.max(segments);
                        push(paths.below.entry(key(text)).or_default(), place);
                    }
                    PathPattern::Regex(_) => push(&mut paths.rest, place),
                }
            }
        }
        paths
    }

    fn lists<'r>(&'r self, path: &[u8], lists: &mut Lists<'r>) {
        if !self.rest.is_empty() {
            lists.push(&self.rest);
        }
        if let Some(places) = self.exact.get(path) {
            lists.push(places);
        }
        if self.below.is_empty() {
            return;
        }
        // Every begin that ends before a slash or with the path, up to the longest key.
        let ends = memchr::memchr_iter(b'/', path).chain([path.len()]);
        for end in ends.take(self.segments + 1) {
            let begin = path.get(..end).unwrap_or_default();
            if let Some(places) = self.below.get(begin) {
                lists.push(places);
            }
        }
    }
}

fn is_pattern(host: &str) -> bool {
    let domain = host.strip_prefix("*.").unwrap_or(host);
    host == "*" || (!domain.is_empty() && !domain.contains('*'))
}

/// As hosts of requests are looked up: lower case, without dot at the end.
pub(crate) fn folded(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

fn key(text: &str) -> Box<[u8]> {
    text.as_bytes().into()
}

/// Adds a place once: a route may stand under a key for several of its patterns.
fn push(places: &mut Places, place: u32) {
    if places.last() != Some(&place) {
        places.push(place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ast::FieldTest;
    use crate::testing::{Asked, ask, get};
    use proptest::prelude::*;

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    fn find(routes: &[RouteMatch], asked: &Asked) -> Option<usize> {
        let router = Router::compile(routes).unwrap();
        router.find(&asked.view(), &mut Scratch::default())
    }

    fn host(host: &str) -> RouteMatch {
        RouteMatch {
            hosts: texts(&[host]),
            ..RouteMatch::default()
        }
    }

    fn path(path: &str) -> RouteMatch {
        RouteMatch {
            paths: texts(&[path]),
            ..RouteMatch::default()
        }
    }

    #[test]
    fn hosts_are_found() {
        let routes = [
            host("*.b.test"),
            host("a.test."),
            host("x.b.test"),
            host("[::1]"),
            host("*"),
        ];
        for (line, expected) in [
            ("Host: a.test", 1),
            ("Host: A.TEST:8080", 1),
            ("Host: a.test.", 1),
            ("Host: x.b.test", 0),
            ("Host: x.y.b.test", 0),
            ("Host: b.test", 4),
            ("Host: xb.test", 4),
            ("Host: [::1]:80", 3),
            ("Host:", 4),
        ] {
            assert_eq!(find(&routes, &get("/", &[line])), Some(expected), "{line}");
        }
        assert_eq!(find(&routes[..4], &get("/", &["Host: c.test"])), None);
    }

    #[test]
    fn each_field_decides() {
        let route = RouteMatch {
            methods: texts(&["POST", "PUT"]),
            paths: texts(&["/a/", "~ ^/r[0-9]$"]),
            headers: vec![
                ("x-a".to_owned(), FieldTest::Exact("1".to_owned())),
                ("x-no".to_owned(), FieldTest::Absent),
            ],
            cookies: vec![("c".to_owned(), FieldTest::Present)],
            queries: vec![("v".to_owned(), FieldTest::Regex("^[23]$".to_owned()))],
            sources: vec!["192.0.2.0/24".parse().unwrap()],
            listeners: texts(&["web"]),
            ..RouteMatch::default()
        };
        let routes = [route];
        let (a, c) = ("X-A: 1", "Cookie: b=1; c=");
        for (line, headers, expected) in [
            ("POST /a/x?v=2", vec![a, c], true),
            ("PUT /r7?v=3", vec![a, c], true),
            ("GET /a/x?v=2", vec![a, c], false),
            ("POST /b?v=2", vec![a, c], false),
            ("POST /a?v=4", vec![a, c], false),
            ("POST /a", vec![a, c], false),
            ("POST /a?v=2", vec![c], false),
            ("POST /a?v=2", vec![a], false),
            ("POST /a?v=2", vec![a, c, "X-No: 1"], false),
        ] {
            let found = find(&routes, &ask(line, &headers));
            assert_eq!(found.is_some(), expected, "{line} {headers:?}");
        }
        let mut asked = ask("POST /a?v=2", &[a, c]);
        assert_eq!(find(&routes, &asked), Some(0));
        asked.listener = clearway_base::intern::Name::new("inner");
        assert_eq!(find(&routes, &asked), None);
        let mut asked = ask("POST /a?v=2", &[a, c]);
        asked.client = clearway_outcome::Address::Ip("198.51.100.1:1".parse().unwrap());
        assert_eq!(find(&routes, &asked), None);
    }

    #[test]
    fn paths_are_compared_in_normal_form() {
        let routes = [path("/private/"), RouteMatch::default()];
        for target in [
            "/private",
            "/%70rivate/x",
            "/a/../private/x",
            "//private/",
            "/./private",
        ] {
            assert_eq!(find(&routes, &get(target, &[])), Some(0), "{target}");
        }
        for target in [
            "/private/../x",
            "/public/..%2fprivate/x",
            "/privatex",
            "/PRIVATE",
        ] {
            assert_eq!(find(&routes, &get(target, &[])), Some(1), "{target}");
        }
    }

    #[test]
    fn more_slashes_at_the_end_mean_the_same_with_few_routes_and_many() {
        for pattern in ["/a/", "/a/*", "/a//", "/a//*", "/a///"] {
            let mut routes = vec![path(pattern)];
            for others in [0, 100] {
                routes.extend((0..others).map(|n| path(&format!("/other{n}"))));
                for target in ["/a", "/a/", "/a/b", "/a//b"] {
                    let found = find(&routes, &get(target, &[]));
                    assert_eq!(found, Some(0), "{pattern} {target} {others}");
                }
                let found = find(&routes, &get("/ab", &[]));
                assert_eq!(found, None, "{pattern} {others}");
            }
        }
    }

    #[test]
    fn the_root_is_every_path() {
        for target in ["/", "/x", "http://test"] {
            assert_eq!(find(&[path("/")], &get(target, &[])), Some(0), "{target}");
        }
        assert_eq!(find(&[path("/")], &ask("OPTIONS *", &[])), Some(0));
        assert_eq!(find(&[path("/x")], &ask("OPTIONS *", &[])), None);
    }

    #[test]
    fn the_pattern_of_the_route_that_is_taken_captures() {
        let routes = [
            RouteMatch {
                methods: texts(&["POST"]),
                ..path("~ ^/(.)")
            },
            RouteMatch {
                headers: vec![("x-a".to_owned(), FieldTest::Present)],
                ..path("~ ^/(..)")
            },
            path("~ ^/.(.)"),
        ];
        let router = Router::compile(&routes).unwrap();
        let mut scratch = Scratch::default();
        assert_eq!(router.find(&get("/abc", &[]).view(), &mut scratch), Some(2));
        assert_eq!(scratch.captures().group(1), Some(&b"b"[..]));
        let routes = [routes[1].clone(), RouteMatch::default()];
        let router = Router::compile(&routes).unwrap();
        scratch.clear();
        assert_eq!(router.find(&get("/abc", &[]).view(), &mut scratch), Some(1));
        assert_eq!(scratch.captures().group(1), None);
    }

    #[test]
    fn mistakes_are_told_with_their_route() {
        let routes = [path("/"), path("~ ("), host("a.*.test"), host("*.")];
        let errors = Router::compile(&routes).unwrap_err();
        let places: Vec<usize> = errors.iter().map(|error| error.rule).collect();
        assert_eq!(places, [1, 2, 3]);
        assert_eq!(
            Router::compile(&[])
                .unwrap()
                .find(&get("/", &[]).view(), &mut Scratch::default()),
            None
        );
    }

    /// The route table as its documentation says it, without indexes or compiled parts.
    fn scan(routes: &[RouteMatch], host: &str, path: &str, method: &str) -> Option<usize> {
        let fits_host = |pattern: &String| match pattern.strip_prefix('*') {
            Some("") => true,
            Some(end) => host.len() > end.len() && host.ends_with(end),
            None => host == pattern,
        };
        let fits_path = |pattern: &String| match pattern.strip_prefix("~ ") {
            Some(regex) => regex::Regex::new(regex).unwrap().is_match(path),
            None => match pattern.trim_end_matches('*').strip_suffix('/') {
                Some(stem) => path == stem || path.starts_with(&format!("{stem}/")),
                None => path == pattern,
            },
        };
        routes.iter().position(|route| {
            (route.hosts.is_empty() || route.hosts.iter().any(fits_host))
                && (route.paths.is_empty() || route.paths.iter().any(fits_path))
                && (route.methods.is_empty() || route.methods.iter().any(|m| m == method))
        })
    }

    fn some(values: &'static [&'static str], most: usize) -> impl Strategy<Value = Vec<String>> {
        proptest::collection::vec(proptest::sample::select(values), 0..=most)
            .prop_map(|list| texts(&list))
    }

    const HOSTS: &[&str] = &[
        "a.test",
        "b.test",
        "x.b.test",
        "*.test",
        "*.b.test",
        "*.x.b.test",
        "*",
    ];
    const PATHS: &[&str] = &[
        "/",
        "/a",
        "/a/",
        "/a/b",
        "/a/b/",
        "/a/b/c/*",
        "/b/*",
        "/ab",
        "~ ^/a.*c$",
        "~ b",
        "/*",
    ];

    fn route() -> impl Strategy<Value = RouteMatch> {
        (some(HOSTS, 2), some(PATHS, 2), some(&["GET", "POST"], 1)).prop_map(
            |(hosts, paths, methods)| RouteMatch {
                hosts,
                paths,
                methods,
                ..RouteMatch::default()
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn indexes_find_what_a_scan_finds(routes in proptest::collection::vec(route(), 0..60)) {
            let router = Router::compile(&routes).unwrap();
            let mut scratch = Scratch::default();
            for host in ["a.test", "b.test", "x.b.test", "y.x.b.test", "q.test", "test", "other"] {
                for path in ["/", "/a", "/a/", "/a/b", "/a/b/c", "/a/b/c/d/e", "/ab", "/b/x", "/z"] {
                    for method in ["GET", "POST"] {
                        let asked = ask(&format!("{method} {path}"), &[&format!("Host: {host}")]);
                        scratch.clear();
                        prop_assert_eq!(
                            router.find(&asked.view(), &mut scratch),
                            scan(&routes, host, path, method),
                            "{} {} {}", method, host, path
                        );
                    }
                }
            }
        }

        #[test]
        fn conditions_and_routes_agree(route in route(), path in "/[abc/]{0,5}") {
            let asked = get(&path, &["Host: x.b.test"]);
            let definitions = Definitions::default();
            let check = Compiler::new(&definitions).check(&route.condition()).unwrap();
            let mut scratch = Scratch::default();
            scratch.begin(&asked.view());
            let holds = check.holds(&asked.view(), &mut scratch);
            prop_assert_eq!(find(&[route], &asked).is_some(), holds);
        }

        #[test]
        fn what_is_said_to_be_hidden_is_never_found(
            routes in proptest::collection::vec(route(), 0..12),
        ) {
            let hidden = crate::shadowed(&routes);
            for host in ["a.test", "x.b.test", "y.x.b.test", "q"] {
                for path in ["/", "/a", "/a/b", "/a/b/c", "/ab"] {
                    for method in ["GET", "POST"] {
                        let found = scan(&routes, host, path, method);
                        prop_assert!(hidden.iter().all(|(later, _)| found != Some(*later)));
                    }
                }
            }
        }
    }
}
