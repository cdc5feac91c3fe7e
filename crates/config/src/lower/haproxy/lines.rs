//! The lines of proxies: each keyword with what it changes.

use clearway_base::hash::Set;

use super::super::notes::Notes;
use super::proxy::{At, Proxy, Spoken, Switch};
use super::rules::{self, Lowered, Phase, Trouble};
use super::{acl, bodies, caches, connection, extra, logs, options, pages, stats, tables};
use crate::model::{HeaderValue, Mode};
use crate::survey::units;
use crate::syntax::haproxy::Line;
use crate::value::Text;

/// Time-outs by all their names.
const TIMEOUTS: &[(&str, &str)] = &[
    ("client", "client"),
    ("client-fin", "client-fin"),
    ("connect", "connect"),
    ("check", "check"),
    ("http-keep-alive", "http-keep-alive"),
    ("http-request", "http-request"),
    ("queue", "queue"),
    ("server", "server"),
    ("server-fin", "server-fin"),
    ("tarpit", "tarpit"),
    ("tunnel", "tunnel"),
    ("clitimeout", "client"),
    ("contimeout", "connect"),
    ("srvtimeout", "server"),
];

/// Keywords about nothing that requests or clients notice.
const HARMLESS: &[(&str, &str)] = &[
    ("description", "a text for people"),
    (
        "http-reuse",
        "idle connections are shared where that is safe",
    ),
    ("fullconn", "it only scales minconn, which is not used"),
    ("persist", "it is about RDP cookies"),
    ("bind-process", "all workers serve all listeners"),
    ("log-tag", "the tag of log lines"),
    (
        "load-server-state-from-file",
        "states are kept in memory across reloads",
    ),
    (
        "server-state-file-name",
        "states are kept in memory across reloads",
    ),
    ("email-alert", "incidents are told by webhooks"),
    (
        "max-keep-alive-queue",
        "kept connections are used as servers allow",
    ),
];

/// Reads a line into a proxy.
pub(super) fn read(line: &Line, proxy: &mut Proxy, names: &Set<String>, notes: &mut Notes) {
    let words: Vec<&str> = line.texts(0).collect();
    let Some((keyword, rest)) = words.split_first() else {
        return;
    };
    match *keyword {
        "mode" => mode(line, rest, proxy, notes),
        "bind" => proxy.binds.push(line.clone()),
        "timeout" => timeout(line, rest, proxy, notes),
        "clitimeout" | "contimeout" | "srvtimeout" => timeout(line, &words, proxy, notes),
        "option" => options::read(line, rest, true, proxy, notes),
        "no" => match rest {
            ["option", rest @ ..] => options::read(line, rest, false, proxy, notes),
            ["log", ..] => {
                proxy.logs.clear();
                proxy.logs_globally = false;
            }
            _ => unknown(line, notes),
        },
        "maxconn" => proxy.maxconn = count(line, rest, notes),
        "backlog" => proxy.backlog = count(line, rest, notes),
        "retries" => proxy.retries = count(line, rest, notes),
        "retry-on" => {
            let words = rest.iter().map(|word| (*word).to_owned()).collect();
            proxy.retry_on = Some(At::new(words, line));
        }
        "default_backend" => default_backend(line, rest, proxy, names, notes),
        "use_backend" => switch(line, rest, proxy, names, notes),
        "acl" => acl_line(line, rest, proxy, notes),
        "http-request" => rule(line, Phase::Request, rest, proxy, notes),
        "http-response" => rule(line, Phase::Response, rest, proxy, notes),
        "http-after-response" => {
            let before = proxy.response.len();
            rule(line, Phase::Response, rest, proxy, notes);
            for rule in proxy.response.iter_mut().skip(before) {
                rule.actions.own_replies = true;
            }
        }
        "redirect" => redirect(line, rest, proxy, notes),
        "capture" | "declare" => extra::capture(line, rest, proxy, notes),
        "use-server" => extra::use_server(rest, &line.origin(), proxy, notes),
        "monitor" => extra::monitor_fail(rest, proxy, notes),
        "tcp-request" => connection::request(line, rest, proxy, notes),
        "tcp-response" => connection::response(line, rest, proxy, notes),
        "monitor-uri" => {
            let path = rest.first().map_or("", |path| path);
            proxy.monitor = Some(At::new(path.to_owned(), line));
        }
        "errorfile" | "errorfiles" | "errorloc" | "errorloc302" | "errorloc303" | "http-error" => {
            if let Err(trouble) = pages::read(line, rest, proxy) {
                trouble_with(line, trouble, notes);
            }
        }
        "disabled" => proxy.disabled = true,
        "enabled" => proxy.disabled = false,
        "reqadd" | "rspadd" => add(line, keyword, rest, proxy, notes),
        "log" if rest.first() == Some(&"global") => proxy.logs_globally = true,
        "log" => proxy.logs.extend(logs::target(line, notes)),
        "log-format" => proxy.log_format = Some(line.clone()),
        "log-format-sd" | "error-log-format" => {
            notes.ineffective("lines are written in one format");
        }
        "stick-table" => tables::own(line, rest, proxy, notes),
        "force-persist" | "ignore-persist" => tables::persist(line, rest, proxy, notes),
        "stick" => tables::stick(line, rest, proxy, notes),
        "unique-id-format" => proxy.unique_id = Some(line.clone()),
        "unique-id-header" => proxy.unique_id_header = Some(line.clone()),
        "id" => proxy.number = rest.first().and_then(|id| id.parse().ok()).unwrap_or(0),
        "compression" => bodies::compression(line, rest, proxy, notes),
        "filter" => bodies::filter(rest, notes),
        "stats" => stats::read(line, rest, proxy, notes),
        _ if servers(line, proxy) => {}
        _ => match HARMLESS.iter().find(|(known, _)| known == keyword) {
            Some((_, why)) => notes.harmless(*why),
            None => unknown(line, notes),
        },
    }
}

