//! `proxy_pass`: the backend, and what is changed on the way to it and back.

use clearway_rules::ast::{Convert, Fetch, Piece, Template};

use super::location::Work;
use super::text_of;
use super::upstream::{self, Target};
use super::values::{self, Names};
use crate::lower::build::{self, rule};
use crate::lower::notes::Notes;
use crate::model::{Actions, Condition, HeaderName, RegexText, Replacement, Route, TemplateText};
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
    // Variables may stand in the path, not in the name of the server.
    let end = text.find("://").map_or(0, |at| at + 3);
    let slash = text
        .get(end..)
        .and_then(|rest| rest.find('/'))
        .map_or(text.len(), |at| at + end);
    let (host, uri) = text.split_at_checked(slash).unwrap_or((text, ""));
    let has_variables = text.contains('$');
    let Some(host) = values::constant(host, names) else {
        return Err("a server whose name depends on the request is not known here".to_owned());
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
    route.origins.set("backend", directive.origin());
    if let Some(uri) = &target.uri {
        let to = replaced(uri, prefix, has_variables, names)?;
        if let Some(to) = to {
            let actions = Actions {
                set_target: Some(to),
                ..Actions::default()
            };
            route.rules.push(rule(
                Condition::default(),
                actions,
                "set_target",
                &directive.origin(),
            ));
        }
    }
    request_headers(scope, &target, names, route, work.notes);
    hidden(scope, route);
    redirects(scope, &target, prefix, route);
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

/// `proxy_set_header`, with what is sent where it says nothing.
fn request_headers(
    scope: &Scope<'_>,
    target: &Target,
    names: &Names,
    route: &mut Route,
    notes: &mut Notes,
) {
    let mut actions = Actions::default();
    let mut host = target.host.clone();
    if host.starts_with("unix:") {
        host = "localhost".to_owned();
    }
    let host = host
        .strip_suffix(if target.is_tls { ":443" } else { ":80" })
        .map(str::to_owned)
        .unwrap_or(host);
    actions.set_host = TemplateText::parse(&host).ok();
    for directive in scope.all("proxy_set_header") {
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
        // `$proxy_host` is what is sent anyway.
        let text = text.replace("$proxy_host", &host);
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

fn hidden(scope: &Scope<'_>, route: &mut Route) {
    let passed = scope.all("proxy_pass_header");
    let is_passed = |name: &str| {
        let mut words = passed.iter().filter_map(|directive| directive.argument(0));
        words.any(|word| word.eq_ignore_ascii_case(name))
    };
    let names = HIDDEN.iter().filter(|name| !is_passed(name));
    let actions = Actions {
        remove_response_headers: names
            .filter_map(|name| HeaderName::parse(name).ok())
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

/// `proxy_redirect`: `Location` of servers leads back here.
fn redirects(scope: &Scope<'_>, target: &Target, prefix: Option<&str>, route: &mut Route) {
    let mut pairs: Vec<(String, String)> = Vec::new();
    let written = scope.all("proxy_redirect");
    let default = || {
        let uri = target.uri.as_ref()?;
        let scheme = if target.is_tls { "https" } else { "http" };
        Some((
            format!("{scheme}://{}{uri}", target.host),
            prefix?.to_owned(),
        ))
    };
    for directive in &written {
        match directive.texts().collect::<Vec<_>>().as_slice() {
            ["default"] => pairs.extend(default()),
            [from, to] if !from.starts_with('~') && !from.contains('$') && !to.contains('$') => {
                pairs.push(((*from).to_owned(), (*to).to_owned()));
            }
            _ => {}
        }
    }
    if written.is_empty() {
        pairs.extend(default());
    }
    let escape = build::regex_escape;
    let mut actions = Actions::default();
    for (from, to) in pairs {
        let regex = RegexText::parse(&format!("^{}(.*)$", escape(&from)));
        // A path alone is told with this host before it.
        let here = if to.starts_with('/') {
            "${scheme}://${host}${port_suffix}"
        } else {
            ""
        };
        let to = TemplateText::parse(&format!("{here}{}$1", to.replace('$', "$$")));
        if let (Ok(regex), Ok(to), Ok(header)) = (regex, to, HeaderName::parse("location")) {
            actions.replace_response_headers.push(Replacement {
                header,
                regex,
                to,
                ..Replacement::default()
            });
        }
    }
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
