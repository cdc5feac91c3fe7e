//! Routes that no request can reach because an earlier one takes everything they match.

use clearway_base::hash::Map;

use crate::ast::{Condition, FieldTest, RouteMatch};
use crate::matcher;
use crate::route_match::PathPattern;
use crate::router::folded;

/// Pairs of a route that can never be taken and the first route that alone takes its requests.
///
/// Careful rather than complete: what is reported is certain, but routes that only several earlier
/// ones together hide are not found, and regular expressions are compared with nothing but themselves.
///
/// An index by host finds the pairs that can hide each other at all, so that thousands of routes of
/// different hosts cost milliseconds.
#[must_use]
pub fn shadowed(routes: &[RouteMatch]) -> Vec<(usize, usize)> {
    let mut by_host: Map<String, Vec<usize>> = Map::default();
    let mut hidden = Vec::new();
    for (later, route) in routes.iter().enumerate() {
        // A route that covers another covers each of its hosts, so it stands under a key of the first.
        let keys = covering_hosts(route.hosts.first().map(String::as_str));
        let earlier = keys.iter().filter_map(|key| by_host.get(key)).flatten();
        let takes = |&&at: &&usize| routes.get(at).is_some_and(|a| takes_all(a, route));
        if let Some(&first) = earlier.filter(takes).min() {
            // What hides it hides whatever it would hide.
            hidden.push((later, first));
            continue;
        }
        if route.hosts.is_empty() {
            by_host.entry(String::new()).or_default().push(later);
        }
        for host in &route.hosts {
            by_host.entry(folded(host)).or_default().push(later);
        }
    }
    hidden
}

/// Keys of the hosts that cover a host; no host is an empty key and covers all.
fn covering_hosts(host: Option<&str>) -> Vec<String> {
    let mut keys = vec![String::new()];
    let Some(host) = host.map(folded) else {
        return keys;
    };
    keys.extend(["*".to_owned(), host.clone()]);
    let mut rest = host.strip_prefix("*.").unwrap_or(&host);
    while let Some((_, parent)) = rest.split_once('.') {
        keys.push(format!("*.{parent}"));
        rest = parent;
    }
    keys
}

/// Whether every request that `route` matches is matched by `earlier`.
fn takes_all(earlier: &RouteMatch, route: &RouteMatch) -> bool {
    (earlier.when == Condition::Always || earlier.when == route.when)
        && covers(&earlier.hosts, &route.hosts, |a, b| covers_host(a, b))
        && covers(&earlier.paths, &route.paths, |a, b| covers_path(a, b))
        && covers(&earlier.methods, &route.methods, |a, b| a == b)
        && covers(&earlier.listeners, &route.listeners, |a, b| a == b)
        && covers(&earlier.sources, &route.sources, |a, b| a.contains(b))
        && match (&earlier.client_cert, &route.client_cert) {
            (None, _) => true,
            (Some(wide), Some(narrow)) => passes(wide, narrow),
            (Some(_), None) => false,
        }
        && implied(&earlier.headers, &route.headers, str::eq_ignore_ascii_case)
        && implied(&earlier.cookies, &route.cookies, |a, b| a == b)
        && implied(&earlier.queries, &route.queries, |a, b| a == b)
}

/// Whether each of `narrow` is covered by one of `wide`; an empty list is everything.
fn covers<T>(wide: &[T], narrow: &[T], one: impl Fn(&T, &T) -> bool) -> bool {
    wide.is_empty() || (!narrow.is_empty() && narrow.iter().all(|n| wide.iter().any(|w| one(w, n))))
}

fn covers_host(wide: &str, narrow: &str) -> bool {
    let (wide, narrow) = (folded(wide), folded(narrow));
    match wide.strip_prefix('*') {
        Some("") => true,
        // `*.b.test` covers `x.b.test` and `*.x.b.test`, but not `b.test`.
        Some(end) => {
            let name = narrow.strip_prefix('*').unwrap_or(&narrow);
            name.ends_with(end) && (name.len() > end.len() || narrow == wide)
        }
        None => wide == narrow,
    }
}

fn covers_path(wide: &str, narrow: &str) -> bool {
    match (PathPattern::of(wide), PathPattern::of(narrow)) {
        (PathPattern::Below(begin), PathPattern::Exact(path) | PathPattern::Below(path)) => {
            matcher::below(path.as_bytes(), begin.as_bytes()).is_some()
        }
        (PathPattern::Exact(a), PathPattern::Exact(b))
        | (PathPattern::Regex(a), PathPattern::Regex(b)) => a == b,
        (PathPattern::Below(_), PathPattern::Regex(_))
        | (PathPattern::Exact(_), PathPattern::Below(_) | PathPattern::Regex(_))
        | (PathPattern::Regex(_), PathPattern::Below(_) | PathPattern::Exact(_)) => false,
    }
}

/// Whether fields that pass `narrow` pass `wide`.
fn implied(
    wide: &[(String, FieldTest)],
    narrow: &[(String, FieldTest)],
    same: impl Fn(&str, &str) -> bool,
) -> bool {
    wide.iter().all(|(name, test)| {
        let of_name = narrow.iter().filter(|(other, _)| same(name, other));
        of_name
            .map(|(_, test)| test)
            .any(|other| passes(test, other))
    })
}

