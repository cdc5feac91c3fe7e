//! `[cache.NAME]` and `cache` of listeners, backends and routes: responses that are kept and given again.

use std::time::Duration;

use super::matching::Condition;
use super::{concept, table_value};
use crate::value::{HeaderName, Identifier, MethodName, TemplateText, Text, choices};

concept! {
    /// Memory for responses that are kept. Several places may share it; it outlives reloads as long as its name
    /// stays. Of what does not fit, the longest unused goes first.
    CacheStore, "[cache.NAME]", named name;

    /// Memory for all that is kept.
    size: u64 = 64 << 20, bytes = true, range = Some((65_536.0, 1_099_511_627_776.0));
    /// The largest body that is kept.
    max_object: u64 = 1 << 20, bytes = true, range = Some((0.0, 1_073_741_824.0));
    /// What nobody asked for goes after so long; `"0s"` = only for want of room.
    inactive: Duration = Duration::from_secs(600);
}
table_value!(CacheStore);

concept! {
    /// Responses that are kept and given again, as a shared cache does (RFC 9111). What is private, sets a
    /// cookie, answers a request with `Authorization` without being public, or is a part is not kept.
    /// `${var:cache_status}` says what became of a request: `HIT`, `MISS`, `BYPASS`, `EXPIRED`, `STALE`,
    /// `UPDATING` or `REVALIDATED`.
    Caching, "caching";

    /// The `[cache.NAME]` that responses are kept in.
    store: Identifier = Identifier::default(), required = true, example = Some("\"pages\"");
    /// What tells responses apart, besides what `Vary` names.
    key: TemplateText = TemplateText::parse("${scheme}://${sent_host}${sent_target}").unwrap_or_default(),
        example = Some("\"${host}${path}\"");
    /// Requests that are looked up; what is kept answers GET and HEAD, and only answers to GET and POST are
    /// kept.
    methods: Vec<MethodName> = ["GET", "HEAD"].iter().filter_map(|name| MethodName::parse(name).ok()).collect(),
        example = Some("[\"GET\"]");
    /// Which requests may be answered with what is kept.
    when: Condition = Condition::default(), example = Some("{ path = \"/static/\" }");
    /// Which responses are kept; looks at the response too.
    store_when: Condition = Condition::default(),
        example = Some("{ value = { of = \"response_header:x-keep\", is = \"1\" } }");
    /// For how long responses are fresh that do not say it themselves; the first whose status fits.
    times: Vec<CacheTime> = Vec::new(), example = Some("[{ status = [200, 301], time = \"10m\" }]");
    /// The longest time for which anything is fresh, whatever it says.
    max_age: Option<Duration> = None, example = Some("\"1h\"");
    /// Statuses that are kept; any when empty.
    statuses: Vec<u16> = Vec::new(), example = Some("[200]"), range = Some((200.0, 599.0));
    /// Whether `times` are for responses with `ETag` or `Last-Modified` only.
    validated_only: bool = false, example = Some("true");
    /// Whether responses are kept that depend on fields of the request (`Vary`), each of its variants.
    variants: bool = true;
    /// Fields of responses that are not looked at, such as `set-cookie` and `cache-control`.
    ignore_headers: Vec<HeaderName> = Vec::new(), example = Some("[\"set-cookie\"]");
    /// Whether clients get a fresh response that ask for one (`Cache-Control: no-cache`).
    obeys_clients: bool = true;
    /// How often something has to be asked for before it is kept.
    min_uses: u32 = 1, range = Some((1.0, 1_000_000.0));
    /// Whether servers are asked if a stale response has changed, rather than for all of it.
    revalidate: bool = true;
    /// When a stale response is given, besides what it allows itself (`stale-while-revalidate`,
    /// `stale-if-error`).
    use_stale: Vec<StaleWhen> = Vec::new(), example = Some("[\"error\", \"updating\"]");
    /// Whether only one of several requests for the same goes to the server while others wait.
    lock: bool = true;
    /// How long they wait before they go there too.
    lock_timeout: Duration = Duration::from_secs(5);
    /// Whether clients are told how old a kept response is (`Age`).
    tells_age: bool = true;
}
table_value!(Caching);

concept! {
    /// How long responses are fresh.
    CacheTime, "cache time";

    /// With these statuses; any when empty.
    status: Vec<u16> = Vec::new(), example = Some("[200, 301]"), range = Some((200.0, 599.0));
    /// So long.
    time: Duration = Duration::ZERO, required = true, example = Some("\"10m\"");
}
table_value!(CacheTime);

choices! {
    /// When a stale response is given.
    StaleWhen {
        /// The server cannot be reached, or the connection to it failed.
        Error = "error",
        /// The server took too long.
        Timeout = "timeout",
        /// What the server answered is not HTTP.
        Invalid = "invalid",
        /// Somebody else is asking the server for it.
        Updating = "updating",
        /// The server answered 500.
        Http500 = "http_500",
        /// The server answered 502.
        Http502 = "http_502",
        /// The server answered 503.
        Http503 = "http_503",
        /// The server answered 504.
        Http504 = "http_504",
        /// The server answered 403.
        Http403 = "http_403",
        /// The server answered 404.
        Http404 = "http_404",
        /// The server answered 429.
        Http429 = "http_429",
    }
}
