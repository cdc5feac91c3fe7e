//! The server's certificate is not accepted.

use clearway_outcome::{CertificateFacts, FaultKind as Kind, Speaker};

use super::{Asked, asked, begins, by_host, date, host, is_for, names, shown, wanted};
use crate::case::View;
use crate::evidence::{Greeting, Probe};
use crate::opinion::{Opinion, Site};
use crate::view::place;

/// What is in common: `false` when certificates are not verified, or TLS is not spoken.
fn looks(view: &View<'_>, it: &mut Opinion, sure: bool) -> bool {
    if !begins(view, it) {
        return false;
    }
    let tls = view
        .configured_backend()
        .and_then(|backend| backend.tls.as_ref());
    if let Some(tls) = tls.filter(|tls| !tls.verify.value && !sure) {
        it.note(view.setting(&tls.verify, "certificates are not verified"));
        it.rule_out();
        return false;
    }
    view.weigh_pitfalls(it, sure);
    it.wants(Probe::Hello(Greeting::default()));
    if sure {
        it.strong(view.seen());
    }
    true
}

/// The time of the failures, in seconds since 1970.
fn now(view: &View<'_>) -> Option<i64> {
    view.group.last_us.map(|at| at / 1_000_000)
}

/// Whether it is the server's own certificate: for the name that is wanted, and not one that servers show to
/// those who ask for no name or another.
fn is_own(view: &View<'_>, certificate: &CertificateFacts) -> bool {
    wanted(view).is_some_and(|name| is_for(certificate, &name))
        || host(view).is_some_and(|name| is_for(certificate, &name))
}

fn subject(certificate: &CertificateFacts) -> String {
    if certificate.subject.is_empty() {
        names(certificate)
    } else {
        certificate.subject.clone()
    }
}

pub(super) fn expired(view: &View<'_>, it: &mut Opinion) {
    let sure = view.is(&[Kind::ServerCertificateExpired]);
    if !looks(view, it, sure) {
        return;
    }
    it.say("The server's certificate has expired.");
    renewal(view, it);
    let Some(certificate) = shown(view) else {
        return it.missing("the certificate itself");
    };
    let until = date(certificate.not_after);
    match now(view) {
        Some(now) if certificate.not_after < now => {
            let fact = view.symptom(format!(
                "the certificate of {} was valid until {until}, and by this host's clock it was {}",
                subject(certificate),
                date(now)
            ));
            match (sure, is_own(view, certificate)) {
                (true, true) => it.proof(fact),
                (true, false) => it.fair(fact),
                (false, _) => it.strong(fact),
            }
            it.say(format!(
                "The server's certificate for {} has expired on {until}.",
                names(certificate)
            ));
        }
        Some(_) if sure => {
            it.note(view.symptom(format!(
                "its own certificate is valid until {until}, so one behind it in the chain \
                 has expired"
            )));
            it.say("A certificate in the server's chain has expired, though its own has not.");
        }
        Some(_) => it.rule_out(),
        None => it.note(view.symptom(format!(
            "the certificate says that it is valid until {until}"
        ))),
    }
}

fn renewal(view: &View<'_>, it: &mut Opinion) {
    it.fix(
        Site::Server,
        "Renew the certificate, and let the server read it again (a renewed file alone \
         changes nothing)",
        format!(
            "openssl s_client -connect {} </dev/null 2>/dev/null | openssl x509 -noout \
             -dates -serial",
            view.address()
        ),
    );
}

