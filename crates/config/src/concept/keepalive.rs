//! `keepalive`: connections to servers that are used again.

use std::time::Duration;

use super::{concept, table_value};

concept! {
    /// Connections to servers that are kept for the next request.
    Keepalive, "keepalive";

    /// Idle connections, per worker and server; 0 = none are kept.
    max_idle: usize = 256, range = Some((0.0, 100_000.0));
    /// How long one may be idle. Best shorter than the server's own limit.
    idle_timeout: Duration = Duration::from_secs(60), example = Some("\"4s\"");
    /// Requests per connection; 0 = no limit.
    max_requests: u32 = 0, example = Some("1000");
    /// How old one may get; `"0s"` = no limit.
    max_age: Duration = Duration::ZERO, example = Some("\"10m\"");
}
table_value!(Keepalive);
