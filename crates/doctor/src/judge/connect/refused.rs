//! Judges of refused connections.

use clearway_outcome::FaultKind as Kind;

use super::DROPPED;
use crate::case::View;
use crate::evidence::{ChangeKind, PortState, Probe};
use crate::judge::reach;
use crate::opinion::{Opinion, Site};

pub(super) fn port_closed(view: &View<'_>, it: &mut Opinion) {
    if view.is_unix() {
        return it.rule_out();
    }
    reach::weigh_refusal(view, it);
    it.wants(Probe::Connect);
    it.wants(Probe::Host);
    it.wants(Probe::Ports(reach::ports_to_try(view)));
    match view.host() {
        Some(host) if host.is_local && host.listeners.is_some() => {
            if reach::listens_elsewhere(view, host).is_some() {
                return it.rule_out();
            }
            if reach::listens_for(view, host) {
                if reach::is_refused_now(view) {
                    return it.rule_out();
                }
                it.say(format!(
                    "Nothing listened on {} for a while; it does now.",
                    view.address()
                ));
                return it.fair(view.kernel("something listens there again"));
            }
            it.proof(view.kernel(format!(
                "{} is this host, and nothing listens on port {}",
                view.address(),
                view.port()
            )));
        }
        Some(_) | None => {
            it.missing("what listens on the server's host: it cannot be seen from here");
        }
    }
    let before = view.case.successes.before;
    if before > 0 {
        it.fair(view.symptom(format!("it has served before: {before} requests went well")));
    }
    let between = reach::well_between(view);
    if between > 0 {
        it.against(view.symptom(format!("{between} requests went well between the failures")));
    }
    let up = reach::answering(view);
    if !up.is_empty() {
        it.note(view.probed(format!(
            "the host is up: it answers on port {}",
            reach::list(&up)
        )));
    }
    it.say(format!(
        "Nothing listens on {}: its host is up and refuses connections there.",
        view.address()
    ));
    it.fix(
        Site::Server,
        "Start the service, and read why it ended",
        format!("ss -ltnp 'sport = :{}'", view.port()),
    );
}

pub(super) fn port_wrong(view: &View<'_>, it: &mut Opinion) {
    if view.is_unix() {
        return it.rule_out();
    }
    it.wants(Probe::Ports(reach::ports_to_try(view)));
    it.hint(view.seen());
    let open: Vec<u16> = view
        .ports()
        .iter()
        .filter(|(port, state)| *state == PortState::Open && !reach::is_taken(view, *port))
        .map(|(port, _)| *port)
        .collect();
    let elsewhere = view
        .host()
        .filter(|host| host.is_local)
        .and_then(|host| host.listeners.as_deref());
    if let Some([]) = elsewhere {
        it.against(view.kernel("nothing of the kind listens on this host"));
    }
    let near: Vec<u16> = open
        .iter()
        .copied()
        .filter(|port| reach::is_for_programs(*port))
        .collect();
    if near.is_empty() {
        if view.has_tried(&Probe::Ports(reach::ports_to_try(view))) {
            it.strongly_against(view.probed("no other port that programs use takes connections"));
        } else {
            it.missing("which other ports of the host take connections");
        }
        return;
    }
    it.strong(view.probed(format!(
        "port {} is refused, and port {} of the same host takes connections",
        view.port(),
        reach::list(&near)
    )));
    if near.len() == 1 {
        it.fair(view.probed("it is the only one of its kind"));
    }
    it.say(format!(
        "Nothing listens on port {} of the server, but port {} does: the configuration names the wrong \
         port.",
        view.port(),
        reach::list(&near)
    ));
    let place = view
        .server()
        .and_then(|server| server.origin.as_ref())
        .map_or_else(String::new, |origin| format!("in {origin}, "));
    it.fix(
        Site::Config,
        format!("{place}name the port that the program listens on"),
        reach::address_with_port(view, near.first().copied().unwrap_or(0)),
    );
}

