//! What is thought of kept connections that fail.

use std::time::Duration;

use clearway_config::survey::Setting;
use clearway_outcome::{Again, FaultKind as K, HostCounters, Signal, Speaker, Use};

use crate::cause::Cause as C;
use crate::evidence::{ChangeKind, Finding, Probe};
use crate::judge::wait::stand::{BEGIN, Stand, fresh, line, lost, reused, taken};
use crate::opinion::Confidence::{Certain, Likely, Possible};

/// Resets at once on kept connections that were idle for so long.
fn resets(idle_ms: &'static [u64]) -> Stand {
    Stand::new().fails(&[K::ReusedReset], 5, move |turn, seen| {
        let turn = usize::try_from(turn).unwrap();
        seen.path = ["/a", "/b", "/c"][turn % 3];
        seen.elapsed_us = Some(600);
        let uses = [1, 7, 3, 22, 12][turn];
        seen.reuse = reused(uses, idle_ms[turn % idle_ms.len()]);
        seen.tcp = lost();
        seen.saved = true;
    })
}

fn kept(closed_after_ms: Option<u64>, watched_ms: u64) -> Finding {
    Finding::Keep {
        again: closed_after_ms.is_none().then_some(Again::Answered),
        closed_after_ms,
        watched_ms,
    }
}

#[test]
fn idle_limits_of_servers_and_boxes_are_told_apart() {
    resets(&[5_000, 4_990, 5_012]).is("Node", C::KeepaliveRace, Likely, &[]);
    resets(&[7_010, 6_990]).is("equally long", C::KeepaliveRace, Likely, &[]);
    resets(&[5_000, 4_990, 5_012])
        .finds(Probe::Keep, kept(Some(5_003), 5_003))
        .is("seen to close", C::KeepaliveRace, Certain, &[]);
    resets(&[3_000, 41_000, 17_000]).is("anything", C::KeepaliveRace, Possible, &[C::NatIdleRst]);
    resets(&[355_000, 391_000, 402_000])
        .finds(Probe::Keep, kept(None, 400_000))
        .is("the server keeps", C::NatIdleRst, Likely, &[]);
    let near = resets(&[351_000, 402_000, 377_000]);
    assert_eq!(near.verdict().cause, Some(C::NatIdleRst));
    assert!(near.listed().contains(&C::KeepaliveRace));
    resets(&[3_000, 41_000, 17_000])
        .changed(ChangeKind::ServerUp, 10, "server a1 came up")
        .is("it was away", C::StalePoolAfterReboot, Likely, &[]);
    resets(&[3_000, 41_000, 17_000])
        .process(|_, process| process.age_s = 2)
        .is("a young process", C::StalePoolAfterReboot, Likely, &[]);
}

/// What a log tells of kept connections: nothing.
#[test]
fn logs_leave_the_question_open() {
    let either = [
        K::ReusedReset,
        K::ServerResetNoResponse,
        K::ReusedClosed,
        K::ServerClosedNoResponse,
    ];
    Stand::of(Speaker::Nginx)
        .fails(&either, 4, |_, seen| {
            seen.method = "POST";
            seen.elapsed_us = Some(1_000);
        })
        .succeeds(900, 3_000)
        .is("log", C::KeepaliveRace, Possible, &[C::AppCrashOnRequest]);
    let none = Stand::of(Speaker::Nginx)
        .knows(|backend| backend.keepalive.value = false)
        .fails(&either, 4, |_, seen| seen.method = "POST");
    assert!(!none.listed().contains(&C::KeepaliveRace));
}

/// An idle limit that fits proves nothing where fresh connections end too, or where the request was taken.
#[test]
fn a_race_is_proven_on_kept_connections_alone() {
    let keep = |stand: Stand| stand.finds(Probe::Keep, kept(Some(5_003), 5_003));
    let both = keep(resets(&[5_000])).fails(&[K::ServerResetNoResponse], 4, |_, seen| {
        seen.reuse = fresh();
    });
    assert!(both.verdict().confidence < Certain);
    let took = keep(Stand::new().fails(&[K::ReusedReset], 4, |_, seen| {
        seen.reuse = reused(4, 5_000);
        seen.elapsed_us = Some(900);
        seen.tcp = taken();
    }));
    assert!(took.verdict().confidence < Certain);
    let late = keep(Stand::new().fails(&[K::ReusedClosed], 4, |_, seen| {
        seen.reuse = reused(4, 5_000);
        seen.elapsed_us = Some(9_300_000);
    }));
    assert!(late.verdict().cause != Some(C::KeepaliveRace));
}

