//! Config to Plan: names become ids, rules become programs, servers get their shared entries.
//!
//! What has not changed since the Plan before is shared with it, so that workers keep pools, pickers
//! and latencies of unchanged backends.

mod backend;
mod pages;
mod tls;

use std::sync::Arc;

use clearway_base::hash::Map;
use clearway_base::intern::Name;
use clearway_config::Diagnostic;
use clearway_config::model::{
    Backend, Condition, Config, Listener, Mode as ModeConfig, OnError, Passthrough, Retries, Route,
    Tolerated, XForwarded as XForwardedConfig,
};
use clearway_http::{Tolerance, XForwarded};
use clearway_rules::ast::Definitions;
use clearway_rules::{Elsewhere, Gate, Words};

pub use backend::{Address, Answer, Names, Question};

use crate::access::LogSet;
use crate::board::Board;
use crate::body::plan::BodyPlan;
use crate::cache::{CacheEntry, CachePlan};
use crate::plan::{
    BackendPlan, ErrorTurn, ListenerPlan, Marked, Mode, PassPlan, PayloadNeed, Plan, RetryPlan,
    RoutePlan,
};

/// Compiles a configuration that has passed its checks.
///
/// # Errors
/// What the checks could not see: error pages that cannot be read, health checks that HTTP does not
/// allow.
pub fn compile(
    config: &Config,
    names: &Names,
    board: &mut Board,
    generation: u64,
    before: Option<&Plan>,
) -> Result<Plan, Vec<Diagnostic>> {
    // Before anything is read: what changes meanwhile is then noticed.
    let files = Marked::new(tls::files(config));
    let mut diagnostics = Vec::new();
    let mut backends = Vec::with_capacity(config.backends.len());
    for compiled in compile_backends(config, names, board, before) {
        match compiled {
            Ok(backend) => backends.push(backend),
            Err(diagnostic) => diagnostics.push(diagnostic),
        }
    }
    let index: Map<&str, usize> = config
        .backends
        .iter()
        .enumerate()
        .map(|(at, b)| (b.name.as_str(), at))
        .collect();
    let named = definitions(config, board);
    let caches: Vec<_> = config.caches.iter().map(|c| board.cache(c)).collect();
    let mut listeners = Vec::new();
    for listener in &config.listeners {
        match compile_listener((config, &caches), &named, listener, &index, board) {
            Ok(plan) => listeners.push(Arc::new(plan)),
            Err(more) => diagnostics.extend(more),
        }
    }
    if !diagnostics.is_empty() {
        return Err(diagnostics);
    }
    let is_automatic = |l: &Listener| l.tls.as_ref().is_some_and(|tls| tls.is_automatic());
    let wanted = config.listeners.iter().any(is_automatic);
    board.keep_caches(&config.caches);
    board.tables().settle(&named.tables);
    board.limits().settle(&named.limits);
    Ok(Plan {
        generation,
        listeners,
        backends,
        caches,
        cache_settings: config.caches.clone(),
        named: Arc::new(named),
        issuance: board.issuance().filter(|_| wanted),
        statistics: board.statistics(),
        files: Arc::new(files),
    })
}

/// Compiles what follows from other addresses behind the names of the same configuration: `None`
/// when nothing does.
pub fn rename(
    config: &Config,
    names: &Names,
    board: &mut Board,
    generation: u64,
    before: &Plan,
) -> Option<Plan> {
    let backends: Result<Vec<_>, _> =
        compile_backends(config, names, board, Some(before)).collect();
    // What compiled once compiles again.
    let backends = backends.ok()?;
    let mut pairs = backends.iter().zip(&before.backends);
    if pairs.all(|(new, old)| Arc::ptr_eq(new, old)) {
        return None;
    }
    Some(Plan {
        generation,
        listeners: before.listeners.clone(),
        backends,
        caches: before.caches.clone(),
        cache_settings: before.cache_settings.clone(),
        named: Arc::clone(&before.named),
        issuance: before.issuance.clone(),
        statistics: before.statistics.clone(),
        files: Arc::clone(&before.files),
    })
}

fn compile_backends<'a>(
    config: &'a Config,
    names: &'a Names,
    board: &'a mut Board,
    before: Option<&'a Plan>,
) -> impl Iterator<Item = Result<Arc<BackendPlan>, Diagnostic>> + 'a {
    let known: Map<Name, &Arc<BackendPlan>> = before
        .iter()
        .flat_map(|plan| &plan.backends)
        .map(|b| (b.name, b))
        .collect();
    let named = definitions(config, board);
    let are_same = before.is_some_and(|before| *before.named == named);
    let places = config.backends.iter().enumerate();
    let index: Map<&str, usize> = places.map(|(at, b)| (b.name.as_str(), at)).collect();
    config.backends.iter().map(move |backend| {
        let old = known.get(&Name::new(backend.name.as_str())).copied();
        // What its rules refer to may be different where they themselves are not.
        let keeps = are_same || backend.rules.is_empty();
        backend::compile(backend, &named, names, board, (old, keeps), &index)
    })
}

