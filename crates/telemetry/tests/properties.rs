//! What holds of records and log lines whatever a client sent.

use std::net::{IpAddr, SocketAddr};

use clearway_base::clock::Stamp;
use clearway_base::intern::Name;
use clearway_outcome::{
    Address, Attempt, Evidence, Fault, FaultKind, Phase, Protocol, Record, RequestId, RetryRefusal,
    Reuse, Side, TcpFacts, Timings,
};
use clearway_telemetry::codec::{TEXT_MAX, decode, encode};
use clearway_telemetry::format::Format;
use proptest::array::{uniform3, uniform4, uniform5};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// A record that owns what it is made of.
#[derive(Clone, Debug)]
struct Made {
    record: Record<'static>,
    texts: [Vec<u8>; 5],
    attempts: Vec<Attempt>,
}

impl Made {
    fn as_record(&self) -> Record<'_> {
        let [method, target, host, referer, user_agent] = &self.texts;
        Record {
            method,
            target,
            host,
            referer,
            user_agent,
            attempts: &self.attempts,
            ..self.record.clone()
        }
    }
}

fn name() -> impl Strategy<Value = Name> {
    prop_oneof![
        select(&["web", "app", "10.0.0.2:8080", "-"][..]).prop_map(Name::new),
        any::<u32>().prop_map(Name::from_raw),
    ]
}

/// Microseconds: no time comes near the end of the numbers.
fn micros() -> impl Strategy<Value = u64> {
    prop_oneof![0..2_000_u64, 0..1_u64 << 56]
}

fn fault() -> impl Strategy<Value = Fault> {
    let side = select(&[Side::Client, Side::Local, Side::Server][..]);
    let place = (select(FaultKind::ALL), select(Phase::ALL), side);
    (place, any::<i32>(), micros()).prop_map(|((kind, phase, side), errno, elapsed_us)| Fault {
        kind,
        phase,
        side,
        errno,
        signal: None,
        elapsed_us,
    })
}

fn tcp() -> impl Strategy<Value = TcpFacts> {
    any::<([u8; 2], [u32; 5], [u64; 3])>().prop_map(|(bytes, words, longs)| TcpFacts {
        state: bytes[0],
        backoff: bytes[1],
        rtt_us: words[0],
        unacked: words[1],
        retransmits: words[2],
        notsent_bytes: words[3],
        last_data_recv_ms: words[4],
        bytes_acked: longs[0],
        bytes_received: longs[1],
        unacked_bytes: longs[2],
    })
}

fn evidence() -> impl Strategy<Value = Evidence> {
    (of(tcp()), vec(any::<u8>(), 0..80)).prop_map(|(tcp, first)| {
        let mut evidence = Evidence::default();
        evidence.keep_first(&first);
        evidence.tcp = tcp;
        evidence
    })
}

fn attempt() -> impl Strategy<Value = Attempt> {
    let reached = uniform4(of(micros()));
    let numbers = (micros(), any::<[u64; 2]>(), any::<(u32, u16)>());
    let ages = (micros(), micros());
    let end = (of(fault()), of(select(RetryRefusal::ALL)), of(evidence()));
    (uniform3(name()), micros(), reached, numbers, ages, end).prop_map(
        |(names, started, reached, (ended_us, bytes, (uses, status)), ages, end)| Attempt {
            backend: names[0],
            server: names[1],
            address: names[2],
            started: Stamp(started),
            queued_us: reached[0],
            connected_us: reached[1],
            sent_us: reached[2],
            first_byte_us: reached[3],
            ended_us,
            bytes_sent: bytes[0],
            bytes_received: bytes[1],
            reuse: Reuse {
                uses,
                idle_us: ages.0,
                age_us: ages.1,
            },
            status,
            fault: end.0,
            refusal: end.1,
            evidence: end.2.map(Box::new),
        },
    )
}

/// Bytes of a stranger: often such as could end a line, a field or a string.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let telling = select(&b"\r\n\0\t\"\\ #x\x1b\x7f\x80\xc3\xa9\xe2\x80\xa8\xed\xff"[..]);
    let byte = prop_oneof![telling, any::<u8>()];
    let long = (byte.clone(), TEXT_MAX - 2..TEXT_MAX + 3);
    // U+009B is in one character what ESC and `[` are to a terminal.
    let piece = prop_oneof![
        9 => byte.prop_map(|byte| vec![byte]),
        1 => Just(b"\xc2\x9b".to_vec()),
    ];
    prop_oneof![
        20 => vec(piece, 0..40).prop_map(|pieces| pieces.concat()),
        1 => long.prop_map(|(byte, len)| vec![byte; len]),
    ]
}

