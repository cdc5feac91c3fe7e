//! From data to something that runs: names resolved, patterns compiled, mistakes found.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use clearway_base::intern::Name;

use crate::ast::{Condition, Definitions, Fetch, Map, Piece, Since, Template, Test};
use crate::convert::Converter;
use crate::fetch::{Source, Text};
use crate::limit::Budget;
use crate::map::MapTable;
use crate::matcher::{Check, Matcher, Networks};
use crate::scratch::CAPTURES;
use crate::table::{COUNTERS_MAX, Table, What};
use crate::users::Users;

/// A mistake in a rule or route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompileError {
    /// Which rule or route, from 0.
    pub rule: usize,
    /// Which of the rule's actions, from 0; none when it is the condition.
    pub action: Option<usize>,
    /// A sentence without full stop.
    pub message: String,
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for CompileError {}

/// What was found out about a thing while compiling it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    /// The first fetch in it that exists only once there is a response.
    pub(crate) response: Option<String>,
    /// It captures groups.
    pub(crate) captures: bool,
    /// It looks at what a client says to begin TLS.
    pub(crate) hello: bool,
}

/// Compiles the parts of rules. What it finds out about them gathers in [`Compiler::needs`].
pub(crate) struct Compiler<'d> {
    definitions: &'d Definitions,
    maps: BTreeMap<String, (Arc<MapTable>, Needs)>,
    /// Names of maps and conditions that are being compiled: one that comes again is a circle.
    open: Vec<String>,
    /// Headers are written even when they are empty.
    pub(crate) writes_empty: bool,
    needs: Needs,
}

impl<'d> Compiler<'d> {
    pub(crate) fn new(definitions: &'d Definitions) -> Self {
        Self {
            definitions,
            maps: BTreeMap::new(),
            open: Vec::new(),
            writes_empty: false,
            needs: Needs::default(),
        }
    }

    /// Compiles something and says what it needs.
    pub(crate) fn asking<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> (T, Needs) {
        let before = std::mem::take(&mut self.needs);
        let done = work(self);
        let needs = std::mem::replace(&mut self.needs, before);
        self.join(&needs);
        (done, needs)
    }

    /// Another one for texts that have nothing to do with the rule that is compiled.
    pub(crate) fn apart(&self) -> Self {
        Compiler::new(self.definitions)
    }

    fn join(&mut self, needs: &Needs) {
        if self.needs.response.is_none() {
            self.needs.response.clone_from(&needs.response);
        }
        self.needs.captures |= needs.captures;
        self.needs.hello |= needs.hello;
    }

    pub(crate) fn source(&mut self, fetch: &Fetch) -> Result<Source, String> {
        if let Some((get, argument, since)) = fetch.source() {
            if since == Since::Response && self.needs.response.is_none() {
                self.needs.response = Some(fetch.to_string());
            }
            self.needs.hello |= is_of_hello(fetch);
            return Ok(Source::Listed(get, argument));
        }
        if let Fetch::Capture(group) = fetch {
            return match usize::from(*group) < CAPTURES {
                true => Ok(Source::Capture(*group)),
                false => Err(format!("there is no group {group}")),
            };
        }
        if let Fetch::Variable(name) = fetch {
            let (name, default) = match name.split_once(',') {
                Some((name, default)) => (name.trim(), Some(default.as_bytes().into())),
                None => (name.as_str(), None),
            };
            return Ok(Source::Variable(Name::new(name), default));
        }
        if let Fetch::Map(name) = fetch {
            return self.map(name).map(Source::Map);
        }
        if let Fetch::Converted(fetch, converts) = fetch {
            let source = self.source(fetch)?;
            let definitions = self.definitions;
            let converters: Result<_, String> = converts
                .iter()
                .map(|convert| {
                    let tables = |name: &str| table_of(definitions, name);
                    Converter::new(convert, |name| self.map(name), tables)
                })
                .collect();
            return Ok(Source::Converted(Arc::new((source, converters?))));
        }
        if let Fetch::Tracked(words) = fetch {
            let mut words = words.split(',');
            let counter = words.next().unwrap_or_default();
            let counter = counter_of(counter)?;
            let words: Vec<&str> = words.collect();
            return What::parse(&words).map(|what| Source::Tracked(counter, what));
        }
        if let Fetch::TrackedKey(counter) = fetch {
            return counter_of(counter).map(Source::TrackedKey);
        }
        if let Fetch::TableUsed(name) | Fetch::TableFree(name) = fetch {
            let is_free = matches!(fetch, Fetch::TableFree(_));
            return self
                .table(name)
                .map(|table| Source::Entries(table, is_free));
        }
        let text = fetch.constant().unwrap_or_default();
        Ok(Source::Literal(text.as_bytes().into()))
    }

