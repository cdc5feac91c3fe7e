//! Documentation from the tables: the reference page and the JSON Schema.

use clearway_balance::Algorithm;
use clearway_rules::ast::Fetch;
use clearway_telemetry::line::{self, Escape};
use serde_json::{Map, Value as Json, json};

use crate::diagnostic::Lines;
use crate::model::{
    AccessLog, Acme, AcmeChallenge, AcmeDns, AcmeIssuer, AcmeKey, Actions, Admin, AfterErrors,
    Agent, Ask, Backend, BackendTls, BasicAuth, BodyReplacement, ByRequest, CacheStore, CacheTime,
    Caching, CertificateFiles, CheckStep, ClientCertificates, ClientFrom, Compression,
    ConcurrencyLimit, ConcurrencyLimitUse, ConcurrencyLimiting, Condition, CookieSite, Ejection,
    ErrorPage, Files, Forwarding, HashFunction, Health, HealthKind, Incidents, Keepalive, Limits,
    Listener, ListenerTls, Log, LogFormat, LogLevel, Map as MapTable, MapEntry, Match, Mode,
    Observe, OnError, Passthrough, Process, ProxyProtocol, Queue, RateLimit, RateLimitUse,
    RateLimiting, Redirect, ReplaceBody, Replacement, Reply, Resolver, Retries, RetryMethods,
    Rewrite, Route, Rule, RuntimeSocket, SendProxy, Server, ServerLog, ServerProtocol, ServerState,
    StatusPage, Stick, StickyCookie, Syslog, SyslogFraming, Table, Tally, Timeouts, TlsProfile,
    Track, ValueTest, Webhook, XForwarded,
};
use crate::syntax::{Kind, Node};
use crate::value::{Row, Section, Spec, Value, section_schema};

/// A doc comment as one line.
pub(crate) fn one_line(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A value as it stands in a file, as JSON.
pub(crate) fn toml_to_json(text: &str) -> Option<Json> {
    let whole = format!("v = {text}");
    let (entries, errors) = crate::syntax::native::read(&whole, &Lines::new("", &whole));
    let entry = entries.first().filter(|_| errors.is_empty())?;
    Some(to_json(&entry.value))
}

fn to_json(node: &Node) -> Json {
    match &node.kind {
        Kind::Text(text) => Json::from(text.as_str()),
        Kind::Integer(number) => Json::from(*number),
        Kind::Float(number) => Json::from(*number),
        Kind::Bool(flag) => Json::from(*flag),
        Kind::Date | Kind::Broken => Json::Null,
        Kind::List(items) => Json::Array(items.iter().map(to_json).collect()),
        Kind::Table(entries) => {
            let fields = entries
                .iter()
                .map(|entry| (entry.key.clone(), to_json(&entry.value)));
            Json::Object(fields.collect())
        }
    }
}

/// The JSON Schema (draft 2020-12) of the native language, for editors that complete and check TOML.
#[must_use]
pub fn json_schema() -> Json {
    let pages = <crate::model::ErrorPages as Value>::schema(&Spec::NONE);
    let named = |schema: Json| json!({ "type": "object", "additionalProperties": schema });
    let mut properties = Map::new();
    for (key, schema) in [
        ("process", section_schema::<Process>()),
        ("admin", section_schema::<Admin>()),
        ("log", section_schema::<Log>()),
        ("incidents", section_schema::<Incidents>()),
        ("resolver", section_schema::<Resolver>()),
        ("acme", section_schema::<Acme>()),
        ("timeouts", section_schema::<Timeouts>()),
        ("limits", section_schema::<Limits>()),
        ("compression", section_schema::<Compression>()),
        ("errors", pages),
        ("map", named(section_schema::<MapTable>())),
        ("table", named(section_schema::<Table>())),
        ("rate_limit", named(section_schema::<RateLimit>())),
        (
            "concurrency_limit",
            named(section_schema::<ConcurrencyLimit>()),
        ),
        ("cache", named(section_schema::<CacheStore>())),
        ("listener", named(section_schema::<Listener>())),
        (
            "route",
            json!({ "type": "array", "items": section_schema::<Route>() }),
        ),
        ("backend", named(section_schema::<Backend>())),
    ] {
        properties.insert(key.to_owned(), schema);
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Clearway configuration",
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
        "$defs": { "condition": section_schema::<Condition>() },
    })
}