fn made() -> impl Strategy<Value = Made> {
    let address = any::<(IpAddr, u16)>().prop_map(|pair| Address::Ip(SocketAddr::from(pair)));
    let client = prop_oneof![4 => address, 1 => Just(Address::Unix)];
    let protocol = select(&[Protocol::Http10, Protocol::Http11, Protocol::Tcp][..]);
    let start = (any::<u64>(), micros(), client, uniform3(name()), protocol);
    let numbers = any::<(u16, [u64; 3], (u32, u32))>();
    let times = (micros(), micros());
    let parts = (uniform5(text()), vec(attempt(), 0..4), of(fault()));
    (start, numbers, times, parts).prop_map(
        |(start, (status, longs, connections), (head_us, total_us), (texts, attempts, fault))| {
            let (id, started, client, names, protocol) = start;
            let record = Record {
                id: RequestId(id),
                started: Stamp(started),
                client,
                listener: names[0],
                route: names[1],
                backend: names[2],
                protocol,
                tls: None,
                method: b"",
                target: b"",
                host: b"",
                referer: b"",
                user_agent: b"",
                status,
                bytes_in: longs[0],
                bytes_out: longs[1],
                body_out: longs[2],
                timings: Timings { head_us, total_us },
                attempts: &[],
                fault,
                connections,
            };
            Made {
                record,
                texts,
                attempts,
            }
        },
    )
}

/// All there is to see of a record; names by their numbers, which many print alike.
fn seen(record: &Record<'_>) -> String {
    let names = [record.listener, record.route, record.backend].map(Name::raw);
    let attempts = record.attempts.iter();
    let servers = attempts.map(|a| [a.backend, a.server, a.address].map(Name::raw));
    let servers: Vec<[u32; 3]> = servers.collect();
    format!("{names:?} {servers:?} {record:?}")
}

fn encoded(record: &Record<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(record, &mut bytes);
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Every field of a record survives, texts up to their limit; a part of it is refused.
    #[test]
    fn records_survive(made in made(), cut in any::<Index>()) {
        let bytes = encoded(&made.as_record());
        let mut expected = made;
        for text in &mut expected.texts {
            text.truncate(TEXT_MAX);
        }
        let owned = decode(&bytes);
        prop_assert!(owned.is_some());
        let owned = owned.unwrap();
        prop_assert_eq!(seen(&owned.as_record()), seen(&expected.as_record()));
        prop_assert!(decode(&bytes[..cut.index(bytes.len())]).is_none());
    }

    /// Any bytes are a record or refused; what is taken for a record is what is written of it.
    #[test]
    fn no_bytes_break_decoding(
        made in made(),
        changes in vec((any::<Index>(), any::<u8>()), 1..6),
        noise in vec(any::<u8>(), 0..600),
    ) {
        let mut bytes = encoded(&made.as_record());
        for (place, byte) in changes {
            *place.get_mut(&mut bytes) = byte;
        }
        for bytes in [bytes, noise] {
            let Some(owned) = decode(&bytes) else {
                continue;
            };
            prop_assert_eq!(encoded(&owned.as_record()), bytes);
        }
    }

    /// A record is one line in every format, without controls, and one object in JSON.
    #[test]
    fn a_record_is_one_line(made in made()) {
        let record = made.as_record();
        for &format in Format::ALL {
            let mut line = b"before\n".to_vec();
            format.write(&record, &mut line);
            let line = line.strip_prefix(b"before\n").unwrap_or_default();
            let text = std::str::from_utf8(line);
            prop_assert!(text.is_ok(), "{}: {}", format.name(), line.escape_ascii());
            let text = text.unwrap();
            prop_assert!(text.ends_with('\n'), "{}", format.name());
            let controls = text.chars().filter(|c| c.is_control()).count();
            prop_assert_eq!(controls, 1, "{}: {:?}", format.name(), text);
            if format != Format::Json {
                continue;
            }
            let value = serde_json::from_str::<serde_json::Value>(text);
            prop_assert!(value.is_ok(), "{:?}: {}", value, text);
            let value = value.unwrap();
            let parts = [("method", record.method), ("target", record.target),
                ("host", record.host)];
            for (name, bytes) in parts {
                prop_assert_eq!(value[name].as_str(), Some(&*String::from_utf8_lossy(bytes)));
            }
        }
    }
}
