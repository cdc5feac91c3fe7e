//! Judges of causes on the way between the hosts.

use clearway_outcome::{FaultKind as Kind, Neighbour, Remark, Route};

use super::{Judge, reach};
use crate::case::View;
use crate::cause::Cause;
use crate::evidence::{Fact, HostWord, Probe};
use crate::opinion::{Opinion, Site};
use crate::view::time;

const UNREACHABLE: &[Kind] = &[Kind::ConnectUnreachable];
const SILENT: &[Kind] = &[Kind::ConnectTimeout];

pub(super) const JUDGES: &[Judge] = &[
    Judge::new(Cause::RouteMissing, UNREACHABLE, route_missing),
    Judge::new(
        Cause::IcmpNetUnreachable,
        &[Kind::ConnectUnreachable, Kind::ConnectTimeout],
        icmp_net_unreachable,
    ),
    Judge::new(
        Cause::RoutePolicyLocal,
        &[
            Kind::ConnectDenied,
            Kind::ConnectUnreachable,
            Kind::ConnectFailed,
        ],
        route_policy_local,
    ),
    Judge::new(
        Cause::HostDown,
        &[Kind::ConnectTimeout, Kind::ConnectUnreachable],
        host_down,
    ),
    Judge::new(Cause::ReturnPathDrop, SILENT, return_path_drop),
    Judge::new(
        Cause::IpConflict,
        &[
            Kind::ConnectRefused,
            Kind::ConnectTimeout,
            Kind::ServerResetNoResponse,
            Kind::ReusedReset,
        ],
        ip_conflict,
    ),
    Judge::new(
        Cause::PacketLoss,
        &[
            Kind::ConnectTimeout,
            Kind::ResponseTimeout,
            Kind::ResponseBodyStalled,
            Kind::ResponseHeadStalled,
            Kind::ServerTlsTimeout,
            Kind::ServerWriteTimeout,
        ],
        packet_loss,
    ),
    Judge::new(
        Cause::StickyToDeadServer,
        &[
            Kind::ConnectRefused,
            Kind::ConnectTimeout,
            Kind::AllServersDown,
        ],
        sticky_to_dead_server,
    ),
    Judge::new(Cause::AuthSubrequestFailed, &[], auth_subrequest_failed)
        .remarked(&[Remark::AuthRequestFailed]),
    Judge::new(
        Cause::WrongServiceListening,
        &[Kind::ProbeStatus, Kind::ProbeBody],
        wrong_service_listening,
    ),
];

/// `ENETUNREACH`.
const NET_UNREACHABLE: i32 = 101;
/// `EHOSTUNREACH`.
const HOST_UNREACHABLE: i32 = 113;

fn route_missing(view: &View<'_>, it: &mut Opinion) {
    it.fair(view.seen());
    it.wants(Probe::Host);
    if view.group.immediate.1 > 0 {
        return it.rule_out();
    }
    match view.group.errno() {
        Some(NET_UNREACHABLE) => {
            it.fair(view.symptom("connect() says that the network is unreachable"));
        }
        Some(HOST_UNREACHABLE) => it.against(view.symptom("connect() says host, not network")),
        _ => {}
    }
    if view.group.immediate.0 > 0 {
        it.hint(view.symptom("at once: nothing left this host"));
    }
    match view.host().and_then(|host| host.route.as_ref()) {
        Some(Route::Missing) if reach::is_six_of_a_name(view) => {
            it.fair(view.kernel(format!("this host has no route to {}", view.address())));
        }
        Some(Route::Missing) => {
            it.proof(view.kernel(format!("this host has no route to {}", view.address())));
        }
        Some(_) => it.strongly_against(view.kernel("this host has a route to it now")),
        None => it.missing("the route to the server"),
    }
    it.fix(
        Site::Clearway,
        "Add the route, or attach the network",
        format!("ip route get {}", host_of(view)),
    );
}

fn icmp_net_unreachable(view: &View<'_>, it: &mut Opinion) {
    it.hint(view.seen());
    it.wants(Probe::Connect);
    if view.group.immediate.0 > 0 {
        return it.rule_out();
    }
    let icmp = view.connection().and_then(|found| found.icmp);
    match icmp {
        Some(icmp) if icmp.code == 0 => {
            it.proof(view.kernel(format!(
                "{} says \"network unreachable\" (ICMP type {} code 0)",
                icmp.from, icmp.kind
            )));
            it.say(format!(
                "The router {} has no route to {}.",
                icmp.from,
                view.address()
            ));
            it.fix(
                Site::Clearway,
                format!("Mend the route on {}", icmp.from),
                format!("ip route get {}   # there", host_of(view)),
            );
        }
        Some(_) => return it.rule_out(),
        None => {}
    }
    if view.group.errno() == Some(NET_UNREACHABLE) {
        it.fair(view.symptom("the error came after the call, so a router sent it"));
    } else if view.is(SILENT) && view.other(UNREACHABLE).is_none() {
        it.against(view.symptom("no attempt was answered with \"unreachable\""));
    } else if view.is(SILENT) {
        it.hint(view.symptom("others were told so at once: routers limit such messages"));
    }
    match view.host().and_then(|host| host.route.as_ref()) {
        Some(Route::Missing | Route::Refused { .. }) => it.rule_out(),
        Some(_) => it.hint(view.kernel("this host itself has a route")),
        None => {}
    }
}