/// One chapter of the reference page.
struct Chapter {
    title: &'static str,
    /// Where the keys may stand.
    place: &'static str,
    doc: &'static str,
    /// Its keys, without those that have a chapter of their own.
    rows: fn() -> Vec<Row>,
}

const fn chapter<S: Section>(place: &'static str) -> Chapter {
    Chapter {
        title: S::TITLE,
        place,
        doc: S::DOC,
        rows: own_rows::<S>,
    }
}

/// The chapters, in the order of the page.
const CHAPTERS: [Chapter; 69] = [
    chapter::<Process>(""),
    chapter::<Admin>(""),
    chapter::<RuntimeSocket>(""),
    chapter::<Log>(""),
    chapter::<AccessLog>("`[[listener.NAME.access_log]]`, `access_log` of a route"),
    chapter::<Syslog>("`syslog` of `[log]` and of an access log"),
    chapter::<Incidents>(""),
    chapter::<Webhook>("`webhooks` of `[incidents]`"),
    chapter::<Resolver>(""),
    chapter::<Acme>(""),
    chapter::<AcmeIssuer>("`issuers` of `[acme]`"),
    chapter::<AcmeDns>("`dns` of `[acme]`"),
    chapter::<MapTable>(""),
    chapter::<MapEntry>("`entries` of a map"),
    chapter::<Table>(""),
    chapter::<Track>("`track` of a rule or route"),
    chapter::<Tally>("`tally` of a rule or route"),
    chapter::<Stick>("`stick` of a rule or route"),
    chapter::<CacheStore>(""),
    chapter::<Caching>("`cache` of a listener, backend or route"),
    chapter::<CacheTime>("`times` of `cache`"),
    chapter::<Listener>(""),
    chapter::<ListenerTls>("`tls` of a listener"),
    chapter::<ClientCertificates>("`client_certificates` of a listener's `tls`"),
    chapter::<CertificateFiles>(
        "`certificates` of a listener's `tls`, `certificate` of a backend's",
    ),
    chapter::<Passthrough>("`passthrough` of a listener"),
    chapter::<Forwarding>("`[listener.NAME.forwarded]`"),
    chapter::<Rule>(""),
    chapter::<Route>(""),
    chapter::<Match>("`[[route]]`, `when` of a rule"),
    chapter::<Condition>("`when` of a rule"),
    chapter::<ValueTest>("`value` of a condition"),
    chapter::<Actions>("`[[route]]`, `[[listener.NAME.rule]]`"),
    chapter::<Rewrite>("`rewrite` of a route or rule"),
    chapter::<Replacement>(
        "`replace_request_headers`, `replace_response_headers` of a route or rule",
    ),
    chapter::<Files>("`files` of a route or rule"),
    chapter::<OnError>("`on_error` of a route"),
    chapter::<Redirect>("`redirect` of a route or rule"),
    chapter::<Reply>("`reply` of a route or rule"),
    chapter::<BasicAuth>("`basic_auth` of a route or rule"),
    chapter::<RateLimit>(""),
    chapter::<ConcurrencyLimit>(""),
    chapter::<RateLimiting>("`rate_limit` of a route or rule"),
    chapter::<RateLimitUse>("`limits` of `rate_limit`"),
    chapter::<ConcurrencyLimiting>("`concurrency_limit` of a route or rule"),
    chapter::<ConcurrencyLimitUse>("`limits` of `concurrency_limit`"),
    chapter::<Ask>("`ask` of a route or rule"),
    chapter::<ClientFrom>("`client_from` of a route or rule"),
    chapter::<StatusPage>("`status_page` of a route or rule"),
    chapter::<Backend>(""),
    chapter::<BackendTls>("`tls` of a backend"),
    chapter::<Server>("`servers` of a backend"),
    chapter::<Agent>("`agent` of a server"),
    chapter::<StickyCookie>("`[backend.NAME.sticky]`"),
    chapter::<ByRequest>("`[backend.NAME.by_request]`"),
    chapter::<Keepalive>("`[backend.NAME.keepalive]`"),
    chapter::<Queue>("`[backend.NAME.queue]`"),
    chapter::<Health>("`[backend.NAME.health]`"),
    chapter::<CheckStep>("`steps` of `[backend.NAME.health]`"),
    chapter::<ServerLog>("`server_log` of a backend"),
    chapter::<Ejection>("`[backend.NAME.ejection]`"),
    chapter::<Retries>("`[backend.NAME.retries]`; `retries` of a route"),
    chapter::<Timeouts>(
        "`[timeouts]`; `timeouts` of a listener, backend or route, the narrowest of which holds",
    ),
    chapter::<Limits>(
        "`[limits]`; `limits` of a listener, backend or route, the narrowest of which holds",
    ),
    chapter::<Compression>(
        "`[compression]`; `compression` of a listener, backend or route, the narrowest of which holds",
    ),
    chapter::<ReplaceBody>("`replace_body` of a route"),
    chapter::<BodyReplacement>("`texts` of `replace_body`"),
    chapter::<ErrorPage>("`[errors]`; `errors` of a listener, which go first"),
    VALUES,
];

