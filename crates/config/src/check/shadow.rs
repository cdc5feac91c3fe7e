//! Routes that no request can reach because an earlier one takes everything they would.
//!
//! The same as `clearway_rules::shadowed`, with an index by host: the pairs that can hide each other
//! at all are looked at, so thousands of routes cost milliseconds. A test compares the two.
//!
//! Conservative: what cannot be decided, such as whether one regular expression covers another, is
//! taken for reachable.

use clearway_base::hash::Map;

use crate::model::{FieldTest, HostPattern, Match, PathPattern, Route};

/// Pairs of a route that is never reached and the first route that hides it.
pub(super) fn shadowed(routes: &[Route]) -> Vec<(usize, usize)> {
    // A route that covers another covers each of its hosts, so it is found under one of them.
    let mut by_host: Map<String, Vec<usize>> = Map::default();
    let mut hidden = Vec::new();
    for (index, route) in routes.iter().enumerate() {
        let matching = &route.matching;
        let keys = match matching.host.first() {
            Some(host) => covering_hosts(host.as_str()),
            None => vec![String::new()],
        };
        let earlier = keys.iter().filter_map(|key| by_host.get(key)).flatten();
        let first = earlier
            .filter(|&&earlier| {
                routes
                    .get(earlier)
                    .is_some_and(|earlier| covers(&earlier.matching, matching))
            })
            .min();
        if let Some(&first) = first {
            // What hides it hides whatever it would hide.
            hidden.push((index, first));
            continue;
        }
        if matching.host.is_empty() {
            by_host.entry(String::new()).or_default().push(index);
        }
        for host in &matching.host {
            by_host
                .entry(host.as_str().to_ascii_lowercase())
                .or_default()
                .push(index);
        }
    }
    hidden
}

/// Spellings of host patterns that cover a host pattern.
fn covering_hosts(host: &str) -> Vec<String> {
    let host = host.to_ascii_lowercase();
    let mut keys = vec![String::new(), "*".to_owned(), host.clone()];
    let mut rest = host.strip_prefix("*.").unwrap_or(&host);
    while let Some((_, parent)) = rest.split_once('.') {
        keys.push(format!("*.{parent}"));
        rest = parent;
    }
    keys.dedup();
    keys
}

/// Whether every request that `b` takes is taken by `a` too.
fn covers(a: &Match, b: &Match) -> bool {
    covers_all(&a.host, &b.host, host_covers)
        && covers_all(&a.path, &b.path, path_covers)
        && covers_all(&a.method, &b.method, |a, b| a == b)
        && covers_all(&a.source, &b.source, |a, b| a.contains(b))
        && covers_all(&a.listeners, &b.listeners, |a, b| a == b)
        && fields_cover(&a.header, &b.header, |a, b| {
            a.as_str().eq_ignore_ascii_case(b.as_str())
        })
        && fields_cover(&a.cookie, &b.cookie, |a, b| a == b)
        && fields_cover(&a.query, &b.query, |a, b| a == b)
}

/// Whether every value of `b` is covered by one of `a`; no values means all.
fn covers_all<T>(a: &[T], b: &[T], covers: fn(&T, &T) -> bool) -> bool {
    a.is_empty() || (!b.is_empty() && b.iter().all(|b| a.iter().any(|a| covers(a, b))))
}

fn host_covers(a: &HostPattern, b: &HostPattern) -> bool {
    let key = a.as_str().to_ascii_lowercase();
    covering_hosts(b.as_str()).contains(&key)
}

