//! The process: admin API, logs, pages, time-outs of the whole.

use super::{Findings, zero_time_out};
use crate::diagnostic::Diagnostic;
use crate::model::{Config, ErrorPages, RuntimeLevel};

pub(super) fn check(config: &Config, found: &mut Findings) {
    admin(config, found);
    runtime_sockets(config, found);
    for (key, value) in config.timeouts.all() {
        zero_time_out(key, value, &config.timeouts.origins, found);
    }
    pages(&config.errors, found);
    let resolver = &config.resolver;
    if resolver.min_ttl > resolver.max_ttl {
        let origin = resolver.origins.field_or_section("min_ttl");
        found.error(
            "range",
            origin,
            "resolver.min_ttl is longer than resolver.max_ttl",
        );
    }
    let limits = &config.limits;
    if limits.request_line > limits.header_bytes {
        let origin = limits.origins.field_or_section("request_line");
        let message =
            "limits.request_line is larger than limits.header_bytes, of which it is a part";
        found.error("range", origin, message);
    }
}

/// Whoever reaches the admin API may do everything.
pub(super) fn admin(config: &Config, found: &mut Findings) {
    let Some(bind) = config.admin.listen.on() else {
        return;
    };
    if bind.is_local() {
        return;
    }
    let origin = config.admin.origins.field_or_section("listen");
    let message = format!(
        "the admin API would be open to other hosts on {bind}, and it asks nobody who they are"
    );
    found.push(
        Diagnostic::error(super::ADMIN_EXPOSED, origin, message)
            .expected("a loopback address, \"unix:/path\" or \"off\"")
            .hint("reach it from elsewhere through a tunnel or a proxy that authenticates"),
    );
}

/// Whoever reaches a socket for runtime commands may do what its level allows.
fn runtime_sockets(config: &Config, found: &mut Findings) {
    for socket in &config.admin.haproxy_sockets {
        if socket.bind.is_local() || socket.level == RuntimeLevel::User {
            continue;
        }
        let message = format!(
            "the socket for runtime commands would be open to other hosts on {}, and it asks nobody who they are",
            socket.bind
        );
        let warning = Diagnostic::warning(
            super::ADMIN_EXPOSED,
            socket.origins.field_or_section("bind"),
            message,
        );
        found.push(warning.hint("a loopback address or \"unix:/path\", or level = \"user\""));
    }
}

/// Pages of a listener or of the process.
pub(super) fn pages(pages: &ErrorPages, found: &mut Findings) {
    for (_, page) in pages {
        if let (Some(_), Some(origin)) = (&page.body, page.origin_of("file")) {
            found.error(
                "contradiction",
                origin,
                "an error page has either a body or a file",
            );
        }
        let is_empty = page.body.is_none() && page.file.is_none() && page.template.is_none();
        if is_empty && page.status.is_none() && page.headers.0.is_empty() && !page.drop {
            let diagnostic =
                Diagnostic::error("missing-key", page.origin(), "this error page says nothing");
            found.push(diagnostic.expected("a body, a file or a status"));
        }
        let Some(path) = page.path() else { continue };
        let readable = std::fs::File::open(&path).and_then(|file| file.metadata());
        let trouble = match readable {
            Ok(data) if data.is_file() => continue,
            Ok(_) => "it is not a file".to_owned(),
            Err(error) => error.to_string(),
        };
        let origin = page.origins.field_or_section("file");
        found.error(
            "file",
            origin,
            format!("cannot read {}: {trouble}", path.display()),
        );
    }
}
