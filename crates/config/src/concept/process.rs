//! `[process]`: the process as a whole.

use std::time::Duration;

use serde_json::json;

use super::{concept, table_value};
use crate::syntax::Node;
use crate::value::{Identifier, OrOff, Problem, Reader, Spec, Value};
use crate::words;

concept! {
    /// The process as a whole.
    Process, "[process]";

    /// Threads that serve traffic; `"auto"` is one per processor.
    workers: Workers = Workers::Auto, example = Some("4");
    /// How long connections may take to end when the process stops, or when their server was removed; `"off"` = as
    /// long as they want.
    drain: OrOff<Duration> = OrOff::On(Duration::from_secs(30)), example = Some("\"2m\"");
    /// The user whose rights the threads that serve traffic have, by name or number; those of the process unless
    /// given. Configurations, keys, logs and sockets are opened with the rights of the process. Needs root.
    user: Option<Identifier> = None, example = Some("\"www-data\"");
    /// The group they have, in place of the user's own.
    group: Option<Identifier> = None, example = Some("\"www-data\"");
}
table_value!(Process);

/// Number of threads that serve traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workers {
    /// One per processor.
    Auto,
    /// This many, from 1.
    Count(usize),
}

/// More workers than any machine has processors.
const WORKERS_MAX: i64 = 1_024;

impl Value for Workers {
    fn read(node: &Node, _: &Spec, reader: &mut Reader<'_>) -> Option<Self> {
        let expected = "\"auto\" or a number from 1 to 1024";
        let message = match (node.as_integer(), node.as_text()) {
            (Some(count), _) if (1..=WORKERS_MAX).contains(&count) => {
                return usize::try_from(count).ok().map(Self::Count);
            }
            (Some(count), _) => format!("{count} is out of range"),
            (None, Some("auto")) => return Some(Self::Auto),
            (None, Some(text)) => format!("{text:?} is no number of workers"),
            (None, None) => return reader.wrong_type(node, expected),
        };
        reader.wrong_value(node, Problem::new(message, expected))
    }

    fn print(&self, _: &Spec, out: &mut String) {
        match self {
            Self::Auto => out.push_str(&words::quoted("auto")),
            Self::Count(count) => out.push_str(&count.to_string()),
        }
    }

    fn kind(_: &Spec) -> String {
        "\"auto\" or number, 1 to 1024".to_owned()
    }

    fn schema(_: &Spec) -> serde_json::Value {
        json!({ "anyOf": [
            { "const": "auto" },
            { "type": "integer", "minimum": 1, "maximum": WORKERS_MAX },
        ] })
    }

    #[cfg(test)]
    fn sample(rng: &mut clearway_base::rng::Rng, _: &Spec) -> Self {
        match rng.below(5) {
            0 => Self::Auto,
            count => Self::Count(usize::try_from(count).unwrap()),
        }
    }
}
