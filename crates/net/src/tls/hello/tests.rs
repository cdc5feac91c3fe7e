//! Hellos of a real client, whole and broken.

use std::sync::{Arc, OnceLock};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::*;

/// What rustls sends first.
fn client_hello(
    name: &str,
    alpn: &[&str],
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut bytes = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut bytes).unwrap();
    }
    bytes
}

fn complete(bytes: &[u8]) -> Hello {
    match parse(bytes, HELLO_MAX) {
        Ok(Progress::Complete(hello)) => *hello,
        other => panic!("{other:?} of {}", bytes.escape_ascii()),
    }
}

fn refused(bytes: &[u8]) -> Refused {
    match parse(bytes, HELLO_MAX) {
        Err(refused) => refused,
        other => panic!("{other:?} of {}", bytes.escape_ascii()),
    }
}

/// One hello, always the same.
fn real() -> &'static [u8] {
    static REAL: OnceLock<Vec<u8>> = OnceLock::new();
    REAL.get_or_init(|| client_hello("API.example.org", &["h2", "http/1.1"], rustls::ALL_VERSIONS))
}

/// A message in records with at most so many bytes each.
fn in_records(message: &[u8], len: usize) -> Vec<u8> {
    let records = message.chunks(len).map(|fragment| {
        let [high, low] = u16::try_from(fragment.len()).unwrap().to_be_bytes();
        [&[HANDSHAKE, 3, 1, high, low], fragment].concat()
    });
    records.collect::<Vec<_>>().concat()
}

fn vector8(bytes: &[u8]) -> Vec<u8> {
    [&[u8::try_from(bytes.len()).unwrap()], bytes].concat()
}

