//! Names that lead to an address that is not the server's, or no longer.

use std::net::IpAddr;

use clearway_outcome::{FaultKind as Kind, Speaker};

use super::super::reach;
use super::answers::{Answers, list};
use super::{is_localhost, loopback_name, name, named_at};
use crate::case::View;
use crate::evidence::{ChangeKind, Fact, Probe, Source, Where};
use crate::opinion::{Opinion, Site};
use crate::view::place;

/// What connecting fails with.
const CONNECT: &[Kind] = &[
    Kind::ConnectRefused,
    Kind::ConnectTimeout,
    Kind::ConnectUnreachable,
];

/// The server is known by a name alone, and a log says nothing of its address.
fn untold(view: &View<'_>, it: &mut Opinion) {
    match name(view).filter(|name| !is_localhost(name)) {
        Some(name) if view.group.speaker != Speaker::Clearway => {
            it.wants(Probe::Lookup(name.clone()));
            it.missing(format!("which address {name} had led to"));
        }
        Some(_) | None => it.rule_out(),
    }
}

pub(super) fn stale_ip(view: &View<'_>, it: &mut Opinion) {
    let Where::Socket(address) = &view.case.site else {
        return untold(view, it);
    };
    let Some(name) = name(view).filter(|name| !is_localhost(name)) else {
        if view.configured().is_some() {
            return it.rule_out();
        }
        return it
            .missing("whether the configuration names the server, so that its address may change");
    };
    it.wants(Probe::Lookup(name.clone()));
    let resolves = view
        .configured_backend()
        .map(|backend| &backend.resolves_at_run_time);
    let is_stuck =
        view.has_tried(&Probe::Lookup(name.clone())) && Answers::of(view).fresh().is_empty();
    match resolves {
        Some(setting) if setting.value && is_stuck => {
            it.fair(view.probed(format!(
                "{name} cannot be looked up now, so that an old address stays in use"
            )));
            it.fair(view.setting(setting, "else it would be looked up again and again"));
        }
        Some(setting) if setting.value => {
            it.against(view.setting(setting, "names are looked up again while running"));
        }
        Some(setting) => {
            let words = format!("{name} is looked up only when the configuration is read");
            it.fair(view.setting(setting, words));
        }
        None => {}
    }
    // That a name is looked up once is the rule and not yet a fault: such pitfalls weigh less here.
    view.weigh_pitfalls(it, false);
    if view.lately(&[ChangeKind::NameChanged]).next().is_some() {
        it.fair(view.symptom("the addresses behind the name changed shortly before"));
    }
    let answers = Answers::of(view);
    let fresh = answers.fresh();
    if fresh.contains(&address.ip()) {
        return it.rule_out();
    }
    if fresh.is_empty() {
        return it.missing(format!("to which addresses {name} leads now"));
    }
    it.strong(view.probed(format!(
        "{name} leads to {} now, and the balancer uses {}",
        list(&fresh),
        address.ip()
    )));
    if view.case.successes.since_failure > 0 {
        it.against(view.symptom("requests to the old address went well since"));
    } else {
        it.fair(view.symptom("nothing went well there since"));
    }
    let fails_still = view.connection().is_some_and(|found| found.fault.is_some());
    let is_once = resolves.is_some_and(|setting| !setting.value);
    if view.is(CONNECT)
        && is_once
        && fails_still
        && view.case.successes.since_failure == 0
        && answers.agree()
    {
        it.proof(view.probed(format!("connecting to {} fails still", address.ip())));
    }
    it.say(format!(
        "{name} has moved to {}, and the balancer still uses its old address {}.",
        list(&fresh),
        address.ip()
    ));
    stale_fix(view, it, &name);
}

fn stale_fix(view: &View<'_>, it: &mut Opinion, name: &str) {
    let at = place(named_at(view));
    match view.dialect() {
        Speaker::Nginx => {
            it.fix(
                Site::Config,
                format!(
                    "{at}have the name looked up again while running (NGINX 1.27.3 or \
                 newer, with `zone` and `resolver`)"
                ),
                format!("server {name}:{} resolve;", view.port()),
            );
            it.fix(
                Site::Clearway,
                "Until then, reload whenever it moves",
                "nginx -s reload",
            );
        }
        Speaker::Haproxy => {
            it.fix(
                Site::Config,
                format!(
                    "{at}have the name looked up again while running, with a `resolvers` section"
                ),
                format!(
                    "server NAME {name}:{} check resolvers dns init-addr last,libc,none",
                    view.port()
                ),
            );
            it.fix(
                Site::Clearway,
                "Until then, reload whenever it moves",
                "systemctl reload haproxy",
            );
        }
        Speaker::Clearway => it.fix(
            Site::Config,
            "Keep answers of resolvers for a shorter time",
            "[resolver]\nmax_ttl = \"30s\"",
        ),
        Speaker::Envoy => it.fix(
            Site::Config,
            "Have the name looked up again while running",
            "type: STRICT_DNS",
        ),
        Speaker::Alb => it.fix(
            Site::Config,
            "Deregister the old target and register the new one",
            "aws elbv2 deregister-targets --target-group-arn ARN --targets Id=OLD",
        ),
    }
}

