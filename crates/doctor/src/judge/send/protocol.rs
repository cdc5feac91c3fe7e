//! What is said before or beside the request: PROXY headers, upgrades, HTTP/2 streams.

use clearway_outcome::{FaultKind as Kind, Signal, Speaker, Spoken};

use crate::case::View;
use crate::evidence::{Ask, ChangeKind, Fact, Probe, Reply, Source};
use crate::judge::wait::signs::{self, Spelled};
use crate::opinion::{Opinion, Site};
use crate::view::time;

/// The light request after a PROXY header of this version; 0 = without one.
fn after(view: &View<'_>, version: u8) -> Ask {
    Ask {
        proxy_header: Some(version),
        ..signs::light(view)
    }
}

/// Version of the PROXY header that is sent; `None` = the configuration is not known.
fn version(view: &View<'_>) -> Option<u8> {
    view.backend().map(|backend| backend.proxy_header.value)
}

/// An answer that a server gives only to a request that it has understood: whoever takes the header for
/// HTTP calls it a bad request, a bad method or a bad version.
fn is_understood(reply: &Reply) -> bool {
    reply.is_answered() && !matches!(reply.status, 400 | 405 | 414 | 421 | 426 | 431 | 500..=599)
}

pub(in crate::judge) fn proxy_protocol_expected(view: &View<'_>, it: &mut Opinion) {
    const OURS: &[Kind] = &[Kind::ProxyHeaderInvalid, Kind::ProxyHeaderTimeout];
    if view.is(OURS) {
        return we_expect_it(view, it);
    }
    if version(view).is_some_and(|version| version > 0) {
        return it.rule_out();
    }
    if view.is(&[Kind::ProbeStatus]) && signs::status(view) != Some(400) {
        return it.rule_out();
    }
    it.hint(view.seen());
    if view.case.successes.count > 0 {
        return it.strongly_against(view.symptom(format!(
            "{} requests without a header went well",
            view.case.successes.count
        )));
    }
    if view.is(&[Kind::ResponseTimeout]) {
        // Programs that wait for a header close when they hear something else.
        it.against(view.symptom("the connection stays open"));
    }
    if view.connection().is_some_and(signs::drops_at_once) {
        it.strongly_against(view.probed("connections are dropped before anything is said"));
    }
    let before = view.case.successes.before;
    if before > 0 {
        it.against(view.symptom(format!(
            "{before} requests without a header went well before"
        )));
    }
    it.say(format!(
        "{} waits for a PROXY header, and gets none.",
        view.address()
    ));
    weigh_headers(view, it);
}

/// Whether requests with a header are answered where the same ones without are dropped.
fn weigh_headers(view: &View<'_>, it: &mut Opinion) {
    let tries = [after(view, 1), after(view, 2)];
    // The same as the plain one, made once more behind those with a header.
    let later = after(view, 0);
    it.wants(Probe::Request(signs::light(view)));
    let plain = view.reply(&signs::light(view));
    if plain.is_some_and(is_dropped) {
        for ask in &tries {
            it.wants(Probe::Request(ask.clone()));
        }
    }
    let helped = tries.iter().find_map(|ask| {
        let reply = view.reply(ask).filter(|reply| is_understood(reply))?;
        ask.proxy_header.map(|version| (version, reply))
    });
    if helped.is_some() {
        it.wants(Probe::Request(later.clone()));
    }
    match (plain, helped) {
        (Some(plain), Some((version, reply))) if is_dropped(plain) => {
            weigh_help(view, it, version, reply, view.reply(&later));
            return;
        }
        (Some(plain), _) if is_understood(plain) => {
            it.strongly_against(view.probed("a request without a PROXY header is answered"));
        }
        (Some(plain), _) if !is_dropped(plain) && !plain.is_answered() => {
            it.against(view.probed(format!(
                "a request without a PROXY header is not dropped, it fails in another way ({})",
                plain.fault.map_or("no answer", Kind::code)
            )));
        }
        (_, Some((version, reply))) => it.strong(view.probed(format!(
            "after a PROXY header of version {version} a request is answered with {}",
            reply.status
        ))),
        (_, None) if tries.iter().all(|ask| view.reply(ask).is_some()) => {
            it.strongly_against(view.probed("a PROXY header does not help"));
        }
        (_, None) => it.missing("whether a PROXY header helps"),
    }
    send_it(view, it, 2, false);
}

