//! HAProxy's termination state of a Record (its manual, section 8.5).
//!
//! The letters of each fault stand in the table of fault kinds; what is read of others' logs goes the
//! other way, in [`crate::read`]. What the kind alone does not tell is here: a client may leave at any
//! time, and who answers by itself needs no fault.

use clearway_outcome::{Fault, Phase, Protocol, Record};

/// How the session ended, and where: `--` when it did as it should, `LR` when the balancer answered by
/// itself.
#[must_use]
pub fn termination(record: &Record<'_>) -> [u8; 2] {
    match &record.fault {
        Some(fault) => of_fault(fault),
        None if record.attempts.is_empty() && record.protocol != Protocol::Tcp => *b"LR",
        None => *b"--",
    }
}

fn of_fault(fault: &Fault) -> [u8; 2] {
    let [who, what] = fault.kind.haproxy();
    if fault.kind.is_client_abort() {
        return [who, when(fault.phase)];
    }
    [who, what]
}

/// The second letter: what was being waited for.
fn when(phase: Phase) -> u8 {
    match phase {
        Phase::Accept
        | Phase::Handshake
        | Phase::RequestHead
        | Phase::Route
        | Phase::Admit
        | Phase::Choose => b'R',
        Phase::Queue => b'Q',
        Phase::Resolve | Phase::Connect | Phase::Tls => b'C',
        Phase::Send | Phase::Wait | Phase::ResponseHead => b'H',
        Phase::RequestBody | Phase::ResponseBody | Phase::Tunnel | Phase::Deliver => b'D',
    }
}

#[cfg(test)]
mod tests {
    use clearway_outcome::{FaultKind, Side};

    use super::*;
    use crate::sample;

    #[test]
    fn states_are_those_that_haproxy_writes() {
        let of = |kind, phase| of_fault(&Fault::new(kind, phase, Side::Client));
        for (kind, phase, state) in [
            (FaultKind::NoServers, Phase::Choose, b"SC"),
            (FaultKind::AllServersDown, Phase::Choose, b"SC"),
            (FaultKind::ConnectRefused, Phase::Connect, b"SC"),
            (FaultKind::ConnectTimeout, Phase::Connect, b"sC"),
            (FaultKind::ResponseTimeout, Phase::Wait, b"sH"),
            (FaultKind::ServerClosedNoResponse, Phase::Wait, b"SH"),
            (FaultKind::ResponseBodyShort, Phase::ResponseBody, b"SD"),
            (FaultKind::ResponseBodyStalled, Phase::ResponseBody, b"sD"),
            (FaultKind::QueueTimeout, Phase::Queue, b"sQ"),
            (FaultKind::Denied, Phase::Admit, b"PR"),
            (FaultKind::HeaderNameInvalid, Phase::RequestHead, b"PR"),
            (FaultKind::RequestHeadTimeout, Phase::RequestHead, b"cR"),
            (FaultKind::ClientClosed, Phase::RequestHead, b"CR"),
            (FaultKind::ClientClosed, Phase::Queue, b"CQ"),
            (FaultKind::ClientReset, Phase::Connect, b"CC"),
            (FaultKind::ClientClosed, Phase::Wait, b"CH"),
            (FaultKind::ClientReset, Phase::Deliver, b"CD"),
            (FaultKind::ClientNotReading, Phase::Deliver, b"cD"),
        ] {
            assert_eq!(&of(kind, phase), state, "{}", kind.code());
        }
    }

    #[test]
    fn without_a_fault_it_tells_who_answered() {
        let attempts = [sample::failed_attempt()];
        assert_eq!(&termination(&sample::record(&attempts)), b"--");
        let mut record = sample::record(&[]);
        assert_eq!(&termination(&record), b"LR");
        record.protocol = Protocol::Tcp;
        assert_eq!(&termination(&record), b"--");
    }
}
