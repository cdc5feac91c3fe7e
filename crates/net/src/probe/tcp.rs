//! The probe that connects and closes: it sees whether something listens, no more.

use super::visit::{Failure, Visit};
use crate::connect::Target;

/// Connects and closes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tcp;

impl Tcp {
    #[expect(clippy::unused_async, reason = "every kind is called in the same way")]
    pub(super) async fn check(&self, _: &mut Visit, _: &Target) -> Result<String, Failure> {
        Ok("connected".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;
    use std::time::Duration;

    use clearway_outcome::{FaultKind, Phase};

    use crate::connect::Target;
    use crate::probe::{Kind, Probe, ProbeReport, ProxyHeader, Tcp, run};
    use crate::testing::{block_on, scratch};

    fn probe(target: &Target, proxy_header: ProxyHeader) -> ProbeReport {
        let probe = Probe {
            proxy_header,
            ..Probe::new(Kind::Tcp(Tcp))
        };
        block_on(async { run(&probe, target, None, Duration::from_secs(5)).await })
    }

    #[test]
    fn a_listener_passes() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let report = probe(&Target::Ip(address), ProxyHeader::Off);
        assert_eq!(report.attempt.fault, None);
        assert!(report.attempt.connected_us.is_some());
        assert!(report.attempt.ended_us >= report.attempt.connected_us.unwrap());
        assert_eq!(report.attempt.address.as_str(), address.to_string());
        assert!(
            report.words.starts_with("connected in "),
            "{}",
            report.words
        );
        let mut got = Vec::new();
        listener.accept().unwrap().0.read_to_end(&mut got).unwrap();
        assert!(got.is_empty());
    }

    #[test]
    fn nobody_listening_is_a_refusal() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = Target::Ip(listener.local_addr().unwrap());
        drop(listener);
        let report = probe(&target, ProxyHeader::Off);
        let fault = report.attempt.fault.unwrap();
        assert_eq!(
            (fault.kind, fault.phase),
            (FaultKind::ConnectRefused, Phase::Connect)
        );
        assert_eq!(fault.errno, libc::ECONNREFUSED);
        assert_eq!(report.words, "the connection was refused (ECONNREFUSED)");
        assert_eq!(report.attempt.connected_us, None);
        let dir = scratch();
        let report = probe(&Target::Unix(dir.path().join("none")), ProxyHeader::Off);
        assert_eq!(report.attempt.fault.unwrap().kind, FaultKind::UnixMissing);
    }

    #[test]
    fn proxy_headers_say_that_nobody_is_spoken_for() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = Target::Ip(listener.local_addr().unwrap());
        let read = |header| {
            assert_eq!(probe(&target, header).attempt.fault, None);
            let mut got = Vec::new();
            listener.accept().unwrap().0.read_to_end(&mut got).unwrap();
            got
        };
        assert_eq!(read(ProxyHeader::V1), b"PROXY UNKNOWN\r\n");
        let v2 = read(ProxyHeader::V2);
        assert_eq!(
            (v2.len() >= 16, v2.get(12)),
            (true, Some(&0x20)),
            "version 2, LOCAL"
        );
    }
}