/// A chapter without keys.
const VALUES: Chapter = Chapter {
    title: "Values",
    place: "",
    doc: "How values are written.",
    rows: Vec::new,
};

const INTRODUCTION: &str = "\
# Configuration reference

Generated from the tables in `crates/config/src/concept/`; change it there.

A configuration is one TOML file. Keys that are not known are errors, so a mistyped one cannot be
overlooked. `clearway check -c FILE` tells everything that is wrong, with its place; `clearway print`
shows what is in force. The shortest useful file:

```toml
[listener.web]
bind = \":8080\"

[backend.app]
servers = [\"127.0.0.1:9001\"]
```

Where a list is expected, a single value does too. Nested tables may be written inline
(`health = { path = \"/\" }`) or as sections (`[backend.app.health]`).
";

const VALUES_TEXT: &str = "\
- **duration**: `\"500ms\"`, `\"5s\"`, `\"1m30s\"`, `\"2h\"`, `\"1d\"`; units ns, us, ms, s, m, h, d.
- **size**: `\"16KiB\"`, `\"1MiB\"`, `\"2GiB\"`, or a number of bytes.
- **name**: letters, digits and `_ - . : @`.
- **address** of a server: `\"10.0.0.1:80\"`, `\"[2001:db8::1]:80\"`, `\"host.example:80\"` (looked up
  again when its records expire; every address of the answer is a server), `\"srv:_http._tcp.example\"`,
  `\"unix:/path\"`.
- **address to listen on**: `\"0.0.0.0:80\"`, `\"[::]:80\"` (IPv6 alone), `\":80\"` (all of both), port 0
  for a free one, `\"unix:/path\"` or `\"unix:/path,mode=660\"`.
- **network**: `\"10.0.0.0/8\"`, `\"2001:db8::/32\"`, or an address.
- **regular expression**: the syntax of Rust's regex crate; matching takes linear time. Conditions
  may have look-around; a request for which one takes too many steps is answered with 500 (`pattern_steps`), as nobody
  knows what the rule would say. It matches anywhere in the text unless `^` and `$` hold it.
";

/// The reference page, in Markdown: every section, key, type, default, meaning and example.
#[must_use]
pub fn reference() -> String {
    let mut out = INTRODUCTION.to_owned();
    for chapter in &CHAPTERS {
        out.push_str(&format!("\n## {}\n\n", heading(chapter.title)));
        if !chapter.place.is_empty() {
            out.push_str(&format!("Stands in: {}.\n\n", chapter.place));
        }
        out.push_str(&format!("{}\n", one_line(chapter.doc)));
        if chapter.title == VALUES.title {
            out.push_str(&format!("\n{VALUES_TEXT}{}\n{}", templates(), log_values()));
            continue;
        }
        out.push_str("\n| key | type | default | meaning | example |\n|---|---|---|---|---|\n");
        for row in (chapter.rows)() {
            out.push_str(&table_row(&row));
        }
        out.push_str(&choices_of(chapter.title));
    }
    out.push_str("\n## Every key with its default\n\n```toml\n");
    out.push_str(&sample());
    out.push_str("```\n");
    out
}

