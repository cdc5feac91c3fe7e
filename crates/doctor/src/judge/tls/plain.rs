//! One side speaks TLS and the other does not.

use clearway_config::survey::{BackendSurvey, Spoke};
use clearway_outcome::{FaultKind as Kind, Speaker, Spoken};

use super::{HANDSHAKE, ask, begins, is_done, speaks_tls};
use crate::case::View;
use crate::evidence::{Ask, Greeting, Probe, Reply};
use crate::opinion::{Opinion, Site};
use crate::view::place;

/// Ports on which plain HTTP is usual, and TLS.
const PLAIN_PORTS: &[u16] = &[80, 3000, 5000, 8000, 8080, 8081, 9000];
const TLS_PORTS: &[u16] = &[443, 4443, 6443, 8443, 9443];

pub(super) fn tls_to_plaintext(view: &View<'_>, it: &mut Opinion) {
    if !begins(view, it) {
        return;
    }
    let sure = view.is(&[Kind::ServerSpeaksPlain]);
    view.weigh_pitfalls(it, sure);
    it.wants(Probe::Request(ask(false)));
    it.wants(Probe::Hello(Greeting::default()));
    if sure {
        it.strong(view.seen());
    } else if view.is(&[Kind::ServerTlsTimeout]) {
        it.hint(view.seen());
    }
    first_bytes(view, it, sure);
    if view.case.successes.count > 0 && view.is(HANDSHAKE) {
        it.strongly_against(view.symptom(format!(
            "{} requests over TLS went well",
            view.case.successes.count
        )));
    }
    let hello = view.handshake(&Greeting::default());
    if hello.is_some_and(speaks_tls) {
        return it.rule_out();
    }
    let has_tls = view
        .configured_backend()
        .is_some_and(|backend| backend.tls.is_some());
    if PLAIN_PORTS.contains(&view.port()) && (has_tls || view.is(HANDSHAKE)) {
        it.hint(view.symptom(format!("port {} is usually plain HTTP", view.port())));
    }
    let is_proven = match view.reply(&ask(false)) {
        Some(reply) if is_plain(reply) && (is_certain_status(reply) || hello.is_some()) => {
            it.proof(view.probed(format!(
                "GET / in clear is answered with status {}, and a TLS handshake is not",
                reply.status
            )));
            true
        }
        Some(reply) if reply.is_answered() => {
            it.fair(view.probed(format!("a request in clear gets status {}", reply.status)));
            false
        }
        Some(_) => {
            it.against(view.probed("a request in clear is not answered either"));
            false
        }
        None => {
            it.missing("whether a request in clear is answered");
            false
        }
    };
    it.say(format!(
        "The balancer speaks TLS to {}, which speaks plain HTTP.",
        view.address()
    ));
    without_tls(view, it, is_proven);
}

/// What came in place of TLS.
fn first_bytes(view: &View<'_>, it: &mut Opinion, sure: bool) {
    // A PROXY header before the ClientHello makes TLS servers answer in clear, that they expect TLS.
    let header = view
        .configured_backend()
        .map(|backend| backend.proxy_header.value);
    match Spoken::of(view.group.first_bytes()) {
        Some(Spoken::Http1Response {
            wants_tls: true, ..
        }) => {
            it.strongly_against(view.symptom("it answers that its port expects TLS"));
        }
        Some(spoken @ (Spoken::Http1Response { .. } | Spoken::Html)) => {
            let fact = view.symptom(format!("it answers a TLS handshake with {spoken}"));
            if sure && header == Some(0) && view.case.successes.count == 0 {
                it.proof(fact);
            } else {
                it.fair(fact);
            }
        }
        Some(spoken) => it.fair(view.symptom(format!("it answers a TLS handshake with {spoken}"))),
        None => {}
    }
    if header.is_some_and(|version| version > 0) {
        it.against(
            view.symptom("a PROXY header is sent before the handshake, which TLS ports refuse too"),
        );
    }
}

/// Whether a server of plain HTTP answered, and not one that says that it wants TLS. Those say 400, and
/// where is written in the body.
fn is_plain(reply: &Reply) -> bool {
    let wants_tls = matches!(
        Spoken::of(reply.first.as_bytes()),
        Some(Spoken::Http1Response {
            wants_tls: true,
            ..
        })
    );
    reply.is_answered() && !wants_tls
}

/// Whether no server that wants TLS answers so: they say 400, 497, or lead to `https://`.
fn is_certain_status(reply: &Reply) -> bool {
    !matches!(reply.status, 300..=308 | 400 | 421 | 426 | 497)
}

