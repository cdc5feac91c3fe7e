//! Handshakes that fail for the name asked for, or end without a word.

use clearway_outcome::{FaultKind as Kind, Signal, Speaker};

use super::agree::{HANDSHAKE_FAILURE, UNRECOGNIZED_NAME, names_another};
use super::{
    Asked, alert, ask, asked, begins, by_host, host, is_done, is_for, names, shown, speaks_tls,
    wanted,
};
use crate::case::View;
use crate::evidence::{Greeting, Handshake, Probe, SniWord, Then};
use crate::opinion::{Opinion, Site};
use crate::view::time;

// The name asked for.

pub(super) fn sni_missing_or_wrong(view: &View<'_>, it: &mut Opinion) {
    if !begins(view, it) {
        return;
    }
    view.weigh_pitfalls(it, view.is(&[Kind::ServerTlsAlert]));
    let asked = asked(view);
    it.wants(Probe::Hello(Greeting::default()));
    let name = host(view).or_else(|| wanted(view));
    if let Some(name) = &name {
        it.wants(Probe::Hello(by_host(name)));
    }
    if let Some((number, fact)) = alert(view) {
        match number {
            UNRECOGNIZED_NAME => {
                it.strong(fact);
                it.fair(view.symptom("that is what servers say to a name that they do not have"));
            }
            HANDSHAKE_FAILURE => it.fair(fact),
            other if names_another(other, &[]) => return it.rule_out(),
            _ => {}
        }
    }
    match &asked {
        Asked::Nothing => it.fair(view.symptom("the balancer asks for no name (SNI)")),
        Asked::Name(asked) => {
            it.note(view.symptom(format!("the balancer asks for the name {asked}")));
            if name.as_ref().is_some_and(|name| name == asked) {
                it.against(view.symptom("that is the name that requests are for"));
            }
        }
        Asked::Unknown => it.missing("which name the balancer asks for (SNI)"),
    }
    let is_verified = tell_names_apart(view, it, name.as_deref());
    let with = match &asked {
        Asked::Nothing => "without a server name (SNI)".to_owned(),
        Asked::Name(asked) => format!("for the name {asked}"),
        Asked::Unknown => "perhaps without a server name (SNI)".to_owned(),
    };
    it.say(match (&name, is_verified) {
        (Some(name), true) => {
            format!("The server wants to be asked for {name}, and the balancer asks {with}.")
        }
        _ => format!("The server does not like to be asked {with}."),
    });
    sni_fix(view, it, name.as_deref().unwrap_or("NAME"), is_verified);
}

/// Whether another name makes the difference.
fn tell_names_apart(view: &View<'_>, it: &mut Opinion, name: Option<&str>) -> bool {
    let Some(as_configured) = view.handshake(&Greeting::default()) else {
        it.missing("whether a handshake with another name succeeds");
        return false;
    };
    let named = name.and_then(|name| Some((name, view.handshake(&by_host(name))?)));
    if let (Some(name), Some(found)) = (name, certificate_of(as_configured))
        && is_done(as_configured)
    {
        // It shows something: whether that is the right thing depends on the name asked for.
        let other = named.as_ref().and_then(|(_, found)| certificate_of(found));
        return match other {
            Some(other) if is_for(other, name) && !is_for(found, name) => {
                let fact = view.probed(format!(
                    "asked for {name} it shows a certificate for {}, and otherwise one for {}",
                    names(other),
                    names(found)
                ));
                // That the certificate depends on the name explains one for another name, not an alert.
                if view.is(&[Kind::ServerCertificateName]) {
                    it.proof(fact);
                } else {
                    it.fair(fact);
                }
                true
            }
            Some(_) => {
                it.strongly_against(view.probed("the name asked for makes no difference"));
                false
            }
            None => false,
        };
    }
    let without = view.handshake(&Greeting {
        sni: SniWord::None,
        ..Greeting::default()
    });
    let alerted = matches!(as_configured.signal, Some(Signal::TlsAlert(_)));
    let never = view.case.successes.count == 0;
    match (named, without) {
        (Some((name, found)), _) if is_done(found) && !is_done(as_configured) => {
            let fact = view.probed(format!(
                "a handshake for {name} succeeds, and one as configured does not"
            ));
            // A server that only sometimes drops connections would look the same, but for the alert.
            if alerted && never {
                it.proof(fact);
            } else {
                it.strong(fact);
            }
            true
        }
        (_, Some(found)) if is_done(found) && !is_done(as_configured) => {
            let fact = view.probed(
                "a handshake without a server name succeeds, and one as configured does not",
            );
            it.strong(fact);
            false
        }
        (Some((name, _)), _) if !is_done(as_configured) => {
            it.strongly_against(view.probed(format!("a handshake for {name} fails, too")));
            false
        }
        _ => false,
    }
}

fn certificate_of(found: &Handshake) -> Option<&clearway_outcome::CertificateFacts> {
    found.tls.as_ref()?.certificate.as_ref()
}

