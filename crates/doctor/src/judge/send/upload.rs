//! Requests that do not arrive whole: on the way, at the server, or cut by an early answer.

use clearway_outcome::{FaultKind as Kind, Speaker, Spoken};

use crate::case::View;
use crate::evidence::{Ask, Probe, Reply};
use crate::judge::wait::signs::{self, Delivery, Light, Spelled};
use crate::opinion::{Opinion, Site};
use crate::view::time;

/// What fits into one packet on almost every link.
const ONE_PACKET: u64 = 1_200;

pub(in crate::judge) fn pmtu_blackhole_request(view: &View<'_>, it: &mut Opinion) {
    let group = view.group;
    let is_small = group.sent.count > 0 && group.sent.max > 0 && group.sent.max <= 1_000;
    if signs::is_here(view) || is_small {
        return it.rule_out();
    }
    it.hint(view.seen());
    match signs::delivery(view) {
        Delivery::Taken | Delivery::NotRead => return it.rule_out(),
        Delivery::Unacknowledged => {
            let retransmits = group.tcp.map_or(0, |tcp| tcp.retransmits);
            it.strong(view.kernel(format!(
                "bytes of the request were never acknowledged, though they were sent again \
                {retransmits} times"
            )));
        }
        Delivery::Unknown => it.missing("whether the requests were acknowledged"),
    }
    if group.sent.count > 0 && group.sent.min > ONE_PACKET {
        it.fair(view.symptom(format!(
            "all of them are larger than one packet: {} bytes or more",
            group.sent.min
        )));
    } else if group.sent.count > 0 && group.sent.min > 0 && group.sent.min < 1_000 {
        it.against(view.symptom(format!(
            "a request of {} bytes, which fits into one packet, fails too",
            group.sent.min
        )));
    } else {
        it.missing("how large the requests are");
    }
    if signs::is_all_reused(view) && group.idle.min >= 60_000_000 {
        it.against(view.symptom(format!(
            "it happens on connections that had been idle for {} or more",
            time(group.idle.min)
        )));
    }
    if signs::went_well_meanwhile(view) {
        it.hint(view.symptom(format!(
            "{} other requests went well",
            view.case.successes.count
        )));
    }
    it.wants(Probe::Request(signs::light(view)));
    it.wants(Probe::Request(signs::large(view)));
    weigh_sizes(view, it);
    it.say(format!(
        "Large requests to {} get lost on the way: some link takes smaller packets than this host believes, and \
         says so to nobody.",
        view.address()
    ));
    it.fix(
        Site::Clearway,
        "Let ICMP \"fragmentation needed\" through, or clamp the segment size on the tunnel; until then let this \
         host probe for the size",
        "sysctl net.ipv4.tcp_mtu_probing=1   # iptables -t mangle -A FORWARD -p tcp --tcp-flags \
        SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu",
    );
}

/// Whether a large request is lost where a small one is not.
fn weigh_sizes(view: &View<'_>, it: &mut Opinion) {
    let large = view.reply(&signs::large(view));
    if large.is_some_and(Reply::is_answered) {
        return it.strongly_against(view.probed("a request of several packets gets through"));
    }
    let is_small_well = match signs::light_reply(view) {
        Light::Quick(at) => {
            it.fair(view.probed(format!(
                "a small request on a fresh connection is answered after {}",
                time(at)
            )));
            true
        }
        Light::Silent(_) | Light::Broken(_) => {
            it.against(view.probed("a small request fails too"));
            false
        }
        Light::Late(_) | Light::NotAsked => false,
    };
    let Some(reply) = large else {
        return it.missing("whether a large request gets through where a small one does");
    };
    if is_lost(reply) && is_small_well {
        let fact = view.probed(format!(
            "the same request, several packets long, is not acknowledged within {}",
            time(reply.took_us)
        ));
        let is_clean = view.reply(&signs::light(view)).is_some_and(signs::is_clean);
        if is_clean && signs::delivery(view) == Delivery::Unacknowledged {
            it.proof(fact);
        } else {
            it.strong(fact);
        }
    }
}

