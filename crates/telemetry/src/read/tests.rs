//! All readers: formats are recognised, lines may be cut anywhere, and damaged ones do no harm.

use clearway_outcome::{FaultKind as K, Remark, Reuse, Signal, Speaker, TcpFacts, TlsFacts};
use proptest::prelude::*;

use super::*;

/// A Sighting that owns what it says.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) speaker: Speaker,
    pub(super) at_us: Option<i64>,
    pub(super) request: String,
    pub(super) listener: String,
    pub(super) backend: String,
    pub(super) server: String,
    pub(super) address: String,
    pub(super) client: String,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) host: String,
    pub(super) user_agent: String,
    pub(super) status: u16,
    pub(super) server_status: u16,
    pub(super) kinds: Vec<K>,
    pub(super) remark: Option<Remark>,
    pub(super) errno: i32,
    pub(super) is_immediate: Option<bool>,
    pub(super) elapsed_us: Option<u64>,
    pub(super) queued_us: Option<u64>,
    pub(super) connected_us: Option<u64>,
    pub(super) bytes_sent: Option<u64>,
    pub(super) bytes_received: Option<u64>,
    pub(super) attempt: (u32, u32),
    pub(super) saved: bool,
    pub(super) signal: Option<Signal>,
    pub(super) reuse: Option<Reuse>,
    pub(super) tcp: Option<TcpFacts>,
    pub(super) tls: Option<TlsFacts>,
    pub(super) first: Vec<u8>,
    pub(super) words: String,
}

impl Told {
    pub(super) fn of(sighting: &Sighting<'_>) -> Self {
        let s = sighting;
        Self {
            speaker: s.speaker,
            at_us: s.at_us,
            request: s.request.to_owned(),
            listener: s.listener.to_owned(),
            backend: s.backend.to_owned(),
            server: s.server.to_owned(),
            address: s.address.to_owned(),
            client: s.client.to_owned(),
            method: s.method.to_owned(),
            path: s.path.to_owned(),
            host: s.host.to_owned(),
            user_agent: s.user_agent.to_owned(),
            status: s.status,
            server_status: s.server_status,
            kinds: s.suspects.iter().collect(),
            remark: s.remark,
            errno: s.errno,
            is_immediate: s.is_immediate,
            elapsed_us: s.elapsed_us,
            queued_us: s.queued_us,
            connected_us: s.connected_us,
            bytes_sent: s.bytes_sent,
            bytes_received: s.bytes_received,
            attempt: s.attempt,
            saved: s.saved,
            signal: s.signal,
            reuse: s.reuse,
            tcp: s.tcp,
            tls: s.tls.cloned(),
            first: s.first.to_vec(),
            words: s.words.to_owned(),
        }
    }
}

/// What a reader tells of the lines of `text`, every one of which it must understand.
pub(super) fn told(format: Format, template: Option<&str>, text: &str) -> Vec<Told> {
    let mut reader = match template {
        Some(template) => Reader::with_template(format, template, Zone::default()).unwrap(),
        None => Reader::new(format, Zone::default()).unwrap(),
    };
    let mut found = Vec::new();
    reader.feed("-", text.as_bytes(), &mut |s| found.push(Told::of(s)));
    reader.end("-", &mut |s| found.push(Told::of(s)));
    let stats = reader.stats();
    assert_eq!(stats.not_understood(), 0, "{:?}", stats.first_unknown);
    found
}

const COMBINED: &str = "192.0.2.7 - - [21/Nov/2026:07:30:00 +0000] \"GET /pay?card=4111 HTTP/1.1\" 502 \
     150 \"http://shop.example.org/?session=9\" \"curl/8\"";

