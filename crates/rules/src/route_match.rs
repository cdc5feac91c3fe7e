//! What routes ask of requests, in the words of configurations.

use ipnet::IpNet;

use crate::ast::{Condition, Fetch, Test};

/// What a header, cookie, parameter or subject of a certificate has to be.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum FieldTest {
    /// There, even if empty.
    Present,
    /// Not there.
    Absent,
    /// This text.
    Exact(String),
    /// Something that this regular expression matches in.
    Regex(String),
}

/// What a request has to be like for a route. All fields that are not empty have to hold; of hosts,
/// paths, methods, sources and listeners one each, of headers, cookies and parameters all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RouteMatch {
    /// Hosts; `*.example.org` is all names below, `*` any.
    pub hosts: Vec<String>,
    /// Paths: `/exact`, `/below/` or `/below/*` for `/below` and all below it, `~ regex`.
    pub paths: Vec<String>,
    /// Methods.
    pub methods: Vec<String>,
    /// Headers.
    pub headers: Vec<(String, FieldTest)>,
    /// Cookies.
    pub cookies: Vec<(String, FieldTest)>,
    /// Parameters of the query.
    pub queries: Vec<(String, FieldTest)>,
    /// Networks of the client.
    pub sources: Vec<IpNet>,
    /// Listeners.
    pub listeners: Vec<String>,
    /// Subject of the client's certificate.
    pub client_cert: Option<FieldTest>,
    /// What has to hold besides.
    pub when: Condition,
}

/// A path pattern, understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PathPattern<'a> {
    Exact(&'a str),
    /// Without slash at its end; empty for all paths.
    Below(&'a str),
    Regex(&'a str),
}

impl<'a> PathPattern<'a> {
    pub(crate) fn of(text: &'a str) -> Self {
        if let Some(pattern) = text.strip_prefix('~') {
            return Self::Regex(pattern.trim_start());
        }
        let below = text.strip_suffix("/*").or_else(|| text.strip_suffix('/'));
        // Paths in normal form have no doubled slashes: more of them at the end mean no more.
        below.map_or(Self::Exact(text), |below| {
            Self::Below(below.trim_end_matches('/'))
        })
    }
}

impl RouteMatch {
    /// The same as a condition, for rules.
    #[must_use]
    pub fn condition(&self) -> Condition {
        let mut all = Vec::new();
        if !self.hosts.is_empty() {
            all.push(Condition::test(
                Fetch::Host,
                Test::Wildcard(self.hosts.clone()),
            ));
        }
        all.extend(self.condition_but_host());
        match all.len() {
            0 => Condition::Always,
            1 => all.remove(0),
            _ => Condition::All(all),
        }
    }

    /// Everything but the hosts, cheap tests first.
    pub(crate) fn condition_but_host(&self) -> Vec<Condition> {
        let mut all = Vec::new();
        let texts = |list: &[String]| Test::Exact(list.to_vec());
        if !self.listeners.is_empty() {
            all.push(Condition::test(Fetch::Listener, texts(&self.listeners)));
        }
        if !self.methods.is_empty() {
            all.push(Condition::test(Fetch::Method, texts(&self.methods)));
        }
        all.extend(self.path_condition());
        if self.when != Condition::Always {
            all.push(self.when.clone());
        }
        if !self.sources.is_empty() {
            let networks = Test::Network(self.sources.clone());
            all.push(Condition::test(Fetch::Source, networks));
        }
        if let Some(test) = &self.client_cert {
            all.push(field(Fetch::ClientCertSubject, test));
        }
        for (name, test) in &self.headers {
            all.push(field(Fetch::Header(name.clone()), test));
        }
        for (name, test) in &self.cookies {
            all.push(field(Fetch::Cookie(name.clone()), test));
        }
        for (name, test) in &self.queries {
            all.push(field(Fetch::QueryParam(name.clone()), test));
        }
        all
    }

    fn path_condition(&self) -> Option<Condition> {
        let (mut exact, mut below, mut regex) = (Vec::new(), Vec::new(), Vec::new());
        for pattern in &self.paths {
            match PathPattern::of(pattern) {
                PathPattern::Exact(text) => exact.push(text.to_owned()),
                PathPattern::Below(text) => below.push(text.to_owned()),
                PathPattern::Regex(text) => regex.push(text.to_owned()),
            }
        }
        let mut tests = Vec::new();
        for (list, test) in [
            (exact, Test::Exact as fn(_) -> _),
            (below, Test::PathPrefix),
            (regex, Test::Regex),
        ] {
            if !list.is_empty() {
                tests.push(Condition::test(Fetch::Path, test(list)));
            }
        }
        match tests.len() {
            0 | 1 => tests.pop(),
            _ => Some(Condition::Any(tests)),
        }
    }
}

fn field(fetch: Fetch, test: &FieldTest) -> Condition {
    match test {
        FieldTest::Exact(text) => Condition::test(fetch, Test::Exact(vec![text.clone()])),
        FieldTest::Regex(pattern) => Condition::test(fetch, Test::Regex(vec![pattern.clone()])),
        FieldTest::Present => Condition::test(fetch, Test::Exists),
        FieldTest::Absent => Condition::test(fetch, Test::Exists).negated(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_patterns_are_told_apart() {
        for (text, pattern) in [
            ("/a", PathPattern::Exact("/a")),
            ("/a/", PathPattern::Below("/a")),
            ("/a/*", PathPattern::Below("/a")),
            ("/a//", PathPattern::Below("/a")),
            ("/a//*", PathPattern::Below("/a")),
            ("/", PathPattern::Below("")),
            ("/*", PathPattern::Below("")),
            ("~ ^/x", PathPattern::Regex("^/x")),
            ("~^/x", PathPattern::Regex("^/x")),
        ] {
            assert_eq!(PathPattern::of(text), pattern, "{text}");
        }
        assert_eq!(RouteMatch::default().condition(), Condition::Always);
    }
}
