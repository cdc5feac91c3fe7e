//! Lines of HAProxy: which faults termination states and error numbers stand for, and what it says of servers.

use clearway_outcome::{FaultKind as K, Remark, Signal};

use crate::read::{Format, Reader, Zone, tests::told};

/// A line of `httplog`.
fn http(server: &str, times: &str, status: &str, state: &str) -> String {
    format!(
        "<134>Nov 21 07:30:00 lb haproxy[7]: ::1:4000 [21/Nov/2026:07:30:00.123] web~ app/{server} \
         {times} {status} 217 - - {state} 1/1/0/0/2 0/0 {{shop.example.org}} \"GET /pay?card=4111 HTTP/1.1\""
    )
}

#[test]
fn fields_are_read() {
    let found = told(
        Format::Haproxy,
        None,
        &http("s1", "5/1/-1/-1/9", "503", "SC--"),
    );
    let [one] = &found[..] else {
        panic!("{found:?}")
    };
    assert_eq!((one.backend.as_str(), one.server.as_str()), ("app", "s1"));
    assert_eq!((one.client.as_str(), one.listener.as_str()), ("::1", "web"));
    assert_eq!((one.method.as_str(), one.path.as_str()), ("GET", "/pay"));
    assert_eq!((one.status, one.elapsed_us), (503, Some(4_000)));
    assert_eq!((one.queued_us, one.connected_us), (Some(1_000), None));
    assert_eq!(one.attempt, (3, 3));
    assert_eq!(one.at_us, Some(1_795_246_200_132_000));
    assert_eq!(one.words, "SC-- app/s1 5/1/-1/-1/9 503");
    assert!(one.kinds.contains(&K::ConnectRefused) && one.kinds.contains(&K::ServerTlsAlert));
}

#[test]
fn states_have_their_kinds() {
    for (server, times, status, state, expected) in [
        (
            "<NOSRV>",
            "0/-1/-1/-1/0",
            "503",
            "SC--",
            &[
                K::AllServersDown,
                K::NoServers,
                K::NameUnresolved,
                K::NameTimeout,
            ][..],
        ),
        (
            "s1",
            "0/0/-1/-1/3000",
            "503",
            "sC--",
            &[
                K::ConnectTimeout,
                K::ServerTlsTimeout,
                K::ConnectUnreachable,
            ],
        ),
        (
            "<NOSRV>",
            "0/1000/-1/-1/1000",
            "503",
            "sQ--",
            &[K::QueueTimeout, K::QueueFull],
        ),
        (
            "s1",
            "0/0/1/5/9",
            "200",
            "SD--",
            &[
                K::ResponseBodyShort,
                K::ResponseBodyReset,
                K::ResponseChunkInvalid,
            ],
        ),
        ("s1", "0/0/1/5/9", "101", "sD--", &[K::TunnelIdle]),
        (
            "s1",
            "0/0/1/-1/9",
            "-1",
            "CH--",
            &[K::ClientClosed, K::ClientReset],
        ),
        ("<NOSRV>", "-1/-1/-1/-1/9", "403", "PR--", &[K::Denied]),
        ("s1", "0/0/1/-1/9", "500", "PH--", &[K::RewriteInvalid]),
    ] {
        let found = told(Format::Haproxy, None, &http(server, times, status, state));
        assert_eq!(found[0].kinds, expected, "{state} {status}");
    }
    let found = told(
        Format::Haproxy,
        None,
        &http("s1", "0/0/1/5/9", "200", "DD--"),
    );
    assert_eq!(found[0].remark, Some(Remark::EndedByBalancer));
    let found = told(
        Format::Haproxy,
        None,
        &http("s1", "0/0/1/5/9", "502", "----"),
    );
    assert_eq!((found[0].server_status, found[0].kinds.len()), (502, 0));
}