#[test]
fn combined_has_little_to_say() {
    let found = told(Format::NginxAccess, None, COMBINED);
    let [one] = &found[..] else {
        panic!("{found:?}")
    };
    assert_eq!((one.speaker, one.status), (Speaker::Nginx, 502));
    assert_eq!(
        (one.client.as_str(), one.path.as_str()),
        ("192.0.2.7", "/pay")
    );
    assert_eq!(one.at_us, Some(1_795_246_200_000_000));
    assert!(one.kinds.len() > 9 && one.kinds[0] == K::ConnectRefused);
    assert!(!format!("{one:?}").contains("4111"));
    for (status, kinds) in [
        ("499", vec![K::ClientClosed, K::ClientReset]),
        ("413", vec![K::BodyTooLarge]),
        (
            "009",
            vec![
                K::ResponseNotHttp,
                K::ServerSpeaksHttp2,
                K::ServerSpeaksTls,
                K::ResponseStatusLineInvalid,
            ],
        ),
    ] {
        let line = COMBINED.replace(" 502 ", &format!(" {status} "));
        assert_eq!(told(Format::NginxAccess, None, &line)[0].kinds, kinds);
    }
    let line = COMBINED.replace(
        "GET /pay?card=4111 HTTP/1.1\" 502",
        "\\x16\\x03\\x01\\x02\" 400",
    );
    assert_eq!(
        told(Format::NginxAccess, None, &line)[0].kinds,
        [K::TlsOnPlainPort]
    );
}

/// A format with every field that counts, and a line of it.
const FULL: &str = "$remote_addr [$time_iso8601] \"$request\" $status rt=$request_time id=$request_id \
     addr=\"$upstream_addr\" st=\"${upstream_status}\" ct=\"$upstream_connect_time\" \
     ht=\"$upstream_header_time\" bt=\"$upstream_response_time\" in=\"$upstream_bytes_received\"";

fn full(status: u16, [addr, st, ct, ht, bt, received]: [&str; 6]) -> Vec<Told> {
    let line = format!(
        "192.0.2.7 [2026-11-21T07:30:00+00:00] \"GET /a?b HTTP/1.1\" {status} rt=1.5 id=abc addr=\"{addr}\" \
         st=\"{st}\" ct=\"{ct}\" ht=\"{ht}\" bt=\"{bt}\" in=\"{received}\""
    );
    told(Format::NginxAccess, Some(FULL), &line)
}

#[test]
fn every_server_that_was_tried_is_told() {
    let lists = [
        "10.0.0.1:80, 10.0.0.2:80",
        "502, 200",
        "-, 0.001",
        "-, 0.010",
        "0.002, 0.011",
        "0, 300",
    ];
    let found = full(200, lists);
    let [one] = &found[..] else {
        panic!("{found:?}")
    };
    assert_eq!(
        (one.address.as_str(), one.attempt, one.saved),
        ("10.0.0.1:80", (1, 2), true)
    );
    assert_eq!((one.elapsed_us, one.connected_us), (Some(2_000), None));
    assert!(
        one.kinds.contains(&K::ConnectRefused) && !one.kinds.contains(&K::ServerClosedNoResponse)
    );
    assert_eq!(one.request, "abc");
    assert_eq!(
        one.words,
        "upstream 10.0.0.1:80, status 200, upstream status 502, connect time -, header time -, response time 0.002 s"
    );
}

#[test]
fn who_made_the_status_is_known_by_the_time_of_the_head() {
    for (status, lists, server_status, first, count) in [
        (
            502,
            ["10.0.0.1:80", "502", "0.001", "0.010", "0.010", "200"],
            502,
            None,
            0,
        ),
        (
            502,
            ["10.0.0.1:80", "502", "0.001", "-", "0.010", "0"],
            0,
            Some(K::ServerClosedNoResponse),
            9,
        ),
        (
            502,
            ["10.0.0.1:80", "502", "0.001", "-", "0.010", "4096"],
            0,
            Some(K::ResponseHeadersTooLarge),
            9,
        ),
        (
            504,
            ["10.0.0.1:80", "504", "-", "-", "60.0", "0"],
            0,
            Some(K::ConnectTimeout),
            2,
        ),
        (
            504,
            ["10.0.0.1:80", "504", "0.001", "-", "60.0", "0"],
            0,
            Some(K::ResponseTimeout),
            3,
        ),
        (
            502,
            ["app", "502", "-", "-", "0.000", "0"],
            0,
            Some(K::AllServersDown),
            2,
        ),
        (
            502,
            ["-", "-", "-", "-", "-", "-"],
            0,
            Some(K::NameUnresolved),
            2,
        ),
        (
            499,
            ["10.0.0.1:80", "-", "0.001", "-", "5.0", "0"],
            0,
            Some(K::ClientClosed),
            2,
        ),
        (
            9,
            ["10.0.0.1:80", "200", "0.001", "0.002", "0.003", "40"],
            200,
            Some(K::ResponseNotHttp),
            4,
        ),
    ] {
        let found = full(status, lists);
        let [one] = &found[..] else {
            panic!("{found:?}")
        };
        let told = (
            one.server_status,
            one.kinds.first().copied(),
            one.kinds.len(),
        );
        assert_eq!(told, (server_status, first, count), "{lists:?}");
    }
    for (status, remark) in [(429, Some(Remark::RateLimited)), (503, None)] {
        let found = full(status, ["-", "-", "-", "-", "-", "-"]);
        assert_eq!(found[0].remark, remark);
    }
}

