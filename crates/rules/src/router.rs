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
        let definitions = Definitions::default();
        let mut compiler = Compiler::new(&definitions);
        let (mut checks, mut errors) = (Vec::with_capacity(routes.len()), Vec::new());
        let mut captures = false;
        for (rule, route) in routes.iter().enumerate() {
            let condition = Condition::All(route.condition_but_host());
            let (check, needs) = compiler.asking(|compiler| compiler.check(&condition));
            captures |= needs.captures;
            let host = route.hosts.iter().find(|host| !is_pattern(host));
            if let Some(host) = host {
                let message = format!("{host:?} is not a host, `*.` and a domain, or `*`");
                errors.push(CompileError { rule, message });
            }
            match check {
                Ok(check) if check.is_always() => checks.push(Check::Always),
                Ok(check) => checks.push(check),
                Err(message) => errors.push(CompileError { rule, message }),
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
