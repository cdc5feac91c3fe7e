//! What is thought of requests that are refused, cut short or lost.

use clearway_config::survey::Setting;
use clearway_outcome::{FaultKind as K, Reuse, Signal, Speaker};

use crate::case::View;
use crate::cause::Cause as C;
use crate::evidence::{Ask, ChangeKind, HostWord, Reply};
use crate::judge::wait::signs;
use crate::judge::wait::stand::{
    Stand, answered, failed, fresh, line, lost, not_read, reused, taken,
};
use crate::opinion::Confidence::{Certain, Likely, Possible};

fn lost_reply() -> Reply {
    Reply {
        tcp: lost(),
        ..failed(K::ResponseTimeout)
    }
}

#[test]
fn large_requests_get_lost_or_are_not_read() {
    let stuck = |kind: K, reuse: Option<Reuse>, tcp: Option<clearway_outcome::TcpFacts>| {
        Stand::new().fails(&[kind], 4, move |_, seen| {
            seen.method = "POST";
            seen.elapsed_us = Some(60_000_000);
            seen.bytes_sent = Some(20_000);
            seen.request_bytes = Some(20_000);
            seen.reuse = reuse;
            seen.tcp = tcp;
        })
    };
    stuck(K::ResponseTimeout, fresh(), lost())
        .succeeds(30, 2_000)
        .light(2_000)
        .is("unacknowledged", C::PmtuBlackholeRequest, Likely, &[]);
    stuck(K::ResponseTimeout, fresh(), lost())
        .light(2_000)
        .replies(signs::large, lost_reply())
        .is(
            "a large probe is lost",
            C::PmtuBlackholeRequest,
            Certain,
            &[],
        );
    let through = stuck(K::ResponseTimeout, fresh(), lost())
        .light(2_000)
        .replies(signs::large, answered(200, 2_000));
    assert!(through.verdict().confidence < Likely);
    stuck(K::ResponseTimeout, reused(3, 362_000), lost())
        .light(2_000)
        .is("kept and idle for long", C::NatIdleDrop, Likely, &[]);
    stuck(K::ServerWriteTimeout, fresh(), not_read())
        .light(2_000)
        .is("window closed", C::BackendNotReadingBody, Certain, &[]);
    stuck(K::ServerWriteTimeout, fresh(), not_read()).is(
        "window closed, nothing asked",
        C::BackendNotReadingBody,
        Possible,
        &[C::AppHung],
    );
    let frozen = stuck(K::ServerWriteTimeout, fresh(), not_read()).light_fails(K::ResponseTimeout);
    assert!(frozen.listed().contains(&C::AppHung));
    assert!(frozen.verdict().confidence < Certain);
    let delivered = stuck(K::ResponseTimeout, fresh(), taken());
    assert!(!delivered.listed().contains(&C::PmtuBlackholeRequest));
}

/// HAProxy says that the server ended an upload when it was its own patience that ended.
#[test]
fn an_end_at_haproxys_own_limit_is_an_upload_that_stands_still() {
    Stand::of(Speaker::Haproxy)
        .fails(
            &[K::ServerClosedNoResponse, K::ReusedClosed],
            3,
            |turn, seen| {
                seen.method = "POST";
                seen.elapsed_us = Some(60_001_000 + u64::try_from(turn).unwrap() * 800);
            },
        )
        .is("SH", C::BackendNotReadingBody, Likely, &[]);
}

fn with_header(version: u8) -> impl FnOnce(&View<'_>) -> Ask {
    move |view| Ask {
        proxy_header: Some(version),
        ..signs::light(view)
    }
}

