//! What runs out on the balancer's host: ports, files, entries of tables.

use clearway_outcome::{FaultKind as Kind, Speaker};

use super::super::reach;
use super::SILENT;
use crate::case::View;
use crate::evidence::{HostLook, Probe, Where};
use crate::opinion::{Opinion, Site};
use crate::view::{place, time};

/// States of TCP by their numbers.
const ESTABLISHED: u8 = 1;
const TIME_WAIT: u8 = 6;
const CLOSE_WAIT: u8 = 8;

fn sockets(host: &HostLook, state: u8) -> u32 {
    let found = host.sockets.iter().find(|(known, _)| *known == state);
    found.map_or(0, |(_, count)| *count)
}

// Ports and files.

pub(super) fn ephemeral_ports(view: &View<'_>, it: &mut Opinion) {
    if view.is_unix() {
        return it.rule_out();
    }
    let sure = view.is(&[Kind::OutOfPorts]);
    it.wants(Probe::Host);
    view.weigh_pitfalls(it, sure);
    if sure {
        it.strong(view.seen());
    }
    if matches!(&view.case.site, Where::Socket(address) if address.is_ipv6()) {
        // A host without an IPv6 address says the same.
        it.against(view.symptom("a host without an address of IPv6 fails in the same way"));
    }
    if view.case.successes.count > 0 {
        it.hint(view.symptom(format!(
            "{} requests went well in between: it comes and goes with the load",
            view.case.successes.count
        )));
    }
    let Some(host) = view.host() else {
        it.missing("how many local ports towards the server are in use");
        return ports_fix(view, it, false);
    };
    match host.ports {
        Some(ports) if ports.is_exhausted() => {
            let fact = view.kernel(format!(
                "{} of {} local ports towards {} are in use",
                ports.used,
                ports.limit,
                view.address()
            ));
            if sure {
                it.proof(fact);
            } else {
                it.strong(fact);
            }
            it.say(format!(
                "All {} local ports towards {} are in use, so no connection can be opened.",
                ports.limit,
                view.address()
            ));
        }
        Some(ports) if ports.limit > 0 => it.against(view.kernel(format!(
            "{} of {} local ports towards it are in use now",
            ports.used, ports.limit
        ))),
        Some(_) | None => it.missing("how many local ports towards the server are in use"),
    }
    let (waiting, open) = (sockets(host, TIME_WAIT), sockets(host, ESTABLISHED));
    if waiting > open && waiting > 1_000 {
        it.hint(view.kernel(format!(
            "{waiting} sockets to it are in TIME-WAIT: connections are closed after each request"
        )));
    } else if open > 1_000 {
        it.note(view.kernel(format!("{open} connections to it are open")));
    }
    ports_fix(view, it, waiting >= open);
}

fn ports_fix(view: &View<'_>, it: &mut Opinion, closes_each: bool) {
    let keeps = view.configured_backend().map(|backend| &backend.keepalive);
    if closes_each || keeps.is_some_and(|keeps| !keeps.value) {
        let at = place(keeps.and_then(|keeps| keeps.origin.as_ref()));
        let (words, line) = match view.dialect() {
            Speaker::Nginx => (
                "keep connections for the next request",
                "keepalive 64;   # in the upstream, with proxy_http_version 1.1 and \
                 Connection \"\"",
            ),
            Speaker::Haproxy => ("keep connections for the next request", "http-reuse safe"),
            Speaker::Clearway => (
                "keep more connections for the next request",
                "keepalive = { max_idle = 1024 }",
            ),
            Speaker::Envoy => (
                "remove the limit of requests per connection",
                "max_requests_per_connection",
            ),
            Speaker::Alb => (
                "let targets keep connections open for longer than a minute",
                "",
            ),
        };
        it.fix(Site::Config, format!("{at}{words}"), line);
    }
    it.fix(
        Site::Clearway,
        "Let the kernel use more ports, or give the server a second address",
        "sysctl -w net.ipv4.ip_local_port_range='1024 65000' net.ipv4.tcp_tw_reuse=1",
    );
}

