//! Judges of causes in the response's body, and of tunnels.

use clearway_config::survey::Spoke;
use clearway_outcome::{FaultKind as Kind, Remark, Speaker};

use super::Judge;
use crate::case::View;
use crate::cause::Cause;
use crate::evidence::{HostWord, Probe, Reply};
use crate::opinion::{Opinion, Site};
use crate::view::{shell, time};

#[cfg(test)]
mod tests;

/// What a body that ends too early shows as.
const CUT: &[Kind] = &[Kind::ResponseBodyShort, Kind::ResponseBodyReset];
const STALLED: &[Kind] = &[Kind::ResponseBodyStalled];
/// Firewalls and address translation forget flows that are silent for longer than about this, in
/// microseconds.
const FORGOTTEN_US: u64 = 300_000_000;
/// Whoever stops so soon was not stopped by a time limit of its own, in microseconds.
const SOON_US: u64 = 1_000_000;

pub(super) const JUDGES: &[Judge] = &[
    Judge::new(
        Cause::WebsocketIdleTimeout,
        &[
            Kind::TunnelIdle,
            Kind::ResponseBodyStalled,
            Kind::TunnelClientReset,
            Kind::ClientNotReading,
        ],
        websocket_idle_timeout,
    ),
    Judge::new(Cause::RespBodyShort, CUT, resp_body_short),
    Judge::new(Cause::RespBodyStalled, STALLED, resp_body_stalled),
    Judge::new(Cause::RespChunkTruncated, CUT, resp_chunk_truncated),
    Judge::new(
        Cause::RespChunkInvalid,
        &[Kind::ResponseChunkInvalid],
        resp_chunk_invalid,
    ),
    Judge::new(
        Cause::RespContentCodingError,
        &[
            Kind::ResponseBodyShort,
            Kind::ResponseChunkInvalid,
            Kind::ResponseCodingUnsupported,
        ],
        resp_content_coding_error,
    ),
    Judge::new(
        Cause::RespBodyTooLarge,
        &[
            Kind::ResponseBodyShort,
            Kind::ResponseHeadersTooLarge,
            Kind::ServerClosedNoResponse,
        ],
        resp_body_too_large,
    )
    .remarked(&[Remark::ResponseTooLarge]),
];

/// How the end of a body is told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Framing {
    /// By its length.
    Length,
    /// In chunks.
    Chunks,
}

/// How the end of the bodies is told, as far as first bytes show it.
fn framing(view: &View<'_>) -> Option<Framing> {
    let first = view.group.first_bytes().to_ascii_lowercase();
    let has = |words: &[u8]| first.windows(words.len()).any(|window| window == words);
    if has(b"\r\ntransfer-encoding: chunked") {
        Some(Framing::Chunks)
    } else if has(b"\r\ncontent-length:") {
        Some(Framing::Length)
    } else {
        None
    }
}

/// A request on purpose whose answer was cut short, too.
fn cut_again<'a>(view: &View<'a>, kinds: &[Kind]) -> Option<&'a Reply> {
    let mut replies = view
        .replies()
        .filter(|(ask, _)| ask.host != HostWord::Check);
    let found = replies.find(|(_, reply)| reply.fault.is_some_and(|fault| kinds.contains(&fault)));
    found.map(|(_, reply)| reply)
}

/// Whether the server ends its answers by itself: it closes properly and soon, so that neither the network
/// nor a limit on its work did it.
fn is_by_itself(view: &View<'_>, again: Option<&Reply>) -> bool {
    let is_soon =
        |reply: &Reply| reply.fault == Some(Kind::ResponseBodyShort) && reply.took_us < SOON_US;
    view.is(&[Kind::ResponseBodyShort]) && again.is_some_and(is_soon)
}

/// Where the server always stops at the same byte.
fn same_length(view: &View<'_>) -> Option<u64> {
    let received = view.group.received;
    (received.count >= 3 && received.min == received.max && received.min > 0)
        .then_some(received.min)
}

/// An answer by hand, with the end that it has.
fn by_hand(view: &View<'_>) -> String {
    let path = view.group.paths.first().unwrap_or("/");
    let url = shell(&format!("http://{}{path}", view.address()));
    format!("curl -sv {url} -o /dev/null   # 18: ended early; 56: reset")
}

