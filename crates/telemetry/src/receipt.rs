//! A receipt in words: what happened, to whom, and why nothing more was tried.

use clearway_base::clock;
use clearway_outcome::{
    Attempt, CertificateFacts, CertificateVerdict, Evidence, Fault, FaultKind, Phase, Protocol,
    Record, TlsFacts, errno_name,
};

use crate::{escape, format, redact};

/// Most names of a certificate that are listed.
const NAMES_SHOWN: usize = 8;

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
    if let Some(tls) = record.tls {
        out.push_str(&format!("  {}\n", client_words(tls)));
    }
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

/// One line of JSON, as in the log, without what may be secret: see [`crate::redact`].
pub fn json(record: &Record<'_>, out: &mut Vec<u8>) {
    let (target, referer) = (redact::query(record.target), redact::query(record.referer));
    let shown = Record {
        target: &target,
        referer: &referer,
        ..record.clone()
    };
    format::json::write(&shown, out);
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
        Some(fault) => {
            let status = match (record.status, record.grpc_status) {
                (0, _) => String::new(),
                (status, None) => format!("{status} "),
                (status, Some(grpc)) => format!("{status} {} ", grpc.name()),
            };
            let signal = fault.signal.map(|signal| format!(" ({signal})"));
            format!(
                "{time}  {status}{}{}",
                fault_words(fault),
                signal.unwrap_or_default()
            )
        }
        None if record.attempts.len() > 1 => {
            format!(
                "{time}  {} prevented: saved by {}",
                record.status,
                retries(record)
            )
        }
        None if is_servers_own(record) => {
            format!("{time}  {} sent by the server itself", record.status)
        }
        None => format!("{time}  {}", record.status),
    }
}

/// Whether the error that the client got was made by the server, not by the balancer.
fn is_servers_own(record: &Record<'_>) -> bool {
    let answered = |attempt: &Attempt| attempt.fault.is_none() && attempt.status >= 500;
    record.attempts.last().is_some_and(answered)
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
    let mut out = format!("{} ", record.method.escape_ascii());
    let target = redact::query(record.target);
    escape::terminal(&String::from_utf8_lossy(&target), &mut out);
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
            attempt.reuse.uses.saturating_add(1),
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
    if let Some(signal) = attempt.fault.and_then(|fault| fault.signal) {
        out.push_str(&format!("; it sent {signal}"));
    }
    if let Some(evidence) = &attempt.evidence {
        out.push_str(&evidence_words(attempt, evidence));
    }
    if let Some(refusal) = attempt.refusal {
        out.push_str(&format!("; not tried again: {}", refusal.sentence()));
    }
    out
}

fn evidence_words(attempt: &Attempt, evidence: &Evidence) -> String {
    let mut out = String::new();
    if let (Some(tls), Some(fault)) = (&evidence.tls, &attempt.fault) {
        out.push_str(&server_words(tls, fault));
    }
    if let Some(spoken) = attempt.spoken_instead() {
        out.push_str(&format!("; it speaks {spoken}"));
    }
    // Of what is TLS as it should be, the words above say more than its bytes.
    let is_tls = evidence
        .tls
        .as_ref()
        .is_some_and(|tls| tls.certificate.is_some());
    if !evidence.first().is_empty() && !is_tls {
        out.push_str(&format!(
            "; it sent \"{}\"",
            redact::first(evidence.first()).escape_ascii()
        ));
    }
    if let Some(tcp) = &evidence.tcp {
        out.push_str(&format!(
            "; tcp: {} B acknowledged, {} unacked, {} retransmitted",
            tcp.bytes_acked, tcp.unacked, tcp.retransmits
        ));
    }
    out
}

