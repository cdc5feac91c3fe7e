//! One JSON object per line.

use clearway_base::{clock, decimal};
use clearway_outcome::{
    Attempt, CertificateFacts, CertificateVerdict, Evidence, Fault, Record, Signal, TcpFacts,
    TlsFacts, errno_name,
};

use crate::{escape, redact};

/// A key with the comma before it, ready to be appended in one go.
macro_rules! key {
    ($name:literal) => {
        concat!(",\"", $name, "\":").as_bytes()
    };
}

/// Appends the record as one line.
pub fn write(record: &Record<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"time\":\"");
    out.extend_from_slice(&clock::rfc3339_text(clock::wall_of(record.started)));
    out.push(b'"');
    text(out, key!("id"), &record.id.text());
    put_key(out, key!("client"));
    // An address has nothing to be escaped.
    out.push(b'"');
    record.client.write(out);
    out.push(b'"');
    text(out, key!("listener"), record.listener.as_str().as_bytes());
    text(out, key!("route"), record.route.as_str().as_bytes());
    text(out, key!("backend"), record.backend.as_str().as_bytes());
    let last = record.attempts.last();
    text(
        out,
        key!("server"),
        last.map_or("-", |a| a.server.as_str()).as_bytes(),
    );
    text(out, key!("method"), record.method);
    text(out, key!("host"), record.host);
    text(out, key!("target"), record.target);
    text(out, key!("protocol"), record.protocol.name().as_bytes());
    number(out, key!("status"), u64::from(record.status));
    if let Some(status) = record.grpc_status {
        number(out, key!("grpc_status"), u64::from(status.0));
        text(out, key!("grpc_status_name"), status.name().as_bytes());
    }
    number(out, key!("bytes_in"), record.bytes_in);
    number(out, key!("bytes_out"), record.bytes_out);
    millis(out, key!("total_ms"), Some(record.timings.total_us));
    millis(out, key!("head_ms"), Some(record.timings.head_us));
    millis(out, key!("queue_ms"), last.and_then(|a| a.queued_us));
    millis(out, key!("connect_ms"), last.and_then(|a| a.connected_us));
    millis(
        out,
        key!("first_byte_ms"),
        last.and_then(|a| a.first_byte_us),
    );
    let reused = last.is_some_and(Attempt::is_reused);
    raw(out, key!("reused"), truth(reused));
    number(
        out,
        key!("retries"),
        (record.attempts.len() as u64).saturating_sub(1),
    );
    if !record.referer.is_empty() {
        text(out, key!("referer"), record.referer);
    }
    if !record.user_agent.is_empty() {
        text(out, key!("user_agent"), record.user_agent);
    }
    if let Some(tls) = record.tls {
        write_client_tls(out, tls);
    }
    if let Some(fault) = &record.fault {
        write_fault(out, fault);
        text(out, key!("summary"), fault.kind.summary().as_bytes());
    }
    let refused = record.attempts.iter().any(|a| a.refusal.is_some());
    if record.fault.is_some() || record.attempts.len() > 1 || refused {
        raw(out, key!("attempts"), b"[");
        for (at, attempt) in record.attempts.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            write_attempt(out, attempt);
        }
        out.push(b']');
    }
    out.extend_from_slice(b"}\n");
}

/// Appends a key, without its comma at the start of an object.
fn put_key(out: &mut Vec<u8>, key: &[u8]) {
    let is_first = out.last() == Some(&b'{');
    out.extend_from_slice(if is_first {
        key.get(1..).unwrap_or_default()
    } else {
        key
    });
}

fn text(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    put_key(out, key);
    out.push(b'"');
    escape::json(value, out);
    out.push(b'"');
}

fn raw(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    put_key(out, key);
    out.extend_from_slice(value);
}

fn number(out: &mut Vec<u8>, key: &[u8], value: u64) {
    put_key(out, key);
    decimal::write(out, value);
}

fn truth(value: bool) -> &'static [u8] {
    if value { b"true" } else { b"false" }
}

/// A time in whole seconds since 1970.
fn time(out: &mut Vec<u8>, key: &[u8], seconds: i64) {
    put_key(out, key);
    out.push(b'"');
    out.extend_from_slice(&clock::rfc3339_seconds(seconds));
    out.push(b'"');
}