fn route_policy_local(view: &View<'_>, it: &mut Opinion) {
    if view.is_unix() {
        return it.rule_out();
    }
    it.hint(view.seen());
    it.wants(Probe::Host);
    if view.group.immediate.1 > 0 {
        return it.rule_out();
    }
    if view.group.immediate.0 > 0 {
        match view.group.errno() {
            Some(22) => it.strong(view.symptom(
                "the call itself failed with EINVAL, as it does for a route of type blackhole",
            )),
            Some(13 | 113) => it.fair(view.symptom(
                "the call itself failed, so that nobody on the way said so, and a route of this host may",
            )),
            Some(_) | None => {}
        }
    }
    match view.host().and_then(|host| host.route.as_ref()) {
        Some(Route::Refused { kind }) => {
            it.proof(view.kernel(format!("the route to {} is of type {kind}", view.address())));
            it.say(format!(
                "A {kind} route of this host forbids {}.",
                view.address()
            ));
        }
        Some(_) => it.rule_out(),
        None => it.missing("the route to the server"),
    }
    it.fix(
        Site::Clearway,
        "Remove or narrow the route",
        format!(
            "ip route get {}; ip route show type prohibit",
            host_of(view)
        ),
    );
}

fn host_down(view: &View<'_>, it: &mut Opinion) {
    it.hint(view.seen());
    it.wants(Probe::Connect);
    it.wants(Probe::Host);
    it.wants(Probe::Ports(reach::ports_to_try(view)));
    if view.group.immediate.0 > 0 && view.is(UNREACHABLE) {
        return it.rule_out();
    }
    match view.host().and_then(|host| host.neighbour) {
        Some(Neighbour::Failed | Neighbour::Incomplete) => {
            host_is_gone(
                view,
                it,
                view.kernel("nobody answers for its address on the link (ARP)"),
            );
        }
        Some(Neighbour::Reachable) => {
            let direct = view.host().and_then(|host| host.route.as_ref());
            if matches!(direct, Some(Route::Via { gateway: None, .. })) {
                it.rule_out();
            }
        }
        Some(Neighbour::Stale | Neighbour::None) | None => {}
    }
    if let Some(found) = view.connection() {
        match found.icmp {
            Some(icmp) if icmp.code == 1 && found.took_us > 900_000 => {
                let fact = view.kernel(format!(
                    "the router {} says \"host unreachable\" after {}",
                    icmp.from,
                    time(found.took_us)
                ));
                host_is_gone(view, it, fact);
            }
            Some(icmp) if matches!(icmp.code, 0 | 9 | 10 | 13 | 3) => it.rule_out(),
            Some(_) | None => {}
        }
        if found.fault == Some(Kind::ConnectUnreachable) && found.took_us > 2_000_000 {
            it.strong(view.probed(format!(
                "after {} it is reported unreachable, as hosts that are gone are",
                time(found.took_us)
            )));
        }
        if found.fault.is_none() || found.fault == Some(Kind::ConnectRefused) {
            it.strongly_against(view.probed("the host answers now"));
        }
        if found.gained.is_some_and(|gained| gained.retrans_fail > 0) {
            it.strongly_against(view.kernel("this host's own stack refused to send the SYN again"));
        }
    }
    if view.group.errno() == Some(HOST_UNREACHABLE) && view.group.elapsed.min > 2_500_000 {
        it.strong(view.symptom(format!(
            "unreachable after {}: as long as looking for a neighbour takes",
            time(view.group.elapsed.mean())
        )));
    }
    if !view.ports().is_empty() {
        if reach::answering(view).is_empty() {
            it.fair(view.probed("no other port of the host answers"));
        } else {
            it.rule_out();
        }
    }
    if reach::has_left_dns(view) {
        it.strongly_against(view.probed("its name leads to other addresses now"));
    }
    it.say(format!(
        "The host of {} is down, or cut off from the network.",
        view.address()
    ));
    it.fix(
        Site::Server,
        "Start or replace the host, or take the server out",
        format!("ping -c1 {0}; ip neigh show {0}", host_of(view)),
    );
}

/// That nobody has the address proves it, unless a name led here, which may be the wrong one.
fn host_is_gone(view: &View<'_>, it: &mut Opinion, fact: Fact) {
    let is_named = view
        .configured()
        .is_some_and(|(_, server)| !crate::view::is_address(&server.host));
    if is_named {
        it.strong(fact);
    } else {
        it.proof(fact);
    }
}

