//! How this host would send to an address, and what it knows of the neighbour there (rtnetlink(7)).

use std::io;
use std::net::IpAddr;

use clearway_outcome::{Neighbour, Route};

use super::netlink::{DUMP, Netlink, address, array, attributes, octets, put};

const RTM_GETLINK: u16 = 18;
const RTM_GETROUTE: u16 = 26;
const RTM_GETNEIGH: u16 = 30;
/// Fixed parts of messages about links, and about routes and neighbours.
const LINK: usize = 16;
const FIXED: usize = 12;
/// Attributes of a link, a neighbour and a route.
const IFLA_IFNAME: u16 = 3;
const NDA_DST: u16 = 1;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PREFSRC: u16 = 7;
const RTA_CACHEINFO: u16 = 12;
const RTA_VIA: u16 = 18;

/// The route to an address.
///
/// # Errors
/// When the kernel does not tell.
pub fn route(ip: IpAddr) -> io::Result<Route> {
    let ip = ip.to_canonical();
    let (family, octets) = octets(ip);
    let bits = u8::try_from(octets.len() * 8).unwrap_or(u8::MAX);
    let mut body = vec![family, bits];
    body.resize(FIXED, 0);
    put(RTA_DST, &octets, &mut body);
    let mut found = None;
    let netlink = Netlink::open(libc::NETLINK_ROUTE)?;
    let asked = netlink.ask(RTM_GETROUTE, 0, &body, |message| {
        found = described(message.body);
    });
    if let Err(error) = asked {
        return refusal(error.raw_os_error().unwrap_or(0)).ok_or(error);
    }
    let (mut route, link) = found.ok_or(io::ErrorKind::InvalidData)?;
    if let Route::Via { interface, .. } = &mut route {
        *interface = name_of(link)?;
    }
    Ok(route)
}

/// Whether an address belongs to this host.
///
/// # Errors
/// When the kernel does not tell.
pub fn is_local(ip: IpAddr) -> io::Result<bool> {
    route(ip).map(|route| route == Route::Local)
}

/// What is known of the neighbour with an address; the best where several links know one.
///
/// Behind a router the router's address is the one to ask for.
///
/// # Errors
/// When the kernel does not tell.
pub fn neighbour(ip: IpAddr) -> io::Result<Neighbour> {
    let (family, octets) = octets(ip.to_canonical());
    let mut body = vec![family];
    body.resize(FIXED, 0);
    let mut best = Neighbour::None;
    let netlink = Netlink::open(libc::NETLINK_ROUTE)?;
    netlink.ask(RTM_GETNEIGH, DUMP, &body, |message| {
        let mut more = attributes(message.body.get(FIXED..).unwrap_or_default());
        if more.any(|(number, value)| number == NDA_DST && value == octets) {
            let state = array(message.body, 8).map_or(0, u16::from_ne_bytes);
            let state = neighbour_in(state);
            if rank(state) > rank(best) {
                best = state;
            }
        }
    })?;
    Ok(best)
}

/// The states of `linux/neighbour.h`.
fn neighbour_in(state: u16) -> Neighbour {
    match state {
        0x01 => Neighbour::Incomplete,
        // Reachable; those that need no asking; permanent entries.
        0x02 | 0x40 | 0x80 => Neighbour::Reachable,
        // Stale; used again just now; being asked whether it is still there.
        0x04 | 0x08 | 0x10 => Neighbour::Stale,
        0x20 => Neighbour::Failed,
        _ => Neighbour::None,
    }
}

fn rank(neighbour: Neighbour) -> u8 {
    match neighbour {
        Neighbour::None => 0,
        Neighbour::Failed => 1,
        Neighbour::Incomplete => 2,
        Neighbour::Stale => 3,
        Neighbour::Reachable => 4,
    }
}

/// What an error number says of a route; `None` when it says something else.
fn refusal(errno: i32) -> Option<Route> {
    let kind = match errno {
        libc::ENETUNREACH => return Some(Route::Missing),
        libc::EACCES => "prohibit",
        libc::EHOSTUNREACH => "unreachable",
        libc::EINVAL => "blackhole",
        _ => return None,
    };
    Some(Route::Refused { kind })
}

/// A route, and the number of its link.
fn described(body: &[u8]) -> Option<(Route, u32)> {
    let kind = *body.get(7)?;
    let (mut gateway, mut source, mut link, mut errno) = (None, None, 0, 0);
    for (number, value) in attributes(body.get(FIXED..)?) {
        match number {
            RTA_GATEWAY => gateway = address(value),
            // A family, then an address: a router of the other one.
            RTA_VIA => gateway = address(value.get(2..)?),
            RTA_PREFSRC => source = address(value),
            RTA_OIF => link = u32::from_ne_bytes(array(value, 0)?),
            RTA_CACHEINFO => errno = array(value, 12).map_or(0, i32::from_ne_bytes),
            _ => {}
        }
    }
    let route = match kind {
        2 => Route::Local,
        6 => Route::Refused { kind: "blackhole" },
        // IPv6 has a route of this kind for what there is no route to.
        7 if errno == -libc::ENETUNREACH => Route::Missing,
        7 => Route::Refused {
            kind: "unreachable",
        },
        8 => Route::Refused { kind: "prohibit" },
        _ => Route::Via {
            gateway,
            interface: String::new(),
            source,
        },
    };
    Some((route, link))
}

