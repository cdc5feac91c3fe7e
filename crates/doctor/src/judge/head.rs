//! Judges of causes in the response's head.

use clearway_config::survey::Spoke;
use clearway_outcome::{FaultKind as Kind, Speaker, Spoken};

use super::Judge;
use crate::case::View;
use crate::cause::Cause;
use crate::evidence::{Ask, HostWord, Probe, Reply};
use crate::opinion::{Opinion, Site};
use crate::view::{shell, time};

mod protocol;
mod size;
#[cfg(test)]
pub(super) mod tests;
mod upstream;

pub(super) use upstream::is_all_of_them;

pub(super) const JUDGES: &[Judge] = &[
    Judge::new(
        Cause::H2ToH1Backend,
        &[
            Kind::ServerSpeaksHttp1,
            Kind::ServerH2Protocol,
            Kind::ServerRefusesHttp2,
            Kind::ServerClosedNoResponse,
            Kind::ServerResetNoResponse,
        ],
        protocol::h2_to_h1_backend,
    ),
    Judge::new(
        Cause::H1ToH2Backend,
        &[
            Kind::ServerSpeaksHttp2,
            Kind::ResponseNotHttp,
            Kind::ResponseStatusLineInvalid,
            Kind::ServerClosedNoResponse,
            Kind::ServerResetNoResponse,
        ],
        protocol::h1_to_h2_backend,
    ),
    Judge::new(
        Cause::FastcgiUwsgiMismatch,
        &[
            Kind::ResponseNotHttp,
            Kind::ResponseStatusLineInvalid,
            Kind::ResponseHeaderInvalid,
            Kind::ServerClosedNoResponse,
            Kind::ServerResetNoResponse,
            Kind::ServerResetWhileSending,
            Kind::ResponseTimeout,
        ],
        protocol::fastcgi_uwsgi_mismatch,
    ),
    Judge::new(
        Cause::NotHttpService,
        &[
            Kind::ResponseNotHttp,
            Kind::ResponseStatusLineInvalid,
            Kind::ServerSpeaksPlain,
            Kind::ServerTlsProtocol,
            Kind::ServerClosedNoResponse,
            Kind::ServerResetNoResponse,
        ],
        protocol::not_http_service,
    ),
    Judge::new(
        Cause::RespHeaderTooBig,
        &[Kind::ResponseHeadersTooLarge],
        size::resp_header_too_big,
    ),
    Judge::new(
        Cause::RespTooManyHeaders,
        &[Kind::ResponseTooManyHeaders, Kind::ResponseHeadersTooLarge],
        size::resp_too_many_headers,
    ),
    Judge::new(
        Cause::RespInvalidHeader,
        &[Kind::ResponseHeaderInvalid],
        resp_invalid_header,
    ),
    Judge::new(Cause::RespDupFraming, FRAMING, resp_dup_framing),
    Judge::new(
        Cause::RespInvalidStatusLine,
        &[Kind::ResponseStatusLineInvalid, Kind::ResponseNotHttp],
        resp_invalid_status_line,
    ),
    Judge::new(
        Cause::RespHeaderTruncated,
        &[Kind::ResponseHeadTruncated, Kind::ResponseHeadReset],
        resp_header_truncated,
    ),
    Judge::new(
        Cause::RespHeaderStalled,
        &[Kind::ResponseHeadStalled],
        resp_header_stalled,
    ),
    Judge::new(
        Cause::Resp100Only,
        &[
            Kind::TooManyInterim,
            Kind::ResponseHeadTruncated,
            Kind::ResponseHeadReset,
            Kind::ResponseHeadStalled,
            Kind::ServerClosedNoResponse,
            Kind::ServerResetNoResponse,
            Kind::ResponseTimeout,
            Kind::ResponseBodyStalled,
        ],
        resp_100_only,
    ),
    Judge::new(
        Cause::RespUnsolicited101,
        &[Kind::UpgradeUnexpected, Kind::ResponseBodyStalled],
        resp_unsolicited_101,
    ),
    Judge::new(
        Cause::UpstreamGenerated5xx,
        &[
            Kind::ProbeStatus,
            Kind::ServerClosedNoResponse,
            Kind::ServerResetNoResponse,
            Kind::ReusedClosed,
            Kind::ReusedReset,
            Kind::ResponseTimeout,
            Kind::ResponseHeadTruncated,
            Kind::ResponseHeadersTooLarge,
            Kind::ConnectRefused,
            Kind::ConnectTimeout,
        ],
        upstream::upstream_generated_5xx,
    )
    .servers_own(),
];

/// Whoever ends so soon was not ended by a time limit, in microseconds.
const SOON_US: u64 = 1_000_000;

