//! Access logs of AWS Application Load Balancers. Fields that were added later may be missing, and those
//! that will be are not looked at.

use clearway_outcome::{FaultKind, Remark, Sighting, Speaker, Suspects};

use FaultKind as K;

use super::field::{Field, Fields};
use super::template::{Parts, Template};
use super::{Context, TemplateError, scan, server_of, time};

/// The fields in order; `true` = in quotes.
const FIELDS: [(Field, bool); 30] = [
    (Field::Kind, false),
    (Field::Time, false),
    (Field::Listener, false),
    (Field::ClientPort, false),
    (Field::AddressPort, false),
    (Field::BeforeSeconds, false),
    (Field::ServerSeconds, false),
    (Field::AfterSeconds, false),
    (Field::Status, false),
    (Field::ServerStatus, false),
    (Field::Received, false),
    (Field::Sent, false),
    (Field::Request, true),
    (Field::Agent, true),
    (Field::Skip, false),
    (Field::Skip, false),
    (Field::Backend, false),
    (Field::Id, true),
    (Field::Host, true),
    (Field::Skip, true),
    (Field::Skip, false),
    (Field::Created, false),
    (Field::Details, true),
    (Field::Skip, true),
    (Field::Reason, true),
    (Field::Skip, true),
    (Field::Skip, true),
    (Field::Class, true),
    (Field::ClassReason, true),
    (Field::Skip, false),
];

/// Up to the request: what is needed.
const NEEDED: usize = 13;

/// Reads the lines.
pub(super) struct Lines(Template);

impl Lines {
    pub(super) fn new(text: Option<&str>) -> Result<Self, TemplateError> {
        if text.is_some() {
            return Err(TemplateError::NoTemplate);
        }
        let mut parts = Parts::default();
        for (at, (field, quoted)) in FIELDS.into_iter().enumerate() {
            let quote = if quoted { &b"\""[..] } else { b"" };
            parts.literal(if at > 0 { b" " } else { b"" });
            parts.literal(quote);
            parts.field(field, false);
            parts.literal(quote);
        }
        Ok(Self(parts.template()?.with_needed(NEEDED)))
    }

    #[expect(
        clippy::needless_pass_by_ref_mut,
        reason = "readers of other formats learn from their lines"
    )]
    pub(super) fn line(&mut self, line: &[u8], context: &mut Context<'_>) -> bool {
        let Some(fields) = self.0.cut(line).filter(is_plausible) else {
            return false;
        };
        read(&fields, context);
        true
    }
}

fn is_plausible(fields: &Fields<'_>) -> bool {
    const KINDS: [&[u8]; 6] = [b"http", b"https", b"h2", b"grpcs", b"ws", b"wss"];
    let status = fields.get(Field::Status);
    KINDS.contains(&fields.get(Field::Kind))
        && (status.is_empty() || scan::status(status).is_some())
}

fn read(fields: &Fields<'_>, context: &mut Context<'_>) {
    let at = fields.at(context.zone);
    let status = scan::status(fields.get(Field::Status)).unwrap_or(0);
    let server_status = scan::status(fields.get(Field::ServerStatus)).unwrap_or(0);
    context.stats.time(at);
    context.stats.status(status);
    let backend = group(fields.get(Field::Backend));
    let took = scan::seconds(fields.get(Field::ServerSeconds));
    let is_own = server_status == 0 && status >= 400;
    let is_whole = server_status == status || status < 500;
    if status > 0 && status < 500 && !is_own {
        let key = (backend, fields.get(Field::AddressPort));
        return context.stats.answered(key, status, took, at, fields.path());
    }
    let mut sighting = Sighting::of(Speaker::Alb, context.place);
    sighting.at_us = at;
    fields.describe(&mut sighting);
    sighting.backend = scan::text(backend);
    sighting.address = fields.text(Field::AddressPort);
    sighting.request_bytes = scan::number(fields.get(Field::Received));
    sighting.elapsed_us = elapsed(fields, at, context);
    if server_status > 0 && is_whole {
        sighting.server_status = server_status;
        context
            .stats
            .answered(server_of(&sighting), status, took, at, b"");
    } else if server_status > 0 {
        // The server began to answer, and what it sent could not be passed on.
        sighting.server_status = server_status;
        sighting.suspects = Suspects::any_of(&BAD_ANSWER);
    } else {
        (sighting.suspects, sighting.remark) = judge(fields, status, sighting.elapsed_us);
    }
    words(fields, context);
    context.tell(sighting);
}