/// TLS with the client, from `TLSv1.3` on.
fn client_words(tls: &TlsFacts) -> String {
    let mut out = match tls.version {
        0 => "no TLS agreed on".to_owned(),
        // The version is known before anything was agreed on.
        _ if tls.cipher == 0 => format!("{} offered", tls.version_name()),
        _ => format!("{} {}", tls.version_name(), tls.cipher_name()),
    };
    if !tls.server_name.is_empty() {
        out.push_str(" for ");
        escape::terminal(&tls.server_name, &mut out);
    }
    if !tls.alpn.is_empty() {
        out.push_str(&format!(", ALPN {}", tls.alpn.escape_ascii()));
    }
    if tls.resumed {
        out.push_str(", resumed");
    }
    if let Some(certificate) = &tls.certificate {
        out.push_str("; client certificate of ");
        escape::terminal(&certificate.subject, &mut out);
        out.push_str(&issue_words(certificate, false));
    }
    match tls.verdict {
        CertificateVerdict::None => {}
        CertificateVerdict::Verified => out.push_str(", verified"),
        CertificateVerdict::NotVerified => out.push_str(", not verified"),
        CertificateVerdict::Refused => out.push_str(&refusal_words(tls)),
    }
    out
}

/// What TLS with a server tells about a fault; nothing when it was not about TLS.
fn server_words(tls: &TlsFacts, fault: &Fault) -> String {
    let mut out = String::new();
    if fault.phase != Phase::Tls && tls.verdict != CertificateVerdict::Refused {
        return out;
    }
    let certificate = tls.certificate.as_ref();
    // One that was verified has nothing to do with it.
    let certificate = certificate.filter(|_| tls.verdict != CertificateVerdict::Verified);
    if let Some(certificate) = certificate {
        out.push_str("; the certificate presented is for ");
        name_words(certificate, &mut out);
        let early = fault.kind == FaultKind::ServerCertificateNotYetValid;
        out.push_str(&issue_words(certificate, early));
    }
    if !tls.server_name.is_empty() {
        let expected = fault.kind == FaultKind::ServerCertificateName;
        let verb = if expected { "expected" } else { "asked for" };
        out.push_str(&format!("; {verb} "));
        escape::terminal(&tls.server_name, &mut out);
    }
    if tls.verdict == CertificateVerdict::Refused {
        out.push_str(&refusal_words(tls));
    }
    out
}

/// The names a certificate is for, and its subject.
fn name_words(certificate: &CertificateFacts, out: &mut String) {
    if certificate.names.is_empty() {
        out.push_str("no name");
    }
    for (at, name) in certificate.names.iter().take(NAMES_SHOWN).enumerate() {
        out.push_str(if at > 0 { ", " } else { "" });
        escape::terminal(name, out);
    }
    if certificate.names.len() > NAMES_SHOWN {
        let more = certificate.names.len() - NAMES_SHOWN;
        out.push_str(&format!(" and {more} more"));
    }
    if !certificate.subject.is_empty() {
        out.push_str(" (");
        escape::terminal(&certificate.subject, out);
        out.push(')');
    }
}

/// By whom and until when; with `early` also since when.
fn issue_words(certificate: &CertificateFacts, early: bool) -> String {
    let mut out = ", issued by ".to_owned();
    if certificate.issuer == certificate.subject {
        out.push_str("itself");
    } else {
        escape::terminal(&certificate.issuer, &mut out);
    }
    out.push_str(", valid ");
    if early {
        out.push_str(&format!("from {} ", date(certificate.not_before)));
    }
    out.push_str(&format!("until {}", date(certificate.not_after)));
    out
}

fn refusal_words(tls: &TlsFacts) -> String {
    let mut out = "; refused".to_owned();
    if !tls.refusal.is_empty() {
        out.push_str(": ");
        escape::terminal(&tls.refusal, &mut out);
    }
    out
}

