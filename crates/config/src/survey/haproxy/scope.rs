//! What holds in a section of a HAProxy configuration: its own lines, else those of its `defaults`.

use std::time::Duration;

use super::super::{Setting, Spoke, units};
use crate::syntax::haproxy::{Line, Section};

/// Time-outs that were once written in one word.
const OLD_TIMEOUTS: &[(&str, &str)] = &[
    ("timeout client", "clitimeout"),
    ("timeout connect", "contimeout"),
    ("timeout server", "srvtimeout"),
];

/// A section with its defaults.
pub(super) struct Scope<'a> {
    /// The section, then its defaults, the nearest first.
    levels: Vec<&'a Section>,
}

impl<'a> Scope<'a> {
    pub(super) fn new(section: &'a Section, defaults: Vec<&'a Section>) -> Self {
        let mut levels = defaults;
        levels.insert(0, section);
        Self { levels }
    }

    /// What it is: `frontend`, `backend` or `listen`.
    pub(super) fn kind(&self) -> &'a str {
        self.head().map_or("", |head| head.word(0))
    }

    pub(super) fn name(&self) -> &'a str {
        self.levels.first().map_or("", |section| section.name())
    }

    /// The line that begins it.
    pub(super) fn head(&self) -> Option<&'a Line> {
        self.levels.first().map(|section| &section.head)
    }

    /// Its own lines.
    pub(super) fn own(&self) -> impl Iterator<Item = &'a Line> + use<'a> {
        let own = self.levels.first().copied();
        own.into_iter().flat_map(|section| &section.lines)
    }

    /// Its own lines that begin with a word.
    pub(super) fn own_with(&self, word: &str) -> impl Iterator<Item = &'a Line> {
        self.own().filter(move |line| line.word(0) == word)
    }

    /// The last line that fits, of the nearest level that has one.
    pub(super) fn find_by(&self, fits: impl Fn(&Line) -> bool) -> Option<&'a Line> {
        let mut levels = self.levels.iter();
        levels.find_map(|section| section.lines.iter().rev().find(|line| fits(line)))
    }

    /// The last line that begins with these words, of the nearest level that has one.
    pub(super) fn find(&self, words: &[&str]) -> Option<&'a Line> {
        self.find_by(|line| line.begins(words))
    }

    /// All lines that begin with a word, those of the farthest defaults first.
    pub(super) fn all(&self, word: &str) -> impl Iterator<Item = &'a Line> {
        let levels = self.levels.iter().rev();
        levels.flat_map(move |section| {
            section
                .lines
                .iter()
                .filter(move |line| line.word(0) == word)
        })
    }

    /// What is spoken: bytes unless HTTP is asked for.
    pub(super) fn mode(&self) -> Setting<Spoke> {
        match self.find(&["mode"]) {
            Some(line) => {
                let mode = if line.word(1) == "http" {
                    Spoke::Http1
                } else {
                    Spoke::Tcp
                };
                Setting::written("mode", mode, line.origin())
            }
            None => Setting::by_default("mode", Spoke::Tcp),
        }
    }

    pub(super) fn is_http(&self) -> bool {
        self.mode().value == Spoke::Http1
    }

    /// A time-out such as `timeout connect`; none means no limit.
    pub(super) fn timeout(&self, name: &'static str) -> Setting<Option<Duration>> {
        let words: Vec<&str> = name.split(' ').collect();
        let old = OLD_TIMEOUTS.iter().find(|(new, _)| *new == name);
        let found = self.find_by(|line| {
            line.begins(&words) || old.is_some_and(|(_, old)| line.word(0) == *old)
        });
        let read = found.and_then(|line| {
            let text = if line.word(0) == "timeout" {
                line.word(2)
            } else {
                line.word(1)
            };
            Some((units::haproxy_time(text)?, line.origin()))
        });
        match read {
            // Nothing is no limit too.
            Some((time, origin)) => {
                Setting::written(name, Some(time).filter(|t| !t.is_zero()), origin)
            }
            None => Setting::by_default(name, None),
        }
    }

    /// An option, which may also be taken back with `no`.
    pub(super) fn option(&self, name: &'static str, words: &str) -> Setting<bool> {
        let found = self.find_by(|line| {
            line.begins(&["option", words]) || line.begins(&["no", "option", words])
        });
        match found {
            Some(line) => Setting::written(name, line.word(0) == "option", line.origin()),
            None => Setting::by_default(name, false),
        }
    }

    pub(super) fn number(&self, name: &'static str) -> Option<Setting<u64>> {
        let line = self.find(&[name])?;
        let number = units::size(line.word(1))?;
        Some(Setting::written(name, number, line.origin()))
    }
}
