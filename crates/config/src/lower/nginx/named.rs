//! `proxy_pass` to what depends on the request: a backend whose server each request names.

use std::net::SocketAddr;
use std::time::Duration;

use clearway_balance::Algorithm;

use super::gateway::Params;
use super::location::Work;
use super::upstream::{self, Target, Words};
use super::values::{self, Names};
use crate::diagnostic::Origins;
use crate::model::{
    Backend, ByRequest, HostPattern, Identifier, OrOff, Pairs, ServerProtocol, Token,
};
use crate::survey::nginx::scope::Scope;
use crate::survey::units;
use crate::syntax::nginx::Directive;
use crate::value::Text;

/// The backend for a text with variables in the place of its server.
pub(super) fn backend(
    directive: &Directive,
    text: &str,
    words: &'static Words,
    names: &Names,
    (scope, params): (&Scope<'_>, Option<&Params>),
    work: &mut Work<'_>,
) -> Result<Identifier, String> {
    let set_host = !words.protocol.is_cgi() && sees_host(scope, words);
    let is_tls = words.protocol == ServerProtocol::Http1 && !text.starts_with("http://");
    let mut leads = Vec::new();
    let groups: Vec<String> = work
        .http
        .upstreams
        .iter()
        .filter_map(|block| block.argument(0).map(str::to_owned))
        .collect();
    for group in groups {
        let Ok(name) = Token::parse(&group) else {
            continue;
        };
        let target = Target {
            is_tls: text.starts_with("https://"),
            host: group,
            uri: None,
            words,
        };
        let backend = upstream::backend_with(&target, scope, params, work)?;
        leads.push((name, backend));
    }
    let by_request = ByRequest {
        set_host,
        ..anywhere(directive, text, names, (scope, leads))?
    };
    let target = Target {
        is_tls,
        host: String::new(),
        uri: None,
        words,
    };
    let mut backend = Backend {
        by_request: Some(by_request),
        balance: Algorithm::RoundRobin,
        ejection: OrOff::Off,
        keepalive: upstream::unkept(words),
        origins: Origins::new(directive.origin()),
        ..Backend::default()
    };
    upstream::settle(&mut backend, scope, &target);
    upstream::add_params(&mut backend, params);
    upstream::put(backend, "by-request", work.config)
}

/// What a text with variables comes to, wherever that is.
pub(super) fn anywhere(
    directive: &Directive,
    text: &str,
    names: &Names,
    (scope, leads): (&Scope<'_>, Vec<(Token, Identifier)>),
) -> Result<ByRequest, String> {
    let mut by_request = ByRequest {
        to: values::template(text, names)?,
        backends: Pairs(leads),
        names: HostPattern::parse("*").into_iter().collect(),
        networks: ["0.0.0.0/0", "::/0"]
            .iter()
            .filter_map(|net| net.parse().ok())
            .collect(),
        unix_sockets: true,
        origins: Origins::new(directive.origin()),
        ..ByRequest::default()
    };
    resolver(scope, &mut by_request);
    Ok(by_request)
}

/// Whether servers see what the text comes to as their host: where nothing else is said.
fn sees_host(scope: &Scope<'_>, words: &Words) -> bool {
    let written = scope.all(words.set_header);
    let host = written.iter().find(|found| {
        let name = found.argument(0).unwrap_or_default();
        name.eq_ignore_ascii_case("host")
    });
    let host = host.and_then(|found| found.argument(1));
    host.is_none_or(|text| text == "$proxy_host" || text.is_empty())
}

/// `resolver` and `resolver_timeout`; without the first only addresses and groups are known.
fn resolver(scope: &Scope<'_>, by_request: &mut ByRequest) {
    by_request.resolve_timeout = scope
        .time("resolver_timeout", Duration::from_secs(30))
        .value;
    let Some(directive) = scope.find("resolver") else {
        by_request.resolve = false;
        return;
    };
    for word in directive.texts() {
        match word.split_once('=') {
            Some(("valid", time)) => by_request.valid = units::nginx_time(time),
            Some(("ipv6", "off")) => by_request.ipv6 = false,
            Some(_) => {}
            // One that is written as a name is asked for by the system's own resolvers.
            None => by_request.resolvers.extend(server(word)),
        }
    }
}

fn server(text: &str) -> Option<SocketAddr> {
    let (host, port) = units::host_and_port(text);
    let port = if port == 0 { 53 } else { port };
    Some(SocketAddr::new(host.parse().ok()?, port))
}
