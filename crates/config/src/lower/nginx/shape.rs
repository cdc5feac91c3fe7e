//! What NGINX itself refuses when it reads a file: directives where they must not stand, the wrong number
//! of arguments, values of the wrong kind, the same thing twice.

use std::collections::BTreeMap;

use super::super::notes::Notes;
use super::text_of;
use crate::survey::units;
use crate::syntax::nginx::{Directive, Tree};

/// Where a directive may stand, by letters: the file, `http`, `server`, `location`, `upstream`, an `if` in a
/// server, an `if` in a location, `limit_except`.
type Places = &'static str;

/// What the only argument is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Flag,
    Number,
    Size,
    Time,
    /// Anything; it may stand once.
    Once,
    /// Anything, however often.
    Any,
}

use Kind::{Any, Flag, Number, Once, Size, Time};

/// A directive: its name, where it stands, the least and greatest count of arguments, what they are.
type Shape = (&'static str, Places, usize, usize, Kind);

/// No bound.
const MANY: usize = usize::MAX;

const SHAPES: &[Shape] = &[
    ("http", "F", 0, 0, Once),
    ("events", "F", 0, 0, Once),
    ("user", "F", 1, 2, Once),
    ("worker_processes", "F", 1, 1, Once),
    ("worker_connections", "E", 1, 1, Number),
    ("worker_rlimit_nofile", "F", 1, 1, Number),
    ("pid", "F", 1, 1, Once),
    ("daemon", "F", 1, 1, Flag),
    ("server", "HU", 0, MANY, Any),
    ("location", "SL", 1, 2, Any),
    ("upstream", "H", 1, 1, Any),
    ("if", "SL", 1, MANY, Any),
    ("limit_except", "L", 1, MANY, Any),
    ("listen", "S", 1, MANY, Any),
    ("server_name", "S", 1, MANY, Any),
    ("map", "H", 2, 2, Any),
    ("geo", "H", 1, 2, Any),
    ("split_clients", "H", 2, 2, Any),
    ("log_format", "H", 2, MANY, Any),
    ("limit_req_zone", "H", 3, 4, Any),
    ("limit_conn_zone", "H", 2, 2, Any),
    ("limit_req", "HSL", 1, 3, Any),
    ("limit_conn", "HSL", 2, 2, Any),
    ("limit_req_status", "HSL", 1, 1, Number),
    ("limit_conn_status", "HSL", 1, 1, Number),
    ("limit_req_dry_run", "HSL", 1, 1, Flag),
    ("limit_conn_dry_run", "HSL", 1, 1, Flag),
    ("limit_rate", "HSLB", 1, 1, Once),
    ("limit_rate_after", "HSLB", 1, 1, Once),
    ("proxy_pass", "LBX", 1, 1, Once),
    ("proxy_set_header", "HSL", 2, 2, Any),
    ("proxy_hide_header", "HSL", 1, 1, Any),
    ("proxy_pass_header", "HSL", 1, 1, Any),
    ("proxy_redirect", "HSL", 1, 2, Any),
    ("proxy_connect_timeout", "HSL", 1, 1, Time),
    ("proxy_read_timeout", "HSL", 1, 1, Time),
    ("proxy_send_timeout", "HSL", 1, 1, Time),
    ("proxy_buffering", "HSL", 1, 1, Flag),
    ("proxy_request_buffering", "HSL", 1, 1, Flag),
    ("proxy_intercept_errors", "HSL", 1, 1, Flag),
    ("proxy_buffer_size", "HSL", 1, 1, Size),
    ("proxy_buffers", "HSL", 2, 2, Once),
    ("proxy_http_version", "HSL", 1, 1, Once),
    ("proxy_next_upstream_tries", "HSL", 1, 1, Number),
    ("proxy_ignore_client_abort", "HSL", 1, 1, Flag),
    ("proxy_pass_request_body", "HSL", 1, 1, Flag),
    ("proxy_pass_request_headers", "HSL", 1, 1, Flag),
    ("least_conn", "U", 0, 0, Any),
    ("ip_hash", "U", 0, 0, Any),
    ("hash", "U", 1, 2, Any),
    ("keepalive", "U", 1, 1, Once),
    ("client_max_body_size", "HSL", 1, 1, Size),
    ("client_body_buffer_size", "HSL", 1, 1, Size),
    ("client_body_timeout", "HSL", 1, 1, Time),
    ("client_header_timeout", "HS", 1, 1, Time),
    ("client_header_buffer_size", "HS", 1, 1, Size),
    ("large_client_header_buffers", "HS", 2, 2, Once),
    ("send_timeout", "HSL", 1, 1, Time),
    ("keepalive_timeout", "HSL", 1, 2, Once),
    ("root", "HSLB", 1, 1, Once),
    ("alias", "L", 1, 1, Once),
    ("index", "HSL", 1, MANY, Any),
    ("try_files", "SL", 2, MANY, Once),
    ("autoindex", "HSL", 1, 1, Flag),
    ("default_type", "HSL", 1, 1, Once),
    ("types", "HSL", 0, 0, Any),
    ("sendfile", "HSLB", 1, 1, Flag),
    ("tcp_nopush", "HSL", 1, 1, Flag),
    ("tcp_nodelay", "HSL", 1, 1, Flag),
    ("etag", "HSL", 1, 1, Flag),
    ("max_ranges", "HSL", 1, 1, Number),
    ("return", "SLJB", 1, 2, Any),
    ("rewrite", "SLJB", 2, 3, Any),
    ("set", "SLJB", 2, 2, Any),
    ("break", "SLJB", 0, 0, Any),
    ("allow", "HSLX", 1, 1, Any),
    ("deny", "HSLX", 1, 1, Any),
    ("satisfy", "HSL", 1, 1, Once),
    ("auth_basic", "HSLX", 1, 1, Once),
    ("auth_basic_user_file", "HSLX", 1, 1, Once),
    ("auth_request", "HSL", 1, 1, Once),
    ("auth_request_set", "HSL", 2, 2, Any),
    ("add_header", "HSLB", 2, 3, Any),
    ("add_trailer", "HSLB", 2, 3, Any),
    ("expires", "HSLB", 1, 2, Once),
    ("error_page", "HSLB", 2, MANY, Any),
    ("recursive_error_pages", "HSL", 1, 1, Flag),
    ("internal", "L", 0, 0, Any),
    ("mirror", "HSL", 1, 1, Any),
    ("stub_status", "SL", 0, 1, Any),
    ("empty_gif", "L", 0, 0, Any),
    ("access_log", "HSLBX", 1, MANY, Any),
    ("set_real_ip_from", "HSL", 1, 1, Any),
    ("real_ip_header", "HSL", 1, 1, Once),
    ("real_ip_recursive", "HSL", 1, 1, Flag),
    ("absolute_redirect", "HSL", 1, 1, Flag),
    ("server_name_in_redirect", "HSL", 1, 1, Flag),
    ("port_in_redirect", "HSL", 1, 1, Flag),
    ("merge_slashes", "HS", 1, 1, Flag),
    ("underscores_in_headers", "HS", 1, 1, Flag),
    ("ignore_invalid_headers", "HS", 1, 1, Flag),
    ("server_tokens", "HSL", 1, 1, Once),
    ("gzip", "HSLB", 1, 1, Flag),
    ("gzip_types", "HSL", 1, MANY, Any),
    ("gzip_vary", "HSL", 1, 1, Flag),
    ("gzip_comp_level", "HSL", 1, 1, Number),
    ("gzip_min_length", "HSL", 1, 1, Size),
    ("ssl_certificate", "HS", 1, 1, Any),
    ("ssl_certificate_key", "HS", 1, 1, Any),
    ("ssl_session_timeout", "HS", 1, 1, Time),
    ("ssl_prefer_server_ciphers", "HS", 1, 1, Flag),
    ("ssl_session_tickets", "HS", 1, 1, Flag),
];

/// Says what NGINX would refuse.
pub(super) fn check(tree: &Tree, notes: &mut Notes) {
    let has_http = tree.directives.iter().any(|found| found.is("http"));
    // A part of a file is taken for what stands within "http".
    let place = if has_http { 'F' } else { 'H' };
    level(&tree.directives, place, has_http, notes);
    if tree.lacks_files {
        missing(tree, notes);
    }
    let https = tree.directives.iter().filter(|found| found.is("http"));
    let mut blocks: Vec<&[Directive]> = https.map(Directive::inner).collect();
    if !has_http {
        blocks.push(&tree.directives);
    }
    for block in blocks {
        names(block, notes);
        for server in block.iter().filter(|found| found.is("server")) {
            locations(server.inner(), None, notes);
        }
    }
}

fn wrong(directive: &Directive, message: String, notes: &mut Notes) {
    notes.begin(directive.origin(), text_of(directive));
    notes.wrong(&directive.origin(), message, "");
}

/// What is included and cannot be read.
fn missing(tree: &Tree, notes: &mut Notes) {
    for found in &tree.diagnostics {
        let is_it = found.code == "include" && found.message.starts_with("cannot read ");
        let standard = ["mime.types", "_params", "fastcgi.conf"];
        if is_it && !standard.iter().any(|name| found.message.contains(name)) {
            let mut error = found.clone();
            error.severity = crate::diagnostic::Severity::Error;
            error.hint = None;
            notes.diagnostics.push(error);
        }
    }
}

fn level(block: &[Directive], place: char, is_whole: bool, notes: &mut Notes) {
    let mut seen: Vec<&str> = Vec::new();
    for directive in block {
        let name = directive.name.text.as_str();
        let shape = SHAPES.iter().find(|shape| shape.0 == name);
        if let Some((_, places, least, most, kind)) = shape {
            let is_part = !is_whole && place == 'H' && places.contains(['F', 'E']);
            if !places.contains(place) && !is_part {
                let message = format!("\"{name}\" directive is not allowed here");
                wrong(directive, message, notes);
                continue;
            }
            if let Some(message) = ending(directive, place) {
                wrong(directive, message, notes);
                continue;
            }
            let count = directive.arguments.len();
            if !(*least..=*most).contains(&count) {
                let message = format!("invalid number of arguments in \"{name}\" directive");
                wrong(directive, message, notes);
                continue;
            }
            if *kind != Any && seen.contains(&name) {
                wrong(
                    directive,
                    format!("\"{name}\" directive is duplicate"),
                    notes,
                );
                continue;
            }
            if let Some(problem) = value(directive, *kind) {
                wrong(directive, problem, notes);
            }
            seen.push(name);
        }
        let inner = match name {
            "http" => 'H',
            "events" => 'E',
            "server" if directive.block.is_some() => 'S',
            "location" => 'L',
            "upstream" => 'U',
            "if" if place == 'S' => 'J',
            "if" => 'B',
            "limit_except" => 'X',
            _ => continue,
        };
        level(directive.inner(), inner, is_whole, notes);
    }
}

/// Directives with a block of their own.
const BLOCKS: &[&str] = &[
    "http",
    "events",
    "stream",
    "server",
    "location",
    "upstream",
    "if",
    "limit_except",
    "types",
    "map",
    "geo",
    "split_clients",
];

/// A word without its semicolon takes the block behind it, and a block may be missing.
fn ending(directive: &Directive, place: char) -> Option<String> {
    let name = directive.name.text.as_str();
    // Servers of an upstream stand on one line.
    let is_block = BLOCKS.contains(&name) && !(name == "server" && place == 'U');
    match (is_block, directive.block.is_some()) {
        (false, true) => Some(format!("directive \"{name}\" is not terminated by \";\"")),
        (true, false) => Some(format!("directive \"{name}\" has no opening \"{{\"")),
        (true, true) | (false, false) => None,
    }
}

/// What is wrong with the only argument.
fn value(directive: &Directive, kind: Kind) -> Option<String> {
    let name = directive.name.text.as_str();
    let text = directive.argument(0)?;
    let is_fine = match kind {
        Flag if !matches!(text.to_ascii_lowercase().as_str(), "on" | "off") => {
            return Some(format!(
                "invalid value \"{text}\" in \"{name}\" directive, it must be \"on\" or \"off\""
            ));
        }
        Number if text.parse::<u64>().is_err() => return Some("invalid number".to_owned()),
        Size => units::size(text).is_some(),
        Time => units::nginx_time(text).is_some(),
        Flag | Number | Once | Any => true,
    };
    (!is_fine).then(|| format!("\"{name}\" directive invalid value"))
}

/// What has a name that is taken, and what names something that is not there.
fn names(block: &[Directive], notes: &mut Notes) {
    let mut upstreams: Vec<&str> = Vec::new();
    for upstream in block.iter().filter(|found| found.is("upstream")) {
        let name = upstream.argument(0).unwrap_or_default();
        if upstreams.contains(&name) {
            wrong(upstream, format!("duplicate upstream \"{name}\""), notes);
        }
        upstreams.push(name);
        let servers = upstream.inner().iter().filter(|inner| inner.is("server"));
        let mut has_servers = false;
        let method = ["ip_hash", "hash", "random"];
        let method = upstream
            .inner()
            .iter()
            .find(|inner| method.iter().any(|name| inner.is(name)));
        for server in servers {
            has_servers = true;
            if method.is_some() && server.texts().any(|word| word == "backup") {
                let message = "balancing method does not support parameter \"backup\"";
                wrong(server, message.to_owned(), notes);
            }
        }
        if !has_servers {
            wrong(upstream, "no servers are inside upstream".to_owned(), notes);
        }
    }
    let word = |found: &Directive, begin: &str| {
        let mut words = found.texts();
        words.find_map(|text| text.strip_prefix(begin).map(str::to_owned))
    };
    let zone = |found: &Directive| word(found, "zone=");
    let zones = |name: &'static str| -> Vec<String> {
        let zones = block.iter().filter(move |found| found.is(name));
        let named = zones.filter_map(zone);
        named
            .map(|text| text.split(':').next().unwrap_or_default().to_owned())
            .collect()
    };
    let formats = block.iter().filter(|found| found.is("log_format"));
    let mut formats: Vec<&str> = formats.filter_map(|found| found.argument(0)).collect();
    formats.push("combined");
    let known = Known {
        requests: zones("limit_req_zone"),
        connections: zones("limit_conn_zone"),
        formats,
    };
    known.used(block, notes);
    defaults(block, notes);
}

