//! Which server of an address a request is for: names in the order in which NGINX compares them.

use clearway_base::hash::Set;
use clearway_rules::ast::Fetch;

use super::server::Server;
use super::values::Names;
use crate::lower::build::{all_of, not, one_of, rule, test_of, value};
use crate::model::{
    Actions, Condition, HostPattern, Pairs, RegexText, Rule, TemplateText, Token, ValueTest,
};
use crate::value::Text;

/// The servers whose turn came before.
#[derive(Default)]
pub(super) struct Before {
    hosts: Vec<HostPattern>,
    conditions: Vec<Condition>,
}

impl Before {
    pub(super) fn add(&mut self, turn: &Turn) {
        if turn.condition == Condition::default() {
            self.hosts.extend(turn.hosts.iter().cloned());
        } else {
            self.conditions.push(host_condition(turn));
        }
    }

    /// That a request is for a server, and for none before it. Whole names come first and each stands for one
    /// server, so nothing before them has to be ruled out.
    pub(super) fn and_now(&self, turn: &Turn) -> Condition {
        let own = host_condition(turn);
        if !turn.hosts.is_empty() && !turn.is_wild {
            return own;
        }
        let mut all = vec![own];
        if !self.hosts.is_empty() {
            let mut hosts = Condition::default();
            hosts.matching.host.clone_from(&self.hosts);
            all.push(not(hosts));
        }
        all.extend(self.conditions.iter().cloned().map(not));
        all_of(all)
    }
}

/// What decides that a request is for a server, as a condition of a rule.
fn host_condition(turn: &Turn) -> Condition {
    let mut condition = turn.condition.clone();
    if !turn.hosts.is_empty() {
        let mut hosts = Condition::default();
        hosts.matching.host.clone_from(&turn.hosts);
        condition = all_of(vec![condition, hosts]);
    }
    condition
}

/// A condition that always holds, for what patterns of its names capture: texts may name groups by number.
pub(super) fn numbered(server: &Server<'_>, turn: &Turn) -> Option<Condition> {
    if turn.condition != Condition::default() || !turn.hosts.is_empty() {
        return None;
    }
    let patterns = server
        .hosts
        .iter()
        .filter_map(|name| name.strip_prefix('~'));
    let with_groups = patterns.filter(|pattern| pattern.contains('('));
    let regex: Vec<RegexText> = with_groups
        .filter_map(|p| RegexText::parse(p).ok())
        .collect();
    if regex.is_empty() {
        return None;
    }
    let fits = value(ValueTest {
        regex,
        ignore_case: true,
        ..test_of(&Fetch::Host)
    });
    Some(one_of(vec![fits, Condition::default()]))
}

/// What groups of patterns of its names a server keeps.
pub(super) fn captured(server: &Server<'_>, turn: &Turn, before: &Before) -> Vec<Rule> {
    let mut rules = Vec::new();
    for pattern in turn.patterns(server) {
        let mut own = Names::default();
        own.learn_groups(pattern);
        let pair = |(name, group): (&String, &u8)| {
            let text = TemplateText::parse(&format!("${group}")).ok()?;
            Some((Token::parse(name).ok()?, text))
        };
        let pairs: Vec<_> = own.groups.iter().filter_map(pair).collect();
        let (Ok(regex), false) = (RegexText::parse(pattern), pairs.is_empty()) else {
            continue;
        };
        let fits = value(ValueTest {
            regex: vec![regex],
            ignore_case: true,
            ..test_of(&Fetch::Host)
        });
        let actions = Actions {
            set_variables: Pairs(pairs),
            ..Actions::default()
        };
        let when = all_of(vec![before.and_now(turn), fits]);
        let origin = server.directive.origin();
        rules.push(rule(when, actions, "set_variables", &origin));
    }
    rules
}

/// A server in the order in which names are compared.
pub(super) struct Turn {
    pub(super) member: usize,
    pub(super) hosts: Vec<HostPattern>,
    /// Whether names that end like this one are meant.
    is_wild: bool,
    pub(super) condition: Condition,
    /// The pattern that chose it.
    pattern: Option<String>,
}

impl Turn {
    /// A server that is chosen by a condition alone.
    fn by(member: usize, condition: Condition) -> Self {
        Self {
            member,
            hosts: Vec::new(),
            is_wild: false,
            condition,
            pattern: None,
        }
    }

