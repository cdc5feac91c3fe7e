//! `[admin]`: the admin API, and sockets that understand HAProxy's runtime commands.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde_json::json;

use super::{concept, table_value};
use crate::syntax::Node;
use crate::value::{
    Bind, OrOff, Reader, Spec, Text, Value, choices, print_inline, read_table, read_text,
    section_schema,
};
use crate::words;

concept! {
    /// The admin API with metrics, servers, receipts and reload. It asks nobody who they are, so it
    /// listens on this host only.
    Admin, "[admin]";

    /// Where it listens: a loopback address, a Unix socket, or `"off"`.
    listen: OrOff<Bind> = OrOff::On(Bind::Ip {
        address: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 9180),
        dual: false,
    }), example = Some("\"unix:/run/clearway.sock\"");
    /// Sockets on which HAProxy's runtime commands are understood (`show stat`, `disable server`), for
    /// scripts and monitoring that were written for it.
    haproxy_sockets: Vec<RuntimeSocket> = Vec::new(),
        example = Some("\"unix:/run/haproxy/admin.sock,mode=660\"");
}
table_value!(Admin);

concept! {
    /// A socket for HAProxy's runtime commands: an address, or a table with an address and settings.
    RuntimeSocket, "runtime socket";

    /// Where it listens: `"unix:/run/haproxy/admin.sock"` (with `,mode=660`; 600 when absent) or an
    /// address. It asks nobody who they are.
    bind: Bind = Bind::Ip {
        address: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 9999),
        dual: false,
    }, required = true, always = true, example = Some("\"unix:/run/haproxy/admin.sock\"");
    /// What those may do who connect.
    level: RuntimeLevel = RuntimeLevel::Admin, example = Some("\"operator\"");
    /// How long a connection may be idle.
    timeout: Duration = Duration::from_secs(10), range = Some((0.001, 86_400.0)),
        example = Some("\"30s\"");
}

choices! {
    /// What may be done on a socket for runtime commands.
    RuntimeLevel {
        /// See counters and states.
        User = "user",
        /// The same, and all that is shown about failures and sessions; clear the highest counts.
        Operator = "operator",
        /// Everything.
        Admin = "admin",
    }
}

impl RuntimeSocket {
    /// A socket with defaults.
    #[must_use]
    pub fn new(bind: Bind) -> Self {
        Self {
            bind,
            ..Self::default()
        }
    }
}

impl Value for RuntimeSocket {
    fn read(node: &Node, _: &Spec, reader: &mut Reader<'_>) -> Option<Self> {
        if node.as_table().is_some() {
            return read_table(node, reader);
        }
        if node.as_text().is_none() {
            return reader.wrong_type(node, "an address, or a table with an address");
        }
        let mut socket = Self::new(read_text(node, reader)?);
        let origin = reader.origin(&node.span);
        socket.origins = crate::diagnostic::Origins::new(origin.clone());
        socket.origins.set("bind", origin);
        Some(socket)
    }

    fn print(&self, _: &Spec, out: &mut String) {
        if *self == Self::new(self.bind.clone()) {
            out.push_str(&words::quoted(&self.bind.text()));
        } else {
            print_inline(self, out);
        }
    }

    fn kind(_: &Spec) -> String {
        "address, or table, see runtime socket".to_owned()
    }

    fn schema(_: &Spec) -> serde_json::Value {
        json!({ "anyOf": [{ "type": "string" }, section_schema::<Self>()] })
    }

    #[cfg(test)]
    fn sample(rng: &mut clearway_base::rng::Rng, _: &Spec) -> Self {
        <Self as crate::value::Section>::sample_section(rng)
    }
}
