//! `[table.NAME]`: counters and servers by key, and the actions that use them.

use std::time::Duration;

use super::{concept, table_value};
use crate::value::{DatumText, FetchText, StoredText, TemplateText, Text, choices};

concept! {
    /// Counters, and servers that clients stay on, by key (a stick table). Rules `track` keys and look at
    /// the counters as `${tracked:0,http_req_rate}`, or of any key as
    /// `${client_ip|table(NAME,http_req_rate)}`. Entries stay over a reload while the table is the same.
    Table, "[table.NAME]", named name;

    /// What keys are.
    key: TableKey = TableKey::Ip, example = Some("\"string\"");
    /// How many bytes of a key count, where it is a text or bytes.
    length: usize = 32, range = Some((1.0, 1_024.0)), example = Some("64");
    /// Most entries. The longest unused one makes room for a new one.
    size: usize = 100_000, range = Some((1.0, 100_000_000.0)), example = Some("10000");
    /// How long an entry stays that is not used; for ever when absent.
    expire: Option<Duration> = None, example = Some("\"10m\"");
    /// Whether a full table takes no new entries, instead of giving up the longest unused one.
    keep_when_full: bool = false, example = Some("true");
    /// What is stored with a key: `"http_req_rate(10s)"`, `"conn_cur"`, `"gpc(3)"`, `"server_key"` and the like.
    store: Vec<StoredText> = Vec::new(), example = Some("[\"http_req_rate(10s)\", \"conn_cur\"]");
}
table_value!(Table);

choices! {
    /// What the keys of a table are.
    TableKey {
        /// IPv4 addresses.
        Ip = "ip",
        /// IPv6 addresses, IPv4 addresses among them.
        Ipv6 = "ipv6",
        /// Numbers of 32 bits.
        Integer = "integer",
        /// Texts.
        String = "string",
        /// Bytes.
        Binary = "binary",
    }
}

concept! {
    /// A key that is tracked: what happens from now on is counted with it.
    Track, "track";

    /// The counter that rules look at it by: `${tracked:COUNTER,…}`. What it tracks already stays.
    counter: u8 = 0, range = Some((0.0, 15.0)), example = Some("1");
    /// The table.
    table: String = String::new(), required = true, example = Some("\"clients\"");
    /// The key. One that is not there is not tracked.
    key: FetchText = FetchText::parse("client_ip").unwrap_or_default(), example = Some("\"header:x-key\"");
    /// How long.
    until: TrackUntil = TrackUntil::Response, example = Some("\"connection\"");
}
table_value!(Track);

choices! {
    /// How long a key is tracked.
    TrackUntil {
        /// Until the request is over.
        Response = "request",
        /// Until the client's connection is closed.
        Connection = "connection",
    }
}

concept! {
    /// A number of what is tracked that is changed.
    Tally, "tally";

    /// The counter that tracks it.
    counter: u8 = 0, range = Some((0.0, 15.0)), example = Some("1");
    /// What is changed: `"gpc0"`, `"gpt0"`, or with the number of one of many `"gpc.2"`.
    what: DatumText = DatumText::default(), required = true, example = Some("\"gpc0\"");
    /// How much is added. One of `add` and `set` is written.
    add: Option<TemplateText> = None, example = Some("\"1\"");
    /// What it is set to.
    set: Option<TemplateText> = None, example = Some("\"7\"");
}
table_value!(Tally);

concept! {
    /// Stickiness by a table that stores servers.
    Stick, "stick";

    /// The table; it stores `server_key` or `server_id`.
    table: String = String::new(), required = true, example = Some("\"users\"");
    /// The key; one of the response can only be stored.
    key: FetchText = FetchText::parse("client_ip").unwrap_or_default(), example = Some("\"cookie:id\"");
    /// Whether the request goes to the server that is stored with the key, while that takes requests. The first
    /// that is found counts; a sticky cookie and `use_server` count before.
    find: bool = true, example = Some("false");
    /// Whether the server that answers is stored with the key.
    store: bool = true, example = Some("false");
}
table_value!(Stick);