/// The name inside `arn:aws:elasticloadbalancing:REGION:ACCOUNT:targetgroup/NAME/ID`.
fn group(arn: &[u8]) -> &[u8] {
    let (_, rest) = scan::split(arn, b":targetgroup/").unwrap_or((b"", arn));
    scan::before(rest, b'/')
}

/// From the request to the end of the line's work: the three times where all are known, else from the
/// two time stamps.
fn elapsed(fields: &Fields<'_>, at: Option<i64>, context: &Context<'_>) -> Option<u64> {
    let began = time::parse(fields.get(Field::Created), context.zone);
    let stamps = at
        .zip(began)
        .and_then(|(end, began)| u64::try_from(end - began).ok());
    let times = [
        Field::BeforeSeconds,
        Field::ServerSeconds,
        Field::AfterSeconds,
    ];
    let known = times.map(|field| scan::seconds(fields.get(field)));
    stamps.or_else(|| {
        known
            .into_iter()
            .try_fold(0_u64, |sum, time| Some(sum + time?))
    })
}

// ---- What the balancer answers by itself, and which kinds it may be ----

const BAD_ANSWER: [FaultKind; 9] = [
    K::ResponseHeadersTooLarge,
    K::ResponseHeaderInvalid,
    K::ResponseFramingConflict,
    K::ResponseLengthInvalid,
    K::ResponseHeadTruncated,
    K::ResponseBodyShort,
    K::ResponseBodyReset,
    K::ResponseBodyStalled,
    K::ServerH2Protocol,
];

/// The server took the request and gave no answer that could be passed on.
const NO_ANSWER: [FaultKind; 12] = [
    K::ServerClosedNoResponse,
    K::ServerResetNoResponse,
    K::ReusedClosed,
    K::ReusedReset,
    K::ResponseHeadTruncated,
    K::ResponseHeadReset,
    K::ResponseHeaderInvalid,
    K::ResponseHeadersTooLarge,
    K::ResponseStatusLineInvalid,
    K::ResponseNotHttp,
    K::ServerClosedWhileSending,
    K::ServerResetWhileSending,
];

/// There was no connection, TLS included. ALB does not verify certificates, and has files and ports.
const NOT_REACHED: [FaultKind; 14] = [
    K::ConnectRefused,
    K::ConnectReset,
    K::ConnectUnreachable,
    K::ServerTlsClosed,
    K::ServerTlsReset,
    K::ServerTlsAlert,
    K::ServerSpeaksPlain,
    K::ServerTlsIncompatible,
    K::ServerTlsProtocol,
    // A connection that was kept and ended just then looks the same.
    K::ReusedClosed,
    K::ReusedReset,
    K::ServerClosedNoResponse,
    K::ServerResetNoResponse,
    K::ResponseHeaderInvalid,
];

const BAD_REQUEST: [FaultKind; 8] = [
    K::RequestLineInvalid,
    K::TargetInvalid,
    K::HeaderNameInvalid,
    K::HeaderValueInvalid,
    K::HeadersTooLarge,
    K::RequestBodyTruncated,
    K::HostInvalid,
    K::ContentLengthWithTransferEncoding,
];

