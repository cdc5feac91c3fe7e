//! `server` blocks: where clients come in.

use super::{BindSurvey, Directive, Family, FrontSurvey, MINUTE, Scope, Setting};
use crate::survey::units;

/// Reads a `server`, or the level of a file that is made to be included in one.
pub(super) fn read(
    directives: &[Directive],
    scope: &Scope<'_>,
    family: Family,
    server: Option<&Directive>,
) -> FrontSurvey {
    let hosts = hosts(directives);
    let mut binds: Vec<BindSurvey> = directives
        .iter()
        .filter(|found| found.is("listen"))
        .filter_map(|listen| bind(listen, scope))
        .collect();
    if binds.is_empty() && server.is_some() {
        binds.push(BindSurvey {
            address: "*:80".to_owned(),
            tls: false,
            proxy_header: false,
            origin: None,
        });
    }
    let named = hosts.iter().find(|host| !host.is_empty() && *host != "_");
    let name = named.or_else(|| binds.first().map(|bind| &bind.address));
    let is_http = family == Family::Http;
    FrontSurvey {
        name: name.cloned().unwrap_or_default(),
        origin: server.map(Directive::origin),
        hosts,
        backends: Vec::new(),
        has_default: !is_http || has_default(directives),
        client_timeout: Some(if is_http {
            scope.time("client_header_timeout", MINUTE)
        } else {
            scope.time("proxy_timeout", MINUTE * 10)
        }),
        body_limit: is_http.then(|| scope.size("client_max_body_size", 1 << 20)),
        header_limit: is_http.then(|| header_limit(scope)),
        maxconn: None,
        access_logs: access_logs(scope, is_http),
        error_logs: error_logs(scope),
        binds,
    }
}

fn hosts(directives: &[Directive]) -> Vec<String> {
    let names = directives.iter().filter(|found| found.is("server_name"));
    let names = names.flat_map(Directive::texts);
    names.map(str::to_owned).collect()
}

fn bind(listen: &Directive, scope: &Scope<'_>) -> Option<BindSurvey> {
    let address = listen.argument(0)?;
    let is_port = address.bytes().all(|b| b.is_ascii_digit());
    let is_bare = !is_port && !address.starts_with("unix:") && units::host_and_port(address).1 == 0;
    let address = if is_port {
        format!("*:{address}")
    } else if is_bare && !address.contains('$') {
        // An address alone is port 80 of it.
        format!("{}:80", address.trim_end_matches(':'))
    } else {
        address.to_owned()
    };
    let says = |word: &str| listen.texts().skip(1).any(|text| text == word);
    Some(BindSurvey {
        address,
        // `ssl on` is the old way to write it.
        tls: says("ssl") || says("quic") || scope.flag("ssl", false).value,
        proxy_header: says("proxy_protocol"),
        origin: Some(listen.origin()),
    })
}

/// Whether every path leads somewhere: `location /`, or an answer for all.
fn has_default(directives: &[Directive]) -> bool {
    directives.iter().any(|found| {
        let path = found.arguments.last().map(|word| word.text.as_str());
        let is_exact = found.argument(0) == Some("=");
        match found.name.text.as_str() {
            "location" => !is_exact && matches!(path, Some("/" | "~ /" | "^/" | ".*" | "^")),
            "return" | "root" | "rewrite" | "try_files" => true,
            _ => false,
        }
    })
}

/// All buffers together; one line must fit one of them.
fn header_limit(scope: &Scope<'_>) -> Setting<u64> {
    let name = "large_client_header_buffers";
    let written = scope.find(name).and_then(|found| {
        let count: u64 = found.argument(0)?.parse().ok()?;
        let size = units::size(found.argument(1)?)?;
        Some(Setting::written(
            name,
            count.checked_mul(size)?,
            found.origin(),
        ))
    });
    written.unwrap_or_else(|| Setting::by_default(name, 4 * 8_192))
}

/// Files with the text of their formats; `combined` is built in.
fn access_logs(scope: &Scope<'_>, is_http: bool) -> Vec<(String, String)> {
    let written = scope.all("access_log");
    if written.is_empty() && is_http {
        return vec![("logs/access.log".to_owned(), "combined".to_owned())];
    }
    let log = |found: &&Directive| {
        let path = found.argument(0).filter(|path| *path != "off")?;
        let name = found.argument(1).filter(|name| !name.contains('='));
        let name = name.unwrap_or("combined");
        Some((path.to_owned(), format_text(scope, name)))
    };
    written.iter().filter_map(log).collect()
}

fn format_text(scope: &Scope<'_>, name: &str) -> String {
    let mut formats = scope.everywhere("log_format");
    let Some(format) = formats.find(|format| format.argument(0) == Some(name)) else {
        return name.to_owned();
    };
    let texts = format.texts().skip(1);
    texts.filter(|text| !text.starts_with("escape=")).collect()
}

fn error_logs(scope: &Scope<'_>) -> Vec<String> {
    let written = scope.all("error_log");
    if written.is_empty() {
        return vec!["logs/error.log".to_owned()];
    }
    let paths = written.iter().filter_map(|found| found.argument(0));
    paths.map(str::to_owned).collect()
}
