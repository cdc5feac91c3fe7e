//! Clearway's own JSON logs, of requests and of faults: what [`crate::format::json`] writes.

use clearway_outcome::{
    CertificateFacts, CertificateVerdict, FaultKind, FirstBytes, Reuse, Sighting, Signal, Speaker,
    Suspects, TcpFacts, TlsFacts,
};
use serde_json::Value;

use super::time::{self, Zone};
use super::{Context, TemplateError, json, scan, server_of};

/// Reads the lines.
pub(super) struct Lines;

impl Lines {
    pub(super) fn new(text: Option<&str>) -> Result<Self, TemplateError> {
        text.map_or(Ok(Self), |_| Err(TemplateError::NoTemplate))
    }

    #[expect(
        clippy::needless_pass_by_ref_mut,
        clippy::unused_self,
        reason = "readers of other formats learn from their lines"
    )]
    pub(super) fn line(&mut self, line: &[u8], context: &mut Context<'_>) -> bool {
        if SAID.iter().any(|said| line.starts_with(said)) {
            return true;
        }
        let mut outside = Outside::default();
        let read = json::each(line, |key, value| outside.take(key, value));
        if read.is_some() && outside.is_event {
            return true;
        }
        if read.is_none() || !outside.is_own {
            return false;
        }
        let at = time::parse(outside.time, Zone::default());
        let status = scan::status(outside.status).unwrap_or(0);
        if !outside.has_more && status < 500 {
            context.stats.time(at);
            context.stats.status(status);
            let key = (scan::said(outside.backend), scan::said(outside.server));
            let took = scan::millis(outside.first_byte_ms);
            context.stats.answered(key, status, took, at, b"");
            return true;
        }
        let Ok(value) = serde_json::from_slice::<Value>(line) else {
            return false;
        };
        context.stats.time(at);
        context.stats.status(status);
        record(&value, at, context);
        true
    }
}

/// How messages of the process begin, which stand between the lines of its log on the standard error.
const SAID: &[&[u8]] = &[
    b"listening ",
    b"ready",
    b"reload",
    b"draining",
    b"error: ",
    b"warn: ",
    b"info: ",
    b"debug: ",
];

/// The outermost keys that tell a success from the rest.
#[derive(Default)]
struct Outside<'a> {
    is_own: bool,
    has_more: bool,
    /// A line about an incident, which the requests it is about stand before.
    is_event: bool,
    time: &'a [u8],
    status: &'a [u8],
    backend: &'a [u8],
    server: &'a [u8],
    first_byte_ms: &'a [u8],
}

impl<'a> Outside<'a> {
    fn take(&mut self, key: &'a [u8], value: &'a [u8]) {
        match key {
            b"time" => self.time = value,
            b"status" => self.status = value,
            b"backend" => self.backend = value,
            b"server" => self.server = value,
            b"first_byte_ms" => self.first_byte_ms = value,
            b"head_ms" => self.is_own = true,
            b"event" => self.is_event = true,
            b"fault" | b"attempts" => self.has_more = true,
            _ => {}
        }
    }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    let text = value.get(key).and_then(Value::as_str).unwrap_or_default();
    if text == "-" { "" } else { text }
}

fn number(value: &Value, key: &str) -> Option<u64> {
    value.get(key)?.as_u64()
}

fn small<T: TryFrom<u64> + Default>(value: &Value, key: &str) -> T {
    let number = number(value, key).and_then(|number| T::try_from(number).ok());
    number.unwrap_or_default()
}

/// Milliseconds with a fraction, in microseconds.
fn micros(value: &Value, key: &str) -> Option<u64> {
    let written = value.get(key)?.to_string();
    scan::millis(written.as_bytes())
}