/// Statuses and what they are; 0 = GOAWAY after the limits of HTTP/2.
const OWN: &[(u16, Option<Remark>, &[FaultKind])] = &[
    (400, None, &BAD_REQUEST),
    (401, Some(Remark::AuthRequestFailed), &[K::Denied]),
    (403, None, &[K::Denied]),
    (405, None, &[K::MethodInvalid, K::ConnectMethodRefused]),
    (408, None, &[K::RequestBodyTimeout, K::RequestHeadTimeout]),
    (413, None, &[K::BodyTooLarge]),
    (414, None, &[K::RequestLineTooLong]),
    (460, None, &[K::ClientClosed, K::ClientReset]),
    (463, Some(Remark::TooManyHops), &[K::ProxyLoop]),
    (464, Some(Remark::VersionMismatch), &[K::VersionUnsupported]),
    (501, None, &[K::TransferEncodingUnsupported]),
    (502, None, &NOT_REACHED),
    (503, None, &[K::NoServers, K::AllServersDown]),
    (505, None, &[K::VersionUnsupported]),
    (561, Some(Remark::AuthRequestFailed), &[]),
];

fn judge(fields: &Fields<'_>, status: u16, elapsed_us: Option<u64>) -> (Suspects, Option<Remark>) {
    /// What ALB waits for a connection and for TLS.
    const CONNECT_US: std::ops::RangeInclusive<u64> = 9_900_000..=11_000_000;
    let reason = fields.get(Field::Reason);
    let sent = scan::seconds(fields.get(Field::BeforeSeconds)).is_some();
    let waited = scan::seconds(fields.get(Field::ServerSeconds)).is_some();
    if reason.starts_with(b"Lambda") {
        return (Suspects::NONE, Some(Remark::FunctionFailed));
    }
    if reason.starts_with(b"Auth") {
        return (Suspects::NONE, Some(Remark::AuthRequestFailed));
    }
    let class = fields.get(Field::Class);
    if status == 400 && (class == b"Ambiguous" || class == b"Severe") {
        let kinds = [
            K::ContentLengthWithTransferEncoding,
            K::ContentLengthDuplicated,
            K::TransferEncodingInvalid,
            K::HeaderSpaceBeforeColon,
            K::HeaderNameInvalid,
            K::TargetInvalid,
        ];
        return (Suspects::any_of(&kinds), Some(Remark::RequestAmbiguous));
    }
    match status {
        502 if sent && waited => (Suspects::any_of(&NO_ANSWER), None),
        504 if waited => {
            let kinds = [
                K::ResponseTimeout,
                K::ResponseHeadStalled,
                K::ResponseBodyShort,
            ];
            (Suspects::any_of(&kinds), None)
        }
        504 if elapsed_us.is_some_and(|time| CONNECT_US.contains(&time)) => (
            Suspects::any_of(&[K::ConnectTimeout, K::ServerTlsTimeout]),
            None,
        ),
        504 => {
            let kinds = [
                K::ResponseTimeout,
                K::ResponseHeadStalled,
                K::ServerWriteTimeout,
                K::ConnectTimeout,
                K::ServerTlsTimeout,
            ];
            (Suspects::any_of(&kinds), None)
        }
        _ => {
            let row = OWN.iter().find(|row| row.0 == status);
            row.map_or((Suspects::NONE, None), |row| {
                (Suspects::any_of(row.2), row.1)
            })
        }
    }
}

