//! What holds in a place of an NGINX configuration: blocks from the widest to the narrowest, where the
//! narrowest that writes a directive wins.

use std::rc::Rc;
use std::time::Duration;

use super::super::{Setting, units};
use crate::syntax::nginx::Directive;

/// Blocks that are looked at for themselves. Thousands of them may stand on one level, which is searched for
/// settings again and again.
const PLACES: &[&str] = &["server", "location", "upstream"];

/// The blocks around a place, the widest first, each with its settings.
#[derive(Clone, Default)]
pub(crate) struct Scope<'a> {
    levels: Vec<Rc<[&'a Directive]>>,
}

impl<'a> Scope<'a> {
    /// This place and a block within it.
    pub(crate) fn inside(&self, block: &'a [Directive]) -> Self {
        let settings = block
            .iter()
            .filter(|found| !PLACES.contains(&found.name.text.as_str()));
        let mut levels = self.levels.clone();
        levels.push(settings.collect());
        Self { levels }
    }

    /// The directive that holds: NGINX takes the one of the narrowest block that has it.
    pub(crate) fn find(&self, name: &str) -> Option<&'a Directive> {
        let mut levels = self.levels.iter().rev();
        levels.find_map(|level| level.iter().rev().find(|found| found.is(name)).copied())
    }

    /// The directives that hold where several may: all of the narrowest block that has any. A block
    /// with one of its own inherits none.
    pub(crate) fn all(&self, name: &str) -> Vec<&'a Directive> {
        let own = |level: &Rc<[&'a Directive]>| {
            let level = level.iter().copied();
            level.filter(|found| found.is(name)).collect::<Vec<_>>()
        };
        let mut levels = self.levels.iter().rev().map(own);
        levels.find(|found| !found.is_empty()).unwrap_or_default()
    }

    /// Every directive with a name in any block around, the narrowest first, also if a narrower one
    /// hides it.
    pub(crate) fn everywhere(&self, name: &str) -> impl Iterator<Item = &'a Directive> {
        let all = self.levels().flat_map(|level| level.iter().copied());
        all.filter(move |found| found.is(name))
    }

    /// The settings of each block around, the narrowest first.
    pub(crate) fn levels(&self) -> impl Iterator<Item = &[&'a Directive]> {
        self.levels.iter().rev().map(|level| &**level)
    }

    pub(crate) fn time(&self, name: &'static str, default: Duration) -> Setting<Duration> {
        self.setting(name, units::nginx_time)
            .unwrap_or_else(|| Setting::by_default(name, default))
    }

    /// A time-out: it always has a limit.
    pub(crate) fn timeout(
        &self,
        name: &'static str,
        default: Duration,
    ) -> Setting<Option<Duration>> {
        let time = self.time(name, default);
        Setting {
            value: Some(time.value),
            name,
            origin: time.origin,
        }
    }

    pub(crate) fn size(&self, name: &'static str, default: u64) -> Setting<u64> {
        self.setting(name, units::size)
            .unwrap_or_else(|| Setting::by_default(name, default))
    }

    pub(crate) fn flag(&self, name: &'static str, default: bool) -> Setting<bool> {
        self.setting(name, |text| Some(text == "on"))
            .unwrap_or_else(|| Setting::by_default(name, default))
    }

    pub(crate) fn text(&self, name: &'static str) -> Option<Setting<String>> {
        self.setting(name, |text| Some(text.to_owned()))
    }

    /// The first argument of the directive that holds, where it can be understood.
    pub(crate) fn setting<T>(
        &self,
        name: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<Setting<T>> {
        let directive = self.find(name)?;
        let value = parse(directive.argument(0)?)?;
        Some(Setting::written(name, value, directive.origin()))
    }
}