pub(super) fn bind_loopback_only(view: &View<'_>, it: &mut Opinion) {
    if view.is_unix() || reach::is_loopback(view) {
        return it.rule_out();
    }
    reach::weigh_refusal(view, it);
    reach::weigh_history(view, it);
    it.wants(Probe::Host);
    match view.host() {
        Some(host) if host.is_local && host.listeners.is_some() => {
            match reach::listens_elsewhere(view, host) {
                Some(listening) if listening.address.ip().is_loopback() => {
                    it.proof(view.kernel(format!(
                        "{} listens on {} only, not on {}",
                        listening.process.as_deref().unwrap_or("the program"),
                        listening.address,
                        view.address()
                    )));
                }
                Some(_) | None => it.rule_out(),
            }
        }
        Some(_) | None => {
            it.missing("on which address the program listens: that shows on its own host only");
        }
    }
    it.say(format!(
        "The program listens on 127.0.0.1 only, so that nobody else can connect to {}.",
        view.address()
    ));
    it.fix(
        Site::Server,
        "Let the program listen on 0.0.0.0 (or the host's address)",
        format!("ss -ltnp 'sport = :{}'", view.port()),
    );
}

pub(super) fn crash_loop(view: &View<'_>, it: &mut Opinion) {
    if view.is_unix() {
        return it.rule_out();
    }
    reach::weigh_refusal(view, it);
    let between = reach::well_between(view);
    let ended = view.other(DROPPED);
    let spells = reach::spells(view.group.times());
    if between == 0 {
        it.strongly_against(view.symptom("no request went well between the failures"));
    } else if spells >= 2 {
        it.strong(view.symptom(format!(
            "refusals came in {spells} separate spells, with {between} requests between them that went \
             well"
        )));
    } else {
        it.fair(view.symptom(format!("{between} requests between them went well")));
    }
    if let Some(ended) = ended {
        it.fair(view.symptom(format!(
            "{} connections broke off without an answer besides",
            ended.count
        )));
    }
    if let Some(process) = view.host().and_then(|host| host.process.as_ref())
        && process.age_s < 60
        && between > 0
    {
        it.fair(view.kernel(format!(
            "its process {} ({}) is {} s old",
            process.pid, process.name, process.age_s
        )));
    }
    let ups = view.lately(&[ChangeKind::ServerUp]).count();
    if ups >= 2 {
        it.fair(view.symptom(format!("it came up {ups} times lately")));
    }
    it.missing("why the program ended: its exit status is on its host");
}

pub(super) fn firewall_reject_icmp(view: &View<'_>, it: &mut Opinion) {
    if view.is_unix() || view.is(&[Kind::ConnectUnreachable]) {
        return it.rule_out();
    }
    it.hint(view.seen());
    it.wants(Probe::Connect);
    it.wants(Probe::Host);
    let Some(found) = view.connection() else {
        return it.missing("whether the refusal is a RST or an ICMP message");
    };
    if let Some(icmp) = found.icmp {
        if reach::is_own(view, icmp.from) {
            return it.rule_out();
        }
        let fact = view.kernel(format!(
            "the refusal is ICMP type {} code {} from {}, not a RST",
            icmp.kind, icmp.code, icmp.from
        ));
        // Whose address it is has to be known first: this host refuses its own packets, too.
        if view.host().is_some() {
            it.proof(fact);
        } else {
            it.strong(fact);
        }
        it.say(format!(
            "A packet filter on {} rejects connections to {} with an ICMP message.",
            icmp.from,
            view.address()
        ));
    } else if reach::gained_icmp(found) {
        it.strong(view.kernel(
            "an ICMP unreachable message was counted while the connection was refused, so it was no RST",
        ));
    } else if found.fault == Some(Kind::ConnectRefused)
        && (found.heard_icmp || found.gained.is_some())
    {
        it.rule_out();
    }
    it.fix(
        Site::Server,
        "Let the balancer's address through in the host's packet filter",
        format!(
            "nft list ruleset | grep -n reject   # or: iptables -S | grep REJECT; open port {}",
            view.port()
        ),
    );
}

