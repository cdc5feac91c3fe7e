//! Judges of causes in finding addresses by names.

use std::net::IpAddr;

use clearway_outcome::{FaultKind as Kind, Route, Speaker};

use super::Judge;
use crate::case::View;
use crate::cause::Cause;
use crate::evidence::{Probe, Where};

use crate::opinion::{Opinion, Site};
use crate::view::{is_address, place};

use answers::Answers;

/// A name that gave no address, and what logs write where that leaves nobody to be asked.
const NO_ADDRESS: &[Kind] = &[
    Kind::NameUnresolved,
    Kind::NameTimeout,
    Kind::NoServers,
    Kind::AllServersDown,
];
/// What only names fail with.
const NAMES: &[Kind] = &[Kind::NameUnresolved, Kind::NameTimeout];
/// What an address fails with that is not the server's, or no longer.
const WRONG_ADDRESS: &[Kind] = &[
    Kind::ConnectRefused,
    Kind::ConnectTimeout,
    Kind::ConnectUnreachable,
    Kind::ServerCertificateName,
    Kind::ResponseNotHttp,
    Kind::ServerSpeaksPlain,
    Kind::ServerSpeaksTls,
    Kind::ProbeStatus,
    Kind::ProbeBody,
];
mod address;
mod answers;
#[cfg(test)]
pub(super) mod scene;

pub(super) const JUDGES: &[Judge] = &[
    Judge::new(Cause::DnsNxdomain, NO_ADDRESS, nxdomain),
    Judge::new(Cause::DnsServfail, NO_ADDRESS, servfail),
    Judge::new(Cause::DnsTimeout, NO_ADDRESS, timeout),
    Judge::new(Cause::DnsStaleIp, WRONG_ADDRESS, address::stale_ip),
    Judge::new(Cause::DnsWrongAnswer, WRONG_ADDRESS, address::wrong_answer),
    Judge::new(
        Cause::DnsNoUsableFamily,
        &[
            Kind::NameUnresolved,
            Kind::NoServers,
            Kind::AllServersDown,
            Kind::ConnectUnreachable,
            Kind::ConnectFailed,
            Kind::OutOfPorts,
        ],
        no_usable_family,
    ),
    Judge::new(
        Cause::LocalhostIpv6First,
        &[
            Kind::ConnectRefused,
            Kind::ConnectUnreachable,
            Kind::OutOfPorts,
        ],
        address::localhost_ipv6_first,
    ),
];

/// `ENETUNREACH`, `EADDRNOTAVAIL`, `EAFNOSUPPORT`: this host does not have the family.
const NO_FAMILY: &[i32] = &[101, 99, 97];
const NO_SUCH_NAME: u16 = 3;
/// What resolvers say that cannot or do not want to answer.
const FAILURES: &[u16] = &[2, 5];

// Names without an address.

/// What all failures to find an address have in common; `false` when no name was looked up.
fn begins(view: &View<'_>, it: &mut Opinion) -> bool {
    if view.is(NAMES) {
        it.fair(view.seen());
    } else if view.group.speaker == Speaker::Clearway || matches!(view.case.site, Where::Socket(_))
    {
        // Clearway has kinds of its own for names; and where an address was tried, it had been found.
        it.rule_out();
        return false;
    } else if name(view).is_none() && view.configured_backend().is_some() {
        it.rule_out();
        return false;
    } else if name(view).is_some() {
        let backend = view.configured_backend();
        let mut checks = view.case.backdrop.checks.iter();
        if checks.any(|(_, state)| state.fault.is_some_and(|fault| NAMES.contains(&fault))) {
            it.strong(view.symptom("a server went because its name gave no address any more"));
        }
        let is_unchecked = backend.is_some_and(|backend| backend.check.is_none());
        if is_unchecked && view.group.may_be(NAMES) {
            it.fair(view.symptom(
                "the backend's servers are given by name and are not checked: nothing but a name without an \
                 address takes them out",
            ));
        } else {
            it.hint(view.symptom("the backend's servers are given by name"));
        }
    } else {
        it.missing("whether the backend's servers are given by name");
    }
    if let Some(name) = name(view) {
        it.wants(Probe::Lookup(name));
    }
    true
}

