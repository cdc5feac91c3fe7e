//! What several judges ask about the way to a server.

use std::net::IpAddr;

use clearway_outcome::{FaultKind, Listening, Neighbour, Route};

use crate::case::View;
use crate::evidence::{Connection, HostLook, PortState, Where};
use crate::opinion::Opinion;
use crate::view::time;

/// Ports on which programs listen by default, besides those next to the configured one.
const USUAL: &[u16] = &[80, 443, 3000, 5000, 8000, 8080, 8081, 8443, 9000, 9090];
/// Ports that say that a host is up.
const SIGNS_OF_LIFE: &[u16] = &[22];

/// The ports of the server's host that are worth a try.
pub(super) fn ports_to_try(view: &View<'_>) -> Vec<u16> {
    let port = view.port();
    let mut out = vec![port.saturating_add(1), port.saturating_sub(1)];
    out.extend(USUAL);
    out.extend(SIGNS_OF_LIFE);
    out.retain(|other| *other != port && *other != 0);
    let mut seen = Vec::new();
    out.retain(|other| {
        let is_new = !seen.contains(other);
        seen.push(*other);
        is_new
    });
    out
}

/// Whether a port is one that application servers use, not one of the system's.
pub(super) fn is_for_programs(port: u16) -> bool {
    !SIGNS_OF_LIFE.contains(&port)
}

/// Whether another server of the configuration is on that port of the same host, so that it being open says
/// nothing.
pub(super) fn is_taken(view: &View<'_>, port: u16) -> bool {
    let Some(survey) = view.case.survey() else {
        return false;
    };
    let Some(host) = view.server().map(|server| server.host.as_str()) else {
        return false;
    };
    let mut servers = survey.backends.iter().flat_map(|backend| &backend.servers);
    servers.any(|server| server.port == port && server.host == host)
}

/// Ports of the host that answered in any way: it is up.
pub(super) fn answering(view: &View<'_>) -> Vec<u16> {
    let answers = view
        .ports()
        .iter()
        .filter(|(_, state)| matches!(state, PortState::Open | PortState::Refused));
    answers.map(|(port, _)| *port).take(3).collect()
}

/// `22, 80 and 443`.
pub(super) fn list(ports: &[u16]) -> String {
    let words: Vec<String> = ports.iter().map(u16::to_string).collect();
    match words.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
        None => String::new(),
    }
}

/// The server's address with another port.
pub(super) fn address_with_port(view: &View<'_>, port: u16) -> String {
    match view.address().rsplit_once(':') {
        Some((host, _)) => format!("{host}:{port}"),
        None => port.to_string(),
    }
}

/// Whether an ICMP message was counted while a connection was tried.
pub(super) fn gained_icmp(found: &Connection) -> bool {
    found
        .gained
        .is_some_and(|gained| gained.icmp_in_unreachable > 0)
}

/// How a refusal came by ICMP, if it did.
pub(super) fn refusal_by_icmp(found: &Connection) -> Option<String> {
    match found.icmp {
        Some(icmp) => Some(format!(
            "the refusal is an ICMP message from {}, not a RST",
            icmp.from
        )),
        None if gained_icmp(found) => {
            Some("an ICMP unreachable message was counted meanwhile".to_owned())
        }
        None => None,
    }
}

/// Whether an address is this host's own.
pub(super) fn is_own(view: &View<'_>, from: IpAddr) -> bool {
    if from.is_loopback() {
        return true;
    }
    let route = view.host().and_then(|host| host.route.as_ref());
    match route {
        Some(Route::Via { source, .. }) => *source == Some(from),
        Some(Route::Local) => {
            view.case.site == Where::Unix(String::new()) || is_address(view, from)
        }
        Some(Route::Missing | Route::Refused { .. }) | None => false,
    }
}

fn is_address(view: &View<'_>, from: IpAddr) -> bool {
    matches!(&view.case.site, Where::Socket(address) if address.ip() == from)
}

/// Whether the server's address is a loopback one.
pub(super) fn is_loopback(view: &View<'_>) -> bool {
    matches!(&view.case.site, Where::Socket(address) if address.ip().is_loopback())
}

/// Whether something listens on this host so that connections to the server's address reach it.
pub(super) fn listens_for(view: &View<'_>, host: &HostLook) -> bool {
    let Where::Socket(address) = &view.case.site else {
        return false;
    };
    host.listeners
        .iter()
        .flatten()
        .any(|listening| listening.takes(*address))
}

/// A listener on the server's port, but on another address.
pub(super) fn listens_elsewhere<'a>(view: &View<'_>, host: &'a HostLook) -> Option<&'a Listening> {
    let Where::Socket(address) = &view.case.site else {
        return None;
    };
    let listeners = host.listeners.as_deref().unwrap_or_default();
    listeners
        .iter()
        .find(|listening| listening.address.port() == address.port() && !listening.takes(*address))
}

