//! `[admin]`: the admin API.

use std::net::{Ipv4Addr, SocketAddr};

use super::{concept, table_value};
use crate::value::{Bind, OrOff};

concept! {
    /// The admin API with metrics, servers, receipts and reload. It asks nobody who they are, so it
    /// listens on this host only.
    Admin, "[admin]";

    /// Where it listens: a loopback address, a Unix socket, or `"off"`.
    listen: OrOff<Bind> = OrOff::On(Bind::Ip {
        address: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 9180),
        dual: false,
    }), example = Some("\"unix:/run/clearway.sock\"");
}
table_value!(Admin);
