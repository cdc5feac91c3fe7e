//! Runtime commands: which there are, who may use them, and what a line means.

use std::sync::Arc;
use std::time::Duration;

use clearway_config::model::RuntimeLevel;

use super::{change, info, rows, show, tables};
use crate::state::State;

/// What is said to those who may not.
pub(super) const DENIED: &str = "Permission denied\n";

/// One connection.
pub(super) struct Session {
    pub(super) state: Arc<State>,
    pub(super) level: RuntimeLevel,
    pub(super) timeout: Duration,
    /// Whether line after line is answered, behind a prompt.
    pub(super) is_prompting: bool,
    /// Whether nothing more is to be answered.
    pub(super) is_over: bool,
}

impl Session {
    pub(super) fn new(state: Arc<State>, level: RuntimeLevel, timeout: Duration) -> Self {
        Self {
            state,
            level,
            timeout,
            is_prompting: false,
            is_over: false,
        }
    }

    fn lower(&mut self, to: RuntimeLevel) {
        if rank(to) < rank(self.level) {
            self.level = to;
        }
    }
}

pub(super) fn rank(level: RuntimeLevel) -> u8 {
    match level {
        RuntimeLevel::User => 0,
        RuntimeLevel::Operator => 1,
        RuntimeLevel::Admin => 2,
    }
}

/// Commands with what they do and the level that they need, in the order in which they are listed.
const COMMANDS: &[(&str, &str, RuntimeLevel)] = &[
    (
        "add server <bk>/<srv> <addr> [<words>]",
        "add a server, which begins in maintenance",
        RuntimeLevel::Admin,
    ),
    (
        "clear counters [all]",
        "forget highest values, or all counters",
        RuntimeLevel::Operator,
    ),
    (
        "clear table <table> [<filter>]",
        "remove entries of a stick table",
        RuntimeLevel::Operator,
    ),
    (
        "del server <bk>/<srv>",
        "take out a server that is in maintenance",
        RuntimeLevel::Admin,
    ),
    (
        "disable frontend <frontend>",
        "stop accepting connections",
        RuntimeLevel::Admin,
    ),
    (
        "disable server <bk>/<srv>",
        "put a server into maintenance",
        RuntimeLevel::Admin,
    ),
    (
        "enable frontend <frontend>",
        "accept connections again",
        RuntimeLevel::Admin,
    ),
    (
        "enable server <bk>/<srv>",
        "bring a server back",
        RuntimeLevel::Admin,
    ),
    (
        "get weight <bk>/<srv>",
        "tell a server's weight",
        RuntimeLevel::User,
    ),
    (
        "operator",
        "give up the rights of an administrator",
        RuntimeLevel::User,
    ),
    (
        "set maxconn frontend <frontend> <n>",
        "limit connections",
        RuntimeLevel::Admin,
    ),
    (
        "set maxconn server <bk>/<srv> <n>",
        "limit requests to a server",
        RuntimeLevel::Admin,
    ),
    (
        "set server <bk>/<srv> [opts]",
        "change state, weight or address",
        RuntimeLevel::Admin,
    ),
    (
        "set table <table> key <k> [data.* <v>]",
        "add or change an entry of a stick table",
        RuntimeLevel::Operator,
    ),
    (
        "set timeout cli <delay>",
        "change this connection's time-out",
        RuntimeLevel::User,
    ),
    (
        "set weight <bk>/<srv> <n>[%]",
        "change a server's weight",
        RuntimeLevel::Admin,
    ),
    ("show acl", "list lists of patterns", RuntimeLevel::Operator),
    (
        "show activity",
        "counters of the workers",
        RuntimeLevel::Operator,
    ),
    ("show backend", "list backends", RuntimeLevel::User),
    ("show cache", "list what caches keep", RuntimeLevel::User),
    (
        "show cli level",
        "tell what may be done here",
        RuntimeLevel::User,
    ),
    (
        "show cli sockets",
        "list these sockets",
        RuntimeLevel::Operator,
    ),
    (
        "show env",
        "environment variables, of which none are shown",
        RuntimeLevel::Operator,
    ),
    (
        "show errors [<px>]",
        "the last failed requests",
        RuntimeLevel::Operator,
    ),
    (
        "show info [json|typed]",
        "what is known of the process",
        RuntimeLevel::User,
    ),
    ("show map", "list maps", RuntimeLevel::Operator),
    (
        "show peers",
        "list peers, of which there are none",
        RuntimeLevel::User,
    ),
    ("show pools", "memory in pools", RuntimeLevel::User),
    ("show resolvers", "list resolvers", RuntimeLevel::User),
    (
        "show servers conn [<backend>]",
        "connections to servers",
        RuntimeLevel::User,
    ),
    (
        "show servers state [<backend>]",
        "states of servers",
        RuntimeLevel::User,
    ),
    (
        "show sess",
        "list sessions, of which none are kept",
        RuntimeLevel::Operator,
    ),
    ("show ssl cert", "list certificates", RuntimeLevel::Operator),
    (
        "show stat [json|no-maint|typed|up]",
        "counters of listeners, servers and backends",
        RuntimeLevel::User,
    ),
    (
        "show table [<table> ...]",
        "list stick tables, or the entries of one",
        RuntimeLevel::User,
    ),
    ("show version", "tell the version", RuntimeLevel::User),
    (
        "shutdown frontend <frontend>",
        "stop accepting connections for good",
        RuntimeLevel::Admin,
    ),
    ("user", "give up all rights but to look", RuntimeLevel::User),
];