#[test]
fn proxy_headers_that_lack_are_found_by_sending_one() {
    let closed = || {
        Stand::new().fails(&[K::ServerClosedNoResponse], 4, |turn, seen| {
            seen.path = ["/a", "/b", "/c", "/d"][usize::try_from(turn).unwrap()];
            seen.elapsed_us = Some(900);
            seen.reuse = fresh();
        })
    };
    closed()
        .light_fails(K::ServerClosedNoResponse)
        .replies(with_header(1), answered(200, 900))
        .is("not tried again", C::ProxyProtocolExpected, Likely, &[])
        .replies(with_header(0), failed(K::ServerClosedNoResponse))
        .is("helps", C::ProxyProtocolExpected, Certain, &[]);
    let never: [(&str, Stand); 6] = [
        (
            "it has come back",
            closed()
                .light_fails(K::ServerClosedNoResponse)
                .replies(with_header(1), answered(200, 900))
                .replies(with_header(0), answered(200, 900)),
        ),
        (
            "it was away",
            closed()
                .light_fails(K::ConnectRefused)
                .replies(with_header(1), answered(200, 900))
                .replies(with_header(0), failed(K::ServerClosedNoResponse)),
        ),
        (
            "a bad request",
            closed()
                .light_fails(K::ServerClosedNoResponse)
                .replies(with_header(1), answered(400, 900)),
        ),
        (
            "it works without",
            closed()
                .light(900)
                .replies(with_header(1), answered(200, 900)),
        ),
        (
            "others went well",
            closed()
                .succeeds(3, 900)
                .light_fails(K::ServerClosedNoResponse)
                .replies(with_header(1), answered(200, 900)),
        ),
        (
            "one is sent already",
            closed()
                .knows(|backend| backend.proxy_header = Setting::written("send_proxy", 2, line(30)))
                .light_fails(K::ServerClosedNoResponse)
                .replies(with_header(1), answered(200, 900)),
        ),
    ];
    for (name, stand) in never {
        assert_ne!(
            stand.verdict().cause,
            Some(C::ProxyProtocolExpected),
            "{name}"
        );
    }
    Stand::new()
        .fails(&[K::ProxyHeaderInvalid], 3, |_, seen| {
            seen.first = b"GET / HTTP/1.1\r\n";
        })
        .is("we expect it", C::ProxyProtocolExpected, Likely, &[]);
}

#[test]
fn proxy_headers_too_many_are_found_by_leaving_them_out() {
    let refused = |version: u8| {
        Stand::new()
            .knows(move |backend| {
                backend.proxy_header = Setting::written("send_proxy", version, line(30));
            })
            .fails(&[K::ProbeStatus], 4, |_, seen| seen.server_status = 400)
    };
    refused(1)
        .replies(signs::light, answered(400, 900))
        .replies(with_header(0), answered(200, 900))
        .is("helps", C::ProxyProtocolUnexpected, Certain, &[]);
    refused(1).is(
        "not tried",
        C::ProxyProtocolUnexpected,
        Possible,
        &[C::BadHostHeader],
    );
    assert!(!refused(0).listed().contains(&C::ProxyProtocolUnexpected));
}

#[test]
fn hosts_are_told_by_changing_them_alone() {
    let ask = |host: HostWord| {
        move |_: &View<'_>| Ask {
            path: "/report".to_owned(),
            host,
            ..Ask::default()
        }
    };
    let refused = |status: u16| {
        Stand::of(Speaker::Nginx)
            .knows(|backend| {
                let host = "$proxy_host".to_owned();
                backend.host = Some(Setting::by_default("proxy_set_header Host", host));
            })
            .fails(&[K::ProbeStatus], 4, move |_, seen| {
                seen.server_status = status;
                seen.client = "192.0.2.1";
            })
            .replies(ask(HostWord::Configured), answered(status, 900))
    };
    let name = HostWord::Name("shop.example".to_owned());
    refused(400)
        .replies(ask(name.clone()), answered(200, 900))
        .is("400", C::BadHostHeader, Certain, &[]);
    refused(404)
        .replies(ask(name.clone()), answered(200, 900))
        .is("404", C::BadHostHeader, Likely, &[]);
    let same = refused(400)
        .replies(ask(name), answered(400, 900))
        .replies(ask(HostWord::Address), answered(400, 900));
    assert!(!same.listed().contains(&C::BadHostHeader));
    let check = Stand::new()
        .fails(&[K::ProbeStatus], 4, |_, seen| seen.server_status = 400)
        .replies(ask(HostWord::Configured), answered(400, 900))
        .replies(ask(HostWord::Address), answered(200, 900));
    assert!(
        check.verdict().confidence < Certain,
        "a health check's Host may be another"
    );
    let other = refused(500);
    assert!(!other.listed().contains(&C::BadHostHeader));
}