/// A server may have come back, or drop every other request: a header helps only where the same request without
/// one is dropped before and afterwards.
fn weigh_help(view: &View<'_>, it: &mut Opinion, version: u8, with: &Reply, later: Option<&Reply>) {
    const DROPPED: &[Kind] = &[
        Kind::ServerClosedNoResponse,
        Kind::ServerResetNoResponse,
        Kind::ServerClosedWhileSending,
        Kind::ServerResetWhileSending,
        Kind::ServerTlsClosed,
        Kind::ServerTlsReset,
    ];
    let words = format!(
        "without a PROXY header a request is dropped, and after one of version {version} it is answered with {}",
        with.status
    );
    let has_never_worked = view.case.successes.before == 0 && view.case.successes.count == 0;
    match later {
        Some(later) if is_dropped(later) => {
            let fact = view.probed(format!("{words}; then without one it is dropped again"));
            if view.is(DROPPED) && has_never_worked {
                it.proof(fact);
            } else {
                it.strong(fact);
            }
            send_it(view, it, version, true);
        }
        Some(_) => {
            it.strongly_against(
                view.probed("a request without a PROXY header is not dropped any more"),
            );
            send_it(view, it, version, false);
        }
        None => {
            it.strong(view.probed(words));
            it.missing("whether a request without a PROXY header is still dropped");
            send_it(view, it, version, false);
        }
    }
}

/// Whether a server took a connection and ended it without a word.
fn is_dropped(reply: &Reply) -> bool {
    let fault = reply.fault.filter(|_| !reply.is_answered());
    matches!(
        fault,
        Some(
            Kind::ServerClosedNoResponse
                | Kind::ServerResetNoResponse
                | Kind::ServerClosedWhileSending
                | Kind::ServerResetWhileSending
                | Kind::ServerTlsClosed
                | Kind::ServerTlsReset
        )
    )
}

/// How a PROXY header is sent, or how the server is kept from wanting one.
fn send_it(view: &View<'_>, it: &mut Opinion, version: u8, is_verified: bool) {
    let name = signs::backend_name(view);
    let spelled = Spelled {
        clearway: &format!("backend.{name}.send_proxy = \"v{version}\""),
        nginx: "",
        haproxy: if version == 1 {
            "server NAME ADDRESS send-proxy"
        } else {
            "server NAME ADDRESS send-proxy-v2"
        },
        envoy: "transport_socket: envoy.transport_sockets.upstream_proxy_protocol",
        alb: "",
    };
    let origin = view.server().and_then(|server| server.origin.as_ref());
    let words = "send a PROXY header to the server";
    if is_verified {
        spelled.verified_fix(view, it, origin, words);
    } else {
        spelled.fix(view, it, origin, words);
    }
    let words = match signs::language(view) {
        Speaker::Nginx => {
            "NGINX sends PROXY headers from its stream module only: remove proxy_protocol from the \
            server's listener"
        }
        Speaker::Alb => {
            "ALB cannot send PROXY headers: remove proxy_protocol from the server's listener"
        }
        Speaker::Clearway | Speaker::Haproxy | Speaker::Envoy => {
            "Or remove proxy_protocol from the server's listener"
        }
    };
    it.fix(
        Site::Server,
        words,
        "listen 8080;   # without proxy_protocol",
    );
}

/// Clients of ours that are to send a header and do not.
fn we_expect_it(view: &View<'_>, it: &mut Opinion) {
    it.fair(view.seen());
    match Spoken::of(view.group.first_bytes()) {
        Some(Spoken::Http1Request { .. }) => {
            it.strong(view.symptom("what came instead is an HTTP request"));
        }
        Some(Spoken::TlsClientHello) => {
            it.strong(view.symptom("what came instead is a TLS handshake"));
        }
        Some(_) | None => it.missing("what came instead of the header"),
    }
    it.say("A listener here expects PROXY headers, and whoever connects sends none.".to_owned());
    let front = signs::front(view);
    let bind = front.and_then(|front| front.binds.iter().find(|bind| bind.proxy_header));
    Spelled {
        clearway: "proxy_protocol = \"off\"",
        nginx: "listen 80;   # without proxy_protocol",
        haproxy: "bind :80   # without accept-proxy",
        envoy: "listener_filters   # without envoy.filters.listener.proxy_protocol",
        alb: "",
    }
    .fix(
        view,
        it,
        bind.and_then(|bind| bind.origin.as_ref())
            .or_else(|| front.and_then(|front| front.origin.as_ref())),
        "expect no header where none is sent, or let the balancer before this one send it",
    );
}