/// Whether bytes were sent and nobody acknowledged them.
fn is_lost(reply: &Reply) -> bool {
    let is_late = matches!(
        reply.fault,
        Some(Kind::ResponseTimeout | Kind::TotalTimeout | Kind::ServerWriteTimeout)
    );
    let tcp = reply
        .tcp
        .filter(|tcp| tcp.unacked > 0 && tcp.retransmits >= 2);
    is_late && tcp.is_some()
}

/// Whether HAProxy says that the server ended the connection, just when its own limit was reached.
fn is_haproxys_end(view: &View<'_>) -> bool {
    let waited = view.group.waited;
    let is_at_limit = |limit| {
        signs::is_near(waited.min, limit, 2, 50_000) && signs::is_near(waited.max, limit, 2, 50_000)
    };
    view.group.speaker == Speaker::Haproxy
        // Those that it calls a time-out are no end.
        && !view.group.may_be(&[Kind::ResponseTimeout])
        && waited.count > 0
        && signs::limit_us(view).is_some_and(is_at_limit)
}

pub(in crate::judge) fn backend_not_reading_body(view: &View<'_>, it: &mut Opinion) {
    if !view.group.may_be(&[Kind::ServerWriteTimeout]) && !is_haproxys_end(view) {
        return it.rule_out();
    }
    if !view.is(&[Kind::ServerWriteTimeout]) && has_no_body(view) {
        return it.rule_out();
    }
    it.hint(view.seen());
    if is_haproxys_end(view) {
        it.strong(view.symptom(format!(
            "HAProxy calls it an end by the server, and yet it came after {}, which is all that the server is \
             given: so it reports an upload that stands still",
            time(view.group.waited.mean())
        )));
    }
    it.wants(Probe::Request(signs::light(view)));
    let light = signs::light_reply(view);
    match signs::delivery(view) {
        Delivery::NotRead => {
            let left = view.group.tcp.map_or(0, |tcp| tcp.notsent_bytes);
            let fact = view.kernel(format!(
                "all that was sent is acknowledged, {left} bytes wait, and the server's window is \
                closed"
            ));
            // Where other requests hang besides, the whole program may stand still at times.
            let is_alone = view
                .other(&[Kind::ResponseTimeout, Kind::TotalTimeout])
                .is_none();
            let is_sure = view.is(&[Kind::ServerWriteTimeout]) && view.group.count >= 2 && is_alone;
            match light {
                // A program that stands still would not answer anything.
                Light::Quick(_) if is_sure => it.proof(fact),
                Light::Quick(_) | Light::Late(_) => it.strong(fact),
                Light::Silent(_) | Light::Broken(_) | Light::NotAsked => it.fair(fact),
            }
        }
        Delivery::Taken => {
            it.against(view.kernel("everything that was sent was acknowledged"));
        }
        Delivery::Unacknowledged => {
            it.strongly_against(view.kernel("bytes are lost on the way: nobody acknowledged them"));
        }
        Delivery::Unknown => {
            it.missing("whether the server's window was closed (ss -ti: timer persist)");
        }
    }
    weigh_light(view, light, it);
    if view.is(&[Kind::ServerWriteTimeout]) {
        it.fair(view.symptom("the time was over while the request was sent, not while waiting"));
    }
    it.say(format!(
        "{} took a part of the request for {} and then stopped reading.",
        view.address(),
        signs::path(view)
    ));
    it.fix(
        Site::Server,
        format!(
            "Find out what the program does instead of reading the body of {}",
            signs::path(view)
        ),
        format!(
            "ss -tnpi 'sport = :{}'   # Recv-Q stays large: the program does not read",
            view.port()
        ),
    );
}

