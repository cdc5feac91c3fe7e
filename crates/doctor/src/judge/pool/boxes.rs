//! Boxes between the hosts that forget connections or misjudge their packets.

use clearway_outcome::Again;

use super::idle::{used_again, weigh_reuse, weigh_saved};
use crate::case::View;
use crate::evidence::{ChangeKind, Fact, Probe, Source};
use crate::judge::wait::signs::{self, Delivery, Light, Spelled};
use crate::opinion::{Opinion, Site};
use crate::view::time;

/// After how many seconds of silence well-known boxes forget a connection.
const FORGET_S: &[(u64, &str)] = &[
    (240, "Azure's load balancers"),
    (350, "AWS NAT gateways and network load balancers"),
    (600, "Google Cloud's firewall"),
    (1_800, "many firewalls"),
    (3_600, "many firewalls"),
];

/// The box whose limit these idle times have just passed.
fn forgetful(view: &View<'_>) -> Option<(u64, &'static str)> {
    let idle = view.group.idle.min / 1_000_000;
    let passed = FORGET_S.iter().rev().copied();
    passed
        .into_iter()
        .find(|(seconds, _)| idle >= *seconds && idle <= seconds + seconds / 4)
}

/// Shorter than this, no box forgets a connection, in microseconds.
const SHORT_US: u64 = 20_000_000;

/// Whether connections had been idle for long enough to be forgotten.
fn weigh_idle(view: &View<'_>, it: &mut Opinion) {
    let idle = view.group.idle;
    if idle.count == 0 {
        return;
    }
    if idle.max < SHORT_US {
        it.strongly_against(view.symptom(format!(
            "they had been idle for {} only, and boxes remember for minutes",
            signs::between(idle.min, idle.max)
        )));
    } else if idle.min < SHORT_US {
        it.against(view.symptom(format!(
            "one had been idle for {} only, and boxes remember for minutes",
            time(idle.min)
        )));
    } else if let Some((seconds, who)) = forgetful(view) {
        it.strong(view.symptom(format!(
            "they had been idle for {}, and {who} forget connections after {seconds} s",
            signs::between(idle.min, idle.max)
        )));
    } else if idle.min >= 60_000_000 {
        it.fair(view.symptom(format!(
            "they had been idle for at least {}",
            time(idle.min)
        )));
    }
}

/// Whether what happened to the failures happens to a connection that is kept on purpose.
fn weigh_use(view: &View<'_>, it: &mut Opinion, like: Again) {
    let idle = view.group.idle;
    match used_again(view) {
        Some((watched, Again::Answered)) if watched > idle.max + 300_000 => {
            it.strongly_against(view.probed(format!(
                "a connection that was idle for {} still works, and these had been idle for {}",
                time(watched),
                time(idle.max)
            )));
        }
        Some((watched, again)) if again == like => it.strong(view.probed(format!(
            "a connection kept on purpose was of no use any more after {}, and nobody had said so",
            time(watched)
        ))),
        Some(_) | None => {}
    }
}

/// What keeps boxes from forgetting.
fn remedy(view: &View<'_>, it: &mut Opinion) {
    let backend = view.backend();
    let probes = backend.and_then(|backend| backend.tcp_keepalive.as_ref());
    match probes {
        Some(probes) if probes.value => it.against(view.setting(
            probes,
            format!(
                "{} keeps connections known to boxes on the way",
                probes.name
            ),
        )),
        // As it is by default, nearly everywhere.
        Some(probes) => it.note(view.setting(probes, format!("{} is off", probes.name))),
        None => {}
    }
    let least = view.group.idle.min / 1_000;
    let sooner = match least {
        0 => "60s".to_owned(),
        ms => signs::written((ms / 2).clamp(1_000, 120_000)),
    };
    let name = signs::backend_name(view);
    Spelled {
        clearway: &format!("backend.{name}.keepalive.idle_timeout = \"{sooner}\""),
        nginx: &format!(
            "proxy_socket_keepalive on;   # and in upstream: keepalive_timeout {sooner};"
        ),
        haproxy: "option srvtcpka\nsrvtcpka-idle 60s",
        envoy: "upstream_connection_options.tcp_keepalive.keepalive_time: 60",
        alb: "",
    }
    .fix(
        view,
        it,
        signs::origin_of(backend.and_then(|backend| backend.keepalive_idle.as_ref())),
        "give up idle connections, or keep them alive, before the box forgets them",
    );
}