#[test]
fn silence_on_kept_connections_is_a_box_that_forgot() {
    let silent = |idle_ms: u64| {
        Stand::new().fails(&[K::ResponseTimeout], 4, move |turn, seen| {
            seen.elapsed_us = Some(60_000_000);
            seen.bytes_sent = Some(400);
            seen.reuse = reused(3, idle_ms + u64::try_from(turn).unwrap() * 9_000);
            seen.tcp = lost();
        })
    };
    silent(362_000)
        .light(2_000)
        .is("AWS", C::NatIdleDrop, Likely, &[]);
    silent(95_000)
        .light(2_000)
        .is("long", C::NatIdleDrop, Likely, &[]);
    silent(95_000)
        .changed(ChangeKind::ServerUp, 20, "server a1 came up")
        .is(
            "it was away",
            C::StalePoolAfterReboot,
            Possible,
            &[C::NatIdleDrop],
        );
    let fresh_too = silent(362_000).light_fails(K::ResponseTimeout);
    assert_ne!(fresh_too.verdict().confidence, Likely);
    let delivered = Stand::new().fails(&[K::ResponseTimeout], 4, |_, seen| {
        seen.elapsed_us = Some(60_000_000);
        seen.reuse = reused(3, 362_000);
        seen.tcp = taken();
    });
    assert!(!delivered.listed().contains(&C::NatIdleDrop));
}

#[test]
fn farewells_of_http2_are_known_by_their_words() {
    let goaway = |code: u32| {
        Stand::new().fails(&[K::ServerGoaway], 3, move |_, seen| {
            seen.signal = Some(Signal::H2Goaway {
                code,
                last_stream: 1_999,
            });
            seen.reuse = reused(1_000, 0);
        })
    };
    goaway(0).is("no error", C::H2GoawayRace, Likely, &[]);
    assert_ne!(goaway(11).verdict().confidence, Likely);
    goaway(0)
        .changed(ChangeKind::ServerLeft, 5, "server a1 left")
        .is("a deploy", C::RollingDeploy, Likely, &[C::H2GoawayRace]);
}

#[test]
fn strays_leftovers_and_leaks_have_marks_of_their_own() {
    Stand::new()
        .fails(&[K::ResponseBodyReset], 4, |turn, seen| {
            seen.bytes_received = Some(9_000_000 + u64::try_from(turn).unwrap());
            seen.elapsed_us = Some(2_500_000 * u64::try_from(turn + 1).unwrap());
        })
        .with(|case| {
            case.gained = Some(HostCounters {
                conntrack_invalid: 12,
                ..HostCounters::default()
            });
        })
        .is("invalid", C::ConntrackInvalidReset, Likely, &[]);
    let odd = |reuse: Option<clearway_outcome::Reuse>| {
        Stand::new().fails(&[K::ResponseStatusLineInvalid], 3, move |_, seen| {
            seen.first = b"<html>rest of another page";
            seen.reuse = reuse;
        })
    };
    odd(reused(2, 400))
        .light(900)
        .is("leftover", C::PoolDesyncLeftover, Likely, &[]);
    assert!(!odd(fresh()).listed().contains(&C::PoolDesyncLeftover));
    Stand::of(Speaker::Nginx)
        .fails(&[K::ResponseStatusLineInvalid], 1, |_, seen| {
            seen.words = "upstream sent more data than specified in \"Content-Length\" header";
        })
        .is("NGINX says so", C::PoolDesyncLeftover, Certain, &[]);
    let leak = |count: u32| {
        Stand::new()
            .fails(&[K::OutOfFiles], 3, |_, _| {})
            .process(move |host, _| {
                host.sockets = vec![(1, 10), (8, count)];
                host.files = Some(Use {
                    used: 1_020,
                    limit: 1_024,
                });
            })
    };
    leak(900).is("leak", C::CloseWaitLeak, Likely, &[]);
    assert!(!leak(0).listed().contains(&C::CloseWaitLeak));
}

#[test]
fn remedies_end_idle_connections_before_the_server_does() {
    let cases = [
        (
            Speaker::Clearway,
            "backend.app.keepalive.idle_timeout = \"4s\"",
        ),
        (Speaker::Nginx, "keepalive_timeout 4s;"),
        (Speaker::Haproxy, "server NAME ADDRESS pool-purge-delay 4s"),
        (
            Speaker::Envoy,
            "common_http_protocol_options.idle_timeout: 4s",
        ),
    ];
    for (speaker, expected) in cases {
        let stand = Stand::of(speaker)
            .knows(|backend| {
                let minute = Duration::from_secs(60);
                backend.keepalive_idle = Some(Setting::written("idle", minute, line(44)));
            })
            .fails(&[K::ReusedReset], 3, |turn, seen| {
                seen.at_us = Some(BEGIN + turn * 4_000_000);
                seen.reuse = reused(3, 5_000);
                seen.elapsed_us = Some(500);
            });
        let verdict = stand.verdict();
        assert_eq!(verdict.cause, Some(C::KeepaliveRace));
        let fix = verdict.fixes.first().unwrap();
        assert_eq!(fix.command, expected);
        assert!(fix.words.starts_with("In lb.conf:44:5, "), "{}", fix.words);
    }
}