/// Milliseconds with three decimals; left out when the phase was not reached.
fn millis(out: &mut Vec<u8>, key: &[u8], micros: Option<u64>) {
    let Some(micros) = micros else { return };
    put_key(out, key);
    decimal::write(out, micros / 1_000);
    let rest = micros % 1_000;
    if rest > 0 {
        out.push(b'.');
        let digits = [rest / 100, rest / 10 % 10, rest % 10];
        out.extend(digits.iter().map(|&d| b'0' + u8::try_from(d).unwrap_or(0)));
    }
}

fn write_fault(out: &mut Vec<u8>, fault: &Fault) {
    text(out, key!("fault"), fault.kind.code().as_bytes());
    text(out, key!("phase"), fault.phase.name().as_bytes());
    text(out, key!("side"), fault.side.name().as_bytes());
    text(out, key!("party"), fault.kind.party().name().as_bytes());
    if fault.errno != 0 {
        number(out, key!("errno"), u64::from(fault.errno.unsigned_abs()));
        if let Some(name) = errno_name(fault.errno) {
            text(out, key!("errno_name"), name.as_bytes());
        }
    }
    if let Some(signal) = fault.signal {
        write_signal(out, signal);
    }
    millis(out, key!("elapsed_ms"), Some(fault.elapsed_us));
}

/// What the peer said about it.
fn write_signal(out: &mut Vec<u8>, signal: Signal) {
    let (key, value, name) = match signal {
        Signal::TlsAlert(number) => (key!("alert"), u32::from(number), key!("alert_name")),
        Signal::H2Reset(code) | Signal::H2Goaway { code, .. } => {
            (key!("h2_code"), code, key!("h2_code_name"))
        }
    };
    number(out, key, value.into());
    if let Some(known) = signal.name() {
        text(out, name, known.as_bytes());
    }
    if let Signal::H2Goaway { last_stream, .. } = signal {
        number(out, key!("goaway_last_stream"), last_stream.into());
    }
}

/// TLS with the client, as `tls`.
fn write_client_tls(out: &mut Vec<u8>, tls: &TlsFacts) {
    raw(out, key!("tls"), b"{");
    write_agreed(out, tls);
    if tls.certificate.is_some() || tls.verdict != CertificateVerdict::None {
        raw(out, key!("client_certificate"), b"{");
        if let Some(certificate) = &tls.certificate {
            text(out, key!("subject"), certificate.subject.as_bytes());
            text(out, key!("issuer"), certificate.issuer.as_bytes());
            text(out, key!("serial"), certificate.serial.as_bytes());
            text(out, key!("fingerprint"), certificate.fingerprint.as_bytes());
            time(out, key!("not_after"), certificate.not_after);
        }
        text(out, key!("verdict"), tls.verdict.name().as_bytes());
        out.push(b'}');
    }
    write_refusal(out, tls);
    out.push(b'}');
}

/// TLS with a server, as `tls`.
fn write_server_tls(out: &mut Vec<u8>, tls: &TlsFacts) {
    raw(out, key!("tls"), b"{");
    write_agreed(out, tls);
    text(out, key!("verdict"), tls.verdict.name().as_bytes());
    if let Some(certificate) = &tls.certificate {
        write_server_certificate(out, certificate);
    }
    write_refusal(out, tls);
    out.push(b'}');
}

fn write_agreed(out: &mut Vec<u8>, tls: &TlsFacts) {
    text(out, key!("version"), tls.version_name().as_bytes());
    text(out, key!("cipher"), tls.cipher_name().as_bytes());
    if !tls.server_name.is_empty() {
        text(out, key!("server_name"), tls.server_name.as_bytes());
    }
    if !tls.alpn.is_empty() {
        text(out, key!("alpn"), &tls.alpn);
    }
    raw(out, key!("resumed"), truth(tls.resumed));
}

fn write_server_certificate(out: &mut Vec<u8>, certificate: &CertificateFacts) {
    raw(out, key!("certificate"), b"{");
    text(out, key!("subject"), certificate.subject.as_bytes());
    text(out, key!("issuer"), certificate.issuer.as_bytes());
    raw(out, key!("names"), b"[");
    for (at, name) in certificate.names.iter().enumerate() {
        out.extend_from_slice(if at > 0 { b",\"" } else { b"\"" });
        escape::json(name.as_bytes(), out);
        out.push(b'"');
    }
    out.push(b']');
    time(out, key!("not_before"), certificate.not_before);
    time(out, key!("not_after"), certificate.not_after);
    text(out, key!("serial"), certificate.serial.as_bytes());
    text(out, key!("fingerprint"), certificate.fingerprint.as_bytes());
    out.push(b'}');
}

