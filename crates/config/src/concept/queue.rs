//! `queue`: requests that wait for a server with a free slot.

use super::{concept, table_value};

concept! {
    /// Requests that wait because every server is at its `maxconn`. How long they wait is
    /// `timeouts.queue`.
    Queue, "queue";

    /// Requests that may wait at the same time; more are answered with 503 at once.
    size: usize = 1_024, range = Some((0.0, 1_000_000.0));
}
table_value!(Queue);
