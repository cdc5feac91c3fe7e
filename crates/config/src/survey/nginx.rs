//! What an NGINX configuration says about failures.
//!
//! Defaults are those of the documentation. Connections to servers are not kept unless `keepalive` is
//! written; newer versions keep them by themselves.

use std::path::Path;
use std::time::Duration;

use clearway_base::hash::Map;
use clearway_outcome::Speaker;

use super::{BackendSurvey, BindSurvey, FrontSurvey, Setting, Survey};
use crate::diagnostic::Origin;
use crate::syntax::nginx::{Directive, Tree};
use pass::Pass;
use scope::Scope;
use upstream::Upstream;

mod destination;
mod front;
mod names;
mod pass;
mod pitfall;
pub(crate) mod scope;
mod upstream;

const MINUTE: Duration = Duration::from_secs(60);

/// Reads an NGINX configuration, with everything that it includes.
#[must_use]
pub fn nginx(path: &Path) -> Survey {
    survey(&crate::syntax::nginx::read_file(path))
}

/// Reads the text of an NGINX configuration; `name` stands in origins, and its folder is where includes
/// lead.
#[must_use]
pub fn nginx_text(name: &str, text: &str) -> Survey {
    survey(&crate::syntax::nginx::read(name, text))
}

fn survey(tree: &Tree) -> Survey {
    let mut survey = Survey::new(Speaker::Nginx);
    survey.files.clone_from(&tree.files);
    survey.diagnostics.clone_from(&tree.diagnostics);
    let root = Scope::default().inside(&tree.directives);
    survey.file_limit = root.setting("worker_rlimit_nofile", |text| text.parse().ok());
    let mut walk = Walk {
        survey,
        upstreams: Vec::new(),
        upstream_names: Map::default(),
        backend_names: Map::default(),
        implicit: Vec::new(),
        // A file with servers alone is made to be included elsewhere, where more may be written.
        is_whole: has(&tree.directives, &["http", "stream"]) && !tree.lacks_files,
        beside: Vec::new(),
    };
    walk.main(&tree.directives, &root);
    walk.finish()
}

/// What is found on the way through the blocks.
struct Walk<'a> {
    survey: Survey,
    upstreams: Vec<Upstream<'a>>,
    /// The places of `upstreams` by their names.
    upstream_names: Map<(Family, String), usize>,
    /// The places of the survey's backends by their names.
    backend_names: Map<String, Vec<usize>>,
    /// Hosts that a `proxy_pass` without variables names: NGINX looks them up at start, and those with
    /// variables find them there.
    implicit: Vec<String>,
    /// Whether nothing that may hold is written in a file that is not here.
    is_whole: bool,
    /// Ways that change the path, so that it is not known which `location` they would come back to.
    beside: Vec<Origin>,
}

/// Which family of servers a block belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Family {
    Http,
    Stream,
}

impl<'a> Walk<'a> {
    fn main(&mut self, directives: &'a [Directive], root: &Scope<'a>) {
        let mut has_events = false;
        for directive in directives {
            match directive.name.text.as_str() {
                "events" => {
                    has_events = true;
                    let scope = root.inside(directive.inner());
                    let limit = scope.setting("worker_connections", |text| text.parse().ok());
                    self.survey.connection_limit = Some(
                        limit.unwrap_or_else(|| Setting::by_default("worker_connections", 512)),
                    );
                }
                "http" => self.family(directive.inner(), root, Family::Http),
                "stream" => self.family(directive.inner(), root, Family::Stream),
                _ => {}
            }
        }
        if !has_events && self.is_whole {
            self.survey.connection_limit = Some(Setting::by_default("worker_connections", 512));
        }
        let http = directives.iter().rev().find(|found| found.is("http"));
        match http {
            // Files that were written one behind the other belong into the block of the first.
            Some(http) => self.fragment(directives, &root.inside(http.inner())),
            None => self.fragment(directives, root),
        }
    }

