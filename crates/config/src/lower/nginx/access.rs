//! Who may: `allow` and `deny`, `auth_basic`, `satisfy`, `limit_except`; and who the client is, where
//! proxies stand in between: `real_ip_header` and what belongs to it.

use std::net::IpAddr;

use clearway_rules::ast::Fetch;
use ipnet::IpNet;

use super::super::notes::Notes;
use super::values::{self, Names};
use super::{absolute, text_of};
use crate::diagnostic::Origin;
use crate::lower::build::{all_of, not, one_of, rule, test_of, value};
use crate::model::{
    Actions, Ask, BasicAuth, ClientFrom, Condition, HeaderName, HeaderValue, Mirror, Pairs, Rule,
    Token, ValueTest,
};
use crate::survey::nginx::scope::Scope;
use crate::syntax::nginx::Directive;
use crate::value::Text;

/// Forms of hashes that are known; what has none of them is one of the old crypt(3).
const HASHES: [&str; 11] = [
    "$1$", "$apr1$", "$2a$", "$2b$", "$2x$", "$2y$", "$5$", "$6$", "{SHA}", "{SSHA}", "{PLAIN}",
];

/// What a place asks of clients before anything answers.
pub(super) fn rules(
    scope: &Scope<'_>,
    block: &[Directive],
    (names, asked): (&Names, bool),
    notes: &mut Notes,
) -> Vec<Rule> {
    let mut rules = Vec::new();
    let except = block.iter().find(|inner| inner.is("limit_except"));
    let Some(except) = except else {
        checks(
            scope,
            &Condition::default(),
            (names, asked),
            &mut rules,
            notes,
        );
        return rules;
    };
    notes.begin(except.origin(), text_of(except));
    for inner in except.inner() {
        let known = [
            "allow",
            "deny",
            "auth_basic",
            "auth_basic_user_file",
            "satisfy",
        ];
        if !known.contains(&inner.name.text.as_str()) {
            notes.begin(inner.origin(), text_of(inner));
            notes.refused("this is not known here for some methods alone");
        }
    }
    let mut methods: Vec<String> = except.texts().map(str::to_owned).collect();
    if methods.iter().any(|method| method == "GET") {
        methods.push("HEAD".to_owned());
    }
    let named = value(ValueTest {
        is: methods,
        ..test_of(&Fetch::Method)
    });
    checks(scope, &named, (names, asked), &mut rules, notes);
    let inner = scope.inside(except.inner());
    checks(&inner, &not(named), (names, asked), &mut rules, notes);
    rules
}

/// The checks of a place, for requests that something holds for.
fn checks(
    scope: &Scope<'_>,
    when: &Condition,
    (names, asked): (&Names, bool),
    rules: &mut Vec<Rule>,
    notes: &mut Notes,
) {
    let list = List::of(scope, notes);
    let auth = auth(scope, notes);
    let any = scope
        .text("satisfy")
        .is_some_and(|found| found.value == "any");
    let ask = question(scope, names, notes);
    // Whoever is asked for another request is asked nothing.
    let first = match asked {
        true => vec![when.clone(), not(is_question())],
        false => vec![when.clone()],
    };
    let mut add = |mut one: Rule| {
        let mut all = first.clone();
        all.push(one.when);
        one.when = all_of(all);
        rules.push(one);
    };
    let allowed = (any && !list.entries.is_empty()).then(|| list.allowed());
    if let Some(mut ask) = ask.filter(|_| any && auth.is_none()) {
        ask.when = allowed.map_or_else(Condition::default, not);
        add(ask);
        return;
    }
    match auth {
        Some((actions, key, origin)) if any => {
            let passes = not(list.allowed());
            let passes = if list.entries.is_empty() {
                Condition::default()
            } else {
                passes
            };
            add(rule(passes, actions, key, &origin));
        }
        auth => {
            for one in list.refusals() {
                add(one);
            }
            if let Some((actions, key, origin)) = auth {
                add(rule(Condition::default(), actions, key, &origin));
            }
            if let Some(ask) = question(scope, names, notes) {
                add(ask);
            }
        }
    }
}

fn is_question() -> Condition {
    value(ValueTest {
        is: vec!["1".to_owned()],
        ..test_of(&Fetch::Variable("question".to_owned()))
    })
}

