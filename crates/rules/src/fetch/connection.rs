//! What is known about the connection and the request as a whole.

use std::net::{IpAddr, SocketAddr};

use clearway_base::intern::Name;
use clearway_http::proxy_protocol;
use clearway_outcome::{Address, TcpPace};

use super::{Argument, Context, Short, Visit};
use crate::scratch::Scratch;
use crate::view::View;

/// What a rule has set in place of a value, in the variable of its name.
fn instead<'a>(at: &Context<'a>, name: &str) -> Option<&'a [u8]> {
    match at.scratch.has_variables() {
        true => at.scratch.variable(Name::new(name)),
        false => None,
    }
}

/// The address of the client, or the one that a rule has set in its place.
pub(crate) fn client(view: &View<'_>, scratch: &Scratch) -> Option<IpAddr> {
    if scratch.has_variables()
        && let Some(text) = scratch.variable(Name::new("client_ip"))
    {
        return crate::matcher::address(text);
    }
    view.source(scratch)
}

/// A client on a Unix socket has no address.
pub(super) fn source(at: &Context<'_>, _: &Argument, visit: &mut Visit<'_>) -> bool {
    if let Some(address) = instead(at, "client_ip") {
        return visit(address);
    }
    at.view
        .source(at.scratch)
        .is_some_and(|ip| visit(Short::of(ip).as_bytes()))
}

pub(super) fn source_or(at: &Context<'_>, other: &Argument, visit: &mut Visit<'_>) -> bool {
    match at.view.source(at.scratch) {
        Some(ip) => visit(Short::of(ip).as_bytes()),
        None => visit(other.text.as_bytes()),
    }
}

pub(super) fn source_port(at: &Context<'_>, _: &Argument, visit: &mut Visit<'_>) -> bool {
    match at.view.client(at.scratch) {
        // A header tells the address alone.
        Address::Ip(address) if address.port() == 0 => false,
        Address::Ip(address) => visit(Short::of(address.port()).as_bytes()),
        Address::Unix => false,
    }
}

pub(super) fn peer(at: &Context<'_>, _: &Argument, visit: &mut Visit<'_>) -> bool {
    let ip = peer_of(at).and_then(|peer| peer.ip());
    ip.is_some_and(|ip| visit(Short::of(ip.to_canonical()).as_bytes()))
}

pub(super) fn peer_port(at: &Context<'_>, _: &Argument, visit: &mut Visit<'_>) -> bool {
    match peer_of(at) {
        Some(Address::Ip(address)) => visit(Short::of(address.port()).as_bytes()),
        Some(Address::Unix) | None => false,
    }
}

fn peer_of(at: &Context<'_>) -> Option<Address> {
    Some(match at.view.around {
        Some(around) => around.peer(),
        None => at.view.client,
    })
}

/// One of the addresses of a PROXY header: where the connection came from, and where it went.
fn proxied(at: &Context<'_>, to: bool) -> Option<SocketAddr> {
    let (from, destination) = at.view.around?.proxied()?;
    if to { destination } else { from }
}

pub(super) fn proxied_ip(at: &Context<'_>, which: &Argument, visit: &mut Visit<'_>) -> bool {
    let address = proxied(at, &*which.text == "to");
    address.is_some_and(|a| visit(Short::of(a.ip().to_canonical()).as_bytes()))
}

pub(super) fn proxied_port(at: &Context<'_>, which: &Argument, visit: &mut Visit<'_>) -> bool {
    let address = proxied(at, &*which.text == "to");
    address.is_some_and(|a| visit(Short::of(a.port()).as_bytes()))
}

pub(super) fn proxied_field(at: &Context<'_>, which: &Argument, visit: &mut Visit<'_>) -> bool {
    let kind = match &*which.text {
        "authority" => Some(proxy_protocol::AUTHORITY),
        "unique_id" => Some(proxy_protocol::UNIQUE_ID),
        number => number.parse().ok(),
    };
    let around = at.view.around;
    let value = kind.and_then(|kind| around?.proxied_field(kind));
    value.is_some_and(visit)
}

pub(super) fn requests(at: &Context<'_>, _: &Argument, visit: &mut Visit<'_>) -> bool {
    let requests = at.view.around.map(|around| around.requests());
    requests.is_some_and(|count| visit(Short::of(count).as_bytes()))
}

/// A number of what the kernel knows of the client's connection.
fn pace(at: &Context<'_>, number: fn(&TcpPace) -> u32, visit: &mut Visit<'_>) -> bool {
    let pace = at.view.around.and_then(|around| around.tcp());
    pace.is_some_and(|pace| visit(Short::of(number(&pace)).as_bytes()))
}

pub(super) fn tcp_rtt(at: &Context<'_>, _: &Argument, visit: &mut Visit<'_>) -> bool {
    pace(at, |pace| pace.rtt_us, visit)
}

pub(super) fn tcp_rttvar(at: &Context<'_>, _: &Argument, visit: &mut Visit<'_>) -> bool {
    pace(at, |pace| pace.rttvar_us, visit)
}

pub(super) fn tcp_cwnd(at: &Context<'_>, _: &Argument, visit: &mut Visit<'_>) -> bool {
    pace(at, |pace| pace.congestion_window, visit)
}