/// How many spells failures came in: apart by much more than usual.
pub(super) fn spells(times: &[i64]) -> usize {
    const LEAST_US: i64 = 250_000;
    let pairs = times.windows(2);
    let gaps: Vec<i64> = pairs
        .filter_map(|pair| Some(pair.last()? - pair.first()?))
        .collect();
    let mut sorted = gaps.clone();
    sorted.sort_unstable();
    let usual = sorted.get(sorted.len() / 2).copied().unwrap_or(0);
    let long = gaps.iter().filter(|gap| **gap > LEAST_US.max(3 * usual));
    long.count() + usize::from(!times.is_empty())
}

/// Requests to the server that went well between failures: it comes and goes.
pub(super) fn well_between(view: &View<'_>) -> u64 {
    let successes = &view.case.successes;
    successes.count.saturating_sub(successes.since_failure)
}

/// What all refusals by RST have in common, whoever sent it.
pub(super) fn weigh_refusal(view: &View<'_>, it: &mut Opinion) {
    it.fair(view.seen());
    let Some(found) = view.connection() else {
        return it.missing("whether the refusal is a RST or an ICMP message");
    };
    if let Some(words) = refusal_by_icmp(found) {
        return it.strongly_against(view.kernel(words));
    }
    match found.fault {
        Some(FaultKind::ConnectRefused) => {
            it.hint(view.probed(format!(
                "a fresh connection to {} is refused after {}",
                view.address(),
                time(found.took_us)
            )));
            if found.heard_icmp {
                it.hint(view.kernel("no ICMP message came: the refusal is a RST"));
            }
        }
        Some(_) => it.against(view.probed("a fresh connection fails in another way")),
        None => it.against(view.probed(format!(
            "a fresh connection is taken after {} now",
            time(found.took_us)
        ))),
    }
}

/// Whether the server has served before: then it is not the way that it was set up.
pub(super) fn weigh_history(view: &View<'_>, it: &mut Opinion) {
    let before = view.case.successes.before;
    if before > 0 {
        it.against(view.symptom(format!("{before} requests to it went well before")));
    }
}

/// Whether look-ups show that the server's address is not that of its name any more.
pub(super) fn has_left_dns(view: &View<'_>) -> bool {
    let Where::Socket(address) = &view.case.site else {
        return false;
    };
    let mut known = view
        .lookups()
        .iter()
        .filter(|lookup| !lookup.addresses.is_empty())
        .peekable();
    known.peek().is_some() && known.all(|lookup| !lookup.addresses.contains(&address.ip()))
}

/// Whether the server's address is one of IPv6 that came from a name, which may have others.
pub(super) fn is_six_of_a_name(view: &View<'_>) -> bool {
    let is_six = matches!(&view.case.site, Where::Socket(address) if address.is_ipv6());
    let named = view
        .configured()
        .is_some_and(|(_, server)| !crate::view::is_address(&server.host));
    is_six && named
}

/// Whether a fresh connection was refused, too.
pub(super) fn is_refused_now(view: &View<'_>) -> bool {
    view.connection()
        .is_some_and(|found| found.fault == Some(FaultKind::ConnectRefused))
}

/// Whether nothing at all is heard from the server's address.
pub(super) fn is_gone(view: &View<'_>) -> bool {
    let neighbour = view.host().and_then(|host| host.neighbour);
    let unanswered = matches!(neighbour, Some(Neighbour::Failed | Neighbour::Incomplete));
    let icmp = view.connection().and_then(|found| found.icmp);
    unanswered || icmp.is_some_and(|icmp| icmp.code == 1)
}

/// What all kinds of silence have in common: who is silent, and whether it is this host's doing.
pub(super) fn weigh_silence(view: &View<'_>, it: &mut Opinion) {
    if let Some(found) = view.connection() {
        match found.fault {
            Some(FaultKind::ConnectTimeout) => {
                it.hint(view.probed("a fresh connection is not answered either"));
            }
            Some(FaultKind::ConnectUnreachable) => {
                it.against(view.probed("with more time it is reported unreachable"));
            }
            Some(_) => it.against(view.probed("a fresh connection fails in another way")),
            None if found.gained.is_some_and(|gained| gained.syn_retrans > 0) => {
                it.hint(view.probed("a fresh connection is made when the SYN is sent again"));
            }
            None if view.case.successes.count > 0 => {}
            None => it.against(view.probed("a fresh connection is taken now")),
        }
        if found.gained.is_some_and(|gained| gained.retrans_fail > 0) {
            it.strongly_against(view.kernel("this host's own stack refused to send the SYN again"));
        }
    }
    let up = answering(view);
    if !up.is_empty() {
        it.fair(view.probed(format!(
            "the host answers on port {} at once: it is up, and it is this port that is silent",
            list(&up)
        )));
    }
    if let Some(host) = view.host() {
        match host.neighbour {
            Some(Neighbour::Failed | Neighbour::Incomplete) => {
                it.strongly_against(view.kernel("the host does not answer on its link (ARP)"));
            }
            Some(Neighbour::Reachable) => {
                it.hint(view.kernel("the next hop answers on its link"));
            }
            Some(Neighbour::Stale | Neighbour::None) | None => {}
        }
        if host.conntrack.is_some_and(|table| table.is_exhausted()) {
            it.against(view.kernel("this host's table of connections is full"));
        }
    }
}
