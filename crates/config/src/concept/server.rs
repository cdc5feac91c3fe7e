//! `servers`: the members of a backend.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::json;

use super::backend::{SendProxy, ServerProtocol};
use super::tls::BackendTls;
use super::{concept, table_value};
use crate::syntax::Node;
use crate::value::{
    Identifier, OrOff, Reader, ServerAddress, Spec, Text, Value, choices, print_inline, read_table,
    read_text, section_schema,
};
use crate::words;

concept! {
    /// One server: an address, or a table with an address and settings.
    Server, "server";

    /// Where it is: `"10.0.0.1:8080"`, `"app.internal:80"` (looked up again and again), `"10.0.0.1:*"` (with the
    /// port of the client's connection; not for HTTP/2), `"srv:_http._tcp.example.org"` or `"unix:/run/app.sock"`.
    address: ServerAddress = ServerAddress::default(), required = true,
        example = Some("\"10.0.0.1:8080\"");
    /// Its name in logs, receipts and the admin API; the address when absent. Metrics go by the
    /// address, which tells the servers behind one name apart.
    name: Option<Identifier> = None, example = Some("\"app-1\"");
    /// Its part of the requests, compared with the others; 0 = only what stickiness brings.
    weight: u32 = 1, range = Some((0.0, 1_000.0)), example = Some("3");
    /// Used only when no other server is usable.
    backup: bool = false, example = Some("true");
    /// Servers with a lower number are used first; the others when none of those is usable.
    priority: u8 = 0, range = Some((0.0, 100.0)), example = Some("1");
    /// Requests at the same time, over all workers; 0 = no limit. The backend's when absent.
    maxconn: Option<u32> = None, example = Some("100");
    /// What it may be used for.
    state: ServerState = ServerState::Ready, example = Some("\"drain\"");
    /// Whether it is checked where the backend has checks.
    checked: bool = true, example = Some("false");
    /// What the sticky cookie says of it, in place of a token that says nothing.
    cookie: Option<String> = None, example = Some("\"a\"");
    /// TLS with it, in place of the backend's; `"off"` = none.
    tls: Option<OrOff<BackendTls>> = None, example = Some("\"off\"");
    /// What is spoken with it, in place of what the backend says.
    protocol: Option<ServerProtocol> = None, example = Some("\"h2\"");
    /// What is sent before the first byte, in place of what the backend says.
    send_proxy: Option<SendProxy> = None, example = Some("\"v2\"");
    /// How long it takes to get its full part after it came up. The backend's when absent.
    slow_start: Option<Duration> = None, example = Some("\"30s\"");
    /// The port that checks ask, in place of what the backend's checks say.
    check_port: Option<u16> = None, range = Some((1.0, 65_535.0)), example = Some("8008");
    /// The address that checks ask, in place of the server's own.
    check_address: Option<IpAddr> = None, example = Some("\"10.0.1.1\"");
    /// An agent on the server that says what it can take.
    agent: Option<Agent> = None, example = Some("{ port = 9990 }");
    /// A server whose verdict holds for this one too, which has no checks of its own: `BACKEND/NAME`, or the
    /// name of a server of the same backend.
    track: Option<String> = None, example = Some("\"app/app-1\"");
    /// Whether what it has open is ended at once when it goes down: connections, tunnels, and requests under
    /// way.
    close_on_down: bool = false, example = Some("true");
    /// Whether those of the backend's backup servers are ended when it comes up.
    close_backups_on_up: bool = false, example = Some("true");
}

concept! {
    /// An agent: a program on the server that is asked over TCP and answers with a line. Its words, apart by
    /// spaces or commas, are `up`, `down`, `fail` or `stopped`; `ready`, `drain` or `maint`; a weight as `50%` of
    /// the configured one; and `maxconn:100`. What follows `#` is for people. One that cannot be asked changes
    /// nothing.
    Agent, "agent";

    /// Its port.
    port: u16 = 0, required = true, always = true, range = Some((1.0, 65_535.0)), example = Some("9990");
    /// Its address, in place of the server's own.
    address: Option<IpAddr> = None, example = Some("\"10.0.1.1\"");
    /// Time between questions.
    interval: Duration = Duration::from_secs(2), range = Some((0.01, 86_400.0));
    /// Text that it is sent.
    send: Option<String> = None, example = Some("\"app-1\\n\"");
}
table_value!(Agent);

choices! {
    /// What a server may be used for.
    ServerState {
        /// Everything.
        Ready = "ready",
        /// Clients that stick to it.
        Drain = "drain",
        /// Nothing.
        Maintenance = "maint",
    }
}

impl Server {
    /// A server with defaults.
    #[must_use]
    pub fn new(address: ServerAddress) -> Self {
        Self {
            address,
            ..Self::default()
        }
    }

    /// Its name, or its address as text.
    #[must_use]
    pub fn label(&self) -> String {
        match &self.name {
            Some(name) => name.to_string(),
            None => self.address.to_string(),
        }
    }
}

impl Value for Server {
    fn read(node: &Node, _: &Spec, reader: &mut Reader<'_>) -> Option<Self> {
        if node.as_table().is_some() {
            return read_table(node, reader);
        }
        if node.as_text().is_none() {
            return reader.wrong_type(node, "an address, or a table with an address");
        }
        let mut server = Self::new(read_text(node, reader)?);
        let origin = reader.origin(&node.span);
        server.origins = crate::diagnostic::Origins::new(origin.clone());
        server.origins.set("address", origin);
        Some(server)
    }

    fn print(&self, _: &Spec, out: &mut String) {
        if *self == Self::new(self.address.clone()) {
            out.push_str(&words::quoted(&self.address.text()));
        } else {
            print_inline(self, out);
        }
    }

    fn kind(_: &Spec) -> String {
        "address, or table, see server".to_owned()
    }

    fn schema(_: &Spec) -> serde_json::Value {
        json!({ "anyOf": [{ "type": "string" }, section_schema::<Self>()] })
    }

    #[cfg(test)]
    fn sample(rng: &mut clearway_base::rng::Rng, _: &Spec) -> Self {
        <Self as crate::value::Section>::sample_section(rng)
    }
}