/// Reads a line about servers, how one is chosen among them and how they are checked; whether it is
/// one.
fn servers(line: &Line, proxy: &mut Proxy) -> bool {
    match line.word(0) {
        "balance" => proxy.balance = Some(line.clone()),
        "hash-balance-factor" => proxy.hash_balance = Some(line.clone()),
        "hash-type" => proxy.hash_type = Some(line.clone()),
        "cookie" => proxy.cookie = Some(line.clone()),
        "dynamic-cookie-key" => proxy.dynamic_cookie_key = Some(line.clone()),
        "server" | "server-template" => {
            proxy.servers.push(line.clone());
            proxy.defaults_before.push(proxy.default_server.len());
        }
        "dispatch" => {
            // A place without a name is a server.
            let mut server = line.clone();
            if let Some(mut name) = server.words.first().cloned() {
                name.text = "dispatch".to_owned();
                server.words.insert(1, name);
            }
            proxy.servers.push(server);
            proxy.defaults_before.push(proxy.default_server.len());
        }
        "default-server" => proxy.default_server.push(line.clone()),
        "tcp-check" => proxy.tcp_check.push(line.clone()),
        "http-check" => proxy.http_check.push(line.clone()),
        _ => return false,
    }
    true
}

fn unknown(line: &Line, notes: &mut Notes) {
    notes.refused(format!("\"{}\" is not known here", line.word(0)));
}

fn mode(line: &Line, rest: &[&str], proxy: &mut Proxy, notes: &mut Notes) {
    match rest.first() {
        Some(&"http") => proxy.mode = Spoken(Mode::Http),
        Some(&"tcp") => proxy.mode = Spoken(Mode::Tcp),
        Some(&"health") => notes.refused("mode health is gone from HAProxy too"),
        _ => notes.wrong(&line.origin(), "no such mode", "\"http\" or \"tcp\""),
    }
}

fn timeout(line: &Line, rest: &[&str], proxy: &mut Proxy, notes: &mut Notes) {
    let [name, value, ..] = rest else {
        notes.wrong(&line.origin(), "a time-out has a name and a time", "");
        return;
    };
    let known = TIMEOUTS.iter().find(|(known, _)| known == name);
    let Some((_, known)) = known else {
        notes.ineffective(format!("the time-out {name:?} is not known here"));
        return;
    };
    match units::haproxy_time(value) {
        Some(time) => {
            if *known == "tarpit" {
                notes.equivalent("a tarpit answers at once");
            }
            proxy.timeouts.insert(known, At::new(time, line));
        }
        None => {
            let message = format!("{value:?} is no time");
            notes.wrong(
                &line.origin(),
                message,
                "a number with us, ms, s, m, h or d",
            );
        }
    }
}

fn count(line: &Line, rest: &[&str], notes: &mut Notes) -> Option<At<u64>> {
    let text = rest.first().copied().unwrap_or_default();
    let count = units::size(text);
    if count.is_none() {
        notes.wrong(&line.origin(), format!("{text:?} is no number"), "a number");
    }
    count.map(|count| At::new(count, line))
}

fn default_backend(
    line: &Line,
    rest: &[&str],
    proxy: &mut Proxy,
    names: &Set<String>,
    notes: &mut Notes,
) {
    let name = rest.first().copied().unwrap_or_default();
    if proxy.kind != "defaults" && !names.contains(name) {
        notes.wrong(&line.origin(), format!("there is no backend {name:?}"), "");
        return;
    }
    if !proxy.listens() && proxy.kind != "defaults" {
        notes.harmless("only frontends have a default backend");
        return;
    }
    proxy.default_backend = Some(At::new(name.to_owned(), line));
}

