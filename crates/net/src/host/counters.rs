//! Counters of the network stack.

use std::io;

use clearway_outcome::HostCounters;

use super::text;

/// Reads the counters. Those of IPv6 are added to their namesakes of IPv4, those of single processors
/// to each other.
///
/// # Errors
/// When `/proc/net/netstat` or `/proc/net/snmp` cannot be read. A kernel without IPv6 or connection
/// tracking lacks the other files: their counters are 0.
pub fn counters() -> io::Result<HostCounters> {
    let mut counters = HostCounters::default();
    add_pairs(&text::read("/proc/net/netstat")?, &mut counters);
    add_pairs(&text::read("/proc/net/snmp")?, &mut counters);
    add_ipv6(
        &text::read("/proc/net/snmp6").unwrap_or_default(),
        &mut counters,
    );
    let tracking = text::read("/proc/net/stat/nf_conntrack").unwrap_or_default();
    add_tracking(&tracking, &mut counters);
    Ok(counters)
}

/// `Group: NAME …` followed by `Group: VALUE …`.
fn add_pairs(text: &str, counters: &mut HostCounters) {
    let mut lines = text.lines();
    while let (Some(names), Some(values)) = (lines.next(), lines.next()) {
        let (Some((group, names)), Some((_, values))) =
            (names.split_once(':'), values.split_once(':'))
        else {
            continue;
        };
        for (name, value) in names.split_whitespace().zip(values.split_whitespace()) {
            // The one number that may be negative, the most connections allowed, is not kept.
            add(counters, group, name, value.parse().unwrap_or(0));
        }
    }
}

/// `NameOfCounter VALUE`, a line each.
fn add_ipv6(text: &str, counters: &mut HostCounters) {
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let (Some(name), Some(value)) = (words.next(), words.next()) else {
            continue;
        };
        let (group, name) = if let Some(name) = name.strip_prefix("Icmp6") {
            ("Icmp", name)
        } else if let Some(name) = name.strip_prefix("Ip6") {
            ("Ip", name)
        } else {
            continue;
        };
        add(counters, group, name, value.parse().unwrap_or(0));
    }
}

/// A line of names, then one of hexadecimal numbers for each processor.
fn add_tracking(text: &str, counters: &mut HostCounters) {
    let mut lines = text.lines();
    let names: Vec<_> = lines
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    for line in lines {
        for (name, value) in names.iter().zip(line.split_whitespace()) {
            let value = u64::from_str_radix(value, 16).unwrap_or(0);
            add(counters, "nf_conntrack", name, value);
        }
    }
}

fn add(counters: &mut HostCounters, group: &str, name: &str, value: u64) {
    if let Some(slot) = counters.slot(group, name) {
        *slot = slot.saturating_add(value);
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_refusal_is_counted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let before = counters().unwrap();
        TcpStream::connect(address).unwrap_err();
        let added = counters().unwrap().since(&before);
        assert!(added.attempt_fails >= 1, "{added:?}");
        assert!(added.out_rsts >= 1, "{added:?}");
    }

    #[test]
    fn files_are_read_as_the_kernel_writes_them() {
        let mut found = HostCounters::default();
        add_pairs(
            "TcpExt: SyncookiesSent TCPSynRetrans New\nTcpExt: 1 7 9\n\
             Tcp: MaxConn AttemptFails\nTcp: -1 3\nTcp: cut",
            &mut found,
        );
        add_pairs("Icmp: InMsgs InDestUnreachs\nIcmp: 9 2\n", &mut found);
        add_ipv6(
            "Ip6OutNoRoutes  \t4\nIcmp6InDestUnreachs\t5\nUdp6X 1\nIcmp6OutDestUnreachs 6\n\n",
            &mut found,
        );
        add_tracking(
            "entries found insert_failed drop\n00000001 0 0000000a 2\n00000001 0 00000001 f\n",
            &mut found,
        );
        let expected = HostCounters {
            syncookies_sent: 1,
            syn_retrans: 7,
            attempt_fails: 3,
            icmp_in_unreachable: 7,
            icmp_out_unreachable: 6,
            out_no_routes: 4,
            conntrack_insert_failed: 11,
            conntrack_drop: 17,
            ..HostCounters::default()
        };
        assert_eq!(found, expected);
    }
}
