//! Versions, cipher suites and protocols that the two sides do not share.

use clearway_config::survey::Setting;
use clearway_outcome::{FaultKind as Kind, Signal, Speaker};

use super::{DISAGREED, alert, begins, is_done};
use crate::case::View;
use crate::evidence::{Greeting, Probe};
use crate::opinion::{Opinion, Site};
use crate::view::place;

pub(super) const HANDSHAKE_FAILURE: u8 = 40;
const ILLEGAL_PARAMETER: u8 = 47;
const PROTOCOL_VERSION: u8 = 70;
const INSUFFICIENT_SECURITY: u8 = 71;
pub(super) const UNRECOGNIZED_NAME: u8 = 112;
const NO_APPLICATION_PROTOCOL: u8 = 120;

/// Alerts that name their reason, which is not the one in question.
pub(super) fn names_another(number: u8, own: &[u8]) -> bool {
    !own.contains(&number)
        && matches!(
            number,
            42..=46
                | 48
                | 116
                | PROTOCOL_VERSION
                | INSUFFICIENT_SECURITY
                | UNRECOGNIZED_NAME
                | NO_APPLICATION_PROTOCOL
        )
}

/// Versions that are tried alone, the likeliest first.
const VERSIONS: &[(u16, &str)] = &[
    (0x0303, "TLS 1.2"),
    (0x0304, "TLS 1.3"),
    (0x0302, "TLS 1.1"),
    (0x0301, "TLS 1.0"),
];

fn only(version: u16) -> Greeting {
    Greeting {
        version,
        ..Greeting::default()
    }
}

fn version_name(version: u16) -> &'static str {
    let found = VERSIONS.iter().find(|(known, _)| *known == version);
    found.map_or("another version", |(_, name)| name)
}

/// Versions that a server took, and such that it refused.
fn versions(view: &View<'_>) -> (Vec<u16>, Vec<u16>) {
    let mut took = Vec::new();
    let mut refused = Vec::new();
    for (greeting, found) in view
        .handshakes()
        .filter(|(greeting, _)| greeting.version != 0)
    {
        let agreed = found
            .tls
            .as_ref()
            .is_some_and(|facts| facts.version == greeting.version);
        if is_done(found) || agreed {
            took.push(greeting.version);
        } else if matches!(
            found.signal,
            Some(Signal::TlsAlert(HANDSHAKE_FAILURE | PROTOCOL_VERSION))
        ) || found.fault == Some(Kind::ServerTlsIncompatible)
        {
            refused.push(greeting.version);
        }
    }
    (took, refused)
}

/// The versions that the balancer speaks, where the configuration says so.
fn range(view: &View<'_>) -> Option<(u16, u16)> {
    let tls = view.configured_backend()?.tls.as_ref()?;
    let (min, max) = (tls.min_version.as_ref(), tls.max_version.as_ref());
    if min.is_none() && max.is_none() {
        return None;
    }
    Some((
        min.map_or(0x0301, |min| min.value),
        max.map_or(0x0304, |max| max.value),
    ))
}

pub(super) fn version_mismatch(view: &View<'_>, it: &mut Opinion) {
    if !begins(view, it) {
        return;
    }
    view.weigh_pitfalls(
        it,
        view.is(&[Kind::ServerTlsIncompatible, Kind::ServerTlsAlert]),
    );
    it.wants(Probe::Hello(Greeting::default()));
    for (version, _) in VERSIONS {
        it.wants(Probe::Hello(only(*version)));
    }
    if view.is(&[Kind::ServerTlsIncompatible]) {
        it.fair(view.seen());
    }
    if view.says(&["unsupported protocol", "no protocols available"]) {
        it.strong(view.symptom("the library says that the version is not supported"));
    }
    match alert(view) {
        Some((PROTOCOL_VERSION, fact)) => {
            it.strong(fact);
            it.fair(view.symptom("that is what servers say to versions that they do not take"));
        }
        Some((number, _)) if names_another(number, &[PROTOCOL_VERSION]) => return it.rule_out(),
        Some((HANDSHAKE_FAILURE, fact)) => it.hint(fact),
        Some(_) | None => {}
    }
    let (took, refused) = versions(view);
    let as_configured = view.handshake(&Greeting::default());
    let list = |versions: &[u16]| {
        let names: Vec<&str> = versions
            .iter()
            .map(|version| version_name(*version))
            .collect();
        names.join(" and ")
    };
    let outside = range(view).filter(|(min, max)| {
        let within = |version: &u16| version >= min && version <= max;
        let has_tried = refused.iter().any(within) && view.is(DISAGREED);
        has_tried && !took.is_empty() && !took.iter().any(within)
    });
    if let Some((min, max)) = outside {
        it.proof(view.probed(format!(
            "the server takes {}, and the configuration allows {} to {}",
            list(&took),
            version_name(min),
            version_name(max)
        )));
    } else if !took.is_empty()
        && !refused.is_empty()
        && as_configured.is_some_and(|found| !is_done(found))
    {
        it.strong(view.probed(format!(
            "the server takes {} and refuses {}",
            list(&took),
            list(&refused)
        )));
    } else if as_configured.is_some_and(is_done) {
        it.against(view.probed("a handshake made on purpose succeeds"));
    } else if took.is_empty() {
        it.missing("which versions the server takes");
    }
    it.say(if took.is_empty() {
        "The balancer and the server have no TLS version in common.".to_owned()
    } else {
        format!(
            "The server takes {} only, which the balancer does not speak.",
            list(&took)
        )
    });
    version_fix(view, it);
}