/// `502, target status -, times 0.001 0.002 -1`, and the reason where one is given.
fn words(fields: &Fields<'_>, context: &mut Context<'_>) {
    const FIELDS: [(&str, Field); 8] = [
        ("status ", Field::Status),
        (", target status ", Field::ServerStatus),
        (", times ", Field::BeforeSeconds),
        (" ", Field::ServerSeconds),
        (" ", Field::AfterSeconds),
        (", reason ", Field::Reason),
        (", classification ", Field::Class),
        (" ", Field::ClassReason),
    ];
    let words = &mut context.scratch.words;
    words.clear();
    for (before, field) in FIELDS {
        let value = fields.get(field);
        if !value.is_empty() {
            words.push_str(before);
            scan::push_words(words, value);
        } else if field == Field::ServerStatus {
            words.push_str(", target status -");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::{Format, Reader, Zone, tests::told};

    fn line(times: &str, statuses: &str, took: u32, tail: &str) -> String {
        let second = took % 60;
        format!(
            "https 2026-11-21T07:30:{second:02}.000000Z app/shop/50dc6c495c0c9188 192.0.2.7:4000 \
             10.0.0.2:8080 {times} {statuses} 34 366 \"GET https://shop.example.org:443/pay?card=4111 \
             HTTP/2.0\" \"curl \\\"8\\\"\" ECDHE-RSA-AES128-GCM-SHA256 TLSv1.2 \
             arn:aws:elasticloadbalancing:us-east-2:123456789012:targetgroup/app/73e2d6bc24d8a067 \
             \"Root=1-58337262-36d228ad5d99923122bbe354\" \"shop.example.org\" \"-\" 0 \
             2026-11-21T07:30:00.000000Z \"forward\" \"-\" {tail}"
        )
    }

    #[test]
    fn fields_are_read() {
        let text = line(
            "0.001 -1 -1",
            "502 -",
            2,
            "\"-\" \"10.0.0.2:8080\" \"-\" \"-\" \"-\" TID_1 \"new\" 7",
        );
        let found = told(Format::Alb, None, &text);
        let [one] = &found[..] else {
            panic!("{found:?}")
        };
        assert_eq!(
            (one.backend.as_str(), one.address.as_str()),
            ("app", "10.0.0.2:8080")
        );
        assert_eq!(
            (one.client.as_str(), one.listener.as_str()),
            ("192.0.2.7", "app/shop/50dc6c495c0c9188")
        );
        assert_eq!(
            (one.path.as_str(), one.host.as_str()),
            ("/pay", "shop.example.org")
        );
        assert_eq!((one.status, one.elapsed_us), (502, Some(2_000_000)));
        assert_eq!(one.words, "status 502, target status -, times 0.001 -1 -1");
        assert!(one.kinds.contains(&K::ConnectRefused));
    }

    #[test]
    fn statuses_and_times_have_their_kinds() {
        for (times, statuses, took, tail, first, count) in [
            (
                "0.000 0.900 -1",
                "502 -",
                1,
                "\"-\" \"-\" \"-\" \"-\" \"-\"",
                Some(K::ServerClosedNoResponse),
                12,
            ),
            (
                "-1 -1 -1",
                "504 -",
                10,
                "\"-\" \"-\" \"-\" \"-\" \"-\"",
                Some(K::ConnectTimeout),
                2,
            ),
            (
                "-1 -1 -1",
                "504 -",
                45,
                "\"-\"",
                Some(K::ResponseTimeout),
                5,
            ),
            ("-1 -1 -1", "503 -", 0, "\"-\"", Some(K::NoServers), 2),
            ("-1 -1 -1", "460 -", 5, "\"-\"", Some(K::ClientClosed), 2),
            (
                "0.000 0.1 -1",
                "502 -",
                1,
                "\"LambdaUnhandled\" \"-\" \"-\" \"-\" \"-\"",
                None,
                0,
            ),
            (
                "-1 -1 -1",
                "400 -",
                0,
                "\"-\" \"-\" \"-\" \"Severe\" \"BadContentLength\"",
                Some(K::ContentLengthWithTransferEncoding),
                6,
            ),
        ] {
            let text = line(times, statuses, took, tail);
            let found = told(Format::Alb, None, &text);
            let kinds = &found[0].kinds;
            assert_eq!(
                (kinds.first().copied(), kinds.len()),
                (first, count),
                "{text}"
            );
        }
        let text = line("0.000 0.1 0.000", "503 503", 1, "\"-\"");
        let found = told(Format::Alb, None, &text);
        assert_eq!((found[0].server_status, found[0].kinds.len()), (503, 0));
    }

    #[test]
    fn successes_are_counted() {
        let mut reader = Reader::new(Format::Alb, Zone::default()).unwrap();
        let text = line("0.000 0.250 0.000", "200 200", 1, "\"-\"");
        reader.line(Default::default(), text.as_bytes(), &mut |_| {
            panic!("nothing to tell")
        });
        let tally = reader.stats().server("app", "10.0.0.2:8080").unwrap();
        assert_eq!((tally.successes, tally.max_us), (1, 250_000));
    }
}