/// `auth_request` and `auth_request_set`.
fn question(scope: &Scope<'_>, names: &Names, notes: &mut Notes) -> Option<Rule> {
    let directive = scope.find("auth_request")?;
    let path = directive.argument(0).unwrap_or_default();
    if path == "off" {
        return None;
    }
    notes.begin(directive.origin(), text_of(directive));
    let mut ask = Ask {
        path: path.to_owned(),
        ..Ask::default()
    };
    if path.contains('$') {
        notes.refused("whom to ask cannot depend on the request");
        return None;
    }
    for set in scope.all("auth_request_set") {
        notes.begin(set.origin(), text_of(set));
        let name = set.argument(0).unwrap_or_default().trim_start_matches('$');
        let text = values::plain(set.argument(1).unwrap_or_default(), names);
        let name = Token::parse(name).map_err(|problem| problem.message);
        match (name, text) {
            (Ok(name), Ok(text)) => ask.set.0.push((name, text)),
            (Err(message), _) | (_, Err(message)) => notes.refused(message),
        }
    }
    let actions = Actions {
        ask: Some(ask),
        ..Actions::default()
    };
    let origin = directive.origin();
    Some(rule(Condition::default(), actions, "ask", &origin))
}

/// `mirror` and `mirror_request_body`: copies of requests, none of copies.
pub(super) fn mirrors(scope: &Scope<'_>, notes: &mut Notes) -> Option<Rule> {
    let body = scope.flag("mirror_request_body", true).value;
    let mut mirror = Vec::new();
    let mut origin = None;
    for directive in scope.all("mirror") {
        let path = directive.argument(0).unwrap_or_default();
        if path == "off" {
            return None;
        }
        notes.begin(directive.origin(), text_of(directive));
        if path.contains('$') {
            notes.refused("where copies go cannot depend on the request");
            continue;
        }
        origin.get_or_insert_with(|| directive.origin());
        mirror.push(Mirror {
            path: path.to_owned(),
            body,
            ..Mirror::default()
        });
    }
    let actions = Actions {
        mirror,
        ..Actions::default()
    };
    Some(rule(Condition::default(), actions, "mirror", &origin?))
}

/// One `allow` or `deny`.
struct Entry {
    allows: bool,
    who: Condition,
    origin: Origin,
}

/// `allow` and `deny`: the first that fits decides.
#[derive(Default)]
struct List {
    entries: Vec<Entry>,
}

impl List {
    fn of(scope: &Scope<'_>, notes: &mut Notes) -> Self {
        let is_ours = |d: &Directive| d.is("allow") || d.is("deny");
        let mut levels = scope.levels();
        let level = levels.find(|level| level.iter().any(|d| is_ours(d)));
        let mut list = Self::default();
        for directive in level.unwrap_or_default().iter().filter(|d| is_ours(d)) {
            match who(directive.argument(0).unwrap_or_default()) {
                Some(who) => list.entries.push(Entry {
                    allows: directive.is("allow"),
                    who,
                    origin: directive.origin(),
                }),
                None => {
                    let text = directive.argument(0).unwrap_or_default();
                    notes.begin(directive.origin(), text_of(directive));
                    notes.wrong(&directive.origin(), format!("{text:?} is no network"), "");
                }
            }
        }
        list
    }

    /// Clients that an entry fits before one of the other kind does.
    fn first(&self, allows: bool) -> impl Iterator<Item = (Condition, &Origin)> {
        self.entries
            .iter()
            .enumerate()
            .filter_map(move |(at, entry)| {
                if entry.allows != allows {
                    return None;
                }
                let before = self.entries.get(..at).unwrap_or_default();
                let others: Vec<Condition> = before
                    .iter()
                    .filter(|other| other.allows != allows)
                    .map(|other| other.who.clone())
                    .collect();
                let mut all = vec![entry.who.clone()];
                if !others.is_empty() {
                    all.push(not(one_of(others)));
                }
                Some((all_of(all), &entry.origin))
            })
    }

    fn allowed(&self) -> Condition {
        one_of(self.first(true).map(|(who, _)| who).collect())
    }

    fn refusals(&self) -> Vec<Rule> {
        let actions = || Actions {
            deny: Some(403),
            ..Actions::default()
        };
        let refused = self.first(false);
        refused
            .map(|(who, origin)| rule(who, actions(), "deny", origin))
            .collect()
    }
}

/// Whom an entry means.
fn who(text: &str) -> Option<Condition> {
    match text {
        "all" => Some(Condition::default()),
        "unix:" => Some(not(value(test_of(&Fetch::Source)))),
        text => Some(value(ValueTest {
            within: vec![network(text)?],
            ..test_of(&Fetch::Source)
        })),
    }
}

/// A network, or an address as one; a mask may be written as an address.
pub(super) fn network(text: &str) -> Option<IpNet> {
    if let Ok(network) = text.parse::<IpNet>() {
        return Some(network.trunc());
    }
    if let Some((address, mask)) = text.split_once('/') {
        return IpNet::with_netmask(address.parse().ok()?, mask.parse().ok()?)
            .ok()
            .map(|network| network.trunc());
    }
    text.parse::<IpAddr>().ok().map(IpNet::from)
}

