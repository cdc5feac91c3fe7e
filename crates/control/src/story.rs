//! What happened to each server, in words: transitions with their reasons, bounded.

use std::collections::VecDeque;

use clearway_base::clock;
use clearway_base::hash::Map;
use clearway_base::intern::Name;
use clearway_outcome::FaultKind;

/// Transitions kept per server.
const KEEP: usize = 20;

/// One transition of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// Microseconds since the Unix epoch.
    pub at: u64,
    /// What it became: `up`, `down`, `ejected`, `back`, `drain`, `stopping`, `maintenance`, `ready`, `added`.
    pub to: &'static str,
    /// Why, in words.
    pub why: String,
}

/// What came of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastProbe {
    /// Microseconds since the Unix epoch.
    pub at: u64,
    /// Whether it passed.
    pub passed: bool,
    /// In words.
    pub words: String,
    /// What went wrong.
    pub fault: Option<FaultKind>,
    /// The status that it got; 0 = none.
    pub status: u16,
    /// How long it took, in microseconds.
    pub took_us: u64,
    /// How many results in a row speak against the present verdict.
    pub against: u32,
}

/// The story of one server.
#[derive(Clone, Debug, Default)]
pub struct Story {
    /// Newest last.
    pub transitions: VecDeque<Transition>,
    /// The newest check.
    pub last_probe: Option<LastProbe>,
    /// Checks that failed while the server was up.
    pub failed_checks: u64,
    /// How often it went down.
    pub downs: u64,
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
        story.downs += u64::from(to == "down");
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