/// What there is of names.
struct Known<'a> {
    requests: Vec<String>,
    connections: Vec<String>,
    formats: Vec<&'a str>,
}

impl Known<'_> {
    fn used(&self, block: &[Directive], notes: &mut Notes) {
        for directive in block {
            let zone = match directive.name.text.as_str() {
                "limit_req" => {
                    let mut words = directive.texts();
                    let zone = words.find_map(|word| word.strip_prefix("zone="));
                    zone.filter(|zone| !self.requests.iter().any(|known| known == zone))
                }
                "limit_conn" => {
                    let zone = directive.argument(0);
                    zone.filter(|zone| !self.connections.iter().any(|known| known == zone))
                }
                "access_log" => {
                    let format = directive.argument(1).filter(|word| !word.contains('='));
                    let format = format.filter(|name| !self.formats.contains(name));
                    if let Some(name) = format {
                        wrong(directive, format!("unknown log format \"{name}\""), notes);
                    }
                    None
                }
                "upstream" | "map" | "geo" | "types" | "split_clients" => continue,
                // These have names of their own.
                "stream" | "mail" => continue,
                _ => None,
            };
            if let Some(zone) = zone {
                let message = format!("zero size shared memory zone \"{zone}\"");
                wrong(directive, message, notes);
            }
            self.used(directive.inner(), notes);
        }
    }
}

