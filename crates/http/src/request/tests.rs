//! Requests that are taken apart rightly, and those that are refused.

use super::*;

fn parse(text: &[u8]) -> Result<Progress, FaultKind> {
    RequestHead::default().parse(text, &HeadLimits::default())
}

#[test]
fn connection_options_are_bounded_in_all_fields_together() {
    let head = |fields: usize, options: usize| {
        let line = format!("Connection: {}\r\n", vec!["x"; options].join(", "));
        format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", line.repeat(fields))
    };
    assert_eq!(parse(head(4, 16).as_bytes()), Ok(Progress::Complete));
    for (fields, options) in [(1, 65), (5, 13)] {
        let refused = parse(head(fields, options).as_bytes());
        assert_eq!(refused, Err(FaultKind::HeaderValueInvalid));
    }
}

#[expect(clippy::too_many_lines, reason = "a table")]
#[test]
fn attempts_to_smuggle_or_split_are_refused_each_as_its_own_kind() {
    use FaultKind as K;
    let line = "GET / HTTP/1.1\r\nHost: a\r\n";
    let cases: &[(String, FaultKind)] = &[
        (
            "GET  / HTTP/1.1\r\nHost: a\r\n\r\n".into(),
            K::RequestLineInvalid,
        ),
        ("GET /\r\nHost: a\r\n\r\n".into(), K::RequestLineInvalid),
        (
            "GET / HTTP/1.1 \r\nHost: a\r\n\r\n".into(),
            K::RequestLineInvalid,
        ),
        (
            " GET / HTTP/1.1\r\nHost: a\r\n\r\n".into(),
            K::RequestLineInvalid,
        ),
        ("G@T / HTTP/1.1\r\nHost: a\r\n\r\n".into(), K::MethodInvalid),
        (
            "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n".into(),
            K::TargetInvalid,
        ),
        (
            "GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n".into(),
            K::TargetInvalid,
        ),
        ("GET a HTTP/1.1\r\nHost: a\r\n\r\n".into(), K::TargetInvalid),
        (
            "GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n".into(),
            K::TargetInvalid,
        ),
        ("GET * HTTP/1.1\r\nHost: a\r\n\r\n".into(), K::TargetInvalid),
        (
            "GET / HTTP/2.0\r\nHost: a\r\n\r\n".into(),
            K::VersionUnsupported,
        ),
        (
            "GET / HTTP/1.2\r\nHost: a\r\n\r\n".into(),
            K::VersionUnsupported,
        ),
        (
            "GET / http/1.1\r\nHost: a\r\n\r\n".into(),
            K::RequestLineInvalid,
        ),
        ("GET / HTTP/1.1\nHost: a\r\n\r\n".into(), K::BareLf),
        ("GET /\rx HTTP/1.1\r\nHost: a\r\n\r\n".into(), K::BareCr),
        ("GET / HTTP/1.1\r\nHost: a\n\r\n".into(), K::BareLf),
        ("GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n".into(), K::BareCr),
        (format!("{line}X: a\0b\r\n\r\n"), K::HeaderValueInvalid),
        (format!("{line}X: a\x7f\r\n\r\n"), K::HeaderValueInvalid),
        (format!("{line}X : a\r\n\r\n"), K::HeaderSpaceBeforeColon),
        (format!("{line}X\t: a\r\n\r\n"), K::HeaderSpaceBeforeColon),
        (format!("{line}X Y: a\r\n\r\n"), K::HeaderNameInvalid),
        (format!("{line}: a\r\n\r\n"), K::HeaderNameInvalid),
        (format!("{line}X\0: a\r\n\r\n"), K::HeaderNameInvalid),
        (format!("{line}X\r\n\r\n"), K::HeaderNameInvalid),
        (format!("{line}X: a\r\n b\r\n\r\n"), K::HeaderFolded),
        (format!("{line}X: a\r\n\tb\r\n\r\n"), K::HeaderFolded),
        ("GET / HTTP/1.1\r\n\r\n".into(), K::HostMissing),
        (format!("{line}Host: a\r\n\r\n"), K::HostDuplicated),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n".into(), K::HostInvalid),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n".into(), K::HostInvalid),
        (
            "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n".into(),
            K::HostMismatch,
        ),
        (
            format!("{line}Content-Length: 1\r\nContent-Length: 1\r\n\r\n"),
            K::ContentLengthDuplicated,
        ),
        (
            format!("{line}Content-Length: 1, 1\r\n\r\n"),
            K::ContentLengthInvalid,
        ),
        (
            format!("{line}Content-Length: +1\r\n\r\n"),
            K::ContentLengthInvalid,
        ),
        (
            format!("{line}Content-Length: -1\r\n\r\n"),
            K::ContentLengthInvalid,
        ),
        (
            format!("{line}Content-Length: 0x1\r\n\r\n"),
            K::ContentLengthInvalid,
        ),
        (
            format!("{line}Content-Length: \r\n\r\n"),
            K::ContentLengthInvalid,
        ),
        (
            format!("{line}Content-Length: 99999999999999999999\r\n\r\n"),
            K::ContentLengthInvalid,
        ),
        (
            format!("{line}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"),
            K::ContentLengthWithTransferEncoding,
        ),
        (
            format!("{line}Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n"),
            K::ContentLengthWithTransferEncoding,
        ),
        (
            format!("{line}Transfer-Encoding: gzip, chunked\r\n\r\n"),
            K::TransferEncodingUnsupported,
        ),
        (
            format!("{line}Transfer-Encoding: identity\r\n\r\n"),
            K::TransferEncodingUnsupported,
        ),
        (
            format!("{line}Transfer-Encoding: xchunked\r\n\r\n"),
            K::TransferEncodingUnsupported,
        ),
        (
            format!("{line}Transfer-Encoding: chunked, identity\r\n\r\n"),
            K::TransferEncodingInvalid,
        ),
        (
            format!("{line}Transfer-Encoding: chunked, chunked\r\n\r\n"),
            K::TransferEncodingInvalid,
        ),
        (
            format!("{line}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
            K::TransferEncodingInvalid,
        ),
        (
            format!("{line}Transfer-Encoding: \r\n\r\n"),
            K::TransferEncodingInvalid,
        ),
        (
            format!("{line}Transfer-Encoding: \x0bchunked\r\n\r\n"),
            K::HeaderValueInvalid,
        ),
        (
            "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n".into(),
            K::TransferEncodingInHttp10,
        ),
        (
            format!("{line}Expect: something\r\n\r\n"),
            K::ExpectationUnsupported,
        ),
        (
            "CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n".into(),
            K::ConnectMethodRefused,
        ),
        (
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(),
            K::Http2OnHttp1Port,
        ),
    ];
    for (text, kind) in cases {
        assert_eq!(parse(text.as_bytes()), Err(*kind), "{text:?}");
    }
    assert_eq!(
        parse(&[0x16, 0x03, 0x01, 0x02, 0x00]),
        Err(K::TlsOnPlainPort)
    );
}

