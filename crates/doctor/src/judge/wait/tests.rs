//! What is thought of silence and of connections that end.

use clearway_config::survey::Setting;
use clearway_outcome::{FaultKind as K, HostCounters, Listening, Speaker, Use};

use super::signs;
use super::stand::{BEGIN, Stand, answered, failed, fresh, line, lost, taken};
use crate::cause::Cause as C;
use crate::evidence::{ChangeKind, Connection, Finding, Probe, Then};
use crate::opinion::Confidence::{Certain, Likely, Possible};

/// Requests for one path that are delivered and not answered within a minute.
fn silent(paths: &'static [&'static str]) -> Stand {
    Stand::new().fails(&[K::ResponseTimeout], 6, move |turn, seen| {
        seen.path = paths[usize::try_from(turn).unwrap() % paths.len()];
        seen.elapsed_us = Some(60_001_000);
        seen.connected_us = Some(1_000);
        seen.reuse = fresh();
        seen.tcp = taken();
    })
}

fn patient(view: &crate::case::View<'_>) -> crate::evidence::Ask {
    signs::patient(view).unwrap()
}

fn listening(queue: u32) -> Option<Vec<Listening>> {
    Some(vec![Listening {
        v6_only: false,
        address: "10.0.0.2:8080".parse().unwrap(),
        queue,
        backlog: 128,
        process: None,
        pid: None,
    }])
}

#[test]
fn slow_hung_and_busy_programs_are_told_apart() {
    let timeouts = [
        K::ResponseTimeout,
        K::ServerWriteTimeout,
        K::ResponseHeadStalled,
    ];
    Stand::of(Speaker::Nginx)
        .blind()
        .fails(&timeouts, 3, |_, seen| seen.elapsed_us = Some(60_000_000))
        .is(
            "a log alone",
            C::AppSlow,
            Possible,
            &[
                C::AppHung,
                C::WorkersSaturated,
                C::PmtuBlackholeResponse,
                C::BackendFdExhausted,
                C::NatIdleDrop,
            ],
        );
    let one = || silent(&["/report"]).succeeds(40, 20_000);
    one().is(
        "one path, others are well",
        C::AppSlow,
        Likely,
        &[C::WorkersSaturated, C::PmtuBlackholeResponse],
    );
    one()
        .light(3_000)
        .replies(patient, answered(200, 71_000_000))
        .is("answered with more time", C::AppSlow, Certain, &[]);
    one()
        .light(3_000)
        .replies(patient, failed(K::ResponseTimeout))
        .is(
            "not even then",
            C::AppSlow,
            Likely,
            &[C::PmtuBlackholeResponse],
        );
    let all = || silent(&["/a", "/b", "/c", "/d"]);
    all().light_fails(K::ResponseTimeout).is(
        "nothing is answered",
        C::AppHung,
        Likely,
        &[C::WorkersSaturated, C::BackendFdExhausted],
    );
    all()
        .light_fails(K::ResponseTimeout)
        .process(|host, process| {
            process.state = 'T';
            host.listeners = listening(4);
        })
        .is("stopped", C::AppHung, Certain, &[]);
    all()
        .light_fails(K::ResponseTimeout)
        .process(|host, process| {
            process.files = Some(Use {
                used: 1_024,
                limit: 1_024,
            });
            host.listeners = listening(9);
        })
        .is("no files left", C::BackendFdExhausted, Certain, &[]);
    all()
        .succeeds(10, 900_000)
        .succeeds(10, 55_000_000)
        .with(|case| case.backdrop.in_flight = Some(12))
        .is("latency grows", C::WorkersSaturated, Likely, &[]);
    all()
        .succeeds(10, 900_000)
        .succeeds(10, 55_000_000)
        .light(8_000_000)
        .is(
            "the light request waits its turn",
            C::WorkersSaturated,
            Likely,
            &[],
        );
}

