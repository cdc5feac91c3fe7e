//! Which ports of a host answer, and how fast?

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use clearway_base::clock;
use clearway_outcome::Port;
use tokio::time::timeout;

use crate::connect::{self, Target};
use crate::dns::join_all;

/// Ports asked at the same time.
const AT_ONCE: usize = 4;
/// Most ports asked.
const MOST: usize = 32;

/// Connects to ports of a host and closes, at most four at a time, each within `limit`; those beyond the
/// first 32 are left out. The answers have the order of `ports`.
///
/// Cancel safe.
pub async fn ports(ip: IpAddr, ports: &[u16], limit: Duration) -> Vec<Port> {
    let mut found = Vec::new();
    let wanted = ports.get(..MOST).unwrap_or(ports);
    for some in wanted.chunks(AT_ONCE) {
        let tried = some
            .iter()
            .map(|&port| try_port(SocketAddr::new(ip, port), limit));
        found.extend(join_all(tried.collect()).await);
    }
    found
}

async fn try_port(address: SocketAddr, limit: Duration) -> Port {
    let began = clock::now();
    let connected = timeout(limit, connect::connect(&Target::Ip(address), None)).await;
    let errno = match connected {
        Ok(Ok(_)) => None,
        Ok(Err(error)) => Some(error.errno),
        Err(_) => Some(libc::ETIMEDOUT),
    };
    Port {
        number: address.port(),
        took_us: clock::now().micros_since(began),
        errno,
    }
}

#[cfg(test)]
mod tests {
    use clearway_testkit::behave;
    use std::net::TcpListener;

    use super::*;
    use crate::testing::block_on;

    #[test]
    fn open_closed_and_silent_ports_are_told_apart() {
        let open = TcpListener::bind("127.0.0.1:0").unwrap();
        let (closed, _guard) = behave::closed_port();
        let (silent, _also) = behave::full_backlog();
        let port = |address: &str| address.parse::<SocketAddr>().unwrap().port();
        let open = open.local_addr().unwrap().port();
        let wanted = [port(&silent), open, port(&closed), open, open, open];
        let limit = Duration::from_millis(300);
        let ip = IpAddr::from([127, 0, 0, 1]);
        let found = block_on(async { ports(ip, &wanted, limit).await });
        assert_eq!(
            found.iter().map(|port| port.number).collect::<Vec<_>>(),
            wanted
        );
        let errnos: Vec<_> = found.iter().map(|port| port.errno).collect();
        let [silence, refused] = [libc::ETIMEDOUT, libc::ECONNREFUSED].map(Some);
        assert_eq!(errnos, [silence, None, refused, None, None, None]);
        assert!(found[0].took_us >= 300_000);
    }
}
