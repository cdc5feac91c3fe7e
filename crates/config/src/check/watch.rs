//! Who looks after servers: what they track, agents, and which port checks ask.

use super::Findings;
use crate::model::{Backend, Config, Server, ServerAddress, ServerProtocol};

/// Looks at the servers of a backend.
pub(super) fn check(config: &Config, backend: &Backend, found: &mut Findings) {
    for server in &backend.servers {
        if let Some(text) = &server.track {
            track(config, (backend, server), text, found);
        }
        // One without an address has been told of.
        if server.address.takes_port() && server.address != ServerAddress::default() {
            port(backend, server, found);
        }
    }
}

/// What is tracked is there, and is looked after.
fn track(
    config: &Config,
    (backend, server): (&Backend, &Server),
    text: &str,
    found: &mut Findings,
) {
    let origin = server.origins.field_or_section("track");
    let (group, name) = text
        .split_once('/')
        .unwrap_or((backend.name.as_str(), text));
    let known = config.backend(group);
    let tracked = known.and_then(|group| group.servers.iter().find(|s| s.label() == name));
    let Some(tracked) = tracked else {
        let message = format!("there is no server {group}/{name} to track");
        return found.error("unknown-name", origin, message);
    };
    if std::ptr::eq(tracked, server) {
        return found.error("contradiction", origin, "a server cannot track itself");
    }
    let is_checked = tracked.checked && known.is_some_and(|group| group.health.is_some());
    if !is_checked && tracked.track.is_none() && tracked.agent.is_none() {
        let message = format!("nobody looks after {group}/{name}, which is tracked");
        found.no_effect(origin, message, "check it, or ask an agent on it");
    }
}

/// A port that is that of the client's connection is none to check, and no connection to it is shared.
fn port(backend: &Backend, server: &Server, found: &mut Findings) {
    let origin = server.origins.field_or_section("address");
    let label = server.label();
    if matches!(
        backend.protocol_of(server),
        ServerProtocol::H2 | ServerProtocol::Auto
    ) {
        let message =
            format!("connections to {label} cannot be shared: its port is that of the client's");
        found.error("contradiction", origin, message);
    }
    let asks = backend
        .health
        .as_ref()
        .filter(|_| server.checked && server.track.is_none());
    if asks.is_some_and(|health| health.port.or(server.check_port).is_none()) {
        let message =
            format!("{label} has no port of its own that could be checked: set check_port");
        found.error("contradiction", origin, message);
    }
}