#[test]
fn limits_hold_while_the_head_is_still_coming() {
    let limits = HeadLimits {
        line: 64,
        bytes: 256,
        count: 3,
        ..HeadLimits::default()
    };
    let check = |text: &str| RequestHead::default().parse(text.as_bytes(), &limits);
    assert_eq!(
        check(&format!("GET /{}", "a".repeat(64))),
        Err(FaultKind::RequestLineTooLong)
    );
    let head = "GET / HTTP/1.1\r\nHost: a\r\n";
    assert_eq!(
        check(&format!("{head}X: {}", "b".repeat(256))),
        Err(FaultKind::HeadersTooLarge)
    );
    let many = format!("{head}A: 1\r\nB: 2\r\nC: 3\r\n");
    assert_eq!(check(&many), Err(FaultKind::TooManyHeaders));
    assert_eq!(check(head), Ok(Progress::Partial));
}

#[test]
fn a_head_parses_alike_in_whole_and_in_pieces() {
    let text = b"\r\nPOST http://Example.org:80/a/b?x=1&y HTTP/1.1\r\nHost: example.org\r\n\
        Connection: keep-alive, X-Own\r\nX-Own: 1\r\nContent-Length:  12 \r\nCookie: a=1; sid=2\r\n\
        Expect: 100-continue\r\n\r\nbody";
    let mut whole = RequestHead::default();
    assert_eq!(
        whole.parse(text, &HeadLimits::default()),
        Ok(Progress::Complete)
    );
    assert_eq!(whole.len, text.len() - 4);
    assert_eq!(whole.framing, Framing::Length(12));
    assert_eq!(whole.path.of(text), b"/a/b");
    assert_eq!(whole.query.of(text), b"x=1&y");
    assert_eq!(whole.host.of(text), b"Example.org:80");
    assert_eq!(whole.cookie(b"sid", text), Some(&b"2"[..]));
    assert!(whole.keep_alive && whole.expect_continue && !whole.upgrade);
    let own = whole
        .fields
        .iter()
        .find(|f| f.name.of(text) == b"X-Own")
        .unwrap();
    assert!(own.hop);
    for cut in 0..whole.len {
        let mut head = RequestHead::default();
        assert_eq!(
            head.parse(&text[..cut], &HeadLimits::default()),
            Ok(Progress::Partial),
            "{cut}"
        );
        assert_eq!(
            head.parse(text, &HeadLimits::default()),
            Ok(Progress::Complete)
        );
        assert_eq!(
            (head.fields.len(), head.len),
            (whole.fields.len(), whole.len)
        );
        assert_eq!(head.framing, whole.framing);
    }
}

#[test]
fn keep_alive_follows_version_and_connection() {
    let keeps = |text: &str| {
        let mut head = RequestHead::default();
        head.parse(text.as_bytes(), &HeadLimits::default()).unwrap();
        head.keep_alive
    };
    assert!(keeps("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert!(!keeps(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    ));
    assert!(!keeps("GET / HTTP/1.0\r\n\r\n"));
    assert!(keeps("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"));
    assert!(!keeps(
        "GET / HTTP/1.0\r\nConnection: close\r\nConnection: keep-alive\r\n\r\n"
    ));
}

#[test]
fn a_websocket_is_a_get_that_offers_nothing_else() {
    for (method, fields, expected) in [
        ("GET", "Connection: upgrade\r\nUpgrade: WebSocket\r\n", true),
        (
            "GET",
            "Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n",
            true,
        ),
        ("GET", "Upgrade: websocket\r\n", false),
        ("GET", "Connection: upgrade\r\n", false),
        ("GET", "Connection: upgrade\r\nUpgrade: h2c\r\n", false),
        (
            "GET",
            "Connection: upgrade\r\nUpgrade: websocket, h2c\r\n",
            false,
        ),
        (
            "GET",
            "Connection: upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n",
            false,
        ),
        (
            "GET",
            "Connection: upgrade\r\nUpgrade: websocket/13\r\n",
            false,
        ),
        (
            "GET",
            "Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 1\r\n",
            false,
        ),
        (
            "POST",
            "Connection: upgrade\r\nUpgrade: websocket\r\n",
            false,
        ),
    ] {
        let text = format!("{method} / HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n");
        let mut head = RequestHead::default();
        let parsed = head.parse(text.as_bytes(), &HeadLimits::default());
        assert_eq!(parsed, Ok(Progress::Complete), "{text}");
        assert_eq!(head.opens_websocket(text.as_bytes()), expected, "{text}");
    }
}
