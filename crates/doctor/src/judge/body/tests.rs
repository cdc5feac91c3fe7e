//! Verdicts on responses whose bodies end early, stall or cannot be decoded, and on tunnels that end.

use std::time::Duration;

use clearway_config::survey::Setting;
use clearway_outcome::{FaultKind as K, Speaker};

use crate::cause::Cause;
use crate::evidence::Reply;
use crate::judge::head::tests::{again, case, first_of, replied, seen, status, survey, verdict};
use crate::opinion::Confidence;

const OWN: &[Cause] = &[
    Cause::WebsocketIdleTimeout,
    Cause::RespBodyShort,
    Cause::RespBodyStalled,
    Cause::RespChunkTruncated,
    Cause::RespChunkInvalid,
];

/// An answer that was cut.
fn cut(kind: K, body: Option<(u64, u64)>) -> Reply {
    Reply {
        fault: Some(kind),
        body,
        took_us: 20_000,
        ..status(200)
    }
}

#[test]
fn lengths_and_chunks_are_told_apart() {
    let by_length = b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\nabc";
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n";
    let rows: &[(&'static [u8], Option<Reply>, Cause, Confidence)] = &[
        (by_length, None, Cause::RespBodyShort, Confidence::Likely),
        (chunked, None, Cause::RespChunkTruncated, Confidence::Likely),
        (
            b"",
            Some(cut(K::ResponseBodyShort, Some((90, 40)))),
            Cause::RespBodyShort,
            Confidence::Certain,
        ),
        (
            chunked,
            Some(cut(K::ResponseBodyShort, None)),
            Cause::RespChunkTruncated,
            Confidence::Certain,
        ),
        // Somebody between may have reset both.
        (
            by_length,
            Some(cut(K::ResponseBodyReset, Some((90, 40)))),
            Cause::RespBodyShort,
            Confidence::Likely,
        ),
    ];
    for (first, reply, cause, confidence) in rows {
        let mut case = case(Speaker::Clearway);
        let mut seen = seen(Speaker::Clearway, &[K::ResponseBodyShort]);
        seen.first = first;
        case.observe(&seen);
        if let Some(reply) = reply {
            replied(&mut case, again(), reply.clone());
        }
        assert_eq!(first_of(&case, OWN).0, *cause);
        if *confidence == Confidence::Certain {
            assert_eq!(verdict(&case).confidence, *confidence);
        } else {
            assert!(verdict(&case).confidence < Confidence::Certain);
        }
    }
}

#[test]
fn without_a_sign_both_are_told() {
    let mut case = case(Speaker::Nginx);
    case.observe(&seen(Speaker::Nginx, &[K::ResponseBodyShort]));
    let (_, lead) = first_of(&case, &[Cause::RespBodyShort, Cause::RespChunkTruncated]);
    assert!(lead < 12, "{lead}");
    assert_eq!(verdict(&case).confidence, Confidence::Possible);
}

#[test]
fn always_the_same_byte_is_a_wrong_length() {
    for (kind, cause) in [
        (K::ResponseBodyShort, Cause::RespBodyShort),
        (K::ResponseBodyStalled, Cause::RespBodyStalled),
    ] {
        let mut case = case(Speaker::Clearway);
        for _ in 0..3 {
            let mut seen = seen(Speaker::Clearway, &[kind]);
            seen.bytes_received = Some(4_711);
            seen.status = 200;
            case.observe(&seen);
        }
        assert_eq!(first_of(&case, OWN).0, cause);
        assert!(verdict(&case).summary.contains("4711"));
    }
}

#[test]
fn broken_chunks_are_proof() {
    let mut case = case(Speaker::Clearway);
    case.observe(&seen(Speaker::Clearway, &[K::ResponseChunkInvalid]));
    let verdict = verdict(&case);
    assert_eq!(verdict.cause, Some(Cause::RespChunkInvalid));
    assert_eq!(verdict.confidence, Confidence::Certain);
}

#[test]
fn silent_tunnels_end_at_the_limit() {
    let rows = [
        (60, 60_010_000, Confidence::Certain, "timeouts.tunnel"),
        // Something between forgets flows within an hour.
        (3_600, 3_600_010_000, Confidence::Likely, "timeouts.tunnel"),
    ];
    for (limit, elapsed, confidence, key) in rows {
        let mut case = case(Speaker::Clearway);
        for _ in 0..4 {
            let mut seen = seen(Speaker::Clearway, &[K::TunnelIdle]);
            seen.elapsed_us = Some(elapsed);
            seen.status = 101;
            case.observe(&seen);
        }
        case.set_survey(survey(Speaker::Clearway, |backend| {
            let limit = Some(Duration::from_secs(limit));
            backend.timeouts.tunnel = Setting::by_default("timeouts.tunnel", limit);
        }));
        let verdict = verdict(&case);
        assert_eq!(verdict.cause, Some(Cause::WebsocketIdleTimeout));
        assert_eq!(verdict.confidence, confidence);
        assert!(verdict.fixes[1].command.contains(key));
    }
}

#[test]
fn a_log_that_leaves_it_open_is_read_by_the_status() {
    let mut case = case(Speaker::Haproxy);
    let mut idle = seen(Speaker::Haproxy, &[K::ResponseBodyStalled, K::TunnelIdle]);
    idle.status = 101;
    case.observe(&idle);
    assert_eq!(first_of(&case, OWN).0, Cause::WebsocketIdleTimeout);
    let mut stalled = crate::judge::head::tests::case(Speaker::Haproxy);
    let mut body = seen(Speaker::Haproxy, &[K::ResponseBodyStalled]);
    body.status = 200;
    stalled.observe(&body);
    assert_eq!(first_of(&stalled, OWN).0, Cause::RespBodyStalled);
}

#[test]
fn what_a_balancer_says_it_cannot_do_is_believed() {
    let rows = [
        (
            K::ResponseBodyShort,
            "inflate() failed: -3",
            Cause::RespContentCodingError,
        ),
        (
            K::ResponseBodyShort,
            "response_payload_too_large",
            Cause::RespBodyTooLarge,
        ),
    ];
    for (kind, words, cause) in rows {
        let mut case = case(Speaker::Nginx);
        let mut seen = seen(Speaker::Nginx, &[kind]);
        seen.words = words;
        case.observe(&seen);
        assert_eq!(verdict(&case).cause, Some(cause));
    }
}