/// Two servers that are both the default of one address.
fn defaults(block: &[Directive], notes: &mut Notes) {
    let mut taken: Vec<&str> = Vec::new();
    let listens = block
        .iter()
        .filter(|found| found.is("server"))
        .flat_map(|server| server.inner().iter().filter(|inner| inner.is("listen")));
    for listen in listens {
        let is_default = |word: &str| matches!(word, "default_server" | "default");
        if !listen.texts().skip(1).any(is_default) {
            continue;
        }
        let address = listen.argument(0).unwrap_or_default();
        if taken.contains(&address) {
            let message = format!("a duplicate default server for {address}");
            wrong(listen, message, notes);
        }
        taken.push(address);
    }
}

/// Locations twice, and within others that do not hold them.
fn locations(block: &[Directive], outer: Option<&str>, notes: &mut Notes) {
    let mut seen: BTreeMap<(String, &str), ()> = BTreeMap::new();
    for location in block.iter().filter(|found| found.is("location")) {
        let words: Vec<&str> = location.texts().collect();
        let (kind, path) = match words.as_slice() {
            [kind, path] => (*kind, *path),
            [path] => ("", *path),
            _ => continue,
        };
        let is_regex = kind.starts_with('~') || path.starts_with('~') || path.starts_with('@');
        if !is_regex {
            let group = if kind == "=" { "=" } else { "" };
            if seen.insert((path.to_owned(), group), ()).is_some() {
                wrong(location, format!("duplicate location \"{path}\""), notes);
            }
            if let Some(outer) = outer.filter(|outer| !path.starts_with(outer)) {
                let message = format!("location \"{path}\" is outside location \"{outer}\"");
                wrong(location, message, notes);
            }
        }
        let own = if is_regex { outer } else { Some(path) };
        locations(location.inner(), own, notes);
    }
}
