//! TLS handshakes in which nothing is verified.

use clearway_doctor::Finding;
use clearway_doctor::evidence::{Greeting, Handshake, SniWord};
use clearway_net::connect::Target;
use clearway_net::probe::diagnose::{self, Hello};
use clearway_net::tls;
use clearway_outcome::{FirstBytes, OldHandshake, TlsFacts, TlsVersions};

use super::{Reach, SHORT};

pub(super) async fn run(reach: &Reach, target: &Target, greeting: &Greeting) -> Finding {
    let name = match &greeting.sni {
        SniWord::Configured => reach.sni.clone(),
        SniWord::None => None,
        SniWord::Name(name) => Some(name.clone()),
    };
    let name = match name.map(|name| tls::server_name(&name)).transpose() {
        Ok(name) => name,
        Err(why) => return Finding::NotRun(why),
    };
    let aim = reach.aim(target, SHORT);
    if matches!(greeting.version, 0x0301 | 0x0302) {
        let found = diagnose::old_hello(&aim, greeting.version, name.as_ref()).await;
        return Finding::Hello(Box::new(old(&found)));
    }
    let mut hello = Hello::to(name);
    hello.versions = match greeting.version {
        0x0303 => TlsVersions::Only12,
        0x0304 => TlsVersions::Only13,
        _ => TlsVersions::Both,
    };
    if greeting.alpn {
        hello.alpn = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    }
    match diagnose::hello(&aim, &hello).await {
        Ok(found) => Finding::Hello(Box::new(new(&found))),
        Err(why) => Finding::NotRun(why),
    }
}

fn new(found: &clearway_outcome::Handshake) -> Handshake {
    let attempt = &found.attempt;
    let evidence = attempt.evidence.as_deref();
    let mut tls = evidence.and_then(|evidence| evidence.tls.as_deref().cloned());
    if let (Some(own), Some(tls)) = (found.chain.first(), &mut tls) {
        tls.certificate = Some(own.clone());
    }
    Handshake {
        fault: attempt.fault.map(|fault| fault.kind),
        errno: attempt.fault.map_or(0, |fault| fault.errno),
        signal: attempt.fault.and_then(|fault| fault.signal),
        tls,
        chain: u32::try_from(found.presented).unwrap_or(u32::MAX),
        wants_certificate: found.wants_certificate,
        first: evidence.map_or_else(FirstBytes::default, |e| FirstBytes::of(e.first())),
        took_us: attempt.ended_us,
    }
}

/// Of a handshake that goes no further than the first answer.
fn old(found: &OldHandshake) -> Handshake {
    let attempt = &found.attempt;
    let evidence = attempt.evidence.as_deref();
    let tls = found.version.map(|version| TlsFacts {
        version,
        cipher: found.cipher.unwrap_or(0),
        ..TlsFacts::default()
    });
    Handshake {
        fault: attempt.fault.map(|fault| fault.kind),
        errno: attempt.fault.map_or(0, |fault| fault.errno),
        signal: found.alert.map(clearway_outcome::Signal::TlsAlert),
        tls,
        chain: 0,
        wants_certificate: false,
        first: evidence.map_or_else(FirstBytes::default, |e| FirstBytes::of(e.first())),
        took_us: attempt.ended_us,
    }
}
