//! `proxy_pass`: the backend, and what is changed on the way to it and back.

use clearway_rules::ast::{Convert, Fetch, Piece, Template};

use super::location::Work;
use super::text_of;
use super::upstream::{self, PROXY, Target, Words};
use super::values::{self, Names};
use crate::lower::build::{self, rule};
use crate::lower::notes::Notes;
use crate::model::{
    Actions, Condition, HeaderName, RegexText, Route, ServerProtocol, TemplateText,
};
use crate::survey::nginx::scope::Scope;
use crate::syntax::nginx::Directive;
use crate::value::Text;

/// Passes what a location takes to a server.
///
/// # Errors
/// A sentence about what is not known here.
pub(super) fn pass(
    directive: &Directive,
    scope: &Scope<'_>,
    prefix: Option<&str>,
    names: &Names,
    route: &mut Route,
    work: &mut Work<'_>,
) -> Result<(), String> {
    let text = directive.argument(0).unwrap_or_default();
    if let Some(bind) = scope.find("proxy_bind") {
        work.notes.begin(bind.origin(), text_of(bind));
        let is_address = |text: &str| text == "off" || text.parse::<std::net::IpAddr>().is_ok();
        if !bind.argument(0).is_some_and(is_address) || bind.argument(1).is_some() {
            work.notes
                .ineffective("the address to connect from is always the same here");
        }
        work.notes.begin(directive.origin(), text_of(directive));
    }
    // Variables may stand in the path, not in the name of the server.
    let end = text.find("://").map_or(0, |at| at + 3);
    let slash = text
        .get(end..)
        .and_then(|rest| rest.find('/'))
        .map_or(text.len(), |at| at + end);
    let (host, uri) = text.split_at_checked(slash).unwrap_or((text, ""));
    let has_variables = text.contains('$');
    route.origins.set("backend", directive.origin());
    let Some(host) = values::constant(host, names) else {
        let name = super::named::backend(directive, text, &PROXY, names, (scope, None), work)?;
        route.backend = Some(name);
        upstream::ask(&PROXY, scope, work.config, route);
        request_headers(scope, None, &PROXY, names, route, work.notes);
        hidden(scope, &PROXY, route);
        redirects(scope, None, names, route, work.notes);
        let place = (&mut *route, &*work.config);
        let server = host.split_once("://").map_or(host, |(_, server)| server);
        super::caches::read(scope, (&PROXY.caches, server), names, place, work.notes);
        return Ok(());
    };
    let target = upstream::target(&format!("{host}{uri}"))
        .ok_or_else(|| "only http:// and https:// are known here".to_owned())?;
    let name = upstream::backend(
        &target,
        &work.http.upstreams,
        scope,
        work.config,
        work.notes,
    )?;
    route.backend = Some(name);
    upstream::ask(&PROXY, scope, work.config, route);
    if let Some(uri) = &target.uri {
        let to = replaced(uri, prefix, has_variables, names)?;
        if let Some(to) = to {
            let actions = Actions {
                set_target: Some(to),
                ..Actions::default()
            };
            // A path that was rewritten on the way here is passed on as it is.
            let is_rewritten = super::rewrite::is_rewritten();
            let when = match has_variables {
                true => Condition::default(),
                false => build::not(is_rewritten),
            };
            route
                .rules
                .push(rule(when, actions, "set_target", &directive.origin()));
        }
    }
    request_headers(scope, Some(&target), &PROXY, names, route, work.notes);
    hidden(scope, &PROXY, route);
    let scheme = if target.is_tls { "https" } else { "http" };
    let default = match &target.uri {
        Some(uri) => prefix.map(|prefix| {
            let from = format!("{scheme}://{}{uri}", target.host);
            (from, prefix.to_owned())
        }),
        None => Some((format!("{scheme}://{}/", target.host), "/".to_owned())),
    };
    let default = default.filter(|_| !has_variables);
    redirects(scope, default.as_ref(), names, route, work.notes);
    let place = (&mut *route, &*work.config);
    let of = (&PROXY.caches, target.host.as_str());
    super::caches::read(scope, of, names, place, work.notes);
    Ok(())
}

/// The target that servers see where `proxy_pass` has a path; `None` where nothing changes.
fn replaced(
    uri: &str,
    prefix: Option<&str>,
    has_variables: bool,
    names: &Names,
) -> Result<Option<TemplateText>, String> {
    if has_variables {
        // With variables it is the whole of it.
        return values::template(uri, names).map(Some);
    }
    let Some(prefix) = prefix else {
        return Err("proxy_pass cannot have a path where the location is a pattern".to_owned());
    };
    if uri == prefix {
        return Ok(None);
    }
    let rest = Fetch::Path.through(vec![Convert::with("bytes", &[&prefix.len().to_string()])]);
    let pieces = [
        Piece::Text(uri.to_owned()),
        Piece::Fetch(rest),
        Piece::Fetch(Fetch::QuerySign),
        Piece::Fetch(Fetch::Query),
    ];
    values::to_text(&Template::new(pieces)).map(Some)
}