/// The name of a link.
fn name_of(link: u32) -> io::Result<String> {
    let mut body = vec![0; 4];
    body.extend(link.to_ne_bytes());
    body.resize(LINK, 0);
    let mut name = String::new();
    Netlink::open(libc::NETLINK_ROUTE)?.ask(RTM_GETLINK, 0, &body, |message| {
        let mut more = attributes(message.body.get(LINK..).unwrap_or_default());
        if let Some((_, value)) = more.find(|&(number, _)| number == IFLA_IFNAME) {
            let text = value.split(|&byte| byte == 0).next().unwrap_or_default();
            name = String::from_utf8_lossy(text).into_owned();
        }
    })?;
    Ok(name)
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;
    use std::time::Duration;

    use clearway_testkit::{netns, wait};

    use super::*;

    fn to(ip: &str) -> Route {
        route(ip.parse().unwrap()).unwrap()
    }

    fn via(gateway: Option<&str>, source: &str) -> Route {
        Route::Via {
            gateway: gateway.map(|ip| ip.parse().unwrap()),
            interface: "left".to_owned(),
            source: Some(source.parse().unwrap()),
        }
    }

    fn two_links() {
        netns::ip("link add left type veth peer name right");
        netns::ip("addr add 192.0.2.1/24 dev left");
        netns::ip("-6 addr add 2001:db8::1/64 dev left nodad");
        netns::ip("link set left up");
        netns::ip("link set right up");
    }

    #[test]
    fn routes_are_told_apart() {
        netns::run_in_new("host::route::tests::routes_are_told_apart", || {
            assert_eq!(to("127.0.0.1"), Route::Local);
            assert_eq!(to("::1"), Route::Local);
            assert_eq!(to("192.0.2.9"), Route::Missing);
            assert_eq!(to("2001:db8::9"), Route::Missing);
            two_links();
            for kind in ["prohibit", "unreachable", "blackhole"] {
                netns::ip(&format!("route add {kind} 198.51.100.0/24"));
                assert_eq!(to("198.51.100.7"), Route::Refused { kind });
                netns::ip(&format!("route del {kind} 198.51.100.0/24"));
                netns::ip(&format!("-6 route add {kind} 2001:db8:7::/48"));
                assert_eq!(to("2001:db8:7::1"), Route::Refused { kind });
                netns::ip(&format!("-6 route del {kind} 2001:db8:7::/48"));
            }
            netns::ip("route add default via 192.0.2.254");
            netns::ip("-6 route add default via 2001:db8::fe");
            assert_eq!(to("192.0.2.9"), via(None, "192.0.2.1"));
            assert_eq!(to("203.0.113.1"), via(Some("192.0.2.254"), "192.0.2.1"));
            assert_eq!(to("::ffff:192.0.2.9"), via(None, "192.0.2.1"));
            let six = via(Some("2001:db8::fe"), "2001:db8::1");
            assert_eq!(to("2001:db9::1"), six);
            assert!(is_local("192.0.2.1".parse().unwrap()).unwrap());
            assert!(!is_local("192.0.2.9".parse().unwrap()).unwrap());
        });
    }

    #[test]
    fn neighbours_are_told_apart() {
        netns::run_in_new("host::route::tests::neighbours_are_told_apart", || {
            two_links();
            let ask = |ip: &str| neighbour(ip.parse().unwrap()).unwrap();
            assert_eq!(ask("192.0.2.9"), Neighbour::None);
            let limit = Duration::from_millis(20);
            let error = TcpStream::connect_timeout(&"192.0.2.9:80".parse().unwrap(), limit);
            assert!(error.is_err());
            assert_eq!(ask("192.0.2.9"), Neighbour::Incomplete);
            let failed = || (ask("192.0.2.9") == Neighbour::Failed).then_some(());
            wait::until("the neighbour is given up", failed);
            for (state, expected) in [
                ("permanent", Neighbour::Reachable),
                ("reachable", Neighbour::Reachable),
                ("stale", Neighbour::Stale),
            ] {
                let entry = format!("lladdr 02:00:00:00:00:07 dev left nud {state}");
                netns::ip(&format!("neigh replace 192.0.2.7 {entry}"));
                assert_eq!(ask("192.0.2.7"), expected, "{state}");
                netns::ip(&format!("-6 neigh replace 2001:db8::7 {entry}"));
                assert_eq!(ask("2001:db8::7"), expected, "{state}");
            }
        });
    }
}
