//! Sentences of NGINX's error log and the faults that they stand for.

use clearway_outcome::{FaultKind as K, Signal};

use super::*;
use crate::read::{Format, Reader, Zone, tests::told};

/// A line of a message, as NGINX writes it for a request to a server.
fn line(message: &str) -> String {
    format!(
        "2026/11/21 04:34:26 [error] 28310#28310: *2 {message}, client: 192.0.2.7, server: \
         www.example.org, request: \"GET /pay?card=4111 HTTP/1.1\", upstream: \
         \"http://10.0.0.2:8080/pay?card=4111\", host: \"shop.example.org\", referrer: \
         \"http://shop.example.org/?session=9\""
    )
}

fn kinds(message: &str) -> Vec<K> {
    let found = told(Format::NginxError, None, &line(message));
    let mut all = Vec::new();
    for one in &found {
        all.extend(one.kinds.iter().copied());
    }
    all
}

#[test]
fn fields_are_read_and_secrets_are_not() {
    let message = "connect() failed (111: Connection refused) while connecting to upstream";
    let found = told(Format::NginxError, None, &line(message));
    let [one] = &found[..] else {
        panic!("{found:?}")
    };
    assert_eq!(one.kinds, [K::ConnectRefused]);
    assert_eq!((one.errno, one.is_immediate), (111, Some(false)));
    assert_eq!(one.address, "10.0.0.2:8080");
    assert_eq!(one.client, "192.0.2.7");
    assert_eq!((one.method.as_str(), one.path.as_str()), ("GET", "/pay"));
    assert_eq!(one.host, "shop.example.org");
    assert_eq!(one.listener, "www.example.org");
    assert_eq!(one.at_us, Some(1_795_235_666_000_000));
    assert_eq!(one.words, message);
    assert!(!format!("{one:?}").contains("4111"), "{one:?}");
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn every_sentence_has_its_kinds() {
    for (message, expected) in [
        (
            "connect() to 10.0.0.2:80 failed (101: Network is unreachable) while connecting to upstream",
            &[K::ConnectUnreachable][..],
        ),
        (
            "connect() failed (113: No route to host) while connecting to upstream",
            &[K::ConnectUnreachable],
        ),
        (
            "connect() to 10.0.0.2:80 failed (13: Permission denied) while connecting to upstream",
            &[K::ConnectDenied],
        ),
        (
            "connect() to 10.0.0.2:80 failed (99: Cannot assign requested address) while connecting to upstream",
            &[K::OutOfPorts],
        ),
        (
            "connect() to unix:/run/a.sock failed (2: No such file or directory) while connecting to upstream",
            &[K::UnixMissing],
        ),
        (
            "connect() to unix:/run/a.sock failed (11: Resource temporarily unavailable) while connecting to upstream",
            &[K::UnixBacklogFull],
        ),
        (
            "upstream timed out (110: Connection timed out) while connecting to upstream",
            &[K::ConnectTimeout],
        ),
        (
            "upstream timed out (110: Connection timed out) while SSL handshaking to upstream",
            &[K::ServerTlsTimeout],
        ),
        (
            "upstream timed out (110: Connection timed out) while sending request to upstream",
            &[K::ServerWriteTimeout],
        ),
        (
            "upstream timed out (110: Connection timed out) while reading response header from upstream",
            &[K::ResponseTimeout, K::ResponseHeadStalled],
        ),
        (
            "upstream timed out (110: Connection timed out) while proxying upgraded connection",
            &[K::TunnelIdle],
        ),
        (
            "upstream prematurely closed connection while reading upstream",
            &[K::ResponseBodyShort],
        ),
        (
            "recv() failed (104: Connection reset by peer) while reading response header from upstream",
            &[
                K::ServerResetNoResponse,
                K::ReusedReset,
                K::ResponseHeadReset,
            ],
        ),
        (
            "recv() failed (104: Connection reset by peer) while reading upstream",
            &[K::ResponseBodyReset],
        ),
        (
            "recv() failed (104: Connection reset by peer) while proxying and reading from upstream",
            &[K::TunnelServerReset],
        ),
        (
            "sendfile() failed (32: Broken pipe) while sending request to upstream",
            &[K::ServerResetWhileSending, K::ServerClosedWhileSending],
        ),
        (
            "peer closed connection in SSL handshake while SSL handshaking to upstream",
            &[K::ServerTlsClosed],
        ),
        (
            "peer closed connection in SSL handshake (104: Connection reset by peer) while SSL handshaking to upstream",
            &[K::ServerTlsReset],
        ),
        (
            "SSL_do_handshake() failed (SSL: error:0A00010B:SSL routines::wrong version number) while SSL handshaking to upstream",
            &[K::ServerSpeaksPlain],
        ),
        (
            "upstream SSL certificate verify error: (10:certificate has expired) while SSL handshaking to upstream",
            &[K::ServerCertificateExpired],
        ),
        (
            "upstream SSL certificate verify error: (18:self-signed certificate) while SSL handshaking to upstream",
            &[K::ServerCertificateUntrusted],
        ),
        (
            "upstream SSL certificate does not match \"app.lab\" while SSL handshaking to upstream",
            &[K::ServerCertificateName],
        ),
        (
            "upstream sent too big header while reading response header from upstream",
            &[K::ResponseHeadersTooLarge, K::ResponseTooManyHeaders],
        ),
        (
            "upstream sent invalid chunked response while reading upstream",
            &[K::ResponseChunkInvalid],
        ),
        (
            "upstream sent too large http2 frame: 4740180 while reading response header from upstream",
            &[K::ServerSpeaksHttp1, K::ServerH2Protocol],
        ),
        (
            "no live upstreams while connecting to upstream",
            &[K::AllServersDown, K::NoServers],
        ),
        (
            "app.lab could not be resolved (3: Host not found)",
            &[K::NameUnresolved],
        ),
        (
            "app.lab could not be resolved (110: Operation timed out)",
            &[K::NameTimeout],
        ),
        (
            "client intended to send too large body: 2097152 bytes",
            &[K::BodyTooLarge],
        ),
        (
            "connect() failed (104: Connection reset by peer) while connecting to upstream",
            &[K::ConnectReset, K::ServerResetWhileSending],
        ),
        (
            "client closed connection while SSL handshaking",
            &[K::TlsHandshakeClosed],
        ),
        (
            "client timed out (110: Connection timed out) while reading client request headers",
            &[K::RequestHeadTimeout],
        ),
        (
            "epoll_wait() reported that client prematurely closed connection, so upstream connection is closed too while sending request to upstream",
            &[K::ClientClosed, K::ClientReset],
        ),
        (
            "SSL_do_handshake() failed (SSL: error:0A000102:SSL routines::unsupported protocol) while SSL handshaking",
            &[K::TlsVersionMismatch],
        ),
        (
            "client timed out (110: Connection timed out) while waiting for request",
            &[],
        ),
    ] {
        assert_eq!(kinds(message), expected, "{message}");
    }
}

#[test]
fn alerts_and_remarks_are_told() {
    let message = "SSL_do_handshake() failed (SSL: error:0A000410:SSL routines::sslv3 alert \
         handshake failure:SSL alert number 40) while SSL handshaking to upstream";
    let found = told(Format::NginxError, None, &line(message));
    assert_eq!(found[0].signal, Some(Signal::TlsAlert(40)));
    let message = "SSL_read() failed (SSL: error:0A00045C:SSL routines::tlsv13 alert certificate \
         required:SSL alert number 116) while reading response header from upstream";
    let found = told(Format::NginxError, None, &line(message));
    assert_eq!(found[0].kinds, [K::ServerWantsCertificate]);
    for (message, remark) in [
        (
            "limiting requests, excess: 0.5 by zone \"one\"",
            Remark::RateLimited,
        ),
        (
            "upstream server temporarily disabled while connecting to upstream",
            Remark::ServerDisabled,
        ),
        (
            "rewrite or internal redirection cycle while internally redirecting to \"/a\"",
            Remark::RewriteCycle,
        ),
        (
            "auth request unexpected status: 502 while sending to client",
            Remark::AuthRequestFailed,
        ),
        (
            "pwrite() \"/var/lib/nginx/1\" failed (28: No space left on device) while reading upstream",
            Remark::DiskFull,
        ),
        (
            "open() \"/var/lib/nginx/1\" failed (13: Permission denied) while reading upstream",
            Remark::TempFilesDenied,
        ),
        ("no resolver defined to resolve app.lab", Remark::NoResolver),
    ] {
        let found = told(Format::NginxError, None, &line(message));
        assert_eq!(found[0].remark, Some(remark), "{message}");
    }
    let alone = [
        (
            "2026/11/21 04:34:26 [alert] 7#7: worker process 9 exited on signal 11",
            Some(Remark::WorkerDied),
            vec![],
        ),
        (
            "2026/11/21 04:34:26 [alert] 9#9: 512 worker_connections are not enough",
            None,
            vec![K::ListenerFull],
        ),
        (
            "2026/11/21 04:34:26 [crit] 9#9: accept4() failed (24: Too many open files)",
            None,
            vec![K::OutOfFiles],
        ),
    ];
    for (line, remark, kinds) in alone {
        let found = told(Format::NginxError, None, line);
        assert_eq!(
            (found[0].remark, &found[0].kinds),
            (remark, &kinds),
            "{line}"
        );
    }
}

#[test]
fn groups_sockets_and_streams_are_told_apart() {
    for (upstream, address, backend) in [
        ("http://app/a", "", "app"),
        ("https://[::1]:443/a", "[::1]:443", ""),
        ("http://unix:/run/a.sock:/x", "unix:/run/a.sock", ""),
        ("fastcgi://unix:/run/php.sock:", "unix:/run/php.sock", ""),
        ("10.0.0.2:5432", "10.0.0.2:5432", ""),
    ] {
        let line = format!(
            "<187>Nov 21 04:34:26 host nginx: 2026/11/21 04:34:26 [error] 1#1: *2 connect() failed \
             (111: Connection refused) while connecting to upstream, client: 127.0.0.1, server: \
             0.0.0.0:80, upstream: \"{upstream}\", bytes from/to client:0/0, bytes from/to upstream:3/4"
        );
        let found = told(Format::NginxError, None, &line);
        assert_eq!(
            (found[0].address.as_str(), found[0].backend.as_str()),
            (address, backend)
        );
        assert_eq!(
            (found[0].bytes_received, found[0].bytes_sent),
            (Some(3), Some(4))
        );
    }
}

/// What a kind is called there is read back as that kind.
#[test]
fn the_phrases_of_the_kinds_are_understood() {
    // NGINX has no limit of a whole request: what its words mean is another one.
    let is_own = |kind: &&K| **kind != K::TotalTimeout;
    for kind in K::ALL
        .iter()
        .filter(|kind| kind.nginx().is_some())
        .filter(is_own)
    {
        let phrase = kind.nginx().unwrap();
        let message = phrase.replace("ADDR", "10.0.0.2:80");
        let found = kinds(&message);
        assert!(found.contains(kind), "{} {message}: {found:?}", kind.code());
    }
}

#[test]
fn what_is_not_known_is_counted() {
    let mut reader = Reader::new(Format::NginxError, Zone::default()).unwrap();
    let lines = "2026/11/21 04:34:26 [notice] 1#1: start worker processes\n\
         2026/11/21 04:34:26 [error] 1#1: *3 a sentence of tomorrow?x=1, client: 1.2.3.4\nnot a log\n";
    reader.feed("-", lines.as_bytes(), &mut |_| panic!("nothing to tell"));
    let stats = reader.stats();
    assert_eq!((stats.lines, stats.understood), (3, 1));
    let first = stats.first_unknown.as_ref().unwrap();
    assert_eq!(first.line, 2);
    assert!(
        first.text.contains("a sentence of tomorrow…"),
        "{}",
        first.text
    );
}

#[test]
fn more_of_what_goes_wrong_inside_is_understood() {
    let message = "open() \"/var/cache/x/0000000012\" failed (13: Permission denied)";
    let line =
        format!("2026/11/21 04:34:26 [crit] 1#1: *3 {message}, client: 192.0.2.7, server: x");
    let found = told(Format::NginxError, None, &line);
    assert_eq!(found[0].remark, Some(Remark::TempFilesDenied));
    // A page that may not be read is no temporary file.
    let line = line.replace("0000000012", "index.html");
    let mut reader = Reader::new(Format::NginxError, Zone::default()).unwrap();
    reader.feed("-", line.as_bytes(), &mut |_| panic!("nothing to tell"));
    assert_eq!(
        kinds("inflate() failed: 5, -3 while sending to client"),
        [K::ResponseCodingUnsupported]
    );
    let ended =
        "upstream prematurely closed connection while reading response header from upstream";
    let line = format!(
        "2026/11/21 04:34:26 [error] 1#1: *3 {ended}, client: 192.0.2.7, server: x, request: \"POST /a HTTP/2.0\", \
         upstream: \"grpc://10.0.0.2:80\", host: \"x\""
    );
    let found = told(Format::NginxError, None, &line);
    let on_http2 = [K::ServerClosedNoResponse, K::ReusedClosed, K::ServerGoaway];
    assert_eq!(found[0].kinds, on_http2);
}
