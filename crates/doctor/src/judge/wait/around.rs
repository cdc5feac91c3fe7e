//! Silence that comes from around the program: from its host, or from the way back.

use super::signs::{self, Delivery, Light};
use super::silence::PATTERN;
use crate::case::View;
use crate::evidence::Probe;
use crate::judge::reach;
use crate::opinion::{Opinion, Site};
use crate::view::time;

pub(in crate::judge) fn cpu_throttled_or_gc(view: &View<'_>, it: &mut Opinion) {
    let group = view.group;
    it.hint(view.seen());
    if group.unsent == group.count || group.interim > 0 {
        return it.rule_out();
    }
    match signs::delivery(view) {
        Delivery::Taken => it.hint(view.kernel("the server's host has the requests")),
        Delivery::Unacknowledged => {
            it.strongly_against(view.kernel("the server's host does not have the request"));
        }
        Delivery::NotRead | Delivery::Unknown => {}
    }
    let meanwhile = signs::went_well_meanwhile(view);
    let spells = u64::try_from(reach::spells(group.times())).unwrap_or(u64::MAX);
    let different = group.paths.len() >= 2 || group.clients.len() >= 2;
    if spells >= 3 && meanwhile && !(group.count >= spells * 2 && different) {
        it.fair(view.symptom(format!(
            "{} failures came in {spells} short spells, and in between all is well",
            group.count
        )));
    }
    if signs::is_quick_now(view) {
        it.fair(view.probed("the same request is answered at once now, so it is not the request"));
    }
    if spells >= 2 && group.count >= spells * 2 && different && meanwhile {
        it.strong(view.symptom(format!(
            "{} failures came in {spells} short spells, for different requests, and in between all \
            is well",
            group.count
        )));
    }
    if group.burst >= 3 && different {
        it.fair(view.symptom(format!(
            "{} different requests failed within 20 ms",
            group.burst
        )));
    }
    if !meanwhile && signs::would_know_successes(view) && group.count >= PATTERN {
        it.against(view.symptom("nothing goes well in between"));
    }
    if group.paths.only().is_some_and(|path| path != "/")
        && group.count >= PATTERN
        && meanwhile
        && !signs::is_quick_now(view)
    {
        it.against(view.symptom("only one path is concerned"));
    }
    let process = view.host().and_then(|host| host.process.as_ref());
    match process.and_then(|process| process.throttled) {
        Some(times) if times > 0 => {
            it.strong(view.kernel(format!("its control group was throttled {times} times")));
        }
        Some(_) => it.against(view.kernel("its control group was not throttled")),
        None => it.missing(
            "times that its control group was throttled (cpu.stat), and the pauses \
        of its garbage collector",
        ),
    }
    it.say(format!(
        "{} is frozen for moments: all requests that come then time out, and those between are well.",
        view.address()
    ));
    it.fix(
        Site::Server,
        "Look for throttling, garbage collection and swapping at those moments, and raise the \
        limit of CPU",
        "grep throttled /sys/fs/cgroup/$(cut -d: -f3 /proc/PID/cgroup)/cpu.stat; cat \
        /proc/pressure/cpu",
    );
}

pub(in crate::judge) fn pmtu_blackhole_response(view: &View<'_>, it: &mut Opinion) {
    if signs::is_here(view) {
        return it.rule_out();
    }
    it.hint(view.seen());
    match signs::delivery(view) {
        Delivery::Taken => {
            it.hint(view.kernel("the request was acknowledged, and no answer comes"));
        }
        Delivery::Unacknowledged | Delivery::NotRead => {
            it.strongly_against(view.kernel("the request itself does not arrive whole"));
        }
        Delivery::Unknown => it.missing("whether the request was acknowledged"),
    }
    if view.group.paths.only().is_some()
        && view.group.count >= PATTERN
        && signs::went_well_meanwhile(view)
    {
        it.hint(view.symptom(format!(
            "only {} fails, which may have a large answer",
            signs::path(view)
        )));
    }
    match view.case.gained {
        Some(gained) if gained.ofo_queue > 0 => it.strong(view.kernel(format!(
            "{} segments came out of order meanwhile: shorter ones arrive, and the full ones \
            before them do not",
            gained.ofo_queue
        ))),
        Some(_) => it.against(view.kernel("no segment came out of order meanwhile")),
        None => it.missing("whether parts of responses came out of order (TcpExtTCPOFOQueue)"),
    }
    it.wants(Probe::Request(signs::light(view)));
    match signs::light_reply(view) {
        Light::Quick(at) => {
            it.fair(view.probed(format!(
                "the short answer to {} comes after {}",
                signs::light_path(view),
                time(at)
            )));
        }
        Light::Silent(_) => {
            it.strongly_against(view.probed(format!(
                "even the short answer to {} does not come",
                signs::light_path(view)
            )));
        }
        Light::Broken(_) | Light::Late(_) | Light::NotAsked => {}
    }
    if let Some(reply) = signs::patient(view).and_then(|ask| view.reply(&ask)) {
        if reply.is_answered() {
            return it.rule_out();
        }
        it.hint(view.probed("the same request is not answered with more time either"));
    }
    it.say(format!(
        "Large answers of {} get lost on the way: some link takes smaller packets than the server \
        believes.",
        view.address()
    ));
    it.fix(
        Site::Server,
        "Let ICMP \"fragmentation needed\" through, or clamp the segment size on the tunnel",
        "iptables -t mangle -A FORWARD -p tcp --tcp-flags SYN,RST SYN -j TCPMSS \
        --clamp-mss-to-pmtu   # ping -M do -s 1472 from the server shows it",
    );
}
