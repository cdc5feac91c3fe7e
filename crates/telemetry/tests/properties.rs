//! What holds of records and log lines whatever a client sent.
//!
//! Large strategies are boxed: together they would not fit on a test's stack.

use std::net::{IpAddr, SocketAddr};

use clearway_base::clock::Stamp;
use clearway_base::intern::Name;
use clearway_outcome::{
    Address, Attempt, CertificateFacts, CertificateVerdict, Evidence, Fault, FaultKind, Phase,
    Protocol, Record, RequestId, RetryRefusal, Reuse, Side, Signal, TcpFacts, Timings, TlsFacts,
};
use clearway_telemetry::codec::{FACT_MAX, NAMES_MAX, TEXT_MAX, decode, encode, look};
use clearway_telemetry::format::Format;
use clearway_telemetry::line::parcel::{self, Writer};
use clearway_telemetry::line::{Escape, Layout, Template, reference};
use clearway_telemetry::receipt;
use proptest::array::{uniform3, uniform4, uniform5};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// A record that owns what it is made of.
#[derive(Clone, Debug)]
struct Made {
    record: Record<'static>,
    tls: Option<TlsFacts>,
    texts: [Vec<u8>; 5],
    attempts: Vec<Attempt>,
}

impl Made {
    fn as_record(&self) -> Record<'_> {
        let [method, target, host, referer, user_agent] = &self.texts;
        Record {
            tls: self.tls.as_ref(),
            method,
            target,
            host,
            referer,
            user_agent,
            attempts: &self.attempts,
            ..self.record.clone()
        }
    }

    /// Cuts what is longer than what is kept of it.
    fn cut(&mut self) {
        for text in &mut self.texts {
            text.truncate(TEXT_MAX);
        }
        let evidence = self.attempts.iter_mut().filter_map(|a| a.evidence.as_mut());
        let facts = evidence.filter_map(|evidence| evidence.tls.as_deref_mut());
        for tls in facts.chain(&mut self.tls) {
            tls.alpn.truncate(FACT_MAX);
            let mut texts = vec![&mut tls.server_name, &mut tls.refusal];
            if let Some(of) = &mut tls.certificate {
                of.names.truncate(NAMES_MAX);
                texts.extend([&mut of.subject, &mut of.issuer, &mut of.serial]);
                texts.push(&mut of.fingerprint);
                texts.extend(&mut of.names);
            }
            for text in texts {
                text.truncate(text.floor_char_boundary(FACT_MAX));
            }
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
    let numbers = (any::<i32>(), of(signal()), micros());
    (place, numbers).prop_map(|((kind, phase, side), (errno, signal, elapsed_us))| Fault {
        kind,
        phase,
        side,
        errno,
        signal,
        elapsed_us,
    })
}

fn signal() -> impl Strategy<Value = Signal> {
    let code = || prop_oneof![0..16_u32, any::<u32>()];
    prop_oneof![
        any::<u8>().prop_map(Signal::TlsAlert),
        code().prop_map(Signal::H2Reset),
        (code(), any::<u32>())
            .prop_map(|(code, last_stream)| Signal::H2Goaway { code, last_stream }),
    ]
}

/// Text of a stranger that is UTF-8.
fn string() -> BoxedStrategy<String> {
    let long = (FACT_MAX - 3..FACT_MAX + 3).prop_map(|len| format!("{}ž", "n".repeat(len)));
    prop_oneof![
        20 => text().prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
        1 => long,
    ]
    .boxed()
}

fn certificate() -> BoxedStrategy<CertificateFacts> {
    let names = prop_oneof![
        9 => vec(string(), 0..4),
        1 => vec(Just("a.example".to_owned()), NAMES_MAX - 1..NAMES_MAX + 3),
    ];
    let time = || prop_oneof![0..4_102_444_800_i64, any::<i64>()];
    (uniform4(string()), names, time(), time())
        .prop_map(
            |([subject, issuer, serial, fingerprint], names, not_before, not_after)| {
                CertificateFacts {
                    subject,
                    issuer,
                    names,
                    not_before,
                    not_after,
                    serial,
                    fingerprint,
                }
            },
        )
        .boxed()
}

fn tls() -> BoxedStrategy<TlsFacts> {
    let number = || prop_oneof![0x0300..0x0305_u16, 0x1300..0x1304_u16, any::<u16>()];
    let verdict = select(CertificateVerdict::ALL);
    let agreed = (number(), number(), any::<bool>(), verdict);
    let texts = (string(), string(), text());
    (agreed, texts, of(certificate()))
        .prop_map(
            |((version, cipher, resumed, verdict), (server_name, refusal, alpn), certificate)| {
                TlsFacts {
                    offered: 0,
                    version,
                    cipher,
                    server_name,
                    alpn,
                    resumed,
                    certificate,
                    verdict,
                    refusal,
                    ..TlsFacts::default()
                }
            },
        )
        .boxed()
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
    const KNOWN: &[&[u8]] = &[
        b"SSH-2.0-",
        b"\x4a\0\0\0\x0a8",
        b"\x15\x03\x03\0\x02\x02",
        b"220 ",
    ];
    let known = select(KNOWN);
    let first = (of(known), vec(any::<u8>(), 0..80));
    let first = first.prop_map(|(known, rest)| [known.unwrap_or_default(), &rest].concat());
    (of(tcp()), first, of(tls())).prop_map(|(tcp, first, tls)| {
        let mut evidence = Evidence::default();
        evidence.keep_first(&first);
        evidence.tcp = tcp;
        evidence.tls = tls.map(Box::new);
        evidence
    })
}

fn attempt() -> BoxedStrategy<Attempt> {
    let reached = uniform4(of(micros()));
    let numbers = (micros(), any::<[u64; 3]>(), any::<(u32, u16)>());
    let ages = (micros(), micros());
    let end = (of(fault()), of(select(RetryRefusal::ALL)), of(evidence()));
    (uniform3(name()), micros(), reached, numbers, ages, end)
        .prop_map(
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
                body_received: bytes[2],
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
        .boxed()
}

/// Bytes of a stranger: often such as could end a line, a field or a string.
fn text() -> BoxedStrategy<Vec<u8>> {
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
    .boxed()
}

fn made() -> impl Strategy<Value = Made> {
    let address = any::<(IpAddr, u16)>().prop_map(|pair| Address::Ip(SocketAddr::from(pair)));
    let client = prop_oneof![4 => address, 1 => Just(Address::Unix)];
    let protocol = select(&[Protocol::Http10, Protocol::Http11, Protocol::Tcp][..]);
    let start = (any::<u64>(), micros(), client, uniform3(name()), protocol);
    let numbers = any::<(u16, [u64; 3], (u32, u32))>();
    let times = (micros(), micros());
    let parts = (
        uniform5(text()),
        vec(attempt(), 0..4),
        of(fault()),
        of(tls()),
    );
    (start, numbers, times, parts).prop_map(
        |(start, (status, longs, connections), (head_us, total_us), parts)| {
            let (texts, attempts, fault, tls) = parts;
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
                grpc_status: None,
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
                tls,
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
        expected.cut();
        let owned = decode(&bytes);
        prop_assert!(owned.is_some());
        let owned = owned.unwrap();
        prop_assert_eq!(seen(&owned.as_record()), seen(&expected.as_record()));
        let looked = look(&bytes, &mut Vec::new(), seen);
        prop_assert_eq!(looked, Some(seen(&expected.as_record())));
        prop_assert!(decode(&bytes[..cut.index(bytes.len())]).is_none());
    }

    /// Whatever clients send and rules give, a line from a template is one line, and the inside of a
    /// string of JSON where that was asked for.
    #[test]
    fn lines_of_templates_stay_lines(made in made(), given in text(), index in any::<Index>()) {
        let record = made.as_record();
        let mut text = String::new();
        for value in reference() {
            text.push_str(&format!("|${{{}}}", value.spelling));
        }
        text.push_str("|${header:x}|${header:y,max=3,else=-}");
        let template = Template::parse(&text, &mut |_| Ok(())).unwrap();
        let mut parcel = Vec::new();
        let mut writer = Writer::new(&mut parcel);
        writer.log(record.listener);
        for _ in template.given() {
            writer.value(Some(&given));
        }
        let escape = Escape::ALL[index.index(Escape::ALL.len())];
        let layout = Layout::template(template, escape, "-");
        let mut line = Vec::new();
        let rest = parcel::read(&parcel, |_, values| layout.write(&record, values, &mut line));
        prop_assert_eq!(rest, Some(b"".as_slice()));
        let line = String::from_utf8(line);
        prop_assert!(line.is_ok());
        let line = line.unwrap();
        let is_control = |c: char| c.is_control() && !(c == '\t' && escape == Escape::None);
        prop_assert_eq!(line.find(is_control), Some(line.len() - 1), "{}", line);
        if escape == Escape::Json {
            let quoted = format!("\"{}\"", line.trim_end_matches('\n'));
            prop_assert!(serde_json::from_str::<String>(&quoted).is_ok(), "{}", quoted);
        }
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
            prop_assert_eq!(value["tls"].is_object(), record.tls.is_some());
            let subject = record.tls.and_then(|tls| Some(&*tls.certificate.as_ref()?.subject));
            prop_assert_eq!(value["tls"]["client_certificate"]["subject"].as_str(), subject);
        }
    }

    /// A receipt has no controls but line feeds, and no line that it did not write itself.
    #[test]
    fn receipts_are_plain_text(made in made()) {
        let record = made.as_record();
        let text = receipt::words(&record);
        let controls = text.chars().filter(|c| c.is_control() && *c != '\n').count();
        prop_assert_eq!(controls, 0, "{:?}", text);
        let lines = 2 + usize::from(record.tls.is_some()) + record.attempts.len()
            + 2 * usize::from(record.fault.is_some());
        prop_assert_eq!(text.lines().count(), lines, "{:?}", text);
        let line = receipt::oneline(&record);
        prop_assert!(!line.contains(char::is_control), "{:?}", line);
    }
}
