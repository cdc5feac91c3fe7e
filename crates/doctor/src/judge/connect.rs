//! Judges of causes that show while a connection is made.

use clearway_outcome::{FaultKind as Kind, Speaker};

use super::wait::signs;
use super::{Judge, reach};
use crate::case::View;
use crate::cause::Cause;
use crate::evidence::{ChangeKind, HostLook, PortState, Probe, Then};
use crate::opinion::{Opinion, Site};
use crate::view::time;

const REFUSED: &[Kind] = &[Kind::ConnectRefused];
const SILENT: &[Kind] = &[Kind::ConnectTimeout];
const DENIED: &[Kind] = &[Kind::ConnectDenied];
/// What a connection that is taken and dropped at once shows as.
const DROPPED: &[Kind] = &[
    Kind::ServerClosedNoResponse,
    Kind::ServerResetNoResponse,
    Kind::ServerClosedWhileSending,
    Kind::ServerResetWhileSending,
    Kind::ServerTlsClosed,
    Kind::ServerTlsReset,
    Kind::ConnectReset,
    Kind::TunnelServerReset,
];

pub(super) const JUDGES: &[Judge] = &[
    Judge::new(Cause::PortClosed, REFUSED, port_closed),
    Judge::new(Cause::PortWrong, REFUSED, port_wrong),
    Judge::new(Cause::BindLoopbackOnly, REFUSED, bind_loopback_only),
    Judge::new(Cause::CrashLoop, REFUSED, crash_loop),
    Judge::new(Cause::FirewallRejectIcmp, REFUSED, firewall_reject_icmp),
    Judge::new(Cause::FirewallRejectRst, REFUSED, firewall_reject_rst),
    Judge::new(
        Cause::FirewallAdminProhibited,
        &[Kind::ConnectUnreachable],
        firewall_admin_prohibited,
    ),
    Judge::new(Cause::FirewallDrop, SILENT, firewall_drop),
    Judge::new(Cause::LbEgressDrop, SILENT, lb_egress_drop),
    Judge::new(Cause::LbEgressReject, REFUSED, lb_egress_reject),
    Judge::new(Cause::SelinuxDenied, DENIED, selinux_denied),
    Judge::new(
        Cause::CgroupIpDeny,
        &[
            Kind::ConnectDenied,
            Kind::ConnectTimeout,
            Kind::ConnectFailed,
        ],
        cgroup_ip_deny,
    ),
    Judge::new(Cause::K8sNoEndpoints, REFUSED, k8s_no_endpoints),
    Judge::new(Cause::AcceptQueueOverflow, SILENT, accept_queue_overflow),
    Judge::new(Cause::SynFloodProtection, SILENT, syn_flood_protection),
    Judge::new(
        Cause::ContainerPortForwarder,
        DROPPED,
        container_port_forwarder,
    ),
    Judge::new(
        Cause::ConnectTimeoutTooShort,
        SILENT,
        connect_timeout_too_short,
    ),
    Judge::new(Cause::PawsTimewaitReject, SILENT, paws_timewait_reject),
    Judge::new(
        Cause::UnixSocketMissing,
        &[Kind::UnixMissing],
        unix_socket_missing,
    ),
    Judge::new(Cause::UnixSocketStale, REFUSED, unix_socket_stale),
    Judge::new(Cause::UnixSocketPermission, DENIED, unix_socket_permission),
    Judge::new(
        Cause::UnixSocketBacklogFull,
        &[Kind::UnixBacklogFull],
        unix_socket_backlog_full,
    ),
    Judge::new(
        Cause::MeshSidecarNotReady,
        &[
            Kind::ConnectRefused,
            Kind::ServerClosedNoResponse,
            Kind::ServerResetNoResponse,
        ],
        mesh_sidecar_not_ready,
    ),
];

// Refused.

