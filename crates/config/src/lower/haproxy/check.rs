//! Health checks: `option httpchk`, `http-check`, and the words of servers about them.

use std::time::Duration;

use super::super::notes::Notes;
use super::proxy::Proxy;
use super::script;
use super::server::{Member, seconds};
use crate::diagnostic::Origins;
use crate::model::{
    AfterErrors, HeaderName, HeaderValue, Health, HealthKind, HostPattern, MethodName, Observe,
    Pattern, ServerAddress, Statuses,
};
use crate::syntax::haproxy::Line;
use crate::value::Text;

/// What is looked at besides checks.
fn observe(members: &[Member<'_>], health: &mut Health) {
    let value = |name: &str| {
        let mut all = members.iter().filter(|m| m.parameters.has("check"));
        all.find_map(|member| member.parameters.value(name))
    };
    health.observe = match value("observe") {
        Some("layer4") => Observe::Tcp,
        Some("layer7") => Observe::Http,
        _ => return,
    };
    if let Some(limit) = value("error-limit").and_then(|text| text.parse().ok()) {
        health.error_limit = limit;
    }
    health.on_error = match value("on-error") {
        Some("fastinter") => AfterErrors::Fastinter,
        Some("sudden-death") => AfterErrors::SuddenDeath,
        Some("mark-down") => AfterErrors::MarkDown,
        _ => AfterErrors::FailCheck,
    };
}

/// Ports that servers are asked on in place of that of the first one.
fn own_ports(members: &mut [Member<'_>], health: &Health) {
    for member in members {
        let port = member.parameters.value("port");
        let own = port.and_then(|text| text.parse().ok());
        let common = health.port;
        if own != common && member.parameters.has("check") {
            // Without a word about it, it is the server's own.
            let server = match &member.server.address {
                ServerAddress::Ip(address) => Some(address.port()),
                ServerAddress::Name { port, .. } => Some(*port),
                ServerAddress::Srv { .. } | ServerAddress::Unix(_) => None,
            };
            member.server.check_port = own.or(server);
        }
    }
}

/// The checks of a backend; none when no server is checked.
pub(super) fn read(proxy: &Proxy, members: &mut [Member<'_>], notes: &mut Notes) -> Option<Health> {
    let health = common(proxy, members, notes)?;
    own_ports(members, &health);
    Some(health)
}

fn common(proxy: &Proxy, members: &[Member<'_>], notes: &mut Notes) -> Option<Health> {
    let mut checked = members.iter().filter(|m| m.parameters.has("check"));
    let first = checked.next();
    // Servers that are added at runtime are checked as the section says.
    let speaks = proxy.option("httpchk") || proxy.spoken_check.is_some();
    if first.is_none() && !(members.is_empty() && speaks) {
        return None;
    }
    let first_has = |name: &str| first.is_some_and(|member| member.parameters.has(name));
    let first_value = |name: &str| first.and_then(|member| member.parameters.value(name));
    let time = |name: &str| {
        let mut found = members.iter().filter_map(|m| m.parameters.value(name));
        found.next().and_then(seconds)
    };
    let interval = time("inter").unwrap_or(Duration::from_secs(2));
    let count = |name: &str, default: u32| {
        let value = first_value(name).and_then(|text| text.parse().ok());
        value.unwrap_or(default).max(1)
    };
    let mut health = Health {
        interval: interval.max(Duration::from_millis(10)),
        fast_interval: time("fastinter")
            .unwrap_or(interval)
            .max(Duration::from_millis(10)),
        timeout: proxy.timeout("check").unwrap_or(interval),
        rise: count("rise", 2),
        fall: count("fall", 3),
        port: first_value("port").and_then(|text| text.parse().ok()),
        tls: first_has("ssl") && !first_has("no-check-ssl"),
        origins: Origins::new(first.map_or(&proxy.origin, |m| m.server.origin()).clone()),
        ..Health::default()
    };
    observe(members, &mut health);
    // A port of its own speaks TLS only when it is told to.
    if health.port.is_some() {
        health.tls = first_has("check-ssl");
    }
    if let Some(line) = proxy.httpchk.as_ref().filter(|_| proxy.option("httpchk")) {
        health.kind = HealthKind::Http;
        health.method = MethodName::parse("OPTIONS").unwrap_or_default();
        request(line, &mut health);
    }
    health.steps = script::read(proxy, notes);
    if !health.steps.is_empty() {
        health.kind = HealthKind::Script;
    }
    for line in &proxy.http_check {
        notes.begin(line.origin(), line.text());
        match line.word(1) {
            "send" => send(line, &mut health, notes),
            "expect" => expect(line, &mut health, notes),
            "connect" => connect(line, &mut health, notes),
            "disable-on-404" => health.drain_on = Statuses::of(["404"]),
            "send-state" => notes.ineffective("checks say nothing about the server"),
            "comment" => {}
            other => notes.ineffective(format!("{other:?} is not known here")),
        }
    }
    Some(health)
}

/// `option httpchk [METHOD] [URI] [VERSION…]`: behind the version there may be headers.
fn request(line: &Line, health: &mut Health) {
    let words: Vec<&str> = line.texts(2).collect();
    match words.as_slice() {
        [] => {}
        [uri] => path(uri, health),
        [method, uri, rest @ ..] => {
            if let Ok(method) = MethodName::parse(method) {
                health.method = method;
            }
            path(uri, health);
            let version = rest.join(" ");
            for field in version.replace("\\r\\n", "\r\n").split("\r\n").skip(1) {
                if let Some((name, value)) = field.split_once(':') {
                    header(name, value, health);
                }
            }
        }
    }
}

fn path(text: &str, health: &mut Health) {
    if let Ok(path) = HeaderValue::parse(text) {
        health.path = path;
    }
}

fn header(name: &str, value: &str, health: &mut Health) {
    let (name, value) = (name.trim(), value.trim());
    if name.eq_ignore_ascii_case("host") {
        let host = value.rsplit_once(':').map_or(value, |(host, _)| host);
        health.host = HostPattern::parse(host).ok();
        return;
    }
    // Which connection it is on is the check's own affair.
    if name.eq_ignore_ascii_case("connection") {
        return;
    }
    if let (Ok(name), Ok(value)) = (HeaderName::parse(name), HeaderValue::parse(value)) {
        health.headers.0.push((name, value));
    }
}

fn send(line: &Line, health: &mut Health, notes: &mut Notes) {
    let words: Vec<&str> = line.texts(2).collect();
    let mut rest = words.as_slice();
    while let [word, tail @ ..] = rest {
        rest = match (*word, tail) {
            ("meth", [method, tail @ ..]) => {
                health.method = MethodName::parse(method).unwrap_or_default();
                tail
            }
            ("uri" | "uri-lf", [uri, tail @ ..]) => {
                path(uri, health);
                tail
            }
            ("ver" | "comment", [_, tail @ ..]) => tail,
            ("hdr", [name, value, tail @ ..]) => {
                header(name, value, health);
                tail
            }
            (word, tail) => {
                notes.ineffective(format!("{word:?} is not known here"));
                tail.get(1..).unwrap_or_default()
            }
        };
    }
}

fn expect(line: &Line, health: &mut Health, notes: &mut Notes) {
    let words: Vec<&str> = line.texts(2).collect();
    let mut rest = words.as_slice();
    // What is said about the outcome stands before the test.
    while let [word, _, tail @ ..] = rest {
        let is_option = [
            "min-recv",
            "ok-status",
            "error-status",
            "tout-status",
            "on-success",
            "on-error",
            "status-code",
            "comment",
        ];
        if !is_option.contains(word) {
            break;
        }
        rest = tail;
    }
    let words: Vec<&str>;
    let mut is_absent = false;
    if let [first, tail @ ..] = rest
        && let Some(word) = first.strip_prefix('!')
    {
        is_absent = true;
        words = [word]
            .into_iter()
            .filter(|word| !word.is_empty())
            .chain(tail.iter().copied())
            .collect();
        rest = &words;
    }
    match rest {
        ["status", list, ..] if is_absent => {
            let statuses = Statuses::of(list.split(',').map(str::trim));
            let others = statuses.map(|statuses| others(|status| statuses.contains(status)));
            match others.flatten() {
                Some(others) => health.expect = others,
                None => notes.ineffective(format!("{list:?} leaves no status")),
            }
        }
        ["rstatus", pattern, ..] if is_absent => {
            let regex = regex::Regex::new(pattern).ok();
            let others = regex.and_then(|r| others(|status| r.is_match(&status.to_string())));
            match others {
                Some(others) => health.expect = others,
                None => notes.ineffective(format!("{pattern:?} leaves no status")),
            }
        }
        ["status", list, ..] => {
            let text = list.split(',').map(str::trim);
            match Statuses::of(text) {
                Some(statuses) => health.expect = statuses,
                None => notes.wrong(
                    &line.origin(),
                    format!("{list:?} is no list of statuses"),
                    "",
                ),
            }
        }
        ["rstatus", pattern, ..] => match statuses(pattern) {
            Some(statuses) => health.expect = statuses,
            None => notes.ineffective(format!("{pattern:?} fits no range of statuses")),
        },
        ["string", text, ..] => health.body = Some(Pattern::Text((*text).to_owned())),
        ["rstring", pattern, ..] => match Pattern::parse(&format!("~{pattern}")) {
            Ok(pattern) => health.body = Some(pattern),
            Err(problem) => notes.ineffective(problem.message),
        },
        _ => notes.ineffective("such an expectation is not known here"),
    }
    if matches!(rest.first(), Some(&"string" | &"rstring")) {
        health.body_absent = is_absent;
        health.expect = Statuses::range(100, 599);
    }
}

/// The statuses that are none of these.
fn others(is_one: impl Fn(u16) -> bool) -> Option<Statuses> {
    let all = (100..=599_u16).filter(|status| !is_one(*status));
    let all: Vec<String> = all.map(|status| status.to_string()).collect();
    Statuses::of(all.iter().map(String::as_str))
}

/// The statuses that a pattern matches.
fn statuses(pattern: &str) -> Option<Statuses> {
    let regex = regex::Regex::new(pattern).ok()?;
    let all = (100..=599_u16).filter(|status| regex.is_match(&status.to_string()));
    let all: Vec<String> = all.map(|status| status.to_string()).collect();
    Statuses::of(all.iter().map(String::as_str))
}

fn connect(line: &Line, health: &mut Health, notes: &mut Notes) {
    let words: Vec<&str> = line.texts(2).collect();
    let mut rest = words.as_slice();
    while let [word, tail @ ..] = rest {
        rest = match (*word, tail) {
            ("port", [port, tail @ ..]) => {
                health.port = port.parse().ok();
                tail
            }
            ("ssl", tail) => {
                health.tls = true;
                tail
            }
            ("default" | "linger", tail) => tail,
            (word, tail) => {
                notes.ineffective(format!("{word:?} is not known here"));
                tail
            }
        };
    }
}