fn write_refusal(out: &mut Vec<u8>, tls: &TlsFacts) {
    if !tls.refusal.is_empty() {
        text(out, key!("refusal"), tls.refusal.as_bytes());
    }
}

/// One Attempt as an object.
pub(crate) fn write_attempt(out: &mut Vec<u8>, attempt: &Attempt) {
    out.push(b'{');
    text(out, key!("server"), attempt.server.as_str().as_bytes());
    text(out, key!("address"), attempt.address.as_str().as_bytes());
    millis(out, key!("queue_ms"), attempt.queued_us);
    millis(out, key!("connect_ms"), attempt.connected_us);
    millis(out, key!("sent_ms"), attempt.sent_us);
    millis(out, key!("first_byte_ms"), attempt.first_byte_us);
    millis(out, key!("end_ms"), Some(attempt.ended_us));
    number(out, key!("bytes_sent"), attempt.bytes_sent);
    number(out, key!("bytes_received"), attempt.bytes_received);
    number(out, key!("uses"), u64::from(attempt.reuse.uses));
    if attempt.is_reused() {
        millis(out, key!("idle_ms"), Some(attempt.reuse.idle_us));
        millis(out, key!("age_ms"), Some(attempt.reuse.age_us));
    }
    if attempt.status > 0 {
        number(out, key!("status"), u64::from(attempt.status));
    }
    if let Some(fault) = &attempt.fault {
        write_fault(out, fault);
    }
    if let Some(refusal) = attempt.refusal {
        text(out, key!("no_retry"), refusal.name().as_bytes());
    }
    if let Some(evidence) = &attempt.evidence {
        write_evidence(out, attempt, evidence);
    }
    out.push(b'}');
}

fn write_evidence(out: &mut Vec<u8>, attempt: &Attempt, evidence: &Evidence) {
    if evidence.is_immediate {
        raw(out, key!("immediate"), b"true");
    }
    if let Some(spoken) = attempt.spoken_instead() {
        text(out, key!("spoken"), spoken.to_string().as_bytes());
    }
    let first = redact::first(evidence.first());
    if !first.is_empty() {
        let shown = first.escape_ascii().to_string();
        text(out, key!("first_bytes"), shown.as_bytes());
    }
    if let Some(tls) = &evidence.tls {
        write_server_tls(out, tls);
    }
    if let Some(tcp) = &evidence.tcp {
        write_tcp(out, tcp);
    }
}