pub(super) fn not_yet_valid(view: &View<'_>, it: &mut Opinion) {
    let sure = view.is(&[Kind::ServerCertificateNotYetValid]);
    if !looks(view, it, sure) {
        return;
    }
    it.say("The server's certificate is not valid yet, or this host's clock is behind.");
    it.fix(
        Site::Clearway,
        "Set this host's clock, and keep it set",
        "timedatectl; chronyc tracking",
    );
    it.fix(
        Site::Server,
        "If the clock is right, issue the certificate again",
        "",
    );
    let Some(certificate) = shown(view) else {
        return it.missing("the certificate itself");
    };
    let from = date(certificate.not_before);
    match now(view) {
        Some(now) if certificate.not_before > now => {
            let fact = view.symptom(format!(
                "the certificate of {} is valid from {from}, and by this host's clock it was {}",
                subject(certificate),
                date(now)
            ));
            match (sure, is_own(view, certificate)) {
                (true, true) => it.proof(fact),
                (true, false) => it.fair(fact),
                (false, _) => it.strong(fact),
            }
            it.say(format!(
                "The server's certificate is not valid before {from}, or this host's clock \
                 is behind: it says {}.",
                date(now)
            ));
        }
        Some(_) if !sure => it.rule_out(),
        Some(_) | None => {
            it.note(view.symptom(format!("the certificate says that it is valid from {from}")));
        }
    }
}

pub(super) fn name_mismatch(view: &View<'_>, it: &mut Opinion) {
    let sure = view.is(&[Kind::ServerCertificateName]);
    if !looks(view, it, sure) {
        return;
    }
    let wanted = wanted(view);
    let expected = wanted.clone().unwrap_or_else(|| view.address().to_owned());
    if let Some(name) = host(view) {
        it.wants(Probe::Hello(by_host(&name)));
    }
    let Some(certificate) = shown(view) else {
        it.say(format!("The server's certificate is not for {expected}."));
        it.missing("the names in the certificate");
        return name_fix(view, it, None);
    };
    if !sure
        && wanted
            .as_deref()
            .is_none_or(|name| is_for(certificate, name))
    {
        return it.rule_out();
    }
    let fact = view.symptom(format!(
        "the certificate is for {}, and {expected} is wanted",
        names(certificate)
    ));
    if sure {
        it.fair(fact);
    } else {
        it.strong(fact);
    }
    match asked(view) {
        Asked::Name(asked) => it.hint(view.symptom(format!("the server was asked for {asked}"))),
        Asked::Nothing => it.against(view.symptom(
            "no name was asked for (SNI), and servers then show a certificate of their choice",
        )),
        Asked::Unknown => it.missing("which name was asked for (SNI)"),
    }
    let by_name = host(view).and_then(|name| {
        let found = view.handshake(&by_host(&name))?;
        let shown = found.tls.as_ref()?.certificate.as_ref()?;
        Some(is_for(shown, &name))
    });
    if by_name == Some(true) {
        it.strongly_against(
            view.probed("asked for the name of the requests, the server shows the right one"),
        );
    }
    it.say(format!(
        "The server's certificate is for {} and not for {expected}.",
        names(certificate)
    ));
    let usable = certificate.names.iter().find(|name| !name.contains('*'));
    name_fix(view, it, usable.map(String::as_str));
}

fn name_fix(view: &View<'_>, it: &mut Opinion, name: Option<&str>) {
    let name = name.unwrap_or("NAME");
    let server = view.place_of_server();
    let pass = view.place_of_pass();
    let (words, line) = match view.dialect() {
        Speaker::Nginx => (
            format!("{pass}expect the name that the certificate has"),
            format!("proxy_ssl_name {name}; proxy_ssl_server_name on;"),
        ),
        Speaker::Haproxy => (
            format!("{server}expect the name that the certificate has"),
            format!("verifyhost {name} sni str({name})"),
        ),
        Speaker::Clearway => (
            format!("{pass}expect the name that the certificate has, in `tls` of the backend"),
            format!("server_name = \"{name}\""),
        ),
        Speaker::Envoy => (
            "Expect the name that the certificate has".to_owned(),
            format!("sni: {name}, and match_typed_subject_alt_names"),
        ),
        Speaker::Alb => (
            "AWS ALB does not look at names of targets' certificates".to_owned(),
            String::new(),
        ),
    };
    it.fix(Site::Config, words, line);
    it.fix(
        Site::Server,
        "Or issue the certificate for the name that is wanted",
        format!(
            "openssl s_client -connect {} </dev/null 2>/dev/null | openssl x509 -noout -ext \
             subjectAltName",
            view.address()
        ),
    );
}

