//! What is known about the connection and the request as a whole.

use clearway_outcome::Address;

use super::{Argument, Context, Short, Visit};

/// A client on a Unix socket has no address.
pub(super) fn source(at: &Context<'_>, _: &Argument, visit: &mut Visit<'_>) -> bool {
    at.view
        .source()
        .is_some_and(|ip| visit(Short::of(ip).as_bytes()))
}

pub(super) fn source_port(at: &Context<'_>, _: &Argument, visit: &mut Visit<'_>) -> bool {
    match at.view.client {
        Address::Ip(address) => visit(Short::of(address.port()).as_bytes()),
        Address::Unix => false,
    }
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

pub(super) fn listener(at: &Context<'_>, _: &Argument, visit: &mut Visit<'_>) -> bool {
    visit(at.view.listener.as_str().as_bytes())
}

pub(super) fn scheme(at: &Context<'_>, _: &Argument, visit: &mut Visit<'_>) -> bool {
    visit(at.view.scheme.as_bytes())
}

pub(super) fn id(at: &Context<'_>, _: &Argument, visit: &mut Visit<'_>) -> bool {
    visit(&at.view.id.text())
}