/// What rules refer to by name, with the tables that there are.
fn definitions(config: &Config, board: &Board) -> Definitions {
    Definitions {
        kept: board.tables().clone(),
        budgets: board.limits().clone(),
        ..config.definitions()
    }
}

fn compile_listener(
    (config, caches): (&Config, &[Arc<CacheEntry>]),
    named: &Definitions,
    listener: &Listener,
    index: &Map<&str, usize>,
    board: &mut Board,
) -> Result<ListenerPlan, Vec<Diagnostic>> {
    let mut diagnostics = Vec::new();
    let name = Name::new(listener.name.as_str());
    let mut matches = Vec::new();
    let mut routes = Vec::new();
    for (at, route) in config.routes_of(listener) {
        matches.push(route);
        match compile_route((config, caches), named, listener, (at, route), index) {
            Ok(plan) => routes.push(plan),
            Err(more) => diagnostics.extend(more),
        }
    }
    let router = clearway_config::router(&matches, named);
    let program = listener.program(named);
    let errors = pages::compile(&[&config.errors, &listener.errors], named);
    let section = listener.origins.section();
    let (router, program, errors) = match (router, program, errors) {
        (Ok(router), Ok(program), Ok(errors)) if diagnostics.is_empty() => {
            (router, program, errors)
        }
        (router, program, errors) => {
            diagnostics.extend(router.err().into_iter().flatten());
            diagnostics.extend(program.err().into_iter().flatten());
            let page = |words| Diagnostic::error("error-page", section, words);
            diagnostics.extend(errors.err().map(page));
            return Err(diagnostics);
        }
    };
    let entry = board.listener(name);
    let tls = match &listener.tls {
        Some(settings) => Some(tls::listener(settings, listener, &entry, board.issuance())?),
        None => None,
    };
    let fallback = fallback((config, caches), named, listener, index)?;
    Ok(ListenerPlan {
        name,
        mode: match listener.mode {
            ModeConfig::Http => Mode::Http,
            ModeConfig::Tcp => Mode::Tcp,
        },
        router,
        routes,
        fallback,
        program,
        timeouts: config.timeouts_for(listener, None, None),
        limits: config.limits_for(listener, None, None),
        proxy_protocol: listener.accepts_proxy(),
        proxy_from: listener.proxy_from.clone(),
        inspect_delay: listener.inspect_delay,
        trusted: listener.trusted.clone(),
        x_forwarded: match listener.forwarded.x_forwarded {
            XForwardedConfig::Append => XForwarded::Append,
            XForwardedConfig::Replace => XForwarded::Replace,
            XForwardedConfig::Keep => XForwarded::Keep,
            XForwardedConfig::Off => XForwarded::Off,
        },
        forwarded: listener.forwarded.forwarded,
        via: listener
            .forwarded
            .via
            .on()
            .map(|name| name.as_str().to_owned()),
        transport_security: listener.transport_security(),
        closes: listener.close,
        tolerates: tolerance(listener),
        close_after: listener.close_after.clone(),
        errors,
        passthrough: passthrough(config, named, listener, index)?,
        http2: listener.http2 && listener.is_http(),
        tls,
        entry,
    })
}

/// What becomes of requests on no route: they go to the listener's own backend, if it has one.
fn fallback(
    (config, caches): (&Config, &[Arc<CacheEntry>]),
    named: &Definitions,
    listener: &Listener,
    index: &Map<&str, usize>,
) -> Result<RoutePlan, Vec<Diagnostic>> {
    let default = config.default_backend(listener);
    let retried = default.map(|backend| config.retries_for(backend, None));
    Ok(RoutePlan {
        name: Name::NONE,
        backend: default.and_then(|b| index.get(b.name.as_str()).copied()),
        program: None,
        timeouts: config.timeouts_for(listener, default, None),
        limits: config.limits_for(listener, default, None),
        retries: retries(&retried.unwrap_or_default()),
        upgrades: true,
        finishes_abandoned: false,
        logs: logs(config, named, listener, None)?,
        on_error: Vec::new(),
        body: body(config, named, (listener, default, None))?,
        cache: cache((config, caches), named, (listener, default, None))?,
    })
}

