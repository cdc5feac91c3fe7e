//! `retries`: failed attempts that are followed by others.

use std::time::Duration;

use clearway_balance::budget;

use super::overridable;
use crate::value::{RetryOn, choices};

overridable! {
    /// Failed attempts that are followed by others. A request is never sent twice when that could do
    /// something twice: unless nothing reached a server, only idempotent methods are repeated, and
    /// only while the whole body is at hand.
    Retries, RetryOverrides, "retries";

    /// Attempts after the first.
    max: u32 = 2, range = Some((0.0, 20.0));
    /// After what: `"connect"` (nothing reached the server), `"reused"` (a kept connection closed
    /// without a byte of answer), a status, or the code of a fault. A certificate or a protocol that is
    /// not what is expected is no other a moment later: it is tried again on another server only.
    on: Vec<RetryOn> = vec![RetryOn::Connect, RetryOn::Reused],
        example = Some("[\"connect\", \"reused\", 503, \"response_timeout\"]");
    /// Which methods may be sent again after a server may have seen them.
    methods: RetryMethods = RetryMethods::Idempotent;
    /// Retries as a part of the requests of the last seconds, so that they cannot multiply the load
    /// of servers in trouble.
    budget: f64 = 0.2, range = Some((0.0, 10.0));
    /// Retries per second that are allowed whatever the budget says, per worker.
    budget_min: u32 = 10, range = Some((0.0, 1_000_000.0));
    /// Bytes of a request body that are kept for another attempt; larger ones are not repeated.
    body_buffer: usize = 16_384, bytes = true, range = Some((0.0, 16_777_216.0)),
        example = Some("\"64KiB\"");
    /// Whether another server is tried first.
    other_server: bool = true;
    /// Whether backup servers, and those of lower priority, are tried when the request has tried all others; else
    /// they get requests only when no other server is up.
    backups: bool = true;
    /// Whether a server that failed is tried again when there is no other.
    same_server: bool = true;
    /// How long after its first attempt a request may be tried again; `"0s"` = any time.
    time: Duration = Duration::ZERO, example = Some("\"10s\"");
}

choices! {
    /// Which methods may be sent again after a server may have seen them.
    RetryMethods {
        /// GET, HEAD, OPTIONS, TRACE, PUT and DELETE (RFC 9110 section 9.2.2).
        Idempotent = "idempotent",
        /// All. A server may then do something twice.
        Any = "any",
    }
}

impl Retries {
    /// As the budget wants it.
    #[must_use]
    pub fn budget_policy(&self) -> budget::Policy {
        budget::Policy {
            ratio: self.budget,
            min_per_second: self.budget_min,
        }
    }
}