// Who issued it.

/// Words in the names of authorities that every system trusts.
const PUBLIC: &[&str] = &[
    "let's encrypt",
    "digicert",
    "sectigo",
    "globalsign",
    "go daddy",
    "godaddy",
    "amazon",
    "google trust",
    "zerossl",
    "entrust",
    "geotrust",
    "rapidssl",
    "thawte",
    "comodo",
    "usertrust",
    "buypass",
    "ssl.com",
    "certum",
    "actalis",
    "quovadis",
];
/// Words in the names of those between a root and servers.
const BETWEEN: &[&str] = &["intermediate", "issuing", "sub ca", "subca", "subordinate"];

/// What is known of who issued it.
struct Issuer<'a> {
    certificate: Option<&'a CertificateFacts>,
    /// Certificates that the server sends; 0 = not known.
    chain: u32,
    is_self_signed: bool,
    is_public: bool,
    is_between: bool,
    /// The file of the authorities trusted, where it is set.
    has_own_trust: Option<bool>,
}

impl<'a> Issuer<'a> {
    fn of(view: &View<'a>) -> Self {
        let certificate = shown(view);
        let issuer = certificate.map_or(String::new(), |c| c.issuer.to_ascii_lowercase());
        let has = |words: &[&str]| words.iter().any(|word| issuer.contains(word));
        let tried = view.handshake(&Greeting::default());
        let tls = view
            .configured_backend()
            .and_then(|backend| backend.tls.as_ref());
        Self {
            certificate,
            chain: tried.map_or(0, |found| found.chain),
            is_self_signed: certificate
                .is_some_and(|c| !c.issuer.is_empty() && c.issuer == c.subject),
            is_public: has(PUBLIC),
            is_between: has(BETWEEN),
            has_own_trust: tls.map(|tls| tls.ca.is_some()),
        }
    }

    fn name(&self) -> &str {
        self.certificate
            .map_or("", |certificate| &certificate.issuer)
    }
}

pub(super) fn unknown_ca(view: &View<'_>, it: &mut Opinion) {
    let sure = view.is(&[Kind::ServerCertificateUntrusted]);
    if !looks_untrusted(view, it, sure) {
        return;
    }
    let issuer = Issuer::of(view);
    it.say("The server's certificate was issued by an authority that the balancer does not trust.");
    if view.says(&["(18:", "(19:", "self-signed", "self signed"]) {
        it.strong(view.symptom("the certificate, or the end of its chain, was issued by itself"));
    }
    if let Some(certificate) = issuer.certificate {
        if issuer.is_self_signed {
            let fact = view.symptom(format!("it was issued by itself: {}", subject(certificate)));
            if sure && is_own(view, certificate) {
                it.proof(fact);
            } else {
                it.strong(fact);
            }
            it.say(format!(
                "The server's certificate was issued by itself ({}), and the balancer does \
                 not trust it.",
                subject(certificate)
            ));
        } else {
            it.note(view.symptom(format!("its issuer is {}", issuer.name())));
            it.say(format!(
                "The server's certificate was issued by {}, which the balancer does not trust.",
                issuer.name()
            ));
        }
        if !issuer.is_self_signed && issuer.is_public && issuer.has_own_trust == Some(false) {
            it.against(view.symptom("that authority is one that systems trust"));
        } else if !issuer.is_self_signed
            && issuer.has_own_trust == Some(false)
            && !issuer.is_between
        {
            it.fair(view.symptom(
                "that is none of the authorities that systems trust, and no other is configured",
            ));
        }
    } else {
        it.missing("who issued the certificate");
    }
    if issuer.chain >= 2 {
        it.strong(view.probed(format!(
            "the server sends {} certificates, so the chain is there and its end is not trusted",
            issuer.chain
        )));
    }
    trust_fix(view, it);
}