/// The letters of a kind are read back as that kind.
#[test]
fn the_letters_of_the_kinds_are_understood() {
    // Requests that cannot be parsed share their letters with too many others to name them all.
    let unclear = |kind: &K| kind.party() == clearway_outcome::Party::Client;
    for kind in K::ALL.iter().filter(|kind| !unclear(kind)) {
        let letters = String::from_utf8(kind.haproxy().to_vec()).unwrap();
        let lines = ["s1", "<NOSRV>"].map(|server| {
            let status = match kind.status() {
                0 if matches!(kind, K::TunnelIdle | K::TunnelServerReset) => "101".to_owned(),
                0 => "200".to_owned(),
                status => status.to_string(),
            };
            http(server, "0/0/0/-1/9", &status, &format!("{letters}--"))
        });
        let found: Vec<_> = lines
            .iter()
            .flat_map(|line| told(Format::Haproxy, None, line))
            .collect();
        // Letters that several phases share are only read by what HAProxy itself means by them.
        let own = [
            K::ProxyLoop,
            K::PatternSteps,
            K::TlsAlpnMismatch,
            K::ServerSpeaksPlain,
            K::OutOfFiles,
            K::UpgradeIgnored,
            K::ServerRefusesHttp2,
            K::ProbeStatus,
            K::ProbeBody,
            K::ResponseContentInvalid,
        ];
        let is_certificate = kind.haproxy() == *b"PC";
        let is_there = found.iter().any(|one| one.kinds.contains(kind));
        assert!(
            is_there || own.contains(kind) || is_certificate,
            "{} {letters}: {found:?}",
            kind.code()
        );
    }
}

#[test]
fn tcp_logs_and_custom_formats_are_read() {
    let line = "192.0.2.7:4000 [21/Nov/2026:07:30:00.123] db pg/s1 0/-1/5 0 SC 1/1/0/0/3 0/0";
    let found = told(Format::Haproxy, None, line);
    assert_eq!(
        (found[0].server.as_str(), found[0].elapsed_us),
        ("s1", Some(5_000))
    );
    let format = "%ci:%cp\\ [%tr] %b/%s %{+Q}r %ST %tsc %TR/%Tw/%Tc/%Tr/%Ta err=%[bc_err_name] tls=%[ssl_bc_err,hex] %si:%sp";
    for (err, tls, expected, signal) in [
        ("EREFUSED", "0", vec![K::ConnectRefused], None),
        ("FREE_PORTS", "0", vec![K::OutOfPorts], None),
        (
            "-",
            "0",
            vec![K::ConnectRefused, K::ConnectUnreachable, K::ConnectReset],
            None,
        ),
        (
            "SSL_HANDSHAKE",
            "0A000410",
            vec![K::ServerTlsAlert],
            Some(Signal::TlsAlert(40)),
        ),
        ("SSL_HANDSHAKE", "A00010B", vec![K::ServerSpeaksPlain], None),
        (
            "SSL_MISMATCH_SNI",
            "0",
            vec![K::ServerCertificateName],
            None,
        ),
    ] {
        let line = format!(
            "10.0.0.9:1 [21/Nov/2026:07:30:00.123] app/s1 \"GET /a?b HTTP/1.1\" 503 SC-- \
             0/0/-1/-1/0 err={err} tls={tls} 10.0.0.2:8080"
        );
        let found = told(Format::Haproxy, Some(format), &line);
        assert_eq!(
            (&found[0].kinds, found[0].signal),
            (&expected, signal),
            "{err}"
        );
        assert_eq!(found[0].address, "10.0.0.2:8080");
    }
}

