//! What does the server make of this ClientHello, and what does it show?

use std::time::Duration;

use clearway_outcome::{CertificateVerdict, Ending, FaultKind, Handshake, TlsVersions};
use rustls_pki_types::IpAddr;
use tokio::time::timeout;

use super::{Aim, Failure};
use crate::connect::Target;
use crate::probe::visit::Visit;
use crate::tls::{Certificate, Inspection, InspectionSettings, ServerName, Trust};

/// In TLS 1.3 a server judges the client's certificate when the handshake is over for the client: how
/// long it may take to object. One that does not object says nothing.
const OBJECTION: Duration = Duration::from_millis(500);

/// What is offered, and whom to believe.
#[derive(Clone, Debug)]
pub struct Hello {
    /// The name that is asked for (SNI); none is sent when `None`, or when it is an address.
    pub name: Option<ServerName<'static>>,
    /// The name that the certificate is judged for; the one asked for when `None`, or the server's
    /// address.
    pub expected: Option<ServerName<'static>>,
    /// The versions offered.
    pub versions: TlsVersions,
    /// The application protocols offered, the best first.
    pub alpn: Vec<Vec<u8>>,
    /// Whom to believe; with [`Trust::Nobody`] the certificate is not judged.
    pub trust: Trust,
    /// The certificate that is shown when one is asked for.
    pub certificate: Option<Certificate>,
}

impl Hello {
    /// A ClientHello that asks for `name`, offers both versions and no application protocol, believes
    /// whatever comes and shows nothing.
    #[must_use]
    pub fn to(name: Option<ServerName<'static>>) -> Self {
        Self {
            name,
            expected: None,
            versions: TlsVersions::Both,
            alpn: Vec::new(),
            trust: Trust::Nobody,
            certificate: None,
        }
    }
}

/// Makes a handshake. What is said of the certificate does not end it: the verdict stands beside what
/// was agreed on. TLS and HTTP/2 of the [`Aim`] are not looked at.
///
/// # Errors
/// When the trusted authorities cannot be used, in words.
pub async fn hello(aim: &Aim, hello: &Hello) -> Result<Handshake, String> {
    let address = own_name(&aim.target);
    let asked_for = hello.name.clone();
    let inspection = Inspection::new(&InspectionSettings {
        sends_name: asked_for.is_some(),
        versions: hello.versions,
        alpn: hello.alpn.clone(),
        trust: hello.trust.clone(),
        expected: hello
            .expected
            .clone()
            .or_else(|| asked_for.clone())
            .unwrap_or_else(|| address.clone()),
        certificate: hello.certificate.clone(),
    })?;
    let name = asked_for.unwrap_or(address);
    let mut visit = aim.visit();
    let shaken = timeout(aim.limit, shake(&mut visit, aim, &inspection, &name)).await;
    let verdict = shaken.unwrap_or_else(|_| Err(visit.timed_out(aim.limit)));
    let mut handshake = Handshake {
        ending: visit.ending,
        attempt: visit.testify(verdict.map(|()| "shaken hands".to_owned())),
        chain: Vec::new(),
        presented: 0,
        objection: None,
        wants_certificate: inspection.was_asked(),
    };
    if let Some(presented) = inspection.presented() {
        handshake.chain.clone_from(&presented.chain);
        handshake.presented = presented.count;
        handshake.objection.clone_from(&presented.objection);
    }
    put_on_record(&mut handshake, hello.name.as_ref());
    Ok(handshake)
}

async fn shake(
    visit: &mut Visit,
    aim: &Aim,
    inspection: &Inspection,
    name: &ServerName<'static>,
) -> Result<(), Failure> {
    visit.connect(&aim.target, aim.source).await?;
    visit.introduce(aim.proxy_header).await?;
    visit.secure(inspection.client(), name).await?;
    if !inspection.was_asked() {
        return Ok(());
    }
    match timeout(OBJECTION, visit.read()).await {
        Err(_) | Ok(Ok(true)) => Ok(()),
        Ok(Ok(false)) => Err(ended(FaultKind::ServerTlsClosed)),
        Ok(Err(_)) if visit.ending == Ending::Reset => Err(ended(FaultKind::ServerTlsReset)),
        Ok(Err(failure)) => Err(failure),
    }
}

fn ended(kind: FaultKind) -> Failure {
    Failure::new(kind, kind.summary().to_owned())
}

/// Lets the facts of the connection say what the inspection knows better.
fn put_on_record(handshake: &mut Handshake, name: Option<&ServerName<'static>>) {
    let Some(evidence) = &mut handshake.attempt.evidence else {
        return;
    };
    let Some(tls) = &mut evidence.tls else {
        return;
    };
    tls.server_name = name.map_or_else(String::new, |name| name.to_str().into_owned());
    tls.certificate = handshake.chain.first().cloned();
    if let Some((_, words)) = &handshake.objection {
        tls.verdict = CertificateVerdict::Refused;
        tls.refusal.clone_from(words);
    }
}

/// What a server is called that has no name.
fn own_name(target: &Target) -> ServerName<'static> {
    let ip = match target {
        Target::Ip(address) => address.ip().to_canonical(),
        Target::Unix(_) => std::net::Ipv4Addr::LOCALHOST.into(),
    };
    ServerName::IpAddress(IpAddr::from(ip))
}

#[cfg(test)]
mod tests {
    use clearway_outcome::Signal;
    use clearway_testkit::{Authority, Identity, Server, TlsServer, Wish, behave};

    use super::*;
    use crate::testing::block_on;
    use crate::tls::server_name;

    fn shaken(server: &Server, hello: &Hello) -> Handshake {
        let target = Target::Ip(server.address().parse().unwrap());
        let aim = Aim::at(target, Duration::from_secs(8));
        block_on(async { super::hello(&aim, hello).await }).unwrap()
    }

