//! Health checks of a group.

use std::time::Duration;

use super::super::{CheckKind, CheckSurvey, Setting, units};
use super::backend::Member;
use super::parameters::Parameters;
use super::{Line, Scope};
use crate::diagnostic::Origin;

/// Options that say what a check does.
const KINDS: &[&str] = &[
    "httpchk",
    "tcp-check",
    "ssl-hello-chk",
    "mysql-check",
    "pgsql-check",
    "redis-check",
    "ldap-check",
    "smtpchk",
    "external-check",
    "spop-check",
];

/// The option that says what is checked.
pub(super) fn option<'a>(scope: &Scope<'a>) -> Option<&'a Line> {
    let at = |line: &Line| usize::from(line.word(0) == "no");
    let found = scope.find_by(|line| {
        line.word(at(line)) == "option" && KINDS.contains(&line.word(at(line) + 1))
    })?;
    Some(found).filter(|line| line.word(0) == "option")
}

/// The checks, as the first server has them that is checked.
pub(super) fn read(scope: &Scope<'_>, members: &[Member<'_>]) -> Option<CheckSurvey> {
    let member = members
        .iter()
        .find(|member| member.parameters.has("check"))?;
    let parameters = &member.parameters;
    let option = option(scope);
    let request = Request::read(scope, option);
    let count = |name: &'static str, default: u64| {
        let found = parameters.find(name);
        let read = found.and_then(|found| {
            let count = found.value.parse().ok()?;
            Some(Setting::written(name, count, found.origin.clone()))
        });
        read.unwrap_or_else(|| Setting::by_default(name, default))
    };
    let inter = interval(members);
    let timeout = scope.timeout("timeout check");
    Some(CheckSurvey {
        kind: kind(scope, option),
        method: request.method,
        path: request.path,
        host: request.host,
        expect: expect(scope),
        port: port(scope, parameters),
        tls: tls(scope, parameters, option),
        proxy_header: proxy_header(parameters),
        timeout: if timeout.origin.is_some() {
            timeout
        } else {
            Setting {
                value: Some(inter.value),
                name: inter.name,
                origin: inter.origin.clone(),
            }
        },
        interval: inter,
        fall: count("fall", 3),
        rise: count("rise", 2),
    })
}