/// The day of a time in seconds since 1970.
fn date(unix_seconds: i64) -> String {
    let text = clock::rfc3339_seconds(unix_seconds);
    String::from_utf8_lossy(text.get(..10).unwrap_or_default()).into_owned()
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
    fn a_receipt_of_a_call_tells_its_status() {
        let attempts = [sample::failed_attempt()];
        let mut record = sample::record(&attempts);
        (record.fault, record.status) = (attempts[0].fault, 200);
        record.grpc_status = Some(clearway_outcome::GrpcStatus(14));
        let text = words(&record);
        assert!(text.contains("  200 UNAVAILABLE connect_refused"), "{text}");
    }

    #[test]
    fn a_receipt_tells_of_certificates_and_alerts() {
        let attempts = [sample::misnamed_attempt(), sample::alerted_attempt()];
        let mut record = sample::record(&attempts);
        let tls = sample::tls();
        (record.fault, record.status, record.tls) = (attempts[1].fault, 502, Some(&tls));
        let text = words(&record);
        for part in [
            "502 server_tls_alert while tls (TLS alert 112 unrecognized_name)\n",
            "  TLSv1.3 TLS_AES_128_GCM_SHA256 for www.example.org, ALPN h2, resumed; client certificate \
             of CN=Ada,O=Example, issued by CN=Example CA 1,O=Example Trust, valid until 2026-01-03, \
             verified\n",
            "server_certificate_name while tls; the certificate presented is for app.example.org, \
             192.0.2.9 (CN=app.example.org), issued by CN=Example CA 1,O=Example Trust, valid until \
             2026-01-03; expected api.example.org; refused: not valid for name; not tried again",
            "server_tls_alert while tls; it sent TLS alert 112 unrecognized_name; asked for \
             api.example.org; not tried again",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }

    #[test]
    fn certificates_are_told_shortly_and_only_where_they_matter() {
        let mut attempt = sample::misnamed_attempt();
        let fault = attempt.fault.unwrap();
        let mut tls = attempt.evidence.take().unwrap().tls.unwrap();
        let certificate = tls.certificate.as_mut().unwrap();
        certificate.issuer = certificate.subject.clone();
        certificate.names = (1..=20).map(|n| format!("{n}.example")).collect();
        tls.refusal.clear();
        let early = Fault::new(
            FaultKind::ServerCertificateNotYetValid,
            fault.phase,
            fault.side,
        );
        assert_eq!(
            server_words(&tls, &early),
            "; the certificate presented is for 1.example, 2.example, 3.example, 4.example, \
             5.example, 6.example, 7.example, 8.example and 12 more (CN=app.example.org), issued by \
             itself, valid from 2025-01-03 until 2026-01-03; asked for api.example.org; refused"
        );
        tls.verdict = CertificateVerdict::Verified;
        assert_eq!(server_words(&tls, &fault), "; expected api.example.org");
        let late = Fault::new(FaultKind::ResponseTimeout, Phase::Wait, fault.side);
        assert_eq!(server_words(&tls, &late), "");
    }

    #[test]
    fn no_certificate_can_break_a_terminal() {
        let hostile = "a\n\u{1b}[2J\u{9b}2J\u{202e}\"'\\";
        let mut tls = sample::tls();
        tls.verdict = CertificateVerdict::Refused;
        (tls.server_name, tls.refusal) = (hostile.to_owned(), hostile.to_owned());
        tls.alpn = hostile.as_bytes().to_vec();
        let certificate = tls.certificate.as_mut().unwrap();
        (certificate.subject, certificate.issuer) = (hostile.to_owned(), format!("{hostile}b"));
        certificate.names = vec![hostile.to_owned()];
        let fault = sample::misnamed_attempt().fault.unwrap();
        for text in [client_words(&tls), server_words(&tls, &fault)] {
            assert!(!text.contains(char::is_control), "{text:?}");
            assert!(!text.contains('\u{202e}'), "{text:?}");
            assert!(text.contains("\\u{1b}[2J\\u{9b}2J\\u{202e}\"'\\"), "{text}");
        }
    }

    #[test]
    fn a_request_saved_by_a_retry_is_called_prevented() {
        let attempts = [sample::failed_attempt(), sample::failed_attempt()];
        assert!(words(&sample::record(&attempts)).contains("prevented: saved by a retry"));
    }
}