const FRAMING: &[Kind] = &[
    Kind::ResponseFramingConflict,
    Kind::ResponseLengthInvalid,
    Kind::ResponseCodingUnsupported,
];

/// What is spoken with the servers, where the configuration is known.
fn speaks(view: &View<'_>) -> Option<Spoke> {
    view.backend().map(|backend| backend.speaks.value)
}

/// Replies to requests that were made as the balancer makes them.
fn like_ours<'a>(view: &View<'a>) -> impl Iterator<Item = (&'a Ask, &'a Reply)> + use<'a> {
    view.replies().filter(|(ask, _)| {
        let is_usual_host = matches!(ask.host, HostWord::Configured | HostWord::Name(_));
        let is_usual_way = ask.tls.is_none() && ask.proxy_header.is_none() && ask.http2.is_none();
        is_usual_host && is_usual_way && !ask.is_large && !ask.upgrade
    })
}

/// What asking again says of a fault: the same, or an answer.
fn weigh_again(view: &View<'_>, it: &mut Opinion, kinds: &[Kind]) {
    let again = view.ask_again();
    it.wants(Probe::Request(again.clone()));
    let mut is_seen = false;
    for (ask, reply) in like_ours(view) {
        let words = Probe::Request(ask.clone()).words();
        match reply.fault {
            Some(fault) if kinds.contains(&fault) && !is_seen => {
                is_seen = true;
                it.strong(view.probed(format!("{words} meets the same: {}", fault.code())));
                if !view.is_sure() {
                    it.fair(view.probed("that is one of the faults that the log leaves open"));
                }
            }
            None if reply.is_answered() && *ask == again => {
                it.note(view.probed(format!(
                    "{words} is answered with status {}, so it depends on the request or comes and goes",
                    reply.status
                )));
            }
            Some(_) | None => {}
        }
    }
}

/// The first bytes for a reader.
fn shown(first: &[u8]) -> String {
    let end = first.len().min(32);
    format!(
        "\"{}\"",
        first.get(..end).unwrap_or_default().escape_ascii()
    )
}

/// A request by hand, with what came in full.
fn by_hand(view: &View<'_>) -> String {
    let path = view.group.paths.first().unwrap_or("/");
    let scheme = match view.backend() {
        Some(backend) if backend.tls.is_some() => "https",
        Some(_) | None => "http",
    };
    if view.is_unix() {
        let socket = shell(view.address().trim_start_matches("unix:"));
        return format!(
            "curl -sv --unix-socket {socket} {} -o /dev/null",
            shell(&format!("http://localhost{path}"))
        );
    }
    let url = shell(&format!("{scheme}://{}{path}", view.address()));
    match view.group.hosts.first() {
        Some(host) => format!(
            "curl -skv -H {} {url} -o /dev/null",
            shell(&format!("Host: {host}"))
        ),
        None => format!("curl -skv {url} -o /dev/null"),
    }
}

/// The path that always fails, where there is just one.
fn weigh_path(view: &View<'_>, it: &mut Opinion) {
    if let Some(path) = view.group.paths.only()
        && view.group.count > 2
    {
        it.hint(view.symptom(format!("it is always the path {path}")));
    }
}

fn resp_invalid_header(view: &View<'_>, it: &mut Opinion) {
    const KINDS: &[Kind] = &[Kind::ResponseHeaderInvalid];
    if view.group.words.contains(protocol::NOT_FASTCGI) {
        return it.rule_out();
    }
    if view.is(KINDS) {
        it.proof(view.seen());
    } else {
        it.hint(view.seen());
        it.missing("which line of the head is refused");
    }
    weigh_again(view, it, KINDS);
    weigh_path(view, it);
    it.say(format!(
        "{} sends a header line that HTTP does not allow.",
        view.address()
    ));
    it.fix(
        Site::Server,
        "Find the line in the answer (a space or no colon in the name, a control character, a folded line) and \
         mend what writes it",
        by_hand(view),
    );
    if view.dialect() == Speaker::Haproxy {
        it.fix(
            Site::Config,
            "To see what was refused, and to bear it until the program is mended",
            "echo 'show errors' | socat stdio /run/haproxy/admin.sock   # stop-gap: option \
             accept-unsafe-violations-in-http-response",
        );
    }
}

fn resp_dup_framing(view: &View<'_>, it: &mut Opinion) {
    if view.is(&[Kind::ResponseCodingUnsupported]) {
        it.strong(view.seen());
    } else if view.is(FRAMING) {
        it.proof(view.seen());
    } else {
        it.hint(view.seen());
        it.missing("which lines of the head contradict each other");
    }
    weigh_again(view, it, FRAMING);
    weigh_path(view, it);
    let what = match view.group.kind() {
        Some(Kind::ResponseFramingConflict) => {
            "says in two ways where its body ends (Transfer-Encoding twice or together with Content-Length)"
        }
        Some(Kind::ResponseLengthInvalid) => "sends a Content-Length that is repeated or no number",
        Some(Kind::ResponseCodingUnsupported) => "sends a Transfer-Encoding other than chunked",
        _ => "contradicts itself about where its body ends",
    };
    it.say(format!("{} {what}.", view.address()));
    it.fix(
        Site::Server,
        "Remove the Transfer-Encoding or Content-Length that the program sets itself (often copied from \
         another response)",
        by_hand(view),
    );
}