#[test]
fn json_with_the_names_of_variables_is_read() {
    let line = r#"{"time_iso8601":"2026-11-21T07:30:00+00:00","remote_addr":"192.0.2.7","request":"GET /a?\"b HTTP/1.1","status":"504","upstream_addr":"10.0.0.1:80","upstream_status":"504","upstream_connect_time":"-","upstream_header_time":"-","upstream_response_time":"3.0","http_user_agent":"x"}"#;
    let found = told(Format::NginxAccess, None, line);
    assert_eq!(found[0].kinds, [K::ConnectTimeout, K::ServerTlsTimeout]);
    assert_eq!(found[0].path, "/a");
}

#[test]
fn formats_are_detected() {
    let mut own = Vec::new();
    crate::format::json::write(&crate::sample::record(&[]), &mut own);
    let own = String::from_utf8(own).unwrap();
    for (text, format) in [
        (COMBINED, Some(Format::NginxAccess)),
        (own.as_str(), Some(Format::Clearway)),
        (
            "2026/11/21 04:34:26 [error] 1#1: *2 connect() failed (111: Connection refused) while connecting to upstream, client: 1.2.3.4, server: x",
            Some(Format::NginxError),
        ),
        (
            "Nov 21 07:30:00 lb haproxy[7]: 1.2.3.4:5 [21/Nov/2026:07:30:00.123] web app/s1 0/0/0/1/1 200 5 - - ---- 1/1/0/0/0 0/0 \"GET / HTTP/1.1\"",
            Some(Format::Haproxy),
        ),
        (
            "[2026-11-21T07:30:00.123Z] \"GET / HTTP/1.1\" 200 - 0 91 7 6 \"-\" \"curl\" \"abc\" \"h\" \"10.0.0.2:80\"",
            Some(Format::Envoy),
        ),
        (
            "{\"response_code\":200,\"response_flags\":\"-\",\"upstream_host\":\"10.0.0.2:80\"}",
            Some(Format::Envoy),
        ),
        (
            "{\"status\":200,\"request\":\"GET / HTTP/1.1\"}",
            Some(Format::NginxAccess),
        ),
        (
            "http 2026-11-21T07:30:00.0Z app/a/1 1.2.3.4:5 10.0.0.2:80 0.0 0.1 0.0 200 200 3 4 \"GET http://h:80/ HTTP/1.1\" \"curl\" - -",
            Some(Format::Alb),
        ),
        ("hello world", None),
        ("", None),
    ] {
        assert_eq!(detect(text.as_bytes()), format, "{text}");
    }
    for format in Format::ALL {
        assert_eq!(Format::from_name(format.name()), Some(*format));
        assert!(!format.doc().is_empty());
    }
}