    /// Patterns whose groups are kept: the one that chose a server, and all of one that stands alone.
    fn patterns<'a>(&'a self, server: &'a Server<'_>) -> Vec<&'a str> {
        if let Some(pattern) = &self.pattern {
            return vec![pattern];
        }
        if self.condition != Condition::default() || !self.hosts.is_empty() {
            return Vec::new();
        }
        let names = server.hosts.iter();
        names.filter_map(|name| name.strip_prefix('~')).collect()
    }
}

/// Names of all servers of an address, by the way in which they are compared, each with the place of its server.
#[derive(Default)]
struct Sorted {
    exact: Vec<(usize, Vec<HostPattern>)>,
    /// `*.name`
    wild: Vec<(usize, String)>,
    /// `name.*`
    tails: Vec<(usize, String)>,
    patterns: Vec<(usize, String)>,
}

impl Sorted {
    fn of(members: &[&Server<'_>]) -> Self {
        let is_plain =
            |name: &str| !name.contains('*') && !name.starts_with('~') && !name.starts_with('.');
        let mut sorted = Self::default();
        // Of servers with the same name the first has it.
        let mut taken: Set<String> = Set::default();
        for (member, server) in members.iter().enumerate() {
            let mut exact: Vec<HostPattern> = Vec::new();
            let mut whole = |name: &str| {
                let is_new = taken.insert(name.to_ascii_lowercase());
                HostPattern::parse(name).ok().filter(|_| is_new)
            };
            for name in &server.hosts {
                if let Some(domain) = name.strip_prefix('.') {
                    // Such a name counts as a whole: where the domain has a server already, neither half is taken.
                    if let Some(name) = whole(domain) {
                        exact.push(name);
                        sorted.wild.push((member, format!("*.{domain}")));
                    }
                } else if is_plain(name) {
                    exact.extend(whole(name));
                } else if name.starts_with("*.") {
                    sorted.wild.push((member, name.clone()));
                } else if let Some(pattern) = name.strip_prefix('~') {
                    sorted.patterns.push((member, pattern.to_owned()));
                } else if let Some(begin) = name.strip_suffix(".*") {
                    sorted.tails.push((member, begin.to_owned()));
                }
            }
            if !exact.is_empty() {
                sorted.exact.push((member, exact));
            }
        }
        let longest = |(_, name): &(usize, String)| usize::MAX - name.len();
        sorted.wild.sort_by_key(longest);
        sorted.tails.sort_by_key(longest);
        sorted
    }
}

/// Exact names, then `*.name` with the longest first, then `name.*`, then patterns, then the default.
pub(super) fn turns(members: &[&Server<'_>]) -> Vec<Turn> {
    let default = Turn::by(0, Condition::default());
    if members.len() == 1 {
        return vec![default];
    }
    let sorted = Sorted::of(members);
    let mut turns = Vec::new();
    for (member, hosts) in sorted.exact {
        turns.push(Turn {
            hosts,
            ..Turn::by(member, Condition::default())
        });
    }
    for (member, name) in sorted.wild {
        turns.push(Turn {
            hosts: HostPattern::parse(&name).into_iter().collect(),
            is_wild: true,
            ..Turn::by(member, Condition::default())
        });
    }
    let host = || test_of(&Fetch::Host);
    // Servers for requests that name no host.
    let nameless = members.iter().enumerate();
    let nameless = nameless.filter(|(_, server)| server.hosts.iter().any(String::is_empty));
    turns.extend(nameless.map(|(member, _)| {
        let none = ValueTest {
            is: vec![String::new()],
            ..host()
        };
        Turn::by(member, value(none))
    }));
    for (member, begin) in sorted.tails {
        let begins = ValueTest {
            begins: vec![format!("{begin}.")],
            ..host()
        };
        turns.push(Turn::by(member, value(begins)));
    }
    for (member, pattern) in sorted.patterns {
        let Ok(regex) = RegexText::parse(&pattern) else {
            continue;
        };
        let fits = ValueTest {
            regex: vec![regex],
            ignore_case: true,
            ..host()
        };
        turns.push(Turn {
            pattern: Some(pattern),
            ..Turn::by(member, value(fits))
        });
    }
    turns.push(default);
    turns
}
