//! Stubs for files of NGINX, and what a part of a configuration is put into.

use std::collections::BTreeSet;

use super::scratch::{Scratch, Stub};
use super::{Stubbed, environment};

mod dump;
mod names;
mod words;

use words::Directive;

/// Blocks that a whole configuration has.
const WHOLE: &[&str] = &["http", "stream", "mail", "events"];
/// What stands in the block `http` alone.
const OF_HTTP: &[&str] = &[
    "server",
    "upstream",
    "map",
    "geo",
    "split_clients",
    "log_format",
];
/// What stands in a server.
const OF_SERVERS: &[&str] = &["location", "listen", "server_name", "ssl_certificate"];
/// What answers a request.
const ANSWERS: &[&str] = &[
    "proxy_pass",
    "fastcgi_pass",
    "uwsgi_pass",
    "scgi_pass",
    "grpc_pass",
    "return",
    "try_files",
    "root",
    "alias",
];
/// What stands in a location, and elsewhere too.
const OF_LOCATIONS: &[&str] = &[
    "proxy_pass",
    "fastcgi_pass",
    "uwsgi_pass",
    "proxy_set_header",
    "fastcgi_param",
    "uwsgi_param",
    "add_header",
    "try_files",
];
/// Blocks with entries instead of directives.
const TABLES: &[&str] = &["map", "geo", "types", "split_clients", "charset_map"];

/// Writes a file with its stubs, and what it is a part of.
///
/// # Errors
/// When something cannot be written.
pub(super) fn stub(text: &str, scratch: &Scratch<'_>) -> Result<Stubbed, String> {
    let text = dump::assembled(&environment::fill(text, |_| false));
    let directives = words::directives(&text);
    let around = around(&directives, scratch)?;
    let is_whole = directives
        .iter()
        .any(|one| one.is_within(&[]) && WHOLE.contains(&one.name()));
    let mut out = text;
    let mut lines = Vec::new();
    let mut owed = is_whole.then_some(around.as_str());
    // From the end, so that the places of words before stay what they are; but what is owed comes first.
    let first = directives
        .iter()
        .position(|one| one.name() == "include" && one.is_within(&["http"]));
    for (index, directive) in directives.iter().enumerate().rev() {
        let is_entry = directive
            .within
            .iter()
            .any(|block| TABLES.contains(&block.as_str()));
        if !is_entry {
            lines.push((directive.line(), directive.name().to_owned()));
        }
        let owes = if first == Some(index) {
            owed.take()
        } else {
            None
        };
        if let Some((at, path)) = file(directive, owes, scratch)? {
            out.replace_range(at, &format!("\"{path}\""));
        }
    }
    let file = scratch.write("nginx.conf", &out)?;
    let main = if is_whole {
        file.clone()
    } else {
        let name = file.display().to_string();
        scratch.write("main.conf", &wrapped(&name, &directives, &around))?
    };
    Ok(Stubbed { main, file, lines })
}

/// A configuration that has the file as a part.
fn wrapped(name: &str, directives: &[Directive], around: &str) -> String {
    let top: Vec<&str> = directives
        .iter()
        .filter(|one| one.is_within(&[]))
        .map(Directive::name)
        .collect();
    let has = |names: &[&str]| top.iter().any(|name| names.contains(name));
    let listens = "listen 127.0.0.1:8080;\n";
    let include = format!("include \"{name}\";\n");
    let server = if has(OF_HTTP) || !(has(OF_SERVERS) || has(OF_LOCATIONS) || has(ANSWERS)) {
        let upstream = directives
            .iter()
            .find(|one| one.is_within(&[]) && one.name() == "upstream");
        let own = match upstream.and_then(|one| one.argument(0)) {
            _ if has(&["server"]) => String::new(),
            Some(name) => {
                format!("server {{ {listens} location / {{ proxy_pass http://{name}; }} }}\n")
            }
            None => format!("server {{ {listens} location / {{ return 204; }} }}\n"),
        };
        format!("{include}{own}")
    } else if has(OF_SERVERS) {
        let own = if has(&["listen"]) { "" } else { listens };
        format!("server {{\n{own}{include}}}\n")
    } else {
        let own = if has(ANSWERS) {
            ""
        } else {
            "proxy_pass http://127.0.0.1:8081;\n"
        };
        format!("server {{\n{listens}location / {{\n{include}{own}}}\n}}\n")
    };
    format!("events {{}}\nhttp {{\n{around}{server}}}\n")
}

