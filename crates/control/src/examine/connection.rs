//! A connection that says nothing.

use std::net::SocketAddr;
use std::time::Duration;

use clearway_doctor::Finding;
use clearway_doctor::evidence::{Connection, Then};
use clearway_net::connect::Target;
use clearway_net::host::{self, IcmpEar};
use clearway_net::probe::diagnose;
use clearway_outcome::{Ending, FirstBytes, IcmpSeen, Silence};

use super::{Reach, SILENT, WATCHED};

/// How long after the end of the connection ICMP messages are waited for.
const ECHO: Duration = Duration::from_millis(20);

pub(super) async fn run(reach: &Reach, target: &Target, is_silent: bool) -> Finding {
    let limit = if is_silent { SILENT } else { WATCHED };
    let before = host::counters().ok();
    let ear = IcmpEar::open().ok();
    let silence = diagnose::silent(&reach.aim(target, limit)).await;
    let icmp = match (&ear, target) {
        (Some(ear), Target::Ip(address)) => hear(ear, *address).await,
        _ => None,
    };
    let gained = match (host::counters().ok(), before) {
        (Some(after), Some(before)) => Some(after.since(&before)),
        _ => None,
    };
    let fault = silence.attempt.fault;
    let is_immediate = silence
        .attempt
        .evidence
        .as_ref()
        .is_some_and(|e| e.is_immediate);
    Finding::Connect(Box::new(Connection {
        fault: fault.map(|fault| fault.kind),
        errno: fault.map_or(0, |fault| fault.errno),
        is_immediate,
        took_us: silence
            .attempt
            .connected_us
            .unwrap_or(silence.attempt.ended_us),
        icmp,
        heard_icmp: ear.is_some(),
        then: then(&silence),
        gained,
    }))
}

async fn hear(ear: &IcmpEar, address: SocketAddr) -> Option<IcmpSeen> {
    ear.hear(address, ECHO).await.ok().flatten()
}

fn then(silence: &Silence) -> Then {
    let attempt = &silence.attempt;
    let first = attempt.evidence.as_ref().map_or(&[][..], |e| e.first());
    if !first.is_empty() {
        return Then::Spoke(FirstBytes::of(first));
    }
    let after = attempt
        .ended_us
        .saturating_sub(attempt.connected_us.unwrap_or(0));
    match silence.ending {
        Ending::Unconnected => Then::Nothing,
        Ending::Open | Ending::Said => Then::Open,
        Ending::Fin => Then::Closed(after),
        Ending::Reset => Then::Reset(after),
    }
}