/// What may stand between `${` and `}`.
fn templates() -> String {
    let mut out =
        "- **template**: text in which these stand for parts of the request and response:\n\n\
        | in text | is |\n|---|---|\n"
            .to_owned();
    for fetch in Fetch::REFERENCE {
        let name = if fetch.argument { ":NAME" } else { "" };
        let summary = cell(fetch.summary);
        out.push_str(&format!(
            "| `${{{}{name}}}` | {summary} |\n",
            fetch.spelling
        ));
    }
    out
}

/// What may stand there besides in the format of an access log.
fn log_values() -> String {
    let mut out = "- **log text**: a template for lines of access logs, in which these stand for what is known when \
        the request is over, besides the values of templates (of headers of the response, those that the \
        server sent). After the name may follow `,max=N` (bytes of it at most), `,escape=NAME` (as in \
        `escape`) and `,else=TEXT` (in place of nothing). The last columns say what they are called in a \
        `log-format` of HAProxy and a `log_format` of NGINX:\n\n\
        | in text | is | HAProxy | NGINX |\n|---|---|---|---|\n"
        .to_owned();
    let code = |word: &str| match word {
        "" => String::new(),
        word => format!("`{word}`"),
    };
    for value in line::reference() {
        out.push_str(&format!(
            "| `${{{}}}` | {} | {} | {} |\n",
            value.spelling,
            cell(value.summary),
            code(value.haproxy),
            code(value.nginx)
        ));
    }
    out
}

/// The rows of a section without those of concepts that are part of it.
fn own_rows<S: Section>() -> Vec<Row> {
    let mut rows = S::rows();
    rows.retain(|row| S::OWN.iter().any(|own| own.key == row.spec.key));
    rows
}

fn heading(title: &str) -> String {
    if title.starts_with('[') {
        format!("`{title}`")
    } else {
        title.to_owned()
    }
}

fn table_row(row: &Row) -> String {
    let code = |text: &str| match text {
        "" => String::new(),
        text => format!("`{}`", cell(text)),
    };
    let default = match (&row.default, row.spec.required) {
        (_, true) => "required".to_owned(),
        (Some(default), _) => code(default),
        (None, _) => "–".to_owned(),
    };
    format!(
        "| `{}` | {} | {default} | {} | {} |\n",
        row.spec.key,
        cell(&row.kind),
        cell(&one_line(row.spec.doc)),
        code(row.spec.example.unwrap_or_default()),
    )
}

/// Text within a cell of a Markdown table.
fn cell(text: &str) -> String {
    one_line(text).replace('|', "\\|")
}

