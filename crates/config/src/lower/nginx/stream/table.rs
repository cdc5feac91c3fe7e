//! Every directive of `stream` with what becomes of it.

use super::super::table::{
    self,
    Fate::{self, Done, Equivalent, Harmless, Ineffective, Refused},
};

const STREAMED: &str = "bytes are passed on as they come, with back-pressure";
const DATAGRAMS: &str = "it is about UDP";

/// What becomes of a directive by its name; `None` when it is not known.
pub(super) fn fate(name: &str) -> Option<Fate> {
    let found = TABLE.iter().find(|(known, _)| *known == name);
    if let Some((_, fate)) = found {
        return Some(*fate);
    }
    // These mean the same where requests are served.
    let is_shared =
        name.starts_with("ssl_") || name.starts_with("proxy_ssl") || SHARED.contains(&name);
    if is_shared || name.starts_with("js_") || name.contains("_by_lua") || name.starts_with("lua_")
    {
        return table::fate(name);
    }
    None
}

/// Names that [`table`] speaks of.
const SHARED: &[&str] = &[
    "include",
    "server",
    "listen",
    "upstream",
    "map",
    "geo",
    "set",
    "allow",
    "deny",
    "log_format",
    "access_log",
    "error_log",
    "open_log_file_cache",
    "resolver",
    "resolver_timeout",
    "map_hash_max_size",
    "map_hash_bucket_size",
    "variables_hash_max_size",
    "variables_hash_bucket_size",
    "tcp_nodelay",
    "least_conn",
    "least_time",
    "random",
    "hash",
    "ip_hash",
    "zone",
    "split_clients",
    "limit_conn_zone",
    "limit_conn_log_level",
    "proxy_pass",
];

const TABLE: &[(&str, Fate)] = &[
    ("return", Done),
    ("ssl_preread", Done),
    ("ssl_handshake_timeout", Done),
    ("limit_conn", Done),
    ("limit_conn_zone", Done),
    ("limit_conn_dry_run", Refused("limits are not tried out")),
    ("preread_timeout", Done),
    (
        "preread_buffer_size",
        Equivalent("up to 16 KiB of a ClientHello are looked at"),
    ),
    ("proxy_protocol", Done),
    ("proxy_protocol_timeout", Done),
    (
        "set_real_ip_from",
        Equivalent("the address of a PROXY header is taken for the client's"),
    ),
    ("proxy_timeout", Done),
    ("proxy_connect_timeout", Done),
    ("proxy_half_close", Done),
    ("proxy_next_upstream", Done),
    ("proxy_next_upstream_tries", Done),
    (
        "proxy_next_upstream_timeout",
        Equivalent("each attempt has its time-out, and their number is bounded"),
    ),
    ("proxy_bind", Done),
    ("proxy_ssl", Done),
    ("proxy_buffer_size", Harmless(STREAMED)),
    (
        "proxy_socket_keepalive",
        Equivalent("broken connections are found by time-outs"),
    ),
    ("proxy_requests", Harmless(DATAGRAMS)),
    ("proxy_responses", Harmless(DATAGRAMS)),
    ("proxy_upload_rate", Ineffective("there is no such limit")),
    ("proxy_download_rate", Ineffective("there is no such limit")),
    (
        "ssl_alpn",
        Ineffective("no application protocol is agreed on"),
    ),
];