fn nxdomain(view: &View<'_>, it: &mut Opinion) {
    if !begins(view, it) {
        return;
    }
    if view.says(&["(3: host not found)", "nxdomain", "no such name"]) {
        it.strong(view.symptom("the resolver says that there is no such name, or no record of it"));
    } else if view.says(&[
        "server failure",
        "refused)",
        "timed out",
        "no resolver defined",
    ]) {
        it.strongly_against(view.symptom("the log names another reason"));
    } else if view.is(&[Kind::NameTimeout]) {
        it.rule_out();
    }
    let answers = Answers::of(view);
    if answers.all_say(&[NO_SUCH_NAME]) {
        let words = format!(
            "{} says that {} does not exist (NXDOMAIN)",
            answers.resolvers(),
            answers.name()
        );
        if view.is(&[Kind::NameUnresolved]) {
            it.proof(view.probed(words));
        } else {
            it.strong(view.probed(words));
        }
        it.say(format!(
            "The name {} does not exist: {} answers NXDOMAIN.",
            answers.name(),
            answers.resolvers()
        ));
    } else if answers.any_says(NO_SUCH_NAME) && !answers.fresh().is_empty() {
        it.fair(view.probed("one resolver does not know the name, and another does"));
    } else if answers.is_known() {
        it.strongly_against(view.probed(answers.words()));
    } else {
        it.missing("what resolvers answer now");
    }
    let what = name(view).unwrap_or_else(|| "the name".to_owned());
    it.fix(
        Site::Config,
        format!(
            "{}correct {what}, or create its record",
            place(named_at(view))
        ),
        format!("dig +search {what}; dig {what}."),
    );
}

fn servfail(view: &View<'_>, it: &mut Opinion) {
    if !begins(view, it) {
        return;
    }
    if view.says(&[
        "(2: server failure)",
        "(5: operation refused)",
        "servfail",
        "refused)",
    ]) {
        it.strong(view.symptom("the resolver says that it cannot, or may not, answer"));
    } else if view.says(&["host not found", "timed out", "no resolver defined"]) {
        it.strongly_against(view.symptom("the log names another reason"));
    } else if view.is(&[Kind::NameTimeout]) {
        it.rule_out();
    }
    let answers = Answers::of(view);
    if answers.absolute_say(FAILURES) {
        let refused = answers.any_says(5);
        let code = if refused { "REFUSED" } else { "SERVFAIL" };
        let words = format!(
            "{} answers {code} for {}",
            answers.resolvers(),
            answers.name()
        );
        if view.is(&[Kind::NameUnresolved]) {
            it.proof(view.probed(words.clone()));
        } else {
            it.strong(view.probed(words.clone()));
        }
        it.say(format!(
            "{words}: the resolver is in trouble, not the name."
        ));
        if refused {
            it.fix(
                Site::Config,
                "Let the resolver answer this host (its list of allowed clients)",
                format!("dig @{} {}", answers.resolvers(), answers.name()),
            );
        }
    } else if answers.any_says(2) || answers.any_says(5) {
        it.fair(view.probed("one resolver cannot answer, and another does"));
    } else if answers.is_known() {
        it.strongly_against(view.probed(answers.words()));
    } else {
        it.missing("what resolvers answer now");
    }
    if let Some(name) = name(view) {
        it.fix(
            Site::Config,
            "Mend the resolver, or what it asks; if the second command answers, signatures \
             (DNSSEC) are broken",
            format!("dig {name}; dig +cd {name}"),
        );
    }
}