fn resp_invalid_status_line(view: &View<'_>, it: &mut Opinion) {
    const KINDS: &[Kind] = &[Kind::ResponseStatusLineInvalid, Kind::ResponseNotHttp];
    if view.group.words.contains(protocol::NOT_FASTCGI) {
        return it.rule_out();
    }
    let first = view.group.first_bytes();
    match view.spoken() {
        Some(Spoken::Http1Response { .. }) => begins_like_http(view, it),
        Some(Spoken::Html) => it.strong(view.symptom(format!(
            "the server begins with HTML, without a status line: {}",
            shown(first)
        ))),
        Some(_) => return it.rule_out(),
        None if first.starts_with(b"HTTP") => begins_like_http(view, it),
        None if first.is_empty() => it.missing("the first bytes that the server sent"),
        None if first
            .iter()
            .all(|b| b.is_ascii_graphic() || b.is_ascii_whitespace()) =>
        {
            it.strong(view.symptom(format!(
                "the server begins with text that is no status line: {}",
                shown(first)
            )));
        }
        None => it.fair(view.symptom(format!(
            "the server begins with bytes of no known protocol: {}",
            shown(first)
        ))),
    }
    it.hint(view.seen());
    weigh_again(view, it, KINDS);
    if view.group.reused() > 0 && view.group.fresh == 0 {
        it.against(view.symptom(
            "it came on kept connections only, where the rest of an earlier response may be in the way",
        ));
    }
    let what = match first {
        [] => "something else than a status line".to_owned(),
        first => format!("{} where a status line is due", shown(first)),
    };
    it.say(format!("{} sends {what}.", view.address()));
    it.fix(
        Site::Server,
        "Look at what the program writes first, and at whether the address is the right one",
        by_hand(view),
    );
}

/// It is meant to be a status line, so what is sent is an answer.
fn begins_like_http(view: &View<'_>, it: &mut Opinion) {
    let words = format!(
        "the status line is malformed: {}",
        shown(view.group.first_bytes())
    );
    let is_fresh = view.group.fresh > 0 && view.group.reused() == 0;
    if is_fresh && view.is(&[Kind::ResponseStatusLineInvalid]) {
        it.proof(view.symptom(words));
    } else {
        it.strong(view.symptom(words));
    }
}

/// Whether the server began with an interim response.
fn interim(view: &View<'_>) -> Option<u16> {
    match view.spoken() {
        Some(Spoken::Http1Response { status, .. }) if matches!(status, 100 | 102..=199) => {
            Some(status)
        }
        _ => None,
    }
}

fn resp_header_truncated(view: &View<'_>, it: &mut Opinion) {
    const KINDS: &[Kind] = &[Kind::ResponseHeadTruncated, Kind::ResponseHeadReset];
    it.hint(view.seen());
    if view.is(KINDS) {
        it.strong(view.symptom(match view.group.kind() {
            Some(Kind::ResponseHeadReset) => "the head began, and then the connection was reset",
            _ => "the head began, and then the connection was closed",
        }));
    }
    match view.spoken() {
        _ if interim(view).is_some() => {
            it.against(view.symptom("what came first is an interim response, not the head"));
        }
        Some(Spoken::Http1Response { .. }) => it.hint(view.symptom(format!(
            "it began as an answer: {}",
            shown(view.group.first_bytes())
        ))),
        Some(_) => it.strongly_against(view.symptom("what came is not the begin of a head")),
        None => {}
    }
    weigh_again(view, it, KINDS);
    weigh_path(view, it);
    let again = like_ours(view).find(|(_, reply)| reply.fault == Some(Kind::ResponseHeadTruncated));
    let is_head =
        matches!(view.spoken(), Some(Spoken::Http1Response { .. })) && interim(view).is_none();
    if let Some((_, reply)) = again.filter(|(_, reply)| reply.took_us < SOON_US)
        && view.is(&[Kind::ResponseHeadTruncated])
        && is_head
    {
        // No network closes a connection properly, and no watchdog is so impatient.
        it.proof(view.probed(format!(
            "on a fresh connection the server closes in the middle of the head as well, after {}",
            time(reply.took_us)
        )));
    }
    it.say(format!(
        "{} ends the connection in the middle of the response's head.",
        view.address()
    ));
    it.fix(
        Site::Server,
        "Look for a crash at that time in the program's log, and at what stands between (sidecar, tunnel)",
        by_hand(view),
    );
}

