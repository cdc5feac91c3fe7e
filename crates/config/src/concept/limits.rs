//! `limits`: how much everybody may take.

use super::overridable;

overridable! {
    /// How much everybody may take.
    Limits, LimitOverrides, "limits";

    /// Connections of one listener at the same time; 0 = as many as the limit of open files allows.
    connections: usize = 0, example = Some("10000");
    /// Connections of one client address at the same time, per listener; 0 = no limit.
    connections_per_source: usize = 0, example = Some("100");
    /// Bytes of the request line.
    request_line: usize = 8_192, bytes = true, range = Some((256.0, 65_536.0));
    /// Bytes of the request head, request line included.
    header_bytes: usize = 32_768, bytes = true, range = Some((1_024.0, 65_536.0));
    /// Header lines of a request or response.
    header_count: usize = 100, range = Some((8.0, 1_000.0));
    /// Bytes of a request body; 0 = no limit.
    body_bytes: u64 = 0, bytes = true, example = Some("\"10MiB\"");
    /// Bytes of a response that go to the client in a second; 0 = no limit. Replies of the balancer's own are not limited, but for files. The variable `response_rate`
    /// takes its place where a rule sets it.
    response_rate: u64 = 0, bytes = true, example = Some("\"1MiB\"");
    /// Bytes of a response that go before `response_rate` holds.
    response_rate_after: u64 = 0, bytes = true, example = Some("\"10MiB\"");
    /// Bytes of the response head.
    response_header_bytes: usize = 32_768, bytes = true, range = Some((1_024.0, 65_536.0));
    /// Interim (1xx) responses to one request.
    interim_responses: u32 = 16, range = Some((0.0, 1_000.0));
    /// Requests at the same time on one HTTP/2 connection.
    streams: u32 = 128, range = Some((1.0, 10_000.0));
    /// Times a request may have passed through this balancer, seen by its own name in `Via`.
    hops: u32 = 3, range = Some((1.0, 100.0));
}
