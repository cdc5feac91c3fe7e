//! What is known of TLS with the client; nothing of it has a value on a plain connection.

use clearway_base::clock;
use clearway_outcome::{CertificateFacts, TlsFacts};

use super::{Argument, Context, Short, Visit};

fn certificate<'a>(at: &Context<'a>) -> Option<&'a CertificateFacts> {
    at.view.tls?.certificate.as_ref()
}

/// Shows a text of the certificate, if there is one.
fn show(at: &Context<'_>, text: fn(&CertificateFacts) -> &str, visit: &mut Visit<'_>) -> bool {
    certificate(at).is_some_and(|facts| visit(text(facts).as_bytes()))
}

pub(super) fn hello(at: &Context<'_>, _: &Argument, visit: &mut Visit<'_>) -> bool {
    visit(if at.view.tls.is_some() { b"1" } else { b"0" })
}

pub(super) fn hello_version(at: &Context<'_>, _: &Argument, visit: &mut Visit<'_>) -> bool {
    let offered = at.view.tls.map_or(0, |tls| tls.offered);
    let number = u32::from(offered >> 8) << 16 | u32::from(offered & 0xff);
    offered != 0 && visit(Short::of(number).as_bytes())
}

pub(super) fn version(at: &Context<'_>, _: &Argument, visit: &mut Visit<'_>) -> bool {
    at.view
        .tls
        .is_some_and(|tls| visit(tls.version_name().as_bytes()))
}

pub(super) fn cipher(at: &Context<'_>, _: &Argument, visit: &mut Visit<'_>) -> bool {
    at.view
        .tls
        .is_some_and(|tls| visit(tls.cipher_name().as_bytes()))
}

pub(super) fn server_name(at: &Context<'_>, _: &Argument, visit: &mut Visit<'_>) -> bool {
    let name = at.view.tls.map(|tls| tls.server_name.as_str());
    name.is_some_and(|name| !name.is_empty() && visit(name.as_bytes()))
}

pub(super) fn alpn(at: &Context<'_>, _: &Argument, visit: &mut Visit<'_>) -> bool {
    let name = at.view.tls.map(|tls| tls.alpn.as_slice());
    name.is_some_and(|name| !name.is_empty() && visit(name))
}

pub(super) fn offered_version(at: &Context<'_>, _: &Argument, visit: &mut Visit<'_>) -> bool {
    let name = at.view.tls.and_then(|tls| tls.offer.version_name());
    name.is_some_and(|name| visit(name.as_bytes()))
}

pub(super) fn offered_alpn(at: &Context<'_>, _: &Argument, visit: &mut Visit<'_>) -> bool {
    let names = at.view.tls.map(|tls| tls.offer.alpn.as_slice());
    names.is_some_and(|names| !names.is_empty() && visit(names))
}

pub(super) fn resumed(at: &Context<'_>, _: &Argument, visit: &mut Visit<'_>) -> bool {
    let word = |tls: &TlsFacts| if tls.resumed { "true" } else { "false" };
    at.view.tls.is_some_and(|tls| visit(word(tls).as_bytes()))
}

pub(super) fn subject(at: &Context<'_>, _: &Argument, visit: &mut Visit<'_>) -> bool {
    show(at, |facts| &facts.subject, visit)
}

pub(super) fn issuer(at: &Context<'_>, _: &Argument, visit: &mut Visit<'_>) -> bool {
    show(at, |facts| &facts.issuer, visit)
}

pub(super) fn serial(at: &Context<'_>, _: &Argument, visit: &mut Visit<'_>) -> bool {
    show(at, |facts| &facts.serial, visit)
}

pub(super) fn fingerprint(at: &Context<'_>, _: &Argument, visit: &mut Visit<'_>) -> bool {
    show(at, |facts| &facts.fingerprint, visit)
}

/// Each name on its own in tests; all of them in templates, where the first alone would hide the rest.
pub(super) fn names(at: &Context<'_>, _: &Argument, visit: &mut Visit<'_>) -> bool {
    let Some(facts) = certificate(at) else {
        return false;
    };
    if at.raw && facts.names.len() > 1 {
        return visit(facts.names.join(",").as_bytes());
    }
    facts.names.iter().any(|name| visit(name.as_bytes()))
}

pub(super) fn not_after(at: &Context<'_>, _: &Argument, visit: &mut Visit<'_>) -> bool {
    certificate(at).is_some_and(|facts| visit(&clock::rfc3339_seconds(facts.not_after)))
}

pub(super) fn verdict(at: &Context<'_>, _: &Argument, visit: &mut Visit<'_>) -> bool {
    at.view
        .tls
        .is_some_and(|tls| visit(tls.verdict.name().as_bytes()))
}
