//! `stats`: the page of statistics of a proxy, and in `global` the sockets for runtime commands.
//!
//! Every `stats` line but those about rights turns the page on, with what is not written at its default.
//! The first one in a section forgets what its `defaults` said about the page.

use std::time::Duration;

use super::super::notes::Notes;
use super::global::Global;
use super::proxy::Proxy;
use super::{acl, bind};
use crate::diagnostic::{Origin, Origins};
use crate::lower::build;
use crate::lower::build::rule;
use crate::model::{
    Actions, BasicAuth, Bind, Condition, Config, HeaderValue, MethodName, Pairs, Rule,
    RuntimeLevel, RuntimeSocket, StatusPage, ValueTest,
};
use crate::survey::units;
use crate::syntax::haproxy::Line;
use crate::value::Text;

/// Where the page is unless it is said.
const URI: &str = "/haproxy?stats";
/// What users are asked in the name of unless it is said.
const REALM: &str = "HAProxy Statistics";

/// What a section says about its page.
#[derive(Clone, Debug, Default)]
pub(super) struct Stats {
    /// The section that says it, or the `defaults` of the one that says nothing.
    section: Origin,
    /// The line that turned it on.
    line: Option<Origin>,
    uri: Option<String>,
    realm: Option<String>,
    users: Vec<(HeaderValue, String)>,
    access: Vec<(Access, Condition)>,
    /// Under each of these states of servers may be changed.
    admin: Vec<Condition>,
    page: StatusPage,
}

/// What `stats http-request` decides.
#[derive(Clone, Debug)]
enum Access {
    Allow,
    Deny,
    Auth(Option<String>),
}

impl Stats {
    /// The rules that serve the page.
    pub(super) fn rules(&self) -> Vec<Rule> {
        let Some(origin) = &self.line else {
            return Vec::new();
        };
        let test = ValueTest {
            of: crate::model::FetchText::parse("sent_target").unwrap_or_default(),
            begins: vec![self.uri.clone().unwrap_or_else(|| URI.to_owned())],
            ..ValueTest::default()
        };
        let mut place = build::value(test);
        // Other methods are not for it.
        place.matching.method = ["GET", "HEAD", "POST"]
            .iter()
            .filter_map(|name| MethodName::parse(name).ok())
            .collect();
        let mut rules = Vec::new();
        for (access, condition) in &self.access {
            let (actions, key) = match access {
                Access::Allow => {
                    let when = build::all_of(vec![place.clone(), condition.clone()]);
                    self.pages(&when, None, origin, &mut rules);
                    continue;
                }
                Access::Deny => (
                    Actions {
                        deny: Some(403),
                        ..Actions::default()
                    },
                    "deny",
                ),
                Access::Auth(realm) => (
                    Actions {
                        basic_auth: Some(auth(realm.as_deref().unwrap_or(REALM), &[])),
                        ..Actions::default()
                    },
                    "basic_auth",
                ),
            };
            let when = match *condition == Condition::default() {
                true => place.clone(),
                false => build::all_of(vec![place.clone(), condition.clone()]),
            };
            rules.push(rule(when, actions, key, origin));
        }
        let realm = self.realm.as_deref().unwrap_or(REALM);
        let users = (!self.users.is_empty()).then(|| auth(realm, &self.users));
        self.pages(&place, users.as_ref(), origin, &mut rules);
        rules
    }

    /// The rules that answer with the page, each with what may be changed on it.
    fn pages(
        &self,
        when: &Condition,
        users: Option<&BasicAuth>,
        origin: &Origin,
        rules: &mut Vec<Rule>,
    ) {
        let page = |admin: bool| Actions {
            status_page: Some(StatusPage {
                admin,
                ..self.page.clone()
            }),
            basic_auth: users.cloned(),
            ..Actions::default()
        };
        for condition in &self.admin {
            let is_always = *condition == Condition::default();
            let when = build::all_of(vec![when.clone(), condition.clone()]);
            rules.push(rule(when, page(true), "status_page", origin));
            if is_always {
                return;
            }
        }
        rules.push(rule(when.clone(), page(false), "status_page", origin));
    }
}