pub(in crate::judge) fn proxy_protocol_unexpected(view: &View<'_>, it: &mut Opinion) {
    let sent = version(view);
    if sent == Some(0) {
        return it.rule_out();
    }
    if view.is(&[Kind::ProbeStatus]) && signs::status(view) != Some(400) {
        return it.rule_out();
    }
    it.hint(view.seen());
    let Some(backend) = view.backend() else {
        return it.missing("whether a PROXY header is sent");
    };
    it.fair(view.setting(
        &backend.proxy_header,
        format!(
            "a PROXY header of version {} is sent",
            backend.proxy_header.value
        ),
    ));
    if view.case.successes.count > 0 {
        return it.strongly_against(view.symptom(format!(
            "{} requests went well with it",
            view.case.successes.count
        )));
    }
    let (with, without) = (signs::light(view), after(view, 0));
    it.wants(Probe::Request(with.clone()));
    it.wants(Probe::Request(without.clone()));
    it.say(format!(
        "{} does not know PROXY headers, and takes the one that is sent for a part of the request.",
        view.address()
    ));
    let name = signs::backend_name(view);
    let spelled = Spelled {
        clearway: &format!("backend.{name}.send_proxy = \"off\""),
        nginx: "proxy_protocol off;",
        haproxy: "server NAME ADDRESS   # without send-proxy",
        envoy: "transport_socket   # without upstream_proxy_protocol",
        alb: "proxy_protocol_v2.enabled=false",
    };
    let origin = backend.proxy_header.origin.as_ref();
    let words = "send no PROXY header to this server";
    match (view.reply(&with), view.reply(&without)) {
        (Some(with), Some(without)) if !is_understood(with) && is_understood(without) => {
            it.proof(view.probed(format!(
                "with the PROXY header the request {}, and without it it is answered with {}",
                match with.status {
                    0 => "fails".to_owned(),
                    status => format!("is answered with {status}"),
                },
                without.status
            )));
            return spelled.verified_fix(view, it, origin, words);
        }
        (_, Some(without)) if !without.is_answered() => {
            it.strongly_against(view.probed("without the PROXY header the request fails too"));
        }
        (Some(with), _) if is_understood(with) => {
            it.strongly_against(view.probed("a request with the PROXY header is answered"));
        }
        _ => it.missing("whether the request is answered without the header"),
    }
    spelled.fix(view, it, origin, words);
}

pub(in crate::judge) fn websocket_upgrade_stripped(view: &View<'_>, it: &mut Opinion) {
    let upgrade = Ask {
        path: signs::path(view).to_owned(),
        upgrade: true,
        ..Ask::default()
    };
    let passes = view.backend().map(|backend| &backend.passes_upgrade);
    if view.is(&[Kind::ProbeStatus]) {
        match signs::status(view) {
            Some(426) => it.strong(view.symptom("the server answers 426 Upgrade Required")),
            Some(400 | 404) if passes.is_some_and(|passes| !passes.value) => {
                it.hint(
                    view.symptom(
                        "the server refuses a request that may have asked for a WebSocket",
                    ),
                );
            }
            Some(_) | None => return it.rule_out(),
        }
    } else if view.is(&[
        Kind::UpgradeUnexpected,
        Kind::UpgradeUnsupported,
        Kind::UpgradeIgnored,
    ]) {
        it.strong(view.seen());
    } else {
        // A flag of a peer that means much else, too.
        it.hint(view.seen());
        it.missing("whether the request asked for a WebSocket");
    }
    it.wants(Probe::Request(upgrade.clone()));
    if let Some(passes) = passes {
        if passes.value {
            it.against(view.setting(passes, "requests for an upgrade are passed on"));
        } else {
            it.fair(view.setting(passes, "requests for an upgrade are not passed on"));
        }
    }
    let is_stripped = passes.is_some_and(|passes| !passes.value);
    match view.reply(&upgrade) {
        Some(reply) if reply.status == 101 => {
            let fact = view.probed(format!(
                "{} switches protocols (101) when it is asked to",
                signs::path(view)
            ));
            // Whether a request that got 400 or 404 asked for a WebSocket at all, nobody knows.
            let has_asked = !view.is(&[Kind::ProbeStatus]) || signs::status(view) == Some(426);
            if is_stripped && has_asked {
                it.proof(fact);
            } else {
                it.fair(fact);
            }
        }
        Some(reply) if reply.is_answered() => it.against(view.probed(format!(
            "asked directly for a WebSocket, {} is answered with {}",
            signs::path(view),
            reply.status
        ))),
        Some(_) => {}
        None => it.missing("whether the server switches protocols when it is asked directly"),
    }
    it.say(format!(
        "{} is asked for a WebSocket, and does not get to see that: the request for the upgrade is \
        lost on the way.",
        view.address()
    ));
    let name = signs::backend_name(view);
    Spelled {
        clearway: &format!("backend.{name}.protocol = \"http1\""),
        nginx: "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header \
        Connection $connection_upgrade;",
        haproxy: "option http-server-close   # and neither httpclose nor del-header Upgrade",
        envoy: "upgrade_configs: [{upgrade_type: websocket}]",
        alb: "",
    }
    .fix(
        view,
        it,
        signs::origin_of(passes),
        "pass requests for an upgrade on, by HTTP/1.1",
    );
}

