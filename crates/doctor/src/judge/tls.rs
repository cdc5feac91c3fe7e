//! Judges of causes in TLS with the server.

use clearway_outcome::{CertificateFacts, FaultKind as Kind, Signal, Speaker, Spoken};

use super::Judge;
use crate::case::View;
use crate::cause::Cause;
use crate::evidence::{Ask, Fact, Greeting, Handshake, Probe, SniWord};
use crate::opinion::Opinion;
use crate::view::{is_address, time};

mod agree;
mod certificate;
mod hello;
mod mutual;
mod plain;

/// Every fault of a handshake with a server.
const HANDSHAKE: &[Kind] = &[
    Kind::ServerTlsTimeout,
    Kind::ServerTlsClosed,
    Kind::ServerTlsReset,
    Kind::ServerTlsAlert,
    Kind::ServerWantsCertificate,
    Kind::ServerSpeaksPlain,
    Kind::ServerTlsProtocol,
    Kind::ServerTlsIncompatible,
    Kind::ServerCertificateExpired,
    Kind::ServerCertificateNotYetValid,
    Kind::ServerCertificateUntrusted,
    Kind::ServerCertificateName,
    Kind::ServerCertificateRevoked,
    Kind::ServerCertificateInvalid,
    Kind::ServerRefusesHttp2,
];

pub(super) const JUDGES: &[Judge] = &[
    Judge::new(
        Cause::TlsToPlaintext,
        &[
            Kind::ServerSpeaksPlain,
            Kind::ServerTlsTimeout,
            Kind::ServerTlsClosed,
            Kind::ServerTlsReset,
            Kind::ServerTlsProtocol,
        ],
        plain::tls_to_plaintext,
    ),
    Judge::new(
        Cause::PlaintextToTls,
        &[
            Kind::ServerSpeaksTls,
            Kind::ResponseNotHttp,
            Kind::ResponseStatusLineInvalid,
            Kind::ServerClosedNoResponse,
            Kind::ServerResetNoResponse,
            Kind::ServerClosedWhileSending,
            Kind::ServerResetWhileSending,
            Kind::ProbeStatus,
        ],
        plain::plaintext_to_tls,
    ),
    Judge::new(
        Cause::TlsSniMissingOrWrong,
        &[
            Kind::ServerTlsAlert,
            Kind::ServerTlsClosed,
            Kind::ServerTlsReset,
            Kind::ServerCertificateName,
            Kind::ServerCertificateUntrusted,
            Kind::ServerCertificateExpired,
        ],
        hello::sni_missing_or_wrong,
    ),
    Judge::new(
        Cause::TlsCertExpired,
        &[Kind::ServerCertificateExpired],
        certificate::expired,
    ),
    Judge::new(
        Cause::TlsCertNotYetValid,
        &[Kind::ServerCertificateNotYetValid],
        certificate::not_yet_valid,
    ),
    Judge::new(
        Cause::TlsCertNameMismatch,
        &[Kind::ServerCertificateName],
        certificate::name_mismatch,
    ),
    Judge::new(
        Cause::TlsUnknownCa,
        &[Kind::ServerCertificateUntrusted],
        certificate::unknown_ca,
    ),
    Judge::new(
        Cause::TlsMissingIntermediate,
        &[Kind::ServerCertificateUntrusted],
        certificate::missing_intermediate,
    ),
    Judge::new(
        Cause::MtlsCertRequired,
        MUTUAL,
        mutual::certificate_required,
    ),
    Judge::new(
        Cause::MtlsCertRejected,
        MUTUAL,
        mutual::certificate_rejected,
    ),
    Judge::new(
        Cause::TlsVersionMismatch,
        DISAGREED,
        agree::version_mismatch,
    ),
    Judge::new(Cause::TlsCipherMismatch, DISAGREED, agree::cipher_mismatch),
    Judge::new(
        Cause::TlsLocalPolicyRefusal,
        &[
            Kind::ServerTlsIncompatible,
            Kind::ServerTlsProtocol,
            Kind::ServerCertificateInvalid,
        ],
        agree::local_policy_refusal,
    ),
    Judge::new(
        Cause::TlsAlpnMismatch,
        &[
            Kind::ServerTlsAlert,
            Kind::ServerTlsIncompatible,
            Kind::ServerRefusesHttp2,
        ],
        agree::alpn_mismatch,
    ),
    Judge::new(
        Cause::TlsHandshakeClosed,
        &[
            Kind::ServerTlsClosed,
            Kind::ServerTlsReset,
            // A reset may overtake the news that the connection is made.
            Kind::ConnectReset,
        ],
        hello::handshake_closed,
    ),
    Judge::new(
        Cause::TlsHandshakeTimeout,
        &[Kind::ServerTlsTimeout],
        hello::handshake_timeout,
    ),
];

