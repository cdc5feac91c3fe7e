//! `[resolver]`: looking up names.

use std::net::SocketAddr;
use std::time::Duration;

use super::{concept, table_value};

concept! {
    /// How names of servers are looked up. Names are looked up again when their records expire;
    /// addresses that worked are kept while the resolver is in trouble.
    Resolver, "[resolver]";

    /// The resolvers to ask; empty = those of `/etc/resolv.conf`. Port 53 when none is written.
    servers: Vec<SocketAddr> = Vec::new(), example = Some("[\"10.0.0.2\", \"10.0.0.3:5353\"]");
    /// How long an answer may take, per question.
    timeout: Duration = Duration::from_secs(2);
    /// Questions before a lookup has failed.
    attempts: u32 = 2, range = Some((1.0, 10.0));
    /// An answer is used at least this long, whatever its records say.
    min_ttl: Duration = Duration::from_secs(1);
    /// An answer is used at most this long.
    max_ttl: Duration = Duration::from_secs(3_600);
    /// How long to wait after a lookup that failed.
    negative_ttl: Duration = Duration::from_secs(5);
}
table_value!(Resolver);