fn resp_header_stalled(view: &View<'_>, it: &mut Opinion) {
    const KINDS: &[Kind] = &[Kind::ResponseHeadStalled];
    it.hint(view.seen());
    if view.is(KINDS) {
        it.fair(view.symptom("a part of the head came, and then nothing"));
    }
    if interim(view).is_some() {
        it.against(view.symptom("what came first is an interim response, not the head"));
    }
    weigh_again(view, it, KINDS);
    let is_small = view.group.received.count > 0 && view.group.received.max < 1_000;
    if is_small && view.is(KINDS) {
        it.fair(view.symptom(format!(
            "only {} bytes came: less than a packet, so no large packet was lost before",
            view.group.received.max
        )));
    }
    match view.group.tcp {
        Some(tcp) if tcp.retransmits > 0 && tcp.unacked > 0 => {
            it.against(view.kernel("segments are sent again: the network loses them"));
        }
        Some(_) => it.hint(view.kernel("the connection is well: everything sent was acknowledged")),
        None => it.missing("whether the connection was well at that time"),
    }
    it.say(format!(
        "{} begins the response's head and does not go on.",
        view.address()
    ));
    it.fix(
        Site::Server,
        "Find out for what the program waits after it has sent the first lines",
        by_hand(view),
    );
}

fn resp_100_only(view: &View<'_>, it: &mut Opinion) {
    it.wants(Probe::Request(view.ask_again()));
    let reply = like_ours(view).find(|(_, reply)| {
        let first = Spoken::of(reply.first.as_bytes());
        let is_interim = matches!(first, Some(Spoken::Http1Response { status, .. }) if matches!(status, 100 | 102..=199));
        is_interim && !reply.is_answered()
    });
    if let Some((ask, _)) = reply {
        it.strong(view.probed(format!(
            "{} gets an interim response, and nothing after it",
            Probe::Request(ask.clone()).words()
        )));
    }
    let status = interim(view);
    if view.is(&[Kind::TooManyInterim]) {
        it.strong(view.seen());
    } else if let Some(status) = status {
        it.strong(view.symptom(format!("the server sent status {status}, which is interim")));
        it.fair(view.seen());
    } else if view.group.server_statuses.only() == Some("100") {
        it.strong(
            view.symptom(
                "the only status that the server sent was 100, which announces another one",
            ),
        );
    } else if view.group.interim > 0 {
        it.strong(view.symptom(format!(
            "to {} of {} requests the server sent an interim response (1xx), and no other",
            view.group.interim, view.group.count
        )));
        it.fair(view.seen());
    } else if reply.is_none() && view.is_sure() {
        return it.rule_out();
    } else if reply.is_none() {
        it.missing("whether an interim response (1xx) came");
    }
    let is_upload = |(method, _): (&str, u64)| matches!(method, "POST" | "PUT" | "PATCH");
    if view.group.methods.iter().any(is_upload) {
        it.against(view.symptom("the requests have bodies, which the server may be waiting for"));
    }
    it.say(format!(
        "{} sends interim responses (1xx) and no final one.",
        view.address()
    ));
    it.fix(
        Site::Server,
        "Let the program send a final status; if clients ask for 100-continue, take Expect out of requests",
        by_hand(view),
    );
}

fn resp_unsolicited_101(view: &View<'_>, it: &mut Opinion) {
    let switched = like_ours(view).find(|(_, reply)| reply.status == 101);
    if view.is(&[Kind::UpgradeUnexpected]) {
        it.proof(view.seen());
    } else if let Some(Spoken::Http1Response { status: 101, .. }) = view.spoken() {
        it.strong(view.symptom("the server answered with 101"));
        it.fair(view.seen());
    } else if view.is(&[Kind::ResponseBodyStalled]) {
        if view.group.server_statuses.only() != Some("101") {
            return it.rule_out();
        }
        it.strong(view.symptom(
            "the server answered with 101, and the balancer waited for a response as if it had asked for no \
             upgrade",
        ));
    } else {
        it.hint(view.seen());
    }
    it.wants(Probe::Request(view.ask_again()));
    if let Some((ask, _)) = switched {
        it.strong(view.probed(format!(
            "{}, which does not ask for an upgrade, is answered with 101",
            Probe::Request(ask.clone()).words()
        )));
    }
    it.say(format!(
        "{} switches protocols (101) although the request did not ask for it.",
        view.address()
    ));
    it.fix(
        Site::Server,
        "Send plain requests elsewhere if this port serves WebSockets only; else mend the program",
        by_hand(view),
    );
}