fn timeout(view: &View<'_>, it: &mut Opinion) {
    if !begins(view, it) {
        return;
    }
    if view.is(&[Kind::NameTimeout]) {
        it.strong(view.symptom("the resolver did not answer in time"));
    } else if view.says(&["timed out"]) {
        it.strong(view.symptom("the log says that the resolver did not answer in time"));
    } else if view.says(&["host not found", "server failure", "no resolver defined"]) {
        return it.rule_out();
    }
    let answers = Answers::of(view);
    if answers.is_silent() {
        let refused = answers.all.iter().any(|lookup| lookup.is_refused);
        let words = if refused {
            format!(
                "port 53 of {} is refused: nothing listens there",
                answers.asked()
            )
        } else {
            format!(
                "{} does not answer for {} either",
                answers.asked(),
                answers.name()
            )
        };
        let is_full = view
            .host()
            .and_then(|host| host.conntrack)
            .is_some_and(|t| t.is_exhausted());
        let is_sure = view.is(&[Kind::NameTimeout]) || refused && view.is(NAMES);
        if is_sure && !is_full {
            it.proof(view.probed(words));
        } else {
            it.strong(view.probed(words));
        }
        it.say(if refused {
            format!("Nothing listens on the resolver {}.", answers.asked())
        } else {
            format!("The resolver {} does not answer.", answers.asked())
        });
    } else if answers.all.iter().any(|lookup| lookup.rcode.is_none()) {
        it.strong(view.probed("one of the resolvers does not answer"));
    } else if answers.is_known() {
        it.against(view.probed("resolvers answer now"));
    } else {
        it.missing("whether resolvers answer now");
    }
    let resolvers = view.case.survey().map(|survey| &survey.resolvers);
    match resolvers.filter(|setting| !setting.value.is_empty()) {
        Some(setting) => {
            it.note(view.setting(setting, format!("it asks {}", setting.value.join(", "))));
            let (words, to) = view.edit(setting, "an address that answers (127.0.0.11 in Docker)");
            it.fix(Site::Config, words, to);
        }
        None => it.fix(
            Site::Clearway,
            "Open UDP and TCP 53 to the resolver, or name another one",
            "grep nameserver /etc/resolv.conf",
        ),
    }
}

fn no_usable_family(view: &View<'_>, it: &mut Opinion) {
    if view.is(&[Kind::NameUnresolved]) {
        return unresolved_family(view, it);
    }
    if view.group.may_be(&[Kind::NameUnresolved]) {
        if begins(view, it) {
            it.missing("whether the name has addresses, and of which family");
        }
        return;
    }
    let Where::Socket(address) = &view.case.site else {
        return it.rule_out();
    };
    let (Some(name), true) = (name(view), address.is_ipv6()) else {
        return it.rule_out();
    };
    if view.group.immediate.1 > 0 {
        return it.rule_out();
    }
    it.wants(Probe::Lookup(name.clone()));
    it.wants(Probe::Host);
    it.fair(view.symptom(format!("{name} leads to the IPv6 address {}", address.ip())));
    if view
        .group
        .errno()
        .is_some_and(|errno| NO_FAMILY.contains(&errno))
    {
        it.fair(view.seen());
    }
    match view.host().and_then(|host| host.route.as_ref()) {
        Some(Route::Missing) => it.strong(view.kernel("this host has no route for IPv6 there")),
        Some(_) => it.strongly_against(view.kernel("this host has a route there")),
        None => it.missing("whether this host has IPv6 at all"),
    }
    let answers = Answers::of(view);
    let has_ipv4 = answers.fresh().iter().any(IpAddr::is_ipv4);
    if has_ipv4 {
        it.fair(view.probed(format!("{name} has IPv4 addresses, too")));
    }
    it.say(format!(
        "{name} leads to the IPv6 address {}, and this host cannot reach IPv6 addresses.",
        address.ip()
    ));
    family_fix(view, it);
}