/// What makes requests late besides their own work keeps slowness from being certain.
#[test]
fn slowness_is_proven_with_nothing_else_about() {
    let late = |stand: Stand| {
        stand
            .light(3_000)
            .replies(patient, answered(200, 71_000_000))
    };
    let one = || silent(&["/report"]);
    let others: [(&str, Stand); 5] = [
        ("others near the limit", late(one().succeeds(4, 50_000_000))),
        (
            "segments out of order",
            late(one().succeeds(4, 900)).with(|case| {
                case.gained = Some(HostCounters {
                    ofo_queue: 4,
                    ..HostCounters::default()
                });
            }),
        ),
        (
            "throttled",
            late(one().succeeds(4, 900)).process(|_, process| {
                process.throttled = Some(40);
            }),
        ),
        (
            "a queue",
            late(one().succeeds(4, 900)).process(|host, _| {
                host.listeners = listening(3);
            }),
        ),
        (
            "nothing is quick",
            one()
                .succeeds(4, 900)
                .light(3_000_000)
                .replies(patient, answered(200, 71_000_000)),
        ),
    ];
    for (name, stand) in others {
        assert!(stand.verdict().confidence < Certain, "{name}");
    }
}

#[test]
fn a_program_that_is_stopped_now_and_then_is_not_hung_for_certain() {
    let stand = silent(&["/a", "/b"])
        .succeeds(9, 900)
        .light_fails(K::ResponseTimeout)
        .process(|_, process| process.state = 'T');
    assert!(stand.verdict().confidence < Certain);
}

#[test]
fn frozen_moments_are_spells_of_different_requests() {
    let spells = |stand: Stand| {
        stand.fails(&[K::ResponseTimeout], 9, |turn, seen| {
            seen.at_us = Some(BEGIN + turn / 3 * 20_000_000 + turn % 3 * 5_000);
            seen.path = ["/a", "/b", "/c"][usize::try_from(turn % 3).unwrap()];
            seen.elapsed_us = Some(2_000_000);
            seen.tcp = taken();
        })
    };
    let limit = |backend: &mut clearway_config::survey::BackendSurvey| {
        backend.timeouts.response.value = Some(std::time::Duration::from_secs(2));
    };
    spells(Stand::new().knows(limit)).succeeds(20, 4_000).is(
        "spells",
        C::CpuThrottledOrGc,
        Likely,
        &[],
    );
    spells(Stand::new().knows(limit))
        .succeeds(20, 4_000)
        .process(|_, process| process.throttled = Some(311))
        .is("throttled", C::CpuThrottledOrGc, Likely, &[]);
}

#[test]
fn large_answers_get_lost_on_the_way_back() {
    let one = || silent(&["/report"]).succeeds(40, 20_000).light(3_000);
    one()
        .with(|case| {
            case.gained = Some(HostCounters {
                ofo_queue: 7,
                ..HostCounters::default()
            });
        })
        .is(
            "out of order",
            C::PmtuBlackholeResponse,
            Likely,
            &[C::AppSlow],
        );
    let answered = one().replies(patient, answered(200, 71_000_000));
    assert!(!answered.listed().contains(&C::PmtuBlackholeResponse));
}

#[test]
fn unacknowledged_requests_are_not_the_programs_fault() {
    let stand = Stand::new().fails(&[K::ResponseTimeout], 4, |_, seen| {
        seen.elapsed_us = Some(60_000_000);
        seen.tcp = lost();
    });
    let told = stand.listed();
    for cause in [C::AppSlow, C::AppHung, C::WorkersSaturated] {
        assert!(!told.contains(&cause), "{cause}");
    }
}