/// What a request without a body meets at the same time.
fn weigh_light(view: &View<'_>, light: Light, it: &mut Opinion) {
    match light {
        Light::Quick(at) => it.hint(view.probed(format!(
            "{} is answered after {}: only this upload stands still",
            signs::light_path(view),
            time(at)
        ))),
        Light::Silent(_) => {
            it.note(view.probed("a small request is not answered either"));
            it.missing("whether the program stands still altogether, or reads no body only");
            if view
                .other(&[Kind::ResponseTimeout, Kind::TotalTimeout])
                .is_some()
            {
                it.against(view.symptom("requests that were taken whole are not answered either"));
            } else {
                it.hint(view.symptom("no request that was taken whole went unanswered"));
            }
        }
        Light::Late(_) | Light::Broken(_) | Light::NotAsked => {}
    }
}

/// Whether all requests are of methods that carry no body.
fn has_no_body(view: &View<'_>) -> bool {
    let mut methods = view.group.methods.iter().peekable();
    methods.peek().is_some() && methods.all(|(method, _)| matches!(method, "GET" | "HEAD"))
}

/// The path that fails, asked for without a body.
fn without_body(view: &View<'_>) -> Ask {
    Ask {
        path: signs::path(view).to_owned(),
        ..Ask::default()
    }
}

/// What a server sends before it has read a body: a refusal, or a redirection.
fn is_early(status: u16) -> bool {
    matches!(
        status,
        301 | 302 | 303 | 307 | 308 | 400 | 401 | 403 | 411 | 413 | 415 | 417 | 422 | 429
    )
}

const SENDING: &[Kind] = &[
    Kind::ServerClosedWhileSending,
    Kind::ServerResetWhileSending,
];

pub(in crate::judge) fn early_response_reset(view: &View<'_>, it: &mut Opinion) {
    let group = view.group;
    it.say(format!(
        "{} ends the connection while the body of a request for {} is still being sent: most likely it has \
         answered already, and does not want the rest.",
        view.address(),
        signs::path(view)
    ));
    if let Some(Spoken::Http1Response {
        status,
        wants_tls: false,
        ..
    }) = Spoken::of(group.first_bytes())
        && is_early(status)
    {
        let fact = view.symptom(format!(
            "the server answered {status} and then closed, while the body was still being sent"
        ));
        // Servers say 400 to much else that is wrong with a connection.
        if view.is(SENDING) && status != 400 {
            it.proof(fact);
        } else {
            it.fair(fact);
        }
        it.say(format!(
            "{} answers {status} to {} without reading the body, and closes before the answer is read.",
            view.address(),
            signs::path(view)
        ));
    }
    if view.is(SENDING) {
        it.fair(view.seen());
    } else if group.may_be(SENDING) {
        it.missing("whether the connection ended while the body was being sent");
    } else {
        it.against(view.symptom("the whole request had been sent before the connection ended"));
    }
    if !weigh_bodies(view, it) {
        return;
    }
    weigh_without_body(view, it);
    it.fix(
        Site::Server,
        "Let the program read the body before it answers, or raise its limit if that is what it \
        refuses",
        format!(
            "curl -sv -o /dev/null -H 'Content-Length: 10000000' -X POST http://{}{} 2>&1 | grep \
            '< HTTP'",
            view.address(),
            signs::path(view)
        ),
    );
    Spelled {
        clearway: "",
        nginx: "proxy_request_buffering on;",
        haproxy: "option http-buffer-request",
        envoy: "",
        alb: "",
    }
    .fix(
        view,
        it,
        None,
        "until then, take the body whole before it is sent on",
    );
}

/// Whether there is a body that may be cut short.
fn weigh_bodies(view: &View<'_>, it: &mut Opinion) -> bool {
    let group = view.group;
    let large = group.request_bytes.max.max(group.sent.max);
    if large >= 65_536 {
        it.hint(view.symptom(format!(
            "requests of up to {} KiB are concerned",
            large / 1_024
        )));
    } else if large > 0 && large < 4_096 {
        it.against(view.symptom(format!("the requests are small: {large} bytes at most")));
    }
    let bodies = group
        .methods
        .iter()
        .any(|(m, _)| matches!(m, "POST" | "PUT" | "PATCH"));
    if !group.methods.is_empty() && !bodies {
        it.strongly_against(view.symptom("the requests have no body"));
        return false;
    }
    true
}