/// Time between two checks, as the first server has it that says so.
pub(super) fn interval(members: &[Member<'_>]) -> Setting<Duration> {
    let mut found = members.iter().filter_map(|member| {
        let found = member.parameters.find("inter")?;
        let time = units::haproxy_time(found.value)?;
        Some(Setting::written("inter", time, found.origin.clone()))
    });
    let default = || Setting::by_default("inter", Duration::from_secs(2));
    found.next().unwrap_or_else(default)
}

fn kind(scope: &Scope<'_>, option: Option<&Line>) -> Setting<CheckKind> {
    let Some(line) = option else {
        return Setting::by_default("check", CheckKind::Tcp);
    };
    let has_steps = scope.find_by(|line| {
        line.word(0) == "tcp-check" && matches!(line.word(1), "send" | "send-binary" | "expect")
    });
    let (name, kind) = match line.word(1) {
        "httpchk" => ("option httpchk", CheckKind::Http),
        "tcp-check" if has_steps.is_none() => ("option tcp-check", CheckKind::Tcp),
        "tcp-check" => ("option tcp-check", CheckKind::Other),
        _ => ("option", CheckKind::Other),
    };
    Setting::written(name, kind, line.origin())
}

struct Request {
    method: String,
    path: Setting<String>,
    host: Option<Setting<String>>,
}

impl Request {
    fn read(scope: &Scope<'_>, option: Option<&Line>) -> Self {
        let mut request = Self {
            method: "OPTIONS".to_owned(),
            path: Setting::by_default("option httpchk", "/".to_owned()),
            host: None,
        };
        if let Some(line) = option.filter(|line| line.word(1) == "httpchk") {
            request.of_option(line);
        }
        if let Some(line) = scope.find(&["http-check", "send"]) {
            request.of_send(line);
        }
        request
    }

    /// `option httpchk [METHOD] URI [VERSION]`, where headers were once smuggled in behind the version.
    fn of_option(&mut self, line: &Line) {
        let name = "option httpchk";
        let uri = match (line.word(2), line.word(3)) {
            ("", _) => return,
            (uri, "") => uri,
            (method, uri) => {
                method.clone_into(&mut self.method);
                uri
            }
        };
        self.path = Setting::written(name, uri.to_owned(), line.origin());
        let version = line.texts(4).collect::<Vec<_>>().join(" ");
        let mut lines = version.split(['\r', '\n']);
        let host = lines.find_map(|header| {
            let (key, value) = header.split_once(':')?;
            key.trim()
                .eq_ignore_ascii_case("host")
                .then(|| value.trim().to_owned())
        });
        self.host = host.map(|host| Setting::written(name, host, line.origin()));
    }

    fn of_send(&mut self, line: &Line) {
        let name = "http-check send";
        let mut words = line.texts(2);
        while let Some(word) = words.next() {
            let mut value = || words.next().unwrap_or_default().to_owned();
            match word {
                "meth" => self.method = value(),
                "uri" | "uri-lf" => self.path = Setting::written(name, value(), line.origin()),
                "hdr" => {
                    let key = value();
                    let value = value();
                    if key.eq_ignore_ascii_case("host") {
                        self.host = Some(Setting::written(name, value, line.origin()));
                    }
                }
                _ => {}
            }
        }
    }
}

fn expect(scope: &Scope<'_>) -> Setting<String> {
    let name = "http-check expect";
    match scope.find(&["http-check", "expect"]) {
        Some(line) => {
            let words = line.texts(2).collect::<Vec<_>>().join(" ");
            let status = words.strip_prefix("status ").map(str::to_owned);
            Setting::written(name, status.unwrap_or(words), line.origin())
        }
        None => Setting::by_default(name, "200-399".to_owned()),
    }
}

fn port(scope: &Scope<'_>, parameters: &Parameters<'_>) -> Option<Setting<u16>> {
    let connect = connect(scope).and_then(|line| {
        let at = line.texts(2).position(|word| word == "port")?;
        Some((line.word(at + 3).parse().ok()?, line.origin()))
    });
    let own = parameters.find("port").and_then(|found| {
        let port: u16 = found.value.parse().ok()?;
        Some((port, found.origin.clone()))
    });
    let (port, origin): (u16, Origin) = connect.or(own)?;
    Some(Setting::written("port", port, origin))
}

/// The rule that opens the check's connection.
fn connect<'a>(scope: &Scope<'a>) -> Option<&'a Line> {
    scope.find_by(|line| {
        matches!(line.word(0), "http-check" | "tcp-check") && line.word(1) == "connect"
    })
}

/// Whether TLS is spoken: when it is asked for, or with the server as long as the check goes to the
/// same place.
pub(super) fn tls(
    scope: &Scope<'_>,
    parameters: &Parameters<'_>,
    option: Option<&Line>,
) -> Setting<bool> {
    if let Some(found) = parameters.find("check-ssl") {
        return Setting::written("check-ssl", true, found.origin.clone());
    }
    if let Some(found) = parameters.find("no-check-ssl") {
        return Setting::written("check-ssl", false, found.origin.clone());
    }
    let rule = connect(scope).filter(|line| line.texts(2).any(|word| word == "ssl"));
    if let Some(line) = rule {
        return Setting::written("check-ssl", true, line.origin());
    }
    if option.is_some_and(|line| line.word(1) == "ssl-hello-chk") {
        return Setting::by_default("check-ssl", true);
    }
    let is_elsewhere = parameters.has("port") || parameters.has("addr");
    Setting::by_default("check-ssl", parameters.has("ssl") && !is_elsewhere)
}

/// The same rule as for TLS.
pub(super) fn proxy_header(parameters: &Parameters<'_>) -> Setting<bool> {
    if let Some(found) = parameters.find("check-send-proxy") {
        return Setting::written("check-send-proxy", true, found.origin.clone());
    }
    let is_elsewhere = parameters.has("port") || parameters.has("addr");
    let sends = parameters.proxy_header().is_some();
    Setting::by_default("check-send-proxy", sends && !is_elsewhere)
}