/// How a server ends a connection that lacks a client certificate, or has one that it does not like. With
/// TLS 1.3 the handshake is over by then.
const MUTUAL: &[Kind] = &[
    Kind::ServerWantsCertificate,
    Kind::ServerTlsAlert,
    Kind::ServerTlsClosed,
    Kind::ServerTlsReset,
    Kind::ServerClosedNoResponse,
    Kind::ServerResetNoResponse,
    Kind::ServerResetWhileSending,
];

/// How it shows that two sides have nothing in common.
const DISAGREED: &[Kind] = &[
    Kind::ServerTlsIncompatible,
    Kind::ServerTlsAlert,
    Kind::ServerTlsClosed,
    Kind::ServerTlsReset,
    Kind::ServerTlsProtocol,
];

/// What all faults of a handshake have in common; `false` when TLS is not spoken with the server at all.
///
/// Some logs do not tell a connection that was refused from a handshake that failed.
fn begins(view: &View<'_>, it: &mut Opinion) -> bool {
    if view.is(HANDSHAKE) {
        return true;
    }
    match view.configured_backend() {
        Some(backend) if backend.tls.is_none() => {
            it.rule_out();
            return false;
        }
        Some(_) => {}
        None => it.missing("whether TLS is spoken with the server"),
    }
    it.wants(Probe::Connect);
    match view.connection() {
        Some(found) if found.fault.is_some() => {
            it.strongly_against(view.probed("not even a connection can be made now"));
        }
        Some(found) => it.hint(view.probed(format!(
            "connections are made, in {}: what fails comes behind",
            time(found.took_us)
        ))),
        None => {}
    }
    true
}

/// The name asked for, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Asked {
    /// This; it may be written with variables.
    Name(String),
    /// None.
    Nothing,
    /// Not known.
    Unknown,
}

fn asked(view: &View<'_>) -> Asked {
    let seen = view.group.tls.as_deref();
    let tried = view
        .handshake(&Greeting::default())
        .and_then(|found| found.tls.as_ref());
    let facts = seen.or(tried);
    if let Some(facts) = facts.filter(|facts| !facts.server_name.is_empty()) {
        return Asked::Name(facts.server_name.clone());
    }
    let configured = view
        .configured_backend()
        .and_then(|backend| backend.tls.as_ref());
    match configured {
        Some(tls) => match &tls.sni.value {
            Some(name) => Asked::Name(name.clone()),
            None => Asked::Nothing,
        },
        None if facts.is_some() && view.group.speaker == Speaker::Clearway => Asked::Nothing,
        None => Asked::Unknown,
    }
}

/// A name in letters, without variables and patterns, fit to be asked for.
fn plain_name(text: &str) -> Option<String> {
    let name = text
        .rsplit_once(':')
        .map_or(text, |(name, _)| name)
        .trim_end_matches('.');
    let is_plain = name.contains(|c: char| c.is_ascii_alphabetic())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
        && !is_address(name);
    is_plain.then(|| name.to_owned())
}

/// The name that the certificate has to be for.
fn wanted(view: &View<'_>) -> Option<String> {
    let tls = view
        .configured_backend()
        .and_then(|backend| backend.tls.as_ref());
    let expected = tls.and_then(|tls| tls.expected_name.as_ref());
    let by_setting = expected.and_then(|name| plain_name(&name.value));
    let by_request = || match asked(view) {
        Asked::Name(name) => plain_name(&name),
        Asked::Nothing | Asked::Unknown => None,
    };
    by_setting.or_else(by_request).or_else(|| server_name(view))
}