pub(super) fn firewall_reject_rst(view: &View<'_>, it: &mut Opinion) {
    if view.is_unix() {
        return it.rule_out();
    }
    reach::weigh_refusal(view, it);
    reach::weigh_history(view, it);
    it.wants(Probe::Host);
    match view.host() {
        Some(host) if host.is_local && host.listeners.is_some() => {
            if reach::listens_for(view, host) && !reach::is_refused_now(view) {
                it.strongly_against(
                    view.kernel("something listens there, and it takes connections now"),
                );
            } else if reach::listens_for(view, host) {
                it.strong(view.kernel(format!(
                    "something listens on {}, and yet connections are refused",
                    view.address()
                )));
                it.fair(view.kernel("so a rule refuses them"));
            } else {
                it.rule_out();
            }
        }
        Some(_) | None => {
            it.missing("whether the server's kernel or a packet filter sent the RST");
        }
    }
    it.fix(
        Site::Server,
        "Let the balancer's address through in the packet filter",
        "nft list ruleset | grep -n 'reject with tcp reset'".to_owned(),
    );
}

pub(super) fn lb_egress_reject(view: &View<'_>, it: &mut Opinion) {
    if view.is_unix() || view.is(&[Kind::ConnectUnreachable]) {
        return it.rule_out();
    }
    it.wants(Probe::Connect);
    let Some(found) = view.connection() else {
        return reach::weigh_refusal(view, it);
    };
    it.hint(view.seen());
    match found.icmp {
        Some(icmp) if reach::is_own(view, icmp.from) => it.strong(view.kernel(format!(
            "the refusal is ICMP type {} code {} from {}, this host itself: no packet left it",
            icmp.kind, icmp.code, icmp.from
        ))),
        Some(_) => it.rule_out(),
        None => match &found.gained {
            Some(gained) if gained.icmp_out_unreachable > 0 && gained.icmp_in_unreachable > 0 => {
                it.strong(view.kernel(
                    "this host sent the ICMP refusal to itself: its counters of those sent and received \
                     both rose",
                ));
                it.fair(view.kernel("so no packet left it"));
            }
            // A rule may refuse by RST, too.
            Some(_) => reach::weigh_refusal(view, it),
            None => it.missing("counters of ICMP messages"),
        },
    }
    it.fix(
        Site::Clearway,
        "Remove the rule of this host's own output chain",
        "nft list chain inet filter output   # or: iptables -S OUTPUT",
    );
}

pub(super) fn k8s_no_endpoints(view: &View<'_>, it: &mut Opinion) {
    let named = view.configured().is_some_and(|(_, server)| {
        server.host.ends_with(".svc.cluster.local")
            || server.host.ends_with(".svc")
            || server.host.contains(".svc.")
    });
    let own = view
        .connection()
        .and_then(|found| found.icmp)
        .is_some_and(|icmp| reach::is_own(view, icmp.from));
    let named = named || is_service_address(view);
    if !named && !own {
        return it.against(view.symptom("the server's name is not one of a Kubernetes Service"));
    }
    it.hint(view.seen());
    if named {
        it.fair(view.symptom("the server is a Kubernetes Service"));
    }
    if own {
        it.fair(view.kernel(
            "this host itself refuses by ICMP, as nodes do for Services without endpoints",
        ));
    } else if let Some(found) = view.connection()
        && (found.icmp.is_some() || reach::gained_icmp(found))
    {
        it.fair(view.kernel("its address is refused by ICMP, as Services without endpoints are"));
    }
    it.fix(
        Site::Server,
        "Look at the Service's endpoints; align selector and labels, target port and readiness",
        "kubectl get endpointslices -l kubernetes.io/service-name=NAME",
    );
}

/// Whether the address is in a range that clusters give to Services by default.
fn is_service_address(view: &View<'_>) -> bool {
    let crate::evidence::Where::Socket(address) = &view.case.site else {
        return false;
    };
    match address.ip() {
        std::net::IpAddr::V4(ip) => matches!(ip.octets(), [10, 96..=111, ..] | [172, 20, ..]),
        std::net::IpAddr::V6(_) => false,
    }
}
