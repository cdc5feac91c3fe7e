//! `[rate_limit.NAME]` and `[concurrency_limit.NAME]`: how much may come by key, and what rules do about it.

use std::time::Duration;

use super::{concept, table_value};
use crate::value::{Identifier, TemplateText};

concept! {
    /// How many requests may come in a time, by key: a leaky bucket for each, shared by all workers. It
    /// limits nothing by itself; see `rate_limit` of a rule.
    RateLimit, "[rate_limit.NAME]", named name;

    /// What is counted by. An empty one is not limited.
    key: TemplateText = TemplateText::default(), required = true, example = Some("\"${client_ip}\"");
    /// So many requests.
    requests: u32 = 0, required = true, range = Some((1.0, 1_000_000.0)), example = Some("10");
    /// In this time.
    per: Duration = Duration::from_secs(1), range = Some((1.0, 86_400.0)), example = Some("\"1m\"");
    /// Most keys that are remembered; the longest unused one makes room for a new one.
    entries: usize = 100_000, range = Some((1.0, 10_000_000.0)), example = Some("8192");
}

concept! {
    /// How many requests may be served at the same time, by key, counted by all workers together. It limits
    /// nothing by itself; see `concurrency_limit` of a rule.
    ConcurrencyLimit, "[concurrency_limit.NAME]", named name;

    /// What is counted by. An empty one is not limited.
    key: TemplateText = TemplateText::default(), required = true, example = Some("\"${client_ip}\"");
    /// Most keys that are remembered.
    entries: usize = 100_000, range = Some((1.0, 10_000_000.0)), example = Some("8192");
}

concept! {
    /// Limits of rate that requests have to keep. A request counts once, by the first rule with limits that
    /// it comes to; the variable `limit_req_status` says what became of it.
    RateLimiting, "rate limiting";

    /// Which.
    limits: Vec<RateLimitUse> = Vec::new(), required = true,
        example = Some("[{ limit = \"by_ip\", burst = 5 }]");
    /// The status of those that are refused.
    status: u16 = 429, range = Some((400.0, 599.0)), example = Some("503");
    /// Whether it is only noted who would be refused or delayed.
    dry_run: bool = false, example = Some("true");
}
table_value!(RateLimiting);

concept! {
    /// A limit of rate, and how far beyond it requests may be.
    RateLimitUse, "rate limit use";

    /// Its name.
    limit: Identifier = Identifier::default(), required = true, example = Some("\"by_ip\"");
    /// So many requests beyond the rate are delayed until they keep it; others are refused.
    burst: u32 = 0, example = Some("20");
    /// So many of the burst are not delayed.
    undelayed: u32 = 0, example = Some("20");
}
table_value!(RateLimitUse);

concept! {
    /// Limits of requests at the same time. A request counts once, by the first rule with limits that it comes
    /// to; the variable `limit_conn_status` says what became of it.
    ConcurrencyLimiting, "concurrency limiting";

    /// Which.
    limits: Vec<ConcurrencyLimitUse> = Vec::new(), required = true,
        example = Some("[{ limit = \"by_ip\", most = 10 }]");
    /// The status of those that are refused.
    status: u16 = 429, range = Some((400.0, 599.0)), example = Some("503");
    /// Whether it is only noted who would be refused.
    dry_run: bool = false, example = Some("true");
}
table_value!(ConcurrencyLimiting);

concept! {
    /// A limit of requests at the same time, and how many.
    ConcurrencyLimitUse, "concurrency limit use";

    /// Its name.
    limit: Identifier = Identifier::default(), required = true, example = Some("\"by_ip\"");
    /// Most requests.
    most: u32 = 0, required = true, range = Some((1.0, 1_000_000.0)), example = Some("10");
}
table_value!(ConcurrencyLimitUse);