    fn to(name: &str) -> Hello {
        Hello::to(Some(server_name(name).unwrap()))
    }

    fn believing(name: &str, authority: &Authority) -> Hello {
        Hello {
            trust: Trust::Roots(vec![authority.der().clone()]),
            ..to(name)
        }
    }

    fn objection(handshake: &Handshake) -> Option<FaultKind> {
        handshake.objection.as_ref().map(|(kind, _)| *kind)
    }

    #[test]
    fn what_is_agreed_on_and_shown_is_told() {
        let root = Authority::new("Root");
        let below = root.below("Below");
        let identity = below.issue(&["app.test"]);
        let server = TlsServer::with(&identity)
            .alpn(&["http/1.1"])
            .script(behave::never_answer());
        let mut hello = believing("app.test", &root);
        hello.alpn = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let seen = shaken(&server, &hello);
        assert_eq!(seen.attempt.fault, None);
        assert_eq!((objection(&seen), seen.wants_certificate), (None, false));
        assert_eq!((seen.presented, seen.chain.len()), (2, 2));
        assert_eq!(seen.chain[0].names, ["app.test"]);
        assert!(!seen.is_self_signed());
        let tls = seen.attempt.evidence.unwrap().tls.unwrap();
        assert_eq!(
            (tls.version, tls.alpn.as_slice()),
            (0x0304, &b"http/1.1"[..])
        );
        assert_eq!(tls.verdict, CertificateVerdict::Verified);
        assert_eq!(tls.server_name, "app.test");
        assert_eq!(tls.certificate, Some(seen.chain[0].clone()));
    }

    #[test]
    fn objections_do_not_end_the_handshake() {
        let root = Authority::new("Root");
        let other = Authority::new("Other");
        let identity = root.issue(&["app.test"]);
        let server = TlsServer::with(&identity).script(behave::never_answer());
        for (hello, expected) in [
            (believing("app.test", &root), None),
            (
                believing("wrong.test", &root),
                Some(FaultKind::ServerCertificateName),
            ),
            (
                believing("app.test", &other),
                Some(FaultKind::ServerCertificateUntrusted),
            ),
            (to("wrong.test"), None),
        ] {
            let seen = shaken(&server, &hello);
            assert_eq!(seen.attempt.fault, None);
            assert_eq!(objection(&seen), expected, "{:?}", hello.name);
            let tls = seen.attempt.evidence.unwrap().tls.unwrap();
            assert_eq!(
                tls.verdict == CertificateVerdict::Refused,
                expected.is_some()
            );
        }
        let own = Identity::self_signed(&Wish::of(&["app.test"]));
        let server = TlsServer::with(&own).script(behave::never_answer());
        let seen = shaken(&server, &Hello::to(None));
        assert!(seen.is_self_signed() && seen.presented == 1, "{seen:?}");
        assert_eq!(seen.attempt.evidence.unwrap().tls.unwrap().server_name, "");
    }

    #[test]
    fn versions_are_asked_for_one_by_one() {
        let identity = Authority::new("Root").issue(&["app.test"]);
        let server = TlsServer::with(&identity)
            .only_12()
            .script(behave::never_answer());
        let with = |versions| Hello {
            versions,
            ..to("app.test")
        };
        let seen = shaken(&server, &with(TlsVersions::Only12));
        assert_eq!(seen.attempt.evidence.unwrap().tls.unwrap().version, 0x0303);
        let seen = shaken(&server, &with(TlsVersions::Only13));
        let fault = seen.attempt.fault.unwrap();
        assert_eq!(fault.kind, FaultKind::ServerTlsAlert);
        assert_eq!((seen.alert(), seen.ending), (Some(70), Ending::Said));
    }

    #[test]
    fn a_demand_for_a_certificate_is_seen_in_both_versions() {
        let root = Authority::new("Root");
        let identity = root.issue(&["app.test"]);
        for versions in [TlsVersions::Only12, TlsVersions::Only13] {
            let server = TlsServer::with(&identity)
                .demanding(&root)
                .script(behave::never_answer());
            let hello = Hello {
                versions,
                ..to("app.test")
            };
            let seen = shaken(&server, &hello);
            assert!(seen.wants_certificate, "{versions:?}");
            assert_eq!(seen.presented, 1);
            assert_eq!(
                seen.attempt.fault.map(|fault| fault.kind),
                Some(FaultKind::ServerWantsCertificate),
                "{versions:?}: {:?}",
                seen.attempt.fault
            );
            assert!(seen.alert().is_some());
        }
    }

    #[test]
    fn servers_without_tls_are_told_apart() {
        let server = Server::script(behave::banner("HTTP/1.0 400 Bad Request\r\n\r\n"));
        let seen = shaken(&server, &to("app.test"));
        let fault = seen.attempt.fault.unwrap();
        assert_eq!(fault.kind, FaultKind::ServerSpeaksPlain);
        let evidence = seen.attempt.evidence.unwrap();
        assert!(evidence.first().starts_with(b"HTTP/1.0"));
        assert_eq!((seen.presented, seen.ending), (0, Ending::Open));
        let server = Server::script(|mut conn| {
            conn.take_some();
            conn.half_close();
            conn.drain();
        });
        let seen = shaken(&server, &to("app.test"));
        assert_eq!(seen.attempt.fault.unwrap().kind, FaultKind::ServerTlsClosed);
        assert_eq!(seen.ending, Ending::Fin);
        let server = Server::script(behave::banner([0x15, 3, 1, 0, 2, 2, 40]));
        let seen = shaken(&server, &to("app.test"));
        assert_eq!(
            seen.attempt.fault.unwrap().signal,
            Some(Signal::TlsAlert(40))
        );
    }
}