fn version_fix(view: &View<'_>, it: &mut Opinion) {
    it.fix(
        Site::Server,
        "Switch on TLS 1.2 and 1.3 on the server",
        format!(
            "openssl s_client -connect {} -tls1_2 </dev/null",
            view.address()
        ),
    );
    let tls = view
        .configured_backend()
        .and_then(|backend| backend.tls.as_ref());
    let setting = tls.and_then(|tls| tls.min_version.as_ref().or(tls.max_version.as_ref()));
    match (setting, view.dialect()) {
        (Some(setting), _) => {
            let (words, to) = view.edit(setting, "a range that has a version of the server's");
            it.fix(Site::Config, words, to);
        }
        (None, Speaker::Nginx) => it.fix(
            Site::Config,
            "Or allow a version that the server has",
            "proxy_ssl_protocols TLSv1.2 TLSv1.3;",
        ),
        (None, Speaker::Haproxy) => it.fix(
            Site::Config,
            "Or allow a version that the server has",
            "server … ssl-min-ver TLSv1.2",
        ),
        (None, Speaker::Envoy) => it.fix(
            Site::Config,
            "Or allow a version that the server has (Envoy's default towards servers ends \
             at TLS 1.2)",
            "tls_maximum_protocol_version: TLSv1_3",
        ),
        (None, Speaker::Clearway | Speaker::Alb) => {}
    }
}

pub(super) fn cipher_mismatch(view: &View<'_>, it: &mut Opinion) {
    if !begins(view, it) {
        return;
    }
    view.weigh_pitfalls(
        it,
        view.is(&[Kind::ServerTlsIncompatible, Kind::ServerTlsAlert]),
    );
    it.wants(Probe::Hello(Greeting::default()));
    if view.is(&[Kind::ServerTlsIncompatible]) {
        it.fair(view.seen());
    }
    if view.says(&["no shared cipher", "wrong cipher", "unknown cipher"]) {
        it.strong(view.symptom("the library says that no cipher suite is shared"));
    } else if view.says(&[
        "unsupported protocol",
        "no protocols available",
        "too small",
        "too weak",
    ]) {
        return it.rule_out();
    }
    match alert(view) {
        Some((INSUFFICIENT_SECURITY, fact)) => {
            it.strong(fact);
            it.fair(
                view.symptom(
                    "that is what servers say to cipher suites that are too weak for them",
                ),
            );
        }
        Some((HANDSHAKE_FAILURE, fact)) => it.fair(fact),
        Some((ILLEGAL_PARAMETER, fact)) => it.hint(fact),
        Some((number, _)) if names_another(number, &[INSUFFICIENT_SECURITY]) => {
            return it.rule_out();
        }
        Some(_) | None => {}
    }
    let ciphers = view
        .configured_backend()
        .and_then(|backend| backend.tls.as_ref()?.ciphers.as_ref());
    cipher_probe(view, it, ciphers);
    let (took, refused) = versions(view);
    if !took.is_empty() && !refused.is_empty() {
        it.against(view.probed("what the server takes depends on the version"));
    } else if took.is_empty() && refused.len() >= 2 {
        it.fair(view.probed("the server refuses every version that was tried"));
    }
    it.say(
        "The balancer and the server have no cipher suite, key exchange or signature in common.",
    );
    it.fix(
        Site::Server,
        "Let the server take suites with ECDHE and AES-GCM or ChaCha20",
        format!("nmap --script ssl-enum-ciphers -p {} HOST", view.port()),
    );
    if let Some(ciphers) = ciphers {
        let (words, to) = view.edit(ciphers, "a list that has a suite of the server's");
        it.fix(Site::Config, words, to);
    }
}

/// What a handshake with all the usual suites says.
fn cipher_probe(view: &View<'_>, it: &mut Opinion, ciphers: Option<&Setting<String>>) {
    let tried = view.handshake(&Greeting::default());
    if let Some(found) = tried {
        if found.wants_certificate {
            it.strongly_against(
                view.probed("the server came as far as asking for a client certificate"),
            );
        } else if let (true, Some(ciphers)) = (is_done(found), ciphers) {
            it.strong(view.setting(
                ciphers,
                format!(
                    "a handshake with other cipher suites succeeds, and the balancer \
                 offers {} only",
                    ciphers.value
                ),
            ));
        } else if is_done(found) {
            it.against(view.probed("a handshake made on purpose succeeds"));
        } else if found.signal.is_some() {
            it.hint(view.probed("the server gave up before it asked for a client certificate"));
        }
    } else {
        it.missing("whether a handshake with all cipher suites succeeds");
    }
}