/// A request that failed, or of which an Attempt did: every Attempt by itself, and the request where none
/// of them has its fault.
fn record(value: &Value, began: Option<i64>, context: &mut Context<'_>) {
    let mut sighting = Sighting::of(Speaker::Clearway, context.place);
    let total = micros(value, "total_ms").and_then(|total| i64::try_from(total).ok());
    sighting.at_us = began.map(|began| began.saturating_add(total.unwrap_or(0)));
    sighting.request = text(value, "id");
    sighting.listener = text(value, "listener");
    sighting.backend = text(value, "backend");
    sighting.client = scan::text(scan::without_port(text(value, "client").as_bytes()));
    sighting.method = text(value, "method");
    sighting.path = scan::text(scan::path(text(value, "target").as_bytes()));
    sighting.host = text(value, "host");
    sighting.user_agent = text(value, "user_agent");
    sighting.status = small(value, "status");
    sighting.request_bytes = number(value, "bytes_in");
    let attempts = value.get("attempts").and_then(Value::as_array);
    let attempts = attempts.map_or(&[][..], Vec::as_slice);
    let whole = text(value, "fault");
    let total = u32::try_from(attempts.len()).unwrap_or(u32::MAX);
    for (number, each) in (1_u32..).zip(attempts) {
        let mut one = sighting;
        one.attempt = (number, total);
        one.saved = whole.is_empty() && number < total;
        attempt(each, one, context);
    }
    let is_told = attempts.iter().any(|each| text(each, "fault") == whole);
    if !whole.is_empty() && !is_told {
        sighting.server = text(value, "server");
        fault(value, &mut sighting, context);
        context.tell(sighting);
    } else if attempts.is_empty() && !text(value, "server").is_empty() {
        sighting.server = text(value, "server");
        sighting.server_status = sighting.status;
        let took = micros(value, "first_byte_ms");
        let (key, at) = (server_of(&sighting), sighting.at_us);
        context.stats.answered(key, sighting.status, took, at, b"");
        context.scratch.words.push_str("answered by the server");
        context.tell(sighting);
    }
}

fn attempt(value: &Value, of: Sighting<'_>, context: &mut Context<'_>) {
    let first = unescape(text(value, "first_bytes"));
    let tls = value.get("tls").map(tls);
    let mut sighting = of;
    sighting.server = text(value, "server");
    sighting.address = text(value, "address");
    sighting.queued_us = micros(value, "queue_ms");
    sighting.connected_us = micros(value, "connect_ms");
    sighting.header_us = micros(value, "first_byte_ms");
    sighting.elapsed_us = micros(value, "end_ms");
    sighting.bytes_sent = number(value, "bytes_sent");
    sighting.bytes_received = number(value, "bytes_received");
    sighting.server_status = small(value, "status");
    sighting.reuse = number(value, "uses").map(|_| Reuse {
        uses: small(value, "uses"),
        idle_us: micros(value, "idle_ms").unwrap_or(0),
        age_us: micros(value, "age_ms").unwrap_or(0),
    });
    sighting.tcp = value.get("tcp").map(tcp);
    sighting.first = first.as_bytes();
    sighting.tls = tls.as_ref();
    context.scratch.words.clear();
    if !text(value, "fault").is_empty() {
        fault(value, &mut sighting, context);
        return context.tell(sighting);
    }
    let status = sighting.server_status;
    let took = sighting.header_us;
    if status > 0 {
        context
            .stats
            .answered(server_of(&sighting), status, took, sighting.at_us, b"");
    }
    if status >= 500 {
        context.scratch.words.push_str("answered by the server");
        context.tell(sighting);
    }
}

/// Kind, errno, signal, time and words of a fault; a kind of another version is no suspect.
fn fault(value: &Value, sighting: &mut Sighting<'_>, context: &mut Context<'_>) {
    let code = text(value, "fault");
    if let Some(kind) = FaultKind::from_code(code) {
        sighting.suspects = Suspects::just(kind);
    }
    sighting.errno = small(value, "errno");
    if let Some(elapsed) = micros(value, "elapsed_ms") {
        sighting.elapsed_us = Some(elapsed);
    }
    sighting.signal = signal(value);
    let words = &mut context.scratch.words;
    words.clear();
    for (before, part) in [
        ("", code),
        (" in ", text(value, "phase")),
        (", side ", text(value, "side")),
        (", ", text(value, "errno_name")),
        (", alert ", text(value, "alert_name")),
        (", ", text(value, "h2_code_name")),
    ] {
        if !part.is_empty() {
            words.push_str(before);
            scan::push_words(words, part.as_bytes());
        }
    }
}

