//! A look around after a failed validation: where the name leads, and whether anything listens there.
//!
//! What is found is a hint and never a reason not to try: the world may see other addresses than this
//! host does.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use clearway_net::dns::Reason;
use instant_acme::ChallengeType;
use tokio::net::TcpStream;

use crate::failure::{Failure, FailureKind};
use crate::issue::{Answered, Tools};

/// How long a look at a port may take.
const LOOK: Duration = Duration::from_secs(2);

/// So many addresses of a name are looked at.
const ADDRESSES_MAX: usize = 4;

/// Looks at a name whose validation failed. Where the authority had trouble with DNS and the name does
/// not exist seen from here either, that is what it is.
pub(crate) async fn look(one: &Answered, failure: &mut Failure, tools: &Tools) {
    let port = if one.kind == ChallengeType::Http01 {
        80
    } else if one.kind == ChallengeType::TlsAlpn01 {
        443
    } else {
        return;
    };
    let host = one.name.base();
    match tools.lookup.addresses().resolve(host, port).await {
        Ok(answer) => {
            let addresses = answer.addresses;
            failure
                .hints
                .extend(elsewhere(host, &addresses, &tools.own_addresses));
            if failure.kind == FailureKind::Connection {
                for address in addresses.iter().take(ADDRESSES_MAX) {
                    failure.hints.push(knock(*address).await);
                }
            }
        }
        Err(fault) => {
            if fault.reason == Reason::NoSuchName && failure.kind == FailureKind::Dns {
                failure.kind = FailureKind::NoSuchName;
            }
            failure
                .hints
                .push(format!("seen from this host, {}", fault.words));
        }
    }
}

/// Which addresses of a name are not ours.
fn elsewhere(host: &str, addresses: &[SocketAddr], own: &[IpAddr]) -> Vec<String> {
    let foreign: Vec<String> = addresses
        .iter()
        .map(SocketAddr::ip)
        .filter(|ip| !own.contains(ip) && !is_of_this_host(*ip))
        .take(ADDRESSES_MAX)
        .map(|ip| ip.to_string())
        .collect();
    match foreign.as_slice() {
        [] => Vec::new(),
        [one] => vec![format!(
            "{host} resolves to {one}, which is not an address of this host"
        )],
        many => vec![format!(
            "{host} resolves to {}, which are not addresses of this host",
            many.join(" and ")
        )],
    }
}

/// Whether an interface has the address: a socket can be bound to no other. Where the kernel allows
/// binding to any (`ip_nonlocal_bind`), every address counts as ours and the hint stays away.
fn is_of_this_host(ip: IpAddr) -> bool {
    UdpSocket::bind((ip, 0)).is_ok()
}

/// What a connection from here says. One that works is a hint too: then it is the way from outside.
async fn knock(address: SocketAddr) -> String {
    let tried = tokio::time::timeout(LOOK, TcpStream::connect(address)).await;
    let (ip, port) = (address.ip(), address.port());
    match tried {
        Ok(Ok(_)) => format!("from this host, port {port} of {ip} can be reached"),
        Ok(Err(error)) => format!("from this host, port {port} of {ip} cannot be reached: {error}"),
        Err(_) => format!("from this host, port {port} of {ip} does not answer"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts
            .iter()
            .map(|text| SocketAddr::new(text.parse().unwrap(), 80))
            .collect()
    }

    #[test]
    fn foreign_addresses_are_pointed_out() {
        let told = elsewhere("a.org", &addresses(&["127.0.0.1", "192.0.2.7"]), &[]);
        assert_eq!(
            told,
            ["a.org resolves to 192.0.2.7, which is not an address of this host"]
        );
        let told = elsewhere("a.org", &addresses(&["192.0.2.7", "192.0.2.8"]), &[]);
        assert!(told[0].contains("192.0.2.7 and 192.0.2.8"), "{told:?}");
        let own = ["192.0.2.7".parse().unwrap()];
        assert!(elsewhere("a.org", &addresses(&["192.0.2.7"]), &own).is_empty());
    }
}
