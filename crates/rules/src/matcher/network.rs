//! Comparison of addresses with networks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// Networks as sorted ranges without overlaps: a look-up is a binary search.
#[derive(Debug)]
pub(crate) struct Networks {
    v4: Box<[(Ipv4Addr, Ipv4Addr)]>,
    v6: Box<[(Ipv6Addr, Ipv6Addr)]>,
}

impl Networks {
    pub(crate) fn new(list: &[IpNet]) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for network in list {
            match network {
                IpNet::V4(network) => v4.push((network.network(), network.broadcast())),
                IpNet::V6(network) => v6.push((network.network(), network.broadcast())),
            }
        }
        Self {
            v4: merged(v4),
            v6: merged(v6),
        }
    }

    pub(crate) fn contains(&self, ip: IpAddr) -> bool {
        match ip {
            IpAddr::V4(ip) => covers(&self.v4, ip),
            IpAddr::V6(ip) => covers(&self.v6, ip),
        }
    }
}

fn merged<T: Ord + Copy>(mut ranges: Vec<(T, T)>) -> Box<[(T, T)]> {
    // Networks nest or are apart: in this order the wider of two that meet comes first.
    ranges.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)));
    ranges.dedup_by(|next, kept| next.1 <= kept.1);
    ranges.into()
}

fn covers<T: Ord + Copy>(ranges: &[(T, T)], ip: T) -> bool {
    let after = ranges.partition_point(|range| range.0 <= ip);
    let last = after.checked_sub(1).and_then(|at| ranges.get(at));
    last.is_some_and(|range| ip <= range.1)
}

/// The address that a text is, with or without white space around it.
pub(crate) fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text.trim_ascii()).ok()?;
    text.parse().ok().map(|ip: IpAddr| ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ranges_say_what_networks_say(
            list in proptest::collection::vec((0_u32..64, 24_u8..=32), 0..12),
            ips in proptest::collection::vec(0_u32..64, 20),
        ) {
            let networks: Vec<IpNet> = list
                .iter()
                .map(|&(ip, length)| IpNet::new(Ipv4Addr::from(ip << 2).into(), length).unwrap())
                .collect();
            let ranges = Networks::new(&networks);
            for ip in ips {
                let ip = IpAddr::from(Ipv4Addr::from(ip << 2));
                prop_assert_eq!(ranges.contains(ip), networks.iter().any(|n| n.contains(&ip)));
            }
        }
    }
}
