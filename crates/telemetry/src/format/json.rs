//! One JSON object per line.

use clearway_base::{clock, decimal};
use clearway_outcome::{Attempt, Fault, Record, errno_name};

use crate::escape;

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
    raw(
        out,
        key!("reused"),
        if last.is_some_and(Attempt::is_reused) {
            b"true"
        } else {
            b"false"
        },
    );
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
    millis(out, key!("elapsed_ms"), Some(fault.elapsed_us));
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
        if !evidence.first().is_empty() {
            text(
                out,
                key!("first_bytes"),
                evidence.first().escape_ascii().to_string().as_bytes(),
            );
        }
        if let Some(tcp) = &evidence.tcp {
            raw(out, key!("tcp"), b"{");
            number(out, key!("state"), u64::from(tcp.state));
            number(out, key!("rtt_us"), u64::from(tcp.rtt_us));
            number(out, key!("unacked"), u64::from(tcp.unacked));
            number(out, key!("retransmits"), u64::from(tcp.retransmits));
            number(out, key!("backoff"), u64::from(tcp.backoff));
            number(out, key!("bytes_acked"), tcp.bytes_acked);
            number(out, key!("bytes_received"), tcp.bytes_received);
            number(out, key!("notsent_bytes"), u64::from(tcp.notsent_bytes));
            number(out, key!("unacked_bytes"), tcp.unacked_bytes);
            number(
                out,
                key!("last_data_recv_ms"),
                u64::from(tcp.last_data_recv_ms),
            );
            out.push(b'}');
        }
    }
    out.push(b'}');
}
