//! Failures that look alike to whoever was refused or left waiting, and what tells them apart.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

use std::io::Read;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use clearway_net::connect::Target;
use clearway_net::host::{self, IcmpEar, Owners};
use clearway_net::probe::diagnose::{Aim, Request, RequestSettings, ports, request, silent};
use clearway_outcome::{Ending, FaultKind, HostCounters, Neighbour, Route};
use clearway_testkit::{Conn, Server, behave, netns, wait};

const LONG: Duration = Duration::from_secs(8);
/// Longer than the kernel waits before it sends a SYN again, which is a second.
const ONE_RETRY: Duration = Duration::from_millis(1_300);
const LOCALHOST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap().block_on(future)
}

fn inside(test: &str, body: impl FnOnce()) {
    netns::run_in_new(test, || {
        netns::filter_table();
        body();
    });
}

/// Connects and says nothing; the fault, and what the counters say of it.
fn connecting(to: SocketAddr, limit: Duration) -> (Option<FaultKind>, HostCounters) {
    let before = host::counters().unwrap();
    let seen = block_on(silent(&Aim::at(Target::Ip(to), limit)));
    let added = host::counters().unwrap().since(&before);
    (seen.attempt.fault.map(|fault| fault.kind), added)
}

#[test]
fn silence_has_three_sources() {
    inside("silence_has_three_sources", || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let open = listener.local_addr().unwrap();

        // A filter at the server drops: other ports answer, and nothing else happens.
        netns::nft("add rule inet test input tcp dport 81 drop");
        let (fault, added) = connecting(SocketAddr::new(LOCALHOST, 81), ONE_RETRY);
        assert_eq!(fault, Some(FaultKind::ConnectTimeout));
        assert!(added.syn_retrans >= 1, "{added:?}");
        assert_eq!((added.retrans_fail, added.listen_overflows), (0, 0));
        let seen = block_on(ports(LOCALHOST, &[81, open.port(), 82], ONE_RETRY));
        let errnos: Vec<_> = seen.iter().map(|port| port.errno).collect();
        let [silence, refused] = [libc::ETIMEDOUT, libc::ECONNREFUSED].map(Some);
        assert_eq!(errnos, [silence, None, refused]);

        // A filter on this host drops on the way out: its own stack is told.
        netns::nft("add rule inet test output tcp dport 83 drop");
        let (fault, added) = connecting(SocketAddr::new(LOCALHOST, 83), ONE_RETRY);
        assert!(fault.is_some(), "{fault:?}");
        assert!(added.retrans_fail >= 1, "{added:?}");

        // The way back drops: the server has the connection half open.
        netns::nft("add rule inet test input tcp sport 84 drop");
        let half = TcpListener::bind("127.0.0.1:84").unwrap();
        let (fault, _) = connecting(half.local_addr().unwrap(), ONE_RETRY);
        assert_eq!(fault, Some(FaultKind::ConnectTimeout));
        let there = host::sockets_at(half.local_addr().unwrap()).unwrap();
        assert_eq!(there.in_state(3), 1, "SYN-RECV: {there:?}");
    });
}

#[test]
fn a_full_queue_shows_at_the_listener() {
    inside("a_full_queue_shows_at_the_listener", || {
        let (address, _guard) = behave::full_backlog();
        let address: SocketAddr = address.parse().unwrap();
        let (fault, added) = connecting(address, ONE_RETRY);
        assert_eq!(fault, Some(FaultKind::ConnectTimeout));
        assert!(added.listen_overflows >= 1, "{added:?}");
        let all = host::listeners(Owners::Find).unwrap();
        let listener = all.iter().find(|found| found.takes(address)).unwrap();
        assert!(listener.is_full(), "{listener:?}");
        assert_eq!(listener.pid, Some(std::process::id()));
    });
}

#[test]
fn a_refusal_has_three_sources() {
    inside("a_refusal_has_three_sources", || {
        netns::nft("add rule inet test input tcp dport 81 reject with icmp port-unreachable");
        netns::nft("add rule inet test output tcp dport 82 reject with icmp port-unreachable");
        for (port, is_icmp) in [(81, true), (82, true), (83, false)] {
            let to = SocketAddr::new(LOCALHOST, port);
            let (heard, fault, added) = block_on(async {
                let ear = IcmpEar::open().unwrap();
                let before = host::counters().unwrap();
                let seen = silent(&Aim::at(Target::Ip(to), LONG)).await;
                let limit = Duration::from_millis(if is_icmp { 5_000 } else { 50 });
                let heard = ear.hear(to, limit).await.unwrap();
                let added = host::counters().unwrap().since(&before);
                (heard, seen.attempt.fault.unwrap().kind, added)
            });
            assert_eq!(fault, FaultKind::ConnectRefused);
            assert_eq!(heard.is_some(), is_icmp, "{port}: {heard:?}");
            assert_eq!(added.out_rsts > 0, !is_icmp, "{port}: {added:?}");
            assert_eq!(added.icmp_in_unreachable > 0, is_icmp);
        }
    });
}