fn return_path_drop(view: &View<'_>, it: &mut Opinion) {
    it.hint(view.seen());
    reach::weigh_silence(view, it);
    it.missing("whether the server's host answers: its half-open connections show that");
    if reach::well_between(view) > 0 {
        it.strongly_against(view.symptom("some requests between them went well"));
    }
}

fn ip_conflict(view: &View<'_>, it: &mut Opinion) {
    it.wants(Probe::Host);
    let refused = view.other(&[Kind::ConnectRefused]).is_some();
    let reset = view
        .other(&[Kind::ServerResetNoResponse, Kind::ReusedReset])
        .is_some();
    let silent = view.other(SILENT).is_some();
    let ways = [refused, reset, silent].iter().filter(|way| **way).count();
    if reach::well_between(view) == 0 {
        return it.against(view.symptom("no request went well between the failures"));
    }
    it.fair(view.symptom("it goes well in between"));
    if ways >= 1 {
        it.fair(view.symptom("it fails in several ways"));
    }
    it.missing("whether two machines answer for the address (arping -D)");
}

fn packet_loss(view: &View<'_>, it: &mut Opinion) {
    it.wants(Probe::Connect);
    it.wants(Probe::Host);
    let stages = view
        .case
        .groups
        .iter()
        .filter(|group| {
            group.may_be(&[
                Kind::ConnectTimeout,
                Kind::ResponseTimeout,
                Kind::ResponseBodyStalled,
                Kind::ResponseHeadStalled,
                Kind::ServerTlsTimeout,
                Kind::ServerWriteTimeout,
            ])
        })
        .count();
    if stages >= 2 {
        it.strong(view.symptom("time-outs come in several phases: connecting, waiting, the body"));
    }
    let retransmits = view.group.tcp.map_or(0, |tcp| tcp.retransmits);
    if retransmits > 0 {
        it.hint(view.symptom(format!("{retransmits} segments were sent again")));
    }
    if view.is(SILENT) {
        reach::weigh_silence(view, it);
        if reach::well_between(view) > 0 {
            it.fair(view.symptom("connections are made in between: what fails is left to chance"));
        }
    }
    let went_well = view.case.successes.count;
    if went_well == 0 {
        it.strongly_against(view.symptom("no request goes through at all"));
    } else {
        it.hint(view.symptom(format!("{went_well} requests went well")));
    }
    let slow = view.case.successes.connected;
    if slow.count > 0 && slow.max >= 950_000 {
        it.fair(view.symptom(format!("some connections took {}", time(slow.max))));
    }
    if let Some(gained) = view.case.gained {
        if gained.retrans_segs > 5 && gained.syn_retrans > 0 {
            it.fair(view.kernel(format!(
                "{} segments were sent again meanwhile, {} of them SYNs",
                gained.retrans_segs, gained.syn_retrans
            )));
        } else if gained.retrans_segs == 0 && !view.is(SILENT) {
            it.strongly_against(view.kernel("no segment was sent again meanwhile"));
        }
    }
    it.fix(
        Site::Clearway,
        "Look for errors on the interfaces along the way",
        format!("mtr -rwc 100 {}; ip -s link", host_of(view)),
    );
}

fn sticky_to_dead_server(view: &View<'_>, it: &mut Opinion) {
    let Some(sticky) = view
        .configured_backend()
        .and_then(|backend| backend.sticky.as_ref())
    else {
        return it.against(view.symptom("nothing says that clients are tied to servers"));
    };
    it.hint(view.seen());
    it.fair(view.setting(
        sticky,
        format!("{} {} ties clients to servers", sticky.name, sticky.value),
    ));
    let backdrop = &view.case.backdrop;
    if backdrop.servers >= 2 && backdrop.failing <= 1 && backdrop.down == 0 {
        it.fair(view.symptom("the other servers of the backend are well"));
    }
    if view.group.clients.only().is_some() {
        it.hint(view.symptom("all failures are of one client"));
    }
    it.missing("whether only clients with a certain cookie fail");
    it.fix(
        Site::Config,
        "Let requests go to another server when theirs is gone: checks or ejection, and a retry",
        "",
    );
}

fn wrong_service_listening(view: &View<'_>, it: &mut Opinion) {
    it.wants(Probe::Request(crate::evidence::Ask {
        host: HostWord::Configured,
        ..crate::evidence::Ask::default()
    }));
    it.hint(view.seen());
    it.missing("what the program that should answer says of itself");
}

fn auth_subrequest_failed(view: &View<'_>, it: &mut Opinion) {
    it.fair(view.symptom("the request itself was never sent to a server"));
    it.say(
        "The request that asks another service for permission failed; the application was never asked.",
    );
    it.fix(
        Site::Server,
        "Look at the service that grants permission as at any other server",
        "",
    );
}

fn host_of(view: &View<'_>) -> String {
    match view.address().rsplit_once(':') {
        Some((host, _)) => host.trim_matches(['[', ']']).to_owned(),
        None => view.address().to_owned(),
    }
}