fn websocket_idle_timeout(view: &View<'_>, it: &mut Opinion) {
    let is_idle = view.is(&[Kind::TunnelIdle]);
    if view.group.speaker == Speaker::Nginx && view.is(&[Kind::ResponseBodyStalled]) {
        // Of what it passes on as a tunnel it says "while proxying upgraded connection".
        return it.rule_out();
    }
    let is_upgraded = [&view.group.statuses, &view.group.server_statuses]
        .into_iter()
        .any(|statuses| statuses.only() == Some("101"));
    if !is_idle && !is_upgraded {
        let may_be = view.group.may_be(&[Kind::TunnelIdle]);
        return if may_be {
            it.hint(view.seen());
        } else {
            it.rule_out();
        };
    }
    let backend = view.backend();
    let setting = backend.map(|backend| &backend.timeouts.tunnel);
    let limit = setting.and_then(|setting| setting.value);
    let limit = limit.map(|limit| u64::try_from(limit.as_micros()).unwrap_or(u64::MAX));
    let elapsed = view.group.elapsed;
    if is_idle {
        it.strong(view.seen());
    } else {
        it.hint(view.seen());
    }
    if is_upgraded {
        it.fair(view.symptom("the connection had switched protocols (status 101)"));
    }
    let is_at_limit = limit.is_some_and(|limit| {
        elapsed.count > 0 && elapsed.min >= limit.saturating_sub(limit / 50) && limit > 0
    });
    // Something between may forget a flow that is silent for longer, and what is said then is lost.
    let is_short = elapsed.count > 0 && limit.unwrap_or(elapsed.min) <= FORGOTTEN_US;
    let is_constant = elapsed.count >= 3 && elapsed.is_constant(3, 500_000);
    if let (Some(setting), Some(limit)) = (setting, limit) {
        it.note(view.setting(
            setting,
            format!("{} allows {} of silence", setting.name, time(limit)),
        ));
    }
    if is_idle && is_short && (is_at_limit || limit.is_none() && is_constant) {
        it.proof(view.symptom(format!(
            "the balancer ended it for the silence, after {}",
            time(elapsed.min)
        )));
    } else if is_constant {
        it.fair(view.symptom(format!("always after {}", time(elapsed.mean()))));
    }
    let what = match backend.map(|backend| backend.speaks.value) {
        Some(Spoke::Tcp) => "connections through",
        Some(_) | None => "WebSockets to",
    };
    it.say(format!(
        "Nobody speaks on {what} {} for as long as the balancer bears silence, so it ends them.",
        view.address()
    ));
    it.fix(
        Site::Server,
        "Let the application send a ping (or a byte) every 20 to 30 s",
        "",
    );
    let to = match view.dialect() {
        Speaker::Clearway => "timeouts.tunnel = \"1h\"",
        Speaker::Nginx => "proxy_read_timeout 1h; proxy_send_timeout 1h;",
        Speaker::Haproxy => "timeout tunnel 1h",
        Speaker::Envoy => "stream_idle_timeout: 3600s",
        Speaker::Alb => {
            "aws elbv2 modify-load-balancer-attributes --attributes Key=idle_timeout.timeout_seconds,Value=3600"
        }
    };
    let place = setting.and_then(|setting| setting.origin.as_ref());
    let place = place.map_or_else(String::new, |origin| format!(" in {origin}"));
    it.fix(
        Site::Config,
        format!("Or bear silence for longer{place}"),
        to,
    );
}