fn sni_fix(view: &View<'_>, it: &mut Opinion, name: &str, is_verified: bool) {
    let server = view.place_of_server();
    let pass = view.place_of_pass();
    let (words, line) = match view.dialect() {
        Speaker::Nginx => (
            format!("{pass}ask for the name"),
            format!("proxy_ssl_server_name on; proxy_ssl_name {name};"),
        ),
        Speaker::Haproxy => (
            format!("{server}ask for the name"),
            format!("sni str({name})"),
        ),
        Speaker::Clearway => (
            format!("{pass}ask for the name, in `tls` of the backend"),
            format!("server_name = \"{name}\""),
        ),
        Speaker::Envoy => (
            "Ask for the name, in UpstreamTlsContext".to_owned(),
            format!("sni: {name}"),
        ),
        Speaker::Alb => (
            "Let the target serve connections without a server name: AWS ALB sends none \
             that can be chosen"
                .to_owned(),
            String::new(),
        ),
    };
    if is_verified {
        it.verified_fix(Site::Config, words, line);
    } else {
        it.fix(Site::Config, words, line);
    }
}

// No answer.

pub(super) fn handshake_closed(view: &View<'_>, it: &mut Opinion) {
    if !begins(view, it) {
        return;
    }
    it.wants(Probe::Connect);
    it.wants(Probe::Hello(Greeting::default()));
    const IN_HANDSHAKES: &[Kind] = &[Kind::ServerTlsClosed, Kind::ServerTlsReset];
    if view.is(IN_HANDSHAKES) {
        it.fair(view.seen());
    } else if view.is(&[Kind::ConnectReset]) {
        let Some(others) = view.other(IN_HANDSHAKES) else {
            return it.rule_out();
        };
        it.hint(view.seen());
        it.fair(view.symptom(format!(
            "{} connections got as far as the handshake and ended there",
            others.count
        )));
    }
    if let Some(number) = alert(view).map(|(number, _)| number) {
        it.strongly_against(
            view.symptom(format!("the server said why: {}", Signal::TlsAlert(number))),
        );
    }
    match view.handshake(&Greeting::default()) {
        Some(found) if is_done(found) => {
            it.against(view.probed("a handshake made on purpose succeeds"));
        }
        Some(found)
            if matches!(
                found.fault,
                Some(Kind::ServerTlsClosed | Kind::ServerTlsReset)
            ) =>
        {
            it.fair(
                view.probed("a handshake made on purpose ends in the same way, without a word"),
            );
        }
        Some(_) | None => {}
    }
    if let Some(found) = view.connection() {
        match found.then {
            Then::Closed(after) | Then::Reset(after) if after < 300_000 => {
                it.note(view.probed(format!(
                    "even a connection that says nothing is dropped, after {}",
                    time(after)
                )));
                it.missing(
                    "whether a TLS server is behind the port at all, or a forwarder without one",
                );
            }
            Then::Open => it.hint(view.probed(
                "a connection that says nothing stays open: the handshake is what it dislikes",
            )),
            Then::Closed(_) | Then::Reset(_) | Then::Spoke(_) | Then::Nothing => {}
        }
    }
    if view
        .configured_backend()
        .is_some_and(|backend| backend.proxy_header.value == 0)
    {
        it.missing("whether the server expects a PROXY header first");
    }
    it.say(format!(
        "{} ends connections in the middle of the TLS handshake, without saying why.",
        view.address()
    ));
    it.fix(
        Site::Server,
        "Read the server's own TLS log; try without a server name and with a PROXY header",
        format!(
            "openssl s_client -connect {} -noservername </dev/null",
            view.address()
        ),
    );
}

pub(super) fn handshake_timeout(view: &View<'_>, it: &mut Opinion) {
    if !begins(view, it) {
        return;
    }
    it.wants(Probe::Connect);
    it.wants(Probe::Request(ask(false)));
    it.wants(Probe::Hello(Greeting::default()));
    if view.is(&[Kind::ServerTlsTimeout]) {
        it.fair(view.seen());
    }
    if view
        .reply(&ask(false))
        .is_some_and(|reply| reply.is_answered() && reply.status != 400)
    {
        return it.rule_out();
    }
    match view.handshake(&Greeting::default()) {
        Some(found) if found.fault == Some(Kind::ServerTlsTimeout) => {
            let fact = view.probed("a handshake made on purpose is not answered either");
            // A server of plain HTTP is as silent, and only a request in clear tells.
            if view.reply(&ask(false)).is_some() {
                it.fair(fact);
            } else {
                it.hint(fact);
            }
        }
        Some(found) if speaks_tls(found) => {
            it.hint(view.probed(format!(
                "a handshake made on purpose is answered now, after {}: the server was busy",
                time(found.took_us)
            )));
        }
        Some(_) => it.against(view.probed("a handshake made on purpose fails in another way")),
        None => it.missing("whether a handshake is answered now"),
    }
    if view.case.successes.count > 0 {
        it.hint(view.symptom(format!("{} requests went well", view.case.successes.count)));
    }
    let delivered = view.group.acknowledged;
    if delivered.0 > 0 && delivered.1 == 0 {
        it.hint(
            view.symptom("the server's host took the ClientHello: its program does not answer"),
        );
    } else if delivered.1 > 0 {
        it.against(view.symptom("not even the server's host took the ClientHello"));
    }
    let (certificate, address) = (shown(view), view.address());
    if certificate.is_some() {
        it.against(view.symptom("a certificate came, so the server did answer"));
    }
    it.say(format!(
        "{address} takes connections and does not answer the TLS handshake."
    ));
    it.fix(
        Site::Server,
        "Look whether the program accepts connections at all, and whether the port is its TLS port",
        format!("curl -m5 -sv http://{address}/; openssl s_client -connect {address} </dev/null"),
    );
}