fn path_covers(a: &PathPattern, b: &PathPattern) -> bool {
    let (a, b) = (a.as_str(), b.as_str());
    if a == b {
        return true;
    }
    if a.starts_with('~') || b.starts_with('~') {
        return false;
    }
    // `/a/` and `/a/*` are everything below, and the path itself.
    let Some(stem) = a.strip_suffix("/*").or_else(|| a.strip_suffix('/')) else {
        return false;
    };
    b.strip_prefix(stem)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether everything that `a` asks of fields is asked by `b` too.
fn fields_cover<K>(a: &[(K, FieldTest)], b: &[(K, FieldTest)], same: fn(&K, &K) -> bool) -> bool {
    a.iter().all(|(name, wanted)| {
        b.iter().any(|(other, given)| {
            let present = *wanted == FieldTest::Present && *given != FieldTest::Absent;
            same(name, other) && (wanted == given || present)
        })
    })
}

#[cfg(test)]
mod tests {
    use clearway_base::rng::Rng;
    use proptest::prelude::*;

    use super::*;
    use crate::model::HeaderName;
    use crate::value::Text;

    fn hidden(routes: &str) -> Vec<(usize, usize)> {
        let text =
            format!("{routes}[listener.web]\nbind = \":80\"\n[backend.a]\nservers = [\"h:1\"]\n");
        let loaded = crate::parse("t", &text);
        assert!(!loaded.has_errors(), "{:?}", loaded.diagnostics);
        shadowed(&loaded.config.routes)
    }

    fn pair(first: &str, second: &str) -> bool {
        let route = |fields: &str| format!("[[route]]\nbackend = \"a\"\n{fields}\n");
        !hidden(&(route(first) + &route(second))).is_empty()
    }

    #[test]
    fn what_is_covered_is_hidden() {
        for (first, second) in [
            ("", "host = \"a.test\""),
            ("", ""),
            ("host = \"*.test\"", "host = \"a.b.test\""),
            ("host = \"*.test\"", "host = \"*.b.test\""),
            ("host = \"A.test\"", "host = \"a.TEST\""),
            ("host = [\"x.test\", \"y.test\"]", "host = \"y.test\""),
            ("path = \"/a/\"", "path = \"/a/b\""),
            ("path = \"/a/*\"", "path = \"/a\""),
            ("path = \"/\"", "path = \"/x/y/\""),
            (
                "method = [\"GET\", \"POST\"]",
                "method = \"GET\"\npath = \"/\"",
            ),
            ("source = \"10.0.0.0/8\"", "source = \"10.1.0.0/16\""),
            ("header = { x-a = true }", "header = { X-A = \"1\" }"),
            ("path = \"~ ^/x\"", "path = \"~ ^/x\""),
        ] {
            assert!(pair(first, second), "{first:?} {second:?}");
        }
    }

    #[test]
    fn what_is_not_covered_is_reachable() {
        for (first, second) in [
            ("host = \"a.test\"", ""),
            ("host = \"*.test\"", "host = \"test\""),
            ("host = \"*.b.test\"", "host = \"*.test\""),
            ("host = \"a.test\"", "host = [\"a.test\", \"b.test\"]"),
            ("path = \"/a/\"", "path = \"/ab\""),
            ("path = \"/a\"", "path = \"/a/b\""),
            ("path = \"~ ^/x\"", "path = \"/x\""),
            ("method = \"GET\"", ""),
            ("header = { x-a = \"1\" }", "header = { x-a = true }"),
            ("header = { x-a = true }", "header = { x-a = false }"),
            ("query = { q = \"1\" }", "query = { q = \"2\" }"),
            ("source = \"10.1.0.0/16\"", "source = \"10.0.0.0/8\""),
        ] {
            assert!(!pair(first, second), "{first:?} {second:?}");
        }
    }

    #[test]
    fn many_hosts_are_quick_and_the_first_is_named() {
        let mut text = String::new();
        for index in 0..2_000 {
            text += &format!("[[route]]\nbackend = \"a\"\nhost = \"h{index}.test\"\n");
        }
        text += "[[route]]\nbackend = \"a\"\nhost = \"h7.test\"\npath = \"/x\"\n";
        assert_eq!(hidden(&text), [(2_000, 7)]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_rule_engine_agrees(seed: u64) {
            let mut rng = Rng::new(seed);
            let routes: Vec<Route> = (0..12).map(|_| route(&mut rng)).collect();
            let lowered: Vec<_> = routes.iter().map(|route| route.matching.lowered()).collect();
            prop_assert_eq!(shadowed(&routes), clearway_rules::shadowed(&lowered), "{:#?}", lowered);
        }
    }

    /// A route of few and near conditions, so that many hide others.
    fn route(rng: &mut Rng) -> Route {
        let mut some = |values: &str| -> Vec<String> {
            let values: Vec<&str> = values.split(' ').collect();
            let count = rng.below(3);
            let index = |rng: &mut Rng| usize::try_from(rng.below(values.len() as u64)).unwrap();
            (0..count).map(|_| values[index(rng)].to_owned()).collect()
        };
        let mut route = Route::default();
        let matching = &mut route.matching;
        matching.host = read(&some("a.test *.test b.a.test *.a.test *"));
        matching.path = read(&some("/ /a /a/ /a/b /ab ~^/a"));
        matching.method = read(&some("GET POST"));
        matching.source = read(&some("10.0.0.0/8 10.1.0.0/16"));
        if let Some(name) = some("x-a X-A x-b").first() {
            let test = if some("1 2").is_empty() {
                FieldTest::Present
            } else {
                FieldTest::Text("1".into())
            };
            matching
                .header
                .0
                .push((HeaderName::parse(name).unwrap(), test));
        }
        route
    }

    fn read<T: Text>(texts: &[String]) -> Vec<T> {
        texts.iter().map(|text| T::parse(text).unwrap()).collect()
    }
}