/// Basic authentication with these users.
pub(super) fn auth(realm: &str, users: &[(HeaderValue, String)]) -> BasicAuth {
    BasicAuth {
        realm: HeaderValue::parse(realm).unwrap_or_default(),
        users: Pairs(users.to_vec()),
        ..BasicAuth::default()
    }
}

/// A password that is written as it is.
pub(super) fn plain(password: &str) -> String {
    match password.starts_with(['$', '{']) {
        true => format!("{{PLAIN}}{password}"),
        false => password.to_owned(),
    }
}

/// Reads a `stats` line of a proxy.
pub(super) fn read(line: &Line, rest: &[&str], proxy: &mut Proxy, notes: &mut Notes) {
    if proxy.stats.section != proxy.origin {
        proxy.stats = Stats {
            section: proxy.origin.clone(),
            ..Stats::default()
        };
    }
    let (origin, name) = (line.origin(), proxy.name.clone());
    let stats = &mut proxy.stats;
    match rest {
        ["enable", ..] => {}
        ["uri", uri, ..] => stats.uri = Some((*uri).to_owned()),
        ["realm", realm, ..] => match HeaderValue::parse(realm) {
            Ok(_) => stats.realm = Some((*realm).to_owned()),
            Err(problem) => notes.wrong(&origin, problem.message, &problem.expected),
        },
        ["auth", pair, ..] => {
            let (user, password) = pair.split_once(':').unwrap_or((pair, ""));
            match HeaderValue::parse(user) {
                Ok(user) => stats.users.push((user, plain(password))),
                Err(problem) => notes.wrong(&origin, problem.message, &problem.expected),
            }
        }
        ["refresh", time, ..] => match seconds(time) {
            Some(time) => stats.page.refresh = Some(time).filter(|time| time.as_secs() > 0),
            None => notes.wrong(
                &origin,
                format!("{time:?} is no time"),
                "a number of seconds",
            ),
        },
        ["scope", scope, ..] => {
            let scope = if *scope == "." { &name } else { *scope };
            stats.page.scope.push(scope.to_owned());
        }
        ["hide-version", ..] => stats.page.hide_version = true,
        ["show-node", node, ..] => stats.page.node = Some((*node).to_owned()),
        ["show-desc", words @ ..] if !words.is_empty() => {
            stats.page.description = Some(words.join(" "));
        }
        // The name of this host.
        ["show-node"] => stats.page.node = Some(String::new()),
        ["show-desc"] => notes.harmless("there is no text"),
        ["show-legends" | "show-modules", ..] => {
            notes.equivalent("the page shows the same to everybody");
        }
        ["admin", words @ ..] => match acl::of_line(words, &proxy.acls) {
            Ok(([], condition)) => proxy.stats.admin.push(condition),
            Ok((words, _)) => {
                notes.refused(format!("\"{}\" is not known here", words.join(" ")));
            }
            Err(message) => notes.refused(message),
        },
        ["http-request", words @ ..] => match access(words, &proxy.acls) {
            Ok(rule) => proxy.stats.access.push(rule),
            Err(message) => notes.refused(message),
        },
        ["maxconn" | "timeout" | "socket", ..] => {
            notes.ineffective("it belongs into the section global");
            return;
        }
        _ => {
            let words = rest.join(" ");
            notes.refused(format!("\"stats {words}\" is not known here"));
            return;
        }
    }
    proxy.stats.line.get_or_insert(origin);
}

/// `stats http-request allow|deny|auth [realm TEXT] [if|unless CONDITION]`.
fn access(words: &[&str], acls: &acl::Acls) -> Result<(Access, Condition), String> {
    let (words, condition) = acl::of_line(words, acls)?;
    let access = match words {
        ["allow"] => Access::Allow,
        ["deny"] => Access::Deny,
        ["auth"] => Access::Auth(None),
        ["auth", "realm", realm] => {
            HeaderValue::parse(realm).map_err(|problem| problem.message)?;
            Access::Auth(Some((*realm).to_owned()))
        }
        _ => return Err(format!("\"{}\" is not known here", words.join(" "))),
    };
    Ok((access, condition))
}