/// Headers that are passed on, by their names.
pub(super) fn names_of_headers(scope: &Scope<'_>, words: &Words, route: &mut Route) {
    let pattern = if !scope.flag(words.pass_headers, true).value {
        // What frames the message is no matter of this.
        "."
    } else if !scope.flag("ignore_invalid_headers", true).value {
        // All names that HTTP allows are passed on.
        return;
    } else if scope.flag("underscores_in_headers", false).value {
        "[^A-Za-z0-9_-]"
    } else {
        "[^A-Za-z0-9-]"
    };
    let actions = Actions {
        remove_request_headers_like: RegexText::parse(pattern).into_iter().collect(),
        ..Actions::default()
    };
    let origin = route.origins.section().clone();
    let key = "remove_request_headers_like";
    route
        .rules
        .push(rule(Condition::default(), actions, key, &origin));
}

/// `proxy_set_header`, with what is sent where it says nothing.
pub(super) fn request_headers(
    scope: &Scope<'_>,
    target: Option<&Target>,
    words: &Words,
    names: &Names,
    route: &mut Route,
    notes: &mut Notes,
) {
    names_of_headers(scope, words, route);
    let mut actions = Actions::default();
    let host = target.map(proxy_host);
    actions.set_host = host
        .as_ref()
        .and_then(|host| TemplateText::parse(host).ok());
    for directive in scope.all(words.set_header) {
        notes.begin(directive.origin(), text_of(directive));
        let name = directive.argument(0).unwrap_or_default();
        let text = directive.argument(1).unwrap_or_default();
        let lower = name.to_ascii_lowercase();
        let transfer = [
            "connection",
            "upgrade",
            "te",
            "keep-alive",
            "content-length",
            "transfer-encoding",
            "proxy-connection",
            "trailer",
            "http2-settings",
        ];
        if transfer.contains(&lower.as_str()) {
            notes.equivalent("connections and upgrades are passed on by themselves");
            continue;
        }
        if lower == "host" && (text.is_empty() || (text == "$proxy_host" && host.is_none())) {
            if text.is_empty() {
                notes.equivalent("a request of HTTP/1.1 has a host");
            }
            continue;
        }
        // `$proxy_host` is what is sent anyway.
        let text = match &host {
            Some(host) => text.replace("$proxy_host", host),
            None => text.to_owned(),
        };
        let value = match values::template(&text, names) {
            Ok(value) => value,
            Err(message) => {
                notes.refused(message);
                continue;
            }
        };
        if lower == "host" {
            // The host as it came, with its port, is what "$http_host" says.
            actions.set_host = if text == "$http_host" {
                None
            } else {
                Some(value)
            };
            continue;
        }
        match HeaderName::parse(name) {
            Ok(name) => actions.set_request_headers.0.push((name, value)),
            Err(problem) => notes.wrong(&directive.origin(), problem.message, ""),
        }
    }
    let origin = route.origins.section().clone();
    route.rules.push(rule(
        Condition::default(),
        actions,
        "set_request_headers",
        &origin,
    ));
}

/// Headers of servers that clients do not see unless `proxy_pass_header` says so.
const HIDDEN: [&str; 6] = [
    "Server",
    "X-Accel-Buffering",
    "X-Accel-Charset",
    "X-Accel-Expires",
    "X-Accel-Limit-Rate",
    "X-Accel-Redirect",
];

pub(super) fn hidden(scope: &Scope<'_>, words: &Words, route: &mut Route) {
    let passed = scope.all(words.pass_header);
    let is_passed = |name: &str| {
        let mut words = passed.iter().filter_map(|directive| directive.argument(0));
        words.any(|word| word.eq_ignore_ascii_case(name))
    };
    // What `proxy_hide_header` says is looked for elsewhere.
    let hides = if words.protocol == ServerProtocol::Http1 {
        Vec::new()
    } else {
        super::gateway::listed(scope, words.hide_header)
    };
    let names = HIDDEN.iter().filter(|name| !is_passed(name));
    let actions = Actions {
        remove_response_headers: names
            .filter_map(|name| HeaderName::parse(name).ok())
            .chain(hides)
            .collect(),
        ..Actions::default()
    };
    let origin = route.origins.section().clone();
    route.rules.push(rule(
        Condition::default(),
        actions,
        "remove_response_headers",
        &origin,
    ));
}

/// What leads back here: `Location`, `Refresh` and cookies of servers.
fn redirects(
    scope: &Scope<'_>,
    default: Option<&(String, String)>,
    names: &Names,
    route: &mut Route,
    notes: &mut Notes,
) {
    let actions = super::redirects::replacements(scope, default, names, notes);
    if !actions.replace_response_headers.is_empty() {
        let origin = route.origins.section().clone();
        route.rules.push(rule(
            Condition::default(),
            actions,
            "replace_response_headers",
            &origin,
        ));
    }
}

/// The host that servers see where nothing else is said.
fn proxy_host(target: &Target) -> String {
    if target.host.starts_with("unix:") {
        return "localhost".to_owned();
    }
    let usual = if target.is_tls { ":443" } else { ":80" };
    let host = target.host.strip_suffix(usual);
    host.unwrap_or(&target.host).to_owned()
}