fn write_tcp(out: &mut Vec<u8>, tcp: &TcpFacts) {
    raw(out, key!("tcp"), b"{");
    for (key, value) in [
        (key!("state"), u64::from(tcp.state)),
        (key!("rtt_us"), tcp.rtt_us.into()),
        (key!("unacked"), tcp.unacked.into()),
        (key!("retransmits"), tcp.retransmits.into()),
        (key!("backoff"), tcp.backoff.into()),
        (key!("bytes_acked"), tcp.bytes_acked),
        (key!("bytes_received"), tcp.bytes_received),
        (key!("notsent_bytes"), tcp.notsent_bytes.into()),
        (key!("unacked_bytes"), tcp.unacked_bytes),
        (key!("last_data_recv_ms"), tcp.last_data_recv_ms.into()),
    ] {
        number(out, key, value);
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::sample;

    fn line(record: &Record<'_>) -> String {
        let mut out = Vec::new();
        write(record, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn has(line: &str, part: &str) {
        assert!(line.contains(part), "{part} is not in {line}");
    }

    #[test]
    fn tls_with_the_client_is_told() {
        let tls = sample::tls();
        let mut record = sample::record(&[]);
        record.tls = Some(&tls);
        has(
            &line(&record),
            r#","tls":{"version":"TLSv1.3","cipher":"TLS_AES_128_GCM_SHA256","server_name":"www.example.org","alpn":"h2","resumed":true,"client_certificate":{"subject":"CN=Ada,O=Example","issuer":"CN=Example CA 1,O=Example Trust","serial":"fedc01","fingerprint":"ba7816bf","not_after":"2026-01-03T00:00:00Z","verdict":"verified"}}"#,
        );
        let nothing = TlsFacts::default();
        record.tls = Some(&nothing);
        let empty = r#","tls":{"version":"-","cipher":"-","resumed":false}}"#;
        has(&line(&record), empty);
        let refused = TlsFacts {
            verdict: CertificateVerdict::Refused,
            refusal: "has expired".to_owned(),
            ..TlsFacts::default()
        };
        record.tls = Some(&refused);
        has(
            &line(&record),
            r#""client_certificate":{"verdict":"refused"},"refusal":"has expired"}"#,
        );
    }

    #[test]
    fn attempts_tell_the_certificate_they_were_shown() {
        let attempts = [sample::misnamed_attempt()];
        let mut record = sample::record(&attempts);
        record.fault = attempts[0].fault;
        has(
            &line(&record),
            r#","tls":{"version":"TLSv1.2","cipher":"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256","server_name":"api.example.org","resumed":false,"verdict":"refused","certificate":{"subject":"CN=app.example.org","issuer":"CN=Example CA 1,O=Example Trust","names":["app.example.org","192.0.2.9"],"not_before":"2025-01-03T00:00:00Z","not_after":"2026-01-03T00:00:00Z","serial":"fedc01","fingerprint":"ba7816bf"},"refusal":"not valid for name"}"#,
        );
    }

    /// Every key in a value, at any depth.
    fn keys(value: &serde_json::Value, found: &mut BTreeSet<String>) {
        if let Some(object) = value.as_object() {
            found.extend(object.keys().cloned());
            object.values().for_each(|value| keys(value, found));
        }
        for value in value.as_array().into_iter().flatten() {
            keys(value, found);
        }
    }

    #[test]
    fn the_page_lists_the_keys_that_are_written() {
        let mut attempts = [
            sample::failed_attempt(),
            sample::misnamed_attempt(),
            sample::alerted_attempt(),
        ];
        let [first, ..] = &mut attempts;
        (first.reuse.uses, first.status) = (1, 200);
        (first.queued_us, first.connected_us) = (Some(1), Some(2));
        (first.sent_us, first.first_byte_us) = (Some(3), Some(4));
        if let Some(evidence) = &mut first.evidence {
            evidence.is_immediate = true;
        }
        let goaway = Signal::H2Goaway {
            code: 0,
            last_stream: 9,
        };
        let tls = sample::tls();
        let mut record = sample::record(&attempts);
        (record.tls, record.referer) = (Some(&tls), b"http://example.org/");
        record.grpc_status = Some(clearway_outcome::GrpcStatus(14));
        record.fault = attempts[0]
            .fault
            .map(|fault| fault.with_signal(Some(goaway)));
        let mut written = BTreeSet::new();
        keys(&serde_json::from_str(&line(&record)).unwrap(), &mut written);
        record = sample::record(&attempts[..1]);
        keys(&serde_json::from_str(&line(&record)).unwrap(), &mut written);

        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/log.md");
        let page = std::fs::read_to_string(page).unwrap();
        let rows = page.lines().filter(|line| line.starts_with("| `"));
        // The first column names keys; so does what stands behind a colon in the second.
        let mut named = BTreeSet::new();
        for row in rows {
            let (first, second) = row.split_once("` | ").unwrap();
            let inner = second.split_once(": `").map_or("", |(_, inner)| inner);
            for text in [first, &format!("`{inner}")] {
                let quoted = text.split('`').skip(1).step_by(2);
                named.extend(quoted.map(str::to_owned));
            }
        }
        named.remove("");
        assert_eq!(written, named);
    }

    #[test]
    fn signals_and_foreign_protocols_are_told() {
        let mut record = sample::record(&[]);
        let mut fault = sample::alerted_attempt().fault.unwrap();
        for (signal, part) in [
            (
                Signal::TlsAlert(48),
                r#","alert":48,"alert_name":"unknown_ca","#,
            ),
            (Signal::TlsAlert(3), r#","alert":3,"elapsed_ms""#),
            (
                Signal::H2Reset(7),
                r#","h2_code":7,"h2_code_name":"REFUSED_STREAM","#,
            ),
            (
                Signal::H2Goaway {
                    code: 0,
                    last_stream: 9,
                },
                r#","h2_code":0,"h2_code_name":"NO_ERROR","goaway_last_stream":9,"#,
            ),
        ] {
            fault.signal = Some(signal);
            record.fault = Some(fault);
            has(&line(&record), part);
        }
        let attempts = [sample::failed_attempt()];
        let mut record = sample::record(&attempts);
        record.fault = attempts[0].fault;
        let part = r#","spoken":"SSH","first_bytes":"SSH-2.0\\r\\n","tcp":{"state":7,"#;
        has(&line(&record), part);
    }
}
