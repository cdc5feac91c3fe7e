//! Judges of connection attempts that nobody answers.

use clearway_outcome::FaultKind as Kind;

use crate::case::View;
use crate::evidence::Probe;
use crate::judge::reach;
use crate::opinion::{Opinion, Site};
use crate::view::time;

pub(super) fn firewall_drop(view: &View<'_>, it: &mut Opinion) {
    it.fair(view.seen());
    it.wants(Probe::Connect);
    it.wants(Probe::Host);
    it.wants(Probe::Ports(reach::ports_to_try(view)));
    reach::weigh_silence(view, it);
    let up = reach::answering(view);
    if up.is_empty() {
        if !view.ports().is_empty() {
            it.against(view.probed("no other port of the host answers either"));
        }
    } else {
        it.fix(
            Site::Server,
            format!("Let the balancer's address through to port {}", view.port()),
            "nft list ruleset | grep -n drop   # on the server, and in security groups on the way",
        );
    }
    let between = reach::well_between(view);
    if between > 0 {
        it.strongly_against(view.symptom(format!("{between} requests between them went well")));
    }
    it.missing("whether the SYN reaches the server's host");
    it.say(format!(
        "Nobody answers connection attempts to {}: something on the way, or its host, drops them.",
        view.address()
    ));
}

pub(super) fn lb_egress_drop(view: &View<'_>, it: &mut Opinion) {
    it.wants(Probe::Connect);
    it.wants(Probe::Host);
    match view.connection().and_then(|found| found.gained) {
        Some(gained) if gained.retrans_fail > 0 => {
            it.strong(view.kernel(format!(
                "this host's own stack refused to send the SYN again ({} times)",
                gained.retrans_fail
            )));
            it.fair(view.kernel("so a rule of this host drops it, not one on the way"));
            let full = view.host().and_then(|host| host.conntrack);
            if full.is_some_and(|table| table.is_exhausted()) {
                it.strongly_against(view.kernel("its table of connections is full"));
            }
        }
        Some(gained) if gained.syn_retrans > 0 => it.rule_out(),
        Some(_) => it.hint(view.seen()),
        None => {
            it.hint(view.seen());
            it.missing("whether this host sends the SYN at all");
        }
    }
    it.fix(
        Site::Clearway,
        "Remove the rule of this host's own output chain, or of the service's control group",
        "nft list ruleset | grep -n -A20 'hook output'   # or: iptables -S OUTPUT",
    );
}

pub(super) fn accept_queue_overflow(view: &View<'_>, it: &mut Opinion) {
    it.hint(view.seen());
    it.wants(Probe::Host);
    it.wants(Probe::Connect);
    reach::weigh_silence(view, it);
    if view.case.successes.count > 0 {
        it.fair(view.symptom(format!(
            "{} requests to the same server went well meanwhile",
            view.case.successes.count
        )));
    }
    let slow = view.case.successes.connected;
    if slow.count > 0 && (950_000..=3_500_000).contains(&slow.max) {
        it.fair(view.symptom(format!(
            "some connections took {}: a SYN was lost and sent again",
            time(slow.max)
        )));
    }
    let waiting = view.other(&[Kind::ResponseTimeout]);
    if waiting.is_some() {
        it.fair(view.symptom("requests that got through time out waiting for a response"));
    }
    if let Some(host) = view.host().filter(|host| host.is_local) {
        let full = host
            .listeners
            .iter()
            .flatten()
            .find(|l| l.queue > 0 && l.queue >= l.backlog);
        match full {
            Some(full) => it.proof(view.kernel(format!(
                "the queue of {} is full: {} connections wait, {} may",
                full.address, full.queue, full.backlog
            ))),
            None => it.against(view.kernel("its queue has room")),
        }
    } else {
        it.missing("the server's queue of connections");
    }
    if view.case.backdrop.in_flight.is_some_and(|busy| busy >= 2) {
        it.hint(view.symptom("other requests are under way there"));
    }
    it.fix(
        Site::Server,
        "Give the program more workers, and a larger backlog",
        format!(
            "ss -ltn 'sport = :{}'   # Recv-Q above Send-Q; nstat -az TcpExtListenOverflows",
            view.port()
        ),
    );
}

pub(super) fn syn_flood_protection(view: &View<'_>, it: &mut Opinion) {
    it.hint(view.seen());
    reach::weigh_silence(view, it);
    let Some(host) = view.host().filter(|host| host.is_local) else {
        return it.missing("the server's counters of SYN cookies and dropped SYNs");
    };
    match host.gained {
        Some(gained) if gained.req_q_full_drop > 0 || gained.req_q_full_cookies > 0 => it.strong(
            view.kernel("the queue of half-open connections overflowed while requests failed"),
        ),
        Some(_) => it.strongly_against(view.kernel("the queue of half-open connections has room")),
        None => it.missing("counters of dropped SYNs"),
    }
}

pub(super) fn connect_timeout_too_short(view: &View<'_>, it: &mut Opinion) {
    it.wants(Probe::Connect);
    let limit = view.backend().map(|backend| &backend.timeouts.connect);
    let limit_us = limit
        .and_then(|limit| limit.value)
        .map(|limit| u64::try_from(limit.as_micros()).unwrap_or(u64::MAX));
    if limit_us.is_some_and(|limit| limit > 1_500_000) {
        it.against(view.symptom("the limit is longer than a SYN that is sent again takes"));
    }
    let Some(found) = view.connection() else {
        return it.missing("how long a connection takes when it may");
    };
    if found.fault.is_some() {
        return it.strongly_against(view.probed("with more time it fails too"));
    }
    let limit_us = limit_us.unwrap_or(view.group.elapsed.max);
    let lost = found.gained.is_some_and(|gained| gained.syn_retrans > 0);
    if limit_us > 0 && found.took_us > limit_us && lost {
        if limit_us < 1_050_000 {
            it.hint(view.symptom("the limit ends before the kernel sends a SYN again, after 1 s"));
        }
        it.strong(view.probed(format!(
            "with more time the connection is made after {}, because a SYN was lost and sent again",
            time(found.took_us)
        )));
    } else if limit_us > 0 && found.took_us > limit_us {
        it.proof(view.probed(format!(
            "with more time the connection is made after {}, and the limit is {}",
            time(found.took_us),
            time(limit_us)
        )));
        if let Some(limit) = limit {
            let (words, to) = view.edit(limit, "2s or more");
            it.verified_fix(Site::Config, words, to);
        }
    } else {
        it.hint(view.probed(format!(
            "a connection is made after {}",
            time(found.took_us)
        )));
    }
}

pub(super) fn paws_timewait_reject(view: &View<'_>, it: &mut Opinion) {
    it.hint(view.seen());
    reach::weigh_silence(view, it);
    match view
        .host()
        .filter(|host| host.is_local)
        .and_then(|host| host.gained)
    {
        Some(gained) if gained.paws_passive > 0 || gained.paws_active > 0 => {
            it.strong(view.kernel("segments were refused for their timestamps meanwhile"));
        }
        Some(_) => it.rule_out(),
        None => {
            it.against(
                view.symptom("it takes a kernel older than 4.12, or address translation before it"),
            );
        }
    }
}