pub(super) fn local_policy_refusal(view: &View<'_>, it: &mut Opinion) {
    if !begins(view, it) {
        return;
    }
    let weak = [
        "dh key too small",
        "ee key too small",
        "ca key too small",
        "md too weak",
        "unsafe legacy renegotiation",
        "bad ecpoint",
        "key too small",
        "key too weak",
    ];
    let own = view
        .group
        .tls
        .as_ref()
        .map_or("", |tls| tls.refusal.as_str());
    if view.is(&[Kind::ServerCertificateInvalid]) {
        it.hint(view.seen());
        if ["BadSignature", "Unsupported", "Unhandled"]
            .iter()
            .any(|word| own.contains(word))
        {
            it.fair(view.symptom(format!(
                "this host's own library refuses the certificate: {own}, which it says of keys and \
                 signatures that are too weak, too"
            )));
        }
    }
    if view.says(&weak) {
        it.strong(view.seen());
        it.strong(view.symptom("this host's own library refuses what the server offers"));
    } else if view.says(&["unsupported protocol", "no shared cipher", "wrong version"]) {
        return it.rule_out();
    } else if view.is(&[Kind::ServerTlsIncompatible]) {
        it.hint(view.seen());
    }
    if alert(view).is_some() {
        return it.rule_out();
    }
    it.say("The balancer's TLS library refuses what the server offers, because it is too weak.");
    it.fix(
        Site::Server,
        "Give the server a key of 2048 bits (RSA) or P-256 at least, SHA-256 and current \
         parameters",
        format!(
            "openssl s_client -connect {} </dev/null | openssl x509 -noout -text",
            view.address()
        ),
    );
    match view.dialect() {
        Speaker::Nginx => it.fix(
            Site::Config,
            "Until then, lower the bar for this server alone",
            "proxy_ssl_ciphers DEFAULT:@SECLEVEL=1;",
        ),
        Speaker::Haproxy => it.fix(
            Site::Config,
            "Until then, lower the bar for this server alone",
            "server … ciphers DEFAULT:@SECLEVEL=1",
        ),
        Speaker::Clearway | Speaker::Envoy | Speaker::Alb => {}
    }
}

pub(super) fn alpn_mismatch(view: &View<'_>, it: &mut Opinion) {
    if !begins(view, it) {
        return;
    }
    let offers = Greeting {
        alpn: true,
        ..Greeting::default()
    };
    it.wants(Probe::Hello(offers.clone()));
    match alert(view) {
        Some((NO_APPLICATION_PROTOCOL, fact)) => {
            it.strong(fact);
            it.fair(
                view.symptom("that is what servers say that speak none of the protocols offered"),
            );
        }
        Some(_) => return it.rule_out(),
        None if view.is(&[Kind::ServerRefusesHttp2]) => it.fair(view.seen()),
        None => {}
    }
    let agreed = view.handshake(&offers).filter(|found| is_done(found));
    let agreed = agreed
        .and_then(|found| found.tls.as_ref())
        .map(|facts| String::from_utf8_lossy(&facts.alpn).into_owned());
    match agreed.as_deref() {
        Some("") => it.fair(view.probed("offered both, the server agrees on no protocol")),
        Some(protocol) => {
            it.fair(view.probed(format!("offered both, the server takes {protocol}")));
            alpn_fix(view, it, protocol);
        }
        None => it.missing("which protocol the server takes when both are offered"),
    }
}

fn alpn_fix(view: &View<'_>, it: &mut Opinion, protocol: &str) {
    let at = place(
        view.configured_backend()
            .and_then(|backend| backend.origin.as_ref()),
    );
    let is_h2 = protocol == "h2";
    let (words, line) = match view.dialect() {
        Speaker::Clearway => (
            format!("{at}speak what the server takes"),
            format!("protocol = \"{}\"", if is_h2 { "h2" } else { "http1" }),
        ),
        Speaker::Haproxy => (
            format!("{at}offer what the server takes"),
            format!("alpn {protocol}"),
        ),
        Speaker::Nginx => (
            format!("{at}speak what the server takes"),
            format!("proxy_http_version {};", if is_h2 { "2" } else { "1.1" }),
        ),
        Speaker::Envoy => (
            "Offer what the server takes".to_owned(),
            format!("alpn_protocols: [{protocol}]"),
        ),
        Speaker::Alb => (
            "Choose the protocol version of the target group to fit".to_owned(),
            String::new(),
        ),
    };
    it.verified_fix(Site::Config, words, line);
}