pub(in crate::judge) fn h2_stream_refused(view: &View<'_>, it: &mut Opinion) {
    const REFUSED: u32 = 7;
    let code = match view.group.signal {
        Some(Signal::H2Reset(code)) => Some(code),
        Some(Signal::H2Goaway { .. } | Signal::TlsAlert(_)) | None => None,
    };
    let leaving = [
        ChangeKind::ServerLeft,
        ChangeKind::ServerDown,
        ChangeKind::NameChanged,
    ];
    let mut changes = view.case.changes.iter().rev();
    let change = changes.find(|change| leaving.contains(&change.kind));
    let goaway = view.other(&[Kind::ServerGoaway]);
    match code {
        Some(REFUSED) => {
            let fact = view.symptom("the server refused the stream: RST_STREAM 7 REFUSED_STREAM");
            let is_sure =
                view.is(&[Kind::ServerRefusedStream]) && change.is_none() && goaway.is_none();
            if is_sure {
                it.proof(fact);
            } else {
                it.strong(fact);
            }
        }
        Some(11) => {
            it.hint(view.seen());
            it.strong(view.symptom("the server asks for calm: RST_STREAM 11 ENHANCE_YOUR_CALM"));
        }
        Some(code) => it.hint(view.symptom(format!(
            "the server reset the stream: {}",
            Signal::H2Reset(code)
        ))),
        None if view.is(&[Kind::ServerRefusedStream]) => it.strong(view.seen()),
        None => {
            it.hint(view.seen());
            it.missing("the error code of the RST_STREAM");
        }
    }
    if let Some(change) = change {
        it.against(Fact::new(Source::Change, change.words.clone()));
    }
    if let Some(goaway) = goaway {
        it.against(view.symptom(format!(
            "the server said GOAWAY {} times besides",
            goaway.count
        )));
    }
    if let Some(busy) = view.case.backdrop.in_flight {
        it.note(view.symptom(format!("{busy} requests to it are under way")));
    }
    if view.group.waited.count > 0 {
        it.note(view.symptom(format!("after {}", time(view.group.waited.mean()))));
    }
    it.say(format!(
        "{} takes no more HTTP/2 streams on a connection, and refuses those that are opened.",
        view.address()
    ));
    let name = signs::backend_name(view);
    Spelled {
        clearway: &format!("backend.{name}.maxconn = 100"),
        nginx: "",
        haproxy: "server NAME ADDRESS max-reuse 1000 maxconn 100",
        envoy: "http2_protocol_options.max_concurrent_streams: 100; retry_policy.retry_on: \
        refused-stream",
        alb: "",
    }
    .fix(view, it, None, "open fewer streams at a time");
    it.fix(
        Site::Server,
        "Let the server take more streams at a time (SETTINGS_MAX_CONCURRENT_STREAMS)",
        "NGINX: http2_max_concurrent_streams 512; gRPC: MAX_CONCURRENT_STREAMS",
    );
}