/// The server's own name, where it has one.
fn server_name(view: &View<'_>) -> Option<String> {
    let (_, server) = view.configured()?;
    plain_name(&server.host)
}

/// The name that requests are for, or the server's.
fn host(view: &View<'_>) -> Option<String> {
    let of_requests = view.group.hosts.first().and_then(plain_name);
    of_requests.or_else(|| server_name(view))
}

/// The handshake in which the name of the requests is asked for.
fn by_host(name: &str) -> Greeting {
    Greeting {
        sni: SniWord::Name(name.to_owned()),
        ..Greeting::default()
    }
}

/// Whether a certificate is for a name (RFC 9525 section 6.3): a `*` stands for one label.
fn is_for(certificate: &CertificateFacts, name: &str) -> bool {
    certificate.names.iter().any(|known| {
        let rest = name.split_once('.').map(|(_, rest)| rest);
        let by_star = known.strip_prefix("*.").zip(rest);
        known.eq_ignore_ascii_case(name)
            || by_star.is_some_and(|(known, rest)| known.eq_ignore_ascii_case(rest))
    })
}

/// The certificate that the server showed, to the requests or else to a probe that asked for the same name.
fn shown<'a>(view: &View<'a>) -> Option<&'a CertificateFacts> {
    let seen = view
        .group
        .tls
        .as_deref()
        .and_then(|facts| facts.certificate.as_ref());
    seen.or_else(|| {
        let tried = view.handshake(&Greeting::default())?;
        tried.tls.as_ref()?.certificate.as_ref()
    })
}

/// The alert of the server, to the requests or to a probe that asked as they do, as a fact.
fn alert(view: &View<'_>) -> Option<(u8, Fact)> {
    let number = |signal: Option<Signal>| match signal {
        Some(Signal::TlsAlert(number)) => Some(number),
        Some(Signal::H2Reset(_) | Signal::H2Goaway { .. }) | None => None,
    };
    if let Some(found) = number(view.group.signal) {
        let words = format!("the server said: {}", Signal::TlsAlert(found));
        return Some((found, view.symptom(words)));
    }
    let tried = view.handshake(&Greeting::default())?;
    let found = number(tried.signal)?;
    let words = format!(
        "to a handshake made on purpose the server said: {}",
        Signal::TlsAlert(found)
    );
    Some((found, view.probed(words)))
}

/// Whether a handshake came to its end.
fn is_done(found: &Handshake) -> bool {
    found.fault.is_none()
}

/// Whether somebody answered in TLS, whatever came of it.
fn speaks_tls(found: &Handshake) -> bool {
    let spoken = Spoken::of(found.first.as_bytes());
    is_done(found)
        || matches!(found.signal, Some(Signal::TlsAlert(_)))
        || found.tls.as_ref().is_some_and(|facts| facts.version != 0)
        || matches!(
            spoken,
            Some(Spoken::TlsServerHello | Spoken::TlsAlert { .. } | Spoken::TlsRecord)
        )
}

/// A request in clear, or over TLS.
fn ask(tls: bool) -> Ask {
    Ask {
        tls: Some(tls),
        ..Ask::default()
    }
}

/// A time in seconds since 1970 for a reader, `2026-11-21 07:30 UTC`.
fn date(seconds: i64) -> String {
    let text = clearway_base::clock::rfc3339_seconds(seconds);
    let text = String::from_utf8_lossy(&text).replace('T', " ");
    let minutes = text.get(..16).unwrap_or_default();
    format!("{minutes} UTC")
}

/// A few names of a certificate.
fn names(certificate: &CertificateFacts) -> String {
    let words: Vec<&str> = certificate
        .names
        .iter()
        .take(4)
        .map(String::as_str)
        .collect();
    match (words.is_empty(), certificate.names.len() > 4) {
        (true, _) => "no name at all".to_owned(),
        (false, true) => format!("{} and others", words.join(", ")),
        (false, false) => words.join(", "),
    }
}

#[cfg(test)]
mod tests;