pub(in crate::judge) fn nat_idle_drop(view: &View<'_>, it: &mut Opinion) {
    let group = view.group;
    if signs::is_all_fresh(view) || signs::keeps_none(view) || signs::is_here(view) {
        return it.rule_out();
    }
    if signs::is_all_reused(view) {
        it.fair(view.symptom(format!(
            "all {} failed on kept connections that had lain idle for {}",
            group.reused(),
            signs::between(group.idle.min, group.idle.max)
        )));
    } else if group.reused() > 0 {
        it.strongly_against(view.symptom("fresh connections fail in the same way"));
    } else {
        it.hint(view.seen());
        it.missing("whether the connections were fresh or kept, and how long they had lain idle");
        super::idle::weigh_unknown_reuse(view, it);
    }
    match signs::delivery(view) {
        Delivery::Taken | Delivery::NotRead => return it.rule_out(),
        Delivery::Unacknowledged => it.strong(view.kernel(
            "nobody acknowledged a byte of the requests, and they were sent again and again",
        )),
        Delivery::Unknown => it.missing("whether the requests were acknowledged"),
    }
    weigh_idle(view, it);
    it.wants(Probe::Request(signs::light(view)));
    match signs::light_reply(view) {
        Light::Quick(at) => {
            it.fair(view.probed(format!("a fresh connection is answered after {}", time(at))));
        }
        Light::Silent(_) => return it.rule_out(),
        Light::Broken(_) => {
            it.strongly_against(view.probed("a fresh connection fails too"));
        }
        Light::Late(_) | Light::NotAsked => {}
    }
    it.wants(Probe::Keep);
    weigh_use(view, it, Again::Silent);
    let changes = [ChangeKind::ServerDown, ChangeKind::ServerUp];
    let mut changed = view.case.changes.iter().rev();
    if let Some(change) = changed.find(|change| changes.contains(&change.kind)) {
        it.strongly_against(Fact::new(Source::Change, change.words.clone()));
    }
    it.say(format!(
        "Something between here and {} forgets connections that are idle for long, and drops what is sent on \
         them.",
        view.address()
    ));
    remedy(view, it);
}

pub(in crate::judge) fn nat_idle_rst(view: &View<'_>, it: &mut Opinion) {
    if signs::is_here(view) {
        return it.rule_out();
    }
    if !weigh_reuse(view, it) {
        return;
    }
    weigh_saved(view, it);
    weigh_idle(view, it);
    let idle = view.group.idle;
    weigh_use(view, it, Again::Ended);
    match view.keeps_ms() {
        Some(keeps) if keeps * 1_000 <= idle.max + 500_000 => {
            it.strongly_against(view.probed(format!(
                "the server itself closes idle connections after {}",
                time(keeps * 1_000)
            )));
        }
        Some(keeps) => it.strong(view.probed(format!(
            "the server itself closes idle connections after {} only",
            time(keeps * 1_000)
        ))),
        None => it.missing(
            "whether the server's own socket is still open when it happens (ss -tn on its host)",
        ),
    }
    it.say(format!(
        "Something between here and {} forgets connections that are idle for long, and resets them.",
        view.address()
    ));
    remedy(view, it);
}

pub(in crate::judge) fn conntrack_invalid_reset(view: &View<'_>, it: &mut Opinion) {
    if view.is_unix() {
        return it.rule_out();
    }
    let group = view.group;
    it.hint(view.seen());
    let looked = view.host().and_then(|host| host.gained);
    let gained = view.case.gained.or(looked);
    match gained {
        Some(gained) if gained.conntrack_invalid > 0 => it.strong(view.kernel(format!(
            "this host's packet filter met {} packets that belong to no connection it knows",
            gained.conntrack_invalid
        ))),
        Some(_) => it.missing(
            "the counter of invalid packets on the boxes between: this host's did not move",
        ),
        None => {
            it.missing("nf_conntrack's counter of invalid packets, here and on the boxes between");
        }
    }
    let most = group.sent.max.max(group.received.max);
    if most >= 256 * 1_024 {
        it.hint(view.symptom(format!(
            "in the middle of large transfers, of up to {} KiB",
            most / 1_024
        )));
    } else if signs::is_all_fresh(view) && group.received.max == 0 && group.waited.max < 100_000 {
        it.against(view.symptom("nothing had been transferred yet"));
    }
    if group.waited.count >= 3 && signs::round_seconds(&group.waited).is_some() {
        it.against(view.symptom("it always takes equally long"));
    }
    it.say(format!(
        "A packet filter between here and {} takes valid packets for strays, and connections are \
        reset.",
        view.address()
    ));
    it.fix(
        Site::Clearway,
        "On the box that translates addresses, drop such packets, or be less strict",
        "sysctl net.netfilter.nf_conntrack_tcp_be_liberal=1   # or: iptables -I FORWARD -m \
        conntrack --ctstate INVALID -j DROP",
    );
}