    pub(crate) fn text(&mut self, template: &Template) -> Result<Text, String> {
        let part = |piece: &Piece| match piece {
            Piece::Text(text) => Ok(Source::Literal(text.as_bytes().into())),
            Piece::Fetch(fetch) => self.source(fetch),
        };
        let parts: Result<_, String> = template.pieces().iter().map(part).collect();
        parts.map(Text::new)
    }

    pub(crate) fn check(&mut self, condition: &Condition) -> Result<Check, String> {
        match condition {
            Condition::Always => Ok(Check::Always),
            Condition::Not(inner) => Ok(Check::Not(Box::new(self.check(inner)?))),
            Condition::All(list) => self.checks(list).map(Check::All),
            Condition::Any(list) => self.checks(list).map(Check::Any),
            Condition::Named(name) => {
                let definitions = self.definitions;
                let Some(condition) = definitions.conditions.get(name) else {
                    return Err(format!("there is no condition {name:?}"));
                };
                self.within(format!("condition {name:?}"), |this| this.check(condition))
            }
            Condition::User(users) => Users::new(users).map(|users| Check::User(Box::new(users))),
            Condition::Test {
                fetch,
                test,
                ignore_case,
            } => self.test(fetch, test, *ignore_case),
        }
    }

    fn checks(&mut self, list: &[Condition]) -> Result<Box<[Check]>, String> {
        list.iter().map(|condition| self.check(condition)).collect()
    }

    fn test(&mut self, fetch: &Fetch, test: &Test, ignore_case: bool) -> Result<Check, String> {
        match (fetch, test) {
            (Fetch::Source, Test::Network(list)) => {
                return Ok(Check::Client(Networks::new(list)));
            }
            (Fetch::Listener, Test::Exact(list)) if !ignore_case => {
                return Ok(Check::Listener(list.iter().map(|n| Name::new(n)).collect()));
            }
            _ => {}
        }
        // The host is compared in lower case, so that is what it has to be compared with.
        let ignore_case = ignore_case || *fetch == Fetch::Host;
        let source = self.source(fetch)?;
        let matcher = Matcher::compile(test, ignore_case)?;
        self.needs.captures |= matcher.has_groups();
        Ok(Check::Value(source, matcher))
    }

    /// The table with a name.
    pub(crate) fn table(&self, name: &str) -> Result<Arc<Table>, String> {
        table_of(self.definitions, name)
    }

    /// What a limit has counted, and what it counts by.
    pub(crate) fn limit(&mut self, name: &str) -> Result<(Arc<Budget>, Text), String> {
        let definitions = self.definitions;
        let Some((settings, key)) = definitions.limits.get(name) else {
            return Err(format!("there is no limit {name:?}"));
        };
        let key = self.text(key)?;
        Ok((definitions.budgets.open(name, *settings), key))
    }

    fn map(&mut self, name: &str) -> Result<Arc<MapTable>, String> {
        if let Some((map, needs)) = self.maps.get(name).cloned() {
            self.join(&needs);
            return Ok(map);
        }
        let definitions = self.definitions;
        let Some(map) = definitions.maps.get(name) else {
            return Err(format!("there is no map {name:?}"));
        };
        let (table, needs) =
            self.asking(|this| this.within(format!("map {name:?}"), |this| this.map_table(map)));
        let table = Arc::new(table?);
        self.maps
            .insert(name.to_owned(), (Arc::clone(&table), needs));
        Ok(table)
    }