/// Whether a value that passes `narrow` passes `wide`.
fn passes(wide: &FieldTest, narrow: &FieldTest) -> bool {
    match (wide, narrow) {
        (FieldTest::Present, FieldTest::Absent) => false,
        (FieldTest::Present, _) => true,
        (FieldTest::Absent | FieldTest::Exact(_) | FieldTest::Regex(_), _) => wide == narrow,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(key: &str, values: &[&str]) -> RouteMatch {
        let list = || values.iter().map(|value| (*value).to_owned()).collect();
        let mut route = RouteMatch::default();
        match key {
            "host" => route.hosts = list(),
            "path" => route.paths = list(),
            "method" => route.methods = list(),
            "source" => route.sources = values.iter().map(|v| v.parse().unwrap()).collect(),
            "listener" => route.listeners = list(),
            other => panic!("{other}"),
        }
        route
    }

    #[test]
    fn certificates_of_clients() {
        let with = |test: Option<FieldTest>| RouteMatch {
            client_cert: test,
            ..RouteMatch::default()
        };
        let ada = FieldTest::Exact("CN=ada".to_owned());
        for (wide, narrow, expected) in [
            (None, Some(FieldTest::Present), true),
            (Some(FieldTest::Present), None, false),
            (Some(FieldTest::Present), Some(ada.clone()), true),
            (Some(FieldTest::Present), Some(FieldTest::Absent), false),
            (Some(ada), Some(FieldTest::Present), false),
        ] {
            let found = shadowed(&[with(wide.clone()), with(narrow.clone())]);
            assert_eq!(!found.is_empty(), expected, "{wide:?} {narrow:?}");
        }
    }

    #[test]
    fn one_field_at_a_time() {
        for (key, wide, narrow, expected) in [
            ("host", vec!["a.test"], vec!["A.test"], true),
            ("host", vec!["a.test"], vec!["a.test."], true),
            ("host", vec!["*.a.test."], vec!["x.y.A.test"], true),
            ("host", vec!["a.test"], vec!["b.test"], false),
            ("host", vec!["*.test"], vec!["a.test", "*.a.test"], true),
            ("host", vec!["*.a.test"], vec!["a.test"], false),
            ("host", vec!["*.a.test"], vec!["*.a.test"], true),
            ("host", vec!["*.a.test"], vec!["*.test"], false),
            ("host", vec!["*"], vec!["a.test", "*.a.test", "*"], true),
            ("host", vec!["a.test"], vec![], false),
            ("host", vec!["a.test", "b.test"], vec!["b.test"], true),
            ("host", vec!["b.test"], vec!["a.test", "b.test"], false),
            ("path", vec!["/a/"], vec!["/a", "/a/b", "/a/b/*"], true),
            ("path", vec!["/a//"], vec!["/a/b"], true),
            ("path", vec!["/a/"], vec!["/ab"], false),
            ("path", vec!["/a"], vec!["/a/"], false),
            ("path", vec!["/"], vec!["/", "/a", "/a/"], true),
            ("path", vec!["/a/"], vec![], false),
            ("path", vec!["~ ^/a"], vec!["~^/a"], true),
            ("path", vec!["~ ^/a"], vec!["/a"], false),
            ("method", vec!["GET", "HEAD"], vec!["GET"], true),
            ("method", vec!["GET"], vec!["GET", "POST"], false),
            ("source", vec!["10.0.0.0/8"], vec!["10.1.0.0/16"], true),
            ("source", vec!["10.1.0.0/16"], vec!["10.0.0.0/8"], false),
            ("listener", vec!["web"], vec![], false),
            ("listener", vec![], vec!["web"], true),
        ] {
            let routes = [route(key, &wide), route(key, &narrow)];
            let found = shadowed(&routes);
            let pairs = if expected { vec![(1, 0)] } else { vec![] };
            assert_eq!(found, pairs, "{key} {wide:?} {narrow:?}");
        }
    }

    #[test]
    fn headers_must_be_implied() {
        let with = |tests: &[(&str, FieldTest)]| RouteMatch {
            headers: tests
                .iter()
                .map(|(n, t)| ((*n).to_owned(), t.clone()))
                .collect(),
            ..RouteMatch::default()
        };
        let exact = |text: &str| FieldTest::Exact(text.to_owned());
        let present = with(&[("x-a", FieldTest::Present)]);
        let is_b = with(&[("X-A", exact("b"))]);
        let digit = with(&[("x-a", FieldTest::Regex("^[0-9]$".to_owned()))]);
        let digit_too = with(&[("X-a", FieldTest::Regex("^[0-9]$".to_owned()))]);
        let both = with(&[("x-a", exact("7")), ("x-b", FieldTest::Absent)]);
        let absent = with(&[("x-a", FieldTest::Absent)]);
        assert!(takes_all(&present, &is_b));
        assert!(!takes_all(&is_b, &present));
        assert!(takes_all(&digit, &digit_too));
        assert!(takes_all(&present, &both));
        assert!(!takes_all(&both, &digit));
        assert!(!takes_all(&present, &absent));
        assert!(takes_all(&RouteMatch::default(), &both));
        assert!(!takes_all(&absent, &RouteMatch::default()));
    }

    #[test]
    fn the_first_that_hides_is_named() {
        let routes = [
            route("path", &["/a/"]),
            RouteMatch::default(),
            route("path", &["/a/b"]),
            route("path", &["/c"]),
        ];
        assert_eq!(shadowed(&routes), [(2, 0), (3, 1)]);
    }
    #[test]
    fn many_hosts_are_quick_and_the_first_is_named() {
        let mut routes: Vec<RouteMatch> = (0..2_000)
            .map(|index| route("host", &[&format!("h{index}.test")]))
            .collect();
        routes.push(RouteMatch {
            paths: vec!["/x".to_owned()],
            ..route("host", &["h7.test"])
        });
        assert_eq!(shadowed(&routes), [(2_000, 7)]);
    }
}