/// What a listener takes of requests although it is not as it should be.
fn tolerance(listener: &Listener) -> Tolerance {
    let has = |what| listener.tolerate.contains(&what);
    Tolerance {
        missing_host: has(Tolerated::MissingHost),
        bare_lf: has(Tolerated::BareLf),
        repeated_length: has(Tolerated::RepeatedLength),
        length_and_chunks: has(Tolerated::LengthAndChunks),
        wide_targets: has(Tolerated::WideTargets),
        any_bytes: has(Tolerated::AnyBytes),
        extra_spaces: has(Tolerated::ExtraSpaces),
    }
}

/// Where connections of a listener go that are passed through.
fn passthrough(
    config: &Config,
    named: &Definitions,
    listener: &Listener,
    index: &Map<&str, usize>,
) -> Result<Vec<PassPlan>, Vec<Diagnostic>> {
    let counting = listener.counting(named)?;
    let ways = listener.passthrough.iter().zip(listener.gates(named)?);
    type Way<'w> = (&'w Passthrough, (Gate, Option<Words>));
    let plan = |((way, (gate, reply)), counting): (Way<'_>, Option<clearway_rules::Program>)| {
        let asks = gate.needs_hello() || reply.as_ref().is_some_and(Words::needs_hello);
        let name = way.backend.as_ref().map(|name| name.as_str());
        let backend = match name {
            Some(name) => config.backend(name),
            None => config.default_backend(listener),
        };
        let by_request = backend.and_then(|backend| backend.by_request.as_ref());
        let words = by_request.and_then(|by_request| backend::words_of(by_request, named));
        let asks = asks || words.is_some_and(|words| words.needs_hello());
        PassPlan {
            counting,
            names: way.server_name.iter().map(ToString::to_string).collect(),
            alpn: way.alpn.iter().map(|p| p.as_bytes().to_vec()).collect(),
            gate,
            needs_hello: (way.needs_hello() || asks) && listener.tls.is_none(),
            backend: name.and_then(|name| index.get(name).copied()),
            rejects: way.reject,
            accepts: way.accept,
            payload: payload_need(&way.when),
            reply,
            timeouts: config.timeouts_for(listener, backend, None),
            retries: retries(
                &backend
                    .map(|b| config.retries_for(b, None))
                    .unwrap_or_default(),
            ),
        }
    };
    Ok(ways.zip(counting).map(plan).collect())
}

/// What a condition looks at of the first bytes of a connection.
fn payload_need(condition: &Condition) -> PayloadNeed {
    let mut need = PayloadNeed::default();
    for test in &condition.value {
        let of = test.of.as_str();
        let fetch = of.split('|').next().unwrap_or(of);
        match fetch.split_once(':') {
            Some(("payload", range)) => match clearway_rules::payload_range(range) {
                Some((_, 0)) | None => need.any = true,
                Some((offset, length)) => need.bytes = need.bytes.max(offset + length),
            },
            _ if fetch == "payload_length" => need.any = true,
            _ if fetch == "payload_http" => need.http = true,
            _ => {}
        }
    }
    let inner = [&condition.not, &condition.any, &condition.all];
    for more in inner.into_iter().flatten().map(payload_need) {
        need.any |= more.any;
        need.http |= more.http;
        need.bytes = need.bytes.max(more.bytes);
    }
    need
}

fn compile_route(
    (config, caches): (&Config, &[Arc<CacheEntry>]),
    named: &Definitions,
    listener: &Listener,
    (at, route): (usize, &Route),
    index: &Map<&str, usize>,
) -> Result<RoutePlan, Vec<Diagnostic>> {
    let backend: Option<&Backend> = match &route.backend {
        Some(name) => config.backend(name.as_str()),
        None if route.actions.answers() => None,
        None => config.default_backend(listener),
    };
    Ok(RoutePlan {
        name: Name::new(&config.route_name(at)),
        backend: backend.and_then(|b| index.get(b.name.as_str()).copied()),
        program: route.program(named)?,
        timeouts: config.timeouts_for(listener, backend, Some(route)),
        limits: config.limits_for(listener, backend, Some(route)),
        retries: retries(
            &backend
                .map(|b| config.retries_for(b, Some(route)))
                .unwrap_or_default(),
        ),
        upgrades: route.upgrades,
        finishes_abandoned: route.finish_abandoned,
        logs: logs(config, named, listener, Some(route))?,
        on_error: route.on_error.iter().map(error_turn).collect(),
        body: body(config, named, (listener, backend, Some(route)))?,
        cache: cache((config, caches), named, (listener, backend, Some(route)))?,
    })
}