#[test]
fn lines_may_be_cut_anywhere() {
    let text = format!("{COMBINED}\n{COMBINED}\r\n\n{COMBINED}");
    for size in [1, 2, 7, 100, 10_000] {
        let mut reader = Reader::new(Format::NginxAccess, Zone::default()).unwrap();
        let mut places = Vec::new();
        for part in text.as_bytes().chunks(size) {
            reader.feed("a.log", part, &mut |s| places.push(s.place.line));
        }
        reader.end("a.log", &mut |s| places.push(s.place.line));
        assert_eq!(places, [1, 2, 4], "{size}");
        assert_eq!(reader.stats().lines, 3);
        assert_eq!(reader.stats().first_us, Some(1_795_246_200_000_000));
    }
}

#[test]
fn endless_lines_take_bounded_memory() {
    let mut reader = Reader::new(Format::NginxAccess, Zone::default()).unwrap();
    for _ in 0..100 {
        reader.feed("-", &[b'x'; 10_000], &mut |_| ());
    }
    assert!(reader.carry.len() <= LINE_MAX);
    reader.feed("-", format!("\n{COMBINED}\n").as_bytes(), &mut |_| ());
    let stats = reader.stats();
    assert_eq!((stats.lines, stats.understood), (2, 1));
}

/// Lines that something is known of, to be damaged.
const SEEDS: [&str; 9] = [
    COMBINED,
    "2026/11/21 04:34:26 [error] 1#1: *2 upstream sent invalid header: \"X\\x20\" while reading response header from upstream, client: 1.2.3.4, server: x, request: \"GET /a HTTP/1.1\", upstream: \"http://unix:/run/a:/a\", host: \"h\"",
    "1.2.3.4:5 [21/Nov/2026:07:30:00.123] web app/s1 0/0/-1/-1/1 503 5 - - SC-- 1/1/0/0/0 0/0 \"GET / HTTP/1.1\"",
    "Server app/s1 is DOWN, reason: Layer4 connection problem, info: \"Connection refused\", check duration: 3ms. 1 active",
    "[2026-11-21T07:30:00.123Z] \"GET / HTTP/1.1\" 503 UF,URX 0 91 7 6 \"-\" \"curl\" \"abc\" \"h\" \"10.0.0.2:80\"",
    "http 2026-11-21T07:30:00.0Z app/a/1 1.2.3.4:5 10.0.0.2:80 0.0 -1 -1 502 - 3 4 \"GET http://h:80/ HTTP/1.1\" \"curl\" - -",
    "{\"status\":502,\"head_ms\":1,\"fault\":\"connect_refused\",\"attempts\":[{\"server\":\"a\",\"first_bytes\":\"\\\\x16\\\\r\",\"tls\":{\"certificate\":{}}}]}",
    "# pxname,svname,status,type,\napp,s1,\"DO\"\"WN\",2,\n",
    "[21/Nov/2026:07:30:00.123] backend app (#3): invalid response\n  server s1 (#1), src 1.2.3.4:5\n  len 22, error at position 5\n  00000  HTTP/1.1\\x0\\\n",
];

proptest! {
    #[test]
    fn no_bytes_make_a_reader_panic(
        seed in 0..SEEDS.len(),
        edits in proptest::collection::vec((0..400_usize, any::<u8>(), any::<bool>()), 0..12),
        tail in proptest::collection::vec(any::<u8>(), 0..80),
        template in "[ -~]{0,40}",
    ) {
        let mut bytes = SEEDS[seed].as_bytes().to_vec();
        for (at, byte, cuts) in edits {
            if cuts {
                bytes.truncate(bytes.len().saturating_sub(at / 20));
            } else if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
        }
        bytes.extend(tail);
        for format in Format::ALL {
            let mut reader = Reader::new(*format, Zone(3_600)).unwrap();
            reader.feed("-", &bytes, &mut |s| drop(Told::of(s)));
            reader.end("-", &mut |s| drop(Told::of(s)));
            let with = Reader::with_template(*format, &template, Zone::default());
            if let Ok(mut reader) = with {
                reader.feed("-", &bytes, &mut |s| drop(Told::of(s)));
                reader.end("-", &mut |_| ());
            }
        }
        let _ = detect(&bytes);
        let text = String::from_utf8_lossy(&bytes);
        drop(report::show_stat(&text));
        drop(report::show_errors(&text));
        drop(report::target_health(&text));
    }
}
