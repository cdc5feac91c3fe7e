//! One JSON object per line.

use std::io::Write;

use clearway_base::clock;
use clearway_outcome::{Attempt, Fault, Record, errno_name};

use crate::escape;

/// Appends the record as one line.
pub fn write(record: &Record<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"time\":\"");
    out.extend_from_slice(&clock::rfc3339_text(clock::wall_of(record.started)));
    out.push(b'"');
    text(out, "id", &record.id.text());
    key(out, "client");
    // An address has nothing to be escaped; writing into memory cannot fail.
    write!(out, "\"{}\"", record.client).unwrap_or_default();
    text(out, "listener", record.listener.as_str().as_bytes());
    text(out, "route", record.route.as_str().as_bytes());
    text(out, "backend", record.backend.as_str().as_bytes());
    let last = record.attempts.last();
    text(
        out,
        "server",
        last.map_or("-", |a| a.server.as_str()).as_bytes(),
    );
    text(out, "method", record.method);
    text(out, "host", record.host);
    text(out, "target", record.target);
    text(out, "protocol", record.protocol.name().as_bytes());
    number(out, "status", u64::from(record.status));
    number(out, "bytes_in", record.bytes_in);
    number(out, "bytes_out", record.bytes_out);
    millis(out, "total_ms", Some(record.timings.total_us));
    millis(out, "head_ms", Some(record.timings.head_us));
    millis(out, "queue_ms", last.and_then(|a| a.queued_us));
    millis(out, "connect_ms", last.and_then(|a| a.connected_us));
    millis(out, "first_byte_ms", last.and_then(|a| a.first_byte_us));
    raw(
        out,
        "reused",
        if last.is_some_and(Attempt::is_reused) {
            b"true"
        } else {
            b"false"
        },
    );
    number(
        out,
        "retries",
        (record.attempts.len() as u64).saturating_sub(1),
    );
    if !record.referer.is_empty() {
        text(out, "referer", record.referer);
    }
    if !record.user_agent.is_empty() {
        text(out, "user_agent", record.user_agent);
    }
    if let Some(fault) = &record.fault {
        write_fault(out, fault);
        text(out, "summary", fault.kind.summary().as_bytes());
    }
    let refused = record.attempts.iter().any(|a| a.refusal.is_some());
    if record.fault.is_some() || record.attempts.len() > 1 || refused {
        raw(out, "attempts", b"[");
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

fn key(out: &mut Vec<u8>, name: &str) {
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

fn text(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    key(out, name);
    out.push(b'"');
    escape::json(value, out);
    out.push(b'"');
}

fn raw(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    key(out, name);
    out.extend_from_slice(value);
}

fn number(out: &mut Vec<u8>, name: &str, value: u64) {
    raw(out, name, itoa::Buffer::new().format(value).as_bytes());
}

/// Milliseconds with three decimals; left out when the phase was not reached.
fn millis(out: &mut Vec<u8>, name: &str, micros: Option<u64>) {
    let Some(micros) = micros else { return };
    key(out, name);
    out.extend_from_slice(itoa::Buffer::new().format(micros / 1_000).as_bytes());
    let rest = micros % 1_000;
    if rest > 0 {
        out.push(b'.');
        let digits = [rest / 100, rest / 10 % 10, rest % 10];
        out.extend(digits.iter().map(|&d| b'0' + u8::try_from(d).unwrap_or(0)));
    }
}

fn write_fault(out: &mut Vec<u8>, fault: &Fault) {
    text(out, "fault", fault.kind.code().as_bytes());
    text(out, "phase", fault.phase.name().as_bytes());
    text(out, "side", fault.side.name().as_bytes());
    text(out, "party", fault.kind.party().name().as_bytes());
    if fault.errno != 0 {
        number(out, "errno", u64::from(fault.errno.unsigned_abs()));
        if let Some(name) = errno_name(fault.errno) {
            text(out, "errno_name", name.as_bytes());
        }
    }
    millis(out, "elapsed_ms", Some(fault.elapsed_us));
}

/// One Attempt as an object.
pub(crate) fn write_attempt(out: &mut Vec<u8>, attempt: &Attempt) {
    out.push(b'{');
    text(out, "server", attempt.server.as_str().as_bytes());
    text(out, "address", attempt.address.as_str().as_bytes());
    millis(out, "queue_ms", attempt.queued_us);
    millis(out, "connect_ms", attempt.connected_us);
    millis(out, "sent_ms", attempt.sent_us);
    millis(out, "first_byte_ms", attempt.first_byte_us);
    millis(out, "end_ms", Some(attempt.ended_us));
    number(out, "bytes_sent", attempt.bytes_sent);
    number(out, "bytes_received", attempt.bytes_received);
    number(out, "uses", u64::from(attempt.reuse.uses));
    if attempt.is_reused() {
        millis(out, "idle_ms", Some(attempt.reuse.idle_us));
        millis(out, "age_ms", Some(attempt.reuse.age_us));
    }
    if attempt.status > 0 {
        number(out, "status", u64::from(attempt.status));
    }
    if let Some(fault) = &attempt.fault {
        write_fault(out, fault);
    }
    if let Some(refusal) = attempt.refusal {
        text(out, "no_retry", refusal.name().as_bytes());
    }
    if let Some(evidence) = &attempt.evidence {
        if !evidence.first().is_empty() {
            text(
                out,
                "first_bytes",
                evidence.first().escape_ascii().to_string().as_bytes(),
            );
        }
        if let Some(tcp) = &evidence.tcp {
            raw(out, "tcp", b"{");
            number(out, "state", u64::from(tcp.state));
            number(out, "rtt_us", u64::from(tcp.rtt_us));
            number(out, "unacked", u64::from(tcp.unacked));
            number(out, "retransmits", u64::from(tcp.retransmits));
            number(out, "backoff", u64::from(tcp.backoff));
            number(out, "bytes_acked", tcp.bytes_acked);
            number(out, "bytes_received", tcp.bytes_received);
            number(out, "notsent_bytes", u64::from(tcp.notsent_bytes));
            number(out, "unacked_bytes", tcp.unacked_bytes);
            number(out, "last_data_recv_ms", u64::from(tcp.last_data_recv_ms));
            out.push(b'}');
        }
    }
    out.push(b'}');
}