fn unresolved_family(view: &View<'_>, it: &mut Opinion) {
    it.hint(view.seen());
    let Some(name) = name(view) else {
        return it.missing("the name that was looked up");
    };
    it.wants(Probe::Lookup(name.clone()));
    if view.says(&["(3: host not found)", "no address"]) {
        it.fair(view.symptom("an answer without addresses is logged in the same words"));
    } else if view.says(&[
        "server failure",
        "refused)",
        "timed out",
        "no resolver defined",
    ]) {
        return it.rule_out();
    }
    let answers = Answers::of(view);
    if !answers.is_known() {
        it.missing("which kinds of addresses the name has");
    } else if answers.any_says(NO_SUCH_NAME) || !answers.all_say(&[0]) {
        it.strongly_against(view.probed(answers.words()));
    } else if answers.fresh().is_empty() {
        it.strong(view.probed(format!("{name} exists and has no address of any kind")));
        it.fair(view.probed("so resolvers answer, but with nothing to connect to"));
    } else if !answers.fresh().iter().any(IpAddr::is_ipv4) {
        it.strong(view.probed(format!(
            "{name} has IPv6 addresses only: {}",
            answers.words()
        )));
        it.fair(view.probed("and none of them was used"));
    } else if !answers.fresh().iter().any(IpAddr::is_ipv6) {
        // Most names are like that; it tells only where IPv4 is switched off.
        it.hint(view.probed(format!("{name} has IPv4 addresses only")));
        it.against(view.probed("it resolves now"));
    } else {
        it.strongly_against(view.probed("the name has addresses of both families now"));
    }
    it.say(format!(
        "{name} exists, but has no address of a family that the balancer may use."
    ));
    family_fix(view, it);
}

fn family_fix(view: &View<'_>, it: &mut Opinion) {
    let name = name(view).unwrap_or_default();
    let at = place(named_at(view));
    match view.dialect() {
        Speaker::Nginx => it.fix(
            Site::Config,
            "Look up IPv4 addresses only, or the other way round",
            "resolver ADDRESS ipv6=off;",
        ),
        Speaker::Haproxy => it.fix(
            Site::Config,
            format!("{at}prefer the family that works"),
            "resolve-prefer ipv4",
        ),
        Speaker::Envoy => it.fix(
            Site::Config,
            "Prefer the family that works in the cluster",
            "dns_lookup_family: V4_PREFERRED",
        ),
        Speaker::Clearway | Speaker::Alb => it.fix(
            Site::Config,
            format!("{at}give a name, or an address, of the family that this host has"),
            format!("dig {name} A +short; ip -6 route show default"),
        ),
    }
}

// What is known of the name.

/// The name behind the server; `None` where it is given by address, or unknown.
fn name(view: &View<'_>) -> Option<String> {
    if let Some((before, _)) = view.group.words.split_once(" could not be resolved") {
        let said = before.split_ascii_whitespace().last().unwrap_or_default();
        return Some(said.to_owned()).filter(|said| !said.is_empty());
    }
    if let Some((_, server)) = view.configured() {
        let is_name = !server.is_unix && !is_address(&server.host);
        return is_name.then(|| server.host.trim_end_matches('.').to_owned());
    }
    for text in [&view.case.subject.address, &view.case.subject.server] {
        if let Where::Name(name, _) = Where::parse(text)
            && !is_address(&name)
        {
            return Some(name);
        }
    }
    // Nobody was chosen: any name of the group may be the one.
    if matches!(view.case.site, Where::Socket(_)) {
        return None;
    }
    let mut servers = view.configured_backend()?.servers.iter();
    let named = servers.find(|server| !server.is_unix && !is_address(&server.host));
    named.map(|server| server.host.clone())
}

/// Where the name stands.
fn named_at<'a>(view: &View<'a>) -> Option<&'a clearway_config::Origin> {
    let (_, server) = view.configured()?;
    server.origin.as_ref()
}

fn is_localhost(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    name.eq_ignore_ascii_case("localhost") || name.to_ascii_lowercase().starts_with("localhost.")
}

/// Where `localhost` stands, if the server is given so; the place may be unknown.
fn loopback_name(view: &View<'_>) -> Option<Option<String>> {
    let told = Where::parse(&view.case.subject.server);
    if let Where::Name(name, _) = told
        && is_localhost(&name)
    {
        return Some(None);
    }
    let (_, server) = view.configured()?;
    // Any name that leads to loopback has the same two addresses.
    let is_name = is_localhost(&server.host) || !is_address(&server.host);
    is_name.then(|| server.origin.as_ref().map(ToString::to_string))
}

#[cfg(test)]
mod tests;