/// What the block `http` around a part has to bring: what the part names and does not have.
fn around(directives: &[Directive], scratch: &Scratch<'_>) -> Result<String, String> {
    let mut out = String::new();
    let named = |name: &'static str| directives.iter().filter(move |one| one.name() == name);
    let zone = |one: &Directive, key: &str| {
        let mut found = one.arguments().filter_map(|word| word.strip_prefix(key));
        found
            .next()
            .map(|zone| zone.split(':').next().unwrap_or(zone).to_owned())
    };
    let mut zones: BTreeSet<String> = named("limit_req")
        .filter_map(|one| zone(one, "zone="))
        .collect();
    zones.retain(|name| {
        !named("limit_req_zone").any(|one| zone(one, "zone=").as_ref() == Some(name))
    });
    for zone in zones {
        out.push_str(&format!(
            "limit_req_zone $binary_remote_addr zone={zone}:1m rate=1000r/s;\n"
        ));
    }
    let first = |one: &Directive| one.argument(0).map(str::to_owned);
    let mut zones: BTreeSet<String> = named("limit_conn").filter_map(first).collect();
    zones.retain(|name| {
        !named("limit_conn_zone").any(|one| zone(one, "zone=").as_ref() == Some(name))
    });
    for zone in zones {
        out.push_str(&format!(
            "limit_conn_zone $binary_remote_addr zone={zone}:1m;\n"
        ));
    }
    for kind in ["proxy", "fastcgi", "uwsgi"] {
        let cache = format!("{kind}_cache");
        let path = format!("{kind}_cache_path");
        let mut caches: BTreeSet<String> = directives
            .iter()
            .filter(|one| one.name() == cache && one.argument(0) != Some("off"))
            .filter_map(first)
            .collect();
        let mut own = directives.iter().filter(|one| one.name() == path);
        caches.retain(|name| !own.any(|one| zone(one, "keys_zone=").as_ref() == Some(name)));
        for name in caches.iter().filter(|name| !name.contains('$')) {
            let folder = scratch.path(&format!("/cache/{name}"));
            out.push_str(&format!(
                "{path} {} keys_zone={name}:1m;\n",
                folder.display()
            ));
        }
    }
    let mut formats: BTreeSet<String> = named("access_log")
        .filter_map(|one| one.argument(1).map(str::to_owned))
        .collect();
    formats.retain(|name| {
        let is_own = named("log_format").any(|one| one.argument(0) == Some(name));
        !is_own && !name.contains('=') && !["combined", "off"].contains(&name.as_str())
    });
    for format in formats {
        out.push_str(&format!("log_format {format} '$remote_addr';\n"));
    }
    for variable in names::missing(directives) {
        out.push_str(&format!("map $host ${variable} {{ default \"\"; }}\n"));
    }
    let is_tls = |one: &Directive| one.arguments().any(|word| word == "ssl");
    if named("listen").any(is_tls) && named("ssl_certificate").next().is_none() {
        let pair = scratch.put("/stub.pem", Stub::Pair)?;
        out.push_str(&format!(
            "ssl_certificate {pair};\nssl_certificate_key {pair};\n"
        ));
    }
    Ok(out)
}

/// A file of a directive: where its path stands, and the path of its stub.
fn file(
    directive: &Directive,
    owed: Option<&str>,
    scratch: &Scratch<'_>,
) -> Result<Option<(std::ops::Range<usize>, String)>, String> {
    let Some((named, at)) = directive.word(1) else {
        return Ok(None);
    };
    if named.contains('$') || named.starts_with("data:") || named.starts_with("engine:") {
        return Ok(None);
    }
    let stub = match directive.name() {
        "include" if named.contains(['*', '?', '[']) => {
            let path = scratch.path(named);
            if let (Some(owed), Some(folder)) = (owed, path.parent()) {
                std::fs::create_dir_all(folder).map_err(super::told(folder))?;
                let name = path
                    .file_name()
                    .map(|name| name.to_string_lossy().replace(['*', '?'], "stub"));
                let path = folder.join(name.unwrap_or_default());
                std::fs::write(&path, owed).map_err(super::told(&path))?;
            }
            return Ok(Some((at, path.display().to_string())));
        }
        "include" if named.ends_with("mime.types") => {
            let types =
                "types {\n text/html html htm;\n text/css css;\n application/json json;\n}\n";
            let types = format!("{types}{}", owed.unwrap_or_default());
            return Ok(Some((at, scratch.put(named, Stub::Text(&types))?)));
        }
        "include" => Stub::Text(owed.unwrap_or_default()),
        "ssl_certificate" | "proxy_ssl_certificate" | "grpc_ssl_certificate" => Stub::Certificate,
        name if name.ends_with("ssl_certificate_key") => Stub::Key,
        name if name.ends_with("ssl_trusted_certificate") || name == "ssl_client_certificate" => {
            Stub::Certificate
        }
        name if name.ends_with("ssl_crl") => Stub::Revoked,
        name if name.ends_with("ssl_password_file") => Stub::Text("stub\n"),
        "ssl_dhparam" => Stub::Parameters,
        "ssl_session_ticket_key" => Stub::Bytes,
        "auth_basic_user_file" => Stub::Text("stub:{PLAIN}stub\n"),
        _ => return Ok(None),
    };
    Ok(Some((at, scratch.put(named, stub)?)))
}