pub(super) fn tcp_rcv_space(at: &Context<'_>, _: &Argument, visit: &mut Visit<'_>) -> bool {
    pace(at, |pace| pace.receive_space, visit)
}

/// With three decimals.
pub(super) fn exact_now(at: &Context<'_>, _: &Argument, visit: &mut Visit<'_>) -> bool {
    let now = at
        .view
        .around
        .map(|around| around.since_epoch().as_millis());
    now.is_some_and(|ms| {
        visit(Short::of(format_args!("{}.{:03}", ms / 1_000, ms % 1_000)).as_bytes())
    })
}

pub(super) fn port(at: &Context<'_>, _: &Argument, visit: &mut Visit<'_>) -> bool {
    at.view
        .port
        .is_some_and(|port| visit(Short::of(port).as_bytes()))
}

pub(super) fn port_suffix(at: &Context<'_>, _: &Argument, visit: &mut Visit<'_>) -> bool {
    let default = if at.view.scheme == "https" { 443 } else { 80 };
    let port = at.view.port.filter(|port| *port != default);
    port.is_some_and(|port| visit(Short::of(format_args!(":{port}")).as_bytes()))
}

/// A listener on a Unix socket has no address.
pub(super) fn local(at: &Context<'_>, _: &Argument, visit: &mut Visit<'_>) -> bool {
    if let Some(address) = instead(at, "server_ip") {
        return visit(address);
    }
    let local = at.view.around.and_then(|around| around.local());
    local.is_some_and(|ip| visit(Short::of(ip.to_canonical()).as_bytes()))
}

pub(super) fn host_or_address(
    at: &Context<'_>,
    argument: &Argument,
    visit: &mut Visit<'_>,
) -> bool {
    match (at.scratch.host(), at.view.around.and_then(|a| a.local())) {
        (b"", Some(IpAddr::V6(ip))) if ip.to_ipv4_mapped().is_none() => {
            visit(Short::of(format_args!("[{ip}]")).as_bytes())
        }
        (b"", _) => local(at, argument, visit),
        (host, _) => visit(host),
    }
}

pub(super) fn servers_up(at: &Context<'_>, name: &Argument, visit: &mut Visit<'_>) -> bool {
    let count = at
        .view
        .around
        .and_then(|around| around.servers_up(&name.text));
    visit(Short::of(count.unwrap_or(0)).as_bytes())
}

pub(super) fn server_up(at: &Context<'_>, name: &Argument, visit: &mut Visit<'_>) -> bool {
    let (backend, server) = name.text.split_once('/').unwrap_or((&name.text, ""));
    let is_up = at
        .view
        .around
        .and_then(|around| around.is_up(backend, server));
    visit(if is_up == Some(true) { b"1" } else { b"0" })
}

/// By the id of the request, whose bits are as good as any.
pub(super) fn random(at: &Context<'_>, below: &Argument, visit: &mut Visit<'_>) -> bool {
    let below = below.text.trim().parse::<u64>().unwrap_or(0).max(1);
    let chance = clearway_base::hash::stable(&at.view.id.0.to_le_bytes()) % below;
    visit(Short::of(chance).as_bytes())
}

/// By the id of the request, whose bits are as good as any.
pub(super) fn uuid(at: &Context<'_>, _: &Argument, visit: &mut Visit<'_>) -> bool {
    let half = |which: u8| {
        let mut seed = [which; 9];
        let (id, _) = seed.split_at_mut(8);
        id.copy_from_slice(&at.view.id.0.to_le_bytes());
        clearway_base::hash::stable(&seed)
    };
    let (high, low) = (half(1), half(2));
    let id = format_args!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xfff,
        low >> 48 & 0x3fff | 0x8000,
        low & 0xffff_ffff_ffff,
    );
    visit(Short::of(id).as_bytes())
}

pub(super) fn listener(at: &Context<'_>, _: &Argument, visit: &mut Visit<'_>) -> bool {
    visit(at.view.listener.as_str().as_bytes())
}

pub(super) fn chosen(at: &Context<'_>, _: &Argument, visit: &mut Visit<'_>) -> bool {
    let name = match at.view.backend.is_none() {
        true => at.view.listener,
        false => at.view.backend,
    };
    visit(name.as_str().as_bytes())
}

pub(super) fn first(at: &Context<'_>, _: &Argument, visit: &mut Visit<'_>) -> bool {
    let is_first = at.view.around.is_none_or(|around| around.is_first());
    visit(if is_first { b"1" } else { b"0" })
}

pub(super) fn now(at: &Context<'_>, _: &Argument, visit: &mut Visit<'_>) -> bool {
    let now = at.view.around.map(|around| around.since_epoch().as_secs());
    now.is_some_and(|now| visit(Short::of(now).as_bytes()))
}

pub(super) fn scheme(at: &Context<'_>, _: &Argument, visit: &mut Visit<'_>) -> bool {
    visit(at.view.scheme.as_bytes())
}

pub(super) fn id(at: &Context<'_>, _: &Argument, visit: &mut Visit<'_>) -> bool {
    match instead(at, "id") {
        Some(id) => visit(id),
        None => visit(&at.view.id.text()),
    }
}