    fn map_table(&mut self, map: &Map) -> Result<MapTable, String> {
        let key = self.text(&map.key)?;
        let default = match &map.default {
            Some(default) => Some(self.text(default)?),
            None => None,
        };
        let mut table = MapTable::new(key, map.ignore_case, default);
        for (key, value) in &map.entries {
            let value = self.text(value)?;
            table.insert(key, value)?;
        }
        Ok(table)
    }

    /// Compiles the inside of something that has a name; its mistakes carry the name.
    fn within<T>(
        &mut self,
        name: String,
        work: impl FnOnce(&mut Self) -> Result<T, String>,
    ) -> Result<T, String> {
        if self.open.contains(&name) {
            return Err(format!("{name} refers to itself"));
        }
        self.open.push(name);
        let done = work(self);
        let name = self.open.pop().unwrap_or_default();
        done.map_err(|message| format!("{name}: {message}"))
    }
}

fn table_of(definitions: &Definitions, name: &str) -> Result<Arc<Table>, String> {
    match definitions.tables.get(name) {
        Some(settings) => Ok(definitions.kept.open(name, settings)),
        None => Err(format!("there is no table {name:?}")),
    }
}

/// The number of a counter.
fn counter_of(text: &str) -> Result<u8, String> {
    let number = text.trim().parse().ok();
    number
        .filter(|number| *number < COUNTERS_MAX)
        .ok_or_else(|| format!("{text:?} is no counter from 0 to {}", COUNTERS_MAX - 1))
}

/// Whether a value comes out of a ClientHello that nobody has answered.
fn is_of_hello(fetch: &Fetch) -> bool {
    matches!(
        fetch,
        Fetch::TlsHello | Fetch::TlsServerName | Fetch::TlsOfferedVersion | Fetch::TlsOfferedAlpn
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ast::MapKey;

    fn definitions(map_key: Fetch, condition: Condition) -> Definitions {
        let map = Map {
            key: Template::new([Piece::Fetch(map_key)]),
            ignore_case: false,
            entries: vec![(MapKey::Regex("(".to_owned()), Template::default())],
            default: None,
        };
        Definitions {
            maps: [("m".to_owned(), map)].into(),
            conditions: [("c".to_owned(), condition)].into(),
            ..Definitions::default()
        }
    }

    #[test]
    fn circles_and_unknown_names_are_found() {
        let definitions = definitions(Fetch::Map("m".to_owned()), Condition::Named("c".to_owned()));
        let mut compiler = Compiler::new(&definitions);
        let message = compiler.source(&Fetch::Map("m".to_owned())).unwrap_err();
        assert!(message.contains("refers to itself"), "{message}");
        let message = compiler
            .check(&Condition::Named("c".to_owned()))
            .unwrap_err();
        assert!(message.contains("refers to itself"), "{message}");
        assert!(compiler.source(&Fetch::Map("n".to_owned())).is_err());
        assert!(compiler.check(&Condition::Named("d".to_owned())).is_err());
    }

    #[test]
    fn mistakes_inside_carry_the_name() {
        let definitions = definitions(Fetch::Host, Condition::Always);
        let message = Compiler::new(&definitions)
            .source(&Fetch::Map("m".to_owned()))
            .unwrap_err();
        assert!(message.starts_with("map \"m\": "), "{message}");
    }

    #[test]
    fn needs_are_found_behind_names() {
        let mut definitions = definitions(Fetch::Status, Condition::Always);
        if let Some(map) = definitions.maps.get_mut("m") {
            map.entries.clear();
        }
        let mut compiler = Compiler::new(&definitions);
        for _ in 0..2 {
            let (source, needs) = compiler.asking(|c| c.source(&Fetch::Map("m".to_owned())));
            assert!(source.is_ok());
            assert_eq!(needs.response.as_deref(), Some("status"));
        }
    }
}