pub(super) fn fd_limit(view: &View<'_>, it: &mut Opinion) {
    let sure = view.is(&[Kind::OutOfFiles]);
    it.wants(Probe::Host);
    view.weigh_pitfalls(it, sure);
    it.strong(view.seen());
    let limit = view
        .case
        .survey()
        .and_then(|survey| survey.file_limit.as_ref());
    if let Some(limit) = limit {
        it.note(view.setting(
            limit,
            format!("{} allows {} open files", limit.name, limit.value),
        ));
    }
    match view.host() {
        Some(host) => {
            let left = sockets(host, CLOSE_WAIT);
            let leaks = left > 100 && left > sockets(host, ESTABLISHED);
            if leaks {
                it.strongly_against(view.kernel(format!(
                    "{left} sockets to the server are in CLOSE-WAIT: they are not closed, \
                     whatever the limit"
                )));
            }
            match host.files {
                Some(files) if files.is_exhausted() => {
                    let fact = view.kernel(format!(
                        "{} of {} open files are in use",
                        files.used, files.limit
                    ));
                    if sure && !leaks && !host.sockets.is_empty() {
                        it.proof(fact);
                    } else {
                        it.strong(fact);
                    }
                    it.say(format!(
                        "The balancer has used up its {} open files.",
                        files.limit
                    ));
                }
                Some(files) => it.note(view.kernel(format!(
                    "{} of {} open files are in use now",
                    files.used, files.limit
                ))),
                None => it.missing("how many files the balancer has open"),
            }
        }
        None => it.missing("how many files the balancer has open"),
    }
    match (limit, view.dialect()) {
        (Some(limit), _) => {
            let (words, to) = view.edit(limit, "at least twice the connections, and some more");
            it.fix(Site::Config, words, to);
        }
        (None, Speaker::Nginx) => it.fix(
            Site::Config,
            "Allow more open files",
            "worker_rlimit_nofile 65536;",
        ),
        (None, Speaker::Haproxy) => it.fix(
            Site::Config,
            "Allow more open files (or lower maxconn)",
            "ulimit-n 65536",
        ),
        (None, Speaker::Clearway) => it.fix(
            Site::Clearway,
            "Allow more open files in the service",
            "systemctl edit clearway   # [Service] LimitNOFILE=65536",
        ),
        (None, Speaker::Envoy | Speaker::Alb) => it.fix(
            Site::Clearway,
            "Allow more open files in the service",
            "LimitNOFILE=65536",
        ),
    }
}

// Tables of connections.

pub(super) fn conntrack_full(view: &View<'_>, it: &mut Opinion) {
    it.wants(Probe::Host);
    it.wants(Probe::Connect);
    if view.is(SILENT) {
        it.hint(view.seen());
    }
    let gained = view
        .connection()
        .and_then(|found| found.gained)
        .or(view.case.gained);
    let drops = gained.map_or(0, |gained| gained.conntrack_drop);
    let refused = gained.is_some_and(|gained| gained.retrans_fail > 0);
    let host = view.host();
    let said = host.and_then(|host| {
        let lines = host.kernel_log.iter();
        lines.into_iter().find(|line| line.contains("table full"))
    });
    match host.and_then(|host| host.conntrack) {
        Some(table) if table.is_exhausted() => {
            let fact = view.kernel(format!(
                "{} of {} entries of this host's table of connections are in use",
                table.used, table.limit
            ));
            if (drops > 0 || refused || said.is_some()) && view.is(SILENT) {
                it.proof(fact);
            } else {
                it.strong(fact);
            }
            it.say(format!(
                "This host's table of connections is full ({} of {}), so new ones are dropped.",
                table.used, table.limit
            ));
        }
        Some(table) if table.limit > 0 => it.against(view.kernel(format!(
            "this host's table of connections has room ({} of {})",
            table.used, table.limit
        ))),
        Some(_) | None => it.missing("whether this host's table of connections is full"),
    }
    if let Some(said) = said {
        it.fair(view.kernel(format!("the kernel says: {said}")));
    }
    if drops > 0 {
        it.fair(view.kernel(format!("{drops} packets were dropped for it meanwhile")));
    }
    it.missing("the tables of routers on the way and of the server's host");
    it.fix(
        Site::Clearway,
        "Make the table larger, or keep the balancer's ports out of it",
        "sysctl net.netfilter.nf_conntrack_count net.netfilter.nf_conntrack_max; sysctl -w \
         net.netfilter.nf_conntrack_max=1048576",
    );
}

pub(super) fn snat_port_collision(view: &View<'_>, it: &mut Opinion) {
    if matches!(&view.case.site, Where::Socket(address) if address.ip().is_loopback())
        || view.is_unix()
    {
        return it.rule_out();
    }
    it.wants(Probe::Host);
    if view.case.successes.count == 0 {
        return it.strongly_against(
            view.symptom("no connection is made at all, and this strikes now and then"),
        );
    }
    reach::weigh_silence(view, it);
    it.hint(view.symptom("other connections to it are made"));
    let slow = view.case.successes.connected;
    if slow.count > 0 && (950_000..=3_500_000).contains(&slow.max) {
        it.fair(view.symptom(format!(
            "some connections took {}: a SYN was lost and sent again",
            time(slow.max)
        )));
    }
    let gained = view
        .host()
        .and_then(|host| host.gained)
        .or(view.case.gained);
    match gained {
        Some(gained) if gained.conntrack_insert_failed > 0 => it.strong(view.kernel(format!(
            "{} connections could not be put into the table of connections: their ports were taken",
            gained.conntrack_insert_failed
        ))),
        Some(_) => it.missing("collisions in the table of a router on the way"),
        None => it.missing("collisions in the table of connections (`insert_failed`)"),
    }
    it.fix(
        Site::Clearway,
        "Draw ports at random where addresses are translated, or avoid the translation",
        "iptables -t nat … -j MASQUERADE --random-fully; conntrack -S | grep insert_failed",
    );
}