/// A time of which the unit is the second unless it is written.
fn seconds(text: &str) -> Option<Duration> {
    match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => units::haproxy_time(text),
    }
}

/// Reads a `stats` line of `global`.
pub(super) fn global(line: &Line, global: &mut Global, config: &mut Config, notes: &mut Notes) {
    let words: Vec<&str> = line.texts(1).collect();
    match words.as_slice() {
        ["socket", address, parameters @ ..] => socket(line, address, parameters, config, notes),
        ["timeout", time, ..] => match units::haproxy_time(time).filter(|time| !time.is_zero()) {
            Some(time) => global.stats_timeout = Some(time),
            None => notes.wrong(
                &line.origin(),
                format!("{time:?} is no time"),
                "a time such as 30s",
            ),
        },
        ["maxconn", ..] => notes.equivalent("10 connections at once, then they wait"),
        ["bind-process", ..] => notes.harmless("one process serves and reloads"),
        _ => notes.refused(format!("\"stats {}\" is not known here", words.join(" "))),
    }
}

/// The time-out holds for sockets before and behind it.
pub(super) fn settle(global: &Global, config: &mut Config) {
    let Some(time) = global.stats_timeout else {
        return;
    };
    for socket in &mut config.admin.haproxy_sockets {
        socket.timeout = time;
    }
}