/// `auth_basic`: what is done, and the key that asks for it.
fn auth(scope: &Scope<'_>, notes: &mut Notes) -> Option<(Actions, &'static str, Origin)> {
    let directive = scope.find("auth_basic")?;
    let realm = directive.argument(0).unwrap_or_default();
    if realm == "off" {
        return None;
    }
    let file = scope.find("auth_basic_user_file")?;
    notes.begin(directive.origin(), text_of(directive));
    let made = HeaderValue::parse(realm);
    let Some(realm) = made.ok().filter(|_| !realm.contains('$')) else {
        notes.refused("a realm that depends on the request is not known here");
        return None;
    };
    let path = file.argument(0).unwrap_or_default();
    notes.begin(file.origin(), text_of(file));
    if path.contains('$') {
        notes.refused("users by the request are not known here");
        return None;
    }
    notes.equivalent("it is read when the program starts and when it is told to reload");
    let Ok(bytes) = std::fs::read(absolute(path)) else {
        notes.ineffective("the file cannot be read: everybody is refused");
        let actions = Actions {
            deny: Some(403),
            ..Actions::default()
        };
        return Some((actions, "deny", directive.origin()));
    };
    let auth = BasicAuth {
        realm,
        users: Pairs(users(&String::from_utf8_lossy(&bytes), notes)),
        ..BasicAuth::default()
    };
    let actions = Actions {
        basic_auth: Some(auth),
        ..Actions::default()
    };
    Some((actions, "basic_auth", directive.origin()))
}

/// The users of a file as `htpasswd` writes it.
fn users(text: &str, notes: &mut Notes) -> Vec<(HeaderValue, String)> {
    let mut users: Vec<(HeaderValue, String)> = Vec::new();
    for line in text.lines() {
        let mut parts = line.split(':');
        let (Some(name), Some(password)) = (parts.next(), parts.next()) else {
            continue;
        };
        if name.is_empty() || name.starts_with('#') {
            continue;
        }
        if !HASHES.iter().any(|begin| password.starts_with(begin)) {
            notes.ineffective(format!(
                "the password of {name} has a form that is not known: the user is left out"
            ));
            continue;
        }
        // Of several lines about one user the first counts.
        let is_new = users.iter().all(|(known, _)| known.as_str() != name);
        if let Some(name) = HeaderValue::parse(name).ok().filter(|_| is_new) {
            users.push((name, password.to_owned()));
        }
    }
    users
}

/// `set_real_ip_from`, `real_ip_header`, `real_ip_recursive`; and who connected, where a PROXY header
/// would else name the client.
pub(super) fn real_ip(scope: &Scope<'_>, notes: &mut Notes) -> Option<Rule> {
    let written = scope.all("set_real_ip_from");
    let first = written.first()?;
    let mut from = ClientFrom {
        recursive: scope.flag("real_ip_recursive", false).value,
        ..ClientFrom::default()
    };
    for directive in &written {
        let text = directive.argument(0).unwrap_or_default();
        match network(text) {
            Some(network) => from.trusted.push(network),
            None if text == "unix:" => from.trusted_unix = true,
            None => {
                notes.begin(directive.origin(), text_of(directive));
                let found = std::net::ToSocketAddrs::to_socket_addrs(&(text, 0));
                let before = from.trusted.len();
                let found = found.into_iter().flatten();
                from.trusted
                    .extend(found.map(|address| IpNet::from(address.ip())));
                if from.trusted.len() == before {
                    notes.wrong(&directive.origin(), format!("{text:?} is no network"), "");
                }
            }
        }
    }
    let header = scope.text("real_ip_header").map(|found| found.value);
    match header.as_deref().unwrap_or("X-Real-IP") {
        "proxy_protocol" => from.proxy_header = true,
        name => match HeaderName::parse(name) {
            Ok(name) => from.header = Some(name),
            Err(problem) => {
                notes.begin(first.origin(), text_of(first));
                notes.wrong(&first.origin(), problem.message, "");
                return None;
            }
        },
    }
    let actions = Actions {
        client_from: Some(from),
        ..Actions::default()
    };
    let origin = first.origin();
    Some(rule(Condition::default(), actions, "client_from", &origin))
}

/// Who connected is the client, whatever a PROXY header says.
pub(super) fn connected(origin: &Origin) -> Rule {
    let actions = Actions {
        client_from: Some(ClientFrom::default()),
        ..Actions::default()
    };
    rule(Condition::default(), actions, "client_from", origin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_have_prefixes_and_masks() {
        for (text, wanted) in [
            ("10.0.0.1", Some("10.0.0.1/32")),
            ("10.1.2.3/8", Some("10.0.0.0/8")),
            ("10.1.2.3/255.255.0.0", Some("10.1.0.0/16")),
            ("2001:db8::/32", Some("2001:db8::/32")),
            ("300.1.1.1", None),
            ("here", None),
        ] {
            let found = network(text).map(|network| network.to_string());
            assert_eq!(found.as_deref(), wanted, "{text}");
        }
    }
}
