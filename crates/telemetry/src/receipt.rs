//! A receipt in words: what happened, to whom, and why nothing more was tried.

use clearway_base::clock;
use clearway_outcome::{Attempt, Fault, Protocol, Record, errno_name};

/// Several lines for a terminal, ending in a line feed.
#[must_use]
pub fn words(record: &Record<'_>) -> String {
    let mut out = format!(
        "{}  {}\n  {}  from {}  listener {}",
        record.id,
        headline(record),
        request_line(record),
        record.client,
        record.listener
    );
    if !record.route.is_none() {
        out.push_str(&format!("  route {}", record.route));
    }
    out.push('\n');
    for (at, attempt) in record.attempts.iter().enumerate() {
        out.push_str(&format!(
            "  attempt {}: {}\n",
            at + 1,
            attempt_words(attempt)
        ));
    }
    if let Some(fault) = &record.fault {
        out.push_str(&format!(
            "  what: {}\n  party: {}\n",
            fault.kind.summary(),
            fault.kind.party().name()
        ));
    }
    out
}

/// One line without a line feed.
#[must_use]
pub fn oneline(record: &Record<'_>) -> String {
    let mut out = format!(
        "{} {} {}",
        record.id,
        headline(record),
        request_line(record)
    );
    if let Some(attempt) = record.attempts.last() {
        out.push_str(&format!(" via {}/{}", attempt.backend, attempt.server));
    }
    out
}

fn headline(record: &Record<'_>) -> String {
    let time = clock::rfc3339(clock::wall_of(record.started));
    match &record.fault {
        Some(fault) if record.status > 0 => {
            format!("{time}  {} {}", record.status, fault_words(fault))
        }
        Some(fault) => format!("{time}  {}", fault_words(fault)),
        None if record.attempts.len() > 1 => {
            format!(
                "{time}  {} prevented: saved by {}",
                record.status,
                retries(record)
            )
        }
        None => format!("{time}  {}", record.status),
    }
}

fn retries(record: &Record<'_>) -> String {
    match record.attempts.len() {
        0..=2 => "a retry".to_owned(),
        more => format!("{} retries", more - 1),
    }
}

/// Method and path; query values may be secrets and are left out.
fn request_line(record: &Record<'_>) -> String {
    if record.protocol == Protocol::Tcp {
        return "TCP connection".to_owned();
    }
    if record.method.is_empty() {
        return "unreadable request".to_owned();
    }
    format!("{} {}", record.method.escape_ascii(), redact(record.target))
}

/// A target with the values of its query replaced by `…`.
fn redact(target: &[u8]) -> String {
    let mut parts = target.splitn(2, |&b| b == b'?');
    let mut out = parts.next().unwrap_or_default().escape_ascii().to_string();
    let Some(query) = parts.next() else {
        return out;
    };
    for (at, pair) in query.split(|&b| b == b'&').enumerate() {
        out.push(if at == 0 { '?' } else { '&' });
        let mut halves = pair.splitn(2, |&b| b == b'=');
        out.push_str(&halves.next().unwrap_or_default().escape_ascii().to_string());
        if halves.next().is_some() {
            out.push_str("=…");
        }
    }
    out
}

fn fault_words(fault: &Fault) -> String {
    let mut out = format!("{} while {}", fault.kind.code(), fault.phase.name());
    if let Some(name) = errno_name(fault.errno) {
        out.push_str(&format!(" ({name})"));
    }
    out
}

fn attempt_words(attempt: &Attempt) -> String {
    let mut out = format!("{} ({})", attempt.server, attempt.address);
    if attempt.is_reused() {
        out.push_str(&format!(
            ", kept connection (request {}, idle {}, age {})",
            attempt.reuse.uses + 1,
            ms(attempt.reuse.idle_us),
            ms(attempt.reuse.age_us)
        ));
    }
    let phases = [
        ("queued", attempt.queued_us),
        (
            "connected",
            attempt.connected_us.filter(|_| !attempt.is_reused()),
        ),
        ("sent", attempt.sent_us),
        ("first byte", attempt.first_byte_us),
        ("ended", Some(attempt.ended_us)),
    ];
    for (name, at) in phases {
        if let Some(at) = at {
            out.push_str(&format!(", {name} {}", ms(at)));
        }
    }
    match &attempt.fault {
        Some(fault) => out.push_str(&format!(" → {}", fault_words(fault))),
        None => out.push_str(&format!(" → {}", attempt.status)),
    }
    if let Some(evidence) = &attempt.evidence {
        if !evidence.first().is_empty() {
            out.push_str(&format!(
                "; it sent \"{}\"",
                evidence.first().escape_ascii()
            ));
        }
        if let Some(tcp) = &evidence.tcp {
            out.push_str(&format!(
                "; tcp: {} B acknowledged, {} unacked, {} retransmitted",
                tcp.bytes_acked, tcp.unacked, tcp.retransmits
            ));
        }
    }
    if let Some(refusal) = attempt.refusal {
        out.push_str(&format!("; not tried again: {}", refusal.sentence()));
    }
    out
}

fn ms(micros: u64) -> String {
    format!("{}.{:03} ms", micros / 1_000, micros % 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn a_receipt_tells_what_happened_and_hides_query_values() {
        let attempts = [sample::failed_attempt()];
        let mut record = sample::record(&attempts);
        (record.fault, record.status) = (attempts[0].fault, 502);
        let text = words(&record);
        for part in [
            "502 connect_refused while connect (ECONNREFUSED)",
            "GET /a?b=…",
            "10.0.0.2:8080",
            "no server left",
            "party: server-host",
            "SSH-2.0",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        assert!(!text.contains("b=1"));
        assert!(!oneline(&record).contains('\n'));
    }

    #[test]
    fn a_request_saved_by_a_retry_is_called_prevented() {
        let attempts = [sample::failed_attempt(), sample::failed_attempt()];
        assert!(words(&sample::record(&attempts)).contains("prevented: saved by a retry"));
    }
}
