//! Records for tests.

use clearway_base::clock::Stamp;
use clearway_base::intern::Name;
use clearway_outcome::{
    Address, Attempt, CertificateFacts, CertificateVerdict, Evidence, Fault, FaultKind, Phase,
    Protocol, Record, RequestId, RetryRefusal, Side, Signal, TcpFacts, Timings, TlsFacts,
};

/// A request that went well.
pub(crate) fn record(attempts: &[Attempt]) -> Record<'_> {
    Record {
        id: RequestId(77),
        started: Stamp(1_000),
        client: Address::Ip("192.0.2.7:4000".parse().unwrap()),
        listener: Name::new("web"),
        route: Name::new("all"),
        backend: Name::new("app"),
        protocol: Protocol::Http11,
        tls: None,
        method: b"GET",
        target: b"/a?b=1",
        host: b"example.org",
        referer: b"",
        user_agent: b"curl/8",
        status: 200,
        grpc_status: None,
        bytes_in: 80,
        bytes_out: 160,
        body_out: 12,
        timings: Timings {
            head_us: 10,
            total_us: 5_432,
        },
        attempts,
        fault: None,
        connections: (3, 2),
    }
}

/// A refused connection.
pub(crate) fn failed_attempt() -> Attempt {
    let mut attempt = Attempt::begin(
        Name::new("app"),
        Name::new("a"),
        Name::new("10.0.0.2:8080"),
        Stamp(1_000),
    );
    attempt.ended_us = 310;
    let fault = Fault::new(FaultKind::ConnectRefused, Phase::Connect, Side::Server);
    attempt.fault = Some(fault.with_errno(111).after(300));
    attempt.refusal = Some(RetryRefusal::NoServer);
    let mut evidence = Evidence {
        tcp: Some(TcpFacts {
            state: 7,
            ..Default::default()
        }),
        ..Default::default()
    };
    evidence.keep_first(b"SSH-2.0\r\n");
    attempt.evidence = Some(Box::new(evidence));
    attempt
}

/// TLS with a client that showed a certificate.
pub(crate) fn tls() -> TlsFacts {
    TlsFacts {
        offered: 0,
        version: 0x0304,
        cipher: 0x1301,
        server_name: "www.example.org".to_owned(),
        alpn: b"h2".to_vec(),
        resumed: true,
        certificate: Some(certificate("CN=Ada,O=Example", &[])),
        verdict: CertificateVerdict::Verified,
        refusal: String::new(),
        ..TlsFacts::default()
    }
}

/// A server whose certificate is for another name.
pub(crate) fn misnamed_attempt() -> Attempt {
    let mut attempt = failed_attempt();
    let fault = Fault::new(FaultKind::ServerCertificateName, Phase::Tls, Side::Server);
    attempt.fault = Some(fault.after(300));
    let certificate = certificate("CN=app.example.org", &["app.example.org", "192.0.2.9"]);
    attempt.evidence = Some(Box::new(Evidence {
        tls: Some(Box::new(TlsFacts {
            version: 0x0303,
            cipher: 0xc02f,
            server_name: "api.example.org".to_owned(),
            certificate: Some(certificate),
            verdict: CertificateVerdict::Refused,
            refusal: "not valid for name".to_owned(),
            ..TlsFacts::default()
        })),
        ..Evidence::default()
    }));
    attempt
}

/// A server that does not want the handshake.
pub(crate) fn alerted_attempt() -> Attempt {
    let mut attempt = failed_attempt();
    let fault = Fault::new(FaultKind::ServerTlsAlert, Phase::Tls, Side::Server);
    attempt.fault = Some(fault.with_signal(Some(Signal::TlsAlert(112))));
    attempt.evidence = Some(Box::new(Evidence {
        tls: Some(Box::new(TlsFacts {
            server_name: "api.example.org".to_owned(),
            ..TlsFacts::default()
        })),
        ..Evidence::default()
    }));
    attempt
}

fn certificate(subject: &str, names: &[&str]) -> CertificateFacts {
    CertificateFacts {
        subject: subject.to_owned(),
        issuer: "CN=Example CA 1,O=Example Trust".to_owned(),
        names: names.iter().map(|&name| name.to_owned()).collect(),
        not_before: 1_735_862_400,
        not_after: 1_767_398_400,
        serial: "fedc01".to_owned(),
        fingerprint: "ba7816bf".to_owned(),
    }
}