/// What each name of a choice means.
fn choices_of(title: &str) -> String {
    macro_rules! table {
        ($key:literal, $type:ty) => {
            (
                $key,
                <$type>::ALL
                    .iter()
                    .map(|choice| (choice.name(), choice.doc()))
                    .collect(),
            )
        };
    }
    type Choices = (&'static str, Vec<(&'static str, &'static str)>);
    let choices: Vec<Choices> = match title {
        title if title == Log::TITLE => {
            vec![
                ("format", LogFormat::choices().collect()),
                table!("level", LogLevel),
            ]
        }
        title if title == AccessLog::TITLE => vec![table!("escape", Escape)],
        title if title == Syslog::TITLE => vec![table!("framing", SyslogFraming)],
        title if title == Acme::TITLE => {
            vec![table!("challenges", AcmeChallenge), table!("key", AcmeKey)]
        }
        title if title == ListenerTls::TITLE => vec![table!("profile", TlsProfile)],
        title if title == Forwarding::TITLE => vec![table!("x_forwarded", XForwarded)],
        title if title == Listener::TITLE => {
            vec![
                table!("mode", Mode),
                table!("proxy_protocol", ProxyProtocol),
            ]
        }
        title if title == Server::TITLE => vec![table!("state", ServerState)],
        title if title == StickyCookie::TITLE => vec![table!("same_site", CookieSite)],
        title if title == Health::TITLE => {
            vec![
                table!("kind", HealthKind),
                table!("observe", Observe),
                table!("on_error", AfterErrors),
            ]
        }
        title if title == Retries::TITLE => vec![table!("methods", RetryMethods)],
        title if title == Backend::TITLE => {
            vec![
                table!("balance", Algorithm),
                table!("hash_function", HashFunction),
                table!("protocol", ServerProtocol),
                table!("send_proxy", SendProxy),
            ]
        }
        _ => Vec::new(),
    };
    let mut out = String::new();
    for (key, names) in choices {
        out.push_str(&format!("\n`{key}`:\n\n"));
        for (name, doc) in names {
            out.push_str(&format!("- `{name}`: {}\n", one_line(doc)));
        }
    }
    out
}

/// One section of the sample.
struct Part {
    header: &'static str,
    doc: &'static str,
    rows: fn() -> Vec<Row>,
    /// Keys that are not commented out, with their values.
    kept: &'static [(&'static str, &'static str)],
}

const fn part<S: Section>(header: &'static str) -> Part {
    Part {
        header,
        doc: S::DOC,
        rows: S::rows,
        kept: &[],
    }
}

impl Part {
    const fn kept(mut self, kept: &'static [(&'static str, &'static str)]) -> Self {
        self.kept = kept;
        self
    }
}

/// The sections of the sample. A header that would change something by being there is a comment too.
const SAMPLE: [Part; 66] = [
    part::<Process>("[process]"),
    part::<Admin>("[admin]"),
    part::<RuntimeSocket>("# [[admin.haproxy_sockets]]"),
    part::<Log>("[log]"),
    part::<Syslog>("# [log.syslog]"),
    part::<Incidents>("[incidents]"),
    part::<Webhook>("# [[incidents.webhooks]]"),
    part::<Resolver>("[resolver]"),
    part::<Acme>("[acme]"),
    part::<AcmeIssuer>("# [[acme.issuers]]"),
    part::<AcmeDns>("# [acme.dns]"),
    part::<Timeouts>("[timeouts]"),
    part::<Limits>("[limits]"),
    part::<Compression>("[compression]"),
    Part {
        rows: Vec::new,
        ..part::<ErrorPage>("[errors]")
    },
    Part {
        doc: "",
        ..part::<ErrorPage>("# [errors.503]")
    },
    part::<MapTable>("# [map.upgrade]"),
    part::<MapEntry>("# [[map.upgrade.entries]]"),
    part::<Table>("# [table.clients]"),
    part::<RateLimit>("# [rate_limit.by_ip]"),
    part::<ConcurrencyLimit>("# [concurrency_limit.by_ip]"),
    part::<CacheStore>("# [cache.pages]"),
    part::<Listener>("[listener.web]").kept(&[("bind", "\":8080\"")]),
    part::<Forwarding>("[listener.web.forwarded]"),
    part::<ListenerTls>("# [listener.web.tls]"),
    part::<CertificateFiles>("# [[listener.web.tls.certificates]]"),
    part::<ClientCertificates>("# [listener.web.tls.client_certificates]"),
    part::<Passthrough>("# [[listener.web.passthrough]]"),
    // What it does is written as in a route.
    Part {
        rows: own_rows::<Rule>,
        ..part::<Rule>("# [[listener.web.rule]]")
    },
    part::<Condition>("# [listener.web.rule.when]"),
    part::<ValueTest>("# [[listener.web.rule.when.value]]"),
    part::<AccessLog>("# [[listener.web.access_log]]"),
    part::<Route>("[[route]]").kept(&[("backend", "\"app\"")]),
    part::<Track>("# [[route.track]]"),
    part::<Tally>("# [[route.tally]]"),
    part::<Stick>("# [[route.stick]]"),
    part::<Rewrite>("# [route.rewrite]"),
    part::<Replacement>("# [[route.replace_request_headers]]"),
    part::<Files>("# [route.files]"),
    part::<OnError>("# [[route.on_error]]"),
    part::<Caching>("# [route.cache]"),
    part::<CacheTime>("# [[route.cache.times]]"),
    part::<ReplaceBody>("# [route.replace_body]"),
    part::<BodyReplacement>("# [[route.replace_body.texts]]"),
    part::<Redirect>("# [route.redirect]"),
    part::<Reply>("# [route.reply]"),
    part::<BasicAuth>("# [route.basic_auth]"),
    part::<Ask>("# [route.ask]"),
    part::<ClientFrom>("# [route.client_from]"),
    part::<RateLimiting>("# [route.rate_limit]"),
    part::<RateLimitUse>("# [[route.rate_limit.limits]]"),
    part::<ConcurrencyLimiting>("# [route.concurrency_limit]"),
    part::<ConcurrencyLimitUse>("# [[route.concurrency_limit.limits]]"),
    part::<StatusPage>("# [route.status_page]"),
    part::<Backend>("[backend.app]").kept(&[("servers", "[\"10.0.0.1:8080\", \"10.0.0.2:8080\"]")]),
    part::<BackendTls>("# [backend.app.tls]"),
    part::<Server>("# [[backend.app.servers]]"),
    part::<StickyCookie>("# [backend.app.sticky]"),
    part::<ByRequest>("# [backend.app.by_request]"),
    part::<Keepalive>("[backend.app.keepalive]"),
    part::<Queue>("# [backend.app.queue]"),
    part::<Health>("[backend.app.health]"),
    part::<CheckStep>("# [[backend.app.health.steps]]"),
    part::<ServerLog>("# [[backend.app.server_log]]"),
    part::<Ejection>("[backend.app.ejection]"),
    part::<Retries>("[backend.app.retries]"),
];

/// A file with every section and key, commented out where the default does.
#[must_use]
pub fn sample() -> String {
    let parts: Vec<String> = SAMPLE.iter().map(sample_of).collect();
    parts.join("\n")
}

fn sample_of(part: &Part) -> String {
    let mut out = comment(part.doc);
    out.push_str(&format!("{}\n", part.header));
    for row in (part.rows)() {
        out.push_str(&comment(row.spec.doc));
        let key = row.spec.key;
        let default = row.default.as_deref();
        let value = default.or(row.spec.example).unwrap_or_default();
        match part.kept.iter().find(|(kept, _)| *kept == key) {
            Some((_, value)) => out.push_str(&format!("{key} = {value}\n")),
            None => out.push_str(&format!("# {key} = {value}\n")),
        }
    }
    out
}

/// A doc comment as comment lines.
fn comment(doc: &str) -> String {
    let mut out = String::new();
    let mut line = "#".to_owned();
    for word in doc.split_whitespace() {
        if line.len() + word.len() + 1 > 100 {
            out.push_str(&format!("{line}\n"));
            "#".clone_into(&mut line);
        }
        line.push(' ');
        line.push_str(word);
    }
    if line.len() > 1 {
        out.push_str(&format!("{line}\n"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_and_example_reads() {
        for chapter in CHAPTERS {
            for row in (chapter.rows)() {
                assert!(
                    !row.spec.doc.trim().is_empty(),
                    "{} {}",
                    chapter.title,
                    row.spec.key
                );
                assert!(
                    row.default.is_some() || row.spec.example.is_some(),
                    "{}",
                    row.spec.key
                );
            }
        }
        fn reads<S: Section>() {
            for row in S::rows() {
                for value in [row.default.as_deref(), row.spec.example]
                    .into_iter()
                    .flatten()
                {
                    let text = format!("{} = {value}\n", row.spec.key);
                    let lines = Lines::new("t", &text);
                    let (entries, errors) = crate::syntax::native::read(&text, &lines);
                    let mut reader = crate::value::Reader::new(&lines);
                    let section = S::read_fields(&entries, &(0..0), &mut reader);
                    assert_eq!(errors, [], "{text}");
                    assert_eq!(reader.diagnostics, [], "{text}");
                    if row.spec.example == Some(value) && !row.spec.always {
                        assert!(
                            section != S::default() || row.default.as_deref() == Some(value),
                            "{text}"
                        );
                    }
                }
            }
        }
        reads::<Process>();
        reads::<Admin>();
        reads::<RuntimeSocket>();
        reads::<Log>();
        reads::<AccessLog>();
        reads::<Syslog>();
        reads::<Incidents>();
        reads::<Resolver>();
        reads::<Acme>();
        reads::<Timeouts>();
        reads::<Limits>();
        reads::<Listener>();
        reads::<Forwarding>();
        reads::<Rule>();
        reads::<Route>();
        reads::<Condition>();
        reads::<Rewrite>();
        reads::<Files>();
        reads::<OnError>();
        reads::<Redirect>();
        reads::<Reply>();
        reads::<BasicAuth>();
        reads::<Ask>();
        reads::<ClientFrom>();
        reads::<RateLimit>();
        reads::<ConcurrencyLimit>();
        reads::<RateLimiting>();
        reads::<ConcurrencyLimiting>();
        reads::<StatusPage>();
        reads::<Backend>();
        reads::<Server>();
        reads::<Agent>();
        reads::<StickyCookie>();
        reads::<Keepalive>();
        reads::<Queue>();
        reads::<Health>();
        reads::<CheckStep>();
        reads::<ServerLog>();
        reads::<Ejection>();
        reads::<Retries>();
        reads::<ErrorPage>();
    }

    #[test]
    fn the_sample_loads_and_says_nothing_but_the_defaults() {
        let text = sample();
        let loaded = crate::parse("sample.toml", &text);
        assert_eq!(loaded.diagnostics, []);
        // The nested sections are there, though empty.
        let short = "[listener.web]\nbind = \":8080\"\n[[route]]\nbackend = \"app\"\n[backend.app]\n\
            servers = [\"10.0.0.1:8080\", \"10.0.0.2:8080\"]\nhealth = {}\n";
        assert_eq!(loaded.config, crate::parse("t", short).config);
    }

    #[test]
    fn every_commented_line_of_the_sample_reads_when_uncommented() {
        let is_key = |line: &str| {
            line.strip_prefix("# ").is_some_and(|rest| {
                let key = rest.split_once(" = ").map(|(key, _)| key);
                SAMPLE.iter().any(|part| part.header == line)
                    || key.is_some_and(|key| {
                        !key.is_empty() && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
                    })
            })
        };
        let text: String = sample()
            .lines()
            .map(|line| {
                format!(
                    "{}\n",
                    if is_key(line) {
                        line.trim_start_matches("# ")
                    } else {
                        line
                    }
                )
            })
            .collect();
        let lines = Lines::new("t", &text);
        let (entries, errors) = crate::syntax::native::read(&text, &lines);
        // Nested sections stand there a second time, in long form.
        let twice = ["duplicate", "cannot extend"];
        let expected = |e: &crate::Diagnostic| twice.iter().any(|words| e.message.contains(words));
        assert!(errors.iter().all(expected), "{errors:?}");
        let mut reader = crate::value::Reader::new(&lines);
        drop(crate::lower::config(&entries, &mut reader));
        let unknown: Vec<_> = reader.diagnostics.iter().map(ToString::to_string).collect();
        assert_eq!(unknown, Vec::<String>::new());
    }

    #[test]
    fn each_section_of_the_sample_reads_alone_when_uncommented() {
        for part in SAMPLE.iter().filter(|part| part.header.starts_with('#')) {
            let text = sample_of(part);
            let header = part.header.trim_start_matches("# ");
            let keys = (part.rows)();
            let text: String = text
                .lines()
                .filter(|line| {
                    let line = line.trim_start_matches("# ");
                    line == header
                        || keys
                            .iter()
                            .any(|row| line.starts_with(&format!("{} = ", row.spec.key)))
                })
                .map(|line| format!("{}\n", line.trim_start_matches("# ")))
                .collect();
            let lines = Lines::new("t", &text);
            let (entries, errors) = crate::syntax::native::read(&text, &lines);
            assert_eq!(errors, [], "{text}");
            let mut reader = crate::value::Reader::new(&lines);
            drop(crate::lower::config(&entries, &mut reader));
            let mut told = reader.diagnostics;
            // What stands around it is not there.
            told.retain(|found| found.code != "missing-key");
            assert_eq!(told, [], "{text}");
            assert_eq!(text.lines().count(), keys.len() + 1, "{text}");
        }
    }

    #[test]
    fn the_page_the_sample_and_the_schema_name_every_key() {
        let (page, sample) = (reference(), sample());
        let schema = json_schema().to_string();
        for chapter in CHAPTERS {
            assert!(page.contains(&format!("\n## {}\n", heading(chapter.title))));
            for row in (chapter.rows)() {
                assert!(
                    page.contains(&format!("| `{}` |", row.spec.key)),
                    "{}",
                    row.spec.key
                );
                assert!(
                    sample.contains(&format!("\n# {} = ", row.spec.key))
                        || sample.contains(&format!("\n{} = ", row.spec.key)),
                    "{}",
                    row.spec.key
                );
                assert!(
                    schema.contains(&format!("\"{}\":", row.spec.key)),
                    "{}",
                    row.spec.key
                );
            }
        }
    }
}