/// Connections that end after `us`, one path or several.
fn ended(us: &'static [u64], paths: &'static [&'static str]) -> Stand {
    Stand::new().fails(&[K::ServerClosedNoResponse], 6, move |turn, seen| {
        let turn = usize::try_from(turn).unwrap();
        seen.path = paths[turn % paths.len()];
        seen.elapsed_us = Some(us[turn % us.len()]);
        seen.connected_us = Some(500);
        seen.reuse = fresh();
        seen.tcp = taken();
    })
}

#[test]
fn watchdogs_crashes_and_kills_are_told_apart() {
    ended(&[30_021_000, 30_400_000, 30_090_000], &["/report"])
        .succeeds(30, 9_000)
        .is("a round time", C::WorkerTimeoutKill, Likely, &[]);
    ended(&[2_003_000], &["/report"]).is("two seconds", C::WorkerTimeoutKill, Likely, &[]);
    Stand::new()
        .fails(&[K::ServerClosedNoResponse], 1, |_, seen| {
            seen.elapsed_us = Some(2_003_000);
            seen.reuse = fresh();
        })
        .is(
            "once",
            C::WorkerTimeoutKill,
            Possible,
            &[C::AppCrashOnRequest],
        );
    ended(&[12_000, 340_000, 3_000], &["/report"])
        .succeeds(30, 9_000)
        .is("one path, soon", C::AppCrashOnRequest, Likely, &[]);
    let burst = |stand: Stand| {
        stand.fails(&[K::ServerResetNoResponse], 5, |turn, seen| {
            seen.at_us = Some(BEGIN + turn * 900);
            seen.path = ["/a", "/b", "/c", "/d", "/e"][usize::try_from(turn).unwrap()];
            seen.elapsed_us = Some(200_000 + 310_000 * u64::try_from(turn).unwrap());
            seen.reuse = fresh();
            seen.tcp = taken();
        })
    };
    let refused = |stand: Stand| {
        stand.fails(&[K::ConnectRefused], 4, |turn, seen| {
            seen.at_us = Some(BEGIN + 100_000 + turn * 100_000);
        })
    };
    refused(burst(Stand::new())).succeeds(30, 9_000).is(
        "all at once, then refused",
        C::OomKill,
        Likely,
        &[C::AppCrashOnRequest],
    );
    refused(burst(Stand::new()))
        .succeeds(30, 9_000)
        .changed(
            ChangeKind::ServerLeft,
            2,
            "server a1 (10.0.0.2:8080) left the backend",
        )
        .is("the server left", C::RollingDeploy, Likely, &[]);
    refused(burst(Stand::new()))
        .process(|_, process| process.oom_kills = Some(1))
        .is("killed for memory", C::OomKill, Likely, &[]);
    Stand::of(Speaker::Nginx)
        .blind()
        .fails(&[K::ServerClosedNoResponse, K::ReusedClosed], 2, |_, _| {})
        .is(
            "a log alone",
            C::KeepaliveRace,
            Possible,
            &[
                C::AppCrashOnRequest,
                C::WorkerTimeoutKill,
                C::OomKill,
                C::ProxyProtocolExpected,
            ],
        );
}

/// On kept connections an end after half a minute is no race, whatever its kind is called.
#[test]
fn watchdogs_work_on_kept_connections_too() {
    Stand::new()
        .fails(&[K::ReusedClosed], 5, |turn, seen| {
            seen.elapsed_us = Some(30_000_000 + u64::try_from(turn).unwrap() * 90_000);
            seen.reuse = super::stand::reused(3, 5_000);
            seen.tcp = taken();
        })
        .succeeds(30, 9_000)
        .is("kept", C::WorkerTimeoutKill, Likely, &[]);
}

#[test]
fn connections_that_nobody_serves_are_no_crash() {
    let dropped = ended(&[900], &["/a", "/b", "/c"]).finds(
        Probe::Connect,
        Finding::Connect(Box::new(Connection {
            then: Then::Closed(700),
            took_us: 300,
            ..Connection::default()
        })),
    );
    assert!(!dropped.listed().contains(&C::AppCrashOnRequest));
}

#[test]
fn connections_are_recycled_after_equal_uses_or_ages() {
    let recycled = |uses: &'static [u32]| {
        Stand::new().fails(&[K::ReusedReset], 5, move |turn, seen| {
            let turn = usize::try_from(turn).unwrap();
            seen.path = ["/a", "/b", "/c"][turn % 3];
            seen.elapsed_us = Some(700);
            seen.reuse =
                super::stand::reused(uses[turn % uses.len()], [20, 900, 4, 3_100][turn % 4]);
            seen.saved = true;
        })
    };
    recycled(&[1_000]).is(
        "uses",
        C::BackendGracefulRecycle,
        Likely,
        &[C::StalePoolAfterReboot],
    );
    let mixed = recycled(&[3, 77, 410]);
    assert_ne!(mixed.verdict().cause, Some(C::BackendGracefulRecycle));
}

