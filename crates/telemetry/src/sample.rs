//! Records for tests.

use clearway_base::clock::Stamp;
use clearway_base::intern::Name;
use clearway_outcome::{
    Address, Attempt, Evidence, Fault, FaultKind, Phase, Protocol, Record, RequestId, RetryRefusal,
    Side, TcpFacts, Timings,
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