pub(super) fn wrong_answer(view: &View<'_>, it: &mut Opinion) {
    let Where::Socket(address) = &view.case.site else {
        return untold(view, it);
    };
    let Some(name) = name(view).filter(|name| !is_localhost(name)) else {
        if view.configured().is_some() {
            return it.rule_out();
        }
        return it.missing("whether the configuration names the server");
    };
    it.wants(Probe::Lookup(name.clone()));
    let answers = Answers::of(view);
    if answers.fresh().is_empty() {
        return it.missing(format!(
            "to which addresses {name} leads with and without search domains"
        ));
    }
    let used = address.ip();
    if reach::is_gone(view) {
        it.strong(view.probed(format!("{name} leads to {used}, and nobody is there")));
        it.hint(view.seen());
    }
    let searched = answers.addresses(|lookup| lookup.is_searched);
    let absolute = answers.addresses(|lookup| !lookup.is_searched);
    let domain = answers
        .all
        .iter()
        .find(|l| l.is_searched && l.addresses.contains(&used));
    if searched.contains(&used) && !absolute.is_empty() && !absolute.contains(&used) {
        let as_asked = domain.map_or("", |lookup| lookup.asked.as_str());
        it.strong(view.probed(format!(
            "the address {used} belongs to {as_asked}, with a search domain behind the \
             name, and {name}. itself \
             leads to {}",
            list(&absolute)
        )));
        it.fair(view.probed("so the search domain changes where the name leads"));
        it.say(format!(
            "{name} was taken for {as_asked} and leads to {used}; the name itself leads to {}.",
            list(&absolute)
        ));
        it.fix(
            Site::Config,
            format!(
                "{}write the name with a dot at its end, or drop the search domain",
                place(named_at(view))
            ),
            format!("{name}."),
        );
    } else if searched.contains(&used) && absolute.is_empty() && name.contains('.') {
        it.hint(view.probed("the name leads somewhere only with a search domain behind it"));
    }
    let by_resolver = answers.disagreeing(used);
    if let Some((one, other)) = by_resolver {
        it.strong(view.probed(format!(
            "resolvers disagree: {one} says {used} and {other} does not"
        )));
        it.fix(
            Site::Config,
            "Ask the resolver that knows the right address, or mend the record of the other",
            format!("dig @{one} {name}; dig @{other} {name}"),
        );
    } else if !searched.contains(&used) && !reach::is_gone(view) {
        it.against(view.probed("resolvers agree on where the name leads"));
    }
    it.missing("which network the server should be in");
}

pub(super) fn localhost_ipv6_first(view: &View<'_>, it: &mut Opinion) {
    let named = loopback_name(view);
    let Where::Socket(address) = &view.case.site else {
        return it.rule_out();
    };
    if !address.ip().is_loopback() || (named.is_none() && view.configured().is_some()) {
        return it.rule_out();
    }
    it.wants(Probe::Host);
    if let Some(origin) = named {
        it.fair(view.symptom(
            "the server is given by a name for this host, which has an address of each family",
        ));
        if let Some(origin) = origin {
            it.note(Fact::new(Source::Config, "the name stands here").at(origin));
        }
    } else {
        it.missing("whether the configuration says localhost");
    }
    it.hint(view.seen());
    if view.group.saved > 0 || view.case.backdrop.servers > view.case.backdrop.failing {
        it.hint(view.symptom("other attempts go well"));
    }
    let listeners = view
        .host()
        .filter(|host| host.is_local)
        .and_then(|host| host.listeners.as_deref());
    let Some(listeners) = listeners else {
        it.missing("on which of the two addresses the program listens");
        return localhost_fix(view, it, None);
    };
    let here: Vec<IpAddr> = listeners
        .iter()
        .filter(|listening| listening.address.port() == address.port())
        .map(|listening| listening.address.ip())
        .collect();
    // `[::]` takes both families unless a program asks for IPv6 alone, so it counts for both.
    let serves = |ip: &IpAddr| {
        *ip == address.ip()
            || ip.is_unspecified() && (ip.is_ipv6() || ip.is_ipv4() == address.is_ipv4())
    };
    if here.iter().any(serves) || here.is_empty() {
        return it.rule_out();
    }
    let other = here.iter().find(|ip| ip.is_ipv4() != address.is_ipv4());
    let Some(other) = other else {
        return it.rule_out();
    };
    let other = if other.is_unspecified() && other.is_ipv4() {
        IpAddr::from([127, 0, 0, 1])
    } else {
        *other
    };
    let words = format!("the program listens on {other} and not on {}", address.ip());
    if loopback_name(view).is_some() {
        it.proof(view.kernel(words));
    } else {
        it.strong(view.kernel(words));
    }
    it.say(format!(
        "The server's name leads to {} too, and the program listens on {other} only.",
        view.address()
    ));
    localhost_fix(view, it, Some(other));
}

fn localhost_fix(view: &View<'_>, it: &mut Opinion, listens: Option<IpAddr>) {
    let port = view.port();
    let at = place(named_at(view));
    match listens {
        Some(IpAddr::V6(ip)) => it.verified_fix(
            Site::Config,
            format!("{at}write the address that the program listens on"),
            format!("[{ip}]:{port}"),
        ),
        Some(IpAddr::V4(ip)) => it.verified_fix(
            Site::Config,
            format!("{at}write the address that the program listens on"),
            format!("{ip}:{port}"),
        ),
        None => it.fix(
            Site::Config,
            format!("{at}write 127.0.0.1 (or [::1]) in place of localhost"),
            format!("127.0.0.1:{port}   # ss -ltn 'sport = :{port}'"),
        ),
    }
}