fn switch(line: &Line, rest: &[&str], proxy: &mut Proxy, names: &Set<String>, notes: &mut Notes) {
    let (words, condition) = match acl::of_line(rest, &proxy.acls) {
        Ok(found) => found,
        Err(message) => return notes.refused(message),
    };
    let name = words.first().copied().unwrap_or_default();
    if name.contains('%') {
        if let Err(message) = extra::dynamic(name, &condition, &line.origin(), proxy, names) {
            notes.refused(message);
        }
    } else if names.contains(name) {
        proxy.switches.push(Switch {
            backend: Some(name.to_owned()),
            condition,
            origin: line.origin(),
        });
    } else {
        notes.wrong(&line.origin(), format!("there is no backend {name:?}"), "");
    }
}

fn acl_line(line: &Line, rest: &[&str], proxy: &mut Proxy, notes: &mut Notes) {
    let Some((name, words)) = rest.split_first() else {
        notes.wrong(&line.origin(), "an ACL has a name and a criterion", "");
        return;
    };
    match acl::criterion_among(words, &proxy.acls) {
        Ok(condition) => {
            let all = proxy.acls.entry((*name).to_owned()).or_default();
            all.push(condition);
        }
        Err(message) => notes.refused(message),
    }
}

fn rule(line: &Line, phase: Phase, rest: &[&str], proxy: &mut Proxy, notes: &mut Notes) {
    if let ["set-log-level", level, ..] = rest {
        proxy.log_levels.insert((*level).to_owned());
    }
    if caches::rule(line, rest, proxy, notes) {
        return;
    }
    if rest.first() == Some(&"capture") {
        return extra::capture_rule(line, phase, rest, proxy, notes);
    }
    if rest.first().is_some_and(|name| tables::is_action(name)) {
        let rule = acl::of_line(rest, &proxy.acls).and_then(|(words, condition)| {
            tables::rule(line, phase, words, condition, (proxy, false))
        });
        return match (rule, phase) {
            (Ok(rule), Phase::Request) => proxy.request.push(rule),
            (Ok(rule), Phase::Response) => proxy.response.push(rule),
            (Err(message), _) => notes.refused(message),
        };
    }
    // A target that cannot be brought into form is the client's mistake.
    if let (Phase::Request, ["normalize-uri", ..]) = (phase, rest) {
        match rules::unformed(rest, &proxy.acls, &line.origin()) {
            Ok(rule) => proxy.request.push(rule),
            Err(message) => return notes.refused(message),
        }
    }
    match rules::lower(phase, rest, (&proxy.acls, &proxy.groups), &line.origin()) {
        Ok(Lowered::Rule(mut rule)) => {
            // Without a realm users are asked in the name of the section.
            let auth = rule.actions.basic_auth.as_mut();
            if let Some(auth) = auth.filter(|auth| auth.realm.as_str().is_empty()) {
                auth.realm = HeaderValue::parse(&proxy.name).unwrap_or_default();
            }
            match phase {
                Phase::Request => proxy.request.push(*rule),
                Phase::Response => proxy.response.push(*rule),
            }
        }
        Ok(Lowered::Nothing(why)) => notes.harmless(why),
        Err(trouble) => trouble_with(line, trouble, notes),
    }
}

pub(super) fn trouble_with(line: &Line, trouble: Trouble, notes: &mut Notes) {
    match trouble {
        Trouble::Wrong(message) => notes.wrong(&line.origin(), message, ""),
        Trouble::Unknown(message) => notes.refused(message),
    }
}

fn redirect(line: &Line, rest: &[&str], proxy: &mut Proxy, notes: &mut Notes) {
    let (words, condition) = match acl::of_line(rest, &proxy.acls) {
        Ok(found) => found,
        Err(message) => return notes.refused(message),
    };
    match rules::redirect(words) {
        Ok(redirect) => proxy.redirects.push((condition, redirect, line.origin())),
        Err(trouble) => trouble_with(line, trouble, notes),
    }
}

/// `reqadd "Name: value"`, which HAProxy no longer knows.
fn add(line: &Line, keyword: &str, rest: &[&str], proxy: &mut Proxy, notes: &mut Notes) {
    let (words, condition) = match acl::of_line(rest, &proxy.acls) {
        Ok(found) => found,
        Err(message) => return notes.refused(message),
    };
    let text = words.join(" ");
    let Some((name, value)) = text.split_once(':') else {
        notes.wrong(&line.origin(), "a header is missing", "\"Name: value\"");
        return;
    };
    let phase = if keyword == "reqadd" {
        Phase::Request
    } else {
        Phase::Response
    };
    let value = value.trim().replace('%', "%%");
    let words = ["add-header", name.trim(), value.as_str()];
    let none = acl::Acls::new();
    match rules::lower(phase, &words, (&none, &proxy.groups), &line.origin()) {
        Ok(Lowered::Rule(mut rule)) => {
            rule.when = condition;
            notes.equivalent("as http-request add-header");
            match phase {
                Phase::Request => proxy.request.push(*rule),
                Phase::Response => proxy.response.push(*rule),
            }
        }
        Ok(Lowered::Nothing(why)) => notes.harmless(why),
        Err(trouble) => trouble_with(line, trouble, notes),
    }
}
