//! Variables that a file uses and neither it nor NGINX's own modules have.

use std::collections::BTreeSet;

use super::words::Directive;

/// Beginnings of names that stand for many.
const FAMILIES: &[&str] = &[
    "arg_",
    "http_",
    "cookie_",
    "sent_http_",
    "sent_trailer_",
    "upstream_",
    "ssl_",
    "geoip_",
    "geoip2_",
    "proxy_",
    "tcpinfo_",
    "date_",
    "gzip_",
    "jwt_",
    "secure_link",
    "fastcgi_",
    "connection",
    "request",
    "memcached_",
    "session_",
    "spdy",
    "uid_",
    "realip_",
    "brotli_",
    "shib_",
    "slice_",
    "server_",
    "remote_",
    "document_",
    "content_",
    "realpath_",
    "nginx_",
    "pipe",
    "status",
    "body_bytes",
    "bytes_",
    "binary_",
    "limit_",
    "time_",
    "invalid_referer",
    "ancient_browser",
    "modern_browser",
    "msie",
];

/// Names of one variable each.
const NAMES: &[&str] = &[
    "args",
    "host",
    "hostname",
    "http2",
    "http3",
    "https",
    "is_args",
    "msec",
    "pid",
    "protocol",
    "query_string",
    "quic",
    "scheme",
    "uri",
    "upstream",
    "random",
    "redirect_uri",
];

/// Their names, without the dollar.
pub(super) fn missing(directives: &[Directive]) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    let mut own = BTreeSet::new();
    for directive in directives {
        let defines = match directive.name() {
            "set" | "auth_request_set" | "shib_request_set" => Some(0),
            name if name.contains("set_by_lua") || name == "js_set" || name == "perl_set" => {
                Some(0)
            }
            "map" | "split_clients" => Some(1),
            "geo" => Some(directive.arguments().count().saturating_sub(1)),
            _ => None,
        };
        if let Some(name) = defines.and_then(|index| directive.argument(index)) {
            own.insert(name.trim_start_matches('$').to_owned());
        }
        for word in directive.arguments() {
            captured(word, &mut own);
            variables(word, &mut used);
        }
        // The key of an entry of a table.
        captured(directive.name(), &mut own);
    }
    used.retain(|name| {
        let is_known = FAMILIES.iter().any(|family| name.starts_with(family));
        !is_known && !NAMES.contains(&name.as_str()) && !own.contains(name)
    });
    used
}

/// Names of groups of a regular expression.
fn captured(word: &str, into: &mut BTreeSet<String>) {
    for part in word.split("(?").skip(1) {
        let name = part.strip_prefix("P<").or_else(|| part.strip_prefix('<'));
        let name = name
            .and_then(|rest| rest.split_once('>'))
            .map(|(name, _)| name);
        into.extend(name.map(str::to_owned));
    }
}

/// Names of variables in a text.
fn variables(word: &str, into: &mut BTreeSet<String>) {
    for part in word.split('$').skip(1) {
        let part = part.strip_prefix('{').unwrap_or(part);
        let end = part
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(part.len());
        let name = part.get(..end).unwrap_or_default();
        if name.starts_with(|c: char| c.is_ascii_lowercase()) {
            into.insert(name.to_owned());
        }
    }
}
