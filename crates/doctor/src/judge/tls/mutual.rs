//! Client certificates: the server demands one, or does not like the one it gets.

use clearway_outcome::{FaultKind as Kind, Speaker};

use super::{MUTUAL, alert, begins};
use crate::case::View;
use crate::evidence::{Greeting, Handshake, Probe};
use crate::opinion::{Opinion, Site};
use crate::view::place;

const HANDSHAKE_FAILURE: u8 = 40;
const BAD_CERTIFICATE: u8 = 42;
const CERTIFICATE_UNKNOWN: u8 = 46;
const CERTIFICATE_REQUIRED: u8 = 116;
/// What servers say to a certificate that they do not like.
const DISLIKES: &[u8] = &[43, 44, 45, 48, 49];

/// Whether the balancer has a certificate to show; `None` = not known.
fn has_certificate(view: &View<'_>) -> Option<bool> {
    let backend = view.configured_backend()?;
    Some(
        backend
            .tls
            .as_ref()
            .is_some_and(|tls| tls.certificate.is_some()),
    )
}

fn asks_for_one(view: &View<'_>) -> Option<bool> {
    // A server asks before it can dislike that there is none, so an alert without the question is about
    // something else.
    let known = |found: &Handshake| {
        found.wants_certificate || found.fault.is_none() || found.signal.is_some()
    };
    let is_known = view.handshakes().any(|(_, found)| known(found));
    let asks = view.handshakes().any(|(_, found)| found.wants_certificate);
    is_known.then_some(asks)
}

/// Faults that come in other ways, too: then only what else is seen counts.
fn is_vague(view: &View<'_>) -> bool {
    !view.is(&[Kind::ServerWantsCertificate])
}

/// What is in common; `false` when nothing can be said for it.
fn looks(view: &View<'_>, it: &mut Opinion) -> bool {
    let has_tls = view
        .configured_backend()
        .map(|backend| backend.tls.is_some());
    if has_tls == Some(false)
        || (has_tls.is_none()
            && is_vague(view)
            && alert(view).is_none()
            && !view
                .group
                .may_be(&[Kind::ServerWantsCertificate, Kind::ServerTlsAlert]))
    {
        it.rule_out();
        return false;
    }
    if !view.is(MUTUAL) && !begins(view, it) {
        return false;
    }
    it.wants(Probe::Hello(Greeting::default()));
    view.weigh_pitfalls(it, !is_vague(view));
    true
}

pub(super) fn certificate_required(view: &View<'_>, it: &mut Opinion) {
    if !looks(view, it) {
        return;
    }
    let has = has_certificate(view);
    if !is_vague(view) {
        it.fair(view.seen());
    }
    let asks = asks_for_one(view);
    match asks {
        Some(true) => {
            it.strong(view.probed("in the handshake the server asks for a client certificate"));
        }
        Some(false) => {
            it.strongly_against(view.probed("in a handshake the server asks for no certificate"));
        }
        None => it.missing("whether the server asks for a client certificate"),
    }
    match has {
        Some(true) => it.against(view.symptom("the balancer has a certificate to show")),
        Some(false) => it.hint(view.symptom("the balancer has no certificate to show")),
        None => it.missing("whether the balancer has a client certificate"),
    }
    match alert(view) {
        Some((CERTIFICATE_REQUIRED, fact)) if has == Some(false) => it.proof(fact),
        Some((CERTIFICATE_REQUIRED, fact)) => it.strong(fact),
        Some((BAD_CERTIFICATE | HANDSHAKE_FAILURE, fact)) if has == Some(false) => {
            let past_hello = view
                .group
                .tls
                .as_deref()
                .is_some_and(|facts| facts.version != 0);
            // The server had chosen a version and a suite before it gave up, so that is not what it misses.
            if asks == Some(true) && past_hello && view.case.successes.count == 0 {
                it.proof(fact);
            } else {
                it.fair(fact);
            }
        }
        Some((BAD_CERTIFICATE | HANDSHAKE_FAILURE | CERTIFICATE_UNKNOWN, fact)) => it.hint(fact),
        Some((number, fact)) if DISLIKES.contains(&number) && has != Some(false) => {
            it.against(fact);
        }
        Some((70 | 71 | 112 | 120, _)) => return it.rule_out(),
        Some(_) | None => {}
    }
    it.say(format!(
        "{} demands a client certificate, and the balancer shows none.",
        view.address()
    ));
    show_fix(
        view,
        it,
        "show a certificate of an authority that the server trusts",
    );
}