fn resp_body_short(view: &View<'_>, it: &mut Opinion) {
    it.hint(view.seen());
    it.wants(Probe::Request(view.ask_again()));
    let how = framing(view);
    let again = cut_again(view, CUT);
    let by_length = again
        .and_then(|reply| reply.body)
        .filter(|(announced, got)| got < announced);
    weigh_framing(view, it, how, Framing::Length);
    let length = same_length(view);
    if let Some(bytes) = length {
        it.fair(view.symptom(format!("the server always stops after {bytes} bytes")));
    }
    match by_length {
        Some((announced, got)) => {
            let fact = view.probed(format!(
                "asked again it announces {announced} bytes and sends {got}"
            ));
            if is_by_itself(view, again) {
                it.proof(fact);
            } else {
                it.strong(fact);
            }
            it.say(format!(
                "{} announces {announced} bytes of body and sends {got}.",
                view.address()
            ));
        }
        None if again.is_some() => it.against(view.probed("asked again it announces no length")),
        None => {
            it.missing("how many bytes the server had announced");
            it.say(match length {
                Some(bytes) => format!(
                    "{} ends bodies before the length that it has announced, always after {bytes} bytes: the \
                     Content-Length is wrong.",
                    view.address()
                ),
                None => format!(
                    "{} ends bodies before the length that it has announced.",
                    view.address()
                ),
            });
        }
    }
    note_status(view, it);
    it.fix(
        Site::Server,
        "Count the Content-Length in bytes, after everything that changes the body (compression, characters \
         outside ASCII); if the length differs each time, look for a crash while streaming",
        by_hand(view),
    );
}

fn weigh_framing(view: &View<'_>, it: &mut Opinion, found: Option<Framing>, own: Framing) {
    let words = |framing| match framing {
        Framing::Length => "the response has a Content-Length",
        Framing::Chunks => "the response comes in chunks",
    };
    match found {
        Some(framing) if framing == own => it.strong(view.symptom(words(framing))),
        Some(framing) => it.strongly_against(view.symptom(words(framing))),
        None => {}
    }
}

/// Clients see a status of success, which monitoring believes.
fn note_status(view: &View<'_>, it: &mut Opinion) {
    if let Some(status) = view.group.statuses.only()
        && status.starts_with('2')
    {
        it.note(view.symptom(format!(
            "the status was {status} and had gone out already, so nothing but this shows it"
        )));
    }
}

fn resp_chunk_truncated(view: &View<'_>, it: &mut Opinion) {
    it.hint(view.seen());
    it.wants(Probe::Request(view.ask_again()));
    weigh_framing(view, it, framing(view), Framing::Chunks);
    let again = cut_again(view, CUT);
    match again.map(|reply| reply.body) {
        Some(Some((announced, got))) if got < announced => {
            it.strongly_against(view.probed("asked again it announces a length"));
        }
        Some(_) => {
            let fact = view.probed("asked again it ends without the last chunk, too");
            if is_by_itself(view, again) && framing(view) == Some(Framing::Chunks) {
                it.proof(fact);
            } else {
                it.strong(fact);
            }
        }
        None => it.missing("whether the body came in chunks"),
    }
    note_status(view, it);
    it.say(format!(
        "{} ends bodies that come in chunks without the last chunk: whatever writes them stops in the middle.",
        view.address()
    ));
    it.fix(
        Site::Server,
        "Look in the program's log for what ended it while it was writing (an exception, a time limit of its \
         worker, memory)",
        by_hand(view),
    );
}

fn resp_body_stalled(view: &View<'_>, it: &mut Opinion) {
    let is_tunnel = view.group.statuses.only() == Some("101");
    if is_tunnel {
        it.strongly_against(view.symptom("the connection had switched protocols (status 101)"));
    }
    it.hint(view.seen());
    it.wants(Probe::Request(view.ask_again()));
    if view.is(STALLED) {
        it.fair(view.symptom("the body began, stopped, and the connection stayed open"));
    }
    let again = cut_again(view, STALLED).and_then(|reply| reply.body);
    let length = same_length(view);
    if let Some(bytes) = length {
        it.strong(view.symptom(format!(
            "the server always stops after {bytes} bytes, so the length that it announces is wrong"
        )));
    }
    match again {
        Some((announced, got)) if got < announced => {
            let fact = view.probed(format!(
                "asked again it announces {announced} bytes and stops after {got}"
            ));
            if is_always_there(view, announced - got) {
                it.proof(fact);
            } else {
                it.strong(fact);
            }
        }
        Some(_) => it.hint(view.probed("asked again it stalls, too")),
        None => it.missing("how many bytes the server had announced"),
    }
    match view.group.tcp {
        Some(tcp) if tcp.retransmits > 0 => {
            it.against(
                view.kernel("segments were sent again on the connection: the network loses some"),
            );
        }
        Some(_) => {
            it.hint(view.kernel("the connection is well, so the server has nothing to send"));
        }
        None => it.missing("whether the connection was well at that time"),
    }
    it.say(match length {
        Some(bytes) => format!(
            "{} announces a longer body than it sends: it always stops after {bytes} bytes.",
            view.address()
        ),
        None => format!(
            "{} stops in the middle of the body and keeps the connection open.",
            view.address()
        ),
    });
    it.fix(
        Site::Server,
        "Mend the Content-Length, or find out for what the program waits; send something now and then on \
         streams that have long pauses",
        by_hand(view),
    );
    let to = match view.dialect() {
        Speaker::Clearway => "timeouts.server_idle = \"5m\"",
        Speaker::Nginx => "proxy_read_timeout 5m;",
        Speaker::Haproxy => "timeout server 5m",
        Speaker::Envoy => "stream_idle_timeout: 300s",
        Speaker::Alb => return,
    };
    it.fix(Site::Config, "If pauses are meant to be, bear them", to);
}