#[test]
fn drains_that_end_cut_long_requests() {
    Stand::of(Speaker::Alb)
        .fails(&[K::ServerClosedNoResponse], 3, |_, seen| {
            seen.elapsed_us = Some(340_000_000);
            seen.path = "/export";
        })
        .changed(
            ChangeKind::ServerLeft,
            300,
            "target 10.0.0.2:8080 was deregistered",
        )
        .is("drain", C::DeregistrationDelayElapsed, Likely, &[]);
}

#[test]
fn functions_tell_their_reason() {
    let kinds = [K::ServerClosedNoResponse, K::ResponseStatusLineInvalid];
    Stand::of(Speaker::Alb)
        .fails(&kinds, 2, |_, seen| {
            seen.words = "error_reason LambdaInvalidResponse";
        })
        .is("lambda", C::AlbLambdaTarget, Certain, &[]);
    let path = Stand::of(Speaker::Alb).fails(&kinds, 2, |_, seen| {
        seen.words = "GET /docs/LambdaFunctions 502";
    });
    assert_ne!(path.verdict().cause, Some(C::AlbLambdaTarget));
}

#[test]
fn used_up_retries_are_told_only_where_somebody_says_so() {
    let ended = |words: &'static str| {
        Stand::of(Speaker::Envoy)
            .knows(|backend| {
                backend.retries = Some(Setting::written("num_retries", 3, line(33)));
            })
            .fails(&[K::ConnectRefused], 2, move |_, seen| seen.words = words)
    };
    assert!(
        ended("503 URX,UF")
            .listed()
            .contains(&C::RetryStormExhausted)
    );
    assert!(!ended("503 UF").listed().contains(&C::RetryStormExhausted));
}

/// Remedies are in the reader's own words, at the place where the setting stands.
#[test]
fn remedies_speak_the_readers_language() {
    let cases = [
        (
            Speaker::Clearway,
            "backend.app.timeouts.response = \"107s\"",
        ),
        (Speaker::Nginx, "proxy_read_timeout 107s;"),
        (Speaker::Haproxy, "timeout server 107s"),
        (Speaker::Envoy, "route.timeout: 107s"),
        (Speaker::Alb, "idle_timeout.timeout_seconds=107"),
    ];
    for (speaker, expected) in cases {
        let stand = Stand::of(speaker)
            .fails(&[K::ResponseTimeout], 4, |_, seen| {
                seen.elapsed_us = Some(60_000_000);
                seen.tcp = taken();
            })
            .succeeds(9, 900)
            .light(2_000)
            .replies(patient, answered(200, 71_000_000));
        let verdict = stand.verdict();
        let fix = verdict.fixes.first().unwrap();
        assert_eq!(fix.command, expected);
        assert!(fix.words.starts_with("In lb.conf:20:5, "), "{}", fix.words);
        assert!(fix.is_verified);
    }
}

/// A fault alone proves nothing, but where it is the balancer's own refusal and says it all.
#[test]
fn nothing_is_certain_without_evidence() {
    for speaker in Speaker::ALL {
        for kind in K::ALL {
            let stand = Stand::of(*speaker).fails(&[*kind], 5, |_, seen| {
                seen.elapsed_us = Some(1_000);
            });
            let verdict = stand.verdict();
            let says_it_all = [
                C::RequestBodyTooLarge,
                C::RequestHeaderTooLargeLb,
                C::InvalidClientRequest,
            ];
            let is_ours = verdict.cause.is_some_and(|cause| {
                use crate::cause::Stage::{Pool, Send, Wait};
                matches!(cause.stage(), Send | Wait | Pool) && !says_it_all.contains(&cause)
            });
            assert!(
                !is_ours || verdict.confidence < Certain,
                "{} {:?}",
                kind.code(),
                verdict.cause
            );
        }
    }
}
