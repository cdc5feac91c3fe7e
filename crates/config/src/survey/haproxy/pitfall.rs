//! What in a HAProxy configuration will hurt.

use super::super::{BackendSurvey, FrontSurvey, Pitfall, Spoke, Survey, units};
use super::backend::{self, Member};
use super::{Line, Scope, check, front};
use crate::diagnostic::Origin;

/// Everything that is wrong, section by section.
pub(super) fn find(scopes: &[Scope<'_>], survey: &Survey) -> Vec<Pitfall> {
    let mut found = Vec::new();
    for scope in scopes {
        if scope.kind() != "backend" {
            found.extend(no_route(scope));
            found.extend(timeout_order(scope, survey));
        }
        if scope.kind() != "frontend" {
            found.extend(no_servers(scope, survey));
            for member in backend::members(scope) {
                found.extend(of_server(scope, &member));
            }
        }
    }
    found
}

fn pitfall(
    cause: &'static str,
    scope: &Scope<'_>,
    origin: &Origin,
    words: String,
    fix: &str,
) -> Pitfall {
    Pitfall {
        cause,
        backend: scope.name().to_owned(),
        words,
        fix: fix.to_owned(),
        origin: origin.clone(),
    }
}

/// A front that leads nowhere.
fn no_route(scope: &Scope<'_>) -> Option<Pitfall> {
    let leads = |line: &Line| line.word(0) == "use_backend" || front::answers(line);
    let has_servers = scope.kind() == "listen" && backend::is_one(scope);
    let has_stats = scope.all("stats").next().is_some();
    let is_sound = has_servers
        || has_stats
        || scope.find(&["default_backend"]).is_some()
        || scope.own().any(leads);
    if is_sound || scope.own_with("bind").next().is_none() {
        return None;
    }
    Some(Pitfall {
        backend: String::new(),
        ..pitfall(
            "no-route-match",
            scope,
            &scope.head()?.origin(),
            format!(
                "\"{}\" has neither a default_backend nor a use_backend: every request gets a 503.",
                scope.name()
            ),
            "Write \"default_backend NAME\" into it.",
        )
    })
}

/// A group without servers that a front leads to.
fn no_servers(scope: &Scope<'_>, survey: &Survey) -> Option<Pitfall> {
    let mut fronts = survey.fronts.iter();
    let is_used = fronts.any(|front| front.backends.iter().any(|name| name == scope.name()));
    let is_sound = scope.kind() != "backend" || !is_used || scope.own().any(front::answers);
    if is_sound || !backend::members(scope).is_empty() {
        return None;
    }
    Some(pitfall(
        "no-servers-configured",
        scope,
        &scope.head()?.origin(),
        format!(
            "The backend \"{}\" has no servers: every request gets a 503.",
            scope.name()
        ),
        "Write a \"server NAME ADDRESS:PORT check\" into it.",
    ))
}

/// With bytes passed on both sides are silent together, and the shorter time-out ends the connection.
fn timeout_order(scope: &Scope<'_>, survey: &Survey) -> Option<Pitfall> {
    if scope.is_http() {
        return None;
    }
    let client = scope.timeout("timeout client");
    let (limit, origin) = client.value.zip(client.origin)?;
    let of_section = |front: &&FrontSurvey| front.name == scope.name();
    let front = survey.fronts.iter().find(of_section)?;
    let is_longer = |backend: &&BackendSurvey| {
        let response = &backend.timeouts.response;
        let has_tunnel = backend.timeouts.tunnel.name == "timeout tunnel";
        front.backends.contains(&backend.name)
            && backend.speaks.value == Spoke::Tcp
            && !has_tunnel
            && response.value.is_some_and(|time| time > limit)
    };
    let backend = survey.backends.iter().find(is_longer)?;
    let longer = backend.timeouts.response.value?;
    Some(pitfall(
        "timeout-order-inverted",
        scope,
        &origin,
        format!(
            "While a server works in silence the client is silent too, so \"timeout client\" ({}) ends \
             connections before \"timeout server\" ({}) does.",
            units::words(limit),
            units::words(longer)
        ),
        "Make \"timeout client\" as long as \"timeout server\", or set \"timeout tunnel\".",
    ))
}

fn of_server(scope: &Scope<'_>, member: &Member<'_>) -> Vec<Pitfall> {
    if member.server.down {
        return Vec::new();
    }
    let found = [
        wrong_port(scope, member),
        no_server_name(scope, member),
        clear_check(scope, member),
        headerless_check(scope, member),
        other_port(scope, member),
    ];
    found.into_iter().flatten().collect()
}

fn wrong_port(scope: &Scope<'_>, member: &Member<'_>) -> Option<Pitfall> {
    let server = &member.server;
    let is_tls = member.parameters.has("ssl");
    match (is_tls, server.port) {
        (true, 80) => Some(pitfall(
            "tls-to-plaintext",
            scope,
            &member.origin,
            format!(
                "TLS is spoken with {}, and port 80 is usually plain HTTP.",
                server.address()
            ),
            "Remove \"ssl\" from the server, or write its port for HTTPS.",
        )),
        (false, 443) if scope.is_http() => Some(pitfall(
            "plaintext-to-tls",
            scope,
            &member.origin,
            format!(
                "Plain HTTP is spoken with {}, and port 443 is usually HTTPS.",
                server.address()
            ),
            "Write \"ssl verify required ca-file FILE\" behind the server, or its port for plain HTTP.",
        )),
        _ => None,
    }
}

fn no_server_name(scope: &Scope<'_>, member: &Member<'_>) -> Option<Pitfall> {
    let parameters = &member.parameters;
    let host = &member.server.host;
    // Inside a network a machine mostly has one certificate, which matters only if it is verified.
    let is_risky = if parameters.value("verify") == Some("required") {
        units::is_full_name(host)
    } else {
        units::is_public_name(host)
    };
    if !parameters.has("ssl") || parameters.has("sni") || !is_risky {
        return None;
    }
    Some(pitfall(
        "tls-sni-missing-or-wrong",
        scope,
        &member.origin,
        format!(
            "TLS is spoken with {host} without its name (SNI), before HAProxy 3.3: a server with several \
             certificates refuses that or shows another one."
        ),
        &format!("Write \"sni str({host})\" behind the server."),
    ))
}

/// A check in clear of a port where TLS is spoken.
fn clear_check(scope: &Scope<'_>, member: &Member<'_>) -> Option<Pitfall> {
    let parameters = &member.parameters;
    let option = check::option(scope);
    if !parameters.has("check") || check::tls(scope, parameters, option).value {
        return None;
    }
    let port = check_port(member);
    let is_http = option.is_some_and(|line| line.word(1) == "httpchk");
    let words = if parameters.has("ssl") && port == member.server.port {
        format!(
            "With \"port\" or \"addr\" the check of {} no longer speaks TLS, as the traffic does.",
            member.server.name
        )
    } else if is_http && !scope.is_http() && port == 443 {
        format!(
            "The check of {} asks in plain HTTP on port 443, where the traffic is TLS.",
            member.server.name
        )
    } else {
        return None;
    };
    let fix = "Write \"check-ssl verify none\" (or with a ca-file) behind the server.";
    Some(pitfall(
        "hc-wrong-port-or-protocol",
        scope,
        &member.origin,
        words,
        fix,
    ))
}

/// A check without the PROXY header that the port demands.
fn headerless_check(scope: &Scope<'_>, member: &Member<'_>) -> Option<Pitfall> {
    let parameters = &member.parameters;
    let is_sound = !parameters.has("check")
        || parameters.proxy_header().is_none()
        || check::proxy_header(parameters).value
        || check_port(member) != member.server.port;
    if is_sound {
        return None;
    }
    Some(pitfall(
        "hc-wrong-port-or-protocol",
        scope,
        &member.origin,
        format!(
            "With \"port\" or \"addr\" the check of {} no longer sends the PROXY header that the traffic has.",
            member.server.name
        ),
        "Write \"check-send-proxy\" behind the server.",
    ))
}

/// A check that only connects, to a port where no traffic goes. One that asks something there is meant
/// so: a page about the state of another service.
fn other_port(scope: &Scope<'_>, member: &Member<'_>) -> Option<Pitfall> {
    let port = check_port(member);
    let is_sound = !member.parameters.has("check")
        || member.parameters.has("addr")
        || check::option(scope).is_some()
        || member.server.port == 0
        || port == member.server.port;
    if is_sound {
        return None;
    }
    Some(pitfall(
        "hc-wrong-port-or-protocol",
        scope,
        &member.origin,
        format!(
            "The check of {} only connects to port {port}, while the traffic goes to port {}: it says \
             nothing about it.",
            member.server.name, member.server.port
        ),
        "Remove \"port\" from the server, or ask for a page there (\"option httpchk\").",
    ))
}

/// The port that is checked.
fn check_port(member: &Member<'_>) -> u16 {
    let own = member.parameters.value("port");
    own.and_then(|port| port.parse().ok())
        .unwrap_or(member.server.port)
}
