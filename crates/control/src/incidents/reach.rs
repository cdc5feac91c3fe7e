//! How a server of the Plan in force is reached by probes.

use clearway_config::model::{HealthKind, ServerProtocol};
use clearway_net::tls::ServerName;
use clearway_proxy::plan::{BackendPlan, SendProxy, ServerPlan};

use super::Key;
use crate::examine::Reach;
use crate::state::State;

/// As far as the server is in the Plan.
pub(super) fn of(state: &State, (backend, address): Key) -> Reach {
    let plan = state.plan();
    let group = plan.backends.iter().find(|b| b.name == backend);
    let mut out = Reach {
        resolvers: state.config().resolver.servers.clone(),
        ..Reach::default()
    };
    let Some(group) = group else { return out };
    out.check = check(group);
    out.http2 = group.config.protocol == ServerProtocol::H2;
    // Where no server was chosen, the first stands for all. One that has left is nobody's business any more,
    // and what another one answers says nothing about it.
    let server = if address.is_none() {
        group.servers.first()
    } else {
        group.servers.iter().find(|s| s.address == address)
    };
    if let Some(server) = server {
        add_server(&mut out, server);
    }
    out
}

fn check(group: &BackendPlan) -> Option<(Option<String>, String)> {
    let health = group.config.health.as_ref()?;
    if health.kind != HealthKind::Http {
        return None;
    }
    let host = health.host.as_ref().map(ToString::to_string);
    Some((host, health.path.as_str().to_owned()))
}

fn add_server(out: &mut Reach, server: &ServerPlan) {
    out.target = Some(server.target.clone());
    out.source = server.source;
    out.proxy_header = match server.send_proxy {
        SendProxy::Off => 0,
        SendProxy::V1 => 1,
        SendProxy::V2 => 2,
    };
    if let Some((tls, name)) = &server.tls {
        out.tls = Some((tls.client.clone(), name.clone()));
        if let ServerName::DnsName(name) = name {
            out.sni = Some(name.as_ref().to_owned());
        }
    }
}