#[test]
fn an_unreachable_host_is_told_from_a_route_that_refuses() {
    let name = "an_unreachable_host_is_told_from_a_route_that_refuses";
    inside(name, || {
        netns::ip("link add left type veth peer name right");
        netns::ip("addr add 192.0.2.1/24 dev left");
        netns::ip("link set left up");
        netns::ip("link set right up");
        let ip = |text: &str| -> IpAddr { text.parse().unwrap() };
        let (fault, _) = connecting(SocketAddr::new(ip("192.0.2.9"), 80), LONG);
        assert_eq!(fault, Some(FaultKind::ConnectUnreachable), "nobody answers");
        assert_eq!(host::neighbour(ip("192.0.2.9")).unwrap(), Neighbour::Failed);
        assert!(matches!(
            host::route(ip("192.0.2.9")),
            Ok(Route::Via { .. })
        ));
        for (kind, expected) in [
            ("prohibit", FaultKind::ConnectDenied),
            ("unreachable", FaultKind::ConnectUnreachable),
            ("blackhole", FaultKind::ConnectFailed),
        ] {
            netns::ip(&format!("route add {kind} 198.51.100.0/24"));
            let to = ip("198.51.100.1");
            let (fault, _) = connecting(SocketAddr::new(to, 80), LONG);
            assert_eq!(fault, Some(expected));
            assert_eq!(host::route(to).unwrap(), Route::Refused { kind });
            netns::ip(&format!("route del {kind} 198.51.100.0/24"));
        }
        let (fault, added) = connecting(SocketAddr::new(ip("203.0.113.1"), 80), LONG);
        assert_eq!(fault, Some(FaultKind::ConnectUnreachable));
        assert_eq!(host::route(ip("203.0.113.1")).unwrap(), Route::Missing);
        assert!(added.out_no_routes >= 1, "{added:?}");
    });
}

#[test]
fn large_requests_that_vanish_are_told_from_a_slow_server() {
    let name = "large_requests_that_vanish_are_told_from_a_slow_server";
    inside(name, || {
        let server = Server::script(behave::ok("x"));
        let address: SocketAddr = server.address().parse().unwrap();
        let port = address.port();
        netns::nft(&format!(
            "add rule inet test input tcp dport {port} meta length > 1200 drop"
        ));
        let padded = |padding| {
            let settings = RequestSettings {
                padding,
                ..RequestSettings::default()
            };
            let get = Request::new(settings).unwrap();
            let aim = Aim::at(Target::Ip(address), Duration::from_millis(700));
            block_on(async { request(&aim, &get).await })
        };
        assert_eq!(padded(0).attempt.fault, None);
        let large = padded(6_000);
        let fault = large.attempt.fault.unwrap();
        assert_eq!(fault.kind, FaultKind::ResponseTimeout);
        let tcp = large.attempt.evidence.unwrap().tcp.unwrap();
        assert!(tcp.unacked > 0 && tcp.unacked_bytes > 6_000, "{tcp:?}");
        assert!(tcp.retransmits > 0, "{tcp:?}");
    });
}

#[test]
fn large_answers_that_vanish_are_told_from_a_slow_server() {
    let name = "large_answers_that_vanish_are_told_from_a_slow_server";
    inside(name, || {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 3001\r\n\r\n";
        let server = Server::script(move |mut conn: Conn| {
            conn.request();
            // Two segments, of which the small one comes through.
            conn.send(format!("{head}{}", "x".repeat(3_000)));
            conn.send("y");
            conn.drain();
        });
        let address: SocketAddr = server.address().parse().unwrap();
        let port = address.port();
        netns::nft(&format!(
            "add rule inet test input tcp sport {port} meta length > 1200 drop"
        ));
        let get = Request::new(RequestSettings::default()).unwrap();
        let aim = Aim::at(Target::Ip(address), Duration::from_millis(1_500));
        let seen = block_on(async { request(&aim, &get).await });
        assert_eq!(seen.attempt.fault.unwrap().kind, FaultKind::ResponseTimeout);
        let tcp = seen.attempt.evidence.unwrap().tcp.unwrap();
        assert_eq!(tcp.unacked, 0, "the request was delivered");
        assert!(
            seen.path.unwrap().out_of_order > Some(0),
            "{seen:?}",
            seen = seen.path
        );
    });
}

#[test]
fn a_forwarder_is_told_from_a_crash() {
    let forwarder = Server::script(behave::close_on_accept());
    let crasher = Server::script(behave::close_after_request());
    let look = |server: &Server, limit| {
        let target = Target::Ip(server.address().parse().unwrap());
        block_on(silent(&Aim::at(target, limit))).ending
    };
    assert_eq!(look(&forwarder, LONG), Ending::Fin);
    let short = Duration::from_millis(200);
    assert_eq!(look(&crasher, short), Ending::Open);
}

#[test]
fn a_connection_that_nobody_closes_shows() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let client = TcpStream::connect(address).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    drop(client);
    assert_eq!(server.read(&mut [0; 1]).unwrap(), 0);
    let close_wait = || {
        let sockets = host::sockets_at(address).unwrap();
        (sockets.in_state(8) == 1).then_some(())
    };
    wait::until("the server's end is in CLOSE-WAIT", close_wait);
}