fn signal(value: &Value) -> Option<Signal> {
    if let Some(number) = number(value, "alert") {
        return u8::try_from(number).ok().map(Signal::TlsAlert);
    }
    let code = u32::try_from(number(value, "h2_code")?).ok()?;
    Some(match number(value, "goaway_last_stream") {
        None => Signal::H2Reset(code),
        Some(last) => Signal::H2Goaway {
            code,
            last_stream: u32::try_from(last).ok()?,
        },
    })
}

fn tcp(value: &Value) -> TcpFacts {
    TcpFacts {
        state: small(value, "state"),
        rtt_us: small(value, "rtt_us"),
        unacked: small(value, "unacked"),
        retransmits: small(value, "retransmits"),
        backoff: small(value, "backoff"),
        bytes_acked: small(value, "bytes_acked"),
        bytes_received: small(value, "bytes_received"),
        notsent_bytes: small(value, "notsent_bytes"),
        unacked_bytes: small(value, "unacked_bytes"),
        last_data_recv_ms: small(value, "last_data_recv_ms"),
    }
}

fn tls(value: &Value) -> TlsFacts {
    const CIPHERS: [u16; 9] = [
        0x1301, 0x1302, 0x1303, 0xc02b, 0xc02c, 0xc02f, 0xc030, 0xcca8, 0xcca9,
    ];
    let named = |cipher: &u16| {
        let facts = TlsFacts {
            cipher: *cipher,
            ..TlsFacts::default()
        };
        facts.cipher_name() == text(value, "cipher")
    };
    let verdict = text(value, "verdict");
    let verdict = CertificateVerdict::ALL
        .iter()
        .find(|one| one.name() == verdict);
    TlsFacts {
        offered: 0,
        version: match text(value, "version") {
            "TLSv1.3" => 0x0304,
            "TLSv1.2" => 0x0303,
            _ => 0,
        },
        cipher: CIPHERS.into_iter().find(named).unwrap_or(0),
        server_name: text(value, "server_name").to_owned(),
        alpn: text(value, "alpn").as_bytes().to_vec(),
        resumed: value
            .get("resumed")
            .and_then(Value::as_bool)
            .unwrap_or(false),
        certificate: value.get("certificate").map(certificate),
        verdict: verdict.copied().unwrap_or_default(),
        refusal: text(value, "refusal").to_owned(),
        ..TlsFacts::default()
    }
}

fn certificate(value: &Value) -> CertificateFacts {
    let seconds = |key| {
        let micros = time::parse(text(value, key).as_bytes(), Zone::default());
        micros.map_or(0, |micros| micros.div_euclid(1_000_000))
    };
    let names = value.get("names").and_then(Value::as_array);
    let names = names.map_or(&[][..], Vec::as_slice).iter();
    CertificateFacts {
        subject: text(value, "subject").to_owned(),
        issuer: text(value, "issuer").to_owned(),
        names: names
            .filter_map(|name| name.as_str().map(str::to_owned))
            .collect(),
        not_before: seconds("not_before"),
        not_after: seconds("not_after"),
        serial: text(value, "serial").to_owned(),
        fingerprint: text(value, "fingerprint").to_owned(),
    }
}

