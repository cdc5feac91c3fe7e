//! `[acme]`: proofs that cannot be given, keys without a name, settings that nobody uses.

use clearway_base::hash::Map;

use super::Findings;
use crate::diagnostic::Diagnostic;
use crate::model::{Acme, AcmeChallenge, AcmeDns, AcmeIssuer, Config, HostPattern, ListenerTls};

pub(super) fn check(config: &Config, found: &mut Findings) {
    let acme = &config.acme;
    let settings = config.listeners.iter().filter_map(|l| l.tls.as_ref());
    for tls in settings.clone() {
        names(acme, tls, found);
    }
    if settings.clone().all(|tls| !tls.is_automatic()) {
        if *acme != Acme::default() {
            let message = "[acme] has no effect: no listener asks for a certificate";
            let hint = "add: tls = { acme = [\"example.org\"] } to a listener";
            found.no_effect(acme.origin(), message, hint);
        }
        return;
    }
    if acme.issuers.is_empty() {
        let origin = acme.origins.field_or_section("issuers");
        found.error("acme", origin, "there is no authority to ask");
    }
    if acme.challenges.is_empty() {
        let origin = acme.origins.field_or_section("challenges");
        found.error("acme", origin, "without a challenge nothing can be proved");
    }
    issuers(&acme.issuers, found);
    dns(acme, found);
    port_80(config, found);
}

/// Names that no challenge can be for.
fn names(acme: &Acme, tls: &ListenerTls, found: &mut Findings) {
    let origin = tls.origins.field_or_section("acme");
    let proves_zones = acme.challenges.contains(&AcmeChallenge::Dns01);
    for name in &tls.acme {
        if name.as_str() == "*" {
            let message = "there is no certificate for all names";
            let diagnostic = Diagnostic::error("acme", origin, message);
            found.push(diagnostic.hint("write the names, or on_demand with those to be allowed"));
        } else if is_wildcard(name) && !proves_zones {
            let message = format!("{name} needs the challenge dns-01 (RFC 8555 section 7.1.3)");
            let diagnostic = Diagnostic::error("acme", origin, message);
            found.push(diagnostic.expected("challenges = [\"dns-01\"] and dns in [acme]"));
        }
    }
    let origin = tls.origins.field_or_section("on_demand");
    for name in &tls.on_demand {
        if name.as_str() == "*" {
            let message = "anybody could cause certificates for any name to be ordered";
            let diagnostic = Diagnostic::error("acme", origin, message);
            found
                .push(diagnostic.expected("names, or domains such as \"*.customers.example.org\""));
        }
    }
}

fn is_wildcard(name: &HostPattern) -> bool {
    name.as_str().starts_with("*.")
}

fn issuers(issuers: &[AcmeIssuer], found: &mut Findings) {
    let mut labels: Map<String, ()> = Map::default();
    for issuer in issuers {
        let at = |key| issuer.origins.field_or_section(key);
        if issuer.origins.is_misread("directory") {
            continue;
        }
        let directory = issuer.directory.as_str();
        if !directory.starts_with("https://") {
            let message = format!("{directory:?} is no URL of a directory");
            let diagnostic = Diagnostic::error("acme", at("directory"), message);
            found.push(diagnostic.expected("https://…, which accounts are safe with"));
        }
        if labels.insert(issuer.label(), ()).is_some() {
            let message = format!("two authorities are called {:?}", issuer.label());
            let diagnostic = Diagnostic::error("acme", at("name"), message);
            found.push(diagnostic.hint("give them a name each"));
        }
        if issuer.key_id.is_some() != issuer.hmac_key_file.is_some() {
            let message = "an account that the authority knows already has an identifier and a key";
            let diagnostic = Diagnostic::error("acme", at("key_id"), message);
            found.push(diagnostic.expected("key_id and hmac_key_file"));
        }
    }
}

fn dns(acme: &Acme, found: &mut Findings) {
    let wanted = acme.challenges.contains(&AcmeChallenge::Dns01);
    let at = |dns: &AcmeDns, key| dns.origins.field_or_section(key).clone();
    match &acme.dns {
        None if wanted => {
            let origin = acme.origins.field_or_section("challenges");
            let message = "dns-01 needs somebody who sets TXT records";
            let diagnostic = Diagnostic::error("acme", origin, message);
            found.push(diagnostic.expected(
                "dns = { exec = \"/path/of/program\" }, or { server = \"10.0.0.53:53\" }",
            ));
        }
        None => {}
        Some(dns) => {
            if !wanted {
                let origin = acme.origins.field_or_section("dns");
                let hint = "add \"dns-01\" to challenges";
                found.no_effect(origin, "dns has no effect without its challenge", hint);
            }
            if dns.exec.is_some() == dns.server.is_some() {
                let message = "TXT records are set either by a program or by updates of a server";
                let diagnostic = Diagnostic::error("acme", &at(dns, "exec"), message);
                found.push(diagnostic.expected("one of exec and server"));
            }
            if dns.key_name.is_some() != dns.key_file.is_some() {
                let message = "the key of updates has a name and a file";
                let diagnostic = Diagnostic::error("acme", &at(dns, "key_name"), message);
                found.push(diagnostic.expected("key_name and key_file"));
            }
        }
    }
}

/// Authorities ask for the answers to http-01 at port 80, without TLS.
fn port_80(config: &Config, found: &mut Findings) {
    if config.acme.challenges != [AcmeChallenge::Http01] {
        return;
    }
    let plain = |l: &&crate::model::Listener| l.is_http() && l.tls.is_none();
    if config.listeners.iter().find(plain).is_none() {
        let origin = config.acme.origins.field_or_section("challenges");
        let message = "no listener without TLS could answer http-01";
        let diagnostic = Diagnostic::warning("acme", origin, message);
        found.push(diagnostic.hint("add: [listener.plain] bind = \":80\", https_redirect = true"));
    }
}
