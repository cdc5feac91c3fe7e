//! What happened to each server, in words: transitions with their reasons, bounded.

use std::collections::VecDeque;

use clearway_base::clock;
use clearway_base::hash::Map;
use clearway_base::intern::Name;

/// Transitions kept per server.
const KEEP: usize = 20;

/// One transition of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// Microseconds since the Unix epoch.
    pub at: u64,
    /// What it became: `up`, `down`, `ejected`, `back`, `drain`, `maintenance`, `ready`, `added`.
    pub to: &'static str,
    /// Why, in words.
    pub why: String,
}

/// The story of one server.
#[derive(Clone, Debug, Default)]
pub struct Story {
    /// Newest last.
    pub transitions: VecDeque<Transition>,
    /// The newest probe result in words, with its wall-clock time in microseconds.
    pub last_probe: Option<(u64, bool, String)>,
    /// Probe and live traffic disagree: how, in words.
    pub disagreement: Option<String>,
}

/// The stories of all servers, by (backend, address).
#[derive(Debug, Default)]
pub struct Stories(Map<(Name, Name), Story>);

impl Stories {
    /// Adds a transition.
    pub fn tell(&mut self, key: (Name, Name), to: &'static str, why: String) {
        let story = self.0.entry(key).or_default();
        story.transitions.push_back(Transition {
            at: clock::wall(),
            to,
            why,
        });
        if story.transitions.len() > KEEP {
            story.transitions.pop_front();
        }
    }

    /// The story of a server, to be changed.
    pub fn of(&mut self, key: (Name, Name)) -> &mut Story {
        self.0.entry(key).or_default()
    }

    /// The story of a server, if anything is known.
    #[must_use]
    pub fn get(&self, key: (Name, Name)) -> Option<&Story> {
        self.0.get(&key)
    }

    /// Forgets servers that are not in `keep`.
    pub fn retain(&mut self, keep: impl Fn((Name, Name)) -> bool) {
        self.0.retain(|key, _| keep(*key));
    }
}