/// What [`slice::escape_ascii`] wrote.
fn unescape(text: &str) -> FirstBytes {
    let mut out = Vec::with_capacity(64);
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        out.push(match bytes.next() {
            Some(b't') => b'\t',
            Some(b'r') => b'\r',
            Some(b'n') => b'\n',
            Some(b'x') => {
                let mut digit = || bytes.next().and_then(|b| char::from(b).to_digit(16));
                let (high, low) = (digit().unwrap_or(0), digit().unwrap_or(0));
                u8::try_from(high * 16 + low).unwrap_or(0)
            }
            Some(other) => other,
            None => break,
        });
    }
    FirstBytes::of(&out)
}

#[cfg(test)]
mod tests {
    use clearway_outcome::{Fault, Phase, Record, Side};

    use super::*;
    use crate::read::{Format, Reader, tests::told};
    use crate::{format, sample};

    fn line(record: &Record<'_>) -> String {
        let mut out = Vec::new();
        format::Format::Json.write(record, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_is_written_is_read_back() {
        for kind in FaultKind::ALL {
            let mut attempt = sample::failed_attempt();
            let fault = Fault::new(*kind, Phase::Connect, Side::Server);
            let goaway = Signal::H2Goaway {
                code: 11,
                last_stream: 5,
            };
            attempt.fault = Some(
                fault
                    .with_errno(111)
                    .with_signal(Some(goaway))
                    .after(1_234_567),
            );
            (attempt.reuse.uses, attempt.reuse.idle_us) = (3, 4_001);
            let attempts = [attempt];
            let mut record = sample::record(&attempts);
            (record.fault, record.status) = (attempts[0].fault, 502);
            let found = told(Format::Clearway, None, &line(&record));
            let [one] = &found[..] else {
                panic!("{found:?}")
            };
            assert_eq!(one.kinds, [*kind]);
            assert_eq!((one.errno, one.signal), (111, Some(goaway)));
            assert_eq!(one.elapsed_us, Some(1_234_567));
            assert_eq!(
                (one.server.as_str(), one.address.as_str()),
                ("a", "10.0.0.2:8080")
            );
            assert_eq!(
                (one.path.as_str(), one.client.as_str()),
                ("/a", "192.0.2.7")
            );
            assert_eq!(one.reuse, Some(attempts[0].reuse));
            assert_eq!(one.tcp, attempts[0].evidence.as_ref().unwrap().tcp);
            assert_eq!(one.first, b"SSH-2.0\r\n");
            assert_eq!(one.attempt, (1, 1));
        }
    }

    #[test]
    fn every_attempt_is_a_sighting() {
        let mut good = sample::failed_attempt();
        (good.fault, good.evidence, good.status) = (None, None, 200);
        let attempts = [sample::misnamed_attempt(), sample::alerted_attempt(), good];
        let record = sample::record(&attempts);
        let found = told(Format::Clearway, None, &line(&record));
        assert_eq!(found.len(), 2);
        assert_eq!(
            found[0].tls.as_ref(),
            attempts[0].evidence.as_ref().unwrap().tls.as_deref()
        );
        assert!(found.iter().all(|one| one.saved));
        assert_eq!(found[1].signal, Some(Signal::TlsAlert(112)));
    }

    #[test]
    fn faults_without_attempts_and_successes_are_told_apart() {
        let mut record = sample::record(&[]);
        record.fault = Some(Fault::new(FaultKind::NoRoute, Phase::Route, Side::Local));
        record.status = 404;
        let found = told(Format::Clearway, None, &line(&record));
        assert_eq!(found[0].kinds, [FaultKind::NoRoute]);
        let mut good = sample::failed_attempt();
        (good.fault, good.evidence, good.refusal) = (None, None, None);
        (good.status, good.first_byte_us) = (200, Some(2_500));
        let attempts = [good];
        let mut reader = Reader::new(Format::Clearway, Zone::default()).unwrap();
        let text = line(&sample::record(&attempts));
        reader.feed("-", text.as_bytes(), &mut |_| panic!("nothing to tell"));
        let tally = reader.stats().server("app", "a").unwrap();
        assert_eq!((tally.successes, tally.max_us), (1, 2_500));
    }
}