pub(super) fn certificate_rejected(view: &View<'_>, it: &mut Opinion) {
    if !looks(view, it) {
        return;
    }
    let has = has_certificate(view);
    match has {
        Some(false) => return it.rule_out(),
        Some(true) => it.fair(view.symptom("the balancer shows a certificate")),
        None => it.missing("whether the balancer has a client certificate"),
    }
    if !is_vague(view) {
        it.fair(view.seen());
    }
    if asks_for_one(view) == Some(false) {
        it.strongly_against(view.probed("in a handshake the server asks for no certificate"));
    }
    let mut why = "";
    match alert(view) {
        Some((number, fact)) if DISLIKES.contains(&number) => {
            it.strong(fact);
            why = reason(number);
        }
        Some((BAD_CERTIFICATE | CERTIFICATE_UNKNOWN, fact)) => it.fair(fact),
        Some((CERTIFICATE_REQUIRED, fact)) if has == Some(true) => {
            // Clients keep back certificates of authorities that the server does not name.
            it.fair(fact);
            why = "it is of an authority that the server does not ask for, so it is not even shown";
        }
        Some((CERTIFICATE_REQUIRED, fact)) => it.against(fact),
        Some((HANDSHAKE_FAILURE, fact)) => it.hint(fact),
        Some((70 | 71 | 112 | 120, _)) => return it.rule_out(),
        Some(_) | None => {}
    }
    it.say(if why.is_empty() {
        format!(
            "{} does not accept the balancer's client certificate.",
            view.address()
        )
    } else {
        format!(
            "{} does not accept the balancer's client certificate: {why}.",
            view.address()
        )
    });
    show_fix(
        view,
        it,
        "show a certificate that is valid, meant for clients, and of an authority that the \
         server trusts",
    );
}

fn reason(alert: u8) -> &'static str {
    match alert {
        43 => "it is of a kind that the server does not take",
        44 => "it was revoked",
        45 => "it has expired",
        48 => "its authority is unknown to the server",
        49 => "it is valid, and gives no access",
        _ => "",
    }
}

fn show_fix(view: &View<'_>, it: &mut Opinion, what: &str) {
    let tls = view
        .configured_backend()
        .and_then(|backend| backend.tls.as_ref());
    let setting = tls.and_then(|tls| tls.certificate.as_ref());
    if let Some(setting) = setting {
        it.note(view.setting(setting, format!("the certificate is {}", setting.value)));
    }
    let written = setting.and_then(|setting| setting.origin.as_ref());
    let server = view
        .configured()
        .and_then(|(_, server)| server.origin.as_ref());
    let pass = view
        .configured_backend()
        .and_then(|backend| backend.pass_origin.as_ref().or(backend.origin.as_ref()));
    let (at, line) = match view.dialect() {
        Speaker::Nginx => (
            written.or(pass),
            "proxy_ssl_certificate client.pem; proxy_ssl_certificate_key client.key;",
        ),
        Speaker::Haproxy => (written.or(server), "crt /etc/haproxy/client.pem"),
        Speaker::Clearway => (
            written.or(pass),
            "tls = { certificate = \"/etc/clearway/client.pem\" }",
        ),
        Speaker::Envoy => (None, "common_tls_context: { tls_certificates: [...] }"),
        Speaker::Alb => {
            return it.fix(
                Site::Server,
                "Make the client certificate optional: AWS ALB cannot show one to targets",
                "",
            );
        }
    };
    it.fix(Site::Config, format!("{}{what}", place(at)), line);
}