    /// What stands on the top level and is made to be included in `http`, `stream`, a `server` or a
    /// `location`.
    fn fragment(&mut self, directives: &'a [Directive], scope: &Scope<'a>) {
        let passes_bytes = |server: &Directive| {
            let pass = server.inner().iter().find(|inner| inner.is("proxy_pass"));
            let destination = pass.and_then(|pass| pass.argument(0));
            server.is("server")
                && destination.is_some_and(|destination| !destination.contains("://"))
        };
        let family = if directives.iter().any(passes_bytes) {
            Family::Stream
        } else {
            Family::Http
        };
        // What stands here holds here already: the top level is a part of the scope.
        self.blocks(directives, scope, family);
        let passes = names::ALL.iter().map(|names| names.pass);
        let inner: Vec<&str> = passes.chain(["location"]).collect();
        if has(directives, &inner) {
            let index = self.front(directives, scope, Family::Http, None);
            self.passes(directives, None, scope, index, "");
            self.locations(directives, scope, index, "");
        }
    }

    fn family(&mut self, directives: &'a [Directive], root: &Scope<'a>, family: Family) {
        self.blocks(directives, &root.inside(directives), family);
    }

    fn blocks(&mut self, directives: &'a [Directive], scope: &Scope<'a>, family: Family) {
        if let Some(resolver) = scope.find("resolver") {
            self.resolver(resolver);
        }
        for directive in directives.iter().filter(|found| found.is("upstream")) {
            let upstream = Upstream::read(directive, scope, family);
            let name = (family, upstream.name.clone());
            self.upstream_names.insert(name, self.upstreams.len());
            self.upstreams.push(upstream);
        }
        self.note(directives);
        for server in directives.iter().filter(|found| found.is("server")) {
            let within = scope.inside(server.inner());
            let index = self.front(server.inner(), &within, family, Some(server));
            match family {
                Family::Http => self.locations(server.inner(), &within, index, ""),
                Family::Stream => self.stream_pass(&within, index),
            }
        }
    }

