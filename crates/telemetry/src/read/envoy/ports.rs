//! Which connections to servers were kept ones: a log with the balancer's end of each shows those that
//! carried a request before.

use clearway_base::hash::{Map, stable_seeded};
use clearway_outcome::Reuse;

use crate::read::field::{Field, Fields};

/// Most connections that are remembered; a log with more of them forgets all and begins anew.
const MOST: usize = 16_384;

/// Connections that carried requests.
#[derive(Debug, Default)]
pub(super) struct Ports {
    known: Map<u64, Past>,
}

/// What one of them did, with times in microseconds since 1970.
#[derive(Clone, Copy, Debug)]
struct Past {
    first_us: i64,
    last_us: i64,
    uses: u32,
}

impl Ports {
    /// A request went well on its connection.
    pub(super) fn used(&mut self, fields: &Fields<'_>, began: Option<i64>) {
        let (Some(key), Some(began)) = (key(fields), began) else {
            return;
        };
        if self.known.len() >= MOST {
            self.known.clear();
        }
        let past = self.known.entry(key).or_insert(Past {
            first_us: began,
            last_us: began,
            uses: 0,
        });
        past.last_us = past.last_us.max(began.saturating_add(lasted(fields)));
        past.uses = past.uses.saturating_add(1);
    }

    /// What is known of the connection of a request that failed; it is not used again. One that was not
    /// met before may be fresh, or may have been used before the log begins.
    pub(super) fn reuse(&mut self, fields: &Fields<'_>, began: Option<i64>) -> Option<Reuse> {
        let past = self.known.remove(&key(fields)?)?;
        let began = began?;
        let since = |from: i64| u64::try_from(began - from).unwrap_or(0);
        Some(Reuse {
            uses: past.uses,
            idle_us: since(past.last_us),
            age_us: since(past.first_us),
        })
    }
}

fn key(fields: &Fields<'_>) -> Option<u64> {
    let own = fields.get(Field::OwnAddress);
    let server = fields.get(Field::Address);
    (!own.is_empty()).then(|| stable_seeded(own, stable_seeded(server, 3)))
}

/// How long a request lasted, in microseconds.
fn lasted(fields: &Fields<'_>) -> i64 {
    let millis = crate::read::scan::millis(fields.get(Field::DurationMs));
    millis.and_then(|us| i64::try_from(us).ok()).unwrap_or(0)
}