fn port_closed(view: &View<'_>, it: &mut Opinion) {
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

fn port_wrong(view: &View<'_>, it: &mut Opinion) {
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

fn bind_loopback_only(view: &View<'_>, it: &mut Opinion) {
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

fn crash_loop(view: &View<'_>, it: &mut Opinion) {
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

fn firewall_reject_icmp(view: &View<'_>, it: &mut Opinion) {
    if view.is_unix() {
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

fn firewall_reject_rst(view: &View<'_>, it: &mut Opinion) {
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

fn lb_egress_reject(view: &View<'_>, it: &mut Opinion) {
    if view.is_unix() {
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

fn k8s_no_endpoints(view: &View<'_>, it: &mut Opinion) {
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

// Silence.

fn firewall_drop(view: &View<'_>, it: &mut Opinion) {
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

fn lb_egress_drop(view: &View<'_>, it: &mut Opinion) {
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

fn accept_queue_overflow(view: &View<'_>, it: &mut Opinion) {
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

fn syn_flood_protection(view: &View<'_>, it: &mut Opinion) {
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

fn connect_timeout_too_short(view: &View<'_>, it: &mut Opinion) {
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

fn paws_timewait_reject(view: &View<'_>, it: &mut Opinion) {
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

// Forbidden here.

fn selinux_denied(view: &View<'_>, it: &mut Opinion) {
    it.fair(view.seen());
    if view.is_unix() {
        it.wants(Probe::Unix);
        match view.unix() {
            Some(look)
                if look.barred.is_some()
                    || look.errno == libc_eacces() && look.mode & 0o002 == 0 =>
            {
                it.against(view.probed("the permissions of the path say no already"));
            }
            Some(_) => it.strong(view.probed("the permissions of the path say yes")),
            None => it.missing("the permissions of the socket's path"),
        }
        return;
    }
    it.wants(Probe::Host);
    match view.host().and_then(|host| host.route.clone()) {
        Some(clearway_outcome::Route::Refused { .. }) => it.rule_out(),
        Some(_) => it.strong(view.kernel("the route to it is open, so no route forbids it")),
        None => it.missing("the route to the server"),
    }
    it.missing("the audit log of the security module: it needs root");
    it.fix(
        Site::Clearway,
        "Look for the denial, and allow the balancer to connect",
        "ausearch -m AVC -ts recent   # then: setsebool -P httpd_can_network_connect 1",
    );
}

/// `EACCES`: permission denied.
const fn libc_eacces() -> i32 {
    13
}

fn cgroup_ip_deny(view: &View<'_>, it: &mut Opinion) {
    if view.is_unix() {
        return it.rule_out();
    }
    match view.group.errno() {
        Some(1) => it.strong(view.symptom(
            "connect() says EPERM, which a filter of the service's control group or of system calls does",
        )),
        Some(97) => it.strong(view.symptom("connect() says EAFNOSUPPORT: the family is forbidden here")),
        Some(13) => it.against(view.symptom("connect() says EACCES, not EPERM")),
        _ if view.is(SILENT) => {
            match view.connection().and_then(|found| found.gained) {
                Some(gained) if gained.retrans_fail > 0 => {
                    it.hint(view.kernel("this host's own stack refused to send the SYN"));
                }
                Some(_) => it.rule_out(),
                None => it.missing("whether this host sends the SYN at all"),
            }
            return;
        }
        _ => {}
    }
    it.hint(view.seen());
    it.fix(
        Site::Clearway,
        "Allow the server's network in the service",
        "systemctl show clearway -p IPAddressDeny,IPAddressAllow,RestrictAddressFamilies",
    );
}

// Taken and dropped at once.

fn container_port_forwarder(view: &View<'_>, it: &mut Opinion) {
    it.hint(view.seen());
    it.wants(Probe::Connect);
    if view.group.received.max > 0 {
        return it.rule_out();
    }
    let Some(found) = view.connection() else {
        return it.missing("whether a connection that says nothing is dropped too");
    };
    match found.then {
        Then::Closed(after) | Then::Reset(after) if after < 300_000 => {
            let fact = view.probed(format!(
                "a connection that says nothing is taken and dropped after {}: nothing is behind it",
                time(after)
            ));
            if view.is(&[Kind::ServerTlsClosed, Kind::ServerTlsReset]) {
                // Servers that do not want to shake hands with us do so, too.
                it.hint(fact);
            } else {
                it.strong(fact);
                it.fair(view.probed("so it is not the request that the server dislikes"));
            }
        }
        Then::Open => it.rule_out(),
        Then::Spoke(_) => it.rule_out(),
        Then::Closed(_) | Then::Reset(_) | Then::Nothing => {}
    }
    if view.case.successes.count > 0 {
        it.strongly_against(view.symptom(format!(
            "{} requests to it went well",
            view.case.successes.count
        )));
    }
    if let Some(name) = forwarder(view.host()) {
        it.proof(view.kernel(format!("{name} listens there")));
    }
    it.fix(
        Site::Server,
        "Let the program listen on the container's port on 0.0.0.0, and compare the published ports",
        format!("docker ps --format '{{{{.Names}}}} {{{{.Ports}}}}' | grep {}", view.port()),
    );
}

/// The name of a forwarder that listens for the server on this host.
fn forwarder(host: Option<&HostLook>) -> Option<&str> {
    const NAMES: &[&str] = &[
        "docker-proxy",
        "rootlessport",
        "slirp4netns",
        "kubectl",
        "ssh",
        "socat",
    ];
    let listeners = host.filter(|host| host.is_local)?.listeners.as_deref()?;
    let mut names = listeners.iter().filter_map(|l| l.process.as_deref());
    names.find(|name| NAMES.contains(name))
}

/// Whether failures were the first that came from the server, and all has been well since.
fn is_at_the_beginning(view: &View<'_>) -> bool {
    let successes = &view.case.successes;
    view.group.speaker == Speaker::Clearway
        && signs::is_all_fresh(view)
        && view.group.span_us() < 60_000_000
        && successes.before == 0
        && reach::well_between(view) == 0
        && successes.since_failure > 0
}

fn mesh_sidecar_not_ready(view: &View<'_>, it: &mut Opinion) {
    let came = view
        .lately(&[ChangeKind::ServerJoined, ChangeKind::ServerUp])
        .count();
    let is_first = is_at_the_beginning(view);
    if came == 0 && !is_first {
        return it.against(view.symptom("no server joined or came up lately"));
    }
    it.hint(view.seen());
    if is_first {
        it.hint(view.symptom(format!(
            "nothing went well before, and {} requests did afterwards: it was about to start",
            view.case.successes.since_failure
        )));
    } else if view.case.successes.since_failure > 0 {
        it.fair(view.symptom("the failures ended by themselves shortly after the server joined"));
    }
    if let Some(reply) = signs::same_again(view).filter(|reply| reply.is_answered()) {
        it.fair(view.probed(format!(
            "the same request is answered with {} now",
            reply.status
        )));
    }
    if view.group.waited.count > 0 && view.group.waited.max < 100_000 && !view.is(REFUSED) {
        it.hint(view.symptom(
            "connections were taken and dropped at once, as a sidecar does without its program",
        ));
    }
    if view
        .connection()
        .is_some_and(|found| found.then == Then::Open)
    {
        it.hint(view.probed("a connection that says nothing stays open now"));
    }
    it.missing("whether a sidecar stands before the program");
    it.say(format!(
        "{} took connections and dropped them while it was about to start, as sidecars do that are ready before their \
         program.",
        view.address()
    ));
    it.fix(
        Site::Server,
        "Let the program start before it gets requests: wait for the sidecar, and pass readiness only when both are",
        "kubectl describe pod NAME   # holdApplicationUntilProxyStarts: true; readinessProbe on the program",
    );
}

// Unix sockets.

fn unix_socket_missing(view: &View<'_>, it: &mut Opinion) {
    if !view.is_unix() && !view.is(&[Kind::UnixMissing]) {
        return it.rule_out();
    }
    it.strong(view.seen());
    it.wants(Probe::Unix);
    let path = view.address().trim_start_matches("unix:");
    match view.unix() {
        Some(look) if !look.exists => {
            it.proof(view.probed(format!("{path} does not exist")));
            if let Some(other) = look.others.first() {
                it.note(view.probed(format!("in the same folder there is {other}")));
                it.fix(
                    Site::Config,
                    "If that is the one, name it",
                    format!("unix:{other}"),
                );
            }
        }
        Some(_) => it.against(view.probed(format!("{path} is there now"))),
        None => it.missing("what stands in the folder"),
    }
    it.say(format!(
        "The socket {path} does not exist: its service does not run, or puts it elsewhere."
    ));
    it.fix(
        Site::Server,
        "Start the service that makes the socket",
        format!("ls -l {path}"),
    );
}

fn unix_socket_stale(view: &View<'_>, it: &mut Opinion) {
    if !view.is_unix() {
        return it.rule_out();
    }
    it.strong(view.seen());
    it.wants(Probe::Unix);
    let path = view.address().trim_start_matches("unix:");
    match view.unix() {
        Some(look) if look.exists && look.is_listening == Some(false) => {
            it.proof(view.probed(format!(
                "{path} is there and nobody listens on it: its service ended without removing it"
            )));
        }
        Some(look) if look.is_listening == Some(true) => {
            it.against(view.probed("somebody listens on it now"));
        }
        Some(_) | None => it.missing("whether somebody listens on the socket"),
    }
    it.fix(
        Site::Server,
        "Start the service again",
        format!("ss -xlp src {path}"),
    );
}

fn unix_socket_permission(view: &View<'_>, it: &mut Opinion) {
    if !view.is_unix() {
        return it.rule_out();
    }
    it.fair(view.seen());
    it.wants(Probe::Unix);
    let path = view.address().trim_start_matches("unix:");
    match view.unix() {
        Some(look) => match &look.barred {
            Some(folder) => it.proof(view.probed(format!("the folder {folder} may not be passed"))),
            None if look.errno == libc_eacces() => it.proof(view.probed(format!(
                "{path} has mode {:04o} and belongs to {}:{}, which leaves out the balancer",
                look.mode & 0o7777,
                look.owner.0,
                look.owner.1
            ))),
            None if look.errno == 0 => {
                it.against(view.probed("the socket can be connected to from here"));
            }
            None => {}
        },
        None => it.missing("the permissions along the path"),
    }
    it.fix(
        Site::Server,
        "Give the balancer's user the right to write to the socket, by group or mode",
        format!("namei -l {path}"),
    );
}

fn unix_socket_backlog_full(view: &View<'_>, it: &mut Opinion) {
    if !view.is_unix() && !view.is(&[Kind::UnixBacklogFull]) {
        return it.rule_out();
    }
    it.strong(view.seen());
    it.wants(Probe::Unix);
    it.strong(view.symptom(
        "on a Unix socket EAGAIN means that the queue of connections is full; nothing waits there",
    ));
    if let Some(queue) = view.unix().and_then(|look| look.queue) {
        it.proof(view.kernel(format!(
            "{} connections wait, {} may",
            queue.used, queue.limit
        )));
    }
    it.fix(
        Site::Server,
        "Give the program more workers and a larger backlog (and net.core.somaxconn)",
        format!("ss -xl src {}", view.address().trim_start_matches("unix:")),
    );
}

// Prohibited by a filter.

fn firewall_admin_prohibited(view: &View<'_>, it: &mut Opinion) {
    it.fair(view.seen());
    it.wants(Probe::Connect);
    it.wants(Probe::Host);
    if view.group.immediate.0 > 0 {
        return it.rule_out();
    }
    if let Some(icmp) = view.connection().and_then(|found| found.icmp) {
        if matches!(icmp.code, 9 | 10 | 13) {
            it.proof(view.kernel(format!(
                "{} says \"prohibited\": ICMP type {} code {}",
                icmp.from, icmp.kind, icmp.code
            )));
            it.say(format!(
                "A packet filter on {} forbids connections to {}.",
                icmp.from,
                view.address()
            ));
        } else {
            it.rule_out();
        }
    }
    let quick = view.group.elapsed;
    if !view.is(&[Kind::ConnectUnreachable]) {
        it.missing("whether the address was called unreachable");
    } else if quick.count > 0 && quick.max < 900_000 {
        it.strong(view.symptom(format!(
            "it took {}: a host that is gone takes about 3 s",
            time(quick.max)
        )));
    } else if quick.count > 0 && quick.min > 2_500_000 {
        it.strongly_against(view.symptom("it took as long as a host that does not answer takes"));
    }
    match view.host().and_then(|host| host.route.clone()) {
        Some(clearway_outcome::Route::Missing | clearway_outcome::Route::Refused { .. }) => {
            it.rule_out();
        }
        Some(_) => it.hint(view.kernel("this host has a route to it")),
        None => {}
    }
    it.fix(
        Site::Server,
        format!(
            "Allow port {} in the packet filter that is named",
            view.port()
        ),
        format!(
            "firewall-cmd --add-port={}/tcp --permanent && firewall-cmd --reload",
            view.port()
        ),
    );
}