/// What the server says where it has nothing to read.
fn weigh_without_body(view: &View<'_>, it: &mut Opinion) {
    // GET at the path of an upload is as harmless as at any other.
    it.wants(Probe::Request(without_body(view)));
    match view.reply(&without_body(view)) {
        Some(reply) if is_early(reply.status) => it.strong(view.probed(format!(
            "without a body, {} is answered with {}",
            signs::path(view),
            reply.status
        ))),
        Some(reply) if reply.is_answered() => it.hint(view.probed(format!(
            "without a body, {} is answered, with {}",
            signs::path(view),
            reply.status
        ))),
        // Whoever does not take a request need not wait for its body to say so.
        Some(_) if view.is(SENDING) => it.note(view.probed(format!(
            "without a body, {} is not answered either",
            signs::path(view)
        ))),
        Some(_) => it.against(view.probed(format!(
            "without a body, {} is not answered either",
            signs::path(view)
        ))),
        None => it.missing("what the server answers where no body has to be sent"),
    }
}

/// The time for a response is over while the body has not been sent: it runs before that only where the client
/// waits for the word to go on.
fn weigh_held_back(view: &View<'_>, it: &mut Opinion) {
    it.strong(view.symptom(
        "the body was not sent: the client waits for \"100 Continue\", and the server does not say it",
    ));
    it.wants(Probe::Request(signs::light(view)));
    match signs::light_reply(view) {
        Light::Quick(at) | Light::Late(at) => it.fair(view.probed(format!(
            "{} is answered after {}, so the program itself is well",
            signs::light_path(view),
            time(at)
        ))),
        Light::Silent(_) => it.strongly_against(view.probed(format!(
            "{} is not answered either, and it has no body",
            signs::light_path(view)
        ))),
        Light::Broken(_) | Light::NotAsked => {}
    }
    it.hint(view.seen());
}

pub(in crate::judge) fn expect_100_continue(view: &View<'_>, it: &mut Opinion) {
    if view.is(&[Kind::ExpectationUnsupported]) {
        it.strong(view.seen());
    } else if view.is(&[Kind::ProbeStatus]) {
        match signs::status(view) {
            Some(417) => it.strong(view.symptom("the server answers 417 Expectation Failed")),
            Some(_) | None => return it.rule_out(),
        }
    } else if view.group.unsent > 0 && view.group.unsent == view.group.count {
        weigh_held_back(view, it);
    } else {
        let bodies = view
            .group
            .methods
            .iter()
            .any(|(m, _)| matches!(m, "POST" | "PUT" | "PATCH"));
        if !bodies {
            return it.against(view.symptom("nothing says that the requests have a body"));
        }
        it.missing("whether the requests have \"Expect: 100-continue\"");
        it.missing("whether the body was sent before the wait was over");
        return;
    }
    it.say(if view.is(&[Kind::ResponseTimeout]) {
        format!(
            "Clients hold the body of requests for {} back until they are told to go on (Expect: 100-continue), and \
             {} never tells them.",
            signs::path(view),
            view.address()
        )
    } else if view.is(&[Kind::ExpectationUnsupported]) {
        "Clients expect (header \"Expect\") something other than 100-continue, which nobody knows."
            .to_owned()
    } else {
        format!(
            "{} does not take requests with the header \"Expect\".",
            view.address()
        )
    });
    Spelled {
        clearway: "",
        nginx: "proxy_set_header Expect \"\";",
        haproxy: "http-request del-header Expect",
        envoy: "request_headers_to_remove: [expect]",
        alb: "",
    }
    .fix(view, it, None, "remove the header on its way to the server");
    it.fix(
        Site::Client,
        "Let the client not send the header",
        "curl -H 'Expect:' URL",
    );
}
