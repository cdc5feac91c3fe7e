//! Verdicts on what clients do: slow uploads, clients that leave and whether there is a rhythm to it.

use clearway_outcome::{FaultKind as K, Speaker};

use crate::case::Case;
use crate::cause::Cause;
use crate::judge::head::tests::{case, first_of, seen, verdict};
use crate::opinion::Confidence;

const LEFT: &[Cause] = &[Cause::ClientAbort, Cause::ClientTimeoutShorter];

/// Clients that leave after these times, in milliseconds.
fn left(times: &[u64], kinds: &[K], agent: &'static str) -> Case {
    let mut case = case(Speaker::Nginx);
    for time in times {
        let mut seen = seen(Speaker::Nginx, kinds);
        seen.elapsed_us = Some(time * 1_000);
        seen.user_agent = agent;
        case.observe(&seen);
    }
    case
}

#[test]
fn programs_are_punctual_and_people_are_not() {
    let kinds = &[K::ClientClosed, K::ClientReset];
    let program = left(&[10_001, 10_002, 10_004, 10_010, 10_003], kinds, "okhttp/4");
    assert_eq!(first_of(&program, LEFT).0, Cause::ClientTimeoutShorter);
    let told = verdict(&program);
    assert_eq!(told.confidence, Confidence::Likely);
    assert!(told.summary.contains("okhttp/4") && told.summary.contains("10.0 s"));

    let people = left(&[800, 3_100, 12_000, 5_500, 7_300], kinds, "Mozilla");
    assert_eq!(first_of(&people, LEFT).0, Cause::ClientAbort);
    // Nobody has to act on people who leave.
    assert!(people.verdicts().is_empty());

    let few = left(&[800, 3_100], kinds, "Mozilla");
    let (first, lead) = first_of(&few, LEFT);
    assert_eq!(first, Cause::ClientAbort);
    assert!(lead <= 34, "{lead}");
}

#[test]
fn slow_clients_are_not_called_so_when_they_wait() {
    let mut slow = case(Speaker::Clearway);
    let mut upload = seen(Speaker::Clearway, &[K::RequestBodyTimeout]);
    upload.request_bytes = Some(4_000);
    slow.observe(&upload);
    let told = verdict(&slow);
    assert_eq!(told.cause, Some(Cause::ClientSlowUpload));
    assert!(
        told.fixes
            .iter()
            .any(|fix| fix.command.contains("timeouts.request_body"))
    );

    let mut waiting = case(Speaker::Clearway);
    upload.request_bytes = Some(0);
    waiting.observe(&upload);
    let score = |case: &Case| case.opinions(&case.groups[0])[0].score();
    assert!(score(&waiting) < score(&slow));
}

#[test]
fn impatient_servers_blame_uploads() {
    let mut case = case(Speaker::Clearway);
    let mut seen = seen(Speaker::Clearway, &[K::ServerClosedWhileSending]);
    seen.first = b"HTTP/1.1 408 Request Timeout\r\n";
    case.observe(&seen);
    assert_eq!(
        first_of(&case, &[Cause::ClientSlowUpload]).0,
        Cause::ClientSlowUpload
    );
    let mut other = crate::judge::head::tests::case(Speaker::Clearway);
    seen.first = b"";
    other.observe(&seen);
    let opinions = other.opinions(&other.groups[0]);
    let mut own = opinions
        .iter()
        .filter(|o| o.cause == Cause::ClientSlowUpload);
    assert!(own.all(crate::opinion::Opinion::is_ruled_out));
}

#[test]
fn alb_has_a_status_for_too_many_addresses() {
    let mut case = case(Speaker::Alb);
    let mut seen = seen(Speaker::Alb, &[K::TooManyHeaders, K::HeaderValueInvalid]);
    seen.status = 463;
    case.observe(&seen);
    let verdict = verdict(&case);
    assert_eq!(verdict.cause, Some(Cause::TooManyForwardedFor));
    assert_eq!(verdict.confidence, Confidence::Certain);
}