fn socket(line: &Line, address: &str, words: &[&str], config: &mut Config, notes: &mut Notes) {
    let (mut mode, mut level) = (None, RuntimeLevel::Operator);
    let mut rest = words;
    while let [word, tail @ ..] = rest {
        rest = tail;
        let value = tail.first().copied().unwrap_or_default();
        match *word {
            "mode" => mode = u32::from_str_radix(value, 8).ok(),
            "level" => {
                level = match value {
                    "admin" => RuntimeLevel::Admin,
                    "operator" => RuntimeLevel::Operator,
                    "user" => RuntimeLevel::User,
                    _ => {
                        let message = format!("{value:?} is no level");
                        notes.wrong(&line.origin(), message, "user, operator or admin");
                        level
                    }
                };
            }
            "user" | "group" | "uid" | "gid" => {
                notes.harmless(format!(
                    "{word}: sockets belong to the user that Clearway runs as"
                ));
            }
            "expose-fd" => notes.harmless("sockets are taken over by their addresses"),
            "name" | "id" | "nice" | "process" | "thread" | "backlog" | "maxconn"
            | "severity-output" => notes.harmless(format!("{word}: nobody notices")),
            "ssl" => return notes.refused("TLS on runtime sockets is not known here"),
            "accept-proxy" | "tfo" | "v4v6" | "v6only" => continue,
            other => notes.ineffective(format!("{other:?} is not known here")),
        }
        rest = tail.get(1..).unwrap_or_default();
    }
    let v6_only = words.contains(&"v6only");
    for text in address.split(',').filter(|text| !text.is_empty()) {
        match bind::addresses(text, mode, v6_only) {
            Ok(binds) => {
                let socket = |bind: Bind| {
                    let mut origins = Origins::new(line.origin());
                    origins.set("bind", line.origin());
                    RuntimeSocket {
                        level,
                        origins,
                        ..RuntimeSocket::new(bind)
                    }
                };
                config
                    .admin
                    .haproxy_sockets
                    .extend(binds.into_iter().map(socket));
            }
            // Its own sockets are not what scripts connect to.
            Err(message) if text.starts_with("fd@") || text.starts_with("sockpair@") => {
                notes.ineffective(message);
            }
            Err(message) => notes.refused(message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Listener;

    fn lowered(text: &str) -> (Config, Vec<String>) {
        let tree = crate::syntax::haproxy::read("t", text);
        let foreign = super::super::lower(&tree, &[]);
        let known = |d: &&crate::foreign::Directive| !d.remarks.is_empty();
        let remarks = foreign.directives.iter().filter(known);
        let remarks = remarks.map(|d| format!("{}: {}", d.treatment.name(), d.text));
        (foreign.loaded.config, remarks.collect())
    }

    fn keys(listener: &Listener) -> Vec<&'static str> {
        let actions = listener.rules.iter().flat_map(|rule| rule.actions.keyed());
        actions.map(|(key, _)| key).collect()
    }

    #[test]
    fn a_page_stands_between_requests_and_redirections() {
        let (config, remarks) = lowered(
            "frontend web\n  mode http\n  bind :80\n  redirect location /x if { path /y }\n  \
             stats auth anna:$tern\n  stats refresh 5\n  stats scope .\n  http-request set-header A b\n",
        );
        assert_eq!(remarks, [""; 0]);
        let listener = &config.listeners[0];
        assert_eq!(
            keys(listener),
            [
                "set_request_headers",
                "basic_auth",
                "status_page",
                "redirect"
            ]
        );
        let rule = &listener.rules[1];
        assert_eq!(rule.when.value[0].begins, [URI]);
        let auth = rule.actions.basic_auth.as_ref().unwrap();
        assert_eq!(auth.realm.as_str(), REALM);
        assert_eq!(auth.users.iter().next().unwrap().1, "{PLAIN}$tern");
        let page = rule.actions.status_page.as_ref().unwrap();
        assert_eq!(
            (page.refresh, page.scope[0].as_str()),
            (Some(Duration::from_secs(5)), "web")
        );
        assert!(!listener.fallback);
    }

    #[test]
    fn a_section_that_speaks_of_the_page_forgets_its_defaults() {
        let text = "defaults\n  mode http\n  stats uri /all\n  stats hide-version\n\
                    frontend one\n  bind :80\nfrontend two\n  bind :81\n  stats refresh 1s\n\
                    frontend three\n  bind :82\n  mode tcp\n";
        let (config, _) = lowered(text);
        let uri = |at: usize| config.listeners[at].rules[0].when.value[0].begins[0].clone();
        assert_eq!((uri(0).as_str(), uri(1).as_str()), ("/all", URI));
        let hides = |at: usize| {
            let page = config.listeners[at].rules[0].actions.status_page.as_ref();
            page.unwrap().hide_version
        };
        assert!(hides(0) && !hides(1) && config.listeners[2].rules.is_empty());
    }

    #[test]
    fn rights_are_rules_of_their_own() {
        let (config, remarks) = lowered(
            "userlist u\n  user a insecure-password b\nfrontend web\n  mode http\n  bind :80\n  \
             stats http-request deny if { src 10.0.0.1 }\n  stats http-request auth realm R unless { http_auth(u) }\n  \
             stats admin if TRUE\n",
        );
        assert_eq!(remarks, [""; 0]);
        let page = config.listeners[0].rules[2].actions.status_page.as_ref();
        assert!(page.unwrap().admin);
        assert_eq!(
            keys(&config.listeners[0]),
            ["deny", "basic_auth", "status_page"]
        );
    }

    #[test]
    fn sockets_have_their_level_mode_and_time_out() {
        let (config, remarks) = lowered(
            "global\n  stats socket /run/a.sock mode 660 level admin expose-fd listeners\n  stats timeout 2m\n  \
             stats socket ipv4@127.0.0.1:9999,[::1]:9999\n",
        );
        assert_eq!(remarks.len(), 1, "{remarks:?}");
        let sockets = &config.admin.haproxy_sockets;
        let shown: Vec<String> = sockets
            .iter()
            .map(|s| format!("{} {}", s.bind, s.level.name()))
            .collect();
        assert_eq!(
            shown,
            [
                "unix:/run/a.sock,mode=660 admin",
                "127.0.0.1:9999 operator",
                "[::1]:9999 operator"
            ]
        );
        assert!(
            sockets
                .iter()
                .all(|socket| socket.timeout == Duration::from_secs(120))
        );
    }

    #[test]
    fn groups_are_the_users_that_are_in_them() {
        let (config, _) = lowered(
            "userlist u\n  group g users a,c\n  user a insecure-password 1\n  user b insecure-password 2 groups g\n  \
             user c insecure-password 3\n  user d insecure-password 4\nfrontend web\n  mode http\n  bind :80\n  \
             acl in http_auth_group(u) g\n  http-request deny if !in\n",
        );
        let users = &config.listeners[0].rules[0].when.not[0].user;
        let names: Vec<&str> = users.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c"]);
    }
}