/// Commands of HAProxy for which there is nothing here, with the reason.
const MISSING: &[(&str, &str)] = &[
    (
        "add acl",
        "Unknown ACL identifier. Please use #<id> or <file>.\n",
    ),
    (
        "add map",
        "Unknown map identifier. Please use #<id> or <file>.\n",
    ),
    (
        "clear acl",
        "Unknown ACL identifier. Please use #<id> or <file>.\n",
    ),
    (
        "clear map",
        "Unknown map identifier. Please use #<id> or <file>.\n",
    ),
    (
        "commit ssl",
        "Certificates are read again when their files change.\n",
    ),
    (
        "del acl",
        "Unknown ACL identifier. Please use #<id> or <file>.\n",
    ),
    (
        "del map",
        "Unknown map identifier. Please use #<id> or <file>.\n",
    ),
    (
        "disable agent",
        "agent checks are not enabled on this server.\n",
    ),
    (
        "disable health",
        "Health checks are a setting of the configuration, which can be reloaded.\n",
    ),
    (
        "enable agent",
        "agent checks are not enabled on this server.\n",
    ),
    (
        "enable health",
        "Health checks are a setting of the configuration, which can be reloaded.\n",
    ),
    (
        "get acl",
        "Unknown ACL identifier. Please use #<id> or <file>.\n",
    ),
    (
        "get map",
        "Unknown map identifier. Please use #<id> or <file>.\n",
    ),
    (
        "set map",
        "Unknown map identifier. Please use #<id> or <file>.\n",
    ),
    (
        "set maxconn global",
        "There is no limit for the whole process; use 'set maxconn frontend'.\n",
    ),
    (
        "set rate-limit",
        "There are no limits of rates for the whole process.\n",
    ),
    (
        "set ssl",
        "Certificates are read again when their files change.\n",
    ),
    ("shutdown session", "Sessions cannot be ended one by one.\n"),
];

/// The commands of a line, parted by semicolons; `\;` is one that parts nothing.
pub(super) fn split(line: &str) -> Vec<String> {
    let (mut all, mut text) = (Vec::new(), String::new());
    let mut chars = line.chars().peekable();
    while let Some(next) = chars.next() {
        match next {
            ';' => all.push(std::mem::take(&mut text)),
            '\\' if chars.peek() == Some(&';') => text.extend(chars.next()),
            _ => text.push(next),
        }
    }
    all.push(text);
    all
}

/// Does what a command says; its answer.
pub(super) async fn run(session: &mut Session, text: &str) -> String {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    match words.as_slice() {
        ["quit"] => {
            session.is_over = true;
            return String::new();
        }
        ["prompt", ..] => {
            session.is_prompting = !session.is_prompting;
            return String::new();
        }
        ["help", ..] => {
            return listed(
                "The following commands are valid at this level:",
                &words[1..],
                session,
            );
        }
        ["user"] => {
            session.lower(RuntimeLevel::User);
            return String::new();
        }
        ["operator"] => {
            session.lower(RuntimeLevel::Operator);
            return String::new();
        }
        // Only an empty line in between is nothing to complain about.
        [] if session.is_prompting => return String::new(),
        _ => {}
    }
    let Some(level) = level_of(&words) else {
        return unknown(&words, session);
    };
    if rank(level) > rank(session.level) {
        return DENIED.to_owned();
    }
    let found = match words.as_slice() {
        ["show", rest @ ..] => shown(session, rest),
        ["set", "table", rest @ ..] => Some(tables::set(&session.state, rest)),
        ["clear", "table", rest @ ..] => Some(tables::clear(&session.state, rest)),
        ["set", "timeout", "cli", time, ..] => Some(timeout(session, time)),
        _ => None,
    };
    if let Some(answer) = found {
        return answer;
    }
    if let Some(answer) = change::run(&session.state, &words).await {
        return answer;
    }
    let begins = |name: &str| {
        let mut names = name.split(' ').zip(&words);
        names.all(|(name, word)| word == &name || (name == "session" && *word == "sessions"))
            && words.len() >= name.split(' ').count()
    };
    match MISSING.iter().rev().find(|(name, _)| begins(name)) {
        Some((_, why)) => (*why).to_owned(),
        None => unknown(&words, session),
    }
}

/// The level that a command needs; none where there is no such command.
fn level_of(words: &[&str]) -> Option<RuntimeLevel> {
    let fits = |name: &str| {
        let plain = name
            .split(' ')
            .take_while(|word| !word.starts_with(['<', '[']));
        let plain: Vec<&str> = plain.collect();
        words.starts_with(&plain)
    };
    let known = COMMANDS.iter().find(|(name, ..)| fits(name));
    let known = known.map(|(_, _, level)| *level);
    let missing = || {
        let begins = |name: &str| {
            let mut pairs = name.split(' ').zip(words);
            words.len() >= name.split(' ').count()
                && pairs.all(|(a, b)| a == *b || (a == "session" && *b == "sessions"))
        };
        let found = MISSING.iter().any(|(name, _)| begins(name));
        found.then_some(RuntimeLevel::Admin)
    };
    known.or_else(missing)
}

