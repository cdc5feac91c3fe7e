//! `upstream` blocks: groups of servers.

use std::time::Duration;

use super::{Directive, Family, Scope, Setting};
use crate::survey::{ServerSurvey, units};

/// A group as it is written.
pub(super) struct Upstream<'a> {
    pub(super) name: String,
    pub(super) family: Family,
    pub(super) directive: &'a Directive,
    pub(super) members: Vec<Member<'a>>,
    /// Idle connections that are kept.
    pub(super) keepalive: Option<Setting<bool>>,
    pub(super) keepalive_idle: Setting<Duration>,
    pub(super) ejection: Option<(Setting<u64>, Setting<Duration>)>,
    /// What is around it, and itself.
    pub(super) scope: Scope<'a>,
}

/// A server with how it is written.
pub(super) struct Member<'a> {
    pub(super) server: ServerSurvey,
    pub(super) directive: &'a Directive,
    pub(super) has_port: bool,
}

impl Member<'_> {
    /// The value of `name=value`.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        let mut texts = self.directive.texts().skip(1);
        texts.find_map(|text| text.strip_prefix(name)?.strip_prefix('='))
    }

    /// Whether it is looked up again while running.
    pub(super) fn is_resolved(&self) -> bool {
        self.directive.texts().any(|text| text == "resolve")
    }
}

impl<'a> Upstream<'a> {
    pub(super) fn read(directive: &'a Directive, scope: &Scope<'a>, family: Family) -> Self {
        let servers = directive.inner().iter().filter(|found| found.is("server"));
        let members: Vec<_> = servers.map(|server| member(server, family)).collect();
        let own = |name: &str| directive.inner().iter().rev().find(|found| found.is(name));
        let keepalive = own("keepalive").map(|found| {
            let is_on = found.argument(0).is_some_and(|count| count != "0");
            Setting::written("keepalive", is_on, found.origin())
        });
        // The directive of the same name in `http` is about clients.
        let idle = own("keepalive_timeout").and_then(|found| {
            let time = units::nginx_time(found.argument(0)?)?;
            Some(Setting::written("keepalive_timeout", time, found.origin()))
        });
        Self {
            name: directive.argument(0).unwrap_or_default().to_owned(),
            family,
            directive,
            ejection: ejection(&members),
            members,
            keepalive,
            keepalive_idle: idle
                .unwrap_or_else(|| Setting::by_default("keepalive_timeout", super::MINUTE)),
            scope: scope.inside(directive.inner()),
        }
    }

    /// The server that makes every lookup happen again, where there is one.
    pub(super) fn resolved(&self) -> Option<&Member<'a>> {
        self.members.iter().find(|member| member.is_resolved())
    }
}

fn member(directive: &Directive, family: Family) -> Member<'_> {
    let written = directive.argument(0).unwrap_or_default();
    let (host, port) = units::host_and_port(written);
    let says = |word: &str| directive.texts().skip(1).any(|text| text == word);
    let socket = written.strip_prefix("unix:");
    // Port 80 where none is written, whatever is spoken.
    let usual = if family == Family::Http { 80 } else { 0 };
    let mut member = Member {
        server: ServerSurvey {
            name: written.to_owned(),
            origin: Some(directive.origin()),
            host: socket.map_or(host, str::to_owned),
            port: match (socket, port) {
                (Some(_), _) => 0,
                (None, 0) => usual,
                (None, port) => port,
            },
            is_unix: socket.is_some(),
            backup: says("backup"),
            down: says("down"),
            maxconn: 0,
            is_checked: false,
        },
        directive,
        has_port: port != 0,
    };
    let maxconn = member.parameter("max_conns");
    member.server.maxconn = maxconn.and_then(|count| count.parse().ok()).unwrap_or(0);
    member
}

/// After how many failures a server is left out, and for how long: as the first server says that
/// is used. One server alone, down ones counted, is never left out, unless its name has several addresses.
fn ejection(members: &[Member<'_>]) -> Option<(Setting<u64>, Setting<Duration>)> {
    let first = members.iter().find(|member| !member.server.down)?;
    let is_alone =
        members.len() == 1 && (first.server.is_unix || units::is_address(&first.server.host));
    if is_alone {
        return None;
    }
    let origin = first.directive.origin();
    let fails = first
        .parameter("max_fails")
        .and_then(|text| text.parse().ok());
    let time = first.parameter("fail_timeout").and_then(units::nginx_time);
    let fails = match fails {
        Some(0) => return None,
        Some(fails) => Setting::written("max_fails", fails, origin.clone()),
        None => Setting::by_default("max_fails", 1),
    };
    let time = match time {
        Some(time) => Setting::written("fail_timeout", time, origin),
        None => Setting::by_default("fail_timeout", Duration::from_secs(10)),
    };
    Some((fails, time))
}