fn vector16(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

/// A hello of our own making, part by part.
struct Made {
    version: [u8; 2],
    session: Vec<u8>,
    suites: Vec<u8>,
    compression: Vec<u8>,
    /// `None`: without the field.
    extensions: Option<Vec<(u16, Vec<u8>)>>,
}

impl Default for Made {
    fn default() -> Self {
        Self {
            version: [3, 3],
            session: vec![7; 32],
            suites: vec![0x1a, 0x1a, 0x13, 0x01, 0xc0, 0x2f],
            compression: vec![0],
            extensions: Some(Vec::new()),
        }
    }
}

impl Made {
    fn with(extensions: &[(u16, &[u8])]) -> Self {
        let extensions = extensions.iter().map(|&(kind, data)| (kind, data.to_vec()));
        Self {
            extensions: Some(extensions.collect()),
            ..Self::default()
        }
    }

    fn message(&self) -> Vec<u8> {
        let mut body = [&self.version[..], &[9; 32]].concat();
        body.extend(vector8(&self.session));
        body.extend(vector16(&self.suites));
        body.extend(vector8(&self.compression));
        if let Some(extensions) = &self.extensions {
            let all = extensions
                .iter()
                .map(|(kind, data)| [&kind.to_be_bytes()[..], &vector16(data)].concat());
            body.extend(vector16(&all.collect::<Vec<_>>().concat()));
        }
        let [_, len @ ..] = u32::try_from(body.len()).unwrap().to_be_bytes();
        [&[CLIENT_HELLO], &len[..], &body].concat()
    }

    fn bytes(&self) -> Vec<u8> {
        in_records(&self.message(), FRAGMENT_MAX)
    }
}

/// A hello that asks for a name.
fn named(name: &[u8]) -> Vec<u8> {
    let list = vector16(&[&[0], &vector16(name)[..]].concat());
    Made::with(&[(0, &list)]).bytes()
}

#[test]
fn a_real_hello_tells_what_is_offered() {
    let hello = complete(real());
    assert_eq!(hello.server_name.as_deref(), Some("api.example.org"));
    let alpn: Vec<&[u8]> = hello.alpn().collect();
    assert_eq!(alpn, [&b"h2"[..], b"http/1.1"]);
    assert_eq!(hello.versions, [0x0304, 0x0303]);
    assert!(hello.is_tls13_offered());
    assert_eq!(hello.len, real().len());
    assert!(hello.cipher_suites.contains(&0x1301) && hello.cipher_suites.contains(&0xc02f));
    // X25519MLKEM768, for which a hello is larger than a packet.
    assert_eq!(hello.groups.first(), Some(&0x11ec));
    assert!(real().len() > 1_200 && hello.groups.contains(&0x001d));
    assert!(hello.signature_schemes.contains(&0x0403));
    assert_eq!(
        hello.to_string(),
        "TLSv1.3 and TLSv1.2 for api.example.org, ALPN h2 and http/1.1"
    );
}

#[test]
fn hellos_without_name_protocols_or_tls_13_are_read() {
    let hello = complete(&client_hello("192.0.2.7", &[], &[&rustls::version::TLS12]));
    assert_eq!(
        (hello.server_name.as_deref(), hello.alpn().count()),
        (None, 0)
    );
    assert_eq!(hello.versions, [0x0303]);
    assert!(!hello.is_tls13_offered());
    assert_eq!(hello.to_string(), "TLSv1.2 without a server name");

    let old = Made {
        version: [3, 1],
        extensions: None,
        ..Made::default()
    };
    let hello = complete(&old.bytes());
    assert_eq!(hello.versions, [0x0301]);
    assert_eq!(hello.cipher_suites, [0x1301, 0xc02f]);

    // Without the extension there is no TLS 1.3, whatever the old field says.
    let high = Made {
        version: [3, 4],
        ..Made::default()
    };
    assert_eq!(complete(&high.bytes()).versions, [0x0303]);
}

#[test]
fn grease_is_left_out() {
    let versions = vector8(&[0x3a, 0x3a, 3, 4, 3, 3]);
    let protocols = vector16(&[&vector8(b"\xca\xca")[..], &vector8(b"h2")].concat());
    let groups = vector16(&[0x4a, 0x4a, 0, 0x1d]);
    let hello = Made::with(&[
        (0x5a5a, b""),
        (43, &versions),
        (10, &groups),
        (16, &protocols),
        (0x6a6a, b"\0"),
    ]);
    let hello = complete(&hello.bytes());
    assert_eq!(hello.versions, [0x0304, 0x0303]);
    assert_eq!(hello.cipher_suites, [0x1301, 0xc02f]);
    assert_eq!(hello.groups, [0x001d]);
    assert_eq!(hello.alpn().collect::<Vec<_>>(), [b"h2"]);
}

#[test]
fn names_are_made_comparable_or_refused() {
    for (name, read) in [
        (&b"Example.ORG"[..], Some("example.org")),
        (b"example.org.", Some("example.org")),
        (b"a_b.example.org", Some("a_b.example.org")),
        (b"xn--bcher-kva.example", Some("xn--bcher-kva.example")),
        (b"localhost", Some("localhost")),
        (b"192.0.2.7", None),
        (b"2001:db8::7", None),
    ] {
        assert_eq!(complete(&named(name)).server_name.as_deref(), read);
    }
    let long = format!("{}.example", "n".repeat(64));
    let longer = "n.".repeat(130);
    for name in [
        &b"a b"[..],
        b"a..b",
        b".",
        b".a",
        b"a/b",
        b"a\0.example.org",
        b"b\xfccher.example",
        "bücher.example".as_bytes(),
        b"-a.example",
        b"a.example:443",
        b"*.example.org",
        b"300.1.2.3",
        long.as_bytes(),
        longer.as_bytes(),
    ] {
        let refused = refused(&named(name));
        assert_eq!(refused.kind, FaultKind::TlsClientProtocol);
        assert!(
            refused.why.contains("not a DNS name"),
            "{}",
            name.escape_ascii()
        );
    }
    assert!(refused(&named(b"")).why.contains("not a DNS name"));
}

/// An extension with two names of one kind, one with a name of an unknown kind besides.
#[test]
fn names_of_other_kinds_are_passed_over_and_two_of_one_refused() {
    let name = [&[0], &vector16(b"a.example")[..]].concat();
    let other = [&[9], &vector16(b"\xff")[..]].concat();
    let list = |parts: &[&[u8]]| Made::with(&[(0, &vector16(&parts.concat()))]).bytes();
    let hello = complete(&list(&[&other, &name]));
    assert_eq!(hello.server_name.as_deref(), Some("a.example"));
    assert!(
        refused(&list(&[&name, &name]))
            .why
            .contains("more than one")
    );
    assert!(refused(&list(&[])).why.contains("server_name"));
    assert!(refused(&list(&[&name[..5]])).why.contains("server_name"));
}

#[test]
fn what_is_malformed_is_refused_with_words() {
    let made = |change: fn(&mut Made)| {
        let mut made = Made::default();
        change(&mut made);
        made.bytes()
    };
    let with = |kind: u16, data: &[u8]| Made::with(&[(kind, data)]).bytes();
    for (bytes, word) in [
        (made(|m| m.session = vec![0; 33]), "session id"),
        (made(|m| m.suites.truncate(5)), "cipher suites"),
        (made(|m| m.suites.clear()), "cipher suites"),
        (made(|m| m.compression = vec![1]), "compression"),
        (made(|m| m.compression.clear()), "compression"),
        (Made::with(&[(5, b""), (5, b"")]).bytes(), "twice"),
        (Made::with(&[(5, b""), (9, b""), (5, b"")]).bytes(), "twice"),
        (Made::with(&[(41, b""), (5, b"")]).bytes(), "pre_shared_key"),
        (with(10, b"\0\0"), "supported_groups"),
        (with(13, b"\0\x03\x04\x03\x04"), "signature_algorithms"),
        (with(13, b"\0\x02\x04\x03\x04"), "signature_algorithms"),
        (with(16, b"\0\0"), "ALPN"),
        (with(16, b"\0\x03\x02h2\0"), "ALPN"),
        (with(16, b"\0\x01\0"), "ALPN"),
        (with(43, b"\0"), "supported_versions"),
        (with(43, b"\x03\x03\x04\x03"), "supported_versions"),
        (with(43, b"\x02\x03\x04\0"), "supported_versions"),
    ] {
        let refused = refused(&bytes);
        assert_eq!(refused.kind, FaultKind::TlsClientProtocol);
        assert!(refused.why.contains(word), "{} for {word}", refused.why);
    }
    let only_grease = refused(&with(43, b"\x02\x2a\x2a"));
    assert_eq!(only_grease.kind, FaultKind::TlsVersionMismatch);
    let old = refused(&made(|m| m.version = [2, 0]));
    assert_eq!(old.kind, FaultKind::TlsVersionMismatch);
}

#[test]
fn lengths_that_disagree_are_refused() {
    let message = Made::default().message();
    // The message goes on behind its extensions, or ends inside of them.
    for change in [1_i16, -1] {
        let mut message = message.clone();
        if change > 0 {
            message.push(0);
        } else {
            message.pop();
        }
        message[3] = u8::try_from(i16::from(message[3]) + change).unwrap();
        let why = refused(&in_records(&message, FRAGMENT_MAX)).why;
        assert!(why.contains("do not end where"), "{why}");
    }
    let mut cut = Made::with(&[(5, b"abc")]).message();
    let at = cut.len() - 4;
    cut[at] = 4;
    let why = refused(&in_records(&cut, FRAGMENT_MAX)).why;
    assert!(why.contains("an extension is longer"), "{why}");
}

#[test]
fn what_is_not_a_hello_is_told_apart() {
    use FaultKind as K;
    for (bytes, kind, word) in [
        (&b"GET / HTTP/1.1\r\n"[..], K::HttpOnTlsPort, "HTTP"),
        (b"PRI * HTTP/2.0\r\n\r\n", K::HttpOnTlsPort, "HTTP"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", K::NotTls, "not a record"),
        (b"PROXY TCP4 192.0.2.1 ", K::NotTls, "not a record"),
        (b"\r\n\r\n", K::NotTls, "not a record"),
        (b"\x16\x02\0", K::NotTls, "not a record"),
        (
            b"\x80\x2e\x01\0\x02\0\x15",
            K::TlsVersionMismatch,
            "SSL 2.0",
        ),
        (b"\x80\x2e\x01\x03\x01", K::TlsVersionMismatch, "SSL 2.0"),
        (b"\xff\xfb\x01\xff\xfb", K::NotTls, "not a record"),
        (b"\x80\x2e\x02", K::NotTls, "not a record"),
        (b"\x15\x03\x01\0\x02\x02\x28", K::TlsClientProtocol, "alert"),
        (
            b"\x17\x03\x03\0\x01a",
            K::TlsClientProtocol,
            "not of a handshake",
        ),
        (
            b"\x16\x03\x01\0\x04\x02\0\0\0",
            K::TlsClientProtocol,
            "not a ClientHello",
        ),
        (b"\x16\x03\x01\0\0", K::TlsClientProtocol, "empty"),
        (b"\x16\x03\x01\x40\x01", K::TlsClientProtocol, "16384"),
        (b"\x16\x03\x01\0\x01\x01\x15", K::TlsClientProtocol, "alert"),
        (
            b"\x16\x03\x01\0\x01\x01\x17",
            K::TlsClientProtocol,
            "another record",
        ),
        (
            b"\x16\x03\x01\0\x01\x01\x16\x02",
            K::TlsClientProtocol,
            "version",
        ),
    ] {
        let refused = refused(bytes);
        assert_eq!(refused.kind, kind, "{}", bytes.escape_ascii());
        assert!(refused.why.contains(word), "{} for {word}", refused.why);
        for cut in 0..bytes.len() {
            let earlier = parse(&bytes[..cut], HELLO_MAX);
            let same = earlier == Ok(Progress::Partial) || earlier == Err(refused);
            assert!(same, "{earlier:?} then {refused:?}");
        }
    }
}

#[test]
fn beginnings_that_tell_nothing_yet_ask_for_more() {
    for bytes in [
        &b""[..],
        b"G",
        b"GET",
        b"P",
        b"PRI",
        b"\x16",
        b"\x16\x03",
        b"\x80",
        b"\x80\x2e\x01\x03",
        b"\x16\x03\x01\0\x01\x01\x16",
    ] {
        assert_eq!(parse(bytes, HELLO_MAX), Ok(Progress::Partial), "{bytes:?}");
    }
}

#[test]
fn nothing_may_follow_in_the_record_and_anything_behind_it() {
    let mut message = Made::default().message();
    let bytes = in_records(&message, FRAGMENT_MAX);
    let mut more = bytes.clone();
    more.extend_from_slice(b"\x14\x03\x03\0\x01\x01early data");
    assert_eq!(complete(&more).len, bytes.len());
    message.push(0);
    let bytes = in_records(&message, FRAGMENT_MAX);
    assert!(refused(&bytes).why.contains("something follows"));
    // The header of the record tells it already.
    assert!(refused(&bytes[..20]).why.contains("something follows"));
}

#[test]
fn hellos_up_to_the_limit_are_taken() {
    let ticket = vec![b'a'; 3_000];
    let bytes = in_records(&Made::with(&[(35, &ticket)]).message(), 1_000);
    let long = "longer than the limit";
    assert!(matches!(
        parse(&bytes, bytes.len()),
        Ok(Progress::Complete(_))
    ));
    assert!(parse(&bytes, bytes.len() - 1).is_err_and(|refused| refused.why.contains(long)));
    // What announces too much is refused before it comes.
    let start = &bytes[..9];
    assert!(parse(start, 2_000).is_err_and(|refused| refused.why.contains(long)));
    assert_eq!(parse(start, 4_000), Ok(Progress::Partial));
    // Records of one byte each take six; the limit counts all of them.
    let crumbs = in_records(&Made::with(&[(35, &ticket)]).message(), 1);
    assert!(refused(&crumbs).why.contains(long));
    assert!(refused(&crumbs[..HELLO_MAX]).why.contains(long));
    let endless = in_records(&[&[1, 0, 1, 0][..], &[0; 9]].concat(), 1);
    assert!(parse(&endless[..60], 60).is_err_and(|refused| refused.why.contains(long)));
}

#[test]
fn every_part_of_a_hello_asks_for_more() {
    for bytes in [real().to_vec(), in_records(&real()[5..], 100)] {
        for cut in 0..bytes.len() {
            let progress = parse(&bytes[..cut], HELLO_MAX);
            assert_eq!(progress, Ok(Progress::Partial), "cut at {cut}");
        }
        let hello = complete(&bytes);
        assert_eq!(hello.len, bytes.len());
        assert_eq!(
            Hello { len: 0, ..hello },
            Hello {
                len: 0,
                ..complete(real())
            }
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// However a hello is cut into records, it says the same.
    #[test]
    fn fragments_change_nothing(cuts in vec(any::<Index>(), 0..20)) {
        let message = &real()[5..];
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(message.len())).collect();
        ends.push(message.len());
        ends.sort_unstable();
        let (mut bytes, mut from) = (Vec::new(), 0);
        for end in ends {
            if end > from {
                bytes.extend(in_records(&message[from..end], FRAGMENT_MAX));
                from = end;
            }
        }
        let hello = complete(&bytes);
        prop_assert_eq!(hello.len, bytes.len());
        prop_assert_eq!(Hello { len: 0, ..hello }, Hello { len: 0, ..complete(real()) });
    }

    /// Whatever is changed: refused or read, and what is refused stays refused with more bytes.
    #[test]
    fn changed_hellos_are_read_or_refused(
        changes in vec((any::<Index>(), any::<u8>(), any::<bool>()), 1..6),
        cut in any::<Index>(),
        record in 1..2_000_usize,
    ) {
        let mut message = real()[5..].to_vec();
        for (place, byte, is_cut) in changes {
            let at = place.index(message.len().min(300));
            if is_cut {
                message.remove(at);
            } else {
                message[at] = byte;
            }
        }
        let bytes = in_records(&message, record);
        let whole = parse(&bytes, HELLO_MAX);
        match parse(&bytes[..cut.index(bytes.len())], HELLO_MAX) {
            Ok(Progress::Partial) => {}
            earlier => prop_assert_eq!(&earlier, &whole),
        }
        if let Ok(Progress::Complete(hello)) = whole {
            prop_assert!(hello.len <= bytes.len());
            prop_assert!(!hello.to_string().contains(char::is_control));
            prop_assert!(hello.alpn().all(|name| !name.is_empty()));
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..200), limit in 0..300_usize) {
        let bytes = [&b"\x16\x03\x01"[..], &bytes].concat();
        for bytes in [&bytes[..], &bytes[3..]] {
            let whole = parse(bytes, limit);
            if let Ok(Progress::Complete(hello)) = &whole {
                prop_assert!(hello.len <= bytes.len() && hello.len <= limit);
            }
            // Another word may be said earlier only when the limit is reached.
            for cut in 0..bytes.len().min(12).min(limit) {
                let earlier = parse(&bytes[..cut], limit);
                prop_assert!(earlier == Ok(Progress::Partial) || earlier == whole);
            }
        }
    }
}