fn looks_untrusted(view: &View<'_>, it: &mut Opinion, sure: bool) -> bool {
    if !begins(view, it) {
        return false;
    }
    let tls = view
        .configured_backend()
        .and_then(|backend| backend.tls.as_ref());
    if tls.is_some_and(|tls| !tls.verify.value) && !sure {
        it.rule_out();
        return false;
    }
    view.weigh_pitfalls(it, sure);
    it.wants(Probe::Hello(Greeting::default()));
    if sure {
        // One kind for two causes.
        it.fair(view.seen());
    }
    true
}

fn trust_fix(view: &View<'_>, it: &mut Opinion) {
    let tls = view
        .configured_backend()
        .and_then(|backend| backend.tls.as_ref());
    let ca = tls.and_then(|tls| tls.ca.as_ref());
    if let Some(ca) = ca {
        it.note(view.setting(
            ca,
            format!("{} has the authorities that are trusted", ca.value),
        ));
    }
    let at = place(ca.and_then(|ca| ca.origin.as_ref()));
    let words = format!("{at}trust the authority that issued it (do not switch verification off)");
    match view.dialect() {
        Speaker::Nginx => it.fix(
            Site::Config,
            words,
            "proxy_ssl_trusted_certificate /etc/ssl/internal-ca.pem;",
        ),
        Speaker::Haproxy => it.fix(Site::Config, words, "ca-file /etc/ssl/internal-ca.pem"),
        Speaker::Clearway => it.fix(
            Site::Config,
            words,
            "tls = { ca = \"/etc/clearway/internal-ca.pem\" }",
        ),
        Speaker::Envoy => it.fix(
            Site::Config,
            words,
            "trusted_ca: { filename: /etc/ssl/internal-ca.pem }",
        ),
        Speaker::Alb => {}
    }
}

pub(super) fn missing_intermediate(view: &View<'_>, it: &mut Opinion) {
    let sure = view.is(&[Kind::ServerCertificateUntrusted]);
    if !looks_untrusted(view, it, sure) {
        return;
    }
    let issuer = Issuer::of(view);
    if issuer.is_self_signed || view.says(&["(18:", "(19:", "self-signed", "self signed"]) {
        return it.rule_out();
    }
    if view.says(&["(21:"]) {
        it.hint(view.symptom("only the server's own certificate was there to look at"));
    }
    match issuer.chain {
        0 => it.missing("how many certificates the server sends"),
        1 => it.fair(view.probed("the server sends its own certificate alone")),
        more => it.strongly_against(view.probed(format!("the server sends {more} certificates"))),
    }
    if issuer.is_between {
        it.hint(view.symptom(format!(
            "its issuer is one between a root and servers: {}",
            issuer.name()
        )));
    } else if issuer.is_public && issuer.has_own_trust != Some(true) {
        it.strong(view.symptom(format!(
            "its issuer leads to an authority that systems trust: {}",
            issuer.name()
        )));
    } else if issuer.certificate.is_some() && issuer.has_own_trust == Some(false) {
        it.against(
            view.symptom("its issuer is none that systems trust, with or without others between"),
        );
    }
    it.say(if issuer.name().is_empty() {
        "The server may not send the certificates between its own and the root.".to_owned()
    } else {
        format!(
            "The server does not send the certificate of {}, which issued its own.",
            issuer.name()
        )
    });
    it.fix(
        Site::Server,
        "Serve the whole chain: the server's own certificate, then the one of its issuer \
         (fullchain.pem)",
        format!(
            "openssl s_client -connect {} -showcerts </dev/null",
            view.address()
        ),
    );
}