#[test]
fn servers_and_connections_are_told_of() {
    let down = "<129>Nov 21 07:30:00 lb haproxy[7]: Server app/s1 is DOWN, reason: Layer4 connection \
         problem, info: \"Connection refused\", check duration: 3ms. 1 active and 0 backup servers left. \
         0 sessions active, 0 requeued, 0 remaining in queue.";
    let found = told(Format::Haproxy, None, down);
    assert_eq!(
        (found[0].backend.as_str(), found[0].server.as_str()),
        ("app", "s1")
    );
    assert_eq!(
        (&found[0].kinds, found[0].errno),
        (&vec![K::ConnectRefused], 111)
    );
    assert_eq!(
        (found[0].remark, found[0].elapsed_us),
        (Some(Remark::ServerDown), Some(3_000))
    );
    for (line, remark, kinds) in [
        (
            "Server app/s1 is DOWN, reason: Layer7 wrong status, code: 404, check duration: 1ms.",
            Remark::ServerDown,
            vec![K::ProbeStatus],
        ),
        (
            "Server app/s1 is DOWN, reason: Layer6 invalid response, info: \"SSL handshake failure (certificate has expired)\", check duration: 1ms.",
            Remark::ServerDown,
            vec![K::ServerCertificateExpired],
        ),
        (
            "[WARNING]  (7) : Server app/s1 is UP, reason: Layer4 check passed, check duration: 0ms.",
            Remark::ServerUp,
            vec![],
        ),
        (
            "[ALERT]    (7) : backend 'app' has no server available!",
            Remark::BackendEmpty,
            vec![K::AllServersDown],
        ),
        (
            "backend app has no server available!",
            Remark::BackendEmpty,
            vec![K::AllServersDown],
        ),
    ] {
        let found = told(Format::Haproxy, None, line);
        assert_eq!(
            (found[0].remark, &found[0].kinds),
            (Some(remark), &kinds),
            "{line}"
        );
        assert_eq!(found[0].backend, "app");
    }
    let line = "192.0.2.7:4000 [21/Nov/2026:07:30:00.123] web/1: SSL handshake failure (error:0A0000C1:SSL routines::no shared cipher)";
    let found = told(Format::Haproxy, None, line);
    assert_eq!(
        (found[0].client.as_str(), &found[0].kinds),
        ("192.0.2.7", &vec![K::TlsCipherMismatch])
    );
}

/// What went well at the second try tells of the first.
#[test]
fn saved_requests_are_told() {
    let line = http("s1", "0/0/1/12/13", "200", "----");
    let found = told(Format::Haproxy, None, &line);
    let [one] = &found[..] else {
        panic!("{found:?}")
    };
    assert_eq!(
        (one.server.as_str(), one.saved, one.attempt),
        ("s1", true, (2, 3))
    );
    assert!(one.kinds.contains(&K::ConnectRefused), "{one:?}");
    // Another server saved it: which one had failed is not told.
    let found = told(Format::Haproxy, None, &line.replace("/2 0/0", "/+2 0/0"));
    assert_eq!(
        (found[0].backend.as_str(), found[0].server.as_str()),
        ("app", "")
    );
}

/// What the system said of a connection has a line of its own.
#[test]
fn connections_that_the_system_refuses_are_told() {
    for (reason, kind) in [
        ("no free ports.", K::OutOfPorts),
        (
            "can't connect to destination unix socket, check backlog size on the server.",
            K::UnixBacklogFull,
        ),
    ] {
        let found = told(
            Format::Haproxy,
            None,
            &format!("Connect() failed for backend app: {reason}"),
        );
        assert_eq!(
            (found[0].backend.as_str(), &found[0].kinds),
            ("app", &vec![kind])
        );
    }
    let line = "[ALERT]    (27) : config : [/etc/haproxy/haproxy.cfg:20] : 'server app/s1' : could not resolve address 'app.invalid'.";
    let found = told(Format::Haproxy, None, line);
    assert_eq!(
        (found[0].remark, found[0].server.as_str()),
        (Some(Remark::NameUnknownAtStart), "s1")
    );
    let line = "Server app/s1 is going DOWN for maintenance (DNS timeout status). 0 active and 0 backup servers left.";
    let found = told(Format::Haproxy, None, line);
    assert_eq!(
        (found[0].remark, &found[0].kinds),
        (Some(Remark::ServerDown), &vec![K::NameTimeout])
    );
    let line = "Server app/s1 is DOWN, reason: Health analyze, info: \"Detected 1 consecutive errors, last one was: Wrong http response\". 1 active";
    let found = told(Format::Haproxy, None, line);
    assert_eq!(found[0].remark, Some(Remark::ServerDisabled));
}

#[test]
fn successes_are_counted() {
    let mut reader = Reader::new(Format::Haproxy, Zone::default()).unwrap();
    for _ in 0..3 {
        let line = http("s1", "0/0/1/12/13", "200", "----").replace("/2 0/0", "/0 0/0") + "\n";
        reader.feed("-", line.as_bytes(), &mut |_| panic!("nothing to tell"));
    }
    let tally = reader.stats().server("app", "s1").unwrap();
    assert_eq!((tally.successes, tally.max_us), (3, 12_000));
    let statuses: Vec<_> = reader.stats().by_status().collect();
    assert_eq!(statuses, [(200, 3)]);
}
