//! Judges of connections that are forbidden, here or on the way.

use clearway_outcome::FaultKind as Kind;

use super::SILENT;
use crate::case::View;
use crate::evidence::Probe;
use crate::opinion::{Opinion, Site};
use crate::view::time;

pub(super) fn selinux_denied(view: &View<'_>, it: &mut Opinion) {
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
pub(super) const fn libc_eacces() -> i32 {
    13
}

pub(super) fn cgroup_ip_deny(view: &View<'_>, it: &mut Opinion) {
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

pub(super) fn firewall_admin_prohibited(view: &View<'_>, it: &mut Opinion) {
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
    } else if view.group.errno() == Some(101) {
        it.note(view.symptom(
            "ENETUNREACH is what a router without a route causes; filters say EHOSTUNREACH as a rule",
        ));
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