    /// The group with a name.
    fn upstream(&self, family: Family, name: &str) -> Option<&Upstream<'a>> {
        let index = self.upstream_names.get(&(family, name.to_owned()))?;
        self.upstreams.get(*index)
    }

    fn resolver(&mut self, directive: &Directive) {
        if self.survey.resolvers.origin.is_some() {
            return;
        }
        // Settings of the resolver have an equals sign.
        let servers = directive.texts().filter(|text| !text.contains('='));
        let servers = servers.map(str::to_owned).collect();
        self.survey.resolvers = Setting::written("resolver", servers, directive.origin());
    }

    /// Notes what the whole family has to know before its servers are looked at.
    fn note(&mut self, directives: &'a [Directive]) {
        for directive in directives {
            let first = directive.argument(0).unwrap_or_default();
            let is_pass = names::ALL.iter().any(|names| directive.is(names.pass));
            if is_pass && !first.contains('$') {
                for destination in destination::destinations(first, &Scope::default()) {
                    let (host, _) = super::units::host_and_port(&destination.authority);
                    self.implicit.push(host);
                }
            }
            self.note(directive.inner());
        }
    }

    fn front(
        &mut self,
        directives: &'a [Directive],
        scope: &Scope<'a>,
        family: Family,
        server: Option<&'a Directive>,
    ) -> usize {
        let front = front::read(directives, scope, family, server);
        self.survey.fronts.push(front);
        self.survey.fronts.len() - 1
    }

    /// Looks at everything in a `server` or `location` that passes requests on.
    fn locations(
        &mut self,
        directives: &'a [Directive],
        scope: &Scope<'a>,
        front: usize,
        path: &str,
    ) {
        if let Some(resolver) = scope.find("resolver") {
            self.resolver(resolver);
        }
        for directive in directives {
            match directive.name.text.as_str() {
                "location" => {
                    let path: Vec<&str> = directive.texts().collect();
                    let within = scope.inside(directive.inner());
                    self.passes(
                        directive.inner(),
                        Some(directive),
                        &within,
                        front,
                        &path.join(" "),
                    );
                    self.locations(directive.inner(), &within, front, &path.join(" "));
                }
                // Conditions are places of their own that inherit like locations.
                "if" | "limit_except" => {
                    let within = scope.inside(directive.inner());
                    self.passes(directive.inner(), Some(directive), &within, front, path);
                }
                _ => {}
            }
        }
    }

    /// Looks at the `…_pass` directives of one block.
    fn passes(
        &mut self,
        block: &'a [Directive],
        location: Option<&'a Directive>,
        scope: &Scope<'a>,
        front: usize,
        path: &str,
    ) {
        for directive in block {
            let names = names::ALL.iter().find(|names| directive.is(names.pass));
            let Some((names, argument)) = names.zip(directive.argument(0)) else {
                continue;
            };
            let pass = Pass {
                directive,
                argument,
                names,
                scope,
                location,
                path,
                family: Family::Http,
            };
            self.pass(&pass, front);
        }
    }

    /// A server of `stream` passes on what comes in, without locations.
    fn stream_pass(&mut self, scope: &Scope<'a>, front: usize) {
        let Some(directive) = scope.find("proxy_pass") else {
            return;
        };
        let pass = Pass {
            directive,
            argument: directive.argument(0).unwrap_or_default(),
            names: &names::PROXY,
            scope,
            location: None,
            path: "",
            family: Family::Stream,
        };
        self.pass(&pass, front);
    }

    fn pass(&mut self, pass: &Pass<'a, '_>, front: usize) {
        let destinations = destination::destinations(pass.argument, pass.scope);
        self.pass_pitfalls(pass, &destinations);
        let mut found: Vec<BackendSurvey> = Vec::new();
        let mut direct = Vec::new();
        for destination in destinations {
            match self.upstream(pass.family, &destination.authority) {
                Some(upstream) => found.push(pass::through(pass, upstream, destination.tls)),
                None => direct.push(destination),
            }
        }
        if !direct.is_empty() {
            found.push(pass::direct(pass, &direct));
        }
        for backend in found {
            self.add(backend, front, pass.path);
        }
    }

    /// Adds a group, or the place to the group that says the same.
    fn add(&mut self, mut backend: BackendSurvey, front: usize, path: &str) {
        let front = self.survey.fronts.get_mut(front);
        let place = match &front {
            Some(front) => format!("{} {path}", front.name).trim().to_owned(),
            None => path.to_owned(),
        };
        if let Some(front) = front
            && !front.backends.contains(&backend.name)
        {
            front.backends.push(backend.name.clone());
        }
        let backends = &mut self.survey.backends;
        let named = self.backend_names.entry(backend.name.clone()).or_default();
        let is_same = |index: &&usize| {
            let known = backends.get(**index);
            known.is_some_and(|known| pass::says_the_same(known, &backend))
        };
        let known = named.iter().find(is_same).copied();
        match known.and_then(|index| backends.get_mut(index)) {
            Some(known) if known.places.contains(&place) => {}
            Some(known) => known.places.push(place),
            None => {
                backend.places.push(place);
                named.push(backends.len());
                backends.push(backend);
            }
        }
    }

    fn finish(mut self) -> Survey {
        let upstreams = self.upstreams.iter();
        let unused: Vec<BackendSurvey> = upstreams
            .filter(|upstream| !self.backend_names.contains_key(&upstream.name))
            .map(pass::unused)
            .collect();
        self.survey.backends.extend(unused);
        self.upstream_pitfalls();
        let fix = "Send the requests to the application's own address and port.";
        let loops = super::loops::find(&self.survey, &self.beside, fix);
        self.survey.pitfalls.extend(loops);
        self.survey
    }
}

fn has(directives: &[Directive], names: &[&str]) -> bool {
    directives
        .iter()
        .any(|found| names.contains(&found.name.text.as_str()))
}

fn is_upgrade(header: &str) -> bool {
    header.eq_ignore_ascii_case("upgrade")
}

#[cfg(test)]
mod tests;