fn shown(session: &Session, words: &[&str]) -> Option<String> {
    let state = &session.state;
    Some(match words {
        ["stat", rest @ ..] => show::statistics(state, rest),
        ["info", rest @ ..] => info::show(state, rest),
        ["servers", "state", rest @ ..] => show::servers_state(state, rest.first().copied()),
        ["servers", "conn", rest @ ..] => show::servers_connections(state, rest.first().copied()),
        ["cache", ..] => show::caches(state),
        ["backend", ..] => {
            let plan = state.plan();
            let names = rows::proxies(&plan, &state.config());
            let names = names.iter().filter(|proxy| proxy.backend.is_some());
            let names: String = names.map(|proxy| format!("{}\n", proxy.name)).collect();
            format!("# name\n{names}")
        }
        ["errors", rest @ ..] => show::errors(state, rest.first().copied()),
        ["version", ..] => format!("{}\n", env!("CARGO_PKG_VERSION")),
        ["cli", "level", ..] => format!("{}\n", session.level.name()),
        ["cli", "sockets", ..] => show::sockets(state),
        ["map"] | ["acl"] => "# id (file) description\n".to_owned(),
        ["map", ..] => "Unknown map identifier. Please use #<id> or <file>.\n".to_owned(),
        ["acl", ..] => "Unknown ACL identifier. Please use #<id> or <file>.\n".to_owned(),
        ["table", rest @ ..] => tables::show(state, session.level, rest),
        ["sess" | "env" | "peers" | "resolvers"] => String::new(),
        ["sess", "all"] => String::new(),
        ["sess", ..] => "Session not found.\n".to_owned(),
        ["env", ..] => "Variable not found\n".to_owned(),
        ["ssl", "cert", rest @ ..] => show::certificates(state, rest.first().copied()),
        ["pools", ..] => "Total: 0 pools, 0 bytes allocated, 0 used.\n".to_owned(),
        ["activity", ..] => show::activity(state),
        _ => return None,
    })
}

fn timeout(session: &mut Session, text: &str) -> String {
    let split = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(split).unwrap_or((text, ""));
    let seconds = match unit {
        "" | "s" => Some(1),
        "m" => Some(60),
        "h" => Some(3_600),
        _ => None,
    };
    let time = number.parse::<u64>().ok().zip(seconds);
    match time.and_then(|(number, unit)| number.checked_mul(unit)) {
        Some(time) if (1..=86_400).contains(&time) => {
            session.timeout = Duration::from_secs(time);
            String::new()
        }
        _ => "Invalid timeout value.\n".to_owned(),
    }
}

/// The answer to what is no command: those that begin alike, or all.
fn unknown(words: &[&str], session: &Session) -> String {
    let first = words.first().copied().unwrap_or_default();
    let near = COMMANDS
        .iter()
        .any(|(name, ..)| name.split(' ').next() == Some(first));
    let title = match near {
        true => "Unknown command, but maybe one of the following ones is a better match:",
        false => "Unknown command. Please enter one of the following commands only:",
    };
    let begin: &[&str] = if near { &words[..1] } else { &[] };
    listed(title, begin, session)
}

fn listed(title: &str, begin: &[&str], session: &Session) -> String {
    let mut out = format!("{title}\n");
    let fits = |name: &str| name.split(' ').zip(begin).all(|(a, b)| a == *b);
    let allowed = COMMANDS
        .iter()
        .filter(|(name, _, level)| rank(*level) <= rank(session.level) && fits(name));
    for (name, what, _) in allowed {
        out.push_str(&format!("  {name:<40}: {what}\n"));
    }
    for (name, what) in [
        ("help [<command>]", "list these commands"),
        ("prompt", "answer line after line, behind a prompt"),
        ("quit", "end the connection"),
    ] {
        out.push_str(&format!("  {name:<40}: {what}\n"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_parted_at_semicolons() {
        assert_eq!(split("show info;show stat"), ["show info", "show stat"]);
        assert_eq!(split(r"set map x a\;b"), ["set map x a;b"]);
        assert_eq!(split(""), [""]);
    }

    #[test]
    fn commands_need_their_level() {
        assert_eq!(
            level_of(&["show", "stat", "typed"]),
            Some(RuntimeLevel::User)
        );
        assert_eq!(
            level_of(&["disable", "server", "a/b"]),
            Some(RuntimeLevel::Admin)
        );
        assert_eq!(level_of(&["add", "map", "x"]), Some(RuntimeLevel::Admin));
        assert_eq!(
            level_of(&["shutdown", "sessions", "server"]),
            Some(RuntimeLevel::Admin)
        );
        assert_eq!(level_of(&["show"]), None);
        assert_eq!(level_of(&["bogus"]), None);
    }
}