/// What is kept of responses in a place.
fn cache(
    (config, caches): (&Config, &[Arc<CacheEntry>]),
    named: &Definitions,
    (listener, backend, route): (&Listener, Option<&Backend>, Option<&Route>),
) -> Result<Option<Arc<CachePlan>>, Vec<Diagnostic>> {
    let Some(caching) = config.caching_for(listener, backend, route) else {
        return Ok(None);
    };
    let mut known = config.caches.iter().zip(caches);
    let found = known.find(|(store, _)| store.name == caching.store);
    // One that is not there is told of by the checks.
    let Some((store, entry)) = found.filter(|_| backend.is_some()) else {
        return Ok(None);
    };
    match CachePlan::new(caching, (Arc::clone(entry), store), named) {
        Ok(plan) => Ok(Some(Arc::new(plan))),
        Err(words) => Err(vec![Diagnostic::error("cache", caching.origin(), words)]),
    }
}

/// What is done with bodies of responses in a place.
fn body(
    config: &Config,
    named: &Definitions,
    (listener, backend, route): (&Listener, Option<&Backend>, Option<&Route>),
) -> Result<Option<Arc<BodyPlan>>, Vec<Diagnostic>> {
    let compression = config.compression_for(listener, backend, route);
    let plan = BodyPlan::new(compression, route, named).map_err(|words| {
        let origin = match route {
            Some(route) => route.origins.field_or_section("replace_body"),
            None => listener.origin(),
        };
        vec![Diagnostic::error("replace-body", origin, words)]
    })?;
    Ok(plan.map(Arc::new))
}

fn error_turn(turn: &OnError) -> ErrorTurn {
    let to = turn.to.as_str();
    ErrorTurn {
        statuses: turn.status.clone(),
        to: match to.strip_prefix('@') {
            Some(_) => Elsewhere::Named(to.as_bytes().to_vec()),
            None => Elsewhere::Path(to.as_bytes().to_vec()),
        },
        send: turn.send,
        of_servers: turn.of_servers,
        as_get: turn.as_get,
        again: turn.again,
    }
}

/// Access logs of a listener's requests on a route.
fn logs(
    config: &Config,
    named: &Definitions,
    listener: &Listener,
    route: Option<&Route>,
) -> Result<LogSet, Vec<Diagnostic>> {
    LogSet::compile(&config.access_logs_for(listener, route), named).map_err(|words| {
        let of_route = route.and_then(|route| route.origin_of("access_log"));
        let origin = of_route.unwrap_or_else(|| listener.origins.field_or_section("access_log"));
        vec![Diagnostic::error("access-log", origin, words)]
    })
}

fn retries(retries: &Retries) -> RetryPlan {
    RetryPlan {
        max: retries.max,
        on: retries.on.clone(),
        methods: retries.methods,
        body_buffer: retries.body_buffer,
        other_server: retries.other_server,
        backups: retries.backups,
        same_server: retries.same_server,
        time: retries.time,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_health_check_that_http_does_not_allow_is_an_error_and_no_other_check() {
        for health in ["method = \"CONNECT\"", "path = \"/a#b\""] {
            let text = format!(
                "[listener.web]\nbind = \"127.0.0.1:80\"\n[backend.app]\n\
                 servers = [\"127.0.0.1:81\"]\nhealth = {{ kind = \"http\", {health} }}\n"
            );
            let loaded = clearway_config::parse("test", &text);
            let mut board = Board::new(1);
            let found = compile(&loaded.config, &Names::default(), &mut board, 1, None);
            let found = found.err().unwrap();
            assert_eq!(found.len(), 1, "{found:?}");
            assert_eq!((found[0].code, found[0].line), ("health", 5), "{found:?}");
        }
    }

    #[test]
    fn other_addresses_change_the_backends_that_have_them_and_nothing_else() {
        let text = "[listener.web]\nbind = \"127.0.0.1:80\"\nbackend = \"fixed\"\n\
                    [backend.fixed]\nservers = [\"127.0.0.1:81\"]\n\
                    [backend.named]\nservers = [\"app.test:81\"]\n";
        let loaded = clearway_config::parse("test", text);
        assert!(!loaded.has_errors(), "{:?}", loaded.diagnostics);
        let (config, mut board) = (loaded.config, Board::new(1));
        let mut names = Names::default();
        let before = compile(&config, &names, &mut board, 1, None).unwrap();
        assert!(rename(&config, &names, &mut board, 2, &before).is_none());
        let address = Address {
            socket: ([127, 0, 0, 1], 81).into(),
            weight: 1,
            priority: 0,
        };
        let answer = Answer {
            addresses: vec![address],
            trouble: None,
        };
        names.insert(Question::Host("app.test".to_owned(), 81), answer);
        let after = rename(&config, &names, &mut board, 2, &before).unwrap();
        assert!(Arc::ptr_eq(&after.listeners[0], &before.listeners[0]));
        assert!(Arc::ptr_eq(&after.backends[0], &before.backends[0]));
        assert_eq!(after.backends[1].servers.len(), 1);
        assert!(rename(&config, &names, &mut board, 3, &after).is_none());
    }
}
