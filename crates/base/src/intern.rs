//! Names that travel as four bytes: backends, servers, listeners, routes.
//!
//! The table is append-only for the life of the process, so a [`Name`] is `Copy`, crosses threads
//! and outlives reloads. It grows by the number of *distinct* names ever configured or resolved,
//! never by traffic: do not intern what a client sent.

use std::sync::{OnceLock, RwLock};

use crate::hash::Map;

/// An interned string. Equal names have equal ids within one process.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(u32);

struct Table {
    strings: Vec<&'static str>,
    ids: Map<&'static str, u32>,
}

fn table() -> &'static RwLock<Table> {
    static TABLE: OnceLock<RwLock<Table>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut ids = Map::default();
        ids.insert("-", 0);
        RwLock::new(Table {
            strings: vec!["-"],
            ids,
        })
    })
}

impl Name {
    /// The name of nothing; prints as `-`.
    pub const NONE: Self = Self(0);

    /// Interns `text`. Takes a lock: for configuration and start-up, not per request.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let mut table = match table().write() {
            Ok(guard) => guard,
            Err(poisoned) => poisoned.into_inner(),
        };
        if let Some(&id) = table.ids.get(text) {
            return Self(id);
        }
        let id = u32::try_from(table.strings.len()).unwrap_or(u32::MAX);
        let kept: &'static str = Box::leak(text.to_owned().into_boxed_str());
        table.strings.push(kept);
        table.ids.insert(kept, id);
        Self(id)
    }

    /// The name of `text` if it has one already. Takes a shared lock.
    #[must_use]
    pub fn known(text: &str) -> Option<Self> {
        let table = match table().read() {
            Ok(guard) => guard,
            Err(poisoned) => poisoned.into_inner(),
        };
        table.ids.get(text).copied().map(Self)
    }

    /// The text. Takes a shared lock: for logs, metrics and replies, not per request.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        let table = match table().read() {
            Ok(guard) => guard,
            Err(poisoned) => poisoned.into_inner(),
        };
        table.strings.get(self.0 as usize).copied().unwrap_or("-")
    }

    /// Whether this is [`Name::NONE`].
    #[must_use]
    pub fn is_none(self) -> bool {
        self.0 == 0
    }

    /// The number behind the name, for compact records; see [`Name::from_raw`].
    #[must_use]
    pub fn raw(self) -> u32 {
        self.0
    }

    /// The name with a number that [`Name::raw`] gave in this process; unknown numbers print `-`.
    #[must_use]
    pub fn from_raw(raw: u32) -> Self {
        Self(raw)
    }
}

impl Default for Name {
    fn default() -> Self {
        Self::NONE
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::fmt::Debug for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_text_is_equal_name() {
        let a = Name::new("app");
        assert_eq!(a, Name::new("app"));
        assert_ne!(a, Name::new("app2"));
        assert_eq!(Name::from_raw(a.raw()).as_str(), "app");
        assert!(Name::new("-").is_none());
        assert_eq!(Name::known("app"), Some(a));
        assert_eq!(Name::known("never interned"), None);
        assert_eq!(Name::from_raw(u32::MAX).to_string(), "-");
    }
}