fn without_tls(view: &View<'_>, it: &mut Opinion, is_verified: bool) {
    let found = view.configured();
    let server = place(found.and_then(|(_, server)| server.origin.as_ref()));
    let pass = view.place_of_pass();
    let (words, line) = match view.dialect() {
        Speaker::Nginx => (
            format!("{pass}speak plain HTTP"),
            format!("proxy_pass http://{};", backend_name(view)),
        ),
        Speaker::Haproxy => (
            format!("{server}remove `ssl` and what belongs to it"),
            format!("server NAME {} check", view.address()),
        ),
        Speaker::Clearway => (
            format!(
                "{pass}remove `tls` from [backend.{}], or name the server's TLS port",
                backend_name(view)
            ),
            String::new(),
        ),
        Speaker::Envoy => (
            "remove `transport_socket` from the cluster, or name the server's TLS port".to_owned(),
            String::new(),
        ),
        Speaker::Alb => (
            "make a target group with the protocol HTTP".to_owned(),
            "aws elbv2 create-target-group --protocol HTTP …".to_owned(),
        ),
    };
    if is_verified {
        it.verified_fix(Site::Config, words, line);
    } else {
        it.fix(Site::Config, words, line);
    }
}

fn backend_name<'a>(view: &View<'a>) -> &'a str {
    let name = view.case.subject.backend.as_str();
    if name.is_empty() {
        view.address()
    } else {
        name
    }
}

pub(super) fn plaintext_to_tls(view: &View<'_>, it: &mut Opinion) {
    let backend = view.configured_backend();
    let sure = view.is(&[Kind::ServerSpeaksTls]);
    // Where bytes are passed on, what is in them is the client's affair.
    let speaks_clear_http =
        |backend: &BackendSurvey| backend.tls.is_none() && backend.speaks.value != Spoke::Tcp;
    if !sure && backend.is_some_and(|backend| !speaks_clear_http(backend)) {
        return it.rule_out();
    }
    view.weigh_pitfalls(it, sure);
    it.wants(Probe::Hello(Greeting::default()));
    it.wants(Probe::Request(ask(true)));
    if sure {
        it.proof(view.seen());
    }
    match Spoken::of(view.group.first_bytes()) {
        Some(spoken @ (Spoken::TlsAlert { .. } | Spoken::TlsServerHello | Spoken::TlsRecord)) => {
            it.strong(view.symptom(format!("its answer to a request in clear is {spoken}")));
        }
        Some(
            spoken @ Spoken::Http1Response {
                wants_tls: true, ..
            },
        ) => {
            it.strong(view.symptom(format!("it answers {spoken}")));
        }
        Some(_) if !sure => return it.rule_out(),
        Some(_) | None => {}
    }
    if view.case.successes.count > 0 && !view.is(&[Kind::ProbeStatus]) {
        it.strongly_against(view.symptom(format!(
            "{} requests in clear went well",
            view.case.successes.count
        )));
    }
    if TLS_PORTS.contains(&view.port()) {
        it.hint(view.symptom(format!("port {} is usually TLS", view.port())));
    }
    let as_configured = view
        .reply(&Ask::default())
        .or_else(|| view.reply(&ask(false)));
    if as_configured.is_some_and(|reply| is_plain(reply) && reply.status != 400) && !sure {
        return it.rule_out();
    }
    hello(view, it, backend.is_some());
    it.say(format!(
        "The balancer speaks plain HTTP to {}, which expects TLS.",
        view.address()
    ));
    let works = view.reply(&ask(true)).is_some_and(Reply::is_answered);
    with_tls(view, it, works);
}

/// What a handshake with the port said.
fn hello(view: &View<'_>, it: &mut Opinion, knows_plain: bool) {
    match view.handshake(&Greeting::default()) {
        Some(found) if speaks_tls(found) => {
            let words = if is_done(found) {
                "a TLS handshake with the same port succeeds".to_owned()
            } else {
                "a TLS handshake with the same port is answered in TLS".to_owned()
            };
            let fact = view.probed(words);
            let nothing_came = view.case.successes.count == 0 && view.group.received.max == 0;
            match (knows_plain, nothing_came) {
                (true, true) => it.proof(fact),
                (true, false) => it.strong(fact),
                (false, _) => it.fair(fact),
            }
        }
        Some(_) => it.strongly_against(view.probed("a TLS handshake with the same port fails")),
        None => it.missing("whether the port answers a TLS handshake"),
    }
}

fn with_tls(view: &View<'_>, it: &mut Opinion, is_verified: bool) {
    let server = view.place_of_server();
    let pass = view.place_of_pass();
    let (words, line) = match view.dialect() {
        Speaker::Nginx => (
            format!("{pass}speak TLS"),
            format!(
                "proxy_pass https://{}; proxy_ssl_server_name on;",
                backend_name(view)
            ),
        ),
        Speaker::Haproxy => (
            format!("{server}speak TLS"),
            format!(
                "server NAME {} ssl verify required ca-file FILE sni str(NAME) check",
                view.address()
            ),
        ),
        Speaker::Clearway => (
            format!("{pass}speak TLS"),
            format!("[backend.{}]\ntls = true", backend_name(view)),
        ),
        Speaker::Envoy => (
            "give the cluster a `transport_socket` of TLS with `sni`".to_owned(),
            String::new(),
        ),
        Speaker::Alb => (
            "make a target group with the protocol HTTPS".to_owned(),
            "aws elbv2 create-target-group --protocol HTTPS …".to_owned(),
        ),
    };
    if is_verified {
        it.verified_fix(Site::Config, words, line);
    } else {
        it.fix(Site::Config, words, line);
    }
}