/// Whether a body that stops always stops at the same byte, and what is left fits into one packet: no loss on the
/// way does so.
fn is_always_there(view: &View<'_>, left: u64) -> bool {
    const ONE_PACKET: u64 = 1_200;
    let group = view.group;
    let is_lossless = group.tcp.is_none_or(|tcp| tcp.retransmits == 0)
        && view.case.gained.is_none_or(|gained| gained.ofo_queue == 0);
    view.is(STALLED)
        && group.count >= 2
        && group.received.count == group.count
        && group.received.min == group.received.max
        && left <= ONE_PACKET
        && is_lossless
}

fn resp_chunk_invalid(view: &View<'_>, it: &mut Opinion) {
    const KINDS: &[Kind] = &[Kind::ResponseChunkInvalid];
    if view.is(KINDS) {
        it.proof(view.seen());
    } else {
        it.hint(view.seen());
    }
    it.wants(Probe::Request(view.ask_again()));
    if cut_again(view, KINDS).is_some() {
        it.strong(view.probed("asked again its chunks are broken, too"));
        it.fair(view.probed("so it is how this server writes"));
    }
    it.say(format!(
        "{} writes chunks that do not hold to their sizes.",
        view.address()
    ));
    it.fix(
        Site::Server,
        "Leave chunking to the HTTP server: the program must not write sizes of chunks itself",
        by_hand(view),
    );
}

fn resp_content_coding_error(view: &View<'_>, it: &mut Opinion) {
    let words = view.group.words.as_str();
    let is_said = ["inflate() failed", "inflateInit", "decompress"]
        .iter()
        .any(|mark| words.contains(mark));
    if !is_said {
        return it.rule_out();
    }
    it.strong(view.seen());
    it.strong(view.symptom("the balancer could not decompress the body"));
    it.say(format!(
        "{} says that its body is compressed, and the balancer cannot decompress it.",
        view.address()
    ));
    it.fix(
        Site::Server,
        "Let Content-Encoding say what the body is, and compress once",
        by_hand(view),
    );
    if view.dialect() == Speaker::Nginx {
        it.fix(Site::Config, "Or leave it compressed", "gunzip off;");
    }
}

fn resp_body_too_large(view: &View<'_>, it: &mut Opinion) {
    let words = view.group.words.as_str();
    let is_said = ["response_payload_too_large", "LambdaResponseTooLarge"]
        .iter()
        .any(|mark| words.contains(mark));
    if !is_said {
        return it.rule_out();
    }
    it.strong(view.seen());
    it.strong(view.symptom("the balancer says that the body is larger than it may be"));
    it.say("The response's body is larger than what the balancer collects before it passes it on.");
    let to = match view.dialect() {
        Speaker::Envoy => "buffer: {max_request_bytes: …}   # or take the filter off this route",
        Speaker::Clearway | Speaker::Nginx | Speaker::Haproxy | Speaker::Alb => "",
    };
    it.fix(
        Site::Config,
        "Stream the response, or let large ones be fetched from elsewhere (a Lambda function may answer 1 MB)",
        to,
    );
}