#[test]
fn sizes_are_refused_by_whoever_says_so() {
    Stand::of(Speaker::Nginx)
        .fronted(|front| {
            front.body_limit = Some(Setting::written("client_max_body_size", 1_048_576, line(7)));
        })
        .fails(&[K::BodyTooLarge], 2, |_, seen| {
            seen.method = "POST";
            seen.host = "shop.example";
            seen.request_bytes = Some(3_000_000);
        })
        .is("413", C::RequestBodyTooLarge, Certain, &[]);
    for kind in [K::HeadersTooLarge, K::RequestLineTooLong, K::TooManyHeaders] {
        Stand::new().fails(&[kind], 2, |_, _| {}).is(
            "431",
            C::RequestHeaderTooLargeLb,
            Certain,
            &[],
        );
    }
    Stand::new()
        .fails(&[K::ProbeStatus], 2, |_, seen| seen.server_status = 431)
        .is(
            "the server's own",
            C::RequestHeaderTooLargeBackend,
            Certain,
            &[],
        );
    let closes = || {
        Stand::new()
            .fails(&[K::ServerClosedNoResponse], 4, |turn, seen| {
                seen.path = ["/a", "/b"][usize::try_from(turn % 2).unwrap()];
                seen.bytes_sent = Some(9_000);
                seen.elapsed_us = Some(700);
                seen.reuse = fresh();
            })
            .succeeds(30, 900)
            .light(900)
    };
    closes()
        .replies(signs::large, failed(K::ServerClosedNoResponse))
        .is(
            "large ones are cut",
            C::RequestHeaderTooLargeBackend,
            Likely,
            &[],
        );
    closes().is(
        "not tried",
        C::RequestHeaderTooLargeBackend,
        Possible,
        &[C::AppCrashOnRequest],
    );
    let remedies = Stand::of(Speaker::Haproxy).fails(&[K::HeadersTooLarge], 1, |_, _| {});
    assert_eq!(
        remedies.verdict().fixes.first().unwrap().command,
        "tune.bufsize 32768"
    );
}

#[test]
fn early_answers_are_read_or_asked_for() {
    let cut = |first: &'static [u8]| {
        Stand::new().fails(&[K::ServerResetWhileSending], 3, move |_, seen| {
            seen.method = "POST";
            seen.path = "/upload";
            seen.request_bytes = Some(3_000_000);
            seen.first = first;
            seen.reuse = fresh();
        })
    };
    cut(b"HTTP/1.1 413 Payload Too Large\r\n").is("read", C::EarlyResponseReset, Certain, &[]);
    let without_body = |_: &View<'_>| Ask {
        path: "/upload".to_owned(),
        ..Ask::default()
    };
    cut(b"")
        .succeeds(9, 900)
        .replies(without_body, answered(401, 900))
        .is(
            "asked",
            C::EarlyResponseReset,
            Likely,
            &[C::AppCrashOnRequest],
        );
    let told = cut(b"").listed();
    assert!(told.contains(&C::EarlyResponseReset) && told.contains(&C::AppCrashOnRequest));
}

#[test]
fn upgrades_get_lost_where_they_are_not_passed_on() {
    let asked = || {
        Stand::of(Speaker::Nginx)
            .knows(|backend| {
                backend.passes_upgrade = Setting::written("proxy_set_header", false, line(12));
            })
            .fails(&[K::ProbeStatus], 3, |_, seen| {
                seen.path = "/ws";
                seen.server_status = 426;
            })
    };
    asked()
        .replies(
            |_| Ask {
                path: "/ws".to_owned(),
                upgrade: true,
                ..Ask::default()
            },
            answered(101, 900),
        )
        .is("switches", C::WebsocketUpgradeStripped, Certain, &[]);
    asked().is("not tried", C::WebsocketUpgradeStripped, Likely, &[]);
}

#[test]
fn streams_are_refused_in_words() {
    let refused = |kind: K, code: u32| {
        Stand::new().fails(&[kind], 3, move |_, seen| {
            seen.signal = Some(Signal::H2Reset(code));
            seen.reuse = reused(9, 0);
        })
    };
    refused(K::ServerRefusedStream, 7).is("7", C::H2StreamRefused, Certain, &[]);
    refused(K::ServerResetStream, 11).is("11", C::H2StreamRefused, Likely, &[]);
    let crash = refused(K::ServerResetStream, 2).succeeds(30, 900);
    assert_eq!(crash.verdict().cause, Some(C::AppCrashOnRequest));
    let leaving = refused(K::ServerRefusedStream, 7).changed(ChangeKind::ServerLeft, 3, "a1 left");
    assert!(leaving.verdict().confidence < Certain);
}

#[test]
fn clients_requests_are_refused_for_what_they_are() {
    for kind in [
        K::HostMissing,
        K::BareLf,
        K::TlsOnPlainPort,
        K::Http2OnHttp1Port,
    ] {
        Stand::new()
            .fails(&[kind], 1, |_, seen| seen.client = "192.0.2.7")
            .is("client", C::InvalidClientRequest, Certain, &[]);
    }
    Stand::of(Speaker::Haproxy)
        .fails(
            &[K::HostMissing, K::HeadersTooLarge, K::BareLf],
            1,
            |_, _| {},
        )
        .is(
            "<BADREQ>",
            C::InvalidClientRequest,
            Possible,
            &[C::RequestHeaderTooLargeLb],
        );
    Stand::new()
        .fails(&[K::ExpectationUnsupported], 1, |_, _| {})
        .is("417", C::Expect100Continue, Possible, &[]);
}
